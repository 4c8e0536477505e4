"""From options to a study: the command line says nothing that a study file cannot say.

Covers: which key each option sets, and the few values that are written differently.
Does not cover: whether values are allowed (daskseg.config).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from daskseg.errors import UsageError

if TYPE_CHECKING:
    from daskseg.config import Study

# Parameter of a command: (key of the study, what the user types).
KEYS = {
    "name": ("project.name", "project.name"),
    "currency": ("project.currency", "--currency"),
    "source": ("data.source", "the data source"),
    "kind": ("data.kind", "data.kind"),
    "format": ("data.format", "--format"),
    "columns": ("data.columns", "--column"),
    "preset": ("data.preset", "--preset"),
    "date_format": ("data.date_format", "--date-format"),
    "encoding": ("data.encoding", "--encoding"),
    "delimiter": ("data.delimiter", "--delimiter"),
    "id": ("data.id", "--id"),
    "value": ("data.value", "--value"),
    "passive": ("data.passive", "--passive"),
    "partitions": ("data.partitions", "--partitions"),
    "snapshot": ("data.snapshot", "--snapshot"),
    "window": ("data.window", "--window"),
    "returns": ("data.returns", "--returns"),
    "duplicates": ("data.duplicates", "--duplicates"),
    "non_products": ("data.non_products", "--non-products"),
    "pca": ("prepare.pca", "--pca"),
    "model": ("model.kind", "--model"),
    "k": ("model.k", "--k"),
    "k_range": ("model.k_range", "--k-range"),
    "seed": ("model.seed", "--seed"),
    "min_share": ("model.min_share", "--min-share"),
    "max_share": ("model.max_share", "--max-share"),
    "min_customers": ("model.min_customers", "--min-customers"),
    "scheme": ("label.scheme", "--scheme"),
    "title": ("report.title", "--title"),
    "map": ("report.map", "--map"),
}


def study_from_flags(**flags: Any) -> Study:
    """Build a study from options; those that are None or empty keep their defaults."""
    from daskseg.config import Study

    values: dict[str, Any] = {}
    spelled = _apply(values, flags)
    return Study.from_dict(values, origin="", spelled=spelled)


def study_from_file(path: Path, **flags: Any) -> Study:
    """Read a study file and let options win over its keys."""
    from daskseg.config import Study, read_study

    values = read_study(path)
    if not isinstance(values, Mapping):
        return Study.from_dict(values, origin=str(path))
    values = {
        key: dict(part) if isinstance(part, Mapping) else part for key, part in values.items()
    }
    spelled = _apply(values, flags)
    return Study.from_dict(values, origin=str(path), spelled=spelled)


def data_overrides(**flags: Any) -> dict[str, Any]:
    """Return the keys of the data section that options set, checked like a study's.

    Used where a model brings its own definitions and only the reading may differ.
    """
    from daskseg.config import Study

    values: dict[str, Any] = {"data": {"source": "-"}}
    spelled = _apply(values, flags)
    given = set(values["data"]) - {"source"}
    checked = Study.from_dict(values, origin="", spelled=spelled).to_dict()["data"]
    return {key: value for key, value in checked.items() if key in given}


def one_or_many(sources: Sequence[str]) -> str | list[str]:
    """Return a single source as text, several as a list."""
    return sources[0] if len(sources) == 1 else list(sources)


def _apply(values: dict[str, Any], flags: Mapping[str, Any]) -> dict[str, str]:
    """Put options into the sections; return what the user typed for each key."""
    if flags.get("k_range") is not None and flags.get("k") not in (None, "auto"):
        raise UsageError(
            f"--k {flags['k']} leaves nothing to choose from --k-range {flags['k_range']}: give "
            "one of them."
        )
    spelled = {}
    for parameter, value in flags.items():
        if value is None or value == []:
            continue
        path, typed = KEYS[parameter]
        section, key = path.split(".")
        if values.get(section) is None:
            values[section] = {}
        if isinstance(values[section], dict):  # else the study file is at fault: it will be told
            values[section][key] = _READERS.get(parameter, _same)(value)
            spelled[path] = typed
    return spelled


def _same(value: Any) -> Any:
    return value


def _read_k(value: str) -> str | int:
    return int(value) if value.isdecimal() and value.isascii() else value


def _read_range(value: str) -> object:
    low, _, high = value.partition(":")
    return [_read_k(low), _read_k(high)] if high else value


def _read_columns(values: Sequence[str]) -> dict[str, str]:
    columns: dict[str, str] = {}
    for value in values:
        role, equals, header = (part.strip() for part in value.partition("="))
        if not (role and equals and header):
            raise UsageError(
                f"--column {value!r} is not ROLE=HEADER; write for instance "
                "--column customer_id='Client No'."
            )
        if role in columns:
            raise UsageError(
                f"--column names the role {role!r} twice: {columns[role]!r} and {header!r}."
            )
        columns[role] = header
    return columns


def _read_pca(value: str) -> object:
    """Read a number; what is none is told by the study's schema."""
    try:
        return _read_k(value) if value.isdecimal() else float(value)
    except ValueError:
        return value


_READERS: dict[str, Callable[[Any], Any]] = {
    "pca": _read_pca,
    "k": _read_k,
    "k_range": _read_range,
    "columns": _read_columns,
}
