"""How hard to search: numbers of rows, starts, swaps and joins by the size of the problem.

Covers: the constants of the search, with what they were measured on. Does not cover: what is
done with them (see `cluster.search.fit`).
"""

from __future__ import annotations

from typing import NamedTuple

# Rows on which starts are made, and on which swaps and joins are.
_SMALL_ROWS, _SMALL_ROWS_PER_CLUSTER = 8_192, 40
_LARGE_ROWS, _LARGE_ROWS_PER_CLUSTER, _LARGE_WORK = 30_000, 200, 10_000_000
# So few clusters leave time for more rows, and have few solutions that are nearly as good. On
# 300,000 rows without clusters, k = 10, 12 islands on 62,500 rows ended 0.03 to 0.04 % too high in
# 4 of 20 runs; 6 islands on all rows do in none of 10, in the same time.
_FEW_CLUSTERS, _FEW_ISLANDS, _FEW_WORK = 10, 6, 50_000_000
# Below it even the hardest search takes about a second.
_NO_WORK = 4_000_000


class Effort(NamedTuple):
    """How hard to search.

    Attributes
    ----------
    n_islands, n_starts : int
        Groups of starts, and starts in all; each group improves its best one by swaps.
    n_rounds, n_tries : int
        Rounds of swaps, and swaps tried in each.
    population, n_pairs : int
        Solutions that are kept, and pairs of them that are joined in a generation.
    n_generations, patience : int
        Most generations, and how many without a gain are the last.
    n_finalists, n_last_rounds : int
        Solutions that are followed to their end on all rows, and rounds of swaps there.
    n_tribes : int
        Most populations that are bred apart, until two of them agree.
    """

    n_islands: int
    n_starts: int
    n_rounds: int
    n_tries: int
    population: int
    n_pairs: int
    n_generations: int
    patience: int
    n_finalists: int
    n_last_rounds: int
    n_tribes: int


# By row-centre-feature products of a step on the large prefix; the last is for all above.
# One start per island: the best of four found the best known centres of a heavy-tailed set in
# 3 of 6 runs, as many islands of one start each (12) in 11 of 11.
_QUICK = (
    (_NO_WORK, Effort(16, 16, 20, 6, 8, 28, 8, 1, 3, 20, 1)),
    (4e7, Effort(12, 12, 20, 6, 6, 15, 6, 1, 2, 20, 1)),
    (4e8, Effort(6, 6, 20, 6, 4, 6, 3, 1, 2, 3, 1)),
    (float("inf"), Effort(2, 2, 3, 3, 2, 1, 1, 1, 1, 0, 1)),
)
# Where the sample is all rows or stands for few of them, nothing but the search can miss the best.
# Measured on spambase, k = 50, runs within 0.05 % of the best known error: 1 of 12 by the quick
# search, 15 of 20 with 6 tries and four tribes, 19 of 20 with 12 tries and six, in a fifth more
# time. Joining a few random pairs over many generations does as much as joining all pairs, in a
# third of the time.
_THOROUGH = (
    (_NO_WORK, Effort(16, 16, 20, 6, 16, 16, 30, 3, 3, 20, 4)),
    (1.5e7, Effort(12, 12, 20, 12, 12, 12, 30, 3, 2, 20, 6)),
    (4e8, Effort(12, 12, 20, 6, 6, 15, 6, 1, 2, 3, 1)),
    _QUICK[-1],
)
# A sample drawn again is of data that are hard: on kddcup99, k = 50, one tribe ended 0.07 % too
# high in 2 of 20 runs; of four, two of them among these, two tribes did in none.
_LEAST_TRIBES_AGAIN = 2
# With several numbers of clusters, neighbours give each other solutions: for 2 to 20 on six sets,
# two starts each ended as low as four (0.01 to 0.1 % above the best of all runs) in 60 % of the
# time.
_SHARED = Effort(2, 2, 6, 4, 2, 1, 2, 1, 1, 0, 1)


def small_rows(n_clusters: int) -> int:
    """Return on how many rows to make starts."""
    return max(_SMALL_ROWS, _SMALL_ROWS_PER_CLUSTER * n_clusters)


def large_rows(n_clusters: int, n_features: int, *, is_thorough: bool) -> int:
    """Return on how many rows to swap and join."""
    most = _FEW_WORK if is_thorough and n_clusters <= _FEW_CLUSTERS else _LARGE_WORK
    by_work = most // (n_clusters * (n_features + 6))
    return max(_LARGE_ROWS, _LARGE_ROWS_PER_CLUSTER * n_clusters, by_work)


def effort_for(work: int, n_clusters: int, *, is_thorough: bool, is_second: bool) -> Effort:
    """Choose how hard to search for one number of clusters alone.

    Parameters
    ----------
    work : int
        Rows of the large prefix times clusters times features.
    n_clusters : int
    is_thorough : bool
    is_second : bool
        The sample was drawn because a first one misjudged all rows.
    """
    efforts = _THOROUGH if is_thorough else _QUICK
    effort = next(effort for most, effort in efforts if work <= most)
    if is_second:
        effort = effort._replace(n_tribes=max(effort.n_tribes, _LEAST_TRIBES_AGAIN))
    if is_thorough and n_clusters <= _FEW_CLUSTERS and work > _NO_WORK:
        n_islands = min(effort.n_islands, _FEW_ISLANDS)
        effort = effort._replace(n_islands=n_islands, n_starts=n_islands)
    return effort


def shared_effort(work: int) -> Effort:
    """Choose how hard to search for each of several numbers of clusters."""
    effort = next(effort for most, effort in _QUICK if work <= most)
    return Effort(*map(min, effort, _SHARED))


def with_starts(effort: Effort, n_init: int) -> Effort:
    """Search with a given number of starts."""
    return effort._replace(n_starts=n_init, n_islands=min(effort.n_islands, n_init), n_tribes=1)
