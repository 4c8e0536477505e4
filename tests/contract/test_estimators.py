"""scikit-learn's own checks of estimators."""

from __future__ import annotations

import pickle

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

from daskseg.cluster import (
    DBSCAN,
    HDBSCAN,
    AgglomerativeClustering,
    BisectingKMeans,
    ConsensusClustering,
    KMeans,
    MiniBatchKMeans,
)
from daskseg.decomposition import PCA, IncrementalPCA
from daskseg.mixture import GaussianMixture

# Name of a check, and why it cannot pass. Empty, and meant to stay so.
EXPECTED_FAILURES: dict[str, str] = {}


# Some checks feed four distinct points to eight clusters, or noise to others; the warnings are
# right.
# The check of array APIs skips itself unless SciPy is told to support them.
@pytest.mark.filterwarnings("ignore:nothing stable:daskseg.errors.DasksegWarning")
@pytest.mark.filterwarnings("ignore:n_clusters=8, but:daskseg.errors.DasksegWarning")
@pytest.mark.filterwarnings("ignore:.* of the landmarks:daskseg.errors.DasksegWarning")
@pytest.mark.filterwarnings("ignore:.* of the rows:daskseg.errors.DasksegWarning")
@parametrize_with_checks(
    [
        DBSCAN(),
        HDBSCAN(),
        AgglomerativeClustering(),
        BisectingKMeans(),
        ConsensusClustering(n_runs=10),
        KMeans(),
        MiniBatchKMeans(),
        PCA(),
        PCA(2, missing="pairwise"),
        IncrementalPCA(),
        GaussianMixture(),
        GaussianMixture(2, covariance_type="diag"),
    ],
    expected_failed_checks=lambda estimator: EXPECTED_FAILURES,
)
def test_estimator__passes_the_checks_of_scikit_learn(estimator, check):
    check(estimator)


def test_kmeans__works_in_a_pipeline_and_survives_pickling():
    rows = np.random.default_rng(0).normal(size=(100, 3))
    pipe = make_pipeline(StandardScaler(), KMeans(3)).fit(rows)
    again = pickle.loads(pickle.dumps(pipe))
    np.testing.assert_array_equal(again.predict(rows), pipe.predict(rows))
    assert clone(KMeans(3, tol=0.1)).get_params()["tol"] == 0.1


def test_kmeans__names_features_in_and_out():
    frame = pd.DataFrame(np.random.default_rng(0).normal(size=(50, 2)), columns=["a", "b"])
    model = KMeans(2).fit(frame)
    assert model.feature_names_in_.tolist() == ["a", "b"]
    assert model.get_feature_names_out().tolist() == ["kmeans0", "kmeans1"]
    assert model.set_output(transform="pandas").transform(frame).columns.tolist() == [
        "kmeans0",
        "kmeans1",
    ]
    with pytest.raises(ValueError, match="feature names should match"):
        model.predict(frame.rename(columns={"a": "z"}))
