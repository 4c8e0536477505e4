"""Commands that make a study: rfm, segment, run and the demos.

Covers: options to a `Study`, one call of the pipeline, the screen at its end.
Does not cover: what a study does (daskseg.pipeline). All four end in the same call, so that
the command line, a study file and Python give the same bytes.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from daskseg.cli import options as opt
from daskseg.cli.flags import one_or_many, study_from_file, study_from_flags
from daskseg.cli.talk import Talk
from daskseg.errors import UsageError
from daskseg.texts import text

if TYPE_CHECKING:
    from daskseg.config import Study

DEMO_MARK = Path("data", "truth.parquet")


def rfm(
    ledger: opt.Ledger,
    out: opt.OutDir,
    snapshot: opt.Snapshot = None,
    window: opt.Window = None,
    returns: opt.Returns = None,
    duplicates: opt.Duplicates = None,
    non_products: opt.NonProducts = None,
    columns: opt.Columns = None,
    preset: opt.Preset = None,
    date_format: opt.DateFormat = None,
    encoding: opt.Encoding = None,
    delimiter: opt.Delimiter = None,
    format: opt.Format = None,
    partitions: opt.Partitions = None,
    currency: opt.Currency = None,
    pca: opt.Pca = None,
    model: opt.ModelKind = None,
    k: opt.K = None,
    k_range: opt.KRange = None,
    min_share: opt.MinShare = None,
    max_share: opt.MaxShare = None,
    min_customers: opt.MinCustomers = None,
    seed: opt.Seed = None,
    scheme: opt.SchemeName = None,
    title: opt.Title = None,
    map_: opt.Map = None,
    force: opt.Force = False,
    json: opt.Json = False,
    quiet: opt.Quiet = False,
    verbose: opt.Verbose = False,
    debug: opt.Debug = False,
) -> None:
    """Segment the customers of a ledger by how they buy.

    Counts recency, orders and spend per customer. Reads the ledger as it is, shows what
    cleaning costs, and writes report.html, report.json, segments.parquet, profile.parquet,
    curve.csv, features.zarr, model/ and run.json into DIR.
    """
    study = study_from_flags(
        kind="rfm",
        source=one_or_many(ledger),
        snapshot=snapshot,
        window=window,
        returns=returns,
        duplicates=duplicates,
        non_products=non_products,
        columns=columns,
        preset=preset,
        date_format=date_format,
        encoding=encoding,
        delimiter=delimiter,
        format=format,
        partitions=partitions,
        currency=currency,
        pca=pca,
        model=model,
        k=k,
        k_range=k_range,
        min_share=min_share,
        max_share=max_share,
        min_customers=min_customers,
        seed=seed,
        scheme=scheme,
        title=title,
        map=map_,
    )
    _run("rfm", study, out, force=force, talk=Talk(json, quiet, verbose, debug))


def segment(
    table: opt.Table,
    id: opt.Id,
    out: opt.OutDir,
    value: opt.Value = None,
    passive: opt.Passive = None,
    encoding: opt.Encoding = None,
    delimiter: opt.Delimiter = None,
    format: opt.Format = None,
    partitions: opt.Partitions = None,
    currency: opt.Currency = None,
    pca: opt.Pca = None,
    model: opt.ModelKind = None,
    k: opt.K = None,
    k_range: opt.KRange = None,
    min_share: opt.MinShare = None,
    max_share: opt.MaxShare = None,
    min_customers: opt.MinCustomers = None,
    seed: opt.Seed = None,
    title: opt.Title = None,
    map_: opt.Map = None,
    force: opt.Force = False,
    json: opt.Json = False,
    quiet: opt.Quiet = False,
    verbose: opt.Verbose = False,
    debug: opt.Debug = False,
) -> None:
    """Segment a table that has one row per customer already.

    All numeric columns form the segments, except the id and those named with --passive.
    """
    study = study_from_flags(
        kind="segment",
        source=one_or_many(table),
        id=id,
        value=value,
        passive=passive,
        encoding=encoding,
        delimiter=delimiter,
        format=format,
        partitions=partitions,
        currency=currency,
        pca=pca,
        model=model,
        k=k,
        k_range=k_range,
        min_share=min_share,
        max_share=max_share,
        min_customers=min_customers,
        seed=seed,
        title=title,
        map=map_,
    )
    _run("segment", study, out, force=force, talk=Talk(json, quiet, verbose, debug))


def run(
    study_file: opt.StudyFile,
    out: opt.OutDir,
    snapshot: opt.Snapshot = None,
    pca: opt.Pca = None,
    model: opt.ModelKind = None,
    k: opt.K = None,
    k_range: opt.KRange = None,
    min_share: opt.MinShare = None,
    max_share: opt.MaxShare = None,
    min_customers: opt.MinCustomers = None,
    seed: opt.Seed = None,
    partitions: opt.Partitions = None,
    force: opt.Force = False,
    json: opt.Json = False,
    quiet: opt.Quiet = False,
    verbose: opt.Verbose = False,
    debug: opt.Debug = False,
) -> None:
    """Run a study that is declared in one file. Options win over the file.

    'daskseg init' writes a commented file. Relative paths in it start at the working directory.
    """
    study = study_from_file(
        study_file,
        snapshot=snapshot,
        pca=pca,
        model=model,
        k=k,
        k_range=k_range,
        min_share=min_share,
        max_share=max_share,
        min_customers=min_customers,
        seed=seed,
        partitions=partitions,
    )
    _run("run", study, out, force=force, talk=Talk(json, quiet, verbose, debug))


def retail(
    out: Annotated[
        Path,
        typer.Option(
            "--out", metavar="DIR", help="The data go to DIR/data, the study to DIR/study."
        ),
    ],
    rows: Annotated[
        str, typer.Option(metavar="N", help="Ledger lines to make up, like 50000 or 1e6.")
    ] = "100000",
    seed: opt.Seed = None,
    force: opt.Force = False,
    json: opt.Json = False,
    quiet: opt.Quiet = False,
    verbose: opt.Verbose = False,
    debug: opt.Debug = False,
) -> None:
    """Make up the ledger of a shop whose segments are known, and study it.

    The ledger has what real ones have: lines without a customer, returns, duplicates, fees.
    DIR/data/truth.parquet holds the segment that each customer was made from.
    """
    talk = Talk(json, quiet, verbose, debug)
    n_rows = _read_rows(rows)
    _check_demo_target(out, force=force)
    started = time.perf_counter()
    from daskseg.demo.retail import write_demo

    ledger = write_demo(out / "data", n_rows, 0 if seed is None else seed)
    talk.say([text("cli.demo.made", rows=f"{n_rows:,}", path=ledger)])
    study = study_from_flags(kind="rfm", source=str(ledger), name="demo retail", seed=seed)
    made = {"ledger": str(ledger), "truth": str(out / DEMO_MARK)}
    _run("demo retail", study, out / "study", force=force, talk=talk, started=started, extra=made)


def _read_rows(rows: str) -> int:
    try:
        number = float(rows)
    except ValueError:
        number = 0.5
    if not number.is_integer() or number < 1:
        raise UsageError(f"--rows {rows!r} is not a whole number above zero, like 50000 or 1e6.")
    return int(number)


def _check_demo_target(out: Path, *, force: bool) -> None:
    if out.exists() and not out.is_dir():
        raise UsageError(text("cli.errors.out_is_a_file", out=out))
    foreign = out.is_dir() and any(out.iterdir()) and not (out / DEMO_MARK).is_file()
    if foreign and not force:
        raise UsageError(text("cli.errors.not_a_demo", out=out, mark=DEMO_MARK))


def _run(
    command: str,
    study: Study,
    out: Path,
    *,
    force: bool,
    talk: Talk,
    started: float | None = None,
    extra: dict[str, Any] | None = None,
) -> None:
    started = time.perf_counter() if started is None else started
    from daskseg.cli.screen import study_lines, study_record
    from daskseg.pipeline import run_study
    from daskseg.report import write_report

    with talk.progress() as listener:
        record = run_study(study, out, force=force, render=write_report, listener=listener)
    seconds = time.perf_counter() - started
    talk.say(study_lines(record, out, seconds, verbose=talk.verbose))
    talk.result({"command": command, **(extra or {}), **study_record(record, out, seconds)})
