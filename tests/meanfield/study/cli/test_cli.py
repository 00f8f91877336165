import json
import os
import re
import shutil

import h5py
import numpy as np
import pytest
from rich.console import Console

import meanfield
from meanfield.study.analysis.stored_run import StoredRun
from meanfield.study.analysis.summary import tables
from meanfield.study.storage.schema import OutputError
from meanfield.study.storage.writer import read_run
from solvers.flows import FLOWS
from tests.helpers.commands import meanfield_command
from tests.helpers.studies import study


def settings(small, *more):
    return [part for setting in (*small, *more) for part in ("--set", setting)]


def assert_refused(result, *messages, code=2):
    """A message on stderr, nothing on stdout, no traceback."""
    assert result.exit_code == code, result.output
    assert result.stdout == ""
    assert "Traceback" not in result.stderr
    for message in messages:
        assert message in result.stderr


# --- run -----------------------------------------------------------------------------------------


def test_run_is_told_its_threads(tmp_path, small):
    out = ("--out", tmp_path, "--no-figures", "--quiet")
    assert meanfield_command("run", *settings(small), "--threads", 1, *out).exit_code == 0
    with StoredRun.open(tmp_path / "run.h5") as result:
        assert json.loads(result.attributes["machine_json"])["threads"] == 1
    for command in (("run", *out), ("resume", tmp_path)):
        assert_refused(
            meanfield_command(*command, "--threads", 0), "threads must be an integer from 1 to"
        )
    assert_refused(
        meanfield_command("width", "--widths", "8,16", "--out", tmp_path / "width", "--threads", 0),
        "threads must be an integer from 1 to",
    )


@pytest.mark.slow
@pytest.mark.essential
def test_run_writes_the_file_the_figures_and_a_table(tmp_path, small):
    out = tmp_path / "deep/out"
    result = meanfield_command("run", "--out", out, *settings(small))
    assert result.exit_code == 0, result.output
    assert result.stderr == ""  # no progress where there is no terminal
    for words in ("gradient_descent", "η·sharpness", "tr Σ", "W2 to GD", str(out / "run.h5")):
        assert words in result.stdout
    assert sorted(os.listdir(out)) == ["figures", "run.h5"]
    assert (out / "figures/overview.png").stat().st_size > 10_000


def test_run_prints_json_for_machines(tmp_path, small):
    arguments = ["run", "--out", tmp_path, "--json", "--no-figures", *settings(small)]
    report = json.loads(meanfield_command(*arguments).stdout)
    assert report["status"] == "complete" and report["figures"] == []
    with h5py.File(report["file"]) as file:
        for process in report["processes"]:
            data = file[process["process"]]["observables"]
            assert process["train_loss"] == data["train_loss"][-1]
            assert process["eta_sharpness"] == 0.5 * data["sharpness"][-1]
    descent, flow = report["processes"][0], report["processes"][1]
    assert descent["w2"] is None and flow["w2"] > 0


def test_tables_have_as_many_columns_as_the_terminal_has_room_for():
    rows = [{"process": f"flow{i}", "x": i / 3, "y": None, "z": 12345.0} for i in range(9)]
    titles = {"x": "value", "y": "missing", "z": "steps"}
    (everything,) = tables(rows, titles)
    assert len(everything.columns) == 10 and everything.row_count == 3
    blocks = list(tables(rows, titles, width=80))
    assert [len(block.columns) - 1 for block in blocks] == [4, 4, 1]
    console = Console(width=80, record=True, quiet=True)
    assert all(console.measure(block).maximum <= 80 for block in blocks)
    assert list(blocks[1].columns[1].cells) == ["1.333", "–", "12345"]
    assert len(list(tables(rows, titles, width=1))) == 9


def test_quiet_prints_nothing(tmp_path, small, monkeypatch):
    figures = [tmp_path / "figures/loss.png"]  # where they are would be printed
    monkeypatch.setattr("meanfield.study.cli._running.draw", lambda *drawn: figures)
    result = meanfield_command("run", "--out", tmp_path, "--quiet", *settings(small))
    assert (result.exit_code, result.output) == (0, "")


def test_a_folder_that_is_not_empty_is_only_used_by_force(tmp_path, small):
    (tmp_path / "notes.txt").write_text("mine")
    arguments = ["run", "--out", tmp_path, "--no-figures", *settings(small)]
    assert_refused(meanfield_command(*arguments), "must be empty, got ", "--force")
    assert os.listdir(tmp_path) == ["notes.txt"]
    assert meanfield_command(*arguments, "--force").exit_code == 0
    assert (tmp_path / "notes.txt").read_text() == "mine"


def test_a_file_is_no_folder(tmp_path, small):
    path = tmp_path / "file"
    path.write_text("mine")
    assert_refused(
        meanfield_command("run", "--out", path, *settings(small)),
        "must be a folder for the output, got a file",
    )


def test_several_wrong_settings_are_one_message(tmp_path):
    config = tmp_path / "study.toml"
    config.write_text("learning_rate = -1\n[network]\nwidht = 5\n")
    out = tmp_path / "out"
    result = meanfield_command("run", config, "--out", out, "--set", "steps=-1")
    for line in (
        "learning_rate must be a finite number above 0, got -1",
        "did you mean 'width'",
        "steps must be at least 0, got -1",
    ):
        assert_refused(result, line)
    assert not out.exists()


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("network.width=0", "network.width must be at least 1, got 0"),
        ("learning_rate=0", "learning_rate must be a finite number above 0, got 0"),
        ("learning_rate=nan", "learning_rate must be a finite number above 0, got nan"),
        ("risk.loss=softmax", "softmax"),
        ("nonsense", "section.key=value"),
    ],
)
def test_wrong_settings_are_refused(tmp_path, setting, message):
    result = meanfield_command("run", "--out", tmp_path / "out", "--set", setting)
    assert_refused(result, message)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        (
            {"inputs": [[1.0, np.nan]], "targets": [1.0]},
            "inputs must be finite, got nan at index (0, 1)",
        ),
        ({"inputs": np.ones((3, 2)), "targets": np.ones(4)}, "equally many rows, got 3 and 4"),
        ({"inputs": np.ones((3, 2))}, "must have an array 'targets', got inputs"),
    ],
)
def test_data_that_cannot_be_used_are_refused(tmp_path, arrays, message):
    np.savez(tmp_path / "data.npz", **arrays)
    config = tmp_path / "study.toml"
    config.write_text("[task]\nname = 'npz'\npath = 'data.npz'\n")
    assert_refused(meanfield_command("run", config, "--out", tmp_path / "out"), message)
    assert_refused(meanfield_command("validate", config), message)


def test_a_missing_config_is_refused(tmp_path):
    assert_refused(meanfield_command("run", tmp_path / "none.toml"), "no such file")


@pytest.mark.parametrize("figures", [["--no-figures"], pytest.param([], marks=pytest.mark.slow)])
def test_a_divergence_exits_with_1_and_leaves_a_file(tmp_path, small, figures):
    more = ("learning_rate=1e9", "steps=60", "output.sharpness_every=100")
    result = meanfield_command(
        "run", "--out", tmp_path, "--json", *figures, *settings(small, *more)
    )
    assert result.exit_code == 1
    assert "gradient_descent: diverged at step" in result.stderr
    assert json.loads(result.stdout)["status"] == "diverged"
    assert meanfield_command("info", tmp_path / "run.h5").exit_code == 0


def test_an_energy_past_the_largest_float_does_not_reach_json(tmp_path):
    config = tmp_path / "config.toml"
    config.write_text(
        """
        learning_rate = 1e9
        steps = 9
        landscape = {name = "quartic"}
        processes.gradient_flow.integrator = "euler"
        """
    )
    path = tmp_path / "out/run.h5"
    ran = meanfield_command("run", config, "--out", path.parent, "--no-figures", "--json")
    assert ran.exit_code == 1 and json.loads(ran.stdout)["status"] == "diverged"
    info = json.loads(meanfield_command("info", path, "--json").stdout)
    assert np.isfinite(info["processes"][0]["balance_residual"])
    assert read_run(path).processes["gradient_flow"].observables["free_energy"][-1] == -np.inf


def test_a_full_disk_exits_with_1(tmp_path, small, monkeypatch):
    def no_room(folder, layout):
        raise OutputError(f"{folder}: no room")

    monkeypatch.setattr("meanfield.study.engine.run.require_space", no_room)
    result = meanfield_command("run", "--out", tmp_path / "out", *settings(small))
    assert_refused(result, "no room", code=1)


# --- info, plot, validate ------------------------------------------------------------------------


def test_info_says_what_the_run_was(small_run):
    result = meanfield_command("info", small_run)
    assert result.exit_code == 0
    for words in ("status: complete", "learning_rate: 0.5", "free_energy_flow", "width = 8"):
        assert words in result.stdout
    report = json.loads(meanfield_command("info", small_run, "--json").stdout)
    assert [process["time"] for process in report["processes"]] == [6.0, 6.0, 6.0]
    assert "width = 8" in report["config"]


@pytest.mark.slow
@pytest.mark.essential
def test_plot_draws_what_is_asked_for(small_run, tmp_path):
    result = meanfield_command("plot", small_run, "--out", tmp_path, "--format", "svg,pdf")
    assert result.exit_code == 0, result.output
    names = {path.stem for path in tmp_path.iterdir()}
    assert names == {
        "loss",
        "sharpness",
        "oscillation",
        "distance",
        "free_energy",
        "phase_portrait",
        "particle_clouds",
        "overview",
    }  # not the densities of eight particles
    assert {path.suffix for path in tmp_path.iterdir()} == {".svg", ".pdf"}
    few = tmp_path / "few"
    result = meanfield_command("plot", small_run, "--out", few, "--only", "measure,measure_plane")
    assert result.exit_code == 0, result.output
    assert {path.name for path in few.iterdir()} == {"measure.png", "measure_plane.png"}
    assert (tmp_path / "loss.svg").read_text().lstrip().startswith("<?xml")
    assert_refused(
        meanfield_command("plot", small_run, "--format", "gif"),
        "format must be one of png, svg, pdf, got 'gif'",
    )


@pytest.mark.slow
def test_plot_animates_a_process(small_run, tmp_path):
    result = meanfield_command(
        "plot", small_run.parent, "--out", tmp_path, "--animate", "gradient_flow"
    )
    assert (result.exit_code, result.stdout) == (0, f"{tmp_path / 'gradient_flow.gif'}\n")
    assert (tmp_path / "gradient_flow.gif").read_bytes().startswith(b"GIF89a")
    assert_refused(meanfield_command("plot", small_run, "--animate", "jko"), ", got 'jko'")
    refused = meanfield_command("plot", small_run, "--animate", "gradient_flow", "--format", "png")
    assert_refused(refused, "the format of an animation must be one of gif, mp4, got 'png'")


@pytest.mark.slow
def test_plot_draws_a_width_study(tmp_path, monkeypatch):
    (tmp_path / "study.h5").touch()
    monkeypatch.setattr("meanfield.study.report.source.read_study", lambda path: study())
    result = meanfield_command("plot", tmp_path, "--format", "svg")
    assert result.exit_code == 0, result.output
    drawn = {path.name for path in (tmp_path / "figures").iterdir()}
    assert drawn == {f"width_{name}.svg" for name in ("coupled", "measures", "functions", "slopes")}


def test_what_a_file_says_is_text_and_no_markup(small_run, tmp_path):
    path = tmp_path / "run.h5"
    shutil.copy(small_run, path)
    with h5py.File(path, "r+") as file:
        file["gradient_descent"].attrs["status"] = "[/x] :smile:"
    result = meanfield_command("info", path)
    assert result.exit_code == 0 and "[/x] :smile:" in result.stdout


@pytest.mark.parametrize(
    "command", ["info", pytest.param("plot", marks=pytest.mark.slow), "compare"]
)
def test_the_folder_of_a_run_will_do(small_run, command):
    of_folder, of_file = (
        meanfield_command(command, path) for path in (small_run.parent, small_run)
    )
    assert of_folder.exit_code == 0, of_folder.output
    assert of_folder.stdout == of_file.stdout


@pytest.mark.parametrize("command", ["info", "plot", "compare"])
def test_files_that_are_no_run_are_refused(tmp_path, command):
    rubbish, foreign = tmp_path / "rubbish.h5", tmp_path / "foreign.h5"
    rubbish.write_bytes(b"not HDF5")
    with h5py.File(foreign, "w") as file:
        file["x"] = 1.0
    assert_refused(meanfield_command(command, tmp_path / "none.h5"), "there is no such file")
    assert_refused(
        meanfield_command(command, tmp_path), "must hold run.h5 or run.h5.partial, got neither"
    )
    assert_refused(meanfield_command(command, rubbish), "not an HDF5 file")
    assert_refused(
        meanfield_command(command, foreign),
        "must be the file of a run, of schema meanfield-run, got None",
    )


def test_validate(tmp_path):
    config = tmp_path / "study.toml"
    config.write_text("[processes.gradient_flow]\ndt = 0.25\n")
    result = meanfield_command("validate", config)
    assert (result.exit_code, result.stdout) == (0, f"{config}: valid\n")
    assert json.loads(meanfield_command("validate", config, "--json").stdout)["valid"] is True
    config.write_text("steps = -1\nx = 1\n")
    result = meanfield_command("validate", config, "--json")
    assert result.exit_code == 2
    report = json.loads(result.stdout)
    assert report["valid"] is False and len(report["errors"]) == 2


# --- the command itself --------------------------------------------------------------------------


def test_version_and_help():
    assert meanfield_command("--version").stdout == f"meanfield {meanfield.__version__}\n"
    for command in ("run", "info", "plot", "compare", "validate"):
        assert command in meanfield_command("--help").stdout
        assert meanfield_command(command, "--help").exit_code == 0
    assert meanfield_command("rnu").exit_code == 2


@pytest.mark.parametrize("command", ["run", "config", "validate"])
def test_the_help_lists_every_flow(command):
    text = " ".join(meanfield_command(command, "--help").output.split())
    listed = text.partition("Flows: ")[2].rstrip(". ").split(", ")
    assert listed == list(FLOWS)


def test_plot_draws_some_figures_of_some_processes_for_a_column(small_run, tmp_path):
    options = ["--only", "loss,sharpness", "--processes", "gradient_descent", "--width", "86mm"]
    result = meanfield_command("plot", small_run, "--out", tmp_path, "--format", "svg", *options)
    assert result.exit_code == 0, result.output
    assert sorted(path.name for path in tmp_path.iterdir()) == ["loss.svg", "sharpness.svg"]
    points = re.search(r'width="([\d.]+)pt"', (tmp_path / "loss.svg").read_text())[1]
    assert float(points) == pytest.approx(86 / 25.4 * 72, rel=1e-6)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--only", "lss"], "only must be one of"),
        (["--processes", "gd"], "processes must be one of"),
        (["--width", "wide"], "width must be a length from 1.5 to 20 inches"),
        (["--animate", "gradient_descent", "--only", "loss"], "only must be left out with --animate"),
    ],
)  # fmt: skip
def test_plot_refuses_what_is_not_there(small_run, tmp_path, options, message):
    result = meanfield_command("plot", small_run, "--out", tmp_path, *options)
    assert result.exit_code == 2 and message in result.output
    assert not list(tmp_path.iterdir())
