"""Choosing k on nine sets of known truth: the rule beside single criteria.

Covers: the sets, what the rule and each criterion alone say about them, a table. Does not cover:
real tables (see `known_groups`), cost of fits (see `quality`).
See also: docs/choosing-k.md for what the answers mean.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dask
import numpy as np
from sklearn.metrics import calinski_harabasz_score, davies_bouldin_score, silhouette_score

from benchmarks import records
from benchmarks.records import Record
from daskseg.inputs import as_blocks
from daskseg.kernels.labels import labels_of
from daskseg.model_selection.criteria import Criteria, measure
from daskseg.model_selection.recommend import Recommendation, recommend
from daskseg.model_selection.sweep import Sweep, sweep

RESULTS = records.RESULTS / "known_truth.jsonl"
N_ROWS, N_FEATURES = 20_000, 8
KS = range(2, 13)
# Planted centres nearer than so many standard deviations would not be a truth.
LEAST_APART = 6.0
# The Euclidean silhouette of all rows takes 3 GB.
SILHOUETTE_ROWS = 2_000

Random = np.random.Generator


def _uniform(random: Random, n: int, d: int) -> np.ndarray:
    return random.random((n, d))


def _normal(random: Random, n: int, d: int) -> np.ndarray:
    mixing = random.normal(size=(d, d))
    return random.normal(size=(n, d)) @ mixing.T


def _exponential(random: Random, n: int, d: int) -> np.ndarray:
    return random.exponential(1.0, (n, d))


def _centres(random: Random, k: int, d: int, scale: float) -> np.ndarray:
    """Draw normal centres until every two are `LEAST_APART`."""
    while True:
        centres = random.normal(0.0, scale, (k, d))
        gaps = np.linalg.norm(centres[:, None] - centres[None], axis=2)
        if gaps[np.triu_indices(k, 1)].min() >= LEAST_APART:
            return centres


def _round(random: Random, n: int, d: int) -> np.ndarray:
    centres = _centres(random, 5, d, 3.0)
    return centres[random.integers(5, size=n)] + random.normal(size=(n, d))


def _overlapping(random: Random, n: int, d: int) -> np.ndarray:
    # Every two centres are four standard deviations apart: 2.3 % of each pair is misplaced.
    centres = np.eye(d)[:4] * 4.0 / np.sqrt(2.0)
    return centres[random.integers(4, size=n)] + random.normal(size=(n, d))


def _unequal(random: Random, n: int, d: int) -> np.ndarray:
    shares = np.array([20.0, 12.0, 7.0, 4.0, 2.0, 1.0])
    centres = _centres(random, 6, d, 3.0)
    labels = random.choice(6, size=n, p=shares / shares.sum())
    return centres[labels] + random.normal(size=(n, d))


def _oblong(random: Random, n: int, d: int) -> np.ndarray:
    spread = np.array([2.0, 1.5, *[1.0] * (d - 4), 0.7, 0.5])
    centres = _centres(random, 4, d, 5.0)
    labels = random.integers(4, size=n)
    rows = random.normal(size=(n, d)) * spread
    for c in range(4):
        turn, _ = np.linalg.qr(random.normal(size=(d, d)))
        rows[labels == c] = rows[labels == c] @ turn
    return centres[labels] + rows


def _heavy(random: Random, n: int, d: int) -> np.ndarray:
    centres = _centres(random, 5, d, 5.0)
    labels = random.integers(5, size=n)
    noise = random.normal(size=(n, d)) / np.sqrt(random.chisquare(3.0, n) / 3.0)[:, None]
    return centres[labels] + noise


def _hierarchy(random: Random, n: int, d: int) -> np.ndarray:
    top, below = np.zeros((2, d)), np.zeros((3, d))
    top[1, 0] = 14.0
    below[0, 1], below[1, 1], below[2, 2] = 4.0, -4.0, 4.5
    middles = top[random.integers(2, size=n)] + below[random.integers(3, size=n)]
    return middles + random.normal(size=(n, d))


SETS: dict[str, tuple[Callable[[Random, int, int], np.ndarray], tuple[int, ...]]] = {
    "uniform box": (_uniform, (1,)),
    "correlated normal": (_normal, (1,)),
    "exponential": (_exponential, (1,)),
    "5 round": (_round, (5,)),
    "4 overlapping": (_overlapping, (4,)),
    "6 of sizes to 1:20": (_unequal, (6,)),
    "4 oblong": (_oblong, (4,)),
    "5 heavy-tailed": (_heavy, (5,)),
    "2 × 3 hierarchy": (_hierarchy, (2, 6)),
}
"""Name: how rows are drawn, and which answers are right; 1 is no clusters."""


def make(name: str, seed: int, n_rows: int = N_ROWS, n_features: int = N_FEATURES) -> np.ndarray:
    """Return the rows of a set in float64.

    Parameters
    ----------
    name : str
        A key of `SETS`.
    seed, n_rows : int
    n_features : int
        From 5.
    """
    stream = list(SETS).index(name)
    random = np.random.Generator(np.random.Philox(key=[seed, stream]))
    return SETS[name][0](random, n_rows, n_features)


# ── what is said about the rows ──────────────────────────────────────────────
def study(rows: np.ndarray, ks: range, seed: int = 0) -> tuple[Sweep, list[Criteria], float]:
    """Sweep the rows and measure all criteria; return also the seconds that those took."""
    found = sweep(as_blocks(rows), ks, seed)
    sample = found.survey.sample
    centres = {k: fit.centres for k, fit in found.fits.items()}
    start = time.perf_counter()
    criteria = measure(sample.values, sample.weights, centres, seed)
    return found, criteria, time.perf_counter() - start


def single_criteria(rows: np.ndarray, found: Sweep, advice: Recommendation) -> dict[str, Any]:
    """Return the answer of each criterion alone; only some of them can say 1."""
    labels = {k: labels_of(rows, fit.centres) for k, fit in found.fits.items() if k > 1}
    ks = list(labels)
    random = np.random.Generator(np.random.Philox(key=[0, 0]))
    few = random.permutation(len(rows))[:SILHOUETTE_ROWS]
    silhouettes = [silhouette_score(rows[few], labels[k][few]) for k in ks]
    votes = advice.votes or {}
    return {
        "gap, 1-SE": votes.get("gap"),
        "prediction strength": votes.get("prediction_strength"),
        "silhouette": ks[int(np.argmax(silhouettes))],
        "Calinski-Harabasz": ks[int(np.argmax([_score(rows, labels[k]) for k in ks]))],
        "Davies-Bouldin": ks[int(np.argmin([davies_bouldin_score(rows, labels[k]) for k in ks]))],
        "knee": advice.knee,
    }


def _score(rows: np.ndarray, labels: np.ndarray) -> float:
    return float(calinski_harabasz_score(rows, labels))


def measure_set(name: str, seeds: int, n_rows: int) -> Record:
    """Ask all about one set, over seeds of the rows."""
    answers: dict[str, list[int | None]] = {}
    walls, grades = [], []
    for seed in range(seeds):
        rows = make(name, seed, n_rows)
        found, criteria, wall_s = study(rows, KS)
        advice = recommend(found.curve, criteria)
        # Without natural clusters the rule still names a partition; its answer is 1.
        said = {"the rule": advice.k if advice.natural_k else 1}
        said |= single_criteria(rows, found, advice)
        for who, k in said.items():
            answers.setdefault(who, []).append(k)
        walls.append(round(wall_s, 2))
        grades.append(advice.grade)
    right = SETS[name][1]
    return {
        **records.circumstances(),
        "set": name,
        "n_rows": n_rows,
        "right": list(right),
        "answers": answers,
        "grades": grades,
        "criteria_s": walls,
        "right_share": {who: sum(k in right for k in ks) / seeds for who, ks in answers.items()},
    }


def row_of(record: Record) -> tuple[str, ...]:
    """Return a record's line of the table."""
    right = " or ".join(map(str, record["right"]))
    return (record["set"], right, *(f"{share:.0%}" for share in record["right_share"].values()))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--set", default=",".join(SETS), help="comma-separated; default: all")
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--rows", type=lambda text: int(float(text)), default=N_ROWS)
    parser.add_argument("--results", type=Path, default=RESULTS)
    return parser


def main() -> None:
    """Measure, print the table; exit with 1 if the rule is right less than nine times in ten."""
    parser = _parser()
    arguments = parser.parse_args()
    names = arguments.set.split(",")
    unknown = set(names) - set(SETS)
    if unknown:
        parser.error(f"unknown: {', '.join(sorted(unknown))}; known: {', '.join(SETS)}")
    done = []
    with dask.config.set(scheduler="threads"):
        for name in names:
            done.append(measure_set(name, arguments.seeds, arguments.rows))
            records.append(arguments.results, done[-1])
            print(f"{name}: {done[-1]['right_share']}", file=sys.stderr)
    print(f"{records.machine_words(done[-1])}\n")
    head = ("set", "right", *done[0]["right_share"])
    print(records.table(head, [row_of(record) for record in done]))
    sys.exit(not all(record["right_share"]["the rule"] >= 0.9 for record in done))


if __name__ == "__main__":
    main()
