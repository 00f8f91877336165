"""Building the objective and the flows from a configuration."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np

import solvers
from meanfield.networks import TwoLayerNetwork
from meanfield.risk import Risk
from meanfield.study.config.optimizer import own_model
from meanfield.study.config.run_config import RunConfig
from meanfield.study.config.sections import LandscapeSection
from meanfield.study.engine.given import Given
from meanfield.study.engine.memory import require_data_memory, require_memory
from meanfield.study.engine.stored_start import read_start
from meanfield.study.storage.observables import OBSERVABLES
from meanfield.study.storage.schema import Floats, ProcessLayout, reference_of
from solvers._support.arguments import refusal
from solvers.flows import FLOWS
from solvers.integrators import INTEGRATORS
from solvers.state import State
from solvers.state import resume as go_on
from solvers.state import start as start_flow
from solvers.stepping import stepper


@dataclass(frozen=True)
class Problem(ABC):
    """An objective and the common start of all processes, viewed as N particles of D parameters."""

    objective: Any
    start: Floats

    def started_from(self, start: Floats) -> Self:
        """The same objective from another start, of the same shape.

        Raises
        ------
        ValueError
            The shapes differ.
        """
        if np.shape(start) != self.start.shape:
            raise ValueError(f"start must have shape {self.start.shape}, got {np.shape(start)}")
        return replace(self, start=np.array(start, dtype=self.start.dtype))

    def started_from_particles(self, particles: Floats) -> Self:
        """The same objective from the start that is viewed as these particles (N, D).

        Raises
        ------
        ValueError
            They are not as many, have other parameters, or are not finite in the precision of the start.
        """
        (n, d), (theirs, parameters) = self.particles(self.start).shape, particles.shape
        if theirs != n:
            raise ValueError(f"start must have {n} particles, got {theirs}")
        if parameters != d:
            raise ValueError(f"start must have {d} parameters for each particle, got {parameters}")
        with np.errstate(over="ignore"):
            moved = self.started_from(particles.reshape(self.start.shape))
        if not np.isfinite(moved.start).all():
            raise ValueError(f"start must be of finite {moved.start.dtype} numbers, got inf or NaN")
        return moved

    @property
    @abstractmethod
    def parameter_names(self) -> Sequence[str]:
        """Names of the D parameters of a particle."""

    @abstractmethod
    def particles(self, x: Floats) -> Floats:
        """Arrays (…, *start.shape) as particles (…, N, D)."""

    @abstractmethod
    def function_distance(self, x: Floats, y: Floats) -> float:
        """Distance of the functions represented by particles x and y (N, D), NaN if they represent none."""


class NetworkProblem(Problem):
    """The risk of a two-layer network on a task, a particle being a neuron."""

    @property
    def risk(self) -> Risk:
        """The objective."""
        risk: Risk = self.objective
        return risk

    @property
    def network(self) -> TwoLayerNetwork:
        """The network whose risk it is."""
        return self.risk.network

    @property
    def parameter_names(self) -> Sequence[str]:
        return self.network.parameter_names

    def particles(self, x: Floats) -> Floats:
        return x

    def function_distance(self, x: Floats, y: Floats) -> float:
        inputs = self.risk.task.inputs
        difference = self.network.forward(x, inputs) - self.network.forward(y, inputs)
        return float(np.sqrt(np.mean(np.sum(difference**2, axis=1))))


class ObjectiveProblem(Problem):
    """Any objective: arrays of shape (N, D) are N particles of D parameters, those of any other shape are one particle."""

    @property
    def parameter_names(self) -> Sequence[str]:
        d = self.particles(self.start).shape[-1]
        names: Sequence[str] = getattr(self.objective, "parameter_names", ())
        return names if len(names) == d else [f"x{i + 1}" for i in range(d)]

    def particles(self, x: Floats) -> Floats:
        if self.start.ndim == 2:
            return x
        return x.reshape(*x.shape[: x.ndim - self.start.ndim], 1, -1)

    def function_distance(self, x: Floats, y: Floats) -> float:
        return math.nan


class SpreadProblem(NetworkProblem):
    """The risk of particles distributed over MPI ranks; `particles` has all of them."""

    def particles(self, x: Floats) -> Floats:
        whole: Floats = self.objective.gather(x)
        return whole


def build_problem(
    config: RunConfig, memory_limit: int | None = None, given: Given | None = None
) -> Problem:
    """The problem of a run.

    Raises
    ------
    ValueError
        The data or the start cannot be read, its targets are invalid for the loss, or the given objects do not fit.
    MemoryLimitError
        Its run would need more memory than the limit in bytes, by default the available memory.
    """
    section, given = config.landscape, given or Given()
    if config.start is not None and given.start is not None:
        raise ValueError(
            f"start must be left out where the configuration has one, got both, there {config.start!r}"
        )
    if given.objective is not None:
        problem = _given_problem(config, given)
    elif section is None:
        problem = _network_problem(config, memory_limit)
    else:
        problem = _landscape_problem(section)
    if given.start is not None:
        problem = problem.started_from(given.start)
    if config.start is not None:
        problem = problem.started_from_particles(read_start(config.start))
    if config.output.eigenvalues > problem.start.size:
        raise ValueError(
            f"output.eigenvalues must be at most {problem.start.size}, the dimension of the Hessian, "
            f"got {config.output.eigenvalues}"
        )
    return problem


def _network_problem(config: RunConfig, memory_limit: int | None) -> Problem:
    """The problem of a network whose dimensions are those of the task."""
    require_data_memory(config, memory_limit)
    task = config.task.build()
    network = TwoLayerNetwork(
        task.input_dim,
        task.output_dim,
        activation=config.network.activation,
        bias=config.network.bias,
        train_output=config.network.train_output,
        output_bias=config.network.output_bias,
    )
    require_memory(config, network.parameter_count, memory_limit)
    risk = Risk(network, task, **config.risk.model_dump())
    return NetworkProblem(risk, _network_start(config, risk))


def _network_start(config: RunConfig, risk: Risk) -> Floats:
    """The initial particles (N, D)."""
    width, init = config.network.width, config.network.init.build()
    try:
        return risk.network.initialize(width, config.seed, risk.dtype, init)
    except ValueError as error:
        key = "network." if str(error).startswith("init") else ""
        raise ValueError(key + str(error)) from error


def _landscape_problem(section: LandscapeSection) -> Problem:
    landscape = section.build()
    start = landscape.start if section.start is None else section.start
    return ObjectiveProblem(landscape, np.array(start, dtype=section.dtype))


def _given_problem(config: RunConfig, given: Given) -> Problem:
    """That of an objective, from the start that is given or its own: of a network the draw with the run's seed."""
    objective, start = given.objective, given.start
    if isinstance(objective, Risk):
        drawn = _network_start(config, objective) if start is None else start
        return NetworkProblem(objective, drawn)
    if start is None:
        start = getattr(objective, "start", None)
    if start is None and callable(initial := getattr(objective, "initial", None)):
        start = initial()
    if start is None:
        raise refusal("start", "an array, as the objective has no start of its own", None)
    return ObjectiveProblem(objective, np.array(start, getattr(start, "dtype", np.float64)))


def build_flows(
    config: RunConfig, problem: Problem, given: Mapping[str, solvers.Flow] | None = None
) -> dict[str, solvers.Flow]:
    """The flow of every process, the optimizer first; those that are given after those of the configuration.

    Raises
    ------
    ValueError
        Options that do not fit together.
    """
    flows = {}
    for name in config.processes:
        with _errors_of(name):
            flows[name] = _build_flow(config, name, problem)
    flows |= given or {}
    reference = reference_name(config, flows)
    return {name: flows[name] for name in sorted(flows, key=lambda name: name != reference)}


def reference_name(config: RunConfig, flows: Mapping[str, solvers.Flow]) -> str | None:
    """The process that the others are compared with, which may be one that is given; None without one."""
    names = {name: flow_name(config, name, flow) for name, flow in flows.items()}
    return reference_of(config.optimizer, names)


def flow_name(config: RunConfig, process: str, flow: solvers.Flow) -> str:
    """The name of the flow of a process in the file: that in the configuration, or that of its class."""
    if process in config.processes:
        return str(config.processes[process].flow)
    return type(flow).name


def _build_flow(config: RunConfig, name: str, problem: Problem) -> solvers.Flow:
    process, rates = config.processes[name], config.learning_rates
    flow = own_model(process, config.rule)
    if flow is None:
        build = FLOWS[process.flow].build
        flow = build(problem.objective, problem.start, rates.rates[0], **process.options)
    if process.batches:
        assert isinstance(flow, solvers.DiscreteFlow)
        flow = solvers.MiniBatch(flow, **process.batches)
    return flow if len(rates.steps) == 1 else solvers.Scheduled(flow, rates.learning_rate)


def warm_up(config: RunConfig, flow: solvers.Flow) -> int:
    """The number of the optimizer's steps before a process begins: none before a map."""
    return 0 if isinstance(flow.at(0), solvers.DiscreteFlow) else config.warm_start or 0


def begin(
    config: RunConfig,
    flows: Mapping[str, solvers.Flow],
    flow: solvers.Flow,
    problem: Problem,
    of: Any,
) -> tuple[State, str]:
    """Where a flow of a run begins, and a message about it; `of` is the problem's objective, which may count evaluations."""
    if not (steps := warm_up(config, flow)):
        return start_flow(flow, of, problem.start)
    reference, rates = reference_name(config, flows), config.learning_rates
    rule: solvers.Flow = solvers.GradientDescent(rates.rates[0])
    if reference is not None:
        rule = flows[reference]
    elif len(rates.steps) > 1:
        rule = solvers.Scheduled(rule, rates.learning_rate)
    warm = solvers.solve(rule, problem.objective, problem.start, steps, save_every=steps)
    return go_on(flow, of, warm.state)


def process_layouts(
    config: RunConfig, problem: Problem, flows: Mapping[str, solvers.Flow]
) -> dict[str, ProcessLayout]:
    """The layouts of the processes; the number of fluctuations of a flow is that of its start.

    Raises
    ------
    ValueError
        A flow cannot start from the start.
    """
    layouts = {}
    output = config.output.model_dump()
    requested = tuple(one.name for one in OBSERVABLES if one.on_request and output[one.name])
    for name, flow in flows.items():
        with _errors_of(name), np.errstate(over="ignore", invalid="ignore"):
            stepper(flow, problem.objective, steps=config.steps, **time_stepping(config, name))
            state = flow.start(problem.objective, problem.start)
            fluctuation = flow.fluctuation(0, state)
            layouts[name] = ProcessLayout(
                flow=flow_name(config, name, flow),
                modes=len(fluctuation) if fluctuation.ndim > problem.start.ndim else None,
                has_iterates=flow.iterate(0, state) is not None,
                has_batches=isinstance(flow.at(0), solvers.MiniBatch),
                diagnostics=flow.diagnostic_names,
                requested=requested,
            )
    return layouts


@contextmanager
def _errors_of(process: str) -> Iterator[None]:
    try:
        yield
    except (ValueError, ArithmeticError) as error:
        raise ValueError(f"processes.{process}: {error}") from None


def time_stepping(config: RunConfig, name: str) -> dict[str, Any]:
    """Keyword arguments of `solvers.solve` for the time integration of a process; none for a given flow."""
    options = config.processes[name].time_stepping if name in config.processes else {}
    arguments = {"dt": options["dt"]} if "dt" in options else {}
    if "integrator" in options:
        tolerances = {key: options[key] for key in ("rtol", "atol") if key in options}
        arguments["integrator"] = INTEGRATORS[options["integrator"]](**tolerances)
    return arguments


def check(config: RunConfig, memory_limit: int | None = None) -> Problem:
    """Build everything that a run of the configuration needs, without running it."""
    problem = build_problem(config, memory_limit)
    process_layouts(config, problem, build_flows(config, problem))
    return problem
