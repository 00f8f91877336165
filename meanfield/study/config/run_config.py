"""The configuration of a run: the keys of a TOML file, validated together."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import (
    AfterValidator,
    Field,
    PlainValidator,
    ValidationError,
    model_validator,
)

import solvers
from meanfield.study.config.derived import Section
from meanfield.study.config.errors import ConfigError, describe
from meanfield.study.config.limits import LONGEST_NAME, MAX_CONFIG, OWN_NAMES
from meanfield.study.config.measure.section import (
    MeasureSection,
    check_measure,
    keys_of_measure,
    named_terms,
)
from meanfield.study.config.optimizer import (
    check_models,
    check_optimizer,
    check_rates,
    check_warm_start,
    rule_of,
)
from meanfield.study.config.processes import Process
from meanfield.study.config.reading import DEFAULT_TASK, read_settings, table_in
from meanfield.study.config.sections import (
    DEFAULT_INIT,
    TASK_SECTIONS,
    Landscape,
    NetworkSection,
    OutputSection,
    RiskSection,
    Seed,
    Steps,
    Task,
)
from meanfield.study.config.settings import plain, require_shallow, set_key
from meanfield.study.config.start import absolute_start
from meanfield.study.config.toml import format_toml, parse, parse_value
from solvers._support.arguments import real, the_path
from solvers._support.reprs import described
from solvers.learning_rates import Schedule
from solvers.optimizer import Optimizer
from solvers.stepping import FEW

__all__ = ["ConfigError", "Process", "RunConfig", "load", "load_text"]

_NAME = re.compile(rf"[A-Za-z][A-Za-z0-9_]{{0,{LONGEST_NAME - 1}}}")
NETWORK_SECTIONS = {"task", "network", "risk"}
_DEFAULT_FLOWS = (solvers.GradientDescent, solvers.GradientFlow, solvers.FreeEnergyFlow)
DEFAULT_PROCESSES = tuple(flow.name for flow in _DEFAULT_FLOWS)


def check_process_name(argument: str, name: str) -> None:
    """Refuse a name that no process may have.

    Raises
    ------
    ValueError
    """
    try:
        _process_name(name)
    except ValueError as error:
        raise ValueError(f"{argument}: {error}") from None


def _process_name(name: str) -> str:
    if _NAME.fullmatch(name) is None:
        raise ValueError(
            f"the name must be of letters, digits and underscores, a letter first, {LONGEST_NAME} at most, "
            f"got {len(name)} characters, {name!r:.40}"
        )
    if name in OWN_NAMES:
        raise ValueError(
            f"the name must be other than {' and '.join(OWN_NAMES)}, which the file has itself, got {name!r}"
        )
    return name


def _learning_rate(value: object) -> float | tuple[tuple[int, float], ...]:
    """A number, or pairs (step, learning rate)."""
    if isinstance(value, list | tuple):
        return Schedule(value).learning_rate  # type: ignore[arg-type]
    return real("learning_rate", value, above=0)


class RunConfig(Section):
    """The configuration of a run: several processes from one start, of a network on a task or on a landscape, or a measure.

    The keys are those of a TOML file, with tables as dictionaries.

    A learning rate that changes is a list of pairs, each rate with the step from which on it holds:
    ``learning_rate=[[0, 0.1], [100, 1.0]]``.

    All keys have defaults, see ``docs/reference/configuration.md``. `steps` counts those of gradient descent, 0 measures the
    start alone. A configuration cannot be changed: `replace` makes another one.

    Parameters
    ----------
    seed : int
        Of the initial particles, and of everything random that is measured.
    learning_rate : float or list
        η > 0, or pairs [step, η] of a rate that changes.
    steps : int
        Iterations of gradient descent.
    optimizer : str, optional
        The process that the others model and are compared with, by default gradient descent: ``"heavy_ball"``, or the name of
        another process of an optimizer, whose table has its options.
    warm_start : int, optional
        Steps of the optimizer before its models begin.
    start : str, optional
        A snapshot of another run from which all processes start: ``"run.h5@400"``, that of gradient descent at time 400.
    task, network, risk, output : table
        What is minimized and what is kept.
    landscape : table
        A landscape in place of task, network and risk.
    measure : table
        A Wasserstein gradient flow in place of all of them and of the processes.
    processes : table
        The flows that are run, each under a name; a table may say ``flow = "…"``, by default its name.

    Raises
    ------
    ConfigError
        A key or value is not allowed; every error is reported, one line each.

    Examples
    --------
    >>> models = {"gradient_descent": {}, "free_energy_flow": {"delay": True}}
    >>> config = meanfield.RunConfig(network={"width": 400}, processes=models)
    >>> config.replace(steps=800, **{"network.width": 64}).network.width
    64
    >>> meanfield.RunConfig(learning_rte=0.5)
    Traceback (most recent call last):
    ...
    meanfield.study.config.errors.ConfigError: ...learning_rte...
    """

    seed: Seed = 0
    learning_rate: Annotated[Any, PlainValidator(_learning_rate)] = 1.0
    steps: Steps = 400
    optimizer: str | None = None
    warm_start: Steps | None = None
    start: Annotated[str | None, PlainValidator(absolute_start)] = None
    task: Task = TASK_SECTIONS[DEFAULT_TASK](name=DEFAULT_TASK)
    network: NetworkSection = NetworkSection()
    risk: RiskSection = RiskSection()
    landscape: Landscape | None = None
    measure: MeasureSection | None = None
    output: OutputSection = OutputSection()
    processes: Annotated[
        dict[Annotated[str, AfterValidator(_process_name)], Process], Field(min_length=1)
    ] = Field({})  # of a measure; others have some by default

    def __init__(self, /, **settings: Any) -> None:
        settings = _prepared(settings)
        try:
            super().__init__(**settings)
        except ValidationError as error:
            raise ConfigError(*describe(error, RunConfig, settings)) from None

    @classmethod
    def from_toml(cls, path: str | Path) -> Self:
        """The configuration in a TOML file, in which paths are relative to its folder.

        Raises
        ------
        ConfigError
            The file cannot be read, or a key or value is not allowed.
        """
        return cls(**read_settings(the_path("path", path)))

    @classmethod
    def default(cls) -> Self:
        """The configuration of ``meanfield run`` without a file: gradient descent and two of its models on real digits."""
        return cls()

    def replace(self, **changes: Any) -> Self:
        """A copy with other values of some keys: ``replace(steps=800, **{"network.width": 64})``.

        A key is the path of a value or of a table, which is then replaced as a whole. None stands for the default. Where a
        landscape is given, it takes the place of task, network and risk, and the reverse.

        Raises
        ------
        ConfigError
            A key or value is not allowed.
        """
        settings = self.model_dump(exclude_unset=True)
        problem = {key for key in changes if key in (*NETWORK_SECTIONS, "landscape")}
        if problem == {"landscape"} and changes["landscape"] is not None:
            settings = {key: settings[key] for key in settings if key not in NETWORK_SECTIONS}
        elif problem and "landscape" not in problem:
            settings.pop("landscape", None)
        if problem:
            settings.pop("measure", None)
        elif changes.get("measure") is not None:
            kept = ("seed", "learning_rate", "steps", "output")
            settings = {key: settings[key] for key in settings if key in kept}
        for key, value in changes.items():
            set_key(settings, key, value, "replace")
        return type(self)(**settings)

    @property
    def learning_rates(self) -> Schedule:
        """The learning rate by step; of one that does not change there is one."""
        if isinstance(self.learning_rate, tuple):
            return Schedule(self.learning_rate)
        return Schedule(((0, self.learning_rate),))

    @property
    def rule(self) -> Optimizer | None:
        """The optimizer that the processes model, with the first learning rate; None for gradient descent."""
        return rule_of(self.optimizer, self.processes, self.learning_rates.rates[0])

    @model_validator(mode="after")
    def _optimizer_fits(self) -> RunConfig:
        check_optimizer(self.optimizer, self.processes)
        check_models(self.processes, self.rule)
        check_rates(self.learning_rates, self.processes, self.rule)
        check_warm_start(self.warm_start or 0, self.steps)
        return self

    @model_validator(mode="after")
    def _measures_stand_alone(self) -> RunConfig:
        if self.measure is not None:
            check_measure(self)
        return self

    @model_validator(mode="after")
    def _one_problem(self) -> RunConfig:
        surplus = sorted(NETWORK_SECTIONS & self.model_fields_set)
        if self.landscape is not None and surplus:
            raise ValueError(
                f"landscape must be without {', '.join(surplus)}, got both; a run has either a landscape or a network on a task"
            )
        return self

    @model_validator(mode="after")
    def _landscapes_have_few_coordinates(self) -> RunConfig:
        if self.landscape is None or self.rule is not None:  # models of optimizers have one default
            return self
        if self.landscape.build().dimension <= FEW:
            for process in self.processes.values():
                process.on_few_coordinates()
        return self

    @model_validator(mode="after")
    def _fits_into_a_file(self) -> RunConfig:
        if (length := len(self.to_toml())) > MAX_CONFIG:
            raise ValueError(
                f"the settings must be of at most {MAX_CONFIG} characters with all defaults, got {length}"
            )
        return self

    def to_toml(self, *, with_problem: bool = True) -> str:
        """The complete configuration as TOML; `load_text` of this text gives the same one.

        Without the problem for a run on another objective.
        """
        if self.measure is not None:
            included = keys_of_measure(self)
            return format_toml(self.model_dump(exclude_none=True, include=included))
        unused = set() if self.landscape is None else NETWORK_SECTIONS
        if not with_problem:
            unused = {*NETWORK_SECTIONS, "landscape"}
        return format_toml(self.model_dump(exclude_none=True, exclude=unused))

    def __repr__(self) -> str:
        shown = {key: getattr(self, key) for key in ("learning_rate", "steps", "seed")}
        if self.measure is not None:
            shown |= {"measure": self.measure.space.name, "energy": list(self.measure.energy)}
            return described(type(self).__name__, shown.items())
        if self.landscape is not None:
            shown["landscape"] = self.landscape.name
        else:
            shown |= {"task": self.task.name, "width": self.network.width}
        return described(type(self).__name__, (shown | {"processes": list(self.processes)}).items())

    __str__ = __repr__


def load(path: str | Path | None = None, overrides: tuple[str, ...] = ()) -> RunConfig:
    """A configuration from a TOML file, or the default one, with overrides ``"section.key=value"``.

    Raises
    ------
    ConfigError
        The file cannot be read, or any key or value is not allowed; every error is reported.
    """
    return _config({} if path is None else read_settings(Path(path)), overrides)


def load_text(text: str) -> RunConfig:
    """A configuration from the text of a TOML; see `load`."""
    return _config(parse(text), ())


def _config(settings: dict[str, Any], overrides: tuple[str, ...]) -> RunConfig:
    if "measure" not in settings and not any(text.startswith("measure") for text in overrides):
        settings.setdefault("processes", _default_processes())
    for override in overrides:
        key, equals, value = override.partition("=")
        if not equals:
            raise ConfigError(f"--set must be section.key=value, got {override!r:.100}")
        set_key(settings, key, parse_value(value.strip()), "--set")
    return RunConfig(**settings)


def _default_processes() -> dict[str, Any]:
    return {flow: {} for flow in DEFAULT_PROCESSES}


def _prepared(settings: dict[str, Any]) -> dict[str, Any]:
    """A copy of the settings as plain values, with the defaults that select variants: the task is digits, the initial law
    normal, a flow has its own name.
    """
    require_shallow(settings)
    settings = plain(settings)
    if settings.get("measure") is None:
        settings.setdefault("processes", _default_processes())
    named_terms(settings.get("measure"))
    if isinstance(task := settings.get("task"), dict):
        task.setdefault("name", DEFAULT_TASK)
    if isinstance(init := table_in(settings, "network", "init"), dict):
        init.setdefault("name", DEFAULT_INIT)
    processes = settings.get("processes")
    for name, process in processes.items() if isinstance(processes, dict) else ():
        if isinstance(process, dict):
            process.setdefault("flow", name)
    return settings
