"""Maps of any number of rows: pictures to look at, never what rows are clustered or scored on."""

from __future__ import annotations

from daskseg.manifold.tsne import TSNE
from daskseg.manifold.umap import UMAP

__all__ = ["TSNE", "UMAP"]
