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

from daskseg.cluster import KMeans, MiniBatchKMeans
from daskseg.engine.blocks import Blocks
from daskseg.kernels.silhouette import Clusters
from daskseg.metrics.dispersion import score_labels, sum_labels
from daskseg.metrics.labelled import label_blocks
from daskseg.metrics.silhouette import evaluate
from daskseg.mixture import GaussianMixture
from daskseg.model_selection.sweep import Sweep
from daskseg.segments.grouping import CentreGrouping, Grouping, MixtureGrouping

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
    """

    grouping: Grouping
    facts: dict[str, Any]
    silhouettes: Floats
    below_zero: Floats
    clusters: Clusters | None = None


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
        _facts(fitted, float(fitted.inertia_)),
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
    return _by_labels(grouping, fitted, prepared)


def _by_labels(grouping: Grouping, fitted: Any, prepared: Blocks) -> FittedModel:
    labelled = label_blocks(prepared, partial(_labels, grouping=grouping), noise_label=NOISE)
    n_groups = len(grouping.centres)
    of_groups, below_zero = np.full(n_groups, np.nan), np.full(n_groups, np.nan)
    scores = score_labels(sum_labels(labelled))
    places = scores.labels.astype(np.intp)
    of_groups[places], below_zero[places] = scores.of_labels, scores.below_zero
    return FittedModel(grouping, _facts(fitted, scores.inertia), of_groups, below_zero)


def _labels(values: NDArray[Any], grouping: Grouping) -> NDArray[np.int32]:
    return grouping.of(np.asarray(values, dtype=np.float64)).first


def _facts(fitted: Any, inertia: float) -> dict[str, Any]:
    return {
        "inertia": inertia,
        "n_passes": float(fitted.n_passes_),
        "n_iter": int(fitted.n_iter_),
        "stopped_by": fitted.stopped_by_,
    }


FITS: dict[str, Callable[[int, Blocks, Sweep], FittedModel]] = {
    "kmeans": _kmeans,
    "minibatch": _minibatch,
    "mixture": _mixture,
}
