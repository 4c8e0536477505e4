"""Labels of density clusters: from the components of boxes, or of all rows in memory.

Covers: numbers of clusters by their first dense rows, as scikit-learn's scan gives them, and labels
of all rows in this process. Does not cover: components of boxes (see `density.box_jobs`).
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from dask.utils import format_bytes
from numpy.typing import NDArray

from daskseg.cluster.density.box_jobs import Joined, Task
from daskseg.cluster.density.boxes import Shape
from daskseg.engine import memory, passes
from daskseg.errors import MemoryBudgetError
from daskseg.kernels import density, density_join, kdtree
from daskseg.kernels.density import Ball, Search

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
NOISE = -1
# Arbitrary: dense rows that are kept in this process, to predict with.
KEPT_BYTES = 256 * 2**20
# Rows that a thread searches at a time.
_RANGE_ROWS = 2**15


class Outcome(NamedTuple):
    """What a fit found.

    Attributes
    ----------
    labels : ndarray of shape (n_rows,), int32
    is_core : ndarray of shape (ceil(n_rows / 8),), uint8
        One bit per row.
    core_values : ndarray of shape (n_core, n_features) or None
        The dense rows, in order; None if they take more than `KEPT_BYTES`.
    n_clusters : int
    """

    labels: NDArray[np.int32]
    is_core: NDArray[np.uint8]
    core_values: NDArray[Any] | None
    n_clusters: int


def _keep(n_core: int, n_features: int, dtype: Any) -> bool:
    return n_core * n_features * int(np.dtype(dtype).itemsize) <= KEPT_BYTES


def _label_touched(labels: NDArray[np.int32], rows: Ints, clusters: NDArray[np.int32]) -> None:
    """Give rows that are not dense the smallest number of a cluster that they touch."""
    order = np.lexsort((clusters, rows))
    rows, first = np.unique(rows[order], return_index=True)
    labels[rows] = clusters[order][first]


# ── boxes ────────────────────────────────────────────────────────────────────
def number_clusters(joined: Joined) -> tuple[list[NDArray[np.int32]], int]:
    """Return the cluster of each component of each box, and how many there are.

    Clusters are numbered by their least dense row, as a scan of all rows in order opens them.
    """
    roots = np.unique(np.concatenate(joined.roots))
    one, other = (np.searchsorted(roots, column) for column in joined.pairs.T)
    least = density_join.roots_of_pairs(len(roots), one, other)
    firsts, cluster = np.unique(least, return_inverse=True)
    numbers = cluster.astype(np.int32)
    return [numbers[np.searchsorted(roots, own)] for own in joined.roots], len(firsts)


def label_boxes(joined: Joined, task: Task, shape: Shape, dtype: Any) -> Outcome:
    """Read what the boxes found, one after the other, and label all rows."""
    labels = np.full(shape.n_rows, NOISE, np.int32)
    is_core = np.zeros(shape.n_rows, bool)
    clusters, n_clusters = number_clusters(joined)
    for number, cluster in enumerate(clusters):
        with np.load(task.path("found", number)) as found:
            rows, component = found["rows"], found["component"]
            inside = component >= 0
            is_core[rows[inside]] = True
            labels[rows[inside]] = cluster[component[inside]]
            _label_touched(labels, found["touching"], cluster[found["touched"]])
    core_rows = np.flatnonzero(is_core)
    core_values = None
    if _keep(len(core_rows), shape.n_features, dtype):
        core_values = np.empty((len(core_rows), shape.n_features), dtype)
        for number in range(len(clusters)):
            with np.load(task.path("box", number)) as saved:
                rows = saved["rows"]
                inside = is_core[rows] & (saved["owner"] == number)
                core_values[np.searchsorted(core_rows, rows[inside])] = saved["points"][inside]
    return Outcome(labels, np.packbits(is_core), core_values, n_clusters)


# ── memory ───────────────────────────────────────────────────────────────────
def check_room(shape: Shape) -> None:
    """Refuse rows in memory that cannot be worked on there."""
    found = memory.budget(local=True)
    needed = shape.n_rows * shape.whole_bytes
    if found.limit_bytes is not None and found.idle_bytes + needed > found.limit_bytes:
        raise MemoryBudgetError(
            f"{shape.n_rows:,} rows of {shape.n_features} columns in memory take "
            f"{format_bytes(needed)} more, and {format_bytes(found.idle_bytes)} are in use. The "
            f"limit is {format_bytes(found.limit_bytes)} ({found.origin}). Raise it, or hand the "
            "rows over as a Zarr store or a dask array, which are worked on box by box."
        )


def _search_range(first: int, search: Search) -> None:
    search.run(first, min(first + _RANGE_ROWS, len(search.is_core)))


def label_rows(
    values: NDArray[Any], weights: Floats | None, ball: Ball, min_samples: int
) -> Outcome:
    """Label rows in memory, as one box, with the threads of this process."""
    n_rows = len(values)
    tree = kdtree.build(values.astype(np.float64, copy=False))
    places = tree.places
    heavy = None
    if weights is not None:
        heavy = density.fixed_weights(weights[places], min_samples)
    search = density.begin_search(tree, ball, heavy)
    starts = list(range(0, n_rows, _RANGE_ROWS))
    # Threads of this process write to the same answer, each to its own range.
    passes.run(_search_range, starts, search, name="count", local=True)
    component = density_join.connect(tree, search.is_core, ball.sq_eps)
    touching, touched = density_join.touched(tree, component, ball.sq_eps)
    is_core = np.zeros(n_rows, bool)
    is_core[places] = search.is_core
    by_row = np.empty(n_rows, np.int64)
    by_row[places] = component
    core_rows = np.flatnonzero(is_core)
    found, first = np.unique(by_row[core_rows], return_index=True)
    cluster = np.empty(len(found), np.int32)
    cluster[np.argsort(first)] = np.arange(len(found))
    labels = np.full(n_rows, NOISE, np.int32)
    labels[core_rows] = cluster[np.searchsorted(found, by_row[core_rows])]
    _label_touched(labels, places[touching], cluster[np.searchsorted(found, touched)])
    is_kept = _keep(len(core_rows), values.shape[1], values.dtype)
    core_values = values[core_rows] if is_kept else None
    return Outcome(labels, np.packbits(is_core), core_values, len(found))
