"""What is learned about all rows before any clustering: ranges, defects and a weighted sample.

Covers: one pass, led by a few rows read beforehand, whose results a fit and a sweep share.
Does not cover: fitting.
"""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from daskseg.cluster.lloyd import sum_floats
from daskseg.engine import passes
from daskseg.engine.blocks import Blocks, Rows
from daskseg.inputs import check_extent
from daskseg.kernels import rng, sample
from daskseg.kernels.distances import sq_distances
from daskseg.kernels.moments import Extent, merge_extents
from daskseg.kernels.sample import SAMPLE_ROWS, Pilot, Sample, SamplePart

Floats = NDArray[np.float64]
# Arbitrary: runs of rows from four places show what rows are like, also where they are sorted.
PILOT_RUNS, PILOT_RUN_ROWS = 4, 4_096
# Arbitrary: enough sampled rows per cluster to place each centre well.
_SAMPLE_ROWS_PER_CLUSTER = 400
# Rows above the floor, as a multiple of the rows wanted: fewer than one is out of reach.
_FLOOR_EXCESS = 2.0


class Survey(NamedTuple):
    """Ranges of all rows, and a sample of them.

    Attributes
    ----------
    extent : Extent
    sample : Sample
    """

    extent: Extent
    sample: Sample


def sample_rows_for(n_clusters: int) -> int:
    """Return how many rows to draw for a fit of so many clusters."""
    return max(SAMPLE_ROWS, _SAMPLE_ROWS_PER_CLUSTER * n_clusters)


def survey(blocks: Blocks, seed: int, n_wanted: int, *, what: str = "X") -> Survey:
    """Measure ranges, refuse what cannot be clustered, and draw a sample of rows.

    Parameters
    ----------
    blocks : Blocks
        Measured.
    seed : int
    n_wanted : int
        Most rows of the sample.
    what : str
        What messages call the rows.

    Raises
    ------
    InputError
        As `inputs.check_extent`.

    Notes
    -----
    One pass, and a part of one for the pilot where not all rows fit the sample. A pilot that
    misleads (rows in an unusual order) may cost a second pass, and nothing else.
    """
    pilot = Pilot(np.zeros(blocks.n_features), 0.0)
    if blocks.n_rows > n_wanted:
        pilot = _pilot(blocks, seed, n_wanted)
    extent, part = _scan(blocks, pilot, seed, n_wanted)
    check_extent(extent, blocks, what)
    if len(part.rows) <= n_wanted and pilot.floor > 0:
        extent, part = _scan(blocks, pilot._replace(floor=0.0), seed, n_wanted)
    total = None if blocks.weights is not None else float(extent.n_rows)
    return Survey(extent, sample.finish_sample(part, n_wanted, total))


def _scan_block(rows: Rows, pilot: Pilot, seed: int, n_wanted: int) -> tuple[Extent, SamplePart]:
    return sample.scan(rows.values, rows.weights, rows.first_row, pilot, seed, n_wanted)


class _MergeScans:
    """Merges what two sets of blocks say."""

    def __init__(self, n_wanted: int) -> None:
        self.n_wanted = n_wanted

    def __call__(
        self, a: tuple[Extent, SamplePart], b: tuple[Extent, SamplePart]
    ) -> tuple[Extent, SamplePart]:
        return (
            merge_extents(a[0], b[0]),
            sample.merge_samples(a[1], b[1], n_wanted=self.n_wanted),
        )


def _scan(blocks: Blocks, pilot: Pilot, seed: int, n_wanted: int) -> tuple[Extent, SamplePart]:
    found: tuple[Extent, SamplePart] = passes.reduce(
        blocks,
        _scan_block,
        _MergeScans(n_wanted),
        pilot,
        seed,
        n_wanted,
        name="survey",
        scratch=lambda rows: sample.scratch_bytes(
            blocks.n_features, 1, rows, blocks.dtype.itemsize
        ),
    )
    return found


def _cut(rows: Rows, starts: list[int], first_rows: dict[int, int]) -> tuple[list[int], Floats]:
    """Take the rows of the pilot's runs that lie in a block."""
    first = first_rows[rows.first_row]
    chosen: list[int] = []
    for start in starts:
        low = max(start, first)
        chosen += range(low, min(start + PILOT_RUN_ROWS, first + len(rows.values)))
    inside = np.unique(np.array(chosen, np.int64)) - first
    weights = np.ones(len(inside)) if rows.weights is None else rows.weights[inside]
    values = rows.values[inside].astype(np.float64)
    return (inside + first).tolist(), np.column_stack([values, weights])


def read_pilot(blocks: Blocks, seed: int) -> tuple[Floats, Floats]:
    """Read some runs of rows at places that depend on the seed and the number of rows alone.

    Returns
    -------
    values : ndarray of shape (n, n_features), float64
        By rising row; at most 16,384.
    weights : ndarray of shape (n,), float64

    Notes
    -----
    A part of a pass: the blocks that hold these rows are read.
    """
    last = max(1, blocks.n_rows - PILOT_RUN_ROWS + 1)
    draws = rng.uniform(seed, rng.PILOT, 0, PILOT_RUNS)
    starts = sorted({min(last - 1, int(draw * last)) for draw in draws})
    wanted = [
        index
        for index, (first, length) in enumerate(zip(blocks.offsets, blocks.lengths, strict=True))
        if any(first < start + PILOT_RUN_ROWS and start < first + length for start in starts)
    ]
    some = replace(
        blocks,
        loads=tuple(blocks.loads[i] for i in wanted),
        lengths=tuple(blocks.lengths[i] for i in wanted),
        weights=None if blocks.weights is None else tuple(blocks.weights[i] for i in wanted),
    )
    first_rows = dict(zip(some.offsets, (blocks.offsets[i] for i in wanted), strict=True))
    # Rows in memory are taken where they are; else whole blocks are read for them.
    n_read = len(starts) * PILOT_RUN_ROWS if blocks.in_memory else sum(some.lengths)
    share = min(1.0, n_read / blocks.n_rows)
    found = passes.emit(some, _cut, starts, first_rows, name="pilot", share=share, journaled=True)
    rows = np.concatenate([part for _, part in found])
    return rows[:, :-1], rows[:, -1]


def _pilot(blocks: Blocks, seed: int, n_wanted: int) -> Pilot:
    values, weights = read_pilot(blocks, seed)
    usable = np.isfinite(values).all(axis=1) & np.isfinite(weights) & (weights > 0)
    values, weights = values[usable], weights[usable]
    if not len(values):
        return Pilot(np.zeros(blocks.n_features), 0.0)
    mass = sum_floats(weights)
    centre = np.cumsum(values * weights[:, None], axis=0)[-1] / mass
    sq_dist = sq_distances(values, centre[None])[0]
    scatter = sum_floats(sq_dist * weights) / mass
    importance = weights * (1.0 + sq_dist / scatter) if scatter > 0 else weights
    repeats = np.ones(len(importance))
    floor = priority_floor(importance, repeats, blocks.n_rows, n_wanted)
    return Pilot(centre, scatter, floor)


def priority_floor(importance: Floats, repeats: Floats, n_rows: float, n_wanted: int) -> float:
    """Find the priority above which about twice as many rows lie as are wanted.

    Parameters
    ----------
    importance : ndarray of shape (n,), float64
        Of some rows.
    repeats : ndarray of shape (n,), float64
        How many of all rows each of them stands for, up to a factor.
    n_rows : float
        Number of all rows.
    n_wanted : int

    Returns
    -------
    float
        0 where most rows would lie above it.
    """
    wanted = _FLOOR_EXCESS * (n_wanted + 1) / n_rows
    if wanted >= 0.5:
        return 0.0
    mass = sum_floats(repeats)
    low, high = 0.0, float(importance.max()) / wanted
    for _ in range(60):
        floor = (low + high) / 2
        above = sum_floats(repeats * np.minimum(1.0, importance / floor)) if floor > 0 else mass
        if above > wanted * mass:
            low = floor
        else:
            high = floor
    return low
