from __future__ import annotations

import dask.dataframe as dd
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from daskseg.engine import passes
from daskseg.engine.blocks import FrameBlocks
from daskseg.errors import InputError
from daskseg.features.tables import aligned_blocks, build_table, canonical_order, find_column


def frame_of(frame):
    return frame


def read(blocks):
    """Read all blocks into one frame, and the heights of the blocks."""
    frames = passes.emit(blocks, frame_of)
    return pd.concat(frames), [len(frame) for frame in frames]


def build(frame, scratch, id_column="id", block_rows=4, **options):
    scratch.mkdir(exist_ok=True)
    blocks = FrameBlocks.from_frame(frame, block_rows)
    return build_table(blocks, list(frame.columns), id_column, scratch, **options)


def customers(n_rows=30, seed=0):
    generator = np.random.default_rng(seed)
    frame = pd.DataFrame({
        "visits": generator.integers(0, 50, n_rows),
        "id": [f"K{number:03}" for number in generator.permutation(n_rows)],
        "spend": generator.normal(100, 40, n_rows).round(2),
        "bucket": generator.normal(size=n_rows),
    })  # fmt: skip
    frame.loc[[2, 7], "spend"] = np.nan
    return frame


def naive_table(frame):
    ids = frame["id"].to_numpy(dtype=object)
    hashes = pd.util.hash_array(ids, categorize=False)
    order = sorted(range(len(ids)), key=lambda row: (hashes[row], ids[row]))
    table = frame.iloc[order].reset_index(drop=True).rename(columns={"id": "customer_id"})
    columns = ["customer_id", *(name for name in frame if name != "id")]
    return table[columns].astype(dict.fromkeys(columns[1:], "float64"))


# ── canonical order ──────────────────────────────────────────────────────────


def test_build_table__is_in_canonical_order(tmp_path):
    frame = customers()
    table = build(frame, tmp_path)
    assert table.names == ("visits", "spend", "bucket")
    assert table.n_rows == 30
    assert table.missing == {"visits": 0, "spend": 2, "bucket": 0}
    found, heights = read(table.aligned(12))
    assert heights == [12, 12, 6]
    pd.testing.assert_frame_equal(found, naive_table(frame), check_index_type=False)
    assert found.index.tolist() == list(range(30))


@pytest.mark.parametrize(("block_rows", "n_buckets"), [(1, 1), (7, 3), (100, 8), (3, 64)])
def test_build_table__does_not_depend_on_rows_blocks_and_buckets(tmp_path, block_rows, n_buckets):
    frame = customers()
    expected = build(frame, tmp_path / "one")
    shuffled = frame.sample(frac=1, random_state=block_rows)
    table = build(shuffled, tmp_path / "two", block_rows=block_rows, n_buckets=n_buckets)
    assert (table.names, table.missing) == (expected.names, expected.missing)
    assert table.fingerprint == expected.fingerprint
    assert len(table.paths) == n_buckets
    found, _ = read(table.aligned(7))
    pd.testing.assert_frame_equal(found, naive_table(frame), check_index_type=False)


def test_build_table__fingerprint_tells_tables_apart(tmp_path):
    frame = customers()
    prints = {build(frame, tmp_path).fingerprint}
    for change in ({"spend": frame["spend"] + 1e-9}, {"id": [f"L{n}" for n in range(30)]}):
        prints.add(build(frame.assign(**change), tmp_path).fingerprint)
    swapped = frame.rename(columns={"visits": "bucket", "bucket": "visits"})
    prints.add(build(swapped, tmp_path).fingerprint)
    prints.add(build(frame.iloc[1:], tmp_path).fingerprint)
    assert len(prints) == 5


def test_build_table__same_table_from_texts_numbers_and_categories(tmp_path):
    """A CSV brings text, Parquet brings numbers: the same table."""
    typed = customers()
    texts = typed.astype("str").replace("nan", "")
    texts["visits"] = " " + texts["visits"]
    coded = typed.astype({"id": "category", "visits": "category"})
    tables = [build(frame, tmp_path) for frame in (typed, texts, coded)]
    assert len({table.fingerprint for table in tables}) == 1
    for table in tables:
        pd.testing.assert_frame_equal(
            read(table.aligned(256))[0], naive_table(typed), check_index_type=False
        )


def test_build_table__takes_dask_frames_with_empty_partitions(tmp_path, scheduler):
    frame = customers()
    lazy = dd.from_pandas(frame, npartitions=3)
    lazy = dd.concat([lazy[lazy["visits"] < 0], lazy])
    blocks = FrameBlocks.from_dask(lazy)
    table = build_table(blocks, list(frame.columns), "id", tmp_path, n_buckets=2)
    found, _ = read(table.aligned(256))
    pd.testing.assert_frame_equal(found, naive_table(frame), check_index_type=False)


def test_build_table__numeric_ids_are_text(tmp_path):
    frame = pd.DataFrame({"id": [17850.0, 13047.0, 12583.0], "x": [1, 2, 3]})
    found, _ = read(build(frame, tmp_path).aligned(256))
    assert sorted(found["customer_id"]) == ["12583", "13047", "17850"]
    assert pd.api.types.is_string_dtype(found["customer_id"].dtype)
    padded = pd.DataFrame({"id": ["007", "7", " 8 "], "x": [1, 2, 3]})
    found, _ = read(build(padded, tmp_path).aligned(256))
    assert sorted(found["customer_id"]) == ["007", "7", "8"]


def test_canonical_order__by_hash_then_id():
    ids = np.array(["b", "a", "c", "a"], dtype=object)
    hashes = pd.util.hash_array(ids, categorize=False)
    order = canonical_order(ids)
    assert order.tolist() == sorted(range(4), key=lambda row: (hashes[row], ids[row]))


# ── which columns are features ───────────────────────────────────────────────


def test_build_table__leaves_text_columns_out(tmp_path):
    frame = customers().assign(
        country=["UK", "FR", "DE"] * 10,
        joined=pd.date_range("2024-01-01", periods=30),
        member=[True, False] * 15,
    )
    table = build(frame, tmp_path)
    assert table.left_out == ("country", "joined")
    assert table.names == ("visits", "spend", "bucket", "member")
    found, _ = read(table.aligned(256))
    assert sorted(found["member"].unique()) == [0.0, 1.0]


def test_build_table__takes_the_wanted_columns_only(tmp_path):
    frame = customers().assign(country="UK", broken=["1", "x", "2"] * 10)
    table = build(frame, tmp_path, wanted=("spend", "visits"))
    assert table.names == ("spend", "visits")
    assert list(read(table.aligned(256))[0].columns) == ["customer_id", "spend", "visits"]
    empty = frame.assign(spend=np.nan)
    assert build(empty, tmp_path, wanted=("spend",)).missing == {"spend": 30}


def test_build_table__refuses_numbers_with_slips(tmp_path):
    frame = customers().astype({"spend": "str"})
    frame.loc[[1, 2, 3], "spend"] = ["1.234,50", "12 EUR", "inf"]
    # Row 2 was missing before: 29 of 30 values stand there, row 7 is missing.
    with pytest.raises(InputError, match=r"3 of 29 values of the column 'spend' .* '1\.234,50'"):
        build(frame, tmp_path)


def test_build_table__refuses_text_where_numbers_must_be(tmp_path):
    frame = customers().assign(country="UK")
    for options in ({"numeric": ["country"]}, {"wanted": ["country"]}):
        with pytest.raises(InputError, match="30 of 30 values of the column 'country'"):
            build(frame, tmp_path, **options)


def test_build_table__refuses_columns_without_any_value(tmp_path):
    with pytest.raises(InputError, match="column 'spend' is empty throughout"):
        build(customers().assign(spend=None), tmp_path)


def test_build_table__refuses_tables_without_numbers(tmp_path):
    frame = pd.DataFrame({"id": ["a", "b"], "country": ["UK", "FR"]})
    with pytest.raises(InputError, match=r"none of the columns \['country'\] is numeric"):
        build(frame, tmp_path)


def test_build_table__refuses_a_second_column_of_ids(tmp_path):
    frame = customers().assign(customer_id=np.arange(30))
    with pytest.raises(InputError, match="numeric column 'customer_id' besides the id column 'id'"):
        build(frame, tmp_path)
    # As text it is no feature, and as the id it is the id.
    assert build(frame.assign(customer_id="a"), tmp_path).left_out == ("customer_id",)
    named = customers().rename(columns={"id": "customer_id"})
    assert build(named, tmp_path, "customer_id").n_rows == 30


# ── ids ──────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("n_buckets", [1, 5])
def test_build_table__refuses_repeated_ids(tmp_path, n_buckets):
    frame = customers()
    frame.loc[[3, 11, 20], "id"] = ["K900", "K900", "K900"]
    frame.loc[[5, 29], "id"] = "K100"
    with pytest.raises(
        InputError, match=r"column 'id' repeats ids: 3 of .* e\.g\. 'K100'.*daskseg rfm"
    ):
        build(frame, tmp_path, n_buckets=n_buckets)


def test_build_table__refuses_missing_ids(tmp_path):
    frame = customers()
    frame.loc[[0, 1, 2, 3], "id"] = None
    with pytest.raises(InputError, match="4 of 30 rows have no id in the column 'id'"):
        build(frame, tmp_path)
    with pytest.raises(InputError, match="all 30 rows have no id"):
        build(frame.assign(id=" "), tmp_path)


def test_build_table__refuses_ids_that_lost_digits(tmp_path):
    frame = customers()
    frame.loc[4, "id"] = "1.23E+15"
    with pytest.raises(
        InputError, match=r"1 of 30 ids of the column 'id' lost digits .*'1\.23E\+15'"
    ):
        build(frame, tmp_path)


def test_build_table__booleans_are_numbers_in_every_format(tmp_path):
    truth = np.arange(30) % 3 == 0
    written = {
        "bool": truth,
        "text": [str(value) for value in truth],
        "lower": [str(value).lower() for value in truth],
    }
    for name, values in written.items():
        frame = customers().assign(member=values)
        table = build(frame, tmp_path / name)
        assert table.left_out == ()
        found = pd.concat(map(pd.read_parquet, table.paths))["member"]
        expected = naive_table(frame.assign(member=truth.astype(float)))["member"]
        np.testing.assert_array_equal(found, expected)


def test_build_table__refuses_tables_without_rows(tmp_path):
    with pytest.raises(InputError, match="headers but no rows"):
        build(customers().iloc[:0], tmp_path)


def test_build_table__names_the_nearest_id_column(tmp_path):
    with pytest.raises(InputError, match=r"--id 'idd': .*'visits', 'id'.* Did you mean --id 'id'"):
        build(customers(), tmp_path, "idd")
    assert build(customers(), tmp_path, "ID").n_rows == 30


def test_find_column__by_hand():
    headers = ["Client", "CLIENT", "Spend"]
    assert find_column(headers, "Client", "--id") == "Client"
    assert find_column(headers, "spend", "--value") == "Spend"
    with pytest.raises(InputError, match="--id 'client': the table has the columns"):
        find_column(headers, "client", "--id")
    with pytest.raises(InputError, match=r"columns 'Client', 'CLIENT', 'Spend'\. If none"):
        find_column(headers, "xyz", "--id")
    with pytest.raises(InputError, match=r"'Spend'\.$"):
        find_column(headers, "xyz", "--value")
    with pytest.raises(InputError, match="one at a time: --passive 'Client' --passive 'Spend'"):
        find_column(headers, "Client, Spend", "--passive")


# ── aligned blocks ───────────────────────────────────────────────────────────


@given(st.lists(st.integers(0, 9), max_size=6), st.integers(1, 11))
def test_aligned_blocks__equal_naive_slices(tmp_path_factory, lengths, chunk_rows):
    folder = tmp_path_factory.mktemp("pieces")
    whole = pd.DataFrame({"row": np.arange(sum(lengths), dtype=float)})
    paths, first = [], 0
    for number, length in enumerate(lengths):
        path = folder / f"{number}.parquet"
        part = pa.Table.from_pandas(whole.iloc[first : first + length], preserve_index=False)
        pq.write_table(part, path)
        paths.append(str(path))
        first += length
    blocks = aligned_blocks(paths, lengths, chunk_rows)
    frames = [task.load.func(*task.load.args) for task in blocks.tasks()]
    expected = [whole.iloc[at : at + chunk_rows] for at in range(0, len(whole), chunk_rows)]
    assert len(frames) == len(expected)
    for frame, naive in zip(frames, expected, strict=True):
        pd.testing.assert_frame_equal(frame, naive, check_index_type=False)
        assert frame.index.tolist() == naive.index.tolist()


def test_aligned_blocks__opens_only_the_files_it_needs():
    blocks = aligned_blocks(["a", "b", "c"], [4, 4, 4], 4, row_bytes=10)
    assert [[piece.path for piece in load.args[0]] for load in blocks.loads] == [
        ["a"],
        ["b"],
        ["c"],
    ]
    assert blocks.sizes_bytes == (40, 40, 40)
