import shutil

import h5py
import numpy as np
import pytest
import xarray

from meanfield.study.storage.files.atomic import write_atomically
from meanfield.study.storage.schema import OutputError, RunFileError
from meanfield.study.storage.study_file import load_arrays, save_arrays, write_study
from meanfield.study.storage.study_record import METRICS
from meanfield.study.width import is_study, read_study


def test_a_study_is_read_back_as_it_was_written(tiny_study, tmp_path):
    record = read_study(tiny_study)
    copy = type(record)(**{**vars(record), "path": tmp_path / "study.h5", "warnings": ("µ", "b")})
    write_study(copy)
    again = read_study(tmp_path)
    for name, value in vars(copy).items():
        found = getattr(again, name)
        if isinstance(value, dict) and name != "attributes":
            assert list(found) == list(value)
            for key in value:
                np.testing.assert_array_equal(found[key], value[key])
        elif isinstance(value, np.ndarray):
            np.testing.assert_array_equal(found, value)
        else:
            assert found == value, name
    assert [path.name for path in tmp_path.iterdir()] == ["study.h5"]


def test_what_is_in_the_record(tiny_study):
    record = read_study(tiny_study / "study.h5")
    assert record.widths.tolist() == [8, 16] and record.seeds.tolist() == [0, 1]
    assert record.times.tolist() == [0, 3, 6] and len(record.pairs) == 4
    assert set(record.distances) == set(METRICS) == set(record.slopes)
    assert {v.shape for v in record.distances.values()} == {(4, 2, 2, 3)}
    assert {v.shape for v in record.floors.values()} == {(4, 2, 3)}
    assert {v.shape for v in record.slopes.values()} == {(4, 3, 3)}
    assert (record.statuses == "complete").all() and record.statuses.shape == (2, 2)
    assert record.attributes["start"] == "nested" and record.attributes["reference_width"] == 64
    assert record.attributes["held_out"] == "20 fresh inputs"
    assert "width = 400" in record.config


def test_what_version_0_1_called_an_interval_of_few_seeds_is_left_out(tiny_study, tmp_path):
    record = read_study(tiny_study)
    assert record.slope_ends == "range of 2 seeds" == record.attributes["slope_ends"]
    assert np.isfinite(record.slopes["coupled_rms"][..., -1, 1:]).any()
    path = shutil.copy(tiny_study / "study.h5", tmp_path)
    with h5py.File(path, "a") as file:
        del file.attrs["slope_ends"]
    old = read_study(path)
    for name, slopes in old.slopes.items():
        assert np.isnan(slopes[..., 1:]).all()
        np.testing.assert_array_equal(slopes[..., 0], record.slopes[name][..., 0])


def test_it_was_created_when_its_first_run_was(tiny_study):
    """As the report says under "Started"; not when its distances were known."""
    created = []
    for path in (*tiny_study.glob("reference/run.h5"), *tiny_study.glob("runs/*.h5")):
        with h5py.File(path) as file:
            created.append(file.attrs["created"])
    assert len(created) == 5 and read_study(tiny_study).attributes["created"] == min(created)


def test_xarray_opens_it_with_no_reader_of_ours(tiny_study):
    record = read_study(tiny_study)
    with xarray.open_dataset(tiny_study / "study.h5", engine="h5netcdf") as data:
        last = data.w2.sel(pair="gradient_flow to gradient_flow", width=16, time=6)
        np.testing.assert_array_equal(last, record.distances["w2"][1, 1, :, 2])
        assert data.floor_w2.dims == ("pair", "width", "time")
        slope = data.slope_w2.sel(estimate="slope").isel(pair=1, time=2)
        assert float(slope) == record.slopes["w2"][1, 2, 0]
        assert data.status.values.tolist() == [["complete"] * 2] * 2
        assert data.w2.attrs["long_name"] and data.time.attrs["units"] == "1"


def test_studies_are_told_from_runs(tiny_study, tmp_path):
    run = tiny_study / "runs" / "width-00008-seed-000.h5"
    assert is_study(tiny_study) and is_study(tiny_study / "study.h5")
    assert not (is_study(run) or is_study(tmp_path) or is_study(tmp_path / "nothing"))
    with pytest.raises(
        RunFileError, match="the schema must be meanfield-width-study 1, got meanfield-run 1"
    ):
        read_study(run)


def damaged(path):
    (path / "text.h5").write_text("not HDF5")
    with h5py.File(path / "empty.h5", "w") as file:
        file.attrs.update({"schema": "meanfield-width-study", "schema_version": 1})
    with h5py.File(path / "newer.h5", "w") as file:
        file.attrs.update({"schema": "meanfield-width-study", "schema_version": 2})
    return ["text.h5", "empty.h5", "newer.h5", "nothing.h5"]


def test_what_is_no_study_is_refused(tmp_path):
    for name in damaged(tmp_path):
        with pytest.raises(RunFileError, match=name):
            read_study(tmp_path / name)
    with pytest.raises(RunFileError, match="there is no such file"):
        read_study(tmp_path)


def test_arrays_are_kept_with_what_they_were_computed_from(tmp_path):
    path = tmp_path / "kept" / "arrays.npz"
    assert load_arrays(path, "key") is None
    save_arrays(path, "key", {"a": np.arange(3.0)})
    np.testing.assert_array_equal(load_arrays(path, "key")["a"], np.arange(3.0))
    assert load_arrays(path, "another") is None
    whole = path.read_bytes()
    save_arrays(path, "key", {"a": np.arange(3.0)})
    assert path.read_bytes() == whole  # no time of its own in it
    for part in (b"", whole[: len(whole) // 2], b"text"):
        path.write_bytes(part)
        assert load_arrays(path, "key") is None
    np.savez(path, key=np.array("key"), a=np.array([{}], dtype=object))
    assert load_arrays(path, "key") is None  # nothing is unpickled


def test_a_file_that_cannot_be_written_leaves_the_old_one(tmp_path, monkeypatch):
    path = tmp_path / "file"
    write_atomically(path, b"old")

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OutputError, match="No space left"):
        write_atomically(path, b"new")
    assert path.read_bytes() == b"old" and len(list(tmp_path.iterdir())) == 1
