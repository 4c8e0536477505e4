"""The sets on which figures are measured, made from a seed, block by block.

Covers: gauss-1, gauss-10, gauss-100, blobs, audience, smooth; any number of rows in bounded
memory. Does not cover: real tables. See also: README.md for what each set asks.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import zarr

BLOCK_ROWS = 65_536
"""Rows that are drawn at a time. The draw depends on it: changing it makes other sets."""


@dataclass(frozen=True)
class Spec:
    """What a set is: its number of columns and of planted (or asked) clusters."""

    n_features: int
    n_clusters: int


class Block(NamedTuple):
    """Rows (n, d) in float64 and their planted labels (n,), -1 where nothing is planted."""

    rows: np.ndarray
    labels: np.ndarray


SPECS = {
    "audience": Spec(20, 20),
    "blobs": Spec(20, 20),
    "gauss-1": Spec(15, 50),
    "gauss-10": Spec(15, 50),
    "gauss-100": Spec(15, 50),
    "smooth": Spec(10, 10),
}


def _generator(seed: int, stream: int) -> np.random.Generator:
    return np.random.Generator(np.random.Philox(key=[seed, stream]))


def _normal_clusters(
    rng: np.random.Generator, n_rows: int, centres: np.ndarray, spread: float
) -> Block:
    labels = rng.integers(0, len(centres), n_rows)
    return Block(centres[labels] + rng.normal(0.0, spread, (n_rows, centres.shape[1])), labels)


def _audience(seed: int, rng: np.random.Generator, n_rows: int) -> Block:
    spec = SPECS["audience"]
    shape = _generator(seed, 0)
    size = (spec.n_clusters, spec.n_features)
    centres = shape.normal(0.0, 1.2, size)
    spread = shape.lognormal(-0.5, 0.5, size)
    shares = (1.0 + np.arange(spec.n_clusters)) ** -0.8
    labels = rng.choice(spec.n_clusters, n_rows, p=shares / shares.sum())
    rows = centres[labels] + spread[labels] * rng.normal(0.0, 1.0, (n_rows, spec.n_features))
    skewed = rows[:, : spec.n_features // 2]
    skewed[...] = np.sign(skewed) * np.expm1(0.7 * np.abs(skewed))
    wild = rng.random(n_rows) < 0.01
    rows[wild] += 4.0 * rng.standard_t(2.0, (int(wild.sum()), spec.n_features))
    return Block(np.clip(rows, -200.0, 200.0), labels)


def blocks(name: str, n_rows: int, seed: int) -> Iterator[Block]:
    """Yield the rows of a set in blocks of `BLOCK_ROWS`.

    Parameters
    ----------
    name : str
        A key of `SPECS`.
    n_rows : int
        Rows in all. A shorter set is the beginning of a longer one, up to whole blocks.
    seed : int
        Decides the centres and the rows.

    Yields
    ------
    Block
    """
    spec = SPECS[name]
    shape = _generator(seed, 0)  # stream 0: the set; stream i + 1: its block i
    size = (spec.n_clusters, spec.n_features)
    for index, first in enumerate(range(0, n_rows, BLOCK_ROWS)):
        rng = _generator(seed, index + 1)
        length = min(BLOCK_ROWS, n_rows - first)
        if name == "audience":
            yield _audience(seed, rng, length)
        elif name == "blobs":
            centres = _generator(seed, 0).uniform(-10.0, 10.0, size)
            yield _normal_clusters(rng, length, centres, 3.0)
        elif name == "smooth":
            if index == 0:
                mixing = shape.normal(0.0, 1.0, (spec.n_features,) * 2) / np.sqrt(spec.n_features)
            rows = rng.normal(0.0, 1.0, (length, spec.n_features)) @ mixing.T
            yield Block(rows, np.full(length, -1))
        else:
            scale = float(name.removeprefix("gauss-"))
            centres = _generator(seed, 0).normal(0.0, scale, size)
            yield _normal_clusters(rng, length, centres, 1.0)


def make(name: str, n_rows: int, seed: int, dtype: str = "float32") -> Block:
    """Return a whole set in memory, rows in `dtype`; see `blocks`."""
    made = list(blocks(name, n_rows, seed))
    rows = np.concatenate([block.rows.astype(dtype) for block in made])
    return Block(rows, np.concatenate([block.labels for block in made]))


def write_store(
    path: Path, name: str, n_rows: int, seed: int, dtype: str = "float32"
) -> np.ndarray:
    """Write a set as a Zarr array of whole-block chunks.

    Returns
    -------
    ndarray of shape (n_clusters, n_features), float64
        Means of the planted clusters; no rows where nothing is planted.
    """
    spec = SPECS[name]
    array = zarr.create_array(
        store=str(path),
        shape=(n_rows, spec.n_features),
        chunks=(min(BLOCK_ROWS, n_rows), spec.n_features),
        dtype=dtype,
    )
    sums = np.zeros((spec.n_clusters, spec.n_features))
    counts = np.zeros(spec.n_clusters)
    first = 0
    for block in blocks(name, n_rows, seed):
        rows = block.rows.astype(dtype)
        array[first : first + len(rows)] = rows
        first += len(rows)
        planted = block.labels >= 0
        np.add.at(sums, block.labels[planted], rows[planted].astype(np.float64))
        counts += np.bincount(block.labels[planted], minlength=spec.n_clusters)
    return sums[counts > 0] / counts[counts > 0, None]
