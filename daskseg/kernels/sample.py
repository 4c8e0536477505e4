"""A weighted sample (lightweight coreset) of the rows in one pass, by priority sampling.

Covers: priorities per row, keeping and merging the largest ones, and the final weights.
The sample depends on the seed and the global row numbers, not on blocks or workers.
Does not cover: fitting on it (see `cluster.search`).

References: Duffield, Lund and Thorup, Priority sampling, J. ACM 2007; Bachem, Lucic and
Krause, Scalable k-means clustering via lightweight coresets, KDD 2018.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from daskseg.kernels import rng
from daskseg.kernels.compiling import compiled
from daskseg.kernels.labels import nearest
from daskseg.kernels.moments import Extent, extent

Floats = NDArray[np.float64]
# A search on 100,000 rows ends in the basin of the best known centres of all rows; on 20,000 it
# ends up to 0.3 % above (three sets of 200,000 rows).
SAMPLE_ROWS = 100_000


class SamplePart(NamedTuple):
    """The rows of largest priority of some blocks; merge with `merge_samples`.

    Attributes
    ----------
    priority, importance, weight : ndarray of shape (n,), float64
    rows : ndarray of shape (n,), int64
        Global row numbers.
    values : ndarray of shape (n, n_features), of the dtype of the rows
    """

    priority: Floats
    importance: Floats
    weight: Floats
    rows: NDArray[np.int64]
    values: NDArray[Any]


class Sample(NamedTuple):
    """A finished sample, in the order of the rows; a whole one in the order of the values.

    Attributes
    ----------
    values : ndarray of shape (n, n_features), float64
    weights : ndarray of shape (n,), float64
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
    """Keep the `n_rows` largest by (priority descending, row ascending), in any order."""
    surplus = len(part.rows) - n_rows
    if surplus <= 0:
        return part
    bound = np.partition(part.priority, surplus)[surplus]
    kept = part.priority > bound
    ties = np.flatnonzero(part.priority == bound)
    first = ties[np.argsort(part.rows[ties])][: n_rows - int(np.count_nonzero(kept))]
    kept[first] = True
    return _take(part, kept)


def _part_of(
    values: NDArray[Any],
    weights: Floats | None,
    first_row: int,
    found: NDArray[np.int64],
    importance: Floats,
    priority: Floats,
    n_wanted: int,
) -> SamplePart:
    """Make the part of one block from the places, importances and priorities of rows drawn."""
    surplus = len(found) - (n_wanted + 1)
    if surplus > 0:
        # Rows below this bound cannot be among the largest; ties at it are resolved below.
        kept = np.flatnonzero(priority >= np.partition(priority, surplus)[surplus])
        found, importance, priority = found[kept], importance[kept], priority[kept]
    part = SamplePart(
        priority,
        importance,
        np.ones(len(found)) if weights is None else weights[found].astype(np.float64),
        first_row + found,
        values[found],
    )
    return _keep_largest(part, n_wanted + 1)


class Pilot(NamedTuple):
    """What decides the importance of a row.

    Attributes
    ----------
    centre : ndarray of shape (n_features,), float64
        About the mean of all rows.
    scatter : float
        About the mean squared distance from it; 0 makes all rows alike.
    floor : float
        Rows of a smaller priority are not returned: with about twice as many rows above it as
        are wanted, little is sent and nothing is lost.
    """

    centre: Floats
    scatter: float
    floor: float = 0.0


@compiled()
def _scan(
    values: NDArray[Any],
    weights: Floats,
    first_row: int,
    centre: Floats,
    per_scatter: float,
    floor: float,
    seed: Any,
    low: Floats,
    high: Floats,
    found: NDArray[np.int64],
    importance: Floats,
    priority: Floats,
) -> tuple[int, bool]:  # pragma: no cover - compiled
    """Return how many rows were drawn, and whether all values are finite."""
    n_drawn, all_finite = 0, True
    for i in range(len(values)):
        row = values[i]
        sq_dist = 0.0
        for f in range(len(centre)):
            value = np.float64(row[f])
            low[f] = min(low[f], value)
            high[f] = max(high[f], value)
            difference = value - centre[f]
            sq_dist += difference * difference
        if not sq_dist < np.inf:
            all_finite = False
            continue
        own = weights[i] if len(weights) else 1.0
        if not own > 0.0:
            continue
        mass = own * (1.0 + sq_dist * per_scatter)
        row_number = first_row + i
        chance = rng.uniform_at(seed, rng.SAMPLE, 0, row_number >> 32, row_number & 0xFFFFFFFF)
        if mass / chance >= floor:
            found[n_drawn] = i
            importance[n_drawn] = mass
            priority[n_drawn] = mass / chance
            n_drawn += 1
    return n_drawn, all_finite


def scan(
    values: NDArray[Any],
    weights: Floats | None,
    first_row: int,
    pilot: Pilot,
    seed: int,
    n_wanted: int,
) -> tuple[Extent, SamplePart]:
    """Measure the ranges of one block and draw from it, in one go.

    Parameters
    ----------
    values : ndarray of shape (n_rows, n_features), float32 or float64
    weights : ndarray of shape (n_rows,), float64, or None
    first_row : int
    pilot : Pilot
    seed : int
    n_wanted : int
        Rows of the sample; one more is kept, whose priority sets the weights.

    Returns
    -------
    extent : Extent
    part : SamplePart
        Rows with values that are not finite, or without weight, are never drawn.
    """
    values = np.ascontiguousarray(values)
    n_rows, n_features = values.shape
    low, high = np.full(n_features, np.inf), np.full(n_features, -np.inf)
    found = np.empty(n_rows, np.int64)
    importance, priority = np.empty(n_rows), np.empty(n_rows)
    n_drawn, all_finite = _scan(
        values,
        np.empty(0) if weights is None else np.ascontiguousarray(weights),
        first_row,
        pilot.centre,
        1.0 / pilot.scatter if pilot.scatter > 0 else 0.0,
        pilot.floor,
        rng.key_of(seed),
        low,
        high,
        found,
        importance,
        priority,
    )
    seen = extent(values[:0], None if weights is None else weights, first_row)
    seen = seen._replace(n_rows=n_rows, low=low, high=high)
    if not all_finite:
        seen = extent(values, weights, first_row)
    drawn = found[:n_drawn], importance[:n_drawn], priority[:n_drawn]
    return seen, _part_of(values, weights, first_row, *drawn, n_wanted)


def draw_by(
    importance: Floats,
    values: NDArray[Any],
    weights: Floats | None,
    first_row: int,
    floor: float,
    key: tuple[int, int],
    n_wanted: int,
) -> SamplePart:
    """Draw from one block by the importance of its rows; as `scan`, of rows known to be finite.

    Parameters
    ----------
    importance : ndarray of shape (n_rows,), float64
        Rows of zero are never drawn.
    values, weights, first_row, n_wanted : as for `scan`
    floor : float
        As in `Pilot`.
    key : tuple of int
        Seed and purpose of the random numbers, as for `rng.uniform`.

    Returns
    -------
    SamplePart
    """
    priority = importance / rng.uniform(*key, first_row, len(importance))
    found = np.flatnonzero((importance > 0) & (priority >= floor))
    return _part_of(values, weights, first_row, found, importance[found], priority[found], n_wanted)


class Sensitivity(NamedTuple):
    """Known centres, and what decides the importance of a row beside its distance from them.

    Attributes
    ----------
    centres : ndarray of shape (n_centres, n_features), float64
    sizes : ndarray of shape (n_centres,), float64
        Weight of all rows of each.
    sse : float
        Of all rows.
    """

    centres: Floats
    sizes: Floats
    sse: float


def sensitivities(values: NDArray[Any], own: Floats, lead: Sensitivity) -> Floats:
    """Return the importance of rows: a third each for distance, small clusters, and any row.

    Parameters
    ----------
    values : ndarray of shape (n_rows, n_features), float32 or float64
    own : ndarray of shape (n_rows,), float64
        Weights.
    lead : Sensitivity
    """
    mass = float(np.cumsum(lead.sizes)[-1])
    found, sq_dist = nearest(values, lead.centres)
    # A centre without rows makes none of them important.
    share = mass / (len(lead.sizes) * np.where(lead.sizes > 0, lead.sizes, mass))
    distance = sq_dist * (mass / lead.sse) if lead.sse > 0 else np.zeros(len(sq_dist))
    return np.asarray(own * (1.0 + distance + share[found]))


def draw_sensitive(
    values: NDArray[Any],
    weights: Floats | None,
    first_row: int,
    lead: Sensitivity,
    floor: float,
    seed: int,
    n_wanted: int,
) -> SamplePart:
    """Draw from one block by `sensitivities`; as `draw_by`.

    Parameters
    ----------
    values, weights, first_row, seed, n_wanted : as for `scan`
    lead : Sensitivity
    floor : float
        As in `Pilot`.
    """
    own = np.ones(len(values)) if weights is None else weights
    importance = sensitivities(values, own, lead)
    key = seed, rng.SECOND_SAMPLE
    return draw_by(importance, values, weights, first_row, floor, key, n_wanted)


def merge_samples(a: SamplePart, b: SamplePart, n_wanted: int) -> SamplePart:
    """Keep at least the largest priorities of two sets of blocks that a sample needs."""
    joined = SamplePart(*(np.concatenate(pair) for pair in zip(a, b, strict=True)))
    # Not at every merge: what a floor lets pass is about twice what is wanted.
    return joined if len(joined.rows) <= 3 * n_wanted else _keep_largest(joined, n_wanted + 1)


def finish_sample(part: SamplePart, n_wanted: int, total_weight: float | None) -> Sample:
    """Set the weights of the sample, and sort it by row.

    Parameters
    ----------
    part : SamplePart
        Of all rows.
    n_wanted : int
    total_weight : float or None
        What the weights are to sum to; None leaves them as drawn, which is right on average.
    """
    if len(part.rows) <= n_wanted:
        return _merge_equal(part)
    part = _keep_largest(part, n_wanted + 1)
    threshold = float(part.priority.min())
    part = _keep_largest(part, n_wanted)
    part = _take(part, np.argsort(part.rows))
    part = part._replace(values=part.values.astype(np.float64))
    weights = part.weight * np.maximum(1.0, threshold / part.importance)
    if total_weight is not None:
        weights = weights * (total_weight / math.fsum(weights))
    return Sample(part.values, weights, is_whole=False, drawn=part)


def _merge_equal(part: SamplePart) -> Sample:
    """Sort distinct points and add their weights.

    A fit on it then depends neither on the order of the rows, nor on whether a point is
    repeated or weighted.
    """
    values = part.values.astype(np.float64) + 0.0
    order = np.lexsort((part.weight, *values.T[::-1]))
    values, weights = values[order], part.weight[order]
    starts = np.ones(len(values), bool)
    starts[1:] = (values[1:] != values[:-1]).any(axis=1)
    # bincount adds in the order given, least weight first.
    merged = np.bincount(np.cumsum(starts) - 1, weights=weights).astype(np.float64)
    return Sample(values[starts], merged, is_whole=True)


def scratch_bytes(
    n_features: int,
    n_centres: int,  # noqa: ARG001 - one signature for all kernels
    block_rows: int,
    itemsize: int,  # noqa: ARG001
) -> int:
    """Return the most memory that `scan` takes beside a block: where the floor lets all pass.

    Place, importance and priority of each row, and either its place again or its priority
    once more; the rows that are kept come on top.
    """
    return 33 * block_rows + 16 * n_features
