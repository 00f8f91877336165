"""How a run is stopped from outside: by signals, and by the time it may take."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

GRACE = 2.0  # seconds that a step has to end by itself before it is abandoned
AGAIN = 0.5  # seconds until an exception that somebody swallowed is raised once more
LARGEST_MARGIN = 5.0  # seconds before the end of the time allowed
MAX_RUNTIME = "--max-runtime"
# the last one is EX_TEMPFAIL: try again later
EXIT_CODES = {"SIGINT": 130, "SIGTERM": 143, "SIGHUP": 129, MAX_RUNTIME: 75}


class Stopped(BaseException):
    """The run is to stop; nothing but the run itself catches it."""


class Interruption:
    """Whether a run is to stop, and why; it is noticed between two steps, or in the midst of one that takes longer than `GRACE`.

    Attributes
    ----------
    reason : str or None
        Why it is to stop: a key of `EXIT_CODES`.
    checkpoint_asked : bool
        Whether SIGUSR1 came; whoever writes the checkpoint sets it back.
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
        """From here on a step that takes long may be abandoned; before, nothing is raised but by `check`."""
        self._may_raise = True

    def noticed(self) -> str | None:
        """Why the run is to stop, if it is: also because its time is over."""
        if self._deadline is not None and time.monotonic() >= self._deadline:
            self.reason = self.reason or MAX_RUNTIME
        return self.reason

    def check(self) -> None:
        """Raise `Stopped` if the run is to stop."""
        if self.noticed() is not None:
            raise Stopped

    @contextmanager
    def shielded(self) -> Iterator[None]:
        """Within it no step is abandoned: what is done here is done in full."""
        self._shields += 1
        try:
            yield
        finally:
            self._shields -= 1

    def finish(self) -> None:
        """From here on nothing is raised any more: the run is being closed."""
        self._may_raise = False

    def _stop(self, signum: int, frame: FrameType | None) -> None:
        again = self.reason is not None
        self.reason = self.reason or signal.Signals(signum).name
        if again and self._may_raise and not self._shields:
            raise Stopped  # somebody who asks twice does not want to wait
        _arm(GRACE, AGAIN)

    def _ask(self, signum: int, frame: FrameType | None) -> None:
        self.checkpoint_asked = True

    def _alarm(self, signum: int, frame: FrameType | None) -> None:
        if self.reason is None:  # the time is over; the step that is under way gets its grace
            self.reason = MAX_RUNTIME
            _arm(GRACE, AGAIN)
        elif self._may_raise and not self._shields:
            raise Stopped


@contextmanager
def interruptible(max_runtime: float | None = None) -> Iterator[Interruption]:
    """Within it SIGINT, SIGTERM, SIGHUP and the end of the time allowed stop a run, and SIGUSR1 asks for a checkpoint.

    The first signal waits for `Interruption.check`, for `GRACE` seconds; then, or at a second signal, `Stopped` is raised where
    the run is, in the main thread, as soon as Python gets there: not from within a call of compiled code. Outside the main
    thread, where signals cannot be handled, only the time is looked at.

    Parameters
    ----------
    max_runtime : float, optional
        Seconds from now on by which the run is to have ended; it is stopped a tenth of it before, but at most `LARGEST_MARGIN`.
    """
    interruption = Interruption(max_runtime)
    if threading.current_thread() is not threading.main_thread():
        yield interruption
        return
    handlers = dict.fromkeys(("SIGINT", "SIGTERM"), interruption._stop)
    if hasattr(signal, "SIGHUP") and signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        handlers["SIGHUP"] = interruption._stop  # unless nohup has it ignored
    handlers |= {"SIGUSR1": interruption._ask, "SIGALRM": interruption._alarm}
    before: dict[int, Any] = {}
    for name, handler in handlers.items():
        if hasattr(signal, name):  # not every system has them all
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
