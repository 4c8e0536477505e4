"""All criteria for a range of numbers of clusters, on a weighted sample in memory.

Covers: gap, prediction strength, agreement of resamples, borders; as independent jobs. Does not
cover: which number to take (see `model_selection.recommend`).

What resamples of a few thousand rows show is how ambiguous a partition is. It is not sampling
noise: with millions of rows there is next to none.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from daskseg.engine import passes
from daskseg.errors import InputError, UsageError
from daskseg.kernels import agreement, draws
from daskseg.kernels.draws import Box, Rows
from daskseg.kernels.labels import nearest
from daskseg.model_selection.criteria import gap as gaps
from daskseg.model_selection.criteria import limits
from daskseg.model_selection.criteria.border import border_density
from daskseg.model_selection.criteria.fits import fit_all, refine

Floats = NDArray[np.float64]
# Arbitrary: rows of a resample or a reference, and those on which partitions are compared.
ROWS, ROWS_PER_CLUSTER = 4_096, 50
# Borders are thin: of 16,384 rows, one of 20 equal clusters has 800.
BORDER_ROWS = 16_384
# Resamples and references of the first round, and of the second where they can change a verdict.
FIRST, SECOND = 4, 4
# References whose borders are measured.
_BORDER_REFERENCES = 2
# Standard errors from a limit at which a second round is not needed.
_CLEAR = 2.0
# Below this share of the scatter, distances of float32 are mostly noise.
_FINE_SHARE = 1e-5
# Numbers of draws: resamples and references count from 0.
_COMPARED, _BORDER, _FRESH = 2_000, 2_001, 3_000


@dataclass(frozen=True)
class Criteria:
    """The criteria at one number of clusters; all but the last are columns of ``curve.csv``.

    Attributes
    ----------
    k : int
    gap, gap_se : float
        Gap statistic against uniform rows in the box of the components, and its standard error.
    gap_bound : float
        The 1-SE rule stops at the least k with ``gap >= gap_bound``.
    prediction_strength, prediction_strength_se : float
        Of pairs of resamples, and its standard error.
    stability, stability_low : float
        Adjusted Rand index of resamples with the partition itself: mean, least.
    mean_jaccard, min_jaccard : float
        How well clusters are found again in resamples: mean, and the weakest cluster.
    border_density : float
        Rows at the most crowded border between two clusters, by rows at the densest place of
        the poorer one; cautiously, so that few rows do not pass for none. NaN for one cluster.
    border_limit : float
        Clusters are apart up to this: `limits.BORDER` times what rows without structure show.
    n_resamples : int
        Twice as many fits, with the references.
    jaccards : tuple of k floats
        How well each cluster is found again, in the order of the centres.
    """

    k: int
    gap: float
    gap_se: float
    gap_bound: float
    prediction_strength: float
    prediction_strength_se: float
    stability: float
    stability_low: float
    mean_jaccard: float
    min_jaccard: float
    border_density: float
    border_limit: float
    n_resamples: int
    jaccards: tuple[float, ...]

    def columns(self) -> dict[str, Any]:
        """Return the row of ``curve.csv``."""
        return {name: value for name, value in asdict(self).items() if name != "jaccards"}


class _Job(NamedTuple):
    """One set of rows to fit; `rows` of None asks for a reference."""

    number: int
    ks: tuple[int, ...]
    rows: Rows | None


class _Border(NamedTuple):
    """One partition whose borders are measured."""

    centres: Floats


class _Shared(NamedTuple):
    """What all jobs need."""

    seed: int
    dtype: Any
    box: Box
    n_rows: int
    n_border_rows: int
    compared: Rows
    border: Rows
    known: dict[int, Floats]


class _Replica(NamedTuple):
    """What the fits on one set of rows gave; labels of the compared rows, or borders."""

    log_sse: dict[int, float]
    labels: dict[int, NDArray[np.int32]]
    borders: dict[int, float]


def measure(
    values: Floats,
    weights: Floats,
    centres_by_k: Mapping[int, Floats],
    seed: int = 0,
    *,
    local: bool = False,
) -> list[Criteria]:
    """Measure all criteria of given partitions on a weighted sample.

    Parameters
    ----------
    values : ndarray of shape (n_rows, n_features), float64
    weights : ndarray of shape (n_rows,), float64
        Repeats of the rows, zero or more.
    centres_by_k : mapping of int to ndarray of shape (k, n_features)
        The partitions: best known centres of each number of clusters.
    seed : int
    local : bool
        Stay in this process even if there is a cluster.

    Returns
    -------
    list of Criteria
        By rising k, beginning with one cluster whether it was asked for or not. The bits do not
        depend on scheduler, workers or threads.

    Raises
    ------
    UsageError
        If there is no partition, or one does not fit the rows.
    InputError
        If no row has weight, or all rows are alike.

    Notes
    -----
    Four resamples and four references of 4,096 rows; four more of each for those numbers of
    clusters whose verdict they can change. Measured with k = 2 to 20 on 100,000 rows of 20
    features: 2 to 3 s of CPU time. Memory: two copies of the sample, and a few MB a job.
    """
    known = _check(values, weights, centres_by_k)
    used = weights > 0
    rows = Rows(values[used].astype(np.float64, copy=False), weights[used].astype(np.float64))
    shared = _share(rows, known, seed)
    ks = sorted({1, *known})
    cut = [k for k in ks if k > 1]
    borders = [_Border(known[k]) for k in cut]
    found = _run(rows, shared, (*ks, ks[-1] + 1), range(FIRST), borders, local=local)
    crowded = dict(zip(cut, found.borders, strict=True))
    replicas, references = found.replicas, found.references
    unsure = _unsure(ks, shared, replicas, references)
    if unsure:
        numbers = range(FIRST, FIRST + SECOND)
        found = _run(rows, shared, unsure, numbers, [], local=local)
        replicas, references = replicas + found.replicas, references + found.references
    return _finish(ks, shared, replicas, references, crowded)


class _Found(NamedTuple):
    replicas: list[_Replica]
    references: list[_Replica]
    borders: list[float]


def _check(
    values: Floats, weights: Floats, centres_by_k: Mapping[int, Floats]
) -> dict[int, Floats]:
    if not centres_by_k:
        raise UsageError("there is no number of clusters to measure: the range of k is empty.")
    known = {int(k): np.asarray(centres, dtype=np.float64) for k, centres in centres_by_k.items()}
    for k, centres in known.items():
        if k < 1 or centres.shape != (k, values.shape[1]):
            raise UsageError(
                f"the centres of k={k} have the shape {centres.shape}, not "
                f"{(k, values.shape[1])}. With fewer distinct rows than clusters, ask for fewer."
            )
    n_used = int(np.count_nonzero(weights > 0))
    if n_used == 0:
        raise InputError(
            f"none of the {len(weights)} rows has a weight above zero: there is nothing to "
            "compare. Give some rows a weight."
        )
    if (values[weights > 0] == values[weights > 0][:1]).all():
        raise InputError(
            f"the {n_used} rows are alike in the features that are used: no number of clusters "
            "is better than one. Use features that differ."
        )
    return known


def _share(rows: Rows, known: dict[int, Floats], seed: int) -> _Shared:
    most = max(known)
    limit = max(ROWS, ROWS_PER_CLUSTER * most)
    compared = draws.at_most(rows, limit, seed, _COMPARED)
    border = draws.at_most(rows, max(limit, BORDER_ROWS), seed, _BORDER)
    # Half of few rows: two resamples should not be the same rows.
    behind = draws.n_behind(rows)
    n_rows = max(2, min(limit, behind // 2))
    least = min(nearest(compared.values, centres)[1].mean() for centres in known.values())
    scatter = nearest(compared.values, compared.values.mean(axis=0)[None])[1].mean()
    dtype = np.float64 if least < _FINE_SHARE * scatter else np.float32
    box = draws.box_of(draws.at_most(rows, BORDER_ROWS, seed, _BORDER))
    n_border_rows = min(max(limit, BORDER_ROWS), behind)
    return _Shared(seed, dtype, box, n_rows, n_border_rows, compared, border, known)


def _run(
    rows: Rows,
    shared: _Shared,
    ks: Sequence[int],
    numbers: range,
    borders: list[_Border],
    *,
    local: bool,
) -> _Found:
    """Fit resamples and references of some numbers, and measure borders, all at once."""
    jobs: list[_Job | _Border] = []
    for number in numbers:
        drawn = draws.draw(rows, shared.n_rows, shared.seed, number)
        jobs += [_Job(number, tuple(ks), drawn), _Job(number, tuple(ks), None)]
    done = passes.run(_run_job, [*jobs, *borders], shared, name="criteria", local=local)
    n_fits = 2 * len(numbers)
    return _Found(done[0:n_fits:2], done[1:n_fits:2], done[n_fits:])


def _run_job(job: _Job | _Border, shared: _Shared) -> _Replica | float:
    if isinstance(job, _Border):
        rows = shared.border
        return border_density(rows.values, rows.weights, job.centres, cautious=True)
    if job.rows is None:
        return _run_reference(job, shared)
    fits = fit_all(job.rows, job.ks, shared.seed, 2 * job.number, shared.dtype, shared.known)
    labels = {
        k: nearest(shared.compared.values, fit.centres)[0]
        for k, fit in fits.items()
        if k in shared.known and k > 1
    }
    return _Replica({k: fit.log_sse for k, fit in fits.items()}, labels, {})


def _run_reference(job: _Job, shared: _Shared) -> _Replica:
    rows = draws.reference(shared.box, shared.n_rows, shared.seed, job.number)
    fits = fit_all(rows, job.ks, shared.seed, 2 * job.number + 1, shared.dtype)
    borders: dict[int, float] = {}
    if job.number < _BORDER_REFERENCES:
        number = _FRESH + job.number
        fresh = draws.reference(shared.box, shared.n_border_rows, shared.seed, number)
        for k, fit in fits.items():
            if k in shared.known and k > 1:
                centres = refine(fresh, fit.centres, shared.dtype)
                borders[k] = border_density(fresh.values, fresh.weights, centres, cautious=False)
    return _Replica({k: fit.log_sse for k, fit in fits.items()}, {}, borders)


class _Agreement(NamedTuple):
    """Per resample: adjusted Rand indices and Jaccard indices; per pair: prediction strength."""

    rand: list[float]
    jaccards: Floats
    strengths: list[float]


def _agreement(k: int, shared: _Shared, replicas: list[_Replica]) -> _Agreement:
    own = nearest(shared.compared.values, shared.known[k])[0]
    weights = shared.compared.weights
    labels = [replica.labels[k] for replica in replicas if k in replica.labels]
    tables = [agreement.table_of(own, other, weights, k) for other in labels]
    strengths = []
    for one, other in zip(labels[0::2], labels[1::2], strict=False):
        table = agreement.table_of(one, other, weights, k)
        both = agreement.prediction_strength(table), agreement.prediction_strength(table.T)
        strengths.append((both[0] + both[1]) / 2.0)
    return _Agreement(
        [agreement.adjusted_rand(table) for table in tables],
        np.array([agreement.jaccards(table) for table in tables]),
        strengths,
    )


def _mean_se(values: Sequence[float]) -> tuple[float, float]:
    mean = math.fsum(values) / len(values)
    if len(values) < 2:
        return mean, 0.0
    spread = math.fsum((value - mean) ** 2 for value in values) / (len(values) - 1)
    return mean, math.sqrt(spread / len(values))


def _gaps(ks: Sequence[int], data: list[_Replica], references: list[_Replica]) -> dict[int, Any]:
    return {
        k: gaps.gap_of(
            [one.log_sse[k] for one in data if k in one.log_sse],
            [one.log_sse[k] for one in references if k in one.log_sse],
        )
        for k in ks
    }


def _unsure(
    ks: list[int], shared: _Shared, replicas: list[_Replica], references: list[_Replica]
) -> list[int]:
    """Return the numbers of clusters at which more resamples can change a verdict."""
    unsure = set()
    for k in ks:
        if k == 1:
            continue
        found = _agreement(k, shared, replicas)
        weakest = found.jaccards[:, int(np.argmin(found.jaccards.mean(axis=0)))].tolist()
        checks = [
            (found.rand, (limits.STABLE,)),
            (weakest, (limits.REFOUND, limits.VALID)),
            (found.strengths, (limits.STRENGTH,)),
        ]
        for values, lines in checks:
            mean, se = _mean_se(values)
            if any(abs(mean - line) < _CLEAR * se for line in lines):
                unsure.add(k)
    wanted = (*ks, ks[-1] + 1)
    found_gaps = _gaps(wanted, replicas, references)
    bounds = gaps.bounds(found_gaps)
    for place, k in enumerate(ks):
        margin = abs(found_gaps[k].gap - bounds[k])
        if margin < found_gaps[wanted[place + 1]].se:
            unsure |= {k, wanted[place + 1]}
        if found_gaps[k].gap >= bounds[k] and margin >= found_gaps[wanted[place + 1]].se:
            break
    return sorted(unsure)


def _finish(
    ks: list[int],
    shared: _Shared,
    replicas: list[_Replica],
    references: list[_Replica],
    crowded: dict[int, float],
) -> list[Criteria]:
    found_gaps = _gaps((*ks, ks[-1] + 1), replicas, references)
    bounds = gaps.bounds(found_gaps)
    rows = []
    for k in ks:
        gap = {"gap": found_gaps[k].gap, "gap_se": found_gaps[k].se, "gap_bound": bounds[k]}
        if k == 1:
            rows.append(_one_cluster(gap, len(replicas[:FIRST])))
            continue
        found = _agreement(k, shared, replicas)
        strength, strength_se = _mean_se(found.strengths)
        per_cluster = found.jaccards.mean(axis=0)
        empty = [one.borders[k] for one in references if k in one.borders]
        rows.append(
            Criteria(
                k=k,
                **gap,
                prediction_strength=strength,
                prediction_strength_se=strength_se,
                stability=_mean_se(found.rand)[0],
                stability_low=min(found.rand),
                mean_jaccard=float(per_cluster.mean()),
                min_jaccard=float(per_cluster.min()),
                border_density=crowded[k],
                border_limit=limits.BORDER * min(1.0, _mean_se(empty)[0]),
                n_resamples=len(found.rand),
                jaccards=tuple(per_cluster.tolist()),
            )
        )
    return rows


def _one_cluster(gap: dict[str, float], n_resamples: int) -> Criteria:
    return Criteria(
        k=1,
        **gap,
        prediction_strength=1.0,
        prediction_strength_se=0.0,
        stability=1.0,
        stability_low=1.0,
        mean_jaccard=1.0,
        min_jaccard=1.0,
        border_density=float("nan"),
        border_limit=float("nan"),
        n_resamples=n_resamples,
        jaccards=(1.0,),
    )
