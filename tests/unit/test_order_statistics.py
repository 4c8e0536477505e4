"""Exact order statistics and quantiles."""

from __future__ import annotations

import dask.array as da
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from daskseg.engine import progress
from daskseg.engine.blocks import Blocks
from daskseg.kernels.order_statistics import key_values, sort_keys
from daskseg.metrics import quantiles as selection
from tests import naive

FLOATS = st.floats(allow_nan=False)
Q = [0.0, 0.005, 0.25, 0.5, 0.77, 0.995, 1.0]


def table(n_rows=2000):
    random = np.random.default_rng(0)
    columns = [
        random.lognormal(0, 3, n_rows),
        random.integers(-2, 3, n_rows).astype(float),
        random.normal(size=n_rows),
    ]
    rows = np.column_stack(columns)
    rows[random.random(rows.shape) < 0.1] = np.nan
    return rows


class ByColumn:
    """Labels from the second column; rows without a value belong to no group."""

    def __call__(self, values):
        return np.where(np.isnan(values[:, 1]), -1, values[:, 1] + 2).astype(np.int64)


@given(st.lists(FLOATS, min_size=2))
def test_sort_keys__keep_order_and_come_back(values):
    array = np.array(values)
    keys = sort_keys(array)
    np.testing.assert_array_equal(key_values(keys), array)
    assert (np.sort(array) == array[np.argsort(keys)]).all()


def test_sort_keys__make_the_zeros_one():
    keys = sort_keys(np.array([0.0, -0.0]))
    assert keys[0] == keys[1]


@pytest.mark.parametrize("limit", [1_000_000, 50, 0])
@pytest.mark.parametrize("block_rows", [2000, 300])
def test_quantiles__equal_numpy(monkeypatch, limit, block_rows):
    monkeypatch.setattr(selection, "COLLECT_ROWS", limit)
    rows = table()
    found = selection.quantiles(Blocks.from_array(rows, block_rows=block_rows), Q)
    np.testing.assert_array_equal(found, np.nanquantile(rows, Q, axis=0))


@given(st.lists(FLOATS | st.just(float("nan")), min_size=1, max_size=40), st.integers(1, 41))
def test_order_statistics__equal_sorting(values, block_rows):
    blocks = Blocks.from_array(np.array(values)[:, None], block_rows=block_rows)
    found, counts = selection.order_statistics(blocks, lambda n: range(1, n + 1))
    expected = sorted(v for v in values if not np.isnan(v))
    assert found[0].tolist() == expected
    assert counts.tolist() == [len(expected)]


@pytest.mark.parametrize("limit", [1_000_000, 0])
def test_group_order_statistics__equal_the_naive_version(monkeypatch, limit):
    monkeypatch.setattr(selection, "COLLECT_ROWS", limit)
    rows = table(600)
    blocks = Blocks.from_array(rows, block_rows=97)
    found, counts = selection.group_order_statistics(
        blocks, ByColumn(), 6, lambda n: [n, 1, (n + 1) // 2]
    )
    for group in range(5):
        own = rows[rows[:, 1] == group - 2]
        for column in range(3):
            n = int(counts[group, column])
            assert n == np.count_nonzero(~np.isnan(own[:, column]))
            expected = [naive.order_statistic(own[:, column], r) for r in (n, 1, (n + 1) // 2)]
            assert found[group][column].tolist() == expected
    assert [len(values) for values in found[5]] == [0, 0, 0]


def test_order_statistics__of_an_empty_column_are_none():
    rows = np.column_stack([np.full(3, np.nan), np.arange(3.0)])
    found, counts = selection.order_statistics(Blocks.from_array(rows), lambda n: [n])
    assert [values.tolist() for values in found] == [[], [2.0]]
    assert counts.tolist() == [0, 3]
    assert np.isnan(selection.quantiles(Blocks.from_array(rows), [0.5])[0, 0])


def test_order_statistics__take_two_passes(monkeypatch):
    blocks = Blocks.from_dask_array(da.from_array(table(), chunks=(300, 3)))
    with progress.recording("test") as log:
        selection.quantiles(blocks, Q)
    assert log.passes == 2
    monkeypatch.setattr(selection, "COLLECT_ROWS", 0)
    with progress.recording("test") as log:
        selection.quantiles(blocks, Q)
    assert log.passes == 4


def test_order_statistics__send_few_values():
    """Only the values that share their leading bits with a wanted one are collected."""
    random = np.random.default_rng(0)
    blocks = Blocks.from_array(random.normal(size=(100_000, 1)), block_rows=10_000)
    sent = []
    original = selection.radix.merge_keys

    def merge(a, b):
        merged = original(a, b)
        sent.append(len(merged[0][0]))
        return merged

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(selection.radix, "merge_keys", merge)
        selection.quantiles(blocks, [0.5])
    assert max(sent) < 1000
