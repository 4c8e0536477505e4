"""A journal of merged parts, so that an interrupted fit resumes where it stopped.

Covers: one append-only file per fit: writing the part of each finished task, reading them back,
and refusing a file that is damaged or of another fit. `keeping` opens it for a ``with`` block;
`engine.passes.reduce` then leaves out the blocks whose parts are on file. Does not cover: what
belongs to a fit's fingerprint; the caller decides that, and deletes the file at the end.

The file: a line of magic, then frames of (length, checksum, checksum of these, content). The
first frame says whose journal it is. Every frame is flushed to disk before the next task counts
as done; a frame that was cut short by a crash is dropped.
"""

from __future__ import annotations

import fcntl
import os
import struct
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from dask.base import tokenize

from daskseg.engine.encoding import decode, encode
from daskseg.errors import ArtifactError, UsageError
from daskseg.version import VERSION

FORMAT_VERSION = 1
MAGIC = b"daskseg journal\n"
_FRAME = struct.Struct("<QI")
_CHECK = struct.Struct("<I")
_HEAD_BYTES = _FRAME.size + _CHECK.size


class Record(NamedTuple):
    """The merged part of neighbouring blocks of one pass.

    Attributes
    ----------
    pass_id : str
    start, stop : int
        Positions of the blocks.
    bytes_read : int
    part : object
    """

    pass_id: str
    start: int
    stop: int
    bytes_read: int
    part: Any


class Journal:
    """An open journal file; made by `keeping`.

    Parameters
    ----------
    path : Path
    fingerprint : str
        Of the data and the parameters of the fit.
    """

    def __init__(self, path: Path, fingerprint: str) -> None:
        self.path = path
        self._n_passes = 0
        self._found: dict[str, list[Record]] = {}
        self._file: BinaryIO = path.open("a+b")
        try:
            self._lock()
            self._read(fingerprint)
        except BaseException:
            self._file.close()
            raise

    def close(self) -> None:
        """Close the file, and let other processes open it."""
        self._file.close()

    def begin_pass(self, name: str, args: Sequence[Any], lengths: Sequence[int]) -> PassRecords:
        """Find what is on file of the next pass.

        A pass is told by its number, its name, its parameters and the lengths of its blocks.
        """
        self._n_passes += 1
        pass_id = f"{self._n_passes}:{name}:{tokenize(list(args), list(lengths))}"
        found = sorted(self._found.pop(pass_id, []), key=lambda record: record.start)
        ends = [0, *(record.stop for record in found)]
        if any(record.start < end for record, end in zip(found, ends, strict=False)) or (
            ends[-1] > len(lengths)
        ):
            raise ArtifactError(self._damaged("two of its records overlap"))
        return PassRecords(self, pass_id, found)

    def write(self, record: Record) -> None:
        """Append a record and wait until it is on disk."""
        self._append(encode(tuple(record)))

    def _append(self, content: bytes) -> None:
        frame = _FRAME.pack(len(content), zlib.crc32(content))
        self._file.write(frame + _CHECK.pack(zlib.crc32(frame)) + content)
        self._file.flush()
        os.fsync(self._file.fileno())

    def _lock(self) -> None:
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise UsageError(
                f"the checkpoint {self.path} is in use by another process. Wait for it, or give "
                "another path."
            ) from error

    def _read(self, fingerprint: str) -> None:
        self._file.seek(0)
        content = self._file.read(len(MAGIC))
        if not MAGIC.startswith(content):
            raise ArtifactError(
                f"{self.path} is not a checkpoint of daskseg. Give another path; the file is left "
                "as it is."
            )
        header = next(self._frames(), None) if content == MAGIC else None
        if header is None:
            self._begin(fingerprint)
            return
        self._check_header(decode(header), fingerprint)
        for frame in self._frames():
            record = Record(*decode(frame))
            self._found.setdefault(record.pass_id, []).append(record)

    def _begin(self, fingerprint: str) -> None:
        self._file.truncate(0)
        self._file.write(MAGIC)
        header = {"format": FORMAT_VERSION, "daskseg": VERSION, "fingerprint": fingerprint}
        self._append(encode(header))
        folder = os.open(self.path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

    def _check_header(self, header: Any, fingerprint: str) -> None:
        wanted = {"format": FORMAT_VERSION, "daskseg": VERSION, "fingerprint": fingerprint}
        what = {
            "format": "is of format version",
            "daskseg": "was begun with daskseg",
            "fingerprint": "belongs to other data or parameters:",
        }
        for key, value in wanted.items():
            if header.get(key) != value:
                raise ArtifactError(
                    f"the checkpoint {self.path} {what[key]} {header.get(key)}; this fit has "
                    f"{value}. Delete it to begin anew, or give another path."
                )

    def _frames(self) -> Iterator[bytes]:
        """Yield the contents of the frames from here on, and cut off an unfinished last one."""
        while True:
            start = self._file.tell()
            head = self._file.read(_HEAD_BYTES)
            if not head:
                return
            content = None
            if len(head) < _HEAD_BYTES:
                is_last = True
            elif self._is_sound(head):
                n_bytes, checksum = _FRAME.unpack(head[: _FRAME.size])
                content = self._file.read(n_bytes)
                is_last = not self._file.read(1)
                if len(content) < n_bytes or zlib.crc32(content) != checksum:
                    content = None
            else:
                # A crash can leave a tail that was given room, but never written.
                is_last = not any(head) and not any(self._file.read())
            if content is None:
                if not is_last:
                    raise ArtifactError(self._damaged(f"the record at byte {start:,} is changed"))
                self._file.truncate(start)
                self._file.seek(start)
                return
            self._file.seek(start + _HEAD_BYTES + len(content))
            yield content

    @staticmethod
    def _is_sound(head: bytes) -> bool:
        return _CHECK.pack(zlib.crc32(head[: _FRAME.size])) == head[_FRAME.size :]

    def _damaged(self, what: str) -> str:
        return f"the checkpoint {self.path} is damaged: {what}. Delete it to begin anew."


class PassRecords(NamedTuple):
    """What is on file of one pass, and where more goes.

    Attributes
    ----------
    journal : Journal
    pass_id : str
    found : list of Record
        By ascending position; they do not overlap.
    """

    journal: Journal
    pass_id: str
    found: list[Record]

    def write(self, span: range, bytes_read: int, part: Any) -> None:
        """Put the part of some blocks on file."""
        self.journal.write(Record(self.pass_id, span.start, span.stop, bytes_read, part))

    def missing(self, n_blocks: int) -> list[range]:
        """Return the runs of blocks that are not on file."""
        ends = [0, *(record.stop for record in self.found)]
        starts = [*(record.start for record in self.found), n_blocks]
        return [range(a, b) for a, b in zip(ends, starts, strict=True) if a < b]


_current: ContextVar[Journal | None] = ContextVar("daskseg_journal", default=None)


def current() -> Journal | None:
    """Return the journal of the ``with`` block we are in, or None."""
    return _current.get()


@contextmanager
def keeping(path: Path | str, fingerprint: str) -> Iterator[Journal]:
    """Keep the parts of all reducing passes inside the ``with`` block on file.

    Parameters
    ----------
    path : Path or str
        Made if it does not exist. The caller deletes it when its result is safe.
    fingerprint : str
        Of the data and the parameters; a file with another one is refused.

    Raises
    ------
    ArtifactError
        If the file is not a journal, is damaged, or is of another fit, format or version.
    UsageError
        If another process has it open.

    Notes
    -----
    The passes must be the same, in the same order, as in the run that is resumed; a pass whose
    parameters or blocks differ is run in full. One flush to disk per task.
    """
    journal = Journal(Path(path), fingerprint)
    token = _current.set(journal)
    try:
        yield journal
    finally:
        _current.reset(token)
        journal.close()
