"""The curve of distances to the k-th nearest row, with the eps that it suggests.

Covers: one figure from arrays. Does not cover: the distances (see daskseg.cluster.density).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from bokeh.models import BasicTicker, ColumnDataSource, Line, NumeralTickFormatter, Scatter
from bokeh.plotting import figure

from daskseg import formats
from daskseg.charts.canvas import FONT, INK, canvas, write
from daskseg.errors import UsageError
from daskseg.texts import text

__all__ = ["distance_figure"]

LINE_COLOUR = "#4a7f9c"
CHOSEN_COLOUR = "#d55e00"
# More points than a screen has columns are drawn one over the other.
MAX_POINTS = 1_000


def distance_figure(
    distances: Sequence[float] | Any,
    knee: int | None = None,
    *,
    shares: Sequence[float] | None = None,
) -> figure:
    """Draw distances over the share of rows that have none longer.

    Parameters
    ----------
    distances : array of shape (n_places,)
        By rising distance, as `daskseg.cluster.density.k_distances` returns them.
    knee : int, optional
        The place to mark.
    shares : array of shape (n_places,), optional
        Of rows that have none longer, where not all places are given.

    Returns
    -------
    figure
        As wide as its frame. The share at a height is that of the core rows with this eps.

    Raises
    ------
    UsageError
        If there are fewer than two distances, or no place `knee` among them.
    """
    heights = [float(one) for one in distances]
    last = len(heights) - 1
    if last < 1:
        raise UsageError(f"a curve takes two distances, but there are {len(heights)}.")
    if knee is not None and not 0 <= knee <= last:
        raise UsageError(f"knee={knee} is no place among {len(heights)} distances.")
    step = max(1, len(heights) // MAX_POINTS)
    places = sorted({*range(0, last + 1, step), last, *([] if knee is None else [knee])})
    if shares is None:
        shares = [(place + 1) / (last + 1) for place in range(last + 1)]
    top = heights[-1] or 1.0
    plot = canvas(height=320, x_range=(0.0, 1.0), y_range=(0.0, 1.05 * top))
    plot.xaxis.visible = plot.yaxis.visible = plot.ygrid.visible = True
    plot.xaxis.formatter = NumeralTickFormatter(format="0%")
    plot.yaxis.ticker = BasicTicker(desired_num_ticks=5)
    for axis, name in ((plot.xaxis, "share"), (plot.yaxis, "distance")):
        axis.axis_label = text(f"choice.eps.{name}")
        axis.axis_label_text_font = FONT
        axis.axis_label_text_font_style = "normal"
        axis.axis_label_text_color = INK
    data = {"x": [shares[place] for place in places], "y": [heights[place] for place in places]}
    plot.add_glyph(
        ColumnDataSource(data=data), Line(x="x", y="y", line_color=LINE_COLOUR, line_width=2.5)
    )
    if knee is not None:
        share, eps = shares[knee], heights[knee]
        dot = ColumnDataSource(data={"x": [share], "y": [eps]})
        plot.add_glyph(
            dot, Scatter(x="x", y="y", size=11.0, fill_color=CHOSEN_COLOUR, line_color=None)
        )
        word = text("choice.eps.knee", eps=formats.significant(eps), share=formats.percent(share))
        write(plot, [share], [eps + 0.06 * top], [word], weight="bold", align="right", offset=-4)
    return plot
