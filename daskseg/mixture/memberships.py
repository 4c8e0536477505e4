"""What memberships say of rows: likelihoods, entropies, and how far components overlap.

Covers: sums over all rows in one pass, the compact form of memberships, and the gain of more
components per row. Does not cover: fitting (see `mixture.gaussian`).
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from daskseg.engine import passes
from daskseg.engine.blocks import Blocks, Rows
from daskseg.inputs import as_blocks
from daskseg.kernels import grid, mixture_scores, mixture_steps
from daskseg.kernels.grid import GridSum
from daskseg.kernels.mixture import Ready
from daskseg.kernels.moments import Extent

Floats = NDArray[np.float64]
CORE, FRINGE = 0.8, 0.5
# Arbitrary: the values that are summed for a piece of a block stay near the caches.
_PIECE_VALUES = 2**18


class Fit(NamedTuple):
    """How well components fit rows.

    Attributes
    ----------
    log_density, entropy : float
        Weighted means over the rows.
    """

    log_density: float
    entropy: float


class MembershipSummary(NamedTuple):
    """How sure the memberships of rows are.

    Attributes
    ----------
    sizes : ndarray of shape (n_components,), float64
        Sums of memberships.
    counts : ndarray of shape (n_components,), int64
        Rows whose largest membership is here.
    core, fringe, ambiguous : ndarray of shape (n_components,), float64
        Of those rows, the shares of a membership of at least 0.8, of 0.5 to 0.8, and below 0.5;
        NaN where there are no rows.
    mean_membership : ndarray of shape (n_components,), float64
        Of those rows in their component: the share that is expected to be right.
    overlap : ndarray of shape (n_components, n_components), float64
        Entry (j, l) is the sum over the rows of both memberships, over the size of j: where the
        members of j would be found if they were drawn again. Its rows sum to one.
    """

    sizes: Floats
    counts: NDArray[np.int64]
    core: Floats
    fringe: Floats
    ambiguous: Floats
    mean_membership: Floats
    overlap: Floats


def _fit_block(
    rows: Rows, ready: Ready, exponents: NDArray[np.int64], with_entropy: bool
) -> GridSum:
    heavy = np.ones(len(rows.values)) if rows.weights is None else rows.weights
    step = max(256, _PIECE_VALUES // (len(ready.offsets) + 3))
    total = GridSum(np.zeros(3, object), np.zeros(3, object))
    for start in range(0, len(rows.values), step):
        piece, own = rows.values[start : start + step], heavy[start : start + step]
        found = mixture_scores.log_densities(piece, ready)
        entropy = np.zeros(len(piece))
        if with_entropy:
            entropy = _entropies(mixture_scores.memberships(piece, ready))
        columns = np.column_stack([own * found, own * entropy, own])
        total = grid.add(total, grid.sum_columns(columns, exponents))
    return total


def _entropies(shares: Floats) -> Floats:
    logs = np.log(np.where(shares > 0, shares, 1.0))
    return np.maximum(-np.cumsum(shares * logs, axis=1)[:, -1], 0.0)


def measure_fit(blocks: Blocks, ready: Ready, seen: Extent, *, with_entropy: bool = False) -> Fit:
    """Average the log-densities of rows exactly, and their entropies if wanted. One pass.

    Parameters
    ----------
    blocks : Blocks
        Measured.
    ready : Ready
    seen : Extent
        Of the blocks.
    with_entropy : bool
    """
    bounds = mixture_steps.bounds_of(ready, seen)
    most_entropy = int(np.frexp(np.log(len(ready.offsets)) + 1.0)[1])
    exponents = np.array([bounds.log_density, most_entropy + bounds.weight, bounds.weight])
    total = passes.reduce(
        blocks, _fit_block, grid.add, ready, exponents, with_entropy, name="likelihood"
    )
    log_density, entropy, weight = grid.to_fractions(total, exponents)
    return Fit(float(log_density / weight), float(entropy / weight))


def top_memberships(values: NDArray[Any], ready: Ready, n: int) -> NDArray[Any]:
    """Return the largest memberships of each row, largest first; as `compact_dtype`."""
    shares = mixture_scores.memberships(values, ready)
    order = np.argsort(-shares, axis=1, kind="stable")[:, :n]
    found = np.empty(len(values), compact_dtype(n))
    found["component"] = order
    found["membership"] = np.take_along_axis(shares, order, axis=1)
    return found


def compact_dtype(n: int) -> np.dtype[Any]:
    """Return the type of the `n` largest memberships of a row: four bytes each."""
    return np.dtype([("component", np.uint16, (n,)), ("membership", np.float16, (n,))])


class _Counts(NamedTuple):
    """Mergeable counts of `summarise`."""

    by_kind: NDArray[np.int64]
    sums: GridSum


def _count_block(rows: Rows, ready: Ready) -> _Counts:
    k = len(ready.offsets)
    first, second = np.triu_indices(k)
    step = max(256, _PIECE_VALUES // (2 * k + len(first)))
    by_kind = np.zeros((3, k), np.int64)
    zeros = np.zeros(2 * k + len(first), object)
    sums = GridSum(zeros, zeros)
    ones = np.ones(len(zeros), np.int64)
    for start in range(0, len(rows.values), step):
        shares = mixture_scores.memberships(rows.values[start : start + step], ready)
        label = shares.argmax(axis=1)
        largest = shares[np.arange(len(shares)), label]
        kind = np.where(largest >= CORE, 0, np.where(largest >= FRINGE, 1, 2))
        by_kind += np.bincount(kind * k + label, minlength=3 * k).reshape(3, k)
        own = np.where(np.arange(k) == label[:, None], largest[:, None], 0.0)
        products = shares[:, first] * shares[:, second]
        columns = np.concatenate([shares, own, products], axis=1)
        sums = grid.add(sums, grid.sum_columns(columns, ones))
    return _Counts(by_kind, sums)


def _merge_counts(a: _Counts, b: _Counts) -> _Counts:
    return _Counts(a.by_kind + b.by_kind, grid.add(a.sums, b.sums))


def summarise(X: Any, ready: Ready) -> MembershipSummary:
    """Say how sure the memberships of rows are. One pass.

    Parameters
    ----------
    X : rows of any kind that daskseg takes, of shape (n_rows, n_features)
    ready : Ready
    """
    k = len(ready.offsets)
    blocks = as_blocks(X, allow_missing=False)
    found: _Counts = passes.reduce(blocks, _count_block, _merge_counts, ready, name="memberships")
    sums = grid.to_floats(found.sums, np.ones(1, np.int64))
    sizes, own, products = sums[:k], sums[k : 2 * k], sums[2 * k :]
    overlap = np.empty((k, k))
    pairs = np.triu_indices(k)
    overlap[pairs] = products
    overlap.T[pairs] = products
    counts = found.by_kind.sum(axis=0)
    with np.errstate(invalid="ignore"):
        core, fringe, ambiguous = found.by_kind / counts
        mean, overlap = own / counts, overlap / sizes[:, None]
    return MembershipSummary(sizes, counts, core, fringe, ambiguous, mean, overlap)


def bic_gain(fewer: Any, more: Any, X: Any) -> float:
    """Say by how much more components lower the BIC, per row.

    With many rows the BIC itself always asks for more components, as no model is quite right.
    Below about 0.001 per row more of them describe noise of the model, not groups.

    Parameters
    ----------
    fewer, more : GaussianMixture
        Fitted.
    X : rows of any kind that daskseg takes, of shape (n_rows, n_features)

    Returns
    -------
    float
        Negative where more components do not pay. Four passes.

    Examples
    --------
    >>> import numpy as np
    >>> from daskseg.mixture import GaussianMixture, bic_gain
    >>> rows = np.random.default_rng(0).normal(size=(400, 2))
    >>> rows[200:] += 8.0
    >>> one, two, three = (GaussianMixture(k).fit(rows) for k in (1, 2, 3))
    >>> bic_gain(one, two, rows) > 1.0, bic_gain(two, three, rows) > 0.0
    (True, False)
    """
    n_rows = passes.measure(as_blocks(X)).n_rows
    return float((fewer.bic(X) - more.bic(X)) / n_rows)
