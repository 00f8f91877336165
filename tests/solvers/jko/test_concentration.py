"""Where mass gathers in spite of diffusion: a blow-up, with the law of the second moment, is told from a grid too coarse."""

import re

import numpy as np
import pytest

from solvers.jko.evolve import evolve
from solvers.jko.grid.steps import GridJKO
from solvers.jko.proximal_result import JKOError
from solvers.measures.energies import Energy, Entropy, Functional, Interaction, PowerEntropy
from solvers.measures.representations import Grid
from solvers.measures.terms import gaussian_interaction, log_interaction


def heap(cells, half=4.0):
    """A normal law of deviation 1 on a square."""
    edges = (np.linspace(-half, half, cells + 1),) * 2
    return Grid.from_density(edges, lambda x: np.exp(-0.5 * np.sum(x**2, axis=1)), 3)


def failure(energy: Energy, grid: Grid, step_size: float, **options) -> str:
    with pytest.raises(JKOError) as error:
        GridJKO(step_size, **options).step(energy, grid)
    return str(error.value)


@pytest.mark.parametrize("strength", [pytest.param(16.0, marks=pytest.mark.slow), 30.0, 120.0])
def test_a_step_longer_than_any_with_a_minimiser_names_the_blow_up_and_its_time(strength):
    """Second moments fall by 2a = s − 4 a unit of time; no step is longer than m₂/(4a), half of which is advised, and serves."""
    grid = heap(32)
    time = np.trace(grid.covariance()) / (strength - 4)
    told = failure(Entropy() + log_interaction(strength), grid, 1.2 * time)
    assert "blows up, as the energy has no lower bound where mass gathers" in told
    within, below = re.search(
        "within about (.*) from here; step_size must be below about (.*), got", told
    ).groups()
    assert float(within) == pytest.approx(time, rel=0.01)  # three digits
    assert float(below) == pytest.approx(time / 4, rel=0.01)
    step = GridJKO(float(below)).step(Entropy() + log_interaction(strength), grid)
    assert step.converged and step.excess < 0


@pytest.mark.parametrize("method", ["exact", "entropic"])
def test_steps_end_before_the_second_moment_would_vanish(method):
    """Of twice the critical strength: m₂ falls by 4 a unit of time, by no less in implicit steps, while cells resolve it."""
    grid, step_size = heap(24), 0.05
    time = np.trace(grid.covariance()) / 4
    result = evolve(
        Entropy() + log_interaction(8.0), grid, 2 * time, scheme=GridJKO(step_size, method=method)
    )
    assert result.status == "failed" and "the density blows up" in result.message
    moments = np.array([np.trace(measure.covariance()) for measure in result.measures])
    falls = -np.diff(moments[moments > 0.5 * moments[0]])
    assert len(falls) > 3 and np.all(falls > 4 * step_size * (1 - 1 / 24))
    assert result.times[-1] < time


@pytest.mark.parametrize(
    "attraction", [pytest.param("gaussian", marks=pytest.mark.slow), "cut off"]
)
def test_an_energy_with_a_lower_bound_does_not_blow_up(attraction):
    """Its mass gathers too, on fewer cells than the grid resolves; smaller cells resolve it, and say no more."""
    if attraction == "gaussian":
        energy = PowerEntropy(2.0) + gaussian_interaction(-200.0, 0.5)
    else:
        energy = Entropy() + Interaction(lambda r: 15 * np.log(np.sum(r**2, axis=1) + 1e-5))
    told = failure(energy, heap(32), 0.1)
    assert told.endswith("the density is finer than the grid; give smaller cells")


def test_of_a_functional_it_is_not_known():
    nothing = Functional(lambda x, masses: 0.0, lambda x, masses: np.zeros(len(x)))
    told = failure(Entropy() + log_interaction(30.0) + nothing, heap(32), 0.1)
    assert (
        "the density blows up, or is finer than the grid; give smaller cells to tell which" in told
    )


@pytest.mark.slow
def test_a_step_too_long_for_a_repulsion_asks_for_a_shorter_one():
    """Which helps, unlike more iterations or a larger tolerance."""
    energy, grid = Entropy() + gaussian_interaction(200.0, 0.5), heap(32)
    told = failure(energy, grid, 3.0)
    assert "give a smaller step_size" in told and "max_iterations" not in told
    assert "give a smaller step_size" in failure(energy, grid, 3.0, tolerance=1e-3)
    assert GridJKO(0.2).step(energy, grid).converged
