"""How many rows of each segment lie in each cell of a grid over a map.

Covers: exact counts of any number of rows in one pass. Does not cover: placing rows (see
`manifold.base`) or drawing the counts (see `daskseg.charts.maps`).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from daskseg.engine import passes
from daskseg.engine.blocks import Blocks, Rows
from daskseg.errors import InputError, UsageError
from daskseg.inputs import attach_column
from daskseg.metrics.labelled import numbers_of

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Placing = Callable[[NDArray[Any]], Floats]
# Arbitrary: one GiB of counts.
MAX_CELLS = 2**27


class Raster(NamedTuple):
    """Counts of rows on a grid.

    Attributes
    ----------
    counts : ndarray of shape (n_segments, bins, bins), int64
        Rows by segment, place along the second column of the map, and along its first.
    low, high : ndarray of shape (2,), float64
        The corners of the grid.
    labels : ndarray of shape (n_segments,)
        The segments, ascending; a lone 0 where no labels were given.
    """

    counts: Ints
    low: Floats
    high: Floats
    labels: NDArray[Any]


class _Grid(NamedTuple):
    """A grid over the map: corners and cells in each direction."""

    low: Floats
    high: Floats
    bins: int


class _Counts(NamedTuple):
    """Cells that hold rows; `cells` counts on through the layers of `known`, ascending."""

    known: Floats
    cells: Ints
    counts: Ints


def count(
    blocks: Blocks, placing: Placing, landmarks: Floats, bins: int, labels: Any = None
) -> Raster:
    """Count rows. One pass.

    Parameters
    ----------
    blocks : Blocks
    placing : callable
        ``placing(values) -> ndarray of shape (n_rows, 2)``, picklable; places lie in the
        smallest box around the landmarks.
    landmarks : ndarray of shape (n_landmarks, 2), float64
    bins : int
    labels : array-like or dask Array of shape (n_rows,), optional

    Raises
    ------
    UsageError
        If the counts would take more than a GiB.
    InputError
        If labels are missing, or of another length than the rows.
    """
    names = None
    if bins**2 > MAX_CELLS:
        raise _too_large(bins, 1)
    if labels is not None:
        numbers, names = numbers_of(labels, blocks)
        blocks = attach_column(blocks, numbers, "labels")
    grid = _Grid(landmarks.min(axis=0), landmarks.max(axis=0), bins)
    found: _Counts = passes.reduce(
        blocks,
        _count_block,
        partial(_merge, bins=bins),
        placing,
        grid,
        labels is not None,
        name="raster",
        scratch=partial(_scratch_bytes, n_features=blocks.n_features),
    )
    known = found.known
    if names is not None:
        shown = names[known.astype(np.int64)]
    else:
        is_whole = bool((known == np.floor(known)).all())
        shown = known.astype(np.int64) if is_whole else known
    counts = np.zeros(len(known) * bins**2, np.int64)
    counts[found.cells] = found.counts
    return Raster(counts.reshape(len(known), bins, bins), grid.low, grid.high, shown)


def _scratch_bytes(n_rows: int, n_features: int) -> int:
    """Return the memory of `_count_block`: the rows apart, their places, cells, and a sort."""
    return n_rows * (8 * n_features + 80)


def _count_block(rows: Rows, placing: Placing, grid: _Grid, has_labels: bool) -> _Counts:
    values, labels = rows.values, np.zeros(len(rows.values))
    if has_labels:
        values, labels = rows.values[:, :-1], rows.values[:, -1]
        bad = ~np.isfinite(labels)
        if bad.any():
            raise InputError(
                f"labels has {int(bad.sum()):,} missing or infinite values (NaN), the first in row "
                f"{rows.first_row + int(np.flatnonzero(bad)[0]):,} (from 0). Give every row a "
                "label; rows without a segment may share one, such as -1."
            )
    known, codes = np.unique(labels, return_inverse=True)
    width = grid.high - grid.low
    shares = (placing(values) - grid.low) / np.where(width > 0, width, 1.0)
    column, line = np.minimum((shares * grid.bins).astype(np.int64), grid.bins - 1).T
    cells, counts = np.unique((codes * grid.bins + line) * grid.bins + column, return_counts=True)
    return _checked(_Counts(known, cells, counts.astype(np.int64)), grid.bins)


def _merge(a: _Counts, b: _Counts, bins: int) -> _Counts:
    known = np.union1d(a.known, b.known)
    moved = []
    for part in (a, b):
        layers = np.searchsorted(known, part.known)
        moved.append(layers[part.cells // bins**2] * bins**2 + part.cells % bins**2)
    cells, places = np.unique(np.concatenate(moved), return_inverse=True)
    counts = np.zeros(len(cells), np.int64)
    np.add.at(counts, places, np.concatenate([a.counts, b.counts]))
    return _checked(_Counts(known, cells, counts), bins)


def _checked(part: _Counts, bins: int) -> _Counts:
    if len(part.known) * bins**2 > MAX_CELLS:
        raise _too_large(bins, len(part.known))
    return part


def _too_large(bins: int, n_segments: int) -> UsageError:
    return UsageError(
        f"a raster of {n_segments:,} or more segments with bins={bins:,} has "
        f"{n_segments * bins**2:,} cells, and {MAX_CELLS:,} are the most (1 GiB). Lower bins, or "
        "hand over fewer segments."
    )
