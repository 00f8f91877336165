"""The metrics of a comparison, worked out by hand, and the command that prints them."""

import json
from pathlib import Path

import h5py
import numpy as np
import pytest
from matplotlib.figure import Figure

from meanfield.study.analysis.comparison import (
    PERTURBED_TITLE,
    compare,
    comparison_cell,
    onset,
    onset_level,
)
from meanfield.study.config.run_config import load
from meanfield.study.engine.run import run
from meanfield.study.figures.catalogue import comparison
from meanfield.study.figures.curves import draw_oscillation
from meanfield.study.storage.observables import EVERYWHERE
from meanfield.study.storage.schema import ProcessRecord, RunRecord
from meanfield.study.storage.writer import read_run
from tests.helpers.commands import meanfield_command

GD = "gradient_descent"


def process(flow, times, **observables):
    missing = {key: np.full(len(times), np.nan) for key in EVERYWHERE}
    given = {key: np.asarray(values, float) for key, values in observables.items()}
    time = {"time": np.asarray(times, float)}
    return ProcessRecord(
        flow, "complete", "", missing | given | time, np.asarray(times, float), None, None
    )


def record(processes, comparison=None, times=(), learning_rate=0.5):
    attributes = {"learning_rate": learning_rate, "status": "complete"}
    arrays = {name: {"center_distance": np.array(d)} for name, d in (comparison or {}).items()}
    return RunRecord(Path("run.h5"), attributes, "", processes, np.array(times), arrays)


def metrics_of_mine(descent, mine, **more):
    """The row of a process `mine` next to gradient descent."""
    first, second = compare(record({GD: descent, "mine": mine}, **more))
    assert (first["process"], second["process"]) == (GD, "mine")
    return second


T = np.arange(60)


def test_distances_are_those_of_the_snapshots():
    plain = process(GD, T), process("rod_flow", T)
    times, distances = [0, 10, 20, 30], [0.0, 0.5, 0.2, np.nan]
    row = metrics_of_mine(*plain, comparison={"mine": distances}, times=times)
    assert (row["max_distance"], row["max_distance_time"]) == (0.5, 10)
    assert row["final_distance"] == 0.2
    row = metrics_of_mine(*plain)  # as of a run that was interrupted
    assert row["max_distance"] is None and row["final_distance"] is None


def test_sharpness_is_compared_where_both_measured_it():
    descent = process(GD, [0, 10, 20, 30], sharpness=[1, 2, 3, np.nan])
    mine = process("rod_flow", [0, 10, 30], sharpness=[1, 5, 9])
    row = metrics_of_mine(descent, mine)
    assert row["sharpness_error"] == pytest.approx(np.sqrt(4.5))  # errors 0 and 3
    assert row["relative_sharpness_error"] == pytest.approx(np.sqrt(4.5) / 4)  # 2/η = 4
    assert (row["peak_sharpness"], row["peak_sharpness_time"]) == (9, 30)


def test_oscillation_energy_is_the_trace_over_the_learning_rate():
    mine = 0.2 + 0.1 * (-1.0) ** T
    row = metrics_of_mine(
        process(GD, T, sigma_trace=np.full(60, 0.2)), process("rod_flow", T, sigma_trace=mine)
    )
    assert row["oscillation_error"] == pytest.approx(0.2)  # 0.1 / η


def test_predicted_losses_are_averaged_over_twenty_steps():
    descent = process(GD, T, predicted_loss=np.full(60, -2.0))
    row = metrics_of_mine(descent, process("rod_flow", T, predicted_loss=np.where(T < 40, -2, -1)))
    # the i-th of 41 windows holds max(0, i - 20) of the last 20 values, each wrong by 1/2
    assert row["max_loss_error"] == pytest.approx(0.5)
    assert row["loss_error"] == pytest.approx(np.sqrt(2870 / 1600 / 41))  # Σ (i/40)² = 2870/1600
    alternating = process("rod_flow", T, predicted_loss=-2 + 0.7 * (-1.0) ** T)
    assert metrics_of_mine(descent, alternating)["max_loss_error"] < 1e-15


@pytest.mark.parametrize("measured", [np.sign(T - 29.5), np.zeros(60), np.full(60, np.nan)])
def test_a_loss_error_without_a_scale_is_missing(measured):
    descent = process(GD, T, predicted_loss=measured)
    row = metrics_of_mine(descent, process("rod_flow", T, predicted_loss=np.ones(60)))
    assert row["loss_error"] is None and row["max_loss_error"] is None


def test_a_short_run_has_no_window_for_its_losses():
    short = [process(flow, T[:19], predicted_loss=np.ones(19)) for flow in (GD, "rod_flow")]
    assert metrics_of_mine(*short)["loss_error"] is None


def test_evaluations_are_those_after_the_start():
    mine = process("rod_flow", [0, 1, 2], gradients=[3, 7, 11], hvps=[2, 2, 2])
    mine.observables["solver_time"][:] = [0.0, 0.1, 0.25]
    del mine.observables["thirds"], mine.observables["wall_time"]  # a file of an older version
    row = metrics_of_mine(process(GD, [0, 1, 2]), mine)
    assert (row["gradients_per_step"], row["hvps_per_step"]) == (4, 0)
    assert row["thirds_per_step"] is None
    assert (row["solver_seconds"], row["wall_seconds"]) == (0.25, None)


# --- the onset of the oscillation ----------------------------------------------------------------

# what is left of the start decays to the drift's 1e-6, then the oscillation grows to 4e-2
SPIKE = np.array([1, 1e-2, 1e-4, 1e-6, 1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 4e-2, 1e-2, 3e-2])


def test_the_level_of_the_onset():
    assert onset_level(SPIKE) == pytest.approx(4e-4)  # 1%, above the mean √(1e-6 · 4e-2) = 2e-4
    assert onset_level(SPIKE[3:] + 1e-3) == pytest.approx(np.sqrt(1.001e-3 * 4.1e-2))
    assert onset_level(np.where(SPIKE > 1e-5, SPIKE, 0)) == pytest.approx(4e-4)  # after underflow
    assert onset_level(10.0 ** -np.arange(9)) is None  # it only decays
    assert onset_level(np.array([1e-3, 9e-3, 5e-3])) is None  # less than ten-fold
    assert onset_level(np.zeros(5)) is None and onset_level(np.full(3, np.nan)) is None


def test_the_onset_is_the_first_time_at_the_level_after_having_been_below():
    times = 2.0 * np.arange(12)
    assert onset(times, SPIKE, 4e-4) == 14
    assert onset(times, SPIKE, None) is None
    assert onset(times, np.zeros(12), 4e-4) is None
    assert onset(times, np.ones(12), 4e-4) is None


def test_processes_are_late_by_the_level_of_gradient_descent():
    descent = process(GD, np.arange(12), sigma_trace=SPIKE)
    # much deeper before, and less high: central flow jumps to where it stays
    late = process("free_energy_flow", np.arange(12), sigma_trace=np.roll(SPIKE, 3) ** 1.5)
    jump = process("central_flow", np.arange(12), sigma_trace=np.where(np.arange(12) < 5, 0, 8e-4))
    flow = process("gradient_flow", np.arange(12), sigma_trace=np.zeros(12))
    rows = compare(record({GD: descent, "late": late, "jump": jump, "flow": flow}))
    assert [row["onset"] for row in rows] == [7, 11, 5, None]
    assert [row["onset_delay"] for row in rows] == [None, 4, -2, None]
    assert comparison_cell("onset", None) == "never" and comparison_cell("onset", 7.0) == "7"
    assert comparison_cell("onset_delay", None) == "–"


def test_a_divergence_is_compared_without_warnings_and_without_infinities():
    huge = np.where(T < 58, 1.0, 1e308)
    huge[-1] = np.inf
    mine = process("rod_flow", T, sigma_trace=huge, predicted_loss=-huge, sharpness=huge)
    ones = {key: np.ones(60) for key in ("sigma_trace", "predicted_loss", "sharpness")}
    row = metrics_of_mine(process(GD, T, **ones), mine)
    json.dumps(row, allow_nan=False)
    assert row["sharpness_error"] == pytest.approx(1e308 / np.sqrt(59))


# --- the command ---------------------------------------------------------------------------------


@pytest.fixture
def run_file(small_run, tmp_path):
    path = tmp_path / "run.h5"
    path.write_bytes(small_run.read_bytes())
    return path


def test_compare_prints_a_table_and_draws_a_figure(run_file):
    result = meanfield_command("compare", run_file, "--format", "png,svg")
    assert (result.exit_code, result.stderr) == (0, "")
    for words in ("free_energy_flow", "center distance to GD", "never", "gradients per step"):
        assert words in result.stdout
    drawn = {path.name for path in (run_file.parent / "figures").iterdir()}
    assert drawn == {"compare.png", "compare.svg"}
    assert (run_file.parent / "figures/compare.png").stat().st_size > 10_000


def test_compare_prints_json_for_machines(run_file):
    result = meanfield_command("compare", run_file, "--json", "--no-figure")
    report = json.loads(result.stdout)
    assert (report["figures"], report["learning_rate"]) == ([], 0.5)
    assert not (run_file.parent / "figures").exists()
    descent, flow, energy = report["processes"]
    assert report["rounding_spread"]["process"] == PERTURBED_TITLE
    assert 0 < report["rounding_spread"]["final_distance"] < 1e-13  # nothing has grown in six steps
    assert energy["final_distance_within"] is False
    assert descent["gradients_per_step"] == 1
    assert flow["onset"] is None and descent["max_distance"] is None
    with h5py.File(run_file) as file:
        assert energy["final_distance"] == file["comparison/center_distance"][1, -1]
        counted = file["free_energy_flow/observables/gradients"][:]
        assert energy["gradients_per_step"] == (counted[-1] - counted[0]) / (len(counted) - 1)


def test_runs_without_a_pair_to_compare_are_refused(tmp_path, small):
    for name, processes, message in (
        ("a", "processes={gradient_descent={}}", "must have two processes or more to compare, got"),
        (
            "b",
            "processes={gradient_flow={},free_energy_flow={}}",
            "must have a process of gradient descent to compare with, got",
        ),
    ):
        path = run(load(None, (*small, processes)), tmp_path / name)
        result = meanfield_command("compare", path)
        assert result.exit_code == 2 and result.stdout == ""
        assert message in result.stderr and "Traceback" not in result.stderr
        assert not (tmp_path / name / "figures").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["none.h5"], "there is no such file"),
        (["run.h5", "--format", "gif"], "format must be one of png, svg, pdf, got 'gif'"),
    ],
)
def test_wrong_input_is_refused(run_file, arguments, message):
    result = meanfield_command("compare", run_file.parent / arguments[0], *arguments[1:])
    assert result.exit_code == 2 and message in result.stderr


def test_a_folder_that_cannot_be_written_exits_with_1(run_file):
    (run_file.parent / "figures").write_text("a file")
    result = meanfield_command("compare", run_file)
    assert result.exit_code == 1 and "cannot write" in result.stderr


# --- the figure ----------------------------------------------------------------------------------


def test_the_figure_shows_every_process_over_one_axis_of_time(small_run):
    ((name, _, _, figure),) = comparison(read_run(small_run))
    assert name == "compare" and len(figure.axes) == 4
    assert len({ax.get_xlim() for ax in figure.axes}) == 1
    assert [ax.get_legend() for ax in figure.axes] == [None] * 4
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    assert {"gradient descent", "gradient flow", "free energy flow"} <= set(labels)
    assert len(labels) == len(set(labels))


def test_the_oscillation_is_drawn_over_the_learning_rate(small_run):
    record = read_run(small_run)
    ax = Figure().subplots()
    draw_oscillation(ax, record)
    (line,) = (line for line in ax.lines if line.get_label() == "free energy flow")
    trace = record.processes["free_energy_flow"].observables["sigma_trace"]
    np.testing.assert_allclose(line.get_ydata(), trace / 0.5)
    assert "gradient flow" not in {line.get_label() for line in ax.lines}  # it has none
