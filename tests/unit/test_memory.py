"""The memory plan: arithmetic, adaptation, refusals, and one pass measured."""

from __future__ import annotations

import json
import operator
import os
import re
import subprocess
import sys
import warnings
from functools import partial
from pathlib import Path

import dask
import dask.array as da
import numpy as np
import pytest
import zarr

from daskseg import store
from daskseg.engine import memory, passes
from daskseg.engine.blocks import Blocks, Decoding, Load
from daskseg.engine.memory import Budget
from daskseg.errors import DasksegWarning, MemoryBudgetError, UsageError
from daskseg.inputs import measure_extent
from daskseg.kernels import moments
from tests import peak_memory

MIB = 2**20


def blocks_of(lengths=(2**20, 2**19), n_features=50, dtype="f4", copies=3.0, remedy="fix {rows}"):
    itemsize = np.dtype(dtype).itemsize
    return Blocks(
        loads=tuple(Load(np.zeros, ((length, n_features), dtype)) for length in lengths),
        lengths=lengths,
        n_features=n_features,
        dtype=np.dtype(dtype),
        decoding=Decoding(n_features * itemsize, copies, remedy),
    )


def budget_of(limit_bytes, n_threads=2, are_here=False, idle_bytes=100 * MIB):
    return Budget(limit_bytes, idle_bytes, n_threads, are_here, "the test")


@pytest.fixture
def limit(monkeypatch):
    """Set the budget of all passes."""

    def set_limit(*args, **options):
        monkeypatch.setattr(memory, "budget", lambda **_: budget_of(*args, **options))

    return set_limit


def test_plan_pass__adds_up_by_hand():
    plan = memory.plan_pass(blocks_of(), budget_of(None), scratch=lambda rows: 7 * rows)
    # 2**20 rows of 200 bytes, three times while they are read; slices of 16 MiB in steps of 256.
    assert plan.read_bytes == 600 * MIB
    assert plan.height == 16 * MIB // 200 // 256 * 256 == 83_712
    assert plan.slice_bytes == 7 * 83_712
    assert plan.peak_bytes == 100 * MIB + 2 * (600 * MIB + 7 * 83_712)
    assert plan.fits


def test_plan_pass__counts_what_the_allocator_of_this_process_keeps():
    plan = memory.plan_pass(blocks_of(), budget_of(None, are_here=True), scratch=lambda _: 8 * MIB)
    assert plan.thread_bytes == 608 * MIB * 5 // 4


def test_plan_pass__counts_steps_and_what_a_function_does_not_tell():
    blocks = blocks_of().map(np.multiply, 2.0, dtype=np.float64)
    told = memory.plan_pass(blocks, budget_of(None), scratch=lambda _: 0)
    untold = memory.plan_pass(blocks, budget_of(None))
    assert told.slice_bytes == 2 * told.height * 400
    assert untold.slice_bytes == 4 * untold.height * 400


def test_plan_pass__of_rows_in_memory_reads_nothing():
    blocks = Blocks.from_array(np.zeros((1000, 4)), block_rows=300)
    plan = memory.plan_pass(blocks, budget_of(None), scratch=lambda _: 5)
    assert (plan.read_bytes, plan.slice_bytes, plan.height) == (0, 5, 300)


def test_plan_pass__of_unknown_heights_takes_the_usual_block():
    lazy = da.from_array(np.zeros((1000, 4)), chunks=(100, 4))
    plan = memory.plan_pass(Blocks.from_dask_array(lazy[lazy[:, 0] > 1]), budget_of(None))
    assert plan.read_bytes == 2 * 16 * MIB


def test_fit_pass__lowers_slices_and_says_so(limit):
    limit(1400 * MIB, idle_bytes=0)
    with pytest.warns(DasksegWarning, match=r"slices of 41,728 rows instead of 83,712 are worked"):
        plan = memory.fit_pass(blocks_of(), scratch=lambda rows: 100 * MIB * rows // 41_728)
    assert (plan.n_threads, plan.height, plan.fits) == (2, 41_728, True)


def test_fit_pass__uses_fewer_threads_and_says_so(limit):
    limit(900 * MIB, n_threads=4, are_here=True)
    with pytest.warns(DasksegWarning, match=r"1 instead of 4 threads are used.*900.00 MiB \(the"):
        plan = memory.fit_pass(blocks_of(), scratch=lambda rows: rows)
    assert (plan.n_threads, plan.height) == (1, 83_712)


def test_fit_pass__is_silent_where_all_fits(limit):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        limit(None)
        assert memory.fit_pass(blocks_of()).fits
        limit(2000 * MIB)
        assert memory.fit_pass(blocks_of()).n_threads == 2


def test_fit_pass__refuses_with_numbers_and_the_fix(limit):
    limit(600 * MIB, n_threads=1)
    message = (
        r"a pass needs 700\.\d+ MiB per process: 100\.00 MiB before it begins, and 600\.00 MiB to "
        r"read a block of 1,048,576 rows and .* kiB to work on 256 of them\. The limit is "
        r"600\.00 MiB \(the test\)\. Raise the limit, or write the rows with smaller chunks of "
        r"83,712 rows:\nfix 83712$"
    )
    with pytest.raises(MemoryBudgetError, match=message) as caught:
        memory.fit_pass(blocks_of())
    assert caught.value.exit_code == 5
    assert memory.plan_pass(blocks_of((83_712,)), budget_of(600 * MIB, 1)).fits
    with pytest.raises(MemoryBudgetError, match="use fewer threads per worker"):
        memory.fit_pass(blocks_of(remedy=""))


def test_reduce__refuses_before_anything_is_read(limit):
    limit(600 * MIB, n_threads=1)

    def read():
        raise AssertionError("a block was read")

    blocks = blocks_of()
    unread = Blocks(
        (Load(read, ()),) * 2, blocks.lengths, 50, blocks.dtype, decoding=blocks.decoding
    )
    for verb in (partial(passes.reduce, merge=operator.add), passes.emit):
        with pytest.raises(MemoryBudgetError, match="a pass needs"):
            verb(unread, func=len) if verb is not passes.emit else verb(unread, len)


def test_reduce__gives_the_same_from_lower_slices(limit):
    rows = np.random.default_rng(0).normal(size=(3000, 4))
    blocks = Blocks.from_dask_array(da.from_array(rows, chunks=(1500, 2)))
    wanted = measure_extent(blocks)
    n_slices = passes.reduce(blocks, _one, operator.add)
    limit(MIB, idle_bytes=0)
    with pytest.warns(DasksegWarning, match="slices of 256 rows instead of 1,500"):
        total = passes.reduce(
            blocks, _extent, moments.merge_extents, scratch=lambda rows: rows * 1000
        )
    for found, expected in zip(total, wanted, strict=True):
        np.testing.assert_array_equal(found, expected)
    with pytest.warns(DasksegWarning, match="slices of 256"):
        assert passes.reduce(blocks, _one, operator.add, scratch=lambda rows: rows * 1000) == 12
    assert n_slices == 2


def _one(_):
    return 1


def _extent(rows):
    return moments.extent(rows.values, rows.weights, rows.first_row)


def test_budget__is_what_is_asked_or_free(monkeypatch):
    with dask.config.set({"scheduler": "threads", "num_workers": 3}):
        monkeypatch.setattr(memory, "free_bytes", lambda: 1000 * MIB)
        monkeypatch.setattr(memory, "resident_bytes", lambda: 50 * MIB)
        found = memory.budget()
        assert found == (850 * MIB, 50 * MIB, 3, True, "80% of the free memory")
        with dask.config.set({"daskseg.memory-limit": "2 GiB"}):
            found = memory.budget()
        assert (found.limit_bytes, found.origin) == (2048 * MIB, "daskseg.memory-limit")
        monkeypatch.setattr(memory, "free_bytes", lambda: None)
        assert memory.budget().limit_bytes is None


@pytest.mark.parametrize(
    ("asked", "message"), [("much", "'much' is not a size; write for"), (0, "0 is not above zero")]
)
def test_budget__refuses_what_is_no_size(asked, message):
    with (
        dask.config.set({"daskseg.memory-limit": asked}),
        pytest.raises(UsageError, match=f"daskseg.memory-limit: {message}"),
    ):
        memory.budget()


def test_free_bytes__heeds_the_control_group(monkeypatch, tmp_path):
    meminfo, most, used = tmp_path / "meminfo", tmp_path / "max", tmp_path / "current"
    meminfo.write_text("MemTotal:  9000 kB\nMemAvailable:   5000 kB\n")
    monkeypatch.setattr(memory, "_MEMINFO", meminfo)
    monkeypatch.setattr(memory, "_CGROUPS", ((str(most), str(used)),))
    assert memory.free_bytes() == 5000 * 1024
    most.write_text("max\n")
    used.write_text("1000\n")
    assert memory.free_bytes() == 5000 * 1024
    most.write_text("4000\n")
    assert memory.free_bytes() == 3000
    monkeypatch.setattr(memory, "_MEMINFO", tmp_path / "none")
    monkeypatch.setattr(memory, "_CGROUPS", ())
    assert memory.free_bytes() is None


@pytest.mark.cluster
def test_budget__is_a_share_of_the_least_worker(cluster_client):
    with cluster_client.as_current(), dask.config.set(scheduler="dask.distributed"):
        found = memory.budget()
        here = memory.budget(local=True)
    workers = cluster_client.scheduler_info(n_workers=-1)["workers"]
    least = min(worker["memory_limit"] for worker in workers.values())
    assert found.limit_bytes == int(0.7 * least)
    assert (found.n_threads, found.are_here) == (1, False)
    assert found.origin.startswith("70% of the memory limit of worker tcp://")
    assert here.are_here


def test_remedy__rewrites_the_store_with_chunks_that_fit(limit, tmp_path):
    values = np.arange(3000 * 4, dtype="f4").reshape(3000, 4)
    path = tmp_path / "it's x"
    zarr.create_array(str(path), shape=values.shape, chunks=(3000, 3), dtype="f4")[:] = values
    blocks = store.open_blocks(path)
    limit(80_000, n_threads=1, idle_bytes=0)
    with pytest.raises(MemoryBudgetError, match=r"smaller chunks of [\d,]+ rows") as caught:
        measure_extent(blocks)
    command = str(caught.value).splitlines()[-1]
    python = re.sub("^python", re.escape(sys.executable), command)
    subprocess.run(python, shell=True, check=True, capture_output=True)
    smaller = store.open_blocks(f"{path}-rechunked")
    assert len(smaller.loads) > 1
    read = [load.func(*load.args) for load in smaller.loads]
    np.testing.assert_array_equal(np.concatenate(read), values)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DasksegWarning)
        assert measure_extent(smaller).n_rows == 3000


def _run_pass(path):
    """Plan and measure one pass over a store; runs in a process of its own."""
    blocks = store.open_blocks(path)
    with dask.config.set(scheduler="threads", num_workers=2):
        measure_extent(Blocks.from_array(np.zeros((10, blocks.n_features), blocks.dtype)))
        scratch = partial(_extent_scratch, blocks)
        store.open_blocks(path).loads[0].func(str(path), 0, 1)
        plan = memory.plan_pass(blocks, memory.budget(), scratch)
        _, peak = peak_memory.peak_of(
            lambda: passes.reduce(blocks, _extent, moments.merge_extents, scratch=scratch)
        )
    return {"planned": plan.peak_bytes, "idle": plan.idle_bytes, "measured": peak}


def _extent_scratch(blocks, rows):
    return moments.scratch_bytes(blocks.n_features, 0, rows, blocks.dtype.itemsize)


@pytest.mark.memory
@pytest.mark.skipif(not peak_memory.can_measure(), reason="the system cannot reset peaks")
def test_plan_pass__is_what_a_pass_takes(tmp_path):
    rows = np.random.default_rng(0).normal(size=(4 * 2**17, 25)).astype("f4")
    path = tmp_path / "x"
    zarr.create_array(str(path), shape=rows.shape, chunks=(2**17, 25), dtype="f4")[:] = rows
    root = Path(__file__).resolve().parents[2]
    run = subprocess.run(
        [sys.executable, __file__, str(path)],
        capture_output=True,
        check=True,
        # As in the workers that dask starts.
        env={**os.environ, "MALLOC_TRIM_THRESHOLD_": "65536", "PYTHONPATH": str(root)},
        text=True,
    )
    found = json.loads(run.stdout)
    assert found["measured"] <= found["planned"] <= 1.5 * found["measured"]


if __name__ == "__main__":
    sys.stdout.write(json.dumps(_run_pass(Path(sys.argv[1]))))
