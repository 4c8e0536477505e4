"""The sentences of a recommendation, from the numbers it was made of.

Covers: why this number, what it gives, what the others would, what limits did. Does not cover:
the rule (see `model_selection.recommend`), the words (see ``daskseg/catalogue/choice.toml``).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from daskseg.model_selection.criteria import Criteria
from daskseg.model_selection.curve import NEAR_BEST, CurveRow, best_silhouette
from daskseg.model_selection.votes import Votes, is_apart, is_refound
from daskseg.texts import text

# Arbitrary, set by trials: 4,000 rows without any groups reach a squared silhouette of 0.80 in
# one dimension (uniform) and 0.63 in two; four normal groups six deviations apart have 0.86.
SEPARATE, OVERLAPPING = 0.85, 0.65
# Arbitrary: two equal normal groups four standard deviations apart have 0.27 at their border.
FAR_APART = 0.27

# Ways to break a limit of a business, as sentences go through them.
_BREACHES = ("too_small", "too_few", "too_large")


class Limits(NamedTuple):
    """What a business asks of the sizes of segments.

    Attributes
    ----------
    min_share, max_share : float
    min_customers : float
    customers_share : float
        The same as a share of all.
    largest_shares : dict of int to float
        By k.
    """

    min_share: float
    max_share: float
    min_customers: float
    customers_share: float
    largest_shares: dict[int, float]

    def broken_by(self, row: CurveRow) -> str | None:
        """Return the name of the first limit that a number of segments breaks."""
        if row.smallest_share < self.customers_share:
            return "too_few"
        if row.smallest_share < self.min_share:
            return "too_small"
        if self.largest_shares.get(row.k, 0.0) > self.max_share:
            return "too_large"
        return None

    def words(self, name: str) -> str:
        """Return the limit of a name in words."""
        if name == "too_few":
            return f"{self.min_customers:g}"
        return _limit(self.max_share if name == "too_large" else self.min_share)


class Case(NamedTuple):
    """All that a recommendation rests on.

    Attributes
    ----------
    chosen, auto, free : CurveRow
        What is suggested; what the rule would take; what it would take without limits on sizes.
    required_k : int or None
    rows, candidates : sequence of CurveRow
        All that were tried; those the rule chose from, best first.
    has_allowed : bool
        The limits left some; else they were set aside.
    limit : Limits
    knee : int or None
    measured : dict of int to Criteria
    natural : list of int
        Numbers at which the segments lie apart, allowed or not.
    is_natural, has_refound : bool
        Some of the candidates are; some of the others are found again.
    votes : Votes or None
    runner_up, coarser, finer : CurveRow or None
    """

    chosen: CurveRow
    auto: CurveRow
    free: CurveRow
    required_k: int | None
    rows: Sequence[CurveRow]
    candidates: Sequence[CurveRow]
    has_allowed: bool
    limit: Limits
    knee: int | None
    measured: dict[int, Criteria]
    natural: list[int]
    is_natural: bool
    has_refound: bool
    votes: Votes | None
    runner_up: CurveRow | None
    coarser: CurveRow | None
    finer: CurveRow | None


def reasons_of(case: Case) -> list[str]:
    """Say how the rule came to its answer, and what the answer gives."""
    if case.required_k is not None:
        found = [_required(case), *_breach(case)]
    elif len(case.rows) == 1:
        found = [text("choice.reasons.only", k=case.auto.k)]
    else:
        found = [] if case.has_allowed else [_set_aside(case)]
        found += _why(case) if case.measured else _why_by_curve(case)
        found += _changed(case) if case.has_allowed else []
    if case.chosen.k in case.measured:
        found += _resamples(case)
    found += _facts(case)
    found += _left_out(case) if case.has_allowed else []
    return [*found, text("choice.reasons.caveat")] if case.measured else found


def structure_of(case: Case) -> str:
    """Say whether there are natural clusters, and how far the segments lie apart."""
    k = case.chosen.k
    if not case.measured:
        return _structure_by_silhouette(case.chosen)
    if k in case.natural:
        row = case.measured[k]
        key = "apart" if row.border_density <= FAR_APART else "touching"
        return text(f"choice.structure.{key}", border=_number(row.border_density))
    if case.natural:
        return text("choice.structure.other_natural", k=k, natural=max(case.natural))
    return text(f"choice.structure.{'none' if _is_even(case) else 'uneven'}", k=k)


def _is_even(case: Case) -> bool:
    """Say whether the gap statistic, too, sees nothing but one cloud."""
    return case.votes is not None and case.votes.gap == 1


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def _limit(share: float) -> str:
    return f"{100 * share:g} %"


def _number(value: float) -> str:
    return f"{value:.3f}"


def _required(case: Case) -> str:
    k, auto = case.chosen.k, case.auto.k
    if len(case.rows) == 1:
        return text("choice.reasons.required", k=k)
    if k == auto:
        return text("choice.reasons.required_same", k=k)
    return text("choice.reasons.required_other", k=k, auto=auto)


def _set_aside(case: Case) -> str:
    """Name the limits that no number meets, and the number that comes nearest."""
    broken = [case.limit.broken_by(row) for row in case.candidates]
    names = [name for name in _BREACHES if name in broken]
    if len(names) > 1:
        limits = text("choice.limits.and").join(_phrase(case, name) for name in names)
        return text("choice.reasons.no_candidate_of_several", limits=limits)
    if names == ["too_large"]:
        least = min(case.candidates, key=lambda row: case.limit.largest_shares[row.k])
        share = _percent(case.limit.largest_shares[least.k])
        nearest = text("choice.reasons.nearest_largest", k=least.k, share=share)
    else:
        most = max(case.candidates, key=lambda row: row.smallest_share)
        share = _percent(most.smallest_share)
        nearest = text("choice.reasons.nearest_smallest", k=most.k, share=share)
    limit = _phrase(case, names[0])
    return text("choice.reasons.no_candidate", limit=limit) + " " + nearest


def _phrase(case: Case, name: str) -> str:
    return text(f"choice.limits.{name}", limit=case.limit.words(name))


def _changed(case: Case) -> list[str]:
    """Name the limit without which another number would be suggested."""
    name = case.limit.broken_by(case.free)
    if name is None:
        return []
    return [text("choice.reasons.changed", k=case.free.k, limit=_phrase(case, name))]


def _breach(case: Case) -> list[str]:
    """Name the limit that a number breaks which was asked for."""
    name = case.limit.broken_by(case.chosen)
    if name is None:
        return []
    return [text("choice.reasons.breach", k=case.chosen.k, limit=_phrase(case, name))]


def _why(case: Case) -> list[str]:
    """Say whether there are natural clusters, and what the criteria say one by one."""
    k = case.auto.k
    row = case.measured[k]
    if case.is_natural:
        border = {"border": _number(row.border_density), "limit": _number(row.border_limit)}
        key = "apart" if is_apart(row) else "agreed"
        found = [text(f"choice.reasons.{key}", k=k, **border)]
    else:
        found = [_no_clusters(case)]
        key = "refound_best" if case.has_refound else "refound_none"
        found.append(text(f"choice.reasons.{key}", k=k, silhouette=_number(case.auto.silhouette)))
    return [*found, _votes(case)]


def _no_clusters(case: Case) -> str:
    """Say that no allowed number of segments lies apart, by the one that comes nearest."""
    if case.natural:
        natural = max(case.natural)
        return text("choice.reasons.natural_not_allowed", natural=natural)
    first, last = min(row.k for row in case.rows), max(row.k for row in case.rows)
    key = "no_clusters" if _is_even(case) else "uneven"
    return text(f"choice.reasons.{key}", first=first, last=last)


def _votes(case: Case) -> str:
    votes = case.votes
    assert votes is not None

    def say(name: str, k: int | None) -> str:
        key = "nothing" if k is None else "one" if k == 1 else "some"
        return text(f"choice.votes.{key}", name=text(f"choice.votes.{name}"), k=k)

    said = [say(name, k) for name, k in votes._asdict().items()]
    return text("choice.reasons.votes", votes="; ".join(said))


def _resamples(case: Case) -> list[str]:
    row = case.measured[case.chosen.k]
    if row.k == 1:
        return []
    key = "refound" if is_refound(row) else "not_refound"
    return [
        text(
            f"choice.reasons.{key}",
            n=row.n_resamples,
            stability=_number(row.stability),
            jaccard=_number(row.min_jaccard),
        )
    ]


def _why_by_curve(case: Case) -> list[str]:
    """Say how knee and silhouette decided, where nothing else was measured."""
    auto, knee = case.auto, case.knee
    best = best_silhouette(case.candidates)
    facts = {"k": auto.k, "silhouette": _number(auto.silhouette)}
    near = {"share": _limit(NEAR_BEST), "best": _number(best.silhouette), "best_k": best.k}
    if auto.k == knee:
        first, last = min(row.k for row in case.rows), max(row.k for row in case.rows)
        bend = text("choice.reasons.knee", k=knee, first=first, last=last)
        if auto.k == best.k:
            return [bend, text("choice.reasons.knee_best", **facts)]
        return [bend, text("choice.reasons.knee_near", **facts, **near)]
    if auto.k == best.k:
        found = [text("choice.reasons.silhouette", **facts)]
    else:
        found = [text("choice.reasons.knee_near", **facts, **near)]
    return [*found, _why_not_the_knee(case)]


def _why_not_the_knee(case: Case) -> str:
    knee = case.knee
    if knee is None:
        return text("choice.reasons.no_knee")
    row = next(row for row in case.rows if row.k == knee)
    if case.has_allowed and row.smallest_share < case.limit.min_share:
        limit = case.limit.words("too_small")
        return text("choice.reasons.knee_not_allowed", k=knee, limit=limit)
    if row not in case.candidates:
        return text("choice.reasons.knee_left_out", k=knee)
    weak = _number(row.silhouette)
    return text("choice.reasons.knee_weak", k=knee, silhouette=weak, share=_limit(NEAR_BEST))


def _facts(case: Case) -> list[str]:
    """Say what the chosen number gives, and what the others would."""
    chosen = case.chosen
    explained = _percent(chosen.explained_variance)
    sentence = text("choice.reasons.explained", k=chosen.k, explained=explained)
    fewer = next((row for row in case.rows if row.k == chosen.k - 1), None)
    if fewer is not None:
        share = _percent(fewer.explained_variance)
        sentence += " " + text("choice.reasons.explained_fewer", k=fewer.k, explained=share)
    found = [
        sentence,
        text("choice.reasons.smallest", share=_percent(chosen.smallest_share)),
    ]
    if case.runner_up is not None and not math.isnan(case.runner_up.silhouette):
        found.append(_alternative("runner_up", case.runner_up))
    for name, row in (("coarser", case.coarser), ("finer", case.finer)):
        if case.measured and row is not None and row != case.runner_up:
            found.append(_alternative(name, row))
    return found


def _alternative(name: str, row: CurveRow) -> str:
    return text(
        f"choice.reasons.{name}",
        k=row.k,
        silhouette=_number(row.silhouette),
        explained=_percent(row.explained_variance),
    )


def _left_out(case: Case) -> list[str]:
    """Name the numbers that the limits left out, limit by limit."""
    found = []
    others = [row for row in case.rows if row is not case.chosen]
    for name in _BREACHES:
        ks = [str(row.k) for row in others if case.limit.broken_by(row) == name]
        if ks:
            limit = case.limit.words(name)
            found.append(text(f"choice.reasons.{name}", ks=", ".join(ks), limit=limit))
    return found


def _structure_by_silhouette(chosen: CurveRow) -> str:
    if math.isnan(chosen.silhouette):
        return text("choice.structure.unknown")
    if chosen.silhouette >= SEPARATE:
        return text("choice.structure.separate")
    if chosen.silhouette >= OVERLAPPING:
        return text("choice.structure.overlapping")
    return text("choice.structure.continuum")
