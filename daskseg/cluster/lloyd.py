"""Lloyd's iteration to the fixpoint of the labels, over any source of exact sums.

Covers: the next centres, repair of empty clusters, and when to stop. The same loop serves a
sample in memory and all rows in passes. Does not cover: where the rows are (see
`cluster.exact`).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from daskseg.kernels.labels import Farthest

Floats = NDArray[np.float64]


class Source(Protocol):
    """Rows, as the loop sees them; what a step finds is the source's own affair."""

    def step(self, centres: Floats) -> Any:
        """Sum all rows by their nearest centre; None if no pass is left."""

    def means(self, part: Any) -> tuple[Floats, NDArray[np.bool_]]:
        """Return the next centres, and which have no rows."""

    def sse(self, part: Any, centres: Floats) -> float:
        """Return the squared error of the centres of a step."""

    def mean_variance(self, part: Any) -> float:
        """Return the mean variance of the features over all rows."""

    def farthest(self, centres: Floats, n_wanted: int) -> Farthest | None:
        """Return the rows farthest from their centres; None if no pass is left."""


@dataclass
class Outcome:
    """Where the loop ended.

    Attributes
    ----------
    centres : ndarray of shape (n_clusters, n_features), float64
    n_iter : int
    stopped_by : {"fixpoint", "tol", "max_iter", "max_passes"}
    history : list of dict
        Per step: its number, the squared error of the centres it began with, and the sum of
        squared movements of the centres.
    """

    centres: Floats
    n_iter: int = 0
    stopped_by: str = "max_iter"
    history: list[dict[str, float]] = field(default_factory=list)


def sum_floats(values: NDArray[np.floating]) -> float:
    """Add in the order of memory, so that vector units cannot change the bits."""
    return float(np.cumsum(values.ravel())[-1])


def iterate(source: Source, centres: Floats, *, max_iter: int, tol: float) -> Outcome:
    """Move centres to the means of their rows until nothing changes, or a limit is met.

    Parameters
    ----------
    source : Source
    centres : ndarray of shape (n_clusters, n_features), float64
    max_iter : int
    tol : float
        Stop when the squared movements of all centres sum to at most this share of the mean
        variance of the features; 0 asks for the fixpoint.

    Returns
    -------
    Outcome
        It has fewer centres if the rows have fewer distinct points.

    Notes
    -----
    The e-th empty cluster takes the e-th farthest distinct row from its centre (distance
    descending, row ascending); the step after it assigns all rows anew. Sums are exact, so
    centres that keep their bits keep their labels.
    """
    outcome = Outcome(centres)
    least_move = None if tol > 0 else 0.0
    for n_iter in range(1, max_iter + 1):
        part = source.step(outcome.centres)
        if part is None:
            outcome.stopped_by = "max_passes"
            break
        if least_move is None:
            least_move = tol * source.mean_variance(part)
        fresh, is_empty = source.means(part)
        empty = np.flatnonzero(is_empty)
        if len(empty):
            far = source.farthest(outcome.centres, len(empty))
            if far is None:
                outcome.stopped_by = "max_passes"
                break
            fresh = _repair(fresh, empty, far)
        kept = fresh.shape == outcome.centres.shape
        moved = sum_floats((fresh - outcome.centres) ** 2) if kept else np.inf
        sse = source.sse(part, outcome.centres)
        outcome.history.append({"step": n_iter, "inertia": sse, "moved": moved})
        outcome.n_iter = n_iter
        if kept and np.array_equal(fresh, outcome.centres):
            outcome.stopped_by = "fixpoint"
            break
        outcome.centres = fresh
        if tol > 0 and not len(empty) and moved <= least_move:
            outcome.stopped_by = "tol"
            break
    return outcome


def _repair(fresh: Floats, empty: NDArray[np.intp], far: Farthest) -> Floats:
    n_filled = len(far.values)
    fresh[empty[:n_filled]] = far.values
    # No distinct rows are left for the others: these clusters cannot exist.
    return np.delete(fresh, empty[n_filled:], axis=0)
