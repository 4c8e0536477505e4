"""Silhouettes with squared Euclidean distances and cosines."""

from __future__ import annotations

import dask.array as da
import numpy as np
import pytest
from sklearn import metrics as sklearn_metrics
from sklearn.metrics import silhouette_samples as sklearn_samples

from daskseg.engine import progress
from daskseg.errors import InputError, UsageError
from daskseg.inputs import as_blocks, measure_extent
from daskseg.kernels import assign, grid, labels, moments, silhouette, steps, tiles
from daskseg.kernels.tiles import Stack
from daskseg.metrics import silhouette_by_label, silhouette_samples, silhouette_score
from daskseg.metrics.silhouette import evaluate
from tests import naive

EXACT = ["sqeuclidean", "cosine"]


def blobs(seed=0, n_rows=300, n_features=3, spread=2.0):
    random = np.random.default_rng(seed)
    centres = random.normal(0, spread, (4, n_features))
    labels = random.integers(0, 4, n_rows)
    return centres[labels] + random.normal(size=(n_rows, n_features)), labels


def test_silhouette_score__by_hand():
    """a = 1 and b = (81 + 100) / 2, or b = (64 + 81) / 2."""
    rows = [[0.0], [1.0], [9.0], [10.0]]
    expected = (2 * (1 - 1 / 90.5) + 2 * (1 - 1 / 72.5)) / 4
    found = silhouette_score(rows, [0, 0, 1, 1], metric="sqeuclidean")
    assert found == pytest.approx(expected, rel=1e-15)


@pytest.mark.parametrize("seed", [0, 1])
def test_silhouette_by_label__equals_the_naive_version(seed):
    rows, labels = blobs(seed, 80)
    expected = naive.silhouettes(rows, labels)
    found = silhouette_by_label(rows, labels)
    assert found.mean == pytest.approx(expected.mean(), abs=1e-12)
    for label, mean, below in zip(found.labels, found.of_labels, found.below_zero, strict=True):
        assert mean == pytest.approx(expected[labels == label].mean(), abs=1e-12)
        assert below == pytest.approx((expected[labels == label] < 0).mean(), abs=1e-15)


@pytest.mark.parametrize(("offset", "tolerance"), [(0.0, 1e-12), (1e5, 1e-9), (1e7, 1e-7)])
def test_silhouette_score__equals_scikit_learn(offset, tolerance):
    rows, labels = blobs(0, 500)
    expected = sklearn_samples(rows, labels, metric="sqeuclidean").mean()
    found = silhouette_score(rows + offset, labels, metric="sqeuclidean")
    assert found == pytest.approx(expected, abs=tolerance)


def test_silhouette_score__counts_single_rows_and_repeats_as_zero():
    rows = np.array([[0.0], [0.0], [5.0]])
    assert silhouette_score(rows, [0, 0, 1], metric="sqeuclidean") == pytest.approx(2 / 3)
    assert silhouette_score(np.zeros((4, 1)), [0, 0, 1, 1], metric="sqeuclidean") == 0.0


def test_silhouette_score__weights_count_as_repeats():
    rows, labels = blobs(1, 60)
    weights = np.random.default_rng(0).integers(0, 4, 60)
    weighted = silhouette_score(rows, labels, metric="sqeuclidean", sample_weight=weights)
    repeated = silhouette_score(
        np.repeat(rows, weights, axis=0), np.repeat(labels, weights), metric="sqeuclidean"
    )
    assert weighted == pytest.approx(repeated, abs=1e-9)


def test_silhouette_score__keeps_its_bits_under_any_cut():
    rows, labels = blobs()
    whole = silhouette_score(rows, labels, metric="sqeuclidean")
    for chunks in ((100, 3), (77, 2), (300, 1)):
        lazy = da.from_array(rows, chunks=chunks)
        for own in (labels, da.from_array(labels, chunks=50)):
            assert silhouette_score(lazy, own, metric="sqeuclidean") == whole


def test_silhouette_score__takes_labels_that_are_text():
    rows, labels = blobs()
    names = np.array(["b", "a", "d", "c"])[labels]
    found = silhouette_by_label(rows, names)
    assert found.labels.tolist() == ["a", "b", "c", "d"]
    assert found.mean == pytest.approx(silhouette_by_label(rows, labels).mean, abs=1e-15)


def test_silhouette_score__return_interval_is_a_point():
    rows, labels = blobs()
    score, interval = silhouette_score(rows, labels, metric="sqeuclidean", return_interval=True)
    assert interval == (score, score)


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"metric": "l1"}, "not one of"),
        ({"n_samples": 0}, "n_samples=0"),
        ({"n_samples": 2.5}, "n_samples=2.5"),
        ({"random_state": "x", "metric": "euclidean"}, "random_state='x'"),
    ],
)
def test_silhouette_score__refuses_wrong_options(options, match):
    with pytest.raises(UsageError, match=match):
        silhouette_score([[0.0], [1.0]], [0, 1], **{"metric": "sqeuclidean", **options})


@pytest.mark.parametrize("labels", [[0, 0, 0], [0, 1, 2]])
def test_silhouette_score__refuses_one_label_or_all_different(labels):
    with pytest.raises(InputError, match="Number of labels is"):
        silhouette_score([[0.0], [1.0], [2.0]], labels, metric="sqeuclidean")


def test_silhouette_score__refuses_labels_of_another_length():
    with pytest.raises(InputError, match="labels has 2 values, but X has 3 rows"):
        silhouette_score([[0.0], [1.0], [2.0]], [0, 1], metric="sqeuclidean")


def test_evaluate__scores_many_sets_in_two_passes():
    rows, _ = blobs(2, 400)
    sets = [rows[:2].copy(), rows[2:5].copy(), rows[5:11].copy()]
    blocks = as_blocks(da.from_array(rows, chunks=(90, 3)))
    extent = measure_extent(blocks)
    with progress.recording("test") as log:
        found = evaluate(blocks, sets, extent)
    assert log.passes == 2
    for centres, scores in zip(sets, found.silhouettes, strict=True):
        expected = naive.silhouettes(rows, naive.labels_of(rows, centres))
        assert scores.mean == pytest.approx(expected.mean(), abs=1e-12)


def test_evaluate__scores_dispersion_of_every_set():
    rows, _ = blobs(3, 300)
    sets = [rows[:3].copy(), rows[3:8].copy()]
    lazy = as_blocks(da.from_array(rows + 1e3, chunks=(70, 3)))
    found = evaluate(lazy, [one + 1e3 for one in sets], measure_extent(lazy))
    for s, centres in enumerate(sets):
        own = naive.labels_of(rows, centres)
        expected = sklearn_metrics.calinski_harabasz_score(rows, own)
        assert found.calinski_harabasz[s] == pytest.approx(expected, rel=1e-9)
        expected = sklearn_metrics.davies_bouldin_score(rows, own)
        assert found.davies_bouldin[s] == pytest.approx(expected, rel=1e-9)


def test_evaluate__has_no_scores_for_a_single_cluster():
    rows, _ = blobs(3, 50)
    found = evaluate(as_blocks(rows), [rows[:1].copy()], measure_extent(as_blocks(rows)))
    assert np.isnan([*found.calinski_harabasz, *found.davies_bouldin]).all()
    assert found.silhouettes[0].mean == 0.0


@pytest.mark.parametrize("n_rows", [3_000, pytest.param(20_000, marks=pytest.mark.slow)])
def test_silhouettes__equal_scikit_learn(n_rows):
    """Labels that hardly follow the rows: the nearest other cluster is not the nearest mean's."""
    random = np.random.default_rng(5)
    rows = random.normal(size=(n_rows, 4)) * [1.0, 5.0, 0.1, 2.0] + 0.5
    labels = random.integers(0, 7, n_rows)
    labels[:1_000] = naive.sq_distances(rows[:1_000], rows[:7]).argmin(axis=1)
    for offset in (0.0, 1e3):
        for metric in EXACT:
            expected = sklearn_samples(rows + offset, labels, metric=metric)
            found = silhouette_samples(rows + offset, labels, metric=metric)
            # Cosines of scikit-learn cancel far from the origin, row by row.
            tolerance = 1e-9 if metric == "sqeuclidean" or offset == 0 else 1e-6
            np.testing.assert_allclose(found, expected, rtol=0, atol=tolerance)
            mean = silhouette_score(rows + offset, labels, metric=metric)
            assert mean == pytest.approx(expected.mean(), abs=1e-9)


def test_silhouette_samples__of_cosines_of_tiny_and_huge_rows():
    rows, labels = blobs(6, 50)
    expected = silhouette_samples(rows, labels, metric="cosine")
    scaled = rows * 2.0 ** np.random.default_rng(0).integers(-900, 300, 50)[:, None]
    found = silhouette_samples(scaled, labels, metric="cosine")
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-14)


def exact_cosine(rows, labels):
    """Silhouettes of cosine distances in extended precision, from all pairs."""
    wide = np.asarray(rows, np.longdouble)
    units = wide / np.sqrt((wide**2).sum(axis=1))[:, None]
    dist = ((units[:, None] - units[None]) ** 2).sum(axis=2)
    result = np.empty(len(rows))
    for i in range(len(rows)):
        own = labels == labels[i]
        a = dist[i, own].sum() / (own.sum() - 1)
        b = min(dist[i, labels == j].mean() for j in set(labels.tolist()) - {int(labels[i])})
        result[i] = (b - a) / max(a, b)
    return result


@pytest.mark.parametrize(("offset", "tolerance"), [(0.0, 1e-12), (1e3, 1e-11), (1e7, 1e-7)])
def test_silhouette_samples__of_cosines_keep_digits_far_from_the_origin(offset, tolerance):
    rows, labels = blobs(4, 200)
    expected = exact_cosine(rows + offset, labels)
    found = silhouette_samples(rows + offset, labels, metric="cosine")
    np.testing.assert_allclose(found, expected, rtol=0, atol=tolerance)


def test_silhouette_samples__of_cosines_with_rows_of_zeros():
    rows, labels = blobs(6, 120)
    rows[:5] = 0.0
    expected = sklearn_samples(rows, labels, metric="cosine")
    found = silhouette_samples(rows, labels, metric="cosine")
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-12)
    assert (found[:5] == 0.0).all()
    score = silhouette_score(da.from_array(rows, chunks=(31, 3)), labels, metric="cosine")
    assert score == pytest.approx(expected.mean(), abs=1e-12)
    by_label = silhouette_by_label(rows, labels, metric="cosine")
    assert by_label.mean == score
    assert by_label.below_zero[2] == (expected[labels == 2] < 0).mean()


@pytest.mark.parametrize("metric", [*EXACT, "euclidean"])
def test_silhouette_samples__are_lazy_for_lazy_rows(metric):
    rows, labels = blobs(7, 150)
    expected = sklearn_samples(rows, labels, metric=metric)
    lazy = da.from_array(rows, chunks=(40, 2))
    found = silhouette_samples(lazy, da.from_array(labels, chunks=33), metric=metric)
    assert isinstance(found, da.Array)
    assert found.chunks == (lazy.chunks[0],)
    in_memory = silhouette_samples(rows, labels, metric=metric)
    np.testing.assert_array_equal(found.compute(), in_memory)
    np.testing.assert_allclose(in_memory, expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("metric", [*EXACT, "euclidean"])
def test_silhouette_samples__are_nan_for_noise(metric):
    rows, labels = blobs(8, 90)
    labels[::7] = -1
    kept = labels >= 0
    found = silhouette_samples(da.from_array(rows, chunks=(25, 3)), labels, metric=metric)
    # By default -1 is a cluster like any other.
    np.testing.assert_allclose(found, sklearn_samples(rows, labels, metric=metric), atol=1e-12)
    found = silhouette_samples(rows, labels, metric=metric, noise_label=-1)
    assert np.isnan(found[~kept]).all()
    expected = sklearn_samples(rows[kept], labels[kept], metric=metric)
    np.testing.assert_allclose(found[kept], expected, rtol=0, atol=1e-12)
    score = silhouette_score(rows, labels, metric=metric, noise_label=-1)
    assert score == pytest.approx(expected.mean(), abs=1e-12)


@pytest.mark.parametrize("metric", EXACT)
def test_silhouettes__weights_count_as_repeats(metric):
    rows, labels = blobs(9, 60)
    rows[3] = 0.0
    weights = np.random.default_rng(0).integers(0, 4, 60)
    repeated = np.repeat(rows, weights, axis=0), np.repeat(labels, weights)
    lazy = da.from_array(rows, chunks=(17, 3))
    found = silhouette_score(lazy, labels, metric=metric, sample_weight=weights)
    assert found == pytest.approx(silhouette_score(*repeated, metric=metric), abs=1e-9)
    found = silhouette_samples(rows, labels, metric=metric, sample_weight=weights)
    expected = silhouette_samples(*repeated, metric=metric)
    np.testing.assert_allclose(np.repeat(found, weights), expected, rtol=0, atol=1e-9)


@pytest.mark.parametrize("metric", EXACT)
def test_silhouette_score__keeps_its_bits_on_any_scheduler(scheduler, metric):
    rows, labels = blobs(10, 700)
    weights = np.random.default_rng(1).random(700) + 0.5
    expected = silhouette_by_label(rows, labels, metric=metric, sample_weight=weights)
    lazy = da.from_array(rows, chunks=(90, 3))
    found = silhouette_by_label(lazy, labels, metric=metric, sample_weight=weights)
    assert found.mean == expected.mean
    np.testing.assert_array_equal(found.of_labels, expected.of_labels)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("shape", ["alike", "lattice", "far", "one feature"])
def test_score_block__sums_what_the_definition_says(dtype, shape):
    """The filter must settle ties, clusters without rows and rows far away."""
    random = np.random.default_rng(11)
    rows = random.normal(size=(1_000, 6))
    if shape == "alike":
        rows[:] = rows[0]
    elif shape == "lattice":
        rows = random.integers(0, 3, (1_000, 6)).astype(float)
    elif shape == "far":
        rows = rows * [1.0, 1e-9, 1e6, 1.0, 1.0, 1.0] + 1e7
    else:
        rows = rows[:, :1]
    rows = rows.astype(dtype)
    step_grid = assign.step_grid(moments.extent(rows, None, 0))
    centres = tiles.stack([rows[:k].astype(np.float64) for k in (1, 2, 5, 33)])
    part = assign.lloyd_step(rows, None, centres, step_grid)
    clusters = silhouette.clusters_of(part, centres.starts, step_grid)
    exponents = silhouette.score_exponents(step_grid)
    found = silhouette.score_block(rows, None, centres, clusters, exponents)
    for s, (a, b) in enumerate(zip(centres.starts, centres.starts[1:], strict=False)):
        own = labels.labels_of(rows, centres.centres[a:b])
        alone = silhouette.Clusters(
            Stack(clusters.means.centres[a:b], np.array([0, b - a])),
            clusters.scatter[a:b],
            clusters.sizes[a:b],
        )
        expected = silhouette.silhouettes_of(rows, own, alone)
        for j in range(b - a):
            column = expected[own == j][:, None]
            total = grid.sum_columns(column, exponents[:1])
            assert found.total.high[a + j] == total.high[0], s
            assert found.total.low[a + j] == total.low[0], s
            spread = np.sqrt(
                naive.sq_distances(rows[own == j], alone.means.centres[j : j + 1])
            ).sum()
            summed = grid.to_floats(found.spread, exponents[1:])[a + j]
            assert summed == pytest.approx(spread, rel=1e-12, abs=1e-12)


@pytest.mark.parametrize("noise", [1e-5, 1e-7, 1e-9])
def test_score_block__tells_clusters_apart_that_float32_cannot(noise):
    """Thirty clusters of one shape and nearly one mean: the filter alone would be wrong."""
    random = np.random.default_rng(13)
    rows = random.choice([-1.0, 1.0], (600, 4)) + noise * random.normal(size=(600, 4))
    rows = np.repeat(rows[:20], 30, axis=0) + noise * random.normal(size=(600, 4))
    own = np.tile(np.arange(30, dtype=np.int32), 20)
    step_grid = assign.step_grid(moments.extent(rows, None, 0))
    part = assign.sums_by_label(rows, None, own, 30, step_grid)
    clusters = silhouette.clusters_of(part, np.array([0, 30]), step_grid)
    exponents = silhouette.score_exponents(step_grid)
    found = silhouette.score_block(rows, None, own, clusters, exponents)
    expected = silhouette.silhouettes_of(rows, own, clusters)
    for j in range(30):
        total = grid.sum_columns(expected[own == j][:, None], exponents[:1])
        assert (found.total.high[j], found.total.low[j]) == (total.high[0], total.low[0])


def test_score_exponents__bound_every_distance():
    for low, high in ((-1.0, 1.0), (0.0, 3e-5), (-7e8, 5e9), (2.0, 2.0)):
        rows = np.array([[low, low], [high, high], [low, high]])
        step_grid = assign.step_grid(moments.extent(rows, np.array([0.1, 2.0, 9.0]), 0))
        weight, spread = silhouette.score_exponents(step_grid)
        assert 2.0**weight >= 9.0
        assert 2.0 ** float(spread) >= 9.0 * np.sqrt(2.0) * (high - low)
        assert spread < 0 or 2.0 ** float(spread) <= 1_000 * np.sqrt(2.0) * max(1.0, high - low)


def test_silhouette_by_label__takes_three_passes():
    rows, own = blobs(12, 200)
    lazy = da.from_array(rows, chunks=(60, 3))
    with progress.recording("test") as log:
        silhouette_by_label(lazy, own)
    assert log.passes == 3


def test_finish_silhouettes__of_weights():
    part = silhouette.SilhouettePart(
        *(grid.sum_columns(np.array([[value]]), np.array([2])) for value in (1.5, 1.0, 3.0))
    )
    clusters = silhouette.Clusters(
        Stack(np.zeros((1, 1)), np.array([0, 1])), np.ones(1), np.ones(1)
    )
    weights = [steps.unit(50) * 4]
    found = silhouette.finish_silhouettes(part, clusters, weights, np.array([2, 2]))[0]
    assert (found.mean, found.below_zero[0], found.spread[0]) == (0.375, 0.25, 0.75)
