"""The parts of an iteration of the entropic scheme on grids, each against its equation."""

import numpy as np
import pytest
from scipy.special import logsumexp

from solvers.jko.grid.energy import GridEnergy
from solvers.jko.grid.scaling import GaussianKernel, self_potential
from solvers.measures.energies import PowerEntropy
from solvers.measures.representations import Grid


@pytest.mark.parametrize("dimension", [1, 2])
def test_log_sums_far_below_underflow(dimension):
    """Against SciPy's logsumexp over all pairs, of logarithms down to −1e5 and −∞ between cells up to exp(−3000) apart."""
    edges = (np.linspace(0, 9, 46), np.linspace(0, 1, 8))[:dimension]
    grid = Grid(
        edges, np.full([len(axis) - 1 for axis in edges], 1 / np.prod([len(a) - 1 for a in edges]))
    )
    logs = -(10.0 ** np.random.default_rng(0).uniform(-2, 5, grid.masses.shape))
    logs[:10] = logs[30:] = -np.inf
    pairs = -np.sum((grid.points[:, None] - grid.points) ** 2, axis=2) / 0.027 + logs.ravel()
    expected = logsumexp(pairs, axis=1).reshape(logs.shape)
    np.testing.assert_allclose(GaussianKernel(grid, 0.027)(logs), expected, rtol=1e-13, atol=1e-14)


def test_the_own_potential_of_a_measure_with_vacuum():
    """d · K d = m."""
    masses = np.maximum(0.0, 1 - np.linspace(-2, 2, 80) ** 2)
    grid = Grid(np.linspace(0, 8, 81), masses / masses.sum())
    with np.errstate(divide="ignore"):
        logs = np.log(grid.masses)
    d = np.exp(self_potential(GaussianKernel(grid, 0.05), logs, 0.5 * logs))
    kernel = np.exp(-(np.subtract.outer(grid.centers[0], grid.centers[0]) ** 2) / 0.05)
    np.testing.assert_allclose(d * (kernel @ d), grid.masses, rtol=0, atol=1e-14)


@pytest.mark.parametrize("exponent", [0.5, 2.0, 3.0])
def test_the_proximal_map_of_a_power(exponent):
    """u + σ k q/(q − 1) (e^u/|c|)^(q−1) = log s + λ with one λ, masses of sum one, from any λ before."""
    grid = Grid(np.linspace(0, 4, 41), np.full(40, 1 / 40))
    log_s = -(np.linspace(-3, 20, 40) ** 2)
    energy = GridEnergy(PowerEntropy(exponent, 0.7), grid)
    u, multiplier = energy.log_prox(log_s, 5.0)
    left = u + 3.5 * exponent / (exponent - 1) * (np.exp(u) / 0.1) ** (exponent - 1) - log_s
    assert np.ptp(left) < 1e-11 * np.abs(left).max() + 1e-11
    assert np.exp(u).sum() == pytest.approx(1.0, abs=1e-13)
    for start in (multiplier, multiplier + 0.1, 3.0):
        again, _ = energy.log_prox(log_s, 5.0, start)
        np.testing.assert_allclose(again, u, rtol=1e-12, atol=1e-11)
