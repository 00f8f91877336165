"""What each scheme costs and how far from the exact flow it ends, for `bench_flows.py`."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from _bench_report import Report, say, three

# Evaluations are counted in gradients: a Hessian product takes about two.
_PRODUCT = 2


@dataclass(frozen=True)
class Case:
    """A problem with its learning rate, a time step at which RK4 is exact for it, and whether it is `large`: for few schemes."""

    name: str
    make: Callable[[], tuple[Any, Any]]
    eta: float
    steps: int
    exact_dt: float
    large: bool = False


class Counted:
    """An objective that counts what is evaluated of it."""

    def __init__(self, objective: Any) -> None:
        self.objective, self.evaluations = objective, 0

    def gradient(self, x: Any) -> Any:
        self.evaluations += 1
        return self.objective.gradient(x)

    def hvp(self, x: Any, v: Any) -> Any:
        self.evaluations += _PRODUCT
        return self.objective.hvp(x, v)

    def value(self, x: Any) -> float:
        return float(self.objective.value(x))

    def inner(self, u: Any, v: Any) -> float:
        inner = getattr(self.objective, "inner", np.vdot)
        return float(inner(u, v))


def cases(quick: bool, images: Path | None = None) -> Iterator[Case]:
    """Digits and the valley; a wide network and an MLP on images of a folder, of few steps."""
    n, particles, steps = (20, 30, 5) if quick else (300, 400, 400)
    yield Case(f"digits, N = {particles}", lambda: _digits(particles, n), 1.0, steps, 1 / 16)
    yield Case("valley", _valley, 0.3, 20 if quick else 700, 1 / 16)
    wide = (200, 30, 3) if quick else (20_000, 1000, 10)
    yield Case(f"wide, N = {wide[0]:,}", lambda: _wide(*wide[:2]), 1.0, wide[2], 1 / 8, True)
    count, steps = (20, 3) if quick else (500, 60)
    of = "digits" if images is None else "CIFAR-10"
    yield Case(f"MLP on {of}", lambda: _images(images, count), 0.02, steps, 1 / 8, True)


def _digits(particles: int, n: int) -> tuple[Any, Any]:
    import meanfield

    task = meanfield.tasks.digits(n=n)
    risk = meanfield.Risk(meanfield.TwoLayerNetwork(task.input_dim), task)
    return risk, risk.network.initialize(particles, seed=0)


def _wide(particles: int, n: int) -> tuple[Any, Any]:
    import meanfield

    task = meanfield.tasks.teacher_student(n=n, input_dim=10, teacher_width=5, seed=0)
    risk = meanfield.Risk(meanfield.TwoLayerNetwork(10), task)
    return risk, risk.network.initialize(particles, seed=0)


def _valley() -> tuple[Any, Any]:
    import meanfield

    valley = meanfield.landscapes.Valley()
    return valley, np.array(valley.start)


def _images(path: Path | None, n: int) -> tuple[Any, Any]:
    import _image_problems

    images, positive = _image_problems.load(path, n)
    problem = _image_problems.mlp(images, positive, 0)
    return problem.objective, problem.x0


def schemes(large: bool) -> dict[str, list[Any]]:
    """Schemes with steps or tolerances from coarse to fine; the default is the one of no integrator."""
    import solvers

    rtols = (1e-2, 1e-3, 1e-4) if large else (1e-2, 3e-3, 1e-3, 3e-4, 1e-4)
    found = {
        "default": [{}],
        "rk4": [{"dt": dt} for dt in ((0.5, 0.25) if large else (0.5, 0.25, 0.125))],
        "rkc": [{"integrator": solvers.RKC(rtol)} for rtol in rtols],
        "rock4": [{"integrator": solvers.ROCK4(rtol)} for rtol in rtols],
        "chebyshev": [{"integrator": solvers.Chebyshev(rtol)} for rtol in rtols],
    }
    if not large:
        found["adaptive"] = [{"integrator": solvers.Adaptive(rtol, rtol)} for rtol in rtols[1:4]]
    return found


def measure(case: Case, flow: Any, options: dict[str, Any], exact: Any) -> dict[str, float]:
    """Evaluations and seconds of processors per iteration, and the RMS distance per particle to the exact end."""
    import solvers

    objective, x0 = case.make()
    counted, marks = Counted(objective), []

    def mark(observation: Any) -> None:
        marks.append((counted.evaluations, time.process_time()))

    run = solvers.solve(
        flow, counted, x0, case.steps, save_every=case.steps, observe=mark, **options
    )
    (first, begun), (last, ended) = marks[0], marks[-1]
    found = {"evaluations": (last - first) / case.steps, "seconds": (ended - begun) / case.steps}
    return found | {"error": distance(run.centers[-1], exact), "complete": run.status == "complete"}


def distance(x: Any, y: Any) -> float:
    """RMS over particles of the distance; of an array of one dimension, the distance."""
    gaps = np.sum((x - y) ** 2, axis=-1)
    return float(np.sqrt(np.mean(gaps)))


def by_every_scheme(case: Case, name: str, make: Callable[[float], Any]) -> dict[str, Any]:
    """One flow on one problem by every scheme that it takes."""
    import solvers

    flow = make(case.eta)
    objective, x0 = case.make()
    exact = solvers.solve(flow, objective, x0, case.steps, case.steps, dt=case.exact_dt).centers[-1]
    unit = measure(case, solvers.GradientDescent(case.eta), {}, exact)["seconds"]
    found: dict[str, list[dict[str, float]]] = {}
    for scheme, several in schemes(case.large).items():
        try:
            found[scheme] = [measure(case, flow, options, exact) for options in several]
        except ValueError:  # the flow refuses it
            continue
    return {"case": case.name, "flow": name, "steps": case.steps, "descent": unit, "schemes": found}


def precision(options: argparse.Namespace, report: Report) -> list[dict[str, Any]]:
    """Each flow on each problem, by each scheme."""
    import solvers

    flows = {
        "gradient flow": solvers.GradientFlow,
        "free-energy flow": solvers.FreeEnergyFlow,
        "edge flow": solvers.EdgeFlow,
    }
    found = []
    wanted = options.problems
    for case in cases(options.quick, options.images):
        for name, make in flows.items():
            if wanted is not None and not any(case.name.startswith(one) for one in wanted):
                continue
            say(f"{name}, {case.name}")
            try:
                found.append(by_every_scheme(case, name, make))
            except (ImportError, RuntimeError, ValueError) as error:
                report.leave_out(f"{name} on {case.name}", str(error))
    tabulate(found, report)
    return found


def tabulate(found: list[dict[str, Any]], report: Report) -> None:
    """What the default scheme of each flow costs on each problem."""
    rows = []
    for one in found:
        (point,) = one["schemes"]["default"]
        over = three(point["seconds"] / one["descent"])
        rows.append([one["flow"], one["case"], f"{point['evaluations']:.3g}", f"{point['error']:.1e}", over])  # fmt: skip
    header = ["flow", "problem", "evaluations", "error", "time over descent's"]
    report.table("An iteration by the default schemes", header, rows)


def draw(drawn: Any, diagrams: list[dict[str, Any]]) -> None:
    """Error against evaluations of each scheme, a diagram for each flow and problem."""
    from matplotlib.ticker import NullFormatter

    diagrams = [one for one in diagrams if len(one["schemes"]) > 1]
    names = list(dict.fromkeys(one["case"] for one in diagrams))
    flows = list(dict.fromkeys(one["flow"] for one in diagrams))
    axes = drawn.subplots(len(names), len(flows), squeeze=False)
    colours = {"rk4": "C0", "rkc": "C1", "rock4": "C2", "adaptive": "C3", "chebyshev": "C4"}
    entries = {}
    for one in diagrams:
        ax = axes[names.index(one["case"]), flows.index(one["flow"])]
        for scheme, points in one["schemes"].items():
            work, error = ([p[key] for p in points] for key in ("evaluations", "error"))
            look: Any = {"color": colours.get(scheme, "k"), "marker": "o"}
            if scheme == "default":
                look |= {"marker": "*", "markersize": 10, "linestyle": "", "zorder": 3}
            (entries[scheme],) = ax.plot(work, error, label=scheme, **look)
        ax.set(xscale="log", yscale="log", title=f"{one['flow']}, {one['case']}")
        ax.xaxis.set_minor_formatter(NullFormatter())
    for ax in axes[-1]:
        ax.set(xlabel="evaluations per iteration")
    for ax in axes.flat:
        if not ax.has_data():
            ax.remove()
    for ax in axes[:, 0]:
        ax.set(ylabel="error of the last center")
    drawn.legend(entries.values(), entries, loc="outside upper center", ncols=len(entries))
