"""Criteria for choosing the number of clusters, measured on a sample in memory."""

from daskseg.model_selection.criteria.measure import Criteria, measure

__all__ = ["Criteria", "measure"]
