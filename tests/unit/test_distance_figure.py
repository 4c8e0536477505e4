"""The curve of distances, drawn."""

from __future__ import annotations

import numpy as np
import pytest
from bokeh.models import Line, Scatter, Text

from daskseg.charts.distances import distance_figure
from daskseg.errors import UsageError


def glyphs(plot, kind):
    return [one for one in plot.renderers if isinstance(one.glyph, kind)]


def test_distance_figure__shows_the_share_of_core_rows_at_each_distance():
    plot = distance_figure(np.array([1.0, 2.0, 2.0, 8.0]), knee=2)
    (line,) = glyphs(plot, Line)
    assert line.data_source.data["x"] == [0.25, 0.5, 0.75, 1.0]
    assert line.data_source.data["y"] == [1.0, 2.0, 2.0, 8.0]
    (dot,) = glyphs(plot, Scatter)
    assert (dot.data_source.data["x"], dot.data_source.data["y"]) == ([0.75], [2.0])
    (words,) = glyphs(plot, Text)
    (word,) = words.data_source.data["text"]
    assert "2" in word
    assert "75" in word
    assert plot.y_range.end > 8.0


def test_distance_figure__thins_long_curves_and_keeps_their_ends_and_the_knee():
    plot = distance_figure(np.arange(5_000.0), knee=4_321)
    heights = glyphs(plot, Line)[0].data_source.data["y"]
    assert len(heights) <= 1_002
    assert {0.0, 4_321.0, 4_999.0} <= set(heights)
    assert not glyphs(distance_figure([0.0, 0.0]), Scatter)


@pytest.mark.parametrize(
    ("distances", "knee", "words"),
    [([1.0], None, "two distances"), ([1.0, 2.0], 2, "knee=2 is no place among 2")],
)
def test_distance_figure__refuses_what_cannot_be_drawn(distances, knee, words):
    with pytest.raises(UsageError, match=words):
        distance_figure(distances, knee)
