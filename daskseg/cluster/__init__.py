"""Clustering of any number of rows."""

from daskseg.cluster.agglomerative import AgglomerativeClustering
from daskseg.cluster.bisecting import BisectingKMeans
from daskseg.cluster.consensus import ConsensusClustering
from daskseg.cluster.density.dbscan import DBSCAN
from daskseg.cluster.density.hdbscan import HDBSCAN
from daskseg.cluster.density.reachability import reachability
from daskseg.cluster.kmeans import KMeans
from daskseg.cluster.minibatch import MiniBatchKMeans

__all__ = [
    "DBSCAN",
    "HDBSCAN",
    "AgglomerativeClustering",
    "BisectingKMeans",
    "ConsensusClustering",
    "KMeans",
    "MiniBatchKMeans",
    "reachability",
]
