"""Principal components of any number of rows."""

from daskseg.decomposition.incremental import IncrementalPCA
from daskseg.decomposition.pca import PCA

__all__ = ["PCA", "IncrementalPCA"]
