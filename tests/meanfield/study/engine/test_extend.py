"""A finished run that is extended is the run that was asked for so many steps at once."""

import itertools
import json
import os
import shutil
import signal

import h5py
import numpy as np
import pytest

import meanfield
from meanfield.study.config.run_config import load, load_text
from meanfield.study.engine.extend import extend
from meanfield.study.engine.prepared_run import Options
from meanfield.study.engine.resume import resume
from meanfield.study.engine.run import run
from meanfield.study.storage.checkpoint import Checkpoints
from meanfield.study.storage.writer import read_run
from tests.helpers.line_network import saved_sine
from tests.helpers.matrices import slow_unless
from tests.helpers.own_objects import Bowl, HeavyBall
from tests.helpers.same_runs import assert_same
from tests.meanfield.study.engine.test_resume import TEXTS

GD, FLOW = "gradient_descent", "gradient_flow"
MORE = 24
ENDS = [(0,), (1,), (5,), (6,), (10,), (15,), (23,)]
SMALL = load_text("""
learning_rate = 0.3
steps = 7
[landscape]
name = "valley"
[output]
snapshot_every = 5
sharpness_every = 3
eigenvalues = 2
[processes.gradient_descent]
[processes.gradient_flow]
[processes.free_energy_flow]
""")


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The file of the small run of more steps."""
    return run(SMALL.replace(steps=MORE), tmp_path_factory.mktemp("whole"))


@pytest.fixture(scope="module")
def small_file(tmp_path_factory):
    """The file of the small run."""
    return run(SMALL, tmp_path_factory.mktemp("finished"))


@pytest.fixture
def finished(small_file, tmp_path):
    shutil.copy(small_file, tmp_path)
    return tmp_path


class Kill(BaseException):
    """The process dies: nothing of its own runs any more."""


# --- the bits ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=[pytest.mark.slow, pytest.mark.essential]) for name in TEXTS],
)
def test_every_flow_goes_on_bit_for_bit(tmp_path, name):
    config = load_text(TEXTS[name].replace("TASK_AND_NETWORK", saved_sine(tmp_path)))
    steps = 2 * config.steps
    expected = run(config.replace(steps=steps), tmp_path / "whole")
    run(config, tmp_path / "run")
    assert_same(extend(tmp_path / "run", steps), expected)
    assert os.listdir(tmp_path / "run") == ["run.h5"]


@pytest.mark.parametrize(("steps",), slow_unless([15].__contains__, ENDS))
def test_wherever_it_ended(tmp_path, whole, steps):
    """On a snapshot, on a measurement of the spectrum, on both, on neither, and before the first step."""
    run(SMALL.replace(steps=steps), tmp_path)
    assert_same(extend(tmp_path, MORE), whole)


def test_in_several_goes(finished, whole):
    for steps in (9, 10, MORE):
        extend(finished, steps)
    assert_same(finished / "run.h5", whole)


def test_a_process_that_diverged_stays_as_it_is(tmp_path):
    config = load(None, ("landscape.name=valley", "learning_rate=0.5", "steps=20"))
    config = config.replace(processes={GD: {}, "wild": {"flow": "gradient_flow", "dt": 1.0}})
    config = config.replace(learning_rate=40.0, **{"output.snapshot_every": 3})
    expected = run(config.replace(steps=30), tmp_path / "whole")
    path = run(config, tmp_path / "run")
    assert read_run(path).attributes["status"] == "diverged"
    assert_same(extend(tmp_path / "run", 30), expected)


def test_own_objects_are_needed_again(tmp_path):
    given = {"flows": {"mine": HeavyBall(0.3)}, "objective": Bowl([1.0, 2.0]), "start": [1.0, 1.0]}
    config = SMALL.replace(landscape=None, **{"output.eigenvalues": 1})
    expected = meanfield.run(config.replace(steps=MORE), tmp_path / "whole", **given)
    result = meanfield.run(config, tmp_path / "run", **given)
    with pytest.raises(ValueError, match=r"flows\['mine'\] must be HeavyBall"):
        meanfield.extend(tmp_path / "run", MORE)
    with pytest.raises(ValueError, match="objective must be the one"):
        meanfield.extend(tmp_path / "run", MORE, **(given | {"objective": Bowl([1.0, 3.0])}))
    assert_same(result.extend(MORE).path, expected.path)


def test_the_front_door_and_a_temporary_folder(whole):
    result = meanfield.run(SMALL)
    longer = result.extend(MORE)
    assert longer.path == result.path and len(result[GD].observables["time"]) == 8
    assert_same(longer.path, whole)


# --- stopped and killed --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("process",),
    slow_unless(
        [FLOW].__contains__,
        [(GD,), (FLOW,), (f"{GD}/perturbed",), ("comparison",)],
        pytest.mark.essential,
    ),
)
def test_stopped_it_leaves_the_finished_run_and_goes_on(finished, whole, process):
    before = (finished / "run.h5").read_bytes()
    done = 2 if process == "comparison" else 12

    def stop(*now):
        if now[:2] == (process, done):
            signal.raise_signal(signal.SIGTERM)

    path = extend(finished, MORE, Options(progress=stop))
    assert path == finished / "run.h5.partial"
    assert read_run(path).attributes["status"] == "interrupted"
    assert (finished / "run.h5").read_bytes() == before
    with pytest.raises(ValueError, match=f"not finished, of {MORE} steps"):
        extend(finished, MORE + 1)
    assert_same(resume(finished), whole)
    assert os.listdir(finished) == ["run.h5"]


@pytest.mark.parametrize(
    ("moment", "again"),
    slow_unless(
        lambda moment, again: (moment, again) in [((FLOW, 15), "resume")],
        itertools.product(
            [(GD, 7), (GD, 8), (FLOW, 15), (f"{GD}/perturbed", 24)], ["resume", "extend"]
        ),
        pytest.mark.essential,
    ),
)
def test_killed_at_any_moment_it_goes_on(finished, whole, tmp_path_factory, moment, again):
    """The folder as it is on the disk at that moment is what a kill leaves."""
    before = (finished / "run.h5").read_bytes()
    left = tmp_path_factory.mktemp("left") / "run"

    def copy(*now):
        if now[:2] == moment:
            shutil.copytree(finished, left)

    extend(finished, MORE, Options(progress=copy))
    assert (left / "run.h5").read_bytes() == before
    assert Checkpoints(left).load().extends == 7
    assert_same(resume(left) if again == "resume" else extend(left, MORE), whole)


@pytest.mark.parametrize(
    ("call",),
    slow_unless(
        ["cut"].__contains__,
        [("checkpoint",), ("copy",), ("cut",), ("name",), ("end",)],
        pytest.mark.essential,
    ),
)
def test_killed_before_or_after_its_steps_nothing_is_lost(finished, whole, monkeypatch, call):
    before = (finished / "run.h5").read_bytes()

    def die(*arguments, **keywords):
        if call != "end" or (finished / "run.h5").read_bytes() != before:
            raise Kill

    with monkeypatch.context() as patch:
        target = {
            "checkpoint": "meanfield.study.engine.extend.Checkpoints.save",
            "copy": "meanfield.study.engine.extend.shutil.copyfile",
            "cut": "meanfield.study.engine.extend.take_back_in_child",
            "name": "meanfield.study.engine.extend.sync_folder",
            "end": "meanfield.study.engine.run.Checkpoints.remove",
        }[call]
        patch.setattr(target, die)
        with pytest.raises(Kill):
            extend(finished, MORE)
    if call == "end":
        assert_same(finished / "run.h5", whole)
    else:
        assert (finished / "run.h5").read_bytes() == before
        read_run(finished / "run.h5")
        assert_same(extend(finished, MORE), whole)
    resume(finished)
    assert os.listdir(finished) == ["run.h5"]


# --- what is refused -----------------------------------------------------------------------------


@pytest.mark.parametrize("steps", [7, 3, 0, -1, 2.5, "8"])
def test_fewer_steps_and_no_steps_are_refused(finished, steps):
    before = (finished / "run.h5").read_bytes()
    with pytest.raises(ValueError, match="^steps must be"):
        extend(finished, steps)
    assert os.listdir(finished) == ["run.h5"]
    assert (finished / "run.h5").read_bytes() == before


def test_without_a_finished_run_there_is_nothing_to_extend(tmp_path):
    with pytest.raises(ValueError, match=r"got no run\.h5"):
        extend(tmp_path, 8)

    def stop(*now):
        if now[:2] == (GD, 3):
            signal.raise_signal(signal.SIGTERM)

    run(SMALL, tmp_path, progress=stop)
    with pytest.raises(ValueError, match="not finished.*`meanfield resume"):
        extend(tmp_path, 8)


def test_a_file_without_final_states_is_refused_with_the_remedy(finished):
    with h5py.File(finished / "run.h5", "r+") as file:
        del file[f"{FLOW}/final"]
    with pytest.raises(ValueError, match="older version.*`meanfield run` with steps = 24"):
        extend(finished, MORE)
    with h5py.File(finished / "run.h5", "r+") as file:
        del file.attrs["problem_sha256"]
    with pytest.raises(ValueError, match="older version"):
        extend(finished, MORE)
    assert os.listdir(finished) == ["run.h5"]


def test_other_data_are_refused(tmp_path):
    tables = saved_sine(tmp_path)
    config = load_text(f"steps = 2\n{tables}[processes.gradient_descent]")
    run(config, tmp_path / "run")
    with np.load(tmp_path / "sine.npz") as data:
        arrays = {name: data[name] + 1.0 for name in data}
    np.savez(tmp_path / "sine.npz", **arrays)
    with pytest.raises(ValueError, match="data or the start"):
        extend(tmp_path / "run", 4)


@pytest.mark.parametrize(
    "state", ["nonsense", "{}", json.dumps({"step": 7, "shapes": {"other": [3]}})]
)
def test_a_damaged_final_state_is_refused(finished, state):
    with h5py.File(finished / "run.h5", "r+") as file:
        file[f"{FLOW}/final"].attrs["state_json"] = state
    with pytest.raises(ValueError, match="final state is not what a run writes"):
        extend(finished, MORE)
    assert os.listdir(finished) == ["run.h5"]


def test_a_final_state_of_another_shape_is_refused(finished):
    with h5py.File(finished / "run.h5", "r+") as file:
        group = file[f"{FLOW}/final"]
        about = json.loads(group.attrs["state_json"])
        about["shapes"]["values"] = [*about["shapes"]["values"], 1]
        group.attrs["state_json"] = json.dumps(about)
    with pytest.raises(ValueError, match="does not fit"):
        extend(finished, MORE)
    assert os.listdir(finished) == ["run.h5"]
