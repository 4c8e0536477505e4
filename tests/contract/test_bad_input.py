"""What happens to bad input: the exit code, one message that helps, and nothing left behind."""

from __future__ import annotations

import gzip
import io
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import zarr

from daskseg.cli import main

Maker = Callable[[Path, Path], Any]
Files = dict[str, "str | bytes | pd.DataFrame | Maker"]

N_LINES = 60
HEADERS = "CustomerID,InvoiceNo,InvoiceDate,Quantity,UnitPrice,StockCode"
SNAPSHOT = " --snapshot 2026-01-01"
RFM = "rfm ledger.csv --out out --k 2" + SNAPSHOT
RFM_AUTO = "rfm ledger.csv --out out" + SNAPSHOT
SEGMENT = "segment t.csv --id user --out out --k 2"
ZARR = "segment z.zarr --id id --out out --k 2"
RUN = "run study.yaml --out out"
ASSIGN = "assign model ledger.csv --out a.parquet" + SNAPSHOT
SCORE = "assign model t.csv --out a.parquet"
INSPECT = "inspect model"


# ── files ─────────────────────────────────────────────────────────────────────


def ledger(**columns: Any) -> pd.DataFrame:
    """Return 60 lines of 20 customers; a dict of row to value changes single values."""
    number = np.arange(N_LINES)
    frame = pd.DataFrame({
        "CustomerID": [f"{n % 20:05d}" for n in number],
        "InvoiceNo": [str(1000 + n) for n in number],
        "InvoiceDate": [f"2025-{1 + n % 12:02d}-{1 + n % 27:02d}" for n in number],
        "Quantity": [str(1 + n % 4) for n in number],
        "UnitPrice": [f"{1 + n % 7}.{n % 10}5" for n in number],
        "StockCode": [f"P{n % 3}" for n in number],
    })  # fmt: skip
    return changed(frame, columns)


def users(n: int = 40, **columns: Any) -> pd.DataFrame:
    """Return a table of 40 customers of two kinds."""
    number = np.arange(n)
    frame = pd.DataFrame({
        "user": [f"u{k:03d}" for k in number],
        "visits": 3 + number % 5 + 30 * (number % 2),
        "minutes": 1.5 + number % 7 + 0.25 * (number % 3),
        "age": 20 + number % 31,
    })  # fmt: skip
    return changed(frame, columns)


def changed(frame: pd.DataFrame, columns: dict[str, Any]) -> pd.DataFrame:
    for name, values in columns.items():
        if isinstance(values, dict):
            column = frame[name].astype(object)
            for row, value in values.items():
                column[row] = value
            frame[name] = column
        else:
            frame[name] = values
    return frame


def as_csv(frame: pd.DataFrame) -> str:
    return frame.to_csv(index=False)


def as_parquet(frame: pd.DataFrame) -> bytes:
    stream = io.BytesIO()
    frame.to_parquet(stream)
    return stream.getvalue()


def same_lines(n_customers: int, n_kinds: int) -> str:
    """Return a ledger whose customers are of so many kinds, alike within a kind."""
    lines = [f"{n},{n},2025-01-{1 + n % n_kinds:02d},1,2.5,P" for n in range(n_customers)]
    return "\n".join([HEADERS, *lines])


def array(values: Any) -> Maker:
    return lambda path, _: zarr.create_array(str(path), data=np.asarray(values))


def text_array(path: Path, _: Path) -> None:
    zarr.create_array(str(path), shape=(2, 2), dtype=str)[:] = np.array([["a", "b"]] * 2, object)


def group(attributes: dict[str, Any], **arrays: Any) -> Maker:
    def make(path: Path, _: Path) -> None:
        made = zarr.create_group(str(path), attributes=attributes)
        for name, values in arrays.items():
            made.create_array(name, data=np.asarray(values))

    return make


def damaged_array(path: Path, _: Path) -> None:
    zarr.create_array(str(path), data=np.random.default_rng(0).random((40, 2)))
    for chunk in (path / "c").rglob("*"):
        if chunk.is_file():
            chunk.write_bytes(b"junk")


def folder(path: Path, _: Path) -> None:
    path.mkdir()


def model(kind: str, edit: Callable[[Path], Any] = lambda _: None, **manifest: Any) -> Maker:
    """Copy the model of a study and damage the copy."""

    def make(path: Path, studies: Path) -> None:
        shutil.copytree(studies / kind / "model", path)
        told = json.loads((path / "manifest.json").read_text()) | manifest
        (path / "manifest.json").write_text(json.dumps(told))
        edit(path)

    return make


def cut(name: str, keep: int) -> Callable[[Path], Any]:
    return lambda path: (path / name).write_bytes((path / name).read_bytes()[:keep])


def saved(name: str, values: Any) -> Callable[[Path], Any]:
    return lambda path: np.save(path / name, values, allow_pickle=True)


def study(path: Path, studies: Path) -> None:
    """Copy an earlier study."""
    shutil.copytree(studies / "rfm", path)


def make_files(files: Files, studies: Path) -> None:
    for name, content in files.items():
        path = Path(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, pd.DataFrame):
            content = as_csv(content)
        if isinstance(content, str):
            path.write_text(content, encoding="utf-8")
        elif isinstance(content, bytes):
            path.write_bytes(content)
        else:
            content(path, studies)


# ── cases: name, files, command, exit code, what the message must say ─────────

LEDGER: Files = {"ledger.csv": ledger()}
TABLE: Files = {"t.csv": users()}
BINARY = bytes(range(256)) * 4
GZIP = gzip.compress(as_csv(ledger()).encode())
LATIN = as_csv(ledger(StockCode="Café")).encode("latin-1")
RFM_MODEL: Files = {"model": model("rfm")}
TABLE_MODEL: Files = {"model": model("segment")}
RULES = '[[segments]]\nname = "A"\nrules = {}\n'


def yaml(text: str | bytes) -> Files:
    return {**LEDGER, **TABLE, "study.yaml": text}


def scheme(text: str | bytes) -> Files:
    return {**LEDGER, "s.toml": text}


CASES: list[tuple[str, Files, str, int, str]] = [
    # sources and their formats
    ("no file", {}, RFM, 2, "no file or folder 'ledger.csv'"),
    ("no file to check", {}, "check ledger.csv", 2, "no file or folder 'ledger.csv'"),
    ("empty folder", {"ledger.csv": folder}, RFM, 2, "folder 'ledger.csv' holds no files"),
    ("glob", {}, "rfm in/*.csv --out out", 2, r"no file fits the pattern 'in/\*\.csv'"),
    ("ending", {"a.dat": ledger()}, "rfm a.dat --out out", 2, "a.dat' does not tell.*--format"),
    ("empty", {"ledger.csv": ""}, RFM, 4, "ledger.csv' is empty"),
    ("blank", {"ledger.csv": "\n \n"}, RFM, 4, "ledger.csv' is empty"),
    ("header only", {"ledger.csv": HEADERS}, RFM, 4, "headers but no lines"),
    ("header only, line", {"ledger.csv": HEADERS + "\n"}, "check ledger.csv", 4, "but no lines"),
    ("png", {"ledger.csv": b"\x89PNG\r\n\x1a\n" + BINARY}, RFM, 4, "csv' is not text.* a picture"),
    ("pdf", {"ledger.csv": b"%PDF-1.4\n" + BINARY}, RFM, 4, "looks like a PDF document"),
    ("web page", {"ledger.csv": "<!DOCTYPE html><p>404"}, RFM, 4, "a web page.*fetch the file"),
    ("NUL bytes", {"ledger.csv": b"a,b\n\0\0"}, RFM, 4, "NUL bytes, the first at byte 4"),
    ("Parquet as CSV", {"ledger.csv": as_parquet(ledger())}, RFM, 4, "--format parquet"),
    ("gzip as CSV", {"ledger.csv": GZIP}, RFM, 4, "a gzip file: give it the ending .gz"),
    ("xlsx as CSV", {"ledger.csv": b"PK\x03\x04" + BINARY}, RFM, 4, "an Excel workbook"),
    ("xlsx", {"a.xlsx": b"PK\x03\x04"}, "rfm a.xlsx --out out", 2, "Excel workbook: save it as"),
    ("CSV as gzip", {"a.csv.gz": ledger()}, "rfm a.csv.gz --out out", 4, "Its ending says gzip"),
    ("cut gzip", {"a.csv.gz": GZIP[:-99]}, "check a.csv.gz", 4, "a.csv.gz' cannot be read: Trunc"),
    ("CSV as Parquet", {"a.parquet": ledger()}, "check a.parquet", 4, "not Parquet.*--format"),
    ("cut Parquet", {"a.parquet": as_parquet(ledger())[:-9]}, "check a.parquet", 4, "or damaged"),
    ("latin-1", {"ledger.csv": LATIN}, RFM, 4, r"b'\\xe9' at position \d+\).*--encoding latin-1"),
    ("UTF-16", {"ledger.csv": as_csv(ledger()).encode("utf-16")}, RFM, 4, "--encoding utf-16"),
    ("JSON array", {"a.json": '[{"a": 1}]'}, "check a.json", 4, "line 1 of .*It is a JSON array"),
    ("NDJSON", {"a.jsonl": '{"a": 1}\n{oops\n'}, "check a.jsonl", 4, "line 2 of .* is not JSON"),
    ("two formats", {"in/a.csv": ledger(), "in/b.parquet": as_parquet(ledger())}, "check in", 2,
     "mixes formats: csv .*a.csv.*parquet .*b.parquet"),
    ("two headers", {"in/a.csv": ledger(), "in/b.csv": ledger().drop(columns="StockCode")},
     "check in", 4, "b.csv' differ .*a.csv': it lacks 'StockCode'"),
    ("Zarr ledger", {"z.zarr": array(np.ones((3, 2)))}, "rfm z.zarr --out out", 2,
     "a ledger must be CSV, NDJSON or Parquet.*daskseg segment"),
    ("ragged, long", {"ledger.csv": as_csv(ledger()) + "1,2,3,4,5,6,7\n"}, RFM, 4,
     r"row 62 of .*ledger.csv' has 7 fields, the header has 6: '1,2,3,4,5,6,7'\. Correct"),
    ("ragged, short", {"ledger.csv": as_csv(ledger()) + "1,2\n"}, RFM, 4, "row 62 .* has 2 fields"),
    ("open quote", {"ledger.csv": as_csv(ledger()) + '1,2,2025-01-01,1,2.5,"P\n' + "x\n" * 3}, RFM,
     4, "a quote is opened near row 62 .*ledger.csv' and never closed: 4 lines"),
    # columns
    ("no quantity", {"ledger.csv": ledger().drop(columns="Quantity")}, RFM, 4,
     "no column for the role 'quantity' among .*'UnitPrice'.*--column quantity="),
    ("no date", {"ledger.csv": ledger().drop(columns="InvoiceDate")}, RFM, 4,
     r"role 'date' .*'StockCode'\. Say which one it is: --column date=\"HEADER\""),
    ("a table, no ledger", TABLE, "check t.csv", 4, "Nor is there one for 'order_id'.*--id COLUMN"),
    ("mapped to nothing", LEDGER, RFM + " --column customer_id=CustmerID", 4,
     "'CustmerID', asked for as 'customer_id', is not among .*Nearest: 'CustomerID'"),
    ("no role", LEDGER, RFM + " --column custmer=CustomerID", 2, "Did you mean 'customer_id'"),
    ("one header, two roles", LEDGER, RFM + " --column customer_id=StockCode "
     "--column order_id=StockCode", 2, "'StockCode' cannot be both"),
    ("same headers", {"ledger.csv": as_csv(ledger()).replace("StockCode", "Quantity")}, RFM, 4,
     "ledger.csv' has several columns named 'Quantity'. Rename"),
    ("like headers", {"ledger.csv": ledger(customer_id="1")}, RFM, 2,
     "'CustomerID', 'customer_id' all fit the role 'customer_id'.*--column"),
    ("semicolons", {"ledger.csv": as_csv(ledger()).replace(",", ";")}, RFM, 4, "--delimiter ';'"),
    # values of a ledger
    ("some text", {"ledger.csv": ledger(Quantity={3: "three"})}, RFM, 4,
     r"1 of 60 values of the column 'Quantity' .*'three'\..*--column.* row 5 of '.*ledger.csv'"),
    ("all text", {"ledger.csv": ledger(Quantity="lots")}, RFM, 4,
     "60 of 60 values .*'lots'.* stands in rows 2 and 3 of '.*ledger.csv'"),
    ("d/m/Y", {"ledger.csv": ledger(InvoiceDate="31/01/2025")}, RFM, 4,
     "60 of 60 values of the column 'InvoiceDate' .*'31/01/2025'.*never guessed.*--date-format"),
    ("one d/m/Y", {"ledger.csv": ledger(InvoiceDate={7: "31/01/2025"})}, RFM, 4, "1 of 60.* row 9"),
    ("no such day", {"ledger.csv": ledger(InvoiceDate={7: "2025-02-30"})}, RFM, 4,
     "1 of 60 values .*'2025-02-30' stands in row 9"),
    ("other date format", LEDGER, RFM + " --date-format %d/%m/%Y", 4,
     "not written as the date format '%d/%m/%Y' says, e.g. '2025-01-01'"),
    ("no date format", LEDGER, RFM + " --date-format %Q", 2, "'%Q' cannot be used.*strptime"),
    ("decimal comma", {"ledger.csv": ledger(UnitPrice="2,50")}, RFM, 4, "has a comma: .* point"),
    ("thousands", {"ledger.csv": ledger(Quantity={3: "1,200"})}, RFM, 4, "without separators of"),
    ("infinite", {"ledger.csv": ledger(UnitPrice={3: "inf"})}, RFM, 4, "not finite.*'inf'.* row 5"),
    ("1e999", {"ledger.csv": ledger(UnitPrice={3: "1e999"})}, RFM, 4, "not finite.*'1e999'"),
    ("overflow", {"ledger.csv": ledger(Quantity={3: "12345678901234567890"})}, RFM, 4,
     r"adds up to about 5\.37e\+19 with 2 decimals: more than 64-bit.*mistyped"),
    ("double overflow", {"ledger.csv": ledger(Quantity={3: "1e300"}, UnitPrice={3: "1e300"})}, RFM,
     4, "more than 64-bit"),
    ("scientific ids", {"ledger.csv": ledger(CustomerID={3: "1.23E+05"})}, RFM, 4,
     r"1 of 60 ids of the column 'CustomerID' .*'1\.23E\+05'.* as text.* row 5"),
    ("no ids", {"ledger.csv": ledger(CustomerID="")}, RFM, 4, "none of 60 lines has a customer id"),
    ("two currencies", {"ledger.csv": ledger(Currency=["EUR", "usd"] * 30)}, RFM, 4,
     r"several currencies: EUR \(30 lines\), USD \(30 lines\).*convert it"),
    ("future", {"ledger.csv": ledger(InvoiceDate={7: "2199-01-01"})}, "check ledger.csv", 4,
     "1 of 60 lines are dated after today .* on 2199-01-01.*--snapshot"),
    ("early snapshot", LEDGER, RFM.replace("2026", "2020"), 4,
     "from 2025-01-01 to 2025-12-24, the snapshot is 2020-01-01.*outside the dates.*: 60"),
    ("empty window", LEDGER, RFM.replace("2026", "2030") + " --window 30d", 4, "no customer has a"),
    ("all returned", {"ledger.csv": ledger(Quantity="-1")}, RFM, 4, "Returns and cancel"),
    # customers and segments
    ("one customer", {"ledger.csv": ledger(CustomerID="7")}, RFM, 4, "one customer only"),
    ("k > customers", {"ledger.csv": same_lines(3, 3)}, RFM.replace("--k 2", "--k 5"), 2,
     "k = 5 segments .*only 3 customers. Ask for at most 3, with --k"),
    ("k range > customers", {"ledger.csv": same_lines(3, 3)}, RFM_AUTO + " --k-range 5:9", 2,
     "5 segments at least .* only 3 customers.*--k-range"),
    ("k > distinct", {"ledger.csv": same_lines(9, 3)}, RFM.replace("--k 2", "--k 5"), 4,
     "5 clusters.*3 distinct"),
    ("all alike", {"ledger.csv": same_lines(9, 1)}, RFM_AUTO, 4, "all rows are alike"),
    # options
    ("snapshot", LEDGER, RFM.replace("2026-01-01", "1.1.2026"), 2, "--snapshot: '1.1.2026' must"),
    ("no such snapshot", LEDGER, RFM.replace("01-01", "02-30"), 2, "the calendar has no such day"),
    ("window", LEDGER, RFM + " --window 1y", 2, "--window: '1y' must be .* like 365d"),
    ("partitions 0", LEDGER, RFM + " --partitions 0", 2, "--partitions: 0 is too small"),
    ("partitions -1", LEDGER, RFM + " --partitions -1", 2, "--partitions: -1 is too small"),
    ("partitions x", LEDGER, RFM + " --partitions x", 2, "'--partitions'"),
    ("k 0", LEDGER, RFM_AUTO + " --k 0", 2, "--k: 0 must be .* from 1 to 20"),
    ("k 21", LEDGER, RFM_AUTO + " --k 21", 2, "--k: 21 must be .* from 1 to 20"),
    ("k two", LEDGER, RFM_AUTO + " --k two", 2, "--k: 'two' must be"),
    ("k range", LEDGER, RFM_AUTO + " --k-range 5", 2, "--k-range: '5' must be"),
    ("seed", LEDGER, RFM + " --seed -1", 2, "--seed: -1 is too small"),
    ("encoding", LEDGER, RFM + " --encoding klingon", 2, "--encoding: 'klingon' must be"),
    ("hex", LEDGER, RFM + " --encoding hex", 2, "--encoding: 'hex' must be a text encoding"),
    ("delimiter", LEDGER, RFM + " --delimiter ;;", 2, "--delimiter: ';;' must be one character"),
    ("preset", LEDGER, RFM + " --preset klingon", 2, "'klingon' is not known.*'online_retail'"),
    ("option", LEDGER, RFM + " --snapsht 1", 2, "No such option: --snapsht. Did you mean"),
    ("command", LEDGER, "rmf ledger.csv", 2, "No such command 'rmf'. Did you mean 'rfm'"),
    ("no out", LEDGER, "rfm ledger.csv", 2, "Missing option '--out'"),
    # schemes
    ("scheme", LEDGER, RFM + " --scheme rfm12", 2, "'rfm12' is neither known nor a file. Known: "),
    ("scheme folder", {**LEDGER, "s.toml": folder}, RFM + " --scheme s.toml", 2, "nor a file"),
    ("holes", scheme(RULES.format("[{r = [1, 3]}]")), RFM + " --scheme s.toml", 2,
     "50 scores have no name: R4F1M1"),
    ("overlaps", scheme(RULES.format("[{}]") + RULES.format("[{}]").replace("A", "B")),
     RFM + " --scheme s.toml", 2, "125 scores have several.*'A' and 'B'"),
    ("no TOML", scheme("name ="), RFM + " --scheme s.toml", 2, "'s.toml' is not TOML"),
    ("binary scheme", scheme(b"\xff\xfe"), RFM + " --scheme s.toml", 2, "'s.toml' is not TOML"),
    ("segments", scheme("segments = 3"), RFM + " --scheme s.toml", 2, "segments = 3 must be"),
    ("rules", scheme(RULES.format('["r5"]')), RFM + " --scheme s.toml", 2, "rules = .* must be a"),
    # the directory
    ("a file as out", {**LEDGER, "out": "x"}, RFM, 2, "--out out: a file stands there"),
    ("below a file", {**LEDGER, "out": "x"}, RFM.replace("out out", "out out/x"), 2, "is a file"),
    ("not ours", {**LEDGER, "out/x": "x"}, RFM, 2, "not empty and holds no earlier study.*--force"),
    ("the working directory", LEDGER, RFM.replace("out out", "out .") + " --force", 2,
     "holds, the working directory"),
    ("above", LEDGER, RFM.replace("out out", "out /") + " --force", 2, "working directory"),
    ("source in out", {"in/l.csv": ledger()}, "rfm in/l.csv --out in --force", 2,
     "the source '.*l.csv' lies in it and would be lost"),
    ("source in a study", {"out": study, "out/l.csv": ledger()}, "rfm out/l.csv --out out", 2,
     "lies in it and would be lost"),
    ("earlier study", {"out": study, "ledger.csv": ledger(UnitPrice="x")}, RFM, 4, "not finite"),
    ("earlier study, new parents", {"ledger.csv": ledger(UnitPrice="x")},
     RFM.replace("out out", "out a/b/c"), 4, "not finite"),
    # tables
    ("no id column", TABLE, SEGMENT.replace("user", "usr"), 4, "--id 'usr'.*Did you mean --id 'us"),
    ("no --id", TABLE, "segment t.csv --out out", 2, "Missing option '--id'"),
    ("an id twice", {"t.csv": users(user={5: "u002"})}, SEGMENT, 4,
     "'user' repeats ids: 1 of 40 rows .*'u002'.*daskseg rfm.* in rows 4 and 7 of '.*t.csv'"),
    ("an id twice, check", {"t.csv": users(user={5: "u002"})}, "check t.csv --id user", 4, "u002"),
    ("an id missing", {"t.csv": users(user={5: ""})}, SEGMENT, 4, "1 of 40 rows have no id"),
    ("all ids missing", {"t.csv": users(user="")}, SEGMENT, 4, "all 40 rows have no id"),
    ("a scientific id", {"t.csv": users(user={5: "1.2E+05"})}, SEGMENT, 4, "1 of 40 ids .* row 7"),
    ("infinite feature", {"t.csv": users(minutes={5: "-inf"})}, SEGMENT, 4,
     "1 of 40 values of the column 'minutes' are not finite numbers, e.g. '-inf'.* row 7"),
    ("infinite Parquet", {"t.parquet": as_parquet(users(age=[np.inf] + [1.0] * 39))},
     SEGMENT.replace("t.csv", "t.parquet"), 4, "'inf' stands in row 1 of '.*t.parquet'"),
    ("text in a feature", {"t.csv": users(minutes={5: "long"})}, SEGMENT, 4, "'long'.* row 7"),
    ("comma in a feature", {"t.csv": users(minutes="3,5")}, SEGMENT, 4, "'3,5'. It has a comma"),
    ("only text", {"t.csv": users(visits="a", minutes="b", age="c")}, SEGMENT, 4,
     r"none of the columns \['visits', 'minutes', 'age'\] is numeric"),
    ("only ids", {"t.csv": users()[["user"]]}, SEGMENT, 4, "at least one column of numbers"),
    ("empty column", {"t.csv": users(age="")}, SEGMENT, 4, "'age' is empty throughout"),
    ("passive", TABLE, SEGMENT + " --passive agee", 4, "--passive 'agee'.*Did you mean --passive"),
    ("passive id", TABLE, SEGMENT + " --passive user", 2, "'user' is the id"),
    ("all passive", {"t.csv": users()[["user", "age"]]}, SEGMENT + " --passive age", 4, "passive"),
    ("value", TABLE, SEGMENT + " --value spend", 4, "--value 'spend': the table has the columns"),
    ("text value", {"t.csv": users(city="x")}, SEGMENT + " --value city", 4, "'city' are not fin"),
    ("header of a table", {"t.csv": "user,a\n"}, SEGMENT, 4, "headers but no rows"),
    ("one row", {"t.csv": users(1)}, SEGMENT, 4, "one customer only"),
    ("k > rows", {"t.csv": users(3)}, SEGMENT.replace("k 2", "k 4"), 2, "only 3 customers"),
    ("constant", {"t.csv": users(visits=1, minutes=1, age=1)}, SEGMENT, 4, "all rows are alike"),
    ("taken name", {"t.csv": users(customer_id=3)}, SEGMENT, 4, "numeric column 'customer_id'"),
    # Zarr
    ("1-d", {"z.zarr": array(np.ones(5))}, ZARR, 4, r"z.zarr: .* shape \(5,\) .* two-dimensional"),
    ("3-d", {"z.zarr": array(np.ones((2, 3, 4)))}, ZARR, 4, r"z.zarr: .* shape \(2, 3, 4\)"),
    ("3-d, check", {"z.zarr": array(np.ones((2, 3, 4)))}, "check z.zarr --id id", 4, "shape"),
    ("no rows", {"z.zarr": array(np.ones((0, 4)))}, ZARR, 4, r"z.zarr: .* empty \(shape \(0, 4\)"),
    ("no columns", {"z.zarr": array(np.ones((4, 0)))}, ZARR, 4, r"z.zarr: the array is empty"),
    ("text array", {"z.zarr": text_array}, ZARR, 4, "z.zarr: .* numbers"),
    ("complex", {"z.zarr": array(np.ones((4, 2), complex))}, ZARR, 4, "type complex128"),
    ("infinite array", {"z.zarr": array([[1, 2], [np.inf, 3]])}, ZARR, 4, "column 'x0' are"),
    ("group", {"z.zarr": group({}, x=np.ones((3, 2)))}, ZARR, 6, "not a daskseg feature store"),
    ("store version", {"z.zarr": group({"format_version": 99})}, ZARR, 6, "has format_version 99"),
    ("store without arrays", {"z.zarr": group({"format_version": 1})}, ZARR, 6, "no array values"),
    ("broken metadata", {"z.zarr/zarr.json": "{oops"}, ZARR, 6, "cannot be read as a Zarr store"),
    ("other metadata", {"z.zarr/zarr.json": "[]"}, ZARR, 6, "cannot be read as a Zarr store"),
    ("broken chunk", {"z.zarr": damaged_array}, ZARR, 6, "rows 0 to 39 .* z.zarr cannot be read"),
    ("empty folder as Zarr", {"z.zarr": folder}, ZARR, 2, "'z.zarr' holds no files"),
    ("CSV as Zarr", TABLE, SEGMENT + " --format zarr", 6, "t.csv cannot be read as a Zarr store"),
    # study files
    ("no study", {}, RUN, 2, "study.yaml: .*cannot be read.*daskseg init"),
    ("study folder", {"study.yaml": folder}, RUN, 2, r"cannot be read \(Is a directory\)"),
    ("key", yaml("data: {source: ledger.csv, windw: 1d}"), RUN, 2,
     "study.yaml: unknown key 'data.windw'. Did you mean 'window'"),
    ("section", yaml("data: {source: a}\nmodell: {k: 3}"), RUN, 2, "Did you mean 'model'"),
    ("place of a key", yaml("data: {source: a, seed: 3}"), RUN, 2, "belongs to .* model.seed"),
    ("key twice", yaml("data: {source: a, source: b}"), RUN, 2, "line 1, column 19.*stands twice"),
    ("no YAML", yaml("data: [open"), RUN, 2, "study.yaml line 1, column 12: not a study file"),
    ("binary YAML", yaml(b"\x89PNG\xff\0"), RUN, 2, "study.yaml: not a YAML file in UTF-8"),
    ("list", yaml("- a"), RUN, 2, r"study.yaml: found \['a'\] where the sections"),
    ("empty study", yaml(""), RUN, 2, "study.yaml: data is missing"),
    ("ledger as study", LEDGER, "run ledger.csv --out out", 2, "ledger.csv: found 'CustomerID"),
    ("k in a study", yaml("data: {source: a}\nmodel: {k: 2.5}"), RUN, 2, "model.k: 2.5 must be"),
    ("partitions", yaml("data: {source: a, partitions: -1}"), RUN, 2, "data.partitions: -1 is too"),
    ("no id", yaml("data: {source: t.csv, kind: segment}"), RUN, 2, "'id' is needed"),
    ("scheme in a study", yaml("data: {source: ledger.csv}\nlabel: {scheme: x}"), RUN, 2, "'x' is"),
    ("names", yaml("data: {source: ledger.csv}\nmodel: {k: 2}\nlabel: {names: {S9: X}}"), RUN, 2,
     r"label.names names S9, but there will be at most 2 segments \(S1 to S2\)"),
    ("log1p", yaml("data: {source: ledger.csv, snapshot: 2026-01-01}\nprepare: {log1p: [spend]}"),
     RUN, 2, r"log1p names \['spend'\], but the columns are .*'spend_net'"),
    ("source of a study", yaml("data: {source: nope.csv}"), "check study.yaml", 2, "'nope.csv'"),
    # models
    ("no model", {}, INSPECT, 6, "model is not a daskseg model: there is no such directory"),
    ("empty model", {"model": folder}, INSPECT, 6, "not a daskseg model: it has no manifest.json"),
    ("no array", {"model": model("rfm", lambda p: (p / "centres.npy").unlink())}, INSPECT, 6,
     "model is damaged: .*centres.npy'. Copy it again"),
    ("cut array", {"model": model("rfm", cut("centres.npy", 140))}, INSPECT, 6, "damaged: "),
    ("empty array", {"model": model("rfm", cut("centres.npy", 0))}, INSPECT, 6, "damaged: EOF"),
    ("pickle", {"model": model("rfm", saved("centres.npy", np.array([{}])))}, INSPECT, 6, "pickle"),
    ("shape", {"model": model("rfm", saved("centres.npy", np.ones((1, 1))))}, INSPECT, 6,
     r"damaged: centres has the shape \(1, 1\)"),
    ("NaN", {"model": model("rfm", saved("centres.npy", np.full((2, 3), np.nan)))}, INSPECT, 6,
     "damaged: .*not finite"),
    ("version", {"model": model("rfm", format_version=99)}, INSPECT, 6, "format_version 99"),
    ("cut manifest", {"model": model("rfm", cut("manifest.json", 400))}, INSPECT, 6,
     "manifest.json is damaged, it is no JSON"),
    ("other manifest", {"model/manifest.json": "{}"}, INSPECT, 6, "is not the manifest of a dask"),
    ("binary manifest", {"model/manifest.json": b"\xff\xfe"}, INSPECT, 6, "manifest.json is"),
    ("plan", {"model": model("rfm", plan=[{}])}, INSPECT, 6, "damaged: KeyError"),
    ("cut points", {"model": model("rfm", cut_points={"x": 1})}, INSPECT, 6, "damaged: KeyError"),
    ("names of a scheme", {**LEDGER, "model": model("rfm", scheme={})}, ASSIGN, 6, "damaged"),
    # assign
    ("ledger without snapshot", {**LEDGER, **RFM_MODEL}, ASSIGN.replace(SNAPSHOT, ""), 2,
     r"--snapshot DATE \(the study used 2026-01-01\)"),
    ("assign to nothing", RFM_MODEL, ASSIGN, 2, "no file or folder 'ledger.csv'"),
    ("early assign", {**LEDGER, **RFM_MODEL}, ASSIGN.replace("2026", "2020"), 4, "no cust"),
    ("table for a ledger", {"ledger.csv": users(), **RFM_MODEL}, ASSIGN, 4, "'customer_id'"),
    ("table with snapshot", {**TABLE, **TABLE_MODEL}, SCORE + SNAPSHOT, 2, "leave it out"),
    ("table with roles", {**TABLE, **TABLE_MODEL}, SCORE + " --column date=age", 2,
     "--column means nothing for a model made from a table"),
    ("feature missing", {"t.csv": users().drop(columns="minutes"), **TABLE_MODEL},
     SCORE, 6, r"needs .*t.csv has no \['minutes'\]; its columns are \['user', 'visits', 'age'\]"),
    ("id missing", {"t.csv": users().rename(columns={"user": "who"}), **TABLE_MODEL},
     SCORE, 6, r"id column 'user' .*has no \['user'\]"),
    ("text to score", {"t.csv": users(minutes="x"), **TABLE_MODEL}, SCORE, 4, "'minutes'"),
    ("an id twice to score", {"t.csv": users(user={5: "u002"}), **TABLE_MODEL}, SCORE, 4,
     "rows 4 and 7 of '.*t.csv'"),
    ("out exists", {**LEDGER, **RFM_MODEL, "a.parquet": "x"}, ASSIGN, 2, "exists.*--force"),
    ("out is a folder", {**LEDGER, **RFM_MODEL, "a.parquet": folder}, ASSIGN + " --force",
     2, "a directory stands there"),
    ("out below a file", {**LEDGER, **RFM_MODEL}, ASSIGN.replace("a.pa", "ledger.csv/a.pa"),
     2, "ledger.csv is a file"),
    ("out is no Parquet", {**LEDGER, **RFM_MODEL}, ASSIGN.replace("a.parquet", "a.csv"), 2,
     "a Parquet file, not .csv. Name it a.parquet"),
    ("out is the source", {"a.parquet": as_parquet(ledger()), **RFM_MODEL},
     ASSIGN.replace("ledger.csv", "a.parquet") + " --force", 2, "this is the source"),
]  # fmt: skip


@pytest.fixture(scope="module")
def studies(tmp_path_factory) -> Path:
    """Give a folder with a study of each kind."""
    home = tmp_path_factory.mktemp("studies")
    (home / "ledger.csv").write_text(as_csv(ledger()))
    (home / "t.csv").write_text(as_csv(users()))
    common = ["--k", "2", "--quiet", "--out"]
    dated = ["--snapshot", "2026-01-01", *common]
    assert main(["rfm", str(home / "ledger.csv"), *dated, str(home / "rfm")]) == 0
    named = ["--id", "user", "--passive", "age", *common]
    assert main(["segment", str(home / "t.csv"), *named, str(home / "segment")]) == 0
    return home


@pytest.fixture
def here(tmp_path, monkeypatch) -> Path:
    """Work in an empty folder, with an empty folder for temporary files beside it."""
    for name in ("work", "tmp"):
        (tmp_path / name).mkdir()
    monkeypatch.chdir(tmp_path / "work")
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "tmp"))
    return tmp_path / "work"


def contents(place: Path) -> dict[str, bytes | None]:
    """Return everything below a folder, hidden files too."""
    return {
        str(path.relative_to(place)): path.read_bytes() if path.is_file() else None
        for path in place.rglob("*")
    }


def run(command: str, capsys: Any) -> tuple[int, dict[str, Any], str]:
    """Run a command and return exit code, the line of JSON, and stderr."""
    quiet = [] if command.startswith("inspect") else ["--quiet"]
    code = main([*command.split(), *quiet, "--json"])
    out, err = capsys.readouterr()
    assert out.count("\n") == 1
    return code, json.loads(out), err


@pytest.mark.parametrize(
    ("files", "command", "exit_code", "pattern"),
    [pytest.param(*case, id=name) for name, *case in CASES],
)
def test_bad_input__is_told_in_one_message_and_leaves_nothing(
    files, command, exit_code, pattern, here, studies, capsys
):
    make_files(files, studies)
    before = contents(here.parent)
    code, told, err = run(command, capsys)
    assert (code, told["exit_code"]) == (exit_code, exit_code), err
    assert re.search(pattern, told["message"], re.DOTALL), told["message"]
    assert err == f"error: {told['message']}\n"
    assert "Traceback" not in err
    assert len(told["message"]) < 900
    assert contents(here.parent) == before


@pytest.mark.parametrize(
    ("files", "command"),
    [
        pytest.param({"ledger.csv": LATIN}, RFM + " --encoding latin-1", id="latin-1, named"),
        pytest.param({"ledger.csv": same_lines(9, 2)}, RFM_AUTO, id="two kinds of customers"),
        pytest.param(
            {"ledger.csv": ledger(InvoiceDate={7: "2199-01-01"})}, RFM, id="future, with snapshot"
        ),
        pytest.param({**LEDGER, "out": folder}, RFM, id="empty folder"),
        pytest.param({"t.csv": users(city="x")}, SEGMENT + " --passive city", id="passive text"),
        pytest.param({"t.csv": users(city="x", more=1), **TABLE_MODEL}, SCORE, id="more columns"),
    ],
)
def test_odd_input__is_taken(files, command, here, studies, capsys):
    make_files(files, studies)
    code, _, err = run(command, capsys)
    assert (code, err) == (0, "")
    assert not [name for name in contents(here.parent) if Path(name).name.startswith(".")]
    assert contents(here.parent / "tmp") == {}


def test_odd_input__ids_stay_what_they_are(here, studies, capsys):
    ids = ["00123", " 17850 ", "17850.0", "Žofie 花子", "123", "é"]
    make_files({"ledger.csv": ledger(CustomerID=ids * 10)}, studies)
    assert run(RFM, capsys)[0] == 0
    found = set(pd.read_parquet("out/segments.parquet")["customer_id"])
    assert found == {"00123", "17850", "Žofie 花子", "123", "é"}


def test_odd_input__long_decimals_are_rounded_and_told(here, studies, capsys):
    make_files({"ledger.csv": ledger(UnitPrice={3: "0.123456789012"})}, studies)
    code, told, _ = run(RFM, capsys)
    assert code == 0
    assert any("rounded" in notice for notice in told["notices"])


def test_odd_input__a_feature_without_values_is_scored_and_told(here, studies, capsys):
    make_files({"t.csv": users(minutes=""), **TABLE_MODEL}, studies)
    code, told, _ = run(SCORE, capsys)
    assert code == 0
    assert any("minutes" in notice for notice in told["notices"])


def test_earlier_study__is_replaced_as_a_whole(here, studies, capsys):
    make_files({**LEDGER, "out": study, "out/stale.txt": "old"}, studies)
    (here / "link").symlink_to(here / "out")
    assert run(RFM.replace("out out", "out link"), capsys)[0] == 0
    assert {path.name for path in (here / "out").iterdir()} == {
        path.name for path in (studies / "rfm").iterdir()
    }
    assert sorted(path.name for path in here.iterdir()) == ["ledger.csv", "link", "out"]


def test_interrupt__in_the_last_stage_leaves_the_earlier_study(here, studies, capsys, monkeypatch):
    def interrupt(record: Any, path: Path) -> None:
        path.write_text("half")
        raise KeyboardInterrupt

    make_files({**LEDGER, "out": study}, studies)
    before = contents(here.parent)
    monkeypatch.setattr("daskseg.report.write_report", interrupt)
    code, told, err = run(RFM, capsys)
    assert (code, told["exit_code"]) == (130, 130)
    assert err.count("\n") == 1
    assert contents(here.parent) == before


def test_interrupt__in_the_middle_of_a_pass_leaves_nothing(here, repository):
    command = [sys.executable, "-m", "daskseg", "demo", "retail", "--out", "out", "--json"]
    process = subprocess.Popen(
        [*command, "--rows", "1000000"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "TMPDIR": tempfile.gettempdir(), "PYTHONPATH": str(repository)},
    )
    assert process.stderr is not None
    for line in process.stderr:
        if line.startswith("stage=check"):  # the next stage reads the ledger for seconds
            process.send_signal(signal.SIGINT)
            break
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert json.loads(out)["exit_code"] == 130
    assert err.startswith("error: interrupted")
    assert "Traceback" not in err
    assert [path.name for path in (here / "out").iterdir()] == ["data"]
    assert contents(here.parent / "tmp") == {}
