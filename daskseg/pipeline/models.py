"""The model that a study asks for, fitted on prepared rows.

Covers: one function per kind of model, each to the grouping that scores customers, with the
facts of the fit and the silhouettes of its groups on all rows. Does not cover: the number of
segments (see `pipeline.fitting`), what a grouping does (see `segments.grouping`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from daskseg.cluster import HDBSCAN, KMeans, MiniBatchKMeans
from daskseg.engine.blocks import Blocks
from daskseg.errors import InputError
from daskseg.kernels.silhouette import Clusters
from daskseg.metrics.dispersion import LabelScores, score_labels, sum_labels
from daskseg.metrics.labelled import label_blocks
from daskseg.metrics.silhouette import evaluate
from daskseg.mixture import GaussianMixture
from daskseg.model_selection.sweep import Sweep
from daskseg.segments.grouping import (
    CentreGrouping,
    Grouping,
    LandmarkGrouping,
    MixtureGrouping,
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
    """

    grouping: Grouping
    facts: dict[str, Any]
    silhouettes: Floats
    below_zero: Floats
    clusters: Clusters | None = None
    scores: LabelScores | None = None


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


def fit_with_own_number(kind: str, prepared: Blocks, min_share: float, seed: int) -> FittedModel:
    """Fit a model that finds the number of its groups itself.

    Parameters
    ----------
    kind : str
        A key of `OWN_NUMBER`.
    prepared : Blocks
    min_share : float
        Least share of a group.
    seed : int

    Raises
    ------
    InputError
        If there is no group.
    """
    return OWN_NUMBER[kind](prepared, min_share, seed)


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
    return _by_labels(grouping, _facts(fitted), prepared)


def _hdbscan(prepared: Blocks, min_share: float, seed: int) -> FittedModel:
    fitted = HDBSCAN(min_share or None, random_state=seed).fit(prepared)
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
        "noise_share": fitted.noise_share_,
        "agreement": fitted.agreement_.tolist(),
    }
    return _by_labels(grouping, facts, prepared)


def _by_labels(grouping: Grouping, facts: dict[str, Any], prepared: Blocks) -> FittedModel:
    labelled = label_blocks(prepared, partial(_labels, grouping=grouping), noise_label=NOISE)
    n_groups = len(grouping.centres)
    of_groups, below_zero = np.full(n_groups, np.nan), np.full(n_groups, np.nan)
    scores = score_labels(sum_labels(labelled))
    places = scores.labels.astype(np.intp)
    of_groups[places], below_zero[places] = scores.of_labels, scores.below_zero
    return FittedModel(
        grouping, {"inertia": scores.inertia, **facts}, of_groups, below_zero, scores=scores
    )


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
    "mixture": _mixture,
}
OWN_NUMBER: dict[str, Callable[[Blocks, float, int], FittedModel]] = {"hdbscan": _hdbscan}
