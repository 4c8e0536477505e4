"""Projecting rows onto components, and back.

Covers: `Projection`, its arithmetic on a block in a fixed order, so that a row gives the same
bits wherever it stands. Does not cover: finding components (see `daskseg.decomposition`).

Scratch memory: one float64 copy of the result.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from daskseg.kernels.compiling import compiled

Floats = NDArray[np.float64]


class Projection(NamedTuple):
    """Components about a mean.

    Attributes
    ----------
    mean : ndarray of shape (n_features,), float64
    components : ndarray of shape (n_components, n_features), float64
        Orthonormal rows.
    scales : ndarray of shape (n_components,), float64
        Scores are divided by these: ones, or deviations where they are whitened.
    """

    mean: Floats
    components: Floats
    scales: Floats


@compiled()
def _project(
    values: Any, mean: Floats, loadings: Floats, scales: Floats
) -> Floats:  # pragma: no cover - compiled
    n_rows, n_features = values.shape
    n_components = loadings.shape[1]
    scores = np.zeros((n_rows, n_components))
    for i in range(n_rows):
        for f in range(n_features):
            centred = np.float64(values[i, f]) - mean[f]
            if np.isnan(centred):
                continue
            for c in range(n_components):
                scores[i, c] += centred * loadings[f, c]
        for c in range(n_components):
            scores[i, c] /= scales[c]
    return scores


def project_block(values: NDArray[Any], projection: Projection) -> Floats:
    """Compute the scores of one block.

    Parameters
    ----------
    values : ndarray of shape (n_rows, n_features), float32 or float64
        NaN counts as the mean.
    projection : Projection

    Returns
    -------
    ndarray of shape (n_rows, n_components), float64
    """
    loadings = np.ascontiguousarray(projection.components.T)
    rows = np.ascontiguousarray(values)
    return np.asarray(_project(rows, projection.mean, loadings, projection.scales))


def reduce_block(values: NDArray[Any], projection: Projection) -> NDArray[np.float32]:
    """Compute the scores of one block as a study keeps and compares them: in float32.

    Parameters
    ----------
    values : ndarray of shape (n_rows, n_features), float64
    projection : Projection

    Returns
    -------
    ndarray of shape (n_rows, n_components), float32
    """
    return project_block(values, projection).astype(np.float32)


def unproject_block(scores: NDArray[Any], projection: Projection) -> Floats:
    """Bring scores back to the features: the point of the components' plane they stand for.

    Parameters
    ----------
    scores : ndarray of shape (n_rows, n_components)

    Returns
    -------
    ndarray of shape (n_rows, n_features), float64
    """
    plain = np.asarray(scores, dtype=np.float64) * projection.scales
    nowhere, one = np.zeros(plain.shape[1]), np.ones(len(projection.mean))
    loadings = np.ascontiguousarray(projection.components)
    return np.asarray(_project(plain, nowhere, loadings, one)) + projection.mean
