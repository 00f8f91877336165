"""Runs that are killed, that fill the disk, that meet one another: nothing is lost, and what cannot be is refused."""

import json
import os
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

import meanfield
from meanfield.study.config.run_config import load
from meanfield.study.engine.checkpointing import Schedule
from meanfield.study.engine.prepared_run import Options
from meanfield.study.engine.resume import resume
from meanfield.study.engine.run import run
from meanfield.study.storage.checkpoint import NAMES, Checkpoints
from meanfield.study.storage.run_folder import FolderInUseError, RunFolder
from meanfield.study.storage.schema import OutputError
from meanfield.study.storage.writer import read_run
from tests.helpers.clocks import HANGS, stopwatch, wait_until
from tests.helpers.same_runs import assert_same
from tests.meanfield.study.conftest import SMALL

COMMAND = [sys.executable, "-c", "from meanfield.study.cli.app import main; main()"]
THREADS = ("NUMBA_NUM_THREADS", "OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS")


@pytest.fixture(scope="session")
def small_run(tmp_path_factory):
    return run(load(None, SMALL), tmp_path_factory.mktemp("undisturbed"))


def crash(folder, kills, at, problem, threads="1", seed=0):
    command = [sys.executable, "-m", "tests.faults.crashes", str(folder), "--at", at]
    command += ["--kills", str(kills), "--problem", problem, "--seed", str(seed)]
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        timeout=HANGS,
        env=os.environ
        | dict.fromkeys(THREADS, threads)
        | {"PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.slow
@pytest.mark.essential
@pytest.mark.parametrize("at", ["write", "random"])
def test_killed_and_resumed_it_is_the_run_that_was_not(tmp_path, at):
    counts = crash(tmp_path, 2, at, "landscape")
    assert counts["killed"] == 2 and counts["equal"] == counts["runs"] >= 1


@pytest.mark.slow
@pytest.mark.parametrize("threads", ["1", "2"])
@pytest.mark.parametrize("at", ["write", "random"])
def test_many_kills_of_networks(tmp_path, at, threads):
    counts = crash(tmp_path, 10, at, "network", threads, seed=int(threads))
    assert counts["killed"] == 10 and counts["equal"] == counts["runs"] >= 3
    assert counts["rows left"] > 0


def start(out, *more):
    arguments = [part for setting in (*SMALL, *more) for part in ("--set", setting)]
    process = subprocess.Popen(
        [
            *COMMAND,
            "run",
            "--out",
            str(out),
            "--no-figures",
            "--checkpoint-seconds=0.2",
            *arguments,
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
    )

    def is_under_way():
        assert process.poll() is None
        return all((out / name).exists() for name in (*NAMES, "run.h5.partial"))

    wait_until(is_under_way)
    return process


@pytest.mark.slow
@pytest.mark.essential
def test_a_process_at_work_holds_its_folder_and_leaves_it_when_told(tmp_path):
    out = tmp_path / "out"
    process = start(out, "steps=1000000", "output.sharpness_every=1000")
    try:
        with pytest.raises(FolderInUseError, match="another process is running there"):
            run(load(None, SMALL), out, force=True)
        with pytest.raises(FolderInUseError, match="another process is running there"):
            resume(out)
        process.send_signal(signal.SIGUSR1)
        with meanfield.Result.open(out) as result:
            assert result.status == "running"
    finally:
        with stopwatch() as watch:
            process.send_signal(signal.SIGTERM)
            _, errors = process.communicate(timeout=HANGS)
    assert watch.seconds < 5
    assert process.returncode == 143 and "Traceback" not in errors
    assert "stopped by SIGTERM" in errors
    assert set(os.listdir(out)) == {"run.h5", *NAMES}
    with RunFolder(out):
        pass  # nobody holds it any more
    assert set(os.listdir(out)) == {"run.h5", *NAMES}


FULL = """
import resource, sys
from meanfield.study.config.run_config import load
from meanfield.study.engine.checkpointing import Schedule
from meanfield.study.storage.schema import OutputError
from meanfield.study.engine.run import run
from meanfield.study.engine.prepared_run import Options
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]),) * 2)
try:
    run(load(None, tuple(sys.argv[3:])), sys.argv[1], options=Options(Schedule(steps=1)))
except OutputError as error:
    print(error)
"""


@pytest.mark.slow
@pytest.mark.essential
@pytest.mark.parametrize("room", [pytest.param(40_000, marks=pytest.mark.slow), 110_000])
def test_a_full_disk_stops_a_run_that_goes_on_once_there_is_room(tmp_path, small_run, room):
    out, more = tmp_path / "out", ("output.snapshot_every=1", "output.sharpness_every=1")
    done = subprocess.run(
        [sys.executable, "-c", FULL, str(out), str(room), *SMALL, *more],
        capture_output=True,
        text=True,
        timeout=HANGS,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert "File too large" in done.stdout and f"meanfield resume {out}" in done.stdout, done
    expected = run(load(None, (*SMALL, *more)), tmp_path / "expected")
    assert room < expected.stat().st_size
    assert_same(resume(out), expected)


def test_a_folder_in_which_nothing_can_be_written_is_one_clear_error(tmp_path):
    tmp_path.chmod(stat.S_IRUSR | stat.S_IXUSR)
    try:
        if os.access(tmp_path, os.W_OK):
            pytest.skip("root may write everywhere")
        with pytest.raises(OutputError, match="cannot write there"):
            run(load(None, SMALL), tmp_path)
    finally:
        tmp_path.chmod(stat.S_IRWXU)


@pytest.mark.slow
@pytest.mark.essential
def test_the_clock_may_jump(tmp_path, small_run, monkeypatch):
    """Only the file's `created` is a time of day; everything else is measured by clocks that do not jump."""
    hours = iter(range(10**6))
    monkeypatch.setattr(time, "time", lambda: 1e9 * (-1) ** next(hours))
    progress = lambda what, done, total: (  # noqa: E731
        signal.raise_signal(signal.SIGTERM) if (what, done) == ("gradient_flow", 3) else None
    )
    out = tmp_path / "out"
    assert read_run(run(load(None, SMALL), out, options=Options(progress=progress))).attributes[
        "message"
    ]
    assert_same(resume(out), small_run)


def test_a_clock_that_goes_backwards_delays_no_checkpoint(tmp_path, monkeypatch):
    saved = []
    save = Checkpoints.save
    monkeypatch.setattr(Checkpoints, "save", lambda self, now: saved.append(now) or save(self, now))
    back = iter(range(0, -(10**6), -1))
    monkeypatch.setattr(time, "time", lambda: 3600.0 * next(back))
    run(load(None, SMALL), tmp_path, options=Options(Schedule(seconds=1e-9)))
    steps = {now.position.state.step for now in saved if now.position is not None}
    assert steps >= set(range(1, 7))  # at every step of `SMALL`


READ_ONLY = """
import os, sys
from meanfield.study.storage.schema import OutputError
from meanfield.study.storage.run_folder import RunFolder
os.setuid(65534)
try:
    RunFolder(__import__("pathlib").Path(sys.argv[1]))
except OutputError as error:
    print(error)
"""


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root may")
def test_a_folder_of_somebody_else_is_one_clear_error(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", READ_ONLY, str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=HANGS,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert done.stdout.strip() == f"{tmp_path}: cannot write there: Permission denied", done


@pytest.mark.slow
def test_a_long_run_takes_no_more_memory_and_the_room_that_was_predicted():
    script = Path(__file__).parents[2] / "scripts" / "soak.py"
    done = subprocess.run(
        [sys.executable, str(script), "--steps", "30000"],
        capture_output=True,
        text=True,
        timeout=HANGS,
    )
    assert done.returncode == 0, done.stdout + done.stderr
