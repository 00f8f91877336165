"""The one list of observables: what is asked for is measured, and a new one is one entry."""

import h5py
import numpy as np
import pytest

from meanfield import Result
from meanfield.study import figures
from meanfield.study.config.run_config import load
from meanfield.study.engine.build import build_problem
from meanfield.study.engine.run import run
from meanfield.study.storage import reader, schema
from meanfield.study.storage.observables import FIRST, NEWER, OBSERVABLES, Observable
from meanfield.study.storage.writer import read_run

GD = "gradient_descent"
STUDY = ("learning_rate=0.5", "steps=4", "output.sharpness_every=2", "output.snapshot_every=1",
         "processes={gradient_descent={}, gradient_flow={}}")  # fmt: skip
VALLEY = (*STUDY, "landscape={name='valley', start=[0.5, 0.8]}")


def test_names_are_different_and_versions_are_said():
    names = [one.name for one in OBSERVABLES]
    assert len(set(names)) == len(names)
    assert {one.since for one in OBSERVABLES} <= {FIRST, "0.2.0"}
    # what files of 0.1.0 had
    assert not NEWER & {"train_loss", "predicted_loss", "sharpness", "free_energy", "sigma_trace", "grad_norm_sq",
                        "hessian_eigs", "iterate_loss"}  # fmt: skip


def whole_hessian(objective, x):
    columns = [objective.hvp(x, unit.reshape(x.shape)).ravel() for unit in np.eye(x.size)]
    return np.linalg.eigvalsh(np.array(columns))


@pytest.mark.parametrize("problem", [(), ("task.n=12", "network.width=8")])
def test_the_sharpness_at_the_iterate_is_measured_on_request(tmp_path, problem):
    settings = (*STUDY, *problem) if problem else VALLEY
    config = load(None, (*settings, "output.iterate_sharpness=true"))
    path = run(config, tmp_path)
    record, objective = read_run(path), build_problem(config).objective
    found = record.processes[GD].observables["iterate_sharpness"]
    np.testing.assert_array_equal(np.isfinite(found), [True, False, True, False, True])
    with h5py.File(path) as file:
        snapshots = file[GD]["snapshots"]
        centers, fluctuations = snapshots["position"][:], snapshots["fluctuation"][:]
        assert "at the iterate" in file[GD]["observables/iterate_sharpness"].attrs["long_name"]
        assert "iterate_sharpness" not in file["gradient_flow/observables"]
    for step in (0, 2, 4):  # x_k = center + (−1)^k fluctuation
        x = centers[step] + fluctuations[step]
        x = x if problem else x[0]
        assert found[step] == pytest.approx(whole_hessian(objective, x)[-1], rel=1e-5)
    at_center = record.processes[GD].observables["sharpness"]
    assert np.nanmax(np.abs(at_center - found)) > 1e-3


def test_captions_say_where_the_sharpness_is_measured(tmp_path):
    for name, settings in (("without", ()), ("with", ("output.iterate_sharpness=true",))):
        record = read_run(run(load(None, (*VALLEY, *settings)), tmp_path / name))
        drawn = next(made for made in figures.run_figures(record) if made.name == "sharpness")
        assert "at the center" in drawn.caption
        assert ("at the iterates" in drawn.caption) == (name == "with")


def test_files_without_it_are_as_before(tmp_path):
    path = run(load(None, VALLEY), tmp_path)
    with h5py.File(path) as file:
        assert "iterate_sharpness" not in file[GD]["observables"]
    assert "iterate_sharpness" not in read_run(path).processes[GD].observables


def test_a_new_observable_is_one_entry(tmp_path, monkeypatch):
    """It is measured, written with its name and units, and read; files that lack it are read with NaN."""
    old = run(load(None, VALLEY), tmp_path / "old")
    farthest = Observable(
        "farthest", "largest coordinate of the center", "1", "0.3.0",
        lambda at: np.abs(at.observation.center).max(),
    )  # fmt: skip
    monkeypatch.setattr(schema, "OBSERVABLES", (*OBSERVABLES, farthest))
    monkeypatch.setattr(reader, "EVERYWHERE", reader.EVERYWHERE | {"farthest": farthest})
    monkeypatch.setattr(reader, "NEWER", NEWER | {"farthest"})
    path = run(load(None, VALLEY), tmp_path / "new")
    process = read_run(path).processes[GD]
    np.testing.assert_array_equal(
        process.observables["farthest"], np.abs(process.trajectory).max(axis=1)
    )
    with h5py.File(path) as file:
        about = dict(file[GD]["observables/farthest"].attrs)
    assert (about["long_name"], about["units"]) == ("largest coordinate of the center", "1")
    with Result.open(path) as result:
        assert "farthest" in result[GD].observables
    assert np.isnan(read_run(old).processes[GD].observables["farthest"]).all()
