"""The latest results of each benchmark and set, as the tables that the runs printed.

Covers: reading results/. Does not cover: measuring. A table is printed from its record alone, so
that what the README shows can be printed again on any machine.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from benchmarks import quality, records
from benchmarks.compare import kmeans
from benchmarks.records import Record
from benchmarks.scale import run as scale


def latest(path: Path, *keys: str) -> list[Record]:
    """Return the last record of a file for each combination of some keys, in order of age."""
    found: dict[tuple[object, ...], Record] = {}
    for record in records.read(path):
        which = tuple(record.get(key) for key in keys)
        found.pop(which, None)
        found[which] = record
    return list(found.values())


def tables(folder: Path) -> list[str]:
    """Return the tables of a folder of results."""
    shown = [
        kmeans.table_of(record)
        for record in latest(folder / "kmeans.jsonl", "set", "n_rows", "k", "dtype")
    ]
    lines = latest(folder / "quality.jsonl", "set", "estimator", "vary", "n_rows", "k")
    for estimator in sorted({record["estimator"] for record in lines}):
        chosen = [record for record in lines if record["estimator"] == estimator]
        body = records.table(quality.HEAD, [quality.row_of(record) for record in chosen])
        shown.append(f"{estimator}; {records.machine_words(chosen[-1])}\n\n{body}\n")
    shown += [
        scale.table_of(record)
        for record in latest(folder / "scale.jsonl", "case", "set", "n_rows", "memory")
    ]
    return shown


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--results", type=Path, default=records.RESULTS)
    print("\n".join(tables(parser.parse_args().results)))


if __name__ == "__main__":
    main()
