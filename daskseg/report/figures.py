"""The charts of the report, from views to Bokeh figures.

Covers: paired bars, heat maps, the two curves of the choice of k. Glyphs only, no tools
but hovering, no logo; labels stand above their bars and cells, so that a chart needs no
side margin and fits a telephone.
Does not cover: what is drawn (views, maps, evidence) and how it gets into the page (embed).
See also: report.js, which paints what is tagged "ink", "axis" and "grid" in the colours of
the page, light or dark.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from bokeh.core.properties import value as fixed
from bokeh.models import (
    BasicTicker,
    BasicTickFormatter,
    ColumnDataSource,
    FixedTicker,
    HoverTool,
    Line,
    Range1d,
    Rect,
    Scatter,
    Text,
)
from bokeh.models.renderers import GlyphRenderer
from bokeh.plotting import figure

from daskseg.report.evidence import ChoiceView
from daskseg.report.maps import HeatView
from daskseg.report.palette import diverging, ink_on, sequential
from daskseg.report.views import SizeView
from daskseg.texts import text

__all__ = [
    "heat_figure",
    "inertia_figure",
    "rules_figure",
    "silhouette_figure",
    "size_figure",
]

FONT = "ui-sans-serif, system-ui, -apple-system, 'Segoe UI', Roboto, sans-serif"
LINE_COLOUR = "#4a7f9c"
CHOSEN_COLOUR = "#d55e00"
INK = "#1c2430"
#: A label longer than this would leave a narrow screen.
LABEL_LETTERS = 46
_TOOLTIP = (
    '<div style="max-width:280px;white-space:normal;color:#1c2430;padding:2px 4px;'
    'font:13px/1.45 system-ui,sans-serif">@hover</div>'
)


def size_figure(view: SizeView) -> figure:
    """Draw the share of customers (pale) over the share of money (solid), per segment.

    Parameters
    ----------
    view : SizeView
        The rows, top to bottom.

    Returns
    -------
    figure
        As wide as its frame; 74 pixels per segment, 52 without shares of money.
    """
    n_rows = len(view.rows)
    places = [float(n_rows - 1 - row) for row in range(n_rows)]
    shares = [row.share_value for row in view.rows]
    values = [row.money_share_value or 0.0 for row in view.rows] if view.has_shares else []
    longest = max((*shares, *values, 1e-9))
    plot = _canvas(
        height=(74 if view.has_shares else 52) * n_rows + 8,
        x_range=(min((0.0, *values)) * 1.02, longest * 1.01),
        y_range=(-0.5, n_rows - 0.5),
    )
    colours = [row.key.colour for row in view.rows]
    names = [
        _short(text("report.size.label", id=row.key.id, name=row.key.name)) for row in view.rows
    ]
    _write(plot, [0.0] * n_rows, [place + 0.33 for place in places], names, weight="bold")
    height, offset = (0.23, 0.03) if view.has_shares else (0.36, -0.14)
    said = [f"{row.customers} · {row.share}" for row in view.rows]
    bars = [
        _bars(
            plot, shares, [place + offset for place in places], height, colours, 0.36, said, names
        )
    ]
    _bar_labels(plot, shares, [place + offset for place in places], said, longest, None)
    if view.has_shares:
        lower = [place - 0.23 for place in places]
        paid = [f"{row.money} · {row.money_share}" for row in view.rows]
        bars.append(_bars(plot, values, lower, height, colours, 1.0, paid, names))
        _bar_labels(plot, values, lower, paid, longest, colours)
    _hover(plot, bars)
    return plot


def heat_figure(
    view: HeatView, *, scale: Callable[[float | None], tuple[str, float]] = diverging
) -> figure:
    """Draw a heat map with a printed number in every cell and its words on hovering.

    Parameters
    ----------
    view : HeatView
        Rows top to bottom, columns left to right.
    scale : callable
        From the level of a cell to its colour and opacity; `diverging` or `sequential`.

    Returns
    -------
    figure
        At least 48 pixels per column, 60 per row; a narrow frame scrolls.
    """
    n_rows, n_columns = len(view.rows), len(view.columns)
    plot = _canvas(
        height=60 * n_rows + 30,
        x_range=(0.0, float(n_columns)),
        y_range=(-0.5, n_rows + 30 / 60 - 0.5),
        min_width=48 * n_columns,
    )
    places = [float(n_rows - 1 - row) for row in range(n_rows)]
    cells = [
        (column + 0.5, place - 0.13, cell)
        for place, row in zip(places, view.rows, strict=True)
        for column, cell in enumerate(row.cells)
    ]
    heats = [scale(cell.level) for _, _, cell in cells]
    source = ColumnDataSource(
        data={
            "x": [x for x, _, _ in cells],
            "y": [y for _, y, _ in cells],
            "colour": [colour for colour, _ in heats],
            "opacity": [opacity for _, opacity in heats],
            "hover": [cell.hover for _, _, cell in cells],
        }
    )
    rects = plot.add_glyph(
        source,
        Rect(
            x="x",
            y="y",
            width=0.97,
            height=0.48,
            fill_color="colour",
            fill_alpha="opacity",
            line_color=None,
        ),
    )
    xs, ys, printed = zip(*((x, y, cell.printed) for x, y, cell in cells), strict=True)
    _write(plot, xs, ys, printed, align="center")
    labels = [_short(row.label) for row in view.rows]
    _write(plot, [0.015] * n_rows, [place + 0.27 for place in places], labels)
    heads = [_short(key.id, 8) for key in view.columns]
    centres = [column + 0.5 for column in range(n_columns)]
    _write(plot, centres, [n_rows - 0.22] * n_columns, heads, weight="bold", align="center")
    _hover(plot, [rects])
    return plot


def inertia_figure(view: ChoiceView) -> figure | None:
    """Draw inertia over the number of segments with its knee; None below two points."""
    # Beside the error of one segment all others would lie on a line.
    points = [(p.k, p.inertia) for p in view.curve if p.inertia is not None and p.k > 1]
    marks = {view.knee: text("report.choice.knee"), view.k: text("report.choice.chosen")}
    if view.knee == view.k:
        marks = {view.k: f"{text('report.choice.knee')}, {text('report.choice.chosen')}"}
    return _curve(points, marks, view.k)


def silhouette_figure(view: ChoiceView) -> figure | None:
    """Draw the silhouette with the chosen number and the runner-up; None below two points."""
    points = [(point.k, point.silhouette) for point in view.curve if point.silhouette is not None]
    marks = {view.runner_up: text("report.choice.runner_up"), view.k: text("report.choice.chosen")}
    return _curve(points, marks, view.k)


def rules_figure(view: HeatView) -> figure:
    """Draw the shares of names by segments."""
    return heat_figure(view, scale=sequential)


def _curve(
    points: Sequence[tuple[int, float]], marks: dict[int | None, str], chosen: int
) -> figure | None:
    if len(points) < 2:
        return None
    ks, values = [float(k) for k, _ in points], [value for _, value in points]
    room = (max(values) - min(values)) or abs(values[0]) or 1.0
    plot = _canvas(
        height=250,
        x_range=(ks[0] - 0.6, ks[-1] + 0.6),
        y_range=(min(values) - 0.2 * room, max(values) + 0.22 * room),
    )
    plot.xaxis.visible = plot.yaxis.visible = True
    plot.xaxis.ticker = FixedTicker(ticks=ks)
    plot.yaxis.ticker = BasicTicker(desired_num_ticks=4)
    plot.yaxis.formatter = BasicTickFormatter(power_limit_high=6)
    plot.ygrid.visible = True
    source = ColumnDataSource(
        data={
            "x": ks,
            "y": values,
            "hover": [
                text("report.choice.hover", k=k, value=_plain(f"{value:,.4g}"))
                for k, value in points
            ],
            "fill": [CHOSEN_COLOUR if k == chosen else LINE_COLOUR for k, _ in points],
            "size": [13.0 if k in marks else 7.0 for k, _ in points],
        }
    )
    plot.add_glyph(source, Line(x="x", y="y", line_color=LINE_COLOUR, line_width=2.5))
    dots = plot.add_glyph(
        source, Scatter(x="x", y="y", size="size", fill_color="fill", line_color=None)
    )
    places = [place for place, (k, _) in enumerate(points) if k in marks]
    for place in places:
        above, align = _clear_of_line(values, place, places)
        _write(
            plot,
            [ks[place]],
            [values[place] + (0.1 if above else -0.1) * room],
            [marks[points[place][0]]],
            weight="bold",
            align=align,
            offset={"left": 4, "center": 0, "right": -4}[align],
        )
    _hover(plot, [dots])
    return plot


def _clear_of_line(values: Sequence[float], place: int, marked: Sequence[int]) -> tuple[bool, str]:
    """Say where the word of a point is clear of the line and of the other word.

    Of two words the one on the left runs to the left and the other to the right; at the ends
    of the line a word runs inwards. Returns whether it stands above, and its alignment.
    """
    last = len(values) - 1
    left = place == last or (place == min(marked) and len(marked) > 1)
    if place == 0:
        left = False
    if place == 1 and marked[0] == 0:
        left = True
    above = (values[place - 1] if left else values[place + 1]) <= values[place]
    if left and place == 1 < len(values) - 1 and above and values[place + 1] < values[place]:
        return True, "center"  # a peak near the axis: to the left the word would be cut
    return above, "right" if left else "left"


def _canvas(
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


def _bars(
    plot: figure,
    values: Sequence[float],
    places: Sequence[float],
    height: float,
    colours: Sequence[str],
    alpha: float,
    said: Sequence[str],
    names: Sequence[str],
) -> GlyphRenderer[Rect]:
    source = ColumnDataSource(
        data={
            "x": [value / 2 for value in values],
            "y": list(places),
            "width": [abs(value) for value in values],
            "colour": list(colours),
            "hover": [f"{name}: {words}" for name, words in zip(names, said, strict=True)],
        }
    )
    return plot.add_glyph(
        source,
        Rect(
            x="x",
            y="y",
            width="width",
            height=height,
            fill_color="colour",
            fill_alpha=alpha,
            line_color=None,
        ),
    )


def _bar_labels(
    plot: figure,
    values: Sequence[float],
    places: Sequence[float],
    said: Sequence[str],
    longest: float,
    colours: Sequence[str] | None,
) -> None:
    """Print the numbers: inside the end of a long bar, behind a short one."""
    inside = [index for index, value in enumerate(values) if value > 0.55 * longest]
    outside = [index for index in range(len(values)) if index not in inside]
    _write(
        plot,
        [max(0.0, values[index]) for index in outside],
        [places[index] for index in outside],
        [said[index] for index in outside],
        offset=7,
    )
    _write(
        plot,
        [values[index] for index in inside],
        [places[index] for index in inside],
        [said[index] for index in inside],
        align="right",
        offset=-7,
        inks=None if colours is None else [ink_on(colours[index]) for index in inside],
    )


def _write(
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


def _hover(plot: figure, renderers: Sequence[GlyphRenderer[Any]]) -> None:
    plot.add_tools(
        HoverTool(renderers=list(renderers), tooltips=_TOOLTIP, point_policy="follow_mouse")
    )


def _short(words: str, letters: int = LABEL_LETTERS) -> str:
    return words if len(words) <= letters else f"{words[: letters - 1].rstrip()}…"


def _plain(words: str) -> str:
    """Keep Bokeh from reading a name as TeX: break its delimiters with an empty joint."""
    for mark in ("$$", "\\[", "\\("):
        words = words.replace(mark, f"{mark[0]}\u2060{mark[1]}")
    return words
