"""Labels of one block, their squared error, and the rows that fit worst.

Covers: what needs no sums of rows: labels and distances to the own centre, the exact squared
error of given centres, and the rows farthest from theirs. Does not cover: Lloyd steps (see
`kernels.assign`).

Scratch memory: 12 bytes a row for label and distance.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from daskseg.kernels import grid, tiles
from daskseg.kernels.compiling import compiled
from daskseg.kernels.grid import GridSum
from daskseg.kernels.moments import Extent
from daskseg.kernels.tiles import TILE_ROWS, Ready, Scratch

Floats = NDArray[np.float64]
_PIECE_ROWS = 2**16


@compiled()
def _label(
    values: NDArray[Any],
    ready: Ready,
    scratch: Scratch,
    labels: NDArray[np.int32],
    sq_dist: Floats,
) -> None:  # pragma: no cover - compiled
    """Label all rows; with room in `sq_dist`, measure the squared distance to the centre."""
    for first in range(0, len(values), TILE_ROWS):
        n_rows = min(TILE_ROWS, len(values) - first)
        tiles.load_tile(values, first, n_rows, ready, scratch)
        tiles.label_tile(values, first, n_rows, ready, 0, scratch, labels[first:])
        for i in range(first, first + n_rows):
            if len(sq_dist):
                centre = ready.centres[labels[i]]
                total = 0.0
                for f in range(len(centre)):
                    difference = np.float64(values[i, f]) - centre[f]
                    total += difference * difference
                sq_dist[i] = total


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
    sq_dist = np.empty(len(values))
    return _labels(values, centres, sq_dist), sq_dist


def labels_of(values: NDArray[np.floating], centres: Floats) -> NDArray[np.int32]:
    """Find the nearest centre of each row; as `nearest`."""
    return _labels(values, centres, np.empty(0))


def _labels(values: NDArray[np.floating], centres: Floats, sq_dist: Floats) -> NDArray[np.int32]:
    values = np.ascontiguousarray(values)
    labels = np.empty(len(values), np.int32)
    ready = tiles.make_ready(tiles.stack([centres]), values.dtype)
    _label(values, ready, tiles.make_scratch(values.shape[1]), labels, sq_dist)
    return labels


def sse_exponent(extent: Extent, centres: Floats) -> NDArray[np.int64]:
    """Bound weighted squared distances between rows and centres: at most ``2**exponent``.

    Returns
    -------
    ndarray of shape (1,), int64
    """
    # A column without any value has no range.
    seen = np.isfinite(extent.low)
    low = np.minimum(np.where(seen, extent.low, np.inf), centres.min(axis=0))
    high = np.maximum(np.where(seen, extent.high, -np.inf), centres.max(axis=0))
    weight = grid.range_exponents(np.zeros(1), np.array([extent.high_weight]))
    reach = np.cumsum((high - low) ** 2)[-1:]
    # One more than needed, for the roundings of the sum.
    exponent = grid.range_exponents(reach, reach) + weight + 1
    return np.asarray(np.maximum(exponent, grid.MIN_EXPONENT))


def sum_errors(sq_dist: Floats, weights: Floats | None, exponent: NDArray[np.int64]) -> GridSum:
    """Sum the weighted squared distances of one block.

    Parameters
    ----------
    sq_dist : ndarray of shape (n_rows,), float64
    weights : ndarray of shape (n_rows,), float64, or None
    exponent : ndarray of shape (1,), int64
        As from `sse_exponent`.

    Returns
    -------
    GridSum of shape (1,)
    """
    heavy = sq_dist if weights is None else sq_dist * weights
    total = GridSum(np.zeros(1, object), np.zeros(1, object))
    for start in range(0, len(heavy), _PIECE_ROWS):
        total = grid.add(
            total, grid.sum_columns(heavy[start : start + _PIECE_ROWS, None], exponent)
        )
    return total


class Farthest(NamedTuple):
    """Rows far from their centres, distinct, by (distance descending, row ascending)."""

    sq_dist: Floats
    rows: NDArray[np.int64]
    values: Floats


def keep_distinct(found: Farthest, n_wanted: int) -> Farthest:
    """Order rows by (distance descending, row ascending) and drop repeats of a point."""
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
    return keep_distinct(Farthest(sq_dist[real], rows[real], wide[real]), n_wanted)


def merge_farthest(a: Farthest, b: Farthest, n_wanted: int) -> Farthest:
    """Keep the farthest rows of two blocks."""
    joined = Farthest(*(np.concatenate(pair) for pair in zip(a, b, strict=True)))
    return keep_distinct(joined, n_wanted)


def scratch_bytes(
    n_features: int,
    n_centres: int,
    block_rows: int,
    itemsize: int,  # noqa: ARG001 - one signature for all kernels
) -> int:
    """Return the memory that `nearest` takes beside a block: label and distance of each row."""
    tile = tiles.TILE_ROWS * (8 * n_features + 4 * tiles.GROUP + 20)
    return 12 * block_rows + tile + n_centres * (12 * n_features + 16)
