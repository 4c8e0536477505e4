"""Trees of weighted points: which two groups are joined next, and at what height.

Covers: Ward, average and complete linkage of weighted points or of a matrix of dissimilarities,
by chains of nearest neighbours, in SciPy's format; and cuts through a tree. Does not cover: where
the points come from (see `cluster.micro`).

Scratch: the matrix of all pairs, 8 bytes each. A point of weight w is w equal points: the tree is
that of the repeated ones, without their joins at height zero.

References: Lance and Williams, A general theory of classificatory sorting strategies, Computer
Journal 1967; Murtagh, A survey of recent advances in hierarchical clustering algorithms, Computer
Journal 1983 (chains); SciPy's order of joins at equal heights.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from daskseg.kernels.compiling import compiled
from daskseg.kernels.distances import sq_distances

Floats = NDArray[np.float64]
METHODS = ("ward", "average", "complete")
_WARD, _AVERAGE = 0, 1


@compiled()
def _rise_of_error(sq_dist: Floats, weights: Floats) -> None:  # pragma: no cover - compiled
    """Turn squared distances into the rise of the squared error if two points are joined."""
    for i in range(len(weights)):
        for j in range(len(weights)):
            both = weights[i] + weights[j]
            sq_dist[i, j] *= weights[i] * weights[j] / both if both > 0 else 0.0


@compiled(inline="always")
def _joined(
    method: int, to_a: float, to_b: float, apart: float, a: float, b: float, other: float
) -> float:  # pragma: no cover - compiled
    """Return how far another group is from the union of two; a, b and other are weights."""
    if method == _WARD:
        return ((a + other) * to_a + (b + other) * to_b - other * apart) / (a + b + other)
    if method == _AVERAGE:
        return (a * to_a + b * to_b) / (a + b)
    return max(to_a, to_b)


@compiled()
def _join_all(
    dist: Floats, weights: Floats, method: int, pairs: NDArray[np.int64], heights: Floats
) -> None:  # pragma: no cover - compiled
    """Join groups along chains of nearest neighbours; what is dead is infinitely far."""
    n = len(dist)
    mass = weights.copy()
    chain = np.empty(n, np.int64)
    n_chain, first = 0, 0
    is_dead = np.zeros(n, np.bool_)
    for i in range(n):
        dist[i, i] = np.inf
    for step in range(n - 1):
        if n_chain == 0:
            while is_dead[first]:
                first += 1
            chain[0] = first
            n_chain = 1
        while True:
            x = chain[n_chain - 1]
            # The one before wins a tie, or the chain would never end.
            y = chain[n_chain - 2] if n_chain > 1 else np.int64(-1)
            least = dist[x, y] if n_chain > 1 else np.inf
            for i in range(n):
                if dist[x, i] < least:
                    least = dist[x, i]
                    y = np.int64(i)
            if n_chain > 1 and y == chain[n_chain - 2]:
                break
            chain[n_chain] = y
            n_chain += 1
        n_chain -= 2
        a, b = min(x, y), max(x, y)
        pairs[step, 0], pairs[step, 1], heights[step] = a, b, least
        for i in range(n):
            if i != a and i != b and not is_dead[i]:
                moved = _joined(method, dist[a, i], dist[b, i], least, mass[a], mass[b], mass[i])
                dist[b, i] = moved
                dist[i, b] = moved
            dist[i, a] = np.inf
        mass[b] += mass[a]
        is_dead[a] = True


@compiled()
def _number(
    pairs: NDArray[np.int64], heights: Floats, order: NDArray[np.int64]
) -> Floats:  # pragma: no cover - compiled
    """Give groups numbers by rising height, as SciPy does."""
    n = len(heights) + 1
    tree = np.empty((n - 1, 4))
    parent = np.arange(2 * n - 1)
    size = np.ones(2 * n - 1)
    for step in range(n - 1):
        ends = np.empty(2, np.int64)
        for side in range(2):
            node = pairs[order[step], side]
            while parent[node] != node:
                parent[node] = parent[parent[node]]
                node = parent[node]
            ends[side] = node
        group = n + step
        parent[ends[0]] = group
        parent[ends[1]] = group
        size[group] = size[ends[0]] + size[ends[1]]
        tree[step, 0], tree[step, 1] = min(ends[0], ends[1]), max(ends[0], ends[1])
        tree[step, 2], tree[step, 3] = heights[order[step]], size[group]
    return tree


def link_matrix(dist: Floats, weights: Floats, method: str) -> Floats:
    """Build the tree of groups whose dissimilarities are known.

    Parameters
    ----------
    dist : ndarray of shape (n, n), float64
        Symmetric and finite; overwritten. For "ward" the rise of the squared error.
    weights : ndarray of shape (n,), float64
        Above zero.
    method : {"ward", "average", "complete"}

    Returns
    -------
    ndarray of shape (n - 1, 4), float64
        As of ``scipy.cluster.hierarchy.linkage``: the two groups, the height, and the number of
        points. (Some of SciPy's functions take the last column for places in memory, and end the
        process if it holds weights: see `group_weights`.) Heights never fall.
    """
    n = len(weights)
    if n < 2:
        return np.empty((0, 4))
    pairs, heights = np.empty((n - 1, 2), np.int64), np.empty(n - 1)
    _join_all(dist, weights, METHODS.index(method), pairs, heights)
    if method == "ward":
        heights = np.sqrt(2.0 * np.maximum(heights, 0.0))
    order = np.argsort(heights, kind="stable")
    return np.asarray(_number(pairs, heights, order))


def link_points(points: Floats, weights: Floats, method: str) -> Floats:
    """Build the tree of weighted points by their Euclidean distances.

    Parameters
    ----------
    points : ndarray of shape (n, n_features), float64
    weights : ndarray of shape (n,), float64
        Above zero. A point of weight w counts like w equal points.
    method : {"ward", "average", "complete"}

    Returns
    -------
    ndarray of shape (n - 1, 4), float64
        As of `link_matrix`. Heights of Ward's method are ``sqrt(2 * rise)`` of the squared error.
    """
    dist = sq_distances(points, points)
    if method == "ward":
        _rise_of_error(dist, weights)
    else:
        np.sqrt(dist, out=dist)
    return link_matrix(dist, weights, method)


def group_weights(tree: Floats, weights: Floats) -> Floats:
    """Return the weight of the group that each join of a tree makes, of shape (n - 1,)."""
    mass = np.concatenate([weights, np.empty(len(tree))])
    for group, ends in enumerate(tree[:, :2].astype(np.int64), start=len(weights)):
        mass[group] = mass[ends[0]] + mass[ends[1]]
    return mass[len(weights) :]


def leaf_order(tree: Floats) -> NDArray[np.int64]:
    """Return the leaves as they stand below a drawn tree, the first group of each join left."""
    return cut(tree, 1)[1]


def cut(tree: Floats, n_groups: int) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """Cut a tree into groups.

    Parameters
    ----------
    tree : ndarray of shape (n - 1, 4), float64
    n_groups : int
        From 1 to n.

    Returns
    -------
    labels : ndarray of shape (n,), int32
        Of the leaves; groups are numbered from left to right, so that the parts of one that
        splits in the next cut stay side by side.
    order : ndarray of shape (n,), int64
        The leaves from left to right.

    Examples
    --------
    >>> tree = np.array([[0.0, 2.0, 1.0, 2.0], [1.0, 3.0, 5.0, 3.0]])
    >>> cut(tree, 2)[0].tolist()
    [1, 0, 1]
    """
    n = len(tree) + 1
    ends = tree[:, :2].astype(np.int64).tolist()
    # Groups of this number and above are cut open.
    first_open = 2 * n - n_groups
    labels, order = np.empty(n, np.int32), []
    label = -1
    stack = [(2 * n - 2, False)]
    while stack:
        node, is_inside = stack.pop()
        if node < first_open and not is_inside:
            label += 1
            is_inside = True
        if node < n:
            labels[node] = label
            order.append(node)
        else:
            left, right = ends[node - n]
            stack += [(right, is_inside), (left, is_inside)]
    return labels, np.array(order, np.int64)


def n_groups_at(tree: Floats, height: float) -> int:
    """Return how many groups there are where only joins below a height are made."""
    return int(np.count_nonzero(tree[:, 2] >= height)) + 1


def scratch_bytes(
    n_features: int,
    n_centres: int,
    block_rows: int,  # noqa: ARG001 - one signature for all kernels
    itemsize: int,  # noqa: ARG001
) -> int:
    """Return the memory that `link_points` takes: the matrix, and a copy of the points."""
    return 8 * n_centres * n_centres + 8 * n_centres * n_features
