"""Atomic writing of files: they are complete or absent."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from meanfield.study.storage.schema import OutputError


@contextmanager
def written_whole(path: Path, ending: str = "") -> Iterator[Path]:
    """Context with a temporary file beside `path`, which becomes `path` at the end and is removed after an error.

    Parameters
    ----------
    path : Path
        Its folder is created if necessary.
    ending : str
        Ending of the temporary name, for libraries that infer the format from it.

    Raises
    ------
    OutputError
        No space left, or no permission.
    """
    partial = path.with_name(f"{path.name}.{os.getpid()}.partial{ending}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            yield partial
            os.replace(partial, path)
        finally:
            partial.unlink(missing_ok=True)
    except OSError as error:
        raise OutputError(f"{path}: cannot write: {error.strerror or error}") from error


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file, and wait until it has reached the disk. Errors as for `written_whole`."""
    with written_whole(path) as partial, partial.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
