"""First centres on weighted rows in memory: greedy k-means++ and rows by weight.

Covers: the draws, with numbers that depend on seed, stream and place alone. Does not cover:
what follows a start (see `kernels.weighted_moves`).

Scratch: one distance per row and candidate.

Reference: Arthur and Vassilvitskii, k-means++, SODA 2007 (greedy variant: several candidates
per centre, the best is kept).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from daskseg.kernels import rng
from daskseg.kernels.compiling import compiled
from daskseg.kernels.weighted import TILE, Floats, Level


@compiled()
def _place(total: Floats, mass: Floats, u: float) -> int:  # pragma: no cover - compiled
    """Return the row at the share `u` of all mass; `total` sums it up to each tile's end."""
    wanted = u * total[-1]
    t: int = min(np.searchsorted(total, wanted), len(total) - 1)
    reached = total[t - 1] if t > 0 else 0.0
    last = t * TILE
    for i in range(t * TILE, (t + 1) * TILE):
        if mass[i] > 0:
            last = i
            reached += mass[i]
            if reached >= wanted:
                break
    return last


@compiled()
def _sum_tiles(mass: Floats, total: Floats) -> None:  # pragma: no cover - compiled
    running = 0.0
    for t in range(len(total)):
        for i in range(t * TILE, (t + 1) * TILE):
            running += mass[i]
        total[t] = running


@compiled()
def _closer(
    level: Level,
    weights: Floats,
    row: int,
    before: NDArray[Any],
    after: NDArray[Any],
) -> float:  # pragma: no cover - compiled
    """Fill in the squared distances once a row is a centre; return their weighted sum."""
    lanes = np.zeros(TILE)
    square = np.empty(TILE, before.dtype)
    for t in range(len(level.tiles)):
        tile = level.tiles[t]
        for i in range(TILE):
            square[i] = 0
        for f in range(tile.shape[0]):
            centre = level.rows[row, f]
            for i in range(TILE):
                difference = tile[f, i] - centre
                square[i] += difference * difference
        start = t * TILE
        for i in range(TILE):
            least = min(square[i], before[start + i])
            after[start + i] = least
            lanes[i] += weights[start + i] * least
    total = 0.0
    for i in range(TILE):
        total += lanes[i]
    return total


@compiled()
def plus_plus(
    level: Level, n_clusters: int, n_candidates: int, seed: Any, stream: int
) -> tuple[NDArray[np.int64], float]:  # pragma: no cover - compiled
    """Choose rows by weighted greedy k-means++.

    Parameters
    ----------
    level : Level
    n_clusters, n_candidates : int
    seed : uint64
    stream : int
        Starts of different streams are independent.

    Returns
    -------
    rows : ndarray of shape (n_clusters,), int64
        If there are fewer distinct rows, the first is repeated at the end.
    sse : float
    """
    n_padded = len(level.tiles) * TILE
    weights, mass = np.zeros(n_padded), np.zeros(n_padded)
    weights[: len(level.weights)] = level.weights
    total = np.empty(len(level.tiles))
    _sum_tiles(weights, total)
    chosen = np.empty(n_clusters, np.int64)
    chosen[0] = _place(total, weights, rng.uniform_at(seed, rng.SEARCH, stream, 0, 0))
    closest = np.full(n_padded, np.inf).astype(level.rows.dtype)
    after = np.empty((n_candidates, n_padded), level.rows.dtype)
    sse = _closer(level, weights, chosen[0], closest, after[0])
    closest[:] = after[0]
    for c in range(1, n_clusters):
        for i in range(n_padded):
            mass[i] = weights[i] * closest[i]
        _sum_tiles(mass, total)
        if not total[-1] > 0:
            chosen[c:] = chosen[0]
            break
        best = 0
        for candidate in range(n_candidates):
            row = _place(total, mass, rng.uniform_at(seed, rng.SEARCH, stream, c, candidate))
            left = _closer(level, weights, row, closest, after[candidate])
            if candidate == 0 or left < sse:
                sse, best, chosen[c] = left, candidate, row
        closest[:] = after[best]
    return chosen, sse


@compiled()
def rows_by_weight(
    weights: Floats, n_wanted: int, seed: Any, stream: int
) -> NDArray[np.int64]:  # pragma: no cover - compiled
    """Choose rows by weight without putting any back; the first is repeated if they run out."""
    n_padded = (len(weights) + TILE - 1) // TILE * TILE
    mass = np.zeros(n_padded)
    mass[: len(weights)] = weights
    total = np.empty(n_padded // TILE)
    chosen = np.empty(n_wanted, np.int64)
    for c in range(n_wanted):
        _sum_tiles(mass, total)
        if not total[-1] > 0:
            chosen[c] = chosen[0]
            continue
        chosen[c] = _place(total, mass, rng.uniform_at(seed, rng.SEARCH, stream, c, 0))
        mass[chosen[c]] = 0.0
    return chosen
