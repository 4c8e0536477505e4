"""Ranges and a sample of all rows in one pass."""

from __future__ import annotations

import dask.array as da
import numpy as np
import pytest

from daskseg.cluster import survey as module
from daskseg.cluster.survey import read_pilot, sample_rows_for, survey
from daskseg.engine import progress
from daskseg.engine.blocks import Blocks
from daskseg.errors import InputError
from daskseg.inputs import as_blocks
from daskseg.kernels.moments import extent
from daskseg.kernels.sample import SAMPLE_ROWS

ROWS = np.random.default_rng(0).lognormal(0, 1, (40_000, 2))


def blocks_of(chunks):
    return as_blocks(da.from_array(ROWS, chunks=chunks))


def bytes_of(found):
    sample = found.sample
    return sample.values.tobytes(), sample.weights.tobytes(), sample.drawn.rows.tobytes()


def test_survey__is_the_same_for_any_chunks_and_scheduler(scheduler):
    expected = survey(Blocks.from_array(ROWS), 7, 300)
    for chunks in ((40_000, 2), (777, 1)):
        found = survey(blocks_of(chunks), 7, 300)
        assert bytes_of(found) == bytes_of(expected)
        for left, right in zip(found.extent, extent(ROWS, None, 0), strict=True):
            np.testing.assert_array_equal(left, right)


def test_survey__counts_a_part_of_a_pass_for_the_pilot():
    with progress.recording("test") as log:
        survey(blocks_of((1000, 2)), 0, 300)
    # Four runs of 4,096 rows lie in at most 6 blocks of 40 each.
    assert 1.0 < log.passes <= 1.6
    with progress.recording("test") as log:
        survey(blocks_of((1000, 2)), 0, 50_000)
    assert log.passes == 1.0


def test_survey__repeats_the_pass_where_the_pilot_misled(monkeypatch):
    """With a floor out of reach too few rows come back: all are drawn from again."""
    expected = survey(blocks_of((1000, 2)), 0, 300)
    monkeypatch.setattr(module, "priority_floor", lambda *_: 1e12)
    with progress.recording("test") as log:
        found = survey(blocks_of((1000, 2)), 0, 300)
    assert bytes_of(found) == bytes_of(expected)
    assert log.passes > 2.0


def test_survey__draws_about_twice_what_is_wanted(monkeypatch):
    sizes = []
    original = module.sample.merge_samples

    def merge(a, b, n_wanted):
        sizes.append(len(a.rows) + len(b.rows))
        return original(a, b, n_wanted)

    monkeypatch.setattr(module.sample, "merge_samples", merge)
    survey(Blocks.from_array(ROWS, block_rows=20_000), 0, 2_000)
    assert 2_500 < sizes[-1] < 6_000


def test_survey__weights_decide_the_draw():
    weights = np.zeros(len(ROWS))
    weights[:500] = 2.0
    blocks = as_blocks(ROWS, sample_weight=weights)
    found = survey(blocks, 0, 300).sample
    assert (found.drawn.rows < 500).all()
    assert found.weights.sum() == pytest.approx(1000.0, rel=0.15)


def test_survey__refuses_defects():
    rows = ROWS.copy()
    rows[123, 1] = np.nan
    with pytest.raises(InputError, match=r"rows has 1 missing values .* row 123 "):
        survey(Blocks.from_array(rows), 0, 300, what="rows")


def test_survey__of_rows_without_spread():
    found = survey(Blocks.from_array(np.ones((40_000, 2))), 0, 300).sample
    np.testing.assert_allclose(found.weights, 40_000 / 300)


def test_read_pilot__takes_the_same_rows_from_any_chunks():
    expected = read_pilot(Blocks.from_array(ROWS), 1)
    for chunks in ((40_000, 1), (5000, 2), (77, 2)):
        for left, right in zip(read_pilot(blocks_of(chunks), 1), expected, strict=True):
            np.testing.assert_array_equal(left, right)
    few = read_pilot(Blocks.from_array(ROWS[:100]), 1)[0]
    np.testing.assert_array_equal(few, ROWS[:100])


def test_sample_rows_for__grows_with_the_clusters():
    assert sample_rows_for(5) == SAMPLE_ROWS
    assert sample_rows_for(1000) == 400_000
