"""The drawn tree of an agglomerative clustering, down to so many groups.

Covers: a tree in SciPy's format as brackets, with weights, a cut and names. Pure functions of
arrays. Does not cover: making a tree (see daskseg.kernels.linkage).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from bokeh.models import BasicTicker, ColumnDataSource, MultiLine, Scatter
from bokeh.plotting import figure
from numpy.typing import NDArray

from daskseg import formats
from daskseg.charts.canvas import FONT, INK, canvas, hover, write
from daskseg.charts.curves import LIMIT_COLOUR, LINE_COLOUR
from daskseg.errors import UsageError
from daskseg.texts import text

__all__ = ["Join", "Leaf", "Shape", "dendrogram", "shape_of"]

# Below the lowest joins, as shares of the height of the figure.
_ROOM_BELOW, _ROOM_ABOVE = 0.12, 0.05


class Join(NamedTuple):
    """A bracket.

    Attributes
    ----------
    xs, ys : tuple of float
        Four corners: up from the left part, across, down to the right one.
    weight : float
    height : float
    cluster : int
        The cluster that it lies in, from left to right; -1 above the cut, or without one.
    """

    xs: tuple[float, float, float, float]
    ys: tuple[float, float, float, float]
    weight: float
    height: float
    cluster: int


class Leaf(NamedTuple):
    """A group that is not drawn further.

    Attributes
    ----------
    x, weight : float
    cluster : int
        As of `Join`.
    """

    x: float
    weight: float
    cluster: int


class Shape(NamedTuple):
    """What is drawn, leaves from left to right, joins from below."""

    leaves: list[Leaf]
    joins: list[Join]


def shape_of(
    tree: NDArray[Any],
    weights: NDArray[Any] | None = None,
    *,
    n_leaves: int = 30,
    cut: int | None = None,
) -> Shape:
    """Lay out the upper part of a tree.

    Parameters
    ----------
    tree : ndarray of shape (n - 1, 4)
        As of ``scipy.cluster.hierarchy.linkage``; the last column is not looked at.
    weights : ndarray of shape (n,), optional
        Of the single points; ones if not given.
    n_leaves : int
        At most so many groups are drawn.
    cut : int, optional
        Number of clusters that are told apart.

    Returns
    -------
    Shape

    Raises
    ------
    UsageError
        If the arrays do not fit each other, or there is nothing to draw.
    """
    n = len(tree) + 1
    heavy = np.ones(n) if weights is None else np.asarray(weights, dtype=np.float64)
    _check(tree, heavy, n_leaves, cut)
    ends = np.asarray(tree)[:, :2].astype(int).tolist()
    mass = [*heavy.tolist(), *[0.0] * (n - 1)]
    for node, (left, right) in enumerate(ends, start=n):
        mass[node] = mass[left] + mass[right]
    first_drawn = 2 * n - min(n_leaves, n)
    first_open = 2 * n - (1 if cut is None else cut)
    cluster, x, y = [-1] * (2 * n - 1), [0.0] * (2 * n - 1), [0.0] * (2 * n - 1)
    leaves: list[Leaf] = []
    n_clusters = 0
    stack = [(2 * n - 2, -1)]
    while stack:
        node, inside = stack.pop()
        if inside < 0 and node < first_open and cut is not None:
            inside = n_clusters
            n_clusters += 1
        cluster[node] = inside
        if node >= max(first_drawn, n):
            left, right = ends[node - n]
            stack += [(right, inside), (left, inside)]
        else:
            x[node] = float(len(leaves))
            leaves.append(Leaf(x[node], mass[node], inside))
    joins = []
    for node in range(max(first_drawn, n), 2 * n - 1):
        left, right = ends[node - n]
        x[node], y[node] = (x[left] + x[right]) / 2.0, float(tree[node - n][2])
        xs = (x[left], x[left], x[right], x[right])
        ys = (y[left], y[node], y[node], y[right])
        joins.append(Join(xs, ys, mass[node], y[node], cluster[node]))
    return Shape(leaves, joins)


def _check(tree: NDArray[Any], weights: NDArray[Any], n_leaves: int, cut: int | None) -> None:
    n = len(tree) + 1
    if n < 2 or np.ndim(tree) != 2:
        raise UsageError("There is nothing to draw: a tree needs two groups at least.")
    if weights.shape != (n,):
        raise UsageError(f"weights has the shape {weights.shape}, but the tree has {n} points.")
    if n_leaves < 2:
        raise UsageError(f"n_leaves={n_leaves}, but a tree needs two groups at least.")
    if cut is not None and not 1 <= cut <= min(n_leaves, n):
        raise UsageError(
            f"cut={cut} is not a number of clusters from 1 to {min(n_leaves, n)}, the groups that "
            "are drawn. Give a larger n_leaves to see more."
        )


def dendrogram(
    tree: NDArray[Any],
    weights: NDArray[Any] | None = None,
    *,
    n_leaves: int = 30,
    cut: int | None = None,
    names: Sequence[str] = (),
) -> figure:
    """Draw the upper part of a tree.

    Parameters
    ----------
    tree, weights, n_leaves, cut : as for `shape_of`
    names : sequence of str
        Of the clusters of the cut, from left to right, as `AgglomerativeClustering` numbers
        them; empty for no names.

    Returns
    -------
    figure
        As wide as its frame, 320 pixels high.

    Raises
    ------
    UsageError
        As of `shape_of`, and if there are not as many names as clusters.

    Examples
    --------
    >>> import numpy as np
    >>> tree = np.array([[0, 1, 1.0, 2], [2, 3, 5.0, 3]])
    >>> dendrogram(tree, np.array([10, 20, 5]), cut=2, names=["many", "few"]).height
    320
    """
    if len(names) not in (0, cut):
        raise UsageError(f"there are {len(names)} names, but cut={cut}; give one per cluster.")
    shape = shape_of(tree, weights, n_leaves=n_leaves, cut=cut)
    top = max(join.height for join in shape.joins) or 1.0
    plot = canvas(
        height=320,
        x_range=(-0.6, len(shape.leaves) - 0.4),
        y_range=(-_ROOM_BELOW * top, (1.0 + _ROOM_ABOVE) * top),
    )
    plot.yaxis.visible = True
    plot.yaxis.ticker = BasicTicker(desired_num_ticks=4)
    plot.yaxis.axis_label = text("trees.dendrogram.axis")
    plot.yaxis.axis_label_text_font = FONT
    plot.yaxis.axis_label_text_font_style = "normal"
    plot.yaxis.axis_label_text_color = INK
    plot.ygrid.visible = True
    drawn = [_brackets(plot, shape), _ends(plot, shape)]
    hover(plot, drawn)
    _names(plot, shape, names, -0.6 * _ROOM_BELOW * top)
    return plot


def _ink(cluster: int) -> str:
    return LIMIT_COLOUR if cluster < 0 else LINE_COLOUR


def _brackets(plot: figure, shape: Shape) -> Any:
    data = {
        "xs": [list(join.xs) for join in shape.joins],
        "ys": [list(join.ys) for join in shape.joins],
        "ink": [_ink(join.cluster) for join in shape.joins],
        "hover": [
            text(
                "trees.dendrogram.join",
                count=formats.count(join.weight),
                height=formats.significant(join.height),
            )
            for join in shape.joins
        ],
    }
    glyph = MultiLine(xs="xs", ys="ys", line_color="ink", line_width=2)
    return plot.add_glyph(ColumnDataSource(data=data), glyph)


def _ends(plot: figure, shape: Shape) -> Any:
    total = sum(leaf.weight for leaf in shape.leaves)
    data = {
        "x": [leaf.x for leaf in shape.leaves],
        "y": [0.0 for _ in shape.leaves],
        "ink": [_ink(leaf.cluster) for leaf in shape.leaves],
        "hover": [
            text(
                "trees.dendrogram.leaf",
                count=formats.count(leaf.weight),
                share=formats.percent(leaf.weight / total),
            )
            for leaf in shape.leaves
        ],
    }
    glyph = Scatter(x="x", y="y", size=7, line_color=None, fill_color="ink")
    return plot.add_glyph(ColumnDataSource(data=data), glyph)


def _names(plot: figure, shape: Shape, names: Sequence[str], y: float) -> None:
    places = [
        [leaf.x for leaf in shape.leaves if leaf.cluster == number] for number in range(len(names))
    ]
    middles = [sum(xs) / len(xs) for xs in places]
    write(plot, middles, [y] * len(names), list(names), align="center")
