"""From a block of a ledger to typed lines, and what must be known of all lines.

Covers: reading one pandas block by its roles, two hashes per line, the scan of the block, and
the bucket that each line goes to.
Does not cover: which line counts for what (see `sources.cleaning`).
See also: `sources.columns` for the roles, `sources.values` for single values.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from daskseg.sources.columns import plain_header
from daskseg.sources.hashing import LineHasher, hash_texts
from daskseg.sources.scan import MOSTLY, LedgerScan, unreadable
from daskseg.sources.values import (
    Bad,
    Coded,
    count_decimals,
    read_ids,
    read_numbers,
    read_product_codes,
    read_texts,
    read_times,
)

LINE_COLUMNS = (
    "customer_id",
    "order_id",
    "product",
    "time",
    "quantity",
    "unit_price",
    "line_hash_1",
    "line_hash_2",
)


def _as_text_column(coded: Coded) -> pd.Series:
    texts = pd.array(coded.texts, dtype="str")
    return pd.Series(texts.take(coded.codes, allow_fill=True))


def _sum_up(values: NDArray[np.float64]) -> int:
    """Add whole positive numbers exactly."""
    if not len(values):
        return 0
    if float(values.max()) * len(values) < 2.0**62:
        return int(values.astype(np.int64).sum())
    return sum(int(value) for value in values.tolist())


class _BlockReader:
    """Reads the columns of one block, keeping count of everything the scan wants."""

    def __init__(self, frame: pd.DataFrame, roles: Mapping[str, str]) -> None:
        self.frame = frame
        self.roles = roles
        self.n_rows = len(frame)
        self.hasher = LineHasher(self.n_rows)
        self.missing: dict[str, int] = {}
        self.bad: dict[str, Bad] = {}
        self.damaged: dict[str, Bad] = {}

    def column(self, role: str) -> pd.Series:
        column = self.frame[self.roles[role]]
        return column.reset_index(drop=True)

    def note(self, role: str, n_missing: int, bad: Bad, date_format: str | None = None) -> None:
        self.missing[role] = n_missing - bad.count
        if bad.count:
            self.bad[role] = bad
            if bad.count > MOSTLY * (self.n_rows - self.missing[role]):
                header = self.roles[role]
                raise unreadable(role, header, bad, self.n_rows, date_format, " in one block")

    def ids(self, role: str) -> Coded:
        coded, damaged = read_ids(self.column(role))
        if damaged.count:
            self.damaged[role] = damaged
        self.missing[role] = int((coded.codes < 0).sum())
        self.hasher.add_text(role, *coded)
        return coded

    def product(self) -> Coded:
        if "product" not in self.roles:
            return Coded(np.full(self.n_rows, -1, dtype=np.int64), np.array([], dtype=object))
        coded = read_product_codes(self.column("product"))
        self.hasher.add_text("product", *coded)
        return coded

    def numbers(self, role: str) -> NDArray[np.float64]:
        numbers, bad = read_numbers(self.column(role))
        missing = np.isnan(numbers)
        self.note(role, int(missing.sum()), bad)
        self.hasher.add_bits(role, numbers + 0.0, missing)
        return numbers

    def times(self, date_format: str | None) -> NDArray[np.datetime64]:
        times, bad = read_times(self.column("date"), date_format)
        missing = np.isnat(times)
        self.note("date", int(missing.sum()), bad, date_format)
        self.hasher.add_bits("date", times.astype(np.int64), missing)
        return times

    def currencies(self) -> dict[str, int]:
        if "currency" not in self.roles:
            return {}
        coded, _ = read_ids(self.column("currency"))
        counts = np.bincount(coded.codes[coded.codes >= 0], minlength=len(coded.texts))
        found: dict[str, int] = {}
        for name, count in zip(coded.texts, counts, strict=True):
            found[name.upper()] = found.get(name.upper(), 0) + int(count)
        return found

    def other_columns(self) -> None:
        named = {header: role for role, header in self.roles.items()}
        typed = {"customer_id", "order_id", "date", "quantity", "unit_price", "amount", "product"}
        for position, header in enumerate(self.frame.columns):
            name = named.get(header, plain_header(str(header)))
            if name in typed and header in named:
                continue
            column = self.frame.iloc[:, position].reset_index(drop=True)
            self.hasher.add_text(name, *read_texts(column))


def read_lines(
    frame: pd.DataFrame,
    roles: Mapping[str, str],
    date_format: str | None = None,
    today: dt.date | None = None,
) -> tuple[pd.DataFrame, LedgerScan]:
    """Read one block of a ledger.

    Parameters
    ----------
    frame : DataFrame of n_rows lines
        Any dtypes: what CSV, NDJSON, Parquet or a user's own frame brings.
    roles : mapping of role to header
        From `sources.columns.resolve`.
    date_format : str, optional
        How texts in the date column are written; ISO 8601 by default.
    today : date, optional
        Lines after this day are counted as future lines.

    Returns
    -------
    lines : DataFrame of n_rows rows
        customer_id, order_id, product : str, missing where nothing stands;
        time : datetime64[us]; quantity, unit_price : float64; line_hash_1, line_hash_2 :
        uint64, equal for lines that are equal in all columns.
    scan : LedgerScan

    Raises
    ------
    InputError
        More than half of the dates, quantities or prices of the block cannot be read.

    Examples
    --------
    >>> ledger = pd.DataFrame({"c": ["7.0"], "o": ["1"], "d": ["2026-01-05"], "a": ["-2.50"]})
    >>> lines, scan = read_lines(
    ...     ledger, {"customer_id": "c", "order_id": "o", "date": "d", "amount": "a"}
    ... )
    >>> lines[["customer_id", "quantity", "unit_price"]].values.tolist(), scan.money_decimals
    ([['7', -1.0, 2.5]], 1)
    """
    reader = _BlockReader(frame, roles)
    customers, orders = reader.ids("customer_id"), reader.ids("order_id")
    product = reader.product()
    times = reader.times(date_format)
    if "amount" in roles:
        amounts = reader.numbers("amount")
        quantity = np.where(np.isnan(amounts), np.nan, np.where(amounts < 0, -1.0, 1.0))
        price = np.abs(amounts)
    else:
        quantity, price = reader.numbers("quantity"), reader.numbers("unit_price")
    reader.other_columns()
    hash_1, hash_2 = reader.hasher.finish()
    lines = pd.DataFrame({
        "customer_id": _as_text_column(customers),
        "order_id": _as_text_column(orders),
        "product": _as_text_column(product),
        "time": times,
        "quantity": quantity,
        "unit_price": price,
        "line_hash_1": hash_1,
        "line_hash_2": hash_2,
    })  # fmt: skip
    price_decimals, n_longer_prices = count_decimals(price)
    quantity_decimals, n_longer_quantities = count_decimals(quantity)
    with np.errstate(over="ignore"):  # too much money is refused by the scan, in words
        money = np.abs(quantity * price)
    complete = ~np.isnan(money) & ~np.isnat(times) & (orders.codes >= 0)
    plain = np.array([str(text).isdigit() for text in orders.texts] + [False], dtype=bool)
    scan = LedgerScan(
        n_rows=len(frame),
        price_decimals=price_decimals,
        quantity_decimals=quantity_decimals,
        n_longer_prices=n_longer_prices,
        n_longer_quantities=n_longer_quantities,
        money_bound=_sum_up(
            np.ceil(np.nan_to_num(np.fmax(money, np.fmax(np.abs(price), np.abs(quantity)))))
        ),
        n_missing=reader.missing,
        bad=reader.bad,
        damaged=reader.damaged,
        currencies=reader.currencies(),
        n_plain_orders=int(plain[orders.codes].sum()),
        n_orders_named=int((orders.codes >= 0).sum()),
        n_future=0 if today is None else int((times >= _day_after(today)).sum()),
        fingerprint=(int(hash_1.sum()), int(hash_2.sum())),
    )
    if complete.any():
        found = times[complete]
        scan = replace(scan, first_time=found.min(), last_time=found.max())
    return lines, scan


def _day_after(day: dt.date) -> np.datetime64:
    return np.datetime64(day + dt.timedelta(days=1), "us")


def bucket_of(hashes: NDArray[np.uint64], n_buckets: int) -> NDArray[np.int64]:
    """Return the bucket of each 64-bit hash: bucket order is hash order.

    Examples
    --------
    >>> bucket_of(np.array([0, 2**63, 2**64 - 1], dtype=np.uint64), 4).tolist()
    [0, 2, 3]
    """
    high = hashes >> np.uint64(32)
    return ((high * np.uint64(n_buckets)) >> np.uint64(32)).astype(np.int64)


def split_lines(
    frame: pd.DataFrame,
    roles: Mapping[str, str],
    date_format: str | None,
    today: dt.date | None,
    n_buckets: int,
) -> tuple[pd.DataFrame, LedgerScan]:
    """Read one block and say which bucket each line goes to: the split of `passes.exchange`.

    All lines of a customer meet in one bucket; lines without a customer go by their order,
    and lines without either by their own hash, so that exact copies always meet.
    """
    lines, scan = read_lines(frame, roles, date_format, today)
    key = lines["customer_id"].fillna(lines["order_id"])
    codes, texts = pd.factorize(key)
    hashes = np.append(hash_texts(np.asarray(texts, dtype=object)), np.uint64(0))[codes]
    hashes = np.where(codes < 0, lines["line_hash_1"].to_numpy(), hashes)
    return lines.assign(bucket=bucket_of(hashes, n_buckets)), scan
