"""Fits that are killed and begun again: the same bits, and no block read twice but one group's."""

from __future__ import annotations

import errno
import os
import pickle
import signal
import subprocess
import sys
from types import SimpleNamespace

import dask
import dask.array as da
import dask.dataframe as dd
import numpy as np
import pandas as pd
import pytest
import zarr

from daskseg import store
from daskseg.cluster import KMeans, checkpoint, kmeans, margins, starts, survey
from daskseg.cluster.exact import RowsSource
from daskseg.engine import journal
from daskseg.engine.journal import Journal
from daskseg.errors import ArtifactError, InputError, UsageError
from daskseg.inputs import as_blocks, measure_extent
from daskseg.kernels.steps import units_of

N_ROWS, CHUNK_ROWS, N_BLOCKS = 2400, 200, 12
# One thread makes three tasks of twelve blocks.
GROUP = 4
NEVER = 10**6
ONE_THREAD = {"scheduler": "synchronous"}
MORE_THREADS = {"scheduler": "threads", "num_workers": 3}


def make_rows(n_rows=N_ROWS):
    random = np.random.default_rng(4)
    rows = random.normal(size=(n_rows, 3)) + 4 * random.integers(0, 4, (n_rows, 1))
    return rows.astype(np.float32)


ROWS = make_rows()
ONES = np.ones(N_ROWS)


@pytest.fixture
def path(tmp_path):
    """Return the path of rows in Zarr, in twelve blocks."""
    zarr.create_array(str(tmp_path / "rows.zarr"), data=ROWS, chunks=(CHUNK_ROWS, 3))
    return tmp_path / "rows.zarr"


@pytest.fixture
def reads(monkeypatch):
    """Count the blocks read from a store in this process, and die at one of them."""
    counter = SimpleNamespace(n=0, killed_at=NEVER)
    read_band = store._read_band

    def counted(array, first, last):
        counter.n += 1
        if counter.n > counter.killed_at:
            raise KeyboardInterrupt
        return read_band(array, first, last)

    def until(killed_at=NEVER):
        counter.n, counter.killed_at = 0, killed_at

    counter.until = until
    monkeypatch.setattr(store, "_read_band", counted)
    return counter


@pytest.fixture
def many_passes(monkeypatch):
    """Take small samples led by a pilot, and keep few rows, so that a fit has many phases."""
    monkeypatch.setattr(starts, "_n_wanted", lambda blocks, k: 150)
    monkeypatch.setattr(survey, "PILOT_RUN_ROWS", 20)
    monkeypatch.setattr(margins, "WHOLE_BYTES", 0)
    monkeypatch.setattr(margins, "SHARE", 0.03)


def state(model):
    return (
        model.cluster_centers_.tobytes(),
        np.asarray(model.labels_).tobytes(),
        model.inertia_,
        model.n_iter_,
        model.stopped_by_,
        model.history_,
    )


def fit(rows, file=None, weights=None, scheduler=ONE_THREAD, **options):
    with dask.config.set(**scheduler):
        model = KMeans(options.pop("n_clusters", 4), checkpoint=file, **options)
        return model.fit(rows, sample_weight=weights)


def dies(*_):
    raise KeyboardInterrupt


def fit_state(reads, *args, **options):
    """Return the state of a fit, the blocks it read (not those read for labels) and its passes."""
    reads.until()
    model = fit(*args, **options)
    n_read = reads.n
    return state(model), n_read, model.n_passes_


def killed(*args, **options):
    with pytest.raises(KeyboardInterrupt):
        fit(*args, **options)


KINDS = {
    "plain": {},
    "plain steps": {"algorithm": "lloyd"},
    "sample": {"algorithm": "coreset"},
    "weights": {"weights": np.random.default_rng(1).integers(0, 3, N_ROWS).astype(float)},
    "lazy weights": {"weights": da.from_array(np.arange(N_ROWS) % 3, chunks=500)},
    "cosine": {"metric": "cosine"},
    "candidates": {"init": "k-means||", "init_rounds": 2},
    "filled": {"missing": "mean"},
    "gaps": {"missing": "partial"},
}


@pytest.mark.usefixtures("many_passes")
@pytest.mark.parametrize("kind", KINDS)
def test_checkpoint__resumes_at_any_read_with_the_same_bits(kind, path, reads, tmp_path):
    options, file = KINDS[kind], tmp_path / "c"
    wanted, n_all, _ = fit_state(reads, path, **options)
    for number, killed_at in enumerate((2, n_all // 2, n_all - 1)):
        reads.until(killed_at)
        killed(path, file, **options)
        assert file.exists()
        threads = ONE_THREAD if number % 2 else MORE_THREADS
        found, n_read, n_passes = fit_state(reads, path, file, scheduler=threads, **options)
        assert found == wanted
        assert n_all - killed_at <= n_read < n_all - killed_at + GROUP
        assert n_passes == pytest.approx(n_read / N_BLOCKS)
        assert not list(tmp_path.glob("c*"))


@pytest.mark.usefixtures("many_passes")
@pytest.mark.parametrize("is_better", [True, False])
def test_checkpoint__resumes_a_second_look(is_better, path, reads, tmp_path, monkeypatch):
    monkeypatch.setattr(kmeans, "is_misjudged", lambda *_: True)
    look = kmeans.look_again
    monkeypatch.setattr(
        kmeans, "look_again", lambda *args, **kwargs: look(*args, **kwargs) if is_better else None
    )
    file = tmp_path / "c"
    wanted, n_all, _ = fit_state(reads, path)
    for killed_at in range(14, n_all, 9):
        reads.until(killed_at)
        killed(path, file)
        found, n_read, _ = fit_state(reads, path, file)
        assert found == wanted
        assert n_all - killed_at <= n_read < n_all - killed_at + GROUP


@pytest.mark.usefixtures("many_passes")
def test_checkpoint__resumes_a_fit_that_was_killed_again_and_again(path, reads, tmp_path):
    file = tmp_path / "c"
    wanted, n_all, _ = fit_state(reads, path)
    # Each run gets one task further.
    for _ in range(n_all // (GROUP + 1)):
        reads.until(GROUP + 1)
        killed(path, file)
    found, n_read, _ = fit_state(reads, path, file)
    assert found == wanted
    assert 0 < n_read < n_all / 2


@pytest.mark.usefixtures("many_passes")
def test_checkpoint__holds_the_kept_rows_of_one_pass(path, tmp_path, monkeypatch):
    """Rows of earlier passes give their room back; steps after those need them no more."""
    monkeypatch.setattr(margins, "SHARE", 0.05)
    sizes, shorten = [], Journal.shorten

    def measured(book, name, part):
        before = book.path.stat().st_size
        shorten(book, name, part)
        sizes.append((before, book.path.stat().st_size))

    monkeypatch.setattr(Journal, "shorten", measured)
    options = {"init": ROWS[:4]}
    wanted = fit(path, **options)
    assert state(fit(path, tmp_path / "c", **options)) == state(wanted)
    assert len(sizes) > 2
    assert all(after < before for before, after in sizes)


@pytest.mark.usefixtures("many_passes")
@pytest.mark.parametrize("call", range(3))
def test_checkpoint__survives_a_kill_while_room_is_given_back(
    call, path, reads, tmp_path, monkeypatch
):
    options, file = {"init": ROWS[:4]}, tmp_path / "c"
    wanted = fit(path, **options)
    calls, copied = [], Journal._copied

    def counted(book, *args):
        calls.append(args)
        if len(calls) == call + 1:
            raise KeyboardInterrupt
        return copied(book, *args)

    monkeypatch.setattr(Journal, "_copied", counted)
    killed(path, file, **options)
    assert file.with_name("c.new").exists()
    assert state(fit(path, file, **options)) == state(wanted)
    assert not list(tmp_path.glob("c*"))


@pytest.mark.usefixtures("many_passes")
@pytest.mark.parametrize("limits", [{"max_iter": 2}, {"max_passes": 4}, {"tol": 0.01}])
def test_checkpoint__limits_may_change(limits, path, reads, tmp_path):
    """An end before the passes on file needs steps whose rows have left the file."""
    options, file = {"init": ROWS[:4]}, tmp_path / "c"
    n_all = fit_state(reads, path, **options)[1]
    for first, second in ((limits, {}), ({}, limits)):
        wanted, _, n_passes = fit_state(reads, path, **options, **second)
        reads.until(n_all - 2 if second else 16)
        killed(path, file, **options, **first)
        found, _, n_left = fit_state(reads, path, file, **options, **second)
        assert found == wanted
        assert n_left < n_passes


@pytest.mark.usefixtures("many_passes")
def test_rows_source__takes_no_step_on_rows_that_have_left_the_file(path, tmp_path, monkeypatch):
    monkeypatch.setattr(margins, "SHARE", 0.5)
    blocks = as_blocks(path)
    seen = measure_extent(blocks)
    first = ROWS[:4].astype(np.float64)
    way = np.random.default_rng(0).normal(size=first.shape)
    moved = [first + shift * way for shift in (0.0, 0.1, 50.0, 0.2)]

    def sums(centres):
        source = RowsSource(blocks, seen, lambda: np.inf, starts.margins_of(ROWS, ONES, blocks))
        return [source.step(one) for one in centres]

    with dask.config.set(**ONE_THREAD):
        with journal.keeping(tmp_path / "c", {}):
            sums(moved[:3])
        with journal.keeping(tmp_path / "c", {}) as book:
            found = sums([moved[0], moved[3]])
        assert book.passes_saved == 1
        for part, centres in zip(found, (moved[0], moved[3]), strict=True):
            wanted = sums([centres])[0]
            np.testing.assert_array_equal(part.counts, wanted.counts)
            np.testing.assert_array_equal(units_of(part)[:, :-1], units_of(wanted)[:, :-1])


@pytest.mark.usefixtures("many_passes")
def test_checkpoint__counts_passes_on_file_towards_their_limit(path, reads, tmp_path):
    options, file = {"init": ROWS[:4], "max_passes": 5}, tmp_path / "c"
    wanted, n_all, _ = fit_state(reads, path, **options)
    assert "max_passes" in wanted
    reads.until(n_all - 9)
    killed(path, file, **options)
    found, n_read, _ = fit_state(reads, path, file, **options)
    assert found == wanted
    assert n_read < 9 + GROUP


KILLED_CLIENT = """
import os, signal, sys
import dask
from daskseg import store
from daskseg.cluster import KMeans

read_band, n_left = store._read_band, int(sys.argv[3])

def counted(*args):
    global n_left
    n_left -= 1
    if n_left < 0:
        os.kill(os.getpid(), signal.SIGKILL)
    return read_band(*args)

store._read_band = counted
with dask.config.set(scheduler="synchronous"):
    KMeans(4, checkpoint=sys.argv[2]).fit(sys.argv[1])
"""


def test_checkpoint__outlives_a_client_killed_with_signal_9(path, reads, tmp_path, repository):
    file = tmp_path / "c"
    wanted, n_all, _ = fit_state(reads, path)
    assert n_all == 2 * N_BLOCKS
    command = [sys.executable, "-c", KILLED_CLIENT, str(path), str(file), "18"]
    run = subprocess.run(command, env={**os.environ, "PYTHONPATH": str(repository)}, check=False)
    assert run.returncode == -signal.SIGKILL
    found, n_read, n_passes = fit_state(reads, path, file, scheduler=MORE_THREADS)
    assert found == wanted
    assert (n_read, n_passes) == (N_BLOCKS - GROUP, pytest.approx(2 / 3))
    assert not file.exists()


@pytest.mark.cluster
@pytest.mark.usefixtures("many_passes")
def test_checkpoint__goes_from_and_to_a_cluster(cluster_client, path, reads, tmp_path, monkeypatch):
    file, wanted = tmp_path / "c", fit_state(reads, path)[0]
    reads.until(30)
    killed(path, file)
    cluster = {"scheduler": "dask.distributed"}
    with cluster_client.as_current(), monkeypatch.context() as patched:
        patched.setattr(Journal, "delete", dies)
        killed(path, file, scheduler=cluster)
    assert fit_state(reads, path, file) == (wanted, 0, pytest.approx(0.0))


@pytest.mark.parametrize(("block_bytes", "n_passes"), [(2**24, 3), (2**10, 0)])
def test_checkpoint__of_rows_in_memory(block_bytes, n_passes, tmp_path, monkeypatch):
    """One block is read too fast to be worth a record; of more, the labels are on file too."""
    monkeypatch.setattr("daskseg.engine.blocks.BLOCK_BYTES", block_bytes)
    file, wanted = tmp_path / "c", state(fit(ROWS))
    with monkeypatch.context() as patched:
        patched.setattr(Journal, "delete", dies)
        killed(ROWS, file)
    found = fit(ROWS, file, scheduler=MORE_THREADS)
    assert state(found) == wanted
    assert found.n_passes_ == pytest.approx(n_passes)
    assert not file.exists()


@pytest.mark.usefixtures("many_passes")
def test_checkpoint__of_a_fit_from_a_known_start(path, reads, tmp_path):
    blocks, file = as_blocks(path), tmp_path / "c"

    def run(checkpoint=None, init=ROWS[:4], killed_at=NEVER):
        with dask.config.set(**ONE_THREAD):
            reads.until()
            start = starts.choose_start(blocks, KMeans(4, init=init)._plan(blocks, 0))
            reads.until(killed_at)
            model = KMeans(4, checkpoint=checkpoint).fit_from(blocks, start)
        n_read = reads.n
        return state(model), n_read

    wanted, n_all = run()
    with pytest.raises(KeyboardInterrupt):
        run(file, killed_at=18)
    with pytest.raises(ArtifactError, match=r"the start is .* there and .* here"):
        run(file, ROWS[1:5])
    found, n_read = run(file)
    assert found == wanted
    assert n_read < n_all - 18 + GROUP


LOADED = []


def block(number):
    LOADED.append(number)
    if len(LOADED) in KILLED_AT:
        raise KeyboardInterrupt
    return ROWS[number * CHUNK_ROWS : (number + 1) * CHUNK_ROWS]


KILLED_AT: set[int] = set()


def test_checkpoint__of_blocks_of_unknown_height(tmp_path):
    """The pass that counts is on file too; and tasks of the caller may be called like ours."""
    calls = [dask.delayed(block)(n, dask_key_name=f"count-{n}") for n in range(N_BLOCKS)]
    parts = [
        da.from_delayed(one, (np.nan, 3), np.float32, name=f"part-{number}")
        for number, one in enumerate(calls)
    ]
    rows, file = da.concatenate(parts), tmp_path / "c"
    wanted = state(fit(rows))
    LOADED.clear()
    KILLED_AT.add(N_BLOCKS + 1)
    killed(rows, file)
    KILLED_AT.clear()
    LOADED.clear()
    found = fit(rows, file)
    assert len(LOADED) == 2 * N_BLOCKS
    assert state(found) == wanted


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"n_clusters": 5}, "n_clusters is 4 there and 5 here"),
        ({"random_state": 1}, "seed is 0 there and 1 here"),
        ({"metric": "cosine"}, "metric is euclidean there and cosine here"),
        ({"init": "random"}, "init is coreset there and random here"),
        ({"init": ROWS[:4]}, "init is coreset there and .* here"),
        ({"weights": np.ones(N_ROWS)}, "sample_weight is None there and .* here"),
    ],
)
def test_checkpoint__refuses_another_fit(change, match, path, reads, tmp_path):
    file = tmp_path / "c"
    reads.until(5)
    killed(path, file)
    content = file.read_bytes()
    with pytest.raises(ArtifactError, match=f"belongs to other data or parameters: {match}"):
        fit(path, file, **change)
    assert file.read_bytes() == content


def test_checkpoint__random_instances_are_told_by_what_they_draw(path, reads, tmp_path):
    file = tmp_path / "c"
    wanted = fit_state(reads, path, random_state=np.random.default_rng(5))[0]
    reads.until(5)
    random = np.random.default_rng(5)
    killed(path, file, random_state=random)
    reads.until()
    with pytest.raises(ArtifactError, match=r"seed is .* there and .* here"):
        fit(path, file, random_state=random)
    assert fit_state(reads, path, file, random_state=np.random.default_rng(5))[0] == wanted


def bump(path):
    later = path.stat().st_mtime_ns + 10**9
    os.utime(path, ns=(later, later))


def sources(folder):
    """Open the same rows in all ways that leave them on disk."""
    values = str(folder / "rows.zarr")
    return {
        "path": values,
        "store": zarr.open_array(values, mode="r"),
        "array": da.from_zarr(values).rechunk((600, 3)) + 1,
        "parquet": dd.read_parquet(folder / "rows.parquet")[["a", "b"]],
        "arrow": dd.read_parquet(folder / "rows.parquet", filesystem="arrow"),
    }


IDENTITIES = """
import pickle, sys
from pathlib import Path
from tests.unit.test_checkpoint import identities
sys.stdout.buffer.write(pickle.dumps(identities(Path(sys.argv[1]))))
"""


def identities(folder):
    found = sources(folder)
    found["memory"] = ROWS
    found["frame"] = dd.from_pandas(pd.DataFrame(ROWS[:, :2], columns=["a", "b"]), npartitions=3)
    return {name: checkpoint.identity(X, as_blocks(X), ROWS[:, 0]) for name, X in found.items()}


def test_identity__is_the_same_in_another_process_until_files_change(path, repository):
    folder = path.parent
    pd.DataFrame(ROWS, columns=["a", "b", "c"]).to_parquet(folder / "rows.parquet")
    command = [sys.executable, "-c", IDENTITIES, str(folder)]
    run = subprocess.run(
        command,
        env={**os.environ, "PYTHONPATH": str(repository)},
        check=True,
        capture_output=True,
    )
    before = identities(folder)
    assert pickle.loads(run.stdout) == before
    bump(path / "c" / "3" / "0")
    bump(folder / "rows.parquet")
    after = identities(folder)
    same = [name for name in before if before[name] == after[name]]
    assert same == ["memory", "frame"]
    assert len({str(one) for one in before.values()}) == len(before)


def test_checkpoint__refuses_data_that_were_written_anew_or_cut_otherwise(path, reads, tmp_path):
    file = tmp_path / "c"
    reads.until(5)
    killed(path, file)
    bump(path / "c" / "3" / "0")
    with pytest.raises(ArtifactError, match=r"the state of the data .* there and .* here\. Delete"):
        fit(path, file)
    file.unlink()
    rows = da.from_array(ROWS, chunks=(CHUNK_ROWS, 3))
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(Journal, "delete", dies)
        killed(rows, file)
    with pytest.raises(ArtifactError, match=r"the cut into blocks is .* there and .* here"):
        fit(rows.rechunk((300, 3)), file)


def test_checkpoint__stays_after_a_failure_and_holds_nobody_up(path, tmp_path):
    """What has no records holds nothing that could be lost."""
    file = tmp_path / "c"
    with pytest.raises(InputError, match="fewer rows than clusters"):
        fit(path, file, n_clusters=N_ROWS + 1)
    assert file.exists()
    assert state(fit(path, file)) == state(fit(path))
    assert not file.exists()


@pytest.mark.parametrize("value", [3, True, b"c", ["c"]])
def test_checkpoint__refuses_what_is_no_path(value):
    with pytest.raises(UsageError, match="is neither None nor the path of a file"):
        fit(ROWS, value)


def test_checkpoint__refuses_a_file_that_it_cannot_use(path, reads, tmp_path, monkeypatch):
    with pytest.raises(UsageError, match=r"cannot be opened: Is a directory. Give the path of a"):
        fit(path, tmp_path)
    with pytest.raises(UsageError, match="cannot be opened: No such file or directory"):
        fit(path, tmp_path / "none" / "c")
    foreign = tmp_path / "notes.txt"
    foreign.write_text("do not lose me")
    with pytest.raises(ArtifactError, match="is not a checkpoint of daskseg"):
        fit(path, foreign)
    assert foreign.read_text() == "do not lose me"
    file = tmp_path / "c"
    reads.until(12)
    killed(path, file)
    with (
        checkpoint.checkpointed(tmp_path / "d", {}),
        pytest.raises(UsageError, match="in use by another process"),
    ):
        fit(path, tmp_path / "d")
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    with pytest.raises(ArtifactError, match=r"the checkpoint .*c is damaged: .*Delete it"):
        fit(path, file)
    assert reads.n == 12 + 1


def test_checkpoint__says_that_the_disk_is_full(path, reads, tmp_path, monkeypatch):
    file, wanted = tmp_path / "c", fit_state(reads, path)[0]
    reads.until(17)
    killed(path, file)

    def full(_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    reads.until()
    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", full)
        with pytest.raises(
            UsageError, match=r"c cannot be written: No space left on device\. What it holds stays"
        ):
            fit(path, file)
    assert fit_state(reads, path, file)[0] == wanted
