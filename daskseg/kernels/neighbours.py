"""The nearest points of rows, exactly, by a tree whose leaves are compared many points at once.

Covers: numbers and distances of the k nearest points, the first of equals. Does not cover:
building the tree (see `kernels.kdtree`) or searches with more conditions (see `kernels.attach`).

Made for up to fifty columns of falling variance, such as principal components: a leaf is left
as soon as the first of them say that all of its points are too far.
Scratch memory: the answer, and one more copy of the points in `Leaves`.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from daskseg.kernels import kdtree
from daskseg.kernels.compiling import compiled
from daskseg.kernels.kdtree import STACK, KdTree

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
# Measured: of 4, 8 and 16 columns between two looks at the limit the fastest in 20 and 50.
_STRIDE = 8
# Points of a leaf at the most, which `kdtree` sets; a fixed number lets loops be unrolled.
LANES = 64


class Leaves(NamedTuple):
    """A tree, and the points of its leaves column by column.

    Attributes
    ----------
    tree : KdTree
    lanes : ndarray of shape (n_leaves, n_features, LANES), float64
        Infinite where a leaf has fewer points.
    """

    tree: KdTree
    lanes: Floats


def leaves_of(values: Floats) -> Leaves:
    """Build a tree of points, ready for searches.

    Parameters
    ----------
    values : ndarray of shape (n_points, n_features), float64
        Finite, at least one row.
    """
    tree = kdtree.build(values)
    n_inner = len(tree.start) // 2
    lanes = np.full((n_inner + 1, values.shape[1], LANES), np.inf)
    for leaf in range(n_inner + 1):
        first, last = tree.start[n_inner + leaf], tree.stop[n_inner + leaf]
        lanes[leaf, :, : last - first] = tree.points[first:last].T
    return Leaves(tree, lanes)


@compiled()
def _compare(
    point: Any, lanes: Any, limit: float, sums: Any
) -> bool:  # pragma: no cover - compiled
    """Sum squared distances to the points of a leaf; false if all are beyond the limit."""
    sums[:] = 0.0
    n_features = len(lanes)
    for first in range(0, n_features, _STRIDE):
        for f in range(first, min(first + _STRIDE, n_features)):
            value = point[f]
            for j in range(LANES):
                difference = value - lanes[f, j]
                sums[j] += difference * difference
        least = np.inf
        for j in range(LANES):
            least = min(least, sums[j])
        if least > limit:
            return False
    return True


@compiled()
def search(
    leaves: Leaves, point: Any, dists: Any, places: Any, stack: Any, bounds: Any, sums: Any
) -> None:  # pragma: no cover - compiled
    """Find the nearest points of one row (for use inside compiled kernels).

    Parameters
    ----------
    leaves : Leaves
    point : ndarray of shape (n_features,), float64
    dists, places : ndarray of shape (k,), float64 and int64
        Overwritten: squared distances, rising, and where the points stand in the array that
        the tree was built of; infinity and -1 where there are fewer points.
    stack, bounds : ndarray of shape (STACK,), int64 and float64
        Overwritten.
    sums : ndarray of shape (LANES,), float64
        Overwritten.
    """
    tree = leaves.tree
    n_inner = len(tree.start) // 2
    last = len(dists) - 1
    dists[:] = np.inf
    places[:] = -1
    stack[0] = 0
    bounds[0] = 0.0
    top = 1
    while top:
        top -= 1
        # Equal distances are looked at: the number of the point decides.
        if bounds[top] > dists[last]:
            continue
        node = stack[top]
        if node < n_inner:
            top = kdtree.push_children(tree, node, point, dists[last], stack, bounds, top)
            continue
        if not _compare(point, leaves.lanes[node - n_inner], dists[last], sums):
            continue
        first = tree.start[node]
        for j in range(tree.stop[node] - first):
            sq_dist, place = sums[j], tree.places[first + j]
            if sq_dist > dists[last] or (sq_dist == dists[last] and place > places[last] >= 0):
                continue
            at = last
            while at and (
                dists[at - 1] > sq_dist or (dists[at - 1] == sq_dist and places[at - 1] > place)
            ):
                dists[at] = dists[at - 1]
                places[at] = places[at - 1]
                at -= 1
            dists[at] = sq_dist
            places[at] = place


@compiled()
def _search_all(
    leaves: Leaves, values: NDArray[Any], dists: Floats, places: Ints
) -> None:  # pragma: no cover - compiled
    stack, bounds, sums = np.empty(STACK, np.int64), np.empty(STACK), np.empty(LANES)
    point = np.empty(values.shape[1])
    for i in range(len(values)):
        point[:] = values[i]
        search(leaves, point, dists[i], places[i], stack, bounds, sums)


def nearest(leaves: Leaves, values: NDArray[Any], k: int) -> tuple[Ints, Floats]:
    """Return the k nearest points of each row.

    Parameters
    ----------
    leaves : Leaves
    values : ndarray of shape (n_rows, n_features), float32 or float64
        Finite.
    k : int from 1
        At most the number of points.

    Returns
    -------
    places : ndarray of shape (n_rows, k), int64
        Numbers of the points, by rising distance; the first of equals comes first.
    sq_dists : ndarray of shape (n_rows, k), float64
    """
    dists, places = np.empty((len(values), k)), np.empty((len(values), k), np.int64)
    _search_all(leaves, np.ascontiguousarray(values), dists, places)
    return places, dists
