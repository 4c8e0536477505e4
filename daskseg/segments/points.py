"""Groupings by points in memory, each of which belongs to a group or to none.

Covers: micro-clusters, consensus of runs on them, core rows and landmarks. Does not cover: groups
that follow from one centre each (see `segments.grouping`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from daskseg.kernels import attach, density_near, kdtree
from daskseg.kernels.condensed import Flat
from daskseg.kernels.density_near import Labelled
from daskseg.kernels.labels import labels_of
from daskseg.kernels.top_two import top_two
from daskseg.segments.grouping import Floats, Grouped, Grouping, beside, dist_to, renumbered


@dataclass(frozen=True, eq=False)
class PointGrouping(Grouping):
    """Base of groupings by points.

    Attributes
    ----------
    centres : as of `Grouping`
    points : ndarray of shape (n_points, n_columns), float64
    labels : ndarray of shape (n_points,), int32
        The group of each; -1 for none.
    """

    points: Floats
    labels: NDArray[np.int32]

    def reordered(self, order: NDArray[np.intp]) -> Self:
        """Return the grouping with its groups in another order."""
        return replace(self, centres=self.centres[order], labels=renumbered(order, self.labels))

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return the arrays of the class."""
        return {name: getattr(self, name) for name in self.array_names({})}

    @classmethod
    def array_names(cls, settings: Mapping[str, Any]) -> tuple[str, ...]:
        """Return the names of the arrays of the class."""
        del settings
        return ("centres", "points", "labels")

    def shapes(self, n_groups: int, n_columns: int) -> dict[str, tuple[int, ...]]:
        """Return the shapes that the saved arrays must have."""
        return {
            "centres": (n_groups, n_columns),
            "points": (len(self.points), n_columns),
            "labels": (len(self.points),),
        }


@dataclass(frozen=True, eq=False)
class PlaceGrouping(PointGrouping):
    """The group of the micro-cluster whose place is nearest; confidence as `grouping.beside`."""

    kind: ClassVar[str] = "places"

    def of(self, rows: Floats) -> Grouped:
        """Group rows; the place of the lowest index wins a tie."""
        return beside(rows, self.centres, self.labels[labels_of(rows, self.points)])


@dataclass(frozen=True, eq=False)
class ConsensusGrouping(PointGrouping):
    """The group of the micro-cluster whose place is nearest, with the agreement of the runs.

    Attributes
    ----------
    centres, points, labels : as of `PointGrouping`
    agreement : ndarray of shape (n_points,), float64
        The share of the runs that have the micro-cluster in its group: the confidence.
    """

    kind: ClassVar[str] = "consensus"
    agreement: Floats

    def of(self, rows: Floats) -> Grouped:
        """Group rows; the place of the lowest index wins a tie."""
        own = labels_of(rows, self.points)
        return beside(rows, self.centres, self.labels[own])._replace(confidence=self.agreement[own])

    @classmethod
    def array_names(cls, settings: Mapping[str, Any]) -> tuple[str, ...]:
        """Return the names of the arrays of the class."""
        return (*super().array_names(settings), "agreement")

    def shapes(self, n_groups: int, n_columns: int) -> dict[str, tuple[int, ...]]:
        """Return the shapes that the saved arrays must have."""
        return {**super().shapes(n_groups, n_columns), "agreement": (len(self.points),)}


@dataclass(frozen=True, eq=False)
class CoreGrouping(PointGrouping):
    """The group of the nearest core row within `eps`, or noise.

    Confidence is 1 - d / eps of the distance to that core row: 1 for a core row, 0 for noise. The
    second group of noise is that of the nearest core row, that of others the one of the nearest
    other centre.

    Attributes
    ----------
    centres : as of `Grouping`
        Means of the core rows of each group.
    points, labels : as of `PointGrouping`
        The core rows.
    eps : float
    """

    kind: ClassVar[str] = "core_rows"
    has_noise: ClassVar[bool] = True
    eps: float

    def of(self, rows: Floats) -> Grouped:
        """Group rows; the lowest group wins a tie."""
        found, sq_dist = density_near.nearest(self._near, rows)
        nearest = found.astype(np.int32)
        is_noise = sq_dist > self.eps * self.eps
        sure = np.where(is_noise, 0.0, 1.0 - np.sqrt(sq_dist) / self.eps)
        around = beside(rows, self.centres, nearest)
        return Grouped(
            np.where(is_noise, np.int32(-1), nearest),
            np.where(is_noise, nearest, around.second),
            around.distance,
            np.maximum(sure, 0.0),
        )

    @cached_property
    def _near(self) -> Labelled:
        return density_near.labelled(self.points, self.labels)

    def settings(self) -> dict[str, Any]:
        """Return eps."""
        return {"eps": self.eps}


@dataclass(frozen=True, eq=False)
class LandmarkGrouping(PointGrouping):
    """The cluster of the landmark that is next by mutual reachability, or noise.

    Confidence is the strength of the membership: 0 for noise. The second group of noise is the
    nearest cluster, that of others the one of the nearest other centre.

    Attributes
    ----------
    centres : as of `Grouping`
        Means of the landmarks of each cluster.
    points, labels : as of `PointGrouping`
        The landmarks.
    left_sq : ndarray of shape (n_landmarks,), float64
    reach_sq, peak_sq : ndarray of shape (n_groups,), float64
        As in `kernels.attach.Landmarks`.
    n_neighbours : int
        Core distances are those to so many landmarks.
    """

    kind: ClassVar[str] = "landmarks"
    has_noise: ClassVar[bool] = True
    may_be_infinite: ClassVar[frozenset[str]] = frozenset({"left_sq", "reach_sq", "peak_sq"})
    left_sq: Floats
    reach_sq: Floats
    peak_sq: Floats
    n_neighbours: int

    def of(self, rows: Floats) -> Grouped:
        """Group rows."""
        found = attach.attach(self._marks, rows)
        nearest = top_two(rows, self.centres)
        other = np.where(nearest.first == found.labels, nearest.second, nearest.first)
        is_noise = found.labels < 0
        distance = dist_to(rows, self.centres, found.nearest)
        second = np.where(is_noise, found.nearest, other)
        return Grouped(found.labels, second, distance, found.strengths)

    @cached_property
    def _marks(self) -> attach.Landmarks:
        tree = kdtree.build(self.points)
        sq_core = kdtree.sq_dist_to_kth(tree, tree.points, self.n_neighbours)
        unused = np.empty(0)
        flat = Flat(self.labels, unused, self.reach_sq, self.peak_sq, unused)
        return attach.landmarks_of(tree, self.n_neighbours, sq_core, self.left_sq, flat)

    def reordered(self, order: NDArray[np.intp]) -> Self:
        """Return the clusters in another order."""
        return replace(
            super().reordered(order),
            reach_sq=self.reach_sq[order],
            peak_sq=self.peak_sq[order],
        )

    def settings(self) -> dict[str, Any]:
        """Return the number of neighbours."""
        return {"n_neighbours": self.n_neighbours}

    @classmethod
    def array_names(cls, settings: Mapping[str, Any]) -> tuple[str, ...]:
        """Return the names of the arrays of the class."""
        return (*super().array_names(settings), "left_sq", "reach_sq", "peak_sq")

    def shapes(self, n_groups: int, n_columns: int) -> dict[str, tuple[int, ...]]:
        """Return the shapes that the saved arrays must have."""
        return {
            **super().shapes(n_groups, n_columns),
            "left_sq": (len(self.points),),
            "reach_sq": (n_groups,),
            "peak_sq": (n_groups,),
        }
