"""The sets on which figures are measured, made from a seed, block by block.

Covers: gauss-1, gauss-10, gauss-100, blobs, audience, their 50-column kin and smooth; any number
of rows in bounded memory. Does not cover: real tables (see `real`) and writing (see `stores`).
See also: README.md for what each set asks.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

BLOCK_ROWS = 65_536
"""Rows that are drawn at a time. The draw depends on it: changing it makes other sets."""


@dataclass(frozen=True)
class Spec:
    """What a set is: its columns, its planted (or asked) clusters, its rows unless told."""

    n_features: int
    n_clusters: int
    n_rows: int


class Block(NamedTuple):
    """Rows (n, d) in float64 and their planted labels (n,), -1 where nothing is planted."""

    rows: np.ndarray
    labels: np.ndarray


SPECS = {
    "audience": Spec(20, 20, 300_000),
    "audience-50": Spec(50, 20, 300_000),
    "blobs": Spec(20, 20, 300_000),
    "blobs-50": Spec(50, 20, 300_000),
    "gauss-1": Spec(15, 50, 10_000),
    "gauss-10": Spec(15, 50, 10_000),
    "gauss-100": Spec(15, 50, 10_000),
    "smooth": Spec(10, 10, 300_000),
}


def _generator(seed: int, stream: int) -> np.random.Generator:
    return np.random.Generator(np.random.Philox(key=[seed, stream]))


def _normal_clusters(
    rng: np.random.Generator, n_rows: int, centres: np.ndarray, spread: float
) -> Block:
    labels = rng.integers(0, len(centres), n_rows)
    return Block(centres[labels] + rng.normal(0.0, spread, (n_rows, centres.shape[1])), labels)


def _audience(spec: Spec, shape: np.random.Generator, rng: np.random.Generator, n: int) -> Block:
    size = (spec.n_clusters, spec.n_features)
    centres = shape.normal(0.0, 1.2, size)
    spread = shape.lognormal(-0.5, 0.5, size)
    shares = (1.0 + np.arange(spec.n_clusters)) ** -0.8
    labels = rng.choice(spec.n_clusters, n, p=shares / shares.sum())
    rows = centres[labels] + spread[labels] * rng.normal(0.0, 1.0, (n, spec.n_features))
    skewed = rows[:, : spec.n_features // 2]
    skewed[...] = np.sign(skewed) * np.expm1(0.7 * np.abs(skewed))
    wild = rng.random(n) < 0.01
    rows[wild] += 4.0 * rng.standard_t(2.0, (int(wild.sum()), spec.n_features))
    return Block(np.clip(rows, -200.0, 200.0), labels)


def block(name: str, index: int, n_rows: int, seed: int) -> Block:
    """Return `n_rows` rows (at most `BLOCK_ROWS`) of the block `index` of a set.

    Parameters
    ----------
    name : str
        A key of `SPECS`.
    index, n_rows : int
    seed : int
        Decides the centres and the rows.
    """
    spec = SPECS[name]
    kind = name.partition("-")[0]
    size = (spec.n_clusters, spec.n_features)
    # Stream 0: the set; stream i + 1: its block i.
    shape, rng = _generator(seed, 0), _generator(seed, index + 1)
    if kind == "audience":
        return _audience(spec, shape, rng, n_rows)
    if kind == "blobs":
        return _normal_clusters(rng, n_rows, shape.uniform(-10.0, 10.0, size), 3.0)
    if kind == "smooth":
        mixing = shape.normal(0.0, 1.0, (spec.n_features,) * 2) / np.sqrt(spec.n_features)
        rows = rng.normal(0.0, 1.0, (n_rows, spec.n_features)) @ mixing.T
        return Block(rows, np.full(n_rows, -1))
    scale = float(name.removeprefix("gauss-"))
    return _normal_clusters(rng, n_rows, shape.normal(0.0, scale, size), 1.0)


def blocks(name: str, n_rows: int, seed: int) -> Iterator[Block]:
    """Yield the rows of a set in blocks of `BLOCK_ROWS`; see `block`.

    A shorter set is the beginning of a longer one, up to whole blocks.
    """
    for index, first in enumerate(range(0, n_rows, BLOCK_ROWS)):
        yield block(name, index, min(BLOCK_ROWS, n_rows - first), seed)


def make(name: str, n_rows: int, seed: int, dtype: str = "float32") -> Block:
    """Return a whole set in memory, rows in `dtype`; see `blocks`."""
    made = list(blocks(name, n_rows, seed))
    rows = np.concatenate([block.rows.astype(dtype) for block in made])
    return Block(rows, np.concatenate([block.labels for block in made]))
