"""Kinds of models in studies: what they find, that they can be saved, and what the record says."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import adjusted_rand_score

from daskseg import Segmentation, load_model
from daskseg.cluster import (
    DBSCAN,
    HDBSCAN,
    AgglomerativeClustering,
    BisectingKMeans,
    ConsensusClustering,
)
from daskseg.cluster.density import suggest_eps
from daskseg.errors import ArtifactError, InputError, UsageError
from daskseg.mixture import GaussianMixture
from daskseg.pipeline.models import FITS, OWN_NUMBER
from daskseg.segments.grouping import CentreGrouping, MixtureGrouping, SplitGrouping
from daskseg.segments.kinds import KINDS
from daskseg.segments.points import ConsensusGrouping, CoreGrouping, PlaceGrouping

NAMES = ["visits", "minutes"]
BARE = {"winsor": 0.0, "log1p": [], "scale": "none"}


def rows_of(n_each=60, seed=5):
    rng = np.random.default_rng(seed)
    centres = np.array([[2.0, 40.0], [30.0, 45.0], [60.0, 90.0]])
    return np.repeat(centres, n_each, axis=0) + rng.normal(size=(3 * n_each, 2))


def crossed(n_each=400):
    """Two long clouds that cross: only covariances tell them apart."""
    rng = np.random.default_rng(1)
    long = rng.normal(size=(2, n_each, 2)) * [12.0, 0.5]
    long[1] = long[1, :, ::-1]
    return np.concatenate(long)


@pytest.mark.parametrize("kind", FITS)
def test_segmentation__every_kind_finds_what_stands_apart(kind, tmp_path):
    table = pd.DataFrame(rows_of(), columns=NAMES)
    found = Segmentation(kind, k="auto", value="visits").fit(table)
    scored = found.assign(table)
    assert list(found.names_) == ["S1", "S2", "S3"]
    assert scored["segment_id"].tolist() == ["S3"] * 60 + ["S2"] * 60 + ["S1"] * 60
    assert scored["confidence"].between(0.8, 1.0).all()
    record = json.loads(json.dumps(found.record_, allow_nan=False))
    assert record["run"]["model"]["kind"] == kind
    assert [segment["customers"] for segment in record["segments"]] == [60, 60, 60]
    assert min(segment["silhouette"] for segment in record["segments"]) > 0.9
    found.report(tmp_path / "report.html")
    again = load_model(found.save(tmp_path / "model")).assign(table)
    pd.testing.assert_frame_equal(again, scored)


@pytest.mark.parametrize("kind", [*FITS, *OWN_NUMBER])
def test_segmentation__keeps_its_bits_under_any_cut(kind):
    dd = pytest.importorskip("dask.dataframe")
    table = pd.DataFrame(rows_of(), columns=NAMES)
    k = "auto" if kind in OWN_NUMBER else 3
    wanted = Segmentation(kind, k=k).fit(table).model_.grouping.arrays()
    for n_partitions in (2, 7):
        lazy = dd.from_pandas(table, npartitions=n_partitions)
        found = Segmentation(kind, k=k).fit(lazy).model_.grouping.arrays()
        assert {name: array.tobytes() for name, array in found.items()} == {
            name: array.tobytes() for name, array in wanted.items()
        }


def test_mixture__groups_as_the_estimator_does():
    rows = crossed()
    found = Segmentation("mixture", k=2, prepare=BARE).fit(pd.DataFrame(rows, columns=NAMES))
    fitted = GaussianMixture(2, random_state=0).fit(rows)
    shares = fitted.predict_proba(rows)
    grouped = found.model_.grouping.of(rows)
    np.testing.assert_allclose(grouped.confidence, shares.max(axis=1), rtol=1e-9)
    # Segments are numbered by size, components as they were found.
    table = np.zeros((2, 2), int)
    np.add.at(table, (grouped.first, shares.argmax(axis=1)), 1)
    assert sorted(np.count_nonzero(table, axis=1)) == [1, 1]
    np.testing.assert_array_equal(grouped.second, 1 - grouped.first)
    centres = found.model_.grouping.centres[grouped.first]
    np.testing.assert_allclose(grouped.distance, np.linalg.norm(rows - centres, axis=1))
    assert found.record_["choice"]["sample"] is None
    assert found.record_["segments"][0]["silhouette_quantiles"] is None


def test_mixture__one_group_has_no_second():
    alone = MixtureGrouping(np.zeros((1, 1)), np.ones(1), np.ones((1, 1, 1)))
    found = alone.of(np.array([[0.0], [3.0]]))
    assert found.first.tolist() == [0, 0]
    assert found.second.tolist() == [-1, -1]
    assert found.distance.tolist() == [0.0, 3.0]
    assert found.confidence.tolist() == [1.0, 1.0]


def test_centres__distance_and_confidence_by_hand():
    found = CentreGrouping(np.array([[0.0], [4.0]])).of(np.array([[1.0], [4.0]]))
    assert found.first.tolist() == [0, 1]
    assert found.second.tolist() == [1, 0]
    assert found.distance.tolist() == [1.0, 0.0]
    assert found.confidence.tolist() == [1.0 - 1.0 / 3.0, 1.0]


def test_groupings__turn_with_the_order_of_their_groups():
    order = np.array([1, 0])
    rows = np.array([[0.1], [3.8], [2.2]])
    for grouping in (
        CentreGrouping(np.array([[0.0], [4.0]])),
        MixtureGrouping(
            np.array([[0.0], [4.0]]), np.array([0.25, 0.75]), np.array([[[1.0]], [[2.0]]])
        ),
        SplitGrouping(np.array([[0.0], [4.0]]), np.array([[0, 1]]), np.array([[[0.5], [3.5]]])),
        PlaceGrouping(np.array([[0.0], [4.0]]), np.array([[0.0], [4.0]]), np.array([0, 1])),
        ConsensusGrouping(
            np.array([[0.0], [4.0]]),
            np.array([[0.0], [4.0]]),
            np.array([0, 1]),
            np.array([0.6, 0.9]),
        ),
        CoreGrouping(np.array([[0.0], [4.0]]), np.array([[0.0], [4.0]]), np.array([0, 1]), 1.5),
    ):
        before, after = grouping.of(rows), grouping.reordered(order).of(rows)
        has_group = before.first >= 0
        np.testing.assert_array_equal(has_group, after.first >= 0)
        np.testing.assert_array_equal(after.first[has_group], 1 - before.first[has_group])
        np.testing.assert_array_equal(after.second, 1 - before.second)
        np.testing.assert_array_equal(after.confidence, before.confidence)
        shapes = {name: array.shape for name, array in grouping.arrays().items()}
        assert shapes == grouping.shapes(2, 1)
        assert KINDS[grouping.kind] is type(grouping)


def with_strays(n_each=60):
    """Three dense groups, and ten customers far from all, each alone."""
    rng = np.random.default_rng(0)
    strays = np.column_stack([np.linspace(200, 900, 10), 300 + 50 * rng.normal(size=10)])
    return pd.DataFrame(np.concatenate([rows_of(n_each), strays]), columns=NAMES)


def test_hdbscan__noise_is_a_group_of_its_own(tmp_path):
    table = with_strays()
    found = Segmentation("hdbscan", prepare=BARE, min_share=0.05, value="visits").fit(table)
    assert list(found.names_) == ["S1", "S2", "S3", "S0"]
    assert found.names_["S0"] == "Unusual customers"
    scored = found.assign(table)
    assert (scored["segment_id"].iloc[-10:] == "S0").all()
    noise = scored["segment_id"] == "S0"
    assert (scored["confidence"][noise] == 0).all()
    assert scored["is_outlier"][noise].all()
    # Where a customer must have a segment, the nearest one stands beside.
    assert scored["second_segment_id"].iloc[-1] == "S1"
    record = json.loads(json.dumps(found.record_, allow_nan=False))
    customers = {one["segment_id"]: one["customers"] for one in record["segments"]}
    assert customers == scored["segment_id"].value_counts().to_dict()
    assert record["choice"]["mode"] == "found"
    assert record["choice"]["reasons"][0].startswith("3 groups of at least 5")
    assert record["segments"][-1]["silhouette"] is None
    assert found.curve_["k"].tolist() == [3]
    page = found.report(tmp_path / "report.html").read_text(encoding="utf-8")
    assert "found by the model, and customers in none (S0)" in page
    again = load_model(found.save(tmp_path / "model"))
    pd.testing.assert_frame_equal(again.assign(table), scored)
    new = again.assign(pd.DataFrame({"visits": [2.0, 5e3], "minutes": [40.0, 5e3]}))
    assert new["segment_id"].tolist() == ["S3", "S0"]


def test_hdbscan__groups_as_the_estimator_does():
    table = with_strays()
    found = Segmentation("hdbscan", prepare=BARE, min_share=0.05).fit(table)
    fitted = HDBSCAN(0.05, random_state=0).fit(table.to_numpy())
    grouped = found.model_.grouping.of(table.to_numpy())
    np.testing.assert_array_equal(grouped.first < 0, fitted.labels_ < 0)
    np.testing.assert_array_equal(grouped.confidence, fitted.probabilities_)
    assert adjusted_rand_score(grouped.first, fitted.labels_) == 1.0
    noise = grouped.first < 0
    assert adjusted_rand_score(grouped.second[noise], fitted.nearest_[noise]) == 1.0


def test_hdbscan__refuses_a_number_of_groups_and_a_continuum():
    with pytest.raises(UsageError, match="'k' means nothing for kind 'hdbscan'"):
        Segmentation("hdbscan", k=3).fit(with_strays())
    even = pd.DataFrame({"visits": np.arange(200.0), "minutes": np.zeros(200)})
    with pytest.raises(InputError, match="hdbscan found no clusters"):
        Segmentation("hdbscan", prepare=BARE).fit(even)


def test_splits__leaf_and_confidence_by_hand():
    # First at 5, then the left side at 1.5; leaves are numbered as they were asked for.
    tree = SplitGrouping(
        np.array([[9.0], [1.0], [2.0]]),
        np.array([[4, 0], [1, 2]]),
        np.array([[[1.0], [9.0]], [[1.0], [2.0]]]),
    )
    found = tree.of(np.array([[0.0], [4.9], [8.0], [1.5]]))
    assert found.first.tolist() == [1, 2, 0, 1]
    assert found.second.tolist() == [2, 1, 2, 2]
    np.testing.assert_allclose(found.distance, [1.0, 2.9, 1.0, 0.5])
    np.testing.assert_allclose(found.confidence, [0.5, 1 - 2.9 / 3.9, 1 - 1 / 6, 0.0])
    turned = tree.reordered(np.array([2, 0, 1]))
    assert turned.of(np.array([[0.0], [4.9], [8.0]])).first.tolist() == [2, 0, 1]


def test_places__a_group_may_reach_past_another_centre():
    # The place at 10 belongs to the group of the one at 0, whose centre is farther from it.
    bent = PlaceGrouping(
        np.array([[2.0], [7.0]]), np.array([[0.0], [7.0], [10.0]]), np.array([0, 1, 0])
    )
    found = bent.of(np.array([[0.5], [9.0]]))
    assert found.first.tolist() == [0, 0]
    assert found.second.tolist() == [1, 1]
    assert found.distance.tolist() == [1.5, 7.0]
    np.testing.assert_allclose(found.confidence, [1 - 1.5 / 6.5, 0.0])


def test_core_rows__reach_and_confidence_by_hand():
    dense = CoreGrouping(
        np.array([[0.5], [9.0]]), np.array([[0.0], [1.0], [9.0]]), np.array([0, 0, 1]), 2.0
    )
    found = dense.of(np.array([[1.0], [3.0], [3.1], [9.5], [99.0]]))
    assert found.first.tolist() == [0, 0, -1, 1, -1]
    assert found.second.tolist() == [1, 1, 0, 0, 1]
    assert found.confidence.tolist() == [1.0, 0.0, 0.0, 0.75, 0.0]
    np.testing.assert_allclose(found.distance, [0.5, 2.5, 2.6, 0.5, 90.0])


ON_CENTRES = {
    "bisecting": lambda rows: BisectingKMeans(3, random_state=0).fit(rows),
    "agglomerative": lambda rows: AgglomerativeClustering(3, random_state=0).fit(rows),
    "consensus": lambda rows: ConsensusClustering(3, random_state=0).fit(rows),
}


@pytest.mark.parametrize("kind", ON_CENTRES)
def test_segmentation__groups_as_the_estimator_does(kind):
    rows = rows_of(150)
    found = Segmentation(kind, k=3, prepare=BARE).fit(pd.DataFrame(rows, columns=NAMES))
    fitted = ON_CENTRES[kind](rows)
    grouped = found.model_.grouping.of(rows)
    assert adjusted_rand_score(grouped.first, fitted.labels_) == 1.0
    assert adjusted_rand_score(grouped.first, fitted.predict(rows)) == 1.0
    if kind == "consensus":
        np.testing.assert_array_equal(grouped.confidence, fitted.agreement_)
    segments = found.record_["segments"]
    assert sum(segment["customers"] for segment in segments) == 450
    assert found.record_["choice"]["chosen_inertia"] == pytest.approx(fitted.inertia_, rel=1e-9)


def test_consensus__says_that_nothing_is_stable():
    rows = np.random.default_rng(4).uniform(size=(500, 2))
    found = Segmentation("consensus", k=3, prepare=BARE).fit(pd.DataFrame(rows, columns=NAMES))
    assert any(notice.startswith("nothing stable") for notice in found.record_["notices"])


def test_dbscan__finds_groups_and_noise(tmp_path):
    table = with_strays()
    found = Segmentation("dbscan", prepare=BARE, min_share=0.05, value="visits").fit(table)
    assert list(found.names_) == ["S1", "S2", "S3", "S0"]
    scored = found.assign(table)
    rows = table.to_numpy()
    advice = suggest_eps(rows, random_state=0)
    fitted = DBSCAN(advice.eps, min_samples=advice.min_samples).fit(rows)
    # On these no row is near core rows of two groups.
    wanted = np.array(["S3", "S2", "S1", "S0"])[fitted.labels_]
    assert scored["segment_id"].tolist() == wanted.tolist()
    assert (scored["confidence"].iloc[fitted.core_sample_indices_] == 1).all()
    assert (scored["confidence"][scored["segment_id"] == "S0"] == 0).all()
    reasons = found.record_["choice"]["reasons"]
    assert reasons[0].startswith("3 groups of at least 5")
    assert "nearest bend" in reasons[1]
    again = load_model(found.save(tmp_path / "model"))
    pd.testing.assert_frame_equal(again.assign(table), scored)
    found.report(tmp_path / "report.html")
    shuffled = table.sample(frac=1.0, random_state=3)
    other = Segmentation("dbscan", prepare=BARE, min_share=0.05, value="visits").fit(shuffled)
    for name, array in found.model_.grouping.arrays().items():
        np.testing.assert_array_equal(other.model_.grouping.arrays()[name], array)


def test_dbscan__takes_what_is_given_and_leaves_small_groups_as_noise():
    near = np.r_[np.arange(20.0), 100.0 + np.arange(5.0), 500.0, 300.0 + np.arange(14.0)]
    table = pd.DataFrame({"visits": near})
    settings = {"prepare": BARE, "eps": 1.0, "min_samples": 2}
    every = Segmentation("dbscan", min_share=0.0, **settings).fit(table)
    assert [one["customers"] for one in every.record_["segments"]] == [20, 14, 5, 1]
    found = Segmentation("dbscan", min_share=0.2, **settings).fit(table)
    assert [one["customers"] for one in found.record_["segments"]] == [20, 14, 6]
    assert "To these are counted 1 smaller groups with 12" in found.record_["choice"]["reasons"][1]
    alone = Segmentation("dbscan", min_share=0.4, **settings).fit(table)
    assert [one["customers"] for one in alone.record_["segments"]] == [20, 20]
    assert alone.record_["choice"]["reasons"][0].startswith("One group of at least 40")
    assert alone.curve_["inertia"].tolist() == [665.0]
    assert alone.record_["choice"]["curve"][0]["silhouette"] is None
    with pytest.raises(InputError, match=r"no group of at least 0\.3 .* the largest has 0 of 40"):
        Segmentation("dbscan", prepare=BARE, eps=0.5, min_samples=2, min_share=0.3).fit(table)


def test_dbscan__refuses_what_means_nothing():
    with pytest.raises(UsageError, match=r"model\.eps: 0 must be auto or a number above 0"):
        Segmentation("dbscan", eps=0).fit(with_strays())
    with pytest.raises(UsageError, match=r"model\.min_samples: 0 must be auto or a whole number"):
        Segmentation("dbscan", min_samples=0).fit(with_strays())
    with pytest.raises(UsageError, match="'eps' means nothing for kind 'kmeans', only for dbscan"):
        Segmentation(eps=0.5).fit(with_strays())
    with pytest.raises(UsageError, match="'k' means nothing for kind 'dbscan'"):
        Segmentation("dbscan", k=3).fit(with_strays())


def test_dbscan__refuses_many_columns_out_of_memory():
    dd = pytest.importorskip("dask.dataframe")
    rows = np.random.default_rng(0).normal(size=(60, 9))
    lazy = dd.from_pandas(pd.DataFrame(rows, columns=[f"x{i}" for i in range(9)]), npartitions=2)
    with pytest.raises(UsageError, match=r"at most 8 columns out of memory, and .* 9.*--pca"):
        Segmentation("dbscan").fit(lazy)


def test_load_model__refuses_a_kind_that_it_does_not_know(tmp_path):
    table = pd.DataFrame(rows_of(10), columns=NAMES)
    folder = Segmentation(k=3).fit(table).save(tmp_path / "model")
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["grouping"]["kind"] = "oracle"
    (folder / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(ArtifactError, match="damaged: KeyError: 'oracle'"):
        load_model(folder)


def test_segmentation__refuses_a_kind_that_has_not_landed():
    with pytest.raises(UsageError, match=r"model\.kind: .oracle. is not known"):
        Segmentation("oracle", k=3).fit(pd.DataFrame(rows_of(10), columns=NAMES))
