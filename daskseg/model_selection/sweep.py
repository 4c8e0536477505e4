"""All numbers of clusters at once: one sample, then two passes for the whole curve.

Covers: the function `sweep` for studies, and the estimator `ClusterSweep` around it.
Does not cover: the rule that suggests a number (see `model_selection.recommend`).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClusterMixin
from sklearn.utils.validation import check_is_fitted

from daskseg.cluster.kmeans import KMeans
from daskseg.cluster.search import search
from daskseg.cluster.starts import start_from
from daskseg.cluster.survey import Survey, sample_rows_for, survey
from daskseg.engine import passes, progress, runtime
from daskseg.engine.blocks import Blocks
from daskseg.errors import InputError, UsageError, warn
from daskseg.inputs import as_blocks
from daskseg.kernels import steps
from daskseg.kernels.assign import StepPart
from daskseg.kernels.sample import Sample
from daskseg.metrics.silhouette import Evaluation, evaluate
from daskseg.model_selection import numbers
from daskseg.model_selection.criteria import Criteria, measure
from daskseg.model_selection.curve import CurveRow
from daskseg.model_selection.limits import BusinessLimits
from daskseg.model_selection.moves import shares_of, to_frame
from daskseg.model_selection.recommend import Recommendation, recommend
from daskseg.parameters import seed_of

if TYPE_CHECKING:
    from daskseg.charts.curves import GridPlot

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class SweepFit:
    """One number of clusters of a sweep.

    Attributes
    ----------
    row : CurveRow
    centres : ndarray of shape (k, n_features), float64
        As fitted on the sample; start an exact fit from them.
    sample_sse : float
        Squared error of the centres on the sample.
    shares, silhouettes, below_zero : ndarray of shape (k,), float64
        Per cluster: share of the weight, mean silhouette, share of rows below zero.
    """

    row: CurveRow
    centres: Floats
    sample_sse: float
    shares: Floats
    silhouettes: Floats
    below_zero: Floats


@dataclass(frozen=True)
class Sweep:
    """All numbers of clusters of a sweep, with what they share.

    Attributes
    ----------
    fits : dict of int to SweepFit
        By rising k; a k above the number of rows, or of distinct rows, is left out.
    criteria : tuple of Criteria
        Of the same k, where more than one was asked for.
    survey : Survey
    seed : int
    """

    fits: dict[int, SweepFit]
    criteria: tuple[Criteria, ...]
    survey: Survey
    seed: int

    @property
    def curve(self) -> list[CurveRow]:
        """What was measured on all rows, by rising k."""
        return [fit.row for fit in self.fits.values()]

    def recommend(self, limits: BusinessLimits, required_k: int | None = None) -> Recommendation:
        """Suggest one k by all that was measured."""
        rows = {row.k: row for row in self.curve}
        n_customers = float(np.cumsum(self.survey.sample.weights)[-1])
        if required_k is None:
            limits.check_reach(rows, n_customers)
        return recommend(
            self.curve,
            self.criteria,
            min_share=limits.min_share,
            max_share=limits.max_share,
            largest_shares={k: row.largest_share for k, row in rows.items()},
            min_customers=limits.min_customers,
            n_customers=n_customers,
            required_k=required_k,
        )

    def finish(self, k: int, blocks: Blocks) -> KMeans:
        """Take the best centres known for one k to their fixpoint on all rows.

        The sweep shares its search among all k; this one searches the sample for k alone.

        Parameters
        ----------
        k : int
        blocks : Blocks
            Those of the sweep.

        Returns
        -------
        KMeans
            Fitted; usually one to three passes.
        """
        alone = search(self.survey.sample, [k], self.seed, local=blocks.in_memory)[0]
        known = self.fits[k]
        best = (known.centres, known.sample_sse)
        if alone.sse < known.sample_sse:
            best = (alone.centres, alone.sse)
        start = start_from(*best, self.survey, blocks)
        return KMeans(k, random_state=self.seed).fit_from(blocks, start)

    def to_frame(self) -> pd.DataFrame:
        """Return the rows of ``curve.csv``, one per k."""
        curve = pd.DataFrame([asdict(row) for row in self.curve])
        if not self.criteria:
            return curve
        return curve.merge(
            pd.DataFrame([row.columns() for row in self.criteria]), on="k", how="left"
        )


def sweep(
    blocks: Blocks,
    ks: Iterable[int],
    seed: int = 0,
    *,
    n_init: int | None = None,
    required_k: int | None = None,
) -> Sweep:
    """Fit every number of clusters on one sample and evaluate all of them on all rows.

    Parameters
    ----------
    blocks : Blocks
    ks : iterable of int
    seed : int
    n_init : int, optional
        Starts on the sample per number of clusters; as for ``KMeans(n_init="auto")``.
    required_k : int, optional
        Tried too, and never left out.

    Returns
    -------
    Sweep

    Raises
    ------
    UsageError
        If a number is not a whole number from 1, or there is none.
    InputError
        If the rows cannot be clustered, or allow none of the numbers, or not `required_k`.

    Warns
    -----
    DasksegWarning
        Once, if numbers are left out because they exceed the number of rows or, where it is
        known, of distinct rows.

    Notes
    -----
    Three passes whatever the number of ks: ranges with sample, sums, silhouettes (a part of one
    for the pilot of a large sample, and one if numbers of rows are unknown). The errors belong to
    the centres of the sample; an exact fit from them ends at most as high.

    With more than one k, one cluster is measured too, to compare with, and the criteria of
    docs/choosing-k.md on the sample in memory.
    """
    wanted = numbers.whole_numbers(ks, required_k)
    blocks = passes.measure(blocks)
    if blocks.n_rows == 0:
        raise InputError("Found array with 0 sample(s): X has no rows.")
    most, why = blocks.n_rows, numbers.beyond_rows(blocks.n_rows)
    feasible = numbers.allowed(wanted, required_k, most, why, "")
    found = survey(blocks, seed, sample_rows_for(feasible[-1]))
    sample = found.sample
    n_points = len(sample.values)
    if sample.is_whole and n_points < most:
        most, why = n_points, numbers.beyond_points(n_points)
        feasible = numbers.allowed(wanted, required_k, most, why, "use features that differ more")
    if len(feasible) < len(wanted):
        warn(numbers.left_out(wanted, most, why), stacklevel=3)
    if len(feasible) > 1:
        feasible = sorted({1, *feasible})
    found_on_sample = search(sample, feasible, seed, n_init=n_init, local=blocks.in_memory)
    evaluation = evaluate(blocks, [one.centres for one in found_on_sample], found.extent)
    fits = {
        k: _read(index, k, evaluation, found_on_sample[index].sse)
        for index, k in enumerate(feasible)
    }
    return Sweep(fits, _criteria(sample, fits, seed, local=blocks.in_memory), found, seed)


def _criteria(
    sample: Sample, fits: dict[int, SweepFit], seed: int, *, local: bool
) -> tuple[Criteria, ...]:
    # A sample may have fewer distinct rows than all rows have.
    known = {k: fit.centres for k, fit in fits.items() if len(fit.centres) == k}
    if max(known, default=1) == 1:
        return ()
    return tuple(measure(sample.values, sample.weights, known, seed, local=local))


def _read(index: int, k: int, evaluation: Evaluation, sample_sse: float) -> SweepFit:
    stack = evaluation.clusters.means
    own = slice(int(stack.starts[index]), int(stack.starts[index + 1]))
    part = StepPart(evaluation.step.counts[own], evaluation.step.units[own])
    centres = evaluation.centres[own]
    square = steps.square_of(part, evaluation.grid)
    inertia = steps.total_sse(part, evaluation.grid, centres, square)
    sizes = evaluation.clusters.sizes[own]
    whole = (
        steps.mean_variance(part, evaluation.grid, square)
        * centres.shape[1]
        * float(np.cumsum(sizes)[-1])
    )
    shares = sizes / float(np.cumsum(sizes)[-1])
    scores = evaluation.silhouettes[index]
    row = CurveRow(
        k=k,
        inertia=inertia,
        explained_variance=max(0.0, 1.0 - inertia / whole) if whole > 0 else 1.0,
        silhouette=scores.mean if np.count_nonzero(sizes) > 1 else float("nan"),
        smallest_share=float(shares.min()) if len(shares) == k else 0.0,
        largest_share=float(shares.max()),
        calinski_harabasz=float(evaluation.calinski_harabasz[index]),
        davies_bouldin=float(evaluation.davies_bouldin[index]),
    )
    return SweepFit(row, centres, sample_sse, shares, scores.of_clusters, scores.below_zero)


class ClusterSweep(ClusterMixin, BaseEstimator):
    """Fit a range of numbers of clusters in shared passes, and suggest one.

    Parameters
    ----------
    k : int or iterable of int
        Numbers to try. Those above the number of rows, or of distinct rows, are left out with a
        warning.
    random_state : None, int, RandomState or Generator
        None is the seed 0.
    min_share, max_share : float
        Numbers of clusters with a cluster of a smaller or a larger share are not suggested.
    min_customers : int
        Neither are numbers with a cluster of fewer rows.
    required_k : int or None
        Take this number (it is tried too), whatever the rule would take.

    Attributes
    ----------
    curve_ : DataFrame
        One row per k, and one for k = 1: `CurveRow` and, of the same k, `Criteria`.
    best_k_ : int
    runner_up_ : int or None
    reasons_ : list of str
        Sentences; every number in them stands in the curve or is a limit of the rule.
    recommendation_ : Recommendation
    best_estimator_ : KMeans
        Exact, on all rows, started from the centres of the sweep.
    labels_ : as of `best_estimator_`
    n_features_in_ : int
    n_passes_ : float

    Examples
    --------
    >>> import numpy as np
    >>> rows = np.repeat([[0.0], [5.0], [20.0], [30.0]], 10, axis=0) + np.arange(40)[:, None] % 3
    >>> found = ClusterSweep(range(2, 7)).fit(rows)
    >>> found.best_k_, found.best_estimator_.stopped_by_
    (4, 'fixpoint')
    """

    def __init__(
        self,
        k: Iterable[int] = range(2, 21),
        *,
        random_state: Any = None,
        min_share: float = 0.01,
        max_share: float = 1.0,
        min_customers: int = 0,
        required_k: int | None = None,
    ) -> None:
        self.k = k
        self.random_state = random_state
        self.min_share = min_share
        self.max_share = max_share
        self.min_customers = min_customers
        self.required_k = required_k

    def fit(self, X: Any, y: Any = None, sample_weight: Any = None) -> Self:
        """Sweep, suggest, and fit the suggestion exactly.

        Parameters
        ----------
        X : rows of any kind that daskseg takes
        y : ignored
        sample_weight : array-like of shape (n_rows,), optional

        Raises
        ------
        UsageError
            If a parameter is wrong, or a limit excludes all numbers.
        InputError
            If the rows or weights cannot be used, or are too few for all numbers or `required_k`.
        """
        ks = numbers.whole_numbers(self.k, self.required_k)
        limits = self._limits(ks)
        seed = seed_of(self.random_state)
        with runtime.one_blas_thread(), progress.recording("sweep") as log:
            blocks = passes.measure(as_blocks(X, sample_weight=sample_weight))
            found = sweep(blocks, ks, seed, required_k=self.required_k)
            self.recommendation_ = found.recommend(limits, self.required_k)
            best = self.recommendation_.k
            model = found.finish(best, blocks)
            self.best_estimator_ = model
        self.curve_ = found.to_frame()
        self.best_k_ = best
        self.runner_up_ = self.recommendation_.runner_up
        self.reasons_ = list(self.recommendation_.reasons)
        self.labels_ = model.labels_
        self.n_features_in_ = model.n_features_in_
        self.n_passes_ = log.passes
        self._sample = found.survey.sample.values, found.survey.sample.weights
        self._centres = {k: fit.centres for k, fit in found.fits.items()}
        self._centres[best] = np.asarray(model.cluster_centers_, dtype=np.float64)
        return self

    def predict(self, X: Any) -> Any:
        """Label rows with the best estimator."""
        check_is_fitted(self)
        return self.best_estimator_.predict(X)

    def plot(self) -> GridPlot:
        """Draw the curve: one small chart per criterion, the suggestion marked in each.

        Returns
        -------
        bokeh.models.GridPlot
            As wide as its frame; ``bokeh.plotting.show`` opens it, in a notebook or a browser.
            Whiskers are standard errors (gap, prediction strength) or the lowest resample
            (stability), dashed lines the limits of the rule.

        Raises
        ------
        NotFittedError
            Before ``fit``.
        UsageError
            If fewer than two numbers from 2 on were measured.

        Notes
        -----
        Draws ``curve_``: no pass over the data. Loads Bokeh.
        """
        from daskseg.charts import criteria, curves  # noqa: PLC0415 - loads Bokeh

        check_is_fitted(self)
        found = self.recommendation_
        picks = criteria.Picks(found.k, found.runner_up, found.knee, found.votes or {})
        rows = [
            {str(name): value for name, value in row.items()}
            for row in self.curve_.to_dict("records")
        ]
        return curves.grid(criteria.panels(rows, picks))

    def moves(self, k: int, other_k: int) -> pd.DataFrame:
        """Say which shares of the rows move from the clusters of one number to those of another.

        Parameters
        ----------
        k, other_k : int
            Numbers that were tried, usually neighbours.

        Returns
        -------
        DataFrame
            One row per pair of clusters that share rows: from_cluster and to_cluster (from 0, as
            labels), share (of all rows), of_from and of_to (of the rows of either cluster).

        Raises
        ------
        NotFittedError
            Before ``fit``.
        UsageError
            If a number was not tried.

        Notes
        -----
        Counted on the weighted sample of the sweep, which is all rows up to 100,000: no pass over
        the data, and the same bits for any chunks and workers. Clusters of `best_k_` are those of
        `best_estimator_`, others those of the sweep.

        Examples
        --------
        >>> rows = np.repeat([[0.0], [9.0], [30.0]], [10, 20, 10], axis=0)
        >>> found = ClusterSweep([2, 3]).fit(rows)
        >>> sorted(found.moves(2, 3)["share"])
        [0.25, 0.25, 0.5]
        """
        check_is_fitted(self)
        for number in (k, other_k):
            if number not in self._centres:
                tried = ", ".join(map(str, self._centres))
                raise UsageError(f"k={number!r} was not tried. Ask for one of {tried}.")
        return to_frame(shares_of(*self._sample, self._centres[k], self._centres[other_k]))

    def _limits(self, ks: list[int]) -> BusinessLimits:
        limits = BusinessLimits(self.min_share, self.max_share, self.min_customers)
        limits.check()
        if self.required_k is None:
            limits.check_reach(ks)
        return limits
