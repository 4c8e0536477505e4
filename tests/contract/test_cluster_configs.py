"""The cluster configurations: every file fits the schema, every key is in it."""

from __future__ import annotations

import json
import re
from importlib import resources
from pathlib import Path

import pytest
import yaml

FOLDER = Path(__file__).resolve().parents[2] / "cluster-configs"
SCHEMA = json.loads((FOLDER / "schema.json").read_text(encoding="utf-8"))
FILES = sorted(FOLDER.glob("*.yaml"))
EVERY_FILE = pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
TYPES = {"string": str, "integer": int, "null": type(None)}


@EVERY_FILE
def test_config__has_all_keys_of_the_schema_and_no_other(path):
    values = yaml.safe_load(path.read_text(encoding="utf-8"))
    assert set(values) == set(SCHEMA["properties"])


@EVERY_FILE
def test_config__values_fit_the_schema(path):
    for key, value in yaml.safe_load(path.read_text(encoding="utf-8")).items():
        rule = SCHEMA["properties"][key]
        if "enum" in rule:
            assert value in rule["enum"], key
            continue
        types = [rule["type"]] if isinstance(rule["type"], str) else rule["type"]
        assert type(value) in [TYPES[name] for name in types], key
        if isinstance(value, int):
            assert value >= rule.get("minimum", value), key
        if isinstance(value, str) and "pattern" in rule:
            assert re.search(rule["pattern"], value), key


@EVERY_FILE
def test_config__header_names_machine_and_budget(path):
    text = path.read_text(encoding="utf-8")
    assert text.startswith(f"# {path.stem}: ")
    assert re.search(r"^# Machine: .", text, re.MULTILINE)
    assert re.search(r"^# Budget: .", text, re.MULTILINE)


def test_configs__are_package_data():
    folder = resources.files("daskseg").joinpath("cluster_configs")
    assert {entry.name for entry in folder.iterdir()} == {entry.name for entry in FOLDER.iterdir()}
