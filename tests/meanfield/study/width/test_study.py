"""A study that is stopped, damaged, shared among tasks: finished runs are never run twice, and the files are the same."""

import os
import shutil
import signal
import subprocess
import sys

import numpy as np
import pytest

from meanfield.study.analysis.stored_run import StoredRun
from meanfield.study.engine.checkpointing import Schedule
from meanfield.study.engine.memory import MemoryLimitError
from meanfield.study.engine.prepared_run import Options
from meanfield.study.width import read_study, runs
from meanfield.study.width import study as width_study
from meanfield.study.width.plan import Run
from meanfield.study.width.study import Execution, run_width_study
from tests.helpers import same_runs
from tests.helpers.clocks import HANGS, stopwatch, wait_until


def files(folder, pattern="*.h5"):
    """Also of a study that goes on: its folders may vanish while they are walked through."""
    while True:
        try:
            return sorted(path.relative_to(folder) for path in folder.rglob(pattern))
        except FileNotFoundError:
            continue


def finished_files(folder):
    """Those in their places: a run's file is whole before it leaves the folder in which it was made."""
    return [path for path in files(folder) if path.parent.suffix != ".work"]


def assert_same(folder, other):
    assert files(folder) == files(other) and len(files(folder)) == 6
    for path in files(folder):
        # which says on how many threads it was made, of workers side by side fewer
        same_runs.assert_same(folder / path, other / path, but=["@machine_json"])


@pytest.fixture
def started(tiny_study, tmp_path):
    """A copy of the finished study, to be spoilt."""
    folder = tmp_path / "study"
    shutil.copytree(tiny_study, folder)
    return folder


@pytest.fixture
def executed(monkeypatch, at_home):
    """Names of the jobs that are done."""
    names, here = [], width_study.do_jobs

    def note(jobs, *rest):
        names.extend(job.name for job in jobs)
        return here(jobs, *rest)

    monkeypatch.setattr(width_study, "do_jobs", note)
    return names


def test_the_files_of_single_runs_are_runs(tiny_study):
    with StoredRun.open(tiny_study / "runs" / "width-00016-seed-001.h5") as result:
        assert result.status == "complete" and len(result) == 3
        assert "width = 16" in result.config and result.attributes["seed"] == 2
        assert result.attributes["width_study"].startswith(
            "nested start: particles chosen by seed 1"
        )
    assert [path.name for path in (tiny_study / "runs").glob("*.work")] == []


def test_nothing_is_done_twice(tiny, started, executed):
    before = {path: path.read_bytes() for path in started.rglob("*.h5") if path.name != "study.h5"}
    assert run_width_study(tiny(), started).path is not None
    assert executed == [] and all(path.read_bytes() == old for path, old in before.items())


@pytest.mark.slow
@pytest.mark.essential
def test_missing_and_broken_runs_are_done_again_and_named(tiny, tiny_study, started, executed):
    path = started / "runs" / "width-00008-seed-001.h5"
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    (started / "runs" / "width-00016-seed-000.h5").unlink()
    shutil.copy(
        started / "runs" / "width-00008-seed-000.h5", started / "runs" / "width-00016-seed-001.h5"
    )
    said = []
    outcome = run_width_study(tiny(), started, say=said.append)
    assert not outcome.missing and len(said) == 2
    assert f"{path}: damaged, it is run again: " in said[1]
    assert "width-00016-seed-001.h5: damaged, it is run again: it belongs to another run" in said[0]
    again = {"width-00016-seed-000", "width-00016-seed-001", "width-00008-seed-001"}
    # their distances only if their times of creation differ, in seconds
    assert (
        set(executed[:3]) == again
        and {name.removeprefix("distances of ") for name in executed} == again
    )
    assert_same(started, tiny_study)


def test_another_study_is_refused_with_what_differs(tiny, started):
    before = (started / "study.toml").read_text()
    with pytest.raises(
        ValueError,
        match="hold this study, got another .there and now: learning_rate is 0.2 and 0.3",
    ):
        run_width_study(tiny("learning_rate=0.3"), started)
    with pytest.raises(ValueError, match="width.widths is .8, 16. and .8, 32."):
        run_width_study(tiny(widths=(8, 32)), started)
    assert (started / "study.toml").read_text() == before


def test_a_folder_with_something_else_is_refused(tiny, tmp_path):
    (tmp_path / "thesis.tex").write_text("")
    with pytest.raises(ValueError, match="must be empty or hold this study, got other files"):
        run_width_study(tiny(), tmp_path)
    with pytest.raises(ValueError, match="must be a folder for the study, got a file"):
        run_width_study(tiny(), tmp_path / "thesis.tex")


@pytest.mark.slow
def test_a_study_grows_by_seeds_and_widths(tiny, started, executed):
    record = read_study(run_width_study(tiny(widths=(8, 12, 16), seeds=3), started).path)
    assert record.widths.tolist() == [8, 12, 16] and (record.statuses == "complete").all()
    runs_done = [name for name in executed if name.startswith("width")]
    assert len(runs_done) == 5 and "width-00016-seed-001" not in runs_done


@pytest.mark.slow
@pytest.mark.essential
def test_tasks_of_a_job_array_share_the_runs(tiny, tiny_study, tmp_path, executed):
    plan, folder = tiny(), tmp_path / "array"
    order = (1, 2, 0)  # the reference last: the others need its start only
    outcomes = [run_width_study(plan, folder, Execution(task_index=i, num_tasks=3)) for i in order]
    assert [len(outcome.missing) for outcome in outcomes[:2]] == [3, 1]
    assert [outcome.path for outcome in outcomes] == [None, None, folder / "study.h5"]
    assert sorted(name for name in executed if not name.startswith(("dist", "floors"))) == sorted(
        run.name for run in plan.runs
    )
    assert_same(folder, tiny_study)


def test_what_is_there_can_be_collected(tiny, started, executed):
    (started / "runs" / "width-00008-seed-001.h5").unlink()
    outcome = run_width_study(tiny(), started, Execution(collect_only=True))
    record = read_study(outcome.path)
    assert executed == [] and outcome.missing == ["width-00008-seed-001"]
    assert record.statuses.tolist() == [["complete", "missing"], ["complete", "complete"]]
    assert np.isnan(record.distances["w2"][:, 0, 1]).all()
    assert (
        record.warnings[0]
        == "Left out, missing: the runs, or processes of them, at width 8 (seed 1)."
    )
    (started / "reference" / "run.h5").unlink()
    outcome = run_width_study(tiny(), started, Execution(collect_only=True))
    assert outcome.path is None and outcome.missing[0] == "reference"


@pytest.mark.slow
def test_diverged_processes_are_left_out_and_named(tiny, tmp_path, at_home):
    plan = tiny(
        "learning_rate=1e3",
        "risk.weight_decay=1.0",
        "steps=300",
        "output.sharpness_every=300",
        "processes={gradient_descent={}, gradient_flow={integrator='rk4', dt=0.5}}",
        seeds=1,
    )
    record = read_study(run_width_study(plan, tmp_path / "study").path)
    assert (record.statuses == "diverged").all()
    assert np.isnan(record.distances["function_distance"]).all()
    assert record.warnings[0].startswith("Left out, diverged")
    assert any("Nothing is known of gradient descent to" in text for text in record.warnings)


def test_a_run_that_another_process_is_at_is_left_to_it(tiny, tmp_path, monkeypatch):
    monkeypatch.setattr("meanfield.study.storage.files.lock.PATIENCE", 0.05)
    plan, run = tiny(), Run(8, 0)
    with (
        runs._work_folder(run.path(tmp_path)),
        pytest.raises(runs.RunError, match="another worker is computing it"),
    ):
        runs.execute(plan, tmp_path, run, Options(), lambda fraction: None)
    assert not list((tmp_path / "runs").iterdir())


@pytest.fixture
def stopped(tiny, tmp_path):
    """The folder of a study with a run that was stopped in the last of its three processes."""

    def stop(fraction):
        if fraction > 0.9:
            signal.raise_signal(signal.SIGTERM)

    with pytest.raises(runs.RunError, match="interrupted"):
        runs.execute(tiny(), tmp_path, Run(8, 1), Options(Schedule(steps=1)), stop)
    return tmp_path


def assert_done(folder, tiny_study, plan):
    """The run is there as if nothing had happened, and nothing beside it; by how many reports of how far it is."""
    heard = []
    runs.execute(plan, folder, Run(8, 1), Options(), heard.append)
    run = Run(8, 1).path(folder)
    same_runs.assert_same(run, Run(8, 1).path(tiny_study), but=["@machine_json"])
    assert list(run.parent.iterdir()) == [run]
    return len(heard)


def test_a_run_that_was_stopped_goes_on(tiny, tiny_study, stopped, tmp_path_factory):
    assert 1 <= assert_done(stopped, tiny_study, tiny()) <= 2  # of six steps
    whole = assert_done(tmp_path_factory.mktemp("whole"), tiny_study, tiny())
    assert whole > 12  # of three processes


def test_a_run_with_damaged_checkpoints_is_done_again(tiny, tiny_study, stopped):
    for checkpoint in stopped.rglob("checkpoint-?"):
        checkpoint.write_bytes(checkpoint.read_bytes()[:-1])
    assert assert_done(stopped, tiny_study, tiny()) > 12


@pytest.mark.slow
@pytest.mark.essential
def test_a_run_of_other_versions_is_done_again(tiny, tiny_study, stopped, monkeypatch):
    monkeypatch.setattr(runs, "current_versions", lambda: "{}")
    assert assert_done(stopped, tiny_study, tiny()) > 12


@pytest.mark.slow
@pytest.mark.essential
def test_a_run_of_other_settings_is_done_again(tiny, tiny_study, stopped):
    folder = stopped / "runs" / "width-00008-seed-001.work"
    other, heard = tiny("learning_rate=0.1"), []
    runs.execute(other, stopped, Run(8, 1), Options(), heard.append)
    assert len(heard) > 12 and runs.fault(other, stopped, Run(8, 1)) is None
    assert not folder.exists()


@pytest.mark.slow
@pytest.mark.essential
def test_what_is_left_beside_a_run_that_is_done_is_removed(tiny, started):
    left = started / "runs" / "width-00008-seed-001.work"
    left.mkdir()
    (left / "checkpoint-0").write_bytes(b"of a process that died")
    run_width_study(tiny(), started)
    assert not left.exists()


@pytest.mark.slow
def test_a_reference_that_needs_too_much_memory_is_refused_before_anything_is_run(
    tiny, tmp_path, executed
):
    execution = Execution(options=Options(memory_limit=10**8))
    with pytest.raises(MemoryLimitError, match=r"GB of memory are needed, 0.1 GB are allowed"):
        run_width_study(tiny(reference_width=10**6), tmp_path / "study", execution)
    assert executed == []
    assert run_width_study(tiny(), tmp_path / "small", execution).missing == []


def test_jobs_below_one(tiny, tmp_path):
    with pytest.raises(ValueError, match="jobs must be an integer of at least 1, got 0"):
        run_width_study(tiny(), tmp_path / "study", Execution(jobs=0))


def test_reference_alone_if_it_is_more_than_a_share(tiny):
    missing = tiny().runs  # 64 and 48 in all the others
    assert width_study._groups(missing, 1) == [missing]
    assert width_study._groups(missing, 2) == [missing[:1], missing[1:]]
    assert width_study._groups(missing[1:], 2) == [missing[1:]] and width_study._groups([], 2) == []


MEANFIELD = [sys.executable, "-c", "from meanfield.study.cli.app import main; main()"]


@pytest.mark.slow
@pytest.mark.parametrize(("jobs", "finished"), [("1", 0), ("2", 3)])
def test_killed_and_started_again_it_has_the_same_files(tiny, tiny_study, tmp_path, jobs, finished):
    """SIGKILL of the command, after so many finished runs and in the middle of others; its workers end with it."""
    folder = tmp_path / "study"
    folder.mkdir()
    (folder / "study.toml").write_text(tiny().to_toml(), encoding="utf-8")
    command = [*MEANFIELD, "width", "--out", str(folder), "--jobs", jobs]
    first = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def is_in_the_middle():
        assert first.poll() is None
        return len(finished_files(folder)) >= finished and files(folder, "run.h5.partial")

    wait_until(is_in_the_middle, poll=0.001)
    first.send_signal(signal.SIGKILL)
    first.wait()
    kept = {path: (folder / path).stat().st_mtime_ns for path in finished_files(folder)}
    assert not (folder / "study.h5").exists()
    second = subprocess.run(command, capture_output=True, text=True, timeout=HANGS, check=False)
    assert second.returncode == 0, second.stderr
    assert_same(folder, tiny_study)
    assert all((folder / path).stat().st_mtime_ns == when for path, when in kept.items())
    assert not list(folder.rglob("*.work")) and not list(folder.rglob("*.partial"))


@pytest.fixture(scope="module")
def undisturbed(tiny, tmp_path_factory):
    """The folder of a study of three runs, each some seconds long, that nobody stopped."""
    settings = ["steps=1200", "output.snapshot_every=400", "output.sharpness_every=400"]
    settings += ["processes={gradient_descent={}, gradient_flow={}}"]
    folder = tmp_path_factory.mktemp("long") / "study"
    plan = tiny(*settings, widths=(8,), reference_width=16)
    assert run_width_study(plan, folder, Execution(jobs=2)).missing == []
    return folder


# The command, with as much patience with its workers as a busy machine needs, and an hour that is over once two are at work.
UNHURRIED = """
import sys
from pathlib import Path
from meanfield.study.cli.app import main
from meanfield.study.engine import signals
from meanfield.study.width import workers
from tests.helpers.clocks import HANGS
from tests.meanfield.study.width.test_study import two_are_at_work

class Clock:
    def monotonic(self):
        return 3600.0 * two_are_at_work(Path(sys.argv[3]))

workers.PATIENCE, signals.time = HANGS, Clock()
main()
"""


def two_are_at_work(folder):
    """Whether two runs have rows."""

    def rows(path):
        try:
            with StoredRun.open(folder / path) as result:
                return len(result["gradient_descent"].observables["time"])
        except (OSError, ValueError, KeyError):  # not there in full, or not any more
            return 0

    return sum(rows(path) > 0 for path in files(folder, "run.h5.partial")) == 2


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "code", "options"),
    [(signal.SIGINT, 130, []), (signal.SIGTERM, 143, []), (None, 75, ["--max-runtime", "1h"])],
)
def test_stopped_in_time_and_resumed_it_has_the_same_files(
    undisturbed, tmp_path, kind, code, options
):
    folder = tmp_path / "study"
    folder.mkdir()
    shutil.copy(undisturbed / "study.toml", folder)
    command = [sys.executable, "-c", UNHURRIED, "width", "--out", str(folder), "--jobs", "2"]
    first = subprocess.Popen(
        [*command, *options],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip
    if kind is not None:

        def both_are_at_work():
            assert first.poll() is None
            return two_are_at_work(folder)

        wait_until(both_are_at_work)
        with stopwatch(first.pid) as watch:
            os.killpg(first.pid, kind)  # as a terminal does, to all
            first.wait(timeout=HANGS)
        assert watch.seconds <= 5.0
        assert len(files(folder, "checkpoint-?")) >= 2
    _, errors = first.communicate(timeout=HANGS)
    assert first.returncode == code and "Traceback" not in errors, errors
    assert f"`meanfield resume {folder}` continues it" in errors
    assert not (folder / "study.h5").exists()
    second = subprocess.run(
        [*MEANFIELD, "resume", str(folder), "--quiet"],
        capture_output=True, text=True, timeout=HANGS, check=False,
    )  # fmt: skip
    assert second.returncode == 0 and second.stderr == "", second.stderr
    assert files(folder) == files(undisturbed)
    for path in files(folder):
        same_runs.assert_same(folder / path, undisturbed / path, but=["@machine_json"])
    assert not list(folder.rglob("*.work"))
