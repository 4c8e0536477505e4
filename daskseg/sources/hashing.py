"""Hashes of texts, numbers and lines that no file format can change.

Covers: the hash that orders customers, two independent line hashes, the order-free fingerprint.
Does not cover: reading the values (see `sources.values`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

UInts = NDArray[np.uint64]

# Two keys of pandas' SipHash, sixteen bytes each: two copies of the same line function.
_KEYS = ("daskseg-line-one", "daskseg-line-two")
_DEFAULT_KEY = "0123456789123456"


def hash_texts(texts: NDArray[Any] | Sequence[str], key: str = _DEFAULT_KEY) -> UInts:
    """Hash texts to 64 bits.

    Parameters
    ----------
    texts : array of str of shape (n,)
    key : str of 16 bytes

    Returns
    -------
    ndarray of shape (n,), uint64
        With the default key: the hash that orders the customers of a study.

    Examples
    --------
    >>> hash_texts(["17850"]).dtype
    dtype('uint64')
    """
    values = np.empty(len(texts), dtype=object)
    values[:] = texts
    return np.asarray(pd.util.hash_array(values, hash_key=key, categorize=False), dtype=np.uint64)


def mix(values: UInts) -> UInts:
    """Spread 64 bits over 64 bits, one to one (the finaliser of splitmix64).

    References
    ----------
    Steele, Lea, Flood: Fast splittable pseudorandom number generators, OOPSLA 2014.
    """
    mixed = values + np.uint64(0x9E3779B97F4A7C15)
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return mixed ^ (mixed >> np.uint64(31))


class LineHasher:
    """Two 64-bit hashes per line, over columns in any order.

    A missing value adds nothing, so a column that is empty throughout changes nothing.

    Parameters
    ----------
    n_rows : int
    """

    def __init__(self, n_rows: int) -> None:
        self._sums = [np.zeros(n_rows, dtype=np.uint64) for _ in _KEYS]

    def add_text(self, name: str, codes: NDArray[np.int64], texts: NDArray[Any]) -> None:
        """Add a column of text: a code per row (-1 where missing) into distinct texts."""
        for key, sums in zip(_KEYS, self._sums, strict=True):
            salt = hash_texts([name], key)
            distinct = mix(hash_texts(texts, key) ^ salt)
            sums += np.append(distinct, np.uint64(0))[codes]

    def add_bits(self, name: str, bits: NDArray[Any], missing: NDArray[np.bool_]) -> None:
        """Add a column of 64-bit values by their bits."""
        values = np.ascontiguousarray(bits).view(np.uint64)
        for key, sums in zip(_KEYS, self._sums, strict=True):
            salt = hash_texts([name], key)
            sums += np.where(missing, np.uint64(0), mix(mix(values) ^ salt))

    def finish(self) -> tuple[UInts, UInts]:
        """Return the two hashes of each line."""
        return mix(self._sums[0]), mix(self._sums[1])
