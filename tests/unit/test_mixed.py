"""Tables of numbers, ranks and categories as numbers."""

from __future__ import annotations

import pickle

import dask
import dask.dataframe as dd
import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.metrics import adjusted_rand_score

from daskseg.cluster import KMeans
from daskseg.errors import DasksegWarning, InputError, SchemaMismatchError, UsageError
from daskseg.kernels import categories
from daskseg.preprocessing import MixedEncoder, Prepare, mixed


def table(n_rows=200, seed=0):
    random = np.random.default_rng(seed)
    return pd.DataFrame(
        {
            "age": random.normal(40, 10, n_rows),
            "plan": random.choice(["basic", "plus", "pro"], n_rows, p=[0.5, 0.3, 0.2]),
            "size": random.choice(["S", "M", "L"], n_rows),
            "active": random.random(n_rows) < 0.3,
        }
    )


def many(n_rows, seed=0, n_levels=60, purity=0.9):
    """Two columns of many categories that go together by three hidden groups.

    Of the rows a tenth has a category of any group in each column, which bounds what can be found.
    """
    random = np.random.default_rng(seed)
    groups = random.integers(0, 3, n_rows)
    columns = {}
    for name in ("city", "shop"):
        own = groups * (n_levels // 3) + random.integers(0, n_levels // 3, n_rows)
        level = np.where(random.random(n_rows) < purity, own, random.integers(0, n_levels, n_rows))
        columns[name] = [f"{name} {one}" for one in level]
    return pd.DataFrame(columns), groups


def test_encoder__every_column_has_the_same_variance():
    encoder = MixedEncoder(ordinal={"size": ["S", "M", "L"]}).fit(table())
    found = pd.DataFrame(encoder.transform(table()), columns=encoder.get_feature_names_out())
    np.testing.assert_allclose(found.mean(), 0.0, atol=1e-12)
    variances = found.var(ddof=0)
    groups = [name.split("=")[0] for name in found.columns]
    totals = variances.groupby(groups).sum()
    np.testing.assert_allclose(totals, 1.0, rtol=1e-12)
    assert list(found.columns) == [
        *("age", "size", "plan=basic", "plan=plus", "plan=pro", "active=False", "active=True"),
    ]


def test_encoder__two_rows_differ_by_two_on_average():
    found = MixedEncoder().fit(table()[["plan"]]).transform(table()[["plan"]])
    square = ((found[:, None] - found[None]) ** 2).sum(axis=2)
    assert square.mean() == pytest.approx(2.0, rel=1e-12)


def test_encoder__ranks_by_hand():
    # Half are low, a quarter each middle and high: below are 0, 1/2 and 3/4.
    rows = pd.DataFrame({"size": ["low", "low", "mid", "high", None]})
    encoder = MixedEncoder(ordinal={"size": ["low", "mid", "high"]}).fit(rows)
    below = np.array([0.25, 0.25, 0.625, 0.875])
    wanted = (below - 0.5) / np.sqrt(np.mean((below - 0.5) ** 2))
    np.testing.assert_allclose(encoder.transform(rows)[:, 0], [*wanted, 0.0])


def test_encoder__weights_count_squared_distances():
    plain = MixedEncoder(ordinal={"size": ["S", "M", "L"]}).fit(table()).transform(table())
    weights = {"numeric": 4.0, "ordinal": 9.0, "categorical": 0.0}
    other = MixedEncoder(ordinal={"size": ["S", "M", "L"]}, weights=weights).fit(table())
    factors = [2.0, 3.0, *[0.0] * 5]
    np.testing.assert_allclose(other.transform(table()), plain * factors, atol=1e-15)


def test_encoder__missing_and_unseen_values():
    rows = pd.DataFrame(
        {
            "age": [1.0, 2.0, 3.0, np.nan],
            "plan": ["a", "b", None, "a"],
        }
    )
    encoder = MixedEncoder(prepare=Prepare(winsor=0.0)).fit(rows)
    assert encoder.get_feature_names_out().tolist() == [
        *("age", "age_missing", "plan=(missing)", "plan=a", "plan=b"),
    ]
    found = encoder.transform(rows)
    assert found[3, :2].tolist() == [0.0, 1.0]
    assert np.isfinite(found).all()
    new = encoder.transform(pd.DataFrame({"age": [2.0], "plan": ["never seen"]}))
    assert new[0, 2:].tolist() == [0.0, 0.0, 0.0]


def test_encoder__codes_are_one_category_in_any_type():
    words = [categories.text_of(value) for value in (3, 3.0, np.int8(3), np.float32(3), "3")]
    assert set(words) == {"3"}
    rows = pd.DataFrame({"region": [1, 2, 2, 1]})
    encoder = MixedEncoder(categorical=["region"]).fit(rows)
    assert encoder.get_feature_names_out().tolist() == ["region=1", "region=2"]
    floats = rows.astype(float)
    np.testing.assert_array_equal(encoder.transform(floats), encoder.transform(rows))


@pytest.mark.parametrize("n_partitions", [1, 3, 8])
@pytest.mark.parametrize("scheduler", ["sync", "threads"])
def test_encoder__keeps_its_bits_under_any_cut(n_partitions, scheduler):
    rows = pd.concat([table(600), many(600)[0]], axis=1)
    rows.loc[::7, "plan"] = None
    options = {"ordinal": {"size": ["S", "M", "L"]}}
    wanted = MixedEncoder(**options).fit(rows).transform(rows)
    with dask.config.set(scheduler=scheduler):
        lazy = dd.from_pandas(rows, npartitions=n_partitions)
        found = MixedEncoder(**options).fit(lazy).transform(lazy)
        assert isinstance(found, dask.array.Array)
        assert found.compute().tobytes() == wanted.tobytes()


def test_encoder__feeds_every_clusterer_lazily():
    rows = dd.from_pandas(table(400), npartitions=3)
    encoded = MixedEncoder().fit(rows).transform(rows)
    lazy = KMeans(3, random_state=0).fit(encoded)
    whole = KMeans(3, random_state=0).fit(MixedEncoder().fit(table(400)).transform(table(400)))
    assert lazy.cluster_centers_.tobytes() == whole.cluster_centers_.tobytes()


def test_components__find_categories_that_go_together():
    rows, groups = many(3_000)
    encoder = MixedEncoder(max_categories=10).fit(rows)
    assert encoder.n_components_ == 2
    found = encoder.transform(rows)
    np.testing.assert_allclose(found.mean(axis=0), 0.0, atol=1e-12)
    assert found.var(axis=0).sum() == pytest.approx(2.0)
    assert adjusted_rand_score(groups, KMeans(3, random_state=0).fit(found).labels_) > 0.75


def test_components__of_one_column_go_with_the_others():
    rows, groups = many(3_000)
    rows = pd.DataFrame({"city": rows["city"], "kind": np.array(["x", "y", "z"])[groups]})
    encoder = MixedEncoder(max_categories=10, weights={"categorical": 0.0}).fit(rows)
    assert encoder.n_components_ == 2
    labels = KMeans(3, random_state=0).fit(encoder.transform(rows)[:, 3:]).labels_
    assert adjusted_rand_score(groups, labels) > 0.6


def test_components__chance_makes_none():
    rows = many(3_000, purity=0.0)[0]
    with pytest.warns(DasksegWarning, match="city, shop go with no other categories"):
        encoder = MixedEncoder(max_categories=10).fit(rows)
    assert encoder.n_components_ == 0
    assert encoder.transform(rows).shape == (3_000, 0)


def test_components__are_those_of_a_plain_decomposition(monkeypatch):
    rows = many(500, n_levels=12)[0]
    # Without collisions, so that buckets are categories.
    places = {text: i for name in rows for i, text in enumerate(sorted(rows[name].unique()))}
    monkeypatch.setattr(
        categories, "hashed_codes", lambda values, _: categories.known_codes(values, places)
    )
    encoder = MixedEncoder(max_categories=4, n_buckets=12, n_components=2).fit(rows)
    shares = [rows[name].map(places).to_numpy() for name in rows]
    dummies = np.hstack([np.eye(12)[codes] for codes in shares])
    share = dummies.mean(axis=0)
    scaled = (dummies - share) / np.sqrt(share)
    u, s, _ = np.linalg.svd(scaled, full_matrices=False)
    told = s[:2] ** 2 / len(rows) - 1.0
    wanted = u[:, :2] * np.sqrt(len(rows)) * np.sqrt(2.0 * told / told.sum())
    found = encoder.transform(rows)
    np.testing.assert_allclose(np.abs(found), np.abs(wanted), atol=1e-9)


def test_hash__is_the_same_in_any_process():
    values = np.array(["a", "b", "ü", 1, None], dtype=object)
    assert categories.hashed_codes(values, 512).tolist() == HASHES


HASHES = [464, 223, 459, 6, 326]


def test_pairs__by_hand():
    one, other = np.array([0, 1, 1, -1]), np.array([2, 0, 0, 1])
    found = categories.pair_block([one, other], [2, 3])
    assert found.tolist() == [
        [1, 0, 0, 0, 1],
        [0, 2, 2, 0, 0],
        [0, 2, 2, 0, 0],
        [0, 0, 0, 1, 0],
        [1, 0, 0, 0, 1],
    ]


def test_counts__merge_in_any_order_up_to_the_limit(monkeypatch):
    monkeypatch.setattr(categories, "MOST_COUNTED", 3)
    blocks = [np.array(list(text), dtype=object)[:, None] for text in ("aab", "bc", "d")]
    parts = [categories.count_block(block) for block in blocks]
    first = categories.merge_counts(parts[0], parts[1])
    assert first.columns == ({"a": 2, "b": 2, "c": 1},)
    assert categories.merge_counts(first, parts[2]).columns == (None,)
    assert categories.merge_counts(parts[2], first) == categories.merge_counts(first, parts[2])


def test_encoder__is_cloned_and_pickled():
    encoder = MixedEncoder(max_categories=5, weights={"numeric": 2.0})
    assert clone(encoder).get_params() == encoder.get_params()
    fitted = encoder.fit(table())
    again = pickle.loads(pickle.dumps(fitted))
    np.testing.assert_array_equal(again.transform(table()), fitted.transform(table()))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"categorical": "all"}, "categorical='all' is neither 'auto' nor a list"),
        ({"categorical": ["town"]}, r"categorical names \['town'\], but the columns are"),
        ({"ordinal": {"town": ["a"]}}, r"ordinal names \['town'\], but the columns are"),
        ({"categorical": ["size"], "ordinal": {"size": ["S"]}}, "as categorical and as ordinal"),
        ({"ordinal": {"size": ["S", "S", "M"]}}, r"ordinal\['size'\] names a level twice"),
        ({"weights": {"text": 1.0}}, r"weights names \['text'\], but the kinds are numeric"),
        ({"weights": {"numeric": -1.0}}, r"weights\['numeric'\]=-1.0 is not a number from 0"),
        ({"max_categories": 0}, "max_categories"),
    ],
)
def test_encoder__refuses_wrong_parameters(options, message):
    with pytest.raises(UsageError, match=message):
        MixedEncoder(**options).fit(table())


def test_encoder__refuses_tables_that_it_cannot_take():
    with pytest.raises(UsageError, match="a table with named columns is due, but X is a ndarray"):
        MixedEncoder().fit(np.zeros((3, 2)))
    with pytest.raises(UsageError, match="not all text, or some have the same name"):
        MixedEncoder().fit(pd.DataFrame(np.zeros((3, 2))))
    with pytest.raises(InputError, match="column 'day' holds dates or durations"):
        MixedEncoder().fit(pd.DataFrame({"day": pd.to_datetime(["2026-01-01"])}))
    with pytest.raises(InputError, match=r"levels \['M'\], which ordinal does not name"):
        MixedEncoder(ordinal={"size": ["S", "L"]}).fit(table())
    ids = pd.DataFrame({"id": [f"c{i}" for i in range(50)]})
    with pytest.raises(InputError, match="another category in each of 50 rows"):
        MixedEncoder().fit(ids)
    with pytest.raises(InputError, match="no rows"):
        MixedEncoder().fit(table()[:0])
    with pytest.warns(DasksegWarning, match="one category only"):
        found = MixedEncoder().fit_transform(pd.DataFrame({"kind": ["a"] * 5}))
    assert found.tolist() == [[0.0]] * 5
    encoder = MixedEncoder().fit(table())
    with pytest.raises(SchemaMismatchError, match="but those of the fit were"):
        encoder.transform(table()[["plan", "age", "size", "active"]])


def test_encoder__piece_by_piece(monkeypatch):
    encoder = MixedEncoder().fit(table())
    wanted = encoder.transform(table())
    monkeypatch.setattr(mixed, "_PIECE_ROWS", 33)
    np.testing.assert_array_equal(encoder.transform(table()), wanted)
