"""The kinetic equation three ways: accuracy against time of particles, minimising movements and the phase-space PDE.

Neurons sin(θx) on the line learn 0.6 sin 2x. Every way starts from the same smooth law of weights and fluctuations, independent
normal ones, and is compared after four iterations with 200,000 particles: Wasserstein-2 distance of the laws of θ, relative
error of the predicted loss. Prints the tables of docs/guides/minimising_movements.md, with processor times as ratios to that of
1,000 particles in the same run; the second has the processor time of flows on grids by minimising movements.

    python scripts/bench_measures.py --out benchmarks

also writes it as ``bench_measures.md`` and ``.json``.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from _bench_report import Report, parser, say
from scipy.stats import norm

import meanfield
import solvers

ETA = 2.5
SPREADS = 1.0, 0.1  # standard deviations of θ and u at the start


@dataclass(frozen=True)
class End:
    """Where a way ended."""

    law: solvers.Particles | solvers.Grid
    loss: float


def particles(flow: solvers.Flow, risk: Any, n: int, steps: int, dt: float) -> End:
    """By n particles, points of low discrepancy of the law at the start."""
    i = np.arange(n) + 0.5
    levels = i / n, (i * 0.5 * (np.sqrt(5.0) - 1.0)) % 1.0
    pairs = [norm.ppf(level, scale=s)[:, None] for level, s in zip(levels, SPREADS, strict=True)]
    start = solvers.State(0, np.stack(pairs), 0.0)
    run = solvers.solve(flow, risk, start, steps, save_every=steps, dt=dt, progress=True)
    if run.status != "complete":
        raise RuntimeError(run.message)
    law = solvers.Particles(run.centers[-1])
    return End(law, run.predicted_losses[-1])


def grid(risk: Any, cells: int, steps: int) -> End:
    """By the PDE; the domain has what the law comes to cover."""
    domain = (-5.0, 5.0), (-2.0, 2.0)
    pde = solvers.PhaseSpacePDE(ETA, cells=(cells, cells), domain=domain)
    density = pde.start(
        risk, lambda theta, u: norm.pdf(theta, scale=SPREADS[0]) * norm.pdf(u, scale=SPREADS[1])
    )
    density, _ = pde.advance(risk, density, steps)
    return End(density.theta_marginal(), density.mean_loss(risk))


def ways(risk: Any, steps: int, quick: bool) -> Iterator[tuple[str, str, str, Callable[[], End]]]:
    """Name, size, dt, and what to call; 1,000 particles first."""
    flow, jko = solvers.FreeEnergyFlow(ETA), solvers.JKOFlow(ETA, saddle=True)
    small = 30 if quick else 1000
    for n in (small,) if quick else (small, 100, 10_000):
        yield "particles", str(n), "1/4", lambda n=n: particles(flow, risk, n, steps, 1 / 4)
    yield "particles", str(small), "1", lambda: particles(flow, risk, small, steps, 1)
    for m in (1,) if quick else (1, 4, 16):
        dt = "1" if m == 1 else f"1/{m}"
        yield "JKO", str(small), dt, lambda m=m: particles(jko, risk, small, steps, 1 / m)
    for cells in (16,) if quick else (32, 64, 128, 256):
        yield "PDE", f"{cells}²", "by CFL", lambda cells=cells: grid(risk, cells, steps)


def on_grids(quick: bool) -> Iterator[tuple[str, int, solvers.Grid, Any, float, float]]:
    """Name, cells along an axis, start, energy, step size and time of flows in the plane."""
    porous = solvers.energies.PowerEntropy(2.0)
    attraction = solvers.energies.Interaction(lambda r: 0.5 * np.sum(r**2, axis=1))

    def start(cells: int, half: float) -> solvers.Grid:
        edges = (np.linspace(-half, half, cells + 1),) * 2
        return solvers.Grid.from_density(edges, lambda x: np.exp(-3 * np.sum(x**2, axis=1)), 3)

    large, small = (16, 12) if quick else (256, 128)
    for cells in (large,) if quick else (64, 128, large, 512):
        yield "porous medium", cells, start(cells, 4.0), porous, 0.05, 0.05
    time = 0.5 if quick else 5.0
    yield "aggregation–diffusion", small, start(small, 2.5), attraction + porous, 0.1, time


def movements(report: Report, quick: bool) -> None:
    """The table of flows on grids."""
    rows, found = [], []
    for name, cells, grid, energy, tau, time_ in on_grids(quick):
        solvers.evolve(energy, grid, tau, tau)  # compiles
        for order in (1, 2):
            say(f"{name} {cells}² order {order} …")
            began = time.process_time()
            run = solvers.evolve(energy, grid, time_, tau, order)
            seconds = time.process_time() - began
            if run.status != "complete":
                raise RuntimeError(run.message)
            steps, excess = len(run.step_sizes), float(run.excesses.max())
            rows.append(
                [name, f"{cells}²", str(order), str(steps), f"{seconds:.2g}", f"{excess:.1e}"]
            )
            found.append({"flow": name, "cells": cells, "order": order, "steps": steps, "seconds": seconds})  # fmt: skip
    header = ["flow", "cells", "order", "steps", "processor seconds", "largest excess"]
    report.table("Flows on grids by minimising movements", header, rows, growth(found))
    report.data["grids"] = found


def growth(found: Sequence[dict[str, Any]]) -> str:
    """With which power of the number of cells the time of a step grows, over all sizes and over the last doubling."""
    steps = [f for f in found if f["flow"] == "porous medium" and f["order"] == 1]
    if len(steps) < 2:
        return ""
    cells, times = np.log([f["cells"] ** 2 for f in steps]), np.log([f["seconds"] for f in steps])
    whole, last = np.polyfit(cells, times, 1)[0], np.diff(times)[-1] / np.diff(cells)[-1]
    return (
        f"The time of a step of first order grows like n^{whole:.2f} in the number n of cells, "
        f"from {steps[-2]['cells']}² to {steps[-1]['cells']}² like n^{last:.2f}."
    )


def main(argv: Sequence[str] | None = None) -> None:
    options = parser(__doc__).parse_args(argv)
    quick, report = options.quick, Report("bench_measures", options)
    steps = 1 if quick else 4
    x = np.linspace(-2.0, 2.0, 40)[:, None]
    network = meanfield.TwoLayerNetwork(1, activation="sin", bias=False, train_output=False)
    risk = meanfield.Risk(network, meanfield.tasks.Task(x, 0.6 * np.sin(2 * x), "sine"))

    exact = particles(solvers.FreeEnergyFlow(ETA), risk, 1000 if quick else 200_000, steps, 1 / 8)
    grid(risk, 8, 1)  # these compile
    particles(solvers.JKOFlow(ETA, saddle=True), risk, 30, 1, 1)
    found: list[dict[str, Any]] = []
    for name, size, dt, call in ways(risk, steps, quick):
        say(f"{name} {size} {dt} …")
        began = time.process_time()
        end = call()
        seconds = time.process_time() - began
        distance = solvers.transport.w2(end.law, exact.law).distance
        error = abs(end.loss / exact.loss - 1)
        found.append({"way": name, "size": size, "dt": dt, "w2": distance, "loss_error": error, "seconds": seconds})  # fmt: skip
    unit = found[0]["seconds"]
    rows = [
        [f"{f['way']} {f['size']}", f["dt"], f"{f['w2']:.1e}", f"{100 * f['loss_error']:.2g} %", f"{f['seconds'] / unit:.2g}"]
        for f in found
    ]  # fmt: skip
    header = ["particles or cells", "dt", "W2 of θ", "error of the loss", "time"]
    report.table(
        "The kinetic equation three ways",
        header,
        rows,
        f"Time 1 is {unit:.2g} processor seconds here.",
    )
    report.data["ways"] = found
    movements(report, quick)
    report.write()


if __name__ == "__main__":
    main()
