"""Sweeps: every combination is a run, the table has them all, and nothing is done twice."""

import csv
import json
import os
import signal

import numpy as np
import pytest

import meanfield
from meanfield.study.config.run_config import ConfigError, load
from meanfield.study.engine.run import run
from meanfield.study.sweep import sweep as sweeping
from meanfield.study.sweep.plan import make_plan
from tests.helpers.commands import meanfield_command
from tests.helpers.own_objects import Bowl, HeavyBall
from tests.helpers.same_runs import assert_same

GD, FLOW = "gradient_descent", "gradient_flow"
CONFIG = load(None, ("landscape.name=valley", "steps=6", "learning_rate=0.3")).replace(
    processes={GD: {}, FLOW: {}}, **{"output.snapshot_every": 3}
)
OVER = {"learning_rate": [0.1, 0.3], "landscape.zeta": [1.0, 0.5]}
NAMES = [
    f"learning_rate={rate},landscape.zeta={zeta}" for rate in (0.1, 0.3) for zeta in (1.0, 0.5)
]


@pytest.fixture
def counted(monkeypatch):
    """The configurations that are run, in order."""
    done = []

    def counting(config, *arguments, **keywords):
        done.append(config)
        return run(config, *arguments, **keywords)

    monkeypatch.setattr(sweeping, "run", counting)
    return done


def command(*arguments):
    return meanfield_command("sweep", *(str(argument) for argument in arguments))


@pytest.fixture(scope="module")
def four(tmp_path_factory):
    return meanfield.sweep(CONFIG, OVER, tmp_path_factory.mktemp("four"))


def test_every_combination_is_the_run_of_its_configuration(four, tmp_path):
    made = four
    assert list(made) == NAMES and len(made) == 4
    assert sorted(os.listdir(made.path)) == sorted([*NAMES, "sweep.csv", "sweep.json"])
    alone = run(CONFIG.replace(learning_rate=0.3, **{"landscape.zeta": 0.5}), tmp_path / "alone")
    assert_same(made.path / NAMES[3] / "run.h5", alone)
    with made[NAMES[3]] as result:
        assert isinstance(result, meanfield.Result) and result.learning_rate == 0.3


def test_the_table_has_what_the_runs_have(four):
    made = four
    assert len(made.rows) == 8
    row = made.rows[5]
    assert (row["run"], row["process"], row["learning_rate"]) == (NAMES[2], FLOW, 0.3)
    assert (row["landscape.zeta"], row["status"], row["run_status"]) == (
        1.0,
        "complete",
        "complete",
    )
    with made[NAMES[2]] as result:
        assert row["train_loss"] == result[FLOW].observables["train_loss"][-1]
        distance = result.comparison[FLOW]["center_distance"]
        assert row["final_distance"] == distance[-1] and row["max_distance"] == np.max(distance)
    with (made.path / "sweep.csv").open() as file:
        found = list(csv.DictReader(file))
    assert [line["run"] for line in found] == [row["run"] for row in made.rows]
    assert float(found[5]["final_distance"]) == row["final_distance"]


def test_the_table_as_a_dataframe(four):
    pytest.importorskip("pandas")
    frame = four.to_dataframe()
    flow = frame[frame.process == FLOW].set_index(["learning_rate", "landscape.zeta"])
    assert flow.loc[(0.1, 0.5), "run"] == NAMES[1]
    assert frame.train_loss.dtype == float and len(frame) == 8


def test_what_is_there_is_kept_and_more_values_are_added(tmp_path, counted):
    meanfield.sweep(CONFIG, {"learning_rate": [0.1]}, tmp_path)
    meanfield.sweep(CONFIG, {"learning_rate": [0.1]}, tmp_path)
    assert [config.learning_rate for config in counted] == [0.1]
    made = meanfield.sweep(CONFIG, {"learning_rate": [0.2, 0.1]}, tmp_path)
    assert [config.learning_rate for config in counted] == [0.1, 0.2]
    assert list(made) == ["learning_rate=0.2", "learning_rate=0.1"]


def test_a_damaged_run_is_done_again(tmp_path, counted):
    meanfield.sweep(CONFIG, {"learning_rate": [0.1, 0.2]}, tmp_path)
    (tmp_path / "learning_rate=0.2" / "run.h5").write_bytes(b"nothing")
    made = meanfield.sweep(CONFIG, {"learning_rate": [0.1, 0.2]}, tmp_path)
    assert len(counted) == 3 and set(made.statuses.values()) == {"complete"}


def test_divergence_and_failure_are_recorded_and_the_others_run(tmp_path):
    over = {"learning_rate": [200.0, 0.1], "output.eigenvalues": [1, 3]}  # of two coordinates
    made = meanfield.sweep(CONFIG, over, tmp_path)
    assert made.statuses == {
        "learning_rate=200.0,output.eigenvalues=1": "diverged",
        "learning_rate=200.0,output.eigenvalues=3": "failed",
        "learning_rate=0.1,output.eigenvalues=1": "complete",
        "learning_rate=0.1,output.eigenvalues=3": "failed",
    }
    assert "eigenvalues" in made.failures["learning_rate=0.1,output.eigenvalues=3"]
    again = meanfield.load(tmp_path)
    assert again.failures == made.failures and again.statuses == made.statuses
    assert "1 diverged, 2 failed, 1 complete" in repr(made)


def test_stopped_it_goes_on_from_the_checkpoint(tmp_path, counted):
    def stop(what, done, total):
        assert (what, total) == ("sweep", 24)
        if done == 15:  # in the second run
            signal.raise_signal(signal.SIGTERM)

    over = {"learning_rate": [0.1, 0.3]}
    made = meanfield.sweep(CONFIG, over, tmp_path, stop)
    assert made.stopped == "SIGTERM"
    assert list(made.statuses.values()) == ["complete", "interrupted"]
    made = meanfield.sweep(CONFIG, over, tmp_path)
    assert made.stopped is None and set(made.statuses.values()) == {"complete"}
    assert len(counted) == 2  # the second was resumed, not run again
    expected = run(CONFIG.replace(learning_rate=0.3), tmp_path / "alone")
    assert_same(tmp_path / "learning_rate=0.3" / "run.h5", expected)


def test_without_a_folder_it_is_there_as_long_as_the_sweep():
    made = meanfield.sweep(CONFIG, {"learning_rate": [0.1]})
    path, result = made.path, made["learning_rate=0.1"]
    del made
    assert path.is_dir() and result.status == "complete"
    del result
    assert not path.exists()


@pytest.mark.parametrize(
    ("over", "message"),
    [
        ({}, "over must be a dictionary"),
        ([0.1], "over must be a dictionary"),
        ({"learning_rate": 0.1}, r"over\['learning_rate'\] must be a list of values"),
        ({"learning_rate": "0.1"}, r"over\['learning_rate'\] must be a list of values"),
        ({"learning_rate": []}, "one or more values, each once"),
        ({"learning_rate": [0.1, 0.1]}, "one or more values, each once"),
        ({"learning_rate": [[0.1]]}, "numbers, texts or truth values"),
        ({"learning_rate": [0.1, -1.0]}, "^learning_rate"),
        ({"learning_rat": [0.1]}, "learning_rat is not a known key.*did you mean 'learning_rate'"),
        ({"landscape.zta": [0.1]}, "landscape.zta is not a known key"),
        ({"seed": range(100_001)}, "at most 100000 combinations, got 100001"),
    ],
)
def test_wrong_values_are_refused_before_anything_runs(tmp_path, over, message):
    with pytest.raises(ValueError, match=message):
        meanfield.sweep(CONFIG, over, tmp_path)
    assert os.listdir(tmp_path) == []


def test_errors_of_all_combinations_come_at_once():
    with pytest.raises(ConfigError) as error:
        make_plan(CONFIG, {"learning_rate": [-1.0, 0.1], "steps": [-1, 2]})
    assert len(error.value.lines) == 2


def test_folders_of_other_things_are_refused(tmp_path):
    meanfield.sweep(CONFIG, {"learning_rate": [0.1]}, tmp_path / "sweep")
    with pytest.raises(ValueError, match="another configuration or other keys"):
        meanfield.sweep(CONFIG.replace(steps=7), {"learning_rate": [0.1]}, tmp_path / "sweep")
    with pytest.raises(ValueError, match="another configuration or other keys"):
        meanfield.sweep(CONFIG, {"steps": [3]}, tmp_path / "sweep")
    with pytest.raises(ValueError, match="must be empty or hold this sweep"):
        meanfield.sweep(CONFIG, {"learning_rate": [0.1]}, tmp_path)
    (tmp_path / "sweep" / "sweep.json").write_text("{}")
    with pytest.raises(ValueError, match="not the plan of a sweep"):
        meanfield.load(tmp_path / "sweep")


def test_names_of_folders_are_plain_and_different():
    config = load(None, ("task.name=npz", "task.path=a.npz"))
    names = list(make_plan(config, {"task.path": ["/a b/c.npz", "/a_b/c.npz", "x" * 300]}).configs)
    assert len(set(names)) == 3
    assert all(len(name) < 200 and "/" not in name and " " not in name for name in names)


# --- objects of one's own ------------------------------------------------------------------------

OWN = CONFIG.replace(landscape=None, **{"output.eigenvalues": 1})
RATES = {"learning_rate": [0.1, 0.3]}
OBJECTS = {
    "flows": {"mine": lambda config: HeavyBall(config.learning_rate)},
    "objective": Bowl([1.0, 2.0]),
    "start": lambda config: [1.0, config.learning_rate],
}


@pytest.mark.slow
def test_every_run_is_given_what_the_functions_of_its_configuration_return(tmp_path, counted):
    made = meanfield.sweep(OWN, RATES, tmp_path / "sweep", **OBJECTS)
    assert [row["process"] for row in made.rows] == [GD, FLOW, "mine"] * 2
    for rate in RATES["learning_rate"]:
        given = {"flows": {"mine": HeavyBall(rate)}, "objective": Bowl([1.0, 2.0])}
        config = OWN.replace(learning_rate=rate)
        alone = meanfield.run(config, tmp_path / str(rate), start=[1.0, rate], **given)
        assert_same(made[f"learning_rate={rate}"].path, alone.path)
    meanfield.sweep(OWN, RATES, tmp_path / "sweep", **OBJECTS)
    assert len(counted) == 2  # nothing is done twice


def test_a_run_of_a_sweep_goes_on_with_its_own_objects(tmp_path):
    made = meanfield.sweep(OWN, {"learning_rate": [0.3]}, tmp_path / "sweep", **OBJECTS)
    longer = made["learning_rate=0.3"].extend(9)
    assert len(longer["mine"].observables["time"]) == 10


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"flows": None}, r"flows\['mine'\] must be HeavyBall\(.*got none"),
        ({"flows": {"mine": HeavyBall(0.2)}}, r"flows\['mine'\] must be .*got .*0\.2"),
        ({"objective": None}, "objective must be Bowl.*got none"),
        ({"objective": Bowl([1.0, 3.0])}, "objective must be the one"),
        ({"start": [1.0, 1.0]}, "start must be"),
    ],
)
def test_runs_of_other_objects_are_refused(own_sweep, changes, message):
    with pytest.raises(ValueError, match=message):
        meanfield.sweep(OWN, RATES, own_sweep, **(OBJECTS | changes))


@pytest.fixture(scope="module")
def own_sweep(tmp_path_factory):
    return meanfield.sweep(OWN, RATES, tmp_path_factory.mktemp("own"), **OBJECTS).path


@pytest.mark.parametrize(
    ("objects", "message"),
    [
        ({"flows": ["mine"]}, "flows must be a dictionary of flows by name"),
        ({"flows": {"mine": lambda config: 3}}, r"flows\['mine'\] must be"),
        ({"objective": lambda config: 3}, "objective must be"),
        ({"objective": Bowl([1.0, 2.0]), "start": lambda config: "x"}, "start must be"),
    ],
)
def test_what_are_no_objects_is_refused_before_anything_runs(tmp_path, objects, message):
    with pytest.raises(ValueError, match=message):
        meanfield.sweep(OWN, RATES, tmp_path, **objects)
    assert os.listdir(tmp_path) == []


# --- the command ---------------------------------------------------------------------------------

VALLEY = ["--set", "landscape.name=valley", "--set", "steps=3", "--set", "learning_rate=0.1"]


@pytest.mark.slow
@pytest.mark.essential
def test_the_command_does_the_same(tmp_path):
    over = ["--over", "learning_rate=0.1,0.2", "--seeds", 2]
    result = command(*VALLEY, *over, "--out", tmp_path)
    assert result.exit_code == 0, result.output
    assert "learning_rate=0.2,seed=1" in result.stdout and str(tmp_path) in result.stdout
    assert len(meanfield.load(tmp_path)) == 4
    result = command(*VALLEY, *over, "--out", tmp_path, "--json")
    report = json.loads(result.stdout)
    assert len(report["rows"]) == 12 and report["failures"] == {}


def test_the_command_ends_with_1_where_a_run_diverged_or_failed(tmp_path):
    over = ["--over", "learning_rate=0.1", "--over", "output.eigenvalues=1,3"]
    result = command(*VALLEY, *over, "--out", tmp_path, "--quiet")
    assert result.exit_code == 1 and result.stdout == ""
    assert "output.eigenvalues=3: ValueError" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "--over must be given"),
        (("--over", "learning_rate"), "--over must be key=value,value"),
        (("--over", "learning_rate=-1"), "learning_rate"),
        (("--seeds", 0), "--seeds must be at least 1, got 0"),
        (("--over", "seed=1,2", "--seeds", 2), "--seeds must be left out"),
    ],
)
def test_the_command_says_what_is_wrong(tmp_path, arguments, message):
    result = command(*VALLEY, *arguments, "--out", tmp_path / "sweep")
    assert result.exit_code == 2 and message in result.stderr
    assert not (tmp_path / "sweep").exists()


def test_other_commands_say_that_it_is_a_sweep(tmp_path):
    meanfield.sweep(CONFIG, {"learning_rate": [0.1]}, tmp_path)
    for name in ("info", "compare", "report"):
        result = meanfield_command(name, str(tmp_path))
        assert result.exit_code == 2 and "got the sweep" in result.stderr
