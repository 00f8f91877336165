"""Results go to other processes, and come back from them, as their files: of pools, joblib or a cluster's scheduler."""

import copy
import multiprocessing
import pickle

import numpy as np
import pytest

import meanfield
from meanfield.landscapes import Valley

CONFIG = meanfield.RunConfig(
    learning_rate=0.3, steps=4, task={"n": 10}, network={"width": 3}, processes={"gradient_descent": {}}
)  # fmt: skip


def losses(run):
    return run["gradient_descent"].observables["train_loss"]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return meanfield.run(CONFIG, out=tmp_path_factory.mktemp("pickling") / "run")


@pytest.mark.parametrize("copied", [lambda run: pickle.loads(pickle.dumps(run)), copy.deepcopy])
def test_a_copy_reads_the_same_file(run, copied):
    with copied(run) as other:
        assert other.path.samefile(run.path)
        np.testing.assert_array_equal(losses(other), losses(run))
    np.testing.assert_array_equal(losses(run), losses(other := copied(run)))  # run is open still
    other.close()


def test_a_copy_goes_on_with_the_objects_of_its_run(tmp_path):
    config = meanfield.RunConfig(learning_rate=0.3, steps=4, processes={"gradient_descent": {}})
    run = meanfield.run(config, out=tmp_path / "run", objective=Valley(), start=[0.1, 6.0])
    with pickle.loads(pickle.dumps(run)) as other, other.extend(steps=6) as longer:
        assert len(losses(longer)) == 7
    run.close()


def test_a_sweep_is_copied_with_its_runs(tmp_path):
    sweep = meanfield.sweep(CONFIG, {"seed": [0, 1]}, out=tmp_path / "sweep")
    other = pickle.loads(pickle.dumps(sweep))
    assert list(other) == list(sweep) and other.rows == sweep.rows
    with other["seed=1"] as one, sweep["seed=1"] as same:
        np.testing.assert_array_equal(losses(one), losses(same))


@pytest.mark.parametrize(
    "make",
    [lambda: meanfield.run(CONFIG), lambda: meanfield.sweep(CONFIG, {"seed": [0]})],
    ids=["run", "sweep"],
)
def test_what_is_in_a_temporary_folder_is_refused(make):
    with pytest.raises(TypeError, match="must be in a folder that stays, got .*; give it a folder"):
        pickle.dumps(make())


@pytest.mark.slow
def test_a_pool_returns_runs(tmp_path):
    configs = [CONFIG.model_copy(update={"seed": seed}) for seed in range(2)]
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        runs = pool.starmap(meanfield.run, [(c, tmp_path / str(c.seed)) for c in configs])
    for config, run in zip(configs, runs, strict=True):
        with meanfield.run(config) as here, run:
            np.testing.assert_array_equal(losses(run), losses(here))
