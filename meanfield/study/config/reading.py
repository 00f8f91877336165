"""Reading a TOML file of settings; its paths are relative to its folder."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from meanfield import tasks
from meanfield.initializers import INITIALIZERS
from meanfield.study.config.derived import path_keys
from meanfield.study.config.errors import ConfigError
from meanfield.study.config.limits import MAX_CONFIG
from meanfield.study.config.measure.laws import LAWS
from meanfield.study.config.measure.section import DEFAULT_LAW
from meanfield.study.config.sections import DEFAULT_INIT
from meanfield.study.config.start import anchored_start
from meanfield.study.config.toml import decoded, parse

DEFAULT_TASK = "digits"
MAX_BYTES = MAX_CONFIG  # of a TOML file
_HDF5 = b"\x89HDF\r\n\x1a\n"
_INFO = "; `meanfield info {}` shows a run or a width study, and its configuration"


def read_settings(path: Path) -> dict[str, Any]:
    """The tables of a file; its paths are relative to its folder."""
    settings = _parsed(path)
    if "start" in settings:
        settings["start"] = anchored_start(settings["start"], path.parent)
    _anchor_paths(settings.get("task"), DEFAULT_TASK, tasks.TASKS, path.parent)
    _anchor_paths(table_in(settings, "network", "init"), DEFAULT_INIT, INITIALIZERS, path.parent)
    _anchor_paths(table_in(settings, "measure", "initial"), DEFAULT_LAW, LAWS, path.parent)
    return settings


def _anchor_paths(
    table: Any, default: str, known: Mapping[str, Callable[..., Any]], folder: Path
) -> None:
    """Make the relative paths of a file's table relative to its folder; those of overrides are relative to the current one."""
    if not isinstance(table, dict):
        return
    name = table.get("name", default)
    is_known = isinstance(name, str) and name in known
    for key in path_keys(known[name]) if is_known else ["path"]:
        if isinstance(table.get(key), str):
            table[key] = str(folder.absolute() / table[key])


def table_in(settings: dict[str, Any], name: str, key: str) -> Any:
    """A table in a table; None without one."""
    table = settings.get(name)
    return table.get(key) if isinstance(table, dict) else None


def _parsed(path: Path) -> dict[str, Any]:
    try:
        if path.exists() and not path.is_file():  # a pipe or a device may never end
            what = "a folder" if path.is_dir() else "no regular file"
            raise ConfigError(f"{path} must be a TOML file, got {what}{_INFO.format(path)}")
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
        if content.startswith(_HDF5):
            raise ConfigError(f"{path} must be a TOML file, got HDF5{_INFO.format(path)}")
        if len(content) > MAX_BYTES:
            raise ConfigError(f"{path} must have at most {MAX_BYTES} bytes, got more")
        return parse(decoded(content))
    except OSError as error:
        reason = "no such file" if isinstance(error, FileNotFoundError) else error.strerror
        raise ConfigError(f"{path}: {reason}") from error
    except ConfigError:
        raise
    except ValueError as error:
        raise ConfigError(f"{path}: invalid TOML: {error}") from error
