from __future__ import annotations

import json
import warnings

import dask.dataframe as dd
import numpy as np
import pandas as pd
import polars as pl
import pytest

import daskseg
from daskseg import RFM, Segmentation, load_model
from daskseg.errors import ArtifactError, InputError, SchemaMismatchError, UsageError
from daskseg.pipeline import fitting


@pytest.fixture(scope="module")
def table():
    rng = np.random.default_rng(5)
    centres = np.array([[2.0, 40.0], [30.0, 45.0], [60.0, 90.0]])
    rows = np.repeat(centres, 40, axis=0) + rng.normal(size=(120, 2))
    frame = pd.DataFrame(rows, columns=["visits", "minutes"])
    frame.index = pd.Index([f"c{i}" for i in range(120)], name="customer_id")
    return frame


@pytest.fixture(scope="module")
def fitted(table):
    return Segmentation(k=3, value="visits").fit(table)


def test_segmentation__orders_segments_by_total_value(table, fitted):
    segments = fitted.assign(table)["segment_id"]
    totals = table["visits"].groupby(segments).sum()
    assert totals.sort_values(ascending=False).index.tolist() == ["S1", "S2", "S3"]


def test_segmentation__same_segments_from_every_kind_of_frame(table, fitted):
    expected = fitted.assign(table)["segment_id"].tolist()
    bare = table.reset_index(drop=True)
    for rows in (bare, pl.from_pandas(bare), bare.to_numpy()):
        found = Segmentation(k=3).fit(rows)
        names = fitted.assign(rows)["segment_id"].tolist()
        assert names == expected
        assert (
            found.model_.grouping.centres.tolist()
            == Segmentation(k=3).fit(bare).model_.grouping.centres.tolist()
        )


def test_segmentation__dask_in_gives_lazy_dask_out(table, fitted):
    lazy = dd.from_pandas(table, npartitions=4)
    scored = Segmentation(k=3, value="visits").fit(lazy).assign(lazy)
    assert isinstance(scored, dd.DataFrame)
    # dask reads text of an index as another kind of text.
    expected = fitted.assign(table).loc[lazy.index.compute()]
    pd.testing.assert_frame_equal(
        scored.compute().reset_index(drop=True), expected.reset_index(drop=True)
    )


def test_segmentation__record_tells_of_each_segment_what_the_sample_says(table):
    found = Segmentation(k="auto", value="visits").fit(table)
    record = json.loads(json.dumps(found.record_, allow_nan=False))
    segments = {segment["segment_id"]: segment for segment in record["segments"]}
    assert record["choice"]["k"] == len(segments) == 3
    assert record["choice"]["sample"] == {"rows": 120, "is_whole": True}
    for segment in segments.values():
        quantiles = segment["silhouette_quantiles"]
        assert len(quantiles) == 101
        assert quantiles == sorted(quantiles)
        # Each stands with its own segment, in the order of the report.
        assert np.mean(quantiles) == pytest.approx(segment["silhouette"], abs=0.01)
        assert segment["jaccard"] > 0.9
    moves = record["choice"]["moves"]
    assert (moves["coarser"]["k"], moves["finer"]["k"]) == (2, 4)
    for side in moves.values():
        for segment_id, segment in segments.items():
            shares = [part for part in side["parts"] if part["segment_id"] == segment_id]
            assert sum(part["share"] for part in shares) == pytest.approx(segment["share"])
            assert sum(part["of_segment"] for part in shares) == pytest.approx(1.0)
    parts = [part for part in moves["coarser"]["parts"] if part["share"] > 0.1]
    assert len(parts) == 3
    assert {part["of_segment"] for part in parts} == {1.0}


def test_segmentation__given_k_has_silhouettes_but_no_neighbours(fitted):
    record = fitted.record_
    assert record["choice"]["moves"] == {"coarser": None, "finer": None}
    assert all(len(segment["silhouette_quantiles"]) == 101 for segment in record["segments"])
    one = Segmentation(k=1).fit(pd.DataFrame({"visits": np.arange(9.0)})).record_
    assert one["segments"][0]["silhouette_quantiles"] is None


def test_segmentation__chooses_k_with_reasons(table):
    found = Segmentation().fit(table)
    assert len(found.names_) == 3
    assert found.reasons_
    assert found.record_["choice"]["grade"] in {"low", "medium", "high"}
    assert found.curve_["k"].tolist() == list(range(1, 21))


def test_segmentation__a_given_k_has_no_grade(fitted):
    assert fitted.record_["choice"]["mode"] == "required"
    assert fitted.record_["choice"]["grade"] is None


def test_segmentation__passive_features_do_not_form_segments(table):
    noisy = table.assign(noise=np.arange(120) % 7 * 1000.0)
    plain = Segmentation(k=3).fit(table).assign(table)["segment_id"]
    found = Segmentation(k=3, passive=["noise"]).fit(noisy)
    assert found.assign(noisy)["segment_id"].tolist() == plain.tolist()
    assert {"noise"} <= set(found.profile()["feature"])


def test_segmentation__passive_must_be_there(table):
    with pytest.raises(UsageError, match=r"passive=.*'age'.*visits"):
        Segmentation(k=2, passive=["age"]).fit(table)


def test_segmentation__rename_reaches_model_record_and_assignments(table):
    found = Segmentation(k=3).fit(table).rename({"S2": "Regulars"})
    assert found.names_["S2"] == "Regulars"
    assert found.record_["segments"][1]["name"] == "Regulars"
    assert "Regulars" in set(found.assign(table)["segment_name"])
    with pytest.raises(UsageError, match="no segment S9"):
        found.rename({"S9": "x"})


def test_segmentation__save_and_load_score_alike(table, fitted, tmp_path):
    fitted.save(tmp_path / "model")
    loaded = load_model(tmp_path / "model")
    pd.testing.assert_frame_equal(loaded.assign(table), fitted.assign(table))
    with pytest.raises(UsageError, match="needs the fit"):
        loaded.report(tmp_path / "report.html")
    fitted.save(tmp_path / "model")


def test_segmentation__save_refuses_a_directory_of_others(fitted, tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(UsageError, match="not empty and holds no earlier result") as refused:
        fitted.save(tmp_path)
    assert "--" not in str(refused.value).replace(str(tmp_path), "")  # Python has no options
    assert (tmp_path / "notes.txt").read_text() == "mine"


def test_load_model__says_what_is_wrong(tmp_path):
    with pytest.raises(ArtifactError, match="not a daskseg model"):
        load_model(tmp_path)


def test_segmentation__report_is_one_offline_file(fitted, tmp_path):
    page = fitted.report(tmp_path / "deep" / "report.html").read_text(encoding="utf-8")
    assert page.startswith("<!doctype html>")
    json.dumps(fitted.record_, allow_nan=False)


def test_segmentation__refuses_frames_without_its_features(table, fitted):
    with pytest.raises(SchemaMismatchError, match="minutes"):
        fitted.assign(table[["visits"]])
    with pytest.raises(SchemaMismatchError, match=r"shape \(120, 1\)"):
        fitted.assign(table[["visits"]].to_numpy())


def test_segmentation__refuses_an_unknown_value_column(table):
    with pytest.raises(UsageError, match="value='spend'"):
        Segmentation(k=2, value="spend").fit(table)


@pytest.mark.parametrize("k", [0, "many", 21])
def test_segmentation__refuses_a_wrong_k(table, k):
    with pytest.raises(UsageError, match="k"):
        Segmentation(k=k).fit(table)


def test_segmentation__tells_of_a_constant_feature(table):
    found = Segmentation(k=3).fit(table.assign(same=1.0))
    assert any("'same' has one value only" in notice for notice in found.record_["notices"])


def test_segmentation__passes_foreign_warnings_on(table, monkeypatch):
    def warning(*_args, **_options):
        warnings.warn("a library is about to change", DeprecationWarning, stacklevel=1)
        return chosen(*_args, **_options)

    chosen = fitting.choose
    monkeypatch.setattr(fitting, "choose", warning)
    with pytest.warns(DeprecationWarning, match="about to change"):
        found = Segmentation(k=3).fit(table)
    assert found.record_["notices"] == []


def test_segmentation__refuses_one_customer(table):
    with pytest.raises(InputError, match="one customer"):
        Segmentation(k=2).fit(table.iloc[:1])


def test_segmentation__knows_rfm_features():
    days = pd.date_range("2026-01-01", periods=60, freq="D").astype(str)
    ledger = pd.DataFrame(
        {
            "customer_id": [f"c{i % 20}" for i in range(60)],
            "order_id": [str(i) for i in range(60)],
            "order_date": days,
            "amount": [5.0 + i % 7 for i in range(60)],
        }
    )
    rfm = RFM(snapshot="2026-04-01").fit_transform(ledger)
    found = Segmentation(k=2).fit(rfm)
    assert found.record_["kind"] == "rfm"
    assert {"rfm_code", "rfm_name"} <= set(found.assign(rfm).columns)


def test_package__names_are_lazy_and_complete():
    assert set(daskseg.__all__) <= set(dir(daskseg))
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        _ = daskseg.nonsense
