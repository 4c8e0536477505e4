"""The catalogue of customer features: names, units, roles, and sentences for people.

Covers: what each feature is called and means under the chosen switches.
Does not cover: computing them (see `features.customers`). The sentences stand in
``catalogue/rfm.toml``.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from daskseg.texts import text


class FeatureDefinition(NamedTuple):
    """One feature of a customer; all are float64."""

    name: str
    unit: str
    role: str
    higher_is_better: bool
    decimals: int | None
    money: bool


def _define(
    name: str, unit: str, *, active: bool = False, better: bool = True, decimals: int | None = 0
) -> FeatureDefinition:
    role = "active" if active else "passive"
    return FeatureDefinition(name, unit, role, better, decimals, unit == "money")


# Decimals None: those of the ledger's money.
RFM_FEATURES = (
    _define("recency_days", "days", active=True, better=False),
    _define("n_orders", "orders", active=True),
    _define("spend_net", "money", active=True, decimals=None),
    _define("spend_gross", "money", decimals=None),
    _define("spend_returned", "money", better=False, decimals=None),
    _define("aov", "money", decimals=2),
    _define("return_rate", "share", better=False, decimals=3),
    _define("tenure_days", "days"),
    _define("n_order_days", "days"),
    _define("interpurchase_days_median", "days", better=False, decimals=1),
)
FEATURE_NAMES = tuple(feature.name for feature in RFM_FEATURES)


def feature_label(name: str) -> str:
    """Return what a feature is called in a report.

    Examples
    --------
    >>> feature_label("n_orders")
    'Orders'
    """
    return text(f"rfm.{name}.label")


def define_feature(
    name: str, *, snapshot: str, returns: str = "net", window_days: int | None = None
) -> str:
    """Say in a sentence how a feature is computed.

    Parameters
    ----------
    name : str
        One of `FEATURE_NAMES`.
    snapshot : str
        The day from which is counted, as it is to be read.
    returns : {"net", "match", "drop", "keep"}
    window_days : int, optional

    Examples
    --------
    >>> define_feature("recency_days", snapshot="2011-12-10")
    'Days from the day of the last order to 2011-12-10; a return is no order.'
    """
    window = ""
    if window_days is not None and name != "tenure_days":
        window = text("rfm.window", days=f"{window_days:,}", snapshot=snapshot)
    variant = f"rfm.{name}.{returns}"
    try:
        sentence = text(variant, snapshot=snapshot)
    except KeyError:
        # Most sentences do not depend on the treatment of returns.
        sentence = text(f"rfm.{name}.definition", snapshot=snapshot)
    return f"{sentence}{window}."


def feature_records(
    *, snapshot: str, money_decimals: int, returns: str = "net", window_days: int | None = None
) -> list[dict[str, Any]]:
    """Return the definitions as report.json holds them, all but the counts of missing values."""
    return [
        {
            "name": feature.name,
            "label": feature_label(feature.name),
            "unit": feature.unit,
            "role": feature.role,
            "definition": define_feature(
                feature.name, snapshot=snapshot, returns=returns, window_days=window_days
            ),
            "decimals": money_decimals if feature.decimals is None else feature.decimals,
            "higher_is_better": feature.higher_is_better,
            "money": feature.money,
        }
        for feature in RFM_FEATURES
    ]
