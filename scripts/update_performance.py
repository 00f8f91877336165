"""Put what the benchmarks wrote into docs/results/performance.md.

    python scripts/update_performance.py benchmarks

Between ``<!-- bench_step -->`` and ``<!-- /bench_step -->``, and so for every benchmark whose ``.md`` is in the folder, the page
gets that file's text, a level of headings deeper, and its plot as ``docs/results/performance_step.png``.
"""

from __future__ import annotations

import argparse
import re
import shutil
from collections.abc import Sequence
from pathlib import Path

PAGE = Path(__file__).parent.parent / "docs" / "results" / "performance.md"


def update(page: Path, folder: Path) -> list[str]:
    """The names of the benchmarks that the page got."""
    text, found = page.read_text(encoding="utf-8"), []
    for name in dict.fromkeys(re.findall(r"<!-- (bench_\w+) -->", text)):
        source = folder / f"{name}.md"
        if not source.exists():
            continue
        body = source.read_text(encoding="utf-8").split("\n", 1)[1].strip()
        body = re.sub(r"^##", "###", body, flags=re.MULTILINE)
        plot = folder / f"{name}.png"
        if plot.exists():
            to = f"performance_{name.removeprefix('bench_')}.png"
            shutil.copyfile(plot, page.parent / to)
            body = f"![{name}]({to})\n\n{body}"
        begin, end = f"<!-- {name} -->", f"<!-- /{name} -->"
        parts = text.split(begin)[0], text.split(end)[1]
        text = f"{parts[0]}{begin}\n{body}\n{end}{parts[1]}"
        found.append(name)
    page.write_text(text, encoding="utf-8")
    return found


def main(argv: Sequence[str] | None = None) -> None:
    made = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    made.add_argument("folder", type=Path, help="where the benchmarks wrote")
    print(f"{PAGE}: {', '.join(update(PAGE, made.parse_args(argv).folder)) or 'nothing found'}")


if __name__ == "__main__":
    main()
