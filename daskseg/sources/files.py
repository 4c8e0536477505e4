"""The files of a source: finding and opening them.

Covers: paths, globs, folders, lists and object-store URLs; compression told by the ending.
Does not cover: what is in the files (see `sources.plan`).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import fsspec
import pyarrow as pa
from fsspec.core import url_to_fs

from daskseg.errors import UsageError

COMPRESSIONS = {".gz": "gzip", ".zst": "zstd", ".zstd": "zstd", ".bz2": "bz2", ".xz": "xz"}


class SourceFile(NamedTuple):
    """A file and its size in bytes."""

    path: str
    size: int


def compression_of(path: str) -> str | None:
    """Return the compression that the ending of a file name says, or None."""
    return COMPRESSIONS.get(Path(path).suffix.lower())


def ending_of(path: str) -> str:
    """Return the ending of a file name without that of its compression, in lower case."""
    name = Path(path)
    return Path(name.stem).suffix.lower() if compression_of(path) else name.suffix.lower()


def _is_hidden(path: str, root: str) -> bool:
    below = path[len(root) :].strip("/").split("/")
    return any(part.startswith(("_", ".")) for part in below)


def _find(source: str) -> list[SourceFile]:
    """Return the files of one path, glob, folder or URL, in alphabetical order."""
    filesystem, path = url_to_fs(source)
    if any(sign in source for sign in "*?[") and not filesystem.exists(path):
        found = filesystem.glob(path, detail=True)
        files = [
            _entry(filesystem, name, facts)
            for name, facts in found.items()
            if facts["type"] == "file" and not Path(name).name.startswith(".")
        ]
        if not files:
            raise UsageError(f"no file fits the pattern {source!r}.")
        return sorted(files)
    if not filesystem.exists(path):
        raise UsageError(f"there is no file or folder {source!r}.")
    if not filesystem.isdir(path):
        return [_entry(filesystem, path, filesystem.info(path))]
    found = filesystem.find(path, detail=True)
    if any(Path(name).name in ("zarr.json", ".zgroup", ".zarray") for name in found):
        raise UsageError(
            f"{source!r} is a Zarr store or holds one: a ledger must be CSV, NDJSON or Parquet. "
            "For a table with one row per customer use 'daskseg segment'."
        )
    files = [
        _entry(filesystem, name, facts)
        for name, facts in found.items()
        if not _is_hidden(name, path)
    ]
    if not files:
        raise UsageError(f"the folder {source!r} holds no files.")
    return sorted(files)


def _entry(filesystem: Any, name: str, facts: dict[str, Any]) -> SourceFile:
    protocol = (
        filesystem.protocol if isinstance(filesystem.protocol, str) else filesystem.protocol[0]
    )
    path = name if protocol in ("file", "local") else filesystem.unstrip_protocol(name)
    return SourceFile(path, int(facts["size"] or 0))


def open_bytes(path: str) -> Any:
    """Open a file for reading bytes, decompressed if its ending says so."""
    raw = fsspec.open(path, "rb").open()
    compression = compression_of(path)
    if compression is None:
        return raw
    if compression == "xz":
        return fsspec.open(path, "rb", compression="xz").open()
    return pa.CompressedInputStream(pa.PythonFile(raw, mode="r"), compression)


def find_files(source: str | Path | Sequence[str | Path]) -> list[SourceFile]:
    """Return the files of a source, each once, with their sizes.

    Raises
    ------
    UsageError
        No such path, nothing fits a glob, or an empty folder.
    """
    sources = [source] if isinstance(source, str | Path) else list(source)
    if not sources:
        raise UsageError("the source is an empty list: name at least one file.")
    return list(dict.fromkeys(file for one in sources for file in _find(str(one))))
