"""The door that computes: verbs, accounts and progress."""

from __future__ import annotations

import operator

import dask
import dask.array as da
import numpy as np
import pandas as pd
import pytest

from daskseg.engine import passes, progress
from daskseg.engine.blocks import Blocks, FrameBlocks

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
