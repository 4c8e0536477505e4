"""Preparing one block of rows: impute, winsorise, signed logarithm, scale; and back again.

Covers: the pure functions and the parameters they need, so that a fit, a scoring service and
a report prepare rows in the same way. Does not cover: learning the parameters (see
`preprocessing.prepare`).

Scratch memory: one or two float64 copies of the result, and four columns (`scratch_bytes`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class FeaturePlan:
    """How one feature is prepared, with what was counted when that was learned.

    Attributes
    ----------
    feature : str
    low, high : float
        Values outside are moved to these bounds; -inf and inf leave all as they are.
    fill : float
        Takes the place of a missing value (the median).
    transform : {"none", "log1p"}
        ``sign(x) * log1p(abs(x))`` for "log1p", which also takes negative values.
    center, spread : float
        Subtracted and divided by, after the transform.
    indicator : bool
        Whether a 0/1 column that marks missing values is added behind the features.
    missing, clipped : int
        Rows at fit.
    """

    feature: str
    low: float
    high: float
    fill: float
    transform: str
    center: float
    spread: float
    indicator: bool = False
    missing: int = 0
    clipped: int = 0

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON; infinite bounds become null."""
        record = asdict(self)
        for bound in ("low", "high"):
            record[bound] = record[bound] if np.isfinite(record[bound]) else None
        return record

    @classmethod
    def from_dict(cls, record: dict[str, Any]) -> Self:
        """Read what `to_dict` wrote."""
        low = -np.inf if record["low"] is None else record["low"]
        high = np.inf if record["high"] is None else record["high"]
        return cls(**{**record, "low": low, "high": high})


Plan = Sequence[FeaturePlan]


def signed_log1p(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return ``sign(x) * log1p(abs(x))``: monotone, zero at zero, defined for refunds too.

    Examples
    --------
    >>> signed_log1p(np.array([0.0, -1.0])).round(4).tolist()
    [0.0, -0.6931]
    """
    return np.asarray(np.copysign(np.log1p(np.abs(values)), values))


def signed_expm1(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Undo `signed_log1p`."""
    return np.asarray(np.copysign(np.expm1(np.abs(values)), values))


def prepared_names(plan: Plan) -> tuple[str, ...]:
    """Return the names of the prepared columns: the features, then their indicators."""
    flagged = [f"{step.feature}_missing" for step in plan if step.indicator]
    return (*(step.feature for step in plan), *flagged)


def prepare_block(values: NDArray[Any], plan: Plan) -> NDArray[np.float64]:
    """Prepare one block.

    Parameters
    ----------
    values : ndarray of shape (n_rows, n_features), any real dtype
        NaN marks a missing value. Must not be infinite; the caller has checked it.
    plan : sequence of FeaturePlan
        One per column.

    Returns
    -------
    ndarray of shape (n_rows, n_features + n_indicators), float64
    """
    rows = np.asarray(values, dtype=np.float64)
    prepared = np.empty((len(rows), len(prepared_names(plan))), dtype=np.float64)
    extra = len(plan)
    for column, step in enumerate(plan):
        missing = np.isnan(rows[:, column])
        column_values = np.where(missing, step.fill, rows[:, column]).clip(step.low, step.high)
        if step.transform == "log1p":
            column_values = signed_log1p(column_values)
        prepared[:, column] = (column_values - step.center) / step.spread
        if step.indicator:
            prepared[:, extra] = missing
            extra += 1
    return prepared


def restore_block(prepared: NDArray[np.float64], plan: Plan) -> NDArray[np.float64]:
    """Bring prepared rows or centres back to the units of the features; indicators are dropped.

    Parameters
    ----------
    prepared : ndarray of shape (n_rows, n_features + n_indicators), float64

    Returns
    -------
    ndarray of shape (n_rows, n_features), float64
    """
    columns = []
    for column, step in enumerate(plan):
        values = prepared[:, column] * step.spread + step.center
        columns.append(signed_expm1(values) if step.transform == "log1p" else values)
    return np.column_stack(columns)


def scratch_bytes(  # one signature for all kernels
    n_features: int,
    n_centres: int,  # noqa: ARG001
    block_rows: int,
    itemsize: int,
) -> int:
    """Return the memory that `prepare_block` takes beside a block.

    Parameters
    ----------
    n_features : int
        Columns of the result: features and indicators.
    n_centres : int
        Not used.
    block_rows : int
    itemsize : int
        Of the values of the block.
    """
    copies = 1 if itemsize == 8 else 2
    return block_rows * (8 * n_features * copies + 33)
