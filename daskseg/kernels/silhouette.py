"""Exact silhouettes with squared Euclidean distances, from means and scatters of clusters.

Covers: several labellings of the same rows at once, summed per cluster, and the silhouette of
each row of one labelling. The mean squared distance from a row x to cluster j is
``|x - mean_j|**2 + scatter_j``: no pair of rows is looked at. Taken about the means, because
the raw moments cancel when the data lie far from the origin. Weights count as repeats of a row.
Does not cover: other distances (see `kernels.pairs`; cosine is this one on unit rows).

The nearest other cluster is found by the float32 filter of `kernels.tiles`, raised by the
scatters; rows that it cannot tell apart look at all clusters in float64, so that the value is
that of the definition. Scratch memory: one tile and its scores, twice.
"""

from __future__ import annotations

from fractions import Fraction
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from daskseg.kernels import grid, steps, tiles
from daskseg.kernels.assign import StepGrid, StepPart, flat
from daskseg.kernels.compiling import compiled
from daskseg.kernels.distances import pieces, sq_distances
from daskseg.kernels.grid import GridSum
from daskseg.kernels.tiles import GROUP, TILE_ROWS, Ready, Scratch, Stack

Floats = NDArray[np.float64]
# Half of them would do for the integers of a block; see `kernels.grid`.
_FLUSH_ROWS = 2**22
_INFINITE = np.float32(np.inf)


class Clusters(NamedTuple):
    """What silhouettes need to know of every cluster of a stack of labellings.

    Attributes
    ----------
    means : Stack
        Empty clusters have any mean.
    scatter : ndarray of shape (n_clusters,), float64
        Mean squared distance to the own mean.
    sizes : ndarray of shape (n_clusters,), float64
        Sum of weights.
    """

    means: Stack
    scatter: Floats
    sizes: Floats


class SilhouettePart(NamedTuple):
    """Sums per cluster of a stack; merge with `merge_silhouettes`.

    Attributes
    ----------
    total, below, spread : GridSum of shape (n_clusters,)
        Weighted silhouettes, the weight of rows with a silhouette below zero, and weighted
        distances (not squared) to the own mean.
    """

    total: GridSum
    below: GridSum
    spread: GridSum


def clusters_of(part: StepPart, starts: NDArray[np.int64], step_grid: StepGrid) -> Clusters:
    """Derive the clusters of labellings from the sums of their rows.

    Scatters are moved from the middle of the rows to the means in exact rationals.

    Parameters
    ----------
    part : StepPart
        With squares.
    starts : as in `Stack`
    step_grid : StepGrid
    """
    means, is_empty = steps.means_of(part, step_grid)
    weights = steps.weights_of(part, step_grid)
    scatter = [
        0.0 if empty else max(float(sse / weight), 0.0)
        for empty, sse, weight in zip(
            is_empty, steps.sse_of(part, step_grid, means), weights, strict=True
        )
    ]
    sizes = np.array([float(weight) for weight in weights])
    return Clusters(Stack(means, starts), np.array(scatter), sizes)


def score_exponents(step_grid: StepGrid) -> NDArray[np.int64]:
    """Bound what `score_block` adds up: weights, and weighted distances.

    Returns
    -------
    ndarray of shape (2,), int64
    """
    weight, square = (int(exponent) for exponent in step_grid.exponents[-2:])
    # A row and a mean are both within the root of the squares' bound from the middle.
    reach = -((weight - square) // 2) + 2
    return np.array([weight, max(reach + weight, grid.MIN_EXPONENT)])


@compiled(inline="always")
def _silhouette(
    own_sq: float, scatter: float, size: float, other: float
) -> float:  # pragma: no cover - compiled
    """Compare the mean squared distance to the own cluster with that to the nearest other."""
    if size <= 1.0:
        return 0.0
    within = (own_sq + scatter) * (size / (size - 1.0))
    largest = max(within, other)
    return (other - within) / largest if 0.0 < largest < np.inf else 0.0


@compiled()
def _least_other(
    row: NDArray[Any],
    means: Floats,
    first: int,
    last: int,
    own: int,
    scatter: Floats,
    sizes: Floats,
) -> float:  # pragma: no cover - compiled
    """Return the least mean squared distance to another cluster, by the definition."""
    least = np.inf
    for j in range(first, last):
        if j != own and sizes[j] > 0.0:
            sq_dist = 0.0
            for f in range(len(row)):
                difference = np.float64(row[f]) - means[j, f]
                sq_dist += difference * difference
            least = min(least, sq_dist + scatter[j])
    return least


@compiled()
def _keep_others(
    scores: NDArray[np.float32],
    lift: NDArray[np.float32],
    own: NDArray[np.int32],
    best: NDArray[np.float32],
    second: NDArray[np.float32],
    which: NDArray[np.int32],
) -> None:  # pragma: no cover - compiled
    """Find the two best raised scores of each row of a tile among the other clusters."""
    best[:] = _INFINITE
    second[:] = _INFINITE
    which[:] = 0
    for c in range(len(lift)):
        score, raised = scores[c], lift[c]
        for i in range(TILE_ROWS):
            value = score[i] + raised
            value = _INFINITE if own[i] == c else value
            is_best = value < best[i]
            worse = best[i] if is_best else value
            second[i] = min(second[i], worse)
            which[i] = c if is_best else which[i]
            best[i] = value if is_best else best[i]


@compiled()
def _add(
    value: float, scale: float, total: NDArray[np.int64]
) -> None:  # pragma: no cover - compiled
    high, low = grid.split(value, scale)
    total[0] += high
    total[1] += low


@compiled()
def _compare_tile(
    values: NDArray[Any],
    first: int,
    n_rows: int,
    s: int,
    own: NDArray[np.int32],
    ready: Ready,
    scratch: Scratch,
    lift: NDArray[np.float32],
    scatter: Floats,
    sizes: Floats,
    own_sq: Floats,
    other: Floats,
) -> None:  # pragma: no cover - compiled
    """Find the mean squared distance to the nearest other cluster, and that to the own mean."""
    begin, end, slots = ready.starts[s], ready.starts[s + 1], ready.slots[s]
    best, second, which = scratch.best, scratch.second, scratch.slot
    _keep_others(scratch.scores, lift[begin:end], own, best, second, which)
    slack, unit = np.float32(ready.slack), np.float32(2.0**-24)
    for i in range(n_rows):
        row = values[first + i]
        j, o = begin + own[i], begin + which[i]
        bound = np.float32(4.2) * slack * ready.half[slots + which[i]] + slack * scratch.norms[i]
        bound += np.float32(8.0) * unit * lift[o] + np.float32(1e-30)
        to_own_sq, to_other_sq = 0.0, 0.0
        # Both at once: each is a chain of additions in the order of the features.
        for f in range(len(row)):
            value = np.float64(row[f])
            to_own, to_other = value - ready.centres[j, f], value - ready.centres[o, f]
            to_own_sq += to_own * to_own
            to_other_sq += to_other * to_other
        own_sq[i] = to_own_sq
        other[i] = to_other_sq + scatter[o]
        # Written so that NaN and differences of infinities look at all clusters too.
        if not second[i] - best[i] > bound:
            other[i] = _least_other(row, ready.centres, begin, end, j, scatter, sizes)


@compiled()
def _add_tile(
    weights: Floats,
    first: int,
    n_rows: int,
    begin: int,
    own: NDArray[np.int32],
    scatter: Floats,
    sizes: Floats,
    scales: Floats,
    own_sq: Floats,
    other: Floats,
    sums: NDArray[np.int64],
) -> None:  # pragma: no cover - compiled
    """Add the silhouettes of a tile, and its distances to the own mean."""
    # First what runs on vectors.
    for i in range(n_rows):
        j = begin + own[i]
        sq_dist = own_sq[i]
        other[i] = _silhouette(sq_dist, scatter[j], sizes[j], other[i])
        own_sq[i] = np.sqrt(sq_dist)
    for i in range(n_rows):
        j = begin + own[i]
        weight = weights[first + i] if len(weights) else 1.0
        _add(weight * other[i], scales[0], sums[j, 0])
        if other[i] < 0.0:
            _add(weight, scales[0], sums[j, 1])
        _add(weight * own_sq[i], scales[1], sums[j, 2])


@compiled()
def _score(
    values: NDArray[Any],
    weights: Floats,
    labels: NDArray[np.int32],
    centres: Ready,
    means: Ready,
    room: Scratch,
    scratch: Scratch,
    lift: NDArray[np.float32],
    scatter: Floats,
    sizes: Floats,
    scales: Floats,
    sums: NDArray[np.int64],
) -> None:  # pragma: no cover - compiled
    own = np.zeros(TILE_ROWS, np.int32)
    own_sq, other = np.empty(TILE_ROWS), np.empty(TILE_ROWS)
    for first in range(0, len(values), TILE_ROWS):
        n_rows = min(TILE_ROWS, len(values) - first)
        if not len(labels):
            tiles.load_tile(values, first, n_rows, centres, room)
        tiles.load_tile(values, first, n_rows, means, scratch)
        for s in range(len(means.starts) - 1):
            if len(labels):
                own[:n_rows] = labels[first : first + n_rows]
            else:
                tiles.label_tile(values, first, n_rows, centres, s, room, own)
            tiles.score_tile(means, s, scratch)
            _compare_tile(
                values,
                first,
                n_rows,
                s,
                own,
                means,
                scratch,
                lift,
                scatter,
                sizes,
                own_sq,
                other,
            )
            _add_tile(
                weights,
                first,
                n_rows,
                means.starts[s],
                own,
                scatter,
                sizes,
                scales,
                own_sq,
                other,
                sums,
            )


def _lift_of(clusters: Clusters, ready: Ready) -> NDArray[np.float32]:
    """Return half of each scatter in the units of the filter, lowered by its rounding."""
    scale = float(ready.scale)
    with np.errstate(over="ignore", under="ignore"):
        half = (0.5 - 2.0**-23) * (clusters.scatter * scale) * scale
        lift: NDArray[np.float32] = half.astype(np.float32)
    lift[~(clusters.sizes > 0)] = _INFINITE
    return lift


def score_block(
    values: NDArray[np.floating],
    weights: Floats | None,
    labels: NDArray[np.int32] | Stack,
    clusters: Clusters,
    exponents: NDArray[np.int64],
) -> SilhouettePart:
    """Sum the silhouettes of one block.

    Parameters
    ----------
    values : ndarray of shape (n_rows, n_features), float32 or float64
    weights : ndarray of shape (n_rows,), float64, or None
    labels : ndarray of shape (n_rows,), int32, or Stack
        The labels, or the centres that make them.
    clusters : Clusters
        Of exactly these labels on all rows.
    exponents : ndarray of shape (2,), int64
        As from `score_exponents`.
    """
    values = np.ascontiguousarray(values)
    n_features = values.shape[1]
    means = tiles.make_ready(clusters.means, values.dtype)
    by_centres = isinstance(labels, Stack)
    centres = tiles.make_ready(labels, values.dtype) if isinstance(labels, Stack) else means
    given = np.empty(0, np.int32) if isinstance(labels, Stack) else np.ascontiguousarray(labels)
    # As many slots as the largest set: scores of all its clusters are kept.
    scratch = tiles.make_scratch(n_features, max(GROUP, int(np.diff(means.slots).max(initial=0))))
    room = tiles.make_scratch(n_features) if by_centres else scratch
    lift = _lift_of(clusters, means)
    heavy = flat(weights)
    total = GridSum(*(np.zeros((len(lift), 3), object) for _ in range(2)))
    for start in range(0, len(values), _FLUSH_ROWS):
        piece = slice(start, start + _FLUSH_ROWS)
        sums = np.zeros((len(lift), 3, 2), np.int64)
        _score(
            values[piece],
            heavy[piece],
            given[piece],
            centres,
            means,
            room,
            scratch,
            lift,
            clusters.scatter,
            clusters.sizes,
            grid.grid_scales(exponents),
            sums,
        )
        total = grid.add(total, GridSum(sums[..., 0], sums[..., 1]))
    return SilhouettePart(*(GridSum(total.high[:, c], total.low[:, c]) for c in range(3)))


@compiled()
def _of_rows(
    sq_dist: Floats, labels: NDArray[np.int32], scatter: Floats, sizes: Floats, result: Floats
) -> None:  # pragma: no cover - compiled
    for i in range(len(labels)):
        other = np.inf
        for j in range(len(sizes)):
            if j != labels[i] and sizes[j] > 0.0:
                other = min(other, sq_dist[j, i] + scatter[j])
        own = labels[i]
        result[i] = _silhouette(sq_dist[own, i], scatter[own], sizes[own], other)


def silhouettes_of(
    values: NDArray[np.floating], labels: NDArray[np.int32], clusters: Clusters
) -> Floats:
    """Compute the silhouette of each row of one block, in one labelling.

    Parameters
    ----------
    values : ndarray of shape (n_rows, n_features), float32 or float64
    labels : ndarray of shape (n_rows,), int32
    clusters : Clusters
        Of exactly these labels on all rows.

    Returns
    -------
    ndarray of shape (n_rows,), float64
    """
    result = np.zeros(len(values))
    for piece in pieces(len(values), len(clusters.sizes)):
        sq_dist = sq_distances(values[piece], clusters.means.centres)
        _of_rows(sq_dist, labels[piece], clusters.scatter, clusters.sizes, result[piece])
    return result


def merge_silhouettes(a: SilhouettePart, b: SilhouettePart) -> SilhouettePart:
    """Add the sums of two blocks."""
    return SilhouettePart(*(grid.add(x, y) for x, y in zip(a, b, strict=True)))


class SilhouetteSummary(NamedTuple):
    """The silhouette of one labelling.

    Attributes
    ----------
    mean : float
        Over all rows, by weight.
    of_clusters, below_zero : ndarray of shape (n_clusters,), float64
        Mean, and share of rows below zero, per cluster; NaN for an empty one.
    spread : ndarray of shape (n_clusters,), float64
        Mean distance (not squared) to the own mean; NaN for an empty one.
    """

    mean: float
    of_clusters: Floats
    below_zero: Floats
    spread: Floats


def finish_silhouettes(
    part: SilhouettePart,
    clusters: Clusters,
    weights: list[Fraction],
    exponents: NDArray[np.int64],
) -> list[SilhouetteSummary]:
    """Turn sums into means, one summary per labelling of the stack.

    Parameters
    ----------
    part, clusters, exponents : as of `score_block`, for all rows
    weights : list of Fraction
        Exact sums of weights of the clusters.
    """
    sizes = np.array(weights, dtype=object)
    of_clusters = grid.to_floats(part.total, exponents[:1], sizes)
    below = grid.to_floats(part.below, exponents[:1], sizes)
    spread = grid.to_floats(part.spread, exponents[1:], sizes)
    totals = grid.to_fractions(part.total, exponents[:1])
    starts = clusters.means.starts
    return [
        SilhouetteSummary(
            float(sum(totals[a:b]) / sum(sizes[a:b])), of_clusters[a:b], below[a:b], spread[a:b]
        )
        for a, b in pairwise(starts)
    ]


def scratch_bytes(  # one signature for all kernels
    n_features: int,
    n_centres: int,
    block_rows: int,  # noqa: ARG001
    itemsize: int,  # noqa: ARG001
) -> int:
    """Return the memory that `score_block` takes beside a contiguous block, for one set.

    A tile twice over for labels and for means, the scores of all means, and both stacks as the
    filter wants them.
    """
    tile = TILE_ROWS * (8 * n_features + 20)
    return 2 * tile + 4 * TILE_ROWS * n_centres + n_centres * (8 * n_features + 60)
