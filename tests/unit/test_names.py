from __future__ import annotations

import numpy as np
import pytest

from daskseg.segments.names import (
    band_words,
    effect_words,
    name_by_effects,
    name_by_rules,
    strength,
)

RULES = ("Champions", "Loyal", "Lost")


def named(rules, neutral=None, min_fit=0.5):
    rules = np.array(rules)
    neutral = neutral or [f"Plain words {row}" for row in range(len(rules))]
    return name_by_rules(rules, RULES, neutral, min_fit=min_fit)


def test_name_by_rules__by_the_share_of_members():
    found = named([[60, 30, 10], [1, 59, 40], [41, 10, 49]])
    assert [(name.name, name.kind, name.rule) for name in found] == [
        ("Champions", "rule", "Champions"),
        ("Mostly Loyal", "mostly", "Loyal"),
        ("Plain words 2", "neutral", "Lost"),
    ]
    assert [name.fit for name in found] == [0.6, 0.59, 0.49]
    # Of all 300 customers 102 are Champions, 99 Loyal and 99 Lost.
    assert [name.lift for name in found] == pytest.approx([0.6 / 0.34, 0.59 / 0.33, 0.49 / 0.33])


@pytest.mark.parametrize(
    ("fit", "min_fit", "kind"),
    [
        (60, 0.5, "rule"),
        (59, 0.5, "mostly"),
        (50, 0.5, "mostly"),
        (49, 0.5, "neutral"),
        (40, 0.4, "mostly"),
        (60, 0.7, "neutral"),
        (70, 0.7, "rule"),
        (100, 1.0, "rule"),
        (99, 1.0, "neutral"),
        (45, 0.0, "mostly"),
    ],
)
def test_name_by_rules__thresholds(fit, min_fit, kind):
    rest = 100 - fit
    (found,) = named([[fit, rest // 2, rest - rest // 2]], min_fit=min_fit)
    assert found.kind == kind
    assert found.rule == "Champions"


def test_name_by_rules__ties_go_to_the_first_rule():
    (found,) = named([[0, 5, 5]], min_fit=0.5)
    assert (found.name, found.lift) == ("Mostly Loyal", 1.0)


def test_name_by_rules__an_empty_segment_gets_plain_words():
    found = named([[0, 0, 0], [9, 0, 0]])
    assert (found[0].name, found[0].kind, found[0].fit) == ("Plain words 0", "neutral", 0.0)


def test_name_by_rules__tells_equal_names_apart_and_keeps_the_best_fit_plain():
    neutral = ["Very recent, 9 orders", "Recent, 5 orders", "Recent, 5 orders", "x"]
    found = named([[8, 2, 0], [9, 1, 0], [7, 3, 0], [0, 0, 5]], neutral)
    assert [name.name for name in found] == [
        "Champions – very recent, 9 orders",
        "Champions",
        "Champions – recent, 5 orders",
        "Lost",
    ]
    assert {name.kind for name in found} == {"rule"}


def test_name_by_rules__numbers_what_words_do_not_tell_apart():
    found = named([[9, 1, 0]] * 4, ["Same words"] * 4)
    assert [name.name for name in found] == [
        "Champions",
        "Champions – same words",
        "Champions (2)",
        "Champions (3)",
    ]
    found = named([[4, 3, 3]] * 3, ["Same words"] * 3)
    assert [name.name for name in found] == ["Same words", "Same words (2)", "Same words (3)"]


def test_name_by_effects__the_two_most_unusual_features():
    effects = np.array([
        [0.9, -0.2, 0.3],
        [0.1, -0.14, 0.0],
        [-0.6, np.nan, 0.6],
        [0.16, 0.0, 0.0],
    ])  # fmt: skip
    found = name_by_effects(effects, ["visits", "days", "spend"], ["count", "recency", "money"])
    assert [name.name for name in found] == [
        "Many more visits, higher spend",
        "Typical customers",
        "Far fewer visits, far higher spend",
        "More visits",
    ]
    assert {(name.kind, name.rule, name.fit, name.lift) for name in found} == {
        ("neutral", None, None, None)
    }


def test_name_by_effects__no_two_segments_share_a_name():
    found = name_by_effects(np.zeros((3, 2)), ["a", "b"], ["number", "number"])
    assert [name.name for name in found] == [
        "Typical customers",
        "Typical customers (2)",
        "Typical customers (3)",
    ]


def test_strength__thresholds():
    sizes = [0.0, 0.149, 0.15, 0.499, 0.5, 1.0]
    words = ["typical", "typical", "some", "some", "strong", "strong"]
    assert [strength(size) for size in sizes] == words
    assert [strength(-size) for size in sizes] == words


@pytest.mark.parametrize("kind", ["recency", "days", "count", "money", "share", "number"])
def test_effect_words__differ_for_every_grade(kind):
    words = [effect_words(kind, effect) for effect in (-0.9, -0.3, 0.1, 0.3, 0.9)]
    assert len(set(words)) == 5
    assert words[2] == effect_words(kind, 0.0) == effect_words(kind, -0.1) == "about typical"


def test_effect_words__by_hand():
    assert effect_words("recency", -0.5) == "much more recent"
    assert effect_words("recency", 0.2) == "longer ago"
    assert effect_words("count", -0.7) == "far fewer"
    assert effect_words("money", 0.4) == "higher"


@pytest.mark.parametrize(
    ("scores", "orders", "words"),
    [
        ((5, 1, 1), (1.0, 1.0), "Very recent, one order, very small spend"),
        ((1, 5, 5), (7.0, 7.0), "Long gone, 7 orders, very large spend"),
        ((3, 2, 3), (1.0, 2.0), "Some time ago, 1–2 orders, middling spend"),
        ((4, 4, 2), (3.0, 12.0), "Recent, 3–12 orders, small spend"),
        ((2, 4, 4), (3.0, 12.0), "Long ago, 3–12 orders, large spend"),
    ],
)
def test_band_words__by_hand(scores, orders, words):
    assert band_words(scores, orders) == words
