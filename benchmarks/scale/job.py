"""One fit on a cluster of worker processes with a hard limit of memory, watched from outside.

Covers: starting the cluster, the peak of each worker as the system counts it, spilled bytes,
restarts, the page cache. Run in a fresh process by `scale.run`. Does not cover: making the data.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import threading
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import distributed
import psutil
import zarr

from benchmarks import instruments, stores
from daskseg import cluster

SAMPLE_S = 0.05
"""Arbitrary: between two looks at the workers, so that those that die are seen too."""
WARM_ROWS = 131_072
Result = dict[str, Any]


def _peak_bytes(pid: int) -> int:
    """Return the largest resident memory that the system has seen of a process; 0 if it is gone."""
    try:
        content = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    except OSError:
        return 0
    found = re.search(r"VmHWM:\s+(\d+) kB", content)
    return int(found[1]) * 1024 if found else 0


class _Watch(threading.Thread):
    """Reads the peak of every worker process, those that came and went included."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.peaks: dict[int, int] = {}
        self.parent = psutil.Process()
        self._ended = threading.Event()

    def look(self) -> None:
        for process in self.parent.children(recursive=True):
            self.peaks[process.pid] = max(_peak_bytes(process.pid), self.peaks.get(process.pid, 0))

    def run(self) -> None:
        while not self._ended.wait(SAMPLE_S):
            self.look()

    def stop(self) -> dict[int, int]:
        self._ended.set()
        self.join()
        self.look()
        return self.peaks


@contextmanager
def _dropping(every_s: float) -> Iterator[None]:
    """Drop the page cache again and again, so that no pass finds the data in memory."""
    ended = threading.Event()

    def drop() -> None:
        while not ended.wait(every_s):
            stores.drop_page_cache()

    thread = threading.Thread(target=drop, daemon=True)
    if every_s > 0:
        thread.start()
    try:
        yield
    finally:
        ended.set()
        if every_s > 0:
            thread.join()


def _spilled(dask_worker: distributed.Worker) -> int:
    """Return the bytes that a worker has written to its disk so far."""
    totals = getattr(dask_worker.data, "cumulative_metrics", {})
    return int(sum(n for key, n in totals.items() if key[0] == "disk-write" and key[-1] == "bytes"))


def _warm(folder: Path, path: str, make: Any) -> None:
    """Let every worker compile and import: a fit of some rows of the same kind."""
    rows = zarr.open_array(path, mode="r")[:WARM_ROWS]
    warm = folder / "warm.zarr"
    array = zarr.create_array(
        store=str(warm),
        shape=rows.shape,
        chunks=(-(-len(rows) // 16), rows.shape[1]),
        dtype=rows.dtype,
        overwrite=True,
    )
    array[:] = rows
    make().fit(str(warm))


def fit(arguments: argparse.Namespace, client: distributed.Client) -> Result:
    """Fit once on the workers of a client and return what was measured."""

    def make() -> Any:
        return getattr(cluster, arguments.estimator)(arguments.k, random_state=arguments.seed)

    _warm(arguments.folder, arguments.path, make)
    before = client.run(os.getpid)
    is_dropped = arguments.page_cache == "dropped" and stores.drop_page_cache()
    bare_read_s = stores.bare_read_s(arguments.path, arguments.workers) if arguments.bare else None
    if is_dropped and arguments.bare:
        stores.drop_page_cache()
    every_s = arguments.drop_every if is_dropped else 0.0
    with instruments.timing_passes() as clock, _dropping(every_s):
        started = time.perf_counter()
        model = make().fit(arguments.path)
        wall_s = time.perf_counter() - started
    after = client.run(os.getpid)
    if not is_dropped:
        cache = "warm"
    elif every_s:
        cache = f"dropped before the fit and every {every_s:g} s"
    else:
        cache = "dropped before the fit"
    return {
        "wall_s": wall_s,
        "bare_read_s": bare_read_s,
        "page_cache": cache,
        "passes": float(model.n_passes_),
        "passes_s": clock.wall_s,
        "each_pass": clock.passes,
        "sse": float(model.inertia_),
        "n_iter": int(model.n_iter_),
        "stopped_by": str(model.stopped_by_),
        "spilled_bytes": sum(client.run(_spilled).values()),
        "restarts": len(set(before.values()) - set(after.values())),
        "worker_pids": sorted(set(before.values()) | set(after.values())),
    }


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--path", required=True)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--k", type=int, required=True)
    parser.add_argument("--estimator", default="KMeans")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--memory", default="1GiB", help="limit of a worker")
    parser.add_argument("--page-cache", choices=("dropped", "as-is"), default="dropped")
    parser.add_argument("--drop-every", type=float, default=10.0)
    parser.add_argument("--bare", action="store_true", help="read the store bare before the fit")
    return parser.parse_args()


def main() -> None:
    """Start the workers, fit, print one line."""
    arguments = _arguments()
    warnings.simplefilter("ignore")
    watch = _Watch()
    watch.start()
    with (
        distributed.LocalCluster(
            n_workers=arguments.workers,
            threads_per_worker=1,
            memory_limit=arguments.memory,
            processes=True,
            host="127.0.0.1",
            dashboard_address="127.0.0.1:0",
            local_directory=str(arguments.folder / "spill"),
        ) as workers,
        distributed.Client(workers) as client,
    ):
        measured = fit(arguments, client)
        peaks = watch.stop()
        pids = measured.pop("worker_pids")
        measured["worker_peak_bytes"] = [peaks.get(pid, 0) for pid in pids]
    measured["client_peak_bytes"] = _peak_bytes(os.getpid())
    print(json.dumps(measured))


if __name__ == "__main__":
    main()
