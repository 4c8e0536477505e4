"""The benchmarks run at tiny sizes, and their sets and counters are what they say."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import zarr

from benchmarks import instruments, processes, quality, real, records, references, sets, stores
from benchmarks.compare import engines, kmeans
from benchmarks.scale import run as scale

ROOT = Path(__file__).resolve().parents[2]


def run_module(name, *options):
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", f"benchmarks.{name}", *map(str, options)]
    return subprocess.run(command, capture_output=True, check=False, cwd=ROOT, env=env, text=True)


# ── sets ─────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize("name", sorted(sets.SPECS))
def test_make__has_the_shape_of_the_set(name):
    spec = sets.SPECS[name]
    rows, labels = sets.make(name, 3_000, seed=1)
    assert rows.shape == (3_000, spec.n_features)
    assert rows.dtype == np.float32
    assert np.isfinite(rows).all()
    planted = 0 if name == "smooth" else spec.n_clusters
    assert len(np.unique(labels[labels >= 0])) == planted


@pytest.mark.parametrize("name", ["audience", "blobs", "smooth"])
def test_blocks__do_not_depend_on_how_many_follow(name, monkeypatch):
    monkeypatch.setattr(sets, "BLOCK_ROWS", 500)
    short, long = sets.make(name, 1_000, seed=2).rows, sets.make(name, 2_000, seed=2).rows
    np.testing.assert_array_equal(short, long[:1_000])


def test_read__takes_numeric_columns_without_the_answer(tmp_path):
    frame = pd.DataFrame({"count": [1, 2], "service": ["a", "b"], "rate": [0.5, 1.5]})
    path = tmp_path / real.TABLES["kddcup99"].path
    path.parent.mkdir()
    frame.assign(label=[7, 8]).to_parquet(path)
    np.testing.assert_array_equal(real.read("kddcup99", tmp_path), [[1.0, 0.5], [2.0, 1.5]])


def test_read__names_what_is_missing(tmp_path, monkeypatch):
    monkeypatch.delenv(real.VARIABLE, raising=False)
    with pytest.raises(real.MissingTable, match="set DASKSEG_BENCH_DATA or give --data"):
        real.read("skin")
    with pytest.raises(real.MissingTable, match=r"skin_segmentation\.parquet is not there"):
        real.read("skin", tmp_path)


def test_read__prepares_the_customers_of_the_ledger():
    rows = real.read("retail-5")
    assert rows.shape == (4_338, 3)
    np.testing.assert_allclose(rows.mean(axis=0), 0.0, atol=1e-9)
    np.testing.assert_allclose(rows.std(axis=0), 1.0, rtol=1e-3)


# ── stores ───────────────────────────────────────────────────────────────────
def test_write__cuts_the_rows_of_the_set_into_chunks(tmp_path, monkeypatch):
    monkeypatch.setattr(sets, "BLOCK_ROWS", 700)
    written = stores.write(tmp_path / "rows", "blobs", n_rows=4_000, seed=3)
    rows, labels = sets.make("blobs", 4_000, seed=3)
    array = zarr.open_array(str(tmp_path / "rows"))
    np.testing.assert_array_equal(array[:], rows)
    assert (array.chunks, array.nchunks) == ((256, 20), 16)
    for label in range(20):
        found = rows[labels == label].mean(axis=0)
        np.testing.assert_allclose(written.planted[label], found, rtol=1e-4)
    assert written.energy == pytest.approx(stores.energy_of(rows))
    facts = written.facts()
    assert (facts["set"], facts["n_rows"], facts["k"], facts["n_chunks"]) == (
        "blobs",
        4_000,
        20,
        16,
    )
    assert 0 < facts["disk_bytes"] < 1.1 * facts["data_bytes"]


def test_write__draws_what_the_set_is_whatever_the_chunks(tmp_path):
    for name, chunk_bytes in (("a", 2**20), ("b", 300 * 40)):
        stores.write(tmp_path / name, "smooth", n_rows=5_100, chunk_bytes=chunk_bytes)
    one, other = (zarr.open_array(str(tmp_path / name)) for name in "ab")
    assert one.chunks != other.chunks
    np.testing.assert_array_equal(one[:], other[:])


def test_chunk_rows__by_hand():
    # 16 MiB of 80 bytes are 209,715 rows; an eighth of 10,000 rows is 1,250.
    assert stores.chunk_rows(5_000_000, 80) == 209_664
    assert stores.chunk_rows(10_000, 80) == 1_024
    assert stores.chunk_rows(100, 80) == 100


def test_energy_of__by_hand():
    # 1 + 4 * 2 + 9 * 3 from the first row, 1 * 7 + 4 * 1 + 9 * 2 from the seventh.
    assert stores.energy_of(np.array([[1.0], [2.0], [3.0]])) == 36.0
    assert stores.energy_of(np.array([[1.0], [2.0], [3.0]]), 6) == 29.0


def test_sse_of__by_hand(tmp_path):
    array = zarr.create_array(store=str(tmp_path / "rows"), shape=(4, 1), chunks=(2, 1), dtype="f4")
    array[:] = [[0.0], [2.0], [10.0], [13.0]]
    # Centres 1 and 11: 1 + 1 + 1 + 4.
    assert stores.sse_of(tmp_path / "rows", np.array([[1.0], [11.0]])) == 7.0


# ── counters ─────────────────────────────────────────────────────────────────
def test_counting_reads__counts_by_share_and_one_store_only(tmp_path):
    for name in ("a", "b"):
        array = zarr.create_array(
            store=str(tmp_path / name), shape=(10, 4), chunks=(4, 3), dtype="f4"
        )
        array[:] = 1.0
    with instruments.counting_reads(tmp_path / "a") as reads:
        found = zarr.open_array(str(tmp_path / "a"))
        found[:]
        # The last two rows of the first three columns: 6 of 40 values.
        found[8:, :3]
        zarr.open_array(str(tmp_path / "b"))[:]
    assert reads.passes == pytest.approx(1 + 6 / 40)


def test_fit_once__counts_what_the_estimator_says(tmp_path):
    written = stores.write(tmp_path / "rows.zarr", "blobs", n_rows=110_000)
    for estimator in quality.MOST:
        with instruments.timing_passes() as clock:
            found = quality.fit_once(written, estimator, 0)
        assert found["passes"] == pytest.approx(found["passes_counted"])
        assert clock.n_passes == pytest.approx(found["passes"])
        assert clock.n_rows == pytest.approx(found["epochs"] * 110_000)
        assert 1 < found["epochs"] <= found["passes"]
        assert 0 < clock.wall_s <= found["wall_s"]
        assert found["sse_reported"] == pytest.approx(found["sse"], rel=1e-6)


# ── processes ────────────────────────────────────────────────────────────────
@pytest.mark.parametrize(
    ("code", "status"),
    [
        ("print('noise'); print('{\"a\": 1}')", "ok"),
        ("raise ValueError('no rows')", "failed: ValueError: no rows"),
        ("import os; os.kill(os.getpid(), 9)", "killed by signal 9"),
        ("import time; time.sleep(600)", "stopped after 1 s"),
    ],
)
def test_run__says_how_a_process_ended(code, status):
    found = processes.run([sys.executable, "-c", code], ROOT, 20 if "sleep" not in code else 1)
    assert found["status"] == status
    assert ("a" in found) == (status == "ok")


def test_run__knows_how_long_a_stopped_job_had_run():
    code = "import time; print(f'the clock started at {time.time() - 100}', flush=True)"
    found = processes.run([sys.executable, "-c", f"{code}; time.sleep(600)"], ROOT, 2)
    assert found["status"] == "stopped after 2 s"
    assert 100 < found["wall_at_least_s"] < 600


# ── records ──────────────────────────────────────────────────────────────────
def test_improve__keeps_the_lowest_cost_of_the_same_rows(tmp_path):
    path = tmp_path / "best.json"
    written = stores.write(tmp_path / "rows", "smooth", n_rows=1_000)
    assert records.best_known(written, path) is None
    assert records.improve(written, {"a": 5.0, "b": 4.0}, path)["by"] == "b"
    assert records.improve(written, {"c": 4.5}, path)["sse"] == 4.0
    assert records.improve(written, {"c": 3.0}, path)["by"] == "c"
    other = stores.Written(written.path, written.case, written.planted, 2 * written.energy)
    assert records.best_known(other, path) is None
    assert records.improve(other, {"d": 9.0}, path)["sse"] == 9.0


def test_append__adds_lines(tmp_path):
    for number in range(2):
        records.append(tmp_path / "a" / "b.jsonl", {"n": number})
    assert records.read(tmp_path / "a" / "b.jsonl") == [{"n": 0}, {"n": 1}]
    assert records.read(tmp_path / "none.jsonl") == []


def test_table__is_markdown():
    assert records.table(("a", "bb"), [("xyz", "1")]) == (
        "| a   | bb |\n| --- | -: |\n| xyz |  1 |"
    )


def test_reference__is_computed_once(tmp_path):
    path = tmp_path / "references.jsonl"
    written = stores.write(tmp_path / "rows", "blobs", n_rows=1_000)
    first = references.reference(written, path, restarts=2)
    assert references.reference(written, path, restarts=1) == first
    assert len(records.read(path)) == 1
    assert first["planted_sse"] <= first["restarts_sse"] * (1 + 1e-9)
    references.reference(written, path, restarts=3)
    assert len(records.read(path)) == 2


# ── verdicts ─────────────────────────────────────────────────────────────────
def a_fit(sse, passes=2.0, counted=2.0, reported=None):
    return {
        "sse": sse,
        "sse_reported": sse if reported is None else reported,
        "passes": passes,
        "passes_counted": counted,
        "epochs": passes,
        "stopped_by": "fixpoint",
        "wall_s": 1.0,
    }


def a_record(fits, **changes):
    many = len(fits)
    record = {"estimator": "KMeans", "set": "blobs", "n_rows": 10_000, "fits": fits}
    record |= {"best_sse": [100.0] * many, "restarts_sse": [101.0] * many}
    return {**record, **changes}


def test_judge__by_hand():
    good = quality.judge(a_record([a_fit(100.0)] * 19 + [a_fit(100.5)]))
    assert good["close_share"] == 0.95
    assert good["excess_worst"] == pytest.approx(0.005)
    assert all(good["kept"].values())
    bad = quality.judge(
        a_record(
            [a_fit(100.0, 5.5, 5.0), a_fit(101.1, reported=100.0)],
        )
    )
    assert not any(bad["kept"].values())


def test_judge__bounds_gauss_and_minibatches():
    gauss = a_record([a_fit(15.2e4)], set="gauss-10", best_sse=[15.2e4], restarts_sse=[16e4])
    assert quality.judge(gauss)["kept"]["gauss_10"] is False
    batches = quality.judge(a_record([a_fit(100.9)], estimator="MiniBatchKMeans"))
    assert all(batches["kept"].values())
    longer = quality.judge(a_record([a_fit(100.9, 2.1, 2.1)], estimator="MiniBatchKMeans"))
    assert longer["kept"]["epochs"] is False
    assert "restarts" not in batches["kept"]


def test_rows_for__takes_the_largest_that_fits():
    # 50 columns of four bytes are 200 bytes.
    assert scale.rows_for("audience-50", 2_000, 10_000) == (10, "")
    n_rows, remark = scale.rows_for("audience-50", 20_000, 2_300)
    assert n_rows == 10
    assert "were wanted" in remark


def test_add_ratios__by_hand():
    results = {
        "bare-read": {"wall_s": 1.0},
        "daskseg": {"wall_s": 4.0, "passes": 2.0, "passes_s": 3.0, "sse": 10.0},
        "sklearn": {"wall_s": 8.0, "sse": 11.0},
        "dask-ml": {"status": "stopped after 90 s", "wall_at_least_s": 80.0},
        "spark": {"status": "skipped"},
    }
    kmeans.add_ratios(results, 8.0)
    assert results["dask-ml"]["time_ratio_at_least"] == 20.0
    assert results["daskseg"]["pass_ratio"] == 1.5
    assert results["daskseg"]["excess"] == 0.25
    assert results["sklearn"]["time_ratio"] == 2.0
    assert results["sklearn"]["sse_ratio"] == 1.1
    assert results["spark"] == {"status": "skipped"}


def test_run_rounds__alternates_and_takes_the_median(tmp_path, monkeypatch):
    answers = {
        "daskseg": [("ok", 3.0), ("ok", 1.0), ("ok", 2.0)],
        "dask-ml": [("ok", 99.0)],
        "spark": [("failed: x", None)],
    }
    calls = []

    def run_engine(name, *_):
        status, wall_s = answers[name][calls.count(name)]
        calls.append(name)
        return {"status": status} | (
            {} if wall_s is None else {"wall_s": wall_s, "peak_rss_bytes": 1}
        )

    monkeypatch.setattr(kmeans, "_run_engine", run_engine)
    monkeypatch.setattr(engines, "why_absent", lambda name: "skipped: x" if name == "faiss" else "")
    written = stores.write(tmp_path / "rows", "blobs", n_rows=300)
    arguments = kmeans._parser().parse_args([])
    found = kmeans.run_rounds([*answers, "faiss"], written, arguments, float("inf"))
    assert calls == ["daskseg", "dask-ml", "spark", "daskseg", "daskseg"]
    assert found["daskseg"]["wall_s"] == 2.0
    assert found["daskseg"]["walls_s"] == [3.0, 1.0, 2.0]
    assert found["spark"] == {"status": "failed: x"}
    assert found["faiss"] == {"status": "skipped: x"}


def test_run_rounds__stops_when_time_is_up(tmp_path):
    written = stores.write(tmp_path / "rows", "blobs", n_rows=300)
    found = kmeans.run_rounds(["sklearn"], written, kmeans._parser().parse_args([]), 0.0)
    assert found == {"sklearn": {"status": "skipped: the time of this run was up"}}


def test_why_absent__names_what_is_missing(monkeypatch):
    monkeypatch.setitem(engines.ENGINES, "x", engines.Engine(engines.spark, "no_such.module"))
    assert engines.why_absent("x") == "skipped: no_such.module is not installed"
    monkeypatch.setitem(engines.ENGINES, "x", engines.Engine(engines.spark, "zarr", "no-such-java"))
    assert engines.why_absent("x") == "skipped: no-such-java was not found"
    assert engines.why_absent("sklearn") == ""


# ── whole runs ───────────────────────────────────────────────────────────────
def test_compare__appends_one_line_with_cost_beside_time(tmp_path):
    results = tmp_path / "results" / "kmeans.jsonl"
    options = ["--set", "blobs,skin", "--rows", "4e3", "--repeats", "1", "--results", results]
    options += ["--best-known", tmp_path / "best.json", "--data", tmp_path]
    done = run_module("compare.kmeans", *options, "--methods", "bare-read,daskseg,sklearn")
    assert done.returncode == 0, done.stderr
    assert "| daskseg" in done.stdout
    assert "skin: skipped" in done.stdout
    (line,) = records.read(results)
    methods = line["methods"]
    assert {name: found["status"] for name, found in methods.items()} == {
        "bare-read": "ok",
        "daskseg": "ok",
        "sklearn": "ok",
    }
    assert methods["daskseg"]["time_ratio"] == 1.0
    assert min(methods[name]["sse_ratio"] for name in ("daskseg", "sklearn")) == 1.0
    own = methods["daskseg"]
    assert own["passes"] == pytest.approx(own["passes_counted"]) == 2.0
    assert len(methods["sklearn"]["walls_s"]) == 1
    assert line["machine"]["cores"] == os.cpu_count()
    assert line["date"]
    best = json.loads((tmp_path / "best.json").read_text(encoding="utf-8"))
    assert best["blobs n=4000 k=20 seed=0 float32"]["sse"] == line["best_known_sse"]


def test_compare__names_unknown_engines_and_sets():
    done = run_module("compare.kmeans", "--methods", "daskseg,magic")
    assert done.returncode == 2
    assert "unknown: magic" in done.stderr


def test_sweep__counts_passes_and_marks_what_is_interpolated(tmp_path):
    results = tmp_path / "sweep.jsonl"
    options = ["--set", "blobs", "--rows", "3e3", "--k", "2:4", "--measured", "2,4"]
    ways = ["--ways", "one fit,sweep,scikit-learn loop", "--repeats", "1", "--results", results]
    done = run_module("compare.sweep", *options, *ways)
    assert done.returncode == 0, done.stderr
    (line,) = records.read(results)
    assert {name: one["status"] for name, one in line["ways"].items()} == dict.fromkeys(
        ["one fit", "sweep", "scikit-learn loop"], "ok"
    )
    own = line["ways"]["sweep"]
    assert own["time_ratio"] == 1.0
    assert own["passes"] == pytest.approx(own["passes_counted"])
    assert "silhouette" in own["columns"]
    assert sorted(line["ways"]["scikit-learn loop"]["inertias"]) == ["2", "3", "4"]
    assert "scikit-learn loop" in done.stdout


def test_dbscan__compares_the_label_of_every_row(tmp_path):
    results = tmp_path / "dbscan.jsonl"
    options = ["--case", "same", "--set", "moons,skin_segmentation", "--rows", "5e4"]
    options += ["--data", tmp_path]
    done = run_module("compare.dbscan", *options, "--results", results, "--scratch", tmp_path)
    assert done.returncode == 0, done.stderr
    assert "skin_segmentation: not there, left out" in done.stderr
    (line,) = records.read(results)
    assert set(line["ways"]) == {"scikit-learn", "daskseg", "daskseg boxes"}
    for one in line["ways"].values():
        assert (one["status"], one["labels_differ"], one["core_differ"]) == ("ok", 0, 0)
    assert 0 < line["ways"]["daskseg boxes"]["halo_share"] < 1
    assert "| moons" in done.stdout


@pytest.mark.cluster
def test_dbscan__watches_the_workers(tmp_path):
    results = tmp_path / "dbscan.jsonl"
    options = ["--case", "limit", "--limit-rows", "6e4", "--eps", "0.4"]
    done = run_module("compare.dbscan", *options, "--results", results, "--scratch", tmp_path)
    assert done.returncode == 0, done.stderr
    (line,) = records.read(results)
    assert (line["run"]["status"], line["run"]["restarts"]) == ("ok", 0)
    assert line["run"]["largest"][2] > 10_000
    assert "bars, 60,000 x 3: ok" in done.stdout


def test_hdbscan__compares_labels_of_landmarks_and_of_all_rows(tmp_path):
    results = tmp_path / "hdbscan.jsonl"
    options = ["--case", "same", "--set", "moons", "--rows", "3e3", "--landmarks", "1e3"]
    done = run_module("compare.hdbscan", *options, "--results", results, "--scratch", tmp_path)
    assert done.returncode == 0, done.stderr
    (line,) = records.read(results)
    assert line["ari"] > 0.9
    assert line["ari_without_noise"] > 0.99
    assert line["predict_differs"] == 0
    assert "| moons" in done.stdout


@pytest.mark.cluster
def test_hdbscan__watches_the_workers(tmp_path):
    results = tmp_path / "hdbscan.jsonl"
    options = ["--case", "limit", "--limit-set", "bars", "--limit-rows", "6e4"]
    done = run_module("compare.hdbscan", *options, "--results", results, "--scratch", tmp_path)
    assert done.returncode == 0, done.stderr
    (line,) = records.read(results)
    assert (line["run"]["n_clusters"], line["run"]["restarts"]) == (3, 0)
    assert line["run"]["without_cluster"] == 0
    assert "60,000 x 3: ok" in done.stdout


@pytest.mark.parametrize("vary", ["fit", "data"])
def test_quality__appends_a_line_per_set(tmp_path, vary, capsys):
    parser = quality._parser()
    options = ["--set", "blobs,skin", "--rows", "2e3", "--seeds", "2", "--restarts", "2"]
    options += ["--vary", vary, "--results", str(tmp_path / "quality.jsonl")]
    options += ["--references", str(tmp_path / "references.jsonl")]
    options += ["--best-known", str(tmp_path / "best.json"), "--data", str(tmp_path)]
    (record,) = quality.run(parser.parse_args(options))
    assert "skin: skipped" in capsys.readouterr().err
    assert record == records.read(tmp_path / "quality.jsonl")[0]
    assert len(record["fits"]) == len(record["best_sse"]) == 2
    assert (record["best_sse"][0] == record["best_sse"][1]) == (vary == "fit")
    assert record["excess_worst"] >= 0
    assert all(record["kept"].values())
    assert len(quality.row_of(record)) == len(quality.HEAD)


@pytest.mark.cluster
def test_scale__watches_the_workers(tmp_path):
    results = tmp_path / "scale.jsonl"
    options = ["--case", "limit", "--bytes", "2 MB", "--workers", "1", "--page-cache", "as-is"]
    done = run_module("scale.run", *options, "--results", results, "--scratch", tmp_path)
    assert done.returncode == 0, done.stderr
    (record,) = records.read(results)
    (found,) = record["runs"]
    assert found["status"] == "ok"
    assert record["kept"] == {"peak": True, "spill": True, "restarts": True}
    assert 2**26 < found["worker_peak_bytes"][0] < 2**30
    assert found["page_cache"] == "warm"
    assert "limit: audience-50, 10,000 x 50" in done.stdout


def test_summarise__prints_the_committed_results():
    done = run_module("summarise")
    assert done.returncode == 0, done.stderr
    assert "| daskseg" in done.stdout


def test_mixture__sets_likelihoods_side_by_side(tmp_path):
    results = tmp_path / "mixture.jsonl"
    options = ["--case", "quality", "--set", "normals", "--quality-rows", "2e3"]
    done = run_module("compare.mixture", *options, "--results", results, "--scratch", tmp_path)
    assert done.returncode == 0, done.stderr
    (line,) = records.read(results)
    own, other = line["ways"]["daskseg"], line["ways"]["scikit-learn best of 10"]
    assert own["status"] == other["status"] == "ok"
    assert own["passes"] == pytest.approx(own["passes_counted"])
    assert own["log_density"] >= other["log_density"] - 1e-3
    assert "scikit-learn best of 10" in done.stdout


def test_maps__draws_digits_and_watches_the_workers(tmp_path):
    pytest.importorskip("openTSNE")
    results = tmp_path / "maps.jsonl"
    options = ["--way", "daskseg TSNE", "--set", "blobs", "--rows", "3e4"]
    done = run_module("compare.maps", *options, "--results", results, "--scratch", tmp_path)
    assert done.returncode == 0, done.stderr
    digits, limit = (line["run"] for line in records.read(results))
    assert digits["trustworthiness"] > 0.95
    assert (limit["status"], limit["n_drawn"], limit["restarts"]) == ("ok", 30_000, 0)
    assert "daskseg TSNE" in done.stdout


def test_mixed__finds_planted_groups(tmp_path):
    results = tmp_path / "mixed.jsonl"
    options = ["--set", "both tell,categories tell", "--rows", "400", "--seeds", "1"]
    done = run_module("compare.mixed", *options, "--results", results)
    assert done.returncode == 0, done.stderr
    (line,) = records.read(results)
    for found in line["sets"]:
        own = found["ways"]["MixedEncoder, KMeans"]
        assert own["ari"] > 0.5
        assert own["ari"] >= found["ways"]["indicators, KMeans"]["ari"]
    assert "MixedEncoder, KMeans" in done.stdout


def test_hierarchy__sets_cuts_beside_those_of_all_rows(tmp_path):
    results = tmp_path / "hierarchy.jsonl"
    options = ["--set", "gauss-10", "--rows", "1500", "--k", "2,9", "--micro", "200"]
    done = run_module("compare.hierarchy", *options, "--results", results, "--scratch", tmp_path)
    assert done.returncode == 0, done.stderr
    (line,) = records.read(results)
    own, other = line["ways"]["two steps"], line["ways"]["all rows, SciPy"]
    assert own["status"] == other["status"] == "ok"
    assert own["passes"] == pytest.approx(own["passes_counted"])
    assert other["ari"] == {"2": 1.0, "9": 1.0}
    assert own["explained"]["9"] == pytest.approx(other["explained"]["9"], abs=0.02)
    assert "ARI, 9" in done.stdout


def test_consensus__counts_what_is_better_and_what_is_stable(tmp_path):
    results = tmp_path / "consensus.jsonl"
    options = ["--set", "5 round,uniform box", "--seeds", "1", "--rows", "600"]
    done = run_module("consensus", *options, "--results", results)
    assert done.returncode == 0, done.stderr
    full, empty = records.read(results)
    (case,) = full["cases"]
    assert case["consensus"] > case["runs_median"]
    assert case["is_stable"]
    assert [one["is_stable"] for one in empty["cases"]] == [False] * 3
    assert run_module("consensus", "--set", "magic").returncode == 2
