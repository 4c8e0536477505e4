"""Dense rows, their components and what they touch, by trees and by all pairs."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.sparse.csgraph import connected_components

from daskseg.kernels import density, density_join, density_near, kdtree


def made(seed):
    """Rows of many kinds, a radius and a least number."""
    rng = np.random.default_rng(seed)
    d, n = int(rng.integers(1, 5)), int(rng.integers(1, 700))
    kind = seed % 4
    if kind == 0:
        rows, eps = rng.normal(size=(n, d)), rng.uniform(0.1, 1.0)
    elif kind == 1:
        rows, eps = rng.integers(0, 9, size=(n, d)).astype(float), float(rng.integers(1, 4))
    elif kind == 2:
        # A dense middle, a thin rim, and repeats.
        rows = rng.normal(size=(n, d)) * rng.choice([0.01, 0.3, 3.0], size=(n, 1))
        rows[n // 2 :] = rows[: n - n // 2]
        eps = rng.uniform(0.05, 0.5)
    else:
        # Far from zero, where differences lose digits.
        rows, eps = 1e6 + rng.integers(0, 40, size=(n, d)) / 8, 0.25
    return rows, float(eps), int(rng.integers(1, 12))


def near_pairs(rows, eps):
    sq = np.zeros((len(rows), len(rows)))
    for column in rows.T:
        sq += (column[:, None] - column[None]) ** 2
    return sq <= eps * eps


@pytest.mark.parametrize("seed", range(40))
def test_core_rows__are_those_with_enough_neighbours(seed):
    rows, eps, least = made(seed)
    tree = kdtree.build(rows)
    near = near_pairs(tree.points, eps)
    found = density.core_rows(tree, density.ball_of(eps, least, is_weighted=False))
    np.testing.assert_array_equal(found, near.sum(axis=1) >= least)
    weights = np.random.default_rng(seed).integers(0, 8, len(rows)) / 4
    ball = density.ball_of(eps, least, is_weighted=True)
    found = density.core_rows(tree, ball, density.fixed_weights(weights, least))
    np.testing.assert_array_equal(found, near @ weights >= least)


@pytest.mark.parametrize("seed", range(8))
def test_core_rows__answers_what_is_asked_for(seed):
    rows, eps, least = made(seed)
    tree = kdtree.build(rows)
    ball = density.ball_of(eps, least, is_weighted=False)
    every = density.core_rows(tree, ball)
    wanted = np.random.default_rng(seed).random(len(rows)) < 0.5
    some = density.core_rows(tree, ball, is_wanted=wanted)
    np.testing.assert_array_equal(some[wanted], every[wanted])
    assert not (some & ~every).any()


@pytest.mark.parametrize("seed", range(40))
def test_connect__finds_the_components_of_dense_rows(seed):
    rows, eps, _ = made(seed)
    tree = kdtree.build(rows)
    is_core = np.random.default_rng(seed).random(len(rows)) < [0.1, 0.5, 0.9, 1.0][seed // 4 % 4]
    near = near_pairs(tree.points, eps)
    found = density_join.connect(tree, is_core, eps * eps)
    assert (found[~is_core] == -1).all()
    _, wanted = connected_components(near[np.ix_(is_core, is_core)], directed=False)
    pairs = np.unique(np.column_stack([found[is_core], wanted]), axis=0)
    assert len(pairs) == len(np.unique(wanted)) == len(np.unique(found[is_core]))
    inside, touched = density_join.touched(tree, found, eps * eps)
    expected = {
        (i, found[j]) for i in np.flatnonzero(~is_core) for j in np.flatnonzero(is_core & near[i])
    }
    assert sorted(zip(inside.tolist(), touched.tolist(), strict=True)) == sorted(expected)


def test_touched__answers_what_is_asked_for():
    tree = kdtree.build(np.array([[0.0], [1.0], [2.0]]))
    component = np.where(tree.points[:, 0] == 1.0, 1, -1)
    rows, found = density_join.touched(tree, component, 1.0, tree.points[:, 0] == 2.0)
    assert tree.points[rows, 0].tolist() == [2.0]
    assert found.tolist() == [1]


def test_touched__grows_beyond_its_first_room():
    rows = np.arange(5_000.0)[:, None]
    tree = kdtree.build(rows)
    component = np.where(tree.points[:, 0] % 2 == 0, tree.points[:, 0].astype(int), -1)
    found, touched = density_join.touched(tree, component, 1.0)
    assert len(found) == 2 * 2_500 - 1
    assert (np.abs(tree.points[found, 0] - touched) == 1).all()


def test_roots_of_pairs__are_the_least_members():
    roots = density_join.roots_of_pairs(6, np.array([5, 1, 3]), np.array([3, 2, 4]))
    assert roots.tolist() == [0, 1, 1, 3, 3, 3]


@pytest.mark.parametrize(
    ("weights", "least", "is_dense"),
    [
        ([1 / 3, 1 / 3, 1 / 3], 1, True),  # their exact sum is below one, and rounds to it
        ([0.1] * 10, 1, True),
        ([0.5, 0.5 - 2.0**-50], 1, False),
        ([1e300, 0.0], 7, True),
        ([2.0, 2.0, 0.75], 5, False),
        ([0.0, 0.0], 1, False),
        ([2.0**40], 2**40, True),
    ],
)
def test_fixed_weights__are_added_exactly_and_rounded_once(weights, least, is_dense):
    tree = kdtree.build(np.zeros((len(weights), 1)))
    ball = density.ball_of(1.0, least, is_weighted=True)
    fixed = density.fixed_weights(np.array(weights), least)
    assert density.core_rows(tree, ball, fixed).all() == is_dense


@pytest.mark.parametrize("seed", range(12))
def test_nearest__is_the_label_of_the_nearest_point(seed):
    rows, eps, _ = made(seed)
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 5, len(rows))
    places = np.concatenate([rows[:50], rows[:50] + rng.normal(size=rows[:50].shape)])
    near = density_near.labelled(rows, labels)
    sq = np.zeros((len(places), len(rows)))
    for ours, theirs in zip(places.T, rows.T, strict=True):
        sq += (ours[:, None] - theirs[None]) ** 2
    least = sq.min(axis=1)
    wanted = np.array([labels[line == low].min() for line, low in zip(sq, least, strict=True)])
    np.testing.assert_array_equal(density_near.nearest(near, places)[0], wanted)
    found, sq_dist = density_near.nearest(near, places, eps * eps)
    np.testing.assert_array_equal(found, np.where(least <= eps * eps, wanted, -1))
    np.testing.assert_array_equal(sq_dist, np.where(least <= eps * eps, least, np.inf))


def test_least_distances__merge_to_those_of_all_rows():
    rng = np.random.default_rng(0)
    rows, places = rng.normal(size=(300, 3)), rng.normal(size=(20, 3))
    parts = [density_near.least_distances(places, rows[s], 7) for s in np.split(np.arange(300), 50)]
    merged = parts[0]
    for part in parts[1:]:
        merged = density_near.merge_least(part, merged)
    sq = np.sort(((places[:, None] - rows[None]) ** 2).sum(axis=2), axis=1)[:, :7]
    np.testing.assert_allclose(merged, sq, rtol=1e-13)
    assert np.isinf(density_near.least_distances(places, rows[:0], 2)).all()
