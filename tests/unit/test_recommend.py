"""The rule that suggests a number of segments, and its words."""

from __future__ import annotations

import re

import pytest

from daskseg.errors import UsageError
from daskseg.model_selection.criteria import Criteria
from daskseg.model_selection.recommend import CurveRow, bends, recommend

INERTIA = [6856.0, 4298.0, 3257.0, 2784.0, 2411.0, 2173.0, 1984.0]
SILHOUETTE = [0.58, 0.595, 0.549, 0.498, 0.487, 0.490, 0.446]


def curve(silhouette=SILHOUETTE, inertia=INERTIA, shares=None, first=2):
    shares = shares or [0.1] * len(silhouette)
    return [
        CurveRow(k, error, 1 - error / 13014, score, share)
        for k, (error, score, share) in enumerate(
            zip(inertia, silhouette, shares, strict=True), start=first
        )
    ]


def text_of(found):
    return " ".join(found.reasons)


def test_recommend__takes_the_bend_of_a_real_rfm_curve():
    found = recommend(curve())
    assert (found.k, found.runner_up, found.knee, found.grade) == (4, 3, 4, "medium")
    assert "bends most at 4" in text_of(found)
    assert "0.549, at least 90 % of the highest one (0.595 at 3)" in text_of(found)
    assert "continuum" in found.structure_note


def test_recommend__is_sure_when_bend_and_silhouette_agree():
    found = recommend(curve([0.5, 0.6, 0.9, 0.6, 0.5], [100.0, 60.0, 10.0, 9.0, 8.0]))
    assert (found.k, found.grade) == (4, "high")
    assert "lie apart" in found.structure_note


def test_recommend__takes_the_silhouette_when_the_bend_is_poor():
    found = recommend(curve([0.9, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1]))
    assert (found.k, found.knee, found.grade) == (2, 4, "medium")
    assert "bends most at 4, but there the silhouette is only 0.500" in text_of(found)


def test_recommend__takes_the_silhouette_when_nothing_bends():
    power = [1000.0 / k for k in range(2, 7)]
    found = recommend(curve([0.3, 0.4, 0.35, 0.3, 0.2], power))
    assert (found.k, found.knee) == (3, None)
    assert "without a bend" in text_of(found)


def test_recommend__leaves_out_small_segments():
    found = recommend(curve(shares=[0.3, 0.2, 0.005, 0.1, 0.1, 0.1, 0.1]))
    assert found.k == 3
    assert found.knee == 4
    assert "With 4 segments, one would hold less than 1 %" in text_of(found)
    loose = recommend(curve(shares=[0.3, 0.2, 0.005, 0.1, 0.1, 0.1, 0.1]), min_share=0.001)
    assert loose.k == 4


def test_recommend__says_when_no_number_is_allowed():
    found = recommend(curve(shares=[0.001] * 7))
    assert (found.k, found.grade) == (4, "low")
    assert found.reasons[0] == (
        "No number of segments meets the limit on sizes (each at least 1 % of the customers); the "
        "limit was set aside. Nearest are 4 segments, the smallest with 0.1 % of the customers."
    )


@pytest.mark.parametrize(("required", "words"), [(6, "would have taken 4"), (4, "taken the same")])
def test_recommend__obeys_and_says_what_it_would_have_done(required, words):
    found = recommend(curve(), required_k=required)
    assert (found.k, found.mode, found.grade) == (required, "required", "low")
    assert words in text_of(found)
    assert found.runner_up == (4 if required == 6 else 3)


def test_recommend__of_one_number():
    only = recommend(curve([0.4], [10.0]))
    assert (only.k, only.runner_up, only.knee, only.grade) == (2, None, None, "low")
    assert "the only number" in text_of(only)
    assert "the rule was not used" in text_of(recommend(curve([0.4], [10.0]), required_k=2))


def test_recommend__passes_over_one_segment():
    rows = curve([float("nan"), 0.5, 0.4], [100.0, 50.0, 30.0], first=1)
    assert recommend(rows).k == 2
    alone = recommend(rows[:1])
    assert (alone.k, alone.structure_note) == (1, "With one segment there is nothing to compare.")


def test_recommend__takes_errors_of_zero():
    assert recommend(curve([0.9, 1.0, 0.9], [5.0, 0.0, 0.0])).k == 3
    assert recommend(curve([0.0, 0.0, 0.0], [0.0, 0.0, 0.0])).k == 2


@pytest.mark.parametrize(
    ("silhouette", "word"), [(0.9, "lie apart"), (0.7, "overlap"), (0.5, "continuum")]
)
def test_recommend__never_claims_more_than_the_silhouette_says(silhouette, word):
    note = recommend(curve([silhouette] * 3, [9.0, 5.0, 4.0])).structure_note
    assert word in note
    assert not re.search("discover|natural|found", note)


def test_recommend__numbers_in_sentences_stand_in_the_curve():
    rows = curve()
    allowed = {"90", "1"} | {str(row.k) for row in rows}
    for row in rows:
        allowed |= {f"{row.silhouette:.3f}", f"{100 * row.explained_variance:.1f}"}
        allowed |= {f"{100 * row.smallest_share:.1f}"}
    for required in (None, 6):
        words = text_of(recommend(rows, required_k=required))
        assert set(re.findall(r"\d+(?:\.\d+)?", words)) <= allowed


@pytest.mark.parametrize(
    ("rows", "required", "match"),
    [([], None, "the curve is empty"), (curve(), 99, "required_k=99 is not in the curve")],
)
def test_recommend__refuses_nonsense(rows, required, match):
    with pytest.raises(UsageError, match=match):
        recommend(rows, required_k=required)


def test_recommendation__becomes_plain_json():
    record = recommend(curve()).to_dict()
    assert (record["k"], record["mode"], type(record["reasons"])) == (4, "auto", list)


def test_bends__are_zero_on_a_power_of_k():
    rows = curve([0.5] * 5, [1000.0 * k**-0.7 for k in range(2, 7)])
    assert set(bends(rows).values()) == {0.0}


# ── with criteria ────────────────────────────────────────────────────────────
def criterion(k, **changes):
    """Return the criteria of clusters that are apart, found again and agreed on at 4."""
    usual = {
        "gap": 1.0 if k == 4 else 0.5 + 0.01 * k,
        "gap_se": 0.01,
        "gap_bound": 0.99 if k == 3 else 0.6,
        "prediction_strength": 0.95 if k <= 4 else 0.4,
        "prediction_strength_se": 0.02,
        "stability": 0.97 if k <= 4 else 0.6,
        "stability_low": 0.9,
        "mean_jaccard": 0.97,
        "min_jaccard": 0.93 if k <= 4 else 0.45,
        "border_density": float("nan") if k == 1 else 0.124 if k <= 4 else 1.312,
        "border_limit": float("nan") if k == 1 else 0.517,
        "n_resamples": 8,
    }
    usual["jaccards"] = (usual["mean_jaccard"],) * k
    return Criteria(k=k, **{**usual, **changes})


def criteria(changes=None, last=8):
    changes = changes or {}
    return [criterion(k, **changes.get(k, {})) for k in range(1, last + 1)]


def no_borders(**others):
    return {k: {"border_density": 1.1, **others} for k in range(2, 9)}


def test_recommend__takes_the_most_clusters_that_are_apart():
    found = recommend(curve(), criteria())
    assert (found.k, found.natural_k, found.runner_up, found.grade) == (4, 4, 3, "high")
    assert (found.coarser, found.finer) == (3, 5)
    assert found.votes == {"gap": 4, "prediction_strength": 4, "silhouette": 3, "knee": 4}
    assert "between any two of the 4 segments runs a border" in text_of(found)
    assert "0.124 times as many as inside (up to 0.517 counts as apart)" in text_of(found)
    assert "gap statistic 4; prediction strength 4; silhouette 3" in text_of(found)
    assert "lie apart" in found.structure_note
    touching = criteria({4: {"border_density": 0.45}})
    assert "touch" in recommend(curve(), touching).structure_note


def test_recommend__may_say_that_there_are_no_clusters():
    found = recommend(curve(), criteria({**no_borders(), 1: {"gap": 2.0}}))
    assert (found.natural_k, found.k) == (None, 4)
    assert "There are no natural clusters: at each number from 2 to 8" in text_of(found)
    assert "4 has the best balance" in text_of(found)
    assert "No natural clusters: the 4 segments are a useful partition" in found.structure_note
    assert found.grade == "medium"


def test_recommend__tells_an_uneven_crowd_from_an_even_one():
    found = recommend(curve(), criteria(no_borders()))
    assert (found.natural_k, found.votes["gap"]) == (None, 4)
    assert "not one even crowd, but no number from 2 to 8" in text_of(found)
    assert "No natural clusters: the 4 segments are a useful partition of an uneven" in (
        found.structure_note
    )


def test_recommend__is_never_sure_in_a_continuum():
    bend = curve([0.5, 0.6, 0.9, 0.6, 0.5], [100.0, 60.0, 10.0, 9.0, 8.0])
    assert recommend(bend).grade == "high"
    assert recommend(bend, criteria(no_borders())).grade == "medium"
    lost = recommend(bend, criteria(no_borders(min_jaccard=0.3)))
    assert (lost.k, lost.grade) == (4, "low")
    assert "At no number are all segments found again" in text_of(lost)
    assert "the partition changed: agreement 0.970, weakest segment 0.300" in text_of(lost)


def test_recommend__prefers_partitions_that_are_found_again():
    changes = no_borders()
    changes[4] |= {"stability": 0.5}
    found = recommend(curve(), criteria(changes))
    assert (found.k, found.runner_up) == (3, 2)
    assert found.finer == 4


@pytest.mark.parametrize(
    ("changes", "grade"),
    [
        ({}, "high"),
        ({"min_jaccard": 0.7}, "medium"),
        ({"min_jaccard": 0.7, "gap": 0.0, "prediction_strength": 0.1}, "low"),
    ],
)
def test_recommend__grades_by_resamples_and_votes(changes, grade):
    silhouette = [0.6, 0.7, 0.5, 0.4, 0.3, 0.2, 0.1]
    inertia = [6856.0, 3000.0, 2900.0, 2784.0, 2411.0, 2173.0, 1984.0]
    found = recommend(curve(silhouette, inertia), criteria({4: changes}))
    assert (found.k, found.grade) == (4, grade)


@pytest.mark.parametrize(
    ("changes", "natural"),
    [
        ({}, 4),
        ({"border_density": 0.87}, None),
        ({"gap": 0.0}, None),
        ({"prediction_strength": 0.7}, None),
        ({"min_jaccard": 0.59}, None),
    ],
)
def test_recommend__takes_what_two_criteria_agree_on_if_no_border_gainsays(changes, natural):
    every = no_borders()
    every[4] = {"border_density": 0.85, **changes}
    found = recommend(curve(), criteria(every))
    assert found.natural_k == natural
    if natural:
        assert "both say 4, and the most crowded border" in text_of(found)
        assert "touch" in found.structure_note


def test_recommend__takes_clusters_that_are_lost_again_for_none():
    for lost in ({"min_jaccard": 0.5}, {"stability": 0.79}):
        assert recommend(curve(), criteria(dict.fromkeys(range(2, 9), lost))).natural_k is None


def test_recommend__takes_outliers_for_no_cluster():
    shares = [0.3, 0.2, 0.001, 0.1, 0.1, 0.1, 0.1]
    found = recommend(curve(shares=shares), criteria(), min_share=0.0)
    assert (found.k, found.natural_k) == (3, 3)


@pytest.mark.parametrize(
    ("limits", "words"),
    [
        ({"min_share": 0.15}, "With 4, 5, 6, 7, 8 segments, one would hold less than 15 %"),
        (
            {"min_customers": 150, "n_customers": 1_000},
            "With 4, 5, 6, 7, 8 segments, one would hold fewer than 150 customers",
        ),
        (
            {"max_share": 0.5, "largest_shares": {2: 0.6, 3: 0.4, **dict.fromkeys(range(4, 9), 1)}},
            "With 2, 4, 5, 6, 7, 8 segments, one would hold more than 50 % of the customers",
        ),
        ({"k_range": (2, 3)}, "between any two of the 3 segments"),
    ],
)
def test_recommend__keeps_to_the_limits_of_a_business(limits, words):
    shares = [0.3, 0.2, 0.1, 0.1, 0.1, 0.1, 0.1]
    found = recommend(curve(shares=shares), criteria(), **limits)
    assert (found.k, found.natural_k) == (3, 4)
    assert words in text_of(found)


def test_recommend__says_when_natural_clusters_are_not_allowed():
    changes = {2: {"border_density": 0.9}, 3: {"border_density": 0.9}}
    found = recommend(curve(), criteria(changes), k_range=(2, 3))
    assert (found.natural_k, found.grade) == (4, "medium")
    assert found.k in (2, 3)
    assert "The natural clusters, 4 of them, do not fit the limits" in text_of(found)
    assert f"are 4, not {found.k}" in found.structure_note


def test_recommend__sets_limits_aside_that_leave_nothing():
    found = recommend(curve(), criteria(), min_customers=90, n_customers=100)
    assert (found.k, found.grade) == (4, "low")
    assert "(each at least 90 customers); the limit was set aside" in text_of(found)
    large = recommend(
        curve(), max_share=0.2, largest_shares=dict(enumerate([0.4] * 5 + [0.3, 0.3], 2))
    )
    assert "(each at most 20 % of the customers); the limit" in text_of(large)
    assert "Nearest are 7 segments, the largest with 30.0 %" in text_of(large)
    shares = [0.3, 0.2, 0.2, 0.1, 0.1, 0.1, 0.1]
    both = {"min_share": 0.15, "max_share": 0.5, "largest_shares": dict.fromkeys(range(2, 9), 0.6)}
    assert (
        "(each at least 15 % of the customers; each at most 50 % of the customers); they were"
    ) in text_of(recommend(curve(shares=shares), criteria(), **both))


@pytest.mark.parametrize(
    ("limits", "words"),
    [
        ({"min_share": 0.15}, "(each at least 15 % of the customers) the rule would have taken 4."),
        ({"min_customers": 150, "n_customers": 1_000}, "(each at least 150 customers) the rule"),
        (
            {"max_share": 0.5, "largest_shares": {2: 0.6, 3: 0.4, **dict.fromkeys(range(4, 9), 1)}},
            "(each at most 50 % of the customers) the rule would have taken 4.",
        ),
    ],
)
@pytest.mark.parametrize("measured", [True, False])
def test_recommend__names_the_limit_that_changed_the_answer(limits, words, measured):
    rows = curve(shares=[0.3, 0.2, 0.1, 0.1, 0.1, 0.1, 0.1])
    known = criteria() if measured else ()
    assert words in text_of(recommend(rows, known, **limits))
    assert "Without the limit" not in text_of(recommend(rows, known))
    # Leaves out what would not have been taken anyway.
    harmless = curve(shares=[0.3, 0.2, 0.2, 0.1, 0.1, 0.1, 0.1])
    found = text_of(recommend(harmless, known, min_share=0.15))
    assert "With 5, 6, 7, 8 segments" in found
    assert "Without the limit" not in found


def test_recommend__says_that_a_required_number_breaks_a_limit():
    shares = [0.3, 0.2, 0.1, 0.1, 0.1, 0.1, 0.05]
    found = text_of(recommend(curve(shares=shares), min_share=0.15, required_k=4))
    assert "breaks the limit on sizes (each at least 15 % of the customers)" in found
    assert "With 5, 6, 7, 8 segments, one" in found
    assert "breaks" not in text_of(recommend(curve(shares=shares), min_share=0.15, required_k=3))
    alone = recommend(curve([0.4], [10.0], shares=[0.001]), required_k=2)
    assert "That breaks the limit on sizes" in text_of(alone)


@pytest.mark.parametrize(("required", "word"), [(6, "are 4, not 6"), (3, "lie apart")])
def test_recommend__says_what_a_required_number_is(required, word):
    found = recommend(curve(), criteria(), required_k=required)
    assert (found.k, found.grade, found.natural_k) == (required, "low", 4)
    assert word in found.structure_note


def test_recommend__never_suggests_one_segment():
    rows = [CurveRow(1, 13014.0, 0.0, float("nan"), 1.0), *curve()]
    assert recommend(rows, criteria()) == recommend(curve(), criteria())
    nothing = recommend(rows, criteria({**no_borders(), 1: {"gap": 2.0}}))
    assert nothing.votes["gap"] == 1
    assert "gap statistic 1 (no clusters)" in text_of(nothing)


def test_recommend__numbers_in_sentences_stand_in_the_curve_or_the_criteria():
    rows, measured = curve(), criteria()
    allowed = {"1", "8"} | {str(row.k) for row in rows}
    for row, found in zip(rows, measured[1:], strict=True):
        allowed |= {f"{row.silhouette:.3f}", f"{100 * row.explained_variance:.1f}"}
        allowed |= {f"{100 * row.smallest_share:.1f}", f"{found.border_limit:.3f}"}
        allowed |= {f"{found.border_density:.3f}", f"{found.stability:.3f}"}
        allowed |= {f"{found.min_jaccard:.3f}"}
    for changes, required in ((None, None), (no_borders(), None), (None, 6)):
        advice = recommend(rows, criteria(changes), required_k=required)
        words = f"{text_of(advice)} {advice.structure_note}"
        assert set(re.findall(r"\d+(?:\.\d+)?", words)) <= allowed


@pytest.mark.parametrize(
    ("limits", "match"),
    [
        ({"k_range": (9, 20)}, "k_range=9:20 holds none of the numbers"),
        ({"k_range": (5, 4)}, "k_range=5:4 holds none"),
        ({"min_share": 0.6, "max_share": 0.5}, "the least must not be above the most"),
        ({"min_share": -0.1}, "min_share=-0.1 is not a share"),
        ({"max_share": 0.5}, "needs largest_shares"),
        ({"min_customers": 10}, "needs n_customers"),
        ({"min_customers": float("nan")}, "must be a number from 0"),
        ({"min_customers": 11, "n_customers": 10}, "more than the 10 customers"),
    ],
)
def test_recommend__refuses_limits_that_cannot_be(limits, match):
    with pytest.raises(UsageError, match=match):
        recommend(curve(), criteria(), **limits)
