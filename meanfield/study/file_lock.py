"""The writer of a file and its readers take turns, so that what grows is never read half written."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

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
