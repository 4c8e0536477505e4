"""UMAP of any number of rows, from landmarks.

Covers: the estimator `UMAP`, and its landmarks laid out by umap-learn. Does not cover: what maps
share (see `manifold.base`).
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray

from daskseg.errors import UsageError
from daskseg.manifold import extras
from daskseg.manifold.base import LandmarkMap
from daskseg.parameters import check_count, check_number, is_count

Floats = NDArray[np.float64]
# umap-learn's own scale of first places.
_RANGE = 10.0


class UMAP(LandmarkMap):
    """Draw rows so that neighbours stay together: a picture, never what is clustered or scored.

    umap-learn lays out landmarks, a uniform sample with at least 200 rows of each segment, in
    at most 50 principal components; every other row goes to the weighted median of the places of
    its ten nearest landmarks. The same bits come out for any chunking, scheduler and number of
    workers, and on one machine with the same libraries for any two runs.

    Distances between groups, their sizes and their gaps mean little on such a map. There is
    no `predict`, and nothing in daskseg assigns rows by it: cluster the rows, and colour the map.

    Parameters
    ----------
    n_components : int
        Columns of the map.
    n_neighbors : int
        Landmarks, itself included, that each is drawn near to: fewer show detail, more the whole.
    min_dist : float
        Least distance of landmarks on the map, up to 1: how tight groups are drawn.
    n_epochs : None or int
        Rounds of the layout; None leaves it to umap-learn (500 up to 10,000 landmarks, else 200).
    n_landmarks : int
        Time and memory of the fit grow with it.
    random_state : None, int, RandomState or Generator
        Decides the landmarks and the layout. None is the seed 0.

    Attributes
    ----------
    embedding_ : ndarray or lazy dask Array of shape (n_rows, n_components)
        Places of the rows of the fit; equal to ``transform`` of them.
    landmark_embedding_ : ndarray of shape (n_landmarks_, n_components), float64
    landmark_labels_ : ndarray of shape (n_landmarks_,)
        Their segments, where `fit` was given labels.
    n_landmarks_ : int
        Fewer than `n_landmarks` where rows are fewer, or many in one place: it is on the map once.
    trustworthiness_, continuity_ : float
        Whether neighbours on the map are neighbours in the data, as in scikit-learn, and the
        other way round; 15 neighbours among up to 5,000 rows, drawn half by size of segments
        and half evenly. NaN below three rows.
    neighbor_recall_ : float
        Share of those neighbours in the data that are so on the map.
    centroid_correlation_ : float
        Rank correlation of the distances between segments on the map and in the data; NaN
        below three segments. A warning names a trustworthiness below 0.85 and a correlation
        below 0.5.
    guide_ : Guide
        What `transform` needs: components, landmarks and their places.
    n_passes_ : float
        Full reads of the data.
    n_features_in_ : int
    feature_names_in_ : ndarray of str
        Only where the input has names.

    See Also
    --------
    TSNE : Shows finer groups, and less of how they lie to each other.

    Notes
    -----
    Needs ``pip install 'daskseg[maps]'``. Passes: three (ranges, covariances, landmarks); one more
    with labels, one before where numbers of rows are unknown, and one for `embedding_` where
    the rows are in memory. Memory in this process: about ``n_landmarks * (80 * p + 50 *
    n_neighbors)`` bytes for p components, and umap-learn itself; in each task one block and a
    model of ``n_landmarks * p * 24`` bytes. None of it grows with the number of rows.

    The layout runs on one thread, for the sake of the same bits.

    References
    ----------
    McInnes, Healy and Melville, arXiv 1802.03426, 2018. Kobak and Linderman, Nature
    Biotechnology 39, 2021, on first places by principal components. Kobak and Berens, Nature
    Communications 10, 2019, on placing rows by the median of their neighbours.

    Examples
    --------
    >>> import numpy as np
    >>> from daskseg.manifold import UMAP
    >>> label = np.arange(300) % 3
    >>> rows = np.random.default_rng(0).normal(size=(300, 4)) + 10 * label[:, None] ** 2
    >>> drawn = UMAP(n_epochs=50).fit(rows, labels=label)  # doctest: +SKIP
    >>> drawn.embedding_.shape, drawn.trustworthiness_ > 0.85  # doctest: +SKIP
    ((300, 2), True)
    """

    def __init__(
        self,
        n_components: int = 2,
        *,
        n_neighbors: int = 30,
        min_dist: float = 0.1,
        n_epochs: int | None = None,
        n_landmarks: int = 50_000,
        random_state: Any = None,
    ) -> None:
        self.n_components = n_components
        self.n_neighbors = n_neighbors
        self.min_dist = min_dist
        self.n_epochs = n_epochs
        self.n_landmarks = n_landmarks
        self.random_state = random_state

    def check_library(self) -> None:
        """Refuse to begin without umap-learn, with MissingExtraError."""
        _library()

    def _check_parameters(self) -> None:
        super()._check_parameters()
        check_count("n_neighbors", self.n_neighbors, least=2)
        check_number("min_dist", self.min_dist, np.nextafter(1.0, 2.0))
        if self.n_epochs is not None and not is_count(self.n_epochs):
            raise UsageError(
                f"n_epochs={self.n_epochs!r} is neither a whole number from 1 nor None."
            )

    def _n_neighbors(self, n_landmarks: int) -> int:
        # umap-learn counts a landmark among its own neighbours.
        return min(int(self.n_neighbors), n_landmarks - 1) - 1

    def _lay_out(self, near: NDArray[np.int64], dists: Floats, start: Floats, seed: int) -> Floats:
        n_landmarks = len(start)
        low = start.min(axis=0)
        first = _RANGE * (start - low) / (start.max(axis=0) - low)
        itself = np.arange(n_landmarks)[:, None]
        known = (
            np.hstack([itself, near]),
            np.hstack([np.zeros((n_landmarks, 1)), dists]).astype(np.float32),
        )
        with warnings.catch_warnings():
            # It says that it could not place other rows, which are placed here.
            warnings.simplefilter("ignore")
            model = _library()(
                n_neighbors=known[0].shape[1],
                n_components=start.shape[1],
                min_dist=float(self.min_dist),
                n_epochs=self.n_epochs,
                init=first.astype(np.float32),
                precomputed_knn=known,
                random_state=seed % 2**32,
                n_jobs=1,
            ).fit(first)
        return np.asarray(model.embedding_, dtype=np.float64)


def _library() -> Any:
    """Return umap-learn's estimator; loading it takes seconds."""
    try:
        with warnings.catch_warnings():
            # It misses TensorFlow, which this part of it does not use.
            warnings.simplefilter("ignore")
            from umap.umap_ import UMAP as Layout  # noqa: PLC0415 - an extra
    except ImportError as error:
        raise extras.missing("UMAP", "umap-learn", error) from error
    return Layout
