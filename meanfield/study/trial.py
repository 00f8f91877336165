"""A run's file is read by a child process first: a damaged one may make the HDF5 library hang or crash."""

from __future__ import annotations

import faulthandler
import os
import signal
import sys
import warnings
from pathlib import Path

from meanfield.study.layout import RunFileError

SECONDS = 2  # of work, more for large files; a small one takes hundredths
BYTES_PER_SECOND = 10**8


def try_out(path: Path) -> None:
    """Read the file as `read_run` does, in a child process whose time is limited; on Windows, which has no fork, do nothing.

    What is wrong with the file in any other way is left for the reader to say.

    Raises
    ------
    RunFileError
        The child died of it, or took too long.
    """
    if sys.platform == "win32" or not path.is_file():
        return
    from meanfield.study import snapshots

    seconds = SECONDS + path.stat().st_size // BYTES_PER_SECOND
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # threads of others; the child only reads
        child = os.fork()
    if child == 0:
        _limit(seconds)
        try:
            snapshots.read_run(path)
        except BaseException:
            os._exit(0)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        ended = os.WTERMSIG(status)
        how = f"takes over {seconds} s" if ended == signal.SIGXCPU else "crashes the HDF5 library"
        raise RunFileError(f"{path}: damaged: reading it {how}")


def _limit(seconds: int) -> None:
    """Of this process: the seconds of work, after which the system ends it, and no dump of its memory."""
    import resource

    faulthandler.disable()
    signal.signal(signal.SIGXCPU, signal.SIG_DFL)
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds + 1))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
