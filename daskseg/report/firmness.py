"""How firm each segment is: record in, small views of finished words out.

Covers: sorted silhouettes, how well each segment is found again, what moves with one segment
fewer or more, in sentences. Pure functions of the record; no markup and no drawing.
Does not cover: the choice of k (daskseg.report.evidence).
See also: daskseg.report.flows (drawing), daskseg.report.blocks (markup).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from daskseg import formats
from daskseg.report.views import Record, SegmentKey, segment_keys
from daskseg.texts import text

__all__ = [
    "FirmRow",
    "FirmView",
    "Flow",
    "MovesView",
    "SideView",
    "firmness",
    "moves",
]

#: Arbitrary: a segment of which nine tenths go together stays.
STAYS = 0.9
#: Arbitrary: parts below a tenth are left to the table.
TOLD = 0.1
#: Printed as "> 99 %".
NEARLY_ALL = 0.995
#: Arbitrary: more splits, or more that are put together, are left to the table.
MAX_LINES = 4


@dataclass(frozen=True, slots=True)
class FirmRow:
    """One segment; what was not measured is None."""

    key: SegmentKey
    quantiles: tuple[float, ...] | None
    silhouette_words: str
    hover: str
    jaccard: float | None
    jaccard_words: str
    cells: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class FirmView:
    """All segments; ``header`` heads the cells of the table, the name of the segment left out."""

    rows: tuple[FirmRow, ...]
    has_silhouettes: bool
    has_jaccards: bool
    sample: str
    header: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Flow:
    """Customers of one segment that are in one other segment; shares of all customers."""

    key: SegmentKey
    other: str
    share: float
    hover: str
    cells: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class SideView:
    """One other number of segments: its sentences, and its flows in the order of the record."""

    k: int
    title: str
    sentences: tuple[str, ...]
    flows: tuple[Flow, ...]


@dataclass(frozen=True, slots=True)
class MovesView:
    """What moves with one segment fewer and one more."""

    keys: tuple[SegmentKey, ...]
    coarser: SideView | None
    finer: SideView | None
    sample: str

    @property
    def sides(self) -> tuple[SideView, ...]:
        """Return the sides there are, the coarser first."""
        return tuple(side for side in (self.coarser, self.finer) if side is not None)


def firmness(record: Record) -> FirmView | None:
    """Return silhouettes and Jaccard indices of the segments.

    Parameters
    ----------
    record : Mapping
        The record of a report.

    Returns
    -------
    FirmView or None
        None if no segment has either.
    """
    rows = tuple(
        _firm_row(segment, key)
        for segment, key in zip(record["segments"], segment_keys(record), strict=True)
    )
    has_silhouettes = any(row.quantiles for row in rows)
    has_jaccards = any(row.jaccard is not None for row in rows)
    if not (has_silhouettes or has_jaccards):
        return None
    header = ("mean", "below", "least", "middle", "jaccard_column")
    return FirmView(
        rows,
        has_silhouettes,
        has_jaccards,
        _sample(record),
        tuple(text(f"report.firm.{name}") for name in header),
    )


def _firm_row(segment: Record, key: SegmentKey) -> FirmRow:
    quantiles = segment.get("silhouette_quantiles")
    mean, below = segment.get("silhouette"), segment.get("below_zero_share")
    jaccard = segment.get("jaccard")
    words = text("report.firm.no_rows")
    hover = ""
    if quantiles:
        words = text("report.firm.below_zero", below=formats.percent(below))
        hover = text(
            "report.firm.hover",
            id=key.id,
            name=key.name,
            mean=formats.significant(mean),
            below=words,
        )
    return FirmRow(
        key=key,
        quantiles=tuple(quantiles) if quantiles else None,
        silhouette_words=words,
        hover=hover,
        jaccard=jaccard,
        jaccard_words=formats.significant(jaccard, 2),
        cells=(
            formats.significant(mean),
            formats.percent(below),
            formats.significant(quantiles[0] if quantiles else None),
            formats.significant(quantiles[len(quantiles) // 2] if quantiles else None),
            formats.significant(jaccard),
        ),
    )


def _sample(record: Record) -> str:
    """Return the sentence about the sample; none if it held every customer."""
    sample = record["choice"].get("sample") or {}
    if not sample or sample["is_whole"]:
        return ""
    return text("report.firm.sample", rows=formats.count(sample["rows"]))


def moves(record: Record) -> MovesView | None:
    """Return what moves with one segment fewer and one more.

    Parameters
    ----------
    record : Mapping
        The record of a report.

    Returns
    -------
    MovesView or None
        None if no other number was tried.
    """
    found = record["choice"].get("moves") or {}
    keys = segment_keys(record)
    coarser, finer = (_side(found.get(name), keys) for name in ("coarser", "finer"))
    if coarser is None and finer is None:
        return None
    return MovesView(keys, coarser, finer, _sample(record))


def _side(side: Record | None, keys: Sequence[SegmentKey]) -> SideView | None:
    if not side:
        return None
    known = {key.id: key for key in keys}
    return SideView(
        k=side["k"],
        title=text("report.moves.instead", k=side["k"], now=len(keys)),
        sentences=_sentences(side, keys),
        flows=tuple(_flow(part, known[part["segment_id"]]) for part in side["parts"]),
    )


def _flow(part: Record, key: SegmentKey) -> Flow:
    words = {
        "other": part["other_id"],
        "of_segment": formats.percent(part["of_segment"]),
        "of_other": formats.percent(part["of_other"]),
        "share": formats.percent(part["share"]),
    }
    return Flow(
        key=key,
        other=part["other_id"],
        share=part["share"],
        hover=text("report.moves.hover", id=key.id, name=key.name, **words),
        cells=(words["other"], words["of_segment"], words["of_other"], words["share"]),
    )


def _sentences(side: Record, keys: Sequence[SegmentKey]) -> tuple[str, ...]:
    """Tell who splits, what is put together, and who stays; the strongest splits first."""
    parts = side["parts"]
    of = {
        key.id: sorted(
            (part for part in parts if part["segment_id"] == key.id),
            key=lambda part: -part["share"],
        )
        for key in keys
    }
    moved = {name: sum(part["share"] for part in own[1:]) for name, own in of.items()}
    splits = [key for key in keys if of[key.id] and of[key.id][0]["of_segment"] < STAYS]
    told = sorted(splits, key=lambda key: -moved[key.id])[:MAX_LINES]
    lines = [_split(key, of[key.id]) for key in keys if key in told]
    if len(splits) > len(told):
        lines.append(text("report.moves.others_split"))
    lines += _mixed(parts, {key.id for key in splits})
    staying = [key for key in keys if of[key.id] and key not in splits]
    if staying:
        least = min(of[key.id][0]["of_segment"] for key in staying)
        line = "all_stay" if not splits else "stay" if len(staying) > 1 else "stays"
        lines.append(
            text(
                f"report.moves.{line}",
                segments=_listed([key.id for key in staying]),
                share=_bound(least, of_several=len(staying) > 1),
            )
        )
    return tuple(lines)


def _bound(least: float, *, of_several: bool) -> str:
    if least >= NEARLY_ALL:
        return text(f"report.moves.{'all' if least == 1 else 'nearly_all'}")
    share = formats.percent(least)
    return text("report.moves.at_least", share=share) if of_several else share


def _split(key: SegmentKey, parts: Sequence[Record]) -> str:
    large = [part for part in parts if part["of_segment"] >= TOLD]
    words = [
        text(
            "report.moves.part",
            other=part["other_id"],
            share=formats.percent(part["of_segment"]),
        )
        for part in large
    ]
    line = "splits" if len(large) > 1 else "scatters"
    return text(f"report.moves.{line}", id=key.id, name=key.name, parts=_listed(words))


def _mixed(parts: Sequence[Record], split: set[str]) -> list[str]:
    """Tell which others are put together from several segments; those that most flows into."""
    found: dict[str, tuple[float, str]] = {}
    for other in dict.fromkeys(part["other_id"] for part in parts):
        sources = sorted(
            (part for part in parts if part["other_id"] == other and part["of_other"] >= TOLD),
            key=lambda part: -part["share"],
        )
        if len(sources) < 2 or sources[0]["of_other"] >= STAYS:
            continue
        words = [
            text(
                "report.moves.source",
                id=part["segment_id"],
                other=other,
                share=formats.percent(part["of_other"]),
            )
            for part in sources
        ]
        whole = not any(part["segment_id"] in split for part in sources)
        line = "merge" if whole else "mixed"
        joined = sum(part["share"] for part in sources[1:])
        found[other] = joined, text(f"report.moves.{line}", other=other, sources=_listed(words))
    told = sorted(found, key=lambda other: -found[other][0])[:MAX_LINES]
    lines = [found[other][1] for other in found if other in told]
    return [*lines, text("report.moves.others_mixed")] if len(found) > len(told) else lines


def _listed(words: Sequence[str]) -> str:
    """Return "a", "a and b", "a, b and c"."""
    if len(words) < 2:
        return "".join(words)
    return text("report.moves.list", first=", ".join(words[:-1]), last=words[-1])
