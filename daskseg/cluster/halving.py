"""A tree of splits in two, grown on a weighted sample in memory.

Covers: which cluster is split next, two means of its rows, and the tree. Does not cover: all rows
(see `cluster.bisecting`).

Reference: Steinbach, Karypis and Kumar, A comparison of document clustering techniques, KDD
workshop on text mining 2000.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from daskseg.cluster.exact import RowsSource
from daskseg.cluster.lloyd import iterate
from daskseg.cluster.search.jobs import n_candidates
from daskseg.engine.blocks import Blocks
from daskseg.kernels import labels, rng, weighted, weighted_starts
from daskseg.kernels.moments import extent
from daskseg.kernels.sample import Sample
from daskseg.kernels.splits import Splits

Floats = NDArray[np.float64]
STRATEGIES = ("biggest_inertia", "largest_cluster")
# Enough to tell good starts from bad ones.
_START_STEPS, _START_TOL = 6, 1e-4
_STREAMS = 4096


class Growth(NamedTuple):
    """How a tree is grown.

    Attributes
    ----------
    n_clusters : int
    strategy : {"biggest_inertia", "largest_cluster"}
    n_init, max_iter : int
        Of each split.
    tol : float
    seed : int
    """

    n_clusters: int
    strategy: str
    n_init: int
    max_iter: int
    tol: float
    seed: int


@dataclass
class _Node:
    """Rows of the sample that came to one place; split or not."""

    rows: NDArray[np.intp]
    centre: Floats
    weight: float
    sse: float
    number: int = -1
    ends: tuple[_Node, _Node] | None = None

    def worth(self, strategy: str) -> float:
        """Return how much it asks to be split; 0 if it cannot be."""
        if not self.sse > 0:
            return 0.0
        return self.sse if strategy == "biggest_inertia" else self.weight


def grow(sample: Sample, growth: Growth) -> Splits:
    """Split clusters of a sample in two until there are enough.

    Returns
    -------
    Splits
        In the order in which they were made. The heavier part of each is the first. Fewer than
        wanted if there are fewer distinct rows.
    """
    used = sample.weights > 0
    values, weights = sample.values[used].astype(np.float64), sample.weights[used]
    root = _node(values, weights, np.arange(len(values)), values[0])
    leaves = [root]
    splits: list[_Node] = []
    while len(leaves) < growth.n_clusters:
        # max takes the first of equals.
        place = max(range(len(leaves)), key=lambda i: leaves[i].worth(growth.strategy))
        if not leaves[place].worth(growth.strategy) > 0:
            break
        node = leaves[place]
        ends = _split(values, weights, node, growth, len(splits))
        if ends is None:
            node.sse = 0.0
            continue
        node.ends, node.number = ends, len(splits)
        splits.append(node)
        leaves[place : place + 1] = list(ends)
    return _tree(leaves, splits)


def _node(values: Floats, weights: Floats, rows: NDArray[np.intp], centre: Floats) -> _Node:
    own, heavy = values[rows], weights[rows]
    mean = weighted.weighted_mean(own, heavy)
    square = np.cumsum((own - mean) ** 2, axis=1)[:, -1]
    if (own == own[0]).all():
        square = np.zeros(len(own))
    total = float(np.cumsum(heavy)[-1])
    return _Node(rows, centre, total, float(np.cumsum(heavy * square)[-1]))


def _split(
    values: Floats, weights: Floats, node: _Node, growth: Growth, number: int
) -> tuple[_Node, _Node] | None:
    """Find two means of the rows of a cluster; None if it cannot be split."""
    own, heavy = np.ascontiguousarray(values[node.rows]), weights[node.rows]
    source = RowsSource(
        Blocks.from_array(own).with_weights(heavy),
        extent(own, heavy, 0),
        lambda: np.inf,
        share=0.0,
    )
    start = _start(own, heavy, growth, number)
    centres = iterate(source, start, max_iter=growth.max_iter, tol=growth.tol).centres
    if len(centres) < 2:
        return None
    side = labels.labels_of(own, centres)
    parts = [node.rows[side == i] for i in range(2)]
    if not (len(parts[0]) and len(parts[1])):
        return None
    pairs = zip(parts, centres, strict=True)
    first, second = (_node(values, weights, rows, centre) for rows, centre in pairs)
    return (first, second) if first.weight >= second.weight else (second, first)


def _start(own: Floats, heavy: Floats, growth: Growth, number: int) -> Floats:
    """Return the best of some starts after a few steps."""
    mean = weighted.weighted_mean(own, heavy)
    centred = own - mean
    size = float(np.abs(centred).max())
    level = weighted.level_of(np.ascontiguousarray(centred / size), heavy)
    key, first = rng.key_of(growth.seed), number * _STREAMS % 2**32
    best, least = np.empty((0, own.shape[1])), np.inf
    for stream in range(first, first + growth.n_init):
        rows, _ = weighted_starts.plus_plus(level, 2, n_candidates(2), key, stream)
        start = level.rows[rows].astype(np.float64)
        centres, sse, _ = weighted.lloyd(level, start, _START_STEPS, _START_TOL)
        if sse < least:
            best, least = centres, sse
    return np.asarray(best * size + mean)


def _tree(leaves: list[_Node], splits: list[_Node]) -> Splits:
    label_of = {id(leaf): label for label, leaf in enumerate(leaves)}
    n_features = len(leaves[0].centre)
    children = np.empty((len(splits), 2), np.int64)
    centres = np.empty((len(splits), 2, n_features))
    for number, node in enumerate(splits):
        assert node.ends is not None
        for side, end in enumerate(node.ends):
            is_leaf = end.ends is None
            children[number, side] = label_of[id(end)] if is_leaf else len(leaves) + end.number
            centres[number, side] = end.centre
    return Splits(children, centres)
