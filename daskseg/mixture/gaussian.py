"""Mixtures of normal distributions of any number of rows, fitted by exact passes.

Covers: the estimator `GaussianMixture`. Does not cover: where its steps begin
(`mixture.starts`), the steps (`mixture.climb`) or its answers (`mixture.model`).
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from daskseg.engine import passes, progress
from daskseg.engine.blocks import Blocks
from daskseg.errors import InputError, UsageError, warn
from daskseg.inputs import as_blocks, is_lazy
from daskseg.kernels import mixture_steps
from daskseg.kernels.mixture_steps import COVARIANCE_TYPES
from daskseg.mixture.climb import Climb, Source, climb, take_step
from daskseg.mixture.model import MixtureModel, component_of
from daskseg.mixture.starts import Given, Plan, begin
from daskseg.parameters import check_count, check_landed, check_number, seed_of

Floats = NDArray[np.float64]
INITS = ("kmeans", "k-means++", "random_from_data")


class GaussianMixture(MixtureModel):
    """Describe rows by a mixture of normal distributions.

    Expectation maximisation begins on a weighted sample in memory, from many starts, and ends with
    exact steps over all rows. The same bits come out for any chunking, scheduler and number of
    workers.

    Parameters
    ----------
    n_components : int
    covariance_type : {"full", "tied", "diag", "spherical"}
        Each component its own covariance, all the same one, its own diagonal one, or one
        variance each.
    tol : float
        Stop when a step over all rows raises the mean log-density of a row by no more than this.
    reg_covar : None or float
        Added to all variances. None adds a millionth of each feature's variance, which does
        not depend on its unit; a number is the same for all, as in scikit-learn.
    max_iter : int
        Steps over all rows.
    n_init : int
        Rounds of sixteen starts on a part of the sample. The best of all are joined in pairs,
        and the most likely mixture goes on.
    init_params : {"kmeans", "k-means++", "random_from_data"}
        Where the starts take their first clusters from: rows by k-means++, every other time
        after k-means from there; k-means++ alone; or rows by weight.
    weights_init, means_init, precisions_init : array-like, optional
        In the shapes of `weights_`, `means_` and `precisions_`. With means no steps are taken on
        the sample; with all three no sample is drawn.
    max_passes : int or None
        Bound of full reads of the data.
    random_state : None, int, RandomState or Generator
        None is the seed 0: two fits agree unless they are told not to.

    Attributes
    ----------
    weights_ : ndarray of shape (n_components,)
        Shares of the components; 0 for one that no row belongs to, which is told in a warning.
    means_ : ndarray of shape (n_components, n_features)
    covariances_, precisions_, precisions_cholesky_ : ndarray
        Covariances, their inverses, and upper triangles F with ``F @ F.T`` the inverse.
        (n_components, n_features, n_features) if full, (n_features, n_features) if tied,
        (n_components, n_features) if diagonal, (n_components,) if spherical.
    labels_ : ndarray or lazy dask Array of shape (n_rows,), int32
        The component of the largest membership.
    lower_bound_ : float
        Mean log-density of a row before the last step; the parameters are those after it.
    converged_ : bool
    n_iter_ : int
        Steps over all rows.
    n_passes_ : float
        Full reads of the data; parts of one count by their share of the blocks.
    stopped_by_ : {"tol", "max_iter", "max_passes"}
    history_ : list of dict
        Per step over all rows: its number, the mean log-density it began with, its gain over the
        one before, and how many covariances were kept from collapsing.
    n_features_in_ : int
    feature_names_in_ : ndarray of str
        Only where the input has names.

    See Also
    --------
    daskseg.mixture.bic_gain : What more components gain per row.

    Notes
    -----
    Passes: one for ranges and sample, usually two to four for the steps (see `n_passes_`), and
    one for the labels where the rows are in memory. Memory: a few blocks per thread, 16 bytes per
    component and pair of features in each partial result, and the sample in this process.

    Sums are taken about the means of the step and rounded to 2**-51 of their bounds: entry (i, j)
    of a covariance is off by at most ``2**-51 * R_i * R_j / share``, with R the ranges of the
    features. A weight of w equals w repeats to 1e-9 where all rows fit the sample.

    A component that on the sample comes down to 1e-5 of all rows begins again with the rows that
    the others explain worst. A covariance whose condition, in units of the variances within
    components, passes 1e8 is drawn to the pooled one, as little as will do; steps on which
    that happens are marked in `history_`.

    Examples
    --------
    >>> import numpy as np
    >>> from daskseg.mixture import GaussianMixture
    >>> rows = np.array([[0.0], [2.0], [90.0], [94.0]])
    >>> fitted = GaussianMixture(2, reg_covar=0.0).fit(rows)
    >>> sorted(fitted.means_.ravel().round(6).tolist()), fitted.weights_.round(6).tolist()
    ([1.0, 92.0], [0.5, 0.5])
    """

    def __init__(
        self,
        n_components: int = 1,
        *,
        covariance_type: str = "full",
        tol: float = 1e-3,
        reg_covar: float | None = None,
        max_iter: int = 100,
        n_init: int = 1,
        init_params: str = "kmeans",
        weights_init: Any = None,
        means_init: Any = None,
        precisions_init: Any = None,
        max_passes: int | None = None,
        random_state: Any = None,
    ) -> None:
        self.n_components = n_components
        self.covariance_type = covariance_type
        self.tol = tol
        self.reg_covar = reg_covar
        self.max_iter = max_iter
        self.n_init = n_init
        self.init_params = init_params
        self.weights_init = weights_init
        self.means_init = means_init
        self.precisions_init = precisions_init
        self.max_passes = max_passes
        self.random_state = random_state

    def fit(self, X: Any, y: Any = None, sample_weight: Any = None) -> Self:
        """Find the components.

        Parameters
        ----------
        X : rows of any kind that daskseg takes, of shape (n_rows, n_features)
        y : ignored
        sample_weight : array-like or dask Array of shape (n_rows,), optional
            How often each row counts; zero or more.

        Returns
        -------
        self

        Raises
        ------
        UsageError
            If a parameter is wrong, or has a value that has not landed.
        InputError
            If values are missing, infinite or not numbers, if there are fewer rows than
            components, or if a covariance has no inverse.
        """
        self._check_parameters()
        rows = self._take_features(X)
        seed = seed_of(self.random_state)
        given = self._given()
        with progress.recording("fit") as log:
            blocks = passes.measure(as_blocks(rows, sample_weight=sample_weight))
            self._check_enough_rows(blocks)
            self._check_budget(log)
            start = begin(blocks, self._plan(given, seed))
            kept_back = 0 if is_lazy(rows) else 1

            def passes_left() -> float:
                most = np.inf if self.max_passes is None else self.max_passes
                return float(most - log.passes - kept_back)

            found = climb(
                partial(take_step, Source(blocks, start.extent)),
                self.covariance_type,
                start.parameters,
                reg=start.reg,
                max_iter=int(self.max_iter),
                tol=float(self.tol),
                passes_left=passes_left,
                before=start.before,
            )
            self._keep(found)
            unweighted = replace(blocks, weights=None)
            if not is_lazy(rows):
                self.labels_ = self._map_checked(unweighted, component_of, None, np.int32)
            self.n_passes_ = log.passes
        if is_lazy(rows):
            self.labels_ = self._map_checked(unweighted, component_of, None, np.int32)
        return self

    def _keep(self, found: Climb) -> None:
        """Set the attributes of a fit."""
        self.weights_, self.means_, self.covariances_ = found.parameters
        self.precisions_cholesky_ = found.factors
        self.precisions_ = _precisions(found.factors, self.covariance_type)
        self.lower_bound_ = found.log_density
        self.n_iter_ = found.n_iter
        self.history_ = found.history
        self.stopped_by_ = found.stopped_by
        self.converged_ = found.stopped_by == "tol"
        n_empty = int(found.is_empty.sum())
        if n_empty:
            warn(
                f"n_components={self.n_components}, but no row belongs to {n_empty} of them; they "
                "have the weight 0. Ask for fewer components.",
                stacklevel=3,
            )

    def _check_parameters(self) -> None:
        check_count("n_components", self.n_components)
        check_landed("covariance_type", self.covariance_type, COVARIANCE_TYPES)
        check_number("tol", self.tol, np.inf)
        if self.reg_covar is not None:
            check_number("reg_covar", self.reg_covar, np.inf)
        check_count("max_iter", self.max_iter)
        check_count("n_init", self.n_init)
        check_landed("init_params", self.init_params, INITS, ("random",))
        if self.max_passes is not None:
            check_count("max_passes", self.max_passes)

    def _check_enough_rows(self, blocks: Blocks) -> None:
        if blocks.n_rows < self.n_components:
            raise InputError(
                f"n_samples={blocks.n_rows} should be >= n_components={self.n_components}: there "
                "are fewer rows than components. Ask for fewer components."
            )

    def _check_budget(self, log: progress.PassLog) -> None:
        needed = int(log.passes) + 3
        if self.max_passes is not None and self.max_passes < needed:
            raise UsageError(
                f"max_passes={self.max_passes}, but this fit may read the data {needed} times "
                "with a single step over all rows."
            )

    def _plan(self, given: Given, seed: int) -> Plan:
        reg = self.reg_covar
        return Plan(
            n_components=int(self.n_components),
            covariance_type=self.covariance_type,
            init=self.init_params,
            n_init=int(self.n_init),
            tol=float(self.tol),
            reg=None if reg is None else np.full(self.n_features_in_, float(reg)),
            given=given,
            seed=seed,
        )

    def _given(self) -> Given:
        """Check the parameters that the caller gives to begin with."""
        k, n_features = int(self.n_components), int(self.n_features_in_)
        weights = _array("weights_init", self.weights_init, (k,))
        if weights is not None:
            if (weights < 0).any() or abs(weights.sum() - 1.0) > 1e-6:
                raise UsageError(
                    f"weights_init must be zero or more and sum to 1, but sums to {weights.sum():g}"
                    f" with {weights.min():g} as the least."
                )
            weights = weights / weights.sum()
        means = _array("means_init", self.means_init, (k, n_features))
        shape = {
            "full": (k, n_features, n_features),
            "tied": (n_features, n_features),
            "diag": (k, n_features),
        }.get(self.covariance_type, (k,))
        precisions = _array("precisions_init", self.precisions_init, shape)
        if precisions is None:
            return Given(weights, means, None)
        return Given(weights, means, _covariances_from(precisions, self.covariance_type))


def _array(name: str, value: Any, shape: tuple[int, ...]) -> Floats | None:
    if value is None:
        return None
    try:
        found = np.array(value, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise UsageError(f"{name} is not an array of numbers: {error}") from error
    if found.shape != shape:
        raise UsageError(
            f"{name} has the shape {found.shape}, but n_components, covariance_type and the "
            f"features of X make {shape}."
        )
    if not np.isfinite(found).all():
        raise UsageError(f"{name} holds NaN or infinity; every number must be finite.")
    return found


def _covariances_from(precisions: Floats, covariance_type: str) -> Floats:
    """Invert the precisions of the caller."""
    wrong = UsageError(
        "precisions_init must be inverses of covariances: symmetric, and positive in every "
        "direction."
    )
    if covariance_type in ("diag", "spherical"):
        if not (precisions > 0).all():
            raise wrong
        return np.asarray(1.0 / precisions)
    stack = precisions if covariance_type == "full" else precisions[None]
    if not np.allclose(stack, stack.transpose(0, 2, 1), rtol=1e-6, atol=0.0):
        raise wrong
    found = []
    for one in stack:
        factor = mixture_steps.factor_of(one)
        if factor is None:
            raise wrong
        found.append(factor @ factor.T)
    return np.array(found) if covariance_type == "full" else np.asarray(found[0])


def _precisions(factors: Floats, covariance_type: str) -> Floats:
    if covariance_type in ("diag", "spherical"):
        return np.asarray(factors**2)
    return np.asarray(factors @ np.swapaxes(factors, -1, -2))
