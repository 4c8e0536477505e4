"""Records of runs: what is written into results/, and how it is shown.

Covers: circumstances (commit, date, machine, versions), appending lines, the best costs known,
text tables. Does not cover: what is measured.
See also: README.md for the meaning of the keys.
"""

from __future__ import annotations

import datetime as dt
import json
import os
import platform
import subprocess
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

from benchmarks.stores import Written

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results"
BEST_KNOWN = RESULTS / "best_known.json"
LIBRARIES = (
    "daskseg",
    "dask",
    "dask-ml",
    "distributed",
    "faiss-cpu",
    "numba",
    "numpy",
    "pyspark",
    "scikit-learn",
    "scikit-learn-intelex",
    "zarr",
)
SAME_ENERGY = 1e-6
"""Arbitrary: another machine's exp and log move sums of squares by less, other rows by more."""
Record = dict[str, Any]


def _git(*arguments: str) -> str:
    command = ["git", *arguments]
    done = subprocess.run(command, capture_output=True, check=False, cwd=ROOT, text=True)
    return done.stdout.strip()


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "not installed"


def circumstances() -> Record:
    """Return when, where and with which versions a run is made."""
    memory_bytes = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {
        "date": dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
        "commit": _git("rev-parse", "--short", "HEAD") or None,
        # What the run before has appended is no change of the code.
        "dirty": bool(_git("status", "--porcelain", "--", ".", ":!benchmarks/results")),
        "machine": {
            "kind": platform.machine(),
            "processor": _processor(),
            "cores": os.cpu_count(),
            "memory_gib": round(memory_bytes / 2**30, 1),
            "load": round(os.getloadavg()[0], 1),
        },
        "python": platform.python_version(),
        "versions": {name: _version(name) for name in LIBRARIES},
    }


def append(path: Path, record: Record) -> None:
    """Append one line; lines that are there are never touched."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", encoding="utf-8") as lines:
        lines.write(json.dumps(record) + "\n")


def read(path: Path) -> list[Record]:
    """Return the lines of a file of results, none if it is absent."""
    if not path.is_file():
        return []
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def is_same(known: Record, written: Written) -> bool:
    """Say whether something known is of the rows of this store, not only of their name."""
    return bool(abs(known["energy"] - written.energy) <= SAME_ENERGY * written.energy)


# ── the best cost known ──────────────────────────────────────────────────────
def best_known(written: Written, path: Path = BEST_KNOWN) -> Record | None:
    """Return the best cost known of a case, with who found it, or None."""
    if not path.is_file():
        return None
    found = json.loads(path.read_text(encoding="utf-8")).get(written.case.key)
    return found if found is not None and is_same(found, written) else None


def improve(written: Written, costs: dict[str, float], path: Path = BEST_KNOWN) -> Record:
    """Note the lowest of some costs if it is lower than what is known; return the best.

    Parameters
    ----------
    written : Written
    costs : dict of str to float
        Who found which cost, of centres on all rows in float64. At least one.
    path : Path
    """
    known = best_known(written, path)
    by = min(costs, key=lambda name: costs[name])
    if known is not None and known["sse"] <= costs[by]:
        return known
    content = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    fresh = {"sse": costs[by], "by": by, "energy": written.energy}
    content[written.case.key] = {**fresh, "date": dt.datetime.now(dt.UTC).date().isoformat()}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    return dict(content[written.case.key])


# ── tables ───────────────────────────────────────────────────────────────────
def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table whose columns are aligned for the eye; numbers stand right."""
    widths = [max(len(line[i]) for line in [head, *rows]) for i in range(len(head))]

    def line(cells: Sequence[str]) -> str:
        padded = [
            cell.ljust(width) if i == 0 else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(cells, widths, strict=True))
        ]
        return f"| {' | '.join(padded)} |"

    rule = ["-" * width if i == 0 else "-" * (width - 1) + ":" for i, width in enumerate(widths)]
    return "\n".join([line(head), line(rule), *map(line, rows)])


def machine_words(record: Record) -> str:
    """Say in one line where and when a record was made."""
    machine = record["machine"]
    # The first records had neither.
    date, processor = record.get("date", "undated")[:10], machine.get("processor", machine["kind"])
    return (
        f"{date}, {machine['cores']} cores of {processor}, "
        f"{machine['memory_gib']:g} GiB, commit {record['commit']}"
        f"{' with changes' if record['dirty'] else ''}"
    )
