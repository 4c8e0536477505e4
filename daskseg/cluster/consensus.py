"""What many clusterings of any number of rows agree on, and whether that is anything.

Covers: the estimator `ConsensusClustering`. Does not cover: the runs and their consensus
(`cluster.ensemble`) or micro-clusters (`cluster.micro`).
"""

from __future__ import annotations

from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from daskseg.cluster import ensemble
from daskseg.cluster.ensemble import Consensus, Firmness, Points
from daskseg.cluster.micro import Compressed, group_means
from daskseg.cluster.micro_model import MicroModel
from daskseg.cluster.search.prepare import prefix, prepare
from daskseg.engine import passes, progress, runtime
from daskseg.errors import UsageError, warn
from daskseg.inputs import as_blocks, is_lazy
from daskseg.kernels import consensus as common
from daskseg.kernels import linkage
from daskseg.parameters import check_count, seed_of

Floats = NDArray[np.float64]
# Arbitrary: rows of the sample on which each run is made.
_RUN_ROWS = 10_000
# Numbers of clusters of runs where none is given, and the largest that is then suggested.
_OPEN_RANGE, _MOST_GROUPS = (2, 20), 10
# Ensembles of rows without structure to compare with.
N_NULLS = 3
# The streams of ensembles: runs of one never repeat those of another.
PILOT, OWN, NULL, STREAMS = 0, 1, 2, 2**14
# By how much contrast and lifetime must be above those of rows without structure, and the share of
# ambiguous pairs below. Chosen on 112 fits of 14 sets without structure and 26 of six with groups:
# contrast alone let skewed rows pass, lower bounds four of the 112. What they do on other draws
# and sets: benchmarks/consensus.py.
LEAST_CONTRAST, LEAST_LIFETIME, LEAST_CLARITY = 0.05, 0.1, 0.05


class ConsensusClustering(MicroModel):
    """Find the clusters that many diverse clusterings agree on, and say if they are any.

    All rows are put into micro-clusters. Runs on resamples of a weighted sample, each with a
    number of clusters and a choice of features of its own, label these; groups that are mostly
    together are the clusters. The same is done to rows without structure: where these agree as
    well, there is nothing stable to be found.

    Parameters
    ----------
    n_clusters : int or None
        None takes the number that stays over the longest stretch of agreement, at most 10.
    base : None, estimator or list of estimators
        Whatever has ``n_clusters`` (or ``n_components``), ``fit`` and ``predict``, or
        ``fit_predict``; those of a list take turns. None is k-means. Estimators are fitted in
        this process, on at most 10,000 rows.
    n_runs : int
        Each draws its number of clusters from half of `n_clusters` to twice as many, and 70 % of
        the features.
    n_micro : int
        Micro-clusters, at most 8,192.
    random_state : None, int, RandomState or Generator
        None is the seed 0: two fits agree unless they are told not to.

    Attributes
    ----------
    labels_ : ndarray or lazy dask Array of shape (n_rows,), int32
    agreement_ : ndarray or lazy dask Array of shape (n_rows,), float64
        In which share of the runs the cluster of the row's micro-cluster belongs to the row's
        segment.
    n_clusters_ : int
    cluster_centers_ : ndarray of shape (n_clusters_, n_features)
        Means of the rows; float32 for float32 input, else float64.
    inertia_ : float
        Weighted squared error of all rows about the means of their clusters.
    is_stable_ : bool
        False, with a warning, where rows without structure agree about as well.
    stability_ : dict of str to float
        ``pac`` (share of ambiguous pairs), ``mean_ari`` (of every two runs), ``contrast`` and
        ``lifetime``; see the notes.
    null_stability_ : list of dict
        The same of three ensembles on rows that are uniform in the box of the components.
    within_ : ndarray of shape (n_clusters_,), float64
        How often two rows of a cluster are together, by micro-clusters.
    nearest_other_ : ndarray of shape (n_clusters_,), float64
        How often rows of a cluster are together with those of the one it is most with.
    consensus_matrix_ : ndarray of shape (n_leaves, n_leaves), float32
        How often two micro-clusters are together, in the order of `consensus_order_`: by
        cluster, and within it by the tree, ready to be drawn.
    consensus_order_ : ndarray of shape (n_leaves,), int64
    consensus_labels_ : ndarray of shape (n_leaves,), int32
        The cluster of each micro-cluster, in that order.
    linkage_ : ndarray of shape (n_leaves - 1, 4), float64
        The tree of the micro-clusters by how seldom they are together, as SciPy has it.
    micro_labels_ : ndarray or lazy dask Array of shape (n_rows,), int32
    micro_places_ : ndarray of shape (n_leaves, n_features), float64
        A row is in the micro-cluster whose place is nearest.
    micro_centers_ : ndarray of shape (n_leaves, n_features), float64
    micro_weights_, micro_inertias_, micro_agreement_ : ndarray of shape (n_leaves,), float64
    n_passes_ : float
        Full reads of the data; parts of one count by their share of the blocks.
    n_features_in_ : int
    feature_names_in_ : ndarray of str
        Only where the input has names.

    See Also
    --------
    daskseg.charts.agreement.matrix : Draws `consensus_matrix_`.
    KMeans : Where clusters are round, a better partition for a known number of them.

    Notes
    -----
    Passes: one for ranges and sample, and one for the sums of micro-clusters. Memory: a few blocks
    per thread, the sample, and 12 bytes for each pair of micro-clusters in this process.

    Stable is what has a contrast of 0.05 above that of each ensemble without structure, and
    besides a share of ambiguous pairs of 0.05 below their mean or a lifetime of 0.1 above each of
    theirs. Contrast: how often rows of a segment are together, less how often they are with those
    of the nearest one. Lifetime: heights of the tree over which the number of segments stays.

    The same bits come out for any chunking, scheduler and number of workers, with the default
    `base`.

    Examples
    --------
    >>> import numpy as np
    >>> from daskseg.cluster import ConsensusClustering
    >>> random = np.random.default_rng(0)
    >>> rows = random.normal(size=(300, 2)) + np.repeat([[0, 0], [9, 0], [0, 9]], 100, axis=0)
    >>> model = ConsensusClustering().fit(rows)
    >>> model.n_clusters_, model.is_stable_, sorted(np.bincount(model.labels_).tolist())
    (3, True, [100, 100, 100])
    """

    def __init__(
        self,
        n_clusters: int | None = None,
        *,
        base: Any = None,
        n_runs: int = 50,
        n_micro: int = 2_000,
        random_state: Any = None,
    ) -> None:
        self.n_clusters = n_clusters
        self.base = base
        self.n_runs = n_runs
        self.n_micro = n_micro
        self.random_state = random_state

    def fit(self, X: Any, y: Any = None, sample_weight: Any = None) -> Self:
        """Make the runs, and find what they agree on.

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
        base = self._check_parameters()
        rows = self._take_features(X)
        seed = seed_of(self.random_state)
        with runtime.one_blas_thread():
            with progress.recording("fit") as log:
                blocks = passes.measure(as_blocks(rows, sample_weight=sample_weight))
                self._check_enough(blocks)
                found = self._compress(blocks, seed, keep_labels=not is_lazy(rows))
                self.n_passes_ = log.passes
            ensembles = _Ensembles(int(self.n_runs), seed, base, blocks.in_memory)
            self._agree(points_of(found, seed), ensembles, blocks.dtype)
        if not self.is_stable_:
            warn(
                f"nothing stable: {self.n_runs} runs agree on {self.n_clusters_} clusters no more "
                "than they do on rows without structure (see stability_ and null_stability_). The "
                "labels are a partition, not a discovery.",
            )
        return self

    def _agree(self, points: Points, ensembles: _Ensembles, dtype: np.dtype[Any]) -> None:
        """Set the attributes of a fit."""
        n_points = len(points.mass)
        wanted = None if self.n_clusters is None else min(int(self.n_clusters), n_points)
        if n_points == 1:
            found, nulls = _single(int(self.n_runs)), []
        else:
            if wanted is None:
                pilot = ensembles.run(points, _OPEN_RANGE, PILOT)
                tree = linkage.link_matrix(
                    1.0 - common.coassociation(pilot).astype(np.float64), points.mass, "average"
                )
                wanted = ensemble.longest_lived(tree, _MOST_GROUPS)
            found = ensembles.agree(points, wanted, OWN)
            nulls = [
                ensembles.agree(
                    ensemble.unstructured(points, ensembles.seed, number), wanted, NULL + number
                ).firmness
                for number in range(N_NULLS)
            ]
        self._table = found.groups
        self.n_clusters_ = int(found.groups.max()) + 1
        self.labels_ = self._spread(self._table)
        self.micro_agreement_ = common.agreement_with(found.labels, found.groups, points.mass)
        self.agreement_ = self._spread(self.micro_agreement_)
        means, sses = group_means(self._micro, self._table, self.n_clusters_)
        self.cluster_centers_ = means.astype(dtype)
        self.inertia_ = float(np.cumsum(sses)[-1])
        self.stability_ = found.firmness._asdict()
        self.null_stability_ = [null._asdict() for null in nulls]
        self.is_stable_ = is_stable(found.firmness, nulls)
        self._tell(found)

    def _tell(self, found: Consensus) -> None:
        """Set what is drawn."""
        self.linkage_ = found.tree
        place = np.argsort(linkage.leaf_order(found.tree))
        self.consensus_order_ = np.lexsort((place, found.groups)).astype(np.int64)
        self.consensus_labels_ = found.groups[self.consensus_order_]
        self.consensus_matrix_ = found.matrix[np.ix_(self.consensus_order_, self.consensus_order_)]
        self.within_ = np.diag(found.links).copy()
        others = found.links.copy()
        np.fill_diagonal(others, -np.inf)
        self.nearest_other_ = np.maximum(others.max(axis=1), 0.0)

    def _check_parameters(self) -> list[Any] | None:
        check_count("n_runs", self.n_runs, 2)
        if int(self.n_runs) >= STREAMS:
            raise UsageError(f"n_runs={self.n_runs:,}, but at most {STREAMS - 1:,} are made.")
        self._check_micro()
        if self.base is None:
            return None
        base = list(self.base) if isinstance(self.base, list | tuple) else [self.base]
        if not base:
            raise UsageError("base is an empty list; give an estimator, or None for k-means.")
        for one in base:
            names = one.get_params() if hasattr(one, "get_params") else {}
            if not {"n_clusters", "n_components"} & set(names):
                raise UsageError(
                    f"base holds {one!r}, which has neither n_clusters nor n_components; runs "
                    "differ in their number of clusters. Take an estimator that is told it."
                )
        return base


class _Ensembles:
    """How runs are made: by jobs of the engine, or in this process for estimators of the caller."""

    def __init__(self, n_runs: int, seed: int, base: list[Any] | None, in_memory: bool) -> None:
        self.n_runs, self.seed, self.base, self.in_memory = n_runs, seed, base, in_memory

    def run(self, points: Points, between: tuple[int, int], stream: int) -> NDArray[np.int32]:
        """Make the partitions of one ensemble, of shape (n_runs, n_points)."""
        n_points, n_features = points.places.shape
        low, high = (max(1, min(k, n_points)) for k in between)
        first = stream * STREAMS
        runs = ensemble.plan_runs(self.n_runs, n_features, (low, high), self.seed, first)
        if self.base is not None:
            found = [ensemble.run_base(run, points, self.seed, self.base) for run in runs]
        else:
            found = passes.run(
                ensemble.run_kmeans, runs, points, self.seed, name="runs", local=self.in_memory
            )
        return np.array(found, np.int32)

    def agree(self, points: Points, n_groups: int, stream: int) -> Consensus:
        """Make an ensemble for a number of groups, and find what it agrees on."""
        between = max(2, -(-n_groups // 2)), 2 * n_groups
        n_groups = min(n_groups, len(points.mass))
        return ensemble.agree(self.run(points, between, stream), points.mass, n_groups)


def is_stable(own: Firmness, nulls: list[Firmness]) -> bool:
    """Say whether partitions agree more than those of rows without structure.

    Parameters
    ----------
    own : Firmness
    nulls : list of Firmness
        None at all: there was nothing to compare.
    """
    if not nulls or own.contrast <= max(null.contrast for null in nulls) + LEAST_CONTRAST:
        return False
    is_clearer = own.pac < sum(null.pac for null in nulls) / len(nulls) - LEAST_CLARITY
    lasts = own.lifetime > max(null.lifetime for null in nulls) + LEAST_LIFETIME
    return is_clearer or lasts


def points_of(found: Compressed, seed: int) -> Points:
    """Take rows for the runs from the sample, and the micro-clusters to be labelled."""
    prepared = prepare(found.sample, seed)
    some = prefix(prepared, _RUN_ROWS)
    micro = found.micro
    repeats = micro.extent.n_rows / float(np.cumsum(micro.weights)[-1])
    return Points(prepared.to_values(some.rows), some.weights, micro.means, micro.weights * repeats)


def _single(n_runs: int) -> Consensus:
    """Return the consensus on a single point."""
    return Consensus(
        np.zeros((n_runs, 1), np.int32),
        np.ones((1, 1), np.float32),
        np.empty((0, 4)),
        np.zeros(1, np.int32),
        np.ones((1, 1)),
        Firmness(0.0, 1.0, 0.0, 0.0),
    )
