"""The features of the customers of one bucket.

Covers: vectorised sums, distinct orders and days, and medians per customer, exact in integers.
Does not cover: which lines count (`sources.cleaning`) and files (`features.customers`).
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from daskseg.sources.cleaning import CleaningRules, CleanLines

_DAY = np.timedelta64(1, "D")


def _sum_by(customer: NDArray[np.int64], values: NDArray[np.int64], n: int) -> NDArray[np.int64]:
    sums = np.zeros(n, dtype=np.int64)
    np.add.at(sums, customer, values)
    return sums


def _distinct_pairs(
    customer: NDArray[np.int64], codes: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the distinct pairs of customer and code, in order."""
    if not len(codes):
        return customer, codes
    low = int(codes.min())
    span = int(codes.max()) - low + 1
    pairs = np.unique(customer * span + (codes - low))
    return pairs // span, pairs % span + low


def _median_gaps(
    customer: NDArray[np.int64], days: NDArray[np.int64], n: int
) -> NDArray[np.float64]:
    """Return the median gap between consecutive days of each customer; NaN without a gap."""
    same = customer[1:] == customer[:-1]
    owner, gaps = customer[1:][same], np.diff(days)[same]
    order = np.lexsort((gaps, owner))
    gaps = gaps[order]
    counts = np.bincount(owner, minlength=n)
    stops = np.cumsum(counts)
    medians = np.full(n, np.nan)
    some = counts > 0
    start, count = (stops - counts)[some], counts[some]
    medians[some] = (gaps[start + (count - 1) // 2] + gaps[start + count // 2]) / 2
    return medians


def customer_features(kept: CleanLines, rules: CleaningRules) -> pd.DataFrame:
    """Compute the features of one bucket.

    Parameters
    ----------
    kept : CleanLines
    rules : CleaningRules

    Returns
    -------
    DataFrame of n_customers rows in canonical order
        customer_id : str; the features, float64, money in units of money; first_order_date,
        last_order_date : datetime64[us], whole days; spend_net_units : int64, exact.
    """
    n = len(kept.customer_ids)
    snapshot = rules.snapshot.astype("datetime64[D]")
    sale, buyer = kept.is_sale, kept.customer[kept.is_sale]
    net = _sum_by(kept.customer, kept.money, n)
    gross = _sum_by(buyer, kept.money[sale], n)
    counted = np.ones(len(sale), dtype=bool) if rules.returns == "keep" else sale
    orders, _ = _distinct_pairs(kept.customer[counted], kept.order[counted])
    n_orders = np.bincount(orders, minlength=n).astype(np.float64)
    days = kept.time[sale].astype("datetime64[D]").astype(np.int64)
    day_owner, order_days = _distinct_pairs(buyer, days)
    last = np.full(n, np.iinfo(np.int64).min)
    np.maximum.at(last, buyer, days)
    last_day = last.astype("datetime64[D]")
    first_day = kept.first_sale.astype("datetime64[D]")
    unit = 10.0**rules.money_decimals
    return pd.DataFrame({
        "customer_id": pd.array(kept.customer_ids, dtype="str"),
        "recency_days": ((snapshot - last_day) / _DAY).astype(np.float64),
        "n_orders": n_orders,
        "spend_net": net / unit,
        "spend_gross": gross / unit,
        "spend_returned": (gross - net) / unit,
        "aov": gross / (n_orders * unit),
        "return_rate": (gross - net) / gross,
        "tenure_days": ((snapshot - first_day) / _DAY).astype(np.float64),
        "n_order_days": np.bincount(day_owner, minlength=n).astype(np.float64),
        "interpurchase_days_median": _median_gaps(day_owner, order_days, n),
        "first_order_date": first_day.astype("datetime64[us]"),
        "last_order_date": last_day.astype("datetime64[us]"),
        "spend_net_units": net,
    })  # fmt: skip
