"""The steps of the waterfall, one by one. The account as a whole stands in test_rfm.py."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from daskseg.errors import UsageError
from daskseg.sources.cleaning import CleaningRules, clean
from daskseg.sources.hashing import hash_texts
from daskseg.sources.ledger import read_lines
from daskseg.sources.waterfall import StepCount, Waterfall, merge_waterfalls
from tests.naive_rfm import ROLES, random_ledger

SNAPSHOT = np.datetime64("2026-02-01", "us")


def line(**values) -> dict:
    plain = {
        "customer_id": "1",
        "order_id": "10",
        "product": "P",
        "date": "2026-01-10",
        "quantity": 2,
        "unit_price": 2.5,
    }
    return {**plain, **values}


def waterfall_of(*rows: dict, **rules) -> Waterfall:
    options = {"price_scale": 1, "non_product_codes": frozenset({"POST"}), **rules}
    lines, _ = read_lines(pd.DataFrame(list(rows)), ROLES)
    return clean(lines, CleaningRules(SNAPSHOT, **options))[1]


def found(waterfall: Waterfall) -> dict[str, tuple[str, int, int]]:
    """Return action, rows and money of the steps that found something, but for the first."""
    return {
        step: (action, count.rows, count.money)
        for step, (action, count) in waterfall.steps.items()
        if count.rows and step != "raw"
    }


@pytest.mark.parametrize(
    ("values", "step"),
    [
        ({"date": None}, ("incomplete", "set_aside", 1, 50)),
        ({"order_id": ""}, ("incomplete", "set_aside", 1, 50)),
        ({"quantity": None}, ("incomplete", "set_aside", 1, 0)),
        ({"unit_price": None}, ("incomplete", "set_aside", 1, 0)),
        ({"date": "2026-02-01"}, ("outside_dates", "set_aside", 1, 50)),
        ({"unit_price": -2.5}, ("adjustments", "set_aside", 1, -50)),
        ({"order_id": "A11"}, ("adjustments", "set_aside", 1, 50)),
        ({"unit_price": 0.0}, ("free_lines", "set_aside", 1, 0)),
        ({"quantity": 0}, ("free_lines", "set_aside", 1, 0)),
        ({"customer_id": None}, ("no_customer_id", "unattributed", 1, 50)),
        ({"customer_id": "1", "quantity": -2}, ("returns", "netted", 1, -50)),
        ({"customer_id": "1", "order_id": "c11"}, ("returns", "netted", 1, 50)),
    ],
)
def test_clean__each_line_has_its_step(values, step):
    name, *facts = step
    waterfall = waterfall_of(line(), line(**values))
    assert found(waterfall) == {name: tuple(facts)}
    assert waterfall.steps["raw"][1].rows == 2


def test_clean__the_first_step_that_fits_takes_the_line():
    everything = line(
        customer_id=None, order_id="A11", product="POST", unit_price=0.0, date="2026-03-01"
    )
    assert list(found(waterfall_of(line(), everything))) == ["outside_dates"]
    assert list(found(waterfall_of(line(), {**everything, "date": None}))) == ["incomplete"]
    in_time = {**everything, "date": "2026-01-01"}
    assert list(found(waterfall_of(line(), in_time))) == ["non_products", "adjustments"]
    assert list(found(waterfall_of(line(), in_time, non_products="drop"))) == ["non_products"]


def test_clean__duplicates_are_counted_and_only_dropped_on_request():
    rows = [line(), line(), line(), line(product="Q")]
    assert found(waterfall_of(*rows)) == {"duplicates": ("kept", 2, 100)}
    dropped = waterfall_of(*rows, duplicates="drop")
    assert found(dropped) == {"duplicates": ("set_aside", 2, 100)}
    assert dropped.segments == 100
    assert waterfall_of(*rows).segments == 200


def test_clean__duplicates_meet_without_customer_and_order_too():
    rows = [line(customer_id=None), line(customer_id=None), line()]
    assert found(waterfall_of(*rows, duplicates="drop"))["duplicates"] == ("set_aside", 1, 50)


def test_clean__non_products_by_code_in_any_case():
    rows = [line(), line(product="post"), line(product="POSTER")]
    assert found(waterfall_of(*rows)) == {"non_products": ("kept", 1, 50)}
    assert waterfall_of(*rows, non_products="drop").segments == 100


def test_clean__letters_mean_nothing_where_the_rule_is_off():
    rows = [line(), line(order_id="A11"), line(order_id="C12"), line(order_id="C13", quantity=-1)]
    waterfall = waterfall_of(*rows, letters_matter=False)
    assert found(waterfall) == {"returns": ("netted", 1, -25)}


def test_clean__longer_words_before_the_digits_are_no_letter():
    waterfall = waterfall_of(line(), line(order_id="CA11"), line(order_id="INV-7"))
    assert found(waterfall) == {}


def test_clean__left_columns_fall_to_the_segments():
    waterfall = waterfall_of(
        line(),
        line(customer_id=None),
        line(customer_id="2", quantity=-1),
        line(customer_id="3", unit_price=0.0),
    )
    frame = waterfall.to_frame()
    assert frame["left_rows"].tolist() == [4, 4, 4, 4, 4, 4, 3, 2, 2, 1]
    assert frame["left_customers"].tolist() == [3, 3, 3, 3, 3, 3, 2, 2, 2, 1]
    assert frame.loc["returns_only", ["rows", "customers", "money"]].tolist() == [1, 1, -2.5]
    assert frame["left_money"].iloc[-1] == 5.0
    assert waterfall.n_returns_only == 1
    assert waterfall.accounting()["clean_lines"] == 1


def test_clean__customers_come_in_canonical_order():
    lines, scan = read_lines(random_ledger(3), ROLES)
    rules = CleaningRules(np.datetime64("2027-01-01", "us"), price_scale=scan.price_scale)
    kept, _ = clean(lines, rules)
    keys = list(zip(hash_texts(kept.customer_ids).tolist(), kept.customer_ids, strict=True))
    assert keys == sorted(keys)
    assert kept.customer.max() == len(kept.customer_ids) - 1


def test_clean__an_empty_bucket_has_all_steps():
    lines, _ = read_lines(pd.DataFrame([line()]).iloc[:0], ROLES)
    kept, empty = clean(lines, CleaningRules(SNAPSHOT, price_scale=1))
    assert len(kept.customer_ids) == 0
    one = waterfall_of(line())
    assert merge_waterfalls(empty, one) == merge_waterfalls(one, empty) == one


def test_merge_waterfalls__adds_everything():
    one = waterfall_of(line(), line(quantity=-1))
    two = waterfall_of(line(customer_id="2", quantity=-3), line(customer_id=None))
    both = waterfall_of(
        line(),
        line(quantity=-1),
        line(customer_id="2", quantity=-3),
        line(customer_id=None),
    )
    assert merge_waterfalls(one, two) == both
    assert StepCount(1, 2, 3).join(StepCount(1, 1, 1)) == StepCount(2, 3, 4)


def test_cleaning_rules__refuse_unknown_words():
    with pytest.raises(UsageError, match="non_products='no' is not known; choose one of 'keep'"):
        CleaningRules(SNAPSHOT, non_products="no")
