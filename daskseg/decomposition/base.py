"""What the estimators of principal components share: answers and what is learned.

Covers: projecting and back, the attributes of a fit. Does not cover: sums over rows
(`decomposition.spectrum`) or the features of the input (`estimator`).
"""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils.validation import check_is_fitted

from daskseg.decomposition.spectrum import Spectrum, n_components_of
from daskseg.errors import InputError, UsageError
from daskseg.estimator import RowsEstimator
from daskseg.inputs import as_blocks, as_frame, is_lazy, map_rows
from daskseg.kernels.projection import Projection, project_block, unproject_block

Floats = NDArray[np.float64]
MISSING = ("error", "pairwise")


class Components(ClassNamePrefixFeaturesOutMixin, TransformerMixin, RowsEstimator):
    """Base of the estimators; not for use by itself."""

    whiten: bool
    missing: str

    def transform(self, X: Any) -> Any:
        """Compute the scores of rows: their places along the components.

        Returns
        -------
        ndarray or lazy dask Array of shape (n_rows, n_components_)
            float32 for float32 rows, else float64; each row's bits depend on that row only.

        Raises
        ------
        SchemaMismatchError
            If `X` has another number of columns, or other names.
        InputError
            For infinite values, and for missing ones with ``missing="error"``; for lazy input
            when it is computed. With "pairwise" a missing value counts as the mean.
        """
        check_is_fitted(self, "components_")
        rows = self._same_features(X)
        dtype = as_blocks(rows).dtype
        return map_rows(
            rows,
            partial(_scores, projection=self._projection(), missing=self.missing, dtype=dtype),
            n_features_in=self.n_features_in_,
            n_features_out=self.n_components_,
            dtype=dtype,
            allow_missing=self.missing == "pairwise",
        )

    def inverse_transform(self, X: Any) -> Any:
        """Bring scores back to the features: the points that they stand for.

        Parameters
        ----------
        X : array-like or dask collection of shape (n_rows, n_components_)

        Returns
        -------
        ndarray or lazy dask Array of shape (n_rows, n_features)
        """
        check_is_fitted(self, "components_")
        rows = X if is_lazy(X) else np.asarray(as_frame(X))
        dtype = as_blocks(rows).dtype
        return map_rows(
            rows,
            partial(_values, projection=self._projection(), dtype=dtype),
            n_features_in=self.n_components_,
            n_features_out=self.n_features_in_,
            dtype=dtype,
        )

    def get_covariance(self) -> Floats:
        """Return the covariance that the components describe, of shape (n_features, n_features).

        What they leave over is spread evenly over the other directions, as probabilistic PCA
        has it (Tipping and Bishop, Journal of the Royal Statistical Society B 61, 1999).
        """
        check_is_fitted(self, "components_")
        over = np.maximum(self.explained_variance_ - self.noise_variance_, 0.0)
        model = (self.components_.T * over) @ self.components_
        model.flat[:: len(model) + 1] += self.noise_variance_
        return np.asarray(model)

    @property
    def _n_features_out(self) -> int:
        return int(self.n_components_)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        tags.input_tags.allow_nan = self.missing == "pairwise"
        return tags

    def _projection(self) -> Projection:
        scales = np.ones(len(self.components_))
        if self.whiten:
            # A direction without variance has nothing to scale.
            deviations = np.sqrt(self.explained_variance_)
            floor = np.finfo(np.float64).eps * deviations.max(initial=0.0)
            scales = np.where(deviations > floor, deviations, 1.0)
        return Projection(self.mean_, self.components_, scales)

    def _check_common(self) -> None:
        if self.missing not in MISSING:
            raise UsageError(f"missing={self.missing!r} is neither 'error' nor 'pairwise'.")
        if not isinstance(self.whiten, bool | np.bool_):
            raise UsageError(f"whiten={self.whiten!r} is neither True nor False.")

    def _learn(self, found: Spectrum, wanted: Any) -> None:
        """Set the attributes from a spectrum."""
        n_components = n_components_of(wanted, found)
        self.n_components_ = n_components
        self.mean_ = found.mean
        self.components_ = found.components[:n_components].copy()
        self.explained_variance_ = found.variances[:n_components].copy()
        total = found.total_variance
        self.explained_variance_ratio_ = (
            self.explained_variance_ / total if total > 0 else np.zeros(n_components)
        )
        self.singular_values_ = np.sqrt(self.explained_variance_ * (found.total_weight - 1.0))
        most = found.most_components
        left = max(total - float(np.cumsum(self.explained_variance_)[-1]), 0.0)
        self.noise_variance_ = left / (most - n_components) if most > n_components else 0.0
        self.missing_share_ = np.maximum(1.0 - found.weights / found.total_weight, 0.0)


def _scores(
    values: NDArray[Any], projection: Projection, missing: str, dtype: np.dtype[Any]
) -> NDArray[Any]:
    if missing == "pairwise" and np.isinf(values).any():
        row, column = (int(place) for place in np.argwhere(np.isinf(values))[0])
        raise InputError(
            f"X has an infinite value (infinity) in column {column}, row {row} of its block; with "
            "missing='pairwise' values must be finite or missing."
        )
    return project_block(values, projection).astype(dtype)


def _values(scores: NDArray[Any], projection: Projection, dtype: np.dtype[Any]) -> NDArray[Any]:
    return unproject_block(scores, projection).astype(dtype)
