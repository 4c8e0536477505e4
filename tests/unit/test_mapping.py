"""Where rows stand among landmarks: by hand, and by another way of finding a weighted median."""

from __future__ import annotations

import numpy as np

from daskseg.kernels import mapping, neighbours
from daskseg.kernels.mapping import Marks


def marks_of(points, places):
    return Marks(neighbours.leaves_of(np.asarray(points, float)), np.asarray(places, float))


def test_place__by_hand():
    marks = marks_of([[0.0], [1.0], [3.0]], [[0.0, 5.0], [10.0, 7.0], [100.0, 6.0]])
    # Distances 0.6, 0.4 and 2.4: weights exp(-1/16), exp(-1/36) and exp(-1), half of it 1.14.
    assert mapping.place(marks, np.array([[0.6]]), 3).tolist() == [[10.0, 6.0]]
    # Of two the nearer, the one that weighs more.
    assert mapping.place(marks, np.array([[0.4], [2.5]]), 2).tolist() == [[0.0, 5.0], [100.0, 6.0]]
    # A landmark stands where it stands, however its neighbours do.
    assert mapping.place(marks, np.array([[1.0]], "f4"), 3).tolist() == [[10.0, 7.0]]


def test_place__is_the_weighted_median():
    random = np.random.default_rng(0)
    points, places = random.normal(size=(500, 4)), random.normal(size=(500, 3))
    rows = random.normal(size=(60, 4))
    found = mapping.place(marks_of(points, places), rows, 10)
    for row, place in zip(rows, found, strict=True):
        dists = np.linalg.norm(points - row, axis=1)
        near = np.argsort(dists)[:10]
        weights = np.exp(-(dists[near] ** 2) / dists[near[-1]] ** 2)
        for c in range(3):
            values = places[near, c]
            below = weights[values < place[c]].sum()
            assert below < weights.sum() / 2 <= below + weights[values == place[c]].sum() + 1e-12


def test_place__a_single_landmark_takes_all():
    marks = marks_of([[1.0, 2.0]], [[3.0]])
    assert mapping.place(marks, np.zeros((2, 2)), 1).tolist() == [[3.0], [3.0]]
