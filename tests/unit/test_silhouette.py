"""Silhouettes with squared Euclidean distances."""

from __future__ import annotations

import dask.array as da
import numpy as np
import pytest
from sklearn.metrics import silhouette_samples

from daskseg.engine import progress
from daskseg.errors import InputError, UsageError
from daskseg.inputs import as_blocks, measure_extent
from daskseg.metrics import silhouette_by_label, silhouette_score
from daskseg.metrics.silhouette import evaluate
from tests import naive


def blobs(seed=0, n_rows=300, n_features=3, spread=2.0):
    random = np.random.default_rng(seed)
    centres = random.normal(0, spread, (4, n_features))
    labels = random.integers(0, 4, n_rows)
    return centres[labels] + random.normal(size=(n_rows, n_features)), labels


def test_silhouette_score__by_hand():
    """a = 1 and b = (81 + 100) / 2, or b = (64 + 81) / 2."""
    rows = [[0.0], [1.0], [9.0], [10.0]]
    expected = (2 * (1 - 1 / 90.5) + 2 * (1 - 1 / 72.5)) / 4
    found = silhouette_score(rows, [0, 0, 1, 1], metric="sqeuclidean")
    assert found == pytest.approx(expected, rel=1e-15)


@pytest.mark.parametrize("seed", [0, 1])
def test_silhouette_by_label__equals_the_naive_version(seed):
    rows, labels = blobs(seed, 80)
    expected = naive.silhouettes(rows, labels)
    found = silhouette_by_label(rows, labels)
    assert found.mean == pytest.approx(expected.mean(), abs=1e-12)
    for label, mean, below in zip(found.labels, found.of_labels, found.below_zero, strict=True):
        assert mean == pytest.approx(expected[labels == label].mean(), abs=1e-12)
        assert below == pytest.approx((expected[labels == label] < 0).mean(), abs=1e-15)


@pytest.mark.parametrize(("offset", "tolerance"), [(0.0, 1e-12), (1e5, 1e-9), (1e7, 1e-7)])
def test_silhouette_score__equals_scikit_learn(offset, tolerance):
    rows, labels = blobs(0, 500)
    expected = silhouette_samples(rows, labels, metric="sqeuclidean").mean()
    found = silhouette_score(rows + offset, labels, metric="sqeuclidean")
    assert found == pytest.approx(expected, abs=tolerance)


def test_silhouette_score__counts_single_rows_and_repeats_as_zero():
    rows = np.array([[0.0], [0.0], [5.0]])
    assert silhouette_score(rows, [0, 0, 1], metric="sqeuclidean") == pytest.approx(2 / 3)
    assert silhouette_score(np.zeros((4, 1)), [0, 0, 1, 1], metric="sqeuclidean") == 0.0


def test_silhouette_score__weights_count_as_repeats():
    rows, labels = blobs(1, 60)
    weights = np.random.default_rng(0).integers(0, 4, 60)
    weighted = silhouette_score(rows, labels, metric="sqeuclidean", sample_weight=weights)
    repeated = silhouette_score(
        np.repeat(rows, weights, axis=0), np.repeat(labels, weights), metric="sqeuclidean"
    )
    assert weighted == pytest.approx(repeated, abs=1e-9)


def test_silhouette_score__keeps_its_bits_under_any_cut():
    rows, labels = blobs()
    whole = silhouette_score(rows, labels, metric="sqeuclidean")
    for chunks in ((100, 3), (77, 2), (300, 1)):
        lazy = da.from_array(rows, chunks=chunks)
        for own in (labels, da.from_array(labels, chunks=50)):
            assert silhouette_score(lazy, own, metric="sqeuclidean") == whole


def test_silhouette_score__takes_labels_that_are_text():
    rows, labels = blobs()
    names = np.array(["b", "a", "d", "c"])[labels]
    found = silhouette_by_label(rows, names)
    assert found.labels.tolist() == ["a", "b", "c", "d"]
    assert found.mean == pytest.approx(silhouette_by_label(rows, labels).mean, abs=1e-15)


def test_silhouette_score__return_interval_is_a_point():
    rows, labels = blobs()
    score, interval = silhouette_score(rows, labels, metric="sqeuclidean", return_interval=True)
    assert interval == (score, score)


@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
def test_silhouette_score__refuses_what_has_not_landed(metric):
    with pytest.raises(UsageError, match="has not landed yet"):
        silhouette_score([[0.0], [1.0]], [0, 1], metric=metric)


@pytest.mark.parametrize(
    ("options", "match"), [({"metric": "l1"}, "not one of"), ({"n_samples": 0}, "n_samples=0")]
)
def test_silhouette_score__refuses_wrong_options(options, match):
    with pytest.raises(UsageError, match=match):
        silhouette_score([[0.0], [1.0]], [0, 1], **{"metric": "sqeuclidean", **options})


@pytest.mark.parametrize("labels", [[0, 0, 0], [0, 1, 2]])
def test_silhouette_score__refuses_one_label_or_all_different(labels):
    with pytest.raises(InputError, match="Number of labels is"):
        silhouette_score([[0.0], [1.0], [2.0]], labels, metric="sqeuclidean")


def test_silhouette_score__refuses_labels_of_another_length():
    with pytest.raises(InputError, match="labels has 2 values, but X has 3 rows"):
        silhouette_score([[0.0], [1.0], [2.0]], [0, 1], metric="sqeuclidean")


def test_evaluate__scores_many_sets_in_two_passes():
    rows, _ = blobs(2, 400)
    sets = [rows[:2].copy(), rows[2:5].copy(), rows[5:11].copy()]
    blocks = as_blocks(da.from_array(rows, chunks=(90, 3)))
    extent = measure_extent(blocks)
    with progress.recording("test") as log:
        found = evaluate(blocks, sets, extent)
    assert log.passes == 2
    for centres, scores in zip(sets, found.silhouettes, strict=True):
        expected = naive.silhouettes(rows, naive.labels_of(rows, centres))
        assert scores.mean == pytest.approx(expected.mean(), abs=1e-12)
