"""A journal of parts of passes, so that an interrupted fit resumes where it stopped.

Covers: one append-only file per fit: writing the part of each finished task, reading them back,
and refusing a file that is damaged or of another fit. `keeping` opens it for a ``with`` block;
`engine.passes` then leaves out the blocks whose parts are on file. Does not cover: what tells
one fit from another (see `cluster.checkpoint`).

The file: a line of magic, then frames of (length, checksum, checksum of these, content). The
first frame says whose journal it is, a later one holds a head and a part. A frame that was cut
short by a crash is dropped.
"""

from __future__ import annotations

import fcntl
import os
import struct
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from io import FileIO
from pathlib import Path
from typing import Any, NamedTuple

from dask.base import tokenize

from daskseg.engine.encoding import Buffer, decode, pieces
from daskseg.errors import ArtifactError, UsageError
from daskseg.version import VERSION

FORMAT_VERSION = 1
MAGIC = b"daskseg journal\n"
_FRAME = struct.Struct("<QI")
_CHECK = struct.Struct("<I")
_HEAD_BYTES = _FRAME.size + _CHECK.size
_LENGTH = struct.Struct("<Q")


class _Entry(NamedTuple):
    """One record of a pass, and where its frame lies."""

    start: int
    stop: int
    is_short: bool
    position: int


class Journal:
    """An open journal file; made by `keeping`.

    Parameters
    ----------
    path : Path
    fit : mapping of str to str
        What tells this fit from others.

    Attributes
    ----------
    passes_saved : float
        Reads of the data that were not made, since their parts were on file.
    """

    def __init__(self, path: Path, fit: Mapping[str, str]) -> None:
        self.path = path
        self.passes_saved = 0.0
        self._n_passes = 0
        self._latest: dict[str, str] = {}
        self._entries: dict[str, list[_Entry]] = {}
        self._file = _open(path, "a+b")
        try:
            self._lock(self._file)
            self._is_ours()
            self._spare.unlink(missing_ok=True)
            self._read(dict(fit))
        except BaseException:
            self._file.close()
            raise

    @property
    def _spare(self) -> Path:
        """Where a shorter journal is written before it takes the place of this one."""
        return self.path.with_name(f"{self.path.name}.new")

    def close(self) -> None:
        """Close the file, and let other processes open it."""
        self._file.close()

    def delete(self) -> None:
        """Delete the file; nothing more may be written."""
        self.path.unlink(missing_ok=True)

    def begin_pass(
        self, name: str, func: Callable[..., Any], args: Sequence[Any], lengths: Sequence[int]
    ) -> PassRecords:
        """Find what is on file of the next pass.

        A pass is told by its number, its name, its function and parameters, and the lengths of
        its blocks.
        """
        self._n_passes += 1
        whose = f"{func.__module__}.{func.__qualname__}"
        pass_id = f"{self._n_passes}:{name}:{tokenize(whose, list(args), list(lengths))}"
        self._latest[name] = pass_id
        found = sorted(self._entries.get(pass_id, []))
        ends = [0, *(entry.stop for entry in found)]
        if any(entry.start < end for entry, end in zip(found, ends, strict=False)) or (
            ends[-1] > len(lengths)
        ):
            raise ArtifactError(self._damaged("two of its records overlap"))
        return PassRecords(self, pass_id, lengths, found)

    def write(self, pass_id: str, span: range, part: Any, *, durable: bool = True) -> None:
        """Append a record, and if it shall be `durable` wait until it is on disk.

        Without the wait it outlives this process, but not a failure of power.
        """
        position = _size(self._file)
        content = _record(pass_id, span, part, is_short=False)
        self._append(self._file, content, durable=durable)
        self._enter(pass_id, _Entry(span.start, span.stop, False, position))

    def _enter(self, pass_id: str, entry: _Entry) -> None:
        self._entries.setdefault(pass_id, []).append(entry)

    def part_at(self, position: int) -> Any:
        """Read the part of the record whose frame begins at a byte."""
        self._file.seek(position)
        content = next(self._frames())[1]
        return decode(content[_head_end(content) :])

    def shorten(self, name: str, part: Any) -> None:
        """Put one record in the place of all those of the latest pass of a name.

        Parameters
        ----------
        name : str
            If no such pass was begun, nothing happens.
        part : object
            `PassRecords.parts` will give it for all blocks of the pass.

        Notes
        -----
        The other records are copied into a new file, which then replaces this one.
        """
        pass_id = self._latest.get(name, "")
        ours = self._entries.get(pass_id, [])
        if not ours or ours[0].is_short:
            return
        old, fresh = self._file, _open(self._spare, "w+b")
        try:
            self._lock(fresh)
            with self._writing():
                moved = self._copied(fresh, pass_id, part)
                self._spare.replace(self.path)
                self._sync_folder()
        except BaseException:
            fresh.close()
            raise
        self._file, self._entries = fresh, moved
        old.close()

    def _copied(self, fresh: FileIO, pass_id: str, part: Any) -> dict[str, list[_Entry]]:
        """Copy all into a fresh file, but of one pass put `part`; return where things lie now."""
        _write(fresh, MAGIC)
        self._file.seek(len(MAGIC))
        self._append(fresh, [next(self._frames())[1]], durable=False)
        moved: dict[str, list[_Entry]] = {}
        for name, entries in self._entries.items():
            if name == pass_id:
                span = range(min(entries).start, max(one.stop for one in entries))
                moved[name] = [_Entry(span.start, span.stop, True, _size(fresh))]
                self._append(fresh, _record(name, span, part, is_short=True), durable=False)
                continue
            moved[name] = []
            for entry in entries:
                moved[name].append(entry._replace(position=_size(fresh)))
                self._file.seek(entry.position)
                self._append(fresh, [next(self._frames())[1]], durable=False)
        os.fsync(fresh.fileno())
        return moved

    def _append(self, file: FileIO, content: Sequence[Buffer], *, durable: bool = True) -> None:
        checksum = 0
        for piece in content:
            checksum = zlib.crc32(piece, checksum)
        frame = _FRAME.pack(sum(len(piece) for piece in content), checksum)
        with self._writing():
            for piece in (frame + _CHECK.pack(zlib.crc32(frame)), *content):
                _write(file, piece)
            if durable:
                os.fsync(file.fileno())

    @contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise UsageError(
                f"the checkpoint {self.path} cannot be written: {error.strerror}. What it holds "
                "stays good; make room, or give another path."
            ) from error

    def _lock(self, file: FileIO) -> None:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise UsageError(self._in_use()) from error
        except OSError as error:
            raise UsageError(
                f"the checkpoint {self.path} cannot be locked: {error.strerror}. Give a path on "
                "another file system."
            ) from error

    def _is_ours(self) -> None:
        """Refuse a file that its owner deleted or replaced between our opening and locking it."""
        there = self.path.stat().st_ino if self.path.exists() else None
        if there != os.fstat(self._file.fileno()).st_ino:
            raise UsageError(self._in_use())

    def _in_use(self) -> str:
        return (
            f"the checkpoint {self.path} is in use by another process. Wait for it, or give "
            "another path."
        )

    def _read(self, fit: dict[str, str]) -> None:
        self._file.seek(0)
        content = self._file.read(len(MAGIC)) or b""
        if not MAGIC.startswith(content):
            raise ArtifactError(
                f"{self.path} is not a checkpoint of daskseg. Give another path; the file is left "
                "as it is."
            )
        header = next(self._frames(), None) if content == MAGIC else None
        if header is None:
            self._begin(fit)
            return
        told = decode(header[1])
        for position, frame in self._frames():
            pass_id, start, stop, is_short = decode(frame[_LENGTH.size : _head_end(frame)])
            self._enter(pass_id, _Entry(start, stop, is_short, position))
        if told != _header(fit) and not self._entries:
            # It holds nothing that could be lost.
            self._begin(fit)
        else:
            self._check_header(told, _header(fit))

    def _begin(self, fit: dict[str, str]) -> None:
        with self._writing():
            self._file.truncate(0)
            _write(self._file, MAGIC)
            self._append(self._file, pieces(_header(fit)))
            self._sync_folder()

    def _sync_folder(self) -> None:
        folder = os.open(self.path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

    def _check_header(self, told: Any, wanted: dict[str, Any]) -> None:
        what = {"format": "is of format version", "daskseg": "was begun with daskseg"}
        remedy = "Delete it to begin anew, or give another path."
        for key, words in what.items():
            if told.get(key) != wanted[key]:
                raise ArtifactError(
                    f"the checkpoint {self.path} {words} {told.get(key)}; this fit has "
                    f"{wanted[key]}. {remedy}"
                )
        there, here = told["fit"], wanted["fit"]
        others = [
            f"{key} is {there.get(key, 'not told')} there and {here.get(key, 'not told')} here"
            for key in {**here, **there}
            if there.get(key) != here.get(key)
        ]
        if others:
            raise ArtifactError(
                f"the checkpoint {self.path} belongs to other data or parameters: "
                f"{'; '.join(others)}. {remedy}"
            )

    def _frames(self) -> Iterator[tuple[int, memoryview]]:
        """Yield position and content of the frames from here on; cut off an unfinished one."""
        while True:
            start = self._file.tell()
            head = _take(self._file, _HEAD_BYTES)
            if not head:
                return
            content = None
            if len(head) < _HEAD_BYTES:
                is_last = True
            elif _is_sound(head):
                n_bytes, checksum = _FRAME.unpack(head[: _FRAME.size])
                content = _take(self._file, n_bytes)
                is_last = self._file.tell() >= _size(self._file)
                if len(content) < n_bytes or zlib.crc32(content) != checksum:
                    content = None
            else:
                # A crash can leave a tail that was given room, but never written.
                is_last = not any(head) and not any(self._file.readall() or b"")
            if content is None:
                if not is_last:
                    raise ArtifactError(self._damaged(f"the record at byte {start:,} is changed"))
                self._file.truncate(start)
                self._file.seek(start)
                return
            yield start, memoryview(content)
            self._file.seek(start + _HEAD_BYTES + len(content))

    def _damaged(self, what: str) -> str:
        return f"the checkpoint {self.path} is damaged: {what}. Delete it to begin anew."


def _open(path: Path, mode: str) -> FileIO:
    try:
        # Without a buffer: what cannot be written must not be tried again when it is closed.
        return FileIO(path, mode.replace("b", ""))
    except OSError as error:
        raise UsageError(
            f"the checkpoint {path} cannot be opened: {error.strerror}. Give the path of a file "
            "in a folder that exists and may be written to."
        ) from error


def _size(file: FileIO) -> int:
    return os.fstat(file.fileno()).st_size


def _take(file: FileIO, n_bytes: int) -> bytearray:
    """Read so many bytes, or up to the end of the file."""
    content = bytearray(min(n_bytes, max(0, _size(file) - file.tell())))
    view, done = memoryview(content), 0
    while done < len(content):
        done += file.readinto(view[done:]) or 0
    return content


def _write(file: FileIO, content: Buffer) -> None:
    view = memoryview(content)
    while len(view):
        view = view[file.write(view) or 0 :]


def _is_sound(head: bytearray) -> bool:
    return _CHECK.pack(zlib.crc32(head[: _FRAME.size])) == head[_FRAME.size :]


def _header(fit: dict[str, str]) -> dict[str, Any]:
    return {"format": FORMAT_VERSION, "daskseg": VERSION, "fit": fit}


def _record(pass_id: str, span: range, part: Any, *, is_short: bool) -> list[Buffer]:
    head = b"".join(pieces((pass_id, span.start, span.stop, is_short)))
    return [_LENGTH.pack(len(head)), head, *pieces(part)]


def _head_end(content: memoryview) -> int:
    return _LENGTH.size + int(_LENGTH.unpack(content[: _LENGTH.size])[0])


class PassRecords:
    """What is on file of one pass, and where more goes.

    Parameters
    ----------
    journal : Journal
    pass_id : str
    lengths : sequence of int
        Of the blocks; in rows or bytes.
    found : list of entries, by rising position
    """

    def __init__(
        self, journal: Journal, pass_id: str, lengths: Sequence[int], found: list[_Entry]
    ) -> None:
        self._journal = journal
        self._pass_id = pass_id
        self._lengths = lengths
        self._found = found

    def parts(self) -> Iterator[tuple[int, Any]]:
        """Yield the first block and the part of each record, one in memory at a time."""
        for entry in self._found:
            yield entry.start, self._journal.part_at(entry.position)

    def write(self, span: range, part: Any, *, durable: bool = True) -> None:
        """Put the part of some blocks on file; as `Journal.write`."""
        self._journal.write(self._pass_id, span, part, durable=durable)

    def missing(self) -> list[range]:
        """Return the runs of blocks that are not on file."""
        ends = [0, *(entry.stop for entry in self._found)]
        starts = [*(entry.start for entry in self._found), len(self._lengths)]
        return [range(a, b) for a, b in zip(ends, starts, strict=True) if a < b]

    def account(self, share: float) -> None:
        """Add what need not be read to the journal's account of passes.

        A read of all blocks counts `share`.
        """
        missing = self.missing()
        n_all = sum(self._lengths)
        n_left = sum(self._lengths[i] for span in missing for i in span)
        if n_all <= 0:
            n_all, n_left = len(self._lengths), sum(map(len, missing))
        self._journal.passes_saved += share * (n_all - n_left) / n_all


_current: ContextVar[Journal | None] = ContextVar("daskseg_journal", default=None)


def current() -> Journal | None:
    """Return the journal of the ``with`` block we are in, or None."""
    return _current.get()


@contextmanager
def keeping(path: Path | str, fit: Mapping[str, str]) -> Iterator[Journal]:
    """Keep the parts of all reducing passes inside the ``with`` block on file.

    Parameters
    ----------
    path : Path or str
        Made if it does not exist. The caller deletes it when its result is safe.
    fit : mapping of str to str
        What tells this fit from others: data and parameters by name. A file with others is
        refused by those that differ, unless it has no records.

    Raises
    ------
    ArtifactError
        If the file is not a journal, is damaged, or is of another fit, format or version.
    UsageError
        If it cannot be opened, written or locked, or if another process has it open.

    Notes
    -----
    The passes must be the same, in the same order, as in the run that is resumed; a pass whose
    parameters or blocks differ is run in full. One flush to disk per task.
    """
    journal = Journal(Path(path), fit)
    token = _current.set(journal)
    try:
        yield journal
    finally:
        _current.reset(token)
        journal.close()
