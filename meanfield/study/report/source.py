"""What a report is made from: a run or a width study, as far as it has come."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from meanfield.study.config.toml import parse
from meanfield.study.storage.kind import kind_of
from meanfield.study.storage.layout import RunFileError, RunRecord
from meanfield.study.storage.study_record import STUDY_NAME, StudyRecord
from meanfield.study.storage.writer import read_run
from meanfield.study.width import read_study

# The way to somewhere on a machine, POSIX's or Windows's, up to its last part; between quotes it may hold spaces.
ROOT = r"(?:[A-Za-z]:[\\/]|~?/|\\\\)"
FOLDERS = re.compile(
    rf"(?<=[\"']){ROOT}[^\"'\n]*[\\/]|(?<![\w./\\]){ROOT}(?:[^/\\\s'\"<>|]+[\\/]+)+"
)


def read_source(path: str | Path) -> RunRecord | StudyRecord:
    """A run, finished or not, or a width study, from its file or its folder; what an older file of a run lacks is NaN.

    Raises
    ------
    RunFileError
        There is no such file, or it cannot be read.
    """
    kind = kind_of(Path(path))
    if kind == "study":
        return read_study(path)
    if kind == "unfinished study":
        raise RunFileError(
            f"{path} must be a finished width study, got one without {STUDY_NAME}; `meanfield resume {path}` continues it, "
            f"`meanfield width --collect --out {path}` collects the finished runs"
        )
    return read_run(path)


def settings(config: str) -> dict[str, Any]:
    """The configuration as nested tables; none of what is no TOML."""
    try:
        return parse(config)
    except ValueError:
        return {}


def json_attribute(attributes: dict[str, Any], name: str) -> dict[str, Any]:
    """An attribute that holds a JSON object; nothing if it is not there or holds something else."""
    try:
        content = json.loads(attributes.get(name, ""))
    except (TypeError, ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}


def without_folders(text: str) -> str:
    """Text in which every path is reduced to its last part: where a file lay is nobody's business."""
    return FOLDERS.sub("", text)
