"""Exact means and variances of columns.

Covers: ranges, then moments about their middle, of any blocks. Does not cover: quantiles.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from daskseg.engine import passes
from daskseg.engine.blocks import Blocks, Rows
from daskseg.errors import InputError
from daskseg.inputs import measure_extent
from daskseg.kernels import moments
from daskseg.kernels.moments import Extent, Frame, Moments, Summary


def _moments_of(rows: Rows, frame: Frame) -> Moments:
    return moments.moments(rows.values, rows.weights, frame)


def summarise(blocks: Blocks, *, allow_missing: bool = False) -> tuple[Extent, Summary]:
    """Measure ranges and moments; NaN are left out column by column. Two passes.

    Parameters
    ----------
    blocks : Blocks
        Measured.
    allow_missing : bool

    Raises
    ------
    InputError
        As `inputs.measure_extent`.
    """
    seen = measure_extent(blocks, allow_missing=allow_missing)
    frame = moments.frame_of(seen)
    total = passes.reduce(blocks, _moments_of, moments.merge_moments, frame, name="moments")
    return seen, moments.finish_moments(total, frame)


def column_means(blocks: Blocks) -> NDArray[np.float64]:
    """Return the mean of the values that are there, per column. Two passes.

    Raises
    ------
    InputError
        If a column has no value at all, or as `summarise`.
    """
    mean = summarise(blocks, allow_missing=True)[1].mean
    if np.isnan(mean).any():
        column = int(np.flatnonzero(np.isnan(mean))[0])
        name = repr(blocks.columns[column]) if blocks.columns else str(column)
        raise InputError(
            f"column {name} has no value at all, so that nothing can stand for the missing ones. "
            "Leave the column out."
        )
    return mean
