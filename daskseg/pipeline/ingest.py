"""From a study's source to one row per customer.

Covers: ledgers, tables and Zarr stores, each brought to the same `Ingested`: aligned frames,
what the features mean, the account of the money, and what the reader should know.
Does not cover: clustering (`pipeline.fitting`) or files of the study (`pipeline.study`).
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from daskseg import store
from daskseg.config import Study
from daskseg.engine import passes, progress
from daskseg.engine.blocks import FrameBlocks, Load
from daskseg.errors import InputError, SchemaMismatchError
from daskseg.features.customers import CustomerTable, LedgerSpec, build_customers
from daskseg.features.definitions import FEATURE_NAMES, feature_records
from daskseg.features.tables import CustomerRows, build_table, find_column
from daskseg.formats import count, percent
from daskseg.segments.model import Feature
from daskseg.sources import readers
from daskseg.sources.columns import resolve
from daskseg.sources.files import find_files
from daskseg.sources.locate import placing
from daskseg.texts import text

# Arbitrary: what a task holds of a bucket is a few times this.
BUCKET_BYTES = 64 * 2**20
MAX_BUCKETS = 4096
# A value column with more decimals than this is summed to a millionth.
MAX_DECIMALS = 6


@dataclass(frozen=True)
class Ingested:
    """One row per customer, and what is known about it.

    Attributes
    ----------
    table : CustomerRows
    features : tuple of Feature
    value : str or None
        The feature whose totals order the segments.
    value_decimals : int
    fingerprint : str
        Of the source: independent of order, partitions and file format.
    data : dict
        The data card of the report.
    definitions : dict
        What a model must remember to make the same features again.
    waterfall : tuple of dict
    accounting : dict or None
    notices : tuple of str
    """

    table: CustomerRows
    features: tuple[Feature, ...]
    value: str | None
    value_decimals: int
    fingerprint: str
    data: dict[str, Any]
    definitions: dict[str, Any]
    waterfall: tuple[Mapping[str, Any], ...] = ()
    accounting: Mapping[str, Any] | None = None
    notices: tuple[str, ...] = field(default=())

    @property
    def snapshot(self) -> str | None:
        """Day of the features, ISO."""
        day = self.data["snapshot"]
        return None if day is None else str(day)


def _n_buckets(blocks: FrameBlocks) -> int:
    """Return how many buckets keep each within the memory of a task."""
    return min(MAX_BUCKETS, 1 + sum(blocks.sizes_bytes) // BUCKET_BYTES)


def _source_name(source: str | Sequence[str]) -> str:
    if isinstance(source, str):
        return Path(source).name or source
    return ", ".join(Path(one).name for one in source[:3]) + (" …" if len(source) > 3 else "")


def open_source(study: Study) -> tuple[FrameBlocks, tuple[str, ...]]:
    """Open a study's files as blocks of frames, with their headers."""
    data = study.data
    return readers.open_blocks(
        data.source,
        format=data.format,
        encoding=data.encoding,
        delimiter=data.delimiter,
        partitions=data.partitions,
    )


def local_paths(study: Study) -> list[Path]:
    """Return the files of a study's source that lie in the file system.

    Raises
    ------
    UsageError
        No such source.
    """
    if _is_array(study):
        return [Path(str(study.data.source))]
    files = find_files(study.data.source)
    return [Path(file.path) for file in files if "://" not in file.path]


def _is_array(study: Study) -> bool:
    """Tell whether the source is a Zarr store."""
    source = study.data.source
    if study.data.kind == "rfm" or not isinstance(source, str):
        return False
    return study.data.format == "zarr" or store.is_zarr(source)


def _placing(study: Study) -> AbstractContextManager[None]:
    """Let errors about values name file and row."""
    data = study.data
    if _is_array(study):
        return nullcontext()
    return placing(
        data.source, format=data.format, encoding=data.encoding, delimiter=data.delimiter
    )


def ingest(study: Study, scratch: Path, today: dt.date) -> Ingested:
    """Read a study's source.

    Parameters
    ----------
    study : Study
    scratch : Path
        An existing directory that every worker can reach; it must outlive the result.
    today : date
        Ledger lines after it are refused when no snapshot was given.

    Raises
    ------
    UsageError, InputError, ArtifactError
    """
    if study.data.kind == "rfm":
        return ingest_ledger(study, scratch, today)
    return ingest_table(study, scratch)


def ledger_rows(table: CustomerTable) -> CustomerRows:
    """Take a table of customers as rows with the published features."""
    return CustomerRows(table.paths, table.lengths, FEATURE_NAMES, table.fingerprint)


def ingest_ledger(study: Study, scratch: Path, today: dt.date) -> Ingested:
    """Read a ledger: clean it and compute the RFM features, in one pass over the source."""
    data = study.data
    with progress.stage("check"):
        blocks, headers = open_source(study)
        mapping = None if data.columns is None else {str(r): h for r, h in data.columns.items()}
        roles = resolve(headers, mapping=mapping, preset=data.preset)
    spec = LedgerSpec(
        roles=roles,
        date_format=data.date_format,
        snapshot=data.snapshot,
        window_days=data.window_days,
        returns=data.returns,
        duplicates=data.duplicates,
        non_products=data.non_products,
        non_product_codes=None if data.non_product_codes is None else tuple(data.non_product_codes),
        today=today,
    )
    with progress.stage("features"), _placing(study):
        table = build_customers(blocks, spec, scratch, _n_buckets(blocks))
    snapshot = table.snapshot.isoformat()
    records = feature_records(
        snapshot=snapshot,
        money_decimals=table.money_decimals,
        returns=data.returns,
        window_days=data.window_days,
    )
    return Ingested(
        table=ledger_rows(table),
        features=tuple(Feature(**record) for record in records),
        value="spend_net",
        value_decimals=table.money_decimals,
        fingerprint=table.fingerprint,
        data={
            "source": _source_name(data.source),
            "rows": table.scan.n_rows,
            "customers": table.n_customers,
            "first_date": str(table.scan.first_time.astype("datetime64[D]")),
            "last_date": str(table.scan.last_time.astype("datetime64[D]")),
            "snapshot": snapshot,
            "window": data.window,
            "currency": study.project.currency or _currency(table),
            "money_decimals": table.money_decimals,
            "value_feature": "spend_net",
            "columns": dict(roles),
        },
        definitions={
            "kind": "rfm",
            "returns": data.returns,
            "duplicates": data.duplicates,
            "non_products": data.non_products,
            "non_product_codes": data.non_product_codes,
            "window": data.window,
            "history_days": _history_days(table, data.window_days),
        },
        waterfall=tuple(table.waterfall.to_records()),
        accounting=table.waterfall.accounting(),
        notices=table.notices,
    )


def _history_days(table: CustomerTable, window_days: int | None) -> int:
    """Return how many days before the snapshot count: since the first line, or the window."""
    first: dt.date = table.scan.first_time.astype("datetime64[D]").item()
    days = (table.snapshot - first).days
    return days if window_days is None else min(days, window_days)


def _currency(table: CustomerTable) -> str | None:
    found = list(table.scan.currencies)
    return found[0] if len(found) == 1 else None


def ingest_table(study: Study, scratch: Path) -> Ingested:
    """Read a table that already has one row per customer."""
    data = study.data
    assert data.id is not None
    notices: list[str] = []
    with progress.stage("check"):
        table, fingerprint = _read_table(study, scratch, notices)
    passive = {find_column(table.columns, name, "--passive") for name in data.passive}
    value = None if data.value is None else find_column(table.names, data.value, "--value")
    features = tuple(
        Feature(
            name=name,
            label=name.replace("_", " "),
            unit="",
            role="passive" if name in passive else "active",
            definition=text("names.notice.column", name=name),
        )
        for name in table.names
    )
    if not any(feature.role == "active" for feature in features):
        raise InputError("every numeric column is passive: there is nothing to cluster by.")
    notices += _missing_notices(table)
    notices += _text_notices(table)
    return Ingested(
        table=table,
        features=features,
        value=value,
        value_decimals=MAX_DECIMALS,
        fingerprint=fingerprint,
        data={
            "source": _source_name(data.source),
            "rows": table.n_rows,
            "customers": table.n_rows,
            "first_date": None,
            "last_date": None,
            "snapshot": None,
            "window": None,
            "currency": study.project.currency,
            "money_decimals": None,
            "value_feature": value,
            "columns": {"id": data.id},
        },
        definitions={"kind": "segment", "id": data.id},
        notices=tuple(notices),
    )


def _missing_notices(table: CustomerRows) -> list[str]:
    return [
        text(
            "names.notice.missing",
            name=name,
            n=count(n_missing),
            share=percent(n_missing / table.n_rows),
        )
        for name, n_missing in table.missing.items()
        if n_missing
    ]


def _text_notices(table: CustomerRows) -> list[str]:
    if not table.left_out:
        return []
    key = "text_column" if len(table.left_out) == 1 else "text_columns"
    names = ", ".join(table.left_out)
    return [text(f"names.notice.{key}", n=len(table.left_out), names=names)]


def _read_table(study: Study, scratch: Path, notices: list[str]) -> tuple[CustomerRows, str]:
    data = study.data
    assert data.id is not None
    if _is_array(study):
        blocks, headers, has_ids = zarr_frames(str(data.source), data.id)
        if not has_ids:
            notices.append(text("names.notice.row_ids"))
    else:
        blocks, headers = open_source(study)
    for name in data.passive:  # a slip is told before anything is read
        find_column(headers, name, "--passive")
    numeric = [] if data.value is None else [find_column(headers, data.value, "--value")]
    with _placing(study):
        table = build_table(
            blocks,
            headers,
            data.id,
            scratch,
            numeric=numeric,
            n_buckets=_n_buckets(blocks),
        )
    return table, table.fingerprint


def zarr_frames(path: str, id_column: str) -> tuple[FrameBlocks, tuple[str, ...], bool]:
    """Open a feature store or a bare two-dimensional array as frames with an id column.

    Returns
    -------
    blocks : FrameBlocks
    headers : tuple of str
    has_ids : bool
        False for a bare array: its rows are numbered.
    """
    blocks = store.open_blocks(path)
    has_ids = store.is_feature_store(path)
    names = blocks.columns or tuple(f"x{column}" for column in range(blocks.n_features))
    loads = tuple(
        Load(store.read_frame, (load, first, names, id_column, path if has_ids else None))
        for load, first in zip(blocks.loads, blocks.offsets, strict=True)
    )
    sizes = tuple(n * blocks.n_features * blocks.dtype.itemsize for n in blocks.lengths)
    return FrameBlocks(loads, sizes), (id_column, *names), has_ids


def ingest_for_model(
    study: Study, scratch: Path, today: dt.date, active: Sequence[str]
) -> Ingested:
    """Read a source that a saved model is to score: only its features are needed.

    Raises
    ------
    SchemaMismatchError
        If a feature of the model is not among the columns.
    """
    if study.data.kind == "rfm":
        return ingest_ledger(study, scratch, today)
    assert study.data.id is not None
    if _is_array(study):
        blocks, headers, _ = zarr_frames(str(study.data.source), study.data.id)
    else:
        blocks, headers = open_source(study)
    missing = [name for name in active if name not in headers]
    if study.data.id.casefold() not in map(str.casefold, headers):
        missing.insert(0, study.data.id)
    if missing:
        raise SchemaMismatchError(
            f"the model needs the id column {study.data.id!r} and the columns {list(active)}, but "
            f"{_source_name(study.data.source)} has no {missing}; its columns are {list(headers)}. "
            "Add or rename columns; what else the table has is ignored."
        )
    with progress.stage("features"), _placing(study):
        table = build_table(
            blocks,
            headers,
            study.data.id,
            scratch,
            wanted=active,
            n_buckets=_n_buckets(blocks),
        )
    return Ingested(
        table=table,
        features=(),
        value=None,
        value_decimals=0,
        fingerprint=table.fingerprint,
        data={"snapshot": None},
        definitions={"kind": "segment"},
        notices=tuple(_missing_notices(table)),
    )


def store_features(ingested: Ingested, path: Path) -> store.FeatureStore:
    """Write features.zarr: one pass over the table of customers, one task per whole chunk."""
    features = ingested.features
    created = store.create_features(
        path,
        ingested.table.n_rows,
        {
            "names": list(ingested.table.names),
            "units": [feature.unit for feature in features],
            "roles": [feature.role for feature in features],
            "definitions": [feature.definition for feature in features],
            "snapshot": ingested.snapshot,
            "fingerprint": ingested.fingerprint,
        },
    )
    frames = ingested.table.aligned(created.chunk_rows)
    columns = ["customer_id", *ingested.table.names]
    n_written = passes.emit(
        frames.map(take_frame_columns, columns),
        store.write_chunk,
        created.path,
        created.chunk_rows,
        created.n_rows,
        name="store",
    )
    if sum(n_written) != created.n_rows:
        raise InputError(
            f"{sum(n_written)} of {created.n_rows} customers were written to {path}: run again."
        )
    return created


def take_frame_columns(frame: Any, columns: list[str]) -> Any:
    """Return some columns of a frame."""
    return frame[columns]
