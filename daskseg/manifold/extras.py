"""The libraries that lay landmarks out, which are not installed with daskseg.

Covers: what is said where they are missing. Does not cover: their use (see `manifold.umap` and
`manifold.tsne`).
"""

from __future__ import annotations

from daskseg.errors import MissingExtraError


def missing(name: str, package: str, error: ImportError) -> MissingExtraError:
    """Say how a library is installed.

    Parameters
    ----------
    name : str
        The estimator that wants it.
    package : str
        As its index names it.
    error : ImportError
    """
    return MissingExtraError(
        f"{name} lays out its landmarks with {package}, which cannot be imported ({error}). "
        "Install it with: pip install 'daskseg[maps]'"
    )
