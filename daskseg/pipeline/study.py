"""A whole study: from a source to a directory that appears at once.

Covers: the order of the stages, every file of DIR, run.json and the run's identity. Does not
cover: drawing the report; the caller gives the function that does.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import json
import platform
import tempfile
from collections.abc import Callable, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from daskseg.config import Study
from daskseg.engine import progress
from daskseg.engine.progress import Listener, PassLog
from daskseg.pipeline.fitting import Fitted, check_labels, fit_segments
from daskseg.pipeline.ingest import Ingested, ingest, local_paths, store_features
from daskseg.publish import STUDY_MARK, check_target, replacing_directory
from daskseg.segments.membership import write_membership
from daskseg.segments.record import Findings, build_record, profile_rows
from daskseg.texts import text
from daskseg.version import VERSION

FORMAT_VERSION = 1
LIBRARIES = ("dask", "numba", "numpy", "pandas", "pyarrow", "scikit-learn", "zarr")

Render = Callable[[Mapping[str, Any], Path], None]


def library_versions() -> dict[str, str]:
    """Return the versions that decide a result."""
    own = {"daskseg": VERSION, "python": platform.python_version()}
    return {**own, **{name: version(name) for name in LIBRARIES}}


def run_identity(study: Study, ingested: Ingested, versions: Mapping[str, str]) -> str:
    """Return the run id: a hash of the data, the study, the seed and the versions.

    The snapshot goes in as the day that was used: given or found, it is the same study.
    """
    decided = study.identity()
    decided["data"]["snapshot"] = ingested.snapshot
    told = {"fingerprint": ingested.fingerprint, "study": decided, "versions": dict(versions)}
    text_form = json.dumps(told, sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text_form.encode()).hexdigest()[:16]


def study_title(study: Study, source: str) -> str:
    """Return the title of the report."""
    if study.report.title:
        return study.report.title
    named = study.project.name if study.project.name != "study" else Path(source).stem
    return text("names.title", name=named)


def find(study: Study, ingested: Ingested, fitted: Fitted) -> Findings:
    """Put together what the record tells."""
    model = fitted.model
    return Findings(
        model=model,
        profile=fitted.profile,
        names=fitted.names,
        silhouettes=fitted.silhouettes,
        below_zero=fitted.below_zero,
        quantiles=fitted.quantiles,
        jaccards=fitted.jaccards,
        choice=fitted.choice,
        data=ingested.data,
        waterfall=ingested.waterfall,
        accounting=ingested.accounting,
        notices=(*ingested.notices, *fitted.notices),
        title=study_title(study, ingested.data["source"]),
        run={
            **{key: model.identity[key] for key in ("run_id", "seed", "versions", "fingerprint")},
            "snapshot": ingested.snapshot,
            "model": fitted.facts,
            "study": study.identity(),
        },
        value_decimals=ingested.value_decimals,
    )


def identify(study: Study, ingested: Ingested, fitted: Fitted) -> Fitted:
    """Give a fitted model its identity."""
    versions = library_versions()
    identity = {
        "name": study.project.name,
        "version": "1",
        "run_id": run_identity(study, ingested, versions),
        "fingerprint": ingested.fingerprint,
        "snapshot": ingested.snapshot,
        "seed": study.model.seed,
        "versions": versions,
        "currency": ingested.data["currency"],
    }
    return fitted.with_identity(identity, ingested.definitions)


class _StageKeeper:
    """Remembers every stage for run.json, and passes the calls on."""

    def __init__(self, listener: Listener | None) -> None:
        self.listener = listener
        self.stages: list[dict[str, Any]] = []

    def stage_started(self, name: str, total: int | None) -> None:
        if self.listener is not None:
            self.listener.stage_started(name, total)

    def stage_advanced(self, name: str, done: int, total: int | None) -> None:
        if self.listener is not None:
            self.listener.stage_advanced(name, done, total)

    def stage_done(self, name: str, wall_s: float, passes: int, bytes_read: int) -> None:
        self.stages.append(
            {"name": name, "passes": passes, "wall_s": round(wall_s, 3), "bytes_read": bytes_read}
        )
        if self.listener is not None:
            self.listener.stage_done(name, wall_s, passes, bytes_read)


def run_study(
    study: Study,
    out: Path,
    *,
    force: bool = False,
    render: Render | None = None,
    listener: Listener | None = None,
    today: dt.date | None = None,
) -> dict[str, Any]:
    """Run a study and publish its directory as a whole.

    Parameters
    ----------
    study : Study
    out : Path
        Replaced at the end if it holds an earlier study; untouched on any error.
    force : bool
        Replace `out` whatever it holds.
    render : callable, optional
        ``render(record, path)`` writes report.html.
    listener : Listener, optional
        Told about progress.
    today : date, optional
        For tests; the current date by default.

    Returns
    -------
    dict
        The record, as in report.json.

    Raises
    ------
    UsageError, InputError, ArtifactError
        See the stages. Nothing is left behind.
    """
    check_labels(study)
    check_target(out, force=force, sources=local_paths(study))
    started = dt.datetime.now(dt.UTC)
    keeper = _StageKeeper(listener)
    with replacing_directory(out) as work:
        with (
            progress.listening(keeper),
            progress.recording("study") as log,
            tempfile.TemporaryDirectory(dir=work, prefix="scratch-") as scratch,
        ):
            record = _build(study, work, Path(scratch), today or started.date(), render)
        _write_run(work / STUDY_MARK, study, record, keeper, log, started)
    return record


def _build(
    study: Study, work: Path, scratch: Path, today: dt.date, render: Render | None
) -> dict[str, Any]:
    ingested = ingest(study, scratch, today)
    with progress.stage("store"):
        features = store_features(ingested, work / "features.zarr")
    fitted = fit_segments(
        features.blocks(),
        ingested.features,
        study,
        value=ingested.value,
        value_decimals=ingested.value_decimals,
        scratch=scratch,
    )
    fitted = identify(study, ingested, fitted)
    model = fitted.model
    with progress.stage("score"):
        frames = ingested.table.aligned(features.chunk_rows)
        path = work / "segments.parquet"
        write_membership(frames, model, ingested.snapshot, path, scratch)
    with progress.stage("report"):
        record = build_record(find(study, ingested, fitted))
        _write_json(work / "report.json", record)
        write_profile(work / "profile.parquet", fitted)
        write_curve(work / "curve.csv", fitted)
        (work / "model").mkdir()
        model.save(work / "model")
        if render is not None:
            render(record, work / "report.html")
    return record


def write_profile(path: Path, fitted: Fitted) -> None:
    """Write profile.parquet: segment_id, feature, unit, statistic, value."""
    rows = profile_rows(fitted.profile, fitted.model)
    table = pa.table({
        "segment_id": pa.array([row.segment_id for row in rows], pa.string()),
        "feature": pa.array([row.feature for row in rows], pa.string()),
        "unit": pa.array([row.unit for row in rows], pa.string()),
        "statistic": pa.array([row.statistic for row in rows], pa.string()),
        "value": pa.array([row.value for row in rows], pa.float64()),
    })  # fmt: skip
    pq.write_table(table, path, compression="zstd")


def write_curve(path: Path, fitted: Fitted) -> None:
    """Write curve.csv: one row per k, numbers in full."""
    fitted.curve.to_csv(path, index=False, lineterminator="\n")


def _write_json(path: Path, record: Mapping[str, Any]) -> None:
    content = json.dumps(record, indent=1, ensure_ascii=False, allow_nan=False)
    path.write_text(content + "\n", encoding="utf-8")


def _write_run(
    path: Path,
    study: Study,
    record: Mapping[str, Any],
    keeper: _StageKeeper,
    log: PassLog,
    started: dt.datetime,
) -> None:
    finished = dt.datetime.now(dt.UTC)
    run = record["run"]
    _write_json(
        path,
        {
            "format_version": FORMAT_VERSION,
            "run_id": run["run_id"],
            "study": study.to_dict(),
            "seed": study.model.seed,
            "fingerprint": run["fingerprint"],
            "versions": run["versions"],
            "stages": keeper.stages,
            "passes": log.passes,
            "bytes_read": log.bytes_read,
            "peak_rss_bytes": log.peak_rss_bytes,
            "data": record["data"],
            "accounting": record["accounting"],
            "waterfall": record["waterfall"],
            "started_at": started.isoformat(timespec="seconds"),
            "finished_at": finished.isoformat(timespec="seconds"),
            "wall_s": round((finished - started).total_seconds(), 3),
        },
    )
