"""Fits of data larger than the workers, and how time grows with rows and workers.

Covers: three cases, each a line in the results. ``limit``: more rows than memory on two workers
of 1 GiB; ``rows``: ten times as many rows; ``workers``: one worker and two. Every fit runs in a
fresh process with a fresh cluster (see `scale.job`). Does not cover: peers (`compare.kmeans`).
See also: README.md for the questions these answer.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from dask.utils import format_bytes, parse_bytes

from benchmarks import processes, records, sets, stores
from benchmarks.records import Record

RESULTS = records.RESULTS / "scale.jsonl"
SPARE = 1.1
"""Arbitrary: free disk that a store needs, as a multiple of its rows."""
CHUNK_BYTES = 64 * 2**20
"""Chunks of the large store: a fetch per pass and worker for every 64 MiB of rows."""
SETS = {"limit": "audience-50", "rows": "gauss-10", "workers": "gauss-10"}
LINEAR, PASSES_FASTER, FIT_FASTER = 11.0, 1.7, 1.4
"""The contract's bounds: time of ten times the rows, and speed of two workers beside one."""
Result = dict[str, Any]


# ── one fit ──────────────────────────────────────────────────────────────────
def run_job(
    written: stores.Written, arguments: argparse.Namespace, workers: int, *, bare: bool = True
) -> Result:
    """Fit a store on so many workers in a fresh process."""
    command = [sys.executable, "-m", "benchmarks.scale.job", "--path", str(written.path)]
    command += ["--folder", str(written.path.parent), "--k", str(written.case.k)]
    command += ["--workers", str(workers), "--memory", arguments.memory]
    command += ["--estimator", arguments.estimator, "--seed", str(arguments.seed)]
    command += ["--page-cache", arguments.page_cache, "--drop-every", str(arguments.drop_every)]
    command += ["--bare"] if bare else []
    done = processes.run(command, records.ROOT, arguments.timeout)
    done.pop("tree_rss_bytes", None)
    return {"workers": workers, **done}


def _write(
    folder: str | Path, name: str, n_rows: int, arguments: argparse.Namespace, chunk_bytes: int
) -> stores.Written:
    print(f"writing {n_rows:,} rows of {name}", file=sys.stderr)
    path = Path(folder) / f"{name}-{n_rows}.zarr"
    return stores.write(path, name, n_rows=n_rows, seed=arguments.seed, chunk_bytes=chunk_bytes)


def _median(runs: list[Result]) -> Result:
    """Return the run of the median time, or the first that failed."""
    failed = [one for one in runs if one["status"] != "ok"]
    if failed:
        return failed[0]
    return sorted(runs, key=lambda one: one["wall_s"])[(len(runs) - 1) // 2]


# ── the cases ────────────────────────────────────────────────────────────────
def rows_for(name: str, wanted_bytes: int, free_bytes: int) -> tuple[int, str]:
    """Return how many rows of a set make so many bytes, or as many as the disk takes.

    Returns
    -------
    n_rows : int
    remark : str
        Says what was taken instead of what was wanted, "" if nothing was.
    """
    row_bytes = sets.SPECS[name].n_features * np.dtype(np.float32).itemsize
    largest = int(free_bytes / SPARE)
    if wanted_bytes <= largest:
        return wanted_bytes // row_bytes, ""
    remark = f"{format_bytes(wanted_bytes)} were wanted, the disk takes {format_bytes(largest)}"
    return largest // row_bytes, remark


def limit(arguments: argparse.Namespace, folder: str) -> Result:
    """More rows than the memory of the workers: no spill, no restart, peak within the limit."""
    name = arguments.set or SETS["limit"]
    wanted = int(parse_bytes(arguments.bytes))
    n_rows, remark = rows_for(name, wanted, shutil.disk_usage(folder).free)
    written = _write(folder, name, n_rows, arguments, CHUNK_BYTES)
    found = run_job(written, arguments, arguments.workers)
    limit_bytes = int(parse_bytes(arguments.memory))
    result = {**written.facts(), "limit_bytes": limit_bytes, "remark": remark, "runs": [found]}
    result["data_over_limit"] = written.case.data_bytes / limit_bytes
    if found["status"] != "ok":
        return {**result, "kept": {"status": False}}
    if arguments.planted:
        result["planted_sse"] = stores.sse_of(written.path, written.planted)
    result["kept"] = {
        "peak": max(found["worker_peak_bytes"]) <= limit_bytes,
        "spill": found["spilled_bytes"] == 0,
        "restarts": found["restarts"] == 0,
    }
    return result


def more_rows(arguments: argparse.Namespace, folder: str) -> Result:
    """Ten times the rows take at most eleven times as long."""
    name = arguments.set or SETS["rows"]
    few, many = (
        _write(folder, name, n_rows, arguments, stores.CHUNK_BYTES)
        for n_rows in (arguments.rows // 10, arguments.rows)
    )
    pairs: list[list[Result]] = [[], []]
    for _ in range(arguments.repeats):
        for runs, written in zip(pairs, (few, many), strict=True):
            runs.append(run_job(written, arguments, arguments.workers))
    small, large = map(_median, pairs)
    result = {**many.facts(), "few_rows": few.case.n_rows, "runs": [*pairs[0], *pairs[1]]}
    if "wall_s" not in small or "wall_s" not in large:
        return {**result, "kept": {"status": False}}
    ratio = large["wall_s"] / small["wall_s"]
    return {**result, "time_ratio": ratio, "kept": {"linear": ratio <= LINEAR}}


def more_workers(arguments: argparse.Namespace, folder: str) -> Result:
    """Two workers run passes 1.7 times, and the whole fit 1.4 times, as fast as one."""
    name = arguments.set or SETS["workers"]
    written = _write(folder, name, arguments.rows, arguments, stores.CHUNK_BYTES)
    pairs: list[list[Result]] = [[], []]
    for _ in range(arguments.repeats):
        for runs, workers in zip(pairs, (1, 2), strict=True):
            runs.append(run_job(written, arguments, workers))
    one, two = map(_median, pairs)
    result = {**written.facts(), "runs": [*pairs[0], *pairs[1]]}
    if "wall_s" not in one or "wall_s" not in two:
        return {**result, "kept": {"status": False}}
    result["passes_faster"] = one["passes_s"] / two["passes_s"]
    result["fit_faster"] = one["wall_s"] / two["wall_s"]
    result["kept"] = {
        "passes": result["passes_faster"] >= PASSES_FASTER,
        "fit": result["fit_faster"] >= FIT_FASTER,
        "same": one["sse"] == two["sse"],
    }
    return result


CASES = {"limit": limit, "rows": more_rows, "workers": more_workers}


# ── the command ──────────────────────────────────────────────────────────────
HEAD = (
    "rows",
    "workers",
    "seconds",
    "bare read s",
    "passes",
    "in passes s",
    "peak MiB",
    "spilled",
    "restarts",
    "page cache",
)


def table_of(record: Record) -> str:
    """Return the runs of a record as a table."""
    rows = []
    for number, run in enumerate(record["runs"]):
        is_few = "few_rows" in record and number < len(record["runs"]) / 2
        cells = [f"{record['few_rows' if is_few else 'n_rows']:,}", str(run["workers"])]
        if run["status"] != "ok":
            rows.append([*cells, run["status"], *[""] * (len(HEAD) - 3)])
            continue
        peak = max(run["worker_peak_bytes"]) / 2**20
        read = run["bare_read_s"]
        cells += [f"{run['wall_s']:.2f}", "" if read is None else f"{read:.2f}"]
        cells += [f"{run['passes']:.2f}", f"{run['passes_s']:.2f}", f"{peak:,.0f}"]
        cells += [format_bytes(run["spilled_bytes"]), str(run["restarts"]), run["page_cache"]]
        rows.append(cells)
    extra = [
        f"{key} {record[key]:.2f}"
        for key in ("data_over_limit", "time_ratio", "passes_faster", "fit_faster")
        if key in record
    ]
    title = (
        f"{record['case']}: {record['set']}, {record['n_rows']:,} x {record['n_features']}, "
        f"k = {record['k']}, {format_bytes(record['disk_bytes'])} on disk; "
        f"{records.machine_words(record)}"
    )
    words = f"{', '.join([*extra, *filter(None, [record.get('remark')])])}; kept: {record['kept']}"
    return f"{title}\n\n{records.table(HEAD, rows)}\n\n{words}\n"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--case", default=",".join(CASES), help="comma-separated; default: all")
    parser.add_argument("--set", choices=sorted(sets.SPECS), help="default: that of the case")
    parser.add_argument("--bytes", default="21 GB", help="rows of the case limit, decoded")
    parser.add_argument(
        "--rows", type=lambda text: int(float(text)), default=10_000_000, help="of the other cases"
    )
    parser.add_argument("--estimator", default="KMeans")
    parser.add_argument("--workers", type=int, default=2, help="of the cases limit and rows")
    parser.add_argument("--memory", default="1 GiB", help="limit of each worker")
    parser.add_argument("--repeats", type=int, default=3, help="of the cases rows and workers")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--page-cache", choices=("dropped", "as-is"), default="dropped")
    parser.add_argument("--drop-every", type=float, default=10.0, help="seconds; 0: only before")
    parser.add_argument("--planted", action="store_true", help="also the cost of the planted means")
    parser.add_argument("--timeout", type=float, default=7_200.0, help="seconds for each fit")
    parser.add_argument("--scratch", type=Path, help="a disk with room; default: temporary")
    parser.add_argument("--results", type=Path, default=RESULTS)
    return parser


def main() -> None:
    """Run the cases, print their tables, append the lines; exit with 1 if a promise is broken."""
    parser = _parser()
    arguments = parser.parse_args()
    unknown = set(arguments.case.split(",")) - set(CASES)
    if unknown:
        parser.error(f"unknown: {', '.join(sorted(unknown))}; known: {', '.join(CASES)}")
    is_kept = True
    for case in arguments.case.split(","):
        circumstances = records.circumstances()
        with tempfile.TemporaryDirectory(prefix="scale-", dir=arguments.scratch) as folder:
            found = CASES[case](arguments, folder)
        record = {"benchmark": "scale", "case": case, **circumstances, **found}
        record["memory"] = arguments.memory
        records.append(arguments.results, record)
        print(table_of(record))
        is_kept &= all(record["kept"].values())
    sys.exit(not is_kept)


if __name__ == "__main__":
    main()
