"""The minimum spanning tree of points under mutual reachability, in memory.

The mutual reachability distance of two points is the largest of their distance and their two
core distances, those to their k-th nearest point (themselves counted).

Covers: the tree by Borůvka's algorithm over a k-d tree, in float64; walking it by Prim's rule.
Does not cover: what the tree says about clusters (see `kernels.condensed`).

References: Campello, Moulavi and Sander, Density-based clustering based on hierarchical density
estimates, PAKDD 2013; March, Ram and Gray, Fast Euclidean minimum spanning tree, KDD 2010.
"""

from __future__ import annotations

import heapq
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from daskseg.kernels import kdtree
from daskseg.kernels.compiling import compiled
from daskseg.kernels.kdtree import STACK, KdTree

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


class SpanningTree(NamedTuple):
    """Edges by rising mutual reachability; of equal ones the shorter come first.

    Attributes
    ----------
    first, second : ndarray of shape (n_points - 1,), int64
        Places of the points in the array that was handed over.
    sq_dist : ndarray of shape (n_points - 1,), float64
        Squared mutual reachability distances. Many are equal: those of a point to all that lie
        within its core distance. The tree is minimal in the distances of its ends too.
    """

    first: Ints
    second: Ints
    sq_dist: Floats


@compiled()
def _root(above: Any, node: int) -> int:  # pragma: no cover - compiled
    while above[node] != node:
        above[node] = above[above[node]]
        node = above[node]
    return node


@compiled()
def _label_nodes(tree: KdTree, component: Any, of_node: Any) -> None:  # pragma: no cover - compiled
    """Note for each node the component of all its points, -1 where they have several."""
    n_inner = len(tree.start) // 2
    for node in range(len(tree.start) - 1, -1, -1):
        if node < n_inner:
            left, right = of_node[2 * node + 1], of_node[2 * node + 2]
            of_node[node] = left if left == right else -1
            continue
        of_node[node] = component[tree.start[node]]
        for j in range(tree.start[node] + 1, tree.stop[node]):
            if component[j] != of_node[node]:
                of_node[node] = -1
                break


@compiled()
def _find_ways_out(
    tree: KdTree,
    sq_core: Any,
    least_core: Any,
    component: Any,
    of_node: Any,
    best_sq: Any,
    best_gap: Any,
    best_from: Any,
    best_to: Any,
) -> None:  # pragma: no cover - compiled
    """Find the shortest edge from each component to another one.

    By mutual reachability (`best_sq`), then by the distance of the ends (`best_gap`).
    """
    n_inner = len(tree.start) // 2
    stack, bounds = np.empty(STACK, np.int64), np.empty(STACK)
    for i in range(len(component)):
        own, core = component[i], sq_core[i]
        if core > best_sq[own]:
            continue
        stack[0] = 0
        bounds[0] = 0.0
        top = 1
        while top:
            top -= 1
            node = stack[top]
            limit = best_sq[own]
            least = max(bounds[top], least_core[node], core)
            if of_node[node] == own or least > limit:
                continue
            if least == limit and bounds[top] >= best_gap[own]:
                continue
            if node < n_inner:
                top = kdtree.push_children(tree, node, tree.points[i], limit, stack, bounds, top)
                continue
            for j in range(tree.start[node], tree.stop[node]):
                if component[j] == own or sq_core[j] > best_sq[own]:
                    continue
                gap = kdtree.sq_between(tree.points[i], tree.points[j])
                sq_dist = max(gap, core, sq_core[j])
                if sq_dist < best_sq[own] or (sq_dist == best_sq[own] and gap < best_gap[own]):
                    best_sq[own], best_gap[own] = sq_dist, gap
                    best_from[own], best_to[own] = i, j


@compiled()
def _boruvka(
    tree: KdTree, sq_core: Floats, least_core: Floats
) -> tuple[Ints, Ints, Floats, Floats]:  # pragma: no cover - compiled
    n_points = len(sq_core)
    above, component = np.arange(n_points), np.arange(n_points)
    of_node = np.empty(len(tree.start), np.int64)
    best_sq, best_gap = np.empty(n_points), np.empty(n_points)
    best_from, best_to = np.empty(n_points, np.int64), np.empty(n_points, np.int64)
    first, second = np.empty(n_points - 1, np.int64), np.empty(n_points - 1, np.int64)
    sq_dist, gap = np.empty(n_points - 1), np.empty(n_points - 1)
    n_edges = 0
    while n_edges < n_points - 1:
        _label_nodes(tree, component, of_node)
        best_sq[:] = np.inf
        best_gap[:] = np.inf
        _find_ways_out(
            tree, sq_core, least_core, component, of_node, best_sq, best_gap, best_from, best_to
        )
        for own in range(n_points):
            # Only roots have a way out. Of two components that chose each other, or a ring of
            # equal distances, the last edge is left out.
            if best_sq[own] == np.inf:
                continue
            a, b = _root(above, best_from[own]), _root(above, best_to[own])
            if a != b:
                above[a] = b
                first[n_edges], second[n_edges] = best_from[own], best_to[own]
                sq_dist[n_edges], gap[n_edges] = best_sq[own], best_gap[own]
                n_edges += 1
        for i in range(n_points):
            component[i] = _root(above, i)
    return first, second, sq_dist, gap


def span(tree: KdTree, sq_core: Floats) -> SpanningTree:
    """Find the minimum spanning tree.

    Parameters
    ----------
    tree : KdTree
        Of at least one point, whose squared distances are finite.
    sq_core : ndarray of shape (n_points,), float64
        Squared core distances, in the order of the leaves.

    Returns
    -------
    SpanningTree
    """
    first, second, sq_dist, gap = _boruvka(tree, sq_core, kdtree.least_of_nodes(tree, sq_core))
    order = np.lexsort((gap, sq_dist))
    places = tree.places
    return SpanningTree(places[first[order]], places[second[order]], sq_dist[order])


def walk(tree: SpanningTree) -> tuple[Ints, Floats]:
    """Visit all points from the first on, always by the shortest edge to one not yet visited.

    Returns
    -------
    order : ndarray of shape (n_points,), int64
        Of equal edges the one to the smallest place comes first.
    sq_dist : ndarray of shape (n_points,), float64
        By place: the squared length of the edge by which each was reached; infinite for the
        first.
    """
    n_points = len(tree.first) + 1
    ends = np.concatenate([tree.first, tree.second])
    others = np.concatenate([tree.second, tree.first]).tolist()
    lengths = np.concatenate([tree.sq_dist, tree.sq_dist]).tolist()
    by_end = np.argsort(ends, kind="stable")
    starts = np.searchsorted(ends[by_end], np.arange(n_points + 1)).tolist()
    edges = by_end.tolist()
    order, reached = [], np.full(n_points, -1.0)
    waiting = [(np.inf, 0)]
    while waiting:
        sq_dist, point = heapq.heappop(waiting)
        order.append(point)
        reached[point] = sq_dist
        for edge in edges[starts[point] : starts[point + 1]]:
            if reached[others[edge]] < 0:
                heapq.heappush(waiting, (lengths[edge], others[edge]))
    return np.array(order, np.int64), reached
