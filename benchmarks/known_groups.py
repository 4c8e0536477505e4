"""Choosing k on real tables whose groups somebody has named: what is said, and what it is worth.

Covers: the ledger's customers, iris, digits, wholesale and OULAD students, prepared in the open;
agreement of the partitions with the named groups. Does not cover: made sets (see `known_truth`).
See also: docs/choosing-k.md, which discusses the answers; README.md for the folder of tables.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from sklearn.datasets import load_digits, load_iris
from sklearn.metrics import adjusted_rand_score

from benchmarks import real, records
from benchmarks.known_truth import study
from benchmarks.real import MissingTable
from daskseg.kernels.labels import labels_of
from daskseg.model_selection.recommend import recommend

KS = range(2, 21)


class Table(NamedTuple):
    """Prepared rows, and the group of each, None where nobody has named any."""

    rows: np.ndarray
    groups: np.ndarray | None


def _scaled(rows: np.ndarray) -> np.ndarray:
    return (rows - rows.mean(axis=0)) / rows.std(axis=0)


def _frame(folder: str | None, path: str) -> pd.DataFrame:
    if not folder:
        raise MissingTable(f"{path} needs the folder of tables: set {real.VARIABLE} or give --data")
    if not (Path(folder) / path).is_file():
        raise MissingTable(f"{Path(folder) / path} is not there")
    return pd.read_parquet(Path(folder) / path)


def _retail(folder: str | None) -> Table:
    return Table(real.read("retail-5", folder), None)


def _iris(folder: str | None) -> Table:
    found = load_iris()
    return Table(_scaled(found.data), found.target)


def _digits(folder: str | None) -> Table:
    found = load_digits()
    return Table(found.data.astype(np.float64), found.target)


def _wholesale(folder: str | None) -> Table:
    frame = _frame(folder, "wholesale_customers/wholesale_customers.parquet")
    spending = frame.drop(columns=["Channel", "Region"]).to_numpy(np.float64)
    return Table(_scaled(np.log1p(spending)), frame["Channel"].to_numpy())


def _students(folder: str | None) -> Table:
    """Return one row per student and course: how much was handed in, how early, how well."""
    keys = ["code_module", "code_presentation", "id_student"]
    course = ["id_assessment", "code_module", "code_presentation", "date"]
    handed = _frame(folder, "oulad/student_assessment.parquet").merge(
        _frame(folder, "oulad/assessment.parquet")[course], on="id_assessment"
    )
    handed = handed.assign(days_early=handed["date"] - handed["date_submitted"])
    sums = handed.groupby(keys).agg(
        n_handed=("id_assessment", "size"),
        score=("score", "mean"),
        days_early=("days_early", "mean"),
        last_day=("date_submitted", "max"),
    )
    students = _frame(folder, "oulad/student.parquet").set_index(keys)
    both = students.join(sums, how="inner").dropna(subset=["score", "days_early"])
    numeric = both[["n_handed", "score", "days_early", "last_day", "studied_credits"]]
    return Table(_scaled(numeric.to_numpy(np.float64)), both["final_result"].to_numpy())


TABLES: dict[str, Callable[[str | None], Table]] = {
    "retail": _retail,
    "iris": _iris,
    "digits": _digits,
    "wholesale": _wholesale,
    "students": _students,
}


def describe(name: str, table: Table) -> str:
    """Return what is said about a table, line by line."""
    found, criteria, wall_s = study(table.rows, KS)
    advice = recommend(found.curve, criteria)
    named = "none" if table.groups is None else str(len(np.unique(table.groups)))
    size = f"{len(table.rows):,} rows, {table.rows.shape[1]} features, named groups: {named}"
    others = f"coarser {advice.coarser}, finer {advice.finer}, votes {advice.votes}"
    lines = [
        f"{name}: {size}; criteria took {wall_s:.1f} s",
        f"  k = {advice.k}, natural {advice.natural_k}, grade {advice.grade}, {others}",
        f"  {advice.structure_note}",
        *(f"  - {sentence}" for sentence in advice.reasons),
    ]
    for row in criteria[1:]:
        agreement = ""
        if table.groups is not None:
            labels = labels_of(table.rows, found.fits[row.k].centres)
            agreement = f", groups {adjusted_rand_score(table.groups, labels):.2f}"
        lines.append(
            f"  {row.k:>2}: border {row.border_density:.2f} (limit {row.border_limit:.2f}), "
            f"weakest {row.min_jaccard:.2f}, stability {row.stability:.2f}, "
            f"gap {row.gap:.3f} ± {row.gap_se:.3f}, "
            f"strength {row.prediction_strength:.2f}{agreement}"
        )
    return "\n".join(lines)


def main() -> None:
    """Print what is said about each table that is there."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--set", default=",".join(TABLES), help="comma-separated; default: all")
    parser.add_argument("--data", default=os.environ.get(real.VARIABLE), help="folder of tables")
    arguments = parser.parse_args()
    unknown = set(arguments.set.split(",")) - set(TABLES)
    if unknown:
        parser.error(f"unknown: {', '.join(sorted(unknown))}; known: {', '.join(TABLES)}")
    for name in arguments.set.split(","):
        try:
            table = TABLES[name](arguments.data)
        except MissingTable as error:
            print(f"{name}: skipped: {error}", file=sys.stderr)
            continue
        print(describe(name, table), end="\n\n")
    print(records.machine_words(records.circumstances()))


if __name__ == "__main__":
    main()
