"""A run that was stopped and resumed is the run that was not."""

import json
import os
import re
import shutil
import signal
from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from meanfield.study.config.run_config import load, load_text
from meanfield.study.engine.prepared_run import Options, current_versions
from meanfield.study.engine.resume import resume
from meanfield.study.engine.run import run
from meanfield.study.storage.checkpoint import NAMES, CheckpointError, Checkpoints
from meanfield.study.storage.files.journal import Changes, journal_path
from meanfield.study.storage.schema import RunFileError
from meanfield.study.storage.writer import read_run
from solvers.flows import FLOWS
from tests.helpers.line_network import TASK_AND_NETWORK, saved_sine, sine
from tests.helpers.same_runs import assert_same

VALLEY = """
learning_rate = 0.3
steps = 12
[landscape]
name = "valley"
[output]
snapshot_every = 5
sharpness_every = 2
[processes.gradient_descent]
[processes.normalized_gradient_descent]
[processes.sqrt_loss_gradient_descent]
minimum = -100.0
[processes.gradient_flow]
[processes.delayed_gradient_flow]
flow = "gradient_flow"
delay = true
[processes.free_energy_flow]
fluctuation_floor = "rounding"
[processes.two]
flow = "free_energy_flow"
closure = "taylor"
rank = 2
integrator = "adaptive"
[processes.delayed]
flow = "free_energy_flow"
delay = true
dt = 0.2
[processes.rod_flow]
[processes.edge_flow]
[processes.central_flow]
[processes.self_stabilization]
[processes.heavy_ball]
[processes.nesterov]
[processes.scalar_rmsprop]
second_moment = 0.1
[processes.rmsprop]
[processes.adam]
"""
MINIMISERS = """
learning_rate = 0.05
steps = 12
[landscape]
name = "matrix_factorization"
[output]
snapshot_every = 3
sharpness_every = 2
[processes.sharpness_flow]
integrator = "rk4"
"""
NETWORK = """
learning_rate = 1.5
steps = 12
[task]
n = 20
[network]
width = 8
[output]
snapshot_every = 5
sharpness_every = 3
eigenvalues = 3
iterate_sharpness = true
[processes.gradient_descent]
[processes.free_energy_flow]
rank = 2
[processes.central_flow]
dt = 0.5
[processes.langevin]
temperature = 1e-3
[processes.jko]
saddle = true
dt = 2.0
"""
LINE = """
learning_rate = 2.5
steps = 8
TASK_AND_NETWORK
[output]
snapshot_every = 3
sharpness_every = 2
[processes.gradient_descent]
[processes.jko]
temperature = 1e-3
[processes.phase_space]
cells = [24, 24]
"""
PERTURBED = "gradient_descent/perturbed"
TEXTS = {"valley": VALLEY, "minimisers": MINIMISERS, "network": NETWORK, "line": LINE}


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """A study by its name, with the file of a run that was left in peace."""
    folder = tmp_path_factory.mktemp("undisturbed")

    @cache
    def made(name):
        study = load_text(TEXTS[name].replace("TASK_AND_NETWORK", saved_sine(folder)))
        return study, run(study, folder / name)

    return made


def stop_at(what, done, signum=signal.SIGTERM):
    """Progress that has a signal sent once so much is done."""

    def progress(*now):
        if now[:2] == (what, done):
            signal.raise_signal(signum)

    return progress


def processes(text):
    return re.findall(r"^\[processes\.(\w+)\]", text, re.MULTILINE)


def test_every_flow_is_among_the_processes():
    tables = TASK_AND_NETWORK.format(path="sine.npz")
    studies = [load_text(text.replace("TASK_AND_NETWORK", tables)) for text in TEXTS.values()]
    flows = {process.flow for study in studies for process in study.processes.values()}
    assert flows == set(FLOWS)


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=[pytest.mark.slow, pytest.mark.essential]) for name in TEXTS],
)
def test_stopped_in_every_process_it_ends_the_same(tmp_path, undisturbed, name):
    study, expected = undisturbed(name)
    stops = [stop_at(process, 4) for process in processes(TEXTS[name])]
    if name != "minimisers":
        stops.append(stop_at("comparison", 4))
    path = run(study, tmp_path, progress=stops[0])
    for stop in stops[1:]:
        assert read_run(path).attributes["message"] == "stopped by SIGTERM"
        resume(tmp_path, Options(progress=stop))
    resume(tmp_path)
    assert_same(path, expected)
    assert os.listdir(tmp_path) == ["run.h5"]


@pytest.mark.slow
@pytest.mark.essential
def test_stopped_at_any_step_it_ends_the_same(tmp_path, undisturbed):
    """Before and after a snapshot, a measurement of the spectrum, at the start and at the end."""
    study, expected = undisturbed("network")
    path = run(study, tmp_path, progress=stop_at("gradient_descent", 0))
    for step in (1, 3, 5, 6, 11, 12):
        record = read_run(path)
        resume(tmp_path, Options(progress=stop_at("gradient_descent", step)))
        rows = len(record.processes["gradient_descent"].observables["time"])
        assert len(read_run(path).processes["gradient_descent"].observables["time"]) > rows
    resume(tmp_path)
    assert_same(path, expected)


@pytest.mark.parametrize(
    "step", [4, *(pytest.param(step, marks=pytest.mark.slow) for step in (0, 3, 6))]
)
def test_stopped_one_rounding_away_it_ends_the_same(tmp_path, small, small_run, step):
    path = run(load(None, small), tmp_path, progress=stop_at(PERTURBED, step))
    stopped = read_run(path)
    np.testing.assert_array_equal(stopped.perturbed.observables["time"], np.arange(step + 1))
    assert (stopped.attributes["status"], stopped.comparison) == ("interrupted", {})
    assert_same(resume(tmp_path), small_run)


def test_what_an_older_version_began_goes_on_without_its_rounding_spread(
    tmp_path, small, monkeypatch
):
    with monkeypatch.context() as older:
        older.setattr("meanfield.study.engine.prepared_run.perturbed_layout", lambda *arguments: {})
        run(load(None, small), tmp_path, progress=stop_at("gradient_flow", 2))
    assert PERTURBED not in Checkpoints(tmp_path).load().rows
    record = read_run(resume(tmp_path))
    assert record.attributes["status"] == "complete" and record.perturbed is None


@pytest.mark.slow
@pytest.mark.essential
def test_in_single_precision_too(tmp_path, small):
    more = ("risk.dtype=float32", "output.snapshot_dtype=float32", "output.compression=gzip")
    study = load(None, (*small, *more))
    path = run(study, tmp_path / "out", progress=stop_at("free_energy_flow", 2))
    resume(tmp_path / "out")
    assert_same(path, run(study, tmp_path / "expected"))


@pytest.mark.slow
@pytest.mark.essential
def test_what_a_journal_of_another_file_holds_is_not_replayed(
    tmp_path, small, small_run, in_children
):
    path = run(load(None, small), tmp_path, progress=stop_at("gradient_flow", 2))
    left = Changes(path.stat().st_size, ((0, b"rubbish"),)).encoded()
    journal_path(tmp_path / "run.h5.partial").write_bytes(left)
    assert_same(resume(tmp_path), small_run)


@pytest.mark.slow
@pytest.mark.essential
def test_a_stopped_run_says_where_and_keeps_everything(tmp_path, undisturbed, in_children):
    study, expected = undisturbed("network")
    path = run(study, tmp_path, progress=stop_at("central_flow", 4, signal.SIGINT))
    stopped = read_run(path)
    assert stopped.attributes["message"] == "stopped by SIGINT"
    flow = stopped.processes["central_flow"]
    assert (flow.status, flow.message) == ("interrupted", "interrupted after step 4")
    np.testing.assert_array_equal(flow.observables["time"], np.arange(5))
    np.testing.assert_array_equal(flow.snapshot_times, [0, 4])  # the last one for those who look
    assert stopped.processes["langevin"].message == "not started"
    assert resume(tmp_path) == path  # in a process of its own
    assert_same(path, expected)


@pytest.mark.parametrize(
    "forgotten",
    [
        {"vectors": None},
        *(
            pytest.param(part, marks=pytest.mark.slow)
            for part in ({"readings": {}}, {"message": "started elsewhere"})
        ),
    ],
)
def test_whatever_is_forgotten_shows(tmp_path, small, small_run, monkeypatch, forgotten):
    """What the tests above compare depends on every part of a checkpoint."""
    path = run(load(None, small), tmp_path, progress=stop_at("gradient_descent", 4))
    remember = Checkpoints.load

    def forgetful(self):
        checkpoint = remember(self)
        return replace(checkpoint, position=replace(checkpoint.position, **forgotten))

    monkeypatch.setattr(Checkpoints, "load", forgetful)
    resume(tmp_path)
    with pytest.raises(AssertionError):
        assert_same(path, small_run)


def test_a_run_that_has_ended_is_left_alone(tmp_path, small):
    path = run(load(None, small), tmp_path)
    before = path.read_bytes()
    assert resume(tmp_path) == path
    assert path.read_bytes() == before


def test_what_cannot_go_on_is_refused(tmp_path, small):
    with pytest.raises(ValueError, match="must be the folder of a run, got no such folder"):
        resume(tmp_path / "none")
    with pytest.raises(ValueError, match="must hold a run that can be resumed, got none"):
        resume(tmp_path)


def test_a_run_that_has_not_ended_is_only_replaced_by_force(tmp_path, small):
    study = load(None, small)
    run(study, tmp_path, progress=stop_at("gradient_flow", 2))
    with pytest.raises(ValueError, match=f"meanfield resume {tmp_path}"):
        run(study, tmp_path)
    assert read_run(run(study, tmp_path, force=True)).attributes["status"] == "complete"
    assert os.listdir(tmp_path) == ["run.h5"]


def test_other_data_are_refused(tmp_path):
    text = LINE.replace("TASK_AND_NETWORK", saved_sine(tmp_path))
    run(load_text(text), tmp_path / "out", progress=stop_at("gradient_descent", 2))
    x, y = sine(20)
    np.savez(tmp_path / "sine.npz", inputs=x, targets=-y)
    with pytest.raises(
        CheckpointError, match="the data and the start must be those that the run began with"
    ):
        resume(tmp_path / "out")


def test_other_versions_are_warned_of(tmp_path, small, monkeypatch):
    run(load(None, small), tmp_path, progress=stop_at("gradient_flow", 2))
    now = json.loads(current_versions()) | {"numpy": "99.0"}
    monkeypatch.setattr("meanfield.study.engine.resume.current_versions", lambda: json.dumps(now))
    warnings = []
    resume(tmp_path, Options(say=warnings.append))
    assert len(warnings) == 1 and f"numpy {np.__version__} before, 99.0 now" in warnings[0]


def test_a_checkpoint_of_another_run_is_refused(tmp_path, small, in_children):
    run(load(None, small), tmp_path / "a", progress=stop_at("gradient_flow", 2))
    run(load(None, (*small, "seed=1")), tmp_path / "b", progress=stop_at("gradient_flow", 2))
    for name in NAMES:
        shutil.copy(tmp_path / "a" / name, tmp_path / "b" / name)
    with pytest.raises(RunFileError, match="the checkpoint must be of this run"):
        resume(tmp_path / "b")


def test_a_damaged_file_that_hangs_its_reader_is_given_up(
    tmp_path, small, monkeypatch, in_children
):
    run(load(None, small), tmp_path, progress=stop_at("gradient_flow", 2))
    monkeypatch.setattr("meanfield.study.engine.resume.RECOVERY_SECONDS", 0.01)
    with pytest.raises(RunFileError, match="it did not end within 0.01 s"):
        resume(tmp_path)
