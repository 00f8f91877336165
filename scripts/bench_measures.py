"""The kinetic equation three ways: accuracy against time of particles, minimising movements and the phase-space PDE.

Neurons sin(θx) on the line learn 0.6 sin 2x; η is such that η times the sharpness starts at 1.9 and passes 2. Every way starts
from the normal law (its quantiles) and is compared after 20 iterations with a fine particle system: Wasserstein-2 distance of the
laws of θ, relative error of the predicted loss. Printed as the table of docs/minimising_movements.md, with times as ratios to the
particle system of 1,000 in the same run.

    python scripts/bench_measures.py [--quick]
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.stats import norm

import meanfield
import solvers

ETA = 2.5


@dataclass(frozen=True)
class Way:
    """A row of the table: a flow with its step in time on n particles."""

    name: str
    flow: solvers.Flow
    n: int
    dt: float | None = None


def ways(quick: bool) -> list[Way]:
    flow, jko = solvers.FreeEnergyFlow(ETA), solvers.JKOFlow(ETA, saddle=True)
    grids = (16, 32) if quick else (32, 64, 128, 256)
    return [
        *(Way("particles", flow, n, 1 / 4) for n in ((30, 100) if quick else (100, 1000, 10_000))),
        *(Way("particles", flow, 100 if quick else 1000, dt) for dt in (1, 1 / 2)),
        *(Way("JKO", jko, 30 if quick else 300, dt) for dt in ((1,) if quick else (1, 1 / 4, 1 / 16))),
        *(Way("PDE", solvers.PhaseSpaceFlow(ETA, cells=(n, n)), 1000, None) for n in grids),
    ]  # fmt: skip


def quantiles(n: int) -> np.ndarray:
    """The normal law as n equal particles."""
    return norm.ppf((np.arange(n) + 0.5) / n)[:, None]


def run(way: Way, risk: Any, steps: int) -> tuple[solvers.Solution, float]:
    """The solution, and its seconds once compiled."""
    print(way, file=sys.stderr)
    start = quantiles(way.n)
    solvers.solve(way.flow, risk, start, 1, dt=way.dt)
    began = time.perf_counter()
    solution = solvers.solve(
        way.flow, risk, start, steps, save_every=steps, dt=way.dt, progress=True
    )
    seconds = time.perf_counter() - began
    if solution.status != "complete":
        raise RuntimeError(f"{way}: {solution.message}")
    return solution, seconds


def law(way: Way, solution: solvers.Solution) -> solvers.Particles | solvers.Grid:
    """Of θ at the end."""
    if isinstance(way.flow, solvers.PhaseSpaceFlow):
        return way.flow.density(solution.state.values).theta_marginal()
    return solvers.Particles(solution.centers[-1])


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="small sizes, to see that it runs")
    quick = parser.parse_args(argv).quick
    steps = 3 if quick else 20
    x = np.linspace(-2.0, 2.0, 40)[:, None]
    network = meanfield.TwoLayerNetwork(1, activation="sin", bias=False, train_output=False)
    risk = meanfield.Risk(network, meanfield.tasks.Task(x, 0.6 * np.sin(2 * x), "sine"))

    reference = Way("reference", solvers.FreeEnergyFlow(ETA), 1000 if quick else 30_000, 1 / 16)
    exact, _ = run(reference, risk, steps)
    rows = [(way, *run(way, risk, steps)) for way in ways(quick)]
    unit = next(seconds for way, _, seconds in rows if way.name == "particles" and way.n >= 100)
    print("| | particles or cells | dt | W2 of θ | error of the loss | time |")
    print("|---|---|---|---|---|---|")
    for way, solution, seconds in rows:
        pde = isinstance(way.flow, solvers.PhaseSpaceFlow)
        size = f"{way.flow.cells[0]}²" if pde else str(way.n)
        dt = "by CFL" if way.dt is None else f"{way.dt:g}"
        distance = solvers.transport.w2(law(way, solution), law(reference, exact)).distance
        loss = abs(solution.predicted_losses[-1] / exact.predicted_losses[-1] - 1)
        print(
            f"| {way.name} | {size} | {dt} | {distance:.1e} | {100 * loss:.2g} % | {seconds / unit:.2g} |"
        )
    print(f"\nTime 1 is {unit:.2g} s here.")


if __name__ == "__main__":
    main()
