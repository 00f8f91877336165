"""A self-contained HTML page: no scripts, no requests, its own style."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files

from meanfield._version import __version__
from meanfield.study.report.markup import Html, bullets, element, html, paragraph, slug

# Nothing is loaded or executed, whatever the texts of a file contain.
POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
META = (
    {"charset": "utf-8"},
    {"http_equiv": "Content-Security-Policy", "content": POLICY},
    {"name": "viewport", "content": "width=device-width, initial-scale=1"},
    {"name": "color-scheme", "content": "light dark"},
    {"name": "referrer", "content": "no-referrer"},
    {"name": "generator", "content": f"meanfield {__version__}"},
)


@dataclass(frozen=True)
class Section:
    """A part of the page with a heading; `parts` are ids and titles of further entries of the table of contents."""

    title: str
    blocks: Sequence[Html]
    parts: Sequence[tuple[str, str]] = ()

    @property
    def id(self) -> str:
        return slug(self.title)


@dataclass(frozen=True)
class Page:
    """A title, a lead paragraph, and sections."""

    title: str
    lead: Sequence[Html]
    sections: Sequence[Section]

    def render(self) -> str:
        """The whole file: HTML that is also well-formed XML, deterministic."""
        style = files("meanfield.study.report").joinpath("style.css").read_text(encoding="utf-8")
        head = element(
            "head",
            *(_void("meta", **attributes) for attributes in META),
            element("title", self.title),
            _void("link", rel="icon", href="data:,"),
            element("style", Html(style)),
        )
        body = element(
            "body",
            element("a", "Skip to the report", href="#report", class_="skip"),
            element("header", element("h1", self.title), *self.lead),
            element("nav", self._contents(), aria_label="Contents"),
            element("main", *map(_section, self.sections), id="report", tabindex=-1),
            element("footer", paragraph(f"Made by meanfield {__version__}.")),
        )
        return f"<!DOCTYPE html>\n{element('html', head, body, lang='en')}\n"

    def _contents(self) -> Html:
        return bullets(
            html(
                _link(section.id, section.title),
                bullets([_link(*part) for part in section.parts]) if section.parts else Html(),
            )
            for section in self.sections
        )


def lead(status: str, warnings: int, *verdict: Html) -> list[Html]:
    """Status, number of warnings, and results."""
    count = f"{warnings} warning{'s' if warnings != 1 else ''}" if warnings else "no warnings"
    line = paragraph(
        element("span", status, class_="status" if status == "complete" else "status warned"),
        " ",
        element("a", count, href="#warnings") if warnings else count,
    )
    return [line, *verdict]


def warning_section(warnings: Sequence[str]) -> Section:
    """All warnings, or a statement that there are none."""
    found = bullets(warnings, class_="warnings") if warnings else paragraph("None.")
    return Section("Warnings", [found])


def _section(section: Section) -> Html:
    heading = element("h2", section.title, id=section.id)
    return element("section", heading, *section.blocks, aria_labelledby=section.id)


def _link(target: str, text: str) -> Html:
    return element("a", text, href=f"#{target}")


def _void(tag: str, **attributes: str) -> Html:
    """An element without content, valid in both HTML and XML."""
    return Html(element(tag, **attributes).replace(f"></{tag}>", "/>"))
