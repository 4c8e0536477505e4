"""Euclidean silhouettes, from pairs of rows.

Covers: exact ones of few rows; of many rows an estimate with its interval, from rows drawn per
label against references drawn per label. Does not cover: squared distances and cosines, which
need no pairs (see `metrics.silhouette`).

See also: `benchmarks.coverage` (how often the interval holds the true value).
"""

from __future__ import annotations

import math
from functools import partial
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from daskseg.engine import passes
from daskseg.engine.blocks import Rows
from daskseg.kernels import grid, pairs, rng, strata
from daskseg.kernels.grid import GridSum
from daskseg.kernels.moments import frame_of
from daskseg.kernels.pairs import Compared
from daskseg.kernels.strata import Drawn, Quota, Strata
from daskseg.metrics.labelled import Codes, Labelled, check_label_count, split_rows

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
# Arbitrary: the pairs of so many rows of 20 features take about a second of one core.
EXACT_ROWS = 20_000
# Measured (`benchmarks.coverage`): with so many times as many references as rows, and at least
# so many per label, intervals are about 1 % wider than with all rows as references on round
# clusters, and a third where single far rows decide the mean distances (*audience*).
REFERENCES_PER_ROW = 50
MIN_REFERENCES = 400
# Arbitrary: fewer rows of a label do not tell how much they vary.
MIN_ROWS = 5
# Of a normal distribution: 95 % lie within so many standard deviations.
_Z_95 = 1.959963984540054
# Rows of a job: fixed, so that sums over jobs have one order.
_JOB_ROWS = 512


class Estimate(NamedTuple):
    """A mean silhouette, and the 95 % interval about it; a point if it is exact."""

    mean: float
    low: float
    high: float


class _Part(NamedTuple):
    """Weights and two draws of some blocks."""

    weights: GridSum
    draws: list[Drawn]


def _draw_block(rows: Rows, codes: Codes, exponent: Ints, quotas: list[Quota], seed: int) -> _Part:
    own = split_rows(rows, codes)
    return _Part(
        strata.sum_weights(own.weights, own.codes, len(codes.known), exponent),
        [strata.draw(own.values, own.weights, own.codes, own.rows, q, seed) for q in quotas],
    )


def _merge_parts(a: _Part, b: _Part, quotas: list[Quota]) -> _Part:
    draws = [strata.merge_drawn(*two) for two in zip(a.draws, b.draws, quotas, strict=True)]
    return _Part(grid.add(a.weights, b.weights), draws)


class Population(NamedTuple):
    """What is known of labelled rows after `collect`.

    Attributes
    ----------
    weights : GridSum of shape (n_labels,)
    exponent : ndarray of shape (1,), int64
        Of `weights`.
    draws : list of Strata
        As asked.
    """

    weights: GridSum
    exponent: Ints
    draws: list[Strata]

    @property
    def sizes(self) -> Floats:
        """Weight of each label, shape (n_labels,)."""
        return grid.to_floats(self.weights, self.exponent)


def collect(labelled: Labelled, wanted: list[tuple[Ints, int]], seed: int = 0) -> Population:
    """Draw rows of every label, once or several times. One pass, rarely two.

    Parameters
    ----------
    labelled : Labelled
    wanted : list of (rows per label, stream of random numbers)
    seed : int

    Raises
    ------
    InputError
        If there is one label only, or as many as rows.
    """
    n_labels = len(labelled.names)
    if n_labels < 2:
        check_label_count(n_labels, int(labelled.n_rows.sum()))
    exponent = np.array([frame_of(labelled.extent).weight])
    quotas = [
        strata.quota_of(rows, labelled.n_rows, labelled.weights, purpose)
        for rows, purpose in wanted
    ]
    while True:
        part: _Part = passes.reduce(
            labelled.blocks,
            _draw_block,
            partial(_merge_parts, quotas=quotas),
            labelled.codes,
            exponent,
            quotas,
            seed,
            name="draw-rows",
            scratch=labelled.scratch,
        )
        draws = [
            strata.finish_draw(drawn, quota, labelled.n_rows)
            for drawn, quota in zip(part.draws, quotas, strict=True)
        ]
        done = [draw for draw in draws if draw is not None]
        if len(done) == len(draws):
            break
        # By chance a floor has let too few rows pass.
        quotas = [quota._replace(floor=np.zeros(n_labels)) for quota in quotas]
    found = Population(part.weights, exponent, done)
    check_label_count(n_labels, float(sum(grid.to_fractions(part.weights, exponent))))
    return found


def is_exact(labelled: Labelled) -> bool:
    """Say whether all pairs of rows are few enough to be looked at."""
    return int(labelled.n_rows.sum()) <= EXACT_ROWS


def wanted_rows(labelled: Labelled, n_samples: int) -> Ints:
    """Return how many rows of each label are drawn: by the number of its rows."""
    n_rows = labelled.n_rows
    share = -(-n_rows * n_samples // max(1, int(n_rows.sum())))
    return np.asarray(np.minimum(np.maximum(share, MIN_ROWS), n_rows))


def wanted_references(labelled: Labelled, n_samples: int) -> Ints:
    """Return how many references of each label are drawn."""
    wanted = np.maximum(wanted_rows(labelled, REFERENCES_PER_ROW * n_samples), MIN_REFERENCES)
    return np.asarray(np.minimum(wanted, labelled.n_rows))


def _compare_job(
    rows: slice, values: Floats, codes: NDArray[np.int32], references: Strata, sizes: Floats
) -> Compared:
    return pairs.compare(values[rows], codes[rows], references, sizes)


def _influence_job(
    rows: slice,
    values: Floats,
    codes: NDArray[np.int32],
    found: Compared,
    shares: Floats,
    references: Strata,
    sizes: Floats,
) -> Floats:
    own = Compared._make(field[rows] for field in found)
    return pairs.influences(values[rows], codes[rows], own, shares[rows], references, sizes)


def _jobs(n_rows: int) -> list[slice]:
    return [slice(start, start + _JOB_ROWS) for start in range(0, n_rows, _JOB_ROWS)]


def estimate(labelled: Labelled, n_samples: int, seed: int = 0) -> Estimate:
    """Compute the mean Euclidean silhouette, or estimate it where there are many rows.

    One pass after `label_rows`; what it draws is compared in this process.

    Parameters
    ----------
    labelled : Labelled
    n_samples : int
        Rows that are drawn above `EXACT_ROWS`, in proportion to the labels.
    seed : int
    """
    if is_exact(labelled):
        found = collect(labelled, [(labelled.n_rows, rng.ANCHORS)], seed)
        anchors = references = found.draws[0]
    else:
        wanted = [
            (wanted_rows(labelled, n_samples), rng.ANCHORS),
            (wanted_references(labelled, n_samples), rng.PARTNERS),
        ]
        found = collect(labelled, wanted, seed)
        anchors, references = found.draws
    sizes, codes = found.sizes, strata.codes_of(anchors)
    jobs = _jobs(len(codes))
    parts: list[Compared] = passes.run(
        _compare_job,
        jobs,
        anchors.values,
        codes,
        references,
        sizes,
        name="silhouette-pairs",
        local=True,
    )
    compared = Compared._make(np.concatenate(column) for column in zip(*parts, strict=True))
    weights = grid.to_fractions(found.weights, found.exponent)
    pulls = None
    if references.variances.any():
        shares = pairs.shares_of(anchors, weights)
        pulled = passes.run(
            _influence_job,
            jobs,
            anchors.values,
            codes,
            compared,
            shares,
            references,
            sizes,
            name="silhouette-influence",
            local=True,
        )
        pulls = np.cumsum(pulled, axis=0)[-1]
    mean, variance = pairs.mean_and_variance(anchors, compared.scores, weights, references, pulls)
    reach = _Z_95 * math.sqrt(variance)
    return Estimate(mean, max(-1.0, mean - reach), min(1.0, mean + reach))
