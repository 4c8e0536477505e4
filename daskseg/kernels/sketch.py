"""Products of a covariance with a few vectors, without the covariance.

Covers: `SketchFrame` and the sums of ``X.T @ (X @ Q)`` over rows X about their mean, on
integers small enough to be exact, so that chunking and order leave no trace; for more features
than a Gram matrix can have. Does not cover: the iteration (`daskseg.decomposition.spectrum`).

Values are rounded to 21 bits of their range: an error of 2**-22 of the range per value, which
averages out and is far below that of a randomised method. The products with Q keep 42 bits.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from daskseg.kernels.compiling import compiled
from daskseg.kernels.gram import SLICE_BITS, TILE_ROWS, Gram, measured_range_error
from daskseg.kernels.moments import Extent
from daskseg.kernels.rng import TEST_MATRIX, uniform

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

# The sizes of a column of loadings add up to at most 2**31, so products stay within 2**52.
_LOADING_BITS = 31
_PRODUCT_BITS = SLICE_BITS + _LOADING_BITS
# Arbitrary: bounds the scratch of wide tiles.
_TILE_BYTES = 32 * 2**20


class SketchFrame(NamedTuple):
    """Where rows are centred, on which grid, and the vectors that meet them.

    Attributes
    ----------
    mean : ndarray of shape (n_features,), float64
    exponents : ndarray of shape (n_features,), int64
        Bounds of the centred values, times the root of the weight.
    loadings : ndarray of shape (n_features, n_vectors), float64
        Whole numbers: the vectors times the grid of the values and 2**powers.
    powers : ndarray of shape (n_vectors,), int64
    """

    mean: Floats
    exponents: Ints
    loadings: Floats
    powers: Ints

    def vectors(self) -> Floats:
        """Return the vectors that the loadings stand for, exactly."""
        shift = SLICE_BITS - self.exponents[:, None] - self.powers
        return np.ldexp(self.loadings, shift.astype(np.int32))


def sketch_exponents(seen: Extent, mean: Floats) -> Ints:
    """Bound the values about their mean, times the root of the weight."""
    reach = np.maximum(np.abs(seen.low - mean), np.abs(seen.high - mean))
    bound = reach * np.sqrt(max(1.0, seen.high_weight))
    # Two more than needed at most: the products above are rounded.
    _, exponents = np.frexp(bound)
    return np.asarray(exponents, dtype=np.int64) + 1


def sketch_frame(mean: Floats, exponents: Ints, vectors: Floats) -> SketchFrame:
    """Round vectors to the grid on which their products are exact.

    Parameters
    ----------
    mean : ndarray of shape (n_features,), float64
    exponents : ndarray of shape (n_features,), int64
    vectors : ndarray of shape (n_features, n_vectors), float64
    """
    scaled = np.ldexp(vectors, (exponents[:, None] - SLICE_BITS).astype(np.int32))
    sizes = np.abs(scaled).sum(axis=0)
    # Rounding may add half a unit per feature: one bit is kept free for it.
    powers = _LOADING_BITS - 1 - np.frexp(sizes)[1].astype(np.int64)
    loadings = np.rint(np.ldexp(scaled, powers.astype(np.int32)))
    return SketchFrame(mean, exponents, loadings, powers)


def first_vectors(seed: int, n_features: int, n_vectors: int) -> Floats:
    """Draw the test matrix, from -1 to 1, keyed by seed and feature."""
    draws = uniform(seed, TEST_MATRIX, 0, n_features * n_vectors)
    return 2.0 * draws.reshape(n_features, n_vectors) - 1.0


@compiled()
def _round_tile(
    values: Any, roots: Floats, mean: Floats, scales: Floats, tile: Floats
) -> bool:  # pragma: no cover - compiled
    is_sound = True
    for i in range(values.shape[0]):
        root = roots[i] if len(roots) else 1.0
        for f in range(values.shape[1]):
            scaled = np.rint((np.float64(values[i, f]) - mean[f]) * root * scales[f])
            tile[i, f] = scaled
            is_sound &= abs(scaled) <= np.float64(2**SLICE_BITS)
    return is_sound


@compiled()
def _add_slices(
    most: Floats, least: Floats, high: Ints, low: NDArray[np.uint64]
) -> None:  # pragma: no cover - compiled
    mask = np.int64(2**SLICE_BITS - 1)
    for f in range(most.shape[0]):
        for c in range(most.shape[1]):
            rest = np.int64(least[f, c])
            upper = np.int64(most[f, c]) + (rest >> SLICE_BITS)
            before = low[f, c]
            addend = (np.uint64(upper) << np.uint64(SLICE_BITS)) + np.uint64(rest & mask)
            low[f, c] = before + addend
            high[f, c] += (upper >> (64 - SLICE_BITS)) + np.int64(low[f, c] < before)


def sketch(values: NDArray[Any], weights: Floats | None, frame: SketchFrame) -> Gram:
    """Sum ``X.T @ (X @ vectors)`` over one block.

    Parameters
    ----------
    values : ndarray of shape (n_rows, n_features), float32 or float64
        Finite, within the bounds of `frame`.
    weights : ndarray of shape (n_rows,), float64, or None
    frame : SketchFrame

    Returns
    -------
    Gram
        Sums of shape (n_features, n_vectors); merge with `merge_grams`.

    Raises
    ------
    InputError
        If a value is outside the range that was measured.
    """
    n_features, n_vectors = frame.loadings.shape
    scales = np.ldexp(1.0, (SLICE_BITS - frame.exponents).astype(np.int32))
    roots = np.empty(0) if weights is None else np.sqrt(weights)
    high = np.zeros((n_features, n_vectors), np.int64)
    low = np.zeros((n_features, n_vectors), np.uint64)
    height = max(1, min(len(values), _height(n_features)))
    tile = np.empty((height, n_features))
    for start in range(0, len(values), height):
        piece = np.ascontiguousarray(values[start : start + height])
        part = tile[: len(piece)]
        if not _round_tile(piece, roots[start : start + height], frame.mean, scales, part):
            raise measured_range_error()
        products = np.ldexp(part @ frame.loadings, SLICE_BITS - _PRODUCT_BITS)
        most = np.rint(products)
        least = np.rint((products - most) * 2.0**SLICE_BITS)
        _add_slices(part.T @ most, part.T @ least, high, low)
    return Gram(len(values), high, low)


def scratch_bytes(
    n_features: int,
    n_centres: int,
    block_rows: int,
    itemsize: int,  # noqa: ARG001 - one signature for all kernels
) -> int:
    """Return the memory that `sketch` takes beside a block.

    Parameters
    ----------
    n_features : int
    n_centres : int
        Vectors.
    block_rows : int
    itemsize : int
        Not used.
    """
    height = min(_height(n_features), block_rows)
    return height * 8 * (n_features + 4 * n_centres) + n_features * n_centres * 8 * 4


def _height(n_features: int) -> int:
    return max(1, min(TILE_ROWS, _TILE_BYTES // (8 * n_features)))


def finish_sketch(total: Gram, frame: SketchFrame) -> Floats:
    """Return ``X.T @ (X @ vectors)`` as floats, of shape (n_features, n_vectors)."""
    sums = total.high * 2.0**64 + total.low
    lift = _PRODUCT_BITS - 2 * SLICE_BITS
    shift = frame.exponents[:, None] - SLICE_BITS - frame.powers + lift
    return np.asarray(np.ldexp(sums, shift.astype(np.int32)))
