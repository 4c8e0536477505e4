"""The criteria for a number of clusters, as small multiples of finished words.

Covers: which criteria a curve holds, their limits, whiskers, marks and hovering words. Pure
functions of the rows of ``curve.csv``.
Does not cover: drawing (see the module ``curves``), measuring (daskseg.model_selection.criteria).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from daskseg import formats
from daskseg.texts import text

__all__ = ["Panel", "Picks", "panels"]


class Picks(NamedTuple):
    """The numbers that are marked.

    Attributes
    ----------
    k : int
        The recommendation, marked in every panel.
    runner_up, knee : int or None
        Marked on the silhouette, and on the squared error.
    votes : mapping of str to int or None
        What gap statistic and prediction strength say alone; empty if not known.
    """

    k: int
    runner_up: int | None = None
    knee: int | None = None
    votes: Mapping[str, int | None] = {}


@dataclass(frozen=True, slots=True)
class Panel:
    """One criterion over the numbers of clusters; all tuples are aligned with ``ks``.

    Attributes
    ----------
    name : str
        Name of the column.
    ks : tuple of int
        Ascending, from 2: one cluster has another scale, or no value.
    values, lows, highs : tuple of float
        The points with the ends of their whiskers; equal where there are none.
    limits : tuple of float
        A limit of each number of its own; empty if there is none.
    lines : tuple of float
        Limits that are the same for all.
    hovers : tuple of str
    marks : dict of int to str
        Words beside points.
    k : int
        The recommendation.
    span : tuple of int
        Least and largest number that was tried: the axis that all panels share.
    said : str
        What the criterion says alone; empty if it has no rule.
    """

    name: str
    ks: tuple[int, ...]
    values: tuple[float, ...]
    lows: tuple[float, ...]
    highs: tuple[float, ...]
    limits: tuple[float, ...]
    lines: tuple[float, ...]
    hovers: tuple[str, ...]
    marks: dict[int, str]
    k: int
    span: tuple[int, int]
    said: str

    @property
    def title(self) -> str:
        """Return the heading."""
        return text(f"report.choice.{self.name}")


class _Kind(NamedTuple):
    """What stands beside the values of a column: the columns of an error, a least, a limit."""

    column: str
    error: str | None = None
    least: str | None = None
    limit: str | None = None
    lines: tuple[float, ...] = ()


# The lines are those of daskseg.model_selection.criteria.limits, which cannot be imported here: a
# report loads no dask. A test compares them.
_KINDS = (
    _Kind("inertia"),
    _Kind("silhouette"),
    _Kind("calinski_harabasz"),
    _Kind("davies_bouldin"),
    _Kind("gap", error="gap_se"),
    _Kind("prediction_strength", error="prediction_strength_se", lines=(0.8,)),
    _Kind("stability", least="stability_low", lines=(0.8,)),
    _Kind("min_jaccard", lines=(0.6, 0.75)),
    _Kind("border_density", limit="border_limit"),
)


def panels(rows: Iterable[Mapping[str, Any]], picks: Picks) -> tuple[Panel, ...]:
    """Return one panel per criterion that was measured at two numbers or more.

    Parameters
    ----------
    rows : iterable of mappings
        The rows of ``curve.csv``; columns may be missing, values None or NaN.
    picks : Picks

    Returns
    -------
    tuple of Panel
        In a fixed order.
    """
    known = sorted((row for row in rows if row["k"] > 1), key=lambda row: row["k"])
    found = (_panel(kind, known, picks) for kind in _KINDS)
    return tuple(panel for panel in found if panel is not None)


def _panel(kind: _Kind, rows: Sequence[Mapping[str, Any]], picks: Picks) -> Panel | None:
    used = [row for row in rows if _finite(row.get(kind.column)) is not None]
    if len(used) < 2:
        return None
    values = [float(row[kind.column]) for row in used]
    errors = [_or(row.get(kind.error or ""), 0.0) for row in used]
    leasts = [
        _or(row.get(kind.least or ""), value) for row, value in zip(used, values, strict=True)
    ]
    limits = [_finite(row.get(kind.limit or "")) for row in used]
    return Panel(
        name=kind.column,
        ks=tuple(int(row["k"]) for row in used),
        values=tuple(values),
        lows=tuple(
            min(least, value - error)
            for value, error, least in zip(values, errors, leasts, strict=True)
        ),
        highs=tuple(value + error for value, error in zip(values, errors, strict=True)),
        limits=tuple(limit for limit in limits if limit is not None) if None not in limits else (),
        lines=kind.lines,
        hovers=tuple(_hover(kind, row) for row in used),
        marks=_marks(kind.column, picks),
        k=picks.k,
        span=(int(rows[0]["k"]), int(rows[-1]["k"])),
        said=_said(kind.column, picks),
    )


def _hover(kind: _Kind, row: Mapping[str, Any]) -> str:
    words = {"k": row["k"], "value": formats.significant(row[kind.column])}
    beside = {"hover_error": kind.error, "hover_least": kind.least, "hover_limit": kind.limit}
    for name, column in beside.items():
        if column and _finite(row.get(column)) is not None:
            more = formats.significant(row[column])
            return text(f"report.choice.{name}", **words, more=more)
    return text("report.choice.hover", **words)


def _marks(column: str, picks: Picks) -> dict[int, str]:
    others = {
        "inertia": ("knee", picks.knee),
        "silhouette": ("runner_up", picks.runner_up),
        "gap": ("rule_of_gap", picks.votes.get("gap")),
    }
    marks = {picks.k: text("report.choice.chosen")}
    name, other = others.get(column, ("", None))
    if other is not None:
        word = text(f"report.choice.{name}")
        marks[other] = f"{word}, {marks[other]}" if other in marks else word
    return marks


def _said(column: str, picks: Picks) -> str:
    if column not in ("gap", "prediction_strength") or column not in picks.votes:
        return ""
    vote = picks.votes[column]
    if vote is None:
        return text("report.choice.says_none")
    return text("report.choice.says_one" if vote == 1 else "report.choice.says", k=vote)


def _or(value: float | None, instead: float) -> float:
    found = _finite(value)
    return instead if found is None else found


def _finite(value: float | None) -> float | None:
    return float(value) if value is not None and math.isfinite(value) else None
