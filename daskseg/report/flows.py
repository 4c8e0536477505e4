"""Charts of the firmness of segments: sorted silhouettes, Jaccard indices, ribbons of customers.

Covers: what `daskseg.report.firmness` has found, as Bokeh figures; labels stand above their
areas, so that the charts fit a telephone.
Does not cover: the other charts (daskseg.report.figures).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from bokeh.models import (
    BasicTicker,
    ColumnDataSource,
    FixedTicker,
    Rect,
    Scatter,
    Segment,
)
from bokeh.models.glyphs import Patches
from bokeh.plotting import figure

from daskseg.charts.canvas import canvas, hover, write
from daskseg.charts.curves import LIMIT_COLOUR
from daskseg.report.figures import short
from daskseg.report.firmness import FirmRow, FirmView, Flow, MovesView, SideView
from daskseg.report.palette import ink_on
from daskseg.texts import text

__all__ = ["jaccards_figure", "moves_figure", "silhouettes_figure"]

# The lines of daskseg.model_selection.criteria.limits, which cannot be imported here: a report
# loads no dask. A test compares them.
JACCARD_LINES = (0.6, 0.75)
# Pixels of a segment in both charts of firmness, so that neighbours stand side by side.
ROW_HEIGHT = 66
AXIS_HEIGHT = 30
# A label of so many letters leaves room for the number beside it on a narrow screen.
NAME_LETTERS = 28
# Parts of a row of firmness: the line of the label, the top and the bottom of what is drawn.
LABEL, TOP, BOTTOM = 0.34, 0.16, -0.44
# Ribbons that would be thinner than half a pixel stand in the table alone.
MIN_SHARE = 0.001
# Of the chart of ribbons: pixels without, and per segment; widths and gaps of its axes.
FLOW_HEIGHT, FLOW_ROW_HEIGHT = 220, 26
NODE_WIDTH, GAPS = 0.085, 0.16
# Pixels of the line that heads the columns, and least pixels of a node with a label.
HEAD_HEIGHT, LABEL_HEIGHT = 26, 15
_STEPS = 16


def silhouettes_figure(view: FirmView) -> figure | None:
    """Draw the sorted silhouettes of each segment as an area.

    Parameters
    ----------
    view : FirmView

    Returns
    -------
    figure or None
        As wide as its frame, 66 pixels per segment; None without silhouettes.
    """
    if not view.has_silhouettes:
        return None
    least = min(min(row.quantiles or (0.0,)) for row in view.rows)
    left = min(-0.04, 1.04 * least)
    plot = _rows_canvas(view.rows, (left, 1.0))
    plot.xaxis.ticker = BasicTicker(desired_num_ticks=5)
    rows = [(row, place) for row, place in _places(view.rows) if row.quantiles is not None]
    source = ColumnDataSource(
        data={
            "x": [[0.0, *reversed(row.quantiles or ()), 0.0] for row, _ in rows],
            "y": [_heights(len(row.quantiles or ()), place) for row, place in rows],
            "fill": [row.key.colour for row, _ in rows],
            "hover": [row.hover for row, _ in rows],
        }
    )
    areas = plot.add_glyph(
        source, Patches(xs="x", ys="y", fill_color="fill", fill_alpha=0.85, line_color=None)
    )
    _uprights(plot, [0.0], view.rows, dash="solid")
    _labels(plot, view.rows, [row.silhouette_words for row in view.rows], left, 1.0)
    hover(plot, [areas])
    return plot


def _heights(n_quantiles: int, place: float) -> list[float]:
    step = (TOP - BOTTOM) / (n_quantiles - 1)
    middle = [round(place + TOP - step * index, 5) for index in range(n_quantiles)]
    return [middle[0], *middle, middle[-1]]


def jaccards_figure(view: FirmView) -> figure | None:
    """Draw how well each segment is found again as a dot, with the lines of the rule.

    Parameters
    ----------
    view : FirmView

    Returns
    -------
    figure or None
        As wide as its frame, 66 pixels per segment; None without indices.
    """
    if not view.has_jaccards:
        return None
    plot = _rows_canvas(view.rows, (0.0, 1.03))
    plot.xaxis.ticker = FixedTicker(ticks=[0.0, *JACCARD_LINES, 1.0])
    _uprights(plot, JACCARD_LINES, view.rows, dash="dashed")
    rows = [(row, place) for row, place in _places(view.rows) if row.jaccard is not None]
    source = ColumnDataSource(
        data={
            "x": [row.jaccard for row, _ in rows],
            "none": [0.0] * len(rows),
            "y": [place + (TOP + BOTTOM) / 2 for _, place in rows],
            "fill": [row.key.colour for row, _ in rows],
            "hover": [
                text(
                    "report.firm.hover_jaccard",
                    id=row.key.id,
                    name=row.key.name,
                    jaccard=row.jaccard_words,
                )
                for row, _ in rows
            ],
        }
    )
    plot.add_glyph(
        source, Segment(x0="none", x1="x", y0="y", y1="y", line_color="fill", line_width=2)
    )
    dots = plot.add_glyph(
        source, Scatter(x="x", y="y", size=14, fill_color="fill", line_color=None)
    )
    _labels(plot, view.rows, [row.jaccard_words for row in view.rows], 0.0, 1.03)
    hover(plot, [dots])
    return plot


def _places(rows: Sequence[FirmRow]) -> Iterator[tuple[FirmRow, float]]:
    for index, row in enumerate(rows):
        yield row, float(len(rows) - 1 - index)


def _rows_canvas(rows: Sequence[FirmRow], x_range: tuple[float, float]) -> figure:
    plot = canvas(
        height=ROW_HEIGHT * len(rows) + AXIS_HEIGHT,
        x_range=x_range,
        y_range=(-0.5, len(rows) - 0.5),
    )
    plot.xaxis.visible = True
    return plot


def _uprights(plot: figure, values: Sequence[float], rows: Sequence[FirmRow], *, dash: str) -> None:
    """Draw upright lines beside the rows, but not through their labels."""
    places = [place for _, place in _places(rows) for _ in values]
    source = ColumnDataSource(
        data={
            "x": [value for _ in rows for value in values],
            "low": [place + BOTTOM for place in places],
            "high": [place + TOP for place in places],
        }
    )
    glyph = Segment(
        x0="x", x1="x", y0="low", y1="high", line_color=LIMIT_COLOUR, line_dash=dash, line_width=1.5
    )
    plot.add_glyph(source, glyph)


def _labels(
    plot: figure, rows: Sequence[FirmRow], said: Sequence[str], start: float, end: float
) -> None:
    heights = [place + LABEL for _, place in _places(rows)]
    names = [
        short(text("report.size.label", id=row.key.id, name=row.key.name), NAME_LETTERS)
        for row in rows
    ]
    write(plot, [start] * len(rows), heights, names, weight="bold")
    write(plot, [end] * len(rows), heights, said, align="right")


class _Node(NamedTuple):
    """One bar: its column, both ends downwards, its label and its colour ("" for others)."""

    left: float
    top: float
    bottom: float
    label: str
    colour: str


def moves_figure(view: MovesView) -> figure:
    """Draw the customers of each segment as ribbons to the segments of the next numbers.

    Parameters
    ----------
    view : MovesView
        With one side at least.

    Returns
    -------
    figure
        As wide as its frame; the coarser side on the left, the finer on the right.
    """
    names = [key.id for key in view.keys]
    n_rows = max(len(names), *(side.k for side in view.sides))
    height = FLOW_HEIGHT + FLOW_ROW_HEIGHT * n_rows
    # One is the height of all customers; the head stands above 0, and y falls downwards.
    head = HEAD_HEIGHT / (height - HEAD_HEIGHT) * (1 + GAPS)
    plot = canvas(height=height, x_range=(0.0, 1.0), y_range=(-1.0 - GAPS, head))
    own_left = (
        0.5 - NODE_WIDTH / 2 if len(view.sides) == 2 else 1.0 - NODE_WIDTH if view.coarser else 0.0
    )
    sizes = dict.fromkeys(names, 0.0)
    for flow in view.sides[-1].flows:
        sizes[flow.key.id] += flow.share
    colours = {key.id: key.colour for key in view.keys}
    own = _stack(sizes, own_left, colours)
    columns = [(own, len(names), own_left)]
    ribbons = []
    for side, left in ((view.coarser, 0.0), (view.finer, 1.0 - NODE_WIDTH)):
        if side is None:
            continue
        others = _stack(_sizes(side), left, {})
        ribbons += _ribbons(side.flows, own, others)
        columns.append((others, side.k, left))
    _draw_ribbons(plot, ribbons)
    pixels = (height - HEAD_HEIGHT) / (1 + GAPS)
    for nodes, k, left in columns:
        _draw_nodes(plot, list(nodes.values()), pixels)
        align = "left" if left == 0 else "right" if left == 1 - NODE_WIDTH else "center"
        x = left + {"left": 0.0, "center": NODE_WIDTH / 2, "right": NODE_WIDTH}[align]
        write(plot, [x], [0.5 * head], [text("report.moves.head", k=k)], weight="bold", align=align)
    return plot


def _sizes(side: SideView) -> dict[str, float]:
    """Return the share of each other segment, a before b, z before aa."""
    sizes: dict[str, float] = {}
    for flow in sorted(side.flows, key=lambda flow: (len(flow.other), flow.other)):
        sizes[flow.other] = sizes.get(flow.other, 0.0) + flow.share
    return sizes


def _stack(sizes: dict[str, float], left: float, colours: dict[str, str]) -> dict[str, _Node]:
    """Set bars one below the other; all columns are as high, whatever their number."""
    gap = GAPS / max(1, len(sizes) - 1)
    nodes, top = {}, 0.0
    for name, share in sizes.items():
        nodes[name] = _Node(left, top, top - share, name, colours.get(name, ""))
        top -= share + gap
    return nodes


class _Ribbon(NamedTuple):
    """One flow: the height of its upper edge at either bar."""

    flow: Flow
    start: tuple[float, float]
    end: tuple[float, float]


def _ribbons(
    flows: Sequence[Flow], own: dict[str, _Node], others: dict[str, _Node]
) -> list[_Ribbon]:
    """Lay flows from bar to bar so that none crosses another beside a bar."""
    places = {name: place for place, name in enumerate((*own, *others))}
    starts = _tops([(flow.key.id, flow.other, flow.share) for flow in flows], own, places)
    ends = _tops([(flow.other, flow.key.id, flow.share) for flow in flows], others, places)
    ribbons = []
    for flow in flows:
        if flow.share < MIN_SHARE:
            continue
        here, there = own[flow.key.id].left, others[flow.other].left
        here, there = (here + NODE_WIDTH, there) if there > here else (here, there + NODE_WIDTH)
        start, end = starts[flow.key.id, flow.other], ends[flow.other, flow.key.id]
        ribbons.append(_Ribbon(flow, (here, start), (there, end)))
    return ribbons


def _tops(
    ends: Sequence[tuple[str, str, float]], nodes: dict[str, _Node], places: dict[str, int]
) -> dict[tuple[str, str], float]:
    """Return where the ribbons (bar, bar at the other end, share) begin at their bars."""
    tops, used = {}, dict.fromkeys(nodes, 0.0)
    for name, other, share in sorted(ends, key=lambda end: (places[end[0]], places[end[1]])):
        tops[name, other] = nodes[name].top - used[name]
        used[name] += share
    return tops


def _draw_ribbons(plot: figure, ribbons: Sequence[_Ribbon]) -> None:
    source = ColumnDataSource(
        data={
            "x": [_across(ribbon) for ribbon in ribbons],
            "y": [_edges(ribbon) for ribbon in ribbons],
            "fill": [ribbon.flow.key.colour for ribbon in ribbons],
            "hover": [ribbon.flow.hover for ribbon in ribbons],
        }
    )
    drawn = plot.add_glyph(
        source, Patches(xs="x", ys="y", fill_color="fill", fill_alpha=0.5, line_color=None)
    )
    hover(plot, [drawn])


def _across(ribbon: _Ribbon) -> list[float]:
    (start, _), (end, _) = ribbon.start, ribbon.end
    there = [round(start + (end - start) * step / _STEPS, 4) for step in range(_STEPS + 1)]
    return [*there, *reversed(there)]


def _edges(ribbon: _Ribbon) -> list[float]:
    (_, start), (_, end) = ribbon.start, ribbon.end
    steps = [step / _STEPS for step in range(_STEPS + 1)]
    # Level at both bars.
    upper = [start + (end - start) * (3.0 - 2.0 * step) * step * step for step in steps]
    lower = [y - ribbon.flow.share for y in reversed(upper)]
    return [round(y, 5) for y in (*upper, *lower)]


def _draw_nodes(plot: figure, nodes: Sequence[_Node], pixels: float) -> None:
    source = ColumnDataSource(
        data={
            "x": [node.left + NODE_WIDTH / 2 for node in nodes],
            "y": [(node.top + node.bottom) / 2 for node in nodes],
            "height": [node.top - node.bottom for node in nodes],
            "fill": [node.colour or LIMIT_COLOUR for node in nodes],
            "alpha": [1.0 if node.colour else 0.3 for node in nodes],
        }
    )
    glyph = Rect(
        x="x",
        y="y",
        width=NODE_WIDTH,
        height="height",
        fill_color="fill",
        fill_alpha="alpha",
        line_color=None,
    )
    plot.add_glyph(source, glyph)
    labelled = [node for node in nodes if (node.top - node.bottom) * pixels >= LABEL_HEIGHT]
    write(
        plot,
        [node.left + NODE_WIDTH / 2 for node in labelled],
        [(node.top + node.bottom) / 2 for node in labelled],
        [node.label for node in labelled],
        align="center",
        inks=[ink_on(node.colour) for node in labelled] if all(n.colour for n in nodes) else None,
    )
