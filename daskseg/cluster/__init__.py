"""Clustering of any number of rows."""

from daskseg.cluster.kmeans import KMeans
from daskseg.cluster.minibatch import MiniBatchKMeans

__all__ = ["KMeans", "MiniBatchKMeans"]
