from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
import zarr

from daskseg import store
from daskseg.engine import passes
from daskseg.engine.blocks import FrameBlocks, Load
from daskseg.errors import ArtifactError, InputError

NAMES = ["recency_days", "n_orders", "spend_net"]


def attributes(names=NAMES):
    return {
        "names": list(names),
        "units": ["days", "orders", "money"][: len(names)],
        "roles": ["active"] * len(names),
        "definitions": ["Days …", "Orders.", "Spend."][: len(names)],
        "snapshot": "2011-12-10",
        "fingerprint": "00ff-3",
    }


def customers(n_rows, first=0):
    rows = np.arange(first, first + n_rows)
    frame = pd.DataFrame({
        "customer_id": pd.Series([f"Kunde-{row} ü" for row in rows], dtype="str"),
        "recency_days": rows.astype(float),
        "n_orders": np.where(rows % 7, rows % 5, np.nan),
        "spend_net": -rows / 3,
    })  # fmt: skip
    frame.index = pd.RangeIndex(first, first + n_rows)
    return frame


def written(path, n_rows, chunk_rows=256):
    made = store.create_features(path, n_rows, attributes(), chunk_rows=chunk_rows)
    for first in range(0, n_rows, chunk_rows):
        frame = customers(min(chunk_rows, n_rows - first), first)
        assert store.write_chunk(frame, made.path, chunk_rows, n_rows) == len(frame)
    return store.open_features(path)


def rows_of(blocks):
    return np.concatenate(passes.emit(blocks, values_of))


def values_of(rows):
    return rows.values


def frame_of(frame):
    return frame


def test_store__round_trip(tmp_path):
    opened = written(tmp_path / "features.zarr", 600)
    expected = customers(600)
    assert opened.names == tuple(NAMES)
    assert (opened.n_rows, opened.chunk_rows) == (600, 256)
    blocks = opened.blocks()
    assert blocks.lengths == (256, 256, 88)
    assert blocks.columns == tuple(NAMES)
    np.testing.assert_array_equal(rows_of(blocks), expected[NAMES].to_numpy())
    ids = store.read_ids(opened.path, 250, 600)
    assert ids.dtype == object
    assert ids.tolist() == expected["customer_id"].tolist()[250:]


def test_store__blocks_of_named_columns(tmp_path):
    opened = written(tmp_path / "features.zarr", 300)
    blocks = opened.blocks(("spend_net", "recency_days"))
    assert (blocks.n_features, blocks.columns) == (2, ("spend_net", "recency_days"))
    expected = customers(300)[["spend_net", "recency_days"]].to_numpy()
    np.testing.assert_array_equal(rows_of(blocks), expected)


def test_store__keeps_its_attributes(tmp_path):
    opened = written(tmp_path / "features.zarr", 10)
    assert opened.attributes == {**attributes(), "format_version": store.FORMAT_VERSION}


def test_store__is_written_with_blosc_lz4(tmp_path):
    opened = written(tmp_path / "features.zarr", 10)
    for name in ("values", "customer_id"):
        metadata = json.loads((tmp_path / "features.zarr" / name / "zarr.json").read_text())
        last = metadata["codecs"][-1]
        assert (last["name"], last["configuration"]["cname"]) == ("blosc", "lz4")
    assert zarr.open_array(f"{opened.path}/values").chunks == (256, 3)


@pytest.mark.parametrize(("n_rows", "height"), [(1, 256), (257, 512), (3_000_000, 698_880)])
def test_create_features__chooses_multiples_of_256(tmp_path, n_rows, height):
    made = store.create_features(tmp_path / "features.zarr", n_rows, attributes())
    assert made.chunk_rows % 256 == 0
    assert made.chunk_rows == height
    assert made.n_rows == n_rows


def test_create_features__refuses_odd_chunks_and_missing_attributes(tmp_path):
    with pytest.raises(ValueError, match="chunk_rows=300 is not a multiple of 256"):
        store.create_features(tmp_path / "features.zarr", 10, attributes(), chunk_rows=300)
    partial = {key: value for key, value in attributes().items() if key != "fingerprint"}
    with pytest.raises(ValueError, match=r"needs the attributes \['fingerprint'\]"):
        store.create_features(tmp_path / "features.zarr", 10, partial)
    assert not (tmp_path / "features.zarr").exists()


@pytest.mark.parametrize(
    ("first", "n_rows"),
    [(0, 255), (0, 257), (1, 256), (128, 256), (512, 87), (256, 344)],
)
def test_write_chunk__refuses_what_is_not_one_chunk(tmp_path, first, n_rows):
    made = store.create_features(tmp_path / "features.zarr", 600, attributes(), chunk_rows=256)
    with pytest.raises(ValueError, match="not one chunk of 256 rows of 600"):
        store.write_chunk(customers(n_rows, first), made.path, 256, 600)
    assert np.isnan(rows_of(store.open_features(made.path).blocks())).all()


def test_write_chunk__refuses_rows_with_a_gap(tmp_path):
    made = store.create_features(tmp_path / "features.zarr", 512, attributes(), chunk_rows=256)
    frame = pd.concat([customers(100), customers(156, 356)])
    with pytest.raises(ValueError, match="rows 0 to 512 are not one chunk"):
        store.write_chunk(frame, made.path, 256, 512)


def test_write_chunk__an_empty_block_writes_nothing(tmp_path):
    made = store.create_features(tmp_path / "features.zarr", 512, attributes(), chunk_rows=256)
    assert store.write_chunk(customers(0), made.path, 256, 512) == 0


def test_write_chunk__misaligned_writers_would_lose_rows(tmp_path):
    """Two writers that share a chunk: each reads it, changes its own rows, writes it back."""
    plain = zarr.create_array(
        str(tmp_path / "plain.zarr"), shape=(256,), chunks=(256,), dtype="f8", fill_value=0.0
    )
    # What two parallel tasks do, one step after the other: both read before either writes.
    first, second = plain[:], plain[:]
    first[:128], second[128:] = 1.0, 1.0
    plain[:] = first
    plain[:] = second
    assert plain[:].sum() == 128  # half of the rows are gone, and nothing was said
    made = store.create_features(tmp_path / "features.zarr", 256, attributes(), chunk_rows=256)
    halves = FrameBlocks(tuple(Load(customers, (128, start)) for start in (0, 128)), (1_000, 1_000))
    with pytest.raises(ValueError, match="can lose its neighbour's rows"):
        passes.emit(halves, store.write_chunk, made.path, 256, 256)


def test_write_chunk__parallel_aligned_writers_keep_every_row(tmp_path, scheduler):
    made = store.create_features(tmp_path / "features.zarr", 2_000, attributes(), chunk_rows=256)
    starts = range(0, 2_000, 256)
    frames = FrameBlocks(
        tuple(Load(customers, (min(256, 2_000 - start), start)) for start in starts),
        (1,) * len(starts),
    )
    n_written = passes.emit(frames, store.write_chunk, made.path, 256, 2_000)
    assert sum(n_written) == 2_000
    expected = customers(2_000)
    np.testing.assert_array_equal(rows_of(made.blocks()), expected[NAMES].to_numpy())
    assert store.read_ids(made.path, 0, 2_000).tolist() == expected["customer_id"].tolist()


def test_open_features__refuses_another_format_version(tmp_path):
    written(tmp_path / "features.zarr", 10)
    zarr.open_group(str(tmp_path / "features.zarr"), mode="r+").attrs["format_version"] = 99
    with pytest.raises(ArtifactError, match="has format_version 99, this release reads 1"):
        store.open_features(tmp_path / "features.zarr")


def test_open_features__refuses_what_is_no_store(tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "file.csv").write_text("a,b\n")
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "zarr.json").write_text("{")
    for name in ("absent", "folder", "file.csv", "broken"):
        with pytest.raises(ArtifactError, match=f"{name} cannot be read as a Zarr store"):
            store.open_features(tmp_path / name)
    zarr.create_group(str(tmp_path / "group"))
    zarr.create_array(str(tmp_path / "array"), shape=(3, 2), chunks=(2, 2), dtype="f8")
    for name in ("group", "array"):
        with pytest.raises(ArtifactError, match=f"{name} is not a daskseg feature store"):
            store.open_features(tmp_path / name)


def test_open_features__refuses_missing_arrays_and_wrong_shapes(tmp_path):
    path = tmp_path / "features.zarr"
    written(path, 10)
    zarr.open_group(str(path), mode="r+").attrs["names"] = ["one"]
    with pytest.raises(ArtifactError, match=r"shape \(10, 3\), but there are 10 .* and 1 feature"):
        store.open_features(path)
    group = zarr.open_group(str(path), mode="r+")
    group.attrs["names"] = NAMES
    del group["customer_id"]
    with pytest.raises(ArtifactError, match="has no array customer_id"):
        store.open_features(path)
    group.create_group("customer_id")
    with pytest.raises(ArtifactError, match="customer_id is a group, not an array"):
        store.open_features(path)


@pytest.mark.parametrize("dtype", ["float32", "float64", "int16", "bool"])
def test_open_blocks__takes_bare_arrays(tmp_path, dtype):
    values = (np.arange(70).reshape(35, 2) % 3).astype(dtype)
    array = zarr.create_array(str(tmp_path / "a.zarr"), shape=(35, 2), chunks=(10, 1), dtype=dtype)
    array[:] = values
    blocks = store.open_blocks(tmp_path / "a.zarr")
    assert (blocks.lengths, blocks.columns) == ((10, 10, 10, 5), None)
    assert blocks.dtype == np.dtype(dtype)
    np.testing.assert_array_equal(rows_of(blocks), values)
    assert store.is_zarr(tmp_path / "a.zarr")
    assert not store.is_feature_store(tmp_path / "a.zarr")


def test_open_blocks__reads_whole_shards(tmp_path):
    array = zarr.create_array(
        str(tmp_path / "a.zarr"), shape=(35, 2), chunks=(5, 2), shards=(20, 2), dtype="f8"
    )
    array[:] = np.arange(70).reshape(35, 2)
    blocks = store.open_blocks(tmp_path / "a.zarr")
    assert blocks.lengths == (20, 15)
    np.testing.assert_array_equal(rows_of(blocks), np.arange(70).reshape(35, 2))


def test_open_blocks__takes_a_feature_store(tmp_path):
    written(tmp_path / "features.zarr", 300)
    assert store.is_zarr(tmp_path / "features.zarr")
    assert store.is_feature_store(tmp_path / "features.zarr")
    assert store.open_blocks(tmp_path / "features.zarr").columns == tuple(NAMES)
    assert not store.is_zarr(tmp_path)


@pytest.mark.parametrize(
    ("shape", "dtype", "words"),
    [
        ((5,), "f8", "two-dimensional array of numbers"),
        ((5, 2, 2), "f8", "two-dimensional array of numbers"),
        ((5, 2), "complex128", "two-dimensional array of numbers"),
        ((0, 2), "f8", "the array is empty"),
    ],
)
def test_open_blocks__refuses_what_is_no_table(tmp_path, shape, dtype, words):
    chunks = tuple(max(1, n) for n in shape)
    zarr.create_array(str(tmp_path / "a.zarr"), shape=shape, chunks=chunks, dtype=dtype)
    with pytest.raises(InputError, match=words):
        store.open_blocks(tmp_path / "a.zarr")


def test_open_blocks__sees_a_store_that_was_written_anew(tmp_path):
    for value in (1.0, 2.0):
        array = zarr.create_array(
            str(tmp_path / "a.zarr"), shape=(3, 1), chunks=(3, 1), dtype="f8", overwrite=True
        )
        array[:] = value
        assert rows_of(store.open_blocks(tmp_path / "a.zarr")).tolist() == [[value]] * 3


def test_read_frame__with_stored_ids_and_with_row_numbers(tmp_path):
    opened = written(tmp_path / "features.zarr", 300)
    blocks = opened.blocks()
    frame = store.read_frame(blocks.loads[1], 256, opened.names, "client", opened.path)
    expected = customers(44, 256)
    assert list(frame.columns) == ["client", *NAMES]
    assert frame["client"].tolist() == expected["customer_id"].tolist()
    np.testing.assert_array_equal(frame[NAMES].to_numpy(), expected[NAMES].to_numpy())
    numbered = store.read_frame(blocks.loads[1], 256, opened.names, "client", None)
    assert numbered["client"].tolist() == [str(row) for row in range(256, 300)]
    assert numbered["client"].dtype == frame["client"].dtype
