"""Runs with steps on batches of the samples: the numbers of `solve`, the curvature along batches' gradients, bad input."""

import numpy as np
import pytest

import meanfield
import solvers
from meanfield.study.config.run_config import ConfigError, load, load_text
from meanfield.study.engine.resume import resume
from meanfield.study.engine.run import run
from meanfield.study.figures.catalogue import run_figures
from meanfield.study.storage.writer import read_run
from meanfield.study.width.plan import Run, make_plan
from tests.helpers.same_runs import assert_same
from tests.meanfield.study.engine.test_resume import stop_at

TEXT = """
learning_rate = 0.5
steps = 12
optimizer = "sgd"
task = { name = "digits", n = 12 }
network = { width = 8 }
output = { snapshot_every = 1, sharpness_every = 4 }
[processes.sgd]
flow = "heavy_ball"
momentum = 0.5
batch_size = 5
seed = 3
[processes.free_energy_flow]
delay = true
[processes.drawn]
flow = "gradient_descent"
batch_size = 5
replacement = true
"""


@pytest.fixture(scope="module")
def config():
    return load_text(TEXT)


@pytest.fixture(scope="module")
def path(config, tmp_path_factory):
    return run(config, tmp_path_factory.mktemp("batches"))


@pytest.fixture(scope="module")
def problem():
    network = meanfield.TwoLayerNetwork(64)
    return meanfield.Risk(network, meanfield.tasks.digits(12)), network.initialize(8, seed=0)


def test_the_file_has_the_numbers_of_the_flow_itself(path, problem):
    rule = solvers.HeavyBall(0.5, 0.5)
    flows = {
        "sgd": solvers.MiniBatch(rule, 5, seed=3),
        "drawn": solvers.MiniBatch(solvers.GradientDescent(0.5), 5, replacement=True),
        "free_energy_flow": solvers.FreeEnergyFlow(rule, delay=True),
    }
    record = read_run(path)
    with meanfield.Result.open(path) as result:
        for name, flow in flows.items():
            solution = solvers.solve(flow, *problem, steps=12)
            positions = [snapshot.position for snapshot in result[name].snapshots]
            np.testing.assert_array_equal(positions, solution.centers)
            losses = record.processes[name].observables["predicted_loss"]
            np.testing.assert_array_equal(losses, solution.predicted_losses)
    assert record.reference == "sgd"


def test_the_curvature_of_batches_is_measured_with_the_spectrum(path, problem):
    record, flow = read_run(path), solvers.MiniBatch(solvers.HeavyBall(0.5, 0.5), 5, seed=3)
    measured = record.processes["sgd"].observables["batch_sharpness"]
    assert np.flatnonzero(np.isfinite(measured)).tolist() == [0, 4, 8, 12]
    state = solvers.solve(flow, *problem, steps=4).state
    assert measured[4] == solvers.batch_sharpness(flow, problem[0], state)
    assert "batch_sharpness" in record.processes["drawn"].observables
    assert "batch_sharpness" not in record.processes["free_energy_flow"].observables
    drawn = {figure.name: figure for figure in run_figures(record)}
    labels = [line.get_label() for line in drawn["sharpness"].figure.axes[0].lines]
    assert "sgd, along batches' gradients" in labels
    assert "along their own gradients" in drawn["sharpness"].caption


def test_the_configuration_in_the_file_gives_it_back(config, path):
    assert load_text(read_run(path).config) == config
    sgd, drawn = config.processes["sgd"], config.processes["drawn"]
    assert sgd.batches == {"batch_size": 5, "seed": 3, "replacement": False}
    assert drawn.batches == {"batch_size": 5, "seed": 0, "replacement": True}
    assert sgd.options == {"momentum": 0.5} and drawn.options == {}
    assert "batch_size" not in load(None, ()).to_toml()


@pytest.mark.parametrize("step", [pytest.param(2, marks=pytest.mark.slow), 7])
def test_a_run_that_is_stopped_ends_the_same(config, path, tmp_path, step):
    run(config, tmp_path, progress=stop_at("sgd", step))
    resume(tmp_path)
    assert_same(tmp_path / "run.h5", path)


def test_rates_that_change(problem):
    pairs = [[0, 0.5], [4, 0.2]]
    config = load_text(TEXT.replace("learning_rate = 0.5", f"learning_rate = {pairs}"))
    with meanfield.run(config) as result:
        flow = solvers.MiniBatch(solvers.HeavyBall(0.5, 0.5), 5, seed=3)
        solution = solvers.solve(solvers.Scheduled(flow, pairs), *problem, steps=12)
        last = result["sgd"].snapshots[-1].position
    np.testing.assert_array_equal(last, solution.centers[-1])


def test_a_warm_start_takes_the_batches_steps(problem):
    with meanfield.run(load_text(TEXT.replace("steps", "warm_start = 3\nsteps"))) as result:
        rule = solvers.HeavyBall(0.5, 0.5)
        warm = solvers.solve(solvers.MiniBatch(rule, 5, seed=3), *problem, steps=3)
        model = solvers.FreeEnergyFlow(rule, delay=True)
        solution = solvers.solve(model, problem[0], warm.state, steps=9)
        last = result["free_energy_flow"].snapshots[-1].position
    np.testing.assert_array_equal(last, solution.centers[-1])


def test_a_width_study_has_the_same_batches_at_every_width(config):
    plan = make_plan(config.replace(optimizer="sgd"), (4, 8), seeds=2)
    processes = plan.study_of(Run(4, 1)).processes
    assert processes["sgd"].seed == 3 and processes["free_energy_flow"].seed == 2
    assert ("sgd", "free_energy_flow") in plan.pairs
    assert ("drawn", "free_energy_flow") not in plan.pairs
    assert plan.is_coupled(plan.pairs[0])


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ("batch_size=0", "processes.adam.batch_size must be an integer of at least 1, got 0"),
        ("batch_size=2.5", "processes.adam.batch_size must be an integer of at least 1, got 2.5"),
        ("batch_size=4, seed=-1", "processes.adam.seed must be an integer .*, got -1"),
        ("batch_size=4, replacement=1", "processes.adam.replacement must be True or False, got 1"),
        ("seed=4", "processes.adam.seed must not be given without batch_size, got 4"),
        ("replacement=true", "processes.adam.replacement must not be given without batch_size"),
    ],
)
def test_what_are_no_batches_is_refused(table, message):
    with pytest.raises(ConfigError, match=message) as error:
        load(None, (f"processes={{adam={{{table}}}}}",))
    assert len(error.value.lines) == 1


def test_models_have_no_batches():
    with pytest.raises(ConfigError, match="processes.rod_flow.batch_size is not a known key"):
        load(None, ("processes={rod_flow={batch_size=4}}",))


def test_a_batch_larger_than_the_data_is_refused(config, tmp_path):
    too_large = config.replace(**{"processes.sgd.batch_size": 13})
    with pytest.raises(
        ValueError,
        match="processes.sgd: batch_size must be at most the number of samples, 12, got 13",
    ):
        run(too_large, tmp_path)
    on_a_valley = load(None, ("landscape={name='valley'}", "processes={adam={batch_size=1}}"))
    with pytest.raises(ValueError, match="processes.adam: objective must be .*batch"):
        run(on_a_valley, tmp_path)
