"""The study: its schema, its file, and words for what is wrong in it."""

from __future__ import annotations

from daskseg.config.files import TEMPLATES, read_study, template_text
from daskseg.config.study import LEDGER_ROLES, Study
from daskseg.config.values import MAX_CLUSTERS

__all__ = ["LEDGER_ROLES", "MAX_CLUSTERS", "TEMPLATES", "Study", "read_study", "template_text"]
