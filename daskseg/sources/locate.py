"""Where a value stands in the files of a source, for the message that refuses it.

Covers: file and row of the first places of a value, found by reading the files once more, and
only after an error. Does not cover: telling which values are wrong (see `sources.scan`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from daskseg.errors import BadValueError, DasksegError
from daskseg.sources.parse import read_piece
from daskseg.sources.plan import Plan, plan_source
from daskseg.sources.values import spellings

# About a gigabyte of text. Who has more data is told the value and the column only.
MAX_PIECES = 64
MAX_PLACES = 2


@contextmanager
def placing(
    source: str | Path | Sequence[str | Path],
    *,
    format: str | None = None,
    encoding: str = "utf-8",
    delimiter: str | None = None,
) -> Iterator[None]:
    """Add file and row to a `BadValueError` that is raised inside the ``with`` block.

    Parameters
    ----------
    source, format, encoding, delimiter
        As for `sources.readers.open_frames`.

    Raises
    ------
    BadValueError
        The one that came, its message longer.
    """
    try:
        yield
    except BadValueError as error:
        try:
            plan = plan_source(source, format=format, encoding=encoding, delimiter=delimiter)
            places = find_value(plan, error.column, error.value)
        except DasksegError:
            # The files have further faults: the first one is told.
            raise error from None
        if not places:
            raise
        where = " and in ".join(f"row {row:,} of {path!r}" for path, row in places)
        if len({path for path, _ in places}) < len(places):
            rows = " and ".join(f"{row:,}" for _, row in places)
            where = f"rows {rows} of {places[0][0]!r}"
        message = f"{error} {error.value!r} stands in {where}."
        raise BadValueError(message, error.column, error.value) from error


def find_value(plan: Plan, column: str, value: str) -> list[tuple[str, int]]:
    """Return file and row of the first two places of a value.

    Rows are counted from 1; in CSV the header is row 1, as spreadsheets show it.
    """
    places: list[tuple[str, int]] = []
    n_before: Counter[str] = Counter()
    for piece in plan.pieces[:MAX_PIECES]:
        first = 2 if piece.format == "csv" else 1
        for part in piece.parts:
            frame = read_piece(piece._replace(parts=(part,)))
            start = first + n_before[part.path]
            places += [(part.path, start + int(row)) for row in _rows_of(frame[column], value)]
            if len(places) >= MAX_PLACES:
                return places[:MAX_PLACES]
            n_before[part.path] += len(frame)
    return places


def _rows_of(column: pd.Series[Any], value: str) -> NDArray[np.intp]:
    distinct = [one for one in column.unique() if value in spellings(one)]
    return np.flatnonzero(column.isin(distinct))
