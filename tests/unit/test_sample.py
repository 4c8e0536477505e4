"""The weighted sample."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from daskseg.kernels import rng, sample
from daskseg.kernels.moments import extent
from daskseg.kernels.sample import Pilot


def pilot_of(rows, floor=0.0):
    centre = rows.mean(axis=0)
    return Pilot(centre, float(((rows - centre) ** 2).sum() / len(rows)), floor)


def draw(rows, n_wanted, *, seed=0, weights=None, cuts=(), backwards=False, floor=0.0):
    bounds = [0, *cuts, len(rows)]
    pilot = pilot_of(rows, floor)
    parts = [
        sample.scan(rows[a:b], None if weights is None else weights[a:b], a, pilot, seed, n_wanted)
        for a, b in pairwise(bounds)
    ]
    total = None
    for _, part in parts[::-1] if backwards else parts:
        total = part if total is None else sample.merge_samples(total, part, n_wanted)
    whole = float(len(rows)) if weights is None else math.fsum(weights)
    return sample.finish_sample(total, n_wanted, whole)


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


def test_scan__draws_by_the_definition():
    """Priority: (1 + squared distance / scatter) / u, with u from seed and row."""
    rows = ROWS[:40]
    pilot = pilot_of(rows)
    _, part = sample.scan(rows, None, 1000, pilot, 3, 9)
    chance = rng.uniform(3, rng.SAMPLE, 1000, 40)
    importance = 1.0 + ((rows - pilot.centre) ** 2).sum(axis=1) / pilot.scatter
    order = np.argsort(-importance / chance)[:10]
    np.testing.assert_array_equal(np.sort(part.rows), np.sort(1000 + order))
    np.testing.assert_allclose(
        part.priority[np.argsort(part.rows)], (importance / chance)[np.sort(order)], rtol=1e-13
    )


@pytest.mark.parametrize("n_wanted", [9, 60])
def test_draw_by__draws_by_the_definition(n_wanted):
    """Priority: importance / u, with u from seed, purpose and row; not below the floor."""
    rows = ROWS[:40].astype(np.float32)
    importance = np.arange(40.0)
    priority = importance / rng.uniform(3, rng.SECOND_SAMPLE, 1000, 40)
    part = sample.draw_by(importance, rows, None, 1000, 20.0, (3, rng.SECOND_SAMPLE), n_wanted)
    order = np.argsort(-priority)[: n_wanted + 1]
    chosen = np.sort(order[priority[order] >= 20.0])
    by_row = np.argsort(part.rows)
    np.testing.assert_array_equal(part.rows[by_row], 1000 + chosen)
    np.testing.assert_array_equal(part.priority[by_row], priority[chosen])
    np.testing.assert_array_equal(part.importance[by_row], importance[chosen])
    np.testing.assert_array_equal(part.values[by_row], rows[chosen])
    assert part.weight.tolist() == [1.0] * len(chosen)
    assert part.values.dtype == np.float32


def test_draw_by__never_draws_what_has_no_importance():
    weights = np.array([0.0, 2.0, 0.0, 3.0])
    part = sample.draw_by(weights, ROWS[:4], weights, 0, 0.0, (0, rng.SAMPLE), 9)
    assert part.rows.tolist() == [1, 3]
    assert part.weight.tolist() == [2.0, 3.0]


def test_scan__measures_ranges_like_extent():
    rows = ROWS[:50].copy()
    for defect in (None, np.nan, np.inf, -np.inf):
        if defect is not None:
            rows[[7, 31], 1] = defect
        weights = np.arange(50.0)
        seen, part = sample.scan(rows, weights, 100, pilot_of(ROWS), 0, 60)
        for left, right in zip(seen, extent(rows, weights, 100), strict=True):
            np.testing.assert_array_equal(left, right)
        assert not np.isin([107, 131], part.rows).any() or defect is None


def test_scan__with_a_floor_finds_the_same_sample():
    plain = draw(ROWS, 100)
    floor = float(np.sort(draw(ROWS, 300).drawn.priority)[0])
    for cuts in ((), (1000, 1500)):
        quick = draw(ROWS, 100, floor=floor, cuts=cuts)
        np.testing.assert_array_equal(quick.values, plain.values)
        np.testing.assert_array_equal(quick.weights, plain.weights)


def test_sample__keeps_what_was_drawn_for_smaller_samples():
    large, small = draw(ROWS, 500), draw(ROWS, 100)
    order = np.argsort(-large.drawn.priority)
    prefix = np.sort(large.drawn.rows[order[:100]])
    np.testing.assert_array_equal(prefix, small.drawn.rows)
    threshold = large.drawn.priority[order[100]]
    weights = np.maximum(1.0, threshold / large.drawn.importance[order[:100]])
    np.testing.assert_allclose(
        np.sort(weights) / weights.sum(), np.sort(small.weights) / small.weights.sum()
    )
