"""Density in boxes: what each task does with the rows of one box, and what it tells the others.

Covers: rows to boxes; dense rows of each box; components of dense rows in each box, once its
neighbours have told which rows of its halo are dense; which components of two boxes share rows.
Tasks tell each other by files in a directory that all of them reach. Does not cover: where boxes
lie (see `density.boxes`) or numbers of clusters (see `density.outcome`).

Why it is exact: a box with its halo has all neighbours of its own rows, so that it alone knows
which of them are dense, and which components each of them touches; and two dense rows that are
near share a box as own row and copy, so that their components in both boxes are joined.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from daskseg.cluster.density.boxes import shape_of
from daskseg.engine import passes
from daskseg.engine.blocks import Blocks, Load, Rows
from daskseg.kernels import boxes, density, density_join, kdtree
from daskseg.kernels.boxes import BoxTree
from daskseg.kernels.density import Ball
from daskseg.kernels.kdtree import KdTree

Ints = NDArray[np.int64]
Item = tuple[int, Load]
_NO_COMPONENT = -1


class Task(NamedTuple):
    """What all tasks share.

    Attributes
    ----------
    tree : BoxTree
    ball : Ball
    min_samples : int
    folder : str
        Where tasks leave files.
    """

    tree: BoxTree
    ball: Ball
    min_samples: int
    folder: str

    def path(self, kind: str, number: int) -> Path:
        """Return the file of one kind of one box."""
        return Path(self.folder) / f"{kind}-{number}.npz"


class Joined(NamedTuple):
    """What the boxes found.

    Attributes
    ----------
    roots : list of ndarray of int64
        For each box, the least number of a dense row in each of its components.
    pairs : ndarray of shape (n, 2), int64
        Roots of components of two boxes that share a row.
    n_copies : int
        Rows in halos.
    """

    roots: list[Ints]
    pairs: Ints
    n_copies: int


# ── rows to boxes ────────────────────────────────────────────────────────────
def _split(rows: Rows, task: Task) -> tuple[pd.DataFrame, int]:
    """Put rows into their boxes and halos: the split of `passes.exchange`."""
    placed = boxes.place(task.tree, rows.values, task.ball.sq_eps)
    every = np.concatenate([np.arange(len(rows.values)), placed.rows])
    columns: dict[str, Any] = {
        "bucket": np.concatenate([placed.owner, placed.boxes]),
        "row": rows.first_row + every,
        "owner": placed.owner[every],
    }
    if rows.weights is not None:
        columns["weight"] = rows.weights[every]
    values = rows.values[every]
    columns.update({f"x{f}": values[:, f] for f in range(values.shape[1])})
    return pd.DataFrame(columns), len(placed.rows)


def _add(a: int, b: int) -> int:
    return a + b


def to_boxes(blocks: Blocks, task: Task, halo_share: float, folder: Path) -> tuple[int, list[Item]]:
    """Bring rows to their boxes through files. One pass.

    Parameters
    ----------
    blocks : Blocks
        Measured.
    task : Task
    halo_share : float
        Expected copies per row.
    folder : Path

    Returns
    -------
    n_copies : int
    items : list of (number of the box, Load of its rows)
    """
    row_bytes = (1 + halo_share) * shape_of(blocks).split_bytes
    n_copies, buckets = passes.exchange(
        blocks,
        _split,
        _add,
        task.tree.n_boxes,
        folder,
        task,
        name="boxes",
        slice_bytes=lambda rows: int(rows * row_bytes),
    )
    return int(n_copies), list(enumerate(buckets.loads))


# ── one box ──────────────────────────────────────────────────────────────────
def _save(path: Path, arrays: dict[str, NDArray[Any]]) -> None:
    with path.open("wb") as file:
        np.savez(file, allow_pickle=False, **arrays)


def _count_box(item: Item, task: Task) -> None:
    """Find the dense rows of a box, and tell its neighbours which of theirs are."""
    number, load = item
    frame = load.func(*load.args)
    rows, owner = frame.pop("row").to_numpy(), frame.pop("owner").to_numpy()
    weights = frame.pop("weight").to_numpy() if "weight" in frame else None
    values = frame.to_numpy()
    dtype = values.dtype
    del frame
    tree = kdtree.build(values.astype(np.float64, copy=False))
    del values
    rows, owner = rows[tree.places], owner[tree.places]
    if weights is not None:
        weights = density.fixed_weights(weights[tree.places], task.min_samples)
    is_own = owner == number
    is_core = density.core_rows(tree, task.ball, weights, is_own) & is_own
    own = np.flatnonzero(is_own)
    placed = boxes.place(task.tree, tree.points[own], task.ball.sq_eps)
    sent, to = own[placed.rows], placed.boxes
    order = np.lexsort((rows[sent], to))
    sent, to = sent[order], to[order]
    told = {str(one): np.packbits(is_core[sent[to == one]]) for one in np.unique(to).tolist()}
    _save(task.path("dense", number), told)
    _save(
        task.path("box", number),
        {
            "points": tree.points.astype(dtype),
            "rows": rows,
            "owner": owner,
            "is_core": is_core,
            "start": tree.start,
            "stop": tree.stop,
            "low": tree.low,
            "high": tree.high,
            "sent": sent,
            "to": to,
        },
    )


def _tree_of(saved: Any, n_rows: int) -> KdTree:
    points = saved["points"].astype(np.float64)
    nodes = (saved[name] for name in ("start", "stop", "low", "high"))
    return KdTree(points, np.arange(n_rows), *nodes)


def _halo_places(rows: Ints, owner: NDArray[np.int32], number: int) -> dict[int, Ints]:
    """Return the places of the rows of each other box, in the order in which it tells of them."""
    halo = np.flatnonzero(owner != number)
    halo = halo[np.lexsort((rows[halo], owner[halo]))]
    owners, starts = np.unique(owner[halo], return_index=True)
    return dict(zip(owners.tolist(), np.split(halo, starts[1:]), strict=False))


def _number_components(component: Ints, rows: Ints) -> tuple[Ints, Ints]:
    """Give components numbers along the rows.

    Returns
    -------
    component : ndarray of shape (n_rows,), int64
        Numbers from 0, by rising root; -1 as it was.
    roots : ndarray of shape (n_components,), int64
        The least row of each.
    """
    inside = np.flatnonzero(component >= 0)
    inside = inside[np.argsort(rows[inside])]
    _, first, found = np.unique(component[inside], return_index=True, return_inverse=True)
    rank = np.empty(len(first), np.int64)
    rank[np.argsort(first)] = np.arange(len(first))
    numbered = np.full(len(component), _NO_COMPONENT, np.int64)
    numbered[inside] = rank[found]
    return numbered, rows[inside[np.sort(first)]]


def _join_box(number: int, task: Task) -> Ints:
    """Find the components of a box and what its other rows touch; return the roots."""
    with np.load(task.path("box", number)) as saved:
        rows, owner, is_core = saved["rows"], saved["owner"], saved["is_core"]
        sent, to = saved["sent"], saved["to"]
        tree = _tree_of(saved, len(rows))
    halo = _halo_places(rows, owner, number)
    for other, places in halo.items():
        with np.load(task.path("dense", other)) as told:
            bits = np.unpackbits(told[str(number)], count=len(places))
        is_core[places] = bits.astype(bool)
    sq_eps = task.ball.sq_eps
    connected = density_join.connect(tree, is_core, sq_eps)
    component, roots = _number_components(connected, rows)
    is_own = owner == number
    touching, touched = density_join.touched(tree, component, sq_eps, is_own)
    # Of rows that two boxes have: in which component of this one they are.
    root_of = np.append(roots, _NO_COMPONENT)
    shared = {f"from-{other}": root_of[component[places]] for other, places in halo.items()}
    for other in np.unique(to).tolist():
        shared[f"to-{other}"] = root_of[component[sent[to == other]]]
    _save(task.path("shared", number), shared)
    own = np.flatnonzero(is_own)
    _save(
        task.path("found", number),
        {
            "rows": rows[own],
            "component": component[own],
            "touching": rows[touching],
            "touched": touched,
        },
    )
    return roots


def _pair_box(number: int, task: Task) -> Ints:
    """Return which components of a box and of its neighbours share rows."""
    found = [np.empty((0, 2), np.int64)]
    with np.load(task.path("shared", number)) as own:
        for name in own.files:
            way, _, other = name.partition("-")
            if way == "to":
                continue
            with np.load(task.path("shared", int(other))) as theirs:
                pairs = np.column_stack([own[name], theirs[f"to-{number}"]])
            found.append(np.unique(pairs[(pairs >= 0).all(axis=1)], axis=0))
    return np.unique(np.concatenate(found), axis=0)


def join_boxes(blocks: Blocks, task: Task, halo_share: float) -> Joined:
    """Find the components of all boxes. One pass; the rest is done on files.

    Parameters
    ----------
    blocks : Blocks
        Measured.
    task : Task
    halo_share : float
        Expected copies per row.
    """
    folder = Path(task.folder) / "spill"
    folder.mkdir()
    n_copies, items = to_boxes(blocks, task, halo_share, folder)
    passes.run(_count_box, items, task, name="count")
    for path in folder.iterdir():
        path.unlink()
    numbers = list(range(len(items)))
    roots = passes.run(_join_box, numbers, task, name="join")
    pairs = passes.run(_pair_box, numbers, task, name="pair")
    return Joined(roots, np.concatenate(pairs), n_copies)
