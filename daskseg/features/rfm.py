"""The RFM transformer: a ledger in, one row of features per customer out.

Covers: scikit-learn's form (parameters, ``fit``, ``transform``), pandas, Polars and Arrow
frames in memory, dask frames and paths out of core, sentences that say what was computed.
Does not cover: the features (`features.customers`) and segments.
"""

from __future__ import annotations

import datetime as dt
import shutil
import tempfile
import weakref
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import dask
import dask.dataframe as dd
import narwhals as nw
import numpy as np
import pandas as pd
from dask.base import tokenize
from numpy.typing import NDArray
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted

from daskseg.engine.blocks import FrameBlocks
from daskseg.errors import InputError
from daskseg.features.customers import (
    CustomerTable,
    LedgerSpec,
    build_customers,
    customers_in_memory,
    read_customers,
    read_snapshot,
    read_window,
)
from daskseg.features.definitions import FEATURE_NAMES, define_feature
from daskseg.features.scores import (
    SCORED,
    both_cut_ranks,
    cut_points,
    cut_points_in_memory,
    rfm_codes,
    rfm_scores,
)
from daskseg.metrics.quantiles import order_statistics
from daskseg.sources.columns import resolve
from daskseg.sources.locate import placing
from daskseg.sources.readers import open_blocks
from daskseg.sources.waterfall import Waterfall


class _Scratch:
    """A directory that lives as long as something in this process needs its files."""

    def __init__(self) -> None:
        self.path = tempfile.mkdtemp(prefix="daskseg-rfm-")
        self._finalizer = weakref.finalize(self, shutil.rmtree, self.path, ignore_errors=True)


class _ReadCustomers:
    """Reads one file of a table; keeps the directory alive while a dask graph holds it."""

    def __init__(self, scratch: _Scratch | None) -> None:
        self.scratch = scratch

    def __call__(self, path: str) -> pd.DataFrame:
        return read_customers(path)

    def __reduce__(self) -> tuple[Any, ...]:
        # A worker must not remove the directory: only this process owns it.
        return _ReadCustomers, (None,)

    def __dask_tokenize__(self) -> Any:
        return tokenize(type(self).__name__)


class RFM(BaseEstimator):
    """Recency, frequency and monetary features of the customers of a ledger.

    A ledger has one row per line of an order. Returns are negative quantities, or orders whose
    number begins with a C. Every line is accounted for in `waterfall_`.

    Parameters
    ----------
    snapshot : date or str, optional
        The day from which is counted; lines on or after it do not count. By default the day
        after the last line.
    window : str, int or timedelta, optional
        Only this long before the snapshot counts, e.g. "365d". First orders are still known
        from the whole ledger.
    returns : {"net", "match", "drop", "keep"}
        "net" subtracts returns from the spend; "match" sets each return aside together with
        the latest earlier sale of the same customer, product, price and quantity, and subtracts
        the rest; "drop" ignores them; "keep" counts them like any line. None of them ever
        makes a customer look more recent.
    duplicates : {"keep", "drop"}
        Lines that equal another one in every column.
    non_products : {"keep", "drop"}
        Lines with a product code such as POST or BANK CHARGES.
    columns : mapping of role to header, optional
        For headers that no preset knows, e.g. ``{"customer_id": "Client"}``.
    preset : {"online_retail", "generic"}, optional
        Look headers up in this list only.
    date_format : str, optional
        Of dates that are text; ISO 8601 by default.
    non_product_codes : sequence of str, optional
        In place of the list that ships with daskseg.

    Attributes
    ----------
    snapshot_ : date
    waterfall_ : Waterfall
        What each step found, and where all the money is.
    money_decimals_ : int
    cut_points_ : dict of feature to tuple of four float
        Between the scores 1 to 5 of recency_days, n_orders and spend_net.
    notices_ : tuple of str
    fingerprint_ : str
        Of the ledger: independent of order, partitions and file format.
    n_customers_ : int

    See Also
    --------
    daskseg.features.schemes.load_scheme : Names for the scores.

    Notes
    -----
    The same ledger gives the same bits, in any order, partitions and file format. Money is
    summed in integers. Out of core: one pass over the ledger and one over its lines in a
    temporary directory (`tempfile`, which all workers must reach), then two to four over the
    customers for the cut points.

    Examples
    --------
    >>> import pandas as pd
    >>> ledger = pd.DataFrame({
    ...     "customer_id": ["7", "7", "7", "8"],
    ...     "order_id": ["101", "102", "C103", "104"],
    ...     "date": pd.to_datetime(["2026-01-05", "2026-02-10", "2026-02-20", "2026-02-28"]),
    ...     "quantity": [2, 1, -1, 3],
    ...     "unit_price": [10.0, 5.0, 5.0, 1.5],
    ... })
    >>> rfm = RFM(snapshot="2026-03-01")
    >>> rfm.fit_transform(ledger)[["recency_days", "n_orders", "spend_net"]].sort_index()
                 recency_days  n_orders  spend_net
    customer_id
    7                    19.0       2.0       20.0
    8                     1.0       1.0        4.5
    >>> rfm.explain()["recency_days"]
    'Days from the day of the last order to 2026-03-01; a return is no order.'
    >>> rfm.waterfall_.accounting()["total"]
    24.5
    """

    def __init__(
        self,
        *,
        snapshot: Any = None,
        window: Any = None,
        returns: str = "net",
        duplicates: str = "keep",
        non_products: str = "keep",
        columns: Mapping[str, str] | None = None,
        preset: str | None = None,
        date_format: str | None = None,
        non_product_codes: Sequence[str] | None = None,
    ) -> None:
        self.snapshot = snapshot
        self.window = window
        self.returns = returns
        self.duplicates = duplicates
        self.non_products = non_products
        self.columns = columns
        self.preset = preset
        self.date_format = date_format
        self.non_product_codes = non_product_codes

    def fit(self, ledger: Any, y: Any = None) -> Self:
        """Learn the snapshot, the account of the ledger and the cut points of the scores.

        Parameters
        ----------
        ledger : DataFrame (pandas, Polars, Arrow or dask), path or list of paths
        y : ignored

        Returns
        -------
        self
        """
        self.fit_transform(ledger, y)
        return self

    def fit_transform(self, ledger: Any, y: Any = None) -> Any:
        """Compute the features of a ledger and learn from it.

        Parameters
        ----------
        ledger : DataFrame (pandas, Polars, Arrow or dask), path or list of paths
        y : ignored

        Returns
        -------
        DataFrame of n_customers rows, index customer_id, float64
            pandas for a frame in memory; a lazy dask DataFrame for a dask frame or a path.

        Raises
        ------
        InputError
            The ledger cannot be read or added up, or no customer has a sale.
        UsageError
            A parameter is wrong, or a column cannot be told.
        """
        features, table = self._build(ledger, read_snapshot(self.snapshot))
        self.snapshot_ = table.snapshot
        self.waterfall_: Waterfall = table.waterfall
        self.money_decimals_ = table.money_decimals
        self.notices_ = table.notices
        self.fingerprint_ = table.fingerprint
        self.n_customers_ = table.n_customers
        self.cut_points_ = (
            cut_points_in_memory(features)
            if isinstance(features, pd.DataFrame)
            else _cut_points_of(table)
        )
        return features

    def transform(self, ledger: Any, *, snapshot: Any = None) -> Any:
        """Compute the features of a ledger, by default as seen from the fitted snapshot.

        Parameters
        ----------
        ledger : as for `fit`
        snapshot : date or str, optional
            The day from which is counted now. Lines on or after it do not count.

        Returns
        -------
        DataFrame
            As from `fit_transform`. What was learned does not change.
        """
        check_is_fitted(self, "snapshot_")
        day = read_snapshot(snapshot) or self.snapshot_
        return self._build(ledger, day)[0]

    def scores(self, features: pd.DataFrame) -> pd.DataFrame:
        """Score customers from 1 (worst) to 5 (best) by the fitted cut points.

        Parameters
        ----------
        features : pandas DataFrame
            From `fit_transform` or `transform`.

        Returns
        -------
        DataFrame
            r_score, f_score, m_score : int8; rfm_code : str such as "R5F3M4".
        """
        check_is_fitted(self, "cut_points_")
        scores = rfm_scores(features, self.cut_points_)
        codes = rfm_codes(*(scores[name].to_numpy() for name in scores.columns))
        return scores.assign(rfm_code=pd.array(codes, dtype="str"))

    def explain(self) -> dict[str, str]:
        """Say in a sentence per feature how it was computed.

        Returns
        -------
        dict of feature to str
        """
        check_is_fitted(self, "snapshot_")
        return {
            name: define_feature(
                name,
                snapshot=self.snapshot_.isoformat(),
                returns=self.returns,
                window_days=read_window(self.window),
            )
            for name in FEATURE_NAMES
        }

    def get_feature_names_out(self, input_features: Any = None) -> NDArray[Any]:
        """Return the names of the features."""
        return np.array(FEATURE_NAMES, dtype=object)

    def _spec(self, headers: Sequence[str], snapshot: dt.date | None) -> LedgerSpec:
        codes = self.non_product_codes
        return LedgerSpec(
            roles=resolve(headers, mapping=self.columns, preset=self.preset),
            date_format=self.date_format,
            snapshot=snapshot,
            window_days=read_window(self.window),
            returns=self.returns,
            duplicates=self.duplicates,
            non_products=self.non_products,
            non_product_codes=None if codes is None else tuple(codes),
        )

    def _build(self, ledger: Any, snapshot: dt.date | None) -> tuple[Any, CustomerTable]:
        if isinstance(ledger, dd.DataFrame):
            spec = self._spec([str(name) for name in ledger.columns], snapshot)
            return _out_of_core(FrameBlocks.from_dask(ledger), spec)
        if isinstance(ledger, str | Path) or _is_list_of_paths(ledger):
            blocks, headers = open_blocks(ledger)
            with placing(ledger):
                return _out_of_core(blocks, self._spec(headers, snapshot))
        frame = _as_pandas(ledger)
        customers, table = customers_in_memory(
            frame, self._spec([str(name) for name in frame.columns], snapshot)
        )
        return customers.set_index("customer_id")[list(FEATURE_NAMES)], table


def _is_list_of_paths(ledger: Any) -> bool:
    return isinstance(ledger, list | tuple) and all(isinstance(one, str | Path) for one in ledger)


def _as_pandas(ledger: Any) -> pd.DataFrame:
    if isinstance(ledger, pd.DataFrame):
        return ledger
    frame = nw.from_native(ledger, eager_only=True, pass_through=True)
    if not isinstance(frame, nw.DataFrame):
        raise InputError(
            f"a ledger must be a pandas, Polars, Arrow or dask DataFrame or a path, not "
            f"{type(ledger).__name__}."
        )
    return frame.to_pandas()


def _out_of_core(blocks: FrameBlocks, spec: LedgerSpec) -> tuple[dd.DataFrame, CustomerTable]:
    scratch = _Scratch()
    table = build_customers(blocks, spec, Path(scratch.path))
    columns: dict[str, Any] = {name: np.array([], dtype=np.float64) for name in FEATURE_NAMES}
    meta = pd.DataFrame(columns, index=pd.Index([], dtype="str", name="customer_id"))
    # The index keeps pandas' own text type, as for a frame in memory.
    with dask.config.set({"dataframe.convert-string": False}):
        frame = dd.from_map(
            _ReadCustomers(scratch), list(table.paths), meta=meta, enforce_metadata=False
        )
    return frame, table


def _cut_points_of(table: CustomerTable) -> dict[str, tuple[float, ...]]:
    values, _ = order_statistics(table.blocks(tuple(SCORED)), both_cut_ranks)
    return cut_points(dict(zip(SCORED, (column.tolist() for column in values), strict=True)))
