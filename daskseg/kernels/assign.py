"""Lloyd steps on one block: labels, and exact sums of the rows of every label.

Covers: the mergeable part of a step for several sets of centres at once, or for given labels.
Does not cover: how a label is found (see `kernels.tiles`), rows near a border (see
`kernels.near`) or the next centres (see `kernels.steps`).

Sums are taken about the middle of each feature's range, as integers on a power-of-two grid
of 50 bits: exact in any order, so that steps do not depend on blocks or workers. A block may
hold 2**31 rows.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from daskseg.kernels import grid, tiles
from daskseg.kernels.compiling import compiled
from daskseg.kernels.moments import Extent, frame_of
from daskseg.kernels.tiles import TILE_ROWS, Ready, Scratch, Stack

Floats = NDArray[np.float64]
# Of a value on the grid. 2**12 of them fit 63 bits before they are flushed.
GRID_BITS = 50
FLUSH_ROWS = 2**12
_LOW_BITS = 32
# Adding this to |v| <= 2**51 rounds v to an integer, which the lower bits then hold.
_MAGIC = 1.5 * 2.0**52
_MAGIC_BITS = np.uint64(np.float64(_MAGIC).view(np.uint64))


class StepGrid(NamedTuple):
    """Where sums are taken about, and on which grids.

    Attributes
    ----------
    middle : ndarray of shape (n_features,), float64
    exponents : ndarray of shape (n_features + 2,), int64
        A unit is ``2**(exponent - 50)``: of each weighted difference from the middle, of the
        weight, and of the weighted squared distance from the middle.
    """

    middle: Floats
    exponents: NDArray[np.int64]


class StepPart(NamedTuple):
    """What one block says about each centre of a stack; merge with `merge_steps`.

    Attributes
    ----------
    counts : ndarray of shape (n_centres,), int64
        Rows, whatever their weight.
    units : ndarray of shape (n_centres, n_features + 2, 2), int64
        Sums in the columns of `StepGrid.exponents`, as high and low: ``high * 2**32 + low``
        units. The last column is zero where squares were not asked for.
    """

    counts: NDArray[np.int64]
    units: NDArray[np.int64]


def step_grid(extent: Extent) -> StepGrid:
    """Choose the grids for rows of a known range."""
    frame = frame_of(extent)
    reach = np.ldexp(1.0, (frame.values - frame.weight).astype(np.int32))
    whole = grid.range_exponents(np.zeros(1), np.cumsum(reach**2)[-1:])
    tail = np.array([frame.weight, max(int(whole[0]) + frame.weight, grid.MIN_EXPONENT)])
    return StepGrid(frame.middle, np.concatenate([frame.values, tail]))


def scales_of(steps: StepGrid) -> Floats:
    """Return the factors that bring values onto the grids."""
    return np.asarray(np.ldexp(1.0, (GRID_BITS - steps.exponents).astype(np.int32)))


@compiled(inline="always")
def on_grid(value: float, scale: float) -> Any:  # pragma: no cover - compiled
    """Round to a number of units, in raw bits that hold ``_MAGIC_BITS`` besides."""
    return np.float64(value * scale + _MAGIC).view(np.uint64)


@compiled(inline="always")
def _square_of(row: NDArray[Any], middle: Floats) -> float:  # pragma: no cover - compiled
    square = 0.0
    for f in range(len(middle)):
        difference = np.float64(row[f]) - middle[f]
        square += difference * difference
    return square


@compiled(inline="always")
def add_row(
    row: NDArray[Any],
    weight: float,
    middle: Floats,
    scales: Floats,
    squares: bool,
    total: NDArray[np.uint64],
) -> None:  # pragma: no cover - compiled
    """Add one row to the raw sums of its centre (for use inside compiled kernels)."""
    n_features = len(middle)
    for f in range(n_features):
        total[f] += on_grid(weight * (np.float64(row[f]) - middle[f]), scales[f])
    total[n_features] += on_grid(weight, scales[n_features])
    square = _square_of(row, middle) if squares else 0.0
    total[n_features + 1] += on_grid(weight * square, scales[n_features + 1])


@compiled()
def flush(
    bits: NDArray[np.uint64],
    pending: NDArray[np.int64],
    counts: NDArray[np.int64],
    units: NDArray[np.int64],
) -> None:  # pragma: no cover - compiled
    """Move raw bits into high and low, without the bias of each of the pending rows."""
    for j in range(len(pending)):
        if pending[j] == 0:
            continue
        bias = np.uint64(pending[j]) * _MAGIC_BITS
        for f in range(bits.shape[1]):
            value = np.int64(bits[j, f] - bias)
            units[j, f, 0] += value >> _LOW_BITS
            units[j, f, 1] += value & 0xFFFFFFFF
            bits[j, f] = np.uint64(0)
        counts[j] += pending[j]
        pending[j] = 0


@compiled()
def _step(
    values: NDArray[Any],
    weights: Floats,
    ready: Ready,
    scratch: Scratch,
    middle: Floats,
    scales: Floats,
    squares: bool,
    counts: NDArray[np.int64],
    units: NDArray[np.int64],
) -> None:  # pragma: no cover - compiled
    n_centres, n_columns = units.shape[:2]
    bits = np.zeros((n_centres, n_columns), np.uint64)
    # What a row adds is the same in every set.
    own = np.empty((TILE_ROWS, n_columns), np.uint64)
    pending = np.zeros(n_centres, np.int64)
    labels = np.empty(TILE_ROWS, np.int32)
    n_pending = 0
    for first in range(0, len(values), TILE_ROWS):
        n_rows = min(TILE_ROWS, len(values) - first)
        tiles.load_tile(values, first, n_rows, ready, scratch)
        for i in range(n_rows):
            weight = weights[first + i] if len(weights) else 1.0
            own[i] = np.uint64(0)
            add_row(values[first + i], weight, middle, scales, squares, own[i])
        for s in range(len(ready.starts) - 1):
            tiles.label_tile(values, first, n_rows, ready, s, scratch, labels)
            for i in range(n_rows):
                j = ready.starts[s] + labels[i]
                pending[j] += 1
                for c in range(n_columns):
                    bits[j, c] += own[i, c]
        n_pending += n_rows
        if n_pending > FLUSH_ROWS - TILE_ROWS:
            flush(bits, pending, counts, units)
            n_pending = 0
    flush(bits, pending, counts, units)


@compiled()
def _sum_given(
    values: NDArray[Any],
    weights: Floats,
    labels: NDArray[np.int32],
    middle: Floats,
    scales: Floats,
    counts: NDArray[np.int64],
    units: NDArray[np.int64],
) -> None:  # pragma: no cover - compiled
    bits = np.zeros(units.shape[:2], np.uint64)
    pending = np.zeros(len(units), np.int64)
    n_pending = 0
    for i in range(len(values)):
        weight = weights[i] if len(weights) else 1.0
        pending[labels[i]] += 1
        add_row(values[i], weight, middle, scales, True, bits[labels[i]])
        n_pending += 1
        if n_pending == FLUSH_ROWS:
            flush(bits, pending, counts, units)
            n_pending = 0
    flush(bits, pending, counts, units)


def empty_step(n_centres: int, n_features: int) -> StepPart:
    """Return the part of no rows."""
    return StepPart(
        np.zeros(n_centres, np.int64), np.zeros((n_centres, n_features + 2, 2), np.int64)
    )


def flat(weights: Floats | None) -> Floats:
    """Return weights as kernels take them: empty where there are none."""
    return np.empty(0) if weights is None else np.ascontiguousarray(weights)


def lloyd_step(
    values: NDArray[np.floating],
    weights: Floats | None,
    centres: Stack,
    steps: StepGrid,
    *,
    squares: bool = True,
) -> StepPart:
    """Assign the rows of one block to their nearest centres and sum them there.

    Parameters
    ----------
    values : ndarray of shape (n_rows, n_features), float32 or float64
        Finite, within the range that `steps` was made for; the caller has checked it.
    weights : ndarray of shape (n_rows,), float64, or None
    centres : Stack
    steps : StepGrid
    squares : bool
        Sum squared distances from the middle as well, which a squared error needs.

    Returns
    -------
    StepPart
    """
    values = np.ascontiguousarray(values)
    part = empty_step(*centres.centres.shape)
    ready = tiles.make_ready(centres, values.dtype)
    scratch = tiles.make_scratch(values.shape[1])
    _step(values, flat(weights), ready, scratch, steps.middle, scales_of(steps), squares, *part)
    return part


def sums_by_label(
    values: NDArray[np.floating],
    weights: Floats | None,
    labels: NDArray[np.int32],
    n_labels: int,
    steps: StepGrid,
) -> StepPart:
    """Sum the rows of one block by given labels.

    Parameters
    ----------
    values, weights, steps : as for `lloyd_step`
    labels : ndarray of shape (n_rows,), int32
        From 0 and below `n_labels`.
    n_labels : int
    """
    values = np.ascontiguousarray(values)
    part = empty_step(n_labels, values.shape[1])
    _sum_given(values, flat(weights), labels, steps.middle, scales_of(steps), *part)
    return part


def merge_steps(a: StepPart, b: StepPart) -> StepPart:
    """Add the parts of two blocks."""
    return StepPart(a.counts + b.counts, a.units + b.units)


def scratch_bytes(
    n_features: int,
    n_centres: int,
    block_rows: int,  # noqa: ARG001 - one signature for all kernels
    itemsize: int,  # noqa: ARG001
) -> int:
    """Return the memory that `lloyd_step` takes beside a block.

    A tile twice over, its scores and what it adds, and the sums of each centre, high, low and
    pending.
    """
    tile = tiles.TILE_ROWS * (16 * n_features + 4 * tiles.GROUP + 36)
    return tile + n_centres * (24 * n_features + 48)
