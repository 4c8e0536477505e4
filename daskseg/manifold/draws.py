"""Rows that a map is made of: landmarks, and others that its quality is measured on.

Covers: both draws in one pass, uniform, or by segment so that small ones are on the map too.
Does not cover: what is done with them (see `manifold.base` and `manifold.quality`).
"""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from daskseg.engine import passes
from daskseg.engine.blocks import Blocks, Rows
from daskseg.engine.memory import Scratch
from daskseg.errors import UsageError
from daskseg.kernels import rng, strata
from daskseg.kernels.strata import Drawn, Quota
from daskseg.metrics.labelled import Codes, Labelled, split_rows

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
# As many points show the shape of a segment.
FEWEST_PER_SEGMENT = 200
# Arbitrary: their pairs take about a second.
QUALITY_ROWS = 5_000


class Draw(NamedTuple):
    """Rows by segment, in the order of the rows.

    Attributes
    ----------
    values : ndarray of shape (n, n_features), float64
    codes : ndarray of shape (n,), int32
        Number of the segment; zeros where there are none.
    """

    values: Floats
    codes: NDArray[np.int32]


class Draws(NamedTuple):
    """Landmarks, and rows of which the quality is measured."""

    landmarks: Draw
    quality: Draw


def wanted_landmarks(n_rows: Ints, n_landmarks: int) -> Ints:
    """Return how many rows of each segment are landmarks.

    Parameters
    ----------
    n_rows : ndarray of shape (n_segments,), int64
    n_landmarks : int

    Returns
    -------
    ndarray of shape (n_segments,), int64
        By size, and 200 at least, or an even share if that is less; all there are if fewer.

    Raises
    ------
    UsageError
        If there are more segments than landmarks.
    """
    if len(n_rows) > n_landmarks:
        raise UsageError(
            f"labels has {len(n_rows):,} segments, but n_landmarks={n_landmarks:,}: give each "
            "segment one landmark at least, or hand over fewer segments."
        )
    share = n_landmarks / int(n_rows.sum())
    least = min(FEWEST_PER_SEGMENT, n_landmarks // len(n_rows))
    wanted = np.maximum(np.round(n_rows * share).astype(np.int64), least)
    return np.asarray(np.minimum(wanted, n_rows))


def wanted_quality(n_rows: Ints) -> Ints:
    """Return how many rows of each segment are compared: half of them by size, half evenly.

    Where there are no more rows than are compared, they all are.
    """
    if n_rows.sum() <= QUALITY_ROWS:
        return n_rows
    by_size = n_rows * (QUALITY_ROWS / 2 / int(n_rows.sum()))
    wanted = np.floor(by_size + QUALITY_ROWS / 2 / len(n_rows)).astype(np.int64)
    return np.asarray(np.minimum(wanted, n_rows))


def _draw_block(rows: Rows, codes: Codes | None, quotas: list[Quota], seed: int) -> list[Drawn]:
    if codes is None:
        values, n_rows = rows.values, len(rows.values)
        own = np.zeros(n_rows, np.int32)
        numbers = rows.first_row + np.arange(n_rows, dtype=np.int64)
    else:
        split = split_rows(rows, codes)
        values, own, numbers = split.values, split.codes, split.rows
    return [strata.draw(values, None, own, numbers, quota, seed) for quota in quotas]


def _merge(a: list[Drawn], b: list[Drawn], quotas: list[Quota]) -> list[Drawn]:
    return [strata.merge_drawn(*three) for three in zip(a, b, quotas, strict=True)]


def draw_rows(blocks: Blocks, labelled: Labelled | None, n_landmarks: int, seed: int) -> Draws:
    """Draw landmarks and rows to compare. One pass, rarely two.

    Parameters
    ----------
    blocks : Blocks
        Measured.
    labelled : Labelled or None
        The same rows with their segments.
    n_landmarks : int
    seed : int
        The draws depend on it, on the segments and on the global row numbers alone.

    Notes
    -----
    Memory in this process: at most three times the draws.
    """
    n_rows = np.array([blocks.n_rows]) if labelled is None else labelled.n_rows
    wanted = [
        (wanted_landmarks(n_rows, n_landmarks), rng.MAP_LANDMARKS),
        (wanted_quality(n_rows), rng.MAP_ROWS),
    ]
    quotas = [
        strata.quota_of(rows, n_rows, n_rows.astype(np.float64), purpose)
        for rows, purpose in wanted
    ]
    while True:
        found: list[Drawn] = passes.reduce(
            blocks if labelled is None else labelled.blocks,
            _draw_block,
            partial(_merge, quotas=quotas),
            None if labelled is None else labelled.codes,
            quotas,
            seed,
            name="landmarks",
            scratch=_scratch(blocks) if labelled is None else labelled.scratch,
        )
        done = [
            strata.finish_draw(drawn, quota, n_rows)
            for drawn, quota in zip(found, quotas, strict=True)
        ]
        drawn = [Draw(one.values + 0.0, strata.codes_of(one)) for one in done if one is not None]
        if len(drawn) == len(quotas):
            return Draws(*drawn)
        # By chance a floor has let too few rows pass.
        quotas = [quota._replace(floor=np.zeros(len(n_rows))) for quota in quotas]


def _scratch(blocks: Blocks) -> Scratch:
    return partial(_draw_bytes, n_features=blocks.n_features)


def _draw_bytes(n_rows: int, n_features: int) -> int:
    """Return the memory of drawing from so many rows: numbers, and a copy where all are drawn."""
    return n_rows * (56 + 8 * n_features) + strata.scratch_bytes(n_features, 1, n_rows, 8)
