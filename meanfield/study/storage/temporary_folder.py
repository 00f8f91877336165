"""Folders that are there as long as somebody holds what is in them."""

from __future__ import annotations

import shutil
import tempfile
import weakref
from pathlib import Path
from typing import NoReturn, TypeVar

from solvers._support.arguments import the_path

T = TypeVar("T")


class TemporaryFolder:
    """A folder that is removed when nobody holds this any more."""

    def __init__(self) -> None:
        self.path = Path(tempfile.mkdtemp(prefix="meanfield-"))
        weakref.finalize(self, shutil.rmtree, self.path, ignore_errors=True)

    def __reduce__(self) -> NoReturn:
        raise TypeError(
            f"what is pickled must be in a folder that stays, got {self.path}, a temporary one; give it a folder: out=..."
        )


#: those that are there, by their paths: a run in one may go on
_held: weakref.WeakValueDictionary[Path, TemporaryFolder] = weakref.WeakValueDictionary()


def held(path: Path) -> TemporaryFolder | None:
    """The temporary folder of this path, if it is one."""
    return _held.get(path)


def output_folder(out: str | Path | None) -> tuple[Path, TemporaryFolder | None]:
    """The folder for results, a temporary one for None, and what is to be held as long as they are."""
    if out is not None:
        return the_path("out", out), None
    made = TemporaryFolder()
    _held[made.path] = made
    return made.path, made


def holding(record: T, folder: TemporaryFolder | None) -> T:
    """The record, which holds its temporary folder."""
    if folder is not None:
        object.__setattr__(record, "_folder", folder)
    return record
