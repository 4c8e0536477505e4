"""Tables of one row per customer: cut into aligned blocks, or read from a user's own table.

Covers: a sequence of Parquet files in canonical order as blocks of whole chunks, and turning
any table with an id column into such files (typed, sorted by the hash of the id, ids proven
unique). Does not cover: ledgers (see `features.customers`) or Zarr (see `store`).
"""

from __future__ import annotations

import difflib
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from daskseg.engine import passes
from daskseg.engine.blocks import FrameBlocks, Load
from daskseg.errors import BadValueError, InputError
from daskseg.sources.hashing import LineHasher, hash_texts
from daskseg.sources.ledger import bucket_of
from daskseg.sources.values import Bad, has_decimal_comma, read_ids, read_numbers

# More than half of the values unreadable: the column is text, not numbers with a slip.
_MOSTLY = 0.5
_HASH_MASK = 2**64 - 1


class Piece(NamedTuple):
    """Rows ``start:stop`` of a Parquet file."""

    path: str
    start: int
    stop: int


def read_pieces(pieces: Sequence[Piece], first_row: int) -> pd.DataFrame:
    """Read consecutive rows; the index of the frame holds their global row numbers."""
    tables = [pq.read_table(p.path).slice(p.start, p.stop - p.start) for p in pieces]
    frame: pd.DataFrame = pa.concat_tables(tables).to_pandas()
    frame.index = pd.RangeIndex(first_row, first_row + len(frame))
    return frame


def aligned_blocks(
    paths: Sequence[str], lengths: Sequence[int], chunk_rows: int, row_bytes: int = 128
) -> FrameBlocks:
    """Cut a sequence of files into blocks of exactly `chunk_rows` rows (the last may be shorter).

    Parameters
    ----------
    paths : sequence of str
        Parquet files; together, in this order, they are the table.
    lengths : sequence of int
        Rows per file.
    chunk_rows : int
    row_bytes : int
        Rough size of a row, for grouping blocks into tasks.
    """
    starts = np.cumsum([0, *lengths])
    total = int(starts[-1])
    loads, sizes = [], []
    for first in range(0, total, chunk_rows):
        last = min(first + chunk_rows, total)
        pieces = [
            Piece(path, max(first, int(start)) - int(start), min(last, int(start) + n) - int(start))
            for path, start, n in zip(paths, starts, lengths, strict=False)
            if int(start) < last and int(start) + n > first
        ]
        loads.append(Load(read_pieces, (pieces, first)))
        sizes.append((last - first) * row_bytes)
    return FrameBlocks(tuple(loads), tuple(sizes))


@dataclass(frozen=True)
class CustomerRows:
    """A table of one row per customer, as files in canonical order.

    Attributes
    ----------
    paths : tuple of str
        Parquet files with ``customer_id`` and the features.
    lengths : tuple of int
    names : tuple of str
        The features, in order.
    fingerprint : str
        Of ids and values; independent of order, blocks and file format.
    missing : dict of str to int
    left_out : tuple of str
        Text columns that are not features.
    """

    paths: tuple[str, ...]
    lengths: tuple[int, ...]
    names: tuple[str, ...]
    fingerprint: str
    missing: dict[str, int] = field(default_factory=dict)
    left_out: tuple[str, ...] = ()

    @property
    def n_rows(self) -> int:
        """Number of customers."""
        return sum(self.lengths)

    @property
    def columns(self) -> tuple[str, ...]:
        """All columns of the source but the id."""
        return (*self.names, *self.left_out)

    def aligned(self, chunk_rows: int) -> FrameBlocks:
        """Cut the table into blocks of whole chunks."""
        return aligned_blocks(self.paths, self.lengths, chunk_rows, 8 * len(self.names) + 32)


class _ColumnScan(NamedTuple):
    n_valid: int
    bad: Bad


class _TableScan(NamedTuple):
    n_rows: int
    columns: dict[str, _ColumnScan]


def _scan_block(frame: pd.DataFrame, names: tuple[str, ...]) -> _TableScan:
    columns = {}
    for name in names:
        numbers, bad = _numbers(frame[name])
        columns[name] = _ColumnScan(int((~np.isnan(numbers)).sum()), bad)
    return _TableScan(len(frame), columns)


def _numbers(column: pd.Series[Any]) -> tuple[np.ndarray[Any, np.dtype[np.float64]], Bad]:
    if isinstance(column.dtype, pd.CategoricalDtype):
        column = column.astype(object)
    if pd.api.types.is_datetime64_any_dtype(column.dtype):
        column = column.astype(str)
    return read_numbers(column.reset_index(drop=True), booleans=True)


def _add_scans(a: _TableScan, b: _TableScan) -> _TableScan:
    columns = {
        name: _ColumnScan(
            scan.n_valid + b.columns[name].n_valid, scan.bad.join(b.columns[name].bad)
        )
        for name, scan in a.columns.items()
    }
    return _TableScan(a.n_rows + b.n_rows, columns)


class _Keyed(NamedTuple):
    n_missing_ids: int
    damaged: Bad
    fingerprint: int


def _split_table(
    frame: pd.DataFrame, id_column: str, names: tuple[str, ...], n_buckets: int
) -> tuple[pd.DataFrame, _Keyed]:
    coded, damaged = read_ids(frame[id_column].reset_index(drop=True))
    known = coded.codes >= 0
    hasher = LineHasher(len(frame))
    hasher.add_text("customer_id", *coded)
    # By position: a feature may have any name, "bucket" too.
    values = {}
    for place, name in enumerate(names):
        numbers, _ = _numbers(frame[name])
        hasher.add_bits(name, numbers + 0.0, np.isnan(numbers))
        values[str(place)] = numbers
    texts = np.array([*coded.texts, None], dtype=object)[coded.codes]
    hashes = np.append(hash_texts(coded.texts), np.uint64(0))[coded.codes]
    keyed = pd.DataFrame({"customer_id": pd.Series(texts, dtype="str"), **values})
    keyed["bucket"] = bucket_of(hashes, n_buckets)
    part = _Keyed(int((~known).sum()), damaged, int(hasher.finish()[0].sum()))
    return keyed[known], part


def _add_keyed(a: _Keyed, b: _Keyed) -> _Keyed:
    return _Keyed(
        a.n_missing_ids + b.n_missing_ids,
        a.damaged.join(b.damaged),
        (a.fingerprint + b.fingerprint) & _HASH_MASK,
    )


class _Written(NamedTuple):
    path: str
    n_rows: int
    n_repeated: int
    repeated: str


def canonical_order(ids: np.ndarray[Any, Any]) -> np.ndarray[Any, np.dtype[np.intp]]:
    """Return the order by (hash of the id, id) of an object array of text."""
    return np.lexsort((ids.astype(str), hash_texts(ids)))


def _write_bucket(frame: pd.DataFrame, names: tuple[str, ...], scratch: str) -> _Written:
    frame = frame.set_axis(["customer_id", *names], axis=1)
    ids = frame["customer_id"].to_numpy(dtype=object)
    order = canonical_order(ids)
    ids = ids[order]
    repeated = sorted(ids[1:][ids[1:] == ids[:-1]])
    path = Path(scratch) / f"customers-{uuid.uuid4().hex}.parquet"
    table = pa.Table.from_pandas(frame.iloc[order], preserve_index=False)
    pq.write_table(table, path, compression="lz4")
    return _Written(str(path), len(ids), len(repeated), repeated[0] if repeated else "")


def find_column(headers: Sequence[str], name: str, option: str) -> str:
    """Return the header that `name` means: itself, or the only one that differs in case.

    Raises
    ------
    InputError
        If there is none; lists the headers and names the nearest.
    """
    if name in headers:
        return name
    alike = [header for header in headers if header.casefold() == name.casefold()]
    if len(alike) == 1:
        return alike[0]
    raise InputError(
        f"{option} {name!r}: the table has the columns {', '.join(map(repr, headers))}."
        f"{_hint(headers, name, option)}"
    )


def _hint(headers: Sequence[str], name: str, option: str) -> str:
    parts = [part.strip() for part in name.split(",")]
    if len(parts) > 1 and set(parts) <= set(headers):
        return " Give one at a time: " + " ".join(f"{option} {part!r}" for part in parts) + "."
    near = difflib.get_close_matches(name, headers, n=1)
    if near:
        return f" Did you mean {option} {near[0]!r}?"
    if option == "--id":
        return " If none of them is an id, add a column that numbers the rows."
    return ""


def build_table(
    blocks: FrameBlocks,
    headers: Sequence[str],
    id_column: str,
    scratch: Path,
    *,
    wanted: Sequence[str] | None = None,
    numeric: Sequence[str] = (),
    n_buckets: int = 1,
) -> CustomerRows:
    """Bring a table of one row per customer into canonical order.

    Parameters
    ----------
    blocks : FrameBlocks
        Any dtypes, as CSV, NDJSON, Parquet or a user's own frame brings.
    headers : sequence of str
    id_column : str
    scratch : Path
        An existing directory that every worker can reach.
    wanted : sequence of str, optional
        Take just these columns as features (for scoring); by default all but the id.
    numeric : sequence of str
        Columns that must be numeric (the value column, for one).
    n_buckets : int
        The table is sorted bucket by bucket; never changes the result.

    Returns
    -------
    CustomerRows

    Raises
    ------
    InputError
        The id column is not there; no rows; an id is missing, damaged or repeated; a column that
        is mostly numbers has values that are not; no numeric column is left; a feature has the
        name ``customer_id``.

    Notes
    -----
    Cost: two passes over the table and one over its spilled copy.
    """
    id_column = find_column(headers, id_column, "--id")
    names = tuple(wanted) if wanted is not None else tuple(h for h in headers if h != id_column)
    scan = passes.reduce(blocks, _scan_block, _add_scans, names, name="scan")
    if scan.n_rows == 0:
        raise InputError("the table has headers but no rows: nothing can be segmented.")
    left_out = tuple(n for n in names if _is_text(n, scan, must={*numeric, *(wanted or ())}))
    features = tuple(name for name in names if name not in left_out)
    if not features:
        raise InputError(
            f"none of the columns {list(names)} is numeric: there is nothing to cluster by. "
            f"Besides the id {id_column!r} at least one column of numbers is needed."
        )
    if "customer_id" in features:
        raise InputError(
            f"the table has a numeric column 'customer_id' besides the id column {id_column!r}: "
            "that name is taken for the ids. Rename it, or name it with --id."
        )
    keyed, buckets = passes.exchange(
        blocks, _split_table, _add_keyed, n_buckets, scratch, id_column, features, n_buckets
    )
    _check_ids(keyed, id_column, scan.n_rows)
    written = passes.emit(buckets, _write_bucket, features, str(scratch), name="sort")
    n_repeated = sum(record.n_repeated for record in written)
    if n_repeated:
        first = min(record.repeated for record in written if record.n_repeated)
        raise BadValueError(
            f"the column {id_column!r} repeats ids: {n_repeated:,} of {scan.n_rows:,} rows have "
            f"the id of another, e.g. {first!r}. A table must have one row per customer; for a "
            "ledger of order lines use `daskseg rfm`.",
            id_column,
            first,
        )
    return CustomerRows(
        paths=tuple(record.path for record in written),
        lengths=tuple(record.n_rows for record in written),
        names=features,
        fingerprint=f"{keyed.fingerprint:016x}-{scan.n_rows}",
        missing={name: scan.n_rows - scan.columns[name].n_valid for name in features},
        left_out=left_out,
    )


def _is_text(name: str, scan: _TableScan, must: set[str]) -> bool:
    """Say whether a column is text; refuse one that is numbers with slips."""
    n_valid, bad = scan.columns[name]
    if not bad.count:
        if n_valid == 0 and name not in must:
            raise InputError(f"the column {name!r} is empty throughout. Remove it from the table.")
        return False
    has_comma = has_decimal_comma(bad.example)
    if bad.count > _MOSTLY * (n_valid + bad.count) and name not in must and not has_comma:
        return True
    advice = (
        "It has a comma: write numbers with a decimal point and without separators of thousands."
        if has_comma
        else "Correct them, leave them empty (missing), or take another column."
    )
    raise BadValueError(
        f"{bad.count:,} of {n_valid + bad.count:,} values of the column {name!r} are not finite "
        f"numbers, e.g. {bad.example!r}. {advice}",
        name,
        bad.example,
    )


def _check_ids(keyed: _Keyed, id_column: str, n_rows: int) -> None:
    if keyed.n_missing_ids == n_rows:
        raise InputError(
            f"all {n_rows:,} rows have no id in the column {id_column!r}. Name another with --id."
        )
    if keyed.n_missing_ids:
        raise InputError(
            f"{keyed.n_missing_ids:,} of {n_rows:,} rows have no id in the column {id_column!r}. "
            "Give every customer an id, or remove these rows."
        )
    if keyed.damaged.count:
        raise BadValueError(
            f"{keyed.damaged.count:,} of {n_rows:,} ids of the column {id_column!r} lost digits to "
            f"scientific notation, e.g. {keyed.damaged.example!r}. Export the table again with ids "
            "as text.",
            id_column,
            keyed.damaged.example,
        )
