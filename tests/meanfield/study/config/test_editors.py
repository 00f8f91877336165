"""Configurations as editors save them, relative paths of data, and runs that measure their start alone."""

import codecs
import signal

import numpy as np
import pytest

from meanfield.study.config.run_config import ConfigError, load, load_text
from meanfield.study.config.sections import TASK_SECTIONS
from meanfield.study.engine.resume import resume
from meanfield.study.engine.run import run
from meanfield.study.storage.writer import read_run
from tests.meanfield.study.cli.test_cli import assert_refused, meanfield_command, settings

TEXT = '# η\nsteps = 7\n\n[task]\nname = "digits"\nn = 20\n'


@pytest.mark.parametrize(
    "content",
    [
        TEXT.encode(),
        codecs.BOM_UTF8 + TEXT.encode(),
        TEXT.replace("\n", "\r\n").encode(),
        codecs.BOM_UTF8 + TEXT.replace("\n", "\r\n").encode(),
        codecs.BOM_UTF8 + TEXT.rstrip("\n").encode(),
    ],
)
def test_a_text_is_read_as_editors_save_it(content, tmp_path):
    path = tmp_path / "study.toml"
    path.write_bytes(content)
    study = load(path)
    assert (study.steps, study.task.n) == (7, 20)
    assert meanfield_command("validate", path).exit_code == 0


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (codecs.BOM_UTF16_LE + TEXT.encode("utf-16-le"), "UTF-8, got UTF-16"),
        (codecs.BOM_UTF16_BE + TEXT.encode("utf-16-be"), "UTF-8, got UTF-16"),
        (TEXT.encode("utf-16-le"), "UTF-8, got UTF-16"),
        (TEXT.encode("utf-32"), "UTF-8, got UTF-16"),
        ("steps = 7\n# Schrödinger\n".encode("latin-1"), "the byte 0xf6 in line 2; save it as"),
        ("# “start”\n".encode("cp1252"), "the byte 0x93 in line 1; save it as UTF-8"),
        (codecs.BOM_UTF8 * 2 + TEXT.encode(), "invalid TOML"),
        (b"\x1f\x8b\x08\x00", "UTF-16, or no text"),
    ],
)
def test_another_encoding_is_named(content, message, tmp_path):
    path = tmp_path / "study.toml"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=message):
        load(path)
    assert_refused(meanfield_command("validate", path), message, "study.toml: ")


# --- relative paths ------------------------------------------------------------------------------


@pytest.fixture
def data(tmp_path):
    rng = np.random.default_rng(0)
    path = tmp_path / "here" / "data.npz"
    path.parent.mkdir()
    np.savez(path, inputs=rng.normal(size=(9, 2)), targets=rng.normal(size=(9, 1)))
    return path


@pytest.mark.parametrize(
    "overrides",
    [
        ("task={name='npz', path='data.npz'}",),
        ("task.name=npz", "task.path=data.npz"),
        ("task.name=npz", "task.path=./data.npz"),
        ("task.path=../here/data.npz", "task.name=npz"),
        ("task.name=npz", "task.path='data.npz'"),
    ],
)
def test_a_path_of_the_command_line_starts_where_it_was_typed(data, overrides, monkeypatch):
    monkeypatch.chdir(data.parent)
    study = load(None, overrides)
    monkeypatch.chdir("/")
    assert np.load(study.task.path)["inputs"].shape == (9, 2)
    assert load_text(study.to_toml()) == study


def test_the_path_of_a_file_starts_at_the_file(data, monkeypatch, tmp_path):
    (data.parent / "study.toml").write_text("[task]\nname='npz'\npath='data.npz'\n")
    monkeypatch.chdir(tmp_path)
    assert load("here/study.toml").task.path == str(data)
    for path in ("here/data.npz", str(data)):
        assert TASK_SECTIONS["npz"](name="npz", path=path).path == str(data)


def test_a_run_goes_on_from_another_folder(data, small, tmp_path, monkeypatch):
    monkeypatch.chdir(data.parent)
    changed = [setting for setting in small if not setting.startswith("task.")]
    arguments = ["--set", "task.name=npz", "--set", "task.path=data.npz", *settings(changed)]

    def stop(self, what, done, total):
        if (what, done) == ("gradient_flow", 2):
            signal.raise_signal(signal.SIGTERM)

    with monkeypatch.context() as patch:
        patch.setattr("meanfield.study.engine.progress.ProgressBars.__call__", stop)
        result = meanfield_command("run", "--out", tmp_path / "out", *arguments, "--no-figures")
    assert result.exit_code == 143, result.output
    monkeypatch.chdir("/")
    result = meanfield_command("resume", tmp_path / "out", "--no-figures")
    assert result.exit_code == 0, result.output


# --- no steps ------------------------------------------------------------------------------------

START = ("task.name=teacher_student", "task.n=12", "task.input_dim=2", "network.width=8", "steps=0")
ALL = (
    "{gradient_descent={}, gradient_flow={}, free_energy_flow={rank=2}, rod_flow={}, edge_flow={}, central_flow={}, "
    "langevin={temperature=0.1}, jko={}, late={flow='gradient_flow', delay=true}, "
    "adaptive={flow='gradient_flow', integrator='adaptive'}, normalized_gradient_descent={}}"
)


@pytest.mark.parametrize(
    "overrides",
    [
        pytest.param((*START, f"processes={ALL}"), marks=pytest.mark.slow),
        ("landscape.name=valley", "steps=0"),
        (*START, "output.snapshot_every=7", "output.sharpness_every=3"),
        pytest.param(
            (*START, "output.eigenvalues=3", "output.snapshot_dtype=float32", "risk.dtype=float32"),
            marks=pytest.mark.slow,
        ),
        pytest.param((*START, "processes={gradient_descent={}}"), marks=pytest.mark.slow),
    ],
)
def test_no_steps_measure_the_start(overrides, tmp_path):
    """The same as the first row of a run with steps."""
    path = run(load(None, overrides), tmp_path / "none")
    longer = read_run(run(load(None, (*overrides, "steps=2")), tmp_path / "two"))
    record = read_run(path)
    assert record.attributes["status"] == "complete"
    for name, process in record.processes.items():
        data, other = process.observables, longer.processes[name].observables
        assert process.snapshot_times.tolist() == data["time"].tolist() == [0.0]
        for key in ("train_loss", "predicted_loss", "sharpness", "sigma_trace", "grad_norm_sq"):
            np.testing.assert_array_equal(data[key], other[key][:1], err_msg=f"{name} {key}")
        np.testing.assert_array_equal(process.first, longer.processes[name].first)
        np.testing.assert_array_equal(process.last, process.first)
    assert resume(tmp_path / "none") == path


@pytest.mark.slow
def test_commands_take_a_run_without_steps(tmp_path):
    out = tmp_path / "out"
    result = meanfield_command("run", "--out", out, *settings(START))
    assert (result.exit_code, result.stderr) == (0, "")
    assert (out / "figures" / "overview.png").exists()
    path = out / "run.h5"
    for arguments in (["info"], ["compare"], ["report"], ["distance", path], ["plot"]):
        result = meanfield_command(arguments[0], path, *arguments[1:])
        assert (result.exit_code, result.stderr) == (0, ""), result.output
    assert "this run has ended" in meanfield_command("resume", out).stderr


def test_fewer_than_no_steps_are_refused():
    with pytest.raises(ConfigError, match="steps must be at least 0, got -1"):
        load(None, ("steps=-1",))
