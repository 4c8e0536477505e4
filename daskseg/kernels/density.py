"""Which rows are dense: the weight of rows in a ball around each reaches a threshold.

Covers: weights as exact integers, the rows that are dense for sure, and searches that stop as soon
as the threshold is reached, so that no list of neighbours is ever made. Does not cover: which
dense rows belong together (see `kernels.density_join`).

Two rows are near if their squared differences, added in float64 in the order of the columns, are
at most eps * eps: the decision of scikit-learn's KD-tree. Boxes around rows are compared in the
same arithmetic, whose roundings are monotone, so that they decide as their rows would.
Scratch memory: 9 bytes per node of the tree.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from daskseg.kernels.compiling import compiled
from daskseg.kernels.kdtree import STACK, KdTree, push_children, sq_between

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Mask = NDArray[np.bool_]
# Sums of two weights below it stay within 63 bits.
_WEIGHT_BITS = 60


class Ball(NamedTuple):
    """What makes a row dense.

    Attributes
    ----------
    sq_eps : float
        Largest squared distance of rows that are near; the ball is closed.
    threshold : int
        The least weight in the ball: a number of rows, or as `fixed_weights` counts.
    """

    sq_eps: float
    threshold: int


def ball_of(eps: float, min_samples: int, *, is_weighted: bool) -> Ball:
    """Return the ball of the parameters of DBSCAN."""
    sq_eps = float(eps) * float(eps)
    if not is_weighted:
        return Ball(sq_eps, int(min_samples))
    least = float(min_samples)
    half_step = np.spacing(np.nextafter(least, 0.0)) / 2
    scale = 2.0 ** _exponent(min_samples)
    return Ball(sq_eps, int(least * scale) - int(half_step * scale))


def _exponent(min_samples: int) -> int:
    return _WEIGHT_BITS - math.ceil(math.log2(min_samples + 1))


def fixed_weights(weights: Floats, min_samples: int) -> Ints:
    """Turn weights into integers whose sums no order changes.

    A weight counts at most `min_samples`, as more never matters. The threshold of `ball_of` is
    reached by sums that, rounded once to float64, are at least `min_samples`.

    Parameters
    ----------
    weights : ndarray of shape (n_rows,), float64
        Zero or more.
    min_samples : int
    """
    kept = np.minimum(weights, float(min_samples))
    return np.rint(kept * 2.0 ** _exponent(min_samples)).astype(np.int64)


@compiled()
def sq_to_far(point: Any, low: Any, high: Any) -> float:  # pragma: no cover - compiled
    """Return the largest squared distance of a point from a place in a box."""
    total = 0.0
    for f in range(len(point)):
        gap = max(abs(point[f] - low[f]), abs(high[f] - point[f]))
        total += gap * gap
    return total


@compiled()
def sq_diameter(low: Any, high: Any) -> float:  # pragma: no cover - compiled
    """Return the largest squared distance of two places in a box."""
    total = 0.0
    for f in range(len(low)):
        side = high[f] - low[f]
        total += side * side
    return total


@compiled()
def _mass_of_nodes(
    tree: KdTree, weights: Any, threshold: int
) -> Ints:  # pragma: no cover - compiled
    n_nodes = len(tree.start)
    n_inner = n_nodes // 2
    mass = np.zeros(n_nodes, np.int64)
    for node in range(n_nodes - 1, -1, -1):
        if node < n_inner:
            mass[node] = min(threshold, mass[2 * node + 1] + mass[2 * node + 2])
        elif len(weights) == 0:
            mass[node] = min(threshold, tree.stop[node] - tree.start[node])
        else:
            for i in range(tree.start[node], tree.stop[node]):
                mass[node] = min(threshold, mass[node] + weights[i])
    return mass


@compiled()
def _mark_sure(
    tree: KdTree, mass: Any, sq_eps: float, threshold: int, is_core: Any
) -> None:  # pragma: no cover - compiled
    """Mark all rows of the largest nodes that are no wider than the ball and heavy enough."""
    is_sure = np.zeros(len(tree.start), np.bool_)
    for node in range(len(tree.start)):
        if node > 0 and is_sure[(node - 1) // 2]:
            is_sure[node] = True
        elif mass[node] >= threshold and sq_diameter(tree.low[node], tree.high[node]) <= sq_eps:
            is_sure[node] = True
            is_core[tree.start[node] : tree.stop[node]] = True


@compiled()
def _is_dense(
    tree: KdTree,
    weights: Any,
    mass: Any,
    sq_eps: float,
    threshold: int,
    point: Any,
    stack: Any,
    bounds: Any,
) -> bool:  # pragma: no cover - compiled
    n_inner = len(tree.start) // 2
    stack[0] = 0
    top = 1
    total = 0
    while top:
        top -= 1
        node = stack[top]
        if sq_to_far(point, tree.low[node], tree.high[node]) <= sq_eps:
            total += mass[node]
        elif node < n_inner:
            # The nearer child comes first, so that the threshold is reached early.
            top = push_children(tree, node, point, sq_eps, stack, bounds, top)
        else:
            for j in range(tree.start[node], tree.stop[node]):
                if sq_between(point, tree.points[j]) <= sq_eps:
                    total += weights[j] if len(weights) else 1
                    if total >= threshold:
                        return True
        if total >= threshold:
            return True
    return False


@compiled()
def _search(
    tree: KdTree,
    weights: Any,
    mass: Any,
    sq_eps: float,
    threshold: int,
    is_wanted: Any,
    is_core: Any,
    first: int,
    last: int,
) -> None:  # pragma: no cover - compiled
    stack, bounds = np.empty(STACK, np.int64), np.empty(STACK)
    for i in range(first, last):
        if is_core[i] or (len(is_wanted) and not is_wanted[i]):
            continue
        is_core[i] = _is_dense(
            tree, weights, mass, sq_eps, threshold, tree.points[i], stack, bounds
        )


class Search(NamedTuple):
    """A search that is under way; ranges of rows may be searched in any order, or at once.

    Attributes
    ----------
    tree : KdTree
    weights : ndarray of shape (n_rows,) or (0,), int64
        In the order of the leaves; empty: every row counts one.
    ball : Ball
    mass : ndarray of shape (n_nodes,), int64
        Weight of each node, at most the threshold.
    is_wanted : ndarray of shape (n_rows,) or (0,), bool
        The rows that are asked for; empty: all.
    is_core : ndarray of shape (n_rows,), bool
        The answer. Of rows that are not asked for, only some that are dense are marked.
    """

    tree: KdTree
    weights: Ints
    ball: Ball
    mass: Ints
    is_wanted: Mask
    is_core: Mask

    def run(self, first: int, last: int) -> None:
        """Search a range of rows, and write the answer to `is_core`."""
        _search(
            self.tree,
            self.weights,
            self.mass,
            self.ball.sq_eps,
            self.ball.threshold,
            self.is_wanted,
            self.is_core,
            first,
            last,
        )


def begin_search(
    tree: KdTree, ball: Ball, weights: Ints | None = None, is_wanted: Mask | None = None
) -> Search:
    """Weigh the nodes, and mark the rows that are dense for sure.

    Parameters
    ----------
    tree : KdTree
    ball : Ball
    weights : ndarray of shape (n_rows,), int64, optional
        As `fixed_weights` makes them, in the order of the leaves.
    is_wanted : ndarray of shape (n_rows,), bool, optional
    """
    heavy = np.empty(0, np.int64) if weights is None else weights
    wanted = np.empty(0, np.bool_) if is_wanted is None else is_wanted
    mass = _mass_of_nodes(tree, heavy, ball.threshold)
    is_core = np.zeros(len(tree.points), np.bool_)
    _mark_sure(tree, mass, ball.sq_eps, ball.threshold, is_core)
    return Search(tree, heavy, ball, mass, wanted, is_core)


def core_rows(
    tree: KdTree, ball: Ball, weights: Ints | None = None, is_wanted: Mask | None = None
) -> Mask:
    """Find the dense rows; parameters as for `begin_search`.

    Returns
    -------
    ndarray of shape (n_rows,), bool
        In the order of the leaves.
    """
    search = begin_search(tree, ball, weights, is_wanted)
    search.run(0, len(search.is_core))
    return search.is_core
