"""The nearest of labelled points within a distance, and distances to the k nearest rows.

Covers: labels of rows from dense points in memory, and the k least squared distances of some
places to the rows of a block, merged over blocks. Does not cover: which points are dense (see
`kernels.density`).

Scratch memory: none that grows with the rows, beside the answer.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from daskseg.kernels import kdtree
from daskseg.kernels.compiling import compiled
from daskseg.kernels.kdtree import STACK, KdTree, push_children, sq_between, sq_to_kth

Floats = NDArray[np.float64]
Labels = NDArray[np.int64]


class Labelled(NamedTuple):
    """Points with labels.

    Attributes
    ----------
    tree : KdTree
    labels : ndarray of shape (n_points,), int64
        In the order of the leaves.
    """

    tree: KdTree
    labels: Labels


def labelled(points: NDArray[Any], labels: NDArray[Any]) -> Labelled:
    """Build a tree of at least one point."""
    tree = kdtree.build(points.astype(np.float64, copy=False))
    return Labelled(tree, labels[tree.places].astype(np.int64))


@compiled()
def _nearest(
    tree: KdTree, labels: Any, values: NDArray[Any], sq_limit: float
) -> tuple[Labels, Floats]:  # pragma: no cover - compiled
    n_inner = len(tree.start) // 2
    stack, bounds = np.empty(STACK, np.int64), np.empty(STACK)
    point = np.empty(values.shape[1])
    found = np.empty(len(values), np.int64)
    sq_dist = np.full(len(values), np.inf)
    for i in range(len(values)):
        point[:] = values[i]
        label, least = np.int64(-1), sq_limit
        stack[0] = 0
        bounds[0] = 0.0
        top = 1
        while top:
            top -= 1
            # Not at equality: another point so near may have a smaller label.
            if bounds[top] > least:
                continue
            node = stack[top]
            if node < n_inner:
                top = push_children(tree, node, point, least, stack, bounds, top)
                continue
            for j in range(tree.start[node], tree.stop[node]):
                square = sq_between(point, tree.points[j])
                if square < least or (square == least and (label < 0 or labels[j] < label)):
                    least = square
                    label = labels[j]
        found[i] = label
        if label >= 0:
            sq_dist[i] = least
    return found, sq_dist


def nearest(
    near: Labelled, values: NDArray[Any], sq_limit: float = np.inf
) -> tuple[Labels, Floats]:
    """Find the nearest point of each row.

    Parameters
    ----------
    near : Labelled
    values : ndarray of shape (n_rows, n_features), float32 or float64
    sq_limit : float
        Points farther than this squared distance do not count; infinity: all do.

    Returns
    -------
    labels : ndarray of shape (n_rows,), int64
        That of the point, -1 where there is none; the smallest label wins a tie.
    sq_dist : ndarray of shape (n_rows,), float64
        Squared distance to it; infinite where there is none.
    """
    found, sq_dist = _nearest(near.tree, near.labels, np.ascontiguousarray(values), sq_limit)
    return found, sq_dist


def least_distances(places: Floats, values: NDArray[Any], k: int) -> Floats:
    """Return the k least squared distances from some places to the rows of a block.

    Parameters
    ----------
    places : ndarray of shape (n_places, n_features), float64
    values : ndarray of shape (n_rows, n_features), float32 or float64
    k : int

    Returns
    -------
    ndarray of shape (n_places, k), float64
        By rising distance; infinite where there are fewer rows.
    """
    if not len(values):
        return np.full((len(places), k), np.inf)
    tree = kdtree.build(values.astype(np.float64, copy=False))
    return np.sort(_least(tree, places, k), axis=1)


@compiled()
def _least(tree: KdTree, places: Any, k: int) -> Floats:  # pragma: no cover - compiled
    stack, bounds = np.empty(STACK, np.int64), np.empty(STACK)
    found = np.empty((len(places), k))
    for i in range(len(places)):
        sq_to_kth(tree, places[i], found[i], stack, bounds)
    return found


def merge_least(a: Floats, b: Floats) -> Floats:
    """Merge what two sets of blocks have."""
    k = a.shape[1]
    return np.sort(np.concatenate([a, b], axis=1), axis=1)[:, :k]
