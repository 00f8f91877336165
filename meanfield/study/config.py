"""What a study is: the settings of a TOML file, checked all at once."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from meanfield.networks import ACTIVATIONS
from meanfield.study.config_errors import ConfigError, describe
from meanfield.study.toml import format_toml, parse_value

Count = Annotated[int, Field(ge=1)]
Seed = Annotated[int, Field(ge=0)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NonNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Fraction = Annotated[float, Field(ge=0, le=1)]
if TYPE_CHECKING:
    Activation = str
else:
    Activation = Literal[ACTIVATIONS]
ProcessName = Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9_]*$")]


class Section(BaseModel):
    """A table of the TOML: every key known, every value of the very type asked for."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class DigitsTask(Section):
    """The 8x8 digits, see `meanfield.tasks.digits`."""

    name: Literal["digits"] = "digits"
    n: Annotated[int, Field(ge=1, le=1797)] = 300
    target: Literal["parity", "classes"] = "parity"
    seed: Seed = 0


class NoisyDigitsTask(Section):
    """Digits with wrong labels, see `meanfield.tasks.noisy_digits`."""

    name: Literal["noisy_digits"]
    n: Annotated[int, Field(ge=1, le=1797)] = 300
    target: Literal["parity", "classes"] = "parity"
    fraction: Fraction = 0.1
    seed: Seed = 0


class TeacherStudentTask(Section):
    """Targets of a random narrow network, see `meanfield.tasks.teacher_student`."""

    name: Literal["teacher_student"]
    n: Count = 200
    input_dim: Count = 10
    teacher_width: Count = 4
    activation: Activation = "tanh"
    noise: NonNegative = 0.0
    seed: Seed = 0


class NpzTask(Section):
    """Arrays of an .npz file, see `meanfield.tasks.from_npz`.

    A relative path in a TOML file starts at the file's folder.
    """

    name: Literal["npz"]
    path: str


class NetworkSection(Section):
    """The two-layer network; its dimensions are those of the task."""

    width: Count = 400
    activation: Activation = "tanh"
    bias: bool = True


class RiskSection(Section):
    """The risk, see `meanfield.Risk`."""

    loss: Literal["squared", "logistic", "softmax"] = "squared"
    weight_decay: NonNegative = 0.0
    dtype: Literal["float64", "float32"] = "float64"


class OutputSection(Section):
    """What is measured and kept, and how often, in steps."""

    snapshot_every: Count = 50
    sharpness_every: Count = 10
    eigenvalues: Count = 1
    compression: Literal["none", "gzip"] = "none"
    snapshot_dtype: Literal["float64", "float32"] = "float64"


class GradientDescentProcess(Section):
    """Gradient descent; it has no options, one step is one iteration."""

    flow: Literal["gradient_descent"] = "gradient_descent"


class _FlowProcess(Section):
    """What every continuous-time flow may say about its time stepping."""

    integrator: Literal["euler", "midpoint", "rk4", "adaptive"] | None = None
    dt: Annotated[float, Field(gt=0, le=1)] | None = None
    rtol: Positive | None = None
    atol: Positive | None = None

    @model_validator(mode="after")
    def _fixed_or_adaptive(self) -> _FlowProcess:
        adaptive = self.integrator == "adaptive"
        if self.dt is not None and abs(1 / self.dt - round(1 / self.dt)) > 1e-9:
            raise ValueError(f"dt: {self.dt} came, one step over a whole number is needed")
        if adaptive and self.dt is not None:
            raise ValueError("dt: not used by integrator 'adaptive', which has rtol and atol")
        if not adaptive and (self.rtol is not None or self.atol is not None):
            raise ValueError("rtol, atol: only integrator 'adaptive' uses them")
        return self


class GradientFlowProcess(_FlowProcess):
    """Gradient flow, see `solvers.GradientFlow`."""

    flow: Literal["gradient_flow"]


class FreeEnergyFlowProcess(_FlowProcess):
    """Free-energy flow, see `solvers.FreeEnergyFlow`."""

    flow: Literal["free_energy_flow"]
    closure: Literal["endpoint", "taylor"] = "endpoint"
    growth: Literal["linear", "exact"] = "linear"
    rank: Count = 1
    fluctuation_floor: NonNegative = 0.0


Task = Annotated[
    DigitsTask | NoisyDigitsTask | TeacherStudentTask | NpzTask, Field(discriminator="name")
]
Process = Annotated[
    GradientDescentProcess | GradientFlowProcess | FreeEnergyFlowProcess,
    Field(discriminator="flow"),
]
DEFAULT_PROCESSES = ("gradient_descent", "gradient_flow", "free_energy_flow")


class Study(Section):
    """Several processes on one task from one start; `steps` counts those of gradient descent."""

    seed: Seed = 0
    learning_rate: Positive = 1.0
    steps: Count = 400
    task: Task = DigitsTask()
    network: NetworkSection = NetworkSection()
    risk: RiskSection = RiskSection()
    output: OutputSection = OutputSection()
    processes: Annotated[dict[ProcessName, Process], Field(min_length=1)]

    @field_validator("processes")
    @classmethod
    def _names_are_free(cls, processes: dict[str, Any]) -> dict[str, Any]:
        if "comparison" in processes:
            raise ValueError(
                "comparison: the name is taken, by the group that compares the processes"
            )
        return processes

    def to_toml(self) -> str:
        """The settings in full; `load_text` of this text gives the same study."""
        return format_toml(self.model_dump(exclude_none=True))


def load(path: str | Path | None = None, overrides: tuple[str, ...] = ()) -> Study:
    """A study from a TOML file, or the default study, with overrides ``"section.key=value"``.

    Raises
    ------
    ConfigError
        The file cannot be read, or any key or value is not allowed; every error is reported.
    """
    if path is None:
        return _study({}, overrides)
    path = Path(path)
    try:
        settings = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        reason = "no such file" if isinstance(error, FileNotFoundError) else "not a text file"
        raise ConfigError(f"{path}: {reason}") from error
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path}: not TOML: {error}") from error
    task = settings.get("task")
    if isinstance(task, dict) and isinstance(task.get("path"), str):
        task["path"] = str(path.parent.absolute() / task["path"])
    return _study(settings, overrides)


def load_text(text: str) -> Study:
    """A study from the text of a TOML; see `load`."""
    return _study(tomllib.loads(text), ())


def _study(settings: dict[str, Any], overrides: tuple[str, ...]) -> Study:
    settings.setdefault("processes", {flow: {} for flow in DEFAULT_PROCESSES})
    for override in overrides:
        _override(settings, override)
    _name_the_variants(settings)
    try:
        return Study.model_validate(settings)
    except ValidationError as error:
        raise ConfigError(*describe(error, Study)) from None


def _override(settings: dict[str, Any], override: str) -> None:
    """Set ``a.b=value`` in nested tables; the value is TOML, or a string where it is not."""
    key, equals, value = override.partition("=")
    *sections, last = [part.strip() for part in key.split(".")]
    if not equals or not all([*sections, last]):
        raise ConfigError(f"--set: {override!r} came, section.key=value is needed")
    table: Any = settings
    for section in sections:
        table = table.setdefault(section, {})
        if not isinstance(table, dict):
            raise ConfigError(f"--set: {override!r} came, {section!r} is not a section")
    table[last] = parse_value(value.strip())


def _name_the_variants(settings: dict[str, Any]) -> None:
    """The two defaults that choose a variant: the task is digits, a process's flow its name."""
    task = settings.get("task")
    if isinstance(task, dict):
        task.setdefault("name", "digits")
    processes = settings["processes"]
    for name, process in processes.items() if isinstance(processes, dict) else ():
        if isinstance(process, dict):
            process.setdefault("flow", name)
