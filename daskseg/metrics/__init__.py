"""Measures of data and of clusterings."""

from daskseg.metrics.silhouette import silhouette_by_label, silhouette_score

__all__ = ["silhouette_by_label", "silhouette_score"]
