"""DBSCAN in memory and in boxes: row by row as scikit-learn."""

from __future__ import annotations

import pickle

import dask
import dask.array as da
import numpy as np
import pandas as pd
import pytest
import zarr
from sklearn.cluster import DBSCAN as Reference

from daskseg.cluster import DBSCAN
from daskseg.cluster.density import boxes, dbscan, outcome
from daskseg.errors import InputError, MemoryBudgetError, SchemaMismatchError, UsageError
from daskseg.kernels.boxes import BoxTree
from tests.counting import Counted

pytestmark = pytest.mark.filterwarnings("ignore::daskseg.errors.DasksegWarning")
GRID = np.stack(np.meshgrid(np.arange(6.0), np.arange(6.0)), axis=-1).reshape(-1, 2)


@pytest.fixture
def small_boxes(monkeypatch):
    """Make boxes of at most so many rows, halos included."""

    def limit(n_rows, n_features):
        row_bytes = boxes.Shape(1, n_features, 8, is_weighted=False).box_bytes
        room = int(2 * n_rows * row_bytes)
        monkeypatch.setattr(boxes, "room_of_task", lambda: (room, ""))
        monkeypatch.setattr(boxes, "_LEAST_ROWS", 2**60)
        monkeypatch.setattr(boxes, "_FEWEST_ROWS", 1)

    return limit


def _blobs(rng, d, n):
    centres = rng.normal(size=(6, d)) * 4
    spread = rng.choice([0.1, 0.5, 1.5], size=(n, 1))
    return centres[rng.integers(0, 6, n)] + rng.normal(size=(n, d)) * spread, 0.5


def _uniform(rng, d, n):
    return rng.random((n, d)), 0.9 * n ** (-1 / d)


def _grid(rng, d, n):
    # Distances of exactly eps.
    side = int(2 + 1.2 * n ** (1 / d))
    return rng.integers(0, side, (n, d)).astype(float), float(rng.integers(1, 3))


def _repeats(rng, d, n):
    return np.repeat(rng.normal(size=(n // 4 + 1, d)), 4, axis=0).astype(np.float32), 0.3


def _chains(rng, d, n):
    # Chains in steps of exactly eps, through all boxes, and some rows missing.
    steps = rng.integers(0, n // 3 + 1, n).astype(float)
    rows = np.zeros((n, d))
    rows[:, 0] = 0.5 * steps
    rows[:, 1:] = rng.integers(0, 3, (n, 1)) * 10.0
    return rows, 0.5


def _lines(rng, d, n):
    return np.outer(rng.normal(size=n), np.ones(d)) + rng.integers(0, 2, (n, 1)), 0.05


KINDS = {f.__name__[1:]: f for f in (_blobs, _uniform, _grid, _repeats, _chains, _lines)}


def make(kind, seed):
    rng = np.random.default_rng([seed, list(KINDS).index(kind)])
    d, n = int(rng.integers(2, 7)), int(rng.integers(200, 1_500))
    rows, eps = KINDS[kind](rng, d, n)
    weights = rng.integers(0, 4, len(rows)).astype(float) if seed % 3 == 2 else None
    return rows, float(eps), int(rng.integers(1, 9)), weights, rng


def assert_same(model, reference, rows):
    labels = model.labels_ if isinstance(model.labels_, np.ndarray) else model.labels_.compute()
    assert labels.dtype == reference.labels_.dtype == np.int64
    np.testing.assert_array_equal(labels, reference.labels_)
    np.testing.assert_array_equal(model.core_sample_indices_, reference.core_sample_indices_)
    np.testing.assert_array_equal(model.components_, reference.components_)
    assert model.n_clusters_ == reference.labels_.max() + 1
    assert model.noise_share_ == (reference.labels_ < 0).mean()
    if len(model.components_):
        found = model.predict(rows[model.core_sample_indices_])
        np.testing.assert_array_equal(found, labels[model.core_sample_indices_])


def cut_small(model, lazy, weights, small_boxes):
    """Make boxes as small as the copies allow; return how many there are."""
    for share in (8, 4, 2, 1.3, 1.1):
        small_boxes(lazy.shape[0] / share, lazy.shape[1])
        try:
            return model.plan(lazy, sample_weight=weights).n_boxes
        except MemoryBudgetError:
            continue
    return 0


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("kind", KINDS)
def test_fit__in_boxes_gives_every_row_its_label(kind, seed, small_boxes):
    rows, eps, least, weights, rng = make(kind, seed)
    reference = Reference(eps=eps, min_samples=least).fit(rows, sample_weight=weights)
    assert_same(DBSCAN(eps, min_samples=least).fit(rows, sample_weight=weights), reference, rows)
    cuts = np.sort(rng.integers(0, len(rows) + 1, 4))
    chunks = np.diff([0, *cuts, len(rows)])
    lazy = da.from_array(rows, chunks=(tuple(int(n) for n in chunks), (1, rows.shape[1] - 1)))
    model = DBSCAN(eps, min_samples=least, max_halo=8.0, random_state=seed)
    with dask.config.set(scheduler=["synchronous", "threads"][seed % 2]):
        assert 2 <= cut_small(model, lazy, weights, small_boxes) <= 80
        model.fit(lazy, sample_weight=weights)
        assert model.labels_.chunks == lazy.chunks[:1]
        assert_same(model, reference, rows)
    assert model.n_passes_ == 2
    assert 0 < model.halo_share_ <= 8


def test_fit__is_the_same_on_any_scheduler(scheduler, small_boxes):
    rows, eps, least, _, _ = make("blobs", 1)
    small_boxes(len(rows) / 4, rows.shape[1])
    reference = Reference(eps=eps, min_samples=least).fit(rows)
    model = DBSCAN(eps, min_samples=least, max_halo=60.0)
    assert_same(model.fit(da.from_array(rows, chunks=(301, -1))), reference, rows)
    lazy = da.from_array(rows, chunks=(100, -1))
    np.testing.assert_array_equal(model.predict(lazy).compute(), model.predict(rows))


def in_two_boxes(rows, cut, monkeypatch, **options):
    """Fit one column in two boxes."""
    bounds = np.array([[-np.inf], [-np.inf], [cut]]), np.array([[np.inf], [cut], [np.inf]])
    tree = BoxTree(np.array([0, -1, -1]), np.array([cut, 0.0, 0.0]), np.array([1, 0, 1]), *bounds)
    plan = boxes.BoxPlan(tree, 2, 1.0, len(rows), 1, 1)
    monkeypatch.setattr(dbscan, "plan_boxes", lambda *_: plan)
    rows = np.array(rows)[:, None]
    model = DBSCAN(1.0, **options).fit(da.from_array(rows, chunks=2))
    assert_same(model, Reference(eps=1.0, **options).fit(rows), rows)
    return model


def test_fit__counts_neighbours_in_other_boxes(monkeypatch):
    # Rows 1.0 and 2.0 are dense only with what lies across the cut.
    model = in_two_boxes([0.0, 1.0, 2.0, 3.0], 1.5, monkeypatch, min_samples=3)
    assert model.core_sample_indices_.tolist() == [1, 2]
    assert model.labels_.compute().tolist() == [0, 0, 0, 0]


def test_fit__does_not_merge_clusters_by_a_border_row(monkeypatch):
    # Row 2.0 is near both clusters, one in each box, and not dense itself.
    rows = [3.75, 3.5, 3.25, 3.0, 2.0, 1.0, 0.75, 0.5, 0.25]
    model = in_two_boxes(rows, 1.5, monkeypatch, min_samples=4)
    assert model.labels_.compute().tolist() == [0, 0, 0, 0, 0, 1, 1, 1, 1]
    assert model.core_sample_indices_.tolist() == [0, 1, 2, 3, 5, 6, 7, 8]


def test_fit__joins_core_rows_across_boxes(monkeypatch):
    # In the left box row 1.75 is a copy with too few rows around it: its own box must tell that
    # it is dense. It alone joins both sides.
    rows = [0.0, 0.25, 1.0, 1.75, 2.5, 2.75, 9.0]
    model = in_two_boxes(rows, 1.5, monkeypatch, min_samples=4)
    assert model.core_sample_indices_.tolist() == [2, 3]
    assert model.labels_.compute().tolist() == [0, 0, 0, 0, 0, 0, -1]


def test_fit__takes_distances_of_exactly_eps_as_near():
    assert DBSCAN(1.0, min_samples=5).fit(GRID).core_sample_indices_.tolist() == [
        i for i in range(36) if i % 6 not in (0, 5) and i // 6 not in (0, 5)
    ]
    below = np.nextafter(1.0, 0.0)
    assert (DBSCAN(below, min_samples=2).fit(GRID).labels_ == -1).all()


def test_fit__takes_any_number_of_columns_in_memory():
    rows = np.random.default_rng(0).integers(0, 2, (150, 12)).astype(float)
    reference = Reference(eps=1.0, min_samples=3).fit(rows)
    assert_same(DBSCAN(1.0, min_samples=3).fit(rows), reference, rows)
    with pytest.raises(UsageError, match=r"X has 12 columns, .* boxes of at most 8: .*PCA"):
        DBSCAN(1.0).fit(da.from_array(rows, chunks=50))


def test_fit__of_dense_rows_makes_no_lists():
    # All pairs would be 10**10.
    rows = np.random.default_rng(0).normal(size=(100_000, 2)).astype(np.float32)
    model = DBSCAN(5.0, min_samples=100).fit(rows)
    assert model.n_clusters_ == 1
    assert model.noise_share_ == 0.0


def test_fit__takes_stores_and_frames_and_counts_its_passes(tmp_path, small_boxes):
    rows, eps, least, _, _ = make("uniform", 0)
    reference = Reference(eps=eps, min_samples=least).fit(rows)
    small_boxes(len(rows) / 3, rows.shape[1])
    path = tmp_path / "rows.zarr"
    zarr.create_array(store=str(path), data=rows, chunks=(97, rows.shape[1]))
    model = DBSCAN(eps, min_samples=least, max_halo=60.0)
    assert_same(model.fit(str(path)), reference, rows)
    names = [f"c{i}" for i in range(rows.shape[1])]
    frame = pd.DataFrame(rows, columns=names)
    np.testing.assert_array_equal(model.fit(frame).labels_, reference.labels_)
    assert model.feature_names_in_.tolist() == names
    counted = Counted()
    lazy = da.from_array(rows, chunks=(-1, -1)).map_blocks(counted, dtype=rows.dtype, meta=rows[:0])
    with dask.config.set(scheduler="synchronous"):
        model.fit(lazy)
    assert counted.n_reads == model.n_passes_ == 2


def test_fit__of_unknown_lengths_counts_them_first(small_boxes):
    rows, eps, least, _, _ = make("grid", 1)
    lazy = da.from_array(rows, chunks=(100, -1))
    small_boxes(len(rows) / 3, rows.shape[1])
    model = DBSCAN(eps, min_samples=least, max_halo=60.0).fit(lazy[lazy[:, 0] >= 0])
    reference = Reference(eps=eps, min_samples=least).fit(rows)
    assert_same(model, reference, rows)
    assert model.n_passes_ == 3


def test_predict__is_the_nearest_core_row_within_eps():
    rows = np.array([[0.0], [1.0], [3.0], [4.0], [9.0]])
    model = DBSCAN(1.0, min_samples=2).fit(rows)
    assert model.labels_.tolist() == [0, 0, 1, 1, -1]
    places = [[2.0], [-1.0], [5.5], [100.0], [2.25]]
    assert model.predict(places).tolist() == [0, 0, -1, -1, 1]
    assert model.predict(places, force=True).tolist() == [0, 0, 1, 1, 1]
    again = pickle.loads(pickle.dumps(model))
    assert again.predict(places).tolist() == [0, 0, -1, -1, 1]


def test_predict__without_core_rows_is_noise():
    model = DBSCAN(0.1).fit(GRID)
    assert (model.n_clusters_, model.noise_share_, model.components_.shape) == (0, 1.0, (0, 2))
    assert model.predict(GRID[:2], force=True).tolist() == [-1, -1]


@pytest.mark.parametrize("lazy", [False, True])
def test_predict__refuses_core_rows_that_were_not_kept(lazy, monkeypatch):
    monkeypatch.setattr(outcome, "KEPT_BYTES", 100)
    model = DBSCAN(1.0, min_samples=2).fit(da.from_array(GRID, chunks=9) if lazy else GRID)
    assert not hasattr(model, "components_")
    assert len(model.core_sample_indices_) == 36
    with pytest.raises(MemoryBudgetError, match="core rows of the fit took more than"):
        model.predict(GRID)
    monkeypatch.setattr(outcome, "KEPT_BYTES", 2**20)
    assert len(model.fit(GRID).components_) == 36


@pytest.mark.filterwarnings("error::daskseg.errors.DasksegWarning")
def test_fit__warns_of_much_noise_of_one_cluster_and_of_copies(small_boxes, monkeypatch):
    with pytest.warns(UserWarning, match=r"100% of the rows are noise"):
        DBSCAN(0.1).fit(GRID)
    rows = np.r_[np.zeros(90), np.full(10, 9.0)][:, None]
    with pytest.warns(UserWarning, match=r"one cluster has 90% of the rows"):
        DBSCAN(0.1).fit(rows)
    small_boxes(30, 2)
    monkeypatch.setattr(dbscan, "_MANY_COPIES", 0.2)
    model = DBSCAN(1.0, min_samples=2)
    with pytest.warns(
        UserWarning, match=r"2 boxes of up to 30 rows will copy each row 0\.50 times"
    ):
        model.fit(da.from_array(GRID, chunks=9))
    assert model.halo_share_ == 18 / 36


def test_fit__refuses_too_many_copies(small_boxes):
    small_boxes(9, 2)
    lazy = da.from_array(GRID, chunks=9)
    with pytest.raises(MemoryBudgetError, match=r"eps=2 is too large for boxes of 9 rows"):
        DBSCAN(2.0).fit(lazy)
    with pytest.raises(MemoryBudgetError, match=r"max_halo=0\.1"):
        DBSCAN(1.0, max_halo=0.1).plan(lazy)


def test_fit__refuses_more_rows_than_labels_fit(monkeypatch):
    monkeypatch.setattr(dbscan, "MAX_ROWS", 35)
    with pytest.raises(MemoryBudgetError, match=r"X has 36 rows, but labels of at most 35"):
        DBSCAN().fit(da.from_array(GRID, chunks=9))


def test_fit__refuses_rows_in_memory_that_leave_no_room():
    with (
        dask.config.set({"daskseg.memory-limit": "1 MiB"}),
        pytest.raises(
            MemoryBudgetError, match=r"36 rows of 2 columns in memory take .* Zarr store"
        ),
    ):
        DBSCAN().fit(GRID)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"eps": 0.0}, "eps=0.0 is not above zero"),
        ({"eps": -1.0}, "eps=-1.0 is not a number"),
        ({"eps": np.inf}, "eps=inf is not a number"),
        ({"min_samples": 0}, "min_samples=0 is not a whole number from 1"),
        ({"min_samples": 2.5}, "min_samples=2.5"),
        ({"metric": "manhattan"}, "metric='manhattan' has not landed"),
        ({"max_halo": -1}, "max_halo=-1 is not a number from 0"),
        ({"max_halo": "2"}, "max_halo='2' is not a number from 0"),
    ],
)
def test_fit__refuses_wrong_parameters(options, words):
    with pytest.raises(UsageError, match=words):
        DBSCAN(**options).fit(GRID)


@pytest.mark.parametrize("lazy", [False, True])
def test_fit__refuses_bad_rows_and_weights(lazy):
    def rows(values):
        return da.from_array(values, chunks=9) if lazy else values

    bad = GRID.copy()
    bad[20, 1] = np.nan
    with pytest.raises(InputError, match=r"NaN.* column 1.*row 20"):
        DBSCAN().fit(rows(bad))
    with pytest.raises(InputError, match="negative values"):
        DBSCAN().fit(rows(GRID), sample_weight=np.r_[-1.0, np.ones(35)])
    with pytest.raises(InputError, match="35 values, but X has 36 rows"):
        DBSCAN().fit(rows(GRID), sample_weight=np.ones(35))
    model = DBSCAN(1.0, min_samples=2).fit(rows(GRID))
    with pytest.raises((SchemaMismatchError, ValueError), match="3 features"):
        model.predict(rows(np.zeros((4, 3))))
