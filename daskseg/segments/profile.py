"""What the members of each segment are like, counted on all rows.

Covers: sizes, exact totals, means, order statistics, positions against all customers, the
table of segments against rule names, and the distances that mark outliers. Does not cover:
names (`segments.names`) or sentences (`segments.record`).

Cost: four passes for exact quantiles and one for everything else; parts of a few kB.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from daskseg.engine import passes
from daskseg.engine.blocks import Blocks, Rows
from daskseg.features.schemes import Scheme
from daskseg.features.scores import SCORED
from daskseg.kernels import grid
from daskseg.kernels.prepare import FeaturePlan
from daskseg.metrics.quantiles import group_order_statistics, order_statistics
from daskseg.segments.grouping import Grouping
from daskseg.segments.model import SegmentModel, scores_of
from daskseg.segments.reduction import Reduction, comparable

OUTLIER_QUANTILE = 0.995
_INT64_SAFE = 2.0**62


@dataclass(frozen=True)
class Clustering:
    """What turns raw rows into cluster numbers: picklable, called inside tasks.

    Attributes
    ----------
    active : tuple of int
        Columns of the feature table that are prepared.
    plan : tuple of FeaturePlan
    grouping : Grouping
    reduction : Reduction or None
    """

    active: tuple[int, ...]
    plan: tuple[FeaturePlan, ...]
    grouping: Grouping
    reduction: Reduction | None = None

    @property
    def n_labels(self) -> int:
        """Number of groups, noise among them."""
        return len(self.grouping.centres) + self.grouping.has_noise

    def prepare(self, values: NDArray[Any]) -> NDArray[np.float64]:
        """Prepare the active columns of a block, and project them where that was fitted."""
        return comparable(values[:, list(self.active)], self.plan, self.reduction)

    def labels(self, values: NDArray[Any]) -> NDArray[np.int32]:
        """Return the group of each row; noise is the last."""
        first = self.grouping.of(self.prepare(values)).first
        return np.where(first < 0, np.int32(len(self.grouping.centres)), first)

    def with_distance(self, values: NDArray[Any]) -> NDArray[np.float64]:
        """Append the distance to the own centre as a last column."""
        return np.column_stack([values, self.grouping.of(self.prepare(values)).distance])

    def labels_before_distance(self, values: NDArray[Any]) -> NDArray[np.int32]:
        """Return the cluster of rows that carry their distance as a last column."""
        return self.labels(values[:, :-1])


class Profile(NamedTuple):
    """Numbers per cluster (rows) and feature (columns); all in the units of the features.

    Attributes
    ----------
    sizes : ndarray of shape (k,), int64
    totals : ndarray of shape (k,), object, or None
        Exact sums of the value feature in its smallest unit (integers).
    means : ndarray of shape (k, d), float64
    quartiles : ndarray of shape (k, d, 3), float64
        25 %, median and 75 %; lower order statistics, NaN where a cluster has no value.
    whole_means : ndarray of shape (d,)
    whole_quartiles : ndarray of shape (d, 3)
    missing : ndarray of shape (k, d), int64
    position : ndarray of shape (k, d), float64
        Share of all customers below the cluster's median, ties counted half; NaN without one.
    rules : ndarray of shape (k, n_names), int64, or None
        Members by the name that the scheme gives each of them.
    outlier_dist : ndarray of shape (k,), float64
    """

    sizes: NDArray[np.int64]
    totals: NDArray[Any] | None
    means: NDArray[np.float64]
    quartiles: NDArray[np.float64]
    whole_means: NDArray[np.float64]
    whole_quartiles: NDArray[np.float64]
    missing: NDArray[np.int64]
    position: NDArray[np.float64]
    rules: NDArray[np.int64] | None
    outlier_dist: NDArray[np.float64]

    def reordered(self, order: NDArray[np.intp]) -> Profile:
        """Return the profile with its clusters in another order."""
        per_cluster = {
            name: getattr(self, name)[order]
            for name in ("sizes", "means", "quartiles", "missing", "position", "outlier_dist")
        }
        totals = None if self.totals is None else self.totals[order]
        rules = None if self.rules is None else self.rules[order]
        return self._replace(**per_cluster, totals=totals, rules=rules)


def _quartile_ranks(n_valid: int) -> list[int]:
    last = n_valid - 1
    return [last // 4 + 1, last // 2 + 1, last - last // 4 + 1, n_valid]


def _whole_ranks(n_valid: int) -> list[int]:
    return [1, *_quartile_ranks(n_valid)]


def _cluster_ranks(n_valid: int) -> list[int]:
    outlier = int(np.ceil(OUTLIER_QUANTILE * n_valid))
    return [*_quartile_ranks(n_valid)[:3], max(1, outlier)]


class _Counts(NamedTuple):
    sizes: NDArray[Any]
    totals: NDArray[Any]
    sums: grid.GridSum
    missing: NDArray[Any]
    below: NDArray[Any]
    equal: NDArray[Any]
    rules: NDArray[Any]


class _Naming(NamedTuple):
    scheme: Scheme
    cut_points: Mapping[str, list[float]]


class _CountSpec(NamedTuple):
    clustering: Clustering
    exponents: NDArray[np.int64]
    medians: NDArray[np.float64]
    value: int | None
    value_decimals: int
    columns: tuple[str, ...]
    naming: _Naming | None


def _rule_counts(
    values: NDArray[Any], labels: NDArray[np.int32], k: int, spec: _CountSpec
) -> NDArray[np.int64]:
    if spec.naming is None:
        return np.zeros((k, 0), dtype=np.int64)
    scheme, cut_points = spec.naming
    columns = {name: values[:, column] for column, name in enumerate(spec.columns)}
    numbers = scheme.entry_of(*scores_of(columns, cut_points)).astype(np.int64)
    n_names = len(scheme.names)
    flat = np.bincount(labels * n_names + numbers, minlength=k * n_names)
    return flat.reshape(k, n_names)


def _sum_whole(units: NDArray[np.float64]) -> int:
    """Sum whole numbers exactly, beyond 64 bits too."""
    if np.abs(units).max(initial=0.0) * len(units) < _INT64_SAFE:
        return int(units.astype(np.int64).sum())
    return sum(int(unit) for unit in units.tolist())


def _count_block(rows: Rows, spec: _CountSpec) -> _Counts:
    values = np.asarray(rows.values, dtype=np.float64)
    k, d = spec.medians.shape
    labels = spec.clustering.labels(values)
    missing = np.isnan(values)
    filled = np.where(missing, 0.0, values)
    high = np.zeros((k, d), dtype=object)
    low = np.zeros((k, d), dtype=object)
    missed = np.zeros((k, d), dtype=np.int64)
    below = np.zeros((k, d), dtype=np.int64)
    equal = np.zeros((k, d), dtype=np.int64)
    totals = np.zeros(k, dtype=object)
    for cluster in range(k):
        members = labels == cluster
        total = grid.sum_columns(filled[members], spec.exponents)
        high[cluster], low[cluster] = total.high, total.low
        missed[cluster] = missing[members].sum(axis=0)
        with np.errstate(invalid="ignore"):
            below[cluster] = (values < spec.medians[cluster]).sum(axis=0)
            equal[cluster] = (values == spec.medians[cluster]).sum(axis=0)
        if spec.value is not None:
            units = np.rint(filled[members, spec.value] * 10.0**spec.value_decimals)
            totals[cluster] = _sum_whole(units)
    return _Counts(
        np.bincount(labels, minlength=k),
        totals,
        grid.GridSum(high, low),
        missed,
        below,
        equal,
        _rule_counts(values, labels, k, spec),
    )


def _add_counts(a: _Counts, b: _Counts) -> _Counts:
    return _Counts(
        a.sizes + b.sizes,
        a.totals + b.totals,
        grid.add(a.sums, b.sums),
        a.missing + b.missing,
        a.below + b.below,
        a.equal + b.equal,
        a.rules + b.rules,
    )


def _pad(found: list[NDArray[np.float64]], width: int) -> NDArray[np.float64]:
    return np.array([row if len(row) else np.full(width, np.nan) for row in found])


def profile_segments(
    blocks: Blocks,
    clustering: Clustering,
    *,
    value: int | None,
    value_decimals: int,
    scheme: Scheme | None = None,
    cut_points: Mapping[str, list[float]] | None = None,
) -> Profile:
    """Profile every cluster on all rows.

    Parameters
    ----------
    blocks : Blocks
        The feature table, all columns, in their units; NaN marks a missing value.
    clustering : Clustering
    value : int or None
        Column whose exact totals are wanted.
    value_decimals : int
        Decimals of that column: its totals are counted in units of ``10**-value_decimals``.
    scheme, cut_points : optional
        For an RFM study: how each customer is named by rule.

    Returns
    -------
    Profile
    """
    k, d = clustering.n_labels, blocks.n_features
    whole, n_valid = order_statistics(blocks, _whole_ranks)
    extended = blocks.map(clustering.with_distance, n_features=d + 1)
    grouped, _ = group_order_statistics(
        extended, clustering.labels_before_distance, k, _cluster_ranks
    )
    by_cluster = np.array([_pad(found, 4) for found in grouped])
    ends = _pad(whole, 5)
    exponents = grid.range_exponents(np.nan_to_num(ends[:, 0]), np.nan_to_num(ends[:, 4]))
    naming = None
    if scheme is not None and cut_points is not None:
        naming = _Naming(scheme, cut_points)
    spec = _CountSpec(
        clustering,
        exponents,
        by_cluster[:, :d, 1],
        value,
        value_decimals,
        blocks.columns or tuple(f"x{i}" for i in range(d)),
        naming,
    )
    counts = passes.reduce(blocks, _count_block, _add_counts, spec, name="profile")
    valid = np.asarray(n_valid)
    sums = grid.GridSum(counts.sums.high.sum(axis=0), counts.sums.low.sum(axis=0))
    members = counts.sizes[:, None] - counts.missing
    with np.errstate(invalid="ignore", divide="ignore"):
        position = (counts.below + 0.5 * counts.equal) / valid
    position = np.where(np.isnan(spec.medians), np.nan, position)
    return Profile(
        sizes=counts.sizes,
        totals=None if value is None else counts.totals,
        means=grid.to_floats(counts.sums, exponents, members),
        quartiles=by_cluster[:, :d, :3],
        whole_means=grid.to_floats(sums, exponents, valid),
        whole_quartiles=ends[:, 1:4],
        missing=counts.missing,
        position=position,
        rules=counts.rules if naming is not None else None,
        outlier_dist=by_cluster[:, d, 3],
    )


def value_order(profile: Profile, n_groups: int) -> NDArray[np.intp]:
    """Return the groups by falling total value (else size); ties by size, then by number.

    What comes behind the first `n_groups`, the noise, is left out.
    """
    sizes = profile.sizes.tolist()
    totals = sizes if profile.totals is None else profile.totals.tolist()
    keys = [(-totals[j], -sizes[j], j) for j in range(n_groups)]
    return np.array([j for _, _, j in sorted(keys)], dtype=np.intp)


def median_scores(model: SegmentModel, profile: Profile, segment: int) -> tuple[int, int, int]:
    """Return the R, F and M scores of a segment's medians, by the model's cut points."""
    if model.cut_points is None:
        raise ValueError("only a model with cut points scores its medians")
    names = [feature.name for feature in model.features]
    medians = {name: profile.quartiles[segment, names.index(name), 1:2] for name in SCORED}
    r, f, m = (int(score[0]) for score in scores_of(medians, model.cut_points))
    return r, f, m


def agreement_ari(table: NDArray[np.int64]) -> float:
    """Return the adjusted Rand index of the two partitions that a contingency table compares.

    Examples
    --------
    >>> agreement_ari(np.array([[5, 0], [0, 5]]))
    1.0
    """

    def pairs(counts: NDArray[np.int64]) -> int:
        return sum(int(n) * (int(n) - 1) // 2 for n in counts.ravel())

    both, rows, columns = pairs(table), pairs(table.sum(axis=1)), pairs(table.sum(axis=0))
    total = pairs(np.array([table.sum()]))
    if total == 0:
        return 1.0
    expected = rows * columns / total
    largest = (rows + columns) / 2
    return 1.0 if largest == expected else float((both - expected) / (largest - expected))


__all__ = [
    "Clustering",
    "Profile",
    "agreement_ari",
    "median_scores",
    "profile_segments",
    "value_order",
]
