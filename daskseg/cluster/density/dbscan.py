"""DBSCAN of any number of rows, exact: every row has the label that scikit-learn gives it.

Covers: the estimator `DBSCAN`. Does not cover: clusters of varying density (`density.hdbscan`), a
choice of eps (`density.distances`), or the pieces (`density.boxes`, `density.box_jobs`,
`density.outcome`).
"""

from __future__ import annotations

import tempfile
from functools import partial
from typing import Any, Self

import dask.array as da
import numpy as np
from dask.delayed import delayed
from numpy.typing import NDArray
from sklearn.base import ClusterMixin
from sklearn.utils.validation import check_is_fitted

from daskseg.cluster.density.box_jobs import Task, join_boxes
from daskseg.cluster.density.boxes import BoxPlan, check_disk, plan_boxes, shape_of
from daskseg.cluster.density.landmarks import draw_landmarks
from daskseg.cluster.density.outcome import (
    KEPT_BYTES,
    NOISE,
    Outcome,
    check_room,
    label_boxes,
    label_rows,
)
from daskseg.engine import passes, progress
from daskseg.engine.blocks import Blocks, Rows
from daskseg.errors import MemoryBudgetError, UsageError, warn
from daskseg.estimator import RowsEstimator
from daskseg.inputs import as_blocks, is_lazy, map_rows, measure_extent
from daskseg.kernels import density, density_near
from daskseg.kernels.density_near import Labelled
from daskseg.parameters import check_count, check_landed, check_number, seed_of

# Of rows in boxes: in more columns nearly every row lies near many boxes.
MAX_FEATURES = 8
# Labels of all rows lie in this process as int32: 1 GB.
MAX_ROWS = 250_000_000
# Arbitrary: enough to place the cuts, and to expect the copies to a few percent.
SAMPLE_ROWS = 100_000
# Arbitrary: where users of density models look for other parameters.
NOISE_SHARE, LARGEST_SHARE = 0.4, 0.8
# Arbitrary: copies that are worth a word before they are made.
_MANY_COPIES = 1.0


class DBSCAN(ClusterMixin, RowsEstimator):
    """Find clusters of rows that are dense at one distance, and leave what is in none as noise.

    A row is a core row if the rows within `eps` of it, itself included, are at least `min_samples`;
    core rows within `eps` of each other are in one cluster, and other rows within `eps` of a core
    row join it. Exact on any number of rows: labels, core rows and noise are those of
    scikit-learn's DBSCAN, for any chunking, scheduler and number of workers.

    Parameters
    ----------
    eps : float
        The largest distance, itself included, of rows that are near.
    min_samples : int
        Fewest rows, or least weight, within `eps` of a core row, the row itself included.
    metric : {"euclidean"}
    max_halo : float
        Rows of a store are worked on in boxes, and those within `eps` of another box are copied
        to it. A fit that would make more copies than this multiple of the rows is refused before
        it makes any.
    random_state : None, int, RandomState or Generator
        Decides the sample on which boxes are cut; never the answer. None is the seed 0.

    Attributes
    ----------
    labels_ : ndarray or lazy dask Array of shape (n_rows,), int64
        -1 is noise. Clusters are numbered by their first core row.
    core_sample_indices_ : ndarray of shape (n_core,), int64
        Numbers of the core rows; made when asked for.
    components_ : ndarray of shape (n_core, n_features)
        The core rows; absent where they take more than 256 MiB.
    n_clusters_ : int
    noise_share_ : float
        Share of the rows that are noise.
    halo_share_ : float
        Copies that were made, as a share of the rows; 0 where all rows were in memory.
    n_passes_ : float
        Full reads of the data.
    n_features_in_ : int
    feature_names_in_ : ndarray of str
        Only where the input has names.

    See Also
    --------
    daskseg.cluster.density.suggest_eps : Suggests `eps` from distances to the k-th nearest row.
    daskseg.cluster.HDBSCAN : Clusters of varying density.

    Notes
    -----
    NumPy rows are worked on in this process, as one box: about 32 bytes per value and 60 per row.
    Rows of dask arrays and stores are read twice, for ranges and a sample of 100,000 rows, and to
    be brought to boxes through files in the temporary directory (`tempfile`), which all workers
    must reach: about three times the rows as float32, and 60 bytes per row. Each box fits a
    task; `plan` tells how many there are and how many copies they make, which a warning does
    above one copy per row. Eight columns are the most that are cut into boxes. In this process:
    the labels, four bytes for each of at most 250 million rows, and the core rows, up to 256 MiB.
    `labels_` of lazy rows is cut like them and refers to those numbers, so that a scheduler gets
    them with the graph.

    No list of neighbours is made: a search stops at `min_samples`, and groups of rows no wider
    than `eps` are taken at once, so that dense data are fast and need no more memory.

    Two rows are near if ``sum((a - b)**2) <= eps**2`` in float64, column by column: what
    scikit-learn's KD-tree decides for two rows. It also takes whole nodes by the root of that sum,
    so that where `eps` squared is rounded and a distance is `eps` to the last bit, such as 3**0.5
    on a grid of whole numbers, its own answer depends on the cut of its tree. Above 15
    columns and for a dozen rows it uses a faster formula that is off in the last digits.
    Weights of a ball are added exactly and rounded once, and no weight may be negative.

    References
    ----------
    Ester, Kriegel, Sander and Xu, KDD 1996; Schubert et al., ACM TODS 42(3), 2017; Wang, Gu and
    Shun, Theoretically-efficient and practical parallel DBSCAN, SIGMOD 2020.

    Examples
    --------
    >>> import numpy as np
    >>> from daskseg.cluster import DBSCAN
    >>> rows = np.array([[0.0], [0.4], [0.8], [5.0], [5.4], [9.0]])
    >>> model = DBSCAN(eps=0.5, min_samples=2).fit(rows)
    >>> model.labels_.tolist(), model.core_sample_indices_.tolist()
    ([0, 0, 0, 1, 1, -1], [0, 1, 2, 3, 4])
    >>> model.predict([[0.9], [7.0]]).tolist(), model.predict([[7.0]], force=True).tolist()
    ([0, -1], [1])
    """

    def __init__(
        self,
        eps: float = 0.5,
        *,
        min_samples: int = 5,
        metric: str = "euclidean",
        max_halo: float = 2.0,
        random_state: Any = None,
    ) -> None:
        self.eps = eps
        self.min_samples = min_samples
        self.metric = metric
        self.max_halo = max_halo
        self.random_state = random_state

    def fit(self, X: Any, y: Any = None, sample_weight: Any = None) -> Self:
        """Find the clusters.

        Parameters
        ----------
        X : rows of any kind that daskseg takes, of shape (n_rows, n_features)
        y : ignored
        sample_weight : array-like or dask Array of shape (n_rows,), optional
            How often each row counts; zero or more. A row of at least `min_samples` is a core row
            by itself.

        Returns
        -------
        self

        Raises
        ------
        UsageError
            If a parameter is wrong, or lazy rows have more than eight columns.
        InputError
            If values are missing, infinite or not numbers, or weights are negative.
        MemoryBudgetError
            If boxes would make too many copies, or do not fit a task or the disk; if rows in
            memory leave no room for the work.
        """
        self._check_parameters()
        rows = self._take_features(X)
        with progress.recording("fit") as log:
            blocks = passes.measure(as_blocks(rows, sample_weight=sample_weight))
            if blocks.in_memory:
                found = self._label_in_memory(blocks)
            else:
                found = self._label_in_boxes(blocks)
            self.n_passes_ = log.passes
        self._keep(found, blocks, is_lazy=is_lazy(rows))
        self._warn(found.labels)
        return self

    def fit_predict(self, X: Any, y: Any = None, sample_weight: Any = None) -> Any:
        """Find the clusters and return the label of each row; lazy for lazy input."""
        return self.fit(X, sample_weight=sample_weight).labels_

    def predict(self, X: Any, *, force: bool = False) -> Any:
        """Find the cluster of the nearest core row within `eps`; that of a core row is its own.

        Parameters
        ----------
        X : rows of any kind that daskseg takes, of shape (n_rows, n_features)
        force : bool
            Take the nearest core row at any distance, so that no row is noise.

        Returns
        -------
        ndarray or lazy dask Array of shape (n_rows,), int64
            -1 is noise; the smallest number wins a tie. A row of the fit that is near core rows of
            two clusters has the smaller number there, and that of the nearer one here.

        Raises
        ------
        MemoryBudgetError
            If the core rows took more than 256 MiB, so that they were not kept.

        Notes
        -----
        A lazy answer carries the core rows once, and every worker holds them: eight bytes per
        value and 16 per core row.
        """
        check_is_fitted(self, "labels_")
        rows = self._same_features(X)
        if not hasattr(self, "components_"):
            raise MemoryBudgetError(
                f"the core rows of the fit took more than {KEPT_BYTES // 2**20} MiB and were not "
                "kept, so that rows cannot be compared with them. labels_ has the clusters of the "
                "rows of the fit; to predict others, fit a sample of the rows."
            )
        limit = np.inf if force else float(self.eps) * float(self.eps)
        answer = partial(_answer, near=self._near(), sq_limit=limit)
        return map_rows(
            rows,
            # One copy in the graph, instead of one per block.
            delayed(answer, pure=False) if is_lazy(rows) else answer,
            n_features_in=self.n_features_in_,
            n_features_out=None,
            dtype=np.int64,
        )

    def plan(self, X: Any, sample_weight: Any = None) -> BoxPlan:
        """Tell how lazy rows would be cut into boxes, without fitting. One pass.

        Parameters
        ----------
        X : dask Array or DataFrame, Zarr array, or path of a store
        sample_weight : array-like or dask Array of shape (n_rows,), optional

        Returns
        -------
        BoxPlan
            With ``n_boxes``, ``halo_share`` (copies per row), ``largest_rows``, ``box_bytes`` and
            ``disk_bytes``.

        Raises
        ------
        UsageError, InputError, MemoryBudgetError
            As `fit`.
        """
        self._check_parameters()
        blocks = passes.measure(as_blocks(X, sample_weight=sample_weight))
        self._check_boxes(blocks)
        return self._plan(blocks)

    @property
    def core_sample_indices_(self) -> NDArray[np.int64]:
        """Numbers of the core rows."""
        check_is_fitted(self, "labels_")
        bits = np.unpackbits(self._is_core, count=len(self.labels_))
        return np.flatnonzero(bits)

    def _check_parameters(self) -> None:
        check_number("eps", self.eps, np.inf)
        if not float(self.eps) > 0:
            raise UsageError(f"eps={self.eps!r} is not above zero.")
        check_count("min_samples", self.min_samples)
        check_landed("metric", self.metric, ("euclidean",), later=None)
        check_number("max_halo", self.max_halo, np.inf)

    def _check_boxes(self, blocks: Blocks) -> None:
        if blocks.n_features > MAX_FEATURES:
            raise UsageError(
                f"X has {blocks.n_features} columns, and rows that are not in memory are cut into "
                f"boxes of at most {MAX_FEATURES}: beyond, nearly every row lies near many boxes. "
                f"Bring them to {MAX_FEATURES} or fewer with daskseg.decomposition.PCA, or hand "
                "over a NumPy array if the rows fit in memory."
            )
        if blocks.n_rows > MAX_ROWS:
            raise MemoryBudgetError(
                f"X has {blocks.n_rows:,} rows, but labels of at most {MAX_ROWS:,} are kept in "
                "this process. Fit a sample of the rows, and predict all of them."
            )

    def _ball(self, blocks: Blocks) -> density.Ball:
        is_weighted = blocks.weights is not None
        return density.ball_of(self.eps, int(self.min_samples), is_weighted=is_weighted)

    def _plan(self, blocks: Blocks) -> BoxPlan:
        (sample,) = draw_landmarks(blocks, seed_of(self.random_state), SAMPLE_ROWS, 1)
        shape = shape_of(blocks)
        return plan_boxes(sample.values, shape, float(self.eps), float(self.max_halo))

    def _label_in_memory(self, blocks: Blocks) -> Outcome:
        check_room(shape_of(blocks))
        measure_extent(blocks)
        parts = passes.emit(blocks, _take, name="rows")
        values = parts[0][0] if len(parts) == 1 else np.concatenate([part[0] for part in parts])
        weights = None
        if blocks.weights is not None:
            weights = np.concatenate([part[1] for part in parts])
        self.halo_share_ = 0.0
        return label_rows(values, weights, self._ball(blocks), int(self.min_samples))

    def _label_in_boxes(self, blocks: Blocks) -> Outcome:
        self._check_boxes(blocks)
        plan = self._plan(blocks)
        if plan.halo_share > _MANY_COPIES:
            warn(
                f"{plan.n_boxes} boxes of up to {plan.largest_rows:,} rows will copy each row "
                f"{plan.halo_share:.2f} times on average into the halos of others. Fewer columns, "
                "a smaller eps or more memory per task make fewer copies.",
                stacklevel=4,
            )
        with tempfile.TemporaryDirectory(prefix="daskseg-dbscan-") as folder:
            check_disk(plan, folder)
            task = Task(plan.tree, self._ball(blocks), int(self.min_samples), folder)
            joined = join_boxes(blocks, task, plan.halo_share)
            self.halo_share_ = joined.n_copies / blocks.n_rows
            return label_boxes(joined, task, shape_of(blocks), blocks.dtype)

    def _keep(self, found: Outcome, blocks: Blocks, *, is_lazy: bool) -> None:
        """Set the attributes of a fit."""
        self._is_core = found.is_core
        self.n_clusters_ = found.n_clusters
        self.noise_share_ = float(np.mean(found.labels == NOISE))
        self._tree: Labelled | None = None
        if found.core_values is not None:
            self.components_ = found.core_values
        elif hasattr(self, "components_"):
            del self.components_
        if is_lazy:
            lengths = (blocks.lengths,)
            lazy = da.from_array(found.labels, chunks=lengths, name=False)
            self.labels_ = lazy.astype(np.int64)
        else:
            self.labels_ = found.labels.astype(np.int64)
        is_core = np.unpackbits(found.is_core, count=len(found.labels)).astype(bool)
        self._core_labels = found.labels[is_core]

    def _near(self) -> Labelled | None:
        """Return the core rows as a tree, which is built once."""
        if self._tree is None and len(self.components_):
            self._tree = density_near.labelled(self.components_, self._core_labels)
        return self._tree

    def _warn(self, labels: NDArray[np.int32]) -> None:
        """Say what users of density models should look at before they use the labels."""
        if self.noise_share_ > NOISE_SHARE:
            warn(
                f"{self.noise_share_:.0%} of the rows are noise. A larger eps or a smaller "
                "min_samples leaves less; predict(X, force=True) has the nearest cluster of every "
                "row.",
                stacklevel=3,
            )
        sizes = np.bincount(labels[labels != NOISE], minlength=1)
        largest = float(sizes.max()) / len(labels)
        if largest > LARGEST_SHARE and self.n_clusters_ > 1:
            warn(
                f"one cluster has {largest:.0%} of the rows. A smaller eps may part it.",
                stacklevel=3,
            )


def _take(rows: Rows) -> tuple[NDArray[Any], NDArray[np.float64] | None]:
    return rows.values, rows.weights


def _answer(values: NDArray[Any], near: Labelled | None, sq_limit: float) -> NDArray[np.int64]:
    if near is None:
        return np.full(len(values), NOISE, np.int64)
    return density_near.nearest(near, values, sq_limit)[0]
