"""The principal components between prepared features and distances.

Covers: `Reduction`, what a model keeps of them, and bringing rows to the units in which
distances are taken. Does not cover: fitting (`pipeline.reduction`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from daskseg.kernels.prepare import FeaturePlan, prepare_block
from daskseg.kernels.projection import Projection, reduce_block


@dataclass(frozen=True, eq=False)
class Reduction:
    """The principal components that customers are compared by.

    Attributes
    ----------
    asked : int or float
        The number of components, or the share of the variance, that was asked for.
    shares : tuple of float
        Share of the variance of each component.
    mean : ndarray of shape (n_prepared,), float64
    components : ndarray of shape (n_components, n_prepared), float64
    """

    asked: float
    shares: tuple[float, ...]
    mean: NDArray[np.float64]
    components: NDArray[np.float64]

    @property
    def projection(self) -> Projection:
        """The arithmetic on rows."""
        return Projection(self.mean, self.components, np.ones(len(self.components)))

    def describe(self, names: Sequence[str]) -> dict[str, Any]:
        """Return plain JSON; the loadings are in the order of the prepared columns `names`."""
        return {
            "asked": self.asked,
            "n_components": len(self.components),
            "explained": min(1.0, math.fsum(self.shares)),
            "columns": list(names),
            "components": [
                {"share": share, "loadings": row.tolist()}
                for share, row in zip(self.shares, self.components, strict=True)
            ],
        }


def comparable(
    values: NDArray[Any], plan: Sequence[FeaturePlan], reduction: Reduction | None
) -> NDArray[np.float64]:
    """Bring rows from the units of the features to those in which distances are taken.

    Parameters
    ----------
    values : ndarray of shape (n_rows, n_active)
        NaN marks a missing value.
    plan : sequence of FeaturePlan
    reduction : Reduction or None

    Returns
    -------
    ndarray of shape (n_rows, n_prepared or n_components), float64
    """
    prepared = prepare_block(values, plan)
    if reduction is None:
        return prepared
    return reduce_block(prepared, reduction.projection).astype(np.float64)
