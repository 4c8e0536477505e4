"""Steps on the rows that a pass kept, on whatever level they stand."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from daskseg.cluster.kept import Kept
from daskseg.kernels import assign, steps, tiles
from daskseg.kernels import near as near_rows
from daskseg.kernels.moments import extent
from daskseg.kernels.near import Moving

ROWS = np.random.default_rng(0).normal(size=(4000, 3)).astype(np.float32)
CENTRES = ROWS[:5].astype(np.float64)
GRID = assign.step_grid(extent(ROWS, None, 0))


def kept_after_pass(share):
    moving = Moving(CENTRES, np.ones(5))
    reach = float(np.quantile(near_rows.keep(ROWS, None, moving).margins, share))
    sums, near = near_rows.step_and_keep(ROWS, None, moving, GRID, reach, squares=True)
    return Kept(moving, reach, [near], sums, GRID, extent(ROWS, None, 0), gaps=False)


def assert_right(kept, centres):
    found = kept.step(centres)
    whole = assign.lloyd_step(ROWS, None, tiles.stack([centres]), GRID)
    np.testing.assert_array_equal(found.counts, whole.counts)
    left, right = steps.units_of(found), steps.units_of(whole)
    np.testing.assert_array_equal(left[:, :-1], right[:, :-1])


@pytest.mark.parametrize("share", [0.3, 0.9])
def test_kept__is_right_on_a_walk_that_climbs_and_falls(share):
    """Small steps make levels; a leap gives them up; then they are made anew."""
    random = np.random.default_rng(1)
    kept = kept_after_pass(share)
    heights = []
    centres = CENTRES.copy()
    direction = random.normal(size=CENTRES.shape)
    size = 1e-3
    for number in range(60):
        if number == 35:
            size = 0.02
        moved = centres + size * direction + size * 0.3 * random.normal(size=CENTRES.shape)
        if not kept.covers(moved):
            break
        centres = moved
        assert_right(kept, centres)
        heights.append(len(kept._levels))
    assert max(heights) > 1
    assert any(later < earlier for earlier, later in pairwise(heights))


def test_kept__covers_no_more_than_the_pass_kept():
    kept = kept_after_pass(0.3)
    assert kept.covers(CENTRES)
    assert not kept.covers(CENTRES + 100.0)
    assert not kept.covers(CENTRES[:4])
    nothing = Kept(
        Moving(CENTRES, np.ones(5)),
        0.0,
        [],
        assign.lloyd_step(ROWS, None, tiles.stack([CENTRES]), GRID),
        GRID,
        extent(ROWS, None, 0),
        gaps=False,
    )
    assert nothing.covers(CENTRES)
    assert not nothing.covers(CENTRES + 1e-9)


def test_kept__forgets_rows_but_not_where_it_was():
    kept = kept_after_pass(0.3)
    kept.forget()
    assert kept.moving.centres.tolist() == CENTRES.tolist()
