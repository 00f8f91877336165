"""Who may touch a file: its writer and its readers take turns, and there is one writer only."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from meanfield.study.guarded_file import GuardedFile, open_own

if sys.platform != "win32":
    import fcntl

PATIENCE = 10.0  # seconds to wait for a turn
POLL = 0.001  # seconds between two tries


class _HasDescriptor(Protocol):
    def fileno(self) -> int: ...


@contextmanager
def turn(file: _HasDescriptor, exclusive: bool) -> Iterator[bool]:
    """Hold the file's advisory lock, alone or with other readers; True if it is held.

    It is False if somebody else kept the lock for `PATIENCE` seconds: a reader that hangs must not stop a run. Systems without
    locks always answer True. The lock goes with the process, so a crash leaves nothing behind.
    """
    give_up = time.monotonic() + PATIENCE
    while not (held := _try_lock(file.fileno(), exclusive)) and time.monotonic() < give_up:
        time.sleep(POLL)
    try:
        yield held
    finally:
        if held:
            _unlock(file.fileno())


def claim(path: Path) -> GuardedFile | None:
    """A file, made if need be, locked until it is closed or its process ends; None if somebody else has it locked."""
    while True:
        file = GuardedFile(
            path, "r+b", opener=lambda name, flags: open_own(name, flags | os.O_CREAT)
        )
        if not _try_lock(file.fileno(), exclusive=True):
            file.close()
            return None
        if path.exists() and os.path.samestat(path.stat(), os.fstat(file.fileno())):
            return file
        file.close()  # it was replaced in this very moment


def _try_lock(descriptor: int, exclusive: bool) -> bool:
    if sys.platform != "win32":
        try:
            fcntl.flock(descriptor, (fcntl.LOCK_EX if exclusive else fcntl.LOCK_SH) | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        except OSError:  # a file system that has no locks
            return True
    return True


def _unlock(descriptor: int) -> None:
    if sys.platform != "win32":
        try:
            fcntl.flock(descriptor, fcntl.LOCK_UN)
        except OSError:  # nor did it have one to take
            return
