"""Exact silhouettes with squared Euclidean distances, from means and scatters of clusters.

Covers: several labellings of the same rows at once. The mean squared distance from a row x to
cluster j is ``|x - mean_j|**2 + scatter_j``: no pair of rows is looked at. Taken about the
means, because the raw moments cancel when the data lie far from the origin.
Does not cover: other distances. Weights count as repeats of a row.

Scratch memory: the distances of a piece of a block, twice (`scratch_bytes`).
"""

from __future__ import annotations

from fractions import Fraction
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from daskseg.kernels import grid, steps
from daskseg.kernels.assign import StepGrid, StepPart
from daskseg.kernels.compiling import compiled
from daskseg.kernels.distances import nearest_in_sets, pieces, sq_distances
from daskseg.kernels.grid import GridSum
from daskseg.kernels.tiles import Stack

Floats = NDArray[np.float64]


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
    total, below : GridSum of shape (n_clusters,)
        Weighted silhouettes, and the weight of rows with a silhouette below zero.
    """

    total: GridSum
    below: GridSum


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


@compiled()
def _silhouettes(
    sq_dist: Floats,
    labels: NDArray[np.int32],
    starts: NDArray[np.int64],
    scatter: Floats,
    sizes: Floats,
) -> Floats:  # pragma: no cover - compiled
    n_sets, n_rows = labels.shape
    result = np.zeros((n_sets, n_rows))
    for s in range(n_sets):
        for i in range(n_rows):
            own = starts[s] + labels[s, i]
            if sizes[own] <= 1.0:
                continue
            within = (sq_dist[own, i] + scatter[own]) * (sizes[own] / (sizes[own] - 1.0))
            other = np.inf
            for j in range(starts[s], starts[s + 1]):
                if j != own and sizes[j] > 0.0:
                    other = min(other, sq_dist[j, i] + scatter[j])
            if other < np.inf and max(within, other) > 0.0:
                result[s, i] = (other - within) / max(within, other)
    return result


@compiled()
def _add_up(
    silhouettes: Floats,
    weights: Floats,
    labels: NDArray[np.int32],
    starts: NDArray[np.int64],
    scale: float,
    sums: NDArray[np.int64],
) -> None:  # pragma: no cover - compiled
    for s in range(len(labels)):
        for i in range(labels.shape[1]):
            j = starts[s] + labels[s, i]
            high, low = grid.split(weights[i] * silhouettes[s, i], scale)
            sums[j, 0, 0] += high
            sums[j, 0, 1] += low
            if silhouettes[s, i] < 0.0:
                high, low = grid.split(weights[i], scale)
                sums[j, 1, 0] += high
                sums[j, 1, 1] += low


def score_block(
    values: NDArray[np.floating],
    weights: Floats | None,
    labels: NDArray[np.int32] | Stack,
    clusters: Clusters,
    weight_exponent: NDArray[np.int64],
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
    weight_exponent : ndarray of shape (1,), int64
    """
    means, starts = clusters.means
    n_clusters = len(means)
    total = GridSum(*(np.zeros((n_clusters, 2), object) for _ in range(2)))
    scale = float(grid.grid_scales(weight_exponent)[0])
    for piece in pieces(len(values), n_clusters):
        heavy = np.ones(len(values[piece])) if weights is None else weights[piece]
        if isinstance(labels, Stack):
            own = nearest_in_sets(sq_distances(values[piece], labels.centres), starts)[0]
        else:
            own = labels[None, piece]
        sq_dist = sq_distances(values[piece], means)
        scores = _silhouettes(sq_dist, own, starts, clusters.scatter, clusters.sizes)
        sums = np.zeros((n_clusters, 2, 2), np.int64)
        _add_up(scores, heavy, own, starts, scale, sums)
        total = grid.add(total, GridSum(sums[..., 0], sums[..., 1]))
    return SilhouettePart(
        GridSum(total.high[:, 0], total.low[:, 0]), GridSum(total.high[:, 1], total.low[:, 1])
    )


def merge_silhouettes(a: SilhouettePart, b: SilhouettePart) -> SilhouettePart:
    """Add the sums of two blocks."""
    return SilhouettePart(grid.add(a.total, b.total), grid.add(a.below, b.below))


class SilhouetteSummary(NamedTuple):
    """The silhouette of one labelling.

    Attributes
    ----------
    mean : float
        Over all rows, by weight.
    of_clusters, below_zero : ndarray of shape (n_clusters,), float64
        Mean, and share of rows below zero, per cluster; NaN for an empty one.
    """

    mean: float
    of_clusters: Floats
    below_zero: Floats


def finish_silhouettes(
    part: SilhouettePart,
    clusters: Clusters,
    weights: list[Fraction],
    weight_exponent: NDArray[np.int64],
) -> list[SilhouetteSummary]:
    """Turn sums into means, one summary per labelling of the stack."""
    sizes = np.array(weights, dtype=object)
    of_clusters = grid.to_floats(part.total, weight_exponent, sizes)
    below = grid.to_floats(part.below, weight_exponent, sizes)
    totals = grid.to_fractions(part.total, weight_exponent)
    starts = clusters.means.starts
    return [
        SilhouetteSummary(float(sum(totals[a:b]) / sum(sizes[a:b])), of_clusters[a:b], below[a:b])
        for a, b in pairwise(starts)
    ]


def scratch_bytes(  # one signature for all kernels
    n_features: int,
    n_centres: int,
    block_rows: int,
    itemsize: int,  # noqa: ARG001
) -> int:
    """Return the memory that `score_block` takes beside a block: distances of a piece, twice."""
    piece_rows = next(pieces(max(1, block_rows), n_centres)).stop
    return int(piece_rows) * (8 * n_features + 16 * n_centres + 24)
