"""What each criterion alone says about the number of clusters.

Covers: gap, prediction strength, borders and resamples, read off their measured numbers. Does
not cover: measuring (see `model_selection.criteria`), the rule (see `model_selection.recommend`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from daskseg.model_selection.criteria import Criteria, gap, limits


class Votes(NamedTuple):
    """The number of clusters each criterion speaks for; None if for none of those tried.

    Attributes
    ----------
    gap : int or None
        Least k within one standard error of the next gap; 1 is no structure.
    prediction_strength : int
        Largest k whose strength, with its standard error, reaches 0.8; 1 is no structure.
    silhouette : int
        Highest of those allowed.
    knee : int or None
        Where the squared error bends most.
    """

    gap: int | None
    prediction_strength: int
    silhouette: int
    knee: int | None

    def count(self, k: int) -> int:
        """Return how many speak for exactly this number."""
        return sum(vote == k for vote in self)


def votes_of(criteria: Sequence[Criteria], silhouette: int, knee: int | None) -> Votes:
    """Read the votes off the criteria; `silhouette` and `knee` come from the curve."""
    strong = [
        row.k
        for row in criteria
        if row.prediction_strength + row.prediction_strength_se >= limits.STRENGTH
    ]
    by_gap = gap.first_within_se(
        {row.k: row.gap for row in criteria}, {row.k: row.gap_bound for row in criteria}
    )
    return Votes(by_gap, max(strong, default=1), silhouette, knee)


def is_refound(row: Criteria) -> bool:
    """Say whether resamples find the same partition, each of its clusters included."""
    return row.min_jaccard >= limits.REFOUND and row.stability >= limits.STABLE


def is_apart(row: Criteria) -> bool:
    """Say whether any two clusters have a border with few rows, and are found again."""
    return row.k > 1 and row.border_density <= row.border_limit and is_refound(row)


def is_agreed(row: Criteria, criteria: Sequence[Criteria]) -> bool:
    """Say whether gap and prediction strength both say this number, and no border gainsays it.

    With few rows a border cannot be shown to be empty: four overlapping clusters (four standard
    deviations apart) are seen by their borders alone from 2,000 rows on.
    """
    votes = votes_of(criteria, 0, None)
    is_below = row.border_density * limits.BORDER <= row.border_limit
    return row.k > 1 and votes[:2] == (row.k, row.k) and is_below and is_refound(row)


def natural_ks(criteria: Sequence[Criteria], shares: Mapping[int, float]) -> list[int]:
    """Return the numbers of natural clusters, those with outliers as a cluster left out.

    Parameters
    ----------
    criteria : sequence of Criteria
    shares : mapping of int to float
        Share of the smallest cluster.
    """
    return [
        row.k
        for row in criteria
        if shares.get(row.k, 0.0) >= limits.SEGMENT_SHARE
        and (is_apart(row) or is_agreed(row, criteria))
    ]
