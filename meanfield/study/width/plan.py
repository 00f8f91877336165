"""The plan of a width study: its runs, their starts, and their distribution over tasks."""

from __future__ import annotations

import hashlib
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, ValidationError, model_validator

import solvers
from meanfield.study.config.derived import Section
from meanfield.study.config.errors import describe
from meanfield.study.config.run_config import ConfigError, RunConfig
from meanfield.study.config.sections import Count
from meanfield.study.config.stored import load_stored
from meanfield.study.config.toml import decoded, format_toml, parse
from meanfield.study.engine.build import build_problem
from meanfield.study.storage.schema import FILE_NAME, Floats, reference_of
from meanfield.study.storage.study_record import PLAN_NAME, Pair
from solvers.flows import FLOWS

WIDER = 16  # default ratio of the reference's width to the largest; see `meanfield.study.width.validity`
# whose particles have the kinetic equation as their limit, as those of the optimizer: compared with it
KINETIC = solvers.FreeEnergyFlow.name
# random streams beside the draw of the start, which uses the seed itself
STREAMS = {"order": 0, "floor": 1, "held_out": 2}
GROWING = ("widths", "seeds")  # a later call may extend these


class WidthSection(Section):
    """The table ``[width]``: which runs to do, and which distances to compute.

    `held_out` inputs at most; floors are averaged over `floor_draws`. Exact W2 up to `exact_points` particles and the Sinkhorn
    divergence up to `sinkhorn_points`: at the last time, and at all times up to `frequent_points`. Sliced W2 along
    `projections` directions, always.
    """

    widths: Annotated[tuple[Count, ...], Field(strict=False)]
    seeds: Count = 8
    reference_width: Count
    start: Literal["nested", "independent"] = "nested"
    held_out: Count = 1000
    floor_draws: Count = 3
    exact_points: Count = 5000
    sinkhorn_points: Count = 2000
    frequent_points: Count = 512
    projections: Annotated[int, Field(ge=2)] = 512

    @model_validator(mode="after")
    def _widths_grow(self) -> WidthSection:
        found = ", ".join(map(str, self.widths)) or "none"
        if not self.widths or any(
            a >= b for a, b in zip(self.widths, self.widths[1:], strict=False)
        ):
            raise ValueError(f"widths must be one or more, increasing, got {found}")
        if self.reference_width < self.widths[-1]:
            raise ValueError(
                f"reference_width must be at least the largest width, {self.widths[-1]}, got {self.reference_width}"
            )
        return self


class Run(NamedTuple):
    """One run of a study; without a seed it is the reference."""

    width: int
    seed: int | None = None

    @property
    def name(self) -> str:
        """Its name, also used for files."""
        return "reference" if self.seed is None else f"width-{self.width:05}-seed-{self.seed:03}"

    def path(self, folder: Path) -> Path:
        """The path of its file in the folder of the study."""
        if self.seed is None:
            return folder / "reference" / FILE_NAME
        return folder / "runs" / f"{self.name}.h5"


@dataclass(frozen=True)
class WidthPlan:
    """A study, repeated at several widths and seeds and once at the width of the reference.

    The reference starts from the particles θ_1, …, θ_M of the study's own seed. Seed s has a permutation π_s of them, and with
    *nested* starts width N starts from θ_{π_s(1)}, …, θ_{π_s(N)}: the particles have counterparts in the reference. With
    *independent* starts it has its own particles, again the first N of one draw per seed.
    """

    config: RunConfig
    width: WidthSection

    @property
    def reference(self) -> Run:
        """The widest run."""
        return Run(self.width.reference_width)

    @property
    def runs(self) -> list[Run]:
        """All runs, the reference first, then the widest."""
        seeds = range(self.width.seeds)
        return [self.reference, *(Run(n, s) for n in reversed(self.width.widths) for s in seeds)]

    @property
    def is_nested(self) -> bool:
        """Whether the particles of a run have counterparts in the reference."""
        return self.width.start == "nested"

    def has_others(self, width: int) -> bool:
        """Whether the reference has as many further particles, besides a run's counterparts if any."""
        return self.width.reference_width >= (2 if self.is_nested else 1) * width

    @property
    def pairs(self) -> list[Pair]:
        """Pairs of every process with itself, and of the optimizer with the free-energy flows, whose limit is the kinetic
        equation.
        """
        flows = {name: process.flow for name, process in self.config.processes.items()}
        optimizer = flows.get(reference_of(self.config.optimizer, flows) or "")
        pairs = [Pair(name, name) for name in flows]
        kinetic = [name for name in flows if flows[name] == KINETIC]
        return pairs + [Pair(p, q) for p in flows if flows[p] == optimizer for q in kinetic]

    def is_coupled(self, pair: Pair) -> bool:
        """Whether particle i corresponds in both; the noise of Langevin's particles is independent between widths."""
        flows = (self.config.processes[name].flow for name in pair)
        return self.is_nested and all(
            FLOWS[flow].labelled and not FLOWS[flow].is_random for flow in flows
        )

    def study_of(self, run: Run) -> RunConfig:
        """The settings of one run; seeds that the processes have of their own are moved with the run's.

        Those of batches are not: the batches are the same at every width, and the limit is that of these.
        """
        shift = 0 if run.seed is None else 1 + run.seed
        config = self.config
        processes = {
            name: process.model_copy(update={"seed": process.seed + shift})
            if hasattr(process, "seed") and not process.has_batches()
            else process
            for name, process in config.processes.items()
        }
        network = config.network.model_copy(update={"width": run.width})
        changes = {"seed": config.seed + shift, "network": network, "processes": processes}
        return self.settings_of_a_run(config.model_copy(update=changes))

    @staticmethod
    def settings_of_a_run(config: RunConfig) -> RunConfig:
        """The configuration without the rounding spread: each process is compared with itself at other widths, not with gradient
        descent.

        Files of older versions lack the key and have none either.
        """
        output = config.output.model_copy(update={"rounding_spread": False})
        return config.model_copy(update={"output": output})

    def order(self, seed: int) -> NDArray[np.intp]:
        """π_s, a permutation of the reference's particles, (M,)."""
        return self.rng("order", seed).permutation(self.width.reference_width)

    def start_of(self, run: Run) -> Floats | None:
        """The particles (N, D) from which a run starts, None if they are those of its own seed."""
        if run.seed is None or not self.is_nested:
            return None
        start = build_problem(self.study_of(self.reference)).start
        return start[self.order(run.seed)[: run.width]]

    def attributes_of(self, run: Run) -> dict[str, Any]:
        """Attributes of the file of a run that, with its configuration, identify the run."""
        if run.seed is None:
            return {"width_study": "reference"}
        if not self.is_nested:
            return {"width_study": "independent start"}
        about = f"nested start: particles chosen by seed {run.seed} of {self.width.reference_width}"
        return {"width_study": f"{about} drawn with seed {self.config.seed}"}

    def rng(self, stream: str, key: int = 0) -> np.random.Generator:
        """A generator for one of `STREAMS`, independent of each other and of the draw of the start."""
        spawned = np.random.SeedSequence(self.config.seed, spawn_key=(STREAMS[stream], key))
        return np.random.default_rng(spawned)

    def share(self, index: int, tasks: int) -> list[Run]:
        """The runs of one of several tasks, of about equal cost: each run, widest first, is given to the task with the lowest
        cost.

        Task 0 has the reference.
        """
        if tasks < 1:
            raise ValueError(f"num_tasks must be an integer of at least 1, got {tasks}")
        if not 0 <= index < tasks:
            raise ValueError(f"task_index must be an integer from 0 to {tasks - 1}, got {index}")
        loads, mine = np.zeros(tasks), []
        for run in self.runs:
            least = int(np.argmin(loads))
            loads[least] += run.width
            if least == index:
                mine.append(run)
        return mine

    def to_toml(self) -> str:
        """The complete settings as ``study.toml``, read by `read_plan`."""
        return self.config.to_toml() + format_toml({"width": self.width.model_dump()})

    @property
    def digest(self) -> str:
        """A hash of everything that a distance depends on: all settings except the lists of widths and seeds."""
        text = self.config.to_toml() + repr(self.width.model_dump(exclude=set(GROWING)))
        return hashlib.sha256(text.encode()).hexdigest()

    def differences(self, other: WidthPlan) -> list[str]:
        """The differences from `other`, apart from additional widths or seeds."""
        mine, others = (_flat(tomllib.loads(plan.to_toml())) for plan in (self, other))
        kept = set(other.width.widths) <= set(self.width.widths)
        growing = {"width.widths": kept, "width.seeds": other.width.seeds <= self.width.seeds}
        return [
            f"{key} is {others.get(key, 'not set')} and {mine.get(key, 'not set')}"
            for key in dict.fromkeys([*others, *mine])
            if others.get(key) != mine.get(key) and not growing.get(key)
        ]


def make_plan(
    config: RunConfig,
    widths: tuple[int, ...],
    seeds: int = 8,
    reference_width: int | None = None,
    start: str = "nested",
    **options: Any,
) -> WidthPlan:
    """A study of widths; the reference is 16 times as wide as the widest, unless told otherwise.

    Raises
    ------
    ConfigError
        Widths out of order or larger than the reference, no seed, an unknown start; a landscape, which has no width, or initial
        particles from a file, which has those of one width; a learning rate that changes.
    """
    if config.measure is not None:
        raise ConfigError("measure must be left out of a width study, got one; it has no width")
    if config.landscape is not None:
        raise ConfigError(
            "landscape must be left out of a width study, got one; it has no width, a network on a task has"
        )
    if isinstance(config.learning_rate, tuple):
        raise ConfigError("learning_rate must be a number in a width study, got a schedule")
    if config.start is not None:
        raise ConfigError(
            f"start must be left out of a width study, got {config.start!r}, particles of one width"
        )
    if not config.network.init.build().any_width:
        raise ConfigError(
            f"network.init must be a law in a width study, got {config.network.init.name!r}, particles of one width"
        )
    if reference_width is None:
        reference_width = WIDER * max(widths, default=1)
    settings = {"widths": widths, "seeds": seeds, "reference_width": reference_width}
    try:
        section = WidthSection.model_validate({**settings, "start": start, **options})
    except ValidationError as error:
        raise ConfigError(*describe(error, WidthSection)) from None
    return WidthPlan(config, section)


def read_plan(folder: Path) -> WidthPlan | None:
    """The plan in a study's folder, None without one.

    Raises
    ------
    ConfigError
        ``study.toml`` is not the plan of a study.
    """
    path = folder / PLAN_NAME
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error}") from error
    try:
        tables = parse(decoded(content))
        width = tables.pop("width", None)
        if not isinstance(width, dict):
            raise ConfigError(f"{path} must be the plan of a width study, got no table [width]")
        return make_plan(load_stored(format_toml(tables)), **width)
    except ConfigError:
        raise
    except (ValueError, TypeError) as error:
        raise ConfigError(
            f"{path} must be the plan of a width study, got another file: {error}"
        ) from error


def _flat(tables: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in tables.items():
        if isinstance(value, dict):
            flat |= _flat(value, f"{prefix}{key}.")
        else:
            flat[prefix + key] = value
    return flat
