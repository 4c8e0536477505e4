"""Study files on disk: reading YAML strictly, and the commented templates.

Covers: YAML (and JSON, which is YAML) with line and column in messages; keys given twice are
refused. Does not cover: what the keys and values mean (study.py).
"""

from __future__ import annotations

import re
from importlib import resources
from pathlib import Path
from typing import Any

import yaml

from daskseg.config.messages import did_you_mean
from daskseg.errors import UsageError

TEMPLATES = ("rfm", "segment", "crisp-dm")


def template_text(name: str) -> str:
    """Return the commented study file of that name, one of `TEMPLATES`."""
    if name not in TEMPLATES:
        raise UsageError(
            f"there is no template {name!r}.{did_you_mean(name, TEMPLATES)} "
            f"Templates: {', '.join(TEMPLATES)}."
        )
    folder = resources.files("daskseg") / "templates"
    return (folder / f"{name}.yaml").read_text(encoding="utf-8")


class _Loader(yaml.SafeLoader):
    """Safe YAML that refuses a key given twice and reads 5e-3 as a number."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            if key.value in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key {key.value!r} stands twice", key.start_mark
                )
            seen.add(key.value)
        return super().construct_mapping(node, deep=deep)


# YAML 1.1 takes 5e-3 for text because it has no dot; people mean the number.
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"^[-+]?\d+[eE][-+]?\d+$"), list("-+0123456789")
)


def read_yaml(path: str | Path) -> Any:
    """Read a YAML file without checking what it says.

    Raises
    ------
    UsageError
        The file is missing or not YAML, or a key stands twice; with line and column.
    """
    try:
        raw = Path(path).read_bytes()
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise UsageError(
            f"{path}: the study file cannot be read ({reason}). "
            "'daskseg init' writes a commented one."
        ) from error
    try:
        values = yaml.load(raw, _Loader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f" line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        raise UsageError(f"{path}{where}: not a study file: {error.problem}.") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: not a YAML file in UTF-8 ({error}).") from error
    return {} if values is None else values


def read_study(path: str | Path) -> Any:
    """Read the sections of a study file, or of the study that a run.json holds.

    Raises
    ------
    UsageError
        As `read_yaml`.
    """
    values = read_yaml(path)
    if isinstance(values, dict) and {"format_version", "run_id", "study"} <= set(values):
        return values["study"]
    return values
