"""Exact order statistics by radix selection on the bits of float64 values.

Covers: the pure parts of a selection in at most four counting passes and one collecting pass:
sort keys, sparse histograms of 16 bits at a time, their merge, and the search in them.
Rows may belong to groups; each group and column is selected on its own.

Does not cover: running the passes (see `metrics.quantiles`).

A *cell* holds the values of one group that agree in all bits read so far. The cells that are
still wanted at a level are numbered; a code is ``cell * 65536 + next 16 bits``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Codes = NDArray[np.int64]
LEVEL_BITS = 16
N_LEVELS = 4
_BINS = 1 << LEVEL_BITS
# Arbitrary: above this many possible codes a histogram is sorted, not counted in an array.
_DENSE_CODES = 1 << 21


class Histogram(NamedTuple):
    """How many values of a column have each code; only codes that occur, ascending."""

    codes: Codes
    counts: Codes


class Target(NamedTuple):
    """One wanted value: the `rank`-th smallest (from 1) inside a cell of a column."""

    cell: int
    rank: int


def sort_keys(values: NDArray[np.float64]) -> NDArray[np.uint64]:
    """Map float64 to integers of the same order; both zeros become one.

    Parameters
    ----------
    values : ndarray, float64, without NaN
    """
    bits = np.ascontiguousarray(values + 0.0).view(np.uint64)
    sign = np.uint64(1 << 63)
    return np.where(bits & sign, ~bits, bits | sign)


def key_values(keys: NDArray[np.uint64]) -> NDArray[np.float64]:
    """Undo `sort_keys`."""
    sign = np.uint64(1 << 63)
    bits = np.where(keys & sign, keys & ~sign, ~keys)
    return np.ascontiguousarray(bits).view(np.float64)


def _next_bits(keys: NDArray[np.uint64], level: int) -> Codes:
    shift = np.uint64(64 - LEVEL_BITS * (level + 1))
    return ((keys >> shift) & np.uint64(_BINS - 1)).astype(np.int64)


def _find_cells(
    keys: NDArray[np.uint64], cells: Codes, wanted: Sequence[Codes]
) -> tuple[NDArray[np.uint64], Codes]:
    """Keep the keys inside wanted cells, and number their cells at the deepest level."""
    for level, codes in enumerate(wanted):
        own = cells * _BINS + _next_bits(keys, level)
        place = np.searchsorted(codes, own)
        inside = codes[np.minimum(place, len(codes) - 1)] == own if len(codes) else place < 0
        keys, cells = keys[inside], place[inside].astype(np.int64)
    return keys, cells


def _count(codes: Codes) -> Histogram:
    if len(codes) and int(codes.max()) < _DENSE_CODES:
        counts = np.bincount(codes)
        present = np.flatnonzero(counts)
        return Histogram(present.astype(np.int64), counts[present].astype(np.int64))
    present, counts = np.unique(codes, return_counts=True)
    return Histogram(present.astype(np.int64), counts.astype(np.int64))


def _column_keys(
    values: NDArray[np.float64], groups: Codes | None
) -> tuple[NDArray[np.uint64], Codes]:
    valid = ~np.isnan(values)
    keys = sort_keys(values[valid])
    if groups is None:
        return keys, np.zeros(len(keys), np.int64)
    grouped = groups[valid]
    return keys[grouped >= 0], grouped[grouped >= 0]


def count_codes(
    values: NDArray[np.float64], groups: Codes | None, wanted: Sequence[Sequence[Codes]]
) -> list[Histogram]:
    """Count the next 16 bits of the values inside the wanted cells of one block.

    Parameters
    ----------
    values : ndarray of shape (n_rows, n_features), float64
        NaN are left out.
    groups : ndarray of shape (n_rows,), int64, or None
        Rows with a negative group are left out; None puts all rows into group 0.
    wanted : sequence of sequence of ndarray
        Per column the wanted codes of each level read so far, ascending.

    Returns
    -------
    list of Histogram, one per column
    """
    result = []
    for column, codes in enumerate(wanted):
        keys, cells = _find_cells(*_column_keys(values[:, column], groups), codes)
        result.append(_count(cells * _BINS + _next_bits(keys, len(codes))))
    return result


def merge_histograms(a: list[Histogram], b: list[Histogram]) -> list[Histogram]:
    """Add the histograms of two blocks."""
    result = []
    for left, right in zip(a, b, strict=True):
        codes, inverse = np.unique(np.concatenate([left.codes, right.codes]), return_inverse=True)
        counts = np.zeros(len(codes), np.int64)
        np.add.at(counts, inverse, np.concatenate([left.counts, right.counts]))
        result.append(Histogram(codes, counts))
    return result


def group_counts(histogram: Histogram, n_groups: int) -> Codes:
    """Return the number of values per group, from a histogram of the first level."""
    counts = np.zeros(n_groups, np.int64)
    np.add.at(counts, histogram.codes // _BINS, histogram.counts)
    return counts


def descend(histogram: Histogram, targets: Sequence[Target]) -> tuple[Codes, list[Target], int]:
    """Find the code that holds each target.

    Returns
    -------
    wanted : ndarray of int64
        The codes that hold a target, ascending.
    targets : list of Target
        The same targets, within the cells that `wanted` numbers.
    n_values : int
        Number of values inside these cells.
    """
    before = np.concatenate([[0], np.cumsum(histogram.counts)])
    starts = np.searchsorted(histogram.codes, [target.cell * _BINS for target in targets])
    ranks = before[starts] + np.array([target.rank for target in targets], np.int64)
    places = np.searchsorted(before[1:], ranks)
    unique, cells = np.unique(places, return_inverse=True)
    rest = ranks - before[places]
    inner = [Target(int(c), int(r)) for c, r in zip(cells, rest, strict=True)]
    return histogram.codes[unique], inner, int(histogram.counts[unique].sum())


def collect_keys(
    values: NDArray[np.float64], groups: Codes | None, wanted: Sequence[Sequence[Codes]]
) -> list[tuple[NDArray[np.uint64], Codes]]:
    """Return, per column, the keys inside the wanted cells of one block, and their cells."""
    return [
        _find_cells(*_column_keys(values[:, column], groups), codes)
        for column, codes in enumerate(wanted)
    ]


def merge_keys(
    a: list[tuple[NDArray[np.uint64], Codes]], b: list[tuple[NDArray[np.uint64], Codes]]
) -> list[tuple[NDArray[np.uint64], Codes]]:
    """Join the keys of two blocks; their order carries no meaning."""
    return [
        (np.concatenate([left[0], right[0]]), np.concatenate([left[1], right[1]]))
        for left, right in zip(a, b, strict=True)
    ]


def select(
    keys: NDArray[np.uint64], cells: Codes, targets: Sequence[Target]
) -> NDArray[np.float64]:
    """Return the targets from the collected keys of a column."""
    order = np.lexsort((keys, cells))
    starts = np.searchsorted(cells[order], [target.cell for target in targets])
    ranks = np.array([target.rank for target in targets], np.int64)
    return key_values(keys[order][starts + ranks - 1])


def spell(wanted: Sequence[Codes], targets: Sequence[Target]) -> NDArray[np.float64]:
    """Return the targets when all 64 bits are known: a cell is then one value."""
    keys = []
    for target in targets:
        key, cell = 0, target.cell
        for level in reversed(range(len(wanted))):
            cell, bits = divmod(int(wanted[level][cell]), _BINS)
            key |= bits << (64 - LEVEL_BITS * (level + 1))
        keys.append(key)
    return key_values(np.array(keys, np.uint64))


def scratch_bytes(  # one signature for all kernels
    n_features: int,  # noqa: ARG001
    n_centres: int,  # noqa: ARG001
    block_rows: int,
    itemsize: int,  # noqa: ARG001
) -> int:
    """Return the memory that `count_codes` takes beside a block: that of one column, and bins."""
    return 57 * block_rows + 8 * _BINS
