"""Labels of one block, against the definition; and the rows that fit worst."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from daskseg.kernels import grid, labels, tiles
from daskseg.kernels.moments import extent
from tests import naive


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(("n_centres", "n_features"), [(1, 3), (2, 1), (7, 5), (20, 20), (300, 3)])
def test_nearest__equals_the_naive_version(dtype, n_centres, n_features):
    random = np.random.default_rng(n_centres)
    rows = random.normal(size=(400, n_features)).astype(dtype)
    centres = random.normal(size=(n_centres, n_features))
    found, sq_dist = labels.nearest(rows, centres)
    expected = naive.sq_distances(rows, centres)
    np.testing.assert_array_equal(found, expected.argmin(axis=1))
    np.testing.assert_array_equal(sq_dist, expected.min(axis=1))
    np.testing.assert_array_equal(labels.labels_of(rows, centres), found)


def near_ties(random, n_rows, n_features, gap):
    """Rows beside the middle between two centres: float32 cannot tell which is nearer."""
    centres = random.normal(size=(12, n_features))
    pairs = random.integers(0, 12, (n_rows, 2))
    middles = (centres[pairs[:, 0]] + centres[pairs[:, 1]]) / 2
    return middles + gap * random.normal(size=middles.shape), centres


@pytest.mark.parametrize("gap", [0.0, 1e-16, 1e-9, 1e-7, 1e-5])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_nearest__settles_what_the_filter_cannot_tell(gap, dtype):
    rows, centres = near_ties(np.random.default_rng(0), 500, 6, gap)
    rows = rows.astype(dtype)
    np.testing.assert_array_equal(labels.labels_of(rows, centres), naive.labels_of(rows, centres))


@pytest.mark.parametrize(
    "scales",
    [
        [1.0, 1e-30, 1e15],
        [1e-40, 1e-41, 1e-42],
        [1e150, 1e149, 1.0],
        [1e-160, 1e-150, 1e-170],
        [0.0, 1.0, 0.0],
    ],
)
def test_nearest__is_right_at_any_scale(scales):
    random = np.random.default_rng(1)
    rows = random.normal(size=(300, 3)) * scales
    centres = np.concatenate([rows[:5], rows[2:3], random.normal(size=(2, 3)) * scales])
    np.testing.assert_array_equal(labels.labels_of(rows, centres), naive.labels_of(rows, centres))


def test_nearest__is_right_beside_far_outliers():
    random = np.random.default_rng(2)
    rows = np.concatenate([random.normal(size=(300, 4)), 1e7 + random.normal(size=(5, 4))])
    centres = np.concatenate([rows[:6], rows[-3:]])
    np.testing.assert_array_equal(labels.labels_of(rows, centres), naive.labels_of(rows, centres))


def test_nearest__gives_a_tie_to_the_smallest_index():
    found, _ = labels.nearest(np.array([[1.0]]), np.array([[3.0], [2.0], [0.0], [2.0]]))
    assert found.tolist() == [1]


def test_nearest__does_not_depend_on_where_a_row_sits():
    random = np.random.default_rng(0)
    rows = random.normal(size=(3000, 5)).astype(np.float32)
    centres = random.normal(size=(40, 5))
    whole = labels.nearest(rows, centres)
    for offset in (1, 7, 255, 257, 1700):
        for left, right in zip(labels.nearest(rows[offset:], centres), whole, strict=True):
            np.testing.assert_array_equal(left, right[offset:])


def test_nearest__takes_strided_rows():
    rows = np.random.default_rng(0).normal(size=(600, 8))
    centres = rows[:3, 1::3].copy()
    cut = rows[::2, 1::3]
    np.testing.assert_array_equal(
        labels.labels_of(cut, centres), labels.labels_of(cut.copy(), centres)
    )


def test_nearest__keeps_digits_far_from_the_origin():
    rows = np.array([[1e8], [1e8 + 1], [1e8 + 2]])
    found, sq_dist = labels.nearest(rows, np.array([[1e8 + 0.25], [1e8 + 1.75]]))
    assert found.tolist() == [0, 0, 1]
    assert sq_dist.tolist() == [0.0625, 0.5625, 0.0625]


def test_nearest__takes_a_block_without_rows():
    found, sq_dist = labels.nearest(np.empty((0, 2)), np.zeros((3, 2)))
    assert found.shape == sq_dist.shape == (0,)


@given(st.integers(0, 1000), st.integers(1, 9), st.integers(1, 6), st.booleans())
def test_nearest__on_integers_with_many_ties(seed, n_centres, n_features, narrow):
    random = np.random.default_rng(seed)
    rows = random.integers(-3, 4, (80, n_features)).astype(np.float32 if narrow else np.float64)
    centres = random.integers(-3, 4, (n_centres, n_features)).astype(float)
    np.testing.assert_array_equal(labels.labels_of(rows, centres), naive.labels_of(rows, centres))


def test_make_ready__fills_sets_up_to_groups_of_four():
    ready = tiles.make_ready(tiles.stack([np.zeros((5, 2)), np.ones((1, 2))]), np.dtype("f4"))
    assert ready.slots.tolist() == [0, 8, 12]
    assert ready.starts.tolist() == [0, 5, 6]


def test_sum_errors__sums_squared_distances_exactly():
    random = np.random.default_rng(0)
    rows, weights = random.normal(size=(1000, 3)) * [1, 1e3, 1e-3], random.random(1000)
    centres = rows[:4].copy()
    exponent = labels.sse_exponent(extent(rows, weights, 0), centres)
    sse = labels.sum_errors(labels.nearest(rows, centres)[1], weights, exponent)
    expected = naive.inertia_of(rows, centres, weights)
    assert grid.to_floats(sse, exponent)[0] == pytest.approx(expected, rel=1e-14)


def test_farthest_rows__are_distinct_and_ordered():
    rows = np.array([[0.0], [5.0], [-5.0], [5.0], [9.0], [7.0]])
    weights = np.array([1.0, 1.0, 1.0, 1.0, 0.0, 1.0])
    found = labels.farthest_rows(rows, weights, 10, np.array([[0.0]]), 4)
    assert found.rows.tolist() == [15, 11, 12]
    assert found.sq_dist.tolist() == [49.0, 25.0, 25.0]


def test_merge_farthest__does_not_depend_on_the_cut():
    random = np.random.default_rng(0)
    rows = random.integers(-3, 4, (60, 2)).astype(float)
    centres = np.zeros((1, 2))
    whole = labels.farthest_rows(rows, None, 0, centres, 5)
    for cut in (0, 1, 17, 59):
        left = labels.farthest_rows(rows[:cut], None, 0, centres, 5)
        right = labels.farthest_rows(rows[cut:], None, cut, centres, 5)
        for merged in (
            labels.merge_farthest(left, right, 5),
            labels.merge_farthest(right, left, 5),
        ):
            assert merged.rows.tolist() == whole.rows.tolist()
