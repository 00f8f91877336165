"""Distances of the runs of a width study to its reference, computed once per run and stored in files."""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from meanfield.study.engine.build import NetworkProblem, build_problem
from meanfield.study.storage.schema import Floats, snapshot_times
from meanfield.study.storage.study_file import Positions, load_arrays, save_arrays
from meanfield.study.storage.study_record import METRICS, Pair
from meanfield.study.width.held_out import HeldOut, held_out
from meanfield.study.width.plan import Run, WidthPlan
from solvers import transport
from solvers.transport import sinkhorn

TRANSPORTS = ("w2", "sliced_w2", "sinkhorn")  # the METRICS that are positive by sampling alone
SINKHORN_ITERATIONS = 5000  # small samples with outliers need more than usual

Report = Callable[[float], None]
Arrays = dict[str, NDArray[Any]]


@dataclass(frozen=True)
class Measured:
    """Intermediate results in the folder of a study: of runs, of the reference, and of floors by width."""

    plan: WidthPlan
    folder: Path

    @property
    def home(self) -> Path:
        """The folder of the files."""
        return self.folder / "distances"

    def path(self, name: str) -> Path:
        """The file of a run, of the reference, or of a floor."""
        return self.home / f"{name}.npz"

    def load(self, name: str, *sources: Run) -> Arrays | None:
        """The result computed from the current files of these runs; None if there is none."""
        return load_arrays(self.path(name), self._key(sources))

    def reference(self) -> Arrays:
        """The results of the reference that every run needs."""
        known = self.load("reference", self.plan.reference)
        if known is None:
            raise RuntimeError("the outputs of the reference are missing")
        return known

    def save(self, name: str, arrays: Arrays, *sources: Run) -> None:
        save_arrays(self.path(name), self._key(sources), arrays)

    def _key(self, sources: tuple[Run, ...]) -> str:
        created = []
        for run in sources:
            with Positions(run.path(self.folder)) as positions:
                created.append(positions.created)
        return " ".join([self.plan.digest, *created])


def times_of(plan: WidthPlan) -> NDArray[np.float64]:
    """The times of snapshots."""
    config = plan.config
    return np.array(snapshot_times(config.steps, config.output.snapshot_every), dtype=float)


@dataclass(frozen=True)
class Inputs:
    """The network of a study, and held-out inputs."""

    plan: WidthPlan

    @cached_property
    def problem(self) -> NetworkProblem:
        """The problem of the narrowest runs; its objective is that of all widths."""
        problem = build_problem(self.plan.study_of(Run(self.plan.width.widths[0], 0)))
        assert isinstance(problem, NetworkProblem)
        return problem

    @cached_property
    def held_out(self) -> HeldOut:
        """See `meanfield.study.width.held_out`."""
        return held_out(self.plan, self.problem.risk.task)

    def outputs(self, particles: Floats) -> Floats:
        """f of particles (N, D) at the held-out inputs, (k, c)."""
        return self.problem.network.forward(particles, self.held_out.inputs)


# --- the reference -------------------------------------------------------------------------------


def measure_reference(plan: WidthPlan, folder: Path, report: Report) -> None:
    """Store, for each process of the reference at each time, the outputs (k, c) and the trace of the covariance."""
    inputs, times, found = Inputs(plan), times_of(plan), dict[str, NDArray[Any]]()
    processes = list(plan.config.processes)
    with Positions(plan.reference.path(folder)) as reference:
        for i, name in enumerate(filter(reference.is_complete, processes)):
            for j, time in enumerate(times):
                y = reference.at(name, time)
                if y is not None:
                    found[_outputs(name, time)] = inputs.outputs(y)
                    found[_spread(name, time)] = np.sum(np.var(y, axis=0, dtype=np.float64))
                report((i + (j + 1) / len(times)) / len(processes))
    Measured(plan, folder).save("reference", found, plan.reference)


def _outputs(process: str, time: float) -> str:
    return f"outputs {process} {time:g}"


def _spread(process: str, time: float) -> str:
    return f"spread {process} {time:g}"


# --- one run -------------------------------------------------------------------------------------


def measure_run(plan: WidthPlan, folder: Path, run: Run, report: Report) -> None:
    """Store the distances of one run to the reference: `METRICS`, (p, t) each."""
    times, paths = times_of(plan), (run.path(folder), plan.reference.path(folder))
    found = {name: np.full((len(plan.pairs), len(times)), np.nan) for name in METRICS}
    between = _Between(plan, run, Measured(plan, folder).reference())
    with ExitStack() as stack:
        own, reference = (stack.enter_context(Positions(path)) for path in paths)
        for i, pair in enumerate(plan.pairs):
            if not (own.is_complete(pair.process) and reference.is_complete(pair.reference)):
                continue
            energies = (
                own.free_energy(pair.process, times),
                reference.free_energy(pair.reference, times),
            )
            found["free_energy_gap"][i] = np.abs(np.subtract(*energies))
            for j, time in enumerate(times):
                x, y = own.at(pair.process, time), reference.at(pair.reference, time)
                if x is not None and y is not None:
                    for name, value in between.at(pair, time, x, y).items():
                        found[name][i, j] = value
                report((i + (j + 1) / len(times)) / len(plan.pairs))
    Measured(plan, folder).save(run.name, found, run, plan.reference)


class _Between:
    """Distances of the particles of one run to those of the reference."""

    def __init__(self, plan: WidthPlan, run: Run, known: Arrays) -> None:
        self._plan, self._known, self._inputs = plan, known, Inputs(plan)
        self._mine, self._others = samples(plan, run)

    def at(self, pair: Pair, time: float, x: Floats, y: Floats) -> dict[str, float]:
        """Distances between positions (N, D) and (M, D): all `METRICS` except that of the free energy, as far as the plan
        allows.
        """
        outputs = self._known[_outputs(pair.reference, time)]
        found = {"function_distance": rms(self._inputs.outputs(x) - outputs)}
        if self._plan.is_coupled(pair):
            found |= coupled(x, y[self._mine])
        if self._others is not None:
            spread = float(self._known[_spread(pair.reference, time)])
            found |= transports(self._plan, x, y[self._others], spread, time)
        return found


def samples(plan: WidthPlan, run: Run) -> tuple[NDArray[np.intp], NDArray[np.intp] | None]:
    """Indices of the reference's particles: the counterparts of the run's, and as many others, None if there are too few.

    With independent starts there are no counterparts.
    """
    assert run.seed is not None
    n, order = run.width, plan.order(run.seed)
    others = order[n : 2 * n] if plan.is_nested else order[:n]
    return order[:n], others if plan.has_others(n) else None


def rms(outputs: Floats) -> float:
    """√((1/k) Σ_k |f(x_k)|²) of outputs (k, c)."""
    return float(np.sqrt(np.mean(np.sum(np.square(outputs, dtype=np.float64), axis=1))))


def coupled(x: Floats, y: Floats) -> dict[str, float]:
    """Root mean square, mean and median over particles of |x_i − y_i|, for (N, D)."""
    moved = np.linalg.norm(np.subtract(x, y, dtype=np.float64), axis=1)
    return {
        "coupled_rms": float(np.sqrt(np.mean(moved**2))),
        "coupled_mean": float(np.mean(moved)),
        "coupled_median": float(np.median(moved)),
    }


def transports(
    plan: WidthPlan, x: Floats, y: Floats, spread: float, time: float
) -> dict[str, float]:
    """`TRANSPORTS` of two samples of N particles, as far as the plan allows.

    The Sinkhorn divergence is regularized by the covariance trace `spread` of the whole reference: equally for all widths.
    """
    n, options, seed = len(x), plan.width, plan.config.seed
    found = {
        "sliced_w2": transport.w2(x, y, method="sliced", projections=options.projections, seed=seed)
    }
    if time == plan.config.steps or n <= options.frequent_points:
        if n <= options.exact_points:
            found["w2"] = transport.w2(x, y, max_bytes=sys.maxsize)  # `exact_points` is the limit
        if n <= options.sinkhorn_points:
            eps = 2 * sinkhorn.SHARE_OF_VARIANCE * spread or None
            found["sinkhorn"] = transport.w2(
                x,
                y,
                method="sinkhorn",
                regularization=eps,
                max_bytes=sys.maxsize,
                max_iterations=SINKHORN_ITERATIONS,
                require_convergence=False,
            )
    # a divergence within its error is indistinguishable from zero
    return {
        name: result.distance
        for name, result in found.items()
        if result.converged and not (name == "sinkhorn" and result.distance <= result.error != 0)
    }


# --- the floors ----------------------------------------------------------------------------------


def measure_floor(plan: WidthPlan, folder: Path, width: int, report: Report) -> None:
    """Store, for each process of the reference, `TRANSPORTS` between two disjoint samples of N of its particles, averaged: (p,
    t).

    This is the distance of two independent samples of one law: a distance near it reflects sampling, not the run.
    """
    kept, times = Measured(plan, folder), times_of(plan)
    known = kept.reference()
    references = [pair.reference for pair in plan.pairs]
    floors = {name: np.full((len(references), len(times)), np.nan) for name in TRANSPORTS}
    orders = _floor_orders(plan, width)
    with Positions(plan.reference.path(folder)) as reference:
        names = [q for q in dict.fromkeys(references) if reference.is_complete(q)]
        for i, name in enumerate(names if orders else []):
            rows = [row for row, q in enumerate(references) if q == name]
            for j, time in enumerate(times):
                y = reference.at(name, time)
                if y is not None:
                    spread = float(known[_spread(name, time)])
                    halves = [(y[order[:width]], y[order[width:]]) for order in orders]
                    draws = [transports(plan, *half, spread, time) for half in halves]
                    for metric in TRANSPORTS:
                        values = [draw[metric] for draw in draws if metric in draw]
                        floors[metric][rows, j] = np.mean(values) if values else np.nan
                report((i + (j + 1) / len(times)) / len(names))
    kept.save(floor_name(width), floors, plan.reference)


def floor_name(width: int) -> str:
    """Name of the file with the floors of one width."""
    return f"floor-{width:05}"


def _floor_orders(plan: WidthPlan, width: int) -> list[NDArray[np.intp]]:
    """Draws of 2N of the reference's particles, empty if it has fewer."""
    total, rng = plan.width.reference_width, plan.rng("floor", width)
    if total < 2 * width:
        return []
    return [rng.permutation(total)[: 2 * width] for _ in range(plan.width.floor_draws)]
