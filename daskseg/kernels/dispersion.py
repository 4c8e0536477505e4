"""Scores of a labelling from exact sums: Calinski-Harabasz, and Davies-Bouldin.

Covers: finishing, on the driver, the sums of one labelling of all rows. Does not cover: making
them (see `kernels.assign` and `kernels.silhouette`).

References: Calinski and Harabasz, A dendrite method for cluster analysis, Communications in
Statistics 1974; Davies and Bouldin, A cluster separation measure, IEEE PAMI 1979.
"""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from daskseg.kernels import steps
from daskseg.kernels.assign import StepGrid, StepPart
from daskseg.kernels.compiling import compiled

Floats = NDArray[np.float64]


def within(part: StepPart, grid: StepGrid) -> float:
    """Return the squared error of all rows about the means of their clusters.

    Parameters
    ----------
    part : StepPart
        With squares.
    grid : StepGrid
    """
    means, _ = steps.means_of(part, grid)
    return max(0.0, float(sum(steps.sse_of(part, grid, means), Fraction(0))))


def between(part: StepPart, grid: StepGrid) -> float:
    """Return the weighted squared distances of the means from the mean of all rows.

    Each difference of a mean is an exact integer over an exact weight, so that nothing cancels.
    """
    units = steps.units_of(part)
    weights = units[:, -2]
    units, weights = units[weights > 0], weights[weights > 0]
    whole = int(weights.sum())
    terms = []
    for f, exponent in enumerate(grid.exponents[:-2]):
        moved = units[:, f] * whole - weights * int(units[:, f].sum())
        # Of sums in one unit over weights in another, times a weight.
        scale = steps.unit(int(exponent)) ** 2 / steps.unit(int(grid.exponents[-2]))
        squares = moved * moved * scale.numerator
        below = weights * (whole * whole * scale.denominator)
        terms += (squares / below).tolist()
    return math.fsum(terms)


def calinski_harabasz(part: StepPart, grid: StepGrid) -> float:
    """Return the ratio of the dispersions between and within clusters, per degree of freedom.

    Parameters
    ----------
    part : StepPart
        Of one labelling, with squares; clusters without weight do not count.
    grid : StepGrid

    Returns
    -------
    float
        1.0 if no row differs from its mean, as scikit-learn has it; NaN where there is one
        cluster only, or as many as weight.
    """
    weights = [weight for weight in steps.weights_of(part, grid) if weight > 0]
    n_clusters, whole = len(weights), sum(weights, Fraction(0))
    if not 1 < n_clusters < whole:
        return math.nan
    inner = within(part, grid)
    if inner == 0.0:
        return 1.0
    return between(part, grid) / inner * float((whole - n_clusters) / (n_clusters - 1))


@compiled()
def _worst_ratios(means: Floats, spread: Floats) -> Floats:  # pragma: no cover - compiled
    worst = np.zeros(len(means))
    for i in range(len(means)):
        for j in range(i):
            sq_dist = 0.0
            for f in range(means.shape[1]):
                difference = means[i, f] - means[j, f]
                sq_dist += difference * difference
            if sq_dist > 0.0:
                ratio = (spread[i] + spread[j]) / np.sqrt(sq_dist)
                worst[i] = max(worst[i], ratio)
                worst[j] = max(worst[j], ratio)
    return worst


def davies_bouldin(means: Floats, spread: Floats, sizes: Floats) -> float:
    """Return the mean over the clusters of their worst ratio of spread to distance.

    Parameters
    ----------
    means : ndarray of shape (n_clusters, n_features), float64
    spread : ndarray of shape (n_clusters,), float64
        Mean distance of the rows to their mean.
    sizes : ndarray of shape (n_clusters,), float64
        Weights; clusters without any do not count.

    Returns
    -------
    float
        Pairs of means that coincide are left out, as scikit-learn has it. NaN for one cluster.
    """
    real = sizes > 0
    if np.count_nonzero(real) < 2:
        return math.nan
    worst = _worst_ratios(np.ascontiguousarray(means[real]), np.ascontiguousarray(spread[real]))
    return math.fsum(worst) / len(worst)
