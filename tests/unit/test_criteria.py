"""The criteria for choosing k: measures by hand, known truth, and the same bits anywhere."""

from __future__ import annotations

from dataclasses import asdict
from itertools import combinations

import numpy as np
import pytest
from scipy.stats import binomtest
from sklearn.metrics import adjusted_rand_score

from benchmarks import known_truth
from daskseg.cluster.search import search
from daskseg.errors import InputError, UsageError
from daskseg.kernels import agreement, draws
from daskseg.kernels.draws import Rows
from daskseg.kernels.sample import Sample
from daskseg.model_selection.criteria import border, gap, measure
from daskseg.model_selection.criteria.fits import fit_all
from daskseg.model_selection.criteria.gap import Gap


def ones(values):
    return Rows(np.asarray(values, float), np.ones(len(values)))


def measured(values, ks, seed=0, weights=None, local=True):
    weights = np.ones(len(values)) if weights is None else weights
    sample = Sample(np.asarray(values, float), weights, is_whole=True)
    found = search(sample, list(ks), seed, local=True)
    centres = {k: one.centres for k, one in zip(ks, found, strict=True)}
    return measure(sample.values, sample.weights, centres, seed, local=local)


def groups(n_rows=1_500, apart=8.0, seed=0, n_features=3):
    random = np.random.default_rng(seed)
    centres = np.eye(n_features + 1, n_features) * apart
    labels = random.integers(0, n_features + 1, n_rows)
    return centres[labels] + random.normal(size=(n_rows, n_features))


# ── agreement of two partitions ──────────────────────────────────────────────
@pytest.mark.parametrize("seed", range(5))
def test_adjusted_rand__is_that_of_sklearn(seed):
    random = np.random.default_rng(seed)
    first, second = random.integers(0, 4, (2, 300)).astype(np.int32)
    second[:200] = first[:200]
    table = agreement.table_of(first, second, np.ones(300), 4)
    expected = adjusted_rand_score(first, second)
    assert agreement.adjusted_rand(table) == pytest.approx(expected, abs=1e-12)


def test_adjusted_rand__of_one_cluster_or_one_row():
    assert agreement.adjusted_rand(np.array([[7.0]])) == 1.0
    assert agreement.adjusted_rand(np.array([[1.0]])) == 1.0


def test_table_of__counts_weights_as_repeats():
    first, second = np.array([0, 0, 1], np.int32), np.array([1, 0, 1], np.int32)
    table = agreement.table_of(first, second, np.array([2.0, 1.0, 3.0]), 2)
    np.testing.assert_array_equal(table, [[1.0, 2.0], [0.0, 3.0]])


def test_jaccards__by_the_definition():
    random = np.random.default_rng(1)
    first, second = random.integers(0, 3, (2, 60)).astype(np.int32)
    table = agreement.table_of(first, second, np.ones(60), 3)
    rows = [set(np.flatnonzero(first == c)) for c in range(3)]
    others = [set(np.flatnonzero(second == c)) for c in range(3)]
    expected = [max(len(a & b) / len(a | b) for b in others) for a in rows]
    np.testing.assert_allclose(agreement.jaccards(table), expected, rtol=1e-15)


def test_jaccards__of_an_empty_cluster_are_zero():
    np.testing.assert_array_equal(agreement.jaccards(np.array([[3.0, 0.0], [0.0, 0.0]])), [1.0, 0])


def test_prediction_strength__by_the_definition():
    random = np.random.default_rng(2)
    first, second = random.integers(0, 3, (2, 40)).astype(np.int32)
    table = agreement.table_of(first, second, np.ones(40), 3)
    expected = min(
        np.mean([second[i] == second[j] for i, j in combinations(np.flatnonzero(first == c), 2)])
        for c in range(3)
    )
    assert agreement.prediction_strength(table) == pytest.approx(expected, rel=1e-12)


def test_prediction_strength__passes_over_single_rows():
    assert agreement.prediction_strength(np.array([[4.0, 0.0], [1.0, 0.0]])) == 1.0
    assert agreement.prediction_strength(np.array([[1.0]])) == 1.0


# ── gap ──────────────────────────────────────────────────────────────────────
def test_gap_of__by_hand():
    found = gap.gap_of([1.0, 3.0], [4.0, 6.0])
    # Spread of the references 1, times 1.5; noise of the data 1 over 2.
    assert found == Gap(3.0, pytest.approx(np.sqrt(1.5 + 0.5)))


def test_first_within_se__stops_at_the_first_not_the_largest():
    gaps = {1: Gap(0.5, 0.01), 2: Gap(0.505, 0.01), 3: Gap(0.9, 0.01)}
    bound = gap.bounds(gaps)
    assert bound == {1: pytest.approx(0.495), 2: pytest.approx(0.89)}
    assert gap.first_within_se({k: one.gap for k, one in gaps.items()}, bound) == 1
    assert gap.first_within_se({1: 0.5, 2: 0.6}, {1: 0.6, 2: 0.7}) is None


# ── draws ────────────────────────────────────────────────────────────────────
def test_draw__is_by_weight_and_of_its_number_alone():
    rows = Rows(np.arange(4.0)[:, None], np.array([1.0, 0.5, 2.5, 6.0]))
    drawn = draws.draw(rows, 20_000, 0, 3)
    assert drawn.weights.sum() == 20_000
    for place, weight in zip(drawn.values[:, 0].astype(int), drawn.weights, strict=True):
        assert binomtest(int(weight), 20_000, rows.weights[place] / 10.0).pvalue > 1e-3
    again = draws.draw(rows, 20_000, 0, 3)
    np.testing.assert_array_equal(drawn.weights, again.weights)
    assert (draws.draw(rows, 20_000, 0, 4).weights != drawn.weights).any()


def test_at_most__keeps_repeats_but_not_fractions():
    rows = Rows(np.arange(3.0)[:, None], np.array([2.0, 3.0, 5.0]))
    np.testing.assert_array_equal(draws.at_most(rows, 3, 0, 0).weights, rows.weights)
    small = Rows(rows.values, rows.weights / 100.0)
    np.testing.assert_allclose(draws.at_most(small, 3, 0, 0).weights, [0.6, 0.9, 1.5])
    assert len(draws.at_most(rows, 2, 0, 0).values) <= 2
    assert (draws.n_behind(rows), draws.n_behind(small)) == (10, 3)


def test_box_of__lies_along_the_components():
    random = np.random.default_rng(0)
    flat = random.uniform(-1.0, 1.0, (5_000, 2)) * [4.0, 1.0]
    turn = np.array([[0.8, -0.6], [0.6, 0.8]])
    found = draws.box_of(ones(flat @ turn + 7.0))
    np.testing.assert_allclose(found.high - found.low, [8.0, 2.0], rtol=0.02)
    wild = np.vstack([flat, [[500.0, 0.0], [-500.0, 0.0]]]) @ turn + 7.0
    robust = draws.box_of(ones(wild))
    np.testing.assert_allclose(robust.high - robust.low, [8.0, 2.0], rtol=0.02)


def test_reference__is_uniform_in_the_box():
    box = draws.Box(np.array([0.0, -2.0]), np.array([1.0, 2.0]))
    values = draws.reference(box, 4_000, 0, 1).values
    np.testing.assert_allclose(values.min(axis=0), box.low, atol=0.01)
    np.testing.assert_allclose(values.max(axis=0), box.high, atol=0.01)
    np.testing.assert_allclose(values.mean(axis=0), [0.5, 0.0], atol=0.06)


# ── fits ─────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_fit_all__ends_near_long_searches(dtype):
    rows = ones(groups())
    ks = [1, 2, 3, 4, 5, 9]
    fits = fit_all(rows, ks, 0, 1, dtype)
    best = search(Sample(*rows, is_whole=True), ks, 0, local=True)
    for k, expected in zip(ks, best, strict=True):
        assert fits[k].centres.shape == (k, 3)
        assert np.log(expected.sse) - 1e-4 <= fits[k].log_sse <= np.log(expected.sse * 1.02)


def test_fit_all__of_fewer_points_than_clusters_has_a_logarithm():
    fits = fit_all(ones([[0.0], [0.0], [4.0]]), [1, 2, 3], 0, 0, np.float32)
    assert np.isfinite([fit.log_sse for fit in fits.values()]).all()
    assert fits[2].log_sse < fits[1].log_sse - 20


# ── borders ──────────────────────────────────────────────────────────────────
def test_border_density__by_hand():
    # Centres 0 and 1: the border strip is 0.4 to 0.6, windows are as wide.
    values = np.array([0.0, 0.0, 0.05, 0.45, 0.55, 1.0, 1.0, 1.05, 0.95])[:, None]
    found = border.border_density(values, np.ones(9), np.array([[0.0], [1.0]]), cautious=False)
    assert found == pytest.approx(2 / 3)
    heavy = np.where(np.isin(values[:, 0], [0.45, 0.55]), 3.0, 1.0)
    found = border.border_density(values, heavy, np.array([[0.0], [1.0]]), cautious=False)
    assert found == pytest.approx(6 / 3)


def test_border_density__tells_a_cut_from_a_valley():
    random = np.random.default_rng(0)
    normal = random.normal(size=(8_000, 1))
    half = np.sqrt(2 / np.pi)
    cut = border.border_density(normal, np.ones(8_000), np.array([[-half], [half]]), cautious=True)
    assert cut > 1.0
    flat = random.random((8_000, 1))
    cut = border.border_density(flat, np.ones(8_000), np.array([[0.25], [0.75]]), cautious=False)
    assert cut == pytest.approx(1.0, abs=0.15)
    two = normal + np.where(random.random((8_000, 1)) < 0.5, -2.0, 2.0)
    valley = border.border_density(two, np.ones(8_000), np.array([[-2.0], [2.0]]), cautious=False)
    # Two normal curves four deviations apart: 2 exp(-2), widened by the strips.
    assert valley == pytest.approx(2 * np.exp(-2.0), abs=0.06)


def test_border_density__takes_the_worst_pair():
    values = np.concatenate([groups(3_000, 20.0, n_features=2), np.full((500, 2), [60.0, 0.0])])
    centres = np.array([[20.0, 0.0], [0.0, 20.0], [0.0, 0.0], [60.0, 0.0]])
    apart = border.border_density(values, np.ones(len(values)), centres, cautious=False)
    assert apart == 0.0
    cut = np.vstack([centres, [[0.8, 0.0]]]) - [[0, 0], [0, 0], [0.8, 0], [0, 0], [0, 0]]
    assert border.border_density(values, np.ones(len(values)), cut, cautious=False) > 1.0


def test_border_density__does_not_take_few_rows_for_none():
    few = np.array([[0.0], [0.01], [1.0], [1.01]])
    centres = np.array([[0.0], [1.0]])
    assert border.border_density(few, np.ones(4), centres, cautious=False) == 0.0
    assert border.border_density(few, np.ones(4), centres, cautious=True) > 1.0
    assert border.border_density(few, 100 * np.ones(4), centres, cautious=True) < 0.1


def test_border_density__of_one_cluster_and_of_equal_centres():
    rows = groups(100)
    assert border.border_density(rows, np.ones(100), rows[:1], cautious=True) == 0.0
    twice = np.vstack([rows[:1], rows[:1]])
    assert border.border_density(rows, np.ones(100), twice, cautious=True) == 1.0


@pytest.mark.parametrize("piece", [2**8, 2**12])
def test_border_density__does_not_depend_on_pieces(monkeypatch, piece):
    rows = groups(500)
    centres = rows[:6]
    expected = border.border_density(rows, np.ones(500), centres, cautious=True)
    monkeypatch.setattr(border, "_PIECE", piece)
    assert border.border_density(rows, np.ones(500), centres, cautious=True) == expected


# ── all together ─────────────────────────────────────────────────────────────
def test_measure__of_groups_that_are_apart():
    found = {row.k: row for row in measured(groups(), range(2, 8))}
    assert list(found) == [1, 2, 3, 4, 5, 6, 7]
    four = found[4]
    assert four.border_density < 0.1 < four.border_limit
    assert min(four.min_jaccard, four.stability, four.prediction_strength) > 0.97
    assert four.mean_jaccard >= four.min_jaccard
    assert four.stability >= four.stability_low
    for k in (5, 6, 7):
        assert found[k].border_density > found[k].border_limit
        assert found[k].prediction_strength < 0.8
    gaps = {k: row.gap for k, row in found.items()}
    assert gap.first_within_se(gaps, {k: row.gap_bound for k, row in found.items()}) == 4
    assert np.isnan(found[1].border_density)


def test_measure__asks_again_only_where_it_matters():
    n_resamples = {row.k: row.n_resamples for row in measured(groups(), range(2, 8))}
    assert n_resamples[4] == 4
    assert set(n_resamples.values()) <= {4, 8}


def test_measure__keeps_its_bits_under_any_scheduler(scheduler):
    expected = [repr(asdict(row)) for row in measured(groups(600), [2, 3, 4])]
    found = [repr(asdict(row)) for row in measured(groups(600), [2, 3, 4], local=False)]
    assert found == expected
    other = [repr(asdict(row)) for row in measured(groups(600), [2, 3, 4], seed=1)]
    assert other != expected


def test_measure__counts_weights_as_repeats():
    rows = np.unique(np.round(groups(1_200)), axis=0)
    weights = np.random.default_rng(0).integers(1, 4, len(rows)).astype(float)
    # A row without weight is no row.
    values = np.vstack([rows, [[1e6, 0.0, 0.0]]])
    found = measured(rows, [2, 4], weights=weights)
    assert repr(measured(values, [2, 4], weights=np.append(weights, 0.0))) == repr(found)
    assert found[2].border_density < found[2].border_limit


@pytest.mark.parametrize("n_rows", [2, 3, 7, 20])
def test_measure__of_few_rows_proves_nothing(n_rows):
    rows = np.random.default_rng(n_rows).normal(size=(n_rows, 2))
    for row in measured(rows, range(2, min(n_rows, 5) + 1)):
        columns = row.columns().items()
        values = [value for name, value in columns if not name.startswith("border")]
        assert np.isfinite(values).all()
        assert row.k == 1 or row.border_density > row.border_limit


def test_measure__survives_far_rows_and_large_offsets():
    rows = groups() + 1e6
    rows[0] = 1e9
    found = {row.k: row for row in measured(rows, [2, 5])}
    # The far row is a cluster of its own, and it is the weakest.
    assert found[5].min_jaccard < 0.8
    assert all(np.isfinite(row.gap) for row in found.values())


@pytest.mark.parametrize(
    ("values", "weights", "centres", "error", "match"),
    [
        (np.eye(3), np.ones(3), {}, UsageError, "range of k is empty"),
        (np.eye(3), np.ones(3), {3: np.eye(2)}, UsageError, r"k=3 have the shape \(2, 2\)"),
        (np.eye(3), np.ones(3), {0: np.empty((0, 3))}, UsageError, "k=0"),
        (np.eye(3), np.zeros(3), {2: np.eye(3)[:2]}, InputError, "weight above zero"),
        (np.ones((5, 2)), np.ones(5), {2: np.eye(2)}, InputError, "the 5 rows are alike"),
        (np.ones((1, 2)), np.ones(1), {1: np.ones((1, 2))}, InputError, "the 1 rows are alike"),
    ],
)
def test_measure__refuses_what_cannot_be(values, weights, centres, error, match):
    with pytest.raises(error, match=match):
        measure(values, weights, centres)


@pytest.mark.parametrize("name", ["uniform box", "exponential", "4 overlapping"])
def test_measure__of_known_truth(name):
    rows = known_truth.make(name, 100, n_rows=5_000)
    found = measured(rows, range(2, 7))
    apart = [row.k for row in found if row.k > 1 and row.border_density <= row.border_limit]
    assert max(apart, default=1) in known_truth.SETS[name][1]
