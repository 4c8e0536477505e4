"""Uniform samples: every row as likely, the same rows however they are cut."""

from __future__ import annotations

from functools import reduce
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from daskseg.kernels import rng, uniform

ROWS = np.arange(2_000.0).reshape(1_000, 2)


def least(n_wanted, seed=3, purpose=2000):
    numbers = rng.uniform(seed, purpose, 0, len(ROWS))
    return np.sort(np.argsort(numbers)[:n_wanted])


@given(
    st.lists(st.integers(0, 999), max_size=6), st.integers(1, 1_200), st.sampled_from([0.9, 1.0])
)
def test_draw__gives_the_least_numbers_of_any_cut(cuts, n_wanted, ceiling):
    edges = [0, *sorted(cuts), 1_000]
    parts = [uniform.draw(ROWS[a:b], a, (3, 2000), ceiling, n_wanted) for a, b in pairwise(edges)]
    found = uniform.keep_least(reduce(lambda a, b: uniform.merge(a, b, n_wanted), parts), n_wanted)
    expected = least(n_wanted)
    if ceiling < 1 and n_wanted > 800:
        expected = expected[np.isin(expected, found.rows)]
    np.testing.assert_array_equal(found.rows, expected)
    np.testing.assert_array_equal(found.values, ROWS[expected])


def test_draw__leaves_out_what_is_above_the_ceiling():
    numbers = rng.uniform(3, 2000, 0, 1_000)
    found = uniform.draw(ROWS, 0, (3, 2000), 0.1, 1_000)
    assert found.rows.tolist() == np.flatnonzero(numbers <= 0.1).tolist()
    assert found.chance.tolist() == numbers[found.rows].tolist()


def test_draw__other_purposes_are_other_samples():
    one = uniform.keep_least(uniform.draw(ROWS, 0, (3, 2000), 1.0, 100), 100)
    other = uniform.keep_least(uniform.draw(ROWS, 0, (3, 2001), 1.0, 100), 100)
    assert len(np.intersect1d(one.rows, other.rows)) == pytest.approx(10, abs=9)


def test_keep_least__takes_the_first_rows_of_equal_numbers():
    part = uniform.UniformPart(np.full(4, 0.5), np.array([7, 2, 9, 4]), ROWS[:4])
    found = uniform.keep_least(part, 2)
    assert found.rows.tolist() == [2, 4]
    assert found.values.tolist() == ROWS[[1, 3]].tolist()
