"""The kind of a path given to a command."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from meanfield.study.storage.checkpoint import NAMES as CHECKPOINT_NAMES
from meanfield.study.storage.run_folder import PARTIAL_NAME
from meanfield.study.storage.schema import FILE_NAME
from meanfield.study.storage.study_file import is_study
from meanfield.study.storage.study_record import PLAN_NAME, STUDY_NAME

Kind = Literal["run", "study", "unfinished study", "sweep", "nothing"]
SWEEP_NAME = "sweep.json"
RUN_NAMES = (FILE_NAME, PARTIAL_NAME, *CHECKPOINT_NAMES)
HOME_NAMES = (*RUN_NAMES, STUDY_NAME, PLAN_NAME, SWEEP_NAME)  # files that stand for their folder


def kind_of(path: Path) -> Kind:
    """What a file or folder is: a run (finished, running or interrupted), a width study, an unfinished one, a sweep, or none.

    A folder is identified by the names in it. A file that is not a width study counts as a run; its reader checks it.

    Raises
    ------
    ValueError
        For a folder with both a run and a width study.
    """
    if not path.is_dir():
        if path.name == SWEEP_NAME:
            return "sweep"
        return "study" if is_study(path) else "run"
    is_run = any((path / name).is_file() for name in RUN_NAMES)
    if (path / STUDY_NAME).is_file():
        if is_run:
            raise ValueError(
                f"{path}: the folder must hold a run or a width study, got both; name the file"
            )
        return "study"
    if is_run:  # its configuration may have any name
        return "run"
    if (path / SWEEP_NAME).is_file():
        return "sweep"
    return "unfinished study" if (path / PLAN_NAME).is_file() else "nothing"


def folder_of(path: Path) -> Path:
    """The folder of a run or a width study, given its folder or file."""
    return path.parent if path.is_file() and path.name in HOME_NAMES else path


def require_run(path: Path) -> Path:
    """The path, unless it is that of a width study or a sweep.

    Raises
    ------
    ValueError
    """
    kind = kind_of(path)
    if kind == "sweep":
        raise ValueError(
            f"path must be a run, got the sweep {path}; each of its runs is a folder, and sweep.csv is the table of all"
        )
    if "study" in kind:
        folder = folder_of(path)
        raise ValueError(
            f"path must be a run, got the width study {path}; `meanfield info {folder}` and `meanfield report {folder}` show it, "
            f"and each of its runs is a file, as {folder / 'reference' / FILE_NAME}"
        )
    return path
