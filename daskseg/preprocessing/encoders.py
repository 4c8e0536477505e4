"""Encoders and imputers for dask frames: the only module that knows `dask_ml`.

dask-ml is chosen because its encoders keep dask frames lazy and take scikit-learn's
parameters. Should it stop working, `SWAP_IN` names the class that takes the place of each,
block by block; a test holds both to the same answers.
"""

from __future__ import annotations

from dask_ml.impute import SimpleImputer
from dask_ml.preprocessing import Categorizer, DummyEncoder, OrdinalEncoder

__all__ = ["SWAP_IN", "Categorizer", "DummyEncoder", "OrdinalEncoder", "SimpleImputer"]

SWAP_IN = {
    "Categorizer": "pandas.CategoricalDtype",
    "DummyEncoder": "sklearn.preprocessing.OneHotEncoder",
    "OrdinalEncoder": "sklearn.preprocessing.OrdinalEncoder",
    "SimpleImputer": "sklearn.impute.SimpleImputer",
}
