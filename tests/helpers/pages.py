"""The pages of the documentation: their text as Sphinx reads it, with the tables that are made from the code."""

import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
sys.path.insert(0, str(DOCS / "_extensions"))

from from_code import filled  # noqa: E402
from public_names import public_names as public_names  # noqa: E402

#: README and every page that somebody wrote.
PAGES = sorted(
    [ROOT / "README.md"]
    + [page for page in DOCS.rglob("*.md") if page.relative_to(DOCS).parts[0] != "_build"]
)


def text_of(page):
    """The text of a page, by its path or its name under docs."""
    return filled((DOCS / page).read_text(encoding="utf-8"))
