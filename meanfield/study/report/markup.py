"""HTML from Python: text that is not marked as HTML is escaped."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from html import escape
from typing import NamedTuple


class Html(str):
    """Text that is already HTML."""

    __slots__ = ()


def html(*parts: str) -> Html:
    """Concatenated parts; those that are not HTML are escaped."""
    return Html("".join(part if isinstance(part, Html) else escape(part) for part in parts))


def element(tag: str, *children: str, **attributes: str | int | None) -> Html:
    """An element; ``class_`` stands for class, an underscore for a hyphen, and an attribute of None is left out."""
    written = "".join(
        f' {name.rstrip("_").replace("_", "-")}="{escape(str(value))}"'
        for name, value in attributes.items()
        if value is not None
    )
    return Html(f"<{tag}{written}>{html(*children)}</{tag}>")


def paragraph(*children: str, class_: str | None = None) -> Html:
    """A paragraph."""
    return element("p", *children, class_=class_)


def breakable(name: str) -> Html:
    """A name that may be broken after underscores."""
    return Html(html(name).replace("_", "_<wbr/>"))


def slug(text: str) -> str:
    """An id for a heading."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-") or "part"


class Row(NamedTuple):
    """A row of a table: its heading, and a cell per column. An indented row details the row above."""

    title: str
    cells: Sequence[str]
    indented: bool = False


MANY = 6  # tables with more columns have a smaller font
LONG = 14  # headings of rows with more characters may be broken


def table(caption: str, columns: Sequence[str], rows: Sequence[Row], corner: str = "") -> Html:
    """A table with headings for rows and columns, in a box that scrolls where the page is too narrow."""
    name = f"table-{slug(caption)}"
    first = element("th", corner, scope="col") if corner else element("td")
    head = element(
        "tr", first, *(element("th", breakable(title), scope="col") for title in columns)
    )
    sizes = {
        "wide": len(columns) > MANY,
        "long": any(len(row.title) > LONG for row in rows),
    }
    content = element(
        "table",
        element("caption", element("span", caption), id=name),
        element("thead", head),
        element("tbody", *map(_row, rows)),
        class_=" ".join(size for size, is_so in sizes.items() if is_so) or None,
    )
    return box(content, name)


def _row(row: Row) -> Html:
    heading = element(
        "th", breakable(row.title), scope="row", class_="indented" if row.indented else None
    )
    return element("tr", heading, *(element("td", cell) for cell in row.cells))


def box(content: Html, labelled_by: str, style: str | None = None) -> Html:
    """A container for content wider than the page: it scrolls, also by keyboard."""
    about = {"role": "region", "aria_labelledby": labelled_by, "style": style}
    return element("div", content, class_="box", tabindex=0, **about)


def facts(pairs: Iterable[tuple[str, str]]) -> Html:
    """A list of names and values."""
    items = (element("div", element("dt", name), element("dd", value)) for name, value in pairs)
    return element("dl", *items)


def equation(text: str) -> Html:
    """A formula, on one line where there is room."""
    return element("span", text, class_="equation")


def bullets(items: Iterable[str], class_: str | None = None) -> Html:
    """A list."""
    return element("ul", *(element("li", item) for item in items), class_=class_)


def spoken(name: str) -> str:
    """A readable form of the name of a process."""
    return name.replace("_", " ")
