"""Folders of runs from strangers: to resume one changes nothing outside it, and what cannot be is said."""

import os

import h5py
import pytest

from meanfield.study.storage.checkpoint import NAMES, CheckpointError, Checkpoints
from meanfield.study.storage.files.journal import Changes, journal_path
from meanfield.study.storage.reader import RunReader
from meanfield.study.storage.writer import read_run
from tests.faults.hostile_resume import joined, parts, write_genuine
from tests.faults.hostile_targets import command
from tests.helpers.clocks import stopwatch
from tests.helpers.same_runs import assert_same

pytestmark = [pytest.mark.slow, pytest.mark.essential]


@pytest.fixture
def out(tmp_path):
    return write_genuine(tmp_path)


def bend(out, change):
    first, newest = (out / name for name in NAMES)
    first.unlink()
    head, arrays = parts(newest.read_bytes())
    change(head)
    newest.write_bytes(joined(head, arrays))


def refused(out):
    with stopwatch() as watch:
        said = command(["resume", str(out), "--no-figures"])
    assert "Traceback" not in said and "error:" in said, said
    assert watch.seconds < 20
    return said


def test_a_genuine_folder_is_resumed(tmp_path, out):
    said = command(["resume", str(out), "--no-figures"])
    assert "complete" in said and os.listdir(out) == ["run.h5"], said
    assert read_run(out / "run.h5").attributes["status"] == "complete"


@pytest.mark.parametrize("name", ["run.h5.partial", "run.h5.partial.journal", "checkpoint-0.new"])
def test_no_link_leads_the_writer_to_another_file(tmp_path, out, name):
    precious = tmp_path / "precious"
    content = (
        out / "run.h5.partial"
    ).read_bytes()  # a genuine file, so that only its place is wrong
    precious.write_bytes(content)
    (out / name).unlink(missing_ok=True)
    (out / name).symlink_to(precious)
    command(["resume", str(out), "--no-figures"])
    assert precious.read_bytes() == content


@pytest.mark.parametrize("name", ["run.h5.partial", "run.h5.partial.journal", *NAMES])
def test_a_pipe_holds_nobody_up(out, name):
    (out / name).unlink(missing_ok=True)
    os.mkfifo(out / name)
    if name in NAMES:  # the other one will do
        assert Checkpoints(out).load() is not None
    else:
        refused(out)


def test_a_link_within_the_file_leads_to_no_other(tmp_path, out):
    other = tmp_path / "other.h5"
    other.write_bytes((out / "run.h5.partial").read_bytes())
    before = other.read_bytes()
    with h5py.File(out / "run.h5.partial", "r+") as file:
        del file["gradient_descent"]
        file["gradient_descent"] = h5py.ExternalLink("../other.h5", "/gradient_descent")
    assert "has a link in it" in refused(out)
    assert other.read_bytes() == before


@pytest.mark.parametrize(
    "change",
    [
        lambda head: head.update(number="x"),
        lambda head: head.update(versions="[1]"),
        lambda head: head.update(versions="no JSON"),
        lambda head: head["ended"].update(gradient_descent=["odd", ""]),
        lambda head: head["position"].update(step=10**400),
        lambda head: head["position"].update(step=5),
        lambda head: head["position"].update(wall_time=float("inf")),
        lambda head: head["arrays"][0].__setitem__(2, [2**62, 2]),
        lambda head: head["arrays"][-1].__setitem__(2, [1]),
        lambda head: head.update(config="steps = 1\nx = 2"),
        lambda head: head.update(config="[" * 5000),
        lambda head: head.update(rows={"a": [1, 1]}),
        lambda head: head["rows"].update(gradient_descent=[10**6, 1]),
        lambda head: head.update(created="another time"),
        lambda head: head.update(problem="x"),
    ],
)
def test_a_checkpoint_that_was_made_up_earns_a_message(out, change):
    bend(out, change)
    refused(out)


def test_a_terminal_is_told_nothing_by_a_checkpoint(out):
    bend(
        out,
        lambda head: head.update(versions='{"numpy": "\\u001b]0;x\\u0007"}', created="\x1b[31m"),
    )
    assert "\x1b" not in refused(out)


def test_a_checkpoint_larger_than_memory_is_not_read(out):
    for name in NAMES:
        os.truncate(out / name, 2**42)
    with pytest.raises(CheckpointError, match="bytes to fit the memory, got"):
        Checkpoints(out).load()


@pytest.mark.parametrize(
    "changes",
    [
        Changes(2**62, ()),
        Changes(2**64 - 1, ()),
        Changes(100, ((2**64 - 1, b"x"),)),
        Changes(100, ((2**40, b"x"),)),
        Changes(0, ()),
    ],
)
def test_a_journal_that_lies_earns_a_message(out, changes):
    partial = out / "run.h5.partial"
    journal_path(partial).write_bytes(changes.encoded())
    size = partial.stat().st_size
    try:
        RunReader(partial).header()
    except ValueError as error:
        assert str(partial) in str(error)
    said = command(["resume", str(out), "--no-figures"])
    assert "Traceback" not in said
    assert not partial.exists() or partial.stat().st_size <= 2 * size


def test_a_file_without_residuals_is_one_of_an_older_version(tmp_path, out):
    """Files of before they were written are read, and runs that wrote them go on."""
    with h5py.File(out / "run.h5.partial", "r+") as file:
        for name in ("gradient_descent", "free_energy_flow"):
            del file[f"{name}/observables/hessian_residuals"]
    said = command(["resume", str(out), "--no-figures"])
    assert "complete" in said, said
    record = read_run(out / "run.h5").processes["gradient_descent"].observables
    assert record["hessian_residuals"].shape == record["hessian_eigs"].shape
    (tmp_path / "again").mkdir()
    again = write_genuine(tmp_path / "again")
    command(["resume", str(again), "--no-figures"])
    with h5py.File(again / "run.h5", "r+") as file:
        for name in ("gradient_descent", "free_energy_flow"):
            del file[f"{name}/observables/hessian_residuals"]
    assert_same(out / "run.h5", again / "run.h5")
