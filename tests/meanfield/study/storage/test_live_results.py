"""Runs in Python while they are being written, and after a crash."""

import fcntl
import itertools
import os
import shutil
import subprocess
import sys
import time

import numpy as np
import pytest

import meanfield
from meanfield.study.storage import reader, run_folder
from meanfield.study.storage import writer as snapshots
from meanfield.study.storage.files import lock as file_lock
from meanfield.study.storage.files.fault_tolerant import FaultTolerantFile
from meanfield.study.storage.files.journal import journal_path
from meanfield.study.storage.schema import ProcessLayout, RunFileError
from tests.helpers.clocks import HANGS
from tests.helpers.written_runs import GD, write_at, writer_of

# writes to a slow disk until it is told to stop; in every row everything is ±t
WRITER = """
import sys
import time
from pathlib import Path
import numpy as np
from meanfield.study.storage import run_folder, writer as snapshots
from meanfield.study.storage.files.fault_tolerant import FaultTolerantFile
from meanfield.study.storage.schema import ProcessLayout, RunLayout


class SlowDisk(FaultTolerantFile):
    def write(self, data):
        time.sleep(0.001 if len(data) < 1000 else 0)  # most of the time a row is half there
        return super().write(data)


snapshots.ROWS_PER_WRITE, run_folder.FaultTolerantFile = 3, SlowDisk
folder, crash = Path(sys.argv[1]), len(sys.argv) > 2
names = ["gradient_descent", "free_energy_flow"]
layout = RunLayout({name: ProcessLayout(name) for name in names}, 300, ["a", "w"], 10**5, 1)
with snapshots.RunWriter(folder, layout, "", {"learning_rate": 1.0}) as writer:
    t = 0
    while not (folder / "stop").exists():
        for name in names:
            row = dict.fromkeys(snapshots_names, float(t)) | {"hessian_eigs": [t], "hessian_residuals": [t]}
            writer.observe(name, t, row)
            writer.snapshot(name, t, np.full((300, 2), t), np.full((300, 2), -t))
        t += 1
    if crash:
        import os
        os._exit(1)
    for name in names:
        writer.finish(name, "complete")
""".replace("snapshots_names", "layout.processes[name].observables")


@pytest.fixture
def started(tmp_path):
    """A writer at work in another process, in a folder; ends it at the end."""
    processes = []

    def start(*arguments):
        command = [sys.executable, "-W", "error", "-c", WRITER, str(tmp_path), *arguments]
        processes.append(subprocess.Popen(command, stderr=subprocess.PIPE, text=True))
        while not (tmp_path / "run.h5.partial").exists():
            assert processes[0].poll() is None, processes[0].stderr.read()
            time.sleep(0.001)
        return processes[0]

    yield start
    (tmp_path / "stop").touch()
    for process in processes:
        process.communicate(timeout=HANGS)


def check_rows(result):
    """Every row is whole: ±t everywhere; returns how many rows and snapshots there are."""
    counts = []
    for process in result.values():
        times = process.observables["time"]
        np.testing.assert_array_equal(times, np.arange(len(times)))
        for values in process.observables.values():
            np.testing.assert_array_equal(values.ravel(), times)
        np.testing.assert_array_equal(process.snapshots.times, np.arange(len(process.snapshots)))
        for i in {0, len(process.snapshots) // 2, len(process.snapshots) - 1}:
            if 0 <= i < len(process.snapshots):
                snapshot = process.snapshots[i]
                assert np.all(snapshot.position == i) and np.all(snapshot.fluctuation == -i)
        counts.append((len(times), len(process.snapshots)))
    return np.array(counts)


@pytest.mark.slow
@pytest.mark.essential
def test_a_run_is_read_fifty_times_while_it_is_written(tmp_path, started):
    process = started()  # the first opening may come before the first row, or before the header
    seen = []
    with meanfield.Result.open(tmp_path) as followed:
        for i in itertools.count():
            if i >= 50 and np.all(seen[-1] > seen[0]):  # it went on meanwhile
                break
            assert process.poll() is None
            with meanfield.Result.open(tmp_path) as result:
                assert result.status == "running" and result.path.suffix == ".partial"
                seen.append(check_rows(result))
            if i % 10:
                continue
            older = followed[GD]
            rows = len(older.observables["time"])
            check_rows(followed.refresh())
            assert len(older.observables["time"]) == rows <= len(followed[GD].observables["time"])
            assert "running" in repr(followed) and followed._repr_html_()
        assert all(np.all(b >= a) for a, b in itertools.pairwise(seen))
        (tmp_path / "stop").touch()
        _, errors = process.communicate(timeout=HANGS)
        assert process.returncode == 0, errors
        assert followed.status == "running"
        final = check_rows(followed.refresh())
        assert (followed.status, followed.path) == ("complete", tmp_path / "run.h5")
    with meanfield.Result.open(tmp_path) as result:
        np.testing.assert_array_equal(check_rows(result), final)
    assert sorted(os.listdir(tmp_path)) == ["run.h5", "stop"]


def test_what_a_crash_leaves_is_read_and_not_disturbed_by_the_next_run(tmp_path, started):
    process = started("crash")
    with meanfield.Result.open(tmp_path) as result:
        while check_rows(result.refresh()).min() < 3:
            time.sleep(0.02)
    (tmp_path / "stop").touch()
    assert process.wait(timeout=HANGS) == 1
    with meanfield.Result.open(tmp_path) as left:
        rows = check_rows(left)
        assert left.status == "running" and rows.min() >= 3
        with writer_of(tmp_path) as writer:
            write_at(writer, GD, 7)
        np.testing.assert_array_equal(check_rows(left.refresh()), rows)
    with meanfield.Result.open(tmp_path) as new:
        assert new[GD].snapshots[0].time == 7


@pytest.mark.slow
@pytest.mark.essential
@pytest.mark.parametrize(
    "rows",
    [
        2,
        pytest.param(4, marks=[pytest.mark.slow, pytest.mark.essential]),
        pytest.param(8, marks=pytest.mark.slow),
    ],
)
def test_a_crash_at_any_moment_leaves_whole_rows(tmp_path, monkeypatch, rows):
    """Cut short before, after or in the midst of any of its writes, the file is that of one commit."""
    partial, left = tmp_path / "run.h5.partial", []
    journal = journal_path(partial)

    class Watched(FaultTolerantFile):
        def write(self, data):
            look()
            super().write(data[: len(data) // 2])
            look()
            return len(data) // 2 + super().write(data[len(data) // 2 :])

        def truncate(self, size=None):
            look()
            return super().truncate(size)

    def look():
        if on:
            (tmp_path / "copy").mkdir(exist_ok=True)
            for path in (partial, journal):
                shutil.copy(path, tmp_path / "copy")
            with meanfield.Result.open(tmp_path / "copy") as result:
                left.append(tuple(check_rows(result)[0].tolist()))

    on = False
    for module in (run_folder, file_lock):
        monkeypatch.setattr(module, "FaultTolerantFile", Watched)
    monkeypatch.setattr(snapshots, "ROWS_PER_WRITE", 2)
    monkeypatch.setattr(snapshots, "SECONDS_PER_WRITE", np.inf)  # rows alone decide
    monkeypatch.setattr(reader, "BIRTH", 0.0)
    processes = {GD: ProcessLayout(GD)}
    names = processes[GD].observables
    with writer_of(tmp_path, processes=processes, particles=300) as writer:
        on = True
        for t in range(rows):
            writer.observe(
                GD,
                t,
                dict.fromkeys(names, float(t)) | {"hessian_eigs": [t], "hessian_residuals": [t]},
            )
            writer.snapshot(GD, t, np.full((300, 3), t), np.full((300, 3), -t))
        look()
        on = False
    assert left == sorted(left) and left[-1] == (rows, rows)
    assert {whole for whole, _ in left} == set(range(0, rows + 1, 2))


def test_the_newer_of_an_old_run_and_one_going_on(tmp_path):
    with writer_of(tmp_path, {"seed": 1}):
        pass
    os.utime(tmp_path / "run.h5", (1, 1))
    with writer_of(tmp_path, {"seed": 2}), meanfield.Result.open(tmp_path) as result:
        assert (result.attributes["seed"], result.status) == (2, "running")
        assert "running: not started" in repr(result)
        with meanfield.Result.open(tmp_path / "run.h5") as old:
            assert old.attributes["seed"] == 1


def test_a_result_stays_with_its_file(tmp_path):
    for seed in (1, 2):
        with writer_of(tmp_path, {"seed": seed}) as writer:
            write_at(writer, GD, seed)
        if seed == 1:
            first = meanfield.Result.open(tmp_path)
    with first:
        assert first.refresh().attributes["seed"] == 1
        assert first[GD].snapshots[0].time == 1


def test_readers_and_the_writer_take_turns(tmp_path, monkeypatch):
    monkeypatch.setattr(snapshots, "ROWS_PER_WRITE", 1)
    with writer_of(tmp_path) as writer, open(tmp_path / "run.h5.partial", "rb") as other:
        fcntl.flock(other, fcntl.LOCK_SH)  # a reader that hangs
        with meanfield.Result.open(tmp_path) as result:  # readers do not mind one another
            write_at(writer, GD, 0)  # the run goes on at last
            fcntl.flock(other, fcntl.LOCK_UN)
            assert len(result.refresh()[GD].observables["time"]) == 1
            fcntl.flock(other, fcntl.LOCK_EX)  # a writer that hangs
            monkeypatch.setattr(reader, "BIRTH", 0.0)
            monkeypatch.setattr(reader, "TRIES", 0.0)
            monkeypatch.setattr(file_lock, "PATIENCE", 0.2)
            with pytest.raises(RunFileError, match="its writer keeps it locked"):
                result.refresh()
