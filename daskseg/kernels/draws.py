"""Draws from a weighted sample, and rows without any structure to compare it with.

Covers: draws by weight with repeats, the box of the principal components, uniform rows in it.
Every draw depends on the seed and its number alone. Does not cover: what is done with the rows
(see `model_selection.criteria`, `cluster.ensemble`).

Reference: Tibshirani, Walther and Hastie, Estimating the number of clusters in a data set via
the gap statistic, J. R. Stat. Soc. B 2001 (the box in the components, their choice b).
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from daskseg.kernels import rng
from daskseg.kernels.eigen import eigh_falling
from daskseg.kernels.projection import Projection, project_block

Floats = NDArray[np.float64]
# Numbers of one draw never reach those of the next.
_APART = 2**40
# Share of the rows left out at both ends of each component: of seven sets without structure the
# box of all rows took one for two clusters (2 of 4 seeds), this one none.
_TAIL = 0.001


class Rows(NamedTuple):
    """Weighted rows; a weight counts repeats, so the weights sum to a number of rows.

    Attributes
    ----------
    values : ndarray of shape (n_rows, n_features), float64
    weights : ndarray of shape (n_rows,), float64
        Above zero.
    """

    values: Floats
    weights: Floats


class Box(NamedTuple):
    """Ranges of the principal components, each of shape (n_components,), float64."""

    low: Floats
    high: Floats


def n_behind(rows: Rows) -> int:
    """Return how many rows a sample stands for; weights that sum to less count as single rows."""
    return int(max(len(rows.weights), min(math.fsum(rows.weights), 2**62)))


def draw(rows: Rows, n_wanted: int, seed: int, number: int) -> Rows:
    """Draw rows by weight, with repeats; a row that is drawn twice has the weight two.

    Parameters
    ----------
    rows : Rows
    n_wanted, seed : int
    number : int
        Draws of different numbers are independent.

    Returns
    -------
    Rows
        In the order of the sample.
    """
    total = np.cumsum(rows.weights)
    chance = rng.uniform(seed, rng.RESAMPLES, number * _APART, n_wanted)
    places = np.searchsorted(total, chance * total[-1], side="left")
    counts = np.bincount(np.minimum(places, len(total) - 1), minlength=len(total))
    drawn = np.flatnonzero(counts)
    return Rows(rows.values[drawn], counts[drawn].astype(np.float64))


def at_most(rows: Rows, n_wanted: int, seed: int, number: int) -> Rows:
    """Return all rows, their weights as repeats, or a draw if there are more than wanted."""
    if len(rows.values) > n_wanted:
        return draw(rows, n_wanted, seed, number)
    scale = n_behind(rows) / math.fsum(rows.weights)
    return Rows(rows.values, rows.weights * scale)


def frame_of(rows: Rows) -> Projection:
    """Find the principal components of the rows about their mean. Memory: a copy of the rows."""
    heavy = rows.weights / np.cumsum(rows.weights)[-1]
    # einsum adds in one order, whatever the threads of BLAS.
    mean = np.einsum("i,ij->j", heavy, rows.values)
    centred = rows.values - mean
    covariance = np.einsum("i,ij,ik->jk", heavy, centred, centred)
    _, components = eigh_falling(covariance)
    return Projection(mean, components, np.ones(len(components)))


def box_of(rows: Rows, frame: Projection | None = None) -> Box:
    """Find the ranges of the rows along their principal components.

    The last thousandth at both ends of a component is left out, so that a few wild rows do not
    make the box. Memory: two copies of the rows.

    Parameters
    ----------
    rows : Rows
    frame : Projection, optional
        As of `frame_of`, where it is known.
    """
    heavy = rows.weights / np.cumsum(rows.weights)[-1]
    scores = project_block(rows.values, frame_of(rows) if frame is None else frame)
    low, high = np.empty(scores.shape[1]), np.empty(scores.shape[1])
    for c, column in enumerate(scores.T):
        order = np.argsort(column, kind="stable")
        below = np.cumsum(heavy[order])
        low[c] = column[order[np.searchsorted(below, _TAIL)]]
        last = min(int(np.searchsorted(below, 1.0 - _TAIL)), len(order) - 1)
        high[c] = column[order[last]]
    return Box(low, high)


def reference(box: Box, n_rows: int, seed: int, number: int) -> Rows:
    """Draw rows that are uniform in a box; they stay in its frame, as k-means knows no turns."""
    n_values = n_rows * len(box.low)
    chance = rng.uniform(seed, rng.NULL_ROWS, number * _APART, n_values)
    values = box.low + (box.high - box.low) * chance.reshape(n_rows, len(box.low))
    return Rows(values, np.ones(n_rows))
