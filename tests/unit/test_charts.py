"""Small multiples of the criteria: which are drawn, with what words, limits and whiskers."""

from __future__ import annotations

import math

import numpy as np
import pytest
from bokeh.models import GridPlot, Line, Segment

from daskseg.charts import criteria, curves
from daskseg.charts.criteria import Picks
from daskseg.errors import UsageError
from daskseg.model_selection.criteria import limits


def row(k, **columns):
    return {"k": k, "inertia": 100.0 / k, "silhouette": 0.5, **columns}


def rows():
    return [
        row(1, silhouette=None, gap=0.1, stability=1.0),
        row(3, gap=0.4, gap_se=0.02, stability=0.9, stability_low=0.85, border_limit=0.5),
        row(2, gap=0.3, gap_se=0.01, stability=0.7, stability_low=math.nan, border_limit=0.4),
    ]


def by_name(picks=Picks(3)):  # noqa: B008 - a tuple
    return {panel.name: panel for panel in criteria.panels(rows(), picks)}


def test_panels__only_of_what_was_measured():
    assert list(by_name()) == ["inertia", "silhouette", "gap", "stability"]
    assert criteria.panels([], Picks(4)) == ()
    assert criteria.panels([row(1), row(2)], Picks(2)) == ()
    gaps = [row(2, gap=None), row(3, gap=1.0), row(4, gap=2.0)]
    found = {panel.name: panel for panel in criteria.panels(gaps, Picks(3))}
    assert found["gap"].ks == (3, 4)
    assert found["gap"].span == found["inertia"].span == (2, 4)


def test_panels__ascend_from_two_with_whiskers():
    found = by_name()
    assert found["gap"].ks == (2, 3)
    assert found["gap"].values == (0.3, 0.4)
    assert found["gap"].lows == pytest.approx((0.29, 0.38))
    assert found["gap"].highs == pytest.approx((0.31, 0.42))
    # The whisker of the agreement ends at its lowest; without one there is none.
    assert found["stability"].lows == (0.7, 0.85)
    assert found["stability"].highs == (0.7, 0.9)
    assert found["inertia"].lows == found["inertia"].values


def test_panels__a_limit_of_zero_is_a_limit():
    pair = [row(2, border_density=0.3, border_limit=0.0), row(3, border_density=0.2)]
    assert criteria.panels(pair, Picks(2))[-1].limits == ()
    pair[1]["border_limit"] = 0.5
    assert criteria.panels(pair, Picks(2))[-1].limits == (0.0, 0.5)


def test_panels__lines_are_those_of_the_rule():
    measured = [row(k, prediction_strength=0.9, stability=0.9, min_jaccard=0.7) for k in (2, 3)]
    found = {panel.name: panel.lines for panel in criteria.panels(measured, Picks(2))}
    assert found["prediction_strength"] == (limits.STRENGTH,)
    assert found["stability"] == (limits.STABLE,)
    assert found["min_jaccard"] == (limits.REFOUND, limits.VALID)


def test_panels__words():
    votes = {"gap": 1, "prediction_strength": None}
    found = by_name(Picks(3, runner_up=2, knee=3, votes=votes))
    assert found["inertia"].marks == {3: "knee, chosen"}
    assert found["silhouette"].marks == {3: "chosen", 2: "runner-up"}
    assert found["gap"].said == "Alone it says 1: no clusters."
    assert found["gap"].hovers == ("2 segments: 0.3 ± 0.01", "3 segments: 0.4 ± 0.02")
    assert found["stability"].hovers == ("2 segments: 0.7", "3 segments: 0.9, lowest 0.85")
    assert by_name()["gap"].said == ""


def test_panel_figure__draws_line_whiskers_and_limits():
    found = by_name()
    glyphs = [type(one.glyph) for one in curves.panel_figure(found["gap"]).renderers]
    assert glyphs.count(Segment) == 1
    plot = curves.panel_figure(found["stability"])
    dashed = [
        one for one in plot.renderers if isinstance(one.glyph, Line) and one.glyph.line_dash == [6]
    ]
    assert [one.data_source.data["y"] for one in dashed] == [[0.8, 0.8]]
    assert Segment not in [
        type(one.glyph) for one in curves.panel_figure(found["inertia"]).renderers
    ]


@pytest.mark.parametrize("seed", range(3))
def test_panel_figure__words_stay_inside_and_apart(seed):
    random = np.random.default_rng(seed)
    curve = [row(k, silhouette=float(random.random())) for k in range(2, 12)]
    picks = Picks(int(random.integers(2, 12)), runner_up=int(random.integers(2, 12)))
    panel = criteria.panels(curve, picks)[1]
    room = max(panel.values) - min(panel.values)
    written = []
    for k in panel.marks:
        box = curves._clear_box(panel, panel.ks.index(k), room, written)
        assert panel.span[0] - 0.6 <= box.left < box.right <= panel.span[1] + 0.6
        assert all(
            other.right <= box.left
            or box.right <= other.left
            or abs(other.height - box.height) >= curves.WORD_HEIGHT * room
            for other in written
        )
        written.append(box)


def test_grid__titles_and_what_cannot_be_drawn():
    drawn = curves.grid(criteria.panels(rows(), Picks(3)), n_columns=2)
    assert isinstance(drawn, GridPlot)
    assert [place[1:3] for place in drawn.children] == [(0, 0), (0, 1), (1, 0), (1, 1)]
    assert drawn.children[2][0].title.text == "Gap to data without structure"
    with pytest.raises(UsageError, match="fewer than two numbers of clusters"):
        curves.grid(())
