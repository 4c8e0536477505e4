"""The estimator PCA: exact, repeatable, the same as scikit-learn's where that is right."""

from __future__ import annotations

import pickle

import dask
import dask.array as da
import dask.dataframe as dd
import numpy as np
import pandas as pd
import pytest
import sklearn.decomposition
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.linalg import subspace_angles
from sklearn.base import clone
from sklearn.datasets import load_digits, load_iris

from daskseg.decomposition import PCA
from daskseg.decomposition.spectrum import MAX_GRAM_FEATURES
from daskseg.errors import InputError, MemoryBudgetError, SchemaMismatchError, UsageError
from tests.counting import Counted


def mixed(n_rows=600, n_features=6, seed=0, decay=0.6):
    random = np.random.default_rng(seed)
    turned, _ = np.linalg.qr(random.normal(size=(n_features, n_features)))
    return random.normal(size=(n_rows, n_features)) * decay ** np.arange(n_features) @ turned


def state(model):
    names = ("components_", "explained_variance_", "mean_", "singular_values_")
    return (*(getattr(model, name).tobytes() for name in names), model.noise_variance_)


def test_pca__by_hand():
    model = PCA().fit(np.array([[0.0, 0.0], [2.0, 2.0], [4.0, 1.0], [-2.0, 1.0]]))
    assert model.mean_.tolist() == [1.0, 1.0]
    # Deviations (-1, -1), (1, 1), (3, 0), (-3, 0): variances 20/3 and 2/3, covariance 2/3.
    largest = (11 + np.sqrt(85)) / 3
    np.testing.assert_allclose(model.explained_variance_, [largest, 22 / 3 - largest], rtol=1e-14)
    np.testing.assert_allclose(model.explained_variance_ratio_.sum(), 1.0, rtol=1e-15)
    tilt = np.array([2 / 3, largest - 20 / 3])
    np.testing.assert_allclose(model.components_[0], tilt / np.hypot(*tilt), rtol=1e-13)
    assert (model.n_samples_, model.n_components_, model.noise_variance_) == (4, 2, 0.0)
    assert (model.n_passes_, model.missing_share_.tolist()) == (2.0, [0.0, 0.0])


@pytest.mark.parametrize("n_components", [None, 1, 4, 0.5, 0.9, 0.999])
@pytest.mark.parametrize("whiten", [False, True])
@pytest.mark.parametrize("load", [load_iris, load_digits])
def test_pca__equals_scikit_learn(load, whiten, n_components):
    rows = load().data[:, load().data.std(axis=0) > 0.1]
    theirs = sklearn.decomposition.PCA(
        n_components, whiten=whiten, svd_solver="covariance_eigh"
    ).fit(rows)
    ours = PCA(n_components, whiten=whiten).fit(rows)
    assert ours.n_components_ == theirs.n_components_
    # scikit-learn takes the same signs, from 1.5 on.
    for name in (
        "components_",
        "explained_variance_",
        "explained_variance_ratio_",
        "mean_",
        "noise_variance_",
        "singular_values_",
    ):
        np.testing.assert_allclose(
            getattr(ours, name), getattr(theirs, name), rtol=1e-9, atol=1e-9, err_msg=name
        )
    scores = ours.transform(rows)
    np.testing.assert_allclose(scores, theirs.transform(rows), atol=1e-8)
    np.testing.assert_allclose(
        ours.inverse_transform(scores), theirs.inverse_transform(scores), atol=1e-8
    )
    if not whiten:  # scikit-learn's covariance of a whitened model scales twice
        np.testing.assert_allclose(ours.get_covariance(), theirs.get_covariance(), atol=1e-9)
        assert ours.score(rows) == pytest.approx(theirs.score(rows), rel=1e-9)
    np.testing.assert_array_equal(PCA(n_components, whiten=whiten).fit_transform(rows), scores)


@settings(max_examples=15)
@given(
    st.lists(st.integers(1, 200), min_size=1, max_size=6),
    st.integers(1, 6),
    st.sampled_from([np.float32, np.float64]),
    st.sampled_from(["covariance_eigh", "randomized"]),
)
def test_pca__keeps_its_bits_under_any_chunks(heights, width, dtype, solver):
    rows = mixed().astype(dtype)
    cuts = np.unique(np.cumsum(heights).clip(0, 600))
    lazy = da.from_array(rows, chunks=(tuple(np.diff([0, *cuts, 600])), width))
    expected = PCA(3, svd_solver=solver).fit(rows)
    found = PCA(3, svd_solver=solver).fit(lazy)
    assert state(found) == state(expected)
    scores = found.transform(lazy)
    assert isinstance(scores, da.Array)
    assert scores.dtype == dtype
    np.testing.assert_array_equal(scores.compute(), expected.transform(rows))


def test_pca__does_not_depend_on_row_order():
    rows = mixed()
    order = np.random.default_rng(0).permutation(len(rows))
    assert state(PCA(3).fit(rows)) == state(PCA(3).fit(rows[order]))


def test_pca__keeps_its_bits_on_every_scheduler(scheduler):
    rows = mixed(900)
    lazy = da.from_array(rows, chunks=(100, 6))
    assert state(PCA(0.8).fit(lazy)) == state(PCA(0.8).fit(rows))
    found = PCA(2, svd_solver="randomized").fit(lazy)
    assert state(found) == state(PCA(2, svd_solver="randomized").fit(rows))


def test_pca__holds_on_data_far_from_zero():
    rows = mixed(2000)
    expected, found = PCA().fit(rows), PCA().fit(rows + 1e8)
    # The values themselves lose eight digits to the offset.
    np.testing.assert_allclose(found.components_, expected.components_, atol=1e-6)
    centred = (rows + 1e8) - 1e8
    np.testing.assert_allclose(
        found.explained_variance_, PCA().fit(centred).explained_variance_, rtol=1e-11
    )


def test_pca__frames_and_dask_frames_of_unknown_length():
    frame = pd.DataFrame(mixed(), columns=list("abcdef"))
    model = PCA(2).fit(frame)
    assert model.feature_names_in_.tolist() == list("abcdef")
    assert model.get_feature_names_out().tolist() == ["pca0", "pca1"]
    ddf = dd.from_pandas(frame, npartitions=3)
    other = PCA(2).fit(ddf)
    assert state(other) == state(model)
    assert other.n_passes_ == 3  # one to count the rows
    np.testing.assert_array_equal(other.transform(ddf).compute(), model.transform(frame))
    assert model.set_output(transform="pandas").transform(frame).columns.tolist() == [
        "pca0",
        "pca1",
    ]
    again = pickle.loads(pickle.dumps(other))
    np.testing.assert_array_equal(again.transform(frame), other.transform(frame))
    assert clone(PCA(0.5, whiten=True)).get_params()["n_components"] == 0.5
    with pytest.raises(SchemaMismatchError, match="those of the fit were"):
        model.transform(ddf.rename(columns={"a": "z"}))
    with pytest.raises(SchemaMismatchError, match="X has 5 features, but 6 features are expected"):
        model.transform(ddf.drop(columns="f"))


@pytest.mark.parametrize(
    ("options", "n_passes"), [({}, 2), ({"n_components": 2, "svd_solver": "randomized"}, 5)]
)
def test_pca__n_passes_counts_every_read(options, n_passes):
    rows, counted = mixed(), Counted()
    lazy = da.from_array(rows, chunks=(100, 6)).map_blocks(counted, dtype=rows.dtype, meta=rows[:0])
    with dask.config.set(scheduler="threads"):
        model = PCA(**options).fit(lazy)
    assert model.n_passes_ == n_passes
    assert counted.n_reads == 6 * n_passes
    lazy_scores = model.transform(lazy)
    assert counted.n_reads == 6 * n_passes
    assert lazy_scores.shape == (600, model.n_components_)


def test_pca__weights_count_repeats():
    rows = mixed()
    weights = np.random.default_rng(1).integers(0, 4, len(rows)).astype(float)
    for options in ({}, {"svd_solver": "randomized"}):
        found = PCA(3, **options).fit(rows, sample_weight=weights)
        repeated = PCA(3, **options).fit(np.repeat(rows, weights.astype(int), axis=0))
        np.testing.assert_allclose(found.components_, repeated.components_, atol=1e-5)
        for name in ("mean_", "explained_variance_", "singular_values_", "noise_variance_"):
            one, two = getattr(found, name), getattr(repeated, name)
            np.testing.assert_allclose(one, two, rtol=1e-9 if not options else 1e-5, atol=1e-9)
    assert found.score(rows, sample_weight=weights) == pytest.approx(
        found.score(np.repeat(rows, weights.astype(int), axis=0)), rel=1e-9
    )


def test_pca__missing_values_pair_by_pair():
    rows = mixed(3000)
    holes = rows.copy()
    holes[np.random.default_rng(1).random(rows.shape) < 0.1] = np.nan
    model = PCA(2, missing="pairwise").fit(holes)
    expected = pd.DataFrame(holes).cov().to_numpy()
    values, vectors = np.linalg.eigh(expected)
    np.testing.assert_allclose(model.explained_variance_, values[::-1][:2], rtol=1e-9)
    assert subspace_angles(model.components_.T, vectors[:, -2:]).max() < 1e-9
    np.testing.assert_allclose(model.missing_share_, np.isnan(holes).mean(axis=0), atol=1e-15)
    np.testing.assert_allclose(model.mean_, np.nanmean(holes, axis=0), rtol=1e-9)
    # Holes hide little where features are correlated; a missing value counts as the mean.
    assert subspace_angles(model.components_.T, PCA(2).fit(rows).components_.T).max() < 0.1
    filled = np.where(np.isnan(holes), model.mean_, holes)
    np.testing.assert_allclose(model.transform(holes), model.transform(filled), atol=1e-13)
    lazy = da.from_array(holes, chunks=(700, 2))
    assert state(PCA(2, missing="pairwise").fit(lazy)) == state(model)


def test_pca__pairwise_clips_what_no_covariance_has():
    """Three features, each pair seen alone, with correlations that cannot stand together."""
    hole, one = np.full(4, np.nan), np.array([-1.0, 1.0, -2.0, 2.0])
    pairs = [(one, one, hole), (hole, one, one), (one, hole, -one)]
    rows = np.hstack([np.vstack(pair) for pair in pairs]).T
    assert np.linalg.eigvalsh(pd.DataFrame(rows).cov().to_numpy())[0] < -1
    model = PCA(missing="pairwise").fit(rows)
    assert model.explained_variance_.min() == 0
    assert model.explained_variance_ratio_.sum() == pytest.approx(1.0)


def test_pca__full_share_of_variance_and_constant_columns():
    rows = np.column_stack([mixed(), np.full(600, 3.0)])
    model = PCA(whiten=True).fit(rows)
    assert (model.n_components_, model.explained_variance_[-1]) == (7, 0.0)
    assert np.isfinite(model.transform(rows)).all()
    assert PCA(np.nextafter(1.0, 0.0)).fit(rows).n_components_ in (6, 7)
    flat = PCA(0.5).fit(np.ones((5, 2)))
    assert (flat.n_components_, flat.explained_variance_ratio_.tolist()) == (1, [0.0])
    with pytest.raises(InputError, match="no variance in some direction"):
        model.score(rows)


def test_pca__fewer_rows_than_features():
    rows = mixed(4, 9)
    model = PCA().fit(rows)
    assert model.components_.shape == (3, 9)
    np.testing.assert_allclose(model.inverse_transform(model.transform(rows)), rows, atol=1e-12)


def test_pca__randomized_comes_close():
    rows = mixed(400, 60, decay=0.8)
    exact = PCA(4).fit(rows)
    for seed in (None, 1, np.random.RandomState(0), np.random.default_rng(0)):
        model = PCA(4, svd_solver="randomized", random_state=seed).fit(rows)
        assert subspace_angles(model.components_.T, exact.components_.T).max() < 1e-3
        np.testing.assert_allclose(model.explained_variance_, exact.explained_variance_, rtol=1e-5)
        assert model.noise_variance_ == pytest.approx(exact.noise_variance_, rel=1e-4)
    low = mixed(40, 3) @ np.random.default_rng(1).normal(size=(3, 12))
    model = PCA(5, svd_solver="randomized").fit(low)
    np.testing.assert_allclose(model.components_ @ model.components_.T, np.eye(5), atol=1e-9)
    assert model.explained_variance_[3:].max() < 1e-9


def test_pca__many_features_are_taken_at_random():
    n_features = MAX_GRAM_FEATURES + 1
    rows = np.random.default_rng(0).normal(size=(60, 3)) @ np.eye(3, n_features) * [[5.0]]
    model = PCA(3).fit(rows)
    expected = np.linalg.svd(rows - rows.mean(axis=0), full_matrices=False)[1][:3]
    np.testing.assert_allclose(model.singular_values_, expected, rtol=1e-5)
    with pytest.raises(UsageError, match="2,001 features and svd_solver='auto'"):
        PCA(0.9).fit(rows)
    with pytest.raises(MemoryBudgetError, match="2,001 features make 4,004,001 covariances"):
        PCA(3, svd_solver="covariance_eigh").fit(rows)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n_components": "mle"}, "'mle' is not supported"),
        ({"n_components": 0}, "n_components=0 is neither"),
        ({"n_components": 1.0}, "n_components=1.0 is neither"),
        ({"n_components": True}, "n_components=True is neither"),
        ({"n_components": 7}, "n_components=7 must be at most 6: n_samples=600 and n_features=6"),
        ({"svd_solver": "full"}, "svd_solver='full' is not one of: 'auto'"),
        ({"svd_solver": "randomized"}, "give a whole number"),
        ({"missing": "mean"}, "missing='mean' is neither"),
        ({"whiten": 1}, "whiten=1 is neither True nor False"),
        ({"iterated_power": -1}, "iterated_power=-1 is not a whole number from 0"),
        (
            {"svd_solver": "randomized", "n_components": 2, "missing": "pairwise"},
            "missing='pairwise' needs all covariances",
        ),
    ],
)
def test_pca__refuses_wrong_parameters(options, message):
    with pytest.raises(UsageError, match=message):
        PCA(**options).fit(mixed())


def test_pca__refuses_bad_data():
    rows = mixed()
    with pytest.raises(InputError, match="n_samples=1: a covariance takes at least two rows"):
        PCA().fit(rows[:1])
    with pytest.raises(UsageError, match="n_components=5 must be at most 4: n_samples=4"):
        PCA(5).fit(rows[:4], sample_weight=np.ones(4))
    with pytest.raises(InputError, match=r"the rows weigh 0\.6 together"):
        PCA(2, svd_solver="randomized").fit(rows, sample_weight=np.full(600, 0.001))
    with pytest.raises(InputError, match=r"have values in 0\.6 rows"):
        PCA(2).fit(rows, sample_weight=np.full(600, 0.001))
    rows[7, 2] = np.nan
    with pytest.raises(InputError, match=r"column 2; .*\n?.*first is in row 7"):
        PCA().fit(rows)
    with pytest.raises(InputError, match="missing values"):
        PCA(2).fit(mixed()).transform(rows)
    rows[:, 2] = np.nan
    with pytest.raises(InputError, match="column 2 has no value at all"):
        PCA(missing="pairwise").fit(rows)
    model = PCA(missing="pairwise").fit(mixed())
    rows[3, 1] = np.inf
    with pytest.raises(InputError, match="column 1, row 3 of its block"):
        model.transform(rows)
    with pytest.raises(InputError, match="infinite values"):
        PCA(missing="pairwise").fit(rows)
