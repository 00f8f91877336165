"""Reading a file in a child process first, as a damaged file may make the HDF5 library hang or crash."""

from __future__ import annotations

import faulthandler
import math
import os
import signal
import sys
import warnings
from collections.abc import Callable
from pathlib import Path

from meanfield.study.storage.schema import RunFileError

SECONDS = 2  # of CPU time, more for large files; a small file takes hundredths of a second
BYTES_PER_SECOND = 10**8


def read_in_child(path: Path, read: Callable[[Path], object]) -> None:
    """Read a file, or the file in a folder, in a child process with limited time.

    On Windows, which has no fork, nothing is done.

    Other errors of the file are left to the reader.

    Raises
    ------
    RunFileError
        The child crashed, or took too long.
    """
    files = [path] if path.is_file() else [*path.glob("*.h5"), *path.glob("*.partial")]
    if sys.platform == "win32" or not files:
        return
    size = max((file.stat().st_size for file in files if file.is_file()), default=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about forking with threads; the child only reads
        child = os.fork()
    if child == 0:
        try:
            warnings.simplefilter("ignore")  # the parent issues the warnings
            limit_work(size)
            read(path)
        finally:
            os._exit(0)
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        ended = os.WTERMSIG(status)
        how = (
            f"takes over {_seconds(size)} s"
            if ended == signal.SIGXCPU
            else "crashes the HDF5 library"
        )
        raise RunFileError(f"{path}: damaged: reading it {how}")


def limit_work(size: int) -> None:
    """Limit the CPU time of this process to a few seconds, or longer for a large file, without a core dump."""
    import resource

    used = resource.getrusage(resource.RUSAGE_SELF)
    seconds = _seconds(size) + math.ceil(used.ru_utime + used.ru_stime)
    faulthandler.disable()
    signal.signal(signal.SIGXCPU, signal.SIG_DFL)
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds + 1))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _seconds(size: int) -> int:
    return SECONDS + size // BYTES_PER_SECOND
