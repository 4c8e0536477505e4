"""Checks of the parameters of estimators."""

from __future__ import annotations

import numpy as np
import pytest

from daskseg.errors import UsageError
from daskseg.parameters import check_count, check_landed, check_number, is_count, seed_of


@pytest.mark.parametrize(("value", "seed"), [(None, 0), (0, 0), (7, 7), (np.int64(7), 7)])
def test_seed_of__whole_numbers_are_seeds(value, seed):
    assert seed_of(value) == seed
    assert type(seed_of(value)) is int


@pytest.mark.parametrize("make", [np.random.RandomState, np.random.default_rng])
def test_seed_of__generators_give_another_seed_each_time(make):
    one, other = make(3), make(3)
    first, second = seed_of(one), seed_of(one)
    assert first != second
    assert [first, second] == [seed_of(other), seed_of(other)]


@pytest.mark.parametrize("value", ["a", -1, 1.5, np.random])
def test_seed_of__refuses_what_is_no_seed(value):
    with pytest.raises(UsageError, match="neither None, an integer from 0, a RandomState nor"):
        seed_of(value)


def test_is_count__takes_whole_numbers_only():
    assert [is_count(value) for value in (1, np.int32(1), 0, -1, True, 1.0, "1", None)] == [
        True,
        True,
        *6 * [False],
    ]
    assert is_count(0, least=0)
    assert not is_count(4, least=5)


def test_check_count__says_from_where():
    check_count("n", 2)
    check_count("n", 0, least=0)
    with pytest.raises(UsageError, match=r"n=0 is not a whole number from 1\."):
        check_count("n", 0)
    with pytest.raises(UsageError, match=r"n=True is not a whole number from 0\."):
        check_count("n", True, least=0)


def test_check_number__says_the_bound():
    check_number("share", 0, 1)
    check_number("share", 0.99, 1)
    for value in (1, -0.1, np.nan, "0.5"):
        with pytest.raises(UsageError, match=f"share={value!r} is not a number from 0 and below 1"):
            check_number("share", value, 1)


def test_check_landed__tells_wrong_from_not_yet():
    check_landed("init", "a", ("a", "b"))
    with pytest.raises(UsageError, match=r"init='x' is not one of: 'a', 'b'\."):
        check_landed("init", "x", ("a", "b"))
    with pytest.raises(UsageError, match="init='c' has not landed yet; what has landed: 'a', 'b'"):
        check_landed("init", "c", ("a", "b"), later=("c",))
    with pytest.raises(UsageError, match="checkpoint='c' has not landed yet"):
        check_landed("checkpoint", "c", (None,), later=None)
