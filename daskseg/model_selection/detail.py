"""What the sample of a sweep says about each cluster of the number that was taken.

Covers: sorted silhouettes as quantiles, how well each cluster is found again, what moves to the
next numbers. Does not cover: which number is taken (see `model_selection.recommend`).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from daskseg.kernels.labels import labels_of
from daskseg.kernels.silhouette import Clusters, silhouettes_of
from daskseg.model_selection.moves import shares_of
from daskseg.model_selection.sweep import Sweep

Floats = NDArray[np.float64]
# Arbitrary: every hundredth draws a smooth area, and tells nothing of a single row.
N_QUANTILES = 101
# Clusters that share more than half of their rows have one partner only.
_SAME = 0.5


class Detail(NamedTuple):
    """Of each cluster of one partition, from a weighted sample.

    Attributes
    ----------
    quantiles : ndarray of shape (k, 101), float64
        Silhouettes (squared Euclidean distances) from the least to the largest, in hundredths of
        the rows; NaN for a cluster without sampled rows, and for one cluster alone.
    jaccards : ndarray of shape (k,), float64
        How well the cluster is found again in resamples; NaN where it was not measured.
    moves : dict of int to ndarray of shape (k, other), float64
        Shares of the rows by this partition and the one of k - 1, and k + 1, clusters.
    n_rows : int
        Of the sample.
    is_whole : bool
        The sample holds all rows.
    """

    quantiles: Floats
    jaccards: Floats
    moves: dict[int, Floats]
    n_rows: int
    is_whole: bool

    def reordered(self, order: NDArray[np.intp]) -> Detail:
        """Return the same clusters in another order."""
        return self._replace(
            quantiles=self.quantiles[order],
            jaccards=self.jaccards[order],
            moves={k: shares[order] for k, shares in self.moves.items()},
        )


def detail(found: Sweep, centres: Floats, clusters: Clusters) -> Detail:
    """Look at one partition on the sample of a sweep.

    Parameters
    ----------
    found : Sweep
    centres : ndarray of shape (k, n_features), float64
        Exact centres of the partition, which may differ from those of the sweep.
    clusters : Clusters
        Of this partition, on all rows: the silhouettes of the sampled rows are exact.

    Returns
    -------
    Detail

    Notes
    -----
    No pass over the data. The bits depend on the sample alone. Resamples were compared with the
    partition of the sweep: its clusters lend their Jaccard index to those that share more than
    half of their rows (intersection over union).
    """
    sample = found.survey.sample
    used = sample.weights > 0
    values, weights = sample.values[used], sample.weights[used]
    k = len(centres)
    moves = {
        other: shares_of(values, weights, centres, fit.centres)
        for other in (k - 1, k + 1)
        if other > 1 and (fit := found.fits.get(other)) is not None and len(fit.centres) == other
    }
    return Detail(
        _quantiles(values, weights, centres, clusters),
        _jaccards(found, values, weights, centres),
        moves,
        len(values),
        sample.is_whole,
    )


def _quantiles(values: Floats, weights: Floats, centres: Floats, clusters: Clusters) -> Floats:
    quantiles = np.full((len(centres), N_QUANTILES), np.nan)
    if len(centres) == 1:
        return quantiles
    labels = labels_of(values, centres)
    scores = silhouettes_of(values, labels, clusters)
    levels = np.linspace(0.0, 1.0, N_QUANTILES)
    for cluster in range(len(centres)):
        own = labels == cluster
        if own.any():
            quantiles[cluster] = np.quantile(
                scores[own], levels, weights=weights[own], method="inverted_cdf"
            )
    return quantiles


def _jaccards(found: Sweep, values: Floats, weights: Floats, centres: Floats) -> Floats:
    k = len(centres)
    known = {row.k: row.jaccards for row in found.criteria}
    jaccards = np.full(k, np.nan)
    if k not in known:
        return jaccards
    shares = shares_of(values, weights, centres, found.fits[k].centres)
    either = shares.sum(axis=1)[:, None] + shares.sum(axis=0)[None, :] - shares
    own, theirs = np.nonzero(shares > _SAME * either)
    jaccards[own] = np.array(known[k])[theirs]
    return jaccards
