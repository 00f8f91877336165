"""The guides: pages are short, and every warning and error is on the page of troubleshooting."""

import ast
import re

import pytest

from tests.helpers.pages import DOCS, ROOT

GUIDES = sorted((DOCS / "guides").glob("*.md"))
RESULTS = sorted((DOCS / "results").glob("*.md"))


@pytest.mark.parametrize("page", [*GUIDES, *RESULTS], ids=lambda page: page.name)
def test_a_guide_or_a_page_of_results_has_at_most_1500_words(page):
    words = re.findall(r"\S*\w\S*", page.read_text(encoding="utf-8"))
    assert len(words) <= 1500


def test_the_index_has_every_guide():
    text = (DOCS / "guides" / "index.md").read_text(encoding="utf-8")
    for page in GUIDES:
        if page.name != "index.md":
            assert f"({page.name})" in text and f"\n{page.stem}\n" in text, page.name


# --- troubleshooting -----------------------------------------------------------------------------

VALIDITY = ("meanfield/study/report/validity.py", "meanfield/study/width/validity.py")
SOURCES = [path for package in ("solvers", "meanfield") for path in (ROOT / package).rglob("*.py")]


def parts(node):
    """The literal parts of a text with values in it."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return [node.value]
    if isinstance(node, ast.JoinedStr):
        return [part.value for part in node.values if isinstance(part, ast.Constant)]
    return []


def messages():
    """The longest literal part of every warning."""
    for path in SOURCES:
        tree = ast.parse(path.read_text(encoding="utf-8"))
        is_validity = path.relative_to(ROOT).as_posix() in VALIDITY
        for node in ast.walk(tree):
            if isinstance(node, ast.Yield) and is_validity:
                found = parts(node.value)
            elif isinstance(node, ast.Call) and ast.unparse(node.func) == "warnings.warn":
                found = parts(node.args[0])
            else:
                continue
            longest = max(found, key=len, default="").strip()
            if len(longest) > len("at step"):
                yield longest


def plain(text):
    """Without what Markdown adds, and with single spaces."""
    return " ".join(text.replace("…", " ").replace("`", "").replace("|", " ").split())


def test_every_warning_is_explained():
    page = plain((DOCS / "guides" / "troubleshooting.md").read_text(encoding="utf-8"))
    found = sorted(set(messages()))
    assert len(found) > 15
    for message in found:
        assert plain(message.strip(" ;:,.()")) in page, message


def test_every_class_of_errors_is_explained():
    page = (DOCS / "guides" / "troubleshooting.md").read_text(encoding="utf-8")
    found = set()
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                bases = " ".join(ast.unparse(base) for base in node.bases)
                if re.search(r"\w*(Error|Exception)\b", bases):
                    found.add(node.name)
    assert len(found) > 10
    for name in sorted(found):
        assert f"`{name}`" in page, name


def test_every_status_is_explained():
    from meanfield.study.engine.signals import EXIT_CODES

    page = (DOCS / "guides" / "troubleshooting.md").read_text(encoding="utf-8")
    for status in ("complete", "diverged", "failed", "interrupted"):
        assert f"| `{status}` |" in page
    for code in EXIT_CODES.values():
        assert str(code) in page
