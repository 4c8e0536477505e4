"""Nearest centres and the sums of a Lloyd step."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from daskseg.kernels import assign, grid
from daskseg.kernels.moments import extent
from tests import naive


def exponents(rows, centres, weights=None):
    return assign.exponents_of(extent(rows, weights, 0), centres)


def step(rows, centres, weights=None, cuts=()):
    """A step over blocks that end at `cuts`, as floats: weights, sums, squared errors."""
    grids = exponents(rows, centres, weights)
    stack = assign.stack([centres])
    bounds = [0, *cuts, len(rows)]
    total = None
    for start, stop in pairwise(bounds):
        own = None if weights is None else weights[start:stop]
        part = assign.lloyd_step(rows[start:stop], own, stack, grids)
        total = part if total is None else assign.merge_steps(total, part)
    return (
        total.counts,
        grid.to_floats(total.weights, grids.weight),
        grid.to_floats(total.sums, grids.values),
        grid.to_floats(total.sse, grids.sse),
    )


FOUR = np.array([[0.0, 0.0], [1.0, 0.0], [4.0, 0.0], [6.0, 2.0]])
CENTRES = np.array([[0.0, 0.0], [5.0, 0.0], [99.0, 0.0]])


def test_lloyd_step__by_hand_with_a_dead_cluster():
    counts, weights, sums, sse = step(FOUR, CENTRES)
    assert counts.tolist() == [2, 2, 0]
    assert weights.tolist() == [2.0, 2.0, 0.0]
    assert sums.tolist() == [[1.0, 0.0], [10.0, 2.0], [0.0, 0.0]]
    assert sse.tolist() == [1.0, 6.0, 0.0]


def test_lloyd_step__weights_count_as_repeats():
    weights = np.array([2.0, 1.0, 0.0, 3.0])
    repeated = np.repeat(FOUR, weights.astype(int), axis=0)
    for left, right in zip(
        step(FOUR, CENTRES, weights)[1:], step(repeated, CENTRES)[1:], strict=True
    ):
        np.testing.assert_array_equal(left, right)


def test_lloyd_step__of_a_stack_is_that_of_each_set():
    rows = np.random.default_rng(0).normal(size=(500, 3))
    sets = [rows[:2].copy(), rows[2:7].copy(), rows[7:8].copy()]
    stack = assign.stack(sets)
    grids = exponents(rows, stack.centres)
    together = assign.lloyd_step(rows, None, stack, grids)
    for centres, start in zip(sets, stack.starts, strict=False):
        alone = assign.lloyd_step(rows, None, assign.stack([centres]), grids)
        own = slice(start, start + len(centres))
        assert together.counts[own].tolist() == alone.counts.tolist()
        assert (together.sums.high[own] == alone.sums.high).all()
        assert (together.sse.low[own] == alone.sse.low).all()


def test_means_of__are_rounded_once():
    random = np.random.default_rng(0)
    rows, weights = random.lognormal(0, 5, (200, 2)), random.random(200)
    grids = exponents(rows, rows[:3], weights)
    part = assign.lloyd_step(rows, weights, assign.stack([rows[:3].copy(), CENTRES[2:]]), grids)
    means, is_empty = assign.means_of(part, grids)
    divisor = np.array(grid.to_fractions(part.weights, grids.weight), dtype=object)
    expected = grid.to_floats(part.sums, grids.values, divisor[:, None])
    np.testing.assert_array_equal(means, expected)
    assert not is_empty.any()
    exact = sum(grid.to_fractions(part.sse, grids.sse))
    assert assign.total_sse(part, grids) == float(exact)


def test_means_of__marks_dead_centres():
    grids = exponents(FOUR, CENTRES)
    means, is_empty = assign.means_of(
        assign.lloyd_step(FOUR, None, assign.stack([CENTRES]), grids), grids
    )
    assert is_empty.tolist() == [False, False, True]
    assert means[:2].tolist() == [[0.5, 0.0], [5.0, 1.0]]


@given(st.lists(st.integers(0, 300), max_size=5), st.integers(0, 3))
def test_lloyd_step__keeps_its_bits_under_any_cut(cuts, seed):
    random = np.random.default_rng(seed)
    rows = random.normal(size=(300, 3)) * [1.0, 1e-6, 1e8]
    weights = random.random(300)
    centres = rows[:4].copy()
    whole = step(rows, centres, weights)
    for left, right in zip(whole, step(rows, centres, weights, sorted(cuts)), strict=True):
        np.testing.assert_array_equal(left, right)


def test_lloyd_step__sums_without_loss():
    random = np.random.default_rng(1)
    rows = np.column_stack([random.normal(size=1000) + 1e8, random.lognormal(0, 4, 1000)])
    weights = random.random(1000)
    _, total, sums, _ = step(rows, rows[:1].copy(), weights)
    assert total[0] == math.fsum(weights)
    for column in range(2):
        exact = math.fsum(weights * rows[:, column])
        assert sums[0, column] == pytest.approx(exact, rel=1e-15)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("n_centres", [1, 2, 7, 300])
def test_nearest__equals_the_naive_version(dtype, n_centres):
    random = np.random.default_rng(n_centres)
    rows = random.normal(size=(400, 3)).astype(dtype)
    centres = random.normal(size=(n_centres, 3))
    labels, sq_dist = assign.nearest(rows, centres)
    expected = naive.sq_distances(rows, centres)
    np.testing.assert_array_equal(labels, expected.argmin(axis=1))
    np.testing.assert_array_equal(sq_dist, expected.min(axis=1))


def test_nearest__gives_a_tie_to_the_smallest_index():
    labels, _ = assign.nearest(np.array([[1.0]]), np.array([[3.0], [2.0], [0.0], [2.0]]))
    assert labels.tolist() == [1]


def test_nearest__does_not_depend_on_where_a_row_sits():
    random = np.random.default_rng(0)
    rows = random.normal(size=(3000, 5))
    centres = random.normal(size=(40, 5))
    whole = assign.nearest(rows, centres)[1]
    for offset in (1, 7, 255, 257, 1700):
        np.testing.assert_array_equal(assign.nearest(rows[offset:], centres)[1], whole[offset:])


def test_nearest__keeps_digits_far_from_the_origin():
    rows = np.array([[1e8], [1e8 + 1], [1e8 + 2]])
    labels, sq_dist = assign.nearest(rows, np.array([[1e8 + 0.25], [1e8 + 1.75]]))
    assert labels.tolist() == [0, 0, 1]
    assert sq_dist.tolist() == [0.0625, 0.5625, 0.0625]


def test_nearest__takes_a_block_without_rows():
    labels, sq_dist = assign.nearest(np.empty((0, 2)), np.zeros((3, 2)))
    assert labels.shape == sq_dist.shape == (0,)


def test_farthest_rows__are_distinct_and_ordered():
    rows = np.array([[0.0], [5.0], [-5.0], [5.0], [9.0], [7.0]])
    weights = np.array([1.0, 1.0, 1.0, 1.0, 0.0, 1.0])
    centres = np.array([[0.0]])
    found = assign.farthest_rows(rows, weights, 10, centres, 4)
    assert found.rows.tolist() == [15, 11, 12]
    assert found.sq_dist.tolist() == [49.0, 25.0, 25.0]


def test_merge_farthest__does_not_depend_on_the_cut():
    random = np.random.default_rng(0)
    rows = random.integers(-3, 4, (60, 2)).astype(float)
    centres = np.zeros((1, 2))
    whole = assign.farthest_rows(rows, None, 0, centres, 5)
    for cut in (0, 1, 17, 59):
        left = assign.farthest_rows(rows[:cut], None, 0, centres, 5)
        right = assign.farthest_rows(rows[cut:], None, cut, centres, 5)
        for merged in (
            assign.merge_farthest(left, right, 5),
            assign.merge_farthest(right, left, 5),
        ):
            assert merged.rows.tolist() == whole.rows.tolist()


def test_sums_by_label__takes_distances_from_one_point():
    centres = assign.stack([np.zeros((2, 2))])
    grids = exponents(FOUR, centres.centres)
    part = assign.sums_by_label(FOUR, None, np.array([0, 1, 0, 1], np.int32), centres, grids)
    assert grid.to_floats(part.sums, grids.values).tolist() == [[4.0, 0.0], [7.0, 2.0]]
    assert grid.to_floats(part.sse, grids.sse).tolist() == [16.0, 41.0]
