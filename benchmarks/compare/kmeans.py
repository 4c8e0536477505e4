"""K-means of daskseg and its peers on the same store, side by side in one run.

Covers: time, processor seconds, passes, peak memory and cost of each, beside a bare read of the
store. Every fit runs in a fresh process; the engines alternate; one JSON line per set is
appended to the results. Does not cover: the engines themselves (see `compare.engines`).
See also: README.md for the question this answers and for how to read the line.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import processes, real, records, stores
from benchmarks.compare import engines
from benchmarks.stores import Written

RESULTS = records.RESULTS / "kmeans.jsonl"
SLOW_S = 45.0
"""Arbitrary: an engine that took longer is not repeated; its time stands far from the others'."""
Result = dict[str, Any]


# ── the run ──────────────────────────────────────────────────────────────────
def _run_engine(name: str, written: Written, seed: int, timeout_s: float) -> Result:
    folder = written.path.parent
    command = [sys.executable, "-m", "benchmarks.compare.kmeans", "--child", name]
    command += ["--folder", str(folder), "--k", str(written.case.k), "--seed", str(seed)]
    result = processes.run(command, records.ROOT, timeout_s)
    tree_bytes = result.pop("tree_rss_bytes", 0)
    if result["status"] != "ok":
        return result
    result["peak_rss_bytes"] = max(result["peak_rss_bytes"], tree_bytes)
    saved = folder / f"{name}.npy"
    if saved.exists():
        result["sse"] = stores.sse_of(written.path, np.load(saved))
    return result


def run_rounds(
    names: list[str], written: Written, arguments: argparse.Namespace, deadline: float
) -> dict[str, Result]:
    """Run all engines round by round, until each has its repetitions or time is up."""
    found: dict[str, list[Result]] = {name: [] for name in names}
    for repeat in range(arguments.repeats):
        for name in names:
            runs = found[name]
            if repeat and (runs[0]["status"] != "ok" or runs[0]["wall_s"] > SLOW_S):
                continue
            absent = engines.why_absent(name)
            left_s = min(arguments.timeout, deadline - time.perf_counter())
            if absent or left_s <= 0:
                word = absent or "skipped: the time of this run was up"
                found[name] += [] if runs else [{"status": word}]
                continue
            print(f"{written.case.set}: {name}, round {repeat + 1}", file=sys.stderr)
            result = _run_engine(name, written, arguments.seed, left_s)
            if repeat and result["status"] != "ok":
                continue
            runs.append(result)
    return {name: _median(runs) for name, runs in found.items()}


def _median(runs: list[Result]) -> Result:
    """Return the run of the median time, with the times of all."""
    timed = sorted((one for one in runs if "wall_s" in one), key=lambda one: one["wall_s"])
    if not timed:
        return runs[0]
    middle = dict(timed[(len(timed) - 1) // 2])
    middle["peak_rss_bytes"] = max(one["peak_rss_bytes"] for one in timed)
    return {**middle, "walls_s": [one["wall_s"] for one in runs]}


def add_ratios(results: dict[str, Result], best_sse: float | None) -> None:
    """Add time beside daskseg's and beside bare reads, and cost beside the best.

    Parameters
    ----------
    results : dict
        By engine; changed in place.
    best_sse : float or None
        The best cost known of these rows from any run.
    """
    costs = [result["sse"] for result in results.values() if "sse" in result]
    own = results.get("daskseg", {}).get("wall_s")
    read = results.get("bare-read", {}).get("wall_s")
    for result in results.values():
        if "sse" in result:
            result["sse_ratio"] = result["sse"] / min(costs)
            if best_sse is not None:
                result["excess"] = result["sse"] / best_sse - 1.0
        if own and "wall_s" in result:
            result["time_ratio"] = result["wall_s"] / own
        if own and "wall_at_least_s" in result:
            result["time_ratio_at_least"] = result["wall_at_least_s"] / own
        if read and "wall_s" in result:
            result["bare_reads"] = result["wall_s"] / read
        if read and result.get("passes") and "passes_s" in result:
            result["pass_ratio"] = result["passes_s"] / result["passes"] / read


# ── the table ────────────────────────────────────────────────────────────────
HEAD = (
    "engine",
    "seconds",
    "times daskseg's",
    "CPU s",
    "peak MiB",
    "cost above best",
    "passes",
    "a pass, in bare reads",
)


def _cell(result: Result, key: str, form: str, factor: float = 1.0) -> str:
    value = result.get(key)
    return "" if value is None else format(value * factor, form)


def table_of(record: Result) -> str:
    """Return the table of a record, as the README shows it."""
    rows = []
    for name, result in record["methods"].items():
        if result["status"] != "ok":
            least = _cell(result, "time_ratio_at_least", ".2f")
            least = f"> {least}" if least else ""
            rows.append((name, result["status"], least, *[""] * (len(HEAD) - 3)))
            continue
        rows.append(
            (
                name,
                _cell(result, "wall_s", ".2f"),
                _cell(result, "time_ratio", ".2f"),
                _cell(result, "cpu_s", ".2f"),
                _cell(result, "peak_rss_bytes", ",.0f", 2.0**-20),
                _cell(result, "excess", ".3%"),
                _cell(result, "passes", ".2f"),
                _cell(result, "pass_ratio", ".2f"),
            )
        )
    title = (
        f"{record['set']}, {record['n_rows']:,} x {record['n_features']} {record['dtype']}, "
        f"k = {record['k']}, seed {record['seed']}; {records.machine_words(record)}"
    )
    return f"{title}\n\n{records.table(HEAD, rows)}\n"


# ── the command ──────────────────────────────────────────────────────────────
def _count(text: str) -> int:
    return int(float(text))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--set", default="blobs,audience", help="comma-separated, in order")
    parser.add_argument("--rows", type=_count, help="default: that of the set")
    parser.add_argument("--k", type=int, help="default: that of the set")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--dtype", choices=("float32", "float64"))
    parser.add_argument("--methods", default=",".join(engines.ENGINES), help="in order")
    parser.add_argument("--repeats", type=int, default=3, help="rounds over all engines")
    parser.add_argument("--timeout", type=float, default=3_600.0, help="seconds for each fit")
    parser.add_argument("--budget", type=float, default=1e9, help="seconds for the whole run")
    parser.add_argument("--chunk-mib", type=float, default=stores.CHUNK_BYTES / 2**20)
    parser.add_argument("--data", type=Path, help=f"real tables; default: ${real.VARIABLE}")
    parser.add_argument("--scratch", type=Path, help="where stores are made; default: temporary")
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--best-known", type=Path, default=records.BEST_KNOWN)
    parser.add_argument("--child", choices=sorted(engines.ENGINES), help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    return parser


def _arguments() -> argparse.Namespace:
    parser = _parser()
    arguments = parser.parse_args()
    for given, known in (
        (arguments.methods, list(engines.ENGINES)),
        (arguments.set, stores.names()),
    ):
        unknown = set(given.split(",")) - set(known)
        if unknown:
            parser.error(f"unknown: {', '.join(sorted(unknown))}; known: {', '.join(known)}")
    return arguments


def compare(name: str, arguments: argparse.Namespace, deadline: float) -> Result:
    """Make the store of a set, run the engines, and return the record."""
    with tempfile.TemporaryDirectory(prefix="kmeans-", dir=arguments.scratch) as folder:
        written = stores.write(
            Path(folder) / "rows.zarr",
            name,
            n_rows=arguments.rows,
            k=arguments.k,
            seed=arguments.seed,
            dtype=arguments.dtype,
            chunk_bytes=int(arguments.chunk_mib * 2**20),
            folder=arguments.data,
        )
        np.save(Path(folder) / "planted.npy", written.planted)
        methods = arguments.methods.split(",")
        if len(written.planted) != written.case.k:
            methods = [method for method in methods if method != "from-planted"]
        record = {"benchmark": "compare/kmeans", **written.facts(), **records.circumstances()}
        results = run_rounds(methods, written, arguments, deadline)
        costs = {engine: one["sse"] for engine, one in results.items() if "sse" in one}
        best = records.improve(written, costs, arguments.best_known)["sse"] if costs else None
    add_ratios(results, best)
    return {**record, "best_known_sse": best, "repeats": arguments.repeats, "methods": results}


def main() -> None:
    """Compare on each set, print the tables, append the lines."""
    arguments = _arguments()
    if arguments.child:
        engines.run(arguments.child, engines.Job(arguments.folder, arguments.k, arguments.seed))
        return
    started = time.perf_counter()
    names = arguments.set.split(",")
    for number, name in enumerate(names):
        # What is left of the time is shared by the sets that are left.
        now = time.perf_counter()
        left_s = arguments.budget - (now - started)
        try:
            record = compare(name, arguments, now + left_s / (len(names) - number))
        except real.MissingTable as error:
            print(f"{name}: skipped: {error}\n")
            continue
        print(table_of(record))
        records.append(arguments.results, record)


if __name__ == "__main__":
    main()
