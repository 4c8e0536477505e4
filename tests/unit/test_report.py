"""The page of the report: blocks by kind, escaping, no network, same bytes."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser

import pytest
from bokeh.models import Patches, Rect, Scatter

from daskseg.errors import ArtifactError
from daskseg.model_selection.criteria import limits
from daskseg.report import render_html, write_report
from daskseg.report.embed import bokeh_script, figure_document
from daskseg.report.figures import heat_figure, size_figure
from daskseg.report.firmness import firmness, moves
from daskseg.report.flows import (
    JACCARD_LINES,
    MIN_SHARE,
    jaccards_figure,
    moves_figure,
    silhouettes_figure,
)
from daskseg.report.maps import feature_map
from daskseg.report.markup import Html, data_table, join, script_json, tag
from daskseg.report.palette import (
    SEGMENT_COLOURS,
    contrast,
    diverging,
    ink_on,
    segment_colour,
    sequential,
)
from daskseg.report.views import size
from tests.report_records import firm_record, rfm_record, table_record

MAX_BYTES = 5 * 10**6
EVIL = "</script><script>alert(1)</script><img src=x onerror=alert(2)>\"'&$$x$$"
#: The surfaces and inks of report.css, light and dark.
SCHEMES = (("#ffffff", "#1c2430"), ("#1a1e24", "#e6e9ed"))
RFM_BLOCKS = [
    "segments",
    "size",
    "map",
    "choice",
    "cleaning",
    "rules",
    "definitions",
    "preparation",
    "notices",
    "profile",
    "glossary",
    "run",
]


class _Page(HTMLParser):
    """Collects what a test asks for; scripts and styles stay apart from the text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.words: list[str] = []
        self.scripts: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in ("meta", "br", "hr", "col"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] in ("script", "style"):
            self.scripts.append(data)
        else:
            self.words.append(data)

    def ids(self, tag: str) -> list[str]:
        return [attrs["id"] or "" for name, attrs in self.tags if name == tag and "id" in attrs]

    def text(self) -> str:
        return "".join(self.words).replace("\u00a0", " ")


@pytest.fixture(scope="module")
def rfm_page() -> str:
    return render_html(rfm_record())


def test_render_html__blocks_in_reading_order(rfm_page):
    assert _Page(rfm_page).ids("section") == RFM_BLOCKS


def test_render_html__draws_only_what_the_record_has():
    page = _Page(render_html(table_record()))
    absent = {"cleaning", "rules", "preparation", "notices"}
    assert page.ids("section") == [name for name in RFM_BLOCKS if name not in absent]
    figures = {"figure-size", "figure-map"}
    assert {name for name in page.ids("div") if name.startswith("figure-")} == figures
    data = json.loads(next(script for script in page.scripts if '"roots"' in script))
    assert set(data["roots"].values()) == figures
    assert "spend" not in page.text().lower().split("the segments")[0]


def test_render_html__first_screen_answers_who_how_many_how_much_what_to_do(rfm_page):
    words = _Page(rfm_page).text()
    first = words.index("6 segments: 14 % of customers bring 59 % of spend.")
    assert first < words.index("£8.28 million") < words.index("label fit 74 %")
    assert words.index("Reward and ask for referrals") < words.index("Size against value")


def test_render_html__every_chart_has_a_text_and_a_table(rfm_page):
    page = _Page(rfm_page)
    charts = [attrs for name, attrs in page.tags if name == "div" and attrs.get("class") == "chart"]
    assert len(charts) == 5
    assert all(attrs["role"] == "img" and attrs["aria-label"] for attrs in charts)
    assert page.text().count("The numbers as a table") == 4  # both curves share one


def test_render_html__tables_have_captions_and_heads(rfm_page):
    page = _Page(rfm_page)
    names = [name for name, _ in page.tags]
    assert names.count("caption") == names.count("table") == names.count("thead")
    assert all(attrs.get("scope") in ("row", "col") for name, attrs in page.tags if name == "th")


def test_render_html__menu_links_lead_somewhere(rfm_page):
    page = _Page(rfm_page)
    links = [attrs["href"] or "" for name, attrs in page.tags if name == "a"]
    assert "#cleaning" in links
    assert all(link[0] == "#" and link[1:] in page.ids("section") for link in links)
    assert ">Size and value</a>" in rfm_page
    assert ">Size and value</a>" not in render_html(table_record())


def test_render_html__makes_no_request(rfm_page):
    page = _Page(rfm_page)
    for name, attrs in page.tags:
        assert name not in ("link", "iframe", "object", "embed", "base")
        assert not {"src", "srcset", "data", "action", "poster", "background"} & set(attrs)
        assert (attrs.get("href") or "#").startswith("#")
        assert "url(" not in (attrs.get("style") or "")
    style = re.search(r"<style>(.*?)</style>", rfm_page, re.DOTALL)
    assert style is not None
    assert "@import" not in style[1]
    assert "url(" not in style[1]


def test_render_html__policy_forbids_the_network(rfm_page):
    policy = next(
        attrs["content"] or ""
        for _, attrs in _Page(rfm_page).tags
        if attrs.get("http-equiv") == "Content-Security-Policy"
    )
    assert policy.startswith("default-src 'none'")
    assert "http" not in policy
    assert "connect-src" not in policy


def test_render_html__stays_below_the_budget_for_the_largest_study():
    record = rfm_record()
    feature, segment = record["features"][0], record["segments"][0]
    record["features"] = [{**feature, "name": f"f{i}", "label": f"Feature {i}"} for i in range(100)]
    rows = [{**segment["features"][0], "feature": f"f{i}"} for i in range(100)]
    record["segments"] = [
        {
            **segment,
            "segment_id": f"S{i}",
            "name": "A long name " * 6,
            "features": rows,
            "silhouette_quantiles": [0.123456789012345 + i * step for step in range(101)],
            "jaccard": 0.123456789012345,
        }
        for i in range(1, 21)
    ]
    part = {"share": 1 / 420, "of_segment": 1 / 21, "of_other": 1 / 20}
    parts = [
        {"segment_id": f"S{i}", "other_id": f"21{letter}", **part}
        for i in range(1, 21)
        for letter in "abcdefghijklmnopqrstu"
    ]
    record["choice"]["moves"] = {"coarser": None, "finer": {"k": 21, "parts": parts}}
    assert len(render_html(record).encode()) < MAX_BYTES


def test_render_html__one_segment_one_point_no_extras():
    record = table_record()
    record["segments"] = record["segments"][:1]
    record["segments"][0].update(share=1.0, features=[], sentence="")
    record["choice"] = {"k": 1, "mode": "auto", "curve": [{"k": 1, "inertia": 0.0}]}
    page = _Page(render_html(record))
    assert "map" not in page.ids("section")
    assert "profile" not in page.ids("section")
    assert "figure-inertia" not in page.ids("div")


def _spoil(value):
    """Put markup into every text of a record that is neither an id nor a code word."""
    codes = {"kind", "segment_id", "name_kind", "mode", "role", "step", "feature", "value_feature"}
    codes |= {"transform", "scale", "first_date", "last_date", "unit"}
    if isinstance(value, dict):
        return {key: part if key in codes else _spoil(part) for key, part in value.items()}
    if isinstance(value, list):
        return [_spoil(part) for part in value]
    return value + EVIL if isinstance(value, str) else value


def test_render_html__escapes_every_text_of_the_record(rfm_page):
    record = _spoil(rfm_record())
    for spoiled_one, feature in zip(record["features"], rfm_record()["features"], strict=True):
        spoiled_one["name"] = feature["name"]
    spoiled, clean = _Page(render_html(record)), _Page(rfm_page)
    assert [name for name, _ in spoiled.tags].count("script") == 3
    assert not [name for name, _ in spoiled.tags if name == "img"]
    assert not [attrs for _, attrs in spoiled.tags if any(key.startswith("on") for key in attrs)]
    assert spoiled.ids("section") == clean.ids("section")
    assert record["title"] in "".join(spoiled.words)


def test_render_html__names_are_not_read_as_tex():
    record = rfm_record()
    record["segments"][0]["name"] = "$$x$$"
    page = _Page(render_html(record))
    data = json.loads(next(script for script in page.scripts if '"roots"' in script))
    words = json.dumps(data["document"], ensure_ascii=False)
    texts = re.findall(r'"text", (\[[^\]]*\])', words)
    assert any("$\u2060$x" in found for found in texts)
    assert not any("$$" in found for found in texts)


def test_render_html__same_record_same_bytes(rfm_page):
    # A second page in the same process: Bokeh counts its ids on.
    assert render_html(rfm_record()) == rfm_page


@pytest.mark.parametrize("seed", ["1", "2"])
def test_render_html__same_bytes_in_another_process(rfm_page, seed):
    script = (
        "import hashlib\n"
        "from daskseg.report import render_html\n"
        "from tests.report_records import firm_record, rfm_record\n"
        "print(hashlib.sha256(render_html(rfm_record()).encode()).hexdigest())\n"
    )
    found = subprocess.run(
        [sys.executable, "-c", script],
        env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": os.pathsep.join(sys.path)},
        check=True,
        capture_output=True,
        text=True,
    )
    assert found.stdout.strip() == hashlib.sha256(rfm_page.encode()).hexdigest()


def test_render_html__does_not_change_the_record():
    record = rfm_record()
    render_html(record)
    assert record == rfm_record()


def test_render_html__refuses_another_format():
    with pytest.raises(ArtifactError, match="format version 2; this daskseg draws version 1"):
        render_html({**rfm_record(), "format_version": 2})


def test_render_html__refuses_a_record_cut_short():
    record = rfm_record()
    del record["segments"]
    with pytest.raises(ArtifactError, match="no 'segments'"):
        render_html(record)


def test_write_report__writes_the_page_and_nothing_else(tmp_path, rfm_page):
    path = tmp_path / "report.html"
    path.write_text("old")
    write_report(rfm_record(), path)
    assert path.read_text(encoding="utf-8") == rfm_page
    assert [found.name for found in tmp_path.iterdir()] == ["report.html"]


def test_write_report__keeps_the_old_page_when_the_record_is_bad(tmp_path):
    path = tmp_path / "report.html"
    path.write_text("old")
    with pytest.raises(ArtifactError, match="format version"):
        write_report({}, path)
    assert path.read_text() == "old"


def test_render_html__draws_the_firmness_of_segments():
    record = firm_record()
    page = _Page(render_html(record))
    blocks = page.ids("section")
    assert blocks[blocks.index("choice") :][:3] == ["choice", "firm", "moves"]
    figures = {name for name in page.ids("div") if name.startswith("figure-")}
    assert {"figure-silhouettes", "figure-jaccards", "figure-moves"} <= figures
    assert ">Firmness</a>" in render_html(record)
    data = json.loads(next(script for script in page.scripts if '"roots"' in script))
    assert set(data["roots"].values()) == figures


@pytest.mark.parametrize("key", ["silhouette_quantiles", "jaccard"])
def test_render_html__firmness_without_one_of_its_parts(key):
    record = firm_record()
    for segment in record["segments"]:
        segment[key] = None
    record["choice"]["moves"]["finer"] = None
    page = _Page(render_html(record))
    figures = {name for name in page.ids("div") if name.startswith("figure-")}
    names = {"silhouette_quantiles": "figure-jaccards", "jaccard": "figure-silhouettes"}
    assert {"figure-jaccards", "figure-silhouettes"} & figures == {names[key]}
    assert "With 5 instead of 6 segments" in page.text()
    assert "With 7 instead of 6 segments" not in page.text()


def test_silhouettes_figure__areas_are_the_quantiles_from_the_largest():
    view = firmness(firm_record())
    assert view is not None
    plot = silhouettes_figure(view)
    assert plot is not None
    areas = next(one for one in plot.renderers if isinstance(one.glyph, Patches)).data_source.data
    assert areas["x"][0] == [0.0, *reversed(view.rows[0].quantiles), 0.0]
    heights = areas["y"][0]
    assert heights == sorted(heights, reverse=True)
    assert len({*heights}) == 101


def test_jaccards_figure__has_the_lines_of_the_rule():
    assert JACCARD_LINES == (limits.REFOUND, limits.VALID)
    record = firm_record()
    record["segments"][1]["jaccard"] = None
    view = firmness(record)
    assert view is not None
    plot = jaccards_figure(view)
    dots = next(one for one in plot.renderers if isinstance(one.glyph, Scatter)).data_source.data
    assert dots["x"] == [segment["jaccard"] for segment in record["segments"] if segment["jaccard"]]


@pytest.mark.parametrize("sides", [("coarser", "finer"), ("coarser",), ("finer",)])
def test_moves_figure__bars_are_filled_by_their_ribbons(sides):
    record = firm_record()
    found = record["choice"]["moves"]
    record["choice"]["moves"] = {name: found[name] for name in sides}
    view = moves(record)
    assert view is not None
    renderers = moves_figure(view).renderers
    ribbons = next(one for one in renderers if isinstance(one.glyph, Patches)).data_source.data
    bars = [one.data_source.data for one in renderers if isinstance(one.glyph, Rect)]
    assert [len(bar["x"]) for bar in bars] == [6, *(found[name]["k"] for name in sides)]
    for bar in bars:
        assert sum(bar["height"]) == pytest.approx(1.0)
    shares = [part["share"] for name in sides for part in found[name]["parts"]]
    assert len(ribbons["x"]) == sum(share >= MIN_SHARE for share in shares)
    ends = sorted(
        (max(y[0], y[-1]), min(y[0], y[-1]))
        for x, y in zip(ribbons["x"], ribbons["y"], strict=True)
        if "finer" in sides and x[0] >= bars[0]["x"][0]
    )
    # Beside their bars, ribbons neither overlap nor leave a gap in a bar.
    for (_, low), (top, _) in zip(ends[1:], ends[:-1], strict=True):
        assert low >= top - 1e-4


@pytest.mark.browser
def test_write_report__draws_every_chart_in_a_browser(tmp_path):
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    if browser is None:
        pytest.skip("no chromium on this machine")
    path = tmp_path / "report.html"
    write_report(firm_record(), path)
    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-sync"]
    flags += ["--disable-background-networking", "--disable-component-update"]
    flags += [f"--user-data-dir={tmp_path / 'profile'}", "--virtual-time-budget=5000"]
    found = subprocess.run(
        [browser, *flags, "--dump-dom", path.as_uri()],
        check=True,
        capture_output=True,
        text=True,
        timeout=120,
    )
    page = _Page(found.stdout)
    assert dict(page.tags)["html"].get("data-drawn") == "yes"
    drawn = [attrs for name, attrs in page.tags if "bk-Figure" in (attrs.get("class") or "")]
    assert len(drawn) == 8


def test_figure_document__counts_its_ids_from_zero():
    view = size(rfm_record())
    first = figure_document({"a": size_figure(view)})
    second = figure_document({"a": size_figure(view)})
    assert first == second
    assert list(first["roots"].values()) == ["a"]
    assert set(first["roots"]) == {first["document"]["roots"][0]["id"]}


def test_figures__no_toolbar_no_logo_narrow_enough():
    view = feature_map(rfm_record())
    assert view is not None
    plot = heat_figure(view)
    assert plot.toolbar_location is None
    assert plot.toolbar.logo is None
    assert plot.sizing_mode == "stretch_width"
    assert plot.min_width == 48 * 6  # six segments fit 420 pixels with their frame


def test_bokeh_script__cannot_end_its_element():
    assert "</script" not in bokeh_script()


def test_tag__escapes_text_and_attributes():
    assert tag("p", "<b>", title='"x"') == '<p title="&quot;x&quot;">&lt;b&gt;</p>'
    assert tag("p", Html("<b>"), None, ["a", Html("&amp;")]) == "<p><b>a&amp;</p>"
    assert tag("td", "x", class_=None, hidden=True, aria_label="y", tabindex=0) == (
        '<td hidden aria-label="y" tabindex="0">x</td>'
    )
    assert tag("meta", name="a") == '<meta name="a">'
    assert join(None) == ""


def test_data_table__words_left_numbers_right():
    table = data_table("c", ["a", "b", "c"], [["x", "w", "1"]], words=(1,))
    assert '<th scope="row">x</th><td>w</td><td class="number">1</td>' in table


def test_script_json__cannot_end_a_script():
    assert script_json({"a": "</script><!--&"}) == (
        '{"a":"\\u003c/script\\u003e\\u003c!--\\u0026"}'
    )


def test_segment_colour__is_bound_to_the_id():
    assert segment_colour("S1") == SEGMENT_COLOURS[0]
    assert segment_colour("S20") == SEGMENT_COLOURS[19]
    assert segment_colour("S21") == SEGMENT_COLOURS[0]
    assert segment_colour("S0") not in {segment_colour(f"S{i}") for i in range(1, 17)}
    assert segment_colour("other") == segment_colour("other")
    assert len(set(SEGMENT_COLOURS)) == 20


@pytest.mark.parametrize("colour", SEGMENT_COLOURS)
def test_palette__segments_stand_out_in_both_schemes(colour):
    assert contrast(ink_on(colour), colour) >= 4.5
    for surface, _ in SCHEMES:
        assert contrast(colour, surface) >= 3.0


def _blend(colour: str, opacity: float, surface: str) -> str:
    parts = zip(
        *([int(c[i : i + 2], 16) for i in (1, 3, 5)] for c in (colour, surface)), strict=True
    )
    return "#" + "".join(f"{round(a * opacity + b * (1 - opacity)):02x}" for a, b in parts)


@pytest.mark.parametrize(("surface", "ink"), SCHEMES)
@pytest.mark.parametrize("heat", [diverging(-1), diverging(1), sequential(1), diverging(None)])
def test_palette__ink_is_readable_on_every_heat(surface, ink, heat):
    assert contrast(ink, _blend(*heat, surface)) >= 4.5


def test_contrast__black_on_white_is_21():
    assert contrast("#000000", "#ffffff") == pytest.approx(21.0)
    assert contrast("#767676", "#ffffff") == pytest.approx(4.54, abs=0.01)
