"""Models that give each micro-cluster a label, and each row that of its micro-cluster.

Covers: labels of rows by a table, for the rows of the fit and for others. Does not cover: the
tables (see `cluster.agglomerative`, `cluster.consensus`).
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import ClusterMixin
from sklearn.utils.validation import check_is_fitted

from daskseg.cluster.micro import Compressed, Micro, compress
from daskseg.engine.blocks import Blocks
from daskseg.errors import InputError, UsageError
from daskseg.estimator import RowsEstimator
from daskseg.inputs import map_rows
from daskseg.kernels.labels import labels_of
from daskseg.parameters import check_count

Floats = NDArray[np.float64]
Table = NDArray[np.int32]
# The tree of so many takes a matrix of half a gibibyte.
MOST_MICRO = 8_192


class MicroModel(ClusterMixin, RowsEstimator):
    """Base of models on micro-clusters; not for use by itself.

    Attributes
    ----------
    micro_labels_ : ndarray or lazy dask Array of shape (n_rows,), int32
    micro_places_, micro_centers_, micro_weights_, micro_inertias_ : ndarray, float64
    """

    n_micro: int
    n_clusters: int | None
    labels_: Any
    micro_labels_: Any
    micro_places_: Floats
    micro_centers_: Floats
    micro_weights_: Floats
    micro_inertias_: Floats
    _micro: Micro
    _table: Table

    def fit_predict(self, X: Any, y: Any = None, sample_weight: Any = None) -> Any:
        """Fit, and return the label of each row; lazy for lazy input."""
        return self.fit(X, sample_weight=sample_weight).labels_

    def predict(self, X: Any) -> Any:
        """Return the label of the micro-cluster that is nearest to each row.

        Parameters
        ----------
        X : rows of any kind that daskseg takes, of shape (n_rows, n_features)

        Returns
        -------
        ndarray or lazy dask Array of shape (n_rows,), int32
        """
        check_is_fitted(self, "micro_centers_")
        return self._map_micro(self._same_features(X), self._table)

    def _map_micro(self, X: Any, table: NDArray[Any]) -> Any:
        """Look up the micro-cluster of each row in a table."""
        return map_rows(
            X,
            partial(_look_up, places=self._micro.places, table=table),
            n_features_in=self.n_features_in_,
            n_features_out=None,
            dtype=table.dtype,
        )

    def _spread(self, table: NDArray[Any]) -> Any:
        """Look up the rows of the fit in a table; no pass where they are in memory."""
        if isinstance(self.micro_labels_, np.ndarray):
            return table[self.micro_labels_]
        return self.micro_labels_.map_blocks(_take, table, dtype=table.dtype)

    def _compress(self, blocks: Blocks, seed: int, *, keep_labels: bool) -> Compressed:
        """Make micro-clusters, and set what is told of them."""
        found = compress(blocks, int(self.n_micro), seed, keep_labels=keep_labels)
        self._micro = found.micro
        self.micro_places_ = found.micro.places
        self.micro_centers_ = found.micro.means
        self.micro_weights_ = found.micro.weights
        self.micro_inertias_ = found.micro.sses
        if keep_labels:
            self.micro_labels_ = found.labels
        else:
            numbers = np.arange(len(found.micro.means), dtype=np.int32)
            self.micro_labels_ = self._map_micro(replace(blocks, weights=None), numbers)
        return found

    def _check_micro(self) -> None:
        check_count("n_micro", self.n_micro, 2)
        if int(self.n_micro) > MOST_MICRO:
            raise UsageError(
                f"n_micro={self.n_micro:,}, but the distances of more than {MOST_MICRO:,} "
                "micro-clusters to each other take more than 512 MiB. Take fewer; 1,000 to 5,000 "
                "will do."
            )
        if self.n_clusters is None:
            return
        check_count("n_clusters", self.n_clusters)
        if int(self.n_clusters) > int(self.n_micro):
            raise UsageError(
                f"n_clusters={self.n_clusters}, but clusters are made of n_micro={self.n_micro} "
                "micro-clusters. Take more of these, at least ten for each cluster."
            )

    def _check_enough(self, blocks: Blocks) -> None:
        least = 1 if self.n_clusters is None else int(self.n_clusters)
        if blocks.n_rows < least:
            raise InputError(
                f"n_samples={blocks.n_rows} should be >= n_clusters={least}: there are fewer rows "
                "than clusters. Ask for fewer clusters."
            )


def _look_up(values: NDArray[Any], places: Floats, table: NDArray[Any]) -> NDArray[Any]:
    return np.asarray(table[labels_of(values, places)])


def _take(numbers: NDArray[np.int32], table: NDArray[Any]) -> NDArray[Any]:
    return np.asarray(table[numbers])
