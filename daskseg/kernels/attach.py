"""Rows beside clusters that were found among landmarks: labels, strengths, nearest clusters.

A row is treated as if it had been put among the landmarks, with their tree held fixed: its core
distance is that to its k-th nearest landmark; it joins the landmark of the least mutual
reachability distance, and the cluster of that one if that reaches so far. A row in the place of
a landmark gets exactly what the landmark has.

Covers: the exact search, and what follows from it. Does not cover: finding the clusters (see
`kernels.condensed`).

Scratch memory: 60 bytes per row, the answer and what makes the strengths.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from daskseg.kernels import kdtree
from daskseg.kernels.compiling import compiled
from daskseg.kernels.condensed import Flat, strengths_of
from daskseg.kernels.kdtree import STACK, KdTree

Floats = NDArray[np.float64]


class Landmarks(NamedTuple):
    """Landmarks in the order of a tree's leaves, and the clusters among them.

    Attributes
    ----------
    tree : KdTree
    k : int
        Core distances are those to the k-th nearest landmark.
    sq_core : ndarray of shape (n_points,), float64
    least_core : ndarray of shape (n_nodes,), float64
        Least of `sq_core` in each node of the tree.
    labels : ndarray of shape (n_points,), int32
    left_sq : ndarray of shape (n_points,), float64
        As in `condensed.Condensed`.
    unlabelled : ndarray of shape (n_nodes,), float64
        1 where no landmark of a node is in a cluster, else 0.
    reach_sq, peak_sq : ndarray of shape (n_clusters,), float64
        As in `condensed.Flat`.
    """

    tree: KdTree
    k: int
    sq_core: Floats
    least_core: Floats
    labels: NDArray[np.int32]
    left_sq: Floats
    unlabelled: Floats
    reach_sq: Floats
    peak_sq: Floats


class Attached(NamedTuple):
    """Per row: its label (-1: noise), its strength, and its label or else the nearest cluster.

    Attributes
    ----------
    labels : ndarray of shape (n_rows,), int32
    strengths : ndarray of shape (n_rows,), float64
    nearest : ndarray of shape (n_rows,), int32
        -1 only where there is no cluster.
    """

    labels: NDArray[np.int32]
    strengths: Floats
    nearest: NDArray[np.int32]


def landmarks_of(tree: KdTree, k: int, sq_core: Floats, left_sq: Floats, flat: Flat) -> Landmarks:
    """Put together what `attach` needs.

    Parameters
    ----------
    tree : KdTree
    k : int
    sq_core : ndarray of shape (n_points,), float64
        In the order of the leaves.
    left_sq : ndarray of shape (n_points,), float64
        In the order of the points, as the labels of `flat`.
    flat : Flat
    """
    labels = flat.labels[tree.places]
    is_noise = (labels < 0).astype(np.float64)
    return Landmarks(
        tree,
        k,
        sq_core,
        kdtree.least_of_nodes(tree, sq_core),
        labels,
        left_sq[tree.places],
        kdtree.least_of_nodes(tree, is_noise),
        flat.reach_sq,
        flat.peak_sq,
    )


@compiled()
def _joined(
    marks: Landmarks, point: Any, core: float, stack: Any, bounds: Any
) -> tuple[int, float]:  # pragma: no cover - compiled
    """Find the landmark of the least mutual reachability distance, and its square.

    Of equal ones one in the same place comes first, then those whose cluster reaches so far,
    then the nearest, then the first.
    """
    tree = marks.tree
    n_inner = len(tree.start) // 2
    best, best_reach, best_dist, best_member = -1, np.inf, np.inf, False
    stack[0] = 0
    bounds[0] = 0.0
    top = 1
    while top:
        top -= 1
        node = stack[top]
        least = max(bounds[top], core, marks.least_core[node])
        if least > best_reach:
            continue
        if least == best_reach and best_member and bounds[top] > best_dist:
            continue
        if node < n_inner:
            top = kdtree.push_children(tree, node, point, best_reach, stack, bounds, top)
            continue
        for j in range(tree.start[node], tree.stop[node]):
            sq_dist = kdtree.sq_between(point, tree.points[j])
            reach = max(sq_dist, core, marks.sq_core[j])
            if reach > best_reach:
                continue
            label = marks.labels[j]
            member = sq_dist == 0.0 or (label >= 0 and reach <= marks.reach_sq[label])
            if reach == best_reach:
                if member != best_member:
                    if best_member:
                        continue
                elif sq_dist > best_dist or (
                    sq_dist == best_dist and tree.places[j] > tree.places[best]
                ):
                    continue
            best, best_reach, best_dist, best_member = j, reach, sq_dist, member
    return best, best_reach


@compiled()
def _nearest_labelled(
    marks: Landmarks, point: Any, stack: Any, bounds: Any
) -> int:  # pragma: no cover - compiled
    """Return the label of the nearest landmark in a cluster; the first of equals."""
    tree = marks.tree
    n_inner = len(tree.start) // 2
    best, best_sq = -1, np.inf
    stack[0] = 0
    bounds[0] = 0.0
    top = 1
    while top:
        top -= 1
        node = stack[top]
        if bounds[top] > best_sq or marks.unlabelled[node] > 0:
            continue
        if node < n_inner:
            top = kdtree.push_children(tree, node, point, best_sq, stack, bounds, top)
            continue
        for j in range(tree.start[node], tree.stop[node]):
            if marks.labels[j] < 0:
                continue
            sq_dist = kdtree.sq_between(point, tree.points[j])
            if sq_dist < best_sq or (
                sq_dist == best_sq and best >= 0 and tree.places[j] < tree.places[best]
            ):
                best, best_sq = j, sq_dist
    return marks.labels[best] if best >= 0 else -1


@compiled()
def _attach(
    marks: Landmarks,
    values: NDArray[Any],
    labels: Any,
    joined_sq: Any,
    nearest: Any,
    with_nearest: bool,
) -> None:  # pragma: no cover - compiled
    heap = np.empty(marks.k)
    stack, bounds = np.empty(STACK, np.int64), np.empty(STACK)
    point = np.empty(values.shape[1])
    for i in range(len(values)):
        point[:] = values[i]
        core = kdtree.sq_to_kth(marks.tree, point, heap, stack, bounds)
        mark, reach = _joined(marks, point, core, stack, bounds)
        label = marks.labels[mark]
        if label >= 0 and reach > marks.reach_sq[label]:
            label = -1
        labels[i] = label
        # It leaves the cluster with its landmark at the latest.
        joined_sq[i] = max(reach, marks.left_sq[mark])
        nearest[i] = label
        if label < 0 and with_nearest:
            nearest[i] = _nearest_labelled(marks, point, stack, bounds)


def attach(marks: Landmarks, values: NDArray[Any], *, with_nearest: bool = True) -> Attached:
    """Attach rows to the clusters of landmarks.

    Parameters
    ----------
    marks : Landmarks
    values : ndarray of shape (n_rows, n_features), float32 or float64
        Finite.
    with_nearest : bool
        If false, `nearest` is `labels`.
    """
    n_rows = len(values)
    labels, nearest = np.empty(n_rows, np.int32), np.empty(n_rows, np.int32)
    joined_sq = np.empty(n_rows)
    _attach(marks, np.ascontiguousarray(values), labels, joined_sq, nearest, with_nearest)
    return Attached(labels, strengths_of(labels, joined_sq, marks.peak_sq), nearest)
