"""Rows brought to length one, in float64.

Covers: what cosine distances need: unit rows, and which rows have no direction. Does not
cover: fits on the sphere (see `cluster.sphere`).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from daskseg.kernels.compiling import compiled


@compiled()
def _divide(
    values: NDArray[Any], result: NDArray[np.float64]
) -> None:  # pragma: no cover - compiled
    n_features = values.shape[1]
    for i in range(len(values)):
        largest = 0.0
        for f in range(n_features):
            largest = max(largest, abs(np.float64(values[i, f])))
        # The largest value is taken off first: squares of the rest neither overflow nor vanish.
        square = 0.0
        for f in range(n_features):
            part = np.float64(values[i, f]) / largest if largest > 0.0 else 0.0
            square += part * part
        length = np.sqrt(square)
        for f in range(n_features):
            value = np.float64(values[i, f])
            result[i, f] = value / largest / length if 0.0 < length < np.inf else value


def unit_rows(values: NDArray[Any]) -> NDArray[np.float64]:
    """Divide each row by its length.

    Parameters
    ----------
    values : ndarray of shape (n_rows, n_features), float32 or float64

    Returns
    -------
    ndarray of the same shape, float64
        Rows of zeros, and rows with NaN or infinity, stay as they are.
    """
    result = np.empty(values.shape, np.float64)
    _divide(np.ascontiguousarray(values), result)
    return result


def without_direction(units: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Say which rows are all zeros, shape (n_rows,)."""
    return np.asarray(~units.any(axis=1))
