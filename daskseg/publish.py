"""Files and directories that appear whole or not at all.

Covers: building aside and renaming into place, and the rule for which directories may be
replaced. Does not cover: what is written.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from daskseg.errors import UsageError

STUDY_MARK = "run.json"


def check_target(out: Path, *, force: bool = False, mark: str = STUDY_MARK) -> None:
    """Refuse a target directory whose replacement would lose something that is not ours.

    Parameters
    ----------
    out : Path
        May be absent, empty, or hold an earlier result, told by its file `mark`.
    force : bool
        Replace whatever stands there.
    mark : str

    Raises
    ------
    UsageError
    """
    if out.exists() and not out.is_dir():
        raise UsageError(f"--out {out}: a file stands there. Name a directory.")
    if out.is_dir() and any(out.iterdir()) and not (out / mark).is_file() and not force:
        raise UsageError(
            f"--out {out}: the directory is not empty and holds no earlier study (no {mark}). "
            "Name another directory, or pass --force to replace everything in it."
        )
    # The directory above matters: a new result is renamed into it.
    parent = next(path for path in out.absolute().parents if path.exists())
    if not parent.is_dir():
        raise UsageError(f"--out {out}: {parent} is a file. Name another directory.")
    if not os.access(parent, os.W_OK):
        raise UsageError(f"--out {out}: {parent} is not writable. Name another directory.")


@contextmanager
def replacing_directory(out: Path) -> Iterator[Path]:
    """Give a directory to build in; at a clean end it takes the place of `out` as a whole.

    The directory lies beside `out`, so that the rename stays on one file system. On an
    error it is removed and `out` stays as it was.
    """
    out = out.absolute()
    out.parent.mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(prefix=f".{out.name}-", dir=out.parent))
    work.chmod(0o777 & ~_umask())
    try:
        yield work
        _swap(work, out)
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _swap(work: Path, out: Path) -> None:
    """Rename `work` to `out` and remove what stood there; put that back if the rename fails."""
    if not out.exists():
        work.rename(out)
        return
    aside = Path(tempfile.mkdtemp(prefix=f".{out.name}-old-", dir=out.parent))
    old = aside / "old"
    try:
        out.rename(old)
        work.rename(out)
    except OSError:
        if old.exists():
            old.rename(out)
        raise
    finally:
        # Empty after a failure: then the earlier result stands where it was.
        shutil.rmtree(aside)


@contextmanager
def replacing_file(path: Path) -> Iterator[Path]:
    """Give a path to write; at a clean end it takes the place of `path`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    work = path.with_name(f".{path.name}-{os.getpid()}")
    try:
        yield work
        work.replace(path)
    finally:
        work.unlink(missing_ok=True)


def _umask() -> int:
    value = os.umask(0)
    os.umask(value)
    return value
