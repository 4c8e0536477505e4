"""What moves with one segment more or less, as the record holds it.

Covers: names of the other segments, in an order that crosses little. Does not cover: counting
(see `model_selection.moves`), telling (see `report.moves`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

_LETTERS = "abcdefghijklmnopqrstuvwxyz"


def moves_record(
    moves: dict[int, NDArray[np.float64]], segment_ids: Sequence[str]
) -> dict[str, Any]:
    """Return what moves between these segments and those of one fewer and one more.

    Parameters
    ----------
    moves : dict of int to ndarray of shape (n_segments, n_others), float64
        By the number of other segments: shares of the customers.
    segment_ids : sequence of str
        Of the rows.

    Returns
    -------
    dict
        coarser and finer: None, or k and parts, a list of segment_id, other_id (such as "5b"),
        share (of all customers), of_segment and of_other.
    """
    k = len(segment_ids)
    return {
        name: _side(moves[other], segment_ids) if other in moves else None
        for name, other in (("coarser", k - 1), ("finer", k + 1))
    }


def _side(shares: NDArray[np.float64], segment_ids: Sequence[str]) -> dict[str, Any]:
    n_others = shares.shape[1]
    sizes = shares.sum(axis=0)
    rows = shares.sum(axis=1)
    # Others stand where most of their customers come from; empty ones last.
    places = np.arange(len(shares)) @ shares / np.where(sizes > 0, sizes, 1.0)
    order = np.argsort(np.where(sizes > 0, places, np.inf), kind="stable")
    return {
        "k": n_others,
        "parts": [
            {
                "segment_id": segment_id,
                "other_id": f"{n_others}{_letters(place)}",
                "share": float(shares[segment, other]),
                "of_segment": float(shares[segment, other] / rows[segment]),
                "of_other": float(shares[segment, other] / sizes[other]),
            }
            for segment, segment_id in enumerate(segment_ids)
            for place, other in enumerate(order.tolist())
            if shares[segment, other] > 0
        ],
    }


def _letters(place: int) -> str:
    """Return a, b, …, z, aa, ab and so on."""
    word = ""
    place += 1
    while place:
        place, letter = divmod(place - 1, len(_LETTERS))
        word = _LETTERS[letter] + word
    return word
