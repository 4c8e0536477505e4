"""Nearest centres of the rows of one block, for several centre sets at once, and their sums.

Covers: squared distances, labels, and the mergeable part of a Lloyd step with exact sums.
Does not cover: deciding the next centres (see `cluster.kmeans`).

A label is defined in float64: squared differences added in the order of the features; the
smallest centre index wins a tie. No fastmath and no BLAS, so that it depends on the row and
the centres alone. Scratch memory: about 3 MiB for the distances of a piece of a block.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from daskseg.kernels import grid
from daskseg.kernels.compiling import compiled
from daskseg.kernels.grid import GridSum
from daskseg.kernels.moments import Extent

Floats = NDArray[np.float64]
# Arbitrary: this many distances stay in a second-level cache.
_PIECE_DISTANCES = 2**16
_MAX_PIECE_ROWS = 2**16
# Arbitrary: the columns of so many rows stay in a first-level cache.
_TILE_ROWS = 256


class Stack(NamedTuple):
    """Several sets of centres, one below the other.

    Attributes
    ----------
    centres : ndarray of shape (n_centres, n_features), float64, C-contiguous
    starts : ndarray of shape (n_sets + 1,), int64
        Set s holds the centres ``starts[s]:starts[s + 1]``.
    """

    centres: Floats
    starts: NDArray[np.int64]


class StepPart(NamedTuple):
    """What one block says about each centre of a stack; merge with `merge_steps`.

    Attributes
    ----------
    counts : ndarray of shape (n_centres,), int64
        Rows, whatever their weight.
    weights : GridSum of shape (n_centres,)
    sums : GridSum of shape (n_centres, n_features)
        Weighted sums of the rows.
    sse : GridSum of shape (n_centres,)
        Weighted squared distances to the nearest centre.
    """

    counts: NDArray[np.int64]
    weights: GridSum
    sums: GridSum
    sse: GridSum


class Exponents(NamedTuple):
    """Exponents of the grids that hold weights, weighted values and weighted distances."""

    weight: NDArray[np.int64]
    values: NDArray[np.int64]
    sse: NDArray[np.int64]


def exponents_of(extent: Extent, centres: Floats | None = None) -> Exponents:
    """Bound weighted values and squared distances, for centres inside the range of the rows.

    Parameters
    ----------
    extent : Extent
    centres : ndarray of shape (n_clusters, n_features), optional
        Centres that may lie outside.
    """
    low, high = extent.low, extent.high
    if centres is not None:
        low = np.minimum(low, centres.min(axis=0))
        high = np.maximum(high, centres.max(axis=0))
    weight = grid.range_exponents(np.zeros(1), np.array([extent.high_weight]))
    reach = np.cumsum((high - low) ** 2)[-1:]
    return Exponents(
        weight,
        np.maximum(grid.range_exponents(low, high) + weight, grid.MIN_EXPONENT),
        # One more than needed, for the roundings of the sum.
        np.maximum(grid.range_exponents(reach, reach) + weight + 1, grid.MIN_EXPONENT),
    )


def stack(centre_sets: list[Floats]) -> Stack:
    """Put sets of centres below each other."""
    starts = np.concatenate([[0], np.cumsum([len(centres) for centres in centre_sets])])
    return Stack(np.concatenate(centre_sets).astype(np.float64), starts.astype(np.int64))


def pieces(n_rows: int, n_centres: int) -> Iterator[slice]:
    """Cut the rows of a block so that the distances of a piece stay in cache."""
    step = max(64, min(_MAX_PIECE_ROWS, _PIECE_DISTANCES // max(1, n_centres)))
    return (slice(start, min(start + step, n_rows)) for start in range(0, n_rows, step))


@compiled()
def _sq_distances(columns: Floats, centres: Floats) -> Floats:  # pragma: no cover - compiled
    n_features, n_rows = columns.shape
    result = np.zeros((len(centres), n_rows))
    for start in range(0, n_rows, _TILE_ROWS):
        stop = min(start + _TILE_ROWS, n_rows)
        for j in range(len(centres)):
            nearby = result[j, start:stop]
            for f in range(n_features):
                column = columns[f, start:stop]
                centre = centres[j, f]
                # Rows are the inner loop: they are independent, so vector units keep the bits.
                for i in range(stop - start):
                    difference = column[i] - centre
                    nearby[i] += difference * difference
    return result


def sq_distances(values: NDArray[np.floating], centres: Floats) -> Floats:
    """Compute all squared distances of a piece of a block.

    Parameters
    ----------
    values : ndarray of shape (n_rows, n_features), float32 or float64
    centres : ndarray of shape (n_centres, n_features), float64

    Returns
    -------
    ndarray of shape (n_centres, n_rows), float64
        One row per centre. Squared feature units.
    """
    columns = np.ascontiguousarray(values.T, dtype=np.float64)
    return np.asarray(_sq_distances(columns, np.ascontiguousarray(centres, dtype=np.float64)))


@compiled()
def nearest_in_sets(
    sq_dist: Floats, starts: NDArray[np.int64]
) -> tuple[NDArray[np.int32], Floats]:  # pragma: no cover - compiled
    """Find the nearest centre of each set from a piece's squared distances.

    Parameters
    ----------
    sq_dist : ndarray of shape (n_centres, n_rows), float64
    starts : as in `Stack`

    Returns
    -------
    labels : ndarray of shape (n_sets, n_rows), int32
    least : ndarray of shape (n_sets, n_rows), float64
    """
    n_sets, n_rows = len(starts) - 1, sq_dist.shape[1]
    labels = np.zeros((n_sets, n_rows), np.int32)
    least = np.empty((n_sets, n_rows))
    for s in range(n_sets):
        least[s] = sq_dist[starts[s]]
        for j in range(starts[s] + 1, starts[s + 1]):
            for i in range(n_rows):
                if sq_dist[j, i] < least[s, i]:
                    least[s, i] = sq_dist[j, i]
                    labels[s, i] = j - starts[s]
    return labels, least


def nearest(values: NDArray[np.floating], centres: Floats) -> tuple[NDArray[np.int32], Floats]:
    """Find the nearest centre of each row and the squared distance to it.

    Parameters
    ----------
    values : ndarray of shape (n_rows, n_features), float32 or float64
        Must be finite; the caller has checked it.
    centres : ndarray of shape (n_centres, n_features), float64

    Returns
    -------
    labels : ndarray of shape (n_rows,), int32
        The smallest index wins a tie.
    sq_dist : ndarray of shape (n_rows,), float64
    """
    labels = np.empty(len(values), np.int32)
    least = np.empty(len(values))
    starts = np.array([0, len(centres)])
    for piece in pieces(len(values), len(centres)):
        found = nearest_in_sets(sq_distances(values[piece], centres), starts)
        labels[piece], least[piece] = found[0][0], found[1][0]
    return labels, least


@compiled()
def _accumulate(
    values: Floats,
    weights: Floats,
    labels: NDArray[np.int32],
    least: Floats,
    starts: NDArray[np.int64],
    scales: tuple[float, Floats, float],
    counts: NDArray[np.int64],
    sums: NDArray[np.int64],
) -> None:  # pragma: no cover - compiled
    """Add the rows to ``sums[centre]``: columns are the features, the weight, the distance."""
    weight_scale, value_scales, sse_scale = scales
    n_rows, n_features = values.shape
    for s in range(len(starts) - 1):
        for i in range(n_rows):
            j = starts[s] + labels[s, i]
            counts[j] += 1
            for f in range(n_features):
                high, low = grid.split(weights[i] * values[i, f], value_scales[f])
                sums[j, f, 0] += high
                sums[j, f, 1] += low
            high, low = grid.split(weights[i], weight_scale)
            sums[j, n_features, 0] += high
            sums[j, n_features, 1] += low
            high, low = grid.split(weights[i] * least[s, i], sse_scale)
            sums[j, n_features + 1, 0] += high
            sums[j, n_features + 1, 1] += low


def lloyd_step(
    values: NDArray[np.floating], weights: Floats | None, centres: Stack, exponents: Exponents
) -> StepPart:
    """Assign the rows of one block to their nearest centres and sum them there.

    Parameters
    ----------
    values : ndarray of shape (n_rows, n_features), float32 or float64
    weights : ndarray of shape (n_rows,), float64, or None
    centres : Stack
    exponents : Exponents
        Bound the weights, weighted values and weighted squared distances.

    Returns
    -------
    StepPart
    """
    total = _empty_step(*centres.centres.shape)
    for piece in pieces(len(values), len(centres.centres)):
        cut = np.ascontiguousarray(values[piece], dtype=np.float64)
        heavy = np.ones(len(cut)) if weights is None else weights[piece]
        labels, least = nearest_in_sets(sq_distances(cut, centres.centres), centres.starts)
        total = _add_rows(total, cut, heavy, labels, least, centres.starts, exponents)
    return total


def sums_by_label(
    values: NDArray[np.floating],
    weights: Floats | None,
    labels: NDArray[np.int32],
    centres: Stack,
    exponents: Exponents,
) -> StepPart:
    """Sum the rows of one block by given labels.

    Parameters
    ----------
    values, weights, exponents : as for `lloyd_step`
    labels : ndarray of shape (n_rows,), int32
    centres : Stack of one set
        All centres are one point; squared distances are taken from it.
    """
    total = _empty_step(*centres.centres.shape)
    for piece in pieces(len(values), 1):
        cut = np.ascontiguousarray(values[piece], dtype=np.float64)
        heavy = np.ones(len(cut)) if weights is None else weights[piece]
        least = sq_distances(cut, centres.centres[:1])
        own = np.ascontiguousarray(labels[None, piece])
        total = _add_rows(total, cut, heavy, own, least, centres.starts, exponents)
    return total


def _empty_step(n_centres: int, n_features: int) -> StepPart:
    zero = GridSum(np.zeros(n_centres, object), np.zeros(n_centres, object))
    sums = GridSum(*(np.zeros((n_centres, n_features), object) for _ in range(2)))
    return StepPart(np.zeros(n_centres, np.int64), zero, sums, zero)


def _add_rows(
    total: StepPart,
    values: Floats,
    weights: Floats,
    labels: NDArray[np.int32],
    least: Floats,
    starts: NDArray[np.int64],
    exponents: Exponents,
) -> StepPart:
    scales = (
        float(grid.grid_scales(exponents.weight)[0]),
        grid.grid_scales(exponents.values),
        float(grid.grid_scales(exponents.sse)[0]),
    )
    n_centres, n_features = total.sums.high.shape
    counts = np.zeros(n_centres, np.int64)
    sums = np.zeros((n_centres, n_features + 2, 2), np.int64)
    _accumulate(values, weights, labels, least, starts, scales, counts, sums)
    high, low = sums[..., 0], sums[..., 1]
    part = StepPart(
        counts,
        GridSum(high[:, -2], low[:, -2]),
        GridSum(high[:, :-2], low[:, :-2]),
        GridSum(high[:, -1], low[:, -1]),
    )
    return merge_steps(total, part)


def merge_steps(a: StepPart, b: StepPart) -> StepPart:
    """Add the parts of two blocks."""
    return StepPart(
        a.counts + b.counts,
        grid.add(a.weights, b.weights),
        grid.add(a.sums, b.sums),
        grid.add(a.sse, b.sse),
    )


def means_of(part: StepPart, exponents: Exponents) -> tuple[Floats, NDArray[np.bool_]]:
    """Return the mean of each centre's rows, correctly rounded, and which have no weight.

    Python divides integers of any length with one rounding, which is much faster than
    rational numbers.
    """
    sums, weights = _units(part.sums), _units(part.weights)
    is_empty = np.asarray(weights == 0, dtype=bool)
    quotients = (sums / np.where(is_empty, 1, weights)[:, None]).astype(np.float64)
    return np.ldexp(quotients, (exponents.values - exponents.weight).astype(np.int32)), is_empty


def total_sse(part: StepPart, exponents: Exponents) -> float:
    """Return the squared error over all centres, rounded once."""
    shift = int(exponents.sse[0]) - grid.HIGH_BITS - grid.LOW_BITS
    return float(np.ldexp(float(_units(part.sse).sum()), shift))


def _units(total: GridSum) -> NDArray[Any]:
    return np.asarray(total.high * 2**grid.LOW_BITS + total.low)


def label_block(
    values: NDArray[np.floating], weights: Floats | None, centres: Floats, exponents: Exponents
) -> tuple[NDArray[np.int32], GridSum]:
    """Label one block and sum its weighted squared distances.

    Returns
    -------
    labels : ndarray of shape (n_rows,), int32
    sse : GridSum of shape (1,)
    """
    labels, sq_dist = nearest(values, centres)
    if weights is not None:
        sq_dist *= weights
    total = GridSum(np.zeros(1, object), np.zeros(1, object))
    for start in range(0, len(labels), _MAX_PIECE_ROWS):
        piece = sq_dist[start : start + _MAX_PIECE_ROWS, None]
        total = grid.add(total, grid.sum_columns(piece, exponents.sse))
    return labels, total


class Farthest(NamedTuple):
    """Rows far from their centres, distinct, by (distance descending, row ascending)."""

    sq_dist: Floats
    rows: NDArray[np.int64]
    values: Floats


def _keep_distinct(found: Farthest, n_wanted: int) -> Farthest:
    order = np.lexsort((found.rows, -found.sq_dist))
    kept: list[int] = []
    seen: set[bytes] = set()
    for index in order:
        # Adding zero makes the two zeros one value.
        point = (found.values[index] + 0.0).tobytes()
        if len(kept) == n_wanted or found.sq_dist[index] == 0.0:
            break
        if point not in seen:
            seen.add(point)
            kept.append(int(index))
    return Farthest(found.sq_dist[kept], found.rows[kept], found.values[kept])


def farthest_rows(
    values: NDArray[np.floating],
    weights: Floats | None,
    first_row: int,
    centres: Floats,
    n_wanted: int,
) -> Farthest:
    """Find the rows of one block that are farthest from their nearest centre.

    Rows of weight zero, rows on a centre and repeats of a point are left out.
    """
    sq_dist = nearest(values, centres)[1]
    rows = first_row + np.arange(len(values), dtype=np.int64)
    real = slice(None) if weights is None else weights > 0
    wide = values.astype(np.float64)
    return _keep_distinct(Farthest(sq_dist[real], rows[real], wide[real]), n_wanted)


def merge_farthest(a: Farthest, b: Farthest, n_wanted: int) -> Farthest:
    """Keep the farthest rows of two blocks."""
    joined = Farthest(*(np.concatenate(pair) for pair in zip(a, b, strict=True)))
    return _keep_distinct(joined, n_wanted)
