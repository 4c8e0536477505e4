"""Choosing the number of segments."""

from daskseg.model_selection.recommend import CurveRow, Recommendation, recommend
from daskseg.model_selection.sweep import ClusterSweep, Sweep, SweepFit, sweep

__all__ = [
    "ClusterSweep",
    "CurveRow",
    "Recommendation",
    "Sweep",
    "SweepFit",
    "recommend",
    "sweep",
]
