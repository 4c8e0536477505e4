"""Where the steps over all rows begin: parameters of the caller, or of a climb on a sample.

Covers: first components from clusters of a weighted sample, steps on that sample, the best of
several starts, and components that die on the way. Does not cover: steps over all rows (see
`mixture.gaussian`).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from daskseg.cluster.search import plus_plus_start, random_start, search
from daskseg.cluster.survey import sample_rows_for, survey
from daskseg.engine.blocks import Blocks
from daskseg.inputs import measure_extent
from daskseg.kernels import mixture, mixture_steps
from daskseg.kernels.labels import labels_of
from daskseg.kernels.mixture_steps import Maximum, Parameters
from daskseg.kernels.moments import Extent, extent
from daskseg.kernels.sample import Sample
from daskseg.mixture.climb import Climb, Source, climb, ready_for

Floats = NDArray[np.float64]
# Of the mean log-density: on the sample steps are cheap, and the last ones save passes.
SAMPLE_TOL = 1e-5
MAX_SAMPLE_STEPS = 500
# Arbitrary: so many values are 38 MiB, and are taken whole.
_WHOLE_VALUES = 5_000_000
# A component of a smaller share of all rows has died, and gets rows that others explain worst.
_LEAST_SHARE = 1e-5
_NEXT_SEED = 0x9E3779B97F4A7C15


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
    rows = _Sampled(found.sample, plan)
    if plan.given.means is not None:
        start = plan.given.over(rows.by_centres(plan.given.means))
        return Start(start, found.extent, rows.reg)
    best = rows.best_climb(local=blocks.in_memory)
    before = best.log_density if found.sample.is_whole else -np.inf
    return Start(best.parameters, found.extent, rows.reg, before)


def _n_wanted(blocks: Blocks, n_components: int) -> int:
    few = sample_rows_for(n_components)
    is_small = blocks.n_rows * blocks.n_features <= _WHOLE_VALUES
    return max(blocks.n_rows, few) if is_small else few


class _Sampled:
    """A sample on which components are found."""

    def __init__(self, sample: Sample, plan: Plan) -> None:
        used = sample.weights > 0
        self.sample, self.plan, self.reg = sample, plan, plan.reg
        self.values = np.ascontiguousarray(sample.values[used])
        self.weights = np.ascontiguousarray(sample.weights[used])
        self.extent = extent(self.values, self.weights, 0)
        blocks = Blocks.from_array(self.values).with_weights(self.weights)
        self.source = Source(blocks, self.extent, plan.covariance_type, share=0.0)
        self._n_mended = 0

    def best_climb(self, *, local: bool) -> Climb:
        """Climb from every start, and return the end of the highest likelihood."""
        best: Climb | None = None
        for number in range(self.plan.n_init):
            seed = (self.plan.seed + number * _NEXT_SEED) % 2**64
            start = self.plan.given.over(self.by_centres(self._centres(seed, local=local)))
            self._n_mended = 0
            found = climb(
                self.source,
                start,
                reg=self.reg,
                max_iter=MAX_SAMPLE_STEPS,
                tol=min(SAMPLE_TOL, self.plan.tol),
                mend=self._mend,
            )
            if best is None or found.log_density > best.log_density:
                best = found
        assert best is not None
        return best

    def _centres(self, seed: int, *, local: bool) -> Floats:
        k = self.plan.n_components
        if self.plan.init == "k-means++":
            centres = plus_plus_start(self.sample, k, seed)
        elif self.plan.init == "random_from_data":
            centres = random_start(self.sample, k, seed)
        else:
            centres = search(self.sample, [k], seed, local=local)[0].centres
        # Fewer, if so few rows are distinct: components that share a point stay empty.
        return np.concatenate([centres, np.repeat(centres[:1], k - len(centres), axis=0)])

    def by_centres(self, centres: Floats) -> Parameters:
        """Describe the rows of each centre by a component."""
        labels = labels_of(self.values, centres)
        return self._describe(centres, labels, self._pooled).parameters

    @property
    def _pooled(self) -> Floats:
        """The covariances of one component for all rows, for components without any."""
        middle = self.extent.low + (self.extent.high - self.extent.low) / 2
        labels = np.zeros(len(self.values), np.int32)
        one = self._describe(middle[None], labels, None).parameters.covariances
        if self.plan.covariance_type == "tied":
            return one
        return np.repeat(one, self.plan.n_components, axis=0)

    def _describe(
        self, centres: Floats, labels: NDArray[np.int32], covariances: Floats | None
    ) -> Maximum:
        """Describe rows by given labels; `covariances` are those of components without rows."""
        kind, (k, n_features) = self.plan.covariance_type, centres.shape
        if covariances is None:
            covariances = _unit_covariances(k, n_features, kind)
        old = Parameters(np.full(k, 1.0 / k), centres, covariances)
        ready = ready_for(old._replace(covariances=_unit_covariances(k, n_features, kind)), kind)
        bounds = mixture_steps.bounds_of(ready, self.extent)
        part = mixture.label_step(self.values, self.weights, labels, ready, bounds)
        if self.reg is None:
            self.reg = mixture_steps.regularisation(part, ready, bounds)
        return mixture_steps.maximise(part, ready, bounds, old, kind, self.reg)

    def _mend(self, best: Maximum) -> Parameters | None:
        """Give the smallest dead component the rows that all others explain worst."""
        shares = best.parameters.weights
        number = int(np.argmin(shares))
        k = len(shares)
        if shares[number] >= _LEAST_SHARE or k == 1 or self._n_mended >= k:
            return None
        self._n_mended += 1
        kind = self.plan.covariance_type
        explained = mixture.log_densities(self.values, ready_for(best.parameters, kind))
        order = np.argsort(explained, kind="stable")
        mass = np.cumsum(self.weights[order])
        own_share = 0.5 / k
        n_rows = int(np.searchsorted(mass, own_share * mass[-1])) + 1
        worst = order[:n_rows]
        centre = self.values[worst[:1]]
        rows = _Sampled(Sample(self.values[worst], self.weights[worst], False), self.plan)
        rows.reg = self.reg
        labels = np.zeros(n_rows, np.int32)
        fresh = rows._describe(centre, labels, None).parameters
        weights = shares * (1.0 - own_share)
        weights[number] = own_share
        means = best.parameters.means.copy()
        means[number] = fresh.means[0]
        covariances = best.parameters.covariances.copy()
        if kind != "tied":
            covariances[number] = fresh.covariances[0]
        return Parameters(weights / np.cumsum(weights)[-1], means, covariances)


def _unit_covariances(k: int, n_features: int, covariance_type: str) -> Floats:
    shapes: dict[str, Floats] = {
        "full": np.broadcast_to(np.eye(n_features), (k, n_features, n_features)),
        "tied": np.eye(n_features),
        "diag": np.ones((k, n_features)),
    }
    return shapes.get(covariance_type, np.ones(k))
