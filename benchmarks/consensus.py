"""Whether a consensus is better than its runs, and says when there is nothing to agree on.

Covers: ConsensusClustering on sets of known truth beside its base runs and a default KMeans, and
on sets without structure; a line per set, a table. Does not cover: cost (see `compare`).
See also: README.md for how to read the line.
"""

from __future__ import annotations

import argparse
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from sklearn.metrics import adjusted_rand_score

from benchmarks import records
from benchmarks.records import Record
from daskseg.cluster import ConsensusClustering, KMeans, ensemble
from daskseg.cluster.consensus import OWN, STREAMS, points_of
from daskseg.cluster.micro import compress
from daskseg.errors import DasksegWarning
from daskseg.inputs import as_blocks

RESULTS = records.RESULTS / "consensus.jsonl"
N_ROWS, N_FEATURES, N_SEEDS, N_MICRO = 4_000, 8, 5, 1_000
# Planted centres nearer than so many standard deviations would not be a truth.
LEAST_APART = 6.0
# Asked of sets without structure; None is left to the estimator.
NULL_KS = (None, 3, 6)
# Consensus must beat the median of its runs in so many of the sets.
LEAST_BETTER = 0.8

Random = np.random.Generator


class Planted(NamedTuple):
    """Rows and the groups that they were drawn from."""

    rows: np.ndarray
    labels: np.ndarray


def _centres(random: Random, k: int, d: int, scale: float) -> np.ndarray:
    while True:
        centres = random.normal(0.0, scale, (k, d))
        gaps = np.linalg.norm(centres[:, None] - centres[None], axis=2)
        if gaps[np.triu_indices(k, 1)].min() >= LEAST_APART:
            return centres


def _round(random: Random, n: int, d: int) -> Planted:
    labels = random.integers(5, size=n)
    return Planted(_centres(random, 5, d, 3.0)[labels] + random.normal(size=(n, d)), labels)


def _overlapping(random: Random, n: int, d: int) -> Planted:
    labels = random.integers(4, size=n)
    centres = np.eye(d)[:4] * 4.0 / np.sqrt(2.0)
    return Planted(centres[labels] + random.normal(size=(n, d)), labels)


def _unequal(random: Random, n: int, d: int) -> Planted:
    shares = np.array([20.0, 12.0, 7.0, 4.0, 2.0, 1.0])
    labels = random.choice(6, size=n, p=shares / shares.sum())
    return Planted(_centres(random, 6, d, 3.0)[labels] + random.normal(size=(n, d)), labels)


def _oblong(random: Random, n: int, d: int) -> Planted:
    labels = random.integers(4, size=n)
    rows = random.normal(size=(n, d)) * np.linspace(2.5, 0.4, d)
    for c in range(4):
        turn, _ = np.linalg.qr(random.normal(size=(d, d)))
        rows[labels == c] = rows[labels == c] @ turn
    return Planted(_centres(random, 4, d, 4.0)[labels] + rows, labels)


def _heavy(random: Random, n: int, d: int) -> Planted:
    labels = random.integers(5, size=n)
    noise = random.normal(size=(n, d)) / np.sqrt(random.chisquare(3.0, n) / 3.0)[:, None]
    return Planted(_centres(random, 5, d, 5.0)[labels] + noise, labels)


def _noisy(random: Random, n: int, d: int) -> Planted:
    """Groups that differ in half of the features; the others are noise."""
    labels = random.integers(6, size=n)
    centres = np.zeros((6, d))
    centres[:, : d // 2] = _centres(random, 6, d // 2, 5.0)
    return Planted(centres[labels] + random.normal(size=(n, d)), labels)


def _curved(random: Random, n: int, d: int) -> Planted:
    """Three arcs: no partition into round clusters is theirs."""
    labels = random.integers(3, size=n)
    angle = np.pi * random.random(n)
    arc = np.column_stack([np.cos(angle), np.sin(angle)]) * 6.0
    rows = random.normal(size=(n, d))
    rows[:, :2] += arc + np.array([[0.0, 0.0], [16.0, 0.0], [8.0, 12.0]])[labels]
    return Planted(rows, labels)


STRUCTURED: dict[str, tuple[Callable[[Random, int, int], Planted], int]] = {
    "5 round": (_round, 5),
    "4 overlapping": (_overlapping, 4),
    "6 of sizes to 1:20": (_unequal, 6),
    "4 oblong": (_oblong, 4),
    "5 heavy-tailed": (_heavy, 5),
    "6 with noise features": (_noisy, 6),
    "3 arcs": (_curved, 3),
}
"""Name: how rows are drawn, and the number of groups."""


def _ball(random: Random, n: int, d: int) -> np.ndarray:
    rows = random.normal(size=(n, d))
    rows /= np.linalg.norm(rows, axis=1)[:, None]
    return rows * random.random((n, 1)) ** (1.0 / d)


def _correlated(random: Random, n: int, d: int) -> np.ndarray:
    return random.normal(size=(n, d)) @ random.normal(size=(d, d)).T


def _tailed(random: Random, n: int, d: int) -> np.ndarray:
    return random.normal(size=(n, d)) / np.sqrt(random.chisquare(5.0, (n, 1)) / 5.0)


UNSTRUCTURED: dict[str, Callable[[Random, int, int], np.ndarray]] = {
    "uniform box": lambda random, n, d: random.random((n, d)),
    "uniform ball": _ball,
    "normal": lambda random, n, d: random.normal(size=(n, d)),
    "correlated normal": _correlated,
    "exponential": lambda random, n, d: random.exponential(1.0, (n, d)),
    "log-normal": lambda random, n, d: np.exp(0.5 * random.normal(size=(n, d))),
    "heavy-tailed": _tailed,
}


def _random(name: str, seed: int) -> Random:
    stream = [*STRUCTURED, *UNSTRUCTURED].index(name)
    return np.random.Generator(np.random.Philox(key=[seed, stream]))


# ── what is measured ─────────────────────────────────────────────────────────
def base_aris(planted: Planted, k: int, n_runs: int, seed: int) -> tuple[list[float], list[float]]:
    """Return how well each run of the ensemble finds the groups, and those of k clusters alone."""
    found = compress(as_blocks(planted.rows), N_MICRO, seed, keep_labels=True)
    points = points_of(found, seed)
    between = max(2, -(-k // 2)), 2 * k
    n_features = planted.rows.shape[1]
    runs = ensemble.plan_runs(n_runs, n_features, between, seed, OWN * STREAMS)
    aris, same = [], []
    for run in runs:
        labels = ensemble.run_kmeans(run, points, seed)[found.labels]
        aris.append(float(adjusted_rand_score(planted.labels, labels)))
        same += aris[-1:] if run.n_clusters == k else []
    return aris, same


def measure_structured(name: str, seeds: int, n_rows: int, d: int) -> Record:
    """Compare the consensus with its runs on one kind of set."""
    draw, k = STRUCTURED[name]
    cases: list[Record] = []
    for seed in range(seeds):
        planted = draw(_random(name, seed), n_rows, d)
        aris, same = base_aris(planted, k, 50, seed)
        told = ConsensusClustering(k, n_micro=N_MICRO, random_state=seed).fit(planted.rows)
        alone = ConsensusClustering(n_micro=N_MICRO, random_state=seed).fit(planted.rows)
        single = KMeans(k, random_state=seed).fit(planted.rows)
        cases.append(
            {
                "runs_median": float(np.median(aris)),
                "runs_best": max(aris),
                "runs_of_k_median": float(np.median(same)) if same else None,
                "consensus": float(adjusted_rand_score(planted.labels, told.labels_)),
                "kmeans": float(adjusted_rand_score(planted.labels, single.labels_)),
                "is_stable": bool(told.is_stable_),
                "k_alone": int(alone.n_clusters_),
                "alone_is_stable": bool(alone.is_stable_),
                "stability": told.stability_,
                "null_stability": told.null_stability_,
            }
        )
    return {"kind": "structured", "right": k, "cases": cases}


def measure_unstructured(name: str, seeds: int, n_rows: int, d: int) -> Record:
    """Ask for clusters where there are none."""
    cases: list[Record] = []
    for seed in range(seeds):
        rows = UNSTRUCTURED[name](_random(name, seed), n_rows, d)
        for k in NULL_KS:
            model = ConsensusClustering(k, n_micro=N_MICRO, random_state=seed).fit(rows)
            cases.append(
                {
                    "asked": k,
                    "k": int(model.n_clusters_),
                    "is_stable": bool(model.is_stable_),
                    "stability": model.stability_,
                    "null_stability": model.null_stability_,
                }
            )
    return {"kind": "unstructured", "cases": cases}


def measure_set(name: str, seeds: int, n_rows: int, d: int) -> Record:
    """Return the record of one kind of set."""
    found: dict[str, Any]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DasksegWarning)
        take = measure_structured if name in STRUCTURED else measure_unstructured
        found = take(name, seeds, n_rows, d)
    sizes = {"n_rows": n_rows, "n_features": d, "n_micro": N_MICRO}
    return {"benchmark": "consensus", "set": name, **sizes, **records.circumstances(), **found}


def tables_of(done: list[Record]) -> str:
    """Return the tables of some records."""
    lines, empty = [], []
    for record in done:
        cases = record["cases"]
        stable = f"{sum(case['is_stable'] for case in cases)} of {len(cases)}"
        if record["kind"] == "unstructured":
            empty.append((record["set"], stable))
            continue
        names = ("runs_median", "runs_best", "consensus", "kmeans")
        means = [f"{np.mean([case[one] for case in cases]):.3f}" for one in names]
        better = sum(case["consensus"] > case["runs_median"] for case in cases)
        right = sum(case["k_alone"] == record["right"] for case in cases)
        of = f"of {len(cases)}"
        lines.append((record["set"], *means, f"{better} {of}", stable, f"{right} {of}"))
    head = (
        "set",
        "median run",
        "best run",
        "consensus",
        "KMeans(k)",
        "above the median",
        "stable",
        "right k alone",
    )
    found = [records.table(head, lines)] if lines else []
    found += [records.table(("no structure", "called stable"), empty)] if empty else []
    return "\n\n".join(found)


def share_better(done: list[Record]) -> float:
    """Return in which share of the sets the consensus is better than its median run."""
    cases = [case for record in done if record["kind"] == "structured" for case in record["cases"]]
    better = [case["consensus"] > case["runs_median"] for case in cases]
    return float(np.mean(better)) if better else 1.0


def main() -> None:
    """Measure, print tables; exit with 1 if the consensus is not better, or finds what is not."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    every = [*STRUCTURED, *UNSTRUCTURED]
    parser.add_argument("--set", default=",".join(every), help="comma-separated; default: all")
    parser.add_argument("--seeds", type=int, default=N_SEEDS)
    parser.add_argument("--rows", type=lambda text: int(float(text)), default=N_ROWS)
    parser.add_argument("--features", type=int, default=N_FEATURES)
    parser.add_argument("--results", type=Path, default=RESULTS)
    arguments = parser.parse_args()
    names = arguments.set.split(",")
    unknown = set(names) - set(every)
    if unknown:
        parser.error(f"unknown: {', '.join(sorted(unknown))}; known: {', '.join(every)}")
    done = []
    for name in names:
        print(name, file=sys.stderr)
        done.append(measure_set(name, arguments.seeds, arguments.rows, arguments.features))
        records.append(arguments.results, done[-1])
    print(f"{records.machine_words(done[-1])}\n\n{tables_of(done)}")
    empty = [case for one in done if one["kind"] == "unstructured" for case in one["cases"]]
    # Arbitrary: one false alarm in twenty.
    n_false = sum(case["is_stable"] for case in empty)
    sys.exit(not (share_better(done) >= LEAST_BETTER and n_false <= 0.05 * len(empty)))


if __name__ == "__main__":
    main()
