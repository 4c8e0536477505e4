"""The nearest and the second nearest centre of each row of one block.

Covers: what a score needs: two labels and two distances per row. Does not cover: sums for a
fit (see `kernels.assign`).

Scratch memory: 32 bytes per row, mostly the answer.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from daskseg.kernels.compiling import compiled


class TopTwo(NamedTuple):
    """Per row: the nearest centre and its distance, and the same of the second nearest.

    Attributes
    ----------
    first, second : ndarray of shape (n_rows,), int32
        `second` is -1 where there is one centre only.
    first_dist, second_dist : ndarray of shape (n_rows,), float64
        Euclidean, in prepared units; `second_dist` is infinite where there is one centre only.
    """

    first: NDArray[np.int32]
    second: NDArray[np.int32]
    first_dist: NDArray[np.float64]
    second_dist: NDArray[np.float64]


@compiled()
def _top_two(
    rows: NDArray[np.float64], centres: NDArray[np.float64]
) -> tuple[
    NDArray[np.int32], NDArray[np.int32], NDArray[np.float64], NDArray[np.float64]
]:  # pragma: no cover - compiled
    n_rows, n_features = rows.shape
    first = np.full(n_rows, -1, np.int32)
    second = np.full(n_rows, -1, np.int32)
    first_sq = np.full(n_rows, np.inf)
    second_sq = np.full(n_rows, np.inf)
    for i in range(n_rows):
        for j in range(len(centres)):
            sq_dist = 0.0
            for f in range(n_features):
                difference = rows[i, f] - centres[j, f]
                sq_dist += difference * difference
            if sq_dist < first_sq[i]:
                second[i], second_sq[i] = first[i], first_sq[i]
                first[i], first_sq[i] = j, sq_dist
            elif sq_dist < second_sq[i]:
                second[i], second_sq[i] = j, sq_dist
    return first, second, np.sqrt(first_sq), np.sqrt(second_sq)


def top_two(rows: NDArray[np.float64], centres: NDArray[np.float64]) -> TopTwo:
    """Find the two nearest centres of each row; the lowest index wins a tie.

    Parameters
    ----------
    rows : ndarray of shape (n_rows, n_features), float64
        Finite; the caller has checked it.
    centres : ndarray of shape (n_clusters, n_features), float64

    Returns
    -------
    TopTwo
        Distances by direct differences, summed in the order of the features.
    """
    return TopTwo(*_top_two(np.ascontiguousarray(rows), np.ascontiguousarray(centres)))


def confidence(found: TopTwo) -> NDArray[np.float64]:
    """Return 1 - d1 / d2 per row: 0 midway between two centres, 1 at a centre.

    Two centres at distance zero, or two that coincide, leave no doubt to express: 0.
    """
    with np.errstate(invalid="ignore"):
        ratio = found.first_dist / found.second_dist
    return np.where(found.second_dist > 0, 1.0 - ratio, 0.0)


def scratch_bytes(  # one signature for all kernels
    n_features: int,  # noqa: ARG001
    n_centres: int,  # noqa: ARG001
    block_rows: int,
    itemsize: int,  # noqa: ARG001
) -> int:
    """Return the memory that `top_two` takes beside a block of contiguous float64 rows."""
    return 32 * block_rows
