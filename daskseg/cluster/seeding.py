"""First centres, and whole fits, on a weighted sample in memory.

Covers: greedy k-means++ and random rows, restarts with swaps and weighted Lloyd on the sample;
many numbers of clusters at once as independent jobs. Does not cover: drawing the sample
(see `cluster.survey`) or steps over all rows (see `cluster.kmeans`).

Reference: Arthur and Vassilvitskii, k-means++, SODA 2007 (greedy variant: several candidates
per centre, the best is kept).
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from daskseg.cluster.lloyd import iterate, sample_source
from daskseg.cluster.swaps import improve_by_swaps, sample_cost
from daskseg.engine import passes
from daskseg.kernels import assign, rng
from daskseg.kernels.assign import Exponents, exponents_of
from daskseg.kernels.moments import extent
from daskseg.kernels.sample import Sample, draw_index

Floats = NDArray[np.float64]
# With swaps four starts end at the best known cost of most sets; where starts cost next to
# nothing there are up to twelve.
RESTARTS, MOST_RESTARTS = 4, 12
# Arbitrary: row-centre pairs of all restarts together that still count as next to nothing.
_CHEAP_WORK = 500_000
# Restarts are compared near their fixpoints; only the best one goes all the way.
RESTART_TOL = 1e-6
MAX_ITER = 300
# Arbitrary: below so many row-centre pairs all restarts take less than starting tasks.
_SMALL_WORK = 200_000


class Job(NamedTuple):
    """One start on the sample.

    Attributes
    ----------
    n_clusters, restart : int
    method : {"k-means++", "random"}
    refine : bool
        Follow up with swaps and Lloyd's iteration.
    """

    n_clusters: int
    restart: int
    method: str
    refine: bool


class Start(NamedTuple):
    """Centres from one job, and their squared error on the sample."""

    cost: float
    centres: Floats


def restarts_for(n_rows: int, n_clusters: int) -> int:
    """Return how many starts "auto" means on a sample of so many rows."""
    return max(RESTARTS, min(MOST_RESTARTS, _CHEAP_WORK // (n_rows * n_clusters)))


def plus_plus(sample: Sample, n_clusters: int, random: np.random.Generator) -> Floats:
    """Choose centres by weighted greedy k-means++.

    Returns
    -------
    ndarray of shape (n_clusters, n_features), float64
        If the sample has fewer distinct rows, the first centre is repeated at the end.
    """
    values, weights, *_ = sample
    n_candidates = 2 + int(math.log(n_clusters))
    chosen = [draw_index(weights, random.random())]
    closest = assign.sq_distances(values, values[chosen])[0]
    while len(chosen) < n_clusters:
        mass = weights * closest
        if not mass.any():
            chosen += [chosen[0]] * (n_clusters - len(chosen))
            break
        candidates = [draw_index(mass, random.random()) for _ in range(n_candidates)]
        after = np.minimum(closest, assign.sq_distances(values, values[candidates]))
        costs = np.cumsum(weights * after, axis=1)[:, -1]
        best = int(np.argmin(costs))
        chosen.append(candidates[best])
        closest = after[best]
    return values[chosen]


def random_rows(sample: Sample, n_clusters: int, random: np.random.Generator) -> Floats:
    """Choose rows of the sample by weight, without putting any back."""
    mass = sample.weights.copy()
    chosen: list[int] = []
    for _ in range(n_clusters):
        if not mass.any():
            chosen.append(chosen[0])
            continue
        chosen.append(draw_index(mass, random.random()))
        mass[chosen[-1]] = 0.0
    return sample.values[chosen]


def _run_job(job: Job, sample: Sample, exponents: Exponents, tol: float, seed: int) -> Start:
    random = rng.generator(seed, rng.SEEDING, job.restart)
    choose = plus_plus if job.method == "k-means++" else random_rows
    centres = choose(sample, job.n_clusters, random)
    if job.refine:
        source = sample_source(sample, exponents)
        centres = improve_by_swaps(sample, source, centres, random)
        centres = iterate(source, centres, max_iter=MAX_ITER, tol=tol).centres
    return Start(sample_cost(sample, centres), centres)


def fit_sample(
    sample: Sample,
    ks: list[int],
    mean_variance: float,
    seed: int,
    *,
    n_init: int | None = None,
    method: str = "k-means++",
    refine: bool = True,
    local: bool = False,
) -> list[Floats]:
    """Find centres on the sample for each number of clusters.

    Parameters
    ----------
    sample : Sample
    ks : list of int
    mean_variance : float
        Scale of the tolerance at which restarts are compared.
    seed : int
    n_init : int, optional
        Starts per number of clusters, else `restarts_for`; the one of least cost wins, the
        first at a tie.
    method : {"k-means++", "random"}
    refine : bool
        Follow every start with swaps and Lloyd's iteration, and the best with its fixpoint.
    local : bool
        Stay in this process.

    Returns
    -------
    list of ndarray of shape (k, n_features), float64
        The first row is repeated if the sample has fewer than k distinct rows.
    """
    exponents = exponents_of(extent(sample.values, sample.weights, 0))
    jobs = [
        Job(k, restart, method, refine)
        for k in ks
        for restart in range(n_init or restarts_for(len(sample.weights), k))
    ]
    tol = RESTART_TOL * mean_variance
    if len(sample.weights) * max(ks) <= _SMALL_WORK:
        starts = [_run_job(job, sample, exponents, tol, seed) for job in jobs]
    else:
        starts = passes.run(
            _run_job, jobs, sample, exponents, tol, seed, name="restarts", local=local
        )
    result = []
    for k in ks:
        own = [start for job, start in zip(jobs, starts, strict=True) if job.n_clusters == k]
        # min takes the first of equals.
        centres = min(own, key=lambda start: start.cost).centres
        result.append(polish(sample, centres, k) if refine else centres)
    return result


def polish(sample: Sample, centres: Floats, n_clusters: int) -> Floats:
    """Take centres to their fixpoint on the sample.

    Clusters that the sample cannot fill become repeats of the first one: all rows may have
    points that the sample has not, and a step over them fills empty clusters.
    """
    exponents = exponents_of(extent(sample.values, sample.weights, 0), centres)
    source = sample_source(sample, exponents)
    found = iterate(source, centres, max_iter=MAX_ITER, tol=0.0).centres
    return np.concatenate([found, np.tile(found[:1], (n_clusters - len(found), 1))])
