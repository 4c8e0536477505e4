"""Where tasks run: versions, missing and lost workers."""

from __future__ import annotations

import operator
import os
import signal
from pathlib import Path

import dask
import dask.array
import numpy as np
import pytest
import threadpoolctl

from daskseg.engine import groups, passes, runtime, versions
from daskseg.engine.blocks import Blocks, Load
from daskseg.errors import ClusterError

ROWS = np.arange(240.0).reshape(60, 4)
OWN = {"daskseg": "1", "python": "3.11.4", "numpy": "2.4.0"}


def test_check__accepts_equal_versions():
    versions.check(OWN, {"tcp://a": dict(OWN), "tcp://b": dict(OWN)})


def test_check__names_package_worker_and_both_versions():
    workers = {"tcp://b": {**OWN, "numpy": "2.3.1"}, "tcp://a": OWN, "tcp://c": {"daskseg": "1"}}
    message = r"numpy is 2\.3\.1 on worker tcp://b, but 2\.4\.0 on the client; 2 of 3 workers"
    with pytest.raises(ClusterError, match=message):
        versions.check(OWN, workers)
    with pytest.raises(ClusterError, match=r"python is not installed on worker tcp://c"):
        versions.check(OWN, {"tcp://c": {"daskseg": "1"}})


def test_check__says_that_a_worker_cannot_import_daskseg():
    workers = {"tcp://a": ModuleNotFoundError("No module named 'daskseg'")}
    with pytest.raises(
        ClusterError, match=r"worker tcp://a cannot import daskseg .*Install daskseg 1"
    ):
        versions.check(OWN, workers)


def test_processes__of_this_process():
    with dask.config.set(scheduler="threads", num_workers=3):
        assert runtime.processes()[1:] == (3, None, True)
        assert runtime.n_threads() == 3
    with dask.config.set(scheduler="sync"):
        assert runtime.processes().n_threads == runtime.n_threads() == 1
    with dask.config.set(scheduler="processes"):
        assert not runtime.processes().are_here
        assert runtime.processes(local=True).are_here


def read(number, folder):
    """Load a block and leave a trace of it."""
    with (Path(folder) / f"{number}.reads").open("a") as trace:
        trace.write("read\n")
    return ROWS[number * 10 : number * 10 + 10]


def total_once_lost(rows, folder):
    """Add up a block; the worker that first meets row 20 does not survive it."""
    mark = Path(folder) / "lost"
    if rows.first_row == 20 and not mark.exists():
        mark.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return int(rows.values.sum())


def always_lost(rows):
    os.kill(os.getpid(), signal.SIGKILL)


def traced(folder):
    return Blocks(
        loads=tuple(Load(read, (number, str(folder))) for number in range(6)),
        lengths=(10,) * 6,
        n_features=4,
        dtype=ROWS.dtype,
    )


def n_reads(folder):
    return sum(len(path.read_text().splitlines()) for path in Path(folder).glob("*.reads"))


@pytest.fixture
def fresh_client():
    """A cluster that may lose its workers."""
    from distributed import Client, LocalCluster

    with (
        dask.config.set({"distributed.scheduler.allowed-failures": 1}),
        LocalCluster(
            n_workers=2,
            threads_per_worker=1,
            processes=True,
            host="127.0.0.1",
            dashboard_address="127.0.0.1:0",
            silence_logs=50,
        ) as cluster,
        Client(cluster, set_as_default=False) as client,
        client.as_current(),
        dask.config.set(scheduler="dask.distributed"),
    ):
        yield client


@pytest.mark.cluster
def test_stream__survives_a_worker_but_not_a_task_that_kills_each(fresh_client, tmp_path):
    blocks = traced(tmp_path)
    found = passes.reduce(blocks, total_once_lost, operator.add, str(tmp_path))
    assert found == int(ROWS.sum())
    # The lost task, and one more whose result may have been under way to the client.
    assert 6 < n_reads(tmp_path) <= 8
    assert (tmp_path / "lost").exists()
    with pytest.raises(ClusterError, match=r"workers were lost while they ran task 'doom-.*tcp://"):
        passes.reduce(blocks, always_lost, operator.add, name="doom")


@pytest.mark.cluster
def test_stream__compares_versions_before_the_first_pass(cluster_client, monkeypatch):
    monkeypatch.setattr(runtime, "_known", {})
    own = versions.installed()
    asked = []
    real = cluster_client.run
    monkeypatch.setattr(
        cluster_client, "run", lambda *args, **kwargs: asked.append(1) or real(*args, **kwargs)
    )
    blocks = Blocks.from_dask_array(dask.array.from_array(ROWS, chunks=(10, 4)))
    with cluster_client.as_current(), dask.config.set(scheduler="dask.distributed"):
        for _ in range(2):
            assert passes.reduce(blocks, groups_total, operator.add) == int(ROWS.sum())
        assert asked == [1]
        monkeypatch.setattr(runtime, "_known", {})
        monkeypatch.setattr(versions, "installed", lambda: {**own, "numpy": "0.1"})
        monkeypatch.setattr(cluster_client, "run", lambda *args, **kwargs: {"tcp://w": dict(own)})
        with pytest.raises(ClusterError, match=r"numpy is .* on worker tcp://w, but 0\.1 on the"):
            passes.reduce(blocks, groups_total, operator.add)


def groups_total(rows):
    return int(rows.values.sum())


@pytest.mark.cluster
def test_stream__says_that_no_worker_came():
    from distributed import Client, LocalCluster

    with (
        LocalCluster(n_workers=0, host="127.0.0.1", dashboard_address="127.0.0.1:0") as cluster,
        Client(cluster, set_as_default=False) as client,
        client.as_current(),
        dask.config.set({"scheduler": "dask.distributed", "daskseg.worker-timeout-s": 0.1}),
        pytest.raises(ClusterError, match=r"no worker joined the cluster within 0\.1 s"),
    ):
        passes.reduce(traced("/nowhere"), groups_total, operator.add)


def test_compute__runs_in_processes():
    blocks = Blocks.from_dask_array(dask.array.from_array(ROWS, chunks=(30, 4)))
    with dask.config.set(scheduler="processes", num_workers=2):
        assert passes.reduce(blocks, groups_total, operator.add) == int(ROWS.sum())


def test_group_calls__hold_the_parameters_in_one_task():
    setup = groups.Setup(groups_total, (np.zeros(100_000),), operator.add, (), None, ("", 0))
    tasks = Blocks.from_array(ROWS, block_rows=20).tasks()
    calls = groups.group_calls(groups.reduce_group, tasks, [range(1), range(1, 3)], "x", setup)
    shared = [set(call.dask) - {call.key} for call in calls]
    assert len(shared[0] & shared[1]) == 1


def limits():
    info = threadpoolctl.threadpool_info()
    return [lib["num_threads"] for lib in info if lib["user_api"] == "blas"]


def test_one_blas_thread__ends_with_the_outermost_block():
    with threadpoolctl.threadpool_limits(2):
        before = limits()
        with runtime.one_blas_thread():
            with runtime.one_blas_thread():
                assert set(limits()) == {1}
            assert set(limits()) == {1}
        assert limits() == before


def test_map_here__keeps_the_order_and_tells_of_each_item():
    told = []
    for scheduler in ("sync", "threads"):
        with dask.config.set(scheduler=scheduler, num_workers=3):
            found = runtime.map_here(lambda item: item**2, range(9), told.append)
        assert found == [item**2 for item in range(9)]
    assert told == [*range(1, 10)] * 2


def test_map_here__passes_errors_on():
    with (
        dask.config.set(scheduler="threads", num_workers=2),
        pytest.raises(ZeroDivisionError),
    ):
        runtime.map_here(lambda item: 1 // item, [2, 1, 0], lambda _: None)


@pytest.mark.parametrize(
    ("config", "local", "here"),
    [
        ({}, False, True),
        ({"scheduler": "sync"}, False, True),
        ({"scheduler": "threads"}, False, True),
        ({"scheduler": "processes"}, False, False),
        ({"scheduler": "processes"}, True, True),
        ({"pool": object()}, True, False),
    ],
)
def test_runs_here__unless_processes_or_a_pool_are_asked_for(config, local, here):
    with dask.config.set(config):
        assert runtime.runs_here(local=local) is here


@pytest.mark.cluster
def test_runs_here__not_beside_a_client(cluster_client):
    with cluster_client.as_current():
        assert not runtime.runs_here(local=False)
        assert runtime.runs_here(local=True)
        with dask.config.set(scheduler="dask.distributed"):
            assert not runtime.runs_here(local=False)
