"""What moves between partitions, and what a sample says about each cluster."""

from __future__ import annotations

from importlib import import_module

import dask.array as da
import numpy as np
import pytest
from sklearn.exceptions import NotFittedError

from daskseg.errors import UsageError
from daskseg.inputs import as_blocks
from daskseg.metrics import silhouette_by_label, silhouette_samples
from daskseg.metrics.silhouette import evaluate
from daskseg.model_selection import ClusterSweep
from daskseg.model_selection.detail import Detail, detail
from daskseg.model_selection.moves import shares_of, to_frame
from daskseg.model_selection.sweep import sweep
from daskseg.segments.moves import moves_record
from tests import naive

# The package offers the function under the name of its module.
SWEEP_MODULE = import_module("daskseg.model_selection.sweep")


def blobs(n_rows=400, seed=0, spread=3.0):
    random = np.random.default_rng(seed)
    centres = np.vstack([np.zeros(3), np.eye(3)]) * 2 * spread
    return centres[random.integers(0, 4, n_rows)] + random.normal(size=(n_rows, 3))


def looked_at(rows, ks, k, weights=None):
    blocks = as_blocks(rows, sample_weight=weights)
    found = sweep(blocks, ks)
    centres = np.asarray(found.finish(k, blocks).cluster_centers_)
    evaluation = evaluate(blocks, [centres], found.survey.extent)
    return detail(found, centres, evaluation.clusters), centres, found


# ── shares ───────────────────────────────────────────────────────────────────
def test_shares_of__by_hand():
    # Three customers at 0, two at 4 (one counts twice), four at 10.
    values = np.array([0.0, 0, 0, 4, 4, 10, 10, 10, 10])[:, None]
    weights = np.array([1.0, 1, 1, 1, 2, 1, 1, 1, 1])
    shares = shares_of(values, weights, np.array([[2.0], [10.0]]), np.array([[0.0], [4], [10]]))
    np.testing.assert_allclose(shares, [[0.3, 0.3, 0.0], [0.0, 0.0, 0.4]], rtol=1e-15)
    frame = to_frame(shares)
    assert frame["from_cluster"].tolist() == [0, 0, 1]
    assert frame["to_cluster"].tolist() == [0, 1, 2]
    assert frame["share"].tolist() == pytest.approx([0.3, 0.3, 0.4])
    assert frame["of_from"].tolist() == pytest.approx([0.5, 0.5, 1.0])
    assert frame["of_to"].tolist() == pytest.approx([1.0, 1.0, 1.0])


@pytest.mark.parametrize("seed", range(3))
def test_shares_of__as_counted_one_by_one(seed):
    random = np.random.default_rng(seed)
    values, weights = random.normal(size=(50, 2)), random.integers(0, 4, 50).astype(float)
    first, second = random.normal(size=(3, 2)), random.normal(size=(5, 2))
    expected = np.zeros((3, 5))
    labels = naive.labels_of(values, first), naive.labels_of(values, second)
    for one, other, weight in zip(*labels, weights, strict=True):
        expected[one, other] += weight / weights.sum()
    np.testing.assert_allclose(shares_of(values, weights, first, second), expected, atol=1e-15)


def test_cluster_sweep__moves_are_those_of_all_rows():
    rows = blobs()
    found = ClusterSweep(range(2, 6)).fit(rows)
    frame = found.moves(found.best_k_, 5)
    assert frame["share"].sum() == pytest.approx(1.0)
    of_from = frame.groupby("from_cluster")["share"].sum()
    np.testing.assert_allclose(of_from, np.bincount(found.labels_) / len(rows), rtol=1e-12)
    back = found.moves(5, found.best_k_)
    assert sorted(back["share"]) == sorted(frame["share"])
    assert found.moves(1, 1)["share"].tolist() == [1.0]


@pytest.mark.parametrize("whole", [True, False])
def test_cluster_sweep__moves_keep_their_bits_under_any_chunks(monkeypatch, whole):
    if not whole:
        monkeypatch.setattr(SWEEP_MODULE, "sample_rows_for", lambda k: 90)
    rows = blobs(spread=1.0)
    expected = ClusterSweep([2, 3, 4]).fit(rows).moves(3, 4)
    for chunks in ((90, 3), (37, 1)):
        found = ClusterSweep([2, 3, 4]).fit(da.from_array(rows, chunks=chunks))
        assert found.moves(3, 4).equals(expected)


def test_cluster_sweep__moves_refuses_what_was_not_tried():
    with pytest.raises(NotFittedError):
        ClusterSweep().moves(2, 3)
    found = ClusterSweep([2, 3]).fit(blobs(60))
    with pytest.raises(UsageError, match=r"k=7 was not tried\. Ask for one of 1, 2, 3\."):
        found.moves(3, 7)


# ── record ───────────────────────────────────────────────────────────────────
def test_moves_record__by_hand():
    finer = np.array([[0.0, 0.2, 0.2], [0.5, 0.0, 0.1]])
    record = moves_record({3: finer}, ["S1", "S2"])
    assert record["coarser"] is None
    assert record["finer"]["k"] == 3
    # The others stand by where they come from: the second, the third, the first column.
    told = [
        (part["segment_id"], part["other_id"], part["share"], part["of_segment"], part["of_other"])
        for part in record["finer"]["parts"]
    ]
    assert told == [
        ("S1", "3a", 0.2, 0.5, 1.0),
        ("S1", "3b", 0.2, 0.5, pytest.approx(2 / 3)),
        ("S2", "3b", 0.1, pytest.approx(1 / 6), pytest.approx(1 / 3)),
        ("S2", "3c", 0.5, pytest.approx(5 / 6), 1.0),
    ]


def test_moves_record__an_empty_cluster_is_last_and_letters_go_on():
    shares = np.zeros((29, 28))
    shares[:, 1:] = np.arange(29)[:, None] / 1000
    shares[3, 2] = 0.5
    ids = [f"S{place}" for place in range(1, 30)]
    parts = moves_record({28: shares}, ids)["coarser"]["parts"]
    assert {part["other_id"] for part in parts} == {
        *(f"28{letter}" for letter in "abcdefghijklmnopqrstuvwxyz"),
        "28aa",
    }
    assert parts[-1]["of_other"] <= 1.0


# ── detail ───────────────────────────────────────────────────────────────────
def test_detail__quantiles_are_those_of_numpy():
    rows = blobs()
    looked, centres, _ = looked_at(rows, [2, 3, 4, 5], 4)
    labels = naive.labels_of(rows, centres)
    scores = silhouette_samples(rows, labels, metric="sqeuclidean")
    for cluster in range(4):
        expected = np.quantile(
            scores[labels == cluster], np.linspace(0, 1, 101), method="inverted_cdf"
        )
        np.testing.assert_allclose(looked.quantiles[cluster], expected, atol=1e-12)
    assert (looked.n_rows, looked.is_whole) == (400, True)
    below = silhouette_by_label(rows, labels).below_zero
    np.testing.assert_allclose((looked.quantiles < 0).mean(axis=1), below, atol=0.02)


def test_detail__weights_count_as_repeats():
    rows = np.round(blobs(200), 3)
    weights = np.random.default_rng(1).integers(0, 4, 200)
    weighted, centres, _ = looked_at(rows, [2, 3, 4, 5], 4, weights.astype(float))
    repeated, _, _ = looked_at(np.repeat(rows, weights, axis=0), [2, 3, 4, 5], 4)
    np.testing.assert_allclose(weighted.quantiles, repeated.quantiles, atol=1e-9)
    each = np.repeat(rows, weights, axis=0)
    labels = naive.labels_of(each, centres)
    scores = silhouette_samples(each, labels, metric="sqeuclidean")
    for cluster, quantiles in enumerate(weighted.quantiles):
        expected = np.quantile(
            scores[labels == cluster], np.linspace(0, 1, 101), method="inverted_cdf"
        )
        # Where the sum of weights meets a hundredth, rounding may take the next customer.
        assert np.isclose(quantiles, expected, atol=1e-9).mean() > 0.95
    for k, shares in repeated.moves.items():
        np.testing.assert_allclose(weighted.moves[k], shares, atol=1e-12)


def test_detail__neighbours_and_jaccards_of_the_same_clusters():
    looked, centres, found = looked_at(blobs(), [2, 3, 4, 5], 4)
    assert sorted(looked.moves) == [3, 5]
    assert looked.moves[5].shape == (4, 5)
    row = next(row for row in found.criteria if row.k == 4)
    assert sorted(looked.jaccards) == sorted(row.jaccards)
    assert min(row.jaccards) == row.min_jaccard
    assert np.mean(row.jaccards) == pytest.approx(row.mean_jaccard)
    # In another order of the centres, each index stays with its cluster.
    blocks = as_blocks(blobs())
    turned = evaluate(blocks, [centres[::-1]], found.survey.extent)
    np.testing.assert_array_equal(
        detail(found, centres[::-1].copy(), turned.clusters).jaccards, looked.jaccards[::-1]
    )
    # A cluster that shares too little with any has none.
    other = evaluate(blocks, [centres[:2]], found.survey.extent)
    assert np.isnan(detail(found, np.full((5, 3), centres[0]), other.clusters).jaccards[1:]).all()


def test_detail__of_one_number_alone_and_of_one_cluster():
    looked, _, _ = looked_at(blobs(), [3], 3)
    assert looked.moves == {}
    assert np.isfinite(looked.jaccards).all()
    assert np.isfinite(looked.quantiles).all()
    looked, _, _ = looked_at(blobs(), [1], 1)
    assert np.isnan(looked.quantiles).all()
    assert np.isnan(looked.jaccards).all()
    looked, _, _ = looked_at(blobs(), [2, 3], 2)
    assert list(looked.moves) == [3]  # one cluster tells nothing


def test_detail__keeps_its_bits_under_any_chunks(monkeypatch):
    monkeypatch.setattr(SWEEP_MODULE, "sample_rows_for", lambda k: 90)
    rows = blobs()
    expected, _, _ = looked_at(rows, [3, 4, 5], 4)
    assert not expected.is_whole
    for chunks in ((90, 3), (37, 1)):
        looked, _, _ = looked_at(da.from_array(rows, chunks=chunks), [3, 4, 5], 4)
        assert looked.quantiles.tobytes() == expected.quantiles.tobytes()
        assert looked.jaccards.tobytes() == expected.jaccards.tobytes()
        assert looked.moves[5].tobytes() == expected.moves[5].tobytes()


def test_detail__reorders_all_of_it():
    looked = Detail(
        np.array([[1.0], [2.0]]), np.array([0.1, 0.2]), {3: np.arange(6.0).reshape(2, 3)}, 9, True
    )
    turned = looked.reordered(np.array([1, 0]))
    assert turned.quantiles.tolist() == [[2.0], [1.0]]
    assert turned.jaccards.tolist() == [0.2, 0.1]
    assert turned.moves[3].tolist() == [[3.0, 4.0, 5.0], [0.0, 1.0, 2.0]]
