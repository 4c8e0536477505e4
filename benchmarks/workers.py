"""Two small worker processes of a cluster on this machine, watched while something runs on them.

Covers: their peaks of resident memory, and whether any died. Does not cover: clusters of other
sizes (see `scale.job`).
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

LIMIT_BYTES = 2**30


def peak_bytes() -> int:
    """Return the peak of resident memory of this process."""
    content = Path("/proc/self/status").read_text(encoding="ascii")
    found = re.search(r"VmHWM:\s+(\d+) kB", content)
    return int(found[1]) * 1024 if found else 0


@contextmanager
def watched(folder: Path) -> Iterator[dict[str, Any]]:
    """Start two workers of 1 GiB, the default client; what is yielded is filled at the end.

    Parameters
    ----------
    folder : Path
        For what they spill.
    """
    import distributed  # noqa: PLC0415 - each process loads its own library

    facts: dict[str, Any] = {}
    with (
        distributed.LocalCluster(
            n_workers=2,
            threads_per_worker=1,
            memory_limit=LIMIT_BYTES,
            processes=True,
            host="127.0.0.1",
            dashboard_address="127.0.0.1:0",
            local_directory=str(folder / "spill"),
        ) as workers,
        distributed.Client(workers) as client,
    ):
        before = client.run(os.getpid)
        yield facts
        peaks, after = client.run(peak_bytes), client.run(os.getpid)
    facts["worker_peak_bytes"] = sorted(peaks.values())
    facts["client_peak_bytes"] = peak_bytes()
    facts["restarts"] = len(set(before.values()) - set(after.values()))
