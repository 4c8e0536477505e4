"""The model that a study asks for, fitted on prepared rows.

Covers: one function per kind of model, each to the grouping that scores customers, with the
facts of the fit and the silhouettes of its groups on all rows. Does not cover: the number of
segments (see `pipeline.fitting`), what a grouping does (see `segments.grouping`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from daskseg.cluster import (
    DBSCAN,
    HDBSCAN,
    AgglomerativeClustering,
    BisectingKMeans,
    ConsensusClustering,
    KMeans,
    MiniBatchKMeans,
)
from daskseg.cluster.density import suggest_eps
from daskseg.cluster.density.dbscan import MAX_FEATURES
from daskseg.cluster.density.distances import default_min_samples
from daskseg.config.study import ModelSection
from daskseg.engine.blocks import Blocks
from daskseg.errors import InputError, MemoryBudgetError, UsageError
from daskseg.kernels.silhouette import Clusters
from daskseg.metrics.dispersion import LabelScores, score_labels, score_one_label, sum_labels
from daskseg.metrics.labelled import label_blocks
from daskseg.metrics.silhouette import evaluate
from daskseg.mixture import GaussianMixture
from daskseg.model_selection.sweep import Sweep
from daskseg.pipeline import structure
from daskseg.segments.grouping import (
    CentreGrouping,
    Grouping,
    MixtureGrouping,
    SplitGrouping,
)
from daskseg.segments.points import (
    ConsensusGrouping,
    CoreGrouping,
    LandmarkGrouping,
    PlaceGrouping,
)

Floats = NDArray[np.float64]
NOISE = -1


@dataclass(frozen=True)
class FittedModel:
    """A model on prepared rows.

    Attributes
    ----------
    grouping : Grouping
    facts : dict
        How the fit went: inertia (squared error about the centres of the groups), n_passes,
        n_iter, stopped_by.
    silhouettes, below_zero : ndarray of shape (n_groups,), float64
        Mean silhouette and share of rows below zero per group, without noise; NaN where a
        group has no rows.
    clusters : Clusters or None
        Of a model whose groups are the rows nearest to its centres.
    scores : LabelScores or None
        Of a model whose groups follow otherwise, without noise.
    drawn : dict of str to dict
        What the kind of model adds to the report, as `pipeline.structure` makes it.
    """

    grouping: Grouping
    facts: dict[str, Any]
    silhouettes: Floats
    below_zero: Floats
    clusters: Clusters | None = None
    scores: LabelScores | None = None
    drawn: dict[str, Any] = field(default_factory=dict)


def fit_model(kind: str, k: int, prepared: Blocks, found: Sweep) -> FittedModel:
    """Fit a model of `k` groups.

    Parameters
    ----------
    kind : str
        A key of `FITS`.
    k : int
    prepared : Blocks
        Rows in the units in which distances are taken.
    found : Sweep
        Of the same rows; has the seed.
    """
    return FITS[kind](k, prepared, found)


def fit_with_own_number(settings: ModelSection, prepared: Blocks) -> FittedModel:
    """Fit a model that finds the number of its groups itself.

    Parameters
    ----------
    settings : ModelSection
        Its kind is a key of `OWN_NUMBER`; its `min_share` is the least share of a group.
    prepared : Blocks

    Raises
    ------
    InputError
        If there is no group.
    """
    return OWN_NUMBER[settings.kind](prepared, settings)


def _kmeans(k: int, prepared: Blocks, found: Sweep) -> FittedModel:
    return _by_centres(found.finish(k, prepared), prepared, found)


def _minibatch(k: int, prepared: Blocks, found: Sweep) -> FittedModel:
    return _by_centres(MiniBatchKMeans(k, random_state=found.seed).fit(prepared), prepared, found)


def _by_centres(fitted: KMeans | MiniBatchKMeans, prepared: Blocks, found: Sweep) -> FittedModel:
    centres = np.asarray(fitted.cluster_centers_, dtype=np.float64)
    final = evaluate(prepared, [centres], found.survey.extent)
    scores = final.silhouettes[0]
    return FittedModel(
        CentreGrouping(centres),
        {"inertia": float(fitted.inertia_), **_facts(fitted)},
        scores.of_clusters,
        scores.below_zero,
        final.clusters,
    )


def _mixture(k: int, prepared: Blocks, found: Sweep) -> FittedModel:
    fitted = GaussianMixture(k, random_state=found.seed).fit(prepared)
    has_rows = fitted.weights_ > 0
    grouping = MixtureGrouping(
        fitted.means_[has_rows],
        fitted.weights_[has_rows],
        fitted.precisions_cholesky_[has_rows],
    )
    drawn = {"overlap": structure.overlap(fitted.membership_summary(prepared), has_rows)}
    return _by_labels(grouping, _facts(fitted), prepared, drawn)


def _bisecting(k: int, prepared: Blocks, found: Sweep) -> FittedModel:
    fitted = BisectingKMeans(k, random_state=found.seed).fit(prepared)
    centres = np.asarray(fitted.cluster_centers_, dtype=np.float64)
    grouping = SplitGrouping(centres, fitted.children_, fitted.split_centers_)
    drawn = {}
    if len(centres) > 1:
        parts = fitted.children_, fitted.split_gains_, fitted.cluster_weights_
        drawn["tree"] = structure.split_tree(*parts)
    return _by_labels(grouping, {"n_passes": float(fitted.n_passes_)}, prepared, drawn)


def _agglomerative(k: int, prepared: Blocks, found: Sweep) -> FittedModel:
    fitted = AgglomerativeClustering(k, random_state=found.seed).fit(prepared)
    table = fitted.lookup(fitted.n_clusters_)
    centres = np.asarray(fitted.cluster_centers_, dtype=np.float64)
    grouping = PlaceGrouping(centres, fitted.micro_places_, table)
    facts = {"n_passes": float(fitted.n_passes_), "n_leaves": fitted.n_leaves_}
    drawn = {}
    if fitted.n_leaves_ > 1:
        parts = fitted.linkage_, fitted.micro_weights_, fitted.n_clusters_
        drawn["tree"] = structure.tree(*parts)
    return _by_labels(grouping, facts, prepared, drawn)


def _consensus(k: int, prepared: Blocks, found: Sweep) -> FittedModel:
    fitted = ConsensusClustering(k, random_state=found.seed).fit(prepared)
    centres = np.asarray(fitted.cluster_centers_, dtype=np.float64)
    table = np.empty(len(fitted.consensus_labels_), np.int32)
    table[fitted.consensus_order_] = fitted.consensus_labels_
    grouping = ConsensusGrouping(centres, fitted.micro_places_, table, fitted.micro_agreement_)
    facts = {
        "n_passes": float(fitted.n_passes_),
        "is_stable": fitted.is_stable_,
        "stability": fitted.stability_,
        "null_stability": fitted.null_stability_,
    }
    return _by_labels(grouping, facts, prepared, {"agreement": structure.agreement(fitted)})


def _dbscan(prepared: Blocks, settings: ModelSection) -> FittedModel:
    if not prepared.in_memory and prepared.n_features > MAX_FEATURES:
        raise UsageError(
            f"dbscan groups at most {MAX_FEATURES} columns out of memory, and there are "
            f"{prepared.n_features}. Project them with prepare.pca (--pca {MAX_FEATURES}), or "
            "group with hdbscan."
        )
    eps, min_samples = settings.eps, settings.min_samples
    if min_samples == "auto":
        min_samples = default_min_samples(prepared.n_features)
    facts: dict[str, Any] = {"suggested": None}
    drawn: dict[str, Any] = {}
    if eps == "auto":
        advice = suggest_eps(prepared, min_samples=min_samples, random_state=settings.seed)
        eps = advice.eps
        facts["suggested"] = {"n_places": len(advice.distances), "core_share": advice.core_share}
        drawn["distances"] = structure.distances(advice)
    fitted = DBSCAN(eps, min_samples=min_samples, random_state=settings.seed).fit(prepared)
    if not hasattr(fitted, "components_"):
        raise MemoryBudgetError(
            "the core customers of dbscan take more than 256 MiB, too much for a model that scores "
            "others by them. Group with hdbscan, which keeps 50,000 landmarks, or take fewer "
            "components."
        )
    labels = np.asarray(fitted.labels_)
    sizes = np.bincount(labels[labels >= 0], minlength=fitted.n_clusters_)
    is_kept = sizes >= settings.min_share * len(labels)
    if not is_kept.any():
        raise InputError(
            f"dbscan found no group of at least {settings.min_share:.3g} of the customers: of "
            f"{fitted.n_clusters_} groups at eps={eps:.4g} the largest has "
            f"{sizes.max(initial=0)} of {len(labels)}. Raise eps, lower min_share or min_samples, "
            "or group with kmeans, which cuts a continuum into useful parts."
        )
    numbers = np.where(is_kept, np.cumsum(is_kept) - 1, -1).astype(np.int32)
    of_cores = numbers[labels[fitted.core_sample_indices_]]
    points = np.asarray(fitted.components_, dtype=np.float64)
    # By their values, so that the order of the rows leaves no trace.
    order = np.lexsort(points.T[::-1])
    order = order[of_cores[order] >= 0]
    points, of_cores = points[order], of_cores[order]
    centres = _means(points, of_cores, int(is_kept.sum()))
    grouping = CoreGrouping(centres, points, of_cores, eps)
    facts.update(
        {
            "n_passes": float(fitted.n_passes_),
            "eps": eps,
            "min_samples": min_samples,
            "n_small": int((~is_kept).sum()),
            "small_share": float(sizes[~is_kept].sum()) / len(labels),
        }
    )
    return _by_labels(grouping, facts, prepared, drawn)


def _means(points: Floats, labels: NDArray[np.int32], n_groups: int) -> Floats:
    counts = np.bincount(labels, minlength=n_groups)
    sums = [np.bincount(labels, weights=column, minlength=n_groups) for column in points.T]
    return np.ascontiguousarray((np.array(sums) / counts).T)


def _hdbscan(prepared: Blocks, settings: ModelSection) -> FittedModel:
    fitted = HDBSCAN(settings.min_share or None, random_state=settings.seed).fit(prepared)
    if fitted.n_clusters_ == 0:
        raise InputError(
            "hdbscan found no clusters: no group of customers is denser than what is around it. "
            "Group with kmeans, which cuts a continuum into useful parts, or lower min_share."
        )
    marks = fitted.landmarks_
    # From the order of the tree's leaves to that of the rows.
    order = np.argsort(marks.tree.places)
    grouping = LandmarkGrouping(
        fitted.centroids_,
        marks.tree.points[order],
        marks.labels[order],
        marks.left_sq[order],
        marks.reach_sq,
        marks.peak_sq,
        marks.k,
    )
    facts = {
        "n_passes": float(fitted.n_passes_),
        "n_landmarks": len(order),
        "agreement": fitted.agreement_.tolist(),
    }
    drawn = {"reachability": structure.reachability(marks)}
    return _by_labels(grouping, facts, prepared, drawn)


def _by_labels(
    grouping: Grouping, facts: dict[str, Any], prepared: Blocks, drawn: dict[str, Any]
) -> FittedModel:
    labelled = label_blocks(prepared, partial(_labels, grouping=grouping), noise_label=NOISE)
    n_groups = len(grouping.centres)
    of_groups, below_zero = np.full(n_groups, np.nan), np.full(n_groups, np.nan)
    if len(labelled.names) > 1:
        scores = score_labels(sum_labels(labelled))
    else:
        scores = score_one_label(labelled)
    if grouping.has_noise:
        n_rows = prepared.n_rows
        facts = {**facts, "noise_share": 1.0 - float(np.cumsum(scores.sizes)[-1]) / n_rows}
    places = scores.labels.astype(np.intp)
    of_groups[places], below_zero[places] = scores.of_labels, scores.below_zero
    facts = {"inertia": scores.inertia, **facts}
    return FittedModel(grouping, facts, of_groups, below_zero, scores=scores, drawn=drawn)


def _labels(values: NDArray[Any], grouping: Grouping) -> NDArray[np.int32]:
    return grouping.of(np.asarray(values, dtype=np.float64)).first


def _facts(fitted: Any) -> dict[str, Any]:
    return {
        "n_passes": float(fitted.n_passes_),
        "n_iter": int(fitted.n_iter_),
        "stopped_by": fitted.stopped_by_,
    }


# With the number of groups that the curve of k-means suggests, and with their own.
FITS: dict[str, Callable[[int, Blocks, Sweep], FittedModel]] = {
    "kmeans": _kmeans,
    "minibatch": _minibatch,
    "bisecting": _bisecting,
    "mixture": _mixture,
    "agglomerative": _agglomerative,
    "consensus": _consensus,
}
OWN_NUMBER: dict[str, Callable[[Blocks, ModelSection], FittedModel]] = {
    "dbscan": _dbscan,
    "hdbscan": _hdbscan,
}
