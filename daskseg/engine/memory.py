"""The memory of a pass, added up before the first read.

Covers: what a process may use, what a pass needs (the idle process, blocks as they are read,
slices with the kernel's scratch), adapting the height of slices and the number of threads, and
refusing what cannot fit. Does not cover: the scratch of kernels, which stands beside them as
``scratch_bytes(n_features, n_centres, block_rows, itemsize)``.

The scheme is that of cubed (projected memory = reserved + inputs + copies + scratch).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import dask
from dask.utils import format_bytes, parse_bytes

from daskseg.engine import runtime
from daskseg.engine.blocks import Blocks, Decoding, block_rows_for
from daskseg.errors import MemoryBudgetError, UsageError, warn

# Measured: resident memory of a worker (Python 3.11, dask 2026.8, numba 0.68, pandas 3.0) after it
# imported what tasks need and ran a kernel: 380 MiB; 61 MiB before its first task.
WORKER_IDLE_BYTES = 380 * 2**20
# Workers spill above this share of their limit (dask's default), and spilled rows cost time.
WORKER_SHARE = 0.7
# Arbitrary: what is left of the free memory belongs to the page cache and to others.
FREE_SHARE = 0.8
# Arbitrary: float64 copies of a slice that a block function may hold if it does not say; the
# largest of our kernels takes two.
UNTOLD_COPIES = 2
# Each step has its input and its result.
STEP_COPIES = 2
# Measured: glibc keeps up to a quarter of what threads freed, unless MALLOC_TRIM_THRESHOLD_ is set,
# as it is in workers that dask starts.
HEAP_SHARE = 0.25
MIN_ROWS = 256
_MEMINFO = Path("/proc/meminfo")
_STATUS = Path("/proc/self/status")
_CGROUPS = (
    ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current"),
    (
        "/sys/fs/cgroup/memory/memory.limit_in_bytes",
        "/sys/fs/cgroup/memory/memory.usage_in_bytes",
    ),
)

Scratch = Callable[[int], int]


class Budget(NamedTuple):
    """What one process may use.

    Attributes
    ----------
    limit_bytes : int or None
        None: nothing is known to limit it.
    idle_bytes : int
        Resident memory before the pass.
    n_threads : int
        Tasks at once.
    are_here : bool
        The tasks run in threads of this process, so that fewer may be used.
    origin : str
        What sets the limit, for messages.
    """

    limit_bytes: int | None
    idle_bytes: int
    n_threads: int
    are_here: bool
    origin: str


@dataclass(frozen=True)
class MemoryPlan:
    """The peak of one process, from shapes alone.

    Attributes
    ----------
    idle_bytes : int
    n_threads : int
        Tasks at once.
    read_bytes : int
        Per thread: the largest block while it is read.
    slice_bytes : int
        Per thread: a slice, its steps, the scratch of the kernel, and what the allocator keeps.
    height : int
        Rows of a slice.
    limit_bytes : int or None
    """

    idle_bytes: int
    n_threads: int
    read_bytes: int
    slice_bytes: int
    height: int
    limit_bytes: int | None

    @property
    def thread_bytes(self) -> int:
        """Peak of one task: reading a block, or the block and a slice of it."""
        return self.read_bytes + self.slice_bytes

    @property
    def peak_bytes(self) -> int:
        """Peak of the process."""
        return self.idle_bytes + self.n_threads * self.thread_bytes

    @property
    def fits(self) -> bool:
        """Whether the peak is within the limit."""
        return self.limit_bytes is None or self.peak_bytes <= self.limit_bytes


def _number_in(path: str) -> int | None:
    try:
        content = Path(path).read_text(encoding="ascii").strip()
    except OSError:
        return None
    return int(content) if content.isdecimal() else None


def _kib_field(path: Path, field: str) -> int | None:
    try:
        content = path.read_text(encoding="ascii", errors="replace")
    except OSError:
        return None
    found = re.search(rf"^{field}:\s+(\d+) kB", content, re.MULTILINE)
    return None if found is None else int(found[1]) * 1024


def resident_bytes() -> int:
    """Return the resident memory of this process now; 0 where the system does not tell."""
    return _kib_field(_STATUS, "VmRSS") or 0


def free_bytes() -> int | None:
    """Return the memory that is free on this machine and in its control group, if known."""
    known = [_kib_field(_MEMINFO, "MemAvailable")]
    for limit_path, used_path in _CGROUPS:
        limit, used = _number_in(limit_path), _number_in(used_path)
        if limit is not None and used is not None:
            known.append(max(0, limit - used))
    return min((one for one in known if one is not None), default=None)


def _configured() -> int | None:
    asked = dask.config.get("daskseg.memory-limit", None)
    if asked is None:
        return None
    try:
        n_bytes = int(parse_bytes(asked))
    except ValueError as error:
        raise UsageError(
            f"daskseg.memory-limit: {asked!r} is not a size; write for instance 4 GiB."
        ) from error
    if n_bytes <= 0:
        raise UsageError(f"daskseg.memory-limit: {asked!r} is not above zero.")
    return n_bytes


def budget(*, local: bool = False) -> Budget:
    """Return what one process may use.

    The limit is 70 % of a worker's memory limit, or the dask config ``daskseg.memory-limit``, or
    80 % of the memory that is free now; the least of those that are set.

    Parameters
    ----------
    local : bool
        The tasks run in this process even if there is a cluster.

    Raises
    ------
    UsageError
        If ``daskseg.memory-limit`` is not a size.
    """
    process = runtime.processes(local=local)
    asked = _configured()
    idle = resident_bytes() if process.are_here else WORKER_IDLE_BYTES
    limits = {}
    if asked is not None:
        limits["daskseg.memory-limit"] = asked
    if process.limit_bytes is not None:
        limits[f"{WORKER_SHARE:.0%} of the memory limit of {process.where}"] = int(
            WORKER_SHARE * process.limit_bytes
        )
    free = free_bytes()
    if not limits and process.are_here and free is not None:
        limits[f"{FREE_SHARE:.0%} of the free memory"] = idle + int(FREE_SHARE * free)
    origin = min(limits, key=lambda name: limits[name], default="")
    return Budget(limits.get(origin), idle, process.n_threads, process.are_here, origin)


def plan_pass(
    blocks: Blocks, found: Budget, scratch: Scratch | None = None, height: int | None = None
) -> MemoryPlan:
    """Add up what a pass over rows needs.

    Parameters
    ----------
    blocks : Blocks
        Blocks of unknown height count as those of `BLOCK_BYTES`.
    found : Budget
    scratch : callable, optional
        ``scratch(rows) -> bytes`` of the block function on a slice.
    height : int, optional
        Rows of a slice; by default about `BLOCK_BYTES` of rows as they are read.
    """
    out_bytes = blocks.n_features * max(8, blocks.dtype.itemsize)
    decoding = blocks.decoding or Decoding(blocks.n_features * blocks.dtype.itemsize, 1.0)
    tallest = max(blocks.lengths, default=0)
    tallest = tallest if tallest >= 0 else block_rows_for(1, decoding.row_bytes)
    rows = min(height or block_rows_for(1, decoding.row_bytes), max(tallest, 1))
    extra = STEP_COPIES * rows * out_bytes if blocks.steps else 0
    extra += UNTOLD_COPIES * rows * out_bytes if scratch is None else scratch(rows)
    read = 0 if blocks.in_memory else int(decoding.copies * tallest * decoding.row_bytes)
    extra += int(HEAP_SHARE * (read + extra)) if found.are_here else 0
    return MemoryPlan(found.idle_bytes, found.n_threads, read, extra, rows, found.limit_bytes)


def fit_pass(blocks: Blocks, *, scratch: Scratch | None = None) -> MemoryPlan:
    """Find a height of slices and a number of threads with which a pass fits, or refuse.

    Slices become lower first (never below 256 rows), then fewer threads are used where the tasks
    run in this process; either is told in a warning.

    Raises
    ------
    MemoryBudgetError
        If one block, read by one thread, breaks the budget.
    """
    found = budget(local=blocks.in_memory)
    plan = wanted = plan_pass(blocks, found, scratch)
    fewest = 1 if found.are_here else found.n_threads
    for n_threads in range(found.n_threads, fewest - 1, -1):
        plan = _lower(blocks, found._replace(n_threads=n_threads), scratch)
        if plan.fits:
            break
    if not plan.fits:
        raise MemoryBudgetError(_refusal(blocks, plan, found))
    limit = format_bytes(plan.limit_bytes or 0)
    if plan.height < wanted.height:
        warn(
            f"slices of {plan.height:,} rows instead of {wanted.height:,} are worked on at a time, "
            f"to stay within {limit} ({found.origin}).",
            stacklevel=4,
        )
    if plan.n_threads < wanted.n_threads:
        warn(
            f"{plan.n_threads} instead of {wanted.n_threads} threads are used, to stay within "
            f"{limit} ({found.origin}).",
            stacklevel=4,
        )
    return plan


def _lower(blocks: Blocks, found: Budget, scratch: Scratch | None) -> MemoryPlan:
    """Halve the height of slices until the pass fits or they have 256 rows."""
    plan = plan_pass(blocks, found, scratch)
    while not plan.fits and plan.height > MIN_ROWS:
        plan = plan_pass(blocks, found, scratch, max(MIN_ROWS, plan.height // 512 * 256))
    return plan


def _refusal(blocks: Blocks, plan: MemoryPlan, found: Budget) -> str:
    assert plan.limit_bytes is not None
    each = "" if plan.n_threads == 1 else f"{plan.n_threads} threads with "
    message = (
        f"a pass needs {format_bytes(plan.peak_bytes)} per process: "
        f"{format_bytes(plan.idle_bytes)} before it begins, and {each}"
        f"{format_bytes(plan.read_bytes)} to read a block of {max(blocks.lengths):,} rows and "
        f"{format_bytes(plan.slice_bytes)} to work on {plan.height:,} of them. The limit is "
        f"{format_bytes(plan.limit_bytes)} ({found.origin})."
    )
    rows = _rows_that_fit(blocks, plan)
    if rows is None:
        return f"{message} Raise the limit, or use fewer threads per worker."
    assert blocks.decoding is not None
    remedy = blocks.decoding.remedy.replace("{rows}", str(rows))
    return (
        f"{message} Raise the limit, or write the rows with smaller chunks of {rows:,} rows:\n"
        f"{remedy}"
    )


def _rows_that_fit(blocks: Blocks, plan: MemoryPlan) -> int | None:
    """Return a height of chunks that fits, at most that of a slice by default."""
    decoding = blocks.decoding
    if decoding is None or not decoding.remedy or plan.limit_bytes is None:
        return None
    spare = (plan.limit_bytes - plan.idle_bytes) // plan.n_threads - plan.slice_bytes
    rows = int(spare / max(1.0, decoding.copies * decoding.row_bytes))
    rows = min(rows, block_rows_for(1, decoding.row_bytes)) // MIN_ROWS * MIN_ROWS
    return rows or None
