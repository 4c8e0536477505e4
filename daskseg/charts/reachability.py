"""The reachability plot: a bar for each landmark, valleys in the colours of their clusters.

Covers: one figure from arrays. Does not cover: the distances (see daskseg.cluster.reachability).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from bokeh.models import BasicTicker, ColumnDataSource, VBar
from bokeh.plotting import figure

from daskseg import formats
from daskseg.charts.canvas import FONT, INK, canvas, hover
from daskseg.errors import UsageError
from daskseg.texts import text

__all__ = ["reachability_figure"]


def reachability_figure(
    distances: Sequence[float] | Any, colours: Sequence[str], names: Sequence[str]
) -> figure:
    """Draw the distance at which each landmark joins those before it.

    Parameters
    ----------
    distances : array of shape (n,)
        Finite, in the order of the plot: ``reachability[ordering]`` of
        `daskseg.cluster.reachability`.
    colours, names : sequence of str, n each
        Of the cluster of each.

    Returns
    -------
    figure
        As wide as its frame, 260 pixels high.

    Raises
    ------
    UsageError
        If the sequences do not fit each other.
    """
    heights = [float(one) for one in distances]
    n = len(heights)
    if not n or len(colours) != n or len(names) != n:
        raise UsageError(
            f"there are {n} distances, {len(colours)} colours and {len(names)} names; as many of "
            "each are due, one at least."
        )
    top = max(heights) or 1.0
    plot = canvas(height=260, x_range=(0.0, float(n)), y_range=(0.0, 1.02 * top))
    plot.yaxis.visible = plot.ygrid.visible = True
    plot.yaxis.ticker = BasicTicker(desired_num_ticks=4)
    plot.yaxis.axis_label = text("trees.reachability.axis")
    plot.yaxis.axis_label_text_font = FONT
    plot.yaxis.axis_label_text_font_style = "normal"
    plot.yaxis.axis_label_text_color = INK
    data = {
        "x": [place + 0.5 for place in range(n)],
        "top": heights,
        "ink": list(colours),
        "hover": [
            text("trees.reachability.bar", name=name, distance=formats.significant(height))
            for name, height in zip(names, heights, strict=True)
        ],
    }
    glyph = VBar(x="x", top="top", width=1.0, fill_color="ink", line_color="ink", line_width=0.3)
    hover(plot, [plot.add_glyph(ColumnDataSource(data=data), glyph)])
    return plot
