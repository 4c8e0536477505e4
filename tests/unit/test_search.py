"""The search for k-means on a weighted sample in memory."""

from __future__ import annotations

import math

import dask
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.cluster import KMeans

from daskseg.cluster.search import effort, fit, jobs, plus_plus_start, prepare, random_start, search
from daskseg.errors import InputError
from daskseg.kernels.sample import Sample, SamplePart


def sample_of(values, weights=None):
    rows = np.asarray(values, np.float64)
    rows = rows.reshape(len(rows), -1)
    return Sample(rows, np.ones(len(rows)) if weights is None else np.asarray(weights, float), True)


def drawn_of(values, n_wanted, seed=0):
    """Draw as `kernels.sample` does, with unequal importances."""
    random = np.random.default_rng(seed)
    importance = random.uniform(0.5, 2.0, len(values))
    priority = importance / random.uniform(0, 1, len(values))
    order = np.argsort(-priority)
    kept = np.sort(order[:n_wanted])
    own = np.ones(n_wanted)
    part = SamplePart(priority[kept], importance[kept], own, kept, values[kept])
    weights = np.maximum(1.0, priority[order[n_wanted]] / importance[kept])
    return Sample(values[kept], weights, False, part)


def sse_of(sample, centres):
    distances = ((sample.values[:, None] - centres[None]) ** 2).sum(axis=2)
    return math.fsum(sample.weights * distances.min(axis=1))


def partition(sample, centres):
    """Return the labels, numbered by their first rows."""
    labels = ((sample.values[:, None] - centres[None]) ** 2).sum(axis=2).argmin(axis=1)
    _, first, inverse = np.unique(labels, return_index=True, return_inverse=True)
    return np.argsort(np.argsort(first))[inverse]


def hard(n_rows=600, n_features=4, n_groups=12, seed=0):
    random = np.random.default_rng(seed)
    centres = random.normal(0, 3, (n_groups, n_features))
    return centres[random.integers(0, n_groups, n_rows)] + random.normal(size=(n_rows, n_features))


def test_search__solves_three_pairs():
    (found,) = search(sample_of([0, 1, 100, 101, 200, 201]), [3], 0)
    assert sorted(found.centres.ravel().tolist()) == [0.5, 100.5, 200.5]
    assert found.sse == 1.5


def test_search__of_one_cluster_is_the_mean():
    (found,) = search(sample_of([0, 1, 5], [1, 2, 1]), [1], 0)
    assert found.centres.tolist() == [[1.75]]
    assert found.sse == 1.75**2 + 2 * 0.75**2 + 3.25**2


@pytest.mark.parametrize("k", [1, 2, 5])
def test_search__of_one_row_is_the_row(k):
    (found,) = search(sample_of([[3.0, 4.0]]), [k], 0)
    assert found.centres.tolist() == [[3.0, 4.0]]
    assert found.sse == 0.0


def test_search__returns_the_rows_when_there_are_as_many_clusters():
    values = hard(30, 2)
    (found,) = search(sample_of(values), [30], 0)
    np.testing.assert_allclose(np.sort(found.centres, axis=0), np.sort(values, axis=0))
    assert found.sse == 0.0


@given(
    st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=25),
    st.lists(st.integers(1, 12), min_size=1, max_size=4),
    st.integers(0, 3),
)
@settings(max_examples=40, deadline=None)
def test_search__has_as_many_centres_as_there_are_distinct_rows(rows, ks, seed):
    sample = sample_of(rows, np.arange(len(rows)) % 3 + 1)
    n_distinct = len(set(rows))
    found = search(sample, ks, seed)
    for k, one in zip(ks, found, strict=True):
        assert one.centres.shape == (min(k, n_distinct), 2)
        assert math.isclose(one.sse, sse_of(sample, one.centres), rel_tol=1e-9, abs_tol=1e-12)
        assert (one.sse < 1e-12) == (k >= n_distinct)


def test_search__leaves_rows_without_weight_out():
    weights = np.array([1.0, 1.0, 0.0, 1.0, 1.0])
    (found,) = search(sample_of([0, 1, 50, 100, 101], weights), [2], 0)
    assert sorted(found.centres.ravel().tolist()) == [0.5, 100.5]


def test_search__refuses_a_sample_without_weight():
    with pytest.raises(InputError, match=r"none of the 2 rows .* weight above zero"):
        search(sample_of([0, 1], [0, 0]), [1], 0)


def test_search__constant_columns_do_not_matter():
    values = hard()
    wide = np.column_stack([values, np.full(len(values), 0.1)])
    left, right = search(sample_of(values), [5], 0)[0], search(sample_of(wide), [5], 0)[0]
    assert (right.centres[:, -1] == 0.1).all()
    assert math.isclose(left.sse, right.sse, rel_tol=1e-4)


@pytest.mark.parametrize(
    ("n_features", "k"), [(1, 2), (1, 9), (2, 7), (4, 12), (4, 3), (60, 10), (3, 100)]
)
def test_search__is_at_least_as_good_as_many_restarts(n_features, k):
    values = hard(600, n_features)
    weights = np.random.default_rng(1).uniform(0.2, 3, 600)
    (found,) = search(sample_of(values, weights), [k], 0)
    model = KMeans(k, n_init=30, random_state=0).fit(values, sample_weight=weights)
    assert found.sse <= model.inertia_ * 1.0005
    assert math.isclose(found.sse, sse_of(sample_of(values, weights), found.centres), rel_tol=1e-12)


def test_search__of_a_whole_sample_ends_at_a_fixpoint():
    sample = sample_of(hard())
    (found,) = search(sample, [8], 0)
    labels = partition(sample, found.centres)
    means = np.array([sample.values[labels == c].mean(axis=0) for c in range(8)])
    order, wanted = np.lexsort(found.centres.T), np.lexsort(means.T)
    np.testing.assert_allclose(found.centres[order], means[wanted], rtol=1e-9)


@pytest.mark.parametrize(("scale", "offset"), [(1.0, 1e8), (1e-6, 0.0), (1e-6, 10.0), (1e12, 0)])
def test_search__partition_ignores_scale_and_offset(scale, offset):
    values = hard(300, 3, 6)
    plain, moved = sample_of(values), sample_of(values * scale + offset)
    (left,), (right,) = search(plain, [6], 0), search(moved, [6], 0)
    np.testing.assert_array_equal(partition(plain, left.centres), partition(moved, right.centres))


@pytest.mark.parametrize("power", [-1000, -30, 40, 400])
def test_search__bits_follow_a_power_of_two(power):
    values = hard(300, 3, 6)
    (left,) = search(sample_of(values), [6], 0)
    (right,) = search(sample_of(np.ldexp(values, power)), [6], 0)
    np.testing.assert_array_equal(np.ldexp(left.centres, power), right.centres)


def test_search__tells_rows_apart_in_two_far_groups():
    random = np.random.default_rng(0)
    near, far = random.normal(size=(2, 200, 2))
    (found,) = search(sample_of(np.concatenate([near * 1e-6 + 1e3, far * 1e-6 - 1e3])), [8], 0)
    best = sum(KMeans(4, n_init=30, random_state=0).fit(one).inertia_ for one in (near, far))
    assert found.sse <= best * 1e-12 * 1.01


def test_search__uses_float64_only_where_float32_cannot_tell():
    spread = np.concatenate([hard(200, 2) * 1e-6 + 1, hard(200, 2) * 1e-6 - 1])
    for values, dtype in ((hard(), np.float32), (spread, np.float64)):
        room = fit._enter(
            prepare.prepare(sample_of(values), 0), [8], 0, None, is_second=False, local=True
        )
        assert room.dtype == dtype
        assert room.large.rows.dtype == dtype
        assert room.whole.rows.dtype == np.float64


def test_search__repeats_its_bits_and_heeds_the_seed():
    sample = sample_of(hard(400, 4, 30))
    first, again, other = (search(sample, [25], seed, n_init=1)[0] for seed in (0, 0, 1))
    np.testing.assert_array_equal(first.centres, again.centres)
    assert first.sse == again.sse
    assert not np.array_equal(first.centres, other.centres)


@pytest.mark.parametrize("scheduler", ["sync", "threads"])
@pytest.mark.parametrize("ks", [[9], [3, 4, 8]])
def test_search__bits_do_not_depend_on_where_jobs_run(monkeypatch, scheduler, ks):
    sample = drawn_of(hard(3000, 4, 20), 2000)
    loop = search(sample, ks, 3)
    monkeypatch.setattr(fit, "_SMALL_WORK", 0)
    with dask.config.set(scheduler=scheduler, num_workers=3):
        tasks = search(sample, ks, 3)
    for left, right in zip(loop, tasks, strict=True):
        np.testing.assert_array_equal(left.centres, right.centres)
        assert left.sse == right.sse


def test_search__of_a_drawn_sample_uses_its_weights():
    values = hard(4000, 3, 10)
    sample = drawn_of(values, 1500)
    (found,) = search(sample, [10], 0)
    assert math.isclose(found.sse, sse_of(sample, found.centres), rel_tol=1e-12)
    model = KMeans(10, n_init=20, random_state=0).fit(sample.values, sample_weight=sample.weights)
    assert found.sse <= model.inertia_ * 1.0005


def test_search__curve_falls_and_keeps_the_order_asked_for():
    sample = sample_of(hard(500, 3, 9))
    ks = [7, 2, 15, 3, 1, 7, 4, 600]
    found = dict(zip(ks, search(sample, ks, 0), strict=True))
    errors = [found[k].sse for k in sorted(found)]
    assert errors == sorted(errors, reverse=True)
    assert len(set(errors)) == len(errors)
    for k in (2, 3, 4, 7, 15):
        best = KMeans(k, n_init=20, random_state=0).fit(sample.values).inertia_
        assert found[k].sse <= best * 1.001


def test_let_fall__starts_from_fewer_clusters_where_more_are_worse():
    points = prepare.prepare(sample_of([0, 1, 10, 11, 30]), 0)
    room = fit._enter(points, [2, 4], 0, None, is_second=False, local=True)
    good = jobs.polish(points.points.rows[:2], room.whole, 0.0)
    best = {2: good, 4: good._replace(sse=good.sse * 2)}
    fit._let_fall(room, best)
    assert len(best[4].centres) == 4
    assert best[4].sse < good.sse


@pytest.mark.parametrize("n_init", [1, 2, 5, 100])
def test_search__makes_as_many_starts_as_asked_for(monkeypatch, n_init):
    seen = []

    def record(job, *rest):
        seen.extend(range(job.stream, job.stream + job.n_starts))
        return jobs_run_island(job, *rest)

    jobs_run_island = jobs.run_island
    monkeypatch.setattr(jobs, "run_island", record)
    search(sample_of(hard(200, 2)), [4], 0, n_init=n_init)
    assert len(seen) == len(set(seen)) == n_init


def test_effort_for__falls_with_the_size_and_with_company():
    def of(work, k=30, *, is_thorough=False, is_second=False):
        return effort.effort_for(work, k, is_thorough=is_thorough, is_second=is_second)

    alone = [of(work) for work in (10**5, 10**8, 10**10)]
    assert alone[0].n_islands > alone[1].n_islands > alone[2].n_islands
    assert effort.shared_effort(10**7).n_islands < of(10**7).n_islands
    assert of(10**7, is_thorough=True).n_tribes > of(10**7).n_tribes
    second = of(10**8, is_thorough=True, is_second=True)
    assert second.n_tribes > of(10**8, is_thorough=True).n_tribes
    few = of(10**8, 10, is_thorough=True)
    assert few.n_islands == few.n_starts < of(10**8, 11, is_thorough=True).n_islands
    assert of(10**5, 10, is_thorough=True) == of(10**5, 11, is_thorough=True)


def test_large_rows__are_more_where_few_clusters_are_searched_thoroughly():
    assert effort.large_rows(10, 10, is_thorough=True) > effort.large_rows(
        10, 10, is_thorough=False
    )
    assert effort.large_rows(11, 10, is_thorough=True) == effort.large_rows(
        11, 10, is_thorough=False
    )


def test_with_starts__makes_one_tribe_of_the_starts_asked_for():
    hard = effort.effort_for(10**7, 30, is_thorough=True, is_second=False)
    assert effort.with_starts(hard, 3)[:2] == (3, 3)
    assert effort.with_starts(hard, 100)[:2] == (hard.n_islands, 100)
    assert effort.with_starts(hard, 100).n_tribes == 1


def test_settle__breeds_tribes_until_two_agree(monkeypatch):
    def room_of(values, k):
        sample = sample_of(values)
        return fit._enter(prepare.prepare(sample, 0), [k], 0, None, is_second=False, local=True)

    bred = []
    start = fit._start
    monkeypatch.setattr(fit, "_start", lambda room, tribe: bred.append(tribe) or start(room, tribe))
    easy = room_of(np.repeat(np.arange(5.0), 20)[:, None] + np.linspace(0, 0.1, 100)[:, None], 5)
    fit._settle(easy)
    assert bred == [0, 1]
    bred.clear()
    monkeypatch.setattr(fit, "_agree", lambda tribes: False)
    found = fit._settle(room_of(hard(), 8))
    assert bred == [0, 1, 2, 3]
    assert [one.sse for one in found[8]] == sorted(one.sse for one in found[8])


def test_distinct__keeps_the_best_and_the_first_of_equals():
    trials = [jobs.Trial(np.full((1, 1), float(i)), sse) for i, sse in enumerate([3, 1, 2, 1, 9])]
    kept = fit.distinct(trials, 3)
    assert [float(one.centres[0, 0]) for one in kept] == [1.0, 2.0, 0.0]


@pytest.mark.parametrize("start", [plus_plus_start, random_start])
def test_starts__are_rows_of_the_sample(start):
    sample = drawn_of(hard(900, 3), 300)
    centres = start(sample, 6, 1)
    rows = {tuple(row) for row in sample.values.tolist()}
    assert len({tuple(row) for row in centres.tolist()} & rows) == 6
    np.testing.assert_array_equal(centres, start(sample, 6, 1))
    assert not np.array_equal(centres, start(sample, 6, 2))
    errors = [sse_of(sample, start(sample, 6, 1, n)) for n in (1, 4, 16)]
    assert errors == sorted(errors, reverse=True)
    assert errors[0] > errors[-1]


@pytest.mark.parametrize("start", [plus_plus_start, random_start])
def test_starts__repeat_the_first_row_when_rows_run_out(start):
    centres = start(sample_of([4, 7, 9], [1, 1, 0]), 4, 0).ravel().tolist()
    assert sorted(centres[:2]) == [4.0, 7.0]
    assert centres[2:] == [centres[0]] * 2
