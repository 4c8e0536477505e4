"""Clusters that appear, split and dissolve as the distance that joins points falls.

Covers: the condensed tree of a spanning tree, how long its clusters last, which of them are
selected, labels and membership strengths of the points. Merges at one distance are one merge, and
what is too small for a cluster goes with the nearest part, so that the order of the points does
not matter; scikit-learn and hdbscan take such merges one by one, as a sort happens to put them.
Does not cover: the spanning tree (see `kernels.spanning`), or other rows (see `kernels.attach`).

Distances are squared; the density λ of the references is one over the distance.
References: Campello, Moulavi, Zimek and Sander, Hierarchical density estimates for data
clustering, ACM TKDD 10, 2015; McInnes and Healy, Accelerated hierarchical density based
clustering, ICDM workshops 2017; Malzer and Baum, A hybrid approach, MFI 2020 (epsilon).
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from daskseg.kernels.compiling import compiled
from daskseg.kernels.spanning import SpanningTree

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


class Condensed(NamedTuple):
    """The clusters of at least so many points; 0 is all points, parents come before children.

    Attributes
    ----------
    parent : ndarray of shape (n_nodes,), int64
        -1 for the first.
    born_sq : ndarray of shape (n_nodes,), float64
        Squared distance at which it splits off; infinite for the first.
    size : ndarray of shape (n_nodes,), int64
    owner : ndarray of shape (n_points,), int64
        The cluster that each point leaves as noise, or with whose end it goes.
    left_sq : ndarray of shape (n_points,), float64
        Squared distance at which it does.
    """

    parent: Ints
    born_sq: Floats
    size: Ints
    owner: Ints
    left_sq: Floats


class Flat(NamedTuple):
    """Selected clusters, by falling number of points, then by first point.

    Attributes
    ----------
    labels : ndarray of shape (n_points,), int32
        -1 is noise.
    strengths : ndarray of shape (n_points,), float64
        From 0 (noise) to 1: the density at which a point leaves, over the largest of its cluster.
    reach_sq : ndarray of shape (n_clusters,), float64
        Points that are joined at up to this squared distance belong to the cluster.
    peak_sq : ndarray of shape (n_clusters,), float64
        Squared distance of the largest density.
    persistence : ndarray of shape (n_clusters,), float64
        Stability over size and over the largest density of all clusters, as in hdbscan.
    """

    labels: NDArray[np.int32]
    strengths: Floats
    reach_sq: Floats
    peak_sq: Floats
    persistence: Floats


@compiled()
def _root(above: Any, node: int) -> int:  # pragma: no cover - compiled
    while above[node] != node:
        above[node] = above[above[node]]
        node = above[node]
    return node


@compiled()
def _choose_sides(
    first: Any, second: Any, group: Any, top: Any, size: Any, min_size: int, side: Any, nearest: Any
) -> None:  # pragma: no cover - compiled
    """Note for each small part of merges at one distance the large one that it reaches first."""
    for edge in range(len(first)):
        a = _root(side, _root(group, first[edge]))
        b = _root(side, _root(group, second[edge]))
        if size[top[b]] >= min_size:
            a, b = b, a
        if size[top[b]] < min_size:
            side[b] = a
    for ends in (first, second):
        for end in ends:
            part = _root(group, end)
            nearest[top[part]] = top[_root(side, part)]
    for ends in (first, second):
        for end in ends:
            part = _root(group, end)
            side[part] = part


@compiled()
def _link(
    first: Ints, second: Ints, sq_dist: Floats, min_size: int
) -> tuple[Ints, Floats, Ints, Ints]:  # pragma: no cover - compiled
    """Return parent, distance, size and nearest large sibling of each node of the dendrogram."""
    n_edges = len(first)
    n_points = n_edges + 1
    n_nodes = 2 * n_points - 1
    above = np.full(n_nodes, -1, np.int64)
    merged_sq = np.full(n_nodes, -1.0)
    size = np.ones(n_nodes, np.int64)
    nearest = np.full(n_nodes, -1, np.int64)
    group, top, side = np.arange(n_points), np.arange(n_points), np.arange(n_points)
    start = 0
    while start < n_edges:
        stop = start + 1
        while stop < n_edges and sq_dist[stop] == sq_dist[start]:
            stop += 1
        if stop > start + 1:
            ends = first[start:stop], second[start:stop]
            _choose_sides(ends[0], ends[1], group, top, size, min_size, side, nearest)
        for edge in range(start, stop):
            a, b = _root(group, first[edge]), _root(group, second[edge])
            if size[top[a]] < size[top[b]]:
                a, b = b, a
            node = n_points + edge
            above[top[a]], above[top[b]] = node, node
            merged_sq[node] = sq_dist[edge]
            size[node] = size[top[a]] + size[top[b]]
            group[b] = a
            top[a] = node
        start = stop
    return above, merged_sq, size, nearest


@compiled()
def _condense(
    above: Ints, merged_sq: Floats, size: Ints, nearest: Ints, min_size: int
) -> tuple[Ints, Floats, Ints, Ints, Floats]:  # pragma: no cover - compiled
    n_nodes = len(above)
    n_points = (n_nodes + 1) // 2
    # Merges at one distance are one node: the uppermost of them stands for all.
    whole = np.arange(n_nodes)
    n_large = np.zeros(n_nodes, np.int64)
    for node in range(n_nodes - 2, n_points - 1, -1):
        if merged_sq[above[node]] == merged_sq[node]:
            whole[node] = whole[above[node]]
        elif size[node] >= min_size:
            n_large[whole[above[node]]] += 1
    parent = np.full(n_points + 1, -1, np.int64)
    born_sq = np.full(n_points + 1, np.inf)
    sizes = np.full(n_points + 1, n_points, np.int64)
    n_clusters = 1
    owner = np.zeros(n_nodes, np.int64)
    for node in range(n_nodes - 2, n_points - 1, -1):
        if whole[node] != node or size[node] < min_size:
            continue
        over = whole[above[node]]
        owner[node] = owner[over]
        if n_large[over] > 1:
            parent[n_clusters] = owner[over]
            born_sq[n_clusters] = merged_sq[over]
            sizes[n_clusters] = 0
            owner[node] = n_clusters
            n_clusters += 1
    left_sq = np.full(n_nodes, -1.0)  # -1: still in a cluster
    for node in range(n_nodes - 2, -1, -1):
        if whole[node] != node or size[node] >= min_size:
            continue
        over = whole[above[node]]
        owner[node], left_sq[node] = owner[over], left_sq[over]
        if left_sq[over] < 0:
            left_sq[node] = merged_sq[over]
            if n_large[over] > 1:
                owner[node] = owner[nearest[node]]
    for point in range(n_points):
        sizes[owner[point]] += 1
    for cluster in range(n_clusters - 1, 0, -1):
        sizes[parent[cluster]] += sizes[cluster]
    sizes[0] = n_points
    return (
        parent[:n_clusters].copy(),
        born_sq[:n_clusters].copy(),
        sizes[:n_clusters].copy(),
        owner[:n_points].copy(),
        left_sq[:n_points].copy(),
    )


def condense(tree: SpanningTree, min_size: int) -> Condensed:
    """Keep the splits of which at least two parts have `min_size` points.

    Parameters
    ----------
    tree : SpanningTree
        Of at least two points.
    min_size : int from 2
    """
    return Condensed(*_condense(*_link(*tree, min_size), min_size))


def _density(sq_dist: Floats) -> Floats:
    with np.errstate(divide="ignore"):
        return np.asarray(1.0 / np.sqrt(sq_dist))


def _by_cluster(keys: Ints, values: Floats, n_nodes: int) -> list[Floats]:
    order = np.argsort(keys, kind="stable")
    return np.split(values[order], np.searchsorted(keys[order], np.arange(1, n_nodes)))


def stabilities(tree: Condensed) -> Floats:
    """Return the excess of mass of each cluster: over its points, the density from its birth on.

    Returns
    -------
    ndarray of shape (n_nodes,), float64
        Infinite where `min_size` points or more are in one place.
    """
    n_nodes = len(tree.parent)
    born = _density(tree.born_sq)
    shares = np.concatenate(
        [
            _density(tree.left_sq) - born[tree.owner],
            (born[1:] - born[tree.parent[1:]]) * tree.size[1:],
        ]
    )
    keys = np.concatenate([tree.owner, tree.parent[1:]])
    return np.array([math.fsum(own) for own in _by_cluster(keys, shares, n_nodes)])


def _children(tree: Condensed) -> list[list[int]]:
    children: list[list[int]] = [[] for _ in tree.parent]
    for node, parent in enumerate(tree.parent.tolist()):
        if parent >= 0:
            children[parent].append(node)
    return children


def _of_largest_mass(tree: Condensed, *, with_root: bool) -> list[int]:
    """Select the clusters, none inside another, whose stabilities sum to the most."""
    children, best = _children(tree), stabilities(tree).tolist()
    is_kept = [True] * len(best)
    is_kept[0] = with_root
    for node in range(len(best) - 1, -1, -1):
        below = math.fsum(best[child] for child in children[node])
        if below > best[node]:
            is_kept[node], best[node] = False, below
    is_inside = [False] * len(best)
    selected = []
    for node, parent in enumerate(tree.parent.tolist()):
        is_inside[node] = parent >= 0 and is_inside[parent]
        if is_kept[node] and not is_inside[node]:
            selected.append(node)
            is_inside[node] = True
    return selected


def _merge_below(
    tree: Condensed, selected: list[int], epsilon: float, *, with_root: bool
) -> list[int]:
    """Replace clusters born below a distance by the first around them that was born above."""
    found = set()
    for start in selected:
        node = start
        if math.sqrt(tree.born_sq[node]) < epsilon:
            while tree.parent[node]:
                node = int(tree.parent[node])
                if math.sqrt(tree.born_sq[node]) > epsilon:
                    break
            else:
                node = 0 if with_root else node
        found.add(node)
    if 0 in found:
        return [0]
    return sorted(found)


def select(tree: Condensed, method: str, epsilon: float, *, with_root: bool) -> list[int]:
    """Select clusters of which none is inside another.

    Parameters
    ----------
    tree : Condensed
    method : {"eom", "leaf"}
        Those of the largest excess of mass, or those that do not split.
    epsilon : float
        Clusters born below this distance become part of one born above it.
    with_root : bool
        All points may be one cluster.

    Returns
    -------
    list of int
        Rising numbers of clusters of the tree.
    """
    if method == "leaf":
        selected = [node for node, below in enumerate(_children(tree)) if node and not below]
    else:
        selected = _of_largest_mass(tree, with_root=with_root)
    if epsilon > 0 and len(tree.parent) > 1 and selected != [0]:
        selected = _merge_below(tree, selected, epsilon, with_root=with_root)
    return selected


def _root_reach_sq(tree: Condensed, epsilon: float) -> float:
    """Return how far the cluster of all points reaches: as scikit-learn has it."""
    if epsilon > 0:
        return epsilon * epsilon
    inside = tree.left_sq[tree.owner == 0], tree.born_sq[tree.parent == 0]
    return float(np.concatenate(inside).min())


def _labels_of(
    tree: Condensed, selected: list[int], epsilon: float
) -> tuple[NDArray[np.int32], Floats]:
    """Return a label per point, by place in `selected`, and the reach of each cluster."""
    place = {node: label for label, node in enumerate(selected)}
    of_node = np.full(len(tree.parent), -1, np.int32)
    for node, parent in enumerate(tree.parent.tolist()):
        of_node[node] = place.get(node, of_node[parent] if node else -1)
    reach_sq = tree.born_sq[selected]
    labels = of_node[tree.owner]
    if selected == [0]:
        reach_sq[0] = _root_reach_sq(tree, epsilon)
        labels[tree.left_sq > reach_sq[0]] = -1
    return labels, reach_sq


def flatten(tree: Condensed, selected: list[int], epsilon: float) -> Flat:
    """Give labels and strengths to the points.

    Parameters
    ----------
    tree : Condensed
    selected, epsilon
        As `select` returned it, and took it.
    """
    labels, reach_sq = _labels_of(tree, selected, epsilon)
    peak_sq = np.full(len(tree.parent), np.inf)
    np.minimum.at(peak_sq, tree.owner, tree.left_sq)
    np.minimum.at(peak_sq, tree.parent[1:], tree.born_sq[1:])
    sizes = np.bincount(labels[labels >= 0], minlength=len(selected))
    first = np.full(len(selected), len(labels))
    np.minimum.at(first, labels[labels >= 0], np.flatnonzero(labels >= 0))
    order = np.lexsort((first, -sizes))
    rank = np.empty(len(selected) + 1, np.int32)
    rank[order], rank[-1] = np.arange(len(selected)), -1
    labels, nodes = rank[labels], np.array(selected, np.int64)[order]
    largest = float(_density(peak_sq).max())
    mass = stabilities(tree)[nodes]
    with np.errstate(invalid="ignore", divide="ignore"):
        persistence = mass / (sizes[order] * largest)
    if not math.isfinite(largest):
        persistence = np.ones(len(nodes))
    return Flat(
        labels,
        strengths_of(labels, tree.left_sq, peak_sq[nodes]),
        reach_sq[order],
        peak_sq[nodes],
        persistence,
    )


def strengths_of(labels: NDArray[np.int32], sq_dist: Floats, peak_sq: Floats) -> Floats:
    """Return the density at a squared distance over the largest of the cluster, at most 1."""
    strengths = np.zeros(len(labels))
    inside = labels >= 0
    peak = peak_sq[labels[inside]]
    far = np.maximum(sq_dist[inside], peak)
    strengths[inside] = np.sqrt(np.divide(peak, far, out=np.ones(len(far)), where=far > 0))
    return strengths
