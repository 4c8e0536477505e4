"""Trees of splits in two: to which leaf a row comes, from the root down.

Covers: following the tree row by row. Does not cover: growing it (see `cluster.bisecting`).

Scratch: the label of each row.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from daskseg.kernels.compiling import compiled

Floats = NDArray[np.float64]


class Splits(NamedTuple):
    """A tree; split 0 is its root.

    Attributes
    ----------
    children : ndarray of shape (n_splits, 2), int64
        Below ``n_splits + 1`` the label of a leaf, else that plus the number of a split.
    centres : ndarray of shape (n_splits, 2, n_features), float64
        A row goes to the nearer one; to the first at a tie.
    """

    children: NDArray[np.int64]
    centres: Floats


@compiled()
def _follow(
    values: NDArray[Any],
    children: NDArray[np.int64],
    centres: Floats,
    labels: NDArray[np.int32],
) -> None:  # pragma: no cover - compiled
    n_leaves = len(children) + 1
    for i in range(len(values)):
        node = n_leaves
        while node >= n_leaves:
            split = node - n_leaves
            left, right = 0.0, 0.0
            for f in range(centres.shape[2]):
                value = np.float64(values[i, f])
                left += (value - centres[split, 0, f]) * (value - centres[split, 0, f])
                right += (value - centres[split, 1, f]) * (value - centres[split, 1, f])
            node = children[split, 0 if left <= right else 1]
        labels[i] = node


def follow(values: NDArray[np.floating], splits: Splits) -> NDArray[np.int32]:
    """Find the leaf of each row.

    Parameters
    ----------
    values : ndarray of shape (n_rows, n_features), float32 or float64
    splits : Splits

    Returns
    -------
    ndarray of shape (n_rows,), int32
        Zero without any split.

    Examples
    --------
    >>> tree = Splits(np.array([[0, 1]]), np.array([[[0.0], [9.0]]]))
    >>> follow(np.array([[1.0], [8.0], [4.5]]), tree).tolist()
    [0, 1, 0]
    """
    labels = np.zeros(len(values), np.int32)
    if len(splits.children):
        _follow(np.ascontiguousarray(values), splits.children, splits.centres, labels)
    return labels


def scratch_bytes(
    n_features: int,  # noqa: ARG001 - one signature for all kernels
    n_centres: int,  # noqa: ARG001
    block_rows: int,
    itemsize: int,  # noqa: ARG001
) -> int:
    """Return the memory that `follow` takes beside a contiguous block: the labels."""
    return 4 * block_rows
