"""The peak of resident memory during a call, for tests that run in a process of their own."""

from __future__ import annotations

import gc
import re
from collections.abc import Callable
from pathlib import Path

# So that what is freed goes back to the system, and a later call is measured in full.
MALLOC = {
    "MALLOC_MMAP_THRESHOLD_": "65536",
    "MALLOC_TOP_PAD_": "0",
    "MALLOC_TRIM_THRESHOLD_": "0",
}


def _status(field: str) -> int:
    content = Path("/proc/self/status").read_text(encoding="ascii")
    found = re.search(rf"{field}:\s+(\d+) kB", content)
    assert found is not None
    return int(found[1]) * 1024


def can_measure() -> bool:
    """Say whether this system can reset the peak of a process."""
    try:
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    except OSError:
        return False
    return True


def peak_of(call: Callable[[], object]) -> tuple[int, int]:
    """Return the resident memory before a call, and its peak during the call."""
    gc.collect()
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    before = _status("VmRSS")
    result = call()
    peak = _status("VmHWM")
    del result
    return before, peak
