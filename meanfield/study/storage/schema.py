"""The layout of a run's file: variables, size, errors."""

from __future__ import annotations

import shutil
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_args

import numpy as np
from numpy.typing import NDArray

from meanfield.study.config.toml import parse
from meanfield.study.storage import measure_schema
from meanfield.study.storage.measure_schema import MeasureLayout
from meanfield.study.storage.observables import EVERYWHERE, OBSERVABLES, Observable
from solvers.flows import REFERENCE_FLOW
from solvers.learning_rates import Schedule

Status = Literal["running", "complete", "diverged", "interrupted", "failed"]
STATUSES: tuple[str, ...] = get_args(Status)
Floats = NDArray[np.floating[Any]]

SCHEMA, SCHEMA_VERSION = "meanfield-run", 1
FILE_NAME = "run.h5"

COMPARISONS = {
    "center_distance": ("root mean square over particles of the distance of centers", "1"),
    "w2": ("Wasserstein-2 distance of the centers as measures", "1"),
    "function_distance": ("root mean square over training inputs of the outputs' difference", "1"),
}
EXACT_W2_PARTICLES = 2000  # for `w2`: beyond, exact transport takes seconds, and quadratic memory
TIME = ("time, in iterations of gradient descent", "1")
# of the perturbed gradient descent, in a group of the first one, see `meanfield.study.engine.perturbed`
PERTURBED = "perturbed"
PERTURBED_OBSERVABLES = {
    "center_distance": ("distance of the center to the unperturbed one's, at its snapshots", "1"),
    **{key: EVERYWHERE[key].about for key in ("sigma_trace", "predicted_loss")},
}


class OutputError(Exception):
    """The run cannot be written: no space left, or no permission."""


class RunFileError(ValueError):
    """Not the file of a run, or an unfinished one."""


class RowCounts(NamedTuple):
    """Numbers of rows of a process in the file."""

    observables: int
    snapshots: int


@dataclass(frozen=True)
class ProcessLayout:
    """The layout of a process: `modes` is the number of stored fluctuations if they have an index.

    `diagnostics` are names of further observables, the diagnostics of the flow; `requested` are those of
    `meanfield.study.storage.observables` that are measured on request only. A process that `is_perturbed`
    has only the `PERTURBED_OBSERVABLES`: no spectrum, no snapshots. That of a `measure` has its own.
    """

    flow: str
    modes: int | None = None
    has_iterates: bool = False
    has_batches: bool = False
    diagnostics: Sequence[str] = ()
    is_perturbed: bool = False
    requested: Collection[str] = ()
    measure: MeasureLayout | None = None

    @property
    def measured(self) -> list[Observable]:
        """The measured observables of the common list, scalars and spectrum."""
        if self.is_perturbed or self.measure is not None:
            return []
        return [
            one
            for one in OBSERVABLES
            if (self.has_iterates or not one.of_iterates)
            and (self.has_batches or not one.of_batches)
            and (one.name in self.requested or not one.on_request)
        ]

    @property
    def observables(self) -> dict[str, tuple[str, str]]:
        """Long name and units of every scalar observable."""
        if self.is_perturbed:
            return PERTURBED_OBSERVABLES
        if self.measure is not None:
            return measure_schema.OBSERVABLES
        diagnostics = {
            name: (f"{name.replace('_', ' ')}, a diagnostic of the flow", "1")
            for name in self.diagnostics
        }
        return {
            one.name: one.about for one in self.measured if not one.per_eigenvalue
        } | diagnostics

    @property
    def spectrum(self) -> dict[str, tuple[str, str]]:
        """Long name and units of every observable with one value per eigenvalue."""
        return {one.name: one.about for one in self.measured if one.per_eigenvalue}


@dataclass(frozen=True)
class RunLayout:
    """Everything that determines the layout of the file; the name of a process is the path of its group."""

    processes: Mapping[str, ProcessLayout]
    particles: int
    parameter_names: Sequence[str]
    steps: int
    snapshot_every: int
    eigenvalues: int = 1
    dtype: str = "float64"
    compression: str = "none"
    rows: int | None = None  #: of scalars, at most; None: one for each step

    @property
    def snapshots(self) -> int:
        """The number of snapshots of every process."""
        return (
            -(-self.steps // self.snapshot_every) + 1
        )  # at 0, every snapshot_every steps, and at the end

    def estimated_bytes(self) -> int:
        """The estimated size of the file, uncompressed."""
        one_field = self.particles * len(self.parameter_names) * np.dtype(self.dtype).itemsize
        total = 2**20
        for process in self.processes.values():
            rows = (
                (self.steps + 1 if self.rows is None else self.rows)
                * (len(process.observables) + 1 + len(process.spectrum) * self.eigenvalues)
                * 8
            )
            fields = 0 if process.is_perturbed else 1 + (process.modes or 1)
            if process.measure is not None:
                fields = 1
            total += rows + self.snapshots * one_field * fields
        return total


def reference_of(optimizer: str | None, flows: Mapping[str, str]) -> str | None:
    """The process that the others are compared with: the one named, else the first of gradient descent; None without one.

    Parameters
    ----------
    optimizer : str or None
        The key `optimizer` of a configuration.
    flows : mapping
        The names of the flows of the processes.
    """
    if optimizer is not None:
        return optimizer if optimizer in flows else None
    return next((name for name, flow in flows.items() if flow == REFERENCE_FLOW), None)


def reference_in(config: str, flows: Mapping[str, str]) -> str | None:
    """The same for the configuration of a file, which need not be TOML."""
    optimizer = None
    with suppress(ValueError):
        optimizer = parse(config).get("optimizer")
    return reference_of(optimizer if isinstance(optimizer, str) else None, flows)


def snapshot_times(steps: int, every: int) -> list[int]:
    """0, every, 2·every, ... and the last step."""
    return sorted({*range(0, steps + 1, every), steps})


def require_space(folder: Path, layout: RunLayout) -> None:
    """Raise `OutputError` if the folder's disk has less space than the file will need."""
    needed, free = layout.estimated_bytes(), shutil.disk_usage(folder).free
    if needed > free:
        raise OutputError(
            f"{folder} must have about {needed / 1e6:.0f} MB free for the run, got {free / 1e6:.0f} MB; "
            "a larger output.snapshot_every or output.snapshot_dtype = 'float32' needs less"
        )


@dataclass(frozen=True)
class ProcessRecord:
    """A process of a run as plain arrays.

    `observables` are (t,) arrays, ``hessian_eigs`` (t, k); `first` and `last` are positions (N, D),
    `trajectory` (s, D) are those of a single particle at all snapshots, None for several; likewise its
    `fluctuations` (s, D) or (s, modes, D).
    """

    flow: str
    status: Status
    message: str
    observables: dict[str, NDArray[np.float64]]
    snapshot_times: NDArray[np.float64]
    first: Floats | None
    last: Floats | None
    trajectory: Floats | None = None
    parameter_names: Sequence[str] = ()
    fluctuations: Floats | None = None


@dataclass(frozen=True)
class RunRecord:
    """A run as plain arrays.

    `config` is the resolved TOML; ``comparison[process][distance]`` holds distances to the
    reference process at `comparison_times`, NaN where missing. `perturbed` is the perturbed gradient descent,
    with its ``center_distance`` to the reference among its observables; None where it was not run. `all_names` are
    those of all processes in the file, where `processes` has a part of them only.
    """

    path: Path
    attributes: dict[str, Any]
    config: str
    processes: dict[str, ProcessRecord]
    comparison_times: NDArray[np.float64]
    comparison: dict[str, dict[str, NDArray[np.float64]]]
    perturbed: ProcessRecord | None = None
    all_names: tuple[str, ...] = ()

    @cached_property
    def reference(self) -> str | None:
        """The process that the others are compared with, see `reference_of`."""
        flows = {name: process.flow for name, process in self.processes.items()}
        return reference_in(self.config, flows)

    @property
    def is_of_measure(self) -> bool:
        """Whether it is that of a measure, with observables of its own."""
        return any(process.flow == measure_schema.FLOW for process in self.processes.values())

    def is_optimizer(self, name: str) -> bool:
        """Whether a process is the one that the others are compared with, or another one of its flow."""
        return (
            self.reference is not None
            and self.processes[name].flow == self.processes[self.reference].flow
        )

    @cached_property
    def learning_rates(self) -> Schedule:
        """η by step, as the configuration has it where it changes during the run."""
        with suppress(ValueError):
            given = parse(self.config).get("learning_rate")
            if isinstance(given, list):
                return Schedule(given)  # type: ignore[arg-type]
        return Schedule(((0, float(self.attributes["learning_rate"])),))
