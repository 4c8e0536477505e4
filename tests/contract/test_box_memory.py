"""The memory that boxes of DBSCAN are planned with is what their tasks take.

As in test_scratch.py, all is measured in one fresh process.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from functools import cache, partial
from pathlib import Path

import numpy as np
import pytest

from daskseg.cluster.density import box_jobs, outcome
from daskseg.cluster.density.box_jobs import Task
from daskseg.cluster.density.boxes import Shape
from daskseg.engine import spills
from daskseg.engine.blocks import Load, Rows
from daskseg.kernels import density
from daskseg.kernels.boxes import BoxTree
from tests import peak_memory

# Rows, columns and type; weighted or not.
SHAPES = [(200_000, 3, "f4", False), (200_000, 2, "f8", True), (80_000, 8, "f8", False)]
# Allocations that no formula counts.
NOISE_BYTES = 2**20

pytestmark = [
    pytest.mark.memory,
    pytest.mark.skipif(not peak_memory.can_measure(), reason="the system cannot reset peaks"),
]


def _halves(n_features):
    """Two boxes, cut in the first column."""
    low, high = np.full((3, n_features), -np.inf), np.full((3, n_features), np.inf)
    high[1, 0] = low[2, 0] = 0.0
    return BoxTree(np.array([0, -1, -1]), np.zeros(3), np.array([1, 0, 1]), low, high)


def _taken(call):
    before, peak = peak_memory.peak_of(call)
    return peak - before


def _measure(n_rows, n_features, dtype, is_weighted, folder):
    rng = np.random.default_rng(0)
    centres = rng.uniform(-10, 10, (8, n_features))
    # As many on either side of the cut.
    centres[:, 0] = np.linspace(-10, 10, 8)
    values = centres[rng.integers(0, 8, n_rows)] + rng.normal(size=(n_rows, n_features))
    values = values.astype(dtype)
    weights = rng.random(n_rows) + 0.5 if is_weighted else None
    eps = [0.0, 0.0, 0.05, 0.1, 0.0, 0.0, 0.0, 0.0, 0.5][n_features]
    ball = density.ball_of(eps, 10, is_weighted=is_weighted)
    task = Task(_halves(n_features), ball, 10, folder)
    spill = partial(spills.spill_block, Rows(values, 0, weights), box_jobs._split, folder, (task,))
    taken, spilled = _taken(spill), spill()
    found = {"split": taken / (n_rows + spilled.part)}
    ((path, _),) = spilled.files
    wide = values.astype(np.float64)
    found["whole"] = _taken(partial(outcome.label_rows, wide, weights, ball, 10)) / n_rows
    del values, wide
    jobs, held = [], {}
    for number in (0, 1):
        load = Load(spills.read_bucket, ([(path, number)], path))
        held[number] = len(load.func(*load.args))
        jobs.append(_taken(partial(box_jobs._count_box, (number, load), task)) / held[number])
    jobs += [_taken(partial(box_jobs._join_box, one, task)) / held[one] for one in held]
    return found | {"box": max(jobs)}


def measure_all():
    """Measure all shapes, small ones first to compile."""
    found = {}
    for shape in SHAPES:
        for n_rows in (2_000, shape[0]):
            with tempfile.TemporaryDirectory() as folder:
                found[str(shape)] = _measure(n_rows, *shape[1:], folder)
    return found


@cache
def _measured():
    root = Path(__file__).resolve().parents[2]
    run = subprocess.run(
        [sys.executable, __file__],
        capture_output=True,
        check=True,
        env={**os.environ, **peak_memory.MALLOC, "PYTHONPATH": str(root)},
        text=True,
    )
    return json.loads(run.stdout)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize(("kind", "most"), [("box", 1.5), ("split", 1.5), ("whole", 2.5)])
def test_bytes__are_what_boxes_take(kind, most, shape):
    n_rows, n_features, dtype, is_weighted = shape
    about = Shape(n_rows, n_features, np.dtype(dtype).itemsize, is_weighted)
    planned, measured = getattr(about, f"{kind}_bytes"), _measured()[str(shape)][kind]
    noise = NOISE_BYTES / n_rows * 2
    assert measured <= planned + noise
    assert planned <= most * measured + noise


if __name__ == "__main__":
    sys.stdout.write(json.dumps(measure_all()))
