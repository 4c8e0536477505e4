"""RFM features, by hand, against a naive version, and in every form of input."""

from __future__ import annotations

import datetime as dt
import gc
import pickle
from decimal import Decimal
from itertools import product
from pathlib import Path

import dask.dataframe as dd
import numpy as np
import pandas as pd
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.base import clone
from sklearn.exceptions import NotFittedError

from daskseg.engine.blocks import FrameBlocks
from daskseg.errors import InputError, UsageError
from daskseg.features.customers import (
    EXTRA_COLUMNS,
    LedgerSpec,
    build_customers,
    customers_in_memory,
    read_customers,
    read_snapshot,
    read_window,
)
from daskseg.features.definitions import FEATURE_NAMES, RFM_FEATURES, feature_records
from daskseg.features.rfm import RFM
from daskseg.features.scores import SCORED, both_cut_ranks, cut_points
from daskseg.metrics.quantiles import order_statistics
from daskseg.sources.cleaning import KEEP_OR_DROP, RETURNS
from tests.naive_rfm import CODES, FEATURES, ROLES, NaiveRfm, random_ledger

SNAPSHOT = dt.date(2026, 3, 10)


def paper_ledger() -> pd.DataFrame:
    """Ten lines that can be added up on paper: 35.00 in all."""
    rows = [
        ("A", "1001", "P1", "2026-01-10 09:00", 2, 10.0),
        ("A", "1001", "P2", "2026-01-10 09:00", 1, 5.0),
        ("A", "C1002", "P1", "2026-02-01 12:00", -2, 10.0),
        ("A", "1003", "P3", "2026-03-01 23:59", 4, 2.5),
        ("B", "1004", "P1", "2026-01-15 00:00", 1, 10.0),
        ("B", "C1005", "P9", "2026-03-20 10:00", -1, 3.0),
        ("C", "C1006", "P1", "2026-03-25 10:00", -1, 10.0),
        (None, "1007", "P1", "2026-02-02 10:00", 3, 10.0),
        ("D", "1008", "P1", "2026-03-31 10:00", 1, 0.0),
        ("A", "A1009", "P1", "2026-03-05 10:00", 1, -7.0),
    ]
    names = ["customer_id", "order_id", "product", "date", "quantity", "unit_price"]
    return pd.DataFrame(rows, columns=names).assign(date=lambda f: pd.to_datetime(f["date"]))


def paper_features(returns: str) -> tuple[pd.DataFrame, RFM]:
    rfm = RFM(snapshot="2026-04-01", returns=returns)
    return rfm.fit_transform(paper_ledger()).sort_index(), rfm


def test_rfm__net_by_hand():
    features, rfm = paper_features("net")
    assert features.index.tolist() == ["A", "B"]
    assert features.loc["A"].tolist() == [31, 2, 15.0, 35.0, 20.0, 17.5, 20 / 35, 81, 2, 50]
    expected_b = [76, 1, 7.0, 10.0, 3.0, 10.0, 0.3, 76, 1]
    assert features.loc["B"].tolist()[:-1] == expected_b
    assert np.isnan(features.loc["B", "interpurchase_days_median"])
    account = rfm.waterfall_.accounting()
    assert account["segments"] == 22
    assert account["unattributed"] == 30
    assert account["returns_only"] == -10
    assert account["returns_only_customers"] == 1
    assert account["set_aside"]["adjustments"] == -7
    assert account["total"] == 35
    assert account["clean_lines"] == 4


def test_rfm__match_by_hand():
    features, rfm = paper_features("match")
    # The sale of two P1 and its return are gone; the order 1001 stays because of P2.
    assert features.loc["A"].tolist() == [31, 2, 15.0, 15.0, 0.0, 7.5, 0.0, 81, 2, 50]
    assert features.loc["B", "spend_net"] == 7
    steps = rfm.waterfall_.to_frame()
    assert steps.loc["returns", ["action", "rows", "money"]].tolist() == ["matched", 2, 0]
    assert steps.loc["returns_left", ["action", "rows", "money"]].tolist() == ["netted", 2, -13]
    assert rfm.waterfall_.clean_lines == 3


def test_rfm__drop_by_hand():
    features, rfm = paper_features("drop")
    assert features.loc["A"].tolist() == [31, 2, 35.0, 35.0, 0.0, 17.5, 0.0, 81, 2, 50]
    account = rfm.waterfall_.accounting()
    assert account["segments"] == 45
    assert account["set_aside"]["returns"] == -33
    assert account["returns_only"] == 0


def test_rfm__keep_by_hand():
    features, _ = paper_features("keep")
    # The return counts as an order, and still makes nobody look more recent.
    assert features.loc["A", ["recency_days", "n_orders", "spend_net"]].tolist() == [31, 3, 15]
    assert features.loc["B", ["recency_days", "n_orders", "spend_net"]].tolist() == [76, 2, 7]


@pytest.mark.parametrize("returns", RETURNS)
def test_rfm__a_refund_never_lowers_recency(returns):
    ledger = paper_ledger()
    refund = ledger.iloc[[2]].assign(order_id="C2000", date=pd.Timestamp("2026-03-30"))
    before = RFM(snapshot="2026-04-01", returns=returns).fit_transform(ledger)
    after = RFM(snapshot="2026-04-01", returns=returns).fit_transform(
        pd.concat([ledger, refund], ignore_index=True)
    )
    assert (after["recency_days"] >= before["recency_days"]).all()


def test_rfm__match_that_empties_an_order_removes_it():
    ledger = paper_ledger().drop(index=1)
    features = RFM(snapshot="2026-04-01", returns="match").fit_transform(ledger)
    # First order, tenure and order days forget the sale that was cancelled as well.
    assert features.loc["A", ["n_orders", "tenure_days", "n_order_days"]].tolist() == [1, 31, 1]


def test_rfm__match_takes_the_latest_sale_that_is_not_later():
    rows = [
        ("A", "1", "P", "2026-01-01", 1, 4.0),
        ("A", "2", "P", "2026-01-05", 1, 4.0),
        ("A", "C3", "P", "2026-01-07", -1, 4.0),
        ("A", "4", "P", "2026-01-09", 1, 4.0),
        ("A", "C5", "P", "2025-12-30", -1, 4.0),
    ]
    ledger = pd.DataFrame(rows, columns=list(paper_ledger().columns))
    rfm = RFM(snapshot="2026-02-01", returns="match")
    features = rfm.fit_transform(ledger)
    # 2 is taken by C3; C5 comes before every sale and is subtracted.
    assert features.loc["A"].tolist()[:5] == [23, 2, 4.0, 8.0, 4.0]
    assert features.loc["A", "tenure_days"] == 31
    assert rfm.waterfall_.to_frame().loc["returns_left", "rows"] == 1


def test_rfm__window_keeps_the_first_order():
    features = RFM(snapshot="2026-04-01", window="40d").fit_transform(paper_ledger())
    assert features.index.tolist() == ["A"]
    row = features.loc["A"]
    assert row[["recency_days", "n_orders", "spend_net", "tenure_days"]].tolist() == [31, 1, 10, 81]


def test_rfm__default_snapshot_is_the_day_after_the_last_line():
    rfm = RFM().fit(paper_ledger())
    assert rfm.snapshot_ == dt.date(2026, 4, 1)
    assert any("2026-04-01" in notice for notice in rfm.notices_)


def test_rfm__lines_on_the_snapshot_day_do_not_count():
    rfm = RFM(snapshot="2026-03-01")
    features = rfm.fit_transform(paper_ledger())
    assert features.loc["A", "spend_net"] == 5
    assert rfm.waterfall_.to_frame().loc["outside_dates", "rows"] == 5


MODES = list(product(RETURNS, KEEP_OR_DROP, KEEP_OR_DROP, (None, 30)))


@pytest.mark.parametrize(("returns", "duplicates", "non_products", "window"), MODES)
def test_rfm__equals_the_naive_version(returns, duplicates, non_products, window):
    for seed in range(3):
        ledger = random_ledger(seed)
        rfm = RFM(
            snapshot=SNAPSHOT,
            window=window,
            returns=returns,
            duplicates=duplicates,
            non_products=non_products,
            non_product_codes=sorted(CODES),
        )
        features = rfm.fit_transform(ledger).sort_index()
        naive = NaiveRfm(
            ledger,
            snapshot=SNAPSHOT,
            window_days=window,
            returns=returns,
            duplicates=duplicates,
            non_products=non_products,
        )
        pd.testing.assert_frame_equal(
            features, naive.frame(), check_index_type=False, check_names=False, rtol=1e-13, atol=0
        )
        waterfall = rfm.waterfall_
        unit = Decimal(10) ** -waterfall.decimals
        assert waterfall.segments * unit == naive.segments
        assert waterfall.unattributed * unit == naive.unattributed
        assert waterfall.returns_only * unit == naive.returns_only
        assert waterfall.total * unit == naive.total
        for step, units in waterfall.set_aside.items():
            assert units * unit == naive.set_aside[step], step


@given(
    st.integers(0, 10_000),
    st.sampled_from(RETURNS),
    st.sampled_from(KEEP_OR_DROP),
    st.sampled_from(KEEP_OR_DROP),
    st.sampled_from([None, 20]),
)
def test_rfm__all_money_is_somewhere(seed, returns, duplicates, non_products, window):
    rfm = RFM(
        snapshot=SNAPSHOT,
        window=window,
        returns=returns,
        duplicates=duplicates,
        non_products=non_products,
    ).fit(random_ledger(seed, 80))
    account = rfm.waterfall_
    everything = account.segments + account.unattributed + account.returns_only
    assert everything + sum(account.set_aside.values()) == account.total
    last = account.to_records()[-1]
    assert last["left_rows"] >= account.clean_lines
    assert last["left_customers"] == rfm.n_customers_ == account.n_customers
    assert last["left_money"] == account.money(account.segments)


@pytest.mark.parametrize("returns", RETURNS)
def test_build_customers__no_order_partition_or_bucket_shows(tmp_path, returns):
    ledger = random_ledger(5, 600)
    spec = LedgerSpec(ROLES, snapshot=SNAPSHOT, returns=returns, duplicates="drop")
    expected, whole = customers_in_memory(ledger, spec)
    rng = np.random.default_rng(0)
    for block_rows, n_buckets in ((1000, 1), (97, 3), (50, 16)):
        shuffled = ledger.iloc[rng.permutation(len(ledger))]
        folder = tmp_path / f"{block_rows}"
        folder.mkdir()
        blocks = FrameBlocks.from_frame(shuffled, block_rows)
        table = build_customers(blocks, spec, folder, n_buckets)
        parts = [read_customers(path, [*FEATURE_NAMES, *EXTRA_COLUMNS]) for path in table.paths]
        pd.testing.assert_frame_equal(
            pd.concat(parts), expected.set_index("customer_id"), check_exact=True
        )
        assert table.waterfall == whole.waterfall
        assert table.fingerprint == whole.fingerprint
        assert table.lengths == tuple(len(part) for part in parts)
        assert table.n_customers == len(expected)
        assert sum(table.blocks().lengths) == len(expected)


def test_build_customers__order_statistics_give_the_same_cuts(tmp_path):
    ledger = random_ledger(6, 600)
    rfm = RFM(snapshot=SNAPSHOT).fit(ledger)
    blocks = FrameBlocks.from_frame(ledger, 100)
    table = build_customers(blocks, LedgerSpec(ROLES, snapshot=SNAPSHOT), tmp_path, 4)
    values, _ = order_statistics(table.blocks(tuple(SCORED)), both_cut_ranks)
    assert cut_points(dict(zip(SCORED, values, strict=True))) == rfm.cut_points_


def test_build_customers__errors_of_tasks_reach_the_caller(tmp_path):
    ledger = paper_ledger().assign(quantity=["2", "1", "-2", "four", *["1"] * 6])
    with pytest.raises(InputError, match=r"1 of 10 values of the column 'quantity'.*'four'"):
        build_customers(FrameBlocks.from_frame(ledger, 3), LedgerSpec(ROLES), tmp_path)


def test_rfm__same_bits_from_every_kind_of_input(tmp_path):
    ledger = random_ledger(7)
    expected = RFM(snapshot=SNAPSHOT).fit_transform(ledger)
    ledger.to_parquet(tmp_path / "ledger.parquet", row_group_size=60)
    (tmp_path / "csv").mkdir()
    for start in range(0, len(ledger), 100):
        part = ledger.iloc[start : start + 100]
        part.to_csv(tmp_path / "csv" / f"{start}.csv", index=False)
    ledger.assign(date=ledger["date"].astype(str)).to_json(
        tmp_path / "ledger.jsonl", orient="records", lines=True
    )
    inputs = {
        "polars": pl.from_pandas(ledger),
        "arrow": pl.from_pandas(ledger).to_arrow(),
        "dask": dd.from_pandas(ledger, npartitions=3),
        "parquet": tmp_path / "ledger.parquet",
        "csv": str(tmp_path / "csv"),
        "ndjson": [tmp_path / "ledger.jsonl"],
    }
    reference = RFM(snapshot=SNAPSHOT).fit(ledger)
    for kind, given_ledger in inputs.items():
        rfm = RFM(snapshot=SNAPSHOT)
        features = rfm.fit_transform(given_ledger)
        if kind in ("dask", "parquet", "csv", "ndjson"):
            assert isinstance(features, dd.DataFrame), kind
            features = features.compute()
        pd.testing.assert_frame_equal(features, expected, check_exact=True)
        assert rfm.cut_points_ == reference.cut_points_, kind
        assert rfm.fingerprint_ == reference.fingerprint_, kind
        assert rfm.waterfall_ == reference.waterfall_, kind


def test_rfm__files_of_a_lazy_frame_go_with_the_last_frame_that_needs_them(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    frame = RFM(snapshot=SNAPSHOT).fit_transform(dd.from_pandas(random_ledger(8), npartitions=2))
    derived = frame["spend_net"].sum()
    del frame
    gc.collect()
    assert derived.compute() != 0
    assert list(tmp_path.glob("daskseg-rfm-*"))
    pickle.loads(pickle.dumps(derived))
    gc.collect()
    assert derived.compute() != 0
    del derived
    gc.collect()
    assert not list(tmp_path.glob("daskseg-rfm-*"))


def test_rfm__transform_uses_the_fitted_snapshot_or_a_new_one():
    ledger = paper_ledger()
    rfm = RFM()
    fitted = rfm.fit_transform(ledger)
    pd.testing.assert_frame_equal(rfm.transform(ledger), fitted)
    later = rfm.transform(ledger, snapshot="2026-05-01")
    assert (later["recency_days"] - fitted["recency_days"]).tolist() == [30, 30]
    assert rfm.snapshot_ == dt.date(2026, 4, 1)


def test_rfm__scores_and_codes():
    rfm = RFM(snapshot="2026-04-01")
    features = rfm.fit_transform(paper_ledger())
    scores = rfm.scores(features)
    assert scores.loc["A", "rfm_code"] == "R3F3M3"
    assert scores.loc["B", "rfm_code"] == "R1F1M1"
    assert scores.dtypes.astype(str).tolist() == ["int8", "int8", "int8", "str"]


def test_rfm__is_a_scikit_learn_estimator():
    rfm = RFM(returns="match", window=90)
    assert clone(rfm).get_params() == rfm.get_params()
    assert rfm.set_params(returns="net").returns == "net"
    assert rfm.get_feature_names_out().tolist() == list(FEATURES) == list(FEATURE_NAMES)
    with pytest.raises(NotFittedError):
        rfm.explain()
    with pytest.raises(NotFittedError):
        rfm.transform(paper_ledger())


@pytest.mark.parametrize("returns", RETURNS)
def test_rfm__explains_every_feature(returns):
    sentences = RFM(returns=returns, window="60d").fit(paper_ledger()).explain()
    assert list(sentences) == list(FEATURE_NAMES)
    assert all(sentence.endswith(".") and "{" not in sentence for sentence in sentences.values())
    assert "60 days before 2026-04-01" in sentences["spend_net"]
    assert "60 days" not in sentences["tenure_days"]


def test_feature_records__hold_what_a_report_needs():
    records = feature_records(snapshot="2026-04-01", money_decimals=3)
    assert [record["name"] for record in records] == list(FEATURE_NAMES)
    assert [record["role"] for record in records][:4] == ["active"] * 3 + ["passive"]
    assert records[2]["decimals"] == 3
    assert all(record["label"] for record in records)
    assert {feature.unit for feature in RFM_FEATURES} == {"days", "orders", "money", "share"}


def test_rfm__product_and_extra_columns_are_not_needed():
    ledger = paper_ledger().drop(columns="product")
    assert RFM(snapshot="2026-04-01", returns="match").fit_transform(ledger).shape == (2, 10)


def test_rfm__an_amount_replaces_quantity_and_price():
    ledger = paper_ledger()
    amount = ledger["quantity"] * ledger["unit_price"]
    by_amount = ledger.drop(columns=["quantity", "unit_price"]).assign(amount=amount)
    rfm = RFM(snapshot="2026-04-01")
    features = rfm.fit_transform(by_amount).sort_index()
    assert features["spend_net"].tolist() == [15.0, 7.0]
    assert features["n_orders"].tolist() == [2, 1]


def test_rfm__order_ids_with_letters_are_no_cancellations_where_all_have_letters():
    ledger = paper_ledger().assign(order_id=lambda f: "C" + f["order_id"].str.strip("AC"))
    rfm = RFM(snapshot="2026-04-01")
    features = rfm.fit_transform(ledger).sort_index()
    assert features["n_orders"].tolist() == [2, 1]
    assert any("letter" in notice for notice in rfm.notices_)


def test_rfm__positive_cancellations_are_told():
    ledger = paper_ledger()
    ledger.loc[2, "quantity"] = 2
    rfm = RFM(snapshot="2026-04-01").fit(ledger)
    assert any("positive amount" in notice for notice in rfm.notices_)


def test_rfm__refuses_a_ledger_without_customers():
    ledger = paper_ledger()
    with pytest.raises(InputError, match=r"no customer has a sale.*2026-01-10 to 2026-03-31"):
        RFM(snapshot="2026-01-01").fit(ledger)
    with pytest.raises(InputError, match="none of 10 lines has a customer id"):
        RFM().fit(ledger.assign(customer_id=None))
    with pytest.raises(InputError, match="no lines"):
        RFM().fit(ledger.iloc[:0])


def test_rfm__refuses_wrong_parameters():
    ledger = paper_ledger()
    with pytest.raises(UsageError, match=r"returns='nett' is not known; choose one of 'net'"):
        RFM(returns="nett").fit(ledger)
    with pytest.raises(UsageError, match="duplicates=True"):
        RFM(duplicates=True).fit(ledger)
    with pytest.raises(UsageError, match=r"snapshot='1.4.2026' is not a day"):
        RFM(snapshot="1.4.2026").fit(ledger)
    with pytest.raises(UsageError, match="must be a whole day"):
        RFM(snapshot=dt.datetime(2026, 4, 1, 8)).fit(ledger)
    with pytest.raises(InputError, match="not ndarray"):
        RFM().fit(np.zeros((2, 2)))


def test_rfm__refuses_future_lines_without_a_snapshot():
    ledger = paper_ledger()
    spec = LedgerSpec(ROLES, today=dt.date(2026, 3, 24))
    with pytest.raises(
        InputError, match=r"2 of 10 lines are dated after today.*2026-03-31.*--snapshot 2026-03-24"
    ):
        customers_in_memory(ledger, spec)
    spec = LedgerSpec(ROLES, today=dt.date(2026, 3, 24), snapshot=dt.date(2026, 3, 24))
    _, table = customers_in_memory(ledger, spec)
    assert table.waterfall.to_frame().loc["outside_dates", "rows"] == 2


@pytest.mark.parametrize(
    ("value", "days"), [(None, None), ("365d", 365), ("2w", 14), (7, 7), (dt.timedelta(days=3), 3)]
)
def test_read_window__forms(value, days):
    assert read_window(value) == days


@pytest.mark.parametrize("value", ["1y", "0d", 0, -3, 1.5, True, dt.timedelta(hours=5)])
def test_read_window__refuses(value):
    with pytest.raises(UsageError, match="is not a length of time"):
        read_window(value)


def test_read_snapshot__forms():
    day = dt.date(2026, 4, 1)
    moments = (dt.datetime(2026, 4, 1), pd.Timestamp(day), np.datetime64(day))
    for value in ("2026-04-01", day, *moments):
        assert read_snapshot(value) == day


@pytest.fixture(scope="module")
def retail() -> pd.DataFrame:
    path = Path(__file__).resolve().parents[2] / "examples" / "data" / "online_retail.parquet"
    return pd.read_parquet(path)


def test_rfm__known_figures_of_the_retail_ledger(retail):
    rfm = RFM(returns="drop")
    features = rfm.fit_transform(retail)
    account = rfm.waterfall_
    assert account.clean_lines == 397_884
    assert account.n_customers == len(features) == 4_338
    assert account.segments == 8_911_407_904
    assert account.total == 9_747_747_934
    assert account.decimals == 3
    steps = account.to_frame()
    assert steps.loc["duplicates", "rows"] == 5_268
    assert steps.loc["adjustments", "rows"] == 3
    assert steps.loc["free_lines", "rows"] == 2_515
    assert rfm.snapshot_ == dt.date(2011, 12, 10)
    assert features["recency_days"].min() == 1


def test_rfm__the_retail_ledger_has_the_same_rfm_under_both_headers(retail):
    other = retail.rename(
        columns={"InvoiceNo": "Invoice", "UnitPrice": "Price", "CustomerID": "Customer ID"}
    )
    one, two = RFM(), RFM()
    pd.testing.assert_frame_equal(one.fit_transform(retail), two.fit_transform(other))
    assert one.fingerprint_ == two.fingerprint_
    assert one.waterfall_.accounting() == {
        "segments": 8310477.054,
        "unattributed": 1458744.18,
        "returns_only": -10411.24,
        "set_aside": {
            "incomplete": 0.0,
            "outside_dates": 0.0,
            "duplicates": 0.0,
            "non_products": 0.0,
            "adjustments": -11062.06,
            "free_lines": 0.0,
            "returns": 0.0,
        },
        "total": 9747747.934,
        "returns_only_customers": 33,
        "clean_lines": 397_884,
    }


def test_naive__agrees_with_paper():
    # A guard for the guard: the naive version sees the paper ledger as paper does.
    naive = NaiveRfm(paper_ledger().assign(note=""), snapshot=dt.date(2026, 4, 1))
    assert naive.frame().loc["A"].tolist() == [31, 2, 15.0, 35.0, 20.0, 17.5, 20 / 35, 81, 2, 50]
