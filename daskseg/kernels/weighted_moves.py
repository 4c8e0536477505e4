"""Moves out of local optima of k-means, on weighted rows in memory.

Covers: the gain of splitting each cluster in two, swaps (one centre is given up, one cluster
split), joining two solutions by merging the union of their centres, and merging down to fewer.
Does not cover: which moves to make on what (see `cluster.search`).

References: Franti, Efficiency of random swap clustering, J. Big Data 2018; Franti, Genetic
algorithm with deterministic crossover for vector quantization, Pattern Recognition Letters
2000; Ward, Hierarchical grouping to optimize an objective function, JASA 1963.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from daskseg.kernels import rng
from daskseg.kernels.compiling import compiled
from daskseg.kernels.weighted import TILE, Floats, Level, add_step, lloyd, worth

# Lloyd steps after a move, at most, and of a swap on trial; the relative fall at which they stop.
STEPS, TRIAL_STEPS, STEP_TOL = 24, 30, 1e-5
# Per cluster, the best of so many 2-means runs of so many steps.
SPLIT_TRIALS, SPLIT_STEPS = 3, 4
# The cheapest centres and the most gainful splits that are paired.
_PAIRED = 6


@compiled()
def _members_by_cluster(
    level: Level, labels: NDArray[np.int32], sq_dist: NDArray[Any], means: Floats
) -> tuple[NDArray[np.int64], NDArray[Any], Floats, Floats]:  # pragma: no cover - compiled
    """Bring the rows of each cluster together, in tiles of their own, less its mean.

    Returns
    -------
    starts : ndarray of shape (n_clusters + 1,), int64
        Cluster c has the tiles ``starts[c]:starts[c + 1]``.
    tiles : as in `Level`
    weights, mass : ndarray of shape (64 * n_tiles,), float64
        The mass is weight times squared distance; zeros where a tile is not full.
    """
    n_clusters = len(means)
    counts = np.zeros(n_clusters, np.int64)
    for i in range(len(labels)):
        counts[labels[i]] += 1
    starts = np.zeros(n_clusters + 1, np.int64)
    for c in range(n_clusters):
        starts[c + 1] = starts[c] + (counts[c] + TILE - 1) // TILE
        counts[c] = starts[c] * TILE
    tiles = np.zeros((starts[-1], level.rows.shape[1], TILE), level.rows.dtype)
    weights, mass = np.zeros(starts[-1] * TILE), np.zeros(starts[-1] * TILE)
    for i in range(len(labels)):
        place = counts[labels[i]]
        counts[labels[i]] += 1
        weights[place] = level.weights[i]
        mass[place] = level.weights[i] * np.float64(sq_dist[i])
        for f in range(level.rows.shape[1]):
            tiles[place // TILE, f, place % TILE] = level.rows[i, f] - means[labels[i], f]
    return starts, tiles, weights, mass


@compiled()
def _draw_far(
    mass: Floats, seed: Any, stream: int, step: int, c: int
) -> int:  # pragma: no cover - compiled
    """Draw a place by mass; -1 if there is none."""
    total = 0.0
    for one in mass:
        total += one
    wanted = total * rng.uniform_at(seed, rng.SEARCH, stream, step, c)
    reached, last = 0.0, -1
    for place, one in enumerate(mass):
        if one > 0:
            last = place
            reached += one
            if reached >= wanted:
                break
    return last


@compiled()
def _add_side(
    tiles: NDArray[Any],
    weights: Floats,
    direction: NDArray[Any],
    bound: Any,
    lanes: Floats,
    side: Floats,
) -> float:  # pragma: no cover - compiled
    """Sum the rows beyond a bound in a direction; fill `side`, return their weight."""
    total = 0.0
    n_features = tiles.shape[1]
    along = np.empty(TILE, tiles.dtype)
    beyond = np.empty(TILE)
    # One sum per lane, added up at the end: strict order, and no waiting for each addition.
    lanes[:] = 0.0
    for t in range(len(tiles)):
        tile = tiles[t]
        for i in range(TILE):
            along[i] = 0
        for f in range(n_features):
            factor = direction[f]
            for i in range(TILE):
                along[i] += tile[f, i] * factor
        for i in range(TILE):
            beyond[i] = weights[t * TILE + i] if along[i] > bound else 0.0
            lanes[n_features, i] += beyond[i]
        for f in range(n_features):
            for i in range(TILE):
                lanes[f, i] += beyond[i] * tile[f, i]
    for f in range(n_features + 1):
        total = 0.0
        for i in range(TILE):
            total += lanes[f, i]
        side[f] = total
    return total


@compiled()
def _two_means(
    tiles: NDArray[Any], weights: Floats, size: float, left: Floats, right: Floats, lanes: Floats
) -> float:  # pragma: no cover - compiled
    """Take steps of 2-means in one cluster; move both centres, return the gain."""
    n_features = len(left)
    direction = np.empty(n_features, tiles.dtype)
    bound = np.zeros(1, tiles.dtype)
    side = np.empty(n_features + 1)
    gain = 0.0
    for _ in range(SPLIT_STEPS):
        middle = 0.0
        for f in range(n_features):
            direction[f] = left[f] - right[f]
            middle += 0.5 * (left[f] - right[f]) * (left[f] + right[f])
        bound[0] = middle
        side_size = _add_side(tiles, weights, direction, bound[0], lanes, side)
        rest = size - side_size
        # A side of next to no weight is what roundings leave of none.
        if not (side_size > 1e-9 * size and rest > 1e-9 * size):
            return gain
        gain = 0.0
        for f in range(n_features):
            # The rows are less their mean: what is not on one side has the opposite sum.
            left[f] = side[f] / side_size
            right[f] = -side[f] / rest
            gain += (left[f] - right[f]) ** 2
        gain *= side_size * rest / size
    return gain


@compiled()
def split_gains(
    level: Level,
    labels: NDArray[np.int32],
    sq_dist: NDArray[Any],
    sums: Floats,
    sizes: Floats,
    seed: Any,
    stream: int,
    first_step: int,
) -> tuple[Floats, Floats, Floats]:  # pragma: no cover - compiled
    """Split every cluster in two, and say by how much that lowers the squared error.

    Parameters
    ----------
    level : Level
    labels, sq_dist, sums, sizes
        As `weighted.worth` gives them.
    seed : uint64
    stream, first_step : int
        Where the draws are taken from; a trial takes one step.

    Returns
    -------
    gains : ndarray of shape (n_clusters,), float64
        Zero where no split was found.
    left, right : ndarray of shape (n_clusters, n_features), float64
        The two centres.

    Notes
    -----
    Scratch: a second copy of the rows, brought together by cluster.
    """
    n_clusters, n_features = sums.shape
    gains = np.zeros(n_clusters)
    best_left, best_right = np.zeros(sums.shape), np.zeros(sums.shape)
    left, right = np.empty(n_features), np.empty(n_features)
    lanes = np.empty((n_features + 1, TILE))
    means = np.zeros(sums.shape)
    for c in range(n_clusters):
        if sizes[c] > 0:
            means[c] = sums[c] / sizes[c]
    starts, tiles, weights, mass = _members_by_cluster(level, labels, sq_dist, means)
    for c in range(n_clusters):
        own = slice(starts[c] * TILE, starts[c + 1] * TILE)
        for trial in range(SPLIT_TRIALS):
            place = _draw_far(mass[own], seed, stream, first_step + trial, c)
            if place < 0:
                break
            for f in range(n_features):
                left[f] = tiles[starts[c] + place // TILE, f, place % TILE]
                right[f] = 0.0
            own_tiles = tiles[starts[c] : starts[c + 1]]
            gain = _two_means(own_tiles, weights[own], sizes[c], left, right, lanes)
            if gain > gains[c]:
                gains[c] = gain
                best_left[c] = means[c] + left
                best_right[c] = means[c] + right
    return gains, best_left, best_right


@compiled()
def _pairs(
    removal: Floats, gains: Floats
) -> tuple[Floats, NDArray[np.int64], NDArray[np.int64]]:  # pragma: no cover - compiled
    """Pair cheap centres with gainful splits, by the rise of the error that is expected."""
    n_paired = min(len(gains), _PAIRED)
    cheap = np.argsort(removal, kind="mergesort")
    costly = np.argsort(-gains, kind="mergesort")
    rise = np.empty(n_paired * n_paired)
    removed = np.empty(n_paired * n_paired, np.int64)
    split = np.empty(n_paired * n_paired, np.int64)
    n_pairs = 0
    for a in range(n_paired):
        for b in range(n_paired):
            if cheap[a] != costly[b] and gains[costly[b]] > 0:
                rise[n_pairs] = removal[cheap[a]] - gains[costly[b]]
                removed[n_pairs] = cheap[a]
                split[n_pairs] = costly[b]
                n_pairs += 1
    order = np.argsort(rise[:n_pairs], kind="mergesort")
    return rise[order], removed[order], split[order]


@compiled()
def swap(
    level: Level,
    centres: Floats,
    n_rounds: int,
    n_tries: int,
    slack: float,
    least_gain: float,
    seed: Any,
    stream: int,
) -> tuple[Floats, float]:  # pragma: no cover - compiled
    """Swap centres as long as that lowers the squared error.

    A round looks at all rows once for what each centre is worth and what each split gains,
    then tries the most promising swaps, each with a few Lloyd steps; the first that lowers
    the error is kept.

    Parameters
    ----------
    level : Level
    centres : ndarray of shape (n_clusters, n_features), float64
        Near a fixpoint.
    n_rounds, n_tries : int
    slack : float
        Swaps that are expected to raise the error by more than this share are not tried.
    least_gain : float
        A swap must lower the error by more than this share.
    seed : uint64
    stream : int

    Returns
    -------
    centres : ndarray of shape (n_clusters, n_features), float64
    sse : float
    """
    best, sse, _ = lloyd(level, centres, STEPS, STEP_TOL)
    labels = np.empty(len(level.rows), np.int32)
    sq_dist = np.empty(len(level.rows), level.rows.dtype)
    for n_round in range(n_rounds):
        removal, sums, sizes = worth(level, best, labels, sq_dist)
        gains, left, right = split_gains(
            level, labels, sq_dist, sums, sizes, seed, stream, 2**16 + SPLIT_TRIALS * n_round
        )
        rise, removed, split = _pairs(removal, gains)
        is_better = False
        for p in range(min(n_tries, len(rise))):
            if rise[p] > slack * sse:
                break
            trial = best.copy()
            trial[split[p]] = left[split[p]]
            trial[removed[p]] = right[split[p]]
            goal = sse * (1.0 - least_gain)
            trial, trial_sse, _ = lloyd(level, trial, TRIAL_STEPS, STEP_TOL, goal)
            if trial_sse < goal:
                best, sse, _ = lloyd(level, trial, STEPS, STEP_TOL)
                is_better = True
                break
        if not is_better:
            break
    return best, sse


@compiled()
def _nearest_partner(
    means: Floats, sizes: Floats, alive: NDArray[np.bool_], a: int
) -> tuple[int, float]:  # pragma: no cover - compiled
    """Return with whom a cluster merges at the least rise of the squared error."""
    partner, least = -1, np.inf
    for b in range(len(means)):
        if b != a and alive[b]:
            square = 0.0
            for f in range(means.shape[1]):
                square += (means[a, f] - means[b, f]) ** 2
            rise = square * sizes[a] * sizes[b] / (sizes[a] + sizes[b])
            if rise < least:
                partner, least = b, rise
    return partner, least


@compiled()
def merge_down(
    means: Floats, sizes: Floats, n_wanted: int
) -> Floats:  # pragma: no cover - compiled
    """Merge clusters by Ward's rule until so many are left.

    Parameters
    ----------
    means : ndarray of shape (n_clusters, n_features), float64
    sizes : ndarray of shape (n_clusters,), float64
        Empty clusters are left out.
    n_wanted : int

    Returns
    -------
    ndarray of shape (n_wanted, n_features), float64
        Repeated from the beginning if fewer are not empty.

    Notes
    -----
    Nearest partners are kept and renewed as clusters merge: about n**2 * n_features steps.
    """
    means, sizes = means.copy(), sizes.copy()
    alive = sizes > 0
    n_alive = alive.sum()
    partner = np.full(len(means), -1, np.int64)
    rise = np.full(len(means), np.inf)
    stale = alive.copy()
    while n_alive > n_wanted:
        least, a = np.inf, -1
        for c in range(len(means)):
            if alive[c]:
                if stale[c]:
                    partner[c], rise[c] = _nearest_partner(means, sizes, alive, c)
                    stale[c] = False
                if rise[c] < least or a < 0:
                    least, a = rise[c], c
        b = partner[a]
        both = sizes[a] + sizes[b]
        for f in range(means.shape[1]):
            means[a, f] = (sizes[a] * means[a, f] + sizes[b] * means[b, f]) / both
        sizes[a] = both
        alive[b] = False
        n_alive -= 1
        for c in range(len(means)):
            if alive[c] and (c == a or partner[c] == a or partner[c] == b):
                stale[c] = True
    left = np.flatnonzero(alive)
    result = np.empty((n_wanted, means.shape[1]))
    for c in range(n_wanted):
        result[c] = means[left[c % len(left)]]
    return result


@compiled()
def join(
    level: Level, union: Floats, n_clusters: int
) -> tuple[Floats, float]:  # pragma: no cover - compiled
    """Make one solution of the centres of several: assign, merge down, take Lloyd steps.

    Parameters
    ----------
    level : Level
    union : ndarray of shape (n_centres, n_features), float64
        At least `n_clusters`.
    n_clusters : int

    Returns
    -------
    centres : ndarray of shape (n_clusters, n_features), float64
    sse : float
    """
    sums, sizes = np.zeros(union.shape), np.zeros(len(union))
    add_step(level, union, sums, sizes, np.empty(0, np.int32))
    for c in range(len(union)):
        if sizes[c] > 0:
            for f in range(union.shape[1]):
                sums[c, f] /= sizes[c]
    centres, sse, _ = lloyd(level, merge_down(sums, sizes, n_clusters), STEPS, STEP_TOL)
    return centres, sse
