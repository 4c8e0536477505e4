"""What the second half of the report says: record in, small views of finished words out.

Covers: choice of k, cleaning and accounting, cut points,
definitions, preparation, run. Pure functions of the record; no markup and no drawing.
Does not cover: cards and bars (daskseg.report.views), heat maps (daskseg.report.maps).
See also: daskseg.report.blocks (markup), daskseg.report.figures (drawing).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from itertools import pairwise
from typing import Any

from daskseg import formats
from daskseg.charts.criteria import Panel, Picks, panels
from daskseg.report.views import (
    Record,
    column_unit,
    feature_labels,
    feature_unit,
    money_heading,
)
from daskseg.texts import has_text, sentences, text

__all__ = [
    "AccountingView",
    "ChoiceView",
    "CurvePoint",
    "CutPointsView",
    "TableView",
    "WaterfallView",
    "accounting",
    "choice",
    "cut_points",
    "definitions",
    "glossary",
    "preparation",
    "run_facts",
    "waterfall",
]

#: Terms of the glossary that only a study with orders and naming rules uses.
_RFM_TERMS = frozenset({"label_fit", "snapshot", "net_spend", "unattributed", "ari"})
#: Columns of the curve that are no plain numbers.
_FORMS: Mapping[str, Callable[[float | None], str]] = {
    "explained_variance": formats.percent,
    "smallest_share": formats.percent,
    "largest_share": formats.percent,
    "n_resamples": formats.count,
}


@dataclass(frozen=True, slots=True)
class CurvePoint:
    """One number of segments that was tried."""

    k: int
    cells: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ChoiceView:
    """How the number of segments was chosen; the curve is ascending in k.

    ``header`` heads the cells of the curve; ``panels`` are the criteria that can be drawn.
    """

    lede: str
    reasons: tuple[str, ...]
    grade: str | None
    structure: str | None
    header: tuple[str, ...]
    curve: tuple[CurvePoint, ...]
    panels: tuple[Panel, ...]


@dataclass(frozen=True, slots=True)
class TableView:
    """A table of finished words."""

    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True, slots=True)
class WaterfallView:
    """The cleaning steps; ``touched`` is each step's share of all rows."""

    rows: tuple[tuple[str, ...], ...]
    touched: tuple[float, ...]
    heading: str


@dataclass(frozen=True, slots=True)
class AccountingView:
    """Parts (label, amount, share of the total; is it zero) that add up to the total."""

    parts: tuple[tuple[str, str, str, bool], ...]
    total: str
    verdict: str
    adds_up: bool
    heading: str


@dataclass(frozen=True, slots=True)
class CutPointsView:
    """The values between neighbouring scores, per feature, and the rule that made them."""

    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    rule: str


def choice(record: Record) -> ChoiceView:
    """Return how the number of segments was chosen.

    Parameters
    ----------
    record : Mapping
        The record of a report.

    Returns
    -------
    ChoiceView
        ``curve`` is empty where no other number of segments was tried.
    """
    chosen = record["choice"]
    runner_up = chosen.get("runner_up")
    if chosen.get("mode") == "found":
        lede = text("report.choice.found", k=chosen["k"])
    elif chosen.get("mode") != "auto":
        lede = text("report.choice.fixed", k=chosen["k"])
    elif runner_up is None:
        lede = text("report.choice.auto_alone", k=chosen["k"])
    else:
        lede = text("report.choice.auto", k=chosen["k"], runner_up=runner_up)
    grade = chosen.get("grade")
    curve = sorted(chosen.get("curve") or (), key=lambda point: point["k"])
    columns = [
        column
        for column in sentences("report.choice.columns")
        if any(point.get(column) is not None for point in curve)
    ]
    return ChoiceView(
        lede=lede,
        reasons=tuple(chosen.get("reasons") or ()),
        grade=_known("report.grades", grade) if grade else None,
        structure=chosen.get("structure_note") or None,
        header=tuple(text(f"report.choice.{name}") for name in ("k", "mark"))
        + tuple(text(f"report.choice.columns.{column}") for column in columns),
        curve=tuple(_curve_point(point, chosen, columns) for point in curve),
        panels=panels(
            curve,
            Picks(chosen["k"], runner_up, chosen.get("knee"), chosen.get("votes") or {}),
        ),
    )


def _curve_point(point: Record, chosen: Record, columns: Sequence[str]) -> CurvePoint:
    names = {
        "chosen": chosen["k"],
        "runner_up": chosen.get("runner_up"),
        "knee": chosen.get("knee"),
    }
    marks = [text(f"report.choice.{name}") for name, k in names.items() if k == point["k"]]
    return CurvePoint(
        k=point["k"],
        cells=(
            str(point["k"]),
            ", ".join(marks),
            *(_FORMS.get(column, formats.significant)(point.get(column)) for column in columns),
        ),
    )


def waterfall(record: Record) -> WaterfallView | None:
    """Return the cleaning steps, or None if the study had none."""
    steps = record.get("waterfall") or ()
    if not steps:
        return None
    data = record["data"]
    total = max(1, steps[0]["rows"])
    rows = tuple(
        (
            step.get("label") or step["step"],
            _known("clean.actions", step["action"]),
            formats.count(step["rows"]),
            formats.percent(step["rows"] / total),
            formats.count(step.get("customers")),
            formats.money(step.get("money")),
            formats.count(step.get("left_rows")),
        )
        for step in steps
    )
    return WaterfallView(
        rows=rows,
        touched=tuple(step["rows"] / total for step in steps),
        heading=money_heading(text("report.cleaning.money"), data.get("currency")),
    )


def accounting(record: Record) -> AccountingView | None:
    """Return the parts that add up to the total of the raw rows, or None.

    Parameters
    ----------
    record : Mapping
        The record of a report.

    Returns
    -------
    AccountingView or None
        The sum is checked in decimal arithmetic at the precision of the ledger; a gap is said.
    """
    account = record.get("accounting")
    if not account:
        return None
    decimals = record["data"].get("money_decimals") or 0
    labels = {step["step"]: step.get("label") for step in record.get("waterfall") or ()}
    customers = account.get("returns_only_customers")
    amounts: list[tuple[str, float]] = [
        (text("report.cleaning.segments"), account["segments"]),
        (text("report.cleaning.unattributed"), account["unattributed"]),
        (
            text("report.cleaning.returns_only")
            if customers is None
            else text("report.cleaning.returns_only_n", customers=formats.count(customers)),
            account["returns_only"],
        ),
    ]
    for step, amount in (account.get("set_aside") or {}).items():
        known = labels.get(step) or _known("clean.steps", step)
        amounts.append(
            (text("report.cleaning.set_aside", step=known[:1].lower() + known[1:]), amount)
        )
    total = account["total"]
    gap = sum((_exact(amount, decimals) for _, amount in amounts), Decimal(0)) - _exact(
        total, decimals
    )
    return AccountingView(
        parts=tuple(
            (
                label,
                formats.exact_money(amount, decimals),
                formats.percent(amount / total) if total else formats.missing(),
                amount == 0,
            )
            for label, amount in amounts
        ),
        total=formats.exact_money(total, decimals),
        verdict=text("report.cleaning.adds_up")
        if gap == 0
        else text("report.cleaning.off", amount=formats.exact_money(float(gap), decimals)),
        adds_up=gap == 0,
        heading=money_heading(text("report.cleaning.amount"), record["data"].get("currency")),
    )


def cut_points(record: Record) -> CutPointsView | None:
    """Return the score cut points, or None without a scheme that has them.

    Cut points are ascending in the record. Where low values are the better ones, they are
    turned round, so that every column separates the same two scores.
    """
    scheme = record.get("scheme") or {}
    cuts = scheme.get("cut_points") or {}
    if not cuts:
        return None
    known = {feature["name"]: feature for feature in record["features"]}
    labels = feature_labels(record)
    n_cuts = max(len(values) for values in cuts.values())
    rows = []
    for name, values in cuts.items():
        feature = known.get(name, {})
        higher = feature.get("higher_is_better", True)
        ordered = list(values) if higher else list(reversed(values))
        form = formats.money if feature.get("money") else formats.significant
        cells = [form(value) for value in ordered]
        cells += [formats.missing()] * (n_cuts - len(cells))
        unit = column_unit(feature, record["data"].get("currency"))
        best = text(f"report.rules.direction_{'high' if higher else 'low'}")
        label = labels.get(name, name)
        heading = text("report.numbers.heading", label=label, unit=unit) if unit else label
        rows.append((heading, *cells, best))
    between = (
        text("report.rules.between", low=low, high=high)
        for low, high in pairwise(range(1, n_cuts + 2))
    )
    header = (text("report.rules.feature"), *between, text("report.rules.direction"))
    return CutPointsView(header, tuple(rows), scheme.get("rule") or "")


def definitions(record: Record) -> TableView:
    """Return the table of features: definition, unit, role, missing values."""
    currency = record["data"].get("currency")
    header = ("feature", "definition", "unit", "role", "missing")
    return TableView(
        tuple(text(f"report.definitions.{name}") for name in header),
        tuple(
            (
                feature.get("label") or feature["name"],
                feature.get("definition") or "",
                feature_unit(feature, currency),
                _known("report.definitions", feature.get("role") or "active"),
                formats.count(feature.get("missing")),
            )
            for feature in record["features"]
        ),
    )


def preparation(record: Record) -> TableView | None:
    """Return what was done to each feature before distances were taken, or None."""
    steps = record.get("prepare") or ()
    if not steps:
        return None
    labels = feature_labels(record)
    header = ("feature", "fill", "winsor", "transform", "scale")
    return TableView(
        tuple(text(f"report.preparation.{name}") for name in header),
        tuple(
            (
                labels.get(step["feature"], step["feature"]),
                _filled(step),
                _clipped(step),
                _known("report.transforms", step.get("transform") or "none"),
                _scaled(step),
            )
            for step in steps
        ),
    )


def _filled(step: Record) -> str:
    if not step.get("missing_filled"):
        return text("report.preparation.filled_none")
    return text(
        "report.preparation.filled",
        count=formats.count(step["missing_filled"]),
        fill=formats.significant(step.get("fill")),
    )


def _clipped(step: Record) -> str:
    low, high = (_finite(limit) for limit in step.get("winsor") or (None, None))
    if low is None and high is None:
        return text("report.preparation.clipped_none")
    return text(
        "report.preparation.clipped",
        low=formats.significant(low),
        high=formats.significant(high),
        count=formats.count(step.get("clipped") or 0),
    )


def _scaled(step: Record) -> str:
    scale = step.get("scale") or "none"
    if scale == "none":
        return text("report.preparation.scale_none")
    return text(
        "report.preparation.scale_value",
        scale=_known("report.scales", scale),
        center=formats.significant(step.get("center")),
        spread=formats.significant(step.get("spread")),
    )


def glossary(record: Record) -> tuple[tuple[str, str], ...]:
    """Return (term, meaning) of the words that this report uses."""
    terms = sentences("report.glossary.terms")
    is_rfm = record["kind"] == "rfm"
    return tuple(
        (text(f"report.glossary.terms.{name}"), text(f"report.glossary.meanings.{name}"))
        for name in terms
        if is_rfm or name not in _RFM_TERMS
    )


def run_facts(record: Record) -> tuple[tuple[str, str], ...]:
    """Return (label, value) of what is needed to repeat the run."""
    run = record["run"]
    facts = [
        (text(f"report.run.{name}"), str(run[name]))
        for name in ("run_id", "fingerprint", "seed")
        if run.get(name) is not None
    ]
    if run.get("snapshot"):
        facts.append((text("report.run.snapshot"), formats.day(run["snapshot"])))
    facts.extend(
        (text(f"report.run.{name}"), _pairs(run[name]))
        for name in ("model", "versions")
        if run.get(name)
    )
    return tuple(facts)


def _pairs(values: Mapping[str, Any]) -> str:
    return ", ".join(
        text(
            "report.run.pair",
            name=name.replace("_", " "),
            value=formats.significant(value, 6) if isinstance(value, float) else value,
        )
        for name, value in values.items()
        if value is not None
    )


def _known(table: str, name: str) -> str:
    """Return the catalogue's words for a code word, or the code word in plain letters."""
    key = f"{table}.{name}"
    return text(key) if "." not in name and has_text(key) else name.replace("_", " ")


def _exact(amount: float, decimals: int) -> Decimal:
    return Decimal(repr(float(amount))).quantize(Decimal(1).scaleb(-decimals))


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None
