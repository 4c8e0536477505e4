"""What moves between two partitions of the same rows.

Covers: the shares of the rows by two sets of centres, as a table and as a frame. Does not cover:
telling them (see `daskseg.report.moves`).
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from daskseg.kernels.labels import labels_of

Floats = NDArray[np.float64]


def shares_of(values: Floats, weights: Floats, first: Floats, second: Floats) -> Floats:
    """Share out weighted rows by their nearest centres in two partitions.

    Parameters
    ----------
    values : ndarray of shape (n_rows, n_features), float64
    weights : ndarray of shape (n_rows,), float64
        Repeats of the rows; their sum is above zero.
    first, second : ndarray of shape (n_clusters, n_features), float64
        Centres of either partition.

    Returns
    -------
    ndarray of shape (n_first, n_second), float64
        Sums to one.

    Notes
    -----
    Adds in the order of the rows: the same bits for the same sample. Memory: two labels a row.

    Examples
    --------
    >>> rows, centres = np.array([[0.0], [1.0], [4.0], [9.0]]), np.array([[0.0], [1.0], [7.0]])
    >>> shares_of(rows, np.ones(4), np.array([[1.0], [9.0]]), centres).tolist()
    [[0.25, 0.5, 0.0], [0.0, 0.0, 0.25]]
    """
    shape = len(first), len(second)
    cells = labels_of(values, first).astype(np.int64) * shape[1] + labels_of(values, second)
    table = np.bincount(cells, weights=weights, minlength=shape[0] * shape[1]).reshape(shape)
    return np.asarray(table / np.cumsum(weights)[-1], dtype=np.float64)


def to_frame(shares: Floats) -> pd.DataFrame:
    """Return the cells of `shares_of` that hold rows, one a line.

    Returns
    -------
    DataFrame
        from_cluster, to_cluster (from 0), share (of all rows), of_from and of_to (of the rows of
        the one and of the other cluster), all float64.
    """
    first, second = np.nonzero(shares)
    share = shares[first, second]
    return pd.DataFrame({
        "from_cluster": first,
        "to_cluster": second,
        "share": share,
        "of_from": share / shares.sum(axis=1)[first],
        "of_to": share / shares.sum(axis=0)[second],
    })  # fmt: skip
