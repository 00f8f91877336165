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


def _figures_of(section):
    """What it links that is or has a figure: files of examples and tutorials, images, and pages of results with an image."""
    examples = re.findall(r"\{doc\}`/auto_((?:gallery|tutorials)/[\w/]+)`", section)
    images = re.findall(r"!\[[^\]]*\]\(([\w/.]+\.png)\)", section)
    results = re.findall(r"\]\(\.\./(results/\w+\.md)", section)
    shown = [page for page in results if "![" in (DOCS / page).read_text(encoding="utf-8")]
    return [*(f"{name}.py" for name in examples), *(f"theory/{name}" for name in images), *shown]


@pytest.mark.parametrize("page", THEORY, ids=lambda page: page.name)
def test_a_section_that_names_a_test_links_a_figure(page):
    """What is before the first section of a page has no claim but those that the sections check."""
    sections = re.split(r"^## ", page.read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]
    without = []
    for section in sections:
        figures = _figures_of(section)
        for figure in figures:
            assert (DOCS / figure).is_file(), figure
        if NAMED.search(section) and not figures:
            without.append(section.splitlines()[0])
    assert without == []


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
