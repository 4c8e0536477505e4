"""Boxes of space: owners, halos, and what is expected of them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from daskseg.cluster.density import boxes as planning
from daskseg.cluster.density.boxes import Shape
from daskseg.errors import MemoryBudgetError
from daskseg.kernels import boxes

MIB = 2**20


@pytest.fixture
def room(monkeypatch):
    """Set what a task may take."""

    def give(n_bytes, origin=""):
        monkeypatch.setattr(planning, "room_of_task", lambda: (n_bytes, origin))
        monkeypatch.setattr(planning, "_LEAST_ROWS", 2**60)
        monkeypatch.setattr(planning, "_FEWEST_ROWS", 1)

    return give


def shape(n_rows, n_features=2):
    return Shape(n_rows, n_features, 8, is_weighted=False)


def plan_for(sample, n_boxes, room, eps=0.1, max_halo=50.0):
    some = shape(len(sample), sample.shape[1])
    room(int(2 * some.box_bytes * len(sample) / n_boxes))
    return planning.plan_boxes(sample, some, eps, max_halo)


@pytest.mark.parametrize("seed", range(8))
def test_place__gives_every_box_all_neighbours_of_its_rows(seed, room):
    rng = np.random.default_rng(seed)
    d = 1 + seed % 4
    rows = rng.normal(size=(600, d)) if seed % 2 else rng.integers(0, 12, (600, d)).astype(float)
    eps = 0.3 if seed % 2 else 1.0
    plan = plan_for(rows, 6, room, eps)
    assert plan.n_boxes > 1
    placed = boxes.place(plan.tree, rows, eps * eps)
    assert set(placed.owner.tolist()) == set(range(plan.n_boxes))
    sq = np.zeros((600, 600))
    for column in rows.T:
        sq += (column[:, None] - column[None]) ** 2
    for number in range(plan.n_boxes):
        own = placed.owner == number
        copies = placed.rows[placed.boxes == number]
        assert not own[copies].any()
        held = own.copy()
        held[copies] = True
        assert not (sq[own] <= eps * eps)[:, ~held].any()
    assert plan.halo_share == pytest.approx(len(placed.rows) / 600)


def test_place__puts_a_row_on_a_cut_above_it_and_near_what_is_below(room):
    rows = np.arange(100.0)[:, None]
    plan = plan_for(rows, 1.5, room, eps=1.0)
    assert (plan.n_boxes, float(plan.tree.cut[0])) == (2, 50.0)
    placed = boxes.place(plan.tree, np.array([[50.0], [49.0], [48.5], [51.5]]), 1.0)
    assert placed.owner.tolist() == [1, 0, 0, 1]
    assert list(zip(placed.rows.tolist(), placed.boxes.tolist(), strict=True)) == [(0, 0), (1, 1)]


def test_place__of_one_box_copies_nothing(room):
    rows = np.random.default_rng(0).normal(size=(50, 3))
    room(2**30)
    plan = planning.plan_boxes(rows, shape(50, 3), 0.5, 2.0)
    placed = boxes.place(plan.tree, rows.astype(np.float32), 0.25)
    assert (plan.n_boxes, plan.halo_share, plan.largest_rows) == (1, 0.0, 50)
    assert not placed.owner.any()
    assert not len(placed.rows)


def test_plan_boxes__expects_what_a_sample_shows(room):
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(200_000, 3))
    sample = rows[rng.permutation(len(rows))[:20_000]]
    room(4 * MIB)
    plan = planning.plan_boxes(sample, shape(len(rows), 3), 0.05, 2.0)
    placed = boxes.place(plan.tree, rows, 0.05**2)
    held = np.bincount(placed.owner) + np.bincount(placed.boxes, minlength=plan.n_boxes)
    assert plan.halo_share == pytest.approx(len(placed.rows) / len(rows), rel=0.05)
    assert plan.largest_rows == pytest.approx(held.max(), rel=0.1)
    assert plan.box_bytes <= 0.55 * 4 * MIB


def test_plan_boxes__makes_enough_for_all_threads_if_copies_are_few(monkeypatch):
    monkeypatch.setattr(planning, "room_of_task", lambda: (2**40, ""))
    monkeypatch.setattr(planning.runtime, "n_threads", lambda **_: 4)
    sample = np.random.default_rng(0).random((5_000, 2))
    assert planning.plan_boxes(sample, shape(5_000_000), 0.001, 2.0).n_boxes >= 8
    assert planning.plan_boxes(sample, shape(5_000_000), 0.3, 2.0).n_boxes == 1
    assert planning.plan_boxes(sample, shape(50_000), 0.001, 2.0).n_boxes == 1


def test_plan_boxes__refuses_too_many_copies_with_the_numbers(room):
    sample = np.random.default_rng(0).random((2_000, 2))
    room(MIB)
    wanted = (
        r"eps=0.4 is too large for boxes of 5,140 rows.* copy the 1,000,000 rows 2\.\d+ times.*"
        r"max_halo=2\. Bring the 2 columns to fewer .*PCA, lower eps"
    )
    with pytest.raises(MemoryBudgetError, match=wanted):
        planning.plan_boxes(sample, shape(1_000_000), 0.4, 2.0)


def test_plan_boxes__refuses_rows_that_are_all_alike(room):
    sample = np.zeros((1_000, 2))
    sample[:100] = np.random.default_rng(0).random((100, 2)) + 1.0
    room(MIB, "1 MiB (the test)")
    with pytest.raises(MemoryBudgetError, match=r"about 90,\d00 rows have the same values"):
        planning.plan_boxes(sample, shape(100_000), 0.001, 2.0)


def test_plan_boxes__cuts_between_values_that_are_repeated(room):
    sample = np.repeat([[0.0], [1.0]], [900, 100], axis=0)
    plan = plan_for(sample, 4, room, eps=0.5)
    assert plan.n_boxes == 2
    assert plan.tree.cut[0] == 1.0


def test_check_disk__refuses_a_directory_without_room(room, tmp_path):
    plan = plan_for(np.random.default_rng(0).random((100, 2)), 2, room)
    planning.check_disk(plan, str(tmp_path))
    with pytest.raises(MemoryBudgetError, match=r"take about .* of disk, but .* free. Set TMPDIR"):
        planning.check_disk(replace(plan, disk_bytes=2**60), str(tmp_path))


def test_plan_boxes__refuses_a_task_without_memory(monkeypatch):
    monkeypatch.setattr(planning, "room_of_task", lambda: (2**16, "64 MiB (the test)"))
    sample = np.random.default_rng(0).random((5_000, 2))
    with pytest.raises(
        MemoryBudgetError, match=r"may take 64.00 kiB, which is 3\d\d rows of a box"
    ):
        planning.plan_boxes(sample, shape(5_000_000), 0.001, 2.0)
    assert planning.plan_boxes(sample[:100], shape(100), 0.001, 2.0).n_boxes == 1
