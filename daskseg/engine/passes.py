"""The door: the only module that computes.

Four verbs: `reduce` (blocks → merged part), `emit` (blocks → aligned files or regions), `run`
(independent jobs in memory) and `exchange` (rows to keys). Each counts its pass and bytes and
reports progress. Merging must not depend on order (integers, minima, top-k by key): blocks
are grouped into tasks by size and by the number of workers, and results must not show it.

Does not cover: which functions to run; kernels and estimators bring those.
"""

from __future__ import annotations

import functools
import os
import resource
import uuid
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import dask
import numpy as np
import pandas as pd
import pyarrow as pa

from daskseg.engine import progress, runtime
from daskseg.engine.blocks import Blocks, FrameBlocks, Load, Rows, Task

# Arbitrary: enough work per task to hide a scheduler's 1-3 ms, small enough to lose on a kill.
GROUP_BYTES = 32 * 2**20
GROUPS_PER_THREAD = 3
FAN_IN = 16
# Arrow files: a bucket is found in a tenth of a millisecond, a row group of Parquet in several.
_SPILL_OPTIONS = pa.ipc.IpcWriteOptions(compression="lz4")


class HasTasks(Protocol):
    """Anything that is cut into blocks."""

    @property
    def in_memory(self) -> bool:
        """Whether the payloads live in this process."""

    def tasks(self) -> list[Task]:
        """Return one task per block."""


class _Done(NamedTuple):
    result: Any
    bytes_read: int
    peaks: dict[str, int]


def _payload_bytes(payload: Any) -> int:
    if isinstance(payload, Rows):
        return int(payload.values.nbytes)
    if isinstance(payload, pd.DataFrame):
        return int(payload.memory_usage(index=False).sum())
    return 0


def _peak() -> dict[str, int]:
    peak_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {f"{os.uname().nodename}:{os.getpid()}": peak_kib * 1024}


def _join_peaks(parts: Sequence[_Done]) -> dict[str, int]:
    peaks: dict[str, int] = {}
    for part in parts:
        for worker, peak in part.peaks.items():
            peaks[worker] = max(peak, peaks.get(worker, 0))
    return peaks


def _reduce_group(
    loads: list[tuple[Callable[..., Any], list[Any]]],
    func: Callable[..., Any],
    merge: Callable[[Any, Any], Any],
    args: tuple[Any, ...],
) -> _Done:
    part: Any = None
    n_bytes = 0
    for index, (load, load_args) in enumerate(loads):
        payload = load(*load_args)
        n_bytes += _payload_bytes(payload)
        fresh = func(payload, *args)
        part = fresh if index == 0 else merge(part, fresh)
    return _Done(part, n_bytes, _peak())


def _merge_group(parts: list[_Done], merge: Callable[[Any, Any], Any]) -> _Done:
    total = parts[0].result
    for part in parts[1:]:
        total = merge(total, part.result)
    return _Done(total, sum(part.bytes_read for part in parts), _join_peaks(parts))


def _emit_group(
    loads: list[tuple[Callable[..., Any], list[Any]]],
    func: Callable[..., Any],
    args: tuple[Any, ...],
) -> _Done:
    records = []
    n_bytes = 0
    for load, load_args in loads:
        payload = load(*load_args)
        n_bytes += _payload_bytes(payload)
        records.append(func(payload, *args))
    return _Done(records, n_bytes, _peak())


def _run_job(item: Any, func: Callable[..., Any], args: tuple[Any, ...]) -> _Done:
    return _Done(func(item, *args), 0, _peak())


def _groups(tasks: list[Task]) -> list[list[Task]]:
    """Cut tasks into runs of about GROUP_BYTES, but at least three runs per thread."""
    total = sum(task.size_bytes for task in tasks)
    wanted = max(1, GROUPS_PER_THREAD * runtime.n_threads())
    limit = min(GROUP_BYTES, total // wanted)
    groups: list[list[Task]] = []
    filled = limit + 1
    for task in tasks:
        if filled + task.size_bytes > limit:
            groups.append([])
            filled = 0
        groups[-1].append(task)
        filled += task.size_bytes
    return groups


def _call(func: Callable[..., Any], prefix: str, *args: Any) -> Any:
    """Return a delayed call whose key begins with `prefix` and is never reused."""
    return dask.delayed(func, pure=False)(*args, dask_key_name=f"{prefix}-{uuid.uuid4().hex}")


def _constant(value: Any) -> Any:
    """Put parameters into the graph once, as a task of their own that can be recomputed."""
    return dask.delayed(value, pure=False, traverse=False)


def _group_calls(
    group_func: Callable[..., Any], groups: list[list[Task]], prefix: str, *rest: Any
) -> list[Any]:
    return [
        _call(group_func, prefix, [(task.load.func, list(task.load.args)) for task in group], *rest)
        for group in groups
    ]


def _finish(parts: Sequence[_Done], passes: float) -> None:
    progress.account(passes, sum(part.bytes_read for part in parts), _join_peaks(parts))


def _advance(total: int) -> Callable[[int], None]:
    return lambda done: progress.advance(done, total)


def reduce(
    blocks: HasTasks,
    func: Callable[..., Any],
    merge: Callable[[Any, Any], Any],
    *args: Any,
    name: str = "reduce",
) -> Any:
    """Run a function on every block and merge the parts. One pass.

    Parameters
    ----------
    blocks : Blocks or FrameBlocks
    func : callable
        ``func(payload, *args) -> part``, importable; the payload is `Rows` or a DataFrame.
    merge : callable
        ``merge(part, part) -> part``; must be exact in any order and grouping.
    *args
        Parameters, sent once per pass.
    name : str
        Prefix of the task keys, as a dashboard shows them.

    Returns
    -------
    The merged part.
    """
    tasks = blocks.tasks()
    if blocks.in_memory and len(tasks) == 1:
        only = _reduce_group([(tasks[0].load.func, list(tasks[0].load.args))], func, merge, args)
        _finish([only], 1.0)
        return only.result
    groups = _groups(tasks)
    parameters = _constant(args)
    parts = _group_calls(_reduce_group, groups, name, func, merge, parameters)
    while len(parts) > FAN_IN:
        parts = [
            _call(_merge_group, f"merge-{name}", parts[start : start + FAN_IN], merge)
            for start in range(0, len(parts), FAN_IN)
        ]
    done = runtime.compute(parts, name, _advance(len(groups)), local=blocks.in_memory)
    total = _merge_group(done, merge)
    _finish([total], 1.0)
    return total.result


def emit(blocks: HasTasks, func: Callable[..., Any], *args: Any, name: str = "emit") -> list[Any]:
    """Run a function that writes on every block. One pass.

    Each call writes a region or a file of its own, aligned to the write unit of its target:
    two calls never touch the same chunk.

    Returns
    -------
    list
        The small records that `func` returned, in the order of the blocks.
    """
    tasks = blocks.tasks()
    if blocks.in_memory and len(tasks) == 1:
        done = [_emit_group([(tasks[0].load.func, list(tasks[0].load.args))], func, args)]
    else:
        groups = _groups(tasks)
        parts = _group_calls(_emit_group, groups, name, func, _constant(args))
        done = runtime.compute(parts, name, _advance(len(groups)), local=blocks.in_memory)
    _finish(done, 1.0)
    return [record for part in done for record in part.result]


def run(
    func: Callable[..., Any],
    items: Sequence[Any],
    *args: Any,
    name: str = "run",
    local: bool = False,
) -> list[Any]:
    """Run independent jobs in memory and return their results in the order of `items`.

    Parameters
    ----------
    func : callable
        ``func(item, *args) -> result``.
    items : sequence
    *args
        Parameters shared by all jobs, sent once.
    name : str
    local : bool
        Stay in this process even if there is a cluster.
    """
    if len(items) == 1 and (local or runtime.active_client() is None):
        done = [_run_job(items[0], func, args)]
    else:
        shared = _constant(args)
        calls = [_call(_run_job, name, _constant(item), func, shared) for item in items]
        done = runtime.compute(calls, name, _advance(len(items)), local=local)
    _finish(done, 0.0)
    return [part.result for part in done]


def _count_rows(rows: Rows) -> int:
    return len(rows.values)


def measure(blocks: Blocks) -> Blocks:
    """Fill in unknown numbers of rows. One pass if any is unknown, else none."""
    if blocks.is_measured:
        return blocks
    return replace(blocks, lengths=tuple(emit(blocks, _count_rows, name="count")))


class _Spills(NamedTuple):
    """Spill files, with the bucket of each of their record batches, and the caller's part."""

    files: list[tuple[str, list[int]]]
    part: Any


def _spill_block(
    frame: pd.DataFrame, split: Callable[..., Any], scratch: str, args: tuple[Any, ...]
) -> _Spills:
    """Write one block sorted by bucket, one record batch a bucket."""
    keyed, part = split(frame, *args)
    buckets = keyed["bucket"].to_numpy()
    order = np.argsort(buckets, kind="stable")
    present, starts = np.unique(buckets[order], return_index=True)
    table = pa.Table.from_pandas(keyed.drop(columns="bucket").iloc[order], preserve_index=False)
    path = Path(scratch) / f"{uuid.uuid4().hex}.arrow"
    # A block of no rows has no buckets: its file holds the schema only.
    stops = [*starts[1:], len(order)][: len(starts)]
    with pa.ipc.new_file(path, table.schema, options=_SPILL_OPTIONS) as writer:
        for start, stop in zip(starts, stops, strict=True):
            writer.write_table(table.slice(start, stop - start).combine_chunks())
    return _Spills([(str(path), present.tolist())], part)


def _merge_spills(a: _Spills, b: _Spills, merge: Callable[[Any, Any], Any]) -> _Spills:
    return _Spills(a.files + b.files, merge(a.part, b.part))


def read_bucket(places: list[tuple[str, int]], template: str) -> pd.DataFrame:
    """Read the rows of one bucket from all spill files.

    Parameters
    ----------
    places : list of (path, record batch)
    template : str
        A spill file whose schema serves when the bucket is empty.
    """
    if not places:
        places = [(template, -1)]
    batches = []
    for path, number in places:
        with pa.memory_map(path) as spill, pa.ipc.open_file(spill) as reader:
            schema = reader.schema
            if number >= 0:
                batches.append(reader.get_batch(number))
    frame: pd.DataFrame = pa.Table.from_batches(batches, schema).to_pandas()
    return frame


def exchange(
    blocks: FrameBlocks,
    split: Callable[..., Any],
    merge: Callable[[Any, Any], Any],
    n_buckets: int,
    scratch: Path,
    *args: Any,
    name: str = "exchange",
) -> tuple[Any, FrameBlocks]:
    """Bring all rows of a key together, through files in `scratch`. One pass.

    Parameters
    ----------
    blocks : FrameBlocks
    split : callable
        ``split(frame, *args) -> (frame with an integer column "bucket", part)``.
    merge : callable
        Merges the parts; must be exact in any order.
    n_buckets : int
        The buckets are 0 … n_buckets - 1; each must fit the memory of a task.
    scratch : Path
        An existing directory that every worker can reach.

    Returns
    -------
    part : merged
    buckets : FrameBlocks
        One block per bucket; the order of the rows inside a bucket is not specified.
    """
    spilled: _Spills = reduce(
        blocks,
        _spill_block,
        functools.partial(_merge_spills, merge=merge),
        split,
        str(scratch),
        args,
        name=name,
    )
    files = sorted(spilled.files)
    places: list[list[tuple[str, int]]] = [[] for _ in range(n_buckets)]
    for path, present in files:
        for number, bucket in enumerate(present):
            places[bucket].append((path, number))
    loads = tuple(Load(read_bucket, (where, files[0][0])) for where in places)
    size = sum(Path(path).stat().st_size for path, _ in files) // n_buckets
    return spilled.part, FrameBlocks(loads, (size,) * n_buckets)
