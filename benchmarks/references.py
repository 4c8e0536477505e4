"""What a cost is compared with: restarts of scikit-learn, and the fit from planted centres.

Covers: computing a reference once and finding it again in the results. Does not cover: the best
cost known from any method (see `records.best_known`).
"""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import zarr
from sklearn.cluster import KMeans

from benchmarks import records, stores
from benchmarks.records import Record
from benchmarks.stores import Written

RESULTS = records.RESULTS / "references.jsonl"
MANY, MANY_ROWS, FEW = 50, 300_000, 5
"""Restarts up to so many rows, and above: sets.md's rule, so that a reference takes minutes."""


def find(written: Written, restarts: int, path: Path = RESULTS) -> Record | None:
    """Return the last reference of these rows in a file, of at least so many restarts."""
    for record in reversed(records.read(path)):
        is_it = record["key"] == written.case.key and record["restarts"] >= restarts
        if is_it and records.is_same(record, written):
            return record
    return None


def make(written: Written, restarts: int) -> Record:
    """Compute the reference of a store: rows are read into memory."""
    rows = np.asarray(zarr.open_array(str(written.path), mode="r")[:])
    k = written.case.k
    started = time.perf_counter()
    many = KMeans(k, n_init=restarts, random_state=0).fit(rows)
    wall_s = time.perf_counter() - started
    costs = {"restarts_sse": stores.sse_of(written.path, many.cluster_centers_)}
    if len(written.planted) == k:
        start = written.planted.astype(rows.dtype)
        planted = KMeans(k, init=start, n_init=1, tol=0.0).fit(rows)
        costs["planted_sse"] = stores.sse_of(written.path, planted.cluster_centers_)
    return {
        "benchmark": "references",
        "key": written.case.key,
        "energy": written.energy,
        **written.facts(),
        **records.circumstances(),
        "restarts": restarts,
        "wall_s": wall_s,
        **costs,
    }


def reference(written: Written, path: Path = RESULTS, restarts: int | None = None) -> Record:
    """Find the reference of a store, or compute and append it.

    Parameters
    ----------
    written : Written
    path : Path
    restarts : int, optional
        50, or 5 above 300,000 rows.

    Returns
    -------
    dict
        With ``restarts_sse``, the best of the restarts, and ``planted_sse`` where clusters are
        planted; both of centres on all rows in float64.
    """
    wanted = restarts or (MANY if written.case.n_rows <= MANY_ROWS else FEW)
    found = find(written, wanted, path)
    if found is None:
        found = make(written, wanted)
        records.append(path, found)
    return found
