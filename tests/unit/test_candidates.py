"""One round of k-means||, and the weights of its candidates."""

from __future__ import annotations

import math

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from daskseg.kernels import candidates, rng
from tests import naive

ROWS = np.random.default_rng(0).normal(size=(500, 2))
CENTRES = ROWS[[3, 77]]


def test_draw__takes_the_largest_priorities():
    found = candidates.draw(ROWS, None, 1000, CENTRES, 5, 2, 8)
    mass = naive.sq_distances(ROWS, CENTRES).min(axis=1)
    priority = mass / rng.uniform(5, rng.CANDIDATES + 2, 1000, 500)
    expected = np.argsort(-priority)[:8]
    assert found.rows.tolist() == (1000 + expected).tolist()
    np.testing.assert_array_equal(found.values, ROWS[expected])


def test_draw__leaves_out_candidates_and_rows_without_weight():
    weights = np.zeros(500)
    weights[:6] = 1.0
    found = candidates.draw(ROWS, weights, 0, CENTRES, 5, 0, 100)
    assert sorted(found.rows) == [0, 1, 2, 4, 5]


@given(st.integers(0, 500), st.booleans())
def test_merge_drawn__does_not_depend_on_the_cut(cut, swap):
    whole = candidates.draw(ROWS, None, 0, CENTRES, 5, 0, 20)
    parts = [
        candidates.draw(ROWS[:cut], None, 0, CENTRES, 5, 0, 20),
        candidates.draw(ROWS[cut:], None, cut, CENTRES, 5, 0, 20),
    ]
    merged = candidates.merge_drawn(*(parts[::-1] if swap else parts), n_wanted=20)
    assert merged.rows.tolist() == whole.rows.tolist()


def test_draw__favours_far_rows_in_proportion():
    """Rows four times as far in square are drawn about four times as often."""
    rows = np.repeat([[1.0], [2.0]], 1000, axis=0)
    far = sum(
        int((candidates.draw(rows, None, 0, np.zeros((1, 1)), seed, 0, 20).values == 2.0).sum())
        for seed in range(100)
    )
    assert abs(far / 2000 - 0.8) < 4 * math.sqrt(0.8 * 0.2 / 2000)


@given(st.integers(0, 500))
def test_weights__are_exact_under_any_cut(cut):
    random = np.random.default_rng(1)
    weights = random.random(500) * 10.0 ** random.integers(-8, 8, 500)
    labels = random.integers(0, 4, 500).astype(np.int32)
    parts = [
        candidates.weigh(labels[:cut], weights[:cut], 5),
        candidates.weigh(labels[cut:], weights[cut:], 5),
    ]
    found = candidates.finish_weights(candidates.merge_weights(*parts))
    assert found.tolist() == [math.fsum(weights[labels == j]) for j in range(5)]


def test_weights__without_weights_are_counts():
    total = candidates.weigh(np.array([0, 2, 2], np.int32), None, 3)
    doubled = candidates.merge_weights(total, total)
    assert candidates.finish_weights(doubled).tolist() == [2.0, 0.0, 4.0]
