"""The stopwatch of the tests: what it counts and what it leaves out."""

import os
import shutil
import subprocess
import sys
import time

import pytest

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


@counted
def test_waiting_for_a_core_is_not():
    """Two processes on one core: each waits half of the time."""
    core = str(min(os.sched_getaffinity(0)))
    command = ["taskset", "-c", core, sys.executable, "-c", SPIN.format(seconds=0.5)]
    begin = time.monotonic()
    processes = [subprocess.Popen(command) for _ in range(2)]
    watch = Stopwatch(processes[0].pid)
    while processes[0].poll() is None:
        seconds = watch.read()
        time.sleep(0.01)
    elapsed = time.monotonic() - begin
    processes[1].wait()
    assert seconds < 0.85 < elapsed
