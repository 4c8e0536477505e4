"""Principal components of rows that arrive in batches, equal to those of all rows at once.

Covers: the estimator `IncrementalPCA`. Does not cover: `decomposition.pca`, which also finds a
few components of very many features.
"""

from __future__ import annotations

from typing import Any, Self

import numpy as np
from sklearn.utils.validation import check_is_fitted

from daskseg.decomposition.base import Components
from daskseg.decomposition.spectrum import (
    check_components,
    check_width,
    spectrum_of,
    sum_products,
)
from daskseg.engine import passes
from daskseg.engine.blocks import Blocks
from daskseg.errors import InputError, SchemaMismatchError, UsageError
from daskseg.inputs import as_blocks, measure_extent
from daskseg.kernels import gram
from daskseg.kernels.gram import Gram, GramFrame
from daskseg.parameters import is_count


class IncrementalPCA(Components):
    """Find the directions in which rows vary most, batch by batch, with nothing forgotten.

    The sums of products of the features are kept, exactly, and not a few vectors: components
    equal those of `PCA` over all rows, whatever the order and the size of the batches.
    scikit-learn's estimator of this name keeps vectors, and drifts on sorted rows.

    Parameters
    ----------
    n_components : None, int or float
        As for `PCA`.
    whiten : bool
    batch_size : int or None
        Rows that `fit` takes at once from arrays in memory; never changes the result.
    missing : {"error", "pairwise"}
        As for `PCA`.

    Attributes
    ----------
    components_, explained_variance_, explained_variance_ratio_, singular_values_, mean_ : ndarray
        As of `PCA`, over all rows so far; after the first two rows.
    var_ : ndarray of shape (n_features_in_,)
        Variances of the features (divided by the number of rows).
    n_components_ : int
    noise_variance_ : float
    missing_share_ : ndarray of shape (n_features_in_,)
    n_samples_seen_ : int
    batch_size_ : int or None
    n_features_in_ : int
    feature_names_in_ : ndarray of str
        Only where the input has names.

    Notes
    -----
    Passes: two per batch, ranges and products; for lazy input, blocks are summed in parallel.
    Memory: as of `PCA`; 2,000 features at most. `fit` gives the bits
    of `PCA`. With `partial_fit`, values are rounded to 2**-43 of the range known when they
    arrive: the order of batches can change results by about 1e-13.

    Examples
    --------
    >>> import numpy as np
    >>> from daskseg.decomposition import PCA, IncrementalPCA
    >>> rows = np.sort(np.random.default_rng(0).normal(size=(100, 3)), axis=0)
    >>> model = IncrementalPCA(n_components=2)
    >>> for start in range(0, 100, 10):
    ...     model = model.partial_fit(rows[start : start + 10])
    >>> bool(np.allclose(model.components_, PCA(2).fit(rows).components_, atol=1e-10))
    True
    """

    def __init__(
        self,
        n_components: float | None = None,
        *,
        whiten: bool = False,
        batch_size: int | None = None,
        missing: str = "error",
    ) -> None:
        self.n_components = n_components
        self.whiten = whiten
        self.batch_size = batch_size
        self.missing = missing

    def fit(self, X: Any, y: Any = None, sample_weight: Any = None) -> Self:
        """Find the components of rows, forgetting earlier ones. Two passes.

        Parameters
        ----------
        X : rows of any kind that daskseg takes, of shape (n_rows, n_features)
        y : ignored
        sample_weight : array-like or dask Array of shape (n_rows,), optional

        Raises
        ------
        UsageError, InputError, MemoryBudgetError
            As `PCA.fit`.
        """
        self._check_parameters()
        rows = self._take_features(X)
        blocks = as_blocks(rows)
        if self.batch_size is not None and isinstance(rows, np.ndarray):
            blocks = Blocks.from_array(rows, block_rows=int(self.batch_size))
        self._keep(*self._summed(blocks, sample_weight, None))
        return self

    def partial_fit(self, X: Any, y: Any = None, sample_weight: Any = None) -> Self:
        """Add rows to those seen before. Two passes over these rows.

        Parameters
        ----------
        X : rows of any kind that daskseg takes, of shape (n_rows, n_features)
            Any number of them, from one.
        y : ignored
        sample_weight : array-like or dask Array of shape (n_rows,), optional

        Raises
        ------
        UsageError, InputError, MemoryBudgetError
            As `PCA.fit`; the rows seen before are kept.
        """
        self._check_parameters()
        earlier: tuple[Gram, GramFrame] | None = getattr(self, "_state", None)
        rows = self._take_features(X) if earlier is None else self._same_features(X)
        total, frame = self._summed(as_blocks(rows), sample_weight, earlier)
        self._store(total, frame)
        return self

    def merge(self, other: IncrementalPCA) -> Self:
        """Add the rows that another estimator has seen; it stays as it is.

        Parameters
        ----------
        other : IncrementalPCA
            Of the same features and the same `missing`.

        Raises
        ------
        SchemaMismatchError
            If the features differ.
        UsageError
            If `missing` differs.

        Notes
        -----
        No pass; a few seconds for a thousand features.
        """
        check_is_fitted(other, "n_samples_seen_")
        if self.missing != other.missing:
            raise UsageError(
                f"missing={self.missing!r} here, but missing={other.missing!r} in the estimator to "
                "merge: their sums do not go together."
            )
        earlier: tuple[Gram, GramFrame] | None = getattr(self, "_state", None)
        if earlier is None:
            self.n_features_in_ = other.n_features_in_
            if hasattr(other, "feature_names_in_"):
                self.feature_names_in_ = other.feature_names_in_
            self._store(*other._state)
            return self
        names = [list(getattr(one, "feature_names_in_", ())) for one in (self, other)]
        if self.n_features_in_ != other.n_features_in_ or (all(names) and names[0] != names[1]):
            raise SchemaMismatchError(
                f"the estimator to merge has {other.n_features_in_} features {names[1]}, but this "
                f"one has {self.n_features_in_} {names[0]}."
            )
        parts = [earlier, gram.moved(*other._state, earlier[1].middle)]
        exponents = np.maximum(*(frame.exponents for _, frame in parts))
        (one, frame), (two, _) = (gram.widened(*part, exponents) for part in parts)
        self._store(gram.merge_grams(one, two), frame)
        return self

    def _check_parameters(self) -> None:
        self._check_common()
        check_components(self.n_components)
        if self.batch_size is not None and not is_count(self.batch_size):
            raise UsageError(
                f"batch_size={self.batch_size!r} is neither None nor a whole number from 1."
            )

    def _store(self, total: Gram, frame: GramFrame) -> None:
        """Keep the sums; set the attributes as soon as there are rows enough."""
        if gram.least_weight(total, frame) > 1 and total.n_rows >= self._least_rows():
            self._keep(total, frame)
        else:
            self._state = (total, frame)
            self.n_samples_seen_ = total.n_rows

    def _least_rows(self) -> int:
        return int(self.n_components or 2) if is_count(self.n_components) else 2

    def _summed(
        self, blocks: Blocks, sample_weight: Any, earlier: tuple[Gram, GramFrame] | None
    ) -> tuple[Gram, GramFrame]:
        """Return the sums over the rows of `blocks` and the earlier ones."""
        blocks = passes.measure(as_blocks(blocks, sample_weight=sample_weight))
        check_width(blocks.n_features)
        if is_count(self.n_components, least=blocks.n_features + 1):
            raise UsageError(
                f"n_components={self.n_components} must be at most n_features={blocks.n_features}."
            )
        pairwise = self.missing == "pairwise"
        seen = measure_extent(blocks, allow_missing=pairwise)
        marks = gram.marks_of(np.full(blocks.n_features, pairwise))
        if earlier is None:
            frame = gram.gram_frame(seen, marks=marks)
            return sum_products(blocks, frame), frame
        new = gram.gram_frame(seen, marks=marks, middle=earlier[1].middle)
        total, frame = gram.widened(*earlier, new.exponents)
        return gram.merge_grams(total, sum_products(blocks, frame)), frame

    def _keep(self, total: Gram, frame: GramFrame) -> None:
        """Set the state and the attributes."""
        if total.n_rows == 1:
            raise InputError("n_samples=1: a covariance takes at least two rows.")
        found = spectrum_of(gram.finish_gram(total, frame))
        self._learn(found, self.n_components)
        self._state = (total, frame)
        self.n_samples_seen_ = total.n_rows
        self.batch_size_ = self.batch_size
        with np.errstate(divide="ignore"):
            self.var_ = found.feature_variances * (1.0 - 1.0 / found.weights)
