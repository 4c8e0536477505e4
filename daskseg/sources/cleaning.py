"""The cleaning waterfall: every line ends in exactly one place, and the money adds up.

Covers: one bucket that holds all lines of its customers; the steps in their order, what each
found, and the sales and returns that are left. All money is whole units in int64: sums are
exact, so segments + unattributed + returns_only + everything set aside == the raw total.
Does not cover: reading lines (`sources.ledger`) and features (`features.customers`).
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from daskseg.errors import UsageError
from daskseg.sources.hashing import hash_texts
from daskseg.sources.scan import LedgerScan
from daskseg.sources.values import to_units
from daskseg.sources.waterfall import StepCount, Waterfall

Bools = NDArray[np.bool_]
Ints = NDArray[np.int64]

RETURNS = ("net", "match", "drop", "keep")
KEEP_OR_DROP = ("keep", "drop")
# What takes lines out of the ledger; "netted" and "kept" only report what was found.
TAKING = ("set_aside", "matched", "unattributed", "apart")


@dataclass(frozen=True)
class CleaningRules:
    """What counts as what; the same for every bucket of a ledger.

    Attributes
    ----------
    snapshot : datetime64[us]
        Lines at or after it are set aside.
    window_start : datetime64[us] or None
        Lines before it are set aside; first orders are still known from them.
    returns : {"net", "match", "drop", "keep"}
    duplicates, non_products : {"keep", "drop"}
    non_product_codes : frozenset of str
        In upper case.
    price_scale, quantity_scale : int
        Decimals in which prices and quantities are counted.
    letters_matter : bool
        A single letter before the digits of an order id marks a cancellation (C) or an
        adjustment (any other). Only in ledgers whose order ids are mostly digits.
    """

    snapshot: np.datetime64
    window_start: np.datetime64 | None = None
    returns: str = "net"
    duplicates: str = "keep"
    non_products: str = "keep"
    non_product_codes: frozenset[str] = frozenset()
    price_scale: int = 0
    quantity_scale: int = 0
    letters_matter: bool = True

    def __post_init__(self) -> None:
        _check_choice("returns", self.returns, RETURNS)
        _check_choice("duplicates", self.duplicates, KEEP_OR_DROP)
        _check_choice("non_products", self.non_products, KEEP_OR_DROP)

    @property
    def money_decimals(self) -> int:
        """Decimals of the whole units of money."""
        return self.price_scale + self.quantity_scale


def _check_choice(name: str, value: str, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        listed = ", ".join(repr(choice) for choice in allowed)
        raise UsageError(f"{name}={value!r} is not known; choose one of {listed}.")


class CleanLines(NamedTuple):
    """What is left of a bucket: lines of customers who have a sale.

    Attributes
    ----------
    customer_ids : ndarray of str of shape (n_customers,)
        In canonical order: by 64-bit hash, then by id.
    customer : ndarray of shape (n_lines,), int64
        Position in `customer_ids`.
    order : ndarray of shape (n_lines,), int64
        A code per order id.
    time : ndarray of shape (n_lines,), datetime64[us]
    money : ndarray of shape (n_lines,), int64
        In whole units, negative for returns.
    is_sale : ndarray of shape (n_lines,), bool
    first_sale : ndarray of shape (n_customers,), datetime64[us]
        The first sale before the snapshot, a window notwithstanding.
    """

    customer_ids: NDArray[Any]
    customer: Ints
    order: Ints
    time: NDArray[np.datetime64]
    money: Ints
    is_sale: Bools
    first_sale: NDArray[np.datetime64]


def rules_from_scan(
    scan: LedgerScan,
    *,
    snapshot: dt.date,
    window_days: int | None,
    returns: str,
    duplicates: str,
    non_products: str,
    non_product_codes: frozenset[str],
) -> CleaningRules:
    """Join what the user chose with what the scan found."""
    start = np.datetime64(snapshot, "us")
    return CleaningRules(
        snapshot=start,
        window_start=None if window_days is None else start - np.timedelta64(window_days, "D"),
        returns=returns,
        duplicates=duplicates,
        non_products=non_products,
        non_product_codes=frozenset(code.strip().upper() for code in non_product_codes),
        price_scale=scan.price_scale,
        quantity_scale=scan.quantity_scale,
        letters_matter=scan.has_plain_orders,
    )


class _Account:
    """The lines of a bucket on their way through the steps."""

    def __init__(self, customer: Ints, n_customers: int, money: Ints) -> None:
        self.customer = customer
        self.n_customers = n_customers
        self.money = money
        self.left = np.ones(len(money), dtype=bool)
        self.steps: dict[str, tuple[str, StepCount]] = {}
        self.record("raw", "total", self.left)

    def _count_customers(self, lines: Bools) -> int:
        seen = np.zeros(self.n_customers + 1, dtype=bool)
        seen[self.customer[lines]] = True
        return int(seen[:-1].sum())

    def record(self, step: str, action: str, found: Bools) -> None:
        if action in TAKING:
            self.left &= ~found
        self.steps[step] = (
            action,
            StepCount(
                rows=int(found.sum()),
                customers=self._count_customers(found),
                money=int(self.money[found].sum()),
                left_rows=int(self.left.sum()),
                left_customers=self._count_customers(self.left),
                left_money=int(self.money[self.left].sum()),
            ),
        )


def _matches(column: pd.Series, test: Any) -> Bools:
    """Apply a test to the distinct texts of a column; missing ones fail."""
    codes, distinct = pd.factorize(column)
    answers = [bool(test(value)) for value in distinct]
    return np.array([*answers, False], dtype=bool)[codes]


def _has_letter(order_id: str) -> bool:
    return order_id[0].isalpha() and order_id[1:].isdigit()


def _is_cancelled(order_id: str) -> bool:
    return order_id[0] in "Cc" and order_id[1:].isdigit()


def _order_marks(order_ids: pd.Series, rules: CleaningRules) -> tuple[Bools, Bools]:
    """Mark the lines of cancelled orders, and of orders with another letter before them."""
    if not rules.letters_matter:
        nothing = np.zeros(len(order_ids), dtype=bool)
        return nothing, nothing
    cancelled = _matches(order_ids, _is_cancelled)
    return cancelled, _matches(order_ids, _has_letter) & ~cancelled


def _repeats(lines: pd.DataFrame, among: Bools) -> Bools:
    """Mark the copies beyond the first of lines that are equal in all columns."""
    repeated = np.zeros(len(lines), dtype=bool)
    hashes = lines.loc[among, ["line_hash_1", "line_hash_2"]]
    repeated[np.flatnonzero(among)] = hashes.duplicated().to_numpy()
    return repeated


def _matched_pairs(keys: pd.DataFrame, is_return: Bools, candidates: Bools) -> Bools:
    """Mark returns and the sales that they cancel.

    Each return, in the order of time, takes the latest sale of the same customer, product,
    price and quantity that is not later and not taken yet. Pairs cancel to zero money.
    """
    matched = np.zeros(len(keys), dtype=bool)
    places = np.flatnonzero(candidates)
    some = keys.iloc[places].assign(place=places, is_return=is_return[places])
    same = ["customer", "product", "price", "quantity"]
    some["group"] = some.groupby(same, sort=False).ngroup()
    with_return = np.unique(some.loc[some["is_return"], "group"])
    some = some[some["group"].isin(with_return)]
    # Sales come before returns of the same moment; the hashes make ties independent of order.
    some = some.sort_values(["group", "time", "is_return", "order_id", "line_hash_1"])
    group_before, open_sales = -1, list[int]()
    for group, place, returned in zip(
        some["group"].tolist(), some["place"].tolist(), some["is_return"].tolist(), strict=True
    ):
        if group != group_before:
            group_before, open_sales = group, []
        if not returned:
            open_sales.append(place)
        elif open_sales:
            matched[[open_sales.pop(), place]] = True
    return matched


def clean(lines: pd.DataFrame, rules: CleaningRules) -> tuple[CleanLines, Waterfall]:
    """Clean one bucket.

    Parameters
    ----------
    lines : DataFrame
        From `sources.ledger.read_lines`, in any order; all lines of each customer, and all
        copies of each line.
    rules : CleaningRules

    Returns
    -------
    kept : CleanLines
    waterfall : Waterfall

    Notes
    -----
    Time O(n log n); scratch memory about three times the lines.
    """
    codes, ids = pd.factorize(lines["customer_id"])
    customer = codes.astype(np.int64)
    time = lines["time"].to_numpy()
    quantity = to_units(lines["quantity"].to_numpy(), rules.quantity_scale)
    price = to_units(lines["unit_price"].to_numpy(), rules.price_scale)
    has_id = customer >= 0
    account = _Account(customer, len(ids), quantity * price)

    complete = lines[["time", "quantity", "unit_price", "order_id"]].notna().all(axis=1).to_numpy()
    account.record("incomplete", "set_aside", ~complete)
    early = np.zeros(len(lines), dtype=bool)
    if rules.window_start is not None:
        early = time < rules.window_start
    account.record("outside_dates", "set_aside", account.left & (early | (time >= rules.snapshot)))

    action = "kept" if rules.duplicates == "keep" else "set_aside"
    account.record("duplicates", action, _repeats(lines, account.left))

    codes_of_none = rules.non_product_codes
    no_product = _matches(lines["product"], lambda code: code.upper() in codes_of_none)
    action = "kept" if rules.non_products == "keep" else "set_aside"
    account.record("non_products", action, account.left & no_product)

    cancelled, odd = _order_marks(lines["order_id"], rules)
    adjustment = (price < 0) | odd
    account.record("adjustments", "set_aside", account.left & adjustment)
    worthless = (price == 0) | (quantity == 0)
    account.record("free_lines", "set_aside", account.left & worthless)

    account.record("no_customer_id", "unattributed", account.left & ~has_id)
    unattributed = account.steps["no_customer_id"][1].money

    is_return = cancelled | (quantity < 0)
    matched = _record_returns(account, lines, rules, is_return, quantity, price)

    # Any sale before the snapshot tells when a customer first ordered, a window or not.
    ever = complete & has_id & (time < rules.snapshot)
    ever &= ~(is_return | adjustment | worthless | matched)
    if rules.non_products == "drop":
        ever &= ~no_product
    sales = account.left & ~is_return
    buys = np.zeros(len(ids) + 1, dtype=bool)
    buys[customer[sales]] = True
    account.record("returns_only", "apart", account.left & ~buys[customer])
    only = account.steps["returns_only"][1]

    kept = _collect(lines, account, ids, buys[:-1], is_return, ever)
    return kept, Waterfall(
        steps=account.steps,
        segments=int(kept.money.sum()),
        unattributed=unattributed,
        returns_only=only.money,
        n_customers=len(kept.customer_ids),
        n_returns_only=only.customers,
        clean_lines=int(kept.is_sale.sum()),
        n_positive_cancellations=int((cancelled & (quantity > 0) & (price > 0)).sum()),
        decimals=rules.money_decimals,
    )


def _record_returns(
    account: _Account,
    lines: pd.DataFrame,
    rules: CleaningRules,
    is_return: Bools,
    quantity: Ints,
    price: Ints,
) -> Bools:
    """Deal with returns as the rules say, and return the lines of matched pairs."""
    found = account.left & is_return
    matched = np.zeros(len(found), dtype=bool)
    if rules.returns == "drop":
        account.record("returns", "set_aside", found)
    elif rules.returns == "keep":
        account.record("returns", "kept", found)
    elif rules.returns == "net":
        account.record("returns", "netted", found)
    else:
        keys = pd.DataFrame({
            "customer": account.customer,
            "product": pd.factorize(lines["product"])[0],
            "price": price,
            "quantity": np.abs(quantity),
            "time": lines["time"].to_numpy(),
            "order_id": lines["order_id"].to_numpy(),
            "line_hash_1": lines["line_hash_1"].to_numpy(),
        })  # fmt: skip
        # A cancelled order with a positive quantity has nothing to cancel to zero with.
        candidates = account.left & (~is_return | (quantity < 0))
        matched = _matched_pairs(keys, is_return, candidates)
        account.record("returns", "matched", matched)
        account.record("returns_left", "netted", account.left & is_return)
    return matched


def _collect(
    lines: pd.DataFrame,
    account: _Account,
    ids: Any,
    buys: Bools,
    is_return: Bools,
    ever: Bools,
) -> CleanLines:
    """Take the lines that are left, customers in canonical order."""
    buyers = np.flatnonzero(buys)
    names = np.asarray(ids, dtype=object)[buyers]
    order = np.lexsort((names.astype("U"), hash_texts(names)))
    position = np.full(len(buys) + 1, -1, dtype=np.int64)
    position[buyers[order]] = np.arange(len(buyers))
    time = lines["time"].to_numpy()
    first = np.full(len(buyers), np.datetime64("9999-12-31", "us"))
    known = ever & (position[account.customer] >= 0)
    np.minimum.at(first, position[account.customer[known]], time[known])
    left = account.left
    return CleanLines(
        customer_ids=names[order],
        customer=position[account.customer[left]],
        order=pd.factorize(lines["order_id"].to_numpy()[left])[0].astype(np.int64),
        time=time[left],
        money=account.money[left],
        is_sale=~is_return[left],
        first_sale=first,
    )
