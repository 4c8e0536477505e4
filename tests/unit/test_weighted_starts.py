"""First centres on weighted rows."""

from __future__ import annotations

import numpy as np
import pytest

from daskseg.kernels import rng, weighted, weighted_starts

KEY = rng.key_of(0)


def level_of(values, weights, dtype=np.float64):
    rows = np.asarray(values, dtype).reshape(len(values), -1)
    return weighted.level_of(rows, np.asarray(weights, np.float64))


def test_uniform_at__agrees_with_the_draws_by_row():
    whole = rng.uniform(9, rng.SEARCH, 5, 3)
    key = rng.key_of(9)
    assert [rng.uniform_at(key, rng.SEARCH, 0, 0, 5 + i) for i in range(3)] == whole.tolist()
    places = [(0, 0, 5), (1, 0, 5), (0, 1, 5), (0, 0, 6)]
    assert len({rng.uniform_at(key, rng.SEARCH, *place) for place in places}) == 4


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_plus_plus__draws_by_weight_times_squared_distance(dtype):
    """From 0, the row 1 has the mass 1,000 and the row 5 has 0.025."""
    level = level_of([0, 1, 5], [1e9, 1e3, 1e-3], dtype)
    for stream in range(50):
        assert weighted_starts.plus_plus(level, 2, 2, KEY, stream)[0].tolist() == [0, 1]


def test_plus_plus__keeps_the_better_of_two_candidates():
    """From 0, both others have the same mass, and 1 leaves less: 3/4 of two draws have it."""
    level = level_of([0, 1, 3], [9e9, 9, 1])
    found = [weighted_starts.plus_plus(level, 2, 2, KEY, stream) for stream in range(400)]
    assert 0.68 < sum(rows[1] == 1 for rows, _ in found) / 400 < 0.82
    assert {float(sse) for _, sse in found} == {4.0, 9.0}


def test_plus_plus__error_is_that_of_its_rows():
    random = np.random.default_rng(0)
    rows, weights = random.normal(size=(300, 3)), random.uniform(0.5, 1.5, 300)
    chosen, sse = weighted_starts.plus_plus(level_of(rows, weights), 7, 3, KEY, 4)
    least = ((rows[:, None] - rows[chosen][None]) ** 2).sum(axis=2).min(axis=1)
    assert sse == pytest.approx((weights * least).sum(), rel=1e-12)
    assert len(set(chosen.tolist())) == 7


@pytest.mark.parametrize("choose", ["plus_plus", "rows_by_weight"])
def test_starts__draw_the_first_row_by_weight(choose):
    weights = np.array([1.0, 2.0, 1.0])
    level = level_of([0, 1, 2], weights)
    first = []
    for stream in range(400):
        if choose == "plus_plus":
            first.append(weighted_starts.plus_plus(level, 1, 2, KEY, stream)[0][0])
        else:
            first.append(weighted_starts.rows_by_weight(weights, 1, KEY, stream)[0])
    # Chi-square with two degrees of freedom: 13.8 is exceeded once in a thousand times.
    expected = np.array([100, 200, 100])
    assert ((np.bincount(first, minlength=3) - expected) ** 2 / expected).sum() < 13.8


def test_starts__repeat_the_first_row_when_rows_run_out():
    level = level_of([4, 7], [1, 1])
    for stream in range(20):
        chosen, sse = weighted_starts.plus_plus(level, 4, 3, KEY, stream)
        assert sorted(chosen[:2]) == [0, 1]
        assert chosen[2:].tolist() == [chosen[0]] * 2
        assert sse == 0.0
        chosen = weighted_starts.rows_by_weight(np.ones(2), 4, KEY, stream)
        assert sorted(chosen[:2]) == [0, 1]
        assert chosen[2:].tolist() == [chosen[0]] * 2


def test_rows_by_weight__puts_none_back():
    weights = np.array([1.0, 1000.0, 1.0] * 50)
    for stream in range(20):
        chosen = weighted_starts.rows_by_weight(weights, 150, KEY, stream)
        assert sorted(chosen.tolist()) == list(range(150))
