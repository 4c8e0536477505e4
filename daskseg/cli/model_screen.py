"""What ``inspect`` shows of a saved model."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from daskseg.cli.grid import grid
from daskseg.formats import percent, significant
from daskseg.texts import text

MAX_CENTRES = 6  # arbitrary: more columns than this do not fit a terminal; --json has them all


def model_lines(record: Mapping[str, Any], path: Path) -> list[str]:
    """Return the screen of ``inspect``.

    Parameters
    ----------
    record : mapping
        As `daskseg.segments.model.describe_model` returns it.
    path : Path
        The model directory.
    """
    facts = [
        (key, _words(record[key])) for key in record if not isinstance(record[key], dict | list)
    ]
    width = max(len(key) for key, _ in facts)
    lines = [str(path)] + [
        text("cli.model.fact", key=key, value=value, width=width) for key, value in facts
    ]
    lines += ["", *_features(record), "", *_components(record), *_segments(record)]
    for part in ("definitions", "cut_points", "versions"):
        if record.get(part):
            entries = record[part].items()
            lines += ["", text(f"cli.model.{part}")]
            lines += [
                text("cli.model.item", key=key, value=_words(value)) for key, value in entries
            ]
    return lines


def _features(record: Mapping[str, Any]) -> list[str]:
    keys = ("feature", "unit", "role", "bounds", "definition")
    rows = [
        [
            feature["name"],
            str(feature["unit"] or ""),
            feature["role"],
            _bounds(feature),
            str(feature["definition"] or ""),
        ]
        for feature in record["features"]
    ]
    return grid([text(f"cli.model.{key}") for key in keys], rows, "lllll")


def _components(record: Mapping[str, Any]) -> list[str]:
    """Say how many principal components there are, and what each is made of."""
    found = record.get("pca")
    if not found:
        return []
    lines = [text("cli.model.pca", n=found["n_components"], explained=percent(found["explained"]))]
    for number, component in enumerate(found["components"], start=1):
        pairs = zip(found["columns"], component["loadings"], strict=True)
        largest = sorted(pairs, key=lambda pair: -abs(pair[1]))
        loadings = ", ".join(
            text("cli.model.loading", feature=name, value=significant(value, 2))
            for name, value in largest[:MAX_CENTRES]
        )
        share = percent(component["share"])
        lines.append(text("cli.model.component", number=number, share=share, loadings=loadings))
    return [*lines, ""]


def _bounds(feature: Mapping[str, Any]) -> str:
    """Return the bounds that values are moved to, as learned at fit."""
    plan = feature.get("prepare") or {}
    low, high = plan.get("low"), plan.get("high")
    if low is None or high is None:
        return ""
    return text("cli.model.from_to", low=significant(low), high=significant(high))


def _segments(record: Mapping[str, Any]) -> list[str]:
    names = [feature["name"] for feature in record["features"] if feature["role"] == "active"]
    names = names[:MAX_CENTRES]
    heads = [text("cli.model.segment")]
    heads += [text("cli.model.centre", feature=name) for name in names]
    rows = [
        [f"{one['segment_id']} {one['name']}", *(significant(one["centre"][n]) for n in names)]
        for one in record["segments"]
    ]
    return grid(heads, rows, "l" + "r" * len(names))


def _words(value: object) -> str:
    """Write a value of the manifest on one line."""
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {_words(one)}" for key, one in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(map(_words, value))
    if isinstance(value, float):
        return significant(value)
    return text("cli.model.none") if value is None else str(value)
