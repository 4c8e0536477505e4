"""The door that computes: verbs, accounts and progress."""

from __future__ import annotations

import collections
import operator
import pickle

import dask
import dask.array as da
import numpy as np
import pandas as pd
import pytest
import threadpoolctl
import zarr

import daskseg.engine.blocks as blocks_module
from daskseg import store
from daskseg.engine import groups, passes, progress
from daskseg.engine.blocks import Blocks, FrameBlocks, Load, Task

ROWS = np.arange(400.0).reshape(100, 4)


def total(rows, factor=1):
    return int(rows.values.sum()) * factor


def span(rows):
    return rows.first_row, len(rows.values)


LAYOUTS = {
    "one block": lambda: Blocks.from_array(ROWS),
    "blocks": lambda: Blocks.from_array(ROWS, block_rows=7),
    "lazy": lambda: Blocks.from_dask_array(da.from_array(ROWS, chunks=(3, 2))),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_reduce__merges_every_block_once(layout, scheduler):
    blocks = LAYOUTS[layout]()
    with progress.recording("test") as log:
        assert passes.reduce(blocks, total, operator.add, 2) == 2 * int(ROWS.sum())
    assert log.passes == 1
    assert log.bytes_read == ROWS.nbytes


@pytest.mark.parametrize("layout", LAYOUTS)
def test_emit__returns_records_in_the_order_of_the_blocks(layout, scheduler):
    blocks = LAYOUTS[layout]()
    with progress.recording("test") as log:
        found = passes.emit(blocks, span)
    assert found == list(zip(blocks.offsets, blocks.lengths, strict=True))
    assert (log.passes, log.bytes_read) == (1, ROWS.nbytes)


@pytest.mark.parametrize("items", [[3], [3, 1, 2]])
def test_run__returns_results_in_the_order_of_the_items(items, scheduler):
    with progress.recording("test") as log:
        assert passes.run(pow, items, 2) == [item**2 for item in items]
    assert (log.passes, log.bytes_read) == (0, 0)


def test_measure__counts_only_what_is_unknown():
    lazy = da.from_array(ROWS, chunks=(30, 4))
    with progress.recording("test") as log:
        assert passes.measure(Blocks.from_dask_array(lazy)).n_rows == 100
        assert log.passes == 0
        kept = passes.measure(Blocks.from_dask_array(lazy[lazy[:, 0] >= 40]))
        assert log.passes == 1
    assert kept.lengths == (20, 30, 30, 10) or kept.n_rows == 90


def split(frame, n_buckets):
    return frame.assign(bucket=frame["key"] % n_buckets), len(frame)


def test_exchange__brings_keys_together(tmp_path):
    frame = pd.DataFrame({"key": np.arange(50) % 7, "value": np.arange(50.0)})
    blocks = FrameBlocks.from_frame(frame, block_rows=9)
    part, buckets = passes.exchange(blocks, split, operator.add, 5, tmp_path, 5)
    assert part == 50
    found = passes.emit(buckets, lambda bucket: bucket)
    assert [set(bucket["key"] % 5) for bucket in found] == [{0}, {1}, {2}, {3}, {4}]
    joined = pd.concat(found).sort_values("value", ignore_index=True)
    pd.testing.assert_frame_equal(joined, frame)


def test_exchange__hands_out_empty_buckets(tmp_path):
    frame = pd.DataFrame({"key": [1, 1], "value": [2.0, 3.0]})
    _, buckets = passes.exchange(FrameBlocks.from_frame(frame), split, operator.add, 3, tmp_path, 3)
    sizes = passes.emit(buckets, len)
    assert sizes == [0, 2, 0]


def test_recording__counts_in_every_open_log():
    blocks = LAYOUTS["blocks"]()
    with progress.recording("outer") as outer:
        passes.emit(blocks, span)
        with progress.recording("inner") as inner:
            passes.emit(blocks, span)
        passes.emit(blocks, span)
    assert (outer.passes, inner.passes) == (3, 1)
    assert outer.wall_s >= inner.wall_s > 0
    assert all(peak > 2**20 for peak in outer.peak_rss_bytes.values())


class Told:
    def __init__(self):
        self.calls = []

    def stage_started(self, name, total):
        self.calls.append(("started", name))

    def stage_advanced(self, name, done, total):
        self.calls.append(("advanced", name, done, total))

    def stage_done(self, name, wall_s, passes, bytes_read):
        self.calls.append(("done", name, passes, bytes_read))


def test_listening__is_told_of_stages_and_tasks():
    told = Told()
    with (
        dask.config.set(scheduler="threads", num_workers=2),
        progress.listening(told),
        progress.stage("count"),
    ):
        passes.emit(LAYOUTS["lazy"](), span)
    assert told.calls[0] == ("started", "count")
    assert told.calls[-1] == ("done", "count", 1, ROWS.nbytes)
    steps = [call for call in told.calls if call[0] == "advanced"]
    assert [call[2] for call in steps] == list(range(1, len(steps) + 1))
    assert len(steps) == steps[-1][3] > 1


def fail(rows):
    raise ValueError(f"row {rows.first_row} is wrong")


def test_reduce__passes_errors_on(scheduler):
    with pytest.raises(ValueError, match=r"row \d+ is wrong"):
        passes.reduce(LAYOUTS["lazy"](), fail, operator.add)


def heights(rows):
    return [(rows.first_row, len(rows.values))]


def weighted(rows):
    return int(rows.values.sum(axis=1) @ rows.weights)


@pytest.fixture
def counted(tmp_path, monkeypatch):
    """A store of two tall chunks of three column chunks, and the reads of each chunk file."""
    values = np.arange(2_000 * 5, dtype=np.float32).reshape(2_000, 5)
    array = zarr.create_array(str(tmp_path / "x"), shape=(2_000, 5), chunks=(1_200, 2), dtype="f4")
    array[:] = values
    reads = collections.Counter()
    real = zarr.storage.LocalStore.get

    async def get(store, key, *args, **kwargs):
        reads[key] += 1
        return await real(store, key, *args, **kwargs)

    monkeypatch.setattr(zarr.storage.LocalStore, "get", get)
    monkeypatch.setattr(blocks_module, "BLOCK_BYTES", 512 * 5 * 4)
    return values, store.open_blocks(tmp_path / "x"), reads


@pytest.mark.parametrize("local", ["synchronous", "threads"])
def test_reduce__slices_a_tall_chunk_after_one_read(counted, local):
    values, blocks, reads = counted
    with dask.config.set(scheduler=local, num_workers=2), progress.recording("test") as log:
        found = passes.reduce(blocks.map(np.multiply, 2.0), heights, operator.add)
        assert passes.reduce(blocks, total, operator.add) == int(values.sum(dtype=np.float64))
    assert sorted(found) == [(0, 512), (512, 512), (1024, 176), (1200, 512), (1712, 288)]
    chunks = {key: n for key, n in reads.items() if key.startswith("c/")}
    assert chunks == {f"c/{row}/{column}": 2 for row in range(2) for column in range(3)}
    assert log.bytes_read == 2 * values.nbytes


def test_reduce__slices_weights_with_their_rows(counted):
    values, blocks, _ = counted
    weights = np.arange(2_000.0) % 3
    expected = int(values.sum(axis=1, dtype=np.float64) @ weights)
    assert passes.reduce(blocks.with_weights(weights), weighted, operator.add) == expected


def test_reduce__slices_tall_chunks_of_dask(counted, scheduler):
    values, _, _ = counted
    blocks = Blocks.from_dask_array(da.from_array(values, chunks=(1_500, (2, 3))))
    found = passes.reduce(blocks, heights, operator.add)
    assert sum(n for _, n in found) == 2_000
    assert passes.reduce(blocks, total, operator.add) == int(values.sum(dtype=np.float64))


def test_emit__hands_over_tall_blocks_whole_with_steps_applied_slice_by_slice(counted):
    values, blocks, _ = counted
    tallest = []

    def step(rows):
        tallest.append(len(rows))
        return rows.astype(np.float64) + 1

    with dask.config.set(scheduler="synchronous"):
        found = passes.emit(blocks.map(step, dtype=np.float64), lambda rows: rows)
    assert [rows.first_row for rows in found] == [0, 1200]
    np.testing.assert_array_equal(np.concatenate([rows.values for rows in found]), values + 1.0)
    assert max(tallest) == 512


def test_reduce__takes_empty_and_unknown_blocks(scheduler):
    lazy = da.from_array(ROWS, chunks=(30, 4))
    some = lazy[lazy[:, 0] >= 240]
    blocks = passes.measure(Blocks.from_dask_array(some))
    assert 0 in blocks.lengths
    assert passes.reduce(blocks, total, operator.add) == int(ROWS[60:].sum())
    empty = Blocks.from_array(ROWS[:0])
    assert passes.reduce(empty, heights, operator.add) == [(0, 0)]


def spans_of(sizes, n_threads, spans=None, **options):
    tasks = [Task(Load(np.zeros, (3,)), (), size, 0) for size in sizes]
    found = groups.group_spans(tasks, spans or [range(len(sizes))], n_threads, **options)
    return [(span.start, span.stop) for span in found]


def test_group_spans__puts_small_blocks_together_but_three_groups_per_thread():
    assert spans_of([10] * 12, 2) == [(i, i + 2) for i in range(0, 12, 2)]
    assert spans_of([10] * 4, 8) == [(0, 1), (1, 2), (2, 3), (3, 4)]
    assert spans_of([10] * 12, 1, most_bytes=30) == [(0, 3), (3, 6), (6, 9), (9, 12)]
    assert spans_of([5, 100, 5, 5], 1, most_bytes=20) == [(0, 1), (1, 2), (2, 4)]


def test_group_spans__covers_only_what_is_asked():
    assert spans_of([10] * 9, 1, [range(1, 3), range(6, 9)]) == [
        (1, 2),
        (2, 3),
        (6, 7),
        (7, 8),
        (8, 9),
    ]
    assert groups.group_spans([], [], 4) == []


def test_merger__merges_every_part_once_in_any_number():
    for n_parts in range(1, 20):
        merger = groups.Merger(operator.add)
        for number in range(n_parts):
            merger.add(groups.Done([number], 1, {}))
        done = merger.total()
        assert (sorted(done.result), done.bytes_read) == (list(range(n_parts)), n_parts)


def blas_threads(rows):
    info = threadpoolctl.threadpool_info()
    return {lib["num_threads"] for lib in info if lib["user_api"] == "blas"}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_reduce__keeps_blas_to_one_thread(layout, scheduler):
    before = threadpoolctl.threadpool_info()
    assert passes.reduce(LAYOUTS[layout](), blas_threads, operator.or_) <= {1}
    assert threadpoolctl.threadpool_info() == before


def size_of(rows, parameter):
    return parameter.nbytes


@pytest.mark.cluster
def test_reduce__sends_large_parameters_once(cluster_client):
    blocks = Blocks.from_dask_array(da.from_array(ROWS, chunks=(5, 4)))
    large = np.zeros(1_500_000)  # more than dask lets pass without a warning
    sent = []
    real = cluster_client._graph_to_futures

    def watch(expr, *args, **kwargs):
        sent.append(len(pickle.dumps(expr)))
        return real(expr, *args, **kwargs)

    with (
        cluster_client.as_current(),
        dask.config.set(scheduler="dask.distributed"),
        pytest.MonkeyPatch.context() as patch,
    ):
        patch.setattr(cluster_client, "_graph_to_futures", watch)
        assert passes.reduce(blocks, size_of, max, large) == large.nbytes
    assert len(sent) == 1
    assert large.nbytes < sent[0] < 1.2 * large.nbytes
