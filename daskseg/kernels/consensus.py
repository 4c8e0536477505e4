"""What many partitions of the same weighted points have in common.

Covers: how often two points share a cluster, means of that over groups, the share of pairs on
which partitions disagree. Does not cover: making the partitions (see `cluster.ensemble`).

Scratch: the matrix of all pairs, 4 bytes each.

References: Fred and Jain, Combining multiple clusterings using evidence accumulation, TPAMI 2005;
Şenbabaoğlu, Michailidis and Li, Critical limitations of consensus clustering in class discovery,
Scientific Reports 2014 (the share of ambiguous pairs, PAC).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from daskseg.kernels.compiling import compiled

Floats = NDArray[np.float64]
Labels = NDArray[np.int32]
Matrix = NDArray[np.float32]
# Pairs that share a cluster in more than the first and less than the second share of partitions
# are ambiguous; as Şenbabaoğlu has it.
AMBIGUOUS = (0.1, 0.9)


@compiled()
def _count_shared(labels: Labels, counts: Matrix) -> None:  # pragma: no cover - compiled
    n_runs, n_points = labels.shape
    for i in range(n_points):
        row = counts[i]
        for r in range(n_runs):
            own = labels[r]
            label = own[i]
            for j in range(n_points):
                row[j] += np.float32(own[j] == label)


def coassociation(labels: Labels) -> Matrix:
    """Return in which share of the partitions every two points are in one cluster.

    Parameters
    ----------
    labels : ndarray of shape (n_runs, n_points), int32
        Below 2**24 runs, so that counts are exact.

    Returns
    -------
    ndarray of shape (n_points, n_points), float32

    Examples
    --------
    >>> coassociation(np.array([[0, 0, 1], [5, 3, 3]], np.int32)).tolist()
    [[1.0, 0.5, 0.0], [0.5, 1.0, 0.5], [0.0, 0.5, 1.0]]
    """
    counts = np.zeros((labels.shape[1], labels.shape[1]), np.float32)
    _count_shared(np.ascontiguousarray(labels), counts)
    counts /= np.float32(len(labels))
    return counts


@compiled()
def _mean_links(
    matrix: Matrix, weights: Floats, groups: Labels, means: Floats
) -> None:  # pragma: no cover - compiled
    n_groups = means.shape[1]
    mass = np.zeros(n_groups)
    for j in range(len(weights)):
        mass[groups[j]] += weights[j]
    for i in range(len(weights)):
        for j in range(len(weights)):
            means[i, groups[j]] += weights[j] * matrix[i, j]
        for g in range(n_groups):
            means[i, g] /= mass[g] if mass[g] > 0 else 1.0


def mean_links(matrix: Matrix, weights: Floats, groups: Labels, n_groups: int) -> Floats:
    """Return the weighted mean of a point's entries over each group, its own entry included.

    Parameters
    ----------
    matrix : ndarray of shape (n_points, n_points), float32
    weights : ndarray of shape (n_points,), float64
    groups : ndarray of shape (n_points,), int32
    n_groups : int

    Returns
    -------
    ndarray of shape (n_points, n_groups), float64
        Zero for a group without points.
    """
    means = np.zeros((len(weights), n_groups))
    _mean_links(matrix, weights, groups, means)
    return means


@compiled()
def _ambiguous(
    matrix: Matrix, weights: Floats, low: Any, high: Any
) -> float:  # pragma: no cover - compiled
    unsure, every = 0.0, 0.0
    for i in range(len(weights)):
        for j in range(i):
            pair = weights[i] * weights[j]
            every += pair
            if low < matrix[i, j] < high:
                unsure += pair
    return unsure / every if every > 0 else 0.0


def ambiguous_share(matrix: Matrix, weights: Floats) -> float:
    """Return the weighted share of pairs of points that are neither mostly together nor apart."""
    low, high = np.float32(AMBIGUOUS[0]), np.float32(AMBIGUOUS[1])
    return float(_ambiguous(matrix, weights, low, high))


def agreement_with(labels: Labels, groups: Labels, weights: Floats) -> Floats:
    """Return in which share of the partitions a point's cluster belongs to the point's group.

    A cluster belongs to the group that most of its weight is in; partitions may have more or
    fewer clusters than there are groups.

    Parameters
    ----------
    labels : ndarray of shape (n_runs, n_points), int32
    groups : ndarray of shape (n_points,), int32
    weights : ndarray of shape (n_points,), float64

    Returns
    -------
    ndarray of shape (n_points,), float64
    """
    n_groups = int(groups.max()) + 1
    agreed = np.zeros(len(groups))
    for own in labels:
        n_own = int(own.max()) + 1
        cells = own.astype(np.int64) * n_groups + groups
        table = np.bincount(cells, weights, n_own * n_groups).reshape(n_own, n_groups)
        agreed += table.argmax(axis=1)[own] == groups
    return agreed / len(labels)
