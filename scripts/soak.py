"""Kill runs and resume them, or let one go on for very long, and see that nothing is lost and nothing grows.

    python scripts/soak.py --kills 25 --writes 10
    python scripts/soak.py --steps 1000000

The first kills runs of three flows with SIGKILL, so often at random moments and at the k-th write, for each of two problems
and of 1 and 2 threads, and compares every resumed file with that of an undisturbed run, bit for bit. The second measures
resident memory and the size of the file. Exits with 1 if anything differs, or memory or size are not as they should be.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]
THREADS = ("NUMBA_NUM_THREADS", "OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS")
COLUMNS = ("problem", "threads", "killed at", "kills", "runs", "equal", "rows left", "seconds")
FLATNESS = 0.05  # of resident memory, after a tenth of the steps
STUDY = """
learning_rate = 0.3
steps = {steps}
[landscape]
name = "valley"
[output]
snapshot_every = {every}
sharpness_every = {every}
[processes.gradient_descent]
"""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--kills",
        type=int,
        default=25,
        help="at random moments, for each problem and number of threads",
    )
    parser.add_argument("--writes", type=int, default=10, help="at the k-th write, likewise")
    parser.add_argument("--problem", nargs="+", default=["landscape", "network"])
    parser.add_argument("--threads", nargs="+", default=["1", "2"])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--steps", type=int, help="one long run instead, of so many steps")
    chosen = parser.parse_args()
    sys.path.insert(0, str(ROOT))
    with tempfile.TemporaryDirectory() as folder:
        if chosen.steps is not None:
            return int(not is_flat(Path(folder) / "run", chosen.steps))
        return int(not survives(Path(folder), chosen))


def survives(folder: Path, chosen: argparse.Namespace) -> bool:
    """Whether every run that was killed ended as if it had not been; a row of the table for each kind."""
    print(*(column.rjust(10) for column in COLUMNS))
    good = True
    for problem in chosen.problem:
        for threads in chosen.threads:
            for at, kills in (("random", chosen.kills), ("write", chosen.writes)):
                if not kills:
                    continue
                began = time.monotonic()
                place = folder / f"{problem}-{threads}-{at}"
                counts = crash(place, problem, threads, at, kills, chosen.seed)
                good = good and counts is not None and counts["equal"] == counts["runs"]
                found = (
                    ["-"] * 4
                    if counts is None
                    else [counts[key] for key in ("killed", "runs", "equal", "rows left")]
                )
                row = (problem, threads, at, *found, round(time.monotonic() - began))
                print(*(str(cell).rjust(10) for cell in row), flush=True)
    return good


def crash(
    folder: Path, problem: str, threads: str, at: str, kills: int, seed: int
) -> dict[str, int] | None:
    """Counts of `tests.faults.crashes`; None if a run was not equal, which is then on stderr."""
    command = [sys.executable, "-m", "tests.faults.crashes", str(folder), "--problem", problem]
    command += ["--at", at, "--kills", str(kills), "--seed", f"{seed}"]
    environment = os.environ | dict.fromkeys(THREADS, threads) | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, env=environment, cwd=ROOT)
    return None if done.returncode else json.loads(done.stdout)


def is_flat(folder: Path, steps: int) -> bool:
    """Whether a run of so many steps takes the memory that it took at a tenth, and its file the size that was predicted."""
    from meanfield.study.config.run_config import load_text
    from meanfield.study.engine.prepared_run import run_layout
    from meanfield.study.engine.run import run

    config = load_text(STUDY.format(steps=steps, every=max(1, steps // 100)))
    predicted = run_layout(config).estimated_bytes()
    resident: dict[int, int] = {}

    def look(what: str, done: int, total: int) -> None:
        if what != "comparison" and done % max(1, steps // 20) == 0:
            resident[done] = memory()

    began = time.monotonic()
    path = run(config, folder, progress=look)
    seconds, size = time.monotonic() - began, path.stat().st_size
    later = [amount for done, amount in resident.items() if done >= steps // 10]
    growth = max(later) / later[0] - 1
    print(f"{steps} steps in {seconds:.0f} s")
    print("resident MB:", *(f"{amount / 1e6:.1f}" for amount in resident.values()))
    print(f"growth after a tenth of the steps: {growth:.2%}")
    print(f"file: {size / 1e6:.2f} MB, predicted {predicted / 1e6:.2f} MB")
    return growth <= FLATNESS and 0.5 * predicted <= size <= predicted


def memory() -> int:
    """Bytes that this process has in memory."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


if __name__ == "__main__":
    sys.exit(main())
