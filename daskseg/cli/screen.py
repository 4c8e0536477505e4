"""What a command shows at its end, as lines of text and as one JSON record.

Covers: the screens of a study, of check, assign and inspect. Numbers are written as in the
report. Does not cover: where the words go (talk.py); computing anything.
"""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

from daskseg.cli.grid import grid
from daskseg.formats import count, day, missing, money, percent, significant
from daskseg.texts import text

Record = Mapping[str, Any]

WIDTH = 100  # of lines that are folded; a log has no width of its own
MAX_REASONS = 3  # arbitrary: a screen, not the report
MAX_MEDIANS = 3


def study_lines(record: Record, out: Path, seconds: float, *, verbose: bool) -> list[str]:
    """Return the screen at the end of a study.

    Parameters
    ----------
    record : mapping
        The report's record.
    out : Path
        The study's directory; sizes are read from it.
    seconds : float
        Wall time of the whole command.
    verbose : bool
        All reasons and notices, not the first few.
    """
    files = ", ".join(
        _file_words(name, size, record["data"]["customers"]) for name, size in file_sizes(out)
    )
    return [
        *_data_lines(record["data"], record["waterfall"]),
        *_choice_lines(record["choice"], verbose=verbose),
        *_segment_lines(record),
        *_notice_lines(record["notices"], verbose=verbose),
        *_fold(text("cli.study.wrote", out=out, files=files), indent=7),
        text("cli.study.total", seconds=significant(seconds)),
        text("cli.study.next", path=out / "report.html"),
    ]


def study_record(record: Record, out: Path, seconds: float) -> dict[str, Any]:
    """Return the JSON of a study: its result in short, and what was written."""
    keys = ("segment_id", "name", "customers", "share", "money", "money_share", "fit")
    return {
        "kind": record["kind"],
        "title": record["title"],
        "headline": record["verdict"]["headline"],
        "rows": record["data"]["rows"],
        "customers": record["data"]["customers"],
        "snapshot": record["data"]["snapshot"],
        "k": record["choice"]["k"],
        "segments": [{key: one[key] for key in keys} for one in record["segments"]],
        "notices": list(record["notices"]),
        "run_id": record["run"]["run_id"],
        "out": str(out),
        "files": dict(file_sizes(out)),
        "seconds": round(seconds, 3),
    }


def check_lines(record: Record, *, verbose: bool) -> list[str]:
    """Return the screen of ``check``: columns, totals, and what cleaning costs."""
    roles = record.get("columns") or {}
    lines = _data_lines(record, record.get("waterfall") or [])
    if roles:
        pairs = [
            text("cli.check.column", role=role, header=header) for role, header in roles.items()
        ]
        lines[1:1] = _fold(_stage("columns", ", ".join(pairs)), indent=12)
    if record.get("kind") == "segment":
        lines += _table_lines(record)
    return [*lines, *_notice_lines(record.get("notices") or [], verbose=verbose)]


def assign_lines(record: Record, out: Path, seconds: float, *, verbose: bool) -> list[str]:
    """Return the screen of ``assign``: how many customers each segment got."""
    heads = [text("cli.table.segment"), text("cli.table.customers"), text("cli.table.share")]
    rows = [
        [f"{name} {one['name']}", count(one["customers"]), percent(one["share"])]
        for name, one in record["segments"].items()
    ]
    return [
        _stage("scores", text("cli.assign.done", rows=count(record["rows"]))),
        *_table(heads, rows, "lrr"),
        *_notice_lines(record.get("notices") or [], verbose=verbose),
        text("cli.assign.wrote", out=out, size=byte_words(_size(out))),
        text("cli.study.total", seconds=significant(seconds)),
    ]


# ── parts of a screen ─────────────────────────────────────────────────────────


def _stage(name: str, words: str) -> str:
    return text("cli.study.line", stage=text(f"cli.stage.{name}"), words=words).rstrip()


def _item(words: str) -> list[str]:
    return _fold(text("cli.study.item", words=words), indent=5)


def _fold(line: str, indent: int) -> list[str]:
    """Fold a line between words; long names and paths stay whole."""
    return textwrap.wrap(
        line,
        WIDTH,
        subsequent_indent=" " * indent,
        break_long_words=False,
        break_on_hyphens=False,
    )


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]], align: str) -> list[str]:
    return [text("cli.study.row", words=line) for line in grid(heads, rows, align)]


def _data_lines(data: Record, waterfall: Sequence[Record]) -> list[str]:
    """Return totals of the data and one line for each cleaning step that touched any."""
    currency = data.get("currency")
    total = next((step for step in waterfall if step["step"] == "raw"), None)
    rows_key = "cli.study.rows" if total else "cli.study.rows_table"
    parts = [text(rows_key, rows=count(data["rows"]))]
    if data.get("customers") is not None:
        parts.append(text("cli.study.customers", customers=count(data["customers"])))
    amount = total["money"] if total else data.get("money")
    if amount is not None:
        parts.append(text("cli.check.money", money=money(amount, currency)))
    if data.get("first_date"):
        first, last = day(data["first_date"]), day(data["last_date"])
        parts.append(text("cli.study.period", first=first, last=last))
    lines = [_stage("check", "   ".join(parts))]
    steps = [step for step in waterfall if step["step"] != "raw" and step["rows"]]
    width = max((len(_label(step)) for step in steps), default=0)
    return lines + [text("cli.study.item", words=_step_words(step, total, width)) for step in steps]


def _label(step: Record) -> str:
    """Return a step's label without the explanation in brackets: a screen is narrow."""
    return str(step["label"]).partition(" (")[0]


def _step_words(step: Record, total: Record | None, width: int) -> str:
    def share(key: str) -> str:
        whole = total[key] if total else None
        return percent(step[key] / whole) if whole and step[key] is not None else percent(None)

    key = "line" if total and total["money"] else "line_without_money"
    return text(
        f"cli.waterfall.{key}",
        label=_label(step),
        width=width,
        rows=share("rows"),
        money=share("money"),
        action=step["action"].replace("_", " "),
    )


def _table_lines(record: Record) -> list[str]:
    """Return one row per column of a table: what it is for, and what is missing."""
    heads = [text(f"cli.check.{key}") for key in ("feature", "role", "missing")]
    rows = [
        [
            one["name"],
            one["role"],
            percent(one["missing"] / record["rows"] if one["missing"] else 0),
        ]
        for one in record["features"]
    ]
    return _table(heads, rows, "llr")


def _choice_lines(choice: Record, *, verbose: bool) -> list[str]:
    # One segment is measured only to compare with.
    tried = [point["k"] for point in choice["curve"] if point["k"] > 1]
    if choice["mode"] == "found":
        words = text("cli.study.k_found", k=choice["k"])
    elif choice["mode"] != "auto" or not tried:
        words = text("cli.study.k_asked", k=choice["k"])
    else:
        key = "k_auto" if choice["runner_up"] is None else "k_auto_runner_up"
        words = text(
            f"cli.study.{key}",
            low=min(tried),
            high=max(tried),
            k=choice["k"],
            runner_up=choice["runner_up"],
        )
    reasons = choice["reasons"] if verbose else choice["reasons"][:MAX_REASONS]
    return [_stage("choice", words), *chain.from_iterable(map(_item, reasons))]


def _segment_lines(record: Record) -> list[str]:
    """Return the headline and one row per segment: size, value, fit of the name, medians."""
    segments, data = record["segments"], record["data"]
    shown = _features_to_show(record)
    with_money = any(one["money"] is not None for one in segments)
    with_shares = any(one["money_share"] is not None for one in segments)
    with_fit = any(one["fit"] is not None for one in segments)
    heads = [text("cli.table.segment"), text("cli.table.share")]
    if with_money:
        heads.append(_value_head(record, of=with_shares))
    heads += [text("cli.table.fit")] * with_fit
    heads.append(text("cli.table.medians"))
    rows = [
        [
            f"{one['segment_id']} {one['name']}",
            percent(one["share"]),
            *[_value_words(one, data["currency"], share=with_shares)] * with_money,
            *[_fit_words(one)] * with_fit,
            _median_words(one, shown, data["currency"]),
        ]
        for one in segments
    ]
    table = _table(heads, rows, "l" + "r" * (len(heads) - 2) + "l")
    return [*_fold(_stage("segments", record["verdict"]["headline"]), indent=12), *table]


def _fit_words(one: Record) -> str:
    """Return how well the name fits; words of our own claim no fit."""
    return missing() if one["name_kind"] == "neutral" else percent(one["fit"])


def _value_head(record: Record, *, of: bool) -> str:
    """Return the head of the column of the value: its shares, or (returns outweigh) amounts."""
    if record["kind"] == "rfm":
        return text("cli.table.money" if of else "cli.table.money_amount")
    name = record["data"]["value_feature"]
    return text("cli.table.value", value=name) if of else name


def _value_words(one: Record, currency: str | None, *, share: bool) -> str:
    return percent(one["money_share"]) if share else money(one["money"], currency)


def _median_words(one: Record, features: Sequence[Record], currency: str | None) -> str:
    """Return the medians of a segment: with their unit if it says what is counted."""
    medians = {entry["feature"]: entry["median"] for entry in one["features"]}
    words = []
    for feature in features:
        value = medians.get(feature["name"])
        unit = feature["unit"] or ""
        if feature["money"] or unit in ("", "1"):
            amount = money(value, currency) if feature["money"] else significant(value)
            words.append(text("cli.table.named", label=feature["label"], value=amount))
        else:
            unit = unit.removesuffix("s") if value == 1 else unit
            words.append(text("cli.table.counted", value=significant(value), unit=unit))
    return text("cli.table.between").join(words)


def _features_to_show(record: Record) -> list[Record]:
    """Return the active features that set segments apart most, in the order of the table."""
    active = [feature["name"] for feature in record["features"] if feature["role"] == "active"]
    largest = dict.fromkeys(active, 0.0)
    for one in record["segments"]:
        for entry in one["features"]:
            if entry["feature"] in largest and entry["effect"] is not None:
                name = entry["feature"]
                largest[name] = max(largest[name], abs(entry["effect"]))
    chosen = sorted(active, key=lambda name: -largest[name])[:MAX_MEDIANS]
    return [feature for feature in record["features"] if feature["name"] in chosen]


def _notice_lines(notices: Sequence[str], *, verbose: bool) -> list[str]:
    shown = notices if verbose else notices[:MAX_REASONS]
    lines = list(chain.from_iterable(map(_item, shown)))
    if len(notices) > len(shown):
        lines.extend(_item(text("cli.study.more", n=len(notices) - len(shown))))
    return [_stage("notices", ""), *lines] if lines else []


# ── files ─────────────────────────────────────────────────────────────────────


def file_sizes(out: Path) -> list[tuple[str, int]]:
    """Return name and bytes of what stands in a directory; folders end in a slash."""
    if not out.is_dir():
        return []
    order = {name: place for place, name in enumerate(("report.html", "segments.parquet"))}
    entries = sorted(out.iterdir(), key=lambda path: (order.get(path.name, len(order)), path.name))
    return [(f"{path.name}/" if path.is_dir() else path.name, _size(path)) for path in entries]


def _size(path: Path) -> int:
    if path.is_dir():
        return sum(inner.stat().st_size for inner in path.rglob("*") if inner.is_file())
    return path.stat().st_size if path.exists() else 0


def _file_words(name: str, size: int, customers: int) -> str:
    if name == "segments.parquet":
        return text("cli.study.file_rows", name=name, rows=count(customers), size=byte_words(size))
    return text("cli.study.file", name=name, size=byte_words(size))


def byte_words(size: int) -> str:
    """Return a size in decimal units, as disks and uploads are measured.

    Examples
    --------
    >>> byte_words(999), byte_words(9_100), byte_words(2_300_000)
    ('999 B', '9.1 kB', '2.3 MB')
    """
    for limit, unit in ((10**9, "GB"), (10**6, "MB"), (10**3, "kB")):
        if size >= limit:
            return f"{significant(size / limit, 2 if size < 100 * limit else 3)} {unit}"
    return f"{size} B"
