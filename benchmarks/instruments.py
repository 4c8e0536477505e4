"""Counters that are put around a fit: reads of a store, seconds of passes, tasks.

Covers: what is counted in this process, independently of what daskseg says of itself. Does not
cover: worker processes, whose reads are not seen here.
"""

from __future__ import annotations

import collections
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest import mock

import zarr
from dask.callbacks import Callback
from zarr.storage import LocalStore

from daskseg.engine import passes

# The pass that only measures centres which no longer move.
_MEASURING = "labels"


@dataclass
class Reads:
    """Reads of the chunks of one store.

    Attributes
    ----------
    shape, chunks : tuple of int
        Of the array.
    counts : Counter of str
        Reads of each chunk, by its key in the store.
    """

    shape: tuple[int, int]
    chunks: tuple[int, int]
    counts: collections.Counter[str] = field(default_factory=collections.Counter)

    def _share(self, key: str) -> float:
        """Return the share of the values that lie in a chunk."""
        share = 1.0
        for place, length, step in zip(key.split("/")[-2:], self.shape, self.chunks, strict=True):
            share *= (min(length, (int(place) + 1) * step) - int(place) * step) / length
        return share

    @property
    def passes(self) -> float:
        """Full reads; parts of one count by their share of the values."""
        return sum(n_reads * self._share(key) for key, n_reads in self.counts.items())


@contextmanager
def counting_reads(path: Path | str) -> Iterator[Reads]:
    """Count what this process reads of a store of one array, below daskseg's feet."""
    array = zarr.open_array(str(path), mode="r")
    reads = Reads(array.shape, array.chunks)
    root, real, lock = Path(path).resolve(), LocalStore.get, threading.Lock()

    async def get(store: Any, key: str, *args: Any, **options: Any) -> Any:
        if "c/" in f"/{key}" and (Path(store.root) / key).resolve().is_relative_to(root):
            with lock:
                reads.counts[key] += 1
        return await real(store, key, *args, **options)

    with mock.patch.object(LocalStore, "get", get):
        yield reads


@dataclass
class Clock:
    """Seconds spent in passes over rows that lie in a store.

    Attributes
    ----------
    passes : list of dict
        One per pass or part of one: its name, seconds, share of the blocks that were read, and
        the rows that were worked on.
    """

    passes: list[dict[str, Any]] = field(default_factory=list)

    @property
    def wall_s(self) -> float:
        """Seconds of all passes together."""
        return float(sum(one["wall_s"] for one in self.passes))

    @property
    def n_passes(self) -> float:
        """Full reads."""
        return float(sum(one["share"] for one in self.passes))

    @property
    def n_rows(self) -> int:
        """Rows that were learned from, as often as they were; of a chunk, it may be few."""
        return int(sum(one["n_rows"] for one in self.passes if one["name"] != _MEASURING))


@contextmanager
def timing_passes() -> Iterator[Clock]:
    """Time every pass that daskseg makes over rows of a store, where the client waits for it."""
    clock = Clock()

    def timed(verb: Callable[..., Any]) -> Callable[..., Any]:
        def run(blocks: Any, *args: Any, **options: Any) -> Any:
            started = time.perf_counter()
            try:
                return verb(blocks, *args, **options)
            finally:
                if not blocks.in_memory:
                    clock.passes.append(
                        {
                            "name": options.get("name", verb.__name__),
                            "wall_s": time.perf_counter() - started,
                            "share": float(options.get("share", 1.0)),
                            "n_rows": blocks.n_rows,
                        }
                    )

        return run

    with (
        mock.patch.object(passes, "reduce", timed(passes.reduce)),
        mock.patch.object(passes, "emit", timed(passes.emit)),
    ):
        yield clock


class CountingTasks(Callback):
    """Counts the tasks that a local scheduler runs, by the prefix of their keys."""

    def __init__(self) -> None:
        self.counts: collections.Counter[str] = collections.Counter()
        super().__init__(pretask=self._seen)

    def _seen(self, key: Any, *_: Any) -> None:
        name = str(key[0] if isinstance(key, tuple) else key)
        # Keys are "prefix-mark-number"; the mark is new on every run.
        parts = name.split("-")
        marks = [i for i, part in enumerate(parts) if len(part) >= 32]
        self.counts["-".join(parts[: marks[0]]) if marks else name] += 1
