"""k-means||: candidates for centres, many per pass.

Covers: the passes that draw candidates and weigh them. Does not cover: the clustering of the
candidates (see `cluster.search`).

References: Bahmani, Moseley, Vattani, Kumar and Vassilvitskii, Scalable k-means++, VLDB 2012.
Each round draws exactly so many rows by priority sampling (Duffield, Lund and Thorup, 2007),
which needs neither the total cost beforehand nor the rows by number afterwards: one pass.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from daskseg.engine import passes
from daskseg.engine.blocks import Blocks, Rows
from daskseg.kernels import candidates, labels
from daskseg.kernels.candidates import Drawn
from daskseg.kernels.sample import Sample

Floats = NDArray[np.float64]


def _draw_block(rows: Rows, centres: Floats, seed: int, round_number: int, n_wanted: int) -> Drawn:
    return candidates.draw(
        rows.values, rows.weights, rows.first_row, centres, seed, round_number, n_wanted
    )


def _weigh_block(rows: Rows, centres: Floats) -> Any:
    return candidates.weigh(labels.labels_of(rows.values, centres), rows.weights, len(centres))


def draw_candidates(
    blocks: Blocks, first: Floats, seed: int, *, n_per_round: int, n_rounds: int
) -> Sample:
    """Draw candidates in rounds and weigh them by the rows nearest to them.

    Parameters
    ----------
    blocks : Blocks
    first : ndarray of shape (1, n_features), float64
        A row.
    seed : int
    n_per_round : int
    n_rounds : int

    Returns
    -------
    Sample
        Distinct candidates, with weights; marked as whole, since it is not a sample of rows.

    Notes
    -----
    Passes: one per round, and one for the weights. A round computes the distances of all rows
    to all candidates so far.
    """
    centres = first
    for number in range(n_rounds):
        found: Drawn = passes.reduce(
            blocks,
            _draw_block,
            partial(candidates.merge_drawn, n_wanted=n_per_round),
            centres,
            seed,
            number,
            n_per_round,
            name="candidates",
        )
        if not len(found.rows):
            break
        # Rows that are equal have been drawn at the same distance, or in other blocks.
        centres = np.unique(np.concatenate([centres, found.values]) + 0.0, axis=0)
    totals = passes.reduce(blocks, _weigh_block, candidates.merge_weights, centres, name="weights")
    weights = candidates.finish_weights(totals)
    return Sample(centres[weights > 0], weights[weights > 0], is_whole=True)
