"""Thin orchestration: read → features → store → prepare → choose k → fit → profile → publish.

The only place that knows the order of the stages. It never draws: the caller brings the
function that turns the record of a study into a report.
"""

from __future__ import annotations

from daskseg.pipeline.check import check_source
from daskseg.pipeline.scoring import assign_source
from daskseg.pipeline.study import run_study

__all__ = ["assign_source", "check_source", "run_study"]
