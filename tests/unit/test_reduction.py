"""Principal components in a study: fitted on all rows, kept in a cache, saved, told."""

from __future__ import annotations

import json

import dask
import dask.dataframe as dd
import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import adjusted_rand_score

from daskseg import Segmentation, load_model, store
from daskseg.cli.model_screen import model_lines
from daskseg.cluster import KMeans
from daskseg.config import Study
from daskseg.decomposition import PCA
from daskseg.engine import progress
from daskseg.engine.blocks import Blocks
from daskseg.errors import ArtifactError, UsageError
from daskseg.pipeline import run_study
from daskseg.pipeline.reduction import reduce_prepared
from daskseg.pipeline.scoring import assign_source
from daskseg.preprocessing import Prepare
from daskseg.report import write_report
from daskseg.segments.model import describe_model, read_model

NAMES = ("visits", "minutes", "spend", "age")
BYTES = ("segments.parquet", "profile.parquet", "curve.csv")
MODEL = ("centres.npy", "components.npy", "component_mean.npy", "outlier_dist.npy")


def table(n_rows=1500, seed=0, missing=True):
    """Three groups in two directions, told by four columns; some ages are missing."""
    random = np.random.default_rng(seed)
    group = random.integers(0, 3, n_rows)
    hidden = np.array([[0.0, 0.0], [6.0, 1.0], [2.0, 7.0]])[group]
    hidden = hidden + random.normal(size=(n_rows, 2))
    mixing = np.array([[1.0, 0.8, 0.1, -0.5], [0.2, -0.4, 1.5, 0.6]])
    values = hidden @ mixing + 0.1 * random.normal(size=(n_rows, 4))
    frame = pd.DataFrame(values * [1, 10, 100, 5] + [5, 50, 900, 40], columns=list(NAMES))
    if missing:
        frame.loc[random.random(n_rows) < 0.05, "age"] = np.nan
    return frame


def prepared(frame, *, winsor=0.005, block_rows=None):
    values = frame.to_numpy()
    blocks = Blocks.from_array(values, columns=NAMES, block_rows=block_rows)
    prepare = Prepare(winsor=winsor).fit(blocks)
    return prepare.transform(blocks), prepare.plan_


def rows_of(blocks):
    values = np.vstack([load.func(*load.args) for load in blocks.loads])
    for step in blocks.steps:
        values = step.func(values, *step.args)
    return values


@pytest.mark.parametrize("winsor", [0.0, 0.005])
@pytest.mark.parametrize("wanted", [0.9, 2, 5])
def test_reduce_prepared__equals_the_estimator(wanted, winsor):
    blocks, plan = prepared(table(), winsor=winsor)
    found, reduction = reduce_prepared(blocks, plan, wanted, None)
    pca = PCA(wanted).fit(rows_of(blocks))
    np.testing.assert_allclose(reduction.components, pca.components_, atol=1e-9)
    np.testing.assert_allclose(reduction.shares, pca.explained_variance_ratio_, rtol=1e-9)
    assert (found.dtype, found.columns) == (np.float32, None)
    expected = pca.transform(rows_of(blocks))
    np.testing.assert_allclose(rows_of(found), expected, rtol=1e-6, atol=1e-6)


def test_reduce_prepared__gives_the_same_bits_from_memory_cache_and_passes(tmp_path):
    frame = table()
    blocks, plan = prepared(frame)
    expected, reduction = reduce_prepared(blocks, plan, 2, None)
    for number, height in enumerate((256, 512, 1500, 4096)):
        lazy = Blocks.from_array(frame.to_numpy(), columns=NAMES, block_rows=height)
        lazy = Prepare().fit(lazy).transform(lazy)
        lazy = Blocks(lazy.loads, lazy.lengths, lazy.n_features, lazy.dtype, steps=lazy.steps)
        (tmp_path / str(number)).mkdir()
        for scratch in (None, tmp_path / str(number)):
            with progress.recording("test") as log:
                found, other = reduce_prepared(lazy, plan, 2, scratch)
            assert log.passes == (1 if scratch is None else 2)
            assert other.components.tobytes() == reduction.components.tobytes()
            np.testing.assert_array_equal(rows_of(found), rows_of(expected))
        assert (tmp_path / str(number) / "components.zarr").is_dir()
        assert found.steps == ()


def test_reduce_prepared__without_bounds_measures_ranges():
    blocks, plan = prepared(table(), winsor=0.0)
    with progress.recording("test") as log:
        reduce_prepared(blocks, plan, 0.9, None)
    assert log.passes == 3  # ranges, covariance, projection


def test_reduce_prepared__leaves_uneven_blocks_to_the_passes(tmp_path):
    blocks, plan = prepared(table(), block_rows=256)
    uneven = Blocks(
        blocks.loads[::-1],
        blocks.lengths[::-1],
        blocks.n_features,
        blocks.dtype,
        steps=blocks.steps,
    )
    found, _ = reduce_prepared(uneven, plan, 2, tmp_path)
    assert len(found.steps) == 2
    assert list(tmp_path.iterdir()) == []


def test_reduce_prepared__refuses_what_cannot_be():
    blocks, plan = prepared(table(20, missing=False))
    with pytest.raises(UsageError, match=r"prepare\.pca asks for 5 components, but 20 customers"):
        reduce_prepared(blocks, plan, 5, None)
    same = pd.DataFrame(np.ones((9, 4)), columns=list(NAMES))
    with pytest.warns(UserWarning, match="one value only"):
        blocks, plan = prepared(same)
    with pytest.raises(UsageError, match="all customers are the same"):
        reduce_prepared(blocks, plan, 0.9, None)


def test_all_components__cluster_like_the_features():
    """A rotation keeps distances."""
    blocks, plan = prepared(table())
    turned, _ = reduce_prepared(blocks, plan, blocks.n_features, None)
    plain, rotated = (KMeans(3).fit(rows_of(one)) for one in (blocks, turned))
    assert adjusted_rand_score(plain.labels_, rotated.labels_) == 1.0
    assert rotated.inertia_ == pytest.approx(plain.inertia_, rel=1e-5)


def test_write_cache__refuses_what_is_not_one_chunk(tmp_path):
    path = store.create_cache(tmp_path / "cache.zarr", 10, 2, 4)
    store.write_cache(path, 8, np.ones((2, 2)))
    for first, height in ((2, 4), (0, 3), (4, 6)):
        with pytest.raises(ValueError, match="are not one chunk of 4 rows of 10"):
            store.write_cache(path, first, np.ones((height, 2)))
    rows = rows_of(store.open_blocks(path))
    assert np.isnan(rows[:8]).all()
    assert rows[8:].tolist() == [[1.0, 1.0], [1.0, 1.0]]


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    path = tmp_path_factory.mktemp("table") / "table.parquet"
    frame = table()
    frame.insert(0, "id", [f"c{row:04}" for row in range(len(frame))])
    frame.to_parquet(path, index=False)
    return path


def study(source, **data):
    settings = {"source": str(source), "kind": "segment", "id": "id", **data}
    return Study.from_dict({"data": settings, "prepare": {"pca": 0.9}, "model": {"k": 3}})


@pytest.fixture(scope="module")
def done(source, tmp_path_factory):
    out = tmp_path_factory.mktemp("studies") / "out"
    return out, run_study(study(source), out, render=write_report)


def contents(out):
    files = [out / name for name in BYTES] + [out / "model" / name for name in MODEL]
    return [path.read_bytes() for path in files]


def test_study__keeps_its_bits(done, source, tmp_path, scheduler):
    shuffled = pd.read_parquet(source).sample(frac=1, random_state=1)
    shuffled.to_parquet(tmp_path / "shuffled.parquet", index=False)
    run_study(study(tmp_path / "shuffled.parquet", partitions=3), tmp_path / "out")
    assert contents(tmp_path / "out") == contents(done[0])


def test_study__tells_its_components(done):
    out, record = done
    found = record["pca"]
    assert (found["asked"], found["n_components"]) == (0.9, len(found["components"]))
    assert 0.9 <= found["explained"] < 1
    loadings = np.array([one["loadings"] for one in found["components"]])
    np.testing.assert_allclose(loadings @ loadings.T, np.eye(len(loadings)), atol=1e-12)
    assert found["columns"] == [*NAMES, "age_missing"]
    page = (out / "report.html").read_text(encoding="utf-8")
    assert "Principal components" in page
    assert "of 5 prepared columns" in page
    assert "age: missing" in page
    # The cache is gone, and the passes of the clustering read it and not the features.
    assert not list(out.glob("scratch-*"))
    stages = {one["name"]: one for one in json.loads((out / "run.json").read_text())["stages"]}
    assert stages["components"]["passes"] == 2
    n_rows, width = record["data"]["customers"], found["n_components"]
    assert stages["choose-k"]["bytes_read"] == stages["choose-k"]["passes"] * n_rows * width * 4


def test_study__scores_as_it_fitted(done, source, tmp_path):
    out, record = done
    written = pd.read_parquet(out / "segments.parquet")
    sizes = written["segment_id"].value_counts()
    assert {one["segment_id"]: one["customers"] for one in record["segments"]} == sizes.to_dict()
    assign_source(out, str(source), tmp_path / "again.parquet")
    pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / "again.parquet"), written)
    scored = load_model(out).assign(pd.read_parquet(source).set_index("id"))
    scored = scored.loc[written["customer_id"]]
    columns = ["segment_id", "distance", "confidence", "is_outlier"]
    assert scored[columns].to_numpy().tolist() == written[columns].to_numpy().tolist()


def test_describe_model__shows_components_and_centres_in_units(done):
    out, _ = done
    found = describe_model(out)
    lines = "\n".join(model_lines(found, out))
    assert f"principal components: {found['pca']['n_components']}, 9" in lines
    medians = pd.read_parquet(out / "profile.parquet").set_index(["segment_id", "feature"])
    means = medians[medians["statistic"] == "mean"]["value"]
    for segment in found["segments"]:
        for name, value in segment["centre"].items():
            assert value == pytest.approx(means[segment["segment_id"], name], rel=0.1)
    assert describe_model(out)["pca"]["components"][0]["share"] > 0.3


def test_read_model__round_trip_and_damage(done, tmp_path):
    model = read_model(done[0])
    model.save(tmp_path)
    for name in MODEL:
        assert (tmp_path / name).read_bytes() == (done[0] / "model" / name).read_bytes()
    for name, values, message in (
        ("components", np.zeros((1, 9)), r"components has the shape \(1, 9\)"),
        ("component_mean", np.full(5, np.nan), "components hold values that are not finite"),
    ):
        np.save(tmp_path / f"{name}.npy", values)
        with pytest.raises(ArtifactError, match=message):
            read_model(tmp_path)
        model.save(tmp_path)
    (tmp_path / "components.npy").unlink()
    with pytest.raises(ArtifactError, match="damaged"):
        read_model(tmp_path)


def test_segmentation__takes_components_from_memory_and_dask():
    frame = table()
    one = Segmentation(k=3, prepare={"pca": 2}).fit(frame)
    two = Segmentation(k=3, prepare={"pca": 2}).fit(dd.from_pandas(frame, npartitions=4))
    assert one.record_["pca"]["n_components"] == 2
    assert one.model_.grouping.centres.tobytes() == two.model_.grouping.centres.tobytes()
    with dask.config.set(scheduler="synchronous"):
        assigned = two.assign(dd.from_pandas(frame, npartitions=3)).compute()
    assert assigned["segment_id"].tolist() == one.assign(frame)["segment_id"].tolist()
