"""Mixtures joined in pairs: the better components of both, found on rows in memory.

Covers: the components of two mixtures pruned to the number of one, and generations of such
children. Does not cover: the first mixtures (see `mixture.starts`).

A single climb ends at the nearest of many local maxima. Two of them are seldom wrong about the
same rows: of all their components, those are taken away one by one that explain least that
others do not.
"""

from __future__ import annotations

from itertools import combinations
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from daskseg.engine import passes
from daskseg.kernels import mixture_scores
from daskseg.kernels.mixture_steps import Parameters
from daskseg.mixture.climb import Climb, ready_for
from daskseg.mixture.sampled import SampledRows

Floats = NDArray[np.float64]
# Of the mean log-density: mixtures that are closer are one, and a generation that gains less is
# the last.
_EQUAL, _LEAST_GAIN = 1e-6, 2e-4
_POPULATION, _MAX_GENERATIONS, CHILD_STEPS = 6, 6, 8
# Of fifteen pairs, those of the best.
_MAX_PAIRS = 8
# Arbitrary: so many memberships are looked at to prune, in less time than a few steps take.
_PRUNED_VALUES = 100_000
# A share that is no more than this is as good as none, and has a logarithm.
_LEAST = 1e-300


class Pair(NamedTuple):
    """Two mixtures of as many components."""

    a: Parameters
    b: Parameters


def join(pair: Pair, rows: SampledRows) -> Parameters:
    """Put the components of two mixtures together, and take away half of them.

    Parameters
    ----------
    pair : Pair
    rows : SampledRows
    """
    a, b = pair
    k = len(a.weights)
    covariances = (a.covariances + b.covariances) / 2.0
    if rows.covariance_type != "tied":
        covariances = np.concatenate([a.covariances, b.covariances])
    both = Parameters(
        np.concatenate([a.weights, b.weights]) / 2.0,
        np.concatenate([a.means, b.means]),
        covariances,
    )
    step = -(-len(rows.values) * 2 * k // _PRUNED_VALUES)
    values, heavy = rows.values[::step], rows.weights[::step]
    shares = mixture_scores.memberships(values, ready_for(both, rows.covariance_type))
    alive, weights = prune(shares, heavy, both.weights, k)
    if rows.covariance_type != "tied":
        covariances = covariances[alive]
    return Parameters(weights, both.means[alive], covariances)


def prune(
    shares: Floats, heavy: Floats, weights: Floats, n_wanted: int
) -> tuple[NDArray[np.intp], Floats]:
    """Take away components, each time the one without which the likelihood falls least.

    Parameters
    ----------
    shares : ndarray of shape (n_rows, n_components), float64
        Memberships.
    heavy : ndarray of shape (n_rows,), float64
        Weights of the rows.
    weights : ndarray of shape (n_components,), float64
    n_wanted : int

    Returns
    -------
    alive : ndarray of shape (n_wanted,)
        The components that are left.
    weights : ndarray of shape (n_wanted,), float64
        Estimated anew as the others go.
    """
    alive = np.flatnonzero(weights > 0)
    shares = np.maximum(shares[:, alive], _LEAST)
    weights = weights[alive] / np.cumsum(weights[alive])[-1]
    total = np.cumsum(heavy)[-1]
    while True:
        own = shares / np.cumsum(shares, axis=1)[:, -1:]
        fresh = np.cumsum(own * heavy[:, None], axis=0)[-1] / total
        if len(alive) <= n_wanted:
            return alive, fresh / np.cumsum(fresh)[-1]
        shares = shares * (fresh / weights)
        weights = fresh
        rest = np.cumsum(shares, axis=1)[:, -1:]
        left = np.maximum((rest - shares) / rest, _LEAST)
        fall = -np.cumsum(np.log(left) * heavy[:, None], axis=0)[-1] / total
        # What is left shares the weight of what goes.
        fall += np.log(np.maximum(1.0 - weights, _LEAST))
        kept = np.arange(len(alive)) != np.argmin(fall)
        alive, shares, weights = alive[kept], shares[:, kept], weights[kept]
        freed = np.cumsum(weights)[-1]
        shares, weights = np.maximum(shares / freed, _LEAST), weights / freed


def _grow(pair: Pair, rows: SampledRows) -> Climb:
    return rows.climb(join(pair, rows), CHILD_STEPS, _EQUAL, in_passes=False)


def distinct(climbs: list[Climb], n_wanted: int) -> list[Climb]:
    """Return the most likely mixtures, without those that are the same."""
    kept: list[Climb] = []
    for one in sorted(climbs, key=lambda climb: -climb.log_density):
        if len(kept) == n_wanted:
            break
        if not kept or kept[-1].log_density - one.log_density > _EQUAL:
            kept.append(one)
    return kept


def breed(climbs: list[Climb], rows: SampledRows, *, in_tasks: bool, local: bool) -> list[Climb]:
    """Join the best mixtures in pairs, generation by generation, until nothing is gained.

    Parameters
    ----------
    climbs : list of Climb
    rows : SampledRows
    in_tasks : bool
        Run joins as tasks; in this process otherwise.
    local : bool
        Stay in this process even if there is a cluster.

    Returns
    -------
    list of Climb
        The best ones, by falling log-density.
    """
    best = distinct(climbs, _POPULATION)
    tried: set[tuple[float, float]] = set()
    for _ in range(_MAX_GENERATIONS):
        pairs = [
            (a, b) for a, b in combinations(best, 2) if (a.log_density, b.log_density) not in tried
        ][:_MAX_PAIRS]
        if not pairs:
            break
        tried.update((a.log_density, b.log_density) for a, b in pairs)
        items = [Pair(a.parameters, b.parameters) for a, b in pairs]
        if in_tasks:
            children = passes.run(_grow, items, rows, name="joins", local=local)
        else:
            children = [_grow(item, rows) for item in items]
        before = best[0].log_density
        best = distinct(best + children, _POPULATION)
        if best[0].log_density - before <= _LEAST_GAIN:
            break
    return best
