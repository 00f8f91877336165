"""Runs from the initial particles of ``network.init``."""

import inspect
import pickle

import numpy as np
import pytest

from meanfield.initializers import INITIALIZERS
from meanfield.study.config.run_config import ConfigError, RunConfig, load, load_text
from meanfield.study.config.sections import INIT_SECTIONS
from meanfield.study.engine.build import build_problem
from meanfield.study.engine.prepared_run import Options
from meanfield.study.engine.prepared_run import settings as settings_of
from meanfield.study.engine.run import run
from meanfield.study.storage.writer import read_run
from meanfield.study.width.plan import make_plan
from tests.meanfield.study.conftest import SMALL, TINY

WIDTH, D = 8, 66  # of SMALL: digits of 64 pixels, one output, a bias


def draws(seed):
    return np.random.default_rng(seed)


def saved(path, particles):
    np.savez(path, particles=particles)
    return path


def expected(path):
    """By table of `init`: the particles of seed 3, computed here."""
    scales = np.array([0.1, *[0.5] * 64, 2.0])
    table = "output_scale=0.1, input_scale=0.5, bias_scale=2.0"
    own = draws(9).normal(size=(WIDTH, D))
    return {
        "{}": draws(3).standard_normal((WIDTH, D)),
        f"{{{table}}}": scales * draws(3).standard_normal((WIDTH, D)),
        f"{{name='uniform', {table}}}": scales * (2 * draws(3).random((WIDTH, D)) - 1),
        f"{{name='npz', path='{saved(path, own)}'}}": own,
    }


def test_a_run_starts_from_its_initial_particles(tmp_path):
    for i, (table, start) in enumerate(expected(tmp_path / "start.npz").items()):
        config = load(None, (*SMALL, "seed=3", "steps=2", f"network.init={table}"))
        assert load_text(config.to_toml()) == config == pickle.loads(pickle.dumps(config))
        record = read_run(run(config, tmp_path / str(i)))
        assert load_text(record.config) == config
        task = build_problem(config).risk.task
        f = np.mean(start[:, 0] * np.tanh(task.inputs @ start[:, 1:-1].T + start[:, -1]), axis=1)
        flow = record.processes["gradient_flow"]  # its center is its iterate
        np.testing.assert_array_equal(flow.first, start)
        risk = 0.5 * np.mean((f - task.targets[:, 0]) ** 2)
        assert flow.observables["train_loss"][0] == pytest.approx(risk, rel=1e-12)


@pytest.mark.parametrize("name", INITIALIZERS)
def test_the_keys_are_the_parameters(name):
    parameters = inspect.signature(INITIALIZERS[name]).parameters
    assert list(INIT_SECTIONS[name].model_fields) == ["name", *parameters]


@pytest.mark.parametrize(
    ("init", "message"),
    [
        ("normal", "network.init must be a table, got 'normal'"),
        ("{name='norml'}", "network.init.name must be one of 'normal', 'uniform', 'npz', got 'norml'; did you mean 'normal'?"),
        ("{bias_scale=-1.0}", "network.init.bias_scale must be at least 0, got -1.0"),
        ("{name='uniform', input_scale=inf}", "network.init.input_scale must be a finite number, got inf"),
        ("{name='npz'}", "network.init.path must be given, it has no default"),
        ("{name='npz', path=3}", "network.init.path must be a string, got 3"),
        (
            "{scale=1.0}",
            "network.init.scale is not a known key; known keys: name, output_scale, input_scale, bias_scale",
        ),
    ],
)  # fmt: skip
def test_bad_tables(init, message):
    with pytest.raises(ConfigError) as error:
        load(None, (f"network.init={init}",))
    assert message in str(error.value)


def test_a_file_that_does_not_fit_is_named_with_its_key(tmp_path):
    path = saved(tmp_path / "start.npz", np.ones((WIDTH + 1, D)))
    for file, message in (
        (path, r"^network\.init\.path must be of particles of shape \(8, 66\), .* shape \(9, 66\)"),
        (tmp_path / "none.npz", r"^network\.init\.path must be an \.npz file .* no such file"),
    ):
        config = load(None, (*SMALL, f"network.init={{name='npz', path='{file}'}}"))
        with pytest.raises(ValueError, match=message):
            build_problem(config)
    config = load(None, (*SMALL, "network.init.input_scale=1e300", "risk.dtype=float32"))
    with pytest.raises(ValueError, match=r"^network\.init must give finite float32 particles"):
        build_problem(config)


def test_the_path_of_a_file_starts_at_its_folder_and_that_of_an_override_here(
    tmp_path, monkeypatch
):
    path = saved(tmp_path / "start.npz", np.ones((WIDTH, D)))
    text = "[network]\nwidth = 8\ninit = {name = 'npz', path = 'start.npz'}\n"
    (tmp_path / "run.toml").write_text(text)
    config = load(tmp_path / "run.toml")
    assert config.network.init.path == str(path)
    assert RunConfig.from_toml(tmp_path / "run.toml") == config
    assert build_problem(config).start.tolist() == [[1.0] * D] * WIDTH
    # another machine may keep the same particles elsewhere
    assert not {"network.init.path", "task.path"} & settings_of(config, Options()).keys()
    monkeypatch.chdir(tmp_path)
    given = load(None, ("network.init={name='npz', path='start.npz'}",))
    assert given.network.init.path == str(path)


def test_a_width_study_draws_nested_starts_of_a_law_and_refuses_a_file(tmp_path):
    law = "network.init={name='uniform', output_scale=0.25}"
    plan = make_plan(load(None, (*TINY, law)), (8, 16), 1, 64)
    reference = build_problem(plan.study_of(plan.reference)).start
    scales = [0.25, 1.0, 1.0, 1.0]
    np.testing.assert_array_equal(reference, scales * (2 * draws(0).random((64, 4)) - 1))
    for one in plan.runs[1:]:
        np.testing.assert_array_equal(plan.start_of(one), reference[plan.order(0)[: one.width]])
    plan = make_plan(load(None, (*TINY, law)), (8, 16), 1, 64, start="independent")
    wide, narrow = (build_problem(plan.study_of(one)).start for one in plan.runs[1:])
    np.testing.assert_array_equal(wide[:8], narrow)
    config = load(None, (*TINY, "network.init={name='npz', path='start.npz'}"))
    with pytest.raises(
        ConfigError, match=r"network\.init must be a law in a width study, got 'npz'"
    ):
        make_plan(config, (8, 16))
