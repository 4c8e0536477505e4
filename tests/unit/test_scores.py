"""Scores: the definition by brute force, ties, cut points that are stored."""

from __future__ import annotations

from fractions import Fraction
from math import floor

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from daskseg.errors import InputError
from daskseg.features.scores import (
    SCORED,
    both_cut_ranks,
    cell_of,
    cut_points,
    cut_points_in_memory,
    cut_ranks,
    rfm_codes,
    rfm_scores,
    score_values,
)

# Few distinct values: ties everywhere, as with the number of orders.
TIED = st.lists(st.integers(0, 6), min_size=1, max_size=60)
SPREAD = st.lists(st.integers(-1000, 1000), min_size=1, max_size=60)


def by_definition(values: list[int], higher_is_better: bool) -> list[int]:
    scores = []
    for value in values:
        worse = [other < value if higher_is_better else other > value for other in values]
        scores.append(min(5, 1 + floor(5 * Fraction(sum(worse), len(values)))))
    return scores


@given(st.one_of(TIED, SPREAD), st.booleans())
def test_score_values__equals_the_definition(values, higher_is_better):
    column = np.array(values, dtype=np.float64)
    ranks = np.array(cut_ranks(len(values), higher_is_better)) - 1
    cuts = sorted(np.sort(column)[ranks])
    scores = score_values(column, cuts, higher_is_better)
    assert scores.tolist() == by_definition(values, higher_is_better)


@given(TIED, st.randoms(use_true_random=False))
def test_rfm_scores__equal_values_share_a_score_in_any_order(values, random):
    shuffled = list(values)
    random.shuffle(shuffled)
    frame = pd.DataFrame({name: np.array(values, dtype=float) for name in SCORED})
    again = pd.DataFrame({name: np.array(shuffled, dtype=float) for name in SCORED})
    cuts = cut_points_in_memory(frame)
    assert cuts == cut_points_in_memory(again)
    scores = rfm_scores(frame, cuts).assign(value=values)
    assert (scores.groupby("value").nunique() == 1).all().all()


def test_score_values__one_customer_gets_one():
    assert score_values(np.array([3.0]), [3.0] * 4).tolist() == [1]
    assert score_values(np.array([3.0]), [3.0] * 4, higher_is_better=False).tolist() == [1]


def test_score_values__ten_different_customers():
    column = np.arange(10.0)
    cuts = np.sort(column)[np.array(cut_ranks(10)) - 1]
    assert score_values(column, cuts).tolist() == [1, 1, 2, 2, 3, 3, 4, 4, 5, 5]


def test_score_values__stored_cuts_score_later_customers():
    cuts = [1.0, 2.0, 3.0, 4.0]
    assert score_values(np.array([-5.0, 1.0, 1.5, 99.0]), cuts).tolist() == [1, 1, 2, 5]
    assert score_values(np.array([0.0, 4.0, 9.0]), cuts, higher_is_better=False).tolist() == [
        5,
        1,
        1,
    ]


def test_score_values__refuses_missing_values():
    with pytest.raises(InputError, match=r"1 of 2 values have no score.*the first at row 1"):
        score_values(np.array([1.0, np.nan]), [1.0] * 4)


def test_cut_points__take_the_right_half():
    column = np.arange(1.0, 11.0)[np.array(both_cut_ranks(10)) - 1]
    cuts = cut_points(dict.fromkeys(SCORED, column))
    assert cuts["recency_days"] == (3.0, 5.0, 7.0, 9.0)
    assert cuts["n_orders"] == cuts["spend_net"] == (2.0, 4.0, 6.0, 8.0)


@given(st.integers(1, 10**12))
def test_cut_ranks__are_ranks(n_values):
    for higher_is_better in (True, False):
        ranks = cut_ranks(n_values, higher_is_better)
        assert all(1 <= rank <= n_values for rank in ranks)


def test_rfm_codes__and_cells_enumerate_all_scores():
    r, f, m = np.indices((5, 5, 5)).reshape(3, -1) + 1
    assert cell_of(r, f, m).tolist() == list(range(125))
    codes = rfm_codes(r, f, m)
    assert codes[0] == "R1F1M1"
    assert codes[-1] == "R5F5M5"
    assert len(set(codes)) == 125
