from __future__ import annotations

import json
from functools import partial

import dask
import dask.array as da
import dask.dataframe as dd
import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.base import clone
from sklearn.preprocessing import MinMaxScaler, RobustScaler, StandardScaler

from daskseg.engine.blocks import Blocks
from daskseg.engine.progress import recording
from daskseg.errors import DasksegWarning, InputError, SchemaMismatchError, UsageError
from daskseg.kernels.prepare import (
    FeaturePlan,
    prepare_block,
    prepared_names,
    restore_block,
    signed_expm1,
    signed_log1p,
)
from daskseg.preprocessing import Prepare

plain = partial(Prepare, winsor=0.0, log1p=[])


def table(n_rows=301, seed=0, missing=True):
    """A column without skew, one with a heavy tail, one with negative values; some missing."""
    generator = np.random.default_rng(seed)
    values = np.column_stack([
        generator.normal(50, 9, n_rows),
        generator.lognormal(3, 2, n_rows),
        generator.normal(-1, 4, n_rows).round(1),
    ])  # fmt: skip
    if missing:
        values[:: max(2, n_rows // 7), 1] = np.nan
    return values


def filled(values):
    """Fill in the lower median, as the rows of the middle rank say."""
    result = values.copy()
    for column in result.T:
        known = np.sort(column[~np.isnan(column)])
        column[np.isnan(column)] = known[(len(known) - 1) // 2]
    return result


def winsorised(values, share):
    result = filled(values)
    for name, column in enumerate(result.T):
        known = np.sort(values[~np.isnan(values[:, name]), name])
        cut = int(share * (len(known) - 1))
        column[:] = column.clip(known[cut], known[len(known) - 1 - cut])
    return result


# ── the block functions ──────────────────────────────────────────────────────


def test_signed_log1p__is_odd_monotone_and_undone():
    values = np.array([-1e6, -2.0, -1e-12, 0.0, 1e-12, 2.0, 1e6])
    logs = signed_log1p(values)
    assert (np.diff(logs) > 0).all()
    np.testing.assert_array_equal(logs, -signed_log1p(-values))
    np.testing.assert_allclose(signed_expm1(logs), values, rtol=1e-14)
    assert signed_log1p(np.array([np.e - 1])).tolist() == [1.0]


def test_prepare_block__by_hand():
    plan = (
        FeaturePlan("a", -1.0, 3.0, fill=2.0, transform="none", center=1.0, spread=2.0),
        FeaturePlan("b", -np.inf, np.inf, 0.0, "log1p", 0.0, 0.5, indicator=True),
    )
    rows = np.array([[-5.0, 0.0], [np.nan, np.e - 1], [9.0, np.nan], [1.0, 1 - np.e]])
    assert prepared_names(plan) == ("a", "b", "b_missing")
    assert prepare_block(rows, plan).tolist() == [
        [-1.0, 0.0, 0.0],
        [0.5, 2.0, 0.0],
        [1.0, 0.0, 1.0],
        [0.0, -2.0, 0.0],
    ]
    restored = restore_block(prepare_block(rows, plan), plan)
    np.testing.assert_allclose(restored, [[-1, 0], [2, np.e - 1], [3, 0], [1, 1 - np.e]])


def test_prepare_block__leaves_its_input_alone_and_takes_any_real_type():
    plan = (FeaturePlan("a", 0.0, 2.0, 1.0, "none", 0.0, 1.0, indicator=True),)
    for dtype in ("float32", "int8", "bool"):
        rows = np.array([[0], [1]], dtype=dtype)
        before = rows.copy()
        prepared = prepare_block(rows, plan)
        assert prepared.dtype == np.float64
        np.testing.assert_array_equal(rows, before)
    assert prepare_block(np.zeros((0, 1)), plan).shape == (0, 2)


def test_feature_plan__goes_through_json():
    for low, high in ((-1.5, 2.5), (-np.inf, np.inf)):
        plan = FeaturePlan("a", low, high, 0.1, "log1p", 1 / 3, 2.0, True, 4, 5)
        record = json.loads(json.dumps(plan.to_dict(), allow_nan=False))
        assert FeaturePlan.from_dict(record) == plan


# ── what is learned ──────────────────────────────────────────────────────────


def test_prepare__zscore_by_hand():
    rows = np.array([[1.0], [2.0], [3.0], [6.0]])
    prepared = plain(scale="zscore").fit(rows)
    assert prepared.plan_[0].center == 3.0
    assert prepared.plan_[0].spread == pytest.approx(np.sqrt(3.5), rel=1e-15)
    np.testing.assert_allclose(
        prepared.transform(rows).ravel(), np.array([-2, -1, 0, 3]) / np.sqrt(3.5)
    )


def test_prepare__minmax_and_robust_by_hand():
    rows = np.array([[1.0], [2.0], [3.0], [5.0], [9.0]])
    assert plain(scale="minmax").fit_transform(rows).ravel().tolist() == [0, 1 / 8, 1 / 4, 1 / 2, 1]
    # Median 3, quartiles 2 and 5.
    robust = plain(scale="robust").fit_transform(rows)
    np.testing.assert_allclose(robust.ravel(), [-2 / 3, -1 / 3, 0, 2 / 3, 2])
    assert plain(scale="none").fit_transform(rows).ravel().tolist() == [1, 2, 3, 5, 9]


@pytest.mark.parametrize(
    ("scale", "scaler"),
    [("zscore", StandardScaler()), ("minmax", MinMaxScaler()), ("robust", RobustScaler())],
)
@pytest.mark.parametrize("winsor", [0.0, 0.005, 0.05])
def test_prepare__equals_sklearn_on_winsorised_data(scale, scaler, winsor):
    # 4 m + 1 rows, so that quartiles are values of the data.
    values = table(301, missing=False)
    found = Prepare(winsor=winsor, log1p=[], scale=scale).fit_transform(values)
    expected = scaler.fit_transform(winsorised(values, winsor))
    np.testing.assert_allclose(found, expected, rtol=1e-10, atol=1e-12)


def test_prepare__equals_sklearn_with_missing_values_and_logarithms():
    values = table(301)
    found = Prepare(winsor=0.02, log1p=[1]).fit_transform(values)
    expected = winsorised(values, 0.02)
    expected[:, 1] = signed_log1p(expected[:, 1])
    np.testing.assert_allclose(found[:, :3], StandardScaler().fit_transform(expected), atol=1e-12)
    np.testing.assert_array_equal(found[:, 3], np.isnan(values[:, 1]))


def test_prepare__winsor_bounds_are_order_statistics():
    rows = np.random.default_rng(1).permutation(np.arange(1.0, 102.0))[:, None]
    # floor(0.05 * 100) = 5 values are moved on either side.
    step = Prepare(winsor=0.05, log1p=[]).fit(rows).plan_[0]
    assert (step.low, step.high, step.clipped) == (6.0, 96.0, 10)
    step = Prepare(winsor=0.0499, log1p=[]).fit(rows).plan_[0]
    assert (step.low, step.high, step.clipped) == (5.0, 97.0, 8)
    step = Prepare(winsor=0.0, log1p=[]).fit(rows).plan_[0]
    assert (step.low, step.high, step.clipped) == (-np.inf, np.inf, 0)


def test_prepare__missing_values_get_the_lower_median_and_a_column():
    frame = pd.DataFrame({"a": [4.0, 1.0, np.nan, 3.0, 2.0], "b": [1.0, 2.0, 3.0, 4.0, 5.0]})
    prepare = plain(scale="none").fit(frame)
    assert [(step.fill, step.indicator, step.missing) for step in prepare.plan_] == [
        (2.0, True, 1),
        (3.0, False, 0),
    ]
    assert prepare.transform(frame).tolist() == [
        [4.0, 1.0, 0.0],
        [1.0, 2.0, 0.0],
        [2.0, 3.0, 1.0],
        [3.0, 4.0, 0.0],
        [2.0, 5.0, 0.0],
    ]
    assert prepare.get_feature_names_out().tolist() == ["a", "b", "a_missing"]
    assert prepare.feature_names_in_.tolist() == ["a", "b"]


def skewness(values):
    centred = values - values.mean()
    return (centred**3).mean() / (centred**2).mean() ** 1.5


def test_prepare__auto_takes_logarithms_of_heavy_tails_only():
    generator = np.random.default_rng(0)
    columns = {
        "even": generator.normal(0, 1, 500),
        "heavy": generator.lognormal(3, 2, 500),
        "mild": generator.exponential(1, 500),
        "left": -generator.lognormal(0, 1.5, 500),
        "both": generator.lognormal(0, 2, 500) * generator.choice([-0.02, 1.0], 500),
        # Skewed, but its logarithms are as skewed: nothing is won.
        "rare": (np.arange(500) % 100 == 0).astype(float),
    }
    frame = pd.DataFrame(columns)
    chosen = {step.feature: step.transform for step in Prepare(winsor=0.002).fit(frame).plan_}
    expected = {}
    for name in frame:
        values = winsorised(frame[[name]].to_numpy(), 0.002).ravel()
        plain_skew, log_skew = skewness(values), skewness(signed_log1p(values))
        heavy = plain_skew > 2 and abs(log_skew) < plain_skew - 1e-9
        expected[name] = "log1p" if heavy else "none"
    assert set(expected.values()) == {"log1p", "none"}
    del expected["rare"], chosen["rare"]
    assert chosen == expected
    assert chosen["heavy"] == chosen["both"] == "log1p"
    assert chosen["left"] == chosen["even"] == "none"


def test_prepare__logarithms_by_name_and_by_number():
    frame = pd.DataFrame(table(missing=False), columns=["a", "b", "c"])
    for log1p, logged in (([], ""), (["c"], "c"), ([0, "c"], "ac"), (("a", "b", "c"), "abc")):
        plan = Prepare(log1p=log1p).fit(frame).plan_
        assert "".join(step.feature for step in plan if step.transform == "log1p") == logged


@pytest.mark.parametrize("log1p", [["d"], [3], [-1], ["a", 7]])
def test_prepare__refuses_logarithms_of_unknown_columns(log1p):
    with pytest.raises(UsageError, match=r"log1p names \[.*but the columns are \['a', 'b', 'c'\]"):
        Prepare(log1p=log1p).fit(pd.DataFrame(table(), columns=["a", "b", "c"]))


@pytest.mark.parametrize(
    ("parameters", "words"),
    [
        ({"winsor": -0.1}, "winsor=-0.1 must be at least 0 and below 0.5"),
        ({"winsor": 0.5}, "winsor=0.5 must be"),
        ({"scale": "unit"}, "scale='unit' is not one of zscore, minmax, robust, none"),
        ({"missing": "mean"}, "missing='mean' is neither"),
        ({"log1p": "all"}, "log1p='all' must be 'auto' or a list"),
    ],
)
def test_prepare__refuses_wrong_parameters(parameters, words):
    with pytest.raises(UsageError, match=words):
        Prepare(**parameters).fit(table())


def test_prepare__every_parameter_changes_something():
    values = table()
    usual = Prepare().fit_transform(values)
    for parameters in ({"winsor": 0.1}, {"log1p": []}, {"scale": "minmax"}):
        assert not np.array_equal(Prepare(**parameters).fit_transform(values), usual)
    with pytest.raises(InputError, match="column 'x1' has 7 missing values of 301"):
        Prepare(missing="error").fit(values)
    assert Prepare().get_params().keys() == {"winsor", "log1p", "scale", "missing"}
    assert clone(Prepare(winsor=0.1, scale="none")).get_params()["winsor"] == 0.1


def test_prepare__inverse_transform_brings_winsorised_rows_back():
    values = table()
    for parameters in ({}, {"scale": "minmax"}, {"log1p": [0, 1, 2]}, {"scale": "robust"}):
        prepare = Prepare(winsor=0.02, **parameters).fit(values)
        back = prepare.inverse_transform(prepare.transform(values))
        np.testing.assert_allclose(back, winsorised(values, 0.02), rtol=1e-9, atol=1e-9)


def test_prepare__takes_extreme_units():
    rows = np.array([[1.0], [2.0], [5.0]])
    usual = plain().fit_transform(rows)
    for unit in (2.0**-500, 2.0**300):
        np.testing.assert_array_equal(plain().fit_transform(rows * unit), usual)


def test_prepare__one_row_of_a_million_keeps_its_weight():
    rows = np.concatenate([np.zeros(20_000), [1.0]])[:, None] + 1e6
    step = plain().fit(rows).plan_[0]
    share = 1 / 20_001
    assert step.spread == pytest.approx(np.sqrt(share * (1 - share)), rel=1e-9)


# ── what is refused and warned of ────────────────────────────────────────────


def test_prepare__refuses_columns_without_any_value():
    values = table()
    values[:, 2] = np.nan
    with pytest.raises(InputError, match="column 'x2' has no value at all: leave it out"):
        Prepare().fit(values)


@pytest.mark.parametrize("infinity", [np.inf, -np.inf])
def test_prepare__refuses_infinite_values(infinity):
    values = table()
    values[3, 0] = infinity
    with pytest.raises(InputError, match="column 'x0' has infinite values"):
        Prepare().fit(values)
    prepare = Prepare().fit(table())
    with pytest.raises(InputError, match=f"column 'x0' has the value {infinity} in row 3"):
        prepare.transform(values)
    lazy = prepare.transform(da.from_array(values, chunks=(100, 3)))
    with pytest.raises(InputError, match="column 'x0' has the value"):
        lazy.compute(scheduler="synchronous")


def test_prepare__without_leave_to_fill_refuses_missing_values_in_transform_too():
    prepare = Prepare(missing="error").fit(table(missing=False))
    with pytest.raises(InputError, match="column 'x1' has the value nan in row 0"):
        prepare.transform(table())


def test_prepare__fills_in_what_is_missing_only_later():
    prepare = plain(scale="none").fit(np.array([[1.0], [2.0], [4.0]]))
    assert prepare.transform(np.array([[np.nan], [9.0]])).tolist() == [[2.0], [9.0]]


def test_prepare__warns_of_constant_columns():
    with pytest.warns(DasksegWarning, match="column 'x1' has one value only: it does not"):
        prepare = Prepare().fit(np.column_stack([np.arange(9.0), np.full(9, 7.0)]))
    assert prepare.transform(np.array([[4.0, 7.0], [4.0, 8.0]]))[:, 1].tolist() == [0.0, 0.0]
    rare = np.zeros((1_000, 1))
    rare[0] = 1.0
    with pytest.warns(DasksegWarning, match="one value only after winsorising"):
        Prepare().fit(rare)


def test_prepare__robust_refuses_a_constant_middle_half():
    values = np.array([[0.0]] * 8 + [[1.0], [5.0]])
    with pytest.raises(UsageError, match=r"interquartile range is 0\. Use scale='zscore'"):
        plain(scale="robust").fit(values)


def test_prepare__refuses_tables_without_rows():
    empty = da.zeros((0, 2), chunks=(1, 2))
    with pytest.raises(InputError, match="no rows"):
        Prepare().fit(empty)


def test_prepare__refuses_other_columns_than_those_of_the_fit():
    frame = pd.DataFrame(table(), columns=["a", "b", "c"])
    prepare = Prepare().fit(frame)
    turned = frame[["b", "a", "c"]]
    for other in (turned, dd.from_pandas(turned, npartitions=2)):
        with pytest.raises(SchemaMismatchError, match=r"\['b', 'a', 'c'\], but those of the fit"):
            prepare.transform(other)
    with pytest.raises(SchemaMismatchError, match="2 features, but 3 features are expected"):
        prepare.transform(table()[:, :2])
    prepare.fit(table())
    assert not hasattr(prepare, "feature_names_in_")


# ── the same bits for any data, chunks and workers ───────────────────────────


@given(
    st.lists(st.integers(0, 60), min_size=1, max_size=9).filter(lambda sizes: sum(sizes) > 4),
    st.booleans(),
)
def test_prepare__same_bits_for_any_chunking(sizes, column_chunks):
    values = table(sum(sizes), seed=5)
    whole = Prepare(winsor=0.03).fit(values)
    columns = (1, 2) if column_chunks else (3,)
    array = da.from_array(values, chunks=(sum(sizes), 3)).rechunk((tuple(sizes), columns))
    found = Prepare(winsor=0.03).fit(array)
    assert found.plan_ == whole.plan_
    np.testing.assert_array_equal(
        found.transform(array).compute(scheduler="synchronous"), whole.transform(values)
    )


def test_prepare__same_bits_for_every_scheduler(scheduler):
    values = table(2_000)
    array = da.from_array(values, chunks=(150, 3))
    prepare = Prepare().fit(array)
    assert prepare.plan_ == Prepare().fit(values).plan_
    np.testing.assert_array_equal(
        prepare.transform(array).compute(), Prepare().fit_transform(values)
    )


def test_prepare__takes_unknown_chunk_sizes_and_empty_partitions():
    frame = pd.DataFrame(table(), columns=["a", "b", "c"])
    expected = Prepare().fit(frame)
    lazy = dd.from_pandas(frame, npartitions=4)
    lazy = dd.concat([lazy, lazy[lazy["a"] > 1e9]])
    for data in (lazy, lazy.to_dask_array()):
        with dask.config.set(scheduler="synchronous"):
            found = Prepare().fit(data)
            prepared = found.transform(data)
            assert isinstance(prepared, da.Array)
            assert np.isnan(prepared.shape[0])
            np.testing.assert_array_equal(prepared.compute(), expected.transform(frame))
        for step, other in zip(found.plan_, expected.plan_, strict=True):
            assert {**step.to_dict(), "feature": ""} == {**other.to_dict(), "feature": ""}
    assert Prepare().fit(lazy).feature_names_in_.tolist() == ["a", "b", "c"]


def test_prepare__transform_of_dask_reads_nothing():
    def refuse(block):
        raise AssertionError("read too early")

    array = da.from_array(table(), chunks=(100, 3))
    prepare = Prepare().fit(array)
    lazy = prepare.transform(array.map_blocks(refuse, meta=np.zeros((0, 0))))
    assert lazy.shape == (301, 4)
    assert lazy.dtype == np.float64
    with pytest.raises(AssertionError, match="read too early"):
        lazy.compute(scheduler="synchronous")


def test_prepare__blocks_stay_blocks():
    values = table()
    blocks = Blocks.from_array(values, columns=("a", "b", "c"), block_rows=64)
    prepare = Prepare().fit(blocks)
    prepared = prepare.transform(blocks)
    assert isinstance(prepared, Blocks)
    assert prepared.columns == ("a", "b", "c", "b_missing")
    assert (prepared.n_features, prepared.dtype) == (4, np.float64)
    rows = [task.load.func(*task.load.args).values for task in prepared.tasks()]
    np.testing.assert_array_equal(np.concatenate(rows), Prepare().fit_transform(values))


def test_prepare__reads_the_data_three_times():
    array = da.from_array(table(), chunks=(100, 3))
    for data in (table(), array):
        with recording("fit") as log:
            Prepare().fit(data)
        assert log.passes == 3
        assert log.bytes_read == 3 * table().nbytes
    frame = dd.from_pandas(pd.DataFrame(table(), columns=["a", "b", "c"]), npartitions=2)
    with recording("fit") as log:
        Prepare().fit(frame)
    assert log.passes == 4  # one more to count the rows
