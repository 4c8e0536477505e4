"""What each kind of model adds to the record, and how the report shows it."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

from daskseg import Segmentation
from daskseg.charts.reachability import reachability_figure
from daskseg.cluster.density import EpsSuggestion
from daskseg.config import Study
from daskseg.errors import MissingExtraError, UsageError
from daskseg.inputs import as_blocks
from daskseg.manifold import tsne
from daskseg.pipeline import structure
from daskseg.pipeline.fitting import check_labels
from daskseg.pipeline.study import run_study
from daskseg.report import render_html
from daskseg.report.structure import parts
from daskseg.segments.points import CoreGrouping
from daskseg.segments.reduction import Reduction
from tests.unit.test_models import BARE, NAMES, rows_of, with_strays


def test_tree__keeps_the_last_joins(monkeypatch):
    monkeypatch.setattr(structure, "N_BRANCHES", 3)
    # 0 and 1 join to 4, then 3 and 4 to 5, then 2 and 5 to 6.
    joins = np.array([[0, 1, 1.0, 2], [3, 4, 2.0, 3], [2, 5, 4.0, 4]])
    found = structure.tree(joins, np.array([1.0, 2.0, 4.0, 8.0]), 2)
    # The leaves are 2, 3 and 4, in this order.
    assert found["weights"] == [4.0, 8.0, 3.0]
    assert found["joins"] == [[1, 2, 2.0], [0, 3, 4.0]]
    assert structure.tree(joins, np.ones(4), 4)["joins"] == joins[:, :3].tolist()


def test_split_tree__last_split_is_the_first_join():
    # Leaf 0 and split 1; split 1 has leaves 1 and 2, and gains more than the first.
    children = np.array([[0, 4], [1, 2]])
    found = structure.split_tree(children, np.array([2.0, 8.0]), np.array([5.0, 3.0, 1.0]))
    assert found["joins"] == [[1.0, 2.0, 4.0], [0.0, 3.0, 4.0]]
    assert found["weights"] == [5.0, 3.0, 1.0]


def test_distances__keep_the_knee():
    curve = np.arange(1000.0)
    found = structure.distances(EpsSuggestion(801.0, 4, 0.8, curve, 801))
    assert len(found["values"]) <= structure.N_CURVE + 1
    assert found["values"][found["knee"]] == 801.0
    assert found["shares"][found["knee"]] == 0.802
    assert found["values"][0] == 0.0
    assert found["shares"][-1] == 1.0


@pytest.mark.parametrize("chunk", [1, 3, 6])
def test_noise__counts_by_the_largest_difference(chunk):
    da = pytest.importorskip("dask.array")
    rows = np.array([[0.0, 0.0], [5.0, 1.0], [-9.0, 1.0], [2.0, 3.0], [8.0, -7.0], [0.1, 0.0]])
    grouping = CoreGrouping(np.zeros((1, 2)), np.zeros((1, 2)), np.zeros(1, np.int32), 0.5)
    blocks = as_blocks(da.from_array(rows, chunks=(chunk, 2)))
    found = structure.noise(blocks, grouping, ("a", "b"), None)
    assert found == {"columns": ["a", "b"], "lower": [1, 0], "higher": [2, 1]}
    # Columns change places along the components.
    turned = Reduction(2, (0.5, 0.5), np.zeros(2), np.array([[0.0, 1.0], [1.0, 0.0]]))
    found = structure.noise(blocks, grouping, ("a", "b"), turned)
    assert found == {"columns": ["a", "b"], "lower": [0, 1], "higher": [1, 2]}


ADDED = {
    "kmeans": [],
    "minibatch": [],
    "bisecting": ["tree"],
    "mixture": ["overlap"],
    "agglomerative": ["tree"],
    "consensus": ["agreement"],
    "dbscan": ["noise", "distances"],
    "hdbscan": ["noise", "reachability"],
}


@pytest.mark.parametrize("kind", ADDED)
def test_report__shows_what_the_model_adds(kind):
    k = "auto" if "dbscan" in kind else 3
    seg = Segmentation(kind, k=k, prepare=BARE, min_share=0.05, value="visits").fit(with_strays())
    record = json.loads(json.dumps(seg.record_, allow_nan=False))
    assert [part.name for part in parts(record)] == ADDED[kind]
    page = render_html(record)
    assert ('<section id="model"' in page) == bool(ADDED[kind])
    assert ('href="#model"' in page) == bool(ADDED[kind])
    for part in parts(record):
        has_chart = f'id="figure-model-{part.name}"' in page
        assert has_chart == (part.figure is not None)
        assert all(len(row) == len(part.header) for row in part.rows)
    assert page == render_html(record)


@pytest.mark.parametrize("kind", ["bisecting", "agglomerative"])
def test_report__tree_names_the_segments_that_join(kind):
    # In one column the outer two are far apart: S1 (60) and S2 (30) are nearer than S3 (2).
    rows = rows_of()
    rows[rows[:, 0] < 15, 0] -= 60
    seg = Segmentation(kind, k=3, prepare=BARE, value="visits")
    record = seg.fit(pd.DataFrame(rows, columns=NAMES)).record_
    (tree,) = parts(record)
    (first, second) = tree.rows
    assert {first[0], first[1]} in ({"S3", "S1, S2"}, {"S3", "S2, S1"})
    assert {second[0], second[1]} == {"S1", "S2"}


def test_report__noise_is_explained():
    seg = Segmentation("dbscan", prepare=BARE, min_share=0.05, value="visits").fit(with_strays())
    (noise, _) = parts(seg.record_)
    assert noise.said[0].startswith("90")
    assert noise.said[0].endswith("stand out most by a higher value of visits.")
    assert noise.rows[0][2] == "9"


@pytest.fixture
def table(tmp_path):
    frame = pd.DataFrame(rows_of(30), columns=NAMES)
    frame.insert(0, "id", [f"c{i}" for i in range(len(frame))])
    frame.to_parquet(tmp_path / "table.parquet")
    return tmp_path / "table.parquet"


def study_with_map(source):
    data = {"source": str(source), "kind": "segment", "id": "id", "value": "visits"}
    return Study.from_dict(
        {"data": data, "model": {"k": 3}, "prepare": BARE, "report": {"map": "tsne"}}
    )


def test_report__draws_a_map(table, tmp_path):
    pytest.importorskip("openTSNE")
    run_study(study_with_map(table), tmp_path / "out")
    record = json.loads((tmp_path / "out" / "report.json").read_text())
    (drawn,) = parts(record)
    assert drawn.name == "map"
    assert [(key.id, n) for key, n in drawn.rows] == [("S1", "30"), ("S2", "30"), ("S3", "30")]
    assert "Drawn by t-SNE." in render_html(record)
    run = json.loads((tmp_path / "out" / "run.json").read_text())
    assert "map" in [stage["name"] for stage in run["stages"]]


def test_report__map_without_its_library_is_refused_before_reading(table, monkeypatch):
    def gone():
        raise MissingExtraError("TSNE lays out its landmarks with openTSNE: pip install maps")

    monkeypatch.setattr(tsne, "_library", gone)
    with pytest.raises(MissingExtraError, match="openTSNE"):
        check_labels(study_with_map(table))


def test_reachability_figure__refuses_what_does_not_fit():
    assert reachability_figure([1.0, 2.0], ["#000000"] * 2, ["a", "b"]).height == 260
    with pytest.raises(UsageError, match="2 distances, 1 colours and 2 names"):
        reachability_figure([1.0, 2.0], ["#000000"], ["a", "b"])
