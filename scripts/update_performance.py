"""Put what the benchmarks wrote into docs/results/performance.md.

    python scripts/update_performance.py benchmarks

Between ``<!-- bench_step -->`` and ``<!-- /bench_step -->``, and so for every benchmark whose ``.md`` is in the folder, the page
gets the tables of `SHOWN`, a level of headings deeper, and its plot as ``performance_step.png``; the whole text goes into
``tables/bench_step.txt`` beside the page.
"""

from __future__ import annotations

import argparse
import re
import shutil
from collections.abc import Sequence
from pathlib import Path

from _pages import splice

PAGE = Path(__file__).parent.parent / "docs" / "results" / "performance.md"
#: The tables on the page, by the beginnings of their titles.
SHOWN = {
    "bench_step": ("Time over ours",),
    "bench_flows": (
        "An iteration on the digits, N = 400",
        "An iteration by the default",
        "Hessian products",
    ),
    "bench_transport": ("Exact",),
}


def update(page: Path, folder: Path) -> list[str]:
    """The names of the benchmarks that the page got."""
    found = []
    for name in dict.fromkeys(re.findall(r"<!-- (bench_\w+) -->", page.read_text("utf-8"))):
        source = folder / f"{name}.md"
        if not source.exists():
            continue
        text = source.read_text(encoding="utf-8")
        tables = page.parent / "tables"
        tables.mkdir(exist_ok=True)
        (tables / f"{name}.txt").write_text(text, encoding="utf-8")
        plot = folder / f"{name}.png"
        image = ""
        if plot.exists():
            to = f"performance_{name.removeprefix('bench_')}.png"
            shutil.copyfile(plot, page.parent / to)
            image = f"![{name}]({to})\n\n"
        more = f"\n\nAll tables: {{download}}`{name}.txt <tables/{name}.txt>`."
        splice(page, name, image + chosen(text, SHOWN.get(name)) + more)
        found.append(name)
    return found


def chosen(text: str, titles: Sequence[str] | None) -> str:
    """The preamble and the tables of these titles, all by default, a level of headings deeper."""
    preamble, *parts = re.split(r"^## ", text.split("\n", 1)[1].strip(), flags=re.MULTILINE)
    shown = [p for p in parts if titles is None or p.startswith(tuple(titles))]
    return "\n\n".join([preamble.strip(), *(f"### {part.strip()}" for part in shown)])


def main(argv: Sequence[str] | None = None) -> None:
    made = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    made.add_argument("folder", type=Path, help="where the benchmarks wrote")
    print(f"{PAGE}: {', '.join(update(PAGE, made.parse_args(argv).folder)) or 'nothing found'}")


if __name__ == "__main__":
    main()
