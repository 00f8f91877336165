"""A finished run of a measure that is extended is the run that was asked for so many steps at once."""

import os
import shutil
import signal

import pytest

import meanfield
from meanfield.study.config.run_config import load_text
from meanfield.study.engine.extend import extend
from meanfield.study.engine.prepared_run import Options
from meanfield.study.engine.resume import resume
from meanfield.study.engine.run import run
from meanfield.study.storage.writer import read_run
from tests.helpers.matrices import slow_unless
from tests.helpers.same_runs import assert_same
from tests.meanfield.study.engine.test_evolution_runs import BLOW_UP, QUANTILES, TEXTS

BY_STEPS = {name: text for name, text in TEXTS.items() if name != "quantiles"}
#: Equal steps over a time that is no multiple of them: the last is a short one.
LAST_SHORT = QUANTILES.replace("tolerance = 5e-3\nduration = 0.4", "step_size = 0.05\nduration = 0.23")  # fmt: skip
CONFIG = load_text(TEXTS["grid"])
MORE = 14


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The file of more steps."""
    return run(CONFIG.replace(steps=MORE), tmp_path_factory.mktemp("whole"))


@pytest.mark.parametrize(("name",), slow_unless("plane".__eq__, [(name,) for name in BY_STEPS]))
def test_it_goes_on_bit_for_bit(tmp_path, name):
    config = load_text(BY_STEPS[name])
    steps = config.steps + 4
    expected = run(config.replace(steps=steps), tmp_path / "whole")
    run(config, tmp_path / "run")
    assert_same(extend(tmp_path / "run", steps), expected)
    assert os.listdir(tmp_path / "run") == ["run.h5"]


@pytest.mark.parametrize(("steps",), slow_unless([5].__contains__, [(1,), (4,), (5,)]))
def test_wherever_it_ended(tmp_path, whole, steps):
    """After its first step, on a snapshot, and between two; in several goes."""
    run(CONFIG.replace(steps=steps), tmp_path)
    extend(tmp_path, steps + 1)
    assert_same(extend(tmp_path, MORE), whole)


def test_a_short_last_step_is_taken_again(tmp_path):
    """0.23 is four steps of 0.05 and a short one; seven steps are 0.35."""
    config = load_text(LAST_SHORT)
    run(config, tmp_path / "run")
    expected = run(config.replace(**{"measure.duration": 7 * 0.05}), tmp_path / "whole")
    with pytest.raises(ValueError, match="steps must be above 5, which the run has, got 5"):
        extend(tmp_path / "run", 5)
    assert_same(extend(tmp_path / "run", 7), expected)


@pytest.mark.parametrize(("end",), slow_unless("killed".__eq__, [("stopped",), ("killed",)]))
def test_stopped_or_killed_it_goes_on(tmp_path, whole, end):
    """What a kill leaves is the folder as it is at that moment."""
    finished, left = tmp_path / "run", tmp_path / "left"
    run(CONFIG, finished)
    before = (finished / "run.h5").read_bytes()

    def progress(what, done, total):
        if done == 11:
            shutil.copytree(finished, left)
            signal.raise_signal(signal.SIGTERM)

    path = extend(finished, MORE, Options(progress=progress))
    assert path.name == "run.h5.partial" and read_run(path).attributes["status"] == "interrupted"
    folder = finished if end == "stopped" else left
    assert (folder / "run.h5").read_bytes() == before
    with pytest.raises(ValueError, match=f"not finished, of {MORE} steps"):
        extend(folder, MORE + 1)
    assert_same(resume(folder), whole)
    assert os.listdir(folder) == ["run.h5"]


def test_a_resumed_run_is_extended(tmp_path, whole):
    """A checkpoint before the last step has what an extension needs."""

    def stop(what, done, total):
        if done == 8:
            signal.raise_signal(signal.SIGTERM)

    run(CONFIG, tmp_path, progress=stop)
    resume(tmp_path)
    assert_same(meanfield.extend(tmp_path, MORE).path, whole)


def test_steps_by_a_tolerance_are_refused_with_the_remedy(tmp_path):
    run(load_text(QUANTILES), tmp_path)
    with pytest.raises(ValueError, match=r"run it with a longer measure\.duration"):
        extend(tmp_path, 100)
    assert os.listdir(tmp_path) == ["run.h5"]


def test_one_that_failed_stays_as_it_is(tmp_path):
    expected = run(load_text(BLOW_UP).replace(steps=50), tmp_path / "whole")
    run(load_text(BLOW_UP), tmp_path / "run")
    path = extend(tmp_path / "run", 50)
    assert read_run(path).attributes["status"] == "failed"
    assert_same(path, expected)
