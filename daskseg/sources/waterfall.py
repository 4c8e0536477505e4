"""The account of a ledger: what each step found, and where all the money is.

Covers: counts per step that are added exactly over buckets, and their form in report.json.
Does not cover: the steps themselves (see `sources.cleaning`).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NamedTuple

import pandas as pd

from daskseg.texts import text


class StepCount(NamedTuple):
    """What one step found and what is left after it; money in whole units."""

    rows: int = 0
    customers: int = 0
    money: int = 0
    left_rows: int = 0
    left_customers: int = 0
    left_money: int = 0

    def join(self, other: StepCount) -> StepCount:
        """Add the counts of other customers."""
        return StepCount(*(a + b for a, b in zip(self, other, strict=True)))


@dataclass(frozen=True)
class Waterfall:
    """The account of a ledger; parts of other customers are added exactly.

    Attributes
    ----------
    steps : dict of step to (action, StepCount)
        In the order of cleaning.
    segments, unattributed, returns_only : int
        Money in whole units: of customers with a sale, of lines without a customer, of
        customers who only returned.
    n_customers, n_returns_only : int
    clean_lines : int
        Sale lines that are left: a customer, quantity and price above zero.
    n_positive_cancellations : int
        Lines of cancelled orders whose money is not negative.
    decimals : int
        Money is in units of ``10**-decimals``.
    """

    steps: dict[str, tuple[str, StepCount]] = field(default_factory=dict)
    segments: int = 0
    unattributed: int = 0
    returns_only: int = 0
    n_customers: int = 0
    n_returns_only: int = 0
    clean_lines: int = 0
    n_positive_cancellations: int = 0
    decimals: int = 0

    @property
    def set_aside(self) -> dict[str, int]:
        """Money that each step set aside, in whole units; 0 for steps that took nothing."""
        return {
            step: count.money if action in ("set_aside", "matched") else 0
            for step, (action, count) in self.steps.items()
            if step not in ("raw", "no_customer_id", "returns_left", "returns_only")
        }

    @property
    def total(self) -> int:
        """Money of all lines as read, in whole units."""
        return self.steps["raw"][1].money if self.steps else 0

    def money(self, units: int) -> float:
        """Return whole units as an amount of money."""
        return float(units / 10**self.decimals)

    def to_records(self) -> list[dict[str, Any]]:
        """Return one record per step, as report.json holds them."""
        return [
            {
                "step": step,
                "label": text(f"clean.steps.{step}"),
                "action": action,
                "rows": count.rows,
                "customers": count.customers,
                "money": self.money(count.money),
                "left_rows": count.left_rows,
                "left_customers": count.left_customers,
                "left_money": self.money(count.left_money),
            }
            for step, (action, count) in self.steps.items()
        ]

    def accounting(self) -> dict[str, Any]:
        """Return where all the money is, as report.json holds it."""
        return {
            "segments": self.money(self.segments),
            "unattributed": self.money(self.unattributed),
            "returns_only": self.money(self.returns_only),
            "set_aside": {step: self.money(units) for step, units in self.set_aside.items()},
            "total": self.money(self.total),
            "returns_only_customers": self.n_returns_only,
            "clean_lines": self.clean_lines,
        }

    def to_frame(self) -> pd.DataFrame:
        """Return the records as a table, one row per step."""
        return pd.DataFrame.from_records(self.to_records()).set_index("step")


def merge_waterfalls(a: Waterfall, b: Waterfall) -> Waterfall:
    """Join the accounts of two buckets, exactly and in any order."""
    steps = {
        step: (action, count.join(b.steps[step][1])) for step, (action, count) in a.steps.items()
    }
    return Waterfall(
        steps=steps,
        segments=a.segments + b.segments,
        unattributed=a.unattributed + b.unattributed,
        returns_only=a.returns_only + b.returns_only,
        n_customers=a.n_customers + b.n_customers,
        n_returns_only=a.n_returns_only + b.n_returns_only,
        clean_lines=a.clean_lines + b.clean_lines,
        n_positive_cancellations=a.n_positive_cancellations + b.n_positive_cancellations,
        decimals=a.decimals,
    )
