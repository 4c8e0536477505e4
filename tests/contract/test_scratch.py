"""The scratch memory that kernels declare is what they take: measured <= planned <= 1.5 x measured.

Kernels allocate in compiled code too, which no Python tracer sees. Therefore all of them run in
one fresh process that reads its own peak of resident memory.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from functools import cache, partial
from pathlib import Path

import numpy as np
import pytest

from daskseg.kernels import (
    assign,
    grid,
    labels,
    mixture,
    mixture_steps,
    moments,
    order_statistics,
    prepare,
    rng,
    sample,
    silhouette,
    strata,
    top_two,
    uniform,
)
from daskseg.kernels.tiles import Stack
from tests import peak_memory

# Rows, features, centres and type of the values.
SHAPES = [(2**18, 20, 20, "f4"), (2**18, 5, 4, "f8"), (2**17, 50, 209, "f4")]
# Results and small arrays that no formula counts; and Linux counts pages in batches per processor.
NOISE_BYTES = 768 * 2**10

pytestmark = [
    pytest.mark.memory,
    pytest.mark.skipif(not peak_memory.can_measure(), reason="the system cannot reset peaks"),
]


def _moments(rows, _):
    frame = moments.frame_of(moments.extent(rows, None, 0))
    return moments.moments(rows, None, frame)


def _silhouettes(rows, centres):
    stack = Stack(centres, np.array([0, len(centres)]))
    clusters = silhouette.Clusters(stack, np.ones(len(centres)), np.full(len(centres), 9.0))
    return silhouette.score_block(rows, None, stack, clusters, np.array([1, 5]))


def _count_codes(rows, _):
    return order_statistics.count_codes(rows, None, [[] for _ in range(rows.shape[1])])


def _prepare(rows, _):
    step = prepare.FeaturePlan("a", -2.0, 2.0, 0.0, "log1p", 0.0, 1.0)
    return prepare.prepare_block(rows, [step] * rows.shape[1])


def _step(rows, centres):
    steps = assign.step_grid(moments.extent(rows[:100], None, 0))
    return assign.lloyd_step(rows, None, Stack(centres, np.array([0, len(centres)])), steps)


def _mixture(rows, centres):
    covariances = np.broadcast_to(np.eye(rows.shape[1]), (len(centres), *[rows.shape[1]] * 2))
    model = mixture_steps.Parameters(np.full(len(centres), 1.0), centres, covariances)
    ready = mixture_steps.ready_of(model, np.array(covariances), "full")
    corners = np.array([[-9.0], [9.0]]) * np.ones(rows.shape[1])
    bounds = mixture_steps.bounds_of(ready, moments.extent(corners, None, 0))
    return mixture.mixture_step(rows, None, ready, bounds)


def _scan(rows, _):
    pilot = sample.Pilot(np.zeros(rows.shape[1]), 1.0)
    return sample.scan(rows, None, 0, pilot, 0, 100)


def _draw(rows, centres):
    n_labels = len(centres)
    quota = strata.Quota(np.ones(n_labels, np.int64), np.full(n_labels, 1e9), rng.ANCHORS)
    # The numbers of the labels are the caller's; they take no room here.
    codes = np.broadcast_to(np.int32(0), len(rows))
    return strata.draw(rows, None, codes, np.arange(len(rows)), quota, 0)


# Kernel, its formula, and whether it takes float64 rows only. The one that takes least of its
# own comes first: later ones may find room that others have freed.
KERNELS = {
    "silhouette": (_silhouettes, silhouette.scratch_bytes, False),
    "grid": (
        lambda rows, _: grid.sum_columns(rows, np.full(rows.shape[1], 3)),
        grid.scratch_bytes,
        True,
    ),
    "assign": (_step, assign.scratch_bytes, False),
    "labels": (labels.nearest, labels.scratch_bytes, False),
    "mixture": (_mixture, mixture.scratch_bytes, False),
    "moments": (_moments, moments.scratch_bytes, False),
    "order_statistics": (_count_codes, order_statistics.scratch_bytes, True),
    "prepare": (_prepare, prepare.scratch_bytes, False),
    "sample": (_scan, sample.scratch_bytes, False),
    "strata": (_draw, strata.scratch_bytes, False),
    "uniform": (
        lambda rows, _: uniform.draw(rows, 0, (0, rng.LANDMARKS), 1.0, len(rows)),
        lambda d, _, n_rows, itemsize: uniform.scratch_bytes(d, n_rows, itemsize, 1),
        False,
    ),
    "top_two": (top_two.top_two, top_two.scratch_bytes, True),
}


def measure_all():
    """Measure every kernel on every shape; runs in a process of its own."""
    found = {}
    for name, (kernel, _, is_wide) in KERNELS.items():
        for n_rows, n_features, n_centres, dtype in SHAPES:
            values = np.random.default_rng(0).normal(size=(n_rows, n_features)).astype(dtype)
            centres = np.random.default_rng(1).normal(size=(n_centres, n_features))
            rows = values.astype(np.float64) if is_wide else values
            kernel(rows[:100], centres)
            before, peak = peak_memory.peak_of(partial(kernel, rows, centres))
            found[f"{name} {n_rows} {n_features} {n_centres} {dtype}"] = peak - before
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
@pytest.mark.parametrize("name", KERNELS)
def test_scratch_bytes__is_what_the_kernel_takes(name, shape):
    n_rows, n_features, n_centres, dtype = shape
    _, formula, is_wide = KERNELS[name]
    itemsize = 8 if is_wide else np.dtype(dtype).itemsize
    planned = formula(n_features, n_centres, n_rows, itemsize)
    measured = _measured()[" ".join(map(str, (name, *shape)))]
    assert measured <= planned + NOISE_BYTES
    assert planned <= 1.5 * measured + NOISE_BYTES


if __name__ == "__main__":
    sys.stdout.write(json.dumps(measure_all()))
