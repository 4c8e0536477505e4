"""Where a command's words go: talk and progress to stderr, results to stdout.

Covers: ``--json``, ``--quiet``, ``-v``; progress as bars on a terminal and as key=value lines
elsewhere; warnings as plain lines. Does not cover: what is said (screen.py).
"""

from __future__ import annotations

import json
import sys
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TextIO

import typer

from daskseg.errors import DasksegWarning
from daskseg.texts import text

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

    from daskseg.engine.progress import Listener


@dataclass(frozen=True)
class Talk:
    """How much a command says, and in which form.

    Attributes
    ----------
    as_json : bool
        Results are one line of JSON on stdout.
    quiet : bool
        Nothing on stderr but errors.
    verbose : bool
        Also the beginnings of stages, all reasons, and warnings of other libraries.
    debug : bool
        Warnings of other libraries too; the tracebacks are outcome.py's.
    """

    as_json: bool = False
    quiet: bool = False
    verbose: bool = False
    debug: bool = False

    def say(self, lines: Sequence[str]) -> None:
        """Write lines to stderr."""
        if not self.quiet:
            typer.echo("\n".join(map(printable, lines)), err=True)

    def result(self, record: Mapping[str, Any], lines: Sequence[str] = ()) -> None:
        """Write a result to stdout: one line of JSON if asked for, else the lines, if any."""
        if self.as_json:
            typer.echo(json.dumps(record, ensure_ascii=False, allow_nan=False, default=str))
        elif lines:
            typer.echo("\n".join(map(printable, lines)))

    @contextmanager
    def progress(self) -> Iterator[Listener | None]:
        """Show stages and warnings inside the ``with`` block."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore" if self.quiet else "always", DasksegWarning)
            warnings.showwarning = self._show_warning
            if self.quiet:
                yield None
            elif sys.stderr.isatty():
                with bars() as listener:
                    yield listener
            else:
                yield Lines(verbose=self.verbose)

    def _show_warning(
        self,
        message: Warning | str,
        category: type[Warning],
        filename: str,
        lineno: int,
        file: TextIO | None = None,
        line: str | None = None,
    ) -> None:
        if issubclass(category, DasksegWarning):
            self.say([text("cli.warnings.ours", message=message)])
        elif self.verbose or self.debug:
            place = f"{filename}:{lineno}"
            words = text("cli.warnings.other", kind=category.__name__, message=message, place=place)
            self.say([words])


def printable(words: str) -> str:
    """Replace control characters: names come from data, and a terminal obeys them."""
    words = words.replace("\N{NO-BREAK SPACE}", " ").replace("\N{NARROW NO-BREAK SPACE}", " ")
    return "".join(sign if sign.isprintable() or sign == "\n" else "?" for sign in words)


class Lines:
    """A listener that writes one plain line per stage, for logs."""

    def __init__(self, *, verbose: bool = False) -> None:
        self.verbose = verbose

    def stage_started(self, name: str, total: int | None) -> None:
        """Write a line if verbose."""
        if self.verbose:
            tasks = "" if total is None else f" tasks={total}"
            typer.echo(f"stage={name} status=started{tasks}", err=True)

    def stage_advanced(self, name: str, done: int, total: int | None) -> None:
        """Stay silent: a log wants the ends of stages."""

    def stage_done(self, name: str, wall_s: float, passes: int, bytes_read: int) -> None:
        """Write the line of the stage."""
        typer.echo(
            f"stage={name} status=done wall_s={wall_s:.1f} passes={passes} bytes_read={bytes_read}",
            err=True,
        )


class Bars:
    """A listener that draws one bar per stage."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._bars: dict[str, TaskID] = {}

    def stage_started(self, name: str, total: int | None) -> None:
        """Begin a bar; it pulses until the number of tasks is known."""
        self._bars[name] = self._progress.add_task(name, total=total)

    def stage_advanced(self, name: str, done: int, total: int | None) -> None:
        """Show how far the current pass of the stage is."""
        if name in self._bars:
            self._progress.update(self._bars[name], completed=done, total=total)

    def stage_done(self, name: str, wall_s: float, passes: int, bytes_read: int) -> None:
        """Fill the bar."""
        if name in self._bars:
            self._progress.update(self._bars[name], completed=1, total=1)
            self._progress.stop_task(self._bars[name])


@contextmanager
def bars() -> Iterator[Bars]:
    """Draw bars on stderr inside the ``with`` block. Colours heed NO_COLOR."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (
        TextColumn(" {task.description:<10}", markup=False),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f} %"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=Console(stderr=True)) as progress:
        yield Bars(progress)
