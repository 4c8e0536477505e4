"""Silhouettes: of given labels, and of many sets of centres in two passes.

Covers: the exact silhouette with squared Euclidean distances, its mean, its mean per cluster
and the share of rows below zero. Does not cover: other distances, which have not landed.

A squared silhouette is larger than the usual Euclidean one; compare only like with like.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import dask.array as da
import numpy as np
from numpy.typing import NDArray

from daskseg.engine import passes
from daskseg.engine.blocks import Rows
from daskseg.errors import InputError, UsageError
from daskseg.inputs import as_blocks, attach_column, measure_extent
from daskseg.kernels import assign, silhouette, steps, tiles
from daskseg.kernels.assign import StepGrid, StepPart
from daskseg.kernels.moments import Extent
from daskseg.kernels.silhouette import Clusters, SilhouettePart, SilhouetteSummary
from daskseg.kernels.tiles import Stack

Floats = NDArray[np.float64]


class Evaluation(NamedTuple):
    """What two passes say about several sets of centres.

    Attributes
    ----------
    centres : ndarray of shape (n_centres, n_features), float64
        All sets, one below the other.
    step : StepPart
        Exact sums of the labellings, for all centres of the stack.
    grid : StepGrid
        Of `step`.
    clusters : Clusters
        Means, scatters and sizes.
    silhouettes : list of SilhouetteSummary
        One per set.
    """

    centres: Floats
    step: StepPart
    grid: StepGrid
    clusters: Clusters
    silhouettes: list[SilhouetteSummary]


def _step(rows: Rows, centres: Stack, grid: StepGrid) -> StepPart:
    return assign.lloyd_step(rows.values, rows.weights, centres, grid)


def _score(
    rows: Rows, centres: Stack, clusters: Clusters, weight: NDArray[np.int64]
) -> SilhouettePart:
    return silhouette.score_block(rows.values, rows.weights, centres, clusters, weight)


def evaluate(blocks: Any, centre_sets: list[Floats], extent: Extent) -> Evaluation:
    """Evaluate several sets of centres on all rows. Two passes.

    Parameters
    ----------
    blocks : Blocks
    centre_sets : list of ndarray of shape (k, n_features), float64
    extent : Extent
        Of `blocks`.
    """
    centres = tiles.stack(centre_sets)
    grid = assign.step_grid(extent)
    step = passes.reduce(blocks, _step, assign.merge_steps, centres, grid, name="evaluate")
    clusters = silhouette.clusters_of(step, centres.starts, grid)
    weight = grid.exponents[-2:-1]
    scored = passes.reduce(
        blocks,
        _score,
        silhouette.merge_silhouettes,
        centres,
        clusters,
        weight,
        name="silhouette",
    )
    summaries = silhouette.finish_silhouettes(
        scored, clusters, steps.weights_of(step, grid), weight
    )
    return Evaluation(centres.centres, step, grid, clusters, summaries)


class LabelSilhouettes(NamedTuple):
    """The silhouette of given labels.

    Attributes
    ----------
    labels : ndarray of shape (n_labels,)
        The distinct labels, ascending.
    mean : float
    of_labels, below_zero : ndarray of shape (n_labels,), float64
        Mean, and share of rows below zero, per label.
    """

    labels: NDArray[Any]
    mean: float
    of_labels: Floats
    below_zero: Floats


def _split_label(rows: Rows, known: NDArray[Any]) -> tuple[NDArray[Any], NDArray[np.int32]]:
    return rows.values[:, :-1], np.searchsorted(known, rows.values[:, -1]).astype(np.int32)


def _labels_in(rows: Rows) -> NDArray[Any]:
    return np.unique(rows.values[:, -1])


def _sum_labels(rows: Rows, known: NDArray[Any], grid: StepGrid) -> StepPart:
    values, labels = _split_label(rows, known)
    return assign.sums_by_label(values, rows.weights, labels, len(known), grid)


def _score_labels(
    rows: Rows, known: NDArray[Any], clusters: Clusters, weight: NDArray[np.int64]
) -> SilhouettePart:
    values, labels = _split_label(rows, known)
    return silhouette.score_block(values, rows.weights, labels, clusters, weight)


def silhouette_by_label(X: Any, labels: Any, *, sample_weight: Any = None) -> LabelSilhouettes:
    """Compute the exact squared Euclidean silhouette of labels, as a whole and per label.

    Parameters
    ----------
    X : rows of any kind that daskseg takes
    labels : array-like or dask Array of shape (n_rows,)
        Numbers, or in memory also text.
    sample_weight : array-like of shape (n_rows,), optional
        How often a row counts.

    Returns
    -------
    LabelSilhouettes

    Raises
    ------
    InputError
        If there are fewer than two labels, or as many as rows.

    Notes
    -----
    Four passes; memory a few blocks.

    Examples
    --------
    >>> found = silhouette_by_label([[0.0], [1.0], [9.0], [10.0]], ["a", "a", "b", "b"])
    >>> found.labels.tolist(), round(found.mean, 3)
    (['a', 'b'], 0.988)
    """
    names = None
    if not isinstance(labels, da.Array):
        names, labels = np.unique(np.asarray(labels), return_inverse=True)
    blocks = attach_column(as_blocks(X, sample_weight=sample_weight), labels, "labels")
    extent = measure_extent(blocks)
    known = passes.reduce(blocks, _labels_in, np.union1d, name="labels-in")
    if not 2 <= len(known) < extent.n_rows:
        raise InputError(
            f"Number of labels is {len(known)}. Valid values are 2 to n_samples - 1 (inclusive)."
        )
    inner = extent._replace(low=extent.low[:-1], high=extent.high[:-1])
    grid = assign.step_grid(inner)
    step = passes.reduce(blocks, _sum_labels, assign.merge_steps, known, grid, name="label-sums")
    starts = np.array([0, len(known)])
    clusters = silhouette.clusters_of(step, starts, grid)
    weight = grid.exponents[-2:-1]
    scored = passes.reduce(
        blocks,
        _score_labels,
        silhouette.merge_silhouettes,
        known,
        clusters,
        weight,
        name="silhouette",
    )
    weights = steps.weights_of(step, grid)
    found = silhouette.finish_silhouettes(scored, clusters, weights, weight)[0]
    return LabelSilhouettes(
        known if names is None else names, found.mean, found.of_clusters, found.below_zero
    )


def silhouette_score(
    X: Any,
    labels: Any,
    *,
    metric: str = "euclidean",
    sample_weight: Any = None,
    n_samples: int = 2000,
    return_interval: bool = False,
) -> float | tuple[float, tuple[float, float]]:
    """Compute the mean silhouette of labels.

    Parameters
    ----------
    X : rows of any kind that daskseg takes
    labels : array-like or dask Array of shape (n_rows,)
    metric : {"sqeuclidean"}
        "sqeuclidean" is exact for any number of rows. The default of the signature,
        "euclidean", has not landed yet, nor has "cosine".
    sample_weight : array-like of shape (n_rows,), optional
        How often a row counts.
    n_samples : int
        For sampled metrics; an exact one looks at all rows.
    return_interval : bool
        Also return a 95 % interval; that of an exact metric is a point.

    Returns
    -------
    score : float
    interval : tuple of two floats
        Only with `return_interval`.

    Raises
    ------
    UsageError
        If the metric is unknown or has not landed.

    Examples
    --------
    >>> rows = [[0.0], [1.0], [9.0], [10.0]]
    >>> round(silhouette_score(rows, [0, 0, 1, 1], metric="sqeuclidean"), 3)
    0.988
    """
    if metric in ("euclidean", "cosine"):
        raise UsageError(
            f"metric={metric!r} has not landed yet; what has landed: 'sqeuclidean' (exact)."
        )
    if metric != "sqeuclidean":
        raise UsageError(f"metric={metric!r} is not one of: 'sqeuclidean'.")
    if n_samples < 1:
        raise UsageError(f"n_samples={n_samples} is not a whole number from 1.")
    score = silhouette_by_label(X, labels, sample_weight=sample_weight).mean
    return (score, (score, score)) if return_interval else score
