"""Honest names: a rule's name where it fits most members, plain words where it does not.

Covers: how well each rule describes each segment, which name a segment gets, and words for
the bands of its members. Does not cover: the rules (`features.schemes`).

A name needs a fit of 60 %; from `min_fit` on it is "mostly" that name; below, the segment is
described in neutral words and the nearest rule is told beside it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from daskseg.texts import text

# Marketing practice, as is the default of `min_fit`: below these a name misleads.
RULE_FIT = 0.6
# Positions within this of the middle of all customers are "about typical".
TYPICAL_EFFECT = 0.15
STRONG_EFFECT = 0.5


@dataclass(frozen=True)
class SegmentName:
    """The name of a segment and the evidence for it.

    Attributes
    ----------
    name : str
    kind : {"rule", "mostly", "neutral"}
    rule : str or None
        The rule that describes most members.
    fit : float or None
        Share of members who satisfy it one by one.
    lift : float or None
        Fit over the rule's share of all customers.
    """

    name: str
    kind: str
    rule: str | None = None
    fit: float | None = None
    lift: float | None = None


def strength(effect: float) -> str:
    """Return "typical", "some" or "strong" for an effect between -1 and 1."""
    size = abs(effect)
    if size < TYPICAL_EFFECT:
        return "typical"
    return "some" if size < STRONG_EFFECT else "strong"


def effect_words(kind: str, effect: float) -> str:
    """Say in words how a segment's median lies among all customers.

    Parameters
    ----------
    kind : str
        What the feature measures: recency, days, count, money, share or number.
    effect : float
        Twice the share of customers below the median, less one.

    Examples
    --------
    >>> effect_words("recency", -0.8)
    'much more recent'
    """
    grade = strength(effect)
    if grade == "typical":
        return text("names.effect.typical")
    return text(f"names.effect.{kind}.{grade}_{'high' if effect > 0 else 'low'}")


def band_words(scores: tuple[int, int, int], orders: tuple[float, float]) -> str:
    """Describe a segment by the scores of its median member and its middle half of orders.

    Parameters
    ----------
    scores : tuple of three int
        R, F and M scores, 1 to 5, of the segment's medians.
    orders : tuple of two float
        25 % and 75 % quantiles of the number of orders.

    Examples
    --------
    >>> band_words((5, 1, 2), (1.0, 2.0))
    'Very recent, 1–2 orders, small spend'
    """
    low, high = (round(value) for value in orders)
    amount = str(low) if low == high else f"{low}–{high}"
    unit = "one_order" if low == high == 1 else "orders"
    return ", ".join([
        text(f"names.band.recency_{scores[0]}"),
        text(f"names.band.{unit}", n=amount),
        text(f"names.band.spend_{scores[2]}"),
    ])  # fmt: skip


def name_by_rules(
    rules: NDArray[np.int64], names: Sequence[str], neutral: Sequence[str], *, min_fit: float
) -> list[SegmentName]:
    """Name segments by the rule that most of their members satisfy.

    Parameters
    ----------
    rules : ndarray of shape (n_segments, n_names), int64
        Members of each segment by the name that the scheme gives them one by one.
    names : sequence of str
        Of the scheme, in the order of the columns.
    neutral : sequence of str
        Plain words per segment.
    min_fit : float

    Returns
    -------
    list of SegmentName
        No two segments share a name: a second one with the same rule gets its plain words
        behind it.
    """
    sizes = np.maximum(rules.sum(axis=1, keepdims=True), 1)
    fits = rules / sizes
    base = rules.sum(axis=0) / max(int(rules.sum()), 1)
    result = []
    for segment, fit_row in enumerate(fits):
        best = int(np.argmax(fit_row))
        fit, rule = float(fit_row[best]), names[best]
        if fit >= max(RULE_FIT, min_fit):
            name, kind = rule, "rule"
        elif fit >= min_fit:
            name, kind = text("names.mostly", name=rule), "mostly"
        else:
            name, kind = neutral[segment], "neutral"
        lift = fit / float(base[best]) if base[best] > 0 else None
        result.append(SegmentName(name, kind, rule, fit, lift))
    return _distinct(result, neutral)


def name_by_effects(
    effects: NDArray[np.float64], labels: Sequence[str], kinds: Sequence[str]
) -> list[SegmentName]:
    """Name segments by their two most unusual features, in words.

    Parameters
    ----------
    effects : ndarray of shape (n_segments, n_features)
        See `effect_words`; NaN counts as typical.
    labels, kinds : sequence of str
        Per feature.
    """
    result = []
    for row in np.nan_to_num(effects):
        order = sorted(range(len(row)), key=lambda f: (-abs(row[f]), f))
        told = [f for f in order if abs(row[f]) >= TYPICAL_EFFECT][:2]
        words = [text("names.unusual", label=labels[f], words=effect_words(kinds[f], row[f]))
                 for f in told]  # fmt: skip
        name = ", ".join(words) or text("names.typical")
        result.append(SegmentName(name[0].upper() + name[1:], "neutral"))
    return _distinct(result, [segment.name for segment in result])


def _distinct(found: list[SegmentName], extra: Sequence[str]) -> list[SegmentName]:
    """Keep the first owner of a name (best fit) plain; tell the others apart."""
    owners: dict[str, int] = {}
    ranked = sorted(range(len(found)), key=lambda s: (-(found[s].fit or 0.0), s))
    result: list[Any] = list(found)
    for segment in ranked:
        name = found[segment].name
        if name in owners and extra[segment] != name:
            lowered = extra[segment][0].lower() + extra[segment][1:]
            name = f"{name} – {lowered}"
        number = 2
        while name in owners:
            name = f"{found[segment].name} ({number})"
            number += 1
        owners[name] = segment
        result[segment] = SegmentName(
            name, found[segment].kind, found[segment].rule, found[segment].fit, found[segment].lift
        )
    return result
