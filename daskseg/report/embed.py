"""Bokeh figures as data that is the same, byte for byte, for the same figures.

Covers: the document of all figures with renumbered ids, and Bokeh's own script.
Does not cover: the figures (daskseg.report.figures) and starting them (report.js).
See also: daskseg.report.page.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from bokeh.document import Document
from bokeh.model import Model
from bokeh.resources import Resources

__all__ = ["bokeh_script", "figure_document"]


def figure_document(figures: Mapping[str, Model]) -> dict[str, Any]:
    """Return what report.js needs to draw the figures.

    Parameters
    ----------
    figures : mapping of str to Model
        Id of the element that holds the figure, figure.

    Returns
    -------
    dict
        ``document``: Bokeh's JSON, with its ids (counted per process) renumbered in the order
        of appearance; ``roots``: id of each figure in it, id of its element.
    """
    document = Document(title="")
    for model in figures.values():
        document.add_root(model)
    plain: dict[str, Any] = dict(document.to_json(deferred=False))
    names: dict[str, str] = {}
    for owner in _owners(plain):
        names.setdefault(owner["id"], f"r{len(names)}")
    renamed = _rename(plain, names)
    roots = {root["id"]: element for root, element in zip(renamed["roots"], figures, strict=True)}
    return {"document": renamed, "roots": roots}


def bokeh_script() -> str:
    """Return Bokeh's core script (about 1.3 MB), as it ships with the installed Bokeh."""
    return "\n".join(Resources(mode="inline", components=["bokeh"]).js_raw)


def _owners(value: Any) -> Iterator[dict[str, Any]]:
    """Yield every part that defines or refers to a model, in document order."""
    if isinstance(value, dict):
        if isinstance(value.get("id"), str) and (len(value) == 1 or value.get("type") == "object"):
            yield value
        for part in value.values():
            yield from _owners(part)
    elif isinstance(value, list):
        for part in value:
            yield from _owners(part)


def _rename(value: Any, names: Mapping[str, str]) -> Any:
    """Return a copy in which every id of a model is its new name."""
    if isinstance(value, dict):
        copy = {key: _rename(part, names) for key, part in value.items()}
        if isinstance(value.get("id"), str) and (len(value) == 1 or value.get("type") == "object"):
            copy["id"] = names[value["id"]]
        return copy
    if isinstance(value, list):
        return [_rename(part, names) for part in value]
    return value
