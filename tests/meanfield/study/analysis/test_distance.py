"""The command that measures the distance of two snapshots, against SciPy and NumPy on what h5py reads."""

import json
import re
from functools import partial

import h5py
import numpy as np
import pytest
from scipy.optimize import linear_sum_assignment
from scipy.spatial.distance import cdist

import solvers
from meanfield.study.analysis.snapshot_distance import (
    Cloud,
    announcement,
    differences,
    distance,
    lines,
)
from meanfield.study.config.run_config import load
from meanfield.study.engine.run import run
from tests.meanfield.study.cli.test_cli import meanfield_command

GD, FLOW = "gradient_descent", "free_energy_flow"
command = partial(meanfield_command, "distance")


def report(*arguments):
    result = command(*arguments, "--json")
    assert (result.exit_code, result.stderr) == (0, ""), result.output
    return json.loads(result.stdout)


def position(path, process, index):
    with h5py.File(path) as file:
        return file[f"{process}/snapshots/position"][index]


@pytest.fixture(scope="module")
def wide_run(tmp_path_factory, small):
    """The small study at another width and seed."""
    return run(load(None, (*small, "network.width=12", "seed=3")), tmp_path_factory.mktemp("wide"))


def cloud(x, config="", weight=None):
    weight = np.full(len(x), 1 / len(x)) if weight is None else weight
    return Cloud("x.h5", GD, 0.0, np.asarray(x, float), weight, config)


# --- runs ----------------------------------------------------------------------------------------


def test_two_processes_of_one_file(small_run):
    x, y = position(small_run, GD, -1), position(small_run, FLOW, -1)
    costs = cdist(x, y, "sqeuclidean")
    found = report(small_run, small_run, "--process", GD, "--process", FLOW)
    assert found["distance"] ** 2 == pytest.approx(
        costs[linear_sum_assignment(costs)].mean(), rel=1e-10
    )
    assert (found["a"]["process"], found["b"]["process"]) == (GD, FLOW)
    assert found["a"]["time"] == 6 and found["error"] < 1e-14 and found["method"] == "exact"


def test_files_of_different_widths(small_run, wide_run):
    """24 points of each: three of every particle of 8, two of every one of 12."""
    x, y = (position(path, GD, -1) for path in (small_run, wide_run))
    costs = cdist(np.repeat(x, 3, axis=0), np.repeat(y, 2, axis=0), "sqeuclidean")
    expected = np.sqrt(costs[linear_sum_assignment(costs)].mean())
    found = report(small_run, wide_run)
    assert found["distance"] == pytest.approx(expected, rel=1e-10)
    assert (found["a"]["particles"], found["b"]["particles"]) == (8, 12)
    for method in ("sliced", "sinkhorn"):
        by = report(small_run, wide_run, "--method", method)
        assert by["distance"] == pytest.approx(solvers.transport.w2(x, y, method=method).distance)
        assert ("regularization" in by) == (method == "sinkhorn")


def test_the_snapshots_of_different_times(small_run):
    x, y = position(small_run, FLOW, 1), position(small_run, FLOW, -1)
    found = report(small_run, small_run, "--process", FLOW, "--time", 4, "--time", "last")
    assert found["distance"] == pytest.approx(solvers.transport.w2(x, y).distance, rel=1e-12)
    assert (found["a"]["time"], found["b"]["time"]) == (4, 6)
    assert report(small_run, small_run, "--time", 4)["distance"] == 0.0


def test_it_is_printed_for_people(small_run, wide_run):
    printed = command(small_run, wide_run, "--method", "sliced").stdout.splitlines()
    assert printed[0] == f"A: {small_run}, {GD} at 6, 8 particles"
    assert printed[2].startswith("sliced W2: 0.")
    assert printed[4].startswith("sampling floor (two halves of one cloud): A ")
    printed = command(small_run, small_run, "--time", 0, "--time", 6).stdout.splitlines()
    assert printed[3].startswith("error, proved by dual potentials: ")
    assert printed[4].startswith("particle by particle (at least W2): 0.")


@pytest.mark.parametrize("method", ["exact", "sliced", "sinkhorn"])
def test_single_particles_have_no_sampling_floor(tmp_path, method):
    settings = ("steps=2", "landscape.name=valley", "processes={gradient_descent={}}")
    path = run(load(None, settings), tmp_path)
    result = command(path, path, "--time", 0, "--time", "last", "--method", method)
    assert result.exit_code == 0, result.stderr
    assert result.stdout.endswith("A –, B –\n")


def test_different_problems_are_compared_only_by_force(tmp_path, small, small_run):
    path = run(load(None, (*small, "task.seed=5", "risk.weight_decay=0.1")), tmp_path)
    result = command(small_run, path)
    assert result.exit_code == 2 and result.stdout == "" and result.stderr.count("\n") == 1
    for part in ("task.seed is 0 and 5", "risk.weight_decay is 0.0 and 0.1", "--force"):
        assert part in result.stderr
    forced = command(small_run, path, "--force")
    assert forced.exit_code == 0 and "warning: different problems: task.seed" in forced.stderr


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            ["--process", "rod_flow"],
            f"process must be one of {GD}, gradient_flow, free_energy_flow, got rod_flow",
        ),
        (["--process", GD] * 3, "--process must be given once or twice, got 3 times"),
        (["--time", "5"], f"{GD}: time must be one of 0, 4, 6, got 5"),
        (["--time", "soon"], "--time must be a number or last, got 'soon'"),
        (["--method", "magic"], "method must be one of 'exact', 'sliced', 'sinkhorn', got 'magic'"),
        (["--subsample", "0"], "subsample must be an integer of at least 1, got 0"),
        (["--subsample", "-5"], "subsample must be an integer of at least 1, got -5"),
        (["--seed", "-1"], "seed must be an integer of at least 0, got -1"),
    ],
)
def test_wrong_input_is_one_line(small_run, options, message):
    result = command(small_run, small_run, *options)
    assert result.exit_code == 2 and result.stdout == ""
    assert message in result.stderr and result.stderr.count("\n") == 1


def test_other_files_are_refused(small_run, tmp_path):
    assert "no such file" in command(small_run, tmp_path / "none.h5").stderr
    (tmp_path / "text.h5").write_text("text")
    result = command(tmp_path / "text.h5", small_run)
    assert result.exit_code == 2 and "not an HDF5 file" in result.stderr


def test_without_gradient_descent_a_process_is_named(tmp_path, small):
    path = run(load(None, (*small, "processes={gradient_flow={},rod_flow={}}")), tmp_path / "two")
    assert "process must be one of gradient_flow, rod_flow, got none" in command(path, path).stderr
    path = run(load(None, (*small, "processes={rod_flow={}}")), tmp_path / "one")
    assert report(path, path)["a"]["process"] == "rod_flow"


# --- clouds --------------------------------------------------------------------------------------


def test_the_floor_is_what_halves_of_a_cloud_differ_by():
    """For the standard normal law on the line, E[W2²] of two samples of n is about 2 log log n / n, here the square of 0.09."""
    rng = np.random.default_rng(0)
    a, b = cloud(rng.standard_normal((1000, 1))), cloud(rng.standard_normal((800, 1)) + 3)
    found = distance(a, b)
    assert found["distance"] == pytest.approx(3, abs=0.2)  # means err by 0.05
    for floor in found["sampling_floor"].values():
        assert 0.03 < floor < 0.2
    assert found == distance(a, b) != distance(a, b, seed=1)


def test_subsamples_keep_their_masses():
    x = np.arange(10.0)[:, None]
    weight = np.arange(1, 11) / 55
    found = distance(cloud(x, weight=weight), cloud(x), subsample=4)
    assert found["a"]["particles"] == found["b"]["particles"] == 4
    indices = np.array([1, 3, 8])
    np.testing.assert_allclose(
        cloud(x, weight=weight).chosen(indices).weight, [2 / 15, 4 / 15, 9 / 15]
    )


def test_what_makes_two_clouds_alike():
    same = "[network]\nwidth = 8\nbias = true\n[risk]\ndtype = 'float64'\n"
    wide = "seed = 4\n[network]\nwidth = 90\nbias = true\n[risk]\ndtype = 'float32'\n"
    other = "[landscape]\nname = 'Valley'\nstart = [1.0, 2.0]\n"
    a = cloud([[0.0]], same)
    assert differences(a, cloud([[0.0]], wide)) == []
    assert differences(a, cloud([[0.0]], other)) == [
        "network.bias is True and not set",
        "landscape.name is not set and Valley",
    ]
    # 0.1.0 had no task.mean_square, whose default is 1/16
    old, new = "[task]\nname = 'digits'\n", "[task]\nname = 'digits'\nmean_square = {}\n"
    assert differences(cloud([[0.0]], old), cloud([[0.0]], new.format(0.0625))) == []
    assert differences(cloud([[0.0]], new.format(0.5)), cloud([[0.0]], old)) == [
        "task.mean_square is 0.5 and 0.0625"
    ]


def test_too_many_particles_are_refused_with_the_ways_out(small_run):
    """By options that the command has."""
    many = cloud(np.zeros((6000, 2)))
    message = (
        "must be at least 1.51GB for exact transport of 6,000 to 6,000 .* --lazy, --method sliced, "
    )
    with pytest.raises(ValueError, match=message):
        distance(many, many)
    assert announcement(many, many, "exact") is None
    assert distance(many, many, "sliced")["distance"] == 0.0
    assert "sampling floor" in list(lines(distance(many, many, subsample=50)))[-1]
    little = command(small_run, small_run, "--memory-limit", "1kB")
    assert little.exit_code == 2 and little.stderr.count("\n") == 1
    offered = re.findall(r"--[a-z-]+", little.stderr)
    assert {"--lazy", "--method", "--subsample", "--memory-limit"} == set(offered)
    assert all(option in command("--help").output for option in offered)
    lazily = report(small_run, small_run, "--lazy", "--time", 0, "--time", 6)
    assert lazily["distance"] == pytest.approx(
        report(small_run, small_run, "--time", 0, "--time", 6)["distance"], rel=1e-12
    )
    assert command(small_run, small_run, "--lazy", "--memory-limit", "10MB").exit_code == 0


@pytest.mark.parametrize("method", ["exact", "sliced"])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_particles_of_one_start_are_subsampled_alike(method, seed):
    """W2 of as many particles is at most that of the coupling; samples of other particles are two samples of the law apart."""
    rng = np.random.default_rng(3)
    x, noise = rng.standard_normal((2, 600, 20))
    a, b = cloud(x), cloud(x + 0.1 * noise)
    found = distance(a, b, method, subsample=200, seed=seed)
    # RMS of 0.1 χ₂₀: √20/10 = 0.447 to a few percent
    assert found["coupled_distance"] == pytest.approx(0.447, rel=0.05)
    assert found["distance"] <= found["coupled_distance"] + found["error"]
    assert found["distance"] < 0.5 * min(found["sampling_floor"].values())
    assert "not above its sampling floor" in found["warnings"][0]
    assert "unless both are from one start" in found["warnings"][0]


@pytest.mark.parametrize("subsample", [None, 5, 30])
def test_of_masses_and_numbers_that_differ_there_is_no_coupling(subsample):
    x = np.random.default_rng(0).standard_normal((40, 2))
    weight = np.arange(1, 41) / 820
    assert (
        distance(cloud(x), cloud(x, weight=weight), subsample=subsample)["coupled_distance"] is None
    )
    assert distance(cloud(x), cloud(x[:35]), subsample=subsample)["coupled_distance"] is None
    both = distance(cloud(x, weight=weight), cloud(x + 1.0, weight=weight), subsample=subsample)
    assert both["coupled_distance"] == pytest.approx(np.sqrt(2), rel=1e-12)


def test_distances_above_their_floor_have_no_warning():
    rng = np.random.default_rng(0)
    a, b = cloud(rng.standard_normal((100, 2))), cloud(rng.standard_normal((80, 2)) + 5)
    assert distance(a, b)["warnings"] == [] == distance(a, a)["warnings"]
    close = distance(a, cloud(rng.standard_normal((100, 2))))["warnings"]
    assert len(close) == 1 and close[0].startswith("W2 0.")


def test_what_is_within_the_error_is_said():
    """Squares of 30 coordinates are rounded to 1e-14, the divergence of clouds 1e-9 apart is 1e-18."""
    x, noise = np.random.default_rng(0).standard_normal((2, 100, 30))
    found = distance(cloud(x), cloud(x + 1e-9 * noise), "sinkhorn")
    assert found["distance"] <= found["error"] < 1e-5
    assert any("is not told from zero" in warning for warning in found["warnings"])
    exact = distance(cloud(x), cloud(x + 1e-9 * noise))
    assert not any("is not told from zero" in warning for warning in exact["warnings"])


def test_what_takes_long_is_said_before():
    many = cloud(np.zeros((4000, 2)))
    said = announcement(many, many, "exact")
    assert said.startswith("exact transport of 4,000 to 4,000 points needs 0.672 GB and 6 s")
    assert announcement(many, many, "exact", 500) is None


def test_no_convergence_is_a_failure(small_run, wide_run, monkeypatch):
    monkeypatch.setattr("solvers.transport.sinkhorn.MAX_ITERATIONS", 1)
    result = command(small_run, wide_run, "--method", "sinkhorn")
    assert result.exit_code == 1 and result.stdout == ""
    assert "--method sliced" in result.stderr and "max_iterations" not in result.stderr


def test_the_distance_of_laws_with_its_interval(small_run):
    found = report(small_run, small_run, "--time", 0, "--time", 6, "--error", "bootstrap")
    plain = report(small_run, small_run, "--time", 0, "--time", 6)
    of_laws = found.pop("of_laws")
    assert found == plain and of_laws["low"] <= of_laws["distance"] <= of_laws["high"]
    text = command(small_run, small_run, "--time", 0, "--time", 6, "--error", "bootstrap").stdout
    assert "of the laws, sampling floor subtracted" in text and "(95%)" in text
    wrong = command(small_run, small_run, "--error", "jackknife")
    assert wrong.exit_code == 2 and "--error must be bootstrap, got jackknife" in wrong.stderr


def test_more_particles_than_fit_are_subsampled_without_being_asked(small_run, monkeypatch):
    """A limit of 1 kB stands for 20,000 particles; W2 is at most the coupled distance."""
    monkeypatch.setattr(solvers.transport.wasserstein, "MAX_BYTES", 1000)
    result = command(small_run, small_run, "--time", 0, "--time", 6, "--json")
    assert result.exit_code == 0 and "subsamples of at most 2,000" in result.stderr
    found = json.loads(result.stdout)
    assert "distance" not in found and found["of_laws"]["low"] <= found["coupled_distance"]
    offered = re.findall(r"--[a-z-]+", result.stderr)
    assert offered and all(option in command("--help").output for option in offered)
