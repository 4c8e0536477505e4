"""Commands about study files: init and schema. They read no data."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from daskseg.cli import options as opt
from daskseg.cli.talk import Talk
from daskseg.errors import UsageError
from daskseg.texts import text


def init(
    path: Annotated[
        str, typer.Argument(metavar="[FILE]", help="File to write; - is stdout.")
    ] = "study.yaml",
    template: Annotated[
        str, typer.Option(metavar="rfm|segment|crisp-dm", help="What kind of study.")
    ] = "rfm",
    force: Annotated[bool, typer.Option("--force", help="Replace an existing file.")] = False,
    json: opt.Json = False,
    quiet: opt.Quiet = False,
    debug: opt.Debug = False,
) -> None:
    """Write a commented study file to fill in.

    rfm is for a ledger, segment for a table of customers; crisp-dm is rfm with the checklist of
    that process as comments, so that the file documents the project.
    """
    from daskseg.config import template_text

    content = template_text(template)
    talk = Talk(json, quiet, debug=debug)
    if path == "-":
        talk.result({"template": template, "text": content}, [content.rstrip("\n")])
        return
    target = Path(path)
    if target.exists() and not force:
        raise UsageError(text("cli.errors.file_exists", path=target))
    try:
        target.write_text(content, encoding="utf-8")
    except OSError as error:
        raise UsageError(
            text("cli.errors.cannot_write", path=target, why=error.strerror)
        ) from error
    talk.say([text("cli.init.wrote", path=target), text("cli.init.next", path=target)])
    talk.result({"template": template, "path": str(target)})


def schema(json: opt.Json = False, debug: opt.Debug = False) -> None:
    """Print the JSON Schema of study files.

    With it editors complete and check them. Put this line first in a study file:
    # yaml-language-server: $schema=study.schema.json
    """
    import json as json_module

    from daskseg.config import Study

    record = Study.schema()
    lines = [json_module.dumps(record, indent=2, ensure_ascii=False)]
    Talk(json, debug=debug).result(record, lines)
