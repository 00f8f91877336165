"""One implicit descent–ascent step of particles on the kinetic free energy."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from solvers.free_energy import FreeEnergy
from solvers.jko.particles.energy import ParticleEnergy
from solvers.jko.particles.newton_krylov import newton_krylov
from solvers.jko.particles.plans import Plan, optimal_plan
from solvers.jko.particles.step_result import (
    Certificate,
    Move,
    Scheme,
    StepError,
    certify,
    check_alternations,
    tolerance,
)
from solvers.objective import Array
from solvers.spectrum.eigenpairs import top_eigenpairs

Float64 = NDArray[np.float64]

# Accuracy of the difference of the gradients at w ± u, relative to a curvature 2/η (see `endpoint_gradients`): in units of
# the rounding of w, or of ε^(2/3) |u| where the Hessian product replaces it.
_DIFFERENCE_ROUNDINGS = 4.0
# Relative tolerance of the sharpness that decides whether the ascent step has a solution.
_SHARPNESS_TOL = 1e-4


class SaddleScheme(Scheme, Protocol):
    """The settings of `JKO` that a saddle step uses. step_size : of the whole step, at least that of a part of it."""

    @property
    def step_size(self) -> float: ...


@dataclass(frozen=True)
class Growth:
    """The largest rate ηS − 2 at which a fluctuation grows, S the top eigenvalue of ½(H₊ + H₋), and its eigenvector.

    Where the rate is below the one that was asked about, both are estimates.
    """

    rate: float
    vector: Array

    def check(self, step_size: float) -> None:
        """Raise StepError where the ascent step of that size is not strictly concave."""
        if step_size * self.rate >= 1.0:
            raise StepError(
                f"the ascent step of size {step_size:.3g} has no solution: τ(ηS − 2) = {step_size * self.rate:.3g} is not below 1"
            )


def largest_growth(
    energy: ParticleEnergy,
    learning_rate: float,
    positions: Float64,
    rate: float,
    near: Growth | None = None,
) -> Growth:
    """The growth at (w, u), positions (N, 2D), or that it is below `rate`, which takes fewer products; `near` is that of a
    nearby state. The rate is NaN where Lanczos does not converge.
    """
    w, u = np.split(positions, 2, axis=1)
    mean = _MeanHessian(energy, w, u)
    start = near.vector if near is not None and near.vector.shape == w.shape else None
    above = (rate + 2.0) / learning_rate
    values, vectors = top_eigenpairs(mean, w, tol=_SHARPNESS_TOL, start=start, above=above)
    return Growth(learning_rate * float(values[0]) - 2.0, vectors[0])


def saddle_step(
    scheme: SaddleScheme,
    energy: ParticleEnergy,
    before: ParticleEnergy,
    old: Float64,
    guess: Float64 | None,
    step_size: float,
    growth: Growth,
) -> tuple[Move, Growth]:
    """(w, u) with w = w̄ − τη ∂_w F, u = ū + τη ∂_u F at (w, u), and its growth; `growth` is that of old.

    Raises StepError, or FloatingPointError where the energy or its gradient is not finite.
    """
    growth.check(step_size)
    x, plan = old, Plan(energy.weights)
    if guess is not None:
        x = guess
        plan = optimal_plan(x, old, energy.weights, before.weights, scheme.max_plan_iterations)
    inner = outer = 0
    seen: set[bytes] = set()
    forces = _Forces(FreeEnergy(energy, scheme.learning_rate))
    while True:
        outer += 1
        anchor = plan.project(old)
        seen.add(anchor.tobytes())
        equations = _Equations.near(scheme, forces, energy, anchor, step_size)
        x, iterations = equations.solve(x, scheme.max_iterations)
        x, inner = energy.rounded(x), inner + iterations
        plan = optimal_plan(x, old, energy.weights, before.weights, scheme.max_plan_iterations)
        source = plan.project(old)
        unsolved = replace(equations, anchor=source)
        size = unsolved.size(x)
        if size <= 1.0:
            break
        if np.array_equal(source, anchor):
            raise StepError(f"the residual remains {size:.1e} times the tolerance")
        if (
            source.tobytes() in seen
        ):  # nothing decreases in a saddle step, unlike in a minimising one
            raise StepError("plans and positions repeat in a cycle")
        check_alternations(outer, scheme.max_plans)
    reached = largest_growth(energy, scheme.learning_rate, x, 1.0 / scheme.step_size, growth)
    reached.check(step_size)
    value, certificates = _certified(energy, scheme.learning_rate, step_size, x, source)
    (w, u), (old_w, old_u) = np.split(x, 2, axis=1), np.split(old, 2, axis=1)
    parts = plan.cost(w, old_w), plan.cost(u, old_u)
    residual = energy.norm(unsolved.residual(x))
    return Move(step_size, x, plan, value, parts, residual, certificates, inner, outer), reached


class _Forces:
    """(∂_w F, −∂_u F) at positions (w, u), side by side (M, 2D). Those of the last positions are kept: they are asked for again
    at both ends of a step, at the price of two gradients and, where u is small, a Hessian product.
    """

    def __init__(self, free_energy: FreeEnergy) -> None:
        self.learning_rate = free_energy.learning_rate
        self._free_energy = free_energy
        self._last: tuple[Float64, Float64] | None = None

    def __call__(self, x: Float64) -> Float64:
        if self._last is None or not np.array_equal(self._last[0], x):
            d_w, d_u = self._free_energy.gradient(*np.split(x, 2, axis=1))
            forces = np.concatenate([d_w, -d_u], axis=1)
            if not np.all(np.isfinite(forces)):
                raise FloatingPointError("the gradient is not finite")
            self._last = x, forces
        return self._last[1]


@dataclass(frozen=True)
class _Equations:
    """(w − w̄)/τ + η ∂_w F = 0, (u − ū)/τ − η ∂_u F = 0 for x = (w, u), anchor being (w̄, ū).

    The unknown z, like the residual, is in units of the tolerance: x = anchor + τ · tolerances · z/√p. Then a fluctuation of
    1e-9 is solved for as accurately as the weights are.
    """

    forces: _Forces
    energy: ParticleEnergy
    anchor: Float64
    step_size: float
    tolerances: Float64  # (2D,)

    @classmethod
    def near(
        cls,
        scheme: Scheme,
        forces: _Forces,
        energy: ParticleEnergy,
        anchor: Float64,
        step_size: float,
    ) -> _Equations:
        eta, eps = scheme.learning_rate, energy.eps
        (w, u), (d_w, d_u) = np.split(anchor, 2, axis=1), np.split(forces(anchor), 2, axis=1)
        of_w, of_u = (
            tolerance(scheme.tol, eta * energy.norm(d), energy.norm(y), step_size, eps)
            for d, y in ((d_w, w), (d_u, u))
        )
        known = min(eps * energy.norm(w), eps ** (2 / 3) * energy.norm(u))
        of_u += _DIFFERENCE_ROUNDINGS * 2.0 * known
        tolerances = np.repeat([of_w, of_u], w.shape[1])
        return cls(forces, energy, anchor, step_size, tolerances)

    def solve(self, x: Float64, max_iterations: int) -> tuple[Float64, int]:
        """The solution near x, and the number of Newton iterations; the residual shows whether it converged."""
        z = (self._root * (x - self.anchor) / self._unit).ravel()
        z, _, iterations = newton_krylov(
            self._scaled_residual, self._product, z, symmetric=False, max_iterations=max_iterations
        )
        return self._positions(z), iterations

    def residual(self, x: Float64) -> Float64:
        """Left-hand sides of the equations, (M, 2D), in length per iteration."""
        left: Float64 = (x - self.anchor) / self.step_size
        left += self.forces.learning_rate * self.forces(x)
        return left

    def size(self, x: Float64) -> float:
        """The residual over the tolerance, both parts together."""
        return self.energy.norm(self.residual(x) / self.tolerances)

    def _scaled_residual(self, z: Float64) -> Float64:
        return (self._root * self.residual(self._positions(z)) / self.tolerances).ravel()

    def _product(self, z: Float64, v: Float64) -> Float64:
        w, u = np.split(self._positions(z), 2, axis=1)
        a, b = np.split(self._unit * v.reshape(self.anchor.shape) / self._root, 2, axis=1)
        plus, minus = self.energy.hvp(w + u, a + b), self.energy.hvp(w - u, a - b)
        half = 0.5 * self.forces.learning_rate
        in_w = a / self.step_size + half * (plus + minus)
        in_u = b / self.step_size - half * (plus - minus) + 2.0 * b
        product = np.concatenate([in_w, in_u], axis=1)
        return (self._root * product / self.tolerances).ravel()

    def _positions(self, z: Float64) -> Float64:
        return self.anchor + self._unit * z.reshape(self.anchor.shape) / self._root

    @property
    def _unit(self) -> Float64:
        return self.step_size * self.tolerances

    @property
    def _root(self) -> Float64:
        return np.sqrt(self.energy.weights)[:, None]


@dataclass(frozen=True)
class _MeanHessian:
    """½(H₊ + H₋) at w ± u in the coordinates √p v, where it is symmetric for the dot product."""

    energy: ParticleEnergy
    w: Float64
    u: Float64

    def hvp(self, x: Any, v: Float64) -> Float64:
        root = np.sqrt(self.energy.weights)[:, None]
        direction = v / root
        image = self.energy.hvp(self.w + self.u, direction) + self.energy.hvp(
            self.w - self.u, direction
        )
        mean: Float64 = 0.5 * root * image
        return mean


def _certified(
    energy: ParticleEnergy, learning_rate: float, step_size: float, x: Float64, source: Float64
) -> tuple[float, tuple[Certificate, Certificate]]:
    """F, and that neither part improves by returning: to w̄ for the weights, to ū for the fluctuations."""
    (w, u), (old_w, old_u) = np.split(x, 2, axis=1), np.split(source, 2, axis=1)
    weight = 1.0 / (2.0 * learning_rate * step_size)
    free_energy = FreeEnergy(energy, learning_rate)

    def parts(w: Float64, u: Float64) -> tuple[float, float]:
        return free_energy.mean_loss(w, u), -energy.inner(u, u) / learning_rate

    here, still, quiet = parts(w, u), parts(old_w, u), parts(w, old_u)
    moved_w, moved_u = (weight * energy.inner(d, d) for d in (w - old_w, u - old_u))
    # At a minimum of value zero only the rounding of w ± u remains: its square, at a curvature of order 2/η.
    rounded = np.minimum(np.abs(u), energy.eps * np.abs(w))
    lost = 2.0 / learning_rate * energy.inner(rounded, rounded)
    descent = certify("descent", [*here, moved_w], still, energy.eps, lost)
    ascent = certify("ascent", [*quiet, moved_u], here, energy.eps, lost)
    return sum(here), (descent, ascent)
