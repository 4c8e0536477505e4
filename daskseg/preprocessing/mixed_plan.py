"""What turns a part of a table into numbers: ranks, indicators, components.

Covers: the plan that `MixedEncoder` learns, and its use on a part. Does not cover: learning it (see
`preprocessing.mixed`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from daskseg.kernels import categories
from daskseg.kernels.categories import Codes
from daskseg.kernels.prepare import FeaturePlan, prepared_names
from daskseg.preprocessing.prepare import prepare_rows

Floats = NDArray[np.float64]


def objects_of(frame: pd.DataFrame, names: list[str]) -> NDArray[Any]:
    """Return columns of a table as objects."""
    columns = [frame[name].astype(object).to_numpy() for name in names]
    found = np.empty((len(frame), len(names)), dtype=object)
    for place, column in enumerate(columns):
        found[:, place] = column
    return found


@dataclass(frozen=True)
class Ranks:
    """Levels of an ordinal column, and the number that stands for each."""

    name: str
    values: dict[str, float]


@dataclass(frozen=True, eq=False)
class Indicators:
    """Categories of a column, their shares, and the scale of their indicators."""

    name: str
    places: dict[str, int]
    shares: Floats
    scale: float


@dataclass(frozen=True, eq=False)
class Hashed:
    """Columns of many categories: buckets, and what a bucket adds to each component."""

    names: tuple[str, ...]
    n_buckets: int
    loadings: Floats
    center: Floats

    def codes(self, values: NDArray[Any]) -> list[Codes]:
        """Return the bucket of each value, per column."""
        return [categories.hashed_codes(column, self.n_buckets) for column in values.T]


@dataclass(frozen=True, eq=False)
class MixedPlan:
    """All that turns a part of a table into numbers."""

    numeric: tuple[str, ...]
    steps: tuple[FeaturePlan, ...]
    missing: str
    numeric_scale: float
    ranks: tuple[Ranks, ...]
    indicators: tuple[Indicators, ...]
    hashed: Hashed | None

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the columns that come out."""
        names = [*prepared_names(self.steps), *(one.name for one in self.ranks)]
        names += [f"{one.name}={text}" for one in self.indicators for text in one.places]
        if self.hashed is not None:
            names += [f"high_cardinality{i}" for i in range(self.hashed.loadings.shape[1])]
        return tuple(names)

    def encode(self, frame: pd.DataFrame) -> Floats:
        """Turn a part of a table into numbers."""
        parts = [np.empty((len(frame), 0))]
        if self.numeric:
            values = frame[list(self.numeric)].to_numpy(dtype=np.float64, na_value=np.nan)
            parts.append(prepare_rows(values, self.steps, self.missing) * self.numeric_scale)
        for one in self.ranks:
            codes, texts = categories.codes_of(objects_of(frame, [one.name])[:, 0])
            numbers = np.array([one.values.get(text, 0.0) for text in texts])
            parts.append(numbers[codes][:, None])
        for each in self.indicators:
            codes = categories.known_codes(objects_of(frame, [each.name])[:, 0], each.places)
            parts.append(categories.indicators(codes, each.shares, each.scale))
        if self.hashed is not None:
            parts.append(self._components(frame, self.hashed))
        return np.hstack(parts)

    @staticmethod
    def _components(frame: pd.DataFrame, hashed: Hashed) -> Floats:
        found = np.tile(-hashed.center, (len(frame), 1))
        for place, codes in enumerate(hashed.codes(objects_of(frame, list(hashed.names)))):
            found += hashed.loadings[place * hashed.n_buckets + codes]
        return found
