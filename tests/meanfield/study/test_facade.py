"""Runs from Python: the same file as the command's, with objects that no configuration can say."""

import gc
import signal

import numpy as np
import pytest

import meanfield
import solvers
from meanfield.landscapes import Valley
from meanfield.study.config.run_config import load
from meanfield.study.storage.writer import read_run
from tests.helpers.commands import meanfield_command
from tests.helpers.own_objects import Bowl, HeavyBall
from tests.helpers.same_runs import assert_same

GD, ENERGY = "gradient_descent", "free_energy_flow"
OUTPUT = {"snapshot_every": 5, "sharpness_every": 2}
CONFIG = meanfield.RunConfig(
    learning_rate=0.3, steps=12, output=OUTPUT, processes={GD: {}, ENERGY: {}}
)
CURVATURES, START = [1.0, 2.0, 4.0], [1.0, -1.0, 0.5]
GIVEN = {"flows": {"mine": HeavyBall(0.3)}, "objective": Bowl(CURVATURES), "start": START}


def stop_at(what, done):
    def progress(*now):
        if now[:2] == (what, done):
            signal.raise_signal(signal.SIGTERM)

    return progress


@pytest.mark.parametrize("dtype", [float, pytest.param(int, marks=pytest.mark.slow)])
def test_a_function_as_a_landscape(dtype):
    """It knows neither its dimension nor names of coordinates; the values are those of the valley's own formula."""
    landscape = meanfield.landscapes.Landscape(
        lambda x: 0.5 * (x[0] + x[1]) * x[0] ** 2 - 0.01 * (x[0] + x[1])
    )
    start = np.array([0, 6], dtype)
    with (
        meanfield.run(CONFIG, objective=landscape, start=start) as made,
        meanfield.run(CONFIG, objective=Valley(), start=np.array([0.0, 6.0])) as own,
    ):
        for name in (GD, ENERGY):
            one, other = (run[name].snapshots.at(12).position for run in (made, own))
            np.testing.assert_allclose(one, other, rtol=1e-12, atol=1e-12)
        assert made.report().is_file()


def test_run_and_the_command_write_the_same_bits(tmp_path, small):
    settings = [part for setting in small for part in ("--set", setting)]
    command = ["run", "--out", str(tmp_path / "command"), "--no-figures", "--quiet", *settings]
    assert meanfield_command(*command).exit_code == 0
    with meanfield.run(load(None, small), tmp_path / "python") as result:
        assert result.path == tmp_path / "python" / "run.h5"
    assert_same(result.path, tmp_path / "command" / "run.h5")


def test_without_a_folder_it_is_there_as_long_as_a_result_of_it():
    result = meanfield.run(CONFIG, objective=Valley())
    folder = result.path.parent
    other = meanfield.resume(folder, objective=Valley())
    del result
    gc.collect()
    assert len(other[GD].snapshots[0].position) == 1
    del other
    gc.collect()
    assert not folder.exists()


def test_own_objects_get_a_file_a_comparison_figures_and_a_report(tmp_path):
    with meanfield.run(CONFIG, tmp_path, **GIVEN) as result:
        assert list(result) == [GD, ENERGY, "mine"] and result.status == "complete"
        assert result["mine"].flow == "heavy_ball"
        centers = np.array([s.position[0] for s in result["mine"].snapshots])
        rows = {row["process"]: row for row in result.compare()}
        assert {"loss", "sharpness", "distance"} <= set(result.figures)
        page = result.report().read_text()
    assert "mine: HeavyBall(learning_rate=0.3, momentum=0.5)" in page
    assert "Run: Bowl, η = 0.3" in page and "Objective given in Python" in page
    assert "Start given in Python" in page and "flows=…, objective=…" in page
    x, before, expected = np.array(START), np.array(START), {}
    for step in range(13):
        expected[step] = x
        x, before = x - 0.3 * np.array(CURVATURES) * x + 0.5 * (x - before), x
    np.testing.assert_allclose(centers, [expected[k] for k in (0, 5, 10, 12)], rtol=1e-12)
    x = np.array(START) * (1 - 0.3 * np.array(CURVATURES)) ** 12
    y = np.array(START) * (1 - 0.3 * np.array(CURVATURES)) ** 13
    final = np.linalg.norm(expected[12] - 0.5 * (x + y))
    assert rows["mine"]["final_distance"] == pytest.approx(final, rel=1e-9)
    np.testing.assert_allclose(result["mine"].observables["sharpness"][0], 4.0, rtol=1e-6)


def test_the_file_says_what_it_was_given_and_no_task(tmp_path):
    with meanfield.run(CONFIG, tmp_path, **GIVEN) as result:
        assert "HeavyBall(learning_rate=0.3, momentum=0.5)" in result.attributes["given_json"]
        assert '"objective": "Bowl()"' in result.attributes["given_json"]
        assert "[task]" not in result.config and "[network]" not in result.config
    with meanfield.run(load(None, ("landscape.name=valley", "steps=1"))) as result:
        assert "given_json" not in result.attributes


def test_an_objective_of_another_shape_is_one_particle():
    config = CONFIG.replace(processes={GD: {}})
    start = np.ones((2, 1, 2))
    with meanfield.run(config, objective=Bowl(np.ones((2, 1, 2))), start=start) as result:
        assert result[GD].snapshots[0].position.shape == (1, 4)
        # of gradient descent the center is the mean of two iterates, 1 and 1 − η
        np.testing.assert_allclose(result[GD].snapshots[0].position, 0.85, rtol=1e-15)


def test_a_risk_with_data_of_ones_own_is_the_run_of_its_configuration(tmp_path, small):
    config = load(None, small)
    task = meanfield.tasks.digits(n=12)
    network = meanfield.TwoLayerNetwork(task.input_dim, 1)
    given = meanfield.run(config, tmp_path / "given", objective=meanfield.Risk(network, task))
    said = meanfield.run(config, tmp_path / "said")
    for name in said:
        for key in ("train_loss", "sharpness", "free_energy"):
            ours, theirs = given[name].observables[key], said[name].observables[key]
            np.testing.assert_array_equal(ours, theirs)
    np.testing.assert_array_equal(
        given.comparison[ENERGY]["function_distance"], said.comparison[ENERGY]["function_distance"]
    )


def test_a_risk_starts_from_the_initial_law_of_the_configuration(small):
    config = load(None, small).replace(**{"network.init": {"name": "uniform"}, "steps": 0})
    task = meanfield.tasks.digits(n=12)
    risk = meanfield.Risk(meanfield.TwoLayerNetwork(task.input_dim, 1), task)
    with meanfield.run(config, objective=risk) as given, meanfield.run(config) as said:
        ours, theirs = (result[GD].snapshots[0].position for result in (given, said))
    np.testing.assert_array_equal(ours, theirs)


def test_a_landscape_may_be_an_object():
    config = load(None, ("landscape.name=valley", "steps=5", "learning_rate=0.3"))
    with meanfield.run(config) as said, meanfield.run(config, objective=Valley()) as given:
        for name in said:
            np.testing.assert_array_equal(
                said[name].observables["train_loss"], given[name].observables["train_loss"]
            )


def test_a_torch_module_may_be_the_objective():
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    module = torch.nn.Linear(2, 1).double()
    objective = meanfield.TorchObjective(module, "squared", [[1.0, 0.0], [0.0, 2.0]], [[1], [0]])
    config = CONFIG.replace(steps=3, processes={GD: {}})
    with meanfield.run(config, objective=objective) as result:
        x = objective.initial()
        y = x - 0.3 * objective.gradient(x)
        np.testing.assert_allclose(result[GD].snapshots[0].position[0], (x + y) / 2, rtol=1e-14)


def test_a_start_of_ones_own(tmp_path):
    config = load(None, ("landscape.name=valley", "steps=2", "processes={gradient_flow={}}"))
    with meanfield.run(config, tmp_path, start=[0.25, 0.5]) as result:
        np.testing.assert_array_equal(result["gradient_flow"].snapshots[0].position, [[0.25, 0.5]])
    with pytest.raises(ValueError, match="start"):
        meanfield.run(config, start=[0.25])


def test_stopped_with_own_objects_it_goes_on_with_the_same(tmp_path):
    whole = meanfield.run(CONFIG, tmp_path / "whole", **GIVEN)
    stopped = meanfield.run(CONFIG, tmp_path / "cut", stop_at("mine", 5), **GIVEN)
    assert (stopped.status, stopped.message) == ("interrupted", "stopped by SIGTERM")
    resumed = meanfield.resume(tmp_path / "cut", **GIVEN)
    assert resumed.status == "complete"
    assert_same(resumed.path, whole.path)


OTHERS = [
    ({"flows": None}, r"flows\['mine'\] must be HeavyBall\(.*got none"),
    ({"flows": {"mine": HeavyBall(0.2)}}, r"flows\['mine'\] must be .*0\.3.*got .*0\.2"),
    ({"flows": GIVEN["flows"] | {"more": HeavyBall(0.3)}}, r"flows\['more'\] must be left out"),
    ({"objective": None}, "objective must be Bowl.*got none"),
    ({"objective": Valley()}, "objective must be Bowl.*got Valley"),
    ({"objective": Bowl([1.0, 2.0, 5.0])}, "objective must be the one .* of value"),
    ({"start": None}, "start must be .*got none"),
    ({"start": [1.0, -1.0, 0.75]}, "start must be"),
]


def test_other_objects_are_refused(tmp_path):
    """One after the other; nothing of the run is changed by it."""
    meanfield.run(CONFIG, tmp_path, stop_at(ENERGY, 5), **GIVEN)
    for changes, message in OTHERS:
        with pytest.raises(ValueError, match=message):
            meanfield.resume(tmp_path, **(GIVEN | changes))
    assert meanfield.resume(tmp_path, **GIVEN).status == "complete"


@pytest.mark.parametrize(
    ("keywords", "message"),
    [
        ({"config": "run.toml"}, "config must be a RunConfig.*from_toml"),
        ({"flows": [HeavyBall(0.3)]}, "flows must be a dictionary"),
        ({"flows": {"mine": "rod_flow"}}, r"flows\['mine'\] must be a Flow"),
        ({"flows": {GD: HeavyBall(0.3)}}, "flows must have names other than"),
        ({"flows": {"a b": HeavyBall(0.3)}}, "flows: the name"),
        ({"flows": {"comparison": HeavyBall(0.3)}}, "flows: the name"),
        ({"objective": Bowl}, "objective must be an object"),
        ({"objective": "digits"}, "objective must be an object with a method value"),
        ({"objective": Bowl(CURVATURES)}, "start must be an array"),
        ({"objective": Bowl(CURVATURES), "start": [np.nan, 1, 1]}, "start must be finite"),
        ({"force": 1}, "force must be True or False"),
        ({"progress": "yes"}, "progress must be True or False"),
        ({"out": 3}, "out must be a path"),
    ],
)
def test_wrong_arguments_are_named(keywords, message):
    with pytest.raises(ValueError, match=message):
        meanfield.run(**({"config": CONFIG} | keywords))


def test_a_folder_with_something_in_it_is_refused_unless_forced(tmp_path):
    config = load(None, ("landscape.name=valley", "steps=1"))
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(ValueError, match="must be empty"):
        meanfield.run(config, tmp_path)
    assert meanfield.run(config, tmp_path, force=True).status == "complete"


def test_load_opens_a_run(small_run, tmp_path):
    with meanfield.load(small_run.parent) as result:
        assert isinstance(result, meanfield.Result) and result.path == small_run
    with pytest.raises(ValueError, match="nothing"):
        meanfield.load(tmp_path / "nothing.h5")


def test_a_flow_that_diverges_ends_there(tmp_path):
    given = GIVEN | {"flows": {"mine": HeavyBall(1e200)}}
    meanfield.run(CONFIG, tmp_path, **given)
    record = read_run(tmp_path)
    assert record.processes["mine"].status == "diverged"
    assert record.processes[GD].status == "complete"


def test_gradient_descent_may_be_an_object():
    config = CONFIG.replace(processes={ENERGY: {}})
    given = {"objective": Valley(), "flows": {"plain": solvers.GradientDescent(0.3)}}
    with meanfield.run(config, **given) as result:
        assert list(result) == ["plain", ENERGY] and result["plain"].flow == GD
        assert result.compare()[0]["process"] == "plain"
