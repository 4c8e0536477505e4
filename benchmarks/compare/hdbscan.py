"""HDBSCAN on landmarks beside scikit-learn's on all rows, and many rows in little memory.

Covers: agreement of labels (adjusted Rand index, with and without noise), time and peak memory on
made sets of varying density, a fresh process each (case `same`); 2 million rows on two worker
processes of 1 GiB (case `limit`). One JSON line per set and case is appended. Does not cover:
k-means (see `compare.kmeans`).
See also: README.md for how to read the lines.
"""

from __future__ import annotations

import argparse
import json
import resource
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import zarr

from benchmarks import processes, records, workers
from benchmarks.stores import chunk_rows

RESULTS = records.RESULTS / "hdbscan.jsonl"
MIN_SHARE, MIN_SAMPLES = 0.02, 10
WARM_ROWS = 2_000
BLOCK_ROWS = 100_000
Random = np.random.Generator
Result = dict[str, Any]


# ── sets ─────────────────────────────────────────────────────────────────────
def _moons(n: int, random: Random) -> np.ndarray:
    t, is_upper = random.uniform(0, np.pi, n), random.random(n) < 0.5
    upper = np.column_stack([np.cos(t), np.sin(t)])
    lower = np.column_stack([1.0 - np.cos(t), 0.5 - np.sin(t)])
    return np.where(is_upper[:, None], upper, lower) + 0.06 * random.normal(size=(n, 2))


def _densities(n: int, random: Random) -> np.ndarray:
    centres = np.array([[0, 0], [8, 0], [0, 8], [8, 8], [16, 4], [4, 16]], float)
    spread = np.array([0.2, 0.4, 0.6, 0.9, 1.3, 1.7])
    label = random.integers(0, 6, n)
    return centres[label] + spread[label, None] * random.normal(size=(n, 2))


def _rings(n: int, random: Random) -> np.ndarray:
    t = random.uniform(0, 2 * np.pi, n)
    radius = random.choice([1.0, 3.0, 6.0], n, p=[0.2, 0.3, 0.5]) + 0.15 * random.normal(size=n)
    return np.column_stack([radius * np.cos(t), radius * np.sin(t)])


def _bars(n: int, random: Random) -> np.ndarray:
    label = random.integers(0, 3, n)
    rows = random.normal(size=(n, 3)) * np.array([0.2, 4.0, 0.5])
    return rows + label[:, None] * np.array([4.0, 0.0, 1.0])


def _tilted(n: int, random: Random) -> np.ndarray:
    shape = np.random.default_rng(1)
    centres, mixing = shape.normal(0, 4, (6, 4)), shape.normal(0, 0.4, (6, 4, 4))
    label = random.choice(6, n, p=[0.3, 0.25, 0.2, 0.1, 0.1, 0.05])
    return centres[label] + np.einsum("ij,ijk->ik", random.normal(size=(n, 4)), mixing[label])


def _spheres(n: int, random: Random) -> np.ndarray:
    centres = np.random.default_rng(0).uniform(-10, 10, (8, 5))
    label = random.choice(8, n, p=np.arange(8, 0, -1) / 36)
    spread = np.linspace(0.5, 1.5, 8)
    return centres[label] + spread[label, None] * random.normal(size=(n, 5))


def _nested(n: int, random: Random) -> np.ndarray:
    centres = np.array([[0, 0, 0], [2, 2, 0], [-2, -2, 0], [12, 0, 0]], float)
    label = random.choice(4, n, p=[0.4, 0.2, 0.2, 0.2])
    spread = np.array([3.0, 0.3, 0.3, 1.0])
    return centres[label] + spread[label, None] * random.normal(size=(n, 3))


# Rows, and the share that is spread evenly over a box: low and high corner.
SETS: dict[str, tuple[Callable[[int, Random], np.ndarray], float, tuple[float, float]]] = {
    "moons": (_moons, 0.05, (-1.7, 2.7)),
    "densities": (_densities, 0.10, (-6.0, 22.0)),
    "rings": (_rings, 0.05, (-7.5, 7.5)),
    "bars": (_bars, 0.08, (-14.0, 14.0)),
    "tilted": (_tilted, 0.05, (-12.0, 12.0)),
    "spheres": (_spheres, 0.10, (-14.0, 14.0)),
    "nested": (_nested, 0.03, (-12.0, 16.0)),
}


def make(name: str, n_rows: int, seed: int, block: int = 0) -> np.ndarray:
    """Return rows of a set, float64; each block of a large set is a draw of its own."""
    draw, share, box = SETS[name]
    random = np.random.default_rng([seed, block])
    rows = draw(n_rows, random)
    lost = random.random(n_rows) < share
    rows[lost] = random.uniform(*box, (int(lost.sum()), rows.shape[1]))
    return rows


# ── what is timed ────────────────────────────────────────────────────────────
def _timed(fit: Callable[[np.ndarray], Any], rows: np.ndarray) -> tuple[Any, Result]:
    fit(rows[:WARM_ROWS])
    processes.tell_start()
    cpu, started = time.process_time(), time.perf_counter()
    model = fit(rows)
    wall_s = time.perf_counter() - started
    return model, {"wall_s": wall_s, "cpu_s": time.process_time() - cpu}


def daskseg_same(arguments: argparse.Namespace) -> Result:
    """Fit on landmarks, rows in memory; labels of all rows are part of it."""
    from daskseg.cluster import HDBSCAN  # noqa: PLC0415 - each process loads its own library

    rows = np.load(arguments.folder / "rows.npy")

    def fit(X: np.ndarray) -> HDBSCAN:
        n_landmarks = arguments.landmarks * len(X) // len(rows)
        return HDBSCAN(
            MIN_SHARE,
            min_samples=MIN_SAMPLES,
            n_landmarks=n_landmarks,
            random_state=arguments.seed,
        ).fit(X)

    model, facts = _timed(fit, rows)
    np.save(arguments.folder / "daskseg.npy", model.labels_)
    inside = model.sample_indices_
    differing = model.predict(rows[inside]) != model.labels_[inside]
    return facts | {
        "predict_differs": int(differing.sum()),
        "agreement": model.agreement_.tolist(),
        "n_found": model.n_found_.tolist(),
    }


def sklearn_same(arguments: argparse.Namespace) -> Result:
    """Fit on all rows, as smooth a density as that of the landmarks."""
    from sklearn.cluster import HDBSCAN  # noqa: PLC0415

    rows = np.load(arguments.folder / "rows.npy")
    ratio = len(rows) / arguments.landmarks

    def fit(X: np.ndarray) -> HDBSCAN:
        return HDBSCAN(
            min_cluster_size=round(MIN_SHARE * len(X)),
            min_samples=round(MIN_SAMPLES * ratio),
            copy=True,
        ).fit(X)

    model, facts = _timed(fit, rows)
    np.save(arguments.folder / "scikit-learn.npy", model.labels_)
    return facts


def daskseg_limit(arguments: argparse.Namespace) -> Result:
    """Fit a store on two workers of 1 GiB, then compute the labels, strengths and nearest."""
    import dask  # noqa: PLC0415

    from daskseg.cluster import HDBSCAN  # noqa: PLC0415

    with workers.watched(arguments.folder) as watched:
        started = time.perf_counter()
        # The landmarks' default number, however many rows.
        model = HDBSCAN(MIN_SHARE, min_samples=MIN_SAMPLES, random_state=arguments.seed)
        model.fit(str(arguments.folder / "rows.zarr"))
        fitted = time.perf_counter()
        labels, _, nearest = dask.compute(model.labels_, model.probabilities_, model.nearest_)
        ended = time.perf_counter()
    return {
        "wall_s": ended - started,
        "fit_s": fitted - started,
        "labels_s": ended - fitted,
        "passes": float(model.n_passes_),
        "n_clusters": int(model.n_clusters_),
        "noise": float(np.mean(labels < 0)),
        "without_cluster": int(np.sum(nearest < 0)),
        "n_found": model.n_found_.tolist(),
        "agreement": model.agreement_.tolist(),
        **watched,
    }


WAYS: dict[str, Callable[[argparse.Namespace], Result]] = {
    "scikit-learn": sklearn_same,
    "daskseg": daskseg_same,
    "limit": daskseg_limit,
}


# ── the run ──────────────────────────────────────────────────────────────────
def _run(way: str, folder: Path, arguments: argparse.Namespace) -> Result:
    print(f"{folder.name}: {way}", file=sys.stderr)
    command = [sys.executable, "-m", "benchmarks.compare.hdbscan", "--child", way]
    command += ["--folder", str(folder), "--seed", str(arguments.seed)]
    command += ["--landmarks", str(arguments.landmarks)]
    return processes.run(command, records.ROOT, arguments.timeout)


def same(name: str, folder: Path, arguments: argparse.Namespace) -> Result:
    """Fit a set both ways and compare the labels."""
    from sklearn.metrics import adjusted_rand_score  # noqa: PLC0415

    np.save(folder / "rows.npy", make(name, arguments.rows, seed=0))
    ways = {way: _run(way, folder, arguments) for way in ("scikit-learn", "daskseg")}
    record = {"n_rows": arguments.rows, "n_landmarks": arguments.landmarks, "ways": ways}
    if any(one["status"] != "ok" for one in ways.values()):
        return record
    all_rows, found = (np.load(folder / f"{way}.npy") for way in ways)
    both = (all_rows >= 0) & (found >= 0)
    return record | {
        "n_clusters": [int(all_rows.max()) + 1, int(found.max()) + 1],
        "noise": [float(np.mean(all_rows < 0)), float(np.mean(found < 0))],
        "ari": float(adjusted_rand_score(all_rows, found)),
        "ari_without_noise": float(adjusted_rand_score(all_rows[both], found[both])),
        "predict_differs": ways["daskseg"]["predict_differs"],
    }


def limit(name: str, folder: Path, arguments: argparse.Namespace) -> Result:
    """Write a store of many rows, float32, and label all of them on small workers."""
    n_rows, n_features = arguments.limit_rows, make(name, 1, 0).shape[1]
    array = zarr.create_array(
        store=str(folder / "rows.zarr"),
        shape=(n_rows, n_features),
        chunks=(chunk_rows(n_rows, 4 * n_features), n_features),
        dtype="float32",
    )
    for block, first in enumerate(range(0, n_rows, BLOCK_ROWS)):
        stop = min(first + BLOCK_ROWS, n_rows)
        array[first:stop] = make(name, stop - first, 0, block).astype(np.float32)
    return {"n_rows": n_rows, "n_features": n_features, "run": _run("limit", folder, arguments)}


def table_of(found: list[Result]) -> str:
    """Return the table of the records of a run."""
    rows = []
    for one in (record for record in found if record["case"] == "same"):
        if "ari" not in one:
            told = "; ".join(f"{way} {run['status']}" for way, run in one["ways"].items())
            rows.append((one["set"], told, *[""] * 6))
            continue
        noise = " / ".join(f"{share:.1%}" for share in one["noise"])
        clusters = " / ".join(map(str, one["n_clusters"]))
        wall = " / ".join(f"{run['wall_s']:.1f}" for run in one["ways"].values())
        peak = " / ".join(f"{run['peak_rss_bytes'] / 2**20:,.0f}" for run in one["ways"].values())
        ari, without = f"{one['ari']:.3f}", f"{one['ari_without_noise']:.3f}"
        rows.append(
            (one["set"], ari, without, clusters, noise, wall, peak, str(one["predict_differs"]))
        )
    head = ("set", "ARI", "without noise", "clusters", "noise", "seconds", "peak MiB", "differ")
    text = f"{records.table(head, rows)}\n\nscikit-learn on all rows / daskseg\n" if rows else ""
    for one in (record for record in found if record["case"] == "limit"):
        run = one["run"]
        text += f"\n{one['set']}, {one['n_rows']:,} x {one['n_features']}: {run['status']}"
        if run["status"] == "ok":
            peak = max(run["worker_peak_bytes"]) / 2**20
            text += (
                f", fit {run['fit_s']:.1f} s, labels {run['labels_s']:.1f} s, {run['n_clusters']} "
                f"clusters, {run['noise']:.1%} noise, peak of a worker {peak:,.0f} MiB, "
                f"{run['restarts']} restarts"
            )
        text += "\n"
    return f"{text}\n{records.machine_words(found[-1])}\n"


def main() -> None:
    """Run the cases on each set, print the table, append the lines."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--case", default="same,limit", help="comma-separated")
    parser.add_argument("--set", default=",".join(SETS), help="comma-separated, of case same")
    parser.add_argument("--rows", type=lambda text: int(float(text)), default=60_000)
    parser.add_argument("--landmarks", type=lambda text: int(float(text)), default=20_000)
    parser.add_argument("--limit-set", default="spheres", choices=sorted(SETS))
    parser.add_argument("--limit-rows", type=lambda text: int(float(text)), default=2_000_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--timeout", type=float, default=600.0, help="seconds for each fit")
    parser.add_argument("--scratch", type=Path)
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--child", choices=sorted(WAYS), help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        # Of noise and draws: what is measured says more.
        warnings.simplefilter("ignore")
        facts = WAYS[arguments.child](arguments)
        # Linux counts in KiB.
        facts["peak_rss_bytes"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        print(json.dumps(facts), flush=True)
        return
    unknown = set(arguments.set.split(",")) - set(SETS)
    if unknown:
        parser.error(f"unknown: {', '.join(sorted(unknown))}; known: {', '.join(SETS)}")
    found: list[Result] = []
    for case in arguments.case.split(","):
        measure = {"same": same, "limit": limit}[case]
        for name in arguments.set.split(",") if case == "same" else [arguments.limit_set]:
            with tempfile.TemporaryDirectory(prefix=f"{name}-", dir=arguments.scratch) as folder:
                measured = measure(name, Path(folder), arguments)
            about = {"benchmark": "compare/hdbscan", "case": case, "set": name}
            found.append({**about, **records.circumstances(), **measured})
            records.append(arguments.results, found[-1])
    print(table_of(found))


if __name__ == "__main__":
    main()
