"""The command `width`."""

import json
import math
from functools import partial

import pytest

from meanfield.study.width import study as width_study
from tests.meanfield.study.cli.test_cli import meanfield_command
from tests.meanfield.study.conftest import OPTIONS, TINY, in_this_process

command = partial(meanfield_command, "width")
without_figures = partial(command, "--no-figures")


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    path = tmp_path_factory.mktemp("config") / "tiny.toml"
    path.write_text("[processes.gradient_descent]\n", encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def new(config):
    """What begins a tiny study of two widths."""
    settings = [word for setting in TINY for word in ("--set", setting)]
    return [config, *settings, "--widths", "8,16"]


@pytest.mark.slow
@pytest.mark.essential
def test_it_prints_distances_slopes_and_floors(tiny_study, at_home):
    result = command("--out", tiny_study)
    assert result.exit_code == 0, result.stderr
    lines = result.stdout.splitlines()
    title = "gradient descent to gradient descent of the reference, at 6: median over 2 seeds"
    assert lines[0].strip() == title
    assert [word in lines[2] for word in ("N = 8", "N = 16", "slope", "range of 2 seeds")] == [
        True
    ] * 4
    for row in (
        "coupled_rms",
        "w2",
        "sampling floor",
        "sinkhorn",
        "function_distance",
        "free_energy_gap",
    ):
        assert sum(row in line for line in lines) >= 4
    assert lines[-2:] == [
        f"study: {tiny_study / 'study.h5'}",
        f"figures: {tiny_study / 'figures'}",
    ]
    assert (tiny_study / "figures/width_functions.png").stat().st_size > 10_000
    assert "warning: At the end these are within 2 times their sampling floor" in result.stderr


@pytest.mark.slow
@pytest.mark.essential
def test_json_has_the_same_numbers(tiny_study, at_home):
    result = without_figures("--out", tiny_study, "--json")
    found = json.loads(result.stdout)
    assert (found["widths"], found["seeds"], found["time"]) == ([8, 16], 2, 6.0)
    first = found["pairs"][0]
    assert first["process"] == first["reference"] == "gradient_descent"
    w2 = first["metrics"]["w2"]
    assert len(w2["median"]) == len(w2["floor"]) == len(w2["interval"]) == 2
    lower, upper = w2["interval"]
    assert lower <= w2["slope"] <= upper
    assert found["warnings"]


@pytest.mark.slow
@pytest.mark.essential
def test_a_new_study_and_its_continuation(new, tmp_path, at_home):
    out = tmp_path / "study"
    begin = [*new, "--seeds", 1, "--reference-width", 40, "--out", out]
    result = command(*begin, "--quiet")
    assert (result.exit_code, result.stdout, result.stderr) == (0, "", "")
    assert without_figures(*begin, "--quiet").exit_code == 0
    assert without_figures("--out", out, "--seeds", 2, "--quiet").exit_code == 0
    found = json.loads(without_figures("--out", out, "--json").stdout)
    assert found["seeds"] == 2 and found["reference_width"] == 40
    assert found["pairs"][0]["metrics"]["function_distance"]["interval"][0] is not None
    shrunk = command("--out", out, "--seeds", 1)
    assert shrunk.exit_code == 2 and "width.seeds is 2 and 1" in shrunk.stderr
    other = command(*begin, "--set", "learning_rate=0.3")
    assert (
        other.exit_code == 2
        and "must be empty or hold this study, got another" in other.stderr
        and "learning_rate is 0.2 and 0.3" in other.stderr
    )


@pytest.mark.slow
@pytest.mark.essential
def test_one_seed_is_said_to_have_no_interval(new, tmp_path, at_home):
    options = ["--seeds", 1, "--reference-width", 20, "--out", tmp_path / "study"]
    result = without_figures(*new, *options)
    assert result.exit_code == 0 and "– to –" in result.stdout
    assert "One seed: there is no interval" in result.stderr
    factor = math.sqrt(1 - 16 / 20)  # 16 of a population of 20
    assert (
        "The reference is too narrow: at width 16 its 20 particles "
        f"change distances by a factor {factor:.3f}" in result.stderr
    )


@pytest.mark.slow
def test_a_task_that_ends_before_the_others(new, tmp_path, at_home):
    options = ["--seeds", 1, "--out", tmp_path / "study", "--num-tasks", 2]
    result = without_figures(*new, *options, "--task-index", 1)
    assert (result.exit_code, result.stdout) == (0, "")
    assert "missing: 1 runs: reference" in result.stderr
    assert not (tmp_path / "study" / "study.h5").exists()
    nothing = command("--collect", "--out", tmp_path / "study", "--json")
    assert nothing.exit_code == 1 and "missing: 1 runs: reference" in nothing.stderr
    assert json.loads(nothing.stdout) == {
        "file": None,
        "failures": {},
        "missing": ["reference"],
        "stopped": None,
    }
    result = without_figures(*new, *options, "--task-index", 0)
    assert result.exit_code == 0 and "study.h5" in result.stdout


@pytest.mark.slow
@pytest.mark.essential
def test_a_run_that_fails_is_named_and_ends_in_exit_code_one(new, tmp_path, monkeypatch):
    def with_a_death(jobs, *how):
        alive = [job for job in jobs if job.name != "width-00008-seed-000"]
        in_this_process(alive, *how)
        return {job.name: "its worker died (killed by SIGKILL)" for job in jobs if job not in alive}

    monkeypatch.setattr(width_study, "do_jobs", with_a_death)
    options = ["--seeds", 2, "--reference-width", 40, "--out", tmp_path / "study"]
    result = command(*new, *options)
    assert result.exit_code == 1 and "study.h5" in result.stdout
    assert "width-00008-seed-000: its worker died (killed by SIGKILL)" in result.stderr
    assert (
        "warning: Left out, missing: the runs, or processes of them, at width 8 (seed 0)."
        in result.stderr
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ([], "--widths must be given, as 64,256,1024, got none"),
        (["--widths", "8,x"], "--widths must be integers separated by commas, got '8,x'"),
        (["--widths", "16,8"], "widths must be one or more, increasing, got 16, 8"),
        (["--widths", "8,8"], "widths must be one or more, increasing, got 8, 8"),
        (["--widths", "8", "--seeds", "0"], "seeds must be at least 1, got 0"),
        (
            ["--widths", "8,16", "--reference-width", "12"],
            "reference_width must be at least the largest width, 16, got 12",
        ),
        (["--widths", "8", "--start", "nestled"], ", got 'nestled'"),
        (["--widths", "8", "--jobs", "0"], "jobs must be an integer of at least 1, got 0"),
        (
            ["--widths", "8", "--task-index", "0"],
            "--task-index and --num-tasks must be given together, got one of them",
        ),
        (
            ["--widths", "8", "--task-index", "3", "--num-tasks", "3"],
            "task_index must be an integer from 0 to 2, got 3",
        ),
        (
            ["--widths", "8", "--task-index", "0", "--num-tasks", "0"],
            "num_tasks must be an integer of at least 1, got 0",
        ),
        (["--widths", "8", "--set", "stepz=1"], "stepz is not a known key; known keys: "),
        (
            ["--widths", "8", "--set", "output.eigenvalues=1000"],
            "output.eigenvalues must be at most ",
        ),
    ],
)
def test_wrong_input_is_one_line_and_leaves_no_folder(new, tmp_path, options, message):
    begin = new[: new.index("--widths")]
    result = command(*begin, *options, "--out", tmp_path / "study")
    assert result.exit_code == 2 and result.stdout == "" and message in result.stderr, result.output
    assert not (tmp_path / "study").exists()


def test_a_landscape_is_refused(tmp_path):
    path = tmp_path / "valley.toml"
    path.write_text("[landscape]\nname = 'valley'\n", encoding="utf-8")
    result = command(path, "--widths", "8,16", "--out", tmp_path / "study")
    assert result.exit_code == 2 and "landscape must be left out of a width study" in result.stderr


def test_options_of_the_fixture_are_those_of_a_plan(tiny):
    assert {key: getattr(tiny().width, key) for key in OPTIONS} == OPTIONS


def test_it_is_refused_under_a_launcher(tmp_path, monkeypatch):
    monkeypatch.setenv("PMI_RANK", "0")
    result = command("--widths", "2", "--out", tmp_path / "out")
    assert result.exit_code == 2 and "must be started without mpiexec" in result.stderr
    assert not (tmp_path / "out").exists()
