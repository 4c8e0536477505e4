"""Another sample where the first one misjudged all rows."""

from __future__ import annotations

import dask.array as da
import numpy as np
import pytest

from daskseg.cluster import KMeans, kmeans, second_look
from daskseg.cluster.second_look import is_misjudged
from daskseg.kernels import sample
from daskseg.kernels.sample import Sensitivity
from tests import naive


def rare_clusters(n_rows=6000):
    """A broad cloud, five small groups that a sample of few rows hardly meets, and outliers."""
    random = np.random.default_rng(0)
    rows = random.normal(size=(n_rows, 3))
    for j in range(5):
        rows[j * 1000 : j * 1000 + 8] = 40 * random.normal(size=3) + 0.1 * random.normal(
            size=(8, 3)
        )
    # So far away that by their side the groups are as near the mean as any row.
    rows[[5, 3000, 5999]] = 1e4
    return rows


@pytest.fixture
def small_samples(monkeypatch):
    monkeypatch.setattr("daskseg.cluster.starts._n_wanted", lambda blocks, k: 150)


def test_is_misjudged__looks_at_both_sides():
    assert not is_misjudged(100.0, 100.2)
    assert is_misjudged(100.0, 100.4)
    assert is_misjudged(100.0, 99.6)


def test_sensitivities__by_hand():
    lead = Sensitivity(np.array([[0.0], [10.0]]), np.array([3.0, 1.0]), 8.0)
    found = sample.sensitivities(np.array([[1.0], [12.0]]), np.array([1.0, 2.0]), lead)
    # One for any row; squared distance over its mean of 2; the half of all over the own cluster.
    assert found.tolist() == pytest.approx([1 + 0.5 + 2 / 3, 2 * (1 + 2.0 + 2.0)])


def test_draw_sensitive__does_not_depend_on_the_cut():
    rows = rare_clusters()
    lead = Sensitivity(rows[:4].copy(), np.full(4, 1500.0), naive.inertia_of(rows[:500], rows[:4]))
    whole = sample.draw_sensitive(rows, None, 0, lead, 0.0, 7, 100)
    parts = [
        sample.draw_sensitive(rows[a:b], None, a, lead, 0.0, 7, 100)
        for a, b in ((0, 70), (70, 4001), (4001, 6000))
    ]
    merged = sample.merge_samples(sample.merge_samples(parts[2], parts[0], 100), parts[1], 100)
    expected, found = (sample.finish_sample(part, 100, None) for part in (whole, merged))
    np.testing.assert_array_equal(found.drawn.rows, expected.drawn.rows)
    np.testing.assert_array_equal(found.weights, expected.weights)


@pytest.mark.usefixtures("small_samples")
def test_kmeans__looks_again_where_the_sample_misled(monkeypatch):
    rows = rare_clusters()
    monkeypatch.setattr(second_look, "TOLERATED_ERROR", np.inf)
    once = KMeans(7, max_iter=1).fit(rows)
    monkeypatch.setattr(second_look, "TOLERATED_ERROR", 0.0)
    again = KMeans(7, max_iter=1).fit(rows)
    assert again.inertia_ < once.inertia_


@pytest.mark.usefixtures("small_samples")
def test_kmeans__that_looks_again_keeps_its_bits_and_counts_its_reads(monkeypatch, scheduler):
    monkeypatch.setattr(second_look, "TOLERATED_ERROR", 0.0)
    rows = rare_clusters()
    expected = KMeans(7).fit(rows)
    for chunks in ((6000, 3), (777, 2)):
        model = KMeans(7).fit(da.from_array(rows, chunks=chunks))
        np.testing.assert_array_equal(model.cluster_centers_, expected.cluster_centers_)
        assert model.inertia_ == expected.inertia_
    bounded = KMeans(7, max_passes=3).fit(da.from_array(rows, chunks=(777, 3)))
    assert bounded.n_passes_ <= 3


@pytest.mark.usefixtures("small_samples")
def test_kmeans__does_not_look_again_at_rows_with_gaps(monkeypatch):
    rows = rare_clusters()
    rows[::7, 0] = np.nan
    monkeypatch.setattr(second_look, "TOLERATED_ERROR", 0.0)
    looked = []
    monkeypatch.setattr(kmeans, "look_again", lambda *args, **options: looked.append(args))
    KMeans(4, missing="mean", max_iter=2).fit(rows)
    assert looked
    looked.clear()
    KMeans(4, missing="partial", max_iter=2).fit(rows)
    assert not looked
