"""The door: the only module that computes.

Four verbs: `reduce` (blocks → merged part), `emit` (blocks → aligned files or regions), `run`
(independent jobs in memory) and `exchange` (rows to keys). Each counts its pass and bytes and
reports progress. Merging must not depend on order (integers, minima, top-k by key): blocks
are grouped into tasks by size and by the number of workers, tall blocks are worked on in
slices, and results must not show it.

Does not cover: which functions to run; kernels and estimators bring those.
See also: `engine.memory` (what a pass may need), `engine.journal` (resuming a pass).
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from daskseg.engine import groups, journal, memory, progress, runtime, spills
from daskseg.engine.blocks import Blocks, FrameBlocks, Load, Rows, Task
from daskseg.engine.groups import Done, Merger, Setup
from daskseg.engine.memory import Scratch

Merge = Callable[[Any, Any], Any]


class HasTasks(Protocol):
    """Anything that is cut into blocks."""

    @property
    def in_memory(self) -> bool:
        """Whether the payloads live in this process."""

    @property
    def steps(self) -> tuple[Load, ...]:
        """What is applied to each payload after loading."""

    def tasks(self) -> list[Task]:
        """Return one task per block."""


class _Way(NamedTuple):
    """How a pass is run: what its tasks share, and how many run at once."""

    setup: Setup
    threads: int | None


def _way(
    blocks: HasTasks,
    func: Callable[..., Any],
    merge: Merge | None,
    args: tuple[Any, ...],
    scratch: Scratch | None = None,
) -> _Way:
    """Plan the memory of a pass over rows, before anything is read."""
    setup = Setup(func, args, merge, blocks.steps, None, groups.process_name())
    if not isinstance(blocks, Blocks):
        return _Way(setup, None)
    plan = memory.fit_pass(blocks, scratch=scratch)
    return _Way(setup._replace(height=plan.height), plan.n_threads)


def _is_small(blocks: HasTasks, tasks: Sequence[Task]) -> bool:
    return blocks.in_memory and len(tasks) == 1


def _finish(parts: Sequence[Done], passes: float) -> None:
    n_bytes = sum(part.bytes_read for part in parts)
    progress.account(passes, n_bytes, groups.join_peaks(parts))


def _advance(total: int) -> Callable[[int], None]:
    return lambda done: progress.advance(done, total)


def reduce(
    blocks: HasTasks,
    func: Callable[..., Any],
    merge: Merge,
    *args: Any,
    name: str = "reduce",
    scratch: Scratch | None = None,
    share: float = 1.0,
) -> Any:
    """Run a function on every block and merge the parts. One pass.

    Blocks of rows that are taller than 16 MiB are read once and handed to `func` in slices.

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
    scratch : callable, optional
        ``scratch(rows) -> bytes`` that `func` holds for a slice of so many rows, for the memory
        plan; two float64 copies of the slice when not given.
    share : float
        Share of all blocks that `blocks` are, so that the account of passes is true.

    Returns
    -------
    The merged part.

    Raises
    ------
    MemoryBudgetError
        If a block, read by one thread, does not fit the memory of a process.
    ClusterError
        If workers are missing, lost or of other versions.

    Notes
    -----
    Inside `engine.journal.keeping` the parts of finished tasks are on file, and blocks whose
    parts are there are not read; the account has whole passes all the same, so that a limit
    of passes acts as without a file, and `Journal.passes_saved` the rest. With a share of 0,
    which is no read of the data, the journal is left alone.
    """
    book = journal.current() if share else None
    return _reduce(blocks, func, merge, args, name, scratch, book, share)


def _reduce(
    blocks: HasTasks,
    func: Callable[..., Any],
    merge: Merge,
    args: tuple[Any, ...],
    name: str,
    scratch: Scratch | None,
    book: journal.Journal | None,
    share: float = 1.0,
) -> Any:
    tasks = blocks.tasks()
    if _is_small(blocks, tasks):
        setup = Setup(func, args, merge, blocks.steps, None, groups.process_name())
        with runtime.one_blas_thread():
            total = groups.reduce_group([list(tasks[0].call)], setup)
        _finish([total], share)
        return total.result
    merger = Merger(merge)
    spans, records = _resume(book, blocks, func, args, name, share)
    if records is not None:
        for _, part in records.parts():
            merger.add(Done(part, 0, {}))
    if spans:
        way = _way(blocks, func, merge, args, scratch)
        _run_spans(tasks, spans, way, name, merger, records, local=blocks.in_memory)
    total = merger.total()
    _finish([total], share)
    return total.result


def _resume(
    book: journal.Journal | None,
    blocks: HasTasks,
    func: Callable[..., Any],
    args: tuple[Any, ...],
    name: str,
    share: float,
) -> tuple[list[range], journal.PassRecords | None]:
    """Return the runs of blocks that are left to do, and what is on file of the others."""
    tasks = blocks.tasks()
    if book is None:
        return [range(len(tasks))], None
    lengths = blocks.lengths if isinstance(blocks, Blocks) else [t.size_bytes for t in tasks]
    records = book.begin_pass(name, func, args, lengths)
    records.account(share)
    return records.missing(), records


def _run_spans(
    tasks: list[Task],
    spans: list[range],
    way: _Way,
    name: str,
    merger: Merger,
    records: journal.PassRecords | None,
    *,
    local: bool,
) -> None:
    """Run the blocks of `spans` and merge their parts, which go on file as they come."""
    found = groups.group_spans(tasks, spans, runtime.n_threads(local=local))
    calls = groups.group_calls(groups.reduce_group, tasks, found, name, way.setup)
    places = {call.key: span for call, span in zip(calls, found, strict=True)}
    advance = _advance(len(found))

    def keep(key: str, done: Done) -> None:
        # Tasks of the caller's own graph may be called like ours.
        if records is not None and key in places:
            records.write(places[key], done.result)

    if runtime.is_streaming(local=local):

        def take(key: str, done: Done) -> None:
            keep(key, done)
            merger.add(done)

        runtime.stream(calls, advance, take)
        return
    assert way.setup.merge is not None
    calls = groups.merge_tree(calls, way.setup.merge, name)
    done = runtime.compute(calls, name, advance, local=local, threads=way.threads, on_result=keep)
    for part in done:
        merger.add(part)


def emit(
    blocks: HasTasks,
    func: Callable[..., Any],
    *args: Any,
    name: str = "emit",
    share: float = 1.0,
    journaled: bool = False,
) -> list[Any]:
    """Run a function that writes on every block. One pass.

    Each call writes a region or a file of its own, aligned to the write unit of its target:
    two calls never touch the same chunk. Therefore blocks are handed over whole, also tall ones.

    Parameters
    ----------
    blocks, func, *args, name
        As for `reduce`; ``func(payload, *args) -> record``.
    share : float
        Share of all blocks that `blocks` are, so that the account of passes is true.
    journaled : bool
        The records are all that `func` makes: inside `engine.journal.keeping` they are put on
        file, and blocks whose records are there are not read. Never for a `func` that writes.

    Returns
    -------
    list
        The small records that `func` returned, in the order of the blocks.

    Raises
    ------
    MemoryBudgetError, ClusterError
        As for `reduce`.
    """
    tasks = blocks.tasks()
    if _is_small(blocks, tasks):
        setup = Setup(func, args, None, blocks.steps, None, groups.process_name())
        with runtime.one_blas_thread():
            done = groups.emit_group([list(tasks[0].call)], setup)
        _finish([done], share)
        return list(done.result)
    book = journal.current() if journaled and share else None
    spans, records = _resume(book, blocks, func, args, name, share)
    found = {} if records is None else dict(records.parts())
    done_spans = _emit_spans(tasks, spans, _way(blocks, func, None, args), name, records, blocks)
    _finish(list(done_spans.values()), share)
    found.update({start: done.result for start, done in done_spans.items()})
    return [record for start in sorted(found) for record in found[start]]


def _emit_spans(
    tasks: list[Task],
    spans: list[range],
    way: _Way,
    name: str,
    records: journal.PassRecords | None,
    blocks: HasTasks,
) -> dict[int, Done]:
    """Run the blocks of `spans`; return the records of each task by its first block."""
    local = blocks.in_memory
    found = groups.group_spans(tasks, spans, runtime.n_threads(local=local))
    calls = groups.group_calls(groups.emit_group, tasks, found, name, way.setup)
    places = {call.key: span for call, span in zip(calls, found, strict=True)}
    advance = _advance(len(found))
    results: dict[int, Done] = {}

    def take(key: str, done: Done) -> None:
        # Tasks of the caller's own graph may be called like ours.
        if key not in places:
            return
        if records is not None:
            records.write(places[key], done.result)
        results[places[key].start] = done

    if not calls:
        return results
    if runtime.is_streaming(local=local):
        runtime.stream(calls, advance, take)
    else:
        runtime.compute(calls, name, advance, local=local, threads=way.threads, on_result=take)
    return results


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
    setup = Setup(func, args, None, (), None, groups.process_name())
    if runtime.runs_here(local=local):
        job = functools.partial(groups.run_job, setup=setup)
        done = runtime.map_here(job, items, _advance(len(items)))
    else:
        shared = groups.constant(setup)
        calls = groups.calls_of(
            groups.run_job, name, [(groups.constant(item), shared) for item in items]
        )
        done = runtime.compute(calls, name, _advance(len(items)), local=local)
    _finish(done, 0.0)
    return [part.result for part in done]


def _count_rows(rows: Rows) -> int:
    return len(rows.values)


def measure(blocks: Blocks) -> Blocks:
    """Fill in unknown numbers of rows. One pass if any is unknown, else none."""
    if blocks.is_measured:
        return blocks
    lengths = emit(blocks, _count_rows, name="count", journaled=True)
    return replace(blocks, lengths=tuple(lengths))


def exchange(
    blocks: FrameBlocks | Blocks,
    split: Callable[..., Any],
    merge: Merge,
    n_buckets: int,
    scratch: Path,
    *args: Any,
    name: str = "exchange",
    slice_bytes: Scratch | None = None,
) -> tuple[Any, FrameBlocks]:
    """Bring all rows of a key together, through files in `scratch`. One pass.

    Parameters
    ----------
    blocks : FrameBlocks or Blocks
    split : callable
        ``split(payload, *args) -> (frame with an integer column "bucket", part)``; the payload is
        a DataFrame, or `Rows`. A row may come out in several buckets.
    merge : callable
        Merges the parts; must be exact in any order.
    n_buckets : int
        The buckets are 0 … n_buckets - 1; each must fit the memory of a task.
    scratch : Path
        An existing directory that every worker can reach.
    slice_bytes : callable, optional
        As `scratch` of `reduce`, for Blocks: what `split` and writing its frame hold.

    Returns
    -------
    part : merged
    buckets : FrameBlocks
        One block per bucket; the order of the rows inside a bucket is not specified.

    Notes
    -----
    Never resumed from a journal: the files in `scratch` do not outlive the process.
    """
    spilled: spills.Spills = _reduce(
        blocks,
        spills.spill_block,
        functools.partial(spills.merge_spills, merge=merge),
        (split, str(scratch), args),
        name,
        slice_bytes,
        None,
    )
    files = sorted(spilled.files)
    places: list[list[tuple[str, int]]] = [[] for _ in range(n_buckets)]
    for path, present in files:
        for number, bucket in enumerate(present):
            places[bucket].append((path, number))
    loads = tuple(Load(spills.read_bucket, (where, files[0][0])) for where in places)
    size = sum(Path(path).stat().st_size for path, _ in files) // n_buckets
    return spilled.part, FrameBlocks(loads, (size,) * n_buckets)
