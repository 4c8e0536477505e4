"""First centres on a weighted sample."""

from __future__ import annotations

import numpy as np
import pytest

from daskseg.cluster.seeding import fit_sample, plus_plus, random_rows, restarts_for
from daskseg.kernels import rng
from daskseg.kernels.sample import Sample


def sample_of(values, weights):
    return Sample(np.array(values, float)[:, None], np.array(weights, float), is_whole=True)


def draws(choose, sample, n_clusters, n_draws=400):
    return [
        choose(sample, n_clusters, rng.generator(seed, rng.SEEDING)).ravel().tolist()
        for seed in range(n_draws)
    ]


def test_plus_plus__draws_by_weight_times_squared_distance():
    """From 0, the row 1 has the mass 1,000 and the row 5 has 0.025."""
    found = draws(plus_plus, sample_of([0, 1, 5], [1e9, 1e3, 1e-3]), 2, 100)
    assert found == [[0.0, 1.0]] * 100


def test_plus_plus__keeps_the_better_of_two_candidates():
    """From 0, both others have the same mass, and 1 leaves less: 3/4 of two draws have it."""
    found = draws(plus_plus, sample_of([0, 1, 3], [9e9, 9, 1]), 2)
    assert 0.68 < sum(pair == [0.0, 1.0] for pair in found) / 400 < 0.82


@pytest.mark.parametrize("choose", [plus_plus, random_rows])
def test_seeding__first_row_is_drawn_by_weight(choose):
    found = draws(choose, sample_of([0, 1, 2], [1, 2, 1]), 1)
    counts = np.bincount([int(one[0]) for one in found], minlength=3)
    # Chi-square with two degrees of freedom: 13.8 is exceeded once in a thousand times.
    expected = np.array([100, 200, 100])
    assert ((counts - expected) ** 2 / expected).sum() < 13.8


@pytest.mark.parametrize("choose", [plus_plus, random_rows])
def test_seeding__repeats_the_first_row_when_rows_run_out(choose):
    for found in draws(choose, sample_of([4, 7], [1, 1]), 4, 20):
        assert sorted(set(found)) == [4.0, 7.0]
        assert found[2:] == [found[0]] * 2


def test_random_rows__puts_none_back():
    for found in draws(random_rows, sample_of([0, 1, 2], [1, 1000, 1]), 3, 20):
        assert sorted(found) == [0.0, 1.0, 2.0]


def test_fit_sample__runs_jobs_as_it_runs_a_loop(monkeypatch):
    random = np.random.default_rng(0)
    sample = Sample(random.normal(size=(300, 2)), random.random(300), is_whole=True)
    loop = fit_sample(sample, [2, 5], 1.0, 0)
    monkeypatch.setattr("daskseg.cluster.seeding._SMALL_WORK", 0)
    for left, right in zip(loop, fit_sample(sample, [2, 5], 1.0, 0), strict=True):
        np.testing.assert_array_equal(left, right)


@pytest.mark.parametrize(("n_rows", "expected"), [(10, 12), (10_000, 10), (50_000, 4)])
def test_restarts_for__grow_where_they_are_cheap(n_rows, expected):
    assert restarts_for(n_rows, 5) == expected
