"""The phase-space PDE against closed forms, direct sums and its own promises: order, mass, positivity, the domain's growth."""

import os
import subprocess
import sys
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from solvers.integrators import SchemeError
from solvers.phase_space.pde import PhaseSpacePDE
from tests.helpers.line_measures import EPS, Interaction, Quadratic, block, fitted_order, hump, l1

# --- the equation --------------------------------------------------------------------------------


@pytest.mark.parametrize(("limiter", "order"), [("mc", 2), ("upwind", 1)])
def test_linear_velocities_move_any_law_as_their_closed_form_does(limiter, order):
    """With κ = ηk: θ − E[θ] goes like e^(−κt), u − E[u] like e^((κ−2)t); the means do with κ = η(k + J)."""
    eta, k, j, t = 0.5, 3.0, 0.6, 0.4
    middle, radii = np.array([0.2, 0.15]), np.array([1.0, 0.9])
    moved = middle * np.exp([-eta * (k + j) * t, (eta * (k + j) - 2) * t])
    shrunk = radii * np.exp([-eta * k * t, (eta * k - 2) * t])
    cells, errors, risk = [64, 128, 256], [], Quadratic(k, j)
    for n in cells:
        pde = PhaseSpacePDE(eta, cells=(n, n), domain=((-1.2, 1.4), (-1.1, 1.3)), limiter=limiter)
        density, report = pde.advance(risk, pde.start(risk, hump(middle, radii)), t)
        errors.append(l1(density, pde.start(risk, hump(moved, shrunk))))
        assert report.growths == 0 and report.mass_error <= EPS * report.substeps
        assert density.masses.min() >= 0.0
    assert fitted_order(cells, errors) == pytest.approx(order, abs=0.2)


def test_diffusion_follows_ornstein_and_uhlenbeck():
    """Var θ = s² e^(−2ηkt) + (T/k) (1 − e^(−2ηkt)); by cells of equal mass at their centers, h²/12 less than it."""
    eta, k, temperature, s, t = 0.5, 1.0, 0.2, 0.3, 1.5
    pde = PhaseSpacePDE(eta, temperature, cells=(96, 8), domain=((-3.5, 3.5), (-0.3, 0.3)))
    risk = Quadratic(k)
    start = pde.start(risk, lambda theta, u: np.exp(-0.5 * (theta / s) ** 2) * (np.abs(u) < 0.1))
    density, report = pde.advance(risk, start, t)
    decay = np.exp(-2 * eta * k * t)
    exact = s**2 * decay + temperature / k * (1 - decay)
    # The scheme's error at order two, of which the cells' own width h²/12 is a part; h²/4 allows three of those.
    h = density.grid.spacings[0]
    found = density.masses.sum(axis=1) @ density.grid.theta_centers**2
    assert found == pytest.approx(exact, abs=h**2 / 4)
    assert report.mass_error <= EPS * report.substeps
    # What the fluxes do to F, those of the diffusion included, is what F does.
    change = density.free_energy(risk, eta) - start.free_energy(risk, eta)
    assert change == pytest.approx(report.dissipated, rel=1e-3)


def test_the_free_energy_changes_as_its_gradient_says():
    """dF/dt = −η∫(∂_θF')² dp + η∫(∂_uF')² dp, by direct sums over the cells, against the fluxes, and those against F."""
    eta, risk = 0.8, Interaction()
    pde = PhaseSpacePDE(eta, cells=(48, 48), domain=((-0.9, 1.5), (-1.1, 1.3)))
    start = pde.start(risk, hump((0.3, 0.1), (0.9, 0.8)))
    theta, u = np.meshgrid(start.grid.theta_centers, start.grid.u_centers, indexing="ij")
    m = start.masses.ravel()
    plus, minus = (
        risk.gradient((theta + s * u).reshape(-1, 1), m).reshape(theta.shape) for s in (1, -1)
    )
    rate = np.sum(
        start.masses
        * eta
        * ((0.5 * (plus - minus) - 2 * u / eta) ** 2 - 0.25 * (plus + minus) ** 2)
    )
    _, report = pde.advance(risk, start, 1e-4)
    assert report.dissipated / 1e-4 == pytest.approx(rate, rel=1e-2)
    density, report = pde.advance(risk, start, 1.0)
    change = density.free_energy(risk, eta) - start.free_energy(risk, eta)
    assert change == pytest.approx(report.dissipated, rel=1e-2)


def test_rough_data_stay_positive_and_keep_their_mass():
    pde = PhaseSpacePDE(0.8, cells=(40, 40), domain=((-1, 1.4), (-1, 1.2)))
    start = pde.start(Interaction(), block)
    assert np.count_nonzero(start.masses) < 0.2 * start.masses.size
    density, report = pde.advance(Interaction(), start, 2.0)
    assert density.masses.min() >= 0.0
    assert report.mass_error <= EPS * report.substeps


def test_the_same_advance_gives_the_same_bits():
    pde = PhaseSpacePDE(0.8, cells=(20, 20), domain=((-1, 1.4), (-1, 1.2)))
    ends = [pde.advance(Interaction(), pde.start(Interaction(), block), 0.5)[0] for _ in range(2)]
    assert np.array_equal(ends[0].masses, ends[1].masses)


def test_a_fixed_step_within_the_bound_is_taken_and_converges_at_order_two():
    """Of the masses on one grid, against a step far below; upwind, whose fluxes are smooth in the masses."""
    pde = PhaseSpacePDE(0.8, cells=(24, 16), domain=((-2.1, 2.7), (-1.5, 1.7)), limiter="upwind")
    start = pde.start(Interaction(), hump((0.3, 0.1), (0.9, 0.8)))
    reference = pde.advance(Interaction(), start, 0.5, dt=1 / 2048)[0]
    dts, errors = [1 / 64, 1 / 128, 1 / 256], []
    for dt in dts:
        density, report = pde.advance(Interaction(), start, 0.5, dt=dt)
        assert report.substeps == round(0.5 / dt)
        errors.append(l1(density, reference))
    assert np.polyfit(np.log(dts), np.log(errors), 1)[0] == pytest.approx(2, abs=0.2)


# --- the domain ----------------------------------------------------------------------------------


def test_the_domain_grows_where_mass_would_leave_and_changes_nothing_else():
    """A repelling potential: θ grows like e^(ηt). What leaves is that of a domain large from the start, of the same cells."""
    eta, risk = 1.0, Quadratic(-1.0)
    start = hump((0.1, 0.0), (0.5, 0.4))
    small = PhaseSpacePDE(eta, cells=(32, 32), domain=((-0.6, 0.8), (-0.7, 0.7)))
    large = PhaseSpacePDE(eta, cells=(256, 32), domain=((-5.5, 5.7), (-0.7, 0.7)))
    grown, report = small.advance(risk, small.start(risk, start), 1.0)
    wide, other = large.advance(risk, large.start(risk, start), 1.0)
    assert report.growths >= 1 and other.growths == 0
    assert grown.masses.shape[0] > 32 and grown.masses.shape[1] == 32
    # The rate on one side is at most the tolerance, or there is growth: two sides, one iteration.
    assert report.outflow <= 2 * small.outflow_tolerance
    assert report.mass_error <= EPS * report.substeps
    first = int(np.argmin(np.abs(wide.theta_edges - grown.theta_edges[0])))
    window = wide.masses[first : first + len(grown.masses)]
    assert np.abs(window - grown.masses).sum() <= 1e-6


def test_a_domain_that_may_not_grow_stops_the_run():
    pde = PhaseSpacePDE(1.0, cells=(32, 32), domain=((-0.6, 0.8), (-0.7, 0.7)), max_cells=1100)
    start = pde.start(Quadratic(-1.0), hump((0.1, 0.0), (0.5, 0.4)))
    with pytest.raises(SchemeError, match=r"θ from -0.6 to 0.8.* 1,536 cells would take .* GiB"):
        pde.advance(Quadratic(-1.0), start, 2.0)


def test_the_memory_is_what_is_stated():
    risk, cells = Quadratic(1.0), 400 * 400
    pde = PhaseSpacePDE(1.0, cells=(400, 400), domain=((-1, 1.5), (-1, 1)))
    start = pde.start(risk, block)
    tracemalloc.start()
    pde.advance(risk, start, 1e-3)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak <= 80 * cells


# --- what is refused -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"learning_rate": 0.0}, "learning_rate must be .*got 0.0"),
        ({"temperature": -1.0}, "temperature must be .*got -1.0"),
        ({"cells": (3, 20)}, "cells must be .*got 3"),
        ({"cells": (20.0, 20)}, "cells must be"),
        (
            {"cells": (4096, 4096)},
            r"cells must be fewer, got \(4096, 4096\): 16,777,216 cells would take 1.25 GiB, .*max_cells=4,194,304 with 0.312",
        ),
        ({"cfl": 1.0}, "cfl must be .*got 1.0"),
        ({"limiter": "superb"}, "limiter must be .*got 'superb'"),
        ({"domain": ((0, 1), (1, 1))}, "domain must be"),
        ({"domain": ((0, np.nan), (0, 1))}, "domain must be"),
        ({"outflow_tolerance": np.inf}, "outflow_tolerance"),
    ],
)
def test_bad_settings(kwargs, message):
    with pytest.raises(ValueError, match=message):
        PhaseSpacePDE(**({"learning_rate": 1.0} | kwargs))


def test_bad_starts():
    pde, risk = PhaseSpacePDE(1.0, cells=(8, 8), domain=((-1, 1), (-1, 1))), Quadratic(1.0)
    with pytest.raises(ValueError, match="x0 must be finite"):
        pde.start(risk, [0.0, np.nan])
    with pytest.raises(ValueError, match=r"x0 must have shape \(N, 1\).*got \(5, 2\)"):
        pde.start(risk, np.zeros((5, 2)))
    with pytest.raises(
        ValueError, match="centers must be between the centers of cells .*got 2.5 to 2.5"
    ):
        pde.start(risk, [5.0])
    with pytest.raises(ValueError, match="function must be a density, finite, at least 0"):
        pde.start(risk, lambda theta, u: theta)
    with pytest.raises(ValueError, match="domain must be given where x0 is a function, got None"):
        PhaseSpacePDE(1.0).start(risk, block)


def test_objectives_that_are_none_on_weighted_particles_of_one_dimension():
    from meanfield import Risk, TwoLayerNetwork, landscapes
    from meanfield.tasks import Task

    plane = Risk(TwoLayerNetwork(1), Task(np.ones((2, 1)), np.ones((2, 1)), "ones"))
    pde = PhaseSpacePDE(1.0, cells=(8, 8))
    for objective in (plane, landscapes.Valley(), object()):
        with pytest.raises(
            ValueError, match="objective must have .* for particles of one dimension"
        ):
            pde.start(objective, np.zeros((4, 1)))


def test_bad_times_and_steps():
    pde = PhaseSpacePDE(0.8, cells=(16, 16), domain=((-1, 1.4), (-1, 1.2)))
    start = pde.start(Interaction(), block)
    for time in (0.0, -1.0, np.nan, np.inf):
        with pytest.raises(ValueError, match="time must be"):
            pde.advance(Interaction(), start, time)
    with pytest.raises(ValueError, match="dt must be .*got -0.1"):
        pde.advance(Interaction(), start, 1.0, dt=-0.1)
    with pytest.raises(
        ValueError, match="dt must be at most 0.1.* for positive masses after .*got 0.5"
    ):
        pde.advance(Interaction(), start, 1.0, dt=0.5)


def test_a_velocity_that_is_not_finite_stops_the_run():
    class Blown(Quadratic):
        def gradient(self, x, weights=None, at=None):
            g = super().gradient(x, weights, at)
            return g if len(g) == 1 else g + np.nan

    pde = PhaseSpacePDE(1.0, cells=(8, 8), domain=((-1, 1), (-1, 1)))
    with pytest.raises(FloatingPointError, match="velocity is not finite"):
        pde.advance(Blown(1.0), pde.start(Blown(1.0), block), 1.0)


def small_run():
    """Masses after a short time, diffusion and unequal spacings included."""
    pde = PhaseSpacePDE(0.8, 0.01, cells=(8, 24), domain=((-0.9, 1.5), (-1.1, 1.3)))
    start = pde.start(Interaction(), hump((0.3, 0.1), (0.9, 0.8)))
    return pde.advance(Interaction(), start, 0.05)[0].masses


@pytest.mark.slow
@pytest.mark.essential
def test_the_kernels_as_plain_python_give_the_same(tmp_path):
    """With bounds checked: an index out of bounds raises there and passes silently compiled."""
    path = tmp_path / "masses.npy"
    command = (
        "import sys, numpy; from tests.solvers.phase_space.test_phase_space import small_run; "
    )
    command += "numpy.save(sys.argv[1], small_run())"
    environment = os.environ | {"NUMBA_DISABLE_JIT": "1"}
    root = Path(__file__).parents[3]
    subprocess.run([sys.executable, "-c", command, path], check=True, env=environment, cwd=root)
    # Compiled sums of products may be rounded once in place of twice.
    assert np.allclose(np.load(path), small_run(), rtol=0, atol=1e-14)
