"""Mean and half difference of the gradients at w ± u, for |u| from the size of w to far below its rounding."""

from dataclasses import replace

import numpy as np
import pytest
from mpmath import mp, mpf
from torch import nn

import solvers
from meanfield import Risk, TorchObjective, TwoLayerNetwork
from meanfield.landscapes import MatrixFactorization
from meanfield.tasks import digits
from solvers.endpoints import endpoint_gradients
from solvers.objective import hessian_product, third

SIZES = 10.0 ** -np.arange(0, 300, 4)
# Where difference and product agree within 8 ε λ|w| one is as good as the other: of λ|u| that is the most where the cubic term,
# of order λ|u|³/|w|², is as large, at |u|/|w| = 2 ε^(1/3). That is 4 ε^(2/3); ten times that for the constants.
TOLERANCE = {"f8": 40 * np.finfo("f8").eps ** (2 / 3), "f4": 40 * np.finfo("f4").eps ** (2 / 3)}


class Cosh:
    """E = Σ_i c_i cosh(s_i (x_i − o_i)): derivatives of every order, and a length scale 1/s of its own per coordinate."""

    def __init__(self, scales, offsets=0.0, coefficients=1.0):
        self.s, self.o, self.c = np.asarray(scales), offsets, coefficients

    def value(self, x):
        return float(np.sum(self.c * np.cosh(self.s * (x - self.o))))

    def gradient(self, x):
        return (self.c * self.s * np.sinh(self.s * (x - self.o))).astype(x.dtype)

    def hvp(self, x, v):
        return (self.c * self.s**2 * np.cosh(self.s * (x - self.o)) * v).astype(x.dtype)

    def difference(self, w, u):
        """½(g₊ − g₋) = c s cosh(s(w − o)) sinh(su), to fifty digits."""
        with mp.workdps(50):
            terms = np.broadcast(self.c, self.s, self.o, w, u)
            return np.array([float(_difference(*map(mpf, map(float, row)))) for row in terms])


def _difference(c, s, o, w, u):
    return c * s * mp.cosh(s * (w - o)) * mp.sinh(s * u)


class WithoutProduct:
    def __init__(self, objective):
        self.value, self.gradient = objective.value, objective.gradient


@pytest.mark.parametrize("dtype", ["f8", "f4"])
@pytest.mark.parametrize(
    ("objective", "w"),
    [
        (Cosh([1.0]), [0.7]),
        (Cosh([1.0, 0.5, 2.0]), [0.7, -1.3, 0.4]),
        (Cosh([1.0, 1.0], [1.0, -2.0]), [1.2, -2.3]),
        (Cosh([1.0, 1e-3]), [0.5, 800.0]),
        (Cosh([0.3] * 8, 0.0, 1e6), np.linspace(-2, 2, 8)),
    ],
    ids=["one", "three", "shifted", "two scales", "steep"],
)
def test_the_difference_is_right_whatever_the_size_of_u(objective, w, dtype):
    w = np.array(w, dtype)
    direction = np.cos(np.arange(1.0, w.size + 1))
    for size in SIZES[10 * np.finfo(dtype).tiny < SIZES]:
        u = (size * direction).astype(dtype)
        exact = objective.difference(w, u)
        mean, difference = endpoint_gradients(objective, w, u)
        assert np.abs(difference - exact).max() <= TOLERANCE[dtype] * np.abs(exact).max(), size
        assert mean.dtype == difference.dtype == np.dtype(dtype)


@pytest.mark.parametrize("scale", [1e3, 1e5, 1e7])
def test_a_landscape_that_bends_on_a_short_length_is_not_taken_for_a_parabola(scale):
    """|u| far below |w|, yet of the length 1/s on which the gradient changes: the cubic term decides for the difference.

    What is lost then is the rounding of s (w − o), of order ε s|w|."""
    w, objective = np.array([1.0]), Cosh([scale], 1.0 - 0.5 / scale)
    for size in (3.0, 1.0, 0.1, 0.01):
        u = np.array([size / scale])
        exact = objective.difference(w, u)
        _, difference = endpoint_gradients(objective, w, u)
        lost = np.finfo(float).eps * scale / size
        assert difference[0] == pytest.approx(exact[0], rel=40 * lost ** (2 / 3) + 10 * lost)


def test_a_far_coordinate_does_not_matter_to_the_others():
    """A particle at 1e9 makes every |u| small beside max |w|."""
    objective, w = Cosh([1.0, 1.0, 1e-9]), np.array([0.7, -0.4, 1e9])
    for size in SIZES:
        u = size * np.array([1.0, 0.5, 0.0])
        exact = objective.difference(w, u)
        _, difference = endpoint_gradients(objective, w, u)
        np.testing.assert_allclose(difference, exact, rtol=TOLERANCE["f8"], atol=0)


def test_without_products_a_difference_of_its_own_takes_their_place():
    """A relative error of order ε^(2/3) everywhere, by the choice of its step."""
    objective, w = Cosh([1.0, 0.5, 2.0]), np.array([0.7, -1.3, 0.4])
    for size in SIZES:
        u = size * np.array([0.5, -0.8, 0.1])
        exact = objective.difference(w, u)
        _, difference = endpoint_gradients(WithoutProduct(objective), w, u)
        assert np.abs(difference - exact).max() <= TOLERANCE["f8"] * np.abs(exact).max(), size


@pytest.mark.parametrize(
    ("x", "v", "expected"),
    [
        ([1e-15, 6.0], [1.0, 0.0], [6.0, 0.0]),
        ([1e-12, 6.0], [1e-200, 0.0], [6e-200, 0.0]),
        ([1e8, 0.3], [0.0, 1.0], [0.0, -np.sin(0.3)]),
        ([0.0, 0.0], [0.0, 2.0], [0.0, 0.0]),
        ([1e4, 2.0], [0.0, 1e10], [0.0, -1e10 * np.sin(2.0)]),
    ],
)
def test_differences_of_gradients_near_and_far_from_the_origin(x, v, expected):
    """The valley where x is tiny, else x₁ + sin x₂; errors of order (ε(1 + max|x|))^(2/3)."""
    x, v = np.array(x), np.array(v)

    class Objective:
        def gradient(self, p):
            if abs(x[0]) < 1e-3 and x[1] == 6.0:
                return np.array([p[0] * p[1] + 1.5 * p[0] ** 2 - 0.01, 0.5 * p[0] ** 2 - 0.01])
            return np.array([1.0, np.cos(p[1])])

    relative = 10 * (np.finfo(float).eps * (1 + np.abs(x).max())) ** (2 / 3)
    found = hessian_product(Objective(), x, v)
    np.testing.assert_allclose(found, expected, rtol=relative, atol=relative * np.abs(v).max())


@pytest.mark.parametrize("far", [0.0, 1.0, 1e4, 1e8])
@pytest.mark.parametrize("size", [1.0, 1e-100, 1e-200])
def test_third_differences_near_and_far_from_the_origin(far, size):
    """E = x₁ + sin x₂: ∇³E[u, u] = −cos(x₂) u₂² e₂, errors of order (ε(1 + max|x|))^(1/2)."""

    class Objective:
        def gradient(self, p):
            return np.array([1.0, np.cos(p[1])])

    found = third(Objective(), np.array([far, 6.0]), np.array([0.0, size]))
    relative = 10 * np.sqrt(np.finfo(float).eps * (7 + far))
    assert found[1] == pytest.approx(-np.cos(6.0) * size**2, rel=relative, abs=0)
    assert found[0] == 0


def networks():
    task = digits(n=30)
    risk = Risk(TwoLayerNetwork(64), task)
    module = nn.Sequential(nn.Linear(64, 6), nn.GELU(), nn.Linear(6, 6), nn.GELU(), nn.Linear(6, 1))
    torch_objective = TorchObjective(module.double(), "squared", task.inputs, task.targets)
    chain = MatrixFactorization()
    return {
        "risk": (risk, risk.network.initialize(20, seed=3)),
        "torch": (torch_objective, torch_objective.initial()),
        "matrices": (chain, np.array(chain.start)),
    }


@pytest.mark.parametrize("name", ["risk", "torch", "matrices"])
def test_of_networks_the_difference_is_their_hessian_product_as_u_vanishes(name):
    objective, w = networks()[name]
    direction = np.cos(np.arange(1.0, w.size + 1)).reshape(w.shape)
    product = objective.hvp(w, direction)
    for size in (1e-6, 1e-9, 1e-13, 1e-17, 1e-40, 1e-160):
        mean, difference = endpoint_gradients(objective, w, size * direction)
        # At 1e-6 the cubic term is of order 1e-12 |w|⁻², and rounding as above.
        assert np.abs(difference / size - product).max() <= 1e-8 * np.abs(product).max()
        # The mean's term of order |u|² has a coefficient of order λ.
        assert np.abs(mean - objective.gradient(w)).max() <= 1e-10 * np.abs(product).max()


def test_what_is_not_finite_stays_so():
    w = np.array([1.0, np.inf])
    _, difference = endpoint_gradients(Cosh([1.0, 1.0]), w, np.array([1e-20, 1e-20]))
    assert not np.all(np.isfinite(difference))


FLOWS = {
    "endpoint": solvers.FreeEnergyFlow(1.0, fluctuation_floor=0.0),
    "taylor": solvers.FreeEnergyFlow(1.0, closure="taylor", fluctuation_floor=0.0),
    "exact": solvers.FreeEnergyFlow(1.0, growth="exact", fluctuation_floor=0.0),
    "edge": solvers.EdgeFlow(1.0),
}
RATES = {"endpoint": 0.5, "taylor": 0.5, "exact": np.log(1.5), "edge": 0.5}


@pytest.mark.parametrize("name", FLOWS)
@pytest.mark.parametrize("size", [1e-3, 1e-12, 1e-18, 1e-30, 1e-200])
def test_past_the_edge_a_fluctuation_of_any_size_grows_at_its_rate(name, size):
    """E = ½λ(x − 1)² + ½(y − 2)², ηλ = 2.5: u grows like e^{t/2}, with exact growth like 1.5^t; RK4 at dt = ½ leaves (½/2)⁵/120
    per step of that."""

    class Parabola:
        curvatures, lowest = np.array([2.5, 1.0]), np.array([1.0, 2.0])

        def value(self, x):
            return 0.5 * float(self.curvatures @ (x - self.lowest) ** 2)

        def gradient(self, x):
            return self.curvatures * (x - self.lowest)

        def hvp(self, x, v):
            return self.curvatures * v

    flow = FLOWS[name]
    # u_0 = (η/2)∇E(x_0), set to what is wanted
    start = solvers.solve(flow, Parabola(), np.array([1.5, 2.0]), 0).state
    values = start.values.copy()
    values[0] = Parabola.lowest
    if name == "edge":
        values[2] = np.log(size)
    else:
        values[1] = [size, 0.0]
    run = solvers.solve(flow, Parabola(), replace(start, values=values), 10)
    assert run.fluctuations[-1, 0] / size == pytest.approx(np.exp(10 * RATES[name]), rel=2e-4)


def test_the_saddle_of_minimising_movements_grows_below_rounding_too():
    """Implicit Euler: u ← u/(1 − τ(ηλ − 2))."""

    class Parabola:
        def value(self, x):
            return float(1.25 * np.mean(np.sum((x - 1.0) ** 2, axis=1)))

        def gradient(self, x):
            return 2.5 * (x - 1.0)

        def hvp(self, x, v):
            return 2.5 * v

    jko = solvers.JKO(0.25, learning_rate=1.0, saddle=True)
    for size in (1e-4, 1e-12, 1e-17, 1e-25):
        state = np.stack([np.ones((3, 1)), np.full((3, 1), size)])
        grown = jko.step(Parabola(), state).state[1]
        np.testing.assert_allclose(grown, size / (1 - 0.25 * 0.5), rtol=1e-6)
