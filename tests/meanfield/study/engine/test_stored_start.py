"""Runs that start from a snapshot of another run.

The other run is one that version 0.1 wrote: the valley, learning rate 0.3, snapshots at 0, 5, 10 and 12; the iterates of its
gradient descent are computed here.
"""

import gzip
import signal
from pathlib import Path

import h5py
import numpy as np
import pytest

import meanfield
from meanfield.landscapes import Valley
from meanfield.study.config.run_config import load
from meanfield.study.engine.build import build_problem
from meanfield.study.engine.resume import resume
from meanfield.study.engine.run import run
from tests.helpers.commands import meanfield_command
from tests.helpers.same_runs import assert_same
from tests.meanfield.study.conftest import SMALL

FILE = Path(__file__).parents[3] / "data" / "version_0_1" / "run.h5.gz"
GD, FLOW, ENERGY = "gradient_descent", "gradient_flow", "free_energy_flow"
# Center and fluctuation are rounded, so that their sum is within 2 units in the last place of the larger of two iterates;
# in few steps at the edge of stability, where the gradient step's factor is about −1, this grows hardly.
ROUNDING = {"rtol": 1e-13, "atol": 1e-14}


@pytest.fixture(scope="module")
def before(tmp_path_factory):
    path = tmp_path_factory.mktemp("before") / "run.h5"
    path.write_bytes(gzip.decompress(FILE.read_bytes()))
    return path


def settings_of(start, **changes):
    return meanfield.RunConfig(
        learning_rate=0.3,
        steps=7,
        start=start,
        landscape={"name": "valley"},
        output={"snapshot_every": 1, "sharpness_every": 7},
        processes={GD: {}, FLOW: {}},
    ).replace(**changes)


def iterates(steps):
    x = [np.array(Valley().start)]
    for _ in range(steps):
        x.append(x[-1] - 0.3 * Valley().gradient(x[-1]))
    return np.array(x)


def iterates_of(result):
    return np.array(
        [s.position[0] + (-1) ** int(s.time) * s.fluctuation[0] for s in result[GD].snapshots]
    )


@pytest.mark.parametrize("k", [0, 5, 10])
def test_gradient_descent_goes_on_from_its_iterate(before, tmp_path, k):
    steps, expected = 12 - k, iterates(12)
    with meanfield.run(settings_of(f"{before}@{k}", steps=steps), tmp_path) as result:
        np.testing.assert_allclose(iterates_of(result), expected[k:], **ROUNDING)
        # all processes start there
        np.testing.assert_allclose(result[FLOW].snapshots[0].position[0], expected[k], **ROUNDING)


@pytest.mark.slow
@pytest.mark.essential
def test_a_network_goes_on_as_the_other_run_did(tmp_path):
    often = (*SMALL, "output.snapshot_every=1", "learning_rate=2.0")
    first = run(load(None, (*often, "steps=6")), tmp_path / "first")
    for k in (3, 4):
        second = run(
            load(None, (*often, f"steps={6 - k}", f"start={first}@{k}")), tmp_path / str(k)
        )
        with meanfield.load(first) as old, meanfield.load(second) as new:
            loss = old[GD].observables["iterate_loss"][k:]
            np.testing.assert_allclose(new[GD].observables["iterate_loss"], loss, rtol=1e-12)
            for now, then in zip(new[GD].snapshots, old[GD].snapshots[k:], strict=True):
                np.testing.assert_allclose(now.position, then.position, rtol=1e-12, atol=1e-14)


def test_the_last_snapshot_the_folder_and_another_process(before):
    def start(text):
        return build_problem(settings_of(text)).start

    last = iterates(12)[12]
    for text in (before, f"{before}@last", before.parent, f"{before.parent}@12:{GD}"):
        np.testing.assert_allclose(start(text), last, **ROUNDING)
    with meanfield.load(before) as old:
        for name in (FLOW, ENERGY):  # without iterates: the center
            center = old[name].snapshots.at(5).position[0]
            np.testing.assert_array_equal(start(f"{before}@5:{name}"), center)


def test_without_gradient_descent_it_is_the_first_process(tmp_path):
    processes = {"z": {"flow": FLOW}, "a": {"flow": ENERGY}}
    config = settings_of(None, processes=processes, **{"landscape.start": [1.0, 3.0]})
    with meanfield.run(config, tmp_path) as old:
        start = build_problem(settings_of(f"{old.path}@2")).start
        np.testing.assert_array_equal(start, old["z"].snapshots.at(2).position[0])


def test_wrong_starts(before, tmp_path):
    garbage = tmp_path / "garbage.h5"
    garbage.write_bytes(b"no run" * 100)
    cut = tmp_path / "cut.h5"
    cut.write_bytes(before.read_bytes()[:3000])
    for text, message in {
        f"{before}@7": rf"^start must be at the time of a snapshot of {GD} in {before}, got 7; the nearest: 5 and 10$",
        f"{before}@400": r", got 400; the nearest: 12$",
        f"{before}@5:edge_flow": rf"^start must name a process of {before}, got 'edge_flow'; it has {GD}, {FLOW}, ",
        f"{tmp_path / 'none.h5'}@5": r"^start: .*none\.h5: there is no such file$",
        f"{tmp_path}": r"^start: .* must hold run\.h5 or run\.h5\.partial, got neither$",
        f"{garbage}@0": r"^start: .*garbage\.h5: not an HDF5 file",
        f"{cut}@0": r"^start: .*cut\.h5: damaged or incomplete",
    }.items():
        with pytest.raises(ValueError, match=message):
            build_problem(settings_of(text))


def test_particles_that_do_not_fit(before, small_run, tmp_path):
    with pytest.raises(ValueError, match=r"^start must have 16 particles, got 8$"):
        build_problem(load(None, (*SMALL, "network.width=16", f"start={small_run}@4")))
    with pytest.raises(
        ValueError, match=r"^start must have 65 parameters for each particle, got 66$"
    ):
        build_problem(load(None, (*SMALL, "network.bias=false", f"start={small_run}@4")))
    assert build_problem(
        load(None, (*SMALL, "risk.dtype=float32", f"start={small_run}@4"))
    ).start.dtype == np.dtype("float32")
    with pytest.raises(ValueError, match=r"^start must be left out .*, got both, there '.*@5'$"):
        meanfield.run(settings_of(f"{before}@5"), tmp_path / "both", start=[1.0, 2.0])
    broken = tmp_path / "broken.h5"
    broken.write_bytes(before.read_bytes())
    with h5py.File(broken, "r+") as file:
        file[f"{GD}/snapshots/position"][1, 0, 0] = np.nan
    with pytest.raises(ValueError, match=r"^start must be of finite float64 numbers, got inf or"):
        build_problem(settings_of(f"{broken}@5"))
    with h5py.File(broken, "r+") as file:
        file[f"{GD}/snapshots/time"][-1] = np.inf
        file[f"{GD}/snapshots/position"][-1] = 1e308
        file[f"{GD}/snapshots/fluctuation"][-1] = 1e308
    with pytest.raises(ValueError, match=r"^start must be of finite float64 numbers, got inf or"):
        build_problem(settings_of(broken))


def test_a_stopped_run_is_resumed_from_the_same_start_only(before, tmp_path):
    def stop(what, done, total):
        if (what, done) == (FLOW, 3):
            signal.raise_signal(signal.SIGTERM)

    mine = tmp_path / "mine.h5"
    mine.write_bytes(before.read_bytes())
    config = settings_of(f"{mine}@5")
    whole = run(config, tmp_path / "whole")
    run(config, tmp_path / "stopped", progress=stop)
    kept = mine.read_bytes()
    with h5py.File(mine, "r+") as file:
        file[f"{GD}/snapshots/position"][1] += 1.0
    with pytest.raises(ValueError, match=r"the data and the start must be those"):
        resume(tmp_path / "stopped")
    mine.write_bytes(kept)
    assert_same(resume(tmp_path / "stopped"), whole)


def test_the_command_reads_a_start_beside_the_configuration(before):
    toml = before.parent / "again.toml"
    text = settings_of(None).to_toml()
    for start, code, message in (
        ("run.h5@5", 0, "valid"),
        ("run.h5@6", 2, "the nearest: 5 and 10"),
        ("run.h5@soon", 2, "start must be a path with an optional @time, got 'run.h5@soon'"),
    ):
        toml.write_text(f"start = '{start}'\n{text}")
        result = meanfield_command("validate", str(toml))
        assert result.exit_code == code, result.output
        assert message in result.output
        assert "Traceback" not in result.output
