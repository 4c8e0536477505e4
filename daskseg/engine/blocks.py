"""Rows and frames cut into blocks that are loaded inside tasks.

Covers: one description for NumPy arrays, dask arrays and frames, Zarr stores and files, with
pure steps applied after loading; tall blocks handed out in slices after one read. Does not
cover: running anything (see `engine.passes`) or telling kinds of input apart (see `inputs`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate
from typing import TYPE_CHECKING, Any, NamedTuple, Self

import numpy as np

if TYPE_CHECKING:
    import dask.array as da
    import dask.dataframe as dd
    import pandas as pd
    from numpy.typing import NDArray

# Arbitrary: 16 MiB of decoded values keeps the scratch of a task small and its overhead hidden.
BLOCK_BYTES = 16 * 2**20
MAX_BLOCK_ROWS = 2**20
# Arbitrary: a chunk of dask and a copy made on its way, such as that of a slice or a type.
_DASK_COPIES = 2.0
# Taken for a partition of unknown size when partitions are grouped into tasks.
UNKNOWN_BYTES = 8 * 2**20


class Rows(NamedTuple):
    """One block of rows, as a block function receives it.

    Attributes
    ----------
    values : ndarray of shape (n_rows, n_features)
    first_row : int
        Global number of the first row.
    weights : ndarray of shape (n_rows,), float64, or None
    """

    values: NDArray[Any]
    first_row: int
    weights: NDArray[np.float64] | None = None


class Load(NamedTuple):
    """A deferred call; `args` may hold dask collections, which the scheduler resolves."""

    func: Callable[..., Any]
    args: tuple[Any, ...]


class Decoding(NamedTuple):
    """What it takes to bring rows of a store into memory.

    Attributes
    ----------
    row_bytes : int
        Decoded bytes of a row, before any step.
    copies : float
        Peak memory of reading a block, as a multiple of the decoded block.
    remedy : str
        The command that writes the rows with smaller chunks; ``{rows}`` stands for their height.
    """

    row_bytes: int
    copies: float
    remedy: str = ""


class Task(NamedTuple):
    """One block as the door sees it.

    Attributes
    ----------
    source : Load
        Reads the block, before any step.
    steps : tuple of Load
        The same for all tasks of a pass.
    size_bytes : int
        About the size of the payload; 0 if unknown.
    first_row : int or None
        Global number of the first row; None if the payload is a frame.
    weights : object
        Of the rows, or None.
    """

    source: Load
    steps: tuple[Load, ...]
    size_bytes: int
    first_row: int | None = None
    weights: Any = None

    @property
    def load(self) -> Load:
        """A call that returns the whole payload with all steps applied."""
        return Load(load_whole, (*self.call, self.steps))

    @property
    def call(self) -> tuple[Callable[..., Any], list[Any], int | None, Any]:
        """The first arguments of `load_whole` and `load_slices`."""
        return self.source.func, list(self.source.args), self.first_row, self.weights


class _Read(NamedTuple):
    """A block as it was read: its column chunks side by side."""

    parts: list[NDArray[Any]]
    n_rows: int
    row_bytes: int

    def cut(self, start: int, stop: int) -> NDArray[Any]:
        return join_columns([part[start:stop] for part in self.parts])


def _apply_steps(values: Any, steps: tuple[Load, ...]) -> Any:
    for step in steps:
        values = step.func(values, *step.args)
    return values


def _as_is(values: Any) -> Any:
    return values


def _take_columns(values: NDArray[Any], positions: list[int]) -> NDArray[Any]:
    return values[:, positions]


def join_columns(parts: list[NDArray[Any]]) -> NDArray[Any]:
    """Join the column chunks of one block of rows; a lone one is passed on."""
    return np.asarray(parts[0]) if len(parts) == 1 else np.concatenate(parts, axis=1)


def _read(func: Callable[..., Any], args: Sequence[Any]) -> _Read:
    # Column chunks of dask are joined slice by slice, so that the whole is never held twice.
    parts = [np.asarray(part) for part in args[0]] if func is join_columns else [func(*args)]
    n_rows = len(parts[0])
    return _Read(parts, n_rows, sum(part.nbytes for part in parts) // max(1, n_rows))


def load_slices(
    func: Callable[..., Any],
    args: Sequence[Any],
    first_row: int | None,
    weights: Any,
    steps: tuple[Load, ...] = (),
    height: int | None = None,
) -> Iterator[Any]:
    """Read a block once and hand it out in slices of at most `height` rows.

    Steps are applied to each slice, so that beside the block as it was read only one slice is
    held. Without a height a slice has about `BLOCK_BYTES`. A block of no rows is one slice; a
    frame (`first_row` is None) is handed out whole.

    Yields
    ------
    Rows or DataFrame
    """
    if first_row is None:
        yield load_whole(func, args, first_row, weights, steps)
        return
    block = _read(func, args)
    step = height or block_rows_for(1, block.row_bytes)
    for start in range(0, max(block.n_rows, 1), step):
        values = _apply_steps(block.cut(start, start + step), steps)
        heavy = None if weights is None else weights[start : start + step]
        yield Rows(values, first_row + start, heavy)


def load_whole(
    func: Callable[..., Any],
    args: Sequence[Any],
    first_row: int | None,
    weights: Any,
    steps: tuple[Load, ...] = (),
    height: int | None = None,
) -> Any:
    """Read a block and apply the steps to all of it.

    Steps on rows are applied slice by slice, as in `load_slices`, into one array.

    Returns
    -------
    Rows, or DataFrame where `first_row` is None
    """
    if first_row is None:
        return _apply_steps(func(*args), steps)
    block = _read(func, args)
    height = height or block_rows_for(1, block.row_bytes)
    if not steps or block.n_rows <= height:
        values = _apply_steps(block.cut(0, block.n_rows), steps)
        return Rows(values, first_row, weights)
    first = _apply_steps(block.cut(0, height), steps)
    joined = np.empty((block.n_rows, *first.shape[1:]), first.dtype)
    joined[:height] = first
    for start in range(height, block.n_rows, height):
        joined[start : start + height] = _apply_steps(block.cut(start, start + height), steps)
    return Rows(joined, first_row, weights)


def block_rows_for(n_features: int, itemsize: int = 8) -> int:
    """Return the height of a block: about 16 MiB, a multiple of 256, at most 2**20 rows."""
    rows = BLOCK_BYTES // max(1, n_features * itemsize)
    return max(256, min(MAX_BLOCK_ROWS, rows // 256 * 256))


@dataclass(frozen=True)
class Blocks:
    """Rows of a matrix, cut into blocks that are loaded inside tasks.

    Attributes
    ----------
    loads : tuple of Load
        One per block; each returns an array of shape (rows of the block, n_features).
    lengths : tuple of int
        Rows per block; -1 where unknown (see `engine.passes.measure`).
    n_features : int
    dtype : numpy dtype of the values as they come out of `steps`
    columns : tuple of str or None
    in_memory : bool
        The rows live in this process: work on them never leaves it.
    weights : tuple or None
        One array (or dask object) per block.
    steps : tuple of Load
        Pure functions ``func(values, *args) -> values`` of each row on its own, applied in order
        after loading. Their arguments are plain values.
    decoding : Decoding or None
        Of rows that lie in a store.
    """

    loads: tuple[Load, ...]
    lengths: tuple[int, ...]
    n_features: int
    dtype: np.dtype[Any]
    columns: tuple[str, ...] | None = None
    in_memory: bool = False
    weights: tuple[Any, ...] | None = None
    steps: tuple[Load, ...] = ()
    decoding: Decoding | None = None

    @property
    def is_measured(self) -> bool:
        """Whether the number of rows of every block is known."""
        return all(length >= 0 for length in self.lengths)

    @property
    def n_rows(self) -> int:
        """Number of rows; the blocks must be measured."""
        if not self.is_measured:
            message = "the number of rows is unknown: measure the blocks first"
            raise ValueError(message)
        return sum(self.lengths)

    @property
    def offsets(self) -> tuple[int, ...]:
        """Global number of the first row of each block."""
        return (0, *accumulate(self.lengths))[:-1]

    def map(
        self,
        func: Callable[..., Any],
        *args: Any,
        n_features: int | None = None,
        columns: tuple[str, ...] | None = None,
        dtype: Any = None,
    ) -> Self:
        """Apply a pure function to the values of every block, inside the task that loads it."""
        return replace(
            self,
            steps=(*self.steps, Load(func, args)),
            n_features=self.n_features if n_features is None else n_features,
            columns=self.columns if n_features is None and columns is None else columns,
            dtype=self.dtype if dtype is None else np.dtype(dtype),
        )

    def select(self, names: Sequence[str]) -> Self:
        """Take some columns by name, in the order given."""
        if self.columns is None:
            message = f"the columns have no names, so {list(names)} cannot be selected"
            raise ValueError(message)
        chosen = tuple(names)
        if chosen == self.columns:
            return self
        positions = [self.columns.index(name) for name in chosen]
        return self.map(_take_columns, positions, n_features=len(chosen), columns=chosen)

    def with_weights(self, weights: NDArray[np.float64]) -> Self:
        """Attach one weight per row, cut like the rows."""
        cuts = [weights[o : o + n] for o, n in zip(self.offsets, self.lengths, strict=True)]
        return replace(self, weights=tuple(cuts))

    def tasks(self) -> list[Task]:
        """Return what the door runs: one task per block whose payload is `Rows`."""
        offsets = self.offsets if self.is_measured else (0,) * len(self.loads)
        weights = self.weights or (None,) * len(self.loads)
        row_bytes = self.n_features * self.dtype.itemsize
        return [
            Task(load, self.steps, max(length, 0) * row_bytes, first_row, weight)
            for load, length, first_row, weight in zip(
                self.loads, self.lengths, offsets, weights, strict=True
            )
        ]

    @classmethod
    def from_array(
        cls,
        values: NDArray[Any],
        *,
        columns: tuple[str, ...] | None = None,
        block_rows: int | None = None,
    ) -> Self:
        """Cut an array in memory into blocks (views, no copy)."""
        n_rows, n_features = values.shape
        step = block_rows or block_rows_for(n_features, values.dtype.itemsize)
        starts = range(0, max(n_rows, 1), step)
        return cls(
            loads=tuple(Load(_as_is, (values[start : start + step],)) for start in starts),
            lengths=tuple(len(values[start : start + step]) for start in starts),
            n_features=n_features,
            dtype=values.dtype,
            columns=columns,
            in_memory=True,
        )

    @classmethod
    def from_dask_array(cls, array: da.Array, *, columns: tuple[str, ...] | None = None) -> Self:
        """Take a dask array: a block is a row of its chunks, joined inside the task.

        Unknown row counts are kept as -1; empty chunks stay, as blocks of no rows.
        """
        delayed = array.to_delayed()
        heights = array.chunks[0]
        return cls(
            loads=tuple(Load(join_columns, (list(row),)) for row in delayed),
            lengths=tuple(-1 if np.isnan(height) else int(height) for height in heights),
            n_features=int(array.shape[1]),
            dtype=array.dtype,
            columns=columns,
            decoding=Decoding(
                int(array.shape[1]) * array.dtype.itemsize, _DASK_COPIES, "X.rechunk(({rows}, -1))"
            ),
        )


@dataclass(frozen=True)
class FrameBlocks:
    """Blocks whose payload is a pandas DataFrame.

    Attributes
    ----------
    loads : tuple of Load
    sizes_bytes : tuple of int
        Rough size of each payload.
    steps : tuple of Load
        Pure functions ``func(frame, *args) -> frame``, applied in order after loading.
    in_memory : bool
    """

    loads: tuple[Load, ...]
    sizes_bytes: tuple[int, ...]
    steps: tuple[Load, ...] = ()
    in_memory: bool = False

    def map(self, func: Callable[..., Any], *args: Any) -> Self:
        """Apply a pure function to every frame, inside the task that loads it."""
        return replace(self, steps=(*self.steps, Load(func, args)))

    def tasks(self) -> list[Task]:
        """Return what the door runs: one task per block whose payload is a DataFrame."""
        return [
            Task(load, self.steps, size)
            for load, size in zip(self.loads, self.sizes_bytes, strict=True)
        ]

    @classmethod
    def from_dask(cls, frame: dd.DataFrame) -> Self:
        """Take the partitions of a dask DataFrame."""
        loads = tuple(Load(_as_is, (part,)) for part in frame.to_delayed())
        return cls(loads, (UNKNOWN_BYTES,) * len(loads))

    @classmethod
    def from_frame(cls, frame: pd.DataFrame, block_rows: int = MAX_BLOCK_ROWS) -> Self:
        """Cut a frame in memory into blocks."""
        starts = range(0, max(len(frame), 1), block_rows)
        loads = tuple(Load(_as_is, (frame.iloc[s : s + block_rows],)) for s in starts)
        return cls(loads, (UNKNOWN_BYTES,) * len(loads), in_memory=True)
