"""Processes that do jobs: one of them raises, one is killed, the others go on."""

import os
import signal
import subprocess
import sys
from contextlib import suppress

import pytest

from meanfield.study.engine.signals import Interruption
from meanfield.study.width.workers import Job, available_cores, do_jobs
from tests.helpers.clocks import HANGS, wait_until


def job(name, *arguments):
    """A job that runs some Python."""
    return Job(name, run_code, arguments)


def run_code(code, path, report):
    exec(code, {"path": path, "report": report})


@pytest.mark.slow
@pytest.mark.essential
def test_jobs_that_fail_are_named_and_the_others_are_done(tmp_path):
    write = "import os; open(path, 'w').write(os.environ['NUMBA_NUM_THREADS'] + os.environ['OMP_NUM_THREADS'])"
    jobs = [
        job("raises", "raise ValueError('seven')", None),
        job("dies", "import os, signal; os.kill(os.getpid(), signal.SIGKILL)", None),
        job("leaves", "import os; os._exit(3)", None),
        *(job(f"writes {i}", write, str(tmp_path / str(i))) for i in range(3)),
    ]
    done = []
    before = dict(os.environ)
    failures = do_jobs(
        jobs, 2, 3, lambda name, fraction: done.append((name, fraction)), Interruption()
    )
    assert failures == {
        "raises": "ValueError: seven",
        "dies": "its worker died (killed by SIGKILL)",
        "leaves": "its worker died (exit code 3)",
    }
    assert {name for name, fraction in done if fraction == 1.0} >= {f"writes {i}" for i in range(3)}
    assert [(tmp_path / str(i)).read_text() for i in range(3)] == ["31"] * 3
    assert dict(os.environ) == before


def test_progress_is_reported():
    heard = []
    do_jobs(
        [job("slow", "report(0.5)", None)],
        1,
        1,
        lambda *at: heard.append(at),
        Interruption(),
    )
    assert heard == [("slow", 0.5), ("slow", 1.0)]


def test_a_wish_for_a_checkpoint_is_handed_on(tmp_path):
    wait_for_it = """
import signal, time
heard = []
signal.signal(signal.SIGUSR1, lambda *signal: heard.append(signal))
report(0.5)
while not heard:
    time.sleep(0.01)
open(path, "w").write("heard")
"""
    interruption = Interruption()

    def report(name, fraction):
        interruption.checkpoint_asked = fraction == 0.5

    jobs = [job("waits", wait_for_it, str(tmp_path / "waits"))]
    assert do_jobs(jobs, 1, 1, report, interruption) == {}
    assert (tmp_path / "waits").read_text() == "heard" and not interruption.checkpoint_asked


def test_no_jobs_take_no_processes():
    assert do_jobs([], 4, 1, print, Interruption()) == {}


def test_cores_are_those_that_may_be_used(monkeypatch):
    monkeypatch.delenv("NUMBA_NUM_THREADS", raising=False)
    cores = available_cores()
    assert 1 <= cores <= os.cpu_count()
    for asked, expected in (("1", 1), ("100000", cores), ("none", cores), ("0", cores)):
        monkeypatch.setenv("NUMBA_NUM_THREADS", asked)
        assert available_cores() == expected


SLEEPER = """
import sys
from meanfield.study.engine.signals import Interruption
from meanfield.study.width.workers import Job, do_jobs
from tests.meanfield.study.width.test_workers import job
if __name__ == "__main__":
    code = "import os, time; open(path, 'w').write(str(os.getpid())); time.sleep(10**6)"
    do_jobs([job("sleeps", code, sys.argv[1])], 1, 1, print, Interruption())
"""


@pytest.mark.parametrize(
    "kind",
    [
        signal.SIGKILL,
        pytest.param(signal.SIGINT, marks=[pytest.mark.slow, pytest.mark.essential]),
    ],
)
def test_no_worker_outlives_its_parent(tmp_path, kind):
    path, worker = tmp_path / "pid", None
    parent = subprocess.Popen([sys.executable, "-c", SLEEPER, str(path)], stderr=subprocess.DEVNULL)
    try:
        wait_until(lambda: path.exists() and path.read_text())
        worker = int(path.read_text())
        parent.send_signal(kind)
        parent.wait(timeout=HANGS)
        wait_until(lambda: not is_alive(worker))
    finally:
        parent.kill()
        parent.wait()
        if worker is not None:
            with suppress(ProcessLookupError):
                os.kill(worker, signal.SIGKILL)


def is_alive(pid):
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rsplit(")")[-1].split()[0] != "Z"
    except FileNotFoundError:
        return False
