"""Common to minimising and saddle steps of particles: certificates, tolerances, results and errors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from solvers.jko.particles.energy import ParticleEnergy
from solvers.jko.particles.plans import Plan

Float64 = NDArray[np.float64]

#: Tolerated rounding, in units of roundoff: sums over particles err by a few of them.
ROUNDINGS = 64.0


class Scheme(Protocol):
    """The settings of `JKO` that a step uses."""

    @property
    def learning_rate(self) -> float: ...
    @property
    def inner(self) -> str | None: ...
    @property
    def tol(self) -> float: ...
    @property
    def max_iterations(self) -> int: ...
    @property
    def max_plans(self) -> int: ...
    @property
    def max_plan_iterations(self) -> int: ...


@dataclass(frozen=True)
class Certificate:
    """An inequality between energies that a step must satisfy.

    excess : its left-hand side minus its right-hand side, at most 0 in exact arithmetic. rounding : the tolerated excess, 64
    units of roundoff of the terms, and for saddle steps also the effect of the rounding of w ± u. Both in units of the
    objective.
    """

    name: str
    excess: float
    rounding: float

    @property
    def holds(self) -> bool:
        """Whether the excess is within rounding."""
        return self.excess <= self.rounding


class StepError(ArithmeticError):
    """A step of this size was not solved; a shorter one may be."""


def certify(
    name: str, left: Sequence[float], right: Sequence[float], eps: float, lost: float = 0.0
) -> Certificate:
    """Check Σ left ≤ Σ right, where each term may be off by `lost` besides its own rounding; StepError if it fails."""
    sizes = sum(abs(term) for term in (*left, *right))
    result = Certificate(name, sum(left) - sum(right), ROUNDINGS * eps * sizes + lost)
    if not result.holds:
        raise StepError(f"the certificate of {name} fails by {result.excess:.1e}")
    return result


@dataclass(frozen=True)
class Move:
    """A solved step of one size. Positions (M, D); for a saddle step (w, u) side by side, (M, 2D)."""

    step_size: float
    positions: Float64
    plan: Plan
    energy: float
    transport_parts: tuple[float, ...]
    residual: float
    certificates: tuple[Certificate, ...]
    inner_iterations: int
    outer_iterations: int


def check_alternations(done: int, most: int) -> None:
    """Raise StepError at the limit."""
    if done >= most:
        raise StepError(f"the plan still changes after max_plans = {most}")


def tolerance(tol: float, speed: float, size: float, step_size: float, eps: float) -> float:
    """Of a residual, in length per iteration: `tol` times the speed at the start, plus the rounding of positions of this size."""
    return tol * speed + ROUNDINGS * eps * (speed + size / step_size)


def finite_value(energy: ParticleEnergy, x: Float64) -> float:
    """The energy; FloatingPointError where it is not finite."""
    value = energy.value(x)
    if not np.isfinite(value):
        raise FloatingPointError(f"the energy is {value}")
    return value


def finite_gradient(energy: ParticleEnergy, x: Float64) -> Float64:
    """The gradient; FloatingPointError where it is not finite."""
    gradient = energy.gradient(x)
    if not np.all(np.isfinite(gradient)):
        raise FloatingPointError("the gradient is not finite")
    return gradient
