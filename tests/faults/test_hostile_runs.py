"""Run files and configurations from strangers: each case here once ended in a traceback, or read another file."""

import os
import signal
import time

import h5py
import numpy as np
import pytest

import meanfield
from meanfield.study.config.run_config import ConfigError, load
from meanfield.study.report import source
from meanfield.study.storage.files import sandbox as trial
from meanfield.study.storage.schema import ProcessLayout, RunFileError, RunLayout
from meanfield.study.storage.writer import read_run
from tests.faults import hostile_hdf5
from tests.faults.hostile_hdf5 import ENERGY, GD, SECRET
from tests.faults.hostile_targets import command

OBSERVABLE = f"{GD}/observables/train_loss"


@pytest.fixture
def run(tmp_path):
    hostile_hdf5.write_secret(tmp_path)
    path = tmp_path / "case" / "run.h5"
    path.parent.mkdir()
    path.write_bytes(hostile_hdf5.genuine(0))
    return path


def change(path, name, make):
    with h5py.File(path, "r+") as file:
        del file[name]
        make(file, name)


def assert_refused(path, message):
    for read in (read_run, meanfield.Result.open):
        with pytest.raises(RunFileError, match=message) as error:
            read(path)
        assert str(error.value).startswith(str(path))
    assert "Traceback" not in command(["info", str(path)])


def test_a_genuine_file_is_read(run):
    assert list(read_run(run).processes) == [GD, ENERGY]
    assert "complete" in command(["info", str(run)])


@pytest.mark.parametrize(
    "name", [GD, f"{GD}/observables", OBSERVABLE, f"{ENERGY}/snapshots/position", "config"]
)
def test_no_link_is_followed(run, name):
    change(
        run,
        name,
        lambda file, name: file.__setitem__(
            name, h5py.ExternalLink("../secret_run.h5", f"/{name}")
        ),
    )
    with h5py.File(run) as file:  # HDF5 itself follows it
        assert file[name] is not None
    assert_refused(run, "has a link in it")


def test_a_soft_link_into_itself_is_refused(run):
    change(run, OBSERVABLE, lambda file, name: file.__setitem__(name, h5py.SoftLink(f"/{name}")))
    assert_refused(run, "has a link in it")


def test_data_of_another_file_are_not_read(run):
    def external(file, name):
        file.create_dataset(
            name, (3,), "f8", external=[(str(run.parent.parent / "secret.bin"), 0, 24)]
        )

    change(run, OBSERVABLE, external)
    with h5py.File(run) as file:
        assert np.all(file[OBSERVABLE][:] == SECRET)
    assert_refused(run, "stored in another file")


def test_a_virtual_dataset_is_refused(run):
    layout = h5py.VirtualLayout(shape=(3,), dtype="f8")
    layout[:] = h5py.VirtualSource(str(run.parent.parent / "secret.h5"), "x", shape=(3,))
    change(run, OBSERVABLE, lambda file, name: file.create_virtual_dataset(name, layout))
    assert_refused(run, "put together from other files")


def test_what_was_never_written_is_not_made_up(run):
    change(
        run,
        OBSERVABLE,
        lambda file, name: file.create_dataset(name, (2**40,), "f8", chunks=(1024,)),
    )
    assert_refused(run, "declares 8796093022208 bytes, of which 0 are there")


@pytest.mark.parametrize(
    "dtype",
    ["S3", "c16", [("a", "f8")], h5py.string_dtype(), h5py.ref_dtype, h5py.vlen_dtype("f8")],
)
def test_numbers_of_another_type_are_refused(run, dtype):
    change(run, OBSERVABLE, lambda file, name: file.create_dataset(name, (3,), dtype, chunks=(3,)))
    if dtype in ("S3", "c16"):  # the others stay unwritten
        with h5py.File(run, "r+") as file:
            file[OBSERVABLE][...] = np.zeros(3, dtype)
    assert_refused(run, "is of type|declares")


@pytest.mark.parametrize(
    ("owner", "name", "value"),
    [
        ("/", "status", "fine"),
        ("/", "status", np.zeros(3)),
        ("/", "learning_rate", "x"),
        ("/", "learning_rate", np.nan),
        ("/", "seed", 0.5),
        ("/", "schema_version", "2"),
        ("/", "schema", np.zeros(2)),
        (GD, "flow", 3),
        (GD, "message", h5py.Empty("f8")),
    ],
)
def test_attributes_of_another_kind_are_refused(run, owner, name, value):
    with h5py.File(run, "r+") as file:
        file[owner].attrs[name] = value
    assert_refused(run, "attribute|schema")


@pytest.mark.parametrize("name", ["[/x]", "\x1b[31m", "$\\frac$", "..", "x" * 200])
def test_names_that_mean_something_elsewhere_are_refused(run, name):
    with h5py.File(run, "r+") as file:
        file.move(ENERGY, name)
    assert_refused(run, "is no name of a process|has a link")


def test_a_terminal_is_told_nothing_by_a_message(run):
    with h5py.File(run, "r+") as file:
        file.attrs["message"] = "\x1b]0;owned\x07"
    assert read_run(run).attributes["message"] == "?]0;owned?"


def test_missing_observables_are_named(run):
    with h5py.File(run, "r+") as file:
        del file[f"{GD}/observables/free_energy"]
    assert_refused(run, "has no free_energy")


def _spin(path):
    while True:
        pass


def _die(path):
    os.kill(os.getpid(), signal.SIGSEGV)


@pytest.mark.parametrize(
    ("read", "message", "name", "files"),
    [
        (_die, "crashes the HDF5 library", "info", 1),
        (_die, "crashes the HDF5 library", "distance", 2),
        pytest.param(
            _spin, "takes over 1 s", "info", 1, marks=[pytest.mark.slow, pytest.mark.essential]
        ),
        pytest.param(_spin, "takes over 1 s", "distance", 2, marks=pytest.mark.slow),
    ],
)
def test_a_file_that_harms_its_reader_is_refused_by_the_commands(
    run, monkeypatch, read, message, name, files
):
    monkeypatch.setattr(source, "read_run", read)
    monkeypatch.setattr(trial, "SECONDS", 1)
    said = command([name, *[str(run)] * files])
    assert said.startswith("error:") and message in said


# --- configurations ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text", ["a = " + "[" * 5000, "a = " + "{b=" * 5000, "a = 1" + "0" * 10_000]
)
def test_toml_that_exhausts_its_parser_is_refused(tmp_path, text):
    path = tmp_path / "study.toml"
    path.write_text(text)
    with pytest.raises(ConfigError, match="invalid TOML"):
        load(path)


def test_a_value_that_exhausts_the_parser_is_a_text(tmp_path):
    with pytest.raises(ConfigError, match=r"steps must be an integer, got '\[\["):
        load(None, ("steps=" + "[" * 5000,))


def test_tables_in_tables_are_refused_at_once(tmp_path):
    path = tmp_path / "study.toml"
    path.write_text("a" + ".a" * 20_000 + " = 1")
    began = time.process_time()
    for arguments in ((path,), (None, ("a" + ".a" * 20_000 + "=1",))):
        with pytest.raises(
            ConfigError,
            match=r"at most 64 parts|--set must be the path of a key, as section\.key, got",
        ):
            load(*arguments)
    assert time.process_time() - began < 5


def test_a_configuration_is_a_file_of_bounded_size(tmp_path):
    os.mkfifo(tmp_path / "pipe.toml")
    (tmp_path / "long.toml").write_bytes(b"#" * (2**18 + 1))
    for name, message in (
        ("pipe", "got no regular file"),
        ("long", "must have at most 262144 bytes, got more"),
    ):
        with pytest.raises(ConfigError, match=message):
            load(tmp_path / f"{name}.toml")


def test_a_study_of_any_number_of_steps_is_sized_at_once():
    shape = RunLayout({GD: ProcessLayout(GD)}, 4, ["a"], steps=10**15, snapshot_every=3)
    assert shape.snapshots == 10**15 // 3 + 2  # 10^15 is no multiple of 3
    assert shape.estimated_bytes() > 10**15


@pytest.mark.parametrize(
    "setting", ["task.path='../x'", "output.path='/tmp/x'", "output.folder='x'", "out='x'"]
)
def test_no_setting_says_where_output_goes(setting):
    with pytest.raises(ConfigError, match="is not a known key"):
        load(None, (setting,))


@pytest.mark.parametrize("name", ["../x", "/x", "a/b", "..", "a.b", ""])
def test_the_name_of_a_process_is_no_path(tmp_path, name):
    path = tmp_path / "study.toml"
    path.write_text(f'[processes."{name}"]\nflow = "gradient_descent"\n')
    with pytest.raises(ConfigError, match="the name must be of letters, digits and underscores"):
        load(path)


def test_too_large_a_study_is_refused_with_a_message(tmp_path):
    path = tmp_path / "study.toml"
    path.write_text("[network]\nwidth = 1000000000000000\n")
    assert command(["validate", str(path)]).startswith("error:")
