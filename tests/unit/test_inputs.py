"""Telling kinds of input apart."""

from __future__ import annotations

import dask.array as da
import dask.dataframe as dd
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import scipy.sparse
import zarr

from daskseg.cluster import KMeans
from daskseg.engine import passes, progress
from daskseg.engine.blocks import Blocks
from daskseg.errors import InputError, SchemaMismatchError
from daskseg.inputs import as_blocks, attach_column, is_lazy, map_rows, measure_extent

ROWS = np.random.default_rng(0).normal(size=(40, 2))
FRAME = pd.DataFrame(ROWS, columns=["a", "b"])


def load(blocks):
    return np.concatenate(passes.emit(blocks, lambda rows: rows.values))


def polars_frame():
    return pytest.importorskip("polars").DataFrame({"a": ROWS[:, 0], "b": ROWS[:, 1]})


KINDS = {
    "numpy": lambda: ROWS,
    "list": lambda: ROWS.tolist(),
    "pandas": lambda: FRAME,
    "polars": polars_frame,
    "arrow": lambda: pa.table({"a": ROWS[:, 0], "b": ROWS[:, 1]}),
    "dask array": lambda: da.from_array(ROWS, chunks=(15, 1)),
    "dask frame": lambda: dd.from_pandas(FRAME, npartitions=3),
    "blocks": lambda: Blocks.from_array(ROWS, block_rows=7),
}
LAZY = {"dask array", "dask frame"}
NAMED = {"pandas", "polars", "arrow", "dask frame"}


@pytest.mark.parametrize("kind", KINDS)
def test_as_blocks__takes_every_kind(kind):
    given = KINDS[kind]()
    blocks = as_blocks(given)
    np.testing.assert_array_equal(load(blocks), ROWS)
    assert blocks.columns == (("a", "b") if kind in NAMED else None)
    assert is_lazy(given) == (kind in LAZY)
    assert blocks.in_memory == (kind not in LAZY)


@pytest.mark.parametrize("kind", KINDS)
def test_kmeans__takes_every_kind(kind):
    given = KINDS[kind]()
    model, expected = KMeans(3).fit(given), KMeans(3).fit(ROWS)
    np.testing.assert_array_equal(model.cluster_centers_, expected.cluster_centers_)
    labels = model.predict(given)
    assert isinstance(labels, da.Array) == (kind in LAZY)
    np.testing.assert_array_equal(np.asarray(labels), expected.labels_)
    assert hasattr(model, "feature_names_in_") == (kind in NAMED)


def test_as_blocks__takes_zarr_arrays_and_paths(tmp_path):
    array = zarr.create_array(
        store=str(tmp_path / "x.zarr"), shape=(40, 2), chunks=(16, 2), dtype="float64"
    )
    array[:] = ROWS
    for given in (array, tmp_path / "x.zarr", str(tmp_path / "x.zarr")):
        assert is_lazy(given)
        np.testing.assert_array_equal(load(as_blocks(given)), ROWS)
    model = KMeans(3).fit(tmp_path / "x.zarr")
    np.testing.assert_array_equal(model.labels_.compute(), KMeans(3).fit(ROWS).labels_)


@pytest.mark.parametrize(
    ("dtype", "expected"),
    [("float32", "float32"), ("float64", "float64"), ("int8", "float64"), ("bool", "float64")],
)
def test_as_blocks__keeps_float32_and_widens_the_rest(dtype, expected):
    rows = (ROWS > 0).astype(dtype)
    assert as_blocks(rows).dtype == expected
    lazy = as_blocks(da.from_array(rows, chunks=(9, 2)))
    assert lazy.dtype == expected
    assert load(lazy).dtype == expected


def test_as_blocks__reads_missing_values_of_nullable_columns():
    frame = pd.DataFrame({"a": pd.array([1, None, 3], dtype="Int64"), "b": [1.0, 2.0, 3.0]})
    for given in (frame, dd.from_pandas(frame, npartitions=2)):
        values = load(as_blocks(given))
        np.testing.assert_array_equal(values, [[1, 1], [np.nan, 2], [3, 3]])


@pytest.mark.parametrize("lazy", [False, True])
def test_as_blocks__refuses_text_columns_by_name(lazy):
    frame = FRAME.assign(city="Rome", day=pd.Timestamp("2020-01-01"))
    given = dd.from_pandas(frame, npartitions=2) if lazy else frame
    with pytest.raises(InputError, match="columns that are not numbers: city, day"):
        as_blocks(given)


@pytest.mark.parametrize(
    ("given", "error", "match"),
    [
        (scipy.sparse.csr_array(ROWS), TypeError, "sparse matrix, but dense data are required"),
        (
            da.from_array(scipy.sparse.csr_matrix(ROWS), chunks=(40, 2), asarray=False),
            TypeError,
            "sparse matrix",
        ),
        (da.zeros(5), InputError, "Expected 2D array, got 1D array"),
        (da.zeros((5, 2), dtype=complex), InputError, "complex128, not real numbers"),
        (np.zeros(5), ValueError, "Expected 2D array, got 1D array"),
        (np.zeros((5, 2), dtype=complex), ValueError, "Complex data not supported"),
        (np.array([["a", "b"]]), ValueError, "could not convert string to float"),
    ],
)
def test_as_blocks__refuses_what_is_not_a_matrix_of_numbers(given, error, match):
    with pytest.raises(error, match=match):
        as_blocks(given)


def test_as_blocks__counts_rows_only_for_weights():
    lazy = dd.from_pandas(FRAME, npartitions=3)
    with progress.recording("test") as log:
        assert not as_blocks(lazy).is_measured
    assert log.passes == 0
    with progress.recording("test") as log:
        blocks = as_blocks(lazy, sample_weight=np.arange(40.0))
    assert log.passes == 1
    found = passes.emit(blocks, lambda rows: rows.weights.tolist())
    assert np.concatenate(found).tolist() == list(range(40))


def test_as_blocks__takes_lazy_weights_of_unknown_length():
    weights = dd.from_pandas(FRAME.assign(w=np.arange(40.0)), npartitions=4)["w"].values
    blocks = as_blocks(da.from_array(ROWS, chunks=(11, 2)), sample_weight=weights)
    found = passes.emit(blocks, lambda rows: rows.weights.tolist())
    assert [len(part) for part in found] == [11, 11, 11, 7]
    assert np.concatenate(found).tolist() == list(range(40))
    with pytest.raises(InputError, match="sample_weight has 40 values, but X has 39 rows"):
        as_blocks(da.from_array(ROWS[1:], chunks=(11, 2)), sample_weight=weights)


def test_as_blocks__refuses_defects_in_the_task_when_asked():
    rows = ROWS.copy()
    rows[3, 1] = np.nan
    blocks = as_blocks(pd.DataFrame(rows, columns=["a", "b"]), allow_missing=False)
    with pytest.raises(InputError, match=r"1 missing values \(NaN\) in column 'b'"):
        load(blocks)


def test_measure_extent__refuses_no_rows():
    empty = da.from_array(ROWS, chunks=(10, 2))
    empty = empty[empty[:, 0] > 99]
    with pytest.raises(InputError, match="0 sample"):
        measure_extent(passes.measure(as_blocks(empty)))


def test_measure_extent__may_let_missing_values_pass():
    rows = np.array([[1.0, np.nan], [3.0, 2.0]])
    seen = measure_extent(as_blocks(rows), allow_missing=True)
    assert seen.n_missing.tolist() == [0, 1]
    with pytest.raises(InputError, match="1 infinite"):
        measure_extent(as_blocks(np.array([[np.inf]])), allow_missing=True)


def test_attach_column__puts_it_last():
    blocks = attach_column(as_blocks(KINDS["dask array"]()), np.arange(40), "labels")
    np.testing.assert_array_equal(load(blocks), np.column_stack([ROWS, np.arange(40)]))
    with pytest.raises(InputError, match="labels has 3 values, but X has 40 rows"):
        attach_column(as_blocks(ROWS), np.arange(3), "labels")


def test_map_rows__answers_in_kind():
    def double(values):
        return values * 2

    options = {"n_features_in": 2, "n_features_out": 2}
    for kind, make in KINDS.items():
        found = map_rows(make(), double, **options)
        assert isinstance(found, da.Array) == (kind in LAZY)
        np.testing.assert_array_equal(np.asarray(found), ROWS * 2)


def test_map_rows__refuses_another_width():
    with pytest.raises(SchemaMismatchError, match="X has 2 features, but 3 features are expected"):
        map_rows(ROWS, np.abs, n_features_in=3, n_features_out=3)
