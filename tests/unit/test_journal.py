"""Journals: what is on file is not computed again, and what is not ours is refused."""

from __future__ import annotations

import datetime as dt
import errno
import math
import operator
import os
from fractions import Fraction

import dask
import dask.array
import numpy as np
import pytest

from daskseg.engine import journal, passes, progress
from daskseg.engine.blocks import Blocks, Load
from daskseg.engine.encoding import decode, encode
from daskseg.errors import ArtifactError, UsageError
from daskseg.kernels import grid, moments
from daskseg.kernels.order_statistics import Histogram
from daskseg.sources.scan import LedgerScan

ROWS = np.random.default_rng(0).normal(size=(120, 3))


def assert_same(found, wanted):
    """Equal values, types, dtypes and bits."""
    assert type(found) is type(wanted)
    if isinstance(wanted, np.ndarray):
        assert found.dtype == wanted.dtype
        np.testing.assert_array_equal(found, wanted)
        assert found.flags.writeable
    elif isinstance(wanted, (tuple, list)):
        assert len(found) == len(wanted)
        for one, other in zip(found, wanted, strict=True):
            assert_same(one, other)
    elif isinstance(wanted, dict):
        assert_same(list(found.items()), list(wanted.items()))
    elif isinstance(wanted, float):
        assert math.isnan(found) if math.isnan(wanted) else found == wanted
    else:
        assert found == wanted


@pytest.mark.parametrize(
    "value",
    [
        None,
        True,
        -(2**200),
        0.1,
        float("inf"),
        float("nan"),
        "Zoë",
        b"\x00\xff",
        [1, (2, [3])],
        {(1, "a"): {"b": 2.5}},
        np.arange(6.0).reshape(2, 3).T,
        np.arange(40_000.0).reshape(2, 20_000).T,
        np.arange(20_000).astype("datetime64[s]"),
        np.array([], np.uint64),
        np.float32(1.5),
        np.datetime64("2026-01-31", "us"),
        np.array(["2026-01-31", "NaT"], "datetime64[D]"),
        np.array([["a", "bc"]]),
        np.array([[2**100, -1], [0, 5]], object),
        grid.GridSum(np.array([2**80], object), np.array([-3], object)),
        [Histogram(np.array([1, 5]), np.array([2, 3]))],
        moments.extent(ROWS, None, 7),
    ],
    ids=str,
)
def test_encode__keeps_types_and_bits(value):
    assert_same(decode(encode(value)), value)


def test_encode__keeps_dataclasses():
    scan = LedgerScan(n_rows=3, money_bound=2**70, n_missing={"date": 1})
    found = decode(encode(scan))
    assert encode(found) == encode(scan)
    assert (found.n_rows, found.money_bound, found.n_missing) == (3, 2**70, {"date": 1})


@pytest.mark.parametrize(
    "value",
    [object(), {1, 2}, Fraction(1, 3), dt.date(2026, 1, 1), np.array([1.5], object), print],
)
def test_encode__refuses_what_it_cannot_keep(value):
    with pytest.raises(TypeError, match="cannot be kept in a journal"):
        encode(value)


@pytest.mark.parametrize(
    "name",
    ["os:system", "builtins:eval", "daskseg.errors:warn", "daskseg.engine.passes:reduce"],
)
def test_decode__runs_no_foreign_code(name):
    content = encode(grid.GridSum(np.zeros(1), np.zeros(1)))
    ours = b"daskseg.kernels.grid:GridSum"
    assert ours in content
    header = content[8:].replace(ours, name.encode())
    size = int.from_bytes(content[:8], "little") + len(name) - len(ours)
    with pytest.raises(ArtifactError, match=r"it is not ours|it is no record of data"):
        decode(size.to_bytes(8, "little") + header)


@pytest.mark.parametrize("content", [b"", b"12345678", encode([1.5])[:-3], encode(3)[:8] + b"{}x"])
def test_decode__refuses_what_is_cut_short(content):
    with pytest.raises(ArtifactError, match="cannot be read"):
        decode(content)


READS = []


def read(number):
    READS.append(number)
    return ROWS[number * 10 : number * 10 + 10]


BLOCKS = Blocks(
    loads=tuple(Load(read, (number,)) for number in range(12)),
    lengths=(10,) * 12,
    n_features=3,
    dtype=ROWS.dtype,
)


KILLED_AT = []
SAVED = []


def sums(rows, exponents):
    if rows.first_row in KILLED_AT:
        KILLED_AT.clear()
        raise KeyboardInterrupt
    return grid.sum_columns(rows.values, exponents)


EXPONENTS = np.full(3, 3)


def fit(path, killed_at=None, seed=0, factor=0):
    """Two passes; the second one can be interrupted at a row."""
    READS.clear()
    with journal.keeping(path, {"seed": str(seed), "data": "d"}) as book:
        first = passes.reduce(BLOCKS, sums, grid.add, EXPONENTS, name="one")
        KILLED_AT[:] = [] if killed_at is None else [killed_at]
        second = passes.reduce(BLOCKS, sums, grid.add, EXPONENTS + factor, name="two")
    SAVED[:] = [book.passes_saved]
    return first, second


@pytest.fixture(params=["synchronous", "threads"])
def local(request):
    with dask.config.set(scheduler=request.param, num_workers=2):
        yield


def test_keeping__resumes_between_groups_with_the_same_bits(tmp_path):
    path = tmp_path / "cut"
    with dask.config.set(scheduler="synchronous"):
        wanted = fit(tmp_path / "whole")
        assert len(READS) == 24
        with pytest.raises(KeyboardInterrupt):
            fit(path, killed_at=70)
        assert len(READS) == 20
        with progress.recording("resumed") as log:
            found = fit(path)
        assert_same(found, wanted)
        assert len(READS) == 8
        assert (log.passes, log.bytes_read) == (2, 8 * 240)
        assert pytest.approx(2 - 8 / 12) == SAVED[0]
        assert_same(fit(path), wanted)
        assert READS == []


def test_keeping__resumes_on_threads_with_the_same_bits(tmp_path):
    with dask.config.set(scheduler="threads", num_workers=2):
        wanted = fit(tmp_path / "whole")
        with pytest.raises(KeyboardInterrupt):
            fit(tmp_path / "cut", killed_at=70)
        for _ in range(2):
            assert_same(fit(tmp_path / "cut"), wanted)


def test_keeping__resumes_with_another_number_of_threads(tmp_path):
    with dask.config.set(scheduler="synchronous"), pytest.raises(KeyboardInterrupt):
        fit(tmp_path / "j", killed_at=70)
    with dask.config.set(scheduler="threads", num_workers=3):
        found = fit(tmp_path / "j")
        assert sorted(READS) == list(range(8))
        assert_same(found, fit(tmp_path / "other"))


def test_keeping__runs_a_pass_with_other_parameters_in_full(local, tmp_path):
    fit(tmp_path / "j")
    fit(tmp_path / "j", factor=1)
    assert len(READS) == 12


@pytest.mark.cluster
def test_keeping__writes_results_of_a_cluster(cluster_client, tmp_path):
    blocks = Blocks.from_dask_array(dask.array.from_array(ROWS, chunks=(10, 3)))
    with cluster_client.as_current(), dask.config.set(scheduler="dask.distributed"):
        found = []
        for n_bytes in (ROWS.nbytes, 0):
            with progress.recording("log") as log, journal.keeping(tmp_path / "j", {}):
                found.append(passes.reduce(blocks, sums, grid.add, EXPONENTS))
            assert log.bytes_read == n_bytes
    assert_same(found[0], found[1])


@pytest.mark.parametrize("n_lost", [1, 5, 15, 17, 60])
def test_keeping__drops_an_unfinished_record(n_lost, local, tmp_path):
    path = tmp_path / "j"
    wanted = fit(path)
    content = path.read_bytes()
    path.write_bytes(content[:-n_lost])
    assert_same(fit(path), wanted)
    assert 0 < len(READS) <= 12
    assert_same(fit(path), wanted)
    assert READS == []


def test_keeping__drops_a_tail_that_was_never_written(local, tmp_path):
    path = tmp_path / "j"
    wanted = fit(path)
    size = path.stat().st_size
    path.write_bytes(path.read_bytes() + bytes(500))
    assert_same(fit(path), wanted)
    assert READS == []
    assert path.stat().st_size == size


@pytest.mark.parametrize("n_kept", [0, 7, 16, 20, 40])
def test_keeping__begins_anew_where_not_even_the_header_was_written(n_kept, tmp_path):
    path = tmp_path / "j"
    fit(path)
    path.write_bytes(path.read_bytes()[:n_kept])
    fit(path)
    assert len(READS) == 24


def test_keeping__refuses_a_changed_record(tmp_path):
    path = tmp_path / "j"
    fit(path)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(ArtifactError, match=r"the checkpoint .*j is damaged: .*Delete it"):
        fit(path)
    assert path.read_bytes() == bytes(content)


def test_keeping__refuses_another_fit_another_format_and_another_file(tmp_path, monkeypatch):
    path = tmp_path / "j"
    fit(path)
    with pytest.raises(
        ArtifactError, match=r"belongs to other data or parameters: seed is 0 there and 1 here\."
    ):
        fit(path, seed=1)
    monkeypatch.setattr(journal, "VERSION", "99.0")
    with pytest.raises(ArtifactError, match=r"was begun with daskseg .*; this fit has 99\.0"):
        fit(path)
    monkeypatch.setattr(journal, "FORMAT_VERSION", 2)
    with pytest.raises(ArtifactError, match="is of format version 1; this fit has 2"):
        fit(path)
    foreign = tmp_path / "notes.txt"
    foreign.write_text("do not lose me")
    with pytest.raises(ArtifactError, match="is not a checkpoint of daskseg"):
        fit(foreign)
    assert foreign.read_text() == "do not lose me"


def test_keeping__refuses_a_file_in_use(tmp_path):
    with (
        journal.keeping(tmp_path / "j", {}),
        pytest.raises(UsageError, match="in use by another process"),
        journal.keeping(tmp_path / "j", {}),
    ):
        pass


def test_keeping__says_where_a_file_cannot_be_opened_or_locked(tmp_path, monkeypatch):
    with pytest.raises(UsageError, match=r"cannot be opened: Is a directory\. Give the path"):
        fit(tmp_path)
    with pytest.raises(UsageError, match="cannot be opened: No such file or directory"):
        fit(tmp_path / "none" / "j")

    def no_locks(*_):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(journal.fcntl, "flock", no_locks)
    with pytest.raises(UsageError, match="cannot be locked: No locks available"):
        fit(tmp_path / "j")


def test_keeping__refuses_a_file_that_was_deleted_before_it_was_locked(tmp_path, monkeypatch):
    def too_late(*_):
        (tmp_path / "j").unlink()

    monkeypatch.setattr(journal.fcntl, "flock", too_late)
    with pytest.raises(UsageError, match="in use by another process"):
        fit(tmp_path / "j")


def test_keeping__begins_anew_where_nothing_was_recorded(tmp_path):
    for number in range(2):
        with journal.keeping(tmp_path / "j", {"number": str(number)}):
            pass
    with pytest.raises(ArtifactError, match="number is 1 there and not told here"):
        fit_with_record(tmp_path / "j", {"number": "1"}, {})


def fit_with_record(path, *fits):
    for one in fits:
        with journal.keeping(path, one) as book:
            book.begin_pass("p", sums, (), (1,)).write(range(1), None)


def rows_of(rows):
    return rows.first_row


def emitted(path, *, journaled):
    READS.clear()
    with dask.config.set(scheduler="synchronous"), journal.keeping(path, {}) as book:
        found = passes.emit(BLOCKS, rows_of, journaled=journaled)
    assert found == list(range(0, 120, 10))
    return len(READS), book.passes_saved


def test_emit__is_on_file_only_where_asked_for(tmp_path):
    assert [emitted(tmp_path / "a", journaled=False) for _ in range(2)] == [(12, 0), (12, 0)]
    assert [emitted(tmp_path / "b", journaled=True) for _ in range(2)] == [(12, 0), (0, 1)]


@pytest.mark.cluster
def test_emit__writes_results_of_a_cluster(cluster_client, tmp_path):
    blocks = Blocks.from_dask_array(dask.array.from_array(ROWS, chunks=(10, 3)))
    with cluster_client.as_current(), dask.config.set(scheduler="dask.distributed"):
        for n_bytes in (ROWS.nbytes, 0):
            with progress.recording("log") as log, journal.keeping(tmp_path / "j", {}):
                assert passes.emit(blocks, len, journaled=True) == [3] * 12
            assert log.bytes_read == n_bytes


def test_passes__that_read_nothing_leave_the_journal_alone(tmp_path):
    for _ in range(2):
        READS.clear()
        with journal.keeping(tmp_path / "j", {}):
            passes.reduce(BLOCKS, sums, grid.add, EXPONENTS, share=0.0)
            passes.emit(BLOCKS, rows_of, share=0.0, journaled=True)
        assert len(READS) == 24


def two_passes(path, *, shorten=False):
    """Write large parts in two passes; return what was on file of each, and the final size."""
    found = []
    with journal.keeping(path, {}) as book:
        for name in ("one", "two"):
            records = book.begin_pass(name, sums, (), [1] * 4)
            found.append([(start, part.tolist()[:2]) for start, part in records.parts()])
            for span in records.missing():
                for block in span:
                    records.write(range(block, block + 1), np.full(1000, block))
            if shorten and name == "two":
                book.shorten("one", np.array([7, 8]))
                book.shorten("none", None)
    return found, path.stat().st_size


def test_journal__shorten_puts_one_record_in_the_place_of_a_pass(tmp_path):
    path = tmp_path / "j"
    full = [(block, [block, block]) for block in range(4)]
    (tmp_path / "j.new").write_bytes(b"of a run that was killed")
    assert two_passes(path)[0] == [[], []]
    found, size = two_passes(path)
    assert found == [full, full]
    found, shorter = two_passes(path, shorten=True)
    assert found == [full, full]
    assert shorter < 0.6 * size
    for _ in range(2):
        found, again = two_passes(path, shorten=True)
        assert found == [[(0, [7, 8])], full]
        assert again == shorter
    assert list(tmp_path.iterdir()) == [path]


def test_journal__is_ours_and_written_on_after_it_was_shortened(tmp_path):
    path = tmp_path / "j"
    with journal.keeping(path, {}) as book:
        book.begin_pass("one", sums, (), [1]).write(range(1), "long" * 100)
        book.shorten("one", "s")
        with pytest.raises(UsageError, match="in use by another process"):
            journal.Journal(path, {})
        book.begin_pass("two", sums, (), [1]).write(range(1), "later")
        assert [part for _, part in book.begin_pass("three", sums, (), [1]).parts()] == []
    with journal.keeping(path, {}) as book:
        for name, part in (("one", "s"), ("two", "later")):
            assert list(book.begin_pass(name, sums, (), [1]).parts()) == [(0, part)]


def named_like_a_task(number):
    return ROWS[number * 10 : number * 10 + 10]


def test_passes__take_no_task_of_the_caller_for_one_of_theirs(local, tmp_path):
    calls = [dask.delayed(named_like_a_task)(n, dask_key_name=f"mine-{n}") for n in range(12)]
    blocks = Blocks(tuple(Load(named, (one,)) for one in calls), (10,) * 12, 3, ROWS.dtype)
    with journal.keeping(tmp_path / "j", {}):
        assert passes.emit(blocks, rows_of, name="mine") == list(range(0, 120, 10))
        assert_same(
            passes.reduce(blocks, sums, grid.add, EXPONENTS, name="mine"),
            grid.sum_columns(ROWS, EXPONENTS),
        )


def named(values):
    return values


def test_keeping__leaves_passes_outside_alone(tmp_path):
    with journal.keeping(tmp_path / "j", {}) as book:
        assert journal.current() is book
    assert journal.current() is None
    size = (tmp_path / "j").stat().st_size
    passes.reduce(BLOCKS, sums, grid.add, EXPONENTS)
    assert (tmp_path / "j").stat().st_size == size


def test_exchange__is_not_resumed(tmp_path):
    frame = pytest.importorskip("pandas").DataFrame({"key": range(9)})
    blocks = passes.FrameBlocks.from_frame(frame, block_rows=3)

    def split(part):
        return part.assign(bucket=0), len(part)

    for _ in range(2):
        with journal.keeping(tmp_path / "j", {}):
            n_rows, buckets = passes.exchange(blocks, split, operator.add, 1, tmp_path)
        assert n_rows == 9
        assert passes.emit(buckets, len) == [9]
