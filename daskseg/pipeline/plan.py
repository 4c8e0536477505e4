"""What a study will cost, before it is run: passes, bytes, memory and seconds, stage by stage.

Covers: the answer of ``daskseg plan``. Looks at file metadata, reads at most two pieces of the
source and times the kernels on made-up rows. Does not cover: running the study
(`pipeline.study`), or the arithmetic of memory (`engine.memory`).
"""

from __future__ import annotations

import datetime as dt
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import fsspec
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from dask.utils import format_bytes

from daskseg import store
from daskseg.cluster import KMeans
from daskseg.config import Study
from daskseg.engine import memory, runtime
from daskseg.engine.blocks import Blocks, Decoding, block_rows_for
from daskseg.engine.memory import Budget
from daskseg.errors import MemoryBudgetError
from daskseg.features.definitions import FEATURE_NAMES
from daskseg.features.scores import SCORED
from daskseg.features.tables import find_column
from daskseg.kernels import order_statistics, prepare
from daskseg.pipeline.fitting import check_labels
from daskseg.pipeline.ingest import BUCKET_BYTES, _is_array, _placing, _source_name
from daskseg.pipeline.models import OWN_NUMBER
from daskseg.preprocessing import Prepare
from daskseg.sources.columns import resolve
from daskseg.sources.ledger import split_lines
from daskseg.sources.parse import read_piece
from daskseg.sources.plan import Piece, plan_source
from daskseg.texts import text

Range = tuple[float, float]

# Full reads of their data, at least and usually at most. Shares of a pass are a pilot's.
PASSES: dict[str, Range] = {
    "ledger": (2, 2),  # the files, then the lines in scratch
    "table": (3, 3),  # the files twice, then the rows in scratch
    "store": (1, 1),
    "prepare": (3, 5),  # quantiles 2-4, moments 1
    "cut-points": (2, 4),  # of the R, F and M scores
    "components": (2, 3),
    "choose-k": (3, 3.2),  # ranges with sample, sums, silhouettes; a pilot of large samples
    "noise": (1, 1),  # by which feature customers in no segment differ
    "map": (4, 9),  # labels 1, components 2-4, landmarks 1-2, places
    "profile": (5, 9),  # quantiles of all and of segments 2-4 each, sums 1
    "score": (1, 1),
}
FIT_PASSES: dict[str, Range] = {
    "kmeans": (3, 5),  # steps 1-3, and 2 for the silhouettes
    "minibatch": (3, 6),  # batches 1-3, error and silhouettes 2-3
    "mixture": (6, 10),  # ranges 1, steps 1-5, overlaps 1, silhouettes 3
    "bisecting": (4, 7),  # ranges and sums 1-4, silhouettes 3
    "agglomerative": (4, 5),  # ranges and sums 1-2, silhouettes 3
    "consensus": (4, 5),  # the same
    "dbscan": (5, 7),  # distances 1-2, boxes 1-2, silhouettes 3
    "hdbscan": (4, 4),  # landmarks 1, silhouettes 3
}
# Of a larger sample a search works on so many rows for most of its time.
SEARCHED_ROWS = 30_000
# Measured: the largest peak of a task on files, as a multiple of the size that is planned for its
# piece (0.9 for Parquet, 1.7 for CSV) or bucket (2.4).
FRAME_COPIES = 2.5
# Of a chunk of the feature store: the rows, the decoded chunk and the chunk as it is stored.
FEATURE_COPIES = 3.0
# Measured: adding up the lines of customers takes half as long as reading and spilling them.
ADD_UP = 0.5
ID_S = 3e-6  # measured, per customer: ids as text through Parquet and Zarr
# Measured: of small data a pass takes 0.02 to 0.08 s.
PASS_S = 0.05
# Measured: report, model and curve.
REPORT_S = 1.0
# Arbitrary: other work on the machine, and tasks that do not fill all threads.
SLACK = 2.0
PROBE_ROWS = 2**15
_PROBE_SAMPLE_ROWS = 4_000


class Source(NamedTuple):
    """What metadata and a probe say about a source.

    Attributes
    ----------
    n_rows : int
    rows_are : {"exact", "about"}
    customers : (int, int)
        At least and at most.
    n_features : int
        At most.
    n_bytes : int
        Decoded.
    largest_bytes : int
        Of the pieces.
    read_s, work_s : float
        Seconds to read all of it, and to sort its rows to customers, on one thread.
    probed_bytes : int
    blocks : Blocks or None
        Of a Zarr store.
    """

    n_rows: int
    rows_are: str
    customers: tuple[int, int]
    n_features: int
    n_bytes: int
    largest_bytes: int
    read_s: float
    work_s: float
    probed_bytes: int
    blocks: Blocks | None = None


@dataclass(frozen=True)
class Stage:
    """The cost of one stage.

    Attributes
    ----------
    name : str
    passes, seconds : (float, float)
        At least and at most.
    bytes_read : int
        At most.
    peak_bytes : int
        Of one process.
    """

    name: str
    passes: Range
    bytes_read: int
    seconds: Range
    peak_bytes: int


class Speed(NamedTuple):
    """Seconds per row on one thread.

    Attributes
    ----------
    read_value : float
        Per value of the feature store.
    prepare, label : float
        A pass of quantiles over the active features; labels for `k` centres.
    search : float
        Centres of one k on a full sample, in all.
    k : int
    """

    read_value: float
    prepare: float
    label: float
    search: float
    k: int


def _timed(call: Callable[[], Any]) -> tuple[float, Any]:
    started = time.perf_counter()
    result = call()
    return time.perf_counter() - started, result


def _parquet_rows(pieces: tuple[Piece, ...]) -> int:
    total = 0
    for path in {part.path for piece in pieces for part in piece.parts}:
        with fsspec.open(path, "rb").open() as stream:
            total += int(pq.ParquetFile(stream).metadata.num_rows)
    return total


def _is_numeric(field: pa.Field) -> bool:
    return not (pa.types.is_temporal(field.type) or pa.types.is_nested(field.type))


def probe_files(study: Study) -> Source:
    """Read the first and the middle piece of a source of files, and time that."""
    data = study.data
    plan = plan_source(
        data.source, format=data.format, encoding=data.encoding, delimiter=data.delimiter
    )
    headers = tuple(plan.schema.names)
    pieces = plan.pieces
    chosen = sorted({0, len(pieces) // 2})
    with _placing(study):
        read_s, frames = _timed(lambda: [read_piece(pieces[i]) for i in chosen])
    frame = pd.concat(frames, ignore_index=True)
    probed = sum(pieces[i].size_bytes for i in chosen)
    total = sum(piece.size_bytes for piece in pieces)
    scale = total / max(1, probed)
    is_exact = pieces[0].format == "parquet" or len(chosen) == len(pieces)
    n_rows = _parquet_rows(pieces) if pieces[0].format == "parquet" else round(len(frame) * scale)
    if data.kind == "rfm":
        mapping = None if data.columns is None else {str(r): h for r, h in data.columns.items()}
        roles = resolve(headers, mapping=mapping, preset=data.preset)
        today = dt.datetime.now(dt.UTC).date()
        work_s, _ = _timed(lambda: split_lines(frame, dict(roles), data.date_format, today, 4))
        customers = (int(frame[roles["customer_id"]].nunique()), n_rows)
        n_features = len(FEATURE_NAMES)
    else:
        assert data.id is not None
        id_column = find_column(headers, data.id, "--id")
        # A scan and a sort touch every value, as a conversion to text does.
        work_s, _ = _timed(lambda: frame.astype(str))
        customers = (n_rows, n_rows)
        n_features = sum(field.name != id_column and _is_numeric(field) for field in plan.schema)
    return Source(
        n_rows,
        "exact" if is_exact else "about",
        customers,
        max(1, n_features),
        total,
        max(piece.size_bytes for piece in pieces),
        read_s * scale,
        work_s * scale,
        probed,
    )


def probe_array(study: Study) -> Source:
    """Read the first block of a Zarr store, and time that."""
    blocks = store.open_blocks(str(study.data.source))
    memory.fit_pass(blocks)
    load = blocks.loads[0]
    load.func(*load.args)  # opens the array, which later blocks do not do again
    read_s, values = _timed(lambda: load.func(*load.args))
    work_s, _ = _timed(lambda: pd.DataFrame(values).astype(str))
    n_rows = blocks.n_rows
    scale = n_rows / len(values)
    n_bytes = n_rows * blocks.n_features * blocks.dtype.itemsize
    return Source(
        n_rows,
        "exact",
        (n_rows, n_rows),
        blocks.n_features,
        n_bytes,
        max(blocks.lengths) * n_bytes // n_rows,
        read_s * scale,
        work_s * scale,
        2 * values.nbytes,
        blocks,
    )


def probe_kernels(n_features: int, k: int) -> Speed:
    """Time preparing, labelling and searching on made-up rows, and reading them from a store."""
    rows = np.random.default_rng(0).lognormal(size=(PROBE_ROWS, n_features))

    def search(n_rows: int) -> Any:
        return KMeans(k, algorithm="coreset", random_state=0).fit(rows[:n_rows])

    Prepare().fit(rows[:1000])
    search(max(k, 200)).predict(rows[:1000])  # kernels come from the cache on disk, once
    prepare_s, _ = _timed(lambda: Prepare().fit(rows))
    search_s, model = _timed(lambda: search(_PROBE_SAMPLE_ROWS))
    label_s, _ = _timed(lambda: model.predict(rows))
    with tempfile.TemporaryDirectory(prefix="daskseg-") as folder:
        attributes = {
            **{key: [] for key in store.ATTRIBUTES},
            "names": list(map(str, range(n_features))),
        }
        created = store.create_features(Path(folder) / "x.zarr", PROBE_ROWS, attributes)
        frame = pd.DataFrame(rows)
        frame.insert(0, "customer_id", "c")
        for start in range(0, PROBE_ROWS, created.chunk_rows):
            part = frame.iloc[start : start + created.chunk_rows]
            store.write_chunk(part, created.path, created.chunk_rows, PROBE_ROWS)
        loads = created.blocks().loads
        read_s, _ = _timed(lambda: [load.func(*load.args) for load in loads])
    return Speed(
        read_s / rows.size,
        prepare_s / PROBE_ROWS / PASSES["prepare"][0],
        label_s / PROBE_ROWS,
        search_s * SEARCHED_ROWS / _PROBE_SAMPLE_ROWS,
        k,
    )


def _frames_peak(found: Budget, largest_bytes: int) -> int:
    return found.idle_bytes + int(found.n_threads * FRAME_COPIES * largest_bytes)


def _features_peak(n_rows: int, n_features: int) -> int:
    """Plan a pass over the feature store, with the scratch of the stages that take most.

    Raises `MemoryBudgetError` and warns as such a pass will.
    """
    height = min(block_rows_for(n_features), max(256, n_rows))
    decoding = Decoding(8 * n_features, FEATURE_COPIES)
    blocks = Blocks((), (height,), n_features, np.dtype(np.float64), decoding=decoding)

    def scratch(rows: int) -> int:
        kernels = (prepare.scratch_bytes, order_statistics.scratch_bytes)
        return sum(kernel(n_features, 1, rows, 8) for kernel in kernels)

    return memory.fit_pass(blocks, scratch=scratch).peak_bytes


def _ingest_stages(
    study: Study, source: Source, found: Budget, n_threads: int, features_peak: int
) -> list[Stage]:
    is_ledger = study.data.kind == "rfm"
    passes = PASSES["ledger" if is_ledger else "table"]
    bucket_bytes = min(source.n_bytes, BUCKET_BYTES)
    peak = _frames_peak(found, max(source.largest_bytes, bucket_bytes))
    reads = 1 if is_ledger else 2
    once = passes[1] * PASS_S
    once += (reads * source.read_s + (1 + ADD_UP) * source.work_s) / n_threads
    low, high = source.customers
    stored = high * source.n_features * 8
    return [
        Stage(
            "features" if is_ledger else "check",
            passes,
            int(passes[1] * source.n_bytes),
            (once, SLACK * once),
            peak,
        ),
        Stage(
            "store",
            PASSES["store"],
            stored,
            (PASS_S + low * ID_S / n_threads, SLACK * (PASS_S + high * ID_S / n_threads)),
            features_peak,
        ),
    ]


def _fit_stages(
    study: Study, source: Source, speed: Speed, n_threads: int, features_peak: int
) -> list[Stage]:
    n_all, n_active = source.n_features, _n_active(study, source)
    low, high = study.model.k_range
    ks = [study.model.k] if isinstance(study.model.k, int) else list(range(low, high + 1))
    sweep_label = speed.label * sum(ks) / speed.k

    def stage(name: str, passes: Range, values: int, row_s: float, fixed_s: float = 0.0) -> Stage:
        each = values * speed.read_value + row_s
        seconds = [
            fixed_s + n_passes * (PASS_S + n_rows * each / n_threads)
            for n_passes, n_rows in zip(passes, source.customers, strict=True)
        ]
        n_bytes = int(passes[1] * source.customers[1] * values * 8)
        return Stage(name, passes, n_bytes, (seconds[0], SLACK * seconds[1]), features_peak)

    cuts = PASSES["cut-points"] if study.data.kind == "rfm" else (0.0, 0.0)
    prepared = (PASSES["prepare"][0] + cuts[0], PASSES["prepare"][1] + cuts[1])
    share = min(1.0, source.customers[0] / SEARCHED_ROWS)
    search_s = speed.search * share * sum(ks) / speed.k
    stages = [stage("prepare", prepared, n_active, speed.prepare)]
    if study.prepare.pca is not None:
        stages.append(stage("components", PASSES["components"], n_active, speed.prepare))
    if study.model.kind not in OWN_NUMBER:
        passes = PASSES["choose-k"]
        stages.append(stage("choose-k", passes, n_active, speed.prepare + sweep_label, search_s))
    drawn = ["noise"] if study.model.kind in OWN_NUMBER else []
    if study.report.map is not None:
        drawn.append("map")
    labelling = speed.prepare + speed.label
    return [
        *stages,
        stage("fit", FIT_PASSES[study.model.kind], n_active, labelling),
        *(stage(name, PASSES[name], n_active, labelling) for name in drawn),
        stage("profile", PASSES["profile"], n_all, speed.prepare * n_all / n_active),
        stage("score", PASSES["score"], n_all, labelling + ID_S),
        Stage("report", (0, 0), 0, (REPORT_S, SLACK * REPORT_S), features_peak),
    ]


def _n_active(study: Study, source: Source) -> int:
    if study.data.kind == "rfm":
        return len(SCORED)
    return max(1, source.n_features - len(study.data.passive))


def _unknown(study: Study, source: Source) -> list[str]:
    """Say what only the run itself can tell."""
    sentences = []
    if source.rows_are == "about":
        sentences.append(text("plan.unknown.rows"))
    if source.customers[0] != source.customers[1]:
        sentences.append(text("plan.unknown.customers"))
    if study.data.kind == "segment" and source.blocks is None:
        sentences.append(text("plan.unknown.features"))
    return [*sentences, text("plan.unknown.passes"), text("plan.unknown.seconds")]


def plan_study(study: Study) -> dict[str, Any]:
    """Say what a study will cost.

    Parameters
    ----------
    study : Study

    Returns
    -------
    dict
        kind, source, rows, rows_are, customers, features, stages (name, passes, bytes_read,
        seconds, peak_bytes), passes, bytes_read, seconds, memory (peak_bytes, idle_bytes,
        limit_bytes, origin, threads, processes), probe, unknown. Pairs are "at least, at most".

    Raises
    ------
    UsageError, InputError, ArtifactError
        What the study would raise before it reads.
    MemoryBudgetError
        If a stage cannot fit the memory of a process.

    Notes
    -----
    Reads the beginnings and footers of the files and at most two of their pieces (one block of a
    Zarr store), and works a few seconds on made-up rows.
    """
    check_labels(study)
    source = probe_array(study) if _is_array(study) else probe_files(study)
    low, high = study.model.k_range
    k = study.model.k if isinstance(study.model.k, int) else (low + high) // 2
    speed = probe_kernels(_n_active(study, source), k)
    found, n_threads = memory.budget(), runtime.n_threads()
    features_peak = _features_peak(source.customers[1], source.n_features)
    stages = [
        *_ingest_stages(study, source, found, n_threads, features_peak),
        *_fit_stages(study, source, speed, n_threads, features_peak),
    ]
    _check_fit(stages, found)
    return {
        "kind": study.data.kind,
        "source": _source_name(study.data.source),
        "rows": source.n_rows,
        "rows_are": source.rows_are,
        "customers": list(source.customers),
        "features": source.n_features,
        "stages": [asdict(stage) for stage in stages],
        "passes": [sum(stage.passes[end] for stage in stages) for end in (0, 1)],
        "bytes_read": sum(stage.bytes_read for stage in stages),
        "seconds": [sum(stage.seconds[end] for stage in stages) for end in (0, 1)],
        "memory": {
            "peak_bytes": max(stage.peak_bytes for stage in stages),
            "idle_bytes": found.idle_bytes,
            "limit_bytes": found.limit_bytes,
            "origin": found.origin,
            "threads": found.n_threads,
            "processes": max(1, n_threads // max(1, found.n_threads)),
        },
        "probe": {"bytes_read": source.probed_bytes, **speed._asdict()},
        "unknown": _unknown(study, source),
    }


def _check_fit(stages: list[Stage], found: Budget) -> None:
    for stage in stages:
        if found.limit_bytes is not None and stage.peak_bytes > found.limit_bytes:
            raise MemoryBudgetError(
                f"the stage {stage.name!r} needs {format_bytes(stage.peak_bytes)} per process with "
                f"{found.n_threads} threads, {format_bytes(found.idle_bytes)} of it before it "
                f"begins. The limit is {format_bytes(found.limit_bytes)} ({found.origin}). Use "
                "fewer threads per process, raise the limit, or cut large compressed files and row "
                "groups into smaller ones."
            )
