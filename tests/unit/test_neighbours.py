"""The nearest points: those of a search through all, in their order, ties included."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from daskseg.kernels import neighbours


def by_all_pairs(points, rows, k):
    sums = np.zeros((len(rows), len(points)))
    for f in range(points.shape[1]):
        sums += (rows[:, f, None].astype(np.float64) - points[None, :, f]) ** 2
    places = np.argsort(sums, axis=1, kind="stable")[:, :k]
    return places, np.take_along_axis(sums, places, axis=1)


@given(
    n_points=st.integers(1, 400),
    n_features=st.integers(1, 19),
    k=st.integers(1, 30),
    is_coarse=st.booleans(),
    dtype=st.sampled_from(["f4", "f8"]),
    seed=st.integers(0, 99),
)
def test_nearest__same_bits_as_all_pairs(n_points, n_features, k, is_coarse, dtype, seed):
    random = np.random.default_rng(seed)
    points = random.normal(size=(n_points, n_features)) * 0.8 ** np.arange(n_features)
    rows = random.normal(size=(40, n_features)).astype(dtype)
    if is_coarse:
        # Many equal distances, and points in one place.
        points, rows = np.round(points), np.round(rows)
    k = min(k, n_points)
    places, sq_dists = neighbours.nearest(neighbours.leaves_of(points), rows, k)
    expected_places, expected = by_all_pairs(points, rows, k)
    np.testing.assert_array_equal(sq_dists, expected)
    np.testing.assert_array_equal(places, expected_places)


def test_leaves__hold_every_point_once():
    points = np.random.default_rng(0).normal(size=(1_000, 3))
    leaves = neighbours.leaves_of(points)
    found = leaves.lanes.transpose(0, 2, 1).reshape(-1, 3)
    found = found[np.isfinite(found).all(axis=1)]
    assert sorted(map(tuple, found)) == sorted(map(tuple, points))


@pytest.mark.parametrize("n_rows", [0, 1])
def test_nearest__few_rows(n_rows):
    leaves = neighbours.leaves_of(np.array([[0.0], [2.0]]))
    places, sq_dists = neighbours.nearest(leaves, np.full((n_rows, 1), 1.5), 2)
    assert places.tolist() == [[1, 0]] * n_rows
    assert sq_dists.tolist() == [[0.25, 2.25]] * n_rows
