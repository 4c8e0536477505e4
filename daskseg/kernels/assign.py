"""Lloyd steps on one block: labels, and exact sums of the rows of every label.

Covers: the mergeable part of a step for several sets of centres at once, rows near a border
kept aside with their margins, what changes when the centres move, and labels alone. Does not
cover: how a label is found (see `kernels.tiles`) or the next centres (see `kernels.steps`).

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


class Moving(NamedTuple):
    """Centres, and how far each is thought to move.

    Attributes
    ----------
    centres : ndarray of shape (n_centres, n_features), float64
    radii : ndarray of shape (n_centres,), float64
        Positive. Any are right; good ones are in proportion to the moves to come.
    """

    centres: Floats
    radii: Floats


class Near(NamedTuple):
    """Rows whose labels may change when centres move.

    Attributes
    ----------
    values : ndarray of shape (n, n_features), of the dtype of the rows
    weights : ndarray of shape (n,), float64, or None
    labels : ndarray of shape (n,), int32
        At the centres of reference.
    margins : ndarray of shape (n,), float64, rising
        The label holds while no centre has moved by so many of its radii.
    """

    values: NDArray[Any]
    weights: Floats | None
    labels: NDArray[np.int32]
    margins: Floats


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
def _add_row(
    row: NDArray[Any],
    weight: float,
    middle: Floats,
    scales: Floats,
    squares: bool,
    total: NDArray[np.uint64],
) -> None:  # pragma: no cover - compiled
    n_features = len(middle)
    for f in range(n_features):
        total[f] += on_grid(weight * (np.float64(row[f]) - middle[f]), scales[f])
    total[n_features] += on_grid(weight, scales[n_features])
    square = 0.0
    if squares:
        for f in range(n_features):
            difference = np.float64(row[f]) - middle[f]
            square += difference * difference
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
    pending = np.zeros(n_centres, np.int64)
    labels = np.empty(TILE_ROWS, np.int32)
    n_pending = 0
    for first in range(0, len(values), TILE_ROWS):
        n_rows = min(TILE_ROWS, len(values) - first)
        tiles.load_tile(values, first, n_rows, ready, scratch)
        for s in range(len(ready.starts) - 1):
            tiles.label_tile(values, first, n_rows, ready, s, scratch, labels)
            for i in range(n_rows):
                weight = weights[first + i] if len(weights) else 1.0
                j = ready.starts[s] + labels[i]
                pending[j] += 1
                _add_row(values[first + i], weight, middle, scales, squares, bits[j])
        n_pending += n_rows
        if n_pending > FLUSH_ROWS - TILE_ROWS:
            flush(bits, pending, counts, units)
            n_pending = 0
    flush(bits, pending, counts, units)


@compiled()
def _step_near(
    values: NDArray[Any],
    weights: Floats,
    ready: Ready,
    scratch: Scratch,
    middle: Floats,
    scales: Floats,
    squares: bool,
    reach: float,
    counts: NDArray[np.int64],
    units: NDArray[np.int64],
    near: NDArray[np.int64],
) -> int:  # pragma: no cover - compiled
    """As `_step` for one set; collects the rows of a margin up to `reach`. Returns how many."""
    bits = np.zeros(units.shape[:2], np.uint64)
    pending = np.zeros(len(units), np.int64)
    own = np.empty(TILE_ROWS, np.int32)
    upper = np.empty(TILE_ROWS, np.float32)
    is_near = np.empty(TILE_ROWS, np.bool_)
    n_near, n_pending = 0, 0
    for first in range(0, len(values), TILE_ROWS):
        n_rows = min(TILE_ROWS, len(values) - first)
        tiles.load_tile(values, first, n_rows, ready, scratch)
        tiles.label_tile(values, first, n_rows, ready, 0, scratch, own)
        tiles.tile_near(n_rows, ready, scratch, reach, upper, is_near)
        for i in range(n_rows):
            weight = weights[first + i] if len(weights) else 1.0
            pending[own[i]] += 1
            _add_row(values[first + i], weight, middle, scales, squares, bits[own[i]])
        for i in range(n_rows):
            near[n_near] = first + i
            n_near += is_near[i]
        n_pending += n_rows
        if n_pending > FLUSH_ROWS - TILE_ROWS:
            flush(bits, pending, counts, units)
            n_pending = 0
    flush(bits, pending, counts, units)
    return n_near


@compiled()
def _find_margins(
    values: NDArray[Any],
    ready: Ready,
    scratch: Scratch,
    labels: NDArray[np.int32],
    margins: Floats,
) -> None:  # pragma: no cover - compiled
    upper = np.empty(TILE_ROWS, np.float32)
    for first in range(0, len(values), TILE_ROWS):
        n_rows = min(TILE_ROWS, len(values) - first)
        tiles.load_tile(values, first, n_rows, ready, scratch)
        tiles.label_tile(values, first, n_rows, ready, 0, scratch, labels[first:])
        tiles.tile_margins(n_rows, ready, scratch, upper, margins[first:])


@compiled()
def _sum_moved(
    values: NDArray[Any],
    weights: Floats,
    before: NDArray[np.int32],
    ready: Ready,
    scratch: Scratch,
    middle: Floats,
    scales: Floats,
    counts: NDArray[np.int64],
    units: NDArray[np.int64],
) -> None:  # pragma: no cover - compiled
    """Sum the rows whose label is not `before`: in the first half what comes, then what goes."""
    n_centres = len(units) // 2
    bits = np.zeros(units.shape[:2], np.uint64)
    pending = np.zeros(len(units), np.int64)
    own = np.empty(TILE_ROWS, np.int32)
    n_pending = 0
    for first in range(0, len(values), TILE_ROWS):
        n_rows = min(TILE_ROWS, len(values) - first)
        tiles.load_tile(values, first, n_rows, ready, scratch)
        tiles.label_tile(values, first, n_rows, ready, 0, scratch, own)
        for i in range(n_rows):
            if own[i] == before[first + i]:
                continue
            weight = weights[first + i] if len(weights) else 1.0
            row, came, left = values[first + i], own[i], n_centres + before[first + i]
            pending[came] += 1
            _add_row(row, weight, middle, scales, False, bits[came])
            pending[left] += 1
            _add_row(row, weight, middle, scales, False, bits[left])
            n_pending += 1
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
        _add_row(values[i], weight, middle, scales, True, bits[labels[i]])
        n_pending += 1
        if n_pending == FLUSH_ROWS:
            flush(bits, pending, counts, units)
            n_pending = 0
    flush(bits, pending, counts, units)


def _empty(n_centres: int, n_features: int) -> StepPart:
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
    part = _empty(*centres.centres.shape)
    ready = tiles.make_ready(centres, values.dtype)
    scratch = tiles.make_scratch(values.shape[1])
    _step(values, flat(weights), ready, scratch, steps.middle, scales_of(steps), squares, *part)
    return part


def step_and_keep(
    values: NDArray[np.floating],
    weights: Floats | None,
    moving: Moving,
    steps: StepGrid,
    reach: float,
    *,
    squares: bool,
) -> tuple[StepPart, Near]:
    """Take a step and keep the rows of a margin up to `reach`.

    Parameters
    ----------
    values, weights, steps, squares : as for `lloyd_step`
    moving : Moving
    reach : float
        In radii.

    Returns
    -------
    part : StepPart
        Of all rows.
    near : Near
    """
    values = np.ascontiguousarray(values)
    part = _empty(*moving.centres.shape)
    ready = tiles.make_ready(tiles.stack([moving.centres]), values.dtype, moving.radii)
    scratch = tiles.make_scratch(values.shape[1], len(ready.half))
    # One more than there can be: the kernel writes before it decides.
    found = np.empty(len(values) + 1, np.int64)
    n_near = _step_near(
        values,
        flat(weights),
        ready,
        scratch,
        steps.middle,
        scales_of(steps),
        squares,
        reach,
        *part,
        found,
    )
    chosen = found[:n_near]
    return part, keep(values[chosen], None if weights is None else weights[chosen], moving)


def keep(values: NDArray[np.floating], weights: Floats | None, moving: Moving) -> Near:
    """Find labels and margins of rows, and sort them by rising margin.

    Parameters
    ----------
    values, weights : as for `lloyd_step`
    moving : Moving
    """
    values = np.ascontiguousarray(values)
    ready = tiles.make_ready(tiles.stack([moving.centres]), values.dtype, moving.radii)
    labels, margins = np.empty(len(values), np.int32), np.empty(len(values))
    scratch = tiles.make_scratch(values.shape[1], len(ready.half))
    _find_margins(values, ready, scratch, labels, margins)
    order = np.argsort(margins)
    kept = None if weights is None else weights[order]
    return Near(values[order], kept, labels[order], margins[order])


def moved_since(near: list[Near], centres: Floats, steps: StepGrid, moved: float) -> StepPart:
    """Sum what moved centres change: rows that come to each centre, less those that leave.

    Parameters
    ----------
    near : list of Near
        Not empty; of one dtype.
    centres : ndarray of shape (n_centres, n_features), float64
    steps : StepGrid
    moved : float
        The most that a centre has moved since those of reference, in its radii; rows of a
        larger margin keep their labels and are not looked at.

    Returns
    -------
    StepPart
        To be added to the sums at the centres of reference; squares are left out.
    """
    n_centres, n_features = centres.shape
    part = _empty(2 * n_centres, n_features)
    ready = tiles.make_ready(tiles.stack([centres]), near[0].values.dtype)
    scratch, scales = tiles.make_scratch(n_features), scales_of(steps)
    for one in near:
        n_rows = int(np.searchsorted(one.margins, moved, side="right"))
        if n_rows:
            _sum_moved(
                one.values[:n_rows],
                flat(None if one.weights is None else one.weights[:n_rows]),
                one.labels[:n_rows],
                ready,
                scratch,
                steps.middle,
                scales,
                *part,
            )
    return came_less_left(part)


def came_less_left(part: StepPart) -> StepPart:
    """Take the second half of a part, what leaves each centre, off the first, what comes."""
    half = len(part.counts) // 2
    return StepPart(part.counts[:half] - part.counts[half:], part.units[:half] - part.units[half:])


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
    part = _empty(n_labels, values.shape[1])
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

    A tile twice over, its scores, and the sums of each centre, high, low and pending.
    """
    tile = tiles.TILE_ROWS * (8 * n_features + 4 * tiles.GROUP + 20)
    return tile + n_centres * (24 * n_features + 48)
