"""Generated parts of pages, between ``<!-- name -->`` and ``<!-- /name -->``, and what they depend on."""

from __future__ import annotations

from pathlib import Path

from _bench_report import machine

import meanfield


def part(page: Path, name: str) -> str:
    """A generated part of a page."""
    text = page.read_text(encoding="utf-8")
    return text.partition(f"<!-- {name} -->")[2].partition(f"<!-- /{name} -->")[0].strip()


def splice(page: Path, name: str, body: str) -> None:
    """Replace a generated part of a page; ValueError where the page has none of this name."""
    text = page.read_text(encoding="utf-8")
    begin, end = f"<!-- {name} -->", f"<!-- /{name} -->"
    if begin not in text or end not in text:
        raise ValueError(f"{page} must have {begin} and {end}, got neither or one")
    head, _, rest = text.partition(begin)
    page.write_text(
        f"{head}{begin}\n{body.strip()}\n{end}{rest.partition(end)[2]}", encoding="utf-8"
    )


def computed(command: str) -> str:
    """Command, date, machine and versions, in one line."""
    m = machine(0)
    versions = ", ".join(f"{name} {m['versions'][name]}" for name in ("numpy", "scipy", "numba"))
    return (
        f"*`{command}`, {m['date'][:10]}, {m['processor']}, {m['cores']} cores; meanfield {meanfield.__version__}, "
        f"Python {m['python']}, {versions}.*"
    )
