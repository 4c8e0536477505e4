"""Numbers and dates as finished words.

Covers: counts, shares, money, ratios, feature values and dates, as finished text.
Does not cover: which number is shown where.
See also: the table ``[numbers]`` of daskseg/catalogue/report.toml.
"""

from __future__ import annotations

import math
from datetime import date
from decimal import Decimal

from daskseg.texts import text

__all__ = [
    "count",
    "day",
    "exact_money",
    "missing",
    "money",
    "percent",
    "significant",
    "times",
    "unit_of_money",
]

_SYMBOLS = {"GBP": "£", "EUR": "€", "USD": "$"}
_LARGE = ((1e12, "trillion"), (1e9, "billion"), (1e6, "million"))


def missing() -> str:
    """Return the sign for a number that does not exist."""
    return text("report.numbers.missing")


def count(value: float | None) -> str:
    """Return a whole number with thousands separators, never rounded."""
    return missing() if _absent(value) else f"{int(_number(value)):,}".replace("-", "−")


def significant(value: float | None, digits: int = 3) -> str:
    """Return ``value`` to ``digits`` significant digits, without trailing zeros.

    Parameters
    ----------
    value : float or None
        The number; None, NaN and infinities give the sign for "no number".
    digits : int
        Significant digits, at least 1.

    Returns
    -------
    str
        With thousands separators and a true minus sign, never in powers of ten.

    Examples
    --------
    >>> significant(3120.5), significant(0.051234), significant(10.0)
    ('3,120', '0.0512', '10')
    """
    if _absent(value):
        return missing()
    rounded = Decimal(f"{_number(value):.{digits - 1}e}")
    if rounded == 0:
        return "0"
    places = max(0, digits - 1 - rounded.adjusted())
    plain = f"{rounded:,.{places}f}"
    if "." in plain:
        plain = plain.rstrip("0").rstrip(".")
    return plain.replace("-", "−")


def percent(share: float | None) -> str:
    """Return a share in [0, 1] as a percentage of two or so significant digits.

    A share just above 0 or just below 1 never rounds to "0 %" or "100 %".

    Examples
    --------
    >>> percent(0.1701).replace(chr(160), " "), percent(0.044).replace(chr(160), " ")
    ('17 %', '4.4 %')
    """
    if _absent(share):
        return missing()
    value = 100.0 * _number(share)
    size = abs(value)
    if 99.5 <= size < 100:
        return text("report.numbers.percent_over", value="99")
    if 0 < size < 0.095:
        return text("report.numbers.percent_under", value="0.1")
    words = f"{value:,.0f}" if size >= 9.95 or size == 0 else f"{value:.1f}".removesuffix(".0")
    return text("report.numbers.percent", value=words.replace("-", "−"))


def money(value: float | None, currency: str | None = None) -> str:
    """Return an amount to three significant digits, from a million on in words.

    Examples
    --------
    >>> money(5912345.12).replace(chr(160), " "), money(655.3, "GBP")
    ('5.91 million', '£655')
    """
    if _absent(value):
        return missing()
    size = abs(_number(value))
    for limit, name in _LARGE:
        # 999 999 would round up into the next word.
        if float(f"{size:.2e}") >= limit:
            words = text(f"report.numbers.{name}", value=significant(size / limit))
            break
    else:
        words = significant(size)
    return _with_currency(words, currency, negative=_number(value) < 0 and words != "0")


def exact_money(value: float | None, decimals: int, currency: str | None = None) -> str:
    """Return an amount with all its decimals, for tables whose parts must add up."""
    if _absent(value):
        return missing()
    words = f"{abs(_number(value)):,.{decimals}f}"
    negative = _number(value) < 0 and any(letter in "123456789" for letter in words)
    return _with_currency(words, currency, negative=negative)


def times(ratio: float | None) -> str:
    """Return a ratio as "4.5×" (two significant digits, three from 100 on, at most 999)."""
    if _absent(ratio):
        return missing()
    value = _number(ratio)
    if value < 0:
        return text("report.numbers.below_zero")
    if value > 999:
        return text("report.numbers.times_over", value="999")
    if 0 < value < 0.01:
        return text("report.numbers.times_under", value="0.01")
    return text("report.numbers.times", value=significant(value, 3 if value >= 100 else 2))


def day(value: str | None) -> str:
    """Return an ISO date as "9 December 2011"; other text comes back as it is."""
    if not value:
        return missing()
    try:
        parsed = date.fromisoformat(value[:10])
    except ValueError:
        return value
    month = text(f"report.months.{parsed.month}")
    return text("report.numbers.date", day=parsed.day, month=month, year=parsed.year)


def unit_of_money(currency: str | None) -> str:
    """Return the unit that heads a column of money: the currency, or the word for money."""
    return currency or text("report.numbers.money_unit")


def _with_currency(words: str, currency: str | None, *, negative: bool) -> str:
    sign = "−" if negative else ""
    if not currency:
        return sign + words
    if currency in _SYMBOLS:
        return sign + _SYMBOLS[currency] + words
    return sign + text("report.numbers.with_code", value=words, code=currency)


def _number(value: float | None) -> float:
    return 0.0 if value is None else float(value)


def _absent(value: float | None) -> bool:
    return value is None or not math.isfinite(value)
