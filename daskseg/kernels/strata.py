"""Rows drawn per label by priority sampling, in one pass.

Covers: draws that depend on the seed and the global row numbers alone, what each row stands
for, and what the draw adds to the variance of a mean. Does not cover: what is done with the rows
(see `kernels.pairs`).

Reference: Duffield, Lund and Thorup, Priority sampling for estimation of arbitrary subset sums,
J. ACM 2007 (weights and their variance; without weights it is simple random sampling without
replacement, with its finite population correction).
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from daskseg.kernels import grid, rng
from daskseg.kernels.compiling import compiled
from daskseg.kernels.grid import GridSum

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
# Arbitrary: a part is cut down when it holds so many times what is wanted.
_SURPLUS = 3


class Quota(NamedTuple):
    """How many rows of each label are wanted.

    Attributes
    ----------
    rows : ndarray of shape (n_labels,), int64
    floor : ndarray of shape (n_labels,), float64
        Rows of a smaller priority are not returned. Any floor that lets one row more than
        wanted pass gives the same draw.
    purpose : int
        Stream of random numbers.
    """

    rows: Ints
    floor: Floats
    purpose: int


class Drawn(NamedTuple):
    """Rows by label and priority; merge with `merge_drawn`.

    Attributes
    ----------
    priority, weight : ndarray of shape (n,), float64
    codes, rows : ndarray of shape (n,), int64
        Number of the label; global number of the row.
    values : ndarray of shape (n, n_features), float64
    """

    priority: Floats
    weight: Floats
    codes: Ints
    rows: Ints
    values: Floats


class Strata(NamedTuple):
    """A finished draw, by label and row.

    Attributes
    ----------
    values : ndarray of shape (n, n_features), float64
    weights : ndarray of shape (n,), float64
        How many rows (by weight) each of them stands for.
    variances : ndarray of shape (n,), float64
        Of each weight, by its draw; zero for rows that had to be there.
    starts : ndarray of shape (n_labels + 1,), int64
        Label j has the rows ``starts[j]:starts[j + 1]``.
    """

    values: Floats
    weights: Floats
    variances: Floats
    starts: Ints


def quota_of(wanted: Ints, n_rows: Ints, weights: Floats, purpose: int) -> Quota:
    """Set floors so that about one and a half times as many rows pass as are wanted.

    Parameters
    ----------
    wanted, n_rows : ndarray of shape (n_labels,), int64
        Rows that are wanted, and that there are.
    weights : ndarray of shape (n_labels,), float64
        About the weight of each label.
    purpose : int
    """
    floor = np.where(wanted >= n_rows, 0.0, weights / (1.5 * wanted + 64.0))
    return Quota(np.minimum(wanted, n_rows), floor, purpose)


def _take(drawn: Drawn, chosen: NDArray[Any]) -> Drawn:
    return Drawn(*(field[chosen] for field in drawn))


def _keep_largest(drawn: Drawn, wanted: Ints) -> Drawn:
    """Keep one row more than wanted of each label, by (priority descending, row ascending)."""
    order = np.lexsort((drawn.rows, -drawn.priority, drawn.codes))
    codes = drawn.codes[order]
    place = np.arange(len(codes)) - np.searchsorted(codes, codes)
    return _take(drawn, order[place <= wanted[codes]])


def draw(
    values: NDArray[np.floating],
    weights: Floats | None,
    codes: NDArray[np.int32],
    rows: Ints,
    quota: Quota,
    seed: int,
) -> Drawn:
    """Draw from one block.

    Parameters
    ----------
    values : ndarray of shape (n_rows, n_features), float32 or float64
    weights : ndarray of shape (n_rows,), float64, or None
        Rows without weight are not drawn.
    codes : ndarray of shape (n_rows,), int32
    rows : ndarray of shape (n_rows,), int64
        Global numbers, ascending.
    quota : Quota
    seed : int
    """
    heavy = np.ones(len(values)) if weights is None else weights
    chance = np.empty(0)
    if len(rows):
        first = int(rows[0])
        chance = rng.uniform(seed, quota.purpose, first, int(rows[-1]) - first + 1)[rows - first]
    priority = heavy / chance
    chosen = np.flatnonzero((heavy > 0) & (priority >= quota.floor[codes]))
    drawn = Drawn(
        priority[chosen],
        heavy[chosen],
        codes[chosen].astype(np.int64),
        rows[chosen],
        values[chosen].astype(np.float64),
    )
    return _cut(drawn, quota)


def _cut(drawn: Drawn, quota: Quota) -> Drawn:
    limit = _SURPLUS * int((quota.rows + 1).sum())
    return _keep_largest(drawn, quota.rows) if len(drawn.rows) > limit else drawn


def merge_drawn(a: Drawn, b: Drawn, quota: Quota) -> Drawn:
    """Keep at least the largest priorities of two sets of blocks that a draw needs."""
    return _cut(Drawn(*(np.concatenate(pair) for pair in zip(a, b, strict=True))), quota)


def finish_draw(drawn: Drawn, quota: Quota, n_rows: Ints) -> Strata | None:
    """Set the weights of the rows, and sort them by label and row.

    Parameters
    ----------
    drawn : Drawn
        Of all rows.
    quota : Quota
    n_rows : ndarray of shape (n_labels,), int64
        Rows that there are.

    Returns
    -------
    Strata or None
        None if a floor has kept rows back that are needed: draw again without floors.
    """
    drawn = _keep_largest(drawn, quota.rows)
    found = np.bincount(drawn.codes, minlength=len(n_rows))
    if (found < np.minimum(quota.rows + 1, n_rows)).any():
        return None
    # The first row that is left out sets the weights; without one they are those of the rows.
    last = np.searchsorted(drawn.codes, np.arange(len(n_rows)), side="right") - 1
    threshold = np.where(found > quota.rows, drawn.priority[last], 0.0)
    place = np.arange(len(drawn.codes)) - np.searchsorted(drawn.codes, drawn.codes)
    drawn = _take(drawn, place < quota.rows[drawn.codes])
    drawn = _take(drawn, np.lexsort((drawn.rows, drawn.codes)))
    bound = threshold[drawn.codes]
    return Strata(
        np.ascontiguousarray(drawn.values),
        np.maximum(drawn.weight, bound),
        bound * np.maximum(0.0, bound - drawn.weight),
        np.searchsorted(drawn.codes, np.arange(len(n_rows) + 1)).astype(np.int64),
    )


def sum_weights(
    weights: Floats | None, codes: NDArray[np.int32], n_labels: int, exponent: Ints
) -> GridSum:
    """Add the weights of one block by label, exactly; `exponent` of shape (1,) bounds them."""
    high, low = np.zeros(n_labels, np.int64), np.zeros(n_labels, np.int64)
    heavy = np.ones(len(codes)) if weights is None else weights
    _sum_weights(
        np.ascontiguousarray(heavy), codes, float(grid.grid_scales(exponent)[0]), high, low
    )
    return GridSum(high.astype(object), low.astype(object))


@compiled()
def _sum_weights(
    weights: Floats, codes: NDArray[np.int32], scale: float, high: Ints, low: Ints
) -> None:  # pragma: no cover - compiled
    for i in range(len(codes)):
        a, b = grid.split(weights[i], scale)
        high[codes[i]] += a
        low[codes[i]] += b


def codes_of(strata: Strata) -> NDArray[np.int32]:
    """Return the number of the label of each row, shape (n,)."""
    counts = np.diff(strata.starts)
    return np.repeat(np.arange(len(counts), dtype=np.int32), counts)


def variance_of_mean(strata: Strata, deviations: Floats, j: int) -> float:
    """Return the variance of a weighted mean of one label, by the draw of its rows."""
    own = slice(int(strata.starts[j]), int(strata.starts[j + 1]))
    drawn = strata.variances[own] > 0
    n_drawn = int(np.count_nonzero(drawn))
    if n_drawn < 2:
        return 0.0
    mass = math.fsum(strata.weights[own])
    total = math.fsum(strata.variances[own] * deviations[own] ** 2)
    return total / mass**2 * (n_drawn / (n_drawn - 1))


def scratch_bytes(  # one signature for all kernels
    n_features: int,  # noqa: ARG001
    n_centres: int,  # noqa: ARG001
    block_rows: int,
    itemsize: int,  # noqa: ARG001
) -> int:
    """Return the memory that `draw` takes beside a block of which few rows pass the floor.

    Number, weight, chance, priority and floor of each row, and masks.
    """
    return 44 * block_rows
