"""The first half of the report, from views to markup, in reading order.

Covers: header, segment cards, size against value, map of features, choice of k, firmness of the
segments, what moves with one more or less.
Does not cover: the second half (daskseg.report.appendix), drawing (daskseg.report.figures).
See also: daskseg.report.views, maps, evidence and firmness, which find the words.
"""

from __future__ import annotations

from daskseg.report import evidence, firmness, maps, views
from daskseg.report.markup import Html, data_table, disclosure, tag
from daskseg.report.palette import diverging
from daskseg.report.parts import (
    badge,
    behind,
    block,
    chart,
    heat_table,
    scale,
    segment_legend,
    segment_name,
)
from daskseg.report.views import Record
from daskseg.texts import text

__all__ = [
    "cards_block",
    "choice_block",
    "firm_block",
    "header_block",
    "map_block",
    "moves_block",
    "size_block",
]


def header_block(record: Record) -> Html:
    """Build the first screen above the cards: title, verdict, large numbers, data card."""
    view = views.summary(record)
    words = [
        tag("p", text("report.page.kind"), class_="eyebrow"),
        tag("h1", view.title),
        tag("p", view.headline, class_="headline") if view.headline else None,
        *(tag("p", sentence, class_="verdict") for sentence in view.sentences),
        *(
            tag(
                "p",
                tag("span", text("report.summary.tentative"), class_="tag"),
                " ",
                sentence,
                class_="verdict tentative",
            )
            for sentence in view.tentative
        ),
    ]
    tiles = [
        tag("div", tag("dt", tile.label), tag("dd", tag("b", tile.value), tag("span", tile.note)))
        for tile in view.tiles
    ]
    facts = [tag("div", tag("dt", label), tag("dd", value)) for label, value in view.facts]
    return tag(
        "header",
        tag("div", words, class_="words"),
        tag("dl", tiles, class_="tiles"),
        tag("dl", facts, class_="facts", aria_label=text("report.summary.data")),
        class_="summary",
        id="summary",
    )


def cards_block(record: Record) -> Html:
    """Build the grid of segment cards."""
    value = views.value_word(record)
    lede = (
        text("report.cards.lede_money", value=value)
        if views.has_money(record)
        else text("report.cards.lede")
    )
    cards = [_card(view, value) for view in views.cards(record)]
    return block(
        "segments",
        text("report.cards.title"),
        tag("div", cards, class_="cards pairs" if len(cards) in (2, 4) else "cards"),
        lede=lede,
    )


def _card(view: views.CardView, value: str) -> Html:
    todo = [
        (text("report.cards.channel"), view.channel),
        (text("report.cards.kpi"), view.kpi),
    ]
    return tag(
        "article",
        tag(
            "header",
            badge(view.key),
            tag(
                "div",
                tag("h3", view.key.name, class_="neutral" if view.neutral else None),
                tag("span", view.fit, class_="tag", title=text("report.cards.fit_help"))
                if view.fit
                else None,
            ),
        ),
        _card_numbers(view, value),
        tag(
            "div",
            tag("p", view.sentence) if view.sentence else None,
            tag("p", view.note, class_="nearest") if view.note else None,
            class_="sentence",
        ),
        tag(
            "div",
            tag("h4", text("report.cards.do")),
            tag("p", view.action),
            tag(
                "dl",
                [tag("div", tag("dt", label), tag("dd", words)) for label, words in todo if words],
            )
            if view.channel or view.kpi
            else None,
            class_="todo",
        )
        if view.action
        else None,
        disclosure(
            text("report.cards.facts"),
            tag("p", view.rule, class_="rule") if view.rule else None,
            tag(
                "ul",
                [
                    tag("li", tag("b", fact.label), " ", fact.words, tag("span", fact.values))
                    for fact in view.facts
                ],
            )
            if view.facts
            else None,
        )
        if view.facts or view.rule
        else None,
        class_="card",
        style=f"--c:{view.key.colour}",
        id=f"card-{view.key.id}",
    )


def _card_numbers(view: views.CardView, value: str) -> Html:
    """Build size and money in large figures over two thin bars."""
    numbers = [
        tag(
            "div",
            tag("b", view.customers),
            _meter(view.share_value, pale=True),
            tag("small", text("report.cards.of_customers", share=view.share)),
        )
    ]
    if view.money is not None:
        words = (
            text("report.cards.of_money", share=view.money_share, value=value)
            if view.money_share is not None
            else value
        )
        numbers.append(
            tag(
                "div",
                tag("b", view.money),
                None
                if view.money_share_value is None
                else _meter(view.money_share_value, pale=False),
                tag("small", words),
            )
        )
    return tag("div", numbers, class_="numbers")


def _meter(share: float, *, pale: bool) -> Html:
    width = 100.0 * min(1.0, max(0.0, share))
    bar = tag("i", style=f"width:{width:.2f}%")
    return tag("div", bar, class_="meter pale" if pale else "meter", aria_hidden="true")


def size_block(record: Record) -> Html:
    """Build the paired bars with the table behind them."""
    view = views.size(record)
    names = {"value": view.value}
    header = [text(f"report.size.{name}") for name in ("segment", "customers", "share")]
    if view.has_money:
        header += [
            view.heading,
            text("report.size.money_share", **names),
            text("report.size.per_customer"),
        ]
    rows = [
        (
            segment_name(row.key),
            row.customers,
            row.share,
            *(
                (row.money or "", row.money_share or "", row.per_customer or "")
                if view.has_money
                else ()
            ),
        )
        for row in view.rows
    ]
    legend = tag(
        "p",
        tag("span", tag("i", class_="swatch pale"), text("report.size.pale")),
        tag("span", tag("i", class_="swatch"), text("report.size.solid", **names)),
        class_="legend",
    )
    title = text("report.size.title") if view.has_money else text("report.size.customers")
    return block(
        "size",
        title,
        legend if view.has_shares else None,
        chart(
            "figure-size",
            text("report.size.alt", **names) if view.has_shares else text("report.size.alt_plain"),
        ),
        tag("p", text("report.size.negative"), class_="note")
        if view.has_money and not view.has_shares
        else None,
        behind(data_table(title, header, rows)),
        lede=text("report.size.lede", **names)
        if view.has_shares
        else text("report.size.lede_plain"),
    )


def map_block(record: Record) -> Html | None:
    """Build the heat map of features by segments, or None without features."""
    view = maps.feature_map(record)
    if view is None:
        return None
    more = (
        text("report.map.more", shown=len(view.rows), total=view.n_all)
        if view.n_all > len(view.rows)
        else None
    )
    return block(
        "map",
        text("report.map.title"),
        segment_legend(view.columns),
        scale(
            [diverging(step / 4) for step in range(-4, 5)],
            [text(f"report.map.{name}") for name in ("low", "same", "high")],
        ),
        chart("figure-map", text("report.map.alt")),
        tag("p", text("report.map.mean"), class_="note") if view.has_means else None,
        tag("p", text("report.map.passive_note"), class_="note") if view.has_passive else None,
        tag("p", more, class_="note") if more else None,
        behind(heat_table(text("report.map.title"), text("report.map.feature"), view)),
        lede=text("report.map.lede", cap=f"{maps.HEAT_CAP:.0f}×"),
    )


def choice_block(record: Record) -> Html:
    """Build the choice of k: reasons, grade, the criteria, the table behind them."""
    view = evidence.choice(record)
    charts = [
        tag(
            "div",
            tag("h3", panel.title),
            tag("p", text(f"report.choice.{panel.name}_help"), " ", panel.said, class_="note"),
            chart(f"figure-{panel.name}", text(f"report.choice.{panel.name}_alt")),
            tag("p", text("report.choice.axis"), class_="axis"),
        )
        for panel in view.panels
    ]
    return block(
        "choice",
        text("report.choice.title"),
        tag("ul", [tag("li", reason) for reason in view.reasons], class_="reasons")
        if view.reasons
        else None,
        tag(
            "p",
            text("report.choice.grade_label"),
            " ",
            tag("span", view.grade, class_="tag"),
            tag("span", view.structure, class_="structure") if view.structure else None,
            class_="grade",
        )
        if view.grade
        else None,
        tag("div", charts, class_="multiples") if charts else None,
        behind(
            data_table(
                text("report.choice.title"),
                view.header,
                [point.cells for point in view.curve],
                words=(1,),
            )
        )
        if view.curve
        else None,
        lede=view.lede,
    )


def firm_block(record: Record) -> Html | None:
    """Build silhouettes and Jaccard indices of the segments, or None without any."""
    view = firmness.firmness(record)
    if view is None:
        return None
    drawn = {"silhouettes": view.has_silhouettes, "jaccards": view.has_jaccards}
    charts = [
        tag(
            "div",
            tag("h3", text(f"report.firm.{name}")),
            tag("p", text(f"report.firm.{name}_help"), class_="note"),
            chart(f"figure-{name}", text(f"report.firm.{name}_alt")),
            tag("p", text(f"report.firm.{name}_axis"), class_="axis"),
        )
        for name, is_known in drawn.items()
        if is_known
    ]
    return block(
        "firm",
        text("report.firm.title"),
        tag("div", charts, class_="multiples two"),
        tag("p", view.sample, class_="note") if view.sample else None,
        behind(
            data_table(
                text("report.firm.title"),
                [text("report.firm.segment"), *view.header],
                [(segment_name(row.key), *row.cells) for row in view.rows],
            )
        ),
        lede=text("report.firm.lede"),
    )


def moves_block(record: Record) -> Html | None:
    """Build what moves with one segment fewer and one more, or None without other numbers."""
    view = firmness.moves(record)
    if view is None:
        return None
    told = [
        tag(
            "div",
            tag("h3", side.title),
            tag("ul", [tag("li", sentence) for sentence in side.sentences], class_="reasons"),
        )
        for side in view.sides
    ]
    header = ("segment", "other", "of_segment", "of_other", "share")
    return block(
        "moves",
        text("report.moves.title"),
        tag("div", told, class_="multiples two"),
        segment_legend(view.keys),
        chart("figure-moves", text("report.moves.alt")),
        tag("p", view.sample, class_="note") if view.sample else None,
        behind(
            data_table(
                text("report.moves.title"),
                [text(f"report.moves.{name}") for name in header],
                [
                    (segment_name(flow.key), *flow.cells)
                    for side in view.sides
                    for flow in side.flows
                ],
                words=(1,),
            )
        ),
        lede=text("report.moves.lede"),
    )
