"""Distances to the k-th nearest row, and the eps that they suggest."""

from __future__ import annotations

import dask.array as da
import numpy as np
import pytest

from daskseg.cluster import DBSCAN
from daskseg.cluster.density import k_distances, suggest_eps
from daskseg.engine import progress
from daskseg.errors import InputError, UsageError


def by_pairs(rows, k):
    sq = np.zeros((len(rows), len(rows)))
    for column in rows.T:
        sq += (column[:, None] - column[None]) ** 2
    return np.sqrt(np.sort(sq, axis=1)[:, k - 1])


def blobs(seed=0, n=2_000):
    rng = np.random.default_rng(seed)
    rows = rng.choice([0.0, 8.0, 16.0], (n, 1)) + rng.normal(size=(n, 2)) * 0.4
    rows[: n // 20] = rng.uniform(-10, 26, (n // 20, 2))
    return rows


@pytest.mark.parametrize("k", [1, 5, None])
def test_k_distances__of_all_rows_are_those_of_all_pairs(k):
    rows = blobs(n=700)
    wanted = np.sort(by_pairs(rows, k or 4))
    np.testing.assert_allclose(k_distances(rows, min_samples=k), wanted, rtol=1e-12)


def test_k_distances__of_a_sample_are_distances_to_all_rows(scheduler):
    rows = blobs()
    lazy = da.from_array(rows, chunks=(333, 1))
    with progress.recording("test") as log:
        found = k_distances(lazy, min_samples=5, n_places=150, random_state=3)
    assert log.passes == 2
    assert len(found) == 150
    every = np.sort(by_pairs(rows, 5))
    assert np.isin(found.round(9), every.round(9)).all()
    assert np.median(found) == pytest.approx(np.median(every), rel=0.2)
    np.testing.assert_array_equal(
        found, k_distances(rows, min_samples=5, n_places=150, random_state=3)
    )
    other = k_distances(lazy, min_samples=5, n_places=150, random_state=4)
    assert (found != other).any()


def test_suggest_eps__parts_dense_rows_from_noise():
    rows = blobs()
    found = suggest_eps(rows)
    assert found.min_samples == 4
    assert found.eps == found.distances[found.knee]
    model = DBSCAN(found.eps, min_samples=found.min_samples).fit(rows)
    assert len(model.core_sample_indices_) == round(found.core_share * len(rows))
    assert (np.sort(np.bincount(model.labels_ + 1)[1:])[-3:] > 500).all()
    assert 0.02 < model.noise_share_ < 0.1


def test_suggest_eps__is_not_led_by_a_row_far_away():
    rows = blobs()
    far = np.r_[rows, [[1e9, 1e9]]]
    assert suggest_eps(far).eps == pytest.approx(suggest_eps(rows).eps, rel=0.3)


def test_suggest_eps__of_a_straight_curve_is_its_end():
    found = suggest_eps(np.arange(100.0)[:, None], min_samples=2)
    assert (found.eps, found.core_share) == (1.0, 1.0)


def test_suggest_eps__is_never_zero():
    rows = np.r_[np.zeros(995), np.arange(5.0) + 1.0][:, None]
    found = suggest_eps(rows, min_samples=3)
    assert found.eps > 0
    with pytest.raises(InputError, match="every one of 40 rows has 3 rows in its place"):
        suggest_eps(np.zeros((40, 2)), min_samples=3)


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"min_samples": 0}, UsageError, "min_samples=0 is not a whole number from 1"),
        ({"n_places": 2}, UsageError, "n_places=2 is not a whole number from 3"),
        ({"min_samples": 9}, InputError, "n_samples=8, but a distance with min_samples=9"),
    ],
)
def test_k_distances__refuses_what_makes_no_curve(options, error, words):
    with pytest.raises(error, match=words):
        k_distances(np.arange(8.0)[:, None], **options)
    bad = np.full((8, 1), np.nan)
    with pytest.raises(InputError, match="NaN"):
        suggest_eps(bad, min_samples=2)
