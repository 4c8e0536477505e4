"""Fixtures and settings that all tests share."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dask
import hypothesis
import pytest


def _kernel_cache() -> str:
    """Name a folder for compiled kernels after all their sources.

    Numba's own cache looks at the file of the outermost function only, so that an edit to a
    kernel that others call would not be seen.
    """
    digest = hashlib.sha256()
    for path in sorted((Path(__file__).resolve().parents[1] / "daskseg").rglob("*.py")):
        source = path.read_bytes()
        if b"@compiled" in source:
            digest.update(source)
    return str(Path(tempfile.gettempdir()) / f"daskseg-kernels-{digest.hexdigest()[:16]}")


os.environ.setdefault("NUMBA_CACHE_DIR", _kernel_cache())

# "fast" repeats the same examples on every run; "nightly" looks for new ones.
hypothesis.settings.register_profile(
    "fast", max_examples=25, deadline=None, derandomize=True, database=None
)
hypothesis.settings.register_profile("nightly", max_examples=1_000, deadline=None)
hypothesis.settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "fast"))


@pytest.fixture(scope="session")
def repository() -> Path:
    """The folder of the checkout."""
    return Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def cluster_client() -> Iterator[Any]:
    """A client of two worker processes, started at most once; not the default client."""
    from distributed import Client, LocalCluster

    with (
        LocalCluster(
            n_workers=2,
            threads_per_worker=1,
            processes=True,
            host="127.0.0.1",
            # A free port: 8787 may be somebody's.
            dashboard_address="127.0.0.1:0",
        ) as cluster,
        Client(cluster, set_as_default=False) as client,
    ):
        yield client


@pytest.fixture(
    params=["synchronous", "threads", pytest.param("cluster", marks=pytest.mark.cluster)]
)
def scheduler(request: pytest.FixtureRequest) -> Iterator[str]:
    """Run the test on each scheduler; the value is its name."""
    if request.param == "cluster":
        client = request.getfixturevalue("cluster_client")
        with client.as_current(), dask.config.set(scheduler="dask.distributed"):
            yield request.param
    else:
        with dask.config.set(scheduler=request.param, num_workers=2):
            yield request.param
