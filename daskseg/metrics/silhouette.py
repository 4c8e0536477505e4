"""Silhouettes: of given labels, and of many sets of centres in two passes.

Covers: exact silhouettes with squared Euclidean distances and cosines, as a mean, per label and
per row; the doors to Euclidean ones. Does not cover: pairs of rows (see `metrics.euclidean`).

A squared silhouette is larger than the usual Euclidean one; compare only like with like.
"""

from __future__ import annotations

import math
from functools import partial
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from dask.delayed import delayed
from numpy.typing import NDArray

from daskseg.engine import passes
from daskseg.engine.blocks import Blocks, Rows
from daskseg.inputs import map_rows
from daskseg.kernels import assign, dispersion, pairs, rng, silhouette, steps, tiles
from daskseg.kernels.assign import StepGrid, StepPart
from daskseg.kernels.moments import Extent
from daskseg.kernels.silhouette import Clusters, SilhouettePart, SilhouetteSummary
from daskseg.kernels.strata import Strata
from daskseg.kernels.tiles import Stack
from daskseg.kernels.unit import without_direction
from daskseg.metrics import euclidean
from daskseg.metrics.dispersion import Summed, score_labels, sum_labels
from daskseg.metrics.labelled import Codes, Labelled, label_rows, split_rows
from daskseg.parameters import check_count, check_landed, seed_of

Floats = NDArray[np.float64]
METRICS = ("euclidean", "sqeuclidean", "cosine")


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
    calinski_harabasz, davies_bouldin : list of float
        One per set, about the means of the labellings; NaN for a set of one cluster.
    """

    centres: Floats
    step: StepPart
    grid: StepGrid
    clusters: Clusters
    silhouettes: list[SilhouetteSummary]
    calinski_harabasz: list[float]
    davies_bouldin: list[float]


def _step(rows: Rows, centres: Stack, grid: StepGrid) -> StepPart:
    return assign.lloyd_step(rows.values, rows.weights, centres, grid)


def _score(
    rows: Rows, centres: Stack, clusters: Clusters, exponents: NDArray[np.int64]
) -> SilhouettePart:
    return silhouette.score_block(rows.values, rows.weights, centres, clusters, exponents)


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
    exponents = silhouette.score_exponents(grid)
    scored = passes.reduce(
        blocks,
        _score,
        silhouette.merge_silhouettes,
        centres,
        clusters,
        exponents,
        name="silhouette",
    )
    weights = steps.weights_of(step, grid)
    summaries = silhouette.finish_silhouettes(scored, clusters, weights, exponents)
    sets = [slice(a, b) for a, b in pairwise(centres.starts.tolist())]
    return Evaluation(
        centres.centres,
        step,
        grid,
        clusters,
        summaries,
        [
            dispersion.calinski_harabasz(StepPart(*(field[own] for field in step)), grid)
            for own in sets
        ],
        [
            dispersion.davies_bouldin(clusters.means.centres[own], one.spread, clusters.sizes[own])
            for own, one in zip(sets, summaries, strict=True)
        ],
    )


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


def _summed(X: Any, labels: Any, metric: str, sample_weight: Any, noise_label: Any) -> Summed:
    on_sphere = metric == "cosine"
    labelled = label_rows(
        X, labels, sample_weight=sample_weight, noise_label=noise_label, on_sphere=on_sphere
    )
    return sum_labels(labelled, on_sphere=on_sphere)


def _check_options(metric: str, known: tuple[str, ...], n_samples: Any = 1) -> None:
    check_landed("metric", metric, known)
    check_count("n_samples", n_samples)


def silhouette_by_label(
    X: Any,
    labels: Any,
    *,
    metric: str = "sqeuclidean",
    sample_weight: Any = None,
    noise_label: Any = None,
) -> LabelSilhouettes:
    """Compute the exact silhouette of labels, as a whole and per label.

    Parameters
    ----------
    X, labels, sample_weight, noise_label : as for `silhouette_score`
    metric : {"sqeuclidean", "cosine"}

    Returns
    -------
    LabelSilhouettes

    Raises
    ------
    InputError, UsageError
        As `silhouette_score`.

    Notes
    -----
    Three passes; memory a few blocks. Method as of `silhouette_score`.

    Examples
    --------
    >>> found = silhouette_by_label([[0.0], [1.0], [9.0], [10.0]], ["a", "a", "b", "b"])
    >>> found.labels.tolist(), round(found.mean, 3)
    (['a', 'b'], 0.988)
    """
    _check_options(metric, METRICS[1:])
    found = score_labels(_summed(X, labels, metric, sample_weight, noise_label))
    return LabelSilhouettes(found.labels, found.silhouette, found.of_labels, found.below_zero)


def silhouette_score(
    X: Any,
    labels: Any,
    *,
    metric: str = "euclidean",
    sample_weight: Any = None,
    n_samples: int = 2000,
    return_interval: bool = False,
    noise_label: Any = None,
    random_state: Any = None,
) -> Any:
    """Compute the mean silhouette of labels.

    Parameters
    ----------
    X : rows of any kind that daskseg takes
    labels : array-like, Series, or lazy Array or Series of shape (n_rows,)
        Numbers or text, in any chunks. As in scikit-learn, -1 is a cluster like any other.
    metric : {"euclidean", "sqeuclidean", "cosine"}
        The last two are exact for any number of rows. "euclidean" is exact up to 20,000 rows
        and estimated above.
    sample_weight : array-like of shape (n_rows,), optional
        How often a row counts: weights w give what w repeats of each row would. Shares that sum
        to one are therefore refused.
    n_samples : int
        Rows whose Euclidean silhouette is looked at above 20,000 rows, each against 50 times as
        many others (at least 400 per label).
    return_interval : bool
        Also return a 95 % interval; that of an exact score is a point.
    noise_label : object, optional
        Rows with this label, such as -1, are left out.
    random_state : None, int, RandomState or Generator
        Of the draw. None is the seed 0.

    Returns
    -------
    score : float
        From -1 to 1.
    interval : tuple of two floats
        Only with `return_interval`.

    Raises
    ------
    InputError
        If there is one label only, or as many as rows; if values or labels are missing.
    UsageError
        If an option is wrong.

    Notes
    -----
    Rows alone under their label count as zero, as in scikit-learn. The same bits for any chunks,
    scheduler and workers.

    "sqeuclidean" and "cosine": the mean squared distance from a row x to a cluster is
    ``|x - mean|**2`` plus the cluster's scatter, so that no pair of rows is looked at (cosine:
    of rows brought to length one; a row of zeros has the distance one to all others). Three
    passes; memory a few blocks.

    "euclidean": two passes. What is drawn (all rows up to 20,000; above, 51 times `n_samples` by
    default) is brought into this process and compared there. Rows and references are drawn per
    label by priority sampling (Duffield, Lund and Thorup 2007), keyed by the seed and the number
    of the row. The interval takes both draws into account, the references by their influence to
    first order.

    Examples
    --------
    >>> rows = [[0.0], [1.0], [9.0], [10.0]]
    >>> round(silhouette_score(rows, [0, 0, 1, 1]), 3)
    0.889
    >>> round(silhouette_score(rows, [0, 0, 1, 1], metric="sqeuclidean"), 3)
    0.988
    """
    _check_options(metric, METRICS, n_samples)
    if metric != "euclidean":
        score = score_labels(_summed(X, labels, metric, sample_weight, noise_label)).silhouette
        return (score, (score, score)) if return_interval else score
    labelled = label_rows(X, labels, sample_weight=sample_weight, noise_label=noise_label)
    found = euclidean.estimate(labelled, int(n_samples), seed_of(random_state))
    return (found.mean, (found.low, found.high)) if return_interval else found.mean


def _scatter(codes: Codes, values: NDArray[Any], func: Any) -> Floats:
    """Score the rows of one block that are not left out; the others are NaN."""
    own = split_rows(Rows(values, 0), codes)
    result = np.full(len(values), math.nan)
    result[own.rows] = func(own.values, own.codes)
    return result


def _squared_rows(
    values: NDArray[Any], codes: Codes, clusters: Clusters, on_sphere: bool
) -> Floats:
    def score(rows: NDArray[Any], numbers: NDArray[np.int32]) -> Floats:
        found = silhouette.silhouettes_of(rows, numbers, clusters)
        return np.where(without_direction(rows), 0.0, found) if on_sphere else found

    return _scatter(codes, values, score)


def _euclidean_rows(
    values: NDArray[Any], codes: Codes, references: Strata, sizes: Floats
) -> Floats:
    def score(rows: NDArray[Any], numbers: NDArray[np.int32]) -> Floats:
        return pairs.compare(rows, numbers, references, sizes).scores

    return _scatter(codes, values, score)


def _map_labelled(labelled: Labelled, func: Any) -> Any:
    blocks: Blocks = labelled.blocks
    # A delayed object is in the graph once, not once per block.
    task = func if blocks.in_memory else delayed(func, pure=False)
    return map_rows(blocks, task, n_features_in=blocks.n_features, n_features_out=None)


def silhouette_samples(
    X: Any,
    labels: Any,
    *,
    metric: str = "euclidean",
    sample_weight: Any = None,
    n_samples: int = 2000,
    noise_label: Any = None,
    random_state: Any = None,
) -> Any:
    """Compute the silhouette of every row.

    Parameters
    ----------
    X, labels, metric, sample_weight, noise_label, random_state : as for `silhouette_score`
    n_samples : int
        "euclidean" above 20,000 rows: each row is compared with about so many others, drawn in
        proportion to the labels (at least 400 per label).

    Returns
    -------
    ndarray, or lazy dask Array for lazy input, of shape (n_rows,), float64
        NaN for rows with the `noise_label`, and under a label without any weight.

    Raises
    ------
    InputError, UsageError
        As `silhouette_score`.

    Notes
    -----
    Two passes at once, and one over the rows when the answer is computed. "sqeuclidean",
    "cosine", and "euclidean" up to 20,000 rows are exact. The time of "euclidean" above grows
    with rows times `n_samples`.

    Examples
    --------
    >>> rows = [[0.0], [1.0], [9.0], [10.0]]
    >>> silhouette_samples(rows, [0, 0, 1, 1]).round(3).tolist()
    [0.895, 0.882, 0.882, 0.895]
    """
    _check_options(metric, METRICS, n_samples)
    seed = seed_of(random_state)
    if metric != "euclidean":
        summed = _summed(X, labels, metric, sample_weight, noise_label)
        func = partial(
            _squared_rows,
            codes=summed.labelled.codes,
            clusters=summed.clusters,
            on_sphere=summed.on_sphere,
        )
        return _map_labelled(summed.labelled, func)
    labelled = label_rows(X, labels, sample_weight=sample_weight, noise_label=noise_label)
    wanted = labelled.n_rows
    if not euclidean.is_exact(labelled):
        least = np.maximum(
            euclidean.wanted_rows(labelled, int(n_samples)), euclidean.MIN_REFERENCES
        )
        wanted = np.minimum(least, labelled.n_rows)
    found = euclidean.collect(labelled, [(wanted, rng.PARTNERS)], seed)
    func = partial(
        _euclidean_rows, codes=labelled.codes, references=found.draws[0], sizes=found.sizes
    )
    return _map_labelled(labelled, func)
