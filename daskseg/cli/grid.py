"""Tables in plain text: aligned columns that survive a log, a pipe and a copy."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence

MAX_WIDTH = 60


def grid(heads: Sequence[str], rows: Sequence[Sequence[str]], align: str) -> list[str]:
    """Lay out rows under heads, two spaces between columns.

    Parameters
    ----------
    heads : sequence of str
    rows : sequence of sequence of str
        Each as long as `heads`. Cells above 60 columns are cut, but in the last column.
    align : str
        One letter per column: l or r.

    Examples
    --------
    >>> for line in grid(["name", "n"], [["a", "1"], ["bcd", "12"]], "lr"):
    ...     print(line)
    name   n
    a      1
    bcd   12
    """
    cells = [[*map(_cut, row[:-1]), row[-1]] for row in (heads, *rows)]
    widths = [max(map(_width, column)) for column in zip(*cells, strict=True)]
    return ["  ".join(map(_pad, row, widths, align)).rstrip() for row in cells]


def _width(cell: str) -> int:
    """Return how many terminal columns a text takes: East Asian letters take two."""
    wide = sum(unicodedata.east_asian_width(letter) in "WF" for letter in cell)
    combining = sum(unicodedata.combining(letter) > 0 for letter in cell)
    return len(cell) + wide - combining


def _cut(cell: str) -> str:
    if _width(cell) <= MAX_WIDTH:
        return cell
    while _width(cell) >= MAX_WIDTH:
        cell = cell[:-1]
    return f"{cell}…"


def _pad(cell: str, width: int, side: str) -> str:
    space = " " * (width - _width(cell))
    return space + cell if side == "r" else cell + space
