"""What each kind of model adds to a report, small enough to be kept in its record.

Covers: the upper part of a tree, the pooled matrix of a consensus, curves of distances and of
reachability, overlaps of memberships, what sets noise apart, and a map. Everything is plain JSON;
clusters are numbered as the model has them. Does not cover: drawing (see `report.structure`).
"""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from daskseg.charts.agreement import pooled
from daskseg.cluster import ConsensusClustering
from daskseg.cluster.density import EpsSuggestion
from daskseg.engine import passes
from daskseg.engine.blocks import Blocks, Rows
from daskseg.inputs import map_rows
from daskseg.kernels import linkage, spanning
from daskseg.kernels.attach import Landmarks
from daskseg.manifold import TSNE, UMAP
from daskseg.mixture.memberships import MembershipSummary
from daskseg.segments.grouping import Grouping
from daskseg.segments.reduction import Reduction

Floats = NDArray[np.float64]
Drawn = dict[str, Any]
# Arbitrary: what a page can show.
N_BRANCHES, N_CURVE, N_BARS, N_PLACES = 30, 200, 480, 4_000
MAPS = {"umap": UMAP, "tsne": TSNE}


def tree(joins: Floats, weights: Floats, n_clusters: int) -> Drawn:
    """Keep the last joins of a tree.

    Parameters
    ----------
    joins : ndarray of shape (n - 1, 4)
        In SciPy's format.
    weights : ndarray of shape (n,)
    n_clusters : int
        Those of the cut are numbered from left to right.
    """
    n = len(weights)
    n_kept = min(n, max(N_BRANCHES, n_clusters))
    first = 2 * n - n_kept
    heavy = np.concatenate([weights, linkage.group_weights(joins, weights)])
    top = joins[n - n_kept :]
    ends = top[:, :2].astype(int)
    below = np.unique(ends[ends < first])
    numbers = np.where(ends < first, np.searchsorted(below, ends), ends - first + n_kept)
    return {
        "joins": [
            [*pair, height] for pair, height in zip(numbers.tolist(), top[:, 2], strict=True)
        ],
        "weights": heavy[below].tolist(),
        "n_clusters": n_clusters,
    }


def split_tree(children: NDArray[np.int64], gains: Floats, weights: Floats) -> Drawn:
    """Turn splits, the first one first, into a tree whose joins rise.

    Parameters
    ----------
    children : ndarray of shape (k - 1, 2)
        As `BisectingKMeans` has them.
    gains : ndarray of shape (k - 1,)
        What each split takes off the squared error.
    weights : ndarray of shape (k,)
    """
    k = len(weights)
    joins, heights = np.empty((k - 1, 4)), np.zeros(2 * k - 1)
    for row, split in enumerate(range(k - 2, -1, -1)):
        ends = [end if end < k else k + (k - 2 - (end - k)) for end in children[split].tolist()]
        # A part may gain more by its split than the whole did.
        own = np.sqrt(2.0 * max(float(gains[split]), 0.0))
        heights[k + row] = max(own, *(heights[end] for end in ends))
        joins[row] = [*ends, heights[k + row], 0]
    return {
        "joins": joins[:, :3].tolist(),
        "weights": weights.tolist(),
        "n_clusters": k,
    }


def agreement(fitted: ConsensusClustering) -> Drawn:
    """Average the matrix of a consensus over cells that can be told apart."""
    cells, edges = pooled(fitted.consensus_matrix_)
    middles = (edges[:-1] + edges[1:]) // 2
    return {
        "cells": np.round(cells, 3).tolist(),
        "clusters": fitted.consensus_labels_[middles].tolist(),
        "within": fitted.within_.tolist(),
        "nearest_other": fitted.nearest_other_.tolist(),
        "is_stable": bool(fitted.is_stable_),
    }


def distances(advice: EpsSuggestion) -> Drawn:
    """Keep some points of the curve, the knee among them."""
    last = len(advice.distances) - 1
    places = np.unique(np.linspace(0, last, N_CURVE).round().astype(int))
    places = np.unique(np.append(places, advice.knee))
    return {
        "values": advice.distances[places].tolist(),
        "shares": ((places + 1) / (last + 1)).tolist(),
        "knee": int(np.searchsorted(places, advice.knee)),
        "min_samples": advice.min_samples,
    }


def reachability(marks: Landmarks) -> Drawn:
    """Order landmarks as OPTICS does, and keep the largest distance of each of many bins."""
    order, sq_dist = spanning.walk(spanning.span(marks.tree, marks.sq_core))
    labels = np.empty(len(order), np.int64)
    labels[marks.tree.places] = marks.labels
    heights = np.sqrt(sq_dist[order])
    # The first joins none.
    heights[0] = heights[1] if len(heights) > 1 else 0.0
    n_bars = min(N_BARS, len(order))
    edges = np.linspace(0, len(order), n_bars + 1).round().astype(int)
    middles = (edges[:-1] + edges[1:]) // 2
    return {
        "values": np.maximum.reduceat(heights, edges[:-1]).tolist(),
        "clusters": labels[order][middles].tolist(),
        "n_landmarks": len(order),
    }


def overlap(found: MembershipSummary, has_rows: NDArray[np.bool_]) -> Drawn:
    """Keep the overlaps and the sureness of the components that are segments."""
    return {
        "overlap": found.overlap[np.ix_(has_rows, has_rows)].tolist(),
        **{
            name: [None if np.isnan(one) else float(one) for one in getattr(found, name)[has_rows]]
            for name in ("core", "fringe", "ambiguous", "mean_membership")
        },
    }


class _Apart(NamedTuple):
    counts: NDArray[np.int64]


def _apart_block(rows: Rows, grouping: Grouping, reduction: Reduction | None) -> _Apart:
    values = np.asarray(rows.values, dtype=np.float64)
    found = grouping.of(values)
    is_noise = found.first < 0
    differences = values[is_noise] - grouping.centres[found.second[is_noise]]
    if reduction is not None:
        differences = differences @ reduction.components
    column = np.abs(differences).argmax(axis=1)
    side = differences[np.arange(len(column)), column] > 0
    n_columns = differences.shape[1]
    return _Apart(np.bincount(2 * column + side, minlength=2 * n_columns))


def _add(a: _Apart, b: _Apart) -> _Apart:
    return _Apart(a.counts + b.counts)


def noise(
    prepared: Blocks, grouping: Grouping, columns: tuple[str, ...], reduction: Reduction | None
) -> Drawn:
    """Count by which feature customers without a group differ most from the nearest. One pass.

    Parameters
    ----------
    prepared : Blocks
        In the units in which distances are taken.
    grouping : Grouping
    columns : tuple of str
        Names of the prepared features.
    reduction : Reduction or None
        Differences along components are brought back to the features.
    """
    found: _Apart = passes.reduce(prepared, _apart_block, _add, grouping, reduction, name="noise")
    low, high = found.counts.reshape(-1, 2).T.tolist()
    return {"columns": list(columns), "lower": low, "higher": high}


def _labels(values: NDArray[Any], grouping: Grouping) -> NDArray[np.int32]:
    return grouping.of(np.asarray(values, dtype=np.float64)).first


def landmark_map(kind: str, prepared: Blocks, grouping: Grouping, seed: int) -> Drawn:
    """Draw a map of landmarks of all segments. About seven passes.

    Parameters
    ----------
    kind : str
        A key of `MAPS`.
    prepared : Blocks
    grouping : Grouping
    seed : int

    Raises
    ------
    MissingExtraError
        If its library is not installed.
    """
    labels = map_rows(
        prepared,
        partial(_labels, grouping=grouping),
        n_features_in=prepared.n_features,
        n_features_out=None,
        dtype=np.int32,
    )
    drawn = MAPS[kind](n_landmarks=N_PLACES, random_state=seed).fit(prepared, labels=labels)
    quality = {
        name: float(getattr(drawn, f"{name}_"))
        for name in ("trustworthiness", "continuity", "centroid_correlation")
    }
    span = np.ptp(drawn.landmark_embedding_, axis=0).max() or 1.0
    places = (drawn.landmark_embedding_ - drawn.landmark_embedding_.min(axis=0)) / span
    return {
        "kind": kind,
        "places": np.round(places, 4).tolist(),
        "clusters": np.asarray(drawn.landmark_labels_).tolist(),
        **{name: value if np.isfinite(value) else None for name, value in quality.items()},
    }
