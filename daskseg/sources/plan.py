"""Which files there are, what they are, and into which pieces they are cut.

Covers: telling the format of files, looking at their first bytes, comparing headers,
cutting large files and joining small ones.
Does not cover: finding files (`sources.files`), reading pieces (`sources.parse`).
"""

from __future__ import annotations

import codecs
import csv
import io
import json
import re
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq

from daskseg.errors import InputError, UsageError
from daskseg.sources.files import (
    SourceFile,
    compression_of,
    ending_of,
    find_files,
    open_bytes,
)

# Arbitrary: text of this size becomes about 60 MB of columns, a comfortable task.
BLOCK_BYTES = 16 * 2**20
MAX_BLOCK_BYTES = 128 * 2**20
# More pieces than this cost the scheduler more than larger pieces cost memory.
MANY_PIECES = 4000
HEAD_BYTES = 2**18
# A value of a frame takes about this much: a number, or a short text with its offset.
VALUE_BYTES = 12

FORMATS = ("csv", "parquet", "ndjson")
_ENDINGS = {
    ".csv": "csv", ".tsv": "csv", ".txt": "csv", ".tab": "csv",
    ".parquet": "parquet", ".pq": "parquet", ".parq": "parquet",
    ".jsonl": "ndjson", ".ndjson": "ndjson", ".json": "ndjson",
}  # fmt: skip
_MAGIC = (
    (b"PAR1", "a Parquet file", "give --format parquet or the ending .parquet"),
    (b"\x1f\x8b", "a gzip file", "give it the ending .gz"),
    (b"\x28\xb5\x2f\xfd", "a zstd file", "give it the ending .zst"),
    (b"BZh", "a bzip2 file", "give it the ending .bz2"),
    (b"\xfd7zXZ", "an xz file", "give it the ending .xz"),
    (b"PK\x03\x04", "an Excel workbook or a zip archive", "save it as CSV, or unpack it"),
    (b"\xd0\xcf\x11\xe0", "an old Excel workbook", "save it as CSV"),
    (b"\x89PNG", "a picture", "name the file of the data"),
    (b"%PDF", "a PDF document", "export the data as CSV or Parquet"),
    (b"<!DOCTYPE html", "a web page", "the download may have failed; fetch the file again"),
    (b"<html", "a web page", "the download may have failed; fetch the file again"),
    (b"SQLite format 3", "an SQLite database", "export the table as CSV or Parquet"),
)
_OTHER_ENDINGS = {
    ".xlsx": "an Excel workbook: save it as CSV",
    ".xls": "an Excel workbook: save it as CSV",
    ".zip": "a zip archive: unpack it",
    ".tar": "a tar archive: unpack it",
}
_TEXT_WITH_NULS = ("utf-16", "utf-32")
_UNNAMED_INDEX = re.compile(r"__index_level_\d+__")


class FilePart(NamedTuple):
    """Some bytes of a text file, or some row groups of a Parquet file.

    Attributes
    ----------
    path : str
        With its protocol, for fsspec.
    start, stop : int
        The lines that begin in these bytes; stop -1 means to the end. Row groups of Parquet.
    columns : tuple of str
        The headers in the order of this file.
    """

    path: str
    start: int
    stop: int
    columns: tuple[str, ...]


class Piece(NamedTuple):
    """What one task reads: parts of one or several files."""

    parts: tuple[FilePart, ...]
    format: str
    encoding: str
    delimiter: str
    schema: pa.Schema
    size_bytes: int


class Plan(NamedTuple):
    """All pieces of a source, and the schema that each of them is read to."""

    pieces: tuple[Piece, ...]
    schema: pa.Schema


def _tell_format(files: Sequence[SourceFile], asked: str | None) -> str:
    if asked is not None:
        if asked not in FORMATS:
            known = ", ".join(repr(name) for name in FORMATS)
            raise UsageError(f"format={asked!r} is not known; choose one of {known}.")
        return asked
    told: dict[str, str] = {}
    for file in files:
        kind = _ENDINGS.get(ending_of(file.path))
        if kind is None and ending_of(file.path) in _OTHER_ENDINGS:
            raise UsageError(f"{file.path!r} is {_OTHER_ENDINGS[ending_of(file.path)]}.")
        if kind is None:
            raise UsageError(
                f"the ending of {file.path!r} does not tell its format: give --format csv, "
                "parquet or ndjson."
            )
        told.setdefault(kind, file.path)
    if len(told) > 1:
        examples = ", ".join(f"{kind} ({path!r})" for kind, path in told.items())
        raise UsageError(
            f"the source mixes formats: {examples}. Name the files of one format, e.g. with a "
            "pattern such as 'folder/*.csv'."
        )
    return next(iter(told))


def _head(file: SourceFile) -> bytes:
    if file.size == 0:
        raise InputError(f"the file {file.path!r} is empty.")
    try:
        with open_bytes(file.path) as stream:
            return bytes(stream.read(HEAD_BYTES))
    except (OSError, EOFError) as error:
        raise unreadable_file(file.path, error) from error


def unreadable_file(path: str, error: Exception) -> InputError:
    """Return the error for a file that cannot be opened or decompressed."""
    kind = compression_of(path)
    advice = "Copy it again."
    if kind is not None:
        advice = f"Its ending says {kind}: copy it again, or correct the ending."
    return InputError(f"the file {path!r} cannot be read: {str(error).rstrip('.')}. {advice}")


def _check_text(path: str, head: bytes, encoding: str) -> None:
    if not head.strip():
        raise InputError(f"the file {path!r} is empty.")
    for magic, kind, advice in _MAGIC:
        if head.startswith(magic):
            raise InputError(f"the file {path!r} is not text; it looks like {kind}: {advice}.")
    if encoding.lower().replace("_", "-").startswith(_TEXT_WITH_NULS):
        return
    if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise InputError(f"the file {path!r} is UTF-16 text: read it with --encoding utf-16.")
    if b"\0" in head:
        raise InputError(
            f"the file {path!r} holds NUL bytes, the first at byte {head.index(0):,}: it is binary "
            "data, not text."
        )


def undecodable(path: str, encoding: str, error: UnicodeDecodeError | None = None) -> InputError:
    """Return the error for bytes that are not text in the encoding asked for."""
    where = ""
    if error is not None:
        found = error.object[error.start : error.start + 1]
        where = f" (byte {found!r} at position {error.start:,})"
    advice = "latin-1" if encoding.lower() in ("utf-8", "utf8") else "utf-8"
    return InputError(
        f"the file {path!r} is not {encoding} text{where}. If it comes from another system, name "
        f"its encoding, e.g. --encoding {advice}."
    )


def _decode_head(path: str, head: bytes, encoding: str) -> str:
    try:
        decoder = codecs.getincrementaldecoder(encoding)()
        return decoder.decode(head).removeprefix("\ufeff")
    except LookupError as error:
        raise UsageError(f"the encoding {encoding!r} is not known.") from error
    except UnicodeDecodeError as error:
        raise undecodable(path, encoding, error) from error


def _csv_columns(path: str, head: str, delimiter: str) -> tuple[str, ...]:
    # csv wants the text line by line; a quoted header may run over several lines.
    names = next(
        iter(csv.reader(io.StringIO(head.lstrip("\r\n"), newline=""), delimiter=delimiter))
    )
    columns = tuple(name.strip() or f"unnamed_{n}" for n, name in enumerate(names, start=1))
    _check_names(path, columns)
    if len(columns) == 1:
        for other in (";", "\t", "|", ","):
            if other != delimiter and other in columns[0]:
                raise InputError(
                    f"the header of {path!r} has one column when cut at {delimiter!r}, but holds "
                    f"{other!r}: give --delimiter {other!r}. Header: {columns[0][:80]!r}."
                )
    return columns


def _check_names(path: str, columns: tuple[str, ...]) -> None:
    twice = sorted({name for name in columns if columns.count(name) > 1})
    if twice:
        raise InputError(
            f"the file {path!r} has several columns named {twice[0]!r}. Rename all but one, or "
            "remove them."
        )


def _ndjson_columns(path: str, head: str, is_whole: bool) -> tuple[str, ...]:
    lines = head.splitlines()
    if not is_whole:
        lines = lines[:-1] or lines
    columns: dict[str, None] = {}
    for number, line in enumerate(lines, start=1):
        if line.strip():
            try:
                record = json.loads(line)
            except json.JSONDecodeError as error:
                raise InputError(
                    f"line {number} of {path!r} is not JSON ({error.msg}): NDJSON has one object "
                    "per line."
                ) from error
            if not isinstance(record, dict):
                array = " It is a JSON array; unpack it." if isinstance(record, list) else ""
                raise InputError(
                    f"line {number} of {path!r} is not a JSON object: NDJSON has one object per "
                    f"line.{array}"
                )
            columns.update(dict.fromkeys(map(str, record)))
    return tuple(columns)


def _differ(first: str, wanted: Sequence[str], path: str, found: Sequence[str]) -> InputError:
    lacks = [name for name in wanted if name not in found]
    adds = [name for name in found if name not in wanted]
    facts = []
    if lacks:
        facts.append("it lacks " + ", ".join(map(repr, lacks)))
    if adds:
        facts.append("it adds " + ", ".join(map(repr, adds)))
    return InputError(
        f"the columns of {path!r} differ from those of {first!r}: {' and '.join(facts)}. All files "
        "of a source must have the same columns."
    )


def _block_bytes(files: Sequence[SourceFile]) -> int:
    total = sum(file.size for file in files)
    return min(MAX_BLOCK_BYTES, max(BLOCK_BYTES, total // MANY_PIECES))


def _can_cut(encoding: str) -> bool:
    """Tell whether the byte 10 is always a line feed."""
    return not encoding.lower().replace("_", "-").startswith(_TEXT_WITH_NULS)


def _cut(
    files: Sequence[tuple[SourceFile, tuple[str, ...]]], block: int, can_cut: bool
) -> list[list[FilePart]]:
    """Cut large files into blocks of bytes and gather small ones."""
    groups: list[list[FilePart]] = []
    filled = block + 1
    for file, columns in files:
        if can_cut and not compression_of(file.path) and file.size > block:
            n_cuts = -(-file.size // block)
            edges = [file.size * cut // n_cuts for cut in range(n_cuts)] + [-1]
            groups += [
                [FilePart(file.path, start, stop, columns)] for start, stop in pairwise(edges)
            ]
            filled = block + 1
            continue
        if filled + file.size > block:
            groups.append([])
            filled = 0
        groups[-1].append(FilePart(file.path, 0, -1, columns))
        filled += file.size
    return groups


def _text_size(part: FilePart, sizes: dict[str, int]) -> int:
    stop = sizes[part.path] if part.stop < 0 else part.stop
    # Compressed text is about a fifth of its size; columns of text take about twice the text.
    return (stop - part.start) * (10 if compression_of(part.path) else 2)


def _plan_text(files: list[SourceFile], kind: str, encoding: str, delimiter: str | None) -> Plan:
    heads: list[tuple[SourceFile, tuple[str, ...]]] = []
    comma = delimiter
    for file in files:
        head = _head(file)
        _check_text(file.path, head, encoding)
        decoded = _decode_head(file.path, head, encoding)
        comma = delimiter or ("\t" if ending_of(file.path) in (".tsv", ".tab") else ",")
        if kind == "csv":
            columns = _csv_columns(file.path, decoded, comma)
        else:
            columns = _ndjson_columns(file.path, decoded, len(head) < HEAD_BYTES)
        heads.append((file, columns))
    first, wanted = heads[0]
    if kind == "csv":
        for file, columns in heads:
            if set(columns) != set(wanted):
                raise _differ(first.path, wanted, file.path, columns)
    else:
        wanted = tuple(dict.fromkeys(name for _, columns in heads for name in columns))
        heads = [(file, wanted) for file, _ in heads]
    schema = pa.schema([(name, pa.large_string()) for name in wanted])
    sizes = {file.path: file.size for file in files}
    pieces = tuple(
        Piece(
            tuple(group),
            kind,
            encoding,
            comma or ",",
            schema,
            sum(_text_size(part, sizes) for part in group),
        )
        for group in _cut(heads, _block_bytes(files), _can_cut(encoding))
    )
    return Plan(pieces, schema)


def _plain_type(kind: pa.DataType) -> pa.DataType:
    """Return the type that a column is read to: text, numbers and times as pandas has them."""
    if pa.types.is_dictionary(kind):
        return _plain_type(kind.value_type)
    if pa.types.is_string(kind) or pa.types.is_string_view(kind):
        return pa.large_string()
    if pa.types.is_date(kind):
        return pa.timestamp("us")
    if pa.types.is_decimal(kind):
        return pa.float64()
    return kind


def _without_row_numbers(schema: pa.Schema) -> pa.Schema:
    """Leave out the unnamed index that pandas writes along: it is no column of the data."""
    return pa.schema([field for field in schema if not _UNNAMED_INDEX.fullmatch(field.name)])


def _plan_parquet(files: list[SourceFile]) -> Plan:
    footers: list[tuple[SourceFile, pq.FileMetaData, pa.Schema]] = []
    for file in files:
        if file.size == 0:
            raise InputError(f"the file {file.path!r} is empty.")
        try:
            with fsspec.open(file.path, "rb").open() as stream:
                footer = pq.ParquetFile(stream)
                schema = _without_row_numbers(footer.schema_arrow)
                footers.append((file, footer.metadata, schema))
        except (pa.ArrowInvalid, OSError) as error:
            raise InputError(
                f"the file {file.path!r} is not Parquet, or damaged: {str(error).rstrip('.')}. "
                "Copy it again; if it is another format, say so with --format."
            ) from error
    first, _, first_schema = footers[0]
    for file, _, schema in footers:
        if set(schema.names) != set(first_schema.names):
            raise _differ(first.path, first_schema.names, file.path, schema.names)
    plain = [
        pa.schema([(field.name, _plain_type(field.type)) for field in schema])
        for _, _, schema in footers
    ]
    try:
        schema = pa.unify_schemas(plain, promote_options="permissive")
    except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
        raise InputError(
            f"the types of columns differ between the files of the source: {error}."
        ) from error
    _check_names(first.path, tuple(schema.names))
    groups: list[list[FilePart]] = [[]]
    sizes = [0]
    for file, metadata, _ in footers:
        for number in range(metadata.num_row_groups):
            group = metadata.row_group(number)
            # Columns with few distinct values are tiny in the file, but not in memory.
            size = max(group.total_byte_size, group.num_rows * len(schema) * VALUE_BYTES)
            if sizes[-1] and sizes[-1] + size > BLOCK_BYTES:
                groups.append([])
                sizes.append(0)
            sizes[-1] += size
            groups[-1].append(FilePart(file.path, number, number + 1, ()))
    pieces = tuple(
        Piece(tuple(parts), "parquet", "", "", schema, 2 * size)
        for parts, size in zip(groups, sizes, strict=True)
    )
    return Plan(pieces, schema)


def plan_source(
    source: str | Path | Sequence[str | Path],
    *,
    format: str | None,
    encoding: str,
    delimiter: str | None,
) -> Plan:
    """Find the files of a source, check their first bytes and cut them into pieces.

    Errors as for `sources.readers.open_frames`.
    """
    files = find_files(source)
    kind = _tell_format(files, format)
    if kind == "parquet":
        return _plan_parquet(files)
    return _plan_text(files, kind, encoding, delimiter)
