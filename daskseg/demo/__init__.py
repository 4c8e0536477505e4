"""Synthetic data with planted truth, for trying a study and for tests.

Covers: seeded generators of business data, one module each (`daskseg.demo.retail`).
Does not cover: studying the data; the truth is written beside them and never read by a study.
See also: `daskseg demo`, which makes the data and then runs the study.
"""

from __future__ import annotations

__all__: list[str] = []
