"""Mixtures of normal distributions: right, repeatable, and as cheap as they say."""

from __future__ import annotations

import warnings

import dask
import dask.array as da
import numpy as np
import pandas as pd
import pytest
import scipy.sparse
import sklearn.mixture
import zarr
from sklearn.datasets import load_iris, load_wine

from daskseg.errors import DasksegWarning, InputError, SchemaMismatchError, UsageError
from daskseg.kernels.mixture_steps import COVARIANCE_TYPES
from daskseg.mixture import GaussianMixture, bic_gain
from daskseg.mixture import starts as starts_module
from tests.counting import Counted


def groups(n_rows=900, n_features=3, k=3, seed=0, spread=4.0):
    random = np.random.default_rng(seed)
    means = random.normal(0, spread, (k, n_features))
    shapes = random.normal(0, 0.6, (k, n_features, n_features)) + np.eye(n_features)
    labels = random.integers(0, k, n_rows)
    noise = random.normal(size=(n_rows, n_features))
    return means[labels] + np.einsum("nij,nj->ni", shapes[labels], noise)


def state(model):
    return (
        *(getattr(model, name).tobytes() for name in ("weights_", "means_", "covariances_")),
        model.precisions_cholesky_.tobytes(),
        np.asarray(model.labels_).tobytes(),
        model.lower_bound_,
        model.n_iter_,
        model.stopped_by_,
        tuple(entry["log_likelihood"] for entry in model.history_),
    )


def start_of(rows, k, kind, seed=0):
    """Parameters of a fit of scikit-learn that did not get far."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        other = sklearn.mixture.GaussianMixture(
            k,
            covariance_type=kind,
            max_iter=1,
            random_state=seed,
            init_params="random_from_data",
            reg_covar=1.0,
        ).fit(rows)
    return {
        "weights_init": other.weights_,
        "means_init": other.means_,
        "precisions_init": other.precisions_,
    }


@pytest.mark.parametrize("kind", COVARIANCE_TYPES)
@pytest.mark.parametrize("n_steps", [1, 4])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_fit__takes_the_steps_of_scikit_learn(kind, n_steps, dtype):
    rows = groups(seed=1).astype(dtype)
    shared = {"covariance_type": kind, "tol": 0.0, "max_iter": n_steps, "reg_covar": 1e-6}
    shared |= start_of(rows.astype(np.float64), 3, kind)
    own = GaussianMixture(3, **shared).fit(rows)
    with pytest.warns(sklearn.exceptions.ConvergenceWarning):
        other = sklearn.mixture.GaussianMixture(3, **shared).fit(rows.astype(np.float64))
    for name in ("weights_", "means_", "covariances_", "precisions_", "precisions_cholesky_"):
        np.testing.assert_allclose(
            getattr(own, name), getattr(other, name), rtol=1e-6, atol=1e-8, err_msg=name
        )
    assert own.lower_bound_ == pytest.approx(other.lower_bound_, rel=1e-9)
    assert (own.n_iter_, own.stopped_by_, own.converged_) == (n_steps, "max_iter", False)
    wide = rows.astype(np.float64)
    np.testing.assert_allclose(own.predict_proba(rows), other.predict_proba(wide), atol=1e-6)
    np.testing.assert_allclose(own.score_samples(rows), other.score_samples(wide), rtol=1e-6)
    np.testing.assert_array_equal(own.predict(rows), other.predict(wide))
    for name in ("score", "bic", "aic"):
        assert getattr(own, name)(rows) == pytest.approx(getattr(other, name)(wide), rel=1e-6)


@pytest.mark.parametrize("kind", COVARIANCE_TYPES)
@pytest.mark.parametrize("shift", [0.0, 1e8])
def test_fit__of_one_component_gives_the_moments_of_the_rows(kind, shift):
    rows = groups(500, 4, seed=2)
    model = GaussianMixture(covariance_type=kind, reg_covar=0.0).fit(rows + shift)
    near = (rows + shift) - shift
    whole = np.cov(near.T, bias=True)
    expected = {
        "full": whole[None],
        "tied": whole,
        "diag": np.diag(whole)[None],
        "spherical": np.array([np.trace(whole) / 4]),
    }[kind]
    np.testing.assert_allclose(
        model.means_[0] - shift, near.mean(axis=0), atol=1e-7 + shift * 1e-16
    )
    np.testing.assert_allclose(model.covariances_, expected, rtol=1e-9)
    assert model.weights_.tolist() == [1.0]
    assert model.converged_


@pytest.mark.parametrize("kind", COVARIANCE_TYPES)
@pytest.mark.parametrize("rows", [load_iris().data, load_wine().data, groups(2_000, 5, 6)])
def test_history__never_falls(kind, rows):
    means = rows[np.random.default_rng(0).integers(0, len(rows), 6)]
    model = GaussianMixture(6, covariance_type=kind, means_init=means, tol=0.0, max_iter=60)
    model.fit(rows)
    found = np.array([entry["log_likelihood"] for entry in model.history_])
    assert len(found) >= 5
    assert (np.diff(found) >= -1e-9 * np.abs(found[1:])).all()
    assert model.lower_bound_ == found[-1]
    assert [entry["step"] for entry in model.history_] == list(range(1, len(found) + 1))


@pytest.mark.parametrize("kind", COVARIANCE_TYPES)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_fit__has_the_same_bits_for_any_chunks(kind, dtype, monkeypatch):
    monkeypatch.setattr(starts_module, "_WHOLE_VALUES", 0)
    monkeypatch.setattr(starts_module, "sample_rows_for", lambda k: 400)
    rows = groups(1_500, seed=3).astype(dtype)
    model = GaussianMixture(3, covariance_type=kind, tol=1e-6, random_state=1)
    expected = state(model.fit(rows))
    assert model.n_iter_ > 1
    for chunks in ((1_500, 3), (700, 2), (97, 1)):
        for scheduler in ("synchronous", "threads"):
            with dask.config.set(scheduler=scheduler, num_workers=2):
                assert state(model.fit(da.from_array(rows, chunks=chunks))) == expected


def test_fit__has_the_same_bits_on_every_scheduler(scheduler, tmp_path):
    rows = groups(3_000, seed=4)
    expected = state(GaussianMixture(3).fit(rows))
    array = zarr.create_array(
        store=str(tmp_path / "r.zarr"), shape=rows.shape, chunks=(512, 3), dtype="f8"
    )
    array[:] = rows
    assert state(GaussianMixture(3).fit(str(tmp_path / "r.zarr"))) == expected
    assert state(GaussianMixture(3).fit(da.from_array(rows, chunks=(999, 3)))) == expected


def test_fit__does_not_depend_on_the_order_of_rows_that_all_fit_the_sample():
    rows = groups(800, seed=5)
    one = GaussianMixture(3).fit(rows)
    other = GaussianMixture(3).fit(rows[np.random.default_rng(0).permutation(800)])
    for name in ("weights_", "means_", "covariances_"):
        assert getattr(one, name).tobytes() == getattr(other, name).tobytes()


@pytest.mark.parametrize("kind", COVARIANCE_TYPES)
def test_fit__weights_equal_repeats(kind):
    rows = groups(300, seed=6)
    weights = np.random.default_rng(0).integers(0, 4, 300)
    one = GaussianMixture(3, covariance_type=kind).fit(rows, sample_weight=weights)
    other = GaussianMixture(3, covariance_type=kind).fit(np.repeat(rows, weights, axis=0))
    for name in ("weights_", "means_", "covariances_", "lower_bound_"):
        np.testing.assert_allclose(getattr(one, name), getattr(other, name), rtol=1e-9, atol=1e-9)
    repeated = np.repeat(rows, weights, axis=0)
    assert one.score(rows, sample_weight=weights) == pytest.approx(one.score(repeated), rel=1e-12)


@pytest.mark.parametrize("kind", COVARIANCE_TYPES)
def test_fit__does_not_depend_on_units_and_origin(kind):
    rows = groups(1_000, seed=7)
    one = GaussianMixture(3, covariance_type=kind).fit(rows)
    far = GaussianMixture(3, covariance_type=kind).fit(rows * 1024.0 + 1e8)
    one_order, far_order = (np.argsort(model.means_[:, 0]) for model in (one, far))
    np.testing.assert_allclose(
        (far.means_[far_order] - 1e8) / 1024.0, one.means_[one_order], rtol=1e-4
    )
    if kind != "tied":
        one_order, far_order = one.covariances_[one_order], far.covariances_[far_order]
        np.testing.assert_allclose(far_order / 2.0**20, one_order, rtol=1e-3, atol=1e-3)


def test_fit__of_features_of_unequal_units_finds_the_groups_of_the_small_one():
    random = np.random.default_rng(0)
    share = np.concatenate([random.normal(0.1, 0.01, 500), random.normal(0.9, 0.01, 500)])
    rows = np.column_stack([random.normal(0, 1e5, 1_000), share])
    model = GaussianMixture(2, means_init=[[0, 0.1], [0, 0.9]]).fit(rows)
    assert len(set(model.labels_[:500])) == len(set(model.labels_[500:])) == 1
    np.testing.assert_allclose(model.covariances_[:, 1, 1], 1e-4, rtol=0.3)


@pytest.mark.parametrize("kind", COVARIANCE_TYPES)
@pytest.mark.parametrize("data", ["iris", "wine", "groups"])
def test_fit__is_as_likely_as_the_best_of_ten_of_scikit_learn(kind, data):
    rows = {"iris": load_iris().data, "wine": load_wine().data, "groups": groups(1_500, 4, 5)}[data]
    if data == "wine":
        rows = (rows[:, :5] - rows[:, :5].mean(axis=0)) / rows[:, :5].std(axis=0)
    own = GaussianMixture(3, covariance_type=kind, reg_covar=1e-6, tol=1e-5).fit(rows)
    other = sklearn.mixture.GaussianMixture(
        3, covariance_type=kind, n_init=10, random_state=0, tol=1e-5, max_iter=500
    ).fit(rows)
    assert own.score(rows) >= other.score(rows) - 1e-3


def test_passes__are_those_that_are_counted():
    rows = groups(1_200, seed=8)
    counted = Counted()
    lazy = da.from_array(rows, chunks=(300, 3)).map_blocks(counted, meta=rows[:0])
    model = GaussianMixture(3).fit(lazy)
    assert model.n_passes_ == counted.n_reads / 4
    assert model.n_passes_ == 2.0  # ranges and sample, and a step that gains nothing
    assert dask.is_dask_collection(model.labels_)
    counted.n_reads = 0
    model.membership_summary(lazy)
    assert counted.n_reads == 4
    for name in ("score", "bic", "aic", "icl"):
        counted.n_reads = 0
        getattr(model, name)(lazy)
        assert counted.n_reads == 8, name
    in_memory = GaussianMixture(3).fit(rows)
    assert in_memory.n_passes_ == 3.0


def test_max_passes__bounds_the_reads():
    rows = groups(1_200, seed=8)
    shared = start_of(rows, 3, "full")
    counted = Counted()
    lazy = da.from_array(rows, chunks=(300, 3)).map_blocks(counted, meta=rows[:0])
    model = GaussianMixture(3, tol=0.0, max_passes=4, **shared).fit(lazy)
    assert (model.stopped_by_, model.n_iter_, counted.n_reads) == ("max_passes", 3, 16)
    with pytest.raises(UsageError, match="max_passes=2, but this fit may read the data 3 times"):
        GaussianMixture(3, max_passes=2).fit(rows)


def test_starts__without_a_search_find_the_groups_too():
    rows = groups(1_500, 2, 4, spread=20.0)
    best = GaussianMixture(4).fit(rows).lower_bound_
    for name in ("k-means++", "random_from_data"):
        model = GaussianMixture(4, init_params=name, n_init=8, random_state=1).fit(rows)
        assert model.lower_bound_ == pytest.approx(best, abs=1e-3), name


def test_more_starts__are_not_worse():
    rows = np.random.default_rng(0).standard_t(3, (1_500, 2))
    found = [GaussianMixture(5, n_init=n, tol=1e-5).fit(rows).lower_bound_ for n in (1, 2, 6)]
    assert min(found[1:]) >= found[0] - 1e-3


def test_answers__of_lazy_rows_are_lazy_and_equal():
    rows = groups(700, seed=9)
    model = GaussianMixture(3).fit(rows)
    lazy = da.from_array(rows, chunks=(150, 3))
    for name in ("predict", "predict_proba", "score_samples", "memberships"):
        found = getattr(model, name)(lazy)
        assert isinstance(found, da.Array)
        np.testing.assert_array_equal(found.compute(), getattr(model, name)(rows))
    np.testing.assert_array_equal(model.fit_predict(rows), model.labels_)


def test_memberships__are_the_largest_ones_in_four_bytes():
    rows = groups(500, k=5, spread=1.0)
    model = GaussianMixture(5).fit(rows)
    shares = model.predict_proba(rows)
    found = model.memberships(rows)
    assert found.dtype.itemsize == 12
    np.testing.assert_array_equal(
        found["component"], np.argsort(-shares, axis=1, kind="stable")[:, :3]
    )
    np.testing.assert_allclose(found["membership"], -np.sort(-shares, axis=1)[:, :3], atol=1e-3)
    assert model.memberships(rows, n=9)["component"].shape == (500, 5)
    with pytest.raises(UsageError, match="n=0"):
        model.memberships(rows, n=0)


def test_membership_summary__by_definition():
    rows = groups(900, k=4, spread=1.0)
    model = GaussianMixture(4).fit(rows)
    shares = model.predict_proba(rows)
    label, largest = shares.argmax(axis=1), shares.max(axis=1)
    found = model.membership_summary(da.from_array(rows, chunks=(211, 3)))
    np.testing.assert_allclose(found.sizes, shares.sum(axis=0), rtol=1e-12)
    np.testing.assert_array_equal(found.counts, np.bincount(label, minlength=4))
    np.testing.assert_allclose(found.overlap, shares.T @ shares / shares.sum(axis=0)[:, None])
    np.testing.assert_allclose(found.overlap.sum(axis=1), 1.0)
    for k in range(4):
        own = largest[label == k]
        assert found.core[k] == pytest.approx((own >= 0.8).mean())
        assert found.fringe[k] == pytest.approx(((own >= 0.5) & (own < 0.8)).mean())
        assert found.ambiguous[k] == pytest.approx((own < 0.5).mean())
        assert found.mean_membership[k] == pytest.approx(own.mean())
    for one, other in zip(found, model.membership_summary(rows), strict=True):
        assert one.tobytes() == other.tobytes()


def test_icl__is_bic_plus_twice_the_entropy():
    rows = groups(600, k=4, spread=1.0)
    model = GaussianMixture(4).fit(rows)
    shares = model.predict_proba(rows)
    entropy = -np.sum(shares * np.log(np.maximum(shares, 1e-300)))
    assert model.icl(rows) == pytest.approx(model.bic(rows) + 2 * entropy, rel=1e-9)
    assert model.icl(rows) > model.bic(rows)


def test_bic_gain__falls_below_zero_beyond_the_groups():
    rows = groups(2_000, 2, 3, spread=15.0)
    models = [GaussianMixture(k).fit(rows) for k in (2, 3, 4)]
    assert bic_gain(models[0], models[1], rows) > 0.1
    assert bic_gain(models[1], models[2], rows) < 1e-3


@pytest.mark.parametrize("kind", COVARIANCE_TYPES)
def test_sample__has_the_moments_of_the_mixture(kind):
    rows = groups(2_000, 3, 3)
    model = GaussianMixture(3, covariance_type=kind, random_state=3).fit(rows)
    drawn, labels = model.sample(20_000)
    assert drawn.shape == (20_000, 3)
    np.testing.assert_allclose(np.bincount(labels) / 20_000, model.weights_, atol=0.02)
    np.testing.assert_allclose(drawn.mean(axis=0), rows.mean(axis=0), atol=0.15)
    assert model.score(drawn) == pytest.approx(model.score(rows), abs=0.1 if kind == "full" else 1)
    np.testing.assert_array_equal(model.sample(10)[0], model.sample(10)[0])


def test_fit__warns_of_components_without_rows():
    rows = groups(300, 2)
    means = [[0.0, 0.0], [1e4, 1e4], [1.0, 1.0], [-1e4, 0.0]]
    with pytest.warns(DasksegWarning, match="n_components=4, but no row belongs to 2 of them"):
        model = GaussianMixture(4, means_init=means).fit(rows)
    assert model.weights_[[1, 3]].tolist() == [0.0, 0.0]
    assert np.isfinite(model.predict_proba(rows)).all()
    np.testing.assert_allclose(model.predict_proba(rows).sum(axis=1), 1.0)


def test_fit__revives_a_component_that_died():
    random = np.random.default_rng(0)
    rows = np.concatenate([random.normal(0, 1, (5_000, 2)), random.normal(12, 1, (60, 2))])
    # Two of the three begin at the same place, one of them with hardly a share.
    model = GaussianMixture(
        3,
        weights_init=[0.5, 0.5 - 1e-9, 1e-9],
        precisions_init=[np.eye(2), np.eye(2), np.eye(2) * 1e6],
    ).fit(rows)
    assert (model.weights_ > 1e-5).all()
    assert model.score(rows) >= GaussianMixture(2).fit(rows).score(rows) - 1e-3


def test_fit__shrinks_what_collapses_and_says_so():
    random = np.random.default_rng(0)
    line = random.normal(size=(500, 1)) @ np.array([[1.0, 2.0]])
    rows = np.concatenate([line, random.normal(20, 1, (500, 2))])
    model = GaussianMixture(2, reg_covar=0.0).fit(rows)
    assert model.history_[-1]["shrunk"] == 1
    assert np.isfinite(model.score(rows))
    assert GaussianMixture(2).fit(rows).history_[-1]["shrunk"] == 0
    with pytest.raises(InputError, match=r"component 0 .* has no inverse: some features do not"):
        GaussianMixture(reg_covar=0.0).fit(line)


def test_fit__takes_constant_columns_and_single_points():
    rows = np.column_stack([groups(200, 2), np.full(200, 0.1)])
    model = GaussianMixture(2).fit(rows)
    np.testing.assert_allclose(model.means_[:, 2], 0.1, rtol=1e-15)
    assert np.isfinite(GaussianMixture().fit(np.ones((5, 2))).score(np.ones((5, 2))))


def test_fit__keeps_names():
    frame = pd.DataFrame(groups(100, 2), columns=["a", "b"])
    model = GaussianMixture(2).fit(frame)
    assert model.feature_names_in_.tolist() == ["a", "b"]
    with pytest.raises(ValueError, match="feature names should match"):
        model.predict(frame.rename(columns={"a": "z"}))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n_components": 0}, "n_components=0 is not a whole number from 1"),
        ({"covariance_type": "round"}, "covariance_type='round' is not one of"),
        ({"init_params": "random"}, "init_params='random' has not landed yet"),
        ({"init_params": "nothing"}, "init_params='nothing' is not one of"),
        ({"tol": -1.0}, "tol=-1.0"),
        ({"reg_covar": -1e-6}, "reg_covar=-1e-06"),
        ({"max_iter": 0}, "max_iter=0"),
        ({"n_init": 0}, "n_init=0"),
        ({"max_passes": 0}, "max_passes=0"),
        ({"random_state": "x"}, "random_state='x'"),
        ({"weights_init": [0.5, 0.6]}, "weights_init must be zero or more and sum to 1"),
        ({"weights_init": [1.0]}, r"weights_init has the shape \(1,\)"),
        ({"means_init": [[1.0, np.nan, 0.0]] * 2}, "means_init holds NaN"),
        ({"means_init": "here"}, "means_init is not an array of numbers"),
        ({"precisions_init": [-np.eye(3)] * 2}, "precisions_init must be inverses"),
        ({"precisions_init": [np.triu(np.ones((3, 3)))] * 2}, "symmetric"),
        ({"precisions_init": np.zeros((2, 3)), "covariance_type": "diag"}, "precisions_init must"),
    ],
)
def test_fit__refuses_wrong_parameters(options, message):
    with pytest.raises(UsageError, match=message):
        GaussianMixture(**{"n_components": 2} | options).fit(groups(50))


def test_fit__refuses_wrong_rows():
    rows = groups(50)
    with pytest.raises(InputError, match="n_samples=50 should be >= n_components=51"):
        GaussianMixture(51).fit(rows)
    rows[3, 1] = np.nan
    with pytest.raises(InputError, match=r"missing values .NaN. in column 1"):
        GaussianMixture(2).fit(rows)
    model = GaussianMixture(2).fit(groups(50))
    with pytest.raises(SchemaMismatchError):
        model.predict(da.ones((10, 4), chunks=5))
    with pytest.raises(TypeError, match="dense data is required"):
        model.predict(scipy.sparse.csr_array(np.eye(3)))
