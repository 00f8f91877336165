"""The stopwatch of the tests: what it counts and what it leaves out."""

import os
import shutil
import subprocess
import sys
import time
from types import SimpleNamespace

import pytest

from tests.helpers import clocks
from tests.helpers.clocks import Stopwatch, stopwatch, waits_for_cores

counted = pytest.mark.skipif(
    not waits_for_cores("self") or shutil.which("taskset") is None,
    reason="needs Linux and taskset",
)
SPIN = "import time\nend = time.process_time() + {seconds}\nwhile time.process_time() < end: pass"


def spin(seconds):
    end = time.process_time() + seconds
    while time.process_time() < end:
        pass


def test_sleep_and_work_are_counted():
    with stopwatch() as watch:
        time.sleep(0.2)
        spin(0.2)
        subprocess.run([sys.executable, "-c", SPIN.format(seconds=0.2)], check=True)
    assert watch.seconds >= 0.5  # 0.6 but for the last look at the other process


def test_waiting_for_a_core_is_not(monkeypatch):
    """Of the process and of what it has started; what one that has ended waited stays left out."""
    now, waits = 100.0, {1: 5.0}
    monkeypatch.setattr(clocks, "time", SimpleNamespace(monotonic=lambda: now))
    monkeypatch.setattr(clocks, "waits_for_cores", lambda process: dict(waits))
    watch = Stopwatch(1)
    assert watch.read() == 0.0
    now, waits = 103.0, {1: 6.0, 2: 0.5}
    assert watch.read() == 1.5
    now, waits = 104.0, {1: 6.5}
    assert watch.read() == watch.seconds == 2.0


@counted
@pytest.mark.slow
def test_linux_counts_what_a_process_waits_for_a_core():
    """Beside one that takes all it can get of the same core."""
    on_one_core = ["taskset", "-c", str(min(os.sched_getaffinity(0))), sys.executable, "-c"]
    endless = subprocess.Popen([*on_one_core, "print(flush=True)\nwhile True: pass"], stdout=-1)
    try:
        endless.stdout.read(1)
        begin = time.monotonic()
        process = subprocess.Popen([*on_one_core, SPIN.format(seconds=0.5)])
        watch = Stopwatch(process.pid)
        while process.poll() is None:
            seconds = watch.read()
            time.sleep(0.01)
        elapsed = time.monotonic() - begin
    finally:
        endless.kill()
        endless.communicate()
    assert 0.4 < seconds < elapsed - 0.2
