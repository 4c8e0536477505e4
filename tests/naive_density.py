"""HDBSCAN by its definition: all pairs, and the connected components at every distance."""

from __future__ import annotations

import numpy as np
from scipy.sparse.csgraph import connected_components


def mutual_reachability(rows, min_samples):
    """Squared distances, largest of both core distances and the distance of the ends."""
    sq = np.zeros((len(rows), len(rows)))
    for column in rows.T:
        sq += (column[:, None] - column[None]) ** 2
    core = np.sort(sq, axis=1)[:, min_samples - 1]
    return np.maximum(sq, np.maximum(core[:, None], core[None])), core, sq


def _components(reach, inside, below):
    joined = reach[np.ix_(inside, inside)] < below
    _, found = connected_components(joined, directed=False)
    return [inside[found == i] for i in range(found.max() + 1)]


def condensed(rows, min_samples, min_size):
    """Clusters as (parent, squared birth, members at birth), and who leaves them where.

    Rows of a small part at a split are noted as leaving at the birth of some part: they are
    listed under the cluster that splits, with the squared distance.
    """
    reach, _, _ = mutual_reachability(rows, min_samples)
    clusters = [(-1, np.inf, np.arange(len(rows)))]
    left = {}
    waiting = [(0, np.arange(len(rows)))]
    while waiting:
        number, inside = waiting.pop()
        # The largest distance at which what is inside hangs together by nothing shorter.
        levels = np.unique(reach[np.ix_(inside, inside)])
        level = next(one for one in levels[::-1] if len(_components(reach, inside, one)) > 1)
        parts = _components(reach, inside, level)
        large = [part for part in parts if len(part) >= min_size]
        for part in parts:
            if len(part) < min_size:
                left.update({int(row): (number, level) for row in part})
        if len(large) == 1:
            waiting.append((number, large[0]))
        for part in large if len(large) > 1 else []:
            clusters.append((number, level, part))
            waiting.append((len(clusters) - 1, part))
    return clusters, left


def attached(marks, k, labels, left, reach_of, row):
    """Label of one row among landmarks, by looking at all of them."""
    sq = np.zeros(len(marks))
    for column, value in zip(marks.T, row, strict=True):
        sq += (column - value) ** 2
    _, core, _ = mutual_reachability(marks, k)
    reach = np.maximum(np.maximum(sq, core), np.sort(sq)[k - 1])
    is_member = np.array(
        [labels[i] >= 0 and reach[i] <= reach_of[labels[i]] for i in range(len(marks))]
    )
    order = np.lexsort((np.arange(len(marks)), sq, ~(is_member | (sq == 0)), reach))
    best = order[0]
    clustered = np.flatnonzero(labels >= 0)
    nearest = labels[clustered[np.argmin(sq[clustered])]] if len(clustered) else -1
    if not (labels[best] >= 0 and reach[best] <= reach_of[labels[best]]):
        return -1, max(reach[best], left[best]), nearest
    return labels[best], max(reach[best], left[best]), labels[best]
