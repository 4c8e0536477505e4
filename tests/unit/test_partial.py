"""Steps on rows with missing values, against a plain version."""

from __future__ import annotations

import dask.array as da
import numpy as np
import pytest

from daskseg.cluster import KMeans, margins
from daskseg.errors import UsageError
from daskseg.kernels import partial
from daskseg.kernels.near import Moving


def rows_with_gaps(n_rows=600, seed=0, share=0.15, dtype=np.float64):
    random = np.random.default_rng(seed)
    rows = random.normal(0, 4, (5, 4))[random.integers(0, 5, n_rows)]
    rows = rows + random.normal(size=rows.shape)
    rows[random.random(rows.shape) < share] = np.nan
    return rows.astype(dtype)


def partial_distances(rows, centres):
    return np.nansum((rows[:, None, :] - centres) ** 2, axis=2)


def partial_lloyd(rows, centres, weights=None):
    """The definition: nearest over what is there, then means over what is there."""
    weights = np.ones(len(rows)) if weights is None else np.asarray(weights, float)
    while True:
        labels = partial_distances(rows, centres).argmin(axis=1)
        fresh = centres.copy()
        for j in range(len(centres)):
            for f in range(rows.shape[1]):
                own = (labels == j) & ~np.isnan(rows[:, f]) & (weights > 0)
                there = ~np.isnan(rows[:, f])
                chosen = own if own.any() else there
                fresh[j, f] = np.average(rows[chosen, f], weights=weights[chosen])
        if np.allclose(fresh, centres, rtol=0, atol=1e-12):
            return fresh, labels
        centres = fresh


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("algorithm", ["exact", "lloyd"])
def test_kmeans__missing_partial_equals_the_definition(weighted, algorithm):
    rows = rows_with_gaps()
    weights = np.random.default_rng(1).integers(0, 3, 600) if weighted else None
    init = np.nan_to_num(rows[:5])
    expected, labels = partial_lloyd(rows, init, weights)
    model = KMeans(5, init=init, missing="partial", algorithm=algorithm)
    model.fit(rows, sample_weight=weights)
    np.testing.assert_allclose(model.cluster_centers_, expected, rtol=1e-12, atol=1e-12)
    np.testing.assert_array_equal(model.labels_, labels)
    np.testing.assert_array_equal(model.predict(rows), labels)
    sq_dist = partial_distances(rows, expected)
    heavy = np.ones(600) if weights is None else weights
    assert model.inertia_ == pytest.approx((sq_dist.min(axis=1) * heavy).sum(), rel=1e-11)
    np.testing.assert_allclose(model.transform(rows), np.sqrt(sq_dist), rtol=1e-11)
    score = model.score(rows, sample_weight=weights)
    assert score == pytest.approx(-model.inertia_, rel=1e-11)


@pytest.mark.parametrize("share", [0.05, 0.3])
def test_kmeans__missing_partial_keeps_its_bits(monkeypatch, share, scheduler):
    monkeypatch.setattr(margins, "WHOLE_BYTES", 0)
    monkeypatch.setattr(margins, "SHARE", share)
    rows = rows_with_gaps(n_rows=900, dtype=np.float32)
    plain = KMeans(5, missing="partial", algorithm="lloyd").fit(rows)
    for chunks in ((900, 4), (77, 3)):
        exact = KMeans(5, missing="partial").fit(da.from_array(rows, chunks=chunks))
        np.testing.assert_array_equal(exact.cluster_centers_, plain.cluster_centers_)
        np.testing.assert_array_equal(np.asarray(exact.labels_), plain.labels_)
        assert exact.inertia_ == plain.inertia_


def test_kmeans__missing_partial_of_whole_rows_is_the_usual_fit():
    rows = rows_with_gaps(share=0.0)
    usual, partly = KMeans(5).fit(rows), KMeans(5, missing="partial").fit(rows)
    np.testing.assert_array_equal(usual.labels_, partly.labels_)
    np.testing.assert_allclose(usual.cluster_centers_, partly.cluster_centers_, rtol=1e-13)
    assert partly.inertia_ == pytest.approx(usual.inertia_, rel=1e-13)


def test_kmeans__missing_partial_takes_rows_without_any_value():
    rows = rows_with_gaps()
    empty = np.full((2, 4), np.nan)
    init = np.nan_to_num(rows[:5])
    without = KMeans(5, init=init, missing="partial").fit(rows)
    model = KMeans(5, init=init, missing="partial").fit(np.concatenate([rows, empty]))
    assert model.labels_[-2:].tolist() == [0, 0]
    np.testing.assert_array_equal(model.cluster_centers_, without.cluster_centers_)


def test_farthest_rows__take_what_they_miss_from_their_centre():
    rows = np.array([[9.0, np.nan], [1.0, 1.0], [np.nan, np.nan], [np.nan, 5.0]], np.float32)
    centres = np.array([[0.0, 0.0], [6.0, 2.0]])
    found = partial.farthest_rows(rows, None, 10, centres, 9)
    assert found.rows.tolist() == [10, 13, 11]
    assert found.sq_dist.tolist() == [9.0, 9.0, 2.0]
    assert found.values.tolist() == [[9.0, 2.0], [6.0, 5.0], [1.0, 1.0]]
    assert found.values.dtype == np.float64


def test_kmeans__missing_partial_fills_an_empty_cluster_from_a_row_with_gaps():
    rows = np.array([[0.0, 0.0], [1.0, 0.0], [8.0, np.nan], [np.nan, 1.0]])
    init = np.array([[0.0, 0.0], [99.0, 99.0]])
    model = KMeans(2, init=init, missing="partial").fit(rows)
    assert model.labels_.tolist() == [0, 0, 1, 0]
    np.testing.assert_allclose(model.cluster_centers_, [[0.5, 1 / 3], [8.0, 1 / 3]])
    assert model.inertia_ == pytest.approx(0.5 + 2 / 3)


def test_kmeans__missing_partial_refuses_the_sphere():
    with pytest.raises(UsageError, match="a row with gaps has no length"):
        KMeans(2, missing="partial", metric="cosine").fit([[1.0], [2.0], [3.0]])


def test_margins__with_gaps_never_promise_too_much():
    random = np.random.default_rng(3)
    rows = rows_with_gaps(2000)
    centres, radii = np.nan_to_num(rows[:6]), random.random(6) + 0.1
    near = partial.keep(rows, None, Moving(centres, radii))
    np.testing.assert_array_equal(
        near.labels, partial_distances(near.values, centres).argmin(axis=1)
    )
    for size in (0.05, 0.3, 1.0):
        moves = random.normal(size=centres.shape)
        moves *= size * radii[:, None] / np.linalg.norm(moves, axis=1, keepdims=True)
        labels = partial_distances(near.values, centres + moves).argmin(axis=1)
        held = near.margins > size * (1 + 1e-9)
        np.testing.assert_array_equal(labels[held], near.labels[held])
        assert held.any()
