"""Small multiples: one figure per criterion, all over the same numbers of clusters.

Covers: lines with whiskers, limits and marked points; all of them in a grid.
Does not cover: their words (see ``criteria``).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from bokeh.layouts import gridplot
from bokeh.models import (
    BasicTicker,
    BasicTickFormatter,
    ColumnDataSource,
    FixedTicker,
    GridPlot,
    Line,
    Scatter,
    Segment,
)
from bokeh.models.annotations import Title
from bokeh.plotting import figure

from daskseg import formats
from daskseg.charts.canvas import FONT, INK, canvas, hover, write
from daskseg.charts.criteria import Panel
from daskseg.errors import UsageError
from daskseg.texts import text

__all__ = ["GridPlot", "grid", "panel_figure"]

LINE_COLOUR = "#4a7f9c"
CHOSEN_COLOUR = "#d55e00"
LIMIT_COLOUR = "#788088"
# Numbers below an axis of a third of the page run into each other from here on.
MAX_TICKS = 12
# Pixels of a chart with title and label of its axis.
GRID_HEIGHT = 250
# Pixels: y axes of equal width set the x axes of neighbours one under the other.
AXIS_WIDTH = 46
# Of the axes of a chart of 240 by 180 pixels: a bold letter of 13 pixels, and a line of them.
LETTER_WIDTH, WORD_HEIGHT = 0.033, 0.1


def grid(panels: Sequence[Panel], *, n_columns: int = 3) -> GridPlot:
    """Draw panels with their titles side by side.

    Parameters
    ----------
    panels : sequence of Panel
    n_columns : int

    Returns
    -------
    GridPlot
        As wide as its frame.

    Raises
    ------
    UsageError
        If there is no panel: a curve needs two numbers of clusters.
    """
    if not panels:
        raise UsageError(
            "There is nothing to plot: fewer than two numbers of clusters from 2 on were measured. "
            "Give k at least two numbers, such as range(2, 11)."
        )
    figures: list[Any | None] = []
    for panel in panels:
        plot = panel_figure(panel)
        plot.title = Title(
            text=f"{panel.title}\n{panel.said}" if panel.said else panel.title,
            text_font=FONT,
            text_color=INK,
        )
        plot.xaxis.axis_label = text("report.choice.axis")
        plot.xaxis.axis_label_text_font = FONT
        plot.xaxis.axis_label_text_font_size = "12px"
        plot.xaxis.axis_label_text_font_style = "normal"
        plot.xaxis.axis_label_text_color = INK
        figures.append(plot)
    drawn: GridPlot = gridplot(
        figures,
        ncols=n_columns,
        toolbar_location=None,
        sizing_mode="stretch_width",
        height=GRID_HEIGHT,
    )
    return drawn


def panel_figure(panel: Panel) -> figure:
    """Draw one criterion.

    Parameters
    ----------
    panel : Panel

    Returns
    -------
    figure
        As wide as its frame, 220 pixels high.
    """
    ends = (*panel.lows, *panel.highs, *panel.lines, *panel.limits)
    room = (max(ends) - min(ends)) or abs(ends[0]) or 1.0
    left, right = panel.span[0] - 0.6, panel.span[1] + 0.6
    plot = canvas(
        height=220,
        x_range=(left, right),
        y_range=(min(ends) - 0.2 * room, max(ends) + 0.22 * room),
    )
    plot.min_border_left = AXIS_WIDTH
    plot.xaxis.visible = plot.yaxis.visible = True
    ticks = range(panel.span[0], panel.span[1] + 1)
    plot.xaxis.ticker = FixedTicker(ticks=list(ticks[:: 1 + len(ticks) // MAX_TICKS]))
    plot.yaxis.ticker = BasicTicker(desired_num_ticks=4)
    plot.yaxis.formatter = BasicTickFormatter(power_limit_high=6)
    plot.ygrid.visible = True
    for height in panel.lines:
        _limit(plot, [left, right], [height, height])
        _label_of_line(plot, right, height, 0.07 * room)
    if panel.limits:
        _limit(plot, panel.ks, panel.limits)
    _points(plot, panel)
    _words(plot, panel, room)
    return plot


def _limit(plot: figure, xs: Sequence[float], ys: Sequence[float]) -> None:
    glyph = Line(x="x", y="y", line_color=LIMIT_COLOUR, line_width=1.5, line_dash="dashed")
    plot.add_glyph(ColumnDataSource(data={"x": list(xs), "y": list(ys)}), glyph)


def _label_of_line(plot: figure, x: float, y: float, above: float) -> None:
    write(plot, [x], [y + above], [formats.significant(y)], align="right", offset=-2)


def _points(plot: figure, panel: Panel) -> None:
    source = ColumnDataSource(
        data={
            "x": list(panel.ks),
            "y": list(panel.values),
            "low": list(panel.lows),
            "high": list(panel.highs),
            "hover": list(panel.hovers),
            "fill": [CHOSEN_COLOUR if k == panel.k else LINE_COLOUR for k in panel.ks],
            "size": [12.0 if k in panel.marks else 6.0 for k in panel.ks],
        }
    )
    if panel.lows != panel.values or panel.highs != panel.values:
        plot.add_glyph(
            source, Segment(x0="x", x1="x", y0="low", y1="high", line_color="fill", line_width=2)
        )
    plot.add_glyph(source, Line(x="x", y="y", line_color=LINE_COLOUR, line_width=2.5))
    dots = plot.add_glyph(
        source, Scatter(x="x", y="y", size="size", fill_color="fill", line_color=None)
    )
    hover(plot, [dots])


def _words(plot: figure, panel: Panel, room: float) -> None:
    written: list[_Box] = []
    # The recommendation chooses its place first.
    for k in sorted(panel.marks, key=lambda k: k != panel.k):
        if k not in panel.ks:
            continue
        box = _clear_box(panel, panel.ks.index(k), room, written)
        written.append(box)
        write(plot, [box.left], [box.height], [panel.marks[k]], weight="bold")


class _Box(NamedTuple):
    """Where a word stands: both ends on the x axis, and its middle on the y axis."""

    left: float
    right: float
    height: float


def _clear_box(panel: Panel, place: int, room: float, written: Sequence[_Box]) -> _Box:
    """Find the place nearest to a point where its word hides neither curve nor other words."""
    first, last = panel.span[0] - 0.6, panel.span[1] + 0.6
    k, value = panel.ks[place], panel.values[place]
    width = min(1.0, LETTER_WIDTH * len(panel.marks[k])) * (last - first)
    gap = 0.015 * (last - first)
    boxes = []
    for wished in (k + gap, k - width / 2, k - width - gap):
        left = min(max(wished, first), last - width)
        under = [
            index for index, other in enumerate(panel.ks) if left - 1 < other < left + width + 1
        ]
        above = max(panel.highs[index] for index in under) + WORD_HEIGHT * room
        below = min(panel.lows[index] for index in under) - WORD_HEIGHT * room
        boxes += [_Box(left, left + width, above), _Box(left, left + width, below)]

    def cost(box: _Box) -> float:
        lines = (*panel.lines, *panel.limits)
        hidden = sum(abs(box.height - line) < WORD_HEIGHT * room / 2 for line in lines)
        clashes = sum(
            box.left < other.right
            and other.left < box.right
            and abs(box.height - other.height) < WORD_HEIGHT * room
            for other in written
        )
        away = max(box.left - k, k - box.right, 0.0) / (last - first)
        return abs(box.height - value) / room + away + clashes + 0.1 * min(hidden, 1)

    return min(boxes, key=cost)
