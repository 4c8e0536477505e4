"""Numbers and dates in the words of the report: another name of `daskseg.formats`."""

from __future__ import annotations

from daskseg.formats import count, day, exact_money, money, percent, significant, times

__all__ = ["count", "day", "exact_money", "money", "percent", "significant", "times"]
