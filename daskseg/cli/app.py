"""The ``daskseg`` command: its subcommands, their help, and `main`.

Covers: registration, help that begins with an example, ``--version``.
Does not cover: what a command does (study.py, data.py, files.py), exit codes (outcome.py).
Start-up: nothing heavier than typer is imported here or by the command modules; every command
imports what it needs when it runs.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup

from daskseg.cli import data, files, plan, study
from daskseg.cli.outcome import Outcome

EXAMPLES = {
    "daskseg": (
        "daskseg demo retail --out demo               made-up data, a first report in a minute",
        "daskseg rfm ledger.csv --out out/shop        your own ledger",
    ),
    "demo": ("daskseg demo retail --out demo",),
    "retail": ("daskseg demo retail --out demo --rows 1e6",),
    "rfm": (
        "daskseg rfm ledger.csv --out out/shop --snapshot 2026-01-01",
        "daskseg rfm 'in/*.parquet' --out out/shop --window 365d --k 5 --currency GBP",
        "daskseg rfm till.csv --out out/shop --column customer_id=Client --column date=Day",
    ),
    "segment": (
        "daskseg segment customers.csv --id customer_id --out out/customers",
        "daskseg segment users.parquet --id user --value revenue --passive country --out out/users",
    ),
    "run": (
        "daskseg run study.yaml --out out/study",
        "daskseg run study.yaml --out out/study --snapshot 2026-02-01",
    ),
    "init": (
        "daskseg init                                 writes study.yaml for a ledger",
        "daskseg init --template segment table.yaml   for a table of customers",
    ),
    "schema": ("daskseg schema > study.schema.json",),
    "check": (
        "daskseg check ledger.csv",
        "daskseg check customers.parquet --id customer_id",
        "daskseg check study.yaml",
    ),
    "plan": (
        "daskseg plan study.yaml",
        "daskseg plan study.yaml --k-range 2:20 --json",
    ),
    "assign": (
        "daskseg assign out/shop/model ledger.csv --snapshot 2026-02-01 --out assigned.parquet",
    ),
    "inspect": ("daskseg inspect out/shop/model",),
}


class _ExampleFirst:
    """Mixin: help begins with what to type."""

    def format_help(self, ctx: Any, formatter: Any) -> None:
        name = "daskseg" if ctx.parent is None else ctx.info_name
        with formatter.section("Example" if len(EXAMPLES[name]) == 1 else "Examples"):
            for line in EXAMPLES[name]:
                formatter.write(f"{'':{formatter.current_indent}}$ {line}\n")
        formatter.write_paragraph()
        super().format_help(ctx, formatter)  # type: ignore[misc]


class _Command(_ExampleFirst, TyperCommand):
    pass


class _Group(_ExampleFirst, TyperGroup):
    def list_commands(self, ctx: Any) -> list[str]:
        return [name for name in EXAMPLES if name in self.commands]


app = typer.Typer(
    name="daskseg",
    cls=_Group,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
demo = typer.Typer(cls=_Group, rich_markup_mode=None)


def _show_version(wanted: bool) -> None:
    if wanted:
        from daskseg import __version__

        typer.echo(f"daskseg {__version__}")
        raise typer.Exit


def _help_if_alone(ctx: typer.Context) -> None:
    if ctx.invoked_subcommand is None:
        typer.echo(ctx.get_help(), err=True)
        raise typer.Exit(2)


@app.callback(invoke_without_command=True)
def daskseg(
    ctx: typer.Context,
    version: Annotated[  # noqa: ARG001 — its callback does the work
        bool,
        typer.Option(
            "--version", callback=_show_version, is_eager=True, help="Show the version and exit."
        ),
    ] = False,
) -> None:
    """Segment customers on Dask: from a raw ledger to named segments.

    Exit codes: 0 done, 1 unexpected, 2 usage, 4 the data are at fault, 5 it cannot fit,
    6 model or format mismatch, 130 interrupted.
    """
    _help_if_alone(ctx)


@demo.callback(invoke_without_command=True)
def demos(ctx: typer.Context) -> None:
    """Make up data with known segments, then study them. Works offline."""
    _help_if_alone(ctx)


app.add_typer(demo, name="demo")
demo.command("retail", cls=_Command, short_help="The ledger of a shop.")(study.retail)
_COMMANDS: dict[str, Callable[..., None]] = {
    "rfm": study.rfm,
    "segment": study.segment,
    "run": study.run,
    "init": files.init,
    "schema": files.schema,
    "check": data.check,
    "plan": plan.plan,
    "assign": data.assign,
    "inspect": data.inspect,
}
for _name, _function in _COMMANDS.items():
    app.command(_name, cls=_Command)(_function)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code.

    Parameters
    ----------
    argv : sequence of str, optional
        The arguments, without the program's name. None: those of the process.

    Returns
    -------
    int
        0, or what went wrong: see ``daskseg -h``.

    Examples
    --------
    >>> main(["init", "-"])  # doctest: +ELLIPSIS
    # A study of a ledger: one row per order line -> one row per customer -> segments...
    0
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    with Outcome(arguments) as outcome:
        code = typer.main.get_command(app).main(
            arguments, prog_name="daskseg", standalone_mode=False
        )
        outcome.end(code if isinstance(code, int) else 0)
    return outcome.exit_code
