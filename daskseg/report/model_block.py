"""The block of the report that says what the model adds.

Covers: markup of the parts that a kind of model has. Does not cover: finding and drawing them
(daskseg.report.structure).
"""

from __future__ import annotations

from daskseg.report.markup import Html, data_table, tag
from daskseg.report.parts import behind, block, chart, segment_name
from daskseg.report.structure import Part
from daskseg.texts import text

__all__ = ["figure_id", "model_block"]


def figure_id(part: Part) -> str:
    """Return the id of the frame of its chart."""
    return f"figure-model-{part.name}"


def model_block(parts: tuple[Part, ...]) -> Html | None:
    """Build the block, or None where the model adds nothing."""
    if not parts:
        return None
    return block(
        "model",
        text("report.structure.title"),
        *(_part(part) for part in parts),
        lede=text("report.structure.lede"),
    )


def _part(part: Part) -> Html:
    where = f"report.structure.{part.name}"
    title = text(f"{where}.title")
    rows = [
        tuple(cell if isinstance(cell, str) else segment_name(cell) for cell in row)
        for row in part.rows
    ]
    table = data_table(title, part.header, rows) if rows else None
    return tag(
        "div",
        tag("h3", title),
        tag("p", text(f"{where}.help"), class_="note"),
        tag("ul", [tag("li", sentence) for sentence in part.said], class_="reasons")
        if part.said
        else None,
        chart(figure_id(part), text(f"{where}.alt")) if part.figure is not None else None,
        behind(table) if table is not None and part.figure is not None else table,
        class_="part",
    )
