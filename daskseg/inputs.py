"""What users hand over, told apart: arrays, frames, dask collections and stores, as blocks.

Covers: NumPy, pandas, Polars, Arrow, dask Array and DataFrame, Zarr arrays and paths; the
answer of the same kind (NumPy in, NumPy out; lazy in, lazy dask out); checks of content with
column, count and row. Does not cover: reading ledgers (see `sources`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, NoReturn

import dask.array as da
import dask.dataframe as dd
import narwhals.stable.v1 as nw
import numpy as np
import pandas as pd
import scipy.sparse
from dask.delayed import delayed
from numpy.typing import NDArray
from sklearn.utils.validation import check_array

from daskseg import store
from daskseg.engine import passes
from daskseg.engine.blocks import Blocks, Load, Rows
from daskseg.errors import InputError, SchemaMismatchError
from daskseg.kernels.moments import LARGEST, NO_ROW, Extent, extent, merge_extents


def as_blocks(
    X: Any, *, sample_weight: Any = None, what: str = "X", allow_missing: bool = True
) -> Blocks:
    """Cut rows of any supported kind into blocks of float32 or float64.

    Parameters
    ----------
    X : array-like, DataFrame, dask collection, Zarr array, path of a Zarr store, or Blocks
        Two-dimensional and numeric. float32 stays float32; the rest becomes float64.
    sample_weight : array-like or dask Array of shape (n_rows,), optional
        With it, unknown numbers of rows are counted (one pass).
    what : str
        What messages call `X`.
    allow_missing : bool
        If false, NaN and infinities raise `InputError` in the task that meets them.

    Returns
    -------
    Blocks

    Raises
    ------
    InputError
        If `X` is not a matrix of real numbers, or the weights do not fit it.
    TypeError
        If `X` is sparse.

    Notes
    -----
    Reads nothing, unless stated above.

    Examples
    --------
    >>> as_blocks([[1, 2], [3, 4]]).n_rows
    2
    """
    blocks = _untyped_blocks(X, what)
    if blocks.dtype not in (np.float32, np.float64):
        if blocks.dtype.kind not in "fiub":
            raise InputError(f"{what} holds values of type {blocks.dtype}, not real numbers.")
        blocks = blocks.map(_as_float, dtype=np.float64)
    if not allow_missing:
        blocks = blocks.map(_refuse_defects, what, blocks.columns)
    return blocks if sample_weight is None else _attach_weights(blocks, sample_weight, what)


def is_lazy(X: Any) -> bool:
    """Say whether `X` is read inside tasks, so that answers about its rows are lazy too."""
    if isinstance(X, Blocks):
        return not X.in_memory
    return isinstance(X, (da.Array, dd.DataFrame, str, Path)) or _is_zarr_array(X)


def as_frame(X: Any) -> Any:
    """Turn Polars and Arrow tables into pandas; leave all else alone."""
    if isinstance(X, (np.ndarray, pd.DataFrame)) or is_lazy(X):
        return X
    frame = nw.from_native(X, pass_through=True, eager_only=True)
    if not isinstance(frame, nw.DataFrame):
        return X
    return pd.DataFrame({name: frame[name].to_numpy() for name in frame.columns})


def _is_zarr_array(X: Any) -> bool:
    return type(X).__module__.partition(".")[0] == "zarr" and hasattr(X, "chunks")


def _untyped_blocks(X: Any, what: str) -> Blocks:
    if isinstance(X, Blocks):
        return X
    if isinstance(X, (str, Path)):
        return store.open_blocks(X)
    if isinstance(X, dd.DataFrame):
        return _frame_blocks(X, what)
    if _is_zarr_array(X):
        X = da.from_zarr(X)
    if isinstance(X, da.Array):
        if X.ndim != 2:
            raise InputError(
                f"Expected 2D array, got {X.ndim}D array instead: {what} has the shape {X.shape}. "
                "Reshape your data: rows and columns."
            )
        if scipy.sparse.issparse(X._meta) or not isinstance(X._meta, np.ndarray):
            _refuse_sparse(what)
        return Blocks.from_dask_array(X)
    if scipy.sparse.issparse(X):
        _refuse_sparse(what)
    frame = as_frame(X)
    columns = None
    if isinstance(frame, pd.DataFrame) and all(isinstance(name, str) for name in frame.columns):
        columns = tuple(frame.columns)
        _refuse_text(frame.dtypes.items(), what)
    values = check_array(
        frame,
        dtype=[np.float64, np.float32],
        ensure_all_finite=False,
        ensure_min_samples=0,
        input_name=what,
    )
    if not len(values):
        raise InputError(f"Found array with 0 sample(s): {what} has no rows.")
    return Blocks.from_array(values, columns=columns)


def _refuse_sparse(what: str) -> NoReturn:
    raise TypeError(
        f"{what} is a sparse matrix, but dense data are required: segments are made of a few "
        "dozen features, so convert it with .toarray()."
    )


def _refuse_text(dtypes: Any, what: str) -> None:
    text = [str(name) for name, dtype in dtypes if not _is_number(dtype)]
    if text:
        raise InputError(
            f"{what} has columns that are not numbers: {', '.join(text[:5])}"
            f"{' …' if len(text) > 5 else ''}. Leave them out or encode them as numbers."
        )


def _is_number(dtype: Any) -> bool:
    # Object columns may hold numbers; the conversion of the values decides.
    return pd.api.types.is_object_dtype(dtype) or pd.api.types.is_numeric_dtype(dtype)


def _frame_blocks(frame: dd.DataFrame, what: str) -> Blocks:
    _refuse_text(frame.dtypes.items(), what)
    dtype = np.float32 if all(d == np.float32 for d in frame.dtypes) else np.float64
    loads = tuple(Load(_frame_values, (part, dtype)) for part in frame.to_delayed())
    columns = tuple(str(name) for name in frame.columns)
    return Blocks(loads, (-1,) * len(loads), len(columns), np.dtype(dtype), columns)


def _frame_values(frame: pd.DataFrame, dtype: Any) -> NDArray[Any]:
    return frame.to_numpy(dtype=dtype, na_value=np.nan)


def _as_float(values: NDArray[Any]) -> NDArray[np.float64]:
    return values.astype(np.float64)


def _refuse_defects(
    values: NDArray[Any], what: str, columns: tuple[str, ...] | None
) -> NDArray[Any]:
    finite = np.isfinite(values)
    if not finite.all():
        column = int(np.flatnonzero(~finite.all(axis=0))[0])
        n_missing = int(np.isnan(values[:, column]).sum())
        n_infinite = int((~finite[:, column]).sum()) - n_missing
        raise InputError(_defect(what, _column_name(columns, column), n_missing, n_infinite))
    return values


def _column_name(columns: tuple[str, ...] | None, column: int) -> str:
    return repr(columns[column]) if columns else str(column)


def _defect(what: str, column: str, n_missing: int, n_infinite: int) -> str:
    """Say what is wrong with a column, with the words NaN and infinity that people search."""
    counts = [f"{n_missing:,} missing values (NaN)"] if n_missing else []
    if n_infinite:
        counts.append(f"{n_infinite:,} infinite values (infinity)")
    return (
        f"{what} has {' and '.join(counts)} in column {column}; every value must be finite. "
        "Fill or drop them, for example with daskseg.preprocessing.Prepare."
    )


def as_vector(vector: Any) -> Any:
    """Turn a lazy Series into a lazy array; leave all else alone."""
    if not hasattr(vector, "to_dask_array"):
        return vector
    # Not as text of Arrow, which dask cannot put into arrays.
    is_number = getattr(vector.dtype, "kind", "O") in "iufb"
    return (vector if is_number else vector.astype(object)).to_dask_array()


def _values_of(rows: Rows) -> NDArray[Any]:
    return rows.values[:, 0]


def fetch(vector: Any, blocks: Blocks) -> Any:
    """Bring a lazy vector into memory if the rows are there. One pass over the vector."""
    if not isinstance(vector, da.Array) or vector.ndim != 1 or not blocks.in_memory:
        return vector
    column = Blocks.from_dask_array(vector[:, None])
    return np.concatenate(passes.emit(column, _values_of, name="vector"))


def _attach_weights(blocks: Blocks, sample_weight: Any, what: str) -> Blocks:
    blocks = passes.measure(blocks)
    weights = fetch(as_vector(sample_weight), blocks)
    if not isinstance(weights, da.Array):
        try:
            weights = np.asarray(weights, dtype=np.float64)
        except (TypeError, ValueError) as error:
            raise InputError(f"sample_weight is not made of numbers: {error}") from error
        if weights.ndim == 0:
            weights = np.full(blocks.n_rows, float(weights))
    if weights.ndim != 1:
        raise InputError(f"sample_weight has the shape {weights.shape}, but one dimension is due.")
    if isinstance(weights, np.ndarray):
        if len(weights) != blocks.n_rows:
            raise InputError(
                f"sample_weight has {len(weights):,} values, but {what} has {blocks.n_rows:,} rows."
            )
        return blocks.with_weights(weights)
    if np.isnan(weights.shape[0]):
        weights = _measure_vector(weights)
    if weights.shape[0] != blocks.n_rows:
        raise InputError(
            f"sample_weight has {weights.shape[0]:,} values, but {what} has {blocks.n_rows:,} rows."
        )
    cuts = weights.astype(np.float64).rechunk((blocks.lengths,)).to_delayed()
    return replace(blocks, weights=tuple(cuts))


def _measure_vector(vector: da.Array) -> da.Array:
    """Fill in unknown chunk sizes. One pass over the vector."""
    lengths = passes.measure(Blocks.from_dask_array(vector[:, None])).lengths
    return da.Array(vector.dask, vector.name, (lengths,), dtype=vector.dtype)


def attach_column(blocks: Blocks, column: Any, what: str) -> Blocks:
    """Append one number per row (such as a label) as a last column of float64.

    Parameters
    ----------
    blocks : Blocks
    column : ndarray or dask Array of shape (n_rows,)
        Numbers. With it, unknown numbers of rows are counted (one pass).
    what : str
        What messages call `column`.
    """
    try:
        cuts = _attach_weights(blocks, column, "X").weights
    except InputError as error:
        raise InputError(str(error).replace("sample_weight", what)) from error
    blocks = passes.measure(blocks)
    loads = tuple(
        Load(_load_with_column, (load.func, list(load.args), blocks.steps, cut))
        for load, cut in zip(blocks.loads, cuts or (), strict=True)
    )
    return replace(
        blocks,
        loads=loads,
        steps=(),
        n_features=blocks.n_features + 1,
        dtype=np.dtype(np.float64),
        columns=None,
    )


def _load_with_column(
    func: Callable[..., Any], args: list[Any], steps: tuple[Load, ...], column: Any
) -> NDArray[np.float64]:
    values = func(*args)
    for step in steps:
        values = step.func(values, *step.args)
    return np.column_stack([values.astype(np.float64), column])


def _extent_of(rows: Rows) -> Extent:
    return extent(rows.values, rows.weights, rows.first_row)


def measure_extent(blocks: Blocks, what: str = "X", *, allow_missing: bool = False) -> Extent:
    """Find ranges and defects of all columns, and refuse what cannot be clustered. One pass.

    Parameters
    ----------
    blocks : Blocks
        Measured, so that rows can be named.
    what : str
    allow_missing : bool
        Let NaN pass (they are counted); infinities never pass.

    Raises
    ------
    InputError
        If there are no rows, if values are missing, infinite or beyond 2**400, or if weights
        are negative, not finite or all zero.
    """
    seen: Extent = passes.reduce(blocks, _extent_of, merge_extents, name="extent")
    check_extent(seen, blocks, what, allow_missing=allow_missing)
    return seen


def check_extent(
    seen: Extent, blocks: Blocks, what: str = "X", *, allow_missing: bool = False
) -> None:
    """Refuse rows that cannot be clustered; as `measure_extent`, for ranges that are known."""
    if seen.n_rows == 0:
        raise InputError(f"Found array with 0 sample(s): {what} has no rows.")
    bad = seen.n_infinite + (0 if allow_missing else seen.n_missing)
    if bad.any():
        column = int(np.flatnonzero(bad)[0])
        name = _column_name(blocks.columns, column)
        message = _defect(what, name, int(seen.n_missing[column]), int(seen.n_infinite[column]))
        first = int(seen.first_bad_row[column])
        place = f" The first is in row {first:,} (from 0)." if first != NO_ROW else ""
        raise InputError(
            f"{message}{place} {int((bad > 0).sum())} of {len(bad)} columns have some."
        )
    largest = np.maximum(np.abs(seen.low), np.abs(seen.high))
    for column in np.flatnonzero((largest > LARGEST) & np.isfinite(largest))[:1]:
        raise InputError(
            f"{what} has the value {largest[column]:g} (or its negative) in column "
            f"{_column_name(blocks.columns, int(column))}; beyond {LARGEST:.0e} squared distances "
            "overflow. Scale the column."
        )
    _check_weights(seen)


def _check_weights(seen: Extent) -> None:
    if not np.isfinite(seen.low_weight + seen.high_weight):
        raise InputError("sample_weight holds NaN or infinity; every weight must be finite.")
    if seen.low_weight < 0:
        raise InputError(
            f"sample_weight holds negative values (the least is {seen.low_weight:g}); "
            "a weight says how often a row counts, so give zero or more."
        )
    if seen.high_weight == 0:
        raise InputError("sample_weight is zero for every row; at least one must be positive.")


def same_columns(columns: Any, names: Any) -> None:
    """Refuse columns that are not those of the fit, in the same order.

    Parameters
    ----------
    columns, names : sequence of str or None
        Of the rows, and of the fit; either may have no names.

    Raises
    ------
    SchemaMismatchError
    """
    if columns is not None and names is not None and list(columns) != list(names):
        raise SchemaMismatchError(
            f"the columns are {list(columns)}, but those of the fit were {list(names)}, in "
            "this order."
        )


def map_rows(
    X: Any,
    func: Callable[..., Any],
    *,
    n_features_in: int,
    n_features_out: int | None,
    dtype: Any = np.float64,
    allow_missing: bool = False,
    what: str = "X",
) -> Any:
    """Apply a function to the rows; in-memory input gives NumPy, lazy input a lazy dask array.

    Parameters
    ----------
    X : as for `as_blocks`
    func : callable
        ``func(values) -> array`` with one entry or row per row; must be picklable.
    n_features_in : int
        Number of columns that `X` must have.
    n_features_out : int or None
        Columns of the result; None for one value per row.
    dtype : numpy dtype of the result
    allow_missing : bool
        As for `as_blocks`.
    what : str

    Raises
    ------
    SchemaMismatchError
        If `X` has another number of columns.
    """
    blocks = as_blocks(X, what=what, allow_missing=allow_missing)
    if blocks.n_features != n_features_in:
        raise SchemaMismatchError(
            f"{what} has {blocks.n_features} features, but {n_features_in} features are expected: "
            "those of the fit, in the same order."
        )
    if blocks.in_memory:
        return np.concatenate(passes.emit(blocks, _apply, func, name="rows")).astype(dtype)
    width = () if n_features_out is None else (n_features_out,)
    calls = delayed(_apply_loaded, pure=False)
    parts = [
        da.from_delayed(
            calls(task.load.func, list(task.load.args), func),
            shape=(np.nan if length < 0 else length, *width),
            dtype=dtype,
        )
        for task, length in zip(blocks.tasks(), blocks.lengths, strict=True)
    ]
    return da.concatenate(parts, axis=0)


def _apply(rows: Rows, func: Callable[..., Any]) -> Any:
    return func(rows.values)


def _apply_loaded(load: Callable[..., Any], args: list[Any], func: Callable[..., Any]) -> Any:
    return func(load(*args).values)
