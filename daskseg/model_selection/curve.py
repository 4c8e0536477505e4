"""One number of clusters as a row of the curve, and where the curve bends.

Covers: `CurveRow` and the bends. Does not cover: making the curve (see `model_selection.sweep`)
or the rule that reads it (see `model_selection.recommend`).

The knee is for display and for ties: on nine sets of known truth it was right on few (see
docs/choosing-k.md). Schubert, Stop using the elbow criterion for k-means, SIGKDD Explor. 2023.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

# Arbitrary: how much silhouette may be given up for the bend of the curve.
NEAR_BEST = 0.9
# Bends are compared after rounding: their logarithms may differ in the last bit by machine.
_BEND_DIGITS = 9


@dataclass(frozen=True)
class CurveRow:
    """One number of clusters, as a row of ``curve.csv``.

    Attributes
    ----------
    k : int
    inertia : float
        Squared error of the centres on all rows.
    explained_variance : float
        One minus its share of the squared error about the mean.
    silhouette : float
        Exact, squared Euclidean; NaN for one cluster.
    smallest_share : float
        Weight of the smallest cluster as a share of all.
    largest_share : float
        That of the largest.
    calinski_harabasz, davies_bouldin : float
        Exact; NaN for one cluster.
    """

    k: int
    inertia: float
    explained_variance: float
    silhouette: float
    smallest_share: float
    largest_share: float = math.nan
    calinski_harabasz: float = math.nan
    davies_bouldin: float = math.nan


def bends(curve: Sequence[CurveRow]) -> dict[int, float]:
    """Measure how far each k lies below the chord of the curve, log error against log k.

    For rows without structure the error falls like a power of k, which is a straight line on
    these scales whatever the range of k; what lies below the line is more than that.
    """
    largest = max(row.inertia for row in curve)
    if largest == 0 or len(curve) < 3:
        return {row.k: 0.0 for row in curve}
    points = [(math.log(row.k), math.log(max(row.inertia / largest, 1e-12))) for row in curve]
    (x_0, y_0), (x_1, y_1) = points[0], points[-1]
    slope = (y_1 - y_0) / (x_1 - x_0)
    return {
        row.k: round(y_0 + slope * (x - x_0) - y, _BEND_DIGITS)
        for row, (x, y) in zip(curve, points, strict=True)
    }


def knee_of(bend: dict[int, float]) -> int | None:
    """Return where the squared error bends most; None if it does not bend."""
    return max(bend, key=lambda k: (bend[k], -k)) if max(bend.values()) > 0 else None


def best_silhouette(rows: Sequence[CurveRow]) -> CurveRow:
    """Return the row of the highest silhouette, the fewest clusters at a tie."""
    return max(rows, key=lambda row: (_score(row), -row.k))


def rank(rows: Sequence[CurveRow], bend: dict[int, float]) -> list[CurveRow]:
    """Order rows: near-best silhouettes that bend, by bend; then the others by silhouette."""
    best = max((row.silhouette for row in rows if not math.isnan(row.silhouette)), default=0.0)
    floor = best - (1 - NEAR_BEST) * abs(best)

    def key(row: CurveRow) -> tuple[bool, float, int]:
        if row.silhouette >= floor and bend[row.k] > 0:
            return False, -bend[row.k], row.k
        return True, -_score(row), row.k

    return sorted(rows, key=key)


def _score(row: CurveRow) -> float:
    return -math.inf if math.isnan(row.silhouette) else row.silhouette
