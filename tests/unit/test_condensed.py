"""Condensed trees and what is selected of them: by definition, in any order of the points."""

from __future__ import annotations

import math

import numpy as np
import pytest
import sklearn.cluster
from hypothesis import given
from hypothesis import strategies as st

from daskseg.cluster.density.clusters import Settings, find_clusters
from daskseg.kernels import attach, condensed, kdtree, spanning
from tests import naive_density


def rows_of(n_rows, n_features, seed, lattice=False):
    random = np.random.default_rng(seed)
    centres = random.uniform(-6, 6, (4, n_features))
    rows = centres[random.integers(0, 4, n_rows)] + random.normal(size=(n_rows, n_features))
    return np.round(rows) if lattice else rows


def tree_of(rows, min_samples, min_size):
    tree = kdtree.build(rows)
    sq_core = kdtree.sq_dist_to_kth(tree, tree.points, min_samples)
    return condensed.condense(spanning.span(tree, sq_core), min_size)


def members(tree, node):
    """Points of a cluster at its birth."""
    inside = tree.owner == node
    below = {node}
    for child in range(node + 1, len(tree.parent)):
        if int(tree.parent[child]) in below:
            below.add(child)
            inside |= tree.owner == child
    return frozenset(np.flatnonzero(inside & (tree.left_sq < tree.born_sq[node])).tolist())


def renumbered(labels):
    """Labels by first appearance, noise being -1."""
    found = {}
    return [-1 if one < 0 else found.setdefault(one, len(found)) for one in labels.tolist()]


def test_condense__by_hand():
    # 0, 1, 2 and 10, 11, 13, and 30 alone; single linkage.
    tree = tree_of(np.array([[0.0], [1.0], [2.0], [10.0], [11.0], [13.0], [30.0]]), 1, 3)
    assert tree.parent.tolist() == [-1, 0, 0]
    assert tree.born_sq.tolist() == [np.inf, 64.0, 64.0]
    assert tree.size.tolist() == [7, 3, 3]
    assert tree.left_sq[6] == 17.0**2
    assert tree.owner[6] == 0
    one, other = int(tree.owner[0]), int(tree.owner[3])
    assert tree.owner.tolist() == [one] * 3 + [other] * 3 + [0]
    assert tree.left_sq.tolist()[:6] == [1.0, 1.0, 1.0, 4.0, 4.0, 4.0]
    expected = {one: 3 * (1 - 1 / 8), other: 3 * (1 / 2 - 1 / 8), 0: 1 / 17 + 6 / 8}
    assert condensed.stabilities(tree) == pytest.approx([expected[i] for i in range(3)])


def test_condense__takes_merges_at_one_distance_at_once():
    # Nine places in a row, one apart: all of them are joined at 1, none before.
    tree = tree_of(np.arange(9.0)[:, None], 1, 3)
    assert tree.parent.tolist() == [-1]
    assert tree.left_sq.tolist() == [1.0] * 9


def test_condense__gives_a_point_between_two_parts_to_the_nearer():
    # The core distance of 5 is 4.7, at which it reaches both sides.
    near = [9.5, 9.75, 10.0, 10.25, 10.5]
    rows = np.array([0.0, 0.1, 0.2, 0.3, 0.4, 5.0, *near])[:, None]
    tree = tree_of(rows, 4, 3)
    assert len(tree.parent) == 3
    assert tree.owner[5] == tree.owner[6] != tree.owner[4]
    assert tree.left_sq[5] == tree.born_sq[tree.owner[5]] == pytest.approx(4.7**2)


@given(
    st.integers(2, 60),
    st.integers(1, 3),
    st.integers(1, 6),
    st.integers(2, 8),
    st.booleans(),
    st.integers(0, 999),
)
def test_condense__follows_the_definition(n_rows, n_features, k, min_size, lattice, seed):
    rows = rows_of(n_rows, n_features, seed, lattice)
    k = min(k, n_rows)
    tree = tree_of(rows, k, min_size)
    clusters, left = naive_density.condensed(rows, k, min_size)
    expected = {(birth, frozenset(inside.tolist())) for _, birth, inside in clusters}
    found = {(tree.born_sq[i], members(tree, i)) for i in range(len(tree.parent))}
    assert found == expected
    assert tree.left_sq.tolist() == [left[i][1] for i in range(n_rows)]
    for point in range(n_rows):
        owner = int(tree.owner[point])
        if tree.left_sq[point] < tree.born_sq[owner]:
            number = left[point][0]
            assert members(tree, owner) == frozenset(clusters[number][2].tolist())
    assert tree.size[0] == n_rows
    assert (tree.size[1:] >= min_size).all()


@given(st.integers(1, 9), st.integers(2, 20), st.sampled_from(["eom", "leaf"]), st.integers(0, 999))
def test_find_clusters__does_not_depend_on_the_order_of_the_rows(k, min_size, method, seed):
    rows = rows_of(200, 2, seed)
    settings = Settings(min_size, k, method, 0.0, False)
    order = np.random.default_rng(seed).permutation(len(rows))
    whole, mixed = find_clusters(rows, settings), find_clusters(rows[order], settings)
    assert renumbered(mixed.flat.labels) == renumbered(whole.flat.labels[order])
    assert mixed.flat.strengths.tolist() == whole.flat.strengths[order].tolist()
    assert sorted(mixed.flat.persistence) == sorted(whole.flat.persistence)


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("method", ["eom", "leaf"])
@pytest.mark.parametrize("single", [False, True])
@pytest.mark.parametrize(("min_size", "min_samples"), [(4, 1), (12, 1), (12, 2), (40, 2)])
def test_find_clusters__equals_scikit_learn_without_ties(
    seed, method, single, min_size, min_samples
):
    """With core distances to more neighbours, edges of a row are equal: see the next test."""
    rows = rows_of(300, 2, seed)
    found = find_clusters(rows, Settings(min_size, min_samples, method, 0.0, single)).flat
    reference = sklearn.cluster.HDBSCAN(
        min_cluster_size=min_size,
        min_samples=min_samples,
        cluster_selection_method=method,
        allow_single_cluster=single,
        copy=True,
    ).fit(rows)
    assert renumbered(found.labels) == renumbered(reference.labels_)
    np.testing.assert_allclose(found.strengths, reference.probabilities_, rtol=1e-9)


@pytest.mark.parametrize("seed", range(8))
def test_find_clusters__equals_scikit_learn_up_to_rows_at_a_split(seed):
    """Rows that join two parts at once go with the nearer, in scikit-learn as they are sorted."""
    rows = rows_of(600, 3, seed)
    found = find_clusters(rows, Settings(30, 10, "eom", 0.0, False)).flat
    reference = sklearn.cluster.HDBSCAN(min_cluster_size=30, min_samples=10, copy=True).fit(rows)
    tree = tree_of(rows, 10, 30)
    sure = ~np.isin(tree.left_sq, tree.born_sq)
    assert sure.mean() > 0.95
    assert renumbered(found.labels[sure]) == renumbered(reference.labels_[sure])
    # Of a cluster whose densest row is such a one, strengths differ by a factor.
    close = np.isclose(found.strengths, reference.probabilities_, rtol=1e-9)
    assert close[sure].mean() > 0.95


def chain(births):
    """A tree of clusters that split in two again and again, each second part a leaf."""
    parent, born = [-1], [np.inf]
    for birth in births:
        inner = len(parent) - 1 if len(parent) > 1 else 0
        parent += [inner, inner]
        born += [birth**2, birth**2]
    n_nodes = len(parent)
    owner = np.repeat(np.arange(n_nodes), 5)
    left = np.full(len(owner), 0.01)
    sizes = [5 * (n_nodes - i if i % 2 == 0 else 1) for i in range(n_nodes)]
    return condensed.Condensed(np.array(parent), np.array(born), np.array(sizes), owner, left)


def test_select__epsilon_merges_what_splits_below_it():
    # 1, 2 below 0 at 8; 3, 4 below 2 at 4; 5, 6 below 4 at 2; 7, 8 below 6 at 1.
    tree = chain([8.0, 4.0, 2.0, 1.0])
    assert condensed.select(tree, "leaf", 0.0, with_root=False) == [1, 3, 5, 7, 8]
    assert condensed.select(tree, "leaf", 1.5, with_root=False) == [1, 3, 5, 6]
    assert condensed.select(tree, "leaf", 3.0, with_root=False) == [1, 3, 4]
    assert condensed.select(tree, "leaf", 5.0, with_root=False) == [1, 2]
    # Without the root its parts are the last that can be.
    assert condensed.select(tree, "leaf", 9.0, with_root=False) == [1, 2]
    assert condensed.select(tree, "leaf", 9.0, with_root=True) == [0]


def test_select__mass_of_the_parts_against_that_of_the_whole():
    rows = np.concatenate([np.arange(5.0), 5.5 + np.arange(5.0), 40.0 + np.arange(5.0)])[:, None]
    tree = tree_of(rows, 1, 5)
    # All within 1 or 1.5 of each other: one cluster of ten lasts longer than its two halves.
    selected = condensed.select(tree, "eom", 0.0, with_root=False)
    assert sorted(tree.size[selected].tolist()) == [5, 10]
    assert len(condensed.select(tree, "leaf", 0.0, with_root=False)) == 3


def test_flatten__places_with_many_rows_are_infinitely_dense():
    rows = np.array([0.0] * 6 + [1.0, 1.5, 2.0] + [9.0] * 6 + [9.5])[:, None]
    flat = find_clusters(rows, Settings(5, 3, "eom", 0.0, False)).flat
    assert flat.labels[:6].tolist() == [0] * 6 or flat.labels[:6].tolist() == [1] * 6
    assert flat.strengths[:6].tolist() == [1.0] * 6
    assert flat.persistence.tolist() == [1.0, 1.0]
    assert np.isfinite(flat.strengths).all()


def test_flatten__numbers_clusters_by_size():
    rows = np.concatenate([np.arange(6.0), 50.0 + np.arange(9.0), 99.0 + np.arange(6.0)])[:, None]
    flat = find_clusters(rows, Settings(5, 1, "eom", 0.0, False)).flat
    assert flat.labels.tolist() == [1] * 6 + [0] * 9 + [2] * 6


def test_stabilities__sum_in_no_order():
    tree = tree_of(rows_of(400, 2, 3), 3, 10)
    born = 1.0 / np.sqrt(tree.born_sq)
    for node, found in enumerate(condensed.stabilities(tree).tolist()):
        own = (1.0 / np.sqrt(tree.left_sq[tree.owner == node]) - born[node]).tolist()
        below = [
            float((born[i] - born[node]) * tree.size[i])
            for i in np.flatnonzero(tree.parent == node)
        ]
        assert found == math.fsum(own + below)


@given(st.integers(1, 8), st.integers(2, 12), st.booleans(), st.booleans(), st.integers(0, 999))
def test_attach__is_what_looking_at_all_landmarks_says(k, min_size, lattice, single, seed):
    marks = rows_of(80, 2, seed, lattice)
    found = find_clusters(marks, Settings(min_size, k, "eom", 0.0, single))
    asked = np.concatenate([rows_of(40, 2, seed + 1, lattice), marks[:5] + 0.25])
    tree = tree_of(marks, k, min_size)
    got = attach.attach(found.marks, asked)
    for i, row in enumerate(asked):
        label, sq_dist, nearest = naive_density.attached(
            marks, k, found.flat.labels, tree.left_sq, found.flat.reach_sq, row
        )
        assert (got.labels[i], got.nearest[i]) == (label, nearest)
        strength = 0.0
        if label >= 0:
            peak = found.flat.peak_sq[label]
            strength = 1.0 if sq_dist <= peak else math.sqrt(peak / sq_dist)
        assert got.strengths[i] == strength
    plain = attach.attach(found.marks, asked, with_nearest=False)
    assert plain.nearest.tolist() == plain.labels.tolist() == got.labels.tolist()


@given(st.integers(1, 8), st.integers(2, 12), st.booleans(), st.booleans(), st.integers(0, 999))
def test_attach__gives_landmarks_what_they_have(k, min_size, lattice, single, seed):
    marks = rows_of(120, 2, seed, lattice)
    found = find_clusters(marks, Settings(min_size, k, "leaf", 0.5, single))
    got = attach.attach(found.marks, marks)
    assert got.labels.tolist() == found.flat.labels.tolist()
    assert got.strengths.tolist() == found.flat.strengths.tolist()
