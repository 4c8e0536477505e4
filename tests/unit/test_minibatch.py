"""The mini-batch estimator: Lloyd's answer on growing batches, and running means on coming ones."""

from __future__ import annotations

import dask
import dask.array as da
import numpy as np
import pandas as pd
import pytest
import sklearn.cluster
from hypothesis import given, settings
from hypothesis import strategies as st

from daskseg.cluster import KMeans, MiniBatchKMeans, batches, growing, margins, running
from daskseg.engine.blocks import Blocks
from daskseg.errors import DasksegWarning, InputError, SchemaMismatchError, UsageError
from tests import naive
from tests.counting import Counted

FOUR = np.array([[0.0], [1.0], [9.0], [10.0]])


def blobs(n_rows=3000, n_features=3, n_blobs=5, seed=0, spread=4.0):
    random = np.random.default_rng(seed)
    centres = random.normal(0, spread, (n_blobs, n_features))
    return centres[random.integers(0, n_blobs, n_rows)] + random.normal(size=(n_rows, n_features))


def fit(rows, n_clusters=5, sample_weight=None, **options):
    """A fit on three batches of a few thousand rows."""
    options = {"batch_size": 200, **options}
    return MiniBatchKMeans(n_clusters, **options).fit(rows, sample_weight=sample_weight)


@pytest.fixture
def slow_growth(monkeypatch):
    monkeypatch.setattr(batches, "_GROWTH", 4)


def state(model):
    return (
        model.cluster_centers_.tobytes(),
        np.asarray(model.labels_).tobytes(),
        model.inertia_,
        model.cluster_weights_.tobytes(),
        [tuple(record.items()) for record in model.history_],
        model.stopped_by_,
    )


# Which rows are in a batch.


@pytest.mark.parametrize(
    ("n_rows", "first_rows", "expected"),
    [
        (50, 100, [50]),
        (100, 100, [100]),
        (101, 100, [100, 101]),
        (12_800, 100, [100, 12_800]),
        (40_000, 100, [100, 2_000, 40_000]),
    ],
)
def test_batch_sizes__grow_evenly_to_all_rows(n_rows, first_rows, expected):
    assert batches.batch_sizes(n_rows, first_rows) == expected


@given(st.integers(1, 3000), st.data(), st.integers(0, 5))
def test_runs_of__are_apart_spread_and_nested(n_rows, data, seed):
    sizes = sorted(data.draw(st.lists(st.integers(1, n_rows), min_size=2, max_size=2)))
    inner, outer = (
        [row for start, stop in batches.runs_of(n_rows, size, seed) for row in range(start, stop)]
        for size in sizes
    )
    assert inner == sorted(set(inner))
    assert set(inner) <= set(outer) <= set(range(n_rows))
    assert sizes[0] <= len(inner) <= sizes[0] + batches.N_RUNS
    # Every stretch has its part: no gap is wider than two of them.
    gaps = np.diff([0, *inner, n_rows])
    assert gaps.max() <= 2 * -(-n_rows // batches.N_RUNS)


def test_runs_of__covers_everything_in_one_run():
    assert batches.runs_of(1000, 1000, 0) == [(0, 1000)]
    assert batches.runs_of(1000, 100, 0) != batches.runs_of(1000, 100, 1)


@given(
    st.lists(st.integers(0, 90), min_size=1, max_size=8).filter(lambda heights: sum(heights) > 0),
    st.data(),
)
@settings(max_examples=30)
def test_take_runs__takes_those_rows_and_reads_what_it_says(heights, data):
    n_rows = sum(heights)
    size = data.draw(st.integers(1, n_rows))
    runs = batches.runs_of(n_rows, size, 0)
    rows = np.arange(2.0 * n_rows).reshape(n_rows, 2)
    weights = np.arange(n_rows) + 0.5
    chosen = [row for start, stop in runs for row in range(start, stop)]
    lazy = Blocks.from_dask_array(da.from_array(rows, chunks=(tuple(heights), 1)))
    lazy = lazy.with_weights(weights)
    taken = batches.take_runs(lazy, runs)
    with dask.config.set(scheduler="sync"):
        parts = batches.passes.emit(taken.blocks, batches._hand_over)
    np.testing.assert_array_equal(np.concatenate([part for part, _ in parts]), rows[chosen])
    np.testing.assert_array_equal(np.concatenate([own for _, own in parts]), weights[chosen])
    edges = np.cumsum([0, *heights])
    touched = {int(np.searchsorted(edges, row, side="right")) - 1 for row in chosen}
    expected = 1.0 if runs == [(0, n_rows)] else sum(heights[i] for i in touched) / n_rows
    assert taken.share == pytest.approx(expected)


def test_floor__gives_the_wanted_number_of_certain_and_likely_rows():
    importance = np.random.default_rng(0).pareto(1.0, 1000) + 0.1
    for n_above in (3.0, 50.5, 400.0):
        floor = batches._floor(importance, n_above)
        assert np.minimum(1.0, importance / floor).sum() == pytest.approx(n_above)


# The fit.


def test_fit__by_hand():
    model = MiniBatchKMeans(2, init=[[0.0], [1.0]], tol=0).fit(FOUR)
    assert model.cluster_centers_.tolist() == [[0.5], [9.5]]
    assert model.labels_.tolist() == [0, 0, 1, 1]
    assert model.cluster_weights_.tolist() == [2.0, 2.0]
    assert (model.inertia_, model.stopped_by_, model.n_iter_) == (1.0, "fixpoint", 3)
    assert (model.n_rows_seen_, model.n_steps_) == (4, 1)
    assert [record["rows"] for record in model.history_] == [4, 4, 4]


@pytest.mark.parametrize("weighted", [False, True])
def test_fit__ends_at_a_fixpoint_of_all_rows(weighted, slow_growth):
    rows = blobs(spread=1.5)
    random = np.random.default_rng(1)
    weights = random.integers(0, 4, len(rows)).astype(float) if weighted else None
    model = fit(rows, sample_weight=weights, tol=0)
    assert model.stopped_by_ == "fixpoint"
    assert model.n_steps_ == 3
    again, _, fixed = naive.lloyd(rows, model.cluster_centers_, 2, weights)
    assert fixed
    np.testing.assert_allclose(model.cluster_centers_, again, rtol=1e-12, atol=1e-12)
    np.testing.assert_array_equal(model.labels_, naive.labels_of(rows, model.cluster_centers_))
    expected = naive.inertia_of(rows, model.cluster_centers_, weights)
    assert model.inertia_ == pytest.approx(expected, rel=1e-12)
    assert model.cluster_weights_.sum() == (len(rows) if weights is None else weights.sum())
    assert model.n_rows_seen_ == (len(rows) if weights is None else (weights > 0).sum())
    in_play = [record["rows"] for record in model.history_]
    assert in_play == sorted(in_play)
    assert in_play[-1] == len(rows)
    assert [record["step"] for record in model.history_] == list(range(1, model.n_iter_ + 1))


def test_fit__is_as_good_as_restarts_and_better_than_noise(slow_growth):
    rows = blobs(6000, n_features=6, n_blobs=12, spread=1.5)
    best = KMeans(12).fit(rows).inertia_
    found = [fit(rows, 12, random_state=seed, batch_size=600).inertia_ for seed in range(3)]
    reference = sklearn.cluster.MiniBatchKMeans(12, random_state=0).fit(rows)
    assert max(found) <= 1.01 * best
    assert max(found) < -reference.score(rows)


@settings(max_examples=10)
@given(
    st.lists(st.integers(1, 900), min_size=1, max_size=6),
    st.integers(1, 3),
    st.sampled_from([np.float32, np.float64]),
)
def test_fit__keeps_its_bits_under_any_chunks(heights, width, dtype):
    rows = blobs().astype(dtype)
    cuts = np.unique(np.cumsum(heights).clip(0, 3000))
    chunks = tuple(np.diff([0, *cuts, 3000]))
    assert state(fit(da.from_array(rows, chunks=(chunks, width)))) == state(fit(rows))


def test_fit__keeps_its_bits_on_every_scheduler(scheduler, slow_growth):
    rows = blobs()
    weights = np.random.default_rng(0).random(3000)
    expected = state(fit(rows, sample_weight=weights))
    lazy = da.from_array(rows, chunks=(700, 2))
    assert state(fit(lazy, sample_weight=da.from_array(weights, chunks=450))) == expected


def test_fit__finds_clusters_in_sorted_rows():
    rows = blobs(20_000, n_blobs=20, spread=8.0)
    labels = KMeans(20).fit(rows).labels_
    rows = rows[np.argsort(labels, kind="stable")]
    assert fit(rows, 20, batch_size=2000).inertia_ <= 1.001 * KMeans(20).fit(rows).inertia_


def _with_rare_rows(n_rows=20_000):
    """Three far groups in places that the first batch has left out."""
    rows = blobs(n_rows, n_features=2, n_blobs=2, spread=1.0)
    held = np.zeros(n_rows, bool)
    for start, stop in batches.runs_of(n_rows, 500, 0):
        held[start:stop] = True
    free = np.flatnonzero(~held)
    for i, place in enumerate(((60.0, 0.0), (0.0, 70.0), (-50.0, -50.0))):
        rows[free[500 + 400 * i : 500 + 400 * i + 7]] = place
    return rows


def test_fit__starts_anew_where_the_first_batch_missed_clusters():
    rows = _with_rare_rows()
    model = fit(rows, 5, batch_size=500)
    assert model.inertia_ <= 1.0001 * KMeans(5).fit(rows).inertia_
    kept = fit(rows, 5, batch_size=500, init="random")
    assert kept.inertia_ > 1.5 * model.inertia_


@pytest.mark.parametrize("keeps_all", [False, True])
@pytest.mark.parametrize("beyond", [False, True])
def test_fit__stays_exact_where_the_ranges_of_the_first_batch_mislead(
    beyond, keeps_all, monkeypatch
):
    if not keeps_all:
        monkeypatch.setattr(margins, "WHOLE_BYTES", 0)
    rows = np.column_stack([blobs(n_features=2), np.zeros(3000)])
    held = {r for start, stop in batches.runs_of(3000, 200, 0) for r in range(start, stop)}
    row = next(r for r in range(3000) if r not in held)
    # Within the guess for a column of zeros, or far outside of it.
    rows[row, 2] = 1e9 if beyond else 1e-7
    start = rows[:5, :].copy()
    model = fit(rows, init=start, tol=0)
    if keeps_all:
        assert model.n_rows_seen_ <= 3000 * 1.1
    again, _, fixed = naive.lloyd(rows, model.cluster_centers_, 2, None)
    assert fixed
    np.testing.assert_allclose(model.cluster_centers_, again, rtol=1e-12, atol=1e-20)


@pytest.mark.parametrize(
    "options", [{}, {"init": "random"}, {"tol": 0}, {"max_iter": 1}, {"batch_size": 3000}]
)
def test_fit__n_passes_counts_every_read(options, slow_growth):
    rows = blobs(spread=1.0)
    counted = Counted()
    lazy = da.from_array(rows, chunks=(20, 3)).map_blocks(counted, dtype=rows.dtype, meta=rows[:0])
    with dask.config.set(scheduler="threads"):
        model = fit(lazy, **options)
    assert counted.n_reads == round(150 * model.n_passes_, 9)


def test_fit__reads_little_more_than_all_rows_once():
    model = MiniBatchKMeans(5, batch_size=640).fit(da.from_array(blobs(64_000), chunks=(100, 3)))
    # At most two chunks per run of ten rows, then all of them once.
    assert model.n_passes_ <= 1 + 2 * 64 / 640
    assert MiniBatchKMeans(5).fit(da.from_array(blobs(), chunks=(100, 3))).n_passes_ == 1.0


def test_fit__labels_are_lazy_for_lazy_input():
    rows = blobs()
    model = fit(da.from_array(rows, chunks=(500, 3)))
    assert isinstance(model.labels_, da.Array)
    np.testing.assert_array_equal(model.labels_.compute(), model.predict(rows))


def test_fit__inertia_belongs_to_the_centres_as_returned():
    rows = blobs().astype(np.float32)
    for X in (rows, da.from_array(rows, chunks=(500, 3))):
        model = fit(X, max_iter=2)
        assert model.cluster_centers_.dtype == np.float32
        wide = model.cluster_centers_.astype(np.float64)
        assert model.inertia_ == pytest.approx(naive.inertia_of(rows, wide), rel=1e-9)
        sizes = np.bincount(naive.labels_of(rows, wide), minlength=5)
        np.testing.assert_array_equal(model.cluster_weights_, sizes)


def test_fit__max_iter_leaves_a_step_to_each_batch(slow_growth):
    rows = blobs(spread=0.0)
    for max_iter, in_play in ((1, 1), (2, 2), (3, 3)):
        model = fit(rows, init=rows[:5], max_iter=max_iter, tol=0)
        assert (model.n_iter_, model.stopped_by_) == (max_iter, "max_iter")
        assert len({record["rows"] for record in model.history_}) == in_play


def test_fit__tol_auto_stops_where_steps_gain_little():
    rows = blobs(20_000, spread=0.0)
    options = {"init": "random", "max_iter": 1000}
    exact, auto = fit(rows, tol=0, **options), fit(rows, **options)
    assert (exact.stopped_by_, auto.stopped_by_) == ("fixpoint", "tol")
    assert auto.n_iter_ < exact.n_iter_
    errors = [record["inertia"] for record in auto.history_ if record["rows"] == len(rows)]
    gains = 1 - np.array(errors[1:]) / errors[:-1]
    assert gains[-1] <= 1e-4
    assert (gains[:-1] > 1e-5).all()


def test_fit__tol_stops_where_movements_are_small():
    rows = blobs(spread=0.0)
    exact, loose = fit(rows, tol=0), fit(rows, tol=0.01)
    assert (exact.stopped_by_, loose.stopped_by_) == ("fixpoint", "tol")
    assert loose.n_iter_ < exact.n_iter_
    bound = 0.01 * rows.var(axis=0).mean()
    last = [record["moved"] for record in loose.history_ if record["rows"] == len(rows)]
    assert last[-1] <= bound
    assert all(moved > bound for moved in last[:-1])


def test_fit__random_state_and_init_decide():
    rows = blobs(spread=0.0)
    assert state(fit(rows, init="random")) == state(fit(rows, init="random", random_state=0))
    ends = {fit(rows, init=init, max_iter=2).inertia_ for init in ("coreset", "random", rows[:5])}
    ends.add(fit(rows, init="k-means++", max_iter=2).inertia_)
    ends.add(fit(rows, init="random", random_state=1, max_iter=2).inertia_)
    assert len(ends) == 5


def test_fit__batch_size_sets_the_rows_of_the_first_batch():
    rows = blobs(spread=0.0)
    # 64 runs of whole rows are a few more than asked for.
    assert 100 <= fit(rows, batch_size=100).history_[0]["rows"] <= 164


@pytest.mark.parametrize("batch_size", [20, "auto"])
def test_fit__makes_fewer_clusters_of_fewer_points(batch_size):
    rows = np.repeat(np.arange(3.0)[:, None], 200, axis=0)
    with pytest.warns(DasksegWarning, match="but 3 clusters were made"):
        model = MiniBatchKMeans(5, batch_size=batch_size).fit(rows)
    assert sorted(model.cluster_centers_.ravel()) == [0.0, 1.0, 2.0]
    assert model.inertia_ == 0.0


def test_fit__takes_frames():
    frame = pd.DataFrame(blobs(), columns=["a", "b", "c"])
    model = fit(frame)
    assert model.feature_names_in_.tolist() == ["a", "b", "c"]
    assert state(model) == state(fit(frame.to_numpy()))


@pytest.mark.parametrize("lazy", [False, True])
@pytest.mark.parametrize("where", ["first batch", "later", "middle"])
def test_fit__refuses_defects_by_column_and_row(lazy, where, slow_growth):
    rows = blobs()
    first, middle, all_rows = (
        {r for start, stop in batches.runs_of(3000, size, 0) for r in range(start, stop)}
        for size in (*batches.batch_sizes(3000, 200)[:2], 3000)
    )
    row = min({"first batch": first, "middle": middle - first, "later": all_rows - middle}[where])
    rows[[row, 2999], 1] = np.nan
    with pytest.raises(InputError, match=rf"2 missing values .* column 1; .* row {row:,} "):
        fit(da.from_array(rows, chunks=(500, 3)) if lazy else rows)


def test_fit__refuses_wrong_weights():
    with pytest.raises(InputError, match="negative values"):
        MiniBatchKMeans(2).fit(FOUR, sample_weight=[1.0, 1.0, 1.0, -1.0])
    weights = np.zeros(3000)
    with pytest.raises(InputError, match="zero for every row"):
        fit(blobs(), sample_weight=weights)


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"init": "k-means||"}, "init='k-means||' is not one of"),
        ({"batch_size": 1}, "batch_size=1 is less than n_clusters=2"),
        ({"batch_size": "big"}, "batch_size='big' is not a whole number"),
        ({"n_clusters": 0}, "n_clusters=0 is not a whole number"),
        ({"max_iter": 0}, "max_iter=0 is not a whole number"),
        ({"tol": -1.0}, "tol=-1.0 is not a number"),
        ({"tol": "loose"}, "tol='loose' is not a number"),
        ({"half_life": 0}, "half_life=0 forgets every row"),
        ({"half_life": -1}, "half_life=-1 is not a number"),
        ({"init": [[0.0]]}, r"init has the shape \(1, 1\)"),
    ],
)
@pytest.mark.parametrize("method", ["fit", "partial_fit"])
def test_minibatch__refuses_wrong_parameters(options, match, method):
    with pytest.raises(UsageError, match=match):
        getattr(MiniBatchKMeans(**{"n_clusters": 2, **options}), method)(FOUR)


def test_minibatch__refuses_fewer_rows_than_clusters():
    with pytest.raises(InputError, match="n_samples=4 should be >= n_clusters=5: there are"):
        MiniBatchKMeans(5).fit(FOUR)
    with pytest.raises(InputError, match="the first batch decides where the clusters begin"):
        MiniBatchKMeans(5).partial_fit(FOUR)


# Batches that come.


def closed_form(parts, weights, centres, half_life):
    """Weighted means with weights 2**(-age / half_life), for labels that never change."""
    top, bottom = np.zeros(centres.shape), np.zeros(len(centres))
    age = 0
    for rows, own in list(zip(parts, weights, strict=True))[::-1]:
        kept = 1.0 if half_life is None else 2.0 ** (-age / half_life)
        labels = naive.labels_of(rows, centres)
        np.add.at(top, labels, kept * own[:, None] * rows)
        np.add.at(bottom, labels, kept * own)
        age += int((own > 0).sum())
    return top / bottom[:, None], bottom


@pytest.mark.parametrize("half_life", [None, 100.0, 7.5])
@pytest.mark.parametrize("offset", [0.0, 1e6])
@pytest.mark.parametrize("weighted", [False, True])
def test_partial_fit__equals_the_closed_form(half_life, offset, weighted):
    centres = np.array([[0.0, 0.0], [50.0, 0.0], [0.0, 50.0]]) + offset
    random = np.random.default_rng(0)
    parts, weights = [], []
    for n_rows in (40, 7, 90, 33):
        labels = np.arange(n_rows) % 3
        parts.append(centres[labels] + random.normal(size=(n_rows, 2)))
        own = random.integers(0, 3, n_rows).astype(float) if weighted else np.ones(n_rows)
        weights.append(np.where(np.arange(n_rows) < 3, 1.0, own))
    model = MiniBatchKMeans(3, init=centres, half_life=half_life)
    for rows, own in zip(parts, weights, strict=True):
        model.partial_fit(rows, sample_weight=own if weighted else None)
    means, mass = closed_form(parts, weights, centres, half_life)
    np.testing.assert_allclose(model.cluster_centers_, means, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(model.cluster_weights_, mass, rtol=1e-12)
    assert model.n_rows_seen_ == sum(int((own > 0).sum()) for own in weights)
    assert model.n_steps_ == 4


def test_partial_fit__first_batch_searches_its_start():
    rows = blobs(spread=8.0)
    model = MiniBatchKMeans(5).partial_fit(rows[:1000]).partial_fit(rows[1000:])
    best = KMeans(5).fit(rows)
    assert model.score(rows) == pytest.approx(-best.inertia_, rel=1e-3)
    assert model.cluster_weights_.sum() == model.n_rows_seen_ == 3000
    assert not hasattr(model, "labels_")


def test_partial_fit__keeps_its_bits_under_any_chunks_and_schedulers(scheduler):
    rows = blobs(spread=0.0)

    def work(cut):
        model = MiniBatchKMeans(5, half_life=500.0)
        for start in (0, 1000, 2000):
            model.partial_fit(cut(rows[start : start + 1000]))
        return model.cluster_centers_.tobytes(), model.cluster_weights_.tobytes()

    expected = work(lambda some: some)
    assert work(lambda some: da.from_array(some, chunks=(170, 2))) == expected


def test_partial_fit__goes_on_after_fit():
    rows = blobs()
    model = fit(rows, tol=0)
    before, mass = model.cluster_centers_.copy(), model.cluster_weights_.copy()
    model.partial_fit(before[:1] + 0.1)
    assert model.n_rows_seen_ == 3001
    np.testing.assert_allclose(model.cluster_centers_[0], before[0] + 0.1 / (mass[0] + 1))
    np.testing.assert_array_equal(model.cluster_centers_[1:], before[1:])
    assert not hasattr(model, "inertia_")


def test_partial_fit__adds_clusters_when_new_points_come():
    model = MiniBatchKMeans(3).partial_fit(np.zeros((5, 1)))
    assert model.cluster_centers_.tolist() == [[0.0]]
    # The mean is 1 now, and rows at 0 and 4 are away from it.
    model.partial_fit([[0.0], [4.0], [4.0]])
    assert sorted(model.cluster_centers_.ravel()) == [0.0, 1.0, 4.0]
    assert model.cluster_weights_.tolist() == [8.0, 0.0, 0.0]
    model.partial_fit([[5.0], [-1.0]])
    assert sorted(model.cluster_centers_.ravel()) == [-1.0, 1.0, 5.0]
    assert sorted(model.cluster_weights_) == [1.0, 1.0, 8.0]


def test_partial_fit__lost_clusters_begin_anew_with_a_half_life():
    left, right, far = np.zeros((200, 1)), np.full((200, 1), 10.0), np.full((200, 1), 99.0)
    start = [[0.0], [10.0]]
    faithful = MiniBatchKMeans(2, init=start).partial_fit(np.concatenate([left, right]))
    forgetful = MiniBatchKMeans(2, init=start, half_life=20).partial_fit(
        np.concatenate([left, right])
    )
    for model in (faithful, forgetful):
        for _ in range(3):
            model.partial_fit(np.concatenate([right, far]))
    assert faithful.cluster_weights_.sum() == faithful.n_rows_seen_ == 1600
    np.testing.assert_allclose(np.sort(forgetful.cluster_centers_.ravel()), [10.0, 99.0])


def test_partial_fit__learns_the_first_time_as_the_data_have_it():
    """A first row of weight zero teaches nothing, and takes no centre."""
    model = MiniBatchKMeans(2, init=[[0.0], [9.0]])
    model.partial_fit([[1.0], [5.0]], sample_weight=[1.0, 0.0])
    assert model.cluster_centers_.tolist() == [[1.0], [9.0]]
    assert (model.n_rows_seen_, model.cluster_weights_.tolist()) == (1, [1.0, 0.0])


def test_partial_fit__refuses_other_features_and_defects():
    model = MiniBatchKMeans(2).partial_fit(FOUR)
    with pytest.raises(SchemaMismatchError, match="X has 2 features, but 1 features"):
        model.partial_fit(da.zeros((3, 2)))
    with pytest.raises(ValueError, match="expecting 1 features"):
        model.partial_fit(np.zeros((3, 2)))
    with pytest.raises(InputError, match=r"1 missing values \(NaN\) in column 0"):
        model.partial_fit([[np.nan]])
    assert model.n_rows_seen_ == 4


def test_draw_rows__draws_by_squared_distance():
    rows = np.concatenate([np.zeros(50), np.full(30, 1.0), np.full(30, 3.0)])[:, None]
    state = running.Running(np.zeros((1, 1)), np.ones(1))
    drawn = [
        running.draw_rows(state, Blocks.from_array(rows, block_rows=16), 1, seed)[0, 0]
        for seed in range(200)
    ]
    # Nine times as likely by distance.
    assert 0.0 not in drawn
    assert 165 <= drawn.count(3.0) <= 195


def test_noise__is_the_squared_standard_error_in_variances():
    values = np.array([[0.0], [2.0], [10.0], [14.0]])
    first = batches.read_first(Blocks.from_array(values), 4, 2, 0)
    # Squared standard errors 1/2 and 4/2, variance 32.75.
    found = growing._noise(first, np.array([[1.0], [12.0]]))
    assert found == pytest.approx(2.5 / values.var())
