"""Time in tests that run on machines which have other things to do.

A bound in seconds is one on what a process does and waits for by itself. Whether it gets a core at once is not up to it: those
seconds, which Linux counts, are left out. Other systems count them in.
"""

import threading
import time
from contextlib import contextmanager
from os import getpid
from pathlib import Path

#: Seconds after which something that is waited for hangs, on a machine however busy, compilation included. No bound on speed.
HANGS = 900.0
_POLL = 0.02


def waits_for_cores(process):
    """Seconds for which each process of a tree has waited for a core, by process id; of processes that are alive."""
    found = {}
    for pid in _tree(process):
        try:
            found[pid] = int(Path(f"/proc/{pid}/schedstat").read_text().split()[1]) * 1e-9
        except (OSError, IndexError):
            continue
    return found


def _tree(process):
    found = [process]
    for pid in found:
        try:
            for thread in Path(f"/proc/{pid}/task").iterdir():
                found += [int(child) for child in (thread / "children").read_text().split()]
        except OSError:
            continue
    return found


class Stopwatch:
    """Seconds of a process and what it has started, those left out in which one of them waited for a core.

    `seconds` is the last reading.
    """

    seconds = 0.0

    def __init__(self, process=None):
        self._process, self._lock = process or getpid(), threading.Lock()
        self._began, self._waited = time.monotonic(), waits_for_cores(self._process)
        self._lost = 0.0

    def read(self):
        """Seconds since the start; read it often where processes end, what they waited is forgotten with them."""
        with self._lock:
            waited = waits_for_cores(self._process)
            self._lost += sum(waited[pid] - self._waited.get(pid, 0.0) for pid in waited)
            self._waited |= waited
            self.seconds = max(0.0, time.monotonic() - self._began - self._lost)
            return self.seconds


@contextmanager
def stopwatch(process=None):
    """A `Stopwatch` that is read all the time, the last time at the end; of this process unless told otherwise."""
    watch, done = Stopwatch(process), threading.Event()

    def look():
        while not done.wait(_POLL):
            watch.read()

    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    try:
        yield watch
    finally:
        done.set()
        watch.read()
        thread.join()


def wait_until(condition, poll=0.02):
    """Wait for what must come; an AssertionError if it does not come at all."""
    give_up = time.monotonic() + HANGS
    while not (found := condition()):
        assert time.monotonic() < give_up
        time.sleep(poll)
    return found
