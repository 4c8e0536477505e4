"""The catalogue of every sentence that a person reads.

Covers: looking up a sentence by its dotted key and filling in its values.
Does not cover: formatting numbers (the caller hands over finished words).
See also: the files ``daskseg/catalogue/<area>.toml``, one per area.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from functools import cache
from importlib.resources import files


def text(key: str, /, **values: object) -> str:
    """Return the sentence at ``key`` with its placeholders filled in.

    Parameters
    ----------
    key : str
        Dotted: the first part names the file in ``daskseg/catalogue``, the rest the nested
        tables in it. ``"report.cards.title"`` is ``[cards] title`` in ``report.toml``.
    **values : object
        What stands in the placeholders of the sentence (``str.format``). A literal brace in
        the catalogue is written twice.

    Returns
    -------
    str
        The finished sentence.

    Raises
    ------
    KeyError
        If the area, the key or a placeholder value is missing, or if ``key`` names a table.

    Examples
    --------
    >>> text("report.numbers.times", value="4.5")
    '4.5×'
    """
    found = _find(key)
    if not isinstance(found, str):
        raise KeyError(f"text {key!r} is a table of the catalogue, not a sentence")
    try:
        return found.format(**values)
    except (KeyError, IndexError) as error:
        raise KeyError(f"text {key!r} needs a value for {error} : {found!r}") from None


def has_text(key: str, /) -> bool:
    """Say whether the catalogue has a sentence (not a table) at ``key``.

    Parameters
    ----------
    key : str
        Dotted key as in `text`.

    Returns
    -------
    bool
        True if ``text(key, ...)`` finds a sentence.

    Examples
    --------
    >>> has_text("report.numbers.times"), has_text("report.nothing")
    (True, False)
    """
    try:
        return isinstance(_find(key), str)
    except KeyError:
        return False


def sentences(key: str, /) -> dict[str, str]:
    """Return all sentences of one table of the catalogue, unfilled, in the order of the file.

    Parameters
    ----------
    key : str
        Dotted key of a table that holds only sentences, such as ``"report.glossary"``.

    Returns
    -------
    dict of str to str
        A new dictionary: name of the sentence, sentence.

    Raises
    ------
    KeyError
        If there is no such table, or if it holds anything but sentences.

    Examples
    --------
    >>> sentences("report.months")["1"]
    'January'
    """
    found = _find(key)
    if isinstance(found, str):
        raise KeyError(f"text {key!r} is a sentence of the catalogue, not a table")
    result: dict[str, str] = {}
    for name, value in found.items():
        if not isinstance(value, str):
            raise KeyError(f"text {key!r} holds the table {name!r}, not only sentences")
        result[name] = value
    return result


def _find(key: str) -> str | Mapping[str, object]:
    """Walk the dotted key through its area's file."""
    area, *names = key.split(".")
    found: object = _area(area)
    for name in names:
        if not isinstance(found, Mapping) or name not in found:
            raise KeyError(f"text {key!r} is not in the catalogue: daskseg/catalogue/{area}.toml")
        found = found[name]
    if not isinstance(found, (str, Mapping)):
        raise KeyError(f"text {key!r} is neither a sentence nor a table, but {found!r}")
    return found


@cache
def _area(area: str) -> Mapping[str, object]:
    """Read one file of the catalogue, once per process."""
    source = files("daskseg") / "catalogue" / f"{area}.toml"
    if not area.isidentifier() or not source.is_file():
        raise KeyError(f"the catalogue has no area {area!r}: daskseg/catalogue/{area}.toml")
    return tomllib.loads(source.read_text(encoding="utf-8"))
