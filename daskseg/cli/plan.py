"""The command plan: what a study will cost, before it is run.

Covers: the command and its screen. Does not cover: the estimates (daskseg.pipeline.plan).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from daskseg.cli import options as opt
from daskseg.cli.flags import study_from_file
from daskseg.cli.grid import grid
from daskseg.cli.screen import byte_words
from daskseg.cli.talk import Talk
from daskseg.formats import count, significant
from daskseg.texts import text


def plan(
    study_file: opt.StudyFile,
    k: opt.K = None,
    k_range: opt.KRange = None,
    json: opt.Json = False,
    quiet: opt.Quiet = False,
    verbose: opt.Verbose = False,
    debug: opt.Debug = False,
) -> None:
    """Show what a study will cost: passes, bytes, memory and seconds. Writes nothing.

    Looks at the beginnings of the files, reads at most two pieces of them, and times this machine.
    Exit code 5 if the study cannot fit the memory.
    """
    study = study_from_file(study_file, k=k, k_range=k_range)

    from daskseg.pipeline.plan import plan_study

    talk = Talk(json, quiet, verbose, debug)
    with talk.progress():
        record = plan_study(study)
    talk.result({"command": "plan", **record}, plan_lines(record))


def plan_lines(record: Mapping[str, Any]) -> list[str]:
    """Return the screen of a plan.

    Parameters
    ----------
    record : mapping
        As from `daskseg.pipeline.plan.plan_study`.
    """
    stages = record["stages"]
    total = {
        "name": text("plan.total"),
        "passes": record["passes"],
        "bytes_read": record["bytes_read"],
        "peak_bytes": record["memory"]["peak_bytes"],
        "seconds": record["seconds"],
    }
    heads = [text(f"plan.heads.{head}") for head in ("stage", "passes", "bytes", "peak", "seconds")]
    table = grid(heads, [_row(stage) for stage in (*stages, total)], "lrrrr")
    return [
        _line("plan", _head(record)),
        *(text("cli.study.row", words=line) for line in table),
        _line("memory", _memory(record["memory"])),
        _line("tasks", _tasks(record["memory"])),
        _line("unknown", ""),
        *(text("cli.study.item", words=sentence) for sentence in record["unknown"]),
    ]


def _line(stage: str, words: str) -> str:
    return text("cli.study.line", stage=text(f"plan.stage.{stage}"), words=words).rstrip()


def _head(record: Mapping[str, Any]) -> str:
    what = text("plan.lines" if record["kind"] == "rfm" else "plan.rows")
    rows = count(record["rows"])
    if record["rows_are"] == "about":
        rows = text("plan.about", value=rows)
    low, high = record["customers"]
    customers = count(high) if low == high else text("plan.at_most", value=count(high))
    return ", ".join([
        record["source"],
        text("plan.head_rows", rows=rows, what=what),
        text("plan.customers", customers=customers),
        text("plan.features", features=count(record["features"])),
    ])  # fmt: skip


def _row(stage: Mapping[str, Any]) -> list[str]:
    return [
        stage["name"],
        _range(stage["passes"]),
        byte_words(stage["bytes_read"]),
        byte_words(stage["peak_bytes"]),
        _range(stage["seconds"]),
    ]


def _range(pair: Sequence[float]) -> str:
    low, high = (significant(value, 2) for value in pair)
    return low if low == high else text("plan.between", low=low, high=high)


def _memory(record: Mapping[str, Any]) -> str:
    words = {"peak": byte_words(record["peak_bytes"]), "idle": byte_words(record["idle_bytes"])}
    if record["limit_bytes"] is None:
        return text("plan.memory_unlimited", **words)
    limit = byte_words(record["limit_bytes"])
    return text("plan.memory", limit=limit, origin=record["origin"], **words)


def _tasks(record: Mapping[str, Any]) -> str:
    if record["processes"] == 1:
        return text("plan.tasks_one", threads=record["threads"])
    return text("plan.tasks", threads=record["threads"], processes=record["processes"])
