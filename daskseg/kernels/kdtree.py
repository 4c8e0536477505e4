"""A tree over points in memory, for exact searches of neighbours inside compiled kernels.

Covers: building, and the distance to the k-th nearest point. What a search answers depends on
the points alone, never on how the tree is cut. Does not cover: searches with more conditions
(see `kernels.spanning` and `kernels.attach`).

Scratch memory: the tree is a copy of the points, and at most 1/8 of it for boxes; a search takes
nothing per row but its answer.
Reference: Friedman, Bentley and Finkel, An algorithm for finding best matches in logarithmic
expected time, ACM Transactions on Mathematical Software 3, 1977.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from daskseg.kernels.compiling import compiled

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
# Measured: of 8, 16, 32 and 64 points the fastest, or within 7 % of it, in 2, 5 and 10 columns.
_LEAF_ROWS = 64
# A search keeps one waiting node per level, and two on the last.
STACK = 80


class KdTree(NamedTuple):
    """Points cut in halves along their widest column; node i has the children 2i+1 and 2i+2.

    Attributes
    ----------
    points : ndarray of shape (n_points, n_features), float64
        In the order of the leaves.
    places : ndarray of shape (n_points,), int64
        Where each stands in the array that the tree was built of.
    start, stop : ndarray of shape (n_nodes,), int64
        The points of each node.
    low, high : ndarray of shape (n_nodes, n_features), float64
        The smallest box around them.
    """

    points: Floats
    places: Ints
    start: Ints
    stop: Ints
    low: Floats
    high: Floats


def build(values: Floats) -> KdTree:
    """Build the tree.

    Parameters
    ----------
    values : ndarray of shape (n_points, n_features), float64
        Finite, at least one row.
    """
    n_points, n_features = values.shape
    n_levels = max(0, math.ceil(math.log2(n_points / _LEAF_ROWS)))
    n_nodes = 2 ** (n_levels + 1) - 1
    places = np.arange(n_points)
    start, stop = np.zeros(n_nodes, np.int64), np.zeros(n_nodes, np.int64)
    low, high = np.empty((n_nodes, n_features)), np.empty((n_nodes, n_features))
    stop[0] = n_points
    for node in range(n_nodes):
        first, last = int(start[node]), int(stop[node])
        inside = places[first:last]
        cut = values[inside]
        low[node], high[node] = cut.min(axis=0), cut.max(axis=0)
        if 2 * node + 1 >= n_nodes:
            continue
        half = len(inside) // 2
        widest = int(np.argmax(high[node] - low[node]))
        places[first:last] = inside[np.argpartition(cut[:, widest], half)]
        start[2 * node + 1], stop[2 * node + 1] = first, first + half
        start[2 * node + 2], stop[2 * node + 2] = first + half, last
    return KdTree(np.ascontiguousarray(values[places]), places, start, stop, low, high)


def least_of_nodes(tree: KdTree, values: Floats) -> Floats:
    """Return the least of the values, one per point in the order of the leaves, in each node."""
    n_inner = len(tree.start) // 2
    least = np.empty(len(tree.start))
    least[n_inner:] = np.minimum.reduceat(values, tree.start[n_inner:])
    while n_inner:
        above = n_inner // 2
        children = least[n_inner : 2 * n_inner + 1]
        least[above:n_inner] = np.minimum(children[::2], children[1::2])
        n_inner = above
    return least


@compiled()
def sq_between(a: Any, b: Any) -> float:  # pragma: no cover - compiled
    """Return the squared distance of two points, summed in the order of the columns."""
    total = 0.0
    for f in range(len(a)):
        difference = a[f] - b[f]
        total += difference * difference
    return total


@compiled()
def sq_to_box(point: Any, low: Any, high: Any) -> float:  # pragma: no cover - compiled
    """Return the squared distance of a point from a box; never above that to a point in it."""
    total = 0.0
    for f in range(len(point)):
        gap = 0.0
        if point[f] < low[f]:
            gap = low[f] - point[f]
        elif point[f] > high[f]:
            gap = point[f] - high[f]
        total += gap * gap
    return total


@compiled()
def push_children(
    tree: KdTree, node: int, point: Any, limit: float, stack: Any, bounds: Any, top: int
) -> int:  # pragma: no cover - compiled
    """Put the children of a node on the stack, the nearer last; those beyond `limit` are left out.

    Returns
    -------
    int
        The height of the stack.
    """
    near, far = 2 * node + 1, 2 * node + 2
    near_sq = sq_to_box(point, tree.low[near], tree.high[near])
    far_sq = sq_to_box(point, tree.low[far], tree.high[far])
    if far_sq < near_sq:
        near, far = far, near
        near_sq, far_sq = far_sq, near_sq
    if far_sq <= limit:
        stack[top] = far
        bounds[top] = far_sq
        top += 1
    if near_sq <= limit:
        stack[top] = near
        bounds[top] = near_sq
        top += 1
    return top


@compiled()
def _replace_largest(heap: Any, value: float) -> None:  # pragma: no cover - compiled
    place = 0
    while True:
        child = 2 * place + 1
        if child >= len(heap):
            break
        if child + 1 < len(heap) and heap[child + 1] > heap[child]:
            child += 1
        if heap[child] <= value:
            break
        heap[place] = heap[child]
        place = child
    heap[place] = value


@compiled()
def sq_to_kth(
    tree: KdTree, point: Any, heap: Any, stack: Any, bounds: Any
) -> float:  # pragma: no cover - compiled
    """Return the squared distance to the k-th nearest point (for use inside compiled kernels).

    Parameters
    ----------
    tree : KdTree
    point : ndarray of shape (n_features,), float64
    heap : ndarray of shape (k,), float64
        Overwritten; infinity is the answer where there are fewer points.
    stack, bounds : ndarray of shape (STACK,), int64 and float64
        Overwritten.
    """
    n_inner = len(tree.start) // 2
    heap[:] = np.inf
    stack[0] = 0
    bounds[0] = 0.0
    top = 1
    while top:
        top -= 1
        if bounds[top] >= heap[0]:
            continue
        node = stack[top]
        if node < n_inner:
            top = push_children(tree, node, point, heap[0], stack, bounds, top)
            continue
        for j in range(tree.start[node], tree.stop[node]):
            sq_dist = sq_between(point, tree.points[j])
            if sq_dist < heap[0]:
                _replace_largest(heap, sq_dist)
    return float(heap[0])


@compiled()
def _sq_to_kth_of_all(
    tree: KdTree, values: NDArray[Any], k: int
) -> Floats:  # pragma: no cover - compiled
    heap = np.empty(k)
    stack, bounds = np.empty(STACK, np.int64), np.empty(STACK)
    point = np.empty(values.shape[1])
    found = np.empty(len(values))
    for i in range(len(values)):
        point[:] = values[i]
        found[i] = sq_to_kth(tree, point, heap, stack, bounds)
    return found


def sq_dist_to_kth(tree: KdTree, values: NDArray[Any], k: int) -> Floats:
    """Return the squared distance of each row to its k-th nearest point.

    Parameters
    ----------
    tree : KdTree
    values : ndarray of shape (n_rows, n_features), float32 or float64
    k : int from 1
        A point of the tree has itself as its nearest.

    Returns
    -------
    ndarray of shape (n_rows,), float64
        Infinite where the tree has fewer points.
    """
    return np.asarray(_sq_to_kth_of_all(tree, np.ascontiguousarray(values), k))
