"""The wheel: what it carries, and that it works in a clean environment away from the checkout.

Nothing is fetched: the wheel is built with the backend of this environment, and the clean
environment borrows the third parties of this one.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path, PurePosixPath

import pytest

ROOT = Path(__file__).resolve().parents[2]
CARRIED = (
    "daskseg/py.typed",
    "daskseg/cluster_configs/local.yaml",
    "daskseg/cluster_configs/schema.json",
    "daskseg/catalogue/*.toml",
    "daskseg/features/schemes/*.toml",
    "daskseg/sources/presets.toml",
)


def run(*command: str | Path, cwd: Path) -> str:
    """Run a command without the checkout on its path, and return what it says."""
    env = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    done = subprocess.run(
        [str(part) for part in command],
        capture_output=True,
        check=False,
        cwd=cwd,
        env=env,
        text=True,
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """The wheel, built from a source distribution as an index would."""
    pytest.importorskip("build", reason="the wheel is built with the package build")
    pytest.importorskip("hatchling", reason="the wheel is built with hatchling")
    out = tmp_path_factory.mktemp("dist")
    run(sys.executable, "-m", "build", "--no-isolation", "--outdir", out, ROOT, cwd=out)
    (built,) = out.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def clean(wheel, tmp_path_factory):
    """The folder of the scripts of a new environment that holds the wheel."""
    home = tmp_path_factory.mktemp("clean") / "env"
    run(sys.executable, "-m", "venv", "--without-pip", home, cwd=home.parent)
    scripts = home / "bin"
    python = scripts / "python"
    purelib = Path(
        run(
            python,
            "-c",
            "import sysconfig; print(sysconfig.get_path('purelib'))",
            cwd=home.parent,
        ).strip()
    )
    # A path file adds the folder alone: the editable install inside it is not followed.
    (purelib / "borrowed.pth").write_text(sysconfig.get_path("purelib") + "\n", encoding="utf-8")
    run(
        *(sys.executable, "-m", "pip", "--python", python, "install", "--quiet"),
        *("--no-deps", "--no-index", "--ignore-installed", wheel),
        cwd=home.parent,
    )
    return scripts


@pytest.mark.parametrize("pattern", CARRIED)
def test_wheel__carries(wheel, pattern):
    names = zipfile.ZipFile(wheel).namelist()
    assert any(PurePosixPath(name).match(pattern) for name in names), f"{pattern} is missing"


def test_wheel__carries_the_package_alone(wheel):
    tops = {name.split("/")[0] for name in zipfile.ZipFile(wheel).namelist()}
    assert tops == {"daskseg", "daskseg-0.1.0.dist-info"}


def test_wheel__imports_from_its_own_environment(clean, tmp_path):
    where = run(clean / "python", "-c", "import daskseg; print(daskseg.__file__)", cwd=tmp_path)
    assert Path(where.strip()).is_relative_to(clean.parent)


def test_wheel__runs_the_demo_elsewhere(clean, tmp_path):
    run(
        *(clean / "daskseg", "demo", "retail", "--rows", "20000", "--out", tmp_path / "study"),
        cwd=tmp_path,
    )
    assert list(tmp_path.rglob("report.html")), "the demo wrote no report.html"
    shutil.rmtree(tmp_path / "study")
