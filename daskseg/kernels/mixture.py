"""One step of expectation maximisation on one block: memberships, and exact sums by component.

Covers: log-densities of normal components, memberships by log-sum-exp in float64, and sums of
memberships, weighted differences and their products. Does not cover: memberships for
their own sake (see `kernels.mixture_scores`) or the next parameters (see
`kernels.mixture_steps`).

Sums are taken about the means of the step (nothing cancels), as integers of 50 bits of each
term's bound: exact in any order. With R the range of a feature about a mean, an entry of a
covariance is off by at most ``2**-51 * R_i * R_j / share`` of its component. Memberships of a
row depend on that row alone: tiles have a fixed height, and nothing uses BLAS or fast-math.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from daskseg.kernels import grid
from daskseg.kernels.compiling import compiled
from daskseg.kernels.gram import measured_range_error

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

FULL, TIED, DIAGONAL = 0, 1, 2
# A tile of 16 features fits the first-level cache.
TILE_ROWS = 256
# Rows of a component that are summed at once: long enough to fill vectors, few enough to wait.
WAIT_ROWS = 128
GRID_BITS = 50
_LOW_BITS = 32
_LOW_MASK = 2**_LOW_BITS - 1
_UNITS = 2.0**GRID_BITS
# A smaller share of its bound is no unit in any sum.
_NOTHING = 2.0**-51
# Adding this to |v| <= 2**51 rounds v to an integer, which the lower bits then hold.
_MAGIC = 1.5 * 2.0**52
_MAGIC_BITS = np.uint64(np.float64(_MAGIC).view(np.uint64))
_WAIT_BIAS = np.uint64((WAIT_ROWS * int(_MAGIC_BITS)) % 2**64)
_PER_LN2 = 1.4426950408889634
# The high part has 21 trailing zeros, so that its products with exponents are exact.
_LN2_HIGH, _LN2_LOW = 0.6931471803691238, 1.9082149292705877e-10
_EXPONENT_BIAS, _MANTISSA_BITS = np.uint64(1023), np.uint64(52)
_LEAST_EXPONENT = -700.0


class Ready(NamedTuple):
    """Components, made ready for the kernels.

    Attributes
    ----------
    kind : int
        `FULL`, `TIED` or `DIAGONAL`.
    means : ndarray of shape (n_components, n_features), float64
    factors : ndarray of shape (n_components, 1 or 0, n_features, n_features), float64
        Upper triangles: a row less a mean, times one, has unit covariance. One in all if tied,
        none if diagonal.
    scales : ndarray of shape (n_components, n_features), float64
        Reciprocal deviations if diagonal, else ones.
    origin : ndarray of shape (n_features,), float64
        Subtracted before the factor that all share; any point among the means.
    places : ndarray of shape (n_components, n_features), float64
        The means where densities are taken: times the factor if tied.
    offsets : ndarray of shape (n_components,), float64
        Log-densities at the means plus log shares; minus infinity without a share.
    """

    kind: int
    means: Floats
    factors: Floats
    scales: Floats
    origin: Floats
    places: Floats
    offsets: Floats


class MixtureGrid(NamedTuple):
    """Bounds of what is summed.

    Attributes
    ----------
    reach : ndarray of shape (n_components, n_features), int64
        Differences from the means are at most ``2**reach``.
    weight : int
        Weights are at most ``2**weight``.
    log_density : int
        Weighted log-densities of rows are at most ``2**log_density`` in size.
    """

    reach: Ints
    weight: int
    log_density: int


class MixturePart(NamedTuple):
    """What one block says about each component; merge with `merge_mixtures`.

    Attributes
    ----------
    n_rows : int
    units : ndarray of shape (n_components, n_terms, 2), int64
        Sums of memberships, of differences from the mean (n_features), and of their products:
        pairs of features by rising (i, j), i <= j, or squares alone if diagonal. As high and
        low: ``high * 2**32 + low`` units.
    log_density : int
        Sum of weighted log-densities in units of ``2**(log_density - 69)``.
    """

    n_rows: int
    units: Ints
    log_density: int


@compiled(inline="always")
def _exp(value: float) -> float:  # pragma: no cover - compiled
    """Return exp(value) for values up to 0, to about an ulp; vector units keep the bits."""
    clipped = max(value, _LEAST_EXPONENT)
    shifted = clipped * _PER_LN2 + _MAGIC
    whole = shifted - _MAGIC
    rest = (clipped - whole * _LN2_HIGH) - whole * _LN2_LOW
    # Taylor's series: |rest| <= ln(2) / 2 leaves 4e-18.
    result = 1.0 / 6227020800.0
    result = result * rest + 1.0 / 479001600.0
    result = result * rest + 1.0 / 39916800.0
    result = result * rest + 1.0 / 3628800.0
    result = result * rest + 1.0 / 362880.0
    result = result * rest + 1.0 / 40320.0
    result = result * rest + 1.0 / 5040.0
    result = result * rest + 1.0 / 720.0
    result = result * rest + 1.0 / 120.0
    result = result * rest + 1.0 / 24.0
    result = result * rest + 1.0 / 6.0
    result = result * rest + 0.5
    result = result * rest + 1.0
    result = result * rest + 1.0
    bits = np.float64(shifted).view(np.uint64) - _MAGIC_BITS + _EXPONENT_BIAS
    power = np.uint64(bits << _MANTISSA_BITS).view(np.float64)
    return result * power if value >= _LEAST_EXPONENT else 0.0


@compiled()
def load_tile(
    values: NDArray[Any], first: int, n_rows: int, tile: Floats
) -> None:  # pragma: no cover - compiled
    """Put rows into the tile, features first; rows that are not there repeat the first one."""
    for i in range(TILE_ROWS):
        row = values[first + i] if i < n_rows else values[first]
        for f in range(len(row)):
            tile[f, i] = np.float64(row[f])


@compiled()
def _column(
    tile: Floats, factor: Floats, j: int, out: Floats
) -> None:  # pragma: no cover - compiled
    """Compute one column of the tile times an upper triangle."""
    out[:] = 0.0
    i = 0
    while i + 4 <= j + 1:
        p0, p1, p2, p3 = factor[i, j], factor[i + 1, j], factor[i + 2, j], factor[i + 3, j]
        z0, z1, z2, z3 = tile[i], tile[i + 1], tile[i + 2], tile[i + 3]
        for r in range(TILE_ROWS):
            out[r] = out[r] + p0 * z0[r] + p1 * z1[r] + p2 * z2[r] + p3 * z3[r]
        i += 4
    while i <= j:
        p0, z0 = factor[i, j], tile[i]
        for r in range(TILE_ROWS):
            out[r] = out[r] + p0 * z0[r]
        i += 1


@compiled()
def _shift(tile: Floats, origin: Floats, out: Floats) -> None:  # pragma: no cover - compiled
    for f in range(len(origin)):
        from_row, to_row, middle = tile[f], out[f], origin[f]
        for r in range(TILE_ROWS):
            to_row[r] = from_row[r] - middle


@compiled()
def _add_squares(
    tile: Floats, place: Floats, scale: Floats, total: Floats
) -> None:  # pragma: no cover - compiled
    for f in range(len(place)):
        row, middle, by = tile[f], place[f], scale[f]
        for r in range(TILE_ROWS):
            difference = (row[r] - middle) * by
            total[r] += difference * difference


@compiled()
def score_tile(
    tile: Floats, ready: Ready, shifted: Floats, white: Floats, scores: Floats
) -> None:  # pragma: no cover - compiled
    """Fill in the log of share times density, of shape (n_components, TILE_ROWS)."""
    n_features = len(ready.origin)
    seen = tile
    if ready.kind == TIED:
        _shift(tile, ready.origin, shifted)
        for j in range(n_features):
            _column(shifted, ready.factors[0], j, white[j])
        seen = white
    for k in range(len(ready.offsets)):
        score = scores[k]
        score[:] = 0.0
        if ready.kind == FULL:
            _shift(tile, ready.means[k], shifted)
            for j in range(n_features):
                column = white[0]
                _column(shifted, ready.factors[k], j, column)
                for r in range(TILE_ROWS):
                    score[r] += column[r] * column[r]
        else:
            _add_squares(seen, ready.places[k], ready.scales[k], score)
        offset = ready.offsets[k]
        for r in range(TILE_ROWS):
            score[r] = offset - 0.5 * score[r]


@compiled()
def exponentiate(scores: Floats, top: Floats, total: Floats) -> None:  # pragma: no cover - compiled
    """Turn scores into their exponentials over the largest one; fill in that one and the sum."""
    top[:] = scores[0]
    for k in range(1, len(scores)):
        score = scores[k]
        for r in range(TILE_ROWS):
            top[r] = max(top[r], score[r])
    total[:] = 0.0
    for k in range(len(scores)):
        score = scores[k]
        for r in range(TILE_ROWS):
            part = _exp(score[r] - top[r])
            score[r] = part
            total[r] += part


@compiled()
def _sum_units(first: Floats, second: Floats) -> np.int64:  # pragma: no cover - compiled
    """Sum the products of two columns, each rounded to units."""
    total = np.uint64(0)
    for a in range(WAIT_ROWS):
        total += np.float64(first[a] * second[a] + _MAGIC).view(np.uint64)
    return np.int64(total - _WAIT_BIAS)


@compiled(inline="always")
def _add_units(own: Ints, term: int, value: np.int64) -> None:  # pragma: no cover - compiled
    own[term, 0] += value >> _LOW_BITS
    own[term, 1] += value & _LOW_MASK


@compiled()
def _flush(
    rows: Floats,
    shares: Floats,
    is_diagonal: bool,
    columns: Floats,
    heavy: Floats,
    own: Ints,
) -> None:  # pragma: no cover - compiled
    """Add the waiting rows of a component to its sums, and let none wait."""
    n_features = rows.shape[1]
    for a in range(WAIT_ROWS):
        for f in range(n_features):
            columns[f, a] = rows[a, f]
    columns[n_features, :] = 1.0
    _add_units(own, 0, _sum_units(shares, columns[n_features]))
    term = 1 + n_features
    for i in range(n_features):
        column = columns[i]
        for a in range(WAIT_ROWS):
            heavy[a] = shares[a] * column[a]
        _add_units(own, 1 + i, _sum_units(heavy, columns[n_features]))
        for j in range(i, i + 1 if is_diagonal else n_features):
            _add_units(own, term, _sum_units(heavy, columns[j]))
            term += 1
    shares[:] = 0.0


@compiled()
def _step(
    values: NDArray[Any],
    weights: Floats,
    labels: NDArray[np.int32],
    ready: Ready,
    bounds: Floats,
    weight_scale: float,
    log_scale: float,
    units: Ints,
) -> tuple[np.int64, np.int64, bool]:  # pragma: no cover - compiled
    """Sum all rows; with labels, each belongs to its component alone."""
    n_components, n_features = ready.means.shape
    is_diagonal = ready.kind == DIAGONAL
    tile, shifted = np.empty((n_features, TILE_ROWS)), np.empty((n_features, TILE_ROWS))
    white = np.empty((n_features, TILE_ROWS))
    scores = np.empty((n_components, TILE_ROWS))
    top, total = np.empty(TILE_ROWS), np.empty(TILE_ROWS)
    rows = np.zeros((n_components, WAIT_ROWS, n_features))
    shares = np.zeros((n_components, WAIT_ROWS))
    n_waiting = np.zeros(n_components, np.int64)
    columns, heavy = np.empty((n_features + 1, WAIT_ROWS)), np.empty(WAIT_ROWS)
    high, low, is_sound = np.int64(0), np.int64(0), True
    for first in range(0, len(values), TILE_ROWS):
        n_rows = min(TILE_ROWS, len(values) - first)
        if len(labels):
            scores[:] = 0.0
            total[:] = 1.0
            for i in range(n_rows):
                scores[labels[first + i], i] = 1.0
        else:
            load_tile(values, first, n_rows, tile)
            score_tile(tile, ready, shifted, white, scores)
            exponentiate(scores, top, total)
        for i in range(n_rows):
            weight = weights[first + i] if len(weights) else 1.0
            if len(labels) == 0:
                h, m = grid.split(weight * (top[i] + np.log(total[i])), log_scale)
                high += h
                low += m
            total[i] = weight * weight_scale / total[i]
        for k in range(n_components):
            mean, bound, score = ready.means[k], bounds[k], scores[k]
            for i in range(n_rows):
                share = score[i] * total[i]
                if share > _NOTHING:
                    slot = n_waiting[k]
                    shares[k, slot] = share * _UNITS
                    for f in range(n_features):
                        scaled = (np.float64(values[first + i, f]) - mean[f]) * bound[f]
                        rows[k, slot, f] = scaled
                        is_sound &= abs(scaled) <= 1.0
                    n_waiting[k] = slot + 1
                    if slot + 1 == WAIT_ROWS:
                        _flush(rows[k], shares[k], is_diagonal, columns, heavy, units[k])
                        n_waiting[k] = 0
    for k in range(n_components):
        if n_waiting[k]:
            _flush(rows[k], shares[k], is_diagonal, columns, heavy, units[k])
    return high, low, is_sound


def _n_terms(ready: Ready) -> int:
    n_features = len(ready.origin)
    pairs = n_features if ready.kind == DIAGONAL else n_features * (n_features + 1) // 2
    return 1 + n_features + pairs


def _sum_block(
    values: NDArray[Any],
    weights: Floats | None,
    labels: NDArray[np.int32],
    ready: Ready,
    bounds: MixtureGrid,
) -> MixturePart:
    values = np.ascontiguousarray(values)
    units = np.zeros((len(ready.offsets), _n_terms(ready), 2), np.int64)
    high, low, is_sound = _step(
        values,
        np.empty(0) if weights is None else np.ascontiguousarray(weights),
        labels,
        ready,
        np.ldexp(1.0, (-bounds.reach).astype(np.int32)),
        float(np.ldexp(1.0, -bounds.weight)),
        float(grid.grid_scales(np.array([bounds.log_density]))[0]),
        units,
    )
    if not is_sound:
        raise measured_range_error()
    return MixturePart(len(values), units, (int(high) << grid.LOW_BITS) + int(low))


def mixture_step(
    values: NDArray[Any], weights: Floats | None, ready: Ready, bounds: MixtureGrid
) -> MixturePart:
    """Find the memberships of the rows of one block, and sum the rows by them.

    Parameters
    ----------
    values : ndarray of shape (n_rows, n_features), float32 or float64
        At most 2**23 rows, finite, within the range that `bounds` was made for.
    weights : ndarray of shape (n_rows,), float64, or None
    ready : Ready
    bounds : MixtureGrid

    Raises
    ------
    InputError
        If a value is outside the range that was measured.
    """
    return _sum_block(values, weights, np.empty(0, np.int32), ready, bounds)


def label_step(
    values: NDArray[Any],
    weights: Floats | None,
    labels: NDArray[np.int32],
    ready: Ready,
    bounds: MixtureGrid,
) -> MixturePart:
    """Sum the rows of one block by given labels; otherwise as `mixture_step`.

    Of `ready` only the means and the kind count. There is no log-density.
    """
    return _sum_block(values, weights, labels, ready, bounds)


def merge_mixtures(a: MixturePart, b: MixturePart) -> MixturePart:
    """Add the sums of two blocks."""
    return MixturePart(a.n_rows + b.n_rows, a.units + b.units, a.log_density + b.log_density)


def scratch_bytes(
    n_features: int,
    n_centres: int,
    block_rows: int,  # noqa: ARG001 - one signature for all kernels
    itemsize: int,  # noqa: ARG001
) -> int:
    """Return the memory that `mixture_step` takes beside a block of contiguous rows.

    Three tiles, their scores, the waiting rows of each component, its factor, and the sums.
    """
    tiles = TILE_ROWS * 8 * (3 * n_features + n_centres + 2)
    waiting = WAIT_ROWS * 8 * (n_centres * (n_features + 1) + n_features + 2)
    sums = n_centres * 8 * (n_features + 1) * (n_features + 2)
    return tiles + waiting + sums + n_centres * 8 * n_features**2
