"""Preparing features for clustering, and encoders for tables with text columns.

`Prepare` imputes, winsorises, takes logarithms and scales in shared passes; `MixedEncoder` brings
categories and ranks to the same terms; the encoders and
imputers of `preprocessing.encoders` come from dask-ml.
"""

from __future__ import annotations

from daskseg.preprocessing.mixed import MixedEncoder
from daskseg.preprocessing.prepare import Prepare

__all__ = ["MixedEncoder", "Prepare"]
