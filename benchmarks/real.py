"""Real tables: spambase, kddcup99, skin, and customers of the ledger in examples/data.

Covers: reading them from a folder that is not part of the project, and preparing them as the
benchmarks want them. Does not cover: fetching them. A table whose file is absent is named in
`MissingTable`, so that a run can skip it with a word.
See also: README.md for the folder's layout.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np

LEDGER = Path(__file__).resolve().parents[1] / "examples" / "data" / "online_retail.parquet"
VARIABLE = "DASKSEG_BENCH_DATA"
"""Names the folder of the tables, unless an option does."""


@dataclass(frozen=True)
class Table:
    """A table: its file below the folder, what is left out, and how many clusters are asked."""

    path: str
    without: tuple[str, ...]
    n_clusters: int


TABLES = {
    "kddcup99": Table("kddcup99_10pct/kddcup99_10pct.parquet", ("label",), 50),
    "retail-5": Table("", (), 5),
    "retail-8": Table("", (), 8),
    "skin": Table("skin_segmentation/skin_segmentation.parquet", ("label",), 10),
    "spambase-20": Table("spambase/spambase.parquet", ("class",), 20),
    "spambase-50": Table("spambase/spambase.parquet", ("class",), 50),
}


class MissingTable(Exception):
    """The file of a table is not there."""


def _customers() -> np.ndarray:
    """Return recency, orders and spend of the ledger's customers, prepared as a study does."""
    # Processes that only read stores should not hold these libraries: their memory is measured.
    import pandas as pd  # noqa: PLC0415

    from daskseg.features import RFM  # noqa: PLC0415
    from daskseg.preprocessing import Prepare  # noqa: PLC0415

    ledger = pd.read_parquet(LEDGER)
    features = RFM(snapshot="2011-12-10", returns="net").fit_transform(ledger)
    # Customers are told apart by hashes; sorted, the rows do not depend on them.
    wanted = features.sort_index()[["recency_days", "n_orders", "spend_net"]]
    return np.asarray(Prepare().fit_transform(wanted))


def read(name: str, folder: str | Path | None = None) -> np.ndarray:
    """Return a table as rows of float64.

    Parameters
    ----------
    name : str
        A key of `TABLES`.
    folder : str or Path, optional
        Holds the tables; the environment variable `VARIABLE` when not given.

    Raises
    ------
    MissingTable
        If there is no folder, or no such file in it.
    """
    table = TABLES[name]
    if not table.path:
        return np.ascontiguousarray(_customers(), dtype=np.float64)
    folder = folder or os.environ.get(VARIABLE)
    if not folder:
        raise MissingTable(f"{name} needs the folder of real tables: set {VARIABLE} or give --data")
    path = Path(folder) / table.path
    if not path.is_file():
        raise MissingTable(f"{path} is not there")
    import pandas as pd  # noqa: PLC0415 - as above

    frame = pd.read_parquet(path).drop(columns=list(table.without))
    numeric = frame.select_dtypes("number")
    return np.ascontiguousarray(numeric.to_numpy(dtype=np.float64))
