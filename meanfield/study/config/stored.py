"""Configurations that files and checkpoints keep."""

from __future__ import annotations

from meanfield.study.config.processes import former_scheme
from meanfield.study.config.run_config import RunConfig
from meanfield.study.config.toml import parse


def load_stored(text: str) -> RunConfig:
    """The configuration of a file or checkpoint; one that does not name its schemes used those that were the defaults before."""
    settings = parse(text)
    processes = settings.get("processes")
    for name, table in processes.items() if isinstance(processes, dict) else ():
        if isinstance(table, dict):
            table |= former_scheme(table.get("flow", name), table)
    return RunConfig(**settings)
