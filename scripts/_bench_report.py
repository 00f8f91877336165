"""What the benchmarks write: the machine, tables in Markdown, one JSON file, a plot."""

from __future__ import annotations

import argparse
import datetime
import importlib.metadata
import os
import platform
import shlex
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from _bench import Timing, save_json

PACKAGES = ("numpy", "scipy", "numba", "torch", "jax", "pot", "geomloss", "ott-jax")


def parser(description: str | None, out: str = "benchmarks") -> argparse.ArgumentParser:
    """The options that every benchmark has; `race_options` are those of races."""
    made = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    made.add_argument("--out", type=Path, default=Path(out), help=f"folder (default: {out})")
    made.add_argument("--quick", action="store_true", help="small sizes, to see that it runs")
    cores = os.cpu_count() or 1
    made.add_argument("--threads", type=int, default=cores, help=f"for everyone (default: {cores})")
    return made


def race_options(made: argparse.ArgumentParser) -> argparse.ArgumentParser:
    """How long a race is."""
    made.add_argument("--rounds", type=int, default=21, help="of a race (default: 21)")
    made.add_argument("--budget", type=float, default=6.0, help="seconds for each in a race")
    return made


def machine(threads: int) -> dict[str, Any]:
    """What the numbers depend on."""
    return {
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "processor": _processor(),
        "cores": os.cpu_count(),
        "threads": threads,
        "system": platform.platform(),
        "python": platform.python_version(),
        "versions": {name: found for name in PACKAGES if (found := version(name))},
        "load_at_start": _load(),
    }


def version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def _load() -> float | None:
    return round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None


def seconds(value: float) -> str:
    """With three digits and a unit."""
    for factor, unit in ((1.0, "s"), (1e3, "ms"), (1e6, "µs")):
        if value * factor >= 1 or unit == "µs":
            return f"{_three(value * factor)} {unit}"
    raise AssertionError


def milliseconds(timing: Timing | None) -> str:
    """Median and, in brackets, quartiles."""
    if timing is None:
        return "–"
    return f"{_three(1e3 * timing.median)} [{_three(1e3 * timing.lower)}, {_three(1e3 * timing.upper)}]"


def _three(value: float) -> str:
    """Three significant digits, as a plain number."""
    if value == 0 or not value < float("inf"):
        return str(value)
    digits = 2
    size = abs(value)
    while size >= 10 and digits > 0:
        size, digits = size / 10, digits - 1
    while size < 1 and digits < 12:
        size, digits = size * 10, digits + 1
    return f"{value:.{digits}f}"


three = _three


class Report:
    """Tables that are printed as they come, and written with their numbers at the end."""

    def __init__(self, name: str, options: argparse.Namespace) -> None:
        self.name, self.folder = name, options.out
        self.data: dict[str, Any] = {
            "script": name,
            "command": shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]]),
            "machine": machine(options.threads),
            "left_out": {},
        }
        self._parts: list[str] = []
        self.folder.mkdir(parents=True, exist_ok=True)

    def leave_out(self, name: str, why: str) -> None:
        """Once per reason."""
        if self.data["left_out"].get(name) != why:
            self.data["left_out"][name] = why
            print(f"left out: {name}: {why}", file=sys.stderr, flush=True)

    def table(
        self, title: str, header: Sequence[str], rows: Iterable[Sequence[str]], notes: str = ""
    ) -> None:
        text = f"## {title}\n\n{markdown_table(header, rows)}\n" + (f"\n{notes}\n" if notes else "")
        print(text, flush=True)
        self._parts.append(text)

    def figure(self, figure: Any) -> None:
        path = self.folder / f"{self.name}.png"
        figure.savefig(path)
        print(path)

    def write(self) -> None:
        self.data["machine"]["load_at_end"] = _load()
        text = "\n".join([f"# {self.name}\n", self._preamble(), *self._parts])
        (self.folder / f"{self.name}.md").write_text(text, encoding="utf-8")
        save_json(self.folder / f"{self.name}.json", self.data)

    def _preamble(self) -> str:
        m = self.data["machine"]
        versions = ", ".join(f"{name} {v}" for name, v in m["versions"].items())
        lines = [
            f"`{self.data['command']}`, {m['date']}: {m['processor']}, {m['cores']} cores, {m['threads']} threads for "
            f"everyone; Python {m['python']}, {versions}; load {m['load_at_start']} at the start, {m['load_at_end']} at the end.",
            *(f"\nLeft out: {name}: {why}" for name, why in self.data["left_out"].items()),
        ]
        return "\n".join(lines) + "\n"


def markdown_table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    cells = [list(header), *map(list, rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    cells.insert(1, ["-" * width for width in widths])
    return "\n".join("| " + " | ".join(map(str.ljust, row, widths)) + " |" for row in cells)


def say(text: str) -> None:
    """Progress, on stderr."""
    print(text, file=sys.stderr, flush=True)
