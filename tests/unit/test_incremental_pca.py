"""IncrementalPCA: nothing is forgotten, so batches, their order and sorting leave no trace."""

from __future__ import annotations

import pickle

import dask.array as da
import numpy as np
import pandas as pd
import pytest
import sklearn.decomposition
from scipy.linalg import subspace_angles
from sklearn.exceptions import NotFittedError

from daskseg.decomposition import PCA, IncrementalPCA
from daskseg.errors import InputError, MemoryBudgetError, SchemaMismatchError, UsageError
from tests.unit.test_pca import mixed, state


def in_batches(model, rows, size=40, order=None, weights=None):
    starts = np.arange(0, len(rows), size)
    for start in starts if order is None else starts[order]:
        cut = None if weights is None else weights[start : start + size]
        model.partial_fit(rows[start : start + size], sample_weight=cut)
    return model


def angle(a, b):
    return subspace_angles(a.components_.T, b.components_.T).max()


def test_incremental_pca__equals_pca_on_sorted_rows():
    """scikit-learn's estimator keeps a few vectors of each batch, and drifts here."""
    rows = mixed(4000, 20, decay=0.95)
    rows = rows[np.argsort(rows[:, 0])] + 100.0
    exact = PCA(5).fit(rows)
    model = in_batches(IncrementalPCA(5), rows, 100)
    assert angle(model, exact) < 1e-9
    np.testing.assert_allclose(model.explained_variance_, exact.explained_variance_, rtol=1e-11)
    np.testing.assert_allclose(model.var_, rows.var(axis=0), rtol=1e-11)
    np.testing.assert_allclose(model.mean_, rows.mean(axis=0), rtol=1e-12)
    assert model.noise_variance_ == pytest.approx(exact.noise_variance_, rel=1e-11)
    assert model.n_samples_seen_ == 4000
    theirs = in_batches_of_sklearn(rows)
    assert angle(theirs, exact) > np.radians(3)


def in_batches_of_sklearn(rows):
    model = sklearn.decomposition.IncrementalPCA(5)
    for start in range(0, len(rows), 100):
        model.partial_fit(rows[start : start + 100])
    return model


def test_incremental_pca__does_not_depend_on_the_order_of_batches():
    rows = mixed(1000) * np.exp(np.arange(1000) / 50)[:, None]
    order = np.random.default_rng(0).permutation(25)
    one = in_batches(IncrementalPCA(3), rows)
    two = in_batches(IncrementalPCA(3), rows, order=order)
    three = in_batches(IncrementalPCA(3), rows[::-1], 7)
    for other in (two, three, PCA(3).fit(rows)):
        assert angle(one, other) < 1e-9
        np.testing.assert_allclose(one.explained_variance_, other.explained_variance_, rtol=1e-10)


@pytest.mark.parametrize("missing", ["error", "pairwise"])
def test_incremental_pca__fit_gives_the_bits_of_pca(missing, scheduler):
    rows = mixed()
    if missing == "pairwise":
        rows[np.random.default_rng(0).random(rows.shape) < 0.05] = np.nan
    expected = state(PCA(3, missing=missing).fit(rows))
    options = {"n_components": 3, "missing": missing}
    assert state(IncrementalPCA(**options).fit(rows)) == expected
    assert state(IncrementalPCA(batch_size=7, **options).fit(rows)) == expected
    lazy = da.from_array(rows, chunks=(170, 4))
    model = IncrementalPCA(**options).fit(lazy)
    assert state(model) == expected
    assert isinstance(model.transform(lazy), da.Array)


def test_incremental_pca__goes_on_after_a_fit_and_a_pickle():
    rows = mixed()
    model = IncrementalPCA(2).fit(rows[:300])
    model = pickle.loads(pickle.dumps(model)).partial_fit(da.from_array(rows[300:], chunks=(50, 6)))
    assert angle(model, PCA(2).fit(rows)) < 1e-9
    model.fit(rows[:300])
    assert model.n_samples_seen_ == 300
    assert state(model) == state(PCA(2).fit(rows[:300]))


def test_incremental_pca__waits_for_rows_enough():
    rows = mixed()
    model = IncrementalPCA(3).partial_fit(rows[:1])
    assert model.n_samples_seen_ == 1
    with pytest.raises(NotFittedError):
        model.transform(rows)
    model.partial_fit(rows[1:2])
    assert not hasattr(model, "components_")
    model.partial_fit(rows[2:9])
    assert angle(model, PCA(3).fit(rows[:9])) < 1e-9


def test_incremental_pca__weights_and_missing_values_in_batches():
    rows = mixed()
    weights = np.random.default_rng(0).random(600) * 5
    weights[:40] = 0.01
    model = in_batches(IncrementalPCA(3), rows, weights=weights)
    exact = PCA(3).fit(rows, sample_weight=weights)
    assert angle(model, exact) < 1e-9
    rows[np.random.default_rng(1).random(rows.shape) < 0.1] = np.nan
    rows[:40, 0] = np.nan
    model = in_batches(IncrementalPCA(3, missing="pairwise"), rows)
    exact = PCA(3, missing="pairwise").fit(rows)
    assert angle(model, exact) < 1e-9
    np.testing.assert_allclose(model.missing_share_, exact.missing_share_, atol=1e-14)
    np.testing.assert_allclose(model.var_, np.nanvar(rows, axis=0), rtol=1e-10)


@pytest.mark.parametrize("missing", ["error", "pairwise"])
@pytest.mark.parametrize("offset", [0.0, 100.0])
def test_incremental_pca__merges(missing, offset):
    rows = mixed()
    rows[:, 2] = 7.0
    rows[300:] = rows[300:] * 5 + offset
    if missing == "pairwise":
        rows[np.random.default_rng(0).random(rows.shape) < 0.1] = np.nan
    options = {"n_components": 3, "missing": missing}
    weights = np.random.default_rng(1).random(600) + 0.5
    left = IncrementalPCA(**options).fit(rows[:300], sample_weight=weights[:300])
    right = IncrementalPCA(**options).partial_fit(rows[300:], sample_weight=weights[300:])
    before = state(right)
    merged = IncrementalPCA(**options).merge(left).merge(right)
    exact = PCA(**options).fit(rows, sample_weight=weights)
    assert merged.n_samples_seen_ == 600
    np.testing.assert_allclose(merged.explained_variance_, exact.explained_variance_, rtol=1e-9)
    np.testing.assert_allclose(merged.mean_, exact.mean_, rtol=1e-12, atol=1e-12)
    assert angle(merged, exact) < 1e-7
    assert state(right) == before
    other_way = right.merge(left)
    np.testing.assert_allclose(other_way.explained_variance_, exact.explained_variance_, rtol=1e-9)


def test_incremental_pca__merges_only_what_goes_together():
    rows = mixed()
    model = IncrementalPCA(2).fit(rows)
    with pytest.raises(SchemaMismatchError, match="has 5 features"):
        model.merge(IncrementalPCA(2).fit(rows[:, :5]))
    with pytest.raises(UsageError, match="missing='error' here, but missing='pairwise'"):
        model.merge(IncrementalPCA(2, missing="pairwise").fit(rows))
    frame = pd.DataFrame(rows, columns=list("abcdef"))
    named = IncrementalPCA(2).merge(IncrementalPCA(2).fit(frame))
    assert named.feature_names_in_.tolist() == list("abcdef")
    assert state(named) == state(model)
    with pytest.raises(SchemaMismatchError, match="'g'"):
        named.merge(IncrementalPCA(2).fit(frame.rename(columns={"a": "g"})))
    with pytest.raises(NotFittedError):
        model.merge(IncrementalPCA(2))


def test_incremental_pca__names_its_columns():
    model = IncrementalPCA(2).fit(mixed())
    assert model.get_feature_names_out().tolist() == ["incrementalpca0", "incrementalpca1"]
    assert model.inverse_transform(model.transform(mixed())).shape == (600, 6)


def test_incremental_pca__keeps_its_sums_when_a_batch_is_refused():
    rows = mixed()
    model = in_batches(IncrementalPCA(2), rows[:400])
    before = state(model)
    bad = rows[400:].copy()
    bad[0, 0] = np.nan
    with pytest.raises(InputError, match="1 missing values"):
        model.partial_fit(bad)
    with pytest.raises(ValueError, match="5 features, but IncrementalPCA is expecting 6"):
        model.partial_fit(rows[:, :5])
    assert state(model) == before
    assert angle(model.partial_fit(rows[400:]), PCA(2).fit(rows)) < 1e-9


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"batch_size": 0}, UsageError, "batch_size=0 is neither None nor a whole number"),
        ({"n_components": 7}, UsageError, "n_components=7 must be at most n_features=6"),
        ({"n_components": "mle"}, UsageError, "not supported"),
        ({"missing": None}, UsageError, "missing=None is neither"),
    ],
)
def test_incremental_pca__refuses_wrong_parameters(options, error, message):
    for method in ("fit", "partial_fit"):
        with pytest.raises(error, match=message):
            getattr(IncrementalPCA(**options), method)(mixed())


def test_incremental_pca__refuses_too_little_and_too_wide():
    with pytest.raises(InputError, match="n_samples=1"):
        IncrementalPCA().fit(mixed()[:1])
    with pytest.raises(MemoryBudgetError, match="2,500 features"):
        IncrementalPCA().partial_fit(np.zeros((2, 2500)))
