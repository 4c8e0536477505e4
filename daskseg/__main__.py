"""Lets ``python -m daskseg`` do what the ``daskseg`` command does."""

from __future__ import annotations

import sys

from daskseg.cli import main

if __name__ == "__main__":
    sys.exit(main())
