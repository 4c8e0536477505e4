"""Rows kept in memory after a pass, and the steps that can be taken on them alone.

Covers: sums of all rows at centres that have moved since the pass, as long as no row that was
not kept can have changed its label. Does not cover: passes (see `cluster.exact`).

Few of the rows that a pass keeps are needed once the centres move little. So they stand on
levels: a level holds the rows of the one below whose margin there was up to a limit, with
margins at later centres. It serves until the centres have moved by that limit since the level
below; then that one serves again.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from types import ModuleType

import numpy as np
from numpy.typing import NDArray

from daskseg.cluster.margins import radii_after
from daskseg.engine import passes
from daskseg.kernels import assign, partial, steps
from daskseg.kernels import near as near_rows
from daskseg.kernels.assign import StepGrid, StepPart
from daskseg.kernels.moments import Extent
from daskseg.kernels.near import Moving, Near

Floats = NDArray[np.float64]
# Arbitrary: distances that one job of a step in memory computes; fewer are not worth a task.
_JOB_WORK = 2_000_000
_MOST_JOBS = 16
# Making a level costs each of its rows a few looks, and twice as much movement may be left.
_LOOKS, _ROOM = 2, 2.0


def kernels(gaps: bool) -> ModuleType:
    """Return the kernels of rows near a border: with missing values, or whole."""
    return partial if gaps else near_rows


def _moved_since(
    group: list[Near], centres: Floats, grid: StepGrid, moved: float, gaps: bool
) -> StepPart:
    part: StepPart = kernels(gaps).moved_since(group, centres, grid, moved)
    return part


def _keep_first(group: list[Near], moving: Moving, limit: float, gaps: bool) -> list[Near]:
    """Take the rows of a margin up to `limit`, with margins at other centres."""
    found = []
    for near in group:
        n_rows = _count([near], limit)
        weights = None if near.weights is None else near.weights[:n_rows]
        if n_rows:
            found.append(kernels(gaps).keep(near.values[:n_rows], weights, moving))
    return found


def _count(near: list[Near], limit: float) -> int:
    return sum(int(np.searchsorted(one.margins, limit, side="right")) for one in near)


@dataclass
class _Level:
    """Rows that may change, and the sums of all rows.

    Attributes
    ----------
    moving : Moving
        The centres of `near` and `sums`.
    limit : float
        The margin up to which rows of the level below (or of the pass) are here.
    near : list of Near
    sums : StepPart
    n_looked_at : int
        Rows whose labels were taken anew since the level was made.
    """

    moving: Moving
    limit: float
    near: list[Near]
    sums: StepPart
    n_looked_at: int = 0


class Kept:
    """What a pass left in memory.

    Parameters
    ----------
    moving : Moving
        The centres of the pass.
    reach : float
        The margin up to which rows were kept.
    near : list of Near
        Those rows.
    sums : StepPart
        Of all rows.
    grid : StepGrid
    extent : Extent
    gaps : bool
        The rows have missing values.
    """

    def __init__(
        self,
        moving: Moving,
        reach: float,
        near: list[Near],
        sums: StepPart,
        grid: StepGrid,
        extent: Extent,
        *,
        gaps: bool,
    ) -> None:
        self._levels = [_Level(moving, reach, near, sums)]
        self._grid = grid
        self._extent = extent
        self._gaps = gaps

    @property
    def moving(self) -> Moving:
        """The centres of the pass."""
        return self._levels[0].moving

    def all_rows(self) -> list[Near] | None:
        """Return all rows, by no order, if they were kept."""
        for level in self._levels:
            if sum(len(one.margins) for one in level.near) == self._extent.n_rows:
                return level.near
        return None

    def forget(self) -> None:
        """Let go of the rows, before others are kept."""
        for level in self._levels:
            level.near = []

    def covers(self, centres: Floats) -> bool:
        """Say whether the sums at these centres follow from what was kept."""
        base = self._levels[0]
        if base.moving.centres.shape != centres.shape:
            return False
        if np.array_equal(centres, base.moving.centres):
            return True
        return self._moved(centres, base) < base.limit

    def step(self, centres: Floats) -> StepPart:
        """Sum all rows by their nearest centre; `covers` must hold."""
        level = self._level_for(centres)
        if np.array_equal(centres, level.moving.centres):
            return level.sums
        moved = self._moved(centres, level)
        n_rows = _count(level.near, moved)
        if not n_rows:
            return level.sums
        groups = self._groups(level, n_rows)
        parts = passes.run(
            _moved_since,
            groups,
            centres,
            self._grid,
            moved,
            self._gaps,
            name="step-near",
            local=True,
        )
        part = functools.reduce(assign.merge_steps, parts, level.sums)
        level.n_looked_at += n_rows
        self._climb(level, centres, part, moved)
        return part

    def _moved(self, centres: Floats, level: _Level) -> float:
        since = level.moving
        return steps.moved_by(centres, since.centres, since.radii, self._extent)

    def _level_for(self, centres: Floats) -> _Level:
        """Give up the levels that the centres have outrun, and return the highest left."""
        for place in range(1, len(self._levels)):
            if not self._moved(centres, self._levels[place - 1]) < self._levels[place].limit:
                del self._levels[place:]
                break
        return self._levels[-1]

    def _climb(self, level: _Level, centres: Floats, sums: StepPart, moved: float) -> None:
        """Make another level where it will cost less than going on without."""
        n_all = sum(len(one.margins) for one in level.near)
        limit = _ROOM * moved
        n_next = _count(level.near, limit)
        if 2 * n_next > n_all:
            limit, n_next = np.inf, n_all
        if level.n_looked_at <= _LOOKS * n_next:
            return
        moving = radii_after(centres, level.moving)
        groups = self._groups(level, n_next)
        fresh = passes.run(_keep_first, groups, moving, limit, self._gaps, name="renew", local=True)
        level.n_looked_at = 0
        if limit == np.inf:
            # The same rows with fresher margins: the level serves as a certificate only.
            level.near = []
        near = [one for group in fresh for one in group]
        self._levels.append(_Level(moving, float(limit), near, sums))

    def _groups(self, level: _Level, n_rows: int) -> list[list[Near]]:
        """Share the rows of a level out to jobs, of which `n_rows` will be looked at in all."""
        n_jobs = max(1, min(_MOST_JOBS, n_rows * level.moving.centres.size // _JOB_WORK))
        return [level.near[start::n_jobs] for start in range(min(n_jobs, len(level.near)))]
