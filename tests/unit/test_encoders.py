from __future__ import annotations

import subprocess
import sys

import dask
import dask.dataframe as dd
import numpy as np
import pandas as pd
import pytest
import sklearn.impute
import sklearn.preprocessing

from daskseg.preprocessing import encoders


@pytest.fixture(autouse=True)
def _in_this_thread():
    with dask.config.set(scheduler="synchronous"):
        yield


@pytest.fixture
def frame():
    return pd.DataFrame({
        "country": ["UK", "FR", None, "UK", "DE", "FR"],
        "plan": ["free", "pro", "pro", None, "free", "free"],
        "visits": [1.0, np.nan, 3.0, 8.0, np.nan, 3.0],
    })  # fmt: skip


@pytest.fixture
def lazy(frame):
    return dd.from_pandas(frame, npartitions=3)


TEXTS = ["country", "plan"]


def categorized(lazy):
    return encoders.Categorizer(columns=TEXTS).fit_transform(lazy)


def test_swap_in__names_a_class_for_every_encoder():
    assert set(encoders.SWAP_IN) == set(encoders.__all__) - {"SWAP_IN"}


def test_categorizer__equals_pandas(frame, lazy):
    found = categorized(lazy)
    assert isinstance(found, dd.DataFrame)
    for name in TEXTS:
        kinds = pd.CategoricalDtype(sorted(frame[name].dropna().unique()))
        column = found[name].compute()
        assert column.cat.categories.tolist() == kinds.categories.tolist()
        assert column.cat.codes.tolist() == frame[name].astype(kinds).cat.codes.tolist()
    assert found["visits"].compute().equals(frame["visits"])


def test_dummy_encoder__equals_sklearn(frame, lazy):
    data = categorized(lazy)
    found = encoders.DummyEncoder(columns=TEXTS).fit(data).transform(data)
    assert isinstance(found, dd.DataFrame)
    found = found.compute()
    # dask-ml gives a missing text zeros throughout; so does sklearn for what it does not know.
    swap_in = sklearn.preprocessing.OneHotEncoder(
        categories=[sorted(frame[name].dropna().unique()) for name in TEXTS],
        handle_unknown="ignore",
        sparse_output=False,
    )
    expected = swap_in.fit_transform(frame[TEXTS].astype(object))
    names = [f"{name}_{value}" for name in TEXTS for value in sorted(frame[name].dropna().unique())]
    assert list(found.columns) == ["visits", *names]
    np.testing.assert_array_equal(found[names].to_numpy(dtype=float), expected)


def test_ordinal_encoder__equals_sklearn(frame, lazy):
    data = categorized(lazy)
    encoder = encoders.OrdinalEncoder(columns=TEXTS).fit(data)
    found = encoder.transform(data)
    assert isinstance(found, dd.DataFrame)
    swap_in = sklearn.preprocessing.OrdinalEncoder(encoded_missing_value=-1)
    expected = swap_in.fit_transform(frame[TEXTS].astype(object))
    np.testing.assert_array_equal(found.compute()[TEXTS].to_numpy(dtype=float), expected)


@pytest.mark.parametrize("strategy", ["mean", "median", "most_frequent", "constant"])
def test_simple_imputer__equals_sklearn(frame, lazy, strategy):
    parameters = {"strategy": strategy, "fill_value": -1.0 if strategy == "constant" else None}
    imputer = encoders.SimpleImputer(**parameters).fit(lazy[["visits"]])
    found = imputer.transform(lazy[["visits"]])
    assert isinstance(found, dd.DataFrame)
    expected = sklearn.impute.SimpleImputer(**parameters).fit_transform(frame[["visits"]])
    np.testing.assert_allclose(found.compute().to_numpy(), expected)


def test_preprocessing__does_not_load_dask_ml():
    code = "import sys, daskseg.preprocessing; assert 'dask_ml' not in sys.modules"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
