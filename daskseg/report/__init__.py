"""The report: one offline HTML page, drawn from the record of a study and nothing else.

Covers: `render_html` and `write_report`. Records first, drawing second: ``views``,
``maps`` and ``evidence`` turn the record into finished words, ``blocks``, ``appendix`` and
``figures`` these into markup and charts, ``page`` puts them together.
Does not cover: computing the record (daskseg.segments, daskseg.pipeline).
See also: daskseg/catalogue/report.toml, which holds every sentence.
"""

from __future__ import annotations

from daskseg.report.page import render_html, write_report

__all__ = ["render_html", "write_report"]
