"""What the sums of a step over rows with missing values mean.

Covers: the functions of `kernels.steps` for parts made by `kernels.partial`, where every
feature of a centre has a weight of its own.
"""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from daskseg.kernels.assign import StepGrid, StepPart
from daskseg.kernels.steps import square_of, sse_bound, unit, units_of

# Squares stand in the last column of either kind of part.
__all__ = ["mean_variance", "means_of", "quick_sse", "square_of", "sse_bound", "total_sse"]

Floats = NDArray[np.float64]


def _columns(part: StepPart) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    """Return sums and weights per feature, and squares, in units."""
    units = units_of(part)
    n_features = (units.shape[1] - 1) // 2
    return units[:, :n_features], units[:, n_features:-1], units[:, -1]


def _quotients(sums: NDArray[Any], weights: NDArray[Any], steps: StepGrid) -> Floats:
    """Divide, with one rounding; zero where there is no weight."""
    found = (sums / np.where(weights == 0, 1, weights)).astype(np.float64)
    shift = (steps.exponents[:-2] - steps.exponents[-2]).astype(np.int32)
    return np.asarray(np.ldexp(np.where((weights == 0).astype(bool), 0.0, found), shift))


def means_of(part: StepPart, steps: StepGrid) -> tuple[Floats, NDArray[np.bool_]]:
    """Return the mean of what is there of each centre's rows, and which have no value at all.

    A feature that no row of a centre has takes its mean over all rows.
    """
    sums, weights, _ = _columns(part)
    everywhere = _quotients(sums.sum(axis=0), weights.sum(axis=0), steps)
    own = _quotients(sums, weights, steps)
    nothing = np.asarray(weights == 0, dtype=bool)
    return steps.middle + np.where(nothing, everywhere, own), np.asarray(nothing.all(axis=1))


def total_sse(part: StepPart, steps: StepGrid, centres: Floats, square: Fraction) -> float:
    """Return the squared error over the values that are there, rounded once."""
    sums, weights, _ = _columns(part)
    scales = [unit(int(exponent)) for exponent in steps.exponents]
    total = square
    for j, centre in enumerate(centres):
        for f, value in enumerate(centre):
            moved = Fraction(float(value)) - Fraction(float(steps.middle[f]))
            inner = moved * scales[-2] * int(weights[j, f]) - 2 * scales[f] * int(sums[j, f])
            total += moved * inner
    return max(0.0, float(total))


def quick_sse(part: StepPart, steps: StepGrid, centres: Floats, square: Fraction) -> float:
    """Return the squared error of a step, for its history."""
    return total_sse(part, steps, centres, square)


def mean_variance(part: StepPart, steps: StepGrid, square: Fraction) -> float:
    """Return the mean squared deviation of a value that is there from its feature's mean."""
    sums, weights, _ = (column.sum(axis=0) for column in _columns(part))
    scale = unit(int(steps.exponents[-2]))
    total, mass = square, Fraction(0)
    for f, (own, weight) in enumerate(zip(sums, weights, strict=True)):
        if weight:
            total -= (unit(int(steps.exponents[f])) * int(own)) ** 2 / (scale * int(weight))
            mass += scale * int(weight)
    return max(0.0, float(total / mass)) if mass else 0.0
