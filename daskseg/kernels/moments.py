"""Ranges, and exact means and variances, of the columns of a block.

Covers: two mergeable parts: `Extent` (first pass: counts, ranges, defects) and `Moments`
(second pass: sums about the middle of the range, on the grid that the extent fixes).
NaN are left out column by column; weights are allowed. Does not cover: quantiles.

Scratch memory: masks of the block, or a few float64 copies of a piece (`scratch_bytes`).
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from daskseg.kernels import grid
from daskseg.kernels.grid import GridSum

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
# Squares of larger values come near the end of float64.
LARGEST = 2.0**400
NO_ROW = np.iinfo(np.int64).max
# Arbitrary: the copies of a piece of so many values stay near the caches.
_PIECE_VALUES = 2**18


class Extent(NamedTuple):
    """Counts, ranges and defects of rows; merge with `merge_extents`.

    Attributes
    ----------
    n_rows : int
    low, high : ndarray of shape (n_features,), float64
        Over the finite values; inf and -inf where there is none.
    n_missing, n_infinite : ndarray of shape (n_features,), int64
    first_bad_row : ndarray of shape (n_features,), int64
        Global number of the first row with NaN or infinity, else `NO_ROW`.
    low_weight, high_weight : float
        NaN if a weight is NaN; 1 without weights.
    """

    n_rows: int
    low: Floats
    high: Floats
    n_missing: Ints
    n_infinite: Ints
    first_bad_row: Ints
    low_weight: float
    high_weight: float


def extent(values: NDArray[Any], weights: Floats | None, first_row: int) -> Extent:
    """Measure one block.

    Parameters
    ----------
    values : ndarray of shape (n_rows, n_features), float32 or float64
    weights : ndarray of shape (n_rows,), float64, or None
    first_row : int
    """
    n_rows, n_features = values.shape
    finite = np.isfinite(values)
    missing = np.isnan(values)
    first_bad = np.full(n_features, NO_ROW)
    if not finite.all():
        bad = np.flatnonzero(~finite.all(axis=0))
        first_bad[bad] = first_row + np.argmin(finite[:, bad], axis=0)
    low_weight, high_weight = 1.0, 1.0
    if weights is not None:
        low_weight = float(np.min(weights, initial=np.inf))
        high_weight = float(np.max(weights, initial=-np.inf))
    return Extent(
        n_rows,
        np.min(values, axis=0, initial=np.inf, where=finite).astype(np.float64),
        np.max(values, axis=0, initial=-np.inf, where=finite).astype(np.float64),
        missing.sum(axis=0, dtype=np.int64),
        (~finite & ~missing).sum(axis=0, dtype=np.int64),
        first_bad,
        low_weight,
        high_weight,
    )


def merge_extents(a: Extent, b: Extent) -> Extent:
    """Merge the extents of two sets of rows."""
    return Extent(
        a.n_rows + b.n_rows,
        np.minimum(a.low, b.low),
        np.maximum(a.high, b.high),
        a.n_missing + b.n_missing,
        a.n_infinite + b.n_infinite,
        np.minimum(a.first_bad_row, b.first_bad_row),
        float(np.minimum(a.low_weight, b.low_weight)),
        float(np.maximum(a.high_weight, b.high_weight)),
    )


class Frame(NamedTuple):
    """The middle of each column, and the grid exponents for sums about it.

    Attributes
    ----------
    middle : ndarray of shape (n_features,), float64
    values, squares : ndarray of shape (n_features,), int64
        Exponents of weighted differences from the middle, and of their squares.
    weight : int
    """

    middle: Floats
    values: Ints
    squares: Ints
    weight: int


def frame_of(seen: Extent) -> Frame:
    """Choose where sums are taken about, and on which grid."""
    low = np.where(np.isfinite(seen.low), seen.low, 0.0)
    high = np.where(np.isfinite(seen.high), seen.high, 0.0)
    middle = low + (high - low) / 2
    # One more than the difference needs: the subtraction itself rounds.
    reach = grid.range_exponents(low - middle, high - middle) + 1
    weight = int(grid.range_exponents(np.zeros(1), np.array([seen.high_weight]))[0])
    squares = np.maximum(2 * reach + weight, grid.MIN_EXPONENT)
    return Frame(middle, np.maximum(reach + weight, grid.MIN_EXPONENT), squares, weight)


class Moments(NamedTuple):
    """Exact sums of a `Frame`; merge with `merge_moments`.

    Attributes
    ----------
    counts, weights, sums, squares : GridSum of shape (n_features,)
        Number of values, their weights, weighted differences from the middle, and weighted
        squares of these.
    """

    counts: Ints
    weights: GridSum
    sums: GridSum
    squares: GridSum


def _piece_rows(n_features: int) -> int:
    return max(256, _PIECE_VALUES // max(1, n_features))


def moments(values: NDArray[Any], weights: Floats | None, frame: Frame) -> Moments:
    """Sum one block.

    Parameters
    ----------
    values : ndarray of shape (n_rows, n_features), float32 or float64
        Finite or NaN, within the extent that made `frame`; NaN are left out.
    weights : ndarray of shape (n_rows,), float64, or None
    frame : Frame
    """
    n_rows, n_features = values.shape
    zero = GridSum(*(np.zeros(n_features, object) for _ in range(2)))
    total = Moments(np.zeros(n_features, np.int64), zero, zero, zero)
    weight_exponents = np.full(n_features, frame.weight)
    step = _piece_rows(n_features)
    for start in range(0, n_rows, step):
        piece = values[start : start + step].astype(np.float64) - frame.middle
        valid = ~np.isnan(piece)
        heavy = np.ones(len(piece)) if weights is None else weights[start : start + step]
        heavy = np.where(valid, heavy[:, None], 0.0)
        piece[~valid] = 0.0
        part = Moments(
            valid.sum(axis=0, dtype=np.int64),
            grid.sum_columns(heavy, weight_exponents),
            grid.sum_columns(heavy * piece, frame.values),
            grid.sum_columns(heavy * (piece * piece), frame.squares),
        )
        total = merge_moments(total, part)
    return total


def merge_moments(a: Moments, b: Moments) -> Moments:
    """Add the sums of two sets of rows."""
    return Moments(
        a.counts + b.counts,
        grid.add(a.weights, b.weights),
        grid.add(a.sums, b.sums),
        grid.add(a.squares, b.squares),
    )


class Summary(NamedTuple):
    """Finished moments of each column; NaN where a column has no weight.

    Attributes
    ----------
    total_weight, mean, variance : ndarray of shape (n_features,), float64
        The variance divides by the total weight (no degree of freedom is taken off).
    """

    total_weight: Floats
    mean: Floats
    variance: Floats


def finish_moments(total: Moments, frame: Frame) -> Summary:
    """Turn exact sums into correctly rounded moments."""
    weight_exponents = np.full(len(frame.middle), frame.weight)
    weights = grid.to_fractions(total.weights, weight_exponents)
    sums = grid.to_fractions(total.sums, frame.values)
    squares = grid.to_fractions(total.squares, frame.squares)
    variance = [
        max(float(q / w - (s / w) ** 2), 0.0) if w else np.nan
        for w, s, q in zip(weights, sums, squares, strict=True)
    ]
    offset = grid.to_floats(total.sums, frame.values, np.array(weights, dtype=object))
    return Summary(np.array([float(w) for w in weights]), frame.middle + offset, np.array(variance))


def scratch_bytes(  # one signature for all kernels
    n_features: int,
    n_centres: int,  # noqa: ARG001
    block_rows: int,
    itemsize: int,  # noqa: ARG001
) -> int:
    """Return the memory that `extent` and `moments` take beside a block.

    `extent` holds four masks of the whole block, `moments` four float64 copies of a piece.
    """
    piece_rows = min(block_rows, _piece_rows(n_features))
    return max((4 * n_features + 2) * block_rows, 33 * piece_rows * n_features)
