"""HDBSCAN on landmarks: consistent, repeatable, honest about noise and about the draw."""

from __future__ import annotations

import pickle
import warnings

import dask
import dask.array as da
import dask.dataframe as dd
import numpy as np
import pandas as pd
import pytest
import scipy.sparse
import sklearn.cluster
from hypothesis import given
from hypothesis import strategies as st
from sklearn.datasets import make_moons
from sklearn.metrics import adjusted_rand_score

from daskseg.cluster import HDBSCAN, reachability
from daskseg.cluster.density.clusters import best_jaccard
from daskseg.errors import DasksegWarning, InputError, SchemaMismatchError, UsageError
from tests.counting import Counted

CENTRES = np.array([[0.0, 0.0], [9.0, 0.0], [0.0, 9.0], [9.0, 9.0]])


def blobs(n_rows=3_000, seed=0, noise=0.1):
    random = np.random.default_rng(seed)
    label = random.integers(0, 4, n_rows)
    spread = np.array([0.4, 0.8, 1.2, 0.6])[label, None]
    rows = CENTRES[label] + spread * random.normal(size=(n_rows, 2))
    lost = random.random(n_rows) < noise
    rows[lost] = random.uniform(-6, 15, (int(lost.sum()), 2))
    return rows


def state(model):
    arrays = [model.labels_, model.probabilities_, model.nearest_]
    arrays += [model.centroids_, model.cluster_persistence_, model.agreement_, model.n_found_]
    return [np.asarray(one).tobytes() for one in [*arrays, model.sample_indices_]]


def by_first(labels):
    found = {}
    return [-1 if one < 0 else found.setdefault(one, len(found)) for one in labels.tolist()]


def test_hdbscan__by_hand():
    rows = np.array([[0.0], [1.0], [2.0], [10.0], [11.0], [13.0], [30.0]])
    model = HDBSCAN(3, min_samples=1).fit(rows)
    assert by_first(model.labels_) == [0, 0, 0, 1, 1, 1, -1]
    assert model.nearest_[6] == model.labels_[5]
    assert model.probabilities_.tolist() == [1.0] * 6 + [0.0]
    assert model.centroids_[model.labels_[0]].tolist() == [1.0]
    # Mass over size and over the largest density, 1.
    assert model.cluster_persistence_[model.labels_[0]] == pytest.approx(1 - 1 / 8)
    assert model.cluster_persistence_[model.labels_[3]] == pytest.approx(1 / 2 - 1 / 8)
    assert model.noise_share_ == pytest.approx(1 / 7)
    assert (model.n_clusters_, model.labels_.dtype, model.nearest_.dtype) == (2, "int32", "int32")


def test_hdbscan__of_all_rows_is_scikit_learns():
    rows = np.concatenate([make_moons(400, noise=0.06, random_state=0)[0], blobs(300) / 3 + 4])
    model = HDBSCAN(20, min_samples=2).fit(rows)
    reference = sklearn.cluster.HDBSCAN(min_cluster_size=20, min_samples=2, copy=True).fit(rows)
    assert by_first(model.labels_) == by_first(reference.labels_)
    np.testing.assert_allclose(model.probabilities_, reference.probabilities_, rtol=1e-9)
    assert model.agreement_.tolist() == [1.0] * 4
    assert model.n_found_.tolist() == [5] * model.n_clusters_


@pytest.mark.parametrize("method", ["eom", "leaf"])
def test_hdbscan__landmarks_find_what_all_rows_show(method):
    """A third of the rows with 10 neighbours sees about what all rows with 30 see."""
    rows = blobs(6_000)
    model = HDBSCAN(300, cluster_selection_method=method, n_landmarks=2_000, random_state=1).fit(
        rows
    )
    reference = sklearn.cluster.HDBSCAN(
        min_cluster_size=300, min_samples=30, cluster_selection_method=method, copy=True
    ).fit(rows)
    assert model.n_clusters_ == 4
    assert adjusted_rand_score(model.labels_, reference.labels_) > 0.95
    both = (model.labels_ >= 0) & (reference.labels_ >= 0)
    assert adjusted_rand_score(model.labels_[both], reference.labels_[both]) > 0.99
    assert (model.n_found_ == 5).all()
    assert model.agreement_.shape == (4,)
    assert (model.agreement_ > 0.9).all()


@given(st.integers(50, 400), st.integers(1, 10), st.booleans(), st.integers(0, 99))
def test_predict__of_the_rows_of_the_fit_is_labels(n_landmarks, min_samples, lattice, seed):
    rows = np.round(blobs(400, seed)) if lattice else blobs(400, seed)
    model = HDBSCAN(
        60, min_samples=min_samples, n_landmarks=n_landmarks, n_repeats=1, random_state=seed
    )
    with warnings.catch_warnings():
        # Of noise, or of one cluster: right, and not the matter here.
        warnings.simplefilter("ignore", DasksegWarning)
        model.fit(rows)
    np.testing.assert_array_equal(model.predict(rows), model.labels_)
    np.testing.assert_array_equal(model.predict(rows, force=True), model.nearest_)
    np.testing.assert_array_equal(model.membership_strength(rows), model.probabilities_)
    assert (model.probabilities_[model.labels_ < 0] == 0).all()
    assert model.probabilities_.max(initial=1.0) == 1.0
    if model.n_clusters_:
        assert (model.nearest_ >= 0).all()
    # Every row on its own, and the landmarks as the tree has them.
    np.testing.assert_array_equal(model.predict(rows[7:8]), model.labels_[7:8])
    marks = model.landmarks_
    of_tree = np.empty(len(marks.labels), np.int32)
    of_tree[marks.tree.places] = marks.labels
    np.testing.assert_array_equal(model.labels_[model.sample_indices_], of_tree)


def test_hdbscan__same_bits_for_any_chunks_and_scheduler():
    rows = blobs(2_500)
    model = HDBSCAN(0.05, n_landmarks=600, n_repeats=3, random_state=5)
    expected = state(model.fit(rows))
    for chunks in ((2_500, 2), (700, 2), (311, 1), ((1, 0, 2_499), 2)):
        for scheduler in ("sync", "threads"):
            with dask.config.set(scheduler=scheduler):
                lazy = model.fit(da.from_array(rows, chunks=chunks))
                assert isinstance(lazy.labels_, da.Array)
                assert state(lazy) == expected


def test_predict__in_pieces_as_at_once(monkeypatch):
    model = HDBSCAN(60, n_landmarks=300).fit(blobs(600))
    rows = blobs(500, seed=1)
    expected = model.predict(rows, force=True)
    monkeypatch.setattr("daskseg.cluster.density.hdbscan._PIECE_ROWS", 77)
    np.testing.assert_array_equal(model.predict(rows, force=True), expected)


def test_hdbscan__other_seeds_are_other_landmarks():
    rows = blobs(1_000)
    one, other = (HDBSCAN(100, n_landmarks=300, random_state=i).fit(rows) for i in (0, 1))
    assert len(np.intersect1d(one.sample_indices_, other.sample_indices_)) < 200
    assert one.sample_indices_.shape == (300,)
    assert (np.diff(one.sample_indices_) > 0).all()
    assert adjusted_rand_score(one.labels_, other.labels_) > 0.8


def test_hdbscan__takes_the_promised_passes():
    rows = blobs(2_000)
    counted = Counted()
    lazy = da.from_array(rows, chunks=(250, 2)).map_blocks(counted, dtype=rows.dtype, meta=rows[:0])
    with dask.config.set(scheduler="sync"):
        model = HDBSCAN(200, n_landmarks=500).fit(lazy)
        assert counted.n_reads == 8 * model.n_passes_ == 8
        before = counted.n_reads
        labels, strengths, nearest = dask.compute(
            model.labels_, model.probabilities_, model.nearest_
        )
        assert counted.n_reads == before + 8
    in_memory = HDBSCAN(200, n_landmarks=500).fit(rows)
    assert in_memory.n_passes_ == 2
    np.testing.assert_array_equal(labels, in_memory.labels_)
    np.testing.assert_array_equal(strengths, in_memory.probabilities_)
    np.testing.assert_array_equal(nearest, in_memory.nearest_)


def test_hdbscan__takes_frames_and_float32():
    rows = blobs(900).astype(np.float32)
    model = HDBSCAN(90, n_landmarks=400).fit(rows)
    wide = HDBSCAN(90, n_landmarks=400).fit(rows.astype(np.float64))
    assert state(model) == state(wide)
    frame = pd.DataFrame(rows, columns=["a", "b"])
    named = HDBSCAN(90, n_landmarks=400).fit(dd.from_pandas(frame, npartitions=3))
    assert named.feature_names_in_.tolist() == ["a", "b"]
    np.testing.assert_array_equal(named.labels_.compute(), model.labels_)
    again = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(again.predict(frame.to_numpy()), model.labels_)
    with pytest.raises(SchemaMismatchError, match="those of the fit were"):
        named.predict(dd.from_pandas(frame[["b", "a"]], npartitions=2))


@pytest.mark.cluster
def test_hdbscan__on_workers_as_in_process(cluster_client):
    rows = blobs(1_500)
    expected = state(HDBSCAN(150, n_landmarks=500).fit(rows))
    with cluster_client.as_current():
        model = HDBSCAN(150, n_landmarks=500).fit(da.from_array(rows, chunks=(400, 2)))
        assert state(model) == expected


def test_hdbscan__sizes_are_of_the_data_and_scaled_to_landmarks():
    rows = blobs(2_000, noise=0.0)
    # The smallest blob has about 500 rows.
    assert HDBSCAN(300, n_landmarks=500).fit(rows).n_clusters_ == 4
    assert HDBSCAN(0.15, n_landmarks=500).fit(rows).n_clusters_ == 4
    with pytest.warns(DasksegWarning, match="noise"):
        few = HDBSCAN(700, n_landmarks=500).fit(rows)
    assert few.n_clusters_ == 0
    assert (few.labels_ == -1).all()
    assert (few.nearest_ == -1).all()
    assert few.centroids_.shape == (0, 2)
    assert HDBSCAN(n_landmarks=500)._settings(2_000).min_size == 5
    assert HDBSCAN(n_landmarks=5_000)._settings(200_000).min_size == 50
    assert HDBSCAN(40, n_landmarks=500)._settings(2_000).min_size == 10
    assert HDBSCAN(2)._settings(2_000).min_size == 2


def test_hdbscan__warns_of_clusters_that_landmarks_cannot_show():
    rows = blobs(2_000)
    message = "10 of 2,000 rows are 2.5 of 500 landmarks.* at least 20 rows.* n_landmarks to 1,000"
    with pytest.warns(DasksegWarning, match=message):
        HDBSCAN(10, n_landmarks=500, n_repeats=1, random_state=1).fit(rows)


def test_hdbscan__warns_of_one_cluster_for_nearly_all():
    random = np.random.default_rng(0)
    rows = np.concatenate([random.normal(size=(950, 2)), random.normal(size=(50, 2)) / 9 + 9])
    with pytest.warns(DasksegWarning, match=r"one cluster has 9\d% of the landmarks"):
        HDBSCAN(30).fit(rows)


def test_hdbscan__flags_clusters_that_depend_on_the_draw():
    rows = np.random.default_rng(0).normal(size=(4_000, 2))
    with pytest.warns(DasksegWarning) as told:
        model = HDBSCAN(60, cluster_selection_method="leaf", min_samples=5, n_landmarks=800).fit(
            rows
        )
    rare = model.n_found_ < 4
    assert rare.any()
    assert (model.n_found_ >= 1).all()
    assert (model.n_found_ <= 5).all()
    named = next(str(one.message) for one in told if "depend on the draw" in str(one.message))
    assert f"{rare.sum()} of {model.n_clusters_} clusters" in named
    label = int(np.flatnonzero(rare)[0])
    assert f"{label} ({model.n_found_[label]})" in named


def test_best_jaccard__by_hand():
    labels = np.array([0, 0, 0, 1, 1, -1, 2], np.int32)
    others = np.array([3, 3, -1, 0, 3, 0, -1], np.int32)
    # {0, 1, 2} and {0, 1, 4}; {3, 4} and {3, 5} or {0, 1, 4}; {6} and nothing.
    assert best_jaccard(labels, others).tolist() == [2 / 4, 1 / 3, 0.0]
    assert best_jaccard(labels, np.full(7, -1, np.int32)).tolist() == [0.0] * 3
    assert best_jaccard(np.full(7, -1, np.int32), labels).tolist() == []


def test_hdbscan__centroids_are_weighted_as_in_scikit_learn():
    rows = blobs(500)
    model = HDBSCAN(40, min_samples=2).fit(rows)
    reference = sklearn.cluster.HDBSCAN(
        min_cluster_size=40, min_samples=2, store_centers="centroid", copy=True
    ).fit(rows)
    order = [model.labels_[np.argmax(reference.labels_ == i)] for i in range(model.n_clusters_)]
    np.testing.assert_allclose(model.centroids_[order], reference.centroids_, rtol=1e-9)


@pytest.mark.parametrize(
    ("parameters", "match"),
    [
        ({"min_cluster_size": 1}, "min_cluster_size=1 is neither"),
        ({"min_cluster_size": 1.5}, "min_cluster_size=1.5 is neither"),
        ({"min_cluster_size": "5"}, "min_cluster_size='5' is neither"),
        ({"min_cluster_size": True}, "min_cluster_size=True is neither"),
        ({"min_samples": 0}, "min_samples=0 is not a whole number"),
        ({"min_samples": 60, "n_landmarks": 50}, "more than n_landmarks=50"),
        ({"cluster_selection_method": "dbscan"}, "not one of: 'eom', 'leaf'"),
        ({"cluster_selection_epsilon": -1.0}, "cluster_selection_epsilon=-1.0"),
        ({"allow_single_cluster": "yes"}, "allow_single_cluster='yes'"),
        ({"n_landmarks": 1}, "n_landmarks=1 is not a whole number from 2"),
        ({"n_repeats": 0}, "n_repeats=0"),
        ({"metric": "cosine"}, "metric='cosine' has not landed yet"),
        ({"metric": "hamming"}, "metric='hamming' is not one of"),
        ({"random_state": -1}, "random_state=-1"),
    ],
)
def test_hdbscan__refuses_wrong_parameters(parameters, match):
    with pytest.raises(UsageError, match=match):
        HDBSCAN(**parameters).fit(blobs(100))


def test_hdbscan__refuses_bad_rows():
    rows = blobs(100)
    rows[42, 1] = np.nan
    with pytest.raises(InputError, match=r"missing values \(NaN\) in column 1.* row 42"):
        HDBSCAN().fit(rows)
    rows[42, 1] = np.inf
    with pytest.raises(InputError, match=r"infinite values \(infinity\) in column 1.* row 42"):
        HDBSCAN().fit(da.from_array(rows, chunks=(30, 2)))
    with pytest.raises(InputError, match=r"n_samples=9, but HDBSCAN with min_samples=10"):
        HDBSCAN().fit(blobs(9))
    with pytest.raises(InputError, match=r"n_samples=1, but HDBSCAN .* at least 2 rows"):
        HDBSCAN(min_samples=1).fit(blobs(1))
    with pytest.raises(TypeError, match="Sparse"):
        HDBSCAN().fit(scipy.sparse.csr_array(np.eye(20)))


# ── reachability ─────────────────────────────────────────────────────────────
def test_reachability__valleys_are_clusters():
    rows = blobs(1_200, noise=0.05)
    found = reachability(rows, min_samples=10)
    assert sorted(found.ordering.tolist()) == list(range(1_200))
    assert found.rows.tolist() == list(range(1_200))
    assert np.isinf(found.reachability[found.ordering[0]])
    model = HDBSCAN(100).fit(rows)
    # Rows of a cluster stand together: noise apart, a label changes three times.
    labels = model.labels_[found.ordering]
    labels = labels[labels >= 0]
    assert model.n_clusters_ == 4
    assert np.count_nonzero(np.diff(labels)) == 3


def test_reachability__has_the_core_distances_and_the_order_of_optics():
    rows = blobs(500)
    found = reachability(rows, min_samples=6)
    reference = sklearn.cluster.OPTICS(min_samples=6).fit(rows)
    np.testing.assert_allclose(found.core_distances, reference.core_distances_, rtol=1e-12)
    # Never below the core distance of the row itself, which OPTICS leaves out.
    inner = found.reachability >= found.core_distances
    assert inner.all()
    assert (
        np.corrcoef(
            np.minimum(found.reachability[found.ordering], 5)[1:],
            np.maximum(reference.reachability_, reference.core_distances_)[found.ordering][1:],
        )[0, 1]
        > 0.95
    )


def test_reachability__same_bits_for_any_chunks():
    rows = blobs(1_000)
    expected = reachability(rows, n_landmarks=300, random_state=2)
    assert expected.rows.shape == (300,)
    for chunks in ((1_000, 2), (333, 1)):
        found = reachability(da.from_array(rows, chunks=chunks), n_landmarks=300, random_state=2)
        for one, other in zip(found, expected, strict=True):
            np.testing.assert_array_equal(one, other)
    model = HDBSCAN(100, n_landmarks=300, random_state=2).fit(rows)
    np.testing.assert_array_equal(model.sample_indices_, expected.rows)


def test_reachability__refuses_what_hdbscan_refuses():
    with pytest.raises(UsageError, match="min_samples=0"):
        reachability(blobs(50), min_samples=0)
    with pytest.raises(InputError, match="a reachability plot with min_samples=10"):
        reachability(blobs(5))
    with pytest.raises(InputError, match="missing"):
        reachability([[np.nan], [1.0], [2.0]], min_samples=2)
