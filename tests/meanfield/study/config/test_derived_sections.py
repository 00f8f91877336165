"""Tables of a configuration derived from functions: the package's tasks, and those that others add."""

import inspect
import os
import pickle
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import pytest
from annotated_types import Ge, Gt

from meanfield import tasks
from meanfield.activations import ACTIVATIONS
from meanfield.losses import LOSSES
from meanfield.study.config.derived import derived_section
from meanfield.study.config.run_config import ConfigError, load, load_text
from meanfield.study.config.sections import TASK_SECTIONS, TaskSection
from meanfield.study.engine.build import build_problem
from meanfield.study.engine.run import run
from meanfield.study.storage.writer import read_run
from tests.meanfield.study.conftest import SMALL


def refused(*settings):
    with pytest.raises(ConfigError) as error:
        load(None, settings)
    return str(error.value)


@pytest.mark.parametrize("name", tasks.TASKS)
def test_the_keys_of_a_task_are_the_parameters_of_its_function(name):
    parameters = inspect.signature(tasks.TASKS[name]).parameters
    fields = TASK_SECTIONS[name].model_fields
    assert list(fields) == ["name", *parameters]
    for key, parameter in parameters.items():
        if parameter.default is not inspect.Parameter.empty:
            assert fields[key].default == parameter.default


def test_tables_of_0_1_0_are_read_with_their_defaults():
    """What `to_toml` of version 0.1.0 wrote."""
    for text, arguments in (
        ('name = "digits"\nn = 300\ntarget = "parity"\nseed = 0', {"mean_square": 1 / 16}),
        ('name = "noisy_digits"\nn = 9\ntarget = "classes"\nfraction = 0.2\nseed = 1', {"n": 9}),
        ('name = "cifar10"\nn = 500\ntarget = "one_hot"\nmean_square = 0.0013\nseed = 0\ntrain = true',
         {"path": None, "classes": None}),
        ('name = "teacher_student"\nn = 200\ninput_dim = 10\nteacher_width = 4\nactivation = "erf"\nnoise = 0.0\nseed = 0',
         {"activation": "erf"}),
    ):  # fmt: skip
        task = load_text(f"[task]\n{text}\n").task
        assert arguments.items() <= task.arguments.items()


def test_the_scale_of_the_digits_is_a_key():
    task = build_problem(load(None, (*SMALL, "task={mean_square=1.0, n=20}"))).risk.task
    assert np.mean(task.inputs**2) == pytest.approx(1.0, rel=1e-14)
    assert "task.mean_square must be at least 1e-300, got 0.0" in refused("task.mean_square=0.0")


@pytest.mark.parametrize(
    ("setting", "names"), [("risk.loss", LOSSES), ("network.activation", ACTIVATIONS)]
)
def test_a_choice_of_names_is_that_of_the_one_list(setting, names):
    for name in names:
        load(None, (f"{setting}={name}",))
    assert all(f"'{name}'" in refused(f"{setting}=none_such") for name in names)


# --- tasks of others -----------------------------------------------------------------------------


def line(
    n: Annotated[int, Ge(2)] = 12,
    slopes: Sequence[float] = (1.0,),
    kind: Literal["plain", "odd"] = "plain",
    noise: Annotated[float, Gt(0)] | None = None,
    file: str | os.PathLike[str] = Path("x.npz"),
) -> tasks.Task:
    """Points on lines, one for each slope."""
    x = np.linspace(-1, 1, n)[:, None]
    return tasks.Task(x, x * np.array(slopes), name=f"lines ({kind}, {noise}, {file})")


@pytest.fixture
def with_line(monkeypatch):
    monkeypatch.setattr(tasks.TASKS, "_known", dict(tasks.TASKS._known))
    tasks.register("line", line)


def test_a_registered_task_runs_from_a_configuration(with_line, tmp_path):
    config = load(None, (*SMALL, "task={name='line', n=5, slopes=[1.0, 2.0]}", "steps=2"))
    assert load_text(config.to_toml()) == config
    assert config.task.file == str(Path("x.npz").absolute())
    path = run(config, tmp_path)
    assert load_text(read_run(path).config) == config
    # the risk at the start, from its definition
    x0, x = build_problem(config).start, np.linspace(-1, 1, 5)
    f = np.tanh(x[:, None] * x0[:, 2] + x0[:, 3]) @ x0[:, :2] / len(x0)
    losses = read_run(path).processes["gradient_flow"].observables["train_loss"]
    risk = 0.5 * np.mean(np.sum((f - x[:, None] * [1, 2]) ** 2, axis=1))
    assert losses[0] == pytest.approx(risk, rel=1e-12)


def test_keys_of_a_registered_task_are_checked(with_line):
    for settings, message in (
        ("n=1", "task.n must be at least 2, got 1"),
        ("n=1.5", "task.n must be an integer, got 1.5"),
        ("kind='od'", r"task.kind must be .*got 'od'; did you mean 'odd'"),
        ("noise=0.0", "task.noise must be above 0, got 0.0"),
        ("slopes=[inf]", "task.slopes.0 must be a finite number, got inf"),
        (
            "slope=[1.0]",
            "task.slope is not a known key; known keys: name, n, slopes, kind, noise, file; did you mean 'slopes'?",
        ),
    ):
        found = refused(f"task={{name='line', {settings}}}")
        assert all(part in found for part in message.split(".*")), found


def test_a_path_of_a_registered_task_starts_at_the_file(with_line, tmp_path):
    path = tmp_path / "study.toml"
    path.write_text("[task]\nname = 'line'\nfile = 'data'\n")
    assert load(path).task.file == str(tmp_path / "data")


def test_a_task_that_is_not_registered_is_unknown_and_nothing_is_imported(tmp_path, monkeypatch):
    (tmp_path / "own.py").write_text("raise SystemExit('imported')")
    monkeypatch.syspath_prepend(str(tmp_path))
    for name in ("own", "own:task", "own.py", str(tmp_path / "own.py"), "line"):
        found = refused(f"task.name={name!r}")
        assert "task.name must be one of 'digits', " in found and f", got {name!r}" in found


@pytest.mark.parametrize("annotation", [dict[str, int], np.ndarray, complex])
def test_a_parameter_that_has_no_form_in_a_configuration_is_refused(annotation):
    def task(x):
        return x

    task.__annotations__ = {"x": annotation}
    with pytest.raises(ValueError, match="mine: the parameter x must be annotated as bool, int"):
        derived_section("mine", task, TaskSection)


@pytest.mark.parametrize("setting", ["task.n=7", "landscape={name='valley', zeta=0.7}"])
def test_a_configuration_is_pickled(setting):
    config = load(None, (setting,))
    copy = pickle.loads(pickle.dumps(config))
    assert copy == config and copy.to_toml() == config.to_toml()
    assert copy.model_fields_set == config.model_fields_set
