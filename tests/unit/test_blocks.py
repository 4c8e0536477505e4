"""Rows and frames cut into blocks."""

from __future__ import annotations

import dask.array as da
import dask.dataframe as dd
import numpy as np
import pandas as pd
import pytest

from daskseg.engine import passes
from daskseg.engine.blocks import Blocks, FrameBlocks, block_rows_for

ROWS = np.arange(60.0).reshape(20, 3)


def load(blocks):
    return passes.emit(blocks, lambda rows: rows)


@pytest.mark.parametrize("block_rows", [None, 1, 7, 20, 99])
def test_from_array__cuts_views(block_rows):
    blocks = Blocks.from_array(ROWS, block_rows=block_rows)
    parts = load(blocks)
    np.testing.assert_array_equal(np.concatenate([part.values for part in parts]), ROWS)
    assert [part.first_row for part in parts] == list(blocks.offsets)
    assert blocks.n_rows == 20
    assert all(np.shares_memory(part.values, ROWS) for part in parts)


def test_from_array__of_no_rows_is_one_empty_block():
    blocks = Blocks.from_array(ROWS[:0])
    assert (blocks.lengths, blocks.n_rows) == ((0,), 0)


@pytest.mark.parametrize("chunks", [(20, 3), (7, 3), (6, 2), ((0, 5, 15), (1, 2))])
def test_from_dask_array__joins_column_chunks(chunks):
    blocks = Blocks.from_dask_array(da.from_array(ROWS, chunks=(20, 3)).rechunk(chunks))
    parts = load(blocks)
    np.testing.assert_array_equal(np.concatenate([part.values for part in parts]), ROWS)
    assert [part.first_row for part in parts] == list(blocks.offsets)


def test_from_dask_array__keeps_unknown_lengths():
    lazy = da.from_array(ROWS, chunks=(6, 3))
    blocks = Blocks.from_dask_array(lazy[lazy[:, 0] > 10])
    assert not blocks.is_measured
    with pytest.raises(ValueError, match="measure the blocks first"):
        _ = blocks.n_rows
    assert passes.measure(blocks).lengths == (2, 6, 6, 2)


def test_map__applies_steps_in_order_inside_the_task():
    blocks = Blocks.from_array(ROWS, block_rows=6, columns=("a", "b", "c"))
    mapped = blocks.map(np.add, 1.0).map(np.multiply, 2.0)
    np.testing.assert_array_equal(np.concatenate([p.values for p in load(mapped)]), (ROWS + 1) * 2)
    assert mapped.columns == ("a", "b", "c")
    narrow = blocks.map(np.take, [0], 1, n_features=1, columns=("a",), dtype="float32")
    assert (narrow.n_features, narrow.columns, narrow.dtype) == (1, ("a",), np.float32)
    assert blocks.steps == ()


def test_select__takes_columns_by_name_in_the_order_given():
    values = np.arange(12.0).reshape(4, 3)
    blocks = Blocks.from_array(values, columns=("a", "b", "c"), block_rows=2)
    chosen = blocks.select(["c", "a"])
    assert (chosen.columns, chosen.n_features) == (("c", "a"), 2)
    loaded = [task.load.func(*task.load.args).values for task in chosen.tasks()]
    np.testing.assert_array_equal(np.vstack(loaded), values[:, [2, 0]])
    assert blocks.select(("a", "b", "c")) is blocks


def test_select__needs_names():
    with pytest.raises(ValueError, match="have no names"):
        Blocks.from_array(np.zeros((2, 2))).select(["a"])


def test_with_weights__cuts_them_like_the_rows():
    weights = np.arange(20.0)
    parts = load(Blocks.from_array(ROWS, block_rows=6).with_weights(weights))
    np.testing.assert_array_equal(np.concatenate([part.weights for part in parts]), weights)
    assert [len(part.weights) for part in parts] == [6, 6, 6, 2]


@pytest.mark.parametrize(
    ("n_features", "itemsize", "expected"), [(8, 8, 2**18), (1, 4, 2**20), (10**7, 8, 256)]
)
def test_block_rows_for__fills_sixteen_mebibytes(n_features, itemsize, expected):
    assert block_rows_for(n_features, itemsize) == expected


def test_frame_blocks__hand_out_frames():
    frame = pd.DataFrame({"a": range(10)})
    lazy = FrameBlocks.from_dask(dd.from_pandas(frame, npartitions=3))
    eager = FrameBlocks.from_frame(frame, block_rows=4)
    assert (lazy.in_memory, eager.in_memory) == (False, True)
    for blocks in (lazy, eager):
        doubled = blocks.map(lambda part, factor: part * factor, 2)
        found = pd.concat(passes.emit(doubled, lambda part: part))
        assert found["a"].tolist() == list(range(0, 20, 2))
