"""Exact Lloyd steps over all rows in few passes.

Covers: a source of steps that reads all rows once, keeps those near a border between clusters
in memory, and takes further steps on them alone, as long as a certificate says that no other
row can have changed its label. Does not cover: the loop (see `cluster.lloyd`).

A pass with the centres of reference sums all rows and finds the margin of each: how far the
centres may move, each in proportion to a radius of its own, before another one can be nearer.
Rows of a larger margin than the centres have moved keep their labels. Sums are exact integers,
so a step on the rows that remain gives the same bits as one over all rows. The idea of setting
aside rows that keep their cluster is that of Bradley, Fayyad and Reina, Scaling clustering
algorithms to large databases, KDD 1998.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from fractions import Fraction
from types import ModuleType

import numpy as np
from numpy.typing import NDArray

from daskseg.cluster.margins import Margins
from daskseg.engine import passes
from daskseg.engine.blocks import Blocks, Rows
from daskseg.errors import InputError
from daskseg.kernels import assign, labels, partial, partial_steps, steps, tiles
from daskseg.kernels.assign import Moving, Near, StepGrid, StepPart
from daskseg.kernels.labels import Farthest
from daskseg.kernels.moments import Extent
from daskseg.kernels.sample import Sensitivity

Floats = NDArray[np.float64]
# Arbitrary: distances that one job of a step in memory computes; fewer are not worth a task.
_JOB_WORK = 2_000_000
_MOST_JOBS = 16
# A squared error from sums is taken as it is when its relative error is surely below this.
TRUSTED_ERROR = 1e-9


def _kernels(gaps: bool) -> ModuleType:
    """Return the kernels for rows with missing values, or for whole rows."""
    return partial if gaps else assign


def _step_block(rows: Rows, centres: Floats, grid: StepGrid, squares: bool, gaps: bool) -> StepPart:
    stack = tiles.stack([centres])
    part: StepPart = _kernels(gaps).lloyd_step(
        rows.values, rows.weights, stack, grid, squares=squares
    )
    return part


def _keep_block(
    rows: Rows, moving: Moving, grid: StepGrid, reach: float, squares: bool, gaps: bool
) -> tuple[StepPart, Near]:
    found: tuple[StepPart, Near] = _kernels(gaps).step_and_keep(
        rows.values, rows.weights, moving, grid, reach, squares=squares
    )
    return found


def _moved_since(
    group: list[Near], centres: Floats, grid: StepGrid, moved: float, gaps: bool
) -> StepPart:
    parts = [_kernels(gaps).moved_since(near, centres, grid, moved) for near in group]
    total: StepPart = functools.reduce(assign.merge_steps, parts)
    return total


def _renew(group: list[Near], moving: Moving, gaps: bool) -> list[Near]:
    return [_kernels(gaps).keep(near.values, near.weights, moving) for near in group]


def _farthest_block(rows: Rows, centres: Floats, n_wanted: int, gaps: bool) -> Farthest:
    find = partial.farthest_rows if gaps else labels.farthest_rows
    return find(rows.values, rows.weights, rows.first_row, centres, n_wanted)


class RowsSource:
    """Lloyd steps over all rows; see `cluster.lloyd.Source`.

    Parameters
    ----------
    blocks : Blocks
    extent : Extent
        Of all rows.
    passes_left : callable
        How many more passes may be made.
    margins : Margins or None
        Chooses the margin up to which rows are kept; None keeps none, and every step is a
        pass.
    project : callable, optional
        Brings means to where centres may be, such as onto the unit sphere.
    share : float
        What a read of `blocks` counts: 0 for a sample, which is no pass over the data.
    gaps : bool
        The rows have missing values, and distances go over those that are there.
    """

    def __init__(
        self,
        blocks: Blocks,
        extent: Extent,
        passes_left: Callable[[], float],
        margins: Margins | None = None,
        project: Callable[[Floats], Floats] | None = None,
        share: float = 1.0,
        gaps: bool = False,
    ) -> None:
        self.blocks = blocks
        self.extent = extent
        self.grid = assign.step_grid(extent)
        self.square = Fraction(0)
        self.passes_left = passes_left
        self._margins = margins
        self._project = project
        self._share = share
        self._gaps = gaps
        self._meaning = partial_steps if gaps else steps
        # The centres of the last pass, their radii, and the margin up to which rows were kept.
        self._read_at: Moving | None = None
        self._reach = 0.0
        # Those rows, and the sums of all rows, at the same or at later centres.
        self._near: list[Near] = []
        self._near_at: Moving | None = None
        self._sums: StepPart | None = None
        self._n_looked_at = 0

    def step(self, centres: Floats) -> StepPart | None:
        """Sum all rows by their nearest centre. One pass, or none under the certificate."""
        if self._is_known(centres):
            return self._step_near(centres)
        return self._read(centres) if self.passes_left() >= 1 else None

    def _is_known(self, centres: Floats) -> bool:
        """Say whether the sums follow from what the last pass kept."""
        if self._read_at is None or self._read_at.centres.shape != centres.shape:
            return False
        if np.array_equal(centres, self._read_at.centres):
            return True
        return self._moved(centres, self._read_at) < self._reach

    def _moved(self, centres: Floats, since: Moving) -> float:
        return steps.moved_by(centres, since.centres, since.radii, self.extent)

    def _read(self, centres: Floats) -> StepPart:
        squares = self._sums is None
        self._near = []
        moving = Moving(centres, np.ones(len(centres)))
        if self._margins is None:
            part: StepPart = passes.reduce(
                self.blocks,
                _step_block,
                assign.merge_steps,
                centres,
                self.grid,
                squares,
                self._gaps,
                name="step",
                scratch=lambda rows: assign.scratch_bytes(
                    centres.shape[1], len(centres), rows, self.blocks.dtype.itemsize
                ),
                share=self._share,
            )
        else:
            moving, self._reach = self._margins.choose(centres, self._read_at)
            found = passes.emit(
                self.blocks,
                _keep_block,
                moving,
                self.grid,
                self._reach,
                squares,
                self._gaps,
                name="step",
                share=self._share,
            )
            part = functools.reduce(assign.merge_steps, (one for one, _ in found))
            self._near = [near for _, near in found if len(near.margins)]
        n_seen = int(part.counts.sum())
        if n_seen != self.extent.n_rows:
            raise InputError(
                f"the data changed while they were read: {self.extent.n_rows:,} rows at first, "
                f"{n_seen:,} rows now. Fit on data that nobody writes to."
            )
        if squares:
            self.square = self._meaning.square_of(part, self.grid)
        self._read_at = self._near_at = moving
        self._sums = part
        self._n_looked_at = 0
        return part

    def _step_near(self, centres: Floats) -> StepPart:
        assert self._near_at is not None
        assert self._sums is not None
        if np.array_equal(centres, self._near_at.centres):
            return self._sums
        moved = self._moved(centres, self._near_at)
        sizes = [int(np.searchsorted(near.margins, moved, side="right")) for near in self._near]
        if not any(sizes):
            return self._sums
        groups = self._groups(sum(sizes))
        parts = passes.run(
            _moved_since,
            groups,
            centres,
            self.grid,
            moved,
            self._gaps,
            name="step-near",
            local=True,
        )
        part = functools.reduce(assign.merge_steps, parts, self._sums)
        self._n_looked_at += sum(sizes)
        n_near = sum(len(near.margins) for near in self._near)
        if self._n_looked_at > n_near:
            # So many rows again would have given all of them margins at these centres.
            self._renew(centres, part, n_near)
        return part

    def _renew(self, centres: Floats, part: StepPart, n_near: int) -> None:
        assert self._near_at is not None
        assert self._margins is not None
        moving = self._margins.radii_after(centres, self._near_at)
        groups = self._groups(n_near)
        fresh = passes.run(_renew, groups, moving, self._gaps, name="renew", local=True)
        self._near = [near for group in fresh for near in group]
        self._near_at, self._sums, self._n_looked_at = moving, part, 0

    def _groups(self, n_rows: int) -> list[list[Near]]:
        """Share the kept rows out to jobs, of which `n_rows` will be looked at in all."""
        assert self._near_at is not None
        n_jobs = max(1, min(_MOST_JOBS, n_rows * self._near_at.centres.size // _JOB_WORK))
        return [self._near[start::n_jobs] for start in range(min(n_jobs, len(self._near)))]

    def means(self, part: StepPart) -> tuple[Floats, NDArray[np.bool_]]:
        """Return the next centres, and which have no rows."""
        fresh, is_empty = self._meaning.means_of(part, self.grid)
        return (fresh if self._project is None else self._project(fresh)), is_empty

    def sse(self, part: StepPart, centres: Floats) -> float:
        """Return the squared error of the centres of a step, nearly exact."""
        return float(self._meaning.quick_sse(part, self.grid, centres, self.square))

    def sse_of(self, centres: Floats) -> tuple[float, bool]:
        """Return the squared error of centres, rounded once, and whether to trust it.

        It is not to be trusted where the rounding of single rows may show in it.

        Notes
        -----
        One pass, or none under the certificate.
        """
        part = self._read(centres) if not self._is_known(centres) else self._step_near(centres)
        sse: float = self._meaning.total_sse(part, self.grid, centres, self.square)
        error = self._meaning.sse_bound(part, self.grid, self.square)
        return sse, error <= TRUSTED_ERROR * sse

    def sensitivity(self, part: StepPart, centres: Floats) -> Sensitivity:
        """Say what a step tells about the rows, for a sample led by its centres."""
        sizes = np.array([float(weight) for weight in steps.weights_of(part, self.grid)])
        return Sensitivity(centres, sizes, self.sse(part, centres))

    def mean_variance(self, part: StepPart) -> float:
        """Return the mean variance of the features over all rows."""
        return float(self._meaning.mean_variance(part, self.grid, self.square))

    def farthest(self, centres: Floats, n_wanted: int) -> Farthest | None:
        """Find the rows farthest from their centres. One pass."""
        if self.passes_left() < 1:
            return None
        merge = functools.partial(labels.merge_farthest, n_wanted=n_wanted)
        found: Farthest = passes.reduce(
            self.blocks,
            _farthest_block,
            merge,
            centres,
            n_wanted,
            self._gaps,
            name="farthest",
            share=self._share,
        )
        return found
