"""Squared distances by the definition."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from daskseg.kernels import distances
from tests import naive


def test_sq_distances__equal_the_naive_version():
    random = np.random.default_rng(0)
    rows, centres = random.normal(size=(300, 4)), random.normal(size=(7, 4))
    np.testing.assert_array_equal(
        distances.sq_distances(rows, centres).T, naive.sq_distances(rows, centres)
    )


def test_pieces__cover_all_rows_once():
    cuts = list(distances.pieces(100_000, 7))
    assert cuts[0].start == 0
    assert cuts[-1].stop == 100_000
    assert all(a.stop == b.start for a, b in pairwise(cuts))
