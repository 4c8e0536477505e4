"""K-means of daskseg, scikit-learn and dask-ml on the same store, side by side in one run.

Covers: time, passes, peak memory and cost (sse) of each, beside a bare read of the store.
Every method runs in a fresh process; one JSON line per run is appended to the results.
See also: README.md for the question this answers and for how to read the line.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import zarr

from benchmarks import sets

ROOT = Path(__file__).resolve().parents[2]
RESULTS = ROOT / "benchmarks" / "results" / "kmeans.jsonl"
WARM_ROWS = 4_096
LIBRARIES = ("daskseg", "dask", "dask-ml", "numba", "numpy", "scikit-learn", "zarr")
Result = dict[str, Any]


# ── one method, in a process of its own ──────────────────────────────────────
def _timed(fit: Callable[[Any], Any], rows: Any, warm: Any) -> tuple[Any, float]:
    """Fit once on a few rows, so that compiling and importing are not timed; then for real."""
    fit(warm)
    start = time.perf_counter()
    model = fit(rows)
    return model, time.perf_counter() - start


def bare_read(path: str, k: int, seed: int, planted: np.ndarray) -> tuple[None, Result]:
    """Read every chunk once with as many threads as there are cores, and drop it."""
    array = zarr.open_array(path, mode="r")
    step = array.chunks[0]

    def read(first: int) -> None:
        array[first : first + step]

    seconds = []
    for _ in range(3):
        start = time.perf_counter()
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            list(pool.map(read, range(0, array.shape[0], step)))
        seconds.append(time.perf_counter() - start)
    return None, {"wall_s": float(np.median(seconds)), "passes": 1.0}


def daskseg(path: str, k: int, seed: int, planted: np.ndarray) -> tuple[Any, Result]:
    """Fit daskseg at its defaults from the store; reading is timed."""
    from daskseg.cluster import KMeans  # noqa: PLC0415 - each process loads its own library

    warm = np.asarray(zarr.open_array(path, mode="r")[:WARM_ROWS])
    model, wall_s = _timed(lambda X: KMeans(k, random_state=seed).fit(X), path, warm)
    facts = {
        "passes": float(model.n_passes_),
        "n_iter": int(model.n_iter_),
        "stopped_by": str(model.stopped_by_),
        "sse_reported": float(model.inertia_),
    }
    return np.asarray(model.cluster_centers_), {"wall_s": wall_s, **facts}


def sklearn(path: str, k: int, seed: int, planted: np.ndarray) -> tuple[Any, Result]:
    """Fit scikit-learn at its defaults; the rows are in memory before the clock starts."""
    from sklearn.cluster import KMeans  # noqa: PLC0415

    rows = np.asarray(zarr.open_array(path, mode="r")[:])
    model, wall_s = _timed(lambda X: KMeans(k, random_state=seed).fit(X), rows, rows[:WARM_ROWS])
    facts = {"n_iter": int(model.n_iter_), "sse_reported": float(model.inertia_)}
    return model.cluster_centers_, {"wall_s": wall_s, **facts}


def from_planted(path: str, k: int, seed: int, planted: np.ndarray) -> tuple[Any, Result]:
    """Fit scikit-learn from the planted centres: a reference of cost, not a competitor."""
    from sklearn.cluster import KMeans  # noqa: PLC0415

    rows = np.asarray(zarr.open_array(path, mode="r")[:])
    start = time.perf_counter()
    model = KMeans(k, init=planted.astype(rows.dtype), n_init=1, tol=0.0).fit(rows)
    return model.cluster_centers_, {"wall_s": time.perf_counter() - start}


def minibatch_epoch(path: str, k: int, seed: int, planted: np.ndarray) -> tuple[Any, Result]:
    """One epoch of scikit-learn's MiniBatchKMeans.partial_fit over the store, chunk by chunk."""
    from sklearn.cluster import MiniBatchKMeans  # noqa: PLC0415

    array = zarr.open_array(path, mode="r")
    step = array.chunks[0]

    def fit(source: Any) -> Any:
        model = MiniBatchKMeans(k, random_state=seed, n_init=1)
        for first in range(0, source.shape[0], step):
            model.partial_fit(np.asarray(source[first : first + step]))
        return model

    model, wall_s = _timed(fit, array, np.asarray(array[:WARM_ROWS]))
    return model.cluster_centers_, {"wall_s": wall_s, "passes": 1.0}


def dask_ml(path: str, k: int, seed: int, planted: np.ndarray) -> tuple[Any, Result]:
    """Fit dask-ml at its defaults; the rows are persisted in memory before the clock starts."""
    import dask.array as da  # noqa: PLC0415
    from dask_ml.cluster import KMeans  # noqa: PLC0415

    rows = da.from_zarr(path).persist()
    warm = rows[:WARM_ROWS].persist()
    model, wall_s = _timed(lambda X: KMeans(k, random_state=seed).fit(X), rows, warm)
    facts = {"n_iter": int(model.n_iter_), "sse_reported": float(model.inertia_)}
    return np.asarray(model.cluster_centers_), {"wall_s": wall_s, **facts}


METHODS = {
    "bare-read": bare_read,
    "daskseg": daskseg,
    "sklearn": sklearn,
    "dask-ml": dask_ml,
    "minibatch-epoch": minibatch_epoch,
    "from-planted": from_planted,
}


def _child(method: str, folder: Path, k: int, seed: int) -> None:
    planted = np.load(folder / "planted.npy")
    centres, facts = METHODS[method](str(folder / "rows.zarr"), k, seed, planted)
    if centres is not None:
        np.save(folder / f"{method}.npy", centres)
    facts["peak_rss_bytes"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(json.dumps(facts))


# ── the run ──────────────────────────────────────────────────────────────────
def sse_of(path: Path, centres: np.ndarray) -> float:
    """Return the cost of centres on all rows of a store, in float64."""
    array = zarr.open_array(str(path), mode="r")
    step = array.chunks[0]
    # Moved to the mean of the centres, so that the expanded square keeps its digits.
    origin = centres.mean(axis=0, dtype=np.float64)
    moved = centres.astype(np.float64) - origin
    norms = (moved**2).sum(axis=1)
    total = 0.0
    for first in range(0, array.shape[0], step):
        rows = np.asarray(array[first : first + step]).astype(np.float64) - origin
        nearest = np.argmin(norms - 2.0 * rows @ moved.T, axis=1)
        total += float(((rows - moved[nearest]) ** 2).sum())
    return total


def _run_method(method: str, folder: Path, k: int, seed: int, timeout_s: float) -> Result:
    command = [sys.executable, "-m", "benchmarks.compare.kmeans", "--child", method]
    command += ["--folder", str(folder), "--k", str(k), "--seed", str(seed)]
    try:
        done = subprocess.run(
            command, capture_output=True, check=False, cwd=ROOT, text=True, timeout=timeout_s
        )
    except subprocess.TimeoutExpired:
        return {"status": f"stopped after {timeout_s:g} s"}
    if done.returncode < 0:
        return {"status": f"killed by signal {-done.returncode}"}
    if done.returncode:
        return {"status": f"failed: {(done.stderr.strip().splitlines() or ['?'])[-1]}"}
    result: Result = {"status": "ok", **json.loads(done.stdout.splitlines()[-1])}
    saved = folder / f"{method}.npy"
    if saved.exists():
        result["sse"] = sse_of(folder / "rows.zarr", np.load(saved))
    return result


def _add_ratios(methods: dict[str, Result]) -> None:
    """Add time beside daskseg's and beside bare reads, and cost beside the best of the run."""
    costs = [result["sse"] for result in methods.values() if "sse" in result]
    own = methods.get("daskseg", {}).get("wall_s")
    read = methods.get("bare-read", {}).get("wall_s")
    for result in methods.values():
        if "sse" in result:
            result["sse_ratio"] = result["sse"] / min(costs)
        if own and "wall_s" in result:
            result["time_ratio"] = result["wall_s"] / own
        if read and "wall_s" in result:
            result["bare_reads"] = result["wall_s"] / read


def _git(*arguments: str) -> str:
    command = ["git", *arguments]
    done = subprocess.run(command, capture_output=True, check=False, cwd=ROOT, text=True)
    return done.stdout.strip()


def _circumstances() -> Result:
    versions = {}
    for name in LIBRARIES:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            versions[name] = "not installed"
    memory_bytes = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {
        "commit": _git("rev-parse", "--short", "HEAD") or None,
        "dirty": bool(_git("status", "--porcelain")),
        "machine": {
            "kind": platform.machine(),
            "cores": os.cpu_count(),
            "memory_gib": round(memory_bytes / 2**30, 1),
        },
        "python": platform.python_version(),
        "versions": versions,
    }


def _print_table(record: Result) -> None:
    print(f"{record['set']}, {record['n_rows']:,} x {record['n_features']}, k = {record['k']}")
    print(f"{'method':16}{'wall_s':>9}{'time':>9}{'passes':>8}{'reads':>8}{'MiB':>8}{'sse':>11}")
    for method, result in record["methods"].items():
        if result["status"] != "ok":
            print(f"{method:16}{result['status']}")
            continue
        cells = (
            ("wall_s", 9, "9.3f", 1.0),
            ("time_ratio", 9, "8.2f", 1.0),
            ("passes", 8, "8.2f", 1.0),
            ("bare_reads", 8, "8.1f", 1.0),
            ("peak_rss_bytes", 8, "8.0f", 2.0**-20),
            ("sse_ratio", 11, "11.6f", 1.0),
        )
        line = f"{method:16}"
        for key, width, form, factor in cells:
            value = result.get(key)
            text = "-" if value is None else format(value * factor, form)
            line += f"{text + ('x' if key == 'time_ratio' and value is not None else ''):>{width}}"
        print(line)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--set", choices=sorted(sets.SPECS), default="blobs")
    parser.add_argument("--rows", type=lambda text: int(float(text)), default=500_000)
    parser.add_argument("--k", type=int, help="default: that of the set")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--dtype", choices=("float32", "float64"), default="float32")
    parser.add_argument("--methods", default=",".join(METHODS), help="comma-separated, in order")
    parser.add_argument("--timeout", type=float, default=3_600.0, help="seconds for each method")
    parser.add_argument("--scratch", type=Path, help="where the store is made; default: temporary")
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--child", choices=sorted(METHODS), help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    unknown = set(arguments.methods.split(",")) - set(METHODS)
    if unknown:
        parser.error(f"unknown methods {sorted(unknown)}; known are {', '.join(METHODS)}")
    return arguments


def main() -> None:
    """Make the store, run the methods one after another, append the line."""
    arguments = _arguments()
    spec = sets.SPECS[arguments.set]
    k = arguments.k or spec.n_clusters
    if arguments.child:
        _child(arguments.child, arguments.folder, k, arguments.seed)
        return
    methods = arguments.methods.split(",")
    with tempfile.TemporaryDirectory(prefix="kmeans-", dir=arguments.scratch) as name:
        folder = Path(name)
        planted = sets.write_store(
            folder / "rows.zarr", arguments.set, arguments.rows, arguments.seed, arguments.dtype
        )
        if len(planted) != k:
            methods = [method for method in methods if method != "from-planted"]
        np.save(folder / "planted.npy", planted)
        results = {
            method: _run_method(method, folder, k, arguments.seed, arguments.timeout)
            for method in methods
        }
    _add_ratios(results)
    record = {
        "benchmark": "compare/kmeans",
        "set": arguments.set,
        "n_rows": arguments.rows,
        "n_features": spec.n_features,
        "dtype": arguments.dtype,
        "data_bytes": arguments.rows * spec.n_features * np.dtype(arguments.dtype).itemsize,
        "k": k,
        "seed": arguments.seed,
        **_circumstances(),
        "methods": results,
    }
    _print_table(record)
    arguments.results.parent.mkdir(parents=True, exist_ok=True)
    with arguments.results.open("a", encoding="utf-8") as lines:
        lines.write(json.dumps(record) + "\n")


if __name__ == "__main__":
    main()
