"""Micro-clusters: any number of rows as a thousand weighted points, with exact sums.

Covers: places from a weighted sample, and one pass that sums all rows by the nearest place. Does
not cover: what is made of the points (see `cluster.agglomerative`, `cluster.consensus`).

Reference: Zhang, Ramakrishnan and Livny, BIRCH, SIGMOD 1996 (cluster features); means and errors
are kept instead of sums of squares, which cancel (Lang and Schubert, BETULA, SISAP 2020).
"""

from __future__ import annotations

from fractions import Fraction
from functools import reduce
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from daskseg.cluster.search.jobs import level_in
from daskseg.cluster.search.prepare import Points, merge_equal, prefix, prepare
from daskseg.cluster.survey import survey
from daskseg.engine import passes
from daskseg.engine.blocks import Blocks, Rows
from daskseg.errors import InputError
from daskseg.kernels import assign, labels, rng, steps, tiles, weighted, weighted_starts
from daskseg.kernels.assign import GRID_BITS, StepGrid, StepPart
from daskseg.kernels.moments import Extent
from daskseg.kernels.sample import SAMPLE_ROWS, Sample

Floats = NDArray[np.float64]
# Rows per micro-cluster on which places are chosen, and on which they are moved.
_FEW_ROWS, _MANY_ROWS = 20, 100
_FEW_STEPS, _MANY_STEPS, _TOL = 5, 5, 1e-3
# Below this share of the scatter within micro-clusters the scores of float32 are mostly noise.
_FINE_SHARE = 1e-5


class Micro(NamedTuple):
    """Micro-clusters of all rows; those without weight are left out.

    Attributes
    ----------
    places : ndarray of shape (n_micro, n_features), float64
        A row belongs to the nearest.
    means : ndarray of shape (n_micro, n_features), float64
        Of the rows.
    weights : ndarray of shape (n_micro,), float64
        Sums of the weights of the rows; above zero.
    sses : ndarray of shape (n_micro,), float64
        Squared errors about the means; all zero where each is one distinct row.
    extent : Extent
        Of all rows.
    """

    places: Floats
    means: Floats
    weights: Floats
    sses: Floats
    extent: Extent


class Compressed(NamedTuple):
    """Micro-clusters, and what was learned on the way.

    Attributes
    ----------
    micro : Micro
    sample : Sample
    labels : ndarray of shape (n_rows,), int32, or None
        The micro-cluster of each row, where it was asked for.
    """

    micro: Micro
    sample: Sample
    labels: NDArray[np.int32] | None


def compress(blocks: Blocks, n_micro: int, seed: int, *, keep_labels: bool) -> Compressed:
    """Make micro-clusters of rows.

    Parameters
    ----------
    blocks : Blocks
        Measured.
    n_micro : int
        At most so many. Where there are fewer distinct rows, each of them is one.
    seed : int
    keep_labels : bool
        Return the micro-cluster of each row.

    Raises
    ------
    InputError
        As `inputs.check_extent`; and if the data changed while they were read.

    Notes
    -----
    Passes: two, and a part of one where not all rows fit the sample. Without labels one, if the
    sample is all distinct rows and each is a micro-cluster.
    """
    found = survey(blocks, seed, max(SAMPLE_ROWS, _FEW_ROWS * n_micro))
    sample, extent = found.sample, found.extent
    used = sample.weights > 0
    n_points = int(np.count_nonzero(used))
    if not sample.is_whole or n_points > n_micro:
        places = choose_places(sample, n_micro, seed)
        return _sum_up(blocks, places, extent, sample, keep_labels=keep_labels)
    points = sample.values[used].astype(np.float64)
    micro = Micro(points, points, sample.weights[used], np.zeros(n_points), extent)
    own = label_rows(blocks, points) if keep_labels else None
    return Compressed(micro, sample, own)


def choose_places(sample: Sample, n_micro: int, seed: int) -> Floats:
    """Place micro-clusters by k-means++ and a few Lloyd steps on a sample.

    Returns
    -------
    ndarray of shape (at most n_micro, n_features), float64
        Some may be equal, or have no rows.

    Notes
    -----
    Depends on the sample and the seed alone.
    """
    prepared = prepare(sample, seed)
    whole = merge_equal(prepared.points, surely=4 * n_micro > len(prepared.own))
    if len(whole.rows) <= n_micro:
        return prepared.to_values(whole.rows)
    few = prefix(prepared, _FEW_ROWS * n_micro)
    many = prefix(prepared, _MANY_ROWS * n_micro)
    dtype = np.float32
    centres, is_fine = _place(few, n_micro, seed, dtype)
    if not is_fine:
        dtype = np.float64  # type: ignore[assignment]
        centres, _ = _place(few, n_micro, seed, dtype)
    centres, _, _ = weighted.lloyd(level_in(many, dtype), centres, _MANY_STEPS, _TOL)
    return prepared.to_values(centres)


def _place(points: Points, n_micro: int, seed: int, dtype: type) -> tuple[Floats, bool]:
    """Return places on a few rows, and whether the precision tells these apart."""
    level = level_in(points, dtype)
    n_wanted = min(n_micro, len(points.rows))
    rows, _ = weighted_starts.plus_plus(level, n_wanted, 1, rng.key_of(seed), 0)
    start = level.rows[rows].astype(np.float64)
    centres, sse, _ = weighted.lloyd(level, start, _FEW_STEPS, _TOL)
    return centres, bool(sse >= _FINE_SHARE * level.sq_norm)


def _label_block(rows: Rows, places: Floats) -> NDArray[np.int32]:
    return labels.labels_of(rows.values, places)


def label_rows(blocks: Blocks, places: Floats) -> NDArray[np.int32]:
    """Return the nearest place of each row. One pass."""
    return np.concatenate(passes.emit(blocks, _label_block, places, name="labels"))


def _sum_block(rows: Rows, places: Floats, grid: StepGrid) -> StepPart:
    return assign.lloyd_step(rows.values, rows.weights, tiles.stack([places]), grid)


def _label_and_sum(
    rows: Rows, places: Floats, grid: StepGrid
) -> tuple[NDArray[np.int32], StepPart]:
    own = labels.labels_of(rows.values, places)
    return own, assign.sums_by_label(rows.values, rows.weights, own, len(places), grid)


def _sum_up(
    blocks: Blocks, places: Floats, extent: Extent, sample: Sample, *, keep_labels: bool
) -> Compressed:
    """Sum all rows by their nearest places. One pass."""
    grid = assign.step_grid(extent)
    own: NDArray[np.int32] | None = None
    if keep_labels:
        records = passes.emit(blocks, _label_and_sum, places, grid, name="micro")
        own = np.concatenate([one for one, _ in records])
        part = reduce(assign.merge_steps, (one for _, one in records))
    else:
        part = passes.reduce(
            blocks,
            _sum_block,
            assign.merge_steps,
            places,
            grid,
            name="micro",
            scratch=lambda rows: assign.scratch_bytes(
                places.shape[1], len(places), rows, blocks.dtype.itemsize
            ),
        )
    check_same_rows(part, extent)
    kept = np.flatnonzero([weight > 0 for weight in steps.weights_of(part, grid)])
    micro = _micro_of(part, grid, places, extent, kept)
    if own is not None and int(part.counts[kept].sum()) < extent.n_rows:
        # Rows of weight zero that were alone go to the nearest of the others.
        own = label_rows(blocks, micro.places)
    elif own is not None:
        number = np.zeros(len(places), np.int32)
        number[kept] = np.arange(len(kept))
        own = number[own]
    return Compressed(micro, sample, own)


def _micro_of(
    part: StepPart, grid: StepGrid, places: Floats, extent: Extent, kept: NDArray[np.intp]
) -> Micro:
    part = StepPart(part.counts[kept], part.units[kept])
    means, _ = steps.means_of(part, grid)
    weights = [float(weight) for weight in steps.weights_of(part, grid)]
    return Micro(places[kept], means, np.array(weights), _errors_of(part, grid), extent)


def _errors_of(part: StepPart, grid: StepGrid) -> Floats:
    """Return the squared error of each micro-cluster about its mean, rounded once.

    As `steps.sse_of`, which takes a millisecond for each centre.
    """
    units = steps.units_of(part)
    exponents = [int(exponent) - GRID_BITS for exponent in grid.exponents]
    least = 2 * min(exponents[:-2])
    shifts = np.array([2 ** (2 * exponent - least) for exponent in exponents[:-2]], object)
    squares = (units[:, :-2] ** 2 * shifts).sum(axis=1)
    whole, of_means = _power(exponents[-1]), _power(least - exponents[-2])
    errors = [
        float(whole * int(own) - of_means * Fraction(int(square), int(weight)))
        for own, square, weight in zip(units[:, -1], squares, units[:, -2], strict=True)
    ]
    return np.asarray(np.maximum(np.array(errors), 0.0))


def _power(exponent: int) -> Fraction:
    return Fraction(2**exponent) if exponent >= 0 else Fraction(1, 2**-exponent)


def check_same_rows(part: StepPart, extent: Extent) -> None:
    """Refuse data whose number of rows changed between two passes."""
    n_seen = int(part.counts.sum())
    if n_seen != extent.n_rows:
        raise InputError(
            f"the data changed while they were read: {extent.n_rows:,} rows at first, "
            f"{n_seen:,} rows now. Fit on data that nobody writes to."
        )


def group_means(micro: Micro, lookup: NDArray[np.int32], n_groups: int) -> tuple[Floats, Floats]:
    """Return means and squared errors of groups of micro-clusters.

    Parameters
    ----------
    micro : Micro
    lookup : ndarray of shape (n_micro,), int32
        The group of each micro-cluster; every group has one at least.
    n_groups : int

    Returns
    -------
    means : ndarray of shape (n_groups, n_features), float64
    sses : ndarray of shape (n_groups,), float64
        Of all rows about these means.
    """
    sizes = np.bincount(lookup, micro.weights, n_groups)
    # About a point amid the rows, so that far-off data keep their digits.
    middle = micro.means[0]
    moved = micro.means - middle
    means = np.empty((n_groups, moved.shape[1]))
    for f, column in enumerate(moved.T):
        means[:, f] = np.bincount(lookup, micro.weights * column, n_groups) / sizes
    off = np.cumsum((moved - means[lookup]) ** 2, axis=1)[:, -1]
    sses = np.bincount(lookup, micro.sses + micro.weights * off, n_groups)
    return means + middle, np.asarray(sses, dtype=np.float64)
