"""Runs whose processes model another optimizer than gradient descent: numbers of `solve`, resumed, extended, compared, drawn."""

import json
import pickle
import re

import numpy as np
import pytest

import meanfield
import solvers
from meanfield.landscapes import Valley
from meanfield.study.config.run_config import ConfigError, load, load_text
from meanfield.study.engine.extend import extend
from meanfield.study.engine.memory import required_memory
from meanfield.study.engine.resume import resume
from meanfield.study.engine.run import run
from meanfield.study.figures.catalogue import run_figures
from meanfield.study.report import run_sections
from meanfield.study.storage.writer import read_run
from tests.helpers.same_runs import assert_same
from tests.meanfield.study.cli.test_cli import meanfield_command
from tests.meanfield.study.engine.test_resume import stop_at

pytestmark = [pytest.mark.slow, pytest.mark.essential]

WARM, STEPS = 5, 30
TEXT = """
learning_rate = RATE
steps = 30
optimizer = "RULE"
warm_start = 5
landscape = { name = "valley", zeta = 1.0, start = START }
output = { snapshot_every = 1, sharpness_every = 1 }
[processes.RULE]
OPTIONS
[processes.plain]
flow = "free_energy_flow"
[processes.delayed]
flow = "free_energy_flow"
delay = true
"""
CENTRAL, ROD = "[processes.central_flow]\n", "[processes.rod_flow]\nrank = 2\n"
VALLEY = Valley(zeta=1.0, epsilon=0.01)
CASES = {
    "heavy_ball": (solvers.HeavyBall(0.3, momentum=0.3), [0.02, 8.65], "momentum = 0.3", CENTRAL),
    "adam": (solvers.Adam(0.01, beta1=0.5), [0.02, 6.0], "beta1 = 0.5", ROD),
    "scalar_rmsprop": (
        solvers.ScalarRMSProp(0.05, second_moment=0.04), [0.02, 6.0], "second_moment = 0.04", CENTRAL + ROD,
    ),
}  # fmt: skip
PAIRS = [[0, 0.3], [7, 0.2], [12, 0.31]]


def text_of(name, rate=None):
    rule, start, options, more = CASES[name]
    text = TEXT.replace("RULE", name).replace("RATE", str(rate or rule.learning_rate))
    return text.replace("START", str(start)).replace("OPTIONS", options) + more


def own_runs(name, wrapped=lambda flow: flow):
    """What `solve` makes of the same flows."""
    rule, start = CASES[name][0], np.array(CASES[name][1])
    warm = solvers.solve(wrapped(rule), VALLEY, start, WARM).state
    models = {
        "plain": solvers.FreeEnergyFlow(rule),
        "delayed": solvers.FreeEnergyFlow(rule, delay=True),
    }
    if "central" in CASES[name][3]:
        models["central_flow"] = solvers.CentralFlow(rule)
    if "rod" in CASES[name][3]:
        models["rod_flow"] = solvers.RodFlow(rule, rank=2)
    solutions = {
        key: solvers.solve(wrapped(model), VALLEY, warm, STEPS - WARM)
        for key, model in models.items()
    }
    return {name: solvers.solve(wrapped(rule), VALLEY, start, STEPS)} | solutions


@pytest.fixture(scope="module")
def config():
    return load_text(text_of("heavy_ball"))


@pytest.fixture(scope="module")
def path(config, tmp_path_factory):
    return run(config, tmp_path_factory.mktemp("heavy_ball"))


@pytest.fixture(scope="module")
def record(path):
    return read_run(path)


def assert_is(record, solutions):
    assert list(record.processes) == list(solutions)
    for name, solution in solutions.items():
        process = record.processes[name]
        np.testing.assert_array_equal(process.observables["time"], solution.times)
        np.testing.assert_array_equal(process.trajectory, solution.centers)
        np.testing.assert_array_equal(process.observables["train_loss"], solution.losses)
        trace = process.observables["sigma_trace"]
        np.testing.assert_array_equal(trace, solution.fluctuation_trace)


@pytest.mark.parametrize("name", CASES)
def test_the_file_has_the_numbers_of_the_flows_themselves(name, path, tmp_path):
    file = path if name == "heavy_ball" else run(load_text(text_of(name)), tmp_path)
    assert_is(read_run(file), own_runs(name))


def test_rates_that_change(tmp_path):
    config = load_text(text_of("heavy_ball", PAIRS))
    solutions = own_runs("heavy_ball", lambda flow: solvers.Scheduled(flow, PAIRS))
    assert_is(read_run(run(config, tmp_path)), solutions)


def test_the_configuration_in_the_file_gives_it_back(config, record):
    assert load_text(record.config) == config == pickle.loads(pickle.dumps(config))
    # the scheme is that of the model, not of gradient descent's free-energy flow
    assert config.processes["plain"].time_stepping == {"integrator": "rk4"}
    assert load(None, ()).processes["free_energy_flow"].integrator == "chebyshev"
    given = config.replace(**{"processes.plain.integrator": "euler"})
    assert given.processes["plain"].time_stepping == {"integrator": "euler"}


@pytest.mark.parametrize(("what", "step"), [("plain", 5), ("delayed", 17), ("heavy_ball", 9)])
def test_a_run_that_is_stopped_ends_the_same(config, path, tmp_path, what, step):
    run(config, tmp_path, progress=stop_at(what, step))
    assert read_run(tmp_path / "run.h5").attributes["message"] == "stopped by SIGTERM"
    resume(tmp_path)
    assert_same(tmp_path / "run.h5", path)


@pytest.mark.parametrize("name", ["adam", "scalar_rmsprop"])
def test_the_rod_beside_a_mean_of_squares_is_stopped_and_extended(tmp_path, name):
    whole = run(load_text(text_of(name)), tmp_path / "whole")
    config = load_text(text_of(name)).replace(steps=20)
    run(config, tmp_path / "cut", progress=stop_at("rod_flow", 11))
    resume(tmp_path / "cut")
    assert_same(extend(tmp_path / "cut", STEPS), whole)


def test_an_extended_run_is_the_longer_one(config, path, tmp_path):
    run(config.replace(steps=20), tmp_path)
    assert_same(extend(tmp_path, STEPS), path)


def test_the_others_are_compared_with_the_optimizer(record):
    rule, *models = record.processes
    assert record.reference == rule == "heavy_ball"
    centers = {name: process.trajectory for name, process in record.processes.items()}
    for name in models:
        gap = np.linalg.norm(centers[name] - centers[rule][WARM:], axis=1)
        found = record.comparison[name]["center_distance"]
        np.testing.assert_allclose(found[WARM:], gap, rtol=1e-12)
        assert np.isnan(found[:WARM]).all()
    result = meanfield.Result.open(record.path)
    rows = {row["process"]: row for row in result.compare()}
    assert list(rows) == [rule, "heavy ball, one rounding away", *models]
    assert rows["delayed"]["final_distance"] < rows["plain"]["final_distance"]
    # of λ₁ over the threshold, that of ηS over 2(1 + β)
    one, two = (record.processes[n].observables["sharpness"] for n in (rule, "plain"))
    gap = (two - one[WARM:]) * 0.3 / 2.6
    expected = np.sqrt(np.mean(gap**2))
    assert rows["plain"]["relative_sharpness_error"] == pytest.approx(expected)
    assert "final center distance to heavy ball" in repr(result.compare())
    assert "GD" not in repr(result.compare()) + repr(result)


def test_the_optimizer_comes_first_and_runs_once_more_from_one_rounding_away(tmp_path):
    text = text_of("heavy_ball")
    head, _, table = text.partition("[processes.heavy_ball]\nmomentum = 0.3\n")
    last = load_text(f"{head}{table}[processes.heavy_ball]\nmomentum = 0.3\n")
    record = read_run(run(last, tmp_path))
    assert next(iter(record.processes)) == "heavy_ball" and record.perturbed is not None
    assert record.perturbed.flow == "heavy_ball"
    assert np.nanmax(record.perturbed.observables["center_distance"]) < 1e-10


def test_gradient_descent_runs_beside_it_but_models_nothing(tmp_path):
    text = f"{text_of('heavy_ball')}[processes.gradient_descent]\n"
    record = read_run(run(load_text(text), tmp_path))
    descent = record.processes["gradient_descent"]
    solution = solvers.solve(solvers.GradientDescent(0.3), VALLEY, np.array([0.02, 8.65]), STEPS)
    np.testing.assert_array_equal(descent.trajectory, solution.centers)
    assert record.reference == "heavy_ball"


def test_its_threshold_is_drawn(record):
    drawn = {figure.name: figure for figure in run_figures(record)}
    lines = {line.get_label(): line for line in drawn["sharpness"].figure.axes[0].lines}
    edge = lines["edge of stability of heavy ball"].get_ydata()
    np.testing.assert_allclose(edge, 2 * 1.3 / 0.3, rtol=1e-9)
    assert "edge of stability 2/η" not in lines
    assert "2/η" not in drawn["sharpness"].caption
    assert "gradient descent" not in drawn["distance"].caption + drawn["distance"].title
    assert "effective_sharpness" in drawn


def test_the_report_speaks_of_it(record):
    text = re.sub(r"<[^>]*>", "", run_sections.report(record).text)
    assert "Optimizer" in text and "heavy ball; flow heavy_ball, momentum 0.3" in text
    assert "5 of its steps before its models begin" in text
    assert "Heavy ball ends at sharpness over its threshold" in text
    assert "Closest to it at the end: delayed" in text
    assert "Distance to heavy ball" in text


def test_the_commands_take_it(path):
    for command in (["info", path], ["plot", path, "--only", "distance"], ["compare", path]):
        result = meanfield_command(*command)
        assert (result.exit_code, result.stderr) == (0, ""), result.output
    told = json.loads(meanfield_command("compare", path, "--json", "--no-figure").stdout)
    assert told["processes"][0]["process"] == "heavy_ball"
    assert told["rounding_spread"]["process"] == "heavy ball, one rounding away"


def test_a_warm_start_of_gradient_descent(tmp_path):
    """Its models begin from its iterate, of an odd number of steps."""
    config = load(
        None,
        ("learning_rate=0.3", "steps=9", "warm_start=3", "landscape={name='valley'}",
         "output={snapshot_every=4, observe_every=4, sharpness_every=4}",
         "processes={gradient_descent={}, free_energy_flow={delay=true}, rod_flow={}}"),
    )  # fmt: skip
    record, start = read_run(run(config, tmp_path)), np.array(Valley().start)
    warm = solvers.solve(solvers.GradientDescent(0.3), Valley(), start, 3).state
    for name, flow in (
        ("free_energy_flow", solvers.FreeEnergyFlow(0.3, delay=True)),
        ("rod_flow", solvers.RodFlow(0.3)),
    ):
        solution = solvers.solve(flow, Valley(), warm, 6)
        process = record.processes[name]
        assert process.observables["time"].tolist() == [3, 4, 8, 9]
        assert process.snapshot_times.tolist() == [3, 4, 8, 9]
        np.testing.assert_array_equal(process.trajectory, solution.centers[[0, 1, 5, 6]])
    assert record.processes["gradient_descent"].observables["time"].tolist() == [0, 4, 8, 9]


def test_models_alone_are_warmed_by_gradient_descent(tmp_path):
    config = load(
        None,
        ("learning_rate=0.3", "steps=6", "warm_start=2", "landscape={name='valley'}",
         "output={snapshot_every=1}", "processes={gradient_flow={}}"),
    )  # fmt: skip
    record, start = read_run(run(config, tmp_path)), np.array(Valley().start)
    warm = solvers.solve(solvers.GradientDescent(0.3), Valley(), start, 2).state
    solution = solvers.solve(solvers.GradientFlow(0.3), Valley(), warm, 4)
    np.testing.assert_array_equal(
        record.processes["gradient_flow"].trajectory, solution.centers
    )  # fmt: skip


def test_the_memory_is_that_of_the_model():
    """Heavy ball's state has weights and momenta, twice: that of its model is larger than gradient descent's."""
    base = ("network.width=20000", "processes={heavy_ball={}, free_energy_flow={}}")
    plain = required_memory(load(None, base), 66)
    model = required_memory(load(None, (*base, "optimizer=heavy_ball")), 66)
    assert model["heavy_ball"] == plain["heavy_ball"]
    assert model["free_energy_flow"] != plain["free_energy_flow"]


# peak resident memory above that of 500 particles, in arrays of all particles, as measured with 8000 of them
@pytest.mark.parametrize(("name", "measured"), [("rmsprop", 247), ("adam", 328)])
def test_the_estimate_of_the_rod_beside_a_mean_of_squares_is_a_bound(name, measured):
    text = f"processes={{{name}={{}}, rod_flow={{}}}}"
    config = load(None, ("network.width=20000", text, f"optimizer={name}"))
    arrays = required_memory(config, 66)["rod_flow"] / (20000 * 66 * 8)
    assert measured <= arrays <= 3 * measured


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (("optimizer=heavy_bal",), r"optimizer must be the name of a process, one of .*, got 'heavy_bal'"),
        (("optimizer=heavy_bal", "processes={heavy_ball={}}"), "did you mean 'heavy_ball'"),
        (("optimizer=rod_flow", "processes={rod_flow={}}"),
         "optimizer must name a process of gradient descent or of an optimizer, got 'rod_flow', of rod_flow"),
        (("optimizer=heavy_ball", "processes={heavy_ball={}, gradient_flow={}}"),
         "processes.gradient_flow: optimizer must be gradient descent for gradient_flow, which models no other rule, got "),
        (("optimizer=heavy_ball", "processes={heavy_ball={}, free_energy_flow={rank=2}}"),
         "processes.free_energy_flow: rank must be 1 for a model of heavy_ball, got 2"),
        (("optimizer=adam", "processes={adam={}, free_energy_flow={fluctuation_floor=0.5}}"),
         "processes.free_energy_flow: fluctuation_floor must be 'rounding' or 0 for an optimizer, got 0.5"),
        (("processes={heavy_ball={momentum=1.0}}",), "processes.heavy_ball.momentum must be .* below 1, got 1"),
        (("processes={adam={beta2=1.0}}",), "processes.adam.beta2 must be .* below 1, got 1"),
        (("processes={rmsprop={eps=-1e-8}}",), "processes.rmsprop.eps must be a finite number of at least 0, got -1e-08"),
        (("warm_start=-1",), "warm_start must be at least 0, got -1"),
        (("warm_start=5", "steps=4"), "warm_start must be at most steps, 4, got 5"),
        (("optimizer=adam", "learning_rate=[[0, 0.1], [5, 1.0]]", "processes={adam={}, jko={}}"),
         "processes.jko: optimizer must be gradient descent for jko"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused(overrides, message):
    with pytest.raises(ConfigError, match=message) as error:
        load(None, overrides)
    assert len(error.value.lines) == 1
