"""Principal component analysis of any number of rows, from exact sums.

Covers: the estimator `PCA`. Does not cover: rows that arrive in batches
(`decomposition.incremental`) or the sums and eigenvectors (`decomposition.spectrum`).
"""

from __future__ import annotations

from typing import Any, Self

import numpy as np
from sklearn.utils.validation import check_is_fitted

from daskseg.decomposition.base import Components
from daskseg.decomposition.spectrum import (
    MAX_GRAM_FEATURES,
    Spectrum,
    check_components,
    check_width,
    covariance_of,
    randomized_spectrum,
    spectrum_of,
)
from daskseg.engine import passes, progress, runtime
from daskseg.engine.blocks import Blocks
from daskseg.errors import InputError, UsageError
from daskseg.inputs import as_blocks, measure_extent
from daskseg.kernels.eigen import eigh_falling
from daskseg.parameters import check_count, check_landed, is_count, seed_of

SOLVERS = ("auto", "covariance_eigh", "randomized")


class PCA(Components):
    """Find the directions in which rows vary most.

    Parameters
    ----------
    n_components : None, int or float
        How many to keep: all (where rows are no more than features, all that have variance);
        so many; or, for a number between 0 and 1, the fewest whose variance is at least this
        share of the whole.
    whiten : bool
        Divide the scores by their standard deviations. Off: for clustering, it inflates
        directions that are noise.
    svd_solver : {"auto", "covariance_eigh", "randomized"}
        "covariance_eigh" sums the covariance exactly; "auto" takes it up to 2,000 features.
        "randomized" needs a number of components and no covariance.
    missing : {"error", "pairwise"}
        "pairwise" takes each covariance over the rows where both values are there;
        eigenvalues below zero, which that can make, count as zero. A missing value then
        projects like the mean.
    n_oversamples, iterated_power : int
        Of "randomized": vectors beside the components, and passes that sharpen them.
    random_state : None, int, RandomState or Generator
        Of "randomized". None is the seed 0.

    Attributes
    ----------
    components_ : ndarray of shape (n_components_, n_features_in_), float64
        Orthonormal rows; the largest entry of each is positive (the first of equals).
    explained_variance_, explained_variance_ratio_ : ndarray of shape (n_components_,)
        The divisor of variances is the number of rows (or their weight) less one.
    singular_values_ : ndarray of shape (n_components_,)
    mean_ : ndarray of shape (n_features_in_,)
    n_components_ : int
    noise_variance_ : float
        Mean variance of the directions that were left out.
    missing_share_ : ndarray of shape (n_features_in_,)
        Share of rows (by weight) without a value.
    n_samples_ : int
    n_passes_ : float
        Full reads of the data by `fit`.
    n_features_in_ : int
    feature_names_in_ : ndarray of str
        Only where the input has names.

    See Also
    --------
    IncrementalPCA : The same for rows that arrive in batches.

    Notes
    -----
    Passes: ranges and products; "randomized": ranges, moments, one, and `iterated_power` more;
    one before where numbers of rows are unknown. Memory: 16 bytes per pair of features in each
    partial result, 64 and a tile of 2,048 rows in each thread. Values are rounded to 2**-43 of
    their feature's range and then summed as exact integers: the same bits for any chunking,
    scheduler and number of workers. Up to 256 features no step depends on the make of BLAS or
    its threads; above, the eigenvectors are LAPACK's.

    Examples
    --------
    >>> import numpy as np
    >>> from daskseg.decomposition import PCA
    >>> rows = np.array([[0.0, 0.0], [1.0, 1.0], [2.0, 2.0], [3.0, 3.5]])
    >>> fitted = PCA(n_components=0.9).fit(rows)
    >>> fitted.components_.round(2).tolist(), fitted.explained_variance_ratio_.round(3).tolist()
    ([[0.65, 0.76]], [0.997])
    """

    def __init__(
        self,
        n_components: float | None = None,
        *,
        whiten: bool = False,
        svd_solver: str = "auto",
        missing: str = "error",
        n_oversamples: int = 10,
        iterated_power: int = 2,
        random_state: Any = None,
    ) -> None:
        self.n_components = n_components
        self.whiten = whiten
        self.svd_solver = svd_solver
        self.missing = missing
        self.n_oversamples = n_oversamples
        self.iterated_power = iterated_power
        self.random_state = random_state

    def fit(self, X: Any, y: Any = None, sample_weight: Any = None) -> Self:
        """Find the components.

        Parameters
        ----------
        X : rows of any kind that daskseg takes, of shape (n_rows, n_features)
        y : ignored
        sample_weight : array-like or dask Array of shape (n_rows,), optional
            How often each row counts; zero or more, and more than one together.

        Returns
        -------
        self

        Raises
        ------
        UsageError
            If a parameter is wrong.
        InputError
            If values are infinite, not numbers, or missing without ``missing="pairwise"``;
            if there are fewer than two rows.
        MemoryBudgetError
            If there are too many features for "covariance_eigh".
        """
        self._check_parameters()
        rows = self._take_features(X)
        with runtime.one_blas_thread(), progress.recording("fit") as log:
            blocks = passes.measure(as_blocks(rows, sample_weight=sample_weight))
            self._check_shape(blocks)
            found = self._spectrum(blocks)
        self._learn(found, self.n_components)
        self.n_samples_ = found.n_rows
        self.n_passes_ = log.passes
        return self

    def score(self, X: Any, y: Any = None, sample_weight: Any = None) -> float:
        """Return the mean log-likelihood of rows under the model of `get_covariance`.

        Two passes; exact sums, as in `fit`. Demands a `noise_variance_` above zero, or all
        components with variance.
        """
        check_is_fitted(self, "components_")
        blocks = passes.measure(as_blocks(self._same_features(X), sample_weight=sample_weight))
        self._check_rows(blocks)
        found = covariance_of(blocks, measure_extent(blocks))
        away = found.mean - self.mean_
        divisor = (found.total_weight - 1.0) / found.total_weight
        seen = found.covariance * divisor + np.outer(away, away)
        values, vectors = eigh_falling(self.get_covariance())
        if values[-1] <= 0:
            raise InputError(
                "the components have no variance in some direction, so rows off their plane "
                "have no likelihood. Fit with fewer components, or leave out constant columns."
            )
        along = np.einsum("ij,jk,ik->i", vectors, seen, vectors)
        terms = np.log(2.0 * np.pi) + np.log(values) + along / values
        return float(-0.5 * np.sum(terms))

    def _check_parameters(self) -> None:
        self._check_common()
        check_components(self.n_components)
        check_landed("svd_solver", self.svd_solver, SOLVERS)
        check_count("n_oversamples", self.n_oversamples, least=0)
        check_count("iterated_power", self.iterated_power, least=0)

    def _check_shape(self, blocks: Blocks) -> None:
        self._check_rows(blocks)
        # With weights, rows may count more than once: the exact bound waits for their sum.
        most = blocks.n_features
        if blocks.weights is None or self._is_randomized(blocks):
            most = min(most, blocks.n_rows)
        if is_count(self.n_components, least=most + 1):
            raise UsageError(
                f"n_components={self.n_components} must be at most {most}: "
                f"n_samples={blocks.n_rows} and n_features={blocks.n_features}."
            )
        if not self._is_randomized(blocks):
            check_width(blocks.n_features)
            return
        if not is_count(self.n_components):
            raise UsageError(
                f"n_components={self.n_components!r}: with {blocks.n_features:,} features and "
                f"svd_solver={self.svd_solver!r} the components are found at random, which takes "
                "their number: give a whole number."
            )
        if self.missing != "error":
            raise UsageError(
                f"missing={self.missing!r} needs all covariances, which svd_solver='randomized' "
                "does not sum. Fill the values first, for example with "
                "daskseg.preprocessing.Prepare."
            )

    def _check_rows(self, blocks: Blocks) -> None:
        if blocks.n_rows == 1:
            raise InputError("n_samples=1: a covariance takes at least two rows.")

    def _is_randomized(self, blocks: Blocks) -> bool:
        if self.svd_solver == "auto":
            return blocks.n_features > MAX_GRAM_FEATURES
        return self.svd_solver == "randomized"

    def _spectrum(self, blocks: Blocks) -> Spectrum:
        seen = measure_extent(blocks, allow_missing=self.missing == "pairwise")
        if not self._is_randomized(blocks):
            return spectrum_of(covariance_of(blocks, seen))
        most = min(blocks.n_rows, blocks.n_features)
        n_vectors = min(most, int(self.n_components or most) + int(self.n_oversamples))
        return randomized_spectrum(
            blocks, seen, n_vectors, int(self.iterated_power), seed_of(self.random_state)
        )
