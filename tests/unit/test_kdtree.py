"""Trees of points and minimum spanning trees: exact, whatever the points."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.sparse.csgraph import minimum_spanning_tree

from daskseg.kernels import kdtree, spanning
from tests.naive_density import mutual_reachability


def points(n_points, n_features, seed=0, lattice=False):
    random = np.random.default_rng(seed)
    values = random.normal(size=(n_points, n_features))
    return np.round(2 * values) if lattice else values


def span(rows, min_samples):
    tree = kdtree.build(rows)
    sq_core = kdtree.sq_dist_to_kth(tree, tree.points, min_samples)
    return spanning.span(tree, sq_core)


def test_sq_dist_to_kth__by_hand():
    tree = kdtree.build(np.array([[0.0], [1.0], [3.0], [7.0]]))
    assert kdtree.sq_dist_to_kth(tree, np.array([[0.0], [6.0]]), 1).tolist() == [0.0, 1.0]
    assert kdtree.sq_dist_to_kth(tree, np.array([[0.0], [6.0]]), 3).tolist() == [9.0, 25.0]
    assert kdtree.sq_dist_to_kth(tree, np.array([[0.0]]), 5).tolist() == [np.inf]


@given(
    st.integers(1, 300), st.integers(1, 6), st.integers(1, 12), st.booleans(), st.integers(0, 99)
)
def test_sq_dist_to_kth__is_that_of_all_pairs(n_points, n_features, k, lattice, seed):
    rows = points(n_points, n_features, seed, lattice)
    asked = points(20, n_features, seed + 1, lattice)
    k = min(k, n_points)
    sq = sum((a[:, None] - b[None]) ** 2 for a, b in zip(asked.T, rows.T, strict=True))
    expected = np.sort(sq, axis=1)[:, k - 1]
    tree = kdtree.build(rows)
    assert kdtree.sq_dist_to_kth(tree, asked, k).tolist() == expected.tolist()
    narrow = kdtree.sq_dist_to_kth(tree, asked.astype(np.float32), k)
    wide = kdtree.sq_dist_to_kth(tree, asked.astype(np.float32).astype(np.float64), k)
    assert narrow.tolist() == wide.tolist()


def test_build__halves_the_points_and_boxes_them():
    rows = points(1_000, 3)
    tree = kdtree.build(rows)
    assert sorted(tree.places.tolist()) == list(range(1_000))
    np.testing.assert_array_equal(tree.points, rows[tree.places])
    for node in range(len(tree.start)):
        inside = tree.points[tree.start[node] : tree.stop[node]]
        np.testing.assert_array_equal(tree.low[node], inside.min(axis=0))
        np.testing.assert_array_equal(tree.high[node], inside.max(axis=0))
        if 2 * node + 2 < len(tree.start):
            assert tree.start[2 * node + 1] == tree.start[node]
            assert tree.stop[2 * node + 1] == tree.start[2 * node + 2]
            assert tree.stop[2 * node + 2] == tree.stop[node]


def test_least_of_nodes__is_the_least_of_each_node():
    tree = kdtree.build(points(500, 2))
    values = np.random.default_rng(3).normal(size=500)
    least = kdtree.least_of_nodes(tree, values)
    expected = [values[a:b].min() for a, b in zip(tree.start, tree.stop, strict=True)]
    assert least.tolist() == expected


@given(st.integers(2, 200), st.integers(1, 4), st.integers(1, 8), st.booleans(), st.integers(0, 99))
def test_span__weighs_as_little_as_scipys_tree(n_points, n_features, k, lattice, seed):
    rows = points(n_points, n_features, seed, lattice)
    k = min(k, n_points)
    found = span(rows, k)
    reach, _, sq = mutual_reachability(rows, k)
    assert found.sq_dist.tolist() == reach[found.first, found.second].tolist()
    assert (np.diff(found.sq_dist) >= 0).all()
    # The ranks of all pairs as weights: scipy takes zeros for missing edges, and sums round.
    _, weights = np.unique(reach, return_inverse=True)
    weights = weights.reshape(reach.shape) + 1.0
    expected = minimum_spanning_tree(np.triu(weights, 1)).data
    assert sorted(weights[found.first, found.second]) == sorted(expected)
    # Of trees that weigh the same, that of the shortest edges.
    _, order = np.unique(np.stack([reach, sq], axis=-1).reshape(-1, 2), axis=0, return_inverse=True)
    finer = order.reshape(reach.shape) + 1.0
    expected = minimum_spanning_tree(np.triu(finer, 1)).data
    assert finer[found.first, found.second].tolist() == sorted(expected)


def test_span__joins_all_points():
    found = span(points(2_000, 5), 10)
    seen = spanning.walk(found)[0]
    assert sorted(seen.tolist()) == list(range(2_000))


def test_walk__by_hand():
    order, sq_dist = spanning.walk(span(np.array([[0.0], [5.0], [1.0], [7.0]]), 2))
    # Core distances 1, 2, 1 and 2; 5 is 4 away from 1.
    assert order.tolist() == [0, 2, 1, 3]
    assert sq_dist.tolist() == [np.inf, 16.0, 1.0, 4.0]


@pytest.mark.parametrize("lattice", [False, True])
def test_walk__takes_the_shortest_edge_to_a_new_point(lattice):
    rows = points(150, 2, 4, lattice)
    reach, _, _ = mutual_reachability(rows, 4)
    order, sq_dist = spanning.walk(span(rows, 4))
    for i in range(1, len(order)):
        before, after = order[:i], order[i:]
        assert sq_dist[order[i]] == reach[np.ix_(before, after)].min()
        assert sq_dist[order[i]] == reach[before, order[i]].min()
