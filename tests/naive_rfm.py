"""A slow and plain version of the cleaning and of the RFM features, and random ledgers for it.

Lines are read one by one and money is added as decimals; nothing is shared with daskseg.
"""

from __future__ import annotations

import datetime as dt
from collections import Counter, defaultdict
from decimal import Decimal
from itertools import pairwise
from statistics import median
from typing import Any

import numpy as np
import pandas as pd

CODES = {"POST", "BANK CHARGES"}
# Of the ledgers made here: every role has a header of its own name.
ROLES = {
    "customer_id": "customer_id",
    "order_id": "order_id",
    "date": "date",
    "quantity": "quantity",
    "unit_price": "unit_price",
    "product": "product",
}
FEATURES = (
    "recency_days",
    "n_orders",
    "spend_net",
    "spend_gross",
    "spend_returned",
    "aov",
    "return_rate",
    "tenure_days",
    "n_order_days",
    "interpurchase_days_median",
)


def random_ledger(seed: int, n_lines: int = 400) -> pd.DataFrame:
    """Make a ledger in which everything happens that real ones hold."""
    rng = np.random.default_rng(seed)
    start = dt.datetime(2026, 1, 1)
    ids = [None, "7", "07", "A-1", *map(str, range(100, 100 + n_lines // 12))]
    rows: list[dict[str, Any]] = []
    for number in range(n_lines):
        customer = ids[rng.integers(len(ids))]
        # Few moments, products, prices and quantities, so that ties and matches are frequent.
        time = start + dt.timedelta(hours=int(rng.integers(0, 150)) * 12)
        letter = rng.choice(["", "", "", "", "", "", "", "C", "c", "A"])
        row = {
            "customer_id": customer,
            "order_id": f"{letter}{1000 + int(rng.integers(n_lines // 3))}",
            "product": rng.choice(["P1", "P2", "P3", "post", "BANK CHARGES", "NA"]),
            "date": time,
            "quantity": float(rng.choice([1, 1, 2, 3, -1, -2, 0])),
            "unit_price": float(rng.choice([2.5, 2.5, 0.125, 10.0, 0.0, -4.0])),
            "note": rng.choice(["", "x", " x "]),
        }
        if rng.random() < 0.04:
            row[rng.choice(["quantity", "unit_price"])] = np.nan
        if rng.random() < 0.02:
            row["order_id"] = None
        rows.append(row)
        if rng.random() < 0.05 and number:
            rows.append(dict(rows[rng.integers(len(rows))]))
    return pd.DataFrame(rows)


class NaiveRfm:
    """The account and the features of a ledger, line by line."""

    def __init__(
        self,
        ledger: pd.DataFrame,
        *,
        snapshot: dt.date,
        window_days: int | None = None,
        returns: str = "net",
        duplicates: str = "keep",
        non_products: str = "keep",
    ) -> None:
        self.snapshot = dt.datetime.combine(snapshot, dt.time())
        self.window_days = window_days
        self.returns = returns
        self.set_aside: Counter[str] = Counter()
        self.unattributed = self.returns_only = self.segments = self.total = Decimal(0)
        self.first_sale: dict[str, dt.datetime] = {}
        seen: set[tuple[Any, ...]] = set()
        kept: list[dict[str, Any]] = []
        for line in ledger.to_dict("records"):
            line = {key: None if pd.isna(value) else value for key, value in line.items()}
            line["money"] = self._money(line)
            self.total += line["money"]
            step = self._step(line, seen, duplicates, non_products)
            if step is None:
                kept.append(line)
            elif step == "unattributed":
                self.unattributed += line["money"]
            else:
                self.set_aside[step] += line["money"]
        kept = self._deal_with_returns(kept)
        self.customers = self._customers(kept)

    @staticmethod
    def _money(line: dict[str, Any]) -> Decimal:
        if line["quantity"] is None or line["unit_price"] is None:
            return Decimal(0)
        return Decimal(repr(line["quantity"])) * Decimal(repr(line["unit_price"]))

    @staticmethod
    def _letter(line: dict[str, Any]) -> str:
        return "" if line["order_id"][0].isdigit() else line["order_id"][0].upper()

    def _step(
        self, line: dict[str, Any], seen: set[tuple[Any, ...]], duplicates: str, non_products: str
    ) -> str | None:
        if any(line[key] is None for key in ("date", "order_id", "quantity", "unit_price")):
            return "incomplete"
        is_product = line["product"].upper() not in CODES
        is_sale = line["quantity"] > 0 and line["unit_price"] > 0 and not self._letter(line)
        if line["customer_id"] and line["date"] < self.snapshot and is_sale:
            line["may_be_first"] = is_product or non_products == "keep"
            if line["may_be_first"] and self.returns != "match":
                self._note_first(line)
        early = self.snapshot - dt.timedelta(days=self.window_days or 10**5)
        if not early <= line["date"] < self.snapshot:
            if line.get("may_be_first"):
                self._note_first(line)
            return "outside_dates"
        names = ("customer_id", "order_id", "product", "date", "quantity", "unit_price")
        copy = (*(line[name] for name in names), (line["note"] or "").strip())
        if copy in seen and duplicates == "drop":
            return "duplicates"
        seen.add(copy)
        if not is_product and non_products == "drop":
            return "non_products"
        if line["unit_price"] < 0 or self._letter(line) == "A":
            return "adjustments"
        if line["unit_price"] == 0 or line["quantity"] == 0:
            return "free_lines"
        return None if line["customer_id"] else "unattributed"

    def _note_first(self, line: dict[str, Any]) -> None:
        before = self.first_sale.get(line["customer_id"], line["date"])
        self.first_sale[line["customer_id"]] = min(before, line["date"])

    def _deal_with_returns(self, lines: list[dict[str, Any]]) -> list[dict[str, Any]]:
        for line in lines:
            line["is_return"] = line["quantity"] < 0 or self._letter(line) == "C"
        if self.returns == "drop":
            self.set_aside["returns"] += sum(
                (line["money"] for line in lines if line["is_return"]), Decimal(0)
            )
            return [line for line in lines if not line["is_return"]]
        if self.returns == "match":
            taken: set[int] = set()
            order = sorted(range(len(lines)), key=lambda place: lines[place]["date"])
            for place in order:
                back = lines[place]
                if not back["is_return"] or back["quantity"] > 0:
                    continue
                fitting = [
                    other
                    for other, line in enumerate(lines)
                    if other not in taken
                    and not line["is_return"]
                    and line["date"] <= back["date"]
                    and line["quantity"] == -back["quantity"]
                    and all(line[k] == back[k] for k in ("customer_id", "product", "unit_price"))
                ]
                if fitting:
                    best = max(fitting, key=lambda o: (lines[o]["date"], lines[o]["order_id"]))
                    taken |= {place, best}
            lines = [line for place, line in enumerate(lines) if place not in taken]
            for line in lines:
                if not line["is_return"]:
                    self._note_first(line)
        return lines

    def _customers(self, lines: list[dict[str, Any]]) -> dict[str, dict[str, float]]:
        own: dict[str, list[dict[str, Any]]] = defaultdict(list)
        for line in lines:
            own[line["customer_id"]].append(line)
        table = {}
        for customer, theirs in own.items():
            sales = [line for line in theirs if not line["is_return"]]
            net = sum((line["money"] for line in theirs), Decimal(0))
            if not sales:
                self.returns_only += net
                continue
            self.segments += net
            gross = sum((line["money"] for line in sales), Decimal(0))
            counted = theirs if self.returns == "keep" else sales
            n_orders = len({line["order_id"] for line in counted})
            days = sorted({line["date"].date() for line in sales})
            gaps = [(b - a).days for a, b in pairwise(days)]
            snapshot = self.snapshot.date()
            table[customer] = {
                "recency_days": (snapshot - days[-1]).days,
                "n_orders": n_orders,
                "spend_net": float(net),
                "spend_gross": float(gross),
                "spend_returned": float(gross - net),
                "aov": float(gross / n_orders),
                "return_rate": float((gross - net) / gross),
                "tenure_days": (snapshot - self.first_sale[customer].date()).days,
                "n_order_days": len(days),
                "interpurchase_days_median": median(gaps) if gaps else np.nan,
            }
        return table

    def frame(self) -> pd.DataFrame:
        """Return the features, ordered by id."""
        frame = pd.DataFrame.from_dict(self.customers, orient="index", columns=list(FEATURES))
        return frame.sort_index().astype(np.float64)
