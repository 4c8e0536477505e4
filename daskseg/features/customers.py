"""From a ledger to one row per customer, in one pass over the ledger and one over its buckets.

Covers: what the user can choose (`LedgerSpec`), features of one bucket, the out-of-core build
with its files, and the same in memory. Does not cover: opening files (`sources.readers`),
the account of lines (`sources.cleaning`), scores and names.
"""

from __future__ import annotations

import datetime as dt
import re
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import reduce
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from daskseg.engine import passes
from daskseg.engine.blocks import Blocks, FrameBlocks, Load
from daskseg.errors import InputError, UsageError
from daskseg.features.bucket import customer_features
from daskseg.features.definitions import FEATURE_NAMES
from daskseg.sources.cleaning import (
    CleaningRules,
    clean,
    rules_from_scan,
)
from daskseg.sources.columns import default_non_product_codes
from daskseg.sources.ledger import (
    read_lines,
    split_lines,
)
from daskseg.sources.scan import LedgerScan, check_scan, merge_scans
from daskseg.sources.waterfall import Waterfall, merge_waterfalls
from daskseg.texts import text

# Kept in the table beside the features: for profiles and for exact totals.
EXTRA_COLUMNS = ("first_order_date", "last_order_date", "spend_net_units")


def read_snapshot(value: Any) -> dt.date | None:
    """Read the day from which is counted.

    Parameters
    ----------
    value : None, date, datetime at midnight, or text in ISO 8601

    Examples
    --------
    >>> read_snapshot("2011-12-10")
    datetime.date(2011, 12, 10)
    """
    if value is None:
        return None
    try:
        moment = pd.Timestamp(dt.date.fromisoformat(value) if isinstance(value, str) else value)
    except (TypeError, ValueError) as error:
        raise UsageError(
            f"snapshot={value!r} is not a day; write it as year-month-day, e.g. '2026-01-01'."
        ) from error
    if moment != moment.normalize():
        raise UsageError(
            f"snapshot={value!r} must be a whole day: lines on or after its 00:00 do not count."
        )
    return moment.date()


def read_window(value: Any) -> int | None:
    """Read the length of a window in days.

    Parameters
    ----------
    value : None, int (days), timedelta of whole days, or text like "365d" or "52w"

    Examples
    --------
    >>> read_window("52w")
    364
    """
    days: Any = value
    if isinstance(value, str):
        match = re.fullmatch(r"(\d{1,6})([dw])", value)
        days = None if match is None else int(match[1]) * (7 if match[2] == "w" else 1)
    elif isinstance(value, dt.timedelta):
        days = None if value % dt.timedelta(days=1) else value.days
    if value is None:
        return None
    if isinstance(days, bool) or not isinstance(days, int | np.integer) or days < 1:
        raise UsageError(
            f"window={value!r} is not a length of time; write whole days or weeks above zero, "
            "e.g. '365d' or '52w'."
        )
    return int(days)


@dataclass(frozen=True)
class LedgerSpec:
    """How to read a ledger and what counts.

    Attributes
    ----------
    roles : mapping of role to header
        From `sources.columns.resolve`.
    date_format : str or None
    snapshot : date or None
        None: the day after the last line.
    window_days : int or None
    returns : {"net", "match", "drop", "keep"}
    duplicates, non_products : {"keep", "drop"}
    non_product_codes : tuple of str or None
        None: the codes that ship with daskseg.
    today : date
        Lines after it are refused when there is no snapshot.
    """

    roles: Mapping[str, str]
    date_format: str | None = None
    snapshot: dt.date | None = None
    window_days: int | None = None
    returns: str = "net"
    duplicates: str = "keep"
    non_products: str = "keep"
    non_product_codes: tuple[str, ...] | None = None
    today: dt.date = field(default_factory=dt.date.today)

    def __post_init__(self) -> None:
        # A wrong word is refused before anything is read.
        CleaningRules(
            np.datetime64("1970-01-01", "us"),
            returns=self.returns,
            duplicates=self.duplicates,
            non_products=self.non_products,
        )


class CustomersPart(NamedTuple):
    """What a task reports of one bucket."""

    path: str
    n_rows: int
    waterfall: Waterfall


@dataclass(frozen=True)
class CustomerTable:
    """One row per customer, in canonical order, as Parquet files.

    Attributes
    ----------
    paths : tuple of str
        Files without rows are left out.
    lengths : tuple of int
    waterfall : Waterfall
    scan : LedgerScan
    snapshot : date
    snapshot_given : bool
    window_days : int or None
    returns : str
    notices : tuple of str
        What the reader of a report should know.
    """

    paths: tuple[str, ...]
    lengths: tuple[int, ...]
    waterfall: Waterfall
    scan: LedgerScan
    snapshot: dt.date
    snapshot_given: bool
    window_days: int | None
    returns: str
    notices: tuple[str, ...]

    @property
    def n_customers(self) -> int:
        """Number of rows."""
        return self.waterfall.n_customers

    @property
    def money_decimals(self) -> int:
        """Decimals of money in the ledger."""
        return self.waterfall.decimals

    @property
    def fingerprint(self) -> str:
        """Fingerprint of the ledger: independent of order, partitions and file format."""
        return self.scan.fingerprint_text

    def blocks(self, columns: Sequence[str] = FEATURE_NAMES) -> Blocks:
        """Return columns as blocks of float64."""
        names = tuple(columns)
        return Blocks(
            loads=tuple(Load(read_values, (path, names)) for path in self.paths),
            lengths=self.lengths,
            n_features=len(names),
            dtype=np.dtype(np.float64),
            columns=names,
        )


def read_values(path: str, columns: Sequence[str]) -> NDArray[np.float64]:
    """Read columns of one file of a customer table.

    Returns
    -------
    ndarray of shape (n_rows, len(columns)), float64
    """
    table = pq.read_table(path, columns=list(columns))
    if not columns:
        return np.empty((table.num_rows, 0))
    return np.column_stack([table[name].to_numpy() for name in columns]).astype(np.float64)


def read_customers(path: str, columns: Sequence[str] = FEATURE_NAMES) -> pd.DataFrame:
    """Read one file of a customer table, indexed by customer_id."""
    table = pq.read_table(path, columns=["customer_id", *columns])
    frame: pd.DataFrame = table.to_pandas()
    return frame.set_index("customer_id")


def make_rules(scan: LedgerScan, spec: LedgerSpec) -> CleaningRules:
    """Check the scan of a whole ledger and say what counts as what.

    Raises
    ------
    InputError
        See `sources.ledger.check_scan`; also if no line is complete.
    """
    check_scan(scan, spec.roles, spec.snapshot, spec.today, spec.date_format)
    if np.isnat(scan.last_time):
        raise InputError(
            f"none of {scan.n_rows:,} lines has a date, an order id, a quantity and a price at "
            "once: nothing can be added up."
        )
    last_day = scan.last_time.astype("datetime64[D]").astype(dt.date)
    codes = spec.non_product_codes
    return rules_from_scan(
        scan,
        snapshot=spec.snapshot or last_day + dt.timedelta(days=1),
        window_days=spec.window_days,
        returns=spec.returns,
        duplicates=spec.duplicates,
        non_products=spec.non_products,
        non_product_codes=frozenset(default_non_product_codes() if codes is None else codes),
    )


def _snapshot_day(rules: CleaningRules) -> dt.date:
    day: dt.date = rules.snapshot.astype("datetime64[D]").astype(dt.date)
    return day


def _check_customers(waterfall: Waterfall, scan: LedgerScan, snapshot: dt.date) -> None:
    if waterfall.n_customers:
        return
    found = "; ".join(
        f"{record['label']}: {record['rows']:,}"
        for record in waterfall.to_records()
        if record["rows"]
    )
    first, last = (np.datetime_as_string(t, unit="D") for t in (scan.first_time, scan.last_time))
    raise InputError(
        f"no customer has a sale that counts. The lines run from {first} to {last}, the snapshot "
        f"is {snapshot.isoformat()}. Lines by step: {found}."
    )


def _notices(
    scan: LedgerScan, spec: LedgerSpec, waterfall: Waterfall, snapshot: dt.date
) -> tuple[str, ...]:
    notices = []
    if spec.snapshot is None:
        notices.append(text("clean.notices.default_snapshot", snapshot=snapshot.isoformat()))
    for count, decimals in (
        (scan.n_longer_prices, scan.price_scale),
        (scan.n_longer_quantities, scan.quantity_scale),
    ):
        if count:
            notices.append(text("clean.notices.rounded", count=f"{count:,}", decimals=decimals))
    if waterfall.n_positive_cancellations:
        count_text = f"{waterfall.n_positive_cancellations:,}"
        notices.append(text("clean.notices.positive_cancellations", count=count_text))
    if not scan.has_plain_orders:
        notices.append(text("clean.notices.letters"))
    return tuple(notices)


def _bucket_customers(lines: pd.DataFrame, rules: CleaningRules) -> tuple[pd.DataFrame, Waterfall]:
    kept, waterfall = clean(lines, rules)
    return customer_features(kept, rules), waterfall


def _write_customers(lines: pd.DataFrame, rules: CleaningRules, folder: str) -> CustomersPart:
    customers, waterfall = _bucket_customers(lines, rules)
    # A name of its own for every attempt: a task that is repeated never writes twice to a file.
    path = Path(folder) / f"customers-{uuid.uuid4().hex}.parquet"
    if len(customers):
        pq.write_table(pa.Table.from_pandas(customers, preserve_index=False), path)
    return CustomersPart(str(path), len(customers), waterfall)


def _describe(
    parts: Sequence[CustomersPart], scan: LedgerScan, spec: LedgerSpec, rules: CleaningRules
) -> CustomerTable:
    waterfall = reduce(merge_waterfalls, (part.waterfall for part in parts))
    snapshot = _snapshot_day(rules)
    _check_customers(waterfall, scan, snapshot)
    filled = [part for part in parts if part.n_rows]
    return CustomerTable(
        paths=tuple(part.path for part in filled),
        lengths=tuple(part.n_rows for part in filled),
        waterfall=waterfall,
        scan=scan,
        snapshot=snapshot,
        snapshot_given=spec.snapshot is not None,
        window_days=spec.window_days,
        returns=spec.returns,
        notices=_notices(scan, spec, waterfall, snapshot),
    )


def build_customers(
    ledger: FrameBlocks, spec: LedgerSpec, scratch: Path, n_buckets: int | None = None
) -> CustomerTable:
    """Build the table of customers out of core.

    Parameters
    ----------
    ledger : FrameBlocks
        Blocks of the ledger, as `sources.readers.open_blocks` gives them.
    spec : LedgerSpec
    scratch : Path
        An existing directory that every worker can reach. The files of the table stay in it:
        it must live as long as the table.
    n_buckets : int, optional
        As many as the ledger has blocks by default. Never changes the result.

    Returns
    -------
    CustomerTable

    Raises
    ------
    InputError
        The ledger cannot be read or added up; no customer has a sale.

    Notes
    -----
    One pass over the ledger and one over its lines in scratch (about 60 bytes a line).
    Memory of a task: a few times one block or one bucket.
    """
    n_buckets = n_buckets or max(1, len(ledger.loads))
    scan, buckets = passes.exchange(
        ledger,
        split_lines,
        merge_scans,
        n_buckets,
        scratch,
        dict(spec.roles),
        spec.date_format,
        spec.today,
        n_buckets,
        name="read-ledger",
    )
    rules = make_rules(scan, spec)
    parts = passes.emit(buckets, _write_customers, rules, str(scratch), name="customers")
    return _describe(parts, scan, spec, rules)


def customers_in_memory(
    ledger: pd.DataFrame, spec: LedgerSpec
) -> tuple[pd.DataFrame, CustomerTable]:
    """Build the table of customers of a frame, without files or tasks.

    Returns
    -------
    customers : DataFrame
        As from `customer_features`: bit for bit what `build_customers` writes.
    table : CustomerTable
        Without paths.
    """
    lines, scan = read_lines(ledger, spec.roles, spec.date_format, spec.today)
    rules = make_rules(scan, spec)
    customers, waterfall = _bucket_customers(lines, rules)
    return customers, _describe([CustomersPart("", 0, waterfall)], scan, spec, rules)
