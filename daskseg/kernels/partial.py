"""Lloyd steps on rows with missing values, by the distances over the values that are there.

Covers: the same parts of a step as `kernels.assign`, for rows with NaN: labels by partial
squared distances, sums and weights per feature, and margins. Does not cover: the next centres
(see `kernels.partial_steps`).

Minimising the squared error over the values that are there is k-POD without its filling in
(Chi, Chi and Baraniuk, k-POD, The American Statistician 2016). All in float64, without a
filter: several times slower than rows without gaps. A row without any value has the first
label and moves no centre.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from daskseg.kernels.assign import FLUSH_ROWS, StepGrid, StepPart, flat, flush, on_grid, scales_of
from daskseg.kernels.compiling import compiled
from daskseg.kernels.labels import Farthest, keep_distinct
from daskseg.kernels.near import Moving, Near, by_margin, came_less_left, up_to
from daskseg.kernels.tiles import Stack

Floats = NDArray[np.float64]


@compiled()
def _measure(
    row: NDArray[Any], centres: Floats, dist: Floats
) -> int:  # pragma: no cover - compiled
    """Write the partial squared distances of a row; return the smallest index of the least."""
    best = 0
    for j in range(len(centres)):
        sq_dist = 0.0
        for f in range(len(row)):
            value = np.float64(row[f])
            if value == value:  # noqa: PLR0124 - not NaN
                difference = value - centres[j, f]
                sq_dist += difference * difference
        dist[j] = sq_dist
        if sq_dist < dist[best]:
            best = j
    return best


@compiled()
def _margin(
    dist: Floats, own: int, radii: Floats, rounding: float
) -> float:  # pragma: no cover - compiled
    least = np.inf
    nearest = np.sqrt(dist[own]) * (1.0 + rounding)
    for j in range(len(dist)):
        if j != own:
            gap = np.sqrt(dist[j]) * (1.0 - rounding) - nearest
            least = min(least, gap / (radii[j] + radii[own]))
    return least * (1.0 - rounding) if least > 0.0 else least * (1.0 + rounding)


@compiled()
def _add_row(
    row: NDArray[Any], weight: float, middle: Floats, scales: Floats, total: NDArray[np.uint64]
) -> None:  # pragma: no cover - compiled
    """Columns: weighted differences, then the weight of each feature, then the square."""
    n_features = len(middle)
    square = 0.0
    for f in range(n_features):
        value = np.float64(row[f])
        is_there = value == value  # noqa: PLR0124 - not NaN
        difference = value - middle[f] if is_there else 0.0
        own = weight if is_there else 0.0
        square += difference * difference
        total[f] += on_grid(own * difference, scales[f])
        total[n_features + f] += on_grid(own, scales[n_features])
    total[2 * n_features] += on_grid(weight * square, scales[n_features + 1])


@compiled()
def _step(
    values: NDArray[Any],
    weights: Floats,
    centres: Floats,
    radii: Floats,
    reach: float,
    middle: Floats,
    scales: Floats,
    rounding: float,
    counts: NDArray[np.int64],
    units: NDArray[np.int64],
    near: NDArray[np.int64],
) -> int:  # pragma: no cover - compiled
    """Sum all rows; collect those of a margin up to `reach`, and return how many."""
    bits = np.zeros(units.shape[:2], np.uint64)
    pending = np.zeros(len(units), np.int64)
    dist = np.empty(len(centres))
    n_near = 0
    for i in range(len(values)):
        own = _measure(values[i], centres, dist)
        pending[own] += 1
        weight = weights[i] if len(weights) else 1.0
        _add_row(values[i], weight, middle, scales, bits[own])
        if reach > -np.inf and not _margin(dist, own, radii, rounding) > reach:
            near[n_near] = i
            n_near += 1
        if i % FLUSH_ROWS == FLUSH_ROWS - 1:
            flush(bits, pending, counts, units)
    flush(bits, pending, counts, units)
    return n_near


@compiled()
def _find_margins(
    values: NDArray[Any],
    centres: Floats,
    radii: Floats,
    rounding: float,
    labels: NDArray[np.int32],
    margins: Floats,
) -> None:  # pragma: no cover - compiled
    dist = np.empty(len(centres))
    for i in range(len(values)):
        labels[i] = _measure(values[i], centres, dist)
        margins[i] = _margin(dist, labels[i], radii, rounding)


@compiled()
def _sum_moved(
    values: NDArray[Any],
    weights: Floats,
    before: NDArray[np.int32],
    centres: Floats,
    middle: Floats,
    scales: Floats,
    counts: NDArray[np.int64],
    units: NDArray[np.int64],
) -> None:  # pragma: no cover - compiled
    bits = np.zeros(units.shape[:2], np.uint64)
    pending = np.zeros(len(units), np.int64)
    dist = np.empty(len(centres))
    n_pending = 0
    for i in range(len(values)):
        own = _measure(values[i], centres, dist)
        if own == before[i]:
            continue
        weight = weights[i] if len(weights) else 1.0
        left = len(centres) + before[i]
        pending[own] += 1
        _add_row(values[i], weight, middle, scales, bits[own])
        pending[left] += 1
        _add_row(values[i], weight, middle, scales, bits[left])
        n_pending += 1
        if n_pending == FLUSH_ROWS:
            flush(bits, pending, counts, units)
            n_pending = 0
    flush(bits, pending, counts, units)


@compiled()
def _label(
    values: NDArray[Any], centres: Floats, labels: NDArray[np.int32], sq_dist: Floats
) -> None:  # pragma: no cover - compiled
    dist = np.empty(len(centres))
    for i in range(len(values)):
        labels[i] = _measure(values[i], centres, dist)
        sq_dist[i] = dist[labels[i]]


@compiled()
def _measure_all(
    values: NDArray[Any], centres: Floats, sq_dist: Floats
) -> None:  # pragma: no cover - compiled
    dist = np.empty(len(centres))
    for i in range(len(values)):
        _measure(values[i], centres, dist)
        sq_dist[:, i] = dist


def _empty(n_centres: int, n_features: int) -> StepPart:
    units = np.zeros((n_centres, 2 * n_features + 1, 2), np.int64)
    return StepPart(np.zeros(n_centres, np.int64), units)


def _rounding(n_features: int) -> float:
    """Bound the relative error of a distance in float64."""
    return (n_features + 8) * 2.0**-52


def _run_step(
    values: NDArray[np.floating],
    weights: Floats | None,
    moving: Moving,
    steps: StepGrid,
    reach: float,
) -> tuple[StepPart, NDArray[np.int64]]:
    part = _empty(*moving.centres.shape)
    near = np.empty(len(values), np.int64)
    n_near = _step(
        np.ascontiguousarray(values),
        flat(weights),
        moving.centres,
        moving.radii,
        reach,
        steps.middle,
        scales_of(steps),
        _rounding(values.shape[1]),
        *part,
        near,
    )
    return part, near[:n_near]


def lloyd_step(
    values: NDArray[np.floating],
    weights: Floats | None,
    centres: Stack,
    steps: StepGrid,
    *,
    squares: bool = True,  # noqa: ARG001 - as in `assign`
) -> StepPart:
    """Take a step; as `assign.lloyd_step`, for a stack of one set. Squares are always summed."""
    moving = Moving(centres.centres, np.ones(len(centres.centres)))
    return _run_step(values, weights, moving, steps, -np.inf)[0]


def step_and_keep(
    values: NDArray[np.floating],
    weights: Floats | None,
    moving: Moving,
    steps: StepGrid,
    reach: float,
    *,
    squares: bool,  # noqa: ARG001 - as in `assign`
) -> tuple[StepPart, Near]:
    """Take a step and keep the rows of a margin up to `reach`; as `near.step_and_keep`."""
    part, chosen = _run_step(values, weights, moving, steps, reach)
    return part, keep(values[chosen], None if weights is None else weights[chosen], moving)


def keep(values: NDArray[np.floating], weights: Floats | None, moving: Moving) -> Near:
    """Find labels and margins of rows, and sort them by rising margin; as `near.keep`."""
    values = np.ascontiguousarray(values)
    labels, margins = np.empty(len(values), np.int32), np.empty(len(values))
    rounding = _rounding(values.shape[1])
    _find_margins(values, moving.centres, moving.radii, rounding, labels, margins)
    return by_margin(Near(values, weights, labels, margins))


def moved_since(near: list[Near], centres: Floats, steps: StepGrid, moved: float) -> StepPart:
    """Sum what moved centres change; as `near.moved_since`."""
    n_centres, n_features = centres.shape
    part = _empty(2 * n_centres, n_features)
    scales = scales_of(steps)
    for one in (up_to(one, moved) for one in near):
        values, weights = one.values, flat(one.weights)
        _sum_moved(values, weights, one.labels, centres, steps.middle, scales, *part)
    return came_less_left(part)


def nearest(values: NDArray[np.floating], centres: Floats) -> tuple[NDArray[np.int32], Floats]:
    """Find the nearest centre of each row and the partial squared distance to it."""
    labels, sq_dist = np.empty(len(values), np.int32), np.empty(len(values))
    wide = np.ascontiguousarray(centres, dtype=np.float64)
    _label(np.ascontiguousarray(values), wide, labels, sq_dist)
    return labels, sq_dist


def sq_distances(values: NDArray[np.floating], centres: Floats) -> Floats:
    """Compute all partial squared distances; shape (n_centres, n_rows)."""
    sq_dist = np.empty((len(centres), len(values)))
    wide = np.ascontiguousarray(centres, dtype=np.float64)
    _measure_all(np.ascontiguousarray(values), wide, sq_dist)
    return sq_dist


def farthest_rows(
    values: NDArray[np.floating],
    weights: Floats | None,
    first_row: int,
    centres: Floats,
    n_wanted: int,
) -> Farthest:
    """Find the rows of one block that fit worst; as `labels.farthest_rows`.

    A centre can be made of them: what they miss is taken from their nearest centre, and so
    adds nothing to their distance.
    """
    found, sq_dist = nearest(values, centres)
    rows = first_row + np.arange(len(values), dtype=np.int64)
    real = slice(None) if weights is None else weights > 0
    wide = np.where(np.isnan(values), centres[found], values)
    return keep_distinct(Farthest(sq_dist[real], rows[real], wide[real]), n_wanted)
