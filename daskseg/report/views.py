"""What the first half of the report says: record in, small views of finished words out.

Covers: title and data card, segment cards, size against value. Pure functions of the
record; no markup and no drawing.
Does not cover: heat maps and profile (daskseg.report.maps), the rest (daskseg.report.evidence).
See also: daskseg.report.blocks (markup), daskseg.report.figures (drawing).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from daskseg import formats
from daskseg.report.palette import segment_colour
from daskseg.texts import text

__all__ = [
    "CardView",
    "Fact",
    "Record",
    "SegmentKey",
    "SizeRow",
    "SizeView",
    "SummaryView",
    "Tile",
    "cards",
    "column_unit",
    "feature_labels",
    "feature_unit",
    "feature_value",
    "has_money",
    "money_heading",
    "segment_keys",
    "size",
    "summary",
    "value_word",
]

Record: TypeAlias = Mapping[str, Any]

#: Features named on a card.
CARD_FACTS = 5


@dataclass(frozen=True, slots=True)
class SegmentKey:
    """How a segment is recognised everywhere on the page."""

    id: str
    name: str
    colour: str


@dataclass(frozen=True, slots=True)
class Tile:
    """One large number of the first screen."""

    label: str
    value: str
    note: str


@dataclass(frozen=True, slots=True)
class SummaryView:
    """Title, verdict, large numbers and data card."""

    title: str
    headline: str
    sentences: tuple[str, ...]
    tentative: tuple[str, ...]
    tiles: tuple[Tile, ...]
    facts: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Fact:
    """One feature of a segment in words: label, words, both typical values."""

    label: str
    words: str
    values: str


@dataclass(frozen=True, slots=True)
class CardView:
    """One segment: who, how many, how much money, what to do."""

    key: SegmentKey
    neutral: bool
    fit: str | None
    note: str | None
    rule: str | None
    customers: str
    share: str
    share_value: float
    money: str | None
    money_share: str | None
    money_share_value: float | None
    sentence: str
    action: str | None
    channel: str | None
    kpi: str | None
    facts: tuple[Fact, ...]


@dataclass(frozen=True, slots=True)
class SizeRow:
    """One segment of the bars; shares as fractions for drawing and as words."""

    key: SegmentKey
    customers: str
    share: str
    share_value: float
    money: str | None
    money_share: str | None
    money_share_value: float | None
    per_customer: str | None


@dataclass(frozen=True, slots=True)
class SizeView:
    """Size against value."""

    rows: tuple[SizeRow, ...]
    value: str
    heading: str
    has_money: bool
    has_shares: bool


def segment_keys(record: Record) -> tuple[SegmentKey, ...]:
    """Return id, name and fixed colour of each segment, in the order of the record."""
    return tuple(
        SegmentKey(segment["segment_id"], segment["name"], segment_colour(segment["segment_id"]))
        for segment in record["segments"]
    )


def feature_labels(record: Record) -> dict[str, str]:
    """Return the label of each feature by its name."""
    return {
        feature["name"]: feature.get("label") or feature["name"] for feature in record["features"]
    }


def feature_unit(feature: Record, currency: str | None) -> str:
    """Return the unit of a feature; money has the currency of the data."""
    if feature.get("money") or feature.get("unit") == "money":
        return formats.unit_of_money(currency)
    return feature.get("unit") or ""


def column_unit(feature: Record, currency: str | None) -> str:
    """Return the unit to print beside a label: none if the label or nobody names it."""
    unit = feature_unit(feature, currency)
    label = feature.get("label") or feature.get("name") or ""
    unnamed = not currency and (feature.get("money") or feature.get("unit") == "money")
    return "" if unnamed or unit.lower() == label.lower() else unit


def money_heading(label: str, currency: str | None) -> str:
    """Return the head of a column of money, with the currency if it is known."""
    return text("report.numbers.heading", label=label, unit=currency) if currency else label


def value_word(record: Record) -> str:
    """Return what the money of this record is called in a sentence."""
    if record["kind"] == "rfm":
        return text("report.value.spend")
    name = record["data"].get("value_feature")
    return feature_labels(record).get(name, name or text("report.value.spend"))


def has_money(record: Record) -> bool:
    """Say whether the segments carry money."""
    return any(segment.get("money") is not None for segment in record["segments"])


def summary(record: Record) -> SummaryView:
    """Return title, verdict, large numbers and data card.

    Parameters
    ----------
    record : Mapping
        The record of a report (report.json).

    Returns
    -------
    SummaryView
        Finished words; empty parts are left out.
    """
    verdict = record["verdict"]
    return SummaryView(
        title=record.get("title") or text("report.page.default_title"),
        headline=verdict.get("headline") or "",
        sentences=tuple(verdict.get("sentences") or ()),
        tentative=tuple(verdict.get("tentative") or ()),
        tiles=_tiles(record),
        facts=_data_facts(record["data"]),
    )


def _tiles(record: Record) -> tuple[Tile, ...]:
    data = record["data"]
    segments = record["segments"]
    curve = record["choice"].get("curve") or []
    mode, n_segments = record["choice"].get("mode"), len(segments)
    if mode == "found":
        # Customers in no group are told apart from the groups.
        n_segments = record["choice"]["k"]
        note = text("report.summary.segments_note_found")
    elif mode == "auto" and curve:
        tried = [point["k"] for point in curve]
        note = text("report.summary.segments_note_auto", low=min(tried), high=max(tried))
    else:
        note = text("report.summary.segments_note")
    tiles = [
        Tile(text("report.summary.segments"), formats.count(n_segments), note),
        Tile(
            text("report.summary.customers"),
            formats.count(sum(segment["customers"] for segment in segments)),
            text("report.summary.customers_note", rows=formats.count(data["rows"])),
        ),
    ]
    if not has_money(record):
        return tuple(tiles)
    value = value_word(record)
    total = math.fsum(segment["money"] or 0.0 for segment in segments)
    currency = data.get("currency")
    is_rfm = record["kind"] == "rfm"
    tiles.append(
        Tile(
            text("report.summary.money_rfm")
            if is_rfm
            else text("report.summary.money", value=value),
            formats.money(total, currency),
            text("report.summary.money_note_plain") if is_rfm else "",
        )
    )
    if any(segment.get("money_share") is None for segment in segments):
        return tuple(tiles)
    # The segment of the headline: more money than its size lets expect.
    top = max(segments, key=lambda segment: segment["money_share"] - segment["share"])
    tiles.append(
        Tile(
            text("report.summary.top_label", id=top["segment_id"]),
            formats.percent(top.get("money_share")),
            text("report.summary.top_note", value=value, share=formats.percent(top["share"])),
        )
    )
    return tuple(tiles)


def _data_facts(data: Record) -> tuple[tuple[str, str], ...]:
    facts = [(text("report.summary.source"), str(data["source"]))]
    if data.get("first_date") and data.get("last_date"):
        period = text(
            "report.summary.period_value",
            first=formats.day(data["first_date"]),
            last=formats.day(data["last_date"]),
        )
        facts.append((text("report.summary.period"), period))
    if data.get("snapshot"):
        facts.append((text("report.summary.snapshot"), formats.day(data["snapshot"])))
    if data.get("window"):
        window = str(data["window"])
        days = window.removesuffix("d")
        words = text("report.summary.window_days", days=days) if days.isdecimal() else window
        facts.append((text("report.summary.window"), words))
    if data.get("currency"):
        facts.append((text("report.summary.currency"), data["currency"]))
    return tuple(facts)


def cards(record: Record) -> tuple[CardView, ...]:
    """Return one card per segment, in the order of the record.

    Parameters
    ----------
    record : Mapping
        The record of a report.

    Returns
    -------
    tuple of CardView
        Money, fit, rule and suggestions are None where the record has none.
    """
    currency = record["data"].get("currency")
    keys = segment_keys(record)
    return tuple(
        _card(record, segment, key, currency)
        for segment, key in zip(record["segments"], keys, strict=True)
    )


def _card(record: Record, segment: Record, key: SegmentKey, currency: str | None) -> CardView:
    fit = segment.get("fit")
    rule = segment.get("rule")
    kind = segment.get("name_kind")
    note = None
    if kind == "neutral" and rule and fit is not None:
        note = text("report.cards.nearest", rule=rule, fit=formats.percent(fit))
    named = kind in ("rule", "mostly") and fit is not None
    definition = segment.get("rule_definition")
    money = segment.get("money")
    return CardView(
        key=key,
        neutral=kind == "neutral",
        fit=text("report.cards.fit", fit=formats.percent(fit)) if named else None,
        note=note,
        rule=text("report.cards.rule", rule=rule, definition=definition.rstrip("."))
        if named and rule and definition
        else None,
        customers=formats.count(segment["customers"]),
        share=formats.percent(segment["share"]),
        share_value=segment["share"],
        money=None if money is None else formats.money(money, currency),
        money_share=_share_words(segment.get("money_share")),
        money_share_value=segment.get("money_share"),
        sentence=segment.get("sentence") or "",
        action=segment.get("action") or None,
        channel=segment.get("channel") or None,
        kpi=segment.get("kpi") or None,
        facts=_facts(record, segment, currency),
    )


def _capital(words: str) -> str:
    return words[:1].upper() + words[1:]


def _share_words(share: float | None) -> str | None:
    return None if share is None else formats.percent(share)


def _facts(record: Record, segment: Record, currency: str | None) -> tuple[Fact, ...]:
    """Return the features that set a segment apart, the strongest first."""
    known = {feature["name"]: feature for feature in record["features"]}
    labels = feature_labels(record)
    ranked = sorted(segment.get("features") or (), key=lambda row: -abs(row.get("effect") or 0.0))
    facts = []
    for row in ranked[:CARD_FACTS]:
        feature = known.get(row["feature"], {})
        values = text(
            "report.cards.fact",
            median=feature_value(row.get("median"), feature, currency),
            whole=feature_value(row.get("whole_median"), feature, currency),
        )
        label = labels.get(row["feature"], row["feature"])
        facts.append(Fact(label, row.get("words") or "", values))
    return tuple(facts)


def size(record: Record) -> SizeView:
    """Return the paired bars: share of customers and share of money of each segment."""
    currency = record["data"].get("currency")
    rows = []
    for card, segment in zip(cards(record), record["segments"], strict=True):
        money, customers = segment.get("money"), segment["customers"]
        each = (
            None if money is None or not customers else formats.money(money / customers, currency)
        )
        rows.append(
            SizeRow(
                key=card.key,
                customers=card.customers,
                share=card.share,
                share_value=card.share_value,
                money=card.money,
                money_share=card.money_share,
                money_share_value=card.money_share_value,
                per_customer=each,
            )
        )
    return SizeView(
        rows=tuple(rows),
        value=value_word(record),
        heading=money_heading(_capital(value_word(record)), currency),
        has_money=has_money(record),
        has_shares=all(row.money_share_value is not None for row in rows),
    )


def feature_value(value: float | None, feature: Record, currency: str | None) -> str:
    """Return a value of a feature in its own form: money as money, else three digits."""
    if feature.get("money"):
        return formats.money(value, currency)
    return formats.significant(value)
