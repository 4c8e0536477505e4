"""Mixtures joined in pairs."""

from __future__ import annotations

import numpy as np
import pytest

from daskseg.kernels.mixture_steps import COVARIANCE_TYPES, Parameters
from daskseg.mixture.joining import Pair, breed, distinct, join, prune
from daskseg.mixture.sampled import SampledRows

CENTRES = np.array([[0.0, 0.0], [20.0, 0.0], [0.0, 20.0], [20.0, 20.0]])


def four_groups(n=400):
    random = np.random.default_rng(0)
    return CENTRES[np.arange(n) % 4] + random.normal(size=(n, 2))


def test_prune__takes_away_the_twin_by_hand():
    # Components 0 and 1 explain the same half of the rows, component 2 the other one.
    shares = np.array([[0.5, 0.5, 0.0]] * 10 + [[0.0, 0.0, 1.0]] * 10)
    alive, weights = prune(shares, np.ones(20), np.array([0.25, 0.25, 0.5]), 2)
    assert alive.tolist() == [1, 2]
    np.testing.assert_allclose(weights, [0.5, 0.5])


def test_prune__drops_what_has_no_weight_first():
    shares = np.array([[0.4, 0.0, 0.6]] * 5)
    alive, _ = prune(shares, np.ones(5), np.array([0.4, 0.0, 0.6]), 2)
    assert alive.tolist() == [0, 2]


@pytest.mark.parametrize("kind", COVARIANCE_TYPES)
def test_join__takes_the_better_components_of_both(kind):
    rows = SampledRows(four_groups(), np.ones(400), kind, None)
    # Each has two components for one group, and one for two others.
    one = rows.by_centres(np.array([[0.0, 0.5], [0.0, -0.5], [20.0, 0.0], [10.0, 20.0]]))
    two = rows.by_centres(np.array([[0.0, 20.0], [20.0, 20.0], [20.0, 0.5], [0.0, -9.0]]))
    found = join(Pair(one, two), rows)
    climbed = rows.climb(found, 50, 1e-8, in_passes=False)
    order = np.lexsort(climbed.parameters.means.T.round())
    np.testing.assert_allclose(climbed.parameters.means[order], CENTRES, atol=0.5)
    np.testing.assert_allclose(climbed.parameters.weights, 0.25, atol=1e-6)


def test_breed__is_never_worse_than_the_best():
    random = np.random.default_rng(1)
    values = random.standard_t(3, (600, 2))
    rows = SampledRows(values, np.ones(600), "full", None)
    climbs = [
        rows.climb(rows.by_centres(values[random.integers(0, 600, 4)]), 5, 1e-9, in_passes=False)
        for _ in range(5)
    ]
    best = breed(climbs, rows, in_tasks=False, local=True)
    again = breed(climbs, rows, in_tasks=True, local=True)
    assert best[0].log_density >= max(one.log_density for one in climbs)
    assert [one.log_density for one in best] == [one.log_density for one in again]
    assert len(distinct([*climbs, *climbs], 99)) == len(distinct(climbs, 99))


def test_worst__describes_the_rows_far_from_all_components():
    values = np.concatenate([four_groups(396), np.full((4, 2), 99.0)])
    rows = SampledRows(values, np.ones(400), "diag", None)
    model = Parameters(np.full(4, 0.25), CENTRES, np.ones((4, 2)))
    np.testing.assert_allclose(rows.worst(model, 0.0075).means[0], 99.0)
