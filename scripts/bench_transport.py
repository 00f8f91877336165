"""Distances between measures: ``solvers.transport.w2`` against POT, SciPy and, where installed, geomloss and OTT-JAX.

    python scripts/bench_transport.py --out benchmarks

times exact distances up to 5,000 points in three dimensions, sliced ones up to 100,000 and the entropic divergence up to 2,000,
each library in a process of its own, in turn, and prints and writes ``bench_transport.md``, ``.json`` and ``.png``: medians and
quartiles, memory at the peak above the imports, the relative error on a problem whose distance is known exactly (an affine image
of a normal sample, see ``_transport_peers``), and how far each is from ours on the problem that is timed.
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

from _bench import ContestantError, Lane, Plan, Process, race, start_all
from _bench_report import Report, milliseconds, parser, race_options, say

DIMENSION = 3


class Peer(NamedTuple):
    factory: str
    needs: str


class Method(NamedTuple):
    """What is compared: the first peer is ours."""

    title: str
    sizes: tuple[int, ...]
    quick: tuple[int, ...]
    peers: dict[str, Peer]


METHODS = {
    "exact": Method(
        "Exact W2",
        (500, 1000, 2000, 5000),
        (50, 100),
        {
            "w2": Peer("Exact", "solvers"),
            "w2, lazy": Peer("Lazy", "solvers"),
            "POT emd2": Peer("PotExact", "ot"),
            "SciPy assignment": Peer("SciPyAssignment", "scipy"),
        },
    ),
    "sliced": Method(
        "Sliced W2, 128 directions",
        (1000, 10_000, 100_000),
        (200,),
        {"w2": Peer("Sliced", "solvers"), "POT sliced": Peer("PotSliced", "ot")},
    ),
    "sinkhorn": Method(
        "Sinkhorn divergence, ε = 0.3, tolerance 1e-5",
        (500, 1000, 2000),
        (100,),
        {
            "w2": Peer("Sinkhorn", "solvers"),
            "POT": Peer("PotSinkhorn", "ot"),
            "geomloss": Peer("GeomLoss", "geomloss"),
            "OTT-JAX": Peer("Ott", "ott"),
        },
    ),
}


def race_size(
    key: str, n: int, names: Sequence[str], options: Any, report: Report
) -> dict[str, Any]:
    """Everything about one method and number of points."""
    method = METHODS[key]
    arguments = {"n": n, "dimension": DIMENSION, "projections": 128, "threads": options.threads}
    makers = {
        name: partial(
            Process, f"_transport_peers:{method.peers[name].factory}", arguments, options.threads
        )
        for name in names
    }
    say(f"{key}, {n:,} points")
    processes, failed = start_all(makers, say)
    found: dict[str, Any] = {"method": key, "points": n, "error": {}, "value": {}, "memory": {}}
    try:
        lanes = {name: Lane(process, "distance") for name, process in processes.items()}
        plan = Plan(options.rounds, least=2, budget=options.budget)
        found["timings"], lost = race(lanes, plan)
        for name in found["timings"]:
            try:
                found["error"][name] = processes[name].ask("error")
                found["value"][name] = processes[name].ask("value")
                found["memory"][name] = processes[name].ask("memory", "distance")
            except ContestantError as error:
                lost[name] = str(error)
    finally:
        for process in processes.values():
            process.close()
    for name, why in (failed | lost).items():
        report.leave_out(f"{name}, {key}, {n:,} points", why)
    return found


def _rows(found: dict[str, Any]) -> list[list[str]]:
    names = list(found["timings"])
    ours = found["value"].get("w2")
    rows = []
    for name in names:
        used, value = found["memory"].get(name), found["value"].get(name)
        above = f"{(used['peak'] - used['imports']) / 1e6:.0f}" if used else "–"
        error = found["error"].get(name)
        gap = f"{abs(value / ours - 1):.1e}" if ours and value is not None and name != "w2" else ""
        rows.append([f"{found['points']:,}", name, milliseconds(found["timings"][name]), above,
                     "–" if error is None else f"{error:.1e}", gap])  # fmt: skip
    return rows


def _figure(results: Sequence[dict[str, Any]]) -> Any:
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    from meanfield.study.figures import STYLE

    with rc_context({**STYLE, "axes.titlesize": 9}):
        drawn = Figure(figsize=(11, 3.8), layout="constrained")
        for ax, (key, method) in zip(drawn.subplots(1, len(METHODS)), METHODS.items(), strict=True):
            for name in method.peers:
                pairs = [(r["points"], r["timings"][name].median) for r in results
                         if r["method"] == key and name in r["timings"]]  # fmt: skip
                if pairs:
                    ax.loglog(*zip(*pairs, strict=True), "o-", label=name)
            ax.set(xlabel="points", ylabel="seconds", title=method.title)
            sizes = sorted({r["points"] for r in results if r["method"] == key})
            ax.set_xticks([], minor=True)
            ax.set_xticks(sizes, [f"{n:,}" for n in sizes])
            if ax.lines:
                ax.legend()
    return drawn


def main(argv: Sequence[str] | None = None) -> int:
    made = race_options(parser(__doc__))
    made.add_argument("--sections", nargs="+", choices=METHODS, default=list(METHODS))
    made.add_argument("--points", nargs="+", type=int, help="numbers of points, for every method")
    options = made.parse_args(argv)
    if options.quick:
        options.rounds, options.budget = min(options.rounds, 4), min(options.budget, 0.5)
    report = Report("bench_transport", options)
    results: list[dict[str, Any]] = []
    for key in options.sections:
        method = METHODS[key]
        names = []
        for name, peer in method.peers.items():
            if importlib.util.find_spec(peer.needs) is None:
                report.leave_out(name, f"{peer.needs} is not installed")
            else:
                names.append(name)
        sizes = options.points or (method.quick if options.quick else method.sizes)
        found = [race_size(key, n, names, options, report) for n in sizes]
        results += found
        header = [
            "points",
            "",
            "ms, median [quartiles]",
            "MB above the imports",
            "error",
            "from ours",
        ]
        report.table(method.title, header, [row for one in found for row in _rows(one)])
    report.data["races"] = results
    report.figure(_figure(results))
    report.write()
    return 0


if __name__ == "__main__":
    sys.exit(main())
