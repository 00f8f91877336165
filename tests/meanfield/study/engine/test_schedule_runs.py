"""Runs whose learning rate changes at given steps."""

import json
import re

import numpy as np
import pytest

import solvers
from meanfield.landscapes import Valley
from meanfield.study.analysis.comparison import compare
from meanfield.study.analysis.summary import summarize
from meanfield.study.config.run_config import ConfigError, load, load_text
from meanfield.study.engine.resume import resume
from meanfield.study.engine.run import run
from meanfield.study.figures.catalogue import run_figures
from meanfield.study.report import run_sections
from meanfield.study.storage.writer import read_run
from meanfield.study.width.plan import make_plan
from tests.helpers.same_runs import assert_same
from tests.meanfield.study.cli.test_cli import meanfield_command
from tests.meanfield.study.engine.test_resume import stop_at

PAIRS = [[0, 0.1], [7, 0.25], [12, 0.05]]
TEXT = f"""
learning_rate = {PAIRS}
steps = 20
landscape = {{ name = "valley", start = [1.0, 5.0] }}
output = {{ snapshot_every = 1, sharpness_every = 1 }}
[processes.gradient_descent]
[processes.gradient_flow]
[processes.free_energy_flow]
delay = true
[processes.rod_flow]
[processes.edge_flow]
[processes.central_flow]
"""
FLOWS = {
    "gradient_descent": solvers.GradientDescent(1.0),
    "free_energy_flow": solvers.FreeEnergyFlow(1.0, delay=True),
    "central_flow": solvers.CentralFlow(1.0),
}


@pytest.fixture(scope="module")
def config():
    return load_text(TEXT)


@pytest.fixture(scope="module")
def path(config, tmp_path_factory):
    return run(config, tmp_path_factory.mktemp("schedule"))


@pytest.fixture(scope="module")
def record(path):
    return read_run(path)


@pytest.mark.parametrize("name", FLOWS)
def test_the_file_has_the_numbers_of_the_flow_itself(record, name):
    flow = solvers.Scheduled(FLOWS[name], PAIRS)
    solution = solvers.solve(flow, Valley(), np.array([1.0, 5.0]), steps=20)
    process = record.processes[name]
    np.testing.assert_array_equal(process.trajectory, solution.centers)
    np.testing.assert_array_equal(process.observables["train_loss"], solution.losses)
    np.testing.assert_array_equal(process.observables["sigma_trace"], solution.fluctuation_trace)


def test_the_configuration_in_the_file_gives_it_back(config, record):
    assert load_text(record.config) == config
    assert config.learning_rate == ((0, 0.1), (7, 0.25), (12, 0.05))
    assert record.learning_rates.learning_rate == config.learning_rate
    assert record.attributes["learning_rate"] == 0.1  # the first, of the type it always had


@pytest.mark.slow
@pytest.mark.parametrize(
    "step", [7, *(pytest.param(step, marks=pytest.mark.slow) for step in (6, 8, 12))]
)
def test_a_run_that_is_stopped_ends_the_same(config, path, tmp_path, step):
    run(config, tmp_path, progress=stop_at("free_energy_flow", step))
    assert read_run(tmp_path / "run.h5").attributes["message"] == "stopped by SIGTERM"
    resume(tmp_path)
    assert_same(tmp_path / "run.h5", path)


def test_numbers_are_relative_to_the_rate_of_their_time(record):
    rows = {row["process"]: row for row in summarize(record)}
    for name, process in record.processes.items():
        sharpness = process.observables["sharpness"][-1]
        assert rows[name]["eta_sharpness"] == pytest.approx(0.05 * sharpness)
    rates = np.array([next(r for s, r in reversed(PAIRS) if t >= s) for t in range(21)])
    one, two = (record.processes[n].observables for n in ("gradient_descent", "rod_flow"))
    gap = (two["sigma_trace"] - one["sigma_trace"]) / rates
    row = next(row for row in compare(record) if row["process"] == "rod_flow")
    assert row["oscillation_error"] == pytest.approx(np.sqrt(np.mean(gap**2)))
    gap = (two["sharpness"] - one["sharpness"]) * rates / 2
    assert row["relative_sharpness_error"] == pytest.approx(np.sqrt(np.mean(gap**2)))


def test_the_edge_of_stability_is_drawn_in_steps(record):
    drawn = next(made for made in run_figures(record) if made.name == "sharpness")
    (edge,) = (
        line
        for line in drawn.figure.axes[0].lines
        if str(line.get_label()).startswith("edge of stability")
    )
    assert edge.get_drawstyle() == "steps-post"
    np.testing.assert_array_equal(edge.get_xdata(), [0, 7, 12, 20])
    np.testing.assert_allclose(edge.get_ydata(), [20, 8, 40, 40])


def test_the_report_says_when_it_changes(record, monkeypatch):
    monkeypatch.setattr("meanfield.study.report.figures.run_figures", lambda run: iter(()))
    html = run_sections.report(record).text
    text = re.sub(r"<[^>]*>", "", html)
    assert "0.1, then 0.25 from step 7, then 0.05 from step 12" in text
    assert "2/η = 20, 8, 40" in text


@pytest.mark.slow
@pytest.mark.essential
def test_the_commands_that_draw_take_it(path):
    for command in ("report", "plot", "compare"):
        result = meanfield_command(command, path)
        assert (result.exit_code, result.stderr) == (0, ""), result.output


def test_the_commands_take_it(path):
    result = meanfield_command("info", path)
    assert (result.exit_code, result.stderr) == (0, ""), result.output
    told = json.loads(meanfield_command("compare", path, "--json", "--no-figure").stdout)
    assert told["learning_rates"] == PAIRS and told["learning_rate"] == 0.1


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (("learning_rate=[[0, 0.1], [5, -1]]",), "learning_rate must be a finite number above 0"),
        (("learning_rate=[[3, 0.1]]",), r"learning_rate must be a list of \[step, learning rate\]"),
        (("learning_rate=[]",), "learning_rate must be a list"),
        (("learning_rate=0",), "learning_rate must be a finite number above 0, got 0"),
        (
            ("learning_rate=[[0, 0.1], [5, 1]]", "processes={jko={}, a={flow='sharpness_flow'}}"),
            "learning_rate must be a number for processes.jko, processes.a, whose learning rate cannot change",
        ),
    ],
)
def test_what_is_no_schedule_is_refused(overrides, message):
    with pytest.raises(ConfigError, match=message) as error:
        load(None, overrides)
    assert len(error.value.lines) == 1


def test_a_width_study_has_one_rate():
    config = load(None, ("learning_rate=[[0, 0.1], [5, 1.0]]",))
    with pytest.raises(ConfigError, match="learning_rate must be a number in a width study"):
        make_plan(config, (4, 8))
