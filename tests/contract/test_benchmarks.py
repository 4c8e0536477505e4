"""The benchmarks run, and their sets are what they say."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import zarr

from benchmarks import sets
from benchmarks.compare.kmeans import sse_of

ROOT = Path(__file__).resolve().parents[2]


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


def test_write_store__returns_the_means_of_the_planted_clusters(tmp_path):
    planted = sets.write_store(tmp_path / "rows", "blobs", 4_000, seed=3)
    rows, labels = sets.make("blobs", 4_000, seed=3)
    np.testing.assert_array_equal(zarr.open_array(str(tmp_path / "rows"))[:], rows)
    for label in range(20):
        np.testing.assert_allclose(planted[label], rows[labels == label].mean(axis=0), rtol=1e-4)


def test_sse_of__by_hand(tmp_path):
    array = zarr.create_array(store=str(tmp_path / "rows"), shape=(4, 1), chunks=(2, 1), dtype="f4")
    array[:] = [[0.0], [2.0], [10.0], [13.0]]
    # Centres 1 and 11: 1 + 1 + 1 + 4.
    assert sse_of(tmp_path / "rows", np.array([[1.0], [11.0]])) == 7.0


def test_compare_kmeans__appends_one_line_with_cost_beside_time(tmp_path):
    results = tmp_path / "results" / "kmeans.jsonl"
    command = [sys.executable, "-m", "benchmarks.compare.kmeans", "--rows", "4e3", "--k", "5"]
    command += ["--results", str(results), "--methods"]
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    for methods in ("bare-read,daskseg,sklearn", "bare-read"):
        subprocess.run([*command, methods], capture_output=True, check=True, cwd=ROOT, env=env)
    lines = [json.loads(line) for line in results.read_text(encoding="utf-8").splitlines()]
    assert len(lines) == 2
    methods = lines[0]["methods"]
    assert {method: result["status"] for method, result in methods.items()} == {
        "bare-read": "ok",
        "daskseg": "ok",
        "sklearn": "ok",
    }
    assert methods["daskseg"]["time_ratio"] == 1.0
    assert min(methods[name]["sse_ratio"] for name in ("daskseg", "sklearn")) == 1.0
    assert methods["daskseg"]["passes"] > 0
