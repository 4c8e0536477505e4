"""One job in a fresh process: its answer, or how it ended, and the memory it took.

Covers: a limit of time, and the resident memory of the process with all its children.
Does not cover: what the job is; it prints its answer as one line of JSON, the last one, and
calls `tell_start` when what is timed begins.
"""

from __future__ import annotations

import json
import subprocess
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import psutil

SAMPLE_S = 0.1
"""Arbitrary: between two looks at the memory of a process that has children."""
_STARTED = "the clock started at "
Result = dict[str, Any]


def tell_start() -> None:
    """Print when the timed part of a job begins, in case it is stopped before it ends."""
    print(f"{_STARTED}{time.time()}", flush=True)


def _lasted_s(printed: Sequence[str]) -> Result:
    """Return what is known of the time of a job that was stopped."""
    told = [float(line.removeprefix(_STARTED)) for line in printed if line.startswith(_STARTED)]
    return {"wall_at_least_s": time.time() - told[-1]} if told else {}


def tree_rss_bytes(pid: int) -> int:
    """Return the resident memory of a process and its children now; 0 if it is gone."""
    total = 0
    try:
        parent = psutil.Process(pid)
        for process in [parent, *parent.children(recursive=True)]:
            total += process.memory_info().rss
    except psutil.NoSuchProcess:
        pass
    return total


def cpu_s() -> float:
    """Return the processor seconds of this process and its living children so far."""
    me = psutil.Process()
    total = 0.0
    for process in [me, *me.children(recursive=True)]:
        times = process.cpu_times()
        total += times.user + times.system
    return total


def _kill_tree(pid: int) -> None:
    """End a process that this one started, with its children."""
    try:
        parent = psutil.Process(pid)
        family = [*parent.children(recursive=True), parent]
    except psutil.NoSuchProcess:
        return
    for process in family:
        try:
            process.kill()
        except psutil.NoSuchProcess:
            continue


class _Watch(threading.Thread):
    """Looks at the memory of a process tree until it is told to stop."""

    def __init__(self, pid: int) -> None:
        super().__init__(daemon=True)
        self.pid, self.peak_bytes, self._stop_event = pid, 0, threading.Event()

    def run(self) -> None:
        while not self._stop_event.wait(SAMPLE_S):
            self.peak_bytes = max(self.peak_bytes, tree_rss_bytes(self.pid))

    def stop(self) -> int:
        self._stop_event.set()
        self.join()
        return self.peak_bytes


def run(command: Sequence[str], folder: Path, timeout_s: float) -> Result:
    """Run a command to its end.

    Returns
    -------
    dict
        ``status`` (ok, failed, killed or stopped, with the reason), what the job printed, and
        ``tree_rss_bytes``, the most memory seen of it and its children. Of a job that was
        stopped, ``wall_at_least_s``, if it had told its start.
    """
    with (
        tempfile.TemporaryFile("w+", encoding="utf-8") as out,
        tempfile.TemporaryFile("w+", encoding="utf-8") as err,
    ):
        job = subprocess.Popen(command, cwd=folder, stdout=out, stderr=err)
        watch = _Watch(job.pid)
        watch.start()
        try:
            job.wait(timeout_s)
        except subprocess.TimeoutExpired:
            out.seek(0)
            lasted = _lasted_s(out.read().splitlines())
            _kill_tree(job.pid)
            job.wait()
            return {"status": f"stopped after {timeout_s:.0f} s", **lasted}
        finally:
            peak_bytes = watch.stop()
        out.seek(0)
        err.seek(0)
        printed, complaint = out.read().splitlines(), err.read().strip().splitlines()
    if job.returncode < 0:
        return {"status": f"killed by signal {-job.returncode}", "tree_rss_bytes": peak_bytes}
    if job.returncode:
        return {"status": f"failed: {(complaint or ['?'])[-1]}"}
    return {"status": "ok", "tree_rss_bytes": peak_bytes, **json.loads(printed[-1])}
