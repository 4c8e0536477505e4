"""Space cut into boxes: which one a row belongs to, and which others it lies near.

Covers: a tree of cuts, the owner of each row, and its copies in the halo of other boxes. Does not
cover: where to cut (see `cluster.density.boxes`).

A cut belongs to the upper side. A row is near a box if its squared distance from it, in the
arithmetic of `kernels.density`, is at most that of rows that are near: so a box with its halo
has all neighbours of its rows, to the last bit.
Scratch memory: about 8 bytes per value, and 24 per copy.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from daskseg.kernels.compiling import compiled
from daskseg.kernels.kdtree import sq_to_box

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


class BoxTree(NamedTuple):
    """Cuts of space, node by node; the boxes are the nodes without children.

    Attributes
    ----------
    column : ndarray of shape (n_nodes,), int64
        What is cut; -1 for a box.
    cut : ndarray of shape (n_nodes,), float64
        Rows below it go to the node ``child``, others to ``child + 1``.
    child : ndarray of shape (n_nodes,), int64
        For a box, its number.
    low, high : ndarray of shape (n_nodes, n_features), float64
        Infinite where nothing bounds the node.
    """

    column: Ints
    cut: Floats
    child: Ints
    low: Floats
    high: Floats

    @property
    def n_boxes(self) -> int:
        """How many boxes there are."""
        return int(np.count_nonzero(self.column < 0))


class Places(NamedTuple):
    """Where rows go.

    Attributes
    ----------
    owner : ndarray of shape (n_rows,), int32
        The box of each row.
    rows : ndarray of shape (n_copies,), int64
        Rows that lie near other boxes, by rising place.
    boxes : ndarray of shape (n_copies,), int32
        Those boxes.
    """

    owner: NDArray[np.int32]
    rows: Ints
    boxes: NDArray[np.int32]


@compiled()
def _owner(tree: BoxTree, point: Any) -> int:  # pragma: no cover - compiled
    node = 0
    while tree.column[node] >= 0:
        is_above = point[tree.column[node]] >= tree.cut[node]
        node = tree.child[node] + is_above
    return int(tree.child[node])


@compiled()
def _place(
    tree: BoxTree, values: NDArray[Any], sq_eps: float
) -> tuple[NDArray[np.int32], Ints, NDArray[np.int32]]:  # pragma: no cover - compiled
    n_rows = len(values)
    owner = np.empty(n_rows, np.int32)
    point = np.empty(values.shape[1])
    # A node has at most one waiting sibling per level.
    stack = np.empty(len(tree.column), np.int64)
    rows, boxes, n_found = np.empty(1024, np.int64), np.empty(1024, np.int32), 0
    for i in range(n_rows):
        point[:] = values[i]
        own = _owner(tree, point)
        owner[i] = own
        stack[0] = 0
        top = 1
        while top:
            top -= 1
            node = stack[top]
            if sq_to_box(point, tree.low[node], tree.high[node]) > sq_eps:
                continue
            if tree.column[node] >= 0:
                stack[top] = tree.child[node]
                stack[top + 1] = tree.child[node] + 1
                top += 2
            elif tree.child[node] != own:
                if n_found == len(rows):
                    rows = np.concatenate((rows, np.empty_like(rows)))
                    boxes = np.concatenate((boxes, np.empty_like(boxes)))
                rows[n_found] = i
                boxes[n_found] = tree.child[node]
                n_found += 1
    return owner, rows[:n_found].copy(), boxes[:n_found].copy()


def place(tree: BoxTree, values: NDArray[Any], sq_eps: float) -> Places:
    """Find the box of each row, and the other boxes that it lies near.

    Parameters
    ----------
    tree : BoxTree
    values : ndarray of shape (n_rows, n_features), float32 or float64
    sq_eps : float
    """
    return Places(*_place(tree, np.ascontiguousarray(values), sq_eps))
