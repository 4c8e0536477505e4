"""A second sample, led by the centres of the first, where the first one misjudged all rows.

Covers: telling from one exact step that a sample was not like all rows, drawing another that
favours rows which fit badly and rows of small clusters, and searching it. Does not cover: the
first sample (see `cluster.survey`).

Reference: the sensitivities of k-means, Feldman and Langberg, A unified framework for
approximating and clustering data, STOC 2011, as bounded by distances to known centres.
"""

from __future__ import annotations

from functools import partial

import numpy as np
from numpy.typing import NDArray

from daskseg.cluster.lloyd import sum_floats
from daskseg.cluster.search import search
from daskseg.cluster.survey import priority_floor
from daskseg.engine import passes
from daskseg.engine.blocks import Blocks, Rows
from daskseg.kernels import labels, sample
from daskseg.kernels.sample import Sample, SamplePart, Sensitivity

Floats = NDArray[np.float64]
# Measured: samples of well-behaved benchmark sets err by up to 0.2 %. Those of kddcup99 err by 0.3
# to 1.0 %, and of four searches on them two ended 0.3 % above the best known error.
TOLERATED_ERROR = 0.0025
# Arbitrary: a gain below this share of the error is not worth beginning anew.
_LEAST_GAIN = 1e-4


def is_misjudged(sse: float, expected: float) -> bool:
    """Say whether the squared error of all rows is unlike that of the sample."""
    return abs(sse - expected) > TOLERATED_ERROR * sse


def _draw(rows: Rows, lead: Sensitivity, floor: float, seed: int, n_wanted: int) -> SamplePart:
    return sample.draw_sensitive(
        rows.values, rows.weights, rows.first_row, lead, floor, seed, n_wanted
    )


def draw_again(
    blocks: Blocks, lead: Sensitivity, known: Sample, seed: int, n_wanted: int
) -> Sample:
    """Draw rows by how badly they fit and how small their cluster is. One pass.

    Parameters
    ----------
    blocks : Blocks
    lead : Sensitivity
    known : Sample
        The first sample: it tells how many rows lie above a priority.
    seed : int
    n_wanted : int

    Notes
    -----
    A second pass where the first sample tells that wrongly.
    """
    own = np.ones(len(known.values)) if known.drawn is None else known.drawn.weight
    importance = sample.sensitivities(known.values, own, lead)
    repeats = known.weights / own
    floor = priority_floor(importance, repeats, sum_floats(repeats), n_wanted)
    merge = partial(sample.merge_samples, n_wanted=n_wanted)
    part: SamplePart = passes.reduce(
        blocks, _draw, merge, lead, floor, seed, n_wanted, name="second-look"
    )
    if len(part.rows) <= n_wanted and floor > 0:
        part = passes.reduce(blocks, _draw, merge, lead, 0.0, seed, n_wanted, name="second-look")
    total = None if blocks.weights is not None else float(blocks.n_rows)
    return sample.finish_sample(part, n_wanted, total)


def look_again(
    blocks: Blocks, lead: Sensitivity, known: Sample, seed: int, *, n_init: int | None
) -> tuple[Floats, Sample] | None:
    """Search a second sample for better centres than those that led to it.

    Returns
    -------
    centres : ndarray of shape (n_clusters, n_features), float64
    sample : Sample
    or None, where the search finds nothing better.
    """
    fresh = draw_again(blocks, lead, known, seed, len(known.values))
    k = len(lead.centres)
    found = search(fresh, [k], seed, n_init=n_init, is_second=True, local=blocks.in_memory)[0]
    before = sum_floats(labels.nearest(fresh.values, lead.centres)[1] * fresh.weights)
    if len(found.centres) < k or found.sse > before * (1.0 - _LEAST_GAIN):
        return None
    return found.centres, fresh
