"""Euclidean silhouettes from pairs of rows, exact and estimated."""

from __future__ import annotations

import dask.array as da
import numpy as np
import pytest
from sklearn.metrics import silhouette_samples as sklearn_samples

from benchmarks import coverage
from daskseg.engine import progress
from daskseg.errors import InputError
from daskseg.kernels import pairs
from daskseg.kernels.strata import Strata
from daskseg.metrics import euclidean, silhouette_samples, silhouette_score
from daskseg.metrics.labelled import label_rows


def blobs(seed=0, n_rows=300, n_features=3, n_labels=4):
    random = np.random.default_rng(seed)
    labels = random.integers(0, n_labels, n_rows)
    centres = random.normal(0, 2, (n_labels, n_features))
    return centres[labels] + random.normal(size=(n_rows, n_features)), labels


@pytest.fixture
def few(monkeypatch):
    """Estimate from 300 rows on."""
    monkeypatch.setattr(euclidean, "EXACT_ROWS", 300)
    monkeypatch.setattr(euclidean, "MIN_REFERENCES", 50)


def test_silhouette_score__by_hand():
    """a = 1; b = 9.5, 8.5, 8.5 and 9.5."""
    found = silhouette_score([[0.0], [1.0], [9.0], [10.0]], [0, 0, 1, 1])
    assert found == pytest.approx(1 - (1 / 9.5 + 1 / 8.5) / 2, rel=1e-15)


@pytest.mark.parametrize("n_features", [1, 3, 4, 9])
def test_silhouettes__equal_scikit_learn(n_features):
    rows, labels = blobs(1, 700, n_features)
    labels[0] = 9
    expected = sklearn_samples(rows, labels)
    np.testing.assert_allclose(silhouette_samples(rows, labels), expected, rtol=0, atol=1e-12)
    score, interval = silhouette_score(rows, labels, return_interval=True)
    assert score == pytest.approx(expected.mean(), abs=1e-12)
    assert interval == (score, score)


def test_silhouettes__keep_their_digits_far_from_the_origin():
    rows, labels = blobs(2, 200)
    rows = rows + 1e7
    gaps = rows.astype(np.longdouble)[:, None] - rows.astype(np.longdouble)
    dist = np.sqrt((gaps**2).sum(axis=2)).astype(np.float64)
    expected = sklearn_samples(dist, labels, metric="precomputed")
    np.testing.assert_allclose(silhouette_samples(rows, labels), expected, rtol=0, atol=1e-13)


def test_silhouettes__weights_count_as_repeats():
    rows, labels = blobs(3, 90)
    weights = np.random.default_rng(0).integers(0, 4, 90)
    repeated = np.repeat(rows, weights, axis=0), np.repeat(labels, weights)
    found = silhouette_score(rows, labels, sample_weight=weights)
    assert found == pytest.approx(silhouette_score(*repeated), abs=1e-12)
    found = silhouette_samples(rows, labels, sample_weight=weights)
    expected = silhouette_samples(*repeated)
    np.testing.assert_allclose(np.repeat(found, weights), expected, rtol=0, atol=1e-12)


@pytest.mark.usefixtures("few")
@pytest.mark.parametrize("weighted", [False, True])
def test_silhouette_score__of_a_draw_keeps_its_bits(scheduler, weighted):
    rows, labels = blobs(4, 2_000)
    weights = np.random.default_rng(1).random(2_000) * 3 if weighted else None
    options = {"n_samples": 60, "return_interval": True, "random_state": 5}
    whole = silhouette_score(rows, labels, sample_weight=weights, **options)
    assert whole[1][0] < whole[0] < whole[1][1]
    for chunks in ((2_000, 3), (270, 2)):
        lazy = da.from_array(rows, chunks=chunks)
        own = da.from_array(labels, chunks=333)
        assert silhouette_score(lazy, own, sample_weight=weights, **options) == whole


@pytest.mark.usefixtures("few")
def test_silhouette_score__depends_on_the_seed_and_takes_two_passes():
    rows, labels = blobs(5, 1_000)
    lazy = da.from_array(rows, chunks=(300, 3))
    with progress.recording("test") as log:
        first = silhouette_score(lazy, labels, n_samples=50)
    assert log.passes == 2
    assert first == silhouette_score(lazy, labels, n_samples=50, random_state=0)
    assert first != silhouette_score(lazy, labels, n_samples=50, random_state=1)


@pytest.mark.usefixtures("few")
def test_silhouette_score__of_a_draw_of_all_rows_is_exact():
    rows, labels = blobs(6, 400)
    score, interval = silhouette_score(rows, labels, n_samples=4_000, return_interval=True)
    assert score == pytest.approx(sklearn_samples(rows, labels).mean(), abs=1e-12)
    assert interval == (score, score)


@pytest.mark.usefixtures("few")
def test_silhouette_samples__against_a_draw_are_near_the_true_ones():
    rows, labels = blobs(7, 3_000)
    lazy = da.from_array(rows, chunks=(700, 3))
    found = silhouette_samples(lazy, labels, n_samples=800)
    in_memory = silhouette_samples(rows, labels, n_samples=800)
    np.testing.assert_array_equal(found.compute(), in_memory)
    errors = in_memory - sklearn_samples(rows, labels)
    assert 0.0 < np.sqrt(np.mean(errors**2)) < 0.03


@pytest.mark.parametrize("weighted", [False, True])
def test_estimate__intervals_hold_the_true_value(monkeypatch, weighted):
    """Of 200 draws a nominal 95 % interval misses more than 18 with probability 0.5 %."""
    monkeypatch.setattr(euclidean, "MIN_REFERENCES", 50)
    # So few that the draw of the references decides as much as that of the rows.
    monkeypatch.setattr(euclidean, "REFERENCES_PER_ROW", 3)
    rows, labels = blobs(8, 3_000, n_labels=3)
    rows[::100] *= 4.0
    weights = np.random.default_rng(2).random(3_000) * 4 if weighted else None
    found = coverage.measure(label_rows(rows, labels, sample_weight=weights), 100, 200)
    assert found["coverage"] >= 0.91
    assert found["half_width"] == pytest.approx(1.96 * found["rmse"], rel=0.2)
    assert abs(found["bias"]) < 0.3 * found["rmse"]


def test_influences__are_the_derivatives_of_the_mean():
    rows, labels = blobs(9, 60)
    order = np.argsort(labels, kind="stable")
    rows, codes = rows[order], labels[order].astype(np.int32)
    starts = np.searchsorted(codes, np.arange(5)).astype(np.int64)
    sizes = np.diff(starts).astype(np.float64)
    shares = np.random.default_rng(0).random(60)

    def mean_with(weights):
        against = Strata(rows, weights, np.zeros(60), starts)
        return against, pairs.compare(rows, codes, against, sizes)

    references, found = mean_with(np.ones(60))
    pulls = pairs.influences(rows, codes, found, shares, references, sizes)
    for r in (0, 17, 59):
        weights = np.ones(60)
        weights[r] += 1e-6
        moved = float((shares * (mean_with(weights)[1].scores - found.scores)).sum())
        assert pulls[r] == pytest.approx(moved / 1e-6 * sizes[codes[r]], rel=1e-3, abs=1e-6)


def test_silhouette_score__refuses_one_label_before_it_draws():
    with pytest.raises(InputError, match="Number of labels is 1"):
        silhouette_score([[0.0], [1.0], [2.0]], ["a", "a", "a"])
    with pytest.raises(InputError, match="Number of labels is 3"):
        silhouette_samples([[0.0], [1.0], [2.0]], ["a", "b", "c"])


def test_coverage__appends_a_line_per_case(tmp_path, monkeypatch, capsys):
    results = tmp_path / "coverage.jsonl"
    options = ["--rows", "300", "--trials", "2", "--samples", "20", "--results", str(results)]
    monkeypatch.setattr("sys.argv", ["coverage", *options])
    assert coverage.main() in (0, 1)
    found = coverage.records.read(results)
    assert [(one["set"], one["n_trials"]) for one in found] == [
        (case.name, 2) for case in coverage.CASES
    ]
    assert "half width" in capsys.readouterr().out
