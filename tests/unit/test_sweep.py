"""Many numbers of clusters in shared passes."""

from __future__ import annotations

from dataclasses import fields
from importlib import import_module

import dask
import dask.array as da
import numpy as np
import pytest
import sklearn.metrics
from bokeh.models import GridPlot
from sklearn.exceptions import NotFittedError

from daskseg.cluster import KMeans, margins, starts
from daskseg.cluster import survey as survey_module
from daskseg.engine import progress
from daskseg.errors import DasksegWarning, InputError, UsageError
from daskseg.inputs import as_blocks
from daskseg.metrics import silhouette_by_label
from daskseg.model_selection import ClusterSweep
from daskseg.model_selection.curve import CurveRow
from daskseg.model_selection.sweep import sweep
from tests import naive
from tests.counting import Counted

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
    with pytest.warns(DasksegWarning, match="k = 4 to 7 were left out: .* 3 distinct") as caught:
        found = sweep(as_blocks(rows), range(2, 8))
    assert len(caught) == 1
    assert list(found.fits) == [1, 2, 3]
    assert found.fits[3].row.inertia == 0.0
    with pytest.raises(InputError, match="all rows are alike"):
        sweep(as_blocks(np.ones((5, 2))), [2, 3])
    with pytest.raises(InputError, match="3 clusters were asked for, but there are only 2 rows"):
        sweep(as_blocks(np.eye(2)), [3])
    with pytest.raises(
        InputError, match=r"2, 4 clusters .* there is only 1 row. Ask for at most 1"
    ):
        sweep(as_blocks(np.eye(1)), [4, 2])
    with pytest.raises(InputError, match=r"4 to 6 clusters .* 3 distinct points .* at most 3"):
        sweep(as_blocks(rows), [4, 5, 6])


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
        ({"k": [3, -1]}, "must be whole numbers"),
        ({"k": range(2, 2)}, r"k=range\(2, 2\) .* at least one"),
        ({"k": None}, "k=None .* must be whole numbers"),
        ({"k": 2.5}, "k=2.5 .* must be whole numbers"),
        ({"k": [2, 3.0]}, "must be whole numbers"),
        ({"k": True}, "k=True .* must be whole numbers"),
        ({"k": [True, 2]}, r"k=\[True, 2\] .* must be whole numbers"),
        ({"k": np.bool_(1)}, "must be whole numbers"),
        ({"k": np.array(2.0)}, "must be whole numbers"),
        ({"k": "23"}, "k='23' .* must be whole numbers"),
        ({"k": ["2"]}, "must be whole numbers"),
        ({"required_k": 1.5}, "must be whole numbers"),
        ({"required_k": True}, "required_k=True must be whole numbers"),
        ({"required_k": 0}, "required_k=0 must be whole numbers"),
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
    with pytest.raises(InputError, match="required_k=5, but the rows have 3 distinct points"):
        ClusterSweep([2], required_k=5).fit(rows)
    with pytest.raises(InputError, match=r"required_k=31, but there are only 30 rows. Ask for at"):
        ClusterSweep([2], required_k=31).fit(rows)


def test_cluster_sweep__warns_once_of_numbers_above_the_rows():
    rows = np.arange(12.0)[:, None] ** 2
    with pytest.warns(DasksegWarning, match="k = 13, 15 were left out: .* only 12 rows") as caught:
        found = ClusterSweep([2, 3, 13, 15]).fit(rows)
    assert len(caught) == 1
    assert caught[0].filename == __file__
    assert found.curve_["k"].tolist() == [1, 2, 3]
    with pytest.warns(DasksegWarning, match="k = 13 was left out"):
        ClusterSweep([2, 3, 13]).fit(da.from_array(rows, chunks=(5, 1)))


def test_cluster_sweep__takes_a_number_once_and_one_number_alone():
    rows = blobs(60)
    expected = ClusterSweep([2, 3]).fit(rows).curve_
    assert ClusterSweep(iter([3, 2, 3, np.int32(2)])).fit(rows).curve_.equals(expected)
    assert ClusterSweep(np.int64(3)).fit(rows).curve_["k"].tolist() == [3]


def _spoilt(value):
    rows = blobs(40)
    rows[7, 1] = value
    return rows


@pytest.mark.parametrize(
    ("rows", "match"),
    [
        (np.empty((0, 3)), "X has no rows"),
        (np.ones((40, 3)), "2 to 5 clusters were asked for, but all rows are alike"),
        (_spoilt(np.nan), r"1 missing values \(NaN\) in column 1.* in row 7"),
        (_spoilt(-np.inf), r"1 infinite values \(infinity\) in column 1.* in row 7"),
        (np.array([["a", "b"]] * 40), "dtype|convert|numeric"),
    ],
)
@pytest.mark.parametrize("lazy", [False, True])
def test_cluster_sweep__refuses_rows_that_cannot_be_clustered(rows, match, lazy):
    given = da.from_array(rows, chunks=(9, 2)) if lazy else rows
    if rows.dtype.kind == "U":
        match = "not real numbers" if lazy else match
    with pytest.raises(ValueError if rows.dtype.kind == "U" else InputError, match=match):
        ClusterSweep(range(2, 6)).fit(given)


@pytest.mark.parametrize(
    ("weights", "match"),
    [
        (np.zeros(40), "zero for every row"),
        (np.r_[np.ones(39), -2.0], r"negative values \(the least is -2\)"),
        (np.r_[np.ones(39), np.nan], "holds NaN or infinity"),
        (np.r_[np.ones(39), np.inf], "holds NaN or infinity"),
        (np.ones(39), "sample_weight has 39 values, but X has 40 rows"),
        (np.ones((40, 1)), r"has the shape \(40, 1\)"),
        (["a"] * 40, "not made of numbers"),
    ],
)
def test_cluster_sweep__refuses_wrong_weights(weights, match):
    with pytest.raises(InputError, match=match):
        ClusterSweep([2, 3]).fit(blobs(40), sample_weight=weights)


@pytest.fixture(scope="module")
def whole_curve():
    return ClusterSweep(range(2, 6)).fit(blobs(150)).curve_


@pytest.mark.parametrize("chunks", [(150, 3), (47, 3), (31, 2)])
def test_cluster_sweep__curve_keeps_its_bits_on_every_scheduler(scheduler, whole_curve, chunks):
    lazy = da.from_array(blobs(150), chunks=chunks)
    curve = ClusterSweep(range(2, 6)).fit(lazy).curve_
    assert [*curve] == [*whole_curve]
    for name in curve:
        expected, found = whole_curve[name].to_numpy(), curve[name].to_numpy()
        assert found.dtype == expected.dtype
        assert found.tobytes() == expected.tobytes(), name


@pytest.mark.parametrize("seed", range(4))
def test_sweep__more_clusters_never_have_a_larger_error(seed):
    random = np.random.default_rng(seed)
    rows = random.normal(size=(int(random.integers(30, 120)), int(random.integers(1, 4))))
    errors = [row.inertia for row in sweep(as_blocks(rows), range(1, 12), seed).curve]
    assert (np.diff(errors) <= 0).all()


def test_cluster_sweep__integer_weights_are_repeats_in_all_that_full_passes_measure():
    rows = blobs(90)
    weights = np.random.default_rng(1).integers(0, 4, 90)
    heavy = da.from_array(weights.astype(float), chunks=40)
    lazy = da.from_array(rows, chunks=(40, 2))
    weighted = ClusterSweep([2, 3, 5]).fit(lazy, sample_weight=heavy).curve_
    repeated = ClusterSweep([2, 3, 5]).fit(np.repeat(rows, weights, axis=0)).curve_
    exact = [field.name for field in fields(CurveRow)]
    np.testing.assert_allclose(weighted[exact], repeated[exact], rtol=1e-12, atol=1e-14)


def _counted(rows, monkeypatch, chunk_rows=100):
    """Hand out the rows of data too large to be kept, and count how often."""
    monkeypatch.setattr(margins, "WHOLE_BYTES", 0)
    monkeypatch.setattr(starts, "_WHOLE_VALUES", 0)
    counted = Counted()
    lazy = da.from_array(rows, chunks=(chunk_rows, 3))
    return counted, lazy.map_blocks(counted, dtype=float, meta=np.empty((0, 0)))


@pytest.mark.parametrize("is_whole", [True, False])
def test_cluster_sweep__whole_curve_takes_few_passes_and_says_how_many(monkeypatch, is_whole):
    if not is_whole:
        monkeypatch.setattr(SWEEP_MODULE, "sample_rows_for", lambda k: 300)
        monkeypatch.setattr(survey_module, "PILOT_RUN_ROWS", 10)
    counted, lazy = _counted(blobs(2_000, spread=1.0), monkeypatch)
    with dask.config.set(scheduler="synchronous"), progress.recording("test") as log:
        curve = sweep(as_blocks(lazy), range(2, 21)).to_frame()
    assert curve["k"].tolist() == list(range(1, 21))
    assert {"gap", "prediction_strength", "stability"} <= {*curve}
    assert counted.n_reads / 20 <= 5
    assert counted.n_reads / 20 == pytest.approx(log.passes)


def test_cluster_sweep__says_all_its_passes_also_the_one_that_counts_rows(monkeypatch):
    counted, lazy = _counted(blobs(600), monkeypatch)
    known = ClusterSweep([2, 3, 4]).fit(lazy)
    n_known, counted.n_reads = counted.n_reads / 6, 0
    assert known.n_passes_ == pytest.approx(n_known)
    unknown = da.Array(lazy.dask, lazy.name, ((np.nan,) * 6, (3,)), dtype=float)
    found = ClusterSweep([2, 3, 4]).fit(unknown)
    assert found.n_passes_ == pytest.approx(counted.n_reads / 6)
    assert found.n_passes_ == known.n_passes_ + 1
    assert found.curve_.equals(known.curve_)
