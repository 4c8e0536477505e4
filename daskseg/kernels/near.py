"""Rows near a border between clusters: which they are, and what they change when centres move.

Covers: a Lloyd step on one block that keeps the rows of a small margin aside, their labels and
margins, and the change of the sums at moved centres. Does not cover: plain steps (see
`kernels.assign`) or when a label is certain (see `kernels.steps`).
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from daskseg.kernels import tiles
from daskseg.kernels.assign import (
    FLUSH_ROWS,
    StepGrid,
    StepPart,
    add_row,
    empty_step,
    flat,
    flush,
    scales_of,
)
from daskseg.kernels.compiling import compiled
from daskseg.kernels.tiles import TILE_ROWS, Ready, Scratch

Floats = NDArray[np.float64]


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
            add_row(values[first + i], weight, middle, scales, squares, bits[own[i]])
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
            add_row(row, weight, middle, scales, False, bits[came])
            pending[left] += 1
            add_row(row, weight, middle, scales, False, bits[left])
            n_pending += 1
        if n_pending > FLUSH_ROWS - TILE_ROWS:
            flush(bits, pending, counts, units)
            n_pending = 0
    flush(bits, pending, counts, units)


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
    part = empty_step(*moving.centres.shape)
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
    return by_margin(Near(values, weights, labels, margins))


def by_margin(near: Near) -> Near:
    """Sort rows by rising margin."""
    order = np.argsort(near.margins)
    weights = None if near.weights is None else near.weights[order]
    return Near(near.values[order], weights, near.labels[order], near.margins[order])


def up_to(near: Near, margin: float) -> Near:
    """Return the rows of a margin up to a limit."""
    n_rows = int(np.searchsorted(near.margins, margin, side="right"))
    weights = None if near.weights is None else near.weights[:n_rows]
    return Near(near.values[:n_rows], weights, near.labels[:n_rows], near.margins[:n_rows])


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
    part = empty_step(2 * n_centres, n_features)
    ready = tiles.make_ready(tiles.stack([centres]), near[0].values.dtype)
    scratch, scales = tiles.make_scratch(n_features), scales_of(steps)
    for one in (up_to(one, moved) for one in near):
        values, weights = one.values, flat(one.weights)
        _sum_moved(values, weights, one.labels, ready, scratch, steps.middle, scales, *part)
    return came_less_left(part)


def came_less_left(part: StepPart) -> StepPart:
    """Take the second half of a part, what leaves each centre, off the first, what comes."""
    half = len(part.counts) // 2
    return StepPart(part.counts[:half] - part.counts[half:], part.units[:half] - part.units[half:])
