"""Numbers, money, ratios and dates as finished words, by hand."""

from __future__ import annotations

import math

import pytest

from daskseg.formats import count, day, exact_money, money, percent, significant, times


def plain(words: str) -> str:
    return words.replace("\u00a0", " ")


@pytest.mark.parametrize(
    ("value", "words"),
    [(0, "0"), (4338, "4,338"), (541909.0, "541,909"), (-12, "−12"), (None, "–"), (math.nan, "–")],
)
def test_count__is_never_rounded(value, words):
    assert count(value) == words


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (10.0, "10"),
        (3120.5, "3,120"),
        (3125.5, "3,130"),
        (4.26, "4.26"),
        (4.267, "4.27"),
        (0.051234, "0.0512"),
        (999.6, "1,000"),
        (0.00000123, "0.00000123"),
        (12345678, "12,300,000"),
        (-4.5, "−4.5"),
        (-0.0, "0"),
        (0, "0"),
        (None, "–"),
        (math.inf, "–"),
    ],
)
def test_significant__three_digits_without_powers_of_ten(value, words):
    assert significant(value) == words


@pytest.mark.parametrize(
    ("share", "words"),
    [
        (0.1701, "17 %"),
        (0.044, "4.4 %"),
        (0.05, "5 %"),
        (0.0995, "10 %"),
        (0.0004, "< 0.1 %"),
        (0.0, "0 %"),
        (0.994, "99 %"),
        (0.999, "> 99 %"),
        (1.0, "100 %"),
        (-0.012, "−1.2 %"),
        (None, "–"),
    ],
)
def test_percent__never_hides_something_or_nothing(share, words):
    assert plain(percent(share)) == words


@pytest.mark.parametrize(
    ("value", "currency", "words"),
    [
        (655.3, None, "655"),
        (655.3, "GBP", "£655"),
        (3120.5, "SEK", "3,120 SEK"),
        (999_999, None, "1 million"),
        (999_400, None, "999,000"),
        (5912345.12, "EUR", "€5.91 million"),
        (1.234e9, None, "1.23 billion"),
        (-611342.09, "GBP", "−£611,000"),
        (None, "GBP", "–"),
    ],
)
def test_money__three_digits_and_large_words(value, currency, words):
    assert plain(money(value, currency)) == words


def test_exact_money__keeps_all_decimals():
    assert exact_money(9747747.934, 3) == "9,747,747.934"
    assert exact_money(-11062.06, 3) == "−11,062.060"
    assert exact_money(-0.0001, 3) == "0.000"
    assert exact_money(5, 0, "GBP") == "£5"


@pytest.mark.parametrize(
    ("ratio", "words"),
    [
        (4.5, "4.5×"),
        (1.0, "1×"),
        (0.196, "0.2×"),
        (12.4, "12×"),
        (123.4, "123×"),
        (5000, "> 999×"),
        (0.001, "< 0.01×"),
        (0.0, "0×"),
        (-0.3, "below 0"),
        (None, "–"),
    ],
)
def test_times__two_digits(ratio, words):
    assert plain(times(ratio)) == words


def test_day__in_words():
    assert day("2011-12-09") == "9 December 2011"
    assert day("2011-12-09T10:00:00") == "9 December 2011"
    assert day("last year") == "last year"
    assert day(None) == "–"
