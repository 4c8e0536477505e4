"""What all estimators of rows share: names and kinds of input, as scikit-learn checks them.

Covers: recording the features of a fit and comparing those of later rows with them. Does not
cover: the content of the rows (see `inputs`).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.utils.validation import validate_data

from daskseg.engine.blocks import Blocks
from daskseg.errors import InputError, SchemaMismatchError
from daskseg.inputs import as_blocks, as_frame, is_lazy, same_columns


class RowsEstimator(BaseEstimator):
    """Base of estimators that take rows of any kind; not for use by itself.

    Attributes
    ----------
    n_features_in_ : int
    feature_names_in_ : ndarray of str
        Only where the input has names.
    """

    def _take_features(self, X: Any) -> Any:
        """Record the features of `X`; arrays and frames in memory become a checked array."""
        if not is_lazy(X) and not isinstance(X, Blocks):
            return self._checked(X, reset=True)
        blocks = as_blocks(X)
        if blocks.n_features == 0:
            raise InputError("Found array with 0 feature(s) while a minimum of 1 is required.")
        self.n_features_in_ = blocks.n_features
        if blocks.columns is not None:
            self.feature_names_in_ = np.array(blocks.columns, dtype=object)
        elif hasattr(self, "feature_names_in_"):
            del self.feature_names_in_
        return X

    def _same_features(self, X: Any) -> Any:
        """Check that `X` has the features of the fit; what is in memory becomes an array."""
        if not is_lazy(X) and not isinstance(X, Blocks):
            return self._checked(X, reset=False)
        blocks = as_blocks(X)
        if blocks.n_features != self.n_features_in_:
            raise SchemaMismatchError(
                f"X has {blocks.n_features} features, but {self.n_features_in_} features are "
                "expected: those of the fit, in the same order."
            )
        same_columns(blocks.columns, getattr(self, "feature_names_in_", None))
        return X

    def _checked(self, X: Any, *, reset: bool) -> Any:
        return validate_data(
            self,
            as_frame(X),
            reset=reset,
            dtype=[np.float64, np.float32],
            ensure_all_finite=False,
        )
