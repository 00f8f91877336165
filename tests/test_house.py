"""The house: short files and functions, a docstring for every folder, few loose files, and walls that are checked."""

import ast
import functools
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("meanfield", "solvers")
LINES_OF_A_FILE, LINES_OF_A_FUNCTION, LOOSE_FILES = 400, 60, 3


def sources(*folders):
    found = [path for folder in folders for path in sorted((ROOT / folder).rglob("*.py"))]
    assert len(found) > 50
    return found


def long_functions(text):
    """Names of those that have too many lines, their docstrings left out."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            lines = length(node) - (length(node.body[0]) if ast.get_docstring(node) else 0)
            if lines > LINES_OF_A_FUNCTION:
                yield node.name


def length(node):
    return node.end_lineno - node.lineno + 1


@functools.cache
def all_long_functions():
    return {
        (path.relative_to(ROOT).as_posix(), name)
        for path in sources(*PACKAGES, "scripts", "tests")
        for name in long_functions(path.read_text(encoding="utf-8"))
    }


def test_no_file_is_long():
    lines = {
        path: path.read_text(encoding="utf-8").count("\n")
        for path in sources(*PACKAGES, "scripts", "tests")
    }
    assert {path: n for path, n in lines.items() if n > LINES_OF_A_FILE} == {}


def test_no_function_is_long():
    assert all_long_functions() == set()


@pytest.mark.parametrize(("lines", "found"), [(59, []), (60, ["f"])])
def test_a_function_is_as_long_as_its_code(lines, found):
    text = 'def f():\n    """Text.\n\n    More.\n    """\n' + "    x = 1\n" * lines
    assert list(long_functions(text)) == found


@pytest.mark.parametrize("package", PACKAGES)
def test_every_folder_says_what_it_is(package):
    folders = {path.parent for path in sources(package)}
    without = [
        folder
        for folder in folders
        if not ast.get_docstring(ast.parse((folder / "__init__.py").read_text(encoding="utf-8")))
    ]
    assert without == []


def test_few_files_lie_directly_in_the_studies():
    found = sorted(path.name for path in (ROOT / "meanfield/study").glob("*.py"))
    assert len(found) <= LOOSE_FILES, found


def contracts():
    return tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]


def test_every_wall_is_a_contract():
    forbidden = {name for each in contracts() for name in each.get("forbidden_modules", ())}
    assert {"h5py", "matplotlib", "mpi4py", "numba", "ot", "meanfield", "solvers"} <= forbidden


def test_the_layers_of_the_studies_are_its_folders():
    (layers,) = (each["layers"] for each in contracts() if each["type"] == "layers")
    names = [name.strip() for layer in layers for name in layer.split("|")]
    study = ROOT / "meanfield/study"
    folders = [name for name in names if (study / name).is_dir()]
    assert set(folders) == {path.parent.name for path in study.glob("*/__init__.py")}
    assert all((study / f"{name}.py").is_file() for name in names if name not in folders)
    order = ["cli", "report", "figures", "width", "analysis", "engine", "storage", "config"]
    assert [name for name in folders if name in order] == order
