"""The porous medium on large grids from t = 1 to 2, against Barenblatt's solution: both orders in τ, and the front."""

from math import gamma, pi

import numpy as np
import pytest
from scipy.optimize import brentq

from solvers import evolve
from solvers.measures.energies import PowerEntropy
from tests.convergence.test_exact_grid_jko_orders import Barenblatt

pytestmark = pytest.mark.slow

#: Dimension, cells along an axis, nodes of the means over cells, and τ of the first and of the second order.
SIZES = {
    "1001": (1, 1001, 8, (0.1, 0.05, 0.025), (0.2, 0.1, 0.05)),
    "256 x 256": (2, 256, 8, (0.2, 0.1, 0.05), (0.2, 0.1, 0.05)),
    "512 x 512": (2, 512, 8, (0.2, 0.1), (0.2, 0.1)),
    "64 x 64 x 64": (3, 64, 4, (0.25, 0.125), (0.25, 0.125)),
}
#: Of m: half a side of the domain, and how much the cells err by in L1 at most.
HALVES = {1: {2.0: 4.0, 3.0: 4.0}, 2: {2.0: 4.0, 3.0: 4.0}, 3: {2.0: 2.2, 3.0: 1.6}}
OF_CELLS = {"1001": 3e-4, "256 x 256": 3e-3, "512 x 512": 2e-3, "64 x 64 x 64": 3e-3}


def time_of_scheme(beta, tau, order):
    """The time at which Barenblatt's solution is what the scheme, without cells, comes to at t = 2.

    Its steps only change the scale s = t^β: E is a multiple of s^(−d(m − 1)), and W2 of |s − s'|, so that a step of size τ from s̃
    ends where s − s̃ = τ β s^(1 − 1/β).
    """

    def implicit(start, tau):
        def excess(s):
            return s - start - tau * beta * s ** (1 - 1 / beta)

        return brentq(excess, start, start + tau * beta, xtol=1e-15)

    before, here = 1.0, implicit(1.0, tau)
    for _ in range(round(1 / tau) - 1):
        beyond = here + (here - before) / 3
        following = implicit(here, tau) if order == 1 else implicit(beyond, 2 * tau / 3)
        before, here = here, following
    return here ** (1 / beta)


def apart(one, other):
    return float(np.abs(one.masses - other.masses).sum())


def slope(step_sizes, errors):
    return float(np.polyfit(np.log(step_sizes), np.log(errors), 1)[0])


def radius(grid):
    """Of the ball with the volume of the cells that are not empty."""
    d = grid.dimension
    volume = float(grid.volumes[grid.density > 1e-3].sum())
    return (volume * gamma(d / 2 + 1) / pi ** (d / 2)) ** (1 / d)


def test_the_scheme_without_cells_is_of_its_order():
    for dimension in (1, 2, 3):
        for exponent in (2.0, 3.0):
            beta = Barenblatt(dimension, exponent).beta
            for order in (1, 2):
                late = [abs(time_of_scheme(beta, tau, order) - 2.0) for tau in (0.1, 0.05, 0.025)]
                assert slope((0.1, 0.05, 0.025), late) == pytest.approx(order, abs=0.05)


@pytest.mark.parametrize("exponent", [2.0, 3.0])
@pytest.mark.parametrize("size", SIZES)
def test_both_orders_and_the_front(size, exponent):
    """512² cells and 64³ take about 35 CPU seconds each.

    What the scheme comes to without cells is known, and with an error of order τ or τ². The end is as far from it as the cells
    err, whatever τ is; where that is little, its own distance to Barenblatt's solution falls so. The front is within a cell.
    """
    dimension, cells, nodes, *of_orders = SIZES[size]
    half, law = HALVES[dimension][exponent], Barenblatt(dimension, exponent)
    edges, side = (np.linspace(-half, half, cells + 1),) * dimension, 2 * half / cells
    start, exact = (law.grid(edges, t, nodes) for t in (1.0, 2.0))
    for order, step_sizes in enumerate(of_orders, 1):
        errors, without, of_cells = [], [], []
        for tau in step_sizes:
            run = evolve(PowerEntropy(exponent), start, 1.0, tau, order, save_every=10**6)
            assert run.status == "complete" and run.excesses.max() <= 1e-10
            end = run.measures[-1]
            assert abs(end.masses.sum() - 1) < 1e-11
            own = law.grid(edges, time_of_scheme(law.beta, tau, order), nodes)
            errors.append(apart(end, exact))
            without.append(apart(own, exact))
            of_cells.append(apart(end, own))
        front = (radius(end) - law.front(2.0)) / side
        found = slope(step_sizes, errors), slope(step_sizes, without)
        row = size, f"{exponent:g}", order, step_sizes, errors, without, of_cells, found, front
        print("\n| " + " | ".join(map(str, row)) + " |")
        assert max(of_cells) < OF_CELLS[size]
        if max(of_cells) < 0.3 * min(errors):
            assert found[0] == pytest.approx(order, abs=0.2)
        assert found[1] == pytest.approx(order, abs=0.2)
        assert abs(front) < 1.0
