"""What a sweep consists of: its combinations of values, the configurations and the folders of their runs."""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from meanfield.study.config.errors import ConfigError
from meanfield.study.config.run_config import RunConfig
from meanfield.study.config.stored import load_stored
from meanfield.study.storage.kind import SWEEP_NAME
from solvers._support.arguments import instance, refusal

SCHEMA, SCHEMA_VERSION = "meanfield-sweep", 1
MOST_RUNS = 100_000
LONGEST_FOLDER = 120  # characters
_STRANGE = re.compile(r"[^\w.+-]")  # what not every file system has in a name

Value = int | float | str | bool


@dataclass(frozen=True)
class SweepPlan:
    """A configuration and, for some of its keys, the values to be combined.

    `configs` are those of the runs by their names, which are those of their folders: ``learning_rate=0.5,seed=1``.
    """

    config: RunConfig
    over: Mapping[str, tuple[Value, ...]]
    configs: Mapping[str, RunConfig] = field(compare=False)
    values: Mapping[str, Mapping[str, Value]] = field(compare=False)

    def to_json(self, failures: Mapping[str, str]) -> str:
        """The text of ``sweep.json``: the plan, and what went wrong with which run."""
        about = {
            "schema": SCHEMA,
            "schema_version": SCHEMA_VERSION,
            "config": self.config.to_toml(),
            "over": {key: list(values) for key, values in self.over.items()},
            "failures": dict(failures),
        }
        return json.dumps(about, indent=2, ensure_ascii=False) + "\n"


def make_plan(config: RunConfig, over: Mapping[str, Any]) -> SweepPlan:
    """A sweep of a configuration over lists of values by key: ``{"learning_rate": [0.5, 1.0], "network.width": [64, 256]}``.

    Raises
    ------
    ConfigError
        A key or value that a configuration may not have; every error is reported.
    ValueError
        There are no keys or no values, a value twice, or too many combinations.
    """
    instance("config", config, RunConfig, "RunConfig.from_toml(path) reads a file")
    if not isinstance(over, Mapping) or not over or not all(isinstance(k, str) for k in over):
        raise refusal("over", "a dictionary of lists of values by key, of at least one", over)
    lists = {key: _values(key, values) for key, values in over.items()}
    runs = math.prod(map(len, lists.values()))
    if runs > MOST_RUNS:
        raise ValueError(f"over must have at most {MOST_RUNS} combinations, got {runs}")
    configs: dict[str, RunConfig] = {}
    combinations: dict[str, dict[str, Value]] = {}
    wrong: list[str] = []
    for chosen in product(*lists.values()):
        values = dict(zip(lists, chosen, strict=True))
        name = _name(values, combinations)
        combinations[name] = values
        try:
            configs[name] = config.replace(**values)
        except ConfigError as error:
            wrong += [line for line in error.lines if line not in wrong]
    if wrong:
        raise ConfigError(*wrong)
    return SweepPlan(config, lists, configs, combinations)


def read_plan(folder: Path) -> tuple[SweepPlan, dict[str, str]] | None:
    """The plan of a sweep's folder and what went wrong with which run; None where there is none.

    Raises
    ------
    ConfigError
        ``sweep.json`` is not the plan of a sweep.
    """
    path = folder / SWEEP_NAME
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read: {error}") from error
    try:
        about = json.loads(text)
        if about["schema"] != SCHEMA or about["schema_version"] > SCHEMA_VERSION:
            found = f"{about['schema']} {about['schema_version']}"
            raise ValueError(f"schema must be {SCHEMA} {SCHEMA_VERSION}, got {found}")
        plan = make_plan(load_stored(about["config"]), about["over"])
        failures = {str(name): str(why) for name, why in about["failures"].items()}
        return plan, failures
    except (LookupError, TypeError, ValueError, AttributeError, RecursionError) as error:
        raise ConfigError(f"{path}: not the plan of a sweep: {error}") from error


def _values(key: str, values: Any) -> tuple[Value, ...]:
    """Plain values, one or more, each once."""
    if isinstance(values, str | bytes | Mapping) or not np.iterable(values):
        raise refusal(f"over[{key!r}]", "a list of values", values)
    plain = tuple(value.item() if isinstance(value, np.generic) else value for value in values)
    for value in plain:
        if not isinstance(value, Value):
            raise refusal(f"over[{key!r}]", "a list of numbers, texts or truth values", value)
    if not plain or len(set(map(repr, plain))) < len(plain):
        raise refusal(f"over[{key!r}]", "a list of one or more values, each once", values)
    return plain


def _name(values: Mapping[str, Value], taken: Mapping[str, Any]) -> str:
    """Keys and values as the name of a folder; of one that is long or not plain with a digest at the end."""
    text = ",".join(f"{key}={value}" for key, value in values.items())
    name = ",".join(f"{key}={_STRANGE.sub('_', str(value))}" for key, value in values.items())
    if name == text and len(name) <= LONGEST_FOLDER and name not in taken:
        return name
    digest = hashlib.sha256(text.encode()).hexdigest()[:8]
    return f"{name[:LONGEST_FOLDER]}~{digest}"
