"""Lines of a ledger: ids, numbers, dates, hashes, and what is refused."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from daskseg.errors import InputError, UsageError
from daskseg.features.customers import LedgerSpec, make_rules
from daskseg.sources.ledger import LINE_COLUMNS, bucket_of, read_lines, split_lines
from daskseg.sources.scan import LedgerScan, check_scan, merge_scans
from daskseg.sources.values import (
    count_decimals,
    has_decimal_comma,
    read_ids,
    read_numbers,
    read_product_codes,
    read_texts,
    read_times,
    to_units,
)
from tests.naive_rfm import ROLES, random_ledger

TODAY = dt.date(2026, 6, 1)


def ledger(**columns) -> pd.DataFrame:
    frame = pd.DataFrame(
        {
            "customer_id": ["1", "2", "3", "4"],
            "order_id": ["10", "11", "12", "13"],
            "product": ["a", "b", "c", "d"],
            "date": ["2026-01-01", "2026-01-02", "2026-01-03", "2026-01-04"],
            "quantity": ["1", "2", "3", "4"],
            "unit_price": ["2.5", "2.5", "2.5", "2.5"],
        }
    )
    return frame.assign(**columns)


def check(frame: pd.DataFrame, roles=None, **options) -> LedgerScan:
    roles = roles or ROLES
    _, scan = read_lines(frame, roles, options.get("date_format"), TODAY)
    make_rules(scan, LedgerSpec(roles, snapshot=options.get("snapshot"), today=TODAY))
    return scan


def decode(coded) -> list[str | None]:
    return [None if code < 0 else coded.texts[code] for code in coded.codes]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (["17850.0", " 17850 ", "17850"], ["17850"] * 3),
        (["007", "7", "007.0"], ["007", "7", "007"]),
        (["", "nan", "None", "NULL", "n/a", "NaT", None], [None] * 7),
        (np.array([17850.0, np.nan, 1.5]), ["17850", None, "1.5"]),
        (np.array([17850, 7]), ["17850", "7"]),
        (pd.array([17850, None], dtype="Int64"), ["17850", None]),
        (pd.Categorical(["a ", "a", None]), ["a", "a", None]),
        (["12.0a", "1.0.0", ".0", "A.0"], ["12.0a", "1.0.0", ".0", "A.0"]),
    ],
)
def test_read_ids__forms(values, expected):
    coded, damaged = read_ids(pd.Series(values))
    assert decode(coded) == expected
    assert damaged.count == 0


@pytest.mark.parametrize("value", ["1.23E+05", "1E+11", "1,5e+10", 2.0**60])
def test_read_ids__scientific_notation_is_damage(value):
    _, damaged = read_ids(pd.Series([value, value]))
    assert damaged.count == 2


def test_read_ids__hexadecimal_ids_are_no_damage():
    coded, damaged = read_ids(pd.Series(["1e5", "12e4f"]))
    assert decode(coded) == ["1e5", "12e4f"]
    assert damaged.count == 0


def test_read_product_codes__na_may_be_a_product():
    coded = read_product_codes(pd.Series(["NA", "null", "", "22139.0"]))
    assert decode(coded) == ["NA", "null", None, "22139"]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (["2.5", " 2.50 ", "", "NaN", "-1e3", "+.5", "5."], [2.5, 2.5, None, None, -1000, 0.5, 5]),
        ([Decimal("2.55"), None], [2.55, None]),
        (np.array([2.55, 7], dtype=np.float32), [2.55, 7]),
        (pd.array([3, None], dtype="Int64"), [3, None]),
        (np.array([1, 2], dtype=np.int8), [1, 2]),
    ],
)
def test_read_numbers__forms(values, expected):
    numbers, bad = read_numbers(pd.Series(values))
    assert [None if np.isnan(number) else number for number in numbers] == expected
    assert bad.count == 0


@pytest.mark.parametrize("value", ["abc", "1,5", "£2", "1_000", "inf", "0x1", "1 2", "٣"])
def test_read_numbers__other_texts_are_bad(value):
    numbers, bad = read_numbers(pd.Series([value, "1", value]))
    assert np.isnan(numbers[0])
    assert (bad.count, bad.example) == (2, value)


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_read_numbers__text_is_correctly_rounded(number):
    assert read_numbers(pd.Series([repr(number)]))[0][0] == number


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2010-12-01", "2010-12-01"),
        ("2010-12-01 08:26:00", "2010-12-01T08:26:00"),
        ("2010-12-01T08:26", "2010-12-01T08:26:00"),
        ("2010-12-01T08:26:00.5Z", "2010-12-01T08:26:00.5"),
        ("2010-12-01T23:26:00+02:00", "2010-12-01T23:26:00"),
        ("2010-12-01T23:26:00-0500", "2010-12-01T23:26:00"),
        ("20101201", "2010-12-01"),
    ],
)
def test_read_times__iso_by_the_wall_clock(text, expected):
    times, bad = read_times(pd.Series([text, None, ""]))
    assert times[0] == np.datetime64(expected, "us")
    assert np.isnat(times[1:]).all()
    assert bad.count == 0


@pytest.mark.parametrize("text", ["12/1/2010 8:26", "01.12.2010", "2010", "2010-13-01", "40513.3"])
def test_read_times__anything_else_is_bad(text):
    _, bad = read_times(pd.Series([text, "2010-12-01"]))
    assert (bad.count, bad.example) == (1, text)


def test_read_times__kinds_of_values():
    day = np.datetime64("2010-12-01", "us")
    zoned = pd.Series(pd.to_datetime(["2010-12-01"])).dt.tz_localize("Asia/Tokyo")
    for values in (
        pd.Series([dt.date(2010, 12, 1)]),
        pd.Series([dt.datetime(2010, 12, 1)], dtype=object),
        pd.Series(pd.to_datetime(["2010-12-01"])).astype("datetime64[s]"),
        pd.Series([20101201]),
        zoned,
    ):
        times, bad = read_times(values)
        assert times[0] == day
        assert times.dtype == "datetime64[us]"
        assert bad.count == 0


def test_read_times__format():
    times, bad = read_times(pd.Series(["1/12/2010 8:26", "2010-12-01"]), "%d/%m/%Y %H:%M")
    assert times[0] == np.datetime64("2010-12-01T08:26", "us")
    assert (bad.count, bad.example) == (1, "2010-12-01")
    with pytest.raises(UsageError, match="date format '%Q' cannot be used"):
        read_times(pd.Series(["2010-12-01"]), "%Q")


@given(st.lists(st.decimals(0, 10**6, places=4), min_size=1, max_size=20))
def test_count_decimals__is_the_smallest_exact_number(values):
    numbers = np.array([float(value) for value in values])
    decimals, n_longer = count_decimals(numbers)
    assert n_longer == 0
    exact = [max(0, -value.normalize().as_tuple().exponent) for value in values]
    assert decimals == max(exact)
    units = to_units(numbers, decimals)
    assert units.tolist() == [int(value * 10**decimals) for value in values]


def test_count_decimals__counts_longer_ones():
    assert count_decimals(np.array([1 / 3, 0.25, np.nan, 0.1 + 0.2, 1e-9])) == (9, 2)
    assert count_decimals(np.array([])) == (0, 0)


def test_has_decimal_comma__forms():
    assert [has_decimal_comma(text) for text in ("2,5", "1.234,50", "2.5", "a,b", "1 000,5")] == [
        True, True, False, False, True,
    ]  # fmt: skip


def test_read_lines__shape_and_types():
    lines, scan = read_lines(ledger(), ROLES)
    assert tuple(lines.columns) == LINE_COLUMNS
    assert lines.dtypes.astype(str).tolist() == [
        "str", "str", "str", "datetime64[us]", "float64", "float64", "uint64", "uint64",
    ]  # fmt: skip
    assert scan.n_rows == 4
    assert scan.money_decimals == 1
    assert str(scan.last_time)[:10] == "2026-01-04"
    assert len(read_lines(ledger().iloc[:0], ROLES)[0]) == 0


def test_read_lines__copies_have_equal_hashes_and_no_other_lines():
    frame = ledger(note=["x", "y ", "z", "w"])
    copies = pd.concat([frame, frame.iloc[[1]].assign(note=" y"), frame.iloc[[1]].assign(note="Y")])
    lines, _ = read_lines(copies, ROLES)
    pairs = list(zip(lines["line_hash_1"], lines["line_hash_2"], strict=True))
    assert pairs[4] == pairs[1]
    assert len(set(pairs)) == 5
    # The two hashes are of different functions.
    assert len({first for first, _ in pairs} & {second for _, second in pairs}) == 0


def test_read_lines__exchanged_values_change_the_hashes():
    one, _ = read_lines(ledger(a=["x", "", "", ""], b=["", "x", "", ""]), ROLES)
    two, _ = read_lines(ledger(a=["", "x", "", ""], b=["x", "", "", ""]), ROLES)
    assert (one["line_hash_1"] == two["line_hash_1"]).tolist() == [False, False, True, True]


def test_scan__fingerprint_is_free_of_order_blocks_columns_and_format():
    frame = random_ledger(1)
    _, whole = read_lines(frame, ROLES)
    shuffled = frame.sample(frac=1, random_state=0)[frame.columns[::-1]]
    parts = [read_lines(shuffled.iloc[start : start + 70], ROLES)[1] for start in range(0, 500, 70)]
    joined = LedgerScan()
    for part in parts:
        joined = merge_scans(part, joined)
    assert joined.fingerprint_text == whole.fingerprint_text
    as_text = (
        frame.astype(object)
        .where(frame.notna(), None)
        .map(lambda value: None if value is None else f"{value} ")
    )
    assert read_lines(as_text.assign(empty=""), ROLES)[1].fingerprint == whole.fingerprint
    renamed = frame.rename(columns={"customer_id": "Client"})
    other, _ = read_lines(renamed, {**ROLES, "customer_id": "Client"}), None
    assert other[1].fingerprint == whole.fingerprint
    changed = frame.assign(quantity=frame["quantity"] + 1)
    assert read_lines(changed, ROLES)[1].fingerprint != whole.fingerprint


@given(st.integers(0, 10_000), st.integers(1, 79))
def test_merge_scans__any_cut_and_order_gives_the_whole(seed, cut):
    frame = random_ledger(seed, 80)
    _, whole = read_lines(frame, ROLES, None, TODAY)
    _, head = read_lines(frame.iloc[:cut], ROLES, None, TODAY)
    _, tail = read_lines(frame.iloc[cut:], ROLES, None, TODAY)
    whole = merge_scans(whole, LedgerScan())
    assert merge_scans(head, tail) == merge_scans(tail, head) == whole


def test_read_texts__numbers_of_other_columns_agree_between_formats():
    assert decode(read_texts(pd.Series(["2.50", "3.0", "007", " a "]))) == ["2.5", "3", "007", "a"]
    assert decode(read_texts(pd.Series([2.5, 3.0, np.nan]))) == ["2.5", "3", None]
    assert decode(read_texts(pd.Series([["a", "b"], None]))) == ["['a', 'b']", None]


def test_bucket_of__follows_the_hash_order():
    hashes = np.sort(np.random.default_rng(0).integers(0, 2**64, 1000, dtype=np.uint64))
    for n_buckets in (1, 3, 1000):
        buckets = bucket_of(hashes, n_buckets)
        assert (np.diff(buckets) >= 0).all()
        assert buckets.min() >= 0
        assert buckets.max() < n_buckets


def test_split_lines__keeps_customers_and_copies_together():
    frame = random_ledger(2)
    lines, _ = split_lines(frame, ROLES, None, None, 16)
    known = lines[lines["customer_id"].notna()]
    assert (known.groupby("customer_id")["bucket"].nunique() == 1).all()
    assert (lines.groupby("line_hash_1")["bucket"].nunique() == 1).all()
    assert lines["bucket"].nunique() > 4


def test_check_scan__text_in_a_number_column():
    with pytest.raises(
        InputError,
        match=r"1 of 4 values of the column 'quantity' \(quantity\) are not finite numbers, "
        r"e.g. 'two'.*--column quantity=HEADER",
    ):
        check(ledger(quantity=["1", "two", "3", "4"]))
    with pytest.raises(InputError, match=r"'2,50'. It has a comma: .* decimal point"):
        check(ledger(unit_price=["2.5", "2,50", "2.5", "2.5"]))
    with pytest.raises(InputError, match=r"3 of 4 values of .* in one block"):
        read_lines(ledger(unit_price=["a", "b", "c", "1"]), ROLES)


def test_check_scan__dates_are_never_guessed():
    with pytest.raises(
        InputError,
        match=r"1 of 4 values of the column 'date'.*e.g. '1/2/2026'.*never guessed.*--date-format",
    ):
        check(ledger(date=["2026-01-01", "1/2/2026", "2026-01-03", "2026-01-04"]))


def test_check_scan__missing_values_are_lines_until_they_are_most():
    scan = check(ledger(unit_price=["2.5", "", "2.5", None]))
    assert scan.n_missing["unit_price"] == 2
    with pytest.raises(InputError, match=r"3 of 4 lines have no value in the column 'date'"):
        check(ledger(date=[None, "", "NaT", "2026-01-01"]))
    with pytest.raises(InputError, match="none of 4 lines has a date, an order id"):
        check(ledger(date=["2026-01-01", "2026-01-01", "", ""], quantity=["", "", "1", "1"]))


def test_check_scan__scientific_ids():
    with pytest.raises(
        InputError, match=r"2 of 4 ids of the column 'customer_id'.*e.g. '1.23E\+05'.*as text"
    ):
        check(ledger(customer_id=["1", "1.23E+05", "1.23E+05", "2"]))


def test_check_scan__several_currencies():
    roles = {**ROLES, "currency": "currency"}
    with pytest.raises(InputError, match=r"several currencies: GBP \(3 lines\), EUR \(1 lines\)"):
        check(ledger(currency=["GBP", "gbp ", "EUR", "GBP"]), roles)
    assert check(ledger(currency=["GBP", "", None, "gbp"]), roles).currencies == {"GBP": 2}


def test_check_scan__future_dates():
    frame = ledger(date=["2026-01-01", "2026-06-01 23:00", "2026-06-02", "2030-01-01"])
    with pytest.raises(
        InputError, match=r"2 of 4 lines are dated after today \(2026-06-01\).*on 2030-01-01"
    ):
        check(frame)
    assert check(frame, snapshot=dt.date(2026, 6, 1)).n_future == 2


def test_check_scan__money_beyond_int64():
    with pytest.raises(InputError, match=r"4 lines adds up to about .* with 9 decimals"):
        check(ledger(unit_price=["0.000000001", "4e9", "4e9", "4e9"]))
    # One decimal less, and it fits.
    check(ledger(unit_price=["0.00000001", "4e9", "4e9", "4e9"]))


def test_check_scan__long_decimals_are_rounded_with_a_count():
    scan = check(ledger(unit_price=["0.3333333333333333", "2.5", "2.5", "2.5"]))
    assert (scan.n_longer_prices, scan.price_scale, scan.money_decimals) == (1, 6, 6)
    scan = check(ledger(quantity=["0.3333333333333333", "2", "2", "2"]))
    assert (scan.n_longer_quantities, scan.quantity_scale, scan.money_decimals) == (1, 6, 7)


def test_check_scan__no_lines():
    with pytest.raises(InputError, match="headers but no lines"):
        check_scan(LedgerScan(), ROLES, None, TODAY)
