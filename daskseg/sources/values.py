"""From the values of one column to ids, numbers and times.

Covers: one column of one block; ids as text, exact decimal numbers, ISO 8601 dates.
Values that cannot be read become missing and are counted with an example: the caller decides.
Does not cover: which column it is (see `sources.columns`) and what is refused (see
`sources.ledger`).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from daskseg.errors import UsageError

# The words that databases, R, pandas and Excel write for "nothing".
MISSING_WORDS = frozenset({"", "nan", "none", "null", "na", "n/a", "#n/a", "<na>", "nat"})
# How CSV files write the booleans of Parquet files.
BOOLEAN_WORDS = {"true": 1.0, "false": 0.0}
MAX_DECIMALS = 9
ROUNDED_DECIMALS = 6

_FLOAT_ID = re.compile(r"\d+\.0+", re.ASCII)
_SCIENTIFIC_ID = re.compile(r"\d(?:[.,]\d+)?[eE]\+\d+", re.ASCII)
_NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?", re.ASCII)
_PLAIN_NUMBER = re.compile(r"-?(?:0|[1-9]\d*)\.\d+", re.ASCII)
_DECIMAL_COMMA = re.compile(r"[+-]?\d+(?:[. \u00a0]\d{3})*,\d+", re.ASCII)
_ISO_DATE = re.compile(r"\d{4}(?:-\d{2}-\d{2}|\d{4}|/\d{2}/\d{2})(?:[T ].*)?", re.ASCII)
_UTC_OFFSET = re.compile(r"(?:Z|[+-]\d{2}(?::?\d{2})?)$", re.ASCII)
_EXACT_FLOAT = 2.0**53


@dataclass(frozen=True, slots=True)
class Bad:
    """Values that could not be read: how many, and the first of them in alphabetical order."""

    count: int = 0
    example: str = ""

    def join(self, other: Bad) -> Bad:
        """Add another count; the result does not depend on the order."""
        examples = [part.example for part in (self, other) if part.count]
        return Bad(self.count + other.count, min(examples, default=""))


class Coded(NamedTuple):
    """A column of text: a code per row (-1 where missing) into distinct texts."""

    codes: NDArray[np.int64]
    texts: NDArray[Any]


def _factorize(column: pd.Series) -> tuple[NDArray[np.int64], NDArray[Any]]:
    try:
        codes, distinct = pd.factorize(column)
    except TypeError:
        # Lists and mappings, as nested Parquet columns have them.
        codes, distinct = pd.factorize(column.map(str, na_action="ignore"))
    values = np.asarray(distinct)
    if values.dtype == np.float32:
        # By the shortest text, so that 2.55 does not become 2.549999952.
        values = np.array([float(str(value)) for value in values])
    return codes.astype(np.int64), values.astype(object)


def _recode(codes: NDArray[np.int64], texts: list[str | None]) -> Coded:
    """Join distinct values that became the same text, and send None to -1."""
    new_codes, distinct = pd.factorize(np.array(texts, dtype=object))
    lookup = np.append(new_codes.astype(np.int64), -1)
    return Coded(lookup[codes], np.asarray(distinct, dtype=object))


def _text_of(value: Any) -> str:
    """Return a value as it would stand in a CSV file, integers without a fraction."""
    if isinstance(value, (float, np.floating)):
        return str(int(value)) if float(value).is_integer() else str(value)
    return str(value).strip()


def spellings(value: object) -> set[str]:
    """Return the texts by which messages may call a value.

    Examples
    --------
    >>> sorted(spellings(" 17850.0 "))
    ['17850', '17850.0']
    """
    text = _text_of(value)
    plain = text.partition(".")[0] if _FLOAT_ID.fullmatch(text) else text
    return {str(value).strip(), text, plain}


def read_ids(column: pd.Series) -> tuple[Coded, Bad]:
    """Read ids as text.

    Parameters
    ----------
    column : Series of n_rows values of any dtype

    Returns
    -------
    ids : Coded
        Blanks at the ends and a ".0" left by a float are removed, leading zeros stay, empty
        text and the words for "nothing" are missing.
    damaged : Bad
        Ids in scientific notation, or beyond the exact integers of a float: the digits of
        these are lost.
    """
    codes, distinct = _factorize(column)
    counts = np.bincount(codes[codes >= 0], minlength=len(distinct))
    damaged = Bad()
    texts: list[str | None] = []
    for value, count in zip(distinct, counts, strict=True):
        text = _text_of(value)
        if _FLOAT_ID.fullmatch(text):
            text = text.partition(".")[0]
        lost = isinstance(value, (float, np.floating)) and abs(float(value)) > _EXACT_FLOAT
        if lost or _SCIENTIFIC_ID.fullmatch(text):
            damaged = damaged.join(Bad(int(count), text))
        texts.append(None if text.casefold() in MISSING_WORDS else text)
    return _recode(codes, texts), damaged


def read_texts(column: pd.Series) -> Coded:
    """Read a free column as canonical text: the same from CSV, NDJSON and Parquet.

    Blanks at the ends are removed, empty text is missing, and a plain decimal number loses
    the zeros at its end.
    """
    codes, distinct = _factorize(column)
    texts: list[str | None] = []
    for value in distinct:
        text = _text_of(value)
        if _PLAIN_NUMBER.fullmatch(text):
            text = text.rstrip("0").removesuffix(".")
        texts.append(text or None)
    return _recode(codes, texts)


def read_product_codes(column: pd.Series) -> Coded:
    """Read product codes: as ids, but "NA" or "NULL" may be a product."""
    codes, distinct = _factorize(column)
    texts: list[str | None] = []
    for value in distinct:
        text = _text_of(value)
        texts.append((text.partition(".")[0] if _FLOAT_ID.fullmatch(text) else text) or None)
    return _recode(codes, texts)


def _number(text: str) -> float:
    """Return the number, NaN if the text says "nothing", and infinity if it is no number."""
    if text.casefold() in MISSING_WORDS:
        return np.nan
    return float(text) if _NUMBER.fullmatch(text) else np.inf


def read_numbers(column: pd.Series, *, booleans: bool = False) -> tuple[NDArray[np.float64], Bad]:
    """Read numbers, correctly rounded.

    Parameters
    ----------
    column : Series of n_rows numbers or texts
    booleans : bool
        Whether the words true and false are the numbers 1 and 0.

    Returns
    -------
    numbers : ndarray of shape (n_rows,), float64
        NaN where nothing stands or where no number stands.
    bad : Bad
        Texts that are no number, and infinite numbers.
    """
    if column.dtype == np.float64:
        numbers = column.to_numpy(copy=True)
    elif pd.api.types.is_numeric_dtype(column.dtype) and column.dtype != np.float32:
        numbers = column.to_numpy(dtype=np.float64, na_value=np.nan)
    else:
        codes, distinct = _factorize(column)
        words = BOOLEAN_WORDS if booleans else {}
        texts = [str(value).strip() for value in distinct]
        parsed = [words.get(text.casefold(), _number(text)) for text in texts]
        numbers = np.array([*parsed, np.nan])[codes]
    wrong = np.isinf(numbers)
    bad = Bad()
    if wrong.any():
        first = min(text.strip() for text in set(map(str, column[wrong])))
        bad = Bad(int(wrong.sum()), first)
        numbers[wrong] = np.nan
    return numbers, bad


def _plain_iso(text: str) -> str | None:
    """Return an ISO 8601 text without its offset from UTC, or None for any other text."""
    if not _ISO_DATE.fullmatch(text):
        return None
    # A bare date ends like an offset ("-12-01"), so it is left alone.
    return _UTC_OFFSET.sub("", text) if len(text) > len("2026-01-01") else text


def read_times(
    column: pd.Series, date_format: str | None = None
) -> tuple[NDArray[np.datetime64], Bad]:
    """Read points in time as local business time.

    Parameters
    ----------
    column : Series of n_rows datetimes, dates or texts
    date_format : str, optional
        As for `datetime.datetime.strptime`. By default a text must follow ISO 8601, year
        first: the order of day and month is never guessed.

    Returns
    -------
    times : ndarray of shape (n_rows,), datetime64[us]
        NaT where nothing stands or where no date stands. Offsets from UTC and time zones are
        dropped: the wall clock counts.
    bad : Bad
    """
    if isinstance(column.dtype, pd.DatetimeTZDtype):
        column = column.dt.tz_localize(None)
    if pd.api.types.is_datetime64_dtype(column.dtype):
        return column.to_numpy().astype("datetime64[us]"), Bad()
    codes, distinct = _factorize(column)
    texts = [_text_of(value) for value in distinct]
    absent = np.array([text.casefold() in MISSING_WORDS for text in texts], dtype=bool)
    usable = texts if date_format else [_plain_iso(text) for text in texts]
    try:
        parsed = pd.to_datetime(
            pd.Series(usable, dtype=object).mask(absent),
            format=date_format or "ISO8601",
            errors="coerce",
        )
    except ValueError as error:
        raise UsageError(
            f"the date format {date_format!r} cannot be used: {error}. Write it as for strptime, "
            "e.g. '%d/%m/%Y %H:%M'."
        ) from error
    if isinstance(parsed.dtype, pd.DatetimeTZDtype):
        parsed = parsed.dt.tz_localize(None)
    times = parsed.to_numpy().astype("datetime64[us]")
    wrong = np.isnat(times) & ~absent
    counts = np.bincount(codes[codes >= 0], minlength=len(texts))
    bad = Bad()
    if wrong.any():
        first = min(text for text, is_wrong in zip(texts, wrong, strict=True) if is_wrong)
        bad = Bad(int(counts[wrong].sum()), first)
    return np.append(times, np.datetime64("NaT", "us"))[codes], bad


def has_decimal_comma(text: str) -> bool:
    """Tell whether a text is a number written with a decimal comma.

    Examples
    --------
    >>> has_decimal_comma("1.234,50"), has_decimal_comma("2.55")
    (True, False)
    """
    return _DECIMAL_COMMA.fullmatch(text) is not None


def count_decimals(numbers: NDArray[np.float64]) -> tuple[int, int]:
    """Count the decimals that numbers are written with.

    Parameters
    ----------
    numbers : ndarray of shape (n_rows,), float64
        NaN is passed over.

    Returns
    -------
    decimals : int
        The smallest p such that ``rint(x * 10**p) / 10**p == x`` for all numbers that have
        at most nine decimals.
    n_longer : int
        How many numbers have more than nine.

    Examples
    --------
    >>> count_decimals(np.array([2.5, 0.125, 7.0, 1 / 3]))
    (3, 1)
    """
    left, counts = np.unique(np.abs(numbers[~np.isnan(numbers)]), return_counts=True)
    decimals = 0
    for places in range(MAX_DECIMALS + 1):
        scale = 10.0**places
        longer = np.rint(left * scale) / scale != left
        if not longer.all():
            decimals = places
        left, counts = left[longer], counts[longer]
        if not len(left):
            break
    return decimals, int(counts.sum())


def to_units(numbers: NDArray[np.float64], decimals: int) -> NDArray[np.int64]:
    """Turn numbers into whole units of ``10**-decimals``; NaN becomes 0.

    Examples
    --------
    >>> to_units(np.array([2.55, np.nan]), 2).tolist()
    [255, 0]
    """
    return np.nan_to_num(np.rint(numbers * 10.0**decimals), nan=0.0).astype(np.int64)
