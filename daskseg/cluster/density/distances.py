"""A choice of eps: distances from some rows to their k-th nearest, and where they bend.

Covers: exact distances of a uniform sample to all rows, and a suggestion from their curve. Does not
cover: drawing (see `charts.distances`), or clusters (see `density.dbscan`).
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from daskseg.cluster.density.hdbscan import check_enough_rows
from daskseg.cluster.density.landmarks import draw_landmarks
from daskseg.engine import passes
from daskseg.engine.blocks import Blocks, Rows
from daskseg.errors import InputError
from daskseg.inputs import as_blocks, as_frame, is_lazy
from daskseg.kernels import density_near
from daskseg.parameters import check_count, seed_of

Floats = NDArray[np.float64]
# Arbitrary: a share of core rows is right to 2 percent.
N_PLACES = 2_000
# Arbitrary: a few rows far from all others would decide the knee; with 2 percent, eps was too
# small on five made sets.
_TAIL_SHARE = 0.005


class EpsSuggestion(NamedTuple):
    """A value for `eps`, and the curve that it comes from.

    Attributes
    ----------
    eps : float
        The distance at the knee.
    min_samples : int
        What it goes with.
    core_share : float
        About the share of rows that are core rows with both.
    distances : ndarray of shape (n_places,), float64
        As `k_distances` returns them.
    knee : int
        Place of `eps` among them.
    """

    eps: float
    min_samples: int
    core_share: float
    distances: Floats
    knee: int


def _least(rows: Rows, places: Floats, k: int) -> Floats:
    return density_near.least_distances(places, rows.values, k)


def _distances(blocks: Blocks, k: int, n_places: int, random_state: Any) -> Floats:
    n_features = blocks.n_features
    (draw,) = draw_landmarks(blocks, seed_of(random_state), n_places, 1)

    def scratch(rows: int) -> int:
        # A tree with its rows and a piece beside, and the answer, merged.
        return rows * (24 * n_features + 24) + 4 * n_places * k * 8

    found = passes.reduce(
        blocks, _least, density_near.merge_least, draw.values, k, name="distances", scratch=scratch
    )
    return np.sort(np.sqrt(found[:, -1]))


def default_min_samples(n_features: int) -> int:
    """Return twice the columns, and at least 4 (Sander et al., DMKD 2(2), 1998)."""
    return max(4, 2 * n_features)


def _checked(X: Any, min_samples: Any, n_places: Any) -> tuple[Blocks, int]:
    check_count("n_places", n_places, least=3)
    if min_samples is not None:
        check_count("min_samples", min_samples)
    blocks = passes.measure(as_blocks(X if is_lazy(X) else as_frame(X)))
    k = default_min_samples(blocks.n_features) if min_samples is None else int(min_samples)
    check_enough_rows(blocks, k, "a distance")
    return blocks, k


def k_distances(
    X: Any,
    *,
    min_samples: int | None = None,
    n_places: int = N_PLACES,
    random_state: Any = None,
) -> Floats:
    """Return the distances of a uniform sample of rows to their k-th nearest of all rows.

    A row is a core row of `DBSCAN` just where this distance is at most `eps`, so that the curve
    tells the share of core rows for every `eps`.

    Parameters
    ----------
    X : rows of any kind that daskseg takes, of shape (n_rows, n_features)
    min_samples : int, optional
        k, the row itself included. By default twice the columns, and at least 4.
    n_places : int
        Rows of the sample.
    random_state : None, int, RandomState or Generator
        Decides the sample. None is the seed 0.

    Returns
    -------
    ndarray of shape (n_places,), float64
        By rising distance; fewer where there are fewer rows.

    Raises
    ------
    UsageError
        If a parameter is wrong.
    InputError
        If values are missing, infinite or not numbers, or if there are fewer rows than
        `min_samples`.

    Notes
    -----
    Two passes. The sample is compared with all rows: among the sample alone distances would be
    those of a thinner set, about ``(n_rows / n_places) ** (1 / n_features)`` times as long. Rows
    count once each, whatever weight they will have.

    Examples
    --------
    >>> import numpy as np
    >>> from daskseg.cluster.density import k_distances
    >>> k_distances(np.array([[0.0], [1.0], [3.0], [9.0]]), min_samples=2).tolist()
    [1.0, 1.0, 2.0, 6.0]
    """
    blocks, k = _checked(X, min_samples, n_places)
    return _distances(blocks, k, int(n_places), random_state)


def suggest_eps(
    X: Any,
    *,
    min_samples: int | None = None,
    n_places: int = N_PLACES,
    random_state: Any = None,
) -> EpsSuggestion:
    """Suggest `eps` of `DBSCAN` from the knee of the distances to the k-th nearest row.

    Parameters
    ----------
    X, min_samples, n_places, random_state
        As for `k_distances`.

    Returns
    -------
    EpsSuggestion

    Raises
    ------
    UsageError, InputError
        As `k_distances`; also if every row has `min_samples` rows in its place, so that any `eps`
        is as good.

    Notes
    -----
    The knee is where the curve is farthest below the line from its first to its last point,
    both axes scaled to one, without the last half percent (Satopää et al., Finding a "kneedle" in a
    haystack, ICDCSW 2011). It is a place to begin: where densities differ no single `eps` is
    right. Look at the curve, and at the noise of a fit.

    Examples
    --------
    >>> import numpy as np
    >>> from daskseg.cluster.density import suggest_eps
    >>> rows = np.r_[np.arange(40.0), 1000.0 + 50.0 * np.arange(5)][:, None]
    >>> found = suggest_eps(rows, min_samples=3)
    >>> found.eps, round(found.core_share, 2)
    (2.0, 0.89)
    """
    blocks, k = _checked(X, min_samples, n_places)
    distances = _distances(blocks, k, int(n_places), random_state)
    if not distances[-1] > 0:
        raise InputError(
            f"every one of {len(distances):,} rows has {k} rows in its place, so that the curve of "
            "distances has no knee: any eps finds the same core rows. Take the smallest difference "
            "that matters."
        )
    knee = _knee(distances)
    eps = float(distances[knee])
    share = float(np.mean(distances <= eps))
    return EpsSuggestion(eps, k, share, distances, knee)


def _knee(distances: Floats) -> int:
    """Return the last place that is farthest below the chord, where the distance is above zero."""
    n = max(2, round((1.0 - _TAIL_SHARE) * len(distances)))
    kept = distances[:n]
    height = kept[-1] - kept[0]
    if height == 0:
        return int(np.argmax(distances > 0)) if kept[-1] == 0 else n - 1
    below = np.arange(n) / (n - 1) - (kept - kept[0]) / height
    knee = n - 1 - int(np.argmax(below[::-1]))
    return knee if kept[knee] > 0 else int(np.argmax(kept > 0))
