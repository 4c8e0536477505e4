"""What a business can work with: sizes that a number of segments must respect.

Covers: the limits, and the refusal of those that no data could meet, before anything is read.
Does not cover: limits that these data do not meet, which are set aside with a sentence (see
`model_selection.recommend`); the keys of a study (see `config.study`).
"""

from __future__ import annotations

import math
from collections.abc import Collection
from numbers import Real
from typing import NamedTuple

from daskseg.errors import UsageError


class BusinessLimits(NamedTuple):
    """What a business can work with; other numbers of segments are not suggested.

    Attributes
    ----------
    min_share, max_share : float
        Of the smallest and the largest segment.
    min_customers : float
        Of the smallest segment.

    Examples
    --------
    >>> BusinessLimits(min_share=0.4).check_reach([3, 4])
    Traceback (most recent call last):
    daskseg.errors.UsageError: min_share=0.4 excludes every number of segments: of 3, the fewest ...
    """

    min_share: float = 0.01
    max_share: float = 1.0
    min_customers: float = 0

    def check(self) -> None:
        """Refuse what are no shares and no number of customers.

        Raises
        ------
        UsageError
        """
        for name in ("min_share", "max_share"):
            value = getattr(self, name)
            if not _is_number(value) or not 0 <= value <= 1:
                raise UsageError(
                    f"{name}={value!r} is not a share: shares are numbers from 0 to 1."
                )
        if self.min_share > self.max_share:
            raise UsageError(
                f"min_share={self.min_share:g} is above max_share={self.max_share:g}: the least "
                "must not be above the most."
            )
        if not _is_number(self.min_customers) or not 0 <= self.min_customers < math.inf:
            raise UsageError(f"min_customers={self.min_customers!r} must be a number from 0.")

    def check_reach(self, ks: Collection[int], n_customers: float | None = None) -> None:
        """Refuse a limit that no data could meet at any of the numbers of segments.

        Parameters
        ----------
        ks : collection of int
            Those that are tried; one segment is no suggestion.
        n_customers : float, optional
            How many there are, if that is known.

        Raises
        ------
        UsageError
            With the limit that would do.
        """
        tried = [k for k in ks if k > 1]
        if not tried:
            return
        fewest, most = min(tried), max(tried)
        if self.min_share * fewest > 1:
            raise UsageError(
                f"min_share={self.min_share:g} excludes every number of segments: of {fewest}, "
                f"the fewest that are tried, one holds at most {1 / fewest:.4g}. Lower min_share "
                "to that, or try fewer segments."
            )
        if self.max_share * most < 1:
            raise UsageError(
                f"max_share={self.max_share:g} excludes every number of segments: of {most}, the "
                f"most that are tried, one holds at least {1 / most:.4g}. Raise max_share above "
                "that, or try more segments."
            )
        if n_customers is not None and self.min_customers * fewest > n_customers:
            raise UsageError(
                f"min_customers={self.min_customers:g} excludes every number of segments: "
                f"{n_customers:.10g} customers in {fewest} segments, the fewest that are tried, "
                f"leave at most {math.floor(n_customers / fewest)} for one of them. Lower "
                "min_customers to that, or try fewer segments."
            )


def _is_number(value: object) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool)
