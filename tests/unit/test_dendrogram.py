"""Drawn trees and matrices of agreement: what stands where, with which words."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.cluster.hierarchy as scipy_trees
from bokeh.models import MultiLine, Rect, Scatter, Segment, Text

from daskseg.charts import agreement
from daskseg.charts.dendrogram import dendrogram, shape_of
from daskseg.errors import UsageError
from daskseg.kernels import linkage

THREE = np.array([[0.0, 2.0, 1.0, 2.0], [1.0, 3.0, 5.0, 3.0]])


def renderers(plot, kind):
    return [one for one in plot.renderers if isinstance(one.glyph, kind)]


def test_shape_of__by_hand():
    shape = shape_of(THREE, np.array([10.0, 20.0, 30.0]), cut=2)
    assert [(leaf.x, leaf.weight, leaf.cluster) for leaf in shape.leaves] == [
        (0.0, 20.0, 0),
        (1.0, 10.0, 1),
        (2.0, 30.0, 1),
    ]
    low, top = shape.joins
    assert (low.xs, low.ys) == ((1.0, 1.0, 2.0, 2.0), (0.0, 1.0, 1.0, 0.0))
    assert (low.weight, low.height, low.cluster) == (40.0, 1.0, 1)
    assert (top.xs, top.ys) == ((0.0, 0.0, 1.5, 1.5), (0.0, 5.0, 5.0, 1.0))
    assert (top.weight, top.cluster) == (60.0, -1)


def test_shape_of__is_cut_off_below():
    rows = np.random.default_rng(0).normal(size=(200, 3))
    tree = linkage.link_points(rows, np.ones(200), "ward")
    shape = shape_of(tree, n_leaves=30, cut=4)
    assert (len(shape.leaves), len(shape.joins)) == (30, 29)
    labels, order = linkage.cut(tree, 30)
    sizes = [leaf.weight for leaf in shape.leaves]
    assert sizes == np.bincount(labels).tolist()
    coarse = linkage.cut(tree, 4)[0]
    firsts = [order[np.flatnonzero(labels[order] == label)[0]] for label in range(30)]
    assert [leaf.cluster for leaf in shape.leaves] == coarse[firsts].tolist()
    assert [join.height for join in shape.joins] == tree[-29:, 2].tolist()


def test_shape_of__of_all_leaves_is_as_scipy_draws_it():
    rows = np.random.default_rng(1).normal(size=(20, 3))
    tree = scipy_trees.linkage(rows, "average")
    own = shape_of(tree, n_leaves=50)
    theirs = scipy_trees.dendrogram(tree, no_plot=True, distance_sort=False, count_sort=False)
    ours = sorted((tuple(np.array(join.xs) * 10 + 5), join.ys) for join in own.joins)
    expected = sorted(
        (tuple(xs), tuple(ys)) for xs, ys in zip(theirs["icoord"], theirs["dcoord"], strict=True)
    )
    np.testing.assert_allclose(ours, expected)


def test_dendrogram__has_brackets_leaves_names_and_words():
    plot = dendrogram(THREE, np.array([10.0, 20.0, 30.0]), cut=2, names=["few", "many"])
    (brackets,) = renderers(plot, MultiLine)
    assert brackets.data_source.data["hover"] == [
        "40 rows join at height 1",
        "60 rows join at height 5",
    ]
    inks = brackets.data_source.data["ink"]
    assert inks[0] != inks[1]
    (leaves,) = renderers(plot, Scatter)
    assert leaves.data_source.data["hover"][0].startswith("20 rows, 33")
    (names,) = renderers(plot, Text)
    assert names.data_source.data["text"] == ["few", "many"]
    assert names.data_source.data["x"] == [0.0, 1.5]


def test_dendrogram__of_points_that_are_equal():
    tree = np.array([[0.0, 1.0, 0.0, 2.0]])
    assert dendrogram(tree).y_range.end > 0


@pytest.mark.parametrize(
    ("tree", "options", "match"),
    [
        (np.empty((0, 4)), {}, "nothing to draw"),
        (THREE, {"weights": np.ones(2)}, "the tree has 3 points"),
        (THREE, {"n_leaves": 1}, "n_leaves=1"),
        (THREE, {"cut": 4}, "not a number of clusters from 1 to 3"),
        (THREE, {"cut": 2, "names": ["a"]}, "there are 1 names, but cut=2"),
    ],
)
def test_dendrogram__refuses(tree, options, match):
    with pytest.raises(UsageError, match=match):
        dendrogram(tree, **options)


def test_pooled__averages_cells():
    values = np.random.default_rng(0).random((7, 7))
    cells, edges = agreement.pooled(values, 3)
    assert edges.tolist() == [0, 2, 5, 7]
    assert cells[1, 2] == pytest.approx(values[2:5, 5:7].mean())
    same, edges = agreement.pooled(values, 10)
    np.testing.assert_array_equal(same, values)
    assert len(edges) == 8


def test_matrix__has_cells_and_borders():
    values = np.eye(4)
    values[:2, :2] = 0.5
    plot = agreement.matrix(values, np.array([0, 0, 1, 2]))
    (cells,) = renderers(plot, Rect)
    assert len(cells.data_source.data["share"]) == 16
    assert cells.data_source.data["hover"][0].startswith("In one cluster in 50")
    (borders,) = renderers(plot, Segment)
    assert borders.data_source.data["x0"] == [2, 3, 0, 0]
    assert borders.data_source.data["y0"] == [0, 0, 2, 3]


def test_matrix__refuses_what_is_no_square():
    with pytest.raises(UsageError, match="a square"):
        agreement.matrix(np.ones((2, 3)), np.zeros(2))
    with pytest.raises(UsageError, match="one label for each"):
        agreement.matrix(np.ones((2, 2)), np.zeros(3))
