"""Words for what is wrong in a study: key path, value, limit, what to do.

Covers: the translation of pydantic's findings, with suggestions for mistyped keys.
Does not cover: the rules themselves (study.py, values.py).
"""

from __future__ import annotations

import datetime as dt
import difflib
import re
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pydantic import BaseModel

_LIMITS = {
    "greater_than_equal": "is too small; the least is {ge}",
    "greater_than": "is too small; it must be above {gt}",
    "less_than_equal": "is too large; the most is {le}",
    "less_than": "is too large; it must be below {lt}",
    "string_too_short": "is too short; at least {min_length} character is needed",
    "string_too_long": "is too long; at most {max_length} characters are allowed",
    "string_type": "is not text; put it in quotes if it is meant as text",
    "int_type": "is not a whole number",
    "float_type": "is not a number",
    "finite_number": "is not a finite number",
    "list_type": "is not a list; write [a, b]",
    "dict_type": "is not a set of 'key: value' pairs",
}


def explain(study: type[BaseModel], error: Mapping[str, Any], spelled: Mapping[str, str]) -> str:
    """Say in one sentence what pydantic found: key path, value, limit, remedy.

    Parameters
    ----------
    study : type
        The model that was checked; its keys are listed where one is unknown.
    error : mapping
        One of ``ValidationError.errors()``.
    spelled : mapping of str to str
        What the user wrote for a key path, where that is not the path itself.
    """
    location = tuple(part for part in error["loc"] if part != "[key]")
    path = _dotted(location)
    label = spelled.get(path, path)
    kind, value, facts = error["type"], short(error["input"]), error.get("ctx", {})
    if kind == "extra_forbidden":
        return _unknown_key(study, location)
    if kind == "missing":
        return f"{label} is missing."
    if kind in ("model_type", "model_attributes_type"):
        known = _keys(study, location)
        return f"{label}: {value} is not a section; its keys are {', '.join(known)}."
    if kind == "literal_error":
        known = re.findall(r"'([^']*)'", facts["expected"])
        guess = did_you_mean(str(error["input"]), known)
        return f"{label}: {value} is not known.{guess} Known: {', '.join(known)}."
    if kind == "value_error":
        rule = str(facts["error"])  # a rule that begins otherwise names key and value itself
        return f"{label}: {value} {rule}." if rule.startswith("must") else f"{label}: {rule}."
    limit = _LIMITS.get(kind)
    return f"{label}: {value} {limit.format(**facts) if limit else error['msg']}."


def _unknown_key(study: type[BaseModel], location: Sequence[str | int]) -> str:
    *parents, last = location
    known = _keys(study, parents)
    guess = did_you_mean(str(last), known)
    homes = [
        f"{section}.{last}"
        for section, field in study.model_fields.items()
        if last in getattr(field.annotation, "model_fields", {})
    ]
    if homes and not guess:
        guess = f" It belongs to another section: {' or '.join(homes)}."
    where = f"Keys of {_dotted(parents)}" if parents else "Sections"
    return f"unknown key {_dotted(location)!r}.{guess} {where}: {', '.join(known)}."


def _keys(study: type[BaseModel], location: Sequence[str | int]) -> list[str]:
    model = study
    for part in location:
        model = cast("type[BaseModel]", model.model_fields[str(part)].annotation)
    return list(model.model_fields)


def _dotted(location: Sequence[str | int]) -> str:
    """Write a key path as in messages: data.passive[2]."""
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in location)
    return text.removeprefix(".")


def did_you_mean(word: str, known: Sequence[str]) -> str:
    """Return a sentence that names the closest known word, or nothing."""
    close = difflib.get_close_matches(word.lower(), known, n=1)
    return f" Did you mean {close[0]!r}?" if close else ""


def short(value: object) -> str:
    """Write a value as in messages, cut at 80 characters."""
    text = str(value) if isinstance(value, dt.date) else repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
