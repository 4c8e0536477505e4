from __future__ import annotations

import datetime as dt

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from daskseg.engine.blocks import FrameBlocks
from daskseg.errors import SchemaMismatchError
from daskseg.features.tables import build_table
from daskseg.segments.membership import membership_schema, membership_table, write_membership
from tests.segment_models import ACTIVE, COLUMNS, rfm_customers, rfm_model, table_model


def write(frame, folder, *, block_rows=10, n_buckets=1, chunk_rows=64, snapshot="2011-12-10"):
    """Build a table in canonical order and score it, as a study does."""
    folder.mkdir()
    frame = frame.rename(columns={"customer_id": "id"})
    table = build_table(
        FrameBlocks.from_frame(frame, block_rows),
        list(frame.columns),
        "id",
        folder,
        n_buckets=n_buckets,
    )
    path = folder / "segments.parquet"
    counts = write_membership(table.aligned(chunk_rows), rfm_model(), snapshot, path, folder)
    return path, counts


def test_membership_schema__is_the_published_one():
    assert membership_schema(table_model()).names == COLUMNS
    schema = membership_schema(rfm_model())
    assert schema.names == [*COLUMNS, "rfm_code", "rfm_name"]
    kinds = {
        "confidence": pa.float64(),
        "distance": pa.float64(),
        "is_outlier": pa.bool_(),
        "snapshot_date": pa.date32(),
    }
    for field in schema:
        assert field.type == kinds.get(field.name, pa.string())


def test_membership_table__has_the_scores_and_the_identity_of_the_model():
    frame, model = rfm_customers(40), rfm_model()
    table = membership_table(frame, model, "2012-01-31")
    assert table.schema == membership_schema(model)
    scored = model.score({name: frame[name].to_numpy() for name in ACTIVE})
    for name, values in scored.items():
        assert table[name].to_pylist() == values.tolist()
    assert table["customer_id"].to_pylist() == frame["customer_id"].tolist()
    constants = {
        "model_name": "shop",
        "model_version": "1",
        "snapshot_date": dt.date(2012, 1, 31),
        "run_id": "00ff00ff00ff00ff",
    }
    for name, value in constants.items():
        assert set(table[name].to_pylist()) == {value}


def test_membership_table__without_snapshot_and_scheme():
    frame = pd.DataFrame({
        "customer_id": ["a", "b"],
        "note": ["x", None],
        "spend": [75.0, 20.0],
        "visits": [7.0, np.nan],
    })  # fmt: skip
    table = membership_table(frame, table_model(), None)
    assert table.column_names == COLUMNS
    assert table["segment_id"].to_pylist() == ["S1", "S2"]
    assert table["snapshot_date"].to_pylist() == [None, None]


def test_membership_table__takes_no_rows():
    table = membership_table(rfm_customers(3).iloc[:0], rfm_model(), "2012-01-31")
    assert (table.num_rows, table.schema) == (0, membership_schema(rfm_model()))


def test_write_membership__one_row_per_customer_in_canonical_order(tmp_path):
    frame = rfm_customers(200)
    path, counts = write(frame, tmp_path / "out")
    found = pq.read_table(path)
    assert found.schema.remove_metadata() == membership_schema(rfm_model())
    ids = found["customer_id"].to_pylist()
    hashes = pd.util.hash_array(np.array(ids, dtype=object), categorize=False)
    assert sorted(ids) == sorted(frame["customer_id"])
    assert (np.diff(hashes.astype(object)) > 0).all()
    expected = membership_table(frame, rfm_model(), "2011-12-10").to_pandas()
    expected = expected.set_index("customer_id").loc[ids].reset_index()
    pd.testing.assert_frame_equal(found.to_pandas(), expected)
    assert counts == {name: int((expected["segment_id"] == name).sum()) for name in counts}
    assert sum(counts.values()) == 200


def test_write_membership__one_row_group_per_chunk(tmp_path):
    path, _ = write(rfm_customers(200), tmp_path / "out", chunk_rows=64)
    metadata = pq.ParquetFile(path).metadata
    groups = [metadata.row_group(group).num_rows for group in range(metadata.num_row_groups)]
    assert groups == [64, 64, 64, 8]


@pytest.mark.parametrize(("block_rows", "n_buckets"), [(7, 3), (200, 1), (50, 16)])
def test_write_membership__same_bytes_for_any_partitions(tmp_path, block_rows, n_buckets):
    frame = rfm_customers(200)
    expected, _ = write(frame, tmp_path / "one")
    shuffled = frame.sample(frac=1, random_state=n_buckets)
    found, _ = write(shuffled, tmp_path / "two", block_rows=block_rows, n_buckets=n_buckets)
    assert found.read_bytes() == expected.read_bytes()


def test_write_membership__same_bytes_for_every_scheduler(tmp_path, scheduler):
    found, _ = write(rfm_customers(150), tmp_path / "one", n_buckets=2)
    again, _ = write(rfm_customers(150), tmp_path / "two")
    assert found.read_bytes() == again.read_bytes()


def test_write_membership__counts_segments_without_customers(tmp_path):
    frame = pd.DataFrame({"customer_id": ["a"], "visits": [7.0], "spend": [75.0]})
    counts = write_membership(
        FrameBlocks.from_frame(frame), table_model(), None, tmp_path / "s.parquet", tmp_path
    )
    assert counts == {"S1": 1, "S2": 0}


def test_write_membership__refuses_customers_without_the_features(tmp_path):
    frame = pd.DataFrame({"customer_id": ["a"], "visits": [7.0]})
    with pytest.raises(SchemaMismatchError, match=r"\['spend'\] are not among the columns"):
        write_membership(
            FrameBlocks.from_frame(frame), table_model(), None, tmp_path / "s.parquet", tmp_path
        )
    assert list(tmp_path.iterdir()) == []
