"""What a map can be trusted with: neighbours, and how segments lie to each other.

Covers: the measures on rows that were drawn for them, and what is said when they are bad. Does
not cover: the draw (see `manifold.draws`) or the arithmetic (see `kernels.ranks`).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from daskseg.errors import warn
from daskseg.kernels.ranks import kept_neighbours

Floats = NDArray[np.float64]
N_NEIGHBORS = 15
# Arbitrary: where users of such maps begin to see structure that is not there.
LEAST_TRUSTWORTHINESS, LEAST_CORRELATION = 0.85, 0.5
# Two segments have one distance, and that correlates with nothing.
_FEWEST_SEGMENTS = 3


class Quality(NamedTuple):
    """How much of the data a map keeps; NaN where there are too few rows or segments.

    Attributes
    ----------
    trustworthiness, continuity, recall : float
        As in `kernels.ranks.Kept`.
    centroid_correlation : float
        Spearman's correlation between distances of segments' means on the map and in the data.
    """

    trustworthiness: float
    continuity: float
    recall: float
    centroid_correlation: float


def measure(values: Floats, drawn: Floats, codes: NDArray[np.int32]) -> Quality:
    """Measure a map on some rows.

    Parameters
    ----------
    values : ndarray of shape (n_rows, n_features), float64
    drawn : ndarray of shape (n_rows, n_components), float64
    codes : ndarray of shape (n_rows,), int32
        Numbers of the segments.
    """
    k = min(N_NEIGHBORS, (len(values) - 1) // 2)
    correlation = _centroid_correlation(values, drawn, codes)
    if k < 1:
        return Quality(np.nan, np.nan, np.nan, correlation)
    return Quality(*kept_neighbours(values, drawn, k), correlation)


def _centroid_correlation(values: Floats, drawn: Floats, codes: NDArray[np.int32]) -> float:
    known = np.unique(codes)
    if len(known) < _FEWEST_SEGMENTS:
        return np.nan
    ranks = [
        rankdata(_distances(np.array([rows[codes == code].mean(axis=0) for code in known])))
        for rows in (values, drawn)
    ]
    a, b = (rank - rank.mean() for rank in ranks)
    scale = float(np.sqrt((a**2).sum() * (b**2).sum()))
    return float((a * b).sum()) / scale if scale > 0 else np.nan


def _distances(means: Floats) -> Floats:
    """Return the distances of all pairs, shape (n_pairs,)."""
    first, second = np.triu_indices(len(means), 1)
    return np.asarray(np.sqrt(((means[first] - means[second]) ** 2).sum(axis=1)))


def warn_of(found: Quality, stacklevel: int) -> None:
    """Say what a map must not be read for."""
    if found.trustworthiness < LEAST_TRUSTWORTHINESS:
        warn(
            f"the trustworthiness of the map is {found.trustworthiness:.2f}, below "
            f"{LEAST_TRUSTWORTHINESS}: rows that are neighbours on it are often far from each "
            "other in the data. Do not read groups off it; other numbers of neighbours may do "
            "better, or the rows have no structure that two columns can show.",
            stacklevel=stacklevel + 1,
        )
    if found.centroid_correlation < LEAST_CORRELATION:
        warn(
            f"distances between segments on the map and in the data have a rank correlation of "
            f"{found.centroid_correlation:.2f}, below {LEAST_CORRELATION}: do not read off the "
            "map which segments are alike.",
            stacklevel=stacklevel + 1,
        )
