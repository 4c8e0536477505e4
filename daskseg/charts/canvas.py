"""A bare Bokeh figure, words on it, and hovering: what every chart starts from.

Covers: transparent figures without tools, axes hidden until asked for, inks with the tags
"ink", "axis" and "grid", which the script of a report paints in the colours of its page.
Does not cover: charts (see ``curves``, daskseg.report.figures).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from bokeh.core.properties import value as fixed
from bokeh.models import ColumnDataSource, HoverTool, Range1d, Text
from bokeh.models.renderers import GlyphRenderer
from bokeh.plotting import figure

__all__ = ["FONT", "INK", "canvas", "hover", "write"]

FONT = "ui-sans-serif, system-ui, -apple-system, 'Segoe UI', Roboto, sans-serif"
INK = "#1c2430"
_TOOLTIP = (
    '<div style="max-width:280px;white-space:normal;color:#1c2430;padding:2px 4px;'
    'font:13px/1.45 system-ui,sans-serif">@hover</div>'
)


def canvas(
    *,
    height: int,
    x_range: tuple[float, float],
    y_range: tuple[float, float],
    min_width: int | None = None,
) -> figure:
    """Make a bare figure: transparent, no tools, no logo, axes hidden until asked for."""
    plot = figure(
        height=height,
        min_width=min_width,
        sizing_mode="stretch_width",
        x_range=Range1d(start=x_range[0], end=x_range[1]),
        y_range=Range1d(start=y_range[0], end=y_range[1]),
        tools="",
        toolbar_location=None,
        background_fill_color=None,
        border_fill_color=None,
        outline_line_color=None,
        min_border=2,
    )
    plot.toolbar.logo = None
    for axis in (*plot.xaxis, *plot.yaxis):
        axis.visible = False
        axis.tags = ["axis"]
        axis.axis_line_color = None
        axis.major_tick_line_color = None
        axis.minor_tick_line_color = None
        axis.major_label_text_font = FONT
        axis.major_label_text_font_size = "12px"
        axis.major_label_text_color = INK
    for grid in (*plot.xgrid, *plot.ygrid):
        grid.visible = False
        grid.tags = ["grid"]
        grid.grid_line_color = "#d5d9de"
    return plot


def write(
    plot: figure,
    xs: Sequence[float],
    ys: Sequence[float],
    words: Sequence[str],
    *,
    weight: str = "normal",
    align: str = "left",
    offset: int = 0,
    inks: Sequence[str] | None = None,
) -> None:
    """Print words in the ink of the page, or in inks of their own."""
    if not words:
        return
    data: dict[str, Sequence[float] | Sequence[str]] = {
        "x": list(xs),
        "y": list(ys),
        "text": [_plain(word) for word in words],
    }
    if inks is not None:
        data["ink"] = list(inks)
    glyph = Text(
        x="x",
        y="y",
        text="text",
        text_color=INK if inks is None else "ink",
        text_align=align,
        text_baseline="middle",
        x_offset=offset,
        text_font=fixed(FONT),
        text_font_size="13px",
        text_font_style=weight,
        tags=["ink"] if inks is None else [],
    )
    plot.add_glyph(ColumnDataSource(data=data), glyph)


def hover(plot: figure, renderers: Sequence[GlyphRenderer[Any]]) -> None:
    """Show the column "hover" of these glyphs under the pointer."""
    plot.add_tools(
        HoverTool(renderers=list(renderers), tooltips=_TOOLTIP, point_policy="follow_mouse")
    )


def _plain(words: str) -> str:
    """Keep Bokeh from reading a name as TeX: break its delimiters with an empty joint."""
    for mark in ("$$", "\\[", "\\("):
        words = words.replace(mark, f"{mark[0]}\u2060{mark[1]}")
    return words
