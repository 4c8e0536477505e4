"""The page: one HTML file that needs no network, the same bytes for the same record.

Covers: order of the blocks, menu, styles and scripts inside the page, writing the file.
Does not cover: what the blocks say (daskseg.report.blocks).
See also: daskseg.records for the record.
"""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path
from typing import Any

from bokeh.model import Model

from daskseg.errors import ArtifactError
from daskseg.publish import replacing_file
from daskseg.report import (
    appendix,
    blocks,
    evidence,
    figures,
    firmness,
    flows,
    maps,
    model_block,
    structure,
    views,
)
from daskseg.report.embed import bokeh_script, figure_document
from daskseg.report.markup import Html, script_json, tag
from daskseg.report.views import Record
from daskseg.texts import sentences, text

__all__ = ["FORMAT_VERSION", "render_html", "write_report"]

#: Version of the record that this module draws.
FORMAT_VERSION = 1
_PARTS = ("kind", "verdict", "data", "segments", "features", "choice", "run")
#: Bokeh keeps to this: no network whatever the record says, even if a name were a script.
_POLICY = (
    "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; "
    "img-src data: blob:; font-src data:; base-uri 'none'; form-action 'none'"
)


def render_html(record: Record) -> str:
    """Return the report as one HTML page.

    Parameters
    ----------
    record : Mapping
        The record of a study as in report.json. Only what it holds is drawn: a study of a
        ready table has no cleaning, rules or cut points.

    Returns
    -------
    str
        About 1.4 MB, nearly all of it Bokeh's script. Opens from a file, makes no request,
        and is equal for equal records and versions of Bokeh and daskseg.

    Raises
    ------
    ArtifactError
        If the record has another format version or lacks a part.

    Examples
    --------
    >>> import json
    >>> from pathlib import Path
    >>> page = render_html(json.loads(Path("out/report.json").read_text()))  # doctest: +SKIP
    """
    _check(record)
    added = structure.parts(record)
    body = [
        block
        for block in (
            blocks.cards_block(record),
            blocks.size_block(record),
            blocks.map_block(record),
            blocks.choice_block(record),
            model_block.model_block(added),
            blocks.firm_block(record),
            blocks.moves_block(record),
            appendix.cleaning_block(record),
            appendix.rules_block(record),
            appendix.definitions_block(record),
            appendix.preparation_block(record),
            appendix.notices_block(record),
            appendix.profile_block(record),
            appendix.glossary_block(record),
            appendix.run_block(record),
        )
        if block is not None
    ]
    page = tag(
        "html",
        _head(record),
        tag(
            "body",
            tag("a", text("report.page.skip"), href="#segments", class_="skip"),
            _menu(record, body),
            tag(
                "main",
                blocks.header_block(record),
                tag("noscript", tag("p", text("report.page.no_script"), class_="note")),
                body,
            ),
            tag("footer", _made_by(record)),
            _scripts(record, added),
        ),
        lang="en-GB",
    )
    return f"<!doctype html>\n{page}\n"


def write_report(record: Record, path: Path) -> None:
    """Write the report; the file appears whole or not at all.

    Parameters
    ----------
    record : Mapping
        The record of a study, as for `render_html`.
    path : Path
        The HTML file; an older one is replaced.

    Raises
    ------
    ArtifactError
        If the record has another format version or lacks a part.
    OSError
        If the file cannot be written.

    Examples
    --------
    >>> import json
    >>> from pathlib import Path
    >>> record = json.loads(Path("out/report.json").read_text())  # doctest: +SKIP
    >>> write_report(record, Path("out/report.html"))  # doctest: +SKIP
    """
    page = render_html(record)
    with replacing_file(path) as work:
        work.write_text(page, encoding="utf-8", newline="\n")


def _check(record: Record) -> None:
    found = record.get("format_version")
    if found != FORMAT_VERSION:
        raise ArtifactError(text("report.errors.format", found=found, known=FORMAT_VERSION))
    for part in _PARTS:
        if record.get(part) is None:
            raise ArtifactError(text("report.errors.part", part=part))


def _head(record: Record) -> Html:
    title = record.get("title") or text("report.page.default_title")
    return tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", http_equiv="Content-Security-Policy", content=_POLICY),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", name="color-scheme", content="light dark"),
        tag("meta", name="referrer", content="no-referrer"),
        tag("title", title),
        tag("style", Html(_asset("report.css"))),
    )


def _menu(record: Record, body: list[Html]) -> Html:
    """Link the blocks that the page has."""
    whole = "".join(body)
    labels = dict(sentences("report.menu"))
    if not views.has_money(record):
        labels["size"] = text("report.size.customers")
    links = [
        tag("a", label, href=f"#{name}")
        for name, label in labels.items()
        if f'<section id="{name}"' in whole
    ]
    return tag("nav", tag("div", links), class_="menu", aria_label=text("report.page.contents"))


def _made_by(record: Record) -> Html:
    version = (record["run"].get("versions") or {}).get("daskseg")
    if version is None:
        return tag("p", text("report.page.made_by_unknown"))
    return tag("p", text("report.page.made_by", version=version))


def _scripts(record: Record, added: tuple[structure.Part, ...]) -> Html:
    """Put the figures, Bokeh and the starting lines behind the text, which shows at once."""
    parts = [
        tag(
            "script",
            script_json(figure_document(_figures(record, added))),
            id="figures",
            type="application/json",
        ),
        tag("script", _script_text(bokeh_script())),
        tag("script", _script_text(_asset("report.js"))),
    ]
    return Html("\n".join(parts))


def _figures(record: Record, added: tuple[structure.Part, ...]) -> dict[str, Model]:
    feature_map = maps.feature_map(record)
    rules = maps.rules(record)
    firm, moved = firmness.firmness(record), firmness.moves(record)
    drawn: dict[str, Any] = {
        "figure-size": figures.size_figure(views.size(record)),
        "figure-map": None if feature_map is None else figures.heat_figure(feature_map),
        **figures.choice_figures(evidence.choice(record).panels),
        **{model_block.figure_id(part): part.figure for part in added},
        "figure-silhouettes": firm and flows.silhouettes_figure(firm),
        "figure-jaccards": firm and flows.jaccards_figure(firm),
        "figure-moves": None if moved is None else flows.moves_figure(moved),
        "figure-rules": None if rules is None else figures.rules_figure(rules),
    }
    return {name: model for name, model in drawn.items() if model is not None}


def _script_text(script: str) -> Html:
    """Keep a script from ending the element it stands in."""
    return Html(script.replace("</script", "<\\/script"))


def _asset(name: str) -> str:
    return (files("daskseg") / "report" / name).read_text(encoding="utf-8")
