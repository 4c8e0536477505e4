"""Exact order statistics and quantiles of columns, out of core.

Covers: all columns at once, for the whole table or per group of rows; bounded memory for any
number of rows. Does not cover: weights, or approximate sketches.

See also: `kernels.order_statistics`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from daskseg.engine import passes
from daskseg.engine.blocks import Blocks, Rows
from daskseg.kernels import order_statistics as radix

# Arbitrary: 8 MB of keys are cheap to send, and most columns need one counting pass only.
COLLECT_ROWS = 1_000_000

RanksOf = Callable[[int], Sequence[int]]
LabelFunc = Callable[[NDArray[Any]], NDArray[Any]]


def _split(rows: Rows, label_func: LabelFunc | None) -> tuple[Any, Any]:
    groups = None
    if label_func is not None:
        groups = np.asarray(label_func(rows.values)).astype(np.int64)
    return rows.values.astype(np.float64, copy=False), groups


def _count(
    rows: Rows, label_func: LabelFunc | None, wanted: list[list[radix.Codes]]
) -> list[radix.Histogram]:
    return radix.count_codes(*_split(rows, label_func), wanted)


def _collect(
    rows: Rows, label_func: LabelFunc | None, wanted: list[list[radix.Codes]]
) -> list[tuple[NDArray[np.uint64], radix.Codes]]:
    return radix.collect_keys(*_split(rows, label_func), wanted)


def _select(
    blocks: Blocks, label_func: LabelFunc | None, n_groups: int, ranks_of: RanksOf
) -> tuple[list[NDArray[np.float64]], list[list[list[int]]], NDArray[np.int64]]:
    """Return the selected values of each column, the ranks per column and group, the counts."""
    wanted: list[list[radix.Codes]] = [[] for _ in range(blocks.n_features)]
    targets: list[list[radix.Target]] = [[] for _ in wanted]
    counts = np.zeros((n_groups, blocks.n_features), np.int64)
    ranks: list[list[list[int]]] = [[] for _ in wanted]
    for level in range(radix.N_LEVELS):
        histograms = passes.reduce(
            blocks, _count, radix.merge_histograms, label_func, wanted, name="order-count"
        )
        n_values = 0
        for column, histogram in enumerate(histograms):
            if level == 0:
                counts[:, column] = radix.group_counts(histogram, n_groups)
                ranks[column] = [list(ranks_of(int(n))) if n else [] for n in counts[:, column]]
                targets[column] = [
                    radix.Target(group, rank)
                    for group, group_ranks in enumerate(ranks[column])
                    for rank in group_ranks
                ]
            codes, targets[column], inside = radix.descend(histogram, targets[column])
            wanted[column].append(codes)
            n_values += inside
        if n_values <= COLLECT_ROWS:
            parts = passes.reduce(
                blocks, _collect, radix.merge_keys, label_func, wanted, name="order-collect"
            )
            found = [
                radix.select(keys, cells, wish)
                for (keys, cells), wish in zip(parts, targets, strict=True)
            ]
            return found, ranks, counts
    spelt = zip(wanted, targets, strict=True)
    return [radix.spell(codes, wish) for codes, wish in spelt], ranks, counts


def order_statistics(
    blocks: Blocks, ranks_of: RanksOf
) -> tuple[list[NDArray[np.float64]], NDArray[np.int64]]:
    """Find values by rank in every column, exactly.

    Parameters
    ----------
    blocks : Blocks
        Numeric values; NaN are left out.
    ranks_of : callable
        ``ranks_of(n_valid)`` gives the ranks wanted from a column with `n_valid` values: from 1
        (smallest) to `n_valid`, in any order. It is called on the client, for n_valid >= 1.

    Returns
    -------
    values : list of ndarray, float64
        Per column, in the order of its ranks; empty for a column without values.
    counts : ndarray of shape (n_features,), int64
        Number of values that are not NaN.

    Notes
    -----
    Two passes; up to four if more than a million values share their leading bits with a
    wanted one. Memory: at most 8 MB of keys, and 16 bytes per occupied bin and task.

    Examples
    --------
    >>> import numpy as np
    >>> from daskseg.engine.blocks import Blocks
    >>> values, counts = order_statistics(
    ...     Blocks.from_array(np.array([[3.0], [1.0], [2.0]])), lambda n: [1, n])
    >>> values[0].tolist(), counts.tolist()
    ([1.0, 3.0], [3])
    """
    values, _, counts = _select(blocks, None, 1, ranks_of)
    return values, counts[0]


def group_order_statistics(
    blocks: Blocks, label_func: LabelFunc, n_groups: int, ranks_of: RanksOf
) -> tuple[list[list[NDArray[np.float64]]], NDArray[np.int64]]:
    """Find values by rank in every column of every group of rows, exactly.

    Parameters
    ----------
    blocks : Blocks
    label_func : callable
        ``label_func(values) -> int labels of shape (n_rows,)``, run inside the tasks; must be
        picklable. A negative label leaves the row out.
    n_groups : int
        Labels are below it.
    ranks_of : callable
        As in `order_statistics`; called per group and column.

    Returns
    -------
    values : list of list of ndarray
        ``values[group][column]``, in the order of the ranks.
    counts : ndarray of shape (n_groups, n_features), int64

    Notes
    -----
    Passes and memory as for `order_statistics`, with one set of bins per group.
    """
    values, ranks, counts = _select(blocks, label_func, n_groups, ranks_of)
    result: list[list[NDArray[np.float64]]] = [[] for _ in range(n_groups)]
    for column_values, column_ranks in zip(values, ranks, strict=True):
        stops = np.cumsum([len(group_ranks) for group_ranks in column_ranks])
        for group, cut in enumerate(np.split(column_values, stops[:-1])):
            result[group].append(cut)
    return result, counts


def linear_ranks(n_values: int, q: Sequence[float]) -> list[int]:
    """Return the two ranks between which each quantile lies, one after the other."""
    low = [int(np.floor(share * (n_values - 1))) for share in q]
    return [rank for below in low for rank in (below + 1, min(below + 2, n_values))]


def linear_quantiles(
    values: NDArray[np.float64], n_values: int, q: Sequence[float]
) -> NDArray[np.float64]:
    """Interpolate between the values found at `linear_ranks`, with the very steps of NumPy."""
    if n_values == 0:
        return np.full(len(q), np.nan)
    place = np.asarray(q, np.float64) * (n_values - 1)
    share = place - np.floor(place)
    low, high = values[0::2], values[1::2]
    step = high - low
    return np.where(share >= 0.5, high - step * (1 - share), low + step * share)


def quantiles(blocks: Blocks, q: Sequence[float]) -> NDArray[np.float64]:
    """Compute exact quantiles of every column, equal to ``np.nanquantile``'s linear method.

    Parameters
    ----------
    blocks : Blocks
    q : sequence of float in [0, 1]

    Returns
    -------
    ndarray of shape (len(q), n_features), float64
        NaN for a column without values.

    Notes
    -----
    Two to four passes, see `order_statistics`.

    Examples
    --------
    >>> import numpy as np
    >>> from daskseg.engine.blocks import Blocks
    >>> quantiles(Blocks.from_array(np.array([[1.0], [2.0], [4.0]])), [0.5, 0.75]).tolist()
    [[2.0], [3.0]]
    """
    wanted = list(q)
    found, counts = order_statistics(blocks, lambda n_values: linear_ranks(n_values, wanted))
    columns = [
        linear_quantiles(values, int(n), wanted) for values, n in zip(found, counts, strict=True)
    ]
    return np.stack(columns, axis=1)
