"""Running means of clusters over batches that come one after another.

Covers: the exact step on one batch, forgetting by half-life, and rows drawn for clusters that
have lost theirs. Does not cover: the estimator (see `cluster.minibatch`).

Reference: Sculley, Web-scale k-means clustering, WWW 2010; a batch counts as a whole here, so
that its order, blocks and workers do not show.
"""

from __future__ import annotations

import math
from functools import partial
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from daskseg.cluster.batches import count_used
from daskseg.engine import passes
from daskseg.engine.blocks import Blocks, Rows
from daskseg.kernels import assign, labels, rng, steps, tiles
from daskseg.kernels.assign import StepGrid, StepPart
from daskseg.kernels.labels import Farthest
from daskseg.kernels.moments import Extent

Floats = NDArray[np.float64]
# Arbitrary: with a half-life, a cluster whose rows have been forgotten to this share of all
# weight is lost, unless the batch has rows of it.
LOST_SHARE = 1e-4


class Running(NamedTuple):
    """Clusters as the batches so far have left them.

    Attributes
    ----------
    means : ndarray of shape (n_clusters, n_features), float64
    weights : ndarray of shape (n_clusters,), float64
        Of the rows behind each mean, as far as they are not forgotten.
    n_rows : int
        Rows of all batches whose weight was not zero.
    n_batches : int
    """

    means: Floats
    weights: Floats
    n_rows: int = 0
    n_batches: int = 0


def _step_block(rows: Rows, centres: Floats, grid: StepGrid) -> tuple[StepPart, int]:
    stack = tiles.stack([centres])
    part = assign.lloyd_step(rows.values, rows.weights, stack, grid, squares=False)
    return part, count_used(rows)


def _merge(a: tuple[StepPart, int], b: tuple[StepPart, int]) -> tuple[StepPart, int]:
    return assign.merge_steps(a[0], b[0]), a[1] + b[1]


def absorb(
    running: Running, blocks: Blocks, extent: Extent, half_life: float | None
) -> tuple[Running, NDArray[np.bool_]]:
    """Add a batch to the running means. One pass over it.

    Every row goes to the nearest mean before the batch. Then the weights so far are halved once
    per `half_life` rows of the batch, and each mean becomes the weighted mean of old and new.

    Returns
    -------
    running : Running
    is_hit : ndarray of shape (n_clusters,), bool
        Clusters with weight from this batch.
    """
    grid = assign.step_grid(extent)
    part, n_rows = passes.reduce(blocks, _step_block, _merge, running.means, grid, name="batch")
    fresh, is_empty = steps.means_of(part, grid)
    weights = np.array([float(weight) for weight in steps.weights_of(part, grid)])
    kept = running.weights
    if half_life is not None:
        kept = kept * math.exp2(-n_rows / half_life)
    total = kept + weights
    share = np.divide(weights, total, out=np.zeros(len(total)), where=weights > 0)
    # A mean of nothing else is taken as it is: no rounding of the difference.
    moved = running.means + share[:, None] * (fresh - running.means)
    means = np.where(share[:, None] == 1.0, fresh, moved)
    means[is_empty] = running.means[is_empty]
    return Running(means, total, running.n_rows + n_rows, running.n_batches + 1), ~is_empty


def lost_clusters(running: Running, is_hit: NDArray[np.bool_]) -> NDArray[np.intp]:
    """Find clusters without rows in the last batch and with next to no weight left."""
    is_light = running.weights < LOST_SHARE * np.cumsum(running.weights)[-1]
    return np.flatnonzero(is_light & ~is_hit)


def _draw_block(rows: Rows, centres: Floats, seed: int, n_wanted: int) -> Farthest:
    sq_dist = labels.nearest(rows.values, centres)[1]
    if rows.weights is not None:
        sq_dist = sq_dist * rows.weights
    priority = sq_dist / rng.uniform(seed, rng.RESEEDS, rows.first_row, len(sq_dist))
    numbers = rows.first_row + np.arange(len(sq_dist), dtype=np.int64)
    found = Farthest(priority, numbers, rows.values.astype(np.float64))
    nothing = Farthest(found.sq_dist[:0], found.rows[:0], found.values[:0])
    return labels.merge_farthest(found, nothing, n_wanted)


def draw_rows(running: Running, blocks: Blocks, n_wanted: int, seed: int) -> Floats:
    """Draw distinct rows with chances by weight and squared distance to the means. One pass.

    Returns
    -------
    ndarray of shape (n, n_features), float64
        Fewer than `n_wanted` if there are no more rows away from the means.
    """
    merge = partial(labels.merge_farthest, n_wanted=n_wanted)
    key = seed + running.n_batches
    found: Farthest = passes.reduce(
        blocks, _draw_block, merge, running.means, key, n_wanted, name="reseed"
    )
    return found.values
