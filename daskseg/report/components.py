"""What the report says of principal components: record in, finished words out.

Covers: how many there are, what they keep, and their loadings. Does not cover: the other
evidence (`report.evidence`).
"""

from __future__ import annotations

from collections.abc import Mapping

from daskseg import formats
from daskseg.report.evidence import TableView
from daskseg.report.views import Record, feature_labels
from daskseg.texts import text

__all__ = ["loadings", "sentence"]


def loadings(record: Record) -> TableView | None:
    """Return the loadings of the principal components, or None if there are none."""
    found = record.get("pca")
    if not found:
        return None
    labels = feature_labels(record)
    header = [
        text(
            "report.components.component",
            number=number,
            share=formats.percent(component["share"]),
        )
        for number, component in enumerate(found["components"], start=1)
    ]
    return TableView(
        (text("report.components.feature"), *header),
        tuple(
            (
                _prepared_label(name, labels),
                *(formats.significant(one["loadings"][row], 2) for one in found["components"]),
            )
            for row, name in enumerate(found["columns"])
        ),
    )


def sentence(record: Record) -> str:
    """Say how many components there are, and what they keep."""
    found = record["pca"]
    asked = found["asked"]
    return text(
        "report.components.count" if isinstance(asked, int) else "report.components.share",
        n=formats.count(found["n_components"]),
        of=formats.count(len(found["columns"])),
        explained=formats.percent(found["explained"]),
        asked=formats.count(asked) if isinstance(asked, int) else formats.percent(asked),
    )


def _prepared_label(name: str, labels: Mapping[str, str]) -> str:
    """Return the label of a prepared column: a feature, or the mark of its missing values."""
    feature = name.removesuffix("_missing")
    if name not in labels and feature in labels:
        return text("report.components.missing", label=labels[feature])
    return labels.get(name, name)
