"""The records of the report turned into words: views, maps, evidence and firmness."""

from __future__ import annotations

import re

import pytest

from daskseg import formats
from daskseg.report import evidence, firmness, maps, views
from tests.report_records import firm_record, rfm_record, table_record

NBSP = "\u00a0"


def plain(words: str) -> str:
    return words.replace(NBSP, " ")


def test_summary__first_screen_says_how_many_and_how_much():
    view = views.summary(rfm_record())
    tiles = [(tile.label, plain(tile.value), plain(tile.note)) for tile in view.tiles]
    assert tiles == [
        ("Segments", "6", "chosen among 2 to 10"),
        ("Customers", "4,338", "541,909 rows read"),
        ("Spend in segments", "£8.28 million", "net of returns"),
        ("Share of S1", "59 %", "of spend, from 14 % of customers"),
    ]
    assert view.facts == (
        ("Source", "online_retail.parquet"),
        ("Period", "1 December 2010 to 9 December 2011"),
        ("Snapshot", "10 December 2011"),
        ("Currency", "GBP"),
    )


def test_summary__without_money_and_title():
    view = views.summary(table_record())
    assert view.title == "Customer segments"
    assert [tile.label for tile in view.tiles] == ["Segments", "Customers"]
    assert view.tiles[0].note == "as asked for"
    assert view.facts == (("Source", "online_retail.parquet"),)


def test_summary__window_in_days():
    record = rfm_record()
    record["data"]["window"] = "365d"
    assert ("Window", "365 days before the snapshot") in views.summary(record).facts


def test_value_word__is_the_label_of_the_value_column():
    record = table_record()
    record["data"]["value_feature"] = "aov"
    assert views.value_word(record) == "Average order value"
    assert views.value_word(rfm_record()) == "spend"


def test_cards__fit_beside_every_name():
    champions, loyal, _, neutral, *_ = views.cards(rfm_record())
    assert plain(champions.fit or "") == "label fit 74 %"
    assert plain(loyal.fit or "") == "label fit 58 %"
    assert champions.rule == "Champions: ordered recently, often, and spend the most."
    assert champions.note is None
    assert neutral.neutral
    assert neutral.fit is None
    assert plain(neutral.note or "") == (
        "No rule describes half of this segment. Nearest: New Customers, 41 %."
    )


def test_cards__n_stands_with_percent():
    card = views.cards(rfm_record())[0]
    assert (card.customers, plain(card.share)) == ("612", "14 %")
    assert (plain(card.money or ""), plain(card.money_share or "")) == ("£4.91 million", "59 %")


def test_cards__strongest_facts_first():
    facts = views.cards(rfm_record())[5].facts
    assert facts[0].label == "Days since last order"
    assert facts[0].values == "typical here 298, typical overall 51"
    assert len(facts) == views.CARD_FACTS


def test_size__shares_need_every_segment_to_have_one():
    record = rfm_record()
    assert views.size(record).has_shares
    assert plain(views.size(record).rows[0].per_customer or "") == "£8,020"
    for segment in record["segments"]:
        segment["money_share"] = None
    view = views.size(record)
    assert view.has_money
    assert not view.has_shares
    assert [tile.label for tile in views.summary(record).tiles][-1] == "Spend in segments"


@pytest.mark.parametrize(
    ("ratio", "level"),
    [(1.0, 0.0), (4.0, 1.0), (0.25, -1.0), (2.0, 0.5), (100.0, 1.0), (0.0, -1.0), (-3.0, -1.0)],
)
def test_heat_level__is_a_capped_logarithm(ratio, level):
    assert maps.heat_level(ratio) == pytest.approx(level)


def test_feature_map__telling_features_first_and_words_on_hover():
    view = maps.feature_map(rfm_record())
    assert view is not None
    assert view.rows[0].label == "Days since last order"
    cell = view.rows[0].cells[5]
    assert cell.printed == "5.8×"
    assert cell.level == 1.0
    assert cell.hover == "S6 Lost – Days since last order: far more. Here 298, overall 51."
    assert view.has_passive


def test_feature_map__compares_means_where_the_typical_customer_has_zero():
    view = maps.feature_map(rfm_record())
    assert view is not None
    row = next(row for row in view.rows if row.label.startswith("Return rate"))
    assert row.cells[0].printed == "0.4×*"
    assert row.cells[0].words == "less than typical"
    assert view.has_means


def test_feature_map__no_number_is_said():
    view = maps.feature_map(rfm_record())
    assert view is not None
    row = next(row for row in view.rows if row.label.startswith("Median days"))
    assert (row.cells[3].printed, row.cells[3].level) == ("–", None)


def test_feature_map__shows_twenty_of_a_hundred():
    record = rfm_record()
    first = record["features"][0]
    record["features"] = [{**first, "name": f"f{i}", "label": f"F {i}"} for i in range(100)]
    for place, segment in enumerate(record["segments"]):
        row = segment["features"][0]
        segment["features"] = [
            {**row, "feature": f"f{i}", "effect": (i if place else -i) / 100} for i in range(100)
        ]
    view = maps.feature_map(record)
    assert view is not None
    assert (len(view.rows), view.n_all, view.rows[0].label) == (20, 100, "F 99")


def test_feature_map__equal_effects_tell_nothing_apart():
    record = rfm_record()
    for segment in record["segments"]:
        for row in segment["features"]:
            row["effect"] = -0.9 if row["feature"] == "recency_days" else row["effect"]
    view = maps.feature_map(record)
    assert view is not None
    assert view.rows[0].label == "Orders"


def test_size__heading_names_the_currency_only_if_known():
    record = rfm_record()
    assert views.size(record).heading == "Spend (GBP)"
    record["data"]["currency"] = None
    assert views.size(record).heading == "Spend"
    cuts = evidence.cut_points(record)
    assert cuts is not None
    assert cuts.rows[2][0] == "Net spend"


def test_feature_map__none_without_features():
    record = rfm_record()
    for segment in record["segments"]:
        segment["features"] = []
    assert maps.feature_map(record) is None
    assert maps.profile(record) is None


def test_profile__median_and_middle_half():
    view = maps.profile(rfm_record())
    assert view is not None
    label, unit, cells, whole = view.rows[0]
    assert (label, unit, whole) == ("Days since last order", "days", "51")
    assert cells[0] == ("9", "5.4 to 15.3")
    assert view.rows[1][1] == ""  # "Orders" need no unit "orders"
    assert [row[0] for row in view.top] == ["Customers", "Silhouette", "Nearer to another segment"]


def test_rules__columns_are_segments_and_all():
    view = maps.rules(rfm_record())
    assert view is not None
    assert [key.id for key in view.columns] == ["S1", "S2", "S3", "S4", "S5", "S6", "All"]
    champions = view.rows[0]
    assert champions.label == "Champions"
    assert plain(champions.cells[0].printed) == "74 %"
    assert champions.cells[1].printed == ""
    assert maps.rules(table_record()) is None


@pytest.mark.parametrize(("ari", "words"), [(0.9, "repeat"), (0.34, "in part"), (0.05, "largely")])
def test_rules_sentence__says_the_agreement(ari, words):
    record = rfm_record()
    record["scheme"]["agreement_ari"] = ari
    sentence = maps.rules_sentence(record)
    assert sentence is not None
    assert sentence.startswith(f"{ari} of 1")
    assert words in sentence


def test_choice__marks_and_order():
    record = rfm_record()
    record["choice"]["curve"].reverse()
    view = evidence.choice(record)
    assert [point.k for point in view.curve] == list(range(2, 11))
    assert view.curve[4].cells[1] == "chosen, knee"
    assert view.curve[2].cells[1] == "runner-up"
    assert view.grade == "Medium"
    assert view.lede == "6 segments were chosen from the numbers below; the runner-up was 4."


def test_choice__has_the_columns_that_were_measured():
    record = rfm_record()
    assert evidence.choice(record).header == (
        "Segments",
        "Mark",
        "Inertia",
        "Explained variance",
        "Silhouette",
        "Smallest segment",
    )
    assert [panel.name for panel in evidence.choice(record).panels] == ["inertia", "silhouette"]
    for point in record["choice"]["curve"]:
        point.update(gap=1.23456, gap_se=0.0123456, n_resamples=8, border_density=None)
    record["choice"]["votes"] = {"gap": 4}
    view = evidence.choice(record)
    assert view.header[6:] == ("Gap", "Gap: standard error", "Resamples")
    assert view.curve[0].cells[6:] == ("1.23", "0.0123", "8")
    assert [panel.said for panel in view.panels] == ["", "", "Alone it says 4."]


def test_choice__given_number():
    view = evidence.choice(table_record())
    assert view.lede == "The number of segments, 6, was given in the study."
    assert view.curve == ()
    assert view.grade is None


def test_waterfall__share_of_all_rows():
    view = evidence.waterfall(rfm_record())
    assert view is not None
    row = [plain(cell) for cell in view.rows[3]]
    assert row[0] == "No customer id"
    assert row[2:] == ["135,080", "25 %", "0", "1.45 million", "406,829"]
    assert evidence.waterfall(table_record()) is None


def test_accounting__adds_up_in_decimals():
    view = evidence.accounting(rfm_record())
    assert view is not None
    assert view.adds_up
    assert view.total == "9,747,747.934"
    assert [part[1] for part in view.parts[:3]] == [
        "8,278,519.424",
        "1,491,290.570",
        "−11,000.000",
    ]
    assert view.parts[2][0] == "Customers with returns only (34)"
    assert ("Set aside: manual adjustments", "−11,062.060", False) in [
        (label, amount, zero) for label, amount, _, zero in view.parts
    ]


def test_accounting__says_a_gap():
    record = rfm_record()
    record["accounting"]["total"] += 0.001
    view = evidence.accounting(record)
    assert view is not None
    assert not view.adds_up
    assert view.verdict == "The parts miss the total by −0.001."


def test_cut_points__columns_separate_the_same_scores():
    view = evidence.cut_points(rfm_record())
    assert view is not None
    assert [plain(cell) for cell in view.header] == [
        "Feature",
        "1 → 2",
        "2 → 3",
        "3 → 4",
        "4 → 5",
        "Best score",
    ]
    assert view.rows[0] == (
        "Days since last order (days)",
        "179",
        "71",
        "32",
        "13",
        "lowest values",
    )
    assert view.rows[1] == ("Orders", "1", "2", "3", "6", "highest values")
    assert evidence.cut_points(table_record()) is None


def test_preparation__in_words():
    view = evidence.preparation(rfm_record())
    assert view is not None
    assert view.rows[2] == (
        "Net spend",
        "3 set to 655",
        "kept between −3.2 and 18,000; 44 moved",
        "signed logarithm of 1 + size",
        "mean and standard deviation: minus 6.58, divided by 1.26",
    )


def test_preparation__nothing_done():
    record = rfm_record()
    record["prepare"] = [
        {"feature": "n_orders", "winsor": [None, None], "transform": "none", "scale": "none"}
    ]
    view = evidence.preparation(record)
    assert view is not None
    assert view.rows == (("Orders", "none", "as they are", "as it is", "as it is"),)


def test_glossary__only_words_of_this_report():
    assert "Label fit" in dict(evidence.glossary(rfm_record()))
    terms = dict(evidence.glossary(table_record()))
    assert "Label fit" not in terms
    assert "Silhouette" in terms


def test_run_facts__plain_pairs():
    facts = dict(evidence.run_facts(rfm_record()))
    assert facts["Run"] == "7f3c91ab20de"
    assert facts["Model"] == "kind kmeans, inertia 2,744.81, n passes 12, stopped by fixpoint"


# ── firmness ─────────────────────────────────────────────────────────────────
def test_firmness__says_what_was_measured():
    view = firmness.firmness(firm_record())
    assert view is not None
    row = view.rows[0]
    assert [plain(cell) for cell in row.cells] == ["0.5", "4 %", "−0.3", "0.2", "0.95"]
    assert view.header == ("Mean silhouette", "Below 0", "Least", "Median", "Jaccard")
    assert plain(row.silhouette_words) == "4 % below 0"
    assert plain(row.hover) == "S1 Champions: mean 0.5, 4 % below 0"
    assert row.jaccard_words == "0.95"
    assert view.sample == ""


def test_firmness__old_records_have_none():
    assert firmness.firmness(rfm_record()) is None
    assert firmness.moves(rfm_record()) is None
    record = firm_record()
    record["choice"]["moves"] = {"coarser": None, "finer": None}
    assert firmness.moves(record) is None


def test_firmness__a_segment_without_sampled_rows():
    record = firm_record()
    record["segments"][2].update(silhouette_quantiles=None, jaccard=None)
    record["choice"]["sample"] = {"rows": 100_000, "is_whole": False}
    view = firmness.firmness(record)
    assert view is not None
    assert view.sample == "Measured on a weighted sample of 100,000 customers."
    assert view.rows[2].silhouette_words == "none in the sample"
    assert [plain(cell) for cell in view.rows[2].cells] == ["0.46", "6 %", "–", "–", "–"]


def test_moves__sentences():
    view = firmness.moves(firm_record())
    assert view is not None
    assert view.coarser is not None
    assert view.coarser.title == "With 5 instead of 6 segments"
    assert [plain(line) for line in view.coarser.sentences] == [
        "S2 (55 % of 5a) and S1 (45 % of 5a) merge into 5a.",
        "Every segment stays together: at least 94 % of each in one segment.",
    ]
    assert view.finer is not None
    assert view.finer.title == "With 7 instead of 6 segments"
    assert [plain(line) for line in view.finer.sentences] == [
        "S1 ‘Champions’ splits: 60 % go to 7a and 40 % go to 7b.",
        "S2 ‘mostly Loyal’ splits: 80 % go to 7c and 20 % go to 7b.",
        "7b is put together from S1 (60 % of 7b) and S2 (40 % of 7b).",
        "S3, S4, S5 and S6 stay together: nearly all of each in one segment.",
    ]


def test_moves__every_number_of_a_sentence_stands_in_the_record():
    record = firm_record()
    view = firmness.moves(record)
    assert view is not None
    parts = [part for side in record["choice"]["moves"].values() for part in side["parts"]]
    known = {formats.percent(part[name]) for part in parts for name in ("of_segment", "of_other")}
    for side in view.sides:
        for sentence in side.sentences:
            for number in re.findall(r"(?:>\u00a0)?[\d.]+\u00a0%", sentence):
                assert number in known


def test_moves__many_splits_are_left_to_the_table():
    record = firm_record()
    parts = []
    for place in range(1, 7):
        size = record["segments"][place - 1]["share"]
        for letter, share in (("a", 0.55), ("b", 0.35), ("c", 0.05), ("d", 0.05)):
            of_segment = {"share": size * share, "of_segment": share, "of_other": 0.05}
            parts.append({"segment_id": f"S{place}", "other_id": f"7{letter}", **of_segment})
    record["choice"]["moves"] = {"coarser": None, "finer": {"k": 7, "parts": parts}}
    view = firmness.moves(record)
    assert view is not None
    assert view.coarser is None
    (side,) = view.sides
    # The four largest, in the order of the report; parts below a tenth are left out.
    assert [line[:2] for line in side.sentences[:4]] == ["S2", "S4", "S5", "S6"]
    assert plain(side.sentences[0]).endswith("splits: 55 % go to 7a and 35 % go to 7b.")
    assert side.sentences[4:] == ("More segments split; the table has them.",)
    assert len(side.flows) == 24


def test_moves__many_mixtures_are_left_to_the_table():
    record = firm_record()
    parts = []
    for place, letter in enumerate("abcdef", 1):
        # The last takes from its neighbour less than a tenth.
        moved = 0.02 + 0.01 * place
        of_other = 0.92 if letter == "f" else 0.8
        for segment, share, of_segment, taken in (
            (place, 0.2, 0.95, of_other),
            (place % 6 + 1, moved, 0.05, 1 - of_other + 0.03),
        ):
            numbers = {"share": share, "of_segment": of_segment, "of_other": taken}
            parts.append({"segment_id": f"S{segment}", "other_id": f"7{letter}", **numbers})
    record["choice"]["moves"] = {"finer": {"k": 7, "parts": parts}}
    view = firmness.moves(record)
    assert view is not None
    lines = view.sides[0].sentences
    assert [plain(line).split(" into ")[-1] for line in lines[:4]] == ["7b.", "7c.", "7d.", "7e."]
    assert lines[4] == "More are put together from several segments; the table has them."
    assert plain(lines[5]) == "Every segment stays together: at least 95 % of each in one segment."


def test_moves__a_segment_that_scatters():
    record = firm_record()
    parts = [
        {"segment_id": "S1", "other_id": f"7{letter}", "share": share, "of_segment": share,
         "of_other": 1.0}
        for letter, share in zip("abcdef", (0.55, 0.09, 0.09, 0.09, 0.09, 0.09), strict=True)
    ]  # fmt: skip
    record["choice"]["moves"] = {"finer": {"k": 7, "parts": parts}}
    view = firmness.moves(record)
    assert view is not None
    assert view.finer is not None
    assert [plain(line) for line in view.finer.sentences] == [
        "S1 ‘Champions’ scatters; its largest part: 55 % go to 7a."
    ]
