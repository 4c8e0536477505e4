from __future__ import annotations

from fractions import Fraction

import dask.array as da
import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from sklearn.metrics import adjusted_rand_score

from daskseg.engine.blocks import Blocks
from daskseg.engine.progress import recording
from daskseg.features.schemes import load_scheme
from daskseg.kernels.prepare import FeaturePlan
from daskseg.segments.grouping import CentreGrouping
from daskseg.segments.profile import (
    Clustering,
    Profile,
    agreement_ari,
    profile_segments,
    value_order,
)
from tests.segment_models import ACTIVE, CUTS, rfm_customers, rfm_model

PLAN = (
    FeaturePlan("a", -2.0, 2.0, fill=0.0, transform="none", center=0.0, spread=1.0, indicator=True),
    FeaturePlan("c", -np.inf, np.inf, 10.0, "log1p", 2.0, 0.5),
)
CENTRES = np.array([[-1.0, 0.0, 0.0], [1.0, 0.5, 0.0], [0.0, 0.0, 1.0]])
CLUSTERING = Clustering((0, 2), PLAN, CentreGrouping(CENTRES))


def table(n_rows=300, seed=0):
    """Columns a and c are active, b is passive; a and b have missing values, c has ties."""
    generator = np.random.default_rng(seed)
    values = np.column_stack([
        generator.normal(size=n_rows),
        generator.lognormal(0, 3, n_rows),
        generator.geometric(0.1, n_rows),
    ]).astype(float)  # fmt: skip
    values[generator.random(n_rows) < 0.1, 0] = np.nan
    values[generator.random(n_rows) < 0.4, 1] = np.nan
    return values


def naive_prepared(values):
    a = np.where(np.isnan(values[:, 0]), 0.0, values[:, 0]).clip(-2, 2)
    c = (np.log1p(values[:, 2]) - 2.0) / 0.5
    return np.column_stack([a, c, np.isnan(values[:, 0])])


def naive_labels(values):
    dist = np.linalg.norm(naive_prepared(values)[:, None] - CENTRES, axis=2)
    return dist.argmin(axis=1), dist.min(axis=1)


def rank(values, place):
    known = np.sort(values[~np.isnan(values)])
    return known[place(len(known))] if len(known) else np.nan


QUARTILES = (
    lambda n: (n - 1) // 4,
    lambda n: (n - 1) // 2,
    lambda n: n - 1 - (n - 1) // 4,
)


def profile(values, **options):
    blocks = values if isinstance(values, Blocks) else Blocks.from_array(values)
    return profile_segments(blocks, CLUSTERING, **{"value": 1, "value_decimals": 2, **options})


def same_bits(one, other):
    for name, left, right in zip(one._fields, one, other, strict=True):
        np.testing.assert_array_equal(left, right, err_msg=name)


def test_profile_segments__equals_a_naive_version():
    values = table()
    found = profile(values)
    labels, dist = naive_labels(values)
    assert found.sizes.tolist() == np.bincount(labels, minlength=3).tolist()
    for cluster in range(3):
        members = values[labels == cluster]
        for column in range(3):
            of_column = members[:, column]
            quartiles = [rank(of_column, place) for place in QUARTILES]
            np.testing.assert_array_equal(found.quartiles[cluster, column], quartiles)
            everyone = values[:, column][~np.isnan(values[:, column])]
            below = (everyone < quartiles[1]).mean() + (everyone == quartiles[1]).mean() / 2
            assert found.position[cluster, column] == pytest.approx(below, rel=1e-14)
        np.testing.assert_array_equal(found.missing[cluster], np.isnan(members).sum(axis=0))
        np.testing.assert_allclose(found.means[cluster], np.nanmean(members, axis=0), rtol=1e-12)
        worst = np.sort(dist[labels == cluster])[int(np.ceil(0.995 * len(members))) - 1]
        assert found.outlier_dist[cluster] == pytest.approx(worst, rel=1e-14)
        cents = sum(round(value * 100) for value in members[:, 1] if not np.isnan(value))
        assert found.totals[cluster] == cents
    np.testing.assert_allclose(found.whole_means, np.nanmean(values, axis=0), rtol=1e-12)
    whole = [[rank(values[:, column], place) for place in QUARTILES] for column in range(3)]
    np.testing.assert_array_equal(found.whole_quartiles, whole)
    assert found.rules is None


@given(st.lists(st.integers(0, 90), min_size=1, max_size=8).filter(lambda sizes: sum(sizes) > 60))
def test_profile_segments__same_bits_for_any_chunking(sizes):
    values = table(sum(sizes), seed=3)
    array = da.from_array(values, chunks=(sum(sizes), 3)).rechunk((tuple(sizes), (2, 1)))
    same_bits(profile(Blocks.from_dask_array(array)), profile(values))


def test_profile_segments__same_bits_for_every_scheduler(scheduler):
    values = table(1_000)
    array = da.from_array(values, chunks=(90, 3))
    same_bits(profile(Blocks.from_dask_array(array)), profile(values))


def test_profile_segments__same_bits_for_any_order_of_rows():
    values = table()
    shuffled = np.random.default_rng(9).permutation(values)
    same_bits(profile(Blocks.from_array(shuffled, block_rows=37)), profile(values))


def test_profile_segments__reads_the_data_five_times():
    with recording("profile") as log:
        profile(Blocks.from_array(table(), block_rows=100))
    assert log.passes == 5


def test_profile_segments__an_empty_cluster_and_one_without_a_value():
    values = table()
    values[naive_labels(values)[0] == 0, 1] = np.nan
    far = Clustering((0, 2), PLAN, CentreGrouping(np.vstack([CENTRES, [[90.0, 90.0, 0.0]]])))
    found = profile_segments(Blocks.from_array(values), far, value=1, value_decimals=2)
    assert found.sizes[3] == found.totals[3] == found.totals[0] == 0
    for numbers in (found.means, found.quartiles, found.position):
        assert np.isnan(numbers[3]).all()
        assert np.isnan(numbers[0, 1]).all()
        assert np.isfinite(numbers[0, [0, 2]]).all()
    assert np.isnan(found.outlier_dist[3])
    assert found.missing[0, 1] == found.sizes[0]


def test_profile_segments__totals_are_exact_beyond_64_bits():
    values = np.column_stack([np.zeros(1_000), np.full(1_000, 2.0**40), np.full(1_000, 10.0)])
    values[:3, 1] = [0.1, -7.5, 123456789.25]
    found = profile(values, value_decimals=9)
    exact = sum(round(Fraction(value) * 10**9) for value in values[:, 1].tolist())
    assert sum(found.totals) == exact
    assert exact > 2**63
    assert found.totals.dtype == object
    blocks = Blocks.from_array(values, block_rows=10)
    same_bits(profile(blocks, value_decimals=9), found)


def test_profile_segments__without_a_value_there_are_no_totals():
    assert profile(table(), value=None).totals is None


def test_profile_segments__counts_the_rule_names_of_every_member():
    frame = rfm_customers(400).drop(columns="customer_id")
    model, scheme = rfm_model(), load_scheme("rfm11")
    found = profile_segments(
        Blocks.from_array(frame.to_numpy(), columns=tuple(frame.columns), block_rows=90),
        Clustering((0, 1, 2), model.plan, model.grouping),
        value=2,
        value_decimals=2,
        scheme=scheme,
        cut_points=CUTS,
    )
    scored = model.score({name: frame[name].to_numpy() for name in ACTIVE})
    expected = pd.crosstab(
        pd.Categorical(scored["segment_id"], ["S1", "S2", "S3"]),
        pd.Categorical(scored["rfm_name"], scheme.names),
        dropna=False,
    )
    np.testing.assert_array_equal(found.rules, expected.to_numpy())
    assert found.rules.sum() == 400
    assert found.totals.tolist() == [
        round(frame["spend_net"][scored["segment_id"] == name].mul(100).round().sum())
        for name in ("S1", "S2", "S3")
    ]


# ── outliers ─────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(("n_rows", "outliers"), [(1, 0), (199, 0), (200, 1), (400, 2), (1_000, 5)])
def test_profile_segments__about_one_member_in_200_is_an_outlier(n_rows, outliers):
    values = np.random.default_rng(0).permutation(np.arange(n_rows, dtype=float))[:, None]
    plan = (FeaturePlan("a", -np.inf, np.inf, 0.0, "none", 0.0, 1.0),)
    clustering = Clustering((0,), plan, CentreGrouping(np.zeros((1, 1))))
    found = profile_segments(Blocks.from_array(values), clustering, value=None, value_decimals=0)
    assert (values[:, 0] > found.outlier_dist[0]).sum() == outliers


# ── order ────────────────────────────────────────────────────────────────────


def tiny_profile(sizes, totals):
    k = len(sizes)
    return Profile(
        sizes=np.array(sizes),
        totals=None if totals is None else np.array(totals, dtype=object),
        means=np.arange(float(k))[:, None],
        quartiles=np.zeros((k, 1, 3)),
        whole_means=np.zeros(1),
        whole_quartiles=np.zeros((1, 3)),
        missing=np.zeros((k, 1), dtype=int),
        position=np.zeros((k, 1)),
        rules=None,
        outlier_dist=np.arange(float(k)),
    )


@pytest.mark.parametrize(
    ("sizes", "totals", "order"),
    [
        ([1, 2, 3], [5, 9, 7], [1, 2, 0]),
        ([1, 2, 3], [5, 5, 5], [2, 1, 0]),
        ([2, 2, 2], [5, 7, 5], [1, 0, 2]),
        ([2, 3, 3], None, [1, 2, 0]),
        ([1, 1], [2**80, 2**80 + 1], [1, 0]),
        ([1, 1], [-5, -3], [1, 0]),
    ],
)
def test_value_order__by_total_then_size_then_number(sizes, totals, order):
    found = tiny_profile(sizes, totals)
    assert value_order(found, len(sizes)).tolist() == order
    turned = found.reordered(value_order(found, len(sizes)))
    assert turned.sizes.tolist() == [sizes[j] for j in order]
    assert turned.means.ravel().tolist() == turned.outlier_dist.tolist() == order
    if totals is not None:
        assert turned.totals.tolist() == [totals[j] for j in order]


# ── agreement ────────────────────────────────────────────────────────────────


def test_agreement_ari__by_hand():
    assert agreement_ari(np.array([[5, 0], [0, 5]])) == 1.0
    assert agreement_ari(np.array([[4]])) == 1.0
    assert agreement_ari(np.array([[1]])) == 1.0
    assert agreement_ari(np.zeros((2, 2), dtype=int)) == 1.0
    # Of 6 pairs, 2 are together in each partition and none in both: (0 - 2/3) / (2 - 2/3).
    assert agreement_ari(np.array([[1, 1], [1, 1]])) == pytest.approx(-0.5)


@given(
    hnp.arrays(
        np.int64, st.tuples(st.integers(1, 5), st.integers(1, 5)), elements=st.integers(0, 9)
    )
)
def test_agreement_ari__equals_sklearn(counts):
    rows, columns = np.indices(counts.shape).reshape(2, -1)
    one, other = rows.repeat(counts.ravel()), columns.repeat(counts.ravel())
    assert agreement_ari(counts) == pytest.approx(adjusted_rand_score(one, other), abs=1e-12)
