"""Which rows are worth keeping in memory between two passes.

Covers: how far each centre is thought to move, and the margin up to which rows are kept: a
weighted quantile over a sample, within a budget of memory. Does not cover: what margins are
for (see `cluster.exact`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from daskseg.kernels.near import Moving, keep

Floats = NDArray[np.float64]
# Measured: larger shares save few passes, and smaller ones cost some.
SHARE = 0.25
# Arbitrary: data that small are kept whole, which saves a read where centres move far.
WHOLE_BYTES = 160 * 2**20
BUDGET_BYTES = 512 * 2**20
# Label, margin and weight beside the values of a row.
_ROW_BYTES = 20
# Arbitrary: a centre that has hardly moved is given this share of the usual movement.
_LEAST_SHARE = 0.1


def keeps_all(n_rows: int, n_features: int, itemsize: int) -> bool:
    """Say whether so many rows are few enough to be kept whole."""
    return n_rows * (n_features * itemsize + _ROW_BYTES) <= WHOLE_BYTES


@dataclass(frozen=True)
class Margins:
    """Chooses what a pass keeps.

    Attributes
    ----------
    values : ndarray of shape (n, n_features)
        A sample of the rows.
    weights : ndarray of shape (n,), float64
        How many rows each stands for.
    n_rows : int
        All rows.
    itemsize : int
        Bytes of a value of a row.
    """

    values: NDArray[np.floating]
    weights: Floats
    n_rows: int
    itemsize: int

    @property
    def share(self) -> float:
        """Share of the rows that may be kept."""
        n_features = self.values.shape[1]
        if keeps_all(self.n_rows, n_features, self.itemsize):
            return 1.0
        row_bytes = n_features * self.itemsize + _ROW_BYTES
        return float(min(SHARE, BUDGET_BYTES / (self.n_rows * row_bytes)))

    def choose(self, centres: Floats, before: Moving | None) -> tuple[Moving, float]:
        """Choose the radii of the centres, and the margin below which rows are kept.

        Parameters
        ----------
        centres : ndarray of shape (n_clusters, n_features), float64
        before : Moving or None
            Those of the pass before: what moved much is thought to go on moving.

        Returns
        -------
        moving : Moving
        reach : float
            In radii.
        """
        everything = self.share == 1.0 or len(centres) == 1 or not len(self.values)
        found = None if everything else keep(self.values, None, Moving(centres, _alike(centres)))
        if before is not None and before.centres.shape == centres.shape:
            radii = radii_after(centres, before).radii
        elif found is not None:
            radii = _sampling_errors(found.values, found.labels, centres)
        else:
            radii = _alike(centres)
        moving = Moving(centres, _floored(radii))
        if everything:
            return moving, float("inf")
        margins = keep(self.values, self.weights, moving)
        assert margins.weights is not None
        mass = np.cumsum(margins.weights)
        place = int(np.searchsorted(mass, self.share * mass[-1], side="right"))
        return moving, float(margins.margins[min(place, len(mass) - 1)])


def radii_after(centres: Floats, before: Moving) -> Moving:
    """Choose the radii of centres that have moved since `before`."""
    moved = np.sqrt(np.cumsum((centres - before.centres) ** 2, axis=1)[:, -1])
    return Moving(centres, _floored(moved))


def _alike(centres: Floats) -> Floats:
    return np.ones(len(centres))


def _floored(radii: Floats) -> Floats:
    usual = float(np.median(radii[radii > 0])) if (radii > 0).any() else 1.0
    return np.maximum(radii, _LEAST_SHARE * usual)


def _sampling_errors(
    values: NDArray[np.floating], labels: NDArray[np.int32], centres: Floats
) -> Floats:
    """Return the standard error of each centre, as far as it is the mean of sampled rows."""
    k = len(centres)
    sizes = np.bincount(labels, minlength=k)
    square = np.zeros(k)
    for column, coordinates in zip(values.T, centres.T, strict=True):
        square += np.bincount(labels, (column - coordinates[labels]) ** 2, minlength=k)
    return np.sqrt(square) / np.maximum(sizes, 1)
