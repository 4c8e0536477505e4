"""Categories of one block of a table: how often each occurs, indicators, and how they go together.

Covers: text of values, mergeable counts, integer codes, indicators with a common scale, and the
counts of pairs of codes. Does not cover: which columns are categories, or their scales (see
`preprocessing.mixed`).

Scratch memory: a code of 8 bytes per value, and 8 bytes for each column of the answer and row.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Codes = NDArray[np.int64]
MISSING = "(missing)"
# A column of more distinct values is no longer counted one by one.
MOST_COUNTED = 10_000


class Count(NamedTuple):
    """How often categories occur.

    Attributes
    ----------
    n_rows : int
    columns : tuple of (dict of str to int) or None
        Per column; None: there are more than `MOST_COUNTED`.
    """

    n_rows: int
    columns: tuple[dict[str, int] | None, ...]


def text_of(value: Any) -> str:
    """Return the category of a value: 1, 1.0 and True are told from text, not from each other.

    Examples
    --------
    >>> [text_of(value) for value in ("a", 1, 1.0, 1.5, True, None, float("nan"))]
    ['a', '1', '1', '1.5', 'True', '(missing)', '(missing)']
    """
    if isinstance(value, str):
        return value
    if value is None or value is pd.NA or value is pd.NaT or value != value:  # noqa: PLR0124
        return MISSING
    if isinstance(value, float | np.floating) and float(value).is_integer():
        return str(int(value))
    return str(value)


def codes_of(values: NDArray[Any]) -> tuple[Codes, list[str]]:
    """Return a number for each value of a column, and the category of each number."""
    codes, distinct = pd.factorize(values, use_na_sentinel=False)
    texts = [text_of(value) for value in distinct]
    known: dict[str, int] = {}
    # Two values may be one category.
    numbers = np.array([known.setdefault(text, len(known)) for text in texts], np.int64)
    return numbers[codes], list(known)


def count_block(values: NDArray[Any]) -> Count:
    """Count the categories of each column of a block.

    Parameters
    ----------
    values : ndarray of shape (n_rows, n_columns), object
    """
    columns: list[dict[str, int] | None] = []
    for column in values.T:
        codes, texts = codes_of(column)
        counts = np.bincount(codes, minlength=len(texts)).tolist()
        columns.append(_limited(dict(zip(texts, counts, strict=True))))
    return Count(len(values), tuple(columns))


def merge_counts(a: Count, b: Count) -> Count:
    """Add counts; the order does not matter."""
    columns: list[dict[str, int] | None] = []
    for one, other in zip(a.columns, b.columns, strict=True):
        if one is None or other is None:
            columns.append(None)
            continue
        total = dict(one)
        for text, count in other.items():
            total[text] = total.get(text, 0) + count
        columns.append(_limited(total))
    return Count(a.n_rows + b.n_rows, tuple(columns))


def _limited(counts: dict[str, int]) -> dict[str, int] | None:
    return counts if len(counts) <= MOST_COUNTED else None


def known_codes(values: NDArray[Any], places: Mapping[str, int]) -> Codes:
    """Return the place of the category of each value; -1 for one that is not known."""
    codes, texts = codes_of(values)
    return np.array([places.get(text, -1) for text in texts], np.int64)[codes]


def hashed_codes(values: NDArray[Any], n_buckets: int) -> Codes:
    """Return the bucket of each value: the same on any machine and in any process."""
    codes, texts = codes_of(values)
    hashed = pd.util.hash_array(np.array(texts, dtype=object), categorize=False)
    return (hashed % np.uint64(n_buckets)).astype(np.int64)[codes]


def indicators(codes: Codes, shares: Floats, scale: float) -> Floats:
    """Return centred indicators of categories; rows of no known category are zero.

    Parameters
    ----------
    codes : ndarray of shape (n_rows,), int64
        -1 for none.
    shares : ndarray of shape (n_categories,), float64
        Subtracted, so that the mean of the rows of the fit is zero.
    scale : float
    """
    found = np.zeros((len(codes), len(shares)))
    is_known = codes >= 0
    found[is_known] = -shares
    found[np.flatnonzero(is_known), codes[is_known]] += 1.0
    return found * scale


def pair_block(codes: Sequence[Codes], sizes: Sequence[int]) -> NDArray[np.int64]:
    """Count in how many rows two categories of any two columns go together.

    Parameters
    ----------
    codes : sequence of ndarray of shape (n_rows,), int64
        One per column; -1 for none.
    sizes : sequence of int
        Numbers of categories.

    Returns
    -------
    ndarray of shape (total, total), int64
        Symmetric; the counts of the categories are on the diagonal.
    """
    starts = np.concatenate([[0], np.cumsum(sizes)])
    total = int(starts[-1])
    found = np.zeros((total, total), np.int64)
    for i, (one, n_one) in enumerate(zip(codes, sizes, strict=True)):
        for j in range(i, len(codes)):
            other, n_other = codes[j], sizes[j]
            both = (one >= 0) & (other >= 0)
            cells = np.bincount(one[both] * n_other + other[both], minlength=n_one * n_other)
            part = cells.reshape(n_one, n_other)
            found[starts[i] : starts[i + 1], starts[j] : starts[j + 1]] = part
            if j > i:
                found[starts[j] : starts[j + 1], starts[i] : starts[i + 1]] = part.T
    return found


def scratch_bytes(n_columns: int, n_outputs: int, block_rows: int) -> int:
    """Return the memory that encoding takes beside a block of objects."""
    return 8 * block_rows * (n_columns + 2 * n_outputs)
