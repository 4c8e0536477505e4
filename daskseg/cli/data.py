"""Commands about data and models: check, assign and inspect."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

from daskseg.cli import options as opt
from daskseg.cli.flags import data_overrides, one_or_many, study_from_file, study_from_flags
from daskseg.cli.talk import Talk
from daskseg.errors import UsageError
from daskseg.publish import STUDY_MARK

if TYPE_CHECKING:
    import datetime as dt


def check(
    data: opt.Data,
    id: opt.CheckId = None,
    value: opt.Value = None,
    passive: opt.Passive = None,
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
    json: opt.Json = False,
    quiet: opt.Quiet = False,
    verbose: opt.Verbose = False,
    debug: opt.Debug = False,
) -> None:
    """Show what is in the data and what it costs to clean it. Writes nothing.

    For a ledger: columns as recognised, period, customers, and rows and money lost or set
    aside at each cleaning step. For a table (--id): columns, what they are for, and missing values.
    """
    flags = {
        "id": id,
        "value": value,
        "passive": passive,
        "snapshot": snapshot,
        "window": window,
        "returns": returns,
        "duplicates": duplicates,
        "non_products": non_products,
        "columns": columns,
        "preset": preset,
        "date_format": date_format,
        "encoding": encoding,
        "delimiter": delimiter,
        "format": format,
        "partitions": partitions,
        "currency": currency,
    }
    if len(data) == 1 and _is_study(data[0]):
        study = study_from_file(Path(data[0]), **flags)
    else:
        kind = "rfm" if id is None else "segment"
        study = study_from_flags(kind=kind, source=one_or_many(data), **flags)

    from daskseg.cli.screen import check_lines
    from daskseg.pipeline import check_source

    talk = Talk(json, quiet, verbose, debug)
    with talk.progress() as listener:
        record = check_source(study, listener=listener)
    talk.result(record, check_lines(record, verbose=verbose))


def assign(
    model: opt.Model,
    source: opt.NewData,
    out: opt.OutFile,
    snapshot: opt.AssignSnapshot = None,
    columns: opt.Columns = None,
    preset: opt.Preset = None,
    date_format: opt.DateFormat = None,
    encoding: opt.Encoding = None,
    delimiter: opt.Delimiter = None,
    format: opt.Format = None,
    partitions: opt.Partitions = None,
    force: opt.Force = False,
    json: opt.Json = False,
    quiet: opt.Quiet = False,
    verbose: opt.Verbose = False,
    debug: opt.Debug = False,
) -> None:
    """Score new data with a saved model.

    The definitions and cut points of the model are used. If it was made from a ledger, give
    the whole ledger up to the snapshot, not only its newest part: orders and spend add up.
    """
    day = _read_snapshot(snapshot)
    overrides = data_overrides(
        columns=columns,
        preset=preset,
        date_format=date_format,
        encoding=encoding,
        delimiter=delimiter,
        format=format,
        partitions=partitions,
    )
    from daskseg.cli.screen import assign_lines
    from daskseg.pipeline import assign_source

    talk = Talk(json, quiet, verbose, debug)
    started = time.perf_counter()
    with talk.progress() as listener:
        record = assign_source(
            model,
            one_or_many(source),
            out,
            snapshot=day,
            force=force,
            data=overrides,
            listener=listener,
        )
    seconds = time.perf_counter() - started
    talk.say(assign_lines(record, out, seconds, verbose=verbose))
    talk.result({**record, "out": str(out), "seconds": round(seconds, 3)})


def inspect(
    model: opt.Model,
    json: opt.Json = False,
    quiet: opt.Quiet = False,
    debug: opt.Debug = False,
) -> None:
    """Show what a saved model knows.

    Features with units, ranges and definitions, segments with names and centres, versions.
    """
    from daskseg.cli.model_screen import model_lines
    from daskseg.segments.model import describe_model

    record = describe_model(model)
    Talk(json, quiet, debug=debug).result(record, model_lines(record, model))


def _is_study(name: str) -> bool:
    path = Path(name.lower())
    return path.suffix in (".yaml", ".yml") or path.name == STUDY_MARK


def _read_snapshot(value: str | None) -> dt.date | None:
    from daskseg.config.values import read_date

    try:
        day = read_date(value)
    except ValueError as error:
        raise UsageError(f"--snapshot: {value!r} {error}.") from error
    return day  # type: ignore[return-value]  # text and None in, date or None out
