"""The sums of a Lloyd step, what is kept for the next ones, and what the sums mean."""

from __future__ import annotations

import math
from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from daskseg.kernels import assign, steps, tiles
from daskseg.kernels import near as near_rows
from daskseg.kernels.moments import extent
from daskseg.kernels.near import Moving
from tests import naive


def grid_for(rows, weights=None):
    return assign.step_grid(extent(np.asarray(rows), weights, 0))


def step(rows, centres, weights=None, cuts=()):
    """A step over blocks that end at `cuts`."""
    grid = grid_for(rows, weights)
    total = None
    for start, stop in pairwise([0, *cuts, len(rows)]):
        own = None if weights is None else weights[start:stop]
        part = assign.lloyd_step(rows[start:stop], own, tiles.stack([centres]), grid)
        total = part if total is None else assign.merge_steps(total, part)
    return total, grid


def same(left, right):
    return np.array_equal(left.counts, right.counts) and np.array_equal(left.units, right.units)


FOUR = np.array([[0.0, 0.0], [1.0, 0.0], [4.0, 0.0], [6.0, 2.0]])
CENTRES = np.array([[0.0, 0.0], [5.0, 0.0], [99.0, 0.0]])


def test_lloyd_step__by_hand_with_a_dead_cluster():
    part, grid = step(FOUR, CENTRES)
    assert part.counts.tolist() == [2, 2, 0]
    assert steps.weights_of(part, grid) == [2, 2, 0]
    means, is_empty = steps.means_of(part, grid)
    assert means[:2].tolist() == [[0.5, 0.0], [5.0, 1.0]]
    assert is_empty.tolist() == [False, False, True]
    assert steps.sse_of(part, grid, CENTRES) == [1, 6, 0]
    assert steps.total_sse(part, grid, CENTRES, steps.square_of(part, grid)) == 7.0


def test_lloyd_step__weights_count_as_repeats():
    weights = np.array([2.0, 1.0, 0.0, 3.0])
    weighted, grid = step(FOUR, CENTRES, weights)
    repeated, plain = step(np.repeat(FOUR, weights.astype(int), axis=0), CENTRES)
    assert steps.weights_of(weighted, grid) == steps.weights_of(repeated, plain)
    assert steps.sse_of(weighted, grid, CENTRES) == steps.sse_of(repeated, plain, CENTRES)
    np.testing.assert_array_equal(
        steps.means_of(weighted, grid)[0][:2], steps.means_of(repeated, plain)[0][:2]
    )


def test_lloyd_step__of_a_stack_is_that_of_each_set():
    rows = np.random.default_rng(0).normal(size=(5000, 3))
    sets = [rows[:2].copy(), rows[2:7].copy(), rows[7:8].copy()]
    stack, grid = tiles.stack(sets), grid_for(rows)
    together = assign.lloyd_step(rows, None, stack, grid)
    for centres, start in zip(sets, stack.starts, strict=False):
        alone = assign.lloyd_step(rows, None, tiles.stack([centres]), grid)
        own = slice(start, start + len(centres))
        assert same(assign.StepPart(together.counts[own], together.units[own]), alone)


def test_lloyd_step__leaves_squares_out_when_they_are_not_wanted():
    grid = grid_for(FOUR)
    bare = assign.lloyd_step(FOUR, None, tiles.stack([CENTRES]), grid, squares=False)
    full = assign.lloyd_step(FOUR, None, tiles.stack([CENTRES]), grid)
    assert not bare.units[:, -1].any()
    np.testing.assert_array_equal(bare.units[:, :-1], full.units[:, :-1])


@given(st.lists(st.integers(0, 300), max_size=5), st.integers(0, 3), st.booleans())
def test_lloyd_step__keeps_its_bits_under_any_cut(cuts, seed, narrow):
    random = np.random.default_rng(seed)
    rows = random.normal(size=(300, 3)) * [1.0, 1e-6, 1e8]
    rows = rows.astype(np.float32) if narrow else rows
    weights = random.random(300)
    whole, _ = step(rows, rows[:4].astype(float), weights)
    parts, _ = step(rows, rows[:4].astype(float), weights, sorted(cuts))
    assert steps.units_of(whole).tolist() == steps.units_of(parts).tolist()


def test_lloyd_step__keeps_its_bits_over_many_flushes():
    rows = np.random.default_rng(0).normal(size=(20_000, 2)).astype(np.float32)
    centres = rows[:3].astype(float)
    whole, _ = step(rows, centres)
    parts, _ = step(rows, centres, cuts=[1, 4095, 4097, 12_345])
    assert steps.units_of(whole).tolist() == steps.units_of(parts).tolist()


def test_lloyd_step__sums_to_within_its_grid():
    random = np.random.default_rng(1)
    rows = np.column_stack([random.normal(size=1000) + 1e8, random.lognormal(0, 4, 1000)])
    weights = random.random(1000)
    part, grid = step(rows, rows[:1].copy(), weights)
    assert float(steps.weights_of(part, grid)[0]) == pytest.approx(math.fsum(weights), rel=1e-14)
    means, _ = steps.means_of(part, grid)
    for column in range(2):
        exact = math.fsum(weights * rows[:, column]) / math.fsum(weights)
        reach = np.ptp(rows[:, column])
        assert abs(means[0, column] - exact) <= 2.0**-50 * reach + 2.0**-52 * abs(exact)


def test_means_of__of_representable_values_are_rounded_once():
    random = np.random.default_rng(0)
    rows = random.integers(-(2**20), 2**20, (999, 2)) / 2.0**10
    part, grid = step(rows, rows[:3].copy())
    labels = naive.labels_of(rows, rows[:3])
    for j in range(3):
        for f in range(2):
            own = rows[labels == j, f]
            exact = sum(map(Fraction, own.tolist())) / len(own)
            assert steps.means_of(part, grid)[0][j, f] == pytest.approx(float(exact), rel=2e-16)


def test_sse__does_not_depend_on_the_offset():
    rows = np.random.default_rng(0).normal(size=(500, 3))
    for offset in (0.0, 1e3, 1e8):
        moved = np.round(rows, 6) + offset
        part, grid = step(moved, moved[:4].copy())
        square = steps.square_of(part, grid)
        expected = naive.inertia_of(moved, moved[:4])
        assert steps.total_sse(part, grid, moved[:4], square) == pytest.approx(expected, rel=1e-12)
        assert steps.quick_sse(part, grid, moved[:4], square) == pytest.approx(expected, rel=1e-10)
        assert steps.sse_bound(part, grid, square) < 1e-9 * expected


def test_mean_variance__is_numpys():
    rows = np.random.default_rng(0).normal(size=(500, 3)) * [1, 5, 0.1] + 7
    weights = np.random.default_rng(1).integers(0, 4, 500).astype(float)
    part, grid = step(rows, rows[:4].copy(), weights)
    expected = np.repeat(rows, weights.astype(int), axis=0).var(axis=0).mean()
    found = steps.mean_variance(part, grid, steps.square_of(part, grid))
    assert found == pytest.approx(expected, rel=1e-13)


def test_sums_by_label__takes_labels_as_they_are():
    grid = grid_for(FOUR)
    part = assign.sums_by_label(FOUR, None, np.array([0, 1, 0, 1], np.int32), 2, grid)
    assert steps.means_of(part, grid)[0].tolist() == [[2.0, 0.0], [3.5, 1.0]]
    assert steps.sse_of(part, grid, np.zeros((2, 2))) == [16, 41]


# ── what is kept between passes ──────────────────────────────────────────────
def hard_rows(random, kind, n_rows=3000):
    if kind == "integers":
        return random.integers(-4, 5, (n_rows, 3)).astype(np.float32)
    if kind == "scales":
        return random.normal(size=(n_rows, 4)) * [1.0, 1e4, 1e-4, 1.0] + [0.0, 1e7, 0.0, -3.0]
    if kind == "outliers":
        far = random.random((n_rows, 1)) < 0.01
        return np.where(far, 1e3, 1.0) * random.normal(size=(n_rows, 3))
    return random.normal(size=(n_rows, 5)).astype(np.float32)


@pytest.mark.parametrize("kind", ["normal", "integers", "scales", "outliers"])
@pytest.mark.parametrize("n_centres", [1, 2, 6, 21])
def test_margins__never_promise_too_much(kind, n_centres):
    """At any centres within the margin of a row, its label is as it was."""
    random = np.random.default_rng(n_centres)
    rows = hard_rows(random, kind)
    centres = rows[random.choice(len(rows), n_centres, replace=False)].astype(float)
    radii = random.random(n_centres) + 0.05
    near = near_rows.keep(rows, None, Moving(centres, radii))
    np.testing.assert_array_equal(near.labels, naive.labels_of(near.values, centres))
    assert (np.diff(near.margins[np.isfinite(near.margins)]) >= 0).all()
    usual = np.quantile(near.margins[np.isfinite(near.margins)], 0.3) if n_centres > 1 else 1.0
    for size in (0.1, 0.5, 1.0, 3.0):
        directions = random.normal(size=centres.shape)
        directions /= np.linalg.norm(directions, axis=1, keepdims=True)
        moved = centres + size * max(usual, 1e-6) * radii[:, None] * directions
        seen = extent(rows, None, 0)
        by = steps.moved_by(moved, centres, radii, seen)
        held = near.margins > by
        labels = naive.labels_of(near.values, moved)
        np.testing.assert_array_equal(labels[held], near.labels[held])


def test_margins__are_nearly_the_real_ones():
    random = np.random.default_rng(0)
    rows, centres = random.normal(size=(500, 3)), random.normal(size=(5, 3))
    radii = np.array([1.0, 2.0, 0.5, 1.0, 3.0])
    near = near_rows.keep(rows, None, Moving(centres, radii))
    dist = np.sqrt(naive.sq_distances(near.values, centres))
    own = dist.argmin(axis=1)
    real = (dist - dist.min(axis=1, keepdims=True)) / (radii[own, None] + radii)
    real[np.arange(500), own] = np.inf
    np.testing.assert_allclose(near.margins, real.min(axis=1), rtol=1e-3, atol=1e-4)
    assert (near.margins <= real.min(axis=1)).all()


@pytest.mark.parametrize("kind", ["normal", "integers", "scales", "outliers"])
@pytest.mark.parametrize("weighted", [False, True])
def test_step_and_keep__then_moved_since_equals_a_whole_step(kind, weighted):
    random = np.random.default_rng(5)
    rows = hard_rows(random, kind)
    weights = random.integers(0, 4, len(rows)).astype(float) if weighted else None
    centres = rows[random.choice(len(rows), 7, replace=False)].astype(float)
    radii = random.random(7) + 0.1
    grid, seen = grid_for(rows, weights), extent(rows, weights, 0)
    moving = Moving(centres, radii)
    everything = near_rows.keep(rows, weights, moving)
    reach = float(np.quantile(everything.margins, 0.4))
    part, near = near_rows.step_and_keep(rows, weights, moving, grid, reach, squares=True)
    assert same(part, assign.lloyd_step(rows, weights, tiles.stack([centres]), grid))
    assert len(near.margins) >= (everything.margins <= reach).sum()
    size = max(reach, 1e-9) * radii[:, None] / 6
    moved = centres + size * random.normal(size=centres.shape)
    by = steps.moved_by(moved, centres, radii, seen)
    whole = assign.lloyd_step(rows, weights, tiles.stack([moved]), grid, squares=False)
    if by < reach:
        change = near_rows.moved_since([near], moved, grid, by)
        found = assign.merge_steps(part, change)
        np.testing.assert_array_equal(found.counts, whole.counts)
        found_units, whole_units = steps.units_of(found), steps.units_of(whole)
        assert (found_units[:, :-1] == whole_units[:, :-1]).all()
