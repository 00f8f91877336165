"""The source of a report: a run or a width study, finished or not."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from meanfield.study.config.toml import parse
from meanfield.study.storage.kind import kind_of, require_run
from meanfield.study.storage.schema import RunFileError, RunRecord
from meanfield.study.storage.study_record import STUDY_NAME, StudyRecord
from meanfield.study.storage.writer import read_run
from meanfield.study.width import read_study

# A POSIX or Windows path up to its last part; quoted paths may contain spaces.
ROOT = r"(?:[A-Za-z]:[\\/]|~?/|\\\\)"
FOLDERS = re.compile(
    rf"(?<=[\"']){ROOT}[^\"'\n]*[\\/]|(?<![\w./\\]){ROOT}(?:[^/\\\s'\"<>|]+[\\/]+)+"
)


def read_source(path: str | Path) -> RunRecord | StudyRecord:
    """A run, finished or not, or a width study, from its file or its folder; values missing in older files are NaN.

    Raises
    ------
    RunFileError
        There is no such file, or it cannot be read.
    """
    kind = kind_of(Path(path))
    if kind == "study":
        return read_study(path)
    if kind == "sweep":
        require_run(Path(path))
    if kind == "unfinished study":
        raise RunFileError(
            f"{path} must be a finished width study, got one without {STUDY_NAME}; `meanfield resume {path}` continues it, "
            f"`meanfield width --collect --out {path}` collects the finished runs"
        )
    return read_run(path)


def settings(config: str) -> dict[str, Any]:
    """The configuration as nested tables; empty if it is not TOML."""
    try:
        return parse(config)
    except ValueError:
        return {}


def json_attribute(attributes: dict[str, Any], name: str) -> dict[str, Any]:
    """An attribute that holds a JSON object; empty if it is missing or something else."""
    try:
        content = json.loads(attributes.get(name, ""))
    except (TypeError, ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}


def without_folders(text: str) -> str:
    """Text in which every path is reduced to its last part, as folders may reveal private names."""
    return FOLDERS.sub("", text)
