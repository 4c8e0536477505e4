"""A weighted sample (lightweight coreset) of the rows in one pass, by priority sampling.

Covers: priorities per row, keeping and merging the largest ones, and the final weights.
The sample depends on the seed and the global row numbers, not on blocks or workers.
Does not cover: fitting on it (see `cluster.seeding`).

References: Duffield, Lund and Thorup, Priority sampling, J. ACM 2007; Bachem, Lucic and
Krause, Scalable k-means clustering via lightweight coresets, KDD 2018.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from daskseg.kernels import rng
from daskseg.kernels.assign import pieces, sq_distances

Floats = NDArray[np.float64]
# A fit on 20,000 rows of such a sample costs at most 0.3 % more than one on all rows (measured
# on three sets of 200,000 rows); the full steps that follow take the rest.
SAMPLE_ROWS = 20_000


class SamplePart(NamedTuple):
    """The rows of largest priority of some blocks; merge with `merge_samples`.

    Attributes
    ----------
    priority, importance, weight : ndarray of shape (n,), float64
    rows : ndarray of shape (n,), int64
        Global row numbers.
    values : ndarray of shape (n, n_features), float64
    """

    priority: Floats
    importance: Floats
    weight: Floats
    rows: NDArray[np.int64]
    values: Floats


class Sample(NamedTuple):
    """A finished sample, in the order of the rows; a whole one in the order of the values.

    Attributes
    ----------
    values : ndarray of shape (n, n_features), float64
    weights : ndarray of shape (n,), float64
        They sum to the total weight of all rows.
    is_whole : bool
        The sample is all distinct rows, with the sum of their weights.
    drawn : SamplePart or None
        The same rows as they were drawn. Those of largest priority are a sample themselves:
        with the next priority t, of weights ``drawn.weight * max(1, t / drawn.importance)``.
        None for a whole one.
    """

    values: Floats
    weights: Floats
    is_whole: bool
    drawn: SamplePart | None = None


def _take(part: SamplePart, chosen: NDArray[Any]) -> SamplePart:
    return SamplePart(*(field[chosen] for field in part))


def _keep_largest(part: SamplePart, n_rows: int) -> SamplePart:
    """Keep the `n_rows` largest by (priority descending, row ascending)."""
    if len(part.rows) <= n_rows:
        return part
    order = np.lexsort((part.rows, -part.priority))[:n_rows]
    return _take(part, order)


def draw(
    values: NDArray[Any],
    weights: Floats | None,
    first_row: int,
    centre: Floats,
    scatter: float,
    seed: int,
    n_wanted: int,
) -> SamplePart:
    """Draw from one block.

    Parameters
    ----------
    values : ndarray of shape (n_rows, n_features), float32 or float64
    weights : ndarray of shape (n_rows,), float64, or None
    first_row : int
    centre : ndarray of shape (n_features,), float64
        The mean of all rows.
    scatter : float
        Mean squared distance from it; rows far from the mean are drawn more often.
    seed : int
    n_wanted : int
        Rows of the sample; one more is kept, whose priority sets the weights.
    """
    importance = np.ones(len(values))
    if scatter > 0:
        for piece in pieces(len(values), 1):
            importance[piece] += sq_distances(values[piece], centre[None])[0] / scatter
    own = np.ones(len(values)) if weights is None else weights
    importance *= own
    priority = importance / rng.uniform(seed, rng.SAMPLE, first_row, len(values))
    chosen = np.flatnonzero(own > 0)
    if len(chosen) > n_wanted + 1:
        # Rows below this bound cannot be among the largest; ties at it are resolved below.
        kept = len(chosen) - (n_wanted + 1)
        bound = np.partition(priority[chosen], kept)[kept]
        chosen = chosen[priority[chosen] >= bound]
    part = SamplePart(
        priority[chosen],
        importance[chosen],
        own[chosen].astype(np.float64),
        first_row + chosen.astype(np.int64),
        values[chosen].astype(np.float64),
    )
    return _keep_largest(part, n_wanted + 1)


def merge_samples(a: SamplePart, b: SamplePart, n_wanted: int) -> SamplePart:
    """Keep the largest priorities of two sets of blocks."""
    joined = SamplePart(*(np.concatenate(pair) for pair in zip(a, b, strict=True)))
    return _keep_largest(joined, n_wanted + 1)


def finish_sample(part: SamplePart, total_weight: float, n_wanted: int) -> Sample:
    """Set the weights of the sample, and sort it by row.

    Parameters
    ----------
    part : SamplePart
        Of all rows.
    total_weight : float
        What the weights sum to.
    n_wanted : int
    """
    if len(part.rows) <= n_wanted:
        return _merge_equal(part)
    order = np.lexsort((part.rows, -part.priority))
    threshold = part.priority[order[n_wanted]]
    part = _take(part, order[:n_wanted])
    weights = part.weight * np.maximum(1.0, threshold / part.importance)
    weights = weights * (total_weight / math.fsum(weights))
    by_row = np.argsort(part.rows)
    part = _take(part, by_row)
    return Sample(part.values, weights[by_row], is_whole=False, drawn=part)


def _merge_equal(part: SamplePart) -> Sample:
    """Sort distinct points and add their weights.

    A fit on it then depends neither on the order of the rows, nor on whether a point is
    repeated or weighted.
    """
    values = part.values + 0.0
    order = np.lexsort((part.weight, *values.T[::-1]))
    values, weights = values[order], part.weight[order]
    starts = np.ones(len(values), bool)
    starts[1:] = (values[1:] != values[:-1]).any(axis=1)
    # bincount adds in the order given, least weight first.
    merged = np.bincount(np.cumsum(starts) - 1, weights=weights).astype(np.float64)
    return Sample(values[starts], merged, is_whole=True)


def draw_index(mass: NDArray[np.float64], u: float) -> int:
    """Draw an index with probability proportional to `mass` (not all zero).

    Parameters
    ----------
    mass : ndarray of shape (n,), float64
        Zero or more each.
    u : float in [0, 1)

    Examples
    --------
    >>> draw_index(np.array([0.0, 1.0, 1.0]), 0.6)
    2
    """
    total = np.cumsum(mass)
    place = int(np.searchsorted(total, u * total[-1], side="right"))
    return min(place, int(np.flatnonzero(mass)[-1]))
