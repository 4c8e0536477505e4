"""Accounts of passes and bytes, and the progress that listeners may show.

Covers: nested logs (a study's stage and an estimator inside it both count the same pass) and
the `Listener` protocol. Does not cover: drawing; the command line and the dashboard do that.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Protocol


class Listener(Protocol):
    """What is told about stages as they run. Calls come from one thread."""

    def stage_started(self, name: str, total: int | None) -> None:
        """Begin a stage of `total` tasks (None if unknown)."""

    def stage_advanced(self, name: str, done: int, total: int | None) -> None:
        """Report `done` of `total` tasks of the current pass of a stage."""

    def stage_done(self, name: str, wall_s: float, passes: int, bytes_read: int) -> None:
        """End a stage, with its seconds, full reads of its data and decoded bytes."""


@dataclass
class PassLog:
    """What a stage or a fit has read so far.

    Attributes
    ----------
    name : str
    passes : float
        Full reads of the data; partial reads count by their share.
    bytes_read : int
        Decoded bytes that were handed to block functions.
    wall_s : float
        Seconds, set when the log is closed.
    peak_rss_bytes : dict of str to int
        Largest resident memory seen per worker process.
    """

    name: str
    passes: float = 0.0
    bytes_read: int = 0
    wall_s: float = 0.0
    peak_rss_bytes: dict[str, int] = field(default_factory=dict)

    def add(self, passes: float, bytes_read: int, peaks: dict[str, int]) -> None:
        """Add one pass to the account."""
        self.passes += passes
        self.bytes_read += bytes_read
        for worker, peak in peaks.items():
            self.peak_rss_bytes[worker] = max(peak, self.peak_rss_bytes.get(worker, 0))


_logs: ContextVar[tuple[PassLog, ...]] = ContextVar("daskseg_pass_logs", default=())
_listener: ContextVar[Listener | None] = ContextVar("daskseg_listener", default=None)


@contextmanager
def recording(name: str) -> Iterator[PassLog]:
    """Count the passes made inside the ``with`` block.

    Examples
    --------
    >>> with recording("fit") as log:
    ...     pass
    >>> log.passes
    0.0
    """
    log = PassLog(name)
    token = _logs.set((*_logs.get(), log))
    started = time.perf_counter()
    try:
        yield log
    finally:
        log.wall_s = time.perf_counter() - started
        _logs.reset(token)


@contextmanager
def stage(name: str) -> Iterator[PassLog]:
    """Record a stage of a study and tell the listener, if there is one."""
    listener = _listener.get()
    if listener is not None:
        listener.stage_started(name, None)
    with recording(name) as log:
        yield log
    if listener is not None:
        listener.stage_done(name, log.wall_s, round(log.passes), log.bytes_read)


@contextmanager
def listening(listener: Listener | None) -> Iterator[None]:
    """Send progress to `listener` inside the ``with`` block."""
    token = _listener.set(listener)
    try:
        yield
    finally:
        _listener.reset(token)


def account(passes: float, bytes_read: int, peaks: dict[str, int]) -> None:
    """Add a pass to every open log."""
    for log in _logs.get():
        log.add(passes, bytes_read, peaks)


def advance(done: int, total: int) -> None:
    """Tell the listener how far the current pass is."""
    listener, logs = _listener.get(), _logs.get()
    if listener is not None and logs:
        listener.stage_advanced(logs[0].name, done, total)
