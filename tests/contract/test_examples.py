"""Each example script runs as a reader would run it, in a folder of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SCRIPTS = sorted((ROOT / "examples").glob("*.py"))


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_example__runs(script, tmp_path):
    run = subprocess.run(
        [sys.executable, script, tmp_path / "out"],
        capture_output=True,
        check=False,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        text=True,
    )
    assert run.returncode == 0, f"{script.name}\n{run.stdout}\n{run.stderr}"
    assert list((tmp_path / "out").rglob("*")), f"{script.name} wrote nothing to its folder"
