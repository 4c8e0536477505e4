"""Principal components of prepared features, for a study.

Covers: fitting them on all rows, and projecting the rows once into a float32 cache, so that the
passes of the clustering read a few columns instead of reading and preparing all. Does not
cover: the estimator (`daskseg.decomposition`) or scoring (`segments.model`).
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from daskseg import store
from daskseg.decomposition.spectrum import covariance_of, n_components_of, spectrum_of
from daskseg.engine import passes
from daskseg.engine.blocks import Blocks, Rows
from daskseg.errors import UsageError
from daskseg.inputs import measure_extent
from daskseg.kernels.moments import NO_ROW, Extent
from daskseg.kernels.prepare import FeaturePlan, prepare_block
from daskseg.kernels.projection import Projection, reduce_block
from daskseg.segments.reduction import Reduction

# A logarithm may round differently in long and in short loops: a hair beyond the bounds is safe.
_HAIR = 1e-9


def reduce_prepared(
    prepared: Blocks, plan: tuple[FeaturePlan, ...], wanted: float, scratch: Path | None
) -> tuple[Blocks, Reduction]:
    """Fit components and project all rows onto them.

    Parameters
    ----------
    prepared : Blocks
        Measured; without missing values.
    plan : tuple of FeaturePlan
        How they were prepared.
    wanted : int or float
        Number of components, or the share of the variance to keep.
    scratch : Path or None
        A directory that all workers reach, for the cache.

    Returns
    -------
    blocks : Blocks
        Scores of all rows, float32.
    reduction : Reduction

    Raises
    ------
    UsageError
        If there are not so many components.

    Notes
    -----
    Passes: one for the covariance (and one for ranges without winsorised bounds), one to fill
    the cache. Cache: 4 bytes per row and component. Rows in memory stay there; other rows whose
    blocks are no chunks of equal height are projected anew in each pass.
    """
    n_columns = prepared.n_features
    if isinstance(wanted, int) and wanted > min(n_columns, prepared.n_rows):
        raise UsageError(
            f"prepare.pca asks for {wanted} components, but {prepared.n_rows:,} customers with "
            f"{n_columns} prepared columns have {min(n_columns, prepared.n_rows)} at most. Ask for "
            "fewer, or for a share of the variance such as 0.9."
        )
    seen = _planned_extent(plan, prepared.n_rows) or measure_extent(prepared)
    found = spectrum_of(covariance_of(prepared, seen))
    if found.total_variance == 0:
        raise UsageError(
            "prepare.pca: all customers are the same in the prepared features, so there are no "
            "components. Leave prepare.pca out."
        )
    n_components = n_components_of(wanted, found)
    reduction = Reduction(
        asked=wanted,
        shares=tuple((found.variances[:n_components] / found.total_variance).tolist()),
        mean=found.mean,
        components=found.components[:n_components].copy(),
    )
    return _projected(prepared, reduction.projection, scratch), reduction


def _planned_extent(plan: tuple[FeaturePlan, ...], n_rows: int) -> Extent | None:
    """Return the ranges that the bounds of a plan leave, or None where it has none."""
    ends = np.array([[step.low for step in plan], [step.high for step in plan]])
    if not np.isfinite(ends).all():
        return None
    bounds = prepare_block(ends, plan)
    bounds[1, len(plan) :] = 1.0  # marks of missing values are 0 or 1
    hair = _HAIR * (np.abs(bounds).max(axis=0) + 1.0)
    none = np.zeros(bounds.shape[1], np.int64)
    nowhere = np.full(bounds.shape[1], NO_ROW)
    return Extent(n_rows, bounds[0] - hair, bounds[1] + hair, none, none, nowhere, 1.0, 1.0)


def _projected(prepared: Blocks, projection: Projection, scratch: Path | None) -> Blocks:
    names = tuple(f"pca{i}" for i in range(len(projection.components)))
    lazy = prepared.map(
        reduce_block, projection, n_features=len(names), columns=names, dtype=np.float32
    )
    if prepared.in_memory:
        return Blocks.from_array(np.concatenate(passes.emit(lazy, _values, name="project")))
    heights = set(prepared.lengths[:-1])
    if scratch is None or len(heights) > 1 or prepared.lengths[-1] > max(heights, default=2**62):
        return lazy
    height = max(prepared.lengths)
    path = store.create_cache(scratch / "components.zarr", prepared.n_rows, len(names), height)
    passes.emit(lazy, _write, path, name="project")
    return store.open_blocks(path)


def _values(rows: Rows) -> NDArray[np.float32]:
    return np.asarray(rows.values)


def _write(rows: Rows, path: str) -> None:
    store.write_cache(path, rows.first_row, rows.values)
