from __future__ import annotations

import json

import numpy as np
import pytest

from daskseg.errors import ArtifactError, InputError, SchemaMismatchError, UsageError
from daskseg.features.schemes import load_scheme
from daskseg.segments.grouping import CentreGrouping
from daskseg.segments.model import describe_model, read_model
from tests.segment_models import ACTIVE, CUTS, rfm_customers, rfm_model, table_model


def columns_of(frame):
    return {name: frame[name].to_numpy() for name in frame}


def saved(model, folder):
    folder.mkdir()
    model.save(folder)
    return folder


# ── scores ───────────────────────────────────────────────────────────────────


def test_score__by_hand():
    model = table_model()
    scored = model.score({
        # Prepared: (1, 1, 0), (-1, -2, 0), (0, 1, 1) and (2, 2, 0) after the bound at 100.
        "visits": np.array([7.0, 3.0, np.nan, 9.0]),
        "spend": np.array([75.0, 0.0, 75.0, 1_000.0]),
        "noise": np.array(["a", "b", "c", "d"]),
    })  # fmt: skip
    assert scored["segment_id"].tolist() == ["S1", "S2", "S1", "S1"]
    assert scored["segment_name"].tolist() == ["Higher spend", "Lower spend", *["Higher spend"] * 2]
    assert scored["second_segment_id"].tolist() == ["S2", "S1", "S2", "S2"]
    dist = [0.0, np.sqrt(1.25), np.sqrt(2.0), np.sqrt(2.0)]
    second = [np.sqrt(8.25), np.sqrt(13.0), np.sqrt(5.25), np.sqrt(18.25)]
    np.testing.assert_allclose(scored["distance"], dist)
    np.testing.assert_allclose(scored["confidence"], 1 - np.array(dist) / second)
    assert scored["is_outlier"].tolist() == [False, True, True, True]
    assert "rfm_code" not in scored


def test_score__a_distance_at_the_limit_is_no_outlier():
    model = table_model(outlier_dist=np.array([1.0, 1.0]))
    scored = model.score({"visits": np.array([9.0]), "spend": np.array([75.0])})
    assert scored["distance"].tolist() == [1.0]
    assert scored["is_outlier"].tolist() == [False]


def test_score__names_every_customer_by_the_scheme():
    frame = rfm_customers()
    scored = rfm_model().score(columns_of(frame))
    scheme = load_scheme("rfm11")
    worse = {
        "recency_days": lambda value: sum(cut > value for cut in CUTS["recency_days"]),
        "n_orders": lambda value: sum(cut < value for cut in CUTS["n_orders"]),
        "spend_net": lambda value: sum(cut < value for cut in CUTS["spend_net"]),
    }
    for row in range(len(frame)):
        r, f, m = (1 + worse[name](frame[name].iloc[row]) for name in ACTIVE)
        assert scored["rfm_code"][row] == f"R{r}F{f}M{m}"
        assert scored["rfm_name"][row] == scheme.names[scheme.cells[(r - 1) * 25 + f * 5 + m - 6]]


def test_score__a_single_segment_has_no_second():
    model = table_model(
        grouping=CentreGrouping(np.zeros((1, 3))), outlier_dist=np.ones(1), segment_names=("All",)
    )
    scored = model.score({"visits": np.array([7.0]), "spend": np.array([50.0])})
    assert scored["second_segment_id"].tolist() == [None]
    assert scored["confidence"].tolist() == [1.0]


def test_score__takes_no_rows():
    scored = rfm_model().score(columns_of(rfm_customers().iloc[:0]))
    assert {len(values) for values in scored.values()} == {0}


def test_score__refuses_missing_features():
    with pytest.raises(SchemaMismatchError, match=r"needs the features .* but \['spend'\] are not"):
        table_model().score({"visits": np.zeros(2)})


def test_score__refuses_infinite_values_and_text():
    model = table_model()
    with pytest.raises(SchemaMismatchError, match="feature 'spend' is infinite in row 1"):
        model.score({"visits": np.zeros(2), "spend": np.array([0.0, np.inf])})
    with pytest.raises(SchemaMismatchError, match="feature 'spend' must be numbers"):
        model.score({"visits": np.zeros(2), "spend": np.array(["1", "many"], dtype=object)})


def test_score__rfm_scores_need_numbers():
    frame = rfm_customers()
    frame.loc[5, "n_orders"] = np.nan
    with pytest.raises(InputError, match="scores need a number for each customer"):
        rfm_model().score(columns_of(frame))


# ── names ────────────────────────────────────────────────────────────────────


def test_renamed__changes_some_names():
    model = table_model()
    renamed = model.renamed({"S2": "Win-back"})
    assert renamed.segment_names == ("Higher spend", "Win-back")
    assert model.segment_names == ("Higher spend", "Lower spend")
    assert model.renamed({}).segment_names == model.segment_names


def test_renamed__refuses_unknown_segments():
    with pytest.raises(UsageError, match="there is no segment S3, S9: the segments are S1, S2"):
        table_model().renamed({"S9": "x", "S3": "y", "S1": "z"})


# ── files ────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("make", [rfm_model, table_model])
def test_save__round_trip(tmp_path, make):
    model = make()
    loaded = read_model(saved(model, tmp_path / "model"))
    for name in ("kind", "features", "plan", "segment_names", "definitions", "cut_points"):
        assert getattr(loaded, name) == getattr(model, name)
    assert (loaded.scheme, loaded.identity) == (model.scheme, model.identity)
    frame = rfm_customers().assign(visits=1.0, spend=2.0)
    for name, values in model.score(columns_of(frame)).items():
        np.testing.assert_array_equal(loaded.score(columns_of(frame))[name], values)


def test_save__writes_the_same_bytes_again(tmp_path):
    first = saved(rfm_model(), tmp_path / "first")
    second = saved(read_model(first), tmp_path / "second")
    names = sorted(path.name for path in first.iterdir())
    assert names == ["centres.npy", "manifest.json", "outlier_dist.npy"]
    for name in names:
        assert (first / name).read_bytes() == (second / name).read_bytes()


def test_save__is_plain_json_with_null_for_no_bound(tmp_path):
    folder = saved(table_model(segment_names=("Zürich – groß", "b")), tmp_path / "model")
    text = (folder / "manifest.json").read_text(encoding="utf-8")
    manifest = json.loads(text, parse_constant=pytest.fail)
    assert "Zürich – groß" in text
    assert manifest["plan"][0]["low"] is None
    assert manifest["segment_names"] == {"S1": "Zürich – groß", "S2": "b"}


def test_read_model__refuses_what_is_no_model(tmp_path):
    with pytest.raises(ArtifactError, match=r"is not a daskseg model: it has no manifest.json\.$"):
        read_model(tmp_path)
    saved(table_model(), tmp_path / "model")
    assert read_model(tmp_path).segment_names == read_model(tmp_path / "model").segment_names
    (tmp_path / "manifest.json").write_text('{"name": "a web page"}')
    with pytest.raises(ArtifactError, match="is not the manifest of a daskseg model"):
        read_model(tmp_path)
    (tmp_path / "manifest.json").write_text("[]")
    with pytest.raises(ArtifactError, match="is not the manifest of a daskseg model"):
        read_model(tmp_path)
    (tmp_path / "manifest.json").write_text("{")
    with pytest.raises(ArtifactError, match=r"manifest\.json is .*JSON"):
        read_model(tmp_path)


@pytest.mark.parametrize(("version", "told"), [(2, "2"), ("1", "1"), (None, "None")])
def test_read_model__refuses_other_format_versions(tmp_path, version, told):
    folder = saved(table_model(), tmp_path / "model")
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["format_version"] = version
    if version is None:
        del manifest["format_version"]
    (folder / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(ArtifactError, match=f"format_version {told}, this release reads 1"):
        read_model(folder)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("features", [{"name": "only"}]),
        ("features", None),
        ("plan", [{"feature": "only"}]),
        ("segment_names", {"S1": "one"}),
        ("segment_names", ["S1", "S2"]),
    ],
)
def test_read_model__refuses_damaged_manifests(tmp_path, key, value):
    folder = saved(table_model(), tmp_path / "model")
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest[key] = value
    (folder / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(ArtifactError, match="damaged"):
        read_model(folder)


@pytest.mark.parametrize("content", [b"", b"\x93NUMPY", b"no array", None])
def test_read_model__refuses_damaged_arrays(tmp_path, content):
    folder = saved(table_model(), tmp_path / "model")
    if content is None:
        (folder / "centres.npy").unlink()
    else:
        (folder / "centres.npy").write_bytes(content)
    with pytest.raises(ArtifactError, match="damaged"):
        read_model(folder)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_read_model__refuses_centres_that_are_not_finite(tmp_path, value):
    folder = saved(table_model(), tmp_path / "model")
    np.save(folder / "centres.npy", np.full((2, 3), value))
    with pytest.raises(ArtifactError, match=r"damaged: .*not finite"):
        read_model(folder)


def test_read_model__refuses_cut_points_that_score_nobody(tmp_path):
    folder = saved(rfm_model(cut_points={"n_orders": [1.0]}), tmp_path / "model")
    with pytest.raises(ArtifactError, match="damaged: KeyError"):
        read_model(folder)


def test_read_model__loads_no_pickle(tmp_path):
    folder = saved(table_model(), tmp_path / "model")
    np.save(folder / "centres.npy", np.array([[print]], dtype=object), allow_pickle=True)
    with pytest.raises(ArtifactError, match=r"damaged: ValueError.*allow_pickle=False"):
        read_model(folder)


@pytest.mark.parametrize(
    ("name", "shape"),
    [("centres", (2, 2)), ("centres", (6,)), ("centres", (3, 3)), ("outlier_dist", (3,))],
)
def test_read_model__refuses_arrays_of_another_shape(tmp_path, name, shape):
    folder = saved(table_model(), tmp_path / "model")
    np.save(folder / f"{name}.npy", np.zeros(shape))
    with pytest.raises(ArtifactError, match=rf"{name} has the shape \(.*2 segment names and the"):
        read_model(folder)


def test_describe_model__in_the_units_of_the_features(tmp_path):
    found = describe_model(saved(table_model(), tmp_path / "model"))
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    assert found["segments"] == [
        {"segment_id": "S1", "name": "Higher spend", "centre": {"visits": 7.0, "spend": 75.0}},
        {"segment_id": "S2", "name": "Lower spend", "centre": {"visits": 3.0, "spend": 25.0}},
    ]
    assert [feature["prepare"] is None for feature in found["features"]] == [False, True, False]
    assert found["features"][2]["prepare"]["high"] == 100.0
    assert (found["kind"], found["run_id"], found["scheme"]) == ("segment", "00ff" * 4, None)
    assert describe_model(saved(rfm_model(), tmp_path / "rfm"))["scheme"] == "rfm11"
