"""Expectation maximisation over rows, wherever they are.

Covers: one step over blocks, and steps until the likelihood rises no more. The same loop serves
a sample in memory and all rows in passes. Does not cover: where steps begin (see
`mixture.starts`) or what sums mean (see `kernels.mixture_steps`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from daskseg.engine import passes
from daskseg.engine.blocks import Blocks, Rows
from daskseg.errors import InputError
from daskseg.kernels import mixture, mixture_steps
from daskseg.kernels.mixture import MixtureGrid, MixturePart, Ready
from daskseg.kernels.mixture_steps import Maximum, Parameters
from daskseg.kernels.moments import Extent

Floats = NDArray[np.float64]
Mend = Callable[[Maximum], Parameters | None]


class Source(NamedTuple):
    """Rows, and how they are described.

    Attributes
    ----------
    blocks : Blocks
    extent : Extent
        Of all rows, and of any that steps on a sample are to agree with.
    share : float
        What a read of `blocks` counts: 0 for a sample, which is no pass over the data.
    """

    blocks: Blocks
    extent: Extent
    share: float = 1.0


class Step(NamedTuple):
    """What one step found.

    Attributes
    ----------
    log_density : float
        Mean over the rows, of the parameters that the step began with.
    part, ready, bounds
        As from and for `mixture_step`.
    """

    log_density: float
    part: MixturePart
    ready: Ready
    bounds: MixtureGrid


Take = Callable[[Ready], Step]


def _step_block(rows: Rows, ready: Ready, bounds: MixtureGrid) -> MixturePart:
    return mixture.mixture_step(rows.values, rows.weights, ready, bounds)


def _scratch(n_rows: int, shape: tuple[int, int], itemsize: int) -> int:
    return mixture.scratch_bytes(shape[1], shape[0], n_rows, itemsize)


def ready_for(model: Parameters, covariance_type: str) -> Ready:
    """Make parameters ready for the kernels."""
    factors = mixture_steps.factors_of(model.covariances, covariance_type)
    return mixture_steps.ready_of(model, factors, covariance_type)


def total_weight_of(part: MixturePart, bounds: MixtureGrid) -> float:
    """Return the weight of all rows: memberships of a row sum to one."""
    high, low = (int(units) for units in part.units[:, 0].sum(axis=0))
    return float(np.ldexp(float((high << 32) + low), bounds.weight - mixture.GRID_BITS))


def take_step(source: Source, ready: Ready) -> Step:
    """Sum all rows by their memberships. One pass."""
    bounds = mixture_steps.bounds_of(ready, source.extent)
    part: MixturePart = passes.reduce(
        source.blocks,
        _step_block,
        mixture.merge_mixtures,
        ready,
        bounds,
        name="mixture",
        scratch=partial(_scratch, shape=ready.means.shape, itemsize=source.blocks.dtype.itemsize),
        share=source.share,
    )
    if part.n_rows != source.blocks.n_rows:
        raise InputError(
            f"the data changed while they were read: {source.blocks.n_rows:,} rows at first, "
            f"{part.n_rows:,} rows now. Fit on data that nobody writes to."
        )
    weight = total_weight_of(part, bounds)
    return Step(mixture_steps.log_density_of(part, bounds, weight), part, ready, bounds)


def take_step_of(values: Floats, weights: Floats, seen: Extent, ready: Ready) -> Step:
    """Sum rows in memory by their memberships, where no pass can be made."""
    bounds = mixture_steps.bounds_of(ready, seen)
    part = mixture.mixture_step(values, weights, ready, bounds)
    weight = total_weight_of(part, bounds)
    return Step(mixture_steps.log_density_of(part, bounds, weight), part, ready, bounds)


@dataclass
class Climb:
    """Where the loop ended.

    Attributes
    ----------
    parameters : Parameters
    factors : ndarray
        Of the inverses of the covariances.
    n_iter : int
    log_density : float
        Mean over the rows, of the parameters that the last step began with.
    stopped_by : {"tol", "max_iter", "max_passes"}
    history : list of dict
        Per step: its number, the mean log-density that it began with, how much more that is
        than one step before, and how many covariances were kept from collapsing.
    is_empty : ndarray of shape (n_components,), bool
    reg : ndarray of shape (n_features,), float64
        What is added to variances; settled by the first step where it was not given.
    """

    parameters: Parameters
    factors: Floats
    reg: Floats | None
    is_empty: NDArray[np.bool_]
    n_iter: int = 0
    log_density: float = -np.inf
    stopped_by: str = "max_iter"
    history: list[dict[str, float]] = field(default_factory=list)


def climb(
    take: Take,
    covariance_type: str,
    start: Parameters,
    *,
    reg: Floats | None,
    max_iter: int,
    tol: float,
    passes_left: Callable[[], float] = lambda: np.inf,
    before: float = -np.inf,
    mend: Mend | None = None,
) -> Climb:
    """Take steps until the mean log-density gains less than `tol`, or a limit is met.

    Parameters
    ----------
    take : callable
        ``take(ready) -> Step`` over the rows.
    covariance_type : str
    start : Parameters
    reg : ndarray of shape (n_features,), float64, or None
        None takes the default of the first step.
    max_iter : int
    tol : float
    passes_left : callable
        How many more passes may be made.
    before : float
        Mean log-density of the same rows one step before the start, if known.
    mend : callable, optional
        Replaces the parameters of a step where components have died; None if all is well.

    Notes
    -----
    As in scikit-learn, the parameters are those after the last step, and the log-density that
    of before it. What is added to variances, and covariances that are kept from collapsing, may
    lower a log-density by as little as they change; else it never falls.
    """
    kind = covariance_type
    factors = mixture_steps.factors_of(start.covariances, kind)
    found = Climb(start, factors, reg, np.zeros(len(start.weights), bool))
    for n_iter in range(1, max_iter + 1):
        if passes_left() < 1:
            found.stopped_by = "max_passes"
            break
        step = take(mixture_steps.ready_of(found.parameters, found.factors, kind))
        if found.reg is None:
            found.reg = mixture_steps.regularisation(step.part, step.ready, step.bounds)
        best = mixture_steps.maximise(
            step.part, step.ready, step.bounds, found.parameters, kind, found.reg
        )
        gain = step.log_density - before
        found.history.append(
            {
                "step": n_iter,
                "log_likelihood": step.log_density,
                "gain": gain,
                "shrunk": best.n_shrunk,
            }
        )
        mended = None if mend is None else mend(best)
        found.parameters = best.parameters if mended is None else mended
        found.factors = mixture_steps.factors_of(found.parameters.covariances, kind)
        found.is_empty = best.is_empty
        found.n_iter, found.log_density = n_iter, step.log_density
        before = step.log_density if mended is None else -np.inf
        if gain <= tol and mended is None:
            found.stopped_by = "tol"
            break
    return found
