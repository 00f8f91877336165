"""The key ``start`` of a configuration: a path with an optional time and process."""

import pickle
from pathlib import Path

import pytest

from meanfield.study.config.run_config import ConfigError, RunConfig, load, load_text
from meanfield.study.config.start import parsed_start
from meanfield.study.engine.prepared_run import Options, settings
from meanfield.study.width.plan import make_plan
from tests.meanfield.study.conftest import TINY


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("run.h5", ("run.h5", None, None)),
        ("run.h5@last", ("run.h5", None, None)),
        ("run.h5@last:edge_flow", ("run.h5", None, "edge_flow")),
        ("run.h5@400", ("run.h5", 400.0, None)),
        ("folder@0.25:edge_flow", ("folder", 0.25, "edge_flow")),
        ("me@home/run.h5", ("me@home/run.h5", None, None)),
        ("run@2@1e3", ("run@2", 1000.0, None)),
    ],
)
def test_the_parts_and_the_absolute_path(text, parts, tmp_path, monkeypatch):
    path, *rest = parts
    assert parsed_start(text) == (Path(path), *rest)
    monkeypatch.chdir(tmp_path)
    config = RunConfig(start=text)
    assert config.start.startswith(str(tmp_path / path))
    assert parsed_start(config.start) == (tmp_path / path, *rest)
    assert load_text(config.to_toml()) == config == pickle.loads(pickle.dumps(config))
    assert config.replace(start=None) == RunConfig()


@pytest.mark.parametrize(
    "value",
    ["", "@400", "run.h5@", "run.h5@first", "run.h5@-1", "run.h5@nan", "run.h5@4:", "a\0b", 3, True, ["run.h5"]],
)  # fmt: skip
def test_what_is_no_start(value):
    with pytest.raises(ConfigError) as error:
        RunConfig(start=value)
    (line,) = error.value.lines
    assert line.startswith(f"start must be a path with an optional @time, got {value!r}; as run.h5")


def test_a_path_object_is_a_path(tmp_path):
    assert RunConfig(start=tmp_path / "run.h5").start == str(tmp_path / "run.h5")


def test_the_path_of_a_file_starts_at_its_folder_and_that_of_an_override_here(
    tmp_path, monkeypatch
):
    folder = tmp_path / "a@1"
    folder.mkdir()
    (folder / "run.toml").write_text("start = 'before/run.h5@4'\n")
    config = load(folder / "run.toml")
    assert config.start == f"{folder}/before/run.h5@4"
    assert RunConfig.from_toml(folder / "run.toml") == config
    monkeypatch.chdir(tmp_path)
    assert load(None, ("start=run.h5@4",)).start == f"{tmp_path}/run.h5@4"
    # machines may keep the same run in different folders; the particles are compared
    assert "start" not in settings(config, Options())
    (folder / "run.toml").write_text("start = '@4'\n")
    with pytest.raises(ConfigError, match=r"^start must be a path .*, got '@4'"):
        load(folder / "run.toml")


def test_a_configuration_without_one_says_nothing_of_it():
    assert RunConfig().start is None
    assert "\nstart" not in RunConfig().to_toml()


def test_a_width_study_refuses_one():
    config = load(None, (*TINY, "start=/run.h5@4"))
    with pytest.raises(
        ConfigError,
        match=r"^start must be left out of a width study, got '/run.h5@4', particles of one width$",
    ):
        make_plan(config, (8, 16))
