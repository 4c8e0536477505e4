"""Maps of landmarks: repeatable, honest about what they keep, and the same for any chunks."""

from __future__ import annotations

import builtins
import doctest
import inspect
import pickle
import warnings

import dask
import dask.array as da
import dask.dataframe as dd
import numpy as np
import pandas as pd
import pytest
import scipy.sparse
from sklearn.datasets import load_digits

from daskseg import manifold
from daskseg.errors import (
    DasksegWarning,
    InputError,
    MissingExtraError,
    SchemaMismatchError,
    UsageError,
)
from daskseg.manifold import TSNE, UMAP, base
from daskseg.manifold import draws as drawing
from daskseg.manifold.base import LandmarkMap
from tests.counting import Counted

CENTRES = np.array([[0, 0], [15, 0], [0, 18], [25, 22], [50, 5]])
MAPS = pytest.mark.parametrize("make", [UMAP, TSNE])


class Flat(LandmarkMap):
    """A map whose landmarks stay in their first places: all that maps share, and quick."""

    def __init__(self, n_components=2, *, n_landmarks=200, random_state=None):
        self.n_components = n_components
        self.n_landmarks = n_landmarks
        self.random_state = random_state

    def check_library(self):
        pass

    def _n_neighbors(self, n_landmarks):
        return 1

    def _lay_out(self, near, dists, start, seed):
        return start


class Shuffled(Flat):
    """A map that moves the segments at 0, 10, 20 and 100 to 0, 100, 10 and 50."""

    def _lay_out(self, near, dists, start, seed):
        segment = np.searchsorted([5.0, 15.0, 60.0], np.abs(start[:, 0] - self._end(start)))
        moves = np.array([0.0, 90.0, -10.0, -50.0])
        return np.abs(start - self._end(start)) + moves[segment][:, None]

    def _end(self, start):
        # Components may point either way; the segments at 0, 10 and 20 lie near one end.
        low, high = start[:, 0].min(), start[:, 0].max()
        return low if np.median(start[:, 0]) < (low + high) / 2 else high


@pytest.fixture
def umap():
    pytest.importorskip("umap", reason="umap-learn is missing: pip install 'daskseg[maps]'")


@pytest.fixture
def tsne():
    pytest.importorskip("openTSNE", reason="openTSNE is missing: pip install 'daskseg[maps]'")


@pytest.fixture
def library(request, make):
    request.getfixturevalue(make.__name__.lower())


def groups(n_rows=1_500, n_features=5, seed=0):
    random = np.random.default_rng(seed)
    label = random.integers(0, 5, n_rows)
    rows = random.normal(size=(n_rows, n_features))
    rows[:, :2] += CENTRES[label]
    return rows, label


def state(model):
    parts = [model.landmark_embedding_, model.embedding_, model.guide_.projection.components]
    measured = [model.trustworthiness_, model.continuity_, model.neighbor_recall_]
    return [np.asarray(one).tobytes() for one in (*parts, measured)]


def test_map__same_bits_for_any_chunks_and_scheduler():
    rows, label = groups()
    expected = state(Flat().fit(rows, labels=label))
    for chunks in ((1_500, 5), (400, 5), (77, 2), ((1, 0, 1_499), 5)):
        for scheduler in ("synchronous", "threads"):
            with dask.config.set(scheduler=scheduler):
                lazy = Flat().fit(
                    da.from_array(rows, chunks=chunks), labels=da.from_array(label, chunks=311)
                )
                assert isinstance(lazy.embedding_, da.Array)
                assert state(lazy) == expected
    other = Flat(random_state=1).fit(rows, labels=label)
    assert state(other) != expected


def test_map__of_a_frame_of_unknown_length():
    rows, _ = groups(600)
    frame = pd.DataFrame(rows, columns=list("abcde"))
    lazy = Flat().fit(dd.from_pandas(frame, npartitions=3))
    expected = Flat().fit(frame)
    np.testing.assert_array_equal(lazy.embedding_.compute(), expected.embedding_)
    assert lazy.feature_names_in_.tolist() == list("abcde")
    assert expected.get_feature_names_out().tolist() == ["flat0", "flat1"]
    with pytest.raises(ValueError, match="feature names should match"):
        expected.transform(frame.rename(columns={"a": "z"}))


def test_map__reads_as_often_as_it_says():
    rows, label = groups(1_000)
    counted = Counted()
    lazy = da.from_array(rows, chunks=(250, 5)).map_blocks(counted, dtype=rows.dtype, meta=rows[:0])
    assert Flat().fit(lazy).n_passes_ == 3
    assert counted.n_reads == 3 * 4
    assert Flat().fit(lazy, labels=label).n_passes_ == 4
    assert counted.n_reads == 7 * 4
    assert Flat().fit(rows).n_passes_ == 4


def test_map__rows_do_not_depend_on_each_other():
    rows, _ = groups(2_000)
    model = Flat().fit(rows)
    np.testing.assert_array_equal(model.transform(rows[::3]), model.embedding_[::3])
    again = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(again.transform(rows[:9]), model.embedding_[:9])
    narrow = model.transform(rows.astype("f4"))
    assert narrow.dtype == np.float32
    np.testing.assert_allclose(narrow, model.embedding_, atol=3)


def test_map__landmarks_of_every_segment():
    label = np.r_[np.zeros(5_000, int), np.full(90, 1), np.full(300, 2)]
    rows = np.random.default_rng(0).normal(size=(len(label), 3))
    model = Flat(n_landmarks=1_000).fit(rows, labels=label)
    assert np.bincount(model.landmark_labels_).tolist() == [928, 90, 200]
    named = Flat(n_landmarks=1_000).fit(rows, labels=np.array(["a", "b", "c"])[label])
    assert set(named.landmark_labels_) == {"a", "b", "c"}
    assert not hasattr(model.fit(rows), "landmark_labels_")
    # Few landmarks are shared out evenly, if need be.
    assert drawing.wanted_landmarks(np.array([10_000, 50, 50]), 60).tolist() == [59, 20, 20]
    assert drawing.wanted_quality(np.array([90_000, 10_000, 10])).tolist() == [3083, 1083, 10]


def test_map__a_place_is_one_landmark():
    rows = np.repeat(np.arange(8.0), 50)[:, None] * [1.0, 2.0, 0.5]
    model = Flat(n_landmarks=400).fit(rows)
    assert model.n_landmarks_ == 8
    assert len(np.unique(model.embedding_, axis=0)) == 8


@pytest.mark.filterwarnings("ignore:the trustworthiness:daskseg.errors.DasksegWarning")
@pytest.mark.parametrize("n_rows", [2, 3])
@pytest.mark.parametrize("make", [Flat, UMAP, TSNE])
def test_map__of_a_few_rows_is_where_their_components_are(request, make, n_rows):
    if make is not Flat:
        request.getfixturevalue(make.__name__.lower())
    model = make().fit(np.eye(n_rows))
    assert model.embedding_.shape == (n_rows, 2)
    assert np.isfinite(model.embedding_).all()
    assert np.isnan(model.trustworthiness_) == (n_rows < 3)
    assert np.isnan(model.centroid_correlation_)


def test_map__of_one_place():
    model = Flat().fit(np.ones((40, 3)))
    assert model.n_landmarks_ == 1
    assert model.embedding_.tolist() == [[0.0, 0.0]] * 40


def test_map__more_components_than_features():
    model = Flat(3).fit(np.random.default_rng(0).normal(size=(50, 1)))
    assert model.embedding_.shape == (50, 3)


def test_quality__is_told_and_warned_of():
    random = np.random.default_rng(0)
    rows, label = groups(1_200)
    good = Flat(n_landmarks=1_200).fit(rows[:, :2], labels=label)
    assert good.trustworthiness_ > 0.99
    assert good.continuity_ > 0.99
    assert good.neighbor_recall_ > 0.9
    assert good.centroid_correlation_ == pytest.approx(1.0)
    with pytest.warns(DasksegWarning, match=r"trustworthiness of the map is 0\.\d\d, below 0.85"):
        Flat(1).fit(random.normal(size=(600, 40)))
    # Segments that are far from each other are drawn side by side.
    place = np.array([0.0, 10.0, 20.0, 100.0])[np.repeat(range(4), 150)]
    rows = place[:, None] + random.normal(size=(600, 1))
    with pytest.warns(DasksegWarning, match=r"correlation .*, below 0.5"):
        model = Shuffled(1, n_landmarks=600).fit(rows, labels=place)
    assert model.trustworthiness_ > 0.95
    assert model.centroid_correlation_ < 0


def test_raster__counts_every_row_once():
    rows, label = groups(3_000)
    model = Flat().fit(rows)
    whole = model.raster(rows, bins=16)
    assert whole.counts.shape == (1, 16, 16)
    places = model.embedding_
    expected, _, _ = np.histogram2d(
        places[:, 1],
        places[:, 0],
        bins=16,
        range=[[whole.low[1], whole.high[1]], [whole.low[0], whole.high[0]]],
    )
    np.testing.assert_array_equal(whole.counts[0], expected)
    split = model.raster(rows, bins=16, labels=label)
    np.testing.assert_array_equal(split.counts.sum(axis=(1, 2)), np.bincount(label))
    np.testing.assert_array_equal(split.counts.sum(axis=0), whole.counts[0])
    assert split.labels.tolist() == [0, 1, 2, 3, 4]


def test_raster__same_for_any_chunks_in_one_pass():
    rows, label = groups(2_000)
    model = Flat().fit(rows)
    names = np.array(["north", "south", "east", "west", "here"])[label]
    expected = model.raster(rows, bins=64, labels=names)
    assert expected.labels.tolist() == sorted(set(names))
    counted = Counted()
    for chunks in (2_000, 300):
        lazy = da.from_array(rows, chunks=(chunks, 5))
        lazy = lazy.map_blocks(counted, dtype=rows.dtype, meta=rows[:0])
        found = model.raster(lazy, bins=64, labels=da.from_array(names, chunks=700))
        np.testing.assert_array_equal(found.counts, expected.counts)
        assert found.labels.tolist() == expected.labels.tolist()
    assert counted.n_reads == 1 + 7


def test_raster__bad_input():
    rows, label = groups(500)
    model = Flat().fit(rows)
    with pytest.raises(UsageError, match="bins=0 is not a whole number from 1"):
        model.raster(rows, bins=0)
    with pytest.raises(UsageError, match=r"bins=20,000 has 400,000,000 cells"):
        model.raster(rows, bins=20_000)
    with pytest.raises(UsageError, match=r"3 or more segments with bins=8,000|5 or more segments"):
        model.raster(rows, bins=8_000, labels=label)
    with pytest.raises(InputError, match="first in row 7"):
        model.raster(rows, labels=np.where(np.arange(500) == 7, np.nan, label))
    lazy = da.from_array(np.where(np.arange(500) == 7, np.nan, label), chunks=100)
    with pytest.raises(InputError, match="first in row 7"):
        model.raster(da.from_array(rows, chunks=100), labels=lazy)
    with pytest.raises(InputError, match="every value must be finite"):
        model.raster(np.full((5, 5), np.nan))
    with pytest.raises(UsageError, match="n_components=3"):
        Flat(3).fit(rows).raster(rows)


def test_map__bad_input():
    rows, label = groups(500)
    with pytest.raises(InputError, match="n_samples=1"):
        Flat().fit(rows[:1])
    with pytest.raises(InputError, match="infinite"):
        Flat().fit(np.where(rows == rows.max(), np.inf, rows))
    with pytest.raises(TypeError, match="Sparse data"):
        Flat().fit(scipy.sparse.eye(5).tocsr())
    with pytest.raises(InputError, match="labels has 499 values"):
        Flat().fit(rows, labels=label[1:])
    with pytest.raises(UsageError, match=r"500 segments, but n_landmarks=200"):
        Flat().fit(rows, labels=np.arange(500))
    with pytest.raises(UsageError, match="n_landmarks=15 is not a whole number from 16"):
        Flat(n_landmarks=15).fit(rows)
    with pytest.raises(SchemaMismatchError, match="4 features"):
        Flat().fit(rows).transform(da.from_array(rows[:, :4]))


@pytest.mark.parametrize(
    ("model", "words"),
    [
        (UMAP(n_neighbors=1), "n_neighbors=1 is not a whole number from 2"),
        (UMAP(min_dist=1.5), "min_dist=1.5"),
        (UMAP(n_epochs=0), "n_epochs=0 is neither"),
        (TSNE(3), "n_components=3 is not one of: 1, 2"),
        (TSNE(perplexity=0.5), "perplexity=0.5 is not a number from 1"),
        (TSNE(random_state="x"), "random_state='x'"),
    ],
    ids=lambda one: one if isinstance(one, str) else "",
)
def test_maps__refuse_wrong_parameters(request, model, words):
    request.getfixturevalue(type(model).__name__.lower())
    with pytest.raises(UsageError, match=words):
        model.fit(groups(50)[0])


@MAPS
@pytest.mark.usefixtures("library")
def test_maps__keep_the_neighbours_of_digits(make):
    rows, label = load_digits(return_X_y=True)
    fewer = {"n_epochs": 100} if make is UMAP else {}
    model = make(n_landmarks=900, **fewer).fit(rows, labels=label)
    assert model.trustworthiness_ > 0.95
    assert model.continuity_ > 0.95
    assert model.n_landmarks_ == pytest.approx(900, abs=10)


@MAPS
@pytest.mark.usefixtures("library")
def test_maps__same_picture_twice_and_from_chunks(make):
    rows, label = groups(700)
    fewer = {"n_epochs": 30} if make is UMAP else {}
    model = make(n_landmarks=300, random_state=3, **fewer).fit(rows, labels=label)
    again = make(n_landmarks=300, random_state=3, **fewer).fit(
        da.from_array(rows, chunks=(90, 2)), labels=label
    )
    assert state(again) == state(model)
    assert not np.array_equal(model.landmark_embedding_, base._start(np.zeros((300, 2)), 2, 3))


@MAPS
@pytest.mark.filterwarnings("ignore:the trustworthiness:daskseg.errors.DasksegWarning")
@pytest.mark.usefixtures("library")
@pytest.mark.parametrize("n_components", [1, 2])
def test_maps__of_huge_tiny_and_few_numbers(make, n_components):
    rows, _ = groups(40)
    for scale in (1e-100, 1e100):
        model = make(n_components).fit(scale * rows)
        assert np.isfinite(model.embedding_).all()
        assert model.embedding_.shape == (40, n_components)
    for few in (2, 4, 15, 16):
        model = make(n_components).fit(rows[:few])
        assert np.isfinite(model.embedding_).all()
        assert len(np.unique(model.embedding_[:, 0])) == few


@MAPS
@pytest.mark.usefixtures("library")
def test_maps__what_their_docstrings_show(make):
    shown = inspect.getdoc(make).replace("  # doctest: +SKIP", "")
    examples = doctest.DocTestParser().get_doctest(shown, {}, make.__name__, None, None)
    assert doctest.DocTestRunner(optionflags=doctest.ELLIPSIS).run(examples).failed == 0


@MAPS
def test_maps__name_the_extra_that_is_missing(make, monkeypatch):
    really = builtins.__import__

    def without(name, *args, **options):
        if name.split(".")[0] in ("umap", "openTSNE"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        return really(name, *args, **options)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(MissingExtraError, match=r"pip install 'daskseg\[maps\]'") as caught:
        make().fit(groups(50)[0])
    assert isinstance(caught.value, ImportError)


def test_maps__have_no_scoring_path():
    for name in manifold.__all__:
        assert not hasattr(getattr(manifold, name), "predict")
        assert "never what is clustered or scored" in inspect.getdoc(getattr(manifold, name))


def test_maps__warn_of_nothing_else(umap):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        UMAP(n_epochs=5).fit(groups(100)[0])
