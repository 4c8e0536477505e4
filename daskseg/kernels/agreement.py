"""How alike two partitions of the same rows are: prediction strength, Jaccard, adjusted Rand.

Covers: tables of two labellings and the three measures from a table. Does not cover: the fits
whose labels are compared (see `model_selection.criteria`, `cluster.ensemble`).

References: Tibshirani and Walther, Cluster validation by prediction strength, J. Comput. Graph.
Stat. 2005; Hennig, Cluster-wise assessment of cluster stability, Comput. Stat. Data Anal. 2007;
Hubert and Arabie, Comparing partitions, J. Classification 1985.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Labels = NDArray[np.int32]


def table_of(first: Labels, second: Labels, weights: Floats, n_clusters: int) -> Floats:
    """Count rows by two labellings.

    Parameters
    ----------
    first, second : ndarray of shape (n_rows,), int32
        From 0 below `n_clusters`.
    weights : ndarray of shape (n_rows,), float64
        Repeats of the rows.
    n_clusters : int

    Returns
    -------
    ndarray of shape (n_clusters, n_clusters), float64
        One row per label of the first.
    """
    cells = first.astype(np.int64) * n_clusters + second
    counts = np.bincount(cells, weights=weights, minlength=n_clusters * n_clusters)
    return np.asarray(counts.reshape(n_clusters, n_clusters), dtype=np.float64)


def _pairs(counts: Floats) -> Floats:
    return np.asarray(counts * np.maximum(counts - 1.0, 0.0) / 2.0)


def adjusted_rand(table: Floats) -> float:
    """Return the adjusted Rand index: 1 for equal partitions, about 0 for unrelated ones.

    Examples
    --------
    >>> adjusted_rand(np.array([[0.0, 4.0], [3.0, 0.0]]))
    1.0
    """
    both = float(_pairs(table).sum())
    rows, columns = float(_pairs(table.sum(axis=1)).sum()), float(_pairs(table.sum(axis=0)).sum())
    every = float(_pairs(np.array([table.sum()]))[0])
    if every == 0:
        return 1.0
    chance, most = rows * columns / every, (rows + columns) / 2.0
    return 1.0 if most == chance else (both - chance) / (most - chance)


def jaccards(table: Floats) -> Floats:
    """Return, per cluster of the first labelling, the Jaccard index with its best match.

    Returns
    -------
    ndarray of shape (n_clusters,), float64
        Shared rows ÷ rows in either; 0 for an empty cluster.

    Examples
    --------
    >>> jaccards(np.array([[4.0, 0.0], [1.0, 3.0]])).tolist()
    [0.8, 0.75]
    """
    either = table.sum(axis=1)[:, None] + table.sum(axis=0)[None, :] - table
    shares = np.divide(table, either, out=np.zeros_like(table), where=either > 0)
    return np.asarray(shares.max(axis=1))


def prediction_strength(table: Floats) -> float:
    """Return the least share of the pairs in a cluster of the first that the second keeps.

    Clusters of one row have no pair and are passed over; 1 if all are such.

    Examples
    --------
    >>> prediction_strength(np.array([[4.0, 0.0], [2.0, 2.0]]))
    0.3333333333333333
    """
    every = _pairs(table.sum(axis=1))
    kept = _pairs(table).sum(axis=1)
    return float(min((kept[every > 0] / every[every > 0]).tolist(), default=1.0))
