"""Maps made of landmarks: what the estimators share.

Covers: landmarks in principal components, their first places, placing all other rows beside
them, and the quality of the map. Does not cover: how landmarks are laid out (see `manifold.umap`
and `manifold.tsne`) or counts of rows on a grid (see `manifold.raster`).
"""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple, Self

import numpy as np
from dask.delayed import delayed
from numpy.typing import NDArray
from sklearn.base import ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils.validation import check_is_fitted

from daskseg.decomposition import PCA
from daskseg.engine import passes, progress
from daskseg.engine.blocks import Blocks
from daskseg.errors import InputError, UsageError
from daskseg.estimator import RowsEstimator
from daskseg.inputs import as_blocks, is_lazy, map_rows
from daskseg.kernels import rng
from daskseg.kernels.mapping import Marks, place
from daskseg.kernels.neighbours import leaves_of, nearest
from daskseg.kernels.projection import Projection, project_block
from daskseg.manifold import quality, raster
from daskseg.manifold.draws import Draw, draw_rows
from daskseg.manifold.raster import Raster
from daskseg.metrics.labelled import label_rows
from daskseg.parameters import check_count, seed_of

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
# More are noise to a map, and its searches take longer.
MAX_COMPONENTS = 50
# Landmarks that a row is placed by.
N_PLACING = 10
# Fewer have no neighbourhoods to lay out (openTSNE's places fall together below eight, or become
# infinite): they stay where their components put them.
FEWEST_LANDMARKS = 16
# Of the deviation along the first component: tells apart first places that would be one.
_NOISE = 1e-4
# Arbitrary: rows in components that are held at a time, 26 MB of fifty.
_PIECE_ROWS = 2**16


class Guide(NamedTuple):
    """What it takes to place a row.

    Attributes
    ----------
    projection : Projection
    marks : Marks
    """

    projection: Projection
    marks: Marks

    def place(self, values: NDArray[Any]) -> Floats:
        """Place rows; each alone decides where it stands."""
        marks = self.marks
        found = np.empty((len(values), marks.places.shape[1]))
        k = min(N_PLACING, len(marks.places))
        for start in range(0, len(values), _PIECE_ROWS):
            piece = project_block(values[start : start + _PIECE_ROWS], self.projection)
            found[start : start + _PIECE_ROWS] = place(marks, piece, k)
        return found


class LandmarkMap(ClassNamePrefixFeaturesOutMixin, TransformerMixin, RowsEstimator):
    """Base of the estimators; not for use by itself."""

    n_components: int
    n_landmarks: int
    random_state: Any

    def fit(self, X: Any, y: Any = None, *, labels: Any = None) -> Self:
        """Make the map.

        Parameters
        ----------
        X : rows of any kind that daskseg takes, of shape (n_rows, n_features)
            Prepared as for clustering: distances between them are what is drawn.
        y : ignored
        labels : array-like or lazy Array of shape (n_rows,), optional
            The segment of each row, so that small ones are on the map; found elsewhere, in the
            rows themselves.

        Returns
        -------
        self

        Raises
        ------
        MissingExtraError
            If the library that lays out landmarks is not installed.
        UsageError
            If a parameter is wrong, or if there are more segments than landmarks.
        InputError
            If values are missing, infinite or not numbers, if there are fewer than two rows, or
            if labels do not fit them.
        """
        self.check_library()
        self._check_parameters()
        rows = self._take_features(X)
        seed = seed_of(self.random_state)
        with progress.recording("fit") as log:
            blocks = passes.measure(as_blocks(rows))
            projection = _components(blocks, seed)
            scores = blocks.map(
                project_block,
                projection,
                n_features=len(projection.components),
                dtype=np.float64,
            )
            labelled = None if labels is None else label_rows(scores, labels)
            draws = draw_rows(scores, labelled, int(self.n_landmarks), seed)
            names = None if labelled is None else labelled.names
            self._learn(projection, draws.landmarks, names, seed)
            self._measure(draws.quality)
            self.embedding_ = self._placed(rows)
        self.n_passes_ = log.passes
        quality.warn_of(self._quality, stacklevel=2)
        return self

    def fit_transform(self, X: Any, y: Any = None, *, labels: Any = None) -> Any:
        """Make the map and return `embedding_`; parameters as for `fit`."""
        return self.fit(X, labels=labels).embedding_

    def transform(self, X: Any) -> Any:
        """Place rows on the map.

        Parameters
        ----------
        X : rows of any kind that daskseg takes, of shape (n_rows, n_features)

        Returns
        -------
        ndarray or lazy dask Array of shape (n_rows, n_components)
            float32 for float32 rows, else float64; each row's bits depend on that row only.
        """
        check_is_fitted(self, "guide_")
        return self._placed(self._same_features(X))

    def raster(self, X: Any, *, bins: int = 1024, labels: Any = None) -> Raster:
        """Count the rows in the cells of a grid over the map: all a picture of many needs.

        Parameters
        ----------
        X : rows of any kind that daskseg takes, of shape (n_rows, n_features)
        bins : int
            Cells in each direction.
        labels : array-like or lazy Array of shape (n_rows,), optional
            The segment of each row; each gets a layer of its own.

        Returns
        -------
        Raster

        Notes
        -----
        One pass; one over the labels alone if they are lazy and not numbers, and one before
        where numbers of rows are unknown. Memory: the counts, however many rows there are.
        """
        check_is_fitted(self, "guide_")
        if self.guide_.marks.places.shape[1] != 2:
            raise UsageError(
                f"a raster has two directions, but the map has "
                f"n_components={self.guide_.marks.places.shape[1]}: fit one with two."
            )
        check_count("bins", bins)
        rows = as_blocks(self._same_features(X), allow_missing=False)
        return raster.count(rows, self.guide_.place, self.landmark_embedding_, int(bins), labels)

    @property
    def _n_features_out(self) -> int:
        return int(self.guide_.marks.places.shape[1])

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags

    def check_library(self) -> None:
        """Refuse to begin where the library is missing."""
        raise NotImplementedError

    def _lay_out(self, near: Ints, dists: Floats, start: Floats, seed: int) -> Floats:
        """Lay out landmarks: neighbours of each and their distances, itself not among them."""
        raise NotImplementedError

    def _n_neighbors(self, n_landmarks: int) -> int:
        """Return how many neighbours `_lay_out` takes."""
        raise NotImplementedError

    def _check_parameters(self) -> None:
        check_count("n_components", self.n_components)
        check_count("n_landmarks", self.n_landmarks, least=FEWEST_LANDMARKS)

    def _learn(
        self, projection: Projection, drawn: Draw, names: NDArray[Any] | None, seed: int
    ) -> None:
        """Lay out the landmarks, one for each place in the data."""
        # Many rows in one place would be an island of their own, of neighbours at no distance.
        _, first = np.unique(drawn.values, axis=0, return_index=True)
        first.sort()
        points = np.ascontiguousarray(drawn.values[first])
        leaves = leaves_of(points)
        places = _start(points, int(self.n_components), seed)
        if len(points) >= FEWEST_LANDMARKS:
            n_near = self._n_neighbors(len(points))
            near, sq_dists = nearest(leaves, points, n_near + 1)
            # Each is its own first neighbour. The scale does not matter, but float32 ends early.
            dists = np.sqrt(sq_dists[:, 1:])
            dists /= dists.max()
            places = self._lay_out(near[:, 1:], dists, places, seed)
        self.guide_ = Guide(projection, Marks(leaves, np.ascontiguousarray(places)))
        self.landmark_embedding_ = self.guide_.marks.places
        self.n_landmarks_ = len(points)
        if names is not None:
            self.landmark_labels_ = names[drawn.codes[first]]
        elif hasattr(self, "landmark_labels_"):
            del self.landmark_labels_

    def _measure(self, drawn: Draw) -> None:
        marks = self.guide_.marks
        k = min(N_PLACING, len(marks.places))
        found = quality.measure(drawn.values, place(marks, drawn.values, k), drawn.codes)
        self._quality = found
        self.trustworthiness_ = found.trustworthiness
        self.continuity_ = found.continuity
        self.neighbor_recall_ = found.recall
        self.centroid_correlation_ = found.centroid_correlation

    def _placed(self, X: Any) -> Any:
        """Place rows whose features have been checked."""
        dtype = as_blocks(X).dtype
        answer = partial(_answer, guide=self.guide_, dtype=dtype)
        return map_rows(
            X,
            # One copy in the graph, instead of one per block.
            delayed(answer, pure=False) if is_lazy(X) else answer,
            n_features_in=self.n_features_in_,
            n_features_out=self._n_features_out,
            dtype=dtype,
        )


def _answer(values: NDArray[Any], guide: Guide, dtype: np.dtype[Any]) -> NDArray[Any]:
    return guide.place(values).astype(dtype)


def _components(blocks: Blocks, seed: int) -> Projection:
    """Find the principal components of all rows, fifty at the most."""
    if blocks.n_rows < 2:
        raise InputError(
            f"n_samples={blocks.n_rows}: a map takes at least two rows, for one has no neighbours."
        )
    n_components = min(MAX_COMPONENTS, blocks.n_features, blocks.n_rows)
    pca = PCA(n_components, random_state=seed).fit(blocks)
    return Projection(pca.mean_, pca.components_, np.ones(len(pca.components_)))


def _start(points: Floats, n_components: int, seed: int) -> Floats:
    """Return the first places of landmarks: their first components, and a grain of noise."""
    n_points, n_features = points.shape
    start = np.zeros((n_points, n_components))
    n_known = min(n_components, n_features)
    start[:, :n_known] = points[:, :n_known]
    noise = rng.uniform(seed, rng.MAP_NOISE, 0, start.size).reshape(start.shape) - 0.5
    return np.asarray(start + _NOISE * start[:, 0].std() * noise)
