"""Naming schemes: data that give each of the 125 scores exactly one name.

Covers: reading ``schemes/*.toml`` or a user's own file, the proof that its rules cover every
score once, and names of customers. Does not cover: scores (see `features.scores`) and names
of clusters (see `segments`).
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from daskseg.errors import UsageError
from daskseg.features.scores import N_SCORES, cell_of

_TEXTS = ("definition", "action", "channel", "kpi")
_SHOWN = 5


@dataclass(frozen=True)
class SchemeEntry:
    """One name of a scheme and what it stands for."""

    name: str
    definition: str
    action: str
    channel: str
    kpi: str


@dataclass(frozen=True, eq=False)
class Scheme:
    """A naming scheme that covers each of the 125 scores exactly once.

    Attributes
    ----------
    name, version, title : str
    entries : tuple of SchemeEntry
    cells : ndarray of shape (125,), int8
        Position in `entries` of each score, R first, M last.
    """

    name: str
    version: str
    title: str
    entries: tuple[SchemeEntry, ...]
    cells: NDArray[np.int8]

    @property
    def names(self) -> tuple[str, ...]:
        """The names, in the order of the file."""
        return tuple(entry.name for entry in self.entries)

    def entry(self, name: str) -> SchemeEntry:
        """Return the entry of a name."""
        return self.entries[self.names.index(name)]

    def entry_of(self, r: NDArray[Any], f: NDArray[Any], m: NDArray[Any]) -> NDArray[np.int8]:
        """Return the position in `entries` of each triple of scores."""
        return self.cells[cell_of(r, f, m)]

    def name_of(self, r: NDArray[Any], f: NDArray[Any], m: NDArray[Any]) -> NDArray[Any]:
        """Return the name of each triple of scores.

        Parameters
        ----------
        r, f, m : ndarray of int of shape (n,)
            Scores from 1 to 5.

        Returns
        -------
        ndarray of str of shape (n,)

        Examples
        --------
        >>> scheme = load_scheme("rfm11")
        >>> scheme.name_of(np.array([5, 1]), np.array([5, 1]), np.array([5, 1])).tolist()
        ['Champions', 'Lost']
        """
        return np.array(self.names, dtype=object)[self.entry_of(r, f, m)]


def scheme_names() -> tuple[str, ...]:
    """Return the names of the schemes that ship with daskseg.

    Examples
    --------
    >>> scheme_names()
    ('rf10-grid', 'rfm11')
    """
    folder = resources.files("daskseg.features") / "schemes"
    names = (entry.name for entry in folder.iterdir())
    return tuple(sorted(name.removesuffix(".toml") for name in names if name.endswith(".toml")))


def load_scheme(name: str | Path = "rfm11") -> Scheme:
    """Read a scheme and prove that it covers every score once.

    Parameters
    ----------
    name : str or Path
        A name from `scheme_names`, or the path of a TOML file of the same form.

    Raises
    ------
    UsageError
        The name is not known, the file cannot be read, or the rules leave scores without a
        name or give them several.

    Examples
    --------
    >>> load_scheme("rfm11").version
    '1'
    """
    if str(name) in scheme_names():
        path = resources.files("daskseg.features") / "schemes" / f"{name}.toml"
        return _build(tomllib.loads(path.read_text(encoding="utf-8")), str(name))
    own = Path(name)
    if not own.is_file():
        known = ", ".join(repr(known) for known in scheme_names())
        raise UsageError(
            f"the scheme {str(name)!r} is neither known nor a file. Known: {known}; "
            "or give the path of a TOML file."
        )
    try:
        table = tomllib.loads(own.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"the scheme file {str(own)!r} is not TOML: {error}.") from error
    return _build(table, str(own))


def _range_of(rule: Mapping[str, Any], key: str, where: str) -> tuple[float, float]:
    limits = rule.get(key, [1, N_SCORES])
    numbers = isinstance(limits, list) and len(limits) == 2
    if not numbers or not all(type(limit) in (int, float) for limit in limits):
        raise UsageError(
            f"{where}: {key} = {limits!r} must be [lowest, highest], e.g. {key} = [4, 5]."
        )
    low, high = limits
    if not 1 <= low <= high <= N_SCORES:
        raise UsageError(f"{where}: {key} = {limits!r} must rise from 1 to {N_SCORES} at most.")
    return float(low), float(high)


def _covered(rule: Mapping[str, Any], where: str) -> NDArray[np.bool_]:
    """Mark the scores that one rule covers; v stands for (F + M) / 2."""
    unknown = sorted(set(rule) - {"r", "f", "m", "v"})
    if unknown:
        raise UsageError(f"{where}: a rule knows the keys r, f, m and v, not {unknown[0]!r}.")
    r, f, m = np.indices((N_SCORES,) * 3).reshape(3, -1) + 1
    inside = np.ones(len(r), dtype=bool)
    for key, value in (("r", r), ("f", f), ("m", m), ("v", (f + m) / 2)):
        low, high = _range_of(rule, key, where)
        inside &= (value >= low) & (value <= high)
    return inside


def _tables(table: Mapping[str, Any], key: str, where: str) -> list[Mapping[str, Any]]:
    """Return a list of tables, such as [[segments]]."""
    found = table.get(key, [])
    if not isinstance(found, list) or not all(isinstance(one, Mapping) for one in found):
        raise UsageError(f"{where}: {key} = {found!r} must be a list of tables.")
    return found


def _spell(cells: NDArray[np.int64]) -> str:
    shown = [
        f"R{cell // 25 + 1}F{cell // 5 % 5 + 1}M{cell % 5 + 1}" for cell in cells[:_SHOWN].tolist()
    ]
    return ", ".join(shown) + (", …" if len(cells) > _SHOWN else "")


def _build(table: Mapping[str, Any], where: str) -> Scheme:
    entries: list[SchemeEntry] = []
    covers: list[NDArray[np.bool_]] = []
    unknown = sorted(set(table) - {"name", "version", "title", "segments"})
    if unknown:
        raise UsageError(
            f"scheme {where!r}: the key {unknown[0]!r} is not known; a scheme has name, version, "
            "title and [[segments]]."
        )
    for number, segment in enumerate(_tables(table, "segments", f"scheme {where!r}"), start=1):
        name = segment.get("name")
        if not isinstance(name, str) or not name:
            raise UsageError(f"scheme {where!r}: segment {number} has no name.")
        inside = f"scheme {where!r}, segment {name!r}"
        extra = sorted(set(segment) - {"name", "rules", *_TEXTS})
        if extra:
            raise UsageError(f"{inside}: the key {extra[0]!r} is not known.")
        if any(entry.name == name for entry in entries):
            raise UsageError(f"{inside}: the name stands twice; give one segment several rules.")
        entries.append(SchemeEntry(name, *(str(segment.get(key, "")) for key in _TEXTS)))
        cover = np.zeros(N_SCORES**3, dtype=bool)
        for rule in _tables(segment, "rules", inside):
            own = _covered(rule, inside)
            twice = np.flatnonzero(cover & own)
            if len(twice):
                raise UsageError(
                    f"{inside}: its rules overlap on {len(twice)} scores: {_spell(twice)}."
                )
            cover |= own
        covers.append(cover)
    if not entries:
        raise UsageError(f"scheme {where!r} has no [[segments]].")
    counts = np.sum(covers, axis=0)
    holes, overlaps = np.flatnonzero(counts == 0), np.flatnonzero(counts > 1)
    faults = []
    if len(holes):
        faults.append(f"{len(holes)} scores have no name: {_spell(holes)}")
    if len(overlaps):
        first = overlaps[0]
        both = " and ".join(
            repr(entry.name) for entry, cover in zip(entries, covers, strict=True) if cover[first]
        )
        faults.append(
            f"{len(overlaps)} scores have several: {_spell(overlaps)} "
            f"({_spell(overlaps[:1])} is {both})"
        )
    if faults:
        raise UsageError(
            f"scheme {where!r} must give each of the {N_SCORES**3} scores exactly one name, but "
            f"{'; '.join(faults)}."
        )
    return Scheme(
        name=str(table.get("name", Path(where).stem)),
        version=str(table.get("version", "1")),
        title=str(table.get("title", "")),
        entries=tuple(entries),
        cells=np.argmax(covers, axis=0).astype(np.int8),
    )
