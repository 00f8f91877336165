"""Reports as tests see them: a tree of elements, and what every page must have."""

import xml.etree.ElementTree as ET
from itertools import pairwise

SVG = "{http://www.w3.org/2000/svg}"
XLINK = "{http://www.w3.org/1999/xlink}href"
HEADINGS = ("h1", "h2", "h3", "h4")


def parsed(text):
    """The root element: a page is well-formed XML, so nothing in it can have escaped from its place unseen."""
    return ET.fromstring(text)


def words(element):
    """All text of an element, spaces run together."""
    return " ".join("".join(element.itertext()).split())


def ids(root):
    return [element.get("id") for element in root.iter() if element.get("id")]


def section(root, title):
    """The section under a heading."""
    (found,) = (s for s in root.iter("section") if words(s.find("h2")) == title)
    return found


def table(root, caption):
    """A table's cells by column and row: ``cells[column][row]``."""
    (found,) = (t for t in root.iter("table") if words(t.find("caption")) == caption)
    columns = [words(th) for th in found.find("thead/tr")][1:]
    rows = [[words(cell) for cell in tr] for tr in found.findall("tbody/tr")]
    return {column: {row[0]: row[i] for row in rows} for i, column in enumerate(columns, start=1)}


def facts(root):
    """Names and values of all lists of facts."""
    return {
        words(div.find("dt")): words(div.find("dd"))
        for div in root.iter("div")
        if div.find("dt") is not None
    }


def warnings(root):
    return [words(item) for item in section(root, "Warnings").iter("li")]


def assert_sound(text):
    """Structure that readers without sight, and browsers without network, rely on; returns the tree."""
    root = parsed(text)
    assert text.startswith("<!DOCTYPE html>\n") and root.get("lang") == "en"
    known = ids(root)
    assert len(known) == len(set(known))
    for element in root.iter():
        for reference in (element.get("href"), element.get(XLINK)):
            if reference and reference.startswith("#"):
                assert reference[1:] in known, reference
            elif reference:
                assert reference.startswith("data:"), reference
        for named in filter(None, [element.get("aria-labelledby")]):
            assert named in known
        assert not [name for name in element.attrib if name.startswith("on")]
    assert not [e for e in root.iter() if e.tag.split("}")[-1] in ("script", "iframe", "object")]
    levels = [int(e.tag[1]) for e in root.iter() if e.tag in HEADINGS]
    assert levels[0] == 1 and levels.count(1) == 1
    assert all(later <= level + 1 for level, later in pairwise(levels))
    for found in root.iter("table"):
        assert words(found.find("caption"))
        assert all(th.get("scope") in ("row", "col") for th in found.iter("th"))
        widths = {len(tr) for tr in found.iter("tr")}
        assert len(widths) == 1
    for figure in root.iter("figure"):
        assert len(words(figure.find("figcaption"))) > 20
        (svg,) = figure.iter(f"{SVG}svg")
        assert svg.get("role") == "img" and words(svg.find(f"{SVG}title"))
        assert svg.get("viewBox")
    return root
