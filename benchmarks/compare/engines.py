"""The engines that are compared: each fits the same rows at its defaults, in its own process.

Covers: what is loaded before the clock starts, what is timed, and what each reports. Every
engine first fits a few rows, so that neither imports nor compilation are timed. Does not cover:
running them one after another (see `compare.kmeans`).
See also: README.md for what is timed of each.
"""

from __future__ import annotations

import json
import os
import resource
import shutil
import subprocess
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import zarr

from benchmarks import processes, stores

WARM_ROWS = 4_096
# More than a sample of daskseg holds, so that what works on all rows is compiled too.
WARM_ROWS_DASKSEG = 131_072
Result = dict[str, Any]


class Job(NamedTuple):
    """What an engine is to fit.

    Attributes
    ----------
    folder : Path
        Holds ``rows.zarr`` and ``planted.npy``; an engine may keep files of its own there.
    k, seed : int
    """

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


class Fitted(NamedTuple):
    """Centres, None where nothing was fitted, and what was measured."""

    centres: np.ndarray | None
    facts: Result


def timed(fit: Callable[[Any], Any], rows: Any, warm: Any) -> tuple[Any, Result]:
    """Fit a few rows, then for real; return the model, wall and processor seconds."""
    fit(warm)
    processes.tell_start()
    cpu, start = processes.cpu_s(), time.perf_counter()
    model = fit(rows)
    wall_s = time.perf_counter() - start
    return model, {"wall_s": wall_s, "cpu_s": processes.cpu_s() - cpu}


def bare_read(job: Job) -> Fitted:
    """Read every chunk once with as many threads as there are cores, and drop it."""
    found = []
    cpu = processes.cpu_s()
    for _ in range(3):
        found.append(stores.bare_read_s(job.path))
    cpu_s = (processes.cpu_s() - cpu) / 3
    return Fitted(None, {"wall_s": float(np.median(found)), "cpu_s": cpu_s, "passes": 1.0})


def _own(job: Job, make: Callable[[], Any]) -> Fitted:
    """Fit an estimator of daskseg from the store; reading is timed."""
    from benchmarks import instruments  # noqa: PLC0415 - loads daskseg

    warm = job.folder / f"warm-{os.getpid()}.zarr"
    rows = job.rows(WARM_ROWS_DASKSEG)
    array = zarr.create_array(
        store=str(warm),
        shape=rows.shape,
        chunks=(-(-len(rows) // 4), rows.shape[1]),
        dtype=rows.dtype,
    )
    array[:] = rows
    del rows
    with instruments.counting_reads(job.path) as reads, instruments.timing_passes() as clock:

        def fit(path: str) -> Any:
            clock.passes.clear()
            return make().fit(path)

        model, facts = timed(fit, job.path, str(warm))
    shutil.rmtree(warm)
    facts |= {
        "passes": float(model.n_passes_),
        "passes_counted": reads.passes,
        "passes_s": clock.wall_s,
        "n_iter": int(model.n_iter_),
        "stopped_by": str(model.stopped_by_),
        "sse_reported": float(model.inertia_),
    }
    return Fitted(np.asarray(model.cluster_centers_), facts)


def daskseg(job: Job) -> Fitted:
    """Fit daskseg at its defaults."""
    from daskseg.cluster import KMeans  # noqa: PLC0415 - each process loads its own library

    return _own(job, lambda: KMeans(job.k, random_state=job.seed))


def daskseg_minibatch(job: Job) -> Fitted:
    """Fit the mini-batch variant of daskseg at its defaults."""
    from daskseg.cluster import MiniBatchKMeans  # noqa: PLC0415

    return _own(job, lambda: MiniBatchKMeans(job.k, random_state=job.seed))


def _in_memory(job: Job, fit: Callable[[Any], Any]) -> Fitted:
    """Fit rows that are in memory before the clock starts, with scikit-learn's interface."""
    rows = job.rows()
    model, facts = timed(fit, rows, rows[:WARM_ROWS])
    facts |= {"n_iter": int(model.n_iter_), "sse_reported": float(model.inertia_)}
    return Fitted(np.asarray(model.cluster_centers_), facts)


def sklearn(job: Job) -> Fitted:
    """Fit scikit-learn at its defaults."""
    from sklearn.cluster import KMeans  # noqa: PLC0415

    return _in_memory(job, lambda rows: KMeans(job.k, random_state=job.seed).fit(rows))


def sklearnex(job: Job) -> Fitted:
    """Fit scikit-learn-intelex at its defaults."""
    from sklearnex.cluster import KMeans  # noqa: PLC0415

    return _in_memory(job, lambda rows: KMeans(job.k, random_state=job.seed).fit(rows))


def from_planted(job: Job) -> Fitted:
    """Fit scikit-learn from the planted centres: a reference of cost, not a competitor."""
    from sklearn.cluster import KMeans  # noqa: PLC0415

    rows, planted = job.rows(), np.load(job.folder / "planted.npy")
    start = planted.astype(rows.dtype)
    return _in_memory(job, lambda X: KMeans(job.k, init=start, n_init=1, tol=0.0).fit(X))


def minibatch_epoch(job: Job) -> Fitted:
    """One epoch of scikit-learn's MiniBatchKMeans.partial_fit over the store, chunk by chunk."""
    from sklearn.cluster import MiniBatchKMeans  # noqa: PLC0415

    array = zarr.open_array(job.path, mode="r")
    step = array.chunks[0]

    def fit(source: Any) -> Any:
        model = MiniBatchKMeans(job.k, random_state=job.seed, n_init=1)
        for first in range(0, source.shape[0], step):
            rows = np.asarray(source[first : first + step])
            # The last chunk may be too small to be a batch of its own.
            if len(rows) >= job.k or first == 0:
                model.partial_fit(rows)
        return model

    model, facts = timed(fit, array, job.rows(WARM_ROWS))
    return Fitted(model.cluster_centers_, {**facts, "passes": 1.0})


def dask_ml(job: Job) -> Fitted:
    """Fit dask-ml at its defaults; the rows are persisted in memory before the clock starts."""
    import dask.array as da  # noqa: PLC0415
    from dask_ml.cluster import KMeans  # noqa: PLC0415

    rows = da.from_zarr(job.path).persist()
    warm = rows[:WARM_ROWS].persist()
    model, facts = timed(lambda X: KMeans(job.k, random_state=job.seed).fit(X), rows, warm)
    facts |= {"n_iter": int(model.n_iter_), "sse_reported": float(model.inertia_)}
    return Fitted(np.asarray(model.cluster_centers_), facts)


def _faiss(job: Job, **options: Any) -> Fitted:
    import faiss  # noqa: PLC0415

    # faiss takes float32 only.
    rows = np.ascontiguousarray(job.rows(), dtype=np.float32)

    def fit(X: np.ndarray) -> Any:
        model = faiss.Kmeans(X.shape[1], job.k, seed=job.seed + 1, **options)
        model.train(X)
        return model

    model, facts = timed(fit, rows, rows[:WARM_ROWS])
    return Fitted(np.asarray(model.centroids), {**facts, "n_iter": len(model.iteration_stats)})


def faiss(job: Job) -> Fitted:
    """Fit faiss at its defaults, which train on at most 256 rows per cluster."""
    return _faiss(job)


def faiss_all(job: Job) -> Fitted:
    """Fit faiss on all rows, else at its defaults."""
    n_rows = zarr.open_array(job.path, mode="r").shape[0]
    return _faiss(job, max_points_per_centroid=n_rows)


def _parquet(job: Job) -> str:
    """Write the rows as Parquet once, for Spark; one file per chunk of the store."""
    import pyarrow as pa  # noqa: PLC0415
    import pyarrow.parquet as pq  # noqa: PLC0415

    target = job.folder / "rows.parquet"
    if not (target / "_SUCCESS").exists():
        target.mkdir(exist_ok=True)
        array = zarr.open_array(job.path, mode="r")
        for number, first in enumerate(range(0, array.shape[0], array.chunks[0])):
            rows = np.asarray(array[first : first + array.chunks[0]]).astype(np.float64)
            columns = {f"x{i}": np.ascontiguousarray(rows[:, i]) for i in range(rows.shape[1])}
            pq.write_table(pa.table(columns), target / f"part-{number:05d}.parquet")
        (target / "_SUCCESS").touch()
    return str(target)


def spark(job: Job) -> Fitted:
    """Fit Spark ML at its defaults on all local cores; the rows are cached in memory before."""
    from pyspark.ml.clustering import KMeans  # noqa: PLC0415
    from pyspark.ml.feature import VectorAssembler  # noqa: PLC0415
    from pyspark.sql import SparkSession  # noqa: PLC0415

    half_gib = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2**31
    builder = SparkSession.builder.master(f"local[{os.cpu_count()}]")
    for name, value in {
        # Arbitrary: half of the machine; Spark's own gibibyte cannot cache the larger sets.
        "spark.driver.memory": f"{max(1, half_gib)}g",
        "spark.driver.host": "127.0.0.1",
        "spark.driver.bindAddress": "127.0.0.1",
        "spark.local.dir": str(job.folder / "spark"),
        "spark.sql.warehouse.dir": str(job.folder / "warehouse"),
        "spark.ui.enabled": "false",
    }.items():
        builder = builder.config(name, value)
    session = builder.getOrCreate()
    try:
        table = session.read.parquet(_parquet(job))
        rows = VectorAssembler(inputCols=table.columns, outputCol="features").transform(table)
        rows = rows.select("features").cache()
        rows.count()
        warm = rows.limit(WARM_ROWS).cache()
        model, facts = timed(lambda X: KMeans(k=job.k, seed=job.seed).fit(X), rows, warm)
        facts |= {"n_iter": model.summary.numIter, "sse_reported": model.summary.trainingCost}
        return Fitted(np.array(model.clusterCenters()), facts)
    finally:
        session.stop()


class Engine(NamedTuple):
    """How an engine is run, and the module and program without which it is skipped."""

    fit: Callable[[Job], Fitted]
    module: str = "zarr"
    program: str = ""


ENGINES = {
    "bare-read": Engine(bare_read),
    "daskseg": Engine(daskseg, "daskseg"),
    "sklearn": Engine(sklearn, "sklearn"),
    "minibatch-epoch": Engine(minibatch_epoch, "sklearn"),
    "daskseg-minibatch": Engine(daskseg_minibatch, "daskseg.cluster.minibatch"),
    "from-planted": Engine(from_planted, "sklearn"),
    "sklearnex": Engine(sklearnex, "sklearnex"),
    "faiss": Engine(faiss, "faiss"),
    "faiss-all": Engine(faiss_all, "faiss"),
    "dask-ml": Engine(dask_ml, "dask_ml"),
    "spark": Engine(spark, "pyspark", "java"),
}


def why_absent(name: str) -> str:
    """Say why an engine cannot run here, "" if it can."""
    engine = ENGINES[name]
    try:
        found = find_spec(engine.module)
    except ModuleNotFoundError:
        found = None
    if found is None:
        return f"skipped: {engine.module} is not installed"
    if engine.program and not _runs(engine.program):
        return f"skipped: {engine.program} was not found"
    return ""


def _runs(program: str) -> bool:
    home = os.environ.get("JAVA_HOME")
    known = shutil.which(program) or (home and shutil.which(program, path=f"{home}/bin"))
    if not known:
        return False
    command = [known, "-version"]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def run(name: str, job: Job) -> None:
    """Run one engine in this process; save its centres and print what was measured."""
    centres, facts = ENGINES[name].fit(job)
    if centres is not None:
        np.save(job.folder / f"{name}.npy", centres)
    # Linux counts in KiB.
    facts["peak_rss_bytes"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(json.dumps(facts))
