"""Weighted k-means on rows in memory: one Lloyd step, many of them, and what a centre is worth.

Covers: nearest centres by tiles of 64 rows, sums in float64, Lloyd's iteration, removal costs.
Generic over the precision of the rows: float32 by dot products to search, float64 by differences
to finish, and where distances are far below the norms. No fastmath: each row's score is added in
a fixed order, so that its bits depend on the row and the centres alone.
Does not cover: starts (`weighted_starts`), moves out of local optima (`weighted_moves`).

Scratch: one copy of the rows in tiles. See also: `cluster.search`.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from daskseg.kernels.compiling import compiled

Floats = NDArray[np.float64]
# Rows of a tile: with 20 features of float32 it stays in a first-level cache.
TILE = 64
# Measured on seven sets, six starts each: of 0, 0.5, 0.7 … 0.9, this ends lowest; 24 steps end
# below 300 plain ones (mean excess 0.02 to 0.2 % against 0.1 to 1.9 %).
MOMENTUM = 0.9
# Falls of the last step that a goal may be away. Measured on the swaps of six sets: finds as many
# as 30 steps for each do, but for 3 of 118, in 2.8 to 8.5 steps per swap.
PATIENCE = 12.0
# Rows of so many bytes per value are compared by differences.
_FINE_BYTES = 8


class Level(NamedTuple):
    """Weighted rows as the kernels take them; made by `level_of`.

    Attributes
    ----------
    tiles : ndarray of shape (n_tiles, n_features, 64), float32 or float64
        The rows transposed by 64; the last tile ends in zeros.
    rows : ndarray of shape (n_rows, n_features), same type
    weights : ndarray of shape (n_rows,), float64
    sq_norm : float
        Weighted sum of the squared norms of the rows.
    """

    tiles: NDArray[Any]
    rows: NDArray[Any]
    weights: Floats
    sq_norm: float


@compiled()
def level_of(rows: NDArray[Any], weights: Floats) -> Level:  # pragma: no cover - compiled
    """Cut rows into tiles.

    Parameters
    ----------
    rows : ndarray of shape (n_rows, n_features), float32 or float64, C-contiguous
        Centred near zero and at most about 1 in size.
    weights : ndarray of shape (n_rows,), float64
        Above zero.
    """
    n_rows, n_features = rows.shape
    tiles = np.zeros(((n_rows + TILE - 1) // TILE, n_features, TILE), rows.dtype)
    sq_norm = 0.0
    for i in range(n_rows):
        norm = 0.0
        for f in range(n_features):
            value = rows[i, f]
            tiles[i // TILE, f, i % TILE] = value
            norm += np.float64(value) * np.float64(value)
        sq_norm += weights[i] * norm
    return Level(tiles, rows, weights, sq_norm)


@compiled()
def padded(
    centres: Floats, like: NDArray[Any]
) -> tuple[NDArray[Any], NDArray[Any]]:  # pragma: no cover - compiled
    """Return centres in the type of the rows, in fours, and where their scores begin.

    That is half their squared norms for dot products, zero for differences; the centres added
    to make fours are infinitely far.
    """
    n_clusters, n_features = centres.shape
    size = (n_clusters + 3) // 4 * 4
    fours = np.zeros((size, n_features), like.dtype)
    half = np.full(size, np.inf).astype(like.dtype)
    for c in range(n_clusters):
        norm = 0.0
        for f in range(n_features):
            fours[c, f] = centres[c, f]
            norm += np.float64(fours[c, f]) * np.float64(fours[c, f])
        half[c] = 0.5 * norm if fours.itemsize < _FINE_BYTES else 0.0
    return fours, half


@compiled()
def _score_four(
    tile: NDArray[Any],
    fours: NDArray[Any],
    half: NDArray[Any],
    c: int,
    s0: NDArray[Any],
    s1: NDArray[Any],
    s2: NDArray[Any],
    s3: NDArray[Any],
) -> None:  # pragma: no cover - compiled
    """Score four centres.

    The squared distance by differences, or half of it less half the squared norm of the row.
    """
    n_features = fours.shape[1]
    is_fine = fours.itemsize >= _FINE_BYTES
    for i in range(TILE):
        s0[i] = half[c]
        s1[i] = half[c + 1]
        s2[i] = half[c + 2]
        s3[i] = half[c + 3]
    f = 0
    while is_fine and f + 2 <= n_features:
        p0, q0, r0, t0 = fours[c, f], fours[c + 1, f], fours[c + 2, f], fours[c + 3, f]
        p1, q1, r1, t1 = (
            fours[c, f + 1],
            fours[c + 1, f + 1],
            fours[c + 2, f + 1],
            fours[c + 3, f + 1],
        )
        for i in range(TILE):
            x0, x1 = tile[f, i], tile[f + 1, i]
            s0[i] += (x0 - p0) * (x0 - p0) + (x1 - p1) * (x1 - p1)
            s1[i] += (x0 - q0) * (x0 - q0) + (x1 - q1) * (x1 - q1)
            s2[i] += (x0 - r0) * (x0 - r0) + (x1 - r1) * (x1 - r1)
            s3[i] += (x0 - t0) * (x0 - t0) + (x1 - t1) * (x1 - t1)
        f += 2
    while is_fine and f < n_features:
        p0, q0, r0, t0 = fours[c, f], fours[c + 1, f], fours[c + 2, f], fours[c + 3, f]
        for i in range(TILE):
            x0 = tile[f, i]
            s0[i] += (x0 - p0) * (x0 - p0)
            s1[i] += (x0 - q0) * (x0 - q0)
            s2[i] += (x0 - r0) * (x0 - r0)
            s3[i] += (x0 - t0) * (x0 - t0)
        f += 1
    # Four features at once keep the scores in registers; rows are independent lanes.
    while f + 4 <= n_features:
        p0, p1, p2, p3 = fours[c, f], fours[c, f + 1], fours[c, f + 2], fours[c, f + 3]
        q0, q1, q2, q3 = (
            fours[c + 1, f],
            fours[c + 1, f + 1],
            fours[c + 1, f + 2],
            fours[c + 1, f + 3],
        )
        r0, r1, r2, r3 = (
            fours[c + 2, f],
            fours[c + 2, f + 1],
            fours[c + 2, f + 2],
            fours[c + 2, f + 3],
        )
        t0, t1, t2, t3 = (
            fours[c + 3, f],
            fours[c + 3, f + 1],
            fours[c + 3, f + 2],
            fours[c + 3, f + 3],
        )
        for i in range(TILE):
            x0, x1, x2, x3 = tile[f, i], tile[f + 1, i], tile[f + 2, i], tile[f + 3, i]
            s0[i] -= x0 * p0 + x1 * p1 + x2 * p2 + x3 * p3
            s1[i] -= x0 * q0 + x1 * q1 + x2 * q2 + x3 * q3
            s2[i] -= x0 * r0 + x1 * r1 + x2 * r2 + x3 * r3
            s3[i] -= x0 * t0 + x1 * t1 + x2 * t2 + x3 * t3
        f += 4
    while f < n_features:
        p0, q0, r0, t0 = fours[c, f], fours[c + 1, f], fours[c + 2, f], fours[c + 3, f]
        for i in range(TILE):
            s0[i] -= tile[f, i] * p0
            s1[i] -= tile[f, i] * q0
            s2[i] -= tile[f, i] * r0
            s3[i] -= tile[f, i] * t0
        f += 1


@compiled()
def add_step(
    level: Level, centres: Floats, sums: Floats, sizes: Floats, labels: NDArray[np.int32]
) -> float:  # pragma: no cover - compiled
    """Add the rows to the sums and sizes of their nearest centres; the first wins a tie.

    Parameters
    ----------
    level : Level
    centres : ndarray of shape (n_clusters, n_features), float64
    sums : ndarray of shape (n_clusters, n_features), float64
        Weighted sums of rows; added to.
    sizes : ndarray of shape (n_clusters,), float64
        Sums of weights; added to.
    labels : ndarray of shape (n_rows,) or (0,), int32
        Filled, unless empty.

    Returns
    -------
    float
        Weighted sum of the scores: for float64 the squared error of the centres.
    """
    n_rows, n_features = level.rows.shape
    total = 0.0
    fours, half = padded(centres, level.rows)
    least = np.empty(TILE, fours.dtype)
    nearest = np.empty(TILE, np.int32)
    s0, s1 = np.empty(TILE, fours.dtype), np.empty(TILE, fours.dtype)
    s2, s3 = np.empty(TILE, fours.dtype), np.empty(TILE, fours.dtype)
    for t in range(len(level.tiles)):
        for i in range(TILE):
            least[i] = np.inf
            nearest[i] = 0
        for c in range(0, len(fours), 4):
            _score_four(level.tiles[t], fours, half, c, s0, s1, s2, s3)
            for i in range(TILE):
                best, label = least[i], nearest[i]
                if s0[i] < best:
                    best, label = s0[i], np.int32(c)
                if s1[i] < best:
                    best, label = s1[i], np.int32(c + 1)
                if s2[i] < best:
                    best, label = s2[i], np.int32(c + 2)
                if s3[i] < best:
                    best, label = s3[i], np.int32(c + 3)
                least[i], nearest[i] = best, label
        first = t * TILE
        for i in range(min(TILE, n_rows - first)):
            label = nearest[i]
            weight = level.weights[first + i]
            sizes[label] += weight
            total += weight * least[i]
            for f in range(n_features):
                sums[label, f] += weight * level.rows[first + i, f]
            if len(labels) > 0:
                labels[first + i] = label
    return total


@compiled()
def _move(
    used: Floats, sums: Floats, sizes: Floats, means: Floats
) -> tuple[float, float]:  # pragma: no cover - compiled
    """Fill in the means; a centre without rows stays.

    Returns
    -------
    explained : float
        What the means take off the weighted sum of squared norms.
    gained : float
        What the move takes off the squared error, of the same labels.
    """
    explained, gained = 0.0, 0.0
    for c in range(len(used)):
        if sizes[c] > 0:
            square, moved = 0.0, 0.0
            for f in range(used.shape[1]):
                mean = sums[c, f] / sizes[c]
                square += sums[c, f] * sums[c, f]
                moved += (mean - used[c, f]) ** 2
                means[c, f] = mean
            explained += square / sizes[c]
            gained += moved * sizes[c]
        else:
            means[c] = used[c]
    return explained, gained


@compiled()
def lloyd(
    level: Level, centres: Floats, max_steps: int, tol: float, goal: float = -1.0
) -> tuple[Floats, float, int]:  # pragma: no cover - compiled
    """Take Lloyd steps with momentum until the squared error falls no more.

    Parameters
    ----------
    level : Level
    centres : ndarray of shape (n_clusters, n_features), float64
        Left as they are.
    max_steps : int
        From 1.
    tol : float
        Stop when a step lowers the error by no more than this share of it; 0 asks for the
        fixpoint of plain steps.
    goal : float
        Stop as soon as the error is below it, or will hardly get there; -1 for no goal.

    Returns
    -------
    centres : ndarray of shape (n_clusters, n_features), float64
        The means of least error that were met.
    sse : float
        Of these means, with the labels they were made from: the error with new labels is at
        most that.
    n_steps : int

    Notes
    -----
    Labels are taken at the means plus `MOMENTUM` times their last move. A step that does not
    lower the error is followed by a plain one from the best means, so the error falls as
    surely as without.
    """
    used, means, best = centres.copy(), centres.copy(), centres.copy()
    last = centres.copy()
    sums, sizes = np.empty_like(used), np.empty(len(used))
    no_labels = np.empty(0, np.int32)
    least = np.inf
    is_plain, n_steps = True, 0
    while n_steps < max_steps:
        sums[:] = 0.0
        sizes[:] = 0.0
        total = add_step(level, used, sums, sizes, no_labels)
        explained, gained = _move(used, sums, sizes, means)
        # What the means leave of the norms has the accuracy of float64 whatever that of the
        # scores; the scores by differences are better still.
        sse = total - gained if level.rows.itemsize >= _FINE_BYTES else level.sq_norm - explained
        sse = max(sse, 0.0)
        n_steps += 1
        fall = least - sse
        if fall > 0:
            best[:] = means
            least = sse
        if least < goal or ((is_plain or fall > 0) and fall <= tol * sse):
            break
        if goal >= 0 and n_steps > 2 and fall > 0 and least - goal > PATIENCE * fall:
            break
        is_plain = not fall > 0 or n_steps == 1
        if is_plain:
            used[:] = best
        else:
            for c in range(len(used)):
                for f in range(used.shape[1]):
                    used[c, f] = means[c, f] + MOMENTUM * (means[c, f] - last[c, f])
        last[:] = best
    return best, least, n_steps


@compiled()
def sq_dist_to(
    level: Level, centres: Floats, labels: NDArray[np.int32], sq_dist: Floats
) -> float:  # pragma: no cover - compiled
    """Fill in the squared distance of each row to its own centre; return the weighted sum.

    By differences in float64, so that distances far below the norms keep their digits.
    """
    total = 0.0
    for i in range(len(labels)):
        square = 0.0
        for f in range(centres.shape[1]):
            difference = np.float64(level.rows[i, f]) - centres[labels[i], f]
            square += difference * difference
        sq_dist[i] = square
        total += level.weights[i] * square
    return total


@compiled()
def worth(
    level: Level, centres: Floats, labels: NDArray[np.int32], sq_dist: NDArray[Any]
) -> tuple[Floats, Floats, Floats]:  # pragma: no cover - compiled
    """Find what each centre is worth: the rise of the error if its rows went to the second best.

    Parameters
    ----------
    level : Level
    centres : ndarray of shape (n_clusters, n_features), float64
    labels : ndarray of shape (n_rows,), int32
        Filled.
    sq_dist : ndarray of shape (n_rows,), type of the rows
        Squared distances to the nearest centre; filled.

    Returns
    -------
    removal : ndarray of shape (n_clusters,), float64
        Infinite for a single centre.
    sums : ndarray of shape (n_clusters, n_features), float64
    sizes : ndarray of shape (n_clusters,), float64
    """
    n_rows, n_features = level.rows.shape
    fours, half = padded(centres, level.rows)
    first, second = np.empty(TILE, fours.dtype), np.empty(TILE, fours.dtype)
    nearest = np.empty(TILE, np.int32)
    scores = np.empty((4, TILE), fours.dtype)
    is_fine = fours.itemsize >= _FINE_BYTES
    per_score = 1.0 if is_fine else 2.0
    removal, sizes = np.zeros(len(centres)), np.zeros(len(centres))
    sums = np.zeros(centres.shape)
    for t in range(len(level.tiles)):
        for i in range(TILE):
            first[i], second[i], nearest[i] = np.inf, np.inf, 0
        for c in range(0, len(fours), 4):
            _score_four(level.tiles[t], fours, half, c, scores[0], scores[1], scores[2], scores[3])
            for q in range(4):
                for i in range(TILE):
                    score, best = scores[q, i], first[i]
                    is_best = score < best
                    second[i] = best if is_best else min(score, second[i])
                    nearest[i] = np.int32(c + q) if is_best else nearest[i]
                    first[i] = score if is_best else best
        start = t * TILE
        for i in range(min(TILE, n_rows - start)):
            label, weight, norm = nearest[i], level.weights[start + i], 0.0
            for f in range(n_features):
                value = np.float64(level.rows[start + i, f])
                norm += value * value
                sums[label, f] += weight * value
            sizes[label] += weight
            labels[start + i] = label
            least = np.float64(first[i])
            sq_dist[start + i] = least if is_fine else max(2.0 * least + norm, 0.0)
            removal[label] += per_score * weight * (np.float64(second[i]) - least)
    return removal, sums, sizes


@compiled()
def weighted_mean(rows: Floats, weights: Floats) -> Floats:  # pragma: no cover - compiled
    """Return the mean of rows, row by row: exact for columns of one value, without overflow."""
    mean: Floats = rows[0].copy()
    total = weights[0]
    for i in range(1, len(rows)):
        total += weights[i]
        share = weights[i] / total
        for f in range(len(mean)):
            mean[f] += (rows[i, f] - mean[f]) * share
    return mean


@compiled()
def hash_rows(rows: Floats) -> NDArray[np.uint64]:  # pragma: no cover - compiled
    """Hash the bits of each row; zeros must have one sign."""
    hashes = np.empty(len(rows), np.uint64)
    bits = rows.view(np.uint64)
    for i in range(len(rows)):
        value = np.uint64(1469598103934665603)
        for f in range(rows.shape[1]):
            value = (value ^ bits[i, f]) * np.uint64(0x9E3779B97F4A7C15)
            value ^= value >> np.uint64(29)
        hashes[i] = value
    return hashes
