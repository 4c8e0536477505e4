"""Learning how to prepare features: impute, winsorise, take logarithms, scale.

Covers: `Prepare`, fitted in shared passes over any data that `inputs` takes. Does not cover:
the arithmetic on a block (`kernels.prepare`) or encoding text (`preprocessing.encoders`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils.validation import check_is_fitted

from daskseg.engine import passes
from daskseg.engine.blocks import Blocks, Rows
from daskseg.errors import InputError, UsageError, warn
from daskseg.inputs import as_blocks, as_frame, map_rows, same_columns
from daskseg.kernels import grid
from daskseg.kernels.prepare import (
    FeaturePlan,
    prepare_block,
    prepared_names,
    restore_block,
    signed_log1p,
)
from daskseg.metrics.quantiles import order_statistics

# Skewness above 2 is the usual line for a substantial departure from a normal distribution:
# West, Finch and Curran, in Hoyle (ed.), Structural Equation Modeling, 1995.
HEAVY_SKEW = 2.0
SCALES = ("zscore", "minmax", "robust", "none")


class _Quantiles(NamedTuple):
    minimum: float
    low: float
    quarter: float
    median: float
    three_quarters: float
    high: float
    maximum: float


def _ranks(n_valid: int, winsor: float) -> list[int]:
    """Return the ranks of min, lower bound, quartiles, upper bound, max of `n_valid` values."""
    last = n_valid - 1
    low = int(np.floor(winsor * last))
    return [1, low + 1, last // 4 + 1, last // 2 + 1, last - last // 4 + 1, last - low + 1, n_valid]


class Prepare(TransformerMixin, BaseEstimator):
    """Impute, winsorise, take signed logarithms and scale, learned in three passes.

    Parameters
    ----------
    winsor : float
        Share of rows on either side of each column that is moved to the bound; 0 for none.
        The bounds are exact order statistics.
    log1p : "auto", or list of str or int
        Columns that get ``sign(x) * log1p(abs(x))``. "auto" takes those whose winsorised
        values have a skewness above 2 and whose logarithms are less skewed.
    scale : {"zscore", "minmax", "robust", "none"}
        What follows: mean and standard deviation, the winsorised range, or median and
        interquartile range.
    missing : {"median", "error"}
        "median" fills in the (lower) median and adds a 0/1 column behind the features for
        every column with missing values.

    Attributes
    ----------
    plan_ : tuple of FeaturePlan
        One per feature: bounds, fill, transform, center and spread, and what was counted.
    n_features_in_ : int
    feature_names_in_ : ndarray of str
        Only where the input has names.

    Notes
    -----
    Cost: three passes (two for exact order statistics, one for moments) and one more where
    numbers of rows are unknown; memory a few copies of a block. The same bits for any chunking
    and number of workers.

    Examples
    --------
    >>> import numpy as np
    >>> from daskseg.preprocessing import Prepare
    >>> rows = np.array([[1.0], [2.0], [3.0], [np.nan]])
    >>> Prepare(winsor=0.0).fit_transform(rows).round(2).tolist()
    [[-1.41, 0.0], [0.0, 0.0], [1.41, 0.0], [0.0, 1.0]]
    """

    def __init__(
        self,
        *,
        winsor: float = 0.005,
        log1p: str | Sequence[str | int] = "auto",
        scale: str = "zscore",
        missing: str = "median",
    ) -> None:
        self.winsor = winsor
        self.log1p = log1p
        self.scale = scale
        self.missing = missing

    def fit(self, X: Any, y: None = None) -> Self:
        """Learn the parameters from rows of any kind that daskseg takes."""
        self._check_parameters()
        blocks = as_blocks(X, allow_missing=True)
        names = blocks.columns or tuple(f"x{i}" for i in range(blocks.n_features))
        if blocks.columns is not None:
            self.feature_names_in_ = np.array(blocks.columns, dtype=object)
        elif hasattr(self, "feature_names_in_"):
            del self.feature_names_in_
        self.n_features_in_ = blocks.n_features
        self.plan_ = self._learn(blocks, names)
        return self

    def transform(self, X: Any) -> Any:
        """Prepare rows; dask in, lazy dask out.

        Returns
        -------
        array of shape (n_rows, n_features + n_indicators), float64
            A value that is missing where the fit saw none is filled in without an indicator.

        Raises
        ------
        SchemaMismatchError
            If `X` has another number of columns, or other names.
        InputError
            For infinite values, and for missing ones with ``missing="error"``; for lazy input
            when it is computed.
        """
        check_is_fitted(self)
        X = as_frame(X)
        same_columns(getattr(X, "columns", None), getattr(self, "feature_names_in_", None))
        names = prepared_names(self.plan_)
        func = partial(prepare_rows, plan=self.plan_, missing=self.missing)
        if isinstance(X, Blocks):
            return X.map(func, n_features=len(names), columns=names, dtype="float64")
        return map_rows(
            X,
            func,
            n_features_in=self.n_features_in_,
            n_features_out=len(names),
            allow_missing=True,
        )

    def inverse_transform(self, X: NDArray[np.float64]) -> NDArray[np.float64]:
        """Bring prepared rows or centres back to the units of the features."""
        check_is_fitted(self)
        return restore_block(np.asarray(X, dtype=np.float64), self.plan_)

    def get_feature_names_out(self, input_features: Any = None) -> NDArray[Any]:
        """Return the names of the prepared columns."""
        check_is_fitted(self)
        return np.array(prepared_names(self.plan_), dtype=object)

    def _check_parameters(self) -> None:
        if not 0 <= self.winsor < 0.5:
            raise UsageError(f"winsor={self.winsor} must be at least 0 and below 0.5")
        if self.scale not in SCALES:
            raise UsageError(f"scale={self.scale!r} is not one of {', '.join(SCALES)}")
        if self.missing not in ("median", "error"):
            raise UsageError(f"missing={self.missing!r} is neither 'median' nor 'error'")

    def _learn(self, blocks: Blocks, names: tuple[str, ...]) -> tuple[FeaturePlan, ...]:
        logged = self._named_logs(names)
        found, counts = order_statistics(blocks, partial(_ranks, winsor=self.winsor))
        n_rows = passes.measure(blocks).n_rows
        marks = [
            _check_column(name, values, int(count), n_rows, self.missing)
            for name, values, count in zip(names, found, counts, strict=True)
        ]
        plain = tuple(
            FeaturePlan(
                name,
                low=mark.low if self.winsor else -np.inf,
                high=mark.high if self.winsor else np.inf,
                fill=mark.median,
                transform="none",
                center=mark.median,
                spread=1.0,
                indicator=bool(n_rows - count),
                missing=n_rows - int(count),
            )
            for name, mark, count in zip(names, marks, counts, strict=True)
        )
        logs = tuple(
            replace(step, transform="log1p", center=float(signed_log1p(np.array(mark.median))))
            for step, mark in zip(plain, marks, strict=True)
        )
        moments = _shape(blocks, plain, logs, marks)
        chosen = []
        for column, name in enumerate(names):
            use_log = logged is None and _is_heavy(moments.skew[:, column])
            use_log = use_log or (logged is not None and name in logged)
            step = logs[column] if use_log else plain[column]
            step = replace(step, clipped=int(moments.clipped[column]))
            chosen.append(self._scaled(step, marks[column], moments, int(use_log), column))
        return tuple(chosen)

    def _named_logs(self, names: tuple[str, ...]) -> set[str] | None:
        if self.log1p == "auto":
            return None
        if isinstance(self.log1p, str):
            raise UsageError(f"log1p={self.log1p!r} must be 'auto' or a list of columns")
        known: dict[str | int, str] = {name: name for name in names}
        known.update(enumerate(names))
        unknown = [column for column in self.log1p if column not in known]
        if unknown:
            raise UsageError(f"log1p names {unknown}, but the columns are {list(names)}")
        return {known[column] for column in self.log1p}

    def _scaled(
        self, step: FeaturePlan, mark: _Quantiles, moments: _Shape, which: int, column: int
    ) -> FeaturePlan:
        transform: Callable[[NDArray[np.float64]], NDArray[np.float64]]
        transform = signed_log1p if step.transform == "log1p" else np.asarray
        points = transform(np.array(mark, dtype=np.float64))
        bounds = points[[1, 5]] if self.winsor else points[[0, 6]]
        center, spread = 0.0, 1.0
        if self.scale == "zscore":
            center = step.center + float(moments.mean[which, column])
            spread = float(moments.spread[which, column])
        elif self.scale == "minmax":
            center, spread = float(bounds[0]), float(bounds[1] - bounds[0])
        elif self.scale == "robust":
            center, spread = float(points[3]), float(points[4] - points[2])
            if spread == 0 and bounds[0] < bounds[1]:
                raise UsageError(
                    f"scale='robust': the middle half of column {step.feature!r} has one value, "
                    "so its interquartile range is 0. Use scale='zscore'."
                )
        if spread == 0:
            when = " after winsorising" if mark.minimum < mark.maximum else ""
            warn(f"column {step.feature!r} has one value only{when}: it does not tell rows apart")
            spread = 1.0
        return replace(step, center=center, spread=spread)


def _check_column(
    name: str, values: NDArray[np.float64], count: int, n_rows: int, missing: str
) -> _Quantiles:
    if n_rows == 0:
        raise InputError("the table has no rows: there is nothing to learn from")
    if count == 0:
        raise InputError(f"column {name!r} has no value at all: leave it out")
    mark = _Quantiles(*(float(value) for value in values))
    if not np.isfinite([mark.minimum, mark.maximum]).all():
        raise InputError(
            f"column {name!r} has infinite values (its range is {mark.minimum} to "
            f"{mark.maximum}). Replace them with numbers or with missing values."
        )
    if missing == "error" and count < n_rows:
        raise InputError(
            f"column {name!r} has {n_rows - count} missing values of {n_rows} and "
            "missing='error' was asked for. Use missing='median', or fill them in."
        )
    return mark


def _is_heavy(skew: NDArray[np.float64]) -> bool:
    plain, logged = skew
    return bool(plain > HEAVY_SKEW and abs(logged) < plain)


def prepare_rows(
    values: NDArray[Any], plan: tuple[FeaturePlan, ...], missing: str
) -> NDArray[np.float64]:
    """Prepare one block after checking what the fit checked."""
    wrong = np.isinf(values) if missing == "median" else ~np.isfinite(values)
    if wrong.any():
        row, column = (int(place) for place in np.argwhere(wrong)[0])
        raise InputError(
            f"column {plan[column].feature!r} has the value {values[row, column]} in row {row} of "
            f"its block, {int(wrong.sum())} such values there. Prepare takes finite numbers"
            f"{' and missing values' if missing == 'median' else ' only, as missing=error asks'}."
        )
    return prepare_block(values, plan)


class _Shape(NamedTuple):
    """Moments of the plain (row 0) and the logged (row 1) columns about their centers."""

    mean: NDArray[np.float64]
    spread: NDArray[np.float64]
    skew: NDArray[np.float64]
    clipped: NDArray[np.int64]


class _Powers(NamedTuple):
    n_rows: int
    clipped: NDArray[np.int64]
    sums: tuple[grid.GridSum, ...]


def _powers(
    rows: Rows,
    plans: tuple[tuple[FeaturePlan, ...], ...],
    exponents: NDArray[np.int64],
) -> _Powers:
    """Sum the first three powers of the prepared columns of one block, without indicators.

    Columns are divided by a power of two that bounds them: exact, and no power overflows.
    """
    width = len(plans[0])
    both = np.hstack([prepare_block(rows.values, plan)[:, :width] for plan in plans])
    both = np.ldexp(both, -exponents.astype(np.int32))
    values = np.asarray(rows.values, dtype=np.float64)
    low = np.array([step.low for step in plans[0]])
    high = np.array([step.high for step in plans[0]])
    clipped = ((values < low) | (values > high)).sum(axis=0)
    powers = (both, both**2, both**3)
    sums = tuple(grid.sum_columns(power, np.zeros_like(exponents)) for power in powers)
    return _Powers(len(values), clipped.astype(np.int64), sums)


def _add_powers(a: _Powers, b: _Powers) -> _Powers:
    sums = tuple(grid.add(left, right) for left, right in zip(a.sums, b.sums, strict=True))
    return _Powers(a.n_rows + b.n_rows, a.clipped + b.clipped, sums)


def _shape(
    blocks: Blocks,
    plain: tuple[FeaturePlan, ...],
    logs: tuple[FeaturePlan, ...],
    marks: list[_Quantiles],
) -> _Shape:
    """Measure mean, deviation and skewness of the plain and the logged columns. One pass."""
    ends = np.array([[mark.minimum, mark.maximum] for mark in marks]).T
    bounds = np.hstack([prepare_block(ends, plan)[:, : len(plain)] for plan in (plain, logs)])
    exponents = grid.range_exponents(bounds[0], bounds[1])
    found = passes.reduce(
        blocks, _powers, _add_powers, (plain, logs), exponents, name="prepare-moments"
    )
    first, second, third = (
        grid.to_floats(total, np.zeros_like(exponents), np.array(found.n_rows))
        for total in found.sums
    )
    variance = np.maximum(second - first**2, 0.0)
    central = third - 3 * first * second + 2 * first**3
    with np.errstate(invalid="ignore", divide="ignore"):
        skew = np.where(variance > 0, central / variance**1.5, 0.0)
    powers_of_two = exponents.astype(np.int32)
    first, spread = np.ldexp(first, powers_of_two), np.ldexp(np.sqrt(variance), powers_of_two)
    shape = (2, len(plain))
    return _Shape(first.reshape(shape), spread.reshape(shape), skew.reshape(shape), found.clipped)
