"""The command `report`."""

import json
from functools import partial

import pytest

from meanfield.study.report import Report
from tests.meanfield.study.cli.test_cli import meanfield_command

command = partial(meanfield_command, "report")


@pytest.fixture
def made(monkeypatch, small_run):
    """A report without its making."""
    made = Report(small_run, "run", "diverged", "<p>\n", ("gone at step 3.",), ("loss",))
    monkeypatch.setattr("meanfield.study.report.make_report", lambda source: made)
    return made


def test_it_writes_the_file_and_says_where_and_what_to_beware_of(made, tmp_path):
    out = tmp_path / "new/page.html"
    result = command(made.source, "--out", out)
    assert (result.exit_code, result.stdout) == (
        0,
        f"{out}\n",
    )  # the run diverged, its report did not
    assert result.stderr == "warning: gone at step 3.\n"
    assert out.read_text() == "<p>\n"


def test_json_for_machines(made, tmp_path):
    out = tmp_path / "page.html"
    result = command(made.source, "--out", out, "--json")
    assert json.loads(result.stdout) == {
        "file": str(made.source),
        "report": str(out),
        "bytes": 4,
        "kind": "run",
        "status": "diverged",
        "warnings": ["gone at step 3."],
        "figures": ["loss"],
    }
    assert result.stderr == ""


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["none"], "there is no such file"),
        (["."], "must hold run.h5 or run.h5.partial, got neither"),
        (["text.h5"], "not an HDF5 file"),
        (["text.h5", "--out", "text.h5"], "out must be a name that ends in .html, got 'text.h5'"),
    ],
)
def test_wrong_input_is_a_message_and_nothing_is_written(tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "text.h5").write_text("text")
    result = command(*arguments)
    assert result.exit_code == 2 and message in result.stderr
    assert result.stdout == "" and "Traceback" not in result.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["text.h5"]


def test_a_report_that_cannot_be_written_is_a_failure(made, tmp_path):
    (tmp_path / "file").write_text("")
    result = command(made.source, "--out", tmp_path / "file/page.html")
    assert result.exit_code == 1 and "cannot write" in result.stderr
