"""Splits, swaps and joins on weighted rows."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.cluster.hierarchy import fcluster, ward

from daskseg.kernels import rng, weighted, weighted_moves

KEY = rng.key_of(0)
TYPES = pytest.mark.parametrize("dtype", [np.float32, np.float64])


def level_of(values, weights=None, dtype=np.float64):
    rows = np.asarray(values, dtype).reshape(len(values), -1)
    return weighted.level_of(rows, np.ones(len(rows)) if weights is None else np.array(weights))


def gains_of(level, centres):
    labels = np.empty(len(level.rows), np.int32)
    sq_dist = np.empty(len(level.rows), level.rows.dtype)
    _, sums, sizes = weighted.worth(level, centres, labels, sq_dist)
    found = weighted_moves.split_gains(level, labels, sq_dist, sums, sizes, KEY, 0, 0)
    return found, labels


def swapped(level, centres):
    start = np.array(centres, np.float64)
    return weighted_moves.swap(level, start, 20, 6, 0.06, 1e-4, KEY, 0)


@TYPES
def test_split_gains__are_what_the_error_falls_by(dtype):
    # 0 and 2 apart save 2; 5 and 9, of weight 3 each, save 3 * 8; the pair at 20 saves nothing.
    level = level_of([0, 2, 5, 9, 20, 20], [1.0, 1, 3, 3, 1, 1], dtype)
    (gains, left, right), _ = gains_of(level, np.array([[1.0], [7.0], [20.0]]))
    assert gains.tolist() == [2.0, 24.0, 0.0]
    assert sorted([left[0, 0], right[0, 0]]) == [0.0, 2.0]
    assert sorted([left[1, 0], right[1, 0]]) == [5.0, 9.0]


@pytest.mark.parametrize("n_rows", [63, 64, 65, 400])
def test_split_gains__agree_with_the_errors_of_the_halves(n_rows):
    random = np.random.default_rng(n_rows)
    rows, weights = random.normal(size=(n_rows, 5)), random.uniform(0.5, 2, n_rows)
    centres = weighted.lloyd(level_of(rows, weights), rows[:3], 50, 0.0)[0]
    (gains, left, right), labels = gains_of(level_of(rows, weights), centres)
    for c in range(3):
        own, mass = rows[labels == c], weights[labels == c]
        before = mass @ ((own - centres[c]) ** 2).sum(axis=1)
        ways = ((own[:, None] - np.stack([left[c], right[c]])[None]) ** 2).sum(axis=2)
        after = mass @ ways.min(axis=1)
        # The gain is that of the sides before the last move of the centres.
        assert 0 < gains[c] <= (before - after) * (1 + 1e-9)
        assert gains[c] > 0.9 * (before - after)


@TYPES
def test_swap__frees_a_centre_that_lloyd_cannot(dtype):
    # Three pairs; two centres share the first, one is between the other two: a Lloyd fixpoint.
    level = level_of(np.array([0, 1, 100, 101, 200, 201]) / 256, dtype=dtype)
    stuck = np.array([[0.0], [1.0], [150.5]]) / 256
    assert weighted.lloyd(level, stuck, 50, 0.0)[2] < 4
    centres, sse = swapped(level, stuck)
    assert sorted((centres * 256).ravel().tolist()) == [0.5, 100.5, 200.5]
    assert sse * 256**2 == pytest.approx(1.5, rel=1e-9)


def test_swap__keeps_an_optimum():
    level = level_of([0, 1, 100, 101])
    assert swapped(level, [[0.5], [100.5]])[0].tolist() == [[0.5], [100.5]]


def test_swap__heeds_weights():
    # The far row weighs next to nothing: no centre is spent on it.
    level = level_of([0, 10, 1000], [1.0, 1.0, 1e-9])
    found = np.sort(swapped(level, [[0.0], [1000.0]])[0].ravel())
    assert found[0] == 0.0
    assert found[1] == pytest.approx(10.0, abs=1e-5)


@TYPES
@pytest.mark.parametrize("seed", range(3))
def test_swap__never_costs_more(dtype, seed):
    random = np.random.default_rng(seed)
    level = level_of(random.normal(size=(300, 3)), random.uniform(0.1, 2, 300), dtype)
    start = level.rows[:8].astype(np.float64)
    centres, sse = swapped(level, start)
    assert sse <= weighted.lloyd(level, start, weighted_moves.STEPS, 1e-5)[1]
    assert weighted.lloyd(level, centres, 1, 0.0)[1] <= sse * (1 + 1e-6)


def test_merge_down__is_wards_rule():
    random = np.random.default_rng(2)
    rows = random.normal(size=(40, 3))
    tree = ward(rows)
    for n_wanted in (1, 2, 7, 39):
        found = weighted_moves.merge_down(rows, np.ones(40), n_wanted)
        labels = fcluster(tree, n_wanted, "maxclust")
        means = [rows[labels == label].mean(axis=0) for label in np.unique(labels)]
        np.testing.assert_allclose(
            found[np.lexsort(found.T)], np.array(means)[np.lexsort(np.array(means).T)]
        )


def test_merge_down__weighs_clusters_and_leaves_empty_ones_out():
    means = np.array([[0.0], [1.0], [5.0], [2.0]])
    # 0 and 1 rise by 1/2 * 9 = 0.9 * 1; the empty 2 would be nearer.
    found = weighted_moves.merge_down(means, np.array([9.0, 1.0, 4.0, 0.0]), 2)
    assert found.ravel().tolist() == [0.1, 5.0]


def test_merge_down__repeats_what_is_left():
    found = weighted_moves.merge_down(np.array([[1.0], [2.0], [3.0]]), np.array([1.0, 0, 1]), 5)
    assert found.ravel().tolist() == [1.0, 3.0, 1.0, 3.0, 1.0]


@TYPES
def test_join__takes_the_best_of_two(dtype):
    # Each solution has one half right.
    values = np.array([0, 1, 10, 11, 100, 101, 110, 111]) / 128
    level = level_of(values, dtype=dtype)
    a = np.array([[0.5], [10.5], [105.5], [106.0]]) / 128
    b = np.array([[5.0], [5.5], [100.5], [110.5]]) / 128
    centres, sse = weighted_moves.join(level, np.concatenate([a, b]), 4)
    assert sorted((centres * 128).ravel().tolist()) == [0.5, 10.5, 100.5, 110.5]
    assert math.isclose(sse * 128**2, 2.0, rel_tol=1e-6)
