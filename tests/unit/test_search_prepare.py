"""A sample made ready for the search."""

from __future__ import annotations

import math

import numpy as np
import pytest

from daskseg.cluster.search import prepare
from daskseg.kernels.sample import Sample, SamplePart


def drawn(n_rows=500, n_features=3):
    random = np.random.default_rng(0)
    values = random.lognormal(size=(n_rows, n_features)) * 1000
    own = random.integers(0, 4, n_rows).astype(float)
    importance = own * random.uniform(1, 3, n_rows)
    priority = importance / random.uniform(0, 1, n_rows)
    part = SamplePart(priority, importance, own, np.arange(n_rows), values)
    return Sample(values, own * np.maximum(1.0, 2.0 / np.maximum(importance, 1e-9)), False, part)


def whole(values, weights=None):
    rows = np.asarray(values, np.float64)
    rows = rows.reshape(len(rows), -1)
    return Sample(rows, np.ones(len(rows)) if weights is None else np.asarray(weights, float), True)


def test_prepare__centres_and_scales_by_a_power_of_two():
    sample = drawn()
    ready = prepare.prepare(sample, 0)
    rows, weights = ready.points
    assert 0.5 <= np.abs(rows).max() < 1
    assert math.frexp(ready.scale)[0] == 0.5
    np.testing.assert_allclose(weights @ rows / weights.sum(), 0, atol=1e-14)
    np.testing.assert_allclose(ready.to_values(rows), sample.values[ready.places], rtol=1e-12)
    assert len(rows) == np.count_nonzero(sample.weights)
    assert (weights > 0).all()
    assert ready.to_sse(3.0) == 3.0 / ready.scale**2


def test_prepare__sorts_by_priority():
    sample = drawn()
    ready = prepare.prepare(sample, 0)
    np.testing.assert_array_equal(ready.priority, sample.drawn.priority[ready.places])
    assert (np.diff(ready.priority) <= 0).all()
    np.testing.assert_array_equal(ready.points.weights, sample.weights[ready.places])


def test_prepare__gives_a_whole_sample_priorities_of_its_own():
    """Far and heavy rows come first more often."""
    values = np.concatenate([np.zeros(500), np.ones(500), [1000.0]])
    weights = np.concatenate([np.full(500, 1.0), np.full(500, 9.0), [1.0]])
    firsts = []
    for seed in range(20):
        ready = prepare.prepare(whole(values, weights), seed)
        firsts.append(ready.places[:100])
        assert 1000 in ready.places[:20]
    heavy = np.mean(np.concatenate(firsts) >= 500)
    assert 0.85 < heavy < 0.95
    assert not np.array_equal(firsts[0], firsts[1])


@pytest.mark.parametrize("values", [[7.0], [7.0, 7.0, 7.0], [0.0, 0.0], [5e-324, 0.0]])
def test_prepare__takes_rows_without_spread(values):
    ready = prepare.prepare(whole(values), 0)
    assert np.isfinite(ready.points.rows).all()
    assert ready.to_values(ready.points.rows).ravel().tolist() == [
        values[place] for place in ready.places
    ]


def test_prefix__is_a_sample_with_the_next_priority_as_threshold():
    ready = prepare.prepare(drawn(), 0)
    rows, weights = prepare.prefix(ready, 100)
    np.testing.assert_array_equal(rows, ready.points.rows[:100])
    assert math.isclose(weights.sum(), ready.points.weights.sum(), rel_tol=1e-12)
    expected = ready.own[:100] * np.maximum(1.0, ready.priority[100] / ready.importance[:100])
    np.testing.assert_allclose(weights / weights[0], expected / expected[0])


def test_prefix__of_all_rows_is_all_rows():
    ready = prepare.prepare(drawn(), 0)
    assert prepare.prefix(ready, 10**6).rows is ready.points.rows


def test_prefix__estimates_sums_without_bias():
    random = np.random.default_rng(5)
    values, weights = random.lognormal(size=2000), random.uniform(1, 5, 2000)
    estimates = []
    for seed in range(100):
        ready = prepare.prepare(whole(values, weights), seed)
        rows, mass = prepare.prefix(ready, 300)
        estimates.append(float((mass * np.minimum(ready.to_values(rows).ravel(), 3.0)).sum()))
    truth = float((weights * np.minimum(values, 3.0)).sum())
    assert abs(np.mean(estimates) - truth) < 4 * np.std(estimates) / 10


def test_merge_equal__adds_weights():
    random = np.random.default_rng(1)
    rows = random.integers(0, 3, (400, 2)).astype(float)
    weights = random.uniform(0, 1, 400)
    found = prepare.merge_equal(prepare.Points(rows, weights))
    assert len(found.rows) == len(np.unique(found.rows, axis=0)) == 9
    for row, weight in zip(found.rows, found.weights, strict=True):
        assert math.isclose(weight, weights[(rows == row).all(axis=1)].sum(), rel_tol=1e-12)


def test_merge_equal__leaves_rare_ones_unless_it_must_be_sure():
    rows = np.concatenate([np.random.default_rng(2).normal(size=(999, 2)), np.ones((1, 2))])
    rows[0] = 1.0
    points = prepare.Points(rows, np.ones(1000))
    assert prepare.merge_equal(points) is points
    assert len(prepare.merge_equal(points, surely=True).rows) == 999


def test_merge_equal__keeps_rows_apart_whose_hashes_agree(monkeypatch):
    monkeypatch.setattr(prepare, "hash_rows", lambda rows: np.zeros(len(rows), np.uint64))
    rows = np.array([[1.0], [1.0], [2.0], [1.0]])
    found = prepare.merge_equal(prepare.Points(rows, np.ones(4)))
    assert found.rows.ravel().tolist() == [1.0, 2.0, 1.0]
    assert found.weights.tolist() == [2.0, 1.0, 1.0]
