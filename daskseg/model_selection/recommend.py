"""Which number of segments to suggest, from the curve alone, and why in words.

Covers: a pure rule. It suggests a useful partition; it never claims that groups were found.
Does not cover: making the curve (see `model_selection.sweep`).

The rule: of the numbers whose smallest segment is large enough, take the one where the squared
error bends most, if its silhouette is at least 90 % of the highest; else the highest silhouette.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from daskseg.errors import UsageError
from daskseg.texts import text

# Arbitrary: how much silhouette may be given up for the bend of the curve.
NEAR_BEST = 0.9
# Arbitrary, set by trials: 4,000 rows without any groups reach a squared silhouette of 0.80 in
# one dimension (uniform) and 0.63 in two; four normal groups six deviations apart have 0.86.
SEPARATE, OVERLAPPING = 0.85, 0.65
# Bends are compared after rounding: their logarithms may differ in the last bit by machine.
_BEND_DIGITS = 9


@dataclass(frozen=True)
class CurveRow:
    """One number of clusters, as a row of ``curve.csv``.

    Attributes
    ----------
    k : int
    inertia : float
        Squared error of the centres on all rows.
    explained_variance : float
        One minus its share of the squared error about the mean.
    silhouette : float
        Exact, squared Euclidean; NaN for one cluster.
    smallest_share : float
        Weight of the smallest cluster as a share of all.
    """

    k: int
    inertia: float
    explained_variance: float
    silhouette: float
    smallest_share: float


@dataclass(frozen=True)
class Recommendation:
    """A suggested number of segments.

    Attributes
    ----------
    k : int
    mode : {"auto", "required"}
    runner_up : int or None
    reasons : tuple of str
        Finished sentences.
    grade : {"high", "medium", "low"}
        High: bend and silhouette agree. Medium: one of them decided. Low: neither did.
    structure_note : str
        How far the segments lie apart, by the level of the silhouette.
    knee : int or None
        Where the squared error bends most; None if it does not bend.
    """

    k: int
    mode: str
    runner_up: int | None
    reasons: tuple[str, ...]
    grade: str
    structure_note: str
    knee: int | None

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON."""
        return {**asdict(self), "reasons": list(self.reasons)}


def bends(curve: Sequence[CurveRow]) -> dict[int, float]:
    """Measure how far each k lies below the chord of the curve, log error against log k.

    For rows without structure the error falls like a power of k, which is a straight line on
    these scales whatever the range of k; what lies below the line is more than that.
    """
    largest = max(row.inertia for row in curve)
    if largest == 0 or len(curve) < 3:
        return {row.k: 0.0 for row in curve}
    points = [(math.log(row.k), math.log(max(row.inertia / largest, 1e-12))) for row in curve]
    (x_0, y_0), (x_1, y_1) = points[0], points[-1]
    slope = (y_1 - y_0) / (x_1 - x_0)
    return {
        row.k: round(y_0 + slope * (x - x_0) - y, _BEND_DIGITS)
        for row, (x, y) in zip(curve, points, strict=True)
    }


def _rank(rows: Sequence[CurveRow], bend: dict[int, float]) -> list[CurveRow]:
    """Order rows by the rule: near-best silhouettes that bend, by bend; then by silhouette."""
    best = max((row.silhouette for row in rows if not math.isnan(row.silhouette)), default=0.0)
    floor = best - (1 - NEAR_BEST) * abs(best)

    def key(row: CurveRow) -> tuple[bool, float, int]:
        if row.silhouette >= floor and bend[row.k] > 0:
            return False, -bend[row.k], row.k
        return True, math.inf if math.isnan(row.silhouette) else -row.silhouette, row.k

    return sorted(rows, key=key)


def recommend(
    curve: Sequence[CurveRow], *, min_share: float = 0.01, required_k: int | None = None
) -> Recommendation:
    """Suggest a number of segments.

    Parameters
    ----------
    curve : sequence of CurveRow
        By rising k; not empty.
    min_share : float
        Numbers with a smaller segment are left out, unless that leaves none.
    required_k : int, optional
        Take this one, and say what the rule would have taken.

    Raises
    ------
    UsageError
        If the curve is empty, or lacks `required_k`.

    Examples
    --------
    >>> curve = [CurveRow(2, 90.0, 0.4, 0.6, 0.3), CurveRow(3, 30.0, 0.8, 0.7, 0.2),
    ...          CurveRow(4, 25.0, 0.83, 0.5, 0.1)]
    >>> recommend(curve).k, recommend(curve).runner_up, recommend(curve).grade
    (3, 2, 'high')
    """
    rows = {row.k: row for row in curve}
    if not rows:
        raise UsageError("the curve is empty: there is no number of segments to choose from.")
    if required_k is not None and required_k not in rows:
        raise UsageError(f"required_k={required_k} is not in the curve, which has {list(rows)}.")
    bend = bends(curve)
    knee = max(rows, key=lambda k: (bend[k], -k)) if max(bend.values()) > 0 else None
    allowed = [row for row in curve if row.smallest_share >= min_share]
    ranked = _rank(allowed or curve, bend)
    auto = ranked[0]
    chosen = auto if required_k is None else rows[required_k]
    others = [row for row in ranked if row.k != chosen.k]
    runner_up = others[0] if others else None
    agree = knee == auto.k == max(ranked, key=lambda row: (row.silhouette, -row.k)).k
    reasons: list[str] = []
    grade = "low"
    if required_k is not None:
        reasons.append(_required(required_k, auto.k, n_tried=len(curve)))
    elif len(curve) == 1:
        reasons.append(text("choice.reasons.only", k=auto.k))
    else:
        reasons += _why(auto, ranked, rows, knee, bool(allowed), min_share)
        grade = "high" if agree else "medium"
        grade = grade if allowed else "low"
    reasons += _facts(chosen, rows, runner_up, allowed, min_share)
    return Recommendation(
        k=chosen.k,
        mode="auto" if required_k is None else "required",
        runner_up=None if runner_up is None else runner_up.k,
        reasons=tuple(reasons),
        grade=grade,
        structure_note=_structure(chosen),
        knee=knee,
    )


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def _limit(share: float) -> str:
    return f"{100 * share:g} %"


def _number(value: float) -> str:
    return f"{value:.3f}"


def _required(k: int, auto: int, *, n_tried: int) -> str:
    if n_tried == 1:
        return text("choice.reasons.required", k=k)
    if k == auto:
        return text("choice.reasons.required_same", k=k)
    return text("choice.reasons.required_other", k=k, auto=auto)


def _why(
    auto: CurveRow,
    ranked: Sequence[CurveRow],
    rows: dict[int, CurveRow],
    knee: int | None,
    has_allowed: bool,
    min_share: float,
) -> list[str]:
    """Say how the rule came to its answer."""
    best = max(ranked, key=lambda row: (row.silhouette, -row.k))
    facts = {"k": auto.k, "silhouette": _number(auto.silhouette)}
    reasons = []
    if not has_allowed:
        reasons.append(text("choice.reasons.no_candidate", limit=_limit(min_share)))
    if auto.k == knee:
        reasons.append(text("choice.reasons.knee", k=knee, first=min(rows), last=max(rows)))
        if auto.k == best.k:
            return [*reasons, text("choice.reasons.knee_best", **facts)]
        near = {"share": _limit(NEAR_BEST), "best": _number(best.silhouette), "best_k": best.k}
        return [*reasons, text("choice.reasons.knee_near", **facts, **near)]
    if auto.k == best.k:
        reasons.append(text("choice.reasons.silhouette", **facts))
    else:
        near = {"share": _limit(NEAR_BEST), "best": _number(best.silhouette), "best_k": best.k}
        reasons.append(text("choice.reasons.knee_near", **facts, **near))
    if knee is None:
        reasons.append(text("choice.reasons.no_knee"))
    elif has_allowed and rows[knee].smallest_share < min_share:
        reasons.append(text("choice.reasons.knee_not_allowed", k=knee, limit=_limit(min_share)))
    else:
        weak = _number(rows[knee].silhouette)
        reasons.append(
            text("choice.reasons.knee_weak", k=knee, silhouette=weak, share=_limit(NEAR_BEST))
        )
    return reasons


def _facts(
    chosen: CurveRow,
    rows: dict[int, CurveRow],
    runner_up: CurveRow | None,
    allowed: Sequence[CurveRow],
    min_share: float,
) -> list[str]:
    """Say what the chosen number gives, and what the others would."""
    sentence = text(
        "choice.reasons.explained", k=chosen.k, explained=_percent(chosen.explained_variance)
    )
    fewer = rows.get(chosen.k - 1)
    if fewer is not None:
        share = _percent(fewer.explained_variance)
        sentence += " " + text("choice.reasons.explained_fewer", k=fewer.k, explained=share)
    reasons = [sentence, text("choice.reasons.smallest", share=_percent(chosen.smallest_share))]
    if runner_up is not None and not math.isnan(runner_up.silhouette):
        reasons.append(
            text(
                "choice.reasons.runner_up",
                k=runner_up.k,
                silhouette=_number(runner_up.silhouette),
                explained=_percent(runner_up.explained_variance),
            )
        )
    left_out = [str(k) for k in rows if k not in {row.k for row in allowed}]
    if left_out and allowed:
        ks = ", ".join(left_out)
        reasons.append(text("choice.reasons.too_small", ks=ks, limit=_limit(min_share)))
    return reasons


def _structure(chosen: CurveRow) -> str:
    if math.isnan(chosen.silhouette):
        return text("choice.structure.unknown")
    if chosen.silhouette >= SEPARATE:
        return text("choice.structure.separate")
    if chosen.silhouette >= OVERLAPPING:
        return text("choice.structure.overlapping")
    return text("choice.structure.continuum")
