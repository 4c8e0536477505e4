from __future__ import annotations

import numpy as np
import pytest

from daskseg.cluster.lloyd import sample_source
from daskseg.cluster.swaps import improve_by_swaps, sample_cost
from daskseg.kernels import rng
from daskseg.kernels.assign import exponents_of
from daskseg.kernels.moments import extent
from daskseg.kernels.sample import Sample, draw_index


def sample_of(values, weights=None):
    rows = np.asarray(values, dtype=np.float64)
    mass = np.ones(len(rows)) if weights is None else np.asarray(weights, dtype=np.float64)
    return Sample(rows, mass, True)


def improve(sample, centres, seed=0):
    source = sample_source(sample, exponents_of(extent(sample.values, sample.weights, 0)))
    random = rng.generator(seed, rng.SEEDING, 0)
    return improve_by_swaps(sample, source, np.asarray(centres, dtype=np.float64), random)


def test_improve_by_swaps__frees_a_centre_that_lloyd_cannot():
    # Three pairs; two centres share the first, one is between the other two: a Lloyd fixpoint.
    sample = sample_of([[0.0], [1.0], [100.0], [101.0], [200.0], [201.0]])
    stuck = [[0.0], [1.0], [150.5]]
    assert sample_cost(sample, np.array(stuck)) == 2 * 49.5**2 + 2 * 50.5**2
    found = improve(sample, stuck)
    assert sorted(found.ravel().tolist()) == [0.5, 100.5, 200.5]
    assert sample_cost(sample, found) == 1.5


def test_improve_by_swaps__keeps_an_optimum():
    sample = sample_of([[0.0], [1.0], [100.0], [101.0]])
    assert improve(sample, [[0.5], [100.5]]).tolist() == [[0.5], [100.5]]


def test_improve_by_swaps__leaves_one_centre_alone():
    assert improve(sample_of([[0.0], [4.0]]), [[1.0]]).tolist() == [[2.0]]


def test_improve_by_swaps__heeds_weights():
    # The far row weighs next to nothing: no centre is spent on it.
    sample = sample_of([[0.0], [10.0], [1000.0]], [1.0, 1.0, 1e-9])
    found = np.sort(improve(sample, [[0.0], [1000.0]]).ravel())
    assert found[0] == 0.0
    assert found[1] == pytest.approx(10.0, abs=1e-5)


@pytest.mark.parametrize("seed", range(5))
def test_improve_by_swaps__never_costs_more(seed):
    random = np.random.default_rng(seed)
    sample = sample_of(random.normal(size=(200, 3)), random.uniform(0.1, 2, 200))
    start = sample.values[random.choice(200, 6, replace=False)]
    assert sample_cost(sample, improve(sample, start)) <= sample_cost(sample, start)


def test_draw_index__follows_the_mass():
    mass = np.array([0.0, 1.0, 0.0, 3.0, 0.0])
    assert [draw_index(mass, u) for u in (0.0, 0.24, 0.25, 0.99)] == [1, 1, 3, 3]
