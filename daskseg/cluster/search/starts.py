"""First centres without any search: rows of the sample.

Covers: greedy k-means++ and rows drawn by weight, the best of several. Does not cover: the
search (see `cluster.search.fit`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from daskseg.cluster.search.jobs import level_in, n_candidates
from daskseg.cluster.search.prepare import prepare
from daskseg.kernels import rng, weighted, weighted_starts
from daskseg.kernels.sample import Sample
from daskseg.kernels.weighted import Level

Floats = NDArray[np.float64]


def plus_plus_start(sample: Sample, k: int, seed: int, n_init: int = 1) -> Floats:
    """Choose rows by weighted greedy k-means++.

    Parameters
    ----------
    sample : Sample
    k, seed : int
    n_init : int
        Starts; the one of least squared error on the sample wins, the first at a tie.

    Returns
    -------
    ndarray of shape (k, n_features), float64
        Rows of the sample. The first is repeated at the end if fewer are distinct.

    Notes
    -----
    Each start goes over the sample ``k * (2 + log k)`` times.
    """

    def choose(level: Level, key: Any, stream: int) -> NDArray[np.int64]:
        rows: NDArray[np.int64]
        rows, _ = weighted_starts.plus_plus(level, k, n_candidates(k), key, stream)
        return rows

    return _best_of(sample, seed, n_init, choose)


def random_start(sample: Sample, k: int, seed: int, n_init: int = 1) -> Floats:
    """Choose rows by weight, none twice; otherwise as `plus_plus_start`."""

    def choose(level: Level, key: Any, stream: int) -> NDArray[np.int64]:
        rows: NDArray[np.int64] = weighted_starts.rows_by_weight(level.weights, k, key, stream)
        return rows

    return _best_of(sample, seed, n_init, choose)


def _best_of(
    sample: Sample, seed: int, n_init: int, choose: Callable[..., NDArray[np.int64]]
) -> Floats:
    prepared = prepare(sample, seed)
    level = level_in(prepared.points, np.float64)
    labels, sq_dist = np.empty(len(level.rows), np.int32), np.empty(len(level.rows))
    best, least = np.empty(0, np.int64), np.inf
    for stream in range(n_init):
        rows = choose(level, rng.key_of(seed), stream)
        sse = 0.0
        if n_init > 1:
            centres = level.rows[rows]
            sums, sizes = np.zeros(centres.shape), np.zeros(len(rows))
            weighted.add_step(level, centres, sums, sizes, labels)
            sse = weighted.sq_dist_to(level, centres, labels, sq_dist)
        if sse < least:
            best, least = rows, sse
    return np.asarray(sample.values[prepared.places[best]])
