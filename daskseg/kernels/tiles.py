"""The nearest centre of each row of a tile: a float32 filter, settled in float64.

Covers: centres made ready for the filter, and per tile of 256 rows the label and how far it
is from changing. Does not cover: whole blocks and their sums (see `kernels.assign`).

A label is defined in float64: squared differences added in the order of the features; the
smallest centre index wins a tie. The filter compares ``|c|**2 / 2 - y.c`` in float32 about an
origin amid the centres, with a bound on its own error; rows that it cannot tell apart are
settled by the definition. So labels depend on the row and the centres alone, whatever the
processor does to the filter.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from daskseg.kernels.compiling import compiled

Floats = NDArray[np.float64]
TILE_ROWS = 256
# Centres are scored four at a time; missing ones are filled up with this half square.
GROUP = 4
_FAR = np.float32(3e38)
# Added to every bound, against underflow.
_TINY = 1e-30


class Stack(NamedTuple):
    """Several sets of centres, one below the other.

    Attributes
    ----------
    centres : ndarray of shape (n_centres, n_features), float64, C-contiguous
    starts : ndarray of shape (n_sets + 1,), int64
        Set s holds the centres ``starts[s]:starts[s + 1]``.
    """

    centres: Floats
    starts: NDArray[np.int64]


class Ready(NamedTuple):
    """A stack as the filter wants it.

    Attributes
    ----------
    centres, starts : as in `Stack`
    origin : ndarray of shape (n_features,), of the dtype of the rows
        Taken off the rows; the median of the centres, which outlying ones do not move.
    scale : scalar of that dtype
        Power of two that brings the centres to about 1.
    radii : ndarray of shape (n_slots,), float32
        Of set 0, scaled: how far each centre is thought to move; see `tile_margins`.
    narrow : ndarray of shape (n_slots, n_features), float32
        Shifted and scaled centres; each set begins at a multiple of four.
    half : ndarray of shape (n_slots,), float32
        Half their squares, lowered by the filter's error.
    slots : ndarray of shape (n_sets + 1,), int64
        Set s has the slots ``slots[s]:slots[s + 1]``.
    slack : float
        The filter's relative error.
    """

    centres: Floats
    starts: NDArray[np.int64]
    origin: NDArray[Any]
    scale: Any
    radii: NDArray[np.float32]
    narrow: NDArray[np.float32]
    half: NDArray[np.float32]
    slots: NDArray[np.int64]
    slack: float


class Scratch(NamedTuple):
    """Buffers for one tile, used again for every tile of a block."""

    rows: NDArray[np.float32]
    tile: NDArray[np.float32]
    norms: NDArray[np.float32]
    scores: NDArray[np.float32]
    best: NDArray[np.float32]
    second: NDArray[np.float32]
    slot: NDArray[np.int32]


def stack(centre_sets: list[Floats]) -> Stack:
    """Put sets of centres below each other."""
    starts = np.concatenate([[0], np.cumsum([len(centres) for centres in centre_sets])])
    return Stack(
        np.ascontiguousarray(np.concatenate(centre_sets), dtype=np.float64),
        starts.astype(np.int64),
    )


def make_ready(centres: Stack, dtype: np.dtype[Any], radii: Floats | None = None) -> Ready:
    """Shift, scale and round the centres of a stack for the filter.

    Parameters
    ----------
    centres : Stack
    dtype : float32 or float64
        Of the rows.
    radii : ndarray of shape (n_centres,), float64, optional
        In units of the features; of a stack of one set.

    Notes
    -----
    With u = 2**-24 a score is wrong by at most ``slack * (|c|**2 / 2 + |y| |c|)``, for
    ``slack = (n_features + 8) * u``: one rounding of each input, product and sum; it is taken
    larger, for what is computed from scores later. Because
    ``|y| |c| <= (|y|**2 + |c|**2) / 2``, lowering each half square by ``2 * slack`` of itself
    leaves a part that is the same for all centres.
    """
    wide, starts = centres
    n_features = wide.shape[1]
    origin = np.median(wide, axis=0).astype(dtype)
    shifted = wide - origin
    largest = float(np.max(np.abs(shifted), initial=0.0))
    reach = 900 if dtype == np.float64 else 100
    scale = dtype.type(2.0 ** -int(np.clip(np.frexp(largest)[1], -reach, reach)))
    sizes = -(-np.diff(starts) // GROUP) * GROUP
    slots = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
    narrow = np.zeros((int(slots[-1]), n_features), np.float32)
    half = np.full(len(narrow), _FAR)
    slack = 1.05 * (n_features + 16) * 2.0**-24
    for s in range(len(starts) - 1):
        own = (shifted[starts[s] : starts[s + 1]] * scale).astype(np.float32)
        narrow[slots[s] : slots[s] + len(own)] = own
        squares = np.cumsum(own.astype(np.float64) ** 2, axis=1)[:, -1]
        half[slots[s] : slots[s] + len(own)] = 0.5 * squares * (1.0 - 2.0 * slack)
    moves = np.zeros(len(narrow), np.float32)
    if radii is not None:
        # Rounded up: a radius that is too large is merely cautious.
        moves[: len(radii)] = radii * scale * (1.0 + 2.0**-20)
    return Ready(wide, starts, origin, scale, moves, narrow, half, slots, slack)


def make_scratch(n_features: int, n_kept: int = GROUP) -> Scratch:
    """Allocate the buffers of one tile.

    Parameters
    ----------
    n_features : int
    n_kept : int
        Slots whose scores are kept; four where no margins are wanted.
    """
    rows = [np.empty(TILE_ROWS, np.float32) for _ in range(3)]
    return Scratch(
        np.zeros((TILE_ROWS, n_features), np.float32),
        np.zeros((n_features, TILE_ROWS), np.float32),
        rows[0],
        np.empty((n_kept, TILE_ROWS), np.float32),
        rows[1],
        rows[2],
        np.empty(TILE_ROWS, np.int32),
    )


@compiled()
def load_tile(
    values: NDArray[Any], first: int, n_rows: int, ready: Ready, scratch: Scratch
) -> None:  # pragma: no cover - compiled
    """Put rows ``first:first + n_rows`` into the tile: shifted, scaled, features first."""
    rows, tile, norms = scratch.rows, scratch.tile, scratch.norms
    origin, scale = ready.origin, ready.scale
    # In two loops, because the first one runs on vectors only if it writes as it reads.
    for i in range(n_rows):
        row = values[first + i]
        for f in range(len(origin)):
            rows[i, f] = np.float32((row[f] - origin[f]) * scale)
    norms[:] = np.float32(0.0)
    for f in range(len(origin)):
        column = tile[f]
        for i in range(n_rows):
            column[i] = rows[i, f]
        for i in range(TILE_ROWS):
            norms[i] += column[i] * column[i]


@compiled(fastmath={"contract"})
def _score_four(
    tile: NDArray[np.float32],
    narrow: NDArray[np.float32],
    half: NDArray[np.float32],
    slot: int,
    scores: NDArray[np.float32],
) -> None:  # pragma: no cover - compiled
    """Score four centres; four features at a time keep rows and scores in registers."""
    a0, a1, a2, a3 = scores[0], scores[1], scores[2], scores[3]
    a0[:] = half[slot]
    a1[:] = half[slot + 1]
    a2[:] = half[slot + 2]
    a3[:] = half[slot + 3]
    n_features = tile.shape[0]
    f = 0
    while f + 4 <= n_features:
        p0, p1, p2, p3 = (
            narrow[slot, f],
            narrow[slot, f + 1],
            narrow[slot, f + 2],
            narrow[slot, f + 3],
        )
        q0, q1, q2, q3 = (
            narrow[slot + 1, f],
            narrow[slot + 1, f + 1],
            narrow[slot + 1, f + 2],
            narrow[slot + 1, f + 3],
        )
        r0, r1, r2, r3 = (
            narrow[slot + 2, f],
            narrow[slot + 2, f + 1],
            narrow[slot + 2, f + 2],
            narrow[slot + 2, f + 3],
        )
        s0, s1, s2, s3 = (
            narrow[slot + 3, f],
            narrow[slot + 3, f + 1],
            narrow[slot + 3, f + 2],
            narrow[slot + 3, f + 3],
        )
        x0, x1, x2, x3 = tile[f], tile[f + 1], tile[f + 2], tile[f + 3]
        for i in range(TILE_ROWS):
            a0[i] = a0[i] - x0[i] * p0 - x1[i] * p1 - x2[i] * p2 - x3[i] * p3
            a1[i] = a1[i] - x0[i] * q0 - x1[i] * q1 - x2[i] * q2 - x3[i] * q3
            a2[i] = a2[i] - x0[i] * r0 - x1[i] * r1 - x2[i] * r2 - x3[i] * r3
            a3[i] = a3[i] - x0[i] * s0 - x1[i] * s1 - x2[i] * s2 - x3[i] * s3
        f += 4
    while f < n_features:
        p0, q0, r0, s0 = (
            narrow[slot, f],
            narrow[slot + 1, f],
            narrow[slot + 2, f],
            narrow[slot + 3, f],
        )
        x0 = tile[f]
        for i in range(TILE_ROWS):
            a0[i] = a0[i] - x0[i] * p0
            a1[i] = a1[i] - x0[i] * q0
            a2[i] = a2[i] - x0[i] * r0
            a3[i] = a3[i] - x0[i] * s0
        f += 1


@compiled()
def _keep_two(
    score: NDArray[np.float32],
    slot: int,
    best: NDArray[np.float32],
    second: NDArray[np.float32],
    which: NDArray[np.int32],
) -> None:  # pragma: no cover - compiled
    for i in range(TILE_ROWS):
        value = score[i]
        is_best = value < best[i]
        worse = best[i] if is_best else value
        second[i] = min(second[i], worse)
        which[i] = slot if is_best else which[i]
        best[i] = value if is_best else best[i]


@compiled()
def _settle(
    row: NDArray[Any], centres: Floats, first: int, last: int
) -> int:  # pragma: no cover - compiled
    """Return the label by the definition."""
    label, least = 0, np.inf
    for j in range(first, last):
        sq_dist = 0.0
        for f in range(len(row)):
            difference = np.float64(row[f]) - centres[j, f]
            sq_dist += difference * difference
        if sq_dist < least:
            label, least = j - first, sq_dist
    return label


@compiled()
def label_tile(
    values: NDArray[Any],
    first: int,
    n_rows: int,
    ready: Ready,
    s: int,
    scratch: Scratch,
    labels: NDArray[np.int32],
) -> None:  # pragma: no cover - compiled
    """Find the label of each row of a loaded tile in set `s`; writes ``labels[:n_rows]``.

    Rows that had to be settled are marked by a second best score of minus infinity.
    """
    best, second, slot, norms = scratch.best, scratch.second, scratch.slot, scratch.norms
    best[:] = _FAR
    second[:] = _FAR
    begin = ready.slots[s]
    slot[:] = begin
    for c in range(begin, ready.slots[s + 1], GROUP):
        kept = c - begin if len(scratch.scores) > GROUP else 0
        scores = scratch.scores[kept : kept + GROUP]
        _score_four(scratch.tile, ready.narrow, ready.half, c, scores)
        for q in range(GROUP):
            _keep_two(scores[q], c + q, best, second, slot)
    slack = np.float32(ready.slack)
    first_centre, last_centre = ready.starts[s], ready.starts[s + 1]
    for i in range(n_rows):
        bound = np.float32(4.2) * slack * ready.half[slot[i]] + slack * norms[i] + np.float32(_TINY)
        # Written so that NaN and differences of infinities are settled too.
        if second[i] - best[i] > bound:
            labels[i] = slot[i] - begin
        else:
            labels[i] = _settle(values[first + i], ready.centres, first_centre, last_centre)
            second[i] = -np.inf


@compiled()
def score_tile(ready: Ready, s: int, scratch: Scratch) -> None:  # pragma: no cover - compiled
    """Score all centres of set `s` for a loaded tile, and nothing else; all scores are kept."""
    begin = ready.slots[s]
    for c in range(begin, ready.slots[s + 1], GROUP):
        scores = scratch.scores[c - begin : c - begin + GROUP]
        _score_four(scratch.tile, ready.narrow, ready.half, c, scores)


@compiled()
def _upper_distances(
    n_rows: int, ready: Ready, scratch: Scratch, upper: NDArray[np.float32]
) -> None:  # pragma: no cover - compiled
    """Bound the scaled distance of each row from its nearest centre from above."""
    slack = np.float32(ready.slack)
    for i in range(n_rows):
        norm, half = scratch.norms[i], ready.half[scratch.slot[i]]
        square = norm + np.float32(2.0) * scratch.best[i]
        square += slack * (np.float32(2.0) * norm + np.float32(8.4) * half) + np.float32(_TINY)
        upper[i] = np.sqrt(max(square, np.float32(0.0))) * np.float32(1.0 + 2.0**-21)


@compiled()
def tile_near(
    n_rows: int,
    ready: Ready,
    scratch: Scratch,
    reach: float,
    upper: NDArray[np.float32],
    is_near: NDArray[np.bool_],
) -> None:  # pragma: no cover - compiled
    """Mark the rows of a tile whose margin may be up to `reach`, after `label_tile` on set 0.

    With u for the upper distance from the own centre plus `reach` radii, another centre stays
    farther if its distance is at least u plus `reach` of its own radii: squared, one product
    and one difference per score.
    """
    _upper_distances(n_rows, ready, scratch, upper)
    slack, moved = np.float32(ready.slack), np.float32(reach)
    own, least = scratch.slot, scratch.second
    for i in range(n_rows):
        is_near[i] = not least[i] > -np.inf
        upper[i] += moved * ready.radii[own[i]]
        least[i] = np.float32(np.inf)
    for c in range(ready.starts[1] - ready.starts[0]):
        radius = moved * ready.radii[c]
        half = np.float32(0.5) * radius * radius
        score = scratch.scores[c]
        for i in range(n_rows):
            value = score[i] - upper[i] * radius - half
            value = np.float32(np.inf) if own[i] == c else value
            least[i] = value if value < least[i] else least[i]  # noqa: FURB136 - runs on vectors
    for i in range(n_rows):
        norm = scratch.norms[i]
        limit = np.float32(0.5) * (upper[i] * upper[i] - norm) + np.float32(2.0) * slack * (
            norm + upper[i] * upper[i]
        )
        is_near[i] = is_near[i] or not least[i] > limit


@compiled()
def tile_margins(
    n_rows: int,
    ready: Ready,
    scratch: Scratch,
    upper: NDArray[np.float32],
    margins: Floats,
) -> None:  # pragma: no cover - compiled
    """Bound from below the margin of each row of a tile, after `label_tile` on set 0.

    A margin t says that the label holds while no centre has moved by t of its radii: the least
    of ``(d_j - d) / (r_j + r)`` over the other centres j, with d and r of the own one. The
    filter's own error is taken off. Rows that had to be settled have no margin: -inf.
    """
    _upper_distances(n_rows, ready, scratch, upper)
    slack = np.float32(ready.slack)
    own, least = scratch.slot, scratch.best
    least[:] = np.float32(np.inf)
    for c in range(ready.starts[1] - ready.starts[0]):
        score = scratch.scores[c]
        for i in range(n_rows):
            norm = scratch.norms[i]
            square = norm - np.float32(2.0) * slack * norm + np.float32(2.0) * score[i]
            square -= np.float32(_TINY)
            lower = np.sqrt(max(square, np.float32(0.0))) * np.float32(1.0 - 2.0**-21)
            value = (lower - upper[i]) / (ready.radii[own[i]] + ready.radii[c])
            value = np.float32(np.inf) if own[i] == c else value
            least[i] = value if value < least[i] else least[i]  # noqa: FURB136 - runs on vectors
    for i in range(n_rows):
        is_known = scratch.second[i] > -np.inf and not np.isnan(least[i])
        margins[i] = least[i] * (1.0 - 2.0**-20) if is_known else -np.inf
