"""Parts that several blocks of the report share.

Covers: the frame of a block, frames of charts, badges and legends of segments, the table
behind a heat map.
Does not cover: the blocks (daskseg.report.blocks and daskseg.report.appendix).
See also: daskseg.report.markup for the elements.
"""

from __future__ import annotations

from collections.abc import Sequence

from daskseg.report.maps import HeatView
from daskseg.report.markup import Html, data_table, disclosure, join, tag
from daskseg.report.palette import NOISE_COLOUR, ink_on
from daskseg.report.views import SegmentKey
from daskseg.texts import text

__all__ = [
    "badge",
    "behind",
    "block",
    "chart",
    "heat_table",
    "scale",
    "segment_head",
    "segment_legend",
    "segment_name",
]


def block(name: str, title: str, *children: Html | None, lede: str | None = None) -> Html:
    """Frame a block: a section with its heading and one leading sentence."""
    return tag(
        "section",
        tag("h2", title, id=f"{name}-title"),
        tag("p", lede, class_="lede") if lede else None,
        children,
        id=name,
        class_="block",
        aria_labelledby=f"{name}-title",
    )


def chart(name: str, alt: str) -> Html:
    """Build the frame that report.js draws a chart into."""
    chart = tag("div", id=name, class_="chart", role="img", aria_label=alt)
    return tag("figure", chart, class_="frame")


def behind(table: Html) -> Html:
    """Fold away the table behind a chart."""
    return disclosure(text("report.page.table_behind"), table)


def heat_table(caption: str, corner: str, view: HeatView) -> Html:
    """Build the table behind a heat map, with the words of each cell."""
    header: list[str | Html] = [corner]
    header += [segment_head(key) for key in view.columns]
    rows = [
        (
            row.label,
            *(
                join([cell.printed, tag("small", cell.words) if cell.words else None])
                for cell in row.cells
            ),
        )
        for row in view.rows
    ]
    return data_table(caption, header, rows)


def badge(key: SegmentKey) -> Html:
    """Build the coloured id of a segment."""
    colour = key.colour or NOISE_COLOUR
    return tag("span", key.id, class_="badge", style=f"background:{colour};color:{ink_on(colour)}")


def segment_head(key: SegmentKey) -> Html:
    """Build the head of a column: the badge of a segment, or the word for all."""
    return tag("span", badge(key), title=key.name) if key.colour else tag("span", key.name)


def segment_name(key: SegmentKey) -> Html:
    """Build badge and name of a segment."""
    return join([badge(key), " ", key.name])


def segment_legend(keys: Sequence[SegmentKey]) -> Html:
    """Build the line of all segments, badge and name."""
    return tag("p", [tag("span", segment_name(key)) for key in keys], class_="legend")


def scale(heats: Sequence[tuple[str, float]], ends: Sequence[str]) -> Html:
    """Build the strip that explains the colours of a heat map."""
    strip = tag(
        "span",
        [tag("i", style=f"background:{colour};opacity:{opacity}") for colour, opacity in heats],
        class_="strip",
        aria_hidden="true",
    )
    return tag("p", ends[0], strip, ends[-1], class_="scale")
