"""Outputs that cannot show a letter, terminals that are closed, folders that may not be searched: a run that is done is done."""

import fcntl
import os
import pty
import shutil
import signal
import subprocess
import sys
import termios
from importlib import import_module

import numpy
import pytest

from meanfield.study.cli._streams import _escaped
from meanfield.study.config.run_config import load
from meanfield.study.engine.prepared_run import Options
from meanfield.study.engine.resume import resume
from meanfield.study.engine.run import run
from meanfield.study.engine.signals import interruptible
from meanfield.study.storage.checkpoint import NAMES
from meanfield.study.storage.writer import read_run
from tests.helpers.clocks import HANGS, wait_until
from tests.helpers.same_runs import assert_same
from tests.meanfield.study.cli.test_cli import assert_refused, meanfield_command, settings

COMMAND = [sys.executable, "-c", "from meanfield.study.cli.app import main; main()"]
NOBODY = 65534
ENCODINGS = [  # a process each
    "latin-1",
    *(pytest.param(name, marks=pytest.mark.slow)
      for name in ("ascii", "cp1252", "cp437", "ascii:strict", "utf-8", "utf-16")),
]  # fmt: skip


def said_in(encoding, *arguments, **options):
    environment = os.environ | {"PYTHONIOENCODING": encoding}
    return subprocess.run(
        [*COMMAND, *map(str, arguments)], env=environment, capture_output=True, timeout=HANGS, **options
    )  # fmt: skip


# --- encodings -----------------------------------------------------------------------------------


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_what_a_run_was_is_said_in_any_encoding(small_run, encoding):
    done = said_in(encoding, "info", small_run)
    assert (done.returncode, done.stderr) == (0, b"")
    text = done.stdout.decode(encoding.partition(":")[0])
    assert "status: complete" in text and "gradient_descent" in text
    if encoding.startswith("utf"):
        assert "η·sharpness" in text and "tr Σ" in text and "\\u" not in text
    elif encoding == "latin-1":
        assert "\\u03b7·sharpness" in text
    else:
        assert "sharpness" in text


@pytest.mark.slow
@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252"])
def test_a_run_ends_well_whatever_stdout_is(small, encoding, tmp_path):
    done = said_in(
        encoding, "run", "--out", tmp_path / "Schrödinger", *settings(small, "steps=2"), "--no-figures"
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, b"")
    assert b"Schr" in done.stdout and b"run.h5" in done.stdout


@pytest.mark.slow
def test_errors_are_said_in_any_encoding(tmp_path):
    for encoding, name in {
        "ascii": "η".encode(),
        "latin-1": b"\\u03b7",
        "cp437": b"\\u03b7",
    }.items():
        done = said_in(encoding, "info", tmp_path / "η.h5")
        assert done.returncode == 2
        # click takes an output that is ASCII for a mistake, and writes UTF-8
        assert done.stderr.endswith(b"/" + name + b".h5: there is no such file\n")


@pytest.mark.slow
def test_a_file_s_name_that_is_no_text_is_said_as_it_is(small_run, tmp_path):
    path = os.fsencode(tmp_path) + b"/caf\xe9.h5"
    shutil.copy(small_run, path)
    for encoding in ("utf-8", "latin-1"):
        done = said_in(encoding, "compare", os.fsdecode(path), "--no-figure", "--json")
        assert done.returncode == 0, done.stderr
        done = said_in(encoding, "info", os.fsdecode(path + b".not"))
        assert b"caf\xe9.h5.not: there is no such file" in done.stderr


def test_what_is_no_question_of_letters_is_still_an_error():
    with pytest.raises(UnicodeDecodeError):
        _escaped(UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid"))


# --- a terminal that is closed -------------------------------------------------------------------


@pytest.fixture
def hangups_count():
    """Also where the tests run under nohup, which lets processes ignore them."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)


def test_a_hangup_stops_a_run_with_a_checkpoint(small, small_run, tmp_path, hangups_count):
    def progress(what, done, total):
        if (what, done) == ("gradient_flow", 2):
            signal.raise_signal(signal.SIGHUP)

    record = read_run(run(load(None, small), tmp_path, options=Options(progress=progress)))
    assert record.attributes["message"] == "stopped by SIGHUP"
    assert set(NAMES) <= set(os.listdir(tmp_path))
    assert_same(resume(tmp_path), small_run)


def test_a_hangup_that_is_ignored_stays_ignored():
    """As under nohup."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with interruptible() as interruption:
            interruption.begin()
            signal.raise_signal(signal.SIGHUP)
            interruption.check()
            assert interruption.reason is None
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


@pytest.mark.slow
def test_a_run_whose_terminal_is_closed_can_go_on(small, tmp_path, hangups_count):
    """Nothing can be printed any more, which must not cost the checkpoint or the exit code."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [*COMMAND, "run", "--out", tmp_path, *settings(small, "steps=1000000"), "--no-figures"],
        stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True,
        preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
    )  # fmt: skip
    os.close(theirs)
    try:
        shown = []

        def is_under_way():
            assert process.poll() is None
            shown.append(os.read(ours, 10_000))  # its bars move several times a second
            return b"gradient descent" in b"".join(shown) and (tmp_path / NAMES[0]).exists()

        wait_until(is_under_way)
        os.close(ours)  # the kernel sends SIGHUP
        assert process.wait(timeout=HANGS) == 129
    finally:
        process.kill()
    assert read_run(tmp_path).attributes["message"] == "stopped by SIGHUP"
    assert set(NAMES) <= set(os.listdir(tmp_path))


# --- folders that may not be searched ------------------------------------------------------------


@pytest.fixture(scope="module")
def imported(tmp_path_factory):
    """What is not imported by then another user may not be able to import."""
    for module in ("engine.run", "engine.resume", "report", "width.study", "figures"):
        import_module(f"meanfield.study.{module}")
    out = tmp_path_factory.mktemp("imported") / "out"
    meanfield_command("run", "--out", out, "--set", "steps=0", "--no-figures")


@pytest.fixture
def nobody(imported, tmp_path, monkeypatch):
    """Another user, who may not search the folders of the tests."""
    if os.geteuid() != 0:
        pytest.skip("only root can take another user's place")
    monkeypatch.chdir("/")
    (tmp_path / "locked").mkdir(mode=0o700)
    os.seteuid(NOBODY)
    try:
        if not os.access(numpy.__file__, os.R_OK, effective_ids=True):
            pytest.skip("the packages are in a folder that only root may read")
        yield tmp_path / "locked"
    finally:
        os.seteuid(0)


@pytest.mark.parametrize(
    "arguments",
    [
        ["info"],
        ["compare"],
        ["plot"],
        ["report"],
        ["resume"],
        ["validate"],
        ["distance", "/nowhere/run.h5"],
        ["run"],
        ["width", "--widths", "8,16"],
        ["run", "--out"],
        ["width", "--widths", "8,16", "--out"],
    ],
)
@pytest.mark.parametrize("name", ["", "run.h5", "deep/er"])
def test_a_folder_that_may_not_be_searched_is_named(nobody, arguments, name):
    result = meanfield_command(*arguments, nobody / name)
    assert result.exit_code in (1, 2), result.output
    assert result.stdout == "" and "Traceback" not in result.stderr
    assert isinstance(result.exception, SystemExit)
    assert "ermission denied" in result.stderr or "no such" in result.stderr


def test_data_that_may_not_be_read_are_named(nobody):
    path = nobody / "data.npz"
    result = meanfield_command("run", "--out", "/tmp/none-of-it", "--set", "task.name=npz", "--set",
                               f"task.path={path}")  # fmt: skip
    assert_refused(result, str(path))
