"""Which numbers of clusters a sweep tries: those asked for that the rows allow.

Covers: the check of what was asked for, and what is said of numbers that the rows rule out.
Does not cover: limits of the business (see `model_selection.limits`), fits.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from daskseg.errors import InputError, UsageError
from daskseg.parameters import is_count


def whole_numbers(k: Any, required_k: Any = None) -> list[int]:
    """Return the numbers of clusters asked for, rising and each once.

    Parameters
    ----------
    k : int or iterable of int
    required_k : int, optional
        One more.

    Raises
    ------
    UsageError
        If there is none, or one is not a whole number from 1; true and false are none.

    Examples
    --------
    >>> whole_numbers([3, 2, 3], 7)
    [2, 3, 7]
    """
    is_one = not isinstance(k, Iterable) or getattr(k, "ndim", None) == 0
    ks = [k] if is_one else list(k)
    ks += [] if required_k is None else [required_k]
    if not ks or not all(is_count(one) for one in ks):
        raise UsageError(
            f"k={k!r} and required_k={required_k!r} must be whole numbers from 1, at least one."
        )
    return sorted({int(one) for one in ks})


def beyond_rows(n_rows: int) -> str:
    """Say why no more clusters than rows are possible."""
    if n_rows == 1:
        return "there is only 1 row"
    return f"there are only {n_rows} rows"


def beyond_points(n_points: int) -> str:
    """Say why no more clusters than distinct points are possible."""
    if n_points == 1:
        return "all rows are alike in the features that are used"
    return f"the rows have {n_points} distinct points in the features that are used"


def allowed(
    wanted: Sequence[int], required_k: int | None, most: int, why: str, remedy: str
) -> list[int]:
    """Return the numbers up to a bound.

    Parameters
    ----------
    wanted : sequence of int
        Rising.
    required_k : int or None
        The one that must not be lost.
    most : int
        The bound.
    why, remedy : str
        What sets it, and what helps besides fewer clusters, if anything does.

    Raises
    ------
    InputError
        If none is left, or not the required one.
    """
    left = [k for k in wanted if k <= most]
    if left and (required_k is None or required_k <= most):
        return left
    asked = f"{spelled(wanted)} clusters were asked for"
    if required_k is not None and required_k > most:
        asked = f"required_k={required_k}"
    advice = f"Ask for at most {most}{f', or {remedy}' if remedy else ''}."
    raise InputError(f"{asked}, but {why}. {advice}")


def left_out(wanted: Sequence[int], most: int, why: str) -> str:
    """Say which numbers were left out, and why."""
    lost = [k for k in wanted if k > most]
    return f"k = {spelled(lost)} {'was' if len(lost) == 1 else 'were'} left out: {why}."


def spelled(ks: Sequence[int]) -> str:
    """Spell rising numbers: a run by its ends, others one by one.

    Examples
    --------
    >>> spelled([4]), spelled([4, 5, 6]), spelled([4, 6])
    ('4', '4 to 6', '4, 6')
    """
    if len(ks) > 2 and ks[-1] - ks[0] == len(ks) - 1:
        return f"{ks[0]} to {ks[-1]}"
    return ", ".join(map(str, ks))
