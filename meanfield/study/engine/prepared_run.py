"""A run before it begins: everything built from its configuration, and the options that change no result."""

from __future__ import annotations

import functools
import json
import platform
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from importlib.metadata import version
from typing import Any

from numpy.typing import NDArray

import solvers
from meanfield._digest import digest, fingerprint
from meanfield._version import __version__
from meanfield.study.config.run_config import RunConfig
from meanfield.study.engine.build import Problem, build_flows, build_problem, process_layouts
from meanfield.study.engine.checkpointing import Schedule
from meanfield.study.engine.given import Given
from meanfield.study.engine.machine import machine
from meanfield.study.engine.memory import memory_notice
from meanfield.study.engine.perturbed import perturbed_layout
from meanfield.study.storage.schema import RunLayout, snapshot_times
from meanfield.study.storage.writer import versions_json

PROBLEM = "problem_sha256"  # attribute of the file: the digest of its data and start
Progress = Callable[[str, int, int], None]  # current stage, done, total


@dataclass(frozen=True)
class Options:
    """Options that do not change the results of a run.

    schedule : when checkpoints are written; None: never. max_runtime : limit in seconds. memory_limit : bytes
    that it may need, by default those available. progress : called as ``progress(what, done, total)``. say : called with
    messages.
    """

    schedule: Schedule | None = field(default_factory=Schedule)
    max_runtime: float | None = None
    memory_limit: int | None = None
    progress: Progress | None = None
    say: Callable[[str], None] | None = None

    def notice(self, text: str) -> None:
        """Print a message unless it is empty."""
        if text and self.say is not None:
            self.say(text)


@dataclass(frozen=True)
class PreparedRun:
    """Everything that a run needs, built from its configuration.

    `layout` has the processes in their order of execution: those of `flows`, then the perturbed gradient descent
    if there is one.
    """

    config: RunConfig
    problem: Problem
    flows: Mapping[str, solvers.Flow]
    layout: RunLayout
    given: Given = field(default_factory=Given)

    @classmethod
    def of(
        cls, config: RunConfig, options: Options | None = None, given: Given | None = None
    ) -> PreparedRun:
        """Build a run, with the objects that are given beside the configuration, if there are any.

        Raises
        ------
        ValueError
            The data, options or start do not fit together, or do not fit the memory.
        """
        options, given = options or Options(), (given or Given()).checked(config)
        problem = build_problem(config, options.memory_limit, given)
        if given.objective is None:
            options.notice(memory_notice(config, len(problem.parameter_names)))
        flows = build_flows(config, problem, given.flows)
        return cls(config, problem, flows, _layout(config, problem, flows), given)

    @property
    def config_text(self) -> str:
        """The configuration as the file keeps it: without the problem, where an objective was given in its place."""
        return self.config.to_toml(with_problem=self.given.objective is None)

    @cached_property
    def given_text(self) -> str:
        """What tells the objects that were given, see `Given.described`."""
        return self.given.described(self.problem)

    @property
    def attributes(self) -> dict[str, Any]:
        """Of the file, beside the configuration."""
        about = file_attributes(self.config) | dict(self.given.attributes)
        about |= {PROBLEM: self.digest()}
        return about | ({"given_json": self.given_text} if self.given_text else {})

    @property
    def precision(self) -> Any:
        """The dtype of the particles."""
        return self.problem.start.dtype

    @property
    def others(self) -> int:
        """The number of processes that are compared with the first."""
        return len(self.flows) - 1

    @property
    def perturbed(self) -> str | None:
        """The name of the perturbed gradient descent; None if it does not run."""
        return next((name for name in self.layout.processes if name not in self.flows), None)

    def without_perturbed(self) -> PreparedRun:
        """The same without the perturbed gradient descent, as for runs begun by an older version."""
        processes = {name: self.layout.processes[name] for name in self.flows}
        return replace(self, layout=replace(self.layout, processes=processes))

    def flow(self, name: str) -> solvers.Flow:
        """The flow of a process of the layout."""
        return self.flows[name.partition("/")[0]]

    def digest(self) -> str:
        """Digest of the data and the start, which the configuration only names."""
        return digest(*self._arrays().values())

    def fingerprints(self) -> dict[str, str]:
        """Digests of the data and of the start."""
        return {name: fingerprint(array) for name, array in self._arrays().items()}

    def _arrays(self) -> dict[str, NDArray[Any]]:
        task = getattr(self.problem.objective, "task", None)
        data = {} if task is None else {"task.inputs": task.inputs, "task.targets": task.targets}
        return {"start": self.problem.start, **data}


def run_layout(config: RunConfig) -> RunLayout:
    """The layout of the file of a run."""
    problem = build_problem(config)
    return _layout(config, problem, build_flows(config, problem))


def _layout(config: RunConfig, problem: Problem, flows: Mapping[str, solvers.Flow]) -> RunLayout:
    output = config.output
    processes = process_layouts(config, problem, flows)
    return RunLayout(
        processes=processes | perturbed_layout(config, processes, problem.start),
        particles=len(problem.particles(problem.start)),
        parameter_names=problem.parameter_names,
        steps=config.steps,
        snapshot_every=output.snapshot_every,
        rows=_rows(config),
        eigenvalues=output.eigenvalues,
        dtype=output.snapshot_dtype,
        compression=output.compression,
    )


def _rows(config: RunConfig) -> int:
    """The largest number of rows of scalars: those due, and one for each measurement of the spectrum, or snapshot."""
    output, steps = config.output, config.steps
    intervals = output.observe_every, output.sharpness_every, output.snapshot_every
    return min(
        steps + 1,
        bool(config.warm_start) + sum(len(snapshot_times(steps, every)) for every in intervals),
    )


def settings(config: RunConfig, options: Options) -> dict[str, object]:
    """Everything that a run depends on before its data are read, by key: configuration, checkpoints, versions of the packages."""
    found: dict[str, object] = {}

    def walk(table: Mapping[str, Any], prefix: str) -> None:
        for key, value in table.items():
            if isinstance(value, Mapping):
                walk(value, f"{prefix}{key}.")
            else:
                found[prefix + key] = value

    walk(config.model_dump(exclude_none=True), "")
    for path in ("task.path", "network.init.path", "measure.initial.path", "start"):
        found.pop(path, None)  # machines may keep the same data in different folders
    versions = {f"version of {name}": v for name, v in json.loads(current_versions()).items()}
    return found | {"checkpoints": options.schedule} | versions


def file_attributes(config: RunConfig) -> dict[str, Any]:
    """Attributes of a file beside the configuration: seed, learning rate, versions, machine."""
    return {
        "seed": config.seed,
        "learning_rate": config.learning_rates.rates[0],
        "versions_json": current_versions(),
        "machine_json": json.dumps(machine(), sort_keys=True),
    }


@functools.cache  # reading what the packages say of themselves takes longer than a small run
def current_versions() -> str:
    """Versions of the packages that affect the numbers, as the attribute `versions_json`."""
    packages = ("numpy", "scipy", "numba", "pot", "h5py")
    versions = {package: version(package) for package in packages}
    return versions_json(versions | {"meanfield": __version__, "python": platform.python_version()})
