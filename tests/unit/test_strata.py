"""Rows drawn per label."""

from __future__ import annotations

import numpy as np
import pytest

from daskseg.kernels import rng, strata


def drawn_in(pieces, values, weights, codes, quota, seed=0):
    """Draw from blocks that end at the given rows, merged pairwise."""
    rows = np.arange(len(values))
    total = None
    for piece in np.split(rows, pieces):
        own = None if weights is None else weights[piece]
        part = strata.draw(values[piece], own, codes[piece], piece, quota, seed)
        total = part if total is None else strata.merge_drawn(total, part, quota)
    return total


def a_case(n_rows=3_000, seed=0):
    random = np.random.default_rng(seed)
    codes = np.sort(random.choice(3, n_rows, p=[0.7, 0.29, 0.01])).astype(np.int32)
    random.shuffle(codes)
    return (
        random.normal(size=(n_rows, 2)),
        random.random(n_rows) * (random.random(n_rows) < 0.8),
        codes,
    )


@pytest.mark.parametrize("weighted", [False, True])
def test_draw__does_not_depend_on_blocks_or_floors(weighted):
    values, weights, codes = a_case()
    weights = weights if weighted else None
    heavy = np.ones(len(codes)) if weights is None else weights
    n_rows = np.bincount(codes, heavy > 0).astype(np.int64)
    wanted = np.array([60, 40, 400])
    quota = strata.quota_of(wanted, n_rows, np.bincount(codes, heavy), rng.ANCHORS)
    assert (quota.floor > 0).tolist() == [True, True, False]
    whole = strata.finish_draw(drawn_in([], values, weights, codes, quota), quota, n_rows)
    assert np.diff(whole.starts).tolist() == [60, 40, n_rows[2]]
    free = quota._replace(floor=np.zeros(3))
    for cuts, one in (([700, 701, 2_000], quota), ([5, 1_500], free)):
        found = strata.finish_draw(drawn_in(cuts, values, weights, codes, one), one, n_rows)
        for a, b in zip(found, whole, strict=True):
            np.testing.assert_array_equal(a, b)


def test_finish_draw__keeps_all_rows_of_a_small_label_as_they_are():
    values, weights, codes = a_case()
    n_rows = np.bincount(codes, weights > 0).astype(np.int64)
    quota = strata.quota_of(np.full(3, 5_000), n_rows, np.ones(3), rng.PARTNERS)
    found = strata.finish_draw(drawn_in([99], values, weights, codes, quota), quota, n_rows)
    order = np.lexsort((np.arange(len(codes)), codes))
    order = order[weights[order] > 0]
    np.testing.assert_array_equal(found.weights, weights[order])
    np.testing.assert_array_equal(found.values, values[order])
    assert not found.variances.any()


def test_finish_draw__notices_that_a_floor_was_too_high():
    values, _, codes = a_case()
    n_rows = np.bincount(codes).astype(np.int64)
    quota = strata.Quota(np.array([10, 10, 10]), np.full(3, 1e12), rng.ANCHORS)
    assert strata.finish_draw(drawn_in([], values, None, codes, quota), quota, n_rows) is None


def test_draw__estimates_sums_without_bias_and_knows_their_variance():
    """Of 600 draws, mean and variance of an estimated mean are what they should be."""
    values, weights, codes = a_case(800, seed=3)
    codes[:] = 0
    n_rows = np.array([int((weights > 0).sum())])
    # Half of all rows, so that it matters that none is drawn twice.
    quota = strata.quota_of(np.array([300]), n_rows, weights.sum()[None], rng.ANCHORS)
    true = float((weights * values[:, 0]).sum() / weights.sum())
    means, variances = [], []
    for seed in range(600):
        part = drawn_in([], values, weights, codes, quota, seed)
        found = strata.finish_draw(part, quota, n_rows)
        assert found is not None
        mean = float((found.weights * found.values[:, 0]).sum() / found.weights.sum())
        means.append(mean)
        variances.append(strata.variance_of_mean(found, found.values[:, 0] - mean, 0))
    assert np.mean(means) == pytest.approx(true, abs=3 * np.std(means) / np.sqrt(600))
    assert np.mean(variances) == pytest.approx(np.var(means), rel=0.2)


def test_sum_weights__by_hand():
    codes = np.array([1, 0, 1], np.int32)
    found = strata.sum_weights(np.array([0.5, 2.0, 0.25]), codes, 2, np.array([1]))
    units = [(int(h) << 30) + int(m) for h, m in zip(found.high, found.low, strict=True)]
    assert units == [2 * 2**68, 3 * 2**66]
