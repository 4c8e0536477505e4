"""Tasks and passes of a default fit on a small store: numbers that no machine changes.

Covers: counting; `tests/contract/test_passes_gate.py` holds the numbers that must not grow.
Does not cover: time.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

import dask

from benchmarks import instruments, stores
from daskseg import cluster

N_THREADS = 2
"""Decides how blocks are put into tasks."""


class Counts(NamedTuple):
    """What a fit took.

    Attributes
    ----------
    passes : float
        As the estimator says.
    passes_counted : float
        Reads of chunks of the store ÷ its chunks.
    tasks : dict of str to int
        Keys that the scheduler ran, by their prefix.
    """

    passes: float
    passes_counted: float
    tasks: dict[str, int]

    @property
    def n_tasks(self) -> int:
        """All keys together."""
        return sum(self.tasks.values())


def count(path: Path | str, estimator: str, **options: Any) -> Counts:
    """Fit an estimator of daskseg from a store, and count.

    Parameters
    ----------
    path : Path or str
        A Zarr array.
    estimator : str
        A name of `daskseg.cluster`.
    **options
        Of the estimator.
    """
    model = getattr(cluster, estimator)(**options)
    tasks = instruments.CountingTasks()
    with (
        dask.config.set(scheduler="threads", num_workers=N_THREADS),
        instruments.counting_reads(path) as reads,
        tasks,
    ):
        model.fit(str(path))
    return Counts(float(model.n_passes_), reads.passes, dict(sorted(tasks.counts.items())))


def main() -> None:
    """Print the counts of a set as JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--set", default="blobs", choices=stores.names())
    parser.add_argument("--rows", type=lambda text: int(float(text)), default=150_000)
    parser.add_argument("--estimator", default="KMeans")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "rows.zarr"
        written = stores.write(path, arguments.set, n_rows=arguments.rows)
        options = {"n_clusters": written.case.k, "random_state": 0}
        print(json.dumps(count(path, arguments.estimator, **options)._asdict(), indent=1))


if __name__ == "__main__":
    main()
