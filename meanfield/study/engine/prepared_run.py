"""What a run is made of, before it begins: a study with everything built, and the options that change no result."""

from __future__ import annotations

import json
import platform
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from importlib.metadata import version
from typing import Any

from numpy.typing import NDArray

import solvers
from meanfield._digest import digest, fingerprint
from meanfield._version import __version__
from meanfield.study.config.run_config import RunConfig
from meanfield.study.engine.build import Problem, build_flows, build_problem, process_layouts
from meanfield.study.engine.checkpointing import Schedule
from meanfield.study.engine.machine import machine
from meanfield.study.engine.memory import memory_notice
from meanfield.study.engine.perturbed import perturbed_layout
from meanfield.study.storage.layout import Floats, RunLayout
from meanfield.study.storage.writer import versions_json

Progress = Callable[[str, int, int], None]  # what is going on, done, total


@dataclass(frozen=True)
class Options:
    """What does not change a run's results.

    schedule : when checkpoints are written; None: never. max_runtime : seconds by which it is to have ended. memory_limit : bytes
    that it may need, by default those available. progress : called as ``progress(what, done, total)``. say : called with what
    there is to notice.
    """

    schedule: Schedule | None = field(default_factory=Schedule)
    max_runtime: float | None = None
    memory_limit: int | None = None
    progress: Progress | None = None
    say: Callable[[str], None] | None = None

    def notice(self, text: str) -> None:
        """Say something, if it is anything."""
        if text and self.say is not None:
            self.say(text)


@dataclass(frozen=True)
class PreparedRun:
    """A study with everything built that its run needs.

    `layout` has the processes in the order in which they run: those of `flows`, then gradient descent from one rounding away
    where there is that.
    """

    config: RunConfig
    problem: Problem
    flows: Mapping[str, solvers.Flow]
    layout: RunLayout

    @classmethod
    def of(
        cls, config: RunConfig, options: Options | None = None, start: Floats | None = None
    ) -> PreparedRun:
        """From another start than the study's own, if one is given.

        Raises
        ------
        ValueError
            The study's data, options or start do not fit together, or do not fit the memory.
        """
        options = options or Options()
        problem = build_problem(config, options.memory_limit)
        if start is not None:
            problem = problem.started_from(start)
        options.notice(memory_notice(config, len(problem.parameter_names)))
        flows = build_flows(config, problem)
        return cls(config, problem, flows, _layout(config, problem, flows))

    @property
    def perturbed(self) -> str | None:
        """The name of gradient descent from one rounding away; None if it does not run."""
        return next((name for name in self.layout.processes if name not in self.flows), None)

    def without_perturbed(self) -> PreparedRun:
        """The same without it, as of a run that an older version began."""
        processes = {name: self.layout.processes[name] for name in self.flows}
        return replace(self, layout=replace(self.layout, processes=processes))

    def flow(self, name: str) -> solvers.Flow:
        """What moves a process of the layout."""
        return self.flows[name.partition("/")[0]]

    def digest(self) -> str:
        """Of the data and the start, which the configuration names only."""
        return digest(*self._arrays().values())

    def fingerprints(self) -> dict[str, str]:
        """Of the data and the start, one of each."""
        return {name: fingerprint(array) for name, array in self._arrays().items()}

    def _arrays(self) -> dict[str, NDArray[Any]]:
        task = getattr(self.problem.objective, "task", None)
        data = {} if task is None else {"task.inputs": task.inputs, "task.targets": task.targets}
        return {"start": self.problem.start, **data}


def run_layout(config: RunConfig) -> RunLayout:
    """What the file of a run is going to hold."""
    problem = build_problem(config)
    return _layout(config, problem, build_flows(config, problem))


def _layout(config: RunConfig, problem: Problem, flows: Mapping[str, solvers.Flow]) -> RunLayout:
    output = config.output
    processes = process_layouts(config, problem, flows)
    return RunLayout(
        processes=processes | perturbed_layout(config, flows, problem.start),
        particles=len(problem.particles(problem.start)),
        parameter_names=problem.parameter_names,
        steps=config.steps,
        snapshot_every=output.snapshot_every,
        eigenvalues=output.eigenvalues,
        dtype=output.snapshot_dtype,
        compression=output.compression,
    )


def settings(config: RunConfig, options: Options) -> dict[str, object]:
    """What a run depends on before its data are read, by key: configuration, checkpoints, versions of the packages."""
    found: dict[str, object] = {}

    def walk(table: Mapping[str, Any], prefix: str) -> None:
        for key, value in table.items():
            if isinstance(value, Mapping):
                walk(value, f"{prefix}{key}.")
            else:
                found[prefix + key] = value

    walk(config.model_dump(exclude_none=True), "")
    found.pop("task.path", None)  # machines may keep the same data in different folders
    versions = {f"version of {name}": v for name, v in json.loads(current_versions()).items()}
    return found | {"checkpoints": options.schedule} | versions


def file_attributes(config: RunConfig) -> dict[str, Any]:
    """What a file says about the study beside its settings: seed, learning rate, versions, machine."""
    return {
        "seed": config.seed,
        "learning_rate": config.learning_rate,
        "versions_json": current_versions(),
        "machine_json": json.dumps(machine(), sort_keys=True),
    }


def current_versions() -> str:
    """What the numbers depend on, as the attribute `versions_json` has it."""
    packages = ("numpy", "scipy", "numba", "pot", "h5py")
    versions = {package: version(package) for package in packages}
    return versions_json(versions | {"meanfield": __version__, "python": platform.python_version()})
