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

import numpy as np
from numpy.typing import NDArray

from daskseg.cluster.kept import Kept, kernels
from daskseg.cluster.margins import Margins
from daskseg.engine import journal, passes
from daskseg.engine.blocks import Blocks, Rows
from daskseg.errors import InputError
from daskseg.kernels import assign, labels, partial, partial_steps, steps, tiles
from daskseg.kernels.assign import StepGrid, StepPart
from daskseg.kernels.labels import Farthest
from daskseg.kernels.moments import Extent
from daskseg.kernels.near import Moving, Near
from daskseg.kernels.sample import Sensitivity

Floats = NDArray[np.float64]
# A squared error from sums is taken as it is when its relative error is surely below this.
TRUSTED_ERROR = 1e-9


def _step_block(rows: Rows, centres: Floats, grid: StepGrid, squares: bool, gaps: bool) -> StepPart:
    stack = tiles.stack([centres])
    take = partial.lloyd_step if gaps else assign.lloyd_step
    part: StepPart = take(rows.values, rows.weights, stack, grid, squares=squares)
    return part


def _keep_block(
    rows: Rows, moving: Moving, grid: StepGrid, reach: float, squares: bool, gaps: bool
) -> tuple[StepPart, Near]:
    found: tuple[StepPart, Near] = kernels(gaps).step_and_keep(
        rows.values, rows.weights, moving, grid, reach, squares=squares
    )
    return found


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
        self._kept: Kept | None = None
        self._sums: StepPart | None = None
        self._has_rows = True

    def step(self, centres: Floats) -> StepPart | None:
        """Sum all rows by their nearest centre. One pass, or none under the certificate."""
        part = self._known(centres)
        if part is not None:
            return part
        return self._read(centres) if self.passes_left() >= 1 else None

    def _known(self, centres: Floats) -> StepPart | None:
        """Sum all rows without a pass, where the certificate allows it.

        With a journal the sums are on file: steps after a pass whose rows have been dropped
        from it cannot be taken again.
        """
        if self._kept is None or not self._kept.covers(centres):
            return None
        book = self._book()
        if book is None:
            return self._kept.step(centres)
        records = book.begin_pass("near", Kept.step, (centres,), (1,))
        for _, found in records.parts():
            part: StepPart = found
            return part
        if not self._has_rows and not np.array_equal(centres, self._kept.moving.centres):
            return None
        part = self._kept.step(centres)
        records.write(range(1), part, durable=False)
        return part

    def _book(self) -> journal.Journal | None:
        """Return the journal of this fit; steps on a sample are too fast to be worth one."""
        return journal.current() if self._share else None

    def forget(self) -> None:
        """Let go of the rows of the last pass, in memory and on file."""
        if self._kept is None:
            return
        self._kept.forget()
        book = self._book()
        if book is not None and self._margins is not None:
            book.shorten("step", [(self._sums, None)])

    def keep(self, moving: Moving, reach: float, near: list[Near], sums: StepPart) -> None:
        """Go on from what a pass found; the first one must have summed squares.

        Parameters
        ----------
        moving, reach, near, sums : as for `Kept`
        """
        n_seen = int(sums.counts.sum())
        if n_seen != self.extent.n_rows:
            raise InputError(
                f"the data changed while they were read: {self.extent.n_rows:,} rows at first, "
                f"{n_seen:,} rows now. Fit on data that nobody writes to."
            )
        if self._kept is None:
            self.square = self._meaning.square_of(sums, self.grid)
        self._sums = sums
        self._kept = Kept(moving, reach, near, sums, self.grid, self.extent, gaps=self._gaps)

    def _read(self, centres: Floats) -> StepPart:
        squares = self._kept is None
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
            self.keep(Moving(centres, np.ones(len(centres))), 0.0, [], part)
            return part
        before = None if self._kept is None else self._kept.moving
        moving, reach = self._margins.choose(centres, before)
        # Not to hold the rows of two passes.
        self.forget()
        found = passes.emit(
            self.blocks,
            _keep_block,
            moving,
            self.grid,
            reach,
            squares,
            self._gaps,
            name="step",
            share=self._share,
            journaled=True,
        )
        part = functools.reduce(assign.merge_steps, (one for one, _ in found))
        rows = [near for _, near in found if near is not None]
        self._has_rows = len(rows) == len(found)
        self.keep(moving, reach, [near for near in rows if len(near.margins)], part)
        return part

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
        part = self._known(centres)
        if part is None:
            part = self._read(centres)
        sse: float = self._meaning.total_sse(part, self.grid, centres, self.square)
        error = self._meaning.sse_bound(part, self.grid, self.square)
        return sse, error <= TRUSTED_ERROR * sse

    def rows_in_memory(self) -> list[Near] | None:
        """Return all rows, by no order, if the last pass kept them."""
        return None if self._kept is None else self._kept.all_rows()

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
