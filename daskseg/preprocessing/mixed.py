"""Tables of numbers, ranks and categories as columns whose squared distances can be added.

Covers: `MixedEncoder`. Does not cover: the arithmetic on a block (`kernels.categories`) or numbers
alone (`preprocessing.prepare`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Self

import dask.array as da
import dask.dataframe as dd
import numpy as np
import pandas as pd
from dask.delayed import delayed
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils.validation import check_is_fitted

from daskseg.engine import passes
from daskseg.engine.blocks import Blocks, Load, Rows
from daskseg.errors import InputError, UsageError, warn
from daskseg.inputs import as_frame, same_columns
from daskseg.kernels import categories, eigen
from daskseg.kernels.categories import MISSING, Count
from daskseg.kernels.prepare import FeaturePlan
from daskseg.parameters import check_count
from daskseg.preprocessing.mixed_plan import Hashed, Indicators, MixedPlan, Ranks, objects_of
from daskseg.preprocessing.prepare import Prepare

Floats = NDArray[np.float64]
BLOCKS = ("numeric", "ordinal", "categorical", "high_cardinality")
# Buckets of all columns of many categories together: their matrix takes 134 MB.
MOST_BUCKETS = 4_096
_PIECE_ROWS = 2**16


class MixedEncoder(TransformerMixin, BaseEstimator):
    """Turn a table of numbers, ranks and categories into numbers, so that any clusterer takes it.

    Every column has the same say: the total variance of what it becomes is one, times the weight
    of its kind. Two rows with different categories are then as far from each other, on average,
    as two rows in a standardised number.

    Parameters
    ----------
    categorical : "auto" or list of str
        "auto" takes all columns that are not numbers; a list names further ones, such as codes.
    ordinal : mapping of str to list, optional
        Columns whose levels have an order, from the lowest to the highest. A level becomes the
        share of the rows below it, and half of its own.
    prepare : None or Prepare
        How numbers are made comparable; None for the defaults of `Prepare`.
    weights : mapping of str to float, optional
        By how much more than once a squared distance counts: of "numeric", "ordinal",
        "categorical" and "high_cardinality" columns; 1 where not given, 0 leaves out.
    max_categories : int
        Columns of more categories have no indicators: they are hashed to buckets, and
        become the components in which their buckets go with each other and with the other
        categories.
    n_components : int
        At most so many components, of all columns of many categories together. Only those are
        kept that no chance would make.
    n_buckets : int
        For each of these columns; fewer where they are many.

    Attributes
    ----------
    plan_ : MixedPlan
    n_components_ : int
    n_features_in_ : int
    feature_names_in_ : ndarray of str

    See Also
    --------
    Prepare : For numbers alone.

    Notes
    -----
    Passes: those of `Prepare` over the numbers, one over the categories, and one more where a
    column has many. Memory: counts of at most 10,000 categories per column, and a matrix of
    8 bytes for each pair of buckets, at most 4,096; a task holds a partition as objects.

    Missing numbers are filled in and marked as in `Prepare`; a missing category is a category of
    its own; a missing level stands in the middle. A category that the fit did not see has no
    indicator: it is as far from all others.

    On eight kinds of made tables with known groups and on two real ones this is compared with
    k-prototypes and with plain indicators in ``benchmarks/compare/mixed.py``.

    The same bits come out for any partitions and number of workers.

    References
    ----------
    Huang, Extensions to the k-means algorithm for clustering large data sets with categorical
    values, Data Mining and Knowledge Discovery 2, 1998. Greenacre, Correspondence Analysis in
    Practice, 2007. Bross, How to use ridit analysis, Biometrics 14, 1958.

    Examples
    --------
    >>> import pandas as pd
    >>> from daskseg.preprocessing import MixedEncoder
    >>> table = pd.DataFrame({"plan": ["a", "b", "a", "b"], "size": ["S", "L", "M", "S"]})
    >>> encoder = MixedEncoder(ordinal={"size": ["S", "M", "L"]}).fit(table)
    >>> encoder.transform(table).round(2).tolist()
    [[-0.94, 0.71, -0.71], [1.41, -0.71, 0.71], [0.47, 0.71, -0.71], [-0.94, -0.71, 0.71]]
    >>> encoder.get_feature_names_out().tolist()
    ['size', 'plan=a', 'plan=b']
    """

    def __init__(
        self,
        *,
        categorical: str | Sequence[str] = "auto",
        ordinal: Mapping[str, Sequence[Any]] | None = None,
        prepare: Prepare | None = None,
        weights: Mapping[str, float] | None = None,
        max_categories: int = 32,
        n_components: int = 8,
        n_buckets: int = 512,
    ) -> None:
        self.categorical = categorical
        self.ordinal = ordinal
        self.prepare = prepare
        self.weights = weights
        self.max_categories = max_categories
        self.n_components = n_components
        self.n_buckets = n_buckets

    def fit(self, X: Any, y: None = None) -> Self:
        """Learn categories and scales.

        Parameters
        ----------
        X : pandas or dask DataFrame, or a table that narwhals knows
            One row per customer.
        y : ignored

        Raises
        ------
        UsageError
            If a parameter is wrong or names a column that is not there.
        InputError
            If the table has no rows, if a column is a date or has as many categories as rows, or
            if an ordinal column has a level that was not named.
        """
        weights = self._check_parameters()
        frame = _as_table(X)
        numeric, ordinal, text = self._sort_columns(frame)
        self.feature_names_in_ = np.array(frame.columns, dtype=object)
        self.n_features_in_ = len(frame.columns)
        steps, missing = self._learn_numbers(frame, numeric)
        ranks: list[Ranks] = []
        known: list[Indicators] = []
        hashed = None
        if ordinal or text:
            blocks = _object_blocks(frame, [*ordinal, *text])
            found: Count = passes.reduce(blocks, _count, categories.merge_counts, name="categories")
            if not found.n_rows:
                raise InputError("the table has no rows: there is nothing to learn from.")
            counted = dict(zip([*ordinal, *text], found.columns, strict=True))
            ranks = [self._rank(name, counted[name], weights["ordinal"]) for name in ordinal]
            high = [name for name in text if self._has_many(name, counted[name], found.n_rows)]
            low = {name: counted[name] for name in text if name not in high}
            known = [
                _indicators(name, counts or {}, weights["categorical"])
                for name, counts in low.items()
            ]
            if high:
                own = weights["high_cardinality"]
                hashed = self._learn_hashed(frame, found.n_rows, known, high, own)
        self.n_components_ = 0 if hashed is None else hashed.loadings.shape[1]
        self.plan_ = MixedPlan(
            tuple(numeric),
            steps,
            missing,
            float(np.sqrt(weights["numeric"])),
            tuple(ranks),
            tuple(known),
            hashed,
        )
        return self

    def transform(self, X: Any) -> Any:
        """Turn a table into numbers; a dask frame gives a lazy array of unknown length.

        Parameters
        ----------
        X : as for `fit`

        Returns
        -------
        array of shape (n_rows, n_columns), float64

        Raises
        ------
        SchemaMismatchError
            If the columns are not those of the fit.
        InputError
            For infinite numbers; for lazy tables when it is computed.
        """
        check_is_fitted(self)
        frame = _as_table(X)
        same_columns(frame.columns, self.feature_names_in_)
        if isinstance(frame, pd.DataFrame):
            starts = range(0, max(len(frame), 1), _PIECE_ROWS)
            pieces = [self.plan_.encode(frame.iloc[i : i + _PIECE_ROWS]) for i in starts]
            return np.concatenate(pieces)
        plan = delayed(self.plan_, pure=False)
        width = len(self.plan_.names)
        call = delayed(_encode, pure=False)
        parts = [
            da.from_delayed(call(part, plan), shape=(np.nan, width), dtype=np.float64)
            for part in frame.to_delayed()
        ]
        return da.concatenate(parts, axis=0)

    def get_feature_names_out(self, input_features: Any = None) -> NDArray[Any]:
        """Return the names of the columns that come out."""
        check_is_fitted(self)
        return np.array(self.plan_.names, dtype=object)

    def _check_parameters(self) -> dict[str, float]:
        for name in ("max_categories", "n_components", "n_buckets"):
            check_count(name, getattr(self, name))
        given = dict(self.weights or {})
        unknown = [name for name in given if name not in BLOCKS]
        if unknown:
            raise UsageError(f"weights names {unknown}, but the kinds are {', '.join(BLOCKS)}.")
        for name, weight in given.items():
            if not (isinstance(weight, int | float) and 0 <= weight < np.inf):
                raise UsageError(f"weights[{name!r}]={weight!r} is not a number from 0.")
        return {name: float(given.get(name, 1.0)) for name in BLOCKS}

    def _sort_columns(
        self, frame: pd.DataFrame | dd.DataFrame
    ) -> tuple[list[str], list[str], list[str]]:
        """Return the names of the columns of numbers, of ranks and of categories."""
        names = [str(name) for name in frame.columns]
        ordinal = dict(self.ordinal or {})
        if isinstance(self.categorical, str) and self.categorical != "auto":
            raise UsageError(f"categorical={self.categorical!r} is neither 'auto' nor a list.")
        named = [] if isinstance(self.categorical, str) else list(self.categorical)
        for what, given in (("categorical", named), ("ordinal", list(ordinal))):
            unknown = [name for name in given if name not in names]
            if unknown:
                raise UsageError(f"{what} names {unknown}, but the columns are {names}.")
        both = sorted(set(named) & set(ordinal))
        if both:
            raise UsageError(f"{both} are named as categorical and as ordinal: take one.")
        numeric: list[str] = []
        text: list[str] = []
        for name, dtype in zip(names, frame.dtypes, strict=True):
            if pd.api.types.is_datetime64_any_dtype(dtype) or pd.api.types.is_timedelta64_dtype(
                dtype
            ):
                raise InputError(
                    f"column {name!r} holds dates or durations. Turn it into a number, such as "
                    "days since then, or leave it out."
                )
            is_number = pd.api.types.is_numeric_dtype(dtype)
            is_number = is_number and not pd.api.types.is_bool_dtype(dtype)
            if name in ordinal:
                continue
            (numeric if is_number and name not in named else text).append(name)
        return numeric, list(ordinal), text

    def _learn_numbers(
        self, frame: pd.DataFrame | dd.DataFrame, numeric: list[str]
    ) -> tuple[tuple[FeaturePlan, ...], str]:
        prepare = Prepare() if self.prepare is None else self.prepare
        if not numeric:
            return (), prepare.missing
        learned = Prepare(**prepare.get_params()).fit(frame[numeric])
        return learned.plan_, learned.missing

    def _rank(self, name: str, counts: dict[str, int] | None, weight: float) -> Ranks:
        levels = [categories.text_of(level) for level in (self.ordinal or {})[name]]
        if len(set(levels)) < len(levels):
            raise UsageError(f"ordinal[{name!r}] names a level twice: {levels}.")
        found = {} if counts is None else {text: n for text, n in counts.items() if text != MISSING}
        unknown = sorted(set(found) - set(levels))
        if unknown or counts is None:
            raise InputError(
                f"column {name!r} has the levels {unknown[:5]}, which ordinal does not name: "
                f"{levels}. Name all, from the lowest to the highest."
            )
        n = np.array([found.get(level, 0) for level in levels], np.float64)
        total = max(float(np.cumsum(n)[-1]), 1.0)
        below = (np.cumsum(n) - n / 2.0) / total - 0.5
        variance = float(np.cumsum(n * below**2)[-1]) / total
        scale = np.sqrt(weight / variance) if variance > 0 else 0.0
        return Ranks(name, dict(zip(levels, (below * scale).tolist(), strict=True)))

    def _has_many(self, name: str, counts: dict[str, int] | None, n_rows: int) -> bool:
        if counts is None:
            return True
        if len(counts) == n_rows > int(self.max_categories):
            raise InputError(
                f"column {name!r} has another category in each of {n_rows:,} rows: it names rows "
                "and says nothing of groups. Leave it out."
            )
        return len(counts) > int(self.max_categories)

    def _learn_hashed(
        self,
        frame: pd.DataFrame | dd.DataFrame,
        n_rows: int,
        known: list[Indicators],
        high: list[str],
        weight: float,
    ) -> Hashed | None:
        """Find the components of the columns of many categories. One pass."""
        n_buckets = max(2, min(int(self.n_buckets), MOST_BUCKETS // len(high)))
        empty = np.empty((0, 0))
        hashed = Hashed(tuple(high), n_buckets, empty, empty)
        n_known = sum(len(one.places) for one in known)
        # Beside them, as far as there is room: the categories that they may go with.
        beside = tuple(known) if n_known + n_buckets * len(high) <= 2 * MOST_BUCKETS else ()
        blocks = _object_blocks(frame, [*(one.name for one in beside), *high])
        together = passes.reduce(blocks, _pairs, np.add, beside, hashed, name="categories")
        n_hashed = n_buckets * len(high)
        n_columns = len(beside) + len(high)
        loadings = _components(together, n_rows, n_columns, n_hashed, int(self.n_components))
        if loadings is None:
            warn(
                f"the categories of {', '.join(high)} go with no other categories more than by "
                f"chance, and each alone is rare: {'they take' if len(high) > 1 else 'it takes'} "
                "no part in distances. Join them to fewer categories, or raise max_categories."
            )
            return None
        values, center = loadings
        scale = np.sqrt(weight * len(high))
        return Hashed(tuple(high), n_buckets, values * scale, center * scale)


def _as_table(X: Any) -> Any:
    frame = as_frame(X)
    if not isinstance(frame, pd.DataFrame | dd.DataFrame):
        raise UsageError(
            f"a table with named columns is due, but X is a {type(X).__name__}. Give a DataFrame; "
            "rows of numbers alone are prepared by daskseg.preprocessing.Prepare."
        )
    names = list(frame.columns)
    if not all(isinstance(name, str) for name in names) or len(set(names)) < len(names):
        raise UsageError(f"the columns {names} are not all text, or some have the same name.")
    return frame


def _object_blocks(frame: pd.DataFrame | dd.DataFrame, names: list[str]) -> Blocks:
    if isinstance(frame, pd.DataFrame):
        return Blocks.from_array(objects_of(frame, names), columns=tuple(names))
    loads = tuple(Load(objects_of, (part, names)) for part in frame.to_delayed())
    lengths = (-1,) * len(loads)
    return Blocks(loads, lengths, len(names), np.dtype(object), tuple(names))


def _count(rows: Rows) -> Count:
    return categories.count_block(rows.values)


def _pairs(rows: Rows, known: tuple[Indicators, ...], hashed: Hashed) -> NDArray[np.int64]:
    n_known = len(known)
    codes = [
        categories.known_codes(column, one.places)
        for column, one in zip(rows.values.T[:n_known], known, strict=True)
    ]
    codes += hashed.codes(rows.values[:, n_known:])
    sizes = [len(one.places) for one in known] + [hashed.n_buckets] * len(hashed.names)
    return categories.pair_block(codes, sizes)


def _indicators(name: str, counts: dict[str, int], weight: float) -> Indicators:
    texts = sorted(counts)
    n = np.array([counts[text] for text in texts], np.float64)
    shares = n / float(np.cumsum(n)[-1])
    # The variances of the indicators add up to this: the chance that two rows differ, halved.
    variance = 1.0 - float(np.cumsum(shares**2)[-1])
    if len(texts) == 1:
        warn(f"column {name!r} has one category only: it does not tell rows apart")
    scale = float(np.sqrt(weight / variance)) if len(texts) > 1 else 0.0
    return Indicators(name, {text: i for i, text in enumerate(texts)}, shares, scale)


def _edge_of_chance(n_categories: int, n_columns: int, n_rows: int) -> float:
    """Return the largest eigenvalue that independent columns make.

    They span random subspaces, and the eigenvalues are those of the sum of free projections
    (Voiculescu, Dykema and Nica, Free Random Variables, 1992); for two columns the edge is that
    of Wachter (Annals of Statistics 8, 1980). Above it by a little, for what is left to chance.
    """
    share = min((n_categories - n_columns) / n_columns / n_rows, 1.0)
    edge = (np.sqrt((n_columns - 1) * share) + np.sqrt(1.0 - share)) ** 2
    return float(edge + 2.0 * n_rows ** (-2.0 / 3.0))


def _components(
    together: NDArray[np.int64], n_rows: int, n_columns: int, n_hashed: int, n_components: int
) -> tuple[Floats, Floats] | None:
    """Return what each bucket adds to the components of total variance one, and their means.

    Multiple correspondence analysis: the correlations of the indicators, each over the root of
    its share. An eigenvalue of one is a column that goes with no other.
    """
    counts = np.diag(together).astype(np.float64)
    shares = counts / n_rows
    is_used = counts > 0
    first = len(together) - n_hashed
    root = np.sqrt(shares[is_used])
    used = together[np.ix_(is_used, is_used)] / n_rows
    values, vectors = eigen.eigh_falling((used / root[:, None] / root) - np.outer(root, root))
    edge = _edge_of_chance(int(is_used.sum()), n_columns, n_rows)
    n_kept = min(n_components, int((values > edge).sum()))
    if not n_kept:
        return None
    loadings = np.zeros((len(together), n_kept))
    loadings[is_used] = vectors[:n_kept].T / root[:, None]
    loadings = loadings[first:]
    own = together[first:, first:] / n_rows
    center = shares[first:] @ loadings
    variance = np.einsum("ij,ik,kj->j", loadings, own, loadings) - center**2
    told = values[:n_kept] - 1.0
    scale = np.sqrt(told / float(np.cumsum(told)[-1]) / np.maximum(variance, 1e-300))
    return loadings * scale, center * scale


def _encode(frame: pd.DataFrame, plan: MixedPlan) -> Floats:
    return plan.encode(frame)
