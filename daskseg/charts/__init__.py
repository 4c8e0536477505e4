"""Drawing that a report and an estimator share.

Covers: the bare figure (``canvas``), the criteria for a number of clusters in words (``criteria``)
and as small multiples (``curves``), trees (``dendrogram``), what clusterings agree on
(``agreement``), maps (``maps``).
Does not cover: what only a report draws (daskseg.report.figures).
"""
