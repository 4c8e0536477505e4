"""Maps of rows: landmarks as points, or all rows as shades, in the colours of their segments.

Covers: two figures from arrays. Does not cover: making a map or counting its rows (see
`daskseg.manifold`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import compress
from typing import Any

import numpy as np
from bokeh.models import ColumnDataSource, ImageRGBA, Scatter
from bokeh.palettes import Colorblind8
from bokeh.plotting import figure
from numpy.typing import NDArray

from daskseg import formats
from daskseg.charts.canvas import canvas, hover, write
from daskseg.errors import UsageError
from daskseg.texts import text

__all__ = ["density_figure", "map_figure"]

NOISE = -1
NOISE_COLOUR = "#788088"
HEIGHT = 460
# Cells along a side: finer ones are not told apart on a page, and its file would be large.
MOST_CELLS = 256
# A cell of one row stays visible.
_LEAST_SHADE = 0.25
_ROOM = 0.06


def map_figure(
    places: NDArray[Any],
    labels: NDArray[Any] | None = None,
    *,
    names: Mapping[Any, str] | None = None,
    colours: Mapping[Any, str] | None = None,
) -> figure:
    """Draw rows where a map puts them.

    Parameters
    ----------
    places : ndarray of shape (n_rows, 2)
        Such as ``landmark_embedding_``.
    labels : ndarray of shape (n_rows,), optional
        Such as ``landmark_labels_``; -1 is noise.
    names, colours : mapping of labels to str, optional
        What is written in the middle of each segment, and ``"#rrggbb"``; by default the label,
        and a palette for every colour vision.

    Returns
    -------
    figure
        As wide as its frame, 460 pixels high, without axes: their numbers mean nothing.

    Raises
    ------
    UsageError
        If the arrays do not fit each other, or if the map has not two columns.

    Examples
    --------
    >>> map_figure(np.eye(2), np.array([0, 1])).height
    460
    """
    places = np.asarray(places, dtype=np.float64)
    labels = np.zeros(len(places), np.int64) if labels is None else np.asarray(labels)
    if places.shape != (len(labels), 2) or not len(places):
        raise UsageError(
            f"places has the shape {places.shape} and labels {labels.shape}; two columns and one "
            "label for each row are due."
        )
    plot = _frame(places.min(axis=0), places.max(axis=0))
    known, codes, counts = np.unique(labels, return_inverse=True, return_counts=True)
    titles = _titles(known, names)
    inks = _inks(known, colours)
    words = [
        text("maps.place.segment", name=title, count=formats.count(int(count)))
        for title, count in zip(titles, counts, strict=True)
    ]
    # Spread evenly through the drawing, so that the last segment does not hide the others.
    turn = np.argsort(_turns(codes, counts), kind="stable")
    data = {
        "x": places[turn, 0].astype(np.float32),
        "y": places[turn, 1].astype(np.float32),
        "ink": [inks[code] for code in codes[turn]],
        "hover": [words[code] for code in codes[turn]],
    }
    glyph = Scatter(x="x", y="y", size=4.0, fill_color="ink", fill_alpha=0.6, line_color=None)
    hover(plot, [plot.add_glyph(ColumnDataSource(data=data), glyph)])
    if len(known) > 1:
        middles = [np.median(places[codes == code], axis=0) for code in range(len(known))]
        _name(plot, known, titles, np.array(middles))
    return plot


def density_figure(
    counts: NDArray[Any],
    low: Sequence[float] | NDArray[Any],
    high: Sequence[float] | NDArray[Any],
    labels: NDArray[Any] | None = None,
    *,
    names: Mapping[Any, str] | None = None,
    colours: Mapping[Any, str] | None = None,
) -> figure:
    """Draw any number of rows as shades: the darker a cell, the more rows, on a log scale.

    Parameters
    ----------
    counts : ndarray of shape (n_segments, bins, bins)
        Rows of each segment in each cell, such as ``raster(X).counts``; the mixture of colours
        in a cell is that of its rows.
    low, high : array-like of shape (2,)
        The corners of the grid.
    labels : ndarray of shape (n_segments,), optional
        The segments; by default 0, 1, ...
    names, colours : as in `map_figure`

    Returns
    -------
    figure
        As wide as its frame, 460 pixels high; at most 256 cells along a side.

    Raises
    ------
    UsageError
        If the arrays do not fit each other.

    Examples
    --------
    >>> density_figure(np.ones((1, 4, 4)), (0, 0), (1, 1)).height
    460
    """
    counts = np.asarray(counts)
    known = np.arange(len(counts)) if labels is None else np.asarray(labels)
    is_grid = counts.ndim == 3 and counts.shape[1] == counts.shape[2] and counts.size
    if not is_grid or known.shape != counts.shape[:1]:
        raise UsageError(
            f"counts has the shape {counts.shape} and labels {known.shape}; a square of cells for "
            "each label is due."
        )
    counts = _pooled(counts)
    corner, opposite = np.asarray(low, dtype=np.float64), np.asarray(high, dtype=np.float64)
    plot = _frame(corner, opposite)
    inks = _inks(known, colours)
    glyph = ImageRGBA(image="image", x="x", y="y", dw="dw", dh="dh")
    width, height = opposite - corner
    data = {
        "image": [_shades(counts, inks)],
        "x": [corner[0]],
        "y": [corner[1]],
        "dw": [width],
        "dh": [height],
    }
    plot.add_glyph(ColumnDataSource(data=data), glyph)
    if len(known) > 1:
        has_rows = counts.sum(axis=(1, 2)) > 0
        middles = np.array([_middle(one) for one in counts[has_rows]])
        middles = corner + middles * (opposite - corner)
        titles = _titles(known, names)
        _name(plot, known[has_rows], list(compress(titles, has_rows)), middles)
    return plot


def _frame(low: NDArray[np.float64], high: NDArray[np.float64]) -> figure:
    room = _ROOM * np.where(high > low, high - low, 1.0)
    begin, end = low - room, high + room
    return canvas(
        height=HEIGHT,
        x_range=(float(begin[0]), float(end[0])),
        y_range=(float(begin[1]), float(end[1])),
    )


def _titles(known: NDArray[Any], names: Mapping[Any, str] | None) -> list[str]:
    own = names or {}
    return [
        own.get(label, text("maps.place.noise") if label == NOISE else str(label))
        for label in known.tolist()
    ]


def _inks(known: NDArray[Any], colours: Mapping[Any, str] | None) -> list[str]:
    own = colours or {}
    groups = [label for label in known.tolist() if label != NOISE]
    palette = {label: Colorblind8[i % len(Colorblind8)] for i, label in enumerate(groups)}
    return [own.get(label, palette.get(label, NOISE_COLOUR)) for label in known.tolist()]


def _turns(codes: NDArray[np.intp], counts: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return for each row its place within its segment, from 0 to 1."""
    order = np.argsort(codes, kind="stable")
    first = np.concatenate([[0], np.cumsum(counts)[:-1]])
    turns = np.empty(len(codes))
    turns[order] = (np.arange(len(codes)) - first[codes[order]]) / counts[codes[order]]
    return turns


def _name(
    plot: figure, known: NDArray[Any], titles: Sequence[str], middles: NDArray[np.float64]
) -> None:
    """Write the names of segments; noise is everywhere and nowhere."""
    named = [i for i, label in enumerate(known.tolist()) if label != NOISE]
    write(
        plot,
        middles[named, 0].tolist(),
        middles[named, 1].tolist(),
        [titles[i] for i in named],
        weight="bold",
        align="center",
    )


def _pooled(counts: NDArray[Any]) -> NDArray[Any]:
    """Add up cells until there are at most 256 along a side."""
    bins = counts.shape[1]
    edges = np.linspace(0, bins, min(bins, MOST_CELLS) + 1).round().astype(np.int64)[:-1]
    return np.add.reduceat(np.add.reduceat(counts, edges, axis=1), edges, axis=2)


def _middle(counts: NDArray[Any]) -> tuple[float, float]:
    """Return the medians of the rows of a segment, across and up, as shares of the sides."""
    ends = [np.cumsum(counts.sum(axis=axis)) for axis in (0, 1)]
    across, up = (int(np.searchsorted(sums, sums[-1] / 2)) + 0.5 for sums in ends)
    return across / counts.shape[1], up / counts.shape[0]


def _shades(counts: NDArray[Any], inks: Sequence[str]) -> NDArray[np.uint32]:
    """Return the picture, one little-endian RGBA value per cell."""
    colours = np.array([[int(ink[i : i + 2], 16) for i in (1, 3, 5)] for ink in inks], float)
    rows = counts.sum(axis=0)
    mixed = np.tensordot(counts, colours, axes=(0, 0)) / np.maximum(rows, 1)[..., None]
    strength = np.log1p(rows) / np.log1p(max(rows.max(), 1))
    alpha = np.where(rows > 0, _LEAST_SHADE + (1 - _LEAST_SHADE) * strength, 0.0)
    picture = np.empty((*rows.shape, 4), np.uint8)
    picture[..., :3] = mixed.round()
    picture[..., 3] = (255 * alpha).round()
    return picture.view("<u4")[..., 0]
