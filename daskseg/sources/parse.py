"""From a piece of files to a pandas frame, inside a task.

Covers: CSV, NDJSON and Parquet pieces as `sources.plan` cuts them; errors with the file, the
place and the reason. Does not cover: finding and cutting files.
"""

from __future__ import annotations

import json
import re
from typing import Any

import fsspec
import pandas as pd
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

from daskseg.errors import InputError
from daskseg.sources.files import open_bytes
from daskseg.sources.plan import FilePart, Piece, undecodable, unreadable_file

# pyarrow cannot parse a row that is longer than its block.
_MIN_PARSE_BYTES = 2**20
_LINE_BYTES = 2**16
_MAX_INT32 = 2**31 - 1
_WRONG_ROW = re.compile(r"Row #(\d+): Expected (\d+) columns, got (\d+)")


def _to_line_end(stream: Any) -> bytes:
    """Read to the end of the line, however long it is."""
    found: list[bytes] = []
    while chunk := stream.read(_LINE_BYTES):
        end = chunk.find(b"\n")
        if end >= 0:
            found.append(chunk[: end + 1])
            break
        found.append(chunk)
    return b"".join(found)


def _read_bytes(part: FilePart) -> bytes:
    """Read the lines that begin between start and stop."""
    try:
        with open_bytes(part.path) as stream:
            if part.start == 0 and part.stop < 0:
                return bytes(stream.read())
            start = part.start
            if start:
                # A line begins at start only if the byte before it ends a line.
                stream.seek(start - 1)
                start += len(_to_line_end(stream)) - 1
                stream.seek(start)
            if part.stop < 0:
                return bytes(stream.read())
            if start >= part.stop:
                return b""
            data = bytes(stream.read(part.stop - start))
            return data if data.endswith(b"\n") else data + _to_line_end(stream)
    except (OSError, EOFError) as error:
        raise unreadable_file(part.path, error) from error


def _as_utf8(data: bytes, part: FilePart, encoding: str) -> bytes:
    if encoding.lower().replace("_", "-") in ("utf-8", "utf8", "utf-8-sig"):
        return data
    try:
        return data.decode(encoding).removeprefix("\ufeff").encode("utf-8")
    except UnicodeDecodeError as error:
        raise undecodable(part.path, encoding, error) from error


def _csv_error(error: pa.ArrowInvalid, part: FilePart, data: bytes, encoding: str) -> InputError:
    message = str(error)
    if "invalid UTF8" in message:
        try:
            data.decode("utf-8")
        except UnicodeDecodeError as cause:
            return undecodable(part.path, encoding, cause)
    where = f"the part of {part.path!r} that begins at byte {part.start:,}"
    place = _WRONG_ROW.search(message)
    if place:
        row = int(place[1]) if part.start == 0 else int(place[1]) + 1
        of = f"the file {part.path!r}" if part.start == 0 else where
        line = message.rpartition(": ")[2][:80]
        return InputError(
            f"row {row:,} of {of} has {place[3]} fields, the header has {place[2]}: {line!r}. "
            "Correct the row: quote fields that hold the delimiter, and close open quotes."
        )
    return InputError(f"{where} is not valid CSV: {message.split(chr(10))[0][:200]}")


def _check_cut(data: bytes, part: FilePart) -> None:
    """Refuse a block whose borders lie inside a quoted field.

    If the number of quotes is even in every block, no border lies inside quotes.
    """
    is_cut = part.start > 0 or part.stop >= 0
    if is_cut and data.count(b'"') % 2:
        raise InputError(
            f"a quoted field with a line break crosses a cut of the large file {part.path!r} (the "
            f"part that begins at byte {part.start:,}), or a quote is not closed. Split the file "
            "into files of at most 16 MB, or convert it to Parquet."
        )


def _parse_csv(part: FilePart, piece: Piece) -> pa.Table:
    data = _as_utf8(_read_bytes(part), part, piece.encoding)
    _check_cut(data, part)
    texts = {name: pa.large_string() for name in part.columns}
    empty = pa.schema(list(texts.items())).empty_table()
    if not data.strip():
        return empty
    if not data.endswith(b"\n"):
        data += b"\n"  # pyarrow cannot skip a header that is the whole of a file
    try:
        table = pa_csv.read_csv(
            pa.BufferReader(data),
            pa_csv.ReadOptions(
                use_threads=False,
                block_size=min(_MAX_INT32, max(_MIN_PARSE_BYTES, len(data))),
                # The header line is read as a row of data and dropped below: its names may
                # have been stripped or filled in.
                column_names=list(part.columns),
                skip_rows_after_names=1 if part.start == 0 else 0,
            ),
            pa_csv.ParseOptions(delimiter=piece.delimiter, newlines_in_values=True),
            pa_csv.ConvertOptions(
                column_types=texts,
                null_values=[""],
                strings_can_be_null=True,
                quoted_strings_can_be_null=True,
            ),
        )
    except pa.ArrowInvalid as error:
        raise _csv_error(error, part, data, piece.encoding) from error
    _check_end(table, part, data)
    return table


def _check_end(table: pa.Table, part: FilePart, data: bytes) -> None:
    """Refuse a quote that was never closed: it swallows all rows to the end of the file."""
    if not table.num_rows:
        return
    last = table.column(table.num_columns - 1)[table.num_rows - 1].as_py() or ""
    if last.endswith("\n") and data.count(b'"') % 2:
        n_lines = last.count("\n")
        raise InputError(
            f"a quote is opened near row {table.num_rows + (part.start == 0):,} of the file "
            f"{part.path!r} and never closed: {n_lines:,} lines to the end of the file are inside "
            f"it, beginning with {last[:40]!r}. Close or remove the quote."
        )


def _json_text(value: Any) -> str | None:
    if value is None or isinstance(value, str):
        return value
    return json.dumps(value, sort_keys=True, ensure_ascii=False)


def _parse_ndjson(part: FilePart, piece: Piece) -> pa.Table:
    data = _as_utf8(_read_bytes(part), part, piece.encoding)
    columns: dict[str, list[str | None]] = {name: [] for name in part.columns}
    try:
        lines = data.decode("utf-8").removeprefix("\ufeff").split("\n")
    except UnicodeDecodeError as error:
        raise undecodable(part.path, piece.encoding, error) from error
    at = "" if part.start == 0 else f" after byte {part.start:,}"
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            # Numbers stay as they are written: 1.10 is not 1.1, and long ids keep their digits.
            record = json.loads(line, parse_float=str, parse_int=str)
        except json.JSONDecodeError as error:
            raise InputError(
                f"line {number:,}{at} of {part.path!r} is not JSON ({error.msg}): {line[:80]!r}."
            ) from error
        if not isinstance(record, dict):
            raise InputError(f"line {number:,}{at} of {part.path!r} is not a JSON object.")
        for name, values in columns.items():
            values.append(_json_text(record.pop(name, None)))
        if record:
            extra = next(iter(record))
            raise InputError(
                f"line {number:,}{at} of {part.path!r} has the key {extra!r}, which no line at the "
                "head of the files has. Write all keys into the first line (null where unknown)."
            )
    arrays = {name: pa.array(values, type=pa.large_string()) for name, values in columns.items()}
    return pa.table(arrays)


def _spell_decimals(table: pa.Table) -> pa.Table:
    """Turn decimals into text: pyarrow's own way to float64 is not correctly rounded."""
    for position, field in enumerate(table.schema):
        if pa.types.is_decimal(field.type):
            column = table.column(position).cast(pa.large_string())
            table = table.set_column(position, field.name, column)
    return table


def _parse_parquet(part: FilePart, _: Piece) -> pa.Table:
    try:
        with fsspec.open(part.path, "rb").open() as stream:
            groups = list(range(part.start, part.stop))
            table = pq.ParquetFile(stream).read_row_groups(groups, use_threads=False)
            return _spell_decimals(table)
    except (pa.ArrowInvalid, OSError) as error:
        raise unreadable_file(part.path, error) from error


_PARSERS = {"csv": _parse_csv, "ndjson": _parse_ndjson, "parquet": _parse_parquet}


def read_piece(piece: Piece) -> pd.DataFrame:
    """Read one piece of a source.

    Parameters
    ----------
    piece : Piece

    Returns
    -------
    DataFrame
        The columns of ``piece.schema``, in that order.

    Raises
    ------
    InputError
        A file cannot be read, decoded or parsed; the message names it.
    """
    tables = []
    for part in piece.parts:
        table = _PARSERS[piece.format](part, piece).select(piece.schema.names)
        try:
            tables.append(table.cast(piece.schema))
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
            raise InputError(
                f"a column of {part.path!r} does not fit the type it has in the other files: "
                f"{error}."
            ) from error
    table = pa.concat_tables(tables) if tables else piece.schema.empty_table()
    frame: pd.DataFrame = table.to_pandas()
    return frame
