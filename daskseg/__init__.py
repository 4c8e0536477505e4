"""Customer segmentation on Dask: from a raw ledger to named segments.

The names below are loaded when they are first used, so that ``import daskseg`` is light.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from daskseg.version import VERSION

if TYPE_CHECKING:
    from daskseg.features import RFM
    from daskseg.segmentation import Segmentation, load_model

__all__ = ["RFM", "Segmentation", "__version__", "load_model"]
__version__ = VERSION

_HOMES = {
    "RFM": "daskseg.features",
    "Segmentation": "daskseg.segmentation",
    "load_model": "daskseg.segmentation",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'daskseg' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return __all__
