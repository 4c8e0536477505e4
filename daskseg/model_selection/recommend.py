"""Which number of segments to suggest, and why in words: a pure rule on measured numbers.

Covers: limits of the business, natural clusters or a partition of a continuum, runner-up,
coarser and finer alternative, grade. Does not cover: measuring (see `model_selection.sweep`,
`model_selection.criteria`), the words (see `model_selection.reasons`).

The rule: the largest allowed number at which any two segments lie apart (or gap and prediction
strength agree, and no border gainsays them) and are found again in resamples. If there is none: no
natural clusters, and of the numbers that are found again the one where the squared error bends
most, if its silhouette is at least 90 % of the highest; else the highest silhouette. Without
criteria only that last part, and nothing is said about clusters.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

from daskseg.errors import UsageError
from daskseg.model_selection import reasons as words
from daskseg.model_selection.criteria import Criteria, limits
from daskseg.model_selection.curve import CurveRow, bends, best_silhouette, knee_of, rank
from daskseg.model_selection.limits import BusinessLimits
from daskseg.model_selection.reasons import Case, Limits
from daskseg.model_selection.votes import Votes, is_refound, natural_ks, votes_of

__all__ = ["CurveRow", "Recommendation", "bends", "recommend"]

# Of four votes: gap, prediction strength, silhouette, knee.
_AGREEING = 2


@dataclass(frozen=True)
class Recommendation:
    """A suggested number of segments.

    Attributes
    ----------
    k : int
    mode : {"auto", "required"}
    runner_up : int or None
    reasons : tuple of str
        Finished sentences; every number in them stands in the curve, or is a limit.
    grade : {"high", "medium", "low"}
        With natural clusters, high: every segment is found again (Jaccard 0.75) and two of gap,
        prediction strength, silhouette and knee say the same number; medium: one of the two
        conditions. In a continuum never high. Without criteria, high: knee and silhouette agree.
    structure_note : str
        Whether there are natural clusters, and how far the segments lie apart.
    knee : int or None
        Where the squared error bends most; None if it does not bend.
    natural_k : int or None
        The largest number at which all segments lie apart, allowed or not; None if there is none,
        or nothing was measured.
    coarser, finer : int or None
        The best allowed numbers below and above `k`.
    votes : dict of str to int or None
        What each criterion alone says; empty without criteria.
    """

    k: int
    mode: str
    runner_up: int | None
    reasons: tuple[str, ...]
    grade: str
    structure_note: str
    knee: int | None
    natural_k: int | None = None
    coarser: int | None = None
    finer: int | None = None
    votes: dict[str, int | None] | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON."""
        return {**asdict(self), "reasons": list(self.reasons)}


class _Ranked(NamedTuple):
    """The numbers tried, best first, and what they were ranked by."""

    rows: list[CurveRow]
    natural: list[int]
    refound: list[int]


def recommend(
    curve: Sequence[CurveRow],
    criteria: Sequence[Criteria] = (),
    *,
    min_share: float = 0.01,
    max_share: float = 1.0,
    largest_shares: dict[int, float] | None = None,
    min_customers: float = 0,
    n_customers: float | None = None,
    k_range: tuple[int, int] | None = None,
    required_k: int | None = None,
) -> Recommendation:
    """Suggest a number of segments.

    Parameters
    ----------
    curve : sequence of CurveRow
        By rising k; not empty.
    criteria : sequence of Criteria
        Of the same numbers, and of 1; none leaves the curve alone to decide.
    min_share, max_share : float
        Numbers with a smaller or a larger segment are left out, unless that leaves none.
    largest_shares : dict of int to float, optional
        Share of the largest segment by k; needed with `max_share`.
    min_customers : float
        The same limit as a number of customers; needs `n_customers`.
    n_customers : float, optional
        How many there are.
    k_range : (int, int), optional
        Least and most segments; no other number is taken.
    required_k : int, optional
        Take this one, and say what the rule would have taken.

    Returns
    -------
    Recommendation

    Raises
    ------
    UsageError
        If the curve is empty, lacks `required_k` or all of `k_range`, or the limits exclude each
        other.

    Examples
    --------
    >>> curve = [CurveRow(2, 90.0, 0.4, 0.6, 0.3), CurveRow(3, 30.0, 0.8, 0.7, 0.2),
    ...          CurveRow(4, 25.0, 0.83, 0.5, 0.1)]
    >>> recommend(curve).k, recommend(curve).runner_up, recommend(curve).grade
    (3, 2, 'high')
    """
    limit = _limits(min_share, max_share, largest_shares, min_customers, n_customers)
    _check(curve, k_range, required_k)
    measured = {row.k: row for row in criteria}
    rows = {row.k: row for row in curve}
    # One segment is no suggestion, unless nothing else was tried.
    tried = [row for row in curve if row.k > 1] or list(curve)
    bend = bends(tried)
    wanted = [row for row in tried if _is_in(row.k, k_range)]
    allowed = [row for row in wanted if limit.broken_by(row) is None]
    shares = {row.k: row.smallest_share for row in tried}
    natural = natural_ks(criteria, shares)
    ranked = _ranked(allowed or wanted, measured, natural, bend)
    auto = ranked.rows[0]
    free = _ranked(wanted, measured, natural, bend).rows[0]
    chosen = auto if required_k is None else rows[required_k]
    votes = None
    if measured:
        votes = votes_of(criteria, best_silhouette(allowed or wanted).k, knee_of(bend))
    others = [row for row in ranked.rows if row.k != chosen.k]
    case = Case(
        chosen=chosen,
        auto=auto,
        free=free,
        required_k=required_k,
        rows=tried,
        candidates=ranked.rows,
        has_allowed=bool(allowed),
        limit=limit,
        knee=knee_of(bend),
        measured=measured,
        natural=natural,
        is_natural=bool(ranked.natural),
        has_refound=bool(ranked.refound),
        votes=votes,
        runner_up=next(iter(others), None),
        coarser=next((row for row in others if row.k < chosen.k), None),
        finer=next((row for row in others if row.k > chosen.k), None),
    )
    return _finish(case)


def _ranked(
    rows: Sequence[CurveRow],
    measured: dict[int, Criteria],
    natural: list[int],
    bend: dict[int, float],
) -> _Ranked:
    """Order by: natural clusters, the most first; found again; the bend and the silhouette."""
    apart = sorted((row for row in rows if row.k in natural), key=lambda row: -row.k)
    rest = [row for row in rows if row.k not in natural]
    refound = [row for row in rest if row.k in measured and is_refound(measured[row.k])]
    lost = [row for row in rest if row not in refound]
    ordered = [*apart, *rank(refound, bend), *rank(lost, bend)]
    return _Ranked(ordered, [row.k for row in apart], [row.k for row in refound])


def _finish(case: Case) -> Recommendation:
    def k_of(row: CurveRow | None) -> int | None:
        return None if row is None else row.k

    votes = {} if case.votes is None else dict(case.votes._asdict())
    return Recommendation(
        k=case.chosen.k,
        mode="auto" if case.required_k is None else "required",
        runner_up=k_of(case.runner_up),
        reasons=tuple(words.reasons_of(case)),
        grade=_grade(case),
        structure_note=words.structure_of(case),
        knee=case.knee,
        natural_k=max(case.natural, default=None),
        coarser=k_of(case.coarser),
        finer=k_of(case.finer),
        votes=votes,
    )


def _grade(case: Case) -> str:
    if case.required_k is not None or len(case.rows) == 1 or not case.has_allowed:
        return "low"
    k = case.chosen.k
    best = best_silhouette(case.candidates).k
    if case.votes is None:
        return "high" if case.knee == k == best else "medium"
    if k not in case.measured:
        return "low"
    weakest = case.measured[k].min_jaccard
    if case.is_natural:
        return _natural_grade(case.votes, k, weakest)
    return "medium" if weakest >= limits.VALID and k in (case.knee, best) else "low"


def _natural_grade(votes: Votes, k: int, weakest: float) -> str:
    signs = [weakest >= limits.VALID, votes.count(k) >= _AGREEING]
    return "high" if all(signs) else "medium" if any(signs) else "low"


def _is_in(k: int, k_range: tuple[int, int] | None) -> bool:
    return k_range is None or k_range[0] <= k <= k_range[1]


def _check(
    curve: Sequence[CurveRow], k_range: tuple[int, int] | None, required_k: int | None
) -> None:
    ks = [row.k for row in curve]
    if not ks:
        raise UsageError("the curve is empty: there is no number of segments to choose from.")
    if required_k is not None and required_k not in ks:
        raise UsageError(f"required_k={required_k} is not in the curve, which has {ks}.")
    if k_range is not None and not any(_is_in(k, k_range) for k in ks):
        raise UsageError(
            f"k_range={k_range[0]}:{k_range[1]} holds none of the numbers of segments that were "
            f"tried, {ks}. Widen it."
        )


def _limits(
    min_share: float,
    max_share: float,
    largest_shares: dict[int, float] | None,
    min_customers: float,
    n_customers: float | None,
) -> Limits:
    BusinessLimits(min_share, max_share, min_customers).check()
    if max_share < 1 and largest_shares is None:
        raise UsageError(f"max_share={max_share:g} needs largest_shares: the largest by k.")
    least = 0.0
    if min_customers > 0:
        if n_customers is None or not n_customers > 0:
            raise UsageError(
                f"min_customers={min_customers:g} needs n_customers, how many there are in all."
            )
        least = min_customers / n_customers
        if least > 1:
            raise UsageError(
                f"min_customers={min_customers:g} is more than the {n_customers:g} customers there "
                "are. Ask for fewer."
            )
    return Limits(min_share, max_share, min_customers, least, largest_shares or {})
