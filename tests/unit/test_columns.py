"""Roles of columns: presets, mappings and the errors that lead to one."""

from __future__ import annotations

import pytest

from daskseg.config import LEDGER_ROLES
from daskseg.errors import InputError, UsageError
from daskseg.sources.columns import (
    default_non_product_codes,
    plain_header,
    preset_names,
    resolve,
)

RETAIL_1 = [
    "InvoiceNo", "StockCode", "Description", "Quantity", "InvoiceDate", "UnitPrice", "CustomerID",
    "Country",
]  # fmt: skip
RETAIL_2 = [
    "Invoice", "StockCode", "Description", "Quantity", "InvoiceDate", "Price", "Customer ID",
    "Country",
]  # fmt: skip


def test_resolve__both_header_families_of_the_retail_ledger():
    first, second = resolve(RETAIL_1), resolve(RETAIL_2)
    assert first.keys() == second.keys()
    assert first == {
        "customer_id": "CustomerID",
        "order_id": "InvoiceNo",
        "date": "InvoiceDate",
        "quantity": "Quantity",
        "unit_price": "UnitPrice",
        "product": "StockCode",
        "description": "Description",
        "country": "Country",
    }
    assert second["unit_price"] == "Price"


@pytest.mark.parametrize("change", [str.upper, str.lower, lambda name: name.replace("r", "r ")])
def test_resolve__case_and_blanks_do_not_count(change):
    headers = [change(name) for name in RETAIL_1]
    assert list(resolve(headers).values()) == [change(name) for name in resolve(RETAIL_1).values()]


def test_resolve__generic_names_and_a_lone_amount():
    roles = resolve(["customer_id", "order_id", "order_date", "amount", "sku", "colour"])
    assert roles == {
        "customer_id": "customer_id",
        "order_id": "order_id",
        "date": "order_date",
        "amount": "amount",
        "product": "sku",
    }


def test_resolve__quantity_and_price_win_over_an_amount_that_nobody_named():
    headers = ["customer_id", "order_id", "date", "quantity", "price", "total"]
    assert "amount" not in resolve(headers)
    named = resolve(headers, mapping={"amount": "total"})
    assert named["amount"] == "total"
    assert "quantity" not in named


def test_resolve__a_quantity_without_a_price_is_no_role_beside_an_amount():
    roles = resolve(["customer_id", "order_id", "date", "quantity", "amount"])
    assert set(roles) == {"customer_id", "order_id", "date", "amount"}


def test_resolve__the_mapping_wins():
    headers = ["CustomerID", "member", "InvoiceNo", "InvoiceDate", "Quantity", "UnitPrice"]
    assert resolve(headers, mapping={"customer_id": "member"})["customer_id"] == "member"
    assert resolve(headers, mapping={"customer_id": "Customer id"})["customer_id"] == "CustomerID"


def test_resolve__missing_role_shows_headers_neighbours_and_the_fix():
    headers = ["custmer_id", "order_id", "date", "quantity", "price"]
    with pytest.raises(
        InputError,
        match=r"no column for the role 'customer_id' among the headers 'custmer_id', 'order_id'.*"
        r"Nearest: 'custmer_id'.*--column customer_id=\"custmer_id\"",
    ):
        resolve(headers)
    with pytest.raises(InputError, match=r"role 'unit_price'.*--column unit_price="):
        resolve(["customer_id", "order_id", "date", "quantity"])


def test_resolve__ambiguous_headers_are_a_question():
    headers = [*RETAIL_1, "client_id"]
    with pytest.raises(
        UsageError,
        match=r"'CustomerID', 'client_id' all fit the role 'customer_id'.*--column customer_id=",
    ):
        resolve(headers)
    assert resolve(headers, preset="online_retail")["customer_id"] == "CustomerID"
    with pytest.raises(UsageError, match=r"'Customer ID', 'customer_id' all fit"):
        resolve(["Customer ID", "customer_id", "order_id", "date", "amount"])


def test_resolve__two_descriptions_are_no_question():
    headers = ["customer_id", "order_id", "date", "amount", "description", "item_name"]
    assert resolve(headers)["description"] == "description"


def test_resolve__wrong_mappings():
    with pytest.raises(UsageError, match=r"'custmer' is not a role.*Did you mean 'customer_id'"):
        resolve(RETAIL_1, mapping={"custmer": "CustomerID"})
    with pytest.raises(InputError, match=r"'Custmer ID', asked for as 'customer_id'.*Nearest"):
        resolve(RETAIL_1, mapping={"customer_id": "Custmer ID"})
    with pytest.raises(UsageError, match="cannot be both 'customer_id' and 'order_id'"):
        resolve(RETAIL_1, mapping={"customer_id": "CustomerID", "order_id": "CustomerID"})
    with pytest.raises(UsageError, match=r"fits 'a b', 'A_B'; write the exact header"):
        resolve(["a b", "A_B", *RETAIL_1], mapping={"product": "AB"})
    with pytest.raises(UsageError, match="preset 'shop' is not known; the presets are 'online"):
        resolve(RETAIL_1, preset="shop")


def test_presets__name_known_roles_only_and_no_header_twice():
    assert preset_names() == ("online_retail", "generic")
    for preset in preset_names():
        with pytest.raises(InputError, match="no column"):
            resolve(["zzz"], preset=preset)
    assert set(resolve(RETAIL_1)) <= set(LEDGER_ROLES)
    assert all(code == code.upper().strip() for code in default_non_product_codes())


def test_plain_header__drops_a_byte_order_mark():
    assert plain_header("\ufeffCustomer\u00a0ID") == "customerid"
