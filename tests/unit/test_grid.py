"""Exact sums on the grid."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from daskseg.kernels import grid


def exponents_of(values):
    return grid.range_exponents(values.min(axis=0), values.max(axis=0))


def test_sum_columns__by_hand():
    values = np.array([[0.5, 3.0], [0.25, -1.0]])
    exponents = exponents_of(values)
    assert exponents.tolist() == [0, 2]
    total = grid.sum_columns(values, exponents)
    assert grid.to_floats(total, exponents).tolist() == [0.75, 2.0]
    assert grid.to_fractions(total, exponents) == [Fraction(3, 4), Fraction(2)]


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=60), st.randoms())
def test_sum_columns__is_exact_near_the_bound_and_ignores_order(values, random):
    # Multiples of 2**-20 below 2**20 lie on the grid whatever the bound is.
    column = np.round(np.array(values) * 2**20) / 2**20
    exponents = exponents_of(column[:, None])
    total = grid.sum_columns(column[:, None], exponents)
    assert grid.to_floats(total, exponents)[0] == math.fsum(column)
    order = list(range(len(column)))
    random.shuffle(order)
    half = len(order) // 2
    parts = [grid.sum_columns(column[own, None], exponents) for own in (order[:half], order[half:])]
    merged = grid.add(*parts)
    assert (merged.high == total.high).all()
    assert (merged.low == total.low).all()


def test_sum_columns__loses_at_most_its_last_place():
    values = np.random.default_rng(0).lognormal(0, 4, (5000, 2))
    exponents = exponents_of(values)
    found = grid.to_floats(grid.sum_columns(values, exponents), exponents)
    for column in range(2):
        bound = 5000 * 2.0 ** (int(exponents[column]) - 70)
        assert abs(found[column] - math.fsum(values[:, column])) <= bound + math.ulp(found[column])


def test_add__has_no_limit():
    top = grid.GridSum(np.array([2**62], object), np.array([2**40], object))
    total = grid.add(grid.add(top, top), top)
    assert total.high[0] == 3 * 2**62


@pytest.mark.parametrize(
    ("low", "high", "exponent"),
    [(0.0, 0.0, 0), (-8.0, 1.0, 4), (0.0, 7.9, 3), (0.0, 5e-324, grid.MIN_EXPONENT)],
)
def test_range_exponents__bound_the_values(low, high, exponent):
    found = int(grid.range_exponents(np.array([low]), np.array([high]))[0])
    assert found == exponent
    assert max(abs(low), abs(high)) <= 2.0**found


def test_to_floats__divides_with_one_rounding():
    values = np.array([[1.0], [1.0]])
    exponents = exponents_of(values)
    total = grid.sum_columns(values, exponents)
    assert grid.to_floats(total, exponents, np.array([3]))[0] == 2 / 3
    assert math.isnan(grid.to_floats(total, exponents, np.array([0]))[0])


def test_to_fractions__takes_large_exponents():
    values = np.array([[2.0**200], [2.0**200]])
    exponents = exponents_of(values)
    assert grid.to_fractions(grid.sum_columns(values, exponents), exponents) == [2**201]
