"""Splits in two: scikit-learn's tree where all rows fit, exact sums elsewhere."""

from __future__ import annotations

import dask
import dask.array as da
import numpy as np
import pytest
import scipy.sparse
import sklearn.cluster
import zarr
from sklearn.datasets import load_digits, load_iris

from daskseg.cluster import BisectingKMeans, KMeans, bisecting
from daskseg.errors import DasksegWarning, InputError, SchemaMismatchError, UsageError
from daskseg.kernels import splits
from daskseg.kernels.splits import Splits
from tests.counting import Counted


def groups(n_rows=900, n_features=3, k=5, seed=0, spread=4.0):
    random = np.random.default_rng(seed)
    centres = random.normal(0, spread, (k, n_features))
    return centres[random.integers(0, k, n_rows)] + random.normal(size=(n_rows, n_features))


def state(model):
    return (
        model.cluster_centers_.tobytes(),
        model.split_centers_.tobytes(),
        model.children_.tobytes(),
        np.asarray(model.labels_).tobytes(),
        model.inertia_,
    )


def leaf_of(row, tree):
    """The leaf of a row, slowly."""
    n_leaves = len(tree.children) + 1
    node = n_leaves
    while node >= n_leaves:
        ends = tree.centres[node - n_leaves]
        node = tree.children[node - n_leaves][int(np.argmin(((ends - row) ** 2).sum(axis=1)))]
    return node


@pytest.fixture
def few_rows(monkeypatch):
    monkeypatch.setattr(bisecting, "sample_rows_for", lambda k: 400)


def test_follow__goes_from_the_root_down():
    tree = Splits(
        np.array([[4, 0], [1, 2]]),
        np.array([[[0.0, 0.0], [9.0, 0.0]], [[0.0, 3.0], [0.0, -3.0]]]),
    )
    rows = np.array([[1.0, 2.0], [1.0, -2.0], [8.0, 2.0], [4.5, 0.0], [4.6, 0.0]])
    assert splits.follow(rows, tree).tolist() == [1, 2, 0, 1, 0]
    for dtype in (np.float32, np.float64):
        many = np.random.default_rng(0).normal(0, 5, (500, 2)).astype(dtype)
        expected = [leaf_of(row.astype(float), tree) for row in many]
        assert splits.follow(many, tree).tolist() == expected
    empty = Splits(np.empty((0, 2), np.int64), np.empty((0, 2, 2)))
    assert splits.follow(rows, empty).tolist() == [0] * 5


def test_fit__by_hand():
    rows = np.array([[0.0], [1.0], [9.0], [10.0], [30.0], [31.0], [32.0]])
    model = BisectingKMeans(3).fit(rows)
    assert model.children_.tolist() == [[4, 2], [0, 1]]
    assert model.cluster_centers_.tolist() == [[0.5], [9.5], [31.0]]
    assert model.labels_.tolist() == [0, 0, 1, 1, 2, 2, 2]
    assert model.split_centers_.tolist() == [[[5.0], [31.0]], [[0.5], [9.5]]]
    assert model.inertia_ == 0.5 + 0.5 + 2.0
    assert model.split_gains_.tolist() == pytest.approx([4 * 3 / 7 * 26.0**2, 81.0])
    assert model.cluster_weights_.tolist() == [2.0, 2.0, 3.0]


def test_fit__largest_cluster_splits_the_heaviest():
    # Many rows close together beside few that are far apart.
    rows = np.concatenate([np.linspace(0, 1, 20), [100.0, 120.0, 140.0]])[:, None]
    by_error = BisectingKMeans(3).fit(rows)
    by_size = BisectingKMeans(3, bisecting_strategy="largest_cluster").fit(rows)
    assert sorted(by_error.cluster_weights_.tolist()) == [1.0, 2.0, 20.0]
    assert sorted(by_size.cluster_weights_.tolist()) == [3.0, 10.0, 10.0]
    weights = np.append(np.ones(20), [50.0, 50.0, 50.0])
    heavy = BisectingKMeans(3, bisecting_strategy="largest_cluster")
    heavy.fit(rows, sample_weight=weights)
    assert sorted(heavy.cluster_weights_.tolist()) == [20.0, 50.0, 100.0]


@pytest.mark.parametrize("strategy", ["biggest_inertia", "largest_cluster"])
@pytest.mark.parametrize(("load", "k"), [(load_iris, 5), (load_digits, 10)])
def test_fit__is_as_good_as_scikit_learn(load, k, strategy):
    rows = load().data
    own = BisectingKMeans(k, bisecting_strategy=strategy, n_init=10).fit(rows)
    other = sklearn.cluster.BisectingKMeans(
        k, bisecting_strategy=strategy, n_init=10, random_state=0
    ).fit(rows)
    assert own.inertia_ <= 1.002 * other.inertia_
    assert own.inertia_ >= 0.999 * KMeans(k).fit(rows).inertia_


@pytest.mark.parametrize("shift", [0.0, 1e6])
def test_fit__sums_are_exact(shift, few_rows):
    rows = groups(3_000, k=8) + shift
    model = BisectingKMeans(6).fit(rows)
    near = rows - shift
    for label in range(6):
        own = near[model.labels_ == label]
        assert model.cluster_weights_[label] == len(own)
        np.testing.assert_allclose(
            model.cluster_centers_[label] - shift, own.mean(axis=0), atol=1e-12 + shift * 1e-15
        )
    error = ((near - (model.cluster_centers_ - shift)[model.labels_]) ** 2).sum()
    assert model.inertia_ == pytest.approx(error, rel=1e-9)
    total = ((near - near.mean(axis=0)) ** 2).sum()
    assert model.split_gains_.sum() == pytest.approx(total - error, rel=1e-9)
    assert model.score(rows) == pytest.approx(-model.inertia_, rel=1e-9)
    assert model.n_passes_ <= 4.0


def test_fit__of_far_off_float32_rows_measures_the_error_of_its_centres():
    rows = (groups(400, 2) * 1e-3 + 1e4).astype(np.float32)
    rows[0] = -1e6
    model = BisectingKMeans(3).fit(rows)
    wide = rows.astype(float)
    error = ((wide - model.cluster_centers_.astype(float)[model.labels_]) ** 2).sum()
    assert model.inertia_ == pytest.approx(error, rel=1e-9)


def test_predict__of_the_rows_of_the_fit_gives_their_labels(few_rows):
    rows = groups(2_000)
    model = BisectingKMeans(6).fit(rows)
    np.testing.assert_array_equal(model.predict(rows), model.labels_)
    tree = Splits(model.children_, model.split_centers_)
    assert [leaf_of(row, tree) for row in rows[:200]] == model.labels_[:200].tolist()
    lazy = model.predict(da.from_array(rows, chunks=(300, 2)))
    np.testing.assert_array_equal(lazy.compute(), model.labels_)
    assert model.transform(rows).shape == (2_000, 6)


def test_fit__of_a_sample_comes_near_that_of_all_rows(few_rows, monkeypatch):
    rows = groups(4_000, k=6, spread=6.0)
    model = BisectingKMeans(6).fit(rows)
    monkeypatch.undo()
    whole = BisectingKMeans(6).fit(rows)
    assert model.n_passes_ > whole.n_passes_ == 2.0
    assert model.inertia_ == pytest.approx(whole.inertia_, rel=0.01)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_fit__has_the_same_bits_for_any_chunks(dtype, few_rows):
    rows = groups(1_500, seed=3).astype(dtype)
    model = BisectingKMeans(5, random_state=1)
    expected = state(model.fit(rows))
    assert model.cluster_centers_.dtype == dtype
    for chunks in ((1_500, 3), (700, 2), (97, 1)):
        for scheduler in ("synchronous", "threads"):
            with dask.config.set(scheduler=scheduler, num_workers=2):
                assert state(model.fit(da.from_array(rows, chunks=chunks))) == expected


def test_fit__has_the_same_bits_on_every_scheduler(scheduler, tmp_path):
    rows = groups(3_000, seed=4)
    expected = state(BisectingKMeans(5).fit(rows))
    array = zarr.create_array(
        store=str(tmp_path / "r.zarr"), shape=rows.shape, chunks=(512, 3), dtype="f8"
    )
    array[:] = rows
    assert state(BisectingKMeans(5).fit(str(tmp_path / "r.zarr"))) == expected


def test_fit__does_not_depend_on_the_order_of_rows_that_all_fit_the_sample():
    rows = groups(800, seed=5)
    order = np.random.default_rng(0).permutation(800)
    one, other = BisectingKMeans(5).fit(rows), BisectingKMeans(5).fit(rows[order])
    assert one.cluster_centers_.tobytes() == other.cluster_centers_.tobytes()
    np.testing.assert_array_equal(one.labels_[order], other.labels_)


def test_fit__weights_equal_repeats():
    rows = groups(300, seed=6)
    weights = np.random.default_rng(0).integers(0, 4, 300)
    repeated = np.repeat(rows, weights, axis=0)
    one = BisectingKMeans(5).fit(rows, sample_weight=weights)
    other = BisectingKMeans(5).fit(repeated)
    np.testing.assert_allclose(one.cluster_centers_, other.cluster_centers_, rtol=1e-9)
    assert one.inertia_ == pytest.approx(other.inertia_, rel=1e-9)
    assert one.score(rows, sample_weight=weights) == pytest.approx(-other.inertia_, rel=1e-9)


def test_passes__are_those_that_are_counted(few_rows, monkeypatch):
    rows = groups(1_200, seed=8)

    def fit():
        counted = Counted()
        lazy = da.from_array(rows, chunks=(300, 3)).map_blocks(counted, meta=rows[:0])
        return BisectingKMeans(3).fit(lazy).n_passes_, counted.n_reads / 4

    passes, reads = fit()
    assert passes == pytest.approx(reads)
    assert 3.0 < passes <= 4.0
    monkeypatch.undo()
    assert fit() == (2.0, 2.0)


def test_fit__of_rows_of_few_distinct_points():
    rows = np.repeat([[0.0, 0.0], [1.0, 0.0], [5.0, 5.0]], 50, axis=0)
    with pytest.warns(DasksegWarning, match="n_clusters=8, but 3 clusters were made"):
        model = BisectingKMeans(8).fit(rows)
    assert model.inertia_ == 0.0
    with pytest.warns(DasksegWarning, match="but 1 clusters were made"):
        model = BisectingKMeans(2).fit(np.full((5, 2), 0.1))
    assert model.labels_.tolist() == [0] * 5
    assert model.cluster_centers_.tolist() == [[0.1, 0.1]]
    assert BisectingKMeans(1).fit(rows).children_.shape == (0, 2)


@pytest.mark.parametrize(
    ("parameters", "match"),
    [
        ({"n_clusters": 0}, "n_clusters=0 is not a whole number from 1"),
        ({"n_init": 0}, "n_init=0 is not"),
        ({"max_iter": 0}, "max_iter=0 is not"),
        ({"tol": -1.0}, "tol=-1.0 is not a number from 0"),
        ({"bisecting_strategy": "widest"}, "bisecting_strategy='widest' is not one of"),
    ],
)
def test_fit__refuses_wrong_parameters(parameters, match):
    with pytest.raises(UsageError, match=match):
        BisectingKMeans(**parameters).fit(groups(50))


def test_fit__refuses_wrong_rows():
    rows = groups(50)
    with pytest.raises(InputError, match="n_samples=2 should be >= n_clusters=3"):
        BisectingKMeans(3).fit(rows[:2])
    bad = rows.copy()
    bad[7, 1] = np.inf
    with pytest.raises(InputError, match=r"column 1.*first is in row 7"):
        BisectingKMeans().fit(bad)
    with pytest.raises(TypeError, match=r"[Ss]parse"):
        BisectingKMeans().fit(scipy.sparse.eye_array(20))
    model = BisectingKMeans(2).fit(rows)
    with pytest.raises(SchemaMismatchError, match="2 features"):
        model.predict(da.ones((10, 2), chunks=5))
