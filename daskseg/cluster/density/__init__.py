"""Clusters as regions where rows are dense, and noise between them."""

from daskseg.cluster.density.distances import EpsSuggestion, k_distances, suggest_eps

__all__ = ["EpsSuggestion", "k_distances", "suggest_eps"]
