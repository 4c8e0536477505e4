"""Where tasks run: the only module that knows `distributed`.

Covers: finding the active scheduler, its threads and memory limits, running delayed tasks with
progress, one BLAS thread per task, and refusing workers that are missing, lost or of other
versions. The library never starts a cluster. Does not cover: what the tasks are (see
`engine.groups`) or what they need (see `engine.memory`).
"""

from __future__ import annotations

import sys
import threading
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

import dask
from dask.callbacks import Callback
from dask.system import CPU_COUNT
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from daskseg.engine import versions
from daskseg.errors import ClusterError

if TYPE_CHECKING:
    import distributed

_LOCAL = ("sync", "synchronous", "single-threaded", "threads", "threading", "processes")
_ONE_THREAD, _HERE = _LOCAL[:3], _LOCAL[:5]
# Arbitrary: a queue may take minutes to start the first worker; dask config overrides it.
WAIT_S = 300

OnDone = Callable[[int], None]


class Processes(NamedTuple):
    """The processes that tasks run in.

    Attributes
    ----------
    where : str
        How messages call them.
    n_threads : int
        Tasks at once in one process.
    limit_bytes : int or None
        Memory of the smallest process per `n_threads`; None if nothing limits it.
    are_here : bool
        The tasks run in threads of this process.
    """

    where: str
    n_threads: int
    limit_bytes: int | None
    are_here: bool


def active_client() -> distributed.Client | None:
    """Return the current client of `distributed`, or None; never starts one."""
    if "distributed" not in sys.modules or dask.config.get("scheduler", None) in _LOCAL:
        return None
    import distributed  # noqa: PLC0415 - one second to import, and only of use with a client

    try:
        return distributed.get_client()
    except ValueError:
        return None


def _local_threads() -> int:
    if dask.config.get("scheduler", None) in _ONE_THREAD:
        return 1
    return int(dask.config.get("num_workers", None) or CPU_COUNT)


def n_threads(*, local: bool = False) -> int:
    """Return how many tasks can run at once."""
    client = None if local else active_client()
    if client is None:
        return _local_threads()
    return max(1, sum(int(n) for n in client.nthreads().values()))


def processes(*, local: bool = False) -> Processes:
    """Describe the processes that tasks run in; of unlike workers, the one with least memory."""
    client = None if local else active_client()
    if client is None:
        if dask.config.get("scheduler", None) == "processes" and not local:
            return Processes("one of the processes", 1, None, are_here=False)
        return Processes("this process", _local_threads(), None, are_here=True)
    workers = client.scheduler_info(n_workers=-1)["workers"]
    least = None
    for address, worker in sorted(workers.items()):
        threads, limit = int(worker["nthreads"]), int(worker["memory_limit"] or 0)
        found = Processes(f"worker {address}", threads, limit or None, are_here=False)
        if least is None or _per_thread(found) < _per_thread(least):
            least = found
    return least or Processes("a worker", 1, None, are_here=False)


def _per_thread(process: Processes) -> float:
    return float("inf") if process.limit_bytes is None else process.limit_bytes / process.n_threads


class _Limit:
    """The limit of BLAS threads of this process, while anything wants it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._n_users = 0
        self._limits: threadpool_limits | None = None

    def enter(self) -> None:
        with self._lock:
            if self._n_users == 0:
                self._limits = threadpool_limits(1)
            self._n_users += 1

    def leave(self) -> None:
        with self._lock:
            self._n_users -= 1
            if self._n_users == 0 and self._limits is not None:
                self._limits.restore_original_limits()


_blas = _Limit()


@contextmanager
def one_blas_thread() -> Iterator[None]:
    """Keep BLAS and OpenMP to one thread inside the ``with`` block: tasks are the threads.

    Blocks may lie inside one another, and overlap in several threads. Setting the limit takes
    milliseconds, so that a fit of many short steps has one around all of them.
    """
    _blas.enter()
    try:
        yield
    finally:
        _blas.leave()


def limit_blas() -> None:
    """Keep BLAS and OpenMP to one thread from now on; for processes that only run tasks."""
    threadpool_limits(1)


class _Count(Callback):
    """Counts finished tasks of a local scheduler by the prefix of their keys."""

    def __init__(
        self, prefix: str, on_done: OnDone, on_result: Callable[[str, Any], None] | None
    ) -> None:
        self.prefix, self.on_done, self.on_result, self.done = prefix, on_done, on_result, 0
        super().__init__(posttask=self._finished)  # type: ignore[no-untyped-call]

    def _finished(self, key: Any, value: Any, *_: Any) -> None:
        if str(key).startswith(self.prefix):
            self.done += 1
            if self.on_result is not None:
                self.on_result(str(key), value)
            self.on_done(self.done)


def is_streaming(*, local: bool) -> bool:
    """Say whether results come one by one from workers, so that `stream` serves."""
    return not local and active_client() is not None


def compute(
    delayed: Sequence[Any],
    prefix: str,
    on_done: OnDone,
    *,
    local: bool,
    threads: int | None = None,
    on_result: Callable[[str, Any], None] | None = None,
) -> list[Any]:
    """Run delayed tasks and return their results in order.

    Parameters
    ----------
    delayed : sequence of Delayed
    prefix : str
        Tasks whose key begins with it count as progress.
    on_done : callable
        Called with the number of finished tasks, from one thread at a time.
    local : bool
        The data live in this process: use its threads even if there is a cluster.
    threads : int, optional
        At most so many tasks at once, where they run in this process.
    on_result : callable, optional
        Called with the key and the result of each counted task, from one thread at a time.

    Raises
    ------
    ClusterError
        No workers, lost workers, or workers with other versions.
    """
    if is_streaming(local=local):
        results: dict[str, Any] = {}
        stream(delayed, on_done, results.__setitem__)
        return [results[one.key] for one in delayed]
    options: dict[str, Any] = {}
    if local and dask.config.get("scheduler", None) not in _ONE_THREAD:
        options["scheduler"] = "threads"
    if threads is not None and threads < _local_threads():
        options["num_workers"] = threads
    with one_blas_thread(), _Count(prefix, on_done, on_result):
        return list(dask.compute(*delayed, optimize_graph=False, **options))


def runs_here(*, local: bool) -> bool:
    """Say whether jobs in memory run in threads of this process, so that `map_here` serves."""
    if dask.config.get("pool", None) is not None:
        return False
    scheduler = dask.config.get("scheduler", None)
    return local or scheduler in _HERE or (scheduler is None and active_client() is None)


def map_here(func: Callable[[Any], Any], items: Sequence[Any], on_done: OnDone) -> list[Any]:
    """Run a function on items in threads of this process; the results in the order of `items`.

    A graph of dask costs 5 ms, which is as much as a step over the rows near a border.
    """
    with one_blas_thread():
        n_at_once = min(_local_threads(), len(items))
        if n_at_once <= 1:
            return _taken(map(func, items), on_done)
        with ThreadPoolExecutor(n_at_once) as pool:
            return _taken(pool.map(func, items), on_done)


def _taken(results: Iterator[Any], on_done: OnDone) -> list[Any]:
    taken = []
    for result in results:
        taken.append(result)
        on_done(len(taken))
    return taken


def stream(delayed: Sequence[Any], on_done: OnDone, on_result: Callable[[str, Any], None]) -> None:
    """Run delayed tasks on the cluster and hand over each result as soon as it is there.

    A result leaves its worker at once, so that a worker that is lost later takes none with it.
    """
    import distributed  # noqa: PLC0415 - as above

    client = distributed.get_client()
    _check_workers(client)
    with warnings.catch_warnings():
        # Parameters are in the graph once, in a task of their own: scattered ones would be lost
        # with their workers.
        warnings.filterwarnings("ignore", "Sending large graph", UserWarning)
        futures = client.compute(list(delayed), optimize_graph=False)
    done = 0
    try:
        with _naming_losses(client), one_blas_thread():
            for future, result in distributed.as_completed(futures, with_results=True):
                on_result(str(future.key), result)
                future.release()
                done += 1
                on_done(done)
    finally:
        # After an error the tasks that are left would run on for nobody.
        for future in futures:
            future.release()


@contextmanager
def _naming_losses(client: distributed.Client) -> Iterator[None]:
    """Turn the errors of `distributed` about lost workers into ours."""
    import distributed  # noqa: PLC0415 - as above

    try:
        yield
    except distributed.KilledWorker as error:
        raise ClusterError(
            f"workers were lost while they ran task {error.task!r}, the last one "
            f"{error.last_worker.address}; {len(client.nthreads())} are left. Look at the log of "
            "that worker: most often it was killed for its memory. Give workers more memory, or "
            "write the data with smaller chunks."
        ) from error


# The workers that were found fit, per client.
_known: dict[str, frozenset[str]] = {}


def _check_workers(client: distributed.Client) -> None:
    """Wait for a worker, and compare versions with those not met before."""
    addresses = frozenset(client.nthreads())
    if not addresses:
        wait_s = float(dask.config.get("daskseg.worker-timeout-s", WAIT_S))
        try:
            client.wait_for_workers(1, timeout=wait_s)
        except TimeoutError as error:
            raise ClusterError(
                f"no worker joined the cluster within {wait_s:g} s "
                "(dask config daskseg.worker-timeout-s). Start workers, or ask the queue why they "
                "wait."
            ) from error
        addresses = frozenset(client.nthreads())
    fresh = addresses - _known.get(client.id, frozenset())
    if fresh:
        found = client.run(versions.installed, workers=sorted(fresh), on_error="return")
        versions.check(versions.installed(), found)
        _known[client.id] = addresses
