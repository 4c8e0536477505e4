"""What a map keeps of neighbours: scikit-learn's numbers, and its mirror image."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.manifold import trustworthiness
from sklearn.neighbors import NearestNeighbors

from daskseg.kernels.ranks import kept_neighbours


@pytest.mark.parametrize(("n_rows", "k"), [(3, 1), (31, 15), (200, 5), (300, 15)])
@pytest.mark.parametrize("noise", [0.1, 10.0])
def test_kept_neighbours__agree_with_scikit_learn(n_rows, k, noise):
    random = np.random.default_rng(n_rows)
    data = random.normal(size=(n_rows, 5))
    drawn = data[:, :2] + noise * random.normal(size=(n_rows, 2))
    found = kept_neighbours(data, drawn, k)
    assert found.trustworthiness == pytest.approx(trustworthiness(data, drawn, n_neighbors=k))
    assert found.continuity == pytest.approx(trustworthiness(drawn, data, n_neighbors=k))
    near = [
        NearestNeighbors(n_neighbors=k).fit(rows).kneighbors(return_distance=False)
        for rows in (data, drawn)
    ]
    shared = [len(np.intersect1d(a, b)) for a, b in zip(*near, strict=True)]
    assert found.recall == pytest.approx(np.mean(shared) / k)


def test_kept_neighbours__all_of_the_same_rows():
    rows = np.random.default_rng(0).normal(size=(50, 2))
    assert kept_neighbours(rows, 3 * rows, 7) == (1.0, 1.0, 1.0)


def test_kept_neighbours__by_hand():
    # In the data 0 1 2 3 on a line; on the map 3 lies beside 0.
    data = np.array([[0.0], [1.0], [2.1], [3.3]])
    drawn = np.array([[0.0], [1.0], [2.1], [-0.5]])
    found = kept_neighbours(data, drawn, 1)
    # Row 0 has 3 as its neighbour, of rank 3; row 3 has 0, of rank 3.
    worst = 4 * 1 * (8 - 3 - 1) / 2
    assert found.trustworthiness == pytest.approx(1 - (2 + 2) / worst)
    # On the map, row 1 is second to row 0, and row 2 is third to row 3.
    assert found.continuity == pytest.approx(1 - (1 + 2) / worst)
    assert found.recall == 0.5
