"""Landmarks: uniform samples of all rows, drawn in one pass.

Covers: ranges and defects of the rows, and the samples, in the same read. Does not cover: what
is done with landmarks (see `density.clusters`, `density.hdbscan`).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from daskseg.engine import passes
from daskseg.engine.blocks import Blocks, Rows
from daskseg.inputs import check_extent
from daskseg.kernels import moments, rng, uniform
from daskseg.kernels.moments import Extent
from daskseg.kernels.uniform import UniformPart

# Rows below the ceiling, as a multiple of the rows wanted: fewer than one is out of reach.
_CEILING_EXCESS = 2.0
Part = tuple[Extent, list[UniformPart]]


class Draw(NamedTuple):
    """A uniform sample, in the order of the rows.

    Attributes
    ----------
    rows : ndarray of shape (n,), int64
        Global row numbers.
    values : ndarray of shape (n, n_features), float64
    """

    rows: NDArray[np.int64]
    values: NDArray[np.float64]


def draw_landmarks(blocks: Blocks, seed: int, n_wanted: int, n_samples: int) -> list[Draw]:
    """Draw samples of `n_wanted` rows; a single one of all rows where there are no more.

    Parameters
    ----------
    blocks : Blocks
        Measured.
    seed : int
        The samples depend on it, on the number of the sample and on the row numbers alone.
    n_wanted, n_samples : int

    Raises
    ------
    InputError
        As `inputs.check_extent`.

    Notes
    -----
    One pass. Memory in this process: at most three times the samples.
    """
    n_samples = 1 if blocks.n_rows <= n_wanted else n_samples
    ceiling = 1.0
    if blocks.n_rows > n_wanted:
        ceiling = min(1.0, _CEILING_EXCESS * (n_wanted + 100) / blocks.n_rows)
    extent, parts = _pass(blocks, seed, n_wanted, n_samples, ceiling)
    check_extent(extent, blocks)
    if any(len(part.rows) < min(n_wanted, blocks.n_rows) for part in parts):
        # The odds are below 1e-20.
        _, parts = _pass(blocks, seed, n_wanted, n_samples, 1.0)
    kept = [uniform.keep_least(part, n_wanted) for part in parts]
    # Zeros of either sign are one place.
    return [Draw(part.rows, part.values.astype(np.float64) + 0.0) for part in kept]


def _draw_block(rows: Rows, seed: int, n_wanted: int, n_samples: int, ceiling: float) -> Part:
    return moments.extent(rows.values, rows.weights, rows.first_row), [
        uniform.draw(rows.values, rows.first_row, (seed, rng.LANDMARKS + i), ceiling, n_wanted)
        for i in range(n_samples)
    ]


class _MergeDraws:
    """Merges what two sets of blocks say."""

    def __init__(self, n_wanted: int) -> None:
        self.n_wanted = n_wanted

    def __call__(self, a: Part, b: Part) -> Part:
        pairs = zip(a[1], b[1], strict=True)
        return moments.merge_extents(a[0], b[0]), [
            uniform.merge(one, other, self.n_wanted) for one, other in pairs
        ]


def _pass(blocks: Blocks, seed: int, n_wanted: int, n_samples: int, ceiling: float) -> Part:
    itemsize = blocks.dtype.itemsize

    def scratch(rows: int) -> int:
        masks = moments.scratch_bytes(blocks.n_features, 1, rows, itemsize)
        return masks + uniform.scratch_bytes(blocks.n_features, rows, itemsize, n_samples)

    found: Part = passes.reduce(
        blocks,
        _draw_block,
        _MergeDraws(n_wanted),
        seed,
        n_wanted,
        n_samples,
        ceiling,
        name="landmarks",
        scratch=scratch,
    )
    return found
