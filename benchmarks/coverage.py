"""How often the interval of a sampled Euclidean silhouette holds the true value.

Covers: many draws from the same labelled rows, beside the silhouette from all pairs; bias,
error and width of the estimate. Does not cover: time, and exact silhouettes.
See also: README.md for the sets.
"""

from __future__ import annotations

import argparse
import math
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks import records, sets
from benchmarks.records import Record
from daskseg.cluster import KMeans
from daskseg.metrics import euclidean
from daskseg.metrics.labelled import Labelled, label_rows

RESULTS = records.RESULTS / "coverage.jsonl"
LEAST = 0.92
"""Of nominal 95 %: what 400 draws must reach. With true 95 %, 0.3 % of such runs would not."""
HEAD = ("set", "labels", "rows", "drawn", "true", "bias", "rmse", "half width", "coverage", "ok")
PLANTED = 0
"""Number of clusters that stands for the labels that a set was made with."""


@dataclass(frozen=True)
class Case:
    """Rows of a set, with their planted labels or those of k-means."""

    name: str
    n_clusters: int

    @property
    def labels(self) -> str:
        return "planted" if self.n_clusters == PLANTED else f"k-means, k = {self.n_clusters}"


CASES = (
    Case("blobs", PLANTED),
    Case("audience", PLANTED),
    Case("audience", 8),
    Case("smooth", 5),
)


def labelled_rows(case: Case, n_rows: int, seed: int) -> Labelled:
    """Return rows with labels, as the metrics see them."""
    drawn = list(sets.blocks(case.name, n_rows, seed))
    rows = np.concatenate([block.rows for block in drawn])
    if case.n_clusters == PLANTED:
        return label_rows(rows, np.concatenate([block.labels for block in drawn]))
    return label_rows(rows, KMeans(case.n_clusters, random_state=seed).fit(rows).labels_)


def exact(labelled: Labelled) -> float:
    """Return the silhouette from all pairs, however many rows there are."""
    known, euclidean.EXACT_ROWS = euclidean.EXACT_ROWS, sys.maxsize
    try:
        return euclidean.estimate(labelled, 1).mean
    finally:
        euclidean.EXACT_ROWS = known


def measure(labelled: Labelled, n_samples: int, n_trials: int) -> Record:
    """Draw again and again, and count how often the interval holds the true value."""
    known, euclidean.EXACT_ROWS = euclidean.EXACT_ROWS, 0
    started = time.perf_counter()
    try:
        found = [euclidean.estimate(labelled, n_samples, seed) for seed in range(n_trials)]
    finally:
        euclidean.EXACT_ROWS = known
    wall_s = (time.perf_counter() - started) / n_trials
    true = exact(labelled)
    errors = [one.mean - true for one in found]
    return {
        "n_samples": n_samples,
        "n_trials": n_trials,
        "true": true,
        "bias": math.fsum(errors) / n_trials,
        "rmse": math.sqrt(math.fsum(error**2 for error in errors) / n_trials),
        "half_width": math.fsum(one.high - one.low for one in found) / (2 * n_trials),
        "coverage": sum(one.low <= true <= one.high for one in found) / n_trials,
        "wall_s": wall_s,
    }


def row_of(record: Record) -> list[str]:
    """Return a line of the table."""
    numbers = [f"{record[key]:.5f}" for key in ("true", "bias", "rmse", "half_width")]
    verdict = "yes" if record["coverage"] >= LEAST else "NO"
    head = [record["set"], record["labels"], f"{record['n_rows']:,}", f"{record['n_samples']:,}"]
    return [*head, *numbers, f"{record['coverage']:.3f}", verdict]


def main() -> int:
    """Measure all cases, append a line each, print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=float, default=40_000, help="of each set")
    parser.add_argument("--samples", default="200,500", help="rows drawn, with commas")
    parser.add_argument("--trials", type=int, default=400, help="draws per case")
    parser.add_argument("--seed", type=int, default=0, help="of the sets")
    parser.add_argument("--results", type=Path, default=RESULTS)
    options = parser.parse_args()
    found = []
    for case in CASES:
        labelled = labelled_rows(case, int(options.rows), options.seed)
        for n_samples in options.samples.split(","):
            record = {
                **records.circumstances(),
                "set": case.name,
                "labels": case.labels,
                "n_rows": int(options.rows),
                **measure(labelled, int(n_samples), options.trials),
            }
            records.append(options.results, record)
            found.append(record)
    print(records.table(HEAD, [row_of(record) for record in found]))
    return 0 if all(record["coverage"] >= LEAST for record in found) else 1


if __name__ == "__main__":
    sys.exit(main())
