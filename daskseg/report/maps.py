"""The two heat maps and the full profile: record in, small views of finished words out.

Covers: features by segments, names of the scheme by segments, every feature of every
segment. Pure functions of the record; no markup and no drawing.
Does not cover: cards and bars (daskseg.report.views), the rest (daskseg.report.evidence).
See also: daskseg.report.figures (drawing).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from daskseg import formats
from daskseg.report.views import Record, SegmentKey, column_unit, feature_value, segment_keys
from daskseg.texts import text

__all__ = [
    "HEAT_CAP",
    "HeatCell",
    "HeatRow",
    "HeatView",
    "ProfileView",
    "feature_map",
    "heat_level",
    "profile",
    "rules",
    "rules_sentence",
]

#: A ratio of 4 (or a quarter) has the full colour of the heat map.
HEAT_CAP = 4.0
#: More rows than this would be a wall; the full profile has them all.
HEAT_ROWS = 20


@dataclass(frozen=True, slots=True)
class HeatCell:
    """One cell: what is printed, its colour level, what hovering says, words of the table."""

    printed: str
    level: float | None
    hover: str
    words: str = ""


@dataclass(frozen=True, slots=True)
class HeatRow:
    """One row of a heat map, a cell per column."""

    label: str
    cells: tuple[HeatCell, ...]


@dataclass(frozen=True, slots=True)
class HeatView:
    """A heat map; columns are segments, the last may be the whole."""

    columns: tuple[SegmentKey, ...]
    rows: tuple[HeatRow, ...]
    n_all: int
    has_means: bool = False
    has_passive: bool = False


@dataclass(frozen=True, slots=True)
class ProfileView:
    """Every feature of every segment: (median, middle half) per cell, plus rows on top."""

    columns: tuple[SegmentKey, ...]
    top: tuple[tuple[str, tuple[str, ...]], ...]
    rows: tuple[tuple[str, str, tuple[tuple[str, str], ...], str], ...]


def feature_map(record: Record) -> HeatView | None:
    """Return the heat map of features by segments, the telling features first.

    Parameters
    ----------
    record : Mapping
        The record of a report.

    Returns
    -------
    HeatView or None
        At most 20 rows, the features with the widest effects first. None if no
        segment has features.
    """
    keys = segment_keys(record)
    by_segment = [
        {row["feature"]: row for row in segment.get("features") or ()}
        for segment in record["segments"]
    ]
    present = [
        feature
        for feature in record["features"]
        if any(feature["name"] in rows for rows in by_segment)
    ]
    if not present:
        return None
    shares = [segment["share"] for segment in record["segments"]]
    ranked = sorted(present, key=lambda feature: -_telling(feature["name"], by_segment, shares))
    rows = tuple(
        _heat_row(feature, keys, by_segment, record["data"].get("currency"))
        for feature in ranked[:HEAT_ROWS]
    )
    return HeatView(
        columns=keys,
        rows=rows,
        n_all=len(present),
        has_means=any(cell.printed.endswith("*") for row in rows for cell in row.cells),
        has_passive=any(feature.get("role") == "passive" for feature in ranked[:HEAT_ROWS]),
    )


def _telling(
    name: str, by_segment: Sequence[Mapping[str, Record]], shares: Sequence[float]
) -> float:
    """Return how well a feature tells segments apart: mean distance of effects to their mean."""
    effects = [
        (share, rows[name].get("effect") or 0.0)
        for rows, share in zip(by_segment, shares, strict=True)
        if name in rows
    ]
    whole = math.fsum(share for share, _ in effects) or 1.0
    middle = math.fsum(share * effect for share, effect in effects) / whole
    spread = math.fsum(share * abs(effect - middle) for share, effect in effects) / whole
    # Rounding errors must not reorder features that tell the same.
    return round(spread, 9)


def _heat_row(
    feature: Record,
    keys: Sequence[SegmentKey],
    by_segment: Sequence[Mapping[str, Record]],
    currency: str | None,
) -> HeatRow:
    label = feature.get("label") or feature["name"]
    if feature.get("role") == "passive":
        label = text("report.map.passive", label=label)
    cells = tuple(
        _heat_cell(feature, key, rows.get(feature["name"]), currency)
        for key, rows in zip(keys, by_segment, strict=True)
    )
    return HeatRow(label, cells)


def _heat_cell(
    feature: Record, key: SegmentKey, row: Record | None, currency: str | None
) -> HeatCell:
    if row is None:
        return HeatCell(formats.missing(), None, text("report.words.none"))
    ratio, median, whole, mark = row.get("ratio"), row.get("median"), row.get("whole_median"), ""
    if ratio is None and row.get("whole_mean") and row.get("mean") is not None:
        median, whole, mark = row["mean"], row["whole_mean"], "*"
        ratio = median / whole if whole > 0 else None
    if ratio is not None and not math.isfinite(ratio):
        ratio = None
    words = row.get("words") or _ratio_words(ratio)
    hover = text(
        "report.map.hover",
        id=key.id,
        name=key.name,
        feature=feature.get("label") or feature["name"],
        words=words,
        median=feature_value(median, feature, currency),
        whole=feature_value(whole, feature, currency),
    )
    if ratio is None:
        return HeatCell(formats.missing(), None, hover, words)
    return HeatCell(formats.times(ratio) + mark, heat_level(ratio), hover, words)


def heat_level(ratio: float) -> float:
    """Return the colour level of a ratio: the logarithm, -1 at a quarter and 1 at four times."""
    if ratio <= 0:
        return -1.0
    return max(-1.0, min(1.0, math.log(ratio) / math.log(HEAT_CAP)))


def _ratio_words(ratio: float | None) -> str:
    if ratio is None:
        return text("report.words.none")
    level = heat_level(ratio)
    if abs(level) < 0.13:  # within a fifth of the typical customer
        return text("report.words.same")
    if level > 0:
        return text("report.words.far_more" if level > 0.75 else "report.words.more")
    return text("report.words.far_less" if level < -0.75 else "report.words.less")


def profile(record: Record) -> ProfileView | None:
    """Return the full profile table, or None if no segment has features."""
    segments = record["segments"]
    by_segment = [
        {row["feature"]: row for row in segment.get("features") or ()} for segment in segments
    ]
    currency = record["data"].get("currency")
    rows = []
    for feature in record["features"]:
        found = [rows_of.get(feature["name"]) for rows_of in by_segment]
        first = next((row for row in found if row is not None), None)
        if first is None:
            continue
        label = feature.get("label") or feature["name"]
        unit = column_unit(feature, currency)
        rows.append(
            (
                label,
                unit,
                tuple(_profile_cell(row, feature) for row in found),
                _bare_value(first.get("whole_median"), feature),
            )
        )
    if not rows:
        return None
    return ProfileView(segment_keys(record), _profile_top(segments), tuple(rows))


def _profile_top(segments: Sequence[Record]) -> tuple[tuple[str, tuple[str, ...]], ...]:
    top = [
        (
            text("report.profile.size"),
            tuple(formats.count(segment["customers"]) for segment in segments),
        )
    ]
    if any(segment.get("silhouette") is not None for segment in segments):
        scores = tuple(formats.significant(segment.get("silhouette"), 2) for segment in segments)
        top.append((text("report.profile.separation"), scores))
    if any(segment.get("below_zero_share") is not None for segment in segments):
        shares = tuple(formats.percent(segment.get("below_zero_share")) for segment in segments)
        top.append((text("report.profile.below_zero"), shares))
    return tuple(top)


def _profile_cell(row: Record | None, feature: Record) -> tuple[str, str]:
    if row is None:
        return formats.missing(), ""
    low, high = row.get("p25"), row.get("p75")
    if low is None or high is None:
        return _bare_value(row.get("median"), feature), ""
    middle = text(
        "report.numbers.range", low=_bare_value(low, feature), high=_bare_value(high, feature)
    )
    return _bare_value(row.get("median"), feature), middle


def _bare_value(value: float | None, feature: Record) -> str:
    """Return a value for a table whose row already names the unit."""
    return feature_value(value, feature, None)


def rules(record: Record) -> HeatView | None:
    """Return the heat map of names by segments and for all; None without a scheme."""
    scheme = record.get("scheme")
    if not scheme:
        return None
    keys = segment_keys(record)
    shares: Mapping[str, Mapping[str, float]] = scheme.get("shares") or {}
    whole: Mapping[str, float] = scheme.get("whole") or {}
    used = [
        name
        for name in scheme["names"]
        if whole.get(name) or any(row.get(name) for row in shares.values())
    ]
    rows = tuple(
        HeatRow(
            name,
            (
                *(
                    _share_cell(
                        shares.get(key.id, {}).get(name, 0.0),
                        "report.rules.hover",
                        segment=f"{key.id} {key.name}",
                        name=name,
                    )
                    for key in keys
                ),
                *(
                    [_share_cell(whole.get(name, 0.0), "report.rules.hover_whole", name=name)]
                    if whole
                    else []
                ),
            ),
        )
        for name in used
    )
    if not rows:
        return None
    last = SegmentKey(text("report.rules.whole"), text("report.rules.whole_long"), "")
    return HeatView((*keys, last) if whole else keys, rows, n_all=len(rows))


def rules_sentence(record: Record) -> str | None:
    """Return the agreement of segments and rules as a sentence, if it was measured."""
    ari = (record.get("scheme") or {}).get("agreement_ari")
    if ari is None:
        return None
    level = "high" if ari >= 0.65 else "medium" if ari >= 0.2 else "low"
    return text(f"report.rules.ari_{level}", ari=formats.significant(ari, 2))


def _share_cell(share: float, hover: str, **values: str) -> HeatCell:
    words = formats.percent(share)
    return HeatCell(words if share else "", share, text(hover, share=words, **values))
