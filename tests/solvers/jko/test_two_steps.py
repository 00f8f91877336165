"""Steps from two states, one at a time."""

import numpy as np
import pytest

from solvers.jko.particles.steps import JKO
from solvers.jko.proximal_result import JKOError
from solvers.jko.quantile.steps import QuantileJKO
from solvers.jko.two_steps import TwoSteps
from solvers.measures.energies import Entropy, Potential
from solvers.measures.representations import Quantiles
from tests.helpers.particle_energies import Quadratic, Wavy

BOWL = Potential(lambda x: 0.5 * x[:, 0] ** 2, lambda x: x, lambda x: np.ones((*x.shape, 1)))
NOW, BEFORE = np.array([[1.0, 2.0], [3.0, -1.0]]), np.array([[1.5, 2.0], [3.0, -2.0]])


def bdf2(now, before, tau, earlier, stiffness):
    """Of x' = −k x: the derivative at the new time of the parabola through the three points, by its own three conditions."""
    times = np.array([-earlier, 0.0, tau])
    slopes = np.linalg.solve(np.vander(times, 3, increasing=True).T, [0.0, 1.0, 2 * tau])
    return -(slopes[0] * before + slopes[1] * now) / (slopes[2] + stiffness)


@pytest.mark.parametrize("earlier", [None, 0.25, 0.3, 1.0])
def test_on_a_parabola_it_is_the_backward_differentiation_formula(earlier):
    tau, eta = 0.5, 0.7
    x = bdf2(NOW, BEFORE, tau, earlier or tau, eta)
    step = JKO(tau, eta).step(Quadratic(), NOW, earlier=BEFORE, earlier_step_size=earlier)
    assert step.state == pytest.approx(x, abs=1e-7)
    assert step.transport_cost == pytest.approx(np.mean(np.sum((x - NOW) ** 2, axis=1)), abs=1e-7)
    assert step.step_size == tau and step.plan_is_identity
    two = (Quantiles(q[:, 0]) for q in (NOW, BEFORE))
    q = QuantileJKO(tau, eta).step(BOWL, *two, earlier_step_size=earlier).state.values
    assert q == pytest.approx(bdf2(NOW[:, 0], BEFORE[:, 0], tau, earlier or tau, eta), abs=1e-10)


def test_the_sum_that_it_minimises_is_of_two_distances():
    """E + A W2² − B W2'² at the new state less its value at the old one, for steps of unequal size, is the excess."""
    tau, earlier, eta = 0.2, 0.3, 0.5
    rng = np.random.default_rng(0)
    now, before = (Quantiles(np.sort(rng.standard_normal(9))) for _ in range(2))
    energy = BOWL + Entropy(0.3)
    step = QuantileJKO(tau, eta).step(energy, now, before, earlier)
    r = tau / earlier
    c = (1 + 2 * r) / (2 * eta * tau * (1 + r))
    a, b = c * (1 + r * r / (1 + 2 * r)), c * r * r / (1 + 2 * r)

    def squared(x, y):
        left, right = (x.values - y.values)[:-1], (x.values - y.values)[1:]
        return np.mean(left**2 + left * right + right**2) / 3

    moved = (
        a * squared(step.state, now) - b * squared(step.state, before) + b * squared(now, before)
    )
    assert step.excess == pytest.approx(step.energy + moved - step.energy_before, rel=1e-10)
    assert step.excess < 0
    assert step.transport_cost == pytest.approx(squared(step.state, now), rel=1e-12)


def test_particles_that_change_places_are_compared_by_their_plan():
    """Two particles cross in the extrapolation: the new ones are in order again."""
    step = JKO(0.1).step(Quadratic(1e-6), [[0.0], [1.0]], earlier=[[-3.5], [4.5]])
    assert not step.plan_is_identity
    # the extrapolated ones, 7/6 and −1/6, move by 1e-6 times 0.1 in the potential
    assert np.sort(step.state.ravel()) == pytest.approx([-1 / 6, 7 / 6], abs=1e-6)
    # particle 0 is at −1/6, particle 1 at 7/6: each 1/6 from where they were
    assert step.transport_cost == pytest.approx(1 / 36, abs=1e-6)


def test_a_step_from_two_states_is_halved_too():
    energy, x = Wavy(3, 2), np.random.default_rng(1).standard_normal((6, 2))
    step = JKO(2.0, max_iterations=2).step(energy, x, earlier=x)
    assert step.substeps > 1 and step.converged and step.step_size == pytest.approx(2.0)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: JKO(1.0).step(Quadratic(), NOW, earlier=BEFORE, earlier_step_size=0.4),
            "earlier_step_size must be at least half of step_size = 1, got 0.4; the two-step formula",
        ),
        (
            lambda: JKO(1.0).step(Quadratic(), NOW, earlier_step_size=1.0),
            "earlier_step_size must be None where there is no earlier state, got 1.0",
        ),
        (
            lambda: JKO(1.0).step(Quadratic(), NOW, guess=NOW, earlier=BEFORE),
            "guess must be None where there is an earlier state",
        ),
        (
            lambda: JKO(1.0).step(Quadratic(), NOW, earlier=BEFORE[:1]),
            r"earlier must have shape \(2, 2\), got \(1, 2\)",
        ),
        (
            lambda: QuantileJKO(1.0).step(BOWL, Quantiles([0.0, 1.0]), Quantiles([0.0, 1.0, 2.0])),
            r"earlier must have shape \(2,\), got \(3,\)",
        ),
        (
            lambda: QuantileJKO(1.0).step(BOWL, Quantiles([0.0, 1.0]), earlier_step_size=1.0),
            "earlier_step_size must be None where there is no earlier state",
        ),
        (
            lambda: QuantileJKO(1.0).step(BOWL, Quantiles([0.0, 1.0]), [0.0, 1.0]),
            "earlier must be a Quantiles",
        ),
    ],
)
def test_bad_arguments(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_a_step_that_is_not_solved_says_so():
    with pytest.raises(JKOError, match="a larger tolerance"):
        QuantileJKO(1.0, max_iterations=1).step(
            Entropy(), Quantiles([0.0, 0.1, 1.0]), Quantiles([0.0, 0.2, 1.0])
        )


def test_coefficients_of_equal_steps():
    two = TwoSteps.of(0.3, None)
    assert two.beyond == pytest.approx(1 / 3) and two.shorter == pytest.approx(0.2)
