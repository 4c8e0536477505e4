"""Tables of numbers and categories: MixedEncoder with k-means beside k-prototypes and indicators.

Covers: the adjusted Rand index to planted groups on seven kinds of tables, and on real tables how
alike the partitions of two halves are, with what they tell of a column that was held out; seconds.
Does not cover: tables beyond memory. k-prototypes is of the package ``kmodes``, which is not among
the requirements: without it, it is left out.
See also: README.md for how to read the lines.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from sklearn.metrics import adjusted_mutual_info_score, adjusted_rand_score

from benchmarks import records
from daskseg.cluster import KMeans
from daskseg.preprocessing import MixedEncoder, Prepare

RESULTS = records.RESULTS / "mixed.jsonl"
N_GROUPS = 4
Result = dict[str, Any]
Labels = np.ndarray
Assign = Callable[[pd.DataFrame], Labels]


class Kind(NamedTuple):
    """How much numbers and categories tell of the groups.

    ``apart`` is in standard deviations; ``purity`` the share of a column's values that the
    group decides, ``levels`` the number of categories, ``missing`` the share that is left out.
    """

    apart: float
    purity: float
    levels: int = 4
    sizes: tuple[float, ...] = (0.25, 0.25, 0.25, 0.25)
    missing: float = 0.0
    skew: float = 0.0


KINDS = {
    "both tell": Kind(1.5, 0.5),
    "numbers tell": Kind(2.5, 0.0),
    "categories tell": Kind(0.0, 0.7),
    "twenty levels": Kind(1.5, 0.5, levels=20),
    "uneven groups": Kind(1.5, 0.5, sizes=(0.6, 0.25, 0.1, 0.05)),
    "missing values": Kind(1.5, 0.6, missing=0.1),
    "skewed levels": Kind(1.5, 0.5, levels=6, skew=1.0),
    "hundreds of levels": Kind(1.0, 0.8, levels=300),
}


def make(kind: Kind, n_rows: int, seed: int) -> tuple[pd.DataFrame, Labels]:
    """Draw a table of four numbers and four categories, and its groups."""
    random = np.random.Generator(np.random.Philox(key=[seed, 0]))
    groups = random.choice(N_GROUPS, n_rows, p=kind.sizes)
    centres = random.normal(size=(N_GROUPS, 4)) * kind.apart
    columns: dict[str, Any] = {}
    for place, values in enumerate((centres[groups] + random.normal(size=(n_rows, 4))).T):
        values[random.random(n_rows) < kind.missing] = np.nan
        columns[f"x{place}"] = values
    weights = np.arange(1.0, kind.levels + 1) ** -kind.skew
    for place in range(4):
        # Each group has levels of its own: as many as it takes to use all of them.
        own = random.permutation(kind.levels)
        each = max(1, kind.levels // N_GROUPS)
        chosen = own[(groups * each + random.integers(0, each, n_rows)) % kind.levels]
        other = random.choice(kind.levels, n_rows, p=weights / weights.sum())
        level = np.where(random.random(n_rows) < kind.purity, chosen, other)
        texts = np.array([f"level {one}" for one in level], dtype=object)
        texts[random.random(n_rows) < kind.missing] = None
        columns[f"c{place}"] = texts
    return pd.DataFrame(columns), groups


# ── the ways ─────────────────────────────────────────────────────────────────
def encoder(table: pd.DataFrame, k: int, seed: int) -> Assign:
    """MixedEncoder and k-means."""
    made = MixedEncoder().fit(table)
    model = KMeans(k, random_state=seed).fit(made.transform(table))
    return lambda rows: np.asarray(model.predict(made.transform(rows)))


def _numbers_and_text(table: pd.DataFrame) -> tuple[list[str], list[str]]:
    numbers = [
        name
        for name in table
        if pd.api.types.is_numeric_dtype(table[name]) and table[name].dtype != bool
    ]
    return numbers, [name for name in table if name not in numbers]


def indicators(table: pd.DataFrame, k: int, seed: int) -> Assign:
    """Standardised numbers and plain indicators, and k-means."""
    numbers, text = _numbers_and_text(table)
    prepare = Prepare().fit(table[numbers])
    wanted = pd.get_dummies(table[text].astype(object), dummy_na=False).columns

    def encode(rows: pd.DataFrame) -> np.ndarray:
        found = pd.get_dummies(rows[text].astype(object), dummy_na=False)
        found = found.reindex(columns=wanted, fill_value=0)
        return np.hstack([prepare.transform(rows[numbers]), found.to_numpy(float)])

    model = KMeans(k, random_state=seed).fit(encode(table))
    return lambda rows: np.asarray(model.predict(encode(rows)))


def prototypes(table: pd.DataFrame, k: int, seed: int) -> Assign:
    """k-prototypes of kmodes with its own weight of categories, on the same numbers."""
    from kmodes.kprototypes import KPrototypes  # noqa: PLC0415 - optional

    numbers, text = _numbers_and_text(table)
    prepare = Prepare().fit(table[numbers])

    def encode(rows: pd.DataFrame) -> np.ndarray:
        found = prepare.transform(rows[numbers])
        words = rows[text].astype(object).where(rows[text].notna(), "(missing)").astype(str)
        return np.hstack([found.astype(object), words.to_numpy(object)])

    values = encode(table)
    places = list(range(values.shape[1] - len(text), values.shape[1]))
    model = KPrototypes(k, init="Huang", n_init=3, random_state=seed)
    model.fit(values, categorical=places)
    return lambda rows: np.asarray(model.predict(encode(rows), categorical=places))


WAYS: dict[str, Callable[[pd.DataFrame, int, int], Assign]] = {
    "MixedEncoder, KMeans": encoder,
    "indicators, KMeans": indicators,
    "k-prototypes (kmodes)": prototypes,
}


def _has_kmodes() -> bool:
    try:
        import kmodes  # noqa: F401, PLC0415 - optional
    except ImportError:
        return False
    return True


def _ways() -> list[str]:
    return [name for name in WAYS if "kmodes" not in name or _has_kmodes()]


# ── the run ──────────────────────────────────────────────────────────────────
def planted(name: str, n_rows: int, seeds: int) -> Result:
    """Compare partitions with planted groups, over seeds."""
    found: dict[str, Result] = {}
    for way in _ways():
        aris, seconds = [], []
        for seed in range(seeds):
            table, groups = make(KINDS[name], n_rows, seed)
            begin = time.perf_counter()
            labels = WAYS[way](table, N_GROUPS, seed)(table)
            seconds.append(time.perf_counter() - begin)
            aris.append(adjusted_rand_score(groups, labels))
        found[way] = {
            "aris": aris,
            "ari": float(np.median(aris)),
            "wall_s": float(np.median(seconds)),
        }
    return {"set": name, "n_rows": n_rows, "ways": found}


REAL: dict[str, tuple[str, list[str], list[str]]] = {
    # Of each: the column held out, those left out, and codes that are categories.
    "telco_churn": ("Churn", ["customerID"], ["SeniorCitizen"]),
    "online_shoppers_intention": (
        "Revenue",
        [],
        ["OperatingSystems", "Browser", "Region", "TrafficType"],
    ),
}


def real(name: str, folder: Path, seeds: int) -> Result:
    """Compare the partitions of two halves of a real table, and a column that was held out."""
    held, left_out, codes = REAL[name]
    table = pd.read_parquet(folder / name / f"{name}.parquet")
    if "TotalCharges" in table:
        table["TotalCharges"] = pd.to_numeric(table["TotalCharges"], errors="coerce")
    outcome = table[held].astype(str).to_numpy()
    table = table.drop(columns=[held, *left_out])
    table[codes] = table[codes].astype(str)
    found: dict[str, Result] = {}
    for way in _ways():
        aris, told = [], []
        for seed in range(seeds):
            random = np.random.Generator(np.random.Philox(key=[seed, 1]))
            half = random.permutation(len(table)) < len(table) // 2
            one, other = (WAYS[way](table[part], N_GROUPS, seed)(table) for part in (half, ~half))
            aris.append(adjusted_rand_score(one, other))
            told.append(adjusted_mutual_info_score(outcome, one))
        found[way] = {"halves_ari": float(np.median(aris)), "told": float(np.median(told))}
    return {"set": name, "n_rows": len(table), "held_out": held, "ways": found}


def table_of(lines: list[Result]) -> str:
    """Return the table of all sets."""
    rows = []
    for line in lines:
        for way, one in line["ways"].items():
            first = one.get("ari", one.get("halves_ari"))
            told = "" if "told" not in one else f"{one['told']:.3f}"
            seconds = "" if "wall_s" not in one else f"{one['wall_s']:.2f}"
            what = "groups" if "ari" in one else "halves"
            rows.append((line["set"], way, what, f"{first:.3f}", told, seconds))
    return records.table(("set", "way", "ARI of", "ARI", "held out, AMI", "seconds"), rows)


def main() -> None:
    """Run every way on each table, print the result, append a line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--set", default=",".join(KINDS), help="comma-separated")
    parser.add_argument("--rows", type=lambda text: int(float(text)), default=2_000)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--data", type=Path, help="folder of the real tables; none without it")
    parser.add_argument("--results", type=Path, default=RESULTS)
    arguments = parser.parse_args()
    names = arguments.set.split(",")
    unknown = set(names) - set(KINDS)
    if unknown:
        parser.error(f"unknown: {', '.join(sorted(unknown))}; known: {', '.join(KINDS)}")
    lines = [planted(name, arguments.rows, arguments.seeds) for name in names]
    if arguments.data is not None:
        lines += [real(name, arguments.data, arguments.seeds) for name in REAL]
    print(table_of(lines))
    record = {"benchmark": "compare/mixed", **records.circumstances(), "sets": lines}
    records.append(arguments.results, record)


if __name__ == "__main__":
    main()
