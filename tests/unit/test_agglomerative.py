"""Two-step trees: those of all rows where they fit, exact for what is cut, cheap elsewhere."""

from __future__ import annotations

import dask
import dask.array as da
import numpy as np
import pytest
import scipy.cluster.hierarchy as scipy_trees
import scipy.sparse
import sklearn.cluster
import zarr
from sklearn.datasets import load_iris
from sklearn.metrics import adjusted_rand_score

from daskseg.cluster import AgglomerativeClustering, micro
from daskseg.errors import DasksegWarning, InputError, SchemaMismatchError, UsageError
from daskseg.inputs import as_blocks, measure_extent
from daskseg.kernels import assign, steps
from tests.counting import Counted

EVERY_LINKAGE = pytest.mark.parametrize("linkage", ["ward", "average", "complete"])


def groups(n_rows=900, n_features=3, k=5, seed=0, spread=4.0):
    random = np.random.default_rng(seed)
    centres = random.normal(0, spread, (k, n_features))
    return centres[random.integers(0, k, n_rows)] + random.normal(size=(n_rows, n_features))


def state(model):
    return (
        model.linkage_.tobytes(),
        np.asarray(model.labels_).tobytes(),
        np.asarray(model.micro_labels_).tobytes(),
        model.cluster_centers_.tobytes(),
        model.inertia_,
    )


def squared_error(rows, labels, weights=None):
    weights = np.ones(len(rows)) if weights is None else weights
    total = 0.0
    for label in np.unique(labels):
        own, heavy = rows[labels == label], weights[labels == label]
        total += float((heavy[:, None] * (own - np.average(own, axis=0, weights=heavy)) ** 2).sum())
    return total


@EVERY_LINKAGE
def test_fit__of_rows_that_fit_is_the_tree_of_scipy(linkage):
    rows = groups(400)
    model = AgglomerativeClustering(5, linkage=linkage).fit(rows)
    other = scipy_trees.linkage(model.micro_centers_, linkage)
    np.testing.assert_array_equal(model.children_, other[:, :2])
    np.testing.assert_allclose(model.distances_, other[:, 2], rtol=1e-13)
    np.testing.assert_array_equal(model.micro_centers_[model.micro_labels_], rows)
    for k in (2, 5, 20, 100):
        theirs = sklearn.cluster.AgglomerativeClustering(k, linkage=linkage).fit(rows).labels_
        assert len(set(zip(model.cut(k), theirs, strict=True))) == k


def test_fit__in_two_steps_is_exact_for_the_partition_it_makes():
    rows = groups(3_000) + 1e6
    model = AgglomerativeClustering(5, n_micro=60).fit(rows)
    assert model.n_leaves_ == 60
    near = rows - 1e6
    for j in range(60):
        own = near[model.micro_labels_ == j]
        np.testing.assert_allclose(model.micro_centers_[j] - 1e6, own.mean(axis=0), atol=1e-9)
        assert model.micro_weights_[j] == len(own)
    assert model.inertia_ == pytest.approx(squared_error(near, model.labels_), rel=1e-9)
    total = squared_error(near, np.zeros(3_000))
    for k in (1, 2, 5, 30, 60):
        expected = 1.0 - squared_error(near, model.cut(k)) / total
        assert model.explained_variance(k) == pytest.approx(expected, abs=1e-9)
    assert model.group_weights_[-1] == 3_000.0
    # The heights of Ward's tree add up to the same.
    left = 0.5 * float((model.distances_[: 60 - 5] ** 2).sum()) + model.micro_inertias_.sum()
    assert left == pytest.approx(model.inertia_, rel=1e-9)


@pytest.mark.parametrize("n_micro", [100, 400])
def test_fit__in_two_steps_is_near_the_tree_of_all_rows(n_micro):
    rows = groups(2_000, k=5, spread=8.0, seed=1)
    model = AgglomerativeClustering(5, n_micro=n_micro).fit(rows)
    theirs = sklearn.cluster.AgglomerativeClustering(5).fit(rows).labels_
    assert adjusted_rand_score(theirs, model.labels_) > 0.99


@EVERY_LINKAGE
def test_cut__is_nested_and_needs_no_pass(linkage):
    rows = groups(2_000)
    counted = Counted()
    lazy = da.from_array(rows, chunks=(500, 3)).map_blocks(counted, meta=rows[:0])
    model = AgglomerativeClustering(3, linkage=linkage, n_micro=80).fit(rows)
    whole = AgglomerativeClustering(3, linkage=linkage, n_micro=80).fit(lazy)
    assert counted.n_reads == 8
    last = np.zeros(2_000, np.int32)
    for k in (1, 2, 3, 10, 80):
        labels = model.cut(k)
        assert len(set(zip(labels, last, strict=True))) == k
        last = labels
        later = whole.cut(k)
        assert counted.n_reads == 8
        with dask.config.set(scheduler="synchronous"):
            np.testing.assert_array_equal(later.compute(), labels)
        counted.n_reads = 8
    height = float(model.distances_[-3:-1].mean())
    np.testing.assert_array_equal(model.cut(distance_threshold=height), model.cut(3))


def test_distance_threshold__is_that_of_scikit_learn():
    rows = load_iris().data
    model = AgglomerativeClustering(None, distance_threshold=5.0).fit(rows)
    theirs = sklearn.cluster.AgglomerativeClustering(None, distance_threshold=5.0).fit(rows)
    assert model.n_clusters_ == theirs.n_clusters_ > 2
    assert len(set(zip(model.labels_, theirs.labels_, strict=True))) == model.n_clusters_


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_fit__has_the_same_bits_for_any_chunks(dtype, monkeypatch):
    monkeypatch.setattr(micro, "SAMPLE_ROWS", 400)
    rows = groups(1_500, seed=3).astype(dtype)
    model = AgglomerativeClustering(4, n_micro=20, random_state=1)
    expected = state(model.fit(rows))
    assert model.cluster_centers_.dtype == dtype
    for chunks in ((1_500, 3), (700, 2), (97, 1)):
        for scheduler in ("synchronous", "threads"):
            with dask.config.set(scheduler=scheduler, num_workers=2):
                assert state(model.fit(da.from_array(rows, chunks=chunks))) == expected


def test_fit__has_the_same_bits_on_every_scheduler(scheduler, tmp_path):
    rows = groups(3_000, seed=4)
    expected = state(AgglomerativeClustering(4, n_micro=50).fit(rows))
    array = zarr.create_array(
        store=str(tmp_path / "r.zarr"), shape=rows.shape, chunks=(512, 3), dtype="f8"
    )
    array[:] = rows
    assert state(AgglomerativeClustering(4, n_micro=50).fit(str(tmp_path / "r.zarr"))) == expected


@pytest.mark.parametrize("n_micro", [40, 1_000])
def test_fit__does_not_depend_on_the_order_of_rows_that_all_fit_the_sample(n_micro):
    rows = groups(800, seed=5)
    order = np.random.default_rng(0).permutation(800)
    one = AgglomerativeClustering(4, n_micro=n_micro).fit(rows)
    other = AgglomerativeClustering(4, n_micro=n_micro).fit(rows[order])
    assert one.linkage_.tobytes() == other.linkage_.tobytes()
    np.testing.assert_array_equal(one.labels_[order], other.labels_)


@EVERY_LINKAGE
@pytest.mark.parametrize("n_micro", [40, 1_000])
def test_fit__weights_equal_repeats(linkage, n_micro):
    rows = groups(300, seed=6)
    weights = np.random.default_rng(0).integers(0, 4, 300)
    repeated = np.repeat(rows, weights, axis=0)
    one = AgglomerativeClustering(4, linkage=linkage, n_micro=n_micro)
    one.fit(rows, sample_weight=weights)
    other = AgglomerativeClustering(4, linkage=linkage, n_micro=n_micro).fit(repeated)
    np.testing.assert_allclose(one.linkage_, other.linkage_, rtol=1e-9)
    np.testing.assert_allclose(one.cluster_centers_, other.cluster_centers_, rtol=1e-9)
    assert one.inertia_ == pytest.approx(other.inertia_, rel=1e-9)
    np.testing.assert_array_equal(np.repeat(one.labels_, weights), other.labels_)


def test_fit__rows_of_weight_zero_get_the_nearest_of_the_others(monkeypatch):
    rows = np.concatenate([groups(200), [[99.0, 99.0, 99.0]]])
    weights = np.append(np.ones(200), 0.0)
    far = micro.compress(as_blocks(rows, sample_weight=weights), 10, 0, keep_labels=True)
    assert far.labels.max() < 10
    # A place that only the row without weight is near to.
    monkeypatch.setattr(micro, "choose_places", lambda *_: rows[[0, 1, 200]])
    found = micro.compress(as_blocks(rows, sample_weight=weights), 10, 0, keep_labels=True)
    assert found.micro.weights.sum() == 200.0
    assert len(found.micro.places) == 2
    expected = np.argmin(((rows[200] - rows[:2]) ** 2).sum(axis=1))
    assert found.labels[200] == expected


def test_predict__of_the_rows_of_the_fit_gives_their_labels():
    rows = groups(1_000)
    for n_micro in (50, 2_000):
        model = AgglomerativeClustering(4, n_micro=n_micro).fit(rows)
        np.testing.assert_array_equal(model.predict(rows), model.labels_)
        lazy = model.predict(da.from_array(rows, chunks=(300, 2)))
        np.testing.assert_array_equal(lazy.compute(), model.labels_)


def test_passes__are_those_that_are_counted():
    rows = groups(1_200, seed=8)
    for n_micro, passes in ((50, 2.0), (2_000, 1.0)):
        counted = Counted()
        lazy = da.from_array(rows, chunks=(300, 3)).map_blocks(counted, meta=rows[:0])
        model = AgglomerativeClustering(3, n_micro=n_micro).fit(lazy)
        assert model.n_passes_ == counted.n_reads / 4 == passes


def test_fit__of_rows_of_few_distinct_points():
    rows = np.repeat([[0.0, 0.0], [1.0, 0.0], [5.0, 5.0]], 50, axis=0)
    model = AgglomerativeClustering(2).fit(rows)
    assert model.n_leaves_ == 3
    assert model.micro_weights_.tolist() == [50.0, 50.0, 50.0]
    assert model.labels_.tolist() == [1] * 100 + [0] * 50
    with pytest.warns(DasksegWarning, match="n_clusters=4, but 3 clusters were made"):
        model = AgglomerativeClustering(4).fit(rows)
    assert model.n_clusters_ == 3
    with pytest.warns(DasksegWarning, match="1 clusters were made"):
        model = AgglomerativeClustering(2).fit(np.ones((5, 2)))
    assert model.labels_.tolist() == [0] * 5
    assert np.isnan(model.explained_variance(1))


def test_compress__of_tight_far_groups_tells_them_apart():
    random = np.random.default_rng(0)
    centres = random.normal(size=(40, 2))
    rows = centres[random.integers(0, 40, 4_000)] + 1e-7 * random.normal(size=(4_000, 2))
    model = AgglomerativeClustering(40, n_micro=160).fit(rows)
    assert model.inertia_ < 1e-9


@pytest.mark.parametrize(
    ("parameters", "match"),
    [
        ({"n_clusters": 0}, "n_clusters=0 is not a whole number from 1"),
        ({"n_clusters": None}, "give one of them"),
        ({"distance_threshold": 1.0}, "give one of them"),
        ({"n_clusters": None, "distance_threshold": -1.0}, "distance_threshold=-1.0 is not"),
        ({"n_micro": 1}, "n_micro=1 is not a whole number from 2"),
        ({"n_micro": 9_000}, "take more than 512 MiB"),
        ({"n_clusters": 20, "n_micro": 10}, "clusters are made of n_micro=10"),
        ({"linkage": "single"}, "linkage='single' has not landed yet"),
        ({"linkage": "centroid"}, "linkage='centroid' is not one of"),
        ({"metric": "cosine"}, "metric='cosine' has not landed yet"),
    ],
)
def test_fit__refuses_wrong_parameters(parameters, match):
    with pytest.raises(UsageError, match=match):
        AgglomerativeClustering(**parameters).fit(groups(50))


def test_fit__refuses_wrong_rows():
    rows = groups(50)
    with pytest.raises(InputError, match="n_samples=2 should be >= n_clusters=3"):
        AgglomerativeClustering(3).fit(rows[:2])
    bad = rows.copy()
    bad[7, 1] = np.nan
    with pytest.raises(InputError, match=r"column 1.*first is in row 7"):
        AgglomerativeClustering().fit(bad)
    with pytest.raises(TypeError, match=r"[Ss]parse"):
        AgglomerativeClustering().fit(scipy.sparse.eye_array(20))
    with pytest.raises(InputError, match="negative"):
        AgglomerativeClustering().fit(rows, sample_weight=-np.ones(50))
    model = AgglomerativeClustering().fit(rows)
    with pytest.raises(SchemaMismatchError, match="2 features"):
        model.predict(da.ones((10, 2), chunks=5))


def test_cut__refuses_what_the_tree_has_not():
    model = AgglomerativeClustering(n_micro=10).fit(groups(200))
    with pytest.raises(UsageError, match="the tree has 10 leaves"):
        model.cut(11)
    with pytest.raises(UsageError, match="either n_clusters or distance_threshold"):
        model.cut()
    with pytest.raises(UsageError, match="either n_clusters or distance_threshold"):
        model.cut(2, distance_threshold=1.0)
    with pytest.raises(UsageError, match="not a whole number"):
        model.explained_variance(0)


def test_compress__refuses_data_that_change():
    rows = groups(600)
    blocks = as_blocks(rows)
    found = micro.compress(blocks, 20, 0, keep_labels=False)
    short = as_blocks(rows[:500])
    with pytest.raises(InputError, match="the data changed"):
        micro._sum_up(
            short, found.micro.places, found.micro.extent, found.sample, keep_labels=False
        )


def test_errors_of__are_those_of_the_step():
    rows = groups(500, 4) * np.array([1e-6, 1.0, 1e3, 1e9])
    extent = measure_extent(as_blocks(rows))
    grid = assign.step_grid(extent)
    labels = np.arange(500, dtype=np.int32) % 7
    part = assign.sums_by_label(rows, np.linspace(0.1, 3.0, 500), labels, 7, grid)
    means, _ = steps.means_of(part, grid)
    expected = [float(sse) for sse in steps.sse_of(part, grid, means)]
    np.testing.assert_allclose(micro._errors_of(part, grid), expected, rtol=1e-12)
