"""The plan of a study: what metadata and a probe tell, and what cannot fit."""

from __future__ import annotations

import json

import dask
import numpy as np
import pandas as pd
import pytest
import zarr

from daskseg.cli import main
from daskseg.cli.plan import plan_lines
from daskseg.config import Study
from daskseg.engine import memory
from daskseg.errors import InputError, MemoryBudgetError
from daskseg.pipeline import plan as planning
from daskseg.pipeline import run_study
from daskseg.pipeline.models import OWN_NUMBER
from daskseg.pipeline.plan import FIT_PASSES, PASSES, plan_study

STAGES = ("prepare", "choose-k", "fit", "profile", "score", "report")
# What finds its number itself has noise, and no k to choose.
OWN_STAGES = ("prepare", "fit", "noise", "profile", "score", "report")


@pytest.fixture
def fast_probe(monkeypatch):
    """Take the speed of kernels as known."""
    speed = planning.Speed(1e-9, 1e-6, 1e-7, 2.0, 6)
    monkeypatch.setattr(planning, "probe_kernels", lambda n_features, k: speed)


@pytest.fixture
def ledger(tmp_path):
    rng = np.random.default_rng(0)
    n_lines = 4_000
    days = np.datetime64("2024-01-01") + rng.integers(0, 300, n_lines).astype("timedelta64[D]")
    frame = pd.DataFrame({
        "customer_id": rng.integers(0, 300, n_lines).astype(str),
        "order_id": np.arange(n_lines).astype(str),
        "date": days.astype(str),
        "quantity": rng.integers(1, 5, n_lines),
        "unit_price": rng.integers(1, 900, n_lines) / 100,
    })  # fmt: skip
    frame.to_csv(tmp_path / "ledger.csv", index=False)
    return tmp_path / "ledger.csv"


def study_of(source, **sections):
    data = {"source": str(source), **sections.pop("data", {})}
    return Study.from_dict({"data": data, **sections})


@pytest.mark.parametrize("kind", FIT_PASSES)
def test_plan_study__bounds_what_the_study_then_does(fast_probe, ledger, tmp_path, kind):
    study = study_of(ledger, model={"kind": kind, "k_range": [2, 4]})
    with dask.config.set(scheduler="sync"):
        planned = plan_study(study)
        run_study(study, tmp_path / "out")
    run = json.loads((tmp_path / "out" / "run.json").read_text())
    done = {stage["name"]: stage for stage in run["stages"]}
    stages = OWN_STAGES if kind in OWN_NUMBER else STAGES
    assert [stage["name"] for stage in planned["stages"]] == ["features", "store", *stages]
    for stage in planned["stages"]:
        low, high = stage["passes"]
        assert low <= done[stage["name"]]["passes"] <= round(high), stage["name"]
        if stage["name"] != "features":  # its decoded bytes depend on the lengths of texts
            assert done[stage["name"]]["bytes_read"] <= 2 * stage["bytes_read"], stage["name"]
        assert stage["seconds"][0] <= stage["seconds"][1]
    assert planned["rows"] == run["data"]["rows"] == 4_000
    assert planned["rows_are"] == "exact"
    assert planned["customers"][0] <= run["data"]["customers"] <= planned["customers"][1]
    assert planned["passes"][0] <= run["passes"] <= planned["passes"][1]
    assert planned["bytes_read"] == sum(stage["bytes_read"] for stage in planned["stages"])


def test_plan_study__reads_two_pieces_of_a_source(fast_probe, ledger, tmp_path, monkeypatch):
    lines = ledger.read_text().splitlines(keepends=True)
    for part in range(8):
        chosen = lines[1 + 500 * part : 501 + 500 * part]
        (tmp_path / f"part{part}.csv").write_text(lines[0] + "".join(chosen))
    monkeypatch.setattr("daskseg.sources.plan.BLOCK_BYTES", 20_000)
    read = []
    real = planning.read_piece
    monkeypatch.setattr(planning, "read_piece", lambda piece: read.append(piece) or real(piece))
    planned = plan_study(study_of(tmp_path / "part*.csv"))
    assert len(read) == 2
    assert planned["rows_are"] == "about"
    assert planned["rows"] == pytest.approx(4_000, rel=0.05)
    assert planned["probe"]["bytes_read"] < 40_000 * 3
    assert "The number of lines is estimated" in planned["unknown"][0]


def test_plan_study__of_parquet_knows_rows_and_numbers(fast_probe, tmp_path):
    frame = pd.DataFrame(np.zeros((700, 3)), columns=list("abc"))
    frame.insert(0, "id", range(700))
    frame["seen"] = pd.Timestamp("2026-01-01")
    frame.to_parquet(tmp_path / "t.parquet", row_group_size=100)
    study = study_of(tmp_path / "t.parquet", data={"kind": "segment", "id": "id"})
    planned = plan_study(study)
    assert (planned["rows"], planned["rows_are"], planned["customers"]) == (
        700,
        "exact",
        [700, 700],
    )
    assert planned["features"] == 3
    assert [stage["name"] for stage in planned["stages"]] == ["check", "store", *STAGES]
    assert planned["stages"][0]["passes"] == PASSES["table"]


def test_plan_study__of_an_array_reads_one_block(fast_probe, tmp_path):
    path = tmp_path / "x.zarr"
    zarr.create_array(str(path), shape=(900, 6), chunks=(400, 6), dtype="f4")[:] = np.ones((900, 6))
    study = study_of(path, data={"kind": "segment", "id": "row"}, prepare={"pca": 2})
    planned = plan_study(study)
    assert (planned["rows"], planned["features"], planned["rows_are"]) == (900, 6, "exact")
    assert planned["probe"]["bytes_read"] == 2 * 400 * 24
    assert "components" in [stage["name"] for stage in planned["stages"]]


def test_plan_study__refuses_what_cannot_fit(fast_probe, ledger, tmp_path):
    with (
        dask.config.set({"daskseg.memory-limit": memory.resident_bytes() + 2**20}),
        pytest.raises(MemoryBudgetError, match=r"needs .* per process.*daskseg\.memory-limit"),
    ):
        plan_study(study_of(ledger))


def test_plan_study__refuses_frames_that_cannot_fit():
    stage = planning.Stage("features", (2, 2), 0, (0, 0), 3 * 2**30)
    found = memory.Budget(2**30, 2**20, 2, True, "the test")
    with pytest.raises(
        MemoryBudgetError, match=r"'features' needs 3\.00 GiB .* 2 threads.*the test"
    ):
        planning._check_fit([stage], found)


def test_plan_study__refuses_columns_that_are_not_there(fast_probe, tmp_path):
    (tmp_path / "x.csv").write_text("a,b\n1,2\n")
    with pytest.raises(InputError, match="customer_id"):
        plan_study(study_of(tmp_path / "x.csv"))


def test_probe_kernels__times_what_there_is():
    speed = planning.probe_kernels(2, 3)
    assert speed.k == 3
    assert all(0 < value < 60 for value in speed)


def test_plan__prints_a_screen_and_json(fast_probe, ledger, tmp_path, capsys):
    (tmp_path / "study.yaml").write_text(f"data: {{source: {ledger}}}\n")
    assert main(["plan", str(tmp_path / "study.yaml"), "--k", "3", "--json"]) == 0
    out = capsys.readouterr().out
    record = json.loads(out)
    assert record["command"] == "plan"
    assert main(["plan", str(tmp_path / "study.yaml"), "--k", "3"]) == 0
    shown = capsys.readouterr().out
    for words in ("choose-k", "4,000 lines", "at most 4,000 customers", "total", "unknown"):
        assert words in shown
    assert not list(tmp_path.glob("out*"))


def test_plan__exits_with_5_if_it_cannot_fit(fast_probe, ledger, tmp_path, capsys):
    (tmp_path / "study.yaml").write_text(f"data: {{source: {ledger}}}\n")
    with dask.config.set({"daskseg.memory-limit": "1 MiB"}):
        assert main(["plan", str(tmp_path / "study.yaml")]) == 5
    captured = capsys.readouterr()
    assert "daskseg.memory-limit" in captured.err
    assert captured.out == ""


def test_plan_lines__says_what_limits_the_memory(fast_probe, ledger):
    record = plan_study(study_of(ledger))
    limited = {**record["memory"], "limit_bytes": 2 * 10**9, "origin": "the test"}
    shown = "\n".join(plan_lines({**record, "memory": {**limited, "processes": 2}}))
    assert "of 2 GB (the test)" in shown
    assert "in each of 2 processes" in shown
    unlimited = {**limited, "limit_bytes": None, "processes": 1}
    assert "no limit is known" in "\n".join(plan_lines({**record, "memory": unlimited}))
