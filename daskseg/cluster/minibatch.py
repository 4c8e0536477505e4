"""k-means on batches: a fit that reads little more than all rows once, and batches as they come.

Covers: the estimator `MiniBatchKMeans`. Does not cover: the batches of a fit (see
`cluster.growing`) or running means (see `cluster.running`).
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from daskseg.cluster.centres import CentreModel
from daskseg.cluster.growing import Grown, Growth, grow, start_on
from daskseg.cluster.running import Running, absorb, draw_rows, lost_clusters
from daskseg.cluster.starts import given_centres
from daskseg.cluster.survey import sample_rows_for, survey
from daskseg.cluster.view import View
from daskseg.engine import passes, progress, runtime
from daskseg.engine.blocks import Blocks
from daskseg.errors import InputError, UsageError
from daskseg.inputs import as_blocks, is_lazy, measure_extent
from daskseg.kernels import steps
from daskseg.parameters import check_count, check_landed, check_number, seed_of

Floats = NDArray[np.float64]
INITS = ("coreset", "k-means++", "random")
# What describes a fit, and is no longer true after another batch.
_OF_FIT = ("labels_", "inertia_", "n_iter_", "n_passes_", "stopped_by_", "history_")


class MiniBatchKMeans(CentreModel):
    """Partition rows into clusters around means, on batches that grow or that come.

    `fit` searches centres on a first batch of rows from everywhere in the data, and moves them
    by Lloyd's iteration on batches that grow to all rows. A row counts once however often it is
    read, so that the end is Lloyd's answer and not a noisy neighbour of it. `partial_fit` adds
    one batch to running means, which may forget. The same bits come out for any chunking,
    scheduler and number of workers.

    Parameters
    ----------
    n_clusters : int
    init : {"coreset", "k-means++", "random"} or array (n_clusters, n_features)
        "coreset" searches the best centres on the first batch, and again where a larger one
        looks different. "k-means++" and "random" choose rows of the first batch.
    batch_size : "auto" or int
        Rows of the first batch of `fit`, which is held in memory; "auto" is 100,000, or 400 per
        cluster. Later batches have up to 128 times as many rows, the last one has all.
    max_iter : int
        Steps on batches of any size.
    half_life : None or float
        Of `partial_fit`: a row that so many rows have followed weighs half. All rows of a
        batch have the same age. None forgets nothing. `fit` does not look at it.
    tol : "auto" or float
        "auto" stops when all rows are in play and a step has lowered the squared error by
        less than 0.001 %, or 0.01 % if the next one costs a read. A number has the meaning of
        scikit-learn: stop when the squared movements of the centres sum to at most `tol` times
        the mean variance of the features; 0 iterates until no label changes.
    random_state : None, int, RandomState or Generator
        None is the seed 0: two fits agree unless they are told not to.

    Attributes
    ----------
    cluster_centers_ : ndarray of shape (n_clusters, n_features)
        float32 for float32 input, else float64. Fewer rows, with a warning, if the data
        have fewer distinct rows than `n_clusters`.
    cluster_weights_ : ndarray of shape (n_clusters,), float64
        Weight of the rows of each cluster; after `partial_fit`, of those behind each centre,
        as far as they are not forgotten.
    labels_ : ndarray or lazy dask Array of shape (n_rows,), int32
        This and what follows up to `history_`: after `fit` only.
    inertia_ : float
        Weighted squared error of exactly `cluster_centers_` on all rows. For lazy input it
        costs a pass only where the last read did not keep enough rows to know it.
    n_iter_ : int
        Steps on batches of any size.
    n_passes_ : float
        Full reads of the data; parts of one count by what was read, which is whole chunks.
    stopped_by_ : {"fixpoint", "tol", "max_iter"}
    history_ : list of dict
        Per step: its number, the squared error it began with, on how many rows, and the
        squared movement.
    n_rows_seen_ : int
        Rows whose weight is not zero, each once per call of `fit` or `partial_fit`.
    n_steps_ : int
        Batches.
    n_features_in_ : int
    feature_names_in_ : ndarray of str
        Only where the input has names.

    See Also
    --------
    KMeans : Samples rows from all chunks before the first step: a pass more, and rare clusters
        are found at once.

    Notes
    -----
    A batch of `fit` consists of 64 runs of rows, spread evenly, that grow from batch to batch:
    sorted data do no harm, and stores of many chunks are read in part. Where few chunks hold
    all rows, an early batch costs up to a pass.

    Examples
    --------
    >>> import numpy as np
    >>> from daskseg.cluster import MiniBatchKMeans
    >>> rows = np.array([[0.0], [1.0], [9.0], [10.0]])
    >>> model = MiniBatchKMeans(n_clusters=2).fit(rows)
    >>> sorted(model.cluster_centers_.ravel().tolist()), model.inertia_
    ([0.5, 9.5], 1.0)
    >>> model = model.partial_fit([[-1.0], [11.0]])
    >>> sorted(model.cluster_centers_.ravel().tolist()), model.n_rows_seen_
    ([0.0, 10.0], 6)
    """

    def __init__(
        self,
        n_clusters: int = 8,
        *,
        init: str | Any = "coreset",
        batch_size: str | int = "auto",
        max_iter: int = 100,
        half_life: float | None = None,
        tol: str | float = "auto",
        random_state: Any = None,
    ) -> None:
        self.n_clusters = n_clusters
        self.init = init
        self.batch_size = batch_size
        self.max_iter = max_iter
        self.half_life = half_life
        self.tol = tol
        self.random_state = random_state

    def fit(self, X: Any, y: Any = None, sample_weight: Any = None) -> Self:
        """Compute the clusters, forgetting what was learned before.

        Parameters
        ----------
        X : rows of any kind that daskseg takes, of shape (n_rows, n_features)
        y : ignored
        sample_weight : array-like or dask Array of shape (n_rows,), optional
            How often each row counts; zero or more.

        Returns
        -------
        self

        Raises
        ------
        UsageError
            If a parameter is wrong.
        InputError
            If values are missing, infinite or not numbers, or if there are fewer rows than
            clusters.
        """
        self._check_parameters()
        rows = self._take_features(X)
        with runtime.one_blas_thread(), progress.recording("fit") as log:
            blocks = passes.measure(as_blocks(rows, sample_weight=sample_weight))
            self._check_enough_rows(blocks)
            grown = grow(blocks, self._plan(blocks))
            self._keep(grown, keep_labels=not is_lazy(rows))
        if is_lazy(rows):
            self.labels_ = self._map(replace(blocks, weights=None), View.labels, None, np.int32)
        self.n_passes_ = log.passes
        self._warn_of_fewer()
        return self

    def partial_fit(self, X: Any, y: Any = None, sample_weight: Any = None) -> Self:
        """Add one batch to the running means.

        Each row goes to the nearest centre; then each centre becomes the mean of all rows that
        went to it so far, those of earlier batches with the weight that `half_life` has left
        them. The first batch decides where the centres begin, unless `fit` did or `init` is
        an array. With a half-life, a cluster that is forgotten to 0.01 % of all weight and
        has no row in the batch begins anew at a row far from all centres.

        Parameters
        ----------
        X : rows of any kind that daskseg takes, of shape (n_rows, n_features)
            One batch; the blocks of a lazy one are worked on in parallel.
        y : ignored
        sample_weight : array-like or dask Array of shape (n_rows,), optional
            How often each row counts within the batch.

        Returns
        -------
        self

        Raises
        ------
        UsageError
            If a parameter is wrong.
        InputError
            If values are missing, infinite or not numbers, or if the first batch has fewer
            rows than clusters.

        Notes
        -----
        Two passes over the batch, a third where clusters begin anew.
        """
        self._check_parameters()
        is_first = not hasattr(self, "_running")
        rows = self._take_features(X) if is_first else self._same_features(X)
        blocks = passes.measure(as_blocks(rows, sample_weight=sample_weight))
        plan = self._plan(blocks)
        if is_first and isinstance(plan.init, str):
            running, extent = self._begin(blocks, plan)
        else:
            extent = measure_extent(blocks)
            running = getattr(self, "_running", None) or _without_weight(np.asarray(plan.init))
        running, is_hit = absorb(running, blocks, extent, self.half_life)
        self._running = _renew(running, is_hit, blocks, self.half_life, plan)
        for name in _OF_FIT:
            if hasattr(self, name):
                delattr(self, name)
        dtype = blocks.dtype if is_first else self.cluster_centers_.dtype
        self._publish(self._running, dtype)
        return self

    def _check_parameters(self) -> None:
        check_count("n_clusters", self.n_clusters)
        check_count("max_iter", self.max_iter)
        if self.tol != "auto":
            check_number("tol", self.tol, np.inf)
        if self.half_life is not None:
            check_number("half_life", self.half_life, np.inf)
            if self.half_life == 0:
                raise UsageError("half_life=0 forgets every row at once; give a number of rows.")
        if isinstance(self.init, str):
            check_landed("init", self.init, INITS)
        if self.batch_size != "auto":
            check_count("batch_size", self.batch_size)
            if int(self.batch_size) < self.n_clusters:
                raise UsageError(
                    f"batch_size={self.batch_size} is less than n_clusters={self.n_clusters}: the "
                    "first batch must have a row for each cluster, and should have hundreds."
                )

    def _plan(self, blocks: Blocks) -> Growth:
        k = int(self.n_clusters)
        return Growth(
            n_clusters=k,
            init=self.init
            if isinstance(self.init, str)
            else given_centres(self.init, k, blocks.n_features),
            first_rows=sample_rows_for(k) if self.batch_size == "auto" else int(self.batch_size),
            max_iter=int(self.max_iter),
            tol=None if self.tol == "auto" else float(self.tol),
            seed=seed_of(self.random_state),
            local=blocks.in_memory,
        )

    def _keep(self, grown: Grown, *, keep_labels: bool) -> None:
        """Set the attributes, and what a later `partial_fit` goes on from."""
        outcome, source = grown.outcome, grown.source
        self._measure(source, outcome, keep_labels=keep_labels)
        # At these very centres the sums are known now.
        part = source.step(self._wide_centres())
        assert part is not None
        mass = np.array([float(weight) for weight in steps.weights_of(part, source.grid)])
        self._running = Running(outcome.centres, mass, grown.n_used, grown.n_batches)
        self._publish(self._running, source.blocks.dtype)

    def _begin(self, blocks: Blocks, plan: Growth) -> tuple[Running, Any]:
        """Choose where the centres of running means begin."""
        if blocks.n_rows < plan.n_clusters:
            raise InputError(
                f"n_samples={blocks.n_rows} should be >= n_clusters={plan.n_clusters}: the first "
                "batch decides where the clusters begin. Gather more rows for it, or give the "
                "first centres as init."
            )
        seen = survey(blocks, plan.seed, sample_rows_for(plan.n_clusters))
        return _without_weight(start_on(seen.sample, plan)), seen.extent

    def _publish(self, running: Running, dtype: Any) -> None:
        self.cluster_centers_ = running.means.astype(dtype)
        self.cluster_weights_ = running.weights.copy()
        self.n_rows_seen_ = running.n_rows
        self.n_steps_ = running.n_batches


def _without_weight(centres: Floats) -> Running:
    return Running(centres, np.zeros(len(centres)))


def _renew(
    running: Running,
    is_hit: NDArray[np.bool_],
    blocks: Blocks,
    half_life: float | None,
    plan: Growth,
) -> Running:
    """Let lost clusters, and those that are missing, begin at rows of the batch."""
    lost = np.empty(0, np.intp) if half_life is None else lost_clusters(running, is_hit)
    n_missing = plan.n_clusters - len(running.means)
    if len(lost) + n_missing <= 0:
        return running
    found = draw_rows(running, blocks, len(lost) + n_missing, plan.seed)
    lost = lost[: len(found)]
    means, weights = running.means.copy(), running.weights.copy()
    means[lost], weights[lost] = found[: len(lost)], 0.0
    more = found[len(lost) :]
    return running._replace(
        means=np.concatenate([means, more]),
        weights=np.concatenate([weights, np.zeros(len(more))]),
    )
