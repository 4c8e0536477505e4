"""Steps on the rows kept in memory: the same bits as steps over all rows, in fewer passes."""

from __future__ import annotations

import dask.array as da
import numpy as np
import pytest

from daskseg.cluster import KMeans, margins
from daskseg.cluster.exact import RowsSource
from daskseg.cluster.margins import Margins
from daskseg.engine.blocks import Blocks
from daskseg.errors import InputError
from daskseg.kernels.moments import extent


@pytest.fixture
def keep_some(monkeypatch):
    """Keep a share of the rows only, however few there are."""

    def set_share(share):
        monkeypatch.setattr(margins, "WHOLE_BYTES", 0)
        monkeypatch.setattr(margins, "SHARE", share)

    return set_share


def make_rows(kind, random, n_rows=3000):
    if kind == "ties":
        return random.integers(-3, 4, (n_rows, 3)).astype(float)
    if kind == "scales":
        return random.normal(size=(n_rows, 3)) * [1.0, 1e5, 1e-5] + 1e5
    if kind == "outliers":
        return random.normal(size=(n_rows, 3)) * np.where(random.random((n_rows, 1)) < 0.01, 50, 1)
    return random.normal(size=(n_rows, 4)).astype(np.float32)


@pytest.mark.parametrize("kind", ["smooth", "ties", "scales", "outliers"])
@pytest.mark.parametrize("share", [0.02, 0.15, 0.6])
@pytest.mark.parametrize("weighted", [False, True])
def test_exact__ends_at_the_bits_of_plain_steps(keep_some, kind, share, weighted):
    keep_some(share)
    random = np.random.default_rng(7)
    rows = make_rows(kind, random)
    weights = random.integers(0, 4, len(rows)) if weighted else None
    init = rows[random.choice(len(rows), 6, replace=False)]
    plain = KMeans(6, init=init, algorithm="lloyd").fit(rows, sample_weight=weights)
    exact = KMeans(6, init=init).fit(rows, sample_weight=weights)
    np.testing.assert_array_equal(exact.cluster_centers_, plain.cluster_centers_)
    np.testing.assert_array_equal(exact.labels_, plain.labels_)
    assert exact.inertia_ == plain.inertia_
    assert exact.n_iter_ == plain.n_iter_
    assert exact.history_ == plain.history_
    assert exact.n_passes_ <= plain.n_passes_


def test_exact__with_a_dead_cluster_and_tiny_steps(keep_some):
    keep_some(0.15)
    rows = make_rows("smooth", np.random.default_rng(1))
    init = np.concatenate([rows[:5], rows[:2] + 1e6])
    plain = KMeans(7, init=init, algorithm="lloyd").fit(rows)
    exact = KMeans(7, init=init).fit(rows)
    np.testing.assert_array_equal(exact.cluster_centers_, plain.cluster_centers_)


@pytest.mark.parametrize("tol", [0.0, 1e-4, 0.05])
def test_exact__stops_where_plain_steps_stop(keep_some, tol):
    keep_some(0.15)
    rows = make_rows("smooth", np.random.default_rng(1))
    plain = KMeans(5, init=rows[:5], algorithm="lloyd", tol=tol).fit(rows)
    exact = KMeans(5, init=rows[:5], tol=tol).fit(rows)
    assert (exact.n_iter_, exact.stopped_by_) == (plain.n_iter_, plain.stopped_by_)
    assert exact.inertia_ == plain.inertia_


def test_exact__saves_most_passes(keep_some):
    keep_some(0.25)
    rows = make_rows("smooth", np.random.default_rng(3), 20_000)
    lazy = da.from_array(rows, chunks=(2500, 4))
    plain = KMeans(5, init=rows[:5], algorithm="lloyd").fit(lazy)
    exact = KMeans(5, init=rows[:5]).fit(lazy)
    assert exact.inertia_ == plain.inertia_
    assert plain.n_passes_ > 50
    assert exact.n_passes_ < 0.25 * plain.n_passes_


def test_exact__of_few_rows_reads_them_once():
    rows = make_rows("smooth", np.random.default_rng(3))
    model = KMeans(5, init=rows[:5]).fit(da.from_array(rows, chunks=(500, 4)))
    assert model.n_iter_ > 10
    # Ranges, and one step: all rows are kept.
    assert model.n_passes_ == 2.0


def test_margins__share_is_bounded_by_memory():
    few = Margins(np.empty((0, 10)), np.empty(0), 1000, 8)
    many = Margins(np.empty((0, 10)), np.empty(0), 10**9, 8)
    assert few.share == 1.0
    assert many.share * 10**9 * (10 * 8 + 20) == pytest.approx(margins.BUDGET_BYTES)


def test_margins__are_wider_for_centres_that_move_more():
    random = np.random.default_rng(0)
    rows = np.concatenate([random.normal(size=(990, 2)), 100 + 30 * random.normal(size=(10, 2))])
    chooser = Margins(rows, np.ones(1000), 10**9, 8)
    centres = np.array([[0.0, 0.0], [100.0, 100.0]])
    first, reach = chooser.choose(centres, None)
    # The standard error of the mean of ten rows of spread 30, and of 990 of spread 1.
    assert first.radii[1] > 10 * first.radii[0]
    assert reach > 0
    second, _ = chooser.choose(np.array([[1.0, 0.0], [100.0, 100.0]]), first)
    assert second.radii.tolist() == [1.0, margins._LEAST_SHARE]


def test_rows_source__notices_that_the_data_changed():
    rows = np.random.default_rng(0).normal(size=(100, 2))
    seen = extent(rows, None, 0)._replace(n_rows=99)
    source = RowsSource(Blocks.from_array(rows), seen, lambda: np.inf)
    with pytest.raises(InputError, match="99 rows at first, 100 rows now"):
        source.step(rows[:3].copy())
