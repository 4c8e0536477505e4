"""Trees of weighted points: SciPy's for single rows, and those of repeated rows for weights."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.cluster.hierarchy as scipy_trees
from hypothesis import given, settings
from hypothesis import strategies as st

from daskseg.kernels import linkage

EVERY_METHOD = pytest.mark.parametrize("method", linkage.METHODS)


def points(n=200, n_features=4, seed=0):
    return np.random.default_rng(seed).normal(size=(n, n_features))


def cophenetic(tree):
    """Heights at which every two leaves meet; these do not depend on how groups are numbered."""
    return scipy_trees.cophenet(tree)


def test_link_points__by_hand():
    rows, weights = np.array([[0.0], [1.0], [9.0]]), np.array([1.0, 1.0, 2.0])
    tree = linkage.link_points(rows, weights, "ward")
    # Squared error of {0, 1}: 0.5. All four about 4.75: 22.5625 + 14.0625 + 2 * 18.0625 = 72.75.
    expected = [[0.0, 1.0, 1.0, 2.0], [2.0, 3.0, np.sqrt(2.0 * 72.25), 3.0]]
    np.testing.assert_allclose(tree, expected, rtol=1e-15)
    assert linkage.group_weights(tree, weights).tolist() == [2.0, 4.0]
    tree = linkage.link_points(rows, np.array([1.0, 3.0, 2.0]), "average")
    np.testing.assert_allclose(tree[1], [2.0, 3.0, (9.0 + 3 * 8.0) / 4, 3.0], rtol=1e-15)
    tree = linkage.link_points(rows, np.ones(3), "complete")
    assert tree[1].tolist() == [2.0, 3.0, 9.0, 3.0]


@EVERY_METHOD
@pytest.mark.parametrize("seed", [0, 1])
def test_link_points__of_single_rows_is_the_tree_of_scipy(method, seed):
    rows = points(seed=seed)
    own = linkage.link_points(rows, np.ones(len(rows)), method)
    other = scipy_trees.linkage(rows, method)
    np.testing.assert_array_equal(own[:, [0, 1, 3]], other[:, [0, 1, 3]])
    np.testing.assert_allclose(own[:, 2], other[:, 2], rtol=1e-13)
    assert scipy_trees.is_valid_linkage(own)


@EVERY_METHOD
@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000), st.integers(2, 40), st.integers(1, 3))
def test_link_points__weights_are_repeats(method, seed, n, n_features):
    random = np.random.default_rng(seed)
    rows = random.normal(size=(n, n_features)) + 1e3
    weights = random.integers(1, 7, n)
    own = linkage.link_points(rows, weights.astype(float), method)
    other = scipy_trees.linkage(np.repeat(rows, weights, axis=0), method)
    other = other[len(other) - len(own) :]
    np.testing.assert_allclose(own[:, 2], other[:, 2], rtol=1e-9)
    np.testing.assert_array_equal(linkage.group_weights(own, weights.astype(float)), other[:, 3])


def test_link_points__unweighted_means_would_give_other_heights():
    rows, weights = points(), np.random.default_rng(1).integers(1, 50, 200).astype(float)
    heavy = linkage.link_points(rows, weights, "ward")
    light = linkage.link_points(rows, np.ones(200), "ward")
    assert heavy[-1, 2] > 2.0 * light[-1, 2]


@EVERY_METHOD
def test_link_points__heights_never_fall_also_where_many_are_equal(method):
    rows = np.random.default_rng(0).integers(0, 4, (300, 3)).astype(float)
    tree = linkage.link_points(rows, np.ones(300), method)
    assert (np.diff(tree[:, 2]) >= 0).all()
    assert scipy_trees.is_valid_linkage(tree)
    assert tree[-1, 3] == 300.0


@EVERY_METHOD
def test_link_points__does_not_depend_on_the_order_of_the_points(method):
    rows, weights = points(120), np.random.default_rng(1).random(120) + 0.1
    order = np.random.default_rng(2).permutation(120)
    one = linkage.link_points(rows, weights, method)
    other = linkage.link_points(rows[order], weights[order], method)
    square = np.zeros((120, 120))
    square[np.triu_indices(120, 1)] = cophenetic(one)
    square += square.T
    np.testing.assert_allclose(
        square[np.ix_(order, order)][np.triu_indices(120, 1)], cophenetic(other), rtol=1e-12
    )
    for k in (2, 5, 30):
        pairs = set(zip(linkage.cut(one, k)[0][order], linkage.cut(other, k)[0], strict=True))
        assert len(pairs) == k


def test_link_points__of_weights_that_differ_by_far():
    rows, weights = points(60), 10.0 ** np.random.default_rng(0).integers(0, 9, 60)
    tree = linkage.link_points(rows, weights, "ward")
    mean = np.average(rows, axis=0, weights=weights)
    total = float((weights[:, None] * (rows - mean) ** 2).sum())
    assert 0.5 * float((tree[:, 2] ** 2).sum()) == pytest.approx(total, rel=1e-12)


def test_link_points__of_one_and_two():
    assert linkage.link_points(np.ones((1, 2)), np.ones(1), "ward").shape == (0, 4)
    two = linkage.link_points(np.array([[0.0], [3.0]]), np.array([1.0, 2.0]), "average")
    assert two.tolist() == [[0.0, 1.0, 3.0, 2.0]]


def test_link_matrix__average_of_given_dissimilarities():
    apart = np.array([[0.0, 0.1, 0.8], [0.1, 0.0, 0.6], [0.8, 0.6, 0.0]])
    tree = linkage.link_matrix(apart, np.array([3.0, 1.0, 1.0]), "average")
    np.testing.assert_allclose(tree[:, 2], [0.1, 0.75], rtol=1e-15)


def test_cut__is_nested_and_agrees_with_scipy():
    tree = linkage.link_points(points(80), np.ones(80), "ward")
    last = np.zeros(80, np.int32)
    for k in range(1, 81):
        labels, order = linkage.cut(tree, k)
        assert sorted(set(labels.tolist())) == list(range(k))
        # The numbers rise from left to right, and one old group holds each new one.
        assert (np.diff(labels[order]) >= 0).all()
        assert len(set(zip(labels, last, strict=True))) == k
        theirs = scipy_trees.fcluster(tree, k, "maxclust")
        assert len(set(zip(labels, theirs, strict=True))) == k
        last = labels
    np.testing.assert_array_equal(linkage.leaf_order(tree), scipy_trees.leaves_list(tree))


def test_cut__of_a_single_leaf():
    labels, order = linkage.cut(np.empty((0, 4)), 1)
    assert (labels.tolist(), order.tolist()) == ([0], [0])


def test_n_groups_at__joins_below_the_height():
    tree = linkage.link_points(np.array([[0.0], [1.0], [9.0]]), np.ones(3), "complete")
    heights = (0.5, 1.0, 1.5, 9.0, 9.5)
    assert [linkage.n_groups_at(tree, height) for height in heights] == [3, 3, 2, 2, 1]
