"""Ward's tree in two steps beside SciPy's tree of all rows, side by side in one run.

Covers: how alike the cuts are (adjusted Rand index), what they explain, time, passes and memory;
also of SciPy's tree of as many rows drawn at random, whose labels go to the nearest of the
others. Each way runs in a fresh process; one JSON line per set is appended. Does not cover: flat
clusters (see `compare.kmeans`).
See also: README.md for how to read the line.
"""

from __future__ import annotations

import argparse
import json
import resource
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.metrics import adjusted_rand_score

from benchmarks import instruments, processes, records, sets, stores
from benchmarks.compare.engines import WARM_ROWS_DASKSEG, Job, timed

RESULTS = records.RESULTS / "hierarchy.jsonl"
SETS = ("audience", "blobs", "gauss-1", "gauss-10", "smooth")
N_ROWS = 10_000
"""SciPy's tree of so many rows takes 400 MB and some seconds, and grows with the square."""
WARM_ROWS = 512
Result = dict[str, Any]
Labels = dict[int, np.ndarray]


# ── what is timed ────────────────────────────────────────────────────────────
def two_steps(job: Job, ks: list[int], n_micro: int) -> tuple[Labels, Result]:
    """AgglomerativeClustering from the store."""
    from daskseg.cluster import AgglomerativeClustering  # noqa: PLC0415 - own process each

    def fit(rows: Any) -> Any:
        return AgglomerativeClustering(ks[0], n_micro=n_micro, random_state=job.seed).fit(rows)

    warm = np.resize(job.rows(WARM_ROWS_DASKSEG), (2 * n_micro, job.rows(1).shape[1]))
    with instruments.counting_reads(job.path) as reads:
        model, facts = timed(fit, job.path, warm)
    facts |= {"passes": float(model.n_passes_), "passes_counted": reads.passes}
    return {k: np.asarray(model.cut(k)) for k in ks}, facts


def all_rows(job: Job, ks: list[int], n_micro: int) -> tuple[Labels, Result]:
    """SciPy's tree of all rows, which are in memory before."""
    from scipy.cluster.hierarchy import fcluster, linkage  # noqa: PLC0415

    rows = job.rows().astype(np.float64)
    tree, facts = timed(lambda X: linkage(X, "ward"), rows, rows[:WARM_ROWS])
    return {k: fcluster(tree, k, "maxclust") for k in ks}, facts


def some_rows(job: Job, ks: list[int], n_micro: int) -> tuple[Labels, Result]:
    """SciPy's tree of as many rows as there are micro-clusters; the others join the nearest."""
    from scipy.cluster.hierarchy import fcluster, linkage  # noqa: PLC0415
    from sklearn.neighbors import NearestNeighbors  # noqa: PLC0415

    rows = job.rows().astype(np.float64)
    random = np.random.Generator(np.random.Philox(key=[job.seed, 0]))

    def fit(X: np.ndarray) -> tuple[Any, np.ndarray]:
        drawn = X[np.sort(random.permutation(len(X))[:n_micro])]
        near = NearestNeighbors(n_neighbors=1, algorithm="brute").fit(drawn)
        return linkage(drawn, "ward"), near.kneighbors(X, return_distance=False)[:, 0]

    (tree, nearest), facts = timed(fit, rows, rows[: 2 * WARM_ROWS])
    return {k: fcluster(tree, k, "maxclust")[nearest] for k in ks}, facts


WAYS: dict[str, Callable[[Job, list[int], int], tuple[Labels, Result]]] = {
    "two steps": two_steps,
    "some rows, SciPy": some_rows,
    "all rows, SciPy": all_rows,
}
REFERENCE = "all rows, SciPy"


# ── the run ──────────────────────────────────────────────────────────────────
def explained(rows: np.ndarray, labels: np.ndarray) -> float:
    """Return the share of the squared error that a partition explains."""
    total = float(((rows - rows.mean(axis=0)) ** 2).sum())
    found = np.unique(labels)
    parts = [rows[labels == label] for label in found]
    return 1.0 - sum(float(((own - own.mean(axis=0)) ** 2).sum()) for own in parts) / total


def _run(name: str, folder: Path, way: str, arguments: argparse.Namespace) -> Result:
    print(f"{name}: {way}", file=sys.stderr)
    command = [sys.executable, "-m", "benchmarks.compare.hierarchy", "--child", way]
    command += ["--folder", str(folder), "--seed", str(arguments.seed)]
    command += ["--k", arguments.k, "--micro", str(arguments.micro)]
    return processes.run(command, records.ROOT, arguments.timeout)


def _file(folder: Path, way: str) -> Path:
    return folder / f"{list(WAYS).index(way)}.npz"


def measure(name: str, arguments: argparse.Namespace) -> Result:
    """Make the store of a set, run every way, and return the record."""
    ks = _numbers(arguments.k)
    with tempfile.TemporaryDirectory(prefix="hierarchy-", dir=arguments.scratch) as scratch:
        folder = Path(scratch)
        written = stores.write(folder / "rows.zarr", name, n_rows=arguments.rows, seed=0)
        planted = sets.make(name, arguments.rows, 0).labels
        rows = Job(folder, ks[0], 0).rows().astype(np.float64)
        found: dict[str, Result] = {}
        labels: dict[str, dict[int, np.ndarray]] = {}
        for way in WAYS:
            found[way] = _run(name, folder, way, arguments)
            if found[way]["status"] == "ok":
                with np.load(_file(folder, way)) as kept:
                    labels[way] = {k: kept[str(k)] for k in ks}
        facts = written.facts()
    for way, own in labels.items():
        found[way]["explained"] = {k: explained(rows, own[k]) for k in ks}
        if REFERENCE in labels:
            found[way]["ari"] = {k: adjusted_rand_score(labels[REFERENCE][k], own[k]) for k in ks}
        if (planted >= 0).all():
            found[way]["ari_planted"] = {k: adjusted_rand_score(planted, own[k]) for k in ks}
    circumstances = {**facts, **records.circumstances(), "ks": ks, "n_micro": arguments.micro}
    return {"benchmark": "compare/hierarchy", **circumstances, "ways": found}


def table_of(record: Result) -> str:
    """Return the table of a record."""
    ks = record["ks"]
    lines = []
    for name, one in record["ways"].items():
        if one["status"] != "ok":
            lines.append((name, one["status"], *[""] * (2 * len(ks) + 2)))
            continue
        peak = f"{one['tree_rss_bytes'] / 2**20:,.0f}"
        passes = "" if "passes" not in one else f"{one['passes']:.2f}"
        shares = [f"{one['explained'][k]:.4f}" for k in ks]
        aris = [f"{one['ari'][k]:.3f}" if "ari" in one else "" for k in ks]
        lines.append((name, f"{one['wall_s']:.2f}", passes, peak, *aris, *shares))
    head = ("way", "seconds", "passes", "peak MiB")
    head += tuple(f"ARI, {k}" for k in ks) + tuple(f"explained, {k}" for k in ks)
    title = (
        f"{record['set']}, {record['n_rows']:,} x {record['n_features']}, "
        f"{record['n_micro']:,} micro-clusters; {records.machine_words(record)}"
    )
    return f"{title}\n\n{records.table(head, lines)}\n"


def _numbers(text: str) -> list[int]:
    return [int(k) for k in text.split(",")]


def main() -> None:
    """Run every way on each set, print the tables, append the lines."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--set", default=",".join(SETS), help="comma-separated")
    parser.add_argument("--rows", type=lambda text: int(float(text)), default=N_ROWS)
    parser.add_argument("--k", default="2,5,20", help="cuts, comma-separated")
    parser.add_argument("--micro", type=int, default=1_000, help="micro-clusters")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--timeout", type=float, default=600.0, help="seconds for each way")
    parser.add_argument("--scratch", type=Path)
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--child", choices=sorted(WAYS), help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        ks = _numbers(arguments.k)
        job = Job(arguments.folder, ks[0], arguments.seed)
        labels, facts = WAYS[arguments.child](job, ks, arguments.micro)
        np.savez(_file(arguments.folder, arguments.child), **{str(k): labels[k] for k in ks})
        # Linux counts in KiB.
        facts["peak_rss_bytes"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        print(json.dumps(facts), flush=True)
        return
    unknown = set(arguments.set.split(",")) - set(sets.SPECS)
    if unknown:
        parser.error(f"unknown: {', '.join(sorted(unknown))}; known: {', '.join(sets.SPECS)}")
    for name in arguments.set.split(","):
        record = measure(name, arguments)
        print(table_of(record))
        records.append(arguments.results, record)


if __name__ == "__main__":
    main()
