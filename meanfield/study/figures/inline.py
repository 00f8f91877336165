"""Figures as SVG elements of a page."""

from __future__ import annotations

import io
import re
from xml.etree import ElementTree

from matplotlib import rc_context

from meanfield.study.figures.palette import BLACK
from meanfield.study.figures.style import Drawn, styled

SVG, XLINK = "http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"
HREF = f"{{{XLINK}}}href"
# fonts with the same widths of letters as those used for the layout
FONTS = "'DejaVu Sans', Verdana, sans-serif"
ROUND = {"stroke-linejoin": "round", "stroke-linecap": "butt"}


def svg(drawn: Drawn) -> str:
    """The text of an ``<svg>`` element, for a page.

    Text remains text, nothing external is referenced, and there is no background. Black becomes ``currentColor``: axes, letters
    and gradient descent take the page's colour, light or dark; other colours are kept, with a contrast of at least 3 to both.
    Ids begin with the figure's name, so several figures can be in one page. The same data give the same text.

    Examples
    --------
    >>> from meanfield.study import figures
    >>> figures.svg(next(figures.run_figures("meanfield-run")))[:4]
    '<svg'
    """
    buffer = io.StringIO()
    with styled(), rc_context({"svg.fonttype": "none", "svg.image_inline": True}):
        drawn.figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None})
    root = ElementTree.fromstring(buffer.getvalue())
    # metadata, and a style sheet that would apply to the whole page
    for tag in ("metadata", "defs"):
        for child in root.findall(f"{{{SVG}}}{tag}"):
            if tag == "metadata" or child.find(f"{{{SVG}}}style") is not None:
                root.remove(child)
    _prefix_ids(root, f"{drawn.name}-")
    for element in root.iter():
        _turn_with_the_page(element)
    _describe(root, drawn)
    ElementTree.register_namespace("", SVG)
    ElementTree.register_namespace("xlink", XLINK)
    return ElementTree.tostring(root, encoding="unicode")


def _prefix_ids(root: ElementTree.Element, prefix: str) -> None:
    known: set[str] = set()
    for element in root.iter():
        if element.get("id", "") in known:  # a repeated image or marker
            del element.attrib["id"]
        for key, value in element.attrib.items():
            if key == "id":
                known.add(value)
                element.set(key, prefix + value)
            elif key in ("href", HREF) and value.startswith("#"):
                element.set(key, f"#{prefix}{value[1:]}")
            else:
                element.set(key, re.sub(r"url\(#", f"url(#{prefix}", value))


def _turn_with_the_page(element: ElementTree.Element) -> None:
    for key in ("style", "fill", "stroke"):
        if key in element.attrib:
            value = element.attrib[key].replace(BLACK, "currentColor")
            element.set(key, re.sub(r"(font: [^;]*?)'DejaVu Sans'[^;]*", rf"\1{FONTS}", value))


def _describe(root: ElementTree.Element, drawn: Drawn) -> None:
    root.attrib |= ROUND | {"role": "img", "fill": "currentColor"}
    root.attrib |= {"aria-labelledby": f"{drawn.name}-title", "id": f"{drawn.name}-figure"}
    root.attrib.pop("version", None)
    name = ElementTree.Element(f"{{{SVG}}}title", {"id": f"{drawn.name}-title"})
    name.text = drawn.title
    root.insert(0, name)
