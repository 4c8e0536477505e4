"""The structure of the package: who may import whom, where work starts, what an import costs."""

from __future__ import annotations

import ast
import graphlib
import importlib
import os
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "daskseg"
MAX_LINES = 500

# The way of the data. A module imports only modules of a strictly lower rank; inside a folder the
# imports have no cycle. The folder or module right under daskseg/ has the rank of all below it.
RANK = {
    "__version__": 0,
    "errors": 0,
    "version": 0,
    "parameters": 1,
    "publish": 1,
    "records": 1,
    "texts": 1,
    "config": 2,
    "formats": 2,
    "charts": 3,
    "demo": 3,
    "kernels": 3,
    "engine": 4,
    "sources": 5,
    "store": 5,
    "inputs": 6,
    "estimator": 7,
    "metrics": 7,
    "decomposition": 8,
    "features": 8,
    "preprocessing": 8,
    "cluster": 9,
    "manifold": 10,
    "mixture": 10,
    "model_selection": 10,
    "segments": 11,
    "pipeline": 12,
    "report": 12,
    "segmentation": 13,
    "cli": 14,
    "__main__": 15,
}

# Third parties with one home each, and modules that never see some of them.
ONLY_IN = {
    "bokeh": ("charts", "report"),
    "dask_ml": ("preprocessing.encoders",),
    "distributed": ("engine.runtime",),
    "zarr": ("store",),
}
NEVER_IN = {
    "charts": ("dask", "distributed"),
    "report": ("dask", "distributed"),
    "serving": ("dask", "distributed"),
    "kernels": ("dask", "distributed"),
    "demo": ("dask", "distributed", "zarr"),
}

# Calls that start work or move data: the engine is the one door.
ENGINE_CALLS = frozenset(
    {"compute", "gather", "persist", "store", "submit", "to_parquet", "to_zarr"}
)

# Imports inside functions, by module: what is heavy and often not needed at all.
LATE_IMPORTS = {
    "engine.runtime": {"distributed"},
    "manifold.tsne": {"openTSNE"},  # an extra
    "manifold.umap": {"umap"},  # an extra, and it takes seconds to load
    "model_selection.sweep": {"daskseg"},  # daskseg.charts loads bokeh, for plot() alone
}


def _name(path: Path) -> str:
    """Return the dotted name below daskseg, "" for the package itself."""
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {_name(path): path for path in sorted(PACKAGE.rglob("*.py"))}
EVERY_MODULE = pytest.mark.parametrize("module", sorted(MODULES))


@cache
def _tree(module: str) -> ast.Module:
    return ast.parse(MODULES[module].read_text(encoding="utf-8"))


def _targets(node: ast.AST) -> Iterator[str]:
    """Yield the dotted names that an import statement loads."""
    if isinstance(node, ast.Import):
        for alias in node.names:
            yield alias.name
    elif isinstance(node, ast.ImportFrom) and not node.level:
        for alias in node.names:
            name = f"{node.module}.{alias.name}"
            is_module = name.removeprefix("daskseg.") in MODULES
            yield name if is_module or node.module == "daskseg" else str(node.module)


def _imports(module: str) -> set[str]:
    return {target for node in ast.walk(_tree(module)) for target in _targets(node)}


def _inside(module: str, homes: tuple[str, ...]) -> bool:
    return any(module == home or module.startswith(f"{home}.") for home in homes)


def _late_imports(node: ast.AST, inside: bool = False) -> Iterator[str]:
    for child in ast.iter_child_nodes(node):
        if inside:
            yield from _targets(child)
        is_function = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        yield from _late_imports(child, inside or is_function)


@EVERY_MODULE
def test_module__has_a_rank(module):
    folder = module.split(".")[0]
    assert not folder or folder in RANK, f"daskseg.{module} has no rank: add it to RANK"


@EVERY_MODULE
def test_module__imports_lower_ranks_only(module):
    folder = module.split(".")[0]
    if not folder:
        return  # imports for type checkers alone; test_package__import_is_light holds the rest
    for target in sorted(_imports(module)):
        top, _, inner = target.partition(".")
        other = inner.split(".")[0]
        if top != "daskseg" or other == folder:
            continue
        assert other in RANK, f"daskseg.{module} imports {target}: name a module, not the package"
        assert RANK[other] < RANK[folder], (
            f"daskseg.{module} (rank {RANK[folder]}) must not import {target} (rank {RANK[other]})"
        )


@pytest.mark.parametrize("folder", sorted({name.split(".")[0] for name in MODULES if "." in name}))
def test_folder__imports_without_a_cycle(folder):
    graph = {
        module: {
            target.removeprefix("daskseg.")
            for target in _imports(module)
            if _inside(target.removeprefix("daskseg."), (folder,))
        }
        - {module}
        for module in MODULES
        if _inside(module, (folder,))
    }
    try:
        graphlib.TopologicalSorter(graph).prepare()
    except graphlib.CycleError as error:
        pytest.fail(f"cycle in daskseg.{folder}: {' -> '.join(error.args[1])}")


@EVERY_MODULE
def test_module__third_party_has_one_home(module):
    for target in sorted(_imports(module)):
        top = target.split(".")[0]
        homes = ONLY_IN.get(top)
        assert homes is None or _inside(module, homes), (
            f"daskseg.{module} imports {target}; only {', '.join(homes or ())} may"
        )
        assert top not in NEVER_IN.get(module.split(".")[0], ()), (
            f"daskseg.{module} must not import {target}"
        )
        assert not target.startswith("sklearn._"), f"daskseg.{module} imports private {target}"


def _dask_names(module: str) -> set[str]:
    """Return the names that a module imported out of dask."""
    return {
        alias.asname or alias.name
        for node in ast.walk(_tree(module))
        if isinstance(node, ast.ImportFrom) and str(node.module).split(".")[0] == "dask"
        for alias in node.names
    }


@EVERY_MODULE
def test_module__leaves_work_to_the_engine(module):
    if _inside(module, ("engine",)):
        return
    from_dask = _dask_names(module)
    for node in ast.walk(_tree(module)):
        if not isinstance(node, ast.Call):
            continue
        if isinstance(node.func, ast.Attribute):
            called = node.func.attr
        elif isinstance(node.func, ast.Name) and node.func.id in from_dask:
            called = node.func.id
        else:
            continue
        assert called not in ENGINE_CALLS, (
            f"daskseg.{module}, line {node.lineno}: {called}() belongs to daskseg.engine"
        )


def _lazy_arguments(tree: ast.Module) -> set[str]:
    """Return the arguments that are annotated as dask collections alone."""
    lazy = ("dd.", "dask.", "da.Array")
    return {
        node.arg
        for node in ast.walk(tree)
        if isinstance(node, ast.arg)
        and node.annotation is not None
        and ast.unparse(node.annotation).strip("'\"").startswith(lazy)
        and "|" not in ast.unparse(node.annotation)
    }


@EVERY_MODULE
def test_module__does_not_take_the_length_of_a_lazy_frame(module):
    # A tree has no types: names that end in ddf, and arguments annotated as dask collections.
    if _inside(module, ("engine",)):
        return
    lazy = _lazy_arguments(_tree(module))
    for node in ast.walk(_tree(module)):
        if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Name)):
            continue
        if node.func.id != "len" or len(node.args) != 1:
            continue
        operand = ast.unparse(node.args[0])
        assert operand not in lazy, f"daskseg.{module}, line {node.lineno}: len({operand}) computes"
        assert not operand.endswith("ddf"), (
            f"daskseg.{module}, line {node.lineno}: len({operand}) computes"
        )


@EVERY_MODULE
def test_module__has_no_relative_import(module):
    for node in ast.walk(_tree(module)):
        assert not (isinstance(node, ast.ImportFrom) and node.level), (
            f"daskseg.{module}, line {node.lineno}: write the import in full"
        )


@EVERY_MODULE
def test_module__imports_at_the_top(module):
    if _inside(module, ("cli",)):
        return
    allowed = LATE_IMPORTS.get(module, set())
    for target in _late_imports(_tree(module)):
        assert target.split(".")[0] in allowed, (
            f"daskseg.{module} imports {target} inside a function; "
            "move it to the top, or give the reason in LATE_IMPORTS"
        )


@EVERY_MODULE
def test_module__is_short_enough_to_read(module):
    n_lines = len(MODULES[module].read_text(encoding="utf-8").splitlines())
    assert n_lines <= MAX_LINES, f"daskseg.{module} has {n_lines} lines, the limit is {MAX_LINES}"


def _in_order(names: list[str]) -> list[str]:
    """Sort as ruff does (RUF022): constants, classes, the rest."""
    return sorted(set(names), key=lambda name: (not name.isupper(), not name[0].isupper(), name))


def _all_of(tree: ast.Module) -> list[str] | None:
    for node in tree.body:
        targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
        if any(isinstance(target, ast.Name) and target.id == "__all__" for target in targets):
            try:
                return [str(name) for name in ast.literal_eval(node.value)]  # type: ignore[attr-defined]
            except ValueError:
                return None  # computed; the import test below looks at the value
    return None


@EVERY_MODULE
def test_module__all_is_complete_and_sorted(module):
    tree = _tree(module)
    listed = _all_of(tree)
    if listed is None:
        return
    assert listed == _in_order(listed), f"daskseg.{module}.__all__ is not sorted"
    public = {
        node.name
        for node in tree.body
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_")
    }
    assert public <= set(listed), f"missing in daskseg.{module}.__all__: {public - set(listed)}"


def test_package__names_resolve():
    daskseg = importlib.import_module("daskseg")
    assert list(daskseg.__all__) == _in_order(daskseg.__all__)
    for name in daskseg.__all__:
        assert getattr(daskseg, name) is not None
    assert set(daskseg.__all__) <= set(dir(daskseg))


def _loaded_by(module: str) -> set[str]:
    """Return the top-level modules that a fresh interpreter has after an import."""
    run = subprocess.run(
        [sys.executable, "-c", f"import sys, {module}; print(*sys.modules)"],
        capture_output=True,
        check=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        text=True,
    )
    return {name.split(".")[0] for name in run.stdout.split()}


def test_package__import_is_light():
    heavy = {"bokeh", "dask", "distributed", "numba", "numpy", "pandas", "sklearn", "zarr"}
    assert _loaded_by("daskseg").isdisjoint(heavy)


@pytest.mark.skipif("report" not in MODULES, reason="there is no report module")
def test_report__import_leaves_dask_out():
    assert _loaded_by("daskseg.report").isdisjoint({"dask", "distributed"})
