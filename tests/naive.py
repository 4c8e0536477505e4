"""Slow, obvious versions of what daskseg computes. Imports numpy only, never daskseg."""

from __future__ import annotations

import numpy as np


def sq_distances(rows, centres):
    """Squared distances of every row to every centre, added in the order of the features."""
    result = np.zeros((len(rows), len(centres)))
    for i, row in enumerate(np.asarray(rows, np.float64)):
        for j, centre in enumerate(np.asarray(centres, np.float64)):
            for x, c in zip(row, centre, strict=True):
                # Not a power: that need not be rounded like a product.
                result[i, j] += (x - c) * (x - c)
    return result


def labels_of(rows, centres):
    """The nearest centre of every row; argmin takes the smallest index at a tie."""
    return sq_distances(rows, centres).argmin(axis=1)


def inertia_of(rows, centres, weights=None):
    nearest = sq_distances(rows, centres).min(axis=1)
    return float(np.sum(nearest if weights is None else nearest * weights))


def lloyd(rows, centres, max_iter, weights=None):
    """Lloyd's iteration; the e-th empty cluster takes the e-th farthest distinct row.

    Returns the centres, the number of steps, and whether nothing changed any more.
    """
    rows = np.asarray(rows, np.float64)
    weights = np.ones(len(rows)) if weights is None else np.asarray(weights, np.float64)
    centres = np.array(centres, np.float64)
    for step in range(1, max_iter + 1):
        sq_dist = sq_distances(rows, centres)
        labels = sq_dist.argmin(axis=1)
        fresh = centres.copy()
        empty = []
        for j in range(len(centres)):
            own = labels == j
            if weights[own].sum() > 0:
                fresh[j] = np.average(rows[own], axis=0, weights=weights[own])
            else:
                empty.append(j)
        far = []
        for i in sorted(range(len(rows)), key=lambda i: (-sq_dist[i].min(), i)):
            seen = any(np.array_equal(rows[i], rows[other]) for other in far)
            if weights[i] > 0 and sq_dist[i].min() > 0 and not seen:
                far.append(i)
        for j, i in zip(empty, far, strict=False):
            fresh[j] = rows[i]
        fresh = np.delete(fresh, empty[len(far) :], axis=0)
        if fresh.shape == centres.shape and np.allclose(fresh, centres, rtol=0, atol=1e-13):
            return fresh, step, True
        centres = fresh
    return centres, max_iter, False


def silhouettes(rows, labels):
    """The silhouette of every row with squared Euclidean distances, from all pairs."""
    labels = np.asarray(labels)
    sq_dist = sq_distances(rows, rows)
    result = np.zeros(len(rows))
    for i in range(len(rows)):
        own = labels == labels[i]
        if own.sum() == 1:
            continue
        a = sq_dist[i, own].sum() / (own.sum() - 1)
        b = min(sq_dist[i, labels == other].mean() for other in set(labels) - {labels[i]})
        result[i] = (b - a) / max(a, b) if max(a, b) > 0 else 0.0
    return result


def order_statistic(values, rank):
    """The rank-th smallest value that is not NaN (from 1)."""
    return sorted(v for v in values if not np.isnan(v))[rank - 1]
