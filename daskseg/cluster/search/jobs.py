"""What one task of the search does: each is a function of its item and the shared rows.

Covers: starts with swaps (an island), joining two solutions, joining neighbours in k, and the
way to the end on all rows. Does not cover: which jobs are run (see `cluster.search.fit`).
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from daskseg.cluster.search.effort import Effort
from daskseg.cluster.search.prepare import Points
from daskseg.kernels import weighted, weighted_moves, weighted_starts
from daskseg.kernels.weighted import Level
from daskseg.kernels.weighted_moves import STEP_TOL, STEPS

Floats = NDArray[np.float64]
_MAX_STEPS = 300
# Enough to tell good starts from bad ones.
_START_STEPS, _START_TOL = 6, 1e-4
# Shares of the squared error: the rise of a swap that is still tried, and the fall that makes it
# worth it.
_SLACK, _LEAST_GAIN = 0.06, 1e-4


class Trial(NamedTuple):
    """Centres in the frame of the search, and their squared error on some rows.

    Attributes
    ----------
    centres : ndarray of shape (n_clusters, n_features), float64
    sse : float
    """

    centres: Floats
    sse: float


class Island(NamedTuple):
    """A group of starts; `stream` is that of the first."""

    n_clusters: int
    n_starts: int
    stream: int
    effort: Effort


class Pair(NamedTuple):
    """Two solutions of as many clusters."""

    a: Floats
    b: Floats


class Family(NamedTuple):
    """A solution, and those of the neighbouring numbers of clusters, if there are any."""

    own: Floats
    fewer: Floats | None
    more: Floats | None
    stream: int


class Finalist(NamedTuple):
    """A solution to be followed to its end."""

    centres: Floats
    effort: Effort
    stream: int


def level_in(points: Points, dtype: Any) -> Level:
    """Cut rows into tiles, in the precision of the search."""
    level: Level = weighted.level_of(points.rows.astype(dtype, copy=False), points.weights)
    return level


def n_candidates(n_clusters: int) -> int:
    """Return how many candidates greedy k-means++ compares per centre."""
    return 2 + int(math.log(n_clusters))


def run_island(job: Island, small: Points, large: Points, dtype: Any, key: Any) -> Trial:
    """Make starts on few rows, and improve the best one by swaps on more."""
    k = job.n_clusters
    level = level_in(small, dtype)
    trials = []
    for stream in range(job.stream, job.stream + job.n_starts):
        rows, _ = weighted_starts.plus_plus(level, k, n_candidates(k), key, stream)
        start = level.rows[rows].astype(np.float64)
        trials.append(Trial(*weighted.lloyd(level, start, _START_STEPS, _START_TOL)[:2]))
    # min takes the first of equals.
    best = min(trials, key=lambda trial: trial.sse)
    return _swap(level_in(large, dtype), best.centres, job.effort, key, job.stream)


def _swap(level: Level, centres: Floats, effort: Effort, key: Any, stream: int) -> Trial:
    return Trial(
        *weighted_moves.swap(
            level,
            centres,
            effort.n_rounds,
            effort.n_tries,
            _SLACK,
            _LEAST_GAIN,
            key,
            stream,
        )
    )


def run_pair(job: Pair, points: Points, dtype: Any) -> Trial:
    """Join two solutions."""
    union = np.concatenate([job.a, job.b])
    level = level_in(points, dtype)
    return Trial(*weighted_moves.join(level, union, len(job.a)))


def run_family(job: Family, points: Points, dtype: Any, key: Any) -> list[Trial]:
    """Make solutions out of those of fewer and of more clusters, alone and joined with its own."""
    level = level_in(points, dtype)
    k = len(job.own)
    starts = []
    if job.fewer is not None:
        starts.append(_split_most(level, job.fewer, k, key, job.stream))
    if job.more is not None:
        sums, sizes = np.zeros(job.more.shape), np.zeros(len(job.more))
        weighted.add_step(level, job.more, sums, sizes, np.empty(0, np.int32))
        starts.append(weighted_moves.merge_down(job.more, sizes, k))
    trials = []
    for start in starts:
        alone = Trial(*weighted.lloyd(level, start, STEPS, STEP_TOL)[:2])
        union = np.concatenate([job.own, alone.centres])
        joined = Trial(*weighted_moves.join(level, union, k))
        trials += [alone, joined]
    return trials


def _split_most(level: Level, centres: Floats, k: int, key: Any, stream: int) -> Floats:
    """Split the clusters whose splits gain most until there are `k`, or none can be split."""
    labels = np.empty(len(level.rows), np.int32)
    sq_dist = np.empty(len(level.rows), level.rows.dtype)
    while len(centres) < k:
        _, sums, sizes = weighted.worth(level, centres, labels, sq_dist)
        gains, left, right = weighted_moves.split_gains(
            level, labels, sq_dist, sums, sizes, key, stream, len(centres)
        )
        order = np.argsort(-gains, kind="stable")[: k - len(centres)]
        order = order[gains[order] > 0]
        if not len(order):
            return np.concatenate([centres, np.tile(centres[:1], (k - len(centres), 1))])
        centres = centres.copy()
        centres[order] = left[order]
        centres = np.concatenate([centres, right[order]])
    return centres


def run_finalist(job: Finalist, points: Points, dtype: Any, tol: float, key: Any) -> Trial:
    """Follow a solution to its end on all rows: Lloyd and swaps, then Lloyd in float64."""
    level = level_in(points, dtype)
    effort = job.effort._replace(n_rounds=job.effort.n_last_rounds)
    centres = _swap(level, job.centres, effort, key, job.stream).centres
    return polish(centres, points, tol)


def polish(centres: Floats, points: Points, tol: float) -> Trial:
    """Take Lloyd steps in float64, and fill or drop clusters that stay empty.

    Parameters
    ----------
    centres : ndarray of shape (n_clusters, n_features), float64
    points : Points
    tol : float
        Stop when a step lowers the squared error by no more than this share; 0 asks for the
        fixpoint. 300 steps at most.

    Returns
    -------
    Trial
        With fewer centres if there are fewer distinct rows. The error belongs to exactly
        these centres, by differences.
    """
    level = level_in(points, np.float64)
    labels, sq_dist = np.empty(len(level.rows), np.int32), np.empty(len(level.rows))
    while True:
        centres, _, _ = weighted.lloyd(level, centres, _MAX_STEPS, tol)
        sizes = np.zeros(len(centres))
        weighted.add_step(level, centres, np.zeros(centres.shape), sizes, labels)
        sse = weighted.sq_dist_to(level, centres, labels, sq_dist)
        empty = np.flatnonzero(sizes == 0)
        if not len(empty):
            return Trial(centres, sse)
        farthest = int(np.argmax(level.weights * sq_dist))
        if not sq_dist[farthest] > 0:
            return Trial(np.delete(centres, empty, axis=0), sse)
        centres[empty[0]] = level.rows[farthest]


def spread(centres: Floats, points: Points, k: int) -> Floats:
    """Add the rows that are farthest from their centres, one by one, until there are `k`."""
    level = level_in(points, np.float64)
    labels, sq_dist = np.empty(len(level.rows), np.int32), np.empty(len(level.rows))
    while len(centres) < k:
        sizes = np.zeros(len(centres))
        weighted.add_step(level, centres, np.zeros(centres.shape), sizes, labels)
        weighted.sq_dist_to(level, centres, labels, sq_dist)
        farthest = int(np.argmax(level.weights * sq_dist))
        centres = np.concatenate([centres, level.rows[farthest : farthest + 1]])
    return centres
