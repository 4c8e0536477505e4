"""Rows in memory on which components are found before any pass.

Covers: components from clusters of such rows, steps on them, and components that die on the
way. Does not cover: which clusters to begin with (see `mixture.starts`).
"""

from __future__ import annotations

from functools import partial

import numpy as np
from numpy.typing import NDArray

from daskseg.engine.blocks import Blocks
from daskseg.kernels import mixture, mixture_scores, mixture_steps
from daskseg.kernels.labels import labels_of
from daskseg.kernels.mixture import MixtureGrid, MixturePart, Ready
from daskseg.kernels.mixture_steps import Maximum, Parameters
from daskseg.kernels.moments import extent
from daskseg.mixture.climb import Climb, Source, Take, climb, ready_for, take_step, take_step_of

Floats = NDArray[np.float64]
# A component of a smaller share of all rows has died, and gets rows that others explain worst.
LEAST_SHARE = 1e-5


class SampledRows:
    """Weighted rows in memory.

    Parameters
    ----------
    values : ndarray of shape (n_rows, n_features), float64
    weights : ndarray of shape (n_rows,), float64
        Above zero.
    covariance_type : str
    reg : ndarray of shape (n_features,), float64, or None
        Added to variances; None takes the default of these rows.
    """

    def __init__(
        self, values: Floats, weights: Floats, covariance_type: str, reg: Floats | None
    ) -> None:
        self.values, self.weights = np.ascontiguousarray(values), np.ascontiguousarray(weights)
        self.covariance_type = covariance_type
        self.extent = extent(self.values, self.weights, 0)
        middle = self.extent.low + (self.extent.high - self.extent.low) / 2
        part, ready, bounds = self._sum(middle[None], np.zeros(len(values), np.int32))
        self.reg = mixture_steps.regularisation(part, ready, bounds) if reg is None else reg
        # One component for all rows, for those that have none.
        self.whole = self._maximise(part, ready, bounds, None)

    def by_centres(self, centres: Floats) -> Parameters:
        """Describe the rows that are nearest to each centre by a component."""
        sums = self._sum(centres, labels_of(self.values, centres))
        return self._maximise(*sums, self.whole.covariances)

    def _sum(
        self, centres: Floats, labels: NDArray[np.int32]
    ) -> tuple[MixturePart, Ready, MixtureGrid]:
        k, n_features = centres.shape
        units = _unit_covariances(k, n_features, self.covariance_type)
        model = Parameters(np.full(len(centres), 1.0 / len(centres)), centres, units)
        ready = ready_for(model, self.covariance_type)
        bounds = mixture_steps.bounds_of(ready, self.extent)
        part = mixture.label_step(self.values, self.weights, labels, ready, bounds)
        return part, ready, bounds

    def _maximise(
        self, part: MixturePart, ready: Ready, bounds: MixtureGrid, spare: Floats | None
    ) -> Parameters:
        kind, (k, n_features) = self.covariance_type, ready.means.shape
        covariances = _unit_covariances(k, n_features, kind)
        if spare is not None and kind != "tied":
            covariances = np.repeat(spare, k, axis=0)
        old = Parameters(np.full(k, 1.0 / k), ready.means, covariances)
        return mixture_steps.maximise(part, ready, bounds, old, kind, self.reg).parameters

    def climb(self, start: Parameters, max_iter: int, tol: float, *, in_passes: bool) -> Climb:
        """Take steps on these rows.

        Parameters
        ----------
        start : Parameters
        max_iter : int
        tol : float
        in_passes : bool
            Use the threads of this process; never inside a task.
        """
        take: Take = partial(take_step_of, self.values, self.weights, self.extent)
        if in_passes:
            blocks = Blocks.from_array(self.values).with_weights(self.weights)
            take = partial(take_step, Source(blocks, self.extent, share=0.0))
        return climb(
            take,
            self.covariance_type,
            start,
            reg=self.reg,
            max_iter=max_iter,
            tol=tol,
            mend=Mender(self),
        )

    def worst(self, model: Parameters, share: float) -> Parameters:
        """Describe the rows that a mixture explains worst, of so much of all weight."""
        explained = mixture_scores.log_densities(
            self.values, ready_for(model, self.covariance_type)
        )
        order = np.argsort(explained, kind="stable")
        mass = np.cumsum(self.weights[order])
        chosen = order[: int(np.searchsorted(mass, share * mass[-1])) + 1]
        some = self.values[chosen], self.weights[chosen]
        return SampledRows(*some, self.covariance_type, self.reg).whole


class Mender:
    """Gives a component that died the rows that all others explain worst; once for each."""

    def __init__(self, rows: SampledRows) -> None:
        self.rows, self.n_mended = rows, 0

    def __call__(self, best: Maximum) -> Parameters | None:
        """Return the parameters to go on with; None if all components live."""
        shares, means, covariances = best.parameters
        k, number = len(shares), int(np.argmin(shares))
        if shares[number] >= LEAST_SHARE or k == 1 or self.n_mended >= k:
            return None
        self.n_mended += 1
        own_share = 0.5 / k
        fresh = self.rows.worst(best.parameters, own_share)
        weights = shares * (1.0 - own_share)
        weights[number] = own_share
        means, covariances = means.copy(), covariances.copy()
        means[number] = fresh.means[0]
        if self.rows.covariance_type != "tied":
            covariances[number] = fresh.covariances[0]
        return Parameters(weights / np.cumsum(weights)[-1], means, covariances)


def _unit_covariances(k: int, n_features: int, covariance_type: str) -> Floats:
    shapes: dict[str, Floats] = {
        "full": np.repeat(np.eye(n_features)[None], k, axis=0),
        "tied": np.eye(n_features),
        "diag": np.ones((k, n_features)),
    }
    return shapes.get(covariance_type, np.ones(k))
