"""The gap statistic: how much lower the error is than that of rows without structure.

Covers: gaps and standard errors from logarithms of errors, and the 1-SE rule. Does not cover:
the reference rows (see `kernels.draws`) and fits on them (see `criteria.fits`).

Reference: Tibshirani, Walther and Hastie, Estimating the number of clusters in a data set via
the gap statistic, J. R. Stat. Soc. B 2001.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple


class Gap(NamedTuple):
    """The gap at one number of clusters.

    Attributes
    ----------
    gap : float
        Mean logarithm of the squared error of rows without structure, less that of the data.
    se : float
        Its standard error.
    """

    gap: float
    se: float


def gap_of(data: Sequence[float], references: Sequence[float]) -> Gap:
    """Measure the gap at one number of clusters.

    Parameters
    ----------
    data : sequence of float
        Logarithms of the squared errors of draws from the data; at least one.
    references : sequence of float
        Those of as many rows without structure each; at least one.

    Returns
    -------
    Gap
        The error is Tibshirani's, ``sd * sqrt(1 + 1 / B)``, with the sampling error of the
        draws from the data added.

    Examples
    --------
    >>> gap_of([1.0, 1.0], [3.0, 3.0])
    Gap(gap=2.0, se=0.0)
    """
    own, other = math.fsum(data) / len(data), math.fsum(references) / len(references)
    spread = math.fsum((x - other) ** 2 for x in references) / len(references)
    noise = math.fsum((x - own) ** 2 for x in data) / len(data) / len(data)
    return Gap(other - own, math.sqrt(spread * (1.0 + 1.0 / len(references)) + noise))


def bounds(gaps: dict[int, Gap]) -> dict[int, float]:
    """Return how large the gap of each k must be for the 1-SE rule to stop there.

    That is the gap of the next number of clusters less its standard error; the last one has
    no next.
    """
    return {k: gaps[more].gap - gaps[more].se for k, more in pairwise(sorted(gaps))}


def first_within_se(gaps: dict[int, float], bound: dict[int, float]) -> int | None:
    """Return the least k whose gap reaches its bound; None if none does.

    Never the k of the largest gap: on skewed rows without structure that was 6 to 10.

    Examples
    --------
    >>> first_within_se({1: 0.5, 2: 0.9, 3: 0.8}, {1: 0.8, 2: 0.7, 3: 0.9})
    2
    """
    return next((k for k in sorted(bound) if gaps[k] >= bound[k]), None)
