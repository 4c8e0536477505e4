"""What a command ends with: an exit code, and one message if it failed.

Covers: the one table from errors to exit codes; the JSON form of an error; ``--debug``.
Does not cover: the wording of errors (where they are raised).
"""

from __future__ import annotations

import json
import os
import sys
import traceback
from collections.abc import Sequence
from types import TracebackType
from typing import Self

import typer

from daskseg.errors import DasksegError, MemoryBudgetError, UsageError
from daskseg.texts import text

INTERRUPTED = 130


class Outcome:
    """Context manager around one command that turns what it raises into an exit code.

    Parameters
    ----------
    arguments : sequence of str
        What was typed. Looked at for ``--json`` and ``--debug``, which must work even when
        the arguments cannot be parsed.

    Attributes
    ----------
    exit_code : int

    Examples
    --------
    >>> from daskseg.errors import InputError
    >>> with Outcome(["--json"]) as outcome:
    ...     raise InputError("no rows")
    {"error": "InputError", "message": "no rows", "exit_code": 4}
    >>> outcome.exit_code
    4
    """

    def __init__(self, arguments: Sequence[str]) -> None:
        options = arguments[: arguments.index("--")] if "--" in arguments else arguments
        self.as_json = "--json" in options
        self.debug = "--debug" in options
        self.exit_code = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> bool:
        """Report the error, if there is one, and keep it from going further."""
        if error is None or isinstance(error, SystemExit | GeneratorExit):
            return False
        if isinstance(error, BrokenPipeError):
            # The reader of our output has gone, as in `daskseg schema | head`.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            self.exit_code = 1
            return True
        name, message, self.exit_code = _classify(error)
        if self.debug:
            traceback.print_exception(kind, error, trace)
        self._report(name, message)
        return True

    def end(self, exit_code: int) -> None:
        """Record the code of a command that came to its end."""
        self.exit_code = exit_code
        if exit_code == INTERRUPTED:  # newer typer returns it instead of raising
            self._report("KeyboardInterrupt", text("cli.errors.interrupted"))

    def _report(self, name: str, message: str) -> None:
        sys.stdout.flush()
        typer.echo(text("cli.errors.line", message=message), err=True)
        if self.as_json:
            record = {"error": name, "message": message, "exit_code": self.exit_code}
            typer.echo(json.dumps(record, ensure_ascii=False))


def _classify(error: BaseException) -> tuple[str, str, int]:
    """Return the error's name, its message and its exit code."""
    if isinstance(error, DasksegError):
        return type(error).__name__, str(error), error.exit_code
    if isinstance(error, KeyboardInterrupt | typer.Abort):
        return "KeyboardInterrupt", text("cli.errors.interrupted"), INTERRUPTED
    # The parser's own errors, known by their shape: their home moved between typer releases.
    if hasattr(error, "format_message") and hasattr(error, "exit_code"):
        return UsageError.__name__, _usage_message(error), UsageError.exit_code
    if isinstance(error, MemoryError):
        return "MemoryError", text("cli.errors.memory"), MemoryBudgetError.exit_code
    message = " ".join(str(error).split())
    words = text("cli.errors.unexpected", kind=type(error).__name__, message=message)
    return type(error).__name__, words, 1


def _usage_message(error: BaseException) -> str:
    options = sorted(getattr(error, "possibilities", None) or [])
    if options:
        message = text(
            "cli.errors.no_such_option",
            option=getattr(error, "option_name", ""),
            close=text("cli.errors.or").join(options),
        )
    else:
        message = str(error.format_message())  # type: ignore[attr-defined]
    context = getattr(error, "ctx", None)
    if context is not None:
        message += "\n" + text("cli.errors.try_help", command=context.command_path)
    return message
