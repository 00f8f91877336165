"""Feeds hostile files to worker processes, outlives what kills them, and counts what happened."""

from __future__ import annotations

import json
import os
import queue
import signal
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.helpers.clocks import Stopwatch

ROOT = Path(__file__).parents[2]
PATIENCE = 5.0  # seconds of work that one file may take
LONGEST = {
    "toml": 120.0
}  # seconds on the clock, where a study's kernels may have to be compiled first
OTHERWISE = 20.0
START = 600.0  # seconds that a worker may take to begin, compilation included
GOOD = ("accepted", "refused")


@dataclass
class Tally:
    """Outcomes of the cases of a loader; `bad` holds everything but "accepted" and "refused"."""

    loader: str
    counts: Counter[str] = field(default_factory=Counter)
    bad: list[dict[str, Any]] = field(default_factory=list)
    slowest: float = 0.0
    peak: int = 0

    def add(self, said: dict[str, Any]) -> None:
        """One more case."""
        self.counts[said["outcome"]] += 1
        self.slowest = max(self.slowest, said.get("seconds", 0.0))
        self.peak = max(self.peak, said.get("peak", 0))
        if said["outcome"] not in GOOD:
            self.bad.append(said)


def fuzz(
    loader: str, count: int, folder: Path, seed: int = 0, first: int = 0, unsafe: bool = False
) -> Tally:
    """Outcomes of `count` hostile files, which depend on loader and seed only."""
    tally = Tally(loader)
    case, end = first, first + count
    while case < end:
        for said in _cases(loader, folder, seed, case, end - case, unsafe):
            tally.add(said)
            case = said["case"] + 1
    return tally


def _cases(
    loader: str, folder: Path, seed: int, first: int, count: int, unsafe: bool
) -> Iterator[dict[str, Any]]:
    """What a worker says, up to its end; the last is what ended it, if something did."""
    command = [
        sys.executable,
        "-m",
        "tests.faults.hostile_worker",
        loader,
        str(folder),
        str(seed),
        str(first),
        str(count),
    ]
    threads = dict.fromkeys(("NUMBA_NUM_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
    environment = (
        os.environ | threads | {"PYTHONPATH": str(ROOT), "NO_COLOR": "1", "COLUMNS": "200"}
    )
    with subprocess.Popen(
        command + (["--unsafe"] if unsafe else []),
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as worker:
        lines: queue.Queue[str] = queue.Queue()
        errors: list[str] = []
        readers = [threading.Thread(target=_forward, args=(worker.stdout, lines.put)),
                   threading.Thread(target=_forward, args=(worker.stderr, errors.append))]  # fmt: skip
        for reader in readers:
            reader.start()
        current, outcome = None, "crashed"
        try:
            while True:
                patience = START if current is None else LONGEST.get(loader, OTHERWISE)
                line = _next(lines, patience, worker.pid)
                if not line:
                    break
                said = json.loads(line) if line.startswith('{"case"') else {}
                if "outcome" in said:
                    if said["seconds"] > PATIENCE:
                        said["outcome"] = "hung"
                    yield said
                    current = None if said["case"] == first + count - 1 else -1
                elif said:
                    current = said["case"]
        except queue.Empty:
            outcome = "hung"
        worker.kill()
        code = worker.wait()
        for reader in readers:
            reader.join()
    if current is None and (code or outcome == "hung"):
        raise RuntimeError(f"the worker did not begin: {''.join(errors)[-2000:]}")
    if current is not None and current >= 0:
        why = signal.Signals(-code).name if code < 0 else f"exit {code}"
        yield {"case": current, "outcome": outcome, "detail": why + "".join(errors)[-1500:]}


def _next(lines: queue.Queue[str], patience: float, worker: int) -> str:
    """The next line, or `queue.Empty` after so many seconds, those left out in which the worker waited for a core."""
    watch = Stopwatch(worker)
    while True:
        try:
            return lines.get(timeout=max(0.1, patience - watch.seconds))
        except queue.Empty:
            if watch.read() >= patience:
                raise


def _forward(stream: Any, put: Any) -> None:
    for line in stream:
        put(line)
    put("")


def table(tallies: list[Tally]) -> str:
    """One row per loader."""
    outcomes = [*GOOD, *sorted({o for t in tallies for o in t.counts} - {*GOOD})]
    head = ["loader", "files", *outcomes, "slowest (s)", "peak memory (MB)"]
    rows = [
        [
            t.loader,
            str(t.counts.total()),
            *(str(t.counts[o]) for o in outcomes),
            f"{t.slowest:.2f}",
            f"{t.peak / 1e6:.0f}",
        ]
        for t in tallies
    ]
    widths = [max(len(row[i]) for row in [head, *rows]) for i in range(len(head))]
    return "\n".join(
        "  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True))
        for row in [head, *rows]
    )
