"""Truncates the file of an unfinished run to the rows of a checkpoint.

``python -m meanfield.study.storage.recovery PARTIAL``, with the rows as JSON on stdin: a separate process, because a
library may hang or crash on a damaged file. All changes are made in one transaction.
"""

from __future__ import annotations

import json
import sys
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import h5py

from meanfield.study.storage.datasets import NOT_STARTED, shorten
from meanfield.study.storage.files.fault_tolerant import FaultTolerantFile, open_own
from meanfield.study.storage.files.journal import JournaledFile, journal_path
from meanfield.study.storage.files.lock import WRITER_PATIENCE, turn
from meanfield.study.storage.files.sandbox import limit_work
from meanfield.study.storage.final_state import FINAL
from meanfield.study.storage.validation import require_plain


def take_back(path: Path, about: Mapping[str, Any]) -> None:
    """Remove the rows after a checkpoint, and everything else that is not in it.

    Parameters
    ----------
    path : Path
        A file with an empty journal.
    about : mapping
        `created` and `config` of the run; `rows`, for every process the counts of observables and snapshots; `ended`, of
        those that have ended, status and message; `new_config`, if the run is to continue with another configuration.

    Raises
    ------
    ValueError, OSError, KeyError, RuntimeError
        The file is damaged, not of this run, or has fewer rows; it is not changed.
    """
    with _own(path) as file, _own(journal_path(path)) as journal:
        raw = JournaledFile(file, journal)
        with h5py.File(raw, "r+", libver=("v110", "v110")) as content:
            require_plain(content)  # a link could lead to another file
            _take_back(content, about)
        with turn(raw, exclusive=True, patience=WRITER_PATIENCE):
            raw.commit()
        if raw.error is not None:
            raise raw.error


def _own(path: Path) -> FaultTolerantFile:
    return FaultTolerantFile(path, "r+b", opener=open_own)


def _take_back(file: h5py.File, about: Mapping[str, Any]) -> None:
    if file.attrs["created"] != about["created"] or file["config"].asstr()[()] != about["config"]:
        raise ValueError("the checkpoint must be of this run, got that of another")
    for name, (observables, snapshots) in about["rows"].items():
        group = file[name]
        shorten(group["observables"], observables)
        if "snapshots" in group:
            shorten(group["snapshots"], snapshots)
        status = dict(zip(NOT_STARTED, about["ended"].get(name, NOT_STARTED.values()), strict=True))
        group.attrs.update(status)
        if name not in about["ended"] and FINAL in group:
            del group[FINAL]
    if "comparison" in file:
        del file["comparison"]
    if "new_config" in about:
        file["config"][()] = about["new_config"]
    file.attrs.update({"status": "running", "message": ""})


def main() -> int:
    """Entry point; errors are printed on stderr."""
    path = Path(sys.argv[1])
    warnings.simplefilter("ignore")  # the parent issues the warnings
    try:
        if sys.platform != "win32":
            limit_work(path.stat().st_size)
        take_back(path, json.load(sys.stdin))
    except Exception as error:  # HDF5 and h5py raise nearly anything over a damaged file
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
