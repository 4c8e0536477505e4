"""Rows and frames cut into blocks that are loaded inside tasks.

Covers: one description for NumPy arrays, dask arrays and frames, Zarr stores and files, with
pure steps applied after loading. Does not cover: running anything (see `engine.passes`) or
telling kinds of input apart (see `inputs`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
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


class Task(NamedTuple):
    """One block as the door sees it: how to load its payload, and about how large it is."""

    load: Load
    size_bytes: int


def _apply_steps(load: Load, steps: tuple[Load, ...]) -> Any:
    values = load.func(*load.args)
    for step in steps:
        values = step.func(values, *step.args)
    return values


def _load_rows(
    func: Callable[..., Any],
    args: Sequence[Any],
    steps: tuple[Load, ...],
    first_row: int,
    weights: Any,
) -> Rows:
    return Rows(_apply_steps(Load(func, tuple(args)), steps), first_row, weights)


def _load_frame(func: Callable[..., Any], args: Sequence[Any], steps: tuple[Load, ...]) -> Any:
    return _apply_steps(Load(func, tuple(args)), steps)


def _as_is(values: Any) -> Any:
    return values


def _take_columns(values: NDArray[Any], positions: list[int]) -> NDArray[Any]:
    return values[:, positions]


def _join_columns(parts: list[NDArray[Any]]) -> NDArray[Any]:
    """Join the column chunks of one block of rows; a lone one is passed on."""
    return np.asarray(parts[0]) if len(parts) == 1 else np.concatenate(parts, axis=1)


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
        Pure functions ``func(values, *args) -> values``, applied in order after loading.
    """

    loads: tuple[Load, ...]
    lengths: tuple[int, ...]
    n_features: int
    dtype: np.dtype[Any]
    columns: tuple[str, ...] | None = None
    in_memory: bool = False
    weights: tuple[Any, ...] | None = None
    steps: tuple[Load, ...] = ()

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
            Task(
                Load(_load_rows, (load.func, list(load.args), self.steps, first_row, weight)),
                max(length, 0) * row_bytes,
            )
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
            loads=tuple(Load(_join_columns, (list(row),)) for row in delayed),
            lengths=tuple(-1 if np.isnan(height) else int(height) for height in heights),
            n_features=int(array.shape[1]),
            dtype=array.dtype,
            columns=columns,
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
            Task(Load(_load_frame, (load.func, list(load.args), self.steps)), size)
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
