"""From rows to the eigenvalues and eigenvectors of their covariance.

Covers: exact moments in one pass once ranges are known, their spectrum, a randomised one for
more features than a Gram matrix can have, and how many components to keep. Does not cover:
the estimators (`decomposition.pca`, `decomposition.incremental`).

Reference of the randomised way: Halko, Martinsson and Tropp, SIAM Review 53, 2011; the last step
is Nyström's (Tropp, Yurtsever, Udell and Cevher, NIPS 2017), which saves a pass.
"""

from __future__ import annotations

from functools import partial
from numbers import Integral, Real
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from daskseg.engine import passes
from daskseg.engine.blocks import Blocks, Rows
from daskseg.errors import InputError, MemoryBudgetError, UsageError
from daskseg.kernels import gram, moments, sketch
from daskseg.kernels.eigen import eigh_falling, fix_signs
from daskseg.kernels.gram import Covariance, Gram, GramFrame
from daskseg.kernels.moments import Extent, Frame, Moments
from daskseg.kernels.sketch import SketchFrame
from daskseg.parameters import is_count

Floats = NDArray[np.float64]
# So many make sums of 32 MB per part and products of 128 MB per thread; where every feature
# misses values, four times that.
MAX_GRAM_FEATURES = 2_000


class Spectrum(NamedTuple):
    """Eigenvalues and eigenvectors of a covariance.

    Attributes
    ----------
    n_rows : int
    total_weight : float
    mean : ndarray of shape (n_features,), float64
    variances : ndarray of shape (n_found,), float64
        Falling; not negative.
    components : ndarray of shape (n_found, n_features), float64
    total_variance : float
    weights : ndarray of shape (n_features,), float64
        Of the rows where each feature is present.
    feature_variances : ndarray of shape (n_features,), float64
    """

    n_rows: int
    total_weight: float
    mean: Floats
    variances: Floats
    components: Floats
    total_variance: float
    weights: Floats
    feature_variances: Floats

    @property
    def n_repeats(self) -> int:
        """Number of rows, each counted as often as its weight says."""
        return max(self.n_rows, int(self.total_weight))

    @property
    def most_components(self) -> int:
        """How many components there can be."""
        return min(self.n_repeats, len(self.mean))


def _sum_products(rows: Rows, frame: GramFrame) -> Gram:
    return gram.gram(rows.values, rows.weights, frame)


def sum_products(blocks: Blocks, frame: GramFrame) -> Gram:
    """Sum the products of all pairs of columns. One pass."""
    total: Gram = passes.reduce(
        blocks,
        _sum_products,
        gram.merge_grams,
        frame,
        name="gram",
        scratch=partial(_gram_scratch, width=frame.width),
    )
    return total


def _gram_scratch(n_rows: int, width: int) -> int:
    return gram.scratch_bytes(width, 0, n_rows, 8)


def check_extent(seen: Extent, columns: tuple[str, ...] | None) -> None:
    """Refuse columns without any value.

    Raises
    ------
    InputError
    """
    for column in np.flatnonzero(~np.isfinite(seen.low))[:1]:
        name = repr(columns[column]) if columns else str(column)
        raise InputError(f"column {name} has no value at all: leave it out.")


def covariance_of(blocks: Blocks, seen: Extent) -> Covariance:
    """Compute exact means and covariances, with missing values pair by pair. One pass.

    Parameters
    ----------
    blocks : Blocks
    seen : Extent
        Bounds of all values.
    """
    check_width(blocks.n_features)
    check_extent(seen, blocks.columns)
    frame = gram.gram_frame(seen, marks=gram.marks_of(seen.n_missing > 0))
    return gram.finish_gram(sum_products(blocks, frame), frame)


def check_width(n_features: int) -> None:
    """Refuse more features than a Gram matrix is kept for.

    Raises
    ------
    MemoryBudgetError
    """
    if n_features > MAX_GRAM_FEATURES:
        raise MemoryBudgetError(
            f"{n_features:,} features make {n_features**2:,} covariances; {MAX_GRAM_FEATURES:,} "
            "features at most are taken that way. Use daskseg.decomposition.PCA with "
            "svd_solver='randomized' and a number of components, or fewer features."
        )


def spectrum_of(found: Covariance) -> Spectrum:
    """Find the eigenvectors; eigenvalues below zero, as missing values make them, become 0."""
    values, vectors = eigh_falling(found.covariance)
    variances = np.maximum(values, 0.0)
    return Spectrum(
        found.n_rows,
        found.total_weight,
        found.mean,
        variances,
        vectors,
        float(np.cumsum(variances)[-1]),
        found.weights,
        np.diag(found.covariance).copy(),
    )


def _sum_moments(rows: Rows, frame: Frame) -> Moments:
    return moments.moments(rows.values, rows.weights, frame)


def _sketch(rows: Rows, frame: SketchFrame) -> Gram:
    return sketch.sketch(rows.values, rows.weights, frame)


def _sketch_scratch(n_rows: int, shape: tuple[int, int]) -> int:
    return sketch.scratch_bytes(*shape, n_rows, 8)


def randomized_spectrum(
    blocks: Blocks, seen: Extent, n_vectors: int, n_powers: int, seed: int
) -> Spectrum:
    """Approximate the largest eigenvalues. Two passes and one per power.

    Parameters
    ----------
    blocks : Blocks
        Without missing values.
    seen : Extent
    n_vectors : int
        Components wanted, and some more for accuracy.
    n_powers : int
        How often the vectors are multiplied by the covariance after the first time.
    seed : int
    """
    frame = moments.frame_of(seen)
    sums = passes.reduce(blocks, _sum_moments, moments.merge_moments, frame, name="moments")
    summary = moments.finish_moments(sums, frame)
    weight = float(summary.total_weight[0])
    if weight <= 1:
        raise InputError(f"the rows weigh {weight:g} together, but a covariance takes more than 1.")
    exponents = sketch.sketch_exponents(seen, summary.mean)
    vectors = sketch.first_vectors(seed, blocks.n_features, n_vectors)
    for _ in range(n_powers + 1):
        basis, _ = np.linalg.qr(vectors)
        place = sketch.sketch_frame(summary.mean, exponents, basis)
        total: Gram = passes.reduce(
            blocks,
            _sketch,
            gram.merge_grams,
            place,
            name="sketch",
            scratch=partial(_sketch_scratch, shape=vectors.shape),
        )
        vectors = sketch.finish_sketch(total, place) / (weight - 1.0)
    values, components = _nystrom(place.vectors(), vectors)
    variances = summary.variance * (weight / (weight - 1.0))
    return Spectrum(
        seen.n_rows,
        weight,
        summary.mean,
        values,
        components,
        float(np.cumsum(variances)[-1]),
        summary.total_weight,
        variances,
    )


def _nystrom(basis: Floats, image: Floats) -> tuple[Floats, Floats]:
    """Return eigenvalues and eigenvectors of a matrix C from ``image = C @ basis``."""
    core = basis.T @ image
    sizes, turned = eigh_falling((core + core.T) / 2)
    # What is rounding only would be blown up by the root below.
    floor = max(sizes[0], 0.0) * np.finfo(np.float64).eps
    roots = np.sqrt(np.maximum(sizes, floor) + np.finfo(np.float64).tiny)
    directions, triangle = np.linalg.qr(image)
    factor = triangle @ (turned.T / roots)
    values, vectors = eigh_falling(factor @ factor.T)
    return np.maximum(values, 0.0), fix_signs(vectors @ directions.T)


def check_components(wanted: Any) -> None:
    """Refuse what is neither None, a whole number from 1, nor a share between 0 and 1.

    Raises
    ------
    UsageError
    """
    is_share = isinstance(wanted, Real) and not isinstance(wanted, Integral)
    if wanted is None or is_count(wanted) or (is_share and 0 < float(wanted) < 1):
        return
    if wanted == "mle":
        raise UsageError(
            "n_components='mle' is not supported: give a number of components, or the share of "
            "the variance to keep, such as 0.9."
        )
    raise UsageError(
        f"n_components={wanted!r} is neither None, a whole number from 1, nor a share of the "
        "variance above 0 and below 1."
    )


def n_components_of(wanted: Any, found: Spectrum) -> int:
    """Say how many components to keep.

    Parameters
    ----------
    wanted : None, int or float
        All (where rows are no more than features, all that have variance); so many; or the
        fewest whose variance is at least this share of the whole.

    Raises
    ------
    UsageError
        If there are not so many.
    """
    most = found.most_components
    if wanted is None:
        if found.n_repeats <= len(found.mean):
            # Rows span fewer directions than there are rows; what lies off them is arbitrary.
            floor = found.variances[0] * len(found.mean) * np.finfo(np.float64).eps
            most = max(1, int((found.variances > floor).sum()))
        return min(most, len(found.variances))
    if is_count(wanted):
        if int(wanted) > most:
            raise UsageError(
                f"n_components={wanted} must be at most {most}: n_samples={found.n_repeats} and "
                f"n_features={len(found.mean)}."
            )
        return int(wanted)
    if found.total_variance == 0:
        return 1
    reached = np.cumsum(found.variances) / found.total_variance >= float(wanted)
    # Rounding may leave the sum of all just below a share close to 1.
    return min(most, int(np.argmax(reached)) + 1 if reached.any() else most)
