"""The search for k-means on a weighted sample in memory."""

from daskseg.cluster.search.fit import Found, search
from daskseg.cluster.search.starts import plus_plus_start, random_start

__all__ = ["Found", "plus_plus_start", "random_start", "search"]
