"""Calinski-Harabasz, Davies-Bouldin and the squared error of any labels."""

from __future__ import annotations

import dask.array as da
import numpy as np
import pytest
from sklearn import metrics as sklearn_metrics

from daskseg.cluster import KMeans
from daskseg.engine import progress
from daskseg.errors import InputError, UsageError
from daskseg.metrics import calinski_harabasz_score, davies_bouldin_score, inertia
from daskseg.metrics.dispersion import score_labels, sum_labels
from daskseg.metrics.labelled import label_rows
from tests import naive

SCORES = [calinski_harabasz_score, davies_bouldin_score]


def blobs(seed=0, n_rows=300, n_labels=4):
    random = np.random.default_rng(seed)
    labels = random.integers(0, n_labels, n_rows)
    return random.normal(0, 2, (n_labels, 3))[labels] + random.normal(size=(n_rows, 3)), labels


def exact_scores(rows, labels):
    """Both scores in extended precision."""
    wide = np.asarray(rows, np.longdouble)
    found = sorted(set(labels.tolist()))
    means = np.array([wide[labels == j].mean(axis=0) for j in found])
    sizes = np.array([(labels == j).sum() for j in found])
    moved = [wide[labels == j] - mean for j, mean in zip(found, means, strict=True)]
    within = sum((one**2).sum() for one in moved)
    between = (sizes * ((means - wide.mean(axis=0)) ** 2).sum(axis=1)).sum()
    spread = np.array([np.sqrt((one**2).sum(axis=1)).mean() for one in moved])
    gaps = np.sqrt(((means[:, None] - means[None]) ** 2).sum(axis=2))
    np.fill_diagonal(gaps, np.inf)
    worst = ((spread[:, None] + spread[None]) / gaps).max(axis=1).mean()
    return between / within * (len(rows) - len(found)) / (len(found) - 1), worst


def test_scores__by_hand():
    """Means 0.5 and 9.5; between 4 * 4.5**2, within 4 / 4; spread 0.5 each, 9 apart."""
    rows = [[0.0], [1.0], [9.0], [10.0]]
    labels = ["low", "low", "high", "high"]
    assert calinski_harabasz_score(rows, labels) == pytest.approx(81.0 / 1.0 * 2, rel=1e-15)
    assert davies_bouldin_score(rows, labels) == pytest.approx(1 / 9, rel=1e-15)
    assert inertia(rows, labels) == 1.0
    assert inertia(rows, [0, 0, 0, 0]) == 82.0


@pytest.mark.parametrize("offset", [0.0, 1e3])
@pytest.mark.parametrize("name", ["calinski_harabasz_score", "davies_bouldin_score"])
def test_scores__equal_scikit_learn(name, offset):
    rows, labels = blobs(1, 5_000)
    expected = getattr(sklearn_metrics, name)(rows + offset, labels)
    score = {one.__name__: one for one in SCORES}[name]
    assert score(rows + offset, labels) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize(("offset", "tolerance"), [(0.0, 1e-13), (1e3, 1e-12), (1e7, 1e-9)])
def test_scores__keep_their_digits_far_from_the_origin(offset, tolerance):
    rows, labels = blobs(2, 400)
    expected = exact_scores(rows + offset, labels)
    for score, exact in zip(SCORES, expected, strict=True):
        assert score(rows + offset, labels) == pytest.approx(float(exact), rel=tolerance)


def test_scores__weights_count_as_repeats():
    rows, labels = blobs(3, 80)
    weights = np.random.default_rng(0).integers(0, 4, 80)
    repeated = np.repeat(rows, weights, axis=0), np.repeat(labels, weights)
    for score in (*SCORES, inertia):
        found = score(da.from_array(rows, chunks=(19, 3)), labels, sample_weight=weights)
        assert found == pytest.approx(score(*repeated), rel=1e-12)


def test_scores__leave_noise_out_when_asked():
    rows, labels = blobs(4, 100)
    labels[::9] = -1
    kept = labels >= 0
    for score in (*SCORES, inertia):
        found = score(da.from_array(rows, chunks=(23, 3)), labels, noise_label=-1)
        assert found == pytest.approx(score(rows[kept], labels[kept]), rel=1e-12)
        assert found != pytest.approx(score(rows, labels), rel=1e-3)


def test_scores__keep_their_bits_on_any_scheduler(scheduler):
    rows, labels = blobs(5, 700)
    weights = np.random.default_rng(1).random(700) + 0.5
    for score in (*SCORES, inertia):
        whole = score(rows, labels, sample_weight=weights)
        for chunks in ((700, 3), (90, 2), (33, 1)):
            lazy = da.from_array(rows, chunks=chunks)
            own = da.from_array(labels, chunks=55)
            assert score(lazy, own, sample_weight=weights) == whole


def test_scores__of_rows_that_do_not_differ_from_their_means():
    rows, labels = np.array([[0.0], [0.0], [3.0], [3.0]]), [0, 0, 1, 1]
    assert calinski_harabasz_score(rows, labels) == 1.0
    assert davies_bouldin_score(rows, labels) == 0.0
    assert davies_bouldin_score([[0.0], [2.0], [0.0], [2.0]], labels) == 0.0


def test_davies_bouldin__does_not_depend_on_units():
    rows, labels = blobs(6, 60)
    assert davies_bouldin_score(rows * 2.0**-40, labels) == davies_bouldin_score(rows, labels)


def test_scores__take_few_passes():
    rows, labels = blobs(7, 200)
    lazy = da.from_array(rows, chunks=(60, 3))
    for score, passes in ((*SCORES[:1], 2), (*SCORES[1:], 3), (inertia, 2)):
        with progress.recording("test") as log:
            score(lazy, labels)
        assert log.passes == passes


def test_score_labels__agrees_with_the_single_scores():
    rows, labels = blobs(8, 200)
    found = score_labels(sum_labels(label_rows(rows, labels)))
    assert found.sizes.tolist() == np.bincount(labels).tolist()
    assert found.inertia == inertia(rows, labels)
    assert found.calinski_harabasz == calinski_harabasz_score(rows, labels)
    assert found.davies_bouldin == davies_bouldin_score(rows, labels)


@pytest.mark.parametrize("score", SCORES)
@pytest.mark.parametrize("labels", [[0, 0, 0], [0, 1, 2]])
def test_scores__refuse_one_label_or_all_different(score, labels):
    with pytest.raises(InputError, match=r"Number of labels is \d. Valid values .* n_samples is 3"):
        score([[0.0], [1.0], [2.0]], labels)


def test_scores__refuse_shares_as_weights():
    with pytest.raises(InputError, match=r"n_samples is 1 .a weight counts as so many repeats"):
        calinski_harabasz_score([[0.0], [1.0], [2.0]], [0, 0, 1], sample_weight=[0.25, 0.25, 0.5])


def test_inertia__of_centres_is_that_of_a_fit():
    rows, _ = blobs(9, 500)
    fitted = KMeans(3, max_iter=1).fit(rows)
    found = inertia(rows, centres=fitted.cluster_centers_)
    assert found == pytest.approx(fitted.inertia_, rel=1e-13)
    lazy = da.from_array(rows, chunks=(77, 2))
    weights = da.from_array(np.arange(500.0), chunks=90)
    expected = naive.inertia_of(rows, rows[:4], np.arange(500.0))
    found = inertia(lazy, centres=rows[:4], sample_weight=weights)
    assert found == pytest.approx(expected, rel=1e-14)
    assert inertia(rows, centres=rows[:4], sample_weight=weights) == found


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({}, "exactly one"),
        ({"labels": [0, 1], "centres": [[0.0]]}, "exactly one"),
        ({"centres": [0.0, 1.0]}, r"shape \(2,\), but \(n_clusters, 1\) is due"),
        ({"centres": [[np.nan]]}, "centres holds NaN"),
        ({"centres": [["x"]]}, "not a matrix of numbers"),
        ({"centres": [[0.0]], "noise_label": -1}, "noise_label goes with labels"),
    ],
)
def test_inertia__refuses_wrong_requests(options, match):
    with pytest.raises(UsageError, match=match):
        inertia([[0.0], [1.0]], **options)


def test_inertia__refuses_rows_that_are_all_noise():
    with pytest.raises(InputError, match="no row is left"):
        inertia([[0.0], [1.0]], [-1, -1], noise_label=-1)
