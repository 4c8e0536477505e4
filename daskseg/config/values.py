"""Readers of single values of a study file.

Covers: what a value may look like (days, windows, ranges, encodings), said in words when it
does not. Each reader takes the raw value and returns the value to check further, or raises
ValueError with the rule that was broken; the key and the value are put in front of it later.
Does not cover: the keys (study.py), the whole message (messages.py).
"""

from __future__ import annotations

import codecs
import datetime as dt
import os
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from pydantic import ValidatorFunctionWrapHandler

# A report with more segments than this is not read; the charts are laid out for it.
MAX_CLUSTERS = 20
MAX_SEED = 2**32 - 1


def read_source(value: object) -> object:
    """Take a path, glob or URL, or a list of these; path objects become text."""
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if isinstance(value, str) and value.strip():
        return value
    if isinstance(value, list | tuple) and value:
        paths = [os.fspath(v) if isinstance(v, os.PathLike) else v for v in value]
        if all(isinstance(path, str) and path.strip() for path in paths):
            return paths
    raise ValueError("must be a path, a glob or a URL, or a list of these that is not empty")


def read_date(value: object) -> object:
    """Take a day as a date or as ISO text; numbers and times of day are refused."""
    words = "must be a day like 2026-01-31"
    if isinstance(value, dt.datetime):
        raise ValueError(f"{words}, without a time of day")  # noqa: TRY004 — pydantic's way
    if isinstance(value, str):
        if not re.fullmatch(r"\d{4}-\d{2}-\d{2}", value):
            raise ValueError(words)
        try:
            return dt.date.fromisoformat(value)
        except ValueError as error:
            raise ValueError(f"{words}; the calendar has no such day") from error
    if value is None or isinstance(value, dt.date):
        return value
    raise ValueError(words)


def read_window(value: object) -> object:
    """Take a length like 365d or 52w and return it in days, as text."""
    if value is None:
        return None
    match = re.fullmatch(r"([1-9]\d{0,5})([dw])", value) if isinstance(value, str) else None
    if match is None:
        raise ValueError("must be a number of days or weeks above zero, like 365d or 52w")
    days = int(match[1]) * (7 if match[2] == "w" else 1)
    return f"{days}d"


def read_k(value: object) -> object:
    """Take auto or a number of segments."""
    if value == "auto" or (
        isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= MAX_CLUSTERS
    ):
        return value
    raise ValueError(f"must be auto or a whole number from 1 to {MAX_CLUSTERS}")


def read_k_range(value: object) -> object:
    """Take the smallest and the largest number of segments."""
    if isinstance(value, list | tuple) and len(value) == 2:
        low, high = value
        if type(low) is int and type(high) is int and 2 <= low < high <= MAX_CLUSTERS:
            return (low, high)
    raise ValueError(
        f"must be two whole numbers, smallest first, from 2 to {MAX_CLUSTERS}, like [2, 10] "
        "(2:10 as an option)"
    )


def read_eps(value: object) -> object:
    """Take auto or a distance."""
    if value == "auto":
        return value
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < float("inf"):
        return float(value)
    raise ValueError("must be auto or a number above 0")


def read_min_samples(value: object) -> object:
    """Take auto or a number of customers."""
    if value == "auto" or (type(value) is int and value >= 1):
        return value
    raise ValueError("must be auto or a whole number from 1")


def read_columns_or_auto(value: object) -> object:
    """Take auto or a list of column names."""
    if value == "auto":
        return value
    if isinstance(value, list | tuple) and all(isinstance(name, str) and name for name in value):
        return list(value)
    raise ValueError("must be auto or a list of column names ([] for none)")


def read_pca(value: object) -> object:
    """Take nothing, a share of the variance, or a number of components."""
    if value is None or (type(value) is int and value >= 1):
        return value
    if isinstance(value, float) and 0 < value < 1:
        return value
    raise ValueError(
        "must be null (no components), the share of the variance to keep, above 0 and below 1 like "
        "0.9, or a whole number of components from 1"
    )


def read_encoding(value: object) -> object:
    """Take a text encoding and return Python's own name of it."""
    if isinstance(value, str):
        try:
            "".encode(value)  # refuses codecs that are no text, such as hex
            return codecs.lookup(value).name
        except LookupError:
            pass
    raise ValueError("must be a text encoding that Python knows, like utf-8 or latin-1")


def read_delimiter(value: object) -> object:
    """Take one character, or a word for the tab, which no keyboard types well."""
    value = {"tab": "\t", "\\t": "\t"}.get(value, value) if isinstance(value, str) else value
    if value is None or (isinstance(value, str) and len(value) == 1 and value not in '"\r\n'):
        return value
    raise ValueError("must be one character, like ';', or the word tab")


def read_names(value: object) -> object:
    """Take names by segment id."""
    if isinstance(value, Mapping):
        for key, name in value.items():
            if not (isinstance(key, str) and re.fullmatch(r"S[1-9]\d{0,2}", key)):
                raise ValueError(f"{key!r} is not a segment id: ids are S1, S2, and so on")
            if not (isinstance(name, str) and 0 < len(name.strip()) <= 80):
                raise ValueError(f"the name of {key} must be text of 1 to 80 characters")
    return value


def unique_names(value: object, handler: ValidatorFunctionWrapHandler) -> list[str]:
    """Check a list of names further: none may stand twice."""
    names = cast("list[str]", handler(value))
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(f"names {', '.join(map(repr, twice))} more than once")
    return names
