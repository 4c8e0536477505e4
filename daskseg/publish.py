"""Files and directories that appear whole or not at all.

Covers: building aside and renaming into place, and the rule for which directories may be
replaced. Does not cover: what is written.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from daskseg.errors import UsageError

STUDY_MARK = "run.json"


def check_target(
    out: Path,
    *,
    force: bool = False,
    mark: str = STUDY_MARK,
    sources: Sequence[Path] = (),
    on_command_line: bool = True,
) -> None:
    """Refuse a target directory whose replacement would lose something that is not ours.

    Parameters
    ----------
    out : Path
        May be absent, empty, or hold an earlier result, told by its file `mark`.
    force : bool
        Replace whatever stands there.
    mark : str
    sources : sequence of Path
        What is about to be read: it must not lie in `out`.
    on_command_line : bool
        Whether `out` is the value of an option, which errors then name.

    Raises
    ------
    UsageError
    """
    place = out.resolve()
    named = f"--out {out}" if on_command_line else str(out)
    if place.exists() and not place.is_dir():
        raise UsageError(f"{named}: a file stands there. Name a directory.")
    # It is replaced by a rename: the shell would stand in a directory that is gone.
    for words, kept in (("working", Path.cwd()), ("home", Path.home())):
        if kept.resolve().is_relative_to(place):
            raise UsageError(
                f"{named}: it is, or holds, the {words} directory, which cannot be replaced. "
                "Name a directory below it or beside it."
            )
    for source in map(Path.resolve, sources):
        if source.is_relative_to(place):
            raise UsageError(
                f"{named}: the source {str(source)!r} lies in it and would be lost. Name "
                "another directory."
            )
    if out.is_dir() and any(out.iterdir()) and not (out / mark).is_file() and not force:
        raise UsageError(
            f"{named}: the directory is not empty and holds no earlier "
            f"{'study' if mark == STUDY_MARK else 'result'} (no {mark}). Name another directory"
            f"{', or pass --force to replace everything in it' if on_command_line else ''}."
        )
    check_parent(out, "Name another directory.", named)


def check_parent(out: Path, advice: str, named: str | None = None) -> None:
    """Refuse a place where nothing can be created: a new result is renamed into its parent.

    Raises
    ------
    UsageError
    """
    named = named or f"--out {out}"
    parent = next(path for path in out.resolve().parents if path.exists())
    if not parent.is_dir():
        raise UsageError(f"{named}: {parent} is a file. {advice}")
    if not os.access(parent, os.W_OK):
        raise UsageError(f"{named}: {parent} is not writable. {advice}")


@contextmanager
def replacing_directory(out: Path) -> Iterator[Path]:
    """Give a directory to build in; at a clean end it takes the place of `out` as a whole.

    The directory lies beside `out`, so that the rename stays on one file system. On an
    error it is removed and `out` stays as it was.
    """
    # A link keeps pointing where it does: what stands there is replaced.
    out = out.resolve()
    with _parents_of(out):
        work = Path(tempfile.mkdtemp(prefix=f".{out.name}-", dir=out.parent))
        work.chmod(0o777 & ~_umask())
        try:
            yield work
            _swap(work, out)
        finally:
            shutil.rmtree(work, ignore_errors=True)


@contextmanager
def _parents_of(path: Path) -> Iterator[None]:
    """Create the directories above a path; on an error those are removed again."""
    absent = [parent for parent in path.parents if not parent.exists()]
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        yield
    except BaseException:
        with suppress(OSError):  # somebody else put something there
            for parent in absent:
                parent.rmdir()
        raise


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
    path = path.resolve()
    work = path.with_name(f".{path.name}-{os.getpid()}")
    with _parents_of(path):
        try:
            yield work
            work.replace(path)
        finally:
            work.unlink(missing_ok=True)


def _umask() -> int:
    value = os.umask(0)
    os.umask(value)
    return value
