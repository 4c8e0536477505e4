"""Where the steps over all rows begin: parameters of the caller, or of a climb on a sample.

Covers: many starts on a part of a weighted sample, and the climb of the best on all of it. Does
not cover: rows in memory (see `mixture.sampled`) or steps over all rows (see `mixture.gaussian`).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from daskseg.cluster.search.jobs import level_in, n_candidates
from daskseg.cluster.search.prepare import Points, Prepared, prefix, prepare
from daskseg.cluster.survey import sample_rows_for, survey
from daskseg.engine import passes
from daskseg.engine.blocks import Blocks
from daskseg.inputs import measure_extent
from daskseg.kernels import rng, weighted, weighted_starts
from daskseg.kernels.mixture_steps import Parameters
from daskseg.kernels.moments import Extent
from daskseg.kernels.sample import Sample
from daskseg.kernels.weighted import Level
from daskseg.mixture.climb import Climb
from daskseg.mixture.joining import breed
from daskseg.mixture.sampled import SampledRows

Floats = NDArray[np.float64]
# Of the mean log-density: on the sample steps are cheap, and the last ones save passes.
SAMPLE_TOL = 1e-5
MAX_SAMPLE_STEPS = 200
# Arbitrary: so many values are 38 MiB, and are taken whole.
_WHOLE_VALUES = 5_000_000
# Starts are tried on few rows, and joined in pairs on more: 10,000 rows do not tell which of two
# mixtures is better where they differ by less than 0.005 in the mean log-density.
N_STARTS, _FEW_STEPS, _SHORT_STEPS = 16, 15, 3
_FEW_ROWS, _FEW_ROWS_PER_NUMBER = 8_192, 10
_SHORT_ROWS, _SHORT_ROWS_PER_NUMBER = 20_000, 20
# How many starts go on, on all rows of the sample.
_N_LONG, _LONG_STEPS = 2, 25
_LLOYD_STEPS, _LLOYD_TOL = 100, 1e-4
# Arbitrary: below so many products per step a job takes less than starting a task.
_SMALL_WORK = 500_000


class Given(NamedTuple):
    """Parameters of the caller; None where there is none.

    Attributes
    ----------
    weights : ndarray of shape (n_components,), float64, or None
    means : ndarray of shape (n_components, n_features), float64, or None
    covariances : ndarray, float64, or None
        In the shape of the covariance type.
    """

    weights: Floats | None
    means: Floats | None
    covariances: Floats | None

    @property
    def is_whole(self) -> bool:
        """Whether nothing is left to find."""
        return not any(one is None for one in self)

    def over(self, found: Parameters) -> Parameters:
        """Put what is given in the place of what was found."""
        pairs = zip(self, found, strict=True)
        return Parameters(*(one if given is None else given for given, one in pairs))


class Plan(NamedTuple):
    """What a fit asks of its start.

    Attributes
    ----------
    n_components : int
    covariance_type : str
    init : {"kmeans", "k-means++", "random_from_data"}
    n_init : int
    tol : float
    reg : ndarray of shape (n_features,), float64, or None
    given : Given
    seed : int
    """

    n_components: int
    covariance_type: str
    init: str
    n_init: int
    tol: float
    reg: Floats | None
    given: Given
    seed: int


class Start(NamedTuple):
    """First parameters, and what was learned on the way.

    Attributes
    ----------
    parameters : Parameters
    extent : Extent
        Of all rows.
    reg : ndarray of shape (n_features,), float64, or None
        Added to variances; None if the first step is to settle it.
    before : float
        Mean log-density of all rows one step before, if known.
    """

    parameters: Parameters
    extent: Extent
    reg: Floats | None
    before: float = -np.inf


def begin(blocks: Blocks, plan: Plan) -> Start:
    """Find the first parameters.

    Notes
    -----
    One pass, and a part of one where not all rows fit the sample. With means of the caller no
    steps are taken on the sample; with all parameters none is drawn.
    """
    if plan.given.is_whole:
        start = Parameters(*plan.given)  # type: ignore[arg-type]
        return Start(start, measure_extent(blocks), plan.reg)
    found = survey(blocks, plan.seed, _n_wanted(blocks, plan.n_components))
    sample = found.sample
    used = sample.weights > 0
    rows = SampledRows(sample.values[used], sample.weights[used], plan.covariance_type, plan.reg)
    if plan.given.means is not None:
        start = plan.given.over(rows.by_centres(plan.given.means))
        return Start(start, found.extent, rows.reg)
    first = rows.whole
    if plan.n_components > 1:
        first = _best_start(sample, rows, plan, local=blocks.in_memory)
    tol = min(SAMPLE_TOL, plan.tol)
    best = rows.climb(plan.given.over(first), MAX_SAMPLE_STEPS, tol, in_passes=True)
    before = best.log_density if sample.is_whole else -np.inf
    return Start(best.parameters, found.extent, rows.reg, before)


def _n_wanted(blocks: Blocks, n_components: int) -> int:
    few = sample_rows_for(n_components)
    is_small = blocks.n_rows * blocks.n_features <= _WHOLE_VALUES
    return max(blocks.n_rows, few) if is_small else few


def _best_start(sample: Sample, rows: SampledRows, plan: Plan, *, local: bool) -> Parameters:
    """Climb a little from many starts on a part of the sample, further from the best of them."""
    k, n_features = plan.n_components, rows.values.shape[1]
    prepared = prepare(sample, plan.seed)
    n_numbers = k * n_features
    points = prefix(prepared, max(_FEW_ROWS, _FEW_ROWS_PER_NUMBER * n_numbers))
    few = _sampled(prepared, points, rows)
    short = _sampled(
        prepared, prefix(prepared, max(_SHORT_ROWS, _SHORT_ROWS_PER_NUMBER * n_numbers)), rows
    )
    level = level_in(points, np.float64)
    n_drawn = N_STARTS * plan.n_init
    key = rng.key_of(plan.seed)
    centres = [prepared.to_values(_draw(level, plan, key, stream)) for stream in range(n_drawn)]
    starts = [plan.given.over(few.by_centres(one)) for one in centres]
    in_tasks = few.values.size * n_numbers > _SMALL_WORK
    climbs = _climb_all(few, starts, _FEW_STEPS, in_tasks=in_tasks, local=local)
    starts = [one.parameters for one in climbs]
    climbs = _climb_all(short, starts, _SHORT_STEPS, in_tasks=in_tasks, local=local)
    climbs = breed(climbs, short, in_tasks=in_tasks, local=local)[:_N_LONG]
    starts = [one.parameters for one in climbs]
    climbs = _climb_all(rows, starts, _LONG_STEPS, in_tasks=in_tasks, local=local)
    return max(climbs, key=lambda one: one.log_density).parameters


def _sampled(prepared: Prepared, points: Points, rows: SampledRows) -> SampledRows:
    values = prepared.to_values(points.rows)
    return SampledRows(values, points.weights, rows.covariance_type, rows.reg)


def _draw(level: Level, plan: Plan, key: np.uint64, stream: int) -> Floats:
    """Return first centres in the frame of the search."""
    k = plan.n_components
    if plan.init == "random_from_data":
        places = weighted_starts.rows_by_weight(level.weights, k, key, stream)
    else:
        places, _ = weighted_starts.plus_plus(level, k, n_candidates(k), key, stream)
    centres: Floats = level.rows[places].astype(np.float64)
    if plan.init == "kmeans" and stream % 2 == 0:
        centres, _, _ = weighted.lloyd(level, centres, _LLOYD_STEPS, _LLOYD_TOL)
    return centres


def _climb_all(
    rows: SampledRows, starts: list[Parameters], n_steps: int, *, in_tasks: bool, local: bool
) -> list[Climb]:
    if not in_tasks:
        return [_climb_from(start, rows, n_steps) for start in starts]
    return passes.run(_climb_from, starts, rows, n_steps, name="climbs", local=local)


def _climb_from(start: Parameters, rows: SampledRows, n_steps: int) -> Climb:
    return rows.climb(start, n_steps, SAMPLE_TOL, in_passes=False)
