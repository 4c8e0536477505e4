"""Clusters of clusters: the tree of any number of rows, in two steps.

Covers: the estimator `AgglomerativeClustering`. Does not cover: micro-clusters
(`cluster.micro`) or the tree itself (`kernels.linkage`).
"""

from __future__ import annotations

from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.utils.validation import check_is_fitted

from daskseg.cluster.micro import group_means
from daskseg.cluster.micro_model import MicroModel, Table
from daskseg.engine import passes, progress, runtime
from daskseg.errors import UsageError, warn
from daskseg.inputs import as_blocks, is_lazy
from daskseg.kernels import linkage as trees
from daskseg.parameters import check_count, check_landed, check_number, seed_of

Floats = NDArray[np.float64]
METRICS = ("euclidean",)


class AgglomerativeClustering(MicroModel):
    """Join the two nearest groups again and again, from micro-clusters to one group.

    All rows are first put into micro-clusters of known weight, mean and squared error; these are
    joined by their weights, so that the tree is that of the rows as far as the rows of a
    micro-cluster are alike. Rows with no more than `n_micro` distinct points get the very tree of
    the rows.

    Parameters
    ----------
    n_clusters : int or None
        Where the tree is cut; None with a `distance_threshold`.
    linkage : {"ward", "average", "complete"}
        Which two groups are nearest: those whose union raises the squared error least; those of
        the least mean distance of rows; of the least largest distance. The last two take the
        rows of a micro-cluster for its mean.
    distance_threshold : None or float
        Groups at this height or above it are not joined.
    n_micro : int
        Micro-clusters, at most 8,192; 500 to 5,000 will do.
    metric : {"euclidean"}
    random_state : None, int, RandomState or Generator
        None is the seed 0: two fits agree unless they are told not to.

    Attributes
    ----------
    labels_ : ndarray or lazy dask Array of shape (n_rows,), int32
        Clusters are numbered from left to right along the drawn tree.
    n_clusters_ : int
    cluster_centers_ : ndarray of shape (n_clusters_, n_features)
        Means of the rows; float32 for float32 input, else float64.
    inertia_ : float
        Weighted squared error of all rows about the means of their clusters.
    linkage_ : ndarray of shape (n_leaves_ - 1, 4), float64
        The tree, as `scipy.cluster.hierarchy` has it; the last column counts leaves. For "ward"
        a height is ``sqrt(2 * rise of the squared error)``.
    children_ : ndarray of shape (n_leaves_ - 1, 2), int64
    distances_ : ndarray of shape (n_leaves_ - 1,), float64
        The first two columns and the third of `linkage_`.
    group_weights_ : ndarray of shape (n_leaves_ - 1,), float64
        Weight of the rows of the group that each join makes.
    n_leaves_ : int
        Micro-clusters.
    micro_labels_ : ndarray or lazy dask Array of shape (n_rows,), int32
        The leaf of each row.
    micro_places_ : ndarray of shape (n_leaves_, n_features), float64
        A row is in the leaf whose place is nearest.
    micro_centers_ : ndarray of shape (n_leaves_, n_features), float64
        Means of the rows of each leaf.
    micro_weights_, micro_inertias_ : ndarray of shape (n_leaves_,), float64
        Their weight, and their squared error about its mean.
    n_passes_ : float
        Full reads of the data; parts of one count by their share of the blocks.
    n_features_in_ : int
    feature_names_in_ : ndarray of str
        Only where the input has names.

    See Also
    --------
    daskseg.charts.dendrogram.dendrogram : Draws `linkage_`.

    Notes
    -----
    Passes: one for ranges and sample, and one for the sums, which takes ``n_micro`` distances per
    row. Other cuts need none where the rows are in memory. Memory: a few blocks per thread, a
    sample of 100,000 rows, and 8 bytes for each pair of micro-clusters in this process.

    The same bits come out for any chunking, scheduler and number of workers. A weight of w equals
    w repeats to 1e-9 where all rows fit the sample.

    Examples
    --------
    >>> import numpy as np
    >>> from daskseg.cluster import AgglomerativeClustering
    >>> rows = np.array([[0.0], [1.0], [9.0], [10.0], [30.0]])
    >>> model = AgglomerativeClustering(3).fit(rows)
    >>> model.labels_.tolist(), model.cut(2).tolist()
    ([1, 1, 2, 2, 0], [1, 1, 1, 1, 0])
    >>> round(model.explained_variance(2), 3)
    0.859
    """

    def __init__(
        self,
        n_clusters: int | None = 2,
        *,
        linkage: str = "ward",
        distance_threshold: float | None = None,
        n_micro: int = 1_000,
        metric: str = "euclidean",
        random_state: Any = None,
    ) -> None:
        self.n_clusters = n_clusters
        self.linkage = linkage
        self.distance_threshold = distance_threshold
        self.n_micro = n_micro
        self.metric = metric
        self.random_state = random_state

    def fit(self, X: Any, y: Any = None, sample_weight: Any = None) -> Self:
        """Build the tree and cut it.

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
        rows = self._take_features(X)
        seed = seed_of(self.random_state)
        with runtime.one_blas_thread(), progress.recording("fit") as log:
            blocks = passes.measure(as_blocks(rows, sample_weight=sample_weight))
            self._check_enough(blocks)
            micro = self._compress(blocks, seed, keep_labels=not is_lazy(rows)).micro
            self.linkage_ = trees.link_points(micro.means, micro.weights, self.linkage)
            self.n_passes_ = log.passes
        self.children_ = self.linkage_[:, :2].astype(np.int64)
        self.distances_ = self.linkage_[:, 2].copy()
        self.group_weights_ = trees.group_weights(self.linkage_, micro.weights)
        self.n_leaves_ = len(micro.weights)
        self._settle(blocks.dtype)
        return self

    def _settle(self, dtype: np.dtype[Any]) -> None:
        """Cut the tree where the parameters say."""
        if self.n_clusters is None:
            assert self.distance_threshold is not None
            wanted = trees.n_groups_at(self.linkage_, float(self.distance_threshold))
        else:
            wanted = int(self.n_clusters)
        self.n_clusters_ = min(wanted, self.n_leaves_)
        self._table = self.lookup(self.n_clusters_)
        self.labels_ = self._spread(self._table)
        means, sses = group_means(self._micro, self._table, self.n_clusters_)
        self.cluster_centers_ = means.astype(dtype)
        self.inertia_ = float(np.cumsum(sses)[-1])
        if self.n_clusters_ < wanted:
            warn(
                f"n_clusters={self.n_clusters}, but {self.n_clusters_} clusters were made: the "
                "rows have no more distinct points.",
                stacklevel=3,
            )

    def lookup(self, n_clusters: int) -> Table:
        """Return the label of each micro-cluster if the tree is cut elsewhere.

        Parameters
        ----------
        n_clusters : int
            From 1 to `n_leaves_`.

        Returns
        -------
        ndarray of shape (n_leaves_,), int32
            Clusters of more than one cut are nested.
        """
        check_is_fitted(self, "linkage_")
        check_count("n_clusters", n_clusters)
        if int(n_clusters) > self.n_leaves_:
            raise UsageError(
                f"n_clusters={n_clusters}, but the tree has {self.n_leaves_} leaves. Ask for "
                "fewer clusters, or fit with a larger n_micro."
            )
        return trees.cut(self.linkage_, int(n_clusters))[0]

    def cut(self, n_clusters: int | None = None, *, distance_threshold: float | None = None) -> Any:
        """Return the labels of the rows of the fit if the tree is cut elsewhere.

        Parameters
        ----------
        n_clusters : int, optional
            From 1 to `n_leaves_`.
        distance_threshold : float, optional
            Instead of a number: groups at this height or above it are not joined.

        Returns
        -------
        ndarray or lazy dask Array of shape (n_rows,), int32
            Clusters of more than one cut are nested. The rows are not read where they were in
            memory at the fit; lazy labels read them when they are computed.
        """
        check_is_fitted(self, "linkage_")
        if (n_clusters is None) == (distance_threshold is None):
            raise UsageError("cut takes either n_clusters or distance_threshold.")
        if distance_threshold is not None:
            check_number("distance_threshold", distance_threshold, np.inf)
            n_clusters = trees.n_groups_at(self.linkage_, float(distance_threshold))
        assert n_clusters is not None
        return self._spread(self.lookup(n_clusters))

    def explained_variance(self, n_clusters: int) -> float:
        """Return the share of the squared error of all rows that a cut explains.

        Parameters
        ----------
        n_clusters : int

        Returns
        -------
        float
            From 0 to 1; for the labels that `cut` returns it is no estimate. NaN where all rows
            are equal.
        """
        table = self.lookup(n_clusters)
        within = _total(group_means(self._micro, table, int(n_clusters))[1])
        total = _total(group_means(self._micro, np.zeros_like(table), 1)[1])
        return 1.0 - within / total if total > 0 else float("nan")

    def _check_parameters(self) -> None:
        check_landed("linkage", self.linkage, trees.METHODS, ("single",))
        check_landed("metric", self.metric, METRICS, ("cosine", "l1", "l2", "manhattan"))
        if (self.n_clusters is None) == (self.distance_threshold is None):
            raise UsageError(
                f"n_clusters={self.n_clusters!r} and distance_threshold="
                f"{self.distance_threshold!r}: give one of them, and None for the other."
            )
        if self.distance_threshold is not None:
            check_number("distance_threshold", self.distance_threshold, np.inf)
        self._check_micro()


def _total(sses: Floats) -> float:
    return float(np.cumsum(sses)[-1])
