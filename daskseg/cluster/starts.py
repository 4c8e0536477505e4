"""Where the steps over all rows begin: first centres of a fit.

Covers: centres given by the caller, those of a search on a weighted sample, rows of that
sample, and k-means||. Does not cover: the search itself (see `cluster.search`) or k-means||'s
passes (see `cluster.parallel`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from daskseg.cluster.exact import RowsSource
from daskseg.cluster.lloyd import iterate
from daskseg.cluster.margins import Margins, keeps_all
from daskseg.cluster.parallel import draw_candidates
from daskseg.cluster.search import plus_plus_start, random_start, search
from daskseg.cluster.survey import Survey, read_pilot, sample_rows_for, survey
from daskseg.engine.blocks import Blocks
from daskseg.errors import UsageError
from daskseg.inputs import measure_extent
from daskseg.kernels.moments import Extent, extent
from daskseg.kernels.sample import Sample

Floats = NDArray[np.float64]
Project = Callable[[Floats], Floats]
MAX_SAMPLE_STEPS = 300
# A sample of 100,000 of 300,000 rows of 10 features without clusters was 0.03 % off in the error
# of near-equal solutions. So many values are 38 MiB, and search all rows in a few seconds.
_WHOLE_VALUES = 5_000_000


class Plan(NamedTuple):
    """What a fit asks of its start.

    Attributes
    ----------
    n_clusters : int
    init : {"coreset", "k-means||", "k-means++", "random"} or ndarray
    n_init : int or None
    oversampling : float
    init_rounds : int
    refine : bool
        Take the centres to their fixpoint on the sample, for a fit without steps over all rows.
    project : callable or None
    seed : int
    """

    n_clusters: int
    init: str | Floats
    n_init: int | None
    oversampling: float
    init_rounds: int
    refine: bool
    project: Project | None
    seed: int

    @property
    def init_name(self) -> str:
        """The name of the start; "array" for centres of the caller."""
        return self.init if isinstance(self.init, str) else "array"


class Start(NamedTuple):
    """First centres, and what was learned on the way.

    Attributes
    ----------
    centres : ndarray of shape (n_clusters, n_features), float64
        Fewer if it is known that the rows have fewer distinct points.
    extent : Extent
    margins : Margins
    sample : Sample or None
        In which the centres were searched, where they were.
    expected : float
        Squared error of the centres on that sample.
    """

    centres: Floats
    extent: Extent
    margins: Margins
    sample: Sample | None = None
    expected: float = 0.0


def start_from(centres: Floats, expected: float, found: Survey, blocks: Blocks) -> Start:
    """Begin with centres that were searched in the sample of a survey."""
    sample = found.sample
    margins = margins_of(sample.values, sample.weights, blocks)
    return Start(centres, found.extent, margins, sample, expected)


def given_centres(init: Any, n_clusters: int, n_features: int) -> Floats:
    """Check centres that the caller gives.

    Raises
    ------
    UsageError
        If they are not finite numbers of the right shape.
    """
    try:
        centres = np.array(init, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise UsageError(f"init is neither a known name nor an array: {error}") from error
    wanted = (n_clusters, n_features)
    if centres.shape != wanted:
        raise UsageError(
            f"init has the shape {centres.shape}, but n_clusters and the features of X make "
            f"{wanted}."
        )
    if not np.isfinite(centres).all():
        raise UsageError("init holds NaN or infinity; every centre must be finite.")
    return centres


def choose_start(blocks: Blocks, plan: Plan) -> Start:
    """Find the first centres.

    Notes
    -----
    One pass, and a part of one where not all rows fit the sample; for k-means|| one per round
    and two besides.
    """
    if not isinstance(plan.init, str) and not plan.refine:
        return _given(blocks, plan, plan.init)
    if plan.init_name == "k-means||":
        found = survey(blocks, plan.seed, 1)
        sample = draw_candidates(
            blocks,
            found.sample.values[:1],
            plan.seed,
            n_per_round=max(1, round(plan.oversampling * plan.n_clusters)),
            n_rounds=plan.init_rounds,
        )
        margins = _pilot_margins(blocks, plan.seed)
    else:
        found = survey(blocks, plan.seed, _n_wanted(blocks, plan.n_clusters))
        sample = found.sample
        margins = margins_of(sample.values, sample.weights, blocks)
    centres, expected = _on_sample(sample, plan, local=blocks.in_memory)
    if plan.project is not None:
        centres = plan.project(centres)
    if plan.refine:
        centres = _refined(sample, centres, plan.project)
    if len(centres) < plan.n_clusters and not sample.is_whole:
        # All rows may have points that the sample has not; a step over them fills the repeats.
        missing = plan.n_clusters - len(centres)
        centres = np.concatenate([centres, np.tile(centres[:1], (missing, 1))])
    is_searched = plan.init_name == "coreset" and plan.project is None and not plan.refine
    return Start(centres, found.extent, margins, sample if is_searched else None, expected)


def _n_wanted(blocks: Blocks, n_clusters: int) -> int:
    """Return how many rows to draw: all of them where that is little work."""
    if blocks.n_rows * blocks.n_features <= _WHOLE_VALUES:
        return max(blocks.n_rows, sample_rows_for(n_clusters))
    return sample_rows_for(n_clusters)


def _given(blocks: Blocks, plan: Plan, centres: Floats) -> Start:
    if plan.project is not None:
        centres = plan.project(centres)
    return Start(centres, measure_extent(blocks), _pilot_margins(blocks, plan.seed))


def _on_sample(sample: Sample, plan: Plan, *, local: bool) -> tuple[Floats, float]:
    """Return first centres, and their squared error on the sample where it is known."""
    if not isinstance(plan.init, str):
        return plan.init, 0.0
    if plan.init == "k-means++":
        return plus_plus_start(sample, plan.n_clusters, plan.seed, plan.n_init or 1), 0.0
    if plan.init == "random":
        return random_start(sample, plan.n_clusters, plan.seed, plan.n_init or 1), 0.0
    found = search(sample, [plan.n_clusters], plan.seed, n_init=plan.n_init, local=local)[0]
    return found.centres, found.sse


def _refined(sample: Sample, centres: Floats, project: Project | None) -> Floats:
    rows = Blocks.from_array(sample.values).with_weights(sample.weights)
    source = RowsSource(
        rows,
        extent(sample.values, sample.weights, 0),
        lambda: np.inf,
        margins_of(sample.values, sample.weights, rows),
        project=project,
        share=0.0,
    )
    return iterate(source, centres, max_iter=MAX_SAMPLE_STEPS, tol=0.0).centres


def margins_of(values: NDArray[Any], weights: Floats, blocks: Blocks) -> Margins:
    """Make margins from a sample of the rows of some blocks."""
    return Margins(values, weights, blocks.n_rows, blocks.dtype.itemsize)


def _pilot_margins(blocks: Blocks, seed: int) -> Margins:
    if keeps_all(blocks.n_rows, blocks.n_features, blocks.dtype.itemsize):
        return margins_of(np.empty((0, blocks.n_features)), np.empty(0), blocks)
    values, _ = read_pilot(blocks, seed)
    return margins_of(values, np.ones(len(values)), blocks)
