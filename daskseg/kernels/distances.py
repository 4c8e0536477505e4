"""All squared distances of a piece of a block, by the definition.

Covers: distances from rows to a few centres in float64, and labels from them. Does not cover:
labels of whole blocks, which need no distances (see `kernels.labels`).

Squared differences are added in the order of the features, without fast-math and BLAS, so
that a distance depends on the row and the centre alone. Scratch memory: about 3 MiB.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from daskseg.kernels.compiling import compiled

Floats = NDArray[np.float64]
# Arbitrary: this many distances stay in a second-level cache.
_PIECE_DISTANCES = 2**16
_MAX_PIECE_ROWS = 2**16
# Arbitrary: the columns of so many rows stay in a first-level cache.
_TILE_ROWS = 256


def pieces(n_rows: int, n_centres: int) -> Iterator[slice]:
    """Cut the rows of a block so that the distances of a piece stay in cache."""
    step = max(64, min(_MAX_PIECE_ROWS, _PIECE_DISTANCES // max(1, n_centres)))
    return (slice(start, min(start + step, n_rows)) for start in range(0, n_rows, step))


@compiled()
def _sq_distances(columns: Floats, centres: Floats) -> Floats:  # pragma: no cover - compiled
    n_features, n_rows = columns.shape
    result = np.zeros((len(centres), n_rows))
    for start in range(0, n_rows, _TILE_ROWS):
        stop = min(start + _TILE_ROWS, n_rows)
        for j in range(len(centres)):
            nearby = result[j, start:stop]
            for f in range(n_features):
                column = columns[f, start:stop]
                centre = centres[j, f]
                # Rows are the inner loop: they are independent, so vector units keep the bits.
                for i in range(stop - start):
                    difference = column[i] - centre
                    nearby[i] += difference * difference
    return result


def sq_distances(values: NDArray[np.floating], centres: Floats) -> Floats:
    """Compute all squared distances of a piece of a block.

    Parameters
    ----------
    values : ndarray of shape (n_rows, n_features), float32 or float64
    centres : ndarray of shape (n_centres, n_features), float64

    Returns
    -------
    ndarray of shape (n_centres, n_rows), float64
        One row per centre. Squared feature units.
    """
    columns = np.ascontiguousarray(values.T, dtype=np.float64)
    return np.asarray(_sq_distances(columns, np.ascontiguousarray(centres, dtype=np.float64)))
