"""Labels of any kind beside rows of any kind."""

from __future__ import annotations

import dask.array as da
import dask.dataframe as dd
import numpy as np
import pandas as pd
import pytest

from daskseg.errors import InputError, UsageError
from daskseg.metrics import labelled as module
from daskseg.metrics.labelled import label_rows

ROWS = np.random.default_rng(0).normal(size=(120, 3))
LABELS = np.random.default_rng(1).integers(0, 3, 120)
NAMES = np.array(["b", "a", "c"])[LABELS]


def lazy(vector, chunks=50):
    return da.from_array(vector, chunks=chunks)


KINDS = {
    "int": LABELS,
    "list": LABELS.tolist(),
    "half": LABELS + 0.5,
    "lazy int": lazy(LABELS),
    "lazy uint8": lazy(LABELS.astype(np.uint8), 31),
    "Series": pd.Series(LABELS),
    "lazy Series": dd.from_pandas(pd.Series(LABELS), npartitions=3),
}
TEXTS = {
    "text": NAMES,
    "objects": NAMES.astype(object),
    "Series": pd.Series(NAMES),
    "category": pd.Series(NAMES, dtype="category"),
    "lazy": lazy(NAMES),
    "lazy Series": dd.from_pandas(pd.Series(NAMES), npartitions=3),
    "lazy category": dd.from_pandas(pd.Series(NAMES, dtype="category"), npartitions=2),
}


@pytest.fixture(params=["in memory", "lazy", "unknown chunks"])
def rows(request):
    if request.param == "in memory":
        return ROWS
    found = da.from_array(ROWS, chunks=(37, 2))
    return found[found[:, 0] > -np.inf] if request.param == "unknown chunks" else found


@pytest.mark.parametrize("kind", KINDS)
def test_label_rows__takes_numbers(rows, kind):
    found = label_rows(rows, KINDS[kind])
    assert found.n_rows.tolist() == np.bincount(LABELS).tolist()
    assert found.names.tolist() == np.unique(np.asarray(KINDS[kind])).tolist()
    assert found.codes.is_whole


@pytest.mark.parametrize("kind", TEXTS)
def test_label_rows__takes_text(rows, kind):
    found = label_rows(rows, TEXTS[kind])
    assert found.names.tolist() == ["a", "b", "c"]
    assert found.n_rows.tolist() == np.bincount(LABELS)[[1, 0, 2]].tolist()


@pytest.mark.parametrize("labels", [LABELS - 1, lazy(LABELS - 1), lazy(NAMES), NAMES])
def test_label_rows__leaves_noise_out(rows, labels):
    noise = -1 if np.dtype(labels.dtype).kind == "i" else "b"
    found = label_rows(rows, labels, noise_label=noise)
    assert found.n_rows.sum() == (LABELS > 0).sum()
    assert not found.codes.is_whole
    # A label that no row has leaves nothing out.
    assert label_rows(rows, labels, noise_label=7).codes.is_whole


def test_label_rows__drops_labels_without_weight(rows):
    found = label_rows(rows, LABELS, sample_weight=lazy((LABELS != 1) * 2.0))
    assert found.names.tolist() == [0, 2]
    assert found.weights.tolist() == (found.n_rows * 2.0).tolist()


@pytest.mark.parametrize("make", [np.asarray, lazy])
@pytest.mark.parametrize(
    ("labels", "match"),
    [
        (LABELS[:-1], "labels has 119 values, but X has 120 rows"),
        (LABELS[:, None], "labels has the shape .120, 1., but one dimension is due"),
        (np.where(LABELS, LABELS, np.nan), "missing or infinite values .NaN., the first in row"),
        (np.where(LABELS, NAMES.astype(object), None), "mixes kinds of values or has missing"),
    ],
)
def test_label_rows__refuses_bad_labels(rows, make, labels, match):
    with pytest.raises(InputError, match=match):
        label_rows(rows, make(labels))


def test_label_rows__refuses_too_many_labels(rows, monkeypatch):
    monkeypatch.setattr(module, "MAX_LABELS", 50)
    for labels in (np.arange(120), lazy(np.arange(120)), lazy(np.arange(120).astype(str))):
        with pytest.raises(InputError, match=r"more than 50 distinct values .0.*an id"):
            label_rows(rows, labels)


def test_label_rows__refuses_numbers_that_float64_cannot_tell_apart():
    labels = lazy(2**60 + LABELS)
    with pytest.raises(InputError, match=r"beyond 2\*\*53"):
        label_rows(da.from_array(ROWS, chunks=(37, 3)), labels)
    assert label_rows(ROWS, 2**60 + LABELS).names.tolist() == [2**60, 2**60 + 1, 2**60 + 2]


def test_label_rows__refuses_rows_with_gaps():
    broken = ROWS.copy()
    broken[7, 1] = np.nan
    for on_sphere in (False, True):
        with pytest.raises(InputError, match=r"column 1; .* The first is in row 7"):
            label_rows(broken, LABELS, on_sphere=on_sphere)
    frame = pd.DataFrame(broken, columns=["a", "b", "c"])
    with pytest.raises(InputError, match="column 'b'"):
        label_rows(frame, LABELS)


def test_label_rows__refuses_a_noise_label_that_is_no_number():
    with pytest.raises(UsageError, match="noise_label='x' is not a number"):
        label_rows(da.from_array(ROWS, chunks=(37, 3)), lazy(LABELS), noise_label="x")
