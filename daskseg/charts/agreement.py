"""How often groups of rows are found together, as a square of shades.

Covers: the ordered matrix of a consensus with the borders of its clusters. Pure functions of
arrays. Does not cover: making it (see daskseg.cluster.ConsensusClustering).
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
from bokeh.models import ColumnDataSource, Rect, Segment
from bokeh.plotting import figure
from numpy.typing import NDArray

from daskseg import formats
from daskseg.charts.canvas import INK, canvas, hover
from daskseg.charts.curves import LINE_COLOUR
from daskseg.errors import UsageError
from daskseg.texts import text

__all__ = ["matrix", "pooled"]

# Cells along a side; finer ones are not told apart on a page.
_MOST_CELLS = 60


def pooled(values: NDArray[Any], n_cells: int = _MOST_CELLS) -> tuple[NDArray[Any], NDArray[Any]]:
    """Average a square matrix over even cells.

    Parameters
    ----------
    values : ndarray of shape (n, n)
    n_cells : int
        At most so many along a side.

    Returns
    -------
    cells : ndarray of shape (m, m), float64
    edges : ndarray of shape (m + 1,), int64
        Where the cells begin and end, from 0 to n.

    Examples
    --------
    >>> pooled(np.arange(16.0).reshape(4, 4), 2)[0].tolist()
    [[2.5, 4.5], [10.5, 12.5]]
    """
    n = len(values)
    edges = np.linspace(0, n, min(n, n_cells) + 1).round().astype(np.int64)
    sums = np.add.reduceat(np.asarray(values, dtype=np.float64), edges[:-1], axis=0)
    sums = np.add.reduceat(sums, edges[:-1], axis=1)
    widths = np.diff(edges)
    return sums / np.outer(widths, widths), edges


def matrix(values: NDArray[Any], labels: NDArray[Any]) -> figure:
    """Draw how often groups of rows are found together.

    Parameters
    ----------
    values : ndarray of shape (n, n)
        From 0 to 1, in the order in which they are drawn, such as ``consensus_matrix_``.
    labels : ndarray of shape (n,)
        The cluster of each, such as ``consensus_labels_``; those of one stand together.

    Returns
    -------
    figure
        As wide as its frame, 360 pixels high.

    Raises
    ------
    UsageError
        If the arrays do not fit each other.

    Examples
    --------
    >>> matrix(np.eye(3), np.array([0, 0, 1])).height
    360
    """
    n = len(values)
    if np.shape(values) != (n, n) or np.shape(labels) != (n,) or not n:
        raise UsageError(
            f"values has the shape {np.shape(values)} and labels {np.shape(labels)}; a square and "
            "one label for each of its rows are due."
        )
    cells, edges = pooled(values)
    plot = canvas(height=360, x_range=(0.0, float(n)), y_range=(float(n), 0.0))
    middles, widths = (edges[:-1] + edges[1:]) / 2.0, np.diff(edges)
    across, down = np.meshgrid(np.arange(len(middles)), np.arange(len(middles)))
    shares = cells.ravel()
    data = {
        "x": middles[across.ravel()].tolist(),
        "y": middles[down.ravel()].tolist(),
        "width": widths[across.ravel()].tolist(),
        "height": widths[down.ravel()].tolist(),
        "share": np.clip(shares, 0.0, 1.0).tolist(),
        "hover": [
            text("trees.agreement.cell", share=formats.percent(float(share))) for share in shares
        ],
    }
    glyph = Rect(
        x="x",
        y="y",
        width="width",
        height="height",
        line_color=None,
        fill_color=LINE_COLOUR,
        fill_alpha="share",
    )
    hover(plot, [plot.add_glyph(ColumnDataSource(data=data), glyph)])
    _borders(plot, np.asarray(labels))
    return plot


def _borders(plot: figure, labels: NDArray[Any]) -> None:
    n = len(labels)
    cuts = [i for i, (one, other) in enumerate(pairwise(labels.tolist()), start=1) if one != other]
    ends = [(cut, cut, 0, n) for cut in cuts] + [(0, n, cut, cut) for cut in cuts]
    data = {name: [end[i] for end in ends] for i, name in enumerate(("x0", "x1", "y0", "y1"))}
    glyph = Segment(x0="x0", x1="x1", y0="y0", y1="y1", line_color=INK, line_width=1)
    plot.add_glyph(ColumnDataSource(data=data), glyph)
