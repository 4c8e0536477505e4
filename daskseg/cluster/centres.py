"""Models that are a set of centres: labels, distances and scores of rows.

Covers: what `KMeans` and `MiniBatchKMeans` do after their fit. Does not cover: fits.
"""

from __future__ import annotations

from functools import partial, reduce
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import ClassNamePrefixFeaturesOutMixin, ClusterMixin, TransformerMixin
from sklearn.utils.validation import check_is_fitted

from daskseg.cluster.exact import RowsSource
from daskseg.cluster.lloyd import Outcome
from daskseg.cluster.view import View
from daskseg.engine import passes
from daskseg.engine.blocks import Blocks, Rows
from daskseg.errors import InputError, warn
from daskseg.estimator import RowsEstimator
from daskseg.inputs import as_blocks, map_rows, measure_extent
from daskseg.kernels import grid, labels
from daskseg.kernels.grid import GridSum
from daskseg.kernels.labels import sse_exponent
from daskseg.kernels.moments import Extent
from daskseg.kernels.near import Near

Floats = NDArray[np.float64]


class CentreModel(
    ClassNamePrefixFeaturesOutMixin,
    TransformerMixin,
    ClusterMixin,
    RowsEstimator,
):
    """Base of models whose answer to a row is its nearest centre.

    Attributes
    ----------
    cluster_centers_ : ndarray of shape (n_clusters, n_features)
    """

    cluster_centers_: NDArray[Any]
    n_clusters: int
    labels_: Any
    inertia_: float
    n_iter_: int
    stopped_by_: str
    history_: list[dict[str, float]]
    fill_values_: Floats

    def fit_predict(self, X: Any, y: Any = None, sample_weight: Any = None) -> Any:
        """Compute the clusters and return the label of each row; lazy for lazy input."""
        return self.fit(X, sample_weight=sample_weight).labels_

    def predict(self, X: Any) -> Any:
        """Find the nearest centre of each row.

        Parameters
        ----------
        X : rows of any kind that daskseg takes, of shape (n_rows, n_features)

        Returns
        -------
        ndarray or lazy dask Array of shape (n_rows,), int32
            The smallest index wins a tie.
        """
        check_is_fitted(self, "cluster_centers_")
        return self._map(self._same_features(X), View.labels, None, np.int32)

    def transform(self, X: Any) -> Any:
        """Compute the distance of each row to each centre.

        Parameters
        ----------
        X : rows of any kind that daskseg takes, of shape (n_rows, n_features)

        Returns
        -------
        ndarray or lazy dask Array of shape (n_rows, n_clusters)
            Euclidean, or one minus the cosine; float32 for a model of float32 rows, else
            float64.
        """
        check_is_fitted(self, "cluster_centers_")
        width, dtype = len(self.cluster_centers_), self.cluster_centers_.dtype
        return self._map(self._same_features(X), View.distances, width, dtype)

    def score(self, X: Any, y: Any = None, sample_weight: Any = None) -> float:
        """Return the negative squared error of the centres on rows. Two passes."""
        check_is_fitted(self, "cluster_centers_")
        view = self._view()
        rows = as_blocks(self._same_features(X), sample_weight=sample_weight)
        blocks = view.of(passes.measure(rows))
        seen = measure_extent(blocks, allow_missing=view.gaps)
        return -squared_error(blocks, view, self._wide_centres(), seen)[0]

    @property
    def _n_features_out(self) -> int:
        return len(self.cluster_centers_)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        tags.input_tags.allow_nan = getattr(self, "missing", "error") != "error"
        return tags

    def _view(self) -> View:
        missing = getattr(self, "missing", "error")
        return View(
            on_sphere=getattr(self, "metric", "euclidean") == "cosine",
            fill=None if missing == "error" else self.fill_values_,
            gaps=missing == "partial",
        )

    def _check_enough_rows(self, blocks: Blocks) -> None:
        if blocks.n_rows < self.n_clusters:
            raise InputError(
                f"n_samples={blocks.n_rows} should be >= n_clusters={self.n_clusters}: there are "
                "fewer rows than clusters. Ask for fewer clusters."
            )

    def _warn_of_fewer(self) -> None:
        if len(self.cluster_centers_) < self.n_clusters:
            warn(
                f"n_clusters={self.n_clusters}, but {len(self.cluster_centers_)} clusters were "
                "made: the rows have no more distinct points.",
                stacklevel=3,
            )

    def _wide_centres(self) -> Floats:
        return np.asarray(self.cluster_centers_, dtype=np.float64)

    def _measure(self, source: RowsSource, outcome: Outcome, *, keep_labels: bool) -> None:
        """Set the attributes of a fit; error and labels belong to the centres as returned."""
        self.cluster_centers_ = outcome.centres.astype(source.blocks.dtype)
        self.n_iter_ = outcome.n_iter
        self.stopped_by_ = outcome.stopped_by
        self.history_ = outcome.history
        centres = self._wide_centres()
        sse, is_trusted = source.sse_of(centres)
        # The pass that was kept back may have been spent on the sums.
        may_read = source.passes_left() >= 0
        view, rows = self._view(), source.rows_in_memory()
        if keep_labels or (may_read and not is_trusted and rows is None):
            direct, found = squared_error(
                source.blocks, view, centres, source.extent, keep_labels=keep_labels
            )
            sse = sse if is_trusted else direct
            if keep_labels:
                self.labels_ = np.concatenate(found)
        elif not is_trusted and rows is not None:
            sse = squared_error_of(rows, view, centres, source.extent)
        self.inertia_ = sse

    def _map(self, X: Any, func: Any, width: int | None, dtype: Any) -> Any:
        """Apply ``func(view, values, centres)`` to rows whose features have been checked."""
        view = self._view()
        return map_rows(
            X,
            partial(_apply, func=func, view=view, centres=self._wide_centres()),
            n_features_in=self.n_features_in_,
            n_features_out=width,
            dtype=dtype,
            allow_missing=view.allows_missing,
        )


def _apply(values: NDArray[Any], func: Any, view: View, centres: Floats) -> Any:
    return func(view, view.compare(values), centres)


def _label_block(
    rows: Rows, view: View, centres: Floats, exponent: NDArray[np.int64], keep_labels: bool
) -> tuple[NDArray[np.int32] | None, GridSum]:
    found, sq_dist = view.nearest(rows.values, centres)
    sse = labels.sum_errors(sq_dist, rows.weights, exponent)
    return found if keep_labels else None, sse


def squared_error(
    blocks: Blocks, view: View, centres: Floats, extent: Extent, *, keep_labels: bool = False
) -> tuple[float, list[Any]]:
    """Sum the squared error exactly, and return the labels of each block if wanted. One pass.

    Parameters
    ----------
    blocks : Blocks
        As `View.of` returns them.
    view : View
    centres : ndarray of shape (n_clusters, n_features), float64
    extent : Extent
        Of the blocks.
    keep_labels : bool
    """
    exponent = sse_exponent(extent, centres)
    records = passes.emit(
        blocks,
        _label_block,
        view,
        centres,
        exponent,
        keep_labels,
        name="labels",
        journaled=True,
    )
    return _total([sse for _, sse in records], exponent), [found for found, _ in records]


def squared_error_of(near: list[Near], view: View, centres: Floats, extent: Extent) -> float:
    """Sum the squared error of rows in memory exactly, to the same bits as `squared_error`."""
    exponent = sse_exponent(extent, centres)
    parts = passes.run(_error_of_rows, near, view, centres, exponent, name="errors", local=True)
    return _total(parts, exponent)


def _error_of_rows(near: Near, view: View, centres: Floats, exponent: NDArray[np.int64]) -> GridSum:
    _, sq_dist = view.nearest(near.values, centres)
    return labels.sum_errors(sq_dist, near.weights, exponent)


def _total(parts: list[GridSum], exponent: NDArray[np.int64]) -> float:
    return float(grid.to_floats(reduce(grid.add, parts), exponent)[0])
