"""Code of the repository that a page names, such as `tests/test_house.py::test_x`, leads to its source within the site."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx.transforms.post_transforms import SphinxPostTransform
from sphinx.util.osutil import relative_uri

ROOT = Path(__file__).parents[2]
NAMED = re.compile(r"((?:tests|scripts|solvers|meanfield)/[\w/]+)\.py(?:::(\w+))?")
FOLDER = "source"


class LinkSources(SphinxPostTransform):
    """File names in the text of Markdown pages become links."""

    default_priority = 201

    def run(self, **kwargs: Any) -> None:
        if self.app.builder.format != "html":
            return
        here = self.app.builder.get_target_uri(self.env.docname)
        for literal in list(self.document.findall(nodes.literal)):
            named = NAMED.fullmatch(literal.astext())
            if named is None or isinstance(literal.parent, nodes.reference | nodes.title):
                continue
            if not (ROOT / f"{named[1]}.py").is_file():
                continue
            page = self.app.builder.get_target_uri(f"{FOLDER}/{named[1]}")
            address = relative_uri(here, page) + (f"#{named[2]}" if named[2] else "")
            link = nodes.reference("", "", literal.deepcopy(), internal=True, refuri=address)
            literal.replace_self(link)


def source_pages(app: Any) -> Iterator[tuple[str, dict[str, Any], str]]:
    """Handler of ``html-collect-pages``: a page for each file that a Markdown page names, or a file that one includes."""
    named = {
        name
        for path in (*Path(app.srcdir).rglob("*.md"), *ROOT.glob("*.md"))
        for name, _ in NAMED.findall(path.read_text(encoding="utf-8"))
    }
    for name in sorted(named):
        path = ROOT / f"{name}.py"
        if path.is_file():
            body = _highlighted(app, path.read_text(encoding="utf-8"))
            context = {"title": f"{name}.py", "body": f"<h1>{name}.py</h1>{body}"}
            yield f"{FOLDER}/{name}", context, "page.html"


def _highlighted(app: Any, text: str) -> str:
    """HTML of a module, with an anchor at every function and class of its top level."""
    lines = app.builder.highlighter.highlight_block(text, "python").split("\n")
    before, opening, first = lines[0].partition("<pre>")
    lines[0] = first
    for node in ast.parse(text).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            begin = min([node.lineno, *(mark.lineno for mark in node.decorator_list)]) - 1
            lines[begin] = f'<span id="{node.name}"></span>{lines[begin]}'
    return before + opening + "\n".join(lines)


def setup(app: Any) -> dict[str, bool]:
    app.add_post_transform(LinkSources)
    app.connect("html-collect-pages", source_pages)
    return {"parallel_read_safe": True}
