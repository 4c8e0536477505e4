from __future__ import annotations

import datetime as dt
import json
import re
import textwrap
from pathlib import Path

import pytest
import yaml

from daskseg.config import LEDGER_ROLES, TEMPLATES, Study, template_text
from daskseg.errors import UsageError


def study(**sections: dict[str, object]) -> Study:
    data = {"source": "ledger.csv", **sections.pop("data", {})}
    return Study.from_dict({"data": data, **sections})


def test_study__fills_in_every_default():
    assert study().to_dict() == {
        "project": {"name": "study", "currency": None},
        "data": {
            "source": "ledger.csv",
            "kind": "rfm",
            "format": None,
            "columns": None,
            "preset": None,
            "date_format": None,
            "encoding": "utf-8",
            "delimiter": None,
            "id": None,
            "value": None,
            "passive": [],
            "partitions": None,
            "snapshot": None,
            "window": None,
            "returns": "net",
            "duplicates": "keep",
            "non_products": "keep",
            "non_product_codes": None,
        },
        "prepare": {
            "winsor": 0.005,
            "log1p": "auto",
            "scale": "zscore",
            "missing": "median",
            "pca": None,
        },
        "model": {
            "kind": "kmeans",
            "k": "auto",
            "k_range": [2, 20],
            "seed": 0,
            "min_share": 0.01,
            "max_share": 1.0,
            "min_customers": 0,
            "eps": "auto",
            "min_samples": "auto",
        },
        "label": {"scheme": "rfm11", "min_fit": 0.5, "names": {}},
        "report": {"title": None, "map": None},
    }


FULL = {
    "project": {"name": "shop", "currency": "GBP"},
    "data": {
        "source": ["a.csv", "b.csv"],
        "columns": {"customer_id": "Client"},
        "snapshot": "2026-01-31",
        "window": "365d",
        "returns": "drop",
        "delimiter": ";",
        "partitions": 3,
        "non_product_codes": ["POST"],
    },
    "prepare": {"winsor": 0, "log1p": ["spend_net"], "scale": "robust"},
    "model": {
        "k": 5,
        "k_range": [3, 8],
        "seed": 7,
        "min_share": 0.1,
        "max_share": 0.6,
        "min_customers": 40,
    },
    "label": {"names": {"S4": "Win-back"}},
    "report": {"title": "Shop <2026>"},
}


@pytest.mark.parametrize("given", [FULL, {"data": {"source": "t", "kind": "segment", "id": "c"}}])
def test_study__survives_a_round_trip_through_plain_json(given):
    first = Study.from_dict(given)
    again = Study.from_dict(json.loads(json.dumps(first.to_dict())))
    assert again == first
    assert again.to_dict() == first.to_dict()


def test_study__reads_dates_windows_and_paths():
    made = study(data={"source": Path("in/ledger.csv"), "snapshot": "2026-01-31", "window": "52w"})
    assert made.data.source == "in/ledger.csv"
    assert made.data.snapshot == dt.date(2026, 1, 31)
    assert made.data.window == "364d"
    assert made.data.window_days == 364
    assert study().data.window_days is None


def test_study__reads_words_for_a_tab():
    assert {study(data={"delimiter": word}).data.delimiter for word in ("\t", "\\t", "tab")} == {
        "\t"
    }


def test_study__names_encodings_as_python_does():
    assert study(data={"encoding": "Latin-1"}).data.encoding == "iso8859-1"


@pytest.mark.parametrize(
    ("section", "values", "message"),
    [
        ("model", {"k": 0}, "model.k: 0 must be auto or a whole number from 1 to 20."),
        ("model", {"k": 21}, "model.k: 21 must be auto or a whole number from 1 to 20."),
        ("model", {"k": True}, "model.k: True must be auto or a whole number from 1 to 20."),
        ("model", {"k": "4"}, "model.k: '4' must be auto or a whole number from 1 to 20."),
        ("model", {"k_range": [5, 5]}, "model.k_range: [5, 5] must be two whole numbers"),
        ("model", {"k_range": [1, 5]}, "model.k_range: [1, 5] must be two whole numbers"),
        ("model", {"k_range": 5}, "model.k_range: 5 must be two whole numbers"),
        ("model", {"seed": -1}, "model.seed: -1 is too small; the least is 0."),
        ("model", {"seed": 2**32}, "model.seed: 4294967296 is too large; the most is 4294967295."),
        ("model", {"seed": 1.5}, "model.seed: 1.5 is not a whole number."),
        ("model", {"min_share": 0.5}, "model.min_share: 0.5 is too large; it must be below 0.5."),
        ("model", {"min_share": "a"}, "model.min_share: 'a' is not a number."),
        ("model", {"min_share": float("nan")}, "model.min_share: nan is not a finite number."),
        (
            "model",
            {"k_range": [4, 8], "min_share": 0.3},
            "model.min_share: 0.3 must be at most 0.25: of 4 segments, the fewest that auto tries",
        ),
        (
            "model",
            {"k_range": [2, 8], "max_share": 0.1},
            "model.max_share: 0.1 must be at least 0.125: of 8 segments, the most that auto tries",
        ),
        (
            "model",
            {"min_share": 0.3, "max_share": 0.25},
            "model.max_share: 0.25 must not be below min_share, which is 0.3.",
        ),
        ("model", {"max_share": 0}, "model.max_share: 0 is too small; it must be above 0."),
        ("model", {"max_share": 1.5}, "model.max_share: 1.5 is too large; the most is 1."),
        ("model", {"min_customers": -1}, "model.min_customers: -1 is too small; the least is 0."),
        ("model", {"min_customers": 2.5}, "model.min_customers: 2.5 is not a whole number."),
        ("model", {"min_customers": True}, "model.min_customers: True is not a whole number."),
        (
            "model",
            {"kind": "kmean"},
            "model.kind: 'kmean' is not known. Did you mean 'kmeans'? Known: kmeans, minibatch",
        ),
        ("prepare", {"winsor": -0.1}, "prepare.winsor: -0.1 is too small; the least is 0."),
        ("prepare", {"pca": 1.0}, "prepare.pca: 1.0 must be null (no components), the share of"),
        ("prepare", {"pca": 0}, "prepare.pca: 0 must be null (no components), the share of the"),
        ("prepare", {"pca": True}, "prepare.pca: True must be null (no components), the share"),
        ("prepare", {"log1p": "all"}, "prepare.log1p: 'all' must be auto or a list of column"),
        ("prepare", {"scale": "z"}, "Known: zscore, minmax, robust, none."),
        ("data", {"window": "12m"}, "data.window: '12m' must be a number of days or weeks above"),
        ("data", {"window": "0d"}, "data.window: '0d' must be a number of days or weeks above"),
        ("data", {"window": 365}, "data.window: 365 must be a number of days or weeks above"),
        ("data", {"snapshot": 20260131}, "data.snapshot: 20260131 must be a day like 2026-01-31."),
        ("data", {"snapshot": "2026-02-30"}, "'2026-02-30' must be a day like 2026-01-31; the cal"),
        ("data", {"snapshot": "31.01.2026"}, "data.snapshot: '31.01.2026' must be a day like"),
        (
            "data",
            {"snapshot": dt.datetime(2026, 1, 1, 12)},
            "must be a day like 2026-01-31, without a time of day.",
        ),
        ("data", {"source": []}, "data.source: [] must be a path, a glob or a URL"),
        ("data", {"source": ["a", 1]}, "data.source: ['a', 1] must be a path, a glob or a URL"),
        ("data", {"partitions": 0}, "data.partitions: 0 is too small; the least is 1."),
        ("data", {"encoding": "utf-9"}, "data.encoding: 'utf-9' must be a text encoding"),
        ("data", {"delimiter": ";;"}, "data.delimiter: ';;' must be one character"),
        ("data", {"delimiter": '"'}, "must be one character"),
        ("data", {"returns": "nett"}, "data.returns: 'nett' is not known. Did you mean 'net'?"),
        ("data", {"date_format": 3}, "data.date_format: 3 is not text; put it in quotes"),
        (
            "data",
            {"columns": {"custmer_id": "C"}},
            "'custmer_id' is not known. Did you mean 'customer_id'? Known: customer_id, order_id",
        ),
        ("data", {"columns": {"date": ""}}, "data.columns.date: '' is too short"),
        ("data", {"non_product_codes": ["A", "A"]}, "data.non_product_codes: names 'A' more than"),
        ("label", {"names": {"4": "x"}}, "label.names: '4' is not a segment id: ids are S1, S2"),
        ("label", {"names": {"S4": " "}}, "label.names: the name of S4 must be text of 1 to 80"),
        ("label", {"names": ["x"]}, "label.names: ['x'] is not a set of 'key: value' pairs."),
        ("label", {"min_fit": 1.01}, "label.min_fit: 1.01 is too large; the most is 1."),
        ("project", {"currency": "POUNDS STERLING"}, "is too long; at most 8 characters"),
    ],
)
def test_study__refuses_a_wrong_value_with_path_value_and_limit(section, values, message):
    with pytest.raises(UsageError, match=re.escape(message)) as caught:
        study(**{section: values})
    assert str(caught.value).startswith(f"the study: {section}.")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (
            {"data": {"source": "a", "snapshoot": 1}},
            "unknown key 'data.snapshoot'. Did you mean 'snapshot'? Keys of data: source, kind,",
        ),
        (
            {"data": {"source": "a"}, "modell": {}},
            "unknown key 'modell'. Did you mean 'model'? Sections: project, data, prepare, model",
        ),
        (
            {"data": {"source": "a", "k_range": [2, 3]}},
            "unknown key 'data.k_range'. It belongs to another section: model.k_range. Keys of",
        ),
        ({"data": {"source": "a"}, "seed": 1}, "It belongs to another section: model.seed. Sect"),
        ({"data": "a.csv"}, "data: 'a.csv' is not a section; its keys are source, kind"),
        ({"data": {}}, "data.source is missing."),
        ({}, "data is missing."),
    ],
)
def test_study__refuses_unknown_and_missing_keys(values, message):
    with pytest.raises(UsageError, match=re.escape(message)):
        Study.from_dict(values)


def test_study__lists_all_errors_at_once():
    with pytest.raises(UsageError, match=r": 2 errors:\n  - data.window: .*\n  - model.k: 0"):
        study(data={"window": "1y"}, model={"k": 0})


def test_study__says_what_the_user_wrote():
    with pytest.raises(UsageError, match=r"^command line: --k: 0 must be auto"):
        Study.from_dict(
            {"data": {"source": "a"}, "model": {"k": 0}},
            origin="command line",
            spelled={"model.k": "--k"},
        )


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"id": "c"}, "'id' means nothing for kind 'rfm': remove it, or set kind: segment"),
        ({"passive": ["c"]}, "'passive' means nothing for kind 'rfm'"),
        ({"kind": "segment"}, "'id' is needed for kind 'segment'"),
        ({"kind": "segment", "id": "c", "window": "3d"}, "'window' means nothing for kind 'seg"),
        ({"kind": "segment", "id": "c", "returns": "drop"}, "'returns' means nothing for kind"),
        ({"kind": "segment", "id": "c", "value": "c"}, "'c' is the id and cannot be a feature"),
        ({"kind": "segment", "id": "c", "passive": ["c"]}, "'c' is the id and cannot be a featu"),
    ],
)
def test_study__refuses_keys_of_the_other_kind(data, message):
    with pytest.raises(UsageError, match=re.escape(message)):
        study(data=data)


def test_study__cannot_be_changed():
    with pytest.raises(ValueError, match="frozen"):
        study().model.k = 3  # type: ignore[misc]


# ── the part that decides the result ──────────────────────────────────────────


@pytest.mark.parametrize(
    "change",
    [
        {"project": {"name": "other", "currency": "EUR"}},
        {"report": {"title": "other"}},
        {"label": {"names": {"S1": "other"}}},
        {"data": {"source": "other.parquet"}},
        {"data": {"format": "csv", "encoding": "latin-1", "delimiter": ";", "partitions": 9}},
        {"data": {"columns": {"date": "D"}, "preset": "p", "date_format": "%d"}},
    ],
)
def test_identity__ignores_how_data_are_read_and_what_things_are_called(change):
    assert study(**change).identity() == study().identity()


@pytest.mark.parametrize(
    "change",
    [
        {"data": {"kind": "segment", "id": "c"}},
        {"data": {"snapshot": "2026-01-01"}},
        {"data": {"window": "30d"}},
        {"data": {"returns": "drop"}},
        {"data": {"duplicates": "drop"}},
        {"data": {"non_products": "drop"}},
        {"data": {"non_product_codes": ["POST"]}},
        {"prepare": {"winsor": 0.01}},
        {"prepare": {"log1p": []}},
        {"prepare": {"pca": 0.9}},
        {"prepare": {"pca": 1}},
        {"prepare": {"scale": "none"}},
        {"model": {"k": 4}},
        {"model": {"k_range": [2, 11]}},
        {"model": {"seed": 1}},
        {"model": {"min_share": 0.02}},
        {"model": {"max_share": 0.9}},
        {"model": {"min_customers": 1}},
        {"label": {"scheme": "other"}},
        {"label": {"min_fit": 0.6}},
    ],
)
def test_identity__changes_with_everything_else(change):
    assert study(**change).identity() != study().identity()


# ── files ─────────────────────────────────────────────────────────────────────


def write(folder: Path, text: str) -> Path:
    path = folder / "study.yaml"
    path.write_text(textwrap.dedent(text), encoding="utf-8")
    return path


def test_study__limits_need_not_be_in_reach_of_numbers_that_are_not_tried():
    made = study(model={"k": 5, "k_range": [4, 8], "min_share": 0.3, "max_share": 0.31})
    assert (made.model.min_share, made.model.max_share) == (0.3, 0.31)


def test_from_yaml__takes_the_study_of_a_run(tmp_path):
    made = Study.from_dict(FULL)
    path = tmp_path / "run.json"
    path.write_text(json.dumps({"format_version": 1, "run_id": "a", "study": made.to_dict()}))
    assert Study.from_yaml(path) == made


def test_from_yaml__reads_dates_numbers_and_empty_sections(tmp_path):
    made = Study.from_yaml(
        write(
            tmp_path,
            """
            data:
              source: ledger.csv
              snapshot: 2026-01-31
            prepare: {winsor: 5e-3}
            label:
              # names: {S1: Best}
            """,
        )
    )
    assert made.data.snapshot == dt.date(2026, 1, 31)
    assert made.prepare.winsor == 0.005
    assert made.label.names == {}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "data: {source: a}\nmodel: {k: 3}\nmodel: {k: 4}\n",
            "study.yaml line 3, column 1: not a study file: the key 'model' stands twice.",
        ),
        ("data: {source: a\n", "study.yaml line 2, column 1: not a study file: "),
        ("data: {source: !!python/object:os.system a}\n", "not a study file: could not determine"),
        ("- a\n- b\n", "study.yaml: found ['a', 'b'] where the sections project, data"),
        ("", "study.yaml: data is missing."),
        ("data: {source: a}\nmodel: {k: no}\n", "study.yaml: model.k: False must be auto or"),
        ("data: {source: a, format: \x00}\n", "study.yaml: not a YAML file in UTF-8"),
    ],
)
def test_from_yaml__refuses_what_is_not_a_study(tmp_path, text, message):
    with pytest.raises(UsageError, match=re.escape(message)):
        Study.from_yaml(write(tmp_path, text))


def test_from_yaml__says_that_a_file_is_missing(tmp_path):
    with pytest.raises(UsageError, match=r"none.yaml: the study file cannot be read \(No such"):
        Study.from_yaml(tmp_path / "none.yaml")


@pytest.mark.parametrize("name", TEMPLATES)
def test_template__is_valid_and_shows_the_defaults(name, tmp_path):
    path = tmp_path / "study.yaml"
    path.write_text(template_text(name), encoding="utf-8")
    made = Study.from_yaml(path)
    needed = {"source": made.data.source, "kind": made.data.kind, "id": made.data.id}
    assert made == Study.from_dict({"project": {"name": "customers"}, "data": needed})


@pytest.mark.parametrize("name", TEMPLATES)
def test_template__names_every_key_that_its_kind_has(name):
    values = yaml.safe_load(template_text(name))
    other = {
        "rfm": {"id", "value", "passive"},
        "segment": {
            *("columns", "preset", "date_format", "snapshot", "window", "returns", "duplicates"),
            *("non_products", "non_product_codes", "scheme", "min_fit"),
        },
    }[values["data"]["kind"]]
    for section, default in study().to_dict().items():
        assert set(values[section]) == set(default) - other, section


def test_template__refuses_an_unknown_name():
    with pytest.raises(UsageError, match=r"no template 'rmf'\. Did you mean 'rfm'"):
        template_text("rmf")


def test_schema__describes_every_key():
    schema = Study.schema()
    assert set(schema["properties"]) == set(study().to_dict())
    for section in schema["$defs"].values():
        assert section["additionalProperties"] is False
        for key, entry in section["properties"].items():
            assert entry.get("description"), key
    assert json.loads(json.dumps(schema)) == schema


def test_schema__lists_the_choices():
    data = Study.schema()["$defs"]["DataSection"]["properties"]
    assert data["returns"]["enum"] == ["net", "match", "drop", "keep"]
    assert data["columns"]["anyOf"][0]["propertyNames"]["enum"] == list(LEDGER_ROLES)
