"""Choosing the number of segments."""

from daskseg.model_selection.sweep import ClusterSweep

__all__ = ["ClusterSweep"]
