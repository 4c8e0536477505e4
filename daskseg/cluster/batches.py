"""Batches that grow: rows from everywhere in the data, and a first look at all of them.

Covers: which rows are in a batch of a given size, cutting them out of blocks, and the source
of a batch whose first read measures, samples and takes a step at once. Does not cover: the
order of the work (see `cluster.growing`) or steps after the first (see `cluster.exact`).
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
from dask.delayed import delayed
from numpy.typing import NDArray

from daskseg.cluster.exact import RowsSource
from daskseg.cluster.lloyd import sum_floats
from daskseg.cluster.margins import Margins
from daskseg.cluster.survey import sample_rows_for
from daskseg.engine import passes
from daskseg.engine.blocks import Blocks, Load, Rows
from daskseg.inputs import check_extent, measure_extent
from daskseg.kernels import assign, sample, tiles
from daskseg.kernels import near as near_rows
from daskseg.kernels.assign import StepGrid, StepPart
from daskseg.kernels.distances import sq_distances
from daskseg.kernels.labels import nearest
from daskseg.kernels.moments import Extent, extent, merge_extents
from daskseg.kernels.near import Moving, Near
from daskseg.kernels.rng import PLACES, SAMPLE, uniform
from daskseg.kernels.sample import Pilot, Sample, SamplePart

Floats = NDArray[np.float64]
Runs = list[tuple[int, int]]
# Arbitrary: what holds 3 % of the rows in one stretch is in every batch; few enough that most
# chunks of a large store are left alone.
N_RUNS = 64
# From one batch to the next: the last one is all rows, those before it add 1 % to the reading.
# The rows that 100 times as many rows may move to other clusters are kept by one read.
_GROWTH = 128
# Rows that have not been seen may reach so many times as far from the middle as those that
# have; it costs 3 of the 50 bits of the sums.
_HEADROOM = 4.0
# Arbitrary: bits of the sums that a guess of the ranges may waste.
_MOST_WASTE = 16
# Rows above the floor of the sample, as a multiple of the rows wanted.
_FLOOR_EXCESS = 2.0


def batch_sizes(n_rows: int, first_rows: int) -> list[int]:
    """Return the numbers of rows in play: about even growth, ending at all rows.

    Examples
    --------
    >>> batch_sizes(1_000_000, 100_000), batch_sizes(10**9, 100_000)
    ([100000, 1000000], [100000, 10000000, 1000000000])
    """
    if first_rows >= n_rows:
        return [n_rows]
    ratio = n_rows / first_rows
    n_more = max(1, math.ceil(math.log(ratio) / math.log(_GROWTH)))
    return [round(first_rows * ratio ** (i / n_more)) for i in range(n_more)] + [n_rows]


def runs_of(n_rows: int, size: int, seed: int) -> Runs:
    """Choose the rows of a batch: one run in each of 64 equal stretches of the data.

    The place of a run depends on the seed and the number of rows alone; the run of a larger
    batch begins at the same row and is longer, so that every batch holds those before it, and
    few chunks are touched.

    Parameters
    ----------
    n_rows : int
        From 1.
    size : int
        Rows wanted; up to 64 more are chosen.
    seed : int

    Returns
    -------
    list of (start, stop)
        By rising row, apart from one another.
    """
    n_runs = min(N_RUNS, n_rows)
    places = uniform(seed, PLACES, 0, n_runs)
    found = []
    for i in range(n_runs):
        low, high = i * n_rows // n_runs, (i + 1) * n_rows // n_runs
        length = min(high - low, -(-(high - low) * size // n_rows))
        start = low + min(high - low - 1, int(places[i] * (high - low)))
        beyond = max(0, start + length - high)
        # What does not fit behind the start is taken from the front of the stretch.
        found += [(low, low + beyond), (start, start + length - beyond)]
    joined: Runs = []
    for start, stop in found:
        if joined and joined[-1][1] == start and stop > start:
            joined[-1] = (joined[-1][0], stop)
        elif stop > start:
            joined.append((start, stop))
    return joined


def _cut(values: NDArray[Any], pieces: Runs) -> NDArray[Any]:
    if len(pieces) == 1:
        return values[slice(*pieces[0])]
    return np.concatenate([values[start:stop] for start, stop in pieces])


def _load_pieces(func: Callable[..., Any], args: list[Any], pieces: Runs) -> NDArray[Any]:
    return _cut(np.asarray(func(*args)), pieces)


class Taken(NamedTuple):
    """Some rows of blocks.

    Attributes
    ----------
    blocks : Blocks
        Numbered from 0 by rising row.
    share : float
        What reading them costs in passes: whole blocks are read for rows in a store.
    """

    blocks: Blocks
    share: float


def take_runs(blocks: Blocks, runs: Runs) -> Taken:
    """Cut runs of rows out of measured blocks; nothing is read.

    Parameters
    ----------
    blocks : Blocks
    runs : list of (start, stop)
        By rising row, apart from one another.
    """
    if runs == [(0, blocks.n_rows)]:
        return Taken(blocks, 1.0)
    stops = [stop for _, stop in runs]
    chosen: list[tuple[int, Runs]] = []
    for index, (first, length) in enumerate(zip(blocks.offsets, blocks.lengths, strict=True)):
        pieces: Runs = []
        for start, stop in runs[int(np.searchsorted(stops, first, side="right")) :]:
            if start >= first + length:
                break
            pieces.append((max(start, first) - first, min(stop, first + length) - first))
        if pieces:
            chosen.append((index, pieces))
    lengths = tuple(sum(stop - start for start, stop in pieces) for _, pieces in chosen)
    n_read = sum(lengths) if blocks.in_memory else sum(blocks.lengths[i] for i, _ in chosen)
    cut = replace(
        blocks,
        loads=tuple(
            Load(_load_pieces, (blocks.loads[i].func, list(blocks.loads[i].args), pieces))
            for i, pieces in chosen
        ),
        lengths=lengths,
        weights=None if blocks.weights is None else _cut_weights(blocks.weights, chosen),
    )
    return Taken(cut, n_read / blocks.n_rows)


def _cut_weights(weights: tuple[Any, ...], chosen: list[tuple[int, Runs]]) -> tuple[Any, ...]:
    later = delayed(_cut, pure=False)
    return tuple(
        (_cut if isinstance(weights[i], np.ndarray) else later)(weights[i], pieces)
        for i, pieces in chosen
    )


def _hand_over(rows: Rows) -> tuple[NDArray[Any], Floats | None]:
    return rows.values, rows.weights


class First(NamedTuple):
    """The first batch, in memory.

    Attributes
    ----------
    values : ndarray of shape (n, n_features), float32 or float64
    weights : ndarray of shape (n,), float64, or None
    extent : Extent
    sample : Sample
        Of the batch.
    scatter : float
        Mean squared distance of the sample from its mean.
    """

    values: NDArray[Any]
    weights: Floats | None
    extent: Extent
    sample: Sample
    scatter: float

    def source(self, margins: Margins) -> RowsSource:
        """Return a source of steps over the batch."""
        rows = Blocks.from_array(self.values)
        if self.weights is not None:
            rows = rows.with_weights(self.weights)
        return RowsSource(rows, self.extent, lambda: np.inf, margins, share=0.0)


def read_first(blocks: Blocks, size: int, n_clusters: int, seed: int) -> First:
    """Bring the first batch into memory. A part of a pass, as `take_runs` counts it.

    Raises
    ------
    InputError
        As `inputs.measure_extent`, if what is read cannot be clustered; with the place in all
        rows, which costs a pass.
    """
    taken = take_runs(blocks, runs_of(blocks.n_rows, size, seed))
    parts = passes.emit(taken.blocks, _hand_over, name="first-batch", share=taken.share)
    values = np.concatenate([part for part, _ in parts])
    weights = None
    if blocks.weights is not None:
        weights = np.concatenate([np.asarray(part, np.float64) for _, part in parts])
    seen = extent(values, weights, 0)
    if not _is_sound(seen):
        measure_extent(blocks)
    check_extent(seen, blocks, f"the first batch ({seen.n_rows:,} of {blocks.n_rows:,} rows)")
    n_wanted = sample_rows_for(n_clusters)
    part = sample.scan(values, weights, 0, Pilot(np.zeros(values.shape[1]), 0.0), seed, n_wanted)[1]
    total = None if weights is not None else float(len(values))
    drawn = sample.finish_sample(part, n_wanted, total)
    mass = sum_floats(drawn.weights)
    mean = np.cumsum(drawn.values * drawn.weights[:, None], axis=0)[-1] / mass
    sq_dist = sq_distances(drawn.values, mean[None])[0]
    scatter = sum_floats(sq_dist * drawn.weights) / mass
    return First(values, weights, seen, drawn, scatter)


def _is_sound(seen: Extent) -> bool:
    return not (seen.n_missing.any() or seen.n_infinite.any()) and seen.low_weight >= 0


class Draw(NamedTuple):
    """What decides the sample of a batch.

    A row counts by how badly the centres fit it, so that what they miss is in the sample, and
    by how few rows its cluster has, so that better centres do not lose those. The importance
    is that of Bachem, Lucic and Krause, Practical coreset constructions for machine learning,
    2017, in the main.

    Attributes
    ----------
    error : float
        Mean squared error of the centres on the first batch.
    odds : ndarray of shape (n_clusters,), float64
        Mean weight of a cluster, by that of each cluster.
    floor : float
        Rows of a smaller priority are not returned; 0 returns all.
    seed : int
    n_wanted : int
    """

    error: float
    odds: Floats
    floor: float
    seed: int
    n_wanted: int


def draw_for(first: First, centres: Floats, n_rows: int, n_clusters: int, seed: int) -> Draw:
    """Plan the sample of a batch of `n_rows` from how the centres fit the first batch."""
    labels, sq_dist = nearest(first.sample.values, centres)
    weights, k = first.sample.weights, len(centres)
    error = sum_floats(sq_dist * weights) / sum_floats(weights)
    mass = np.bincount(labels, weights, minlength=k)
    mass = np.maximum(mass, mass[mass > 0].min())
    n_wanted = sample_rows_for(n_clusters)
    draw = Draw(error, sum_floats(weights) / (k * mass), 0.0, seed, n_wanted)
    excess = _FLOOR_EXCESS * (n_wanted + 1) / n_rows
    if excess >= 0.5:
        return draw
    importance = _importance(Rows(first.values, 0, first.weights), centres, draw)
    return draw._replace(floor=_floor(importance, excess * len(importance)))


def _importance(rows: Rows, centres: Floats, draw: Draw) -> Floats:
    labels, sq_dist = nearest(rows.values, centres)
    own = 1.0 + draw.odds[labels]
    if draw.error > 0:
        own += sq_dist / draw.error
    return own if rows.weights is None else own * rows.weights


def _draw_block(rows: Rows, centres: Floats, draw: Draw) -> SamplePart:
    return sample.draw_by(
        _importance(rows, centres, draw),
        rows.values,
        rows.weights,
        rows.first_row,
        draw.floor,
        (draw.seed, SAMPLE),
        draw.n_wanted,
    )


def _floor(importance: Floats, n_above: float) -> float:
    """Find the t at which the chances ``min(1, importance / t)`` sum to `n_above`."""
    rising = np.sort(importance)
    below = np.cumsum(rising)
    # With the i + 1 least below t, the others are certain.
    n_left = n_above - np.arange(len(rising) - 1, -1, -1)
    floors = np.divide(below, n_left, out=np.zeros(len(below)), where=n_left > 0)
    fits = (floors > 0) & (floors >= rising)
    fits[:-1] &= floors[:-1] <= rising[1:]
    return float(floors[int(np.argmax(fits))])


class _Seen(NamedTuple):
    """What the first read of a block says; no sums where the guess of the ranges was wrong."""

    extent: Extent
    n_used: int
    drawn: SamplePart | None
    part: StepPart | None
    near: Near | None


def count_used(rows: Rows) -> int:
    """Count the rows whose weight is not zero."""
    return len(rows.values) if rows.weights is None else int(np.count_nonzero(rows.weights))


def _look(
    rows: Rows,
    draw: Draw,
    moving: Moving,
    grid: StepGrid,
    guess: Extent,
    reach: float,
    keeps_all: bool,
) -> _Seen:
    seen = extent(rows.values, rows.weights, rows.first_row)
    n_used = count_used(rows)
    if not _is_sound(seen):
        return _Seen(seen, n_used, None, None, None)
    drawn = _draw_block(rows, moving.centres, draw)
    if not _is_inside(seen, guess):
        # Sums on this grid would overflow; rows that are kept whole can be summed afterwards.
        whole = near_rows.keep(rows.values, rows.weights, moving) if keeps_all else None
        return _Seen(seen, n_used, drawn, None, whole)
    part, near = near_rows.step_and_keep(
        rows.values, rows.weights, moving, grid, reach, squares=True
    )
    return _Seen(seen, n_used, drawn, part, near)


def _sum_kept(near: Near, centres: Floats, grid: StepGrid) -> StepPart:
    stack = tiles.stack([centres])
    return assign.lloyd_step(near.values, near.weights, stack, grid, squares=True)


def _is_inside(seen: Extent, guess: Extent) -> bool:
    return bool(
        (seen.low >= guess.low).all()
        and (seen.high <= guess.high).all()
        and seen.high_weight <= guess.high_weight
    )


def _guess(seen: Extent, n_rows: int) -> Extent:
    """Guess the ranges of all rows from those of some.

    A column that has not varied may hold anything: it is given the size of its value, or one.
    """
    middle = seen.low + (seen.high - seen.low) / 2
    half = _HEADROOM * (seen.high - seen.low) / 2
    half = np.where(half > 0, half, _HEADROOM * np.maximum(np.abs(middle), 1.0))
    heaviest = seen.high_weight
    # Weights of one are no guess.
    heaviest = heaviest if seen.low_weight == heaviest == 1.0 else _HEADROOM * heaviest
    return seen._replace(n_rows=n_rows, low=middle - half, high=middle + half, high_weight=heaviest)


class BatchSource(RowsSource):
    """Lloyd steps over the rows of a batch, whose ranges are not known beforehand.

    Parameters
    ----------
    whole : Blocks
        All rows, to name those at fault.
    taken : Taken
        Those of the batch.
    seen : Extent
        Of an earlier batch.
    margins : Margins
    draw : Draw

    Attributes
    ----------
    may_read : bool
        Whether `step` may read when what is in memory does not decide it.
    n_used : int
        Rows of the batch whose weight is not zero, after `look`.
    sample : Sample or None
        Of the batch, after `look`; None if next to nothing was drawn.
    """

    def __init__(
        self, whole: Blocks, taken: Taken, seen: Extent, margins: Margins, draw: Draw
    ) -> None:
        super().__init__(
            taken.blocks,
            _guess(seen, taken.blocks.n_rows),
            lambda: np.inf if self.may_read else 0.0,
            margins,
            share=taken.share,
        )
        self.may_read = False
        self.n_used = 0
        self.sample: Sample | None = None
        self._whole = whole
        self._draw = draw

    def look(self, centres: Floats) -> None:
        """Measure and sample the batch, and take a step with the same read. One pass of it.

        Where the ranges of an earlier batch mislead, the step is taken on the rows kept, if
        they are all, and else left to the next read.

        Raises
        ------
        InputError
            If the rows cannot be clustered.
        """
        assert self._margins is not None
        moving, reach = self._margins.choose(centres, None)
        keeps_all = self._margins.share == 1.0
        found = passes.emit(
            self.blocks,
            _look,
            self._draw,
            moving,
            self.grid,
            self.extent,
            reach,
            keeps_all,
            name="batch",
            share=self._share,
        )
        seen = functools.reduce(merge_extents, (one.extent for one in found))
        if not _is_sound(seen):
            measure_extent(self._whole)
        check_extent(seen, self.blocks)
        self.n_used = sum(one.n_used for one in found)
        self.sample = self._finish([one.drawn for one in found if one.drawn])
        exact = assign.step_grid(seen)
        wasted = self.grid.exponents - exact.exponents
        is_right = _is_inside(seen, self.extent) and int(wasted.max()) <= _MOST_WASTE
        self.extent = seen
        near = [one.near for one in found if one.near and len(one.near.margins)]
        if is_right:
            parts = [one.part for one in found if one.part]
        elif keeps_all:
            self.grid = exact
            parts = passes.run(_sum_kept, near, moving.centres, exact, name="step", local=True)
        else:
            self.grid = exact
            return
        self.keep(moving, reach, near, functools.reduce(assign.merge_steps, parts))

    def _finish(self, drawn: list[SamplePart]) -> Sample | None:
        draw = self._draw
        merge = functools.partial(sample.merge_samples, n_wanted=draw.n_wanted)
        part = functools.reduce(merge, drawn)
        n_wanted = draw.n_wanted
        if draw.floor > 0:
            # Rows above the floor are all there: fewer of them are a smaller sample.
            n_wanted = min(n_wanted, len(part.rows) - 1)
        if n_wanted < 1:
            return None
        total = None if self.blocks.weights is not None else float(self.blocks.n_rows)
        return sample.finish_sample(part, n_wanted, total)
