"""How well neighbours on a map are neighbours in the data, and the other way round.

Covers: trustworthiness, continuity and recall of the k nearest of rows in memory, row by row,
without a matrix of all pairs. Does not cover: which rows are looked at (see `manifold.quality`).

Scratch memory: four numbers for each row, and a copy of the rows.
Reference: Venna and Kaski, Local multidimensional scaling, Neural Networks 19, 2006.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from daskseg.kernels.compiling import compiled

Floats = NDArray[np.float64]


class Kept(NamedTuple):
    """What a map keeps of the neighbours of rows.

    Attributes
    ----------
    trustworthiness : float
        1 less a penalty for neighbours on the map that are far in the data, as in scikit-learn.
    continuity : float
        The same with the two changed over: for neighbours in the data that are far on the map.
    recall : float
        Share of the neighbours in the data that are neighbours on the map.
    """

    trustworthiness: float
    continuity: float
    recall: float


@compiled()
def _sq_dists(columns: Any, i: int, sums: Any) -> None:  # pragma: no cover - compiled
    sums[:] = 0.0
    for f in range(len(columns)):
        column, value = columns[f], columns[f, i]
        for j in range(len(sums)):
            difference = value - column[j]
            sums[j] += difference * difference
    # A row is not its own neighbour.
    sums[i] = np.inf


@compiled()
def _nearest(sums: Any, near: Any) -> None:  # pragma: no cover - compiled
    """Fill in the numbers of the nearest, rising; the first of equals."""
    k = len(near)
    n_found = 0
    for j in range(len(sums)):
        if n_found == k and sums[j] >= sums[near[k - 1]]:
            continue
        at = min(n_found, k - 1)
        while at and sums[near[at - 1]] > sums[j]:
            near[at] = near[at - 1]
            at -= 1
        near[at] = j
        n_found = min(n_found + 1, k)


@compiled()
def _excess(sums: Any, near: Any) -> int:  # pragma: no cover - compiled
    """Add up by how much the ranks of some rows are above k, from 1 for the nearest."""
    k = len(near)
    excess = 0
    for chosen in near:
        limit, rank = sums[chosen], 1
        for j in range(len(sums)):
            rank += sums[j] < limit or (sums[j] == limit and j < chosen)
        excess += max(0, rank - k)
    return excess


@compiled()
def _compare(
    data: Floats, drawn: Floats, k: int, totals: Any
) -> None:  # pragma: no cover - compiled
    n_rows = data.shape[1]
    in_data, on_map = np.empty(n_rows), np.empty(n_rows)
    near_in_data, near_on_map = np.empty(k, np.int64), np.empty(k, np.int64)
    for i in range(n_rows):
        _sq_dists(data, i, in_data)
        _sq_dists(drawn, i, on_map)
        _nearest(in_data, near_in_data)
        _nearest(on_map, near_on_map)
        totals[0] += _excess(in_data, near_on_map)
        totals[1] += _excess(on_map, near_in_data)
        for one in near_in_data:
            for other in near_on_map:
                totals[2] += one == other


def kept_neighbours(data: Floats, drawn: Floats, k: int) -> Kept:
    """Compare the neighbours of rows in the data and on the map.

    Parameters
    ----------
    data : ndarray of shape (n_rows, n_features), float64
    drawn : ndarray of shape (n_rows, n_components), float64
    k : int
        Neighbours, from 1 and below half of the rows.

    Notes
    -----
    Time grows with the square of the rows.
    """
    n_rows = len(data)
    totals = np.zeros(3, np.int64)
    _compare(np.ascontiguousarray(data.T), np.ascontiguousarray(drawn.T), k, totals)
    worst = n_rows * k * (2 * n_rows - 3 * k - 1) / 2
    return Kept(
        1.0 - int(totals[0]) / worst,
        1.0 - int(totals[1]) / worst,
        int(totals[2]) / (n_rows * k),
    )
