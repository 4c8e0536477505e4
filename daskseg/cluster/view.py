"""How rows are compared with centres: as they are, by direction, or over the values they have.

Covers: what is done to rows before, and distances and labels after. Does not cover: sums of
rows (see `cluster.exact`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from daskseg.cluster.sphere import to_unit
from daskseg.engine.blocks import Blocks
from daskseg.kernels import distances, labels, partial

Floats = NDArray[np.float64]


def fill_missing(values: NDArray[Any], fill: Floats) -> NDArray[Any]:
    """Put the value of `fill` wherever a value is NaN."""
    missing = np.isnan(values)
    return np.where(missing, fill.astype(values.dtype), values) if missing.any() else values


@dataclass(frozen=True)
class View:
    """Rows as a model sees them.

    Attributes
    ----------
    on_sphere : bool
        Rows and centres have length one.
    fill : ndarray of shape (n_features,) or None
        What stands for missing values.
    gaps : bool
        Missing values stay, and distances go over those that are there.
    """

    on_sphere: bool = False
    fill: Floats | None = None
    gaps: bool = False

    @property
    def allows_missing(self) -> bool:
        """Whether rows may have NaN."""
        return self.fill is not None

    def of(self, blocks: Blocks) -> Blocks:
        """Bring blocks to where they are compared with centres."""
        if self.fill is not None and not self.gaps:
            blocks = blocks.map(fill_missing, self.fill)
        return blocks.map(to_unit) if self.on_sphere else blocks

    def without_gaps(self, blocks: Blocks) -> Blocks:
        """Fill what `of` left missing, for what cannot do without."""
        return blocks.map(fill_missing, self.fill) if self.gaps else blocks

    def compare(self, values: NDArray[Any]) -> NDArray[Any]:
        """Do to values what `of` does to blocks."""
        if self.fill is not None and not self.gaps:
            values = fill_missing(values, self.fill)
        return to_unit(values) if self.on_sphere else values

    def nearest(self, values: NDArray[Any], centres: Floats) -> tuple[NDArray[np.int32], Floats]:
        """Find the nearest centre of compared values, and the squared distance to it."""
        find = partial.nearest if self.gaps else labels.nearest
        return find(values, centres)

    def labels(self, values: NDArray[Any], centres: Floats) -> NDArray[np.int32]:
        """Find the nearest centre of compared values."""
        return self.nearest(values, centres)[0] if self.gaps else labels.labels_of(values, centres)

    def distances(self, values: NDArray[Any], centres: Floats) -> Floats:
        """Return the distances of compared values: Euclidean, or one minus the cosine."""
        measure = partial.sq_distances if self.gaps else distances.sq_distances
        sq_dist = measure(values, centres).T
        return sq_dist / 2.0 if self.on_sphere else np.sqrt(sq_dist)
