"""Newton's method for the dual of a proximal step of transport on a grid."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from solvers.grid_transport.multigrid import Multigrid
from solvers.grid_transport.split import SplitTransport
from solvers.measures.quantile_functions import Float64

#: Iterations in which the slopes within cells follow the masses between the axes; afterwards they are kept.
_SLOPE_UPDATES = 3
#: Limits of the conjugate gradients and of the halvings of a step.
_CG_ITERATIONS, _HALVINGS = 100, 30
#: Largest relative error of a step, and its ratio to the square of the factor by which the step before reduced the residual.
_LARGEST_ERROR, _OF_SQUARE = 0.1, 0.9
#: Least share of the promised increase that a step must bring.
_ARMIJO = 1e-4
#: Relative curvature below which rounding would decide on the direction.
_LEAST_CURVATURE = 1e-14
#: Mass at sites where the other of transport and energy has none which need not be corrected.
_NEGLIGIBLE = 1e-14
#: An increase below this relative amount is rounding.
_ROUNDING = 1e-14
#: Sites are coupled to mass that would come to them if φ rose by this many times the root mean square of the step before, over
#: the share of it that was taken.
_REACH = 64.0


class Conjugate(Protocol):
    """E* of a convex energy E of the masses ρ, at −φ."""

    def masses(self, phi: Float64) -> Float64:
        """The maximiser of −Σ φ ρ − E(ρ)."""

    def value(self, phi: Float64, masses: Float64) -> float:
        """Its maximum, given the maximiser."""

    def curvature(self, phi: Float64, masses: Float64, target: Float64) -> Float64:
        """κ ≥ 0: the slope with which the masses would reach the target, −Δρ/Δφ, cell by cell."""

    def ceiling(self) -> Float64 | float:
        """The least φ, cell by cell, from which on the maximiser is 0; +∞ where there is none."""

    def gap(self, phi: Float64, masses: Float64) -> float:
        """E(ρ) + E*(−φ) + Σ φ ρ ≥ 0 for any masses ρ."""


@dataclass(frozen=True)
class Ascent:
    """The end of `ascend`. masses : of the transport. value : of the dual. gap : by how much the primal value of the masses
    exceeds it. residual : L1 norm of the difference between the masses of the transport and those of the energy.
    """

    phi: Float64
    masses: Float64
    value: float
    gap: float
    residual: float
    iterations: int
    converged: bool


def ascend(
    transport: SplitTransport,
    conjugate: Conjugate,
    phi: Float64,
    allowed_gap: Callable[[float], float],
    max_iterations: int,
) -> Ascent:
    """max_φ Σ μ φ^c − E*(−φ), the dual of min_ρ D(μ, ρ)/(2τ) + E(ρ), until the gap is at most allowed_gap(value).

    Newton's equation (κ + stiffness) δφ = ρ_E − ρ_T is solved by conjugate gradients with a multigrid cycle, more exactly the
    better the steps reduce the residual; in place of the derivative of ρ_E, which may be 0 or infinite where the density
    vanishes, stands its secant to ρ_T. The step is halved until the dual, which is concave, increases. Where mass ends,
    neighbouring sites are taken into account as far as steps reach.
    """
    state, before, reach = _Point(transport, conjugate, phi), np.inf, np.inf
    # Where all sites take mass in more than one dimension, all of them are within reach.
    ceiling = conjugate.ceiling()
    follows = phi.ndim == 1 or bool(np.any(np.isfinite(ceiling)))
    for iteration in range(max_iterations + 1):
        if iteration < _SLOPE_UPDATES and phi.ndim > 1:
            transport.update_slopes()
            state = _Point(transport, conjugate, state.phi)
        state, pushed = _adjusted(transport, conjugate, state, ceiling)
        gap = conjugate.gap(state.phi, pushed)
        residual = state.masses - pushed
        size = float(np.abs(residual).sum())
        converged = bool(np.isfinite(gap)) and gap <= allowed_gap(state.value)
        if converged or iteration == max_iterations:
            break
        error = _tolerated_error(size, before)
        direction = _newton(transport, conjugate, state, pushed, residual, error, reach)
        before = size
        following, length = _search(transport, conjugate, state, direction, residual)
        if follows:
            # Where it had to be shortened, it met what is further away.
            reach = _REACH / length * _typical(direction, np.abs(state.masses) + pushed)
        if following is None:
            transport.transform(state.phi)
            break
        state = following
    # Also where there is no mass, the slope of φ is the displacement to there.
    raised = state.phi + transport.slack()
    return Ascent(raised, pushed, state.value, gap, size, iteration, converged)


def dual_value(transport: SplitTransport, conjugate: Conjugate, phi: Float64) -> float:
    """Σ μ φ^c − E*(−φ); −∞ where it is not a number."""
    value = _Point(transport, conjugate, phi).value
    return value if value == value else -np.inf


class _Point:
    """φ, the masses of the energy and the value of the dual there."""

    def __init__(self, transport: SplitTransport, conjugate: Conjugate, phi: Float64) -> None:
        self.phi = phi
        self.masses = conjugate.masses(phi)
        self.value = transport.transform(phi) - conjugate.value(phi, self.masses)


def _adjusted(
    transport: SplitTransport, conjugate: Conjugate, state: _Point, ceiling: Float64 | float
) -> tuple[_Point, Float64]:
    """φ where only one of transport and energy has mass, and the masses of the transport.

    φ is lowered to the ceiling where the energy has none, and raised where the transport brings none, until it is about to.
    Neither decreases the dual, and what is left couples the sites as Newton's method assumes.
    """
    pushed = transport.push()
    slack = np.where(state.masses > 0, transport.slack(), 0.0)
    phi = np.minimum(state.phi + slack, ceiling)
    useful = float(np.sum(np.where(phi > state.phi, state.masses, 0.0)))
    useful += float(np.sum(np.where(phi < state.phi, pushed, 0.0)))
    if useful <= _NEGLIGIBLE:
        return state, pushed
    adjusted = _Point(transport, conjugate, phi)
    if adjusted.value >= state.value:
        return adjusted, transport.push()
    transport.transform(state.phi)
    return state, transport.push()


def _tolerated_error(size: float, before: float) -> float:
    """Of a step at a residual of this size, after that of the step before: small once Newton's method converges quadratically.

    Until then what a step leaves is due to the free boundary, and a more exact one is no better (Eisenstat & Walker, SIAM J. Sci.
    Comput. 17, 1996).
    """
    if not np.isfinite(before):
        return _LARGEST_ERROR
    return min(_LARGEST_ERROR, max(size, _OF_SQUARE * min(size / before, 1.0) ** 2))


def _typical(values: Float64, weights: Float64) -> float:
    """Root mean square."""
    return float(np.sqrt(np.sum(weights * values**2) / np.sum(weights)))


def _newton(
    transport: SplitTransport,
    conjugate: Conjugate,
    state: _Point,
    pushed: Float64,
    residual: Float64,
    error: float,
    reach: float,
) -> Float64:
    """The step, with a relative error in the norm of the preconditioner."""
    kappa = conjugate.curvature(state.phi, state.masses, pushed)
    couplings = transport.couplings(reach)
    # κ alone is no measure: where the density vanishes it may be as large as it likes.
    largest = min(float(kappa.max()), max(float(part.max()) for part in couplings))
    kappa = kappa + _LEAST_CURVATURE * largest
    # Empty regions follow a front over a few cells only; in more than one dimension they would slow the conjugate gradients.
    empty = (state.masses <= 0) & (pushed <= 0) & np.isfinite(state.phi)
    if kappa.ndim > 1:
        kappa = kappa + np.where(empty, sum(couplings), 0.0)
    precondition = Multigrid(kappa, couplings)
    x, r = np.zeros_like(residual), residual.copy()
    z = precondition(r)
    p, along = z, float(np.vdot(r, z))
    enough = along * error**2
    for _ in range(_CG_ITERATIONS):
        image = kappa * p + transport.stiffness(p)
        curvature = float(np.vdot(p, image))
        if not curvature > 0:
            break
        x = x + (along / curvature) * p
        r = r - (along / curvature) * image
        z = precondition(r)
        following = float(np.vdot(r, z))
        if not following > enough:
            break
        p = z + (following / along) * p
        along = following
    return x


def _search(
    transport: SplitTransport,
    conjugate: Conjugate,
    state: _Point,
    direction: Float64,
    residual: Float64,
) -> tuple[_Point | None, float]:
    """The point at the end of the step, if there is one, and its length."""
    promise = float(np.vdot(residual, direction))
    rounding = _ROUNDING * (1.0 + abs(state.value))
    length = 1.0
    for _ in range(_HALVINGS):
        following = _Point(transport, conjugate, state.phi + length * direction)
        if following.value >= state.value + _ARMIJO * length * promise - rounding:
            return following, length
        length *= 0.5
    return None, length
