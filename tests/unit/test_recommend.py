"""The rule that suggests a number of segments, and its words."""

from __future__ import annotations

import re

import pytest

from daskseg.errors import UsageError
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
    assert "the limit was set aside" in text_of(found)


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
