"""Calinski-Harabasz, Davies-Bouldin and the squared error, of any labels of any rows.

Covers: exact scores in two or three passes, and all scores of one labelling at once. Does not
cover: silhouettes from pairs of rows (see `metrics.euclidean`).
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from daskseg.engine import passes
from daskseg.engine.blocks import Rows
from daskseg.errors import InputError, UsageError
from daskseg.inputs import as_blocks, measure_extent
from daskseg.kernels import assign, dispersion, grid, silhouette, steps
from daskseg.kernels import labels as label_kernels
from daskseg.kernels.assign import StepGrid, StepPart
from daskseg.kernels.grid import GridSum
from daskseg.kernels.silhouette import Clusters, SilhouettePart
from daskseg.kernels.unit import without_direction
from daskseg.metrics.labelled import (
    Codes,
    Labelled,
    check_label_count,
    label_rows,
    split_rows,
)

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Summed:
    """Labelled rows with the exact sums of each label.

    Attributes
    ----------
    labelled : Labelled
    step : StepPart
    grid : StepGrid
    weights : list of Fraction
        Exact, per label.
    clusters : Clusters
        On the sphere, scatters hold what rows without direction add to them.
    on_sphere : bool
    """

    labelled: Labelled
    step: StepPart
    grid: StepGrid
    weights: list[Fraction]
    clusters: Clusters
    on_sphere: bool


def _sum_block(rows: Rows, codes: Codes, step_grid: StepGrid, on_sphere: bool) -> StepPart:
    own = split_rows(rows, codes)
    n_labels, numbers = len(codes.known), own.codes
    if on_sphere:
        # Rows without direction are summed apart.
        numbers = numbers + np.int32(n_labels) * without_direction(own.values)
        n_labels *= 2
    return assign.sums_by_label(own.values, own.weights, numbers, n_labels, step_grid)


def _score_block(
    rows: Rows,
    codes: Codes,
    clusters: Clusters,
    exponents: NDArray[np.int64],
    on_sphere: bool,
) -> SilhouettePart:
    own = split_rows(rows, codes)
    weights = own.weights
    if on_sphere:
        # Their silhouette is zero.
        weights = np.where(without_direction(own.values), 0.0, 1.0 if weights is None else weights)
    return silhouette.score_block(own.values, weights, own.codes, clusters, exponents)


def _sums(labelled: Labelled, *, on_sphere: bool = False) -> StepPart:
    """Sum the rows of every label. One pass."""
    step: StepPart = passes.reduce(
        labelled.blocks,
        _sum_block,
        assign.merge_steps,
        labelled.codes,
        labelled.grid,
        on_sphere,
        name="label-sums",
        scratch=labelled.scratch,
    )
    return step


def sum_labels(labelled: Labelled, *, on_sphere: bool = False) -> Summed:
    """Sum the rows of every label. One pass.

    On the sphere, half a squared distance of unit rows is one minus their cosine. A row without
    direction has the cosine zero with every other row: it stands for a unit row at right angles
    to all, which adds one to the mean squared distance to its cluster.

    Parameters
    ----------
    labelled : Labelled
        On the sphere: of unit rows.
    on_sphere : bool

    Raises
    ------
    InputError
        If there is one label only, or as many as rows.
    """
    step_grid, n_labels = labelled.grid, len(labelled.names)
    if n_labels < 2:
        check_label_count(n_labels, int(labelled.n_rows.sum()))
    step = _sums(labelled, on_sphere=on_sphere)
    lost = [Fraction(0)] * n_labels
    if on_sphere:
        lost = steps.weights_of(step, step_grid)[n_labels:]
        step = StepPart(*(field[:n_labels] + field[n_labels:] for field in step))
    weights = steps.weights_of(step, step_grid)
    check_label_count(n_labels, float(sum(weights)))
    clusters = silhouette.clusters_of(step, np.array([0, n_labels]), step_grid)
    raised = [float(a / w) if w else 0.0 for a, w in zip(lost, weights, strict=True)]
    clusters = clusters._replace(scatter=clusters.scatter + np.array(raised))
    return Summed(labelled, step, step_grid, weights, clusters, on_sphere)


@dataclass(frozen=True)
class LabelScores:
    """All scores of one labelling.

    Attributes
    ----------
    labels : ndarray of shape (n_labels,)
        Ascending.
    sizes : ndarray of shape (n_labels,), float64
        Weights.
    silhouette : float
    of_labels, below_zero : ndarray of shape (n_labels,), float64
        Mean silhouette, and share of rows below zero, per label.
    inertia, calinski_harabasz, davies_bouldin : float
        About the means of the labels.
    """

    labels: NDArray[Any]
    sizes: Floats
    silhouette: float
    of_labels: Floats
    below_zero: Floats
    inertia: float
    calinski_harabasz: float
    davies_bouldin: float


def score_labels(summed: Summed) -> LabelScores:
    """Compute all scores of one labelling. One pass after `sum_labels`.

    Silhouettes are those of squared Euclidean distances; on the sphere, of cosines.
    """
    exponents = silhouette.score_exponents(summed.grid)
    part: SilhouettePart = passes.reduce(
        summed.labelled.blocks,
        _score_block,
        silhouette.merge_silhouettes,
        summed.labelled.codes,
        summed.clusters,
        exponents,
        summed.on_sphere,
        name="silhouette",
        scratch=summed.labelled.scratch,
    )
    found = silhouette.finish_silhouettes(part, summed.clusters, summed.weights, exponents)[0]
    means, sizes = summed.clusters.means.centres, summed.clusters.sizes
    return LabelScores(
        summed.labelled.names,
        sizes,
        found.mean,
        found.of_clusters,
        found.below_zero,
        dispersion.within(summed.step, summed.grid),
        dispersion.calinski_harabasz(summed.step, summed.grid),
        dispersion.davies_bouldin(means, found.spread, sizes),
    )


def score_one_label(labelled: Labelled) -> LabelScores:
    """Return the squared error of rows of one label; what compares labels is NaN. One pass."""
    step = _sums(labelled)
    weights = np.array([float(one) for one in steps.weights_of(step, labelled.grid)])
    none = float("nan")
    unknown = np.full(len(labelled.names), none)
    within = dispersion.within(step, labelled.grid)
    return LabelScores(labelled.names, weights, none, unknown, unknown, within, none, none)


def calinski_harabasz_score(
    X: Any, labels: Any, *, sample_weight: Any = None, noise_label: Any = None
) -> float:
    """Compute the Calinski-Harabasz score: dispersion between clusters over that within.

    Parameters
    ----------
    X : rows of any kind that daskseg takes
    labels : array-like, Series, or lazy Array or Series of shape (n_rows,)
        Numbers or text. As in scikit-learn, -1 is a cluster like any other.
    sample_weight : array-like of shape (n_rows,), optional
        How often a row counts.
    noise_label : object, optional
        Rows with this label, such as -1, are left out.

    Returns
    -------
    float
        Higher is better; no upper limit.

    Raises
    ------
    InputError
        If there is one label only, or as many as rows; if values or labels are missing.

    Notes
    -----
    Exact sums about the middle of each column, rounded once: far from the origin nothing is lost.
    Two passes; memory a few blocks. The same bits for any chunks, scheduler and workers.

    Examples
    --------
    >>> round(calinski_harabasz_score([[0.0], [1.0], [9.0], [10.0]], [0, 0, 1, 1]), 6)
    162.0
    """
    labelled = label_rows(X, labels, sample_weight=sample_weight, noise_label=noise_label)
    summed = sum_labels(labelled)
    return dispersion.calinski_harabasz(summed.step, summed.grid)


def davies_bouldin_score(
    X: Any, labels: Any, *, sample_weight: Any = None, noise_label: Any = None
) -> float:
    """Compute the Davies-Bouldin score: how wide clusters are, over how far apart.

    Parameters
    ----------
    X, labels, sample_weight, noise_label : as for `calinski_harabasz_score`

    Returns
    -------
    float
        Lower is better; 0 at best.

    Raises
    ------
    InputError
        As `calinski_harabasz_score`.

    Notes
    -----
    Exact sums of distances to the means. Three passes; memory a few blocks. scikit-learn takes
    distances below 1e-8 for zero; here only zero is, so that units do not matter.

    Examples
    --------
    >>> round(davies_bouldin_score([[0.0], [1.0], [9.0], [10.0]], [0, 0, 1, 1]), 6)
    0.111111
    """
    labelled = label_rows(X, labels, sample_weight=sample_weight, noise_label=noise_label)
    return score_labels(sum_labels(labelled)).davies_bouldin


def _error_of(rows: Rows, centres: Floats, exponent: NDArray[np.int64]) -> GridSum:
    sq_dist = label_kernels.nearest(rows.values, centres)[1]
    return label_kernels.sum_errors(sq_dist, rows.weights, exponent)


def inertia(
    X: Any,
    labels: Any = None,
    *,
    centres: Any = None,
    sample_weight: Any = None,
    noise_label: Any = None,
) -> float:
    """Compute the squared error of labels about their means, or of centres.

    Parameters
    ----------
    X : rows of any kind that daskseg takes
    labels : array-like, Series, or lazy Array or Series of shape (n_rows,), optional
        Errors are taken from the mean of each label. Any number of labels.
    centres : array-like of shape (n_clusters, n_features), optional
        Errors are taken from the nearest centre. Give either labels or centres.
    sample_weight : array-like of shape (n_rows,), optional
        How often a row counts.
    noise_label : object, optional
        Rows with this label are left out.

    Returns
    -------
    float
        Sum of squared distances, in squared units of the features.

    Raises
    ------
    UsageError
        If not exactly one of labels and centres is given, or the centres do not fit.
    InputError
        If values or labels are missing.

    Notes
    -----
    Two passes; memory a few blocks.

    Examples
    --------
    >>> rows = [[0.0], [1.0], [9.0], [10.0]]
    >>> inertia(rows, [0, 0, 1, 1]), inertia(rows, centres=[[0.0], [9.5]])
    (1.0, 1.5)
    """
    if (labels is None) == (centres is None):
        raise UsageError("inertia takes either labels or centres: give exactly one of them.")
    if centres is None:
        labelled = label_rows(X, labels, sample_weight=sample_weight, noise_label=noise_label)
        if not len(labelled.names):
            raise InputError("no row is left: all have the noise_label, or no weight.")
        return dispersion.within(_sums(labelled), labelled.grid)
    if noise_label is not None:
        raise UsageError("noise_label goes with labels: centres leave no row out.")
    blocks = as_blocks(X, sample_weight=sample_weight)
    where = _as_centres(centres, blocks.n_features)
    exponent = label_kernels.sse_exponent(measure_extent(passes.measure(blocks)), where)
    total: GridSum = passes.reduce(blocks, _error_of, grid.add, where, exponent, name="inertia")
    return float(grid.to_floats(total, exponent)[0])


def _as_centres(centres: Any, n_features: int) -> Floats:
    try:
        where = np.asarray(centres, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise UsageError(f"centres is not a matrix of numbers: {error}") from error
    if where.ndim != 2 or not len(where) or where.shape[1] != n_features:
        raise UsageError(
            f"centres has the shape {where.shape}, but (n_clusters, {n_features}) is due: one row "
            "per centre, with the features of X."
        )
    if not np.isfinite(where).all():
        raise UsageError("centres holds NaN or infinity; every value must be finite.")
    return np.ascontiguousarray(where)
