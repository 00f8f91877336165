"""Steps that stop and go on end at the same bits."""

from itertools import islice, product

import numpy as np
import pytest

from solvers import Particles
from solvers.grid_transport.displacement import Displacement
from solvers.jko.march import March, Pace, Standing, array_of, with_array
from solvers.jko.movers import mover
from solvers.measures.energies import Entropy, Potential
from solvers.measures.representations import Grid, Quantiles
from tests.helpers.matrices import slow_unless

WELL = Potential(
    lambda x: 0.25 * np.sum((x**2 - 1) ** 2, axis=1),
    lambda x: x**3 - x,
    lambda x: np.einsum("ni,ij->nij", 3 * x**2 - 1, np.eye(x.shape[1])),
)
RNG = np.random.default_rng(4)
STARTS = {
    "grid": Grid.from_density(np.linspace(-3, 3, 61), lambda x: np.exp(-2 * (x[:, 0] - 0.4) ** 2)),
    "plane": Grid.from_density(
        (np.linspace(-3, 3, 21), np.linspace(-2, 2, 15)),
        lambda x: np.exp(-2 * np.sum((x - 0.4) ** 2, axis=1)),
        3,
    ),
    "quantiles": Quantiles(np.linspace(-1, 2, 31)),
    "particles": Particles(RNG.standard_normal((13, 2)), RNG.dirichlet(np.ones(13))),
}
PACES = {
    "order 1": Pace(0.5, 0.1),
    "order 2": Pace(0.5, 0.09, order=2),
    "order 1 by tolerance": Pace(0.5, tolerance=2e-3),
    "order 2 by tolerance": Pace(0.5, tolerance=2e-3, order=2),
}


def numbers(step):
    return (step.time, *step[2:9])


@pytest.mark.parametrize(
    ("name", "pace"),
    slow_unless(
        lambda name, pace: pace == "order 2 by tolerance" and name != "plane",
        list(product(STARTS, PACES)),
    ),
)
def test_a_march_that_stops_goes_on_to_the_same_bits(name, pace):
    """After every step in turn: what it stood at is packed, and another march unpacks it."""
    energy, start, pace = WELL + Entropy(0.1), STARTS[name], PACES[pace]
    whole = list(March(mover(energy, start, None, 1.0), start, pace).steps())
    assert whole[-1].time == 0.5
    for stop in {1, 2, len(whole) - 1}:
        march = March(mover(energy, start, None, 1.0), start, pace)
        steps = march.steps()
        first = list(islice(steps, stop))
        steps.close()
        there, values, rest = march.here.packed(march.mover)
        moving = mover(energy, start, None, 1.0)
        here = Standing.unpacked(moving, start, stop, (there, values.copy(), rest.copy()))
        others = list(March(moving, start, pace, here).steps())
        np.testing.assert_equal(
            [numbers(step) for step in whole], [numbers(step) for step in first + others]
        )
        for one, other in zip(whole, first + others, strict=True):
            np.testing.assert_array_equal(array_of(one.measure), array_of(other.measure))


def test_a_measure_with_other_masses_is_not_scaled():
    grid, masses = STARTS["grid"], STARTS["grid"].masses * (1 + 1e-14)
    np.testing.assert_array_equal(with_array(grid, masses).masses, masses)
    assert with_array(grid, masses).edges is grid.edges


def test_a_displacement_in_one_array():
    rng = np.random.default_rng(0)
    along = [rng.standard_normal(shape) for shape in [(4, 4, 5), (3, 5, 5), (3, 4, 6)]]
    moved = Displacement((0.1, 0.2, 0.3), along)
    again = Displacement.of_flat((3, 4, 5), moved.flat)
    np.testing.assert_array_equal(again.flat, moved.flat)
    np.testing.assert_array_equal(again.squares, moved.squares)


@pytest.mark.parametrize(
    ("t", "tau", "steps", "last"),
    [
        (1.0, 0.25, 4, 0.25),
        (1.0, 0.3, 4, 0.1),
        (0.3, 0.1, 3, 0.1),
        (0.05, 0.1, 1, 0.05),
        (0.2, 1e12, 1, 0.2),
    ],
)
def test_sizes_of_steps(t, tau, steps, last):
    pace = Pace(t, tau)
    assert pace.steps == steps and pace.size(steps - 1) == pytest.approx(last)
    assert sum(map(pace.size, range(steps))) == pytest.approx(t)
