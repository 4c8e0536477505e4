"""Checkpoints of fits: which fit a file belongs to, and its life.

Covers: opening the journal of a fit and deleting it at the end; what tells the data of one fit
from those of another without reading them. Does not cover: what is on file (see
`engine.journal`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from os import PathLike
from pathlib import Path
from typing import Any

import dask.array as da
import dask.dataframe as dd
from dask.base import tokenize

from daskseg.engine import journal
from daskseg.engine.blocks import Blocks
from daskseg.engine.journal import Journal
from daskseg.errors import UsageError


def check_checkpoint(value: Any) -> None:
    """Refuse what is neither None nor a path."""
    if value is not None and not isinstance(value, (str, PathLike)):
        raise UsageError(f"checkpoint={value!r} is neither None nor the path of a file.")


@contextmanager
def checkpointed(path: Any, fit: Mapping[str, str]) -> Iterator[Journal]:
    """Keep a fit on file until it is done.

    Parameters
    ----------
    path : str or path
    fit : mapping of str to str
        As for `engine.journal.keeping`.

    Notes
    -----
    The file is deleted when the ``with`` block ends, and stays when it fails.
    """
    with journal.keeping(Path(path), fit) as book:
        yield book
        book.delete()


def identity(X: Any, blocks: Blocks, sample_weight: Any = None) -> dict[str, str]:
    """Say what tells these data from others, without a read of lazy ones.

    Parameters
    ----------
    X : rows of any kind that daskseg takes
    blocks : Blocks
        Made of them.
    sample_weight : array-like or dask Array, optional

    Returns
    -------
    dict of str to str

    Notes
    -----
    Rows in memory are told by their content. Stores and files on a file system that is seen
    from here are told by names, sizes and times of all their files, and all other lazy rows by
    the name that dask gives them.
    """
    n_rows = f"{blocks.n_rows:,}" if blocks.is_measured else "unknown"
    is_weighted = sample_weight is not None or blocks.weights is not None
    return {
        "the number of rows": n_rows,
        "the number of features": str(blocks.n_features),
        "the type of the values": str(blocks.dtype),
        "the cut into blocks": tokenize(blocks.lengths),
        "the state of the data (content, files or name in dask)": _token(X, blocks),
        "sample_weight": tokenize(sample_weight, blocks.weights) if is_weighted else "None",
    }


def _token(X: Any, blocks: Blocks) -> str:
    if isinstance(X, dd.DataFrame):
        return _frame_token(X.expr)
    if isinstance(X, da.Array):
        # Dask puts what an array is read from into layers of this name.
        named = [layer for name, layer in X.dask.layers.items() if name.startswith("original-")]
        return tokenize(X.name, _files(_place(one) for layer in named for one in layer.values()))
    if type(X).__module__.partition(".")[0] == "zarr":
        return tokenize(X, _files([_place(X)]))
    paths = {arg for load in blocks.loads for arg in load.args if isinstance(arg, str)}
    return tokenize(blocks.loads, blocks.steps, _files(paths))


def _place(array: Any) -> str | None:
    """Return the path of an array of Zarr, if it has one."""
    store = getattr(array, "store", None)
    root = getattr(store, "root", None) or getattr(store, "path", None)
    return None if root is None else f"{root}/{getattr(array, 'path', '')}"


def _files(places: Iterable[str | None]) -> list[tuple[str, int, int]]:
    """Look at all files below some places: name, bytes, and time of the last change."""
    found = []
    for place in sorted({place for place in places if place}):
        root = Path(place)
        for path in sorted(root.rglob("*")) if root.is_dir() else [root]:
            if path.is_file():
                state = path.stat()
                found.append((str(path.relative_to(root)), state.st_size, state.st_mtime_ns))
    return found


def _frame_token(expression: Any) -> str:
    """Tell a dask DataFrame by what it is made of.

    The name of one that reads Parquet differs in every process, since it tells apart objects
    that hold what was found out about the files; a checksum of the files does not.
    """
    names = getattr(expression, "_parameters", [])
    is_reader = hasattr(expression, "checksum")
    parts = [expression.checksum] if is_reader else []
    for number, operand in enumerate(expression.operands):
        if is_reader and number < len(names) and names[number].endswith("_cache"):
            continue
        is_inner = hasattr(operand, "operands")
        parts.append(_frame_token(operand) if is_inner else tokenize(operand))
    return tokenize(type(expression).__qualname__, parts)
