"""Measures of data and of clusterings."""

from daskseg.metrics.dispersion import calinski_harabasz_score, davies_bouldin_score, inertia
from daskseg.metrics.silhouette import silhouette_by_label, silhouette_samples, silhouette_score

__all__ = [
    "calinski_harabasz_score",
    "davies_bouldin_score",
    "inertia",
    "silhouette_by_label",
    "silhouette_samples",
    "silhouette_score",
]
