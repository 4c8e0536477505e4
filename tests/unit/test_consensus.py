"""What clusterings agree on: better than its runs, and honest where there is nothing."""

from __future__ import annotations

import math

import dask
import dask.array as da
import numpy as np
import pytest
import scipy.sparse
import sklearn.cluster
import sklearn.mixture
import zarr
from sklearn.metrics import adjusted_rand_score

from daskseg.cluster import ConsensusClustering, KMeans, ensemble, micro
from daskseg.cluster.consensus import OWN, STREAMS, is_stable, points_of
from daskseg.cluster.ensemble import Firmness, Points, Run
from daskseg.errors import DasksegWarning, InputError, UsageError
from daskseg.inputs import as_blocks
from daskseg.kernels import agreement, consensus
from tests.counting import Counted

quietly = pytest.mark.filterwarnings("ignore:nothing stable:daskseg.errors.DasksegWarning")


def groups(n_rows=600, n_features=4, k=4, seed=0, spread=6.0):
    random = np.random.default_rng(seed)
    centres = random.normal(0, spread, (k, n_features))
    labels = random.integers(0, k, n_rows)
    return centres[labels] + random.normal(size=(n_rows, n_features)), labels


def state(model):
    return (
        np.asarray(model.labels_).tobytes(),
        np.asarray(model.agreement_).tobytes(),
        model.cluster_centers_.tobytes(),
        model.consensus_matrix_.tobytes(),
        model.linkage_.tobytes(),
        model.inertia_,
        tuple(model.stability_.values()),
        tuple(tuple(null.values()) for null in model.null_stability_),
    )


# ── kernels ──────────────────────────────────────────────────────────────────
def test_coassociation__is_the_share_of_runs_together():
    labels = np.random.default_rng(0).integers(0, 4, (13, 50)).astype(np.int32)
    expected = np.mean([own[:, None] == own[None, :] for own in labels], axis=0)
    found = consensus.coassociation(labels)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_mean_links__are_weighted_means_by_group():
    random = np.random.default_rng(0)
    matrix = random.random((30, 30)).astype(np.float32)
    weights, own = random.random(30) + 0.1, random.integers(0, 3, 30).astype(np.int32)
    found = consensus.mean_links(matrix, weights, own, 4)
    for g in range(3):
        expected = np.average(matrix[:, own == g], axis=1, weights=weights[own == g])
        np.testing.assert_allclose(found[:, g], expected, rtol=1e-6)
    assert (found[:, 3] == 0.0).all()


def test_ambiguous_share__counts_weighted_pairs():
    matrix = np.array([[1.0, 0.5, 0.95], [0.5, 1.0, 0.05], [0.95, 0.05, 1.0]], np.float32)
    assert consensus.ambiguous_share(matrix, np.array([1.0, 2.0, 4.0])) == 2.0 / (2.0 + 4.0 + 8.0)
    assert consensus.ambiguous_share(np.ones((1, 1), np.float32), np.ones(1)) == 0.0


def test_agreement_with__gives_clusters_to_the_group_that_holds_most_of_them():
    own = np.array([0, 0, 0, 1, 1], np.int32)
    runs = np.array([[0, 0, 0, 1, 1], [0, 1, 2, 3, 3], [0, 0, 1, 1, 1]], np.int32)
    found = consensus.agreement_with(runs, own, np.ones(5))
    np.testing.assert_allclose(found, [1.0, 1.0, 2.0 / 3.0, 1.0, 1.0])
    # A heavy point takes the cluster with it.
    found = consensus.agreement_with(runs, own, np.array([1.0, 1.0, 9.0, 1.0, 1.0]))
    np.testing.assert_allclose(found, [1.0, 1.0, 1.0, 2.0 / 3.0, 2.0 / 3.0])


# ── runs ─────────────────────────────────────────────────────────────────────
def test_plan_runs__draws_clusters_and_features():
    runs = ensemble.plan_runs(200, 10, (3, 8), 0, 0)
    assert {run.n_clusters for run in runs} == set(range(3, 9))
    assert all(len(set(run.features.tolist())) == 7 for run in runs)
    counts = np.bincount(np.concatenate([run.features for run in runs]), minlength=10)
    assert (counts > 100).all()
    again = ensemble.plan_runs(200, 10, (3, 8), 0, 0)
    assert all((a.features == b.features).all() for a, b in zip(runs, again, strict=True))
    assert ensemble.plan_runs(3, 1, (2, 2), 0, 0)[0].features.tolist() == [0]


def test_resampled__has_poisson_repeats():
    points = Points(
        np.arange(40_000.0)[:, None], np.full(40_000, 2.0), np.zeros((1, 1)), np.ones(1)
    )
    values, weights = ensemble._resampled(points, Run(5, 2, np.array([0])), 0)
    repeats = np.zeros(40_000)
    repeats[values[:, 0].astype(int)] = weights / 2.0
    shares = np.bincount(repeats.astype(int))[:5] / 40_000
    expected = [math.exp(-1.0) / math.factorial(i) for i in range(5)]
    np.testing.assert_allclose(shares, expected, atol=0.01)
    other, _ = ensemble._resampled(points, Run(6, 2, np.array([0])), 0)
    assert len(other) != len(values)


def test_unstructured__fills_the_box_of_the_components():
    random = np.random.default_rng(0)
    turn, _ = np.linalg.qr(random.normal(size=(3, 3)))
    rows = random.normal(size=(5_000, 3)) * [9.0, 3.0, 1.0] @ turn + 100.0
    points = Points(rows, np.ones(5_000), rows[:50], np.full(50, 100.0))
    found = ensemble.unstructured(points, 0, 0)
    assert found.values.shape == rows.shape
    assert found.mass.sum() == 5_000
    assert len(found.places) <= 50
    scores = (found.values - 100.0) @ turn.T
    assert abs(np.corrcoef(scores.T)[np.triu_indices(3, 1)]).max() < 0.1
    # Uniform between the ends of each component: three deviations of a normal one.
    np.testing.assert_allclose(np.abs(scores).max(axis=0), [28.0, 9.3, 3.1], rtol=0.2)


def test_longest_lived__is_the_widest_gap_of_heights():
    tree = np.array(
        [[0, 1, 0.1, 2], [2, 3, 0.2, 2], [4, 5, 0.3, 4], [6, 7, 0.9, 4], [8, 9, 1.0, 8]]
    )
    assert ensemble.longest_lived(tree, 10) == 3
    assert ensemble.longest_lived(tree, 2) == 2
    assert ensemble.longest_lived(tree[:1], 10) == 2
    assert ensemble.longest_lived(tree[:0], 10) == 1


def test_agree__of_equal_runs_is_that_partition():
    own = np.repeat(np.arange(3, dtype=np.int32), 20)
    found = ensemble.agree(np.tile(own, (10, 1)), np.ones(60), 3)
    assert adjusted_rand_score(own, found.groups) == 1.0
    np.testing.assert_allclose(found.links, np.eye(3))
    assert found.firmness == Firmness(0.0, pytest.approx(1.0), 1.0, 1.0)


def test_agree__sets_single_points_not_apart():
    random = np.random.default_rng(0)
    own = np.repeat(np.arange(2, dtype=np.int32), 50)
    runs = np.tile(own, (20, 1))
    # One point is somewhere else in every run; the others are wrong now and then.
    runs[:, 0] = random.integers(2, 30, 20)
    noise = random.random((20, 99)) < 0.1
    runs[:, 1:][noise] = 1 - runs[:, 1:][noise]
    found = ensemble.agree(runs, np.ones(100), 2)
    assert np.bincount(found.groups).min() > 40
    assert adjusted_rand_score(own[1:], found.groups[1:]) > 0.95


def test_is_stable__needs_contrast_and_one_more():
    null = Firmness(0.5, 0.2, 0.3, 0.1)
    assert is_stable(Firmness(0.4, 0.5, 0.6, 0.0), [null])
    assert is_stable(Firmness(0.6, 0.5, 0.6, 0.25), [null])
    assert not is_stable(Firmness(0.6, 0.5, 0.6, 0.15), [null])
    assert not is_stable(Firmness(0.47, 0.5, 0.6, 0.15), [null])
    assert not is_stable(Firmness(0.4, 0.5, 0.34, 0.5), [null])
    assert not is_stable(Firmness(0.0, 1.0, 1.0, 1.0), [])


# ── the estimator ────────────────────────────────────────────────────────────
@pytest.mark.parametrize("seed", range(3))
def test_fit__finds_groups_better_than_its_runs(seed):
    rows, labels = groups(800, 6, 5, seed=seed + 10)
    model = ConsensusClustering(5, n_micro=200, random_state=seed).fit(rows)
    assert model.is_stable_
    assert adjusted_rand_score(labels, model.labels_) > 0.9
    found = micro.compress(as_blocks(rows), 200, seed, keep_labels=True)
    points = points_of(found, seed)
    runs = ensemble.plan_runs(50, 6, (3, 10), seed, OWN * STREAMS)
    partitions = [ensemble.run_kmeans(run, points, seed)[found.labels] for run in runs]
    aris = [adjusted_rand_score(labels, own) for own in partitions]
    assert adjusted_rand_score(labels, model.labels_) > np.median(aris) + 0.05


def test_fit__finds_the_number_of_clusters_where_it_is_clear():
    rows, labels = groups(800, 6, 4, spread=9.0, seed=3)
    model = ConsensusClustering(n_micro=200).fit(rows)
    assert model.n_clusters_ == 4
    assert model.is_stable_
    assert adjusted_rand_score(labels, model.labels_) > 0.99
    assert (model.agreement_ > 0.5).mean() > 0.95
    assert (model.within_ > model.nearest_other_ + 0.4).all()


@pytest.mark.parametrize("k", [None, 3, 6])
@pytest.mark.parametrize("kind", ["uniform", "normal", "exponential"])
def test_fit__says_when_nothing_is_stable(kind, k):
    random = np.random.default_rng(0)
    rows = {"uniform": random.random, "normal": random.normal, "exponential": random.exponential}
    with pytest.warns(DasksegWarning, match="nothing stable: 50 runs agree on"):
        model = ConsensusClustering(k, n_micro=300).fit(rows[kind](size=(1_500, 6)))
    assert not model.is_stable_
    assert len(model.null_stability_) == 3


@quietly
def test_attributes__fit_each_other():
    rows, _ = groups()
    model = ConsensusClustering(3, n_micro=80).fit(rows)
    n_leaves = len(model.micro_weights_)
    assert model.consensus_matrix_.shape == (n_leaves, n_leaves)
    assert (np.diff(model.consensus_labels_) >= 0).all()
    assert sorted(model.consensus_order_.tolist()) == list(range(n_leaves))
    place = np.argsort(model.consensus_order_)
    np.testing.assert_array_equal(
        model.consensus_labels_[place][model.micro_labels_], model.labels_
    )
    np.testing.assert_array_equal(model.micro_agreement_[model.micro_labels_], model.agreement_)
    for label in range(3):
        own = rows[model.labels_ == label]
        np.testing.assert_allclose(model.cluster_centers_[label], own.mean(axis=0), rtol=1e-9)
    error = ((rows - model.cluster_centers_[model.labels_]) ** 2).sum()
    assert model.inertia_ == pytest.approx(error, rel=1e-9)
    np.testing.assert_array_equal(model.predict(rows), model.labels_)


@quietly
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_fit__has_the_same_bits_for_any_chunks(dtype, monkeypatch):
    monkeypatch.setattr(micro, "SAMPLE_ROWS", 300)
    rows = groups(900)[0].astype(dtype)
    model = ConsensusClustering(n_runs=10, n_micro=15, random_state=1)
    expected = state(model.fit(rows))
    assert model.cluster_centers_.dtype == dtype
    for chunks in ((900, 4), (400, 3), (97, 1)):
        for scheduler in ("synchronous", "threads"):
            with dask.config.set(scheduler=scheduler, num_workers=2):
                assert state(model.fit(da.from_array(rows, chunks=chunks))) == expected


@quietly
def test_fit__has_the_same_bits_on_every_scheduler(scheduler, tmp_path):
    rows = groups(2_000)[0]
    expected = state(ConsensusClustering(3, n_runs=10, n_micro=60).fit(rows))
    array = zarr.create_array(
        store=str(tmp_path / "r.zarr"), shape=rows.shape, chunks=(512, 4), dtype="f8"
    )
    array[:] = rows
    model = ConsensusClustering(3, n_runs=10, n_micro=60).fit(str(tmp_path / "r.zarr"))
    assert state(model) == expected


@quietly
def test_fit__weights_equal_repeats():
    rows = groups(300)[0]
    weights = np.random.default_rng(0).integers(0, 4, 300)
    one = ConsensusClustering(4, n_runs=10, n_micro=60).fit(rows, sample_weight=weights)
    other = ConsensusClustering(4, n_runs=10, n_micro=60)
    other.fit(np.repeat(rows, weights, axis=0))
    np.testing.assert_array_equal(np.repeat(one.labels_, weights), other.labels_)
    np.testing.assert_allclose(one.cluster_centers_, other.cluster_centers_, rtol=1e-9)


@quietly
def test_passes__are_those_that_are_counted():
    rows = groups(1_200)[0]
    counted = Counted()
    lazy = da.from_array(rows, chunks=(300, 4)).map_blocks(counted, meta=rows[:0])
    model = ConsensusClustering(3, n_runs=5, n_micro=50).fit(lazy)
    assert model.n_passes_ == counted.n_reads / 4 == 2.0
    assert isinstance(model.agreement_, da.Array)
    assert counted.n_reads == 8


@pytest.mark.parametrize(
    "base",
    [
        sklearn.cluster.KMeans(n_init=1),
        sklearn.cluster.AgglomerativeClustering(),
        sklearn.cluster.Birch(),
        sklearn.mixture.GaussianMixture(),
        KMeans(),
        [sklearn.cluster.MiniBatchKMeans(n_init=1), sklearn.cluster.AgglomerativeClustering()],
    ],
    ids=str,
)
def test_base__may_be_whatever_is_told_a_number(base):
    rows, labels = groups(400, 4, 3, spread=9.0, seed=5)
    model = ConsensusClustering(3, base=base, n_runs=8, n_micro=60).fit(rows)
    assert adjusted_rand_score(labels, model.labels_) > 0.95
    again = ConsensusClustering(3, base=base, n_runs=8, n_micro=60).fit(rows)
    np.testing.assert_array_equal(model.labels_, again.labels_)
    assert model.n_passes_ == 2.0


@quietly
def test_fit__of_rows_of_few_distinct_points():
    rows = np.repeat([[0.0, 0.0], [1.0, 0.0], [5.0, 5.0]], 50, axis=0)
    assert ConsensusClustering(5).fit(rows).n_clusters_ == 3
    assert ConsensusClustering(1).fit(rows).cluster_centers_.tolist() == [[2.0, 5.0 / 3.0]]
    model = ConsensusClustering().fit(np.ones((5, 2)))
    assert (model.n_clusters_, model.is_stable_) == (1, False)
    assert model.labels_.tolist() == [0] * 5
    assert model.consensus_matrix_.tolist() == [[1.0]]


def test_mean_ari__is_that_of_scikit_learn():
    labels = np.random.default_rng(0).integers(0, 4, (3, 60)).astype(np.int32)
    expected = [adjusted_rand_score(labels[i], labels[j]) for i, j in ((0, 1), (0, 2), (1, 2))]
    assert ensemble._mean_ari(labels, np.ones(60)) == pytest.approx(np.mean(expected))
    table = agreement.table_of(labels[0], labels[1], np.ones(60), 4)
    assert agreement.adjusted_rand(table) == pytest.approx(expected[0])


@pytest.mark.parametrize(
    ("parameters", "match"),
    [
        ({"n_clusters": 0}, "n_clusters=0 is not a whole number from 1"),
        ({"n_runs": 1}, "n_runs=1 is not a whole number from 2"),
        ({"n_runs": 10**6}, "at most 16,383 are made"),
        ({"n_micro": 1}, "n_micro=1 is not"),
        ({"n_clusters": 20, "n_micro": 10}, "clusters are made of n_micro=10"),
        ({"base": sklearn.cluster.DBSCAN()}, "has neither n_clusters nor n_components"),
        ({"base": 3}, "has neither n_clusters"),
        ({"base": []}, "base is an empty list"),
    ],
)
def test_fit__refuses_wrong_parameters(parameters, match):
    with pytest.raises(UsageError, match=match):
        ConsensusClustering(**parameters).fit(groups(50)[0])


def test_fit__refuses_wrong_rows():
    rows = groups(50)[0]
    with pytest.raises(InputError, match="n_samples=2 should be >= n_clusters=3"):
        ConsensusClustering(3).fit(rows[:2])
    bad = rows.copy()
    bad[7, 1] = np.nan
    with pytest.raises(InputError, match=r"column 1.*first is in row 7"):
        ConsensusClustering().fit(bad)
    with pytest.raises(TypeError, match=r"[Ss]parse"):
        ConsensusClustering().fit(scipy.sparse.eye_array(20))
