"""What the sums of a step of expectation maximisation mean: the next parameters of a mixture.

Covers: means, shares and covariances of the four types of scikit-learn from exact sums, their
factors, a covariance that all but collapses, and bounds for the next sums. Does not cover: the
sums (see `kernels.mixture`) or when to stop (see `mixture.climb`).

Reference: Dempster, Laird and Rubin, Journal of the Royal Statistical Society B 39, 1977.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from daskseg.errors import InputError
from daskseg.kernels import grid
from daskseg.kernels.compiling import compiled
from daskseg.kernels.eigen import eigh_falling
from daskseg.kernels.mixture import (
    DIAGONAL,
    FULL,
    GRID_BITS,
    TIED,
    MixtureGrid,
    MixturePart,
    Ready,
)
from daskseg.kernels.moments import Extent

Floats = NDArray[np.float64]

COVARIANCE_TYPES = ("full", "tied", "diag", "spherical")
# Of each feature's variance. One for all, taken from the mean, wipes out features of small units.
_REG_SHARE = 1e-6
# In units of the variances within components: beyond it half of the digits of a factor are lost.
MAX_CONDITION = 1e8
_LEAST_SHRINKAGE = 1e-8
# Of the largest weight of a row: less than so much of one row says nothing about a component.
_EMPTY = 2.0**-20
_LOG_2PI = math.log(2.0 * math.pi)


class Parameters(NamedTuple):
    """A mixture of normal distributions.

    Attributes
    ----------
    weights : ndarray of shape (n_components,), float64
    means : ndarray of shape (n_components, n_features), float64
    covariances : ndarray, float64
        (n_components, n_features, n_features) if full, (n_features, n_features) if tied,
        (n_components, n_features) if diagonal, (n_components,) if spherical.
    """

    weights: Floats
    means: Floats
    covariances: Floats


class Maximum(NamedTuple):
    """The parameters that a step leads to, and what was met on the way.

    Attributes
    ----------
    parameters : Parameters
    sizes : ndarray of shape (n_components,), float64
        Sums of memberships.
    is_empty : ndarray of shape (n_components,), bool
        Components that keep their mean and covariance, as no row belongs to them.
    n_shrunk : int
        Covariances that were drawn to the pooled one.
    """

    parameters: Parameters
    sizes: Floats
    is_empty: NDArray[np.bool_]
    n_shrunk: int


def kind_of(covariance_type: str) -> int:
    """Return the kind that kernels know."""
    return {"full": FULL, "tied": TIED}.get(covariance_type, DIAGONAL)


@compiled()
def _invert(covariance: Floats, lower: Floats, factor: Floats) -> bool:  # pragma: no cover
    """Fill in the upper triangle that whitens; say whether the covariance is positive."""
    size = len(covariance)
    for j in range(size):
        for i in range(j, size):
            total = covariance[i, j]
            for m in range(j):
                total -= lower[i, m] * lower[j, m]
            if i == j:
                if not total > 0.0:
                    return False
                lower[j, j] = np.sqrt(total)
            else:
                lower[i, j] = total / lower[j, j]
    # The inverse of the lower triangle, column by column; its transpose is the factor.
    for j in range(size):
        factor[j, j] = 1.0 / lower[j, j]
        for i in range(j + 1, size):
            total = 0.0
            for m in range(j, i):
                total += lower[i, m] * factor[j, m]
            factor[j, i] = -total / lower[i, i]
    return True


def factor_of(covariance: Floats) -> Floats | None:
    """Return the upper triangle F with ``F @ F.T`` the inverse; None if there is none."""
    factor = np.zeros(covariance.shape)
    is_sound = _invert(np.ascontiguousarray(covariance), np.zeros(covariance.shape), factor)
    return factor if is_sound and np.isfinite(factor).all() else None


def factors_of(covariances: Floats, covariance_type: str) -> Floats:
    """Return the factors of the inverses, as `precisions_cholesky_` of scikit-learn.

    Raises
    ------
    InputError
        If a covariance is not positive.
    """
    if covariance_type in ("diag", "spherical"):
        is_sound = (covariances.reshape(len(covariances), -1) > 0).all(axis=1)
        if not is_sound.all():
            raise _singular(int(np.argmin(is_sound)))
        return np.asarray(1.0 / np.sqrt(covariances))
    stack = covariances if covariance_type == "full" else covariances[None]
    found = [factor_of(one) for one in stack]
    for number, one in enumerate(found):
        if one is None:
            raise _singular(number)
    factors = np.array(found)
    return factors if covariance_type == "full" else factors[0]


def _singular(number: int) -> InputError:
    return InputError(
        f"the covariance of component {number} (from 0) has no inverse: some features do not "
        "vary, or are sums of others. Leave them out, ask for fewer components, or raise "
        "reg_covar."
    )


def ready_of(model: Parameters, factors: Floats, covariance_type: str) -> Ready:
    """Make components ready for the kernels.

    Parameters
    ----------
    model : Parameters
    factors : ndarray
        As from `factors_of`.
    covariance_type : str
    """
    n_components, n_features = model.means.shape
    kind = kind_of(covariance_type)
    means = np.ascontiguousarray(model.means)
    scales, places = np.ones(means.shape), means
    origin = means[0].copy()
    triangles = np.empty((0, n_features, n_features))
    if kind == DIAGONAL:
        scales = np.ascontiguousarray(np.broadcast_to(_columns(factors), means.shape))
        log_det = np.cumsum(np.log(scales), axis=1)[:, -1]
    else:
        triangles = np.ascontiguousarray(factors if kind == FULL else factors[None])
        diagonals = np.diagonal(triangles, axis1=1, axis2=2)
        log_det = np.cumsum(np.log(diagonals), axis=1)[:, -1]
    if kind == TIED:
        places = np.zeros(means.shape)
        for f in range(n_features):
            places += (means[:, f : f + 1] - origin[f]) * triangles[0][f]
    with np.errstate(divide="ignore"):
        offsets = np.log(model.weights) + log_det - 0.5 * n_features * _LOG_2PI
    offsets = np.broadcast_to(offsets, n_components).copy()
    return Ready(kind, means, triangles, scales, origin, places, offsets)


def _columns(values: Floats) -> Floats:
    return values[:, None] if values.ndim == 1 else values


def bounds_of(ready: Ready, seen: Extent) -> MixtureGrid:
    """Bound what is summed about rows of a known range.

    Raises
    ------
    InputError
        If log-densities overflow.
    """
    low, high = seen.low - ready.means, seen.high - ready.means
    reach = np.maximum(np.abs(low), np.abs(high))
    exponents = grid.range_exponents(low, high)
    weight = int(grid.range_exponents(np.zeros(1), np.array([seen.high_weight]))[0])
    if ready.kind == DIAGONAL:
        white = reach * ready.scales
    else:
        white = np.zeros(reach.shape)
        for f in range(reach.shape[1]):
            white += reach[:, f : f + 1] * np.abs(ready.factors[:, f])
    with np.errstate(over="ignore"):
        farthest = np.cumsum(white * white, axis=1)[:, -1]
    is_there = np.isfinite(ready.offsets)
    least = float(np.max((ready.offsets - 0.5 * farthest)[is_there], initial=-np.inf))
    most = float(np.max(ready.offsets[is_there], initial=-np.inf)) + math.log(len(reach))
    largest = max(abs(least), abs(most))
    if not math.isfinite(largest):
        raise InputError(
            "the rows lie so far from all components, in their deviations, that densities "
            "overflow. Scale the columns, or raise reg_covar."
        )
    # One more than the numbers need, for the roundings of the kernel.
    log_density = int(np.frexp(largest)[1]) + 1 + weight
    return MixtureGrid(exponents, weight, max(log_density, grid.MIN_EXPONENT))


class _Sums(NamedTuple):
    """Sums in floating point: sizes, differences from the means, and products of these."""

    sizes: Floats
    shifts: Floats
    products: Floats


def _sums_of(part: MixturePart, ready: Ready, bounds: MixtureGrid) -> _Sums:
    # Carried first, so that how the sums were cut up does not show.
    high = part.units[..., 0] + (part.units[..., 1] >> 32)
    wide = high.astype(np.float64) * 2.0**32 + (part.units[..., 1] & 0xFFFFFFFF)
    n_components, n_features = ready.means.shape
    base = bounds.weight - GRID_BITS
    reach = bounds.reach
    sizes = np.ldexp(wide[:, 0], base)
    shifts = np.ldexp(wide[:, 1 : 1 + n_features], (base + reach).astype(np.int32))
    rest = wide[:, 1 + n_features :]
    if ready.kind == DIAGONAL:
        return _Sums(sizes, shifts, np.ldexp(rest, (base + 2 * reach).astype(np.int32)))
    i, j = np.triu_indices(n_features)
    products = np.empty((n_components, n_features, n_features))
    products[:, i, j] = np.ldexp(rest, (base + reach[:, i] + reach[:, j]).astype(np.int32))
    products[:, j, i] = products[:, i, j]
    return _Sums(sizes, shifts, products)


def log_density_of(part: MixturePart, bounds: MixtureGrid, total_weight: float) -> float:
    """Return the mean log-density of the rows of a step."""
    exponent = bounds.log_density - grid.HIGH_BITS - grid.LOW_BITS
    return math.ldexp(float(part.log_density), exponent) / total_weight


def _variances(products: Floats) -> Floats:
    return products if products.ndim == 2 else np.diagonal(products, axis1=1, axis2=2)


def regularisation(part: MixturePart, ready: Ready, bounds: MixtureGrid) -> Floats:
    """Return what is added to variances by default: a millionth of each feature's own.

    Returns
    -------
    ndarray of shape (n_features,), float64
        For features that do not vary: of the mean variance, or 1e-6 if none does.
    """
    sums = _sums_of(part, ready, bounds)
    total = np.cumsum(sums.sizes)[-1]
    origin = ready.means[int(np.argmax(sums.sizes))]
    away = ready.means - origin
    mean = np.cumsum(sums.shifts + sums.sizes[:, None] * away, axis=0)[-1] / total
    # About the mean of all rows: the square of the way there plus what is left.
    moved = away - mean
    squares = _variances(sums.products) + moved * (2.0 * sums.shifts + sums.sizes[:, None] * moved)
    variances = np.maximum(np.cumsum(squares, axis=0)[-1] / total, 0.0)
    average = float(np.cumsum(variances)[-1]) / len(variances)
    spare = average if average > 0 else 1.0
    return _REG_SHARE * np.where(variances > 0, variances, spare)


def maximise(
    part: MixturePart,
    ready: Ready,
    bounds: MixtureGrid,
    old: Parameters,
    covariance_type: str,
    reg: Floats,
) -> Maximum:
    """Take the maximisation step.

    Parameters
    ----------
    part : MixturePart
        Of all rows.
    ready, bounds
        Of the step that made `part`.
    old : Parameters
        Of that step. A component without rows keeps its mean and covariance.
    covariance_type : str
    reg : ndarray of shape (n_features,), float64
        Added to the variances.

    Raises
    ------
    InputError
        If a covariance cannot be kept from collapsing.
    """
    sizes, shifts, products = _sums_of(part, ready, bounds)
    is_empty = sizes <= math.ldexp(_EMPTY, bounds.weight)
    divisor = np.where(is_empty, 1.0, sizes)
    moved = np.where(is_empty[:, None], 0.0, shifts / divisor[:, None])
    means = ready.means + moved
    total = np.cumsum(sizes)[-1]
    if ready.kind == DIAGONAL:
        spread = products / divisor[:, None] - moved * moved
        spread = np.maximum(spread, 0.0) + reg
        if covariance_type == "spherical":
            spread = np.cumsum(spread, axis=1)[:, -1] / spread.shape[1]
    else:
        spread = products / divisor[:, None, None] - moved[:, :, None] * moved[:, None, :]
        if covariance_type == "tied":
            used = np.where(is_empty, 0.0, sizes)[:, None, None] * spread
            spread = np.cumsum(used, axis=0)[-1] / np.cumsum(np.where(is_empty, 0.0, sizes))[-1]
        steps = np.arange(len(reg))
        spread[..., steps, steps] = np.maximum(spread[..., steps, steps], 0.0) + reg
    if covariance_type != "tied":
        lone = is_empty.reshape((-1,) + (1,) * (spread.ndim - 1))
        spread = np.where(lone, old.covariances, spread)
    shares = sizes / total
    spread, n_shrunk = _keep_from_collapsing(spread, shares, covariance_type)
    return Maximum(Parameters(shares, means, spread), sizes, is_empty, n_shrunk)


def _keep_from_collapsing(
    covariances: Floats, shares: Floats, covariance_type: str
) -> tuple[Floats, int]:
    """Draw covariances of too large a condition to the pooled one, as little as will do."""
    if covariance_type in ("tied", "spherical"):
        return covariances, 0
    by_share = shares.reshape((-1,) + (1,) * (covariances.ndim - 1))
    pooled = np.cumsum(covariances * by_share, axis=0)[-1]
    variances = pooled if covariance_type == "diag" else np.diagonal(pooled)
    scale = 1.0 / np.sqrt(np.where(variances > 0, variances, 1.0))
    unit = scale if covariance_type == "diag" else scale[:, None] * scale[None, :]
    unit = unit * unit if covariance_type == "diag" else unit
    kept, n_shrunk = covariances.copy(), 0
    for number, covariance in enumerate(covariances):
        if _condition_of(covariance * unit) <= MAX_CONDITION:
            continue
        share = _LEAST_SHRINKAGE
        while share < 1.0:
            drawn = (1.0 - share) * covariance + share * pooled
            if _condition_of(drawn * unit) <= MAX_CONDITION:
                break
            share *= 10.0
        else:
            drawn = pooled
            if not math.isfinite(_condition_of(drawn * unit)):
                raise _singular(number)
        kept[number] = drawn
        n_shrunk += 1
    return kept, n_shrunk


def _condition_of(covariance: Floats) -> float:
    """Return the largest eigenvalue over the least; less if that is surely small enough."""
    if covariance.ndim == 1:
        least = float(covariance.min())
        return float(covariance.max()) / least if least > 0 else math.inf
    factor = factor_of(covariance)
    if factor is None:
        return math.inf
    # Traces bound eigenvalues, and are cheap.
    bound = float(np.cumsum(np.diagonal(covariance))[-1] * np.cumsum((factor * factor).ravel())[-1])
    if bound <= MAX_CONDITION:
        return 0.0
    values, _ = eigh_falling(covariance)
    return float(values[0] / values[-1]) if values[-1] > 0 else math.inf


def n_parameters(n_components: int, n_features: int, covariance_type: str) -> int:
    """Return how many free parameters a mixture has."""
    per_covariance = {
        "full": n_components * n_features * (n_features + 1) // 2,
        "tied": n_features * (n_features + 1) // 2,
        "diag": n_components * n_features,
        "spherical": n_components,
    }[covariance_type]
    return per_covariance + n_components * n_features + n_components - 1
