"""HDBSCAN of any number of rows: clusters among landmarks, then every row beside them.

Covers: the estimator `HDBSCAN`. Does not cover: one fixed distance for all clusters (DBSCAN), or
the pieces (`density.landmarks`, `density.clusters`, `kernels.attach`).
"""

from __future__ import annotations

from functools import partial
from numbers import Real
from typing import Any, Self

import numpy as np
from dask.delayed import delayed
from numpy.typing import NDArray
from sklearn.base import ClusterMixin
from sklearn.utils.validation import check_is_fitted

from daskseg.cluster.density.clusters import Found, Settings, Stability, centroids, fit_samples
from daskseg.cluster.density.landmarks import Draw, draw_landmarks
from daskseg.engine import passes, progress
from daskseg.engine.blocks import Blocks
from daskseg.errors import InputError, UsageError, warn
from daskseg.estimator import RowsEstimator
from daskseg.inputs import as_blocks, is_lazy, map_rows
from daskseg.kernels.attach import Landmarks, attach
from daskseg.parameters import check_count, check_landed, check_number, is_count, seed_of

METHODS = ("eom", "leaf")
# Arbitrary: one row in a hundred is a segment worth a name.
DEFAULT_SHARE = 0.01
# As in scikit-learn: fewer landmarks of a cluster are chance.
FEWEST = 5
# Arbitrary: where users of density models look for other parameters.
NOISE_SHARE, LARGEST_SHARE = 0.4, 0.8
# Arbitrary: what is held per row beside the answer stays small beside a block.
_PIECE_ROWS = 2**16
# Arbitrary: four samples of five.
FOUND_SHARE = 0.8


class HDBSCAN(ClusterMixin, RowsEstimator):
    """Find clusters of varying density, and leave what is in none as noise.

    The clusters are those of HDBSCAN on landmarks, a uniform sample of the rows; every other
    row joins the landmark of its least mutual reachability distance, and its cluster if that
    reaches so far. Where all rows are landmarks, labels and strengths are scikit-learn's, up to
    ties (see the notes). The same bits come out for any chunking, scheduler and number of workers.

    Parameters
    ----------
    min_cluster_size : None, int or float
        Fewest rows of a cluster: a number from 2 of rows of the data, or a share of them between
        0 and 1. None is the share 0.01, and at least 5 rows. Among landmarks it is scaled to
        their number, and at least 5.
    min_samples : int
        Rows, itself included, to the last of which a row's core distance is taken. Counted
        among landmarks: with every tenth row a landmark, 10 is as smooth a density as 100 in
        scikit-learn's HDBSCAN of all rows. Fewer would not do: the relative error of a density
        from 10 landmarks is already about 1/3.
    cluster_selection_method : {"eom", "leaf"}
        The clusters of the largest excess of mass, or those that do not split: more of them,
        smaller, and alike in density.
    cluster_selection_epsilon : float
        Clusters that split at less than this distance stay together.
    allow_single_cluster : bool
        All rows may be one cluster. As in scikit-learn, rows at its rim are then noise.
    n_landmarks : int
        The memory and the time of the search grow with it; more of them tell apart smaller
        clusters.
    n_repeats : int
        Samples. The first makes the model; the others show which clusters depend on the draw.
    metric : {"euclidean"}
    random_state : None, int, RandomState or Generator
        Decides the landmarks. None is the seed 0.

    Attributes
    ----------
    labels_ : ndarray or lazy dask Array of shape (n_rows,), int32
        -1 is noise; clusters by falling number of landmarks. Equal to ``predict`` of the rows.
    probabilities_ : ndarray or lazy dask Array of shape (n_rows,), float64
        Strength of the membership: 0 for noise, else the density at which the row joins over
        the largest of the cluster. That is infinite where `min_cluster_size` rows are in one
        place, and all others of the cluster then have 0 too.
    nearest_ : ndarray or lazy dask Array of shape (n_rows,), int32
        As `labels_`, with the nearest cluster in place of noise.
    n_clusters_ : int
    noise_share_ : float
        Of the landmarks.
    centroids_ : ndarray of shape (n_clusters_, n_features), float64
        Means of landmarks, weighted by strength. They may lie outside of bent clusters.
    cluster_persistence_ : ndarray of shape (n_clusters_,)
        From 0 to 1: how long a cluster lasts as the distance falls, as in hdbscan.
    agreement_ : ndarray of shape (n_repeats - 1,)
        Adjusted Rand index between the first sample's labels and those that each other sample
        gives to the same rows, noise being a group. Ones where all rows are landmarks.
    n_found_ : ndarray of shape (n_clusters_,), int64
        Samples in which each cluster was found (Jaccard index of at least 0.5), the first
        included. A warning names those of fewer than four in five.
    landmarks_ : Landmarks
        What `predict` needs: see `daskseg.kernels.attach`.
    sample_indices_ : ndarray of shape (n_landmarks,), int64
        Numbers of the rows that are landmarks.
    n_passes_ : float
        Full reads of the data.
    n_features_in_ : int
    feature_names_in_ : ndarray of str
        Only where the input has names.

    See Also
    --------
    reachability : The distances at which landmarks join, for a plot.

    Notes
    -----
    Passes: one for ranges and landmarks, and one for the labels where the rows are in memory;
    one before where numbers of rows are unknown. Memory in this process: the samples, about
    ``n_repeats * n_landmarks * (n_features + 2) * 24`` bytes, and for each thread about
    ``n_landmarks * (3 * n_features + 20) * 8`` bytes while a tree is made; in each task one
    block and a model of ``n_landmarks * (n_features + 4) * 10`` bytes. None of it grows with
    the number of rows. `labels_`, `probabilities_` and `nearest_` of lazy rows come from one
    read if they are computed together.

    Searches in a tree take long in many columns: bring the rows to at most ten principal
    components first. Measured on one thread, a tenth of the rows being noise: a sample of
    50,000 landmarks takes 0.4, 1.4 and 8 s in 2, 5 and 10 columns, and each row 4, 17 and
    110 µs. A lazy answer carries the model once; above about 15 columns dask warns of a large
    graph.

    Weights of rows make no sense here, as the landmarks are to be as dense as the rows. Merges
    at equal distances are one merge, and a row that joins two parts at once goes with the
    nearer, so that the order of the rows does not matter; scikit-learn takes such merges as its
    sort puts them, so that a few rows at a split may differ, and with them a cluster of just
    `min_cluster_size` rows.

    References
    ----------
    Campello, Moulavi, Zimek and Sander, ACM TKDD 10, 2015; McInnes and Healy, ICDM workshops
    2017, whose ``approximate_predict`` holds the tree fixed in the same way.

    Examples
    --------
    >>> import numpy as np
    >>> from daskseg.cluster import HDBSCAN
    >>> rows = np.array([[0.0], [0.1], [0.2], [5.0], [5.1], [5.2], [15.0]])
    >>> model = HDBSCAN(min_cluster_size=3, min_samples=2).fit(rows)
    >>> model.labels_.tolist(), model.nearest_.tolist()
    ([0, 0, 0, 1, 1, 1, -1], [0, 0, 0, 1, 1, 1, 1])
    """

    def __init__(
        self,
        min_cluster_size: Any = None,
        *,
        min_samples: int = 10,
        cluster_selection_method: str = "eom",
        cluster_selection_epsilon: float = 0.0,
        allow_single_cluster: bool = False,
        n_landmarks: int = 50_000,
        n_repeats: int = 5,
        metric: str = "euclidean",
        random_state: Any = None,
    ) -> None:
        self.min_cluster_size = min_cluster_size
        self.min_samples = min_samples
        self.cluster_selection_method = cluster_selection_method
        self.cluster_selection_epsilon = cluster_selection_epsilon
        self.allow_single_cluster = allow_single_cluster
        self.n_landmarks = n_landmarks
        self.n_repeats = n_repeats
        self.metric = metric
        self.random_state = random_state

    def fit(self, X: Any, y: Any = None) -> Self:
        """Find the clusters.

        Parameters
        ----------
        X : rows of any kind that daskseg takes, of shape (n_rows, n_features)
        y : ignored

        Returns
        -------
        self

        Raises
        ------
        UsageError
            If a parameter is wrong.
        InputError
            If values are missing, infinite or not numbers, or if there are fewer than two rows,
            or fewer than `min_samples`.
        """
        self._check_parameters()
        rows = self._take_features(X)
        seed = seed_of(self.random_state)
        with progress.recording("fit") as log:
            blocks = passes.measure(as_blocks(rows))
            check_enough_rows(blocks, int(self.min_samples), "HDBSCAN")
            settings = self._settings(blocks.n_rows)
            draws = draw_landmarks(blocks, seed, int(self.n_landmarks), int(self.n_repeats))
            found, stability = fit_samples(draws, settings, int(self.n_repeats))
            self._learn(draws[0], found, stability)
            answers = self._answers(rows)
        self.labels_ = answers[:, 0].astype(np.int32)
        self.probabilities_ = answers[:, 1]
        self.nearest_ = answers[:, 2].astype(np.int32)
        self.n_passes_ = log.passes
        self._warn(found)
        return self

    def predict(self, X: Any, *, force: bool = False) -> Any:
        """Find the cluster of each row; that of a landmark, or of a row of the fit, is its own.

        Parameters
        ----------
        X : rows of any kind that daskseg takes, of shape (n_rows, n_features)
        force : bool
            Give noise the cluster of its nearest landmark that is in one.

        Returns
        -------
        ndarray or lazy dask Array of shape (n_rows,), int32
            -1 is noise.
        """
        check_is_fitted(self, "labels_")
        return self._answers(self._same_features(X))[:, 2 if force else 0].astype(np.int32)

    def membership_strength(self, X: Any) -> Any:
        """Return the strength of each row's membership; see `probabilities_`.

        Parameters
        ----------
        X : rows of any kind that daskseg takes, of shape (n_rows, n_features)

        Returns
        -------
        ndarray or lazy dask Array of shape (n_rows,), float64
        """
        check_is_fitted(self, "labels_")
        return self._answers(self._same_features(X))[:, 1]

    def _check_parameters(self) -> None:
        size = self.min_cluster_size
        is_share = isinstance(size, Real) and not is_count(size, 0) and 0 < float(size) < 1
        if size is not None and not is_share and not is_count(size, 2):
            raise UsageError(
                f"min_cluster_size={size!r} is neither a whole number of rows from 2, a share of "
                "them between 0 and 1, nor None."
            )
        check_landed("cluster_selection_method", self.cluster_selection_method, METHODS)
        check_number("cluster_selection_epsilon", self.cluster_selection_epsilon, np.inf)
        check_landed("allow_single_cluster", self.allow_single_cluster, (False, True))
        check_count("n_repeats", self.n_repeats)
        check_landmarks(self.n_landmarks, self.min_samples)
        check_landed("metric", self.metric, ("euclidean",), later=("cosine",))

    def _settings(self, n_rows: int) -> Settings:
        """Scale the least size of a cluster from rows to landmarks."""
        size = self.min_cluster_size
        if size is None:
            n_wanted = max(float(FEWEST), DEFAULT_SHARE * n_rows)
        else:
            n_wanted = float(size) if is_count(size) else max(2.0, float(size) * n_rows)
        share = min(1.0, self.n_landmarks / n_rows)
        if share < 1 and n_wanted * share < FEWEST:
            warn(
                f"clusters of {n_wanted:,.0f} of {n_rows:,} rows are {n_wanted * share:.1f} of "
                f"{self.n_landmarks:,} landmarks, too few to tell from chance: clusters have at "
                f"least {FEWEST / share:,.0f} rows. For smaller ones raise n_landmarks to "
                f"{FEWEST * n_rows / n_wanted:,.0f}.",
                stacklevel=3,
            )
        return Settings(
            round(n_wanted) if share == 1 else max(FEWEST, round(n_wanted * share)),
            int(self.min_samples),
            self.cluster_selection_method,
            float(self.cluster_selection_epsilon),
            bool(self.allow_single_cluster),
        )

    def _learn(self, draw: Draw, found: Found, stability: Stability) -> None:
        self.landmarks_ = found.marks
        self.sample_indices_ = draw.rows
        self.n_clusters_ = len(found.flat.reach_sq)
        self.noise_share_ = float(np.mean(found.flat.labels < 0))
        self.centroids_ = centroids(draw.values, found.flat)
        self.cluster_persistence_ = found.flat.persistence
        self.agreement_ = stability.agreement
        self.n_found_ = stability.n_found

    def _answers(self, X: Any) -> Any:
        """Return label, strength and nearest cluster of rows whose features have been checked."""
        answer = partial(_answer, marks=self.landmarks_)
        return map_rows(
            X,
            # One copy in the graph, instead of one per block.
            delayed(answer, pure=False) if is_lazy(X) else answer,
            n_features_in=self.n_features_in_,
            n_features_out=3,
        )

    def _warn(self, found: Found) -> None:
        """Say what users of density models should look at before they use the labels."""
        labels = found.flat.labels
        if self.noise_share_ > NOISE_SHARE:
            warn(
                f"{self.noise_share_:.0%} of the landmarks are noise. A smaller min_cluster_size "
                "or min_samples leaves less; nearest_ has the nearest cluster of every row.",
                stacklevel=3,
            )
        largest = float(np.mean(labels == 0))
        if largest > LARGEST_SHARE:
            warn(
                f"one cluster has {largest:.0%} of the landmarks. "
                "cluster_selection_method='leaf' finds its parts, if it has some.",
                stacklevel=3,
            )
        rare = np.flatnonzero(self.n_found_ < FOUND_SHARE * self.n_repeats)
        if len(rare):
            named = ", ".join(f"{label} ({self.n_found_[label]})" for label in rare[:8].tolist())
            warn(
                f"{len(rare)} of {self.n_clusters_} clusters were found in fewer than "
                f"{FOUND_SHARE:.0%} of {self.n_repeats} samples, and depend on the draw: "
                f"{named}{' …' if len(rare) > 8 else ''}. Raise n_landmarks or min_cluster_size.",
                stacklevel=3,
            )


def check_landmarks(n_landmarks: Any, min_samples: Any) -> None:
    """Refuse numbers that are not counts, or more neighbours than landmarks."""
    check_count("n_landmarks", n_landmarks, least=2)
    check_count("min_samples", min_samples)
    if min_samples > n_landmarks:
        raise UsageError(
            f"min_samples={min_samples} is more than n_landmarks={n_landmarks}, among which they "
            "are counted."
        )


def check_enough_rows(blocks: Blocks, min_samples: int, name: str) -> None:
    """Refuse fewer than two rows, and fewer than a core distance takes."""
    least = max(2, min_samples)
    if blocks.n_rows < least:
        raise InputError(
            f"n_samples={blocks.n_rows}, but {name} with min_samples={min_samples} takes at "
            f"least {least} rows. Add rows, or lower min_samples."
        )


def _answer(values: NDArray[Any], marks: Landmarks) -> NDArray[np.float64]:
    answers = np.empty((len(values), 3))
    for start in range(0, len(values), _PIECE_ROWS):
        found = attach(marks, values[start : start + _PIECE_ROWS])
        answers[start : start + _PIECE_ROWS] = np.column_stack(found)
    return answers
