import itertools

import numpy as np
import pytest

import solvers
from tests.helpers.landscapes import Quadratic, Valley, WithoutThird
from tests.helpers.matrices import slow_unless


class Offset:
    """½⟨x − o, H (x − o)⟩: the rounding of x is that of its offset."""

    def __init__(self, hessian, offset):
        self.hessian, self.offset = hessian, offset

    def value(self, x):
        return 0.5 * float((x - self.offset) @ self.hessian @ (x - self.offset))

    def gradient(self, x):
        return (self.hessian @ (x - self.offset.astype(x.dtype))).astype(x.dtype)

    def hvp(self, x, v):
        return (self.hessian @ v).astype(x.dtype)


CENTER, U = np.array([0.3, 5.0]), np.array([[0.02, 0.01], [-0.03, 0.04]])


@pytest.mark.parametrize("closure", ["endpoint", "taylor"])
@pytest.mark.parametrize("rank", [1, 2])
def test_gradient_is_that_of_the_value(closure, rank):
    """Central differences with h = 1e-5 leave h² ≈ 1e-10 times third derivatives of order 10."""
    energy = solvers.FreeEnergy(Valley(), 0.3, closure)
    u = U[0] if rank == 1 else U
    gradients = energy.gradient(CENTER, u)
    h = 1e-5
    for which, gradient in enumerate(gradients):
        for index in np.ndindex(gradient.shape):
            step = [np.zeros(2), np.zeros_like(u)]
            step[which][index] = h
            plus = energy.value(CENTER + step[0], u + step[1])
            minus = energy.value(CENTER - step[0], u - step[1])
            assert gradient[index] == pytest.approx((plus - minus) / (2 * h), abs=1e-8)


def test_the_closures_agree_to_fourth_order_in_u():
    """E here is cubic, so its endpoint mean has no term beyond the second: the closures are equal."""
    for u in (U[0], U):
        endpoint, taylor = (solvers.FreeEnergy(Valley(), 0.3, c) for c in ("endpoint", "taylor"))
        assert endpoint.value(CENTER, u) == pytest.approx(taylor.value(CENTER, u), rel=1e-13)


def test_zero_fluctuations_add_nothing():
    energy = solvers.FreeEnergy(Valley(), 0.3)
    padded = np.stack([U[0], np.zeros(2)])
    assert energy.value(CENTER, padded) == pytest.approx(energy.value(CENTER, U[0]), rel=1e-14)


def test_the_third_derivative_from_gradients():
    """Relative error √ε of the difference, by its step's choice; a factor of ten for its constant."""
    exact = solvers.FreeEnergy(Valley(), 0.3, "taylor").gradient(CENTER, U)
    differenced = solvers.FreeEnergy(WithoutThird(Valley()), 0.3, "taylor").gradient(CENTER, U)
    size = np.abs(exact[0]).max()
    assert np.allclose(differenced[0], exact[0], rtol=0, atol=1.5e-7 * size)


def test_splitting_the_fluctuation_keeps_its_trace_and_its_sum():
    rng = np.random.default_rng(2)
    root = rng.standard_normal((30, 30))
    objective, x0 = Quadratic(root @ root.T / 30), rng.standard_normal(30)
    whole = solvers.FreeEnergyFlow(0.5).start(objective, x0)
    split = solvers.FreeEnergyFlow(0.5, rank=3).start(objective, x0)
    assert split.shape == (4, 30)
    assert np.allclose(split[1:].sum(axis=0), whole[1], rtol=0, atol=1e-13)
    gram = split[1:] @ split[1:].T
    assert np.allclose(gram, np.diag(np.diag(gram)), rtol=0, atol=1e-6 * np.trace(gram))
    assert np.trace(gram) == pytest.approx(whole[1] @ whole[1], rel=1e-6)


def test_several_fluctuations_on_a_quadratic_each_follow_the_linear_law():
    objective = Quadratic(np.diag([3.0, 2.0, 0.5]))
    flow = solvers.FreeEnergyFlow(0.7, rank=2)
    integrator = solvers.Adaptive(rtol=1e-10, atol=1e-14)
    run = solvers.solve(flow, objective, np.ones(3), steps=3, integrator=integrator)
    rates = 0.7 * np.array([3.0, 2.0, 0.5]) - 2.0
    expected = run.fluctuations[0] * np.exp(3 * rates)
    assert run.fluctuations.shape == (4, 2, 3)
    assert np.allclose(run.fluctuations[-1], expected, rtol=0, atol=1e-9)


def test_the_floor_holds():
    valley, x0 = Valley(), np.array([0.0, 3.0])
    free = solvers.solve(solvers.FreeEnergyFlow(0.3, fluctuation_floor=0), valley, x0, steps=60)
    held = solvers.solve(solvers.FreeEnergyFlow(0.3, fluctuation_floor=1e-6), valley, x0, steps=60)
    assert free.fluctuation_trace[-1] < 1e-12
    assert np.sqrt(held.fluctuation_trace.min()) == pytest.approx(1e-6, rel=1e-12)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("rank", "dtype"),
    slow_unless(
        lambda rank, dtype: (rank, dtype) == (2, "f4"), itertools.product([1, 2], ["f8", "f4"])
    ),
)
def test_below_the_edge_the_noise_is_gradient_descents_rounding(rank, dtype):
    """With unit steps u_{k+1} = (ηλ − 1) u_k + ξ, of variance ulp²/12 / (1 − (ηλ − 1)²), the same as the rounded iterates'.

    Over n steps of correlation ρ = (ηλ − 1)² the variance of that estimate is 2/n (1 + ρ)/(1 − ρ), relative; four deviations."""
    product, steps = 1.6, 4000
    objective = Offset(np.diag([product, 1.0]), np.array([1.3, 0.7]))
    x0 = np.array([1.31, 0.69], dtype)
    flow = solvers.FreeEnergyFlow(1.0, rank=rank, seed=3)
    run = solvers.solve(flow, objective, x0, steps, integrator=solvers.Euler())
    along = run.fluctuations.reshape(steps + 1, rank, 2)[500:, :, 0].astype("f8")
    rho = (product - 1.0) ** 2
    expected = float(np.spacing(np.array(1.3, dtype))) ** 2 / 12 / (1 - rho)
    deviation = np.sqrt(2 / len(along) * (1 + rho) / (1 - rho))
    assert np.mean(np.sum(along**2, axis=1)) / expected == pytest.approx(1, abs=4 * deviation)


def test_the_noise_is_that_of_its_seed_and_goes_on_from_a_state():
    objective, x0 = Offset(np.diag([1.6, 1.0]), np.array([1.3, 0.7])), np.array([1.31, 0.69])

    def run(seed, x0, steps, delay):
        flow = solvers.FreeEnergyFlow(1.0, delay=delay, seed=seed)
        return solvers.solve(flow, objective, x0, steps)

    for delay in (False, True):
        whole, half = run(5, x0, 120, delay), run(5, x0, 60, delay)
        np.testing.assert_array_equal(
            whole.fluctuations[60:], run(5, half.state, 60, delay).fluctuations
        )
        assert np.any(whole.fluctuations[-1] != run(6, x0, 120, delay).fluctuations[-1])


def test_a_coordinate_that_never_moves_is_not_rounded():
    """Nor is one that gradient descent leaves where it is: its gradient is zero, and x − 0 exact."""
    objective = Offset(np.diag([1.5, 0.0]), np.array([1.3, 0.7]))
    run = solvers.solve(solvers.FreeEnergyFlow(1.0), objective, np.array([1.31, 0.9]), steps=80)
    assert np.all(run.fluctuations[:, 1] == 0)
    assert np.all(run.fluctuations[-1, 0] != 0)


def test_a_fluctuation_of_zero_stays_zero():
    """A start at a stationary point: there is no oscillation to grow, nor a division by |u| = 0."""
    for growth in ("linear", "exact"):
        flow = solvers.FreeEnergyFlow(1.0, growth=growth)
        run = solvers.solve(flow, Quadratic(np.diag([3.0, 1.0])), np.zeros(2), steps=5)
        assert np.all(run.fluctuations == 0)


def test_tiny_fluctuations_are_carried_to_the_underflow():
    """|u|² underflows 150 decades before |u| does; the growth must not notice."""
    flow = solvers.FreeEnergyFlow(1.0, growth="exact")
    state = np.array([[0.0], [1e-200]])
    velocity, _ = flow.rates(Quadratic(np.array([[1.5]])), 0.0, state)
    assert velocity[1, 0] == pytest.approx(np.log(0.5) * 1e-200, rel=1e-12)


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"closure": "end"}, "closure must be .*got 'end'"),
        ({"growth": "fast"}, "growth must be .*got 'fast'"),
        ({"rank": 0}, "rank must be .*got 0"),
        ({"fluctuation_floor": -1.0}, "fluctuation_floor must be .*got -1.0"),
        ({"seed": -1}, "seed must be an integer from 0"),
        ({"seed": 0.5}, "seed must be an integer from 0"),
    ],
)
def test_bad_options(kwargs, message):
    with pytest.raises(ValueError, match=message):
        solvers.FreeEnergyFlow(0.1, **kwargs)


def test_bad_shapes():
    with pytest.raises(ValueError, match="fluctuation must have shape"):
        solvers.FreeEnergy(Valley(), 0.1).value(CENTER, np.ones(3))
    with pytest.raises(ValueError, match="rank must be at most x0.size = 2, got 3"):
        solvers.solve(solvers.FreeEnergyFlow(0.1, rank=3), Valley(), CENTER, steps=1)
