"""Readers: every way to name files, text that stays text, and errors that name the file."""

from __future__ import annotations

import bz2
import gzip
import lzma
import os
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from daskseg.errors import InputError, UsageError
from daskseg.sources import plan
from daskseg.sources.files import find_files
from daskseg.sources.parse import read_piece
from daskseg.sources.readers import open_blocks, open_frames

CSV = "id,name,amount\n007,NA,2.50\n8,,1\n"
ROWS = {"id": ["007", "8"], "name": ["NA", None], "amount": ["2.50", "1"]}


def write(path: Path, content: str | bytes) -> Path:
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def rows(source, **options) -> dict[str, list]:
    frame = open_frames(source, **options).compute()
    return frame.astype(object).where(frame.notna(), None).to_dict("list")


def test_open_frames__text_stays_text_and_empty_is_missing(tmp_path):
    path = write(tmp_path / "a.csv", CSV)
    frame = open_frames(path)
    assert frame.dtypes.astype(str).tolist() == ["str"] * 3
    assert rows(path) == rows(str(path)) == ROWS


@pytest.mark.parametrize(
    ("name", "pack"),
    [
        ("a.csv.gz", gzip.compress),
        ("a.csv.bz2", bz2.compress),
        ("a.csv.xz", lzma.compress),
        ("a.CSV.ZST", lambda data: pa.compress(data, "zstd", asbytes=True)),
        ("a.txt", bytes),
        ("a.csv", lambda data: b"\xef\xbb\xbf" + data),
        ("a.csv", lambda data: data.replace(b"\n", b"\r\n")),
        ("a.csv", lambda data: data.rstrip(b"\n")),
        ("a.csv", lambda data: data.replace(b"\n", b"\n\n")),
        ("a.tsv", lambda data: data.replace(b",", b"\t")),
    ],
)
def test_open_frames__csv_in_every_wrapping(tmp_path, name, pack):
    assert rows(write(tmp_path / name, pack(CSV.encode()))) == ROWS


@pytest.mark.parametrize("encoding", ["latin-1", "utf-16", "cp1252"])
def test_open_frames__encodings(tmp_path, encoding):
    path = write(tmp_path / "a.csv", "id,name\n1,Zoë\n".encode(encoding))
    assert rows(path, encoding=encoding) == {"id": ["1"], "name": ["Zoë"]}


def test_open_frames__quoted_fields_and_delimiters(tmp_path):
    path = write(tmp_path / "a.csv", 'id;note\n1;"a;b\nc"\n2;"say ""hi"""\n3;5" nail\n')
    assert rows(path, delimiter=";")["note"] == ["a;b\nc", 'say "hi"', '5" nail']


def test_open_frames__folders_globs_and_lists(tmp_path):
    folder = tmp_path / "days"
    (folder / "sub").mkdir(parents=True)
    write(folder / "1.csv", "id,name\n1,a\n")
    write(folder / "2.csv", "name,id\nb,2\n")
    write(folder / "sub" / "3.csv", "id,name\n3,c\n")
    write(folder / "_SUCCESS", "")
    write(folder / ".hidden.csv", "x\n")
    assert rows(folder)["id"] == ["1", "2", "3"]
    assert rows(folder / "*.csv") == {"id": ["1", "2"], "name": ["a", "b"]}
    assert rows([folder / "2.csv", folder / "1.csv", folder / "2.csv"])["id"] == ["2", "1"]
    assert sum(file.size for file in find_files(str(folder))) == 3 * len("id,name\n1,a\n")


def test_open_frames__ndjson_keeps_numbers_as_they_are_written(tmp_path):
    path = write(
        tmp_path / "a.jsonl",
        '{"id": 12345678901234567890, "amount": 1.10, "name": null}\n\n'
        '{"id": "007", "tags": ["a", 1], "paid": true}\n',
    )
    assert rows(path) == {
        "id": ["12345678901234567890", "007"],
        "amount": ["1.10", None],
        "name": [None, None],
        "tags": [None, '["a", "1"]'],
        "paid": [None, "true"],
    }
    zipped = write(tmp_path / "b.ndjson.gz", gzip.compress(path.read_bytes()))
    assert rows(zipped) == rows(path)


def test_open_frames__parquet_keeps_types_and_joins_row_groups(tmp_path):
    frame = pd.DataFrame({"id": np.arange(10.0), "day": pd.date_range("2026-01-01", periods=10)})
    frame.to_parquet(tmp_path / "a.parquet", row_group_size=3)
    found = open_frames(tmp_path / "a.parquet")
    assert found.npartitions == 1
    pd.testing.assert_frame_equal(found.compute(), frame)


def test_open_frames__parquet_files_may_differ_in_number_types(tmp_path):
    pd.DataFrame({"id": [1, 2]}).to_parquet(tmp_path / "a.parquet")
    pd.DataFrame({"id": [3.0, np.nan]}).to_parquet(tmp_path / "b.parquet")
    assert open_frames(tmp_path).compute()["id"].tolist()[:3] == [1.0, 2.0, 3.0]
    pd.DataFrame({"id": ["x"]}).to_parquet(tmp_path / "c.parquet")
    with pytest.raises(InputError, match="types of columns differ"):
        open_frames(tmp_path)


def test_open_frames__parquet_decimals_dates_and_categories(tmp_path):
    table = pa.table(
        {
            "price": pa.array(["2.55", None]).cast(pa.decimal128(9, 2)),
            "day": pa.array([0, 1], type=pa.date32()),
            "kind": pa.array(["a", "b"]).dictionary_encode(),
        }
    )
    pq.write_table(table, tmp_path / "a.parquet")
    frame = open_frames(tmp_path).compute()
    assert frame["price"].tolist()[0] == 2.55
    assert frame["day"].tolist()[1] == pd.Timestamp("1970-01-02")
    assert frame["kind"].tolist() == ["a", "b"]


@pytest.mark.parametrize("partitions", [1, 3, 7])
def test_open_frames__partitions_never_change_the_rows(tmp_path, partitions):
    text = "id\n" + "".join(f"{number}\n" for number in range(50))
    path = write(tmp_path / "a.csv", text)
    frame = open_frames(path, partitions=partitions)
    assert frame.npartitions == partitions
    assert frame.compute()["id"].tolist() == [str(number) for number in range(50)]
    blocks, columns = open_blocks(path, partitions=partitions)
    assert len(blocks.loads) == partitions
    assert columns == ("id",)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(st.text("ab é", max_size=30), min_size=1, max_size=40),
    st.integers(1, 200),
    st.sampled_from(["\n", "\r\n"]),
    st.booleans(),
)
def test_plan__cuts_of_large_files_lose_and_repeat_no_line(tmp_path, fields, block, end, closed):
    text = end.join(["id,note", *(f"{number},{field}" for number, field in enumerate(fields))])
    path = write(tmp_path / "a.csv", text + (end if closed else ""))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(plan, "BLOCK_BYTES", block)
        pieces = plan.plan_source(path, format=None, encoding="utf-8", delimiter=None).pieces
    found = pd.concat([read_piece(piece) for piece in pieces])
    assert found["id"].tolist() == [str(number) for number in range(len(fields))]
    assert found["note"].fillna("").tolist() == fields
    assert len(pieces) == -(-path.stat().st_size // block)


def test_plan__ndjson_is_cut_too(tmp_path, monkeypatch):
    text = "".join(f'{{"id": {number}}}\n' for number in range(100))
    monkeypatch.setattr(plan, "BLOCK_BYTES", 64)
    assert rows(write(tmp_path / "a.jsonl", text))["id"] == [str(n) for n in range(100)]


def test_plan__small_files_share_a_piece(tmp_path):
    for number in range(50):
        write(tmp_path / f"{number:02}.csv", f"id\n{number}\n")
    frame = open_frames(tmp_path)
    assert frame.npartitions == 1
    assert frame.compute()["id"].tolist() == [str(number) for number in range(50)]


def test_plan__a_quoted_line_break_across_a_cut_is_refused(tmp_path, monkeypatch):
    path = write(tmp_path / "a.csv", 'id,note\n1,"' + "x\n" * 50 + '"\n2,b\n')
    assert len(rows(path)["id"]) == 2
    monkeypatch.setattr(plan, "BLOCK_BYTES", 64)
    with pytest.raises(InputError, match=r"crosses a cut of the large file '.*a\.csv'.*Parquet"):
        rows(path)


def refusal(error: type, message: str):
    return pytest.raises(error, match=message)


def test_open_frames__paths_that_are_not_there(tmp_path):
    with refusal(UsageError, "no file or folder '.*nowhere.csv'"):
        open_frames(tmp_path / "nowhere.csv")
    with refusal(UsageError, r"no file fits the pattern '.*\*.csv'"):
        open_frames(tmp_path / "*.csv")
    with refusal(UsageError, "holds no files"):
        open_frames(tmp_path)
    with refusal(UsageError, "empty list"):
        open_frames([])
    write(tmp_path / "a.csv", CSV)
    with refusal(UsageError, "partitions=0 must be at least 1"):
        open_frames(tmp_path, partitions=0)


def test_open_frames__formats_that_cannot_be_told(tmp_path):
    write(tmp_path / "a.csv", CSV)
    write(tmp_path / "b.parquet", b"PAR1")
    with refusal(UsageError, r"mixes formats: csv \('.*a.csv'\), parquet"):
        open_frames(tmp_path)
    with refusal(UsageError, "ending of '.*a.dat' does not tell"):
        open_frames(write(tmp_path / "a.dat", CSV))
    assert rows(tmp_path / "a.dat", format="csv") == ROWS
    with refusal(UsageError, "format='xlsx' is not known"):
        open_frames(tmp_path / "a.csv", format="xlsx")
    (tmp_path / "z.zarr").mkdir()
    write(tmp_path / "z.zarr" / "zarr.json", "{}")
    with refusal(UsageError, "is a Zarr store"):
        open_frames(tmp_path / "z.zarr")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "'.*a.csv' is empty"),
        (b"  \n\n", "'.*a.csv' is empty"),
        (b"PAR1....", "looks like a Parquet file: give --format parquet"),
        (gzip.compress(b"id\n1\n"), "looks like a gzip file: give it the ending .gz"),
        (b"PK\x03\x04xl", "looks like an Excel workbook or a zip archive"),
        (b"\xd0\xcf\x11\xe0", "looks like an old Excel workbook"),
        (b"id,b\n\0\1\2", "holds NUL bytes, the first at byte 5"),
        ("id\nx\n".encode("utf-16"), "is UTF-16 text: read it with --encoding utf-16"),
        (b"id,n\n1,Zo\xeb\n", r"is not utf-8 text \(byte b'\\xeb' at position 9\).*latin-1"),
        (b"id,id\n1,2\n", "has several columns named 'id'"),
        (b"id;n\n1;2\n", "holds ';': give --delimiter ';'"),
    ],
)
def test_open_frames__files_that_are_not_what_they_seem(tmp_path, content, message):
    with refusal(InputError, message):
        open_frames(write(tmp_path / "a.csv", content))


def test_open_frames__broken_containers(tmp_path):
    with refusal(InputError, "'.*a.csv.gz' cannot be read"):
        open_frames(write(tmp_path / "a.csv.gz", b"id\n1\n"))
    with refusal(InputError, "'.*a.parquet' is not Parquet"):
        open_frames(write(tmp_path / "a.parquet", CSV))
    with refusal(InputError, "'.*e.parquet' is empty"):
        open_frames(write(tmp_path / "e.parquet", b""))
    with refusal(UsageError, "encoding 'klingon' is not known"):
        open_frames(write(tmp_path / "a.csv", CSV), encoding="klingon")
    with refusal(InputError, "line 1 of '.*a.jsonl' is not JSON"):
        open_frames(write(tmp_path / "a.jsonl", "{id: 1}\n"))
    with refusal(InputError, "line 1 of '.*b.jsonl' is not a JSON object"):
        open_frames(write(tmp_path / "b.jsonl", "[1]\n"))


def test_open_frames__headers_that_differ(tmp_path):
    write(tmp_path / "1.csv", "id,amount\n1,2\n")
    write(tmp_path / "2.csv", "id,total\n1,2\n")
    with refusal(
        InputError, r"columns of '.*2.csv' differ from those of '.*1.csv': it lacks 'amount' and "
        "it adds 'total'"
    ):  # fmt: skip
        open_frames(tmp_path)
    pd.DataFrame({"id": [1]}).to_parquet(tmp_path / "1.parquet")
    pd.DataFrame({"key": [1]}).to_parquet(tmp_path / "2.parquet")
    with refusal(InputError, r"columns of '.*2.parquet' differ"):
        open_frames(tmp_path / "*.parquet")


def test_open_frames__a_file_with_a_header_only_is_an_empty_day(tmp_path):
    write(tmp_path / "1.csv", CSV)
    write(tmp_path / "2.csv", "id,name,amount\n")
    assert rows(tmp_path) == ROWS
    assert rows(tmp_path / "2.csv") == {"id": [], "name": [], "amount": []}


LONG = "id,n\n" + "1,ab\n" * (plan.HEAD_BYTES // 4)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (b"1,2,3\n", r"row 65,538 of the file '.*a.csv' has 3 fields, the header has 2: '1,2,3'"),
        (b"1\n", "row 65,538 of the file '.*a.csv' has 1 fields, the header has 2"),
        (b"1,\xff\n", r"'.*a.csv' is not utf-8 text \(byte b'\\xff' at position 327,687\)"),
    ],
)
def test_read_piece__errors_deep_in_a_file_name_it(tmp_path, line, message):
    path = write(tmp_path / "a.csv", LONG.encode() + line)
    frame = open_frames([path])
    with refusal(InputError, message):
        frame.compute()


def test_read_piece__ndjson_errors_deep_in_a_file(tmp_path):
    head = '{"id": 1}\n' * (plan.HEAD_BYTES // 8)
    for tail, message in (
        ("{oops}\n", "line 32,769 of '.*a.jsonl' is not JSON"),
        ("[1]\n", "line 32,769 of '.*a.jsonl' is not a JSON object"),
        ('{"new": 1}\n', "line 32,769 of '.*a.jsonl' has the key 'new'"),
    ):
        frame = open_frames(write(tmp_path / "a.jsonl", head + tail))
        with refusal(InputError, message):
            frame.compute()


def test_read_piece__a_file_cut_short_after_it_was_opened(tmp_path):
    frame = pd.DataFrame({"id": np.arange(1000)})
    path = tmp_path / "a.parquet"
    frame.to_parquet(path)
    opened = open_frames(path)
    write(path, path.read_bytes()[:500])
    with refusal(InputError, "'.*a.parquet' cannot be read"):
        opened.compute()
    zipped = tmp_path / "b.csv.gz"
    text = gzip.compress(("id\n" + "\n".join(os.urandom(8).hex() for _ in range(40000))).encode())
    opened = open_frames(write(zipped, text))
    write(zipped, text[: len(text) // 2])
    with refusal(InputError, "b.csv.gz"):
        opened.compute()


def test_open_frames__urls_of_other_file_systems():
    fsspec = pytest.importorskip("fsspec")
    with fsspec.open("memory://shop/a.csv", "w") as stream:
        stream.write(CSV)
    assert rows("memory://shop/a.csv") == ROWS
    assert rows("memory://shop/*.csv") == ROWS
    assert rows("memory://shop") == ROWS
    fsspec.filesystem("memory").rm("/shop", recursive=True)


def test_open_frames__names_with_signs_of_globs(tmp_path):
    path = write(tmp_path / "day [1].csv", CSV)
    assert rows(path) == ROWS
