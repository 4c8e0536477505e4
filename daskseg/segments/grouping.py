"""How a model puts customers into groups: one picklable class per kind, kept in plain arrays.

Covers: the group, the second one, the distance and the confidence of rows in the units in which
distances are taken, and what a saved model holds of that. Does not cover: fitting (see
`pipeline.models`), the way from features to these units (see `segments.reduction`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, ClassVar, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from daskseg.kernels import attach, kdtree, mixture_scores, mixture_steps
from daskseg.kernels.condensed import Flat
from daskseg.kernels.mixture import Ready
from daskseg.kernels.mixture_steps import Parameters
from daskseg.kernels.top_two import confidence, top_two

Floats = NDArray[np.float64]


class Grouped(NamedTuple):
    """What a grouping says about rows.

    Attributes
    ----------
    first : ndarray of shape (n_rows,), int32
        The group; -1 for noise.
    second : ndarray of shape (n_rows,), int32
        The next best group; -1 where there is none.
    distance : ndarray of shape (n_rows,), float64
        To the own centre; of noise to the nearest.
    confidence : ndarray of shape (n_rows,), float64
        From 0 to 1.
    """

    first: NDArray[np.int32]
    second: NDArray[np.int32]
    distance: Floats
    confidence: Floats


def dist_to(rows: Floats, centres: Floats, labels: NDArray[np.int32]) -> Floats:
    """Return the Euclidean distance of each row to one of the centres."""
    square = np.zeros(len(rows))
    for column, coordinates in zip(rows.T, centres.T, strict=True):
        square += (column - coordinates[labels]) ** 2
    return np.sqrt(square)


# Arrays have no single truth value: two groupings are compared by what they save.
@dataclass(frozen=True, eq=False)
class Grouping:
    """Base of groupings.

    Attributes
    ----------
    centres : ndarray of shape (n_groups, n_columns), float64
        What stands for each group.
    """

    kind: ClassVar[str]
    has_noise: ClassVar[bool] = False
    may_be_infinite: ClassVar[frozenset[str]] = frozenset()
    centres: Floats

    def of(self, rows: Floats) -> Grouped:
        """Group rows.

        Parameters
        ----------
        rows : ndarray of shape (n_rows, n_columns), float64
        """
        raise NotImplementedError

    def reordered(self, order: NDArray[np.intp]) -> Self:
        """Return the grouping with its groups in another order."""
        raise NotImplementedError

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return what is saved as arrays."""
        return {"centres": self.centres}

    def settings(self) -> dict[str, Any]:
        """Return what is saved as JSON besides."""
        return {}

    @classmethod
    def array_names(cls, settings: Mapping[str, Any]) -> tuple[str, ...]:
        """Return the names of the saved arrays."""
        del settings
        return ("centres",)

    def shapes(self, n_groups: int, n_columns: int) -> dict[str, tuple[int, ...]]:
        """Return the shapes that the saved arrays must have."""
        return {"centres": (n_groups, n_columns)}

    @classmethod
    def read(cls, arrays: Mapping[str, NDArray[Any]], settings: Mapping[str, Any]) -> Self:
        """Make a grouping of what was saved."""
        return cls(**arrays, **settings)


@dataclass(frozen=True, eq=False)
class CentreGrouping(Grouping):
    """The nearest centre; confidence is 1 - d1 / d2."""

    kind: ClassVar[str] = "centres"

    def of(self, rows: Floats) -> Grouped:
        """Group rows by the nearest centre; the lowest index wins a tie."""
        found = top_two(rows, self.centres)
        return Grouped(found.first, found.second, found.first_dist, confidence(found))

    def reordered(self, order: NDArray[np.intp]) -> Self:
        """Return the centres in another order."""
        return type(self)(self.centres[order])


@dataclass(frozen=True, eq=False)
class MixtureGrouping(Grouping):
    """The normal component of the largest membership, which is the confidence.

    Attributes
    ----------
    centres : as of `Grouping`
        Means of the components.
    shares : ndarray of shape (n_groups,), float64
        Above zero.
    factors : ndarray of shape (n_groups, n_columns, n_columns), float64
        Upper triangles F with ``F @ F.T`` the inverse of a covariance.
    """

    kind: ClassVar[str] = "mixture"
    shares: Floats
    factors: Floats

    def of(self, rows: Floats) -> Grouped:
        """Group rows by the largest membership; the lowest index wins a tie."""
        found = mixture_scores.memberships(rows, self._ready)
        first = found.argmax(axis=1).astype(np.int32)
        largest = np.take_along_axis(found, first[:, None], axis=1)[:, 0]
        np.put_along_axis(found, first[:, None], -1.0, axis=1)
        second = found.argmax(axis=1).astype(np.int32)
        if len(self.centres) == 1:
            second[:] = -1
        return Grouped(first, second, dist_to(rows, self.centres, first), largest)

    @cached_property
    def _ready(self) -> Ready:
        return mixture_steps.ready_of(
            Parameters(self.shares, self.centres, self.factors), self.factors, "full"
        )

    def reordered(self, order: NDArray[np.intp]) -> Self:
        """Return the components in another order."""
        return type(self)(self.centres[order], self.shares[order], self.factors[order])

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return the arrays of the class."""
        return {"centres": self.centres, "shares": self.shares, "factors": self.factors}

    @classmethod
    def array_names(cls, settings: Mapping[str, Any]) -> tuple[str, ...]:
        """Return the names of the arrays of the class."""
        del settings
        return ("centres", "shares", "factors")

    def shapes(self, n_groups: int, n_columns: int) -> dict[str, tuple[int, ...]]:
        """Return the shapes that the saved arrays must have."""
        return {
            "centres": (n_groups, n_columns),
            "shares": (n_groups,),
            "factors": (n_groups, n_columns, n_columns),
        }


@dataclass(frozen=True, eq=False)
class LandmarkGrouping(Grouping):
    """The cluster of the landmark that is next by mutual reachability, or noise.

    Confidence is the strength of the membership: 0 for noise. The second group of noise is the
    nearest cluster, that of others the one of the nearest other centre.

    Attributes
    ----------
    centres : as of `Grouping`
        Means of the landmarks of each cluster.
    points : ndarray of shape (n_landmarks, n_columns), float64
    labels : ndarray of shape (n_landmarks,), int32
    left_sq : ndarray of shape (n_landmarks,), float64
    reach_sq, peak_sq : ndarray of shape (n_groups,), float64
        As in `kernels.attach.Landmarks`.
    n_neighbours : int
        Core distances are those to so many landmarks.
    """

    kind: ClassVar[str] = "landmarks"
    has_noise: ClassVar[bool] = True
    may_be_infinite: ClassVar[frozenset[str]] = frozenset({"left_sq", "reach_sq", "peak_sq"})
    points: Floats
    labels: NDArray[np.int32]
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
        # Noise, which is -1, stays the last.
        place = np.full(len(order) + 1, -1, np.int32)
        place[order] = np.arange(len(order), dtype=np.int32)
        return replace(
            self,
            centres=self.centres[order],
            labels=place[self.labels],
            reach_sq=self.reach_sq[order],
            peak_sq=self.peak_sq[order],
        )

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return the arrays of the class."""
        return {name: getattr(self, name) for name in self.array_names({})}

    def settings(self) -> dict[str, Any]:
        """Return the number of neighbours."""
        return {"n_neighbours": self.n_neighbours}

    @classmethod
    def array_names(cls, settings: Mapping[str, Any]) -> tuple[str, ...]:
        """Return the names of the arrays of the class."""
        del settings
        return ("centres", "points", "labels", "left_sq", "reach_sq", "peak_sq")

    def shapes(self, n_groups: int, n_columns: int) -> dict[str, tuple[int, ...]]:
        """Return the shapes that the saved arrays must have."""
        n_landmarks = len(self.points)
        return {
            "centres": (n_groups, n_columns),
            "points": (n_landmarks, n_columns),
            "labels": (n_landmarks,),
            "left_sq": (n_landmarks,),
            "reach_sq": (n_groups,),
            "peak_sq": (n_groups,),
        }


KINDS: dict[str, type[Grouping]] = {
    one.kind: one for one in (CentreGrouping, MixtureGrouping, LandmarkGrouping)
}
