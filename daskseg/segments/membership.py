"""segments.parquet: one row per customer with its segment.

Covers: scoring blocks of customers and joining them into one file, in canonical order, with
bounded memory. Does not cover: where the customers come from.
"""

from __future__ import annotations

import uuid
from collections import Counter
from datetime import date
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from daskseg.engine import passes
from daskseg.engine.blocks import FrameBlocks
from daskseg.segments.model import SegmentModel

_FIELDS = [
    ("customer_id", pa.string()),
    ("segment_id", pa.string()),
    ("segment_name", pa.string()),
    ("confidence", pa.float64()),
    ("second_segment_id", pa.string()),
    ("distance", pa.float64()),
    ("is_outlier", pa.bool_()),
    ("model_name", pa.string()),
    ("model_version", pa.string()),
    ("snapshot_date", pa.date32()),
    ("run_id", pa.string()),
]
_RFM_FIELDS = [("rfm_code", pa.string()), ("rfm_name", pa.string())]


def membership_schema(model: SegmentModel) -> pa.Schema:
    """Return the schema of segments.parquet for a model."""
    return pa.schema(_FIELDS + (_RFM_FIELDS if model.naming is not None else []))


def membership_table(frame: pd.DataFrame, model: SegmentModel, snapshot: str | None) -> pa.Table:
    """Score one block of customers.

    Parameters
    ----------
    frame : DataFrame
        ``customer_id`` and at least the active features.
    model : SegmentModel
    snapshot : str or None
        ISO date of the features.
    """
    columns = {str(name): frame[name].to_numpy() for name in frame.columns if name != "customer_id"}
    identity = model.identity
    values: dict[str, Any] = {
        "customer_id": pa.array(frame["customer_id"].to_numpy(dtype=object), pa.string()),
        **model.score(columns),
    }
    constant = {
        "model_name": identity["name"],
        "model_version": identity["version"],
        "snapshot_date": None if snapshot is None else date.fromisoformat(snapshot),
        "run_id": identity["run_id"],
    }
    schema = membership_schema(model)
    arrays = [
        pa.array([constant[field.name]] * len(frame), field.type)
        if field.name in constant
        else pa.array(values[field.name], field.type)
        for field in schema
    ]
    return pa.Table.from_arrays(arrays, schema=schema)


class _Part(NamedTuple):
    path: str
    counts: dict[str, int]


def _score_block(
    frame: pd.DataFrame, model: SegmentModel, snapshot: str | None, scratch: str
) -> _Part:
    table = membership_table(frame, model, snapshot)
    path = Path(scratch) / f"scored-{uuid.uuid4().hex}.parquet"
    pq.write_table(table, path, compression="lz4")
    return _Part(str(path), dict(Counter(table["segment_id"].to_pylist())))


def write_membership(
    customers: FrameBlocks, model: SegmentModel, snapshot: str | None, path: Path, scratch: Path
) -> dict[str, int]:
    """Write segments.parquet: one pass over the customers, one row group per block.

    Returns
    -------
    dict of str to int
        Customers per segment id, of every segment.
    """
    parts = passes.emit(customers, _score_block, model, snapshot, str(scratch), name="score")
    with pq.ParquetWriter(path, membership_schema(model), compression="zstd") as writer:
        for part in parts:
            table = pq.read_table(part.path)
            writer.write_table(table, row_group_size=max(1, len(table)))
    totals = dict.fromkeys(model.segment_ids, 0)
    for part in parts:
        for segment_id, n in part.counts.items():
            totals[segment_id] += n
    return totals
