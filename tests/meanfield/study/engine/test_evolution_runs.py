"""Runs of a measure: what `solvers.evolve` computes, in a file, and the same when stopped and resumed."""

import json
import os
import re
import signal

import numpy as np
import pytest
import xarray

import meanfield
import solvers
from meanfield.study.config.run_config import load_text
from meanfield.study.engine.prepared_run import Options
from meanfield.study.engine.resume import resume
from meanfield.study.engine.run import run
from meanfield.study.storage.writer import read_run
from solvers.jko import movers
from tests.helpers.commands import meanfield_command
from tests.helpers.matrices import slow_unless
from tests.helpers.same_runs import assert_same

GRID = """
learning_rate = 0.8
steps = 9
[measure]
step_size = 0.05
order = 2
[measure.space]
name = "grid"
cells = [40]
low = [-6]
high = [6]
[measure.initial]
name = "gaussian_mixture"
means = [[-1.0], [1.5]]
deviation = 0.7
[measure.energy.entropy]
temperature = 0.5
[measure.energy.bowl]
name = "harmonic_potential"
[output]
snapshot_every = 4
"""
QUANTILES = """
learning_rate = 0.8
[measure]
tolerance = 5e-3
duration = 0.4
order = 2
[measure.space]
name = "quantiles"
cells = 40
[measure.initial]
name = "barenblatt"
[measure.energy.power_entropy]
exponent = 2.0
[output]
snapshot_every = 3
"""
PARTICLES = """
seed = 5
steps = 6
[measure]
step_size = 0.1
order = 2
[measure.space]
name = "particles"
count = 12
dimension = 2
[measure.energy.power_interaction]
[measure.energy.entropy]
temperature = 0.05
[output]
snapshot_every = 2
"""
PLANE = """
steps = 3
[measure]
step_size = 0.05
[measure.space]
name = "grid"
cells = [14, 12]
low = [-3, -2]
high = [3, 2]
[measure.initial]
name = "uniform"
low = [-1, -1]
high = [0.5, 1]
[measure.energy.power_entropy]
exponent = 2
[measure.energy.obstacle]
radius = 0.5
center = [1.5, 0]
[output]
snapshot_every = 1
compression = "gzip"
"""
#: attraction of twice the critical strength in the plane
BLOW_UP = """
steps = 40
[measure]
step_size = 0.05
[measure.space]
name = "grid"
cells = [24, 24]
low = [-2, -2]
high = [2, 2]
[measure.initial]
deviation = 0.5
[measure.energy.entropy]
[measure.energy.log_interaction]
strength = 8
"""
TEXTS = {"grid": GRID, "quantiles": QUANTILES, "particles": PARTICLES, "plane": PLANE}


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("measures")
    return {name: run(load_text(text), folder / name) for name, text in TEXTS.items()}


def evolved(text):
    config = load_text(text)
    measure, pace = config.measure, config.measure.pace(config.steps)
    return solvers.evolve(
        measure.build_energy(),
        measure.build_start(config.seed),
        pace.t,
        pace.step_size,
        pace.order,
        pace.tolerance,
        config.learning_rate,
        save_every=config.output.snapshot_every,
    )


@pytest.mark.parametrize("name", TEXTS)
def test_the_file_has_what_evolve_returns(files, name):
    """To the last bit, but for the measures of a grid, which are kept as densities."""
    expected = evolved(TEXTS[name])
    with meanfield.Result.open(files[name]) as result:
        found = result.evolution
        assert result.status == "complete" and list(result) == ["evolution"]
    numbers = ("times", "energies", "step_sizes", "transport_costs", "excesses", "residuals")
    for key in (*numbers, "iterations", "errors", "saved", "rejected", "learning_rate", "status"):
        np.testing.assert_array_equal(getattr(found, key), getattr(expected, key), key)
    np.testing.assert_array_equal(found.balance, expected.balance)
    for one, other in zip(found.measures, expected.measures, strict=True):
        assert type(one) is type(other)
        if name in ("grid", "plane"):
            np.testing.assert_allclose(one.masses, other.masses, rtol=1e-14, atol=1e-16)
            np.testing.assert_array_equal(one.edges[0], other.edges[0])
        elif name == "quantiles":
            np.testing.assert_array_equal(one.values, other.values)
        else:
            np.testing.assert_array_equal(one.positions, other.positions)


def stop_at(done, signum=signal.SIGTERM):
    def progress(what, now, total):
        if (what, now) == ("evolution", done):
            signal.raise_signal(signum)

    return progress


@pytest.mark.parametrize(
    ("name",), slow_unless("grid".__eq__, [("grid",), ("particles",), ("plane",)])
)
def test_stopped_and_resumed_it_ends_the_same(tmp_path, files, name):
    steps = load_text(TEXTS[name]).steps
    path = run(load_text(TEXTS[name]), tmp_path, progress=stop_at(1))
    for stop in range(2, steps):
        record = read_run(path)
        assert record.attributes["message"] == "stopped by SIGTERM"
        assert record.processes["evolution"].message.startswith("interrupted at t = ")
        assert len(record.processes["evolution"].observables["time"]) == stop
        resume(tmp_path, Options(progress=stop_at(stop)))
    resume(tmp_path)
    assert_same(path, files[name])
    assert os.listdir(tmp_path) == ["run.h5"]


def test_stopped_between_steps_of_a_tolerance_it_ends_the_same(tmp_path, files):
    count = 0

    def progress(what, now, total):
        nonlocal count
        count += 1
        if count % 3 == 0:
            signal.raise_signal(signal.SIGTERM)

    path = run(load_text(QUANTILES), tmp_path, progress=progress)
    stops = 0
    while read_run(path).attributes["status"] == "interrupted":
        stops += 1
        resume(tmp_path, Options(progress=progress))
    assert stops > 2
    assert_same(path, files["quantiles"])


def test_a_time_limit_leaves_a_checkpoint(tmp_path, files):
    path = run(load_text(GRID), tmp_path, options=Options(max_runtime=1e-9))
    assert read_run(path).attributes["message"] == "stopped by --max-runtime"
    assert_same(resume(tmp_path), files["grid"])


def test_xarray_opens_it(files):
    with xarray.open_datatree(files["plane"], engine="h5netcdf") as tree:
        density = tree["evolution/snapshots"]["density"]
        assert density.dims == ("time", "x1", "x2") and density.shape == (4, 14, 12)
        assert density["x1"].values == pytest.approx(np.linspace(-3, 3, 29)[1::2])
        mass = density.sum(["x1", "x2"]) * (6 / 14) * (4 / 12)
        assert mass.values == pytest.approx(1.0)
        assert float(density.sel(x1=1.5, x2=0.1, method="nearest").max()) == 0.0
        assert "energy" in tree["evolution/observables"]
    with xarray.open_datatree(files["quantiles"], engine="h5netcdf") as tree:
        assert tree["evolution/snapshots"]["quantile"].dims == ("time", "level")


def test_python_runs_what_the_command_runs(tmp_path, files):
    result = meanfield.run(load_text(PARTICLES), tmp_path / "out")
    assert_same(result.path, files["particles"])
    snapshot = result["evolution"].snapshots[-1]
    assert snapshot.position.shape == (12, 2) and not snapshot.fluctuation.any()
    assert isinstance(snapshot.measure, solvers.Particles)
    assert "evolution" in repr(result) and "energy" in repr(result)
    assert "<table>" in result._repr_html_()
    assert len(result.figures) == 2
    with pytest.raises(ValueError, match="must have a process of gradient descent"):
        result.compare()


def test_a_run_of_processes_is_no_evolution(small_run):
    with (
        meanfield.Result.open(small_run) as result,
        pytest.raises(ValueError, match="must be a run of a measure, got one of gradient_descent"),
    ):
        _ = result.evolution


def test_commands(files, tmp_path):
    path, other = files["grid"], files["quantiles"]
    info = meanfield_command("info", path, "--json")
    about = json.loads(info.stdout)
    assert info.exit_code == 0 and about["processes"][0]["steps"] == 9
    assert about["processes"][0]["excess"] <= 0 and about["warnings"] == []
    plot = meanfield_command("plot", path, "--out", tmp_path / "figures")
    assert plot.exit_code == 0
    assert sorted(os.listdir(tmp_path / "figures")) == ["density.png", "energy.png"]
    refused = meanfield_command("plot", path, "--only", "loss", "--out", tmp_path / "figures")
    assert (
        refused.exit_code == 2 and "only must be a figure that the run has data" in refused.stderr
    )
    animated = meanfield_command("plot", path, "--animate", "evolution")
    assert animated.exit_code == 2 and "must be one of particles to animate" in animated.stderr
    compared = meanfield_command("compare", path)
    assert compared.exit_code == 2 and "`meanfield distance` compares two" in " ".join(
        compared.stderr.split()
    )
    extended = meanfield_command("extend", other.parent, "--steps", "200")
    assert extended.exit_code == 2 and "measure.tolerance must be left out" in extended.stderr
    unlike = meanfield_command("distance", path, other)
    assert unlike.exit_code == 2 and "must be of one problem" in " ".join(unlike.stderr.split())


def test_the_distance_of_two_times(files):
    """The density's by the solver; that of particles as of any particles."""
    times = ("--time", "0", "--time", "last", "--json")
    for name in ("grid", "quantiles", "particles"):
        done = meanfield_command("distance", files[name], files[name], *times)
        assert done.exit_code == 0, done.stderr
        with meanfield.Result.open(files[name]) as result:
            first, last = (result["evolution"].snapshots[k].measure for k in (0, -1))
        expected = solvers.transport.w2(first, last).distance
        assert json.loads(done.stdout)["distance"] == pytest.approx(expected, rel=1e-9)
    sliced = meanfield_command("distance", files["grid"], files["grid"], "--method", "sliced")
    assert sliced.exit_code == 2 and "must be left out for densities" in sliced.stderr
    small = meanfield_command("distance", files["plane"], files["plane"], "--memory-limit", "1kB")
    assert small.exit_code == 2 and "--memory-limit must be at least" in small.stderr


def test_the_report(files, tmp_path):
    path = meanfield.Result.open(files["plane"]).report(tmp_path / "report.html")
    text = path.read_text()
    assert "a Wasserstein gradient flow" in text and "Density over time" in text
    assert "power_entropy (exponent 2.0" in text
    assert re.search("Of the energy that was lost, [0-9]+% is not what the transport", text)


def test_a_blow_up_keeps_what_was_done(tmp_path):
    """Attraction of twice the critical strength in the plane."""
    path = run(load_text(BLOW_UP), tmp_path)
    record = read_run(path)
    process = record.processes["evolution"]
    assert (record.attributes["status"], process.status) == ("failed", "failed")
    assert process.message.startswith("failed at t = ") and "concentrates" in process.message
    assert process.snapshot_times[-1] == process.observables["time"][-1] > 0


def test_memory_that_runs_out_keeps_what_was_done(tmp_path, files, monkeypatch):
    whole, moves = read_run(files["quantiles"]).processes["evolution"], []

    def move(mover, *arguments, **options):
        moves.append(mover)
        if len(moves) > 3:
            raise MemoryError("Unable to allocate")
        return of_a_class(mover, *arguments, **options)

    of_a_class = movers._OfQuantiles.move
    monkeypatch.setattr(movers._OfQuantiles, "move", move)
    path = run(load_text(TEXTS["quantiles"]), tmp_path)
    process = read_run(path).processes["evolution"]
    assert (process.status, path.name) == ("failed", "run.h5")
    assert "out of memory: Unable to allocate" in process.message
    energies = process.observables["energy"]
    assert 1 <= len(energies) < len(whole.observables["energy"])
    np.testing.assert_array_equal(energies, whole.observables["energy"][: len(energies)])


BAD = [
    (
        ['measure.space={name="grid",cells=[100000,100000],low=[-1,-1],high=[1,1]}'],
        "measure: about 7e+03 GB of memory are needed",
        "measure.space, which has 100000 × 100000 = 10000000000 cells",
    ),
    (
        ["measure.energy.congestion={bound=0.1}"],
        "measure: grid must have densities of at most the bound 0.1",
        "",
    ),
    (["measure.energy.congestion={bound=0.01}"], "bound must be above", ""),
    (
        ["measure.energy.ball={radius=1.0}"],
        "measure: grid must have no mass outside the domain",
        "",
    ),
    (
        ['measure.space={name="particles",count=5}', "measure.energy.power_entropy={exponent=2}"],
        "measure: energy must be defined on particles, got PowerEntropy",
        "",
    ),
    (
        ['measure.space={name="quantiles",cells=5}', "measure.energy.congestion={}"],
        "known to QuantileJKO",
        "",
    ),
    (["measure.energy.bowl.center=[0.0,1.0]"], "center must be of as many numbers", ""),
    (["measure.step_size=-1.0"], "measure.step_size must be above 0", ""),
    (["measure.energy.entropie={}"], "must be one of 'entropy'", "did you mean 'entropy'"),
]


@pytest.mark.parametrize(("overrides", "message", "more"), BAD)
def test_what_does_not_fit_is_told_before_anything_runs(tmp_path, overrides, message, more):
    (tmp_path / "measure.toml").write_text(GRID)
    settings = [f"--set={text}" for text in overrides]
    result = meanfield_command(
        "run", tmp_path / "measure.toml", "--out", tmp_path / "out", *settings
    )
    told = " ".join(result.stderr.split())
    assert result.exit_code == 2 and message in told and more in told
    assert not (tmp_path / "out" / "run.h5").exists()


def test_validate(tmp_path):
    (tmp_path / "measure.toml").write_text(GRID)
    assert meanfield_command("validate", tmp_path / "measure.toml").exit_code == 0
    (tmp_path / "measure.toml").write_text(GRID + "[measure.energy.ball]\n")
    refused = meanfield_command("validate", tmp_path / "measure.toml")
    assert refused.exit_code == 2 and "no mass outside the domain" in refused.stderr


def test_objects_of_ones_own_go_to_evolve():
    config = load_text(GRID)
    for given in (
        {"flows": {"mine": solvers.GradientFlow(0.1)}},
        {"start": [1.0]},
        {"objective": meanfield.landscapes.Valley()},
    ):
        with pytest.raises(ValueError, match="must be left out with a measure"):
            meanfield.run(config, **given)
    with pytest.raises(ValueError, match="measure must be left out of a width study"):
        meanfield.width_study(config, [4])


def test_a_sweep_over_step_sizes(tmp_path):
    sweep = meanfield.sweep(load_text(QUANTILES), {"measure.tolerance": [5e-3, 1e-4]}, tmp_path)
    steps = [row["steps"] for row in sweep.rows]
    assert steps[0] < steps[1] and {row["run_status"] for row in sweep.rows} == {"complete"}
