"""Where tasks run: the only module that knows `distributed`.

Covers: finding the active scheduler, and running delayed tasks on it with progress.
The library never starts a cluster. Does not cover: what the tasks are (see `engine.passes`).
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import dask
from dask.callbacks import Callback
from dask.system import CPU_COUNT

if TYPE_CHECKING:
    import distributed


def active_client() -> distributed.Client | None:
    """Return the current client of `distributed`, or None; never starts one."""
    if "distributed" not in sys.modules or dask.config.get("scheduler", None) in _LOCAL:
        return None
    import distributed  # noqa: PLC0415 - one second to import, and only of use with a client

    try:
        return distributed.get_client()
    except ValueError:
        return None


_LOCAL = ("sync", "synchronous", "single-threaded", "threads", "threading", "processes")


def n_threads() -> int:
    """Return how many tasks can run at once."""
    client = active_client()
    if client is None:
        return int(dask.config.get("num_workers", None) or CPU_COUNT)
    return max(1, sum(int(n) for n in client.nthreads().values()))


class _Count(Callback):
    """Counts finished tasks of a local scheduler by the prefix of their keys."""

    def __init__(self, prefix: str, on_done: Callable[[int], None]) -> None:
        self.prefix, self.on_done, self.done = prefix, on_done, 0
        super().__init__(posttask=self._finished)  # type: ignore[no-untyped-call]

    def _finished(self, key: Any, *_: Any) -> None:
        if str(key).startswith(self.prefix):
            self.done += 1
            self.on_done(self.done)


def compute(
    delayed: Sequence[Any], prefix: str, on_done: Callable[[int], None], *, local: bool
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
    """
    client = None if local else active_client()
    if client is None:
        options: dict[str, Any] = {}
        if local and dask.config.get("scheduler", None) not in _LOCAL[:3]:
            options["scheduler"] = "threads"
        with _Count(prefix, on_done):
            return list(dask.compute(*delayed, optimize_graph=False, **options))
    import distributed  # noqa: PLC0415 - as above

    futures = client.compute(list(delayed), optimize_graph=False)
    for done, _ in enumerate(distributed.as_completed(futures), start=1):
        on_done(done)
    return list(client.gather(futures))
