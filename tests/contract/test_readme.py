"""What the README shows is run.

Every fenced block of python or bash is run by itself, in order, in one folder that looks like the
top of the checkout; files that a block leaves are there for the next one. A block that
cannot run says why in the line above it: ``<!-- not run: reason -->``.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).resolve().parents[2]
SHOWN_ONLY = {"csv", "html", "json", "text", "toml", "yaml"}
TIMEOUT_S = 240
MARK = re.compile(r"<!-- not run: (?P<reason>.*?)\s*-->")
FENCE = re.compile(
    r"^(?P<indent> *)(?P<fence>`{3,}|~{3,})[ \t]*(?P<language>[^\s`]*)[^\n]*\n"
    r"(?P<body>.*?)^(?P=indent)(?P=fence)[ \t]*$",
    re.MULTILINE | re.DOTALL,
)


class Block(NamedTuple):
    """A fenced block of a page."""

    line: int
    language: str
    body: str
    skip: str | None


def blocks_of(text: str) -> list[Block]:
    """Return the fenced blocks of a page in Markdown."""
    found = []
    for match in FENCE.finditer(text):
        above = text[: match.start()].rstrip("\n").rpartition("\n")[2].strip()
        mark = MARK.fullmatch(above)
        indent = re.compile(f"^{match['indent']}", re.MULTILINE)
        found.append(
            Block(
                line=text.count("\n", 0, match.start()) + 1,
                language=match["language"],
                body=indent.sub("", match["body"]),
                skip=mark["reason"] if mark else None,
            )
        )
    return found


BLOCKS = blocks_of((ROOT / "README.md").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder that looks like the top of the checkout."""
    top = tmp_path_factory.mktemp("readme")
    for name in ("examples", "cluster-configs"):
        (top / name).symlink_to(ROOT / name)
    return top


def test_blocks_of__finds_language_mark_and_body():
    page = "a\n\n<!-- not run: too long -->\n```bash\nmake\n```\n\n  ~~~python\n  x = 1\n  ~~~\n"
    assert blocks_of(page) == [
        Block(4, "bash", "make\n", "too long"),
        Block(8, "python", "x = 1\n", None),
    ]


def test_blocks_of__a_mark_must_stand_right_above():
    page = "<!-- not run: too long -->\nwords\n```bash\nmake\n```\n"
    assert blocks_of(page) == [Block(3, "bash", "make\n", None)]


@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: f"line_{block.line}")
def test_readme__every_block_says_what_it_is(block):
    assert block.language in SHOWN_ONLY | {"bash", "python"}, (
        f"README.md, line {block.line}: name the language of the block, "
        f"python or bash (run) or one of {sorted(SHOWN_ONLY)} (shown only)"
    )
    assert block.skip is None or len(block.skip) > 5, (
        f"README.md, line {block.line}: say in words why the block is not run"
    )


@pytest.mark.parametrize(
    "block",
    [block for block in BLOCKS if block.language in {"bash", "python"}],
    ids=lambda block: f"line_{block.line}",
)
def test_readme__block_runs(block, folder):
    if block.skip is not None:
        pytest.skip(f"README.md, line {block.line}: {block.skip}")
    command = {
        "bash": ["bash", "-euo", "pipefail", "-c", block.body],
        "python": [sys.executable, "-c", block.body],
    }[block.language]
    paths = [str(Path(sys.executable).parent), os.environ.get("PATH", "")]
    env = {**os.environ, "PATH": os.pathsep.join(paths), "PYTHONPATH": str(ROOT)}
    run = subprocess.run(
        command,
        capture_output=True,
        check=False,
        cwd=folder,
        env=env,
        text=True,
        timeout=TIMEOUT_S,
    )
    assert run.returncode == 0, (
        f"README.md, line {block.line}: exit code {run.returncode}\n{run.stdout}\n{run.stderr}"
    )
