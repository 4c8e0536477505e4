"""Random numbers that depend on a seed, a purpose and a row number, and on nothing else.

Covers: Philox4x32-10 by counter, for draws per row inside tasks, and generators for work in
memory. Does not cover: distributions other than the uniform one.

Reference: Salmon, Moraes, Dror and Shaw, Parallel random numbers: as easy as 1, 2, 3, SC 2011.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from daskseg.kernels.compiling import compiled

# One stream per purpose: draws for one never repeat those for another.
SAMPLE = 1
SEARCH = 3
PILOT = 4
PLACES = 5
RESEEDS = 6
SECOND_SAMPLE = 7
MATING = 8
ANCHORS = 9
PARTNERS = 10
TEST_MATRIX = 11
MIXTURE_DRAWS = 12
MAP_LANDMARKS = 13
MAP_ROWS = 14
MAP_NOISE = 15
RESAMPLES = 21
NULL_ROWS = 22
RUNS = 31
# One per round.
CANDIDATES = 1000
# One per sample.
LANDMARKS = 2000

_LOW_32 = np.uint64(0xFFFFFFFF)
_SHIFT_32 = np.uint64(32)
_MULTIPLIER_0 = np.uint64(0xD2511F53)
_MULTIPLIER_1 = np.uint64(0xCD9E8D57)
_WEYL_0 = np.uint64(0x9E3779B9)
_WEYL_1 = np.uint64(0xBB67AE85)


@compiled()
def philox(
    c0: Any, c1: Any, c2: Any, c3: Any, k0: Any, k1: Any
) -> tuple[Any, Any, Any, Any]:  # pragma: no cover - compiled
    """Return the four 32-bit words of Philox4x32-10 for a counter and a key.

    Parameters
    ----------
    c0, c1, c2, c3 : uint64 below 2**32
        Counter words.
    k0, k1 : uint64 below 2**32
        Key words.
    """
    for _ in range(10):
        product_0 = _MULTIPLIER_0 * c0
        product_1 = _MULTIPLIER_1 * c2
        c0, c1, c2, c3 = (
            (product_1 >> _SHIFT_32) ^ c1 ^ k0,
            product_1 & _LOW_32,
            (product_0 >> _SHIFT_32) ^ c3 ^ k1,
            product_0 & _LOW_32,
        )
        k0 = (k0 + _WEYL_0) & _LOW_32
        k1 = (k1 + _WEYL_1) & _LOW_32
    return c0, c1, c2, c3


@compiled()
def _uniform(
    seed: Any, purpose: int, first_row: int, n_rows: int
) -> NDArray[np.float64]:  # pragma: no cover - compiled
    result = np.empty(n_rows)
    for i in range(n_rows):
        row = np.uint64(first_row) + np.uint64(i)
        a, b, _, _ = philox(
            row & _LOW_32,
            row >> _SHIFT_32,
            np.uint64(purpose),
            np.uint64(0),
            seed & _LOW_32,
            seed >> _SHIFT_32,
        )
        bits = ((a << _SHIFT_32) | b) >> np.uint64(11)
        result[i] = (np.float64(bits) + 1.0) * 2.0**-53
    return result


def uniform(seed: int, purpose: int, first_row: int, n_rows: int) -> NDArray[np.float64]:
    """Draw one number in (0, 1] for each row, from 53 bits.

    Parameters
    ----------
    seed : int
        Its lowest 64 bits count.
    purpose : int
        One of the streams of this module.
    first_row, n_rows : int
        Global numbers of the rows.

    Returns
    -------
    ndarray of shape (n_rows,), float64
    """
    return np.asarray(_uniform(np.uint64(seed & (2**64 - 1)), purpose, first_row, n_rows))


@compiled()
def uniform_at(
    seed: Any, purpose: int, stream: int, step: int, row: int
) -> float:  # pragma: no cover - compiled
    """Draw the number in (0, 1] of one place (for use inside compiled kernels).

    Parameters
    ----------
    seed : uint64
    purpose : int
        One of the streams of this module.
    stream, step, row : int from 0 below 2**32
        Stream 0 and step 0 are those of `uniform`.
    """
    a, b, _, _ = philox(
        np.uint64(row),
        np.uint64(step),
        np.uint64(purpose),
        np.uint64(stream),
        seed & _LOW_32,
        seed >> _SHIFT_32,
    )
    bits = ((a << _SHIFT_32) | b) >> np.uint64(11)
    return (np.float64(bits) + 1.0) * 2.0**-53


def key_of(seed: int) -> np.uint64:
    """Return the lowest 64 bits of a seed, as `uniform_at` takes them."""
    return np.uint64(seed & (2**64 - 1))


def generator(seed: int, purpose: int, stream: int = 0) -> np.random.Generator:
    """Return a generator for work in memory; one per purpose and stream.

    Only its ``random`` method is used where results must keep their bits across releases
    of NumPy.
    """
    key = np.array([seed & (2**64 - 1), (purpose << 32) | stream], np.uint64)
    return np.random.Generator(np.random.Philox(key=key))
