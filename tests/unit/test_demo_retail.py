"""The synthetic retail ledger: what it promises about its lines and its truth."""

from __future__ import annotations

import hashlib

import numpy as np
import pandas as pd
import pytest

from daskseg.demo.retail import SEGMENTS, make_ledger, write_demo
from daskseg.errors import UsageError

ROWS = 30_000
HEADERS = "InvoiceNo StockCode Description Quantity InvoiceDate UnitPrice CustomerID Country"


@pytest.fixture(scope="module")
def made():
    return make_ledger(ROWS, seed=3)


@pytest.fixture(scope="module")
def ledger(made):
    return made[0]


@pytest.fixture(scope="module")
def truth(made):
    return made[1]


def test_segments__shares_add_up():
    assert sum(segment.share for segment in SEGMENTS) == pytest.approx(1.0)
    assert len({segment.name for segment in SEGMENTS}) == len(SEGMENTS)


@pytest.mark.parametrize("rows", [1_000, 1_001, 4_321])
def test_make_ledger__has_exactly_the_rows_asked_for(rows):
    assert len(make_ledger(rows, seed=rows)[0]) == rows


def test_make_ledger__has_the_headers_and_types(ledger):
    assert list(ledger.columns) == HEADERS.split()
    assert ledger["Quantity"].dtype == np.int64
    assert ledger["InvoiceDate"].dtype == "datetime64[us]"
    assert ledger["UnitPrice"].dtype == np.float64
    assert ledger["CustomerID"].dtype == "Int64"


def test_make_ledger__is_in_order_of_time_within_the_calendar(ledger):
    assert ledger["InvoiceDate"].is_monotonic_increasing
    assert ledger["InvoiceDate"].min() >= pd.Timestamp("2023-07-01")
    assert ledger["InvoiceDate"].max() < pd.Timestamp("2025-07-01")


def test_make_ledger__prices_have_two_decimals(ledger):
    cents = ledger["UnitPrice"] * 100
    assert (np.rint(cents) / 100 == ledger["UnitPrice"]).all()
    assert (ledger["UnitPrice"] >= 0).all()


def test_make_ledger__carries_the_usual_dirt(ledger):
    assert ledger["CustomerID"].isna().mean() == pytest.approx(0.20, abs=0.02)
    assert 0.005 < ledger.duplicated().mean() < 0.02
    assert 0.002 < (ledger["UnitPrice"] == 0).mean() < 0.008
    assert 0.005 < (ledger["StockCode"] == "POST").mean() < 0.04
    assert ledger["Description"].isna().any()


def test_make_ledger__negative_quantities_are_the_c_invoices(ledger):
    is_return = ledger["InvoiceNo"].str.startswith("C")
    assert 0.005 < is_return.mean() < 0.03
    assert (is_return == (ledger["Quantity"] < 0)).all()
    assert (ledger["Quantity"] != 0).all()


def test_make_ledger__returns_follow_a_sale_of_the_same_product_and_price(ledger):
    key = ["CustomerID", "StockCode", "UnitPrice"]
    named = ledger[ledger["CustomerID"].notna()]
    sold = named[named["Quantity"] > 0].groupby(key)["InvoiceDate"].min().rename("sold")
    returned = named[named["Quantity"] < 0].join(sold, on=key)
    assert (returned["InvoiceDate"] > returned["sold"]).all()


def test_make_ledger__an_invoice_has_one_customer_and_one_moment(ledger):
    named = ledger[ledger["CustomerID"].notna()]
    per_invoice = named.groupby("InvoiceNo").agg(
        customers=("CustomerID", "nunique"), moments=("InvoiceDate", "nunique")
    )
    assert (per_invoice == 1).all(axis=None)


def test_make_ledger__truth_has_every_customer_once(ledger, truth):
    ids = ledger["CustomerID"].dropna().astype("int64").astype(str)
    assert list(truth.columns) == ["customer_id", "planted_segment"]
    assert truth["customer_id"].is_unique
    assert set(truth["customer_id"]) == set(ids)


def test_make_ledger__every_kind_is_planted_near_its_share(truth):
    share = truth["planted_segment"].value_counts(normalize=True)
    for segment in SEGMENTS:
        assert share[segment.name] == pytest.approx(segment.share, abs=0.05)


def test_make_ledger__kinds_behave_as_planted(ledger, truth):
    named = ledger[ledger["CustomerID"].notna()].copy()
    named["customer_id"] = named["CustomerID"].astype("int64").astype(str)
    named["money"] = named["Quantity"] * named["UnitPrice"]
    end = ledger["InvoiceDate"].max()
    customers = named.groupby("customer_id").agg(
        last=("InvoiceDate", "max"), orders=("InvoiceNo", "nunique"), spend=("money", "sum")
    )
    customers["days_ago"] = (end - customers["last"]).dt.days
    kind = truth.set_index("customer_id")["planted_segment"].reindex(customers.index)
    middle = customers[["days_ago", "orders", "spend"]].groupby(kind).median()
    assert middle.loc["one_timer", "orders"] == 1
    assert middle.loc["champion", "orders"] > 2 * middle.loc["faded", "orders"]
    assert middle.loc["faded", "days_ago"] > 200 > middle.loc["regular", "days_ago"]
    assert middle.loc["newcomer", "days_ago"] < 60
    assert middle["spend"].idxmax() == "wholesale"


def test_make_ledger__equal_seeds_give_equal_ledgers():
    one, other = make_ledger(2_000, seed=5), make_ledger(2_000, seed=5)
    pd.testing.assert_frame_equal(one[0], other[0])
    pd.testing.assert_frame_equal(one[1], other[1])
    assert not make_ledger(2_000, seed=6)[0].equals(one[0])


def test_make_ledger__too_few_rows_are_refused():
    with pytest.raises(UsageError, match=r"of 999 rows .* at least 1000 .* --rows 1000"):
        make_ledger(999)


def test_make_ledger__negative_seed_is_refused():
    with pytest.raises(UsageError, match="seed is -1"):
        make_ledger(1_000, seed=-1)


def test_write_demo__writes_the_same_bytes_again(tmp_path):
    digests = []
    for name in ("a", "b"):
        path = write_demo(tmp_path / name, rows=2_000, seed=1)
        assert path == tmp_path / name / "ledger.parquet"
        digests.append(
            [
                hashlib.sha256((tmp_path / name / file).read_bytes()).hexdigest()
                for file in ("ledger.parquet", "truth.parquet")
            ]
        )
    assert digests[0] == digests[1]


def test_write_demo__files_hold_what_was_made(tmp_path):
    path = write_demo(tmp_path, rows=2_000, seed=1)
    ledger, truth = make_ledger(2_000, seed=1)
    read = pd.read_parquet(path)
    assert read["CustomerID"].isna().sum() == ledger["CustomerID"].isna().sum()
    pd.testing.assert_frame_equal(
        read.drop(columns="CustomerID"), ledger.drop(columns="CustomerID"), check_dtype=False
    )
    pd.testing.assert_frame_equal(
        pd.read_parquet(tmp_path / "truth.parquet"), truth, check_dtype=False
    )
