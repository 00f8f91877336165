"""All commands agree on what a path is: a run's file or folder, finished, under way or broken off; a width study's; neither."""

import json
import os
import shutil
import signal

import h5py
import pytest

from meanfield.study.config.run_config import load
from meanfield.study.engine.checkpointing import Schedule
from meanfield.study.engine.prepared_run import Options
from meanfield.study.engine.run import run
from meanfield.study.storage import writer as snapshots
from meanfield.study.storage.checkpoint import NAMES
from meanfield.study.storage.kind import kind_of
from meanfield.study.storage.writer import read_run
from tests.helpers.same_runs import assert_same
from tests.helpers.written_runs import ENERGY, GD, write_at, writer_of
from tests.meanfield.study.cli.test_cli import assert_refused, meanfield_command

READERS = {
    "info": [],
    "compare": ["--no-figure"],
    "plot": ["--format", "svg", "--out"],
    "report": ["--out"],
    "distance": [],
}
ALL = [  # what draws takes its time
    pytest.param(name, marks=pytest.mark.slow) if name in ("plot", "report") else name
    for name in READERS
]


def read_by(command, path, out):
    """The command reading it, writing to `out`."""
    options = list(READERS[command])
    if options[-1:] == ["--out"]:
        options.append(out / "report.html" if command == "report" else out)
    again = [path] if command == "distance" else []
    return meanfield_command(command, path, *again, *options)


@pytest.fixture(params=["file", "folder"])
def named(request):
    """The path of a run or a study as it may be given: its file, or its folder."""
    return lambda folder, name: folder / name if request.param == "file" else folder


@pytest.fixture
def under_way(tmp_path, monkeypatch):
    """The folder of a run that is going on."""
    monkeypatch.setattr(snapshots, "ROWS_PER_WRITE", 1)
    (tmp_path / "run").mkdir()
    with writer_of(tmp_path / "run") as writer:
        for t in range(3):
            for name, modes in ((GD, ()), (ENERGY, (2,))):
                write_at(writer, name, t, modes)
        writer.write()
        yield tmp_path / "run"


@pytest.fixture(scope="module")
def stopped(tmp_path_factory):
    """The folder of a run that was stopped, with its checkpoints."""

    def stop(what, done, total):
        if (what, done) == ("gradient_flow", 2):
            signal.raise_signal(signal.SIGTERM)

    from tests.meanfield.study.conftest import SMALL

    folder = tmp_path_factory.mktemp("stopped")
    run(load(None, SMALL), folder, options=Options(Schedule(), progress=stop))
    return folder


@pytest.mark.parametrize("command", ALL)
def test_a_run_under_way_is_read_by_all(under_way, named, tmp_path, command):
    result = read_by(command, named(under_way, "run.h5.partial"), tmp_path / "out")
    assert result.exit_code == 0, result.output
    assert "Traceback" not in result.stderr
    if command == "info":
        assert "status: running" in result.stdout


@pytest.mark.parametrize("command", ALL)
def test_a_finished_run_is_read_by_all(small_run, named, tmp_path, command):
    result = read_by(command, named(small_run.parent, "run.h5"), tmp_path / "out")
    assert result.exit_code == 0, result.output


@pytest.mark.slow
@pytest.mark.parametrize("command", ALL)
def test_a_stopped_run_is_read_by_all(stopped, named, tmp_path, command):
    result = read_by(command, named(stopped, "run.h5"), tmp_path / "out")
    assert result.exit_code == 0, result.output


@pytest.mark.slow
@pytest.mark.essential
@pytest.mark.parametrize("command", ALL)
def test_a_study_is_read_or_the_command_that_does_is_named(tiny_study, named, tmp_path, command):
    path = named(tiny_study, "study.h5")
    result = read_by(command, path, tmp_path / "out")
    if command in ("compare", "distance"):
        about = f"path must be a run, got the width study {path}; `meanfield info {tiny_study}`"
        assert_refused(result, about, str(tiny_study / "reference" / "run.h5"))
    else:
        assert result.exit_code == 0, result.output
    if command == "info":
        assert "slope" in result.stdout and "[task]" in result.stdout
        assert "warning: " in result.stderr


def test_info_of_a_study_for_machines(tiny_study):
    found = json.loads(meanfield_command("info", tiny_study, "--json").stdout)
    assert found["widths"] == [8, 16] and found["file"] == str(tiny_study / "study.h5")


def test_an_animation_is_of_a_run(tiny_study):
    assert_refused(meanfield_command("plot", tiny_study, "--animate", GD), "path must be a run")


@pytest.mark.parametrize("command", READERS)
def test_a_study_without_its_file_says_how_to_go_on(tiny, tmp_path, command):
    (tmp_path / "study").mkdir()
    (tmp_path / "study" / "study.toml").write_text(tiny().to_toml())
    result = read_by(command, tmp_path / "study", tmp_path / "out")
    if command in ("compare", "distance"):
        assert_refused(result, "path must be a run, got the width study")
    else:
        assert_refused(result, f"`meanfield resume {tmp_path / 'study'}` continues it")


@pytest.mark.parametrize("command", [*READERS, "resume"])
@pytest.mark.parametrize(
    "make", ["missing", "empty", "other", "rubbish", "damaged", "link", "both", "pipe"]
)
def test_what_is_neither_is_refused_by_all(small_run, tiny_study, tmp_path, command, make):
    path = tmp_path / "it"
    expected = str(path)
    if make == "empty":
        path.mkdir()
    elif make == "other":
        path.mkdir()
        (path / "notes.txt").write_text("run.h5")
    elif make == "rubbish":
        path.mkdir()
        (path / "run.h5").write_bytes(b"rubbish")
    elif make == "damaged":
        path.mkdir()
        (path / "run.h5").write_bytes(small_run.read_bytes()[:5000])
        expected = f"{path / 'run.h5'}: "
    elif make == "link":
        path.symlink_to(tmp_path / "nowhere")
    elif make == "both":
        path.mkdir()
        shutil.copy(small_run, path)
        shutil.copy(tiny_study / "study.h5", path)
        expected = "name the file"
    elif make == "pipe":
        os.mkfifo(path)
    result = (
        meanfield_command("resume", path)
        if command == "resume"
        else read_by(command, path, tmp_path / "out")
    )
    assert_refused(result, "error: ")
    assert expected in result.stderr or "rubbish" in make


@pytest.mark.parametrize("command", [["validate"], ["run"], ["width", "--widths", "8,16"]])
def test_what_is_no_configuration_is_referred_to_info(small_run, tiny_study, tmp_path, command):
    out = ["--out", tmp_path / "out"] if command != ["validate"] else []
    for path in (small_run, tiny_study / "study.h5", small_run.parent, tiny_study):
        result = meanfield_command(*command, path, *out)
        assert_refused(result, f"{path} must be a TOML file, got ", f"`meanfield info {path}`")


# --- resume --------------------------------------------------------------------------------------


@pytest.mark.parametrize("cut", [0, 7, 100, 3000, -1])
def test_a_truncated_run_has_not_ended(small_run, tmp_path, cut):
    (tmp_path / "run.h5").write_bytes(small_run.read_bytes()[:cut])
    assert_refused(meanfield_command("resume", tmp_path), f"{tmp_path / 'run.h5'}: ")


def test_another_program_s_file_has_not_ended(tmp_path):
    with h5py.File(tmp_path / "run.h5", "w") as file:
        file["x"] = 1.0
    assert_refused(
        meanfield_command("resume", tmp_path),
        "must be the file of a run, of schema meanfield-run, got None",
    )


def test_a_stopped_run_without_its_checkpoints_cannot_go_on(stopped, tmp_path):
    shutil.copy(stopped / "run.h5", tmp_path)
    assert_refused(meanfield_command("resume", tmp_path), "must have a checkpoint beside it")


@pytest.mark.parametrize(
    "name", ["run.h5", *(pytest.param(name, marks=pytest.mark.slow) for name in ("", NAMES[0]))]
)
def test_resume_takes_the_file_for_its_folder(stopped, small_run, tmp_path, name):
    folder = tmp_path / "copy"
    shutil.copytree(stopped, folder)
    result = meanfield_command("resume", folder / name, "--no-figures")
    assert result.exit_code == 0, result.output
    assert_same(folder / "run.h5", small_run)
    result = meanfield_command("resume", folder / "run.h5")
    assert result.exit_code == 0 and "this run has ended" in result.stderr
    assert read_run(folder).attributes["status"] == "complete"


def test_kinds(small_run, tiny_study, stopped, under_way, tmp_path):
    assert [kind_of(path) for path in (small_run, small_run.parent, stopped, under_way)] == [
        "run"
    ] * 4
    assert kind_of(tiny_study) == kind_of(tiny_study / "study.h5") == "study"
    (tmp_path / NAMES[1]).touch()
    assert kind_of(tmp_path) == "run"
