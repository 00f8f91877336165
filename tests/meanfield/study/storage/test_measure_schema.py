"""Snapshots of measures in a file: what is bent is refused, and nothing else."""

import shutil

import h5py
import numpy as np
import pytest

from meanfield.study.analysis.stored_run import StoredRun
from meanfield.study.config.run_config import load_text
from meanfield.study.engine.run import run
from meanfield.study.storage.schema import RunFileError

TEXT = """
steps = 2
[measure]
step_size = 0.1
[measure.space]
{}
[measure.energy.harmonic_potential]
[output]
snapshot_every = 1
"""
SPACES = {
    "grid": 'name = "grid"\ncells = [5, 4]\nlow = [-4, -4]\nhigh = [4, 4]',
    "quantiles": 'name = "quantiles"\ncells = 5',
    "particles": 'name = "particles"\ncount = 5\ndimension = 2',
}


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bent")
    return {
        name: run(load_text(TEXT.format(space)), folder / name) for name, space in SPACES.items()
    }


def replace(group, name, values):
    del group[name]
    group.create_dataset(name, data=values)


def wrong_rows(group):
    group["density"].resize(1, axis=0)


BENT = {
    "no density": ("grid", lambda g: g.__delitem__("density")),
    "fewer rows": ("grid", wrong_rows),
    "bounds of three": ("grid", lambda g: replace(g, "x1_bounds", np.zeros((5, 3)))),
    "bounds of other cells": ("grid", lambda g: replace(g, "x1_bounds", np.zeros((7, 2)))),
    "bounds that do not increase": ("grid", lambda g: g["x1_bounds"].__setitem__((1, 0), 9.0)),
    "an axis less": ("grid", lambda g: g.__delitem__("x2")),
    "a negative density": ("grid", lambda g: g["density"].__setitem__((2, 0, 0), -1.0)),
    "no number": ("grid", lambda g: g["density"].__setitem__((2, 0, 0), np.nan)),
    "text": ("quantiles", lambda g: replace(g, "quantile", np.array([b"x"] * 3))),
    "falling quantiles": ("quantiles", lambda g: g["quantile"].__setitem__((2, 0), 9.0)),
    "a level less": ("quantiles", lambda g: replace(g, "level", np.zeros(9))),
    "weights of others": ("particles", lambda g: replace(g, "weight", np.ones(3) / 3)),
    "weights that are none": ("particles", lambda g: g["weight"].__setitem__(0, 2.0)),
}


@pytest.mark.parametrize("what", BENT)
def test_what_is_bent_is_refused(files, tmp_path, what):
    name, bend = BENT[what]
    path = tmp_path / "run.h5"
    shutil.copy(files[name], path)
    with h5py.File(path, "r+") as file:
        bend(file["evolution/snapshots"])
    with pytest.raises(RunFileError, match=r"run\.h5"), StoredRun.open(path) as stored:
        _ = stored.evolution


@pytest.mark.parametrize("name", SPACES)
def test_what_is_whole_is_read(files, name):
    with StoredRun.open(files[name]) as stored:
        assert len(stored.evolution.measures) == 3
        assert stored["evolution"].parameter_names[0] == "x1"


def test_observables_that_are_missing(files, tmp_path):
    shutil.copy(files["grid"], tmp_path / "run.h5")
    with h5py.File(tmp_path / "run.h5", "r+") as file:
        del file["evolution/observables/excess"]
    with pytest.raises(RunFileError, match="excess"):
        StoredRun.open(tmp_path / "run.h5")
