"""Exact sums of products, eigenvectors in a fixed order, projections and sketches."""

from __future__ import annotations

import itertools
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from daskseg.errors import InputError
from daskseg.kernels import eigen, gram, sketch
from daskseg.kernels.moments import extent, merge_extents
from daskseg.kernels.projection import Projection, project_block, unproject_block


def whole(rows, weights=None):
    """Sum in one block."""
    seen = extent(rows, weights, 0)
    frame = gram.gram_frame(seen, marks=gram.marks_of(seen.n_missing > 0))
    return gram.gram(rows, weights, frame), frame


def covariance(rows, weights=None):
    return gram.finish_gram(*whole(rows, weights))


def naive(rows):
    """Mean and covariance in fractions, each rounded once."""
    columns = [[Fraction(float(value)) for value in column] for column in rows.T]
    n = len(rows)
    means = [sum(column) / n for column in columns]
    entries = [
        [
            float(sum((x - a) * (y - b) for x, y in zip(one, two, strict=True)) / (n - 1))
            for two, b in zip(columns, means, strict=True)
        ]
        for one, a in zip(columns, means, strict=True)
    ]
    return np.array([float(mean) for mean in means]), np.array(entries)


def mixed(n_rows=700, n_features=4, seed=0):
    random = np.random.default_rng(seed)
    mixing = random.normal(size=(n_features, n_features))
    return random.normal(size=(n_rows, n_features)) @ mixing


def test_gram__by_hand():
    found = covariance(np.array([[0.0, 1.0], [2.0, 1.0], [4.0, 4.0]]))
    assert found.mean.tolist() == [2.0, 2.0]
    assert found.covariance.tolist() == [[4.0, 3.0], [3.0, 3.0]]
    assert (found.n_rows, found.total_weight, found.weights.tolist()) == (3, 3.0, [3.0, 3.0])


@pytest.mark.parametrize(
    "change",
    [
        lambda rows: rows,
        lambda rows: rows + 1e8,
        lambda rows: (rows + 1e3).astype(np.float32),
        lambda rows: rows * [1e-6, 1.0, 1e6, 1e12],
        lambda rows: np.exp(3 * rows),
        lambda rows: np.vstack([rows, np.full((1, 4), 1e9)]),
        lambda rows: np.where(rows > 2, 0.1, 1 / 3),
        lambda rows: rows[:2],
    ],
    ids=["plain", "offset", "float32", "scales", "heavy tails", "outlier", "two values", "two"],
)
def test_gram__is_exact_to_the_grid(change):
    rows = change(mixed())
    mean, expected = naive(rows)
    found = covariance(rows)
    deviations = np.sqrt(np.diag(expected))
    scale = np.outer(deviations, deviations)
    assert np.all(np.abs(found.covariance - expected) <= 1e-12 * scale)
    assert np.all(np.abs(found.mean - mean) <= 1e-12 * deviations + np.spacing(np.abs(mean)))


def test_gram__rows_on_the_grid_lose_nothing():
    rows = np.random.default_rng(0).integers(-(2**20), 2**20, (5000, 3)) + 2.0**30
    mean, expected = naive(rows)
    found = covariance(rows)
    np.testing.assert_array_equal(found.covariance, expected)
    np.testing.assert_array_equal(found.mean, mean)


@given(st.lists(st.integers(1, 5000), min_size=1, max_size=5), st.integers(0, 3), st.booleans())
def test_gram__keeps_its_bits_under_any_cuts_and_order(heights, seed, weighted):
    rows = mixed(5000, seed=seed)
    weights = np.random.default_rng(seed).random(5000) if weighted else None
    expected, frame = whole(rows, weights)
    order = np.random.default_rng(seed).permutation(5000)
    rows, weights = rows[order], None if weights is None else weights[order]
    cuts = np.unique([0, *np.cumsum(heights).clip(0, 5000), 5000])
    total = None
    for start, stop in itertools.pairwise(cuts):
        cut = None if weights is None else weights[start:stop]
        part = gram.gram(rows[start:stop], cut, frame)
        total = part if total is None else gram.merge_grams(part, total)
    assert total is not None
    assert (total.n_rows, total.high.tobytes(), total.low.tobytes()) == (
        expected.n_rows,
        expected.high.tobytes(),
        expected.low.tobytes(),
    )


def test_gram__sums_beyond_64_bits():
    """Two trillion rows of the largest values, whose products are 2**84 units each."""
    part, frame = whole(np.array([[1.0], [-1.0]] * 1024))
    total = part
    for _ in range(30):
        total = gram.merge_grams(total, total)
    found = gram.finish_gram(total, frame)
    n_rows = 2048.0 * 2**30
    assert (found.n_rows, found.total_weight) == (n_rows, n_rows)
    assert found.covariance[0, 0] == n_rows / (n_rows - 1)


def test_gram__weights_count_repeats():
    rows = mixed(300)
    weights = np.random.default_rng(1).integers(0, 4, 300).astype(float)
    found, repeated = covariance(rows, weights), covariance(np.repeat(rows, weights.astype(int), 0))
    np.testing.assert_allclose(found.covariance, repeated.covariance, rtol=1e-11, atol=1e-12)
    np.testing.assert_allclose(found.mean, repeated.mean, rtol=1e-11, atol=1e-12)
    assert found.total_weight == pytest.approx(weights.sum(), rel=1e-12)


def test_gram__takes_missing_values_pair_by_pair():
    rows = mixed(300)
    rows[np.random.default_rng(1).random(rows.shape) < 0.2] = np.nan
    rows[:, 2] = np.arange(300)
    found = covariance(rows)
    for i in range(4):
        assert found.mean[i] == pytest.approx(np.nanmean(rows[:, i]), abs=1e-12)
        for j in range(4):
            both = rows[~np.isnan(rows[:, [i, j]]).any(axis=1)]
            expected = np.cov(both[:, i], both[:, j])[0, 1]
            assert found.covariance[i, j] == pytest.approx(expected, rel=1e-11, abs=1e-11)
    np.testing.assert_allclose(found.weights, (~np.isnan(rows)).sum(axis=0))


def test_gram__refuses_what_was_not_measured():
    rows = mixed(10)
    _, frame = whole(rows)
    for value in (1e9, np.nan, np.inf):
        changed = rows.copy()
        changed[3, 1] = value
        with pytest.raises(InputError, match="the data changed while they were read"):
            gram.gram(changed, None, frame)
    with pytest.raises(InputError, match=r"column 0 \(from 0\) together have values in 1 rows"):
        gram.finish_gram(gram.gram(rows[:1], None, frame), frame)
    alone = np.array([[1.0, np.nan], [2.0, np.nan], [np.nan, 1.0], [np.nan, 2.0]])
    with pytest.raises(InputError, match=r"columns 0 and 1 \(from 0\) together have values in 0"):
        covariance(alone)
    assert gram.least_weight(*whole(alone)) == 0


def test_widened__keeps_the_sums_and_takes_larger_values():
    small, large = mixed(400), mixed(400) * 1e5
    total, frame = whole(small)
    seen = merge_extents(extent(small, None, 0), extent(large, None, 400))
    wide = gram.gram_frame(seen, middle=frame.middle)
    total, frame = gram.widened(total, frame, wide.exponents)
    assert gram.widened(total, frame, wide.exponents - 1) == (total, frame)
    total = gram.merge_grams(total, gram.gram(large, None, frame))
    _, expected = naive(np.vstack([small, large]))
    np.testing.assert_allclose(
        gram.finish_gram(total, frame).covariance, expected, rtol=1e-11, atol=1e-9
    )


def test_scratch_bytes__does_not_grow_with_tall_blocks():
    assert gram.scratch_bytes(10, 0, 10**6, 8) == gram.scratch_bytes(10, 0, 2048, 8) > 2048 * 160
    assert sketch.scratch_bytes(3000, 20, 10**6, 8) < 64 * 2**20


@pytest.mark.parametrize("size", [1, 2, 7, 60, eigen.JACOBI_FEATURES + 1])
def test_eigh_falling__rebuilds_the_matrix(size):
    rows = np.random.default_rng(size).normal(size=(size, size))
    matrix = rows @ rows.T * 1e30
    values, vectors = eigen.eigh_falling(matrix)
    np.testing.assert_allclose((vectors.T * values) @ vectors, matrix, atol=1e-12 * values[0])
    np.testing.assert_allclose(vectors @ vectors.T, np.eye(size), atol=1e-12)
    np.testing.assert_allclose(
        values, np.linalg.eigvalsh(matrix)[::-1], rtol=1e-9, atol=1e-12 * values[0]
    )
    assert np.all(np.diff(values) <= 0)


def test_eigh_falling__small_and_singular_matrices():
    values, vectors = eigen.eigh_falling(np.zeros((3, 3)))
    assert values.tolist() == [0, 0, 0]
    np.testing.assert_array_equal(vectors, np.eye(3))
    values, vectors = eigen.eigh_falling(np.array([[2.0, 1.0], [1.0, 2.0]]))
    np.testing.assert_allclose(values, [3.0, 1.0], rtol=1e-15)
    # Loadings of equal size: the first is positive, whatever the rounding.
    np.testing.assert_allclose(vectors, np.array([[1, 1], [1, -1]]) / np.sqrt(2), rtol=1e-15)
    rows = np.random.default_rng(0).normal(size=(4, 12))
    values, _ = eigen.eigh_falling(np.cov(rows, rowvar=False))
    assert np.all(np.abs(values[3:]) < 1e-14 * values[0])


def test_eigh_falling__says_when_it_does_not_settle(monkeypatch):
    monkeypatch.setattr(eigen, "_jacobi", lambda matrix, vectors: False)
    with pytest.raises(np.linalg.LinAlgError, match="did not settle"):
        eigen.eigh_falling(np.eye(2))


def test_fix_signs__makes_the_first_of_the_largest_positive():
    given_rows = np.array([[0.1, -0.9], [-0.5, 0.5 + 1e-12], [0.6, 0.1], [0.0, 0.0]])
    expected = [[-0.1, 0.9], [0.5, -0.5 - 1e-12], [0.6, 0.1], [0.0, 0.0]]
    np.testing.assert_array_equal(eigen.fix_signs(given_rows), expected)


@settings(max_examples=15)
@given(st.integers(0, 99), st.integers(1, 100), st.sampled_from([np.float32, np.float64]))
def test_project_block__gives_a_row_the_same_bits_anywhere(first, height, dtype):
    rows = mixed(200, 7).astype(dtype)
    basis, _ = np.linalg.qr(mixed(7, 7))
    place = Projection(rows.mean(axis=0, dtype=np.float64), basis[:3].copy(), np.arange(1.0, 4.0))
    whole_scores = project_block(rows, place)
    np.testing.assert_array_equal(
        project_block(rows[first : first + height], place), whole_scores[first : first + height]
    )
    expected = (rows - place.mean) @ place.components.T / place.scales
    np.testing.assert_allclose(whole_scores, expected, atol=1e-12)


def test_unproject_block__undoes_a_full_projection():
    rows = mixed(50)
    basis, _ = np.linalg.qr(mixed(4, 4))
    place = Projection(rows.mean(axis=0), basis, np.array([1.0, 2.0, 3.0, 4.0]))
    np.testing.assert_allclose(unproject_block(project_block(rows, place), place), rows, atol=1e-12)
    missing = np.full((1, 4), np.nan)
    np.testing.assert_array_equal(project_block(missing, place), np.zeros((1, 4)))


@pytest.mark.parametrize("weighted", [False, True])
def test_sketch__multiplies_by_the_scatter(weighted):
    rows = mixed(500, 30) * np.logspace(-3, 3, 30) + 5.0
    weights = np.random.default_rng(0).random(500) * 3 if weighted else None
    counts = np.ones(500) if weights is None else weights
    mean = counts @ rows / counts.sum()
    exponents = sketch.sketch_exponents(extent(rows, weights, 0), mean)
    frame = sketch.sketch_frame(mean, exponents, sketch.first_vectors(3, 30, 4))
    np.testing.assert_allclose(frame.vectors(), sketch.first_vectors(3, 30, 4), atol=1e-2)
    scatter = (rows - mean).T @ ((rows - mean) * counts[:, None])
    expected = scatter @ frame.vectors()
    found = sketch.finish_sketch(sketch.sketch(rows, weights, frame), frame)
    np.testing.assert_allclose(found, expected, atol=1e-5 * np.abs(expected).max(axis=0).min())


def test_sketch__keeps_its_bits_under_any_cuts_and_order():
    rows = mixed(5000, 6)
    mean = rows.mean(axis=0)
    exponents = sketch.sketch_exponents(extent(rows, None, 0), mean)
    frame = sketch.sketch_frame(mean, exponents, sketch.first_vectors(0, 6, 2))
    expected = sketch.sketch(rows, None, frame)
    shuffled = rows[np.random.default_rng(0).permutation(5000)]
    parts = [sketch.sketch(shuffled[s : s + 999], None, frame) for s in range(0, 5000, 999)]
    total = parts[0]
    for part in parts[1:]:
        total = gram.merge_grams(total, part)
    assert (total.high.tobytes(), total.low.tobytes()) == (
        expected.high.tobytes(),
        expected.low.tobytes(),
    )
    rows[0, 0] = 1e6
    with pytest.raises(InputError, match="the data changed"):
        sketch.sketch(rows, None, frame)
