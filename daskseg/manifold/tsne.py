"""t-SNE of any number of rows, from landmarks.

Covers: the estimator `TSNE`, and its landmarks laid out by openTSNE. Does not cover: what maps
share (see `manifold.base`).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from daskseg.errors import UsageError
from daskseg.manifold import extras
from daskseg.manifold.base import LandmarkMap
from daskseg.parameters import check_landed

Floats = NDArray[np.float64]
# Kobak and Berens (2019): deviation of the first places along the first component.
_START_DEVIATION = 1e-4
_EARLY_EXAGGERATION, _EARLY_ROUNDS, _ROUNDS = 12.0, 250, 500
# Above so many landmarks groups are drawn apart to the end.
_MANY, _LATE_EXAGGERATION = 100_000, 4.0
# openTSNE's own border between its two approximations of forces.
_FEW = 10_000


class TSNE(LandmarkMap):
    """Draw rows so that neighbours stay together: a picture, never what is clustered or scored.

    openTSNE lays out landmarks, a uniform sample with at least 200 rows of each segment, in at
    most 50 principal components; every other row goes to the weighted median of the places of
    its ten nearest landmarks. The same bits come out for any chunking, scheduler and number of
    workers, and on one machine with the same libraries for any two runs.

    Distances between groups, their sizes and their gaps mean little on such a map. There is
    no `predict`, and nothing in daskseg assigns rows by it: cluster the rows, and colour the map.

    Parameters
    ----------
    n_components : {1, 2}
        Columns of the map.
    perplexity : float
        About how many landmarks each is drawn near to.
    n_landmarks : int
        Time and memory of the fit grow with it.
    random_state : None, int, RandomState or Generator
        Decides the landmarks. None is the seed 0.

    Attributes
    ----------
    embedding_ : ndarray or lazy dask Array of shape (n_rows, n_components)
        Places of the rows of the fit; equal to ``transform`` of them.
    kl_divergence_ : float
        Of the layout of the landmarks; NaN where there are fewer than sixteen.
    landmark_embedding_, landmark_labels_, n_landmarks_ : as in `UMAP`
    trustworthiness_, continuity_, neighbor_recall_, centroid_correlation_ : as in `UMAP`
    guide_, n_passes_, n_features_in_, feature_names_in_ : as in `UMAP`

    See Also
    --------
    UMAP : Shows more of how groups lie to each other; its notes on passes and memory hold here.

    Notes
    -----
    Needs ``pip install 'daskseg[maps]'``. First places are principal components of deviation
    1e-4, exaggeration is 12 for 250 rounds and then 1 for 500 (4 above 100,000 landmarks), the
    learning rate the number of landmarks over the exaggeration. The layout runs on one thread,
    for the sake of the same bits.

    References
    ----------
    Kobak and Berens, The art of using t-SNE for single-cell transcriptomics, Nature
    Communications 10, 2019. Linderman et al., Nature Methods 16, 2019, on forces by a Fourier
    transform. Belkina et al., Nature Communications 10, 2019, on the learning rate.

    Examples
    --------
    >>> import numpy as np
    >>> from daskseg.manifold import TSNE
    >>> label = np.arange(300) % 3
    >>> rows = np.random.default_rng(0).normal(size=(300, 4)) + 10 * label[:, None] ** 2
    >>> drawn = TSNE(perplexity=20).fit(rows, labels=label)  # doctest: +SKIP
    >>> drawn.embedding_.shape, drawn.trustworthiness_ > 0.85  # doctest: +SKIP
    ((300, 2), True)
    """

    def __init__(
        self,
        n_components: int = 2,
        *,
        perplexity: float = 30.0,
        n_landmarks: int = 20_000,
        random_state: Any = None,
    ) -> None:
        self.n_components = n_components
        self.perplexity = perplexity
        self.n_landmarks = n_landmarks
        self.random_state = random_state

    def check_library(self) -> None:
        """Refuse to begin without openTSNE, with MissingExtraError."""
        _library()

    def _check_parameters(self) -> None:
        super()._check_parameters()
        check_landed("n_components", self.n_components, (1, 2))
        is_number = isinstance(self.perplexity, int | float | np.number)
        if not is_number or not 1 <= float(self.perplexity) < np.inf:
            raise UsageError(f"perplexity={self.perplexity!r} is not a number from 1.")

    def _n_neighbors(self, n_landmarks: int) -> int:
        return min(int(3 * self.perplexity), n_landmarks - 1)

    def _learn(self, *args: Any) -> None:
        self.kl_divergence_ = float("nan")
        super()._learn(*args)

    def _lay_out(self, near: NDArray[np.int64], dists: Floats, start: Floats, seed: int) -> Floats:
        library = _library()
        n_landmarks, n_near = near.shape
        affinities = library.affinity.PerplexityBasedNN(
            knn_index=library.nearest_neighbors.PrecomputedNeighbors(near, dists),
            perplexity=min(float(self.perplexity), n_near / 3),
            n_jobs=1,
        )
        drawn = library.TSNEEmbedding(
            start * (_START_DEVIATION / start[:, 0].std()),
            affinities,
            negative_gradient_method="bh" if self._takes_trees(n_landmarks) else "fft",
            n_jobs=1,
            random_state=seed % 2**32,
        )
        late = _LATE_EXAGGERATION if n_landmarks > _MANY else 1.0
        rounds = [(_EARLY_ROUNDS, _EARLY_EXAGGERATION, 0.5), (_ROUNDS, late, 0.8)]
        for n_iter, exaggeration, momentum in rounds:
            drawn.optimize(
                n_iter,
                exaggeration=exaggeration,
                momentum=momentum,
                learning_rate="auto",
                inplace=True,
            )
        self.kl_divergence_ = float(drawn.kl_divergence)
        return np.array(drawn, dtype=np.float64)

    def _takes_trees(self, n_landmarks: int) -> bool:
        return n_landmarks < _FEW and self.n_components == 2


def _library() -> Any:
    """Return openTSNE."""
    try:
        import openTSNE  # noqa: PLC0415 - an extra
    except ImportError as error:
        raise extras.missing("TSNE", "openTSNE", error) from error
    return openTSNE
