import os
import shutil
import subprocess
import sys
from dataclasses import replace

import h5py
import numpy as np
import pytest

from meanfield.study.storage.datasets import append
from meanfield.study.storage.schema import (
    OutputError,
    ProcessLayout,
    RunFileError,
    RunLayout,
    require_space,
    snapshot_times,
)
from meanfield.study.storage.writer import RunWriter, read_run
from tests.helpers.clocks import HANGS
from tests.helpers.matrices import slow_unless

GD, FLOW = "gradient_descent", "free_energy_flow"


def test_rows_of_another_shape_are_not_appended(tmp_path):
    """The dataset keeps its own shape, whatever the rows have."""
    with h5py.File(tmp_path / "rows.h5", "w") as file:
        dataset = file.create_dataset("rows", (0, 3), "f8", maxshape=(None, 3), fillvalue=np.nan)
        append(dataset, 0, np.arange(6.0).reshape(2, 3))
        for columns in (2, 4):
            with pytest.raises(OSError):
                append(dataset, 2, np.zeros((2, columns)))
        assert dataset.shape[1] == 3
        assert np.array_equal(dataset[:2], [[0, 1, 2], [3, 4, 5]])


def layout(**changes):
    processes = {GD: ProcessLayout(GD, has_iterates=True), FLOW: ProcessLayout(FLOW, modes=2)}
    settings = {"particles": 5, "parameter_names": ["a0", "w0", "b"], "eigenvalues": 2}
    settings |= {"steps": 4, "snapshot_every": 2}
    return RunLayout(processes, **settings | changes)


def write(folder, rng, **changes):
    """Gradient descent complete, the flow with one row only; returns what was written."""
    positions = rng.standard_normal((3, 5, 3))
    attributes = {"seed": 3, "learning_rate": 0.5}
    with RunWriter(folder, layout(**changes), "steps = 4\n", attributes) as writer:
        for t in range(5):
            row = {"train_loss": 10.0 - t}
            if t % 2 == 0:
                row |= {"sharpness": t, "hessian_eigs": [t, -t]}
                writer.snapshot(GD, t, positions[t // 2], np.zeros((5, 3)))
            writer.observe(GD, t, row)
        writer.finish(GD, "complete")
        writer.observe(FLOW, 0, {"train_loss": 1.0})
        writer.snapshot(FLOW, 0, positions[0], np.ones((2, 5, 3)))
        writer.finish(FLOW, "diverged", "at step 1")
        writer.status = "diverged"
        distances = {key: np.array([0.5, np.nan, np.nan]) for key in ("center_distance", "w2")}
        distances["function_distance"] = np.zeros(3)
        writer.compare(GD, np.array([0.0, 2.0, 4.0]), {FLOW: distances}, {"w2_note": "exact"})
    return positions


def test_a_run_is_read_as_it_was_written(tmp_path):
    positions = write(tmp_path, np.random.default_rng(0))
    run = read_run(tmp_path / "run.h5")
    assert os.listdir(tmp_path) == ["run.h5"]
    assert run.config == "steps = 4\n"
    assert (run.attributes["status"], run.attributes["seed"]) == ("diverged", 3)
    assert list(run.processes) == [GD, FLOW]
    descent, flow = run.processes[GD], run.processes[FLOW]
    assert (flow.status, flow.message, flow.flow) == ("diverged", "at step 1", FLOW)
    np.testing.assert_array_equal(descent.observables["train_loss"], [10, 9, 8, 7, 6])
    np.testing.assert_array_equal(descent.observables["sharpness"], [0, np.nan, 2, np.nan, 4])
    np.testing.assert_array_equal(descent.observables["hessian_eigs"][2:4], [[2, -2], [np.nan] * 2])
    np.testing.assert_array_equal(descent.first, positions[0])
    np.testing.assert_array_equal(descent.last, positions[2])
    np.testing.assert_array_equal(run.comparison[FLOW]["w2"], [0.5, np.nan, np.nan])


def test_xarray_opens_the_file_without_our_help(tmp_path):
    xarray = pytest.importorskip("xarray")
    positions = write(tmp_path, np.random.default_rng(0))
    with xarray.open_datatree(tmp_path / "run.h5", engine="h5netcdf") as tree:
        observables = tree[f"{GD}/observables"]
        assert dict(observables.sizes) == {"time": 5, "eig": 2}
        assert "iterate_loss" in observables and "iterate_loss" not in tree[f"{FLOW}/observables"]
        snapshots = tree[f"{GD}/snapshots"]
        assert snapshots.position.dims == ("time", "particle", "parameter")
        at_two = snapshots.position.sel(time=2, parameter="w0")
        np.testing.assert_array_equal(at_two, positions[1][:, 1])
        assert tree[f"{FLOW}/snapshots"].fluctuation.dims == (
            "time",
            "mode",
            "particle",
            "parameter",
        )
        assert float(snapshots.weight.sum()) == pytest.approx(1.0)
        distance = tree["comparison"].w2.sel(process=FLOW)
        np.testing.assert_array_equal(distance, [0.5, np.nan, np.nan])
        assert dict(tree["comparison"].sizes) == {"process": 1, "time": 3}
        assert not tree.coords and not tree[GD].coords  # nothing leaks in from above


def test_every_group_has_its_own_scales_and_fill_values(tmp_path):
    write(tmp_path, np.random.default_rng(0))
    checked = 0

    def check(name, item):
        nonlocal checked
        for value in item.attrs.values():
            assert np.asarray(value).dtype.kind not in "bc", name
        if not isinstance(item, h5py.Dataset) or name == "config":
            return
        assert item.attrs["long_name"] and item.attrs["units"] in ("1", "s")
        if item.dtype.kind == "f":
            assert np.isnan(item.fillvalue) and np.isnan(item.attrs["_FillValue"])
            assert item.attrs["_FillValue"].dtype == item.dtype
        if not item.is_scale:
            for axis in range(item.ndim):
                (scale,) = item.dims[axis].values()
                assert scale.parent == item.parent
                checked += 1

    with h5py.File(tmp_path / "run.h5") as file:
        file.visititems(check)
        assert not [name for name, item in file.items() if getattr(item, "is_scale", False)]
    assert checked > 40


def test_h5dump_reads_the_file(tmp_path):
    h5dump = shutil.which("h5dump")
    if h5dump is None:
        pytest.skip("h5dump is not installed")
    write(tmp_path, np.random.default_rng(0))
    command = [h5dump, "-H", str(tmp_path / "run.h5")]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    assert 'DATASET "position"' in result.stdout


@pytest.mark.parametrize("compression", ["none", "gzip"])
def test_snapshots_in_single_precision_and_compressed(tmp_path, compression):
    positions = write(tmp_path, np.random.default_rng(0), dtype="float32", compression=compression)
    with h5py.File(tmp_path / "run.h5") as file:
        data = file[f"{GD}/snapshots/position"]
        assert data.dtype == np.float32 and data.chunks == (3, 5, 3)
        assert data.compression == (None if compression == "none" else "gzip")
        np.testing.assert_array_equal(data[:], positions.astype(np.float32))


def test_many_rows_are_written_in_blocks_and_in_order(tmp_path):
    with RunWriter(tmp_path, layout(), "", {"learning_rate": 1.0}) as writer:
        for t in range(1000):
            writer.observe(GD, t, {"train_loss": t**2})
    data = read_run(tmp_path / "run.h5").processes[GD].observables
    np.testing.assert_array_equal(data["time"], np.arange(1000))
    np.testing.assert_array_equal(data["train_loss"], np.arange(1000.0) ** 2)
    assert np.isnan(data["wall_time"]).all()  # never measured: missing, not zero


def test_many_small_snapshots_share_chunks_and_are_written_in_order(tmp_path):
    rng = np.random.default_rng(0)
    positions = rng.standard_normal((1000, 1, 3))
    small = layout(particles=1, steps=999, snapshot_every=1)
    with RunWriter(tmp_path, small, "", {"learning_rate": 1.0}) as writer:
        for t, position in enumerate(positions):
            writer.snapshot(GD, t, position, -position)
            writer.snapshot(FLOW, t, position, np.ones((2, 1, 3)))
            position[:] = np.nan  # what was handed over was kept
    run = read_run(tmp_path / "run.h5").processes[GD]
    expected = np.random.default_rng(0).standard_normal((1000, 1, 3))
    np.testing.assert_array_equal(run.snapshot_times, np.arange(1000))
    np.testing.assert_array_equal(run.trajectory, expected[:, 0])
    assert run.parameter_names == ("a0", "w0", "b")
    with h5py.File(tmp_path / "run.h5") as file:
        snapshots = file[f"{GD}/snapshots"]
        assert snapshots["position"].chunks == (2**14 // 24, 1, 3)
        np.testing.assert_array_equal(snapshots["fluctuation"][:], -expected)
        assert file[f"{FLOW}/snapshots/fluctuation"].shape == (1000, 2, 1, 3)
    assert (tmp_path / "run.h5").stat().st_size <= small.estimated_bytes()


def test_snapshots_that_wait_are_written_when_a_run_breaks_off(tmp_path):
    with (
        pytest.raises(ZeroDivisionError),
        RunWriter(tmp_path, layout(), "", {"learning_rate": 1.0}) as writer,
    ):
        writer.snapshot(GD, 0, np.ones((5, 3)), np.zeros((5, 3)))
        raise ZeroDivisionError
    np.testing.assert_array_equal(read_run(tmp_path / "run.h5").processes[GD].last, np.ones((5, 3)))


def test_the_diagnostics_of_a_flow_are_observables_of_its_own(tmp_path):
    processes = {GD: ProcessLayout(GD), FLOW: ProcessLayout(FLOW, diagnostics=("some_residual",))}
    with RunWriter(
        tmp_path, replace(layout(), processes=processes), "", {"learning_rate": 1.0}
    ) as writer:
        for t in range(3):
            writer.observe(FLOW, t, {"some_residual": 0.5} if t == 1 else {})
    run = read_run(tmp_path / "run.h5")
    np.testing.assert_array_equal(
        run.processes[FLOW].observables["some_residual"], [np.nan, 0.5, np.nan]
    )
    assert "some_residual" not in run.processes[GD].observables


def test_an_unexpected_error_leaves_a_file_that_says_failed(tmp_path):
    with (
        pytest.raises(ZeroDivisionError),
        RunWriter(tmp_path, layout(), "", {"learning_rate": 1.0}) as writer,
    ):
        writer.observe(GD, 0, {"train_loss": 1.0})
        raise ZeroDivisionError("oops")
    run = read_run(tmp_path / "run.h5")
    assert run.attributes["status"] == "failed"
    assert run.attributes["message"] == "ZeroDivisionError: oops"
    np.testing.assert_array_equal(run.processes[GD].observables["train_loss"], [1.0])


def test_the_older_run_stays_until_the_new_one_is_complete(tmp_path):
    write(tmp_path, np.random.default_rng(0))
    with RunWriter(tmp_path, layout(), "new = 1", {"learning_rate": 1.0}):
        assert read_run(tmp_path / "run.h5").config == "steps = 4\n"
    assert read_run(tmp_path / "run.h5").config == "new = 1"


FULL_DISK = """
import resource, sys
from pathlib import Path
import numpy as np
from meanfield.study.storage.schema import OutputError, ProcessLayout, RunLayout
from meanfield.study.storage.writer import RunWriter
folder, limit = Path(sys.argv[1]), int(sys.argv[2])
layout = RunLayout({"gradient_descent": ProcessLayout("gradient_descent")}, 5000, ["a0", "b"], 9, 1)
if limit:
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
try:
    with RunWriter(folder, layout, "", {"learning_rate": 1.0}) as writer:
        for t in range(100):
            writer.observe("gradient_descent", t, {"train_loss": 1.0})
            writer.snapshot("gradient_descent", t, *np.ones((2, 5000, 2)))
except OutputError as error:
    print("OutputError:", error)
"""


def _fill_the_disk(folder, limit):
    command = [sys.executable, "-c", FULL_DISK, str(folder), str(limit)]
    result = subprocess.run(command, capture_output=True, text=True, timeout=HANGS)
    assert result.returncode == 0, result.stderr
    assert result.stderr == ""
    return result.stdout


# the limit is met while the file is created, after a few snapshots, at the very end
@pytest.mark.parametrize(
    ("limit",),
    slow_unless((500_000).__eq__, [(1000,), (500_000,), (16_010_000,)], pytest.mark.essential),
)
def test_a_full_disk_is_one_clear_error_and_leaves_nothing(tmp_path, limit):
    (tmp_path / "run.h5").write_text("older")
    said = _fill_the_disk(tmp_path, limit)
    assert said.startswith("OutputError: ") and "File too large" in said
    assert os.listdir(tmp_path) == ["run.h5"]
    assert (tmp_path / "run.h5").read_text() == "older"


def test_a_full_file_system_is_the_same(tmp_path):
    mount = ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(tmp_path)]
    if os.name != "posix" or os.geteuid() != 0 or shutil.which("mount") is None:
        pytest.skip("only root can mount a small file system")
    if subprocess.run(mount, capture_output=True).returncode != 0:
        pytest.skip("mounting is not allowed here")
    try:
        assert "No space left on device" in _fill_the_disk(tmp_path, 0)
        assert os.listdir(tmp_path) == []
    finally:
        subprocess.run(["umount", str(tmp_path)], check=True)


def test_without_room_the_run_does_not_start(tmp_path, monkeypatch):
    small = layout(particles=10_000)
    assert small.estimated_bytes() > 10_000 * 3 * 8 * 3 * (2 + 3)
    usage = shutil.disk_usage(tmp_path)._replace(free=small.estimated_bytes() - 1)
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: usage)
    with pytest.raises(OutputError, match="must have about .* MB free for the run, got"):
        require_space(tmp_path, small)
    require_space(tmp_path, layout(particles=9_000))


def test_the_estimate_of_the_size_is_an_upper_bound_within_two(tmp_path):
    shape = layout(particles=20_000, steps=4)
    with RunWriter(tmp_path, shape, "", {"learning_rate": 1.0}) as writer:
        for t in snapshot_times(4, 2):
            writer.snapshot(GD, t, *np.ones((2, 20_000, 3)))
            writer.snapshot(FLOW, t, np.ones((20_000, 3)), np.ones((2, 20_000, 3)))
    size = (tmp_path / "run.h5").stat().st_size
    assert size <= shape.estimated_bytes() <= 2 * size


def test_snapshot_times_hold_the_start_and_the_end():
    assert snapshot_times(10, 4) == [0, 4, 8, 10]
    assert snapshot_times(8, 4) == [0, 4, 8]
    assert snapshot_times(3, 50) == [0, 3]


def _foreign(path):
    with h5py.File(path, "w") as file:
        file["x"] = 1


def _later_version(path):
    write(path.parent, np.random.default_rng(0))
    with h5py.File(path, "r+") as file:
        file.attrs["schema_version"] = 99


def _cut(path):
    write(path.parent, np.random.default_rng(0))
    path.write_bytes(path.read_bytes()[:3000])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda path: None, "there is no such file"),
        (lambda path: path.mkdir(), "must hold run.h5 or run.h5.partial, got neither"),
        (lambda path: path.write_bytes(b""), "not an HDF5 file"),
        (lambda path: path.write_bytes(b"rubbish" * 100), "not an HDF5 file"),
        (_cut, "damaged or incomplete"),
        (_foreign, "must be the file of a run, of schema meanfield-run, got None"),
        (_later_version, "schema version must be 1, got 99; a newer meanfield wrote it"),
    ],
)
def test_what_is_no_run_is_refused(tmp_path, make, message):
    path = tmp_path / "run.h5"
    make(path)
    with pytest.raises(RunFileError, match=message):
        read_run(path)


def test_thinned_snapshots_need_less_room():
    """Of the estimate, what is left without rows and 1 MB of overhead is proportional to snapshots and to bytes of a number."""
    rows = replace(
        layout(particles=20_000, steps=100, snapshot_every=1), particles=0
    ).estimated_bytes()
    size = {
        (every, dtype): layout(
            particles=20_000, steps=100, snapshot_every=every, dtype=dtype
        ).estimated_bytes()
        - rows
        for every in (1, 10)
        for dtype in ("float64", "float32")
    }
    assert size[10, "float64"] * 101 == size[1, "float64"] * 11
    assert size[1, "float32"] * 2 == size[1, "float64"]
