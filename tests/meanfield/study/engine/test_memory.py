"""What a run needs is said before it starts, and refused if it is more than there is."""

import pytest

from meanfield.study.config.run_config import load
from meanfield.study.engine import memory
from meanfield.study.engine.memory import (
    MemoryLimitError,
    data_memory,
    parse_bytes,
    require_memory,
    required_memory,
)
from solvers._support import memory as available
from tests.meanfield.study.cli.test_cli import assert_refused, meanfield_command, settings


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("8GB", 8 * 10**9),
        ("1.5 GiB", 3 * 2**29),
        ("500mb", 5 * 10**8),
        ("4096", 4096),
        ("2k", 2000),
    ],
)
def test_amounts(text, expected):
    assert parse_bytes(text) == expected


@pytest.mark.parametrize("text", ["", "0", "-1GB", "GB", "8 apples", "1e9", "nan"])
def test_amounts_that_are_none(text):
    with pytest.raises(ValueError, match="--memory-limit must be an amount, .*got "):
        parse_bytes(text)


# peak resident memory above that of 1000 particles, in arrays of all particles, as measured with 20,000 to 100,000 of them
@pytest.mark.parametrize(
    ("process", "measured"),
    [
        ("gradient_descent={}", 25.6),
        ("gradient_flow={}", 38.6),
        ("free_energy_flow={}", 40.6),
        ("free_energy_flow={delay=true}", 35.6),
        ("edge_flow={}", 55.5),
        ("rod_flow={rank=4}", 40.7),
        ("rod_flow={rank=16}", 128.6),
        ("langevin={temperature=0.1}", 19.8),
        ("jko={}", 21.3),
        ("jko={saddle=true}", 61.5),
    ],
)
def test_the_estimate_is_a_bound_within_three(process, measured):
    study = load(None, ("network.width=100000", f"processes={{{process}}}"))
    (found,) = required_memory(study, 12).values()
    arrays = found / (100_000 * 12 * 8)
    assert measured <= arrays <= 3 * measured


# peak resident memory of building the problem and a gradient, in MB
@pytest.mark.parametrize(
    ("n", "input_dim", "teacher_width", "measured"),
    [
        (1_000_000, 20, 4, 405),
        (20_000_000, 1, 4, 1142),
        (200, 100_000, 4, 347),
        (100_000, 300, 4, 514),
        (20, 1000, 20_000, 162),
    ],
)
def test_data_that_are_drawn_are_in_the_estimate(n, input_dim, teacher_width, measured):
    sizes = (
        f"task={{name='teacher_student',n={n},input_dim={input_dim},teacher_width={teacher_width}}}"
    )
    study = load(None, (sizes, "network.width=2"))
    assert measured <= data_memory(study) / 1e6 <= 3 * measured
    assert min(required_memory(study, input_dim + 2).values()) >= data_memory(study)


def test_more_data_than_there_is_room_for_are_refused_before_they_are_drawn(tmp_path):
    too_many = settings(["task.name=teacher_student", "task.n=1000000000000"])
    result = meanfield_command("run", "--out", tmp_path / "out", *too_many)
    assert_refused(result, "task: about", "a smaller task.n, task.input_dim")
    assert not (tmp_path / "out").exists()


def test_more_than_there_is_is_refused(monkeypatch):
    study = load(None, ("network.width=1000000", "processes={gradient_descent={},rod_flow={}}"))
    assert require_memory(study, 66, 10**12)["rod_flow"] > 10**10
    with pytest.raises(
        MemoryLimitError,
        match=r"processes.rod_flow: about .* GB of memory are needed, 1 GB are allowed",
    ):
        require_memory(study, 66, 10**9)
    monkeypatch.setattr(memory, "available_memory", lambda: 2 * 10**9)
    with pytest.raises(MemoryLimitError, match="2 GB are available"):
        require_memory(study, 66)
    monkeypatch.setattr(
        memory, "available_memory", lambda: None
    )  # no system tells: then it is tried
    assert require_memory(study, 66)


def test_what_is_available_is_the_least_of_machine_and_groups(monkeypatch, tmp_path):
    everything = memory.available_memory()
    assert everything is None or everything > 10**6
    group = tmp_path / "a/b"
    group.mkdir(parents=True)
    (group / "memory.max").write_text("max\n")
    (tmp_path / "a/memory.max").write_text("5000\n")
    for folder in (group, tmp_path / "a"):
        (folder / "memory.current").write_text("2000\n")
    monkeypatch.setattr(available, "CGROUPS", tmp_path)
    read = available.Path.read_text
    monkeypatch.setattr(
        available.Path,
        "read_text",
        lambda path, *a, **k: "0::/a/b\n" if path.name == "cgroup" else read(path, *a, **k),
    )
    assert memory.available_memory() == 3000


@pytest.mark.slow
@pytest.mark.essential
def test_commands_say_it_before_anything_is_made(tmp_path, small):
    out = tmp_path / "out"
    much = settings(small, "network.width=10000000000")
    assert_refused(meanfield_command("run", "--out", out, *much), "GB of memory are needed")
    little = ["--memory-limit=100kB", *settings(small)]
    assert_refused(meanfield_command("run", "--out", out, *little), "0.0001 GB are allowed")
    assert not out.exists()
    config = tmp_path / "study.toml"
    config.write_text("[network]\nwidth = 200000\n")
    assert "GB of memory" in meanfield_command("validate", config, "--memory-limit=1TB").stdout
    assert_refused(meanfield_command("validate", config, "--memory-limit=1GB"), "1 GB are allowed")
