"""Maps beside those of umap-learn, openTSNE and scikit-learn, and many rows in little memory.

Covers: trustworthiness, continuity and seconds on scikit-learn's digits, a fresh process each
(case `digits`); a store of a million rows on two worker processes of 1 GiB, its map and the raster
of all rows (case `limit`). One JSON line per way is appended. Does not cover: clusters, which are
never made on a map.
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
from sklearn.datasets import load_digits
from sklearn.manifold import trustworthiness

from benchmarks import processes, records, stores, workers

RESULTS = records.RESULTS / "maps.jsonl"
N_NEIGHBORS = 15
WARM_ROWS = 400
Result = dict[str, Any]
Fit = Callable[[np.ndarray], np.ndarray]


# ── what is timed ────────────────────────────────────────────────────────────
def daskseg_umap(seed: int) -> Fit:
    """Return daskseg's UMAP."""
    from daskseg.manifold import UMAP  # noqa: PLC0415 - each process loads its own library

    return lambda rows: UMAP(random_state=seed).fit_transform(rows)


def umap_learn(seed: int) -> Fit:
    """Return umap-learn's own, with as many neighbours."""
    from umap import UMAP  # noqa: PLC0415

    return lambda rows: UMAP(n_neighbors=30, random_state=seed).fit_transform(rows)


def daskseg_tsne(seed: int) -> Fit:
    """Return daskseg's t-SNE."""
    from daskseg.manifold import TSNE  # noqa: PLC0415

    return lambda rows: TSNE(random_state=seed).fit_transform(rows)


def open_tsne(seed: int) -> Fit:
    """Return openTSNE's own."""
    from openTSNE import TSNE  # noqa: PLC0415

    return lambda rows: np.asarray(TSNE(random_state=seed).fit(rows))


def sklearn_tsne(seed: int) -> Fit:
    """Return scikit-learn's."""
    from sklearn.manifold import TSNE  # noqa: PLC0415

    return lambda rows: TSNE(random_state=seed).fit_transform(rows)


WAYS: dict[str, Callable[[int], Fit]] = {
    "daskseg UMAP": daskseg_umap,
    "umap-learn UMAP": umap_learn,
    "daskseg TSNE": daskseg_tsne,
    "openTSNE TSNE": open_tsne,
    "scikit-learn TSNE": sklearn_tsne,
}


def digits(way: str, arguments: argparse.Namespace) -> Result:
    """Draw scikit-learn's digits, 1,797 rows of 64 columns."""
    rows = load_digits().data.astype(np.float64)
    fit = WAYS[way](arguments.seed)
    fit(rows[:WARM_ROWS])
    processes.tell_start()
    started = time.perf_counter()
    places = fit(rows)
    wall_s = time.perf_counter() - started
    return {
        "wall_s": wall_s,
        "n_rows": len(rows),
        "trustworthiness": float(trustworthiness(rows, places, n_neighbors=N_NEIGHBORS)),
        "continuity": float(trustworthiness(places, rows, n_neighbors=N_NEIGHBORS)),
    }


def limit(way: str, arguments: argparse.Namespace) -> Result:
    """Draw a store on two workers of 1 GiB: the map, the places of all rows, and the raster."""
    from daskseg import manifold  # noqa: PLC0415

    store = str(arguments.folder / "rows.zarr")
    model = {"daskseg UMAP": manifold.UMAP, "daskseg TSNE": manifold.TSNE}[way](
        random_state=arguments.seed
    )
    with workers.watched(arguments.folder) as watched:
        started = time.perf_counter()
        model.fit(store)
        fitted = time.perf_counter()
        counts = model.raster(store).counts
        ended = time.perf_counter()
    return {
        "fit_s": fitted - started,
        "raster_s": ended - fitted,
        "n_drawn": int(counts.sum()),
        "n_landmarks": int(model.n_landmarks_),
        "passes": float(model.n_passes_),
        "trustworthiness": float(model.trustworthiness_),
        "continuity": float(model.continuity_),
        **watched,
    }


# ── the run ──────────────────────────────────────────────────────────────────
CASES = {"digits": digits, "limit": limit}


def _run(case: str, way: str, folder: Path, arguments: argparse.Namespace) -> Result:
    print(f"{case}: {way}", file=sys.stderr)
    command = [sys.executable, "-m", "benchmarks.compare.maps", "--child", way, "--case", case]
    command += ["--folder", str(folder), "--seed", str(arguments.seed)]
    return processes.run(command, records.ROOT, arguments.timeout)


def table_of(found: list[Result]) -> str:
    """Return the table of the records of a run."""
    rows = []
    for one in found:
        run = one["run"]
        if run["status"] != "ok":
            rows.append((one["set"], one["way"], run["status"], *[""] * 4))
            continue
        is_limit = one["case"] == "limit"
        seconds = (
            f"{run['fit_s']:.1f} + {run['raster_s']:.1f}" if is_limit else f"{run['wall_s']:.1f}"
        )
        worker = f"{max(run['worker_peak_bytes']) / 2**20:,.0f}" if is_limit else ""
        own = run["client_peak_bytes"] if is_limit else run["peak_rss_bytes"]
        quality = (f"{run[name]:.3f}" for name in ("trustworthiness", "continuity"))
        rows.append((one["set"], one["way"], seconds, *quality, worker, f"{own / 2**20:,.0f}"))
    head = ("set", "way", "seconds", "trustworthiness", "continuity", "worker MiB", "process MiB")
    return f"{records.table(head, rows)}\n\n{records.machine_words(found[-1])}\n"


def main() -> None:
    """Run every way of every case, print the table, append the lines."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--case", default="digits,limit", help="comma-separated")
    parser.add_argument("--way", default=",".join(WAYS), help="comma-separated")
    parser.add_argument("--set", default="audience", help="of case limit")
    parser.add_argument("--rows", type=lambda text: int(float(text)), default=1_000_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--timeout", type=float, default=900.0, help="seconds for each map")
    parser.add_argument("--scratch", type=Path)
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--child", choices=sorted(WAYS), help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        # Of quality and of other libraries: what is measured says more.
        warnings.simplefilter("ignore")
        facts = CASES[arguments.case](arguments.child, arguments)
        # Linux counts in KiB.
        facts["peak_rss_bytes"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        print(json.dumps(facts), flush=True)
        return
    found: list[Result] = []
    for case in arguments.case.split(","):
        ways = [way for way in arguments.way.split(",") if case == "digits" or "daskseg" in way]
        name = "digits" if case == "digits" else arguments.set
        with tempfile.TemporaryDirectory(prefix="maps-", dir=arguments.scratch) as scratch:
            folder, facts = Path(scratch), {}
            if case == "limit":
                written = stores.write(folder / "rows.zarr", name, n_rows=arguments.rows, seed=0)
                facts = written.facts()
            for way in ways:
                run = _run(case, way, folder, arguments)
                about = {"benchmark": "compare/maps", "case": case, "way": way}
                found.append({**facts, **about, "set": name, **records.circumstances(), "run": run})
                records.append(arguments.results, found[-1])
    print(table_of(found))


if __name__ == "__main__":
    main()
