"""Uniform samples of the rows of a block, each row as likely as any other.

Covers: several samples at once, merged by the least of random numbers that depend on the seed,
the sample and the global row number alone. Does not cover: weighted samples (see
`kernels.sample`), or samples within groups (see `kernels.strata`).
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from daskseg.kernels import rng
from daskseg.kernels.compiling import compiled

Floats = NDArray[np.float64]


class UniformPart(NamedTuple):
    """Rows with small random numbers; merge with `merge`.

    Attributes
    ----------
    chance : ndarray of shape (n,), float64
    rows : ndarray of shape (n,), int64
        Global row numbers.
    values : ndarray of shape (n, n_features), of the dtype of the rows
    """

    chance: Floats
    rows: NDArray[np.int64]
    values: NDArray[Any]


@compiled()
def _draw(
    n_rows: int, first_row: int, seed: Any, purpose: int, ceiling: float, chance: Any, found: Any
) -> int:  # pragma: no cover - compiled
    n_found = 0
    for i in range(n_rows):
        row = first_row + i
        number = rng.uniform_at(seed, purpose, 0, row >> 32, row & 0xFFFFFFFF)
        if number <= ceiling:
            chance[n_found] = number
            found[n_found] = i
            n_found += 1
    return n_found


def draw(
    values: NDArray[Any], first_row: int, key: tuple[int, int], ceiling: float, n_wanted: int
) -> UniformPart:
    """Draw from one block.

    Parameters
    ----------
    values : ndarray of shape (n_rows, n_features), float32 or float64
    first_row : int
    key : tuple of int
        Seed and purpose of the random numbers, as for `rng.uniform`.
    ceiling : float
        Rows with larger numbers are left out; 1 takes them all.
    n_wanted : int
        Rows of the sample.
    """
    chance, found = np.empty(len(values)), np.empty(len(values), np.int64)
    n_found = _draw(len(values), first_row, rng.key_of(key[0]), key[1], ceiling, chance, found)
    chance, found = chance[:n_found], found[:n_found]
    if n_found > n_wanted:
        # Ties at the bound are resolved when the sample is finished.
        kept = np.flatnonzero(chance <= np.partition(chance, n_wanted - 1)[n_wanted - 1])
        chance, found = chance[kept], found[kept]
    return UniformPart(chance.copy(), first_row + found, values[found])


def keep_least(part: UniformPart, n_wanted: int) -> UniformPart:
    """Keep the least `n_wanted` by (number, row), in the order of the rows."""
    least = np.lexsort((part.rows, part.chance))[:n_wanted]
    least = least[np.argsort(part.rows[least])]
    return UniformPart(part.chance[least], part.rows[least], part.values[least])


def merge(a: UniformPart, b: UniformPart, n_wanted: int) -> UniformPart:
    """Keep at least the least numbers of two sets of rows that a sample needs."""
    joined = UniformPart(*(np.concatenate(pair) for pair in zip(a, b, strict=True)))
    # Not at every merge: a good ceiling lets about twice as many pass as are wanted.
    return joined if len(joined.rows) <= 3 * n_wanted else keep_least(joined, n_wanted)


def scratch_bytes(n_features: int, block_rows: int, itemsize: int, n_samples: int) -> int:
    """Return the most memory that draws of so many samples take: where all rows are drawn.

    Number and place of each row, and a bound's copy of the numbers; a row that is drawn is
    copied.
    """
    return 24 * block_rows + n_samples * block_rows * (16 + n_features * itemsize)
