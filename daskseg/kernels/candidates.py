"""One round of k-means|| on one block, and the weights of its candidates.

Covers: rows drawn by priority, in proportion to their squared distance from the candidates so
far, and how many rows are nearest to each. Does not cover: the rounds (see `cluster.parallel`).

Scratch memory: 32 bytes a row.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from daskseg.kernels import rng
from daskseg.kernels.labels import nearest

Floats = NDArray[np.float64]


class Drawn(NamedTuple):
    """Rows of largest priority; merge with `merge_drawn`.

    Attributes
    ----------
    priority : ndarray of shape (n,), float64
    rows : ndarray of shape (n,), int64
        Global row numbers.
    values : ndarray of shape (n, n_features), float64
    """

    priority: Floats
    rows: NDArray[np.int64]
    values: Floats


def _keep_largest(drawn: Drawn, n_wanted: int) -> Drawn:
    order = np.lexsort((drawn.rows, -drawn.priority))[:n_wanted]
    return Drawn(drawn.priority[order], drawn.rows[order], drawn.values[order])


def draw(
    values: NDArray[np.floating],
    weights: Floats | None,
    first_row: int,
    centres: Floats,
    seed: int,
    round_number: int,
    n_wanted: int,
) -> Drawn:
    """Draw from one block.

    Parameters
    ----------
    values : ndarray of shape (n_rows, n_features), float32 or float64
    weights : ndarray of shape (n_rows,), float64, or None
    first_row : int
    centres : ndarray of shape (n_centres, n_features), float64
        Candidates so far; rows on one of them are not drawn.
    seed, round_number : int
    n_wanted : int
    """
    mass = nearest(values, centres)[1]
    if weights is not None:
        mass = mass * weights
    chances = rng.uniform(seed, rng.CANDIDATES + round_number, first_row, len(values))
    priority = mass / chances
    chosen = np.flatnonzero(mass > 0)
    if len(chosen) > n_wanted:
        kept = len(chosen) - n_wanted
        bound = np.partition(priority[chosen], kept)[kept]
        chosen = chosen[priority[chosen] >= bound]
    drawn = Drawn(priority[chosen], first_row + chosen, values[chosen].astype(np.float64))
    return _keep_largest(drawn, n_wanted)


def merge_drawn(a: Drawn, b: Drawn, n_wanted: int) -> Drawn:
    """Keep the largest priorities of two blocks."""
    joined = Drawn(*(np.concatenate(pair) for pair in zip(a, b, strict=True)))
    return _keep_largest(joined, n_wanted)


class Weighed(NamedTuple):
    """Rows by their nearest candidate; merge with `merge_weights`.

    Attributes
    ----------
    counts : ndarray of shape (n_centres,), int64
    parts : list of list of float
        Per centre, floats that add up to its exact weight; empty without weights.
    """

    counts: NDArray[np.int64]
    parts: list[list[float]]


def weigh(labels: NDArray[np.int32], weights: Floats | None, n_centres: int) -> Weighed:
    """Sum the weights of the rows of each label."""
    counts = np.bincount(labels, minlength=n_centres).astype(np.int64)
    if weights is None:
        return Weighed(counts, [])
    order = np.argsort(labels, kind="stable")
    cuts = np.cumsum(counts)[:-1]
    return Weighed(counts, [_exact_parts(own) for own in np.split(weights[order], cuts)])


def _exact_parts(values: NDArray[np.float64] | list[float]) -> list[float]:
    """Return a few floats with the exact sum of many: each is what the ones before leave."""
    rest = [float(value) for value in values if value]
    parts: list[float] = []
    while rest:
        total = math.fsum([*rest, *(-part for part in parts)])
        if total == 0.0:
            break
        parts.append(total)
    return parts


def merge_weights(a: Weighed, b: Weighed) -> Weighed:
    """Add the weights of two blocks exactly."""
    pairs = zip(a.parts, b.parts, strict=True)
    return Weighed(a.counts + b.counts, [_exact_parts(one + other) for one, other in pairs])


def finish_weights(total: Weighed) -> Floats:
    """Return the weight of each candidate, rounded once."""
    if not total.parts:
        return total.counts.astype(np.float64)
    return np.array([math.fsum(parts) for parts in total.parts])
