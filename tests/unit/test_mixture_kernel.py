"""Memberships and exact sums of normal components, and the parameters they lead to."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import multivariate_normal

from daskseg.errors import InputError
from daskseg.kernels import mixture, mixture_scores, mixture_steps
from daskseg.kernels.mixture_steps import COVARIANCE_TYPES, Parameters
from daskseg.kernels.moments import extent


def covariances_for(kind, k, d, seed=0, scale=1.0):
    random = np.random.default_rng(seed)
    full = np.array([a @ a.T / d + 0.3 * np.eye(d) for a in random.normal(size=(k, d, d))]) * scale
    if kind == "full":
        return full
    if kind == "tied":
        return full[0]
    if kind == "diag":
        return np.array([np.diag(one) for one in full])
    return np.array([np.trace(one) / d for one in full])


def dense(covariances, kind, number, d):
    if kind == "full":
        return covariances[number]
    if kind == "tied":
        return covariances
    return np.diag(np.broadcast_to(covariances[number], d))


def model_for(kind, k=3, d=4, seed=0, shift=0.0):
    random = np.random.default_rng(seed + 1)
    weights = random.dirichlet(np.full(k, 5.0))
    return Parameters(
        weights, random.normal(0, 2, (k, d)) + shift, covariances_for(kind, k, d, seed)
    )


def ready_for(model, kind):
    return mixture_steps.ready_of(model, mixture_steps.factors_of(model.covariances, kind), kind)


def log_joint(rows, model, kind):
    d = rows.shape[1]
    return np.column_stack(
        [
            np.log(weight) + multivariate_normal.logpdf(rows, mean, dense(model[2], kind, i, d))
            for i, (weight, mean) in enumerate(zip(model.weights, model.means, strict=True))
        ]
    )


def step(rows, model, kind, weights=None):
    ready = ready_for(model, kind)
    bounds = mixture_steps.bounds_of(ready, extent(rows, weights, 0))
    return mixture.mixture_step(rows, weights, ready, bounds), ready, bounds


@pytest.mark.parametrize("kind", COVARIANCE_TYPES)
@pytest.mark.parametrize("n_rows", [1, 255, 700])
def test_densities__equal_those_of_scipy(kind, n_rows):
    rows = np.random.default_rng(0).normal(0, 3, (n_rows, 4))
    model = model_for(kind)
    joint = log_joint(rows, model, kind)
    expected = np.logaddexp.reduce(joint, axis=1)
    ready = ready_for(model, kind)
    np.testing.assert_allclose(mixture_scores.log_densities(rows, ready), expected, rtol=1e-12)
    np.testing.assert_allclose(
        mixture_scores.memberships(rows, ready),
        np.exp(joint - expected[:, None]),
        rtol=1e-9,
        atol=1e-300,
    )


def test_memberships__far_from_all_components_are_right():
    model = Parameters(np.array([0.5, 0.5]), np.array([[0.0], [1.0]]), np.ones((2, 1, 1)))
    rows = np.array([[1e3], [-1e3], [0.5]])
    shares = mixture_scores.memberships(rows, ready_for(model, "full"))
    np.testing.assert_allclose(shares[2], [0.5, 0.5])
    np.testing.assert_array_equal(shares[0] > 0.5, [False, True])
    assert np.isfinite(shares).all()
    np.testing.assert_allclose(shares.sum(axis=1), 1.0)


@pytest.mark.parametrize("kind", COVARIANCE_TYPES)
@pytest.mark.parametrize("shift", [0.0, 1e8])
@pytest.mark.parametrize("weighted", [False, True])
def test_step__leads_to_the_parameters_by_definition(kind, shift, weighted):
    random = np.random.default_rng(3)
    rows = random.normal(0, 3, (900, 4)) + shift
    weights = random.uniform(0, 3, 900) if weighted else None
    heavy = np.ones(900) if weights is None else weights
    model = model_for(kind, shift=shift)
    part, ready, bounds = step(rows, model, kind, weights)
    best = mixture_steps.maximise(part, ready, bounds, model, kind, np.full(4, 0.1))
    near = rows - shift
    shares = mixture_scores.memberships(rows, ready) * heavy[:, None]
    sizes = shares.sum(axis=0)
    means = shares.T @ near / sizes[:, None]
    full = np.array(
        [
            (near - mean).T @ ((near - mean) * own[:, None]) / size + 0.1 * np.eye(4)
            for mean, own, size in zip(means, shares.T, sizes, strict=True)
        ]
    )
    expected = {
        "full": full,
        "tied": np.einsum("k,kij->ij", sizes / sizes.sum(), full),
        "diag": np.diagonal(full, axis1=1, axis2=2),
        "spherical": np.trace(full, axis1=1, axis2=2) / 4,
    }[kind]
    np.testing.assert_allclose(best.sizes, sizes, rtol=1e-12)
    np.testing.assert_allclose(best.parameters.weights, sizes / sizes.sum(), rtol=1e-12)
    np.testing.assert_allclose(best.parameters.means - shift, means, rtol=1e-10, atol=1e-7)
    np.testing.assert_allclose(best.parameters.covariances, expected, rtol=1e-6, atol=1e-9)
    mean = np.average(mixture_scores.log_densities(rows, ready), weights=heavy)
    found = mixture_steps.log_density_of(part, bounds, float(heavy.sum()))
    assert found == pytest.approx(mean, rel=1e-12)


@settings(max_examples=15)
@given(cuts=st.lists(st.integers(0, 700), max_size=6), kind=st.sampled_from(COVARIANCE_TYPES))
def test_step__has_the_same_sums_for_any_blocks_in_any_order(cuts, kind):
    random = np.random.default_rng(5)
    rows = random.standard_t(2, (700, 3)).astype(np.float32)
    weights = random.uniform(0, 2, 700)
    model = model_for(kind, d=3)
    whole, ready, bounds = step(rows, model, kind, weights)
    edges = [0, *sorted(cuts), 700]
    parts = [
        mixture.mixture_step(rows[a:b], weights[a:b], ready, bounds) for a, b in pairwise(edges)
    ]
    random.shuffle(parts)
    total = parts[0]
    for part in parts[1:]:
        total = mixture.merge_mixtures(total, part)
    assert (total.n_rows, total.log_density) == (whole.n_rows, whole.log_density)
    one, other = (
        mixture_steps.maximise(part, ready, bounds, model, kind, np.zeros(3))
        for part in (whole, total)
    )
    for a, b in zip(one.parameters, other.parameters, strict=True):
        assert a.tobytes() == b.tobytes()


def test_memberships__do_not_depend_on_the_place_of_a_row():
    rows = np.random.default_rng(0).normal(size=(600, 5))
    ready = ready_for(model_for("full", d=5), "full")
    whole = mixture_scores.memberships(rows, ready)
    for first in (0, 1, 7, 300, 599):
        assert mixture_scores.memberships(rows[first:], ready).tobytes() == whole[first:].tobytes()


def test_step__refuses_values_outside_the_measured_range():
    rows = np.random.default_rng(0).normal(size=(100, 2))
    model = model_for("full", d=2)
    ready = ready_for(model, "full")
    bounds = mixture_steps.bounds_of(ready, extent(rows, None, 0))
    rows[50] = 1e3
    with pytest.raises(InputError, match="the data changed"):
        mixture.mixture_step(rows, None, ready, bounds)


def test_label_step__sums_each_row_in_its_component():
    rows = np.random.default_rng(0).normal(size=(500, 2))
    labels = np.random.default_rng(1).integers(0, 3, 500).astype(np.int32)
    model = model_for("full", d=2)
    ready = ready_for(model, "full")
    bounds = mixture_steps.bounds_of(ready, extent(rows, None, 0))
    part = mixture.label_step(rows, None, labels, ready, bounds)
    best = mixture_steps.maximise(part, ready, bounds, model, "full", np.zeros(2))
    for k in range(3):
        own = rows[labels == k]
        np.testing.assert_allclose(best.parameters.means[k], own.mean(axis=0), atol=1e-13)
        np.testing.assert_allclose(
            best.parameters.covariances[k], np.cov(own.T, bias=True), atol=1e-13
        )
    assert best.sizes.tolist() == np.bincount(labels).tolist()


def test_maximise__keeps_what_no_row_belongs_to():
    rows = np.random.default_rng(0).normal(size=(50, 2))
    covariances = np.array([np.eye(2), np.eye(2) * 1e-4])
    model = Parameters(np.array([0.5, 0.5]), np.array([[0.0, 0.0], [9e3, 9e3]]), covariances)
    part, ready, bounds = step(rows, model, "full")
    best = mixture_steps.maximise(part, ready, bounds, model, "full", np.zeros(2))
    assert best.is_empty.tolist() == [False, True]
    assert best.parameters.weights.tolist() == [1.0, 0.0]
    np.testing.assert_array_equal(best.parameters.means[1], [9e3, 9e3])
    np.testing.assert_array_equal(best.parameters.covariances[1], covariances[1])


def test_maximise__draws_a_collapsing_covariance_to_the_pooled_one():
    random = np.random.default_rng(0)
    line = random.normal(size=(300, 1)) @ np.array([[1.0, 1.0]])
    rows = np.concatenate([line, random.normal(20, 1, (300, 2))])
    model = Parameters(
        np.array([0.5, 0.5]), np.array([[0.0, 0.0], [20.0, 20.0]]), np.array([np.eye(2)] * 2)
    )
    part, ready, bounds = step(rows, model, "full")
    best = mixture_steps.maximise(part, ready, bounds, model, "full", np.zeros(2))
    assert best.n_shrunk == 1
    values = np.linalg.eigvalsh(best.parameters.covariances[0])
    assert 1e6 < values[1] / values[0] < 1.1e8
    # Units do not matter.
    free = np.array([np.diag([1.0, 1e-10])] * 2)
    scaled = Parameters(model.weights, model.means * [1.0, 1e-5], free)
    part, ready, bounds = step(rows * [1.0, 1e-5], scaled, "full")
    again = mixture_steps.maximise(part, ready, bounds, scaled, "full", np.zeros(2))
    np.testing.assert_allclose(
        again.parameters.covariances * np.outer([1, 1e5], [1, 1e5]),
        best.parameters.covariances,
        rtol=1e-6,
    )


def test_regularisation__is_a_millionth_of_each_variance():
    rows = np.random.default_rng(0).normal(0, [1.0, 100.0, 0.0], (4000, 3)) + 1e6
    ready = ready_for(
        Parameters(
            np.full(2, 0.5), np.array([[1e6] * 3, [1e6 + 5] * 3]), np.array([np.eye(3)] * 2)
        ),
        "full",
    )
    bounds = mixture_steps.bounds_of(ready, extent(rows, None, 0))
    labels = (rows[:, 0] > 1e6).astype(np.int32)
    part = mixture.label_step(rows, None, labels, ready, bounds)
    variances = rows.var(axis=0)
    np.testing.assert_allclose(
        mixture_steps.regularisation(part, ready, bounds),
        1e-6 * np.array([variances[0], variances[1], variances.mean()]),
        rtol=1e-9,
    )


def test_factors__of_a_singular_covariance_are_refused():
    assert mixture_steps.factor_of(np.ones((2, 2))) is None
    for kind, covariance in (("full", np.ones((1, 2, 2))), ("diag", np.array([[1.0, 0.0]]))):
        with pytest.raises(InputError, match=r"component 0 .* has no inverse"):
            mixture_steps.factors_of(covariance, kind)
    one = covariances_for("full", 1, 6)[0]
    factor = mixture_steps.factor_of(one)
    np.testing.assert_allclose(factor @ factor.T, np.linalg.inv(one), rtol=1e-10)
    assert not np.tril(factor, -1).any()


def test_bounds__of_rows_that_overflow_are_refused():
    model = Parameters(np.ones(1), np.zeros((1, 1)), np.full((1, 1, 1), 1e-100))
    with pytest.raises(InputError, match="densities overflow"):
        mixture_steps.bounds_of(ready_for(model, "full"), extent(np.array([[1e120]]), None, 0))


@pytest.mark.parametrize(
    ("kind", "expected"), [("full", 29), ("tied", 17), ("diag", 20), ("spherical", 14)]
)
def test_n_parameters__by_hand(kind, expected):
    # Two shares and nine means; three, one, three and three covariances.
    assert mixture_steps.n_parameters(3, 3, kind) == expected
