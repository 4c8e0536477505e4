"""What is in a source and what it costs to clean it; writes nothing that stays.

Covers: the answer of ``daskseg check``. Does not cover: fitting.
"""

from __future__ import annotations

import datetime as dt
import tempfile
from pathlib import Path
from typing import Any

from daskseg.config import Study
from daskseg.engine import progress
from daskseg.engine.progress import Listener
from daskseg.pipeline.ingest import ingest


def check_source(
    study: Study, listener: Listener | None = None, today: dt.date | None = None
) -> dict[str, Any]:
    """Read a source as a study would, and say what was found.

    Parameters
    ----------
    study : Study
    listener : Listener, optional
    today : date, optional
        For tests; the current date by default.

    Returns
    -------
    dict
        kind, source, rows, customers, columns (role to header), first_date, last_date,
        snapshot, currency, money (of all lines), features, waterfall, accounting, notices.

    Raises
    ------
    UsageError, InputError, ArtifactError
        What a study would raise for this source.

    Notes
    -----
    One pass over the source. Needs space for the lines in the temporary directory.
    """
    with progress.listening(listener), tempfile.TemporaryDirectory(prefix="daskseg-") as scratch:
        found = ingest(study, Path(scratch), today or dt.datetime.now(dt.UTC).date())
    total = None if found.accounting is None else found.accounting["total"]
    return {
        "kind": study.data.kind,
        **found.data,
        "money": total,
        "features": [
            {
                "name": feature.name,
                "role": feature.role,
                "missing": found.table.missing.get(feature.name, 0),
            }
            for feature in found.features
        ],
        "waterfall": [dict(step) for step in found.waterfall],
        "accounting": None if found.accounting is None else dict(found.accounting),
        "notices": list(found.notices),
    }
