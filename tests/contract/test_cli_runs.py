"""The command line end to end, on data small enough for every commit."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from daskseg.cli import main

FILES = {
    "report.html",
    "report.json",
    "segments.parquet",
    "profile.parquet",
    "curve.csv",
    "features.zarr",
    "model",
    "run.json",
}
SNAPSHOT = "2026-01-01"


def write_ledger(path: Path) -> Path:
    """Write 150 customers of three kinds: many recent orders, few recent ones, few old ones."""
    rng = np.random.default_rng(7)
    rows = []
    for customer in range(150):
        orders, first, last, price = [(9, 1, 60, 30.0), (2, 1, 90, 8.0), (2, 200, 350, 15.0)][
            customer % 3
        ]
        for order in range(orders):
            day = pd.Timestamp(SNAPSHOT) - pd.Timedelta(days=int(rng.integers(first, last)))
            for line in range(2):
                amount = round(price * rng.uniform(0.5, 2.0), 2)
                rows.append(
                    (f"{customer:05d}", f"{customer}-{order}", day, line + 1, amount, f"P{line}")
                )
        if customer % 10 == 0:
            rows.append((f"{customer:05d}", f"C{customer}", day, -1, amount, "P1"))
    rows += [("", f"X{n}", pd.Timestamp("2025-06-01"), 1, 5.25, "P1") for n in range(40)]
    names = ["CustomerID", "InvoiceNo", "InvoiceDate", "Quantity", "UnitPrice", "StockCode"]
    pd.DataFrame(rows, columns=names).to_csv(path, index=False)
    return path


def write_table(path: Path) -> Path:
    rng = np.random.default_rng(3)
    group = np.arange(240) % 3
    frame = pd.DataFrame({
        "user": [f"u{n:04d}" for n in range(240)],
        "visits": rng.poisson(np.array([2, 12, 30])[group]) + 1,
        "minutes": rng.gamma(np.array([2.0, 10.0, 4.0])[group], 3.0),
        "revenue": rng.gamma(np.array([1.0, 3.0, 20.0])[group], 5.0),
        "age": rng.integers(18, 80, 240),
    })  # fmt: skip
    frame.loc[5, "minutes"] = np.nan
    frame.to_csv(path, index=False)
    return path


@pytest.fixture(scope="module")
def shop(tmp_path_factory) -> Path:
    """Give a folder with a ledger and one finished study of it in `out`."""
    folder = tmp_path_factory.mktemp("shop")
    ledger = write_ledger(folder / "ledger.csv")
    options = ["--snapshot", SNAPSHOT, "--k-range", "2:5", "--currency", "GBP", "--quiet"]
    assert main(["rfm", str(ledger), "--out", str(folder / "out"), *options]) == 0
    return folder


def digests(study: Path) -> dict[str, str]:
    """Return a hash of every file that must not depend on how a study was run."""
    paths = [study / "segments.parquet", study / "curve.csv", *sorted(study.glob("model/*.npy"))]
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}


def test_rfm__writes_the_whole_directory(shop):
    assert {path.name for path in (shop / "out").iterdir()} == FILES
    assert [path.name for path in shop.iterdir() if path.name.startswith(".")] == []
    record = json.loads((shop / "out" / "report.json").read_text())
    run = json.loads((shop / "out" / "run.json").read_text())
    assert record["data"]["customers"] == 150
    assert record["run"]["run_id"] == run["run_id"]
    assert run["study"]["data"]["snapshot"] == SNAPSHOT
    segments = pd.read_parquet(shop / "out" / "segments.parquet")
    assert len(segments) == 150
    assert segments["customer_id"].str.fullmatch(r"\d{5}").all()
    # A heading, one segment to compare with, and what was tried.
    assert len((shop / "out" / "curve.csv").read_text().splitlines()) == 1 + 1 + 4


def test_rfm__tells_the_same_on_screen_as_json_and_in_the_report(shop, tmp_path):
    out = tmp_path / "again"
    command = [sys.executable, "-m", "daskseg", "rfm", str(shop / "ledger.csv"), "--out", str(out)]
    options = ["--snapshot", SNAPSHOT, "--k-range", "2:5", "--currency", "GBP", "--json"]
    answer = subprocess.run([*command, *options], check=True, capture_output=True, text=True)
    assert answer.stdout.count("\n") == 1
    told = json.loads(answer.stdout)
    written = json.loads((out / "report.json").read_text())
    assert told["run_id"] == written["run"]["run_id"]
    assert told["k"] == len(told["segments"]) == len(written["segments"])
    assert told["files"]["report.html"] == (out / "report.html").stat().st_size
    for line in answer.stderr.splitlines()[:2]:
        assert line.startswith("stage=")
    assert written["verdict"]["headline"] in answer.stderr.replace("\xa0", " ") or (
        written["verdict"]["headline"].replace("\xa0", " ") in answer.stderr
    )
    assert f"next: open {out}/report.html" in answer.stderr
    assert "Warning" not in answer.stderr
    assert digests(out) == digests(shop / "out")


def test_run__gives_the_bytes_of_rfm(shop, tmp_path):
    (tmp_path / "study.yaml").write_text(
        f"project: {{currency: GBP}}\n"
        f"data: {{source: {shop}/ledger.csv, snapshot: {SNAPSHOT}, partitions: 3}}\n"
        f"model: {{k_range: [2, 5]}}\n"
    )
    command = ["run", str(tmp_path / "study.yaml"), "--out", str(tmp_path / "out"), "--quiet"]
    assert main(command) == 0
    assert digests(tmp_path / "out") == digests(shop / "out")
    first, second = (
        json.loads((folder / "out" / "run.json").read_text())["run_id"]
        for folder in (shop, tmp_path)
    )
    assert first == second


def test_run__repeats_a_study_from_its_run_json(shop, tmp_path, capsys):
    limits = ["--max-share", "0.45", "--min-customers", "25", "--k-range", "2:6"]
    ledger = [str(shop / "ledger.csv"), "--snapshot", SNAPSHOT, "--quiet"]
    assert main(["rfm", *ledger, *limits, "--out", str(tmp_path / "first")]) == 0
    written = tmp_path / "first" / "run.json"
    assert json.loads(written.read_text())["study"]["model"]["min_customers"] == 25
    assert main(["run", str(written), "--out", str(tmp_path / "again"), "--quiet"]) == 0
    assert digests(tmp_path / "again") == digests(tmp_path / "first")
    record = json.loads((tmp_path / "first" / "report.json").read_text())
    assert "one would hold fewer than 25 customers" in " ".join(record["choice"]["reasons"])
    assert main(["check", str(written), "--quiet", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["customers"] == 150


def test_rfm__refuses_a_limit_that_excludes_every_number(shop, tmp_path, capsys):
    command = ["rfm", str(shop / "ledger.csv"), "--snapshot", SNAPSHOT, "--quiet"]
    assert main([*command, "--min-customers", "80", "--out", str(tmp_path / "out")]) == 2
    told = capsys.readouterr().err
    assert "min_customers=80 excludes every number of segments: 150 customers in 2" in told
    assert "at most 75" in told
    assert not (tmp_path / "out").exists()


def test_rfm__replaces_its_own_and_spares_others(shop, tmp_path, capsys):
    command = ["rfm", str(shop / "ledger.csv"), "--k", "2", "--snapshot", SNAPSHOT, "--quiet"]
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter.txt").write_text("precious")
    assert main([*command, "--out", str(tmp_path / "thesis")]) == 2
    assert "--force" in capsys.readouterr().err
    assert (tmp_path / "thesis" / "chapter.txt").read_text() == "precious"
    assert main([*command, "--out", str(tmp_path / "out")]) == 0
    assert main([*command, "--out", str(tmp_path / "out"), "--seed", "1"]) == 0
    assert json.loads((tmp_path / "out" / "run.json").read_text())["seed"] == 1
    assert main([*command, "--out", str(tmp_path / "thesis"), "--force"]) == 0
    assert {path.name for path in (tmp_path / "thesis").iterdir()} == FILES


def test_check__accounts_for_all_money_and_writes_nothing(shop, capsys):
    before = sorted(shop.rglob("*"))
    options = ["--snapshot", SNAPSHOT, "--quiet"]
    assert main(["check", str(shop / "ledger.csv"), "--json", *options]) == 0
    record = json.loads(capsys.readouterr().out)
    frame = pd.read_csv(shop / "ledger.csv")
    assert record["rows"] == len(frame)
    assert record["customers"] == 150
    assert record["columns"]["customer_id"] == "CustomerID"
    assert record["money"] == pytest.approx((frame["Quantity"] * frame["UnitPrice"]).sum())
    steps = {step["step"]: step for step in record["waterfall"]}
    assert steps["no_customer_id"]["rows"] == 40
    assert steps["returns"]["rows"] == 15
    assert main(["check", str(shop / "ledger.csv"), *options]) == 0
    screen = capsys.readouterr().out
    assert "customer_id ← CustomerID" in screen
    assert sorted(shop.rglob("*")) == before


def test_assign__gives_the_segments_of_the_study(shop, tmp_path, capsys):
    out = tmp_path / "assigned.parquet"
    command = ["assign", str(shop / "out"), str(shop / "ledger.csv"), "--out", str(out)]
    assert main([*command, "--snapshot", SNAPSHOT, "--json", "--quiet"]) == 0
    told = json.loads(capsys.readouterr().out)
    assigned = pd.read_parquet(out)
    study = pd.read_parquet(shop / "out" / "segments.parquet")
    pd.testing.assert_series_equal(assigned["customer_id"], study["customer_id"])
    pd.testing.assert_series_equal(assigned["segment_id"], study["segment_id"])
    counts = study["segment_id"].value_counts().to_dict()
    assert {name: one["customers"] for name, one in told["segments"].items()} == counts
    assert main([*command, "--snapshot", SNAPSHOT, "--quiet"]) == 2
    assert "--force" in capsys.readouterr().err
    assert main([*command, "--force", "--quiet"]) == 2
    assert "--snapshot DATE" in capsys.readouterr().err
    assert main([*command, "--force", "--snapshot", "2026-02-01"]) == 0
    assert f" wrote {out} (" in capsys.readouterr().err


def test_assign__warns_of_a_ledger_that_begins_too_late(shop, tmp_path, capsys):
    ledger = pd.read_csv(shop / "ledger.csv", dtype=str)
    for since, n_notices in (("2000-01-01", 0), ("2025-11-15", 1)):
        ledger[ledger["InvoiceDate"] >= since].to_csv(tmp_path / "part.csv", index=False)
        command = ["assign", str(shop / "out"), str(tmp_path / "part.csv"), "--json", "--quiet"]
        options = ["--out", str(tmp_path / "a.parquet"), "--snapshot", SNAPSHOT, "--force"]
        assert main([*command, *options]) == 0
        notices = json.loads(capsys.readouterr().out)["notices"]
        assert len([words for words in notices if "the whole ledger" in words]) == n_notices


def test_inspect__describes_the_model(shop, capsys):
    assert main(["inspect", str(shop / "out" / "model"), "--json"]) == 0
    record = json.loads(capsys.readouterr().out)
    assert record["snapshot"] == SNAPSHOT
    active = [one["name"] for one in record["features"] if one["role"] == "active"]
    assert active == ["recency_days", "n_orders", "spend_net"]
    assert main(["inspect", str(shop / "out")]) == 0
    screen = capsys.readouterr().out
    for words in ("recency_days", "S1 ", "cut points", "versions", "rfm11"):
        assert words in screen


def test_inspect__refuses_what_is_no_model(tmp_path, capsys):
    assert main(["inspect", str(tmp_path)]) == 6
    assert "is not a daskseg model" in capsys.readouterr().err


def test_segment__studies_a_table(tmp_path, capsys):
    table = write_table(tmp_path / "users.csv")
    options = ["--id", "user", "--value", "revenue", "--passive", "age"]
    assert main(["check", str(table), *options, "--quiet"]) == 0
    assert "minutes" in capsys.readouterr().out
    out = tmp_path / "out"
    more = ["--k", "3", "--out", str(out), "--json"]
    assert main(["segment", str(table), *options, *more]) == 0
    told, screen = capsys.readouterr()
    record = json.loads(told)
    assert record["k"] == 3
    assert [one["fit"] for one in record["segments"]] == [None] * 3
    assert "of revenue" in screen
    assert len(pd.read_parquet(out / "segments.parquet")) == 240
    command = ["assign", str(out), str(table), "--out", str(tmp_path / "a.parquet"), "--quiet"]
    assert main(command) == 0
    pd.testing.assert_series_equal(
        pd.read_parquet(tmp_path / "a.parquet")["segment_id"],
        pd.read_parquet(out / "segments.parquet")["segment_id"],
    )


def test_check__tells_in_one_notice_which_columns_are_text(tmp_path, capsys):
    frame = pd.read_csv(write_table(tmp_path / "users.csv"))
    frame.assign(city="Rome", churn="Yes").to_csv(tmp_path / "more.csv", index=False)
    assert main(["check", str(tmp_path / "more.csv"), "--id", "user", "--json", "--quiet"]) == 0
    notices = json.loads(capsys.readouterr().out)["notices"]
    told = [words for words in notices if "text" in words]
    assert len(told) == 1
    assert told[0].startswith("2 columns are text and take no part in this study: city, churn.")


def test_errors__of_the_data_name_file_and_cure(shop, tmp_path, capsys):
    broken = tmp_path / "broken.csv"
    broken.write_text("Who,When\na,2025-01-01\n")
    out = str(tmp_path / "out")
    assert main(["rfm", str(broken), "--out", out, "--quiet"]) in (2, 4)
    assert "--column" in capsys.readouterr().err
    assert main(["rfm", str(tmp_path / "none.csv"), "--out", out, "--quiet"]) in (2, 4)
    assert "none.csv" in capsys.readouterr().err
    text = (shop / "ledger.csv").read_text().replace("2025-06-01", "first of June")
    broken.write_text(text)
    assert main(["rfm", str(broken), "--out", out, "--quiet"]) == 4
    assert "first of June" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["broken.csv"]


def test_demo__runs_from_nothing_to_a_report(tmp_path, capsys):
    out = tmp_path / "demo"
    assert main(["demo", "retail", "--out", str(out), "--rows", "3000"]) == 0
    assert {path.name for path in (out / "study").iterdir()} == FILES
    truth = pd.read_parquet(out / "data" / "truth.parquet")
    segments = pd.read_parquet(out / "study" / "segments.parquet")
    assert set(segments["customer_id"]) <= set(truth["customer_id"])
    assert capsys.readouterr().out == ""
