from __future__ import annotations

import pickle
from pathlib import Path

import pandas as pd
import pytest

from daskseg.errors import BadValueError, InputError
from daskseg.sources.locate import placing


def refused(source: Path | list[Path], value: str, column: str = "n") -> str:
    """Return what an error about a value says at the end of a ``with placing`` block."""
    with (
        pytest.raises(BadValueError, match=r"^it is wrong\.") as caught,
        placing(source),
    ):
        raise BadValueError("it is wrong.", column, value)
    assert (caught.value.column, caught.value.value) == (column, value)
    return str(caught.value).removeprefix("it is wrong.").strip()


def test_placing__counts_rows_as_spreadsheets_do(tmp_path):
    file = tmp_path / "a.csv"
    file.write_text('id,n\n1,2\n2,"a\nb"\n3, x \n4,x\n')
    assert refused(file, "2") == f"'2' stands in row 2 of '{file}'."
    assert refused(file, "x") == f"'x' stands in rows 4 and 5 of '{file}'."


def test_placing__goes_through_all_files(tmp_path):
    for name in "abc":
        (tmp_path / f"{name}.csv").write_text(f"id,n\n1,0\n2,{name}\n3,x{name}\n")
    assert refused(tmp_path, "c") == f"'c' stands in row 3 of '{tmp_path}/c.csv'."
    (tmp_path / "b.csv").write_text("n,id\nc,1\n")
    assert refused(tmp_path, "c") == (
        f"'c' stands in row 2 of '{tmp_path}/b.csv' and in row 3 of '{tmp_path}/c.csv'."
    )


def test_placing__knows_values_of_other_types(tmp_path):
    file = tmp_path / "a.parquet"
    pd.DataFrame({"n": [1.0, float("inf"), 17850.0]}).to_parquet(file)
    assert refused(file, "inf") == f"'inf' stands in row 2 of '{file}'."
    assert refused(file, "17850") == f"'17850' stands in row 3 of '{file}'."
    file = tmp_path / "a.jsonl"
    file.write_text('{"n": "1"}\n{"n": "two"}\n')
    assert refused(file, "two") == f"'two' stands in row 2 of '{file}'."


def test_placing__keeps_the_error_if_the_value_is_not_found(tmp_path):
    file = tmp_path / "a.csv"
    file.write_text("id,n\n1,2\n")
    assert refused(file, "9") == ""
    file.write_text("id,n\n1,2,3\n")
    assert refused(file, "2") == ""
    with pytest.raises(InputError, match="another"), placing(file):
        raise InputError("another")


def test_bad_value_error__survives_pickling():
    error = pickle.loads(pickle.dumps(BadValueError("it is wrong.", "n", "x")))
    assert str(error) == "it is wrong."
    assert (error.column, error.value, error.exit_code) == ("n", "x", 4)
