"""What a study is: the settings of a TOML file, checked all at once."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, Field, ValidationError, model_validator

from meanfield.study.config.errors import ConfigError, describe
from meanfield.study.config.limits import LONGEST_NAME, MAX_CONFIG, OWN_NAMES
from meanfield.study.config.processes import Process
from meanfield.study.config.sections import (
    DigitsTask,
    Landscape,
    NetworkSection,
    OutputSection,
    Positive,
    RiskSection,
    Section,
    Seed,
    Steps,
    Task,
)
from meanfield.study.config.toml import decoded, format_toml, parse, parse_value

__all__ = ["ConfigError", "Process", "RunConfig", "load", "load_text"]

_NAME = re.compile(rf"[A-Za-z][A-Za-z0-9_]{{0,{LONGEST_NAME - 1}}}")
MAX_BYTES = MAX_CONFIG  # of a TOML file
MAX_DEPTH = 8  # of tables and arrays in each other; a study has 3
_HDF5 = b"\x89HDF\r\n\x1a\n"
_INFO = "; `meanfield info {}` shows a run or a width study, and its configuration"
NETWORK_SECTIONS = {"task", "network", "risk"}
DEFAULT_PROCESSES = ("gradient_descent", "gradient_flow", "free_energy_flow")


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


class RunConfig(Section):
    """Several processes from one start; `steps` counts those of gradient descent, 0 measures the start alone.

    They minimise the risk of a network on a task or, where there is one, a landscape.
    """

    seed: Seed = 0
    learning_rate: Positive = 1.0
    steps: Steps = 400
    task: Task = DigitsTask()
    network: NetworkSection = NetworkSection()
    risk: RiskSection = RiskSection()
    landscape: Landscape | None = None
    output: OutputSection = OutputSection()
    processes: Annotated[
        dict[Annotated[str, AfterValidator(_process_name)], Process], Field(min_length=1)
    ]

    @model_validator(mode="after")
    def _one_problem(self) -> RunConfig:
        surplus = sorted(NETWORK_SECTIONS & self.model_fields_set)
        if self.landscape is not None and surplus:
            raise ValueError(
                f"landscape: {', '.join(surplus)} came too; a study has either a landscape or a network on a task"
            )
        return self

    @model_validator(mode="after")
    def _fits_into_a_file(self) -> RunConfig:
        if (length := len(self.to_toml())) > MAX_CONFIG:
            raise ValueError(
                f"the settings must be of at most {MAX_CONFIG} characters with all defaults, got {length}"
            )
        return self

    def to_toml(self) -> str:
        """The settings in full; `load_text` of this text gives the same study."""
        unused = set() if self.landscape is None else NETWORK_SECTIONS
        return format_toml(self.model_dump(exclude_none=True, exclude=unused))


def load(path: str | Path | None = None, overrides: tuple[str, ...] = ()) -> RunConfig:
    """A study from a TOML file, or the default study, with overrides ``"section.key=value"``.

    Raises
    ------
    ConfigError
        The file cannot be read, or any key or value is not allowed; every error is reported.
    """
    if path is None:
        return _config({}, overrides)
    path = Path(path)
    settings = _parsed(path)
    task = settings.get("task")
    if isinstance(task, dict) and isinstance(task.get("path"), str):
        task["path"] = str(path.parent.absolute() / task["path"])
    return _config(settings, overrides)


def _parsed(path: Path) -> dict[str, Any]:
    try:
        if path.exists() and not path.is_file():  # a pipe or a device may never come to an end
            what = "a folder" if path.is_dir() else "no regular file"
            raise ConfigError(f"{path}: must be a TOML file, got {what}{_INFO.format(path)}")
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
        if content.startswith(_HDF5):
            raise ConfigError(f"{path}: must be a TOML file, got HDF5{_INFO.format(path)}")
        if len(content) > MAX_BYTES:
            raise ConfigError(f"{path}: more than {MAX_BYTES} bytes came")
        return parse(decoded(content))
    except OSError as error:
        reason = "no such file" if isinstance(error, FileNotFoundError) else error.strerror
        raise ConfigError(f"{path}: {reason}") from error
    except ConfigError:
        raise
    except ValueError as error:
        raise ConfigError(f"{path}: not TOML: {error}") from error


def load_text(text: str) -> RunConfig:
    """A study from the text of a TOML; see `load`."""
    return _config(parse(text), ())


def _config(settings: dict[str, Any], overrides: tuple[str, ...]) -> RunConfig:
    settings.setdefault("processes", {flow: {} for flow in DEFAULT_PROCESSES})
    for override in overrides:
        _override(settings, override)
    _require_shallow(settings)
    _name_the_variants(settings)
    try:
        return RunConfig.model_validate(settings)
    except ValidationError as error:
        raise ConfigError(*describe(error, RunConfig)) from None


def _require_shallow(settings: dict[str, Any]) -> None:
    """Tables in tables by the thousand take all time and memory to complain about."""
    level: list[Any] = [settings]
    for _ in range(MAX_DEPTH + 1):
        level = [
            value
            for table in level
            for value in (table.values() if isinstance(table, dict) else table)
            if isinstance(value, dict | list)
        ]
    if level:
        raise ConfigError(f"tables and arrays in each other came, {MAX_DEPTH} deep is allowed")


def _override(settings: dict[str, Any], override: str) -> None:
    """Set ``a.b=value`` in nested tables; the value is TOML, or a string where it is not."""
    key, equals, value = override.partition("=")
    *sections, last = [part.strip() for part in key.split(".")]
    if not equals or not all([*sections, last]) or len(sections) > MAX_DEPTH:
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
