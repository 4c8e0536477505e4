"""Naming schemes: each covers every score once, or says which it does not."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from daskseg.errors import UsageError
from daskseg.features.schemes import load_scheme, scheme_names

GRID = np.indices((5, 5, 5)).reshape(3, -1) + 1


def names_of(scheme: str) -> list[str]:
    return load_scheme(scheme).name_of(*GRID).tolist()


@pytest.mark.parametrize("name", scheme_names())
def test_load_scheme__covers_every_score_and_has_all_texts(name):
    scheme = load_scheme(name)
    assert scheme.name == name
    assert scheme.version
    assert scheme.title
    assert set(scheme.cells.tolist()) == set(range(len(scheme.names)))
    for entry in scheme.entries:
        assert all((entry.definition, entry.action, entry.channel, entry.kpi)), entry.name
        assert scheme.entry(entry.name) is entry


def test_rfm11__follows_its_table_cell_by_cell():
    # Columns: V below 2, 2, below 3.5, 3.5, 4, 4.5 and above.
    table = {
        5: ["New Customers"] * 2 + ["Potential Loyalist"] * 2 + ["Champions"] * 2,
        4: ["Promising"] + ["Potential Loyalist"] * 2 + ["Loyal"] * 2 + ["Champions"],
        3: ["About To Sleep"] * 2 + ["Need Attention"] + ["Loyal"] * 3,
        2: ["Hibernating"] * 2 + ["At Risk"] * 3 + ["Can't Lose Them"],
        1: ["Lost"] * 2 + ["At Risk"] * 3 + ["Can't Lose Them"],
    }
    edges = (2, 2.5, 3.5, 4, 4.5)
    for r, f, m, name in zip(*GRID, names_of("rfm11"), strict=True):
        column = sum((f + m) / 2 >= edge for edge in edges)
        assert name == table[r][column], (r, f, m)
    counts = Counter(names_of("rfm11"))
    assert counts["At Risk"] == 32
    assert counts["Potential Loyalist"] == 25
    assert counts["Loyal"] == 17
    assert counts["Need Attention"] == counts["Champions"] == 9
    assert len(counts) == 11


def test_rf10_grid__ignores_spend():
    names = np.array(names_of("rf10-grid")).reshape(5, 5, 5)
    assert (names == names[:, :, :1]).all()
    grid = names[:, :, 0]
    assert grid[4].tolist() == [
        "New Customers", "Potential Loyalists", "Potential Loyalists", "Champions", "Champions",
    ]  # fmt: skip
    assert grid[0].tolist() == [
        "Hibernating", "Hibernating", "At Risk", "At Risk", "Can't Lose Them",
    ]  # fmt: skip
    assert grid[2, 2] == "Need Attention"


def test_name_of__keeps_the_shape_of_its_input():
    scheme = load_scheme()
    assert scheme.name_of(np.array([]), np.array([]), np.array([])).shape == (0,)
    assert scheme.entry_of(np.array([5]), np.array([5]), np.array([5])).tolist() == [0]


def own_scheme(tmp_path, text: str):
    path = tmp_path / "own.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_load_scheme__takes_a_file_of_the_user(tmp_path):
    scheme = load_scheme(
        own_scheme(
            tmp_path,
            """
            [[segments]]
            name = "Good"
            rules = [{ r = [4, 5] }, { r = [3, 3], v = [3, 5] }]
            [[segments]]
            name = "Other"
            rules = [{ r = [1, 2] }, { r = [3, 3], v = [1, 2.5] }]
            """,
        )
    )
    assert scheme.name == "own"
    assert scheme.name_of(np.array([3, 3]), np.array([3, 2]), np.array([3, 3])).tolist() == [
        "Good", "Other",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            '[[segments]]\nname = "a"\nrules = [{ r = [2, 5] }]',
            r"exactly one name, but 25 scores have no name: R1F1M1, .*, R1F1M5, …\.",
        ),
        (
            """
            [[segments]]
            name = "a"
            rules = [{}]
            [[segments]]
            name = "b"
            rules = [{ r = [5, 5], f = [5, 5], m = [5, 5] }]
            """,
            r"1 scores have several: R5F5M5 \(R5F5M5 is 'a' and 'b'\)",
        ),
        ('[[segments]]\nname = "a"\nrules = [{}, { r = [1, 1] }]', "rules overlap on 25 scores"),
        ('[[segments]]\nname = "a"\nrules = [{ x = [1, 1] }]', "keys r, f, m and v, not 'x'"),
        ('[[segments]]\nname = "a"\nrules = [{ r = [0, 5] }]', "must rise from 1 to 5"),
        ('[[segments]]\nname = "a"\nrules = [{ r = [5, 1] }]', "must rise from 1 to 5"),
        ('[[segments]]\nname = "a"\nrules = [{ r = 5 }]', r"must be \[lowest, highest\]"),
        ("[[segments]]\nrules = [{}]", "segment 1 has no name"),
        ('[[segments]]\nname = "a"\ncolour = "red"', "key 'colour' is not known"),
        ('[[segments]]\nname = "a"\n[[segments]]\nname = "a"', "the name stands twice"),
        ("colour = 1", "key 'colour' is not known; a scheme has"),
        ("", r"has no \[\[segments\]\]"),
        ("= 1", "is not TOML"),
    ],
)
def test_load_scheme__says_what_is_wrong(tmp_path, text, message):
    with pytest.raises(UsageError, match=message):
        load_scheme(own_scheme(tmp_path, text))


def test_load_scheme__unknown_name_lists_the_known_ones():
    with pytest.raises(
        UsageError, match=r"'rfm12' is neither known nor a file. Known: 'rf10-grid'"
    ):
        load_scheme("rfm12")
