"""k-means of any number of rows: a fit on a weighted sample, then exact steps on all rows.

Covers: the estimator `KMeans`. Does not cover: choosing the number of clusters (see
`model_selection`), or the pieces (`cluster.survey`, `cluster.seeding`, `cluster.lloyd`).
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import (
    BaseEstimator,
    ClassNamePrefixFeaturesOutMixin,
    ClusterMixin,
    TransformerMixin,
)
from sklearn.utils.validation import check_is_fitted, validate_data

from daskseg.cluster.lloyd import Outcome, iterate, pass_source
from daskseg.cluster.parameters import check_count, check_landed, check_number, seed_of
from daskseg.cluster.seeding import fit_sample, polish
from daskseg.cluster.survey import Survey, draw_sample, survey
from daskseg.engine import passes, progress
from daskseg.engine.blocks import Blocks, Rows
from daskseg.errors import InputError, SchemaMismatchError, UsageError, warn
from daskseg.inputs import as_blocks, as_frame, is_lazy, map_rows, measure_extent
from daskseg.kernels import assign, grid
from daskseg.kernels.assign import Exponents, exponents_of
from daskseg.kernels.grid import GridSum
from daskseg.kernels.sample import SAMPLE_ROWS, Sample

Floats = NDArray[np.float64]
INITS = ("coreset", "k-means++", "random")
ALGORITHMS = ("exact", "lloyd", "coreset")
# Arbitrary: enough sampled rows per cluster to place each centre well.
_SAMPLE_ROWS_PER_CLUSTER = 200


def sample_rows_for(n_clusters: int) -> int:
    """Return how many rows to draw for a fit of so many clusters."""
    return max(SAMPLE_ROWS, _SAMPLE_ROWS_PER_CLUSTER * n_clusters)


class KMeans(
    ClassNamePrefixFeaturesOutMixin,
    TransformerMixin,
    ClusterMixin,
    BaseEstimator,
):
    """Partition rows into clusters around means, with exact sums on any number of rows.

    Centres are first fitted on a weighted sample in memory, then moved by Lloyd's iteration
    on all rows until no label changes. The same bits come out for any chunking, scheduler and
    number of workers.

    Parameters
    ----------
    n_clusters : int
    init : {"coreset", "k-means++", "random"} or array of shape (n_clusters, n_features)
        "coreset" fits a weighted sample of 20,000 rows (or 200 per cluster) from `n_init`
        starts, each improved by swapping centres out of local optima. "k-means++" and
        "random" only choose rows of that sample, and leave the rest to steps over all rows.
        With an array no sample is drawn.
    n_init : "auto" or int
        Starts on the sample; the one of least squared error there wins. "auto" is one for
        "k-means++", else four, and up to twelve on few rows.
    max_iter : int
        Steps over all rows.
    tol : float
        0 iterates until no label changes. Above 0 it has scikit-learn's meaning: stop when
        the squared movements of the centres sum to at most `tol` times the mean variance of
        the features.
    algorithm : {"exact", "lloyd", "coreset"}
        "exact" and "lloyd" take steps over all rows; "coreset" keeps the centres of the
        sample, and only measures their squared error on all rows.
    oversampling, init_rounds : float, int
        For ``init="k-means||"``, which has not landed.
    metric : {"euclidean"}
    missing : {"error"}
    max_passes : int or None
        Bound of full reads of the data.
    random_state : None, int, RandomState or Generator
        None is the seed 0: two fits agree unless they are told not to.
    checkpoint : None

    Attributes
    ----------
    cluster_centers_ : ndarray of shape (n_clusters, n_features)
        float32 for float32 input, else float64. Fewer rows, with a warning, if the data
        have fewer distinct rows than `n_clusters`.
    labels_ : ndarray or lazy dask Array of shape (n_rows,), int32
    inertia_ : float
        Weighted squared error of exactly `cluster_centers_` on all rows.
    n_iter_ : int
        Steps over all rows.
    n_passes_ : float
        Full reads of the data.
    stopped_by_ : {"fixpoint", "tol", "max_iter", "max_passes", "coreset"}
    history_ : list of dict
        Per step: its number, the squared error it began with, and the squared movement.
    n_features_in_ : int
    feature_names_in_ : ndarray of str
        Only where the input has names.

    See Also
    --------
    daskseg.model_selection.ClusterSweep : Fits a range of numbers of clusters and suggests one.

    Notes
    -----
    Passes: ranges, moments, sample, one per step, and one for the labels. Memory: a block per
    thread, and the sample.

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
            If a parameter is wrong, or has a value that has not landed.
        InputError
            If values are missing, infinite or not numbers, or if there are fewer rows than
            clusters.
        """
        self._check_parameters()
        rows = self._take_names(X)
        with progress.recording("fit") as log:
            blocks = passes.measure(as_blocks(rows, sample_weight=sample_weight))
            self._check_shape(blocks)
            self._check_budget(log)
            extent = measure_extent(blocks)
            given = None if isinstance(self.init, str) else self._given_centres(blocks)
            found = survey(blocks, extent) if given is None or self.tol > 0 else None
            start = self._start(blocks, found, given)
            outcome = self._finish_centres(blocks, exponents_of(extent, start), start, found, log)
            self._measure(blocks, outcome, extent, rows)
        self.n_passes_ = log.passes
        if len(self.cluster_centers_) < self.n_clusters:
            warn(
                f"n_clusters={self.n_clusters}, but {len(self.cluster_centers_)} clusters were "
                "made: the rows have no more distinct points."
            )
        return self

    def fit_predict(self, X: Any, y: Any = None, sample_weight: Any = None) -> Any:
        """Compute the clusters and return the label of each row; lazy for lazy input."""
        return self.fit(X, sample_weight=sample_weight).labels_

    def predict(self, X: Any) -> Any:
        """Find the nearest centre of each row.

        Returns
        -------
        ndarray or lazy dask Array of shape (n_rows,), int32
            The smallest index wins a tie.
        """
        return self._map(X, _labels, None, np.int32)

    def transform(self, X: Any) -> Any:
        """Compute the Euclidean distance of each row to each centre.

        Returns
        -------
        ndarray or lazy dask Array of shape (n_rows, n_clusters)
            float32 for a model of float32 rows, else float64.
        """
        check_is_fitted(self)
        dtype = self.cluster_centers_.dtype
        return self._map(X, _distances, len(self.cluster_centers_), dtype)

    def score(self, X: Any, y: Any = None, sample_weight: Any = None) -> float:
        """Return the negative squared error of the centres on rows. Two passes."""
        check_is_fitted(self)
        blocks = passes.measure(as_blocks(self._same_columns(X), sample_weight=sample_weight))
        exponents = exponents_of(measure_extent(blocks), self._wide_centres())
        return -_squared_error(blocks, self._wide_centres(), exponents, keep_labels=False)[0]

    @property
    def _n_features_out(self) -> int:
        return len(self.cluster_centers_)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags

    def _check_parameters(self) -> None:
        check_count("n_clusters", self.n_clusters)
        check_count("max_iter", self.max_iter)
        if self.max_passes is not None:
            check_count("max_passes", self.max_passes)
        if self.n_init != "auto":
            check_count("n_init", self.n_init)
        check_number("tol", self.tol, np.inf)
        if isinstance(self.init, str):
            check_landed("init", self.init, INITS, later=("k-means||",))
        check_landed("algorithm", self.algorithm, ALGORITHMS)
        check_landed("metric", self.metric, ("euclidean",), later=("cosine",))
        check_landed("missing", self.missing, ("error",), later=("partial",))
        check_landed("oversampling", self.oversampling, (2.0,), later=None)
        check_landed("init_rounds", self.init_rounds, (5,), later=None)
        check_landed("checkpoint", self.checkpoint, (None,), later=None)

    def _take_names(self, X: Any) -> Any:
        """Record the features of `X`; arrays and frames in memory become a checked array."""
        if not is_lazy(X) and not isinstance(X, Blocks):
            return validate_data(
                self,
                as_frame(X),
                dtype=[np.float64, np.float32],
                ensure_all_finite=False,
            )
        blocks = as_blocks(X)
        self.n_features_in_ = blocks.n_features
        if blocks.columns is not None:
            self.feature_names_in_ = np.array(blocks.columns, dtype=object)
        elif hasattr(self, "feature_names_in_"):
            del self.feature_names_in_
        return X

    def _same_columns(self, X: Any) -> Any:
        """Check that `X` has the features of the fit."""
        if not is_lazy(X) and not isinstance(X, Blocks):
            return validate_data(
                self,
                as_frame(X),
                reset=False,
                dtype=[np.float64, np.float32],
                ensure_all_finite=False,
            )
        columns, names = as_blocks(X).columns, getattr(self, "feature_names_in_", None)
        if columns is not None and names is not None and list(columns) != list(names):
            raise SchemaMismatchError(
                f"the columns are {list(columns)}, but the model was fitted on {list(names)}, in "
                "this order."
            )
        return X

    def _check_shape(self, blocks: Blocks) -> None:
        if blocks.n_features == 0:
            raise InputError("Found array with 0 feature(s) while a minimum of 1 is required.")
        if blocks.n_rows < self.n_clusters:
            raise InputError(
                f"n_samples={blocks.n_rows} should be >= n_clusters={self.n_clusters}: there are "
                "fewer rows than clusters. Ask for fewer clusters."
            )

    def _check_budget(self, log: progress.PassLog) -> None:
        if self.max_passes is None:
            return
        draws = isinstance(self.init, str) or self.algorithm == "coreset"
        needed = int(log.passes) + 2 + (2 if draws else int(self.tol > 0))
        if self.max_passes < needed:
            raise UsageError(
                f"max_passes={self.max_passes}, but this fit reads the data at least {needed} "
                "times, without a single step over all rows."
            )

    def _given_centres(self, blocks: Blocks) -> Floats:
        try:
            centres = np.array(self.init, dtype=np.float64)
        except (TypeError, ValueError) as error:
            raise UsageError(f"init is neither a known name nor an array: {error}") from error
        wanted = (self.n_clusters, blocks.n_features)
        if centres.shape != wanted:
            raise UsageError(
                f"init has the shape {centres.shape}, but n_clusters and the features of X make "
                f"{wanted}."
            )
        if not np.isfinite(centres).all():
            raise UsageError("init holds NaN or infinity; every centre must be finite.")
        return centres

    def _start(self, blocks: Blocks, found: Survey | None, given: Floats | None) -> Floats:
        """Choose the centres with which the steps over all rows begin."""
        if given is not None and self.algorithm != "coreset":
            return given
        found = survey(blocks) if found is None else found
        seed = seed_of(self.random_state)
        sample = draw_sample(blocks, found, seed, sample_rows_for(self.n_clusters))
        if given is not None:
            return polish(sample, given, int(self.n_clusters))
        return self._fit_sample(sample, found, seed, local=blocks.in_memory)

    def _fit_sample(self, sample: Sample, found: Survey, seed: int, *, local: bool) -> Floats:
        n_init = None if self.n_init == "auto" else int(self.n_init)
        if n_init is None and self.init == "k-means++":
            n_init = 1
        return fit_sample(
            sample,
            [int(self.n_clusters)],
            found.mean_variance,
            seed,
            n_init=n_init,
            method="random" if self.init == "random" else "k-means++",
            refine=self.init == "coreset" or self.algorithm == "coreset",
            local=local,
        )[0]

    def _finish_centres(
        self,
        blocks: Blocks,
        exponents: Exponents,
        start: Floats,
        found: Survey | None,
        log: progress.PassLog,
    ) -> Outcome:
        """Take the steps over all rows; one pass is kept back for the labels."""
        if self.algorithm == "coreset":
            return Outcome(start, stopped_by="coreset")

        def passes_left() -> float:
            return np.inf if self.max_passes is None else self.max_passes - log.passes - 1

        tol = self.tol * found.mean_variance if found is not None else 0.0
        source = pass_source(blocks, exponents, passes_left)
        return iterate(source, start, max_iter=int(self.max_iter), tol=tol)

    def _measure(self, blocks: Blocks, outcome: Outcome, extent: Any, rows: Any) -> None:
        """Set the attributes; squared error and labels belong to the centres as returned."""
        self.cluster_centers_ = outcome.centres.astype(blocks.dtype)
        self.n_iter_ = outcome.n_iter
        self.stopped_by_ = outcome.stopped_by
        self.history_ = outcome.history
        centres = self._wide_centres()
        if is_lazy(rows):
            self.labels_ = self._map(replace(blocks, weights=None), _labels, None, np.int32)
            if outcome.sse is not None and np.array_equal(centres, outcome.centres):
                self.inertia_ = outcome.sse
                return
        exponents = exponents_of(extent, centres)
        self.inertia_, labels = _squared_error(
            blocks, centres, exponents, keep_labels=not is_lazy(rows)
        )
        if not is_lazy(rows):
            self.labels_ = np.concatenate(labels)

    def _wide_centres(self) -> Floats:
        return np.asarray(self.cluster_centers_, dtype=np.float64)

    def _map(self, X: Any, func: Any, width: int | None, dtype: Any) -> Any:
        check_is_fitted(self, "cluster_centers_")
        return map_rows(
            self._same_columns(X),
            partial(func, centres=self._wide_centres()),
            n_features_in=self.n_features_in_,
            n_features_out=width,
            dtype=dtype,
        )


def _labels(values: NDArray[Any], centres: Floats) -> NDArray[np.int32]:
    return assign.nearest(values, centres)[0]


def _distances(values: NDArray[Any], centres: Floats) -> Floats:
    return np.sqrt(assign.sq_distances(values, centres)).T


def _label_rows(
    rows: Rows, centres: Floats, exponents: Exponents, keep_labels: bool
) -> tuple[NDArray[np.int32] | None, GridSum]:
    labels, sse = assign.label_block(rows.values, rows.weights, centres, exponents)
    return labels if keep_labels else None, sse


def _squared_error(
    blocks: Blocks, centres: Floats, exponents: Exponents, *, keep_labels: bool
) -> tuple[float, list[Any]]:
    """Sum the squared error exactly, and return the labels of each block if wanted."""
    records = passes.emit(blocks, _label_rows, centres, exponents, keep_labels, name="labels")
    total = records[0][1]
    for _, sse in records[1:]:
        total = grid.add(total, sse)
    return float(grid.to_floats(total, exponents.sse)[0]), [labels for labels, _ in records]
