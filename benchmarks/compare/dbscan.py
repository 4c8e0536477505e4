"""DBSCAN beside scikit-learn's on the same rows, and many rows in little memory.

Covers: labels of every row, time and peak memory, a fresh process each, on skin_segmentation and on
made sets (case `same`): of rows in memory, and of a store whose rows are worked on in boxes; 10
million rows of three columns on two worker processes of 1 GiB (case `limit`). One JSON line per
set and case is appended. Does not cover: choices of eps, or other models.
See also: README.md for how to read the lines; `compare.hdbscan` for the made sets.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import zarr

from benchmarks import instruments, processes, real, records, workers
from benchmarks.compare import hdbscan
from benchmarks.stores import chunk_rows

RESULTS = records.RESULTS / "dbscan.jsonl"
SKIN = "skin_segmentation"
# Labels of scikit-learn's with these, on 60,000 rows: between 5 and 30 clusters, and some noise.
SETTINGS: dict[str, tuple[float, int]] = {
    SKIN: (2.0, 20),
    "moons": (0.03, 10),
    "rings": (0.15, 10),
    "bars": (0.3, 10),
    "tilted": (0.6, 10),
    "spheres": (1.2, 10),
}
LIMIT_SET, LIMIT_EPS, LIMIT_SAMPLES = "bars", 0.1, 10
BOX_ROWS = 20_000
"""Small enough that every set is cut into boxes."""
Result = dict[str, Any]


class Job(NamedTuple):
    """What a child process is to do, and where its rows are."""

    folder: Path
    eps: float
    min_samples: int

    @property
    def store(self) -> str:
        """The rows as a store."""
        return str(self.folder / "rows.zarr")

    def rows(self) -> np.ndarray:
        """The rows in memory."""
        return np.load(self.folder / "rows.npy")


# ── rows ─────────────────────────────────────────────────────────────────────
def rows_of(name: str, n_rows: int, data: Path | None) -> np.ndarray | None:
    """Return the rows of a set, float64; None where a real one is absent."""
    if name != SKIN:
        return hdbscan.make(name, n_rows, seed=0)
    folder = data or os.environ.get(real.VARIABLE)
    path = Path(folder or "") / real.TABLES["skin"].path
    if not folder or not path.exists():
        return None
    return pd.read_parquet(path)[["B", "G", "R"]].to_numpy(np.float64)


def write_store(path: str, n_rows: int, blocks: Callable[[int, int], np.ndarray]) -> None:
    """Write rows, block by block, in the chunks of `benchmarks.stores`."""
    first_block = blocks(0, min(n_rows, hdbscan.BLOCK_ROWS))
    n_features, dtype = first_block.shape[1], first_block.dtype
    height = chunk_rows(n_rows, dtype.itemsize * n_features)
    array = zarr.create_array(
        store=path, shape=(n_rows, n_features), chunks=(height, n_features), dtype=dtype
    )
    for first in range(0, n_rows, hdbscan.BLOCK_ROWS):
        stop = min(first + hdbscan.BLOCK_ROWS, n_rows)
        array[first:stop] = blocks(first, stop)


# ── what is timed ────────────────────────────────────────────────────────────
def _timed(job: Job, way: str, fit: Callable[[Any], Any], rows: Any, warm: Any) -> Result:
    fit(warm)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    processes.tell_start()
    cpu, started = time.process_time(), time.perf_counter()
    model = fit(rows)
    labels = np.asarray(model.labels_)
    wall_s = time.perf_counter() - started
    np.savez(job.folder / way, labels=labels, core=model.core_sample_indices_)
    return {
        "wall_s": wall_s,
        "cpu_s": time.process_time() - cpu,
        # Linux counts in KiB.
        "rss_before_bytes": before * 1024,
        "n_clusters": int(labels.max()) + 1,
        "noise": float(np.mean(labels < 0)),
        "halo_share": float(getattr(model, "halo_share_", 0.0)),
    }


def sklearn_same(job: Job) -> Result:
    """Fit rows in memory."""
    from sklearn.cluster import DBSCAN  # noqa: PLC0415 - each process loads its own library

    def fit(X: np.ndarray) -> DBSCAN:
        return DBSCAN(eps=job.eps, min_samples=job.min_samples).fit(X)

    rows = job.rows()
    return _timed(job, "scikit-learn", fit, rows, rows[: hdbscan.WARM_ROWS])


def daskseg_same(job: Job) -> Result:
    """Fit rows in memory."""
    from daskseg.cluster import DBSCAN  # noqa: PLC0415

    def fit(X: np.ndarray) -> DBSCAN:
        return DBSCAN(job.eps, min_samples=job.min_samples).fit(X)

    rows = job.rows()
    return _timed(job, "daskseg", fit, rows, rows[: hdbscan.WARM_ROWS])


def boxes_same(job: Job) -> Result:
    """Fit a store, in boxes of 20,000 rows, however much memory there is."""
    import dask.array as da  # noqa: PLC0415

    from daskseg.cluster import DBSCAN  # noqa: PLC0415
    from daskseg.cluster.density import boxes  # noqa: PLC0415

    rows = job.rows()
    n_features = rows.shape[1]
    room = 2 * BOX_ROWS * boxes.Shape(1, n_features, 8, is_weighted=False).box_bytes
    boxes.room_of_task = lambda: (room, "")

    def fit(X: Any) -> DBSCAN:
        return DBSCAN(job.eps, min_samples=job.min_samples, max_halo=8.0).fit(X)

    warm = da.from_array(rows[: hdbscan.WARM_ROWS], chunks=(1_000, n_features))
    return _timed(job, "daskseg boxes", fit, job.store, warm)


def daskseg_limit(job: Job) -> Result:
    """Fit a store on two workers of 1 GiB; labels are part of it."""
    from daskseg.cluster import DBSCAN  # noqa: PLC0415

    with workers.watched(job.folder) as watched:
        model = DBSCAN(job.eps, min_samples=job.min_samples)
        plan = model.plan(job.store)
        with instruments.timing_passes() as clock:
            started = time.perf_counter()
            model.fit(job.store)
            wall_s = time.perf_counter() - started
    sizes = np.sort(np.bincount(model._core_labels))[::-1]
    return {
        "wall_s": wall_s,
        "passes": float(model.n_passes_),
        "each_pass": clock.passes,
        "n_boxes": plan.n_boxes,
        "box_rows": plan.largest_rows,
        "halo_share": [plan.halo_share, model.halo_share_],
        "n_clusters": int(model.n_clusters_),
        "noise": model.noise_share_,
        "largest": sizes[:5].tolist(),
        **watched,
    }


WAYS: dict[str, Callable[[Job], Result]] = {
    "scikit-learn": sklearn_same,
    "daskseg": daskseg_same,
    "daskseg boxes": boxes_same,
    "limit": daskseg_limit,
}


# ── the run ──────────────────────────────────────────────────────────────────
def _run(way: str, job: Job, arguments: argparse.Namespace) -> Result:
    print(f"{job.folder.name}: {way}", file=sys.stderr)
    command = [sys.executable, "-m", "benchmarks.compare.dbscan", "--child", way]
    command += ["--folder", str(job.folder), "--eps", str(job.eps)]
    command += ["--min-samples", str(job.min_samples)]
    return processes.run(command, records.ROOT, arguments.timeout)


def same(name: str, folder: Path, arguments: argparse.Namespace) -> Result | None:
    """Fit a set in all ways and compare the labels of every row."""
    rows = rows_of(name, arguments.rows, arguments.data)
    if rows is None:
        return None
    eps, min_samples = SETTINGS[name]
    job = Job(folder, arguments.eps or eps, arguments.min_samples or min_samples)
    np.save(folder / "rows.npy", rows)
    write_store(job.store, len(rows), lambda first, stop: rows[first:stop])
    found = {way: _run(way, job, arguments) for way in ("scikit-learn", "daskseg", "daskseg boxes")}
    record = {
        "n_rows": len(rows),
        "n_features": rows.shape[1],
        "eps": job.eps,
        "min_samples": job.min_samples,
        "ways": found,
    }
    for way, one in found.items():
        if one["status"] != "ok" or found["scikit-learn"]["status"] != "ok":
            continue
        with np.load(folder / "scikit-learn.npz") as theirs, np.load(folder / f"{way}.npz") as ours:
            one["labels_differ"] = int(np.sum(theirs["labels"] != ours["labels"]))
            one["core_differ"] = len(np.setxor1d(theirs["core"], ours["core"]))
    return record


def limit(name: str, folder: Path, arguments: argparse.Namespace) -> Result:
    """Write a store of many rows, float32, and label all of them on small workers."""
    job = Job(folder, arguments.eps or LIMIT_EPS, arguments.min_samples or LIMIT_SAMPLES)

    def block(first: int, stop: int) -> np.ndarray:
        number = first // hdbscan.BLOCK_ROWS
        return hdbscan.make(name, stop - first, 0, number).astype(np.float32)

    write_store(job.store, arguments.limit_rows, block)
    about = {"n_rows": arguments.limit_rows, "n_features": block(0, 1).shape[1]}
    about |= {"eps": job.eps, "min_samples": job.min_samples, "limit_bytes": workers.LIMIT_BYTES}
    return {**about, "run": _run("limit", job, arguments)}


def table_of(found: list[Result]) -> str:
    """Return the table of the records of a run."""
    rows = []
    for record in (one for one in found if one["case"] == "same"):
        for way, one in record["ways"].items():
            name = f"{record['set']}, {record['n_rows']:,} x {record['n_features']}"
            if one["status"] != "ok":
                rows.append((name, way, one["status"], *[""] * 5))
                continue
            peak = (one["peak_rss_bytes"] - one["rss_before_bytes"]) / 2**20
            cells = (f"{one['wall_s']:.2f}", f"{peak:,.0f}", str(one["n_clusters"]))
            differ = f"{one.get('labels_differ', '?')} / {one.get('core_differ', '?')}"
            rows.append(
                (name, way, *cells, f"{one['noise']:.1%}", f"{one['halo_share']:.2f}", differ)
            )
    head = (
        "set",
        "way",
        "seconds",
        "MiB more",
        "clusters",
        "noise",
        "halo",
        "labels / core differ",
    )
    text = f"{records.table(head, rows)}\n" if rows else ""
    for one in (record for record in found if record["case"] == "limit"):
        run = one["run"]
        text += f"\n{one['set']}, {one['n_rows']:,} x {one['n_features']}: {run['status']}"
        if run["status"] == "ok":
            peak = max(run["worker_peak_bytes"]) / 2**20
            text += (
                f", {run['wall_s']:.1f} s, {run['n_boxes']} boxes, halo "
                f"{run['halo_share'][1]:.3f} ({run['halo_share'][0]:.3f} expected), "
                f"{run['n_clusters']} clusters, {run['noise']:.1%} noise, peak of a worker "
                f"{peak:,.0f} MiB, of the client {run['client_peak_bytes'] / 2**20:,.0f} MiB, "
                f"{run['restarts']} restarts"
            )
        text += "\n"
    return f"{text}\n{records.machine_words(found[-1])}\n"


def main() -> None:
    """Run the cases on each set, print the table, append the lines."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--case", default="same,limit", help="comma-separated")
    parser.add_argument("--set", default=",".join(SETTINGS), help="comma-separated, of case same")
    parser.add_argument("--rows", type=lambda text: int(float(text)), default=60_000)
    parser.add_argument("--limit-rows", type=lambda text: int(float(text)), default=10_000_000)
    parser.add_argument("--eps", type=float, help="default: that of the set")
    parser.add_argument("--min-samples", type=int, help="default: that of the set")
    parser.add_argument("--data", type=Path, help="folder of the real tables")
    parser.add_argument("--timeout", type=float, default=600.0, help="seconds for each fit")
    parser.add_argument("--scratch", type=Path)
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--child", choices=sorted(WAYS), help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        # Of noise: what is measured says more.
        warnings.simplefilter("ignore")
        job = Job(arguments.folder, arguments.eps, arguments.min_samples)
        facts = WAYS[arguments.child](job)
        facts["peak_rss_bytes"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        print(json.dumps(facts), flush=True)
        return
    unknown = set(arguments.set.split(",")) - set(SETTINGS)
    if unknown:
        parser.error(f"unknown: {', '.join(sorted(unknown))}; known: {', '.join(SETTINGS)}")
    found: list[Result] = []
    for case in arguments.case.split(","):
        measure = {"same": same, "limit": limit}[case]
        for name in arguments.set.split(",") if case == "same" else [LIMIT_SET]:
            with tempfile.TemporaryDirectory(prefix=f"{name}-", dir=arguments.scratch) as folder:
                measured = measure(name, Path(folder), arguments)
            if measured is None:
                print(f"{name}: not there, left out", file=sys.stderr)
                continue
            about = {"benchmark": "compare/dbscan", "case": case, "set": name}
            found.append({**about, **records.circumstances(), **measured})
            records.append(arguments.results, found[-1])
    if found:
        print(table_of(found))


if __name__ == "__main__":
    main()
