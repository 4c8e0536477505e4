"""What must be known of all lines of a ledger before any of them can be added up.

Covers: the mergeable scan (span of time, decimals, currencies, fingerprint, damage) and the
refusals that follow from it. Does not cover: reading lines (see `sources.ledger`).
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal

import numpy as np

from daskseg.errors import BadValueError, InputError
from daskseg.sources.values import ROUNDED_DECIMALS, Bad, has_decimal_comma

# More than half of the values unreadable: it is the wrong column or format, not a slip.
MOSTLY = 0.5
# Sums of money are int64; one bit is kept free for the sum of two of them.
_MAX_MONEY_UNITS = 2**62
_LISTED = 5
_HASH_MASK = 2**64 - 1


@dataclass(frozen=True)
class LedgerScan:
    """What one pass learns about all lines of a ledger; parts merge in any order.

    Attributes
    ----------
    n_rows : int
    first_time, last_time : datetime64[us]
        Over complete lines; NaT if there are none.
    price_decimals, quantity_decimals : int
        Decimals of the values that have at most nine.
    n_longer_prices, n_longer_quantities : int
        Values with more than nine decimals: these are rounded.
    money_bound : int
        Not less than the sum over lines of the largest of abs(quantity * unit_price),
        abs(quantity) and abs(unit_price).
    n_missing : dict of role to int
    bad : dict of role to Bad
        Values that cannot be read.
    damaged : dict of role to Bad
        Ids that lost digits to scientific notation.
    currencies : dict of str to int
        Lines per currency code.
    n_plain_orders, n_orders_named : int
        Lines whose order id is all digits, and lines that have an order id.
    n_future : int
        Lines dated after today.
    fingerprint : tuple of two int
        Sums of the line hashes modulo 2**64: independent of order, blocks and file format.
    """

    n_rows: int = 0
    first_time: np.datetime64 = field(default_factory=lambda: np.datetime64("NaT", "us"))
    last_time: np.datetime64 = field(default_factory=lambda: np.datetime64("NaT", "us"))
    price_decimals: int = 0
    quantity_decimals: int = 0
    n_longer_prices: int = 0
    n_longer_quantities: int = 0
    money_bound: int = 0
    n_missing: Mapping[str, int] = field(default_factory=dict)
    bad: Mapping[str, Bad] = field(default_factory=dict)
    damaged: Mapping[str, Bad] = field(default_factory=dict)
    currencies: Mapping[str, int] = field(default_factory=dict)
    n_plain_orders: int = 0
    n_orders_named: int = 0
    n_future: int = 0
    fingerprint: tuple[int, int] = (0, 0)

    @property
    def fingerprint_text(self) -> str:
        """The fingerprint with the number of rows, as hexadecimal text."""
        return f"{self.fingerprint[0]:016x}{self.fingerprint[1]:016x}-{self.n_rows}"

    @property
    def price_scale(self) -> int:
        """Decimals that prices are counted in: six at least if some have more than nine."""
        return max(self.price_decimals, ROUNDED_DECIMALS * (self.n_longer_prices > 0))

    @property
    def quantity_scale(self) -> int:
        """Decimals that quantities are counted in, as for prices."""
        return max(self.quantity_decimals, ROUNDED_DECIMALS * (self.n_longer_quantities > 0))

    @property
    def money_decimals(self) -> int:
        """Decimals of quantity * unit_price."""
        return self.price_scale + self.quantity_scale

    @property
    def has_plain_orders(self) -> bool:
        """Whether most order ids are all digits, so that a letter before one means something."""
        return 2 * self.n_plain_orders > self.n_orders_named


def _join_counts(a: Mapping[str, int], b: Mapping[str, int]) -> dict[str, int]:
    return {key: a.get(key, 0) + b.get(key, 0) for key in sorted({*a, *b})}


def _join_bad(a: Mapping[str, Bad], b: Mapping[str, Bad]) -> dict[str, Bad]:
    return {key: a.get(key, Bad()).join(b.get(key, Bad())) for key in sorted({*a, *b})}


def merge_scans(a: LedgerScan, b: LedgerScan) -> LedgerScan:
    """Join the scans of two sets of lines, exactly and in any order.

    Examples
    --------
    >>> merge_scans(LedgerScan(n_rows=2), LedgerScan(n_rows=3)).n_rows
    5
    """
    return LedgerScan(
        n_rows=a.n_rows + b.n_rows,
        first_time=np.fmin(a.first_time, b.first_time),
        last_time=np.fmax(a.last_time, b.last_time),
        price_decimals=max(a.price_decimals, b.price_decimals),
        quantity_decimals=max(a.quantity_decimals, b.quantity_decimals),
        n_longer_prices=a.n_longer_prices + b.n_longer_prices,
        n_longer_quantities=a.n_longer_quantities + b.n_longer_quantities,
        money_bound=a.money_bound + b.money_bound,
        n_missing=_join_counts(a.n_missing, b.n_missing),
        bad=_join_bad(a.bad, b.bad),
        damaged=_join_bad(a.damaged, b.damaged),
        currencies=_join_counts(a.currencies, b.currencies),
        n_plain_orders=a.n_plain_orders + b.n_plain_orders,
        n_orders_named=a.n_orders_named + b.n_orders_named,
        n_future=a.n_future + b.n_future,
        fingerprint=(
            (a.fingerprint[0] + b.fingerprint[0]) & _HASH_MASK,
            (a.fingerprint[1] + b.fingerprint[1]) & _HASH_MASK,
        ),
    )


def unreadable(
    role: str, header: str, bad: Bad, n_rows: int, date_format: str | None, where: str = ""
) -> BadValueError:
    """Return the error for dates or numbers that cannot be read.

    Parameters
    ----------
    role, header : str
    bad : Bad
    n_rows : int
        Rows that were looked at.
    date_format : str or None
        As the user gave it.
    where : str
        Which rows these are, with a leading space.
    """
    found = f"{bad.count:,} of {n_rows:,} values of the column {header!r} ({role}){where}"
    if role == "date" and date_format is not None:
        message = (
            f"{found} are not written as the date format {date_format!r} says, e.g. "
            f"{bad.example!r}. Correct them, or give the format that fits with --date-format; "
            "leave it out for ISO 8601 (year first)."
        )
    elif role == "date":
        message = (
            f"{found} are not dates in ISO 8601 (year first), e.g. {bad.example!r}. Day and month "
            "are never guessed: say how they are written with --date-format, e.g. "
            "'%d/%m/%Y %H:%M' (in Python: date_format=...)."
        )
    else:
        if has_decimal_comma(bad.example):
            advice = (
                "It has a comma: write numbers with a decimal point and without separators of "
                "thousands."
            )
        else:
            advice = f"Correct them, or name another column with --column {role}=HEADER."
        message = f"{found} are not finite numbers, e.g. {bad.example!r}. {advice}"
    return BadValueError(message, header, bad.example)


def check_scan(
    scan: LedgerScan,
    roles: Mapping[str, str],
    snapshot: dt.date | None,
    today: dt.date,
    date_format: str | None = None,
) -> None:
    """Refuse a ledger that cannot be added up.

    Parameters
    ----------
    scan : LedgerScan
        Of all lines.
    roles : mapping of role to header
    snapshot : date or None
        As the user gave it; None asks for the day after the last line.
    today : date
    date_format : str or None
        As the user gave it.

    Raises
    ------
    InputError
        No lines; values that cannot be read; ids in scientific notation; a column that is
        mostly empty; several currencies; dates after today without a snapshot; sums of money
        beyond 64-bit integers.
    """
    if scan.n_rows == 0:
        raise InputError("the ledger has headers but no lines: nothing can be segmented.")
    where = f"{scan.n_rows:,} lines"
    for role, bad in sorted(scan.bad.items()):
        raise unreadable(role, roles[role], bad, scan.n_rows, date_format)
    for role, bad in sorted(scan.damaged.items()):
        raise BadValueError(
            f"{bad.count:,} of {scan.n_rows:,} ids of the column {roles[role]!r} ({role}) are in "
            f"scientific notation or too long for a number, e.g. {bad.example!r}: different ids "
            "look the same. Export the column again as text (in Excel: format the column as text "
            "before saving).",
            roles[role],
            bad.example,
        )
    for role, n_missing in sorted(scan.n_missing.items()):
        if role != "customer_id" and n_missing > MOSTLY * scan.n_rows:
            raise InputError(
                f"{n_missing:,} of {where} have no value in the column {roles[role]!r} ({role}). "
                f"Is it the right column? Name another one with --column {role}=HEADER."
            )
    if scan.n_missing.get("customer_id", 0) == scan.n_rows:
        raise InputError(
            f"none of {where} has a customer id in the column {roles['customer_id']!r}: there is "
            "nobody to segment. Name another column with --column customer_id=HEADER."
        )
    if len(scan.currencies) > 1:
        counts = sorted(scan.currencies.items(), key=lambda pair: (-pair[1], pair[0]))
        listed = ", ".join(f"{name} ({count:,} lines)" for name, count in counts[:_LISTED])
        listed += ", …" if len(counts) > _LISTED else ""
        raise InputError(
            f"the column {roles['currency']!r} holds several currencies: {listed}. Money of "
            "different currencies cannot be added: convert it, or segment each currency alone."
        )
    if scan.n_future and snapshot is None:
        last = np.datetime_as_string(scan.last_time, unit="D")
        raise InputError(
            f"{scan.n_future:,} of {where} are dated after today ({today.isoformat()}), the latest "
            f"on {last}. Give the day to look from with --snapshot, e.g. --snapshot "
            f"{today.isoformat()}: lines on or after it are set aside."
        )
    if scan.money_bound * 10**scan.money_decimals >= _MAX_MONEY_UNITS:
        raise InputError(
            f"the money of {where} adds up to about {Decimal(scan.money_bound):.3g} with "
            f"{scan.money_decimals} decimals: more than 64-bit integers hold exactly. Look for "
            "mistyped quantities and prices, round the prices to fewer decimals, or use a larger "
            "unit of money."
        )
