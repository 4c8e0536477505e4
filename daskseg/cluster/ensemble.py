"""Many partitions of weighted points, and the one that they agree on.

Covers: diverse runs on resamples of rows in memory, their consensus, how firm it is, and the same
for rows without structure. Does not cover: all rows (see `cluster.consensus`).

References: Fred and Jain, Combining multiple clusterings using evidence accumulation, TPAMI 2005;
Strehl and Ghosh, Cluster ensembles, JMLR 2002 (diversity by features).
"""

from __future__ import annotations

import math
from itertools import combinations
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from sklearn.base import clone
from sklearn.utils.validation import has_fit_parameter

from daskseg.cluster.micro import choose_places
from daskseg.cluster.search.jobs import n_candidates
from daskseg.kernels import agreement, consensus, draws, linkage, rng, weighted, weighted_starts
from daskseg.kernels.labels import labels_of
from daskseg.kernels.projection import unproject_block
from daskseg.kernels.sample import Sample

Floats = NDArray[np.float64]
Labels = NDArray[np.int32]
# Share of the features that a run looks at.
FEATURE_SHARE = 0.7
_MAX_STEPS, _TOL = 30, 1e-4
# Numbers of one run never reach those of the next.
_DRAWS_PER_RUN = 2**32
_NULL_STREAM = 2**20
# A cluster that the tree cuts off counts from this share of an even one: average linkage sets
# single points apart.
_LEAST_SHARE = 0.05
_MAX_ROUNDS = 10


class Points(NamedTuple):
    """Rows to fit on, and points that are labelled.

    Attributes
    ----------
    values : ndarray of shape (n_rows, n_features), float64
    weights : ndarray of shape (n_rows,), float64
        Above zero.
    places : ndarray of shape (n_points, n_features), float64
    mass : ndarray of shape (n_points,), float64
        Repeats of the points.
    """

    values: Floats
    weights: Floats
    places: Floats
    mass: Floats


class Run(NamedTuple):
    """One partition to be made: its number, clusters and features."""

    number: int
    n_clusters: int
    features: NDArray[np.intp]


class Firmness(NamedTuple):
    """How much partitions agree.

    Attributes
    ----------
    pac : float
        Weighted share of pairs of points that are in one cluster in more than 10 and less than
        90 % of the partitions.
    mean_ari : float
        Mean adjusted Rand index of every two partitions.
    contrast : float
        How often two points of a segment share a cluster, less how often points of it share one
        with those of the nearest segment; the weighted mean of the segments.
    lifetime : float
        Heights of the tree of agreement over which the number of segments stays.
    """

    pac: float
    mean_ari: float
    contrast: float
    lifetime: float


class Consensus(NamedTuple):
    """What partitions agree on.

    Attributes
    ----------
    labels : ndarray of shape (n_runs, n_points), int32
        The partitions.
    matrix : ndarray of shape (n_points, n_points), float32
    tree : ndarray of shape (n_points - 1, 4), float64
    groups : ndarray of shape (n_points,), int32
    links : ndarray of shape (n_groups, n_groups), float64
        Mean of the matrix over pairs of points, by their groups.
    firmness : Firmness
    """

    labels: Labels
    matrix: NDArray[np.float32]
    tree: Floats
    groups: Labels
    links: Floats
    firmness: Firmness


def plan_runs(
    n_runs: int, n_features: int, between: tuple[int, int], seed: int, stream: int
) -> list[Run]:
    """Draw the number of clusters and the features of each run.

    Parameters
    ----------
    n_runs, n_features : int
    between : tuple of int
        Least and largest number of clusters.
    seed, stream : int
        Runs of different streams are independent.
    """
    n_kept = max(1, math.ceil(FEATURE_SHARE * n_features))
    low, high = between
    runs = []
    for r in range(n_runs):
        chance = rng.generator(seed, rng.RUNS, stream + r).random(n_features + 1)
        k = min(high, low + int(chance[0] * (high - low + 1)))
        features = np.sort(np.argsort(chance[1:], kind="stable")[:n_kept])
        runs.append(Run(stream + r, k, features))
    return runs


def _resampled(points: Points, run: Run, seed: int) -> tuple[Floats, Floats]:
    """Give each row a Poisson number of repeats, and drop those of none."""
    chance = rng.uniform(seed, rng.RUNS, run.number * _DRAWS_PER_RUN, len(points.values))
    steps = np.cumsum([math.exp(-1.0) / math.factorial(i) for i in range(12)])
    repeats = np.searchsorted(steps, chance, side="left")
    kept = np.flatnonzero(repeats)
    if not len(kept):
        return points.values, points.weights
    return points.values[kept], points.weights[kept] * repeats[kept]


def run_kmeans(run: Run, points: Points, seed: int) -> Labels:
    """Partition the points by k-means of a resample of the rows, in some of the features."""
    values, weights = _resampled(points, run, seed)
    own = values[:, run.features]
    mean = weighted.weighted_mean(own, weights)
    centred = own - mean
    size = float(np.abs(centred).max()) or 1.0
    level = weighted.level_of(np.ascontiguousarray(centred / size), weights)
    key = rng.key_of(seed)
    rows, _ = weighted_starts.plus_plus(
        level, run.n_clusters, n_candidates(run.n_clusters), key, run.number
    )
    start = level.rows[rows].astype(np.float64)
    centres, _, _ = weighted.lloyd(level, start, _MAX_STEPS, _TOL)
    return labels_of(points.places[:, run.features], centres * size + mean)


def run_base(run: Run, points: Points, seed: int, base: list[Any]) -> Labels:
    """Partition the points by an estimator, on a resample of the rows in some of the features.

    One without ``predict`` is fitted to the points themselves.
    """
    model = clone(base[run.number % len(base)])
    known = model.get_params()
    name = "n_clusters" if "n_clusters" in known else "n_components"
    model.set_params(**{name: run.n_clusters})
    if "random_state" in known:
        chance = rng.generator(seed, rng.RUNS, run.number).random()
        model.set_params(random_state=int(chance * 2**31))
    places = points.places[:, run.features]
    if not hasattr(model, "predict"):
        return _numbered(model.fit_predict(places))
    values, weights = _resampled(points, run, seed)
    values = values[:, run.features]
    if has_fit_parameter(model, "sample_weight"):
        model.fit(values, sample_weight=weights)
    else:
        drawn = draws.draw(draws.Rows(values, weights), len(values), seed, run.number)
        model.fit(np.repeat(drawn.values, drawn.weights.astype(np.int64), axis=0))
    return _numbered(model.predict(places))


def _numbered(labels: Any) -> Labels:
    return np.unique(np.asarray(labels), return_inverse=True)[1].astype(np.int32)


def agree(labels: Labels, mass: Floats, n_groups: int | None, most: int = 10) -> Consensus:
    """Find the groups that partitions agree on.

    Parameters
    ----------
    labels : ndarray of shape (n_runs, n_points), int32
    mass : ndarray of shape (n_points,), float64
    n_groups : int or None
        None takes the number that stays over the longest stretch of the tree.
    most : int
        Bound of that number.
    """
    matrix = consensus.coassociation(labels)
    tree = linkage.link_matrix(1.0 - matrix.astype(np.float64), mass, "average")
    if n_groups is None:
        n_groups = longest_lived(tree, most)
    groups, lifetime = _cut(matrix, tree, mass, n_groups)
    n_found = int(groups.max()) + 1
    by_point = consensus.mean_links(matrix, mass, groups, n_found)
    size = np.bincount(groups, mass, n_found).astype(np.float64)
    links = np.array([np.bincount(groups, mass * column, n_found) for column in by_point.T]).T
    links = links / size[:, None]
    firmness = Firmness(
        consensus.ambiguous_share(matrix, mass),
        _mean_ari(labels, mass),
        _contrast(links, size),
        lifetime,
    )
    return Consensus(labels, matrix, tree, groups, links, firmness)


def longest_lived(tree: Floats, most: int) -> int:
    """Return the number of groups, from 2, that stays over the longest stretch of heights."""
    most = min(most, len(tree))
    if most < 2:
        return 1 + len(tree[:1])
    return 2 + int(np.argmax([_lifetime(tree, k) for k in range(2, most + 1)]))


def _lifetime(tree: Floats, n_groups: int) -> float:
    """Return the heights between the joins that make and end a number of groups."""
    if not 2 <= n_groups <= len(tree):
        return 0.0
    return float(tree[1 - n_groups, 2] - tree[-n_groups, 2])


def _cut(
    matrix: NDArray[np.float32], tree: Floats, mass: Floats, n_groups: int
) -> tuple[Labels, float]:
    """Cut where there are enough groups of some size; points go to the group they are most with."""
    n_points = len(mass)
    if n_groups >= n_points:
        return linkage.cut(tree, n_points)[0], 0.0
    least = _LEAST_SHARE / n_groups * float(np.cumsum(mass)[-1])
    n_cut, groups = n_groups, linkage.cut(tree, n_groups)[0]
    for more in range(n_groups, min(n_points, 6 * n_groups + 10) + 1):
        own = linkage.cut(tree, more)[0]
        size = np.bincount(own, mass, more)
        if np.count_nonzero(size >= least) >= n_groups:
            n_cut = more
            large = np.sort(np.argsort(-size, kind="stable")[:n_groups])
            kept = np.full(more, n_groups, np.int32)
            kept[large] = np.arange(n_groups)
            groups = kept[own]
            break
    return _settle(matrix, mass, groups, n_groups), _lifetime(tree, n_cut)


def _settle(matrix: NDArray[np.float32], mass: Floats, groups: Labels, n_groups: int) -> Labels:
    """Let each point join the group that it is most often with, until none moves."""
    for _ in range(_MAX_ROUNDS):
        # Points of groups that are too small have the last number, and are in none.
        links = consensus.mean_links(matrix, mass, groups, n_groups + 1)[:, :n_groups]
        fresh = links.argmax(axis=1).astype(np.int32)
        if len(np.unique(fresh)) < n_groups:
            fresh = np.where(groups < n_groups, groups, fresh).astype(np.int32)
        if np.array_equal(fresh, groups):
            break
        groups = fresh
    return groups


def _contrast(links: Floats, size: Floats) -> float:
    if len(links) < 2:
        return 0.0
    others = links.copy()
    np.fill_diagonal(others, -np.inf)
    own = np.diag(links) - others.max(axis=1)
    return float(np.cumsum(own * size)[-1] / np.cumsum(size)[-1])


def _mean_ari(labels: Labels, mass: Floats) -> float:
    n_labels = int(labels.max()) + 1
    found = [
        agreement.adjusted_rand(agreement.table_of(one, other, mass, n_labels))
        for one, other in combinations(labels, 2)
    ]
    return math.fsum(found) / len(found)


def unstructured(points: Points, seed: int, number: int) -> Points:
    """Return as many rows and points without structure: uniform in the box of the components.

    Parameters
    ----------
    points : Points
    seed, number : int
        Of different numbers they are independent.
    """
    rows = draws.Rows(points.values, points.weights)
    frame = draws.frame_of(rows)
    box = draws.box_of(rows, frame)
    scores = draws.reference(box, len(rows.values), seed, _NULL_STREAM + number).values
    values = unproject_block(scores, frame)
    ones = np.ones(len(values))
    places = choose_places(Sample(values, ones, is_whole=True), len(points.places), seed)
    places = np.unique(places, axis=0)
    nearest = labels_of(values, places)
    mass = np.bincount(nearest, minlength=len(places)).astype(np.float64)
    used = mass > 0
    return Points(values, ones, places[used], mass[used])
