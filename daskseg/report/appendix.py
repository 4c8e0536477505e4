"""The second half of the report, from views to markup: what a careful reader checks.

Covers: cleaning and accounting, segments against rules, cut points, definitions,
preparation, notices, full profile, glossary, run. A block that the record has nothing for
is None.
Does not cover: the first half (daskseg.report.blocks), drawing (daskseg.report.figures).
See also: daskseg.report.evidence and daskseg.report.maps, which find the words.
"""

from __future__ import annotations

from collections.abc import Sequence

from daskseg.report import components, evidence, maps
from daskseg.report.markup import Html, data_table, join, tag
from daskseg.report.palette import sequential
from daskseg.report.parts import (
    behind,
    block,
    chart,
    heat_table,
    scale,
    segment_head,
    segment_legend,
)
from daskseg.report.views import Record
from daskseg.texts import text

__all__ = [
    "cleaning_block",
    "definitions_block",
    "glossary_block",
    "notices_block",
    "preparation_block",
    "profile_block",
    "rules_block",
    "run_block",
]


def cleaning_block(record: Record) -> Html | None:
    """Build the cleaning steps and the accounting, or None if the study had neither."""
    steps = _waterfall(record)
    account = _accounting(record)
    if steps is None and account is None:
        return None
    return block(
        "cleaning",
        text("report.cleaning.title"),
        steps,
        account,
        lede=text("report.cleaning.lede"),
    )


def _waterfall(record: Record) -> Html | None:
    view = evidence.waterfall(record)
    if view is None:
        return None
    names = ("step", "action", "rows", "share", "customers", "money", "left")
    header = [text(f"report.cleaning.{name}") for name in names]
    header[names.index("money")] = view.heading
    rows = [
        (
            row[0],
            row[1],
            row[2],
            join(
                [
                    tag("span", row[3]),
                    tag(
                        "span",
                        tag("i", style=f"width:{100 * min(1.0, touched):.2f}%"),
                        class_="share",
                        aria_hidden="true",
                    ),
                ]
            ),
            *row[4:],
        )
        for row, touched in zip(view.rows, view.touched, strict=True)
    ]
    return data_table(text("report.cleaning.caption"), header, rows, words=(1,), class_="steps")


def _accounting(record: Record) -> Html | None:
    view = evidence.accounting(record)
    if view is None:
        return None
    rows = [
        (tag("span", label, class_="zero") if zero else label, amount, share)
        for label, amount, share, zero in view.parts
    ]
    header = [
        text("report.cleaning.part"),
        view.heading,
        text("report.cleaning.of_total"),
    ]
    return tag(
        "div",
        tag("h3", text("report.cleaning.accounting")),
        tag("p", text("report.cleaning.accounting_lede"), class_="note"),
        data_table(
            text("report.cleaning.accounting_caption"),
            header,
            rows,
            footer=(text("report.cleaning.total"), view.total, ""),
            class_="account",
        ),
        tag("p", view.verdict, class_="check" if view.adds_up else "check off"),
        class_="part",
    )


def rules_block(record: Record) -> Html | None:
    """Build segments against naming rules and the score cut points; None without a scheme."""
    scheme = record.get("scheme")
    if not scheme:
        return None
    view = maps.rules(record)
    cuts = evidence.cut_points(record)
    agreement = maps.rules_sentence(record)
    parts: list[Html | None] = []
    if view is not None:
        parts += [
            tag("p", tag("b", text("report.rules.ari_label")), ": ", agreement, class_="agreement")
            if agreement
            else None,
            segment_legend([key for key in view.columns if key.colour]),
            scale(
                [sequential(step / 8) for step in range(9)],
                [text("report.rules.none"), text("report.rules.all")],
            ),
            chart("figure-rules", text("report.rules.alt")),
            behind(heat_table(text("report.rules.title"), text("report.rules.name"), view)),
        ]
    if cuts is not None:
        lede = text("report.rules.cuts_lede", rule=cuts.rule.rstrip(".")) if cuts.rule else None
        table = data_table(
            text("report.rules.cuts_caption"),
            cuts.header,
            cuts.rows,
            words=(len(cuts.header) - 1,),
        )
        parts.append(
            tag(
                "div",
                tag("h3", text("report.rules.cuts")),
                tag("p", lede, class_="note") if lede else None,
                table,
                class_="part",
            )
        )
    return block(
        "rules",
        text("report.rules.title"),
        *parts,
        lede=text("report.rules.lede", scheme=scheme["name"], version=scheme["version"]),
    )


def definitions_block(record: Record) -> Html:
    """Build the table of definitions."""
    view = evidence.definitions(record)
    return block(
        "definitions",
        text("report.definitions.title"),
        data_table(
            text("report.definitions.caption"),
            view.header,
            view.rows,
            words=(1, 2, 3),
            class_="prose",
        ),
        lede=text("report.definitions.lede"),
    )


def preparation_block(record: Record) -> Html | None:
    """Build the table of preparations, or None if nothing was prepared."""
    view = evidence.preparation(record)
    if view is None:
        return None
    return block(
        "preparation",
        text("report.preparation.title"),
        data_table(
            text("report.preparation.caption"),
            view.header,
            view.rows,
            words=range(1, len(view.header)),
            class_="prose even",
        ),
        _components(record),
        lede=text("report.preparation.lede"),
    )


def _components(record: Record) -> Html | None:
    view = components.loadings(record)
    if view is None:
        return None
    return tag(
        "div",
        tag("h3", text("report.components.title")),
        tag("p", components.sentence(record), class_="note"),
        data_table(text("report.components.caption"), view.header, view.rows),
        class_="part",
    )


def notices_block(record: Record) -> Html | None:
    """Build the list of notices, or None if there are none."""
    notices = record.get("notices") or ()
    if not notices:
        return None
    items = tag("ul", [tag("li", notice) for notice in notices], class_="notices")
    return block("notices", text("report.notices.title"), items)


def profile_block(record: Record) -> Html | None:
    """Build the full profile table, or None without features."""
    view = maps.profile(record)
    if view is None:
        return None
    header: list[str | Html] = [text("report.profile.feature")]
    header += [segment_head(key) for key in view.columns]
    header.append(text("report.profile.whole"))
    rows: list[Sequence[str | Html]] = [(label, *cells, "") for label, cells in view.top]
    for label, unit, cells, whole in view.rows:
        name = join([label, tag("small", unit) if unit else None])
        rows.append(
            (
                name,
                *(
                    join([median, tag("small", middle) if middle else None])
                    for median, middle in cells
                ),
                whole,
            )
        )
    return block(
        "profile",
        text("report.profile.title"),
        data_table(text("report.profile.caption"), header, rows, class_="profile"),
        lede=text("report.profile.lede"),
    )


def glossary_block(record: Record) -> Html:
    """Build the glossary of the words that this report uses."""
    terms = [
        tag("div", tag("dt", term), tag("dd", meaning))
        for term, meaning in evidence.glossary(record)
    ]
    return block("glossary", text("report.glossary.title"), tag("dl", terms, class_="glossary"))


def run_block(record: Record) -> Html:
    """Build the facts that are needed to repeat the run."""
    facts = [
        tag("div", tag("dt", label), tag("dd", value))
        for label, value in evidence.run_facts(record)
    ]
    return block(
        "run",
        text("report.run.title"),
        tag("dl", facts, class_="run"),
        lede=text("report.run.lede"),
    )
