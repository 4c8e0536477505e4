"""What a fitted mixture answers: memberships, likelihoods, criteria, and new rows.

Covers: `MixtureModel`, the part of `GaussianMixture` after its fit. Does not cover: fits.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import DensityMixin
from sklearn.utils.validation import check_is_fitted

from daskseg.engine import passes
from daskseg.errors import UsageError
from daskseg.estimator import RowsEstimator
from daskseg.inputs import as_blocks, map_rows, measure_extent
from daskseg.kernels import mixture_scores, mixture_steps, rng
from daskseg.kernels.mixture import Ready
from daskseg.kernels.mixture_steps import Parameters
from daskseg.mixture.memberships import (
    Fit,
    MembershipSummary,
    compact_dtype,
    measure_fit,
    summarise,
    top_memberships,
)
from daskseg.parameters import check_count, seed_of

Floats = NDArray[np.float64]


class MixtureModel(DensityMixin, RowsEstimator):
    """Base of mixtures; not for use by itself.

    Attributes
    ----------
    weights_, means_, covariances_, precisions_cholesky_ : ndarray, float64
    """

    covariance_type: str
    random_state: Any
    weights_: Floats
    means_: Floats
    covariances_: Floats
    precisions_cholesky_: Floats
    labels_: Any

    def fit_predict(self, X: Any, y: Any = None, sample_weight: Any = None) -> Any:
        """Fit, and return the label of each row; lazy for lazy input."""
        return self.fit(X, sample_weight=sample_weight).labels_

    def predict(self, X: Any) -> Any:
        """Find the component of the largest membership of each row.

        Returns
        -------
        ndarray or lazy dask Array of shape (n_rows,), int32
            The smallest index wins a tie.
        """
        return self._map(X, component_of, None, np.int32)

    def predict_proba(self, X: Any) -> Any:
        """Compute the membership of each row in each component.

        Returns
        -------
        ndarray or lazy dask Array of shape (n_rows, n_components), float64
            Rows sum to one.
        """
        check_is_fitted(self, "weights_")
        return self._map(X, mixture_scores.memberships, len(self.weights_), np.float64)

    def score_samples(self, X: Any) -> Any:
        """Compute the log-density of each row.

        Returns
        -------
        ndarray or lazy dask Array of shape (n_rows,), float64
        """
        return self._map(X, mixture_scores.log_densities, None, np.float64)

    def memberships(self, X: Any, n: int = 3) -> Any:
        """Return the largest memberships of each row in four bytes each, instead of all.

        Parameters
        ----------
        X : rows of any kind that daskseg takes, of shape (n_rows, n_features)
        n : int
            How many to keep; all, where there are fewer components.

        Returns
        -------
        structured ndarray or lazy dask Array of shape (n_rows,)
            Fields ``component`` (n, uint16) and ``membership`` (n, float16), largest first. A
            half-precision number is right to three digits.
        """
        check_is_fitted(self, "weights_")
        check_count("n", n)
        if len(self.weights_) > np.iinfo(np.uint16).max + 1:
            raise UsageError(f"{len(self.weights_):,} components have no numbers of 16 bits.")
        kept = min(int(n), len(self.weights_))
        return self._map(X, partial(top_memberships, n=kept), None, compact_dtype(kept))

    def membership_summary(self, X: Any) -> MembershipSummary:
        """Say how sure the memberships of rows are. One pass.

        Parameters
        ----------
        X : rows of any kind that daskseg takes, of shape (n_rows, n_features)

        Returns
        -------
        MembershipSummary
            Per component: its size, the shares of core (membership from 0.8), fringe (from 0.5)
            and ambiguous rows, and its mean membership; and how far components overlap.
        """
        check_is_fitted(self, "weights_")
        return summarise(self._same_features(X), self._ready())

    def score(self, X: Any, y: Any = None, sample_weight: Any = None) -> float:
        """Return the mean log-density of rows, from an exact sum. Two passes."""
        return self._fit_of(X, sample_weight).log_density

    def bic(self, X: Any) -> float:
        """Return the Bayesian information criterion of rows; lower is better. Two passes."""
        return self._criterion(X, lambda n: np.log(n) * self._n_parameters())

    def aic(self, X: Any) -> float:
        """Return Akaike's information criterion of rows; lower is better. Two passes."""
        return self._criterion(X, lambda _: 2.0 * self._n_parameters())

    def icl(self, X: Any) -> float:
        """Return the integrated completed likelihood: BIC plus twice the entropy. Two passes.

        Lower is better. Components that overlap cost extra (Biernacki, Celeux and Govaert, IEEE
        Transactions on Pattern Analysis and Machine Intelligence 22, 2000).
        """
        check_is_fitted(self, "weights_")
        n_rows = passes.measure(as_blocks(self._same_features(X))).n_rows
        found = self._fit_of(X, None, with_entropy=True)
        penalty = np.log(n_rows) * self._n_parameters()
        return float(2.0 * n_rows * (found.entropy - found.log_density) + penalty)

    def sample(self, n_samples: int = 1) -> tuple[Floats, NDArray[np.int32]]:
        """Draw rows from the mixture, in memory.

        Parameters
        ----------
        n_samples : int

        Returns
        -------
        X : ndarray of shape (n_samples, n_features), float64
            By rising component.
        y : ndarray of shape (n_samples,), int32
            The component of each row.
        """
        check_is_fitted(self, "weights_")
        check_count("n_samples", n_samples)
        draws = rng.generator(seed_of(self.random_state), rng.MIXTURE_DRAWS)
        shares = self.weights_ / self.weights_.sum()
        labels = np.repeat(
            np.arange(len(shares), dtype=np.int32), draws.multinomial(n_samples, shares)
        )
        normal = draws.standard_normal((n_samples, self.means_.shape[1]))
        rows = np.empty(normal.shape)
        for k, mean in enumerate(self.means_):
            own = labels == k
            rows[own] = mean + self._spread(normal[own], k)
        return rows, labels

    def _spread(self, normal: Floats, k: int) -> Floats:
        covariance = self.covariances_ if self.covariance_type == "tied" else self.covariances_[k]
        if np.ndim(covariance) < 2:
            return normal * np.sqrt(covariance)
        return normal @ np.linalg.cholesky(covariance).T

    def _n_parameters(self) -> int:
        n_components, n_features = self.means_.shape
        return mixture_steps.n_parameters(n_components, n_features, self.covariance_type)

    def _criterion(self, X: Any, penalty: Any) -> float:
        check_is_fitted(self, "weights_")
        n_rows = passes.measure(as_blocks(self._same_features(X))).n_rows
        return float(-2.0 * n_rows * self._fit_of(X, None).log_density + penalty(n_rows))

    def _fit_of(self, X: Any, sample_weight: Any, *, with_entropy: bool = False) -> Fit:
        check_is_fitted(self, "weights_")
        rows = as_blocks(self._same_features(X), sample_weight=sample_weight)
        blocks = passes.measure(rows)
        seen = measure_extent(blocks)
        return measure_fit(blocks, self._ready(), seen, with_entropy=with_entropy)

    def _ready(self) -> Ready:
        model = Parameters(self.weights_, self.means_, self.covariances_)
        return mixture_steps.ready_of(model, self.precisions_cholesky_, self.covariance_type)

    def _map(self, X: Any, func: Any, width: int | None, dtype: Any) -> Any:
        check_is_fitted(self, "weights_")
        return self._map_checked(self._same_features(X), func, width, dtype)

    def _map_checked(self, X: Any, func: Any, width: int | None, dtype: Any) -> Any:
        return map_rows(
            X,
            partial(_apply, func=func, ready=self._ready()),
            n_features_in=self.n_features_in_,
            n_features_out=width,
            dtype=dtype,
        )


def _apply(values: NDArray[Any], func: Any, ready: Ready) -> Any:
    return func(values, ready)


def component_of(values: NDArray[Any], ready: Ready) -> NDArray[np.int32]:
    """Return the component of the largest membership of each row, the first of equals."""
    shares = mixture_scores.memberships(values, ready)
    return np.asarray(shares.argmax(axis=1), dtype=np.int32)
