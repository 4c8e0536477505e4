"""Groups of blocks: what one task of a pass does, and how blocks are put into tasks.

Covers: grouping by size, the functions that run inside tasks, and the calls around them. Does
not cover: the verbs (see `engine.passes`) or where tasks run (see `engine.runtime`).
"""

from __future__ import annotations

import os
import resource
import uuid
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import dask
import pandas as pd
from dask.base import is_dask_collection

from daskseg.engine import runtime
from daskseg.engine.blocks import Load, Rows, Task, load_slices, load_whole

# A task should be 0.3-1 s of work: a scheduler takes 1-3 ms per task, and a lost worker loses
# the task it was at. Rows of a store are read and worked on at 0.3-1 GB/s per core, files are
# parsed ten times slower; rows of a dask collection are all held while their task runs.
STORE_GROUP_BYTES = 256 * 2**20
FRAME_GROUP_BYTES = 64 * 2**20
HELD_GROUP_BYTES = 32 * 2**20
GROUPS_PER_THREAD = 3
FAN_IN = 16


class Done(NamedTuple):
    """What a task returns.

    Attributes
    ----------
    result : object
        A merged part, a list of records, or the result of a job.
    bytes_read : int
        Decoded bytes that were handed to block functions.
    peaks : dict of str to int
        Largest resident memory of the process, by host and process id.
    """

    result: Any
    bytes_read: int
    peaks: dict[str, int]


class Setup(NamedTuple):
    """What all tasks of a pass share; sent once."""

    func: Callable[..., Any]
    args: tuple[Any, ...]
    merge: Callable[[Any, Any], Any] | None
    steps: tuple[Load, ...]
    height: int | None
    client: tuple[str, int]


def process_name() -> tuple[str, int]:
    """Return the host and the id of this process."""
    return os.uname().nodename, os.getpid()


def peak_rss() -> dict[str, int]:
    """Return the largest resident memory of this process so far, in bytes, under its name."""
    host, process = process_name()
    return {f"{host}:{process}": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024}


def join_peaks(parts: Iterable[Done]) -> dict[str, int]:
    """Return the largest peak of each process."""
    peaks: dict[str, int] = {}
    for part in parts:
        for process, peak in part.peaks.items():
            peaks[process] = max(peak, peaks.get(process, 0))
    return peaks


def _payload_bytes(payload: Any) -> int:
    if isinstance(payload, Rows):
        return int(payload.values.nbytes)
    if isinstance(payload, pd.DataFrame):
        return int(payload.memory_usage(index=False).sum())
    return 0


def _settle(setup: Setup) -> None:
    """In a worker, keep BLAS to the thread of the task; the client sees to its own process."""
    if setup.client != process_name():
        runtime.limit_blas()


def reduce_group(calls: list[Any], setup: Setup) -> Done:
    """Read the blocks of a group one after the other, slice by slice, and merge their parts."""
    _settle(setup)
    assert setup.merge is not None
    part: Any = None
    n_bytes, is_first = 0, True
    for func, args, first_row, weights in calls:
        for payload in load_slices(func, args, first_row, weights, setup.steps, setup.height):
            n_bytes += _payload_bytes(payload)
            fresh = setup.func(payload, *setup.args)
            part = fresh if is_first else setup.merge(part, fresh)
            is_first = False
            # Else the last slice of a block would be held while the next block is read.
            del payload
    return Done(part, n_bytes, peak_rss())


def merge_group(parts: list[Done], merge: Callable[[Any, Any], Any]) -> Done:
    """Merge the parts of several tasks."""
    total = parts[0].result
    for part in parts[1:]:
        total = merge(total, part.result)
    return Done(total, sum(part.bytes_read for part in parts), join_peaks(parts))


def emit_group(calls: list[Any], setup: Setup) -> Done:
    """Run a function on each whole block of a group."""
    _settle(setup)
    records = []
    n_bytes = 0
    for func, args, first_row, weights in calls:
        payload = load_whole(func, args, first_row, weights, setup.steps, setup.height)
        n_bytes += _payload_bytes(payload)
        records.append(setup.func(payload, *setup.args))
        del payload
    return Done(records, n_bytes, peak_rss())


def run_job(item: Any, setup: Setup) -> Done:
    """Run one job in memory."""
    _settle(setup)
    return Done(setup.func(item, *setup.args), 0, peak_rss())


class Merger:
    """Merges parts as they arrive, in pairs of like size, so that n parts cost n log n at most."""

    def __init__(self, merge: Callable[[Any, Any], Any]) -> None:
        self._merge = merge
        self._levels: list[Done | None] = []

    def add(self, part: Done) -> None:
        """Take one more part."""
        for level, other in enumerate(self._levels):
            if other is None:
                self._levels[level] = part
                return
            part = merge_group([other, part], self._merge)
            self._levels[level] = None
        self._levels.append(part)

    def total(self) -> Done:
        """Return all parts merged; there must be one."""
        return merge_group([part for part in self._levels if part is not None], self._merge)


def _is_held(task: Task) -> bool:
    """Tell whether the rows come as results of other tasks, not from a read inside the task."""
    for arg in (*task.source.args, task.weights):
        inner = arg if isinstance(arg, list) else [arg]
        if any(is_dask_collection(one) for one in inner):
            return True
    return False


def _group_bytes(task: Task) -> int:
    if _is_held(task):
        return HELD_GROUP_BYTES
    return FRAME_GROUP_BYTES if task.first_row is None else STORE_GROUP_BYTES


def group_spans(
    tasks: Sequence[Task], spans: Sequence[range], n_threads: int, *, most_bytes: int | None = None
) -> list[range]:
    """Put neighbouring blocks into tasks of about equal size, at least three per thread.

    Parameters
    ----------
    tasks : sequence of Task
    spans : sequence of range
        The runs of blocks that are to be done.
    n_threads : int
    most_bytes : int, optional
        Bound of a group; by default it follows from how the blocks are read.

    Returns
    -------
    list of range
        Positions in `tasks`.
    """
    if not spans:
        return []
    total = sum(tasks[i].size_bytes for span in spans for i in span)
    wanted = max(1, GROUPS_PER_THREAD * n_threads)
    limit = min(most_bytes or _group_bytes(tasks[spans[0][0]]), total // wanted)
    groups = []
    for span in spans:
        start, filled = span[0], 0
        for i in span:
            size = tasks[i].size_bytes
            if i > start and filled + size > limit:
                groups.append(range(start, i))
                start, filled = i, 0
            filled += size
        groups.append(range(start, span[-1] + 1))
    return groups


def calls_of(func: Callable[..., Any], prefix: str, arguments: Iterable[Any]) -> list[Any]:
    """Return delayed calls ``func(*arguments[i])`` with keys that are never reused.

    The keys begin with `prefix` and sort as they are numbered: schedulers break ties by name, so
    that a store is read along its rows, and in the same order on every run of one thread.
    """
    delayed, mark = dask.delayed(func, pure=False), uuid.uuid4().hex
    return [
        delayed(*args, dask_key_name=f"{prefix}-{mark}-{number:08d}")
        for number, args in enumerate(arguments)
    ]


def constant(value: Any) -> Any:
    """Put parameters into the graph once, as a task of their own that can be recomputed."""
    name = f"constant-{uuid.uuid4().hex}"
    return dask.delayed(value, name=name, pure=False, traverse=False)


def group_calls(
    group_func: Callable[..., Any],
    tasks: Sequence[Task],
    groups: Sequence[range],
    prefix: str,
    setup: Setup,
) -> list[Any]:
    """Return one delayed call per group."""
    shared = constant(setup)
    arguments = ([[list(tasks[i].call) for i in group], shared] for group in groups)
    return calls_of(group_func, prefix, arguments)


def merge_tree(calls: list[Any], merge: Callable[[Any, Any], Any], prefix: str) -> list[Any]:
    """Merge delayed parts by `FAN_IN`, so that a pass never holds all of them."""
    while len(calls) > FAN_IN:
        arms = [calls[start : start + FAN_IN] for start in range(0, len(calls), FAN_IN)]
        calls = calls_of(merge_group, f"merge-{prefix}", [(arm, merge) for arm in arms])
    return calls
