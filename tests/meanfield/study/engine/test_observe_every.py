"""Rows of the scalars at some steps only."""

import h5py
import numpy as np
import pytest

from meanfield.study.config.run_config import load_text
from meanfield.study.engine.prepared_run import Options, run_layout
from meanfield.study.engine.resume import resume
from meanfield.study.engine.run import run
from tests.helpers.same_runs import CLOCK, assert_same
from tests.meanfield.study.engine.test_resume import stop_at

TEXT = """
learning_rate = 0.3
steps = 17
[landscape]
name = "valley"
[output]
observe_every = 5
sharpness_every = 6
snapshot_every = 4
[processes.gradient_descent]
[processes.free_energy_flow]
"""
TIMES = {
    "gradient_descent": [0, 5, 6, 10, 12, 15, 17],
    "free_energy_flow": [0, 5, 6, 10, 12, 15, 17],
    "gradient_descent/perturbed": [0, 4, 5, 8, 10, 12, 15, 16, 17],
}


@pytest.fixture(scope="module")
def some(tmp_path_factory):
    return run(load_text(TEXT), tmp_path_factory.mktemp("some"))


def test_rows_are_those_of_the_run_with_all_of_them(some, tmp_path):
    every = run(load_text(TEXT.replace("observe_every = 5", "observe_every = 1")), tmp_path)
    with h5py.File(some) as ours, h5py.File(every) as theirs:
        for process, times in TIMES.items():
            rows, whole = ours[process]["observables"], theirs[process]["observables"]
            assert rows["time"][:].tolist() == times
            assert whole["time"][:].tolist() == list(range(18))
            for name in set(whole) - CLOCK - {"eig"}:
                np.testing.assert_array_equal(rows[name][:], whole[name][times], err_msg=name)
        for name, distances in theirs["comparison"].items():
            if isinstance(distances, h5py.Group):
                for each in distances:
                    np.testing.assert_array_equal(
                        ours[f"comparison/{name}/{each}"][:], distances[each][:]
                    )
            else:
                np.testing.assert_array_equal(ours["comparison"][name][:], distances[:])


@pytest.mark.parametrize("step", [pytest.param(5, marks=pytest.mark.slow), 8])
def test_stopped_with_and_without_a_row_it_ends_the_same(some, tmp_path, step):
    study = load_text(TEXT)
    first, second = (stop_at(name, step) for name in ("gradient_descent", "free_energy_flow"))
    path = run(study, tmp_path, progress=first)
    resume(tmp_path, Options(progress=second))
    resume(tmp_path)
    assert_same(path, some)


def test_the_estimated_size_is_that_of_the_rows():
    seldom = load_text(
        TEXT.replace("steps = 17", "steps = 1_000_000").replace("= 5\n", "= 50_000\n")
    )
    seldom = seldom.replace(**{"output.snapshot_every": 500_000, "output.sharpness_every": 500_000})
    often = seldom.replace(**{"output.observe_every": 1})
    small, large = (run_layout(config).estimated_bytes() for config in (seldom, often))
    assert small < 2**21 < large
