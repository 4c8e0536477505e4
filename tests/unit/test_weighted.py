"""Weighted Lloyd steps on rows in memory."""

from __future__ import annotations

import math

import numpy as np
import pytest
from sklearn.cluster import KMeans

from daskseg.kernels import weighted

TYPES = pytest.mark.parametrize("dtype", [np.float32, np.float64])


def made(n_rows, n_features, dtype=np.float64, seed=0):
    random = np.random.default_rng(seed)
    rows = random.uniform(-1, 1, (n_rows, n_features)).astype(dtype)
    return rows, random.uniform(0.1, 2.0, n_rows)


def naive_labels(rows, centres):
    wide = rows.astype(np.float64)
    return ((wide[:, None] - centres[None]) ** 2).sum(axis=2).argsort(axis=1, kind="stable")


def step(level, centres):
    sums, sizes = np.zeros(centres.shape), np.zeros(len(centres))
    labels = np.full(len(level.rows), -1, np.int32)
    total = weighted.add_step(level, centres, sums, sizes, labels)
    return sums, sizes, labels, total


@TYPES
def test_level_of__cuts_rows_into_tiles(dtype):
    rows, weights = made(130, 3, dtype)
    level = weighted.level_of(rows, weights)
    assert level.tiles.shape == (3, 3, 64)
    assert level.tiles.dtype == dtype
    np.testing.assert_array_equal(level.tiles.transpose(0, 2, 1).reshape(-1, 3)[:130], rows)
    assert not level.tiles[2, :, 2:].any()
    assert math.isclose(
        level.sq_norm, math.fsum(weights * (rows.astype(float) ** 2).sum(axis=1)), rel_tol=1e-13
    )


@TYPES
@pytest.mark.parametrize("n_features", [1, 2, 3, 4, 5, 7, 20])
@pytest.mark.parametrize("n_clusters", [1, 3, 4, 5, 9])
def test_add_step__agrees_with_the_naive_one(dtype, n_features, n_clusters):
    rows, weights = made(150, n_features, dtype)
    centres = np.random.default_rng(1).uniform(-1, 1, (n_clusters, n_features))
    centres = centres.astype(np.float32).astype(np.float64)
    sums, sizes, labels, _ = step(weighted.level_of(rows, weights), centres)
    expected = naive_labels(rows, centres)[:, 0]
    np.testing.assert_array_equal(labels, expected)
    for c in range(n_clusters):
        own = expected == c
        assert math.isclose(sizes[c], math.fsum(weights[own]), rel_tol=1e-12)
        np.testing.assert_allclose(sums[c], weights[own] @ rows[own].astype(float), atol=1e-12)


@TYPES
def test_add_step__first_centre_wins_a_tie(dtype):
    level = weighted.level_of(np.array([[0.0], [0.5]], dtype), np.ones(2))
    centres = np.array([[0.25], [-0.25], [0.25]])
    assert step(level, centres)[2].tolist() == [0, 0]


def test_add_step__returns_the_squared_error_of_float64():
    rows, weights = made(100, 4)
    centres = made(3, 4, seed=2)[0]
    *_, total = step(weighted.level_of(rows, weights), centres)
    least = ((rows[:, None] - centres[None]) ** 2).sum(axis=2).min(axis=1)
    assert math.isclose(total, math.fsum(weights * least), rel_tol=1e-13)


def test_add_step__tells_rows_apart_far_from_zero():
    """Two groups a million times as far apart as they are wide: dot products would fail."""
    rows = np.concatenate([1.0 + 1e-9 * np.arange(4), -1.0 + 1e-9 * np.arange(4)])[:, None]
    centres = rows[[0, 3, 4, 7]]
    labels = step(weighted.level_of(rows, np.ones(8)), centres)[2]
    assert labels.tolist() == [0, 0, 1, 1, 2, 2, 3, 3]


@TYPES
@pytest.mark.parametrize("seed", range(4))
def test_lloyd__ends_at_a_fixpoint_of_scikit_learn(dtype, seed):
    rows, weights = made(400, 5, dtype, seed)
    start = rows[:6].astype(np.float64)
    centres, sse, n_steps = weighted.lloyd(weighted.level_of(rows, weights), start, 300, 0.0)
    model = KMeans(6, init=centres, n_init=1, tol=0, max_iter=300)
    model.fit(rows.astype(np.float64), sample_weight=weights)
    np.testing.assert_allclose(centres, model.cluster_centers_, atol=1e-6)
    assert math.isclose(sse, model.inertia_, rel_tol=1e-6)
    assert n_steps < 300
    np.testing.assert_array_equal(start, rows[:6])


def test_lloyd__needs_fewer_steps_than_plain_ones_and_ends_no_higher():
    rows, weights = made(2000, 6)
    level = weighted.level_of(rows, weights)
    plain = KMeans(8, init=rows[:8], n_init=1, tol=0, max_iter=300).fit(rows, sample_weight=weights)
    _, sse, n_steps = weighted.lloyd(level, rows[:8], 300, 0.0)
    assert n_steps < 0.75 * plain.n_iter_
    assert sse < plain.inertia_ * 1.002


def test_lloyd__stops_at_its_goal_or_far_from_it():
    rows, weights = made(500, 3)
    level = weighted.level_of(rows, weights)
    _, best, n_steps = weighted.lloyd(level, rows[:6], 300, 0.0)
    for goal in (best * 1.02, best * 0.5):
        _, sse, n_taken = weighted.lloyd(level, rows[:6], 300, 0.0, goal)
        assert n_taken < n_steps
        assert (sse < goal) == (goal > best)


@TYPES
def test_lloyd__error_falls_and_belongs_to_the_means(dtype):
    rows, weights = made(300, 3, dtype)
    level = weighted.level_of(rows, weights)
    start = rows[:5].astype(np.float64)
    errors = [weighted.lloyd(level, start, n, -1.0)[1] for n in range(1, 8)]
    assert errors == sorted(errors, reverse=True)
    labels = step(level, start)[2]
    means = weighted.lloyd(level, start, 1, 0.0)[0]
    assert math.isclose(
        errors[0], weighted.sq_dist_to(level, means, labels, np.empty(300)), rel_tol=1e-6
    )


@TYPES
def test_lloyd__leaves_an_empty_cluster_where_it_is(dtype):
    level = weighted.level_of(np.array([[0.0], [0.5]], dtype), np.ones(2))
    centres, sse, _ = weighted.lloyd(level, np.array([[0.0], [9.0]]), 5, 0.0)
    assert centres.tolist() == [[0.25], [9.0]]
    assert sse == 0.125


@TYPES
def test_worth__agrees_with_the_naive_one(dtype):
    rows, weights = made(200, 4, dtype)
    centres = made(5, 4, np.float32, seed=3)[0].astype(np.float64)
    labels, sq_dist = np.empty(200, np.int32), np.empty(200, dtype)
    removal, sums, sizes = weighted.worth(
        weighted.level_of(rows, weights), centres, labels, sq_dist
    )
    distances = ((rows.astype(float)[:, None] - centres[None]) ** 2).sum(axis=2)
    ordered = np.sort(distances, axis=1)
    np.testing.assert_array_equal(labels, distances.argmin(axis=1))
    np.testing.assert_allclose(sq_dist, ordered[:, 0], atol=1e-6)
    rise = weights * (ordered[:, 1] - ordered[:, 0])
    np.testing.assert_allclose(removal, np.bincount(labels, rise, 5), rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(sizes, np.bincount(labels, weights, 5))
    np.testing.assert_allclose(sums[2], weights[labels == 2] @ rows[labels == 2].astype(float))


def test_worth__of_a_single_centre_is_infinite():
    rows, weights = made(10, 2)
    level = weighted.level_of(rows, weights)
    removal, *_ = weighted.worth(level, rows[:1], np.empty(10, np.int32), np.empty(10))
    assert removal.tolist() == [np.inf]


def test_weighted_mean__is_exact_for_one_value_and_does_not_overflow():
    rows = np.array([[0.1, 1e308], [0.1, 1e308], [0.1, 1e308]])
    assert weighted.weighted_mean(rows, np.array([0.3, 0.7, 1e9])).tolist() == [0.1, 1e308]
    mean = weighted.weighted_mean(np.array([[0.0], [1.0], [5.0]]), np.array([1.0, 2.0, 1.0]))
    assert mean.tolist() == [1.75]


def test_hash_rows__tells_rows_apart_by_their_bits():
    rows = np.random.default_rng(0).integers(0, 4, (500, 3)).astype(np.float64)
    n_hashes = len(np.unique(weighted.hash_rows(rows)))
    assert n_hashes == len(np.unique(rows, axis=0))
