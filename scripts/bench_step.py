"""One step of full-batch gradient descent on the two-layer mean-field risk: ours against every installed library.

    python scripts/bench_step.py --threads 2 --out benchmarks

races a step with ``meanfield.Risk(...).gradient`` against PyTorch (explicit gradients written by hand, in place; the same in
cache tiles; autograd; torch.compile), JAX and NumPy, in float64 and float32, each in a process of its own, in turn; a peer whose
gradient is not that of float64 autograd does not take part. It prints and writes ``bench_step.md``, ``.json`` and ``.png``:

- race: medians and quartiles, ratios to ours, the machine's floor measured in the same rounds and our distance to it, memory,
  accuracy. A step is the gradient and x ← x − η∇E. The floor is the time of the matrix products and of the tanh at the rates that
  the machine reaches with nothing else, one after the other: 6dNn flops and 2Nn tanh for d ≤ 32 (pre-activations
  computed again in the backward pass, so that no N × n array is held), 4dNn flops and Nn tanh for more inputs.
- threads: ours on one and on all; derivatives: Hessian product and third derivative in gradients;
- scaling: time over N and over n, two decades each, with the slope of its logarithm;
- memory: of ours over n at fixed N, and of a million particles.

Memory is the most that is resident during two steps after the race, less what was resident after the imports and a tiny call
that loads what is loaded late (the peak is reset before, on Linux; elsewhere it is the whole process's). A library that is not
installed is left out, and a line says so. The exit code is 1 where our own gradient is off.
"""

from __future__ import annotations

import argparse
import importlib.util
import sys
import tempfile
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import _step_sweeps as sweeps
from _bench import ContestantError, Lane, Plan, Process, Timing, race, start_all
from _bench_report import Report, milliseconds, parser, race_options, say, three
from _floor import FEW_INPUTS, floor
from _step_peers import Size

OURS = "meanfield"


class Peer(NamedTuple):
    factory: str
    needs: str


PEERS = {
    OURS: Peer("_step_peers:Ours", "meanfield"),
    "PyTorch in tiles": Peer("_step_frameworks:TorchInTiles", "torch"),
    "PyTorch by hand": Peer("_step_frameworks:TorchByHand", "torch"),
    "PyTorch autograd": Peer("_step_frameworks:TorchAutograd", "torch"),
    "torch.compile": Peer("_step_frameworks:TorchCompiled", "torch"),
    "JAX": Peer("_step_frameworks:Jax", "jax"),
    "NumPy": Peer("_step_peers:NumPy", "numpy"),
}
SIZES = (
    Size(10_000, 200, 2),
    Size(100_000, 200, 2),
    Size(100_000, 1000, 10),
    Size(10_000, 1000, 100),
    Size(2000, 500, 3072),
)
QUICK_SIZES = (Size(2000, 100, 2), Size(500, 100, 100))
#: Distance to float64 autograd, relative in the 2-norm, that is allowed.
TOLERANCE = {"float64": 1e-12, "float32": 2e-5}
SHORT = {"float64": "f8", "float32": "f4"}
SECTIONS = ("race", "threads", "derivatives", "scaling", "memory")
RATES = ("gemm", "tanh", "bandwidth")


def installed(names: Sequence[str], report: Report, quick: bool) -> list[str]:
    """Ours first; a line for each that cannot take part."""
    present = []
    for name in dict.fromkeys([OURS, *names]):
        if importlib.util.find_spec(PEERS[name].needs) is None:
            report.leave_out(name, f"{PEERS[name].needs} is not installed")
        elif quick and name == "torch.compile":
            report.leave_out(name, "it compiles for minutes, --quick does not wait")
        else:
            present.append(name)
    return present


def check_gradients(
    processes: dict[str, Process], reference: str, dtype: str
) -> tuple[dict[str, dict[str, float]], dict[str, str]]:
    """Errors by name; those that are too far off are closed and leave `processes`, with the reason."""
    accuracy, wrong = {}, {}
    for name, process in list(processes.items()):
        try:
            accuracy[name] = process.ask("check", reference)
            error = accuracy[name]["relative"]
            if not error <= TOLERANCE[dtype]:
                wrong[name] = (
                    f"its gradient is off by {error:.1e}, {TOLERANCE[dtype]:.0e} is allowed"
                )
        except ContestantError as failure:
            wrong[name] = str(failure)
        if name in wrong:
            processes.pop(name).close()
    return accuracy, wrong


def save_reference(size: Size, dtype: str, threads: int, path: str) -> str:
    """The exact gradient to a file; what it was computed with."""
    arguments = {"size": list(size), "dtype": dtype, "threads": threads}
    process = Process("_step_frameworks:Reference", arguments, threads)
    try:
        process.ask("save", path)
        return str(process.about["reference"])
    finally:
        process.close()


def race_size(
    size: Size, dtype: str, names: Sequence[str], options: Any, report: Report
) -> dict[str, Any]:
    """Everything about one size and precision."""
    arguments = {"size": list(size), "dtype": dtype, "threads": options.threads}
    where = f"{size} {SHORT[dtype]}"
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder) / "gradient.npy")
        reference = save_reference(size, dtype, options.threads, path)
        makers = {
            name: partial(Process, PEERS[name].factory, arguments, options.threads, options.timeout)
            for name in names
        }
        processes, failed = start_all(makers, say)
        try:
            accuracy, wrong = check_gradients(processes, path, dtype)
            machine = Process(
                "_floor:Machine", {"dtype": dtype, "threads": options.threads}, options.threads
            )
            ways = {name: p.about["way"] for name, p in processes.items() if "way" in p.about}
            lanes = {name: Lane(process, "step") for name, process in processes.items()}
            plan = Plan(options.rounds, budget=options.budget)
            say(f"{where}: racing {', '.join(lanes)}")
            raced = lanes | {rate: Lane(machine, rate) for rate in RATES}
            processes["the machine"] = machine
            timings, lost = race(raced, plan)
            memory = {
                n: lane.process.ask("memory", "step") for n, lane in lanes.items() if n in timings
            }
        finally:
            for process in processes.values():
                process.close()
    for name, why in (failed | wrong | lost).items():
        report.leave_out(f"{name} at {where}", why)
    rates = {name: machine.about["work"][name] / timings.pop(name).median for name in RATES}
    return {
        "size": size._asdict(), "dtype": dtype, "reference": reference, "accuracy": accuracy,
        "timings": timings, "ratios": ratios(timings), "ways": ways, "memory": memory,
        "rates": rates, "tanh_of": machine.about["tanh_of"],
        "floor": {
            "seconds": floor(size, rates),
            "recompute": floor(size, rates, True),
            "keep": floor(size, rates, False),
        },
    }  # fmt: skip


def ratios(timings: Mapping[str, Timing]) -> dict[str, list[float]]:
    """Peer's time over ours: of medians, and of opposite quartiles."""
    if OURS not in timings:
        return {}
    ours = timings[OURS]
    return {
        name: [t.median / ours.median, t.lower / ours.upper, t.upper / ours.lower]
        for name, t in timings.items()
        if name != OURS
    }


# --- tables --------------------------------------------------------------------------------------


def tables(cells: Sequence[dict[str, Any]], names: Sequence[str], report: Report) -> None:
    def rows(of: Any) -> list[list[str]]:
        return [[_title(cell), SHORT[cell["dtype"]], *of(cell)] for cell in cells]

    head = ["N, n, d", "dtype"]
    report.table(
        "Milliseconds for a step, median [quartiles]", [*head, *names],
        rows(lambda c: [milliseconds(c["timings"].get(n)) for n in names]),
        _counts(cells) + _ways(cells),
    )  # fmt: skip
    peers = [n for n in names if n != OURS]
    if peers:
        report.table(
            "Time over ours, of medians [of opposite quartiles]", [*head, *peers],
            rows(lambda c: [_ratio(c["ratios"].get(n)) for n in peers]),
        )  # fmt: skip
    report.table(
        "The machine, and our distance to its floor",
        [*head, "gemm, GFLOP/s", "tanh, G/s", "bandwidth, GB/s", "floor, ms", "ours over it", "recompute", "keep"],
        rows(_floor_row),
        f"The floor: matrix products and tanh at these rates, in sequence; computed again in the backward pass for d ≤ "
        f"{FEW_INPUTS}, kept beyond. The last columns are ours over either. The tanh is that of {cells[0]['tanh_of']}.",
    )  # fmt: skip
    report.table(
        "Memory, MB: at the peak of a step above the imports (whole process)", [*head, *names],
        rows(lambda c: [_memory(c["memory"].get(n)) for n in names]),
    )  # fmt: skip
    report.table(
        "Relative distance of the gradient to float64 autograd", [*head, *names],
        rows(lambda c: [_accuracy(c["accuracy"].get(n)) for n in names]),
        f"In the 2-norm; reference: {cells[0]['reference']}, of the same rounded particles and data.",
    )  # fmt: skip
    report.table(
        "Milliseconds of all cores together for a step, median", [*head, *names],
        rows(lambda c: [_cpu(c["timings"].get(n)) for n in names]),
        "What other work on the machine hardly changes; idle threads that spin count.",
    )  # fmt: skip


def _title(cell: Mapping[str, Any]) -> str:
    return "{particles:,}, {data:,}, {inputs:,}".format(**cell["size"])


def _counts(cells: Sequence[dict[str, Any]]) -> str:
    counted = [t.samples for cell in cells for t in cell["timings"].values()]
    return (
        f"Medians of {min(counted)} to {max(counted)} samples, taken in turn. " if counted else ""
    )


def _ways(cells: Sequence[dict[str, Any]]) -> str:
    parts = []
    for name in dict.fromkeys(n for cell in cells for n in cell["ways"]):
        found = [
            f"{_title(c)} {SHORT[c['dtype']]}: {c['ways'][name]}"
            for c in cells
            if name in c["ways"]
        ]
        parts.append(f"\n\n{name}, the fastest of its ways: {'; '.join(found)}.")
    return "".join(parts)


def _ratio(ratio: Sequence[float] | None) -> str:
    return "–" if ratio is None else "{} [{}, {}]".format(*map(three, ratio))


def _floor_row(cell: Mapping[str, Any]) -> list[str]:
    rates, floors, ours = cell["rates"], cell["floor"], cell["timings"].get(OURS)
    over = [
        three(ours.median / floors[k]) if ours else "–" for k in ("seconds", "recompute", "keep")
    ]
    return [*(three(1e-9 * rates[name]) for name in RATES), three(1e3 * floors["seconds"]), *over]


def _cpu(timing: Timing | None) -> str:
    return "–" if timing is None else three(1e3 * timing.cpu)


def _memory(memory: Mapping[str, Any] | None) -> str:
    if memory is None:
        return "–"
    return f"{(memory['peak'] - memory['imports']) / 1e6:.0f} ({memory['peak'] / 1e6:.0f})"


def _accuracy(error: Mapping[str, float] | None) -> str:
    return "–" if error is None else f"{error['relative']:.1e}"


# --- the command ---------------------------------------------------------------------------------


def _options(argv: Sequence[str] | None) -> argparse.Namespace:
    made = race_options(parser(__doc__))
    made.add_argument("--sizes", nargs="+", type=_size, metavar="NxnxD", help="e.g. 100000x200x2")
    made.add_argument("--peers", nargs="+", choices=PEERS, default=list(PEERS), metavar="NAME",
                      help=f"of {', '.join(map(repr, PEERS))}")  # fmt: skip
    made.add_argument("--dtypes", nargs="+", choices=TOLERANCE, default=list(TOLERANCE))
    made.add_argument("--sections", nargs="+", choices=SECTIONS, default=list(SECTIONS))
    made.add_argument(
        "--timeout", type=float, default=900.0, help="seconds for a contestant to get ready"
    )
    options = made.parse_args(argv)
    options.sizes = options.sizes or (QUICK_SIZES if options.quick else SIZES)
    if options.quick:
        options.rounds, options.budget = min(options.rounds, 5), min(options.budget, 0.5)
    return options


def _size(text: str) -> Size:
    try:
        return Size(*map(int, text.split("x")))
    except (TypeError, ValueError):
        raise argparse.ArgumentTypeError(
            f"{text!r} came, NxnxD is needed, as 100000x200x2"
        ) from None


def main(argv: Sequence[str] | None = None) -> int:
    """0; 1 where our own gradient was not the right one."""
    options = _options(argv)
    report = Report("bench_step", options)
    report.data["settings"] = {
        "rounds": options.rounds, "budget": options.budget, "tolerance": TOLERANCE,
    }  # fmt: skip
    names = installed(options.peers, report, options.quick)
    wrong = False
    if "race" in options.sections:
        cells: list[dict[str, Any]] = []
        for size in options.sizes:
            for dtype in options.dtypes:
                cells.append(race_size(size, dtype, names, options, report))
                wrong |= OURS not in cells[-1]["timings"]
        report.data["race"] = cells
        tables(cells, names, report)
    for section in SECTIONS[1:]:
        if section in options.sections:
            report.data[section] = getattr(sweeps, section)(options, report)
    report.figure(sweeps.figure(report.data))
    report.write()
    return int(wrong)


if __name__ == "__main__":
    sys.exit(main())
