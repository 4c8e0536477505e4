"""Small models of segments and tables of customers for the tests of `daskseg.segments`."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from daskseg.features.definitions import feature_records
from daskseg.features.schemes import load_scheme
from daskseg.kernels.prepare import FeaturePlan
from daskseg.segments.grouping import CentreGrouping
from daskseg.segments.model import Feature, SegmentModel, scheme_record

IDENTITY: dict[str, Any] = {
    "name": "shop",
    "version": "1",
    "run_id": "00ff00ff00ff00ff",
    "fingerprint": "abc-3",
    "snapshot": "2011-12-10",
    "seed": 0,
    "versions": {"numpy": "2"},
}
CUTS = {
    "recency_days": [10.0, 30.0, 90.0, 200.0],
    "n_orders": [1.0, 2.0, 4.0, 8.0],
    "spend_net": [50.0, 200.0, 500.0, 2_000.0],
}
ACTIVE = ("recency_days", "n_orders", "spend_net")
# What segments.parquet promises; RFM studies add rfm_code and rfm_name.
COLUMNS = [
    "customer_id",
    "segment_id",
    "segment_name",
    "confidence",
    "second_segment_id",
    "distance",
    "is_outlier",
    "model_name",
    "model_version",
    "snapshot_date",
    "run_id",
]


def rfm_customers(n_rows: int = 200, seed: int = 0) -> pd.DataFrame:
    """Customers with every published feature; some have no second order."""
    generator = np.random.default_rng(seed)
    orders = generator.geometric(0.3, n_rows).astype(float)
    spend = (orders * generator.lognormal(4, 1, n_rows)).round(2)
    spend[:3] = [-12.5, 0.0, 50.0]
    return pd.DataFrame({
        "customer_id": pd.Series([f"C{row:05}" for row in range(n_rows)], dtype="str"),
        "recency_days": generator.integers(1, 365, n_rows).astype(float),
        "n_orders": orders,
        "spend_net": spend,
        "spend_gross": spend + 1.25,
        "spend_returned": np.full(n_rows, 1.25),
        "aov": (spend / orders).round(2),
        "return_rate": np.full(n_rows, 0.5),
        "tenure_days": generator.integers(1, 700, n_rows).astype(float),
        "n_order_days": orders,
        "interpurchase_days_median": np.where(orders > 1, 30.0 / orders, np.nan),
    })  # fmt: skip


def rfm_model(**changes: Any) -> SegmentModel:
    """A model of three segments of a ledger."""
    parts: dict[str, Any] = {
        "kind": "rfm",
        "features": tuple(
            Feature(**record) for record in feature_records(snapshot="2011-12-10", money_decimals=2)
        ),
        "plan": (
            FeaturePlan("recency_days", 2.0, 350.0, 180.0, "none", 180.0, 100.0, clipped=3),
            FeaturePlan("n_orders", 1.0, 20.0, 2.0, "log1p", 1.3, 0.5),
            FeaturePlan("spend_net", -20.0, 5_000.0, 150.0, "log1p", 5.0, 1.2),
        ),
        "grouping": CentreGrouping(
            np.array([[-1.0, 1.0, 1.0], [0.5, 0.5, 0.0], [0.5, -1.0, -1.0]])
        ),
        "outlier_dist": np.array([2.0, 1.0, 1.5]),
        "segment_names": ("Champions", "Mostly Loyal", "Long ago, one order, small spend"),
        "definitions": {"kind": "rfm", "returns": "net", "window": None},
        "scheme": scheme_record(load_scheme("rfm11")),
        "cut_points": CUTS,
        "identity": IDENTITY,
    }
    return SegmentModel(**{**parts, **changes})


def table_model(**changes: Any) -> SegmentModel:
    """A model of two segments of a table; `visits` may be missing, `age` is passive."""
    parts: dict[str, Any] = {
        "kind": "segment",
        "features": (
            Feature("visits", "visits", "", "active", "The column visits of the table."),
            Feature("age", "age", "", "passive", "The column age of the table."),
            Feature("spend", "spend", "", "active", "The column spend of the table."),
        ),
        "plan": (
            FeaturePlan("visits", -np.inf, np.inf, 5.0, "none", 5.0, 2.0, indicator=True),
            FeaturePlan("spend", 0.0, 100.0, 50.0, "none", 50.0, 25.0),
        ),
        "grouping": CentreGrouping(np.array([[1.0, 1.0, 0.0], [-1.0, -1.0, 0.5]])),
        "outlier_dist": np.array([1.0, 1.0]),
        "segment_names": ("Higher spend", "Lower spend"),
        "definitions": {"kind": "segment", "id": "id"},
        "identity": {**IDENTITY, "snapshot": None},
    }
    return SegmentModel(**{**parts, **changes})
