"""The real ledger from end to end: known figures, exact money, equal bytes."""

from __future__ import annotations

import itertools
import json
from decimal import Decimal

import dask
import numpy as np
import pandas as pd
import pytest

from daskseg import load_model, store
from daskseg.config import Study
from daskseg.pipeline import check_source, run_study
from tests.segment_models import COLUMNS

TOTAL = Decimal("9747747.934")
BYTES = ("segments.parquet", "curve.csv", "profile.parquet", "model/centres.npy")


def _json(path):
    return json.loads(path.read_text(encoding="utf-8"), parse_float=Decimal)


def _sum(parts):
    aside = sum(parts["set_aside"].values())
    assert parts["total"] == TOTAL
    return parts["segments"] + parts["unattributed"] + parts["returns_only"] + aside


def _contents(folder):
    return {name: (folder / name).read_bytes() for name in BYTES}


def test_returns_drop__gives_the_known_figures(study_dir):
    out = study_dir(returns="drop")
    for name in ("run.json", "report.json"):
        record = _json(out / name)
        assert record["accounting"]["clean_lines"] == 397_884
        assert record["data"]["customers"] == 4_338
        assert record["accounting"]["segments"] == Decimal("8911407.904")


@pytest.mark.parametrize("returns", ["net", "match", "drop", "keep"])
def test_accounting__adds_up_exactly_in_the_report(study_dir, returns):
    record = _json(study_dir(returns=returns) / "report.json")
    parts = record["accounting"]
    by_segment = sum(segment["money"] for segment in record["segments"])
    assert by_segment == parts["segments"]
    assert _sum(parts) == TOTAL


@pytest.mark.parametrize(
    ("returns", "duplicates", "non_products"),
    list(itertools.product(["net", "match", "drop", "keep"], ["keep", "drop"], ["keep", "drop"])),
)
def test_accounting__adds_up_exactly_under_every_mode(ledger, returns, duplicates, non_products):
    data = {"returns": returns, "duplicates": duplicates, "non_products": non_products}
    study = Study.from_dict({"data": {"source": str(ledger), **data}})
    told = json.dumps(check_source(study)["accounting"])
    assert _sum(json.loads(told, parse_float=Decimal)) == TOTAL


@pytest.mark.parametrize("partitions", [1, 3, 17])
def test_partitions__never_change_a_byte(study_dir, partitions):
    assert _contents(study_dir(partitions=partitions)) == _contents(study_dir())


def test_row_order__never_changes_a_byte(study_dir, ledger, tmp_path):
    # With the shuffled index that pandas writes along: it is no column of the ledger.
    pd.read_parquet(ledger).sample(frac=1, random_state=1).to_parquet(tmp_path / "shuffled.parquet")
    out = study_dir(source=str(tmp_path / "shuffled.parquet"))
    assert _contents(out) == _contents(study_dir())


def test_daily_csv_files__never_change_a_byte(study_dir, ledger, tmp_path):
    frame = pd.read_parquet(ledger)
    frame["Description"] = frame["Description"].str.rstrip()
    for day, lines in frame.groupby(frame["InvoiceDate"].dt.date):
        lines.to_csv(tmp_path / f"{day}.csv", index=False)
    out = study_dir(source=str(tmp_path))
    assert _contents(out) == _contents(study_dir())


def test_synchronous_scheduler__never_changes_a_byte(study_dir, ledger, tmp_path):
    study = Study.from_dict({"data": {"source": str(ledger), "partitions": 4}})
    with dask.config.set(scheduler="synchronous"):
        run_study(study, tmp_path / "out")
    assert _contents(tmp_path / "out") == _contents(study_dir())


@pytest.mark.cluster
def test_cluster__never_changes_a_byte(study_dir, ledger, tmp_path, cluster_client):
    study = Study.from_dict({"data": {"source": str(ledger), "partitions": 4}})
    with cluster_client.as_current(), dask.config.set(scheduler="dask.distributed"):
        run_study(study, tmp_path / "out")
    workers = json.loads((tmp_path / "out" / "run.json").read_text())["peak_rss_bytes"]
    assert len(workers) >= 2
    assert _contents(tmp_path / "out") == _contents(study_dir())


def test_equal_rfm__share_score_name_and_segment(study_dir, ledger, tmp_path):
    frame = pd.read_parquet(ledger)
    twins = frame[frame["CustomerID"] < 13_000].copy()
    twins["CustomerID"] += 100_000
    pd.concat([frame, twins]).to_parquet(tmp_path / "twins.parquet", index=False)
    out = study_dir(source=str(tmp_path / "twins.parquet"))
    features = store.open_features(out / "features.zarr")
    values = np.vstack([load.func(*load.args) for load in features.blocks().loads])
    table = pd.DataFrame(values[:, :3], columns=["r", "f", "m"])
    segments = pd.read_parquet(out / "segments.parquet")
    joined = table.join(segments)
    groups = joined.groupby(["r", "f", "m"])[["rfm_code", "rfm_name", "segment_id"]].nunique()
    assert (groups == 1).all(axis=None)
    assert len(groups) < len(joined)


def test_refunds__never_lower_recency(study_dir, ledger):
    frame = pd.read_parquet(ledger)
    bought = frame[(frame["Quantity"] > 0) & (frame["UnitPrice"] > 0)].dropna(subset="CustomerID")
    last = bought.groupby("CustomerID")["InvoiceDate"].max().dt.normalize()
    expected = (pd.Timestamp("2011-12-10") - last).dt.days
    for returns in ("net", "match", "drop", "keep"):
        out = study_dir(returns=returns)
        features = store.open_features(out / "features.zarr")
        ids = store.read_ids(features.path, 0, features.n_rows)
        values = np.vstack([load.func(*load.args) for load in features.blocks().loads])
        recency = pd.Series(values[:, 0], index=ids.astype(float))
        # "match" may take a customer's last sale away; no mode may make recency smaller.
        assert (recency >= expected.reindex(recency.index)).all()
        if returns != "match":
            assert (recency == expected.reindex(recency.index)).all()


def test_files__are_those_of_the_contract(study_dir):
    out = study_dir(render=True)
    assert sorted(path.name for path in out.iterdir()) == [
        "curve.csv",
        "features.zarr",
        "model",
        "profile.parquet",
        "report.html",
        "report.json",
        "run.json",
        "segments.parquet",
    ]
    segments = pd.read_parquet(out / "segments.parquet")
    assert list(segments.columns) == [*COLUMNS, "rfm_code", "rfm_name"]
    assert segments["confidence"].between(0, 1).all()
    assert segments["customer_id"].is_unique
    model_bytes = sum(path.stat().st_size for path in (out / "model").iterdir())
    assert model_bytes <= 1_000_000


def test_report__is_small_offline_and_without_ids(study_dir):
    out = study_dir(render=True)
    page = (out / "report.html").read_text(encoding="utf-8")
    assert len(page.encode()) <= 5_000_000
    told = (out / "report.json").read_text(encoding="utf-8")
    for customer in pd.read_parquet(out / "segments.parquet")["customer_id"]:
        assert f">{customer}<" not in page
        assert f'"{customer}"' not in page
        assert f'"{customer}"' not in told


def test_segments__equal_scores_of_the_saved_model(study_dir):
    out = study_dir()
    features = store.open_features(out / "features.zarr")
    values = np.vstack([load.func(*load.args) for load in features.blocks().loads])
    scored = load_model(out / "model").assign(pd.DataFrame(values, columns=features.names))
    written = pd.read_parquet(out / "segments.parquet")
    for name in ("segment_id", "rfm_code", "rfm_name", "segment_name"):
        assert scored[name].tolist() == written[name].tolist()
    assert (scored["distance"] == written["distance"]).all()
