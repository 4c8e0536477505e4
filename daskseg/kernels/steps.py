"""What the exact sums of a Lloyd step mean: next centres, squared errors, and how far they moved.

Covers: finishing a `StepPart` of all rows, on the driver, in integers and rationals that are
rounded once. Does not cover: making it (see `kernels.assign`).
"""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from daskseg.kernels.assign import GRID_BITS, StepGrid, StepPart
from daskseg.kernels.moments import Extent

Floats = NDArray[np.float64]


def units_of(part: StepPart) -> NDArray[Any]:
    """Return the sums as Python integers, shape (n_centres, n_features + 2)."""
    wide = part.units.astype(object)
    return np.asarray(wide[..., 0] * 2**32 + wide[..., 1])


def unit(exponent: int) -> Fraction:
    """Return the value of one unit on a grid."""
    shift = GRID_BITS - exponent
    return Fraction(1, 2**shift) if shift >= 0 else Fraction(2**-shift)


def weights_of(part: StepPart, steps: StepGrid) -> list[Fraction]:
    """Return the exact sum of weights of each centre."""
    scale = unit(int(steps.exponents[-2]))
    return [scale * int(units) for units in units_of(part)[:, -2]]


def means_of(part: StepPart, steps: StepGrid) -> tuple[Floats, NDArray[np.bool_]]:
    """Return the mean of each centre's rows, and which centres have no weight.

    Python divides integers of any length with one rounding; a second one adds the middle.

    Returns
    -------
    means : ndarray of shape (n_centres, n_features), float64
        The middle where there is no weight.
    is_empty : ndarray of shape (n_centres,), bool
    """
    units = units_of(part)
    weights = units[:, -2]
    is_empty = np.asarray(weights == 0, dtype=bool)
    quotients = (units[:, :-2] / np.where(is_empty, 1, weights)[:, None]).astype(np.float64)
    quotients[is_empty] = 0.0
    shift = steps.exponents[:-2] - steps.exponents[-2]
    return steps.middle + np.ldexp(quotients, shift.astype(np.int32)), is_empty


def sse_of(part: StepPart, steps: StepGrid, centres: Floats) -> list[Fraction]:
    """Return the squared error of each centre over the rows summed for it.

    Parameters
    ----------
    part : StepPart
        With squares.
    steps : StepGrid
    centres : ndarray of shape (n_centres, n_features), float64
        Any; distances are taken from them.

    Returns
    -------
    list of Fraction
        Exact for the sums on the grid, so that it may be negative by their roundings.
    """
    square = unit(int(steps.exponents[-1]))
    units = units_of(part)
    return [
        square * int(row[-1]) + _cross_term(row, steps, centre)
        for row, centre in zip(units, centres, strict=True)
    ]


def _cross_term(units: NDArray[Any], steps: StepGrid, centre: Floats) -> Fraction:
    """Return what the centre adds to the sum of squares about the middle."""
    weight = unit(int(steps.exponents[-2])) * int(units[-2])
    total = Fraction(0)
    for f, value in enumerate(centre):
        moved = Fraction(float(value)) - Fraction(float(steps.middle[f]))
        total += moved * (moved * weight - 2 * unit(int(steps.exponents[f])) * int(units[f]))
    return total


def total_sse(part: StepPart, steps: StepGrid, centres: Floats, square: Fraction) -> float:
    """Return the squared error over all centres, rounded once.

    Parameters
    ----------
    part : StepPart
        Of a step with these centres; squares are not looked at.
    steps, centres : as for `sse_of`
    square : Fraction
        Sum of the weighted squared distances of all rows from the middle, as of `square_of`.
    """
    rows = zip(units_of(part), centres, strict=True)
    return max(0.0, float(square + sum(_cross_term(row, steps, centre) for row, centre in rows)))


def sse_bound(part: StepPart, steps: StepGrid, square: Fraction) -> float:
    """Bound the error of a squared error, from the roundings of single rows.

    A square about the middle is off by half a unit in the last place per addition, and by half
    a unit of its grid.
    """
    on_grid = float(part.counts.sum()) * float(unit(int(steps.exponents[-1])))
    return float(square) * (len(steps.middle) + 2) * 2.0**-53 + on_grid


def quick_sse(part: StepPart, steps: StepGrid, centres: Floats, square: Fraction) -> float:
    """Return the squared error of a step in floating point, for its history.

    Parameters
    ----------
    part : StepPart
    steps : StepGrid
    centres : ndarray of shape (n_centres, n_features), float64
    square : Fraction
        Sum of the weighted squared distances of all rows from the middle.
    """
    wide = part.units.astype(np.float64)
    values = np.ldexp(
        wide[..., 0] * 2.0**32 + wide[..., 1], (steps.exponents - GRID_BITS).astype(np.int32)
    )
    moved = centres - steps.middle
    terms = moved * (moved * values[:, -2:-1] - 2.0 * values[:, :-2])
    return max(0.0, math.fsum([float(square), *terms.ravel().tolist()]))


def square_of(part: StepPart, steps: StepGrid) -> Fraction:
    """Return the sum of weighted squared distances of all rows from the middle."""
    return unit(int(steps.exponents[-1])) * sum(int(units) for units in units_of(part)[:, -1])


def mean_variance(part: StepPart, steps: StepGrid, square: Fraction) -> float:
    """Return the mean over the features of the variance of all rows: the scale of `tol`."""
    totals = units_of(part).sum(axis=0)
    weight = unit(int(steps.exponents[-2])) * int(totals[-2])
    means = [
        unit(int(exponent)) * int(total) / weight
        for exponent, total in zip(steps.exponents[:-2], totals[:-2], strict=True)
    ]
    return max(0.0, float(square / weight - sum(mean**2 for mean in means))) / len(means)


def moved_by(centres: Floats, reference: Floats, radii: Floats, extent: Extent) -> float:
    """Return the most that a centre has moved, in its radii; never too little.

    What rounding does to the distances of the rows counts as movement.

    Parameters
    ----------
    centres, reference : ndarray of shape (n_centres, n_features), float64
    radii : ndarray of shape (n_centres,), float64
    extent : Extent
        Of the rows.
    """
    low = np.minimum(extent.low, np.minimum(centres, reference).min(axis=0))
    high = np.maximum(extent.high, np.maximum(centres, reference).max(axis=0))
    diagonal = float(np.sqrt(np.cumsum((high - low) ** 2)[-1]))
    rounding = diagonal * (centres.shape[1] + 4) * 2.0**-51
    moved = np.sqrt(np.cumsum((centres - reference) ** 2, axis=1)[:, -1])
    return float(np.max((moved * (1.0 + 1e-9) + rounding) / radii))
