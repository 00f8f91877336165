"""The table `[measure]`: laws against closed forms, what goes into a file, messages."""

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.stats import norm

import meanfield
import solvers
from meanfield.study.config.errors import ConfigError
from meanfield.study.config.measure.laws import (
    Barenblatt,
    Gaussian,
    GaussianMixture,
    Npz,
    Uniform,
)
from meanfield.study.config.run_config import load, load_text
from tests.convergence.test_exact_grid_jko_orders import Barenblatt as Reference

TEXT = """
seed = 3
learning_rate = 0.5
steps = 20
[measure]
step_size = 0.05
order = 2
[measure.space]
name = "grid"
cells = [60]
low = [-6.0]
high = [6]
[measure.initial]
deviation = 1.5
[measure.energy.entropy]
temperature = 0.3
[measure.energy.wells]
name = "double_well_potential"
tilt = 0.1
[output]
snapshot_every = 4
"""
PARTICLES = [
    'measure.space={name="particles",count=10,dimension=2}',
    "measure.energy={harmonic_potential={}}",
]


def test_what_it_builds():
    config = load_text(TEXT)
    energy, start = config.measure.build_energy(), config.measure.build_start(config.seed)
    assert [type(term).__name__ for term in energy.terms] == ["Entropy", "Potential"]
    assert energy.terms[0].temperature == 0.3
    assert start.edges[0] == pytest.approx(np.linspace(-6, 6, 61))
    inside = norm.cdf(4.0) - norm.cdf(-4.0)
    expected = np.diff(norm.cdf(start.edges[0], scale=1.5)) / inside
    np.testing.assert_allclose(start.masses, expected, rtol=1e-9)
    pace = config.measure.pace(config.steps)
    assert (pace.t, pace.step_size, pace.order) == (pytest.approx(1.0), 0.05, 2)


def test_the_text_of_a_file_gives_the_same():
    config = load_text(TEXT)
    again = load_text(config.to_toml())
    assert again.to_toml() == config.to_toml() and again.measure == config.measure
    assert "processes" not in config.to_toml() and "task" not in config.to_toml()
    assert "sharpness_every" not in config.to_toml()
    longer = config.replace(**{"measure.duration": 3.0, "steps": None})
    assert "steps =" not in longer.to_toml() and longer.measure.duration == 3.0


def test_replacing_the_problem():
    """A measure takes the place of a network, and the reverse."""
    table = load_text(TEXT).measure.model_dump(exclude_none=True)
    config = meanfield.RunConfig(steps=7).replace(measure=table)
    assert config.measure is not None and config.steps == 7 and not config.processes
    network = config.replace(**{"network.width": 5, "task": {"n": 12}})
    assert network.measure is None and next(iter(network.processes)) == "gradient_descent"
    assert "energy=['entropy', 'wells']" in repr(config)


@pytest.mark.parametrize("dimension", [1, 2, 3])
@pytest.mark.parametrize("exponent", [2.0, 3.0])
def test_barenblatt_is_the_solution(dimension, exponent):
    """Against another implementation, on a grid; its cap fits the box."""
    edges = (np.linspace(-3, 3, 31),) * dimension
    law, reference = Barenblatt(exponent, 0.7), Reference(dimension, exponent)
    nodes = {1: 8, 2: 4, 3: 2}[dimension]
    expected = reference.grid(edges, 0.7, nodes).masses
    np.testing.assert_allclose(law.on_grid(edges).masses, expected, atol=1e-12)
    low, high = law.box(dimension)
    assert high == pytest.approx(np.full(dimension, reference.front(0.7)))
    np.testing.assert_array_equal(low, -high)


LAWS = {
    "gaussian": (Gaussian((1.0,), 2.0), 1.0, 4.0),
    "mixture": (GaussianMixture([[-1.0], [2.0]], 0.5), 0.5, 0.25 + 1.5**2),
    "uniform": (Uniform((-1.0,), (2.0,)), 0.5, 9 / 12),
    "barenblatt": (Barenblatt(2.0, 1.0), 0.0, (9 / 4) ** (2 / 3) * 4 / 5),
}


@pytest.mark.parametrize("exponent", [1.001, 1.5, 50.0])
@pytest.mark.parametrize("dimension", [1, 2, 3])
def test_the_mass_of_barenblatts_solution_is_one(dimension, exponent):
    """By an adaptive quadrature over the radius, to its tolerance; of nearly linear and of very slow diffusion, too."""
    law = Barenblatt(exponent, 0.7)
    front = law.box(dimension)[1][0]
    sphere = {1: 2.0, 2: 2 * np.pi, 3: 4 * np.pi}[dimension]

    def shell(r):
        return sphere * r ** (dimension - 1) * law.density(r * np.eye(1, dimension))[0]

    factor = 0.7 ** (-dimension / (dimension * (exponent - 1) + 2))  # t^(−dβ), which is left out
    assert abs(factor * quad(shell, 0.0, front, limit=200)[0] - 1) < 1e-8


@pytest.mark.parametrize("name", LAWS)
def test_mean_and_variance_in_every_representation(name):
    """Barenblatt at m = 2 on the line: a parabola with a front at R has the variance R²/5, R³ = 9 at t = 1."""
    law, mean, variance = LAWS[name]
    if name == "barenblatt":
        variance = 9 ** (2 / 3) / 5
    edges = (np.linspace(-20, 20, 4001),)
    for measure, tolerance in (
        (law.on_grid(edges), 1e-3),
        (law.on_line(2000), 1e-3),
        (law.as_particles(40_000, 1, 0), 0.03),
    ):
        assert measure.mean()[0] == pytest.approx(mean, abs=tolerance * (1 + variance))
        assert measure.covariance()[0, 0] == pytest.approx(variance, rel=tolerance, abs=tolerance)


def test_draws_are_those_of_the_seed_and_of_any_dimension():
    law = Gaussian(None, 1.0)
    one, same, other = (law.as_particles(5, 7, seed).positions for seed in (0, 0, 1))
    np.testing.assert_array_equal(one, same)
    assert one.shape == (5, 7) and not np.array_equal(one, other)


def test_a_file(tmp_path):
    path = tmp_path / "start.npz"
    density, values = np.array([[1.0, 3.0], [0.0, 4.0]]), np.array([0.0, 1.0, 4.0])
    np.savez(path, density=density, values=values, positions=[[0.0], [4.0]], weights=[0.25, 0.75])
    law = Npz(path)
    grid = law.on_grid((np.array([0.0, 1.0, 3.0]), np.array([0.0, 1.0, 2.0])))
    np.testing.assert_allclose(grid.masses, np.array([[1, 3], [0, 8]]) / 12)
    np.testing.assert_array_equal(law.on_line(2).values, values)
    particles = law.as_particles(2, 1, 0)
    assert particles.mean()[0] == 3.0


def test_paths_of_a_file_are_relative_to_it(tmp_path, monkeypatch):
    np.savez(tmp_path / "start.npz", masses=np.full(60, 1 / 60))
    text = TEXT.replace("deviation = 1.5", 'name = "npz"\npath = "start.npz"')
    (tmp_path / "measure.toml").write_text(text)
    monkeypatch.chdir("/")
    config = load(tmp_path / "measure.toml")
    assert config.measure.build_start(0).masses == pytest.approx(np.full(60, 1 / 60))


BAD = [
    ("measure.energy.foo={}", "measure.energy.foo.name must be one of 'entropy', 'power_entropy'"),
    ("measure.energy.wells.name=double_well", "did you mean 'double_well_potential'?"),
    ("measure.energy={}", "measure.energy must have at least one term, one of entropy, "),
    ("measure.energy.wells.hight=2", "did you mean 'height'?"),
    ("measure.energy.entropy.temperature=-1", "temperature must be a finite number above 0, got -1"),
    ('measure.energy."a b"={}', "letters, digits and underscores"),
    ("measure.step_size=0", "measure.step_size must be above 0, got 0"),
    ("measure.step_size=-0.5", "measure.step_size must be above 0, got -0.5"),
    ("measure.step_size=nan", "measure.step_size must be"),
    ("measure.tolerance=0.1", "measure.step_size must be given, or a tolerance but not both"),
    ("measure.order=3", "measure.order must be at most 2, got 3"),
    ("measure.duration=1.0", "steps must be left out with measure.duration, got 20 and 1"),
    ("steps=0", "steps must be at least 1 with a measure, got 0"),
    ("measure.space.cells=[0]", "must be at least 1, got 0"),
    ("measure.space.cells=[4,4]", "measure.space.low must be of as many numbers as there are cells"),
    ("measure.space.high=[-7.0]", "measure.space.high must be above low along every axis"),
    ("measure.space.name=cells", "measure.space.name must be one of 'grid', 'particles', 'quantiles'"),
    ("measure.initial.deviation=0", "measure.initial.deviation must be above 0, got 0"),
    ("measure.initial.name=normal", "measure.initial.name must be one of 'gaussian'"),
    ("learning_rate=[[0,1.0],[5,2.0]]", "learning_rate must be a number with a measure"),
    ("processes.gradient_descent={}", "measure must be without processes, got both"),
    ("network.width=4", "measure must be without network, got both"),
    ("output.eigenvalues=2", "output.eigenvalues must be left out with a measure"),
]  # fmt: skip


@pytest.mark.parametrize(("override", "message"), BAD, ids=[override for override, _ in BAD])
def test_bad_settings(tmp_path, override, message):
    path = tmp_path / "measure.toml"
    path.write_text(TEXT)
    with pytest.raises(ConfigError) as error:
        load(path, (override,))
    assert message in str(error.value)


def test_a_tolerance_needs_a_duration():
    with pytest.raises(ConfigError, match=r"measure.duration must be given with a tolerance"):
        load_text(TEXT.replace("step_size = 0.05", "tolerance = 0.01"))


BAD_STARTS = [
    ({"density": -np.ones(60)}, "density must be at least 0, got -1"),
    ({"density": np.full(60, np.nan)}, "density must be finite, got NaN"),
    ({"density": np.zeros(60)}, "density must be above 0 somewhere"),
    ({"density": np.ones(50)}, r"density must have the shape of the grid \(60,\), got \(50,\)"),
    ({"other": np.ones(60)}, "must have an array 'density'"),
    (None, "there is no such file"),
]


@pytest.mark.parametrize(("arrays", "message"), BAD_STARTS)
def test_bad_starts_in_a_file(tmp_path, arrays, message):
    path = tmp_path / "start.npz"
    if arrays is not None:
        np.savez(path, **arrays)
    config = load_text(TEXT).replace(**{"measure.initial": {"name": "npz", "path": str(path)}})
    with pytest.raises(ValueError, match=message) as error:
        config.measure.build_start(0)
    assert str(error.value).startswith("measure.initial: ")


def test_laws_that_do_not_fit_the_space():
    far = load_text(TEXT).replace(
        **{"measure.initial": {"name": "uniform", "low": [8.0], "high": [9.0]}}
    )
    with pytest.raises(ValueError, match=r"measure.initial: it must have mass on the grid"):
        far.measure.build_start(0)
    mean = load_text(TEXT).replace(**{"measure.initial.mean": [0.0, 1.0]})
    with pytest.raises(
        ValueError, match="mean must be of as many numbers as there are coordinates, 1"
    ):
        mean.measure.build_start(0)
    caps = load_text(TEXT).replace(
        **{
            "measure.space": {"name": "particles", "count": 3, "dimension": 4},
            "measure.initial": {"name": "barenblatt"},
        }
    )
    with pytest.raises(ValueError, match="dimension must be at most 3 for this law, got 4"):
        caps.measure.build_start(0)


def test_a_start_is_one_of_the_solvers():
    kinds = {"grid": solvers.Grid, "particles": solvers.Particles, "quantiles": solvers.Quantiles}
    tables = {
        "grid": {"cells": [8, 8], "low": [-5, -5], "high": [5, 5]},
        "particles": {"count": 3, "dimension": 2},
        "quantiles": {"cells": 5},
    }
    for name, table in tables.items():
        config = load_text(TEXT).replace(**{"measure.space": {"name": name, **table}})
        assert isinstance(config.measure.build_start(0), kinds[name])


@pytest.mark.parametrize("scale", [1.0, 1e308, 1e-300])
def test_a_density_of_any_size_is_scaled_to_mass_one(tmp_path, scale):
    law = Npz(tmp_path / "start.npz")
    np.savez(tmp_path / "start.npz", density=scale * np.array([1.0, 0.0, 0.5, 0.5]))
    grid = law.on_grid((np.linspace(0, 1, 5),))
    np.testing.assert_allclose(grid.masses, [0.5, 0.0, 0.25, 0.25], rtol=1e-15)
