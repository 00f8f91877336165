"""Docstrings as they are read in a terminal, turned into what Sphinx takes for the same.

Their equations stand in indented blocks and have the letters that they have on paper, | and * among them. Here such a block
becomes a literal one, which keeps its lines, and these letters are escaped in the text around.
"""

from __future__ import annotations

import re
from typing import Any

_DEFINITIONS = {"Parameters", "Returns", "Yields", "Raises", "Warns", "Attributes"}
_CODE = re.compile(r"(``.*?``|`[^`]*`)")
_NORM = re.compile(r"\|([^|\s]{1,8})\|")
_EMPHASIS = re.compile(r"(?<![\w*])\*(?=[^\s*])([^*|]*[^\s*|])\*(?![\w*])")


def escaped(text: str) -> str:
    """Text whose only markup is code and *emphasis*."""
    return "".join(part if part.startswith("`") else _escape(part) for part in _CODE.split(text))


def _escape(part: str) -> str:
    marked = _EMPHASIS.sub("\0\\1\0", part)
    return marked.replace("|", "\\|").replace("*", "\\*").replace("\0", "*")


def as_rst(lines: list[str]) -> list[str]:
    """The lines of a docstring with its equations as literal blocks and its text escaped."""
    found: list[str] = []
    section, literal, doctest, previous = "", False, False, ""
    for number, line in enumerate(lines):
        following = lines[number + 1] if number + 1 < len(lines) else ""
        indent = len(line) - len(line.lstrip())
        if line and re.fullmatch(r"-{3,}", following):
            section = line.strip()
        if line and literal and indent == 0:
            literal = False
        begins = (
            line and indent >= 4 and not previous and section not in (*_DEFINITIONS, "Examples")
        )
        if begins and not literal:
            literal = True
            if not _last(found).endswith("::"):
                found += [".. code-block:: text", "   :class: equation", ""]
        doctest = bool(line) and (doctest or line.lstrip().startswith(">>>"))
        found.append(line if literal or doctest else escaped(line))
        previous = line
    return found


def process(
    _app: Any, _what: str, _name: str, _thing: Any, _options: Any, lines: list[str]
) -> None:
    """Handler of ``autodoc-process-docstring``, before numpydoc's."""
    lines[:] = as_rst(lines)


def of_example(_app: Any, page: str, content: list[str]) -> None:
    """Handler of ``source-read``: the text of an example is a docstring too; its code is indented."""
    if page.startswith("auto_"):
        lines = content[0].split("\n")
        content[0] = "\n".join(
            line if line.startswith((" ", "..")) else _NORM.sub(r"\\|\1\\|", line) for line in lines
        )


def _last(lines: list[str]) -> str:
    return next((line for line in reversed(lines) if line.strip()), "")


def setup(app: Any) -> dict[str, bool]:
    app.connect("source-read", of_example)
    app.connect("autodoc-process-docstring", process, priority=100)
    return {"parallel_read_safe": True}
