"""Clustering of any number of rows."""

from daskseg.cluster.kmeans import KMeans

__all__ = ["KMeans"]
