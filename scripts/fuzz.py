"""Feed the loaders hostile files, and count what happens: python scripts/fuzz.py --loader npz --count 5000 --seed 0.

Exits with 1 if any file was more than accepted or refused with a message. ``--unsafe`` takes loaders without protection instead,
which the oracle must find guilty.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from tests.faults.hostile_pool import Tally, fuzz, table

LOADERS = ("toml", "npz", "hdf5", "cifar", "checkpoint", "journal")
SHOWN = 20


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--loader", choices=[*LOADERS, "all"], default="all")
    parser.add_argument("--count", type=int, default=5000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--first", type=int, default=0, help="number of the first file, to see one again"
    )
    parser.add_argument("--unsafe", action="store_true")
    chosen = parser.parse_args()
    tallies = []
    for loader in LOADERS if chosen.loader == "all" else [chosen.loader]:
        began = time.perf_counter()
        with tempfile.TemporaryDirectory() as folder:
            tally = fuzz(
                loader, chosen.count, Path(folder), chosen.seed, chosen.first, chosen.unsafe
            )
        print(f"{loader}: {time.perf_counter() - began:.0f} s", file=sys.stderr)
        show(tally)
        tallies.append(tally)
    print(table(tallies))
    return int(any(tally.bad for tally in tallies))


def show(tally: Tally) -> None:
    """What was wrong, the same thing once."""
    seen: dict[str, int] = {}
    for said in tally.bad:
        reason = f"{said['outcome']}: {said['detail']}"
        key = reason.splitlines()[0][:60] + reason[-120:]
        seen[key] = seen.get(key, 0) + 1
        if seen[key] == 1 and len(seen) <= SHOWN:
            print(f"--- {tally.loader} {said['case']}: {reason}", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
