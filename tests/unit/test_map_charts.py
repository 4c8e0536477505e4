"""Charts of maps: what is drawn, in which colours and order, and what is refused."""

from __future__ import annotations

import json

import numpy as np
import pytest
from bokeh.embed import json_item
from bokeh.models import ImageRGBA, Scatter, Text

from daskseg.charts.maps import density_figure, map_figure
from daskseg.errors import UsageError

PLACES = np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 2.0], [1.0, 2.0], [9.0, 9.0]])
LABELS = np.array([0, 0, 1, 1, -1])


def renderers(plot, kind):
    return [one for one in plot.renderers if isinstance(one.glyph, kind)]


def test_map__points_names_and_colours():
    plot = map_figure(PLACES, LABELS, names={0: "Loyal"}, colours={1: "#102030"})
    (points,) = renderers(plot, Scatter)
    data = points.data_source.data
    drawn = dict(
        zip(zip(data["x"].tolist(), data["y"].tolist(), strict=True), data["ink"], strict=True)
    )
    assert drawn[0.0, 2.0] == drawn[1.0, 2.0] == "#102030"
    assert drawn[9.0, 9.0] == "#788088"
    assert drawn[0.0, 0.0] not in ("#102030", "#788088")
    assert "Loyal: 2 rows drawn" in data["hover"]
    assert "No segment: 1 rows drawn" in data["hover"]
    (names,) = renderers(plot, Text)
    assert names.data_source.data["text"] == ["Loyal", "1"]
    assert names.data_source.data["y"] == [0.0, 2.0]


def test_map__segments_take_turns():
    labels = np.repeat([0, 1], [100, 100])
    plot = map_figure(np.random.default_rng(0).normal(size=(200, 2)), labels)
    inks = renderers(plot, Scatter)[0].data_source.data["ink"]
    assert len(set(inks[:2])) == len(set(inks[-2:])) == 2


def test_map__without_labels_and_of_one_place():
    plot = map_figure(np.zeros((3, 2)))
    assert not renderers(plot, Text)
    assert plot.x_range.start < 0 < plot.x_range.end


def test_map__of_5000_points_is_small():
    places = np.random.default_rng(0).normal(size=(5_000, 2))
    plot = map_figure(places, np.arange(5_000) % 8)
    assert len(json.dumps(json_item(plot))) < 1_000_000


def test_density__shades_mix_the_colours_of_the_rows():
    counts = np.zeros((2, 4, 4), np.int64)
    counts[0, 0, 0] = 10
    counts[:, 3, 2] = 1
    plot = density_figure(counts, (0, 0), (8, 4), colours={0: "#000000", 1: "#ffffff"})
    (drawn,) = renderers(plot, ImageRGBA)
    picture = drawn.data_source.data["image"][0].view(np.uint8).reshape(4, 4, 4)
    assert picture[0, 0].tolist() == [0, 0, 0, 255]
    assert picture[3, 2, :3].tolist() == [128, 128, 128]
    assert 0 < picture[3, 2, 3] < 255
    assert picture[1, 1, 3] == 0
    (names,) = renderers(plot, Text)
    assert names.data_source.data["text"] == ["0", "1"]
    assert names.data_source.data["x"] == [1.0, 5.0]
    assert names.data_source.data["y"] == [0.5, 3.5]


def test_density__of_many_cells_keeps_every_row():
    counts = np.ones((1, 1_024, 1_024), np.int64)
    plot = density_figure(counts, (0, 0), (1, 1))
    assert renderers(plot, ImageRGBA)[0].data_source.data["image"][0].shape == (256, 256)
    assert len(json.dumps(json_item(plot))) < 1_000_000


@pytest.mark.parametrize(
    ("draw", "match"),
    [
        (lambda: map_figure(np.ones((3, 3))), "two columns"),
        (lambda: map_figure(np.ones((3, 2)), np.ones(2)), "one label for each row"),
        (lambda: map_figure(np.ones((0, 2))), "two columns"),
        (lambda: density_figure(np.ones((2, 3, 4)), (0, 0), (1, 1)), "a square of cells"),
        (lambda: density_figure(np.ones((2, 3, 3)), (0, 0), (1, 1), np.arange(3)), "a square"),
    ],
)
def test_maps__refuse_what_does_not_fit(draw, match):
    with pytest.raises(UsageError, match=match):
        draw()
