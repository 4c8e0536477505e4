"""Lloyd's iteration to the fixpoint of the labels, over any source of exact sums.

Covers: the next centres, repair of empty clusters, and when to stop. The same loop serves a
sample in memory and all rows in passes. Does not cover: where the rows are.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

import numpy as np
from numpy.typing import NDArray

from daskseg.engine import passes
from daskseg.engine.blocks import Blocks, Rows
from daskseg.kernels import assign
from daskseg.kernels.assign import Exponents, Farthest, Stack, StepPart
from daskseg.kernels.sample import Sample

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Source:
    """Rows, as the loop sees them.

    Attributes
    ----------
    step : callable
        ``step(centres) -> StepPart`` over all rows.
    farthest : callable
        ``farthest(centres, n) -> Farthest`` over all rows.
    exponents : Exponents
    passes_left : callable
        How many more calls of either may be made.
    """

    step: Callable[[Floats], StepPart]
    farthest: Callable[[Floats, int], Farthest]
    exponents: Exponents
    passes_left: Callable[[], float]


@dataclass
class Outcome:
    """Where the loop ended.

    Attributes
    ----------
    centres : ndarray of shape (n_clusters, n_features), float64
    n_iter : int
    stopped_by : {"fixpoint", "tol", "max_iter", "max_passes"}
    sse : float or None
        Squared error of `centres`, where the last step measured it.
    history : list of dict
        Per step: its number, the squared error of the centres it began with, and the sum of
        squared movements of the centres.
    """

    centres: Floats
    n_iter: int = 0
    stopped_by: str = "max_iter"
    sse: float | None = None
    history: list[dict[str, float]] = field(default_factory=list)


def step_block(rows: Rows, centres: Stack, exponents: Exponents) -> StepPart:
    """Take one Lloyd step on a block."""
    return assign.lloyd_step(rows.values, rows.weights, centres, exponents)


def farthest_block(rows: Rows, centres: Floats, n_wanted: int) -> Farthest:
    """Find the rows of a block farthest from their centres."""
    return assign.farthest_rows(rows.values, rows.weights, rows.first_row, centres, n_wanted)


def pass_source(blocks: Blocks, exponents: Exponents, passes_left: Callable[[], float]) -> Source:
    """Make every step a pass over the blocks."""

    def step(centres: Floats) -> StepPart:
        part: StepPart = passes.reduce(
            blocks, step_block, assign.merge_steps, assign.stack([centres]), exponents, name="step"
        )
        return part

    def farthest(centres: Floats, n_wanted: int) -> Farthest:
        merge = partial(assign.merge_farthest, n_wanted=n_wanted)
        found: Farthest = passes.reduce(
            blocks, farthest_block, merge, centres, n_wanted, name="farthest"
        )
        return found

    return Source(step, farthest, exponents, passes_left)


def sample_source(sample: Sample, exponents: Exponents) -> Source:
    """Take the steps on a sample in memory."""
    rows = Rows(sample.values, 0, sample.weights)
    return Source(
        lambda centres: step_block(rows, assign.stack([centres]), exponents),
        lambda centres, n_wanted: farthest_block(rows, centres, n_wanted),
        exponents,
        lambda: np.inf,
    )


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
        Stop when the squared movements of all centres sum to at most this; 0 asks for the
        fixpoint.

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
    for n_iter in range(1, max_iter + 1):
        if source.passes_left() < 1:
            outcome.stopped_by = "max_passes"
            break
        part = source.step(outcome.centres)
        sse = assign.total_sse(part, source.exponents)
        fresh, is_empty = assign.means_of(part, source.exponents)
        empty = np.flatnonzero(is_empty)
        if len(empty):
            if source.passes_left() < 1:
                outcome.stopped_by = "max_passes"
                break
            fresh = _repair(fresh, empty, source.farthest(outcome.centres, len(empty)))
        kept = fresh.shape == outcome.centres.shape
        moved = sum_floats((fresh - outcome.centres) ** 2) if kept else np.inf
        outcome.history.append({"step": n_iter, "inertia": sse, "moved": moved})
        outcome.n_iter = n_iter
        if kept and np.array_equal(fresh, outcome.centres):
            outcome.sse, outcome.stopped_by = sse, "fixpoint"
            break
        outcome.centres = fresh
        if tol > 0 and not len(empty) and moved <= tol:
            outcome.stopped_by = "tol"
            break
    return outcome


def _repair(fresh: Floats, empty: NDArray[np.intp], far: Farthest) -> Floats:
    n_filled = len(far.values)
    fresh[empty[:n_filled]] = far.values
    # No distinct rows are left for the others: these clusters cannot exist.
    return np.delete(fresh, empty[n_filled:], axis=0)
