"""A retail ledger from a buy-till-you-die process, with the planted segment of each customer.

Covers: customers of seven kinds who join, order at their own rate and drop out unseen; baskets,
prices, returns, postage, sales without a customer id, free lines and exact duplicates.
Does not cover: any real shop; the figures below are chosen to look like one.
See also: Schmittlein, Morrison and Colombo (1987), "Counting your customers".
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from daskseg.errors import UsageError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Ints = NDArray[np.int64]
    Floats = NDArray[np.float64]

__all__ = ["SEGMENTS", "PlantedSegment", "make_ledger", "write_demo"]

MIN_ROWS = 1_000
"""Below this the shares of the segments mean nothing."""

_FIRST_DAY = np.datetime64("2023-07-01", "D")
_N_DAYS = 731
_N_PRODUCTS = 2_400
_FIRST_CUSTOMER = 12_001
_FIRST_INVOICE = 400_001
_ROW_GROUP_ROWS = 65_536

# Shares of all lines; arbitrary, close to those of the UCI Online Retail ledger.
_NAMED_SHARE = 0.80
_DUPLICATE_SHARE = 0.01
_FREE_SHARE = 0.004
_NO_DESCRIPTION_SHARE = 0.003
_POSTAGE_SHARE = {True: 0.75, False: 0.03}  # of the orders: from abroad, from home

_COUNTRIES = ("United Kingdom", "Germany", "France", "Ireland", "Spain", "Netherlands", "Belgium")
_COUNTRY_SHARES = (0.88, 0.04, 0.03, 0.02, 0.01, 0.01, 0.01)

# Business by month (January first) and by weekday (Monday first), relative to a mean day.
_MONTHS = (0.8, 0.75, 0.9, 0.85, 0.95, 0.9, 0.9, 0.9, 1.1, 1.25, 1.7, 1.4)
_WEEKDAYS = (1.1, 1.2, 1.2, 1.3, 1.1, 0.25, 0.8)


@dataclass(frozen=True)
class PlantedSegment:
    """One kind of customer.

    Attributes
    ----------
    name : str
        As it stands in the truth.
    share : float
        Of all customers; the shares add up to 1.
    orders_per_year : float
        Mean rate of orders while active; single customers scatter around it.
    dropouts_per_year : float
        Rate at which customers stop for good.
    joins : tuple of float
        Earliest and latest first order, as fractions of the calendar.
    lines : float
        Mean lines of an order.
    quantity : float
        Median pieces of a line.
    pack : int
        Quantities are multiples of it.
    price : float
        Factor on the list price.
    return_rate : float
        Probability that a line is sent back, whole or in part.
    """

    name: str
    share: float
    orders_per_year: float
    dropouts_per_year: float
    joins: tuple[float, float]
    lines: float
    quantity: float
    pack: int
    price: float
    return_rate: float


SEGMENTS: tuple[PlantedSegment, ...] = (
    PlantedSegment("champion", 0.06, 16.0, 0.02, (0.00, 0.50), 6.0, 7.0, 1, 1.00, 0.015),
    PlantedSegment("regular", 0.16, 7.0, 0.08, (0.00, 0.60), 5.0, 4.0, 1, 1.00, 0.020),
    PlantedSegment("wholesale", 0.05, 4.0, 0.05, (0.00, 0.60), 9.0, 36.0, 12, 0.75, 0.005),
    PlantedSegment("occasional", 0.25, 2.0, 0.25, (0.00, 0.75), 3.5, 3.0, 1, 1.05, 0.025),
    PlantedSegment("one_timer", 0.24, 0.3, 5.00, (0.05, 0.85), 2.5, 2.0, 1, 1.10, 0.060),
    PlantedSegment("faded", 0.14, 10.0, 2.50, (0.00, 0.35), 4.0, 4.0, 1, 1.00, 0.030),
    PlantedSegment("newcomer", 0.10, 9.0, 0.10, (0.90, 0.99), 3.5, 3.0, 1, 0.95, 0.030),
)
"""The kinds of customers, with their rates."""


def make_ledger(rows: int, seed: int = 0) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Make a ledger of invoice lines, and the truth about its customers.

    Parameters
    ----------
    rows : int
        Lines of the ledger, at least 1,000. Four in five carry a customer id.
    seed : int, default 0
        Equal seeds give equal ledgers; any integer from 0 on.

    Returns
    -------
    ledger : DataFrame of `rows` rows
        InvoiceNo (text; returns begin with C), StockCode (text), Description (text, with gaps),
        Quantity (int64, pieces, negative in returns), InvoiceDate (datetime64[us], to the minute),
        UnitPrice (float64, money with two decimals), CustomerID (Int64, with gaps),
        Country (text). In order of time.
    truth : DataFrame of one row per customer id in the ledger
        customer_id (text), planted_segment (text). In order of the id.

    Raises
    ------
    UsageError
        `rows` is below 1,000, or `seed` is negative.

    Notes
    -----
    Time and memory are linear in `rows`: about 2 s and 0.4 GB for a million lines. The calendar
    is fixed, 2023-07-01 to 2025-06-30; no clock is read. A ledger of more rows is another draw,
    not a continuation.

    Examples
    --------
    >>> ledger, truth = make_ledger(2_000, seed=7)
    >>> len(ledger), int(ledger["CustomerID"].nunique()) == len(truth)
    (2000, True)
    >>> sorted(truth["planted_segment"].unique())[:3]
    ['champion', 'faded', 'newcomer']
    """
    if rows < MIN_ROWS:
        message = (
            f"a demo ledger of {rows} rows was asked for, but at least {MIN_ROWS} are needed "
            f"for seven kinds of customers. Ask for --rows {MIN_ROWS} or more."
        )
        raise UsageError(message)
    if seed < 0:
        raise UsageError(f"the seed is {seed}, but must be 0 or more. Choose another seed.")
    rng = np.random.Generator(np.random.Philox(seed))
    catalogue = _make_catalogue(rng)
    named, truth = _named_lines(rng, catalogue, round(rows * _NAMED_SHARE))
    anonymous = _anonymous_lines(rng, catalogue, rows - len(named["order"]))
    anonymous["order"] += int(named["order"].max()) + 1
    lines = {key: np.concatenate([named[key], anonymous[key]]) for key in named}
    return _write_out(rng, catalogue, lines), truth


def write_demo(out: str | Path, rows: int, seed: int = 0) -> Path:
    """Write a ledger and its truth as Parquet files.

    Parameters
    ----------
    out : str or Path
        Folder, made if missing. Its ledger.parquet and truth.parquet are replaced.
    rows : int
        See `make_ledger`.
    seed : int, default 0
        See `make_ledger`.

    Returns
    -------
    Path
        The ledger; truth.parquet stands beside it.

    Raises
    ------
    UsageError
        `rows` is below 1,000, or `seed` is negative.

    Notes
    -----
    Equal arguments give equal bytes with equal versions of numpy and pyarrow.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_demo(folder, rows=1_000).name
    'ledger.parquet'
    """
    folder = Path(out)
    ledger, truth = make_ledger(rows, seed)
    folder.mkdir(parents=True, exist_ok=True)
    _write_parquet(ledger, folder / "ledger.parquet")
    _write_parquet(truth, folder / "truth.parquet")
    return folder / "ledger.parquet"


def _write_parquet(frame: pd.DataFrame, path: Path) -> None:
    # Without pandas' own metadata, which would tie the bytes to its version.
    table = pa.Table.from_pandas(frame, preserve_index=False).replace_schema_metadata(None)
    pq.write_table(table, path, compression="zstd", row_group_size=_ROW_GROUP_ROWS)


def _make_catalogue(rng: np.random.Generator) -> dict[str, Any]:
    """Draw the products: codes, descriptions, list prices in cents and popularity."""
    colours = ("RED", "BLUE", "IVORY", "GREEN", "PINK", "BLACK", "SILVER", "WOODEN")
    styles = ("RETROSPOT", "VINTAGE", "FLORAL", "STRIPED", "PAISLEY", "STAR")
    things = ("MUG", "LUNCH BAG", "CANDLE", "CAKE TIN", "CLOCK", "CUSHION", "FRAME", "NOTEBOOK")
    number = np.arange(_N_PRODUCTS)
    code = np.array([f"{20_000 + 7 * (i // 3)}{'ABC'[i % 3]}" for i in number], dtype=object)
    name = np.array(
        [
            f"{colours[i % 8]} {styles[i // 8 % 6]} {things[i // 48 % 8]} NO {1 + i // 384}"
            for i in number
        ],
        dtype=object,
    )
    cents = np.maximum(19, np.rint(np.exp(rng.normal(5.5, 0.8, _N_PRODUCTS)))).astype(np.int64)
    weight = (1.0 + rng.permutation(_N_PRODUCTS)) ** -0.7
    return {
        "code": np.append(code, "POST"),
        "name": np.append(name, "POSTAGE"),
        "cents": cents,
        "ladder": np.cumsum(weight / weight.sum()),
    }


def _draw_products(rng: np.random.Generator, catalogue: dict[str, Any], n_lines: int) -> Ints:
    drawn = np.searchsorted(catalogue["ladder"], rng.random(n_lines), side="right")
    product: Ints = np.minimum(drawn, _N_PRODUCTS - 1).astype(np.int64)
    return product


def _business_minutes(times: Floats) -> Ints:
    """Turn business time, in [0, 1), into minutes since the first day: no nights, few weekends."""
    days = _FIRST_DAY + np.arange(_N_DAYS)
    month = days.astype("datetime64[M]").astype(np.int64) % 12
    weekday = (days.astype(np.int64) + 3) % 7  # 1970-01-01 was a Thursday
    load = np.asarray(_MONTHS)[month] * np.asarray(_WEEKDAYS)[weekday]
    ladder = np.concatenate([[0.0], np.cumsum(load / load.sum())])
    ladder[-1] = 1.0
    position = np.interp(times, ladder, np.arange(_N_DAYS + 1.0))
    day = np.minimum(np.floor(position), _N_DAYS - 1.0)
    opening, closing = 8 * 60, 20 * 60
    minute = opening + np.floor((position - day) * (closing - opening))
    minutes: Ints = (day * 1_440 + np.minimum(minute, closing - 1)).astype(np.int64)
    return minutes


def _trait(kind: Ints, name: str) -> Floats:
    return np.array([getattr(segment, name) for segment in SEGMENTS], dtype=np.float64)[kind]


def _lines_per_customer() -> float:
    """Return about how many lines a customer has, so that enough customers are drawn."""
    years = _N_DAYS / 365.25
    total = 0.0
    for s in SEGMENTS:
        span = years * (1.0 - sum(s.joins) / 2)
        active = (1.0 - np.exp(-s.dropouts_per_year * span)) / s.dropouts_per_year
        total += s.share * (1.0 + s.orders_per_year * active) * s.lines
    return total


def _named_lines(
    rng: np.random.Generator, catalogue: dict[str, Any], n_lines: int
) -> tuple[dict[str, Any], pd.DataFrame]:
    """Draw customers, their orders and lines, at most `n_lines` of them, and the truth."""
    years = _N_DAYS / 365.25
    # A quarter more than the mean demands, and forty for luck; the surplus is cut off below.
    n_customers = int(1.25 * n_lines / _lines_per_customer()) + 40
    shares = np.array([segment.share for segment in SEGMENTS])
    # In turn by share, then shuffled: even a small ledger has every kind.
    kind = np.repeat(np.arange(len(SEGMENTS)), np.ceil(shares * n_customers).astype(np.int64))
    kind = rng.permutation(kind)
    n_customers = len(kind)
    low = np.array([segment.joins[0] for segment in SEGMENTS])[kind]
    high = np.array([segment.joins[1] for segment in SEGMENTS])[kind]
    start = low + (high - low) * rng.random(n_customers)
    rate = _trait(kind, "orders_per_year") * rng.gamma(6.0, 1 / 6.0, n_customers)
    life = rng.exponential(1.0 / _trait(kind, "dropouts_per_year")) / years
    span = np.minimum(life, 0.999 - start)
    n_orders = 1 + rng.poisson(rate * span * years)
    taste = _trait(kind, "lines") * rng.gamma(5.0, 1 / 5.0, n_customers)

    customer = np.repeat(np.arange(n_customers), n_orders)
    first = np.zeros(len(customer), dtype=bool)
    first[np.cumsum(n_orders) - n_orders] = True
    time = start[customer] + np.where(first, 0.0, span[customer] * rng.random(len(customer)))
    mood = rng.gamma(3.0, 1 / 3.0, len(customer))
    order_lines = 1 + rng.poisson(np.maximum(taste[customer] - 1.0, 0.0) * mood)
    country = rng.choice(len(_COUNTRIES), size=n_customers, p=_COUNTRY_SHARES)

    order = np.repeat(np.arange(len(customer)), order_lines)
    lines = _sale_lines(rng, catalogue, order, kind[customer][order])
    lines["minute"] = _business_minutes(time)[order]
    lines["customer"] = customer[order]
    lines = _with_postage(rng, lines, len(customer), country[customer] > 0)
    lines = _with_returns(rng, lines, _trait(kind[lines["customer"]], "return_rate"))
    lines = _with_duplicates(rng, lines)

    count = np.bincount(lines["customer"], minlength=n_customers)
    n_kept = int(np.searchsorted(np.cumsum(count), n_lines, side="right"))
    lines = _take(lines, lines["customer"] < n_kept)
    lines["country"] = country[lines["customer"]]
    lines["customer"] = lines["customer"] + _FIRST_CUSTOMER
    truth = pd.DataFrame(
        {
            "customer_id": [str(_FIRST_CUSTOMER + i) for i in range(n_kept)],
            "planted_segment": np.array([s.name for s in SEGMENTS], dtype=object)[kind[:n_kept]],
        }
    )
    return lines, truth


def _anonymous_lines(
    rng: np.random.Generator, catalogue: dict[str, Any], n_lines: int
) -> dict[str, Any]:
    """Draw exactly `n_lines` lines of sales without a customer id."""
    per_order = 1 + rng.poisson(9.0, n_lines)
    order = np.repeat(np.arange(n_lines), per_order)[:n_lines]
    occasional = next(i for i, s in enumerate(SEGMENTS) if s.name == "occasional")
    lines = _sale_lines(rng, catalogue, order, np.full(n_lines, occasional))
    n_orders = int(order[-1]) + 1
    lines["minute"] = _business_minutes(rng.random(n_orders))[order]
    lines["customer"] = np.zeros(n_lines, dtype=np.int64)
    lines["country"] = np.zeros(n_lines, dtype=np.int64)
    free = rng.random(n_lines) < _FREE_SHARE / (1.0 - _NAMED_SHARE)
    lines["cents"] = np.where(free, 0, lines["cents"])
    return lines


def _sale_lines(
    rng: np.random.Generator, catalogue: dict[str, Any], order: Ints, kind: Ints
) -> dict[str, Any]:
    """Draw product, pieces and price of each line."""
    n_lines = len(order)
    product = _draw_products(rng, catalogue, n_lines)
    pack = _trait(kind, "pack")
    pieces = _trait(kind, "quantity") * np.exp(rng.normal(0.0, 0.7, n_lines))
    quantity = (np.maximum(np.rint(pieces / pack), 1.0) * pack).astype(np.int64)
    cents = np.rint(catalogue["cents"][product] * _trait(kind, "price"))
    return {
        "order": order,
        "product": product,
        "quantity": quantity,
        "cents": np.maximum(cents, 1).astype(np.int64),
        "returned": np.zeros(n_lines, dtype=bool),
    }


def _with_postage(
    rng: np.random.Generator, lines: dict[str, Any], n_orders: int, abroad: NDArray[np.bool_]
) -> dict[str, Any]:
    share = np.where(abroad, _POSTAGE_SHARE[True], _POSTAGE_SHARE[False])
    chosen = np.flatnonzero(rng.random(n_orders) < share)
    # The orders of the lines ascend, so the first line of an order is found by bisection.
    added = _take(lines, np.searchsorted(lines["order"], chosen))
    added["product"] = np.full(len(chosen), _N_PRODUCTS)
    added["quantity"] = np.ones(len(chosen), dtype=np.int64)
    added["cents"] = np.where(abroad[chosen], 1_800, 395)
    return _join(lines, added)


def _with_returns(
    rng: np.random.Generator, lines: dict[str, Any], return_rate: Floats
) -> dict[str, Any]:
    """Add the lines that came back: the same price, at most the same pieces, a later day."""
    drawn = rng.random(len(return_rate)) < return_rate
    chosen = np.flatnonzero(drawn & (lines["product"] < _N_PRODUCTS))
    added = _take(lines, chosen)
    part = np.where(rng.random(len(chosen)) < 0.6, 1.0, rng.random(len(chosen)))
    added["quantity"] = -np.maximum(1, np.floor(added["quantity"] * part)).astype(np.int64)
    # One return per order: all its lines come back on the same day at the same minute.
    delay = rng.integers(1, 29, size=int(lines["order"].max()) + 1) * 1_440
    added["minute"] = added["minute"] + delay[added["order"]]
    added["returned"] = np.ones(len(chosen), dtype=bool)
    return _join(lines, _take(added, added["minute"] < _N_DAYS * 1_440))


def _with_duplicates(rng: np.random.Generator, lines: dict[str, Any]) -> dict[str, Any]:
    chosen = np.flatnonzero(rng.random(len(lines["order"])) < _DUPLICATE_SHARE)
    return _join(lines, _take(lines, chosen))


def _take(lines: dict[str, Any], which: NDArray[Any]) -> dict[str, Any]:
    return {key: values[which] for key, values in lines.items()}


def _join(lines: dict[str, Any], added: dict[str, Any]) -> dict[str, Any]:
    return {key: np.concatenate([lines[key], added[key]]) for key in lines}


def _write_out(
    rng: np.random.Generator, catalogue: dict[str, Any], lines: dict[str, Any]
) -> pd.DataFrame:
    """Give the invoices numbers by time, and the columns their headers and types."""
    in_time = np.lexsort((lines["returned"], lines["order"], lines["minute"]))
    lines = _take(lines, in_time)
    document = 2 * lines["order"] + lines["returned"]
    changed = np.append(True, document[1:] != document[:-1])
    number = np.cumsum(changed) - 1
    titles = np.where(lines["returned"][changed], "C", "").astype(object) + np.array(
        [str(_FIRST_INVOICE + i) for i in range(int(number[-1]) + 1)], dtype=object
    )
    description = catalogue["name"][lines["product"]]
    unknown = (rng.random(len(number)) < _NO_DESCRIPTION_SHARE) & (lines["customer"] == 0)
    description[unknown] = None
    minutes = lines["minute"].astype("timedelta64[m]")
    customer = pd.array(lines["customer"], dtype="Int64")
    customer[lines["customer"] == 0] = pd.NA
    return pd.DataFrame(
        {
            "InvoiceNo": titles[number],
            "StockCode": catalogue["code"][lines["product"]],
            "Description": description,
            "Quantity": lines["quantity"],
            "InvoiceDate": (_FIRST_DAY.astype("datetime64[m]") + minutes).astype("datetime64[us]"),
            "UnitPrice": lines["cents"] / 100.0,
            "CustomerID": customer,
            "Country": np.array(_COUNTRIES, dtype=object)[lines["country"]],
        }
    )
