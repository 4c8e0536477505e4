from __future__ import annotations

from daskseg.cli.grid import grid


def test_grid__aligns_wide_and_combining_letters():
    lines = grid(["n", "x"], [["東京", "1"], ["e\u0301a", "20"]], "lr")
    assert lines == ["n      x", "東京   1", "e\u0301a    20"]


def test_grid__cuts_long_cells_but_not_the_last():
    lines = grid(["a", "b"], [["x" * 61, "y" * 90]], "ll")
    assert lines[1] == "x" * 59 + "…  " + "y" * 90


def test_grid__drops_spaces_at_the_end_of_lines():
    assert grid(["a", "b"], [["1", ""]], "ll") == ["a  b", "1"]
