"""Euclidean silhouettes from pairs of rows: of a few rows against a few others, or against all.

Covers: silhouettes of rows against references, and the variance that the draws of both give
their mean. With all rows on both sides the silhouettes are exact. Does not cover: drawing (see
`kernels.strata`), or distances that need no pairs (see `kernels.silhouette`).

Differences are squared and added in the order of the features, and distances in the order of
the references, so that a silhouette does not depend on the rows beside it. Scratch memory: a
tile of 128 rows.
"""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from daskseg.kernels.compiling import compiled
from daskseg.kernels.strata import Strata, variance_of_mean

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
# Rows that are compared at a time: their columns stay in a first-level cache, a power of two.
_TILE_ROWS = 128


@compiled()
def _distances_from(
    columns: Floats, reference: Floats, result: Floats
) -> None:  # pragma: no cover - compiled
    """Measure a tile of rows (features first) against one row, in the order of the features."""
    n_features = len(reference)
    result[:] = 0.0
    f = 0
    while f + 4 <= n_features:
        c0, c1, c2, c3 = columns[f], columns[f + 1], columns[f + 2], columns[f + 3]
        r0, r1, r2, r3 = reference[f], reference[f + 1], reference[f + 2], reference[f + 3]
        for i in range(_TILE_ROWS):
            d0, d1, d2, d3 = c0[i] - r0, c1[i] - r1, c2[i] - r2, c3[i] - r3
            result[i] = (((result[i] + d0 * d0) + d1 * d1) + d2 * d2) + d3 * d3
        f += 4
    while f < n_features:
        column, value = columns[f], reference[f]
        for i in range(_TILE_ROWS):
            difference = column[i] - value
            result[i] += difference * difference
        f += 1
    for i in range(_TILE_ROWS):
        result[i] = np.sqrt(result[i])


@compiled()
def _load(
    values: NDArray[Any], first: int, n_rows: int, columns: Floats
) -> None:  # pragma: no cover - compiled
    columns[:] = 0.0
    for i in range(n_rows):
        for f in range(values.shape[1]):
            columns[f, i] = np.float64(values[first + i, f])


class Compared(NamedTuple):
    """Rows against references; one entry per row.

    Attributes
    ----------
    scores : ndarray of shape (n_rows,), float64
        Silhouettes.
    other : ndarray of shape (n_rows,), int32
        Nearest other label; -1 where there is none.
    own_mean, other_mean : ndarray of shape (n_rows,), float64
        Mean distance to the references of the own and of the other label.
    """

    scores: Floats
    other: NDArray[np.int32]
    own_mean: Floats
    other_mean: Floats


@compiled()
def _compare(
    values: NDArray[Any],
    codes: NDArray[np.int32],
    references: Floats,
    weights: Floats,
    starts: Ints,
    sizes: Floats,
    scores: Floats,
    other: NDArray[np.int32],
    own_mean: Floats,
    other_mean: Floats,
) -> None:  # pragma: no cover - compiled
    columns = np.empty((values.shape[1], _TILE_ROWS))
    dist, total = np.empty(_TILE_ROWS), np.empty(_TILE_ROWS)
    other_mean[:] = np.inf
    other[:] = -1
    for first in range(0, len(values), _TILE_ROWS):
        n_rows = min(_TILE_ROWS, len(values) - first)
        _load(values, first, n_rows, columns)
        for j in range(len(sizes)):
            if starts[j] == starts[j + 1]:
                continue
            total[:] = 0.0
            mass = 0.0
            for r in range(starts[j], starts[j + 1]):
                _distances_from(columns, references[r], dist)
                weight = weights[r]
                mass += weight
                for i in range(_TILE_ROWS):
                    total[i] += weight * dist[i]
            for i in range(n_rows):
                mean, row = total[i] / mass, first + i
                if codes[row] == j:
                    own_mean[row] = mean
                elif mean < other_mean[row]:
                    other_mean[row] = mean
                    other[row] = j
        for row in range(first, first + n_rows):
            size = sizes[codes[row]]
            if size > 1.0 and other[row] >= 0:
                a, b = own_mean[row] * (size / (size - 1.0)), other_mean[row]
                if max(a, b) > 0.0:
                    scores[row] = (b - a) / max(a, b)


def compare(
    values: NDArray[np.floating],
    codes: NDArray[np.int32],
    references: Strata,
    sizes: Floats,
) -> Compared:
    """Compute the Euclidean silhouettes of rows against references.

    Parameters
    ----------
    values : ndarray of shape (n_rows, n_features), float32 or float64
    codes : ndarray of shape (n_rows,), int32
        Numbers of their labels.
    references : Strata
    sizes : ndarray of shape (n_labels,), float64
        Weight of all rows of each label.
    """
    n_rows = len(values)
    found = Compared(
        np.zeros(n_rows), np.empty(n_rows, np.int32), np.zeros(n_rows), np.empty(n_rows)
    )
    _compare(
        np.ascontiguousarray(values),
        codes,
        references.values,
        references.weights,
        references.starts,
        sizes,
        *found,
    )
    return found


@compiled()
def _sum_influences(
    values: Floats,
    codes: NDArray[np.int32],
    other: NDArray[np.int32],
    own_slope: Floats,
    other_slope: Floats,
    own_mean: Floats,
    other_mean: Floats,
    references: Floats,
    starts: Ints,
    result: Floats,
) -> None:  # pragma: no cover - compiled
    columns = np.empty((values.shape[1], _TILE_ROWS))
    dist, slope = np.empty(_TILE_ROWS), np.empty(_TILE_ROWS)
    for first in range(0, len(values), _TILE_ROWS):
        n_rows = min(_TILE_ROWS, len(values) - first)
        _load(values, first, n_rows, columns)
        for j in range(len(starts) - 1):
            level = 0.0
            is_used = False
            slope[:] = 0.0
            for i in range(n_rows):
                row = first + i
                if codes[row] == j:
                    slope[i] = own_slope[row]
                    level += own_slope[row] * own_mean[row]
                    is_used = True
                elif other[row] == j:
                    slope[i] = other_slope[row]
                    level += other_slope[row] * other_mean[row]
                    is_used = True
            if not is_used:
                continue
            for r in range(starts[j], starts[j + 1]):
                _distances_from(columns, references[r], dist)
                for i in range(_TILE_ROWS):
                    dist[i] *= slope[i]
                # Halves onto halves: a fixed order that vector units can follow.
                half = _TILE_ROWS // 2
                while half:
                    for i in range(half):
                        dist[i] += dist[half + i]
                    half //= 2
                result[r] += dist[0] - level


def influences(
    values: Floats,
    codes: NDArray[np.int32],
    found: Compared,
    shares: Floats,
    references: Strata,
    sizes: Floats,
) -> Floats:
    """Return what each reference adds to the sum of the silhouettes, to first order.

    Parameters
    ----------
    values, codes, references, sizes : as for `compare`
    found : Compared
        What it said.
    shares : ndarray of shape (n_rows,), float64
        Of each row in the mean silhouette.

    Returns
    -------
    ndarray of shape (n_references,), float64
        Derivative of the mean silhouette by the share of a reference in its label.
    """
    size = sizes[codes]
    is_scored = (size > 1.0) & (found.other >= 0)
    factor = np.divide(size, size - 1.0, out=np.ones(len(size)), where=is_scored)
    a, b = found.own_mean * factor, found.other_mean
    is_scored &= np.maximum(a, b) > 0.0
    inside = is_scored & (a < b)
    outside = is_scored & ~inside
    own_slope, other_slope = np.zeros(len(size)), np.zeros(len(size))
    own_slope[inside] = -1.0 / b[inside]
    other_slope[inside] = a[inside] / b[inside] ** 2
    own_slope[outside] = -b[outside] / a[outside] ** 2
    other_slope[outside] = 1.0 / a[outside]
    result = np.zeros(len(references.weights))
    _sum_influences(
        values,
        codes,
        found.other,
        own_slope * factor * shares,
        other_slope * shares,
        found.own_mean,
        np.where(found.other >= 0, found.other_mean, 0.0),
        references.values,
        references.starts,
        result,
    )
    return result


def shares_of(anchors: Strata, sizes: list[Fraction]) -> Floats:
    """Return the share of each anchor in the mean silhouette of all rows, shape (n,)."""
    whole = sum(sizes, Fraction(0))
    shares = anchors.weights.copy()
    for j, size in enumerate(sizes):
        own = slice(int(anchors.starts[j]), int(anchors.starts[j + 1]))
        shares[own] *= float(size / whole) / math.fsum(shares[own])
    return shares


def mean_and_variance(
    anchors: Strata,
    scores: Floats,
    sizes: list[Fraction],
    references: Strata,
    pulls: Floats | None,
) -> tuple[float, float]:
    """Return the mean silhouette of all rows and the variance that the draws give it.

    Parameters
    ----------
    anchors : Strata
    scores : ndarray of shape (n_anchors,), float64
        Their silhouettes.
    sizes : list of Fraction
        Exact weights of the labels.
    references : Strata
    pulls : ndarray of shape (n_references,), float64, or None
        As from `influences`; None if the references are all rows.
    """
    shares = shares_of(anchors, sizes)
    whole = sum(sizes, Fraction(0))
    parts = []
    for j, size in enumerate(sizes):
        own = slice(int(anchors.starts[j]), int(anchors.starts[j + 1]))
        share = float(size / whole)
        mean = math.fsum(shares[own] * scores[own]) / share
        parts.append(share**2 * variance_of_mean(anchors, scores - mean, j))
        if pulls is not None:
            parts.append(variance_of_mean(references, pulls, j))
    return math.fsum(shares * scores), math.fsum(parts)
