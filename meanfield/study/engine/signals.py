"""Stopping a run: by signals, and by its time limit."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

GRACE = 2.0  # seconds for a step to end before it is abandoned
AGAIN = 0.5  # seconds until an exception that was suppressed is raised again
LARGEST_MARGIN = 5.0  # seconds before the time limit
MAX_RUNTIME = "--max-runtime"
# the last one is EX_TEMPFAIL: try again later
EXIT_CODES = {"SIGINT": 130, "SIGTERM": 143, "SIGHUP": 129, MAX_RUNTIME: 75}


class Stopped(BaseException):
    """The run must stop; only the run itself catches it."""


class Interruption:
    """Whether and why a run must stop; checked between two steps, or within one that takes longer than `GRACE`.

    Attributes
    ----------
    reason : str or None
        Why it must stop: a key of `EXIT_CODES`.
    checkpoint_asked : bool
        Whether SIGUSR1 was received; reset when the checkpoint is written.
    """

    def __init__(self, max_runtime: float | None = None) -> None:
        self.reason: str | None = None
        self.checkpoint_asked = False
        self._deadline = None
        if max_runtime is not None:
            margin = min(LARGEST_MARGIN, 0.1 * max_runtime)
            self._deadline = time.monotonic() + max_runtime - margin
        self._shields = 0
        self._may_raise = False

    def begin(self) -> None:
        """Allow long steps to be abandoned; before, only `check` raises."""
        self._may_raise = True

    def noticed(self) -> str | None:
        """Why the run must stop, the time limit included; None if it need not."""
        if self._deadline is not None and time.monotonic() >= self._deadline:
            self.reason = self.reason or MAX_RUNTIME
        return self.reason

    def check(self) -> None:
        """Raise `Stopped` if the run must stop."""
        if self.noticed() is not None:
            raise Stopped

    @contextmanager
    def shielded(self) -> Iterator[None]:
        """Context in which no step is abandoned."""
        self._shields += 1
        try:
            yield
        finally:
            self._shields -= 1

    def finish(self) -> None:
        """Stop raising: the run is being closed."""
        self._may_raise = False

    def _stop(self, signum: int, frame: FrameType | None) -> None:
        again = self.reason is not None
        self.reason = self.reason or signal.Signals(signum).name
        if again and self._may_raise and not self._shields:
            raise Stopped  # a second signal stops at once
        _arm(GRACE, AGAIN)

    def _ask(self, signum: int, frame: FrameType | None) -> None:
        self.checkpoint_asked = True

    def _alarm(self, signum: int, frame: FrameType | None) -> None:
        if self.reason is None:  # time limit; the current step gets its grace period
            self.reason = MAX_RUNTIME
            _arm(GRACE, AGAIN)
        elif self._may_raise and not self._shields:
            raise Stopped


@contextmanager
def interruptible(max_runtime: float | None = None) -> Iterator[Interruption]:
    """Context in which SIGINT, SIGTERM, SIGHUP and the time limit stop a run, and SIGUSR1 requests a checkpoint.

    The first signal waits for `Interruption.check`, for `GRACE` seconds; then, or at a second signal, `Stopped` is raised where
    the run is, in the main thread, as soon as Python code is executed: not within a call of compiled code. Outside the main
    thread, where signals cannot be handled, only the time is checked.

    Parameters
    ----------
    max_runtime : float, optional
        Time limit in seconds from now; the run is stopped a tenth of it, but at most `LARGEST_MARGIN`, before its end.
    """
    interruption = Interruption(max_runtime)
    if threading.current_thread() is not threading.main_thread():
        yield interruption
        return
    handlers = dict.fromkeys(("SIGINT", "SIGTERM"), interruption._stop)
    if hasattr(signal, "SIGHUP") and signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        handlers["SIGHUP"] = interruption._stop  # unless it is ignored, as under nohup
    handlers |= {"SIGUSR1": interruption._ask, "SIGALRM": interruption._alarm}
    before: dict[int, Any] = {}
    for name, handler in handlers.items():
        if hasattr(signal, name):  # not available on every system
            signum = getattr(signal, name)
            before[signum] = signal.signal(signum, handler)
    if interruption._deadline is not None:
        _arm(max(1e-3, interruption._deadline - time.monotonic()), 0.0)
    try:
        yield interruption
    finally:
        interruption.finish()
        _arm(0.0, 0.0)
        for signum, handler in before.items():
            signal.signal(signum, handler)


def _arm(seconds: float, interval: float) -> None:
    if hasattr(signal, "setitimer"):
        signal.setitimer(signal.ITIMER_REAL, seconds, interval)
