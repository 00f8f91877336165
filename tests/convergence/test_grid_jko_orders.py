"""The schemes on grids and quantiles are of first order in the step size, of second in the cells and in the regularisation."""

from functools import partial

import numpy as np
import pytest

from solvers import transport
from solvers.jko.grid import steps
from solvers.jko.quantile.steps import QuantileJKO
from solvers.measures.energies import Entropy, Interaction, Potential, PowerEntropy
from solvers.measures.representations import Grid, Quantiles

pytestmark = [pytest.mark.slow, pytest.mark.essential]

GridJKO = partial(steps.GridJKO, method="entropic", tolerance=1e-9)
HARMONIC = Potential(
    lambda x: 0.5 * np.sum(x**2, axis=1),
    lambda x: x,
    lambda x: np.tile(np.eye(x.shape[1]), (len(x), 1, 1)),
)
STEPS = [0.1, 0.05, 0.025]


def fitted_slope(sizes, errors):
    return np.polyfit(np.log(sizes), np.log(errors), 1)[0]


def end(scheme, energy, measure, time):
    for _ in range(round(time / scheme.step_size)):
        step = scheme.step(energy, measure)
        assert step.excess <= 1e-9
        measure = step.state
    return measure


def gaussian(edges, scale):
    """Masses ∝ the density at the centers: as points, of the variance scale² to 8 digits and more."""
    cells = [len(axis) - 1 for axis in edges]
    grid = Grid(edges, np.full(cells, 1 / np.prod(cells)))
    masses = np.exp(-0.5 * np.sum((grid.points / scale) ** 2, axis=1)).reshape(cells)
    return Grid(edges, masses / masses.sum())


def spread(measure):
    variances = np.diagonal(measure.covariance())
    return np.sqrt(variances - measure.cell_variances() if isinstance(measure, Grid) else variances)


def rest_quantiles(n):
    """Whose multiples are the discrete Gaussians: their standard deviation follows the exact recursion."""
    q = Quantiles(np.linspace(-2, 2, n + 1))
    for _ in range(3):
        q = QuantileJKO(1e9, tolerance=1e-9).step(HARMONIC + Entropy(), q).state
    return q


FLOWS = {
    "Ornstein-Uhlenbeck": (
        HARMONIC + Entropy(),
        1.5,
        lambda s, t: np.sqrt(1 + (s**2 - 1) * np.exp(-2 * t)),
    ),
    "heat": (Entropy(), 1.0, lambda s, t: np.sqrt(s**2 + 2 * t)),
}


@pytest.mark.parametrize("name", FLOWS)
def test_first_order_in_the_step_size_by_quantiles(name):
    energy, s, exact = FLOWS[name]
    start = Quantiles(s * rest_quantiles(40).values)
    errors = [
        abs(spread(end(QuantileJKO(tau), energy, start, 0.5))[0] - exact(s, 0.5)) for tau in STEPS
    ]
    assert fitted_slope(STEPS, errors) == pytest.approx(1.0, abs=0.2)


@pytest.mark.parametrize("name", FLOWS)
def test_first_order_in_the_step_size_on_a_grid(name):
    """Cells of 0.15, ε = 0.045: an error of (ε/s²)²/32 ≈ 5e-5 of the way in space, of 1e-2 in time."""
    energy, s, exact = FLOWS[name]
    start = gaussian((np.linspace(-9, 9, 121),), s)
    errors = [
        abs(spread(end(GridJKO(tau), energy, start, 0.5))[0] - exact(s, 0.5)) for tau in STEPS
    ]
    assert fitted_slope(STEPS, errors) == pytest.approx(1.0, abs=0.2)


@pytest.mark.slow
def test_first_order_in_the_step_size_in_the_plane():
    """An anisotropic Gaussian in an anisotropic bowl, each width against its own closed form."""
    bowl = Potential(lambda x: 0.5 * x[:, 0] ** 2 + x[:, 1] ** 2)
    scale, stiffness = np.array([1.4, 0.9]), np.array([1.0, 2.0])
    exact = np.sqrt(0.5 / stiffness + (scale**2 - 0.5 / stiffness) * np.exp(-2 * stiffness * 0.3))
    start = gaussian((np.linspace(-7, 7, 71), np.linspace(-5, 5, 51)), scale)
    steps = [0.1, 0.05, 0.025]
    errors = [
        np.abs(spread(end(GridJKO(t), bowl + Entropy(0.5), start, 0.3)) - exact) for t in steps
    ]
    for along_axis in np.transpose(errors):
        assert fitted_slope(steps, along_axis) == pytest.approx(1.0, abs=0.2)


def barenblatt(edges, t):
    """∂_t ρ = Δρ², ρ = t^(−1/3) (C − x² t^(−2/3)/12)₊, of mass one; cell averages by its antiderivative."""
    c = (3 / (4 * np.sqrt(12))) ** (2 / 3)
    front = np.sqrt(12 * c)
    xi = np.clip(edges * t ** (-1 / 3), -front, front)
    return Grid(edges, np.diff(c * (xi + front) - (xi**3 + front**3) / 36))


def test_first_order_in_the_step_size_through_the_porous_medium():
    """In W2 to Barenblatt's solution: 0.002 to 0.004 in time, 0.0005 in 600 quantiles or on 160 cells."""
    edges = np.linspace(-4, 4, 161)
    exact = barenblatt(np.linspace(-4, 4, 4001), 2.0)
    starts = {GridJKO: barenblatt(edges, 1.0)}
    starts[QuantileJKO] = Quantiles.of(barenblatt(np.linspace(-4, 4, 4001), 1.0), 600)
    for scheme, start in starts.items():
        errors = [
            transport.w2(end(scheme(tau), PowerEntropy(2.0), start, 1.0), exact).distance
            for tau in STEPS[:2]
        ]
        assert fitted_slope(STEPS[:2], errors) == pytest.approx(1.0, abs=0.2)


def test_first_order_in_the_step_size_through_an_aggregation():
    """W = x²/2 − |x|: q(t) = (2p − 1) + e^(−t) (q(0) − (2p − 1)), for quantiles of mean zero."""
    kernel = Interaction(
        lambda r: 0.5 * r[:, 0] ** 2 - np.abs(r[:, 0]),
        lambda r: r - np.sign(r),
        lambda r: np.ones((len(r), 1, 1)),
    )
    even = np.linspace(-1, 1, 31)
    start = Quantiles(2 * even + even**3)
    exact = even + np.exp(-1.0) * (start.values - even)
    errors = [
        np.abs(end(QuantileJKO(tau), kernel, start, 1.0).values - exact).max() for tau in STEPS
    ]
    assert fitted_slope(STEPS, errors) == pytest.approx(1.0, abs=0.2)


def test_second_order_in_the_regularization():
    """The spread after one long step against s' (1 + τ) − τ/s' = s; without debiasing, first order."""
    tau, s = 0.5, 1.2
    exact = (s + np.sqrt(s**2 + 4 * tau * (1 + tau))) / (2 * (1 + tau))
    start, epsilons = gaussian((np.linspace(-8, 8, 161),), s), [0.05, 0.1, 0.2]
    for debias, order in ((True, 2.0), (False, 1.0)):
        errors = [
            abs(
                spread(
                    GridJKO(tau, epsilon, debias=debias).step(HARMONIC + Entropy(), start).state
                )[0]
                - exact
            )
            for epsilon in epsilons
        ]
        assert fitted_slope(epsilons, errors) == pytest.approx(order, abs=0.2)


def test_second_order_in_the_cells():
    """From cell averages, the masses of a state in wells against those on cells at most a quarter in size, added up."""
    wells = Potential(lambda x: (x[:, 0] ** 2 - 1) ** 2)

    def state(cells):
        edges = np.linspace(-2.2, 2.2, cells + 1)
        start = Grid.from_density(edges, lambda x: np.exp(-2 * (x[:, 0] - 0.5) ** 2))
        return end(GridJKO(0.1), wells + Entropy(0.5), start, 0.2).masses

    reference, sizes = state(240), [30, 40, 60]
    errors = [np.abs(state(n) - reference.reshape(n, -1).sum(axis=1)).sum() for n in sizes]
    assert fitted_slope(1 / np.array(sizes), errors) == pytest.approx(2.0, abs=0.2)


def test_grid_and_quantiles_agree_in_wells():
    """Where there is no closed form: W2 between the two falls with the cells of both, like h of the grid's or faster."""
    wells = Potential(
        lambda x: (x[:, 0] ** 2 - 1) ** 2,
        lambda x: 4 * x * (x**2 - 1),
        lambda x: (12 * x**2 - 4)[..., None],
    )
    distances = []
    for cells in (60, 120, 240):
        start = Grid.from_density(
            np.linspace(-3, 3, cells + 1), lambda x: np.exp(-2 * (x[:, 0] - 0.5) ** 2)
        )
        energy = wells + Entropy(0.5)
        on_grid = end(GridJKO(0.1), energy, start, 1.0)
        by_quantiles = end(QuantileJKO(0.1), energy, Quantiles.of(start, 4 * cells), 1.0)
        distances.append(transport.w2(on_grid, by_quantiles).distance)
    assert distances[2] < 1e-2 and distances[0] > 1.4 * distances[1] > 1.96 * distances[2]
