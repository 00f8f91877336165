"""Advisory locks: writer and readers of a file take turns, and there is a single writer.

Where the file system has no locks (some NFS mounts) there is no waiting, and a warning is issued once: a reader then relies on
the other checks of `meanfield.study.storage.reader`, and two runs may write to one folder.
"""

from __future__ import annotations

import os
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from meanfield.study.storage.files.fault_tolerant import FaultTolerantFile, open_own

if sys.platform != "win32":
    import fcntl

PATIENCE = 10.0  # seconds to wait for a turn
WRITER_PATIENCE = 1.0  # for the writer: a notebook that keeps the file open must not delay it
WRITER_PAUSE = (
    10.0  # times as long without waiting afterwards: less, in seconds, than a reader keeps trying
)
NO_LOCKS = "the file system has no locks"
TICK = 0.02  # seconds within which two changes of a file may have the same timestamp
POLL = 0.001  # seconds between two tries


class _HasDescriptor(Protocol):
    def fileno(self) -> int: ...


@contextmanager
def turn(
    file: _HasDescriptor,
    exclusive: bool,
    patience: float | None = None,
    hurry: Callable[[], bool] = lambda: False,
) -> Iterator[bool]:
    """Context that holds the file's advisory lock, exclusively or shared; True if it is held.

    It is False if another process kept the lock for `patience` seconds (by default `PATIENCE`), or until `hurry`.
    Always True on systems without locks. The lock ends with the process, so a crash leaves nothing behind.
    """
    give_up = time.monotonic() + (PATIENCE if patience is None else patience)
    while not (held := _try_lock(file.fileno(), exclusive)):
        if hurry() or time.monotonic() >= give_up:
            break
        time.sleep(POLL)
    try:
        yield held
    finally:
        if held:
            _unlock(file.fileno())


class WriterTurns:
    """The turns of a file's writer.

    The writer waits for readers for `WRITER_PATIENCE` seconds, and not again before they release the lock or `WRITER_PAUSE`
    times as long has passed: otherwise successive readers would never find an unchanged file. Readers meanwhile detect the
    change by the modification time.

    Parameters
    ----------
    hurry : callable
        Whether the run is being stopped: then there is no waiting.
    """

    def __init__(self, hurry: Callable[[], bool]) -> None:
        self._hurry, self._waits_from, self._last = hurry, 0.0, 0.0

    @contextmanager
    def take(self, file: _HasDescriptor) -> Iterator[bool]:
        """The next turn, held or not."""
        patience = WRITER_PATIENCE if time.monotonic() >= self._waits_from else 0.0
        with turn(file, exclusive=True, patience=patience, hurry=self._hurry) as held:
            if held:
                self._waits_from = 0.0
            else:
                self._waits_from = max(self._waits_from, time.monotonic() + WRITER_PAUSE * patience)
                time.sleep(max(0.0, self._last + TICK - time.monotonic()))
            yield held
            self._last = time.monotonic()


def claim(path: Path) -> FaultTolerantFile | None:
    """A file, created if necessary, locked until it is closed or its process ends; None if another process has it locked."""
    while True:
        file = FaultTolerantFile(
            path, "r+b", opener=lambda name, flags: open_own(name, flags | os.O_CREAT)
        )
        if not _try_lock(file.fileno(), exclusive=True):
            file.close()
            return None
        if path.exists() and os.path.samestat(path.stat(), os.fstat(file.fileno())):
            return file
        file.close()  # it was replaced meanwhile


def is_locked(file: _HasDescriptor) -> bool:
    """Whether another process holds an exclusive lock; False where there are no locks."""
    if not _try_lock(file.fileno(), exclusive=False):
        return True
    _unlock(file.fileno())
    return False


def _try_lock(descriptor: int, exclusive: bool) -> bool:
    if sys.platform != "win32":
        try:
            fcntl.flock(descriptor, (fcntl.LOCK_EX if exclusive else fcntl.LOCK_SH) | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        except OSError as error:
            _say_that_there_are_none(error)
    return True


def has_no_locks() -> bool:
    """Whether a file system without locks was encountered."""
    return bool(_said)


_said: list[str] = []


def _say_that_there_are_none(error: OSError) -> None:
    """Warn once per process."""
    if not _said:
        _said.append(NO_LOCKS)  # first, as a warning may be turned into an error
        warnings.warn(
            f"{NO_LOCKS} ({error.strerror}): files are read and written without; only one process may write in a folder",
            stacklevel=2,
        )


def _unlock(descriptor: int) -> None:
    if sys.platform != "win32":
        try:
            fcntl.flock(descriptor, fcntl.LOCK_UN)
        except OSError:  # there was no lock to release
            return
