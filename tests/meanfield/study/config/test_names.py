"""Names of processes: what a configuration allows is what a file can hold, every reader accepts and figures have room for."""

import shutil

import h5py
import pytest

from meanfield.study import figures
from meanfield.study.config.limits import LONGEST_NAME, MAX_CONFIG, OWN_NAMES
from meanfield.study.config.run_config import ConfigError, load
from meanfield.study.engine.run import run
from meanfield.study.storage.validation import require_plain
from meanfield.study.storage.writer import read_run
from tests.meanfield.study.cli.test_cli import assert_refused, meanfield_command
from tests.meanfield.study.conftest import SMALL

FLOWS = ("gradient_descent", "gradient_flow", "free_energy_flow", "rod_flow")
LONG = [  # the last two differ at the end only
    "a" * LONGEST_NAME,
    "long_words_" * 9 + "z",
    "W" * (LONGEST_NAME - 1) + "1",
    "W" * (LONGEST_NAME - 1) + "2",
]


def named(names, *settings):
    processes = (f"{name}={{flow='{flow}'}}" for name, flow in zip(names, FLOWS, strict=False))
    return load(None, (*SMALL, *settings, f"processes={{{', '.join(processes)}}}"))


@pytest.mark.parametrize("name", [*OWN_NAMES])
def test_names_that_the_file_has_itself_are_refused(name):
    with pytest.raises(ConfigError, match=f"processes.{name}: the name must be other than config"):
        named([name])


@pytest.mark.parametrize(
    "name",
    ["", "a" * (LONGEST_NAME + 1), "a" * 10_000, "1a", "_a", "a-b", "a b", "a.b", "ä", "a/b", "a\n"],
)  # fmt: skip
def test_names_that_are_none_are_refused_before_anything_runs(name, tmp_path):
    path = tmp_path / "study.toml"
    quoted = name.replace("\n", "\\n")
    path.write_text(f'[processes."{quoted}"]\nflow = "gradient_descent"\n', encoding="utf-8")
    with pytest.raises(ConfigError, match="the name must be of letters, digits and underscores"):
        load(path)
    result = meanfield_command("run", path, "--out", tmp_path / "out")
    assert_refused(result, "the name must be", f"got {len(name)} characters")
    assert len(result.stderr) < 1000
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
@pytest.mark.essential
@pytest.mark.parametrize(
    "names",
    [
        ["a"],
        ["Z" * LONGEST_NAME],
        ["start", "end", "observables", "snapshots"],
        ["status", "CONFIG", "Comparison", "configs"],
        ["gradient_flow", "gradient_descent"],
        ["nan", "inf", "None", "self"],
    ],
)
def test_every_name_that_is_allowed_is_read_by_all(names, tmp_path):
    path = run(named(names, "steps=2"), tmp_path / "out")
    with h5py.File(path) as file:
        require_plain(file)
    assert set(read_run(path).processes) == set(names)
    for command in (["info"], ["distance", path], ["compare"] if len(names) > 1 else ["info"]):
        result = meanfield_command(command[0], path, *command[1:])
        if "gradient_descent" not in names and command[0] == "distance" and len(names) > 2:
            continue
        assert result.exit_code == 0, result.output


@pytest.fixture(scope="module")
def long_run(tmp_path_factory):
    return read_run(run(named(LONG), tmp_path_factory.mktemp("long")))


@pytest.mark.slow
def test_figures_with_long_names_keep_room_for_what_they_show(long_run):
    """A collapse is a warning of matplotlib's, which is an error here."""
    drawn = 0
    for made in figures.run_figures(long_run):
        made.figure.draw_without_rendering()
        width, height = made.figure.get_size_inches()
        for ax in made.figure.axes:
            box = ax.get_position()
            assert box.width * width > 0.5 and box.height * height > 0.5, made.name
        drawn += 1
    assert drawn >= 8


def test_a_legend_tells_names_apart_that_differ_at_the_end(long_run):
    loss = next(made for made in figures.run_figures(long_run) if made.name == "loss")
    texts = [text.get_text() for text in loss.figure.legends[0].get_texts()]
    assert len(set(texts)) == len(texts) >= 4
    assert max(len(line) for text in texts for line in text.splitlines()) <= 48
    whole = {text.replace("\n", "") for text in texts}
    assert {LONG[2], LONG[3]} <= whole


def test_a_process_may_be_called_as_a_panel_is(tmp_path):
    record = read_run(run(named(["start", "end"]), tmp_path))
    names = {made.name for made in figures.run_figures(record)}
    assert "measure_plane" in names


def test_settings_that_a_file_has_no_room_for_are_refused(tmp_path):
    """They grow by their defaults: a text of less than what is read may be one that no reader takes."""
    count = MAX_CONFIG // 120
    text = "".join(f"[processes.p{i:05}]\nflow='free_energy_flow'\n" for i in range(count))
    path = tmp_path / "study.toml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=f"the settings must be of at most {MAX_CONFIG} char"):
        load(path)


def test_files_of_old_with_other_names_are_still_read(small_run, tmp_path):
    """0.1.0 took any letters that no path, markup or mathematics is made of."""
    path = tmp_path / "run.h5"
    shutil.copy(small_run, path)
    with h5py.File(path, "r+") as file:
        file.move("gradient_flow", "é" * LONGEST_NAME)
    assert "é" * LONGEST_NAME in read_run(path).processes
    with h5py.File(path, "r+") as file:
        file.move("é" * LONGEST_NAME, "é" * (LONGEST_NAME + 1))
    with pytest.raises(ValueError, match="is no name of a process"):
        read_run(path)


def test_seeds_up_to_the_largest_that_a_file_holds(tmp_path):
    study = named(["gd"], f"seed={2**64 - 1}", "steps=1", f"task.seed={2**64 - 1}")
    assert read_run(run(study, tmp_path)).attributes["seed"] == 2**64 - 1


@pytest.mark.parametrize(
    "setting",
    [f"seed={2**64}", f"task.seed={2**64}", f"seed={10**400}", f"steps={2**63}", f"steps={10**400}",
     f"network.width={2**63}", f"output.snapshot_every={10**30}", "seed=-1"],
)  # fmt: skip
def test_integers_that_no_file_holds_are_refused(setting, tmp_path):
    result = meanfield_command("run", "--out", tmp_path / "out", "--set", setting)
    assert_refused(result, setting.partition("=")[0])
    assert not (tmp_path / "out").exists()
