"""Scores 1 to 5 that depend on values only.

Covers: score = 1 + floor(5 x share of customers strictly worse), at most 5, by cut points that
can be stored and used again; the same value always has the same score, whatever the order of
the customers. Does not cover: finding order statistics (see `metrics.quantiles`) and names
(see `features.schemes`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from daskseg.errors import InputError

N_SCORES = 5
# The scored features in the order R, F, M, and whether more is better.
SCORED = {"recency_days": False, "n_orders": True, "spend_net": True}
SCORE_NAMES = ("r_score", "f_score", "m_score")


def cut_ranks(n_values: int, higher_is_better: bool = True) -> list[int]:
    """Return the ranks whose values cut a feature into scores.

    Parameters
    ----------
    n_values : int
        Number of customers, at least 1.
    higher_is_better : bool

    Returns
    -------
    list of four int
        Ranks from 1 (smallest value) to `n_values`, as `metrics.quantiles.order_statistics`
        takes them.

    Examples
    --------
    >>> cut_ranks(10), cut_ranks(10, higher_is_better=False)
    ([2, 4, 6, 8], [9, 7, 5, 3])
    """
    # At least r of n customers are worse  <=>  the value beats the r-th worst one.
    worst_first = [-(-step * n_values // N_SCORES) for step in range(1, N_SCORES)]
    return worst_first if higher_is_better else [n_values + 1 - rank for rank in worst_first]


def both_cut_ranks(n_values: int) -> list[int]:
    """Return the ranks for rising and then for falling features, for one shared selection."""
    return cut_ranks(n_values) + cut_ranks(n_values, higher_is_better=False)


def cut_points(statistics: Mapping[str, Sequence[float]]) -> dict[str, tuple[float, ...]]:
    """Take the cut points of R, F and M from order statistics.

    Parameters
    ----------
    statistics : mapping of feature to eight float
        The values at `both_cut_ranks`, for recency_days, n_orders and spend_net.

    Returns
    -------
    dict of feature to four float
        Ascending.

    Examples
    --------
    >>> ranks = [rank - 1 for rank in both_cut_ranks(5)]
    >>> column = np.array([1.0, 2.0, 3.0, 4.0, 5.0])[ranks]
    >>> cut_points({"recency_days": column, "n_orders": column, "spend_net": column})["n_orders"]
    (1.0, 2.0, 3.0, 4.0)
    """
    cuts = {}
    for feature, higher_is_better in SCORED.items():
        values = [float(value) for value in statistics[feature]]
        half = values[: N_SCORES - 1] if higher_is_better else values[N_SCORES - 1 :]
        cuts[feature] = tuple(sorted(half))
    return cuts


def cut_points_in_memory(features: pd.DataFrame) -> dict[str, tuple[float, ...]]:
    """Compute the cut points of a frame of features, at least one row."""
    ranks = np.array(both_cut_ranks(len(features))) - 1
    return cut_points({name: np.sort(features[name].to_numpy())[ranks] for name in SCORED})


def score_values(
    values: NDArray[np.float64], cuts: Sequence[float], higher_is_better: bool = True
) -> NDArray[np.int8]:
    """Score values by stored cut points.

    Parameters
    ----------
    values : ndarray of shape (n_customers,), float64
        Without NaN.
    cuts : sequence of four float
        From `cut_points`: of these customers, or of an earlier study.
    higher_is_better : bool

    Returns
    -------
    ndarray of shape (n_customers,), int8
        1 (worst) to 5 (best).

    Raises
    ------
    InputError
        A value is NaN.

    Examples
    --------
    >>> score_values(np.array([1.0, 1.0, 2.0, 9.0]), [1.0, 1.0, 2.0, 3.0]).tolist()
    [1, 1, 3, 5]
    """
    missing = np.isnan(values)
    if missing.any():
        raise InputError(
            f"{int(missing.sum()):,} of {len(values):,} values have no score because they are "
            f"missing, the first at row {int(missing.argmax()):,}: scores need a number for each "
            "customer."
        )
    edges = np.asarray(cuts, dtype=np.float64)
    if higher_is_better:
        beaten = np.searchsorted(edges, values, side="left")
    else:
        beaten = len(edges) - np.searchsorted(edges, values, side="right")
    return (1 + beaten).astype(np.int8)


def rfm_scores(features: pd.DataFrame, cuts: Mapping[str, Sequence[float]]) -> pd.DataFrame:
    """Score customers on recency, orders and spend.

    Parameters
    ----------
    features : DataFrame of n_customers rows
        With recency_days, n_orders and spend_net.
    cuts : mapping of feature to four float

    Returns
    -------
    DataFrame
        r_score, f_score, m_score : int8, 1 to 5; the index of `features`.
    """
    scored = {
        name: score_values(features[feature].to_numpy(dtype=np.float64), cuts[feature], higher)
        for name, (feature, higher) in zip(SCORE_NAMES, SCORED.items(), strict=True)
    }
    return pd.DataFrame(scored, index=features.index)


def rfm_codes(r: NDArray[Any], f: NDArray[Any], m: NDArray[Any]) -> NDArray[Any]:
    """Write scores as text.

    Examples
    --------
    >>> rfm_codes(np.array([5]), np.array([3]), np.array([4])).tolist()
    ['R5F3M4']
    """
    grid = range(1, N_SCORES + 1)
    texts = np.array([f"R{a}F{b}M{c}" for a in grid for b in grid for c in grid], dtype=object)
    return texts[cell_of(r, f, m)]


def cell_of(r: NDArray[Any], f: NDArray[Any], m: NDArray[Any]) -> NDArray[np.int64]:
    """Return the number 0 to 124 of each triple of scores: R first, M last.

    Examples
    --------
    >>> cell_of(np.array([1, 5]), np.array([1, 5]), np.array([2, 5])).tolist()
    [1, 124]
    """
    worth = [np.asarray(score, dtype=np.int64) - 1 for score in (r, f, m)]
    return (worth[0] * N_SCORES + worth[1]) * N_SCORES + worth[2]
