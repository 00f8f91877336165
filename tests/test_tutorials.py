"""Getting started and the tutorials: as printed, in a folder of their own, each within its number of words."""

import re

import pytest
import typer.main

import meanfield
from meanfield.study.cli.app import app
from meanfield.study.config.run_config import load_text
from tests.helpers.commands import meanfield_command
from tests.helpers.gallery import DOCS, TUTORIALS, run_script

PAGE = (DOCS / "getting_started.md").read_text(encoding="utf-8")
CELL = re.compile(r"^# %%.*\n((?:#.*\n)*)", re.MULTILINE)


def blocks(language):
    return re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)


def test_there_are_four_tutorials():
    assert [path.stem[:6] for path in TUTORIALS] == [f"plot_{k}" for k in (1, 2, 3, 4)]


@pytest.mark.parametrize("path", TUTORIALS, ids=lambda path: path.stem)
def test_a_tutorial_is_short_and_its_text_is_explained_by_figures(path):
    source = path.read_text(encoding="utf-8")
    prose = source.split('"""')[1] + " ".join(CELL.findall(source))
    assert 300 < len(prose.replace("#", " ").split()) <= 1500
    drawn = re.findall(r"plt\.subplots\(|^result\.figures\[", source, re.MULTILINE)
    assert len(drawn) >= 2
    assert not re.search(r"(?<!\w)\|\w+\|(?!\^)", prose)  # a substitution, to reStructuredText


@pytest.mark.slow
@pytest.mark.parametrize("path", TUTORIALS, ids=lambda path: path.stem)
def test_a_tutorial_runs(path, tmp_path):
    if "torch" in path.stem:
        pytest.importorskip("torch")
    run_script(path, tmp_path)


def test_the_command_is_a_module(tmp_path):
    """``python -m meanfield``, as a tutorial calls it."""
    script = tmp_path / "version.py"
    script.write_text(
        "import runpy, sys\nsys.argv = ['meanfield', '--version']\n"
        "runpy.run_module('meanfield', run_name='__main__')\n"
    )
    # the command ends by SystemExit(0), before anything is drawn
    assert f"meanfield {meanfield.__version__}" in run_script(script, tmp_path)


# --- getting started ------------------------------------------------------------------------------


def test_the_configuration_shown_is_one():
    (text,) = blocks("toml")
    assert load_text(text).steps == 400


def test_the_message_shown_is_the_command_s(monkeypatch, tmp_path):
    (shown,) = blocks("text")
    command, message = shown.strip().split("\n")
    monkeypatch.chdir(tmp_path)
    result = meanfield_command(*command.removeprefix("$ meanfield ").split())
    assert result.exit_code == 2
    assert message in " ".join(result.output.split())


@pytest.mark.slow
@pytest.mark.essential
def test_getting_started_runs_as_printed(monkeypatch, tmp_path):
    """With fewer steps: every command and both blocks of Python."""
    monkeypatch.chdir(tmp_path)
    known = typer.main.get_command(app).commands
    for line in "".join(blocks("sh")).splitlines():
        words = re.sub(r"steps=\d+", "steps=6", line).split()
        if words[0] == "meanfield":
            assert words[1] in known
            result = meanfield_command(*words[1:])
            assert result.exit_code == 0, result.output
    assert (tmp_path / "first" / "report.html").is_file()
    assert (tmp_path / "first" / "figures" / "sharpness.png").is_file()
    scope = {}
    for block in blocks("python"):
        exec(block.replace("steps=400", "steps=6").replace("steps=1000", "steps=20"), scope)
    assert scope["result"].status == "complete" == scope["model"].status
