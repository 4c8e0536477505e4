"""k-means of any number of rows: a search on a weighted sample, then exact steps on all rows.

Covers: the estimator `KMeans`. Does not cover: choosing the number of clusters (see
`model_selection`), or the pieces (`cluster.starts`, `cluster.lloyd`, `cluster.exact`).
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from typing import Any, Self

import numpy as np
from dask.base import tokenize

from daskseg.cluster.centres import CentreModel
from daskseg.cluster.checkpoint import check_checkpoint, checkpointed, identity
from daskseg.cluster.exact import RowsSource
from daskseg.cluster.lloyd import Outcome, iterate
from daskseg.cluster.second_look import is_misjudged, look_again
from daskseg.cluster.sphere import to_unit
from daskseg.cluster.starts import Plan, Start, choose_start, given_centres, margins_of
from daskseg.cluster.view import View
from daskseg.engine import passes, progress, runtime
from daskseg.engine.blocks import Blocks
from daskseg.engine.journal import Journal
from daskseg.errors import UsageError
from daskseg.inputs import as_blocks, is_lazy
from daskseg.metrics.moments import column_means
from daskseg.parameters import check_count, check_landed, check_number, seed_of

INITS = ("coreset", "k-means||", "k-means++", "random")
ALGORITHMS = ("exact", "lloyd", "coreset")
# A step with the centres in hand, at most two draws, and a step with the centres found.
_SECOND_LOOK_PASSES = 4
METRICS = ("euclidean", "cosine")
# What decides the passes of a fit. Limits (max_iter, tol, max_passes) only say where it ends.
_DECISIVE = (
    "n_clusters",
    "n_init",
    "algorithm",
    "oversampling",
    "init_rounds",
    "metric",
    "missing",
)


class KMeans(CentreModel):
    """Partition rows into clusters around means, with exact sums on any number of rows.

    Centres are first searched on a weighted sample in memory, then moved by Lloyd's iteration
    on all rows until no label changes. The same bits come out for any chunking, scheduler and
    number of workers.

    Parameters
    ----------
    n_clusters : int
    init : {"coreset", "k-means||", "k-means++", "random"} or array (n_clusters, n_features)
        "coreset" searches a weighted sample of 100,000 rows (or 400 per cluster; all rows, up to
        five million values) for the best centres. "k-means||" draws
        ``oversampling * n_clusters`` candidates in each of `init_rounds` passes and searches
        those. "k-means++" and "random" only choose rows of the sample, and leave the rest to
        steps over all rows. With an array no sample is drawn.
    n_init : "auto" or int
        Starts of the search, or draws of "k-means++" and "random"; the best one wins. "auto"
        takes as many as the search needs, and one draw.
    max_iter : int
        Steps over all rows.
    tol : float
        0 iterates until no label changes. Above 0 it has scikit-learn's meaning: stop when
        the squared movements of the centres sum to at most `tol` times the mean variance of
        the features.
    algorithm : {"exact", "lloyd", "coreset"}
        "exact" and "lloyd" end at the same bits. "exact" keeps the rows near a border between
        clusters in memory after a pass, and takes further steps on them alone as long as no
        other row can change its label; "lloyd" makes every step a pass. "coreset" keeps the
        centres of the sample, and only measures their squared error on all rows.
    oversampling, init_rounds : float, int
        Of ``init="k-means||"``.
    metric : {"euclidean", "cosine"}
        "cosine" divides every row by its length and keeps the centres at length one
        (spherical k-means). A row of zeros has no direction, and is in any cluster.
    missing : {"error", "mean", "partial"}
        "mean" fills missing values with the mean of their column, here and when predicting.
        "partial" takes distances and means over the values that are there; it starts from
        filled rows, and is several times slower. A row without any value is in the first
        cluster and moves no centre.
    max_passes : int or None
        Bound of full reads of the data.
    random_state : None, int, RandomState or Generator
        None is the seed 0: two fits agree unless they are told not to.
    checkpoint : None or path
        A file that holds what finished tasks of this fit have found, for a fit that may be
        killed. Started again with the same data and parameters, it reads only the blocks that
        are not on file, and ends at the same bits. See the notes.

    Attributes
    ----------
    cluster_centers_ : ndarray of shape (n_clusters, n_features)
        float32 for float32 input, else float64. Fewer rows, with a warning, if the data
        have fewer distinct rows than `n_clusters`.
    labels_ : ndarray or lazy dask Array of shape (n_rows,), int32
    inertia_ : float
        Weighted squared error of exactly `cluster_centers_` on all rows; with
        ``metric="cosine"`` twice the sum of one minus the cosine.
    n_iter_ : int
        Steps over all rows.
    n_passes_ : float
        Full reads of the data; parts of one count by their share of the blocks. Of a fit that
        was resumed: the reads of this process.
    stopped_by_ : {"fixpoint", "tol", "max_iter", "max_passes", "coreset"}
    history_ : list of dict
        Per step: its number, the squared error it began with, and the squared movement.
    fill_values_ : ndarray of shape (n_features,)
        Means of the columns, with ``missing="mean"`` or "partial".
    n_features_in_ : int
    feature_names_in_ : ndarray of str
        Only where the input has names.

    See Also
    --------
    daskseg.model_selection.ClusterSweep : Fits a range of numbers of clusters and suggests one.

    Notes
    -----
    Passes: one for ranges and sample, usually one to three for the steps (see `n_passes_`),
    one for the labels where the rows are in memory, and two more for the means of the columns
    where values may be missing. Memory: a few blocks per thread; in this process the sample,
    and after a pass at most 512 MiB of rows near a border.

    Checkpoint: a fit that was killed at any moment, and is started again with the same data in
    the same blocks, reads what is not on file: of what it had read, at most the tasks that were
    under way. The scheduler, the workers and the limits `max_iter`, `tol` and `max_passes` may
    be others; searches in memory are made again. Rows in memory are told by their content;
    Zarr stores and Parquet by names, sizes and times of their files, so that one that was
    written or copied anew is refused; other dask collections by their names. A RandomState or
    Generator gives one draw per fit: hand over one in the state of the first run. The file is
    deleted when the fit is done, as its result is in your hands, and stays after a failure. It
    holds the rows near a border of one pass, at most 512 MiB, beside small records; 5 million
    rows of 20 features took 140 MB and 0.4 to 0.7 s of a fit of 5 to 8 s. Rows in one block
    of memory have no records.

    Examples
    --------
    >>> import numpy as np
    >>> from daskseg.cluster import KMeans
    >>> rows = np.array([[0.0], [1.0], [9.0], [10.0]])
    >>> fitted = KMeans(n_clusters=2).fit(rows)
    >>> sorted(fitted.cluster_centers_.ravel().tolist()), fitted.inertia_
    ([0.5, 9.5], 1.0)
    """

    def __init__(
        self,
        n_clusters: int = 8,
        *,
        init: str | Any = "coreset",
        n_init: str | int = "auto",
        max_iter: int = 300,
        tol: float = 0.0,
        algorithm: str = "exact",
        oversampling: float = 2.0,
        init_rounds: int = 5,
        metric: str = "euclidean",
        missing: str = "error",
        max_passes: int | None = None,
        random_state: Any = None,
        checkpoint: Any = None,
    ) -> None:
        self.n_clusters = n_clusters
        self.init = init
        self.n_init = n_init
        self.max_iter = max_iter
        self.tol = tol
        self.algorithm = algorithm
        self.oversampling = oversampling
        self.init_rounds = init_rounds
        self.metric = metric
        self.missing = missing
        self.max_passes = max_passes
        self.random_state = random_state
        self.checkpoint = checkpoint

    def fit(self, X: Any, y: Any = None, sample_weight: Any = None) -> Self:
        """Compute the clusters.

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
            If a parameter is wrong, or has a value that has not landed; if the checkpoint cannot
            be opened or written, or another process has it open.
        InputError
            If values are missing, infinite or not numbers, or if there are fewer rows than
            clusters.
        ArtifactError
            If the checkpoint is damaged, or belongs to another fit.
        """
        self._check_parameters()
        rows = self._take_features(X)
        seed = seed_of(self.random_state)
        kept = self._keeping(seed, rows, as_blocks(rows), sample_weight)
        with runtime.one_blas_thread(), progress.recording("fit") as log, kept as book:
            blocks = passes.measure(as_blocks(rows, sample_weight=sample_weight))
            self._check_enough_rows(blocks)
            self._check_budget(log)
            if self.missing != "error":
                self.fill_values_ = column_means(blocks)
            elif hasattr(self, "fill_values_"):
                del self.fill_values_
            view = self._view()
            seen = view.of(blocks)
            start = choose_start(view.without_gaps(seen), self._plan(seen, seed))
            self._finish(seen, start, log, seed, keep_labels=not is_lazy(rows))
            self._account(log, book)
        if is_lazy(rows):
            self.labels_ = self._map(replace(blocks, weights=None), View.labels, None, np.int32)
        return self

    def fit_from(self, blocks: Blocks, start: Start) -> Self:
        """Compute the clusters of blocks from a known start, such as that of a sweep.

        Parameters
        ----------
        blocks : Blocks
            Measured, and found to be clean by whoever made the start.
        start : Start
            Its centres are taken instead of those that `init` would give.

        Returns
        -------
        self

        Notes
        -----
        Saves the pass for ranges and sample. A checkpoint belongs to the start too.
        """
        self._check_parameters()
        self._take_features(blocks)
        seed = seed_of(self.random_state)
        kept = self._keeping(seed, blocks, blocks, start=start)
        with runtime.one_blas_thread(), progress.recording("fit") as log, kept as book:
            self._finish(blocks, start, log, seed, keep_labels=False)
            self._account(log, book)
        self.labels_ = self._map(replace(blocks, weights=None), View.labels, None, np.int32)
        return self

    def _finish(
        self, blocks: Blocks, start: Start, log: progress.PassLog, seed: int, *, keep_labels: bool
    ) -> None:
        source = self._source(blocks, start, log)
        better = self._look_again(source, start, seed)
        if better is not None:
            start = better
            source.forget()
            source = self._source(blocks, start, log)
        outcome = self._iterate(source, start)
        self._measure(source, outcome, keep_labels=keep_labels)
        self._warn_of_fewer()

    def _keeping(
        self,
        seed: int,
        X: Any,
        blocks: Blocks,
        sample_weight: Any = None,
        start: Start | None = None,
    ) -> AbstractContextManager[Journal | None]:
        """Open the checkpoint of a fit, if there is to be one."""
        if self.checkpoint is None:
            return nullcontext()
        fit = {name: str(getattr(self, name)) for name in _DECISIVE}
        init = self.init
        if not isinstance(init, str):
            init = tokenize(given_centres(init, int(self.n_clusters), blocks.n_features))
        fit["init"] = init
        fit["seed"] = str(seed)
        if start is not None:
            fit["the start"] = tokenize(start.centres, start.extent, start.expected)
        return checkpointed(self.checkpoint, {**fit, **identity(X, blocks, sample_weight)})

    def _account(self, log: progress.PassLog, book: Journal | None) -> None:
        self.n_passes_ = log.passes - (0.0 if book is None else book.passes_saved)

    def _check_parameters(self) -> None:
        check_count("n_clusters", self.n_clusters)
        check_count("max_iter", self.max_iter)
        check_count("init_rounds", self.init_rounds)
        if self.max_passes is not None:
            check_count("max_passes", self.max_passes)
        if self.n_init != "auto":
            check_count("n_init", self.n_init)
        check_number("tol", self.tol, np.inf)
        check_number("oversampling", self.oversampling, np.inf)
        if isinstance(self.init, str):
            check_landed("init", self.init, INITS)
        check_landed("algorithm", self.algorithm, ALGORITHMS)
        check_landed("metric", self.metric, METRICS)
        check_landed("missing", self.missing, ("error", "mean", "partial"))
        if self.missing == "partial" and self.metric == "cosine":
            raise UsageError(
                "missing='partial' goes with metric='euclidean': a row with gaps has no length. "
                "Take missing='mean'."
            )
        check_checkpoint(self.checkpoint)

    def _check_budget(self, log: progress.PassLog) -> None:
        if self.max_passes is None:
            return
        needed = int(log.passes) + 2
        needed += 2 if self.missing != "error" else 0
        needed += int(self.init_rounds) + 1 if self._is_parallel() else 0
        if self.max_passes < needed:
            raise UsageError(
                f"max_passes={self.max_passes}, but this fit reads the data at least {needed} "
                "times, without a single step over all rows."
            )

    def _is_parallel(self) -> bool:
        return isinstance(self.init, str) and self.init == "k-means||"

    def _plan(self, blocks: Blocks, seed: int) -> Plan:
        k = int(self.n_clusters)
        return Plan(
            n_clusters=k,
            init=self.init
            if isinstance(self.init, str)
            else given_centres(self.init, k, blocks.n_features),
            n_init=None if self.n_init == "auto" else int(self.n_init),
            oversampling=float(self.oversampling),
            init_rounds=int(self.init_rounds),
            refine=self.algorithm == "coreset",
            project=to_unit if self.metric == "cosine" else None,
            seed=seed,
        )

    def _source(self, blocks: Blocks, start: Start, log: progress.PassLog) -> RowsSource:
        """Make the source of steps; one pass is kept back for the squared error."""

        def passes_left() -> float:
            return np.inf if self.max_passes is None else self.max_passes - log.passes - 1

        return RowsSource(
            blocks,
            start.extent,
            passes_left,
            None if self.algorithm == "lloyd" else start.margins,
            project=to_unit if self.metric == "cosine" else None,
            gaps=self.missing == "partial",
        )

    def _look_again(self, source: RowsSource, start: Start, seed: int) -> Start | None:
        """Take one step, and search another sample if all rows are unlike the first one."""
        known = start.sample
        if known is None or known.is_whole or len(start.centres) < self.n_clusters:
            return None
        if self.algorithm == "coreset" or source.passes_left() < _SECOND_LOOK_PASSES:
            return None
        if self.missing == "partial":
            # Errors over the values that are there say nothing of a sample that was filled.
            return None
        part = source.step(start.centres)
        if part is None or not is_misjudged(source.sse(part, start.centres), start.expected):
            return None
        n_init = None if self.n_init == "auto" else int(self.n_init)
        lead = source.sensitivity(part, start.centres)
        found = look_again(source.blocks, lead, known, seed, n_init=n_init)
        if found is None:
            return None
        centres, sample = found
        margins = margins_of(sample.values, sample.weights, source.blocks)
        return Start(centres, start.extent, margins)

    def _iterate(self, source: RowsSource, start: Start) -> Outcome:
        if self.algorithm == "coreset":
            return Outcome(start.centres, stopped_by="coreset")
        return iterate(source, start.centres, max_iter=int(self.max_iter), tol=float(self.tol))
