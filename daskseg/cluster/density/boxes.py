"""Where space is cut into boxes that fit the memory of a task, and what the cuts will cost.

Covers: median cuts on a uniform sample, the rows that boxes and their halos will hold, and
refusing cuts that would copy rows too often. Does not cover: bringing rows to boxes (see
`density.box_jobs`).
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from dask.utils import format_bytes
from numpy.typing import NDArray

from daskseg.engine import memory, runtime
from daskseg.engine.blocks import Blocks
from daskseg.errors import MemoryBudgetError
from daskseg.kernels.boxes import BoxTree

Floats = NDArray[np.float64]
Places = NDArray[np.int64]
# Arbitrary: boxes are planned on a sample, and some turn out larger.
_BOX_SHARE = 0.5
# Arbitrary: what a task takes where nothing is known to limit it.
_UNLIMITED_BYTES = 2 * 2**30
# Arbitrary: smaller boxes cost more in files and copies than more tasks at once gain.
_LEAST_ROWS = 100_000
_BOXES_PER_THREAD = 2
# Arbitrary: below it, files would take longer than the work.
_FEWEST_ROWS = 1_000
# Arbitrary: with more copies, boxes are not made smaller for the sake of more tasks.
_CHEAP_HALO = 0.25


@dataclass(frozen=True)
class BoxPlan:
    """Boxes, and what is expected of them.

    Attributes
    ----------
    tree : BoxTree
    n_boxes : int
    halo_share : float
        Expected copies of rows in the halos of other boxes, as a share of all rows.
    largest_rows : int
        Rows expected in the largest box with its halo.
    box_bytes : int
        Memory expected for it.
    disk_bytes : int
        Files expected in the temporary directory, at most.
    """

    tree: BoxTree = field(repr=False)
    n_boxes: int
    halo_share: float
    largest_rows: int
    box_bytes: int
    disk_bytes: int


class Shape(NamedTuple):
    """What the plan has to know of the rows.

    Attributes
    ----------
    n_rows, n_features, itemsize : int
    is_weighted : bool
    """

    n_rows: int
    n_features: int
    itemsize: int
    is_weighted: bool

    @property
    def file_bytes(self) -> int:
        """Bytes of a row in a file: its values, number, box and weight."""
        return 12 + self.n_features * self.itemsize + 8 * self.is_weighted

    @property
    def box_bytes(self) -> int:
        """Bytes of a row in the task of a box.

        Measured, in 1 to 8 columns: 0 to 20 % less. Either the rows as they are read, and twice
        as a tree is made of them, or the tree with flags and sets.
        """
        reading = self.file_bytes + 16 * self.n_features + 30 + 16 * self.is_weighted
        return max(reading, 8 * self.n_features + 86)

    @property
    def split_bytes(self) -> int:
        """Bytes of a row, or a copy of one, while it is brought to boxes.

        Measured: 0 to 25 % less. The row with its places, in a frame, in a frame by box, and in a
        file.
        """
        return 3 * (self.file_bytes + 4) + 8

    @property
    def whole_bytes(self) -> int:
        """Bytes of a row where all rows are one box in this process.

        Measured: 20 % less where rows are copied on the way, else half.
        """
        return 24 * self.n_features + 60 + 16 * self.is_weighted


def shape_of(blocks: Blocks) -> Shape:
    """Return what the plan has to know of blocks that are measured."""
    return Shape(
        blocks.n_rows, blocks.n_features, blocks.dtype.itemsize, blocks.weights is not None
    )


class _Leaf(NamedTuple):
    """A box of the sample: its node, and the places of its rows and of those near it."""

    node: int
    own: Places
    halo: Places


class _Cuts:
    """A tree of cuts that grows."""

    def __init__(self, sample: Floats, sq_eps: float) -> None:
        self.sample, self.sq_eps = sample, sq_eps
        n_features = sample.shape[1]
        self.column, self.cut, self.child = [-1], [0.0], [0]
        self.low, self.high = [np.full(n_features, -np.inf)], [np.full(n_features, np.inf)]
        self.leaves = [_Leaf(0, np.arange(len(sample)), np.empty(0, np.int64))]
        self.n_copies = 0

    def split(self, leaf: _Leaf) -> list[_Leaf] | None:
        """Cut a box at the median of its widest column; None if all its rows are alike."""
        own = self.sample[leaf.own]
        if not len(own):
            return None
        widest = int(np.argmax(own.max(axis=0) - own.min(axis=0)))
        column = own[:, widest]
        cut = float(np.partition(column, len(column) // 2)[len(column) // 2])
        if not (column < cut).any():
            above = column[column > cut]
            if not len(above):
                return None
            cut = float(above.min())
        first = len(self.column)
        self.column[leaf.node], self.cut[leaf.node] = widest, cut
        self.child[leaf.node] = first
        is_above = column >= cut
        inside = np.concatenate([leaf.own, leaf.halo])
        halves = []
        for side in (0, 1):
            low, high = self.low[leaf.node].copy(), self.high[leaf.node].copy()
            (low if side else high)[widest] = cut
            self.column.append(-1)
            self.cut.append(0.0)
            self.child.append(0)
            self.low.append(low)
            self.high.append(high)
            is_own = np.zeros(len(inside), bool)
            is_own[: len(leaf.own)] = is_above if side else ~is_above
            others = inside[~is_own]
            halo = others[self._near(others, low, high)]
            halves.append(_Leaf(first + side, inside[is_own], halo))
        return halves

    def _near(self, places: Places, low: Floats, high: Floats) -> NDArray[np.bool_]:
        rows = self.sample[places]
        gaps = np.maximum(np.maximum(low - rows, rows - high), 0.0)
        return np.asarray((gaps**2).sum(axis=1) <= self.sq_eps)

    def grow(self, most_rows: float, most_copies: float) -> None:
        """Cut boxes of more than so many rows of the sample, halos included.

        Stops with too many copies; boxes that cannot be cut are left as they are.
        """
        waiting, self.leaves = self.leaves, []
        self.n_copies = sum(len(leaf.halo) for leaf in waiting)
        while waiting and self.n_copies <= most_copies:
            leaf = waiting.pop()
            halves = self.split(leaf) if len(leaf.own) + len(leaf.halo) > most_rows else None
            if halves is None:
                self.leaves.append(leaf)
                continue
            waiting += halves
            self.n_copies += sum(len(one.halo) for one in halves) - len(leaf.halo)
        self.leaves += waiting

    def tree(self) -> BoxTree:
        child = np.array(self.child, np.int64)
        # Numbered along the tree, so that neighbours in space are neighbours in number.
        number, waiting = 0, [0]
        while waiting:
            node = waiting.pop()
            if self.column[node] < 0:
                child[node] = number
                number += 1
            else:
                waiting += [int(child[node]) + 1, int(child[node])]
        return BoxTree(
            np.array(self.column, np.int64),
            np.array(self.cut),
            child,
            np.array(self.low),
            np.array(self.high),
        )


def room_of_task() -> tuple[int, str]:
    """Return the bytes that one task may take, and what sets the limit."""
    found = memory.budget()
    if found.limit_bytes is None:
        return _UNLIMITED_BYTES, ""
    room = (found.limit_bytes - found.idle_bytes) // found.n_threads
    return max(0, room), f"{format_bytes(found.limit_bytes)} ({found.origin})"


def plan_boxes(sample: Floats, shape: Shape, eps: float, max_halo: float) -> BoxPlan:
    """Cut space so that each box with its halo fits a task.

    Parameters
    ----------
    sample : ndarray of shape (n, n_features), float64
        Uniform.
    shape : Shape
    eps : float
    max_halo : float

    Returns
    -------
    BoxPlan

    Raises
    ------
    MemoryBudgetError
        If the boxes would copy rows more than `max_halo` times, or if rows that are all alike
        do not fit a box.
    """
    room, origin = room_of_task()
    scale = shape.n_rows / len(sample)
    most_rows = _BOX_SHARE * room / shape.box_bytes
    if most_rows < min(_FEWEST_ROWS, shape.n_rows):
        raise MemoryBudgetError(
            f"a task may take {format_bytes(room)}, which is {most_rows:,.0f} rows of a box, and "
            f"fewer than {_FEWEST_ROWS:,} are not worth a file. The limit is {origin}. Raise it, "
            "or use fewer threads per worker."
        )
    n_threads = runtime.n_threads()
    cuts = _grow(sample, eps, most_rows / scale, max_halo)
    if cuts.n_copies > max_halo * len(sample):
        raise MemoryBudgetError(_refuse_copies(cuts, shape, eps, max_halo, most_rows))
    wanted = max(_LEAST_ROWS, shape.n_rows / (_BOXES_PER_THREAD * n_threads))
    if len(cuts.leaves) < _BOXES_PER_THREAD * n_threads and wanted < most_rows:
        finer = _grow(sample, eps, wanted / scale, min(max_halo, _CHEAP_HALO))
        if finer.n_copies <= min(max_halo, _CHEAP_HALO) * len(sample):
            cuts = finer
    plan = _describe(cuts, shape, scale)
    if origin and plan.box_bytes > room:
        raise MemoryBudgetError(
            f"about {plan.largest_rows:,} rows have the same values, or lie within eps={eps:g} of "
            f"them, and cannot be cut into boxes: they take {format_bytes(plan.box_bytes)}, "
            f"but a task may take {format_bytes(room)}. The limit is {origin}. Raise it, use fewer "
            "threads per worker, or give each distinct row once with its count as sample_weight."
        )
    return plan


def _grow(sample: Floats, eps: float, most_rows: float, max_halo: float) -> _Cuts:
    cuts = _Cuts(sample, eps * eps)
    cuts.grow(most_rows, max_halo * len(sample))
    return cuts


def _describe(cuts: _Cuts, shape: Shape, scale: float) -> BoxPlan:
    share = cuts.n_copies / len(cuts.sample)
    largest = round(scale * max(len(leaf.own) + len(leaf.halo) for leaf in cuts.leaves))
    # The rows as they come, and as trees with flags and sets.
    disk = (1.0 + share) * shape.n_rows * (2 * shape.file_bytes + 40)
    box_bytes = largest * shape.box_bytes
    return BoxPlan(cuts.tree(), len(cuts.leaves), share, largest, box_bytes, int(disk))


def _refuse_copies(cuts: _Cuts, shape: Shape, eps: float, max_halo: float, most_rows: float) -> str:
    share = cuts.n_copies / len(cuts.sample)
    return (
        f"eps={eps:g} is too large for boxes of {most_rows:,.0f} rows, which is what a task has "
        f"memory for: {len(cuts.leaves)} boxes would already copy the {shape.n_rows:,} rows "
        f"{share:.2f} times into the halos of their neighbours, and max_halo={max_halo:g}. Bring "
        f"the {shape.n_features} columns to fewer with daskseg.decomposition.PCA, lower eps "
        "(daskseg.cluster.density.suggest_eps finds one), or give workers more memory or fewer "
        "threads."
    )


def check_disk(plan: BoxPlan, folder: str) -> None:
    """Refuse a directory without room for the files of the boxes.

    Raises
    ------
    MemoryBudgetError
    """
    free = shutil.disk_usage(folder).free
    if plan.disk_bytes > free:
        raise MemoryBudgetError(
            f"the rows of {plan.n_boxes} boxes take about {format_bytes(plan.disk_bytes)} of disk, "
            f"but {folder} has {format_bytes(free)} free. Set TMPDIR to a directory with more room "
            "that all workers can reach."
        )
