from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from daskseg.kernels.top_two import confidence, top_two


def naive_top_two(rows, centres):
    dist = np.sqrt(((rows[:, None, :] - centres[None, :, :]) ** 2).sum(axis=2))
    order = np.argsort(dist, axis=1, kind="stable")
    return order, np.take_along_axis(dist, order, axis=1)


def test_top_two__by_hand():
    centres = np.array([[0.0, 0.0], [3.0, 4.0], [6.0, 8.0]])
    found = top_two(np.array([[3.0, 4.0], [6.0, 9.0], [0.0, 1.0]]), centres)
    assert found.first.tolist() == [1, 2, 0]
    assert found.second.tolist() == [0, 1, 1]
    assert found.first_dist.tolist() == [0.0, 1.0, 1.0]
    assert found.second_dist.tolist() == [5.0, np.sqrt(34.0), np.sqrt(18.0)]
    assert found.first.dtype == found.second.dtype == np.int32


def test_top_two__the_lowest_index_wins_a_tie():
    centres = np.array([[5.0], [-1.0], [1.0], [1.0]])
    found = top_two(np.array([[0.0], [1.0]]), centres)
    assert found.first.tolist() == [1, 2]
    assert found.second.tolist() == [2, 3]
    assert confidence(found).tolist() == [0.0, 0.0]


def test_top_two__a_single_centre_has_no_second():
    found = top_two(np.array([[0.0], [2.0]]), np.array([[0.0]]))
    assert found.first.tolist() == [0, 0]
    assert found.second.tolist() == [-1, -1]
    assert np.isinf(found.second_dist).all()
    assert confidence(found).tolist() == [1.0, 1.0]


def test_top_two__takes_no_rows():
    found = top_two(np.zeros((0, 3)), np.zeros((2, 3)))
    assert [len(part) for part in found] == [0, 0, 0, 0]
    assert len(confidence(found)) == 0


def test_confidence__by_hand():
    centres = np.array([[0.0], [4.0]])
    # At a centre, a quarter of the way, half way, and beyond the other centre.
    found = top_two(np.array([[0.0], [1.0], [2.0], [6.0]]), centres)
    assert confidence(found) == pytest.approx([1.0, 1 - 1 / 3, 0.0, 1 - 2 / 6])


@given(
    hnp.arrays(np.float64, st.tuples(st.integers(0, 40), st.just(3)), elements=st.integers(-3, 3)),
    hnp.arrays(np.float64, st.tuples(st.integers(2, 6), st.just(3)), elements=st.integers(-3, 3)),
)
def test_top_two__equals_the_naive_version(rows, centres):
    found = top_two(rows, centres)
    order, dist = naive_top_two(rows, centres)
    # Small integers: distances are exact, so ties are ties in both.
    np.testing.assert_array_equal(found.first, order[:, 0])
    np.testing.assert_array_equal(found.second, order[:, 1])
    np.testing.assert_array_equal(found.first_dist, dist[:, 0])
    np.testing.assert_array_equal(found.second_dist, dist[:, 1])
    sure = confidence(found)
    assert ((sure >= 0) & (sure <= 1)).all()


def test_top_two__takes_slices_and_turned_arrays():
    generator = np.random.default_rng(0)
    wide = generator.normal(size=(50, 6))
    centres = np.asfortranarray(generator.normal(size=(4, 3)))
    straight = top_two(np.ascontiguousarray(wide[:, ::2]), np.ascontiguousarray(centres))
    for one, other in zip(top_two(wide[:, ::2], centres), straight, strict=True):
        np.testing.assert_array_equal(one, other)
