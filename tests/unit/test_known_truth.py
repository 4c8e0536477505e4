"""The sets of known truth and the tables of named groups: what they are, and how they are asked."""

from __future__ import annotations

import json

import numpy as np
import pytest

from benchmarks import known_groups, known_truth
from benchmarks.real import MissingTable
from daskseg.inputs import as_blocks
from daskseg.model_selection.sweep import sweep


@pytest.mark.parametrize("name", sorted(known_truth.SETS))
def test_make__draws_from_its_seed(name):
    rows = known_truth.make(name, 3, n_rows=400)
    assert rows.shape == (400, 8)
    assert np.isfinite(rows).all()
    np.testing.assert_array_equal(rows, known_truth.make(name, 3, n_rows=400))
    assert (rows != known_truth.make(name, 4, n_rows=400)).any()


def test_centres__are_far_enough_apart_to_be_true():
    random = np.random.default_rng(0)
    for _ in range(20):
        centres = known_truth._centres(random, 6, 8, 3.0)
        gaps = np.linalg.norm(centres[:, None] - centres[None], axis=2)
        assert gaps[np.triu_indices(6, 1)].min() >= known_truth.LEAST_APART


def test_sweep__of_a_set_has_falling_errors():
    rows = known_truth.make("4 oblong", 0, n_rows=1_000)
    curve = sweep(as_blocks(rows), range(1, 9)).to_frame()
    assert (curve["inertia"].diff().dropna() < 0).all()


def test_main__asks_the_rule_and_the_others(tmp_path, monkeypatch, capsys):
    results = tmp_path / "truth.jsonl"
    options = ["--set", "5 round", "--seeds", "1", "--rows", "2e3", "--results", str(results)]
    monkeypatch.setattr("sys.argv", ["known_truth", *options])
    with pytest.raises(SystemExit) as done:
        known_truth.main()
    assert done.value.code == 0
    (record,) = map(json.loads, results.read_text().splitlines())
    assert record["answers"]["the rule"] == [5]
    assert set(record["answers"]) > {"silhouette", "Calinski-Harabasz", "Davies-Bouldin", "knee"}
    assert "| 5 round |     5 |     100% |" in capsys.readouterr().out


def test_describe__of_flowers_sees_one_species_apart(capsys, monkeypatch):
    monkeypatch.setattr(known_groups, "KS", range(2, 6))
    words = known_groups.describe("iris", known_groups.TABLES["iris"](None))
    assert "k = 2, natural 2" in words
    assert "groups 0.57" in words


@pytest.mark.parametrize("name", ["wholesale", "students"])
def test_tables__name_what_is_missing(name, tmp_path):
    with pytest.raises(MissingTable, match="set DASKSEG_BENCH_DATA or give --data"):
        known_groups.TABLES[name](None)
    with pytest.raises(MissingTable, match="parquet is not there"):
        known_groups.TABLES[name](str(tmp_path))
