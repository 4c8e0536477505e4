"""A weighted sample made ready for the search: centred, scaled, in order, merged, in levels.

Covers: rows by falling priority, so that every prefix is a sample; the prefixes; equal rows
merged into one. Does not cover: drawing the sample (see `kernels.sample`).
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from daskseg.errors import InputError
from daskseg.kernels import rng
from daskseg.kernels.sample import Sample
from daskseg.kernels.weighted import hash_rows, weighted_mean

Floats = NDArray[np.float64]
# Equal rows are merged where a probe of so many rows finds a share above this.
_PROBE_ROWS, _EQUAL_SHARE = 2_000, 0.02
# Above this exponent the scale itself would overflow.
_MAX_EXPONENT = 1_000


class Points(NamedTuple):
    """Weighted rows, as tasks take them.

    Attributes
    ----------
    rows : ndarray of shape (n_rows, n_features), float64 or float32
        Centred and scaled.
    weights : ndarray of shape (n_rows,), float64
        Above zero.
    """

    rows: NDArray[Any]
    weights: Floats

    def astype(self, dtype: Any) -> Points:
        """Return the rows in another precision."""
        return Points(self.rows.astype(dtype, copy=False), self.weights)


class Prepared(NamedTuple):
    """A sample in the frame of the search.

    Attributes
    ----------
    points : Points
        All rows, by falling priority; rows of weight zero are left out.
    places : ndarray of shape (n_rows,), int64
        Where the rows stand in the sample.
    own, importance, priority : ndarray of shape (n_rows,), float64
        As in `SamplePart`.
    mean : ndarray of shape (n_features,), float64
    scale : float
        A power of two: ``rows = (values - mean) * scale`` are at most 1 in size.
    is_whole : bool
    """

    points: Points
    places: NDArray[np.int64]
    own: Floats
    importance: Floats
    priority: Floats
    mean: Floats
    scale: float
    is_whole: bool

    def to_values(self, centres: Floats) -> Floats:
        """Bring centres back to the frame of the sample."""
        return np.asarray(centres / self.scale + self.mean)

    def to_sse(self, sse: float) -> float:
        """Bring a squared error back to the units of the sample."""
        return sse / self.scale / self.scale


def prepare(sample: Sample, seed: int) -> Prepared:
    """Centre and scale a sample, and put it in the order of its priorities.

    A whole sample gets priorities of its own: weight times one plus the squared distance from
    the mean over its average, over a number by the place of the row.
    """
    used = np.flatnonzero(sample.weights > 0)
    if not len(used):
        raise InputError(
            f"none of the {len(sample.weights)} rows of the sample has a weight above zero: "
            "there is nothing to cluster. Give some rows a weight."
        )
    values, weights = sample.values[used], sample.weights[used]
    mean = weighted_mean(values, weights)
    rows = values - mean
    _, exponent = np.frexp(np.abs(rows).max())
    scale = float(np.ldexp(1.0, min(-int(exponent), _MAX_EXPONENT)))
    rows = rows * scale + 0.0
    if sample.drawn is None:
        sq_norm = np.cumsum(rows * rows, axis=1)[:, -1]
        scatter = np.cumsum(weights * sq_norm)[-1] / np.cumsum(weights)[-1]
        own = weights
        importance = own * (1.0 + (sq_norm / scatter if scatter > 0 else 0.0))
        priority = importance / rng.uniform(seed, rng.SEARCH, 0, len(sample.weights))[used]
    else:
        own, importance = sample.drawn.weight[used], sample.drawn.importance[used]
        priority = sample.drawn.priority[used]
    order = np.argsort(-priority, kind="stable")
    points = Points(rows[order], weights[order])
    fields = (own[order], importance[order], priority[order])
    return Prepared(points, used[order], *fields, mean, scale, sample.is_whole)


def prefix(prepared: Prepared, n_rows: int) -> Points:
    """Return the sample of the rows of largest priority, with equal rows merged."""
    if n_rows >= len(prepared.own):
        return merge_equal(prepared.points)
    drawn = prepared.own[:n_rows] * np.maximum(
        1.0, prepared.priority[n_rows] / prepared.importance[:n_rows]
    )
    total = np.cumsum(prepared.points.weights)[-1]
    weights = drawn * (total / np.cumsum(drawn)[-1])
    return merge_equal(Points(prepared.points.rows[:n_rows], weights))


def merge_equal(points: Points, *, surely: bool = False) -> Points:
    """Merge equal rows; their weights are added in the order of the rows.

    Parameters
    ----------
    points : Points
    surely : bool
        Merge even if a probe finds few that are equal.
    """
    rows, weights = points
    hashes = hash_rows(rows)
    n_probed = min(len(rows), _PROBE_ROWS)
    is_rare = len(np.unique(hashes[:n_probed])) >= (1.0 - _EQUAL_SHARE) * n_probed
    if is_rare and not surely:
        return points
    order = np.argsort(hashes, kind="stable")
    hashes, rows, weights = hashes[order], rows[order], weights[order]
    # Rows with the same hash that differ stay apart, next to each other.
    is_new = np.ones(len(rows), bool)
    is_new[1:] = (hashes[1:] != hashes[:-1]) | (rows[1:] != rows[:-1]).any(axis=1)
    group = np.cumsum(is_new) - 1
    return Points(rows[is_new], np.bincount(group, weights).astype(np.float64))
