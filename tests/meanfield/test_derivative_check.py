"""`check_objective`: what is wrong is found, what is right passes, kinks and rounding included."""

import numpy as np
import pytest

import meanfield
from meanfield import check_objective
from meanfield.landscapes import LANDSCAPES, Landscape

START = np.array([0.3, -1.2, 0.7, 2.0])


class Correct:
    """¼ Σ x_i⁴ + ½ (Σ x_i x_{i+1})², of any shape."""

    def pair(self, x, v):
        return float(np.sum(x * np.roll(v, 1)))

    def neighbours(self, v):
        return np.roll(v, 1) + np.roll(v, -1)

    def value(self, x):
        return 0.25 * float(np.sum(x**4)) + 0.5 * self.pair(x, x) ** 2

    def gradient(self, x):
        return x**3 + self.pair(x, x) * self.neighbours(x)

    def hvp(self, x, v):
        slope = self.neighbours(x)
        return 3 * x**2 * v + np.sum(slope * v) * slope + self.pair(x, x) * self.neighbours(v)

    def third(self, x, u):
        slope, along = self.neighbours(x), self.neighbours(u)
        return 6 * x * u**2 + np.sum(along * u) * slope + 2 * np.sum(slope * u) * along


class FactorInGradient(Correct):
    def gradient(self, x):
        return 1.001 * super().gradient(x)


class ForgottenDecay(Correct):
    """The value has a term that the gradient has not."""

    def value(self, x):
        return super().value(x) + 0.01 * float(np.sum(x**2))


class MinusInHessian(Correct):
    def hvp(self, x, v):
        return -super().hvp(x, v)


class GaussNewton(Correct):
    def hvp(self, x, v):
        slope = self.neighbours(x)
        return 3 * x**2 * v + np.sum(slope * v) * slope


class FrozenHessian(Correct):
    """That of the first point it is asked about."""

    def hvp(self, x, v):
        if not hasattr(self, "at"):
            self.at = x.copy()
        return super().hvp(self.at, v)


class HalfOfThird(Correct):
    def third(self, x, u):
        return 0.5 * super().third(x, u)


class WrongOffTheStart(Correct):
    """Right at the start and wherever the last coordinate is as there."""

    def third(self, x, u):
        return super().third(x, u) + (x[-1] - START[-1]) * u


class WrongInOneCoordinate(Correct):
    def gradient(self, x):
        gradient = super().gradient(x)
        gradient[0] *= 1.05
        return gradient


WRONG = {
    FactorInGradient: "gradient must be the derivative of objective.value",
    ForgottenDecay: "gradient must be the derivative of objective.value",
    WrongInOneCoordinate: "gradient must be the derivative of objective.value",
    MinusInHessian: "hvp must be the derivative of objective.gradient, got one that differs by 200.0%",
    GaussNewton: "hvp must be the derivative of objective.gradient",
    FrozenHessian: "hvp must be the derivative of objective.gradient",
    HalfOfThird: "third must be the derivative of objective.hvp, got one that differs by 50.0%",
    WrongOffTheStart: "third must be the derivative of objective.hvp",
}


@pytest.mark.parametrize("kind", WRONG)
@pytest.mark.parametrize("seed", range(5))
def test_wrong_derivatives_are_found(kind, seed):
    with pytest.raises(ValueError, match=f"^objective.{WRONG[kind]}"):
        check_objective(kind(), START, seed)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(
    "x",
    [START, 0 * START, 1e6 * START, 1e-9 * START, START.reshape(2, 2), [1e8, 1.0, 1e-6], [1, 2]],
)
def test_right_derivatives_pass(x, seed):
    found = check_objective(Correct(), x, seed)
    assert set(found) == {"gradient", "hvp", "third"}
    # the rounding of differences with a step of 1e-7, with room for cancellation
    assert all(difference < 1e-5 for difference in found.values())


def test_what_an_objective_does_not_have_is_not_checked():
    class OnlyGradient:
        value, gradient = Correct().value, Correct().gradient

    assert set(check_objective(OnlyGradient(), START)) == {"gradient"}


@pytest.mark.parametrize("name", LANDSCAPES)
def test_landscapes_pass(name):
    landscape = LANDSCAPES[name]()
    found = check_objective(landscape, landscape.start)
    assert max(found.values()) < 1e-6


@pytest.mark.parametrize("derivatives", ["complex", "differences"])
def test_landscapes_of_functions_pass(derivatives):
    landscape = Landscape(
        lambda x: np.sum(np.cos(x) * x[::-1] ** 2) + np.exp(x[0] / 3), derivatives=derivatives
    )
    for seed in range(5):
        check_objective(landscape, [1.0, 2.0, 0.3], seed)


# The kernels of single precision take seconds to compile.
@pytest.mark.parametrize(
    ("inputs", "dtype"),
    [(2, "float64"), pytest.param(40, "float32", marks=[pytest.mark.slow, pytest.mark.essential])],
)
def test_risks_pass_in_their_own_inner_product(inputs, dtype):
    task = meanfield.tasks.teacher_student(n=20, input_dim=inputs)
    risk = meanfield.Risk(meanfield.TwoLayerNetwork(inputs), task, weight_decay=0.01, dtype=dtype)
    found = check_objective(risk, risk.network.initialize(n_particles=9, seed=0))
    assert max(found.values()) < 1e-6


def test_a_gradient_without_its_inner_product_is_found():
    task = meanfield.tasks.teacher_student(n=20, input_dim=2)
    risk = meanfield.Risk(meanfield.TwoLayerNetwork(2), task)

    class Forgotten:
        value, gradient = risk.value, risk.gradient

    with pytest.raises(ValueError, match="objective.gradient must be the derivative"):
        check_objective(Forgotten(), risk.network.initialize(n_particles=9, seed=0))


PHI = {
    "relu": (lambda z: np.maximum(z, 0), lambda z: z > 0),
    "hardtanh": (lambda z: np.clip(z, -1, 1), lambda z: np.abs(z) < 1),
    "leaky": (lambda z: np.where(z > 0, z, 0.1 * z), lambda z: np.where(z > 0, 1, 0.1)),
    "absolute": (np.abs, np.sign),
    "relu6": (lambda z: np.clip(z, 0, 6), lambda z: (z > 0) & (z < 6)),
}


class Rectified:
    """½ mean (Σ_i a_i φ(w_i·x_k) − y_k)² with a φ that has kinks, in a precision of its own."""

    def __init__(self, name, neurons, samples, dtype, seed):
        rng = np.random.default_rng(seed)
        self.dtype, self.neurons = np.dtype(dtype).type, neurons
        self.inputs = rng.standard_normal((samples, 4)).astype(dtype)
        self.targets = rng.standard_normal(samples).astype(dtype)
        self.phi, self.slope = PHI[name]

    def parts(self, x):
        x = np.asarray(x, self.dtype).reshape(self.neurons, 5)
        return x[:, 0], x[:, 1:]

    def forward(self, x):
        a, w = self.parts(x)
        z = self.inputs @ w.T
        residual = (self.phi(z) @ a - self.targets) / self.dtype(len(self.targets))
        return a, z, self.slope(z).astype(self.dtype), residual

    def value(self, x):
        residual = self.forward(x)[-1].astype(np.float64)
        return 0.5 * len(residual) * float(residual @ residual)

    def stacked(self, of_a, of_w):
        return np.column_stack([of_a, of_w]).ravel()

    def gradient(self, x):
        a, z, slope, r = self.forward(x)
        return self.stacked(self.phi(z).T @ r, (slope * np.outer(r, a)).T @ self.inputs)

    def hvp(self, x, v):
        a, z, slope, r = self.forward(x)
        b, v = self.parts(v)
        dphi = slope * (self.inputs @ v.T)
        dr = (dphi @ a + self.phi(z) @ b) / self.dtype(len(r))
        turned = slope * (np.outer(dr, a) + np.outer(r, b))
        return self.stacked(self.phi(z).T @ dr + dphi.T @ r, turned.T @ self.inputs)


@pytest.mark.parametrize("name", PHI)
@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize(("neurons", "samples"), [(3, 4), (30, 50), (60, 200)])
@pytest.mark.parametrize("seed", range(3))
def test_kinks_raise_no_alarm(name, dtype, neurons, samples, seed):
    objective = Rectified(name, neurons, samples, dtype, seed)
    x = np.random.default_rng(seed).standard_normal(5 * neurons)
    found = check_objective(objective, x, seed)
    assert found["gradient"] < 0.01
    if dtype == "float64":
        assert found["hvp"] < 1e-4


@pytest.mark.parametrize("name", PHI)
@pytest.mark.parametrize("neurons", [3, 60])
def test_errors_beside_kinks_are_found(name, neurons):
    class Wrong(Rectified):
        def hvp(self, x, v):
            return 1.02 * super().hvp(x, v)

    objective = Wrong(name, neurons, 3 * neurons, "float64", 0)
    with pytest.raises(ValueError, match="objective.hvp"):
        check_objective(objective, np.random.default_rng(1).standard_normal(5 * neurons))


class Single(Correct):
    """Computes in float32, whatever it is given."""

    def gradient(self, x):
        return super().gradient(x.astype(np.float32))

    def hvp(self, x, v):
        return super().hvp(x.astype(np.float32), v.astype(np.float32))

    def third(self, x, u):
        return super().third(x.astype(np.float32), u.astype(np.float32))


@pytest.mark.parametrize("seed", range(5))
def test_float32_is_no_error_and_gross_errors_are_found_in_it(seed):
    class Shifted(Single):
        def gradient(self, x):
            return np.float32(1.1) * super().gradient(x)

    class Minus(Single):
        def hvp(self, x, v):
            return -super().hvp(x, v)

    found = check_objective(Single(), START, seed)
    assert max(found.values()) < 1e-2
    with pytest.raises(ValueError, match=r"objective.gradient .* 9\.\d%|objective.gradient .* 10"):
        check_objective(Shifted(), START, seed)
    with pytest.raises(ValueError, match="objective.hvp"):
        check_objective(Minus(), START, seed)


@pytest.mark.parametrize("seed", range(5))
def test_noise_decides_nothing(seed):
    rng = np.random.default_rng(seed)

    class Stochastic(Correct):
        """Gradients of random samples, with an exact value."""

        def gradient(self, x):
            return super().gradient(x) * (1 + 0.3 * rng.standard_normal())

        def hvp(self, x, v):
            return super().hvp(x, v) + 0.1 * rng.standard_normal(x.shape)

    found = check_objective(Stochastic(), START, seed)
    assert np.isnan(found["gradient"]) and np.isnan(found["hvp"])


def test_points_are_drawn_where_the_objective_is_finite():
    class Barrier:
        """x − log x: only defined for x > 0."""

        def value(self, x):
            return float(np.sum(x - np.log(x)))

        def gradient(self, x):
            return 1 - 1 / np.where(x > 0, x, np.nan)

    for seed in range(10):
        assert check_objective(Barrier(), np.linspace(0.1, 1, 20), seed)["gradient"] < 1e-6

    class Nowhere(Barrier):
        def value(self, x):
            return np.nan

    assert np.isnan(check_objective(Nowhere(), np.ones(3))["gradient"])


def test_linear_and_constant_objectives_pass():
    class Linear:
        def value(self, x):
            return float(np.sum(x * np.arange(1, 5)) + 7)

        def gradient(self, x):
            return np.arange(1.0, 5)

        def hvp(self, x, v):
            return np.zeros(4)

    assert max(check_objective(Linear(), START).values()) < 1e-6

    class Constant(Linear):
        def value(self, x):
            return 3.0

        def gradient(self, x):
            return np.zeros(4)

    assert max(check_objective(Constant(), START).values()) == 0


def test_arrays_that_are_reused_and_arguments_that_are_written_to():
    class Reusing(Correct):
        def __init__(self):
            self.array = np.empty(4)

        def gradient(self, x):
            self.array[:] = super().gradient(x)
            return self.array

        def hvp(self, x, v):
            self.array[:] = super().hvp(x, v)
            return self.array

    assert max(check_objective(Reusing(), START).values()) < 1e-6

    class Writing(Correct):
        def hvp(self, x, v):
            result = super().hvp(x, v)
            v *= 2
            return result

    with pytest.raises(ValueError, match="objective.hvp must leave the arrays it is given"):
        check_objective(Writing(), START)


class Flat(Correct):
    def gradient(self, x):
        return super().gradient(x).ravel()


class NoGradient:
    value = Correct().value


@pytest.mark.parametrize(
    ("objective", "x", "message"),
    [
        (NoGradient(), START, "objective must have the method gradient, got NoGradient"),
        (Flat(), START.reshape(2, 2), r"objective.gradient must return .* \(2, 2\).*got \(4,\)"),
        (Correct(), [np.nan, 1.0], "x must be finite"),
        (Correct(), [], "x must be a non-empty array"),
        (Correct(), ["a"], "x must be a non-empty array of real numbers, got <U1"),
        (Correct(), np.ones(3) * 1j, "x must be .* got complex128"),
        (Correct(), None, "x must be .* got object"),
    ],
)
def test_arguments_are_named(objective, x, message):
    with pytest.raises(ValueError, match=f"^{message}"):
        check_objective(objective, x)


@pytest.mark.slow
@pytest.mark.parametrize("name", PHI)
def test_kinks_of_wide_networks_raise_no_alarm(name):
    for dtype in ("float64", "float32"):
        for seed in range(10):
            objective = Rectified(name, 400, 600, dtype, seed)
            x = np.random.default_rng(seed).standard_normal(2000)
            check_objective(objective, x, seed)
