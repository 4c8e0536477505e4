"""The charts of the report, from views to Bokeh figures.

Covers: paired bars, heat maps, the criteria of the choice of k. Glyphs only, no tools
but hovering, no logo; labels stand above their bars and cells, so that a chart needs no
side margin and fits a telephone.
Does not cover: what is drawn (views, maps, evidence) and how it gets into the page (embed).
See also: report.js, which paints what is tagged "ink", "axis" and "grid" in the colours of
the page, light or dark.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from bokeh.models import ColumnDataSource, Rect
from bokeh.models.renderers import GlyphRenderer
from bokeh.plotting import figure

from daskseg.charts.canvas import canvas, hover, write
from daskseg.charts.criteria import Panel
from daskseg.charts.curves import panel_figure
from daskseg.report.maps import HeatView
from daskseg.report.palette import diverging, ink_on, sequential
from daskseg.report.views import SizeView
from daskseg.texts import text

__all__ = [
    "choice_figures",
    "heat_figure",
    "rules_figure",
    "short",
    "size_figure",
]

#: A label longer than this would leave a narrow screen.
LABEL_LETTERS = 46


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
    plot = canvas(
        height=(74 if view.has_shares else 52) * n_rows + 8,
        x_range=(min((0.0, *values)) * 1.02, longest * 1.01),
        y_range=(-0.5, n_rows - 0.5),
    )
    colours = [row.key.colour for row in view.rows]
    names = [
        short(text("report.size.label", id=row.key.id, name=row.key.name)) for row in view.rows
    ]
    write(plot, [0.0] * n_rows, [place + 0.33 for place in places], names, weight="bold")
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
    hover(plot, bars)
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
    plot = canvas(
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
    write(plot, xs, ys, printed, align="center")
    labels = [short(row.label) for row in view.rows]
    write(plot, [0.015] * n_rows, [place + 0.27 for place in places], labels)
    heads = [short(key.id, 8) for key in view.columns]
    centres = [column + 0.5 for column in range(n_columns)]
    write(plot, centres, [n_rows - 0.22] * n_columns, heads, weight="bold", align="center")
    hover(plot, [rects])
    return plot


def choice_figures(panels: Sequence[Panel]) -> dict[str, figure]:
    """Draw the small multiples of the choice of k, by the ids of their frames."""
    return {f"figure-{panel.name}": panel_figure(panel) for panel in panels}


def rules_figure(view: HeatView) -> figure:
    """Draw the shares of names by segments."""
    return heat_figure(view, scale=sequential)


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
    write(
        plot,
        [max(0.0, values[index]) for index in outside],
        [places[index] for index in outside],
        [said[index] for index in outside],
        offset=7,
    )
    write(
        plot,
        [values[index] for index in inside],
        [places[index] for index in inside],
        [said[index] for index in inside],
        align="right",
        offset=-7,
        inks=None if colours is None else [ink_on(colours[index]) for index in inside],
    )


def short(words: str, letters: int = LABEL_LETTERS) -> str:
    """Return words that fit so many letters, with an ellipsis where they are cut."""
    return words if len(words) <= letters else f"{words[: letters - 1].rstrip()}…"
