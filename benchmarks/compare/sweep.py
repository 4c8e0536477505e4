"""A curve over k beside loops of peers that fit every k anew, side by side in one run.

Covers: time, peak memory and counted passes of `ClusterSweep`, of one default fit, of loops over
dask-ml's KMeans and over scikit-learn's MiniBatchKMeans with a sampled silhouette. Each runs in a
fresh process; one JSON line per set is appended. Does not cover: a single fit beside its peers
(see `compare.kmeans`) or whether the recommendation is right (see `known_truth`).
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
from typing import Any, NamedTuple

import numpy as np

from benchmarks import instruments, processes, records, stores
from benchmarks.compare.engines import WARM_ROWS, WARM_ROWS_DASKSEG, Job, timed
from benchmarks.stores import Written

RESULTS = records.RESULTS / "sweep.jsonl"
SILHOUETTE_ROWS = 10_000
"""What scikit-learn's users sample; its silhouette of all rows takes time by their square."""
Result = dict[str, Any]


class Curve(NamedTuple):
    """A run over several k.

    Attributes
    ----------
    ks : list of int
        All that are asked for.
    measured : list of int
        Of these, the ones that a loop of a slow engine really fits.
    """

    ks: list[int]
    measured: list[int]


# ── what is timed ────────────────────────────────────────────────────────────
def daskseg_fit(job: Job, curve: Curve) -> Result:
    """One default fit of the largest k, from the store."""
    from daskseg.cluster import KMeans  # noqa: PLC0415 - each process loads its own library

    warm = job.rows(WARM_ROWS_DASKSEG)
    with instruments.counting_reads(job.path) as reads:
        model, facts = timed(
            lambda rows: KMeans(curve.ks[-1], random_state=job.seed).fit(rows),
            job.path,
            warm,
        )
    return facts | {"passes": float(model.n_passes_), "passes_counted": reads.passes}


def daskseg_sweep(job: Job, curve: Curve) -> Result:
    """All k with every column of the curve and the exact fit of the chosen one, from the store."""
    from daskseg.model_selection import ClusterSweep  # noqa: PLC0415

    warm = job.rows(WARM_ROWS_DASKSEG)
    with instruments.counting_reads(job.path) as reads:
        model, facts = timed(
            lambda rows: ClusterSweep(curve.ks, random_state=job.seed).fit(rows),
            job.path,
            warm,
        )
    frame = model.curve_
    inertias = {int(k): float(sse) for k, sse in zip(frame["k"], frame["inertia"], strict=True)}
    facts |= {"passes": float(model.n_passes_), "passes_counted": reads.passes}
    return facts | {"columns": list(frame.columns), "inertias": inertias}


def sklearn_loop(job: Job, curve: Curve) -> Result:
    """MiniBatchKMeans and a sampled silhouette for each k; the rows are in memory before."""
    from sklearn.cluster import MiniBatchKMeans  # noqa: PLC0415
    from sklearn.metrics import silhouette_score  # noqa: PLC0415

    rows = job.rows()
    inertias: dict[int, float] = {}

    def fit_all(X: np.ndarray) -> None:
        for k in curve.ks:
            model = MiniBatchKMeans(k, random_state=job.seed, n_init="auto").fit(X)
            size = min(SILHOUETTE_ROWS, len(X))
            silhouette_score(X, model.labels_, sample_size=size, random_state=job.seed)
            inertias[k] = float(model.inertia_)

    _, facts = timed(fit_all, rows, rows[:WARM_ROWS])
    return facts | {"inertias": inertias}


def dask_ml_loop(job: Job, curve: Curve) -> Result:
    """dask-ml's KMeans for some k, the others interpolated; the rows are persisted before."""
    import dask.array as da  # noqa: PLC0415
    from dask_ml.cluster import KMeans  # noqa: PLC0415

    rows = da.from_zarr(job.path).persist()
    warm = rows[:WARM_ROWS].persist()
    walls, inertias, facts = [], {}, {}
    for k in curve.measured:
        model, facts = timed(lambda X, k=k: KMeans(k, random_state=job.seed).fit(X), rows, warm)
        walls.append(facts["wall_s"])
        inertias[k] = float(model.inertia_)
    whole_s = float(np.interp(curve.ks, curve.measured, walls).sum())
    marked = {"interpolated": True, "measured_k": curve.measured, "measured_s": walls}
    return {"wall_s": whole_s, **marked, "inertias": inertias}


WAYS: dict[str, tuple[Callable[[Job, Curve], Result], str]] = {
    "one fit": (daskseg_fit, "daskseg"),
    "sweep": (daskseg_sweep, "daskseg"),
    "scikit-learn loop": (sklearn_loop, "sklearn"),
    "dask-ml loop": (dask_ml_loop, "dask_ml"),
}


# ── the run ──────────────────────────────────────────────────────────────────
def _run(name: str, written: Written, arguments: argparse.Namespace) -> Result:
    print(f"{written.case.set}: {name}", file=sys.stderr)
    command = [sys.executable, "-m", "benchmarks.compare.sweep", "--child", name]
    command += ["--folder", str(written.path.parent), "--seed", str(arguments.seed)]
    command += ["--k", arguments.k, "--measured", arguments.measured]
    return processes.run(command, records.ROOT, arguments.timeout)


def measure(name: str, arguments: argparse.Namespace) -> Result:
    """Make the store of a set, run every way, and return the record."""
    with tempfile.TemporaryDirectory(prefix="sweep-", dir=arguments.scratch) as folder:
        path = Path(folder) / "rows.zarr"
        written = stores.write(path, name, n_rows=arguments.rows, seed=0)
        found: dict[str, Result] = {}
        for _ in range(arguments.repeats):
            for way in arguments.ways.split(","):
                known = found.get(way, {})
                if known and (known["status"] != "ok" or "interpolated" in known):
                    continue
                fresh = _run(way, written, arguments)
                walls = [*known.get("walls_s", []), fresh.get("wall_s")]
                best = known if known and known["wall_s"] <= fresh.get("wall_s", np.inf) else fresh
                found[way] = {**best, "walls_s": walls}
        facts = written.facts()
    own = found.get("sweep", {}).get("wall_s")
    for result in found.values():
        if own and "wall_s" in result:
            result["time_ratio"] = result["wall_s"] / own
    circumstances = {**facts, **records.circumstances(), "ks": _numbers(arguments.k)}
    return {"benchmark": "compare/sweep", **circumstances, "ways": found}


def table_of(record: Result) -> str:
    """Return the table of a record."""
    rows = []
    for name, one in record["ways"].items():
        if one["status"] != "ok":
            rows.append((name, one["status"], "", "", ""))
            continue
        passes = "" if "passes" not in one else f"{one['passes']:.2f}"
        peak = f"{one['tree_rss_bytes'] / 2**20:,.0f}"
        seconds = f"{one['wall_s']:.1f}" + (" *" if "interpolated" in one else "")
        rows.append((name, seconds, f"{one.get('time_ratio', float('nan')):.2f}", passes, peak))
    ks = record["ks"]
    title = (
        f"{record['set']}, {record['n_rows']:,} x {record['n_features']}, k = {ks[0]} .. {ks[-1]}; "
        f"{records.machine_words(record)}"
    )
    head = ("way", "seconds", "times the sweep's", "passes", "peak MiB")
    note = "* some k measured, the others interpolated"
    return f"{title}\n\n{records.table(head, rows)}\n\n{note}\n"


def _numbers(text: str) -> list[int]:
    """Read ``2:20`` or ``2,10,20``."""
    first, colon, last = text.partition(":")
    return list(range(int(first), int(last) + 1)) if colon else [int(k) for k in text.split(",")]


def main() -> None:
    """Run every way on each set, print the tables, append the lines."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--set", default="blobs,audience", help="comma-separated")
    parser.add_argument("--rows", type=lambda text: int(float(text)), help="default: the set's")
    parser.add_argument("--k", default="2:20", help="numbers of clusters, first:last")
    parser.add_argument("--measured", default="2,10,20", help="those that dask-ml really fits")
    parser.add_argument("--ways", default=",".join(WAYS), help="comma-separated")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--repeats", type=int, default=2, help="rounds; the fastest counts")
    parser.add_argument("--timeout", type=float, default=3_600.0, help="seconds for each way")
    parser.add_argument("--scratch", type=Path)
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--child", choices=sorted(WAYS), help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        curve = Curve(_numbers(arguments.k), _numbers(arguments.measured))
        facts = WAYS[arguments.child][0](Job(arguments.folder, 0, arguments.seed), curve)
        # Linux counts in KiB.
        facts["peak_rss_bytes"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        print(json.dumps(facts), flush=True)
        return
    unknown = set(arguments.ways.split(",")) - set(WAYS)
    if unknown:
        parser.error(f"unknown: {', '.join(sorted(unknown))}; known: {', '.join(WAYS)}")
    for name in arguments.set.split(","):
        record = measure(name, arguments)
        print(table_of(record))
        records.append(arguments.results, record)


if __name__ == "__main__":
    main()
