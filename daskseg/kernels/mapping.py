"""Where rows stand on a map of landmarks.

Covers: the weighted median of the places of a row's nearest landmarks. It lies among them, one
far landmark does not move it, and it takes no step that depends on other rows. Does not cover:
the places of the landmarks (see `daskseg.manifold`).

Scratch memory: the answer.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from daskseg.kernels.compiling import compiled
from daskseg.kernels.kdtree import STACK
from daskseg.kernels.neighbours import LANES, Leaves, search

Floats = NDArray[np.float64]


class Marks(NamedTuple):
    """Landmarks and their places on the map.

    Attributes
    ----------
    leaves : Leaves
        Of the landmarks, no two of them in one place.
    places : ndarray of shape (n_landmarks, n_components), float64
        On the map, in the order of the array that the leaves were made of.
    """

    leaves: Leaves
    places: Floats


@compiled()
def _weighted_median(values: Any, weights: Any, order: Any) -> float:  # pragma: no cover - compiled
    """Return the least value that, with those below it, has half of the weight."""
    n_values = len(values)
    total = 0.0
    for i in range(n_values):
        total += weights[i]
        at = i
        while at and values[order[at - 1]] > values[i]:
            order[at] = order[at - 1]
            at -= 1
        order[at] = i
    reached = 0.0
    for at in range(n_values):
        reached += weights[order[at]]
        if reached >= 0.5 * total:
            return float(values[order[at]])
    return float(values[order[n_values - 1]])


@compiled()
def _place(
    marks: Marks, values: NDArray[Any], k: int, found: Floats
) -> None:  # pragma: no cover - compiled
    stack, bounds, sums = np.empty(STACK, np.int64), np.empty(STACK), np.empty(LANES)
    dists, near = np.empty(k), np.empty(k, np.int64)
    weights, line, order = np.empty(k), np.empty(k), np.empty(k, np.int64)
    point = np.empty(values.shape[1])
    for i in range(len(values)):
        point[:] = values[i]
        search(marks.leaves, point, dists, near, stack, bounds, sums)
        if dists[0] == 0.0:
            found[i] = marks.places[near[0]]
            continue
        for j in range(k):
            weights[j] = math.exp(-dists[j] / dists[k - 1])
        for c in range(found.shape[1]):
            for j in range(k):
                line[j] = marks.places[near[j], c]
            found[i, c] = _weighted_median(line, weights, order)


def place(marks: Marks, values: NDArray[Any], k: int) -> Floats:
    """Place rows on the map.

    Parameters
    ----------
    marks : Marks
    values : ndarray of shape (n_rows, n_features), float32 or float64
        Finite, in the columns of the landmarks.
    k : int from 1
        Landmarks that are asked, at most all: each counts exp(-d**2 / d_k**2), where d_k is
        the distance to the last of them. A row in the place of a landmark gets its place.

    Returns
    -------
    ndarray of shape (n_rows, n_components), float64
        In each column, the median of the landmarks' places by these weights.
    """
    found = np.empty((len(values), marks.places.shape[1]))
    _place(marks, np.ascontiguousarray(values), k, found)
    return found


def scratch_bytes(n_components: int, block_rows: int) -> int:
    """Return the memory that `place` takes beside its rows: the answer."""
    return 8 * n_components * block_rows
