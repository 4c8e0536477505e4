"""Cosine distance as Euclidean distance on the unit sphere.

Covers: rows and centres brought to length one. Does not cover: the iteration, which is the
same (see `cluster.lloyd`).

Reference: Dhillon and Modha, Concept decompositions for large sparse text data using
clustering, Machine Learning 2001 (spherical k-means).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from daskseg.kernels.compiling import compiled


@compiled()
def _divide_by_length(
    values: NDArray[Any], result: NDArray[Any]
) -> None:  # pragma: no cover - compiled
    for i in range(len(values)):
        largest = 0.0
        for f in range(values.shape[1]):
            largest = max(largest, abs(np.float64(values[i, f])))
        square = 0.0
        for f in range(values.shape[1]):
            if largest > 0.0:
                part = np.float64(values[i, f]) / largest
                square += part * part
        length = np.sqrt(square)
        for f in range(values.shape[1]):
            if length > 0.0:
                result[i, f] = np.float64(values[i, f]) / largest / length
            else:
                result[i, f] = values[i, f]


def to_unit(values: NDArray[Any]) -> NDArray[Any]:
    """Divide each row by its length; rows of zeros, and rows with NaN, stay as they are.

    Parameters
    ----------
    values : ndarray of shape (n_rows, n_features), float32 or float64

    Returns
    -------
    ndarray of the same shape and dtype
    """
    result = np.empty(values.shape, values.dtype)
    _divide_by_length(np.ascontiguousarray(values), result)
    return result
