"""The catalogue: looking up, filling in, and that every key in the code exists."""

from __future__ import annotations

import ast
import string
import tomllib
from importlib.resources import files
from pathlib import Path

import pytest

from daskseg.texts import has_text, sentences, text

CODE = Path(str(files("daskseg")))


def test_text__fills_in_values():
    assert text("report.numbers.range", low="4", high="20") == "4 to 20"


def test_text__value_may_be_called_key():
    with pytest.raises(KeyError, match="needs a value for 'low'"):
        text("report.numbers.range", key="x", high="20")


def test_text__missing_key_names_key_and_file():
    with pytest.raises(KeyError, match=r"report\.nothing.*daskseg/catalogue/report\.toml"):
        text("report.nothing.here")


def test_text__missing_area_names_file():
    with pytest.raises(KeyError, match=r"no area 'nowhere'"):
        text("nowhere.key")


def test_text__area_cannot_leave_the_folder():
    with pytest.raises(KeyError, match="no area"):
        text("../report.months.1")


def test_text__table_is_no_sentence():
    with pytest.raises(KeyError, match="is a table"):
        text("report.months")


def test_has_text__tells_sentence_from_table_and_nothing():
    assert has_text("report.months.1")
    assert not has_text("report.months")
    assert not has_text("report.months.13")
    assert not has_text("nowhere.at.all")


def test_sentences__keeps_the_order_of_the_file():
    assert list(sentences("report.months")) == [str(month) for month in range(1, 13)]


def test_sentences__refuses_a_sentence_and_nested_tables():
    with pytest.raises(KeyError, match="not a table"):
        sentences("report.months.1")
    with pytest.raises(KeyError, match="holds the table"):
        sentences("report.glossary")


def _leaves(table: dict[str, object], path: str) -> dict[str, object]:
    found: dict[str, object] = {}
    for name, value in table.items():
        if isinstance(value, dict):
            found |= _leaves(value, f"{path}.{name}")
        else:
            found[f"{path}.{name}"] = value
    return found


def _report_sentences() -> dict[str, object]:
    source = files("daskseg") / "catalogue" / "report.toml"
    return _leaves(tomllib.loads(source.read_text(encoding="utf-8")), "report")


def test_catalogue__report_holds_only_sentences_with_named_placeholders():
    for key, sentence in _report_sentences().items():
        assert isinstance(sentence, str), key
        assert sentence.strip(), key
        names = [name for _, name, _, _ in string.Formatter().parse(sentence) if name is not None]
        assert all(name.isidentifier() for name in names), key


def _keys_in_code() -> tuple[set[str], set[str]]:
    """Return the literal keys of text() in the report, and the fixed beginnings of others."""
    literal, beginnings = set(), set()
    modules = [*sorted((CODE / "report").glob("*.py")), CODE / "formats.py"]
    for node in (found for path in modules for found in ast.walk(ast.parse(path.read_text()))):
        value = node.value if isinstance(node, ast.Constant) else None
        if isinstance(value, str) and value.startswith("report."):
            (beginnings if value.endswith((".", "_")) else literal).add(value)
    return literal, beginnings


def test_catalogue__every_literal_key_of_the_report_exists():
    literal, beginnings = _keys_in_code()
    keys = _report_sentences()
    files_of_the_package = {"report.css", "report.js"}
    for key in literal - files_of_the_package:
        assert any(known == key or known.startswith(f"{key}.") for known in keys), key
    for beginning in beginnings:
        assert any(known.startswith(beginning) for known in keys), beginning


def test_catalogue__every_sentence_of_the_report_is_used():
    literal, beginnings = _keys_in_code()
    for key in _report_sentences():
        by_name = key in literal or key.rpartition(".")[0] in literal
        assert by_name or any(key.startswith(beginning) for beginning in beginnings), key
