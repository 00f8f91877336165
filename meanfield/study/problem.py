"""From the settings of a study to the objects that are computed with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import solvers
from meanfield import tasks
from meanfield.networks import TwoLayerNetwork
from meanfield.risk import Risk
from meanfield.study.config import Process, Study
from meanfield.study.layout import Floats

TASKS: dict[str, Callable[..., tasks.Task]] = {
    "digits": tasks.digits,
    "noisy_digits": tasks.noisy_digits,
    "teacher_student": tasks.teacher_student,
    "npz": tasks.from_npz,
}
FLOWS: dict[str, Callable[..., Any]] = {
    "gradient_descent": solvers.GradientDescent,
    "gradient_flow": solvers.GradientFlow,
    "free_energy_flow": solvers.FreeEnergyFlow,
}
INTEGRATORS: dict[str, Callable[..., Any]] = {
    "euler": solvers.Euler,
    "midpoint": solvers.Midpoint,
    "rk4": solvers.RK4,
    "adaptive": solvers.Adaptive,
}
TIME_STEPPING = {"integrator", "dt", "rtol", "atol"}


@dataclass(frozen=True)
class Problem:
    """A network, its risk on a task, and the start (N, D) that all processes share."""

    network: TwoLayerNetwork
    risk: Risk
    start: Floats


def build_problem(study: Study) -> Problem:
    """The problem of a study; the task gives the network its dimensions.

    Raises
    ------
    ValueError
        The data cannot be read, or its targets are not those of the loss.
    """
    task = TASKS[study.task.name](**study.task.model_dump(exclude={"name"}))
    network = TwoLayerNetwork(
        task.input_dim,
        task.output_dim,
        activation=study.network.activation,
        bias=study.network.bias,
    )
    risk = Risk(network, task, **study.risk.model_dump())
    start = network.initialize(study.network.width, seed=study.seed, dtype=study.risk.dtype)
    if study.output.eigenvalues > start.size:
        raise ValueError(
            f"output.eigenvalues: {study.output.eigenvalues} came, "
            f"the Hessian has {start.size} of them"
        )
    return Problem(network, risk, start)


def build_flow(process: Process, learning_rate: float) -> Any:
    """The flow of a process."""
    options = process.model_dump(exclude={"flow", *TIME_STEPPING})
    return FLOWS[process.flow](learning_rate, **options)


def time_stepping(process: Process) -> dict[str, Any]:
    """Keyword arguments of `solvers.solve` that say how a process moves in time."""
    options = process.model_dump(include=TIME_STEPPING, exclude_none=True)
    arguments = {"dt": options["dt"]} if "dt" in options else {}
    if "integrator" in options:
        tolerances = {key: options[key] for key in ("rtol", "atol") if key in options}
        arguments["integrator"] = INTEGRATORS[options["integrator"]](**tolerances)
    return arguments


def check(study: Study) -> None:
    """Build everything a run of the study needs, and nothing more."""
    build_problem(study)
    for process in study.processes.values():
        build_flow(process, study.learning_rate)
        time_stepping(process)
