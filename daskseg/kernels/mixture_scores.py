"""Log-densities and memberships of the rows of one block.

Covers: what a fitted mixture says of rows, by the same tiles as a step of its fit. Does not
cover: sums of rows (see `kernels.mixture`).

Scratch memory: a few tiles, beside the answer.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from daskseg.kernels.compiling import compiled
from daskseg.kernels.mixture import TILE_ROWS, Ready, exponentiate, load_tile, score_tile

Floats = NDArray[np.float64]


@compiled()
def _score_rows(
    values: NDArray[Any], ready: Ready, log_density: Floats, shares: Floats
) -> None:  # pragma: no cover - compiled
    """Fill in log-densities and, with room for them, memberships of all rows."""
    n_components, n_features = ready.means.shape
    tile, shifted = np.empty((n_features, TILE_ROWS)), np.empty((n_features, TILE_ROWS))
    white = np.empty((n_features, TILE_ROWS))
    scores = np.empty((n_components, TILE_ROWS))
    top, total = np.empty(TILE_ROWS), np.empty(TILE_ROWS)
    for first in range(0, len(values), TILE_ROWS):
        n_rows = min(TILE_ROWS, len(values) - first)
        load_tile(values, first, n_rows, tile)
        score_tile(tile, ready, shifted, white, scores)
        exponentiate(scores, top, total)
        for i in range(n_rows):
            log_density[first + i] = top[i] + np.log(total[i])
            if len(shares):
                for k in range(n_components):
                    shares[first + i, k] = scores[k, i] / total[i]


def log_densities(values: NDArray[Any], ready: Ready) -> Floats:
    """Return the log-density of each row, of shape (n_rows,)."""
    found = np.empty(len(values))
    _score_rows(np.ascontiguousarray(values), ready, found, np.empty((0, 0)))
    return found


def memberships(values: NDArray[Any], ready: Ready) -> Floats:
    """Return the membership of each row in each component.

    Parameters
    ----------
    values : ndarray of shape (n_rows, n_features), float32 or float64
        Finite.
    ready : Ready

    Returns
    -------
    ndarray of shape (n_rows, n_components), float64
        Rows sum to one.
    """
    shares = np.empty((len(values), len(ready.offsets)))
    _score_rows(np.ascontiguousarray(values), ready, np.empty(len(values)), shares)
    return shares
