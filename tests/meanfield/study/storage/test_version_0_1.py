"""Files that version 0.1 wrote are read, compared and reported; an interrupted run is resumed from its checkpoint.

The run and the interrupted run are of one configuration: the valley, three processes, 12 steps; the latter was stopped in
gradient flow. The study has the widths 4 and 8 and two seeds.
"""

import gzip
import shutil
from pathlib import Path

import numpy as np
import pytest

import meanfield
from meanfield.study.report import write_report
from meanfield.study.storage.writer import read_run

DATA = Path(__file__).parents[3] / "data" / "version_0_1"
GD, FLOW, ENERGY = "gradient_descent", "gradient_flow", "free_energy_flow"


def unpacked(name, folder):
    folder.mkdir(exist_ok=True)
    path = folder / "run.h5"
    path.write_bytes(gzip.decompress((DATA / name).read_bytes()))
    return path


@pytest.fixture
def finished(tmp_path):
    return unpacked("run.h5.gz", tmp_path / "finished")


@pytest.fixture
def interrupted(tmp_path):
    path = unpacked("interrupted.h5.gz", tmp_path / "interrupted")
    for name in ("checkpoint-0", "checkpoint-1"):
        shutil.copy(DATA / name, path.parent)
    return path


def test_a_run_is_read_and_compared(finished):
    with meanfield.load(finished) as result:
        assert list(result) == [GD, FLOW, ENERGY] and result.status == "complete"
        np.testing.assert_array_equal(result[GD].observables["time"], np.arange(13))
        np.testing.assert_array_equal(result[GD].snapshots.times, [0, 5, 10, 12])
        x, valley = np.array(meanfield.landscapes.Valley().start), meanfield.landscapes.Valley()
        for k in range(13):  # the center is the mean of two iterates
            y = x - 0.3 * valley.gradient(x)
            loss = result[GD].observables["train_loss"][k]
            assert loss == pytest.approx(valley.value((x + y) / 2), rel=1e-12)
            x = y
        rows = {row["process"]: row for row in result.compare()}
        assert set(rows) == {GD, FLOW, ENERGY}  # without the rounding spread, which came later
        distances = result.comparison[ENERGY]["center_distance"]
        assert rows[ENERGY]["final_distance"] == distances[-1]


def test_a_run_is_reported(finished):
    assert "free energy flow" in write_report(finished).read_text()


def test_a_run_has_no_final_states_to_be_extended_from(finished):
    before = finished.read_bytes()
    with pytest.raises(
        ValueError, match="an older version wrote it; `meanfield run` with steps = 24"
    ):
        meanfield.extend(finished.parent, 24)
    assert finished.read_bytes() == before


@pytest.mark.filterwarnings("ignore:.*begun with other versions")
def test_an_interrupted_run_is_resumed_to_the_run_without_interruption(interrupted, finished):
    with meanfield.load(interrupted) as left:
        assert left.status == "interrupted"
    with meanfield.resume(interrupted.parent) as result:
        assert result.status == "complete"
    ours, theirs = read_run(interrupted), read_run(finished)
    for name, process in theirs.processes.items():
        for key in (
            "time",
            "train_loss",
            "predicted_loss",
            "sharpness",
            "sigma_trace",
            "gradients",
        ):
            found = ours.processes[name].observables[key]
            np.testing.assert_allclose(found, process.observables[key], rtol=1e-7, err_msg=key)
        np.testing.assert_allclose(ours.processes[name].last, process.last, rtol=1e-9)
    assert list(interrupted.parent.iterdir()) == [interrupted]


@pytest.mark.slow
@pytest.mark.essential
def test_a_width_study_is_read_and_reported(tmp_path):
    path = Path(shutil.copy(DATA / "study.h5", tmp_path))
    study = meanfield.load(path)
    np.testing.assert_array_equal(study.widths, [4, 8])
    assert study.distances["w2"].shape[1:3] == (2, 2) and np.isfinite(study.distances["w2"]).any()
    assert write_report(path).read_text().startswith("<!DOCTYPE html>")
