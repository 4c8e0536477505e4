"""k-means by splits in two, on any number of rows.

Covers: the estimator `BisectingKMeans`. Does not cover: growing the tree (`cluster.halving`).
"""

from __future__ import annotations

from functools import partial, reduce
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.utils.validation import check_is_fitted

from daskseg.cluster.centres import CentreModel
from daskseg.cluster.exact import TRUSTED_ERROR
from daskseg.cluster.halving import STRATEGIES, Growth, grow
from daskseg.cluster.micro import check_same_rows
from daskseg.cluster.survey import sample_rows_for, survey
from daskseg.engine import passes, progress, runtime
from daskseg.engine.blocks import Blocks, Rows
from daskseg.inputs import as_blocks, is_lazy, map_rows, measure_extent
from daskseg.kernels import assign, grid, labels, steps
from daskseg.kernels import splits as trees
from daskseg.kernels.assign import StepGrid, StepPart
from daskseg.kernels.grid import GridSum
from daskseg.kernels.moments import Extent
from daskseg.kernels.splits import Splits
from daskseg.parameters import check_count, check_landed, check_number, seed_of

Floats = NDArray[np.float64]
Labels = NDArray[np.int32]


class BisectingKMeans(CentreModel):
    """Split all rows in two, then one of the parts, until there are enough clusters.

    The tree is grown on a weighted sample; then its split points are moved to the means of all
    rows of their sides. A row belongs to the leaf that it comes to from the root down.

    Parameters
    ----------
    n_clusters : int
    bisecting_strategy : {"biggest_inertia", "largest_cluster"}
        Which cluster is split next: the one of the largest squared error, or of most weight.
    n_init : int
        Starts of each split; the best one is followed.
    max_iter : int
        Lloyd steps of each split on the sample.
    tol : float
        0 iterates until no label changes. Above 0: stop a split when the squared movements of
        its two centres sum to at most `tol` times the mean variance of the features.
    random_state : None, int, RandomState or Generator
        None is the seed 0: two fits agree unless they are told not to.

    Attributes
    ----------
    cluster_centers_ : ndarray of shape (n_clusters, n_features)
        Means of the rows; float32 for float32 input, else float64. Fewer rows, with a warning,
        if the data have fewer distinct rows than `n_clusters`.
    labels_ : ndarray or lazy dask Array of shape (n_rows,), int32
        Leaves from left to right; the heavier part of a split is left.
    inertia_ : float
        Weighted squared error of all rows about exactly `cluster_centers_`.
    cluster_weights_ : ndarray of shape (n_clusters,), float64
    children_ : ndarray of shape (n_clusters - 1, 2), int64
        The two parts of each split, the first split first: a number below ``n_clusters`` is a
        cluster, another one ``n_clusters`` plus the number of a split.
    split_centers_ : ndarray of shape (n_clusters - 1, 2, n_features), float64
        A row goes to the nearer one, to the first at a tie.
    split_gains_ : ndarray of shape (n_clusters - 1,), float64
        What each split takes off the squared error.
    n_passes_ : float
        Full reads of the data; parts of one count by their share of the blocks.
    n_features_in_ : int
    feature_names_in_ : ndarray of str
        Only where the input has names.

    See Also
    --------
    KMeans : Lower squared error, without a tree.

    Notes
    -----
    Passes: one for ranges and sample and one for the sums; where not all rows fit the sample, a
    part of one more for the sample, and one to move the split points. One more where data are so
    far from zero that sums do not tell the squared error to nine digits. Memory: a few blocks per
    thread, and the sample in this process.

    The same bits come out for any chunking, scheduler and number of workers. A weight of w equals
    w repeats to 1e-9 where all rows fit the sample.

    Examples
    --------
    >>> import numpy as np
    >>> from daskseg.cluster import BisectingKMeans
    >>> rows = np.array([[0.0], [1.0], [2.0], [9.0], [10.0]])
    >>> model = BisectingKMeans(2).fit(rows)
    >>> model.cluster_centers_.tolist(), model.labels_.tolist(), model.inertia_
    ([[1.0], [9.5]], [0, 0, 0, 1, 1], 2.5)
    """

    def __init__(
        self,
        n_clusters: int = 8,
        *,
        bisecting_strategy: str = "biggest_inertia",
        n_init: int = 4,
        max_iter: int = 300,
        tol: float = 0.0,
        random_state: Any = None,
    ) -> None:
        self.n_clusters = n_clusters
        self.bisecting_strategy = bisecting_strategy
        self.n_init = n_init
        self.max_iter = max_iter
        self.tol = tol
        self.random_state = random_state

    def fit(self, X: Any, y: Any = None, sample_weight: Any = None) -> Self:
        """Grow the tree and sum all rows by its leaves.

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
        growth = Growth(
            int(self.n_clusters),
            self.bisecting_strategy,
            int(self.n_init),
            int(self.max_iter),
            float(self.tol),
            seed_of(self.random_state),
        )
        with runtime.one_blas_thread(), progress.recording("fit") as log:
            blocks = passes.measure(as_blocks(rows, sample_weight=sample_weight))
            self._check_enough_rows(blocks)
            found = survey(blocks, growth.seed, sample_rows_for(growth.n_clusters))
            splits = grow(found.sample, growth)
            step_grid = assign.step_grid(found.extent)
            if not found.sample.is_whole:
                part, _ = _sum_leaves(blocks, splits, step_grid, found.extent)
                splits = _moved(splits, part, step_grid)
            keep_labels = not is_lazy(rows)
            part, own = _sum_leaves(
                blocks, splits, step_grid, found.extent, keep_labels=keep_labels
            )
            self._keep(blocks, splits, part, step_grid, found.extent)
            self.n_passes_ = log.passes
        self.labels_ = own if keep_labels else self.predict(rows)
        self._warn_of_fewer()
        return self

    def _keep(
        self, blocks: Blocks, splits: Splits, part: StepPart, step_grid: StepGrid, extent: Extent
    ) -> None:
        """Set the attributes of a fit."""
        nodes = _node_parts(part, splits)
        weights = np.array([float(weight) for weight in steps.weights_of(nodes, step_grid)])
        means, is_empty = steps.means_of(nodes, step_grid)
        places = _places(splits)
        means[is_empty] = places[is_empty]
        n_leaves = len(part.counts)
        self.cluster_centers_ = means[:n_leaves].astype(blocks.dtype)
        self.cluster_weights_ = weights[:n_leaves]
        self.children_, self.split_centers_ = splits
        left, right = splits.children.T
        apart = ((means[left] - means[right]) ** 2).cumsum(axis=1)[:, -1]
        self.split_gains_ = apart * weights[left] * weights[right] / weights[n_leaves:]
        centres = self._wide_centres()
        square = steps.square_of(part, step_grid)
        self.inertia_ = steps.total_sse(part, step_grid, centres, square)
        if steps.sse_bound(part, step_grid, square) > TRUSTED_ERROR * self.inertia_:
            self.inertia_ = _squared_error(blocks, splits, centres, extent)

    def predict(self, X: Any) -> Any:
        """Find the leaf that each row comes to.

        Parameters
        ----------
        X : rows of any kind that daskseg takes, of shape (n_rows, n_features)

        Returns
        -------
        ndarray or lazy dask Array of shape (n_rows,), int32
            Not always the nearest of `cluster_centers_`.
        """
        check_is_fitted(self, "cluster_centers_")
        return map_rows(
            self._same_features(X),
            partial(trees.follow, splits=self._splits()),
            n_features_in=self.n_features_in_,
            n_features_out=None,
            dtype=np.int32,
        )

    def score(self, X: Any, y: Any = None, sample_weight: Any = None) -> float:
        """Return the negative squared error about the centres of the leaves. Two passes."""
        check_is_fitted(self, "cluster_centers_")
        rows = as_blocks(self._same_features(X), sample_weight=sample_weight)
        blocks = passes.measure(rows)
        seen = measure_extent(blocks)
        return -_squared_error(blocks, self._splits(), self._wide_centres(), seen)

    def _splits(self) -> Splits:
        return Splits(self.children_, self.split_centers_)

    def _check_parameters(self) -> None:
        check_count("n_clusters", self.n_clusters)
        check_landed("bisecting_strategy", self.bisecting_strategy, STRATEGIES)
        check_count("n_init", self.n_init)
        check_count("max_iter", self.max_iter)
        check_number("tol", self.tol, np.inf)


def _sum_block(
    rows: Rows, splits: Splits, step_grid: StepGrid, keep_labels: bool
) -> tuple[Labels | None, StepPart]:
    own = trees.follow(rows.values, splits)
    n_leaves = len(splits.children) + 1
    part = assign.sums_by_label(rows.values, rows.weights, own, n_leaves, step_grid)
    return own if keep_labels else None, part


def _sum_leaves(
    blocks: Blocks,
    splits: Splits,
    step_grid: StepGrid,
    extent: Extent,
    *,
    keep_labels: bool = False,
) -> tuple[StepPart, Labels | None]:
    """Sum all rows by the leaves that they come to. One pass."""
    records = passes.emit(blocks, _sum_block, splits, step_grid, keep_labels, name="splits")
    part = reduce(assign.merge_steps, (one for _, one in records))
    check_same_rows(part, extent)
    return part, np.concatenate([own for own, _ in records]) if keep_labels else None


def _node_parts(part: StepPart, splits: Splits) -> StepPart:
    """Add the sums of leaves up to those of all splits, which follow the leaves."""
    n_leaves = len(part.counts)
    counts = np.concatenate([part.counts, np.zeros(len(splits.children), np.int64)])
    units = np.concatenate(
        [part.units, np.zeros((len(splits.children), *part.units.shape[1:]), np.int64)]
    )
    # A split comes before those below it.
    for number in range(len(splits.children) - 1, -1, -1):
        for end in splits.children[number]:
            counts[n_leaves + number] += counts[end]
            units[n_leaves + number] += units[end]
    return StepPart(counts, units)


def _places(splits: Splits) -> Floats:
    """Return the split point of each node, by its number; zeros for the root."""
    n_leaves = len(splits.children) + 1
    places = np.zeros((2 * n_leaves - 1, splits.centres.shape[2]))
    places[splits.children.ravel()] = splits.centres.reshape(-1, splits.centres.shape[2])
    return places


def _moved(splits: Splits, part: StepPart, step_grid: StepGrid) -> Splits:
    """Move split points to the means of all rows of their sides."""
    means, is_empty = steps.means_of(_node_parts(part, splits), step_grid)
    places = _places(splits)
    means[is_empty] = places[is_empty]
    return splits._replace(centres=means[splits.children])


def _error_block(
    rows: Rows, splits: Splits, centres: Floats, exponent: NDArray[np.int64]
) -> GridSum:
    own = trees.follow(rows.values, splits)
    sq_dist = np.zeros(len(own))
    for column, coordinates in zip(rows.values.T, centres.T, strict=True):
        sq_dist += (column.astype(np.float64) - coordinates[own]) ** 2
    return labels.sum_errors(sq_dist, rows.weights, exponent)


def _squared_error(blocks: Blocks, splits: Splits, centres: Floats, extent: Extent) -> float:
    """Sum the squared error by differences. One pass."""
    exponent = labels.sse_exponent(extent, centres)
    total = passes.reduce(blocks, _error_block, grid.add, splits, centres, exponent, name="errors")
    return float(grid.to_floats(total, exponent)[0])
