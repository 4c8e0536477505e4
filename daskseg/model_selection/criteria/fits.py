"""Quick fits of many numbers of clusters on a few thousand rows: what one job of a criterion does.

Covers: one set of rows, all numbers of clusters, with the same effort for data and for rows
without structure (or their errors could not be compared). Does not cover: the search for the
best centres (see `cluster.search`).

Cost: 4,000 rows of 8 features, k = 1 to 13: 0.05 s of CPU time.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from daskseg.cluster.search.jobs import n_candidates
from daskseg.kernels import rng, weighted, weighted_moves, weighted_starts
from daskseg.kernels.draws import Rows
from daskseg.kernels.weighted import Level

Floats = NDArray[np.float64]
# Far from the streams of the search for the centres themselves.
_FIRST_STREAM, _STREAMS_PER_SET = 2**31, 4096
_SPLIT_STEP = 2**20
# Measured on four sets against long searches: mean excess 0.03 % (0 to 1 %); without swaps 1 %.
_START_STEPS, _START_TOL = 8, 1e-4
_ROUNDS, _TRIES, _SLACK, _LEAST_GAIN = 2, 4, 0.06, 1e-4
_LAST_STEPS, _LAST_TOL = 30, 1e-5
# Errors below this share of that of one cluster are noise, and have no logarithm.
LEAST_SHARE = 1e-12


class Fit(NamedTuple):
    """Centres of one number of clusters, and their error.

    Attributes
    ----------
    centres : ndarray of shape (k, n_features), float64
    log_sse : float
        Of the rows they were made from.
    """

    centres: Floats
    log_sse: float


class _Frame(NamedTuple):
    """Rows in the frame of the kernels: centred, at most 1 in size."""

    level: Level
    mean: Floats
    scale: float

    def inside(self, centres: Floats) -> Floats:
        return np.asarray((centres - self.mean) / self.scale)


def _enter(rows: Rows, dtype: Any) -> _Frame:
    mean: Floats = weighted.weighted_mean(rows.values, rows.weights)
    centred = rows.values - mean
    size = float(np.abs(centred).max())
    scale = size if size > 0 else 1.0
    level = weighted.level_of(np.ascontiguousarray(centred / scale, dtype=dtype), rows.weights)
    return _Frame(level, mean, scale)


def fit_all(
    rows: Rows,
    ks: Sequence[int],
    seed: int,
    number: int,
    dtype: Any,
    known: Mapping[int, Floats] | None = None,
) -> dict[int, Fit]:
    """Fit all numbers of clusters on a set of rows.

    Parameters
    ----------
    rows : Rows
    ks : sequence of int
        Rising, from 1.
    seed, number : int
        Sets of different numbers have different starts.
    dtype : float32 or float64
        Precision of the distances while searching.
    known : mapping of int to ndarray, optional
        Centres of similar rows, tried as one more start: they end where the rows want them, and
        spare the criteria from measuring how well a start was found.

    Returns
    -------
    dict of int to Fit

    Notes
    -----
    Starts of k clusters: greedy k-means++, the best split of the fit of k - 1, and known ones.
    The best after a few Lloyd steps is improved by swaps.
    """
    frame = _enter(rows, dtype)
    key = rng.key_of(seed)
    stream = _FIRST_STREAM + number * _STREAMS_PER_SET
    n_features = rows.values.shape[1]
    fits: dict[int, Fit] = {}
    last = np.zeros((0, n_features))
    least = LEAST_SHARE * frame.level.sq_norm
    scatter = 2.0 * np.log(frame.scale)
    for k in ks:
        if k == 1:
            last, sse = np.zeros((1, n_features)), float(frame.level.sq_norm)
        else:
            start = None if known is None or k not in known else frame.inside(known[k])
            last, sse = _fit(frame.level, k, key, stream + k, last, start)
        log_sse = float(np.log(max(sse, least, 1e-300)) + scatter)
        fits[k] = Fit(last * frame.scale + frame.mean, log_sse)
    return fits


def refine(rows: Rows, centres: Floats, dtype: Any) -> Floats:
    """Take centres that were fitted on fewer rows a few Lloyd steps further on these.

    Centres of few rows in many features stand off the valleys that those of many rows find.
    """
    frame = _enter(rows, dtype)
    moved, _, _ = weighted.lloyd(frame.level, frame.inside(centres), _LAST_STEPS, _LAST_TOL)
    return np.asarray(moved * frame.scale + frame.mean)


def _fit(
    level: Level, k: int, key: Any, stream: int, fewer: Floats, known: Floats | None
) -> tuple[Floats, float]:
    rows, _ = weighted_starts.plus_plus(level, k, n_candidates(k), key, stream)
    starts = [level.rows[rows].astype(np.float64)]
    if len(fewer) == k - 1:
        split = _split(level, fewer, key, stream)
        starts += [] if split is None else [split]
    starts += [] if known is None else [known]
    trials = [weighted.lloyd(level, start, _START_STEPS, _START_TOL)[:2] for start in starts]
    # min takes the first of equals.
    centres, _ = min(trials, key=lambda trial: trial[1])
    centres, _ = weighted_moves.swap(
        level, centres, _ROUNDS, _TRIES, _SLACK, _LEAST_GAIN, key, stream
    )
    centres, sse, _ = weighted.lloyd(level, centres, _LAST_STEPS, _LAST_TOL)
    return centres, float(sse)


def _split(level: Level, centres: Floats, key: Any, stream: int) -> Floats | None:
    """Split the cluster whose split gains most; None if none can be split."""
    labels = np.empty(len(level.rows), np.int32)
    sq_dist = np.empty(len(level.rows), level.rows.dtype)
    _, sums, sizes = weighted.worth(level, centres, labels, sq_dist)
    gains, left, right = weighted_moves.split_gains(
        level, labels, sq_dist, sums, sizes, key, stream, _SPLIT_STEP
    )
    most = int(np.argmax(gains))
    if not gains[most] > 0:
        return None
    centres = centres.copy()
    centres[most] = left[most]
    return np.concatenate([centres, right[most : most + 1]])
