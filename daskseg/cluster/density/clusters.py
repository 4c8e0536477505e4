"""Clusters among landmarks, and how much they depend on the draw of them.

Covers: HDBSCAN on one sample, the comparison of samples, centroids. Does not cover: other rows
(see `kernels.attach`).

Own trees, in float64: scikit-learn keeps births private and takes time by the square (1.9 s for
20,000 rows), fast-hdbscan sums in float32 with fast-math, and the ties of both, and of hdbscan,
depend on the order of the rows. 50,000 rows of 3 columns, a tenth of them noise, take 0.6 s on a
thread (fast-hdbscan 0.3.4 0.8, hdbscan 0.8.44 1.6), 20,000 of 10 columns 2.3 (3.0 and 2.0).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import adjusted_rand_score

from daskseg.cluster.density.landmarks import Draw
from daskseg.engine import passes
from daskseg.kernels import attach, condensed, kdtree, spanning
from daskseg.kernels.attach import Landmarks
from daskseg.kernels.condensed import Flat

Floats = NDArray[np.float64]
Labels = NDArray[np.int32]
# Hennig, Cluster-wise assessment of cluster stability, CSDA 52, 2007: below it, dissolved.
FOUND_JACCARD = 0.5


class Settings(NamedTuple):
    """What decides the clusters of a sample.

    Attributes
    ----------
    min_size, min_samples : int
        In landmarks.
    method : {"eom", "leaf"}
    epsilon : float
    single : bool
    """

    min_size: int
    min_samples: int
    method: str
    epsilon: float
    single: bool


class Found(NamedTuple):
    """The clusters of one sample.

    Attributes
    ----------
    marks : Landmarks
    flat : Flat
    """

    marks: Landmarks
    flat: Flat


class Stability(NamedTuple):
    """How the clusters of the first sample fare in the others.

    Attributes
    ----------
    agreement : ndarray of shape (n_samples - 1,), float64
        Adjusted Rand index of the landmarks' labels, noise being a group.
    n_found : ndarray of shape (n_clusters,), int64
        Samples with a cluster of Jaccard index 0.5 or more; the first sample counts.
    """

    agreement: Floats
    n_found: NDArray[np.int64]


def find_clusters(values: Floats, settings: Settings) -> Found:
    """Find the clusters of a sample of at least two rows."""
    tree = kdtree.build(values)
    # In the order of the leaves, as searches of neighbours are then of neighbours.
    sq_core = kdtree.sq_dist_to_kth(tree, tree.points, settings.min_samples)
    whole = condensed.condense(spanning.span(tree, sq_core), settings.min_size)
    selected = condensed.select(whole, settings.method, settings.epsilon, with_root=settings.single)
    flat = condensed.flatten(whole, selected, settings.epsilon)
    marks = attach.landmarks_of(tree, settings.min_samples, sq_core, whole.left_sq, flat)
    return Found(marks, flat)


def _fit_sample(index: int, draws: list[Draw], settings: Settings) -> Found | Labels:
    found = find_clusters(draws[index].values, settings)
    if index == 0:
        return found
    return attach.attach(found.marks, draws[0].values, with_nearest=False).labels


def fit_samples(draws: list[Draw], settings: Settings, n_repeats: int) -> tuple[Found, Stability]:
    """Find the clusters of the first sample, and look for them in the others.

    Parameters
    ----------
    draws : list of Draw
        One, of all rows, stands for `n_repeats` of the same.
    settings : Settings
    n_repeats : int
    """
    indices = list(range(len(draws)))
    results = passes.run(_fit_sample, indices, draws, settings, name="density", local=True)
    found, others = results[0], results[1:]
    labels = found.flat.labels
    n_clusters = len(found.flat.reach_sq)
    if not others:
        whole = np.full(n_clusters, n_repeats, np.int64)
        return found, Stability(np.ones(n_repeats - 1), whole)
    n_found = np.ones(n_clusters, np.int64)
    for other in others:
        n_found += best_jaccard(labels, other) >= FOUND_JACCARD
    agreement = np.array([adjusted_rand_score(labels, other) for other in others])
    return found, Stability(agreement, n_found)


def best_jaccard(labels: Labels, others: Labels) -> Floats:
    """Return, for each cluster, the largest Jaccard index with one of another clustering.

    Parameters
    ----------
    labels, others : ndarray of shape (n,), int32
        -1 is noise, which is no cluster.
    """
    n_own, n_others = int(labels.max()) + 1, int(others.max()) + 1
    if not n_own or not n_others:
        return np.zeros(n_own)
    both = (labels >= 0) & (others >= 0)
    pairs = labels[both].astype(np.int64) * n_others + others[both]
    pairs, shared = np.unique(pairs, return_counts=True)
    one, other = pairs // n_others, pairs % n_others
    n_of_one = np.bincount(labels[labels >= 0], minlength=n_own)[one]
    n_of_other = np.bincount(others[others >= 0], minlength=n_others)[other]
    best = np.zeros(n_own)
    np.maximum.at(best, one, shared / (n_of_one + n_of_other - shared))
    return best


def centroids(values: Floats, flat: Flat) -> Floats:
    """Return the mean of each cluster's landmarks, weighted by their strengths."""
    inside, n_clusters = flat.labels >= 0, len(flat.reach_sq)
    labels, weights = flat.labels[inside], flat.strengths[inside]
    mass = np.bincount(labels, weights, n_clusters)
    columns = [np.bincount(labels, weights * one, n_clusters) for one in values[inside].T]
    return np.asarray(np.stack(columns, axis=1) / mass[:, None])
