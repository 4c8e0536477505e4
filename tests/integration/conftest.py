"""The real ledger, studied once per session."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import pytest

from daskseg.config import Study
from daskseg.pipeline import run_study
from daskseg.report import write_report

LEDGER = Path(__file__).parents[2] / "examples" / "data" / "online_retail.parquet"
TODAY = dt.date(2026, 1, 1)


@pytest.fixture(scope="session")
def ledger():
    return LEDGER


@pytest.fixture(scope="session")
def study_dir(tmp_path_factory):
    """Give a function that runs a study of the real ledger, once per set of options."""
    root = tmp_path_factory.mktemp("studies")
    done = {}

    def run(*, render=False, **data):
        key = (render, *sorted((name, str(value)) for name, value in data.items()))
        if key not in done:
            out = root / f"study-{len(done)}"
            study = Study.from_dict({"data": {"source": str(LEDGER), **data}})
            run_study(study, out, render=write_report if render else None, today=TODAY)
            done[key] = out
        return done[key]

    return run
