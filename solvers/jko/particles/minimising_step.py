"""One minimising movement of particles: alternate between the optimal plan and the positions given the plan."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

from solvers.jko.particles.energy import ParticleEnergy
from solvers.jko.particles.newton_krylov import newton_krylov
from solvers.jko.particles.plans import Plan, optimal_plan
from solvers.jko.particles.step_result import (
    ROUNDINGS,
    Move,
    Scheme,
    StepError,
    certify,
    check_alternations,
    finite_gradient,
    finite_value,
    tolerance,
)

Float64 = NDArray[np.float64]

# Iterations of Newton's method, which refines the minimiser's result to rounding.
_POLISHES = 10
# Conjugate gradients end after one product per coordinate but for rounding.
_PRODUCTS_PER_COORDINATE = 10
# Of a first step, whose square is still a number; how many times as far the minimiser goes.
_LONGEST, _FARTHEST = 1e150, 1e6


def minimising_step(
    scheme: Scheme,
    energy: ParticleEnergy,
    before: ParticleEnergy,
    old: Float64,
    guess: Float64 | None,
    step_size: float,
) -> Move:
    """A local minimiser x of E[x] + W2²(x, old)/2ητ with the weights of `energy`; those of old are in `before`.

    Both halves of the alternation decrease this sum, whose first value is E[old]: if the weights are the same, the energy
    inequality holds at the end. Raises StepError, or FloatingPointError where the energy or its gradient is not finite.
    """
    eta = scheme.learning_rate
    x, plan, bound = _start(scheme, energy, before, old, guess, eta * step_size)
    speed = eta * energy.norm(finite_gradient(energy, x))
    tolerated = tolerance(scheme.tol, speed, energy.norm(x), step_size, energy.eps)
    inner = outer = 0
    while True:
        outer += 1
        anchor = plan.project(old)
        given_plan = _GivenPlan(energy, anchor, eta * step_size)
        x, iterations = given_plan.minimise(scheme, x, tolerated / eta)
        x, inner = energy.rounded(x), inner + iterations
        plan = optimal_plan(x, old, energy.weights, before.weights, scheme.max_plan_iterations)
        source = plan.project(old)
        residual = energy.norm(eta * finite_gradient(energy, x) + (x - source) / step_size)
        if residual <= tolerated:
            break
        if np.array_equal(source, anchor):
            raise StepError(f"the residual remains {residual:.1e}, above {tolerated:.1e}")
        check_alternations(outer, scheme.max_plans)
    value, cost = finite_value(energy, x), plan.cost(x, old)
    descent = certify("descent", [value, cost / (2.0 * eta * step_size)], [bound], energy.eps)
    return Move(step_size, x, plan, value, (cost,), residual, (descent,), inner, outer)


def _start(
    scheme: Scheme,
    energy: ParticleEnergy,
    before: ParticleEnergy,
    old: Float64,
    guess: Float64 | None,
    eta_tau: float,
) -> tuple[Float64, Plan, float]:
    """Positions and plan to start from, and an upper bound for E + W2²/2ητ.

    The bound is E[old], or the guess's own value where the guess has other weights, with which old may be unreachable.
    """
    at_old = finite_value(before, old)
    if guess is None:
        return old, Plan(energy.weights), at_old
    plan = optimal_plan(guess, old, energy.weights, before.weights, scheme.max_plan_iterations)
    at_guess = energy.value(guess) + plan.cost(guess, old) / (2.0 * eta_tau)
    if not np.array_equal(energy.weights, before.weights):
        return guess, plan, max(at_old, at_guess)
    if at_guess <= at_old:
        return guess, plan, at_old
    return old, Plan(energy.weights), at_old


@dataclass
class _Guarded:
    """The value and the Hessian of a sum for SciPy's minimiser, which would go on without end where the sum has no minimum, or
    where the products are not finite or, far out, rounding.
    """

    of: _GivenPlan
    start: Float64
    farthest: float
    taken: int = 0

    def value(self, z: Float64) -> float:
        """J; a StepError far away."""
        self.taken = 0
        if np.linalg.norm(z - self.start) > self.farthest:
            raise StepError(
                "the energy decreases as far as the minimiser looks, so it has no minimum in a step of this size"
            )
        return self.of.value(z)

    def product(self, z: Float64, v: Float64) -> Float64:
        """∇²J v; a StepError for more in one iteration than there are without rounding."""
        self.taken += 1
        product = self.of.product(z, v)
        if self.taken > _PRODUCTS_PER_COORDINATE * z.size or not np.all(np.isfinite(product)):
            raise StepError(
                f"the products with the Hessian are not finite, or not precise, after {self.taken}"
            )
        return product


@dataclass(frozen=True)
class _GivenPlan:
    """J(z) = E[x] + Σ_i p_i |x_i − ȳ_i|²/2ητ for z_i = √p_i (x_i − ȳ_i), whose dot product is the weighted one of x.

    Given the plan it differs from E + W2²/2ητ by a constant; anchor is the plan's barycentric projection ȳ of the old positions.
    """

    energy: ParticleEnergy
    anchor: Float64
    eta_tau: float

    def minimise(self, scheme: Scheme, x: Float64, gtol: float) -> tuple[Float64, int]:
        """Descend from x until |∇J| ≤ gtol or rounding prevents it; the point and the number of iterations."""
        z = (self._root * (x - self.anchor)).ravel()
        if np.linalg.norm(self.gradient(z)) <= gtol:
            return x, 0
        # Below this slope the remaining decrease, |∇J|²ητ/2, is lost in the rounding of J.
        visible = math.sqrt(2.0 * ROUNDINGS * self.energy.eps * abs(self.value(z)) / self.eta_tau)
        z, downhill = self._descend(scheme, z, max(gtol, visible))
        z, _, polishes = newton_krylov(
            lambda z: self.gradient(z) / gtol,
            lambda z, v: self.product(z, v) / gtol,
            z,
            symmetric=True,
            max_iterations=min(_POLISHES, scheme.max_iterations),
        )
        return self._positions(z), downhill + polishes

    def value(self, z: Float64) -> float:
        """J; ∞ where it is not a number."""
        value = self.energy.value(self._positions(z)) + 0.5 * float(z @ z) / self.eta_tau
        return math.inf if math.isnan(value) else value

    def gradient(self, z: Float64) -> Float64:
        """∇J, (N·D,)."""
        gradient = self._root * finite_gradient(self.energy, self._positions(z))
        return gradient.ravel() + z / self.eta_tau

    def product(self, z: Float64, v: Float64) -> Float64:
        """∇²J v, (N·D,)."""
        x, direction = self._positions(z), v.reshape(self.anchor.shape) / self._root
        product = self._root * self.energy.hvp(x, direction)
        return product.ravel() + v / self.eta_tau

    @property
    def _root(self) -> Float64:
        return np.sqrt(self.energy.weights)[:, None]

    def _positions(self, z: Float64) -> Float64:
        return self.anchor + z.reshape(self.anchor.shape) / self._root

    def _descend(self, scheme: Scheme, z: Float64, gtol: float) -> tuple[Float64, int]:
        """SciPy's minimisers; the residual shows whether they converged."""
        newton = self.energy.has_hvp if scheme.inner is None else scheme.inner == "newton-cg"
        if newton:
            # Initially as far as the explicit step.
            radius = self.eta_tau * float(np.linalg.norm(self.gradient(z)))
            if not radius < _LONGEST:
                raise StepError(f"the explicit step is {radius:.1e} long")
            guarded = _Guarded(self, z, _FARTHEST * radius)
            result = minimize(
                guarded.value,
                z,
                jac=self.gradient,
                hessp=guarded.product,
                method="trust-ncg",
                options={
                    "gtol": gtol,
                    "maxiter": scheme.max_iterations,
                    "initial_trust_radius": radius,
                    "max_trust_radius": _FARTHEST * radius,
                },
            )
        else:
            # Its gtol bounds the largest entry, and it stops when J no longer decreases.
            result = minimize(
                self._finite_value_and_gradient,
                z,
                jac=True,
                method="L-BFGS-B",
                options={
                    "gtol": gtol / math.sqrt(z.size),
                    "ftol": 0.0,
                    "maxiter": scheme.max_iterations,
                    "maxfun": 20 * scheme.max_iterations,
                },
            )
        return result.x, int(result.nit)

    def _finite_value_and_gradient(self, z: Float64) -> tuple[float, Float64]:
        value = self.value(z)
        if not math.isfinite(value):
            raise FloatingPointError(f"the energy is {value} within the step")
        return value, self.gradient(z)
