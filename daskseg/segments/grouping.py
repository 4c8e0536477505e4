"""How a model puts customers into groups: one picklable class per kind, kept in plain arrays.

Covers: the group, the second one, the distance and the confidence of rows in the units in which
distances are taken, and what a saved model holds of that, for groups that follow from centres,
splits or normal distributions. Does not cover: groups of many points (see `segments.points`),
fitting (see `pipeline.models`), the way from features to these units (see `segments.reduction`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from daskseg.kernels import mixture_scores, mixture_steps, splits
from daskseg.kernels.mixture import Ready
from daskseg.kernels.mixture_steps import Parameters
from daskseg.kernels.splits import Splits
from daskseg.kernels.top_two import TopTwo, confidence, top_two

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


def beside(rows: Floats, centres: Floats, first: NDArray[np.int32]) -> Grouped:
    """Put the nearest other centre beside groups that are known.

    Confidence is 1 - d1 / d2 of the own centre and the nearest other one, and 0 where that one is
    nearer.
    """
    nearest = top_two(rows, centres)
    second = np.where(nearest.first == first, nearest.second, nearest.first)
    distance = dist_to(rows, centres, first)
    other = np.full(len(rows), np.inf) if len(centres) == 1 else dist_to(rows, centres, second)
    sure = confidence(TopTwo(first, second, distance, other))
    return Grouped(first, second, distance, np.maximum(sure, 0.0))


def renumbered(order: NDArray[np.intp], labels: NDArray[Any]) -> NDArray[np.int32]:
    """Return labels by the place of their group in another order; noise, -1, stays."""
    place = np.full(len(order) + 1, -1, np.int32)
    place[order] = np.arange(len(order), dtype=np.int32)
    return np.asarray(place[labels])


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
class SplitGrouping(Grouping):
    """The leaf that a row comes to by the nearer one of two split points, again and again.

    Attributes
    ----------
    centres : as of `Grouping`
        Means of the leaves.
    children : ndarray of shape (n_groups - 1, 2), int64
    split_centres : ndarray of shape (n_groups - 1, 2, n_columns), float64
        As in `kernels.splits.Splits`.
    """

    kind: ClassVar[str] = "splits"
    children: NDArray[np.int64]
    split_centres: Floats

    def of(self, rows: Floats) -> Grouped:
        """Group rows; the first side of a split wins a tie."""
        own = splits.follow(rows, Splits(self.children, self.split_centres))
        return beside(rows, self.centres, own)

    def reordered(self, order: NDArray[np.intp]) -> Self:
        """Return the splits with their leaves in another order."""
        n_groups = len(self.centres)
        # Numbers from n_groups up are splits, which stay.
        numbers = np.concatenate([np.empty(n_groups, np.int64), np.arange(n_groups, 2 * n_groups)])
        numbers[order] = np.arange(n_groups)
        return type(self)(self.centres[order], numbers[self.children], self.split_centres)

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return the arrays of the class."""
        return {
            "centres": self.centres,
            "children": self.children,
            "split_centres": self.split_centres,
        }

    @classmethod
    def array_names(cls, settings: Mapping[str, Any]) -> tuple[str, ...]:
        """Return the names of the arrays of the class."""
        del settings
        return ("centres", "children", "split_centres")

    def shapes(self, n_groups: int, n_columns: int) -> dict[str, tuple[int, ...]]:
        """Return the shapes that the saved arrays must have."""
        return {
            "centres": (n_groups, n_columns),
            "children": (n_groups - 1, 2),
            "split_centres": (n_groups - 1, 2, n_columns),
        }
