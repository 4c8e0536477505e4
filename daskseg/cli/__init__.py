"""The command line: arguments in, one Python call each, a screen and an exit code out."""

from __future__ import annotations

from daskseg.cli.app import main

__all__ = ["main"]
