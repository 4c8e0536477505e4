"""The weighted sample."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from daskseg.kernels import sample


def draw(rows, n_wanted, *, seed=0, weights=None, cuts=(), backwards=False):
    bounds = [0, *cuts, len(rows)]
    centre = rows.mean(axis=0)
    scatter = float(((rows - centre) ** 2).sum() / len(rows))
    parts = [
        sample.draw(
            rows[a:b], None if weights is None else weights[a:b], a, centre, scatter, seed, n_wanted
        )
        for a, b in pairwise(bounds)
    ]
    total = None
    for part in parts[::-1] if backwards else parts:
        total = part if total is None else sample.merge_samples(total, part, n_wanted)
    whole = float(len(rows)) if weights is None else math.fsum(weights)
    return sample.finish_sample(total, whole, n_wanted)


ROWS = np.random.default_rng(0).lognormal(0, 1.5, (3000, 3))


@given(st.lists(st.integers(0, 3000), max_size=5), st.booleans())
def test_sample__is_the_same_for_any_cut_and_order(cuts, backwards):
    whole = draw(ROWS, 200)
    parts = draw(ROWS, 200, cuts=sorted(cuts), backwards=backwards)
    np.testing.assert_array_equal(whole.values, parts.values)
    np.testing.assert_array_equal(whole.weights, parts.weights)


def test_sample__weights_sum_to_all_rows():
    found = draw(ROWS, 200)
    assert len(found.weights) == 200
    assert not found.is_whole
    assert math.isclose(math.fsum(found.weights), 3000, rel_tol=1e-14)


def test_sample__estimates_without_bias():
    """The mean of 200 seeds lies within four of its standard errors of the truth."""
    estimates = []
    for seed in range(200):
        found = draw(ROWS, 100, seed=seed)
        estimates.append(float((found.weights * np.minimum(found.values[:, 0], 5.0)).sum() / 3000))
    truth = float(np.minimum(ROWS[:, 0], 5.0).mean())
    error = np.std(estimates) / math.sqrt(200)
    assert abs(np.mean(estimates) - truth) < 4 * error


def test_sample__prefers_rows_far_from_the_mean():
    far = np.argsort(((ROWS - ROWS.mean(axis=0)) ** 2).sum(axis=1))[-30:]
    found = draw(ROWS, 200)
    kept = sum((found.values == ROWS[row]).all(axis=1).any() for row in far)
    assert kept >= 25


def test_sample__differs_by_seed():
    assert not np.array_equal(draw(ROWS, 200).values, draw(ROWS, 200, seed=1).values)


def test_sample__of_few_rows_is_all_of_them_merged_and_sorted():
    rows = np.array([[2.0], [1.0], [2.0], [-0.0], [0.0]])
    found = draw(rows, 10, weights=np.array([1.0, 3.0, 2.0, 1.0, 0.0]))
    assert found.is_whole
    assert found.values.tolist() == [[0.0], [1.0], [2.0]]
    assert found.weights.tolist() == [1.0, 3.0, 3.0]


def test_sample__of_constant_rows_needs_no_scatter():
    found = draw(np.ones((50, 2)), 10)
    assert found.values.tolist() == [[1.0, 1.0]] * 10
    assert np.allclose(found.weights, 5.0)


def test_sample__leaves_out_rows_of_weight_zero():
    weights = np.zeros(3000)
    weights[:500] = 1.0
    found = draw(ROWS, 200, weights=weights)
    known = {row.tobytes() for row in ROWS[:500]}
    assert all(row.tobytes() in known for row in found.values)
    assert math.isclose(math.fsum(found.weights), 500, rel_tol=1e-14)
