"""Many numbers of clusters in shared passes."""

from __future__ import annotations

from importlib import import_module

import dask.array as da
import numpy as np
import pytest
import sklearn.metrics
from bokeh.models import GridPlot
from sklearn.exceptions import NotFittedError

from daskseg.cluster import KMeans
from daskseg.engine import progress
from daskseg.errors import InputError, UsageError
from daskseg.inputs import as_blocks
from daskseg.metrics import silhouette_by_label
from daskseg.model_selection import ClusterSweep
from daskseg.model_selection.sweep import sweep
from tests import naive

# The package offers the function under the name of its module.
SWEEP_MODULE = import_module("daskseg.model_selection.sweep")


def blobs(n_rows=400, seed=0, spread=6.0):
    random = np.random.default_rng(seed)
    centres = np.vstack([np.zeros(3), np.eye(3)]) * 2 * spread
    return centres[random.integers(0, 4, n_rows)] + random.normal(size=(n_rows, 3))


def test_sweep__measures_every_k_exactly():
    rows = blobs(150)
    found = sweep(as_blocks(rows), range(1, 6))
    total = float(((rows - rows.mean(axis=0)) ** 2).sum())
    for k, fit in found.fits.items():
        labels = naive.labels_of(rows, fit.centres)
        inertia = naive.inertia_of(rows, fit.centres)
        assert fit.row.inertia == pytest.approx(inertia, rel=1e-12)
        assert fit.row.explained_variance == pytest.approx(1 - inertia / total, abs=1e-12)
        assert fit.row.smallest_share == np.bincount(labels).min() / 150
        np.testing.assert_allclose(fit.shares, np.bincount(labels) / 150, rtol=1e-15)
        if k > 1:
            expected = silhouette_by_label(rows, labels)
            assert fit.row.silhouette == pytest.approx(expected.mean, abs=1e-12)
            np.testing.assert_allclose(fit.silhouettes, expected.of_labels, atol=1e-12)
            np.testing.assert_allclose(fit.below_zero, expected.below_zero, atol=1e-12)
    assert np.isnan(found.fits[1].row.silhouette)


def test_sweep__of_few_rows_ends_near_exact_fits_and_finishes_at_them():
    blocks = as_blocks(blobs())
    found = sweep(blocks, [2, 4, 7])
    for k, fit in found.fits.items():
        exact = KMeans(k).fit(blocks)
        assert exact.inertia_ * (1 - 1e-12) <= fit.row.inertia <= 1.005 * exact.inertia_
        finished = found.finish(k, blocks)
        assert finished.inertia_ == exact.inertia_
        np.testing.assert_array_equal(finished.labels_, exact.labels_)


@pytest.mark.parametrize("whole", [True, False])
def test_sweep__keeps_its_bits_under_any_chunks(monkeypatch, whole):
    if not whole:
        monkeypatch.setattr(SWEEP_MODULE, "sample_rows_for", lambda k: 60)
    rows = blobs()
    expected = sweep(as_blocks(rows), [2, 4, 7]).to_frame()
    for chunks in ((400, 3), (90, 2), (37, 1)):
        lazy = as_blocks(da.from_array(rows, chunks=chunks))
        assert sweep(lazy, [7, 2, 4]).to_frame().equals(expected)


@pytest.mark.parametrize("ks", [[3], range(2, 11)])
def test_sweep__takes_three_passes_for_any_number_of_ks(ks):
    blocks = as_blocks(da.from_array(blobs(), chunks=(100, 3)))
    with progress.recording("test") as log:
        sweep(blocks, ks)
    assert log.passes == 3


def test_sweep__leaves_out_what_cannot_be():
    rows = np.repeat(np.arange(3.0)[:, None], 10, axis=0)
    found = sweep(as_blocks(rows), range(2, 8))
    assert list(found.fits) == [1, 2, 3]
    assert found.fits[3].row.inertia == 0.0
    with pytest.raises(InputError, match="all rows are alike"):
        sweep(as_blocks(np.ones((5, 2))), [2, 3])
    with pytest.raises(InputError, match="2 rows cannot be cut into"):
        sweep(as_blocks(np.eye(2)), [3])


def test_sweep__seed_and_n_init_change_the_sample_and_the_starts(monkeypatch):
    monkeypatch.setattr(SWEEP_MODULE, "sample_rows_for", lambda k: 60)
    blocks = as_blocks(blobs(spread=0.5))
    base = sweep(blocks, [6])
    other = sweep(blocks, [6], 1).survey
    assert not np.array_equal(base.survey.sample.values, other.sample.values)
    assert sweep(blocks, [6], n_init=1).to_frame().inertia[0] != base.to_frame().inertia[0]


def test_cluster_sweep__suggests_and_fits_exactly():
    rows = blobs()
    found = ClusterSweep(range(2, 8)).fit(rows)
    assert found.best_k_ == 4
    assert found.curve_["k"].tolist() == list(range(1, 8))
    assert found.runner_up_ in range(2, 8)
    assert any("4 segments" in sentence for sentence in found.reasons_)
    exact = KMeans(4).fit(rows)
    assert found.best_estimator_.inertia_ == exact.inertia_
    np.testing.assert_array_equal(found.labels_, exact.labels_)
    np.testing.assert_array_equal(found.predict(rows), exact.labels_)


def test_cluster_sweep__curve_has_all_criteria_and_a_row_of_one_cluster():
    curve = ClusterSweep(range(2, 6)).fit(blobs()).curve_.set_index("k")
    assert curve.loc[1, "explained_variance"] == pytest.approx(0.0, abs=1e-12)
    assert np.isnan(curve.loc[1, "silhouette"])
    assert curve.notna().loc[2:].all(axis=None)
    assert {"gap", "gap_se", "prediction_strength", "stability", "min_jaccard"} <= {*curve}
    labels = KMeans(4).fit(blobs()).labels_
    # Those of the centres of the sample, which is all rows here.
    for name in ("calinski_harabasz", "davies_bouldin"):
        score = getattr(sklearn.metrics, f"{name}_score")(blobs(), labels)
        assert curve.loc[4, name] == pytest.approx(score)


def test_cluster_sweep__says_that_there_are_no_clusters():
    rows = np.random.default_rng(0).normal(size=(3_000, 4))
    found = ClusterSweep(range(2, 7)).fit(rows)
    assert found.recommendation_.natural_k is None
    assert "no natural clusters" in found.recommendation_.structure_note.lower()


def test_cluster_sweep__plots_every_criterion():
    found = ClusterSweep(range(2, 6)).fit(blobs())
    drawn = found.plot()
    assert isinstance(drawn, GridPlot)
    titles = [child[0].title.text for child in drawn.children]
    assert titles[:2] == ["Spread inside the segments", "Separation of the segments"]
    assert len(titles) == 9
    assert "Pairs kept together\nAlone it says 4." in titles
    with pytest.raises(NotFittedError):
        ClusterSweep().plot()
    with pytest.raises(UsageError, match="fewer than two numbers"):
        ClusterSweep(3).fit(blobs()).plot()


def test_cluster_sweep__lazy_input_gives_the_same():
    rows = blobs()
    expected = ClusterSweep([2, 3, 4]).fit(rows)
    found = ClusterSweep([2, 3, 4]).fit(da.from_array(rows, chunks=(70, 2)))
    assert found.curve_.equals(expected.curve_)
    assert isinstance(found.labels_, da.Array)
    np.testing.assert_array_equal(found.labels_.compute(), expected.labels_)
    # Three for the curve, and one step for the exact fit.
    assert found.n_passes_ == 4


def test_cluster_sweep__every_parameter_changes_something():
    rows = blobs(spread=1.0)
    base = ClusterSweep([2, 3, 4]).fit(rows)
    assert ClusterSweep(3).fit(rows).best_k_ == 3
    required = ClusterSweep([2, 3], required_k=9).fit(rows)
    assert required.best_k_ == 9
    assert required.curve_["k"].tolist() == [1, 2, 3, 9]
    strict = ClusterSweep([2, 3, 4], min_share=0.49).fit(rows)
    assert "limit was set aside" in strict.reasons_[0]
    few = ClusterSweep([9], random_state=1).fit(blobs(30_000, spread=0.2))
    other = ClusterSweep([9], random_state=2).fit(blobs(30_000, spread=0.2))
    assert few.curve_.inertia[0] != other.curve_.inertia[0]
    assert len(base.curve_) == 4
    crowded = ClusterSweep([2, 3, 4], max_share=0.4).fit(rows).curve_.set_index("k")
    best = ClusterSweep([2, 3, 4], max_share=0.4).fit(rows).best_k_
    assert crowded.largest_share[best] <= 0.4 < crowded.largest_share[2]
    assert (
        ClusterSweep([2, 3, 4], min_customers=len(rows) // 2 - 1).fit(rows).reasons_
        != base.reasons_
    )


def test_cluster_sweep__weights_count_as_repeats():
    rows = blobs(120)
    weights = np.random.default_rng(0).integers(0, 3, 120)
    weighted = ClusterSweep([2, 3, 4]).fit(rows, sample_weight=weights)
    repeated = ClusterSweep([2, 3, 4]).fit(np.repeat(rows, weights, axis=0))
    np.testing.assert_allclose(
        weighted.curve_.to_numpy(), repeated.curve_.to_numpy(), rtol=1e-9, atol=1e-12
    )


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"k": []}, "must be whole numbers"),
        ({"k": [0]}, "must be whole numbers"),
        ({"required_k": 1.5}, "must be whole numbers"),
        ({"min_share": 1.1}, "min_share=1.1 is not a share"),
        ({"min_share": "1"}, "min_share='1' is not a share"),
        ({"max_share": None}, "max_share=None is not a share"),
        ({"max_share": float("nan")}, "max_share=nan is not a share"),
        ({"min_share": 0.4, "max_share": 0.3}, "min_share=0.4 is above max_share=0.3"),
        ({"min_customers": -1}, "min_customers=-1 must be a number from 0"),
        ({"min_customers": "5"}, "min_customers='5' must be a number from 0"),
        ({"k": [3, 4], "min_share": 0.4}, "min_share=0.4 excludes .* of 3, the fewest .* 0.3333"),
        ({"k": [1, 4], "max_share": 0.2}, "max_share=0.2 excludes .* of 4, the most .* 0.25"),
        ({"min_customers": 201}, "min_customers=201 excludes .* 400 customers in 2 .* most 200"),
    ],
)
def test_cluster_sweep__refuses_wrong_parameters(options, match):
    with pytest.raises(UsageError, match=match):
        ClusterSweep(**options).fit(blobs())


def test_cluster_sweep__refuses_a_required_k_that_cannot_be():
    rows = np.repeat(np.arange(3.0)[:, None], 10, axis=0)
    with pytest.raises(InputError, match="required_k=5, but the rows have too few"):
        ClusterSweep([2], required_k=5).fit(rows)
