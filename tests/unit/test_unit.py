"""Rows of length one."""

from __future__ import annotations

import numpy as np

from daskseg.kernels.unit import unit_rows, without_direction


def test_unit_rows__by_hand():
    rows = np.array([[3.0, -4.0], [0.0, 0.0], [0.0, -2e-320], [3e300, 4e300]], np.float64)
    expected = [[0.6, -0.8], [0.0, 0.0], [0.0, -1.0], [0.6, 0.8]]
    np.testing.assert_allclose(unit_rows(rows), expected, rtol=1e-15)
    assert unit_rows(rows[:2].astype(np.float32)).dtype == np.float64
    assert without_direction(unit_rows(rows)).tolist() == [False, True, False, False]


def test_unit_rows__leaves_gaps_as_they_are():
    rows = np.array([[np.nan, 1.0], [np.inf, 1.0]])
    np.testing.assert_array_equal(unit_rows(rows), rows)
    assert not without_direction(unit_rows(rows)).any()
