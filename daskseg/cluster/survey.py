"""What is learned about all rows before any clustering: ranges, moments and a sample.

Covers: three passes whose results a fit and a sweep share. Does not cover: fitting.
"""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from daskseg.engine import passes
from daskseg.engine.blocks import Blocks, Rows
from daskseg.inputs import measure_extent
from daskseg.kernels import moments, sample
from daskseg.kernels.moments import Extent, Frame, Moments, Summary
from daskseg.kernels.sample import Sample, SamplePart

Floats = NDArray[np.float64]


class Survey(NamedTuple):
    """Ranges and moments of all rows.

    Attributes
    ----------
    extent : Extent
    summary : Summary
    """

    extent: Extent
    summary: Summary

    @property
    def total_weight(self) -> float:
        """Sum of the weights."""
        return float(self.summary.total_weight[0])

    @property
    def scatter(self) -> float:
        """Mean squared distance of a row from the mean."""
        return float(np.cumsum(self.summary.variance)[-1])

    @property
    def mean_variance(self) -> float:
        """Mean of the variances of the columns: the scale of `tol`."""
        return self.scatter / len(self.summary.variance)


def _moments_of(rows: Rows, frame: Frame) -> Moments:
    return moments.moments(rows.values, rows.weights, frame)


def survey(blocks: Blocks, extent: Extent | None = None) -> Survey:
    """Measure ranges (one pass, unless given) and moments (one pass)."""
    seen = measure_extent(blocks) if extent is None else extent
    frame = moments.frame_of(seen)
    total = passes.reduce(blocks, _moments_of, moments.merge_moments, frame, name="moments")
    return Survey(seen, moments.finish_moments(total, frame))


def _draw_from(rows: Rows, centre: Floats, scatter: float, seed: int, n_wanted: int) -> SamplePart:
    return sample.draw(rows.values, rows.weights, rows.first_row, centre, scatter, seed, n_wanted)


def draw_sample(blocks: Blocks, found: Survey, seed: int, n_wanted: int) -> Sample:
    """Draw a weighted sample of at most `n_wanted` rows. One pass."""
    part = passes.reduce(
        blocks,
        _draw_from,
        partial(sample.merge_samples, n_wanted=n_wanted),
        found.summary.mean,
        found.scatter,
        seed,
        n_wanted,
        name="sample",
    )
    return sample.finish_sample(part, found.total_weight, n_wanted)
