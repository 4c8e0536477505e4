"""What is public: complete, documented with an example, and listed in docs/api.md."""

from __future__ import annotations

import importlib
import inspect
import tomllib
from pathlib import Path

import pytest

import daskseg

ROOT = Path(__file__).resolve().parents[2]
MODULES = (
    "daskseg",
    "daskseg.cluster",
    "daskseg.decomposition",
    "daskseg.features",
    "daskseg.metrics",
    "daskseg.mixture",
    "daskseg.model_selection",
    "daskseg.preprocessing",
)
NAMES = [
    (module, name)
    for module in MODULES
    for name in importlib.import_module(module).__all__
    if not name.startswith("__")
]


@pytest.mark.parametrize(("module", "name"), NAMES)
def test_public_name__has_a_docstring_with_an_example(module, name):
    found = getattr(importlib.import_module(module), name)
    assert ">>> " in (inspect.getdoc(found) or ""), f"{module}.{name} shows no example"


@pytest.mark.parametrize(("module", "name"), NAMES)
def test_public_name__stands_in_the_api_page(module, name):
    page = (ROOT / "docs" / "api.md").read_text(encoding="utf-8")
    assert f"`{module}.{name}`" in page


def test_version__is_that_of_the_package():
    told = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    assert told["project"]["version"] == daskseg.__version__
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert f"## [{daskseg.__version__}]" in changelog
