"""Signals and the time allowed: what a run does about them, and how the command ends."""

import os
import signal
import threading
import time

import numpy as np
import pytest

import solvers
from meanfield.study.cli._running import seconds
from meanfield.study.config.run_config import load
from meanfield.study.engine import signals as interrupt
from meanfield.study.engine.checkpointing import Schedule
from meanfield.study.engine.prepared_run import Options
from meanfield.study.engine.resume import resume
from meanfield.study.engine.run import run
from meanfield.study.engine.signals import Stopped, interruptible
from meanfield.study.storage.checkpoint import NAMES, Checkpoints
from meanfield.study.storage.writer import read_run
from tests.helpers.clocks import HANGS, wait_until
from tests.helpers.same_runs import assert_same
from tests.meanfield.study.cli.test_cli import assert_refused, meanfield_command, settings


@pytest.fixture
def impatient(monkeypatch):
    monkeypatch.setattr(interrupt, "GRACE", 0.1)


# --- the handlers --------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
def test_the_first_signal_waits_and_the_second_does_not(name):
    signum = getattr(signal, name)
    before = signal.getsignal(signum)
    with interruptible() as interruption:
        interruption.begin()
        interruption.check()
        signal.raise_signal(signum)
        with pytest.raises(Stopped):
            interruption.check()
        with pytest.raises(Stopped):
            signal.raise_signal(signum)
        with interruption.shielded():
            signal.raise_signal(signum)  # what must not be broken off is not
        assert interruption.reason == name
    assert signal.getsignal(signum) is before
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)


def test_a_step_that_takes_long_is_abandoned(impatient, monkeypatch):
    alarms, alarm = [], interrupt.Interruption._alarm
    monkeypatch.setattr(
        interrupt.Interruption, "_alarm", lambda *it: (alarms.append(it), alarm(*it))
    )
    with interruptible() as interruption:
        interruption.begin()
        with interruption.shielded():
            signal.raise_signal(signal.SIGTERM)
            wait_until(lambda: alarms)  # what is shielded goes on
        for _ in range(2):  # the second time as if somebody had swallowed it: it comes again
            with pytest.raises(Stopped):
                time.sleep(HANGS)
        interruption.finish()
        signal.raise_signal(signal.SIGALRM)  # nothing is raised while a run is closed


def test_the_grace_of_a_step(monkeypatch):
    asked = []
    monkeypatch.setattr(signal, "setitimer", lambda which, *times: asked.append(times))
    with interruptible() as interruption:
        interruption.begin()
        signal.raise_signal(signal.SIGTERM)
        assert asked == [(interrupt.GRACE, interrupt.AGAIN)] == [(2.0, 0.5)]
    assert asked[-1] == (0.0, 0.0)


def test_the_end_of_the_time_allowed(impatient):
    with interruptible(max_runtime=HANGS) as interruption:
        interruption.begin()
        interruption.check()
    with interruptible(max_runtime=0.2) as interruption:
        with pytest.raises(Stopped):
            interruption.begin()
            time.sleep(HANGS)
        assert interruption.reason == "--max-runtime"


def test_a_signal_asks_for_a_checkpoint():
    with interruptible() as interruption:
        interruption.begin()
        signal.raise_signal(signal.SIGUSR1)
        assert interruption.checkpoint_asked
        interruption.check()


def test_outside_the_main_thread_there_are_no_signals_but_there_is_the_time():
    found = []

    def prepared():
        with interruptible(max_runtime=1e-3) as interruption:
            interruption.begin()
            wait_until(interruption.noticed)
            try:
                interruption.check()
            except Stopped:
                found.append(interruption.reason)

    thread = threading.Thread(target=prepared)
    thread.start()
    thread.join()
    assert found == ["--max-runtime"]


# --- runs ----------------------------------------------------------------------------------------


def steps_of_checkpoints(folder, small, schedule, signum=None):
    """After every step of gradient descent, the step of the newest checkpoint."""
    found = []

    def progress(what, done, total):
        if what == "gradient_descent":
            position = Checkpoints(folder).load().position
            found.append(None if position is None else position.state.step)
            if signum is not None and done == 3:
                signal.raise_signal(signum)

    run(load(None, small), folder, options=Options(schedule, progress=progress))
    return found


@pytest.mark.slow
@pytest.mark.essential
def test_checkpoints_come_when_they_are_due(tmp_path, small):
    """Seen before the one that is due after the same step."""
    never = Schedule(seconds=1e9)
    assert steps_of_checkpoints(tmp_path / "a", small, never) == [None] * 7
    every = Schedule(seconds=1e9, steps=2)
    assert steps_of_checkpoints(tmp_path / "b", small, every) == [None, None, None, 2, 2, 4, 4]
    always = Schedule(seconds=1e-9)
    assert steps_of_checkpoints(tmp_path / "c", small, always) == [None, 0, 1, 2, 3, 4, 5]
    asked = steps_of_checkpoints(tmp_path / "d", small, never, signal.SIGUSR1)
    assert asked == [None, None, None, None, 3, 3, 3]
    for schedule, condition in (
        ({"seconds": 0.0}, "above 0, got 0.0"),
        ({"steps": 0}, "an integer of at least 1, got 0"),
    ):
        with pytest.raises(ValueError, match=f"^checkpoint_(seconds|every) must be {condition}"):
            Schedule(**schedule)


def test_a_run_is_stopped_in_the_midst_of_a_long_step(
    tmp_path, small, small_run, monkeypatch, impatient
):
    """The state before the step is kept, and so is every row before it."""
    step = solvers.GradientDescent.step

    def slow(flow, objective, at, state):
        if at == 3:
            os.kill(os.getpid(), signal.SIGTERM)
            for _ in range(10**9):  # longer than anybody waits
                state = step(flow, objective, at, state)
        return step(flow, objective, at, state)

    with monkeypatch.context() as patch:
        patch.setattr(solvers.GradientDescent, "step", slow)
        record = read_run(run(load(None, small), tmp_path))
    descent = record.processes["gradient_descent"]
    assert descent.message == "interrupted after step 3"
    np.testing.assert_array_equal(descent.observables["time"], np.arange(4))
    assert_same(resume(tmp_path), small_run)


def test_a_run_is_stopped_in_the_midst_of_a_measurement(
    tmp_path, small, small_run, monkeypatch, impatient
):
    find = solvers.top_eigenpairs

    def slow(objective, x, **options):
        if calls.append(x) or len(calls) == 2:
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(HANGS)
        return find(objective, x, **options)

    calls = []
    with monkeypatch.context() as patch:
        patch.setattr(solvers, "top_eigenpairs", slow)
        record = read_run(run(load(None, small), tmp_path))
    descent = record.processes["gradient_descent"]
    assert descent.message == "interrupted after step 2"
    np.testing.assert_array_equal(descent.observables["time"], np.arange(3))
    assert_same(resume(tmp_path), small_run)


# --- the command ---------------------------------------------------------------------------------


class SlowSteps:
    """A clock on which every step takes 100 s, and nothing else takes any time."""

    now = 0.0

    def monotonic(self):
        return self.now

    def step(self, *_):
        self.now += 100.0


def test_a_run_ends_before_the_queue_ends_it(tmp_path, small, monkeypatch):
    """And goes on, as often as it takes."""
    clock = SlowSteps()
    monkeypatch.setattr(interrupt, "time", clock)
    monkeypatch.setattr("meanfield.study.engine.progress.ProgressBars.__call__", clock.step)
    more = ["--no-figures", "--max-runtime"]
    long = settings(small, "steps=100000", "output.sharpness_every=1000")

    def times():
        descent = read_run(tmp_path / "run.h5").processes["gradient_descent"]
        return descent.observables["time"]

    result = meanfield_command("run", "--out", tmp_path, *long, *more, "20m")
    assert result.exit_code == 75, result.output
    assert f"stopped by --max-runtime; `meanfield resume {tmp_path}` continues it" in result.stderr
    done = times()
    assert meanfield_command("resume", tmp_path, *more, "1000s").exit_code == 75
    assert len(times()) > len(done) >= 11  # 1195 s and 995 s
    np.testing.assert_array_equal(times(), np.arange(len(times())))
    assert_refused(meanfield_command("run", "--out", tmp_path, *long), "meanfield resume")


def test_resume_ends_as_run_does(tmp_path, small, small_run, monkeypatch):
    def stop(self, what, done, total):
        if (what, done) == ("gradient_flow", 2):
            signal.raise_signal(signal.SIGTERM)

    with monkeypatch.context() as patch:
        patch.setattr("meanfield.study.engine.progress.ProgressBars.__call__", stop)
        result = meanfield_command("run", "--out", tmp_path, "--no-figures", *settings(small))
    assert result.exit_code == 143
    assert "gradient_flow: interrupted after step 2" in result.stderr
    assert set(NAMES) <= set(os.listdir(tmp_path))
    result = meanfield_command("resume", tmp_path, "--no-figures")
    assert result.exit_code == 0, result.output
    assert "gradient_flow" in result.stdout and result.stderr == ""
    assert_same(tmp_path / "run.h5", small_run)
    result = meanfield_command("resume", tmp_path)
    assert (result.exit_code, result.stdout) == (0, "")
    assert "this run has ended" in result.stderr


def test_what_cannot_be_resumed_is_refused(tmp_path):
    assert_refused(
        meanfield_command("resume", tmp_path / "none"),
        "must be the folder of a run, got no such folder",
    )
    assert_refused(
        meanfield_command("resume", tmp_path), "must hold a run that can be resumed, got none"
    )
    (tmp_path / NAMES[0]).write_bytes(b"meanfield checkpoint\nrubbish")
    assert_refused(meanfield_command("resume", tmp_path), "checkpoint-0: damaged")


@pytest.mark.parametrize(
    ("text", "expected"),
    [("90", 90), ("0.5", 0.5), ("1h30m", 5400), ("2h", 7200), ("90s", 90), ("1m1s", 61)],
)
def test_times(text, expected):
    assert seconds(text) == expected


@pytest.mark.parametrize("text", ["", "0", "-1", "inf", "nan", "1d", "m", "1h 2m", "30m1h"])
def test_times_that_are_none(tmp_path, text):
    with pytest.raises(ValueError, match="--max-runtime must be a time above 0, "):
        seconds(text)
    result = meanfield_command("run", "--out", tmp_path / "out", f"--max-runtime={text}")
    assert_refused(result, "--max-runtime")
    assert not (tmp_path / "out").exists()
