"""Versions of the packages that decide a result, on the client and on every worker.

Covers: reading the installed versions and saying where they differ. Does not cover: asking
the workers (see `engine.runtime`).
"""

from __future__ import annotations

import platform
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version

from daskseg.errors import ClusterError
from daskseg.version import VERSION

PACKAGES = ("numpy", "numba", "dask", "distributed")
_MISSING = "not installed"


def installed() -> dict[str, str]:
    """Return the versions in this process.

    Examples
    --------
    >>> installed()["daskseg"] == VERSION
    True
    """
    found = {"daskseg": VERSION, "python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = _MISSING
    return found


def check(own: Mapping[str, str], workers: Mapping[str, Mapping[str, str] | BaseException]) -> None:
    """Refuse workers whose packages differ from the client's.

    Parameters
    ----------
    own : mapping of package to version
    workers : mapping of address to such a mapping, or to the error of a worker that was asked

    Raises
    ------
    ClusterError
        Names the package, the first worker (by address) and both versions.
    """
    for address, found in sorted(workers.items()):
        if isinstance(found, BaseException):
            raise ClusterError(
                f"worker {address} cannot import daskseg ({type(found).__name__}: {found}). "
                f"Install daskseg {own['daskseg']} on every worker, or start the workers in the "
                "environment of the client."
            )
        for package, wanted in own.items():
            actual = found.get(package, _MISSING)
            if actual != wanted:
                n_others = sum(
                    not isinstance(other, BaseException) and other.get(package) != wanted
                    for other in workers.values()
                )
                raise ClusterError(
                    f"{package} is {actual} on worker {address}, but {wanted} on the client; "
                    f"{n_others} of {len(workers)} workers differ. Other versions can give other "
                    "bits: install the same packages on the client and on every worker."
                )
