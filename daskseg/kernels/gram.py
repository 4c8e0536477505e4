"""Exact sums of products of columns (a Gram matrix), for means and covariances.

Covers: `Gram`, summed block by block with BLAS on integers small enough to be exact, so that
chunking, order, threads and the make of BLAS leave no trace; weights; missing values pair by
pair; finishing into correctly rounded moments. Does not cover: eigenvectors (`kernels.eigen`).

A centred value y with |y| <= 2**e becomes two integers of 21 bits, ``high = rint(y * 2**(21 - e))``
and what is left at 2**-21 of that. Products over a tile of 2,048 rows stay within 2**53, so
float64 arithmetic on them is exact; sums of tiles are kept in 128 bits. The slices are those of
Ozaki, Ogita, Oishi and Rump, Numerical Algorithms 59, 2012.
"""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from daskseg.errors import InputError
from daskseg.kernels import grid
from daskseg.kernels.compiling import compiled
from daskseg.kernels.moments import Extent

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

SLICE_BITS = 21
TILE_ROWS = 2048  # 2 * SLICE_BITS + log2(TILE_ROWS) = 53
_UNIT_BITS = 4 * SLICE_BITS
_SLICE = np.float64(2**SLICE_BITS)
_LOW_64 = 2**64 - 1


class GramFrame(NamedTuple):
    """Where products are taken about, on which grid, and which columns mark presence.

    Attributes
    ----------
    middle : ndarray of shape (n_features,), float64
        Subtracted from every value.
    exponents : ndarray of shape (n_features + n_marks,), int64
        Bounds of the columns that are multiplied: features, then marks of presence, both
        times the root of the weight.
    marks : ndarray of shape (n_features,), int64
        Which mark says where a feature is present; mark 0 is one for every row.
    """

    middle: Floats
    exponents: Ints
    marks: Ints

    @property
    def width(self) -> int:
        """Number of columns that are multiplied with each other."""
        return len(self.exponents)


class Gram(NamedTuple):
    """Sums of products of all pairs of columns; merge with `merge_grams`.

    Attributes
    ----------
    n_rows : int
    high : ndarray of shape (width * (width + 1) / 2,), int64
    low : ndarray of the same shape, uint64
        The sum of pair (i, j), i <= j, row by row, is ``high * 2**64 + low`` in units of
        ``2**(exponents[i] + exponents[j] - 84)``.
    """

    n_rows: int
    high: Ints
    low: NDArray[np.uint64]


def gram_frame(
    seen: Extent, *, marks: Ints | None = None, middle: Floats | None = None
) -> GramFrame:
    """Choose the middle of each range, and the grid that holds every value.

    Parameters
    ----------
    seen : Extent
    marks : ndarray of shape (n_features,), int64, optional
        As in `GramFrame`: 0 where no value is missing, else numbers from 1 without a gap.
    middle : ndarray of shape (n_features,), float64, optional
        Given where sums go on; any is right, one far from the values costs digits.
    """
    low = np.where(np.isfinite(seen.low), seen.low, 0.0 if middle is None else middle)
    high = np.where(np.isfinite(seen.high), seen.high, low)
    centre = low + (high - low) / 2 if middle is None else middle
    # Rounding keeps order, so the differences of the ends bound those of all values.
    reach = grid.range_exponents(low - centre, high - centre)
    root = 0
    if (seen.low_weight, seen.high_weight) != (1.0, 1.0):
        largest = np.sqrt(np.array([seen.high_weight]))
        root = int(grid.range_exponents(np.zeros(1), largest)[0])
    numbers = np.zeros(len(centre), np.int64) if marks is None else marks
    bounds = np.concatenate([reach, np.zeros(int(numbers.max(initial=0)) + 1, np.int64)])
    return GramFrame(centre, np.maximum(bounds + root, grid.MIN_EXPONENT), numbers)


def marks_of(missing: NDArray[np.bool_]) -> Ints:
    """Give numbers to the columns that may miss values; the others share mark 0."""
    return np.where(missing, np.cumsum(missing), 0).astype(np.int64)


@compiled()
def _slice_tile(
    values: Any,
    roots: Floats,
    middle: Floats,
    scales: Floats,
    marks: Ints,
    tile: Floats,
) -> bool:  # pragma: no cover - compiled
    """Write the high slices of a tile into its left half, the low ones into its right half."""
    n_rows, n_features = values.shape
    width = len(scales)
    is_sound = True
    for i in range(n_rows):
        root = roots[i] if len(roots) else 1.0
        for mark in range(n_features, width):
            scaled = root * scales[mark]
            high = np.rint(scaled)
            tile[i, mark] = high
            tile[i, width + mark] = np.rint((scaled - high) * _SLICE)
        for f in range(n_features):
            scaled = (np.float64(values[i, f]) - middle[f]) * root * scales[f]
            high = np.rint(scaled)
            tile[i, f] = high
            tile[i, width + f] = np.rint((scaled - high) * _SLICE)
            is_sound &= abs(scaled) <= _SLICE
    if is_sound:
        return True
    # Slow path: some value is missing, or outside the range that was measured.
    for i in range(n_rows):
        for f in range(n_features):
            if not np.isnan(values[i, f]):
                if not abs(tile[i, f]) <= _SLICE:
                    return False
                continue
            if marks[f] == 0:
                return False
            for column in (f, n_features + marks[f]):
                tile[i, column] = 0.0
                tile[i, width + column] = 0.0
    return True


@compiled()
def _add_products(
    products: Floats, high: Ints, low: NDArray[np.uint64]
) -> None:  # pragma: no cover - compiled
    """Add the products of the slices, joined by carries, to the 128-bit sums."""
    width = products.shape[0] // 2
    mask = np.int64(2**SLICE_BITS - 1)
    at = 0
    for i in range(width):
        for j in range(i, width):
            least = np.int64(products[width + i, width + j])
            cross = np.int64(products[i, width + j]) + np.int64(products[width + i, j])
            cross += least >> SLICE_BITS
            most = np.int64(products[i, j]) + (cross >> SLICE_BITS)
            rest = ((cross & mask) << SLICE_BITS) | (least & mask)
            before = low[at]
            low[at] = before + (np.uint64(most) << np.uint64(2 * SLICE_BITS)) + np.uint64(rest)
            high[at] += (most >> (64 - 2 * SLICE_BITS)) + np.int64(low[at] < before)
            at += 1


def measured_range_error() -> InputError:
    """Return the error for a value that an earlier pass did not see."""
    return InputError(
        "a value is outside the range that an earlier pass measured: the data changed while they "
        "were read."
    )


def gram(values: NDArray[Any], weights: Floats | None, frame: GramFrame) -> Gram:
    """Sum the products of one block.

    Parameters
    ----------
    values : ndarray of shape (n_rows, n_features), float32 or float64
        Finite and within the extent that made `frame`; NaN where it marks presence.
    weights : ndarray of shape (n_rows,), float64, or None
    frame : GramFrame

    Raises
    ------
    InputError
        If a value is outside the range that was measured.

    Notes
    -----
    Scratch memory: `scratch_bytes`.
    """
    width = frame.width
    scales = np.ldexp(1.0, (SLICE_BITS - frame.exponents).astype(np.int32))
    roots = np.empty(0) if weights is None else np.sqrt(weights)
    high = np.zeros(width * (width + 1) // 2, np.int64)
    low = np.zeros(len(high), np.uint64)
    tile = np.empty((min(TILE_ROWS, len(values)), 2 * width))
    for start in range(0, len(values), TILE_ROWS):
        piece = np.ascontiguousarray(values[start : start + TILE_ROWS])
        part = tile[: len(piece)]
        some_roots = roots[start : start + TILE_ROWS]
        if not _slice_tile(piece, some_roots, frame.middle, scales, frame.marks, part):
            raise measured_range_error()
        _add_products(part.T @ part, high, low)
    return Gram(len(values), high, low)


@compiled()
def _add_128(
    high: Ints, low: NDArray[np.uint64], more_high: Ints, more_low: NDArray[np.uint64]
) -> tuple[Ints, NDArray[np.uint64]]:  # pragma: no cover - compiled
    new_low = low + more_low
    return high + more_high + (new_low < low), new_low


def merge_grams(a: Gram, b: Gram) -> Gram:
    """Add the sums of two sets of rows."""
    return Gram(a.n_rows + b.n_rows, *_add_128(a.high, a.low, b.high, b.low))


def widened(total: Gram, frame: GramFrame, exponents: Ints) -> tuple[Gram, GramFrame]:
    """Bring sums onto a coarser grid that holds larger values too.

    Parameters
    ----------
    total : Gram
    frame : GramFrame
    exponents : ndarray of shape (frame.width,), int64
        Bounds to hold; where those of `frame` are larger, they stay.

    Notes
    -----
    Rounds the sums to 2**-84 of the product of the new bounds.
    """
    wide = np.maximum(exponents, frame.exponents)
    if np.array_equal(wide, frame.exponents):
        return total, frame
    grown = (wide - frame.exponents).astype(object)
    pairs = np.triu_indices(frame.width)
    shifts = grown[pairs[0]] + grown[pairs[1]]
    sums = (total.high.astype(object) << 64) + total.low.astype(object)
    # Half a unit rounds to nearest; nothing is shifted by zero.
    halves = (1 << shifts) >> 1
    sums = (sums + halves) >> shifts
    high, low = (sums >> 64).astype(np.int64), (sums & _LOW_64).astype(np.uint64)
    return Gram(total.n_rows, high, low), frame._replace(exponents=wide)


def _integers(total: Gram, width: int) -> list[list[int]]:
    """Return the sums as a symmetric table of whole numbers."""
    table = [[0] * width for _ in range(width)]
    at = 0
    highs, lows = total.high.tolist(), total.low.tolist()
    for i in range(width):
        for j in range(i, width):
            table[i][j] = table[j][i] = (highs[at] << 64) + lows[at]
            at += 1
    return table


def moved(total: Gram, frame: GramFrame, middle: Floats) -> tuple[Gram, GramFrame]:
    """Bring sums to another middle, as if it had been subtracted from every value.

    Parameters
    ----------
    total : Gram
    frame : GramFrame
    middle : ndarray of shape (n_features,), float64

    Notes
    -----
    Exact up to one rounding to the grid, which becomes coarser where the middles are far apart.
    """
    pairs = zip(frame.middle.tolist(), middle.tolist(), strict=True)
    steps = [Fraction(old) - Fraction(new) for old, new in pairs]
    root = int(frame.exponents[-1])
    reach = grid.range_exponents(frame.middle - middle, frame.middle - middle) + root
    exponents = frame.exponents.copy()
    apart = np.flatnonzero(frame.middle != middle)
    exponents[apart] = np.maximum(exponents[apart], reach[apart] + 1) + 1
    n_features, old_exponents = len(middle), frame.exponents.tolist()
    # Marks stay where they are.
    steps += [Fraction(0)] * (frame.width - n_features)
    places = (n_features + frame.marks).tolist() + list(range(n_features, frame.width))
    table = _integers(total, frame.width)

    def value(i: int, j: int) -> Fraction:
        unit: Fraction = Fraction(2) ** (old_exponents[i] + old_exponents[j])
        return table[i][j] * unit

    sums = []
    for i in range(frame.width):
        for j in range(i, frame.width):
            one, two = places[i], places[j]
            found = value(i, j) + steps[i] * value(one, j)
            found += steps[j] * (value(i, two) + steps[i] * value(one, two))
            sums.append(round(found / Fraction(2) ** int(exponents[i] + exponents[j])))
    high = np.array([units >> 64 for units in sums], np.int64)
    low = np.array([units & _LOW_64 for units in sums], np.uint64)
    return Gram(total.n_rows, high, low), GramFrame(middle, exponents, frame.marks)


class Covariance(NamedTuple):
    """Finished moments.

    Attributes
    ----------
    n_rows : int
    weights : ndarray of shape (n_features,), float64
        Of the rows where a value is there; their number where they have no weights.
    total_weight : float
    mean : ndarray of shape (n_features,), float64
        Over the values that are there.
    covariance : ndarray of shape (n_features, n_features), float64
        Divided by the weight less one; each entry over the rows where both values are there.
    """

    n_rows: int
    weights: Floats
    total_weight: float
    mean: Floats
    covariance: Floats


def finish_gram(total: Gram, frame: GramFrame) -> Covariance:
    """Turn exact sums into correctly rounded moments.

    Weights count repeats, so the divisor of a covariance is their sum less one.

    Raises
    ------
    InputError
        If the weights of a pair of columns do not add up to more than one.
    """
    table = _integers(total, frame.width)
    exponents = frame.exponents.tolist()
    n_features = len(frame.middle)
    places = [n_features + mark for mark in frame.marks.tolist()]
    unit = Fraction(2) ** (2 * exponents[-1] - _UNIT_BITS)
    mean, weights = np.empty(n_features), np.empty(n_features)
    covariance = np.empty((n_features, n_features))
    for i, at_i in enumerate(places):
        weights[i] = float(table[at_i][at_i] * unit)
        scale = Fraction(2) ** (exponents[i] - exponents[-1])
        share = Fraction(table[i][at_i], table[at_i][at_i]) if table[at_i][at_i] else Fraction(0)
        mean[i] = float(Fraction(float(frame.middle[i])) + share * scale)
        for j in range(i, n_features):
            at_j = places[j]
            weight = table[at_i][at_j]
            spread = weight * table[i][j] - table[i][at_j] * table[j][at_i]
            value = _divided(spread, weight, unit, (i, j))
            covariance[i, j] = math.ldexp(value, exponents[i] + exponents[j] - _UNIT_BITS)
            covariance[j, i] = covariance[i, j]
    whole = Fraction(table[n_features][n_features]) * unit
    return Covariance(total.n_rows, weights, float(whole), mean, covariance)


def least_weight(total: Gram, frame: GramFrame) -> float:
    """Return the least weight of the rows where both columns of a pair are there."""
    table = _integers(total, frame.width)
    places = len(frame.middle) + np.unique(frame.marks)
    unit = Fraction(2) ** (2 * int(frame.exponents[-1]) - _UNIT_BITS)
    return float(min(table[i][j] for i in places for j in places) * unit)


def _divided(spread: int, weight: int, unit: Fraction, pair: tuple[int, int]) -> float:
    """Return ``spread / weight / (weight * unit - 1)``, rounded once."""
    degrees = weight * unit.numerator - unit.denominator
    if degrees <= 0:
        which = f"columns {pair[0]} and {pair[1]}" if pair[0] != pair[1] else f"column {pair[0]}"
        raise InputError(
            f"{which} (from 0) together have values in {float(weight * unit):g} rows (counted by "
            "weight), but a covariance takes more than one."
        )
    return spread * unit.denominator / (weight * degrees)


def scratch_bytes(  # one signature for all kernels
    n_features: int,
    n_centres: int,  # noqa: ARG001
    block_rows: int,
    itemsize: int,  # noqa: ARG001
) -> int:
    """Return the memory that `gram` takes beside a block: a tile, its products, and the sums.

    Parameters
    ----------
    n_features : int
        Columns that are multiplied: features and marks.
    n_centres : int
        Not used.
    block_rows : int
    itemsize : int
        Not used.
    """
    tile = 2 * n_features * min(TILE_ROWS, block_rows) * 8
    return tile + 4 * n_features**2 * 8 + n_features * (n_features + 1) // 2 * 16
