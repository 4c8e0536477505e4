"""Rows with a label each: any rows, any labels, cut alike.

Covers: labels of any kind (numbers or text, in memory or lazy, in other chunks than the rows)
put beside the rows as numbers; which labels there are; labels that are left out.
Does not cover: scores (see `metrics.silhouette` and `metrics.dispersion`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import dask.array as da
import numpy as np
from numpy.typing import NDArray

from daskseg.engine import passes
from daskseg.engine.blocks import Blocks, Rows
from daskseg.engine.memory import Scratch
from daskseg.errors import InputError, UsageError
from daskseg.inputs import as_blocks, as_vector, attach_column, check_extent, fetch
from daskseg.kernels import assign, moments
from daskseg.kernels.assign import StepGrid
from daskseg.kernels.moments import NO_ROW, Extent
from daskseg.kernels.unit import unit_rows

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
# Arbitrary: sums of so many labels of 20 features take 40 MB; more are ids by mistake.
MAX_LABELS = 100_000
# Codes, numbers, chances, priorities and masks of a row, at the most at a time.
_ROW_BYTES = 64
# Whole numbers up to here are float64 numbers of their own.
_LARGEST_LABEL = 2.0**53


class Codes(NamedTuple):
    """How labels, as they stand beside the rows, become numbers from 0.

    Attributes
    ----------
    known : ndarray of shape (n_labels,), float64
        Ascending.
    is_whole : bool
        No row has another label. Rows with other labels are left out.
    """

    known: Floats
    is_whole: bool


class Split(NamedTuple):
    """One block of rows that are not left out.

    Attributes
    ----------
    values : ndarray of shape (n_rows, n_features), float64
    weights : ndarray of shape (n_rows,), float64, or None
    codes : ndarray of shape (n_rows,), int32
    rows : ndarray of shape (n_rows,), int64
        Global numbers.
    """

    values: NDArray[Any]
    weights: Floats | None
    codes: NDArray[np.int32]
    rows: Ints


@dataclass(frozen=True)
class Labelled:
    """Rows with labels.

    Attributes
    ----------
    blocks : Blocks
        The last column holds the label as a number.
    names : ndarray of shape (n_labels,)
        The labels, ascending; those that are left out or have no weight are not among them.
    codes : Codes
    extent : Extent
        Of the features.
    n_rows : ndarray of shape (n_labels,), int64
        Rows with weight.
    weights : ndarray of shape (n_labels,), float64
        Their weight, roughly: in the order in which blocks came.
    """

    blocks: Blocks
    names: NDArray[Any]
    codes: Codes
    extent: Extent
    n_rows: Ints
    weights: Floats

    def scratch(self, rows: int) -> int:
        """Return the memory of a pass over so many rows: they, apart, and a few numbers each."""
        return _scratch_of(self.blocks)(rows)

    @property
    def grid(self) -> StepGrid:
        """The grids of sums of these rows."""
        return assign.step_grid(self.extent)


class _Table(NamedTuple):
    """Labels of some blocks, with the rows and the weight of each."""

    extent: Extent
    values: Floats
    n_rows: Ints
    weights: Floats


def split_rows(rows: Rows, codes: Codes) -> Split:
    """Take a block of `Labelled.blocks` apart, for use inside tasks."""
    values, labels = rows.values[:, :-1], rows.values[:, -1]
    found = np.searchsorted(codes.known, labels).astype(np.int32)
    numbers = rows.first_row + np.arange(len(labels), dtype=np.int64)
    if codes.is_whole:
        return Split(values, rows.weights, found, numbers)
    kept = found < len(codes.known)
    kept[kept] = codes.known[found[kept]] == labels[kept]
    weights = None if rows.weights is None else rows.weights[kept]
    return Split(values[kept], weights, found[kept], numbers[kept])


def _scratch_of(blocks: Blocks) -> Scratch:
    row_bytes = 16 * blocks.n_features + _ROW_BYTES
    return row_bytes.__mul__


def _tabulate(rows: Rows) -> _Table:
    labels = rows.values[:, -1]
    values, codes = np.unique(labels, return_inverse=True)
    heavy = np.ones(len(labels)) if rows.weights is None else rows.weights
    return _limit(
        _Table(
            moments.extent(rows.values, rows.weights, rows.first_row),
            values,
            np.bincount(codes, weights=heavy > 0, minlength=len(values)).astype(np.int64),
            np.bincount(codes, weights=heavy, minlength=len(values)).astype(np.float64),
        )
    )


def _merge(a: _Table, b: _Table) -> _Table:
    values, codes = np.unique(np.concatenate([a.values, b.values]), return_inverse=True)
    n_rows = np.zeros(len(values), np.int64)
    np.add.at(n_rows, codes, np.concatenate([a.n_rows, b.n_rows]))
    weights = np.bincount(codes, np.concatenate([a.weights, b.weights]), minlength=len(values))
    extent = moments.merge_extents(a.extent, b.extent)
    return _limit(_Table(extent, values, n_rows, weights.astype(np.float64)))


def _limit(table: _Table) -> _Table:
    if len(table.values) > MAX_LABELS:
        raise InputError(_too_many(table.values))
    return table


def _too_many(values: NDArray[Any]) -> str:
    return (
        f"labels has more than {MAX_LABELS:,} distinct values ({values[0]}, {values[1]}, "
        f"{values[2]}, …). Give the cluster of each row, not an id or a measured value."
    )


def _distinct(values: NDArray[Any]) -> NDArray[Any]:
    """Return the distinct labels of one array, ascending."""
    try:
        found = np.unique(values)
    except TypeError as error:
        raise InputError(
            f"labels mixes kinds of values or has missing ones, so that it cannot be sorted "
            f"({error}). Make all labels numbers or all text."
        ) from error
    if len(found) > MAX_LABELS:
        raise InputError(_too_many(found))
    return found


def _distinct_rows(rows: Rows) -> NDArray[Any]:
    return _distinct(rows.values[:, 0])


def _join_distinct(a: NDArray[Any], b: NDArray[Any]) -> NDArray[Any]:
    return _distinct(np.concatenate([a, b]))


def _as_objects(values: Any) -> NDArray[Any]:
    return np.asarray(values, dtype=object)


def _find(values: Any, names: NDArray[Any]) -> Floats:
    return np.searchsorted(names, _as_objects(values)).astype(np.float64)


def _check_vector(labels: Any) -> None:
    if labels.ndim != 1:
        raise InputError(f"labels has the shape {labels.shape}, but one dimension is due.")


def _in_memory(labels: Any) -> tuple[Floats, NDArray[Any]]:
    """Return the labels of an array as numbers in their order, and what they stand for."""
    labels = np.asarray(labels)
    _check_vector(labels)
    if labels.dtype.kind == "f" and not np.isfinite(labels).all():
        row = int(np.flatnonzero(~np.isfinite(labels))[0])
        raise InputError(_not_finite(int(np.count_nonzero(~np.isfinite(labels))), row))
    names = _distinct(labels)
    return np.searchsorted(names, labels).astype(np.float64), names


def _not_finite(n_rows: int, row: int) -> str:
    return (
        f"labels has {n_rows:,} missing or infinite values (NaN), the first in row {row:,} "
        "(from 0). Give every row a label; rows without a cluster may share one, such as -1, that "
        "noise_label leaves out."
    )


def _lazy(vector: da.Array) -> tuple[da.Array, NDArray[Any] | None]:
    """Return lazy labels as numbers, and their names where they are not numbers. 0 or 1 pass."""
    _check_vector(vector)
    if vector.dtype.kind in "iufb":
        return vector, None
    vector = da.map_blocks(_as_objects, vector, dtype=object, meta=np.empty(0, object))
    column = Blocks.from_dask_array(vector[:, None])
    names = passes.reduce(column, _distinct_rows, _join_distinct, name="label-names")
    return da.map_blocks(_find, vector, names, dtype=np.float64, meta=np.empty(0)), names


def numbers_of(labels: Any, blocks: Blocks) -> tuple[Any, NDArray[Any] | None]:
    """Turn labels of any kind into numbers, and say what they stand for.

    Parameters
    ----------
    labels : array-like, Series, or lazy Array or Series of shape (n_rows,)
    blocks : Blocks
        Where they are in memory, the numbers are too.

    Returns
    -------
    numbers : ndarray or dask Array of shape (n_rows,)
    names : ndarray or None
        What the numbers from 0 stand for; None where the labels are numbers already.

    Notes
    -----
    No pass; one over the labels alone if they are lazy and not numbers.
    """
    labels = as_vector(labels)
    if isinstance(labels, da.Array):
        numbers, names = _lazy(labels)
        return fetch(numbers, blocks), names
    return _in_memory(labels)


def _number_of(label: Any, names: NDArray[Any] | None) -> float:
    """Return the number of a label, or NaN if no row has it."""
    if names is not None:
        found = [i for i, name in enumerate(names.tolist()) if name == label]
        return float(found[0]) if found else np.nan
    try:
        return float(label)
    except (TypeError, ValueError) as error:
        raise UsageError(f"noise_label={label!r} is not a number, but the labels are.") from error


def _check_labels(column: Extent) -> None:
    bad = int(column.n_missing[-1] + column.n_infinite[-1])
    if bad:
        row = int(column.first_bad_row[-1])
        raise InputError(_not_finite(bad, 0 if row == NO_ROW else row))
    if max(-column.low[-1], column.high[-1]) > _LARGEST_LABEL:
        raise InputError(
            f"labels has values from {column.low[-1]:.17g} to {column.high[-1]:.17g}; beyond 2**53 "
            "numbers cannot be told apart. Number the labels from 0."
        )


def label_rows(
    X: Any,
    labels: Any,
    *,
    sample_weight: Any = None,
    noise_label: Any = None,
    on_sphere: bool = False,
) -> Labelled:
    """Put labels beside rows and look at both once.

    Parameters
    ----------
    X : rows of any kind that daskseg takes
    labels : array-like, Series, or lazy Array or Series of shape (n_rows,)
        Numbers or text.
    sample_weight : array-like of shape (n_rows,), optional
    noise_label : object, optional
        Rows with this label are left out.
    on_sphere : bool
        Bring rows to length one first.

    Returns
    -------
    Labelled

    Raises
    ------
    InputError
        If rows or labels are missing, infinite, of other lengths, or too many labels.
    UsageError
        If `noise_label` cannot be one of the labels.

    Notes
    -----
    One pass; one over the labels alone if they are lazy and not numbers; one more over what is
    of unknown length.
    """
    rows = as_blocks(X, sample_weight=sample_weight)
    if on_sphere:
        rows = rows.map(unit_rows, dtype=np.float64)
    numbers, names = numbers_of(labels, rows)
    lazy_dtype = numbers.dtype if names is None and isinstance(numbers, da.Array) else None
    return _look(attach_column(rows, numbers, "labels"), rows, names, noise_label, lazy_dtype)


def _append_labels(
    values: NDArray[Any], label: Callable[[NDArray[Any]], NDArray[Any]]
) -> NDArray[Any]:
    return np.column_stack([values, label(values)])


def label_blocks(
    rows: Blocks, label: Callable[[NDArray[Any]], NDArray[Any]], *, noise_label: int
) -> Labelled:
    """Put labels beside rows that follow from them alone, and look at both once. One pass.

    Parameters
    ----------
    rows : Blocks
    label : callable
        ``label(values) -> ndarray of int`` for a block of rows, importable.
    noise_label : int
        Rows with this label are left out.
    """
    blocks = rows.map(
        _append_labels, label, n_features=rows.n_features + 1, dtype=np.dtype(np.float64)
    )
    return _look(blocks, rows, None, noise_label, np.dtype(np.int32))


def _look(
    blocks: Blocks,
    rows: Blocks,
    names: NDArray[Any] | None,
    noise_label: Any,
    dtype: np.dtype[Any] | None,
) -> Labelled:
    """Look once at rows with the numbers of their labels as a last column."""
    table: _Table = passes.reduce(
        blocks, _tabulate, _merge, name="labels", scratch=_scratch_of(blocks)
    )
    seen = table.extent
    inner = seen._replace(
        low=seen.low[:-1],
        high=seen.high[:-1],
        n_missing=seen.n_missing[:-1],
        n_infinite=seen.n_infinite[:-1],
        first_bad_row=seen.first_bad_row[:-1],
    )
    check_extent(inner, rows)
    _check_labels(seen)
    kept = table.n_rows > 0
    if noise_label is not None:
        kept &= table.values != _number_of(noise_label, names)
    known = table.values[kept]
    shown = known if names is None else names[known.astype(np.int64)]
    if dtype is not None:
        shown = shown.astype(dtype)
    return Labelled(
        blocks,
        shown,
        Codes(known, bool(kept.all())),
        inner,
        table.n_rows[kept],
        table.weights[kept],
    )


def check_label_count(n_labels: int, weight: float) -> None:
    """Refuse fewer labels than two, and as many as rows.

    Parameters
    ----------
    n_labels : int
    weight : float
        Of all rows that are not left out; their number where there are no weights.

    Raises
    ------
    InputError
    """
    if not 1 < n_labels < weight:
        raise InputError(
            f"Number of labels is {n_labels}. Valid values are 2 to n_samples - 1 (inclusive), and "
            f"n_samples is {weight:,.12g} (a weight counts as so many repeats of its row). A score "
            "compares clusters with each other, and rows within them."
        )
