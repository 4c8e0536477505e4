"""The cost of default fits on every set, beside the best known, for many seeds.

Covers: cost above scikit-learn's restarts and above the best cost known from any method; passes
as daskseg counts them and as its store is read; what the contract promises of both. Does not
cover: time (see `compare.kmeans`).
See also: README.md for the question this answers.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
import warnings
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import instruments, real, records, references, stores
from benchmarks.records import Record
from benchmarks.stores import Written
from daskseg import cluster

RESULTS = records.RESULTS / "quality.jsonl"
SETS = tuple(name for name in stores.names() if not name.endswith("-50") or name in real.TABLES)
CLOSE = 5e-4
"""The contract's 0.05 %, which 95 % of the seeds keep."""
CLOSE_MINIBATCH = 1e-2
"""The contract's 1 % of mini-batches."""
SHARE = 0.95
MOST = {"KMeans": ("passes", 5.0), "MiniBatchKMeans": ("epochs", 2.0)}
"""Full reads of a store; rows learned from ÷ rows, since a few rows of each chunk are a pass."""
ROUNDING = 1e-6
"""Centres are float32, and scikit-learn stops short of the optimum: equal costs differ so much."""
GAUSS_10 = "gauss-10"
GAUSS_10_SSE = 15.1e4
"""Of 10,000 rows: the k-means‖ paper's best row is 25e4."""


def fit_once(written: Written, estimator: str, seed: int) -> Record:
    """Fit one estimator of daskseg at its defaults from the store, and count its reads."""
    made = getattr(cluster, estimator)(written.case.k, random_state=seed)
    with (
        instruments.counting_reads(written.path) as reads,
        instruments.timing_passes() as clock,
        warnings.catch_warnings(),
    ):
        # A table with few distinct rows may have fewer clusters than are asked.
        warnings.simplefilter("ignore")
        started = time.perf_counter()
        model = made.fit(str(written.path))
        wall_s = time.perf_counter() - started
    return {
        "seed": seed,
        "wall_s": wall_s,
        "sse": stores.sse_of(written.path, model.cluster_centers_),
        "sse_reported": float(model.inertia_),
        "passes": float(model.n_passes_),
        "passes_counted": reads.passes,
        "epochs": clock.n_rows / written.case.n_rows,
        "n_iter": int(model.n_iter_),
        "stopped_by": str(model.stopped_by_),
    }


def judge(record: Record) -> Record:
    """Say what the fits of a record amount to, beside their references.

    Parameters
    ----------
    record : dict
        With ``fits``, ``restarts_sse``, ``best_sse`` (one per fit each) and ``estimator``.
    """
    fits = record["fits"]
    found = np.array([one["sse"] for one in fits])
    excess = found / np.array(record["best_sse"]) - 1.0
    beside = found / np.array(record["restarts_sse"]) - 1.0
    close = CLOSE if record["estimator"] == "KMeans" else CLOSE_MINIBATCH
    measure, most = MOST[record["estimator"]]
    counted = [abs(one["passes"] - one["passes_counted"]) < ROUNDING for one in fits]
    told = [abs(one["sse_reported"] / one["sse"] - 1.0) < ROUNDING for one in fits]
    kept = {
        "close": float((excess <= close).mean()) >= SHARE,
        measure: max(one[measure] for one in fits) <= most + ROUNDING,
        "passes_counted": all(counted),
        "inertia": all(told),
    }
    if record["estimator"] == "KMeans":
        kept["restarts"] = float(beside.max()) <= ROUNDING
    if record["set"] == GAUSS_10 and record["n_rows"] == 10_000:
        kept["gauss_10"] = float((found <= GAUSS_10_SSE).mean()) >= SHARE
    return {
        "excess_median": float(np.median(excess)),
        "excess_worst": float(excess.max()),
        "close_share": float((excess <= close).mean()),
        "restarts_worst": float(beside.max()),
        "passes_max": max(one["passes"] for one in fits),
        "epochs_max": max(one["epochs"] for one in fits),
        "stopped_by": dict(Counter(one["stopped_by"] for one in fits)),
        "wall_s_median": float(np.median([one["wall_s"] for one in fits])),
        "kept": kept,
    }


def _costs(found: Record, fits: list[Record], estimator: str) -> dict[str, float]:
    """Name all costs that are known of some rows now."""
    costs = {f"daskseg {estimator}": min(one["sse"] for one in fits)}
    costs[f"best of {found['restarts']} of scikit-learn"] = found["restarts_sse"]
    if "planted_sse" in found:
        costs["scikit-learn from the planted centres"] = found["planted_sse"]
    return costs


def _write(folder: str, name: str, arguments: argparse.Namespace, seed: int) -> Written:
    path = Path(folder) / f"{name}-{seed}.zarr"
    return stores.write(path, name, n_rows=arguments.rows, seed=seed, folder=arguments.data)


def measure(name: str, arguments: argparse.Namespace) -> Record:
    """Fit a set for every seed and return the record with its verdict.

    With ``vary=fit`` the rows stay and the seed of the fit changes; with ``vary=data`` both do,
    and every seed has references of its own. Real tables stay in any case.
    """
    fits: list[Record] = []
    restarts_sse, best_sse = [], []
    varies = arguments.vary == "data" and name not in real.TABLES
    data_seeds = range(arguments.seeds) if varies else [arguments.data_seed]
    with tempfile.TemporaryDirectory(prefix="quality-", dir=arguments.scratch) as folder:
        for data_seed in data_seeds:
            written = _write(folder, name, arguments, data_seed)
            found = references.reference(written, arguments.references, arguments.restarts)
            seeds = [data_seed] if varies else range(arguments.seeds)
            fresh = [fit_once(written, arguments.estimator, seed) for seed in seeds]
            costs = _costs(found, fresh, arguments.estimator)
            best = records.improve(written, costs, arguments.best_known)["sse"]
            fits += fresh
            restarts_sse += [found["restarts_sse"]] * len(fresh)
            best_sse += [best] * len(fresh)
            facts = written.facts()
    record = {
        "benchmark": "quality",
        "estimator": arguments.estimator,
        "vary": arguments.vary,
        **facts,
        **records.circumstances(),
        "restarts": found["restarts"],
        "restarts_sse": restarts_sse,
        "best_sse": best_sse,
        "fits": fits,
    }
    return {**record, **judge(record)}


# ── the table ────────────────────────────────────────────────────────────────
HEAD = (
    "set",
    "rows",
    "k",
    "seeds",
    "above best: median",
    "worst",
    "close",
    "worst beside restarts",
    "passes",
    "epochs",
    "s",
    "broken",
)


def row_of(record: Record) -> tuple[str, ...]:
    """Return a record's line of the table."""
    broken = [name for name, is_kept in record["kept"].items() if not is_kept]
    return (
        record["set"],
        f"{record['n_rows']:,}",
        str(record["k"]),
        str(len(record["fits"])),
        f"{record['excess_median']:.4%}",
        f"{record['excess_worst']:.4%}",
        f"{record['close_share']:.0%}",
        f"{record['restarts_worst']:+.4%}",
        f"{record['passes_max']:.2f}",
        f"{record['epochs_max']:.2f}",
        f"{record['wall_s_median']:.2f}",
        ", ".join(broken) or "-",
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--set", default=",".join(SETS), help="comma-separated; default: all")
    parser.add_argument("--estimator", choices=sorted(MOST), default="KMeans")
    parser.add_argument("--rows", type=lambda text: int(float(text)), help="default: the set's")
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--vary", choices=("fit", "data"), default="fit")
    parser.add_argument("--data-seed", type=int, default=0)
    parser.add_argument("--restarts", type=int, help="of scikit-learn; default: 50 or 5")
    parser.add_argument("--data", type=Path, help=f"real tables; default: ${real.VARIABLE}")
    parser.add_argument("--scratch", type=Path)
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--references", type=Path, default=references.RESULTS)
    parser.add_argument("--best-known", type=Path, default=records.BEST_KNOWN)
    return parser


def run(arguments: argparse.Namespace) -> list[Record]:
    """Measure the sets that are there, append a line for each, and return the records."""
    done: list[Record] = []
    for name in arguments.set.split(","):
        try:
            record: dict[str, Any] = measure(name, arguments)
        except real.MissingTable as error:
            print(f"{name}: skipped: {error}", file=sys.stderr)
            continue
        records.append(arguments.results, record)
        print(f"{name}: {record['kept']}", file=sys.stderr)
        done.append(record)
    return done


def main() -> None:
    """Measure, print the table; exit with 1 if a promise is broken."""
    parser = _parser()
    arguments = parser.parse_args()
    unknown = set(arguments.set.split(",")) - set(stores.names())
    if unknown:
        parser.error(f"unknown: {', '.join(sorted(unknown))}; known: {', '.join(stores.names())}")
    done = run(arguments)
    if done:
        print(f"{arguments.estimator}; {records.machine_words(done[-1])}\n")
        print(records.table(HEAD, [row_of(record) for record in done]))
    sys.exit(not all(all(record["kept"].values()) for record in done))


if __name__ == "__main__":
    main()
