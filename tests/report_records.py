"""Records of made-up studies for the tests of the report."""

from __future__ import annotations

from typing import Any

_SEGMENTS: list[tuple[Any, ...]] = [
    # name, kind, fit, rule, customers, money, recency, orders, spend, sentence, action
    (
        "Champions",
        "rule",
        0.74,
        "Champions",
        612,
        4_911_210.412,
        9,
        11,
        3890.4,
        "Last order 9 days ago (typical: 51), 11 orders (typical: 2), 3,890 spent (typical: 655).",
        "Reward and ask for referrals; early access, no discounts.",
    ),
    (
        "mostly Loyal",
        "mostly",
        0.58,
        "Loyal",
        803,
        1_702_118.07,
        24,
        5,
        1480.2,
        "Last order 24 days ago (typical: 51), 5 orders (typical: 2), 1,480 spent (typical: 655).",
        "Offer a membership or a subscription; recommend what goes with the last basket.",
    ),
    (
        "mostly At Risk",
        "mostly",
        0.56,
        "At Risk",
        540,
        851_412.5,
        141,
        4,
        1190.0,
        "Last order 141 days ago (typical: 51), 4 orders (typical: 2), 1,190 spent (typical: 655).",
        "Win back personally: remind of what they bought, ask what went wrong, one limited offer.",
    ),
    (
        "Recent, 1–2 orders, small spend",
        "neutral",
        0.41,
        "New Customers",
        941,
        401_733.9,
        28,
        1,
        310.5,
        "Last order 28 days ago (typical: 51), 1 order (typical: 2), 311 spent (typical: 655).",
        "Make the second order easy: onboarding messages, a reminder after the usual interval.",
    ),
    (
        "Hibernating",
        "rule",
        0.63,
        "Hibernating",
        802,
        300_124.1,
        190,
        1,
        330.1,
        "Last order 190 days ago (typical: 51), 1 order (typical: 2), 330 spent (typical: 655).",
        "Cheap channels only; a seasonal reminder twice a year.",
    ),
    (
        "Lost",
        "rule",
        0.71,
        "Lost",
        640,
        111_920.442,
        298,
        1,
        190.3,
        "Last order 298 days ago (typical: 51), 1 order (typical: 2), 190 spent (typical: 655).",
        "Leave in peace; do not pay for reach.",
    ),
]
_RULES = (
    "Champions",
    "Loyal",
    "Potential Loyalist",
    "New Customers",
    "Promising",
    "Need Attention",
    "About to Sleep",
    "At Risk",
    "Can't Lose Them",
    "Hibernating",
    "Lost",
)
_FEATURES: list[tuple[Any, ...]] = [
    # name, label, unit, role, definition, decimals, higher, money, typical of all
    (
        "recency_days",
        "Days since last order",
        "days",
        "active",
        "whole days between the snapshot and the day of the last order",
        0,
        False,
        False,
        51.0,
    ),
    (
        "n_orders",
        "Orders",
        "orders",
        "active",
        "number of distinct orders with a positive amount",
        0,
        True,
        False,
        2.0,
    ),
    (
        "spend_net",
        "Net spend",
        "money",
        "active",
        "purchases minus returns, in the window",
        3,
        True,
        True,
        655.3,
    ),
    (
        "spend_gross",
        "Gross spend",
        "money",
        "passive",
        "purchases before returns, in the window",
        3,
        True,
        True,
        668.6,
    ),
    (
        "spend_returned",
        "Returned",
        "money",
        "passive",
        "money given back for returns and cancellations",
        3,
        False,
        True,
        0.0,
    ),
    (
        "aov",
        "Average order value",
        "money",
        "passive",
        "gross spend divided by orders",
        2,
        True,
        True,
        293.9,
    ),
    (
        "return_rate",
        "Return rate",
        "share",
        "passive",
        "returned money divided by gross spend",
        3,
        False,
        False,
        0.0,
    ),
    (
        "tenure_days",
        "Days since first order",
        "days",
        "passive",
        "whole days between the first order and the snapshot",
        0,
        True,
        False,
        249.0,
    ),
    (
        "n_order_days",
        "Days with an order",
        "days",
        "passive",
        "number of distinct days with an order",
        0,
        True,
        False,
        2.0,
    ),
    (
        "interpurchase_days_median",
        "Median days between orders",
        "days",
        "passive",
        "median gap between neighbouring order days; none for one-timers",
        1,
        False,
        False,
        46.0,
    ),
]
_STEPS: list[tuple[Any, ...]] = [
    ("raw", "Ledger as read", "total", 541909, 4372, 9747747.934, 541909),
    ("dates", "Outside the dates", "set_aside", 0, 0, 0.0, 541909),
    ("duplicates", "Exact duplicate lines", "kept", 5268, 1087, 12345.6, 541909),
    ("no_customer_id", "No customer id", "unattributed", 135080, 0, 1447682.12, 406829),
    ("adjustments", "Manual adjustments", "set_aside", 5, 0, -11062.06, 406824),
    ("free_lines", "Lines without a price", "set_aside", 40, 31, 0.0, 406784),
    ("returns", "Returns and cancellations", "netted", 8905, 1589, -611342.09, 406784),
]


def rfm_record() -> dict[str, Any]:
    """A full study of a ledger: six segments, ten features, scheme, waterfall, accounting."""
    n_all = sum(row[4] for row in _SEGMENTS)
    money_all = sum(row[5] for row in _SEGMENTS)
    segments = [_segment(place, row, n_all, money_all) for place, row in enumerate(_SEGMENTS, 1)]
    return {
        "format_version": 1,
        "kind": "rfm",
        "title": "Customer segments of online_retail",
        "verdict": {
            "headline": "6 segments: 14 % of customers bring 59 % of spend.",
            "sentences": [
                "1.26 million of spend sits with customers who have not ordered for 100 days.",
                "The groups overlap: useful parts of a continuum, not separate kinds of people.",
            ],
            "tentative": ["The ledger covers 374 days: seasonal customers may look lost."],
        },
        "data": {
            "source": "online_retail.parquet",
            "rows": 541909,
            "customers": n_all,
            "first_date": "2010-12-01",
            "last_date": "2011-12-09",
            "snapshot": "2011-12-10",
            "window": None,
            "currency": "GBP",
            "money_decimals": 3,
            "value_feature": "spend_net",
        },
        "waterfall": [
            {
                "step": step,
                "label": label,
                "action": action,
                "rows": rows,
                "customers": customers,
                "money": money,
                "left_rows": left,
                "left_customers": 4372,
                "left_money": 0.0,
            }
            for step, label, action, rows, customers, money, left in _STEPS
        ],
        "accounting": {
            "segments": 8278519.424,
            "unattributed": 1491290.57,
            "returns_only": -11000.0,
            "set_aside": {
                "outside_dates": 0,
                "duplicates": 0,
                "non_products": 0,
                "adjustments": -11062.06,
                "free_lines": 0,
                "returns": 0,
            },
            "total": 9747747.934,
            "returns_only_customers": 34,
        },
        "segments": segments,
        "features": [
            {
                "name": name,
                "label": label,
                "unit": unit,
                "role": role,
                "definition": definition,
                "decimals": decimals,
                "higher_is_better": higher,
                "missing": 0,
                "money": money,
            }
            for name, label, unit, role, definition, decimals, higher, money, _ in _FEATURES
        ],
        "choice": _choice(),
        "scheme": _scheme(),
        "prepare": [
            {
                "feature": "recency_days",
                "winsor": [1.0, 372.0],
                "clipped": 21,
                "transform": "log1p",
                "scale": "zscore",
                "center": 3.81,
                "spread": 1.34,
                "missing_filled": 0,
                "fill": 51.0,
            },
            {
                "feature": "n_orders",
                "winsor": [1.0, 31.0],
                "clipped": 20,
                "transform": "log1p",
                "scale": "zscore",
                "center": 1.345,
                "spread": 0.683,
                "missing_filled": 0,
                "fill": 2.0,
            },
            {
                "feature": "spend_net",
                "winsor": [-3.2, 18000.5],
                "clipped": 44,
                "transform": "log1p",
                "scale": "zscore",
                "center": 6.581,
                "spread": 1.26,
                "missing_filled": 3,
                "fill": 655.3,
            },
        ],
        "notices": [
            "16 customers have net spend of zero or less: the signed logarithm handles them.",
            "25 % of the rows have no customer id: their spend is in the total, but in no segment.",
        ],
        "run": {
            "run_id": "7f3c91ab20de",
            "seed": 0,
            "versions": {
                "daskseg": "0.1.0",
                "python": "3.11.7",
                "numpy": "2.4.6",
                "dask": "2026.8.0",
            },
            "fingerprint": "b2f1c0a97e1d4c55",
            "snapshot": "2011-12-10",
            "model": {
                "kind": "kmeans",
                "inertia": 2744.81,
                "n_passes": 12,
                "stopped_by": "fixpoint",
            },
        },
    }


def firm_record() -> dict[str, Any]:
    """The same study with what a sample says of each segment: as studies are recorded today."""
    record = rfm_record()
    for place, segment in enumerate(record["segments"]):
        least = -0.3 + 0.05 * place
        segment["silhouette_quantiles"] = [least + 0.01 * step for step in range(101)]
        segment["jaccard"] = 0.95 - 0.08 * place
    record["choice"]["sample"] = {"rows": 4338, "is_whole": True}
    coarser = [(1, "a", 1.0), (2, "a", 0.94), (2, "b", 0.06), (3, "b", 1.0), (4, "c", 1.0)]
    coarser += [(5, "d", 1.0), (6, "e", 0.97), (6, "d", 0.03)]
    finer = [(1, "a", 0.6), (1, "b", 0.4), (2, "b", 0.2), (2, "c", 0.8), (3, "d", 1.0)]
    finer += [(4, "e", 1.0), (5, "f", 1.0), (6, "g", 0.995), (6, "f", 0.005)]
    record["choice"]["moves"] = {"coarser": _moves(5, coarser), "finer": _moves(7, finer)}
    return record


def _moves(k: int, flows: list[tuple[int, str, float]]) -> dict[str, Any]:
    """Shares of the customers by flows (segment, letter of the other, share of the segment)."""
    n_all = sum(row[4] for row in _SEGMENTS)
    sizes = {place: row[4] / n_all for place, row in enumerate(_SEGMENTS, 1)}
    others: dict[str, float] = {}
    for place, letter, of_segment in flows:
        others[letter] = others.get(letter, 0.0) + sizes[place] * of_segment
    return {
        "k": k,
        "parts": [
            {
                "segment_id": f"S{place}",
                "other_id": f"{k}{letter}",
                "share": sizes[place] * of_segment,
                "of_segment": of_segment,
                "of_other": sizes[place] * of_segment / others[letter],
            }
            for place, letter, of_segment in flows
        ],
    }


def table_record() -> dict[str, Any]:
    """A study of a ready table: no scheme, no cleaning, no money, a fixed k, no effects."""
    record = rfm_record()
    record.update(
        kind="segment", title="", waterfall=[], accounting=None, scheme=None, notices=[], prepare=[]
    )
    record["verdict"] = {"headline": "6 segments.", "sentences": [], "tentative": []}
    record["data"].update(
        snapshot=None,
        first_date=None,
        last_date=None,
        currency=None,
        money_decimals=0,
        value_feature=None,
    )
    record["choice"] = {
        "k": 6,
        "mode": "fixed",
        "runner_up": None,
        "reasons": [],
        "grade": None,
        "structure_note": None,
        "curve": [],
        "knee": None,
        "chosen_inertia": 1.0,
    }
    record["run"]["snapshot"] = None
    for segment in record["segments"]:
        segment.update(
            money=None,
            money_share=None,
            fit=None,
            rule=None,
            rule_definition=None,
            name_kind="neutral",
            lift=None,
            action=None,
            channel=None,
            kpi=None,
        )
    return record


def _segment(place: int, row: tuple[Any, ...], n_all: int, money_all: float) -> dict[str, Any]:
    name, kind, fit, rule, customers, money, recency, orders, spend, sentence, action = row
    here = {
        "recency_days": recency,
        "n_orders": orders,
        "spend_net": spend,
        "spend_gross": 1.03 * spend,
        "spend_returned": 0.0,
        "aov": spend / orders,
        "return_rate": 0.0,
        "tenure_days": recency + 30 * orders,
        "n_order_days": orders,
        "interpurchase_days_median": None if orders == 1 else 180 / orders,
    }
    features = []
    for feature, _, _, _, _, _, _, _, whole in _FEATURES:
        median = here[feature]
        ratio = median / whole if whole and median is not None else None
        mean = 0.02 * place if whole == 0 else median
        features.append(
            {
                "feature": feature,
                "median": median,
                "p25": None if median is None else 0.6 * median,
                "p75": None if median is None else 1.7 * median,
                "mean": mean,
                "whole_median": whole,
                "whole_mean": 0.05 if whole == 0 else 1.4 * whole,
                "ratio": ratio,
                "words": ""
                if ratio is None
                else "about typical"
                if 0.8 < ratio < 1.25
                else "far more"
                if ratio > 3
                else "more"
                if ratio > 1
                else "far less"
                if ratio < 0.33
                else "less",
                "effect": None if ratio is None else max(-0.95, min(0.95, (ratio - 1) / 3)),
            }
        )
    return {
        "segment_id": f"S{place}",
        "name": name,
        "name_kind": kind,
        "fit": fit,
        "lift": 2.4,
        "rule": rule,
        "rule_definition": "ordered recently, often, and spend the most",
        "customers": customers,
        "share": customers / n_all,
        "money": money,
        "money_share": money / money_all,
        "sentence": sentence,
        "action": action,
        "channel": "e-mail",
        "kpi": "repeat rate within 60 days",
        "silhouette": 0.52 - 0.02 * place,
        "below_zero_share": 0.03 + 0.01 * place,
        "features": features,
    }


def _choice() -> dict[str, Any]:
    inertia = [6469.2, 4857.7, 3931.2, 3290.5, 2744.8, 2561.0, 2402.2, 2280.9, 2188.1]
    silhouette = [0.6226, 0.4976, 0.4938, 0.4711, 0.4884, 0.4402, 0.4391, 0.4210, 0.4188]
    return {
        "k": 6,
        "mode": "auto",
        "runner_up": 4,
        "reasons": [
            "k = 6 keeps the separation of k = 4 (0.49) and lies on the knee of the inertia curve.",
            "k = 2 separates best (0.62), but only splits buyers from lapsed buyers.",
            "Every segment of k = 6 holds at least 12 % of customers.",
        ],
        "grade": "medium",
        "structure_note": "The customers form a continuum with denser regions.",
        "curve": [
            {
                "k": k,
                "inertia": inertia[k - 2],
                "explained_variance": 1 - inertia[k - 2] / 13014,
                "silhouette": silhouette[k - 2],
                "smallest_share": 0.5 / k,
            }
            for k in range(2, 11)
        ],
        "knee": 6,
        "chosen_inertia": 2744.8,
    }


def _scheme() -> dict[str, Any]:
    shares: dict[str, dict[str, float]] = {}
    for place, row in enumerate(_SEGMENTS, 1):
        rule, fit = row[3], row[2]
        others = [name for name in _RULES if name != rule]
        rest = {
            others[(place * 3 + step) % 10]: (1 - fit) * weight
            for step, weight in enumerate((0.6, 0.3, 0.1))
        }
        shares[f"S{place}"] = {rule: fit, **rest}
    return {
        "name": "rfm11",
        "version": "1",
        "names": list(_RULES),
        "shares": shares,
        "whole": dict.fromkeys(_RULES, 1 / 11),
        "agreement_ari": 0.34,
        "cut_points": {
            "recency_days": [13, 32, 71, 179],
            "n_orders": [1, 2, 3, 6],
            "spend_net": [240.1, 480.2, 930.1, 2000.5],
        },
        "rule": "score = 1 + floor(5 x share of customers strictly worse), at most 5",
    }
