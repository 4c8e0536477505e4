"""Whether segments lie apart: how crowded the border between two of them is.

Covers: for any two clusters, the density of their rows on the line through both centres: at the
border, against the densest place on the poorer side; the most crowded border of a partition.
Does not cover: what a partition of rows without structure has there (see `criteria.measure`).

Related: Halkidi and Vazirgiannis, Clustering validity assessment: finding the optimal
partitioning of a data set, ICDM 2001 (density between centres in S_Dbw); Kalogeratos and Likas,
Dip-means, NIPS 2012 (one valley suffices); Hennig, Methods for merging Gaussian mixture
components, Adv. Data Anal. Classif. 2010 (density at the ridge between two components).
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from daskseg.kernels.distances import sq_distances

Floats = NDArray[np.float64]
# Places are counted in bins of this share of the way between two centres; the border strip is
# two bins wide on both sides, and so is the window of the densest place: four in all.
_BIN, _STRIP_BINS = 0.05, 2
# The densest place of a cluster is looked for up to this far from the border; its centre is at
# the half of the way.
_DEEP_BINS = 20
# Standard errors by which the border may be more crowded than it looks: few rows prove nothing.
_CAUTION = 2.0
# Most places at once.
_PIECE = 2**22


def border_density(values: Floats, weights: Floats, centres: Floats, *, cautious: bool) -> float:
    """Measure the most crowded border between two clusters.

    Parameters
    ----------
    values : ndarray of shape (n_rows, n_features), float64
    weights : ndarray of shape (n_rows,), float64
        Repeats of the rows.
    centres : ndarray of shape (n_clusters, n_features), float64
        Distinct; rows belong to the nearest.
    cautious : bool
        Return an upper bound, two standard errors up (Wilson's interval).

    Returns
    -------
    float
        Density at the border ÷ density in the densest place of the poorer cluster: 0 where
        nobody stands between, about 1 where a uniform cloud is cut, above 1 where a cluster is
        cut in two. 0 for one cluster.

    Notes
    -----
    One look at the rows per centre; memory: ``n_clusters * n_rows`` floats. Each pair is seen
    along the line through its centres, with all rows of both: where t is 0 at the border and
    1/2 at the own centre, ``2 t |a - b|**2 = |x - b|**2 - |x - a|**2``.
    """
    n_clusters = len(centres)
    if n_clusters < 2:
        return 0.0
    counts = _depths(values, weights, centres)
    strip = counts[:, :, :_STRIP_BINS].sum(axis=2)
    windows = np.lib.stride_tricks.sliding_window_view(
        counts[:, :, _STRIP_BINS:], 2 * _STRIP_BINS, axis=2
    )
    peaks = windows.sum(axis=3).max(axis=2)
    at_border, at_peak = strip + strip.T, np.minimum(peaks, peaks.T)
    crowded = [
        _ratio(float(at_border[a, b]), float(at_peak[a, b]), cautious=cautious)
        for a in range(n_clusters)
        for b in range(a + 1, n_clusters)
    ]
    return max(crowded)


def _depths(values: Floats, weights: Floats, centres: Floats) -> Floats:
    """Count the rows of each cluster by how far they are from the border with each other one.

    Returns
    -------
    ndarray of shape (n_clusters, n_clusters, n_bins), float64
    """
    n_clusters = len(centres)
    counts = np.zeros((n_clusters, n_clusters, _DEEP_BINS))
    apart = np.array([sq_distances(centres, centre[None])[0] for centre in centres])
    # A centre and itself, and centres that are equal: no place is between them.
    scale = np.divide(0.5 / _BIN, apart, out=np.full_like(apart, np.inf), where=apart > 0)
    step = max(1, _PIECE // n_clusters)
    for start in range(0, len(values), step):
        sq_dist = sq_distances(values[start : start + step], centres)
        labels = sq_dist.argmin(axis=0)
        heavy = weights[start : start + step]
        for own in range(n_clusters):
            mine = labels == own
            nearby = sq_dist[:, mine]
            for other in range(n_clusters):
                if not np.isfinite(scale[own, other]):
                    continue
                places = (nearby[other] - nearby[own]) * scale[own, other]
                inside = places < _DEEP_BINS
                counts[own, other] += np.bincount(
                    places[inside].astype(np.int64),
                    weights=heavy[mine][inside],
                    minlength=_DEEP_BINS,
                )
    return counts


def _ratio(at_border: float, at_peak: float, *, cautious: bool) -> float:
    """Divide two counts; cautiously, by the upper end of Wilson's interval of their share."""
    n_rows = at_border + at_peak
    if n_rows == 0:
        return 1.0 if cautious else 0.0
    if not cautious:
        return at_border / max(at_peak, 1e-9 * n_rows)
    share, z = at_border / n_rows, _CAUTION
    middle = share + z * z / (2.0 * n_rows)
    width = z * math.sqrt(share * (1.0 - share) / n_rows + z * z / (4.0 * n_rows * n_rows))
    upper = (middle + width) / (1.0 + z * z / n_rows)
    return upper / max(1.0 - upper, 1e-9)
