from __future__ import annotations

import json
import math
from dataclasses import replace

import numpy as np
import pytest

from daskseg.engine.blocks import Blocks
from daskseg.features.schemes import load_scheme
from daskseg.segments.grouping import CentreGrouping
from daskseg.segments.names import SegmentName, name_by_rules
from daskseg.segments.profile import Clustering, Profile, profile_segments
from daskseg.segments.record import Findings, build_record, effects, feature_kind, profile_rows
from tests.segment_models import CUTS, rfm_customers, rfm_model, table_model

CHOICE = {"k": 3, "mode": "auto", "structure_note": "The groups overlap.", "reasons": []}
RFM_DATA = {
    "source": "ledger.csv",
    "rows": 1_000,
    "customers": 600,
    "first_date": "2010-12-01",
    "last_date": "2011-12-09",
    "snapshot": "2011-12-10",
    "currency": "GBP",
    "money_decimals": 2,
    "value_feature": "spend_net",
}
STUDY = {"prepare": {"scale": "zscore"}}


def rfm_profile(n_rows=600):
    frame, model = rfm_customers(n_rows).drop(columns="customer_id"), rfm_model()
    return profile_segments(
        Blocks.from_array(frame.to_numpy(), columns=tuple(frame.columns)),
        Clustering((0, 1, 2), model.plan, model.grouping),
        value=2,
        value_decimals=2,
        scheme=load_scheme("rfm11"),
        cut_points=CUTS,
    )


def rfm_findings(profile=None, **changes):
    profile = profile or rfm_profile()
    neutral = [f"Plain words {segment}" for segment in range(3)]
    names = name_by_rules(profile.rules, load_scheme("rfm11").names, neutral, min_fit=0.3)
    parts = {
        "model": rfm_model(segment_names=tuple(name.name for name in names)),
        "profile": profile,
        "names": names,
        "silhouettes": (0.5, 0.25, None),
        "below_zero": (0.0, 0.1, None),
        "choice": CHOICE,
        "data": RFM_DATA,
        "title": "Customers of <shop>",
        "run": {"run_id": "00ff", "study": STUDY},
        "value_decimals": 2,
    }
    return Findings(**{**parts, **changes})


def table_profile(**changes):
    """Two segments of 3 and 1 customers with visits, age (passive) and spend."""
    quartiles = np.array([
        [[4.0, 5.0, 9.0], [30.0, 31.0, 60.0], [60.0, 80.0, 95.0]],
        [[1.0, 1.0, 1.0], [np.nan, np.nan, np.nan], [-7.25, -7.25, -7.25]],
    ])  # fmt: skip
    parts = {
        "sizes": np.array([3, 1]),
        "totals": np.array([235_500_000, -7_250_000], dtype=object),
        "means": np.array([[6.0, 40.0, 78.5], [1.0, np.nan, -7.25]]),
        "quartiles": quartiles,
        "whole_means": np.array([4.75, 40.0, 57.0625]),
        "whole_quartiles": np.array([[1.0, 4.0, 5.0], [30.0, 31.0, 60.0], [-7.25, 60.0, 80.0]]),
        "missing": np.array([[1, 0, 0], [0, 1, 0]]),
        "position": np.array([[0.75, 0.5, 0.8], [0.125, np.nan, 0.125]]),
        "rules": None,
        "outlier_dist": np.array([1.0, 0.5]),
    }
    return Profile(**{**parts, **changes})


def table_findings(**changes):
    data = {**RFM_DATA, "first_date": None, "last_date": None, "snapshot": None, "currency": None}
    data |= {"money_decimals": None, "value_feature": "spend"}
    parts = {
        "model": table_model(),
        "profile": table_profile(),
        "names": [SegmentName("Higher spend", "neutral"), SegmentName("Lower spend", "neutral")],
        "silhouettes": (0.5, None),
        "below_zero": (0.0, None),
        "choice": {**CHOICE, "k": 2},
        "data": data,
        "run": {"study": STUDY},
        "value_decimals": 6,
    }
    return Findings(**{**parts, **changes})


def no_break(text):
    return text.replace("\N{NO-BREAK SPACE}", " ").replace("\N{NARROW NO-BREAK SPACE}", " ")


# ── the whole record ─────────────────────────────────────────────────────────


@pytest.mark.parametrize("findings", [rfm_findings, table_findings])
def test_build_record__is_plain_json_without_nan(findings):
    record = build_record(findings())
    assert json.loads(json.dumps(record, allow_nan=False)) == record
    assert set(record) == {
        "format_version",
        "kind",
        "title",
        "verdict",
        "data",
        "waterfall",
        "accounting",
        "segments",
        "features",
        "choice",
        "scheme",
        "prepare",
        "pca",
        "notices",
        "run",
    }


def test_build_record__hands_on_what_others_found():
    step = {"step": "raw", "rows": 3}
    record = build_record(
        rfm_findings(waterfall=[step], accounting={"total": 1.5}, notices=("One.", "Two."))
    )
    assert record["waterfall"] == [step]
    assert record["accounting"] == {"total": 1.5}
    assert record["notices"] == ["One.", "Two."]
    assert (record["kind"], record["title"]) == ("rfm", "Customers of <shop>")
    assert record["data"] == RFM_DATA
    assert record["choice"] == CHOICE
    assert build_record(rfm_findings())["accounting"] is None


def test_build_record__shares_and_money_add_up():
    profile = rfm_profile()
    record = build_record(rfm_findings(profile))
    segments = record["segments"]
    assert [segment["segment_id"] for segment in segments] == ["S1", "S2", "S3"]
    assert sum(segment["customers"] for segment in segments) == 600
    assert sum(segment["share"] for segment in segments) == pytest.approx(1)
    assert sum(segment["money_share"] for segment in segments) == pytest.approx(1)
    cents = [round(segment["money"] * 100) for segment in segments]
    assert cents == profile.totals.tolist()
    assert [segment["silhouette"] for segment in segments] == [0.5, 0.25, None]
    assert [segment["below_zero_share"] for segment in segments] == [0.0, 0.1, None]


def test_build_record__money_is_the_exact_decimal():
    totals = np.array([123_456_789_012_345, 10, 1], dtype=object)
    record = build_record(rfm_findings(rfm_profile()._replace(totals=totals)))
    texts = [json.dumps(segment["money"]) for segment in record["segments"]]
    assert texts == ["1234567890123.45", "0.1", "0.01"]
    record = build_record(table_findings())
    assert [segment["money"] for segment in record["segments"]] == [235.5, -7.25]


def test_build_record__scheme_shares_add_up():
    profile = rfm_profile()
    scheme = build_record(rfm_findings(profile))["scheme"]
    assert scheme["names"] == list(load_scheme("rfm11").names)
    for shares in (scheme["whole"], *scheme["shares"].values()):
        assert list(shares) == scheme["names"]
        assert sum(shares.values()) == pytest.approx(1)
    assert list(scheme["shares"]) == ["S1", "S2", "S3"]
    assert scheme["cut_points"] == CUTS
    assert -0.5 <= scheme["agreement_ari"] <= 1
    assert build_record(table_findings())["scheme"] is None


def test_build_record__features_and_prepare():
    record = build_record(table_findings())
    assert [(f["name"], f["role"], f["missing"]) for f in record["features"]] == [
        ("visits", "active", 1),
        ("age", "passive", 1),
        ("spend", "active", 0),
    ]
    assert [step["feature"] for step in record["prepare"]] == ["visits", "spend"]
    assert record["prepare"][0]["winsor"] == [None, None]
    assert record["prepare"][1] == {
        "feature": "spend",
        "winsor": [0.0, 100.0],
        "clipped": 0,
        "transform": "none",
        "scale": "zscore",
        "center": 50.0,
        "spread": 25.0,
        "missing_filled": 0,
        "fill": 50.0,
    }


# ── one segment ──────────────────────────────────────────────────────────────


def test_segment__with_a_rule_tells_the_rule():
    scheme = load_scheme("rfm11")
    names = (
        SegmentName("Champions", "rule", "Champions", 0.75, 3.0),
        SegmentName("Mostly Lost", "mostly", "Lost", 0.5, 2.0),
        SegmentName("Plain words", "neutral", "At Risk", 0.25, 1.5),
    )
    profile = rfm_profile()
    # R1, F1, M1 by the cut points: the median member of the last segment counts as Lost.
    profile.quartiles[2, :3, 1] = [300.0, 1.0, 20.0]
    segments = build_record(rfm_findings(profile, names=names))["segments"]
    for segment, name in zip(segments, names, strict=True):
        entry = scheme.entry(name.rule)
        assert (segment["name_kind"], segment["rule"]) == (name.kind, name.rule)
        assert (segment["fit"], segment["lift"]) == (name.fit, name.lift)
        assert segment["rule_definition"] == entry.definition
        told = (segment["action"], segment["channel"], segment["kpi"])
        if name.kind == "neutral":
            nearest = scheme.entry("Lost")
            assert segment["action"].startswith("Its median customer scores as Lost: ")
            assert nearest.action in segment["action"]
            assert told[1:] == (nearest.channel, nearest.kpi)
        else:
            assert told == (entry.action, entry.channel, entry.kpi)


def test_segment__of_a_table_has_no_rule_and_no_action():
    for segment in build_record(table_findings())["segments"]:
        for key in ("rule", "rule_definition", "fit", "lift", "action", "channel", "kpi"):
            assert segment[key] is None
        assert segment["name_kind"] == "neutral"


def test_segment__carries_the_names_of_the_model():
    found = rfm_findings()
    renamed = replace(found, model=found.model.renamed({"S2": "Win-back"}))
    names = [segment["name"] for segment in build_record(renamed)["segments"]]
    assert names == [found.model.segment_names[0], "Win-back", found.model.segment_names[2]]


def test_segment__feature_rows_by_hand():
    first, second = (segment["features"] for segment in build_record(table_findings())["segments"])
    assert first[0] == {
        "feature": "visits",
        "median": 5.0,
        "p25": 4.0,
        "p75": 9.0,
        "mean": 6.0,
        "whole_median": 4.0,
        "whole_mean": 4.75,
        "ratio": 1.25,
        "effect": 0.5,
        "words": "far higher",
    }
    # No value in the segment: no number, and no words that claim one.
    assert second[1] == {
        "feature": "age",
        "median": None,
        "p25": None,
        "p75": None,
        "mean": None,
        "whole_median": 31.0,
        "whole_mean": 40.0,
        "ratio": None,
        "effect": None,
        "words": "about typical",
    }
    # A ratio says nothing where a median is negative.
    assert (second[2]["median"], second[2]["ratio"]) == (-7.25, None)
    assert second[2]["words"] == "far lower"


def test_segment__sentence_of_a_table_tells_the_three_most_unusual_features():
    first, second = (segment["sentence"] for segment in build_record(table_findings())["segments"])
    assert no_break(first) == "Spend 80 (typical: 60); visits 5 (typical: 4); age 31 (typical: 31)."
    assert no_break(second).startswith("Visits 1 (typical: 4); spend −7.25 (typical: 60); age ")


def test_segment__sentence_of_a_ledger():
    profile = rfm_profile()
    profile.quartiles[0, :3, 1] = [9.0, 11.0, 3_890.4]
    profile.quartiles[1, :3, 1] = [80.0, 1.0, 30.0]
    profile.whole_quartiles[:3, 1] = [51.0, 2.0, 655.0]
    first, second, _ = (s["sentence"] for s in build_record(rfm_findings(profile))["segments"])
    assert no_break(first) == (
        "Last order 9 days ago (typical customer: 51), 11 orders (typical: 2), "
        "£3,890 spent (typical: £655)."
    )
    assert "1 order (typical: 2)" in no_break(second)


# ── the verdict ──────────────────────────────────────────────────────────────


def verdict(**changes):
    return build_record(rfm_findings(**changes))["verdict"]


def test_verdict__headline_by_value_by_size_and_of_one_segment():
    profile = rfm_profile()._replace(
        sizes=np.array([150, 300, 150]), totals=np.array([700, 200, 100], dtype=object)
    )
    headline = no_break(verdict(profile=profile)["headline"])
    assert headline == "3 segments: 25 % of customers bring 70 % of spend."
    for totals in (None, np.array([700, 200, -100], dtype=object)):
        headline = no_break(verdict(profile=profile._replace(totals=totals))["headline"])
        assert headline == "3 segments: the largest holds 50 % of the customers."
    # The largest sum is not the news if most customers share it.
    profile = profile._replace(
        sizes=np.array([420, 60, 120]), totals=np.array([450, 400, 150], dtype=object)
    )
    headline = no_break(verdict(profile=profile)["headline"])
    assert headline == "3 segments: 10 % of customers bring 40 % of spend."
    one = table_profile(**{
        name: getattr(table_profile(), name)[:1]
        for name in ("sizes", "totals", "means", "quartiles", "missing", "position")
    })  # fmt: skip
    model = table_model(grouping=CentreGrouping(np.zeros((1, 3))), segment_names=("All",))
    found = table_findings(
        profile=one, model=model, names=[SegmentName("All", "neutral")], silhouettes=[None]
    )
    record = build_record(replace(found, below_zero=[None]))
    assert record["verdict"]["headline"] == "One segment: all 3 customers together."


def test_verdict__value_of_a_table_has_the_label_of_its_column():
    profile = table_profile(totals=np.array([3, 1], dtype=object))
    headline = build_record(table_findings(profile=profile))["verdict"]["headline"]
    assert no_break(headline) == "2 segments: 75 % of customers bring 75 % of spend."


def test_verdict__money_at_risk():
    profile = rfm_profile()._replace(
        sizes=np.array([150, 300, 150]), totals=np.array([7_000_00, 200_00, 100_00], dtype=object)
    )
    # Scores of 2 and less begin at the third cut of 10, 30, 90, 200 days.
    profile.quartiles[:, 0, 1] = [20.0, 90.0, 250.0]
    sentences = verdict(profile=profile)["sentences"]
    assert len(sentences) == 2
    assert no_break(sentences[0]).startswith("£300 of spend sits with 450 customers (75 %)")
    assert "90 days ago or more" in sentences[0]
    assert sentences[1] == "The groups overlap."
    profile.quartiles[:, 0, 1] = [20.0, 89.0, 30.0]
    assert verdict(profile=profile)["sentences"] == ["The groups overlap."]


@pytest.mark.parametrize(
    ("n_rows", "dates", "words"),
    [
        (600, {}, []),
        (499, {}, ["499 customers with an order, 500 wanted"]),
        (600, {"first_date": "2011-06-13"}, ["179 days of history, 180 wanted"]),
        (600, {"first_date": "2011-06-12"}, []),
        (600, {"snapshot": "2012-01-08"}, []),
        (600, {"snapshot": "2012-01-09"}, ["no order in the last 30 days"]),
        (499, {"snapshot": "2012-06-01"}, ["499 customers", "no order in the last 30 days"]),
    ],
)
def test_verdict__short_history_makes_names_tentative(n_rows, dates, words):
    profile = rfm_profile()._replace(sizes=np.array([n_rows - 200, 100, 100]))
    tentative = verdict(profile=profile, data={**RFM_DATA, **dates})["tentative"]
    assert len(tentative) == bool(words)
    for word in words:
        assert word in tentative[0]


def test_verdict__a_table_is_never_tentative():
    assert build_record(table_findings())["verdict"]["tentative"] == []


# ── parts ────────────────────────────────────────────────────────────────────


def test_effects__span_minus_one_to_one():
    profile = table_profile(position=np.array([[0.0, 0.5, 1.0], [0.25, np.nan, 0.75]]))
    found = effects(profile)
    np.testing.assert_array_equal(found, [[-1.0, 0.0, 1.0], [-0.5, np.nan, 0.5]])


def test_feature_kind__by_name_and_unit():
    kinds = {feature.name: feature_kind(feature) for feature in rfm_model().features}
    assert kinds["recency_days"] == "recency"
    assert kinds["n_orders"] == "count"
    assert kinds["spend_net"] == kinds["aov"] == "money"
    assert kinds["return_rate"] == "share"
    assert kinds["tenure_days"] == "days"
    assert {feature_kind(feature) for feature in table_model().features} == {"number"}


def test_profile_rows__are_the_profile_as_a_long_table():
    profile, model = rfm_profile(), rfm_model()
    rows = profile_rows(profile, model)
    found = {(row.segment_id, row.feature, row.statistic): row for row in rows}
    assert len(found) == len(rows) == 3 * (1 + 10 * 6) + 1 + 10 * 5
    assert found["S2", "customers", "count"].value == profile.sizes[1]
    assert found["all", "customers", "count"].value == 600
    assert found["S3", "n_orders", "p75"].value == profile.quartiles[2, 1, 2]
    assert found["S1", "spend_net", "mean"].value == profile.means[0, 2]
    assert found["all", "spend_net", "median"].value == profile.whole_quartiles[2, 1]
    missing = [found[name, "interpurchase_days_median", "missing"] for name in ("S1", "S2", "S3")]
    total = found["all", "interpurchase_days_median", "missing"].value
    assert sum(row.value for row in missing) == total > 0
    assert found["S1", "recency_days", "p25"].unit == "days"
    assert all(type(row.value) is float for row in rows)
    empty = profile_rows(table_profile(), table_model())
    assert any(math.isnan(row.value) for row in empty)
