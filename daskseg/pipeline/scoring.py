"""Scoring a source with a saved model.

Covers: raw ledgers for models made from one (stored definitions and cut points) and tables.
Does not cover: scoring rows in memory (`segments.model`).
"""

from __future__ import annotations

import datetime as dt
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from daskseg.config import Study
from daskseg.config.study import LEDGER_ONLY
from daskseg.engine import progress
from daskseg.engine.blocks import block_rows_for
from daskseg.engine.progress import Listener
from daskseg.errors import UsageError
from daskseg.formats import count
from daskseg.pipeline.ingest import ingest_for_model, local_paths
from daskseg.publish import check_parent, replacing_file
from daskseg.segments.membership import write_membership
from daskseg.segments.model import SegmentModel, read_model
from daskseg.texts import text

OTHER_ENDINGS = (".csv", ".tsv", ".txt", ".json", ".jsonl", ".ndjson", ".xlsx", ".xls", ".zarr")
# Arbitrary: a ledger whose history is shorter than this share of the model's gets a notice.
MIN_HISTORY = 0.8
# What a model remembers of the study's section `data`.
REMEMBERED = ("returns", "duplicates", "non_products", "non_product_codes", "window", "id")


def assign_source(
    model: Path,
    source: str | Sequence[str],
    out: Path,
    *,
    snapshot: dt.date | None = None,
    force: bool = False,
    data: Mapping[str, Any] | None = None,
    listener: Listener | None = None,
    today: dt.date | None = None,
) -> dict[str, Any]:
    """Score the customers of a source and write them as Parquet.

    Parameters
    ----------
    model : Path
        The directory of a saved model.
    source : str or sequence of str
        For a model made from a ledger: a ledger. Else a table with the model's features.
    out : Path
        A Parquet file; appears whole or not at all.
    snapshot : date, optional
        Demanded for a ledger: recency counts from it.
    force : bool
        Replace `out` if it exists.
    data : mapping, optional
        How to read the source: keys of the study's section data.
    listener : Listener, optional
    today : date, optional
        For tests.

    Returns
    -------
    dict
        rows, out, snapshot, and per segment id its name, customers and share.

    Raises
    ------
    UsageError, InputError, ArtifactError, SchemaMismatchError
    """
    loaded = read_model(model)
    _check_file(out, force=force)
    section = _data_section(loaded, source, snapshot, data or {})
    study = Study.from_dict({"data": section}, origin="")
    if out.resolve() in map(Path.resolve, local_paths(study)):
        raise UsageError(f"--out {out}: this is the source, it would be lost. Name another file.")
    day = today or dt.datetime.now(dt.UTC).date()
    with (
        progress.listening(listener),
        tempfile.TemporaryDirectory(prefix="daskseg-") as scratch_name,
    ):
        scratch = Path(scratch_name)
        found = ingest_for_model(study, scratch, day, loaded.active)
        with progress.stage("score"), replacing_file(out) as work:
            frames = found.table.aligned(block_rows_for(len(found.table.names)))
            counts = write_membership(frames, loaded, found.snapshot, work, scratch)
    total = max(1, found.table.n_rows)
    return {
        "rows": found.table.n_rows,
        "out": str(out),
        "snapshot": found.snapshot,
        "segments": {
            segment_id: {"name": name, "customers": n, "share": n / total}
            for (segment_id, n), name in zip(counts.items(), loaded.segment_names, strict=True)
        },
        "notices": [*found.notices, *_history_notice(loaded, found.definitions)],
    }


def _history_notice(model: SegmentModel, now: Mapping[str, Any]) -> list[str]:
    """Warn of a ledger that begins too late: its orders and spend count over a shorter time."""
    learned, days = model.definitions.get("history_days"), now.get("history_days")
    if not learned or days is None or days >= MIN_HISTORY * learned:
        return []
    return [text("names.notice.short_history", days=count(days), learned=count(learned))]


def _check_file(out: Path, *, force: bool) -> None:
    if out.is_dir():
        raise UsageError(f"--out {out}: a directory stands there. Name a file.")
    if out.suffix.lower() in OTHER_ENDINGS:
        raise UsageError(
            f"--out {out}: the result is a Parquet file, not {out.suffix}. Name it "
            f"{out.with_suffix('.parquet')}."
        )
    if out.exists() and not force:
        raise UsageError(f"--out {out} exists. Name another file, or pass --force to replace it.")
    check_parent(out, "Name another file.")


def _data_section(
    model: SegmentModel,
    source: str | Sequence[str],
    snapshot: dt.date | None,
    given: Mapping[str, Any],
) -> dict[str, Any]:
    if model.kind == "rfm" and snapshot is None:
        raise UsageError(
            "this model was made from a ledger: say from which day recency counts with "
            f"--snapshot DATE (the study used {model.identity['snapshot']})."
        )
    if model.kind != "rfm" and snapshot is not None:
        raise UsageError("--snapshot means nothing for a model made from a table: leave it out.")
    foreign = [key for key in LEDGER_ONLY if given.get(key) is not None]
    if model.kind != "rfm" and foreign:
        option = {"columns": "column"}.get(foreign[0], foreign[0].replace("_", "-"))
        raise UsageError(f"--{option} means nothing for a model made from a table: leave it out.")
    remembered = {
        key: model.definitions[key] for key in REMEMBERED if model.definitions.get(key) is not None
    }
    chosen = {key: value for key, value in given.items() if value is not None}
    section = {
        "source": source if isinstance(source, str) else list(source),
        "kind": model.kind,
        **remembered,
        **chosen,
    }
    if snapshot is not None:
        section["snapshot"] = snapshot.isoformat()
    return section
