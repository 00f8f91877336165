"""The key ``start``: a snapshot of another run, as ``run.h5@400`` or ``run.h5@last:free_energy_flow``."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import NamedTuple

KEY = "start"
LAST = "last"
_NUMBER = re.compile(r"\d+(\.\d*)?(e[+-]?\d+)?")
_WAYS = "; as run.h5, run.h5@400, run.h5@last or run.h5@400:free_energy_flow"


class StoredStart(NamedTuple):
    """A snapshot of a run: path of its file or folder, time (None: the last), and process (None: gradient descent)."""

    path: Path
    time: float | None
    process: str | None


def split_start(text: object) -> tuple[str, str]:
    """The path in the text, and the rest, empty or beginning with "@"; an "@" before a separator of folders is one of the path.

    Raises
    ------
    ValueError
        It is no path with an optional time and process.
    """
    if not isinstance(text, str):
        raise _refused(text)
    path, at, rest = text.rpartition("@")
    if not at or "/" in rest or os.sep in rest:
        path, at, rest = text, "", LAST
    time, colon, process = rest.partition(":")
    is_time = time == LAST or _NUMBER.fullmatch(time) is not None
    if not path or "\0" in path or not is_time or (colon and not process):
        raise _refused(text)
    return path, at + rest if at else ""


def parsed_start(text: str) -> StoredStart:
    """The parts of the text.

    Raises
    ------
    ValueError
        As `split_start`.
    """
    path, rest = split_start(text)
    time, _, process = rest.removeprefix("@").partition(":")
    return StoredStart(Path(path), None if time in ("", LAST) else float(time), process or None)


def absolute_start(text: object) -> str | None:
    """The same with an absolute path, as a run may be resumed from another folder."""
    if text is None:
        return None
    path, rest = split_start(text)
    return f"{Path(path).absolute()}{rest}"


def anchored_start(text: object, folder: Path) -> object:
    """The same with a path relative to a folder; what is none is left to the validation."""
    try:
        path, rest = split_start(text)
    except ValueError:
        return text
    return f"{folder.absolute() / path}{rest}"


def _refused(text: object) -> ValueError:
    return ValueError(f"{KEY} must be a path with an optional @time, got {text!r:.200}{_WAYS}")
