"""Exact, order-free sums of floats.

Covers: adding float64 values as integers on a two-level power-of-two grid, so that any
chunking, order or number of workers gives the same bits, and turning such sums back into
correctly rounded floats.

Does not cover: choosing the range of the values; the caller passes exponents that bound them.

A value v with |v| <= 2**e is split into ``high = rint(v * 2**(39 - e))`` and
``low = rint((v * 2**(39 - e) - high) * 2**30)``. The split is exact to 2**(e - 69), so values
within a factor 2**16 of the bound lose nothing. A block may hold 2**23 rows.
"""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from daskseg.kernels.compiling import compiled

HIGH_BITS = 39
LOW_BITS = 30
MAX_BLOCK_ROWS = 2**23
# Below this exponent the scale factor itself would overflow float64.
MIN_EXPONENT = -960


class GridSum(NamedTuple):
    """Sums on the grid: value = (high * 2**30 + low) * 2**(exponent - 69).

    Attributes
    ----------
    high, low : ndarray of Python integers (dtype object) or int64, any shape
    """

    high: NDArray[Any]
    low: NDArray[Any]


def range_exponents(low: NDArray[np.float64], high: NDArray[np.float64]) -> NDArray[np.int64]:
    """Find, per column, the smallest e such that every value is at most 2**e in size.

    Parameters
    ----------
    low, high : ndarray of shape (n_features,), float64
        Smallest and largest value of each column; must be finite.

    Returns
    -------
    ndarray of shape (n_features,), int64
    """
    _, exponent = np.frexp(np.maximum(np.abs(low), np.abs(high)))
    return np.maximum(exponent.astype(np.int64), MIN_EXPONENT)


def grid_scales(exponents: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return 2**(39 - e), the factors that bring values onto the grid."""
    return np.ldexp(1.0, (HIGH_BITS - exponents).astype(np.int32))


@compiled(inline="always")
def split(value: float, scale: float) -> tuple[np.int64, np.int64]:  # pragma: no cover - compiled
    """Split one value into its two grid integers (for use inside compiled kernels)."""
    scaled = value * scale
    high = np.rint(scaled)
    low = np.rint((scaled - high) * 1073741824.0)
    return np.int64(high), np.int64(low)


@compiled()
def _sum_columns(
    values: NDArray[np.float64], scales: NDArray[np.float64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:  # pragma: no cover - compiled
    n_rows, n_features = values.shape
    high = np.zeros(n_features, np.int64)
    low = np.zeros(n_features, np.int64)
    for i in range(n_rows):
        for f in range(n_features):
            h, m = split(values[i, f], scales[f])
            high[f] += h
            low[f] += m
    return high, low


def sum_columns(values: NDArray[np.float64], exponents: NDArray[np.int64]) -> GridSum:
    """Sum the columns of one block exactly.

    Parameters
    ----------
    values : ndarray of shape (n_rows, n_features), float64
        At most 2**23 rows, finite, bounded by ``2**exponents``; the caller has checked it.
    exponents : ndarray of shape (n_features,), int64

    Returns
    -------
    GridSum of shape (n_features,)
    """
    high, low = _sum_columns(np.ascontiguousarray(values), grid_scales(exponents))
    return GridSum(high.astype(object), low.astype(object))


def add(a: GridSum, b: GridSum) -> GridSum:
    """Add two sums of the same shape and exponents, without any limit on the number of rows."""
    return GridSum(
        a.high.astype(object) + b.high.astype(object), a.low.astype(object) + b.low.astype(object)
    )


def _units(total: GridSum) -> list[int]:
    pairs = zip(total.high.ravel(), total.low.ravel(), strict=True)
    return [(int(h) << LOW_BITS) + int(m) for h, m in pairs]


def to_fractions(total: GridSum, exponents: NDArray[np.int64]) -> list[Fraction]:
    """Return the exact value of each sum, flattened; `exponents` broadcast to its shape."""
    spread = np.broadcast_to(exponents, total.high.shape).ravel()
    result = []
    for units, exponent in zip(_units(total), spread, strict=True):
        shift = HIGH_BITS + LOW_BITS - int(exponent)
        result.append(Fraction(units, 2**shift) if shift >= 0 else Fraction(units * 2**-shift))
    return result


def to_floats(
    total: GridSum, exponents: NDArray[np.int64], divisor: NDArray[Any] | None = None
) -> NDArray[np.float64]:
    """Return sums, or sums divided by `divisor`, each correctly rounded to float64.

    Parameters
    ----------
    total : GridSum of any shape
    exponents : ndarray, int64, broadcastable to the shape of `total`
    divisor : ndarray of integers, floats or Fractions, broadcastable, optional
        For means; a zero divisor gives NaN.
    """
    values = to_fractions(total, exponents)
    if divisor is None:
        flat = [float(value) for value in values]
    else:
        spread = np.broadcast_to(np.asarray(divisor, dtype=object), total.high.shape).ravel()
        flat = [
            float(value / Fraction(by)) if by else math.nan
            for value, by in zip(values, spread, strict=True)
        ]
    return np.array(flat, dtype=np.float64).reshape(total.high.shape)


def scratch_bytes(  # one signature for all kernels
    n_features: int,
    n_centres: int,  # noqa: ARG001
    block_rows: int,  # noqa: ARG001
    itemsize: int,  # noqa: ARG001
) -> int:
    """Return the memory that `sum_columns` takes beside contiguous float64 rows: its result."""
    return 2 * 40 * n_features
