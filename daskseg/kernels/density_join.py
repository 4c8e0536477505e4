"""Which dense rows hang together, and which others they touch.

Covers: components of dense rows under "near", by union-find over a tree whose nodes are skipped
once all dense rows in them are known to be together, and the components in reach of other rows.
Does not cover: which rows are dense, or what near means (see `kernels.density`).

Answers are sets of rows: they do not depend on how the tree is cut. All dense rows of a node
that is no wider than the ball are together without a look at them, and two such nodes are
joined by the first pair that is near.
Scratch memory: 8 bytes per row and 9 per node.
Reference: Gan and Tao, DBSCAN revisited, SIGMOD 2015, for cells; here the cells are nodes.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from daskseg.kernels.compiling import compiled
from daskseg.kernels.density import sq_diameter, sq_to_far
from daskseg.kernels.kdtree import STACK, KdTree, sq_between, sq_to_box

Ints = NDArray[np.int64]
Mask = NDArray[np.bool_]
# Of a node: no dense row; dense rows of components not known to be one.
_NONE, _MIXED = -2, -1


@compiled()
def find(parent: Any, i: int) -> int:  # pragma: no cover - compiled
    """Return the root of a member, and shorten its way."""
    while parent[i] != i:
        parent[i] = parent[parent[i]]
        i = parent[i]
    return i


@compiled()
def unite(parent: Any, i: int, j: int) -> None:  # pragma: no cover - compiled
    """Join two sets; the smallest member is the root of each."""
    i, j = find(parent, i), find(parent, j)
    if i < j:
        parent[j] = i
    else:
        parent[i] = j


@compiled()
def _unite_pairs(parent: Any, one: Any, other: Any) -> None:  # pragma: no cover - compiled
    for k in range(len(one)):
        unite(parent, one[k], other[k])
    for i in range(len(parent)):
        parent[i] = find(parent, i)


def roots_of_pairs(n: int, one: Ints, other: Ints) -> Ints:
    """Return the smallest member of the component of each of n things, some pairs being joined.

    Parameters
    ----------
    n : int
    one, other : ndarray of shape (n_pairs,), int64
    """
    parent = np.arange(n)
    _unite_pairs(parent, one, other)
    return parent


@compiled()
def _sq_gap(
    low_a: Any, high_a: Any, low_b: Any, high_b: Any
) -> float:  # pragma: no cover - compiled
    """Return the squared distance of two boxes."""
    total = 0.0
    for f in range(len(low_a)):
        gap = max(0.0, low_b[f] - high_a[f], low_a[f] - high_b[f])
        total += gap * gap
    return total


@compiled()
def _sq_span(
    low_a: Any, high_a: Any, low_b: Any, high_b: Any
) -> float:  # pragma: no cover - compiled
    """Return the largest squared distance of two places, one in each box."""
    total = 0.0
    for f in range(len(low_a)):
        side = max(high_a[f] - low_b[f], high_b[f] - low_a[f])
        total += side * side
    return total


@compiled()
def _join_inside(
    tree: KdTree, is_core: Any, parent: Any, node: int
) -> int:  # pragma: no cover - compiled
    """Join all dense rows of a node; return the first, or `_NONE`."""
    first = _NONE
    for i in range(tree.start[node], tree.stop[node]):
        if is_core[i]:
            if first == _NONE:
                first = i
            else:
                unite(parent, first, i)
    return first


@compiled()
def _learn_node(parent: Any, single: Any, node: int) -> int:  # pragma: no cover - compiled
    """Note that a node has one component, if its children tell; return what is known."""
    if single[node] != _MIXED:
        return int(single[node])
    one, other = single[2 * node + 1], single[2 * node + 2]
    if other == _NONE:
        single[node] = one
    elif one == _NONE:
        single[node] = other
    elif one >= 0 and other >= 0 and find(parent, one) == find(parent, other):
        single[node] = one
    return int(single[node])


@compiled()
def _has_near(
    tree: KdTree, is_core: Any, single: Any, sq_eps: float, i: int, node: int, stack: Any
) -> bool:  # pragma: no cover - compiled
    """Say whether a row has a dense row of a node near it."""
    n_inner = len(tree.start) // 2
    stack[0] = node
    top = 1
    while top:
        top -= 1
        node = stack[top]
        if single[node] == _NONE:
            continue
        if sq_to_box(tree.points[i], tree.low[node], tree.high[node]) > sq_eps:
            continue
        if node < n_inner:
            stack[top] = 2 * node + 1
            stack[top + 1] = 2 * node + 2
            top += 2
            continue
        for j in range(tree.start[node], tree.stop[node]):
            if is_core[j] and sq_between(tree.points[i], tree.points[j]) <= sq_eps:
                return True
    return False


@compiled()
def _join_row(
    tree: KdTree, is_core: Any, parent: Any, single: Any, sq_eps: float, i: int, stack: Any
) -> None:  # pragma: no cover - compiled
    """Join a dense row with those that are near it and come after it."""
    n_inner = len(tree.start) // 2
    point = tree.points[i]
    stack[0] = 0
    top = 1
    while top:
        top -= 1
        node = stack[top]
        if tree.stop[node] <= i + 1 or single[node] == _NONE:
            continue
        known = _learn_node(parent, single, node) if node < n_inner else single[node]
        if known >= 0 and find(parent, known) == find(parent, i):
            continue
        if sq_to_box(point, tree.low[node], tree.high[node]) > sq_eps:
            continue
        if known >= 0 and sq_to_far(point, tree.low[node], tree.high[node]) <= sq_eps:
            unite(parent, i, known)
        elif node < n_inner:
            stack[top] = 2 * node + 2
            stack[top + 1] = 2 * node + 1
            top += 2
        else:
            for j in range(max(tree.start[node], i + 1), tree.stop[node]):
                if is_core[j] and sq_between(point, tree.points[j]) <= sq_eps:
                    unite(parent, i, j)
                    if known >= 0:
                        break


@compiled()
def _join_leaf(
    tree: KdTree, is_core: Any, parent: Any, sq_eps: float, cell: int, leaf: int
) -> None:  # pragma: no cover - compiled
    """Join the dense rows of a cell with those of a leaf that are near."""
    for i in range(tree.start[cell], tree.stop[cell]):
        if not is_core[i]:
            continue
        if sq_to_box(tree.points[i], tree.low[leaf], tree.high[leaf]) > sq_eps:
            continue
        for j in range(tree.start[leaf], tree.stop[leaf]):
            if not is_core[j] or find(parent, i) == find(parent, j):
                continue
            if sq_between(tree.points[i], tree.points[j]) <= sq_eps:
                unite(parent, i, j)


@compiled()
def _join_cells(
    tree: KdTree,
    is_core: Any,
    parent: Any,
    single: Any,
    sq_eps: float,
    cell: int,
    other: int,
    stack: Any,
) -> None:  # pragma: no cover - compiled
    """Join two cells of one component each, if a row of one is near a row of the other."""
    for i in range(tree.start[cell], tree.stop[cell]):
        if is_core[i] and _has_near(tree, is_core, single, sq_eps, i, other, stack):
            unite(parent, i, single[other])
            return


@compiled()
def _join_cell(
    tree: KdTree,
    is_core: Any,
    parent: Any,
    single: Any,
    is_cell: Any,
    sq_eps: float,
    cell: int,
    stack: Any,
    inner_stack: Any,
) -> None:  # pragma: no cover - compiled
    """Join a cell with what is near it and comes after it."""
    n_inner = len(tree.start) // 2
    low, high = tree.low[cell], tree.high[cell]
    stack[0] = 0
    top = 1
    while top:
        top -= 1
        node = stack[top]
        if tree.stop[node] <= tree.stop[cell] or single[node] == _NONE:
            continue
        known = _learn_node(parent, single, node) if node < n_inner else single[node]
        if known >= 0 and find(parent, known) == find(parent, single[cell]):
            continue
        if _sq_gap(low, high, tree.low[node], tree.high[node]) > sq_eps:
            continue
        if known >= 0 and _sq_span(low, high, tree.low[node], tree.high[node]) <= sq_eps:
            unite(parent, single[cell], known)
        elif is_cell[node]:
            # The smaller of the two is gone through row by row.
            n_own = tree.stop[cell] - tree.start[cell]
            swap = tree.stop[node] - tree.start[node] < n_own
            one, two = (node, cell) if swap else (cell, node)
            _join_cells(tree, is_core, parent, single, sq_eps, one, two, inner_stack)
        elif node < n_inner:
            stack[top] = 2 * node + 2
            stack[top + 1] = 2 * node + 1
            top += 2
        else:
            _join_leaf(tree, is_core, parent, sq_eps, cell, node)


@compiled()
def _cut_cells(
    tree: KdTree, is_core: Any, parent: Any, single: Any, is_cell: Any, sq_eps: float
) -> None:  # pragma: no cover - compiled
    """Find the largest nodes no wider than the ball, and join what is inside each."""
    n_nodes = len(tree.start)
    n_inner = n_nodes // 2
    is_below = np.zeros(n_nodes, np.bool_)
    for node in range(n_nodes):
        if node > 0 and (is_cell[(node - 1) // 2] or is_below[(node - 1) // 2]):
            is_below[node] = True
            single[node] = _NONE
            for i in range(tree.start[node], tree.stop[node]):
                if is_core[i]:
                    single[node] = i
                    break
        elif sq_diameter(tree.low[node], tree.high[node]) <= sq_eps:
            is_cell[node] = True
            single[node] = _join_inside(tree, is_core, parent, node)
        elif node >= n_inner:
            single[node] = _NONE
            for i in range(tree.start[node], tree.stop[node]):
                if is_core[i]:
                    single[node] = _MIXED
    for node in range(n_inner - 1, -1, -1):
        if single[2 * node + 1] == _NONE and single[2 * node + 2] == _NONE:
            single[node] = _NONE


@compiled()
def _is_one(
    tree: KdTree, is_core: Any, parent: Any, node: int
) -> bool:  # pragma: no cover - compiled
    root = -1
    for i in range(tree.start[node], tree.stop[node]):
        if is_core[i]:
            own = find(parent, i)
            if root >= 0 and own != root:
                return False
            root = own
    return True


@compiled()
def _connect(tree: KdTree, is_core: Any, sq_eps: float) -> Ints:  # pragma: no cover - compiled
    n_nodes = len(tree.start)
    n_inner = n_nodes // 2
    parent = np.arange(len(tree.points))
    single = np.full(n_nodes, _MIXED, np.int64)
    is_cell = np.zeros(n_nodes, np.bool_)
    stack, inner_stack = np.empty(STACK, np.int64), np.empty(STACK, np.int64)
    _cut_cells(tree, is_core, parent, single, is_cell, sq_eps)
    for node in range(n_nodes):
        if single[node] == _NONE:
            continue
        if is_cell[node]:
            _join_cell(tree, is_core, parent, single, is_cell, sq_eps, node, stack, inner_stack)
        elif node >= n_inner and single[node] == _MIXED:
            for i in range(tree.start[node], tree.stop[node]):
                if is_core[i]:
                    _join_row(tree, is_core, parent, single, sq_eps, i, stack)
            if _is_one(tree, is_core, parent, node):
                for i in range(tree.start[node], tree.stop[node]):
                    if is_core[i]:
                        single[node] = i
    for i in range(len(parent)):
        parent[i] = find(parent, i) if is_core[i] else -1
    return parent


def connect(tree: KdTree, is_core: Mask, sq_eps: float) -> Ints:
    """Find the components of the dense rows.

    Parameters
    ----------
    tree : KdTree
    is_core : ndarray of shape (n_rows,), bool
        In the order of the leaves, as all rows here.
    sq_eps : float

    Returns
    -------
    ndarray of shape (n_rows,), int64
        Place of one row of the component, the same for all of it; -1 for a row that is not dense.
    """
    return np.asarray(_connect(tree, is_core, sq_eps))


@compiled()
def _components_of_nodes(tree: KdTree, component: Any) -> Ints:  # pragma: no cover - compiled
    n_nodes = len(tree.start)
    n_inner = n_nodes // 2
    known = np.full(n_nodes, _NONE, np.int64)
    for node in range(n_nodes - 1, -1, -1):
        if node < n_inner:
            one, other = known[2 * node + 1], known[2 * node + 2]
            if one in (_NONE, other):
                known[node] = other
            else:
                known[node] = one if other == _NONE else _MIXED
            continue
        for i in range(tree.start[node], tree.stop[node]):
            if component[i] >= 0:
                is_new = known[node] == _NONE or known[node] == component[i]
                known[node] = component[i] if is_new else _MIXED
                if known[node] == _MIXED:
                    break
    return known


@compiled()
def _holds(values: Any, first: int, last: int, value: int) -> bool:  # pragma: no cover - compiled
    while first < last and values[first] != value:
        first += 1
    return first < last


@compiled()
def _touched(
    tree: KdTree, component: Any, known: Any, sq_eps: float, is_wanted: Any
) -> tuple[Ints, Ints]:  # pragma: no cover - compiled
    n_inner = len(tree.start) // 2
    stack = np.empty(STACK, np.int64)
    rows, found, n_found = np.empty(1024, np.int64), np.empty(1024, np.int64), 0
    for i in range(len(component)):
        if component[i] >= 0 or (len(is_wanted) and not is_wanted[i]):
            continue
        point, first = tree.points[i], n_found
        stack[0] = 0
        top = 1
        while top:
            top -= 1
            node = stack[top]
            if known[node] == _NONE or _holds(found, first, n_found, known[node]):
                continue
            if sq_to_box(point, tree.low[node], tree.high[node]) > sq_eps:
                continue
            if node < n_inner:
                stack[top] = 2 * node + 1
                stack[top + 1] = 2 * node + 2
                top += 2
                continue
            for j in range(tree.start[node], tree.stop[node]):
                if component[j] < 0 or _holds(found, first, n_found, component[j]):
                    continue
                if sq_between(point, tree.points[j]) > sq_eps:
                    continue
                if n_found == len(rows):
                    rows = np.concatenate((rows, np.empty_like(rows)))
                    found = np.concatenate((found, np.empty_like(found)))
                rows[n_found] = i
                found[n_found] = component[j]
                n_found += 1
    return rows[:n_found].copy(), found[:n_found].copy()


def touched(
    tree: KdTree, component: Ints, sq_eps: float, is_wanted: Mask | None = None
) -> tuple[Ints, Ints]:
    """Find the components near rows that are not dense.

    Parameters
    ----------
    tree : KdTree
    component : ndarray of shape (n_rows,), int64
        Below zero for rows that are not dense.
    sq_eps : float
    is_wanted : ndarray of shape (n_rows,), bool, optional
        The rows that are asked for; by default all.

    Returns
    -------
    rows, components : ndarray of shape (n_found,), int64
        By rising row, each pair once. As components are more than eps apart, no more of them
        are near a row than spheres touch a sphere: 5 in two dimensions, 12 in three.
    """
    wanted = np.empty(0, np.bool_) if is_wanted is None else is_wanted
    known = _components_of_nodes(tree, component)
    rows, found = _touched(tree, component, known, sq_eps, wanted)
    return rows, found
