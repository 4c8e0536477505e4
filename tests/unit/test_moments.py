"""Ranges, means and variances."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from daskseg.kernels import moments


def summarise(rows, weights=None, cuts=()):
    bounds = [0, *cuts, len(rows)]
    spans = [slice(a, b) for a, b in pairwise(bounds)]
    own = [None if weights is None else weights[span] for span in spans]
    seen = moments.extent(rows[spans[0]], own[0], 0)
    for span, weight in zip(spans[1:], own[1:], strict=True):
        seen = moments.merge_extents(seen, moments.extent(rows[span], weight, span.start))
    frame = moments.frame_of(seen)
    total = moments.moments(rows[spans[0]], own[0], frame)
    for span, weight in zip(spans[1:], own[1:], strict=True):
        total = moments.merge_moments(total, moments.moments(rows[span], weight, frame))
    return moments.finish_moments(total, frame)


def test_moments__by_hand():
    found = summarise(np.array([[1.0, 5.0], [2.0, 5.0], [6.0, 5.0]]))
    assert found.mean.tolist() == [3.0, 5.0]
    assert found.variance.tolist() == [pytest.approx(14 / 3), 0.0]
    assert found.total_weight.tolist() == [3.0, 3.0]


def test_moments__leave_out_nan_by_column():
    found = summarise(np.array([[1.0, np.nan], [3.0, 4.0], [np.nan, 4.0]]))
    assert found.mean.tolist() == [2.0, 4.0]
    assert found.total_weight.tolist() == [2.0, 2.0]


def test_moments__keep_digits_of_a_tiny_spread():
    rows = (np.arange(1000) % 7)[:, None] * 2.0**-24
    assert summarise(rows + 2.0**27).variance[0] == pytest.approx(rows.var(), rel=1e-12, abs=0)


def test_moments__of_a_column_without_values_are_nan():
    found = summarise(np.array([[1.0, np.nan], [3.0, np.nan]]))
    assert np.isnan([found.mean[1], found.variance[1]]).all() or found.total_weight[1] == 0


def test_moments__weights_count_as_repeats():
    random = np.random.default_rng(0)
    rows, weights = random.normal(size=(50, 2)), random.integers(0, 4, 50).astype(float)
    weighted = summarise(rows, weights)
    repeated = summarise(np.repeat(rows, weights.astype(int), axis=0))
    np.testing.assert_allclose(weighted.mean, repeated.mean, rtol=1e-14)
    np.testing.assert_allclose(weighted.variance, repeated.variance, rtol=1e-14)


def test_moments__keep_digits_far_from_the_origin():
    rows = (np.arange(1000) % 7).astype(float)[:, None]
    far = summarise(rows + 1e8)
    assert far.variance[0] == pytest.approx(rows.var(), rel=1e-14)
    assert far.mean[0] == pytest.approx(rows.mean() + 1e8, rel=1e-16)


@given(st.lists(st.integers(0, 200), max_size=4), st.integers(0, 2))
def test_moments__keep_their_bits_under_any_cut(cuts, seed):
    random = np.random.default_rng(seed)
    rows = random.lognormal(0, 3, (200, 2)) * [1e-6, 1e6]
    weights = random.random(200)
    whole, parts = summarise(rows, weights), summarise(rows, weights, sorted(cuts))
    for left, right in zip(whole, parts, strict=True):
        np.testing.assert_array_equal(left, right)


def test_extent__names_defects_and_their_first_row():
    rows = np.array([[1.0, np.inf], [np.nan, 2.0], [np.nan, np.nan]])
    seen = moments.extent(rows, np.array([2.0, 0.5, 1.0]), 10)
    assert seen.n_missing.tolist() == [2, 1]
    assert seen.n_infinite.tolist() == [0, 1]
    assert seen.first_bad_row.tolist() == [11, 10]
    assert (seen.low.tolist(), seen.high.tolist()) == ([1.0, 2.0], [1.0, 2.0])
    assert (seen.low_weight, seen.high_weight) == (0.5, 2.0)


def test_extent__of_no_rows_changes_nothing():
    rows = np.array([[1.0], [3.0]])
    seen = moments.extent(rows, None, 0)
    empty = moments.extent(rows[:0], None, 2)
    assert moments.merge_extents(empty, seen) == seen
