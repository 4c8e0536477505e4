"""Gaussian mixtures of daskseg and scikit-learn on the same rows, side by side in one run.

Covers: the likelihood of one default fit beside the best of ten restarts of scikit-learn, set by
set (``--case quality``); time, passes and memory of both on a store of overlapping normal
clusters (``--case speed``). Each fit runs in a fresh process, the ways alternate, and one JSON
line per set is appended. Does not cover: k-means (see `compare.kmeans`).
"""

from __future__ import annotations

import argparse
import json
import resource
import sys
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import zarr
from zarr.codecs import BloscCodec, BloscShuffle

from benchmarks import instruments, processes, records, sets, stores
from benchmarks.compare.engines import WARM_ROWS, WARM_ROWS_DASKSEG, timed

RESULTS = records.RESULTS / "mixture.jsonl"
SPEED_SET = "normals"
"""Overlapping clusters with covariances of their own: 16 columns, 10 clusters."""
SPEED_SHAPE = (16, 10)
QUALITY_ROWS = 20_000
QUALITY_SETS = ("audience", "blobs", "gauss-1", "smooth", SPEED_SET)
QUALITY_K = 10
RESTARTS = 10
MAX_ITER = 500
Result = dict[str, Any]


class Job(NamedTuple):
    """What a child process is to fit: ``rows.zarr`` in a folder."""

    folder: Path
    k: int
    seed: int

    @property
    def path(self) -> str:
        """The store."""
        return str(self.folder / "rows.zarr")

    def rows(self, last: int | None = None) -> np.ndarray:
        """Read the rows, or the first of them, into memory."""
        return np.asarray(zarr.open_array(self.path, mode="r")[:last])


# ── rows ─────────────────────────────────────────────────────────────────────
def _normals(index: int, n_rows: int, seed: int) -> np.ndarray:
    n_features, k = SPEED_SHAPE
    shape = np.random.Generator(np.random.Philox(key=[seed, 0]))
    means = shape.normal(0.0, 1.5, (k, n_features))
    mixing = shape.normal(0.0, 1.0, (k, n_features, n_features)) / np.sqrt(n_features)
    shares = shape.dirichlet(np.full(k, 3.0))
    rng = np.random.Generator(np.random.Philox(key=[seed, index + 1]))
    labels = np.sort(rng.choice(k, n_rows, p=shares))
    rows = rng.normal(size=(n_rows, n_features))
    for j in range(k):
        own = labels == j
        rows[own] = means[j] + rows[own] @ (mixing[j] + 0.5 * np.eye(n_features))
    return rows[rng.permutation(n_rows)]


def block(name: str, index: int, n_rows: int, seed: int) -> np.ndarray:
    """Return the rows of a block of a set, float32."""
    if name == SPEED_SET:
        return _normals(index, n_rows, seed).astype(np.float32)
    return sets.block(name, index, n_rows, seed).rows.astype(np.float32)


def write(path: Path, name: str, n_rows: int, seed: int) -> None:
    """Write a set as a Zarr array, in the codec and chunks of `benchmarks.stores`."""
    n_features = block(name, 0, 1, seed).shape[1]
    height = stores.chunk_rows(n_rows, 4 * n_features)
    array = zarr.create_array(
        store=str(path),
        shape=(n_rows, n_features),
        chunks=(height, n_features),
        dtype="float32",
        compressors=[BloscCodec(cname="lz4", clevel=5, shuffle=BloscShuffle.shuffle)],
    )
    held: list[np.ndarray] = []
    n_held = first = 0
    for index, start in enumerate(range(0, n_rows, sets.BLOCK_ROWS)):
        held.append(block(name, index, min(sets.BLOCK_ROWS, n_rows - start), seed))
        n_held += len(held[-1])
        is_last = start + sets.BLOCK_ROWS >= n_rows
        if n_held >= height or is_last:
            joined = np.concatenate(held)
            whole = len(joined) if is_last else len(joined) // height * height
            array[first : first + whole] = joined[:whole]
            held, n_held, first = [joined[whole:]], len(joined) - whole, first + whole


def mean_log_density(path: Path, fitted: dict[str, np.ndarray]) -> float:
    """Return the mean log-density of a store, by the definition, the same for all ways."""
    array = zarr.open_array(str(path), mode="r")
    weights, means, covariances = fitted["weights"], fitted["means"], fitted["covariances"]
    lowers = np.linalg.cholesky(covariances)
    constant = -0.5 * means.shape[1] * np.log(2 * np.pi)
    offsets = np.log(weights) + constant - np.log(np.diagonal(lowers, axis1=1, axis2=2)).sum(axis=1)
    total = 0.0
    for start in range(0, array.shape[0], 2**16):
        rows = np.asarray(array[start : start + 2**16]).astype(np.float64)
        scores = np.column_stack(
            [
                offset - 0.5 * (np.linalg.solve(lower, (rows - mean).T) ** 2).sum(axis=0)
                for offset, mean, lower in zip(offsets, means, lowers, strict=True)
            ]
        )
        total += float(np.logaddexp.reduce(scores, axis=1).sum())
    return total / array.shape[0]


# ── what is timed ────────────────────────────────────────────────────────────
def _save(job: Job, way: str, model: Any) -> None:
    np.savez(
        job.folder / f"{way}.npz",
        weights=model.weights_,
        means=model.means_,
        covariances=model.covariances_,
    )


def daskseg(job: Job) -> Result:
    """A default fit of daskseg from the store; reading is timed."""
    from daskseg.mixture import GaussianMixture  # noqa: PLC0415 - each process loads its own

    warm = job.rows(WARM_ROWS_DASKSEG)
    with instruments.counting_reads(job.path) as reads:
        model, facts = timed(
            lambda rows: GaussianMixture(job.k, random_state=job.seed).fit(rows), job.path, warm
        )
    _save(job, "daskseg", model)
    return facts | {
        "passes": float(model.n_passes_),
        "passes_counted": reads.passes,
        "n_iter": int(model.n_iter_),
        "stopped_by": model.stopped_by_,
        "history": [entry["log_likelihood"] for entry in model.history_],
    }


def _sklearn(job: Job, way: str, dtype: str, **options: Any) -> Result:
    from sklearn.mixture import GaussianMixture  # noqa: PLC0415

    rows = job.rows().astype(dtype)

    def fit(X: np.ndarray) -> Any:
        return GaussianMixture(job.k, random_state=job.seed, **options).fit(X)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model, facts = timed(fit, rows, rows[:WARM_ROWS])
    _save(job, way, model)
    return facts | {"n_iter": int(model.n_iter_), "converged": bool(model.converged_)}


def sklearn(job: Job) -> Result:
    """A default fit of scikit-learn; the rows are in memory before."""
    return _sklearn(job, "scikit-learn", "float32")


def sklearn_best(job: Job) -> Result:
    """The best of ten restarts of scikit-learn, which collapse less often in float64."""
    return _sklearn(job, "scikit-learn best of 10", "float64", n_init=RESTARTS, max_iter=MAX_ITER)


WAYS: dict[str, Callable[[Job], Result]] = {
    "daskseg": daskseg,
    "scikit-learn": sklearn,
    "scikit-learn best of 10": sklearn_best,
}


# ── the run ──────────────────────────────────────────────────────────────────
def _run(way: str, folder: Path, k: int, arguments: argparse.Namespace) -> Result:
    print(way, file=sys.stderr)
    command = [sys.executable, "-m", "benchmarks.compare.mixture", "--child", way]
    command += ["--folder", str(folder), "--k", str(k), "--seed", str(arguments.seed)]
    result = processes.run(command, records.ROOT, arguments.timeout)
    saved = folder / f"{way}.npz"
    if result["status"] == "ok" and saved.exists():
        with np.load(saved) as fitted:
            result["log_density"] = mean_log_density(folder / "rows.zarr", dict(fitted))
    return result


def measure(
    case: str, name: str, n_rows: int, ways: list[str], arguments: argparse.Namespace
) -> Result:
    """Make the store of a set, run every way round by round, and return the record."""
    k = SPEED_SHAPE[1] if case == "speed" else QUALITY_K
    repeats = arguments.repeats if case == "speed" else 1
    found: dict[str, Result] = {}
    with tempfile.TemporaryDirectory(prefix="mixture-", dir=arguments.scratch) as folder:
        path = Path(folder) / "rows.zarr"
        write(path, name, n_rows, seed=0)
        facts = stores.store_facts(path)
        n_features = zarr.open_array(str(path), mode="r").shape[1]
        for _ in range(repeats):
            for way in ways:
                known = found.get(way, {})
                if known and known["status"] != "ok":
                    continue
                fresh = _run(way, Path(folder), k, arguments)
                walls = [*known.get("walls_s", []), fresh.get("wall_s")]
                is_better = not known or fresh.get("wall_s", np.inf) < known["wall_s"]
                found[way] = {**(fresh if is_better else known), "walls_s": walls}
    own = found.get("daskseg", {})
    for result in found.values():
        if "wall_s" in result and "wall_s" in own:
            result["time_ratio"] = result["wall_s"] / own["wall_s"]
        if "log_density" in result and "log_density" in own:
            result["log_density_behind"] = own["log_density"] - result["log_density"]
    shape = {"set": name, "n_rows": n_rows, "n_features": n_features, "k": k, "dtype": "float32"}
    return {
        "benchmark": "compare/mixture",
        "case": case,
        **shape,
        **facts,
        **records.circumstances(),
        "ways": found,
    }


def table_of(record: Result) -> str:
    """Return the table of a record."""
    rows = []
    for name, one in record["ways"].items():
        if one["status"] != "ok":
            rows.append((name, one["status"], "", "", "", "", ""))
            continue
        rows.append(
            (
                name,
                f"{one['wall_s']:.1f}",
                f"{one.get('time_ratio', float('nan')):.2f}",
                str(one["n_iter"]),
                "" if "passes" not in one else f"{one['passes']:.2f}",
                f"{one['log_density']:.5f}",
                f"{one['tree_rss_bytes'] / 2**20:,.0f}",
            )
        )
    title = (
        f"{record['set']}, {record['n_rows']:,} x {record['n_features']}, k = {record['k']}; "
        f"{records.machine_words(record)}"
    )
    head = ("way", "seconds", "times daskseg's", "steps", "passes", "log-density", "peak MiB")
    return f"{title}\n\n{records.table(head, rows)}\n"


def main() -> None:
    """Run the cases, print the tables, append the lines."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--case", default="quality,speed", help="comma-separated")
    parser.add_argument("--set", default=",".join(QUALITY_SETS), help="of the case quality")
    parser.add_argument("--rows", type=lambda text: int(float(text)), default=10_000_000)
    parser.add_argument("--quality-rows", type=lambda text: int(float(text)), default=QUALITY_ROWS)
    parser.add_argument("--k", type=int, default=QUALITY_K, help=argparse.SUPPRESS)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--repeats", type=int, default=2, help="rounds; the fastest counts")
    parser.add_argument("--timeout", type=float, default=3_600.0, help="seconds for each way")
    parser.add_argument("--scratch", type=Path)
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--child", choices=sorted(WAYS), help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        facts = WAYS[arguments.child](Job(arguments.folder, arguments.k, arguments.seed))
        # Linux counts in KiB.
        facts["peak_rss_bytes"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        print(json.dumps(facts), flush=True)
        return
    cases, names = arguments.case.split(","), arguments.set.split(",")
    unknown = set(cases) - {"quality", "speed"} | set(names) - {*sets.SPECS, SPEED_SET}
    if unknown:
        parser.error(f"unknown: {', '.join(sorted(unknown))}")
    jobs = [("speed", SPEED_SET)] if "speed" in cases else []
    jobs = [("quality", name) for name in names] * ("quality" in cases) + jobs
    for case, name in jobs:
        ways = ["daskseg", "scikit-learn" if case == "speed" else "scikit-learn best of 10"]
        n_rows = arguments.rows if case == "speed" else arguments.quality_rows
        record = measure(case, name, n_rows, ways, arguments)
        print(table_of(record))
        records.append(arguments.results, record)


if __name__ == "__main__":
    main()
