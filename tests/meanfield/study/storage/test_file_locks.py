"""Readers that keep a run's file open do not hold up the run; where there are no locks everything works without."""

import errno
import fcntl
import os
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from functools import partial

import h5py
import numpy as np
import pytest

import meanfield
from meanfield.study.config.run_config import load
from meanfield.study.engine.prepared_run import Options
from meanfield.study.engine.resume import resume
from meanfield.study.engine.run import run
from meanfield.study.storage import reader
from meanfield.study.storage import writer as snapshots
from meanfield.study.storage.checkpoint import NAMES
from meanfield.study.storage.files import lock as file_lock
from meanfield.study.storage.files.lock import TICK, WRITER_PATIENCE, WRITER_PAUSE, WriterTurns
from meanfield.study.storage.schema import RunFileError
from meanfield.study.storage.writer import read_run
from tests.helpers.clocks import HANGS
from tests.helpers.same_runs import assert_same
from tests.helpers.written_runs import GD, write_at, writer_of
from tests.meanfield.study.cli.test_cli import meanfield_command, settings


class Clock:
    """Time that passes in sleep only."""

    def __init__(self):
        self.now, self.slept = 1000.0, 0.0

    def monotonic(self):
        return self.now

    def sleep(self, seconds):
        self.now, self.slept = self.now + seconds, self.slept + seconds


@pytest.fixture
def clock(monkeypatch):
    made = Clock()
    monkeypatch.setattr(file_lock, "time", made)
    return made


@contextmanager
def kept(path, how=fcntl.LOCK_SH):
    """Somebody has the file open, as a notebook does."""
    with open(path, "rb") as other:
        fcntl.flock(other, how)
        yield


# --- a reader that keeps the file ----------------------------------------------------------------


def test_the_writer_waits_for_a_second_now_and_then(tmp_path, clock):
    path = tmp_path / "file"
    path.touch()
    turns = WriterTurns(hurry=lambda: False)

    def waited(file):
        before = clock.slept
        with turns.take(file) as held:
            pass
        clock.now += 1.0  # the next commit comes later
        return held, clock.slept - before

    with open(path, "r+b") as file:
        assert waited(file) == (True, 0.0)
        with kept(path):
            held, seconds = waited(file)
            assert not held and seconds == pytest.approx(WRITER_PATIENCE, abs=2 * TICK)
            assert [waited(file) for _ in range(5)] == [(False, 0.0)] * 5
            clock.now += WRITER_PAUSE
            assert waited(file)[1] == pytest.approx(WRITER_PATIENCE, abs=2 * TICK)
            assert waited(file) == (False, 0.0)
        assert waited(file) == (True, 0.0)
        with kept(path):  # another one is waited for again
            assert waited(file)[1] == pytest.approx(WRITER_PATIENCE, abs=2 * TICK)


def test_in_a_hurry_nobody_is_waited_for(tmp_path, clock):
    path = tmp_path / "file"
    path.touch()
    with open(path, "r+b") as file, kept(path):
        with WriterTurns(hurry=lambda: True).take(file) as held:
            assert not held
        assert clock.slept == 0.0
        asked_after = clock.now + 0.25  # the signal comes while it waits
        with WriterTurns(hurry=lambda: clock.now >= asked_after).take(file) as held:
            assert not held
        assert clock.slept == pytest.approx(0.25, abs=2 * TICK)


def test_commits_without_a_turn_have_times_of_their_own(tmp_path, clock):
    """So that a reader sees that there was one."""
    path = tmp_path / "file"
    path.touch()
    turns, times = WriterTurns(hurry=lambda: True), []
    with open(path, "r+b") as file, kept(path):
        for _ in range(5):
            with turns.take(file):
                times.append(clock.now)
    assert np.all(np.diff(times) >= TICK * (1 - 1e-9))


@pytest.mark.parametrize(
    "signum", [signal.SIGTERM, pytest.param(signal.SIGINT, marks=pytest.mark.slow)]
)
def test_a_run_whose_file_is_kept_stops_at_once(
    tmp_path, small, small_run, monkeypatch, clock, signum
):
    """At every moment from the first step on; nothing is lost."""
    monkeypatch.setattr(snapshots, "ROWS_PER_WRITE", 1)

    def progress(what, done, total):
        if (what, done) == ("gradient_flow", 2):
            others.append(open(tmp_path / "run.h5.partial", "rb"))  # noqa: SIM115
            fcntl.flock(others[0], fcntl.LOCK_SH)
            signal.raise_signal(signum)

    others = []
    record = read_run(run(load(None, small), tmp_path, options=Options(progress=progress)))
    others[0].close()
    assert clock.slept < 1.0  # ticks only
    flow = record.processes["gradient_flow"]
    assert flow.message == "interrupted after step 2"
    np.testing.assert_array_equal(flow.observables["time"], np.arange(3))
    assert_same(resume(tmp_path), small_run)


@pytest.mark.parametrize(
    "how", [fcntl.LOCK_EX, pytest.param(fcntl.LOCK_SH, marks=pytest.mark.slow)]
)
def test_a_run_whose_file_is_kept_all_the_time_ends_as_any_other(
    tmp_path, small, small_run, monkeypatch, clock, how
):
    others = []

    def progress(what, done, total):
        if not others:
            others.append(open(tmp_path / "run.h5.partial", "rb"))  # noqa: SIM115
            fcntl.flock(others[0], how)

    monkeypatch.setattr(snapshots, "ROWS_PER_WRITE", 1)
    path = run(load(None, small), tmp_path, options=Options(progress=progress))
    others[0].close()
    assert clock.slept < WRITER_PATIENCE + 50 * TICK
    assert_same(path, small_run)


@pytest.mark.parametrize("how", ["h5py", "xarray"])
@pytest.mark.slow
def test_a_notebook_that_has_the_file_open_does_not_hold_up_the_command(tmp_path, small, how):
    """How long it waits is counted above, by a clock that no busy machine moves."""
    with meanfield_process(
        "run", tmp_path, small, "steps=1000000", "output.sharpness_every=1000"
    ) as process:
        path = tmp_path / "run.h5.partial"
        wait_until(lambda: rows_of(path) > 3, process)
        opened = open_as(how, path)
        try:
            process.send_signal(signal.SIGTERM)
            assert process.wait(timeout=HANGS) == 143
        finally:
            opened.close()
    descent = read_run(tmp_path / "run.h5").processes["gradient_descent"]
    np.testing.assert_array_equal(
        descent.observables["time"], np.arange(len(descent.observables["time"]))
    )
    assert set(NAMES) <= set(os.listdir(tmp_path))
    done = meanfield_command("resume", tmp_path, "--no-figures", "--max-runtime", "1s")
    assert done.exit_code == 75, done.output
    after = read_run(tmp_path / "run.h5").processes["gradient_descent"].observables
    np.testing.assert_array_equal(after["time"], np.arange(len(after["time"])))
    n = len(descent.observables["time"])
    assert len(after["time"]) >= n
    np.testing.assert_array_equal(after["train_loss"][:n], descent.observables["train_loss"])


@contextmanager
def meanfield_process(command, out, small, *changes):
    flags = [change for change in changes if change.startswith("--")]
    changed = [change for change in changes if not change.startswith("--")]
    program = "from meanfield.study.cli.app import main; main()"
    process = subprocess.Popen(
        [sys.executable, "-c", program, command, "--out", out, "--no-figures", *flags,
         *settings(small, *changed)],
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        wait_until((out / "run.h5.partial").exists, process)
        yield process
    finally:
        process.kill()
        process.communicate()


def wait_until(condition, process):
    give_up = time.monotonic() + HANGS
    while not condition():
        assert process.poll() is None, process.stderr.read()
        assert time.monotonic() < give_up
        time.sleep(0.02)


def rows_of(partial):
    with meanfield.Result.open(partial) as result:
        return len(result["gradient_descent"].observables["time"])


def open_as(how, path):
    """HDF5 does not wait for a turn, but for the next try of whoever sits at the notebook."""
    open_file = h5py.File
    if how == "xarray":
        open_file = partial(pytest.importorskip("xarray").open_datatree, engine="h5netcdf")
    while True:
        try:
            return open_file(path)
        except BlockingIOError:
            time.sleep(0.01)


# --- a read in whose midst the file is changed ---------------------------------------------------


def test_what_was_changed_while_it_was_read_is_read_again(tmp_path, monkeypatch):
    """By a writer that did not wait, as in a hurry."""
    monkeypatch.setattr(snapshots, "ROWS_PER_WRITE", 1)
    with writer_of(tmp_path) as writer:
        writer._turns = WriterTurns(hurry=lambda: True)
        write_at(writer, GD, 0)
        with meanfield.Result.open(tmp_path) as result:
            seen = []

            def read(file):
                rows = len(file[f"{GD}/observables/time"])
                seen.append(rows)
                if len(seen) < 4:
                    write_at(writer, GD, rows)  # between one dataset and the next
                return rows, len(file[f"{GD}/observables/train_loss"])

            assert result._reader.read(read) == (4, 4)
            assert seen == [1, 2, 3, 4]


def test_a_file_that_never_rests_is_given_up(tmp_path, monkeypatch):
    monkeypatch.setattr(snapshots, "ROWS_PER_WRITE", 1)
    monkeypatch.setattr(reader, "TRIES", 0.2)
    with writer_of(tmp_path) as writer:
        writer._turns = WriterTurns(hurry=lambda: True)
        with meanfield.Result.open(tmp_path) as result:
            count = iter(range(10**6))
            with pytest.raises(RunFileError, match="it changed during every attempt to read it"):
                result._reader.read(lambda file: write_at(writer, GD, next(count)))


# --- no locks ------------------------------------------------------------------------------------


@pytest.fixture(
    params=[
        "ENOLCK",
        *(
            pytest.param(code, marks=pytest.mark.slow)
            for code in ("EOPNOTSUPP", "ENOSYS", "EINVAL")
        ),
    ]
)
def no_locks(request, monkeypatch):
    """A file system without locks, as this process sees it; HDF5's own are another matter."""
    code = getattr(errno, request.param)

    def flock(descriptor, operation):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(fcntl, "flock", flock)
    monkeypatch.setattr(file_lock, "_said", [])


@pytest.mark.filterwarnings("default:the file system has no locks")
def test_without_locks_runs_and_readers_work(tmp_path, no_locks, small, small_run):
    with pytest.warns(UserWarning, match="the file system has no locks") as said:
        path = run(load(None, small), tmp_path)
        record = read_run(path)
        with meanfield.Result.open(tmp_path) as result:
            assert list(result) == list(record.processes)
    assert len(said) == 1
    assert_same(path, small_run)


@pytest.mark.filterwarnings("default:the file system has no locks")
def test_without_locks_a_reader_still_sees_whole_rows(tmp_path, no_locks, monkeypatch):
    monkeypatch.setattr(snapshots, "ROWS_PER_WRITE", 1)
    with writer_of(tmp_path) as writer, meanfield.Result.open(tmp_path) as result:
        for t in range(5):
            write_at(writer, GD, t)
            assert len(result.refresh()[GD].observables["time"]) == t + 1


# What the C library says to HDF5 cannot be changed from Python: files that it opens itself must be opened without its locks.
NO_LOCKS = """
import errno, fcntl, os
import h5py
def flock(descriptor, operation):
    raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))
fcntl.flock = flock
opened = h5py.File.__init__
def checked(self, name, mode="r", driver=None, libver=None, userblock_size=None, swmr=False, rdcc_nslots=None,
            rdcc_nbytes=None, rdcc_w0=None, track_order=None, fs_strategy=None, fs_persist=False, fs_threshold=1,
            fs_page_size=None, page_buf_size=None, min_meta_keep=0, min_raw_keep=0, locking=None, **more):
    if isinstance(name, str | bytes | os.PathLike) and locking is not False:
        raise OSError(errno.ENOLCK, "unable to lock file, errno = 37, error message = 'No locks available'")
    kept = {key: value for key, value in locals().items() if key not in ("self", "name", "more") and value is not None}
    opened(self, name, **kept, **more)
h5py.File.__init__ = checked
"""


@pytest.mark.slow
def test_all_commands_agree_without_locks(tmp_path, small_run):
    """And each says so in one line."""
    (tmp_path / "sitecustomize.py").write_text(NO_LOCKS)
    out = tmp_path / "out"
    out.mkdir()
    environment = os.environ | {"PYTHONPATH": f"{tmp_path}:{os.environ.get('PYTHONPATH', '')}"}
    file = str(small_run)
    for arguments in (
        ["info", file],
        ["compare", file, "--no-figure"],
        ["distance", file, file],
        ["report", file, "--out", str(out / "report.html")],
        ["plot", file, "--out", str(out)],
        ["plot", file, "--out", str(out), "--animate", GD],
    ):
        done = subprocess.run(
            [sys.executable, "-c", "from meanfield.study.cli.app import main; main()", *arguments],
            env=environment, capture_output=True, text=True, timeout=HANGS,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        assert done.stderr.count("no locks") == 1, (arguments, done.stderr)
        assert "warning: the file system has no locks (No locks available)" in done.stderr
