"""Checks of the parameters of estimators, in words.

Covers: counts, numbers, names with those that have not landed, and seeds. Does not cover:
checks of data (see `inputs`) or of features (see `estimator`).
"""

from __future__ import annotations

from numbers import Integral, Real
from typing import Any

import numpy as np

from daskseg.errors import UsageError


def seed_of(random_state: Any) -> int:
    """Turn a `random_state` into a seed; None is the seed 0.

    A RandomState or Generator gives one draw, so that two fits with it differ.
    """
    if random_state is None:
        return 0
    if isinstance(random_state, np.random.RandomState):
        return int(random_state.randint(2**31 - 1))
    if isinstance(random_state, np.random.Generator):
        return int(random_state.integers(2**31 - 1))
    if isinstance(random_state, Integral) and int(random_state) >= 0:
        return int(random_state)
    raise UsageError(
        f"random_state={random_state!r} is neither None, an integer from 0, a RandomState nor a "
        "Generator."
    )


def is_count(value: Any, least: int = 1) -> bool:
    """Say whether a value is a whole number from `least`."""
    is_whole = isinstance(value, int | np.integer) and not isinstance(value, bool)
    return is_whole and int(value) >= least


def check_count(name: str, value: Any, least: int = 1) -> None:
    """Refuse what is not a whole number from `least`."""
    if not is_count(value, least):
        raise UsageError(f"{name}={value!r} is not a whole number from {least}.")


def check_number(name: str, value: Any, below: float) -> None:
    """Refuse what is not a number from 0 and below a bound."""
    if not isinstance(value, Real) or not 0 <= float(value) < below:
        raise UsageError(f"{name}={value!r} is not a number from 0 and below {below:g}.")


def check_landed(
    name: str, value: Any, landed: tuple[Any, ...], later: tuple[Any, ...] | None = ()
) -> None:
    """Refuse a value that is wrong, or not there yet (`later`; None: all others are)."""
    if value in landed:
        return
    known = ", ".join(repr(one) for one in landed)
    if later is None or value in later:
        raise UsageError(f"{name}={value!r} has not landed yet; what has landed: {known}.")
    raise UsageError(f"{name}={value!r} is not one of: {known}.")
