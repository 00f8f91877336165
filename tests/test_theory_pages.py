"""Every test that a page of the documentation names exists, and every page of the theory names some."""

import ast
import re
from functools import cache
from pathlib import Path

import pytest

from tests.helpers.pages import DOCS

ROOT = Path(__file__).parent.parent
PAGES = sorted(DOCS.rglob("*.md"))
NAMED = re.compile(r"`(tests/[\w/]+\.py)(?:::(\w+))?`")
THEORY = sorted((DOCS / "theory").glob("*.md"))


@cache
def _functions_of(path):
    tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
    return {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(DOCS).as_posix())
def test_the_tests_that_a_page_names_exist(page):
    for path, name in NAMED.findall(page.read_text(encoding="utf-8")):
        assert (ROOT / path).is_file(), path
        assert not name or name in _functions_of(path), f"{path}::{name}"


@pytest.mark.parametrize("page", THEORY, ids=lambda page: page.name)
def test_pages_of_the_theory_name_their_tests(page):
    named = NAMED.findall(page.read_text(encoding="utf-8"))
    assert named or page.name in ("symbols.md",)


@pytest.mark.parametrize("page", THEORY, ids=lambda page: page.name)
def test_pages_of_the_theory_lead_to_figures(page):
    text = page.read_text(encoding="utf-8")
    for example in re.findall(r"\{doc\}`/auto_(gallery/[\w/]+)`", text):
        assert (DOCS / f"{example}.py").is_file(), example
    without = {"index.md", "symbols.md", "optimizers.md"}
    assert "{doc}`/auto_gallery/" in text or page.name in without


def test_every_test_of_the_theory_is_named():
    text = "".join(page.read_text(encoding="utf-8") for page in THEORY)
    mine = _functions_of("tests/cross_checks/test_theory.py")
    for name in mine:
        if name.startswith("test_"):
            assert f"tests/cross_checks/test_theory.py::{name}`" in text, name


FORMULAS = re.compile(r"\$\$(.*?)\$\$|(?<!\$)\$([^$]+)\$", re.DOTALL)


@pytest.mark.parametrize("page", THEORY, ids=lambda page: page.name)
def test_formulas_are_understood(page):
    """As MathML there is nothing left of LaTeX: no command, no separator of columns."""
    mathml = pytest.importorskip("mathml", exc_type=ImportError)
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    found = ["".join(groups) for groups in FORMULAS.findall(text)]
    assert found or page.name == "index.md"
    for formula in found:
        markup = mathml.rendered(formula, "block")
        assert markup.startswith("<math") and "\\" not in markup and ">&<" not in markup, formula
