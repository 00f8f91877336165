"""The porous medium on large grids from t = 1 to 2, against Barenblatt's solution: both orders in τ, and the front."""

from itertools import pairwise
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
    "512 x 512": (2, 512, 8, (0.2, 0.1, 0.05), (0.2, 0.1, 0.05)),
    "64 x 64 x 64": (3, 64, 4, (0.25, 0.125, 0.0625), (0.25, 0.125, 0.0625)),
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


@pytest.mark.parametrize("order", [1, 2])
@pytest.mark.parametrize("exponent", [2.0, 3.0])
@pytest.mark.parametrize("size", SIZES)
def test_both_orders_and_the_front(size, exponent, order):
    """512² cells and 64³ take one to two CPU minutes each.

    The error in τ alone is measured on the same cells: from τ to τ/2 the end moves by a half, or three quarters, of it. What the
    scheme comes to without cells is known, and the end is as far from it as the cells err, whatever τ is; where that is little,
    its own distance to Barenblatt's solution falls as the error in τ does. The front is within a cell.
    """
    dimension, cells, nodes, *of_orders = SIZES[size]
    half, law = HALVES[dimension][exponent], Barenblatt(dimension, exponent)
    edges, side = (np.linspace(-half, half, cells + 1),) * dimension, 2 * half / cells
    start, exact = (law.grid(edges, t, nodes) for t in (1.0, 2.0))
    step_sizes = of_orders[order - 1]
    ends, without, of_cells = [], [], []
    for tau in step_sizes:
        run = evolve(PowerEntropy(exponent), start, 1.0, tau, order, save_every=10**6)
        assert run.status == "complete" and run.excesses.max() <= 1e-10
        ends.append(run.measures[-1])
        assert abs(ends[-1].masses.sum() - 1) < 1e-11
        own = law.grid(edges, time_of_scheme(law.beta, tau, order), nodes)
        without.append(apart(own, exact))
        of_cells.append(apart(ends[-1], own))
    errors = [apart(end, exact) for end in ends]
    in_tau = [apart(*pair) for pair in pairwise(ends)]
    front = (radius(ends[-1]) - law.front(2.0)) / side
    found = slope(step_sizes, errors), slope(step_sizes[:-1], in_tau)
    print_row(size, exponent, order, step_sizes, errors, in_tau, without, of_cells, found, front)
    assert max(of_cells) < OF_CELLS[size]
    if max(of_cells) < 0.3 * min(errors):
        assert found[0] == pytest.approx(order, abs=0.2)
    assert found[1] > order - 0.3
    if max(of_cells) < 2 * in_tau[-1]:
        assert found[1] == pytest.approx(order, abs=0.2)
    assert slope(step_sizes, without) == pytest.approx(order, abs=0.2)
    assert abs(front) < 1.0


def print_row(size, exponent, order, taus, errors, in_tau, without, of_cells, slopes, front):
    """As in docs/results/minimising_movements.md."""
    lists = [", ".join(f"{value:.1e}" for value in part) for part in (errors, in_tau, without)]
    of_tau = ", ".join(map(str, taus))
    row = [size, f"{exponent:g}", str(order), of_tau, lists[0], f"{slopes[0]:.2f}", lists[1]]
    row += [f"{slopes[1]:.2f}", lists[2], f"{max(of_cells):.1e}", f"{front:+.2f}"]
    print("\n| " + " | ".join(row).replace("e-0", "e-") + " |", flush=True)
