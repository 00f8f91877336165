"""A configuration made in Python is the one that a TOML file of the same keys makes."""

import pickle
from pathlib import Path

import numpy as np
import pytest

import meanfield
from meanfield.study.config.run_config import ConfigError, load, load_text

TOML = """
learning_rate = 0.5
steps = 7
[task]
n = 20
[network]
width = 8
[processes.gradient_descent]
[processes.mine]
flow = "free_energy_flow"
delay = true
"""
KEYS = {
    "learning_rate": 0.5,
    "steps": 7,
    "task": {"n": 20},
    "network": {"width": 8},
    "processes": {"gradient_descent": {}, "mine": {"flow": "free_energy_flow", "delay": True}},
}


def test_keywords_are_the_keys_of_a_file(tmp_path):
    path = tmp_path / "run.toml"
    path.write_text(TOML)
    config = meanfield.RunConfig(**KEYS)
    assert config == meanfield.RunConfig.from_toml(path) == load(path)
    assert load_text(config.to_toml()) == config
    assert pickle.loads(pickle.dumps(config)) == config


def test_no_keywords_are_the_default():
    assert meanfield.RunConfig() == meanfield.RunConfig.default() == load()


def test_what_numpy_makes_is_taken_as_numbers():
    config = meanfield.RunConfig(
        steps=np.int64(7),
        learning_rate=np.float32(0.5),
        landscape={"name": "valley", "start": np.array([0.1, 0.2])},
    )
    assert (config.steps, config.learning_rate) == (7, 0.5)
    assert type(config.steps) is int and config.landscape.start == (0.1, 0.2)


def test_the_tables_that_were_given_stay_as_they_were():
    task = {"n": 20}
    meanfield.RunConfig(task=task)
    assert task == {"n": 20}


def test_paths_may_be_paths(tmp_path):
    task = meanfield.RunConfig(task={"name": "npz", "path": tmp_path / "data.npz"}).task
    assert Path(task.path) == tmp_path / "data.npz"


@pytest.mark.parametrize(
    ("keys", "line"),
    [
        ({"stpes": 3}, "stpes is not a known key; known keys: seed, "),
        ({"self": 3}, "self is not a known key; known keys: "),
        (
            {"network": {"widht": 3}},
            "network.widht is not a known key; known keys: width, activation, bias, train_output, output_bias, init; "
            "did you mean 'width'?",
        ),
        ({"processes": {"rod_flwo": {}}}, "processes.rod_flwo.flow"),
        ({"processes": {}}, "processes"),
        ({"task": 3}, "task"),
        ({"steps": 1.5}, "steps"),
    ],
)
def test_errors_read_as_those_of_a_file(keys, line):
    with pytest.raises(ConfigError) as error:
        meanfield.RunConfig(**keys)
    assert str(error.value).startswith(line)
    assert "pydantic" not in str(error.value) and "validation error" not in str(error.value)


def test_all_errors_come_at_once():
    with pytest.raises(ConfigError) as error:
        meanfield.RunConfig(steps=-1, learning_rate=0, network={"width": 0})
    assert len(error.value.lines) == 3


def test_replace_makes_another_configuration():
    config = meanfield.RunConfig(**KEYS)
    wider = config.replace(steps=9, **{"network.width": 80, "processes.rod_flow": {"rank": 2}})
    expected = KEYS | {"steps": 9, "network": {"width": 80}}
    expected["processes"] = KEYS["processes"] | {"rod_flow": {"rank": 2}}
    assert wider == meanfield.RunConfig(**expected)
    assert config == meanfield.RunConfig(**KEYS)


def test_replace_by_none_is_the_default():
    config = meanfield.RunConfig(**KEYS).replace(**{"task.n": None, "steps": None})
    assert (config.task.n, config.steps) == (300, 400)


def test_replace_takes_a_landscape_for_a_network_and_back():
    config = load_text(meanfield.RunConfig(**KEYS).to_toml())  # every key is set
    point = config.replace(landscape={"name": "valley"})
    assert point.landscape.name == "valley" and "[task]" not in point.to_toml()
    assert point.replace(task={"n": 5}).task.n == 5


@pytest.mark.parametrize("key", ["", "a..b", "steps.x", "network.width.x", "nothing"])
def test_replace_of_what_is_no_key_is_refused(key):
    with pytest.raises(ConfigError):
        meanfield.RunConfig(**KEYS).replace(**{key: 3})


def test_the_repr_is_short():
    text = repr(meanfield.RunConfig(**KEYS))
    assert text.startswith("RunConfig(learning_rate=0.5, steps=7, seed=0, task='digits', width=8")
    assert "mine" in text and len(text) < 200
    assert "landscape='valley'" in str(meanfield.RunConfig(landscape={"name": "valley"}))
