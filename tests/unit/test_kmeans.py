"""The k-means estimator: right, exact, repeatable, and as cheap as it says."""

from __future__ import annotations

import dask
import dask.array as da
import dask.dataframe as dd
import numpy as np
import pandas as pd
import pytest
import sklearn.cluster
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.datasets import load_digits, load_iris

from daskseg.cluster import KMeans
from daskseg.cluster.exact import RowsSource
from daskseg.cluster.kept import Kept
from daskseg.cluster.lloyd import iterate
from daskseg.engine.blocks import Blocks
from daskseg.errors import DasksegWarning, InputError, SchemaMismatchError, UsageError
from daskseg.inputs import measure_extent
from daskseg.parameters import seed_of
from tests import naive
from tests.counting import Counted


def blobs(n_rows=600, n_features=3, n_blobs=5, seed=0, spread=4.0):
    random = np.random.default_rng(seed)
    centres = random.normal(0, spread, (n_blobs, n_features))
    return centres[random.integers(0, n_blobs, n_rows)] + random.normal(size=(n_rows, n_features))


def state(model):
    return (
        model.cluster_centers_.tobytes(),
        np.asarray(model.labels_).tobytes(),
        model.inertia_,
        model.n_iter_,
        model.stopped_by_,
    )


def partition(labels):
    """Labels renumbered by first appearance."""
    _, first, inverse = np.unique(labels, return_index=True, return_inverse=True)
    return np.argsort(np.argsort(first))[inverse]


FOUR = np.array([[0.0], [1.0], [9.0], [10.0]])


def test_kmeans__by_hand():
    model = KMeans(2, init=[[0.0], [1.0]]).fit(FOUR)
    assert model.cluster_centers_.tolist() == [[0.5], [9.5]]
    assert model.labels_.tolist() == [0, 0, 1, 1]
    assert model.inertia_ == 1.0
    # {0} and {1, 9, 10}: 0 and 20/3; then {0, 1} and {9, 10}; then the same again.
    assert [record["inertia"] for record in model.history_] == [
        145.0,
        pytest.approx(1 + (7 / 3) ** 2 + (10 / 3) ** 2),
        1.0,
    ]
    assert (model.n_iter_, model.stopped_by_) == (3, "fixpoint")


def test_kmeans__repairs_a_dead_cluster_by_hand():
    """All rows go to the first centre; 10 is the farthest of them and becomes the second."""
    model = KMeans(2, init=[[0.0], [99.0]], max_iter=1).fit(FOUR)
    assert model.cluster_centers_.tolist() == [[5.0], [10.0]]
    assert model.labels_.tolist() == [0, 0, 1, 1]
    model = KMeans(2, init=[[0.0], [99.0]]).fit(FOUR)
    assert model.cluster_centers_.tolist() == [[0.5], [9.5]]
    assert model.inertia_ == 1.0


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("far", [False, True])
def test_kmeans__equals_the_naive_version_at_every_step(weighted, far):
    rows = blobs(90, spread=1.0)
    weights = np.random.default_rng(1).integers(0, 3, 90).astype(float) if weighted else None
    start = rows[:6].copy()
    if far:
        start[[1, 4]] = [[50.0], [60.0]]
    for max_iter in range(1, 12):
        expected, n_iter, fixed = naive.lloyd(rows, start, max_iter, weights)
        model = KMeans(6, init=start, max_iter=max_iter).fit(rows, sample_weight=weights)
        np.testing.assert_allclose(model.cluster_centers_, expected, rtol=1e-13, atol=1e-13)
        np.testing.assert_array_equal(model.labels_, naive.labels_of(rows, expected))
        expected_inertia = naive.inertia_of(rows, expected, weights)
        assert model.inertia_ == pytest.approx(expected_inertia, rel=1e-12)
        assert model.n_iter_ == n_iter
        assert (model.stopped_by_ == "fixpoint") == fixed


@settings(max_examples=15)
@given(
    st.lists(st.integers(1, 200), min_size=1, max_size=6),
    st.integers(1, 3),
    st.sampled_from([np.float32, np.float64]),
)
def test_kmeans__keeps_its_bits_under_any_chunks(heights, width, dtype):
    rows = blobs().astype(dtype)
    cuts = np.unique(np.cumsum(heights).clip(0, 600))
    chunks = tuple(np.diff([0, *cuts, 600]))
    expected = state(KMeans(5).fit(rows))
    lazy = da.from_array(rows, chunks=(chunks, width))
    assert state(KMeans(5).fit(lazy)) == expected


def test_kmeans__keeps_its_bits_where_the_sample_is_a_part(monkeypatch):
    monkeypatch.setattr("daskseg.cluster.starts._n_wanted", lambda blocks, k: 100)
    rows = blobs(2000)
    states = {
        state(KMeans(5, max_iter=3).fit(da.from_array(rows, chunks=chunks)))
        for chunks in ((2000, 3), (300, 2), (123, 3))
    }
    assert len(states) == 1


def test_kmeans__keeps_its_bits_on_every_scheduler(scheduler):
    rows = blobs(n_rows=900)
    expected = state(KMeans(5, init="random").fit(rows))
    lazy = da.from_array(rows, chunks=(100, 3))
    assert state(KMeans(5, init="random").fit(lazy)) == expected


def test_kmeans__does_not_depend_on_row_order_where_all_rows_fit_the_sample():
    rows = blobs()
    order = np.random.default_rng(0).permutation(len(rows))
    first, second = KMeans(5).fit(rows), KMeans(5).fit(rows[order])
    assert first.cluster_centers_.tobytes() == second.cluster_centers_.tobytes()
    np.testing.assert_array_equal(first.labels_[order], second.labels_)


@pytest.mark.parametrize(
    ("scale", "offset"), [(1.0, 1e8), (1e-6, 0.0), (1e-6, 100.0), (1e6, -1e12)]
)
def test_kmeans__finds_the_same_partition_far_away_and_at_any_scale(scale, offset):
    rows = np.round(blobs(spread=2.0), 3)
    expected = KMeans(5).fit(rows)
    moved = KMeans(5).fit(rows * scale + offset)
    np.testing.assert_array_equal(partition(moved.labels_), partition(expected.labels_))
    assert moved.inertia_ / scale**2 == pytest.approx(expected.inertia_, rel=1e-5)


def test_kmeans__weights_count_as_repeats():
    rows = blobs()
    weights = np.random.default_rng(0).integers(0, 4, len(rows))
    weighted = KMeans(5).fit(rows, sample_weight=weights)
    repeated = KMeans(5).fit(np.repeat(rows, weights, axis=0))
    np.testing.assert_allclose(
        weighted.cluster_centers_, repeated.cluster_centers_, rtol=1e-13, atol=1e-13
    )
    assert weighted.inertia_ == pytest.approx(repeated.inertia_, rel=1e-12)
    np.testing.assert_array_equal(np.repeat(weighted.labels_, weights), repeated.labels_)


def test_kmeans__takes_lazy_weights():
    rows = blobs()
    weights = np.random.default_rng(0).random(len(rows))
    expected = KMeans(5).fit(rows, sample_weight=weights)
    lazy = KMeans(5).fit(
        da.from_array(rows, chunks=(170, 2)), sample_weight=da.from_array(weights, chunks=99)
    )
    assert state(lazy) == state(expected)


@pytest.mark.parametrize(
    ("name", "n_clusters"), [("iris", 3), ("iris", 8), ("digits", 10), ("blobs", 5)]
)
def test_kmeans__is_as_good_as_scikit_learn(name, n_clusters):
    """Also where restarts differ: iris with eight clusters."""
    rows = {"iris": load_iris, "digits": load_digits}[name]().data if name != "blobs" else blobs()
    reference = sklearn.cluster.KMeans(n_clusters, n_init=10, random_state=0, tol=0).fit(rows)
    assert KMeans(n_clusters).fit(rows).inertia_ <= 1.001 * reference.inertia_


def test_kmeans__inertia_belongs_to_the_centres_as_returned():
    rows = blobs().astype(np.float32)
    model = KMeans(5, max_iter=1, init=rows[:5]).fit(rows)
    assert model.cluster_centers_.dtype == np.float32
    wide = model.cluster_centers_.astype(np.float64)
    assert model.inertia_ == pytest.approx(naive.inertia_of(rows, wide), rel=1e-13)
    np.testing.assert_array_equal(model.labels_, naive.labels_of(rows, wide))
    np.testing.assert_array_equal(model.labels_, model.predict(rows))
    assert model.score(rows) == pytest.approx(-model.inertia_, rel=1e-13)


def test_kmeans__fixpoint_stays_where_it_is():
    rows = blobs()
    model = KMeans(5).fit(rows)
    again = KMeans(5, init=model.cluster_centers_).fit(rows)
    assert again.cluster_centers_.tobytes() == model.cluster_centers_.tobytes()
    assert (again.n_iter_, again.inertia_) == (1, model.inertia_)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"init": "random"},
        {"init": "k-means++", "max_iter": 2},
        {"init": "array"},
        {"init": "array", "tol": 0.1},
        {"init": "dead"},
        {"algorithm": "coreset"},
        {"algorithm": "lloyd", "init": "array"},
        {"dtype": np.float32},
        {"init": "k-means||"},
        {"init": "k-means||", "init_rounds": 2, "oversampling": 0.5},
        {"metric": "cosine"},
        {"missing": "mean"},
    ],
)
def test_kmeans__n_passes_counts_every_read(options):
    options = dict(options)
    rows = blobs().astype(options.pop("dtype", np.float64))
    if options.get("init") in ("array", "dead"):
        dead = options["init"] == "dead"
        options["init"] = rows[:5] + (np.arange(5)[:, None] == 4) * 1e4 * dead
    counted = Counted()
    lazy = da.from_array(rows, chunks=(100, 3)).map_blocks(counted, dtype=rows.dtype, meta=rows[:0])
    with dask.config.set(scheduler="threads"):
        model = KMeans(5, **options).fit(lazy)
    assert counted.n_reads == 6 * model.n_passes_


def test_kmeans__default_fit_takes_the_promised_passes():
    """Ranges with sample, and here one step that confirms the fixpoint and its error."""
    model = KMeans(5).fit(da.from_array(blobs(), chunks=(100, 3)))
    assert model.n_iter_ <= 2
    assert model.n_passes_ == 2.0


def test_kmeans__labels_are_lazy_for_lazy_input():
    rows = blobs()
    counted = Counted()
    lazy = da.from_array(rows, chunks=(100, 3)).map_blocks(counted, dtype=rows.dtype, meta=rows[:0])
    model = KMeans(5).fit(lazy)
    before = counted.n_reads
    labels, distances = model.predict(lazy), model.transform(lazy)
    assert counted.n_reads == before
    assert isinstance(labels, da.Array)
    assert (labels.shape, labels.dtype) == ((600,), np.int32)
    assert distances.shape == (600, 5)
    expected = np.sqrt(naive.sq_distances(rows, model.cluster_centers_))
    np.testing.assert_allclose(distances.compute(), expected, rtol=1e-14)
    np.testing.assert_array_equal(labels.compute(), expected.argmin(axis=1))
    np.testing.assert_array_equal(model.labels_.compute(), expected.argmin(axis=1))


def test_kmeans__takes_a_dask_frame_with_unknown_lengths_and_an_empty_partition():
    frame = pd.DataFrame(blobs(), columns=["a", "b", "c"])
    lazy = dd.from_pandas(frame, npartitions=5)
    lazy = lazy[lazy["a"] > frame["a"].min()]
    lazy = dd.concat([lazy, lazy[lazy["a"] > 1e9]])
    kept = frame[frame["a"] > frame["a"].min()]
    model = KMeans(5).fit(lazy)
    assert state(model) == state(KMeans(5).fit(kept.to_numpy()))
    assert model.feature_names_in_.tolist() == ["a", "b", "c"]
    assert model.labels_.shape == (599,)
    with pytest.raises(SchemaMismatchError, match="the columns are"):
        model.predict(lazy.rename(columns={"a": "z"}))


def test_kmeans__takes_blocks():
    rows = blobs()
    model = KMeans(5).fit(Blocks.from_array(rows, block_rows=64))
    assert state(model) == state(KMeans(5).fit(rows))


@pytest.mark.parametrize(("n_points", "n_clusters"), [(3, 5), (1, 2)])
def test_kmeans__makes_fewer_clusters_of_fewer_points(n_points, n_clusters):
    rows = np.repeat(np.arange(n_points, dtype=float)[:, None], 20, axis=0)
    with pytest.warns(DasksegWarning, match=f"but {n_points} clusters were made"):
        model = KMeans(n_clusters).fit(rows)
    assert sorted(model.cluster_centers_.ravel()) == list(range(n_points))
    assert model.inertia_ == 0.0


def test_kmeans__finds_rare_points_that_the_sample_missed(monkeypatch):
    """One point in 50,000 is not in a sample of two rows; repair brings it in."""
    monkeypatch.setattr("daskseg.cluster.starts._n_wanted", lambda blocks, k: 2)
    rows = np.zeros((1000, 1))
    rows[[10, 700]] = [[1.0], [3.0]]
    model = KMeans(3).fit(rows)
    assert sorted(model.cluster_centers_.ravel()) == [0.0, 1.0, 3.0]


def test_kmeans__takes_integers_and_bools():
    rows = (blobs() * 3).round()
    expected = state(KMeans(3).fit(rows))
    assert state(KMeans(3).fit(rows.astype(np.int16))) == expected
    assert state(KMeans(3).fit(da.from_array(rows.astype(np.int64), chunks=(50, 3)))) == expected


# Every parameter changes something.


def test_kmeans__n_clusters_sets_the_number():
    assert len(KMeans(3).fit(blobs()).cluster_centers_) == 3


def test_kmeans__init_decides_the_start():
    rows = blobs(spread=0.0)
    starts = {
        KMeans(5, init=init, max_iter=1).fit(rows).inertia_
        for init in ("coreset", "k-means++", "random", rows[:5])
    }
    assert len(starts) == 4


def test_kmeans__n_init_keeps_the_best_start():
    rows = blobs(spread=1.0)
    few = KMeans(5, init="random", n_init=1, max_iter=1).fit(rows)
    many = KMeans(5, init="random", n_init=50, max_iter=1).fit(rows)
    assert many.history_[0]["inertia"] < few.history_[0]["inertia"]


def test_kmeans__max_iter_stops():
    model = KMeans(5, init="random", max_iter=2).fit(blobs(spread=0.0))
    assert (model.n_iter_, model.stopped_by_) == (2, "max_iter")


def test_kmeans__tol_stops_where_movements_are_small():
    rows = blobs(spread=0.0) * 7.0
    exact = KMeans(5, init=rows[:5]).fit(rows)
    loose = KMeans(5, init=rows[:5], tol=0.05).fit(rows)
    assert loose.stopped_by_ == "tol"
    assert loose.n_iter_ < exact.n_iter_
    bound = 0.05 * rows.var(axis=0).mean()
    moves = [record["moved"] for record in exact.history_]
    assert loose.n_iter_ == next(i for i, moved in enumerate(moves, 1) if moved <= bound)


def test_kmeans__algorithm_coreset_takes_no_step():
    rows = blobs(spread=0.0)
    model = KMeans(5, algorithm="coreset").fit(da.from_array(rows, chunks=(100, 3)))
    assert (model.n_iter_, model.stopped_by_, model.n_passes_) == (0, "coreset", 2.0)
    assert model.inertia_ == pytest.approx(naive.inertia_of(rows, model.cluster_centers_))
    given_start = KMeans(5, algorithm="coreset", init=rows[:5]).fit(rows)
    assert given_start.inertia_ < naive.inertia_of(rows, rows[:5])


def test_kmeans__algorithm_lloyd_is_exact():
    assert state(KMeans(5, algorithm="lloyd").fit(blobs())) == state(KMeans(5).fit(blobs()))


def test_kmeans__max_passes_bounds_the_reads():
    rows = blobs(spread=0.0)
    lazy = da.from_array(rows, chunks=(100, 3))
    for max_passes in (3, 4, 7):
        model = KMeans(5, init="random", algorithm="lloyd", max_passes=max_passes).fit(lazy)
        assert (model.n_passes_, model.stopped_by_) == (max_passes, "max_passes")
        expected = naive.inertia_of(rows, model.cluster_centers_)
        assert model.inertia_ == pytest.approx(expected, rel=1e-13)
    with pytest.raises(UsageError, match="max_passes=1, but this fit reads the data at least 2"):
        KMeans(5, max_passes=1).fit(rows)
    with pytest.raises(UsageError, match="reads the data at least 8"):
        KMeans(5, init="k-means||", max_passes=7).fit(rows)


def test_kmeans__max_passes_leaves_a_dead_cluster_when_it_must():
    lazy = da.from_array(FOUR, chunks=(2, 1))
    model = KMeans(2, init=[[0.0], [99.0]], max_passes=3).fit(lazy)
    assert (model.n_passes_, model.stopped_by_) == (2, "max_passes")


def test_kmeans__random_state_decides_the_draws():
    rows = blobs(spread=0.0)

    def fit(random_state):
        return state(KMeans(5, init="random", random_state=random_state).fit(rows))

    assert fit(None) == fit(0) == fit(np.int64(0)) != fit(1)
    assert fit(np.random.RandomState(3)) == fit(np.random.RandomState(3)) != fit(None)
    assert fit(np.random.default_rng(3)) == fit(np.random.default_rng(3)) != fit(None)


def test_seed_of__refuses_nonsense():
    with pytest.raises(UsageError, match="random_state='a'"):
        seed_of("a")


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"metric": "manhattan"}, "metric='manhattan' is not one of"),
        ({"missing": "median"}, "missing='median' is not one of"),
        ({"checkpoint": 3}, "checkpoint=3 is neither None nor the path of a file"),
        ({"oversampling": -1.0}, "oversampling=-1.0 is not a number"),
        ({"init_rounds": 0}, "init_rounds=0 is not a whole number"),
        ({"init": "best"}, "init='best' is not one of"),
        ({"algorithm": "elkan"}, "algorithm='elkan' is not one of"),
        ({"n_clusters": 0}, "n_clusters=0 is not a whole number"),
        ({"n_clusters": 2.5}, "n_clusters=2.5 is not a whole number"),
        ({"max_iter": True}, "max_iter=True is not a whole number"),
        ({"n_init": "best"}, "n_init='best' is not a whole number"),
        ({"tol": -1.0}, "tol=-1.0 is not a number"),
        ({"tol": float("nan")}, "tol=nan is not a number"),
        ({"max_passes": 0}, "max_passes=0 is not a whole number"),
        ({"init": [[0.0]]}, r"init has the shape \(1, 1\), but .* make \(2, 1\)"),
        ({"init": [[0.0], [np.nan]]}, "init holds NaN"),
        ({"init": [["a"], ["b"]]}, "init is neither a known name nor an array"),
    ],
)
def test_kmeans__refuses_wrong_parameters(options, match):
    with pytest.raises(UsageError, match=match):
        KMeans(**{"n_clusters": 2, **options}).fit(FOUR)


@pytest.mark.parametrize("lazy", [False, True])
@pytest.mark.parametrize(
    ("value", "match"),
    [
        (np.nan, r"X has 2 missing values \(NaN\) in column 1; .* first is in row 7 "),
        (-np.inf, r"X has 2 infinite values \(infinity\) in column 1; .* row 7 "),
        (1e150, "X has the value 1e\\+150 .* in column 1; beyond"),
    ],
)
def test_kmeans__refuses_defects_by_column_and_row(lazy, value, match):
    rows = blobs(50)
    rows[[7, 33], 1] = value
    with pytest.raises(InputError, match=match):
        KMeans(2).fit(da.from_array(rows, chunks=(10, 2)) if lazy else rows)


@pytest.mark.parametrize(
    ("weights", "match"),
    [
        ([1.0, -0.5, 1.0, 1.0], "negative values .the least is -0.5"),
        ([0.0] * 4, "zero for every row"),
        ([np.nan, 1.0, 1.0, 1.0], "NaN or infinity"),
        ([1.0], "sample_weight has 1 values, but X has 4 rows"),
        ([[1.0]] * 4, "one dimension is due"),
        (["a"] * 4, "not made of numbers"),
    ],
)
def test_kmeans__refuses_wrong_weights(weights, match):
    with pytest.raises(InputError, match=match):
        KMeans(2).fit(FOUR, sample_weight=weights)


def test_kmeans__refuses_fewer_rows_than_clusters():
    with pytest.raises(InputError, match="n_samples=4 should be >= n_clusters=5"):
        KMeans(5).fit(FOUR)


def test_predict__refuses_defects_and_other_widths():
    model = KMeans(2).fit(FOUR)
    with pytest.raises(InputError, match=r"1 missing values \(NaN\) in column 0"):
        model.predict([[np.nan]])
    lazy = da.from_array(np.array([[np.inf]]), chunks=1)
    with pytest.raises(InputError, match="1 infinite values"):
        model.predict(lazy).compute()
    with pytest.raises(SchemaMismatchError, match="X has 2 features, but 1 features are expected"):
        model.predict(da.zeros((3, 2)))


def test_iterate__stops_without_passes():
    blocks = Blocks.from_array(FOUR)
    source = RowsSource(blocks, measure_extent(blocks), lambda: 0.0)
    outcome = iterate(source, FOUR[:2].copy(), max_iter=5, tol=0.0)
    assert (outcome.n_iter, outcome.stopped_by) == (0, "max_passes")


# ── k-means||, cosine, missing values ────────────────────────────────────────


def test_kmeans__parallel_init_keeps_its_bits_on_every_scheduler(scheduler):
    rows = blobs(n_rows=900, spread=1.0)
    model = KMeans(8, init="k-means||", oversampling=1.0, init_rounds=2, random_state=3)
    expected = state(model.fit(rows, sample_weight=np.arange(900.0)))
    for chunks in ((100, 3), (77, 2)):
        lazy = da.from_array(rows, chunks=chunks)
        assert state(model.fit(lazy, sample_weight=np.arange(900.0))) == expected


def test_kmeans__parallel_init_is_as_good_as_scikit_learn():
    rows = blobs(n_rows=3000, n_blobs=20, spread=2.0)
    reference = sklearn.cluster.KMeans(20, n_init=10, random_state=0, tol=0).fit(rows)
    model = KMeans(20, init="k-means||").fit(rows)
    assert model.inertia_ <= 1.01 * reference.inertia_


def test_kmeans__parallel_init_needs_no_more_candidates_than_points():
    rows = np.repeat(np.arange(3.0)[:, None], 20, axis=0)
    with pytest.warns(DasksegWarning, match="but 3 clusters were made"):
        model = KMeans(5, init="k-means||").fit(rows)
    assert sorted(model.cluster_centers_.ravel()) == [0.0, 1.0, 2.0]


def cosine_lloyd(rows, centres):
    """Spherical k-means, step by step."""
    unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    centres = centres / np.linalg.norm(centres, axis=1, keepdims=True)
    while True:
        labels = (unit @ centres.T).argmax(axis=1)
        sums = np.array([unit[labels == j].sum(axis=0) for j in range(len(centres))])
        fresh = sums / np.linalg.norm(sums, axis=1, keepdims=True)
        if np.allclose(fresh, centres, rtol=0, atol=1e-12):
            return fresh, labels
        centres = fresh


@pytest.mark.parametrize("algorithm", ["exact", "lloyd"])
def test_kmeans__cosine_equals_spherical_k_means(algorithm):
    rows = blobs(spread=1.0) * np.random.default_rng(1).lognormal(0, 2, (600, 1))
    expected, labels = cosine_lloyd(rows, rows[:6])
    model = KMeans(6, init=rows[:6], metric="cosine", algorithm=algorithm).fit(rows)
    np.testing.assert_allclose(model.cluster_centers_, expected, atol=1e-12)
    np.testing.assert_array_equal(model.labels_, labels)
    np.testing.assert_array_equal(model.predict(rows), labels)
    unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    cosines = (unit * expected[labels]).sum(axis=1)
    assert model.inertia_ == pytest.approx(2 * (1 - cosines).sum(), rel=1e-10)
    distances = model.transform(rows)
    np.testing.assert_allclose(distances.min(axis=1), 1 - cosines, atol=1e-12)
    assert model.score(rows) == pytest.approx(-model.inertia_, rel=1e-10)


def test_kmeans__cosine_looks_at_directions_alone():
    rows = blobs(spread=3.0)
    lengths = np.random.default_rng(1).lognormal(0, 3, (600, 1))
    plain, scaled = (KMeans(5, metric="cosine").fit(x) for x in (rows, rows * lengths))
    np.testing.assert_array_equal(partition(plain.labels_), partition(scaled.labels_))
    np.testing.assert_allclose(np.linalg.norm(plain.cluster_centers_, axis=1), 1.0, rtol=1e-14)


def test_kmeans__cosine_takes_rows_without_direction():
    rows = np.concatenate([blobs(spread=3.0), np.zeros((2, 3))])
    model = KMeans(4, metric="cosine").fit(rows)
    assert np.isfinite(model.cluster_centers_).all()
    np.testing.assert_allclose(model.transform(rows[-2:]), 0.5, rtol=1e-12)


def test_kmeans__missing_mean_equals_filled_rows():
    rows = blobs()
    rows[np.random.default_rng(0).random(rows.shape) < 0.1] = np.nan
    means = np.nanmean(rows, axis=0)
    filled = np.where(np.isnan(rows), means, rows)
    model = KMeans(5, missing="mean").fit(rows)
    np.testing.assert_allclose(model.fill_values_, means, rtol=1e-14)
    expected = KMeans(5).fit(filled)
    np.testing.assert_array_equal(model.labels_, expected.labels_)
    assert model.inertia_ == pytest.approx(expected.inertia_, rel=1e-12)
    np.testing.assert_array_equal(model.predict(rows), expected.labels_)
    lazy = KMeans(5, missing="mean").fit(da.from_array(rows, chunks=(77, 2)))
    assert state(lazy) == state(model)
    assert not hasattr(model.set_params(missing="error").fit(filled), "fill_values_")


def test_kmeans__missing_mean_refuses_an_empty_column():
    rows = blobs()
    rows[:, 1] = np.nan
    with pytest.raises(InputError, match="column 1 has no value at all"):
        KMeans(5, missing="mean").fit(rows)


def test_fit__measures_rows_that_stayed_in_memory_without_another_pass(monkeypatch):
    rows = blobs(4_000, 3, 4)
    # Beside the square of this one, those of all others vanish.
    rows[0] = 1e9
    chunked = da.from_array(rows, chunks=(500, 3))
    model = KMeans(4, random_state=0).fit(chunked)
    monkeypatch.setattr(Kept, "all_rows", lambda self: None)
    again = KMeans(4, random_state=0).fit(chunked)
    assert again.n_passes_ == model.n_passes_ + 1
    assert again.inertia_ == model.inertia_


@pytest.mark.parametrize("kind", ["array", "series"])
def test_fit__takes_lazy_weights_of_rows_in_memory(kind):
    rows, weights = blobs(300), np.arange(300) % 3 + 0.5
    lazy = da.from_array(weights, chunks=70)
    given = lazy if kind == "array" else dd.from_pandas(pd.Series(weights), npartitions=3)
    expected = KMeans(3).fit(rows, sample_weight=weights)
    assert state(KMeans(3).fit(rows, sample_weight=given)) == state(expected)
