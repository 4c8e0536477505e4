"""Stores of rows, as all benchmarks read them: written, read bare, and measured.

Covers: Zarr arrays with the codec that daskseg writes (Blosc, lz4, byte shuffle), in chunks of a
given size; the cost of centres on a store; a bare read; dropping the page cache.
Does not cover: what the rows are (see `sets`, `real`).
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import zarr
from zarr.codecs import BloscCodec, BloscShuffle

from benchmarks import real, sets

CHUNK_BYTES = 16 * 2**20
"""The size that daskseg itself gives to chunks."""
FEWEST_CHUNKS = 8
"""A small set is cut into so many, so that a store of one chunk flatters nobody."""
_DROP = Path("/proc/sys/vm/drop_caches")


@dataclass(frozen=True)
class Case:
    """Which rows are clustered into how many clusters.

    Attributes
    ----------
    set : str
        Of `sets.SPECS` or `real.TABLES`.
    n_rows, n_features, k : int
    seed : int
        Of the rows; 0 for real tables.
    dtype : str
    """

    set: str
    n_rows: int
    n_features: int
    k: int
    seed: int
    dtype: str

    @property
    def key(self) -> str:
        """Names the case in files of known costs."""
        return f"{self.set} n={self.n_rows} k={self.k} seed={self.seed} {self.dtype}"

    @property
    def data_bytes(self) -> int:
        """Decoded size."""
        return self.n_rows * self.n_features * np.dtype(self.dtype).itemsize

    def facts(self) -> dict[str, object]:
        """Return what a record says about the rows."""
        return {**asdict(self), "data_bytes": self.data_bytes}


@dataclass(frozen=True)
class Written:
    """A store that was written.

    Attributes
    ----------
    path : Path
    case : Case
    planted : ndarray of shape (n_planted, n_features), float64
        Means of the planted clusters; no rows where nothing is planted.
    energy : float
        Of `energy_of` all rows: tells whether a cost known from before is of these rows.
    """

    path: Path
    case: Case
    planted: np.ndarray
    energy: float

    def facts(self) -> dict[str, object]:
        """Return what a record says about the store."""
        return {**self.case.facts(), **store_facts(self.path)}


def names() -> list[str]:
    """Return the names of all sets."""
    return sorted([*sets.SPECS, *real.TABLES])


def chunk_rows(n_rows: int, row_bytes: int, chunk_bytes: int = CHUNK_BYTES) -> int:
    """Return the height of a chunk: of about so many bytes, but at least a few per store."""
    wanted = min(chunk_bytes // row_bytes, -(-n_rows // FEWEST_CHUNKS))
    return max(1, min(n_rows, max(256, wanted // 256 * 256)))


def energy_of(rows: np.ndarray, first_row: int = 0) -> float:
    """Return the sum of squares of rows that weigh 1 to 7 in turn.

    Without the weights all standardised tables of a shape would look alike.
    """
    weights = 1.0 + (first_row + np.arange(len(rows))) % 7
    wide = rows.astype(np.float64)
    return float(np.einsum("i,ij,ij->", weights, wide, wide))


def _create(path: Path, case: Case, chunk_bytes: int) -> zarr.Array:
    row_bytes = case.n_features * np.dtype(case.dtype).itemsize
    height = chunk_rows(case.n_rows, row_bytes, chunk_bytes)
    return zarr.create_array(
        store=str(path),
        shape=(case.n_rows, case.n_features),
        chunks=(height, case.n_features),
        dtype=case.dtype,
        compressors=[BloscCodec(cname="lz4", clevel=5, shuffle=BloscShuffle.shuffle)],
    )


def write(
    path: Path,
    name: str,
    *,
    n_rows: int | None = None,
    k: int | None = None,
    seed: int = 0,
    dtype: str | None = None,
    chunk_bytes: int = CHUNK_BYTES,
    folder: str | Path | None = None,
) -> Written:
    """Write a set as a Zarr array.

    Parameters
    ----------
    path : Path
        Must not exist.
    name : str
        Of `names()`.
    n_rows, k : int, optional
        By default those of the set. A real table has the rows it has.
    seed : int
    dtype : str, optional
        float32 for made sets, float64 for real tables.
    chunk_bytes : int
        Decoded size of a chunk.
    folder : str or Path, optional
        Of the real tables.

    Raises
    ------
    real.MissingTable
        If a real table is not there.
    """
    if name in real.TABLES:
        return _write_real(path, name, k, dtype or "float64", chunk_bytes, folder)
    spec = sets.SPECS[name]
    rows = n_rows or spec.n_rows
    case = Case(name, rows, spec.n_features, k or spec.n_clusters, seed, dtype or "float32")
    return _write_made(path, case, chunk_bytes)


def _write_real(
    path: Path,
    name: str,
    k: int | None,
    dtype: str,
    chunk_bytes: int,
    folder: str | Path | None,
) -> Written:
    rows = real.read(name, folder).astype(dtype)
    case = Case(name, *rows.shape, k or real.TABLES[name].n_clusters, 0, dtype)
    _create(path, case, chunk_bytes)[:] = rows
    planted = np.empty((0, case.n_features))
    return Written(path, case, planted, energy_of(rows))


class _Drawn(NamedTuple):
    """Rows of one block in the type of the case, and what is summed up of them."""

    rows: np.ndarray
    energy: float
    sums: np.ndarray
    counts: np.ndarray


def _draw(case: Case, index: int) -> _Drawn:
    length = min(sets.BLOCK_ROWS, case.n_rows - index * sets.BLOCK_ROWS)
    made = sets.block(case.set, index, length, case.seed)
    rows = made.rows.astype(case.dtype)
    wide = rows.astype(np.float64)
    sums = np.zeros((sets.SPECS[case.set].n_clusters, case.n_features))
    counts = np.zeros(len(sums))
    for label in np.unique(made.labels[made.labels >= 0]):
        members = wide[made.labels == label]
        sums[label], counts[label] = members.sum(axis=0), len(members)
    return _Drawn(rows, energy_of(rows, index * sets.BLOCK_ROWS), sums, counts)


def _drawn(case: Case) -> Iterator[_Drawn]:
    """Yield the blocks of a made set in order; as many as there are cores are drawn at once."""
    n_threads = os.cpu_count() or 1
    n_blocks = -(-case.n_rows // sets.BLOCK_ROWS)
    with ThreadPoolExecutor(n_threads) as pool:
        for start in range(0, n_blocks, n_threads):
            indices = range(start, min(start + n_threads, n_blocks))
            yield from pool.map(lambda index: _draw(case, index), indices)


def _write_made(path: Path, case: Case, chunk_bytes: int) -> Written:
    """Draw blocks and cut them into chunks, each of which is written once."""
    array = _create(path, case, chunk_bytes)
    height, first, energy = array.chunks[0], 0, 0.0
    sums = np.zeros((sets.SPECS[case.set].n_clusters, case.n_features))
    counts = np.zeros(len(sums))
    held: list[np.ndarray] = []
    for block in _drawn(case):
        energy += block.energy
        sums += block.sums
        counts += block.counts
        held.append(block.rows)
        n_held = sum(map(len, held))
        ready = n_held if first + n_held == case.n_rows else n_held // height * height
        if ready:
            joined = np.concatenate(held)
            array[first : first + ready] = joined[:ready]
            first, held = first + ready, [joined[ready:].copy()]
    is_planted = counts > 0
    return Written(path, case, sums[is_planted] / counts[is_planted, None], energy)


def store_facts(path: Path) -> dict[str, object]:
    """Return chunks, codec and size on disk of a store."""
    array = zarr.open_array(str(path), mode="r")
    files = [found for found in path.rglob("*") if found.is_file()]
    return {
        "chunk_rows": int(array.chunks[0]),
        "n_chunks": -(-array.shape[0] // array.chunks[0]),
        "codec": "blosc lz4 5 shuffle",
        "disk_bytes": sum(found.stat().st_size for found in files),
    }


def bare_read_s(path: Path | str, n_threads: int | None = None) -> float:
    """Read every chunk once with so many threads, drop the rows, and return the seconds."""
    array = zarr.open_array(str(path), mode="r")
    step = array.chunks[0]

    def read(first: int) -> None:
        array[first : first + step]

    start = time.perf_counter()
    with ThreadPoolExecutor(n_threads or os.cpu_count()) as pool:
        list(pool.map(read, range(0, array.shape[0], step)))
    return time.perf_counter() - start


def sse_of(path: Path | str, centres: np.ndarray) -> float:
    """Return the cost of centres on all rows of a store, in float64."""
    array = zarr.open_array(str(path), mode="r")
    step = min(array.chunks[0], sets.BLOCK_ROWS)
    wide = centres.astype(np.float64)
    # Moved to the mean of the centres, so that the expanded square keeps its digits.
    origin = wide.mean(axis=0)
    moved = wide - origin
    norms = (moved**2).sum(axis=1)
    total = 0.0
    for first in range(0, array.shape[0], array.chunks[0]):
        chunk = np.asarray(array[first : first + array.chunks[0]])
        for start in range(0, len(chunk), step):
            rows = chunk[start : start + step].astype(np.float64)
            nearest = np.argmin(norms - 2.0 * (rows - origin) @ moved.T, axis=1)
            rows -= wide[nearest]
            total += float(np.einsum("ij,ij->", rows, rows))
    return total


def drop_page_cache() -> bool:
    """Drop the page cache of the machine, if this process may; say whether it did."""
    os.sync()
    try:
        _DROP.write_text("3", encoding="ascii")
    except OSError:
        return False
    return True
